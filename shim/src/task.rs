//! What is the state of every task, and what follows from an event? Pure.
//!
//! `step` takes an event and returns the effects, in order; nothing else changes the state. The states of a process:
//!
//! ```text
//!           Create           Created           Start            Started
//!  init:  ─────────▶ Creating ────▶ Created ─────────▶ Starting ────────▶ Running ⇄ Paused
//!  one from a checkpoint: has no pid before ─────────▶ Starting ────────▶ Running (`cleat restore`)
//!  exec:  ── Exec ─────────────────▶ Created ─────────▶ Starting ────────▶ Running
//!                                       │                  │                  │  Exited
//!                                       └──────────────────┴──────────────────┴────────▶ Stopped ── Delete ─▶ gone
//! ```
//!
//! The invariants:
//!
//! * A start is published before the exit, and an OOM event between them.
//! * The exits of a container's other processes are published before that of its init.
//! * The output of an init is read before its exit is published.
//! * The exit is published before the deletion.
//! * The deletion waits for the end of a checkpoint, and while that is written nothing else changes the container.
//! * Each call gets exactly one answer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prost::Message;

use crate::messages::events::{
    Event, TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIo, TaskNamed, TaskStart,
};
use crate::messages::{self, TaskStatus, Timestamp};
use crate::ttrpc::{Code, Failure};

mod checkpoint;
mod protocol;

pub use protocol::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Creating(Ticket),
    Created,
    Starting(Ticket),
    Running,
    Pausing,
    Paused,
    Stopped,
}

#[derive(Debug)]
struct Process {
    phase: Phase,
    pid: u32,
    stdio: Stdio,
    /// Of an exec that has not been started.
    spec: Option<Box<ExecSpec>>,
    /// It has ended, and the exit is not published yet.
    pending_exit: Option<Exit>,
    exit: Option<Exit>,
    drained: bool,
    waiting: Vec<Ticket>,
    delete: Option<Ticket>,
}

impl Process {
    fn new(phase: Phase, stdio: Stdio) -> Process {
        Process {
            phase,
            pid: 0,
            stdio,
            spec: None,
            pending_exit: None,
            exit: None,
            drained: false,
            waiting: Vec::new(),
            delete: None,
        }
    }

    fn status(&self) -> TaskStatus {
        match self.phase {
            Phase::Creating(_) | Phase::Created | Phase::Starting(_) => TaskStatus::Created,
            Phase::Running => TaskStatus::Running,
            Phase::Pausing => TaskStatus::Pausing,
            Phase::Paused => TaskStatus::Paused,
            Phase::Stopped => TaskStatus::Stopped,
        }
    }

    fn alive(&self) -> bool {
        matches!(self.phase, Phase::Starting(_) | Phase::Running | Phase::Pausing | Phase::Paused)
    }
}

#[derive(Debug)]
struct Task {
    bundle: PathBuf,
    rootfs: Vec<messages::Mount>,
    /// The images that it is restored from.
    images: Option<PathBuf>,
    /// A checkpoint is being written: who waits for it.
    checkpoint: Option<Ticket>,
    shares_pids: bool,
    /// The kernel has OOM-killed a process before the start was published.
    pending_oom: bool,
    /// The init has ended, and its output has not been read to the end.
    unread: bool,
    init: Process,
    execs: BTreeMap<String, Process>,
}

impl Task {
    fn process(&mut self, exec: &str) -> Option<&mut Process> {
        if exec.is_empty() { Some(&mut self.init) } else { self.execs.get_mut(exec) }
    }
}

/// All tasks of this shim.
#[derive(Debug, Default)]
pub struct Tasks {
    tasks: BTreeMap<String, Task>,
    /// Which process has which pid.
    pids: BTreeMap<u32, ProcessId>,
    /// Exits of unknown pids: perhaps those of processes that are being created.
    unclaimed_exits: BTreeMap<u32, Exit>,
    creating: usize,
}

/// Appends what is to be done.
type Effects = Vec<Effect>;

fn answer(effects: &mut Effects, ticket: Ticket, message: &impl Message) {
    effects.push(Effect::Answer(ticket, Ok(message.encode_to_vec())));
}

fn done(effects: &mut Effects, ticket: Ticket) {
    effects.push(Effect::Answer(ticket, Ok(Vec::new())));
}

fn refuse(effects: &mut Effects, ticket: Ticket, code: Code, message: impl Into<String>) {
    effects.push(Effect::Answer(ticket, Err(Failure::new(code, message))));
}

impl Tasks {
    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether there is a task of that id.
    pub fn has(&self, id: &str) -> bool {
        self.tasks.contains_key(id)
    }

    /// What follows from an event.
    pub fn step(&mut self, input: Input) -> Effects {
        let mut effects = Effects::new();
        match input {
            Input::Call(ticket, call) => self.call(ticket, call, &mut effects),
            Input::Created(who, outcome) => self.process_created(&who, outcome, &mut effects),
            Input::Started(who, outcome) => self.started(&who, outcome, &mut effects),
            Input::Exited(pid, exit) => self.exited(pid, exit, &mut effects),
            Input::FifosDrained(id) => self.fifos_drained(&id, &mut effects),
            Input::Drained(who) => self.drained(&who, &mut effects),
            Input::Removed(id, outcome) => self.removed(&id, outcome, &mut effects),
            Input::Frozen(ticket, id, frozen, outcome) => self.frozen(ticket, &id, frozen, outcome, &mut effects),
            Input::Checkpointed(id, images, outcome) => self.checkpointed(&id, &images, outcome, &mut effects),
            Input::Oom(id) => self.oom(&id, &mut effects),
        }
        effects
    }

    fn call(&mut self, ticket: Ticket, call: Call, effects: &mut Effects) {
        let Call { who, verb } = call;
        match verb {
            Verb::Create(spec) => self.create(ticket, who, spec, effects),
            Verb::Exec(spec) => self.exec(ticket, who, spec, effects),
            Verb::Connect => {
                let task_pid = self.tasks.get(&who.container).map_or(0, |task| task.init.pid);
                let response =
                    messages::ConnectResponse { shim_pid: std::process::id(), task_pid, version: String::new() };
                answer(effects, ticket, &response);
            }
            Verb::Shutdown => {
                done(effects, ticket);
                // The other containers of the pod need the server.
                if self.tasks.is_empty() {
                    effects.push(Effect::Shutdown);
                }
            }
            verb => self.call_process(ticket, who, verb, effects),
        }
    }

    /// Calls about a process that must be there.
    fn call_process(&mut self, ticket: Ticket, who: ProcessId, verb: Verb, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.container) else {
            return refuse(effects, ticket, Code::NotFound, format!("container not created: {}", who.container));
        };
        if task.process(&who.exec).is_none() {
            let text = format!("process does not exist {}: not found in container {}", who.exec, who.container);
            return refuse(effects, ticket, Code::NotFound, text);
        }
        if let Some(text) = task.refusal(&who, &verb) {
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        match verb {
            Verb::Start => self.start(ticket, &who, effects),
            Verb::State => task.state(ticket, &who, effects),
            Verb::Delete => self.delete(ticket, &who, effects),
            Verb::Wait => task.wait(ticket, &who.exec, effects),
            Verb::ResizePty { width, height } => {
                effects.push(Effect::Resize(who, width, height));
                done(effects, ticket);
            }
            Verb::CloseIo { stdin } => {
                if stdin {
                    effects.push(Effect::CloseStdin(who));
                }
                done(effects, ticket);
            }
            Verb::Kill(kill) => task.kill(ticket, &who, kill, effects),
            Verb::Pids => task.pids(ticket, who.container, effects),
            Verb::Pause => task.freeze(ticket, &who.container, true, effects),
            Verb::Resume => task.freeze(ticket, &who.container, false, effects),
            Verb::Update(_) if task.init.phase == Phase::Stopped => task.not_running(ticket, &who.container, effects),
            Verb::Update(resources) => effects.push(Effect::Update(ticket, who.container, resources)),
            Verb::Stats => {
                let lives = task.init.pid != 0 && task.init.phase != Phase::Stopped && task.init.pending_exit.is_none();
                effects.push(Effect::Stats(ticket, who.container, lives.then_some(task.init.pid)));
            }
            Verb::Checkpoint(spec) => task.checkpoint(ticket, who.container, spec, effects),
            // They need no process: see `call`.
            Verb::Create(_) | Verb::Exec(_) | Verb::Connect | Verb::Shutdown => {}
        }
    }

    fn create(&mut self, ticket: Ticket, who: ProcessId, spec: Box<CreateSpec>, effects: &mut Effects) {
        let id = who.container;
        if self.tasks.contains_key(&id) {
            return refuse(effects, ticket, Code::AlreadyExists, format!("container {id} already exists"));
        }
        let task = Task {
            bundle: spec.bundle.clone(),
            rootfs: spec.rootfs.clone(),
            images: spec.checkpoint.clone(),
            checkpoint: None,
            shares_pids: false,
            pending_oom: false,
            unread: false,
            init: Process::new(Phase::Creating(ticket), spec.stdio.clone()),
            execs: BTreeMap::new(),
        };
        self.tasks.insert(id.clone(), task);
        self.creating += 1;
        effects.push(Effect::Create(id, spec));
    }

    fn exec(&mut self, ticket: Ticket, who: ProcessId, spec: Box<ExecSpec>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.container) else {
            return refuse(effects, ticket, Code::NotFound, format!("container not created: {}", who.container));
        };
        if task.execs.contains_key(&who.exec) {
            return refuse(effects, ticket, Code::AlreadyExists, format!("id {}", who.exec));
        }
        let mut process = Process::new(Phase::Created, spec.stdio.clone());
        process.spec = Some(spec);
        task.execs.insert(who.exec.clone(), process);
        let event = TaskExecAdded { container_id: who.container, exec_id: who.exec };
        effects.push(Effect::Publish(Event::ExecAdded(event)));
        done(effects, ticket);
    }

    fn start(&mut self, ticket: Ticket, who: &ProcessId, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.container) else { return };
        let init = &task.init;
        let init_ends = init.phase == Phase::Stopped || init.pending_exit.is_some() || init.delete.is_some();
        let init_runs = matches!(task.init.phase, Phase::Running | Phase::Created | Phase::Starting(_));
        let Some(process) = task.process(&who.exec) else { return };
        if process.phase != Phase::Created || process.delete.is_some() {
            let text = format!("cannot start {}: it was started already", who.name());
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        if who.is_init() {
            process.phase = Phase::Starting(ticket);
            if process.pid == 0 {
                self.creating += 1;
                effects.push(Effect::RestoreInit(who.container.clone()));
            } else {
                effects.push(Effect::StartInit(who.container.clone()));
            }
            return;
        }
        if init_ends || !init_runs {
            let text = match init_ends {
                true => format!("container {} init process is not running", who.container),
                false => format!("cannot exec in a paused container: {}", who.container),
            };
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        let Some(spec) = process.spec.take() else { return };
        process.phase = Phase::Starting(ticket);
        self.creating += 1;
        effects.push(Effect::StartExec(who.clone(), spec));
    }

    fn process_created(&mut self, who: &ProcessId, outcome: Result<NewProcess, Failure>, effects: &mut Effects) {
        let new = outcome.as_ref().ok().copied();
        let early = new.and_then(|new| Some((new, self.unclaimed_exits.remove(&new.pid)?)));
        self.creating -= 1;
        if self.creating == 0 {
            self.unclaimed_exits.clear();
        }
        let Some(task) = self.tasks.get_mut(&who.container) else { return };
        if let (true, Phase::Starting(ticket)) = (who.is_init(), task.init.phase) {
            self.restored(&who.container, ticket, outcome, effects);
        } else if who.is_init() {
            let Phase::Creating(ticket) = task.init.phase else { return };
            match outcome {
                Err(failure) => {
                    if let Some(task) = self.tasks.remove(&who.container) {
                        task.abandon(&who.container, effects);
                    }
                    effects.push(Effect::Answer(ticket, Err(failure)));
                }
                Ok(new) => {
                    task.init.phase = Phase::Created;
                    task.init.pid = new.pid;
                    task.shares_pids = new.shares_pids;
                    if new.pid != 0 {
                        self.pids.insert(new.pid, who.clone());
                    }
                    effects.push(Effect::Publish(task.created(&who.container)));
                    answer(effects, ticket, &messages::PidResponse { pid: new.pid });
                }
            }
        } else {
            let Some(process) = task.execs.get_mut(&who.exec) else { return };
            let Phase::Starting(ticket) = process.phase else { return };
            match outcome {
                Err(failure) => {
                    // As a process that was killed: it can be waited for and deleted.
                    process.phase = Phase::Running;
                    effects.push(Effect::Answer(ticket, Err(failure)));
                    self.end(who, Exit { status: 255, at: Timestamp::now() }, effects);
                }
                Ok(new) => {
                    process.phase = Phase::Running;
                    process.pid = new.pid;
                    self.pids.insert(new.pid, who.clone());
                    let event = TaskExecStarted {
                        container_id: who.container.clone(),
                        exec_id: who.exec.clone(),
                        pid: new.pid,
                    };
                    effects.push(Effect::Publish(Event::ExecStarted(event)));
                    answer(effects, ticket, &messages::PidResponse { pid: new.pid });
                }
            }
        }
        if let Some((new, exit)) = early.filter(|(new, _)| new.gone) {
            self.exited(new.pid, exit, effects);
        }
        self.report_init_exit(&who.container, effects);
    }

    fn started(&mut self, who: &ProcessId, outcome: Result<(), Failure>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.container) else { return };
        let Phase::Starting(ticket) = task.init.phase else { return };
        match outcome {
            Ok(()) => {
                task.init.phase = Phase::Running;
                let event = TaskStart { container_id: who.container.clone(), pid: task.init.pid };
                effects.push(Effect::Publish(Event::Start(event)));
                answer(effects, ticket, &messages::PidResponse { pid: task.init.pid });
            }
            Err(failure) => {
                task.init.phase = Phase::Created;
                effects.push(Effect::Answer(ticket, Err(failure)));
            }
        }
        if std::mem::take(&mut task.pending_oom) {
            self.oom(&who.container, effects);
        }
        self.report_init_exit(&who.container, effects);
    }

    fn oom(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        match task.init.phase {
            Phase::Starting(_) => task.pending_oom = true,
            _ => effects.push(Effect::Publish(Event::Oom(TaskNamed { container_id: id.into() }))),
        }
    }

    /// Whose process that is.
    pub fn who(&self, pid: u32) -> Option<&ProcessId> {
        self.pids.get(&pid)
    }

    fn exited(&mut self, pid: u32, exit: Exit, effects: &mut Effects) {
        let Some(who) = self.pids.remove(&pid) else {
            if self.creating > 0 {
                self.unclaimed_exits.insert(pid, exit);
            }
            return;
        };
        effects.push(Effect::RecordExit(who.clone(), pid, exit));
        if !who.is_init() {
            self.end(&who, exit, effects);
            return self.report_init_exit(&who.container, effects);
        }
        let Some(task) = self.tasks.get_mut(&who.container) else { return };
        task.init.pending_exit = Some(exit);
        if task.shares_pids {
            effects.push(Effect::KillAll(who.container.clone()));
        }
        task.unread = true;
        effects.push(Effect::DrainFifos(who.container));
    }

    fn fifos_drained(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.unread = false;
        self.report_init_exit(id, effects);
    }

    /// Publishes the exit of an init after its start, after the exits of all other processes, and when its output
    /// has been read. containerd 1.6 closes the streams as soon as it learns of the exit.
    fn report_init_exit(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let starting = matches!(task.init.phase, Phase::Starting(_) | Phase::Creating(_));
        if starting || task.unread || task.execs.values().any(Process::alive) {
            return;
        }
        if let Some(exit) = task.init.pending_exit.take() {
            self.end(&ProcessId::init(id), exit, effects);
        }
    }

    /// Publishes an exit, and answers the calls that wait for it.
    fn end(&mut self, who: &ProcessId, exit: Exit, effects: &mut Effects) {
        let Some(process) = self.tasks.get_mut(&who.container).and_then(|task| task.process(&who.exec)) else { return };
        process.phase = Phase::Stopped;
        process.exit = Some(exit);
        if process.pid != 0 {
            effects.push(Effect::Publish(Event::Exit(TaskExit {
                container_id: who.container.clone(),
                id: who.name(),
                pid: process.pid,
                exit_status: exit.status,
                exited_at: Some(exit.at),
            })));
        }
        for ticket in std::mem::take(&mut process.waiting) {
            let response = messages::WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
            answer(effects, ticket, &response);
        }
        effects.push(Effect::Drain(who.clone()));
    }

    fn delete(&mut self, ticket: Ticket, who: &ProcessId, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.container) else { return };
        let others = task.execs.values().any(Process::alive);
        let Some(process) = task.process(&who.exec) else { return };
        if process.delete.is_some() {
            return refuse(effects, ticket, Code::FailedPrecondition, format!("{} is being deleted", who.name()));
        }
        match process.phase {
            Phase::Stopped => {
                process.delete = Some(ticket);
                match process.drained {
                    true => self.delete_drained(who, effects),
                    false => effects.push(Effect::DrainDeadline(who.clone())),
                }
            }
            // Never restored: there is no process.
            Phase::Created if who.is_init() && process.pid == 0 => {
                process.delete = Some(ticket);
                self.delete_drained(who, effects);
            }
            // Never started: an init is killed first, and its exit is published first.
            Phase::Created if who.is_init() && !others => {
                process.delete = Some(ticket);
                effects.push(Effect::KillAll(who.container.clone()));
            }
            Phase::Created if !who.is_init() => {
                process.delete = Some(ticket);
                self.delete_drained(who, effects);
            }
            _ => {
                let text = format!("cannot delete {}: it runs; kill it first", who.name());
                refuse(effects, ticket, Code::FailedPrecondition, text);
            }
        }
    }

    fn drained(&mut self, who: &ProcessId, effects: &mut Effects) {
        let Some(process) = self.tasks.get_mut(&who.container).and_then(|task| task.process(&who.exec)) else { return };
        if process.phase != Phase::Stopped {
            return;
        }
        process.drained = true;
        if process.delete.is_some() {
            self.delete_drained(who, effects);
        }
    }

    fn delete_drained(&mut self, who: &ProcessId, effects: &mut Effects) {
        if who.is_init() {
            // A checkpoint that is being written holds the container's lock.
            if self.tasks.get(&who.container).is_some_and(|task| task.checkpoint.is_none()) {
                effects.push(Effect::Remove(who.container.clone()));
            }
            return;
        }
        let Some(process) = self.tasks.get_mut(&who.container).and_then(|task| task.execs.remove(&who.exec)) else {
            return;
        };
        effects.push(Effect::ReleaseStreams(who.clone()));
        process.abandon(&who.exec, effects);
    }

    fn removed(&mut self, id: &str, outcome: Result<(), Failure>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some(ticket) = task.init.delete.take() else { return };
        if let Err(failure) = outcome {
            // It can be tried again.
            return effects.push(Effect::Answer(ticket, Err(failure)));
        }
        let Some(task) = self.tasks.remove(id) else { return };
        let deleted = task.init.deleted();
        task.abandon(id, effects);
        effects.push(Effect::Publish(Event::Delete(TaskDelete {
            container_id: id.into(),
            pid: deleted.pid,
            exit_status: deleted.exit_status,
            exited_at: deleted.exited_at,
            id: String::new(),
        })));
        answer(effects, ticket, &deleted);
    }

    fn frozen(&mut self, ticket: Ticket, id: &str, frozen: bool, outcome: Result<(), Failure>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else {
            return refuse(effects, ticket, Code::NotFound, format!("container not created: {id}"));
        };
        let was = if frozen { Phase::Running } else { Phase::Paused };
        let is = if frozen { Phase::Paused } else { Phase::Running };
        // It may have ended meanwhile.
        if task.init.phase == Phase::Pausing || task.init.phase == was {
            task.init.phase = if outcome.is_ok() { is } else { was };
        }
        match outcome {
            Err(failure) => effects.push(Effect::Answer(ticket, Err(failure))),
            Ok(()) => {
                let named = TaskNamed { container_id: id.into() };
                effects.push(Effect::Publish(if frozen { Event::Paused(named) } else { Event::Resumed(named) }));
                done(effects, ticket);
            }
        }
    }
}

impl Process {
    fn deleted(&self) -> messages::DeleteResponse {
        messages::DeleteResponse {
            pid: self.pid,
            exit_status: self.exit.map_or(0, |exit| exit.status),
            exited_at: Some(self.exit.map_or_else(Timestamp::default, |exit| exit.at)),
        }
    }

    /// It was deleted: answers the calls that wait for its exit, and the Delete.
    fn abandon(&self, name: &str, effects: &mut Effects) {
        for ticket in &self.waiting {
            refuse(effects, *ticket, Code::NotFound, format!("process does not exist {name}: it was deleted"));
        }
        if let Some(ticket) = self.delete {
            answer(effects, ticket, &self.deleted());
        }
    }
}

impl Task {
    /// Forgets all its processes.
    fn abandon(&self, id: &str, effects: &mut Effects) {
        for (exec, process) in &self.execs {
            effects.push(Effect::ReleaseStreams(ProcessId { container: id.into(), exec: exec.clone() }));
            process.abandon(exec, effects);
        }
        effects.push(Effect::ReleaseStreams(ProcessId::init(id)));
        self.init.abandon(id, effects);
    }

    fn created(&self, id: &str) -> Event {
        let stdio = &self.init.stdio;
        Event::Create(TaskCreate {
            container_id: id.into(),
            bundle: self.bundle.to_string_lossy().into_owned(),
            rootfs: self.rootfs.clone(),
            io: Some(TaskIo {
                stdin: stdio.stdin.uri.clone(),
                stdout: stdio.stdout.uri.clone(),
                stderr: stdio.stderr.uri.clone(),
                terminal: stdio.terminal,
            }),
            checkpoint: self.images.as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
            pid: self.init.pid,
        })
    }

    fn not_running(&self, ticket: Ticket, id: &str, effects: &mut Effects) {
        refuse(effects, ticket, Code::FailedPrecondition, format!("container not running: {id}"));
    }

    fn state(&mut self, ticket: Ticket, who: &ProcessId, effects: &mut Effects) {
        let bundle = self.bundle.to_string_lossy().into_owned();
        let init = self.init.phase;
        let Some(process) = self.process(&who.exec) else { return };
        let status = match (process.status(), init) {
            // A frozen container's processes are all frozen.
            (TaskStatus::Running, Phase::Paused) => TaskStatus::Paused,
            (status, _) => status,
        };
        let response = messages::StateResponse {
            id: who.name(),
            bundle,
            pid: process.pid,
            status: status.into(),
            stdin: process.stdio.stdin.uri.clone(),
            stdout: process.stdio.stdout.uri.clone(),
            stderr: process.stdio.stderr.uri.clone(),
            terminal: process.stdio.terminal,
            exit_status: process.exit.map_or(0, |exit| exit.status),
            exited_at: Some(process.exit.map_or_else(Timestamp::default, |exit| exit.at)),
            exec_id: who.exec.clone(),
        };
        answer(effects, ticket, &response);
    }

    fn wait(&mut self, ticket: Ticket, exec: &str, effects: &mut Effects) {
        let Some(process) = self.process(exec) else { return };
        match process.exit {
            Some(exit) => {
                let response = messages::WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
                answer(effects, ticket, &response);
            }
            None => process.waiting.push(ticket),
        }
    }

    fn kill(&mut self, ticket: Ticket, who: &ProcessId, kill: Kill, effects: &mut Effects) {
        let Some(process) = self.process(&who.exec) else { return };
        match process.phase {
            Phase::Stopped => refuse(effects, ticket, Code::NotFound, "process already finished"),
            _ if process.pending_exit.is_some() => refuse(effects, ticket, Code::NotFound, "process already finished"),
            Phase::Creating(_) => refuse(effects, ticket, Code::FailedPrecondition, "process not created"),
            _ if process.pid == 0 => refuse(effects, ticket, Code::FailedPrecondition, "process not created"),
            _ if who.is_init() => effects.push(Effect::Signal(ticket, who.container.clone(), kill)),
            _ => effects.push(Effect::SignalExec(ticket, process.pid, kill.signal)),
        }
    }

    fn pids(&mut self, ticket: Ticket, id: String, effects: &mut Effects) {
        if self.init.phase == Phase::Stopped || self.init.pending_exit.is_some() || self.init.pid == 0 {
            // A containerd that comes back takes a task without any process for a leak, and throws
            // away the exit status that it would have asked for next.
            let info = messages::ProcessInfo { pid: self.init.pid, info: None };
            return answer(effects, ticket, &messages::PidsResponse { processes: vec![info] });
        }
        let named = self.execs.iter().filter(|(_, process)| process.pid != 0);
        let named = named.map(|(exec, process)| (process.pid, exec.clone())).collect();
        effects.push(Effect::Pids(ticket, id, named));
    }

    fn freeze(&mut self, ticket: Ticket, id: &str, freeze: bool, effects: &mut Effects) {
        match (self.init.phase, freeze) {
            (Phase::Running, true) => {
                self.init.phase = Phase::Pausing;
                effects.push(Effect::Freeze(ticket, id.into(), true));
            }
            (Phase::Paused, false) => effects.push(Effect::Freeze(ticket, id.into(), false)),
            (Phase::Paused, true) => {
                refuse(effects, ticket, Code::FailedPrecondition, format!("container is paused already: {id}"));
            }
            (_, true) => self.not_running(ticket, id, effects),
            (_, false) => refuse(effects, ticket, Code::FailedPrecondition, format!("container not paused: {id}")),
        }
    }
}

#[cfg(test)]
mod tests;
