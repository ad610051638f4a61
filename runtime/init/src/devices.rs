//! How do device nodes and the standard links come into the container's `/dev`?
//!
//! Each is made relative to a verified descriptor of its directory, with calls that follow no
//! link (CVE-2026-41579: the image's `/dev` was a link to the host's).

use alloc::ffi::CString;

use cleat_plan::Device;
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::Init;
use crate::error::{Call, Error, Result};
use crate::mount_api::attach;
use crate::path::{self, Make};
use crate::root::harden_node;

/// Makes the nodes. The umask is cleared for them, and set for the process later.
pub(crate) fn make(_: &Init, root: &OwnedFd, devices: &[Device]) -> Result<()> {
    rustix::process::umask(Mode::empty());
    let mut last: Option<(CString, OwnedFd)> = None;
    for device in devices {
        let (parent, name) =
            path::split(&device.path).ok_or_else(|| Error::new("mknodat", Errno::INVAL).on(device.path.to_bytes()))?;
        let dir = match last.take() {
            Some((path, dir)) if path == parent => dir,
            _ => path::find_or_make(root, &parent, Make::Directory)?,
        };
        if device.bind {
            bind(root, device)?;
        } else {
            node(&dir, &name, device)?;
        }
        last = Some((parent, dir));
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

fn node(dir: &OwnedFd, name: &CString, device: &Device) -> Result<()> {
    let kind = FileType::from_raw_mode(device.file_type);
    let rdev = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(device.mode), rdev) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).call_on("fstatat", &device.path)?;
            // Some take one of the defaults for another: urandom for random. Null must be null, as with runc.
            let is_device = stat.st_mode & raw::S_IFMT == raw::S_IFCHR;
            if !device.default || is_device && (stat.st_rdev == rdev || &*device.path != c"/dev/null") {
                return Ok(());
            }
            let is_dir = stat.st_mode & raw::S_IFMT == raw::S_IFDIR;
            return Err(Error::new("mknodat", if is_dir { Errno::ISDIR } else { Errno::EXIST })
                .on(device.path.to_bytes())
                .hint("the image or a mount has another file there, and every container has this device"));
        }
        Err(errno) => return Err(Error::new("mknodat", errno).on(device.path.to_bytes())),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .call_on("fchownat", &device.path)?;
    }
    Ok(())
}

/// In a user namespace: the host's node, which is still reachable under its own name here.
fn bind(root: &OwnedFd, device: &Device) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, &*device.path, flags).call_on("open_tree", &device.path)?;
    let stat = rustix::fs::fstat(&tree).call_on("fstat", &device.path)?;
    let rdev = rustix::fs::makedev(device.major, device.minor);
    if stat.st_mode & raw::S_IFMT != device.file_type || stat.st_rdev != rdev {
        return Err(Error::refused("bind", device.path.to_bytes(), "the host's node of that name is another device"));
    }
    harden_node(&tree).call_on("mount_setattr", &device.path)?;
    let target = path::find_or_make(root, &device.path, Make::File)?;
    attach(tree.as_fd(), target.as_fd()).call_on("move_mount", &device.path)
}

/// `/dev/fd` and its kin, and `/dev/ptmx` (runtime-spec config-linux.md § Default Devices).
pub(crate) fn links(root: &OwnedFd) -> Result<()> {
    let dev = path::find_or_make(root, c"/dev", Make::Directory)?;
    // Whatever ptmx the image brought belongs to another devpts.
    match rustix::fs::unlinkat(&dev, c"ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::new("unlinkat", errno).on(b"/dev/ptmx")),
    }
    let links = [
        (c"/proc/self/fd", c"fd"),
        (c"/proc/self/fd/0", c"stdin"),
        (c"/proc/self/fd/1", c"stdout"),
        (c"/proc/self/fd/2", c"stderr"),
        (c"pts/ptmx", c"ptmx"),
        (c"/proc/kcore", c"core"),
    ];
    // Not every kernel has it, and a link that leads nowhere is in the way of programs that walk /dev.
    let kcore = rustix::fs::statat(CWD, c"/proc/kcore", AtFlags::SYMLINK_NOFOLLOW).is_ok();
    for (target, name) in links.into_iter().take(if kcore { 6 } else { 5 }) {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::new("symlinkat", errno).on(name.to_bytes())),
        }
    }
    Ok(())
}
