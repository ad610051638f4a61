//! How do bytes flow, and when do they end?
//!
//! An init gets the caller's fifos themselves: nothing is copied and nothing has to be done here. We
//! hold a read end of what it writes to, so that it is neither killed nor told `EPIPE` while the
//! reader is away, and what it has written waits there; and a write end of what it reads, until
//! CloseIO. All who could write end with the init, so the reader sees the end, too.
//!
//! A further process may leave children behind that keep its streams: it gets pipes, which
//! are spliced on, so that the end can be told when it was asked for. A terminal is copied.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use cleat::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags};
use nix::unistd::{Gid, Uid};

/// What a stream's name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing is wanted, nothing comes.
    Null,
    /// A fifo, or whatever file is there.
    Fifo(PathBuf),
    /// A file to append to.
    File(PathBuf),
    /// A program that reads what is written, and its arguments.
    Binary(PathBuf, Vec<String>),
}

/// Reads a stream's name: a path, or `fifo://`, `file://` or `binary://` and a path.
///
/// # Errors
/// Another scheme, or a path that is not absolute.
pub fn target(uri: &str) -> Result<Target> {
    if uri.is_empty() {
        return Ok(Target::Null);
    }
    let (scheme, rest) = uri.split_once("://").unwrap_or(("fifo", uri));
    let (path, query) = match scheme {
        "binary" => rest.split_once('?').unwrap_or((rest, "")),
        _ => (rest, ""),
    };
    if !path.starts_with('/') {
        return Err(Error::new(format!("stdio {uri:?}: the path must be absolute")));
    }
    match scheme {
        "fifo" => Ok(Target::Fifo(path.into())),
        "file" => Ok(Target::File(path.into())),
        "binary" => Ok(Target::Binary(path.into(), arguments(query))),
        _ => Err(Error::new(format!("stdio {uri:?}: unknown scheme; it is fifo, file or binary"))),
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

/// Percent-encoding, undone.
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

fn open(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .context(format_args!("open {}", path.display()))
}

fn set_flags(fd: &OwnedFd, flags: OFlag) -> Result<()> {
    nix::fcntl::fcntl(fd, FcntlArg::F_SETFL(flags)).context("fcntl F_SETFL").map(drop)
}

/// Something to write to, and what keeps it from breaking.
pub struct Output {
    /// For the writer.
    pub write: OwnedFd,
    /// The read end that we hold.
    pub hold: Option<OwnedFd>,
}

/// Opens what is written to. `ours`: we write, and never wait for a reader.
///
/// # Errors
/// Those of open(2).
pub fn output(path: &Path, ours: bool) -> Result<Output> {
    let is_fifo = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if !is_fifo {
        return file(path).map(|write| Output { write, hold: None });
    }
    // The read end first: without it a write end cannot be opened without waiting.
    let hold = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    let write = open(path, OFlag::O_WRONLY | if ours { OFlag::O_NONBLOCK } else { OFlag::empty() })?;
    Ok(Output { write, hold: Some(hold) })
}

/// Whether something was written that nobody has read.
pub fn has_unread(hold: &OwnedFd) -> bool {
    cleat::sys::supervise::unread(hold.as_fd()).is_ok_and(|bytes| bytes > 0)
}

/// The same fifo, by what it is and not by what its name has become.
fn reopen(fifo: &OwnedFd, flags: OFlag) -> Option<OwnedFd> {
    open(Path::new(&format!("/proc/self/fd/{}", fifo.as_raw_fd())), flags | OFlag::O_NONBLOCK).ok()
}

/// Another read end, which lets in whoever waits to write.
pub fn read_end(fifo: &OwnedFd) -> Option<OwnedFd> {
    reopen(fifo, OFlag::O_RDONLY)
}

/// A write end, which lets in whoever waits to read.
pub fn write_end(fifo: &OwnedFd) -> Option<OwnedFd> {
    reopen(fifo, OFlag::O_WRONLY)
}

/// Whether anybody can read what is written there.
pub fn is_read(write: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    let mut fds = [PollFd::new(write.as_fd(), PollFlags::empty())];
    let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok() && fds[0].revents().is_some_and(|events| !events.contains(PollFlags::POLLERR))
}

/// Opens a file to append to, and makes it where it is not there.
///
/// # Errors
/// Those of mkdir(2) and open(2).
pub fn file(path: &Path) -> Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).context(format_args!("mkdir {}", parent.display()))?;
    }
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o644).open(path);
    file.map(OwnedFd::from).context(format_args!("open {}", path.display()))
}

/// Something to read from, and what keeps it from ending.
pub struct Input {
    /// For the reader.
    pub read: OwnedFd,
    /// The write end that we hold until CloseIO.
    pub hold: Option<OwnedFd>,
}

/// Opens what is read from. `ours`: we read, and never wait for a writer.
///
/// # Errors
/// Those of open(2).
pub fn input(path: &Path, ours: bool) -> Result<Input> {
    let is_fifo = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if !is_fifo {
        return Ok(Input { read: open(path, OFlag::O_RDONLY)?, hold: None });
    }
    let read = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    let hold = open(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK)?;
    if !ours {
        set_flags(&read, OFlag::empty())?;
    }
    Ok(Input { read, hold: Some(hold) })
}

/// A pipe: the end that we read, without waiting, and the other.
///
/// # Errors
/// Those of pipe2(2).
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
    set_flags(&read, OFlag::O_NONBLOCK)?;
    Ok((read, write))
}

/// Gives a stream to the user that the process will be, who may open it by name.
pub fn give(fd: impl AsFd, uid: u32, gid: u32) {
    if uid != 0 || gid != 0 {
        let _ = nix::unistd::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    }
}

/// Sets a descriptor of ours to never wait.
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

/// Bytes on their way in one direction.
pub struct Pump {
    /// From here.
    pub from: OwnedFd,
    /// To there.
    pub to: OwnedFd,
    /// Both can be spliced: what is on its way stays in the kernel.
    pub splice: bool,
    /// What has been read and could not be written yet.
    rest: Vec<u8>,
}

/// What a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Something to read.
    Read,
    /// Space to write to.
    Write,
    /// Nothing any more: there is no more to come, or nobody to take it.
    Nothing,
}

/// Most bytes in one go, so that others have their turn.
const GO: usize = 1 << 20;
const PIECE: usize = 8192;

impl Pump {
    /// From here to there.
    pub fn new(from: OwnedFd, to: OwnedFd, splice: bool) -> Pump {
        Pump { from, to, splice, rest: Vec::new() }
    }

    /// Moves what is there.
    pub fn run(&mut self) -> Wants {
        let mut moved = 0;
        while moved < GO {
            let one = if self.splice { self.splice_once() } else { self.copy_once() };
            match one {
                Ok(bytes) => moved += bytes,
                Err(wants) => return wants,
            }
        }
        if self.rest.is_empty() { Wants::Read } else { Wants::Write }
    }

    fn splice_once(&mut self) -> std::result::Result<usize, Wants> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match nix::fcntl::splice(&self.from, None, &self.to, None, 65536, flags) {
            Ok(0) => Err(Wants::Nothing),
            Ok(bytes) => Ok(bytes),
            Err(Errno::EINTR) => Ok(0),
            // Of which side, it does not say.
            Err(Errno::EAGAIN) if self.has_more() => Err(Wants::Write),
            Err(Errno::EAGAIN) => Err(Wants::Read),
            Err(Errno::EINVAL) => {
                // A file that takes no splice, such as one opened to append.
                self.splice = false;
                Ok(0)
            }
            Err(_) => Err(Wants::Nothing),
        }
    }

    /// Whether there is something to read.
    fn has_more(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout};
        let mut fds = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN))
    }

    fn copy_once(&mut self) -> std::result::Result<usize, Wants> {
        if !self.rest.is_empty() {
            return match nix::unistd::write(&self.to, &self.rest) {
                Ok(bytes) if bytes == self.rest.len() => {
                    self.rest = Vec::new();
                    Ok(bytes)
                }
                Ok(bytes) => {
                    self.rest.drain(..bytes);
                    Ok(bytes)
                }
                Err(Errno::EINTR) => Ok(0),
                Err(Errno::EAGAIN) => Err(Wants::Write),
                Err(_) => Err(Wants::Nothing),
            };
        }
        let mut piece = [0u8; PIECE];
        let len = match nix::unistd::read(&self.from, &mut piece) {
            // EIO: nobody holds the other side of the terminal any more.
            Ok(0) | Err(Errno::EIO) => return Err(Wants::Nothing),
            Ok(len) => len,
            Err(Errno::EINTR) => return Ok(0),
            Err(Errno::EAGAIN) => return Err(Wants::Read),
            Err(_) => return Err(Wants::Nothing),
        };
        self.rest = match nix::unistd::write(&self.to, &piece[..len]) {
            Ok(written) if written == len => return Ok(len),
            Ok(written) => piece[written..len].to_vec(),
            Err(Errno::EAGAIN | Errno::EINTR) => piece[..len].to_vec(),
            Err(_) => return Err(Wants::Nothing),
        };
        Err(Wants::Write)
    }
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
        assert_eq!(target("binary:///bin/log?id=a%20b&k").unwrap(), Target::Binary("/bin/log".into(), words));
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

    #[test]
    fn a_pump_waits_for_the_side_that_is_not_ready() {
        for splice in [true, false] {
            let (from, into) = pipe().unwrap();
            let (out, to) = pipe().unwrap();
            never_wait(&to).unwrap();
            let mut pump = Pump::new(from, to, splice);
            assert_eq!(pump.run(), Wants::Read);
            never_wait(&into).unwrap();
            let piece = [7u8; 4096];
            let mut sent = 0;
            let mut received = 0;
            for _ in 0..100 {
                sent += nix::unistd::write(&into, &piece).unwrap_or(0);
                let wants = pump.run();
                assert!(wants != Wants::Nothing);
            }
            assert!(sent > 65536, "{sent}: the pump took nothing");
            assert_eq!(pump.run(), Wants::Write);
            drop(into);
            let mut buffer = [0u8; 65536];
            while pump.run() != Wants::Nothing {
                received += nix::unistd::read(&out, &mut buffer).unwrap();
            }
            while let Ok(len @ 1..) = nix::unistd::read(&out, &mut buffer) {
                received += len;
            }
            assert_eq!(received, sent, "splice: {splice}");
        }
    }
}
