//! Which descriptors does the shim only hold open for a process, and where are they?

use std::os::fd::OwnedFd;

use crate::fd_store::{FdStore, Key};

/// The other ends of fifos and pipes, which only have to be open.
#[derive(Default)]
pub(super) struct HeldFds {
    open: Vec<OwnedFd>,
    /// The key of those in the fd store.
    stored: Option<Key>,
}

impl HeldFds {
    pub(super) fn extend(&mut self, fds: impl IntoIterator<Item = OwnedFd>) {
        self.open.extend(fds);
    }

    /// Moves them to the fd store, which is created if need be. If that fails they stay open here.
    pub(super) fn store(&mut self, store: &mut Option<FdStore>, key: Key) {
        if self.open.is_empty() {
            return;
        }
        let Some(used) = store.take().or_else(|| FdStore::new().ok()) else { return };
        store.insert(used).put(key, std::mem::take(&mut self.open));
        self.stored = Some(key);
    }

    /// Takes them back from the fd store, which is closed when it is empty.
    pub(super) fn restore(&mut self, store: &mut Option<FdStore>) -> &mut Vec<OwnedFd> {
        if let (Some(used), Some(key)) = (&mut *store, self.stored.take()) {
            self.open.extend(used.take(key));
            if used.is_empty() {
                *store = None;
            }
        }
        &mut self.open
    }

    /// Closes them.
    pub(super) fn release(&mut self, store: &mut Option<FdStore>) {
        self.restore(store).clear();
    }
}
