//! How does the init run a hook and wait for it?
//!
//! `createContainer` hooks are files of the host that run in the container's namespaces before
//! `pivot_root`; `startContainer` hooks are files of the container (runtime-spec config.md § POSIX-platform Hooks).

use alloc::format;
use alloc::vec::Vec;

use cleat_plan::hook_end::{self, MAX_OUTPUT};
use cleat_plan::{Hook, Hooks, Process, Text};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::channel::Channel;
use crate::error::{Call, Error, Result};
use crate::{credentials, seccomp, sys};

/// What hooks of one kind have in common.
#[derive(Default)]
pub(crate) struct Runner<'a> {
    /// Programs of the image are under the limits and the filter of the container's process, be it
    /// that this process is already.
    pub(crate) process: Option<(&'a Process, &'a Channel)>,
    /// For hooks without an environment of their own.
    pub(crate) env: &'a [Text],
    /// Their working directory; `None`: this process's.
    pub(crate) cwd: Option<&'a OwnedFd>,
    /// Files of the host that get a copy of what they print, on standard output and standard error.
    pub(crate) log: [Option<OwnedFd>; 2],
}

/// What a hook reads, and where what it prints goes: files in memory, for which nobody has to wait,
/// whatever children it leaves behind.
pub(crate) struct Streams {
    state: OwnedFd,
    out: OwnedFd,
    err: OwnedFd,
    /// Gets the errno of an execve that failed.
    errno: OwnedFd,
}

/// What the hooks will need: made before a filter is in force, which may know no memfd_create(2).
pub(crate) fn prepare(hooks: &Hooks) -> Result<Vec<Streams>> {
    hooks.list.iter().map(|_| Streams::new()).collect()
}

/// Runs the hooks in order; the first that fails ends it.
pub(crate) fn run(hooks: &Hooks, streams: &[Streams], runner: &Runner<'_>) -> Result<()> {
    let mut state = hooks.state.clone();
    if !hooks.state_after_pid.is_empty() {
        // The hooks see what we see: the container's pid namespace.
        let pid = rustix::process::getpid().as_raw_nonzero();
        state.extend_from_slice(format!("{pid}").as_bytes());
        state.extend_from_slice(&hooks.state_after_pid);
    }
    hooks.list.iter().zip(streams).try_for_each(|(hook, streams)| one(hook, &state, streams, runner))
}

fn one(hook: &Hook, state: &[u8], streams: &Streams, runner: &Runner<'_>) -> Result<()> {
    let mut at = 0;
    while at < state.len() {
        // Without moving the place where the hook begins to read.
        at += rustix::io::pwrite(&streams.state, &state[at..], at as u64).call("pwrite64")?;
    }
    let (pid, pidfd) = match sys::clone_process(0, false).call("clone")? {
        sys::Cloned::Child => become_hook(hook, streams, runner),
        sys::Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    let expired = !wait(&pidfd, hook.timeout_secs)?;
    if expired {
        // By its number, which is its own until we have waited for it: filters know no newer call.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other.call("waitid")?,
        }
    };
    for (log, file) in runner.log.iter().zip([&streams.out, &streams.err]) {
        log.iter().for_each(|log| copy(file, log));
    }
    let (code, signal) = status.as_ref().map_or((None, None), |s| (s.exit_status(), s.terminating_signal()));
    if code == Some(0) && !expired {
        return Ok(());
    }
    let mut failed = Error::refused("error running", hook.name.to_bytes(), "");
    if expired {
        failed.hint = hook_end::expired(hook.timeout_secs.unwrap_or(0)).into();
    } else if let [errno] = read_start(&streams.errno)[..] {
        failed.path.extend_from_slice(b": fork/exec ");
        failed.path.extend_from_slice(hook.path.to_bytes());
        failed.errno = Some(Errno::from_raw_os_error(errno.into()));
    } else {
        failed.hint = hook_end::ending(code, signal).into();
        for (name, file) in [(&b", stdout: "[..], &streams.out), (&b", stderr: "[..], &streams.err)] {
            failed.hint.extend_from_slice(name);
            failed.hint.extend_from_slice(&read_start(file));
        }
    }
    Err(failed)
}

/// The start of what was written to a file, from its beginning whatever its offset is.
fn read_start(file: &OwnedFd) -> Vec<u8> {
    let mut text = alloc::vec![0; MAX_OUTPUT];
    let len = rustix::io::pread(file, &mut text[..], 0).unwrap_or(0);
    text.truncate(len);
    text
}

/// Appends what a hook has printed to a file of the host. Programs of the image never get hold of that themselves.
fn copy(from: &OwnedFd, to: &OwnedFd) {
    let mut block = [0; 4096];
    let mut at = 0;
    while let Ok(len @ 1..) = rustix::io::pread(from, &mut block[..], at as u64) {
        let mut rest = &block[..len];
        while let Ok(put @ 1..) = rustix::io::write(to, rest) {
            rest = &rest[put..];
        }
        at += len;
    }
}

impl Streams {
    fn new() -> Result<Streams> {
        Ok(Streams { state: memory_file()?, out: memory_file()?, err: memory_file()?, errno: memory_file()? })
    }
}

fn memory_file() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC;
    match rustix::fs::memfd_create(c"hook", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"hook", flags),
        other => other,
    }
    .call("memfd_create")
}

/// Waits for the end of the process; false when the time ran out.
fn wait(pidfd: &OwnedFd, timeout_secs: Option<u32>) -> Result<bool> {
    let timeout = timeout_secs.map(|secs| Timespec { tv_sec: i64::from(secs), tv_nsec: 0 });
    loop {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(errno) => return Err(Error::new("poll", errno)),
        }
    }
}

fn become_hook(hook: &Hook, streams: &Streams, runner: &Runner<'_>) -> ! {
    let (args, env) = (sys::Strings::of(&hook.args), sys::Strings::of(hook.env.as_deref().unwrap_or(runner.env)));
    if let Some(dir) = runner.cwd {
        let _ = rustix::process::fchdir(dir);
    }
    let ready = sys::dup_onto(&streams.state, 0)
        .and_then(|()| sys::dup_onto(&streams.out, 1))
        .and_then(|()| sys::dup_onto(&streams.err, 2))
        .and_then(|()| close_others(runner));
    let confine = |(process, host): (&Process, &Channel)| {
        credentials::limit(&process.rlimits).and_then(|()| seccomp::last(process, host)).is_ok()
    };
    if ready.is_ok() && runner.process.is_none_or(confine) {
        let errno = sys::execve(&hook.path, &args, &env);
        let _ = rustix::io::write(&streams.errno, &[u8::try_from(errno.raw_os_error()).unwrap_or(0)]);
    }
    sys::exit(127)
}

/// Nothing but the standard streams is a hook's.
fn close_others(runner: &Runner<'_>) -> core::result::Result<(), Errno> {
    let Some((process, _)) = runner.process else { return sys::cloexec_from(3) };
    // All but these is closed by execve already, and a filter may know no close_range(2).
    (3..process.preserve_fds.saturating_add(3)).for_each(sys::close);
    Ok(())
}
