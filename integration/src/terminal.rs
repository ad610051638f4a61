//! What is on the other side of a terminal?

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::wait::{DEADLINE, readable};

/// The master's side of a terminal, and all that came out of it.
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    seen: String,
}

impl Pty {
    /// A new terminal, and the side that a program gets.
    ///
    /// # Panics
    /// Without `/dev/ptmx`.
    #[must_use]
    pub fn open() -> (Self, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("/dev/ptmx");
        rustix::pty::grantpt(&master).expect("grantpt");
        rustix::pty::unlockpt(&master).expect("unlockpt");
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("the terminal's other side");
        (Self::of(master), slave)
    }

    /// The terminal whose master we were sent.
    #[must_use]
    pub fn of(master: OwnedFd) -> Self {
        Self { master, seen: String::new() }
    }

    /// Sets the window's size; the kernel tells the terminal's foreground processes.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("TIOCSWINSZ");
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).expect("TIOCGWINSZ");
        (size.ws_row, size.ws_col)
    }

    /// Types.
    pub fn write(&self, text: &str) {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            let n = rustix::io::write(&self.master, left).expect("a write to the terminal");
            left = left.get(n..).unwrap_or_default();
        }
    }

    /// Reads until `text` has come; answers all that came up to now.
    ///
    /// # Panics
    /// When the terminal closes first, or after [`DEADLINE`]; says what was seen.
    pub fn wait_for(&mut self, text: &str) -> &str {
        while !self.seen.contains(text) {
            assert!(self.read_more(), "the terminal closed before {text:?}; seen: {:?}", self.seen);
        }
        &self.seen
    }

    /// Reads to the end; answers all that came.
    ///
    /// # Panics
    /// After [`DEADLINE`]; says what was seen.
    pub fn to_end(&mut self) -> &str {
        while self.read_more() {}
        &self.seen
    }

    fn read_more(&mut self) -> bool {
        assert!(readable(self.master.as_fd(), DEADLINE), "nothing more on the terminal; seen: {:?}", self.seen);
        let mut buffer = [0; 4096];
        // EIO is how a terminal says that its last user has gone.
        let n = match rustix::io::read(&self.master, &mut buffer) {
            Ok(n) => n,
            Err(rustix::io::Errno::IO) => 0,
            Err(error) => panic!("read from the terminal: {error}"),
        };
        self.seen += &String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
        n > 0
    }
}

/// A `--console-socket` or `--pidfd-socket` to be given to the runtime.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens on a socket in `dir`.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn listen(dir: &Path) -> Self {
        let path = dir.join(format!("{}.sock", crate::temp::unique_name()));
        let listener = UnixListener::bind(&path).expect("a console socket");
        Self { listener, path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one descriptor that was sent, and the text that came with it.
    ///
    /// # Panics
    /// When nothing comes within [`DEADLINE`].
    #[must_use]
    pub fn receive(&self) -> (OwnedFd, String) {
        assert!(readable(self.listener.as_fd(), DEADLINE), "nobody connected to {}", self.path.display());
        let (stream, _) = self.listener.accept().expect("a connection");
        receive_descriptor(&stream)
    }
}

/// The one descriptor that a peer sends, and the text that comes with it.
///
/// # Panics
/// When nothing comes within [`DEADLINE`], or not exactly one descriptor.
#[must_use]
pub fn receive_descriptor(stream: &UnixStream) -> (OwnedFd, String) {
    assert!(readable(stream.as_fd(), DEADLINE), "nothing was sent over the socket");
    let mut text = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .expect("a message with a descriptor");
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let text = String::from_utf8_lossy(text.get(..received.bytes).unwrap_or_default()).into_owned();
    assert_eq!(descriptors.len(), 1, "descriptors sent with {text:?}");
    (descriptors.remove(0), text)
}
