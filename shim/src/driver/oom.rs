//! Which containers have had an OOM kill?

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cleat::cgroup::Cgroup;
use cleat::container::Container;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::epoll::Source;
use crate::task::Input;

use super::{Ctx, Driver};

/// The `memory.events` of a container, and the number of OOM kills that was reported.
pub(super) struct OomWatch {
    descriptor: WatchDescriptor,
    id: String,
    count: u64,
    file: PathBuf,
}

impl OomWatch {
    fn check(&mut self, ctx: &mut Ctx) {
        let file = std::fs::File::open(&self.file).ok().map(OwnedFd::from);
        let count = Cgroup::oom_kills_of(file.as_ref());
        if count > self.count {
            self.count = count;
            ctx.event(Input::Oom(self.id.clone()));
        }
    }
}

impl Driver {
    /// Watches for OOM kills in a container.
    pub(super) fn watch_oom(&mut self, id: &str, container: &Container, ctx: &mut Ctx) {
        let Some(cgroup) = container.cgroup() else { return };
        if self.oom_inotify.is_none() {
            let Ok(inotify) = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) else { return };
            if ctx.epoll.read(&inotify, Source::Oom).is_ok() {
                self.oom_inotify = Some(inotify);
            }
        }
        let Some(inotify) = &self.oom_inotify else { return };
        let file = cgroup.full().join("memory.events");
        if let Ok(descriptor) = inotify.add_watch(&file, AddWatchFlags::IN_MODIFY) {
            self.oom_watches.push(OomWatch { descriptor, id: id.into(), count: cgroup.oom_kills(), file });
        }
    }

    /// Ends the watch, which the kernel does not do when a cgroup is removed.
    pub(super) fn unwatch_oom(&mut self, id: &str) {
        let (removed, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.oom_watches).into_iter().partition(|watch| watch.id == id);
        self.oom_watches = kept;
        for watch in removed {
            let _ = self.oom_inotify.as_ref().map(|inotify| inotify.rm_watch(watch.descriptor));
        }
    }

    /// The `memory.events` of some container have changed.
    pub fn oom_event(&mut self, ctx: &mut Ctx) {
        let Some(Ok(events)) = self.oom_inotify.as_ref().map(Inotify::read_events) else { return };
        for event in events {
            if let Some(watch) = self.oom_watches.iter_mut().find(|watch| watch.descriptor == event.wd) {
                watch.check(ctx);
            }
        }
    }

    /// A process of a container has ended. The inotify event may come when the container is deleted already, and
    /// the OOM event has to be published before the exit.
    pub fn check_oom(&mut self, id: &str, ctx: &mut Ctx) {
        if let Some(watch) = self.oom_watches.iter_mut().find(|watch| watch.id == id) {
            watch.check(ctx);
        }
    }
}
