//! What do ttrpc's messages look like on the wire?

use std::io::Read;
use std::os::unix::net::UnixStream;

/// Bytes before each message.
pub const HEADER: usize = 10;

/// A frame: its stream, its type, and its data.
pub(super) fn read_frame(mut from: &UnixStream) -> std::io::Result<(u32, u8, Vec<u8>)> {
    let mut header = [0u8; HEADER];
    from.read_exact(&mut header)?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let mut data = vec![0; usize::try_from(number(0)).expect("a length")];
    from.read_exact(&mut data)?;
    Ok((number(4), header[8], data))
}

/// The bytes of a frame.
#[must_use]
pub fn frame(stream: u32, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(data.len()).expect("a length").to_be_bytes().to_vec();
    out.extend(stream.to_be_bytes());
    out.extend([kind, 0]);
    out.extend(data);
    out
}
