//! How does a service manager's readiness protocol (sd_notify(3)) reach into a container?
//!
//! The container gets a socket of its own at `/run/notify/notify.sock`, never the host's. What it
//! may say is `READY=1`; that, and the pid that it cannot know, are passed on.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;

use crate::error::{Context, Result};
use crate::sys::Child;

/// How long the service manager may take to see our messages.
const BARRIER_MS: u16 = 30_000;

/// `NOTIFY_SOCKET` of this process, when it is set.
#[must_use]
pub fn of_caller() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The directory in a container's state directory that the container sees as `/run/notify`.
#[must_use]
pub fn directory(state: &Path) -> PathBuf {
    state.join("notify")
}

/// Makes that directory.
///
/// # Errors
/// Those of the file system.
pub fn make_directory(state: &Path) -> Result<()> {
    let dir = directory(state);
    std::fs::create_dir(&dir).context(format_args!("mkdir {}", dir.display()))?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))
        .context(format_args!("chmod {}", dir.display()))
}

/// The container's end of the protocol.
pub struct Listener {
    socket: UnixDatagram,
}

impl Listener {
    /// Binds the socket, just before the program starts.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn bind(state: &Path) -> Result<Listener> {
        let dir = directory(state);
        let place = format!("bind {}/notify.sock", dir.display());
        // Through a descriptor: socket names are at most 107 bytes long.
        let handle = crate::sys::path::open_dir(&dir).context(&place)?;
        let path = crate::sys::path::of_descriptor(&handle, "notify.sock");
        Ok(Listener { socket: bind_for_all(&path).context(&place)? })
    }

    /// Waits until the program is ready, or has ended, and notifies `manager`.
    ///
    /// # Errors
    /// Those of poll(2) and of sending.
    pub fn forward(&self, pidfd: std::os::fd::BorrowedFd<'_>, pid: i32, manager: &Path) -> Result<()> {
        let mut message = [0; 4096];
        loop {
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.context("poll notify socket")?,
            };
            if fds[0].any() == Some(true) {
                let got = self.socket.recv(&mut message).context("receive from notify socket")?;
                if message[..got].split(|b| *b == b'\n').any(|line| line == b"READY=1") {
                    return tell(manager, pid);
                }
            } else if fds[1].any() == Some(true) {
                return Ok(());
            }
        }
    }
}

/// A socket that everybody may write to from the moment it has a name: who can exchange that, as the container can,
/// would have the mode of another file changed.
fn bind_for_all(path: &Path) -> std::io::Result<UnixDatagram> {
    let before = nix::sys::stat::umask(Mode::empty());
    let socket = UnixDatagram::bind(path);
    nix::sys::stat::umask(before);
    socket
}

/// `READY=1`, then the pid, then a barrier: an answer to it says that both were seen.
fn tell(manager: &Path, pid: i32) -> Result<()> {
    let socket = UnixDatagram::unbound().context("socket")?;
    let bytes = manager.as_os_str().as_bytes();
    let place = format!("NOTIFY_SOCKET {}", manager.display());
    let send = |text: &str| -> Result<()> {
        if let Some(name) = bytes.strip_prefix(b"@") {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).context(&place)?;
            socket.send_to_addr(text.as_bytes(), &address).context(&place).map(drop)
        } else {
            socket.send_to(text.as_bytes(), manager).context(&place).map(drop)
        }
    };
    send(&format!("READY=1\nMAINPID={pid}"))?;
    barrier(manager, bytes)
}

fn barrier(manager: &Path, bytes: &[u8]) -> Result<()> {
    use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr};
    use std::os::fd::AsRawFd;
    let place = format!("NOTIFY_SOCKET {}", manager.display());
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe2")?;
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("socket")?;
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => UnixAddr::new_abstract(name),
        None => UnixAddr::new(manager),
    }
    .context(&place)?;
    let raw = [writer.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&raw)];
    let iov = [std::io::IoSlice::new(b"BARRIER=1")];
    // A manager that does not know barriers closes the descriptor all the same.
    nix::sys::socket::sendmsg(socket.as_raw_fd(), &iov, &control, MsgFlags::MSG_NOSIGNAL, Some(&address))
        .context(&place)?;
    drop(writer);
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::from(BARRIER_MS)).context("poll barrier").map(drop)
}

/// Waits for a container's readiness if its caller has a service manager.
///
/// # Errors
/// As [`Listener::forward`].
pub fn wait(listener: Option<&Listener>, child: &Child, manager: Option<&Path>) -> Result<()> {
    match (listener, manager) {
        (Some(listener), Some(manager)) => listener.forward(child.pidfd.as_fd(), child.pid, manager),
        _ => Ok(()),
    }
}
