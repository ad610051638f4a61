//! What copies bytes from one descriptor to another, and when does it end?
//!
//! What flows into a fifo is spliced and stays in the kernel. splice(2) refuses a file that is opened with `O_APPEND`.
//! Without that flag two shims that log to one file would overwrite each other's lines, and a truncated file would get
//! a hole. So what goes to a file is read and appended. What comes from a file is read, too, never spliced: a container
//! must not hold pages of the page cache.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::SpliceFFlags;

/// How bytes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Between pipes and fifos, inside the kernel.
    Splice,
    /// From or to a terminal.
    Copy,
    /// To a file, which is never polled.
    Append,
    /// From a file, which is always ready.
    ReadFile,
}

/// Copies bytes in one direction.
pub struct Pump {
    /// From here.
    pub from: OwnedFd,
    /// To there.
    pub to: OwnedFd,
    /// In that way.
    pub how: How,
    /// What has been read and could not be written yet.
    rest: Vec<u8>,
    /// The file cannot be written at present.
    full: Option<Errno>,
}

/// What a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Something to read.
    Read,
    /// Space to write to.
    Write,
    /// Nothing: the input has ended, or the reader is gone.
    Nothing,
}

/// Most bytes in one run, so that others get their turn; no pipe of an ordinary user is larger.
const MAX_RUN: usize = 1 << 20;
const PIECE: usize = 8192;

impl Pump {
    /// From here to there.
    pub fn new(from: OwnedFd, to: OwnedFd, how: How) -> Pump {
        Pump { from, to, how, rest: Vec::new(), full: None }
    }

    /// What it waits for at first.
    pub fn first(&self) -> Wants {
        if self.how == How::ReadFile { Wants::Write } else { Wants::Read }
    }

    /// Copies what is there. An error: a file cannot be written, which is reported once. Output is lost until it can:
    /// the container must neither block nor get `EPIPE`.
    pub fn run(&mut self) -> (Wants, Option<Errno>) {
        let full = self.full;
        let wants = self.copy();
        (wants, self.full.filter(|_| full.is_none()))
    }

    fn copy(&mut self) -> Wants {
        let mut moved = 0;
        while moved < MAX_RUN {
            let one = match self.how {
                How::Splice => self.splice_once(),
                How::Copy | How::ReadFile => self.copy_once(),
                How::Append => self.append_once(),
            };
            match one {
                Ok(bytes) => moved += bytes,
                Err(wants) => return wants,
            }
        }
        if self.rest.is_empty() { self.first() } else { Wants::Write }
    }

    fn splice_once(&mut self) -> Result<usize, Wants> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match nix::fcntl::splice(&self.from, None, &self.to, None, 65536, flags) {
            Ok(0) => Err(Wants::Nothing),
            Ok(bytes) => Ok(bytes),
            Err(Errno::EINTR) => Ok(0),
            // The errno does not say on which side.
            Err(Errno::EAGAIN) if self.has_more() => Err(Wants::Write),
            Err(Errno::EAGAIN) => Err(Wants::Read),
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

    fn read(&self, piece: &mut [u8]) -> Result<usize, Wants> {
        match nix::unistd::read(&self.from, piece) {
            // EIO: the other side of the terminal is closed.
            Ok(0) | Err(Errno::EIO) => Err(Wants::Nothing),
            Ok(len) => Ok(len),
            Err(Errno::EINTR) => Ok(0),
            Err(Errno::EAGAIN) => Err(Wants::Read),
            Err(_) => Err(Wants::Nothing),
        }
    }

    fn copy_once(&mut self) -> Result<usize, Wants> {
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
        let len = self.read(&mut piece)?;
        self.rest = match nix::unistd::write(&self.to, &piece[..len]) {
            Ok(written) if written == len => return Ok(len),
            Ok(written) => piece[written..len].to_vec(),
            Err(Errno::EAGAIN | Errno::EINTR) => piece[..len].to_vec(),
            Err(_) => return Err(Wants::Nothing),
        };
        Err(Wants::Write)
    }

    fn append_once(&mut self) -> Result<usize, Wants> {
        let mut piece = [0u8; PIECE];
        let len = self.read(&mut piece)?;
        let mut rest = &piece[..len];
        self.full = loop {
            match nix::unistd::write(&self.to, rest) {
                Ok(written) if written == rest.len() => break None,
                Ok(written) => rest = &rest[written..],
                Err(Errno::EINTR) => {}
                Err(errno) => break Some(errno),
            }
        };
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::{never_wait, pipe};

    #[test]
    fn a_pump_waits_for_the_side_that_is_not_ready() {
        for how in [How::Splice, How::Copy] {
            let (from, into) = pipe().unwrap();
            let (out, to) = pipe().unwrap();
            never_wait(&to).unwrap();
            let mut pump = Pump::new(from, to, how);
            assert_eq!(pump.run().0, Wants::Read);
            never_wait(&into).unwrap();
            let piece = [7u8; 4096];
            let mut sent = 0;
            let mut received = 0;
            for _ in 0..100 {
                sent += nix::unistd::write(&into, &piece).unwrap_or(0);
                let wants = pump.run().0;
                assert!(wants != Wants::Nothing);
            }
            assert!(sent > 65536, "{sent}: the pump took nothing");
            assert_eq!(pump.run().0, Wants::Write);
            drop(into);
            let mut buffer = [0u8; 65536];
            while pump.run().0 != Wants::Nothing {
                received += nix::unistd::read(&out, &mut buffer).unwrap();
            }
            while let Ok(len @ 1..) = nix::unistd::read(&out, &mut buffer) {
                received += len;
            }
            assert_eq!(received, sent, "{how:?}");
        }
    }

    #[test]
    fn a_file_is_read_as_fast_as_it_is_taken() {
        let file = tempfile(&[7; 200_000]);
        let (out, to) = pipe().unwrap();
        never_wait(&to).unwrap();
        let mut pump = Pump::new(file, to, How::ReadFile);
        let (mut buffer, mut received) = ([0u8; 65536], 0);
        assert_eq!(pump.first(), Wants::Write);
        while pump.run().0 == Wants::Write {
            received += nix::unistd::read(&out, &mut buffer).unwrap();
        }
        drop(pump);
        while let Ok(len @ 1..) = nix::unistd::read(&out, &mut buffer) {
            received += len;
        }
        assert_eq!(received, 200_000);
    }

    #[test]
    fn a_full_disk_is_reported_once_and_ends_nothing() {
        let (from, into) = pipe().unwrap();
        let full = std::fs::File::options().append(true).open("/dev/full").unwrap();
        let mut pump = Pump::new(from, full.into(), How::Append);
        nix::unistd::write(&into, b"lost").unwrap();
        assert_eq!(pump.run(), (Wants::Read, Some(Errno::ENOSPC)));
        nix::unistd::write(&into, b"lost, too").unwrap();
        assert_eq!(pump.run(), (Wants::Read, None));
        pump.to = tempfile(b"");
        nix::unistd::write(&into, b"kept").unwrap();
        assert_eq!(pump.run(), (Wants::Read, None));
        drop(into);
        assert_eq!(pump.run(), (Wants::Nothing, None));
        let mut file = std::fs::File::from(pump.to);
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(std::io::read_to_string(file).unwrap(), "kept");
    }

    /// A file without a name, at its beginning.
    fn tempfile(bytes: &[u8]) -> OwnedFd {
        let mut file =
            std::fs::File::from(nix::sys::memfd::memfd_create(c"file", nix::sys::memfd::MFdFlags::empty()).unwrap());
        std::io::Write::write_all(&mut file, bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file.into()
    }
}
