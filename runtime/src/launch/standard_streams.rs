//! Whose are the standard streams that a program is handed?
//!
//! Terminals, files and devices are the caller's and stay it: a user of the host that has the number
//! of the container's would read what is typed there. A pipe has no name that others could open: it is
//! given to the program's user, who may open `/dev/stderr`. With the privileges of the host half, in
//! whose user namespace the pipe's owner is.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat, makedev};
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Gid, Uid};

use crate::error::{Context, Error, Result, errno_text};
use crate::plan::ids;
use crate::probe::host;
use crate::sys;
use crate::sys::path::Proc;

/// Gives the pipes among our standard streams to user `uid` of the container; `named`: fifos, too.
/// `first` lives in the container's user namespace, where it has one. There they get group `gid`, too: root of a user
/// namespace has no privilege over a file whose group is not mapped.
///
/// # Errors
/// Those of fchown(2), but that the stream is not ours to give: it stays usable through its descriptor.
pub(crate) fn give((uid, gid): (u32, u32), first: Option<i32>, named: bool) -> Result<()> {
    let (uid, gid) = match first {
        None => (Some(uid), None),
        Some(pid) => (
            ids::outside(&host::id_map(&format!("/proc/{pid}/uid_map"))?, uid),
            ids::outside(&host::id_map(&format!("/proc/{pid}/gid_map"))?, gid),
        ),
    };
    // Root may open what it likes.
    let Some(uid) = uid.filter(|uid| *uid != 0) else { return Ok(()) };
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [input.as_fd(), output.as_fd(), error.as_fd()].into_iter().try_for_each(|stream| give_one(stream, uid, gid, named))
}

/// What our standard streams are, as `descriptors.json` of a checkpoint has them.
pub(super) fn names() -> Vec<String> {
    let name = |number| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    (0..3).map(|number| name(number).to_string_lossy().into_owned()).collect()
}

/// Puts devices among our standard streams, which a program is handed, behind a mount through which
/// nobody changes them, such as `/dev/null`: root of a container without a user namespace owns the host's
/// node, and could take it away from everybody else with `chmod 0 /proc/self/fd/0`. Terminals stay as they are.
///
/// # Errors
/// A stream is the null device of another mount namespace, and there is none in ours.
pub(crate) fn protect_devices(warn: &dyn Fn(&str)) -> Result<()> {
    for (number, result) in (0..).zip([
        protect_one(std::io::stdin().as_fd(), nix::unistd::dup2_stdin),
        protect_one(std::io::stdout().as_fd(), nix::unistd::dup2_stdout),
        protect_one(std::io::stderr().as_fd(), nix::unistd::dup2_stderr),
    ]) {
        match result {
            // Who may not mount owns no device, and root of a user namespace neither.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(Errno::ENXIO) => {
                let what = "the host's /dev/null is not the null device (char 1:3); mknod it anew";
                return Err(Error::new(format!("standard stream {number}: {what}")));
            }
            Err(errno) => warn(&format!(
                "standard stream {number} is a device of the host, whose mode root of the container can change: {}",
                errno_text(errno)
            )),
        }
    }
    Ok(())
}

fn protect_one(stream: BorrowedFd<'_>, replace: impl FnOnce(OwnedFd) -> nix::Result<()>) -> nix::Result<()> {
    let stat = fstat(stream)?;
    let format = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let is_device = format == SFlag::S_IFBLK || format == SFlag::S_IFCHR && nix::unistd::isatty(stream) == Ok(false);
    if !is_device || fstatvfs(stream)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let mount = match sys::open_tree_at(stream) {
        // Handed to us from another mount namespace.
        Err(Errno::EINVAL) if stat.st_rdev == makedev(1, 3) => null()?,
        other => other?,
    };
    sys::protect_node(mount.as_fd())?;
    let access = OFlag::from_bits_truncate(fcntl(stream, FcntlArg::F_GETFL)?) & OFlag::O_ACCMODE;
    let proc = Proc::open().map_err(|_| Errno::ENOENT)?;
    replace(proc.follow(&format!("self/fd/{}", mount.as_raw_fd()), access)?)
}

/// The null device, behind a mount through which nobody changes it.
///
/// # Errors
/// There is none, or it cannot be opened.
pub(crate) fn protected_null() -> Result<OwnedFd> {
    let place = "open /dev/null";
    let mount = null().context(place)?;
    sys::protect_node(mount.as_fd()).context("mount_setattr /dev/null")?;
    Proc::open()?.follow(&format!("self/fd/{}", mount.as_raw_fd()), OFlag::O_RDWR).context(place)
}

/// Our own `/dev/null`.
fn null() -> nix::Result<OwnedFd> {
    let mount = sys::open_tree(c"/dev/null", sys::TreeFlags { recursive: false, nofollow: true })?;
    if fstat(&mount)?.st_rdev == makedev(1, 3) { Ok(mount) } else { Err(Errno::ENXIO) }
}

/// The file system of pipes without a name (Linux include/uapi/linux/magic.h).
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

fn give_one(stream: BorrowedFd<'_>, uid: u32, gid: Option<u32>, named: bool) -> Result<()> {
    let stat = nix::sys::stat::fstat(stream).context("standard stream: fstat")?;
    let is_pipe = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFIFO;
    if !is_pipe || stat.st_uid == uid && gid.is_none_or(|gid| stat.st_gid == gid) {
        return Ok(());
    }
    // A fifo has a name, by which its owner opens it: it is given only by who asks for that.
    if !named && fstatfs(stream).context("standard stream: fstatfs")?.filesystem_type() != PIPEFS_MAGIC {
        return Ok(());
    }
    match nix::unistd::fchown(stream, Some(Uid::from_raw(uid)), gid.map(Gid::from_raw)) {
        Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => Ok(()),
        Err(errno) => Err(errno).context("standard stream: fchown"),
    }
}
