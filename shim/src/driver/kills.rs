//! Whom has the kernel killed for want of memory?

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cleat::cgroup::Cgroup;
use cleat::container::Container;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::task::Input;
use crate::watch::{Source, Watch};

use super::{Driver, Outcome, Outcomes};

/// A container's `memory.events`, and the number of kills that has been told.
pub(super) struct Watched {
    pub(super) descriptor: WatchDescriptor,
    pub(super) id: String,
    count: u64,
    file: PathBuf,
}

impl Watched {
    fn count_kills(&mut self, outcomes: &mut Outcomes) {
        let file = std::fs::File::open(&self.file).ok().map(OwnedFd::from);
        let count = Cgroup::oom_kills_of(file.as_ref());
        if count > self.count {
            self.count = count;
            outcomes.push_back(Outcome::Happened(Input::Oom(self.id.clone())));
        }
    }
}

impl Driver {
    /// Hears of kills for want of memory from now on.
    pub(super) fn watch_kills(&mut self, id: &str, container: &Container, watch: &mut Watch) {
        let Some(cgroup) = container.cgroup() else { return };
        if self.kills.is_none() {
            let Ok(kills) = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) else { return };
            if watch.read(&kills, Source::Kills).is_ok() {
                self.kills = Some(kills);
            }
        }
        let Some(kills) = &self.kills else { return };
        let file = cgroup.full().join("memory.events");
        if let Ok(descriptor) = kills.add_watch(&file, AddWatchFlags::IN_MODIFY) {
            self.watched.push(Watched { descriptor, id: id.into(), count: cgroup.oom_kills(), file });
        }
    }

    /// Some container's file has changed.
    pub fn killed(&mut self, outcomes: &mut Outcomes) {
        let Some(Ok(events)) = self.kills.as_ref().map(Inotify::read_events) else { return };
        for event in events {
            if let Some(watched) = self.watched.iter_mut().find(|watched| watched.descriptor == event.wd) {
                watched.count_kills(outcomes);
            }
        }
    }

    /// A process of a container has ended. The kernel tells of a change of the file some time later, when
    /// the container may be gone: whoever asks why it ended must know by then.
    pub fn count_kills(&mut self, id: &str, outcomes: &mut Outcomes) {
        if let Some(watched) = self.watched.iter_mut().find(|watched| watched.id == id) {
            watched.count_kills(outcomes);
        }
    }
}
