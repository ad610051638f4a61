//! Who asks what, and who gets which answer?
//!
//! The socket is a file of mode 0600 in a directory of root's, and every peer's user is asked, too
//! (CVE-2020-15257: abstract sockets, which any process of the host's network namespace could reach).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use cleat::sys::child;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};
use prost::Message;

use crate::messages::{self, ProcessRequest, Request, TaskRequest};
use crate::task::{Call, Ticket, Who};
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
    /// It has asked something.
    asked: bool,
}

/// What a peer did.
pub enum Heard {
    /// Calls, with the streams on which they are to be answered.
    Calls(Vec<(u32, Result<Call, Failure>)>),
    /// It hung up, or cannot be understood.
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

/// Takes a peer of our own user from the socket.
///
/// # Errors
/// Those of accept4(2) and getsockopt(2).
pub fn accept(listener: &OwnedFd) -> nix::Result<Option<OwnedFd>> {
    let socket = child::accept(listener.as_fd())?;
    let user = socket::getsockopt(&socket, socket::sockopt::PeerCredentials)?.uid();
    Ok((user == nix::unistd::geteuid().as_raw()).then_some(socket))
}

impl Peers {
    /// Another peer: its number.
    pub fn add(&mut self, socket: OwnedFd) -> u32 {
        self.last = self.last.wrapping_add(1);
        let peer = Peer { socket, incoming: Incoming::default(), outgoing: Vec::new(), asked: false };
        self.peers.insert(self.last, peer);
        self.last
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.peers.len()
    }

    /// The one that has come first of those that have asked nothing yet.
    pub fn silent(&self) -> Option<u32> {
        self.peers.iter().find(|(_, peer)| !peer.asked).map(|(number, _)| *number)
    }

    /// One of them.
    pub fn get(&self, number: u32) -> Option<&OwnedFd> {
        self.peers.get(&number).map(|peer| &peer.socket)
    }

    /// It has gone: answers to it go nowhere.
    pub fn remove(&mut self, number: u32) -> Option<OwnedFd> {
        self.peers.remove(&number).map(|peer| peer.socket)
    }

    /// Reads what a peer sent.
    pub fn hear(&mut self, number: u32) -> Heard {
        let Some(peer) = self.peers.get_mut(&number) else { return Heard::Gone };
        let mut calls = Vec::new();
        let mut piece = [0u8; 8192];
        // A peer that never stops must not keep others waiting.
        for _ in 0..64 {
            match socket::recv(peer.socket.as_raw_fd(), &mut piece, MsgFlags::empty()) {
                // What it said before it went is heard; then it is asked again, and has gone.
                Ok(0) if !calls.is_empty() => break,
                Ok(0) => return Heard::Gone,
                Ok(len) => peer.incoming.push(&piece[..len]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => return Heard::Gone,
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
        Heard::Calls(calls)
    }

    /// Answers a call. False: there is more to write, or the peer is to be dropped.
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
    /// It does not read any more.
    Broken,
}

/// What a call is.
///
/// # Errors
/// `InvalidArgument`: not a message. `Unimplemented`: another service, or a method that there is not.
pub fn parse(data: &[u8]) -> Result<Call, Failure> {
    let bad = |error: prost::DecodeError| Failure::new(Code::InvalidArgument, format!("not a message: {error}"));
    let request = Request::decode(data).map_err(bad)?;
    if !matches!(&*request.service, "containerd.task.v2.Task" | "containerd.task.v3.Task") {
        let text = format!("service {}: not served here", request.service);
        return Err(Failure::new(Code::Unimplemented, text));
    }
    let payload = &*request.payload;
    let who = || ProcessRequest::decode(payload).map(|asked| Who { id: asked.id, exec: asked.exec_id });
    let id = || TaskRequest::decode(payload).map(|asked| asked.id);
    let call = match &*request.method {
        "Create" => messages::CreateRequest::decode(payload).map(Call::Create),
        "Start" => who().map(Call::Start),
        "State" => who().map(Call::State),
        "Delete" => who().map(Call::Delete),
        "Exec" => messages::ExecRequest::decode(payload).map(Call::Exec),
        "ResizePty" => messages::ResizePtyRequest::decode(payload).map(Call::ResizePty),
        "CloseIO" => messages::CloseIoRequest::decode(payload).map(Call::CloseIo),
        "Kill" => messages::KillRequest::decode(payload).map(Call::Kill),
        "Wait" => who().map(Call::Wait),
        "Pids" => id().map(Call::Pids),
        "Pause" => id().map(Call::Pause),
        "Resume" => id().map(Call::Resume),
        "Update" => messages::UpdateRequest::decode(payload).map(Call::Update),
        "Stats" => id().map(Call::Stats),
        "Connect" => id().map(Call::Connect),
        "Checkpoint" => id().map(Call::Checkpoint),
        "Shutdown" => Ok(Call::Shutdown),
        other => return Err(Failure::new(Code::Unimplemented, format!("method {other}: there is none"))),
    };
    call.map_err(bad)
}
