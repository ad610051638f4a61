//! Who is connected, which requests came, and who gets which answer?
//!
//! The socket is a file of mode 0600 in a directory of root's, and every peer's user is asked, too.
//! (CVE-2020-15257: abstract sockets, which any process of the host's network namespace could reach.)

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use cleat::sys::child;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};

use crate::requests::parse;
use crate::task::{Call, Ticket};
use crate::ttrpc::{Answer, Code, Failure, Frame, Incoming, respond};

/// Most bytes of answers that wait for a peer that does not read.
const MAX_UNREAD: usize = 16 << 20;
/// Most peers at a time.
pub const MAX_PEERS: usize = 256;

/// A peer.
pub struct Peer {
    socket: OwnedFd,
    incoming: Incoming,
    outgoing: Vec<u8>,
    /// It has sent a request.
    asked: bool,
    since: Instant,
}

/// What came from a peer.
pub enum Received {
    /// Calls, with the streams on which they are to be answered.
    Calls(Vec<(u32, Result<Call, Failure>)>),
    /// It has closed the connection, or sent nonsense.
    Gone,
}

/// All peers.
#[derive(Default)]
pub struct Peers {
    peers: BTreeMap<u32, Peer>,
    last: u32,
}

/// A ticket has the peer and the stream in it.
pub fn ticket(peer: u32, stream: u32) -> Ticket {
    u64::from(peer) << 32 | u64::from(stream)
}

fn parts(ticket: Ticket) -> (u32, u32) {
    let stream = u32::try_from(ticket & u64::from(u32::MAX)).unwrap_or(0);
    (u32::try_from(ticket >> 32).unwrap_or(0), stream)
}

/// Accepts a peer of our own user.
///
/// # Errors
/// Those of accept4(2) and getsockopt(2).
pub fn accept(listener: &OwnedFd) -> nix::Result<Option<OwnedFd>> {
    let socket = child::accept(listener.as_fd())?;
    let user = socket::getsockopt(&socket, socket::sockopt::PeerCredentials)?.uid();
    Ok((user == nix::unistd::geteuid().as_raw()).then_some(socket))
}

impl Peers {
    /// Adds a peer: its number.
    pub fn add(&mut self, socket: OwnedFd) -> u32 {
        self.last = self.last.wrapping_add(1);
        let peer =
            Peer { socket, incoming: Incoming::default(), outgoing: Vec::new(), asked: false, since: Instant::now() };
        self.peers.insert(self.last, peer);
        self.last
    }

    /// The number of peers.
    pub fn count(&self) -> usize {
        self.peers.len()
    }

    /// The oldest of those that have not sent a request.
    pub fn silent(&self) -> Option<u32> {
        self.peers.iter().find(|(_, peer)| !peer.asked).map(|(number, _)| *number)
    }

    /// Since when the newest of them is connected.
    pub fn silent_since(&self) -> Option<Instant> {
        self.peers.values().filter(|peer| !peer.asked).map(|peer| peer.since).max()
    }

    /// The socket of a peer.
    pub fn get(&self, number: u32) -> Option<&OwnedFd> {
        self.peers.get(&number).map(|peer| &peer.socket)
    }

    /// Removes a peer: answers to it are dropped.
    pub fn remove(&mut self, number: u32) -> Option<OwnedFd> {
        self.peers.remove(&number).map(|peer| peer.socket)
    }

    /// Reads what a peer sent.
    pub fn receive(&mut self, number: u32) -> Received {
        let Some(peer) = self.peers.get_mut(&number) else { return Received::Gone };
        let mut calls = Vec::new();
        let mut piece = [0u8; 8192];
        // A peer that never stops must not keep others waiting.
        for _ in 0..64 {
            match socket::recv(peer.socket.as_raw_fd(), &mut piece, MsgFlags::empty()) {
                // Its last requests first; the next call finds the end again.
                Ok(0) if !calls.is_empty() => break,
                Ok(0) => return Received::Gone,
                Ok(len) => peer.incoming.push(&piece[..len]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => return Received::Gone,
            }
            while let Some(frame) = peer.incoming.take_frame() {
                match frame {
                    Frame::Request(stream, data) => calls.push((stream, parse(&data))),
                    Frame::TooLong(stream) => {
                        let text = format!("message longer than {} bytes", crate::ttrpc::MAX_LEN);
                        calls.push((stream, Err(Failure::new(Code::ResourceExhausted, text))));
                    }
                    Frame::Response(..) | Frame::Other => {}
                }
            }
        }
        peer.asked |= !calls.is_empty();
        Received::Calls(calls)
    }

    /// Queues an answer: the peer to flush, if it is still there.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) -> Option<u32> {
        let (number, stream) = parts(ticket);
        let peer = self.peers.get_mut(&number)?;
        respond(stream, answer, &mut peer.outgoing);
        Some(number)
    }

    /// Writes what a peer takes now.
    pub fn flush(&mut self, number: u32) -> Flushed {
        let Some(peer) = self.peers.get_mut(&number) else { return Flushed::All };
        while !peer.outgoing.is_empty() {
            match socket::send(peer.socket.as_raw_fd(), &peer.outgoing, MsgFlags::MSG_NOSIGNAL) {
                Ok(len) => drop(peer.outgoing.drain(..len)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if peer.outgoing.len() > MAX_UNREAD => return Flushed::Broken,
                Err(Errno::EAGAIN) => return Flushed::Some,
                Err(_) => return Flushed::Broken,
            }
        }
        peer.outgoing = Vec::new();
        Flushed::All
    }
}

/// How far writing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// To the end.
    All,
    /// The peer has to read first.
    Some,
    /// It has stopped reading.
    Broken,
}
