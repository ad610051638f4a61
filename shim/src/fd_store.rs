//! Where are descriptors that only have to be open?
//!
//! A fifo's other end, held for a container's whole life, is asked for once: when the container ends. Until
//! then it need not be one of the few descriptors that a process may have (`RLIMIT_NOFILE`), of which a pod's
//! containers would take three each. It waits in a message that this process has sent itself, which the kernel
//! keeps as open as a descriptor (unix(7), `SCM_RIGHTS`) and closes with the process, however that ends.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use cleat::error::{Context, Result};
use cleat::sys::child;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, setsockopt, sockopt::SndBufForce,
};

/// What was put there.
pub type Key = u64;

/// Most descriptors under one key.
pub const MOST: usize = 3;
/// Room for messages, each of which counts as about 800 bytes: two for each of as many containers as can have a peer.
const ROOM: usize = 512 << 10;

/// Descriptors by key.
#[derive(Debug)]
pub struct Shelf {
    /// The oldest message is taken from here.
    front: OwnedFd,
    back: OwnedFd,
    /// How many messages wait.
    count: usize,
    /// What there was no room for.
    beside: Vec<(Key, Vec<OwnedFd>)>,
    /// So that a message can be looked at where there are no more descriptors to be had.
    spare: Vec<OwnedFd>,
}

impl Shelf {
    /// An empty one: two descriptors, and some to spare.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn new() -> Result<Shelf> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let pair = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (front, back) = pair.context("socketpair")?;
        // Without the privilege there is less room.
        let _ = setsockopt(&back, SndBufForce, &ROOM);
        let mut shelf = Shelf { front, back, count: 0, beside: Vec::new(), spare: Vec::new() };
        shelf.save();
        Ok(shelf)
    }

    /// Nothing is there.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.beside.is_empty()
    }

    fn save(&mut self) {
        let spare = std::iter::repeat_with(|| self.front.try_clone().ok());
        self.spare = spare.take(MOST).flatten().collect();
    }

    /// Puts some there, [`MOST`] of them, under a key that was not used before. What there is no room for stays
    /// open as it is.
    pub fn put(&mut self, key: Key, fds: Vec<OwnedFd>) {
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let (text, flags) = (key.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        match socket::sendmsg::<()>(self.back.as_raw_fd(), &[IoSlice::new(&text)], &control, flags, None) {
            Ok(_) => self.count += 1,
            Err(_) => self.beside.push((key, fds)),
        }
    }

    /// Takes back what was put there under a key; nothing, where nothing was.
    pub fn take(&mut self, key: Key) -> Vec<OwnedFd> {
        if let Some(at) = self.beside.iter().position(|(number, _)| *number == key) {
            return self.beside.swap_remove(at).1;
        }
        let mut found = Vec::new();
        // Every message once: those that are not wanted go to the end.
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

    /// Takes the oldest message, if all that is in it can be had: else it stays where it is.
    fn first(&mut self) -> Option<(Key, Vec<OwnedFd>)> {
        let mut text = [0; size_of::<Key>()];
        let peeked = child::peek(self.front.as_fd(), &mut text).or_else(|_| {
            self.spare.clear();
            child::peek(self.front.as_fd(), &mut text)
        });
        let (_, fds) = peeked.ok()?;
        // Its descriptors are ours by now: with the message goes a second hold on them.
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
        let mut shelf = Shelf::new().unwrap();
        let (fds, open): (Vec<_>, Vec<_>) = (0..300).map(|_| end()).unzip();
        // Other tests open some meanwhile, and close them.
        let before = open_descriptors();
        for (fd, key) in fds.into_iter().zip(1..) {
            shelf.put(key, vec![fd]);
        }
        assert!(open_descriptors() + 200 < before, "{before} {}", open_descriptors());
        assert!(open.iter().all(|open| open()));
        assert!(shelf.take(7000).is_empty());
        for key in [150, 1, 300, 2] {
            let taken = shelf.take(key);
            assert_eq!(taken.len(), 1, "{key}");
            let open = &open[usize::try_from(key).unwrap() - 1];
            assert!(open());
            drop(taken);
            assert!(!open(), "{key}: another hold on it was left behind");
            assert!(shelf.take(key).is_empty());
        }
        assert_eq!(open.iter().filter(|open| open()).count(), 296);
        drop(shelf);
        assert!(open.iter().all(|open| !open()));
    }

    #[test]
    fn what_there_is_no_room_for_is_kept_as_it_is() {
        let mut shelf = Shelf::new().unwrap();
        setsockopt(&shelf.back, nix::sys::socket::sockopt::SndBuf, &0).unwrap();
        let (fds, open): (Vec<_>, Vec<_>) = (0..20).map(|_| end()).unzip();
        for (fd, key) in fds.into_iter().zip(1..) {
            shelf.put(key, vec![fd]);
        }
        assert!(shelf.count > 0 && !shelf.beside.is_empty(), "{shelf:?}");
        for (open, key) in open.iter().zip(1..) {
            assert!(open());
            drop(shelf.take(key));
            assert!(!open());
        }
        assert!(shelf.is_empty());
    }
}
