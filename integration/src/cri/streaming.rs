//! How does the kubelet type into a container? Attach and Exec of CRI give a URL; behind it is a WebSocket.
//!
//! Every message begins with the number of its channel: 0 to 2 are the standard streams, 3 tells how it ended, 4 takes
//! sizes of the terminal.
//!
//! Source: RFC 6455; k8s.io/apimachinery, `pkg/util/remotecommand/constants.go`, `v4.channel.k8s.io`

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use super::messages::{AttachRequest, ExecRequest};
use super::{Node, PodContainer};
use crate::wait::DEADLINE;

/// Any will do, and this one's answer is in RFC 6455, 1.3.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// A channel's number.
const STDIN: u8 = 0;
const RESIZE: u8 = 4;

/// What a frame is, with the bit that says that the message is complete in it.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// A client that is connected to the streams of a process.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    /// What came on the channels 0 to 3.
    got: [Vec<u8>; 4],
}

impl Node {
    /// Opens a URL that Attach or Exec gave.
    fn open(&self, url: &str) -> Client {
        let rest = url.strip_prefix("http://").expect("a URL of HTTP");
        let (host, path) = rest.split_once('/').expect("a path");
        let mut socket = self.containerd.connect(host);
        socket.set_read_timeout(Some(DEADLINE)).expect("a time limit");
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n",
            KEY.0
        );
        socket.write_all(request.as_bytes()).expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = &mut [0];
            let length = socket.read(byte).unwrap_or(0);
            assert_eq!(length, 1, "{url}: the answer ends: {}", String::from_utf8_lossy(&head));
            head.extend_from_slice(byte);
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(KEY.1), "{url}: {head}");
        assert!(head.contains("v4.channel.k8s.io"), "{url}: {head}");
        Client { socket, got: Default::default() }
    }
}

impl PodContainer<'_> {
    /// A client of the container's own streams; `tty` is the container's.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn attach(&self, tty: bool) -> Client {
        let request = AttachRequest { container_id: self.id.clone(), stdin: true, tty, stdout: true, stderr: !tty };
        self.node.open(&self.must(&request).url)
    }

    /// A client of a shell's script that is executed in it.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn exec_streaming(&self, script: &str, tty: bool) -> Client {
        let request = ExecRequest {
            container_id: self.id.clone(),
            cmd: ["sh", "-c", script].map(str::to_owned).into(),
            tty,
            stdin: true,
            stdout: true,
            stderr: !tty,
        };
        self.node.open(&self.must(&request).url)
    }
}

impl Client {
    /// Writes to standard input.
    ///
    /// # Panics
    /// The connection is lost.
    pub fn types(&mut self, text: &str) {
        self.send(BINARY, &[&[STDIN], text.as_bytes()].concat());
    }

    /// Makes the terminal another size.
    ///
    /// # Panics
    /// The connection is lost.
    pub fn resize(&mut self, width: u16, height: u16) {
        let size = format!("{{\"Width\":{width},\"Height\":{height}}}");
        self.send(BINARY, &[&[RESIZE], size.as_bytes()].concat());
    }

    /// A client masks what it sends, and a mask of zeros leaves it as it is.
    fn send(&mut self, kind: u8, message: &[u8]) {
        let length = u8::try_from(message.len()).ok().filter(|length| *length < 126).expect("a short message");
        let frame = [&[kind, 0x80 | length, 0, 0, 0, 0], message].concat();
        self.socket.write_all(&frame).expect("a message");
    }

    /// The next message; `None`: there is none any more.
    fn receive(&mut self) -> Option<()> {
        let head = self.take(2)?;
        let length = match head[1] {
            126 => self.take(2)?,
            127 => self.take(8)?,
            length => vec![length],
        };
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let message = self.take(length)?;
        match (head[0], message.split_first()) {
            (CLOSE, _) => return None,
            (BINARY, Some((&channel, bytes))) => self.got[usize::from(channel)].extend_from_slice(bytes),
            _ => panic!("a frame of {head:02x?}: {message:02x?}; {self:?}"),
        }
        Some(())
    }

    /// So many bytes; `None` at the end.
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self.socket.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing comes; {self:?}"),
            Err(_) => None,
        }
    }

    /// What has come: standard output, standard error, and how it ended.
    #[must_use]
    pub fn got(&self) -> [String; 3] {
        [1, 2, 3].map(|channel: usize| String::from_utf8_lossy(&self.got[channel]).replace('\r', ""))
    }

    /// Waits until standard output has a text.
    ///
    /// # Panics
    /// It does not come.
    pub fn sees(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.got()[0].contains(text) {
            assert!(self.receive().is_some() && Instant::now() < end, "no {text:?} in {:?}", self.got());
        }
    }

    /// Waits for the end, and says what came until then.
    #[must_use]
    pub fn ended(mut self) -> [String; 3] {
        while self.receive().is_some() {}
        self.got()
    }

    /// Goes, as one does who closes the window.
    ///
    /// # Panics
    /// The connection is lost.
    pub fn detach(mut self) {
        self.send(CLOSE, &[]);
        let _ = self.socket.shutdown(Shutdown::Write);
        while self.receive().is_some() {}
    }
}
