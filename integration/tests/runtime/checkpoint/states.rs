//! What state is a container in before, during and after a checkpoint?

use std::fs;

use integration::criu::{Step, before};
use integration::{Runtime, eventually, json_lines, nothing_is_left};

use super::{checkpoint, dumping, is_frozen, sleeper, stand_in, started};

/// Without an option the container ends: its state, its cgroup, and its poststop hooks have run.
#[test]
fn a_checkpointed_container_is_destroyed() {
    let criu = dumping(false);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let hooks = bundle.dir().join("hooks");
    let bundle = bundle.hook("poststop", &hooks, "poststop", 0);
    let container = started(&runtime, &bundle);
    let _ = checkpoint(&container, &criu, &[]).outcome().ok();
    assert_eq!(criu.opts("DUMP")["leave_running"], false);
    assert_eq!(container.wait(), 128 + 9);
    let _ = container.call(["state"]).outcome().refused("does not exist");
    nothing_is_left(&runtime);
    assert!(!bundle.cgroup().exists(), "its cgroup is still there");
    let run = json_lines(&fs::read_to_string(&hooks).unwrap_or_default());
    assert_eq!(run.iter().map(|line| line["tag"].as_str()).collect::<Vec<_>>(), [Some("poststop")]);
    assert!(criu.images().join("descriptors.json").exists());
}

/// With `--leave-running` it goes on, and nothing shows that it was dumped.
#[test]
fn a_container_that_is_left_running_runs() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let files = || {
        let entries = fs::read_dir(runtime.root().join(container.id())).expect("its directory").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    assert_eq!(container.status(), "running");
    assert!(!is_frozen(&bundle));
    assert_eq!(files(), before);
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
}

/// containerd and CRI-O pause first: it stays so.
#[test]
fn a_paused_container_is_dumped_and_stays_paused() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = container.call(["pause"]).outcome().ok();
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let failing = stand_in().at("DUMP", vec![Step::Freeze, Step::failure(5, "no")]);
    let runtime = Runtime::new().with_criu(&failing);
    let twin = integration::Bundle::twin_of(&bundle);
    let container = started(&runtime, &twin);
    let _ = container.call(["pause"]).outcome().ok();
    let _ = checkpoint(&container, &failing, &["--leave-running"]).outcome().refused("criu failed");
    assert_eq!(container.status(), "paused");
}

/// runc's texts.
#[test]
fn only_what_runs_can_be_checkpointed() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = runtime.create(&bundle);
    let _ = checkpoint(&container, &criu, &[])
        .outcome()
        .refused("Container cannot be checkpointed in created state")
        .in_one_line();
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_for_line("ready");
    container.kill("TERM");
    let _ = container.wait();
    let _ = checkpoint(&container, &criu, &[])
        .outcome()
        .refused("Container cannot be checkpointed in stopped state")
        .in_one_line();
    let missing = runtime.container("missing");
    let _ = checkpoint(&missing, &criu, &[]).outcome().refused("does not exist").in_one_line();
    assert!(criu.record().is_empty(), "CRIU is not executed: {:?}", criu.record());
}

/// `state` says so while CRIU is at work, and no longer.
#[test]
fn the_status_is_checkpointing_meanwhile() {
    let (reached, go) = ("reached", "go");
    let criu = stand_in();
    let (reached, go) = (criu.dir().join(reached), criu.dir().join(go));
    let wait = [Step::Create(reached.clone()), Step::WaitFor(go.clone())];
    let criu = criu.at("DUMP", before("post-dump", Step::dump(true), &wait));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let running = checkpoint(&container, &criu, &["--leave-running"]).spawn();
    criu.wait_for(&reached);
    assert_eq!(container.status(), "checkpointing");
    let listed = runtime.call(["list", "--format", "json"]).outcome().json();
    assert_eq!(listed[0]["status"], "checkpointing", "{listed:#}");
    // Who thaws it would have other processes saved than those that run on.
    for command in ["pause", "resume"] {
        let _ = container.call([command]).outcome().refused("is being checkpointed");
    }
    fs::write(go, "").expect("a file");
    let _ = running.outcome().ok();
    assert_eq!(container.status(), "running");
}

/// A second one meanwhile is told so, or waits: it harms nobody.
#[test]
fn two_checkpoints_at_once_do_not_meet() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let one = checkpoint(&container, &criu, &["--leave-running"]).spawn();
    let two = checkpoint(&container, &criu, &["--leave-running"]).spawn();
    let codes = [one.outcome().code(), two.outcome().code()];
    assert!(codes.contains(&0), "{codes:?}");
    eventually("running", || match container.status() {
        status if status == "running" => Ok(()),
        status => Err(status),
    });
    assert!(!is_frozen(&bundle));
}
