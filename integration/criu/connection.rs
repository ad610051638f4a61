//! The socket on descriptor 3: one message a packet.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protobuf::Message;
use rust_criu::rust_criu_protobuf::rpc::{Criu_req, Criu_resp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::sys;

pub(crate) struct Connection {
    socket: Option<OwnedFd>,
    peer: rustix::process::Pid,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Criu_req, String> {
    Criu_req::parse_from_bytes(bytes).map_err(|error| error.to_string())
}

pub(crate) fn encode(response: &Criu_resp) -> Vec<u8> {
    response.write_to_bytes().expect("an answer")
}

impl Connection {
    /// Descriptor 3, and nobody else's who is executed.
    pub(crate) fn new() -> Self {
        let socket = sys::own_descriptor(3);
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).expect("descriptor 3");
        let peer = rustix::net::sockopt::socket_peercred(&socket).expect("a socket on descriptor 3").pid;
        Self { socket: Some(socket), peer }
    }

    /// The process at the other end.
    pub(crate) fn peer(&self) -> i32 {
        self.peer.as_raw_nonzero().get()
    }

    /// Waits a moment for the next packet, or the end.
    pub(crate) fn is_readable(&self) -> bool {
        let Some(socket) = &self.socket else { return true };
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        poll(&mut fds, Some(&moment)) != Ok(0)
    }

    /// The next packet; `None`: there is nobody any more.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 20];
        let received = recv(self.socket.as_ref()?, &mut bytes[..], RecvFlags::empty());
        let length = received.map_or(0, |(_, length)| length);
        bytes.truncate(length);
        (length > 0).then_some(bytes)
    }

    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)), "room for a descriptor");
        }
        // Who is not there any more hears nothing.
        let _ = sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    }

    pub(crate) fn close(&mut self) {
        self.socket = None;
    }

    /// Returns when the other end has gone.
    pub(crate) fn kill_peer(&self) {
        let pidfd = pidfd_open(self.peer, PidfdFlags::empty()).expect("a pidfd of the runtime");
        pidfd_send_signal(&pidfd, Signal::KILL).expect("a signal to the runtime");
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        poll(&mut fds, None).expect("the end of the runtime");
    }
}
