//! Where an ordinary user's container has its cgroup, and how it lives without one.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{DelegatedCgroup, Runtime, cgroup_root, nothing_is_left, options_of, unique_name};
use serde_json::json;

const WARNING: &str = "no cgroup is delegated to user";

/// Where none is delegated and none was asked for: one warning, and everything but freezing works.
#[test]
fn without_delegation_a_container_has_no_cgroup_and_says_so_once() {
    let runtime = Runtime::as_user();
    let outcome = runtime.run(&runtime.bundle()).ok();
    assert_eq!(outcome.stderr.matches(WARNING).count(), 1, "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    let container = runtime.start_ready(&runtime.bundle().args(["/probe", "sleep"]));
    let _ = container.call(["pause"]).outcome().refused("has no cgroup of its own, which freezing needs");
    assert_eq!(container.status(), "running");
    container.kill_and_delete();
}

/// A cgroup that was asked for and cannot be had is an error, with the remedy; nothing is left.
#[test]
fn a_cgroup_that_was_asked_for_and_is_not_delegated_is_an_error() {
    let runtime = Runtime::as_user();
    let path = format!("/{}", unique_name());
    let asked = runtime.bundle().set("/linux/cgroupsPath", json!(path));
    let text = |asked: &str| {
        let only = "permission denied (EACCES); only cgroups that were delegated to this user can be used";
        format!("{only}: have one delegated (systemd: Delegate=yes), or leave out {asked}\n")
    };
    let _ = runtime.run(&asked).refused(&text("linux.cgroupsPath")).refused(&format!("mkdir {path}")).in_one_line();
    let limited = runtime.bundle().set("/linux/resources", json!({ "pids": { "limit": 10 } }));
    // Where there is no such controller at all, that is reported first.
    let controllers = fs::read_to_string(cgroup_root().join("cgroup.controllers")).expect("cgroup.controllers");
    let has_pids = controllers.split_whitespace().any(|name| name == "pids");
    let by_limit = text("linux.resources.pids.limit");
    let _ = runtime.run(&limited).refused(if has_pids { &by_limit } else { "config.json: linux.resources.pids.limit" });
    let id = unique_name();
    let required = runtime.command(runtime.program()).arg("--root").arg(runtime.root()).args(["--rootless", "false"]);
    let bundle = runtime.bundle();
    let _ = required.args(["run", "-b"]).arg(bundle.path()).arg(&id).outcome().refused(&text("--rootless false"));
    nothing_is_left(&runtime);
}

/// Where the caller's own cgroup is delegated, the container's is below it; everything works.
#[test]
fn in_a_delegated_cgroup_a_container_has_one_of_its_own() {
    let cgroup;
    let runtime = Runtime::as_user();
    cgroup = DelegatedCgroup::new(runtime.uid());
    let runtime = runtime.in_cgroup(&cgroup);
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    assert!(!container.stderr().contains(WARNING), "{}", container.stderr());
    assert_eq!(cgroup.children(), [container.id()]);
    let path = fs::read_to_string(container.proc("cgroup")).expect("cgroup");
    let name = cgroup.path().file_name().expect("a name").to_string_lossy().into_owned();
    assert!(path.lines().any(|line| line == format!("0::/{name}/{}", container.id())), "{path}");
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let _ = container.call(["resume"]).outcome().ok();
    let second = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
    let pids = runtime.call(["ps", "-f", "json", container.id()]).outcome().json();
    assert_eq!(pids, json!([container.pid(), second.pid()]));
    drop(second);
    container.kill_and_delete();
    assert_eq!(cgroup.children(), Vec::<String>::new());
}

/// Where the one above is delegated, too, as in a user's session, the container's is beside the
/// caller's: there controllers can be had.
#[test]
fn a_container_lies_beside_its_caller_where_it_may() {
    let (session, scope);
    let runtime = Runtime::as_user();
    session = DelegatedCgroup::new(runtime.uid());
    scope = session.below("scope", runtime.uid());
    let runtime = runtime.in_cgroup(&scope);
    let container = runtime.start_ready(&runtime.bundle().args(["/probe", "sleep"]));
    let mut children = session.children();
    children.sort();
    assert_eq!(children, [container.id(), "scope"]);
    container.kill_and_delete();
    let relative =
        runtime.start_ready(&runtime.bundle().args(["/probe", "sleep"]).set("/linux/cgroupsPath", json!("a/b")));
    assert!(session.path().join("a/b").exists());
    relative.kill_and_delete();
    assert_eq!(session.children(), ["scope"]);
}

/// Another session of the same user may not put processes there; the process runs all the same, in
/// the caller's cgroup, and one warning says so.
#[test]
fn exec_from_another_session_stays_in_the_callers_cgroup() {
    let cgroup;
    let runtime = Runtime::as_user();
    cgroup = DelegatedCgroup::new(runtime.uid());
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let runtime = runtime.in_cgroup(&cgroup);
    let container = runtime.start_ready(&bundle);
    let elsewhere = |words: &[&str]| {
        let call = runtime
            .command_from_anywhere(runtime.program())
            .arg("--log-level=warning")
            .arg("--root")
            .arg(runtime.root())
            .args(words);
        call.arg(container.id()).args(["/probe", "facts"]).outcome()
    };
    let outcome = elsewhere(&["exec"]).ok();
    assert_eq!(outcome.stderr.matches("the process stays in the caller's cgroup").count(), 1, "{outcome}");
    assert_eq!(outcome.json()["uid"], 0);
    // Who insists on a cgroup gets it or an error.
    let refused = elsewhere(&["exec", "--cgroup", "/"]);
    let _ = refused.fails(255, "this user may not put processes there");
}

/// CVE-2023-25809: cgroups that the user owns outside cannot be written inside, neither by a bind of
/// /sys nor by a cgroup mount without a cgroup namespace, whatever its options.
#[test]
fn the_hosts_cgroups_cannot_be_written() {
    let cgroup;
    let runtime = Runtime::as_user();
    cgroup = DelegatedCgroup::new(runtime.uid());
    let runtime = runtime.in_cgroup(&cgroup);
    let name = cgroup.path().file_name().expect("a name").to_string_lossy().into_owned();
    let mount = cgroup.path().parent().expect("a parent").to_string_lossy().into_owned();
    let bind = runtime.bundle().without_mount("/sys/fs/cgroup").without_namespace("cgroup");
    let outside = bind.args(["/probe", "mkdir", &format!("{mount}/{name}/escape")]);
    assert_eq!(runtime.json(&outside), json!({ "error": "EROFS" }), "by a bind of /sys");
    let writable = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    let mounted = outside.mount(writable).args(["/probe", "mkdir", "/sys/fs/cgroup/escape"]);
    assert_eq!(runtime.json(&mounted), json!({ "error": "EROFS" }), "by a mount without a cgroup namespace");
    let facts = runtime.json(&mounted.args(["/probe", "facts"]));
    assert!(options_of(&facts, "/sys/fs/cgroup").iter().any(|option| option == "ro"));
    assert_eq!(cgroup.children(), Vec::<String>::new());
}
