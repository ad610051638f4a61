//! What is polled? One epoll, and what each of its descriptors is.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::task::ProcessId;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// New peers.
    Listener,
    /// Signals of ours.
    Signals,
    /// The connection to containerd, for events.
    Publisher,
    /// A connected peer.
    Peer(u32),
    /// `memory.events` of containers.
    Oom,
    /// Fifos without a reader.
    FifoOpened,
    /// One side of a pump.
    Pump(u64),
    /// A logging program that reports ready.
    LoggerReady(ProcessId),
}

/// A descriptor that is polled.
pub type Token = u64;

/// All that is polled.
pub struct Epoll {
    epoll: epoll::Epoll,
    sources: BTreeMap<Token, Source>,
    last: Token,
}

impl Epoll {
    /// Nothing yet.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> nix::Result<Epoll> {
        let epoll = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Epoll { epoll, sources: BTreeMap::new(), last: 0 })
    }

    /// Polls for something to read.
    ///
    /// # Errors
    /// `EPERM`: a file that is always ready.
    pub fn read(&mut self, fd: impl AsFd, source: Source) -> nix::Result<Token> {
        self.add(fd, source, EpollFlags::EPOLLIN)
    }

    /// Polls for space to write.
    ///
    /// # Errors
    /// See [`Epoll::read`].
    pub fn write(&mut self, fd: impl AsFd, source: Source) -> nix::Result<Token> {
        self.add(fd, source, EpollFlags::EPOLLOUT)
    }

    fn add(&mut self, fd: impl AsFd, source: Source, flags: EpollFlags) -> nix::Result<Token> {
        self.last += 1;
        self.epoll.add(fd, EpollEvent::new(flags, self.last))?;
        self.sources.insert(self.last, source);
        Ok(self.last)
    }

    /// Polls for something to read, and for space to write, too, if that is wanted.
    pub fn also_write(&mut self, fd: impl AsFd, token: Token, wanted: bool) {
        let write = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let _ = self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | write, token));
    }

    /// A descriptor was closed, which ends polling it.
    pub fn forget(&mut self, token: Token) {
        self.sources.remove(&token);
    }

    /// Ends polling a descriptor.
    pub fn remove(&mut self, fd: impl AsFd, token: Token) {
        if self.sources.remove(&token).is_some() {
            let _ = self.epoll.delete(fd);
        }
    }

    /// Waits until something is ready, or until that time. The flag: there is space to write.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn wait(&mut self, until: Option<Instant>) -> nix::Result<Vec<(Source, bool)>> {
        let timeout = match until {
            None => EpollTimeout::NONE,
            Some(until) => {
                // Rounded up: a timer that is not due would make the loop spin.
                let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno),
        };
        let ready = events[..count].iter().filter_map(|event| {
            let source = self.sources.get(&event.data())?;
            Some((source.clone(), event.events().contains(EpollFlags::EPOLLOUT)))
        });
        Ok(ready.collect())
    }
}
