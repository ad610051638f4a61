//! How is a mount configured and attached by its descriptor alone?

use core::ffi::CStr;

use cleat_plan::{Propagation, PropagationKind};
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::{Call, Result};
use crate::sys;

/// Applies a propagation type to the mount that `fd` is the root of.
pub(crate) fn propagate(fd: BorrowedFd<'_>, how: Propagation) -> rustix::io::Result<()> {
    let kind = match how.kind {
        PropagationKind::Shared => raw::MS_SHARED,
        PropagationKind::Slave => raw::MS_SLAVE,
        PropagationKind::Private => raw::MS_PRIVATE,
        PropagationKind::Unbindable => raw::MS_UNBINDABLE,
    };
    sys::mount_setattr(fd, how.recursive, 0, 0, u64::from(kind))
}

/// Attaches a mount to the place that `target` is a handle on. No path is involved.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// Device nodes on a mount and on all below it cannot be used from here on.
pub(crate) fn no_devices(mount: &OwnedFd) -> rustix::io::Result<()> {
    sys::mount_setattr(mount.as_fd(), true, u64::from(raw::MOUNT_ATTR_NODEV), 0, 0)
}

/// An empty file system, read-only.
pub(crate) fn empty_directory() -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).call_on("fsopen", c"tmpfs")?;
    rustix::mount::fsconfig_set_flag(fs.as_fd(), c"ro").call("fsconfig ro")?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), c"nr_inodes", c"1").call("fsconfig nr_inodes")?;
    rustix::mount::fsconfig_create(fs.as_fd()).call("fsconfig create")?;
    let attrs = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs).call("fsmount")
}

/// A mount that some work makes in an empty file system of our own, where nobody else can reach its name: for
/// what takes one. The file system is on `at` meanwhile.
pub(crate) fn in_empty_place(
    at: BorrowedFd<'_>,
    name: &CStr,
    work: impl FnOnce(&OwnedFd) -> Result<()>,
) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).call_on("fsopen", c"tmpfs")?;
    rustix::mount::fsconfig_create(fs.as_fd()).call("fsconfig create")?;
    let attrs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let place = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs).call("fsmount")?;
    let before = rustix::fs::open(c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("open")?;
    attach(place.as_fd(), at).call("move_mount")?;
    rustix::process::fchdir(&place).call("fchdir")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let made = work(&place).and_then(|()| rustix::mount::open_tree(&place, name, flags).call("open_tree"));
    rustix::mount::unmount(c".", UnmountFlags::DETACH).call("umount2")?;
    rustix::process::fchdir(&before).call("fchdir")?;
    made
}
