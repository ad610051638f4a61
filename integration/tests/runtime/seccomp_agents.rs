//! config-linux.md, "Seccomp", `SCMP_ACT_NOTIFY`: who decides where the filter does not?

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Agent, Answer, Bundle, Container, Runtime, eventually, is_peer, not_on_peer, proc, skip};
use serde_json::{Value, json};

/// `getppid` has no arguments, so that a test can give it any.
const GETPPID: u64 = if cfg!(target_arch = "x86_64") { 110 } else { 173 };
const EXECVE: u64 = if cfg!(target_arch = "x86_64") { 59 } else { 221 };

/// These calls are left to an agent, all others are allowed.
fn notified(names: &[&str]) -> Bundle {
    let rule = json!({ "names": names, "action": "SCMP_ACT_NOTIFY" });
    Bundle::new().set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }))
}

fn asking(bundle: Bundle, agent: &Agent) -> Bundle {
    let bundle = bundle.set("/linux/seccomp/listenerPath", json!(agent.path()));
    bundle.set("/linux/seccomp/listenerMetadata", json!("for the agent"))
}

/// Neither cgroup, and so no process, nor state.
fn assert_nothing_left(runtime: &Runtime, bundle: &Bundle, when: &str) {
    assert!(!bundle.cgroup().exists(), "{when}: the cgroup was left");
    let left: Vec<_> = fs::read_dir(runtime.root()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{when}: left in the state root: {left:?}");
}

/// config-linux.md, "The Container Process State".
fn assert_process_state(message: &Value, container: &Container<'_>, status: &str, bundle: &Bundle) {
    assert_eq!(message["fds"], json!(["seccompFd"]), "{message}");
    assert_eq!(message["metadata"], "for the agent", "{message}");
    let state = &message["state"];
    assert_eq!((&state["id"], &state["status"]), (&json!(container.id()), &json!(status)), "{message}");
    assert_eq!(state["bundle"], json!(bundle.path()), "{message}");
    for version in [&message["ociVersion"], &state["ociVersion"]] {
        assert!(is_peer() || version.as_str().is_some_and(|version| version.starts_with("1.")), "{message}");
    }
}

/// `run`: the agent learns who asks, and its answers are what the program meets.
#[test]
fn an_agent_answers_for_the_kernel() {
    let runtime = Runtime::new();
    let agent = Agent::listen(runtime.dir());
    let calls = [format!("{GETPPID},1,2,3,4,5,6"), GETPPID.to_string(), GETPPID.to_string()];
    let args = ["/probe", "calls"].into_iter().map(str::to_owned).chain(calls);
    let bundle = asking(notified(&["getppid"]), &agent).args(args);
    let (container, running) = runtime.spawn_run(&bundle, |call| call);
    let (message, decider) = agent.receive();
    assert_process_state(&message, &container, if is_peer() { "creating" } else { "created" }, &bundle);
    let call = decider.decide(Answer::Value(4711));
    assert_eq!((u64::from(call.number), call.arguments), (GETPPID, [1, 2, 3, 4, 5, 6]));
    assert_eq!(json!(call.pid), message["pid"]);
    assert_eq!(message["pid"], message["state"]["pid"]);
    let _ = decider.decide(Answer::Errno(77));
    let _ = decider.decide(Answer::Continue);
    let seen = running.outcome().json();
    assert_eq!(seen, json!([{ "value": 4711 }, { "errno": 77 }, { "value": 0 }]));
}

/// `create` loads no filter; `start` does, and hands over. What joins has a listener of its own.
#[test]
fn an_agent_is_notified_of_every_process() {
    not_on_peer!("runc's own runtime calls getppid, crun speaks version 0.2.0");
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let agent = Agent::listen(runtime.dir());
        let bundle = asking(notified(&["getppid"]), &agent)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .args(["/probe", "sleep"]);
        let container = runtime.start_ready(&bundle);
        let (message, _decider) = agent.receive();
        assert_eq!(message["pid"], json!(container.pid()));
        let running =
            container.exec_call(std::iter::empty::<&str>(), ["/probe", "calls", &GETPPID.to_string()]).spawn();
        let (message, decider) = agent.receive();
        assert_process_state(&message, &container, "running", &bundle);
        assert_eq!(message["state"]["pid"], json!(container.pid()));
        let call = decider.decide(Answer::Value(4711));
        assert_eq!(json!(call.pid), message["pid"], "{call:?} {message}");
        assert_eq!(running.outcome().json(), json!([{ "value": 4711 }]));
    }
}

/// The filter comes with the credentials: `create` hands over.
#[test]
fn an_agent_is_notified_by_create_where_the_filter_is_loaded_early() {
    not_on_peer!("runc's own runtime calls getppid, crun speaks version 0.2.0");
    let runtime = Runtime::new();
    let agent = Agent::listen(runtime.dir());
    let bundle = asking(notified(&["getppid"]), &agent)
        .set("/process/noNewPrivileges", json!(false))
        .without_namespace("pid")
        .args(["/probe", "calls", &GETPPID.to_string()]);
    let container = runtime.create(&bundle);
    let (message, decider) = agent.receive();
    assert_process_state(&message, &container, "creating", &bundle);
    container.start();
    let _ = decider.decide(Answer::Value(4711));
    assert_eq!(container.json(), json!([{ "value": 4711 }]));
}

/// The very call that starts the program may be left to the agent.
#[test]
fn an_agent_may_decide_on_the_start_itself() {
    not_on_peer!("it waits for an answer to calls of its own first");
    let runtime = Runtime::new();
    for (answer, code) in [(Answer::Continue, 0), (Answer::Errno(13), 255)] {
        let agent = Agent::listen(runtime.dir());
        let bundle = asking(notified(&["execve"]), &agent).args(["/probe", "print", "runs"]);
        let (_container, running) = runtime.spawn_run(&bundle, |call| call);
        let (_, decider) = agent.receive();
        let call = decider.decide(answer);
        assert_eq!(u64::from(call.number), EXECVE);
        let outcome = running.outcome().exits(code);
        assert!(code == 0 || outcome.stderr == "exec /probe: permission denied\n", "{outcome}");
        assert_eq!(outcome.stdout.contains("runs"), code == 0, "{outcome}");
    }
}

/// A state with long metadata takes more than one message.
#[test]
fn an_agent_gets_long_metadata_whole() {
    let runtime = Runtime::new();
    let agent = Agent::listen(runtime.dir());
    let long = "m".repeat(50_000);
    let bundle = asking(notified(&["sethostname"]), &agent).set("/linux/seccomp/listenerMetadata", json!(long));
    let (_container, running) = runtime.spawn_run(&bundle, |call| call);
    let (message, _decider) = agent.receive();
    assert_eq!(message["metadata"].as_str().map(str::len), Some(long.len()));
    let _ = running.outcome().ok();
}

/// Nobody listens: an error that says where, and nothing runs.
#[test]
fn without_an_agent_nothing_runs() {
    not_on_peer!("the message is ours");
    let runtime = Runtime::new();
    let path = runtime.dir().join("nobody.sock");
    let text = "linux.seccomp.listenerPath: socket ";
    for no_new_privileges in [true, false] {
        let bundle = notified(&["sethostname"])
            .set("/linux/seccomp/listenerPath", json!(path))
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        let outcome = runtime.run(&bundle).refused(text).in_one_line();
        assert!(outcome.stderr.contains("ENOENT"), "{outcome}");
        assert_nothing_left(&runtime, &bundle, "after run");
        {
            // It can be started yet, when somebody listens.
            let container = runtime.create(&bundle);
            let _ = container.call(["start"]).outcome().refused(text).in_one_line();
            assert_eq!((container.status().as_str(), container.stdout().as_str()), ("created", ""));
        }
        assert_nothing_left(&runtime, &bundle, "after start");
        let early = bundle.without_namespace("pid").set("/process/noNewPrivileges", json!(false));
        let outcome = runtime.try_create(&early).expect_err("create succeeds without an agent");
        let _ = outcome.refused(text).in_one_line();
        assert_nothing_left(&runtime, &early, "after create");
    }
}

/// The agent is gone when a second process comes: it does not run, and the first goes on.
#[test]
fn without_an_agent_nothing_joins() {
    not_on_peer!("the message is ours");
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let agent = Agent::listen(runtime.dir());
        let bundle = asking(notified(&["sethostname"]), &agent)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .args(["/probe", "sleep"]);
        let container = runtime.start_ready(&bundle);
        let _held = agent.receive();
        fs::remove_file(agent.path()).expect("the agent's socket");
        let outcome = container.exec(["/probe", "print", "runs"]);
        let outcome = outcome.fails(255, "linux.seccomp.listenerPath: socket ").in_one_line();
        assert!(!outcome.stdout.contains("runs"), "{outcome}");
        assert!(outcome.stderr.contains("ENOENT"), "{outcome}");
        let pids = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        assert_eq!(pids.lines().collect::<Vec<_>>(), [container.pid().to_string()], "what is in the container");
        assert_eq!(container.status(), "running");
    }
}

/// With a listener: TSYNC's answer would be taken for its descriptor, but for a further flag.
#[test]
fn a_filter_that_asks_others_loads_with_every_flag() {
    not_on_peer!("crun's features have no flags");
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).outcome().json();
    let agent = Agent::listen(runtime.dir());
    let supported = features["linux"]["seccomp"]["supportedFlags"].as_array().expect("flags");
    for flags in supported.iter().map(|flag| json!([flag])).chain([json!(supported)]) {
        let bundle = asking(notified(&["sethostname"]), &agent).set("/linux/seccomp/flags", flags.clone());
        let bundle = bundle.args(["/probe", "sethostname", "other"]);
        let (_container, running) = runtime.spawn_run(&bundle, |call| call);
        let (_, decider) = agent.receive();
        let _ = decider.decide(Answer::Errno(77));
        assert_eq!(running.outcome().json(), json!({ "error": "EBADFD" }), "{flags}");
    }
}

/// seccomp(2), `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: once its call is received, a process waits for
/// the answer even when it is asked to stop; else it stops, and will make the call again.
#[test]
fn the_flags_of_a_profile_are_the_kernels() {
    not_on_peer!("crun's features have no flags");
    const KILLABLE: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).outcome().json();
    if !features["linux"]["seccomp"]["supportedFlags"].as_array().expect("flags").contains(&json!(KILLABLE)) {
        skip(format!("{KILLABLE} is newer than this kernel"));
    }
    let agent = Agent::listen(runtime.dir());
    for (flags, expected) in [(json!([]), 'T'), (json!([KILLABLE]), 'D')] {
        let bundle = asking(notified(&["sethostname"]), &agent).set("/linux/seccomp/flags", flags.clone());
        let bundle = bundle.args(["/probe", "sethostname", "other"]);
        let (container, running) = runtime.spawn_run(&bundle, |call| call);
        let (_, decider) = agent.receive();
        let mut call = decider.receive();
        container.kill("STOP");
        eventually("the state of who was asked to stop", || {
            let state = proc::state(call.pid);
            if state == Some(expected) { Ok(()) } else { Err(format!("{flags}: {state:?}")) }
        });
        container.kill("CONT");
        if expected == 'T' {
            call = decider.receive();
        }
        decider.answer(&call, Answer::Errno(77));
        assert_eq!(running.outcome().json(), json!({ "error": "EBADFD" }), "{flags}");
    }
}
