use super::*;

const AT: Timestamp = Timestamp { seconds: 7, nanos: 0 };

fn exit(status: u32) -> Exit {
    Exit { status, at: AT }
}

fn who(exec: &str) -> ProcessId {
    ProcessId { container: "c".into(), exec: exec.into() }
}

fn create() -> Call {
    Verb::Create(Box::default()).of(who(""))
}

fn exec(id: &str) -> Call {
    Verb::Exec(Box::default()).of(who(id))
}

fn kill() -> Call {
    Verb::Kill(Kill::default()).of(who(""))
}

/// What happens, in few words: answers by their ticket, events by their topic.
fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| match effect {
        Effect::Answer(ticket, Ok(_)) => format!("answer {ticket}"),
        Effect::Answer(ticket, Err(failure)) => format!("refuse {ticket} {:?}", failure.code),
        Effect::Publish(event) => event.encode().0.trim_start_matches("/tasks/").to_owned(),
        Effect::Create(..) => "run create".into(),
        Effect::StartInit(_) => "run start".into(),
        Effect::RestoreInit(_) => "run restore".into(),
        Effect::Checkpoint(..) => "run checkpoint".into(),
        Effect::StartExec(who, _) => format!("run exec {}", who.exec),
        Effect::RecordExit(who, pid, exit) => format!("record {} {pid} {}", who.name(), exit.status),
        Effect::DrainFifos(id) => format!("fifos {id}"),
        Effect::Drain(who) => format!("drain {}", who.name()),
        Effect::DrainDeadline(who) => format!("deadline {}", who.name()),
        Effect::KillAll(_) => "kill all".into(),
        Effect::Remove(_) => "remove".into(),
        Effect::ReleaseStreams(who) => format!("release {}", who.name()),
        Effect::Shutdown => "shutdown".into(),
        other => format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase(),
    };
    effects.iter().map(word).collect()
}

/// Tasks, and what was done so far.
#[derive(Default)]
struct Play {
    tasks: Tasks,
}

impl Play {
    /// Output is read at once.
    fn step(&mut self, input: Input) -> Vec<String> {
        let mut effects = self.tasks.step(input);
        if effects.iter().any(|effect| matches!(effect, Effect::DrainFifos(_))) {
            effects.extend(self.tasks.step(Input::FifosDrained("c".into())));
        }
        words(&effects)
    }

    fn call(&mut self, ticket: Ticket, call: Call) -> Vec<String> {
        self.step(Input::Call(ticket, call))
    }

    fn created(&mut self, exec: &str, pid: u32) -> Vec<String> {
        self.step(Input::Created(
            who(exec),
            Ok(NewProcess { pid, gone: self.tasks.unclaimed_exits.contains_key(&pid), shares_pids: false }),
        ))
    }

    /// One that is restored when it is started.
    fn unrestored() -> Play {
        let mut play = Play::default();
        let spec = CreateSpec { checkpoint: Some("/images".into()), ..CreateSpec::default() };
        assert_eq!(play.call(1, Verb::Create(Box::new(spec)).of(who(""))), ["run create"]);
        assert_eq!(play.created("", 0), ["create", "answer 1"]);
        play
    }

    fn checkpointed(&mut self, outcome: Result<(), Failure>) -> Vec<String> {
        self.step(Input::Checkpointed("c".into(), "/images".into(), outcome))
    }

    fn running() -> Play {
        let mut play = Play::default();
        assert_eq!(play.call(1, create()), ["run create"]);
        assert_eq!(play.created("", 10), ["create", "answer 1"]);
        assert_eq!(play.call(2, Verb::Start.of(who(""))), ["run start"]);
        assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2"]);
        play
    }
}

#[test]
fn events_are_published_in_order() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Verb::Wait.of(who(""))), [""; 0]);
    assert_eq!(play.step(Input::Exited(10, exit(5))), ["record c 10 5", "fifos c", "exit", "answer 3", "drain c"]);
    assert_eq!(play.call(4, Verb::Wait.of(who(""))), ["answer 4"]);
    assert_eq!(play.call(5, Verb::Delete.of(who(""))), ["deadline c"]);
    assert_eq!(play.step(Input::Drained(who(""))), ["remove"]);
    assert_eq!(play.step(Input::Removed("c".into(), Ok(()))), ["release c", "delete", "answer 5"]);
    assert_eq!(play.call(6, Verb::Shutdown.of(who(""))), ["answer 6", "shutdown"]);
}

#[test]
fn an_exec_that_ends_at_once_has_started_first() {
    let mut play = Play::running();
    assert_eq!(play.call(3, exec("e")), ["exec-added", "answer 3"]);
    assert_eq!(play.call(4, Verb::Start.of(who("e"))), ["run exec e"]);
    assert_eq!(play.step(Input::Exited(20, exit(3))), [""; 0]);
    let events = play.created("e", 20);
    assert_eq!(events, ["exec-started", "answer 4", "record e 20 3", "exit", "drain e"]);
}

#[test]
fn an_exit_of_an_earlier_process_with_that_pid_is_not_its_exit() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Verb::Start.of(who("e")));
    // An unknown process, and then the same pid.
    play.step(Input::Exited(20, exit(1)));
    let process = NewProcess { pid: 20, gone: false, shares_pids: false };
    assert_eq!(play.step(Input::Created(who("e"), Ok(process))), ["exec-started", "answer 4"]);
    assert_eq!(play.step(Input::Exited(20, exit(3))), ["record e 20 3", "exit", "drain e"]);
}

#[test]
fn a_container_that_ends_at_once_was_created_first() {
    let mut play = Play::default();
    play.call(1, create());
    assert_eq!(play.step(Input::Exited(10, exit(137))), [""; 0]);
    assert_eq!(play.created("", 10), ["create", "answer 1", "record c 10 137", "fifos c", "exit", "drain c"]);
    assert_eq!(play.call(2, Verb::Start.of(who(""))), ["refuse 2 FailedPrecondition"]);
}

#[test]
fn an_exit_during_the_start_waits_for_its_end() {
    let mut play = Play::default();
    play.call(1, create());
    play.created("", 10);
    play.call(2, Verb::Start.of(who("")));
    assert_eq!(play.step(Input::Exited(10, exit(0))), ["record c 10 0", "fifos c"]);
    assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2", "exit", "drain c"]);
}

#[test]
fn an_exit_waits_until_the_output_has_been_read() {
    let mut play = Play::running();
    play.call(3, Verb::Wait.of(who("")));
    assert_eq!(words(&play.tasks.step(Input::Exited(10, exit(5)))), ["record c 10 5", "fifos c"]);
    assert_eq!(play.call(4, kill()), ["refuse 4 NotFound"]);
    assert_eq!(play.call(5, Verb::Delete.of(who(""))), ["refuse 5 FailedPrecondition"]);
    assert_eq!(play.step(Input::Oom("c".into())), ["oom"]);
    assert_eq!(play.step(Input::FifosDrained("c".into())), ["exit", "answer 3", "drain c"]);
    // Twice, and for an unknown task.
    assert_eq!(play.step(Input::FifosDrained("c".into())), [""; 0]);
    assert_eq!(play.step(Input::FifosDrained("d".into())), [""; 0]);
}

#[test]
fn the_end_of_an_init_is_the_last() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Verb::Start.of(who("e")));
    play.created("e", 20);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "fifos c"]);
    assert_eq!(play.call(5, exec("f")), ["exec-added", "answer 5"]);
    assert_eq!(play.call(6, Verb::Start.of(who("f"))), ["refuse 6 FailedPrecondition"]);
    let events = play.step(Input::Exited(20, exit(137)));
    assert_eq!(events, ["record e 20 137", "exit", "drain e", "exit", "drain c"]);
}

#[test]
fn others_are_killed_where_pids_are_shared() {
    let mut play = Play::default();
    play.call(1, create());
    play.step(Input::Created(who(""), Ok(NewProcess { pid: 10, gone: false, shares_pids: true })));
    assert_eq!(play.step(Input::Exited(10, exit(0))), ["record c 10 0", "kill all", "fifos c", "exit", "drain c"]);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let mut play = Play::default();
    play.call(1, create());
    play.call(2, Verb::Wait.of(who("")));
    let failed = play.step(Input::Created(who(""), Err(Failure::new(Code::Unknown, "no"))));
    assert_eq!(failed, ["release c", "refuse 2 NotFound", "refuse 1 Unknown"]);
    assert!(play.tasks.is_empty());
}

#[test]
fn an_exec_that_fails_can_be_waited_for_and_deleted() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Verb::Wait.of(who("e")));
    play.call(5, Verb::Start.of(who("e")));
    let failed = play.step(Input::Created(who("e"), Err(Failure::new(Code::Unknown, "no"))));
    assert_eq!(failed, ["refuse 5 Unknown", "answer 4", "drain e"]);
    play.step(Input::Drained(who("e")));
    assert_eq!(play.call(6, Verb::Delete.of(who("e"))), ["release e", "answer 6"]);
}

#[test]
fn what_runs_is_not_deleted() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Verb::Delete.of(who(""))), ["refuse 3 FailedPrecondition"]);
    play.call(4, exec("e"));
    assert_eq!(play.call(5, exec("e")), ["refuse 5 AlreadyExists"]);
    assert_eq!(play.call(6, Verb::Delete.of(who("e"))), ["release e", "answer 6"]);
    assert_eq!(play.call(7, create()), ["refuse 7 AlreadyExists"]);
}

#[test]
fn a_created_container_is_ended_before_it_is_deleted() {
    let mut play = Play::default();
    play.call(1, create());
    play.created("", 10);
    assert_eq!(play.call(2, Verb::Delete.of(who(""))), ["kill all"]);
    assert_eq!(play.call(3, Verb::Delete.of(who(""))), ["refuse 3 FailedPrecondition"]);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "fifos c", "exit", "drain c"]);
    assert_eq!(play.step(Input::Drained(who(""))), ["remove"]);
    // It can be tried again.
    let failed = play.step(Input::Removed("c".into(), Err(Failure::new(Code::Unknown, "busy"))));
    assert_eq!(failed, ["refuse 2 Unknown"]);
    assert_eq!(play.call(4, Verb::Delete.of(who(""))), ["remove"]);
}

#[test]
fn a_stopped_task_has_a_pid_so_that_containerd_keeps_it() {
    let mut play = Play::running();
    play.step(Input::Exited(10, exit(0)));
    let effects = play.tasks.step(Input::Call(3, Verb::Pids.of(who(""))));
    let Effect::Answer(3, Ok(bytes)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(messages::PidsResponse::decode(&**bytes).unwrap().processes[0].pid, 10);
    assert_eq!(play.call(4, kill()), ["refuse 4 NotFound"]);
}

#[test]
fn pausing_goes_there_and_back() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Verb::Resume.of(who(""))), ["refuse 3 FailedPrecondition"]);
    assert_eq!(play.call(4, Verb::Pause.of(who(""))), ["freeze"]);
    assert_eq!(play.step(Input::Frozen(4, "c".into(), true, Ok(()))), ["paused", "answer 4"]);
    play.call(5, exec("e"));
    assert_eq!(play.call(6, Verb::Start.of(who("e"))), ["refuse 6 FailedPrecondition"]);
    assert_eq!(play.call(7, Verb::Resume.of(who(""))), ["freeze"]);
    assert_eq!(play.step(Input::Frozen(7, "c".into(), false, Ok(()))), ["resumed", "answer 7"]);
    assert_eq!(play.call(8, Verb::Start.of(who("e"))), ["run exec e"]);
}

fn checkpoint() -> Call {
    Verb::Checkpoint(Box::default()).of(who(""))
}

#[test]
fn nothing_changes_a_container_while_it_is_dumped() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    assert_eq!(play.call(4, checkpoint()), ["run checkpoint"]);
    let changes = [Verb::Pause.of(who("")), Verb::Resume.of(who("")), Verb::Update(Vec::new()).of(who(""))];
    for call in changes.into_iter().chain([checkpoint(), Verb::Start.of(who("e"))]) {
        assert_eq!(play.call(5, call.clone()), ["refuse 5 FailedPrecondition"], "{call:?}");
    }
    assert_eq!(play.call(6, kill()), ["signal"]);
    assert_eq!(play.call(7, Verb::Pids.of(who(""))), ["pids"]);
    assert_eq!(play.checkpointed(Ok(())), ["checkpointed", "answer 4"]);
    assert_eq!(play.call(8, Verb::Start.of(who("e"))), ["run exec e"]);
    assert_eq!(play.call(9, checkpoint()), ["refuse 9 FailedPrecondition"], "an exec is being started");
    play.created("e", 20);
    assert_eq!(play.call(10, checkpoint()), ["run checkpoint"]);
    assert_eq!(play.checkpointed(Err(Failure::new(Code::Unknown, "no"))), ["refuse 10 Unknown"]);
    assert_eq!(play.checkpointed(Ok(())), [""; 0], "nobody waits for another one");
}

/// As containerd asks for it: frozen before, and thawed afterwards.
#[test]
fn a_paused_container_is_dumped_and_stays_paused() {
    let mut play = Play::running();
    play.call(3, Verb::Pause.of(who("")));
    play.step(Input::Frozen(3, "c".into(), true, Ok(())));
    assert_eq!(play.call(4, checkpoint()), ["run checkpoint"]);
    assert_eq!(play.checkpointed(Ok(())), ["checkpointed", "answer 4"]);
    assert_eq!(play.call(5, Verb::Resume.of(who(""))), ["freeze"]);
    assert_eq!(play.step(Input::Frozen(5, "c".into(), false, Ok(()))), ["resumed", "answer 5"]);
}

/// It ends with the container's processes, and holds its lock a little longer.
#[test]
fn the_deletion_waits_for_the_end_of_a_checkpoint() {
    let mut play = Play::running();
    play.call(3, Verb::Wait.of(who("")));
    play.call(4, checkpoint());
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "fifos c", "exit", "answer 3", "drain c"]);
    assert_eq!(play.call(5, Verb::Delete.of(who(""))), ["deadline c"]);
    assert_eq!(play.step(Input::Drained(who(""))), [""; 0]);
    assert_eq!(play.checkpointed(Ok(())), ["checkpointed", "answer 4", "remove"]);
    assert_eq!(play.step(Input::Removed("c".into(), Ok(()))), ["release c", "delete", "answer 5"]);
    // What was drained before the call, and a checkpoint that failed.
    let mut play = Play::running();
    play.call(3, checkpoint());
    play.step(Input::Exited(10, exit(137)));
    play.step(Input::Drained(who("")));
    assert_eq!(play.call(4, Verb::Delete.of(who(""))), [""; 0]);
    assert_eq!(play.checkpointed(Err(Failure::new(Code::Unknown, "no"))), ["refuse 3 Unknown", "remove"]);
    // One that ends before its output is read.
    let mut play = Play::running();
    play.call(3, checkpoint());
    play.step(Input::Exited(10, exit(137)));
    assert_eq!(play.call(4, Verb::Delete.of(who(""))), ["deadline c"]);
    assert_eq!(play.checkpointed(Ok(())), ["checkpointed", "answer 3"]);
    assert_eq!(play.step(Input::Drained(who(""))), ["remove"]);
}

#[test]
fn only_what_runs_is_dumped() {
    let mut play = Play::default();
    play.call(1, create());
    assert_eq!(play.call(2, checkpoint()), ["refuse 2 FailedPrecondition"]);
    play.created("", 10);
    assert_eq!(play.call(3, checkpoint()), ["refuse 3 FailedPrecondition"]);
    play.step(Input::Exited(10, exit(0)));
    assert_eq!(play.call(4, checkpoint()), ["refuse 4 FailedPrecondition"]);
    assert_eq!(play.call(5, Verb::Checkpoint(Box::default()).of(ProcessId::init("d"))), ["refuse 5 NotFound"]);
}

#[test]
fn a_restored_container_has_its_process_when_it_is_started() {
    let mut play = Play::unrestored();
    play.call(2, exec("e"));
    play.call(3, Verb::Wait.of(who("")));
    let update = Verb::Update(Vec::new()).of(who(""));
    for call in [kill(), Verb::Pause.of(who("")), update, checkpoint(), Verb::Start.of(who("e"))] {
        assert_eq!(play.call(4, call.clone()), ["refuse 4 FailedPrecondition"], "{call:?}");
    }
    // containerd would take a task without any process for a leak.
    assert_eq!(play.call(5, Verb::Pids.of(who(""))), ["answer 5"]);
    assert_eq!(play.call(6, Verb::Start.of(who(""))), ["run restore"]);
    assert_eq!(play.call(7, Verb::Start.of(who(""))), ["refuse 7 FailedPrecondition"]);
    assert_eq!(play.call(8, Verb::Delete.of(who(""))), ["refuse 8 FailedPrecondition"]);
    assert_eq!(play.created("", 10), ["start", "answer 6"]);
    assert_eq!(play.call(9, Verb::Start.of(who("e"))), ["run exec e"]);
    play.created("e", 11);
    play.step(Input::Exited(11, exit(0)));
    assert_eq!(play.step(Input::Exited(10, exit(5))), ["record c 10 5", "fifos c", "exit", "answer 3", "drain c"]);
}

#[test]
fn a_restored_process_that_ends_at_once_has_started_first() {
    let mut play = Play::unrestored();
    play.call(2, Verb::Start.of(who("")));
    assert_eq!(play.step(Input::Exited(10, exit(3))), [""; 0]);
    let events = play.created("", 10);
    assert_eq!(events, ["start", "answer 2", "record c 10 3", "fifos c", "exit", "drain c"]);
}

#[test]
fn a_restore_that_fails_can_be_tried_again_or_deleted() {
    let mut play = Play::unrestored();
    play.call(2, Verb::Start.of(who("")));
    let failed = Input::Created(who(""), Err(Failure::new(Code::Unknown, "no")));
    assert_eq!(play.step(failed), ["refuse 2 Unknown"]);
    assert_eq!(play.call(3, Verb::Start.of(who(""))), ["run restore"]);
    play.step(Input::Created(who(""), Err(Failure::new(Code::Unknown, "no"))));
    assert_eq!(play.call(4, Verb::Delete.of(who(""))), ["remove"]);
    assert_eq!(play.call(5, Verb::Start.of(who(""))), ["refuse 5 FailedPrecondition"]);
    assert_eq!(play.step(Input::Removed("c".into(), Ok(()))), ["release c", "delete", "answer 4"]);
}

#[test]
fn unknown_tasks_are_not_found() {
    let mut play = Play::default();
    for (ticket, call) in
        [Verb::Start.of(who("")), Verb::State.of(who("")), Verb::Wait.of(who("")), Verb::Pids.of(who(""))]
            .into_iter()
            .enumerate()
    {
        let ticket = u64::try_from(ticket).unwrap();
        assert_eq!(play.call(ticket, call), [format!("refuse {ticket} NotFound")]);
    }
}

/// Whatever comes in whatever order: every call has one answer at most, an exit of a process comes
/// after its start and once, and nothing panics.
#[test]
fn the_invariants_hold_in_any_order() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..2000 {
        let mut tasks = Tasks::default();
        let mut answered = std::collections::BTreeSet::new();
        let mut creating: Vec<(ProcessId, bool)> = Vec::new();
        let (mut starts, mut alive) = (Vec::new(), Vec::new());
        let mut dumping = false;
        let (mut pid, mut seen) = (100, std::collections::BTreeMap::<u32, (u32, u32)>::new());
        for ticket in 0..60 {
            let name = ["", "e", "f"][usize::try_from(draw(3)).unwrap()];
            let input = match draw(15) {
                0 if draw(3) == 0 => {
                    let spec = CreateSpec { checkpoint: Some("/images".into()), ..CreateSpec::default() };
                    Input::Call(ticket, Verb::Create(Box::new(spec)).of(who("")))
                }
                0 => Input::Call(ticket, create()),
                13 => Input::Call(ticket, checkpoint()),
                14 if dumping => {
                    dumping = false;
                    let outcome = if draw(2) == 0 { Ok(()) } else { Err(Failure::new(Code::Unknown, "no")) };
                    Input::Checkpointed("c".into(), "/images".into(), outcome)
                }
                1 => Input::Call(ticket, exec("e")),
                2 => Input::Call(ticket, exec("f")),
                3 | 4 => Input::Call(ticket, Verb::Start.of(who(name))),
                5 => Input::Call(ticket, Verb::Wait.of(who(name))),
                6 => Input::Call(ticket, Verb::Delete.of(who(name))),
                7 if !creating.is_empty() => {
                    let (who, has_process) = creating.remove(0);
                    pid += u32::from(has_process);
                    alive.extend(has_process.then_some(pid));
                    let pid = if has_process { pid } else { 0 };
                    Input::Created(who, Ok(NewProcess { pid, gone: false, shares_pids: draw(2) == 0 }))
                }
                8 if !creating.is_empty() => {
                    Input::Created(creating.remove(0).0, Err(Failure::new(Code::Unknown, "no")))
                }
                9 if !starts.is_empty() => Input::Started(starts.remove(0), Ok(())),
                10 | 11 if !alive.is_empty() => Input::Exited(alive.remove(0), exit(1)),
                12 => Input::FifosDrained("c".into()),
                _ => Input::Drained(who(name)),
            };
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                for effect in tasks.step(input) {
                    match effect {
                        Effect::Answer(ticket, _) => assert!(answered.insert(ticket), "{ticket} has two answers"),
                        Effect::Create(id, spec) => creating.push((ProcessId::init(&id), spec.checkpoint.is_none())),
                        Effect::RestoreInit(id) => creating.push((ProcessId::init(&id), true)),
                        Effect::StartExec(who, _) => creating.push((who, true)),
                        Effect::Checkpoint(..) => dumping = true,
                        Effect::StartInit(id) => starts.push(ProcessId::init(&id)),
                        Effect::Publish(Event::Create(event)) if event.pid != 0 => {
                            seen.entry(event.pid).or_default().0 += 1;
                        }
                        // The first event of what was restored.
                        Effect::Publish(Event::Start(event)) => seen.entry(event.pid).or_default().0 = 1,
                        Effect::Publish(Event::ExecStarted(event)) => seen.entry(event.pid).or_default().0 += 1,
                        Effect::Publish(Event::Exit(event)) => {
                            let seen = seen.entry(event.pid).or_default();
                            seen.1 += 1;
                            assert_eq!(*seen, (1, 1), "pid {}", event.pid);
                        }
                        Effect::Remove(_) if dumping => panic!("removed while it is dumped"),
                        Effect::Remove(id) => inputs.push(Input::Removed(id, Ok(()))),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Whichever the kernel reports first.
#[test]
fn an_oom_event_comes_after_the_start_and_before_the_exit() {
    let mut play = Play::running();
    assert_eq!(play.step(Input::Oom("c".into())), ["oom"]);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "fifos c", "exit", "drain c"]);
    let mut play = Play::default();
    play.call(1, create());
    play.created("", 10);
    assert_eq!(play.call(2, Verb::Start.of(who(""))), ["run start"]);
    assert!(play.step(Input::Oom("c".into())).is_empty());
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "fifos c"]);
    assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2", "oom", "exit", "drain c"]);
    assert!(play.step(Input::Oom("gone".into())).is_empty());
}

/// Its output still flows when the container is deleted.
#[test]
fn deleting_a_container_answers_the_delete_of_its_exec() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Verb::Start.of(who("e")));
    play.created("e", 11);
    play.step(Input::Exited(11, exit(0)));
    play.step(Input::Exited(10, exit(0)));
    assert_eq!(play.call(5, Verb::Delete.of(who("e"))), ["deadline e"]);
    play.step(Input::Drained(who("")));
    assert_eq!(play.call(6, Verb::Delete.of(who(""))), ["remove"]);
    let events = play.step(Input::Removed("c".into(), Ok(())));
    assert_eq!(events, ["release e", "answer 5", "release c", "delete", "answer 6"]);
}
