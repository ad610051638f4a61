//! config-linux.md, "Namespaces", "User namespace mappings", "Offset for Time Namespace".

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use integration::{Bundle, Container, Runtime, not_on_peer, not_on_runc_1_1};
use serde_json::{Value, json};

const ALL: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("mount", "mnt"), ("cgroup", "cgroup")];

fn facts(bundle: &Bundle) -> Value {
    Runtime::new().json(bundle)
}

/// `net:[4026531833]` of this process.
fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string()
}

/// The same of a container's first process.
fn of(container: &Container<'_>, name: &str) -> String {
    fs::read_link(container.proc(&format!("ns/{name}"))).expect("a namespace").display().to_string()
}

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// The root file system of a mapped container belongs to its root.
fn mapped(bundle: Bundle) -> Bundle {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle.mapped()
}

/// config-linux.md § Namespaces: "If path is not specified, the runtime MUST create a new
/// container namespace of type type."
#[test]
fn namespaces_without_path_are_new() {
    let facts = facts(&Bundle::new());
    for (_, name) in ALL {
        assert_ne!(facts["namespaces"][name], own(name), "{name}");
    }
}

/// config-linux.md § Namespaces: "If a namespace type is not specified … the container MUST
/// inherit the runtime namespace of that type."
#[test]
fn namespaces_that_are_not_listed_are_inherited() {
    let bundle = Bundle::new();
    let facts_of_default = facts(&bundle);
    for name in ["user", "time"] {
        assert_eq!(facts_of_default["namespaces"][name], own(name), "{name}");
    }
    let bundle = Bundle::new()
        .without_namespace("pid")
        .without_namespace("ipc")
        .without_namespace("uts")
        .without_namespace("cgroup")
        .without("/hostname");
    let facts = facts(&bundle);
    for name in ["pid", "ipc", "uts", "cgroup"] {
        assert_eq!(facts["namespaces"][name], own(name), "{name}");
    }
}

/// The host's network, with the host's interfaces.
#[test]
fn the_hosts_network_can_be_inherited() {
    let facts = facts(&Bundle::new().without_namespace("network"));
    assert_eq!(facts["namespaces"]["net"], own("net"));
}

/// A namespace of the host's by path is refused only for what would change the host by that one. A pod of the
/// host's ipc or network namespace has a name of its own.
#[test]
fn a_hosts_namespace_by_path_goes_with_settings_of_others() {
    let joining = |kind: &str, file: &str| {
        Bundle::new().namespace(json!({ "type": kind, "path": format!("/proc/self/ns/{file}") }))
    };
    for (kind, file, key, value) in [
        ("ipc", "ipc", "net.ipv4.ip_forward", "1"),
        ("network", "net", "kernel.shm_rmid_forced", "1"),
        ("cgroup", "cgroup", "net.ipv4.ip_forward", "1"),
    ] {
        let bundle = joining(kind, file).set("/linux/sysctl", json!({ key: value }));
        let facts = facts(&bundle);
        assert_eq!(facts["namespaces"][file], own(file), "{kind}");
        assert_eq!(facts["hostname"], "cleat", "{kind}");
    }
    for (kind, file, key, runs_on_peers) in [
        ("network", "net", "net.ipv4.ip_forward", false),
        ("ipc", "ipc", "kernel.shm_rmid_forced", true),
        ("ipc", "ipc", "fs.mqueue.msg_max", true),
        ("uts", "uts", "kernel.domainname", true),
    ] {
        if runs_on_peers && integration::is_peer() {
            continue;
        }
        let bundle = joining(kind, file).without("/hostname").set("/linux/sysctl", json!({ key: "1" }));
        let words = format!("sysctl {key:?} not allowed in host {kind} namespace");
        let outcome = Runtime::new().run(&bundle).exits(1);
        assert!(outcome.stderr.contains(&words), "expected {words:?}: {outcome}");
    }
    if !integration::is_peer() {
        let outcome = Runtime::new().run(&joining("uts", "uts")).exits(1);
        assert!(outcome.stderr.contains("hostname not allowed in host uts namespace"), "{outcome}");
    }
}

/// Without a pid namespace the program has the pid that the host gives it.
#[test]
fn without_a_pid_namespace_the_program_has_the_hosts_pid() {
    let runtime = Runtime::new();
    let container = runtime.start(&Bundle::new().without_namespace("pid"));
    assert_eq!(container.json()["pid"], container.pid());
}

/// config-linux.md § Namespaces, path: "the runtime MUST place the container process in the
/// namespace associated with that path".
#[test]
fn namespaces_with_a_path_are_joined() {
    let runtime = Runtime::new();
    let first = runtime.start_ready(&sleeper());
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")] {
        let bundle = Bundle::new().namespace(json!({ "type": kind, "path": first.proc(&format!("ns/{name}")) }));
        let bundle = if kind == "uts" { bundle.without("/hostname") } else { bundle };
        let facts = runtime.json(&bundle);
        assert_eq!(facts["namespaces"][name], of(&first, name), "{name}");
        for (_, other) in ALL.iter().filter(|(_, other)| *other != name) {
            assert_ne!(facts["namespaces"][*other], of(&first, other), "{other} while joining {name}");
        }
    }
}

/// A pod: several namespaces of another container at once.
#[test]
fn several_namespaces_can_be_joined_at_once() {
    let runtime = Runtime::new();
    let first = runtime.start_ready(&sleeper());
    let path = |name: &str| first.proc(&format!("ns/{name}"));
    let bundle = Bundle::new()
        .namespace(json!({ "type": "network", "path": path("net") }))
        .namespace(json!({ "type": "ipc", "path": path("ipc") }))
        .namespace(json!({ "type": "uts", "path": path("uts") }))
        .namespace(json!({ "type": "pid", "path": path("pid") }))
        .without("/hostname");
    let facts = runtime.json(&bundle);
    for name in ["net", "ipc", "uts", "pid"] {
        assert_eq!(facts["namespaces"][name], of(&first, name), "{name}");
    }
    assert_eq!(facts["hostname"], "cleat");
    assert!(
        facts["pids"].as_array().is_some_and(|pids| pids.contains(&json!(1)) && pids.len() >= 2),
        "{}",
        facts["pids"]
    );
}

/// A user namespace is joined with what belongs to it.
#[test]
fn a_user_namespace_can_be_joined() {
    not_on_runc_1_1!("it wants mappings all the same");
    let runtime = Runtime::new();
    let first = runtime.start_ready(&mapped(sleeper()));
    let bundle = mapped(Bundle::new())
        .without("/linux/uidMappings")
        .without("/linux/gidMappings")
        .namespace(json!({ "type": "user", "path": first.proc("ns/user") }))
        .namespace(json!({ "type": "network", "path": first.proc("ns/net") }));
    let facts = runtime.json(&bundle);
    for name in ["user", "net"] {
        assert_eq!(facts["namespaces"][name], of(&first, name), "{name}");
    }
    assert_eq!(facts["uid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(facts["uid"], 0);
}

/// Namespaces of the host's, or of other containers, go with a new user namespace, from inside of
/// which nobody could enter them.
#[test]
fn namespaces_can_be_joined_with_a_new_user_namespace() {
    not_on_runc_1_1!("it mounts no sysfs then");
    let runtime = Runtime::new();
    let first = runtime.start_ready(&sleeper());
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")] {
        let bundle =
            mapped(Bundle::new()).namespace(json!({ "type": kind, "path": first.proc(&format!("ns/{name}")) }));
        let bundle = bundle.edit(|spec| {
            // What shows a namespace that belongs to another user namespace cannot be mounted.
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            match kind {
                "ipc" => mounts.retain(|mount| mount["type"] != "mqueue"),
                "pid" => {
                    mounts[0] =
                        json!({ "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"] });
                }
                _ => {}
            }
        });
        let bundle = if kind == "uts" { bundle.without("/hostname") } else { bundle };
        let container = runtime.start_ready(&bundle.args(["/probe", "sleep"]));
        assert_eq!(of(&container, name), of(&first, name), "{name}");
        for (_, other) in ALL.iter().filter(|(_, other)| *other != name) {
            assert_ne!(of(&container, other), of(&first, other), "{other} while joining {name}");
        }
        assert_ne!(of(&container, "user"), own("user"));
        container.kill_and_delete();
    }
}

/// A mount namespace that is joined belongs to others: the root is found in it, and nothing of it is
/// changed.
#[test]
fn a_mount_namespace_can_be_joined() {
    not_on_peer!("runc pivots in it, which takes the root away from those who live there");
    let runtime = Runtime::new();
    let mut holder = Command::new("unshare")
        .args(["--mount", "sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare(1)");
    let mut ready = [0; 6];
    holder.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
    let path = format!("/proc/{}/ns/mnt", holder.id());
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", holder.id())).expect("mountinfo");
    let before = mounts();
    let bundle = Bundle::new()
        .namespace(json!({ "type": "mount", "path": path }))
        .set("/mounts", json!([]))
        .set("/root/readonly", json!(false))
        .set("/process/args", json!(["/probe", "print", "in"]))
        .without("/linux/maskedPaths")
        .without("/linux/readonlyPaths");
    let outcome = runtime.run(&bundle).ok();
    assert_eq!(outcome.stdout, "in\n");
    assert_eq!(mounts(), before, "its mounts are as before");
    let with_mounts = bundle.set("/mounts", json!([{ "destination": "/proc", "type": "proc" }]));
    let refused = runtime.run(&with_mounts);
    assert!(refused.stderr.contains("mounts: needs a new mount namespace"), "{}", refused.stderr);
    drop(holder.stdin.take());
    holder.wait().expect("wait");
}

/// config-linux.md § Namespaces: "MUST generate an error if path is not associated with a
/// namespace of type type."
#[test]
fn a_path_that_is_no_such_namespace_is_refused() {
    let runtime = Runtime::new();
    for path in ["/proc/self/ns/ipc", "/etc/passwd", "/no/such/path", "relative"] {
        let bundle = Bundle::new().namespace(json!({ "type": "network", "path": path }));
        let outcome = runtime.try_create(&bundle).err().unwrap_or_else(|| panic!("create succeeds with {path}"));
        let _ = outcome.exits(1).in_one_line();
        assert!(!bundle.cgroup().exists(), "{path}: the cgroup was left");
    }
}

/// config-linux.md § Namespaces: "If … duplicated namespaces with same type, the runtime MUST
/// generate an error."
#[test]
fn a_namespace_listed_twice_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().edit(|spec| {
        let list = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.push(json!({ "type": "ipc" }));
    });
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds");
    let _ = outcome.refused("ipc").in_one_line();
}

/// A type that does not exist is refused by name.
#[test]
fn an_unknown_namespace_is_refused() {
    let runtime = Runtime::new();
    let outcome =
        runtime.try_create(&Bundle::new().namespace(json!({ "type": "weather" }))).expect_err("create succeeds");
    let _ = outcome.refused("weather").in_one_line();
}

/// Users rely on it, though no specification says so: `lo` is up in a new network namespace.
#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let links = &facts(&Bundle::new())["links"];
    assert_eq!(links["lo"]["up"], true, "{links}");
    assert_eq!(links.as_object().map(serde_json::Map::len), Some(1), "{links}");
}

/// In its cgroup namespace the container is at the top.
#[test]
fn a_cgroup_namespace_begins_at_the_containers_cgroup() {
    let facts = facts(&Bundle::new());
    let cgroup = facts["cgroup"].as_str().unwrap_or_default();
    assert!(cgroup.lines().any(|l| l == "0::/"), "{cgroup:?}");
    let names = facts["cgroup_root"].as_array().expect("names");
    assert!(names.contains(&json!("cgroup.events")), "not the container's own cgroup: {names:?}");
}

/// Without one it sees its path from the host's root.
#[test]
fn without_a_cgroup_namespace_the_path_is_the_hosts() {
    let bundle = Bundle::new().without_namespace("cgroup");
    let name = bundle.cgroup().file_name().expect("a name").to_string_lossy().into_owned();
    let facts = facts(&bundle);
    let cgroup = facts["cgroup"].as_str().unwrap_or_default();
    assert!(cgroup.contains(&name), "{cgroup:?}");
}

/// config-linux.md § User namespace mappings.
#[test]
fn a_user_namespace_maps_the_ids() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&mapped(sleeper()));
    let status = fs::read_to_string(container.proc("status")).expect("status");
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    assert!(status.contains("Gid:\t100000\t100000\t100000\t100000"), "{status}");
    let map = fs::read_to_string(container.proc("uid_map")).expect("uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
}

/// Inside it is root all the same, with the capabilities that were given.
#[test]
fn in_a_user_namespace_the_program_is_root() {
    let facts = facts(&mapped(Bundle::new().capabilities(&["CAP_CHOWN", "CAP_SYS_ADMIN"])));
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(0), &json!(0)));
    assert_eq!(facts["uid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(facts["gid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(facts["setgroups"], "allow");
    assert_eq!(facts["capabilities"]["effective"], json!(["CAP_CHOWN", "CAP_SYS_ADMIN"]));
}

/// Another user, with groups, in a user namespace.
#[test]
fn in_a_user_namespace_the_program_may_be_another_user() {
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6] });
    let bundle = mapped(Bundle::new()).set("/process/user", user);
    let facts = facts(&bundle);
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(1000), &json!(1001)));
    assert_eq!(facts["groups"], json!([5, 6]));
}

/// Several ranges, in the order given.
#[test]
fn a_user_namespace_may_have_several_ranges() {
    let maps = json!([
        { "containerID": 0, "hostID": 100_000, "size": 1000 },
        { "containerID": 1000, "hostID": 300_000, "size": 1 },
        { "containerID": 1001, "hostID": 101_001, "size": 64_000 },
    ]);
    let bundle = mapped(Bundle::new()).set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    assert_eq!(facts(&bundle)["uid_map"], json!([[0, 100_000, 1000], [1000, 300_000, 1], [1001, 101_001, 64_000]]));
}

/// A user namespace without mappings could run nothing.
#[test]
fn a_user_namespace_without_mappings_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().namespace(json!({ "type": "user" }));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
}

/// Mappings without a new user namespace would mean nothing.
#[test]
fn mappings_without_a_user_namespace_are_refused() {
    not_on_peer!("runc and crun ignore them");
    let runtime = Runtime::new();
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    let bundle = Bundle::new().set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("Mappings").in_one_line();
}

/// Ranges that overlap are the kernel's EINVAL, reported with the place.
#[test]
fn overlapping_mappings_are_refused() {
    not_on_runc_1_1!("it leaves the cgroup");
    let maps = json!([
        { "containerID": 0, "hostID": 100_000, "size": 10 },
        { "containerID": 5, "hostID": 200_000, "size": 10 },
    ]);
    let runtime = Runtime::new();
    let bundle = mapped(Bundle::new()).set("/linux/uidMappings", maps);
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
}

/// A user that the namespace does not map cannot be had.
#[test]
fn a_user_outside_the_mapping_is_refused() {
    let runtime = Runtime::new();
    let bundle = mapped(Bundle::new()).set("/process/user", json!({ "uid": 70_000, "gid": 0 }));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
}

/// config-linux.md § Offset for Time Namespace.
#[test]
fn a_time_namespace_shifts_the_clocks() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let offsets =
        json!({ "monotonic": { "secs": 172_800, "nanosecs": 0 }, "boottime": { "secs": 604_800, "nanosecs": 0 } });
    let bundle = Bundle::new().namespace(json!({ "type": "time" })).set("/linux/timeOffsets", offsets);
    let host = facts(&Bundle::new());
    let facts = facts(&bundle);
    assert_ne!(facts["namespaces"]["time"], own("time"));
    let offsets: Vec<_> = facts["timens_offsets"].as_str().unwrap_or_default().split_whitespace().collect();
    assert_eq!(offsets, ["monotonic", "172800", "0", "boottime", "604800", "0"]);
    for (clock, shift) in [("monotonic", 172_800), ("boottime", 604_800)] {
        let now = |facts: &Value| facts["clocks"][clock].as_i64().expect("seconds");
        let shifted = now(&facts) - now(&host);
        assert!((shift..shift + 30).contains(&shifted), "{clock} is shifted by {shifted} s");
    }
}

/// Without offsets it is a namespace all the same.
#[test]
fn a_time_namespace_needs_no_offsets() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let facts = facts(&Bundle::new().namespace(json!({ "type": "time" })));
    assert_ne!(facts["namespaces"]["time"], own("time"));
}

/// Together with a user namespace.
#[test]
fn a_time_namespace_can_go_with_a_user_namespace() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let offsets = json!({ "boottime": { "secs": 1000, "nanosecs": 5 } });
    let bundle = mapped(Bundle::new()).namespace(json!({ "type": "time" })).set("/linux/timeOffsets", offsets);
    let facts = facts(&bundle);
    let offsets = facts["timens_offsets"].as_str().unwrap_or_default();
    assert!(offsets.contains("1000") && offsets.contains('5'), "{offsets:?}");
}

/// A time namespace can be joined.
#[test]
fn a_time_namespace_can_be_joined() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let runtime = Runtime::new();
    let first = runtime.start_ready(&sleeper().namespace(json!({ "type": "time" })));
    let facts = runtime.json(&Bundle::new().namespace(json!({ "type": "time", "path": first.proc("ns/time") })));
    assert_eq!(facts["namespaces"]["time"], of(&first, "time"));
}

/// Offsets without a time namespace would be the host's.
#[test]
fn time_offsets_without_time_namespace_are_refused() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/timeOffsets", json!({ "boottime": { "secs": 1, "nanosecs": 0 } }));
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds");
    let _ = outcome.refused("time").in_one_line();
}
