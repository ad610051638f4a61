//! How do we name a file in a tree that others write to?
//!
//! Host half, all privileges. Look-ups in `/proc` and in the cgroup tree start from a descriptor
//! that was verified, and leave its file system in no direction.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::{Context, Error, Result};

/// Opens `path` beneath `dir`: no symbolic or magic links, no other file system, not above.
///
/// # Errors
/// `ELOOP`: a link. `EXDEV`: it leads out. Others as for open(2).
pub fn open_beneath(dir: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(Mode::empty()).resolve(resolve);
    loop {
        match nix::fcntl::openat2(dir.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Opens a directory by a path of the host.
///
/// # Errors
/// As for open(2).
pub fn open_dir(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// The host's procfs, verified to be one (CVE-2019-16884, CVE-2025-52881).
pub struct Proc(OwnedFd);

impl From<Proc> for OwnedFd {
    fn from(proc: Proc) -> OwnedFd {
        proc.0
    }
}

impl Proc {
    /// Opens `/proc`.
    ///
    /// # Errors
    /// Something else is mounted there.
    pub fn open() -> Result<Proc> {
        let proc = Proc::mounted()?;
        // That of a pid namespace above ours, as in the sandboxes of builds: there our numbers are those of others.
        if proc.read_link("self").is_ok_and(|own| own == *std::process::id().to_string()) {
            return Ok(proc);
        }
        Proc::private().map_err(|errno| {
            Error::new(format!(
                "/proc is that of another pid namespace, and this one's cannot be had ({errno:?}); mount it there: \
                 mount -t proc proc /proc"
            ))
        })
    }

    /// Of our own pid namespace, mounted nowhere.
    fn private() -> nix::Result<Proc> {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
        let mount = || {
            let system = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(system.as_fd())?;
            fsmount(system.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        mount().map(Proc).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }

    fn read_link(&self, path: &str) -> nix::Result<OsString> {
        nix::fcntl::readlinkat(&self.0, path)
    }

    /// What is mounted on `/proc`.
    fn mounted() -> Result<Proc> {
        let dir = open_dir(Path::new("/proc")).context("open /proc")?;
        let is_proc = fstatfs(&dir).context("fstatfs /proc")?.filesystem_type() == PROC_SUPER_MAGIC;
        let root = nix::sys::stat::fstat(&dir).context("fstat /proc")?.st_ino == 1;
        if is_proc && root {
            Ok(Proc(dir))
        } else {
            Err(Error::new("/proc is not a procfs").remedy("mount one there: mount -t proc proc /proc"))
        }
    }

    /// Opens a file below `/proc`.
    ///
    /// # Errors
    /// As for open(2).
    pub fn file(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        open_beneath(&self.0, Path::new(path), flags)
    }

    /// Reads a file below `/proc`.
    ///
    /// # Errors
    /// As for open(2) and read(2).
    pub fn read(&self, path: &str) -> nix::Result<String> {
        read(&self.file(path, OFlag::O_RDONLY)?)
    }

    /// Writes a file below `/proc` with one write(2).
    ///
    /// # Errors
    /// The call and the file are named.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.file(path, OFlag::O_WRONLY).context(format_args!("open /proc/{path}"))?;
        nix::unistd::write(&file, text.as_bytes())
            .context(format_args!("write {:?} to /proc/{path}", text.trim_end()))
            .map(drop)
    }

    /// Follows a magic link of a process, such as `7/ns/user` or `7/root`.
    ///
    /// # Errors
    /// As for open(2).
    pub fn follow(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        nix::fcntl::openat(&self.0, path, flags | OFlag::O_CLOEXEC, Mode::empty())
    }
}

/// Reads a small file whole.
///
/// # Errors
/// Those of read(2).
pub fn read(fd: &OwnedFd) -> nix::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match nix::unistd::read(fd, &mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(got) => bytes.extend_from_slice(&buffer[..got]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A path that leads to an open descriptor of this process.
pub(crate) fn of_descriptor(fd: &OwnedFd, name: impl AsRef<Path>) -> std::path::PathBuf {
    Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())).join(name)
}
