//! config-linux.md, "Allowed Device list": eBPF on the container's cgroup.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::{Bundle, Runtime, not_on_peer, probe};
use serde_json::{Value, json};

/// A device that opens without any effect where its driver is there, and is none of the default ones.
const FUSE: (u32, u32) = (10, 229);

fn with_rules(rules: Value) -> Bundle {
    let device = json!([{ "path": "/dev/fuse", "type": "c", "major": FUSE.0, "minor": FUSE.1, "fileMode": 0o666 }]);
    let bundle = Bundle::new().capabilities(&["CAP_MKNOD"]).set("/linux/devices", device);
    bundle.set("/linux/resources/devices", rules).args(["/probe", "open-dev", "/dev/fuse"])
}

fn open(rules: Value) -> Value {
    Runtime::new().json(&with_rules(rules))
}

/// Allowed by the cgroup; whether the driver is there is the host's affair.
fn is_allowed(answer: &Value) -> bool {
    *answer != "EPERM"
}

/// A device that no rule allows cannot be opened, though its node is there.
#[test]
fn a_device_is_denied_by_default() {
    let deny = json!({ "allow": false, "access": "rwm" });
    assert_eq!(open(json!([deny])), json!({ "read": "EPERM", "write": "EPERM" }));
}

/// A container without any rule is a container with the default ones: denied.
#[test]
fn a_device_is_denied_without_rules() {
    assert_eq!(open(json!([])), json!({ "read": "EPERM", "write": "EPERM" }));
}

/// The default devices can be opened whatever the rules.
#[test]
fn the_default_devices_are_allowed() {
    let runtime = Runtime::new();
    for name in ["null", "zero", "full", "random", "urandom", "ptmx"] {
        let bundle = Bundle::new().args(["/probe", "open-dev", &format!("/dev/{name}")]);
        let answer = runtime.json(&bundle);
        assert!(is_allowed(&answer["read"]) && is_allowed(&answer["write"]), "/dev/{name}: {answer}");
    }
}

/// An allowed device can be opened.
#[test]
fn a_device_that_a_rule_allows_can_be_opened() {
    let answer = open(json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": "rw" },
    ]));
    assert!(is_allowed(&answer["read"]) && is_allowed(&answer["write"]), "{answer}");
}

/// A letter that nobody knows is ignored, as by the peers; nothing that confines is lost with it.
#[test]
fn an_unknown_access_is_ignored() {
    let rule = |allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access });
    let deny = json!({ "allow": false, "access": "rwm" });
    for (rules, read, write) in [
        (json!([deny, rule(true, "rx")]), true, false),
        (json!([deny, rule(true, "x")]), false, false),
        (json!([deny, rule(true, "rwm"), rule(false, "wx")]), true, false),
    ] {
        let answer = open(rules.clone());
        assert_eq!((is_allowed(&answer["read"]), is_allowed(&answer["write"])), (read, write), "{rules}: {answer}");
    }
    if !integration::is_peer() {
        // Who denies what nobody knows denies all.
        let answer = open(json!([deny, rule(true, "rwm"), rule(false, "x")]));
        assert!(!is_allowed(&answer["read"]) && !is_allowed(&answer["write"]), "{answer}");
    }
}

/// Reading and writing are granted apart.
#[test]
fn access_is_granted_for_reading_and_writing_apart() {
    for (access, read, write) in [("r", true, false), ("w", false, true), ("m", false, false)] {
        let answer = open(json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access },
        ]));
        assert_eq!((is_allowed(&answer["read"]), is_allowed(&answer["write"])), (read, write), "{access}: {answer}");
    }
}

/// A rule without minor is for all minors, one without type for all types.
#[test]
fn what_a_rule_leaves_out_is_any() {
    for rule in [
        json!({ "allow": true, "type": "c", "major": FUSE.0, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "minor": FUSE.1, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "major": FUSE.0, "minor": -1, "access": "rwm" }),
        json!({ "allow": true, "type": "a", "access": "rwm" }),
        json!({ "allow": true, "access": "rwm" }),
    ] {
        let answer = open(json!([{ "allow": false, "access": "rwm" }, rule]));
        assert!(is_allowed(&answer["read"]) && is_allowed(&answer["write"]), "{rule}: {answer}");
    }
}

/// Rules that are for another device or another type change nothing for this one.
#[test]
fn a_rule_for_another_device_allows_nothing() {
    for rule in [
        json!({ "allow": true, "type": "c", "major": FUSE.0, "minor": FUSE.1 + 1, "access": "rwm" }),
        json!({ "allow": true, "type": "b", "major": FUSE.0, "minor": FUSE.1, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "major": FUSE.0 + 1, "access": "rwm" }),
    ] {
        let answer = open(json!([{ "allow": false, "access": "rwm" }, rule]));
        assert_eq!(answer, json!({ "read": "EPERM", "write": "EPERM" }), "{rule}");
    }
}

/// config-linux.md: "The runtime MUST apply entries in the listed order": the last one counts.
#[test]
fn a_later_rule_overrides_an_earlier_one() {
    let allow = json!({ "allow": true, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": "rwm" });
    let deny = json!({ "allow": false, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": "rwm" });
    let all = json!({ "allow": false, "access": "rwm" });
    assert_eq!(open(json!([all, allow, deny]))["read"], "EPERM");
    assert!(is_allowed(&open(json!([all, allow, deny, allow]))["read"]));
    let answer =
        open(json!([all, allow, { "allow": false, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": "w" }]));
    assert_eq!((is_allowed(&answer["read"]), is_allowed(&answer["write"])), (true, false), "{answer}");
}

/// A process that joins later is under the same rules.
#[test]
fn an_executed_process_is_under_the_same_rules() {
    let runtime = Runtime::new();
    let deny = json!([{ "allow": false, "access": "rwm" }]);
    let bundle = with_rules(deny).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let answer = container.exec(["/probe", "open-dev", "/dev/fuse"]).json();
    assert_eq!(answer, json!({ "read": "EPERM", "write": "EPERM" }));
}

/// A node that the container makes itself opens no door.
#[test]
fn a_node_made_inside_cannot_be_opened() {
    let runtime = Runtime::new();
    let bundle = with_rules(json!([{ "allow": false, "access": "rwm" }])).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let major = FUSE.0.to_string();
    let made = container.exec(["/probe", "mknod", "/dev/shm/own", "c", &major, &FUSE.1.to_string()]).json();
    let opened = container.exec(["/probe", "open-dev", "/dev/shm/own"]).json();
    let is_shut = |answer: &Value| ["EPERM", "EACCES", "ENOENT"].iter().any(|e| answer == e);
    assert!(is_shut(&opened["read"]) && is_shut(&opened["write"]), "made: {made}, opened: {opened}");
}

/// A rule of an unknown type is refused.
#[test]
fn a_rule_for_an_unknown_type_is_refused() {
    let runtime = Runtime::new();
    let outcome = runtime.try_create(&with_rules(json!([{ "allow": true, "type": "z", "access": "rwm" }])));
    let _ = outcome.expect_err("create succeeds").exits(1).in_one_line();
}

/// What a process of the host is answered that opens `/dev/kmsg`, which every host has and no default
/// rule allows; in a cgroup, or where we are.
fn open_on_host(cgroup: Option<&Path>) -> Value {
    let enter = cgroup.map_or_else(String::new, |path| format!("echo $$ >{}/cgroup.procs && ", path.display()));
    let script = format!("{enter}exec \"$0\" open-dev /dev/kmsg");
    let output = Command::new("/bin/sh").args(["-c", &script]).arg(probe()).output().expect("sh");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// runtime.md, "Errors": a creation that fails with the device program on its cgroup, in one that was there
/// before, leaves none. A process that comes later may use what it could before.
#[test]
fn a_cgroup_that_was_there_has_no_device_program_when_a_birth_fails() {
    not_on_peer!("they leave it there");
    let (runtime, free) = (Runtime::new(), open_on_host(None));
    assert!(is_allowed(&free["read"]), "without any program: {free}");
    for fault in ["ready:fail", "save-state:fail"] {
        let bundle = Bundle::new();
        fs::create_dir(bundle.cgroup()).expect("a cgroup");
        let outcome = runtime.try_create_with(&bundle, |call| call.env("CLEAT_FAULT", fault));
        let outcome = outcome.expect_err("create succeeds").exits(1);
        assert_eq!(open_on_host(Some(&bundle.cgroup())), free, "after {outcome}");
    }
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    let _container = runtime.start_ready(&bundle);
    assert_eq!(open_on_host(Some(&bundle.cgroup()))["read"], "EPERM", "beside a container");
}

/// The same where another container's program was there, of which the processes have ended: that is back.
#[test]
fn a_device_program_that_was_there_is_back_when_a_birth_fails() {
    not_on_peer!("they leave theirs");
    let runtime = Runtime::new();
    let kmsg = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    let first = Bundle::new().set("/linux/resources/devices", json!([kmsg])).args(["/probe", "exit", "0"]);
    let second = Bundle::new().set("/linux/cgroupsPath", first.spec()["linux"]["cgroupsPath"].clone());
    let container = runtime.start(&first);
    assert_eq!(container.wait(), 0);
    let before = open_on_host(Some(&first.cgroup()));
    assert!(is_allowed(&before["read"]) && !is_allowed(&before["write"]), "with the first one's rules: {before}");
    let outcome = runtime.try_create_with(&second, |call| call.env("CLEAT_FAULT", "save-state:fail"));
    let outcome = outcome.expect_err("create succeeds").exits(1);
    assert_eq!(open_on_host(Some(&first.cgroup())), before, "after {outcome}");
}

/// A bundle whose `/dev` is the image's own directory.
fn with_dev_of_the_image() -> Bundle {
    let mounts = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"];
    mounts.iter().fold(Bundle::new(), |bundle, mount| bundle.without_mount(mount)).with_dir("/dev")
}

/// What the image has in the place of a device of linux.devices stays, as with runc and crun.
#[test]
fn what_is_in_the_place_of_a_device_stays() {
    let device = json!([{ "path": "/dev/fuse", "type": "c", "major": FUSE.0, "minor": FUSE.1 }]);
    let bundle = with_dev_of_the_image().with_file("/dev/fuse", "a file").set("/linux/devices", device);
    let facts = Runtime::new().json(&bundle.args(["/probe", "stat", "/dev/fuse"]));
    assert_eq!(facts["type"], "file", "{facts}");
}

/// config-linux.md § Default Devices: "the runtime MUST also supply" them. It says so where it cannot.
#[test]
fn a_default_device_that_cannot_be_made_is_an_error() {
    not_on_peer!("runc looks at null alone");
    let runtime = Runtime::new();
    for name in ["null", "zero", "urandom"] {
        let path = format!("/dev/{name}");
        let image = with_dev_of_the_image().with_file(&path, "a file");
        let _ = runtime.run(&image).refused(&format!("devices: mknodat {path}: EEXIST"));
        let bundle = Bundle::new();
        let file = bundle.dir().join("file");
        fs::write(&file, "x").expect("a file");
        let _ = runtime.run(&bundle.bind(&file, &path, &["bind"])).refused(&format!("devices: mknodat {path}: EEXIST"));
    }
    let _ = runtime.run(&Bundle::new().bind("/dev/zero".as_ref(), "/dev/null", &["bind"])).refused("mknodat /dev/null");
    // As some do who fear to run out of entropy.
    let _ = runtime.run(&Bundle::new().bind("/dev/urandom".as_ref(), "/dev/random", &["bind"])).ok();
}

/// Slashes that say nothing.
#[test]
fn a_devices_path_may_end_with_a_slash() {
    let device = json!([{ "path": "/dev//fuse/", "type": "c", "major": FUSE.0, "minor": FUSE.1 }]);
    let bundle = Bundle::new().set("/linux/devices", device).args(["/probe", "stat", "/dev/fuse"]);
    assert_eq!(Runtime::new().json(&bundle)["type"], "char");
}

/// The link `core` leads somewhere or is not there.
#[test]
fn the_link_core_does_not_dangle() {
    not_on_peer!("crun makes it in any case");
    let is_there = Path::new("/proc/kcore").exists();
    let bundle = Bundle::new().args(["/probe", "stat", "/dev/core"]);
    let facts = Runtime::new().json(&bundle);
    assert_eq!(facts["type"] == "link", is_there, "{facts}");
}

/// A host without `/dev`, as in an initramfs: masks are made of a null device of our own.
#[test]
fn masks_on_a_host_without_dev() {
    let runtime = Runtime::new().after("mount -t tmpfs none /dev");
    let bundle = Bundle::new().args(["/probe", "stat", "/proc/keys"]);
    let facts = runtime.json(&bundle);
    assert_eq!(facts["type"], "char", "{facts}");
}

/// `--cgroup-manager disabled`, which Podman says for `--cgroups=disabled`: no cgroup filters devices, so no node
/// works but those that are bound, whatever is made inside. What only a cgroup can hold is refused.
#[test]
fn without_a_cgroup_no_device_works_but_those_asked_for() {
    not_on_peer!("runc has no such option, and crun lets every device be opened then");
    let runtime = Runtime::new().with_option("--cgroup-manager=disabled");
    let bundle = Bundle::new().capabilities(&["CAP_MKNOD"]).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    assert!(!bundle.cgroup().exists(), "{}", bundle.cgroup().display());
    let (major, minor) = (FUSE.0.to_string(), FUSE.1.to_string());
    let made = container.exec(["/probe", "mknod", "/dev/own", "c", &major, &minor]).json();
    let opened = container.exec(["/probe", "open-dev", "/dev/own"]).json();
    assert_eq!(opened, json!({ "read": "EACCES", "write": "EACCES" }), "{made}");
    let null = container.exec(["/probe", "open-dev", "/dev/null"]).json();
    assert!(is_allowed(&null["read"]) && null["read"] != "EACCES", "{null}");
    let _ = container.audit().finds_nothing();
    container.kill_and_delete();
    let limited = bundle.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 0 }]));
    let _ = runtime.run(&limited).fails(1, "--cgroup-manager disabled");
}
