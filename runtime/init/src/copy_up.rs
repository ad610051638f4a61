//! How does a new tmpfs start with what the image had at its place (`tmpcopyup`)?
//!
//! The source is the container's, the destination is not attached yet: nothing is named by more
//! than one component, and no link is followed.

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Uid};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};

/// Deepest directory that is copied: an image is no reason to exhaust the stack.
const MAX_DEPTH: u32 = 128;

/// Copies what is in `from` into the root of the file system `to`.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, c".", flags, Mode::empty()).call("openat")?;
    let to = rustix::fs::openat(to, c".", flags, Mode::empty()).call("openat")?;
    directory(&from, &to, MAX_DEPTH)
}

fn directory(from: &OwnedFd, to: &OwnedFd, depth: u32) -> Result<()> {
    if depth == 0 {
        return Err(Error::refused("copy", b"", "directories are nested too deeply"));
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.call("getdents64")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(from, to, name, depth).map_err(|e| if e.path.is_empty() { e.on(name.to_bytes()) } else { e })?;
        }
    }
    Ok(())
}

fn one(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: u32) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).call("fstatat")?;
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).call("mkdirat")?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            let source = rustix::fs::openat(from, name, flags, Mode::empty()).call("openat")?;
            let target = rustix::fs::openat(to, name, flags, Mode::empty()).call("openat")?;
            directory(&source, &target, depth - 1)?;
            like(&target, &opened(&source, FileType::Directory)?)
        }
        FileType::RegularFile => {
            let source = rustix::fs::openat(from, name, OFlags::RDONLY | nofollow, Mode::empty()).call("openat")?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600)).call("openat")?;
            let stat = opened(&source, FileType::RegularFile)?;
            contents(&source, &target)?;
            like(&target, &stat)
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new()).call("readlinkat")?;
            rustix::fs::symlinkat(&link, to, name).call("symlinkat")?;
            own_at(to, name, &stat)
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode(&stat), stat.st_rdev).call("mknodat")?;
            own_at(to, name, &stat)
        }
    }
}

fn ids(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// What was opened. What was found before under its name may have been another file: somebody's
/// program would become a set-user-ID program of root's.
fn opened(source: &OwnedFd, kind: FileType) -> Result<Stat> {
    let stat = rustix::fs::fstat(source).call("fstat")?;
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(Error::refused("copy", b"", "it was exchanged while it was copied"));
    }
    Ok(stat)
}

fn like(target: &OwnedFd, stat: &Stat) -> Result<()> {
    let (uid, gid) = ids(stat);
    rustix::fs::fchown(target, uid, gid).call("fchown")?;
    rustix::fs::fchmod(target, mode(stat)).call("fchmod")
}

fn own_at(dir: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = ids(stat);
    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).call("fchownat")
}

fn contents(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let got = match rustix::io::read(from, &mut buffer[..]) {
            Err(Errno::INTR) => continue,
            other => other.call("read")?,
        };
        if got == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            let put = rustix::io::write(to.as_fd(), rest).call("write")?;
            rest = &rest[put..];
        }
    }
}
