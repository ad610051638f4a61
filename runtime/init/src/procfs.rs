//! How does the init write to procfs without being led to another file (CVE-2025-52881)?
//!
//! Before `pivot_root` the host's `/proc` is verified to be one. Afterwards a private procfs that
//! is attached nowhere is used: nobody can have mounted anything over its files.

use alloc::vec::Vec;
use core::ffi::CStr;

use alloc::ffi::CString;
use cleat_plan::Sysctl;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Call, Error, Result};

pub(crate) const PROC_SUPER_MAGIC: u64 = 0x9fa0;
/// Inode number of every procfs root.
const PROC_ROOT_INO: u64 = 1;

/// The procfs mounted at `/proc`, verified.
pub(crate) fn host() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags, Mode::empty()).call_on("open", c"/proc")?;
    verify(&proc)?;
    Ok(proc)
}

/// An error unless the descriptor is the root of a procfs.
pub(crate) fn verify(proc: &OwnedFd) -> Result<()> {
    let magic = rustix::fs::fstatfs(proc).call_on("fstatfs", c"/proc")?.f_type;
    let inode = rustix::fs::fstat(proc).call_on("fstat", c"/proc")?.st_ino;
    if u64::try_from(magic) == Ok(PROC_SUPER_MAGIC) && inode == PROC_ROOT_INO {
        return Ok(());
    }
    Err(Error::refused("open", b"/proc", "what is mounted there is not a procfs"))
}

/// A procfs of this pid namespace that no path leads to; the one at `/proc` where the kernel
/// refuses a new one because the existing one is partly covered.
fn private() -> Result<OwnedFd> {
    let fs = match rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::PERM) => return host(),
        other => other.call_on("fsopen", c"proc")?,
    };
    match rustix::mount::fsconfig_create(fs.as_fd()) {
        Err(Errno::PERM) => return host(),
        other => other.call_on("fsconfig create", c"proc")?,
    }
    match rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()) {
        Err(Errno::PERM) => host(),
        other => other.call_on("fsmount", c"proc"),
    }
}

/// Opens a file of a procfs; neither links nor mounts on the way are followed.
pub(crate) fn open_beneath(proc: &OwnedFd, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    // "self" is a symbolic link of procfs, so links are allowed but magic ones; no other file
    // system and nothing above can be reached.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(proc, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).call_on("openat2", path)
}

/// Writes kernel parameters.
pub(crate) fn write_sysctls(sysctls: &[Sysctl]) -> Result<()> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let proc = private()?;
    for sysctl in sysctls {
        let mut path: Vec<u8> = b"sys/".to_vec();
        path.extend_from_slice(sysctl.path.to_bytes());
        let path = CString::new(path).map_err(|_| Error::new("openat2", Errno::INVAL))?;
        let file = match open_beneath(&proc, &path, OFlags::WRONLY) {
            // To a profile that we ourselves are under, files of an unattached procfs have paths such
            // as /sys/net/…, which those of LXC deny.
            Err(error) if error.errno == Some(Errno::ACCESS) => open_beneath(&host()?, &path, OFlags::WRONLY),
            other => other,
        };
        let hint = "no such kernel parameter in the container's namespaces";
        let file = file.map_err(|e| e.hint_if(Errno::NOENT, hint))?;
        rustix::io::write(&file, sysctl.value.to_bytes()).call_on("write", &path)?;
    }
    Ok(())
}
