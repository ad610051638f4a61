//! What may keep us from others, and is done by a process of `cleat`?
//!
//! A container that may write its cgroup makes as many cgroups in it as it likes, and to walk through them takes as
//! long as it likes. Hooks, and processes that do not end when they are killed, take their time, too.

use std::fs::File;
use std::io::Seek;

use cleat::commands;
use cleat::container::Container;
use cleat::error::{Context, Error, Kind, Result};
use prost::Message;

use crate::rootfs;
use crate::task::{Effect, Input, Ticket, Who, process_infos};
use crate::ttrpc::Failure;

use super::{Driver, Outcome, Outcomes, Work, pid_of};

/// So many cgroups are walked through here and now: an init system has fewer, and a process takes a millisecond.
const FEW: u64 = 64;

/// Who asks for a container's processes, and which of these have names.
pub(super) struct Question {
    pub(super) ticket: Ticket,
    pub(super) id: String,
    pub(super) named: Vec<(u32, String)>,
}

impl Driver {
    pub(super) fn remove(&mut self, id: &str, outcomes: &mut Outcomes) {
        let Some(place) = self.places.get(id) else { return };
        if self.container(id).is_ok_and(|container| takes_long(&container)) {
            let mut command = self.cleat(&place.options, &place.bundle.join("log.json"));
            match command.arg("delete").arg(id).spawn().context("execute cleat delete") {
                Ok(child) => drop(self.work.insert(pid_of(&child), Work::Remove(Who::init(id)))),
                Err(error) => self.removed(id, Err(error), outcomes),
            }
            return;
        }
        let outcome = self.with(id, |shell| match commands::delete::delete(shell, id, false) {
            // It was deleted behind our back: that is what was wanted.
            Err(error) if error.kind() == Kind::NoContainer => Ok(()),
            other => other,
        });
        self.removed(id, outcome, outcomes);
    }

    pub(super) fn removed(&mut self, id: &str, outcome: Result<()>, outcomes: &mut Outcomes) {
        let outcome = outcome.and_then(|()| match self.places.get(id) {
            Some(place) => rootfs::unmount(&place.bundle.join("rootfs")),
            None => Ok(()),
        });
        let outcome = outcome.map_err(|error| Failure::from(error.within("delete task")));
        outcomes.push_back(Outcome::Happened(Input::Removed(id.into(), outcome)));
    }

    pub(super) fn pids(&mut self, question: Question, outcomes: &mut Outcomes) {
        let container = self.container(&question.id);
        if !container.as_ref().is_ok_and(is_vast) {
            let pids = container.and_then(|container| commands::ps::processes(&container));
            return tell(&question, pids.map_err(Failure::from), outcomes);
        }
        if let Err((question, error)) = self.list(question) {
            tell(&question, Err(error.into()), outcomes);
        }
    }

    fn list(&mut self, question: Question) -> std::result::Result<(), (Question, Error)> {
        let Some(place) = self.places.get(&question.id) else {
            return Err((question, Error::of(Kind::NoContainer, "the container was forgotten")));
        };
        let mut command = self.cleat(&place.options, &place.bundle.join("ps.json"));
        command.args(["ps", "--format", "json"]).arg(&question.id);
        // To memory: a pipe would be full some time.
        let list = cleat::sys::memory_file(c"pids").context("memfd_create");
        let started = list.and_then(|list| {
            let child = command.stdout(list.try_clone().context("dup")?).spawn().context("execute cleat ps")?;
            Ok((list, child))
        });
        match started {
            Ok((list, child)) => drop(self.work.insert(pid_of(&child), Work::List(question, list))),
            Err(error) => return Err((question, error)),
        }
        Ok(())
    }

    /// `cleat` has listed a container's processes, or could not.
    pub(super) fn listed(&mut self, question: &Question, list: File, status: u8, outcomes: &mut Outcomes) {
        let outcome = self.outcome(&question.id, "ps.json", status);
        if let Some(place) = self.places.get(&question.id) {
            let _ = std::fs::remove_file(place.bundle.join("ps.json"));
        }
        let pids = outcome.and_then(|()| read_pids(list)).map_err(Failure::from);
        tell(question, pids, outcomes);
    }
}

fn read_pids(mut list: File) -> Result<Vec<i32>> {
    list.rewind().context("read what cleat ps says")?;
    serde_json::from_reader(list).map_err(|error| Error::new(format!("read what cleat ps says: {error}")))
}

fn tell(question: &Question, pids: std::result::Result<Vec<i32>, Failure>, outcomes: &mut Outcomes) {
    let answer = pids.map(|pids| process_infos(&pids, &question.named).encode_to_vec());
    outcomes.push_back(Outcome::Do(Effect::Answer(question.ticket, answer)));
}

fn is_vast(container: &Container) -> bool {
    container.cgroup().is_some_and(|cgroup| cgroup.descendants().unwrap_or(u64::MAX) > FEW)
}

/// Whether removing it may keep us from others: hooks, processes that do not end, or cgroups without number.
fn takes_long(container: &Container) -> bool {
    let hooks = container.hooks().map_or(true, |hooks| !hooks.poststop.is_empty());
    hooks || is_vast(container) || container.cgroup().is_some_and(|cgroup| cgroup.populated().unwrap_or(true))
}
