//! Bytes of a peer, in any pieces → frames, calls and answers. No panic, the same frames as in one piece, no more
//! than one answer to a call, and an answer that can be read again.

use containerd_shim_cleat::messages::Response;
use containerd_shim_cleat::requests;
use containerd_shim_cleat::task::{Effect, Input, Tasks};
use containerd_shim_cleat::ttrpc::{Frame, Incoming, MAX_LEN, respond};
use prost::Message;

const HEADER: usize = 10;

/// The frames of a stream that has come as a whole, and how many bytes are yet to be skipped.
fn whole(mut bytes: &[u8]) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (len, stream) = (usize::try_from(number(0)).expect("32 bits"), number(4));
        if len > MAX_LEN {
            frames.push(Frame::TooLong(stream));
            if len > rest.len() {
                return (frames, len - rest.len());
            }
        } else if len > rest.len() {
            break;
        } else {
            frames.push(match header[8] {
                1 => Frame::Request(stream, rest[..len].to_vec()),
                2 => Frame::Response(stream, rest[..len].to_vec()),
                _ => Frame::Other,
            });
        }
        bytes = &rest[len..];
    }
    (frames, 0)
}

/// What is taken of pieces whose lengths follow from a number.
fn pieces(incoming: &mut Incoming, mut bytes: &[u8], mut number: u8) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        number = number.wrapping_mul(37).wrapping_add(11);
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(number % 29) + 1));
        incoming.push(piece);
        frames.extend(std::iter::from_fn(|| incoming.take_frame()));
        bytes = rest;
    }
    frames
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Some((number, bytes)) = data.split_first() else { return };
    let (expected, skip) = whole(bytes);
    let mut incoming = Incoming::default();
    let frames = pieces(&mut incoming, bytes, *number);
    assert_eq!(frames, expected);
    if (1..2 * MAX_LEN).contains(&skip) {
        // Then comes the next one.
        incoming.push(&vec![0; skip]);
        incoming.push(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 0]);
        assert_eq!(incoming.take_frame(), Some(Frame::Request(7, Vec::new())));
    }
    let mut tasks = Tasks::default();
    for (ticket, frame) in (0..).zip(frames) {
        let Frame::Request(stream, data) = frame else { continue };
        let effects = match requests::parse(&data) {
            Ok(call) => tasks.step(Input::Call(ticket, call)),
            Err(failure) => vec![Effect::Answer(ticket, Err(failure))],
        };
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer(to, answer) if to == ticket => Some(answer),
            _ => None,
        });
        let Some(answer) = answers.next() else { continue };
        assert!(answers.next().is_none(), "two answers");
        let refused = answer.as_ref().err().cloned();
        let mut out = Vec::new();
        respond(stream, answer, &mut out);
        let frames = pieces(&mut Incoming::default(), &out, *number);
        let [Frame::Response(to, data)] = &frames[..] else { panic!("one answer is {frames:?}") };
        let status = Response::decode(&**data).expect("an answer").status.expect("a status");
        assert_eq!((*to, status.code != 0, status.message), {
            let message = refused.as_ref().map(|failure| failure.message.clone());
            (stream, refused.is_some(), message.unwrap_or_default())
        });
    }
}
