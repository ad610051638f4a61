//! `pause` and `resume`: the cgroup v2 freezer.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, eventually};

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "signal-report"])
}

/// `pause` freezes every process; the status says so.
#[test]
fn a_paused_container_is_frozen_and_says_paused() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let events = fs::read_to_string(bundle.cgroup().join("cgroup.events")).expect("cgroup.events");
    assert!(events.contains("frozen 1"), "{events:?}");
}

/// What was sent meanwhile arrives when it goes on.
#[test]
fn a_resumed_container_goes_on() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    container.kill("USR1");
    assert!(!container.stdout().contains("SIGUSR1"), "it ran while frozen: {:?}", container.stdout());
    let _ = container.call(["resume"]).outcome().ok();
    assert_eq!(container.status(), "running");
    container.wait_for_line("SIGUSR1 10");
}

/// runc's text.
#[test]
fn resume_of_a_container_that_is_not_paused_is_refused() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["resume"]).outcome().refused("container not paused").in_one_line();
}

/// A stopped container cannot be paused.
#[test]
fn pause_of_a_stopped_container_is_refused() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    container.kill("TERM");
    let _ = container.wait();
    let _ = container.call(["pause"]).outcome().refused("container not running").in_one_line();
}

/// runc's rule: a paused container is not deleted without force.
#[test]
fn delete_of_a_paused_container_is_refused() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    let text = format!("cannot delete container {} that is not stopped: paused", container.id());
    let _ = container.call(["delete"]).outcome().refused(&text).in_one_line();
}

/// `delete --force` needs no thaw by hand.
#[test]
fn delete_force_removes_a_paused_container() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    let _ = container.call(["delete", "--force"]).outcome().ok();
    assert_eq!(container.wait(), 128 + 9);
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
}

/// SIGKILL reaches a paused container (cgroup v2 lets a frozen process die).
#[test]
fn kill_reaches_a_paused_container() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    container.kill("KILL");
    eventually("stopped", || match container.status() {
        status if status == "stopped" => Ok(()),
        status => Err(status),
    });
}

/// A created container can be paused and resumed as well, and is created again.
#[test]
fn a_created_container_can_be_paused() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.create(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let _ = container.call(["resume"]).outcome().ok();
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_for_line("ready");
}
