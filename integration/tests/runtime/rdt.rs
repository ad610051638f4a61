//! config-linux.md § IntelRdt, every rule of it, on a stand-in for the kernel's resctrl.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Call, Container, Outcome, Resctrl, Runtime, not_on_peer, skip};
use serde_json::{Value, json};

/// Skips the test on a peer and on a machine without FUSE.
macro_rules! resctrl {
    ($room:literal) => {{
        not_on_peer!("it cannot be pointed at a stand-in for resctrl");
        match Resctrl::mount($room) {
            Some(resctrl) => resctrl,
            None => skip("no /dev/fuse here, which the stand-in for resctrl needs"),
        }
    }};
}

fn sleeper(rdt: Value) -> Bundle {
    Bundle::new().args(["/probe", "sleep"]).set("/linux/intelRdt", rdt)
}

fn on<'a>(resctrl: &'a Resctrl) -> impl Fn(Call) -> Call + use<'a> {
    |call| call.env("CLEAT_RESCTRL", resctrl.path())
}

fn start<'r>(runtime: &'r Runtime, bundle: &Bundle, resctrl: &Resctrl) -> Container<'r> {
    let container = runtime.create_with(bundle, on(resctrl));
    container.start();
    container.wait_for_line("ready");
    container
}

fn refused(runtime: &Runtime, bundle: &Bundle, resctrl: &Resctrl) -> Outcome {
    let outcome = runtime.try_create_with(bundle, on(resctrl)).expect_err("create succeeds");
    assert!(!bundle.cgroup().exists(), "the cgroup was left by {outcome}");
    outcome.exits(1).in_one_line()
}

/// "If closID is not set, runtimes MUST use the container ID … and create the directory", "MUST
/// write the container process ID to the tasks file", "MUST remove the sub-directory when the
/// container is deleted"; without limits nothing is written to `schemata`.
#[test]
fn a_container_has_a_group_of_its_name_as_long_as_it_lives() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({}));
    let container = start(&runtime, &bundle, &resctrl);
    assert_eq!(resctrl.groups(), [container.id()]);
    assert_eq!(resctrl.tasks(container.id()), [container.pid()]);
    assert_eq!(resctrl.written(), []);
    let state = fs::read_to_string(runtime.root().join(container.id()).join("state.json")).expect("state.json");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["intel_rdt_path"], json!(resctrl.path().join(container.id())));
    container.kill_and_delete();
    assert!(resctrl.groups().is_empty(), "left: {:?}", resctrl.groups());
}

/// "MUST write l3CacheSchema first and memBwSchema last", and `schemata` after both; what is said
/// twice holds as it was said last.
#[test]
fn limits_are_written_in_order() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let rdt =
        json!({ "schemata": ["MB:0=30", "L3:1=f"], "memBwSchema": "MB:0=20;1=70", "l3CacheSchema": "L3:0=7f0;1=1f" });
    let bundle = sleeper(rdt);
    let container = start(&runtime, &bundle, &resctrl);
    let written: Vec<String> = resctrl.written().into_iter().map(|(_, text)| text).collect();
    assert_eq!(written, ["L3:0=7f0;1=1f\n", "MB:0=20;1=70\n", "MB:0=30\nL3:1=f\n"]);
    let schemata = fs::read_to_string(resctrl.path().join(container.id()).join("schemata")).expect("schemata");
    assert_eq!(schemata, "    L3:0=7f0;1=f\n    MB:0=  30;1=  70\n");
}

/// "if closID directory … doesn't exist, the runtimes MUST create it"; "if closID is set … MUST
/// NOT remove the sub-directory". A second container finds its limits there as it wants them.
#[test]
fn a_clos_id_is_made_once_and_stays() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let rdt = json!({ "closID": "gold", "l3CacheSchema": "L3:1=01f;0=7f0", "memBwSchema": "MB:0=15" });
    let bundles = [sleeper(rdt.clone()), sleeper(rdt)];
    let first = start(&runtime, &bundles[0], &resctrl);
    let second = start(&runtime, &bundles[1], &resctrl);
    let mut both = [first.pid(), second.pid()];
    both.sort_unstable();
    assert_eq!(resctrl.tasks("gold"), both);
    first.kill_and_delete();
    second.kill_and_delete();
    assert_eq!(resctrl.groups(), ["gold"]);
}

/// "MUST compare l3CacheSchema and/or memBwSchema value with schemata file, and generate an error
/// if doesn't match"; `schemata` is written and not compared.
#[test]
fn a_clos_id_with_other_limits_is_an_error() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    fs::create_dir(resctrl.path().join("gold")).expect("a group");
    for (rdt, found) in [
        (json!({ "closID": "gold", "l3CacheSchema": "L3:0=1" }), "L3:0=7ff instead of \"L3:0=1\""),
        (json!({ "closID": "gold", "memBwSchema": "MB:1=50" }), "MB:1=100 instead of"),
        (json!({ "closID": "gold", "l3CacheSchema": "L3:7=7ff" }), "L3:7=(none) instead of"),
        (json!({ "closID": "/", "memBwSchema": "MB:0=10" }), "exists with other limits: MB:0=100"),
    ] {
        let _ = refused(&runtime, &sleeper(rdt), &resctrl).refused(found);
    }
    assert_eq!(resctrl.written(), []);
    let bundle = sleeper(json!({ "closID": "gold", "l3CacheSchema": "L3:0=7ff", "schemata": ["MB:0=40"] }));
    let _container = start(&runtime, &bundle, &resctrl);
    let written: Vec<String> = resctrl.written().into_iter().map(|(_, text)| text).collect();
    assert_eq!(written, ["L3:0=7ff\n", "MB:0=40\n"]);
}

/// "If closID is set, and none of the limits are set … MUST assign container to this closID and
/// generate an error if directory does not exist".
#[test]
fn a_clos_id_without_limits_must_be_there() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "closID": "gold" }));
    let outcome = refused(&runtime, &bundle, &resctrl);
    let _ = outcome.refused("config.json: linux.intelRdt.closID: ").refused("there is no such group");
    assert!(resctrl.groups().is_empty(), "made: {:?}", resctrl.groups());
    fs::create_dir(resctrl.path().join("gold")).expect("a group");
    let container = start(&runtime, &bundle, &resctrl);
    assert_eq!(resctrl.tasks("gold"), [container.pid()]);
    assert_eq!(resctrl.written(), []);
    container.kill_and_delete();
    assert_eq!(resctrl.groups(), ["gold"]);
}

/// "value `/` means that the container MUST be assigned to the default CLOS".
#[test]
fn a_slash_is_the_default_group() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "closID": "/" }));
    let container = start(&runtime, &bundle, &resctrl);
    assert_eq!(resctrl.tasks(""), [container.pid()]);
    let _ = container.exec(["/probe", "exit", "0"]).ok();
    container.kill_and_delete();
    assert!(resctrl.groups().is_empty(), "{:?}", resctrl.groups());
}

/// A group of the container's name that is there already may be used, and is not the container's
/// to remove: "MUST NOT remove" what "the runtime has not created".
#[test]
fn a_group_that_was_there_stays() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "memBwSchema": "MB:0=50" }));
    let id = integration::unique_name();
    fs::create_dir(resctrl.path().join(&id)).expect("a group");
    let container = runtime.container(&id);
    let call = runtime.call(["run", "--detach", "--bundle"]).arg(bundle.path()).env("CLEAT_RESCTRL", resctrl.path());
    let _ = call.arg(&id).outcome().ok();
    assert_eq!(resctrl.tasks(&id).len(), 1);
    let _ = container.call(["delete", "--force"]).outcome().ok();
    assert_eq!(resctrl.groups(), [id]);
}

/// "MUST create a dedicated MON group", named after the container, for its process; "MUST delete
/// the MON group after the container is deleted".
#[test]
fn monitoring_has_a_group_of_the_containers_name() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    fs::create_dir(resctrl.path().join("gold")).expect("a group");
    for (clos_id, prefix) in [(Some("gold"), "gold/"), (Some("/"), ""), (None, "ID/")] {
        let bundle = sleeper(json!({ "closID": clos_id, "enableMonitoring": true }));
        let container = start(&runtime, &bundle, &resctrl);
        let monitor = format!("{}mon_groups/{}", prefix.replace("ID", container.id()), container.id());
        assert!(resctrl.groups().contains(&monitor), "no {monitor} in {:?}", resctrl.groups());
        assert_eq!(resctrl.tasks(&monitor), [container.pid()], "{monitor}");
        container.kill_and_delete();
        assert_eq!(resctrl.groups(), ["gold"], "{clos_id:?}");
    }
}

/// "If creation of the MON group fails … the runtime MUST return an error", one that is there
/// already is nobody's to share; nothing is left, and nothing of others is gone.
#[test]
fn without_a_monitoring_group_there_is_no_container() {
    let (resctrl, runtime) = (resctrl!(1), Runtime::new());
    fs::create_dir(resctrl.path().join("mon_groups/other")).expect("a group");
    let monitored = |clos_id: Option<&str>| sleeper(json!({ "closID": clos_id, "enableMonitoring": true }));
    let _ = refused(&runtime, &monitored(Some("/")), &resctrl).refused("ENOSPC; resctrl says: Out of RMIDs");
    let _ = refused(&runtime, &monitored(None), &resctrl).refused("Out of RMIDs");
    assert_eq!(resctrl.groups(), ["mon_groups/other"]);
    let bundle = monitored(Some("/"));
    let call = runtime.call(["create", "--bundle"]).arg(bundle.path()).arg("other");
    let _ = on(&resctrl)(call).outcome().refused("mkdir mon_groups/other: EEXIST; it is there already").in_one_line();
    assert_eq!(resctrl.groups(), ["mon_groups/other"]);
}

/// Linux resctrl.rst, on locking: of many that want the same new group one makes it and all find
/// it with its limits.
#[test]
fn many_at_once_share_a_new_group() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let rdt = json!({ "closID": "gold", "l3CacheSchema": "L3:0=f;1=f", "memBwSchema": "MB:0=20;1=20" });
    let bundles: Vec<_> = (0..8).map(|_| sleeper(rdt.clone()).args(["/probe", "exit", "0"])).collect();
    let running: Vec<_> = bundles.iter().map(|bundle| runtime.spawn_run(bundle, on(&resctrl))).collect();
    for (_container, running) in running {
        let _ = running.outcome().ok();
    }
    assert_eq!(resctrl.groups(), ["gold"]);
}

/// A process that joins is in the container's group and monitored with it.
#[test]
fn exec_joins_the_containers_group() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "enableMonitoring": true }));
    let container = start(&runtime, &bundle, &resctrl);
    let process = container.exec_detached(["--cwd", "/"], ["/probe", "sleep"]);
    let mut both = [container.pid(), process.pid()];
    both.sort_unstable();
    // The process that goes on in the pid namespace has its group from the one that was put there:
    // the kernel hands it down at fork, which the stand-in cannot see.
    let in_group = resctrl.tasks(container.id());
    assert_eq!(in_group.len(), 2, "{in_group:?}, of them {both:?}");
    assert!(in_group.contains(&container.pid()), "{in_group:?}");
    assert_eq!(resctrl.tasks(&format!("{0}/mon_groups/{0}", container.id())), in_group);
}

/// Somebody has removed the group: the process runs, and a warning says that it is not in it.
#[test]
fn exec_goes_on_without_a_group_that_was_removed() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({}));
    let container = start(&runtime, &bundle, &resctrl);
    fs::remove_dir(resctrl.path().join(container.id())).expect("the group is removed");
    let outcome = container.exec(["/probe", "exit", "7"]).exits(7);
    assert!(outcome.stderr.contains("somebody has removed the group"), "{outcome}");
    container.kill_and_delete();
}

/// What the kernel refuses is reported with its own words, and nothing is left.
#[test]
fn what_resctrl_refuses_is_reported_and_undone() {
    let (resctrl, runtime) = (resctrl!(1), Runtime::new());
    for (rdt, said) in [
        (json!({ "l3CacheSchema": "L2:0=1" }), "EINVAL; resctrl says: Unknown or unsupported resource name 'L2'"),
        (json!({ "schemata": ["L3:0=1", "L3:0=2"] }), "EINVAL; resctrl says: Duplicate domain 0"),
        (json!({ "closID": "gold", "memBwSchema": "MB:9=10" }), "write \"MB:9=10\" to schemata: EINVAL; resctrl says"),
    ] {
        let _ = refused(&runtime, &sleeper(rdt), &resctrl).refused(said);
        assert!(resctrl.groups().is_empty(), "{said}: left {:?}", resctrl.groups());
    }
    fs::create_dir(resctrl.path().join("taken")).expect("a group");
    let _ = refused(&runtime, &sleeper(json!({})), &resctrl).refused("mkdir: ENOSPC; resctrl says: Out of CLOSIDs");
    assert_eq!(resctrl.groups(), ["taken"]);
}

/// A creation that fails later leaves no group; a group for others stays if somebody is in it by then.
#[test]
fn a_failed_create_leaves_no_group() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let (own, shared) = (json!({ "enableMonitoring": true }), json!({ "closID": "gold", "memBwSchema": "MB:0=20" }));
    for step in ["clone", "affinity", "mounts", "scheduler", "save-state"] {
        for kind in ["fail", "kill"] {
            // The runtime itself must live to undo it.
            if kind == "kill" && step != "mounts" {
                continue;
            }
            for rdt in [&own, &shared] {
                let bundle = sleeper(rdt.clone());
                let fault = |call: Call| on(&resctrl)(call).env("CLEAT_FAULT", format!("{step}:{kind}"));
                let outcome = runtime.try_create_with(&bundle, fault).expect_err("create succeeds");
                assert!(resctrl.groups().is_empty(), "{step}:{kind}: left {:?} by {outcome}", resctrl.groups());
            }
        }
    }
}

/// The runtime itself is killed: what `delete --force` needs to know is on disk by then.
#[test]
fn delete_removes_the_group_of_an_interrupted_create() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "enableMonitoring": true }));
    for step in ["clone", "affinity", "save-state"] {
        let id = integration::unique_name();
        let call = runtime.call(["create", "--bundle"]).arg(bundle.path()).arg(&id);
        let call = on(&resctrl)(call).env("CLEAT_FAULT", format!("{step}:kill"));
        assert_ne!(call.outcome().code(), 0);
        assert_eq!(resctrl.groups().len(), 2, "{step}: {:?}", resctrl.groups());
        let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
        assert!(resctrl.groups().is_empty(), "{step}: left {:?}", resctrl.groups());
    }
}

/// "If no mounted resctrl pseudo-filesystem is available … MUST generate an error".
#[test]
fn without_resctrl_it_is_an_error() {
    if fs::exists("/sys/fs/resctrl/schemata").unwrap_or(false) {
        skip("this machine has resctrl");
    }
    let runtime = Runtime::new();
    let outcome = runtime.try_create(&sleeper(json!({}))).expect_err("create succeeds").exits(1).in_one_line();
    if !integration::is_peer() {
        let _ = outcome.refused("config.json: linux.intelRdt: no resctrl file system is mounted at /sys/fs/resctrl");
    }
}

/// "If intelRdt is not set, the runtime MUST NOT manipulate any resctrl".
#[test]
fn without_intel_rdt_nothing_is_touched() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = Bundle::new().args(["/probe", "exit", "0"]);
    let _ = runtime.run_with(&bundle, on(&resctrl)).ok();
    assert!(resctrl.groups().is_empty() && resctrl.tasks("").is_empty(), "{resctrl:?}");
}

/// `update` with runc's options for it, and what `events` tells then; what is refused changes nothing.
#[test]
fn update_changes_the_group_and_events_tell_it() {
    let (resctrl, runtime) = (resctrl!(4), Runtime::new());
    let bundle = sleeper(json!({ "l3CacheSchema": "L3:0=7f0;1=1f" }));
    let container = start(&runtime, &bundle, &resctrl);
    let update = |options: &[&str]| container.call(["update"].iter().chain(options)).outcome();
    let _ = update(&["--l3-cache-schema", "L3:0=f", "--mem-bw-schema", "MB:1=30"]).ok();
    let usage = || container.call(["events", "--stats"]).outcome().json()["data"]["intel_rdt"].clone();
    let expected = json!({
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f;1=1f",
        "mem_bw_schema_root": "MB:0= 100;1= 100",
        "mem_bw_schema": "MB:0= 100;1=  30",
        "schemata": ["    L3:0=f;1=1f", "    MB:0= 100;1=  30"],
    });
    assert_eq!(usage(), expected);
    let outcome = update(&["--l3-cache-schema", "L3:0=1", "--mem-bw-schema", "MB:9=30"]).exits(1).in_one_line();
    assert!(outcome.stderr.contains("write \"L3:0=1\\nMB:9=30\" to schemata: E"), "{outcome}");
    let _ = update(&["--mem-bw-schema", "L3:0=1"]).refused("--mem-bw-schema \"L3:0=1\": not one line that starts");
    assert_eq!(usage(), expected);
    let other = Bundle::new().args(["/probe", "sleep"]);
    let other = start(&runtime, &other, &resctrl);
    let outcome = other.call(["update", "--l3-cache-schema", "L3:0=1"]).outcome();
    let _ = outcome.refused("has no resctrl group to change: its config.json has no linux.intelRdt").in_one_line();
    assert_eq!(other.call(["events", "--stats"]).outcome().json()["data"]["intel_rdt"], json!({}));
}
