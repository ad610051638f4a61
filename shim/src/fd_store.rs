//! Where are descriptors that only have to be open?
//!
//! The other end of a fifo is held for the container's whole life and used once: when the container ends. Until
//! then it should not count against `RLIMIT_NOFILE`, of which a pod's containers would take three each. It waits
//! in a message that the shim has sent to itself. The kernel keeps it as open as a descriptor (unix(7),
//! `SCM_RIGHTS`) and closes when the shim ends, however it does.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use cleat::error::{Context, Result};
use cleat::sys::child;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, setsockopt, sockopt::SndBufForce,
};

/// Names what was stored.
pub type Key = u64;

/// Most descriptors under one key.
pub const MOST: usize = 3;
/// Room for messages, each of which counts as about 800 bytes: two for each of as many containers as can have a peer.
const ROOM: usize = 512 << 10;

/// Descriptors by key.
#[derive(Debug)]
pub struct FdStore {
    /// The oldest message is taken from here.
    front: OwnedFd,
    back: OwnedFd,
    /// How many messages wait.
    count: usize,
    /// What there was no room for.
    overflow: Vec<(Key, Vec<OwnedFd>)>,
    /// Closed to receive a message where no descriptor is left.
    spare: Vec<OwnedFd>,
}

impl FdStore {
    /// An empty one: two descriptors, and some to spare.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn new() -> Result<FdStore> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let pair = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (front, back) = pair.context("socketpair")?;
        // Without the privilege there is less room.
        let _ = setsockopt(&back, SndBufForce, &ROOM);
        let mut fd_store = FdStore { front, back, count: 0, overflow: Vec::new(), spare: Vec::new() };
        fd_store.save();
        Ok(fd_store)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.overflow.is_empty()
    }

    fn save(&mut self) {
        let spare = std::iter::repeat_with(|| self.front.try_clone().ok());
        self.spare = spare.take(MOST).flatten().collect();
    }

    /// Stores at most [`MOST`] under a key that was not used before. What there is no room for stays open here.
    pub fn put(&mut self, key: Key, fds: Vec<OwnedFd>) {
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let (text, flags) = (key.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        match socket::sendmsg::<()>(self.back.as_raw_fd(), &[IoSlice::new(&text)], &control, flags, None) {
            Ok(_) => self.count += 1,
            Err(_) => self.overflow.push((key, fds)),
        }
    }

    /// Takes out what is stored under a key; nothing for an unknown key.
    pub fn take(&mut self, key: Key) -> Vec<OwnedFd> {
        if let Some(at) = self.overflow.iter().position(|(number, _)| *number == key) {
            return self.overflow.swap_remove(at).1;
        }
        let mut found = Vec::new();
        // Every message once: the others go to the end of the queue.
        for _ in 0..self.count {
            let Some((number, fds)) = self.first() else { break };
            if number == key {
                found = fds;
                break;
            }
            self.put(number, fds);
        }
        if self.spare.len() < MOST {
            self.save();
        }
        found
    }

    /// Receives the oldest message, if there are descriptors enough for all that is in it; else it stays.
    fn first(&mut self) -> Option<(Key, Vec<OwnedFd>)> {
        let mut text = [0; size_of::<Key>()];
        let peeked = child::peek(self.front.as_fd(), &mut text).or_else(|_| {
            self.spare.clear();
            child::peek(self.front.as_fd(), &mut text)
        });
        let (_, fds) = peeked.ok()?;
        // Peeking has received its descriptors; the message's own references go with it.
        socket::recv(self.front.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT).ok()?;
        self.count -= 1;
        Some((Key::from_ne_bytes(text), fds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe's read end, and whether that is open.
    fn end() -> (OwnedFd, impl Fn() -> bool) {
        let (read, write) = crate::stdio::pipe().unwrap();
        (read, move || nix::unistd::write(&write, b".").is_ok())
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn what_is_put_there_is_open_until_it_is_taken_and_dropped() {
        let mut fd_store = FdStore::new().unwrap();
        let (fds, open): (Vec<_>, Vec<_>) = (0..300).map(|_| end()).unzip();
        // Other tests open some meanwhile, and close them.
        let before = open_descriptors();
        for (fd, key) in fds.into_iter().zip(1..) {
            fd_store.put(key, vec![fd]);
        }
        assert!(open_descriptors() + 200 < before, "{before} {}", open_descriptors());
        assert!(open.iter().all(|open| open()));
        assert!(fd_store.take(7000).is_empty());
        for key in [150, 1, 300, 2] {
            let taken = fd_store.take(key);
            assert_eq!(taken.len(), 1, "{key}");
            let open = &open[usize::try_from(key).unwrap() - 1];
            assert!(open());
            drop(taken);
            assert!(!open(), "{key}: another hold on it was left behind");
            assert!(fd_store.take(key).is_empty());
        }
        assert_eq!(open.iter().filter(|open| open()).count(), 296);
        drop(fd_store);
        assert!(open.iter().all(|open| !open()));
    }

    #[test]
    fn what_there_is_no_room_for_is_kept_as_it_is() {
        let mut fd_store = FdStore::new().unwrap();
        setsockopt(&fd_store.back, nix::sys::socket::sockopt::SndBuf, &0).unwrap();
        let (fds, open): (Vec<_>, Vec<_>) = (0..20).map(|_| end()).unzip();
        for (fd, key) in fds.into_iter().zip(1..) {
            fd_store.put(key, vec![fd]);
        }
        assert!(fd_store.count > 0 && !fd_store.overflow.is_empty(), "{fd_store:?}");
        for (open, key) in open.iter().zip(1..) {
            assert!(open());
            drop(fd_store.take(key));
            assert!(!open());
        }
        assert!(fd_store.is_empty());
    }
}
