//! How does the init name a file in a root file system that an attacker may be changing?
//!
//! Every look-up is one `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` from the root's own descriptor. What is
//! then created is created relative to the descriptor found, with a call that does not follow links
//! (CVE-2021-30465, CVE-2024-45310).

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};

/// Most symbolic links to missing files that one path may lead through, as in the kernel.
const MAX_LINKS: u32 = 40;

/// `openat2(2)` in `root`; tried again when a rename elsewhere disturbed the walk.
fn open2(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let mut tries = 128;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries > 0 => tries -= 1,
            other => return other,
        }
    }
}

/// A handle (`O_PATH`) on an existing file of the container; links lead nowhere but inside.
pub(crate) fn find(root: impl AsFd, path: &CStr) -> rustix::io::Result<OwnedFd> {
    open(root, path, OFlags::PATH)
}

/// Opens an existing file of the container; links lead nowhere but inside.
pub(crate) fn open(root: impl AsFd, path: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    open2(root.as_fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The same where no part of the path may be a symbolic link.
pub(crate) fn find_nofollow(root: impl AsFd, path: &CStr) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    open2(root.as_fd(), path, OFlags::PATH, resolve)
}

/// What to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Directory,
    File,
}

/// A handle on `path`, made with its parents where it is missing.
pub(crate) fn find_or_make(root: impl AsFd, path: &CStr, make: Make) -> Result<OwnedFd> {
    match find(&root, path) {
        Err(Errno::NOENT) => make_missing(root.as_fd(), path.to_bytes(), make, MAX_LINKS),
        other => other.call_on("openat2", path),
    }
}

/// The same where no part of the path may be a symbolic link.
pub(crate) fn find_or_make_nofollow(root: impl AsFd, path: &CStr, make: Make) -> Result<OwnedFd> {
    let outcome = match find_nofollow(&root, path) {
        Err(Errno::NOENT) => {
            make_missing(root.as_fd(), path.to_bytes(), make, MAX_LINKS)?;
            find_nofollow(&root, path)
        }
        other => other,
    };
    outcome.map_err(|errno| {
        let error = Error::new("openat2", errno).on(path.to_bytes());
        if errno == Errno::LOOP {
            error.hint("a symbolic link in the image stands where a real directory must be")
        } else {
            error
        }
    })
}

fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new("path", Errno::INVAL))
}

/// Walks down as far as the path exists, then makes the rest component by component.
fn make_missing(root: BorrowedFd<'_>, path: &[u8], make: Make, links_left: u32) -> Result<OwnedFd> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    let mut at: OwnedFd = find(root, c".").call("openat2")?;
    let mut made = false;
    let mut walked: Vec<u8> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let parent_text = walked.clone();
        walked.push(b'/');
        walked.extend_from_slice(part);
        let walked_c = c_string(&walked)?;
        let name = c_string(part)?;
        if !made {
            match find(root, &walked_c) {
                Ok(fd) => {
                    at = fd;
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::new("openat2", errno).on(path)),
            }
        }
        if *part == b".." {
            return Err(Error::new("mkdirat", Errno::NOENT)
                .on(path)
                .hint("\"..\" below a directory that does not exist"));
        }
        let last = index + 1 == parts.len();
        let outcome = if last && make == Make::File {
            rustix::fs::mknodat(&at, &name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
        } else {
            rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755))
        };
        match outcome {
            Ok(()) => made = true,
            // Found missing and yet there: a link that leads to nothing, or somebody was faster.
            Err(Errno::EXIST) if links_left > 0 => {
                if let Ok(target) = rustix::fs::readlinkat(&at, &name, Vec::new()) {
                    let target = target.to_bytes();
                    let mut next = if target.first() == Some(&b'/') { Vec::new() } else { parent_text };
                    next.push(b'/');
                    next.extend_from_slice(target);
                    for rest in &parts[index + 1..] {
                        next.push(b'/');
                        next.extend_from_slice(rest);
                    }
                    let next_c = c_string(&next)?;
                    return match find(root, &next_c) {
                        Err(Errno::NOENT) => make_missing(root, &next, make, links_left - 1),
                        other => other.call_on("openat2", &next_c),
                    };
                }
            }
            Err(errno) => {
                let call = if last && make == Make::File { "mknodat" } else { "mkdirat" };
                let error = Error::new(call, errno).on(&walked);
                return Err(if errno == Errno::ROFS {
                    error.hint("the mount point is missing and its file system is read-only; add it to the image")
                } else {
                    error
                });
            }
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        at = open2(at.as_fd(), &name, OFlags::PATH, resolve).call_on("openat2", &walked_c)?;
    }
    Ok(at)
}

/// Splits off the last component: the parent's path and the name.
pub(crate) fn split(path: &CStr) -> Option<(CString, CString)> {
    let bytes = path.to_bytes();
    let cut = bytes.iter().rposition(|b| *b == b'/')?;
    let name = CString::new(&bytes[cut + 1..]).ok()?;
    let parent = CString::new(if cut == 0 { &b"/"[..] } else { &bytes[..cut] }).ok()?;
    (!name.is_empty()).then_some((parent, name))
}

/// What the handle is one of.
pub(crate) fn file_type(fd: impl AsFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd).call("fstat")?.st_mode))
}

/// Whether the handle is a directory.
pub(crate) fn is_dir(fd: impl AsFd) -> Result<bool> {
    Ok(file_type(fd)? == FileType::Directory)
}
