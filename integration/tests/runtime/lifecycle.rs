//! runtime.md, "Lifecycle" and "Operations"; the command line, texts and files that engines know.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, eventually, not_on_peer, not_on_runc_1_1, proc, unique_name};
use rustix::process::Signal;
use serde_json::{Value, json};

/// runtime.md § Create: "The runtime environment … MUST be created … but the user-specified
/// program MUST NOT be run at this time."
#[test]
fn create_makes_the_environment_and_runs_nothing() {
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::new().args(["/probe", "print", "hello"]));
    assert_eq!(container.status(), "created");
    assert!(container.pid() > 1, "pid {}", container.pid());
    assert_eq!(container.state()["pid"], container.pid());
    assert!(container.proc("stat").exists(), "process {} is there", container.pid());
    let exe = fs::read_link(container.proc("exe")).expect("its program");
    assert!(!exe.ends_with("probe"), "the program runs already: {}", exe.display());
    assert_eq!(container.stdout(), "");
}

/// runtime.md § Start: "MUST run the user-specified program".
#[test]
fn start_runs_the_program() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&Bundle::sleeper());
    assert_eq!(container.status(), "running");
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    assert_eq!(container.status(), "stopped");
    container.delete();
    assert_eq!(runtime.state(container.id()), None);
}

/// runtime.md § State: ociVersion, id, status, pid, bundle, annotations; runc adds the others.
#[test]
fn state_has_every_field_of_the_specification_and_of_runc() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().set("/annotations", json!({ "org.example.key": "value" }));
    let container = runtime.create(&bundle);
    let state = container.state();
    assert_eq!(state["id"], container.id());
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"], container.pid());
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["rootfs"], json!(bundle.rootfs()));
    assert_eq!(state["annotations"], json!({ "org.example.key": "value" }));
    assert_eq!(state["owner"], "");
    let version = state["ociVersion"].as_str().unwrap_or_default();
    assert!(version.starts_with("1."), "ociVersion {version:?}");
    let created = state["created"].as_str().unwrap_or_default();
    assert!(created.ends_with('Z') && created.contains('T'), "created {created:?}");
}

/// runtime.md § State: the pid of a stopped container means nothing; runc gives 0.
#[test]
fn a_stopped_container_has_no_pid() {
    let runtime = Runtime::new();
    let container = runtime.start(&Bundle::new().args(["/probe", "exit", "0"]));
    assert_eq!(container.wait(), 0);
    let state = container.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
}

/// runtime.md § Create: config.json "MUST NOT … have an effect on the container" after `create`.
#[test]
fn edits_of_config_json_after_create_have_no_effect() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "print", "first"]);
    let container = runtime.create(&bundle);
    let _bundle = bundle.args(["/probe", "print", "second"]).set("/hostname", json!("second"));
    container.start();
    assert_eq!(container.wait(), 0);
    assert_eq!(container.stdout(), "first\n");
}

/// The bundle may be gone by the time of `start` and `delete`.
#[test]
fn config_json_is_not_needed_after_create() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.create(&bundle);
    fs::remove_file(bundle.path().join("config.json")).expect("config.json");
    container.start();
    container.wait_for_line("ready");
    assert_eq!(container.status(), "running");
    container.kill_and_delete();
}

/// runtime.md § Start: "Attempting to start a container that is not created MUST have no effect
/// on the container and MUST generate an error".
#[test]
fn start_is_refused_unless_created() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&Bundle::sleeper());
    let _ = container.call(["start"]).outcome().refused("cannot start an already running container").in_one_line();
    assert_eq!(container.status(), "running");
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    let _ = container.call(["start"]).outcome().refused("cannot start a container that has stopped").in_one_line();
    assert_eq!(container.status(), "stopped");
}

/// config.md § Process: "required when start is called", not before.
#[test]
fn a_container_without_process_can_be_created_but_not_started() {
    not_on_peer!("runc wants a process at create");
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::new().without("/process"));
    assert_eq!(container.status(), "created");
    let _ = container.call(["start"]).outcome().refused("process").in_one_line();
    assert_eq!(container.status(), "created");
    container.delete();
}

/// runtime.md § Query State, Start, Kill, Delete: "MUST generate an error if … does not exist";
/// containerd and buildkit match the text (cli-contract A.3).
#[test]
fn every_verb_on_an_unknown_container_says_that_it_does_not_exist() {
    let runtime = Runtime::new();
    let id = unique_name();
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        let _ = runtime.call([verb, &id]).outcome().refused("container does not exist").in_one_line();
    }
    let _ = runtime.call(["exec", &id, "/probe"]).outcome().fails(255, "container does not exist").in_one_line();
}

/// runtime.md § Create: "If the ID … is not unique … MUST generate an error and a new container
/// MUST NOT be created."
#[test]
fn an_id_in_use_is_refused_and_its_container_lives_on() {
    let runtime = Runtime::new();
    let first = runtime.start_ready(&Bundle::sleeper());
    let other = Bundle::sleeper();
    let create = runtime.call(["create", "--bundle"]).arg(other.path()).arg(first.id());
    let _ = create.outcome().refused("container with given ID already exists").in_one_line();
    assert_eq!(first.status(), "running");
    assert!(!other.cgroup().exists(), "a cgroup was left at {}", other.cgroup().display());
}

/// An id may be used again after `delete`.
#[test]
fn an_id_is_free_again_after_delete() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let id = unique_name();
    for _ in 0..2 {
        let _ = runtime.call(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).outcome().ok();
        let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    }
}

/// Ids are names, never paths (`[A-Za-z0-9_+.-]+`, not `.` or `..`).
#[test]
fn an_id_that_is_no_name_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    for id in ["a/b", "/", "..", ".", "a b", "../x", "ü", "a\n", ""] {
        let create = runtime.call(["create", "--bundle"]).arg(bundle.path()).arg(id);
        let outcome = create.outcome().exits(1);
        assert!(!outcome.stderr.is_empty(), "no message for the id {id:?}");
        assert!(!bundle.cgroup().exists(), "the id {id:?} left a cgroup");
    }
}

/// The whole alphabet of ids is accepted.
#[test]
fn an_id_may_have_letters_digits_underscore_plus_dot_and_dash() {
    let runtime = Runtime::new();
    let id = format!("{}_A+b.c-9", unique_name());
    let container = runtime.container(&id);
    let _ = runtime.call(["create", "--bundle"]).arg(Bundle::sleeper().path()).arg(&id).outcome().ok();
    assert_eq!(container.status(), "created");
}

/// runtime.md § Kill: "MUST generate an error" for a container that is neither created nor
/// running; containerd and CRI-O match the text.
#[test]
fn kill_of_a_stopped_container_is_refused() {
    let runtime = Runtime::new();
    let container = runtime.start(&Bundle::new().args(["/probe", "exit", "0"]));
    let _ = container.wait();
    let _ = container.call(["kill"]).arg("KILL").outcome().refused("container not running").in_one_line();
    assert_eq!(container.status(), "stopped");
}

/// `kill --all` is obsolete; engines still send it, and it only makes "not running" succeed.
#[test]
fn kill_all_of_a_stopped_container_succeeds() {
    let runtime = Runtime::new();
    let container = runtime.start(&Bundle::new().args(["/probe", "exit", "0"]));
    let _ = container.wait();
    let _ = container.call(["kill", "--all"]).arg("9").outcome().ok();
    let _ = container.call(["kill", "-a"]).arg("9").outcome().ok();
}

/// runtime.md § Kill: "MUST send the specified signal to the container process".
#[test]
fn kill_sends_a_signal_by_name_and_by_number() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&Bundle::new().args(["/probe", "signal-report"]));
    for (typed, seen) in [
        ("HUP", "SIGHUP 1"),
        ("SIGUSR1", "SIGUSR1 10"),
        ("12", "SIGUSR2 12"),
        ("usr1", "SIGUSR1 10"),
        ("WINCH", "SIGWINCH 28"),
    ] {
        container.kill(typed);
        container.wait_for_line(seen);
    }
    let _ = container.call(["kill"]).outcome().ok();
    container.wait_for_line("SIGTERM 15");
    assert_eq!(container.wait(), 0);
}

/// A signal that does not exist is an error that names it, with no effect.
#[test]
fn kill_refuses_an_unknown_signal() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&Bundle::sleeper());
    for signal in ["NOSUCH", "SIGNOSUCH", "-1", "999"] {
        let outcome = container.call(["kill"]).arg(signal).outcome();
        assert!(!outcome.succeeded(), "kill {signal} is accepted: {outcome}");
    }
    assert_eq!(container.status(), "running");
}

/// A created container can be killed; it never ran.
#[test]
fn a_created_container_can_be_killed() {
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::sleeper());
    container.kill("KILL");
    assert_eq!(container.wait(), 128 + 9);
    assert_eq!(container.status(), "stopped");
    assert_eq!(container.stdout(), "");
    container.delete();
}

/// As with runc: what ends a program ends a container that has not started, too, though the first process of a
/// pid namespace hears no signal without a handler.
#[test]
fn what_ends_a_program_ends_a_created_container() {
    let runtime = Runtime::new();
    for signal in ["TERM", "INT", "HUP"] {
        let container = runtime.create(&Bundle::sleeper());
        container.kill(signal);
        let _ = container.wait();
        assert_eq!(container.status(), "stopped", "{signal}");
        container.delete();
    }
    let container = runtime.create(&Bundle::sleeper());
    container.kill("USR1");
    container.kill("0");
    assert_eq!(container.status(), "created");
    container.kill_and_delete();
}

/// Others of a container without a pid namespace of its own outlive its first process: they can be killed, as with
/// runc, and nothing else can be done to them.
#[test]
fn kill_ends_what_outlived_the_first_process() {
    not_on_runc_1_1!("it leaves them");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "2"]).without_namespace("pid");
    let container = runtime.start_ready(&bundle);
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    let processes = || fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(processes().lines().count(), 2, "{:?}", processes());
    let _ = container.call(["kill"]).arg("TERM").outcome().refused("container not running");
    container.kill("KILL");
    eventually("the end of them all", || match processes() {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
    container.delete();
}

/// runtime.md § Delete: "Attempting to delete a container that is not stopped MUST have no
/// effect on the container and MUST generate an error".
#[test]
fn delete_of_a_running_container_is_refused() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&Bundle::sleeper());
    let text = format!("cannot delete container {} that is not stopped: running", container.id());
    let _ = container.call(["delete"]).outcome().refused(&text).in_one_line();
    assert_eq!(container.status(), "running");
}

/// As runc does: what has never run may be deleted.
#[test]
fn delete_of_a_created_container_kills_it() {
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::sleeper());
    container.delete();
    assert_eq!(container.wait(), 128 + 9);
    assert_eq!(runtime.state(container.id()), None);
}

/// cli-contract A.2: `delete --force` of a missing container succeeds, of a running one kills it.
#[test]
fn delete_force_always_succeeds() {
    let runtime = Runtime::new();
    let _ = runtime.call(["delete", "--force", &unique_name()]).outcome().ok();
    let container = runtime.start_ready(&Bundle::sleeper());
    let _ = container.call(["delete", "-f"]).outcome().ok();
    assert_eq!(container.wait(), 128 + 9);
    assert_eq!(runtime.state(container.id()), None);
}

/// runtime.md § Delete: all that `create` made goes: state directory and cgroup.
#[test]
fn delete_removes_the_state_directory_and_the_cgroup() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    assert!(bundle.cgroup().exists(), "no cgroup at {}", bundle.cgroup().display());
    assert!(runtime.root().join(container.id()).exists(), "no state directory");
    container.kill_and_delete();
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
    assert!(!runtime.root().join(container.id()).exists(), "the state directory is still there");
}

/// user-complaints 10: without a pid namespace the container is what its cgroup holds.
#[test]
fn delete_force_ends_every_process_of_a_container_without_pid_namespace() {
    not_on_runc_1_1!("it leaves the cgroup");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "3"]).without_namespace("pid");
    let container = runtime.start_ready(&bundle);
    let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(procs.lines().count(), 4, "processes in the cgroup: {procs:?}");
    let _ = container.call(["delete", "--force"]).outcome().ok();
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
    for pid in procs.lines() {
        assert_eq!(proc::has_ended(pid.parse::<i32>().expect("a pid")), Ok(()), "process {pid}");
    }
}

/// The same in a pid namespace that is another container's, where killing the first one ends no other.
#[test]
fn kill_ends_every_process_of_a_container_in_anothers_pid_namespace() {
    not_on_runc_1_1!("it kills the first one alone");
    let runtime = Runtime::new();
    let first = Bundle::sleeper();
    let owner = runtime.start_ready(&first);
    let joining = serde_json::json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", owner.pid()) });
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "2"]).namespace(joining);
    let container = runtime.start_ready(&bundle);
    let processes = || fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(processes().lines().count(), 3, "{:?}", processes());
    container.kill("KILL");
    integration::eventually("the end of them all", || match processes() {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
    // While it is not reaped, its pid namespace does not end.
    let _ = container.wait();
    assert_eq!(owner.status(), "running");
    let _ = container.call(["delete"]).outcome().ok();
    owner.kill_and_delete();
}

/// user-complaints 10: when the first process has gone, the container is stopped even though
/// others live, and delete takes them along.
#[test]
fn delete_takes_along_what_outlived_the_first_process() {
    not_on_runc_1_1!("it leaves them and the cgroup");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "2"]).without_namespace("pid");
    let container = runtime.start_ready(&bundle);
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    let _ = container.call(["delete", "--force"]).outcome().ok();
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
}

/// go-runc reads the pid file with Atoi and does not trim (cli-contract A.5).
#[test]
fn the_pid_file_holds_the_pid_and_no_newline() {
    let runtime = Runtime::new();
    let file = runtime.dir().join("pid");
    let bundle = Bundle::sleeper();
    let container = runtime.container(&unique_name());
    let create = runtime.call(["create", "--pid-file"]).arg(&file).arg("-b").arg(bundle.path());
    let _ = create.arg(container.id()).outcome().ok();
    let text = fs::read_to_string(&file).expect("the pid file");
    assert_eq!(json!(text.parse::<u32>().ok()), container.state()["pid"], "pid file {text:?}");
    let strays: Vec<_> = fs::read_dir(runtime.dir())
        .expect("the directory")
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().contains("pid") && e.path() != file)
        .collect();
    assert!(strays.is_empty(), "temporary files were left: {strays:?}");
}

/// cli-contract A.1: without `--bundle` it is the working directory.
#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "print", "here"]);
    let outcome = runtime.call(["run", &unique_name()]).dir(bundle.path()).outcome().ok();
    assert_eq!(outcome.stdout, "here\n");
}

/// A bundle named relatively is remembered absolutely.
#[test]
fn a_relative_bundle_is_made_absolute_in_the_state() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.container(&unique_name());
    let parent = bundle.path().parent().expect("a parent");
    let name = bundle.path().file_name().expect("a name");
    let create = runtime.call(["create", "--bundle"]).arg(name).arg(container.id());
    let _ = create.dir(parent).outcome().ok();
    assert_eq!(container.state()["bundle"], json!(bundle.path()));
}

/// cli-contract A.4: containerd reads the log as a stream of JSON objects, podman as one.
#[test]
fn the_json_log_holds_one_record_for_one_failure_and_is_appended_to() {
    let runtime = Runtime::new();
    let log = runtime.dir().join("log.json");
    let call = || {
        let call = runtime.call(["--log"]).arg(&log).args(["--log-format", "json", "state", "no-such"]);
        call.outcome().refused("container does not exist").in_one_line()
    };
    let records = |count: usize| {
        let text = fs::read_to_string(&log).expect("the log");
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("a JSON object")).collect();
        assert_eq!(lines.len(), count, "log: {text:?}");
        lines
    };
    let _ = call();
    for record in records(1) {
        assert_eq!(record["level"], "error");
        assert!(record["msg"].as_str().is_some_and(|m| m.contains("container does not exist")), "{record}");
        assert!(record["time"].as_str().is_some_and(|t| t.contains('T')), "{record}");
    }
    let _ = call();
    let _ = records(2);
}

/// cli-contract A.1: a success leaves no error in the log.
#[test]
fn the_json_log_of_a_success_holds_no_error() {
    let runtime = Runtime::new();
    let log = runtime.dir().join("log.json");
    let bundle = Bundle::new().args(["/probe", "exit", "0"]);
    let run = runtime.call(["--log"]).arg(&log).args(["--log-format", "json", "run", "--bundle"]);
    let _ = run.arg(bundle.path()).arg(unique_name()).outcome().ok();
    let text = fs::read_to_string(&log).unwrap_or_default();
    assert!(!text.contains("error"), "log: {text:?}");
}

/// cli-contract A.1: "Any other value is an error."
#[test]
fn an_unknown_log_format_is_refused() {
    let outcome = Runtime::new().call(["--log-format", "xml", "list"]).outcome().exits(1);
    assert!(outcome.stderr.contains("xml"), "{outcome}");
}

/// The exit code of `run` is that of the program.
#[test]
fn run_exits_as_the_program_does() {
    let runtime = Runtime::new();
    for code in [0, 1, 7, 255] {
        let _ = runtime.run(&Bundle::new().args(["/probe", "exit", &code.to_string()])).exits(code);
    }
}

/// cli-contract A.1: "128+signal when killed".
#[test]
fn run_exits_with_128_and_the_signal_that_killed_the_program() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let (container, running) = runtime.spawn_run(&bundle, |call| call);
    container.wait_for_line("ready");
    container.kill("KILL");
    let _ = running.outcome().exits(128 + 9);
}

/// What the runtime is sent in the foreground goes to the program.
#[test]
fn run_forwards_signals() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "signal-report"]);
    let (container, running) = runtime.spawn_run(&bundle, |call| call);
    container.wait_for_line("ready");
    running.signal(Signal::USR1);
    container.wait_for_line("SIGUSR1 10");
    running.signal(Signal::HUP);
    container.wait_for_line("SIGHUP 1");
    running.signal(Signal::INT);
    container.wait_for_line("SIGINT 2");
    running.signal(Signal::TERM);
    container.wait_for_line("SIGTERM 15");
    let _ = running.outcome().exits(0);
}

/// `run` connects the container to its own standard descriptors.
#[test]
fn run_passes_stdin_stdout_and_stderr() {
    let runtime = Runtime::new();
    let run = |word: [&str; 2], stdin: &str| {
        runtime
            .run_with(
                &Bundle::new().args(["/probe"].into_iter().chain(word.into_iter().filter(|w| !w.is_empty()))),
                |call| call.stdin(stdin),
            )
            .ok()
    };
    assert_eq!(run(["cat", ""], "some\ntext").stdout, "some\ntext");
    assert_eq!(run(["eprint", "oh"], "").stderr, "oh\n");
}

/// `run` without `--keep` leaves nothing; with it, a stopped container.
#[test]
fn run_deletes_the_container_unless_asked_to_keep_it() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "exit", "3"]);
    let (gone, kept) = (unique_name(), unique_name());
    let _ = runtime.call(["run", "-b"]).arg(bundle.path()).arg(&gone).outcome().exits(3);
    assert_eq!(runtime.state(&gone), None);
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
    let kept = runtime.container(&kept);
    let _ = runtime.call(["run", "--keep", "-b"]).arg(bundle.path()).arg(kept.id()).outcome().exits(3);
    assert_eq!(kept.status(), "stopped");
    kept.delete();
}

/// `run --detach` returns 0 with the program running.
#[test]
fn run_detach_returns_while_the_program_runs() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let file = runtime.dir().join("pid");
    let container = runtime.container(&unique_name());
    let run = runtime.call(["run", "-d", "--pid-file"]).arg(&file).arg("-b").arg(bundle.path());
    let _ = run.arg(container.id()).outcome().ok();
    let state = container.state();
    assert_eq!(state["status"], "running");
    assert_eq!(fs::read_to_string(file).expect("the pid file"), state["pid"].to_string());
}

/// containerd restores with `-no-subreaper`, conmon-rs gives `--root` twice: Go's flags allow both.
#[test]
fn go_style_options_and_a_repeated_root_are_understood() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "exit", "5"]);
    let call = runtime.call(["-root"]).arg(runtime.root()).arg(format!("-root={}", runtime.root().display()));
    let run = call.args(["run", "-no-subreaper", "-no-new-keyring", "-bundle"]).arg(bundle.path());
    let _ = run.arg(unique_name()).outcome().exits(5);
}

/// go-runc and docker parse the lines of `--version`.
#[test]
fn the_version_is_reported_in_the_lines_that_engines_parse() {
    let runtime = Runtime::new();
    for flag in ["--version", "-v"] {
        let text = runtime.call([flag]).outcome().ok().stdout;
        assert!(text.starts_with("runc version "), "{text:?}");
        assert!(text.lines().any(|l| l.starts_with("spec: 1.")), "{text:?}");
    }
}

/// podman asks this before it trusts a runtime with checkpoints; engines ask for help as a test.
#[test]
fn help_succeeds_for_the_program_and_for_its_commands() {
    let runtime = Runtime::new();
    for args in [&["--help"][..], &["-h"], &["create", "--help"], &["exec", "-h"], &["kill", "--help"]] {
        let outcome = runtime.call(args).outcome().ok();
        assert!(!outcome.stdout.is_empty(), "{outcome}");
    }
}

/// A usage error is an error.
#[test]
fn what_is_not_understood_is_refused() {
    let runtime = Runtime::new();
    for args in [
        &["create"][..],
        &["create", "--no-such-flag", "x"],
        &["state", "x", "y"],
        &["start"],
        &["kill"],
        &["--no-such-flag", "list"],
    ] {
        let outcome = runtime.call(args).outcome();
        assert!(!outcome.succeeded(), "accepted: {outcome}");
        assert!(!outcome.stderr.is_empty(), "no message: {outcome}");
    }
}

/// The state directory holds what outside readers look for (cli-contract A.6).
#[test]
fn state_json_is_shaped_as_runc_shapes_it() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let text = fs::read_to_string(runtime.root().join(container.id()).join("state.json")).expect("state.json");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(state["id"], container.id());
    assert_eq!(state["init_process_pid"], container.pid());
    assert!(state["init_process_start"].as_u64().is_some_and(|t| t > 0), "{}", state["init_process_start"]);
    assert!(state["created"].is_string(), "{}", state["created"]);
    assert_eq!(state["cgroup_paths"][""], json!(bundle.cgroup()));
    assert_eq!(state["namespace_paths"]["NEWNS"], format!("/proc/{}/ns/mnt", container.pid()));
    assert_eq!(state["config"]["rootfs"], json!(bundle.rootfs()));
    let labels = state["config"]["labels"].as_array().cloned().unwrap_or_default();
    assert!(labels.contains(&json!(format!("bundle={}", bundle.path().display()))), "{labels:?}");
}

/// Without `cgroupsPath` the cgroup is named after the container.
#[test]
fn the_cgroup_is_named_after_the_container_by_default() {
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::sleeper().without("/linux/cgroupsPath"));
    let text = fs::read_to_string(container.proc("cgroup")).expect("its cgroup");
    let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or_default();
    assert!(path.ends_with(&format!("/{}", container.id())), "cgroup {path:?}");
}

/// config-linux.md § Control groups: a relative `cgroupsPath` is up to the runtime, but the
/// same every time.
#[test]
fn a_relative_cgroups_path_names_the_same_cgroup_every_time() {
    let runtime = Runtime::new();
    let path_of = |bundle: &Bundle| {
        let container = runtime.create(bundle);
        let text = fs::read_to_string(container.proc("cgroup")).expect("its cgroup");
        let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or_default().to_owned();
        container.delete();
        path
    };
    let name = unique_name();
    let bundle = Bundle::sleeper().set("/linux/cgroupsPath", json!(name));
    let (first, second) = (path_of(&bundle), path_of(&bundle));
    assert!(first.ends_with(&format!("/{name}")), "cgroup {first:?}");
    assert_eq!(first, second);
}

/// The first caller sees a created container that dies by itself as stopped.
#[test]
fn a_container_whose_process_was_killed_behind_our_back_is_stopped() {
    let runtime = Runtime::new();
    let container = runtime.create(&Bundle::sleeper());
    let pid = rustix::process::Pid::from_raw(container.pid()).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("kill");
    eventually("stopped", || match container.status() {
        status if status == "stopped" => Ok(()),
        status => Err(status),
    });
    let _ = container.call(["start"]).outcome().refused("cannot start a container that has stopped");
    container.delete();
}

/// As with runc: 255 tells that all was made, and then the program could not be executed.
#[test]
fn run_ends_with_255_when_the_program_cannot_be_executed() {
    let runtime = Runtime::new();
    let script = Bundle::new().with_file("/script", "echo text\n").with_mode("/script", 0o755).args(["/script"]);
    let _ = runtime.run(&script).fails(255, "exec format error");
    let mut arm = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    // A machine that nobody has.
    arm.extend([0xff, 0xfe, 1, 0, 0, 0]);
    arm.resize(4096, 0);
    let bundle = Bundle::new().args(["/other"]);
    fs::write(bundle.rootfs().join("other"), arm).expect("a program");
    let bundle = bundle.with_mode("/other", 0o755);
    let _ = runtime.run(&bundle).fails(255, "exec format error");
    let hook = json!({ "path": "/probe", "args": ["probe", "exit", "3"] });
    let _ = runtime
        .run(&Bundle::sleeper().raw_hook("startContainer", hook))
        .fails(255, "error running startContainer hook #0: exit status 3");
    // What is found out before is 1.
    let _ = runtime.run(&Bundle::new().args(["no-such-program"])).refused("executable file not found in $PATH");
}

/// crun's `--regex`: all containers whose ids the expression is found in; what fails with one is a warning.
#[test]
fn an_expression_names_many_containers() {
    not_on_peer!("runc has no such option");
    let runtime = Runtime::new();
    let name = unique_name();
    let ids = ["a1", "a2", "b1"].map(|end| format!("{name}-{end}"));
    let bundles = ids.each_ref().map(|_| Bundle::sleeper());
    for (id, bundle) in ids.iter().zip(&bundles) {
        let _ = runtime.call(["create", "--bundle"]).arg(bundle.path()).arg(id).outcome().ok();
    }
    let listed = || runtime.call(["list", "--quiet"]).outcome().ok().stdout.lines().count();
    let expression = format!("^{name}-a[0-9]$");
    let _ = runtime.call(["kill", "--regex", &expression, "KILL"]).outcome().ok();
    let _ = runtime.call(["start", &ids[2]]).outcome().ok();
    let outcome = runtime.call(["delete", "--regex", &name]).outcome().ok();
    assert!(outcome.stderr.contains(&ids[2]) && outcome.stderr.contains("that is not stopped"), "{outcome}");
    assert_eq!(listed(), 1);
    let _ = runtime.call(["delete", "--regex", "--force", "(a1|b1)$"]).outcome().ok();
    assert_eq!(listed(), 0);
    let _ = runtime.call(["delete", "--regex", "("]).outcome().refused("not a regular expression");
}
