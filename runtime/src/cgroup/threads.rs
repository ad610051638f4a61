//! How is a container kept in a subtree of threads?
//!
//! Host half. The kernel takes `cgroup.kill` for a domain only, and lets no process into a cgroup
//! below a threaded one before that is threaded, too (Linux cgroup-v2.rst, "Threads").

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::path;
use crate::sys::path::open_beneath;

use super::Cgroup;

/// Processes that are signalled at a time: each takes a descriptor.
const BATCH: usize = 64;
/// Rounds after which nothing new may have come: what is frozen does not fork.
const ROUNDS: usize = 1000;

impl Cgroup {
    /// Kills every process that has a thread in it or below it: frozen, lest it forks meanwhile.
    pub(super) fn kill_threads(&self) -> Result<()> {
        let was_frozen = self.read("cgroup.freeze").is_ok_and(|text| text.trim() == "1");
        let _ = self.write_text("cgroup.freeze", "1");
        let killed = self.kill_until_none_is_new();
        if !was_frozen {
            let _ = self.write_text("cgroup.freeze", "0");
        }
        killed
    }

    fn kill_until_none_is_new(&self) -> Result<()> {
        let mut killed = Vec::new();
        for _ in 0..ROUNDS {
            let found = self.processes()?;
            let new: Vec<i32> = found.into_iter().filter(|pid| !killed.contains(pid)).take(BATCH).collect();
            if new.is_empty() {
                return Ok(());
            }
            let opened: Vec<(i32, OwnedFd)> =
                new.iter().filter_map(|pid| Some((*pid, sys::pidfd_open(*pid).ok()?))).collect();
            // Asked again, so that a number that went to another process is left alone.
            let there = self.processes()?;
            for (pid, pidfd) in &opened {
                if there.binary_search(pid).is_ok() {
                    let _ = sys::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGKILL);
                }
            }
            killed.extend(new);
        }
        Err(Error::new(format!("cgroup {}: its processes come faster than they are killed", self.full().display())))
    }

    /// Makes it threaded where nothing else can live, and those above it that cannot be anything
    /// else, either. False: that is not why.
    ///
    /// # Errors
    /// The kernel refuses: a controller is enabled that limits no threads.
    pub fn make_threaded(&self) -> nix::Result<bool> {
        let mut at = path::open_dir(&self.mount)?;
        let mut made = false;
        for name in self.path.strip_prefix("/").unwrap_or(&self.path).iter() {
            at = open_beneath(&at, Path::new(name), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            let file = |flags| open_beneath(&at, Path::new("cgroup.type"), flags);
            if path::read(&file(OFlag::O_RDONLY)?)?.trim() == "domain invalid" {
                nix::unistd::write(&file(OFlag::O_WRONLY)?, b"threaded")?;
                made = true;
            }
        }
        Ok(made)
    }
}
