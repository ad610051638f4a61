//! Which cgroup is a container's own?
//!
//! What its state names by path may have become another's: removed and made again (another inode), or
//! taken by another container after this one has stopped (another's mark). What is not its own is
//! neither killed, nor frozen, nor limited, nor removed.

use std::path::PathBuf;

use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::sys::path::Proc;

use super::{Container, Phase, process_start};

/// What is where a container's cgroup should be.
#[derive(Debug)]
pub enum CgroupOwner {
    /// It has none, or that is gone.
    Nobody,
    /// Its own.
    Own(Cgroup),
    /// Another's by now: that one's mark.
    Others(Cgroup, String),
    /// Its creation was interrupted before it had taken it.
    NotTaken(Cgroup),
}

impl Container {
    /// Its cgroup, if there is one that is its own.
    #[must_use]
    pub fn cgroup(&self) -> Option<Cgroup> {
        match self.cgroup_owner() {
            CgroupOwner::Own(cgroup) => Some(cgroup),
            _ => None,
        }
    }

    /// Whose its cgroup is.
    #[must_use]
    pub fn cgroup_owner(&self) -> CgroupOwner {
        let Some(own) = &self.record.cleat.cgroup else { return CgroupOwner::Nobody };
        let Ok(cgroup) = Cgroup::open(&own.mount, &own.path) else { return CgroupOwner::Nobody };
        if own.inode != 0 && own.inode != cgroup.inode() {
            return CgroupOwner::Nobody;
        }
        match cgroup.mark() {
            // Where its first process is nobody else can have found an empty one: a mark that the
            // container has changed by itself saves it from nothing.
            Some(mark) if mark != self.record.mark() && !self.lives_below(&own.path) => {
                CgroupOwner::Others(cgroup, mark)
            }
            None if self.record.cleat.phase == Phase::Creating && own.inode == 0 => CgroupOwner::NotTaken(cgroup),
            _ => CgroupOwner::Own(cgroup),
        }
    }

    fn lives_below(&self, path: &std::path::Path) -> bool {
        self.place_of_first().is_ok_and(|place| place.starts_with(path))
    }

    /// Where in the tree its first process is now.
    ///
    /// # Errors
    /// It has ended.
    pub fn place_of_first(&self) -> Result<PathBuf> {
        let pid = self.record.init_process_pid;
        let proc = Proc::open()?;
        let text = proc.read(&format!("{pid}/cgroup")).context(format_args!("read /proc/{pid}/cgroup"))?;
        // Afterwards, so that the number still meant the container's process when it was used.
        match process_start(&proc, pid) {
            Some((start, _)) if start == self.record.init_process_start => {}
            _ => return Err(Error::new(format!("the first process of {} has ended", self.id()))),
        }
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        path.map(PathBuf::from).ok_or_else(|| Error::new(format!("/proc/{pid}/cgroup: no cgroup v2 in it")))
    }

    /// Whether all processes that it ever had have ended: the kernel ends a pid namespace with its
    /// first process, before that counts as ended itself.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn has_ended_whole(&self) -> Result<bool> {
        Ok(self.record.cleat.phase == Phase::Created && self.record.ends_with_init() && self.alive()?.is_none())
    }
}
