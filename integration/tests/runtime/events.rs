//! `events`: resource usage and OOM kills, as lines of JSON with runc's keys.
//!
//! On a hybrid host only hugetlb is to be had: the rest is for the guest (`make guest`).

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::{Runtime, eventually, is_peer, require_controllers};
use serde_json::{Value, json};

use crate::limits::{limited, number};
use crate::update::updatable;

// --- events -------------------------------------------------------------------------------------------

/// One line of JSON with the keys of runc.
#[test]
fn events_stats_tells_what_is_used() {
    require_controllers(&["memory", "cpu", "pids", "hugetlb"]);
    let runtime = Runtime::new();
    let bundle = updatable().args(["/probe", "eat", "30000000"]);
    let container = runtime.start_ready(&bundle);
    let event = container.call(["events", "--stats"]).outcome().json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id())));
    let data = &event["data"];
    let usage = number(&data["memory"]["usage"]["usage"]);
    assert!((30_000_000..67_108_864).contains(&usage), "memory in use: {usage}");
    assert_eq!(number(&data["memory"]["usage"]["limit"]), 67_108_864);
    assert_eq!((number(&data["pids"]["current"]), number(&data["pids"]["limit"])), (1, 10));
    assert!(number(&data["cpu"]["usage"]["total"]) > 1_000_000, "CPU time: {}", data["cpu"]);
    assert!(data["cpu"]["throttling"].is_object() && data["memory"]["raw"]["anon"].is_u64(), "{data}");
    assert_eq!(data["hugetlb"]["2MB"], json!({ "usage": 0, "failcnt": 0 }));
    assert!(data["blkio"].is_object() && data["network_interfaces"].is_null(), "{data}");
    assert_eq!(number(&data["memory"]["swap"]["limit"]), 67_108_864, "memory and swap together");
    for (group, name) in [("cpu", "psi"), ("memory", "psi"), ("cpuset", "cpus"), ("memory", "cache")] {
        assert!(is_peer() || !data[group][name].is_null(), "{group}.{name}: {data}");
    }
}

/// Again and again until the container ends; what the kernel kills is told at once.
#[test]
fn events_streams_and_tells_of_kills() {
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }));
    let container = runtime.start_ready(&bundle);
    let running = container.call(["events", "--interval", "1s"]).spawn();
    let kinds = |text: &str| -> Vec<String> {
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        events.map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let wait_for = |what: &str, count: usize| {
        eventually(&format!("{count} of {what}"), || {
            let text = running.stdout();
            let found = kinds(&text).iter().filter(|kind| *kind == what).count();
            (found >= count).then_some(()).ok_or(text)
        });
    };
    wait_for("stats", 2);
    let _ = container.exec(["/probe", "eat", "100000000"]).exits(128 + 9);
    wait_for("oom", 1);
    container.kill("KILL");
    let outcome = running.outcome().ok();
    assert_eq!(kinds(&outcome.stdout).iter().filter(|kind| *kind == "oom").count(), 1, "{outcome}");
}

/// Without any controller there is still what every cgroup tells.
#[test]
fn events_work_without_controllers() {
    not_on_peer!("they want controllers");
    let runtime = Runtime::new();
    let bundle = limited(&json!({}));
    let container = runtime.start_ready(&bundle);
    let data = &container.call(["events", "--stats"]).outcome().json()["data"];
    assert!(number(&data["cpu"]["usage"]["total"]) > 0, "{data}");
    assert_eq!(number(&data["pids"]["current"]), 1, "{data}");
    for wrong in ["0s", "5", "1x", "-1s", ""] {
        let call = runtime.call(["events", "--interval", wrong, container.id()]);
        let outcome = call.outcome().exits(1).in_one_line();
        assert!(outcome.stderr.contains("--interval"), "{outcome}");
    }
    container.kill_and_delete();
    let _ = runtime.call(["events", "--stats", container.id()]).outcome().exits(1).in_one_line();
}
