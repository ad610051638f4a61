//! How does a task get into a checkpoint, and out of one? Pure.

use std::path::Path;

use crate::messages;
use crate::messages::events::{Event, TaskCheckpointed, TaskStart};
use crate::ttrpc::{Code, Failure};

use super::{
    CheckpointSpec, Effect, Effects, NewProcess, Phase, Process, ProcessId, Task, Tasks, Ticket, Verb, answer, done,
    refuse,
};

impl Task {
    /// Why a call cannot be served before the container is restored, or while it is dumped: it would wait for the
    /// container's lock, or change what is being written.
    pub(super) fn refusal(&self, who: &ProcessId, verb: &Verb) -> Option<String> {
        let id = &who.container;
        let changes = match verb {
            Verb::Start => !who.is_init(),
            Verb::Pause | Verb::Resume | Verb::Update(_) | Verb::Checkpoint(_) => true,
            _ => false,
        };
        match self.checkpoint {
            Some(_) if changes => Some(format!("container is being checkpointed: {id}")),
            None if changes && self.images.is_some() && self.init.pid == 0 => {
                Some(format!("container is not restored yet: {id}; start it"))
            }
            _ => None,
        }
    }

    pub(super) fn checkpoint(&mut self, ticket: Ticket, id: String, spec: Box<CheckpointSpec>, effects: &mut Effects) {
        if !matches!(self.init.phase, Phase::Running | Phase::Paused) || self.init.pending_exit.is_some() {
            return self.not_running(ticket, &id, effects);
        }
        if self.execs.values().any(Process::is_starting) {
            // Half of what is in the container by then would be the runtime's.
            let text = format!("cannot checkpoint {id}: an exec is being started in it; try again");
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        self.checkpoint = Some(ticket);
        effects.push(Effect::Checkpoint(id, spec));
    }
}

impl Process {
    fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting(_))
    }
}

impl Tasks {
    /// `cleat checkpoint` has ended. Whether the container runs on is seen by its exit, and by nothing else.
    pub(super) fn checkpointed(
        &mut self,
        id: &str,
        images: &Path,
        outcome: Result<(), Failure>,
        effects: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(ticket) = task.checkpoint.take() else { return };
        match outcome {
            Ok(()) => {
                let event = TaskCheckpointed { container_id: id.into(), checkpoint: images.to_string_lossy().into() };
                effects.push(Effect::Publish(Event::Checkpointed(event)));
                done(effects, ticket);
            }
            Err(failure) => effects.push(Effect::Answer(ticket, Err(failure))),
        }
        if task.init.drained && task.init.delete.is_some() {
            effects.push(Effect::Remove(id.into()));
        }
    }

    /// `cleat restore` has ended.
    pub(super) fn restored(
        &mut self,
        id: &str,
        ticket: Ticket,
        outcome: Result<NewProcess, Failure>,
        effects: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        match outcome {
            Ok(new) => {
                task.init.phase = Phase::Running;
                task.init.pid = new.pid;
                task.shares_pids = new.shares_pids;
                self.pids.insert(new.pid, ProcessId::init(id));
                effects.push(Effect::Publish(Event::Start(TaskStart { container_id: id.into(), pid: new.pid })));
                answer(effects, ticket, &messages::PidResponse { pid: new.pid });
            }
            Err(failure) => {
                // It can be tried again.
                task.init.phase = Phase::Created;
                effects.push(Effect::Answer(ticket, Err(failure)));
            }
        }
    }
}
