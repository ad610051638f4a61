//! How are events published in order, also while containerd is away?
//!
//! One call at a time, the next when the last was answered. Without a connection everything waits,
//! and it is tried again every few seconds; an answer that refuses is tried again a few times.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
use prost::Message;

use crate::messages::events::{Envelope, Event, ForwardRequest};
use crate::messages::{Request, Response, Timestamp};
use crate::ttrpc::{Frame, Incoming, request};

/// Most events that wait; then the oldest are lost.
const MAX_WAITING: usize = 2048;
const MAX_REFUSALS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LAST_DELAY: Duration = Duration::from_secs(5);
/// How long containerd may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Events that wait, and where they go.
pub struct Publisher {
    address: Option<UnixAddr>,
    namespace: String,
    queue: VecDeque<Envelope>,
    connection: Option<Connection>,
    refusals: u32,
    delay: Duration,
    /// When to go on: to try again, or to give up on an answer.
    next: Option<Instant>,
}

struct Connection {
    socket: OwnedFd,
    new: bool,
    incoming: Incoming,
    stream: u32,
    /// A call has not been answered.
    waiting: bool,
}

impl Publisher {
    /// To a socket's path; nowhere when there is none.
    pub fn new(path: &str, namespace: &str) -> Publisher {
        Publisher {
            address: UnixAddr::new(path.trim_start_matches("unix://")).ok().filter(|_| !path.is_empty()),
            namespace: namespace.into(),
            queue: VecDeque::new(),
            connection: None,
            refusals: 0,
            delay: FIRST_DELAY,
            next: None,
        }
    }

    /// Publishes an event as soon as possible.
    pub fn publish(&mut self, event: &Event) {
        if self.address.is_none() {
            return;
        }
        let (topic, event) = event.encode();
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.into(),
            event: Some(event),
        };
        if self.queue.len() == MAX_WAITING {
            // The first one may be on its way.
            self.queue.remove(1);
        }
        self.queue.push_back(envelope);
        if self.next.is_none() {
            self.advance();
        }
    }

    /// Whether all events are published.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// A connection that has been made since the last time, to be watched.
    pub fn take_new(&mut self) -> Option<&OwnedFd> {
        let connection = self.connection.as_mut()?;
        std::mem::take(&mut connection.new).then_some(&connection.socket)
    }

    /// When `tick` wants to be called.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            if self.connection.as_ref().is_some_and(|connection| connection.waiting) {
                // No answer came.
                self.connection = None;
            }
            self.next = None;
            self.advance();
        }
    }

    /// Something came from the connection.
    pub fn readable(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let mut piece = [0u8; 4096];
        let mut broken = false;
        loop {
            match socket::recv(connection.socket.as_raw_fd(), &mut piece, MsgFlags::empty()) {
                Ok(0) => broken = true,
                Ok(len) => {
                    connection.incoming.push(&piece[..len]);
                    continue;
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {}
                Err(_) => broken = true,
            }
            break;
        }
        let mut answers = Vec::new();
        while let Some(frame) = connection.incoming.take_frame() {
            if let Frame::Response(stream, data) = frame {
                if stream == connection.stream && std::mem::take(&mut connection.waiting) {
                    answers.push(data);
                }
            }
        }
        if broken {
            self.connection = None;
            // Without events: the next one connects again.
            self.next = (!self.queue.is_empty()).then(|| self.later());
        }
        for data in answers {
            self.answered(&data);
        }
    }

    fn answered(&mut self, data: &[u8]) {
        let refused = Response::decode(data).map_or(true, |response| response.status.unwrap_or_default().code != 0);
        self.next = None;
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        if refused && self.refusals < MAX_REFUSALS {
            self.next = Some(self.later());
            return;
        }
        self.refusals = 0;
        self.delay = FIRST_DELAY;
        self.queue.pop_front();
        self.advance();
    }

    /// When to try again: each delay is longer than the last.
    fn later(&mut self) -> Instant {
        let next = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(LAST_DELAY);
        next
    }

    fn advance(&mut self) {
        let Some(envelope) = self.queue.front() else { return };
        let connection = match self.connection.take() {
            Some(connection) => Some(connection),
            None => self.address.as_ref().and_then(connect),
        };
        let Some(mut connection) = connection else {
            self.next = Some(self.later());
            return;
        };
        if !connection.waiting {
            connection.stream = connection.stream.wrapping_add(2);
            let call = Request {
                service: "containerd.services.events.ttrpc.v1.Events".into(),
                method: "Forward".into(),
                payload: ForwardRequest { envelope: Some(envelope.clone()) }.encode_to_vec(),
                timeout_nano: i64::try_from(TIMEOUT.as_nanos()).unwrap_or(0),
            };
            let bytes = request(connection.stream, &call);
            // A message is small, and the socket's buffer empty: all of it goes, or nothing.
            let sent = socket::send(connection.socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
            if sent != Ok(bytes.len()) {
                self.next = Some(self.later());
                return;
            }
            connection.waiting = true;
        }
        self.connection = Some(connection);
        self.next = Some(Instant::now() + TIMEOUT);
    }
}

fn connect(address: &UnixAddr) -> Option<Connection> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    socket::connect(socket.as_raw_fd(), address).ok()?;
    Some(Connection { socket, new: true, incoming: Incoming::default(), stream: u32::MAX, waiting: false })
}
