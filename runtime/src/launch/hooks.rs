//! How are programs of the host run, hooks above all?
//!
//! Host half, all privileges of the caller, as runtime-spec config.md § POSIX-platform Hooks asks:
//! in order, in the bundle, the state on standard input, killed at their timeout.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cleat_plan::{Hook, hook_end};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::error::{Context, Error, Result, printable};
use crate::plan::HookLog;
use crate::sys;

/// Where hooks run, and what they get.
pub struct Runner<'a> {
    /// The container's bundle: their working directory, while it is there.
    pub bundle: &'a Path,
    /// The container's state, on their standard input.
    pub state: &'a str,
    /// Where they print.
    pub log: &'a HookLog,
}

/// What hooks print to: opened files of the host.
#[derive(Default)]
struct Log([Option<File>; 2]);

impl Log {
    fn open(log: &HookLog) -> Result<Log> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(open_log).transpose();
        Ok(Log([open(&log.stdout)?, open(&log.stderr)?]))
    }
}

/// Opens a file that gets what hooks print, at its end; makes it, for us alone, if it is not there.
///
/// The path is an annotation's, and so may be an image's: no link at its end is followed, and nothing but a file
/// that has this one name is written to, never a device or a pipe that others wait at.
///
/// # Errors
/// It is something else, or cannot be opened.
pub fn open_log(path: &Path) -> Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let place = || format!("output of hooks: open {}", path.display());
    let file = File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = file.context(place())?;
    let metadata = file.metadata().context(place())?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        let what = if metadata.is_file() { "it has other names, too" } else { "it is no regular file" };
        return Err(
            Error::new(format!("{}: {what}", place())).remedy("name a file in run.oci.hooks.* that is for this")
        );
    }
    Ok(file)
}

/// Runs hooks of one kind until one fails.
///
/// # Errors
/// A hook cannot be run, fails, or takes too long. The message names it and what it printed.
pub fn run(hooks: &[Hook], runner: &Runner<'_>) -> Result<()> {
    let log = if hooks.is_empty() { Log::default() } else { Log::open(runner.log)? };
    hooks.iter().try_for_each(|hook| one(hook, runner, &log))
}

/// Runs all hooks and returns what went wrong with each.
#[must_use]
pub fn run_all(hooks: &[Hook], runner: &Runner<'_>) -> Vec<Error> {
    if hooks.is_empty() {
        return Vec::new();
    }
    let (log, refused) = match Log::open(runner.log) {
        Ok(log) => (log, None),
        Err(error) => (Log::default(), Some(error)),
    };
    refused.into_iter().chain(hooks.iter().filter_map(|hook| one(hook, runner, &log).err())).collect()
}

fn one(hook: &Hook, runner: &Runner<'_>, log: &Log) -> Result<()> {
    let text = |text: &cleat_plan::Text| OsStr::from_bytes(text.to_bytes()).to_owned();
    let program = Program {
        path: text(&hook.path).into(),
        args: hook.args.iter().map(text).collect(),
        // As with runc, ours where it has none of its own: PATH and HOME first of all.
        env: hook.env.as_ref().map(|env| env.iter().map(text).collect()),
        // Gone where a container outlives it.
        dir: Some(if runner.bundle.is_dir() { runner.bundle } else { Path::new("/") }),
        input: runner.state,
        timeout_secs: hook.timeout_secs,
    };
    let place = format!("error running {}", text(&hook.name).to_string_lossy());
    let ended = to_its_end(&program, log, &place, &format!("fork/exec {}", program.path.display()))?;
    if ended.is_success() {
        return Ok(());
    }
    Err(Error::new(match ended.how {
        How::Expired(secs) => format!("{place}: {}", hook_end::expired(secs)),
        How::Ended(status, signal) => {
            let [out, err] = [&ended.out, &ended.err].map(|text| printable(text));
            format!("{place}: {}, stdout: {out}, stderr: {err}", hook_end::ending(status, signal))
        }
    }))
}

/// A program of the host, run to its end.
pub(crate) struct Program<'a> {
    path: PathBuf,
    /// With `argv[0]`.
    args: Vec<OsString>,
    /// The whole environment; `None`: ours.
    env: Option<Vec<OsString>>,
    /// Its working directory; `None`: ours.
    dir: Option<&'a Path>,
    /// On its standard input.
    input: &'a str,
    /// Killed after so many seconds; `None` waits for ever.
    timeout_secs: Option<u32>,
}

impl Program<'_> {
    /// Without environment and input, for as long as it takes.
    pub(crate) fn new(path: &Path, name: &str, args: &[String]) -> Program<'static> {
        let args = std::iter::once(name).chain(args.iter().map(String::as_str)).map(OsString::from).collect();
        Program { path: path.into(), args, env: Some(Vec::new()), dir: None, input: "", timeout_secs: None }
    }
}

/// How a program came to its end.
enum How {
    /// It was killed after so many seconds.
    Expired(u32),
    /// With an exit status, or by a signal.
    Ended(Option<i32>, Option<i32>),
}

struct Ended {
    how: How,
    out: String,
    err: String,
}

impl Ended {
    fn is_success(&self) -> bool {
        matches!(self.how, How::Ended(Some(0), _))
    }
}

/// Runs a program with no descriptors but its standard streams.
///
/// # Errors
/// It cannot be run, fails, or takes too long; the error begins with `place` and has what it printed.
pub(crate) fn execute(program: &Program<'_>, place: &str) -> Result<()> {
    let ended = to_its_end(program, &Log::default(), place, "execute")?;
    let what = match ended.how {
        How::Expired(secs) => format!("killed after its timeout of {secs} s"),
        How::Ended(Some(0), _) => return Ok(()),
        How::Ended(Some(code), _) => format!("it exited with status {code}"),
        How::Ended(None, signal) => format!("it was killed by signal {}", signal.unwrap_or(0)),
    };
    let said = printable(&format!("{}{}", ended.out, ended.err).trim().replace('\n', " | "));
    Err(Error::new(if said.is_empty() {
        format!("{place}: {what}")
    } else {
        format!("{place}: {what}; it printed: {said}")
    }))
}

fn to_its_end(program: &Program<'_>, log: &Log, place: &str, call: &str) -> Result<Ended> {
    // What it prints goes to memory: a pipe could be kept open by its children for ever. And so its
    // input comes from there: nobody waits for it to be read.
    let file = || sys::memory_file(c"hook").context(place);
    let mut input = file()?;
    let output = |log: &Option<File>| match log {
        Some(log) => Ok((log.try_clone().context(place)?, log.metadata().context(place)?.len())),
        None => file().map(|file| (file, 0)),
    };
    let [(output, out_start), (errors, err_start)] = [output(&log.0[0])?, output(&log.0[1])?];
    input.write_all(program.input.as_bytes()).and_then(|()| input.rewind()).context(place)?;
    let mut command = Command::new(&program.path);
    let mut args = program.args.iter();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).stdin(input);
    command.stdout(output.try_clone().context(place)?).stderr(errors.try_clone().context(place)?);
    if let Some(dir) = program.dir {
        command.current_dir(dir);
    }
    if let Some(env) = &program.env {
        command.env_clear();
        for (name, value) in env.iter().filter_map(|var| split_env(var.as_bytes())) {
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    sys::spawn_without_descriptors(&mut command);
    let mut child = command.spawn().context(format_args!("{place}: {call}"))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let expired = !wait(pid, program.timeout_secs).context(place)?;
    if expired {
        let _ = child.kill();
    }
    let status = child.wait().context(place)?;
    let how = match program.timeout_secs.filter(|_| expired) {
        Some(secs) => How::Expired(secs),
        None => How::Ended(status.code(), status.signal()),
    };
    Ok(Ended { how, out: text_from(&output, out_start), err: text_from(&errors, err_start) })
}

/// The start of what was written to a file from there on.
fn text_from(file: &File, start: u64) -> String {
    let mut said = vec![0; hook_end::MAX_OUTPUT];
    let len = file.read_at(&mut said, start).unwrap_or(0);
    String::from_utf8_lossy(&said[..len]).into_owned()
}

fn split_env(var: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = var.iter().position(|b| *b == b'=')?;
    Some((&var[..at], &var[at + 1..]))
}

/// Waits for the end of the child; false when the time ran out.
fn wait(pid: i32, timeout_secs: Option<u32>) -> nix::Result<bool> {
    let pidfd = sys::pidfd_open(pid)?;
    let deadline = timeout_secs.map(|secs| Instant::now() + Duration::from_secs(secs.into()));
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(ready) if ready > 0 => return Ok(true),
            Ok(_) if left.is_some_and(|left| left > Duration::from_millis(1)) => {}
            Ok(_) => return Ok(false),
        }
    }
}
