//! config.md § Linux Process, `scheduler`, `ioPriority`, `execCPUAffinity`; config-linux.md
//! § Memory policy, § Personality, § Rootfs Mount Propagation.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Bundle, Container, Outcome, Runtime, not_on_peer, not_on_runc_1_1, proc, skip};
use serde_json::{Value, json};

fn facts(bundle: &Bundle) -> Value {
    Runtime::new().json(bundle)
}

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// `exec --process` of the probe with these properties.
fn exec_file(runtime: &Runtime, container: &Container<'_>, properties: &Value) -> Outcome {
    let mut process =
        json!({ "args": ["/probe", "facts"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let more = properties.as_object().expect("properties").clone();
    process.as_object_mut().expect("a process").extend(more);
    let file = runtime.dir().join(format!("{}.json", integration::unique_name()));
    fs::write(&file, process.to_string()).expect("a process file");
    runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome()
}

fn assert_nothing_left(runtime: &Runtime, bundle: &Bundle) {
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
    let left: Vec<_> = fs::read_dir(runtime.root()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "left in the state root: {left:?}");
}

// --- scheduler --------------------------------------------------------------------------------------

const RESET_ON_FORK: u64 = 1;

/// Policies with their parameters, and what sched_getattr(2) says of them.
fn policies() -> Vec<(Value, Value)> {
    // A fifth of a processor: with a hundredth an emulated one is not done within the tests' deadline.
    let deadline =
        json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 5_000_000, "period": 10_000_000 });
    vec![
        (json!({ "policy": "SCHED_OTHER", "nice": 7 }), json!({ "policy": 0, "nice": 7, "priority": 0 })),
        (json!({ "policy": "SCHED_OTHER", "nice": -9 }), json!({ "policy": 0, "nice": -9, "priority": 0 })),
        (json!({ "policy": "SCHED_BATCH", "nice": 19 }), json!({ "policy": 3, "nice": 19, "priority": 0 })),
        (json!({ "policy": "SCHED_IDLE" }), json!({ "policy": 5, "nice": 0, "priority": 0 })),
        (json!({ "policy": "SCHED_FIFO", "priority": 5 }), json!({ "policy": 1, "nice": 0, "priority": 5 })),
        (json!({ "policy": "SCHED_RR", "priority": 99, "nice": 3 }), json!({ "policy": 2, "nice": 3, "priority": 99 })),
        (
            deadline,
            json!({ "policy": 6, "priority": 0, "runtime": 2_000_000, "deadline": 5_000_000, "period": 10_000_000 }),
        ),
        (
            json!({ "policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
            json!({ "policy": 1, "priority": 1, "flags": RESET_ON_FORK }),
        ),
    ]
}

fn assert_scheduled(facts: &Value, expected: &Value, how: &str) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&facts["scheduler"][key], value, "{how}: {key} in {}", facts["scheduler"]);
    }
}

/// Every policy of the kernel's, with its parameters, holds when the program starts.
#[test]
fn the_scheduler_is_as_configured() {
    not_on_runc_1_1!("it has no scheduler");
    for (scheduler, expected) in policies() {
        // The peers leave the nice value alone where the policy does not use it.
        if integration::is_peer() && scheduler["policy"] == "SCHED_RR" {
            continue;
        }
        let seen = facts(&Bundle::new().set("/process/scheduler", scheduler.clone()));
        assert_scheduled(&seen, &expected, &scheduler.to_string());
    }
}

/// Inside a user namespace nobody could set them: it takes a privilege of the machine.
#[test]
fn real_time_priorities_hold_in_a_user_namespace() {
    not_on_peer!("their init sets them, without the privilege");
    let bundle = Bundle::new()
        .mapped()
        .set("/process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 3 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 2 }));
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    let facts = facts(&bundle);
    assert_scheduled(&facts, &json!({ "policy": 1, "priority": 3 }), "mapped");
    assert_eq!(facts["io_priority"], json!({ "class": 1, "level": 2 }));
}

/// In a joined pid namespace another process goes on than the one that was started first.
#[test]
fn the_process_of_a_joined_pid_namespace_is_the_one_that_is_scheduled() {
    not_on_runc_1_1!("it has no scheduler");
    let runtime = Runtime::new();
    let first = sleeper();
    let owner = runtime.start_ready(&first);
    let bundle = Bundle::new()
        .namespace(json!({ "type": "pid", "path": owner.proc("ns/pid") }))
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 4 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }));
    let facts = runtime.json(&bundle);
    assert_scheduled(&facts, &json!({ "policy": 3, "nice": 4 }), "joined");
    assert_eq!(facts["io_priority"], json!({ "class": 2, "level": 6 }));
}

/// A process that joins has the container's scheduling, or that of its own file.
#[test]
fn exec_is_scheduled_as_the_container_or_its_file_says() {
    not_on_runc_1_1!("it has no scheduler");
    let runtime = Runtime::new();
    let bundle = sleeper()
        .set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 19 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 4 }));
    let container = runtime.start_ready(&bundle);
    for seen in [container.exec(["/probe"]).json(), exec_file(&runtime, &container, &json!({})).json()] {
        assert_scheduled(&seen, &json!({ "policy": 3, "nice": 19 }), "as the container");
        assert_eq!(seen["io_priority"], json!({ "class": 3, "level": 4 }));
    }
    for (scheduler, expected) in policies() {
        if integration::is_peer() && scheduler["policy"] == "SCHED_RR" {
            continue;
        }
        let io = json!({ "class": "IOPRIO_CLASS_BE", "priority": 1 });
        let own = json!({ "scheduler": scheduler, "ioPriority": io });
        let seen = exec_file(&runtime, &container, &own).json();
        assert_scheduled(&seen, &expected, &format!("exec {scheduler}"));
        assert_eq!(seen["io_priority"], json!({ "class": 2, "level": 1 }));
    }
    // runc's own test: a nice value that the policy does not use is no error.
    let own = json!({ "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], "nice": 19, "priority": 0,
        "runtime": 42_000, "deadline": 100_000, "period": 1_000_000 });
    let seen = exec_file(&runtime, &container, &json!({ "scheduler": own })).json();
    assert_scheduled(&seen, &json!({ "policy": 6, "flags": RESET_ON_FORK, "runtime": 42_000 }), "exec");
}

/// What is wrong in a process file is reported with its place; the container goes on.
#[test]
fn exec_refuses_wrong_properties_with_their_place() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    for (properties, expected) in [
        (json!({ "scheduler": { "policy": "SCHED_FAST" } }), ": scheduler.policy: \"SCHED_FAST\" is not one of"),
        (json!({ "scheduler": ["SCHED_FIFO"] }), ": scheduler: invalid type: sequence, expected an object"),
        (json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 9 } }), ": ioPriority.priority: 9"),
        (json!({ "execCPUAffinity": { "initial": "0-" } }), ": execCPUAffinity.initial: \"0-\": \"\" is no number"),
        (json!({ "execCPUAffinity": { "final": "65536" } }), ": execCPUAffinity.final: \"65536\": 65536 is above"),
        (json!({ "execCPUAffinity": { "final": 3 } }), ": execCPUAffinity.final: invalid type: integer"),
        (
            json!({ "terminal": true, "consoleSize": { "height": 1, "width": 65_536 } }),
            ": consoleSize.width: 65536 is not between 0 and 65535",
        ),
    ] {
        let _ = exec_file(&runtime, &container, &properties).fails(255, expected).in_one_line();
    }
    assert_eq!(container.status(), "running");
}

/// `startContainer` hooks are forked by the process, which `SCHED_DEADLINE` forbids without the flag.
#[test]
fn hooks_run_before_a_deadline_program_that_resets_on_fork() {
    not_on_runc_1_1!("it has no scheduler");
    let scheduler = json!({ "policy": "SCHED_DEADLINE", "runtime": 500_000, "deadline": 5_000_000, "period": 10_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    let bundle = Bundle::new().without("/root/readonly").set("/process/scheduler", scheduler);
    let hook = json!({ "path": "/probe", "args": ["probe", "hook", "/log", "start"] });
    let bundle = bundle.raw_hook("startContainer", hook);
    assert_eq!(facts(&bundle)["scheduler"]["policy"], 6);
    let log = fs::read_to_string(bundle.rootfs().join("log")).expect("the hook's log");
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// What the kernel refuses is an error of `create` that says why, and nothing is left.
#[test]
fn what_the_kernel_refuses_is_an_error() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let hour = json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 3_600_000_000_000_u64 });
    let text = "sched_setattr SCHED_DEADLINE: EINVAL; see /proc/sys/kernel/sched_deadline_period_min_us and _max_us";
    let mut cases = vec![(hour, text)];
    let clamped = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] });
    if !fs::exists("/proc/sys/kernel/sched_util_clamp_min").unwrap_or(false) {
        cases.push((clamped, "sched_setattr SCHED_OTHER: EOPNOTSUPP; SCHED_FLAG_UTIL_CLAMP_* need a kernel with"));
    }
    for (scheduler, expected) in cases {
        let bundle = sleeper().set("/process/scheduler", scheduler);
        let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused(expected).in_one_line();
        assert_nothing_left(&runtime, &bundle);
    }
}

// --- I/O priority -----------------------------------------------------------------------------------

/// Every class with its levels.
#[test]
fn the_io_priority_is_as_configured() {
    not_on_runc_1_1!("it has no ioPriority");
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        for level in [0, 4, 7] {
            let bundle = Bundle::new().set("/process/ioPriority", json!({ "class": class, "priority": level }));
            assert_eq!(facts(&bundle)["io_priority"], json!({ "class": number, "level": level }), "{class} {level}");
        }
        // As with the peers: the idle class has none.
        let bundle = Bundle::new().set("/process/ioPriority", json!({ "class": class }));
        assert_eq!(facts(&bundle)["io_priority"], json!({ "class": number, "level": 0 }), "{class}");
    }
}

// --- processors -------------------------------------------------------------------------------------

/// The processors that this test may use: the first, and all. Where there is only one, the test is skipped.
fn processors() -> (String, String) {
    let ranges = proc::own_status().cpus_allowed_list.expect("Cpus_allowed_list");
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ranges.iter().map(|(first, last)| last - first + 1).sum::<u32>() < 2 {
        skip("there is one processor only");
    }
    (ranges[0].0.to_string(), ranges.iter().map(text).collect::<Vec<_>>().join(","))
}

fn pinned(runtime: &Runtime, first: &str, args: &[&std::ffi::OsStr]) -> Outcome {
    runtime.through_shell(&format!("exec taskset -c {first} \"$0\" \"$@\""), args).outcome()
}

/// The caller's affinity is the caller's: the container and what joins it run where the cgroup allows.
#[test]
fn the_callers_affinity_is_not_the_containers() {
    not_on_runc_1_1!("it hands its own down");
    let (first, all) = processors();
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let id = integration::unique_name();
    let args = ["run".as_ref(), "--bundle".as_ref(), bundle.path().as_os_str(), id.as_ref()];
    assert_eq!(pinned(&runtime, &first, &args).json()["affinity"], json!(all));
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let args = ["exec", container.id(), "/probe"].map(AsRef::as_ref);
    assert_eq!(pinned(&runtime, &first, &args).json()["affinity"], json!(all));
}

/// `initial` is inherited from the runtime, `final` is set once the process is in the cgroup; "not
/// applicable to the container's init process".
#[test]
fn exec_runs_on_the_processors_that_were_asked_for() {
    not_on_runc_1_1!("it has no execCPUAffinity");
    let (first, all) = processors();
    let runtime = Runtime::new();
    let bundle = sleeper().set("/process/execCPUAffinity", json!({ "initial": all, "final": first }));
    let container = runtime.start_ready(&bundle);
    let status = fs::read_to_string(container.proc("status")).expect("status");
    assert!(status.contains(&format!("Cpus_allowed_list:\t{all}\n")), "the first process: {status}");
    // That of config.json, also for a file that says nothing of it.
    assert_eq!(container.exec(["/probe"]).json()["affinity"], json!(first));
    assert_eq!(exec_file(&runtime, &container, &json!({})).json()["affinity"], json!(first));
    for (affinity, expected) in [
        (json!({ "initial": first }), &first),
        (json!({ "final": first }), &first),
        (json!({ "initial": first, "final": all }), &all),
        (json!({ "initial": all, "final": format!(" {first} ,") }), &first),
        (json!({ "initial": first, "final": "0-8191" }), &all),
        // The kernel takes those of them that there are.
        (json!({ "final": "0-65535" }), &all),
        (json!({ "initial": "", "final": "" }), &all),
        (json!({}), &all),
    ] {
        let seen = exec_file(&runtime, &container, &json!({ "execCPUAffinity": affinity })).json();
        assert_eq!(seen["affinity"], json!(expected), "{affinity}");
    }
}

/// Processors that are not there are an error, before and after the creation; the container goes on.
#[test]
fn processors_that_are_not_there_are_an_error() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    for key in ["initial", "final"] {
        let own = json!({ "execCPUAffinity": { key: "8000-8191" } });
        let text = format!("process.execCPUAffinity.{key}: sched_setaffinity: EINVAL; none of these processors is");
        let _ = exec_file(&runtime, &container, &own).fails(255, &text).in_one_line();
    }
    assert_eq!(container.status(), "running");
}

// --- memory policy and personality ------------------------------------------------------------------

/// Modes and flags, for the container and for what joins it.
#[test]
fn the_memory_policy_is_as_configured() {
    not_on_peer!("their first with it, runc 1.5, is not packaged yet");
    let runtime = Runtime::new();
    if facts(&Bundle::new())["memory_policy"].is_null() {
        skip("a kernel without CONFIG_NUMA");
    }
    for (policy, mode, nodes) in [
        (json!({ "mode": "MPOL_DEFAULT" }), 0, json!([])),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), 2 | 1 << 15, json!([0])),
        (
            json!({ "mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }),
            1 | 1 << 14,
            json!([0]),
        ),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0-0" }), 3, json!([0])),
        (json!({ "mode": "MPOL_LOCAL" }), 4, json!([])),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": " 0," }), 5, json!([0])),
    ] {
        let bundle = sleeper().set("/linux/memoryPolicy", policy.clone());
        let container = runtime.start_ready(&bundle);
        for seen in [container.exec(["/probe"]).json(), exec_file(&runtime, &container, &json!({})).json()] {
            assert_eq!(seen["memory_policy"], json!({ "mode": mode, "nodes": nodes }), "exec with {policy}");
        }
        let bundle = Bundle::new().set("/linux/memoryPolicy", policy.clone());
        assert_eq!(runtime.json(&bundle)["memory_policy"], json!({ "mode": mode, "nodes": nodes }), "{policy}");
    }
}

/// runtime.md § Create: what cannot be applied is an error of `create`, not of `start`.
#[test]
fn a_memory_node_that_is_not_there_is_an_error_of_create() {
    not_on_peer!("their first with it, runc 1.5, is not packaged yet");
    let runtime = Runtime::new();
    for nodes in ["1000", "65535"] {
        let bundle = sleeper().set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": nodes }));
        let outcome = runtime.try_create(&bundle).expect_err("create succeeds").in_one_line();
        let _ = outcome.refused("memory-policy: set_mempolicy: EINVAL; ").refused("see /sys/devices/system/node");
        assert_nothing_left(&runtime, &bundle);
    }
}

/// A 32-bit domain shows a 32-bit machine; the plain one is not the caller's, whatever that has.
#[test]
fn the_personality_is_as_configured() {
    not_on_runc_1_1!("it has no personality");
    let runtime = Runtime::new();
    let machine = facts(&Bundle::new())["machine"].clone();
    let bundle = sleeper().set("/linux/personality", json!({ "domain": "LINUX32" }));
    if cfg!(target_arch = "x86_64") {
        let container = runtime.start_ready(&bundle);
        for seen in [container.exec(["/probe"]).json(), exec_file(&runtime, &container, &json!({})).json()] {
            assert_eq!((&seen["machine"], &seen["personality"]), (&json!("i686"), &json!("00000008")), "exec");
        }
        drop(container);
        let seen = runtime.json(&bundle.args(["/probe"]));
        assert_eq!((&seen["machine"], &seen["personality"]), (&json!("i686"), &json!("00000008")));
    }
    let bundle = Bundle::new().set("/linux/personality", json!({ "domain": "LINUX" }));
    let id = integration::unique_name();
    let script = "exec setarch --addr-no-randomize \"$0\" \"$@\"";
    let call = runtime.through_shell(script, ["run", "--bundle"]).arg(bundle.path()).arg(&id);
    let seen = call.outcome().json();
    assert_eq!((&seen["machine"], &seen["personality"]), (&machine, &json!("00000000")));
}

/// A filter against the very calls is one against the program's: both are set before it is loaded.
#[test]
fn a_filter_does_not_hinder_memory_policy_and_personality() {
    not_on_peer!("their first with a memory policy, runc 1.5, is not packaged yet");
    let rule = json!({ "names": ["set_mempolicy", "personality", "sched_setattr"], "action": "SCMP_ACT_ERRNO" });
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new()
            .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/linux/memoryPolicy", json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }))
            .set("/linux/personality", json!({ "domain": "LINUX" }))
            .set("/process/scheduler", json!({ "policy": "SCHED_BATCH" }));
        let facts = facts(&bundle);
        assert_eq!((&facts["seccomp"], &facts["memory_policy"]["mode"]), (&json!(2), &json!(3)), "{no_new_privileges}");
        assert_eq!(facts["scheduler"]["policy"], 3, "{no_new_privileges}");
    }
}

// --- propagation of the root ------------------------------------------------------------------------

/// What a host and a container see of each other's mounts, asked by a shell in a mount namespace
/// of its own, the "host", which is left with all that was mounted in it.
struct Propagation {
    from_host: bool,
    to_host: bool,
    volume_to_host: bool,
    to_nested: bool,
    bindable: bool,
    below: bool,
}

/// `in`, `out` and `bound` are directories of the root, which is a shared mount of its own on the
/// host; `volume` is one of another shared mount there.
const SEEN: &str = r#"
set -e
mount -t tmpfs -o mode=755 rootfs "$DIR/root"; mount --make-shared "$DIR/root"
mount -t tmpfs volume "$DIR/volume"; mount --make-shared "$DIR/volume"
mkdir "$DIR/volume/v"
cp "$PROBE" "$DIR/root/probe"
mkdir "$DIR/root/in" "$DIR/root/out" "$DIR/root/bound" "$DIR/root/nest" "$DIR/root/vol"
"$0" "$@" run --detach --bundle "$BUNDLE" --pid-file "$DIR/pid" "$ID" </dev/null >"$DIR/out" 2>&1 || { cat "$DIR/out" >&2; exit 1; }
trap '"$0" '"$*"' delete --force "$ID" >/dev/null' EXIT
PID=$(cat "$DIR/pid")
seen() { grep -c " $2 " "/proc/$1/mountinfo" || true; }
inside() { nsenter --mount --target "$PID" /probe "$@" >&2; }
mkfifo "$DIR/ready"
nsenter --mount --target "$PID" /probe nested >"$DIR/ready" & NESTED=$!
read -r _ <"$DIR/ready"
mount -t tmpfs tmpfs "$DIR/root/in"; echo "from_host $(seen "$PID" /in)"
inside mount-tmpfs /out; echo "to_host $(seen self "$DIR/root/out")"
inside mount-tmpfs /vol/v; echo "volume_to_host $(seen self "$DIR/volume/v")"
inside mount-tmpfs /nest; echo "to_nested $(seen "$NESTED" /nest)"
inside bind / /bound; echo "bindable $(seen "$PID" /bound)"
echo "below $(grep ' /proc ' "/proc/$PID/mountinfo" | grep -cE 'shared:|master:|unbindable' || true)"
kill "$NESTED"
"#;

fn propagation(value: Option<&str>) -> Propagation {
    let runtime = Runtime::new();
    let root = runtime.dir().join("root-of-test");
    fs::create_dir_all(root.join("root")).expect("a directory");
    fs::create_dir_all(root.join("volume")).expect("a directory");
    let bundle = Bundle::new()
        .args(["/probe", "sleep"])
        .without("/root/readonly")
        .set("/root/path", json!(root.join("root")))
        .bind(&root.join("volume"), "/vol", &["rbind", "rshared"]);
    let bundle = match value {
        Some(value) => bundle.set("/linux/rootfsPropagation", json!(value)),
        None => bundle,
    };
    let script = "exec unshare --mount --propagation private sh -c \"$SCRIPT\" \"$0\" \"$@\"";
    let none: [&str; 0] = [];
    let call = runtime.through_shell(script, none).env("SCRIPT", SEEN).env("DIR", &root).env("BUNDLE", bundle.path());
    let outcome = call.env("PROBE", integration::probe()).env("ID", integration::unique_name()).outcome();
    let outcome = outcome.ok();
    let is = |name: &str| {
        let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {outcome}")) != "0"
    };
    Propagation {
        from_host: is("from_host"),
        to_host: is("to_host"),
        volume_to_host: is("volume_to_host"),
        to_nested: is("to_nested"),
        bindable: is("bindable"),
        below: is("below"),
    }
}

/// "slave: the rootfs mount receives propagation events from the host but not the other way
/// around", "private: … doesn't receive"; "shared: … a new peer group … does not mean that it's
/// shared with the host", and nested containers are in it; "unbindable … cannot be bind-mounted".
#[test]
fn the_roots_propagation_has_the_effect_that_the_specification_says() {
    not_on_runc_1_1!("its shared root is private");
    for (value, from_host, to_nested, bindable) in [
        (None, true, false, true),
        (Some("slave"), true, false, true),
        (Some("rslave"), true, false, true),
        (Some("private"), false, false, true),
        (Some("rprivate"), false, false, true),
        (Some("shared"), false, true, true),
        (Some("rshared"), false, true, true),
        (Some("unbindable"), false, false, false),
        (Some("runbindable"), false, false, false),
    ] {
        // Binds of read-only paths are refused by the tree that runc has made unbindable before.
        if integration::is_peer() && value == Some("runbindable") {
            continue;
        }
        let seen = propagation(value);
        assert!(!seen.to_host, "{value:?}: a mount of the container is on the host");
        assert_eq!(seen.from_host, from_host, "{value:?}: a mount of the host in the container");
        assert_eq!(seen.to_nested, to_nested, "{value:?}: a mount of the container in a nested one");
        assert_eq!(seen.bindable, bindable, "{value:?}: a bind mount of the root");
        if value.is_some_and(|value| value.ends_with("shared")) {
            assert!(seen.volume_to_host, "{value:?}: a mount below an rshared volume is not on the host");
        }
        // With an r in front, of the mounts below the root, too.
        let recursive = ["rshared", "runbindable"].iter().any(|r| value == Some(r));
        assert_eq!(seen.below, recursive, "{value:?}: propagation of /proc");
    }
}

/// With `--no-pivot` the host's mounts are covered, not changed: not even where they are shared.
#[test]
fn no_pivot_with_a_shared_root_leaves_the_hosts_mounts() {
    not_on_peer!("a fault that was ours alone, and would be theirs to the whole machine");
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/rootfsPropagation", json!("rshared"));
    let script = "exec unshare --mount --propagation private sh -c '
        mount --make-rshared / && cp /proc/self/mountinfo \"$BEFORE\" &&
        \"$0\" \"$@\" run --no-pivot --bundle \"$BUNDLE\" \"$ID\" >/dev/null &&
        cp /proc/self/mountinfo \"$AFTER\"' \"$0\" \"$@\"";
    let file = |name: &str| -> PathBuf { runtime.dir().join(name) };
    let none: [&str; 0] = [];
    let call = runtime.through_shell(script, none).env("BUNDLE", bundle.path()).env("ID", integration::unique_name());
    let _ = call.env("BEFORE", file("before")).env("AFTER", file("after")).outcome().ok();
    let read = |path: &Path| fs::read_to_string(path).expect("mountinfo");
    assert_eq!(read(&file("before")), read(&file("after")));
}
