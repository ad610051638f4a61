//! How is a method of systemd called?
//!
//! Host half. As much of D-Bus as that takes: one connection to a socket of this machine, calls one
//! after the other, replies and one kind of signal. No thread, and a deadline on every wait. What
//! the other side sends is read within bounds, and what is not understood is an error.
//!
//! Source: D-Bus specification, "Message Protocol" and "Authentication Protocol".

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, setsockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::{Context, Error, Result};
use crate::plan::systemd::{Property, Value};

/// Longer messages than systemd has to send.
const MESSAGE_MAX: usize = 1 << 20;
/// Longer than what is said before the first message.
const GREETING_MAX: usize = 1 << 12;

/// Types of messages.
const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// An error that the other side answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Such as `org.freedesktop.systemd1.UnitExists`.
    pub(super) name: String,
    /// In words.
    pub(super) text: String,
}

/// The answer to a call: the body of the reply.
pub(super) type Answer = std::result::Result<Vec<u8>, Refusal>;

/// Whose method is called.
pub(super) struct Target {
    /// The name on the bus; a connection without a bus needs none.
    pub(super) destination: &'static str,
    pub(super) object: &'static str,
    pub(super) interface: &'static str,
}

/// A connection.
pub(super) struct Bus {
    stream: UnixStream,
    /// For errors.
    place: String,
    deadline: Instant,
    serial: u32,
    /// What has arrived and is not read yet.
    received: Vec<u8>,
    /// Jobs that have come to an end, and how.
    ended: Vec<(String, String)>,
}

impl Bus {
    /// Connects to a socket and says who we are, which the other side asks the kernel. All that
    /// follows must be done within `timeout`.
    ///
    /// # Errors
    /// Nobody listens there, or does not want us.
    pub(super) fn connect(path: &Path, timeout: Duration) -> Result<Bus> {
        let place = format!("connect {}", path.display());
        let deadline = Instant::now() + timeout;
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .context("socket")?;
        // Where too many wait to be accepted, this is how long connect(2) waits, too.
        let limit = TimeVal::milliseconds(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX).max(1));
        setsockopt(&socket, SendTimeout, &limit).context("setsockopt SO_SNDTIMEO")?;
        let address = UnixAddr::new(path).context(&place)?;
        nix::sys::socket::connect(socket.as_raw_fd(), &address).context(&place)?;
        let place = path.display().to_string();
        let stream = UnixStream::from(socket);
        let mut bus = Bus { stream, place, deadline, serial: 0, received: Vec::new(), ended: Vec::new() };
        bus.authenticate()?;
        Ok(bus)
    }

    /// Without a number: in a user namespace ours is another one there.
    fn authenticate(&mut self) -> Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            while let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                if line.starts_with(b"OK ") {
                    return Ok(());
                }
                if line != b"DATA\r\n" {
                    let said = String::from_utf8_lossy(&line);
                    return Err(self.wrong(format_args!("it does not accept this user: {:?}", said.trim_end())));
                }
            }
            if self.received.len() > GREETING_MAX {
                return Err(self.wrong("what answers there speaks no D-Bus"));
            }
            self.fill()?;
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(format!("{}: {what}", self.place))
    }

    fn left(&self) -> Result<TimeVal> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late());
        }
        // None at all would be for ever.
        Ok(TimeVal::microseconds(i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1)))
    }

    fn late(&self) -> Error {
        self.wrong("it did not answer in time")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        setsockopt(&self.stream, SendTimeout, &self.left()?).context("setsockopt SO_SNDTIMEO")?;
        match self.stream.write_all(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(self.late()),
            other => other.context(format_args!("{}: write", self.place)),
        }
    }

    fn fill(&mut self) -> Result<()> {
        let mut part = [0u8; 4096];
        loop {
            setsockopt(&self.stream, ReceiveTimeout, &self.left()?).context("setsockopt SO_RCVTIMEO")?;
            return match self.stream.read(&mut part) {
                Ok(0) => Err(self.wrong("it has closed the connection")),
                Ok(count) => {
                    self.received.extend_from_slice(&part[..count]);
                    Ok(())
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(self.late()),
                Err(error) => Err(error).context(format_args!("{}: read", self.place)),
            };
        }
    }

    /// Calls a method and waits for its answer; `signature` is that of the arguments in `body`.
    ///
    /// # Errors
    /// The connection broke, or nobody answered in time.
    pub(super) fn call(&mut self, target: &Target, method: &str, signature: &str, body: &Writer) -> Result<Answer> {
        self.serial += 1;
        let serial = self.serial;
        self.write(&call(target, method, signature, body, serial))?;
        loop {
            let message = self.message()?;
            if message.reply_to != Some(serial) {
                continue;
            }
            match message.kind {
                REPLY => return Ok(Ok(message.body)),
                ERROR => {
                    let text = Reader::new(&message.body).text().unwrap_or_default();
                    return Ok(Err(Refusal { name: message.error, text }));
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a job and returns how it ended; `done` is well.
    ///
    /// # Errors
    /// As above.
    pub(super) fn end_of_job(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            self.message()?;
        }
    }

    /// The next message, remembered if it is about the end of a job.
    fn message(&mut self) -> Result<Message> {
        let length = loop {
            match message_length(&self.received) {
                Some(Ok(length)) if self.received.len() >= length => break length,
                Some(Err(what)) => return Err(self.wrong(what)),
                _ => self.fill()?,
            }
        };
        let bytes: Vec<u8> = self.received.drain(..length).collect();
        let message = Message::parse(&bytes).ok_or_else(|| self.wrong("its message makes no sense"))?;
        if message.kind == SIGNAL && message.member == "JobRemoved" {
            // `uoss`: number, path, unit, result.
            let mut body = Reader::new(&message.body);
            let job = body.number().and_then(|_| body.text()).zip(body.text().and_then(|_| body.text()));
            self.ended.extend(job);
        }
        Ok(message)
    }
}

/// A message that has arrived.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    reply_to: Option<u32>,
    member: String,
    error: String,
    body: Vec<u8>,
}

/// How long the first header and its body are; `None`: more has to arrive first.
fn message_length(bytes: &[u8]) -> Option<std::result::Result<usize, &'static str>> {
    if bytes.first().is_some_and(|order| *order != b'l') {
        return Some(Err("its byte order is not this machine's"));
    }
    let mut header = Reader::new(bytes);
    header.number()?;
    let body = header.number()?;
    header.number()?;
    let fields = header.number()?;
    let length = |n: u32| usize::try_from(n).ok().filter(|n| *n <= MESSAGE_MAX);
    let (Some(body), Some(fields)) = (length(body), length(fields)) else {
        return Some(Err("its message is too long"));
    };
    Some(Ok((16 + fields).next_multiple_of(8) + body))
}

impl Message {
    fn parse(bytes: &[u8]) -> Option<Message> {
        let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
        let mut reader = Reader { bytes, at: 12 };
        let fields = usize::try_from(reader.number()?).ok()?;
        let end = reader.at.checked_add(fields).filter(|end| *end <= bytes.len())?;
        loop {
            reader.align(8);
            if reader.at >= end {
                break;
            }
            let field = reader.byte()?;
            match (field, reader.signature()?.as_str()) {
                (3, "s") => message.member = reader.text()?,
                (4, "s") => message.error = reader.text()?,
                (5, "u") => message.reply_to = Some(reader.number()?),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return None,
            }
        }
        message.body = bytes.get(end.next_multiple_of(8)..)?.to_vec();
        Some(message)
    }
}

/// The bytes of a call.
fn call(target: &Target, method: &str, signature: &str, body: &Writer, serial: u32) -> Vec<u8> {
    let mut message = Writer::default();
    message.bytes.extend([b'l', CALL, 0, 1]);
    message.number(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
    message.number(serial);
    message.array(8, |fields| {
        let texts =
            [(1, "o", target.object), (2, "s", target.interface), (3, "s", method), (6, "s", target.destination)];
        for (field, kind, text) in texts {
            fields.align(8);
            fields.bytes.push(field);
            fields.signature(kind);
            fields.text(text);
        }
        if !signature.is_empty() {
            fields.align(8);
            fields.bytes.push(8);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    message.align(8);
    message.bytes.extend_from_slice(&body.bytes);
    message.bytes
}

/// Arguments of a call.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// One text after the other.
    pub(super) fn of(texts: &[&str]) -> Writer {
        let mut writer = Writer::default();
        texts.iter().for_each(|text| writer.text(text));
        writer
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// `u`
    pub(super) fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    /// `b`
    pub(super) fn flag(&mut self, flag: bool) {
        self.number(flag.into());
    }

    /// `s` and `o`
    pub(super) fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to so many bytes.
    pub(super) fn array(&mut self, align: usize, elements: impl FnOnce(&mut Writer)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        self.align(align);
        let begin = self.bytes.len();
        elements(self);
        let length = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// `a(sv)`
    pub(super) fn properties<'a>(&mut self, properties: impl IntoIterator<Item = &'a Property>) {
        self.array(8, |list| {
            for property in properties {
                list.align(8);
                list.text(property.name);
                list.variant(&property.value);
            }
        });
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Flag(flag) => {
                self.signature("b");
                self.flag(*flag);
            }
            Value::Number(number) => {
                self.signature("i");
                self.align(4);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Count(count) => {
                self.signature("t");
                self.align(8);
                self.bytes.extend(count.to_le_bytes());
            }
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |list| texts.iter().for_each(|text| list.text(text)));
            }
            Value::Set(set) => {
                self.signature("ay");
                self.array(1, |list| list.bytes.extend(set));
            }
            Value::Pairs(pairs) => {
                self.signature("a(ss)");
                self.array(8, |list| {
                    for (first, second) in pairs {
                        list.align(8);
                        list.text(first);
                        list.text(second);
                    }
                });
            }
            Value::Pids(pids) => {
                self.signature("au");
                self.array(4, |list| pids.iter().for_each(|pid| list.number(*pid)));
            }
        }
    }
}

/// Reads values, within the bytes that there are.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte on, which is aligned.
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// `u`
    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// `s` and `o`
    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        self.terminated(usize::try_from(length).ok()?)
    }

    /// `g`, and in front of a variant's value.
    pub(super) fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.terminated(length.into())
    }

    fn terminated(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests;
