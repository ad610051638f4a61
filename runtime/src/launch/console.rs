//! Where does a terminal's master go, and what happens to the bytes while we wait?
//!
//! Host half. A master is handed to the socket that the caller named, or is copied from and to our
//! own terminal for as long as the program runs.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::termios::{self, SetArg, Termios};

use crate::error::{Context, Error, Result};
use crate::sys::{self, Child};

/// Connects to a socket and sends it one descriptor, with its name as the payload (runc's
/// `--console-socket` and `--pidfd-socket`).
///
/// # Errors
/// The socket is not there, or nobody listens.
pub fn send_fd(path: &Path, fd: BorrowedFd<'_>, name: &str) -> Result<()> {
    connect(path)?.send(fd, name)
}

/// A connection to a socket of the host.
pub struct Connection {
    socket: OwnedFd,
    place: String,
}

/// Connects to a socket.
///
/// # Errors
/// It is not there, or nobody listens.
pub fn connect(path: &Path) -> Result<Connection> {
    let place = format!("socket {}", path.display());
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .context(&place)?;
    let address = UnixAddr::new(path).context(&place)?;
    nix::sys::socket::connect(socket.as_raw_fd(), &address).context(format_args!("{place}: connect"))?;
    Ok(Connection { socket, place })
}

impl Connection {
    /// Sends one descriptor and a text.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn send(&self, fd: BorrowedFd<'_>, text: &str) -> Result<()> {
        let (socket, place) = (self.socket.as_raw_fd(), &self.place);
        let raw = [fd.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&raw)];
        let iov = [IoSlice::new(text.as_bytes())];
        let mut sent = nix::sys::socket::sendmsg::<()>(socket, &iov, &control, MsgFlags::MSG_NOSIGNAL, None)
            .context(format_args!("{place}: sendmsg"))?;
        // A long text may take more than one; the descriptor came with the first byte.
        while sent < text.len() {
            sent += nix::sys::socket::send(socket, &text.as_bytes()[sent..], MsgFlags::MSG_NOSIGNAL)
                .context(format_args!("{place}: send"))?;
        }
        Ok(())
    }
}

/// Signals of ours that are blocked and read as data, so that none is lost.
pub struct Signals {
    fd: SignalFd,
    old: SigSet,
}

impl Signals {
    /// Blocks every signal that can be forwarded.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn block() -> Result<Signals> {
        let mut set = SigSet::all();
        for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGSYS]
        {
            set.remove(fault);
        }
        let old = set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).context("sigprocmask")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
        Ok(Signals { fd, old })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.old.thread_set_mask();
    }
}

/// Our own terminal in raw mode; restored when the value is dropped.
struct Raw {
    old: Termios,
}

impl Raw {
    fn enter() -> Option<Raw> {
        let stdin = sys::stream(0);
        let old = termios::tcgetattr(stdin).ok()?;
        let mut raw = old.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Raw { old })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(sys::stream(0), SetArg::TCSANOW, &self.old);
    }
}

/// Bytes on their way in one direction.
struct Flow {
    buffer: Vec<u8>,
    open: bool,
}

impl Flow {
    fn new() -> Flow {
        Flow { buffer: Vec::new(), open: true }
    }

    fn wants(&self) -> PollFlags {
        if self.open && self.buffer.is_empty() { PollFlags::POLLIN } else { PollFlags::empty() }
    }

    fn has(&self) -> PollFlags {
        if self.buffer.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT }
    }

    fn fill(&mut self, from: BorrowedFd<'_>) {
        let mut bytes = [0; 16384];
        match nix::unistd::read(from, &mut bytes) {
            Ok(0) => self.open = false,
            Ok(got) => self.buffer.extend_from_slice(&bytes[..got]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A master answers EIO when the last slave is closed.
            Err(_) => self.open = false,
        }
    }

    fn drain(&mut self, to: BorrowedFd<'_>) {
        match nix::unistd::write(to, &self.buffer) {
            Ok(put) => drop(self.buffer.drain(..put)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.buffer.clear();
                self.open = false;
            }
        }
    }
}

/// The foreground: forwards signals, copies the terminal, and waits for the end of the program.
/// Returns its exit code, 128 and the signal's number when it was killed.
///
/// # Errors
/// Those of poll(2).
pub fn supervise(child: &Child, signals: &Signals, master: Option<&OwnedFd>) -> Result<u8> {
    let _raw = master.and_then(|_| Raw::enter());
    if let Some(master) = master {
        let flags = nix::fcntl::OFlag::from_bits_retain(
            nix::fcntl::fcntl(master, nix::fcntl::FcntlArg::F_GETFL).context("fcntl")?,
        );
        nix::fcntl::fcntl(master, nix::fcntl::FcntlArg::F_SETFL(flags | nix::fcntl::OFlag::O_NONBLOCK))
            .context("fcntl")?;
    }
    let (mut input, mut output) = (Flow::new(), Flow::new());
    loop {
        let wanted =
            [output.wants() | if output.open { input.has() } else { PollFlags::empty() }, input.wants(), output.has()];
        let mut fds = vec![
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(master) = master {
            // One that nothing is wanted of is left out: the end of the other side would be reported
            // again and again.
            let streams = [master.as_fd(), sys::stream(0), sys::stream(1)];
            let asked = streams.iter().zip(wanted).filter(|(_, flags)| !flags.is_empty());
            fds.extend(asked.map(|(stream, flags)| PollFd::new(*stream, flags)));
        }
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
        let mut told = fds.iter().skip(2).map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let ready = wanted.map(|flags| if flags.is_empty() { flags } else { told.next().unwrap_or(flags) });
        forward_signals(child, signals, master)?;
        if let Some(master) = master {
            copy(ready, master, &mut input, &mut output);
        }
        // Orphans of the container are ours when we are a subreaper.
        while let Ok(Some((pid, status))) = sys::reap_any() {
            if pid == child.pid {
                if let Some(master) = master {
                    drain_rest(master, &mut output);
                }
                return Ok(sys::exit_code(status));
            }
        }
    }
}

/// Moves what can be moved; `ready` is of the master, our input and our output.
fn copy(ready: [PollFlags; 3], master: &OwnedFd, input: &mut Flow, output: &mut Flow) {
    let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    let writable = PollFlags::POLLOUT | PollFlags::POLLHUP | PollFlags::POLLERR;
    if ready[0].intersects(readable) && output.buffer.is_empty() && output.open {
        output.fill(master.as_fd());
    }
    if ready[1].intersects(readable) && input.buffer.is_empty() && input.open {
        input.fill(sys::stream(0));
        if !input.open {
            // The end of our input is the end of the terminal's: as a person's Ctrl-D.
            input.buffer.push(4);
        }
    }
    if ready[0].intersects(PollFlags::POLLOUT) && !input.buffer.is_empty() {
        input.drain(master.as_fd());
    }
    if ready[2].intersects(writable) && !output.buffer.is_empty() {
        output.drain(sys::stream(1));
    }
}

/// The program has ended: what it still wrote is in the terminal's buffer.
fn drain_rest(master: &OwnedFd, output: &mut Flow) {
    loop {
        while !output.buffer.is_empty() {
            output.drain(sys::stream(1));
        }
        if !output.open {
            return;
        }
        let before = output.buffer.len();
        output.fill(master.as_fd());
        if output.buffer.len() == before {
            return;
        }
    }
}

/// Gives the container's terminal the size of ours: before the program starts, and whenever ours
/// changes.
pub fn copy_window_size(master: &OwnedFd) {
    if let Ok(size) = sys::window_size(sys::stream(0)) {
        let _ = sys::set_window_size(master.as_fd(), &size);
    }
}

fn forward_signals(child: &Child, signals: &Signals, master: Option<&OwnedFd>) -> Result<()> {
    while let Some(info) = signals.fd.read_signal().context("read signalfd")? {
        let number = i32::try_from(info.ssi_signo).unwrap_or(0);
        match (Signal::try_from(number), master) {
            (Ok(Signal::SIGCHLD | Signal::SIGPIPE | Signal::SIGURG), _) => {}
            (Ok(Signal::SIGWINCH), Some(master)) => copy_window_size(master),
            // Gone already: its end is seen next.
            _ => drop(sys::pidfd_send_signal(child.pidfd.as_fd(), number)),
        }
    }
    Ok(())
}

/// Refuses the combinations of terminal, console socket and detaching that cannot work.
///
/// # Errors
/// As said.
pub fn check(terminal: bool, detached: bool, socket: Option<&Path>) -> Result<()> {
    match (terminal, detached, socket) {
        (true, true, None) => {
            Err(Error::new("cannot allocate tty if cleat will detach without setting console socket")
                .remedy("use --console-socket"))
        }
        (false, _, Some(_)) | (_, false, Some(_)) => {
            Err(Error::new("cannot use console socket if cleat will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}
