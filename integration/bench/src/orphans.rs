//! How do processes end that were left to us?

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Result, bail};

/// After this, a process is taken for hanging.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until `pid`, orphaned to us, has ended.
pub(crate) fn await_end(pid: i32) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(200)),
            Ok(_) | Err(Errno::ECHILD) => return Ok(()),
            Err(error) => bail!("wait for {pid}: {error}"),
        }
    }
    bail!("{pid} has not ended within {} s", TIMEOUT.as_secs())
}

/// Leaves no zombie of an orphan. Must not be called while a child of our own runs.
pub(crate) fn reap() {
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|it| it != WaitStatus::StillAlive) {}
}
