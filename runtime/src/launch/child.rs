//! How is a child of ours killed and reaped unless it is let go?

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::error::{Context, Error, Result};
use crate::sys::path::Proc;
use crate::sys::{self, Child};

/// A child that is killed and reaped unless it is let go.
pub struct ChildGuard {
    child: Child,
    released: bool,
}

impl ChildGuard {
    pub(crate) fn new(child: Child) -> ChildGuard {
        ChildGuard { child, released: false }
    }

    /// The process.
    #[must_use]
    pub fn get(&self) -> &Child {
        &self.child
    }

    /// Not ours to kill any more.
    pub fn release(mut self) {
        self.released = true;
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if !self.released {
            let _ = sys::pidfd_send_signal(self.child.pidfd.as_fd(), nix::libc::SIGKILL);
            let _ = sys::wait_for(self.child.pid);
        }
    }
}

/// The half-way process ends; its sibling goes on.
pub(crate) fn forked(pidfd: OwnedFd) -> Result<ChildGuard> {
    let info = Proc::open()?
        .read(&format!("{}/fdinfo/{}", std::process::id(), pidfd.as_raw_fd()))
        .context("read fdinfo of a pidfd")?;
    let pid =
        info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| Error::new("the container's process is gone"))?;
    // An attacker may have taken over the init's end of the channel: only a child of ours is
    // trusted, signalled and limited.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::PIDFd(pidfd.as_fd()), flags).context("the process that the init reported is no child of ours")?;
    Ok(ChildGuard::new(Child { pid, pidfd }))
}
