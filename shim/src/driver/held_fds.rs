//! What is open for a process's streams, and where?

use std::os::fd::OwnedFd;

use crate::fd_store::{Key, Shelf};
use crate::task::Who;

use super::Driver;
use super::streams::Streams;

/// Other ends of fifos: they only have to be open.
#[derive(Default)]
pub(super) struct Held {
    open: Vec<OwnedFd>,
    /// Where the others are.
    away: Option<Key>,
}

impl Held {
    pub(super) fn extend(&mut self, fds: impl IntoIterator<Item = OwnedFd>) {
        self.open.extend(fds);
    }

    /// Puts them on the shelf.
    fn put_away(&mut self, shelf: &mut Shelf, key: Key) {
        shelf.put(key, std::mem::take(&mut self.open));
        self.away = Some(key);
    }

    /// Takes them from the shelf, which goes when it is empty.
    pub(super) fn take_back(&mut self, shelf: &mut Option<Shelf>) -> &mut Vec<OwnedFd> {
        if let (Some(full), Some(key)) = (&mut *shelf, self.away.take()) {
            self.open.extend(full.take(key));
            if full.is_empty() {
                *shelf = None;
            }
        }
        &mut self.open
    }

    /// Closes them.
    pub(super) fn release(&mut self, shelf: &mut Option<Shelf>) {
        self.take_back(shelf).clear();
    }
}

impl Streams {
    /// Closes what was held for them.
    pub(super) fn release(&mut self, shelf: &mut Option<Shelf>) {
        self.held.release(shelf);
        self.pipes.release(shelf);
        self.stdin.release(shelf);
    }
}

impl Driver {
    /// Takes what is held for a process away from our descriptors.
    pub(super) fn put_away(&mut self, who: &Who) {
        let keys = [self.number(), self.number(), self.number()];
        let Some(streams) = self.streams.get_mut(who) else { return };
        for (held, key) in [&mut streams.held, &mut streams.pipes, &mut streams.stdin].into_iter().zip(keys) {
            if held.open.is_empty() {
                continue;
            }
            // Without a shelf they stay where they are.
            let Some(shelf) = self.shelf.take().or_else(|| Shelf::new().ok()) else { return };
            held.put_away(self.shelf.insert(shelf), key);
        }
    }
}
