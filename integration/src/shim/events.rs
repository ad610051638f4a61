//! Who receives the shim's events, and may be away.

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use containerd_shim_cleat::messages::{Request, Response, Status, events};
use prost::Message;

use super::frames::{frame, read_frame};
use crate::wait::eventually;

/// A containerd that does nothing but receive events, and may be away.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    received: Arc<Mutex<Vec<events::Envelope>>>,
    up: Mutex<Option<Up>>,
}

#[derive(Debug)]
struct Up {
    thread: std::thread::JoinHandle<()>,
    over: Arc<Mutex<(bool, Vec<UnixStream>)>>,
}

impl Listener {
    pub(super) fn new(path: PathBuf) -> Self {
        let listener = Self { path, received: Arc::default(), up: Mutex::default() };
        listener.up();
        listener
    }

    /// Its socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is there.
    ///
    /// # Panics
    /// The socket cannot be made.
    pub fn up(&self) {
        let listener = UnixListener::bind(&self.path).expect("a socket");
        let over = Arc::new(Mutex::new((false, Vec::new())));
        let (shared, received) = (Arc::clone(&over), Arc::clone(&self.received));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().expect("a lock");
                if state.0 {
                    return;
                }
                state.1.push(stream.try_clone().expect("dup"));
                let received = Arc::clone(&received);
                std::thread::spawn(move || receive(&stream, &received));
            }
        });
        *self.up.lock().expect("a lock") = Some(Up { thread, over });
    }

    /// It is gone: nobody listens, and its connections are closed.
    ///
    /// # Panics
    /// It was gone already.
    pub fn down(&self) {
        let up = self.up.lock().expect("a lock").take().expect("somebody who listens");
        {
            let mut state = up.over.lock().expect("a lock");
            state.0 = true;
            for stream in state.1.drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        // It has to be woken.
        let _ = UnixStream::connect(&self.path);
        up.thread.join().expect("the thread");
        fs::remove_file(&self.path).expect("the socket");
    }

    /// What was received, in order, as `topic` or `topic id`, where it is about a process of its own.
    ///
    /// # Panics
    /// An event cannot be decoded.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.received.lock().expect("a lock").iter().map(short).collect()
    }

    /// What was received.
    #[must_use]
    pub fn received(&self) -> Vec<events::Envelope> {
        self.received.lock().expect("a lock").clone()
    }

    /// Waits until exactly these were received.
    ///
    /// # Panics
    /// Others were.
    pub fn expect(&self, topics: &[&str]) {
        eventually("the events", || match self.topics() {
            received if received == topics => Ok(()),
            received => Err(format!("{received:?}, not {topics:?}")),
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.up.lock().is_ok_and(|up| up.is_some()) {
            self.down();
        }
    }
}

fn short(envelope: &events::Envelope) -> String {
    let topic = envelope.topic.trim_start_matches("/tasks/");
    let value = envelope.event.as_ref().map(|any| any.value.clone()).unwrap_or_default();
    match topic {
        "exit" => {
            let exit = events::TaskExit::decode(&*value).expect("TaskExit");
            if exit.id == exit.container_id { topic.into() } else { format!("exit {}", exit.id) }
        }
        "exec-added" => format!("{topic} {}", events::TaskExecAdded::decode(&*value).expect("TaskExecAdded").exec_id),
        "exec-started" => {
            format!("{topic} {}", events::TaskExecStarted::decode(&*value).expect("TaskExecStarted").exec_id)
        }
        _ => topic.into(),
    }
}

fn receive(mut stream: &UnixStream, received: &Mutex<Vec<events::Envelope>>) {
    while let Ok((number, 1, data)) = read_frame(stream) {
        let request = Request::decode(&*data).expect("a request");
        assert_eq!(
            (request.service.as_str(), request.method.as_str()),
            ("containerd.services.events.ttrpc.v1.Events", "Forward")
        );
        let forward = events::ForwardRequest::decode(&*request.payload).expect("a ForwardRequest");
        let answer = Response { status: Some(Status::default()), payload: Vec::new() };
        // An event that is answered is published: a client that never gets the answer sends it again. And a test that sees what follows from the
        // answer, such as the server's end, sees the event, too.
        let mut received = received.lock().expect("a lock");
        if stream.write_all(&frame(number, 2, &answer.encode_to_vec())).is_ok() {
            received.extend(forward.envelope);
        }
    }
}
