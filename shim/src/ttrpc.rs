//! How is a message framed? Pure.
//!
//! ttrpc (github.com/containerd/ttrpc, PROTOCOL.md): ten bytes (length of the data, number of the
//! stream, both big-endian; type; flags), then the data, a protocol buffer.

use prost::Message;

use crate::messages::{Response, Status};

/// Most bytes of one message.
pub const MAX_LEN: usize = 4 << 20;
const HEADER: usize = 10;
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// gRPC's numbers of failures, which containerd decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
}

/// A failure of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What callers decide on.
    pub code: Code,
    /// What people read.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }
}

impl From<cleat::error::Error> for Failure {
    fn from(error: cleat::error::Error) -> Failure {
        let code = match error.kind() {
            cleat::error::Kind::NoContainer | cleat::error::Kind::NotRunning => Code::NotFound,
            _ => Code::Unknown,
        };
        Failure::new(code, error.to_string())
    }
}

/// The answer to a call: the encoded message, or why there is none.
pub type Answer = Result<Vec<u8>, Failure>;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A call: its stream and data.
    Request(u32, Vec<u8>),
    /// A call with more data than is allowed, which was thrown away.
    TooLong(u32),
    /// An answer to a call of ours.
    Response(u32, Vec<u8>),
    /// Of no use to anybody: thrown away.
    Other,
}

/// Bytes that have come, until they are a whole message.
#[derive(Debug, Default)]
pub struct Incoming {
    buffer: Vec<u8>,
    /// Bytes yet to come of a message that is too long.
    skip: usize,
}

impl Incoming {
    /// Takes what was read.
    pub fn push(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is whole.
    pub fn take_frame(&mut self) -> Option<Frame> {
        let header = self.buffer.first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, kind, _flags] = *header;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let stream = u32::from_be_bytes([e, f, g, h]);
        if len > MAX_LEN {
            let here = self.buffer.len() - HEADER;
            self.skip = len.saturating_sub(here);
            self.take(HEADER + here.min(len));
            return Some(Frame::TooLong(stream));
        }
        if self.buffer.len() < HEADER + len {
            return None;
        }
        let data = self.buffer[HEADER..HEADER + len].to_vec();
        self.take(HEADER + len);
        Some(match kind {
            REQUEST => Frame::Request(stream, data),
            RESPONSE => Frame::Response(stream, data),
            _ => Frame::Other,
        })
    }

    /// An empty buffer keeps no memory.
    fn take(&mut self, len: usize) {
        self.buffer.drain(..len);
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }
}

fn frame(stream: u32, kind: u8, data: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(data);
}

/// Appends an answer.
pub fn respond(stream: u32, answer: Answer, out: &mut Vec<u8>) {
    let response = match answer {
        Ok(payload) => Response { status: Some(Status::default()), payload },
        Err(failure) => Response {
            status: Some(Status { code: failure.code as i32, message: failure.message }),
            payload: Vec::new(),
        },
    };
    frame(stream, RESPONSE, &response.encode_to_vec(), out);
}

/// A call of our own.
pub fn request(stream: u32, request: &impl Message) -> Vec<u8> {
    let mut out = Vec::new();
    frame(stream, REQUEST, &request.encode_to_vec(), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(stream: u32, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(stream, kind, data, &mut out);
        out
    }

    #[test]
    fn a_message_may_come_in_any_pieces() {
        let all = [bytes(1, REQUEST, b"abc"), bytes(3, REQUEST, b""), bytes(5, 3, b"data")].concat();
        for size in 1..all.len() {
            let mut incoming = Incoming::default();
            let mut seen = Vec::new();
            for piece in all.chunks(size) {
                incoming.push(piece);
                seen.extend(std::iter::from_fn(|| incoming.take_frame()));
            }
            assert_eq!(seen, [Frame::Request(1, b"abc".into()), Frame::Request(3, vec![]), Frame::Other], "{size}");
            assert_eq!(incoming.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_skipped_and_never_held() {
        let len = MAX_LEN + 7;
        let mut all = bytes(9, REQUEST, &vec![b'x'; len]);
        all.extend(bytes(11, REQUEST, b"next"));
        let mut incoming = Incoming::default();
        let mut seen = Vec::new();
        for piece in all.chunks(65536) {
            incoming.push(piece);
            seen.extend(std::iter::from_fn(|| incoming.take_frame()));
            assert!(incoming.buffer.len() < 2 * 65536);
        }
        assert_eq!(seen, [Frame::TooLong(9), Frame::Request(11, b"next".into())]);
    }
}
