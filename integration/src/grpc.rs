//! How does gRPC go over a connection?
//!
//! A call is a request of HTTP/2 whose body is a message with five bytes before it; what comes back is such a
//! message, and a status in the trailers.
//!
//! Source: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md

use std::path::Path;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use prost::Message;

/// A request, the method that takes it, and what that answers.
pub trait Request: Message {
    /// `/PACKAGE.SERVICE/METHOD`
    const METHOD: &'static str;
    /// Its message.
    type Answer: Message + Default;
}

/// Why not: a code of gRPC, and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Refused {
    pub code: u32,
    pub message: String,
}

impl Refused {
    fn transport(what: &str, error: &dyn std::fmt::Debug) -> Refused {
        Refused { code: 14, message: format!("{what}: {error:?}") }
    }
}

/// What is lost when HTTP/2 fails.
fn lost(what: &'static str) -> impl Fn(h2::Error) -> Refused {
    move |error| Refused::transport(what, &error)
}

/// A connection, for any number of calls, also at once; a clone is the same connection.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    metadata: HeaderMap,
}

impl Connection {
    /// Connects; `metadata`, in lower case, goes with every call. The runtime that this is called in carries the
    /// connection: nothing moves while it does not run.
    ///
    /// # Errors
    /// 14 (`UNAVAILABLE`): nobody listens there, or not as HTTP/2.
    pub async fn open(socket: &Path, metadata: &[(&'static str, &str)]) -> Result<Connection, Refused> {
        let stream = tokio::net::UnixStream::connect(socket).await;
        let stream = stream.map_err(|error| Refused::transport("connect", &error))?;
        let (sender, connection) = h2::client::handshake(stream).await.map_err(lost("handshake"))?;
        tokio::spawn(connection);
        let named = |&(name, value): &(&'static str, &str)| (name.parse(), value.parse());
        let metadata = metadata.iter().map(named).map(|(name, value)| {
            let name: http::HeaderName = name.expect("a name in lower case");
            (name, value.expect("a value in ASCII"))
        });
        Ok(Connection { sender, metadata: metadata.collect() })
    }

    /// Sends a message, after all that have been sent before.
    ///
    /// # Errors
    /// 14 (`UNAVAILABLE`): the connection is lost.
    pub async fn send(&self, method: &str, message: &[u8]) -> Result<Pending, Refused> {
        let mut request = http::Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        request.headers_mut().extend(self.metadata.clone());
        let mut sender = self.sender.clone().ready().await.map_err(lost("ready"))?;
        let (answer, mut body) = sender.send_request(request, false).map_err(lost("request"))?;
        let length = u32::try_from(message.len()).expect("a length");
        let framed = [&[0], &length.to_be_bytes()[..], message].concat();
        body.send_data(Bytes::from(framed), true).map_err(lost("data"))?;
        Ok(Pending(answer))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What it says; 14 (`UNAVAILABLE`): the connection is lost.
    ///
    /// # Panics
    /// It answers something else.
    pub async fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, Refused> {
        let bytes = self.send(R::METHOD, &request.encode_to_vec()).await?.answer().await?;
        Ok(R::Answer::decode(bytes.as_slice()).expect("the message that answers"))
    }
}

/// A call whose answer has not come yet.
#[derive(Debug)]
pub struct Pending(ResponseFuture);

impl Pending {
    /// Waits for it.
    ///
    /// # Errors
    /// What it says; 14 (`UNAVAILABLE`): the connection is lost.
    pub async fn answer(self) -> Result<Vec<u8>, Refused> {
        let (head, mut body) = self.0.await.map_err(lost("answer"))?.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(lost("body"))?;
            body.flow_control().release_capacity(chunk.len()).map_err(lost("window"))?;
            bytes.extend_from_slice(&chunk);
        }
        // Where there is no body, what is said in the end is said at the beginning.
        let trailers = body.trailers().await.map_err(lost("trailers"))?.unwrap_or(head.headers);
        let text = |name: &str| trailers.get(name).map(|value| unescaped(value.as_bytes())).unwrap_or_default();
        match text("grpc-status").as_str() {
            "0" => Ok(bytes.get(5..).unwrap_or_default().to_vec()),
            code => Err(Refused { code: code.parse().unwrap_or(2), message: text("grpc-message") }),
        }
    }
}

/// One call over a connection of its own.
///
/// # Errors
/// What it says; 14 (`UNAVAILABLE`): it is not there.
pub async fn call(socket: &Path, method: &str, message: &[u8]) -> Result<Vec<u8>, Refused> {
    Connection::open(socket, &[]).await?.send(method, message).await?.answer().await
}

/// Without `%41`.
fn unescaped(text: &[u8]) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| byte == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match escaped.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(byte), rest = after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
