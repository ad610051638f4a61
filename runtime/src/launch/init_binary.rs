//! Which program is a container's first process before it becomes its own?
//!
//! Not this one: see `runtime/init`.

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag};
use nix::sys::memfd::MFdFlags;

use crate::error::{Context, Result};

/// The init's program, built for this purpose (see build.rs).
const INIT: &[u8] = include_bytes!(env!("CLEAT_INIT"));

/// Its size in bytes.
#[must_use]
pub fn size() -> usize {
    INIT.len()
}

/// The init as a file that nobody can change and nobody else uses: a copy of our own bytes, never
/// the page cache of a file (CVE-2019-5736, runc#5272).
///
/// # Errors
/// Those of memfd_create(2) and write(2).
pub fn sealed() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = nix::sys::memfd::memfd_create(c"cleat-init", flags | MFdFlags::from_bits_retain(0x10))
        // MFD_EXEC is known since Linux 6.3.
        .or_else(|_| nix::sys::memfd::memfd_create(c"cleat-init", flags))
        .context("memfd_create")?;
    let mut rest = INIT;
    while !rest.is_empty() {
        let put = nix::unistd::write(&fd, rest).context("write init")?;
        rest = &rest[put..];
    }
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    nix::fcntl::fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).context("seal init")?;
    Ok(fd)
}
