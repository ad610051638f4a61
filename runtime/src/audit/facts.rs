//! How is a living process looked at, without being taken for another one of the same number?

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;

use crate::sys::path;
use crate::sys::path::{Proc, open_beneath};
use crate::sys::query;

/// A process: its directory in the host's procfs belongs to it alone, even if another process gets its number.
pub(super) struct ProcDir {
    pub(super) pid: i32,
    dir: OwnedFd,
}

/// A namespace: device and inode of its file.
pub(super) type NamespaceId = (u64, u64);

impl ProcDir {
    pub(super) fn open(proc: &Proc, pid: i32) -> nix::Result<ProcDir> {
        Ok(ProcDir { pid, dir: proc.file(&pid.to_string(), OFlag::O_RDONLY | OFlag::O_DIRECTORY)? })
    }

    /// One of its files.
    pub(super) fn read(&self, name: &str) -> nix::Result<String> {
        path::read(&open_beneath(&self.dir, Path::new(name), OFlag::O_RDONLY)?)
    }

    /// Where one of its magic links leads.
    pub(super) fn follow(&self, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        nix::fcntl::openat(&self.dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Its namespace of the kind with that file.
    pub(super) fn namespace(&self, file: &str) -> nix::Result<NamespaceId> {
        let stat = nix::sys::stat::fstatat(&self.dir, &*format!("ns/{file}"), AtFlags::empty())?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Its threads; none: it has ended.
    pub(super) fn threads(&self) -> Vec<i32> {
        let own = open_beneath(&self.dir, Path::new("task"), OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let Ok(mut dir) = own.and_then(nix::dir::Dir::from_fd) else { return Vec::new() };
        let number = |entry: nix::Result<nix::dir::Entry>| entry.ok()?.file_name().to_str().ok()?.parse().ok();
        dir.iter().filter_map(number).collect()
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.read("stat"), Err(Errno::ESRCH | Errno::ENOENT))
    }
}

/// Whether a user namespace lies below another one.
pub(super) fn is_below(namespace: &OwnedFd, above: NamespaceId) -> bool {
    let mut at = query::parent_namespace(namespace.as_fd());
    // The kernel nests 32 at most.
    for _ in 0..33 {
        let Ok(parent) = at else { return false };
        if identity(&parent) == Some(above) {
            return true;
        }
        at = query::parent_namespace(parent.as_fd());
    }
    false
}

/// Whether a namespace of whatever kind belongs to a user namespace, or to one below it.
pub(super) fn belongs_to(namespace: &OwnedFd, user: NamespaceId) -> bool {
    let owner = query::owner_of_namespace(namespace.as_fd());
    owner.is_ok_and(|owner| identity(&owner) == Some(user) || is_below(&owner, user))
}

/// Which namespace a descriptor is of.
pub(super) fn identity(namespace: &OwnedFd) -> Option<NamespaceId> {
    nix::sys::stat::fstat(namespace).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
