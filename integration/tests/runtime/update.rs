//! `update`: which limits it changes, what it refuses, and what is left as it was then.
//!
//! On a hybrid host only hugetlb is to be had: the rest is for the guest (`make guest`).

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, is_peer, not_on_peer, require_controllers};
use serde_json::json;

use crate::limits::{assert_files, file, is_there, limited, update};

// --- update -------------------------------------------------------------------------------------------

/// The limits that `update` starts from in these tests.
pub(crate) fn updatable() -> Bundle {
    limited(&json!({
        "memory": { "limit": 64 << 20, "swap": 64 << 20, "reservation": 16 << 20 },
        "cpu": { "shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1", "mems": "0" },
        "pids": { "limit": 10 },
    }))
}

/// Every option, each by itself; what is not named stays.
#[test]
fn update_changes_what_each_option_names() {
    require_controllers(&["memory", "cpu", "cpuset", "io", "pids"]);
    let runtime = Runtime::new();
    let bundle = updatable();
    let container = runtime.start_ready(&bundle);
    let weight =
        if is_there(&bundle, "io.bfq.weight") { ("io.bfq.weight", "default 20") } else { ("io.weight", "default 102") };
    let mut now = vec![
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.low", "16777216"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "10"),
    ];
    for (options, changed) in [
        (
            &["--memory", "80m", "--memory-swap", "100m"][..],
            &[("memory.max", "83886080"), ("memory.swap.max", "20971520")][..],
        ),
        (&["--memory-reservation", "20971520"], &[("memory.low", "20971520")]),
        (&["--memory", "70m"], &[("memory.max", "73400320"), ("memory.swap.max", "31457280")]),
        (&["--cpu-quota", "30000"], &[("cpu.max", "30000 100000")]),
        (&["--cpu-period", "50000"], &[("cpu.max", "30000 50000")]),
        (&["--cpu-burst", "7000"], &[("cpu.max.burst", "7000")]),
        (&["--cpu-quota", "-1"], &[("cpu.max", "max 50000")]),
        (&["--cpu-share", "262144"], &[("cpu.weight", "10000")]),
        (&["--cpuset-cpus", "0"], &[("cpuset.cpus", "0")]),
        (&["--cpuset-mems", "0"], &[("cpuset.mems", "0")]),
        (&["--pids-limit", "33"], &[("pids.max", "33")]),
        (&["--pids-limit", "-1"], &[("pids.max", "max")]),
        (&["--blkio-weight", "20"], &[weight]),
        (&["--memory", "-1"], &[("memory.max", "max"), ("memory.swap.max", "max")]),
        (&["--cpu-idle", "1"], &[("cpu.idle", "1"), ("cpu.weight", "0")]),
    ] {
        let _ = container.call(["update"].iter().chain(options)).outcome().ok();
        now.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
        now.extend(changed.iter().copied().filter(|(name, _)| *name != "cpu.weight" || changed.len() == 1));
        assert_files(&bundle, &now, &format!("after {options:?}"));
    }
    if !is_peer() {
        // The kernel forgets the weight of a group that was idle.
        let _ = container.call(["update", "--cpu-idle", "0"]).outcome().ok();
        assert_files(&bundle, &[("cpu.idle", "0"), ("cpu.weight", "10000")], "idle no more");
    }
    assert_eq!(container.status(), "running");
}

/// What engines write: containerd's CRI plugin on standard input, podman in a file.
#[test]
fn update_reads_resources_as_engines_write_them() {
    require_controllers(&["memory", "cpu", "pids"]);
    let runtime = Runtime::new();
    let bundle = updatable();
    let container = runtime.start_ready(&bundle);
    // containerd: all that it knows, with nulls and empty texts, and the devices again.
    let containerd = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 73_400_320, "swap": 73_400_320 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 100_000, "cpus": "", "mems": "" },
        "pids": null,
        "unified": { "memory.oom.group": "1" },
    });
    let _ = update(&container, &containerd).ok();
    let mut now =
        vec![("memory.max", "73400320"), ("memory.oom.group", "1"), ("cpu.max", "20000 100000"), ("pids.max", "10")];
    assert_files(&bundle, &now, "after containerd's");
    let podman = json!({
        "memory": { "limit": 83_886_080, "reservation": 8_388_608 },
        "pids": { "limit": 44 },
        "cpu": {}, "blockIO": {}, "hugepageLimits": [],
    });
    let path = runtime.dir().join("resources.json");
    fs::write(&path, podman.to_string()).expect("a file");
    let call = runtime.call(["update", "--resources"]).arg(&path).arg(container.id());
    let outcome = call.outcome();
    if is_peer() {
        return;
    }
    let _ = outcome.refused("linux.resources.memory.swap: 73400320 is below memory.limit 83886080").in_one_line();
    assert_files(&bundle, &now, "after a refusal");
    let with_swap = podman.to_string().replace("\"reservation\"", "\"swap\":-1,\"reservation\"");
    fs::write(&path, with_swap).expect("a file");
    let _ = runtime.call(["update", "--resources"]).arg(&path).arg(container.id()).outcome().ok();
    now.retain(|(name, _)| !["memory.max", "pids.max"].contains(name));
    now.extend([("memory.max", "83886080"), ("memory.swap.max", "max"), ("memory.low", "8388608"), ("pids.max", "44")]);
    assert_files(&bundle, &now, "after podman's");
    // No update touches the devices.
    assert_eq!(container.exec(["/probe", "open-dev", "/dev/null"]).json(), json!({ "read": "ok", "write": "ok" }));
}

/// Also before the start, and while it is paused.
#[test]
fn update_changes_created_and_paused_containers() {
    require_controllers(&["pids"]);
    let runtime = Runtime::new();
    let bundle = updatable_pids();
    let container = runtime.create(&bundle);
    let _ = container.call(["update", "--pids-limit", "20"]).outcome().ok();
    assert_eq!((file(&bundle, "pids.max").as_str(), container.status().as_str()), ("20", "created"));
    container.start();
    container.wait_for_line("ready");
    let _ = container.call(["pause"]).outcome().ok();
    let _ = container.call(["update", "--pids-limit", "30"]).outcome().ok();
    assert_eq!((file(&bundle, "pids.max").as_str(), container.status().as_str()), ("30", "paused"));
    let _ = container.call(["resume"]).outcome().ok();
    assert_eq!(container.exec(["/probe", "forks", "60"]).json()["error"], "EAGAIN");
    container.kill("KILL");
    let _ = container.wait();
    let _ = container.call(["update", "--pids-limit", "40"]).outcome().refused("container not running");
}

pub(crate) fn updatable_pids() -> Bundle {
    limited(&json!({ "pids": { "limit": 10 } }))
}

/// One of many limits is refused: all old ones are in force, and remembered.
#[test]
fn a_refused_update_changes_nothing() {
    not_on_peer!("they keep what was written before");
    require_controllers(&["memory", "cpu", "cpuset", "pids"]);
    let runtime = Runtime::new();
    let bundle = updatable();
    let container = runtime.start_ready(&bundle);
    let before = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.low", "16777216"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "10"),
    ];
    let wanted = json!({
        "memory": { "limit": 32 << 20, "swap": 48 << 20, "reservation": 8 << 20 },
        "cpu": { "shares": 2048, "quota": 60_000, "period": 50_000, "cpus": "0" },
        "pids": { "limit": 20 },
        "unified": { "memory.high": "none of it" },
    });
    let outcome = update(&container, &wanted).exits(1).in_one_line();
    let text = "linux.resources.unified[\"memory.high\"]: cgroup ";
    assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
    assert!(outcome.stderr.contains("write \"none of it\" to memory.high: EINVAL"), "{outcome}");
    assert_files(&bundle, &before, "after a refused update");
    let _ = container.call(["update", "--cpuset-cpus", "77"]).outcome().refused("write \"77\" to cpuset.cpus: E");
    assert_files(&bundle, &before, "after another one");
    // What was refused is not remembered either.
    let _ = container.call(["update", "--cpu-period", "200000"]).outcome().ok();
    assert_eq!(file(&bundle, "cpu.max"), "50000 200000");
}

/// The same where only huge pages can be limited.
#[test]
fn a_refused_update_of_huge_pages_changes_nothing() {
    not_on_peer!("they keep what was written before");
    require_controllers(&["hugetlb"]);
    let runtime = Runtime::new();
    let limit = |bytes: u64| json!([{ "pageSize": "2MB", "limit": bytes }]);
    let bundle = limited(&json!({ "hugepageLimits": limit(4 << 20) }));
    let container = runtime.start_ready(&bundle);
    let _ = update(&container, &json!({ "hugepageLimits": limit(6 << 20) })).ok();
    assert_files(&bundle, &[("hugetlb.2MB.max", "6291456"), ("hugetlb.2MB.rsvd.max", "6291456")], "updated");
    let wrong = json!({ "hugepageLimits": limit(8 << 20), "unified": { "hugetlb.2MB.max": "much" } });
    let _ = update(&container, &wrong).refused("write \"much\" to hugetlb.2MB.max: EINVAL").in_one_line();
    assert_files(&bundle, &[("hugetlb.2MB.max", "6291456"), ("hugetlb.2MB.rsvd.max", "6291456")], "refused");
}

/// § Memory, checkBeforeUpdate: an update must not kill.
#[test]
fn an_update_below_the_use_is_refused_when_asked_to_check() {
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let memory = json!({ "limit": 96 << 20, "checkBeforeUpdate": true });
    let bundle = limited(&json!({ "memory": memory })).args(["/probe", "eat", "50000000"]);
    let container = runtime.start_ready(&bundle);
    let outcome = container.call(["update", "--memory", "20m"]).outcome().exits(1).in_one_line();
    assert!(is_peer() || outcome.stderr.contains("memory.limit: 20971520 is below the 5"), "{outcome}");
    assert_eq!(file(&bundle, "memory.max"), "100663296");
    assert_eq!(container.status(), "running");
    let _ = container.call(["update", "--memory", "80m"]).outcome().ok();
    assert_eq!(file(&bundle, "memory.max"), "83886080");
}

/// Wrong values name their option or place; nothing is changed.
#[test]
fn update_refuses_what_is_no_limit() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let bundle = limited(&json!({}));
    let container = runtime.start_ready(&bundle);
    for (options, text) in [
        (&["--memory", "1x"][..], "--memory \"1x\": not a number of bytes"),
        (&["--memory-swap", "-2"], "--memory-swap \"-2\": not a number of bytes"),
        (&["--cpu-quota", "-7"], "linux.resources.cpu.quota: -7 is neither -1 (unlimited) nor"),
        (&["--cpu-idle", "2"], "linux.resources.cpu.idle: 2 is neither 0 nor 1"),
        (&["--blkio-weight", "5"], "linux.resources.blockIO.weight: 5 is not between 10 and 1000"),
        (&["--pids-limit", "-3"], "linux.resources.pids.limit: -3 is neither"),
        (&["--l3-cache-schema", "MB:0=1"], "--l3-cache-schema \"MB:0=1\": not one line that starts with \"L3\""),
        (&["--mem-bw-schema", "MB:0=1"], "has no resctrl group to change"),
        (&["--resources", "/no/such/file"], "/no/such/file: no such file or directory"),
    ] {
        let outcome = container.call(["update"].iter().chain(options)).outcome().refused(text).in_one_line();
        assert!(outcome.stdout.is_empty(), "{outcome}");
    }
    for text in
        ["", "nul", "[]", "{\"memory\": 3}", "{\"pids\": {\"limit\": \"x\"}}", "{\"memory\": {\"limit\": 1e99}}"]
    {
        let outcome = container.call(["update", "-r", "-"]).stdin(text).outcome().exits(1).in_one_line();
        assert!(outcome.stderr.contains("standard input"), "{outcome}");
    }
    let _ = runtime.call(["update", "--pids-limit", "3", "no-such-container"]).outcome().exits(1).in_one_line();
}
