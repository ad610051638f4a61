//! Which program is a container's first process before it becomes its own?
//!
//! Not this one: see `runtime/init`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use nix::sys::memfd::MFdFlags;
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::path::Proc;

/// The init's program, built for this purpose (see build.rs).
const INIT: &[u8] = include_bytes!(env!("CLEAT_INIT"));

/// Its size in bytes.
#[must_use]
pub fn size() -> usize {
    INIT.len()
}

/// Its name in `/proc/PID/exe`, wherever its file is.
const NAME: &str = "cleat-init";

/// Whether a process is (still) the init: by what `/proc/PID/exe` says.
#[must_use]
pub fn is_init(exe: &Path) -> bool {
    let name = exe.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    name.strip_prefix(b"memfd:").unwrap_or(name).starts_with(NAME.as_bytes())
}

/// The init as a file that nobody can change and nobody else uses: a copy of our own bytes, never
/// the page cache of a file of the host (CVE-2019-5736, runc#5272).
///
/// # Errors
/// Those of memfd_create(2) and write(2).
pub fn sealed() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = MFdFlags::from_bits_retain(nix::libc::MFD_EXEC);
    let fd = match nix::sys::memfd::memfd_create(NAME, flags | executable) {
        // Before Linux 6.3.
        Err(Errno::EINVAL) => nix::sys::memfd::memfd_create(NAME, flags),
        // vm.memfd_noexec is 2.
        Err(Errno::EACCES) => return out_of_memfd(),
        other => other,
    };
    let fd = fd.context("memfd_create")?;
    fill(&fd)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    nix::fcntl::fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).context("seal init")?;
    Ok(fd)
}

fn fill(file: &OwnedFd) -> Result<()> {
    let mut rest = INIT;
    while !rest.is_empty() {
        let put = nix::unistd::write(file, rest).context("write init")?;
        rest = &rest[put..];
    }
    Ok(())
}

/// Root of a new user namespace executes it, too.
const MODE: Mode = Mode::from_bits_truncate(0o555);

/// The same where nothing in a memfd may be executed (`vm.memfd_noexec`): a file that only its descriptor
/// leads to.
fn out_of_memfd() -> Result<OwnedFd> {
    match on_own_mount() {
        // An ordinary user mounts nothing.
        Err(Errno::EPERM) => unnamed_file(),
        other => other.context("a tmpfs for the init, as vm.memfd_noexec is 2"),
    }
}

/// On a tmpfs that is mounted nowhere, and that is read-only by now.
fn on_own_mount() -> nix::Result<OwnedFd> {
    let system = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(errno)?;
    rustix::mount::fsconfig_create(system.as_fd()).map_err(errno)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(system.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(errno)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = nix::fcntl::openat(&mount, NAME, flags, MODE)?;
    fill(&file).map_err(|_| Errno::EIO)?;
    nix::sys::stat::fchmod(&file, MODE)?;
    drop(file);
    sys::make_readonly(mount.as_fd())?;
    nix::fcntl::openat(&mount, NAME, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Without a name, opened anew for reading. While it is executed nobody can write to it; afterwards
/// nobody executes it.
fn unnamed_file() -> Result<OwnedFd> {
    let own = std::env::var_os("XDG_RUNTIME_DIR");
    let places = own.iter().map(Path::new).chain(["/tmp", "/var/tmp", "/dev/shm"].map(Path::new));
    let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
    let file = places
        .filter_map(|place| nix::fcntl::open(place, flags, Mode::S_IRWXU).ok())
        .find(|file| fstatvfs(file).is_ok_and(|system| !system.flags().contains(FsFlags::ST_NOEXEC)));
    let file = file.ok_or_else(|| {
        Error::new(
            "no place for the init: vm.memfd_noexec is 2, and no file can be executed in $XDG_RUNTIME_DIR, /tmp, \
             /var/tmp and /dev/shm; set vm.memfd_noexec=1",
        )
    })?;
    fill(&file)?;
    nix::sys::stat::fchmod(&file, MODE).context("fchmod init")?;
    let path = format!("self/fd/{}", file.as_raw_fd());
    Proc::open()?.follow(&path, OFlag::O_RDONLY).context("open init")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn holds_the_init_and_cannot_be_written(file: &OwnedFd) {
        let mut bytes = Vec::new();
        std::fs::File::from(file.try_clone().unwrap()).read_to_end(&mut bytes).unwrap();
        assert!(bytes == INIT, "{} bytes", bytes.len());
        assert_eq!(nix::unistd::write(file, b"x"), Err(Errno::EBADF));
        let stat = nix::sys::stat::fstat(file).unwrap();
        assert_eq!(stat.st_mode & 0o777, MODE.bits());
    }

    #[test]
    fn the_file_of_an_ordinary_user_holds_the_init() {
        holds_the_init_and_cannot_be_written(&unnamed_file().unwrap());
    }

    /// CVE-2019-5736: not by another descriptor, either.
    #[test]
    fn on_its_own_mount_nobody_writes_to_the_init() {
        let file = match on_own_mount() {
            Err(Errno::EPERM) => return,
            other => other.unwrap(),
        };
        let again = std::fs::File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        assert_eq!(again.unwrap_err().raw_os_error(), Some(nix::libc::EROFS));
        holds_the_init_and_cannot_be_written(&file);
    }

    #[test]
    fn the_init_is_known_by_its_name() {
        for (path, is) in [
            ("/memfd:cleat-init (deleted)", true),
            ("/cleat-init", true),
            ("/bin/sh", false),
            ("/memfd:state (deleted)", false),
        ] {
            assert_eq!(is_init(Path::new(path)), is, "{path}");
        }
    }
}
