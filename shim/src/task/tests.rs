use super::*;

const AT: Timestamp = Timestamp { seconds: 7, nanos: 0 };

fn exit(status: u32) -> Exit {
    Exit { status, at: AT }
}

fn who(exec: &str) -> Who {
    Who { id: "c".into(), exec: exec.into() }
}

fn create() -> Call {
    Call::Create(messages::CreateRequest { id: "c".into(), bundle: "/b".into(), ..Default::default() })
}

fn exec(id: &str) -> Call {
    Call::Exec(messages::ExecRequest {
        id: "c".into(),
        exec_id: id.into(),
        spec: Some(Any::default()),
        ..Default::default()
    })
}

/// What happens, in few words: answers by their ticket, events by their topic.
fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| match effect {
        Effect::Answer(ticket, Ok(_)) => format!("answer {ticket}"),
        Effect::Answer(ticket, Err(failure)) => format!("refuse {ticket} {:?}", failure.code),
        Effect::Publish(event) => event.encode().0.trim_start_matches("/tasks/").to_owned(),
        Effect::Create(_) => "make".into(),
        Effect::StartInit(_) => "order start".into(),
        Effect::StartExec(who, _) => format!("make {}", who.exec),
        Effect::Record(who, pid, exit) => format!("record {} {pid} {}", who.name(), exit.status),
        Effect::Flush(id) => format!("flush {id}"),
        Effect::Drain(who) => format!("drain {}", who.name()),
        Effect::Hurry(who) => format!("hurry {}", who.name()),
        Effect::KillAll(_) => "kill all".into(),
        Effect::Remove(_) => "remove".into(),
        Effect::Forget(who) => format!("forget {}", who.name()),
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
    /// What is written is read at once.
    fn step(&mut self, input: Input) -> Vec<String> {
        let mut effects = self.tasks.step(input);
        if effects.iter().any(|effect| matches!(effect, Effect::Flush(_))) {
            effects.extend(self.tasks.step(Input::Flushed("c".into())));
        }
        words(&effects)
    }

    fn call(&mut self, ticket: Ticket, call: Call) -> Vec<String> {
        self.step(Input::Call(ticket, call))
    }

    fn born(&mut self, exec: &str, pid: u32) -> Vec<String> {
        self.step(Input::Born(
            who(exec),
            Ok(Birth { pid, gone: self.tasks.unclaimed.contains_key(&pid), shares_pids: false }),
        ))
    }

    fn running() -> Play {
        let mut play = Play::default();
        assert_eq!(play.call(1, create()), ["make"]);
        assert_eq!(play.born("", 10), ["create", "answer 1"]);
        assert_eq!(play.call(2, Call::Start(who(""))), ["order start"]);
        assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2"]);
        play
    }
}

#[test]
fn a_life_is_told_in_order() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Call::Wait(who(""))), [""; 0]);
    assert_eq!(play.step(Input::Exited(10, exit(5))), ["record c 10 5", "flush c", "exit", "answer 3", "drain c"]);
    assert_eq!(play.call(4, Call::Wait(who(""))), ["answer 4"]);
    assert_eq!(play.call(5, Call::Delete(who(""))), ["hurry c"]);
    assert_eq!(play.step(Input::Drained(who(""))), ["remove"]);
    assert_eq!(play.step(Input::Removed("c".into(), Ok(()))), ["forget c", "delete", "answer 5"]);
    assert_eq!(play.call(6, Call::Shutdown), ["answer 6", "shutdown"]);
}

#[test]
fn an_exec_that_ends_before_its_birth_is_told_has_started_first() {
    let mut play = Play::running();
    assert_eq!(play.call(3, exec("e")), ["exec-added", "answer 3"]);
    assert_eq!(play.call(4, Call::Start(who("e"))), ["make e"]);
    assert_eq!(play.step(Input::Exited(20, exit(3))), [""; 0]);
    let told = play.born("e", 20);
    assert_eq!(told, ["exec-started", "answer 4", "record e 20 3", "exit", "drain e"]);
}

#[test]
fn a_pid_that_is_used_again_does_not_end_who_has_it_now() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Call::Start(who("e")));
    // Somebody's orphan, which nobody claims, and then the same number.
    play.step(Input::Exited(20, exit(1)));
    let birth = Birth { pid: 20, gone: false, shares_pids: false };
    assert_eq!(play.step(Input::Born(who("e"), Ok(birth))), ["exec-started", "answer 4"]);
    assert_eq!(play.step(Input::Exited(20, exit(3))), ["record e 20 3", "exit", "drain e"]);
}

#[test]
fn a_container_that_ends_before_it_is_answered_was_created_first() {
    let mut play = Play::default();
    play.call(1, create());
    assert_eq!(play.step(Input::Exited(10, exit(137))), [""; 0]);
    assert_eq!(play.born("", 10), ["create", "answer 1", "record c 10 137", "flush c", "exit", "drain c"]);
    assert_eq!(play.call(2, Call::Start(who(""))), ["refuse 2 FailedPrecondition"]);
}

#[test]
fn an_exit_during_the_start_waits_for_its_end() {
    let mut play = Play::default();
    play.call(1, create());
    play.born("", 10);
    play.call(2, Call::Start(who("")));
    assert_eq!(play.step(Input::Exited(10, exit(0))), ["record c 10 0", "flush c"]);
    assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2", "exit", "drain c"]);
}

#[test]
fn an_exit_waits_for_those_who_read_what_was_written() {
    let mut play = Play::running();
    play.call(3, Call::Wait(who("")));
    assert_eq!(words(&play.tasks.step(Input::Exited(10, exit(5)))), ["record c 10 5", "flush c"]);
    let kill = messages::KillRequest { id: "c".into(), ..Default::default() };
    assert_eq!(play.call(4, Call::Kill(kill)), ["refuse 4 NotFound"]);
    assert_eq!(play.call(5, Call::Delete(who(""))), ["refuse 5 FailedPrecondition"]);
    assert_eq!(play.step(Input::Oom("c".into())), ["oom"]);
    assert_eq!(play.step(Input::Flushed("c".into())), ["exit", "answer 3", "drain c"]);
    // Said again, or of a task that there is not.
    assert_eq!(play.step(Input::Flushed("c".into())), [""; 0]);
    assert_eq!(play.step(Input::Flushed("d".into())), [""; 0]);
}

#[test]
fn the_end_of_an_init_is_the_last() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Call::Start(who("e")));
    play.born("e", 20);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "flush c"]);
    assert_eq!(play.call(5, exec("f")), ["exec-added", "answer 5"]);
    assert_eq!(play.call(6, Call::Start(who("f"))), ["refuse 6 FailedPrecondition"]);
    let told = play.step(Input::Exited(20, exit(137)));
    assert_eq!(told, ["record e 20 137", "exit", "drain e", "exit", "drain c"]);
}

#[test]
fn others_are_killed_where_pids_are_shared() {
    let mut play = Play::default();
    play.call(1, create());
    play.step(Input::Born(who(""), Ok(Birth { pid: 10, gone: false, shares_pids: true })));
    assert_eq!(play.step(Input::Exited(10, exit(0))), ["record c 10 0", "kill all", "flush c", "exit", "drain c"]);
}

#[test]
fn a_birth_that_fails_leaves_nothing() {
    let mut play = Play::default();
    play.call(1, create());
    play.call(2, Call::Wait(who("")));
    let failed = play.step(Input::Born(who(""), Err(Failure::new(Code::Unknown, "no"))));
    assert_eq!(failed, ["forget c", "refuse 2 NotFound", "refuse 1 Unknown"]);
    assert!(play.tasks.is_empty());
}

#[test]
fn an_exec_that_fails_can_be_waited_for_and_deleted() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Call::Wait(who("e")));
    play.call(5, Call::Start(who("e")));
    let failed = play.step(Input::Born(who("e"), Err(Failure::new(Code::Unknown, "no"))));
    assert_eq!(failed, ["refuse 5 Unknown", "answer 4", "drain e"]);
    play.step(Input::Drained(who("e")));
    assert_eq!(play.call(6, Call::Delete(who("e"))), ["forget e", "answer 6"]);
}

#[test]
fn what_runs_is_not_deleted() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Call::Delete(who(""))), ["refuse 3 FailedPrecondition"]);
    play.call(4, exec("e"));
    assert_eq!(play.call(5, exec("e")), ["refuse 5 AlreadyExists"]);
    assert_eq!(play.call(6, Call::Delete(who("e"))), ["forget e", "answer 6"]);
    assert_eq!(play.call(7, create()), ["refuse 7 AlreadyExists"]);
}

#[test]
fn a_created_container_is_ended_before_it_is_deleted() {
    let mut play = Play::default();
    play.call(1, create());
    play.born("", 10);
    assert_eq!(play.call(2, Call::Delete(who(""))), ["kill all"]);
    assert_eq!(play.call(3, Call::Delete(who(""))), ["refuse 3 FailedPrecondition"]);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "flush c", "exit", "drain c"]);
    assert_eq!(play.step(Input::Drained(who(""))), ["remove"]);
    // It can be tried again.
    let failed = play.step(Input::Removed("c".into(), Err(Failure::new(Code::Unknown, "busy"))));
    assert_eq!(failed, ["refuse 2 Unknown"]);
    assert_eq!(play.call(4, Call::Delete(who(""))), ["remove"]);
}

#[test]
fn a_dead_task_tells_its_pid_so_that_it_is_no_leak() {
    let mut play = Play::running();
    play.step(Input::Exited(10, exit(0)));
    let effects = play.tasks.step(Input::Call(3, Call::Pids("c".into())));
    let Effect::Answer(3, Ok(bytes)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(messages::PidsResponse::decode(&**bytes).unwrap().processes[0].pid, 10);
    assert_eq!(
        play.call(4, Call::Kill(messages::KillRequest { id: "c".into(), ..Default::default() })),
        ["refuse 4 NotFound"]
    );
}

#[test]
fn pausing_goes_there_and_back() {
    let mut play = Play::running();
    assert_eq!(play.call(3, Call::Resume("c".into())), ["refuse 3 FailedPrecondition"]);
    assert_eq!(play.call(4, Call::Pause("c".into())), ["freeze"]);
    assert_eq!(play.step(Input::Frozen(4, "c".into(), true, Ok(()))), ["paused", "answer 4"]);
    play.call(5, exec("e"));
    assert_eq!(play.call(6, Call::Start(who("e"))), ["refuse 6 FailedPrecondition"]);
    assert_eq!(play.call(7, Call::Resume("c".into())), ["freeze"]);
    assert_eq!(play.step(Input::Frozen(7, "c".into(), false, Ok(()))), ["resumed", "answer 7"]);
    assert_eq!(play.call(8, Call::Start(who("e"))), ["make e"]);
}

#[test]
fn nothing_is_known_of_what_is_not_there() {
    let mut play = Play::default();
    for (ticket, call) in [Call::Start(who("")), Call::State(who("")), Call::Wait(who("")), Call::Pids("c".into())]
        .into_iter()
        .enumerate()
    {
        let ticket = u64::try_from(ticket).unwrap();
        assert_eq!(play.call(ticket, call), [format!("refuse {ticket} NotFound")]);
    }
    let bad = messages::CreateRequest { id: "../c".into(), ..Default::default() };
    assert_eq!(play.call(9, Call::Create(bad)), ["refuse 9 InvalidArgument"]);
}

/// Whatever comes in whatever order: every call has one answer at most, an exit of a process comes
/// after its start and once, and nothing panics.
#[test]
fn any_order_keeps_the_promises() {
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
        let (mut births, mut starts, mut living) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pid, mut told) = (100, std::collections::BTreeMap::<u32, (u32, u32)>::new());
        for ticket in 0..60 {
            let name = ["", "e", "f"][usize::try_from(draw(3)).unwrap()];
            let input = match draw(13) {
                0 => Input::Call(ticket, create()),
                1 => Input::Call(ticket, exec("e")),
                2 => Input::Call(ticket, exec("f")),
                3 | 4 => Input::Call(ticket, Call::Start(who(name))),
                5 => Input::Call(ticket, Call::Wait(who(name))),
                6 => Input::Call(ticket, Call::Delete(who(name))),
                7 if !births.is_empty() => {
                    pid += 1;
                    living.push(pid);
                    Input::Born(births.remove(0), Ok(Birth { pid, gone: false, shares_pids: draw(2) == 0 }))
                }
                8 if !births.is_empty() => Input::Born(births.remove(0), Err(Failure::new(Code::Unknown, "no"))),
                9 if !starts.is_empty() => Input::Started(starts.remove(0), Ok(())),
                10 | 11 if !living.is_empty() => Input::Exited(living.remove(0), exit(1)),
                12 => Input::Flushed("c".into()),
                _ => Input::Drained(who(name)),
            };
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                for effect in tasks.step(input) {
                    match effect {
                        Effect::Answer(ticket, _) => assert!(answered.insert(ticket), "{ticket} has two answers"),
                        Effect::Create(request) => births.push(Who::init(&request.id)),
                        Effect::StartExec(who, _) => births.push(who),
                        Effect::StartInit(id) => starts.push(Who::init(&id)),
                        Effect::Publish(Event::Create(event)) => told.entry(event.pid).or_default().0 += 1,
                        Effect::Publish(Event::ExecStarted(event)) => told.entry(event.pid).or_default().0 += 1,
                        Effect::Publish(Event::Exit(event)) => {
                            let told = told.entry(event.pid).or_default();
                            told.1 += 1;
                            assert_eq!(*told, (1, 1), "pid {}", event.pid);
                        }
                        Effect::Remove(id) => inputs.push(Input::Removed(id, Ok(()))),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Between its start and its end, whichever the kernel tells first.
#[test]
fn a_want_of_memory_is_told_after_the_start_and_before_the_exit() {
    let mut play = Play::running();
    assert_eq!(play.step(Input::Oom("c".into())), ["oom"]);
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "flush c", "exit", "drain c"]);
    let mut play = Play::default();
    play.call(1, create());
    play.born("", 10);
    assert_eq!(play.call(2, Call::Start(who(""))), ["order start"]);
    assert!(play.step(Input::Oom("c".into())).is_empty());
    assert_eq!(play.step(Input::Exited(10, exit(137))), ["record c 10 137", "flush c"]);
    assert_eq!(play.step(Input::Started(who(""), Ok(()))), ["start", "answer 2", "oom", "exit", "drain c"]);
    assert!(play.step(Input::Oom("gone".into())).is_empty());
}

/// Its output still flows when the container is deleted.
#[test]
fn who_deletes_a_process_is_answered_when_its_container_is_deleted() {
    let mut play = Play::running();
    play.call(3, exec("e"));
    play.call(4, Call::Start(who("e")));
    play.born("e", 11);
    play.step(Input::Exited(11, exit(0)));
    play.step(Input::Exited(10, exit(0)));
    assert_eq!(play.call(5, Call::Delete(who("e"))), ["hurry e"]);
    play.step(Input::Drained(who("")));
    assert_eq!(play.call(6, Call::Delete(who(""))), ["remove"]);
    let told = play.step(Input::Removed("c".into(), Ok(())));
    assert_eq!(told, ["forget e", "answer 5", "forget c", "delete", "answer 6"]);
}
