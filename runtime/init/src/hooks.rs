//! How does the init run a hook and wait for it?
//!
//! `createContainer` hooks are files of the host that run in the container's namespaces before
//! `pivot_root`; `startContainer` hooks are files of the container (runtime-spec config.md § POSIX-platform Hooks).

use alloc::format;

use cleat_plan::{Hook, Hooks, Process};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::channel::Channel;
use crate::error::{Call, Error, Result};
use crate::{credentials, seccomp, sys};

/// Runs the hooks in order; the first that fails ends it. Those that are programs of the image are under
/// the limits and the filter of the container's process, be it that this process is already.
pub(crate) fn run(hooks: &Hooks, process: Option<(&Process, &Channel)>) -> Result<()> {
    for hook in &hooks.list {
        one(hook, &hooks.state, process)?;
    }
    Ok(())
}

fn one(hook: &Hook, state: &[u8], process: Option<(&Process, &Channel)>) -> Result<()> {
    let failed = |text: &str| Error::refused("hook", hook.path.to_bytes(), text);
    let stdin = memory_file(state)?;
    let pidfd = match sys::clone_process(0, false).call("clone")? {
        sys::Cloned::Child => become_hook(hook, &stdin, process),
        sys::Cloned::Parent(pidfd) => pidfd,
    };
    let expired = !wait(&pidfd, hook.timeout_secs)?;
    if expired {
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => break other.call("waitid")?,
        }
    };
    if expired {
        return Err(failed(&format!("killed after its timeout of {} s", hook.timeout_secs.unwrap_or(0))));
    }
    match status.as_ref().map(|s| (s.exit_status(), s.terminating_signal())) {
        Some((Some(0), _)) => Ok(()),
        Some((Some(127), _)) => Err(failed("it could not be executed")),
        Some((Some(code), _)) => Err(failed(&format!("it exited with status {code}"))),
        Some((None, Some(signal))) => Err(failed(&format!("it was killed by signal {signal}"))),
        _ => Err(failed("it ended in an unknown way")),
    }
}

/// The state as a file: a hook reads as much of it as it likes, and nobody waits for that.
fn memory_file(state: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC;
    let file = match rustix::fs::memfd_create(c"state", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"state", flags),
        other => other,
    };
    let file = file.call("memfd_create")?;
    let mut rest = state;
    while !rest.is_empty() {
        let put = rustix::io::write(&file, rest).call("write")?;
        rest = &rest[put..];
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).call("lseek")?;
    Ok(file)
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

fn become_hook(hook: &Hook, stdin: &OwnedFd, process: Option<(&Process, &Channel)>) -> ! {
    let (args, env) = (sys::Strings::of(&hook.args), sys::Strings::of(&hook.env));
    let ready = sys::dup_onto(stdin, 0).and_then(|()| sys::cloexec_from(3));
    let confine = |(process, host): (&Process, &Channel)| {
        credentials::limit(&process.rlimits).and_then(|()| seccomp::last(process, host)).is_ok()
    };
    if ready.is_ok() && process.is_none_or(confine) {
        let _ = sys::execve(&hook.path, &args, &env);
    }
    sys::exit(127)
}
