//! Calls, creations, exits and deletions in any order → what the shim does: no panic, exactly one answer to each
//! call once everything has come to its end, and events in an order that containerd understands.

use std::collections::{BTreeMap, BTreeSet};

use containerd_shim_cleat::messages::Timestamp;
use containerd_shim_cleat::messages::events::Event;
use containerd_shim_cleat::task::{Call, Effect, Exit, Input, Kill, NewProcess, ProcessId, Tasks, Ticket, Verb};
use containerd_shim_cleat::ttrpc::{Code, Failure};

/// What the driver has in hand.
#[derive(Clone, PartialEq)]
enum Work {
    Create(ProcessId, u32),
    Start(String),
    DrainFifos(String),
    Drain(ProcessId),
    Remove(String),
}

/// What containerd has heard of a container.
#[derive(Default)]
struct Heard {
    started: bool,
    exited: bool,
    execs: BTreeSet<String>,
}

#[derive(Default)]
struct World {
    tasks: Tasks,
    work: Vec<Work>,
    /// Whose each living process is; and which of those in the making have ended already.
    alive: BTreeMap<u32, ProcessId>,
    gone: BTreeSet<u32>,
    asked: BTreeSet<Ticket>,
    last: Ticket,
    heard: BTreeMap<String, Heard>,
}

fn exit(status: u32) -> Exit {
    Exit { status, at: Timestamp::default() }
}

fn failed<T>() -> Result<T, Failure> {
    Err(Failure::new(Code::Unknown, "it does not work"))
}

impl World {
    fn call(&mut self, call: Call) {
        self.last += 1;
        self.asked.insert(self.last);
        self.step(Input::Call(self.last, call));
    }

    fn step(&mut self, input: Input) {
        for effect in self.tasks.step(input) {
            self.perform(effect);
        }
    }

    fn answer(&mut self, ticket: Ticket) {
        assert!(self.asked.remove(&ticket), "call {ticket} is answered twice");
    }

    fn pid(&self) -> u32 {
        let making = |pid: &u32| self.work.iter().any(|work| matches!(work, Work::Create(_, other) if other == pid));
        (10..).find(|pid| !self.alive.contains_key(pid) && !making(pid)).expect("a number")
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(ticket, _)
            | Effect::Signal(ticket, ..)
            | Effect::SignalExec(ticket, ..)
            | Effect::Pids(ticket, ..)
            | Effect::Update(ticket, ..)
            | Effect::Stats(ticket, ..) => self.answer(ticket),
            Effect::Publish(event) => self.hear(event),
            Effect::Create(id, _) => self.create(ProcessId::init(&id)),
            Effect::StartExec(who, _) => self.create(who),
            Effect::StartInit(id) => self.work.push(Work::Start(id)),
            Effect::DrainFifos(id) => self.work.push(Work::DrainFifos(id)),
            Effect::Drain(who) => self.work.push(Work::Drain(who)),
            // Done at once.
            Effect::Freeze(ticket, id, freeze) => {
                let outcome = if self.last % 3 > 0 { Ok(()) } else { failed() };
                self.step(Input::Frozen(ticket, id, freeze, outcome));
            }
            Effect::RestoreInit(id) => self.create(ProcessId::init(&id)),
            Effect::Checkpoint(id, spec) => {
                let outcome = if self.last % 3 > 0 { Ok(()) } else { failed() };
                self.step(Input::Checkpointed(id, spec.images, outcome));
            }
            Effect::Remove(id) => self.work.push(Work::Remove(id)),
            Effect::ReleaseStreams(who) => self.work.retain(|work| *work != Work::Drain(who.clone())),
            Effect::Shutdown => assert!(self.tasks.is_empty(), "it ends with a task"),
            Effect::RecordExit(..)
            | Effect::DrainDeadline(_)
            | Effect::KillAll(_)
            | Effect::Resize(..)
            | Effect::CloseStdin(_) => {}
        }
    }

    fn create(&mut self, who: ProcessId) {
        let pid = self.pid();
        self.work.push(Work::Create(who, pid));
    }

    fn hear(&mut self, event: Event) {
        let known = |heard: &BTreeMap<String, Heard>, id: &String| assert!(heard.contains_key(id), "{id} is not there");
        match event {
            Event::Create(event) => {
                assert!(self.heard.insert(event.container_id, Heard::default()).is_none(), "created twice");
            }
            Event::Start(event) => {
                let heard = self.heard.get_mut(&event.container_id).expect("a container that starts");
                assert!(!heard.started && !heard.exited, "a start after that, or after the exit");
                heard.started = true;
            }
            Event::ExecStarted(event) => {
                let heard = self.heard.get_mut(&event.container_id).expect("a container of a process that starts");
                assert!(!heard.exited && heard.execs.insert(event.exec_id), "started twice, or too late");
            }
            Event::Exit(event) => {
                let heard = self.heard.get_mut(&event.container_id).expect("a container of a process that ends");
                if event.id == event.container_id {
                    assert!(!heard.exited && heard.execs.is_empty(), "others outlive it: {:?}", heard.execs);
                    assert!(!self.work.contains(&Work::DrainFifos(event.id)), "nobody has read yet what it wrote");
                    heard.exited = true;
                } else {
                    assert!(heard.execs.remove(&event.id), "{} ends and has not been started", event.id);
                }
            }
            Event::Delete(event) => {
                let heard = self.heard.remove(&event.container_id).expect("a container that is deleted");
                assert!(heard.exited, "deleted before its exit");
            }
            Event::Paused(event) | Event::Resumed(event) => known(&self.heard, &event.container_id),
            Event::Checkpointed(event) => known(&self.heard, &event.container_id),
            Event::Oom(event) => known(&self.heard, &event.container_id),
            Event::ExecAdded(_) => {}
        }
    }

    /// One thing that was in hand comes to an end.
    fn finish(&mut self, at: usize, well: bool) {
        match self.work.remove(at) {
            Work::Create(who, pid) if well => {
                let gone = self.gone.remove(&pid);
                if !gone {
                    self.alive.insert(pid, who.clone());
                }
                self.step(Input::Created(who, Ok(NewProcess { pid, gone, shares_pids: pid % 2 == 0 })));
            }
            Work::Create(who, pid) => {
                self.gone.remove(&pid);
                self.step(Input::Created(who, failed()));
            }
            Work::Start(id) => self.step(Input::Started(ProcessId::init(&id), if well { Ok(()) } else { failed() })),
            Work::DrainFifos(id) => self.step(Input::FifosDrained(id)),
            Work::Drain(who) => self.step(Input::Drained(who)),
            Work::Remove(id) => self.step(Input::Removed(id, if well { Ok(()) } else { failed() })),
        }
    }

    fn end(&mut self, pid: u32, status: u32) {
        self.alive.remove(&pid);
        self.step(Input::Exited(pid, exit(status)));
    }

    /// One thing that happens, of those that may.
    fn happen(&mut self, what: u8, number: u8) {
        let id = || ["a", "b"][usize::from(number & 1)].to_owned();
        let who = || ProcessId { container: id(), exec: ["", "", "e", "f"][usize::from(number >> 1 & 3)].into() };
        let exec = || ProcessId { container: id(), exec: ["e", "f"][usize::from(number >> 1 & 1)].into() };
        let init = || ProcessId::init(&id());
        match what % 24 {
            0 => self.call(Verb::Create(Box::default()).of(init())),
            1 | 2 => self.call(Verb::Start.of(who())),
            3 => self.call(Verb::State.of(who())),
            4 | 5 => self.call(Verb::Delete.of(who())),
            6 => self.call(Verb::Exec(Box::default()).of(exec())),
            7 => self.call(Verb::Kill(Kill::default()).of(who())),
            8 => self.call(Verb::Wait.of(who())),
            9 => self.call(Verb::Pids.of(init())),
            10 => self.call(Verb::Pause.of(init())),
            11 => self.call(Verb::Resume.of(init())),
            12 => self.call(Verb::Shutdown.of(init())),
            // It is watched once it is created.
            13 if !self.heard.contains_key(&id()) => {}
            13 => self.step(Input::Oom(id())),
            // Somebody's orphan, who has nothing to do with it.
            14 => {
                let pid = 10 + u32::from(number % 8);
                if !self.alive.contains_key(&pid) {
                    self.step(Input::Exited(pid, exit(1)));
                }
            }
            // In the making, and at its end already.
            15 => {
                let mut making = self.work.iter().filter_map(|work| match work {
                    Work::Create(_, pid) if !self.gone.contains(pid) => Some(*pid),
                    _ => None,
                });
                if let Some(pid) = making.next_back() {
                    self.gone.insert(pid);
                    self.step(Input::Exited(pid, exit(3)));
                }
            }
            16..=18 => {
                let count = self.alive.len().max(1);
                if let Some(pid) = self.alive.keys().copied().nth(usize::from(number) % count) {
                    self.end(pid, 137);
                }
            }
            _ if self.work.is_empty() => {}
            kind => self.finish(usize::from(number) % self.work.len(), kind != 19),
        }
    }

    /// Everything comes to its end, and is deleted.
    fn close(&mut self) {
        for _ in 0..8 {
            while !self.work.is_empty() {
                self.finish(0, true);
            }
            while let Some(pid) = self.alive.keys().copied().next() {
                self.end(pid, 0);
            }
            for id in ["a", "b"] {
                self.call(Verb::Resume.of(ProcessId::init(id)));
                for exec in ["e", "f", ""] {
                    self.call(Verb::Delete.of(ProcessId { container: id.into(), exec: exec.into() }));
                }
            }
        }
        assert!(self.tasks.is_empty() && self.heard.is_empty(), "a task cannot be deleted");
        assert!(self.asked.is_empty(), "calls without an answer: {:?}", self.asked);
    }
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let mut world = World::default();
    for pair in data.chunks_exact(2).take(1000) {
        world.happen(pair[0], pair[1]);
    }
    world.close();
}
