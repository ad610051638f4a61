//! How does a directory of the host become the container's `/`?
//!
//! Runs in the container's own mount namespace, a copy of the host's until `pivot_root`.

use core::ffi::CStr;

use cleat_plan::{Pivot, Propagation, PropagationKind, Root, Text};
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};

use crate::Init;
use crate::error::{Call, Error, Result};
use crate::mount_api::{attach, empty_directory, in_empty_place, no_devices, propagate};
use crate::path::{self, Make};
use crate::procfs::PROC_SUPER_MAGIC;
use crate::sys;

const SYSFS_MAGIC: u64 = 0x6265_6572;
const PRIVATE: Propagation = Propagation { kind: PropagationKind::Private, recursive: false };
const SLAVE: Propagation = Propagation { kind: PropagationKind::Slave, recursive: false };

/// A handle on an existing directory, by a path of the host.
fn open_dir(path: &CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Sets the propagation of the new namespace's mounts, and takes the host's `/dev/null` for masks.
pub(crate) fn prepare(root: &Root) -> Result<Option<OwnedFd>> {
    if root.pivot != Pivot::Chroot {
        let slash = open_dir(c"/").call_on("open", c"/")?;
        // Before the first mount: none of the container's mounts may reach the host's namespace.
        propagate(slash.as_fd(), root.propagation).call_on("mount_setattr", c"/")?;
        if reaches_host(root) {
            // Neither attaching below a shared mount nor pivot_root from there stays in here.
            let parent = parent_mount(place_of(root)?.as_fd())?;
            propagate(parent.as_fd(), of_its_own(root)).call("mount_setattr")?;
        }
    }
    if root.masked.is_empty() {
        return Ok(None);
    }
    // Before any file of the container is in reach: what covers masked paths must be the real
    // device, whatever the image has under that name (CVE-2025-31133).
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let devnull = match rustix::mount::open_tree(CWD, c"/dev/null", flags) {
        // No /dev on the host, as in an initramfs: one of our own, which is the real device, too.
        Err(Errno::NOENT) if root.pivot != Pivot::Chroot => own_null(root)?,
        other => other.call_on("open_tree", c"/dev/null")?,
    };
    let stat = rustix::fs::fstat(&devnull).call_on("fstat", c"/dev/null")?;
    if stat.st_mode & raw::S_IFMT != raw::S_IFCHR || stat.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(Error::refused(
            "open_tree",
            b"/dev/null",
            "the host's /dev/null is not the null device (char 1:3)",
        ));
    }
    harden_node(&devnull).call_on("mount_setattr", c"/dev/null")?;
    Ok(Some(devnull))
}

/// A null device in no file system that anybody else sees.
fn own_null(root: &Root) -> Result<OwnedFd> {
    let at = open_dir(&root.path).call_on("open", &root.path)?;
    in_empty_place(at.as_fd(), c"null", |place| {
        let (mode, rdev) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3));
        rustix::fs::mknodat(place, c"null", FileType::CharacterDevice, mode, rdev)
            .call_on("mknodat", c"/dev/null")
            .map_err(|e| e.hint("the host has no /dev/null, which masks are made of"))
    })
}

/// A node of the host that the container will see: the device works as ever, but owner, mode and
/// times, which are the host's, cannot be changed through this mount. Nothing can be mounted on it for others, either.
pub(crate) fn harden_node(mount: &OwnedFd) -> rustix::io::Result<()> {
    let attrs = raw::MOUNT_ATTR_RDONLY | raw::MOUNT_ATTR_NOSUID | raw::MOUNT_ATTR_NOEXEC;
    sys::mount_setattr(mount.as_fd(), false, u64::from(attrs), 0, u64::from(raw::MS_PRIVATE))
}

/// Makes the root directory a mount of its own and returns its descriptor.
pub(crate) fn mount_rootfs(init: &mut Init, root: &Root) -> Result<OwnedFd> {
    if root.pivot == Pivot::Chroot {
        return open_dir(&root.path).call_on("open", &root.path);
    }
    let target = place_of(root)?;
    let tree = match root.tree {
        Some(index) => init.take_mount(index)?,
        None => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            rustix::mount::open_tree(CWD, &*root.path, flags).call_on("open_tree", &root.path)?
        }
    };
    if !root.propagation.recursive {
        // Mounts of the host in there: what is mounted below them must not reach the host, either.
        propagate(tree.as_fd(), Propagation { recursive: true, ..SLAVE }).call_on("mount_setattr", &root.path)?;
    }
    // A copy of a shared mount is shared, which pivot_root refuses.
    propagate(tree.as_fd(), of_its_own(root)).call_on("mount_setattr", &root.path)?;
    if root.nodev {
        no_devices(&tree).call_on("mount_setattr", &root.path)?;
    }
    attach(tree.as_fd(), target.as_fd()).call_on("move_mount", &root.path)?;
    Ok(tree)
}

/// Where the root is mounted.
fn place_of(root: &Root) -> Result<OwnedFd> {
    match open_dir(&root.path) {
        // A mapped user may not be allowed on the way to the root file system, which the host half
        // has opened for it. Hooks that look for it there find it only where it can be reached.
        Err(Errno::ACCESS) => open_dir(c"/"),
        other => other,
    }
    .call_on("open", &root.path)
}

/// Propagation of the root's own mount: what is mounted on the host comes in only if that was asked for.
fn of_its_own(root: &Root) -> Propagation {
    if root.root_propagation.is_some_and(|how| how.kind == PropagationKind::Slave) { SLAVE } else { PRIVATE }
}

/// Whether mounts of the new namespace may still be shared with the host's: all are changed only by a word with an r in
/// front, and shared ones stay so.
fn reaches_host(root: &Root) -> bool {
    !root.propagation.recursive || root.propagation.kind == PropagationKind::Shared
}

/// The root of the mount that holds `dir`, found by walking up: nothing reads mountinfo.
fn parent_mount(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut at = path::find(dir, c".").call("openat2")?;
    loop {
        let stat = rustix::fs::statx(&at, c"", AtFlags::EMPTY_PATH, StatxFlags::empty()).call("statx")?;
        if stat.stx_attributes.bits() & u64::from(raw::STATX_ATTR_MOUNT_ROOT) != 0 {
            return Ok(at);
        }
        at = rustix::fs::openat(&at, c"..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call("openat")?;
    }
}

/// Makes the working directory where the image has none, as runc does.
pub(crate) fn make_cwd(dir: &OwnedFd, cwd: &CStr) -> Result<()> {
    match path::find_or_make(dir, cwd, Make::Directory) {
        // A link that only procfs can follow, or a read-only image: chdir itself will show it.
        Ok(_) => Ok(()),
        Err(error) if matches!(error.errno, Some(Errno::LOOP | Errno::ROFS | Errno::ACCESS | Errno::PERM)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Enters the root and leaves the host's file systems behind. Returns a handle on the new `/`.
pub(crate) fn enter(root: &Root, dir: OwnedFd) -> Result<OwnedFd> {
    rustix::process::fchdir(&dir).call_on("fchdir", &root.path)?;
    match root.pivot {
        Pivot::PivotRoot => {
            let old = open_dir(c"/").call_on("open", c"/")?;
            rustix::process::pivot_root(c".", c".")
                .call_on("pivot_root", &root.path)
                .map_err(|e| e.hint_if(Errno::INVAL, "on an initramfs, use --no-pivot"))?;
            if reaches_host(root) {
                // The unmount below must not reach the host.
                propagate(old.as_fd(), Propagation { recursive: true, ..SLAVE }).call("mount_setattr")?;
            }
            drop(old);
            // The old root lies on top of the new one; the working directory is below it.
            rustix::mount::unmount(c".", UnmountFlags::DETACH).call_on("umount2", c"/")?;
        }
        Pivot::MoveMount => {
            // Neither what is unmounted here nor what is moved over `/` may reach the host, whose
            // mounts a shared propagation leaves these shared with.
            let slash = open_dir(c"/").call_on("open", c"/")?;
            propagate(slash.as_fd(), PRIVATE).call("mount_setattr")?;
            attach(dir.as_fd(), slash.as_fd()).call_on("move_mount", c"/")?;
            // Up to here paths still begin below what has been moved over `/`.
            leave_host_mounts(root)?;
            rustix::process::chroot(c".").call("chroot")?;
        }
        Pivot::Chroot => rustix::process::chroot(c".").call("chroot")?,
    }
    rustix::process::chdir(c"/").call_on("chdir", c"/")?;
    if let Some(how) = root.root_propagation.filter(|how| how.kind != PropagationKind::Unbindable) {
        propagate(dir.as_fd(), how).call_on("mount_setattr", c"/")?;
    }
    Ok(dir)
}

/// The host's mounts below a root that stays: they are unmounted, or covered where they are locked, in a
/// user namespace.
fn leave_host_mounts(root: &Root) -> Result<()> {
    let open = |path: &CStr| rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    // All of them first: nothing of what is unmounted may reach the host, nor what it mounts later come here.
    for path in &root.host_mounts {
        if let Ok(mount) = open(path) {
            let _ = propagate(mount.as_fd(), Propagation { kind: PropagationKind::Private, recursive: true });
        }
    }
    let unmount = |path: &Text| rustix::mount::unmount(&**path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok();
    // Again, as one may have hidden another.
    while root.host_mounts.iter().filter(|path| unmount(path)).count() > 0 {}
    for path in &root.revealing {
        let Ok(left) = open(path) else { continue };
        let magic = rustix::fs::fstatfs(&left).call_on("fstatfs", path)?.f_type;
        if matches!(u64::try_from(magic), Ok(PROC_SUPER_MAGIC | SYSFS_MAGIC)) {
            attach(empty_directory()?.as_fd(), left.as_fd()).call_on("move_mount", path)?;
        }
    }
    Ok(())
}

/// Write protection of the root, and of mounts that had to be filled first. It comes after the last bind mount, which an
/// unbindable root would refuse.
pub(crate) fn finish(root: &Root, dir: &OwnedFd, readonly: &[(Text, OwnedFd)]) -> Result<()> {
    let read_only = |mount: &OwnedFd, path: &CStr| {
        sys::mount_setattr(mount.as_fd(), false, u64::from(raw::MOUNT_ATTR_RDONLY), 0, 0).call_on("mount_setattr", path)
    };
    for (target, mount) in readonly {
        read_only(mount, target)?;
    }
    if let Some(how) = root.root_propagation.filter(|how| how.kind == PropagationKind::Unbindable) {
        propagate(dir.as_fd(), how).call_on("mount_setattr", c"/")?;
    }
    if root.readonly {
        read_only(dir, c"/")?;
    }
    Ok(())
}
