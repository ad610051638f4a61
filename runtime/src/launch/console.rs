//! Where does a terminal's master go, and what happens to the bytes while we wait?
//!
//! Host half. A master is handed to the socket that the caller named, or is copied from and to our
//! own terminal for as long as the program runs.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::stat::Mode;
use nix::sys::termios::{self, OutputFlags, SetArg, Termios};

use super::input_end::{InputEnd, Step};
use crate::error::{Context, Error, Result, errno_text};
use crate::sys::path;
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
    // A path that is too long for an address is shortened by way of its directory.
    let directory;
    let address = match (UnixAddr::new(path), path.parent(), path.file_name()) {
        (Err(Errno::ENAMETOOLONG), Some(parent), Some(name)) => {
            directory = path::open_dir(parent).context(format_args!("{place}: open its directory"))?;
            UnixAddr::new(&path::of_descriptor(&directory, name))
        }
        (address, ..) => address,
    };
    let address = address.context(&place)?;
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

/// Our own terminal in raw mode, but for its output: that of the container is passed on as lines that end
/// with a newline alone. Restored when the value is dropped.
struct Raw {
    old: Termios,
}

impl Raw {
    fn enter() -> Option<Raw> {
        let stdin = sys::stream(0);
        let old = termios::tcgetattr(stdin).ok()?;
        let mut raw = old.clone();
        termios::cfmakeraw(&mut raw);
        raw.output_flags = old.output_flags;
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

    fn drain(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        match nix::unistd::write(to, &self.buffer) {
            Ok(put) => drop(self.buffer.drain(..put)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                self.buffer.clear();
                self.open = false;
                return Err(errno);
            }
        }
        Ok(())
    }
}

/// The container's terminal, copied from and to our standard streams.
struct Copy {
    master: OwnedFd,
    input: Flow,
    output: Flow,
    /// Standard input is a terminal.
    from_terminal: bool,
    /// There is no more input.
    ended: Option<InputEnd>,
}

impl Copy {
    fn new(master: OwnedFd, from_terminal: bool) -> Result<Copy> {
        let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL).context("fcntl")?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).context("fcntl")?;
        Ok(Copy { master, input: Flow::new(), output: Flow::new(), from_terminal, ended: None })
    }

    /// What is waited for: of the master, our input and our output.
    fn wanted(&self) -> [PollFlags; 3] {
        let to_master = if self.output.open { self.input.has() } else { PollFlags::empty() };
        [self.output.wants() | to_master, self.input.wants(), self.output.has()]
    }

    fn timeout(&self) -> PollTimeout {
        self.ended.as_ref().map_or(PollTimeout::NONE, InputEnd::timeout)
    }

    /// Moves what can be moved; `ready` is of the master, our input and our output. False: the terminal is
    /// to be hung up.
    fn step(&mut self, ready: [PollFlags; 3]) -> bool {
        let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        let writable = PollFlags::POLLOUT | PollFlags::POLLHUP | PollFlags::POLLERR;
        if ready[0].intersects(readable) && self.output.buffer.is_empty() && self.output.open {
            self.output.fill(self.master.as_fd());
        }
        if ready[1].intersects(readable) && self.input.buffer.is_empty() && self.input.open {
            self.input.fill(sys::stream(0));
            if !self.input.open && self.from_terminal && ready[1].contains(PollFlags::POLLHUP) {
                // Ours is gone, and so is the container's.
                return false;
            }
        }
        if ready[0].intersects(PollFlags::POLLOUT) && !self.input.buffer.is_empty() {
            let _ = self.input.drain(self.master.as_fd());
        }
        // Nobody would read what the program writes, and it would wait for that for ever.
        let heard = !ready[2].intersects(writable)
            || self.output.buffer.is_empty()
            || self.output.drain(sys::stream(1)).is_ok();
        heard && (self.input.open || !self.input.buffer.is_empty() || self.end_input())
    }

    /// Our input is at its end, and so is the terminal's. False: it is to be hung up.
    fn end_input(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = InputEnd::of(&self.master).ok();
        }
        match self.ended.as_mut().map_or(Step::HangUp, |ended| ended.look(&self.master)) {
            Step::Wait => true,
            Step::Write(end) => nix::unistd::write(&self.master, &[end]) != Err(Errno::EIO),
            Step::HangUp => false,
        }
    }

    /// The program has ended: what it still wrote is in the terminal's buffer.
    fn drain_rest(&mut self) {
        loop {
            while !self.output.buffer.is_empty() {
                if self.output.drain(sys::stream(1)).is_err() {
                    return;
                }
            }
            if !self.output.open {
                return;
            }
            self.output.fill(self.master.as_fd());
            if self.output.buffer.is_empty() {
                return;
            }
        }
    }
}

/// The foreground: forwards signals, copies the terminal, and waits for the end of the program.
/// Returns its exit code, 128 and the signal's number when it was killed.
///
/// # Errors
/// Those of poll(2).
pub fn supervise(child: &Child, signals: &Signals, master: Option<OwnedFd>) -> Result<u8> {
    let raw = master.as_ref().and_then(|_| Raw::enter());
    let mut terminal = master.map(|master| Copy::new(master, raw.is_some())).transpose()?;
    loop {
        let wanted = terminal.as_ref().map_or([PollFlags::empty(); 3], Copy::wanted);
        let mut fds = vec![
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(terminal) = &terminal {
            // One that nothing is wanted of is left out: the end of the other side would be reported
            // again and again.
            let streams = [terminal.master.as_fd(), sys::stream(0), sys::stream(1)];
            let asked = streams.into_iter().zip(wanted).filter(|(_, flags)| !flags.is_empty());
            fds.extend(asked.map(|(stream, flags)| PollFd::new(stream, flags)));
        }
        match nix::poll::poll(&mut fds, terminal.as_ref().map_or(PollTimeout::NONE, Copy::timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
        let mut told = fds.iter().skip(2).map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let ready = wanted.map(|flags| if flags.is_empty() { flags } else { told.next().unwrap_or(flags) });
        forward_signals(child, signals, terminal.as_ref().map(|terminal| &terminal.master))?;
        if terminal.as_mut().is_some_and(|terminal| !terminal.step(ready)) {
            // The last who has the master: the kernel hangs up.
            terminal = None;
        }
        // Orphans of the container are ours when we are a subreaper.
        while let Ok(Some((pid, status))) = sys::reap_any() {
            if pid == child.pid {
                if let Some(terminal) = &mut terminal {
                    terminal.drain_rest();
                }
                return Ok(sys::exit_code(status));
            }
        }
    }
}

/// Sets the container's terminal up for the foreground, before the program starts: it has the size of
/// ours, and its lines end with a newline alone. Our own terminal, where the output goes to one, makes
/// carriage returns of them; in a file or pipe nobody wants those.
pub fn prepare(master: &OwnedFd) {
    if let Ok(mut modes) = termios::tcgetattr(master) {
        modes.output_flags.remove(OutputFlags::ONLCR);
        let _ = termios::tcsetattr(master, SetArg::TCSANOW, &modes);
    }
    copy_window_size(master);
}

/// Gives the container's terminal the size of ours, now and whenever ours changes.
fn copy_window_size(master: &OwnedFd) {
    if let Some(size) = (0..3).find_map(|number| sys::window_size(sys::stream(number)).ok()) {
        let _ = sys::set_window_size(master.as_fd(), &size);
    }
}

/// Whether there is a terminal for the foreground: without one a program that expects a person would wait
/// for somebody who cannot come.
fn has_terminal() -> Result<()> {
    if (0..3).any(|number| nix::unistd::isatty(sys::stream(number)) == Ok(true)) {
        return Ok(());
    }
    match nix::fcntl::open("/dev/tty", OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::new(format!(
            "a terminal is asked for, but there is none here: no standard stream is one, and open /dev/tty: {}; set \
             process.terminal to false (exec: leave out --tty), or detach with --console-socket",
            errno_text(errno)
        ))),
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
        (true, true, None) => Err(Error::new(
            "cannot allocate tty if cleat will detach without setting console socket; use --console-socket",
        )),
        (true, false, None) => has_terminal(),
        (false, _, Some(_)) | (_, false, Some(_)) => {
            Err(Error::new("cannot use console socket if cleat will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}
