//! What do stream URIs mean, and how are streams opened?
//!
//! An init gets the caller's fifos themselves: nothing is copied. The shim holds a read end of its output: the
//! init gets neither `SIGPIPE` nor `EPIPE` while the reader is away, and its output stays in the fifo. Until
//! CloseIO it also holds a write end of its standard input. All writers end with the init, so the reader gets the
//! end of the file, too.
//!
//! The children of a further process may hold its streams after its exit. It gets pipes, which are spliced on, so that
//! the shim can close the fifos. A terminal is copied.
//!
//! A file is always behind a pipe. A process with a descriptor of it, even a read-only one, can open it again for
//! writing by `/proc/self/fd`, truncate it, write a program into it and make that setuid. Only fifos, pipes,
//! terminals and `/dev/null` are passed in.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use cleat::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag};
use nix::unistd::{Gid, Uid};

/// What a stream's name means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// No stream: `/dev/null`.
    #[default]
    Null,
    /// A path: a fifo, or another file.
    Fifo(PathBuf),
    /// A file to append to.
    File(PathBuf),
    /// A program that reads what is written.
    Binary {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// It is ready when it has written a byte, not when it has only closed the descriptor (`binary-v2`).
        writes_ready: bool,
    },
}

/// Parses a stream's URI: a path, or `fifo://`, `file://`, `binary://` or `binary-v2://` and a path.
///
/// # Errors
/// Another scheme, or a path that is not absolute.
pub fn target(uri: &str) -> Result<Target> {
    if uri.is_empty() {
        return Ok(Target::Null);
    }
    let (scheme, rest) = uri.split_once("://").unwrap_or(("fifo", uri));
    let (path, query) = match scheme {
        "binary" | "binary-v2" => rest.split_once('?').unwrap_or((rest, "")),
        _ => (rest, ""),
    };
    if !path.starts_with('/') {
        return Err(Error::new(format!("stdio {uri:?}: the path must be absolute")));
    }
    match scheme {
        "fifo" => Ok(Target::Fifo(path.into())),
        "file" => Ok(Target::File(path.into())),
        "binary" | "binary-v2" => Ok(Target::Binary {
            program: path.into(),
            arguments: arguments(query),
            writes_ready: scheme == "binary-v2",
        }),
        _ => Err(Error::new(format!("stdio {uri:?}: unknown scheme; it is fifo, file, binary or binary-v2"))),
    }
}

/// `k=v&k2=v2` as the words `k v k2 v2`.
fn arguments(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let words = pairs.flat_map(|pair| match pair.split_once('=') {
        Some((key, value)) => vec![decode(key), decode(value)],
        None => vec![decode(pair)],
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut two = bytes.clone();
        match (byte, two.next().and_then(hex), two.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                bytes = two;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn set_flags(fd: &OwnedFd, flags: OFlag) -> Result<()> {
    nix::fcntl::fcntl(fd, FcntlArg::F_SETFL(flags)).context("fcntl F_SETFL").map(drop)
}

/// What is at the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fifo, which is passed in.
    Fifo,
    /// `/dev/null`, which is passed in, too.
    Null,
    /// A regular file.
    File,
    /// Anything else, such as a terminal.
    Device,
}

fn kind(fd: &OwnedFd) -> Result<Kind> {
    use nix::sys::stat::{SFlag, fstat, makedev};
    let stat = fstat(fd).context("fstat")?;
    let format = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    Ok(match format {
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFCHR if stat.st_rdev == makedev(1, 3) => Kind::Null,
        _ => Kind::Device,
    })
}

/// An `O_PATH` descriptor: what is looked at is what is opened, whatever is done to the path.
fn handle(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
}

/// Something to write to.
pub struct Output {
    /// For the writer.
    pub write: OwnedFd,
    /// The read end that we hold.
    pub hold: Option<OwnedFd>,
    /// What it is.
    pub kind: Kind,
}

/// Opens something to write to; creates a file if there is none. `ours`: the shim writes, and must never block.
///
/// # Errors
/// Those of open(2) and mkdir(2).
pub fn output(path: &Path, ours: bool) -> Result<Output> {
    let place = || format!("open {}", path.display());
    let there = match handle(path) {
        Err(Errno::ENOENT) => make_file(path)?,
        other => other.context(place())?,
    };
    let kind = kind(&there)?;
    let flags = match kind {
        Kind::Fifo | Kind::Null => OFlag::empty(),
        // Others may append to the same file.
        Kind::File => OFlag::O_APPEND,
        Kind::Device => OFlag::O_NOCTTY,
    };
    // The read end first: without one, open(2) of a write end blocks or fails.
    let hold = if kind == Kind::Fifo { Some(open_again(&there, OFlag::O_RDONLY).context(place())?) } else { None };
    let write = open_again(&there, OFlag::O_WRONLY | flags).context(place())?;
    if kind == Kind::Null || kind == Kind::Fifo && !ours {
        set_flags(&write, OFlag::empty())?;
    }
    Ok(Output { write, hold, kind })
}

/// Creates a file, and the directories above it.
fn make_file(path: &Path) -> Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).context(format_args!("mkdir {}", parent.display()))?;
    }
    let flags = OFlag::O_NONBLOCK.bits();
    let mut options = std::fs::OpenOptions::new();
    let file = options.append(true).create(true).mode(0o644).custom_flags(flags).open(path);
    file.map(OwnedFd::from).context(format_args!("open {}", path.display()))
}

/// Whether there is unread content.
pub fn has_unread(hold: &OwnedFd) -> bool {
    cleat::sys::child::unread(hold.as_fd()).is_ok_and(|bytes| bytes > 0)
}

/// Opens the same file again, by descriptor and not by path, without blocking.
fn open_again(fd: &OwnedFd, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    nix::fcntl::open(&*path, flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
}

/// Another read end of a fifo.
pub fn read_end(fifo: &OwnedFd) -> Option<OwnedFd> {
    open_again(fifo, OFlag::O_RDONLY).ok()
}

/// A write end of a fifo.
pub fn write_end(fifo: &OwnedFd) -> Option<OwnedFd> {
    open_again(fifo, OFlag::O_WRONLY).ok()
}

/// Whether a fifo has a reader.
pub fn is_read(write: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    let mut fds = [PollFd::new(write.as_fd(), PollFlags::empty())];
    let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok() && fds[0].revents().is_some_and(|events| !events.contains(PollFlags::POLLERR))
}

/// Something to read from.
pub struct Input {
    /// For the reader.
    pub read: OwnedFd,
    /// The write end that we hold until CloseIO.
    pub hold: Option<OwnedFd>,
    /// What it is.
    pub kind: Kind,
}

/// Opens something to read from. `ours`: the shim reads, and must never block.
///
/// # Errors
/// Those of open(2).
pub fn input(path: &Path, ours: bool) -> Result<Input> {
    let place = || format!("open {}", path.display());
    let there = handle(path).context(place())?;
    let kind = kind(&there)?;
    let read = open_again(&there, OFlag::O_RDONLY | OFlag::O_NOCTTY).context(place())?;
    let hold = if kind == Kind::Fifo { Some(open_again(&there, OFlag::O_WRONLY).context(place())?) } else { None };
    if kind == Kind::Null || kind == Kind::Fifo && !ours {
        set_flags(&read, OFlag::empty())?;
    }
    Ok(Input { read, hold, kind })
}

/// A pipe: the non-blocking read end for the shim, and the other.
///
/// # Errors
/// Those of pipe2(2).
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
    set_flags(&read, OFlag::O_NONBLOCK)?;
    Ok((read, write))
}

/// Gives a stream to the process's user, who can then open it by path.
pub fn give(fd: impl AsFd, uid: u32, gid: u32) {
    if uid != 0 || gid != 0 {
        let _ = nix::unistd::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    }
}

/// Sets `O_NONBLOCK`.
///
/// # Errors
/// Those of fcntl(2).
pub fn never_wait(fd: &OwnedFd) -> Result<()> {
    let flags = nix::fcntl::fcntl(fd, FcntlArg::F_GETFL).context("fcntl F_GETFL")?;
    set_flags(fd, OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK)
}

/// A stream for a process to be spawned.
pub fn stdio(fd: Option<OwnedFd>) -> process::Stdio {
    fd.map_or_else(process::Stdio::null, process::Stdio::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_path_or_an_uri() {
        assert_eq!(target("").unwrap(), Target::Null);
        assert_eq!(target("/run/f").unwrap(), Target::Fifo("/run/f".into()));
        assert_eq!(target("fifo:///run/f").unwrap(), Target::Fifo("/run/f".into()));
        assert_eq!(target("file:///l?x").unwrap(), Target::File("/l?x".into()));
        let words = ["id", "a b", "k"].map(str::to_owned).to_vec();
        let binary =
            |writes_ready| Target::Binary { program: "/bin/log".into(), arguments: words.clone(), writes_ready };
        assert_eq!(target("binary:///bin/log?id=a%20b&k").unwrap(), binary(false));
        assert_eq!(target("binary-v2:///bin/log?id=a%20b&k").unwrap(), binary(true));
        for wrong in ["relative", "file://relative", "npipe:///x"] {
            assert!(target(wrong).unwrap_err().to_string().starts_with("stdio"), "{wrong}");
        }
    }

    #[test]
    fn percent_signs_that_mean_nothing_stay() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%zz%41+"), "%zzA ");
    }
}
