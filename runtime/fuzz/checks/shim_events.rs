//! Bytes from the receiver of events, in two pieces: no panic, and an event has been published when it was
//! answered well, and not before.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};

use containerd_shim_cleat::messages::Response;
use containerd_shim_cleat::messages::events::{Event, TaskNamed};
use containerd_shim_cleat::publisher::Publisher;
use containerd_shim_cleat::ttrpc::{Frame, Incoming};
use prost::Message;

/// Somebody who listens, at a path of its thread's.
struct Host {
    listener: UnixListener,
    path: String,
}

impl Host {
    fn new() -> Host {
        let id = format!("{:?}", std::thread::current().id());
        let id: String = id.chars().filter(char::is_ascii_digit).collect();
        let path = std::env::temp_dir().join(format!("cleat-fuzz-{}-{id}", std::process::id()));
        let path = path.to_str().expect("UTF-8").to_owned();
        let _ = std::fs::remove_file(&path);
        Host { listener: UnixListener::bind(&path).expect("a socket"), path }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

thread_local! {
    static HOST: Host = Host::new();
}

/// What the first answer to the first call says: whether it was taken.
fn taken(bytes: &[u8]) -> Option<bool> {
    let mut incoming = Incoming::default();
    incoming.push(bytes);
    std::iter::from_fn(|| incoming.take_frame()).find_map(|frame| match frame {
        Frame::Response(1, data) => {
            let response = Response::decode(&*data);
            Some(response.is_ok_and(|response| response.status.is_none_or(|status| status.code == 0)))
        }
        _ => None,
    })
}

fn answer(publisher: &mut Publisher, mut stream: &UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).expect("a socket takes it");
    publisher.readable();
    publisher.is_idle()
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Some((at, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*at).min(bytes.len()));
    HOST.with(|host| {
        let mut publisher = Publisher::new(&host.path, "n");
        publisher.publish(&Event::Oom(TaskNamed { container_id: "c".into() }));
        let (stream, _) = host.listener.accept().expect("its connection");
        assert!(publisher.take_new().is_some() && !publisher.is_idle());
        assert_eq!(answer(&mut publisher, &stream, first), taken(first) == Some(true));
        assert_eq!(answer(&mut publisher, &stream, second), taken(bytes) == Some(true));
        drop(stream);
        publisher.readable();
        assert_eq!(publisher.is_idle(), taken(bytes) == Some(true), "what was not taken is published again");
        assert_eq!(publisher.next().is_some(), !publisher.is_idle());
    });
}
