//! What is the state of every task, and what follows from what happens? Pure.
//!
//! `step` takes what happened and appends what is to be done, in order; nothing else changes the
//! state. A process goes
//!
//! ```text
//!           Create            Born             Start            Started
//!  init:  ─────────▶ Creating ────▶ Created ─────────▶ Starting ────────▶ Running ⇄ Paused
//!  exec:  ── Exec ─────────────────▶ Created ─────────▶ Starting ────────▶ Running
//!                                       │                  │                  │  Exited
//!                                       └──────────────────┴──────────────────┴────────▶ Stopped ── Delete ─▶ gone
//! ```
//!
//! and what it must keep to is: a start is told before the exit, and between them that memory did not
//! suffice; the exits of a container's other processes before that of its init; what its init wrote is
//! read before its exit is told; the exit before the deletion; whoever asked gets exactly one answer.

use std::collections::BTreeMap;

use prost::Message;

use crate::messages::events::{
    Event, TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIo, TaskNamed, TaskStart,
};
use crate::messages::{self, Any, TaskStatus, Timestamp};
use crate::ttrpc::{Code, Failure};

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
    /// Of a process that has not been started.
    spec: Option<Box<ExecSpec>>,
    /// It has ended, and that has not been told.
    held: Option<Exit>,
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
            held: None,
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
    bundle: String,
    rootfs: Vec<messages::Mount>,
    shares_pids: bool,
    /// The kernel has killed for want of memory before the start was told.
    held_oom: bool,
    /// The init has ended, and its reader has not taken all that it wrote.
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
    /// Who has which pid.
    pids: BTreeMap<u32, Who>,
    /// Ends of processes that nobody has claimed: of those that are being born, perhaps.
    unclaimed: BTreeMap<u32, Exit>,
    births: usize,
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
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether there is that one.
    pub fn has(&self, id: &str) -> bool {
        self.tasks.contains_key(id)
    }

    /// What follows from what happened.
    pub fn step(&mut self, input: Input) -> Effects {
        let mut effects = Effects::new();
        match input {
            Input::Call(ticket, call) => self.call(ticket, call, &mut effects),
            Input::Born(who, outcome) => self.born(&who, outcome, &mut effects),
            Input::Started(who, outcome) => self.started(&who, outcome, &mut effects),
            Input::Exited(pid, exit) => self.exited(pid, exit, &mut effects),
            Input::Flushed(id) => self.flushed(&id, &mut effects),
            Input::Drained(who) => self.drained(&who, &mut effects),
            Input::Removed(id, outcome) => self.removed(&id, outcome, &mut effects),
            Input::Frozen(ticket, id, frozen, outcome) => self.frozen(ticket, &id, frozen, outcome, &mut effects),
            Input::Oom(id) => self.out_of_memory(&id, &mut effects),
        }
        effects
    }

    fn call(&mut self, ticket: Ticket, call: Call, effects: &mut Effects) {
        match call {
            Call::Create(request) => self.create(ticket, request, effects),
            Call::Connect(id) => {
                let task_pid = self.tasks.get(&id).map_or(0, |task| task.init.pid);
                let response =
                    messages::ConnectResponse { shim_pid: std::process::id(), task_pid, version: String::new() };
                answer(effects, ticket, &response);
            }
            Call::Shutdown => {
                done(effects, ticket);
                // Others of the pod live on.
                if self.tasks.is_empty() {
                    effects.push(Effect::Shutdown);
                }
            }
            Call::Exec(request) => self.exec(ticket, request, effects),
            other => self.call_process(ticket, other, effects),
        }
    }

    /// Calls about a process that must be there.
    fn call_process(&mut self, ticket: Ticket, call: Call, effects: &mut Effects) {
        let (id, exec) = match &call {
            Call::Start(who) | Call::State(who) | Call::Delete(who) | Call::Wait(who) => (&*who.id, &*who.exec),
            Call::ResizePty(request) => (&*request.id, &*request.exec_id),
            Call::CloseIo(request) => (&*request.id, &*request.exec_id),
            Call::Kill(request) => (&*request.id, &*request.exec_id),
            Call::Update(request) => (&*request.id, ""),
            Call::Pids(id) | Call::Pause(id) | Call::Resume(id) | Call::Stats(id) | Call::Checkpoint(id) => (&**id, ""),
            Call::Create(_) | Call::Exec(_) | Call::Connect(_) | Call::Shutdown => return,
        };
        let who = Who { id: id.into(), exec: exec.into() };
        let Some(task) = self.tasks.get_mut(&who.id) else {
            return refuse(effects, ticket, Code::NotFound, format!("container not created: {}", who.id));
        };
        if task.process(&who.exec).is_none() {
            let text = format!("process does not exist {}: not found in container {}", who.exec, who.id);
            return refuse(effects, ticket, Code::NotFound, text);
        }
        match call {
            Call::Start(_) => self.start(ticket, &who, effects),
            Call::State(_) => task.state(ticket, &who, effects),
            Call::Delete(_) => self.delete(ticket, &who, effects),
            Call::Wait(_) => task.wait(ticket, &who.exec, effects),
            Call::ResizePty(request) => {
                let cells = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                effects.push(Effect::Resize(who, cells(request.width), cells(request.height)));
                done(effects, ticket);
            }
            Call::CloseIo(request) => {
                if request.stdin {
                    effects.push(Effect::CloseStdin(who));
                }
                done(effects, ticket);
            }
            Call::Kill(request) => task.kill(ticket, request, effects),
            Call::Pids(id) => task.pids(ticket, id, effects),
            Call::Pause(_) => task.freeze(ticket, &who.id, true, effects),
            Call::Resume(_) => task.freeze(ticket, &who.id, false, effects),
            Call::Update(request) => match (task.init.phase, request.resources) {
                (Phase::Stopped, _) => task.not_running(ticket, &who.id, effects),
                (_, Some(resources)) => effects.push(Effect::Update(ticket, who.id, resources.value)),
                (_, None) => refuse(effects, ticket, Code::InvalidArgument, "update: no resources given"),
            },
            Call::Stats(_) => effects.push(Effect::Stats(ticket, who.id)),
            Call::Checkpoint(_) => {
                let text = "checkpoint: this version of cleat has none; use a runtime with CRIU for this container";
                refuse(effects, ticket, Code::Unimplemented, text);
            }
            Call::Create(_) | Call::Exec(_) | Call::Connect(_) | Call::Shutdown => {}
        }
    }

    fn create(&mut self, ticket: Ticket, request: messages::CreateRequest, effects: &mut Effects) {
        if let Err(text) = crate::args::check_name("container id", &request.id) {
            return refuse(effects, ticket, Code::InvalidArgument, text);
        }
        if self.tasks.contains_key(&request.id) {
            return refuse(effects, ticket, Code::AlreadyExists, format!("container {} already exists", request.id));
        }
        if !request.checkpoint.is_empty() {
            let text = "create from a checkpoint: this version of cleat cannot restore; use a runtime with CRIU";
            return refuse(effects, ticket, Code::Unimplemented, text);
        }
        let stdio = Stdio {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let task = Task {
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.clone(),
            shares_pids: false,
            held_oom: false,
            unread: false,
            init: Process::new(Phase::Creating(ticket), stdio),
            execs: BTreeMap::new(),
        };
        self.tasks.insert(request.id.clone(), task);
        self.births += 1;
        effects.push(Effect::Create(Box::new(request)));
    }

    fn exec(&mut self, ticket: Ticket, request: messages::ExecRequest, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&request.id) else {
            return refuse(effects, ticket, Code::NotFound, format!("container not created: {}", request.id));
        };
        if let Err(text) = crate::args::check_name("exec id", &request.exec_id) {
            return refuse(effects, ticket, Code::InvalidArgument, text);
        }
        if task.execs.contains_key(&request.exec_id) {
            return refuse(effects, ticket, Code::AlreadyExists, format!("id {}", request.exec_id));
        }
        let Some(spec) = request.spec else {
            return refuse(effects, ticket, Code::InvalidArgument, "exec: no process given");
        };
        let stdio =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let mut process = Process::new(Phase::Created, stdio.clone());
        process.spec = Some(Box::new(ExecSpec { process: spec.value, stdio }));
        task.execs.insert(request.exec_id.clone(), process);
        let event = TaskExecAdded { container_id: request.id, exec_id: request.exec_id };
        effects.push(Effect::Publish(Event::ExecAdded(event)));
        done(effects, ticket);
    }

    fn start(&mut self, ticket: Ticket, who: &Who, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.id) else { return };
        let init = &task.init;
        let init_ends = init.phase == Phase::Stopped || init.held.is_some() || init.delete.is_some();
        let init_runs = matches!(task.init.phase, Phase::Running | Phase::Created | Phase::Starting(_));
        let Some(process) = task.process(&who.exec) else { return };
        if process.phase != Phase::Created || process.delete.is_some() {
            let text = format!("cannot start {}: it was started already", who.name());
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        if who.is_init() {
            process.phase = Phase::Starting(ticket);
            effects.push(Effect::StartInit(who.id.clone()));
            return;
        }
        if init_ends || !init_runs {
            let text = match init_ends {
                true => format!("container {} init process is not running", who.id),
                false => format!("cannot exec in a paused container: {}", who.id),
            };
            return refuse(effects, ticket, Code::FailedPrecondition, text);
        }
        let Some(spec) = process.spec.take() else { return };
        process.phase = Phase::Starting(ticket);
        self.births += 1;
        effects.push(Effect::StartExec(who.clone(), spec));
    }

    fn born(&mut self, who: &Who, outcome: Result<Birth, Failure>, effects: &mut Effects) {
        let birth = outcome.as_ref().ok().copied();
        let early = birth.and_then(|birth| Some((birth, self.unclaimed.remove(&birth.pid)?)));
        self.births -= 1;
        if self.births == 0 {
            self.unclaimed.clear();
        }
        let Some(task) = self.tasks.get_mut(&who.id) else { return };
        if who.is_init() {
            let Phase::Creating(ticket) = task.init.phase else { return };
            match outcome {
                Err(failure) => {
                    if let Some(task) = self.tasks.remove(&who.id) {
                        task.abandon(&who.id, effects);
                    }
                    effects.push(Effect::Answer(ticket, Err(failure)));
                }
                Ok(birth) => {
                    task.init.phase = Phase::Created;
                    task.init.pid = birth.pid;
                    task.shares_pids = birth.shares_pids;
                    self.pids.insert(birth.pid, who.clone());
                    effects.push(Effect::Publish(task.created(&who.id)));
                    answer(effects, ticket, &messages::PidResponse { pid: birth.pid });
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
                Ok(birth) => {
                    process.phase = Phase::Running;
                    process.pid = birth.pid;
                    self.pids.insert(birth.pid, who.clone());
                    let event =
                        TaskExecStarted { container_id: who.id.clone(), exec_id: who.exec.clone(), pid: birth.pid };
                    effects.push(Effect::Publish(Event::ExecStarted(event)));
                    answer(effects, ticket, &messages::PidResponse { pid: birth.pid });
                }
            }
        }
        if let Some((birth, exit)) = early.filter(|(birth, _)| birth.gone) {
            self.exited(birth.pid, exit, effects);
        }
        self.end_held_init(&who.id, effects);
    }

    fn started(&mut self, who: &Who, outcome: Result<(), Failure>, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.id) else { return };
        let Phase::Starting(ticket) = task.init.phase else { return };
        match outcome {
            Ok(()) => {
                task.init.phase = Phase::Running;
                let event = TaskStart { container_id: who.id.clone(), pid: task.init.pid };
                effects.push(Effect::Publish(Event::Start(event)));
                answer(effects, ticket, &messages::PidResponse { pid: task.init.pid });
            }
            Err(failure) => {
                task.init.phase = Phase::Created;
                effects.push(Effect::Answer(ticket, Err(failure)));
            }
        }
        if std::mem::take(&mut task.held_oom) {
            self.out_of_memory(&who.id, effects);
        }
        self.end_held_init(&who.id, effects);
    }

    fn out_of_memory(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        match task.init.phase {
            Phase::Starting(_) => task.held_oom = true,
            _ => effects.push(Effect::Publish(Event::Oom(TaskNamed { container_id: id.into() }))),
        }
    }

    /// Whose process that is.
    pub fn who(&self, pid: u32) -> Option<&Who> {
        self.pids.get(&pid)
    }

    fn exited(&mut self, pid: u32, exit: Exit, effects: &mut Effects) {
        let Some(who) = self.pids.remove(&pid) else {
            if self.births > 0 {
                self.unclaimed.insert(pid, exit);
            }
            return;
        };
        effects.push(Effect::Record(who.clone(), pid, exit));
        if !who.is_init() {
            self.end(&who, exit, effects);
            return self.end_held_init(&who.id, effects);
        }
        let Some(task) = self.tasks.get_mut(&who.id) else { return };
        task.init.held = Some(exit);
        if task.shares_pids {
            effects.push(Effect::KillAll(who.id.clone()));
        }
        task.unread = true;
        effects.push(Effect::Flush(who.id));
    }

    fn flushed(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.unread = false;
        self.end_held_init(id, effects);
    }

    /// The end of an init is told when its start has been, and every other process's end, and when what it
    /// wrote has been read: some containerd closes the streams as soon as it hears of the end.
    fn end_held_init(&mut self, id: &str, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let starting = matches!(task.init.phase, Phase::Starting(_) | Phase::Creating(_));
        if starting || task.unread || task.execs.values().any(Process::alive) {
            return;
        }
        if let Some(exit) = task.init.held.take() {
            self.end(&Who::init(id), exit, effects);
        }
    }

    /// Tells all who wait.
    fn end(&mut self, who: &Who, exit: Exit, effects: &mut Effects) {
        let Some(process) = self.tasks.get_mut(&who.id).and_then(|task| task.process(&who.exec)) else { return };
        process.phase = Phase::Stopped;
        process.exit = Some(exit);
        if process.pid != 0 {
            effects.push(Effect::Publish(Event::Exit(TaskExit {
                container_id: who.id.clone(),
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

    fn delete(&mut self, ticket: Ticket, who: &Who, effects: &mut Effects) {
        let Some(task) = self.tasks.get_mut(&who.id) else { return };
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
                    false => effects.push(Effect::Hurry(who.clone())),
                }
            }
            // Never started: an init is ended first, and its end is told first.
            Phase::Created if who.is_init() && !others => {
                process.delete = Some(ticket);
                effects.push(Effect::KillAll(who.id.clone()));
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

    fn drained(&mut self, who: &Who, effects: &mut Effects) {
        let Some(process) = self.tasks.get_mut(&who.id).and_then(|task| task.process(&who.exec)) else { return };
        if process.phase != Phase::Stopped {
            return;
        }
        process.drained = true;
        if process.delete.is_some() {
            self.delete_drained(who, effects);
        }
    }

    fn delete_drained(&mut self, who: &Who, effects: &mut Effects) {
        if who.is_init() {
            effects.push(Effect::Remove(who.id.clone()));
            return;
        }
        let Some(process) = self.tasks.get_mut(&who.id).and_then(|task| task.execs.remove(&who.exec)) else { return };
        effects.push(Effect::Forget(who.clone()));
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

    /// It is gone: whoever waits for its end hears that there will be none, and who asked for this has it.
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
            effects.push(Effect::Forget(Who { id: id.into(), exec: exec.clone() }));
            process.abandon(exec, effects);
        }
        effects.push(Effect::Forget(Who::init(id)));
        self.init.abandon(id, effects);
    }

    fn created(&self, id: &str) -> Event {
        let stdio = &self.init.stdio;
        Event::Create(TaskCreate {
            container_id: id.into(),
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            io: Some(TaskIo {
                stdin: stdio.stdin.clone(),
                stdout: stdio.stdout.clone(),
                stderr: stdio.stderr.clone(),
                terminal: stdio.terminal,
            }),
            pid: self.init.pid,
        })
    }

    fn not_running(&self, ticket: Ticket, id: &str, effects: &mut Effects) {
        refuse(effects, ticket, Code::FailedPrecondition, format!("container not running: {id}"));
    }

    fn state(&mut self, ticket: Ticket, who: &Who, effects: &mut Effects) {
        let bundle = self.bundle.clone();
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
            stdin: process.stdio.stdin.clone(),
            stdout: process.stdio.stdout.clone(),
            stderr: process.stdio.stderr.clone(),
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

    fn kill(&mut self, ticket: Ticket, request: messages::KillRequest, effects: &mut Effects) {
        let Some(process) = self.process(&request.exec_id) else { return };
        match process.phase {
            Phase::Stopped => refuse(effects, ticket, Code::NotFound, "process already finished"),
            _ if process.held.is_some() => refuse(effects, ticket, Code::NotFound, "process already finished"),
            Phase::Creating(_) => refuse(effects, ticket, Code::FailedPrecondition, "process not created"),
            _ if request.exec_id.is_empty() => effects.push(Effect::Signal(ticket, request)),
            _ if process.pid == 0 => refuse(effects, ticket, Code::FailedPrecondition, "process not created"),
            _ => effects.push(Effect::SignalExec(ticket, process.pid, request.signal)),
        }
    }

    fn pids(&mut self, ticket: Ticket, id: String, effects: &mut Effects) {
        if self.init.phase == Phase::Stopped || self.init.held.is_some() {
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

/// Processes as containerd wants to hear of them.
pub fn process_infos(pids: &[i32], named: &[(u32, String)]) -> messages::PidsResponse {
    let info = |pid: &i32| {
        let pid = u32::try_from(*pid).ok()?;
        let exec = named.iter().find(|(number, _)| *number == pid);
        let info = exec.map(|(_, exec)| {
            Any::of("containerd.runc.v1.ProcessDetails", &messages::ProcessDetails { exec_id: exec.clone() })
        });
        Some(messages::ProcessInfo { pid, info })
    };
    messages::PidsResponse { processes: pids.iter().filter_map(info).collect() }
}

#[cfg(test)]
mod tests;
