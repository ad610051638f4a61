//! Which attributes of mounts does CRIU not restore?
//!
//! Those of the root, and of all but one mount of the same device of the host, such as what masks files. They are
//! set again, by a copy of this process in the container's mount namespace, while nothing runs there; the audit
//! that follows sees whether all are there.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cleat_plan::{MountKind, Root};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};

use crate::error::{Context, Result};
use crate::launch::setns_helper;
use crate::sys::{self, Child};

use super::external::path;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;

/// What is to be set on a mount.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    target: PathBuf,
    set: u64,
    recursive: bool,
}

/// Sets them.
///
/// # Errors
/// The mount namespace cannot be entered, or a mount keeps what it has.
pub(super) fn set_again(root: &Root, child: &Child) -> Result<()> {
    let list = wanted(root);
    setns_helper::in_mounts_of(child, || list.iter().try_for_each(set))
}

fn wanted(root: &Root) -> Vec<Wanted> {
    let mut list = Vec::new();
    let mut add = |target: PathBuf, set: u64, recursive: bool| {
        if set != 0 {
            list.push(Wanted { target, set, recursive });
        }
    };
    for mount in &root.mounts {
        if let MountKind::Bind { .. } = mount.kind {
            let nodev = if mount.nodev { NODEV } else { 0 };
            add(path(&mount.target), mount.attr.set, false);
            add(path(&mount.target), mount.attr_recursive.set | nodev, true);
        }
    }
    root.devices.iter().for_each(|device| add(path(&device.path), RDONLY | NOSUID | NOEXEC, false));
    root.masked.iter().for_each(|masked| add(path(masked), RDONLY | NOSUID | NOEXEC, false));
    add("/".into(), if root.readonly { RDONLY } else { 0 } | if root.nodev { NODEV } else { 0 }, false);
    list
}

/// What is not the root of a mount is left to the audit.
fn set(wanted: &Wanted) -> Result<()> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let place = wanted.target.display();
    let slash = sys::path::open_dir(Path::new("/")).context("open /")?;
    let file = match nix::fcntl::openat2(&slash, &wanted.target, how) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        other => other.context(format_args!("openat2 {place}"))?,
    };
    match sys::set_mount_attributes(file.as_fd(), wanted.recursive, wanted.set) {
        Err(Errno::EINVAL) => Ok(()),
        other => other.context(format_args!("mount_setattr {place}")),
    }
}
