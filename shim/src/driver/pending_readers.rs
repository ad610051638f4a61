//! Who comes to read when its writer has ended already?
//!
//! containerd opens a fifo at leisure, and waits there until somebody opens it for writing: the end of a process
//! that was faster would keep it waiting for ever, and what it wrote would be lost. So such a fifo is kept open
//! for writing until somebody can read it, who finds what was written, and then the end.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::epoll::{Source, Watch};
use crate::stdio;
use crate::task::Who;

use super::Driver;

/// A fifo that waits for its first reader.
pub(super) struct Late {
    who: Who,
    write: OwnedFd,
    descriptor: WatchDescriptor,
}

impl Driver {
    /// The last that writes to a fifo lets go of it; we have no read end.
    pub(super) fn expect_reader(&mut self, who: &Who, write: OwnedFd, watch: &mut Watch) {
        if let Some(descriptor) = self.watch_readers(&write, watch) {
            self.late.push(Late { who: who.clone(), write, descriptor });
            // It may have come meanwhile.
            self.let_readers_in();
        } else {
            self.hold_unread(who, &write);
        }
    }

    /// Hears of whoever opens it.
    fn watch_readers(&mut self, write: &OwnedFd, watch: &mut Watch) -> Option<WatchDescriptor> {
        if self.opened.is_none() {
            let opened = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            watch.read(&opened, Source::Opened).ok()?;
            self.opened = Some(opened);
        }
        let path = format!("/proc/self/fd/{}", write.as_raw_fd());
        self.opened.as_ref()?.add_watch(path.as_str(), AddWatchFlags::IN_OPEN).ok()
    }

    /// Some fifo was opened.
    pub fn opened(&mut self) {
        let _ = self.opened.as_ref().map(Inotify::read_events);
        self.let_readers_in();
    }

    fn let_readers_in(&mut self) {
        let (met, late): (Vec<_>, _) =
            std::mem::take(&mut self.late).into_iter().partition(|late| stdio::is_read(&late.write));
        self.late = late;
        for late in met {
            self.unwatch_readers(&late);
            // It may go again, and another may come.
            self.hold_unread(&late.who, &late.write);
        }
    }

    fn unwatch_readers(&self, late: &Late) {
        let _ = self.opened.as_ref().map(|opened| opened.rm_watch(late.descriptor));
    }

    /// Holds a read end again: what is in the fifo stays there.
    pub(super) fn hold_unread(&mut self, who: &Who, fifo: &OwnedFd) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.held.extend(stdio::read_end(fifo));
        }
    }

    /// Nobody will ask for what a process wrote.
    pub(super) fn forget_late(&mut self, who: &Who) {
        let (gone, late): (Vec<_>, _) = std::mem::take(&mut self.late).into_iter().partition(|late| late.who == *who);
        self.late = late;
        gone.iter().for_each(|late| self.unwatch_readers(late));
    }
}
