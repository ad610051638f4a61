//! Limits of cgroup v2: what is written is what is read back, and a program that wants more meets
//! the limit (runtime-spec config-linux.md § Control groups; Linux cgroup-v2.rst).
//!
//! On a hybrid host only hugetlb is to be had: the rest is for the guest (`make guest`).

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{
    Bundle, Container, Runtime, cgroup_root, eventually, is_peer, not_on_peer, require_controllers, require_guest,
    unique_name,
};
use serde_json::{Value, json};

use crate::update::updatable_pids;

/// A container that waits, with these resources besides its device rules.
pub(crate) fn limited(resources: &Value) -> Bundle {
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let all = resources.as_object().expect("resources").clone();
    all.into_iter().fold(bundle, |bundle, (name, value)| bundle.set(&format!("/linux/resources/{name}"), value))
}

/// A file of the container's cgroup.
pub(crate) fn file(bundle: &Bundle, name: &str) -> String {
    let path = bundle.cgroup().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

pub(crate) fn assert_files(bundle: &Bundle, expected: &[(&str, &str)], when: &str) {
    for (name, text) in expected {
        assert_eq!(file(bundle, name), *text, "{name} {when}");
    }
}

pub(crate) fn is_there(bundle: &Bundle, name: &str) -> bool {
    bundle.cgroup().join(name).exists()
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// `update --resources -`
pub(crate) fn update(container: &Container<'_>, resources: &Value) -> integration::Outcome {
    container.call(["update", "--resources", "-"]).stdin(resources.to_string()).outcome()
}

// --- each resource: written, read back, felt ----------------------------------------------------

/// § Memory.
#[test]
fn memory_is_limited_and_who_eats_more_is_killed() {
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "memory": { "limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20 } }));
    let container = runtime.start_ready(&bundle);
    assert_files(&bundle, &[("memory.max", "67108864"), ("memory.low", "33554432")], "as asked");
    assert_eq!(file(&bundle, "memory.swap.max"), "33554432", "swap alone");
    container.kill_and_delete();
    let outcome = runtime.run(&bundle.args(["/probe", "eat", "100000000"])).exits(128 + 9);
    if !is_peer() {
        for text in ["the kernel killed it, out of memory (OOM)", "memory.max is 67108864", "its peak was 67"] {
            assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
        }
    }
}

/// § Memory: -1 is unlimited, and so is swap with it.
#[test]
fn memory_can_be_unlimited() {
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "memory": { "limit": -1 } }));
    let _container = runtime.start_ready(&bundle);
    assert_files(&bundle, &[("memory.max", "max"), ("memory.swap.max", "max")], "unlimited");
}

/// § PIDs: a number, -1 for no limit.
#[test]
fn processes_are_limited() {
    require_controllers(&["pids"]);
    let runtime = Runtime::new();
    let answer = |limit: i64| {
        let bundle = limited(&json!({ "pids": { "limit": limit } }));
        let container = runtime.start_ready(&bundle);
        let text = file(&bundle, "pids.max");
        container.kill_and_delete();
        let bundle = bundle.args(["/probe", "forks", "20"]);
        (text, runtime.json(&bundle))
    };
    assert_eq!(answer(8), ("8".into(), json!({ "forked": 7, "error": "EAGAIN" })));
    assert_eq!(answer(1), ("1".into(), json!({ "forked": 0, "error": "EAGAIN" })));
    assert_eq!(answer(-1), ("max".into(), json!({ "forked": 20, "error": null })));
}

/// § PIDs: engines send 0 where there is no limit, and runc 1.3 and crun take it so.
#[test]
fn a_limit_of_0_processes_is_none() {
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "pids": { "limit": 0 } }));
    let container = runtime.start_ready(&bundle);
    assert!(!is_there(&bundle, "pids.max") || file(&bundle, "pids.max") == "max");
    let _ = update(&container, &json!({ "pids": { "limit": 0 } })).ok();
    container.kill_and_delete();
    assert_eq!(runtime.json(&bundle.args(["/probe", "forks", "3"])), json!({ "forked": 3, "error": null }));
}

/// § CPU: a period that the kernel refuses is an error, without a quota, too.
#[test]
fn a_cpu_period_that_is_refused_is_an_error() {
    require_controllers(&["cpu"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "cpu": { "period": 10 } }));
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds").exits(1);
    let text = "linux.resources.cpu.period: cgroup ";
    assert!(is_peer() || outcome.stderr.contains(text), "expected {text:?} in {outcome}");
}

/// What changes nothing is no error, as engines send it for what they keep themselves (`docker update
/// --restart`); neither is it on a cgroup without controllers.
#[test]
fn an_update_of_nothing_is_no_error() {
    let runtime = Runtime::new();
    let container = runtime.start_ready(&limited(&json!({})));
    for resources in [
        json!({}),
        json!({ "memory": { "swap": -1 } }),
        json!({ "cpu": { "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "" }, "memory": { "limit": 0 },
            "pids": { "limit": 0 }, "blockIO": { "weight": 0 } }),
    ] {
        let outcome = update(&container, &resources).ok();
        assert!(is_peer() || outcome.stderr.is_empty(), "{outcome}");
    }
    let _ = container.call(["update"]).outcome().ok();
    let _ = container.call(["update", "--memory-swap", "-1"]).outcome().ok();
    container.kill_and_delete();
}

/// § CPU: quota, period, burst.
#[test]
fn cpu_time_has_a_quota() {
    require_controllers(&["cpu"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "cpu": { "quota": 20_000, "period": 100_000, "burst": 10_000 } }));
    let container = runtime.start_ready(&bundle);
    assert_files(&bundle, &[("cpu.max", "20000 100000"), ("cpu.max.burst", "10000")], "as asked");
    container.kill_and_delete();
    let burnt = runtime.json(&bundle.args(["/probe", "burn", "2000"]));
    let (wall, cpu) = (number(&burnt["wall_us"]), number(&burnt["cpu_us"]));
    // A fifth, with some more for the burst and for what the clock's ticks charge too late.
    assert!(cpu * 100 / wall < 40, "{cpu} us of CPU time in {wall} us with a quota of a fifth");
}

/// § CPU: shares, which cgroup v2 has as weights, and idle.
#[test]
fn cpu_time_is_shared_by_weight() {
    require_controllers(&["cpu", "cpuset"]);
    let runtime = Runtime::new();
    let read = |cpu: Value, name: &str| {
        let bundle = limited(&json!({ "cpu": cpu }));
        let _container = runtime.start_ready(&bundle);
        file(&bundle, name)
    };
    if !is_peer() {
        let weights = [(2, "1"), (512, "59"), (1024, "100"), (2048, "174"), (262_144, "10000")];
        for (shares, weight) in weights {
            assert_eq!(read(json!({ "shares": shares }), "cpu.weight"), weight, "{shares} shares");
        }
    }
    assert_eq!(read(json!({ "idle": 1 }), "cpu.idle"), "1");
    // Both on one CPU, at one time.
    let burner = |shares: u64| {
        let bundle = limited(&json!({ "cpu": { "shares": shares, "cpus": "0" } })).args(["/probe", "burn", "60000"]);
        (runtime.start(&bundle), bundle)
    };
    let (small, large) = (burner(2), burner(262_144));
    let before = (cpu_time(&small.1), cpu_time(&large.1));
    let got = eventually("a second of CPU time", || {
        let got = (cpu_time(&small.1) - before.0, cpu_time(&large.1) - before.1);
        if got.0 + got.1 > 1_000_000 { Ok(got) } else { Err(format!("{got:?}")) }
    });
    assert!(got.1 > 5 * got.0, "weight 10000 got {} us, weight 1 got {} us", got.1, got.0);
}

/// § CPU: idle gets what others leave: on one CPU next to nothing.
#[test]
fn an_idle_container_runs_when_nobody_else_does() {
    require_controllers(&["cpu", "cpuset"]);
    let runtime = Runtime::new();
    let burner = |cpu: Value| limited(&json!({ "cpu": cpu })).args(["/probe", "burn", "60000"]);
    let bundles = [burner(json!({ "idle": 1, "cpus": "0" })), burner(json!({ "cpus": "0" }))];
    let _containers = bundles.each_ref().map(|bundle| runtime.start(bundle));
    let used = || bundles.each_ref().map(cpu_time);
    let before = used();
    let [idle, other] = eventually("two seconds of CPU time", || {
        let now = used();
        let got = [now[0] - before[0], now[1] - before[1]];
        if got[0] + got[1] > 2_000_000 { Ok(got) } else { Err(format!("{got:?}")) }
    });
    assert!(other > 5 * idle, "the idle one got {idle} us, the other {other} us");
}

/// Microseconds of CPU time.
fn cpu_time(bundle: &Bundle) -> u64 {
    let text = file(bundle, "cpu.stat");
    let found = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    found.unwrap_or_else(|| panic!("no usage in {text}"))
}

/// § CPU: cpus and mems.
#[test]
fn programs_run_on_their_cpus_alone() {
    require_controllers(&["cpuset"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "cpu": { "cpus": "1", "mems": "0" } }));
    let container = runtime.start_ready(&bundle);
    assert_files(&bundle, &[("cpuset.cpus", "1"), ("cpuset.mems", "0")], "as asked");
    container.kill_and_delete();
    let status = runtime.json(&bundle.args(["/probe", "read", "/proc/self/status"]));
    let text = status["text"].as_str().expect("a text");
    assert!(text.lines().any(|line| line == "Cpus_allowed_list:\t1"), "{text}");
}

/// § Huge page limits: usage, and reservations where the kernel has them.
#[test]
fn huge_pages_are_limited() {
    require_controllers(&["hugetlb"]);
    let runtime = Runtime::new();
    let limit = json!([{ "pageSize": "2MB", "limit": 2 << 20 }]);
    let bundle = limited(&json!({ "hugepageLimits": limit }));
    let container = runtime.start_ready(&bundle);
    assert_files(&bundle, &[("hugetlb.2MB.max", "2097152")], "as asked");
    if !is_peer() {
        assert_files(&bundle, &[("hugetlb.2MB.rsvd.max", "2097152")], "as asked");
    }
    container.kill_and_delete();
}

/// The same, by a program that wants more of them.
#[test]
fn more_huge_pages_than_allowed_are_refused() {
    require_guest("this host's huge pages are not ours");
    let runtime = Runtime::new();
    let limit = json!([{ "pageSize": "2MB", "limit": 2 << 20 }]);
    let bundle = limited(&json!({ "hugepageLimits": limit }));
    fs::write("/proc/sys/vm/nr_hugepages", "8").expect("nr_hugepages");
    let mount = json!({ "destination": "/huge", "type": "hugetlbfs", "source": "x", "options": ["pagesize=2M"] });
    let bundle = bundle.with_dir("/huge").mount(mount);
    let allocate = |bytes: &str, resources: Value| {
        let bundle = Bundle::sharing_rootfs_of(&bundle).edit(|spec| {
            spec["mounts"] = bundle.spec()["mounts"].clone();
            spec["linux"]["resources"]["hugepageLimits"] = resources;
        });
        runtime.json(&bundle.args(["/probe", "allocate", "/huge/file", bytes]))
    };
    assert_eq!(allocate("2097152", limit.clone()), json!({ "ok": true }));
    assert_eq!(allocate("4194304", json!([])), json!({ "ok": true }), "without a limit");
    assert_eq!(allocate("4194304", limit), json!({ "error": "ENOSPC" }));
}

/// § Unified: files of the cgroup by name, several lines of one, after all others.
#[test]
fn unified_reaches_every_file() {
    require_controllers(&["memory", "pids", "cpu"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({
        "memory": { "limit": 64 << 20 },
        "unified": {
            "memory.max": "83886080", "memory.high": "41943040", "memory.oom.group": "1",
            "pids.max": "17", "cpu.max": "30000 100000",
        },
    }));
    let _container = runtime.start_ready(&bundle);
    let expected = [
        ("memory.max", "83886080"),
        ("memory.high", "41943040"),
        ("memory.oom.group", "1"),
        ("pids.max", "17"),
        ("cpu.max", "30000 100000"),
    ];
    assert_files(&bundle, &expected, "by unified");
}

/// Controllers of cgroup v1 alone are named in a warning; the container runs.
#[test]
fn settings_of_version_1_are_warned_of() {
    not_on_peer!("runc ignores them, crun refuses them");
    let runtime = Runtime::new();
    let old = json!({ "memory": { "swappiness": 10, "kernel": 1 << 20 }, "network": { "classID": 5 } });
    let outcome = runtime.run(&limited(&old).args(["/probe", "exit", "0"])).ok();
    for name in ["memory.swappiness", "memory.kernel", "network.classID"] {
        let text = format!("linux.resources.{name}: ignored, only cgroup v1 has it");
        assert!(outcome.stderr.contains(&text), "expected {text:?} in {outcome}");
    }
}

// --- refused -----------------------------------------------------------------------------------------

/// What the kernel refuses is reported with the property, the file, the value and the errno, and
/// nothing is left.
#[test]
fn a_limit_that_the_kernel_refuses_leaves_nothing() {
    not_on_peer!("the messages are ours");
    require_controllers(&["memory", "cpu", "cpuset", "io", "pids", "hugetlb", "rdma"]);
    let runtime = Runtime::new();
    let throttle = json!([{ "major": 250, "minor": 9, "rate": 5 }]);
    for (resources, texts) in [
        (json!({ "cpu": { "cpus": "1000" } }), ["cpu.cpus", "write \"1000\" to cpuset.cpus: E"]),
        (json!({ "cpu": { "mems": "900" } }), ["cpu.mems", "write \"900\" to cpuset.mems: E"]),
        (json!({ "cpu": { "quota": 10 } }), ["cpu.quota", "write \"10\" to cpu.max: EINVAL"]),
        (json!({ "cpu": { "quota": 5000, "burst": 6000 } }), ["cpu.burst", "write \"6000\" to cpu.max.burst: EINVAL"]),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": throttle } }),
            [
                "blockIO.throttleReadBpsDevice[0]",
                "write \"250:9 rbps=5\" to io.max: ENODEV; there is no such block device",
            ],
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 5 }] }),
            [
                "hugepageLimits[0]",
                "write hugetlb.3MB.max: no such file or directory (ENOENT); this kernel has no such limit",
            ],
        ),
        (
            json!({ "rdma": { "mlx5_1": { "hcaHandles": 3 } } }),
            ["rdma[\"mlx5_1\"]", "hca_object=max\" to rdma.max: ENODEV; there is no such device"],
        ),
        (
            json!({ "unified": { "misc.max": "sev 5" } }),
            ["unified[\"misc.max\"]", "write \"sev 5\" to misc.max: EINVAL; see misc.capacity"],
        ),
        (
            json!({ "unified": { "memory.max": "much" } }),
            ["unified[\"memory.max\"]", "write \"much\" to memory.max: EINVAL"],
        ),
        (
            json!({ "pids": { "limit": 5 }, "unified": { "memory.nosuch": "1" } }),
            [
                "unified[\"memory.nosuch\"]",
                "write memory.nosuch: no such file or directory (ENOENT); this kernel has no such limit",
            ],
        ),
        (
            json!({ "unified": { "nosuch.max": "1" } }),
            [
                "unified[\"nosuch.max\"]",
                "write nosuch.max: no such file or directory (ENOENT); this kernel has no such limit",
            ],
        ),
    ] {
        let bundle = limited(&resources);
        let outcome = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
        for text in texts {
            assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
        }
        assert!(outcome.stderr.contains("config.json: linux.resources."), "{outcome}");
        assert!(!bundle.cgroup().exists(), "the cgroup is left after {outcome}");
    }
    let left: Vec<_> = fs::read_dir(runtime.root()).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A cgroup that was there before is as before when the creation fails.
#[test]
fn a_cgroup_that_was_there_keeps_its_limits_when_create_fails() {
    require_controllers(&["pids"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "pids": { "limit": 5 }, "unified": { "pids.nosuch": "1" } }));
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    fs::write(bundle.cgroup().join("pids.max"), "77").expect("pids.max");
    let _ = runtime.try_create(&bundle).expect_err("create succeeds");
    assert!(is_peer() || is_there(&bundle, "pids.max"), "the cgroup has gone");
    if !is_peer() {
        assert_eq!(file(&bundle, "pids.max"), "77");
    }
}

/// The same when it fails over a limit that is set last, or over something else after the limits.
#[test]
fn a_cgroup_that_was_there_keeps_its_limits_when_create_fails_late() {
    not_on_peer!("they leave what they wrote");
    require_controllers(&["pids", "memory", "cpu"]);
    let runtime = Runtime::new();
    let early = json!({ "pids": { "limit": 5 }, "cpu": { "quota": 20_000 }, "memory": { "limit": 64 << 20 } });
    let before =
        [("pids.max", "77"), ("cpu.max", "max 50000"), ("memory.max", "99999744"), ("memory.swap.max", "4096")];
    let failing = |change: fn(Bundle) -> Bundle, text: &str| {
        let bundle = change(limited(&early));
        fs::create_dir(bundle.cgroup()).expect("a cgroup");
        for (name, value) in before {
            fs::write(bundle.cgroup().join(name), value).expect(name);
        }
        let outcome = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
        assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
        assert_files(&bundle, &before, &format!("after {outcome}"));
        fs::remove_dir(bundle.cgroup()).expect("the cgroup goes");
    };
    let much = |bundle: Bundle| bundle.set("/linux/resources/unified", json!({ "memory.max": "much" }));
    failing(much, "write \"much\" to memory.max: EINVAL");
    failing(|bundle| bundle.args(["/no/such/program"]), "/no/such/program");
}

/// Processes in the parent keep its controllers from its children: the error says what to do.
#[test]
fn a_parent_with_processes_has_no_controllers_for_a_container() {
    not_on_peer!("the message is ours");
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let outer = Bundle::new().args(["/probe", "sleep"]);
    let _container = runtime.start_ready(&outer);
    let name = outer.cgroup().file_name().expect("a name").to_string_lossy().into_owned();
    let inner =
        limited(&json!({ "memory": { "limit": 64 << 20 } })).set("/linux/cgroupsPath", json!(format!("/{name}/in")));
    let outcome = runtime.try_create(&inner).expect_err("create succeeds").exits(1).in_one_line();
    for text in [
        "linux.resources.memory.limit",
        "memory.max: no such file or directory (ENOENT)",
        "cgroup.subtree_control",
        "processes live in",
    ] {
        assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
    }
    assert!(!outer.cgroup().join("in").exists(), "the cgroup is left");
}

// --- killed out of memory, refused at the limit of processes ---------------------------------------

/// Whatever the limit: `create`, `start` and `exec` work, or say what killed the process. The
/// runtime itself is never killed, and nothing is left. Design § 7: `true` starts in 256 kB.
#[test]
fn an_oom_kill_is_reported_at_every_limit() {
    not_on_peer!("the messages are ours");
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let assert_oom = |outcome: &integration::Outcome| {
        let text = "the kernel killed it, out of memory (OOM): cgroup ";
        assert!(outcome.stderr.contains(text) && outcome.stderr.contains("memory.max is "), "{outcome}");
        assert!([1, 137, 255].contains(&outcome.code()), "{outcome}");
    };
    let mut smallest = None;
    for kib in (4..=64).step_by(20).chain((96..=320).step_by(32)).chain([512]) {
        let memory = json!({ "limit": kib << 10, "swap": kib << 10 });
        let bundle = limited(&json!({ "memory": memory })).args(["/probe", "exit", "0"]);
        let outcomes = [(); 3].map(|()| runtime.run(&bundle));
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.succeeded()).collect();
        failed.iter().for_each(|outcome| assert_oom(outcome));
        // From there on upwards it always runs.
        smallest = if failed.is_empty() { smallest.or(Some(kib)) } else { None };
        assert!(!bundle.cgroup().exists(), "the cgroup is left at {kib} KiB");
        let sleeper = bundle.args(["/probe", "sleep"]);
        let container = match runtime.try_create(&sleeper) {
            Ok(container) => container,
            Err(outcome) => {
                assert_oom(&outcome);
                assert!(!sleeper.cgroup().exists(), "the cgroup is left at {kib} KiB");
                continue;
            }
        };
        let started = container.call(["start"]).outcome();
        if !started.succeeded() {
            assert_oom(&started);
            continue;
        }
        let outcome = container.exec(["/probe", "exit", "0"]);
        if !outcome.succeeded() && !outcome.stderr.contains("cannot exec in a stopped container") {
            assert_oom(&outcome);
        }
    }
    eprintln!("\nthe memory.max from which on a program always runs: {smallest:?} KiB");
    assert!(smallest.is_some_and(|kib| kib <= 256), "{smallest:?} KiB");
}

/// Processes of a container that eats all it may do not reach the runtime that joins it.
#[test]
fn an_exec_that_is_killed_says_so() {
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let bundle =
        limited(&json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 }, "unified": { "memory.oom.group": "0" } }));
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec(["/probe", "eat", "100000000"]).exits(128 + 9);
    if !is_peer() {
        for text in ["the kernel killed it, out of memory (OOM)", "memory.max is 33554432", "its peak was 33"] {
            assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
        }
    }
    assert_eq!(container.status(), "running");
    let _ = container.exec(["/probe", "exit", "4"]).exits(4);
}

/// A container that is full takes no more processes: the error names limit and number.
#[test]
fn an_exec_that_finds_no_room_for_a_process_says_so() {
    not_on_peer!("the message is ours");
    require_controllers(&["pids"]);
    let runtime = Runtime::new();
    let bundle = limited(&json!({ "pids": { "limit": 4 } })).args(["/probe", "fork-sleep", "3"]);
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec(["/probe", "exit", "0"]).fails(255, "pids.max is 4, and 4 live there").in_one_line();
    assert!(outcome.stderr.contains("; raise linux.resources.pids.limit"), "{outcome}");
    // Room for one: the joining takes two for a moment.
    let _ = container.call(["update", "--pids-limit", "5"]).outcome().ok();
    let outcome = container.exec(["/probe", "exit", "0"]).exits(255).in_one_line();
    for text in ["EAGAIN", "pids.max is 5", "to enter a pid namespace takes two processes for a moment"] {
        assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
    }
    let _ = container.call(["update", "--pids-limit", "6"]).outcome().ok();
    let _ = container.exec(["/probe", "exit", "0"]).ok();
}

// --- nested -------------------------------------------------------------------------------------------

/// A container with user and cgroup namespaces and a writable cgroup mount.
fn delegated(resources: &Value) -> Bundle {
    let bundle = limited(resources).mapped_with_rootfs().without_mount("/sys/fs/cgroup");
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    bundle.mount(mount)
}

/// config-linux.md § Control groups, "Cgroup ownership": root of the user namespace may divide the
/// cgroup, and not lift its limits.
#[test]
fn a_delegated_cgroup_belongs_to_root_of_the_container() {
    let runtime = Runtime::new();
    let bundle = delegated(&json!({}));
    let container = runtime.start_ready(&bundle);
    let owner = |name: &str| {
        let path = bundle.cgroup().join(name);
        fs::metadata(path).ok().map(|file| std::os::unix::fs::MetadataExt::uid(&file))
    };
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").expect("delegate");
    assert_eq!(owner("."), Some(100_000), "the directory");
    for name in list.lines() {
        assert!([None, Some(100_000)].contains(&owner(name)), "{name}: {:?}", owner(name));
    }
    for name in ["cgroup.max.depth", "cgroup.freeze", "cgroup.kill", "memory.max", "pids.max", "hugetlb.2MB.max"] {
        assert!([None, Some(0)].contains(&owner(name)), "{name}: {:?}", owner(name));
    }
    let make = container.exec(["/probe", "mkdir", "/sys/fs/cgroup/inner"]).json();
    assert_eq!(make, json!({ "ok": true }));
    container.kill_and_delete();
    assert!(!bundle.cgroup().exists(), "the cgroup is left");
    // Where the container may not write there, nothing is given away.
    let bundle = limited(&json!({})).mapped_with_rootfs();
    let _container = runtime.start_ready(&bundle);
    let directory = fs::metadata(bundle.cgroup()).expect("the cgroup");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&directory), 0, "the directory of a read-only mount");
}

/// Init moves out of the way, controllers are enabled, a sub-cgroup is limited; the container's own
/// limits are out of reach, and exec finds its way.
#[test]
fn a_container_limits_its_own_sub_cgroups() {
    require_controllers(&["pids", "memory"]);
    let runtime = Runtime::new();
    let bundle = delegated(&json!({ "pids": { "limit": 50 }, "memory": { "limit": 64 << 20 } }));
    let container = runtime.start_ready(&bundle);
    let ok = json!({ "ok": true });
    let cgroup = |file: &str| format!("/sys/fs/cgroup/{file}");
    let write = |file: &str, text: &str| {
        container.exec_with(["--cgroup", "inner"], ["/probe", "write", &cgroup(file), text]).json()
    };
    assert_eq!(container.exec(["/probe", "mkdir", &cgroup("inner")]).json(), ok);
    assert_eq!(write("inner/cgroup.procs", "1"), ok, "pid 1 moves");
    assert_eq!(write("cgroup.subtree_control", "+pids +memory"), ok);
    assert_eq!(container.exec(["/probe", "mkdir", &cgroup("sub")]).json(), ok);
    assert_eq!(write("sub/pids.max", "3"), ok);
    assert_eq!(file(&bundle, "sub/pids.max"), "3");
    assert_ne!(write("pids.max", "1000"), ok, "its own limit");
    assert_ne!(write("memory.max", "max"), ok, "its own limit");
    assert_files(&bundle, &[("pids.max", "50"), ("memory.max", "67108864")], "still in force");
    // The container's cgroup may hold no process any more: exec goes where init is.
    let forked = container.exec_with(["--cgroup", "sub"], ["/probe", "forks", "9"]).json();
    assert_eq!(forked, json!({ "forked": 2, "error": "EAGAIN" }));
    let facts = container.exec(["/probe"]).json();
    assert!(facts["cgroup"].as_str().is_some_and(|text| text.contains("0::/inner")), "{}", facts["cgroup"]);
    let _ = container.call(["update", "--pids-limit", "60"]).outcome().ok();
    assert_eq!(file(&bundle, "pids.max"), "60");
    container.kill_and_delete();
    assert!(!bundle.cgroup().exists(), "the cgroup is left, with what was below it");
}

/// Many creations below one new parent, and somebody else who enables controllers there.
#[test]
fn controllers_are_enabled_while_others_do_the_same() {
    require_controllers(&["pids", "memory"]);
    let runtime = Runtime::new();
    let parent = cgroup_root().join(unique_name());
    let name = parent.file_name().expect("a name").to_string_lossy().into_owned();
    for _ in 0..3 {
        let bundles: Vec<_> =
            (0..4).map(|n| updatable_pids().set("/linux/cgroupsPath", json!(format!("/{name}/a/b{n}")))).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    let _ = fs::write(parent.join("cgroup.subtree_control"), "+pids +memory");
                    let _ = fs::write(parent.join("a/cgroup.subtree_control"), "+memory");
                    std::thread::yield_now();
                }
            });
            for (n, bundle) in bundles.iter().enumerate() {
                let (runtime, parent) = (&runtime, &parent);
                scope.spawn(move || {
                    let container = runtime.start_ready(bundle);
                    let text = fs::read_to_string(parent.join(format!("a/b{n}/pids.max"))).expect("pids.max");
                    assert_eq!(text, "10\n");
                    container.kill_and_delete();
                });
            }
        });
    }
    let _ = fs::remove_dir(parent.join("a"));
    let _ = fs::remove_dir(&parent);
    assert!(!parent.exists(), "the parent is left");
}
