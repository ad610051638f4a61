//! Which fifos are kept open for readers that come after the exit?
//!
//! containerd opens a fifo at leisure, and open(2) blocks there until another process opens it for writing. Without us it
//! would block for ever when the process has ended before, and the output would be lost. So the shim keeps such a
//! fifo open for writing until it has a reader, who gets the output and then the end of the file.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::epoll::Source;
use crate::stdio;
use crate::task::ProcessId;

use super::{Ctx, Driver};

/// A fifo that waits for its first reader.
pub(super) struct PendingReader {
    who: ProcessId,
    write: OwnedFd,
    descriptor: WatchDescriptor,
}

impl Driver {
    /// Keeps the last write end of a fifo, of which the shim has no read end, until it has a reader.
    pub(super) fn expect_reader(&mut self, who: &ProcessId, write: OwnedFd, ctx: &mut Ctx) {
        if let Some(descriptor) = self.watch_readers(&write, ctx) {
            self.pending_readers.push(PendingReader { who: who.clone(), write, descriptor });
            // It may have come before the watch was there.
            self.check_pending_readers();
        } else {
            self.hold_unread(who, &write);
        }
    }

    fn watch_readers(&mut self, write: &OwnedFd, ctx: &mut Ctx) -> Option<WatchDescriptor> {
        if self.fifo_inotify.is_none() {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            ctx.epoll.read(&inotify, Source::FifoOpened).ok()?;
            self.fifo_inotify = Some(inotify);
        }
        let path = format!("/proc/self/fd/{}", write.as_raw_fd());
        self.fifo_inotify.as_ref()?.add_watch(path.as_str(), AddWatchFlags::IN_OPEN).ok()
    }

    /// Some fifo was opened.
    pub fn fifo_opened(&mut self) {
        let _ = self.fifo_inotify.as_ref().map(Inotify::read_events);
        self.check_pending_readers();
    }

    fn check_pending_readers(&mut self) {
        let (with_reader, pending): (Vec<_>, _) =
            std::mem::take(&mut self.pending_readers).into_iter().partition(|pending| stdio::is_read(&pending.write));
        self.pending_readers = pending;
        for fifo in with_reader {
            self.unwatch_readers(&fifo);
            // That reader may go before it has read, and another may come.
            self.hold_unread(&fifo.who, &fifo.write);
        }
    }

    fn unwatch_readers(&self, fifo: &PendingReader) {
        let _ = self.fifo_inotify.as_ref().map(|inotify| inotify.rm_watch(fifo.descriptor));
    }

    /// Holds a read end again, so that unread output stays in the fifo.
    pub(super) fn hold_unread(&mut self, who: &ProcessId, fifo: &OwnedFd) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.held.extend(stdio::read_end(fifo));
        }
    }

    /// The process is deleted: its output will not be read.
    pub(super) fn drop_pending_readers(&mut self, who: &ProcessId) {
        let (dropped, pending): (Vec<_>, _) =
            std::mem::take(&mut self.pending_readers).into_iter().partition(|pending| pending.who == *who);
        self.pending_readers = pending;
        dropped.iter().for_each(|fifo| self.unwatch_readers(fifo));
    }
}
