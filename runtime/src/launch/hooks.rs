//! How are programs of the host run, hooks above all?
//!
//! Host half, all privileges of the caller, as runtime-spec config.md § POSIX-platform Hooks asks:
//! in order, the state on standard input, killed at their timeout.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cleat_plan::Hook;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::error::{Context, Error, Result, printable};
use crate::sys;

/// How much of what a hook prints is shown when it fails.
const MAX_OUTPUT: u64 = 2048;

/// Runs hooks of one kind until one fails.
///
/// # Errors
/// A hook cannot be run, fails, or takes too long. The message names it and what it printed.
pub fn run(hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().try_for_each(|hook| one(hook, state))
}

/// Runs all hooks and returns what went wrong with each.
#[must_use]
pub fn run_all(hooks: &[Hook], state: &str) -> Vec<Error> {
    hooks.iter().filter_map(|hook| one(hook, state).err()).collect()
}

fn one(hook: &Hook, state: &str) -> Result<()> {
    let text = |text: &cleat_plan::Text| OsStr::from_bytes(text.to_bytes()).to_owned();
    let program = Program {
        path: text(&hook.path).into(),
        args: hook.args.iter().map(text).collect(),
        env: hook.env.iter().map(text).collect(),
        input: state,
        timeout_secs: hook.timeout_secs,
    };
    execute(&program, &format!("hook {}", program.path.display()))
}

/// A program of the host, run to its end.
pub(crate) struct Program<'a> {
    path: PathBuf,
    /// With `argv[0]`.
    args: Vec<OsString>,
    /// The whole environment.
    env: Vec<OsString>,
    /// On its standard input.
    input: &'a str,
    /// Killed after so many seconds; `None` waits for ever.
    timeout_secs: Option<u32>,
}

impl Program<'_> {
    /// Without environment and input, for as long as it takes.
    pub(crate) fn new(path: &Path, name: &str, args: &[String]) -> Program<'static> {
        let args = std::iter::once(name).chain(args.iter().map(String::as_str)).map(OsString::from).collect();
        Program { path: path.into(), args, env: Vec::new(), input: "", timeout_secs: None }
    }
}

/// Runs a program with no descriptors but its standard streams.
///
/// # Errors
/// It cannot be run, fails, or takes too long; the error begins with `place` and has what it printed.
pub(crate) fn execute(program: &Program<'_>, place: &str) -> Result<()> {
    // What it prints goes to memory: a pipe could be kept open by its children for ever. And so its
    // input comes from there: nobody waits for it to be read.
    let mut output = sys::memory_file(c"hook").context(place)?;
    let mut input = sys::memory_file(c"hook").context(place)?;
    input.write_all(program.input.as_bytes()).and_then(|()| input.rewind()).context(place)?;
    let mut command = Command::new(&program.path);
    let mut args = program.args.iter();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env_clear().stdin(input);
    command.stdout(output.try_clone().context(place)?).stderr(output.try_clone().context(place)?);
    for var in &program.env {
        if let Some((name, value)) = split_env(var.as_bytes()) {
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    sys::spawn_without_descriptors(&mut command);
    let mut child = command.spawn().context(format_args!("{place}: execute"))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let expired = !wait(pid, program.timeout_secs).context(place)?;
    if expired {
        let _ = child.kill();
    }
    let status = child.wait().context(place)?;
    let what = match (status.code(), status.signal()) {
        _ if expired => format!("killed after its timeout of {} s", program.timeout_secs.unwrap_or(0)),
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("it exited with status {code}"),
        (None, signal) => format!("it was killed by signal {}", signal.unwrap_or(0)),
    };
    let mut said = String::new();
    let _ = output.rewind();
    let _ = output.take(MAX_OUTPUT).read_to_string(&mut said);
    let said = printable(&said.trim().replace('\n', " | "));
    Err(Error::new(if said.is_empty() {
        format!("{place}: {what}")
    } else {
        format!("{place}: {what}; it printed: {said}")
    }))
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
