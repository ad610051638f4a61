//! What messages do the halves exchange?
//!
//! The host's end of the channel. The other end may have been taken over by the container:
//! nothing that comes from there is trusted further than its type.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use cleat_plan::Step;
use cleat_plan::wire::{self, FromInit, ToInit};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType};

use crate::error::{Context, Error, Kind, Result, errno_name, errno_text, printable};
use crate::sys;

/// One end of a `SOCK_SEQPACKET` channel.
pub struct Channel {
    socket: OwnedFd,
}

/// What the init said, with a descriptor that may have come along.
pub enum Received {
    /// A message.
    Message(FromInit, Option<OwnedFd>),
    /// The other end closed without a word: it became its program, or died.
    Closed,
}

impl Channel {
    /// Both ends: ours, and the one for the init.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn pair() -> Result<(Channel, OwnedFd)> {
        let (ours, theirs) =
            nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .context("socketpair")?;
        Ok((Channel { socket: ours }, theirs))
    }

    /// A connected socket.
    #[must_use]
    pub fn over(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// The socket, to poll.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &control[..] };
        loop {
            let iov = [IoSlice::new(bytes)];
            match nix::sys::socket::sendmsg::<()>(self.socket.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None)
            {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Sends one message. That the other end is gone is no error here: it is received next.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, message: ToInit) -> Result<()> {
        let bytes = wire::encode(&message).map_err(|error| Error::new(format!("encode message: {error}")))?;
        match self.send_bytes(&bytes, &[]) {
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno).context("sendmsg"),
        }
    }

    /// Sends the plan and its descriptors.
    ///
    /// # Errors
    /// The plan is longer than 16 MiB; those of sendmsg(2).
    pub fn send_plan(&self, plan: &cleat_plan::Plan, fds: &[OwnedFd]) -> Result<()> {
        let bytes = wire::encode_plan(plan).map_err(|error| Error::new(format!("encode plan: {error}")))?;
        if bytes.len() > wire::MAX_PLAN {
            return Err(Error::new("config.json: arguments, environment and mounts are longer than 16 MiB"));
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.send(ToInit::Plan { len, fds: u16::try_from(fds.len()).unwrap_or(u16::MAX) })?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut batches = borrowed.chunks(wire::MAX_FDS);
        // As many pieces as it takes to carry all descriptors, of which a packet has room for few.
        let piece_len = bytes.len().div_ceil(batches.len().max(1)).clamp(1, wire::MAX_PACKET);
        for piece in bytes.chunks(piece_len) {
            self.send_piece(piece, batches.next().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Sends the mounts that were opened for the init.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send_mounts(&self, fds: &[OwnedFd]) -> Result<()> {
        let bytes = wire::encode(&ToInit::Mounts).map_err(|error| Error::new(format!("encode message: {error}")))?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        borrowed.chunks(wire::MAX_FDS).try_for_each(|batch| self.send_piece(&bytes, batch))
    }

    fn send_piece(&self, piece: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.send_bytes(piece, fds) {
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno).context("sendmsg"),
        }
    }

    /// Sends a descriptor with one byte: to a copy of this process, not to an init.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(crate) fn send_file(&self, file: BorrowedFd<'_>) -> Result<()> {
        self.send_bytes(&[0], &[file]).context("sendmsg")
    }

    /// Sends a text, of which some may be cut off.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(crate) fn send_text(&self, text: &str) -> Result<()> {
        let bytes = text.as_bytes();
        self.send_bytes(&bytes[..bytes.len().min(wire::MAX_ANSWER / 4)], &[]).context("sendmsg")
    }

    /// The next thing the init says.
    ///
    /// # Errors
    /// Not a message; those of recvmsg(2).
    pub fn recv(&self) -> Result<Received> {
        let mut packet = [0; wire::MAX_ANSWER];
        let received = match sys::receive(self.socket.as_fd(), &mut packet) {
            // It has ended and left something of ours unread: what it has said before that is still there.
            Err(Errno::ECONNRESET) => sys::receive(self.socket.as_fd(), &mut packet),
            other => other,
        };
        let (got, mut fds) = match received {
            Err(Errno::ECONNRESET) => return Ok(Received::Closed),
            other => other.context("recvmsg")?,
        };
        if got == 0 {
            return Ok(Received::Closed);
        }
        let message =
            wire::decode(&packet[..got]).map_err(|_| Error::new("the init sent something that is no message"))?;
        // It is passed on, written to and read: nothing but a terminal may be put in its place.
        if message == FromInit::Console && !fds.last().is_some_and(|fd| sys::is_terminal_master(fd.as_fd())) {
            return Err(Error::new("the init sent something that is no terminal's master"));
        }
        Ok(Received::Message(message, fds.pop()))
    }
}

/// What is known of an answer of the kernel's and need not make the init larger.
fn reason(step: Step, errno: Errno) -> &'static str {
    match (step, errno) {
        (Step::MemoryPolicy, Errno::EINVAL) => {
            "one of the nodes is not there, or the kernel does not know the mode; see /sys/devices/system/node"
        }
        (Step::Personality, Errno::EINVAL) => "this processor runs no 32-bit programs",
        _ => "",
    }
}

/// A failed step of the init as one line.
#[must_use]
pub fn failure_text(failure: &wire::Failure) -> String {
    format!("{}: {}", failure.step.name(), failed_call(failure))
}

/// A failed step of the init, at the property that it is about where a step says less.
#[must_use]
pub fn failure_error(failure: &wire::Failure) -> Error {
    match (failure.step, failure.call.as_slice(), Errno::from_raw(failure.errno)) {
        (Step::Credentials | Step::Cwd, b"chdir" | b"getcwd", _) => Error::at("process.cwd", failed_call(failure)),
        (Step::Mounts, b"open_tree", Errno::ENOENT) => Error::new(failure_text(failure)).with_kind(Kind::NoSource),
        _ => Error::new(failure_text(failure)),
    }
}

fn failed_call(failure: &wire::Failure) -> String {
    // Paths and interpreter lines are the image's: they must not speak to a terminal.
    let part = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let mut text = part(&failure.call);
    if !failure.path.is_empty() {
        text.push(' ');
        text.push_str(&part(&failure.path));
    }
    let errno = Errno::from_raw(failure.errno);
    let hint = if failure.hint.is_empty() { reason(failure.step, errno).to_owned() } else { part(&failure.hint) };
    if failure.errno != 0 {
        let words = if hint.is_empty() { errno_text(errno) } else { errno_name(errno) };
        // A hint that says the same takes the place of the words.
        let says_it = words.split_once(" (").is_some_and(|(words, _)| hint.starts_with(words));
        text.push_str(": ");
        text.push_str(&if says_it { format!("{errno:?}") } else { words });
        if !hint.is_empty() {
            text.push_str("; ");
            text.push_str(&hint);
        }
    } else if !hint.is_empty() {
        text.push_str(": ");
        text.push_str(&hint);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel reports what was left unread before what was said.
    #[test]
    fn what_an_init_said_is_heard_when_it_has_ended_without_listening() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::over(theirs);
        ours.send(ToInit::Prepared).unwrap();
        theirs.send_bytes(&wire::encode(&FromInit::Ready).unwrap(), &[]).unwrap();
        drop(theirs);
        assert!(matches!(ours.recv().unwrap(), Received::Message(FromInit::Ready, None)));
        assert!(matches!(ours.recv().unwrap(), Received::Closed));
    }

    /// Boundary 14: who has taken over the init's end sends another file as the terminal.
    #[test]
    fn a_console_is_a_terminals_master() {
        let recv = |fd: Option<&OwnedFd>| {
            let (ours, theirs) = Channel::pair().unwrap();
            let fds: Vec<_> = fd.into_iter().map(AsFd::as_fd).collect();
            Channel::over(theirs).send_bytes(&wire::encode(&FromInit::Console).unwrap(), &fds).unwrap();
            ours.recv().map(|received| matches!(received, Received::Message(FromInit::Console, Some(_))))
        };
        let pair = nix::pty::openpty(None, None).unwrap();
        assert!(recv(Some(&pair.master)).unwrap());
        let (read, write) = nix::unistd::pipe().unwrap();
        let file = |path| OwnedFd::from(std::fs::File::open(path).unwrap());
        for other in [&pair.slave, &read, &write, &file("/dev/null"), &file("/proc/self/exe")] {
            let received = recv(Some(other)).map_err(|error| error.to_string());
            assert!(received.as_ref().is_err_and(|text| text.contains("no terminal's master")), "taken: {received:?}");
        }
        assert!(recv(None).is_err());
    }
}
