//! How is a child of ours killed and reaped unless it is let go?

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::error::{Context, Error, Result};
use crate::sys::path::Proc;
use crate::sys::{self, Child};

/// A child that is killed and reaped unless it is let go.
pub struct ChildGuard {
    child: Option<Child>,
}

impl ChildGuard {
    pub(crate) fn new(child: Child) -> ChildGuard {
        ChildGuard { child: Some(child) }
    }

    /// The process.
    ///
    /// # Errors
    /// Never: it is there until the guard is gone.
    pub fn get(&self) -> Result<&Child> {
        self.child.as_ref().ok_or_else(|| Error::new("the child is gone"))
    }

    /// Not ours to kill any more.
    #[must_use]
    pub fn release(mut self) -> Option<Child> {
        self.child.take()
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = sys::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
            let _ = sys::wait_for(child.pid);
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
