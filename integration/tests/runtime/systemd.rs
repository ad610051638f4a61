//! Containers as transient scopes of systemd, in a guest that has it as its init (`make guest`).
//!
//! Elsewhere these tests are skipped: they make systemd read its units again, which is not for a
//! host that does other work.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use integration::{
    Bundle, Container, Lingering, Runtime, cgroup_root, eventually, nothing_is_left, require_systemd, tries,
    unique_name,
};
use serde_json::{Value, json};

fn runtime() -> Runtime {
    Runtime::new().with_option("--systemd-cgroup")
}

/// A container that waits, in a scope of its own name.
fn bundle() -> (Bundle, String) {
    let name = unique_name();
    let path = format!("cleat-test.slice:probe:{name}");
    let bundle = Bundle::new().args(["/probe", "sleep"]).set("/linux/cgroupsPath", json!(path));
    (bundle, format!("probe-{name}.scope"))
}

fn cgroup(unit: &str) -> PathBuf {
    cgroup_root().join("cleat.slice/cleat-test.slice").join(unit)
}

fn file(unit: &str, name: &str) -> String {
    let path = cgroup(unit).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

/// `systemctl ARGS…`: stdout.
fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().expect("systemctl");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "systemctl {args:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One property as systemd shows it.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "--property", name, unit]).trim_end().to_owned()
}

fn assert_properties(unit: &str, expected: &[(&str, &str)], when: &str) {
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    let shown = systemctl(&["show", "--property", &names.join(","), unit]);
    for (name, text) in expected {
        let line = format!("{name}={text}");
        assert!(shown.lines().any(|shown| shown == line), "{line} {when}, not in {shown}");
    }
}

fn is_gone(unit: &str) {
    eventually(&format!("{unit} to be gone"), || {
        let (state, there) = (property(unit, "LoadState"), cgroup(unit).exists());
        if state == "not-found" && !there { Ok(()) } else { Err(format!("{state}, cgroup there: {there}")) }
    });
}

fn own_cgroup(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup of version 2").to_owned()
}

/// Nothing but the container may change while systemd reads its units.
static RELOAD: Mutex<()> = Mutex::new(());

fn reload() {
    let _one_at_a_time = RELOAD.lock().unwrap_or_else(PoisonError::into_inner);
    systemctl(&["daemon-reload"]);
}

fn update(container: &Container<'_>, resources: &Value) -> integration::Outcome {
    container.call(["update", "--resources", "-"]).stdin(resources.to_string()).outcome()
}

// --- the scope ----------------------------------------------------------------------------------

/// From create to delete: a delegated scope in its slice, and nothing of it afterwards.
#[test]
fn a_container_is_a_scope_of_its_slice() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let container = runtime.create(&bundle);
    let path = format!("/cleat.slice/cleat-test.slice/{unit}");
    assert_eq!(own_cgroup(container.pid()), path, "a created one");
    let description = format!("cleat container {}", container.id());
    let expected = [
        ("ActiveState", "active"),
        ("Slice", "cleat-test.slice"),
        ("ControlGroup", &path),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("CollectMode", "inactive-or-failed"),
        ("Description", &description),
    ];
    assert_properties(&unit, &expected, "of the scope");
    container.start();
    container.wait_for_line("ready");
    // The program sees the cgroup as the root of its namespace: it was there before that was made.
    assert_eq!(container.exec(["/probe", "facts"]).json()["cgroup"], "0::/");
    container.kill_and_delete();
    is_gone(&unit);
    nothing_is_left(&runtime);
}

/// Without a path: system.slice, and the container's id.
#[test]
fn a_container_without_a_path_has_its_id() {
    require_systemd();
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "sleep"]).without("/linux/cgroupsPath");
    let container = runtime.create(&bundle);
    assert_eq!(own_cgroup(container.pid()), format!("/system.slice/cleat-{}.scope", container.id()));
    container.delete();
}

/// What later commands do by the cgroup they do to the scope; processes that join are in it.
#[test]
fn every_command_finds_the_scope() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let container = runtime.start_ready(&bundle);
    let second = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
    assert_eq!(own_cgroup(second.pid()), own_cgroup(container.pid()));
    let pids = runtime.call(["ps", "-f", "json", container.id()]).outcome().json();
    assert_eq!(pids, json!([container.pid(), second.pid()]));
    let _ = container.audit().finds_nothing();
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!((container.status().as_str(), file(&unit, "cgroup.freeze").as_str()), ("paused", "1"));
    let _ = container.call(["resume"]).outcome().ok();
    assert_eq!(container.status(), "running");
    let stats = container.call(["events", "--stats"]).outcome().json();
    assert_eq!(stats["data"]["pids"]["current"], 2, "{stats}");
    drop(second);
    let _ = container.call(["delete", "--force"]).outcome().ok();
    is_gone(&unit);
}

/// A program that ends takes its scope along; the container is stopped, and can be deleted.
#[test]
fn a_program_that_ends_takes_its_scope_along() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let container = runtime.start(&bundle.args(["/probe", "exit", "3"]));
    assert_eq!(container.wait(), 3);
    is_gone(&unit);
    assert_eq!(container.status(), "stopped");
    container.delete();
    let _ = runtime.run(&Bundle::new().args(["/probe", "exit", "4"]).without("/linux/cgroupsPath")).exits(4);
    nothing_is_left(&runtime);
}

/// A scope goes with its last process: its name may be another container's by the time that the
/// first one is deleted, which leaves the other alone.
#[test]
fn a_stopped_container_does_not_touch_who_has_its_name_now() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let first = runtime.start_ready(&bundle);
    first.kill("KILL");
    first.wait();
    is_gone(&unit);
    let second = runtime.start_ready(&bundle);
    let _ = first.call(["delete", "--force"]).outcome().ok();
    assert_eq!(second.status(), "running");
    assert_eq!(property(&unit, "ActiveState"), "active");
    second.kill_and_delete();
}

/// The name of a scope can be used again at once, also by a container that was killed.
#[test]
fn a_name_can_be_used_again_at_once() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    for _ in 0..tries().min(5) {
        let container = runtime.start_ready(&bundle);
        let _ = container.call(["delete", "--force"]).outcome().ok();
    }
    is_gone(&unit);
}

/// A unit that failed keeps its name until it is reset; one that lives keeps it.
#[test]
fn a_failed_unit_is_reset_and_a_living_one_is_not() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    // Out of time: that is a failure.
    let timed = ["--scope", "--slice=cleat-test.slice", "--property=RuntimeMaxSec=1", "--unit", &unit, "sleep", "60"];
    let _ = Command::new("systemd-run").args(timed).output().expect("systemd-run");
    eventually("a failed unit", || match property(&unit, "ActiveState").as_str() {
        "failed" => Ok(()),
        other => Err(other.to_owned()),
    });
    let container = runtime.start_ready(&bundle);
    assert_eq!(own_cgroup(container.pid()), format!("/cleat.slice/cleat-test.slice/{unit}"));
    let text = format!("config.json: linux.cgroupsPath: unit {unit} is there already; choose another");
    let _ = runtime.run(&bundle).refused(&text).in_one_line();
    assert_eq!(container.status(), "running");
    container.kill_and_delete();
    nothing_is_left(&runtime);
}

/// Each step that fails, and the death of `create` in each, leaves neither scope nor cgroup.
#[test]
fn a_create_that_fails_leaves_no_scope() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let bundle = bundle.set("/linux/resources/pids", json!({ "limit": 9 }));
    for fault in ["clone:fail", "limits:fail", "limits:kill", "device-access:fail", "mounts:fail", "save-state:kill"] {
        let id = unique_name();
        let call = runtime.call(["create", "--bundle"]).env("CLEAT_FAULT", fault).arg(bundle.path()).arg(&id);
        let _ = call.outcome().exits(if fault.ends_with("kill") { 128 + 9 } else { 1 });
        let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
        is_gone(&unit);
        nothing_is_left(&runtime);
    }
}

// --- limits -------------------------------------------------------------------------------------

/// Limits are properties of the unit and files of the cgroup, and stay when systemd reads its units
/// again.
#[test]
fn limits_survive_a_reload() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let resources = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20 },
        "cpu": { "shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 20 },
        "blockIO": { "weight": 500 },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }],
        "unified": { "memory.high": "50331648" },
    });
    let container = runtime.start_ready(&bundle.set("/linux/resources", resources));
    let properties = [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "16777216"),
        ("MemoryHigh", "50331648"),
        ("MemorySwapMax", "33554432"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "400ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("TasksMax", "20"),
        ("IOWeight", "4950"),
    ];
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "16777216"),
        ("memory.high", "50331648"),
        ("memory.swap.max", "33554432"),
        ("cpu.weight", "59"),
        ("cpu.max", "20000 50000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "20"),
        ("hugetlb.2MB.max", "4194304"),
    ];
    for when in ["as made", "after a reload"] {
        assert_properties(&unit, &properties, when);
        for (name, text) in files {
            assert_eq!(file(&unit, name), text, "{name} {when}");
        }
        reload();
    }
    container.kill_and_delete();
}

/// `update` changes both, and what it was refused changes neither.
#[test]
fn an_update_changes_unit_and_cgroup() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let bundle = bundle.set("/linux/resources/memory", json!({ "limit": 64 << 20 }));
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["update", "--memory", "128m", "--pids-limit", "30", "--cpu-quota", "12345"]).outcome().ok();
    for _ in 0..2 {
        assert_properties(
            &unit,
            &[("MemoryMax", "134217728"), ("TasksMax", "30"), ("CPUQuotaPerSecUSec", "130ms")],
            "",
        );
        assert_eq!((file(&unit, "memory.max"), file(&unit, "pids.max")), ("134217728".into(), "30".into()));
        reload();
    }
    let _ = container.call(["update", "--cpu-quota", "12345"]).outcome().ok();
    assert_eq!(file(&unit, "cpu.max"), "12345 100000", "systemd rounds, the file does not");
    let refused = update(&container, &json!({ "pids": { "limit": 40 }, "cpu": { "cpus": "4000" } }));
    let _ = refused.refused("linux.resources.cpu.cpus");
    assert_eq!((property(&unit, "TasksMax"), file(&unit, "pids.max")), ("30".into(), "30".into()));
    container.kill_and_delete();
}

/// A limit that making the container would break is set when all is made, in the unit, too.
#[test]
fn a_small_limit_of_memory_is_set_late() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let container = runtime.start_ready(&bundle.set("/linux/resources/memory", json!({ "limit": 1 << 20 })));
    assert_eq!((property(&unit, "MemoryMax"), file(&unit, "memory.max")), ("1048576".into(), "1048576".into()));
    container.kill_and_delete();
}

/// Who eats more than it may is killed, and nobody beside it.
#[test]
fn a_process_killed_for_want_of_memory_does_not_end_the_scope() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let bundle = bundle.set("/linux/resources/memory", json!({ "limit": 32 << 20, "swap": 32 << 20 }));
    let container = runtime.start_ready(&bundle);
    let _ = container.exec(["/probe", "eat", "100000000"]).exits(128 + 9);
    assert_eq!((container.status().as_str(), property(&unit, "ActiveState").as_str()), ("running", "active"));
    container.kill_and_delete();
}

// --- devices ------------------------------------------------------------------------------------

/// A device that opens without any effect, and is none of the default ones.
const FUSE: (u32, u32) = (10, 229);

fn with_fuse(rules: &[Value]) -> (Bundle, String) {
    let (bundle, unit) = bundle();
    let device = json!([{ "path": "/dev/fuse", "type": "c", "major": FUSE.0, "minor": FUSE.1, "fileMode": 0o666 }]);
    (bundle.set("/linux/devices", device).set("/linux/resources/devices", json!(rules)), unit)
}

/// What is denied stays denied and what is allowed stays allowed, whatever makes systemd put its
/// own program there again: to read its units, or to change a property.
#[test]
fn device_rules_survive_a_reload() {
    require_systemd();
    let runtime = runtime();
    let deny = json!({ "allow": false, "access": "rwm" });
    let fuse = |allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access });
    let all_misc = json!({ "allow": true, "type": "c", "major": FUSE.0, "access": "rw" });
    let everything = json!({ "allow": true, "access": "rwm" });
    for (rules, read, write) in [
        (vec![deny.clone()], false, false),
        (vec![deny.clone(), fuse(true, "r")], true, false),
        // What systemd has no words for: its program allows it, ours does not.
        (vec![deny.clone(), all_misc, fuse(false, "rwm")], false, false),
        (vec![deny, everything, fuse(false, "w")], true, false),
    ] {
        let (bundle, unit) = with_fuse(&rules);
        let container = runtime.start_ready(&bundle);
        for when in ["as made", "after a reload", "after an update"] {
            let answer = container.exec(["/probe", "open-dev", "/dev/fuse"]).json();
            assert_eq!(
                (answer["read"] != "EPERM", answer["write"] != "EPERM"),
                (read, write),
                "{rules:?} {when}: {answer}"
            );
            if when == "as made" {
                reload();
            } else {
                systemctl(&["set-property", "--runtime", &unit, "MemoryHigh=100M"]);
            }
        }
        container.kill_and_delete();
    }
}

// --- annotations and errors ---------------------------------------------------------------------

/// Annotations set what is the unit's own, as engines do.
#[test]
fn annotations_set_properties() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let annotations = json!({
        "org.systemd.property.KillSignal": "15",
        "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
        "org.systemd.property.RuntimeMaxSec": "3600",
        "org.systemd.property.After": "['dbus.service']",
        "org.systemd.property.Description": "'a web server'",
        "org.systemd.property.SendSIGHUP": "true",
    });
    let container = runtime.create(&bundle.set("/annotations", annotations));
    let expected = [
        ("KillSignal", "15"),
        ("TimeoutStopUSec", "10s"),
        ("RuntimeMaxUSec", "1h"),
        ("Description", "a web server"),
        ("SendSIGHUP", "yes"),
    ];
    assert_properties(&unit, &expected, "of annotations");
    assert!(property(&unit, "After").split(' ').any(|name| name == "dbus.service"));
    container.delete();
}

/// CVE-2024-3154: what would have the host do something is refused by its name, and so is a path of
/// another form; nothing is left.
#[test]
fn what_no_container_may_ask_for_is_refused() {
    require_systemd();
    let runtime = runtime();
    for (pointer, value, text) in [
        (
            "/annotations/org.systemd.property.ExecStopPost",
            "[['/bin/false', ['false'], false]]",
            "config.json: annotations[\"org.systemd.property.ExecStopPost\"]: is not a property that a container may set",
        ),
        ("/annotations/org.systemd.property.FailureAction", "'reboot'", "FailureAction\"]: is not a property"),
        ("/annotations/org.systemd.property.KillSignal", "'x'", "KillSignal\"]: \"'x'\" is not a number"),
        ("/linux/cgroupsPath", "/a/b", "config.json: linux.cgroupsPath: \"/a/b\" is not of the form slice:prefix:name"),
        ("/linux/cgroupsPath", "a:b:c", "config.json: linux.cgroupsPath: \"a\" is not the name of a slice"),
        ("/linux/cgroupsPath", "a.slice:b:c.slice", "c.slice is a slice, in which no process may live"),
    ] {
        let (bundle, unit) = bundle();
        let _ = runtime.run(&bundle.set(pointer, json!(value))).refused(text).in_one_line();
        is_gone(&unit);
    }
    nothing_is_left(&runtime);
}

/// Where systemd itself refuses, its words are reported, with what was asked of which unit.
#[test]
fn what_systemd_refuses_is_reported_in_its_words() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let outcome = runtime.run(&bundle.set("/annotations", json!({ "org.systemd.property.KillMode": "'sometimes'" })));
    let _ = outcome.refused(&format!("systemd: start {unit}: ")).refused("sometimes").in_one_line();
    is_gone(&unit);
    nothing_is_left(&runtime);
}

/// Where the manager's own socket cannot be reached, the bus can.
#[test]
fn the_bus_will_do() {
    require_systemd();
    let runtime = runtime().after("mount --bind /dev/null /run/systemd/private");
    let (bundle, unit) = bundle();
    let container = runtime.start_ready(&bundle);
    assert_eq!(own_cgroup(container.pid()), format!("/cleat.slice/cleat-test.slice/{unit}"));
    let _ = container.call(["update", "--pids-limit", "30"]).outcome().ok();
    assert_eq!(property(&unit, "TasksMax"), "30");
    let _ = container.call(["delete", "--force"]).outcome().ok();
    is_gone(&unit);
}

/// Without systemd it says so and what to do; `check` and `plan` do, too.
#[test]
fn without_systemd_it_says_what_to_do() {
    require_systemd();
    let runtime = runtime().after("mount -t tmpfs tmpfs /run/systemd && mount -t tmpfs tmpfs /run/dbus");
    let (bundle, _) = bundle();
    let text = "--systemd-cgroup: no systemd answers: connect /run/systemd/private: no such file or directory (ENOENT)";
    let _ = runtime.run(&bundle).refused(text).refused("leave the option out to manage cgroups directly").in_one_line();
    let _ = runtime.call(["plan"]).arg(bundle.path()).outcome().refused(text);
    let check = runtime.call(["check"]).arg(bundle.path()).outcome().exits(1);
    assert!(check.stdout.contains(text) && check.stdout.contains("it will not run here: one problem"), "{check}");
    nothing_is_left(&runtime);
}

/// `check` and `plan` report beforehand: the unit and its properties, and that the bundle will run.
#[test]
fn plan_and_check_know_of_the_scope() {
    require_systemd();
    let runtime = runtime();
    let (bundle, unit) = bundle();
    let plan = runtime.call(["plan"]).arg(bundle.path()).outcome().ok().stdout;
    for text in [format!("{unit} of systemd").as_str(), "Delegate=true", "DevicePolicy=strict"] {
        assert!(plan.contains(text), "no {text:?} in {plan}");
    }
    let plan = runtime.call(["plan", "--json"]).arg(bundle.path()).outcome().json();
    assert_eq!(plan["host"]["cgroup"]["unit"]["name"], unit.as_str());
    let _ = runtime.call(["check"]).arg(bundle.path()).outcome().ok();
    let container = runtime.create(&bundle);
    let check = runtime.call(["check"]).arg(bundle.path()).outcome().exits(1);
    assert!(check.stdout.contains(&format!("unit {unit} is there already")), "{check}");
    container.delete();
}

/// Without --systemd-cgroup such a path is a name like any other, as with runc.
#[test]
fn without_the_option_a_path_is_a_path() {
    require_systemd();
    let runtime = Runtime::new();
    let (bundle, unit) = bundle();
    let container = runtime.create(&bundle);
    let own = own_cgroup(container.pid());
    assert!(own.contains("/cleat-test.slice:probe:"), "{own}");
    assert_eq!(property(&unit, "LoadState"), "not-found");
    container.delete();
}

// --- ordinary users -----------------------------------------------------------------------------

/// The user's own systemd makes the scope, though the call comes from outside the user's cgroups; limits
/// hold, and who joins is put into it.
#[test]
fn a_users_container_is_a_scope_of_his_systemd() {
    require_systemd();
    let runtime = Runtime::as_user();
    let user = Lingering::new(runtime.uid());
    let runtime = runtime.with_option("--systemd-cgroup").with_env("XDG_RUNTIME_DIR", user.runtime_dir());
    let bundle = runtime.bundle().args(["/probe", "sleep"]).set("/linux/resources/pids", json!({ "limit": 20 }));
    let container = runtime.start_ready(&bundle);
    let own = own_cgroup(container.pid());
    assert_eq!(own, format!("{}/user.slice/cleat-{}.scope", user.manager(), container.id()));
    let number = |file: &str| fs::read_to_string(cgroup_root().join(&own[1..]).join(file)).expect("a limit");
    assert_eq!(number("pids.max"), "20\n");
    let _ = container.call(["update", "--pids-limit", "30"]).outcome().ok();
    assert_eq!(number("pids.max"), "30\n");
    let second = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
    assert_eq!(own_cgroup(second.pid()), own);
    drop(second);
    // Not delegated to users by default.
    let limited = runtime.bundle().set("/linux/resources/cpu", json!({ "cpus": "0" }));
    let text = "user.slice has no cpuset controller; enable it in the cgroups above (a user's systemd: systemctl edit";
    let _ = runtime.run(&limited).refused("linux.resources.cpu.cpus: ").refused(text).in_one_line();
    let check = runtime.call(["check"]).arg(limited.path()).outcome().exits(1);
    assert!(check.stdout.contains("linux.resources.cpu.cpus: the cpuset controller is not to be had in"), "{check}");
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let _ = container.call(["delete", "--force"]).outcome().ok();
    eventually("the scope's end", || {
        let path = cgroup_root().join(&own[1..]);
        if path.exists() { Err(format!("{} is there", path.display())) } else { Ok(()) }
    });
    nothing_is_left(&runtime);
}

/// Without a manager of their own, users learn how to get one.
#[test]
fn a_user_without_a_systemd_learns_how_to_get_one() {
    require_systemd();
    let runtime = Runtime::as_user().with_option("--systemd-cgroup");
    let _ = runtime.run(&runtime.bundle()).refused("no systemd of this user answers: XDG_RUNTIME_DIR is not set");
    let dir = runtime.dir().to_owned();
    let runtime = runtime.with_env("XDG_RUNTIME_DIR", dir);
    let outcome = runtime.run(&runtime.bundle());
    let _ = outcome.refused("/systemd/private: no such file or directory (ENOENT)").refused("loginctl enable-linger");
    nothing_is_left(&runtime);
}
