//! How are paths hidden and made read-only?
//!
//! Runs after `pivot_root`, so that hooks still see what they must. Each path is resolved once to
//! a descriptor and covered there; between look-up and mount there is nothing to race.

use core::ffi::CStr;

use cleat_plan::Text;
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::error::{Call, Error, Result};
use crate::mount_api::{attach, empty_directory};
use crate::{path, sys};

fn clone_of(fd: &OwnedFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(fd, c"", flags)
}

/// What was mounted on `/proc` or `/sys`.
pub(crate) struct Kernel {
    pub(crate) target: Text,
    pub(crate) mount: OwnedFd,
}

/// Where paths are looked up: those below `/proc` and `/sys` in what was mounted there, whatever
/// its name is by now. A mount goes along when somebody renames the directory below it, and below
/// the name there would be nothing to mask (CVE-2023-27561, GHSA-3q8j-pf29-vwv8).
pub(crate) struct Places<'a> {
    pub(crate) root: &'a OwnedFd,
    pub(crate) kernel: &'a [Kernel],
}

impl Places<'_> {
    fn find(&self, path: &Text) -> rustix::io::Result<OwnedFd> {
        // The last one mounted covers the earlier ones.
        for Kernel { target, mount } in self.kernel.iter().rev() {
            let rest = path.to_bytes_with_nul().strip_prefix(target.to_bytes()).unwrap_or_default();
            if let (Some(b'/'), Ok(rest)) = (rest.first(), CStr::from_bytes_with_nul(rest)) {
                return path::find(mount, rest);
            }
        }
        path::find(self.root, path)
    }
}

/// A path that does not exist needs neither; anything else that cannot be resolved is an error.
fn existing(places: &Places<'_>, path: &Text) -> Result<Option<OwnedFd>> {
    match places.find(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::new("openat2", errno).on(path.to_bytes())),
    }
}

/// Whether that is the root itself, by a link of the image's, too. What is mounted on it covers it for nobody who is
/// already below: a read-only root would be writable.
fn is_root(places: &Places<'_>, target: &OwnedFd) -> Result<bool> {
    let identity = |fd: &OwnedFd| {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted).map(|stat| (stat.stx_mnt_id, stat.stx_ino))
    };
    Ok(identity(target).call("statx")? == identity(places.root).call("statx")?)
}

/// Binds each path onto itself, read-only with all that is mounted below it; of the root its mount alone.
pub(crate) fn readonly(places: &Places<'_>, paths: &[Text]) -> Result<()> {
    for path in paths {
        let Some(target) = existing(places, path)? else { continue };
        if is_root(places, &target)? {
            sys::mount_setattr(places.root.as_fd(), false, u64::from(raw::MOUNT_ATTR_RDONLY), 0, 0)
                .call_on("mount_setattr", path)?;
            continue;
        }
        let tree = clone_of(&target, true).call_on("open_tree", path)?;
        sys::mount_setattr(tree.as_fd(), true, u64::from(raw::MOUNT_ATTR_RDONLY), 0, 0)
            .call_on("mount_setattr", path)?;
        attach(tree.as_fd(), target.as_fd()).call_on("move_mount", path)?;
    }
    Ok(())
}

/// A mount that covers one path after another: itself the first, clones of it the others. Kernels
/// before 6.15 clone attached mounts only, so the order matters.
struct Cover {
    mount: OwnedFd,
    attached: bool,
}

impl Cover {
    fn put(&mut self, target: &OwnedFd, path: &Text) -> Result<()> {
        if self.attached {
            let copy = clone_of(&self.mount, false).call_on("open_tree", path)?;
            return attach(copy.as_fd(), target.as_fd()).call_on("move_mount", path);
        }
        self.attached = true;
        attach(self.mount.as_fd(), target.as_fd()).call_on("move_mount", path)
    }
}

/// Covers files with the null device and directories with an empty read-only one, which all share.
pub(crate) fn mask(places: &Places<'_>, paths: &[Text], devnull: Option<OwnedFd>) -> Result<()> {
    let mut file = devnull.map(|mount| Cover { mount, attached: false });
    let mut directory = None;
    for path in paths {
        let Some(target) = existing(places, path)? else { continue };
        if is_root(places, &target)? {
            return Err(Error::refused("mask", path.to_bytes(), "it is the root, which cannot be covered"));
        }
        if path::is_dir(&target)? {
            if directory.is_none() {
                directory = Some(Cover { mount: empty_directory()?, attached: false });
            }
            directory.as_mut().map_or(Ok(()), |cover| cover.put(&target, path))?;
        } else {
            let refused = || Error::refused("mask", path.to_bytes(), "the host's /dev/null was not opened");
            file.as_mut().ok_or_else(refused)?.put(&target, path)?;
        }
    }
    Ok(())
}
