//! What do we wait for? One epoll, and what each of its descriptors is.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::task::Who;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// New peers.
    Listener,
    /// Signals of ours.
    Signals,
    /// containerd, which hears of events.
    Publisher,
    /// Who calls us.
    Peer(u32),
    /// Files that tell of kills for want of memory.
    Kills,
    /// Fifos that wait for their readers.
    Opened,
    /// One side of a pump.
    Pump(u64),
    /// A logging program that says that it is ready.
    Ready(Who),
}

/// A descriptor that is watched.
pub type Token = u64;

/// Everything that is watched.
pub struct Watch {
    epoll: Epoll,
    sources: BTreeMap<Token, Source>,
    last: Token,
}

impl Watch {
    /// Nothing yet.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> nix::Result<Watch> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Watch { epoll, sources: BTreeMap::new(), last: 0 })
    }

    /// Watches for something to read.
    ///
    /// # Errors
    /// `EPERM`: a file that is always ready.
    pub fn read(&mut self, fd: impl AsFd, source: Source) -> nix::Result<Token> {
        self.add(fd, source, EpollFlags::EPOLLIN)
    }

    /// Watches for space to write.
    ///
    /// # Errors
    /// See [`Watch::read`].
    pub fn write(&mut self, fd: impl AsFd, source: Source) -> nix::Result<Token> {
        self.add(fd, source, EpollFlags::EPOLLOUT)
    }

    fn add(&mut self, fd: impl AsFd, source: Source, flags: EpollFlags) -> nix::Result<Token> {
        self.last += 1;
        self.epoll.add(fd, EpollEvent::new(flags, self.last))?;
        self.sources.insert(self.last, source);
        Ok(self.last)
    }

    /// Watches for something to read, and for space to write, too, if that is wanted.
    pub fn also_write(&mut self, fd: impl AsFd, token: Token, wanted: bool) {
        let write = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let _ = self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | write, token));
    }

    /// A descriptor was closed, which takes it away from what is watched.
    pub fn forget(&mut self, token: Token) {
        self.sources.remove(&token);
    }

    /// Watches no more.
    pub fn remove(&mut self, fd: impl AsFd, token: Token) {
        if self.sources.remove(&token).is_some() {
            let _ = self.epoll.delete(fd);
        }
    }

    /// Waits until something is ready, or that moment. The flag: it can be written.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn wait(&mut self, until: Option<Instant>) -> nix::Result<Vec<(Source, bool)>> {
        let timeout = match until {
            None => EpollTimeout::NONE,
            Some(until) => {
                // Rather a little late than again and again a little early.
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
