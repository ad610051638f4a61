//! Has the kernel OOM-killed a process, or refused one, and how is that reported?

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::Error;
use crate::sys::path;
use crate::sys::path::open_beneath;

use super::Cgroup;

/// OOM kills in a cgroup from some moment on.
#[derive(Clone, Copy, Debug)]
pub struct OomWatch<'a> {
    cgroup: Option<&'a Cgroup>,
    before: u64,
}

impl<'a> OomWatch<'a> {
    /// From now on.
    #[must_use]
    pub fn from_now(cgroup: Option<&'a Cgroup>) -> OomWatch<'a> {
        OomWatch { cgroup, before: cgroup.map_or(0, Cgroup::oom_kills) }
    }

    /// From the cgroup's making on.
    #[must_use]
    pub fn from_creation(cgroup: Option<&'a Cgroup>) -> OomWatch<'a> {
        OomWatch { cgroup, before: 0 }
    }

    /// Where.
    #[must_use]
    pub fn cgroup(&self) -> Option<&'a Cgroup> {
        self.cgroup
    }

    /// Limit and peak, when it has killed.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let cgroup = self.cgroup.filter(|cgroup| cgroup.oom_kills() > self.before)?;
        let figures = cgroup.memory_figures();
        Some(format!("the kernel killed it, out of memory (OOM): {figures}; raise linux.resources.memory.limit"))
    }

    /// The error with what may be its cause.
    #[must_use]
    pub fn annotate(&self, error: Error) -> Error {
        match self.message() {
            Some(message) => Error::new(format!("{error}")).remedy(format_args!("{message}")),
            None => error,
        }
    }
}

impl Cgroup {
    /// How many processes the kernel has OOM-killed in it; 0 without the controller.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.keyed("memory.events", "oom_kill").ok().flatten().unwrap_or(0)
    }

    /// `memory.events`, whose changes poll(2) reports.
    ///
    /// # Errors
    /// `ENOENT`: the controller is not enabled.
    pub fn memory_events(&self) -> nix::Result<OwnedFd> {
        open_beneath(&self.dir, Path::new("memory.events"), OFlag::O_RDONLY)
    }

    /// As [`Cgroup::oom_kills`], by the descriptor that is polled: reading it ends the event.
    #[must_use]
    pub fn oom_kills_of(events: Option<&OwnedFd>) -> u64 {
        let text = events.and_then(|events| {
            nix::unistd::lseek(events, 0, nix::unistd::Whence::SeekSet).ok()?;
            path::read(events).ok()
        });
        let oom = |text: &str| text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        text.as_deref().and_then(oom).unwrap_or(0)
    }

    /// Limit and peak of memory, for people.
    #[must_use]
    pub fn memory_figures(&self) -> String {
        let text = |file: &str| self.read(file).map(|text| text.trim().to_owned()).ok();
        let limit = match text("memory.max").as_deref() {
            Some("max") | None => "the limit is that of a cgroup above".to_owned(),
            Some(limit) => format!("memory.max is {limit}"),
        };
        // Since Linux 5.19.
        let peak = text("memory.peak").map(|peak| format!(", its peak was {peak}")).unwrap_or_default();
        format!("cgroup {}: {limit}{peak}", self.full().display())
    }

    /// Why the kernel may have refused one more process (`EAGAIN`), for people.
    #[must_use]
    pub fn process_refusal(&self) -> String {
        match (self.number("pids.max"), self.number("pids.current")) {
            // The one that was refused another has gone by now.
            (Some(max), Some(current)) if current + 1 >= max => {
                // Since Linux 6.12.
                let peak = self.number("pids.peak").map(|peak| format!(", its peak was {peak}")).unwrap_or_default();
                let place = self.full();
                let what = format!("pids.max is {max}, and {current} live there{peak}");
                format!("cgroup {}: {what}; raise linux.resources.pids.limit", place.display())
            }
            _ => "the limit of processes is reached: see pids.max of the cgroups above, and RLIMIT_NPROC".into(),
        }
    }
}
