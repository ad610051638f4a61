//! Who decides on system calls that a filter leaves to others (seccomp_unotify(2))?
#![allow(unsafe_code, reason = "two ioctls that no crate gives us")]

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::ioctl::{Updater, ioctl, opcode};
use serde_json::Value;

use crate::terminal::receive_descriptor;
use crate::wait::{DEADLINE, readable};

/// Listens at a `listenerPath`.
#[derive(Debug)]
pub struct Agent {
    listener: UnixListener,
    path: PathBuf,
}

impl Agent {
    /// Listens on a socket in `dir`.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn listen(dir: &Path) -> Self {
        let path = dir.join(format!("{}.agent", crate::temp::unique_name()));
        let listener = UnixListener::bind(&path).expect("an agent's socket");
        Self { listener, path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a runtime sends of one filter: the container process state, and the descriptor.
    ///
    /// # Panics
    /// When nothing comes within [`DEADLINE`], or something else.
    #[must_use]
    pub fn receive(&self) -> (Value, Decider) {
        assert!(readable(self.listener.as_fd(), DEADLINE), "nobody connected to {}", self.path.display());
        let (mut stream, _) = self.listener.accept().expect("a connection");
        let (fd, mut text) = receive_descriptor(&stream);
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let state = loop {
            // Some keep the connection: the end of the state is the end of its JSON.
            match serde_json::from_str(&text) {
                Ok(state) => break state,
                Err(error) if error.is_eof() => {}
                Err(error) => panic!("{error} in {text:?}"),
            }
            let mut more = [0; 65536];
            let count = stream.read(&mut more).expect("the rest of the state");
            assert!(count > 0, "only {text:?} came");
            text += &String::from_utf8_lossy(more.get(..count).unwrap_or_default());
        };
        (state, Decider(fd))
    }
}

/// The descriptor that hears of system calls.
#[derive(Debug)]
pub struct Decider(OwnedFd);

/// `struct seccomp_notif`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    id: u64,
    /// The thread that waits, in our pid namespace.
    pub pid: u32,
    flags: u32,
    /// The call's number.
    pub number: u32,
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    instruction: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
#[derive(Default)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It returns this.
    Value(i64),
    /// It fails with this.
    Errno(i32),
    /// The kernel performs it.
    Continue,
}

impl Decider {
    /// Waits for one call and answers it.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`].
    pub fn decide(&self, answer: Answer) -> Notification {
        let call = self.receive();
        self.answer(&call, answer);
        call
    }

    /// Waits for one call, which waits for its answer.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`].
    #[must_use]
    pub fn receive(&self) -> Notification {
        const RECEIVE: u32 = opcode::read_write::<Notification>(b'!', 0);
        assert!(readable(self.0.as_fd(), DEADLINE), "no system call to decide on");
        let mut call = Notification::default();
        // SAFETY: a zeroed struct seccomp_notif of its first version is what this number stands for.
        let receive = unsafe { Updater::<RECEIVE, _>::new(&mut call) };
        // SAFETY: the kernel fills it.
        unsafe { ioctl(&self.0, receive) }.expect("SECCOMP_IOCTL_NOTIF_RECV");
        call
    }

    /// Answers a call.
    ///
    /// # Panics
    /// When it waits no longer.
    pub fn answer(&self, call: &Notification, answer: Answer) {
        const SEND: u32 = opcode::read_write::<Response>(b'!', 1);
        let mut response = Response { id: call.id, ..Response::default() };
        match answer {
            Answer::Value(value) => response.value = value,
            Answer::Errno(errno) => response.error = -errno,
            Answer::Continue => response.flags = 1,
        }
        // SAFETY: a struct seccomp_notif_resp is what this number stands for.
        let send = unsafe { Updater::<SEND, _>::new(&mut response) };
        // SAFETY: the kernel reads it.
        unsafe { ioctl(&self.0, send) }.expect("SECCOMP_IOCTL_NOTIF_SEND");
    }
}
