//! Whose are the standard streams that a program is handed?
//!
//! Terminals, files and devices are the caller's and stay it: a user of the host that has the number
//! of the container's would read what is typed there. A pipe has no name that others could open: it is
//! given to the program's user, who may open `/dev/stderr`. With the privileges of the host half, in
//! whose user namespace the pipe's owner is.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::Uid;

use crate::error::{Context, Result};
use crate::plan::ids;
use crate::probe::host;

/// Gives the pipes among our standard streams to user `uid` of the container; `named`: fifos, too.
/// `first` lives in the container's user namespace, where it has one.
///
/// # Errors
/// Those of fchown(2), but that the stream is not ours to give: it stays usable through its descriptor.
pub(super) fn give(uid: u32, first: Option<i32>, named: bool) -> Result<()> {
    let uid = match first {
        None => Some(uid),
        Some(pid) => ids::outside(&host::id_map(&format!("/proc/{pid}/uid_map"))?, uid),
    };
    // Root may open what it likes.
    let Some(uid) = uid.filter(|uid| *uid != 0) else { return Ok(()) };
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [input.as_fd(), output.as_fd(), error.as_fd()].into_iter().try_for_each(|stream| give_one(stream, uid, named))
}

/// The file system of pipes without a name (Linux include/uapi/linux/magic.h).
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

fn give_one(stream: BorrowedFd<'_>, uid: u32, named: bool) -> Result<()> {
    let stat = nix::sys::stat::fstat(stream).context("standard stream: fstat")?;
    let is_pipe = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFIFO;
    if !is_pipe || stat.st_uid == uid {
        return Ok(());
    }
    // A fifo has a name, by which its owner opens it: it is given only by who asks for that.
    if !named && fstatfs(stream).context("standard stream: fstatfs")?.filesystem_type() != PIPEFS_MAGIC {
        return Ok(());
    }
    match nix::unistd::fchown(stream, Some(Uid::from_raw(uid)), None) {
        Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => Ok(()),
        Err(errno) => Err(errno).context("standard stream: fchown"),
    }
}
