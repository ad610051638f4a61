//! runtime.md, "Errors": "the environment MUST be in the state as if the operation were never
//! attempted": nothing is left, after success, after a failure at any step, after kill -9.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use integration::{Bundle, Runtime, Snapshot, give, not_on_peer, proc, reap_orphans, tries, unique_name};
use rustix::process::Signal;
use serde_json::json;

/// The host is looked at as a whole: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// A success leaves nothing.
#[test]
fn a_whole_life_leaves_nothing() {
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), sleeper());
    // The state root itself stays.
    runtime.start_ready(&bundle).kill_and_delete();
    reap_orphans();
    let before = Snapshot::take(&runtime);
    for _ in 0..3 {
        let container = runtime.start_ready(&bundle);
        let _ = container.exec(["/probe"]).ok();
        let _ = container.call(["pause"]).outcome().ok();
        let _ = container.call(["resume"]).outcome().ok();
        container.kill_and_delete();
    }
    before.assert_again(&runtime, "after a whole life");
}

/// `run`, in the foreground and detached.
#[test]
fn run_leaves_nothing() {
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), Bundle::new().args(["/probe", "exit", "3"]));
    let _ = runtime.run(&bundle).exits(3);
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let _ = runtime.run(&bundle).exits(3);
    let id = unique_name();
    let _ = runtime.call(["run", "--detach", "-b"]).arg(bundle.path()).arg(&id).outcome().ok();
    let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    before.assert_again(&runtime, "after run");
}

/// A failure of `create`, for reasons at every stage of the creation.
#[test]
fn a_failed_create_leaves_nothing() {
    let _alone = alone();
    let runtime = Runtime::new();
    let _ = runtime.run(&Bundle::new()).ok();
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let bundles = [
        Bundle::new().args(["no-such-program"]),
        Bundle::new().set("/root/path", json!("no-such-rootfs")),
        Bundle::new().mount(json!({ "destination": "/data", "type": "nosuchfs", "source": "x" })),
        Bundle::new().bind("/no/such/source".as_ref(), "/data", &["bind"]),
        Bundle::new().namespace(json!({ "type": "network", "path": "/etc/passwd" })),
        Bundle::new().set("/linux/sysctl", json!({ "net.no.such.sysctl": "1" })),
        Bundle::new().raw_hook("createRuntime", json!({ "path": "/bin/false" })),
        Bundle::new().raw_hook("createContainer", json!({ "path": "/bin/false" })),
        Bundle::new().set("/process/terminal", json!(true)),
    ];
    for bundle in &bundles {
        let outcome = runtime.try_create(bundle).expect_err("create succeeds").exits(1);
        before.assert_again(&runtime, &format!("after {outcome}"));
    }
}

/// So does a caller that may open few descriptors, or has most of them open: the error says what is missing before
/// anything is made, as undoing takes descriptors, too.
#[test]
fn too_few_descriptors_leave_nothing() {
    not_on_peer!("they do not say what is missing");
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), Bundle::new().args(["/probe", "exit", "0"]));
    let hooked = Bundle::new().args(["/probe", "exit", "0"]).raw_hook("createRuntime", json!({ "path": "/bin/true" }));
    let path = |bundle: &Bundle| bundle.path().to_str().expect("UTF-8").to_owned();
    let run = |script: &str, bundle: &Bundle| {
        let args = ["run", "--bundle", &path(bundle), &unique_name()].map(str::to_owned);
        runtime.through_shell(&format!("{script} && exec \"$0\" \"$@\""), args).outcome()
    };
    let _ = run("ulimit -Sn 64", &hooked).ok();
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let open: String = (3..10).map(|number| format!(" {number}</dev/null")).collect();
    for limit in 3..=32 {
        for (script, room) in [(format!("ulimit -Sn {limit}"), 23), (format!("exec{open} && ulimit -Sn {limit}"), 30)] {
            for bundle in [&bundle, &hooked] {
                let outcome = run(&script, bundle);
                // This process may have been given some that are open, too.
                if limit < room || !outcome.succeeded() {
                    let outcome = outcome.refused(&format!("RLIMIT_NOFILE is {limit}, which leaves ")).in_one_line();
                    assert!(outcome.stderr.contains("ulimit -n"), "{outcome}");
                }
            }
            before.assert_again(&runtime, &format!("after {script:?}"));
        }
    }
}

/// A failed `exec` leaves the container as it was.
#[test]
fn a_failed_exec_leaves_nothing() {
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let _ = container.exec(["/probe", "exit", "0"]).ok();
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let procs = || std::fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    for (options, args) in [
        (&[][..], ["/no/such/program"]),
        (&["--cwd", "/proc/self/fd/9"], ["/probe"]),
        (&["--cgroup", "../.."], ["/probe"]),
    ] {
        if integration::is_peer() && !options.is_empty() {
            continue;
        }
        let _ = container.exec_with(options, args).exits(255);
        before.assert_again(&runtime, &format!("after exec {options:?} {args:?}"));
        assert_eq!(procs().lines().count(), 1, "processes in the container: {}", procs());
    }
}

/// The steps of a creation, as the runtime lists them.
fn steps(runtime: &Runtime) -> Vec<String> {
    let text = runtime.call(["plan", "--steps"]).outcome().ok().stdout;
    let steps: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(steps.len() > 5, "steps: {text:?}");
    steps
}

/// A bundle in which no step is idle: every namespace, hook, device and path there can be.
fn full_bundle() -> Bundle {
    let hook = json!({ "path": "/bin/true" });
    let bundle = sleeper().mapped();
    // The root file system belongs to the container's root.
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    std::fs::set_permissions(bundle.dir(), PermissionsExt::from_mode(0o755)).expect("chmod");
    bundle
        .namespace(json!({ "type": "time" }))
        .set("/linux/timeOffsets", json!({ "boottime": { "secs": 10, "nanosecs": 0 } }))
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .set("/domainname", json!("example.org"))
        .set("/process/oomScoreAdj", json!(500))
        .raw_hook("prestart", hook.clone())
        .raw_hook("createRuntime", hook.clone())
        .raw_hook("createContainer", hook)
}

/// A step that fails on purpose, for each step: the host is as before.
#[test]
fn a_failure_at_any_step_leaves_nothing() {
    not_on_peer!("the peers have no steps that can be made to fail");
    let _alone = alone();
    let runtime = Runtime::new();
    for bundle in [sleeper(), full_bundle()] {
        let _ = runtime.run_with(&bundle, |call| call.arg("--detach")).ok();
        reap_orphans();
        let before = Snapshot::take(&runtime);
        let mut seen = 0;
        for step in steps(&runtime) {
            let fault = format!("{step}:fail");
            match runtime.try_create_with(&bundle, |call| call.env("CLEAT_FAULT", &fault)) {
                Err(outcome) => {
                    let outcome = outcome.exits(1).in_one_line();
                    assert!(outcome.stderr.contains(&step), "{fault}: the step is not named: {outcome}");
                    seen += 1;
                }
                // A step of `start`, or one that this bundle has no use for.
                Ok(container) => {
                    let outcome = container.call(["start"]).env("CLEAT_FAULT", &fault).outcome();
                    seen += i32::from(!outcome.succeeded());
                }
            }
            before.assert_again(&runtime, &format!("after {fault}"));
        }
        assert!(seen > 5, "only {seen} steps can fail");
    }
}

/// kill -9 of the runtime at each step: the next command gives a true answer, `delete --force`
/// removes everything, the host is as before.
#[test]
fn kill_9_at_any_step_leaves_nothing_after_delete() {
    not_on_peer!("the peers have no steps to be killed at");
    let _alone = alone();
    let runtime = Runtime::new();
    for bundle in [sleeper(), full_bundle()] {
        let _ = runtime.run_with(&bundle, |call| call.arg("--detach")).ok();
        reap_orphans();
        let before = Snapshot::take(&runtime);
        let mut seen = 0;
        for step in steps(&runtime) {
            let (fault, id) = (format!("{step}:kill"), unique_name());
            let create = runtime.call(["create", "--bundle"]).env("CLEAT_FAULT", &fault).arg(bundle.path()).arg(&id);
            let outcome = create.outcome();
            if outcome.succeeded() {
                let start = runtime.call(["start", &id]).env("CLEAT_FAULT", &fault).outcome();
                assert!([0, 1, 128 + 9].contains(&start.code()), "{fault}: {start}");
                seen += i32::from(!start.succeeded());
            } else {
                // At a step of the init it is the init that is killed, and the runtime says so.
                assert!([1, 128 + 9].contains(&outcome.code()), "{fault}: {outcome}");
                seen += 1;
            }
            assert_true_answer(&runtime, &id, &fault);
            let _ = runtime.call(["delete", "--force", &id]).spawn().outcome_reaping().ok();
            before.assert_again(&runtime, &format!("after {fault} and delete --force"));
        }
        assert!(seen > 5, "killed at {seen} steps only");
    }
}

/// `state` knows it and says something that holds, or says in one line that it does not exist or
/// that its creation was cut short and how to remove the rest.
fn assert_true_answer(runtime: &Runtime, id: &str, when: &str) {
    let outcome = runtime.call(["state", id]).outcome();
    if !outcome.succeeded() {
        let outcome = outcome.exits(1).in_one_line();
        let is_true = ["container does not exist", "delete --force"].iter().any(|text| outcome.stderr.contains(text));
        assert!(is_true, "{when}: {outcome}");
        return;
    }
    let state = outcome.json();
    let (status, pid) = (state["status"].as_str().unwrap_or_default(), state["pid"].as_u64().unwrap_or(0));
    let ended = proc::has_ended(pid);
    let is_alive = pid != 0 && ended.is_err();
    match status {
        "created" | "running" if is_alive => {}
        "created" | "running" => {
            // It may have died between the two looks; then it is known to be dead now.
            let again = runtime.call(["state", id]).outcome().json();
            assert_eq!(again["status"], "stopped", "{when}: {state} with a process that {ended:?}");
        }
        "creating" | "stopped" => {}
        _ => panic!("{when}: {state}"),
    }
}

/// Lets some time pass by counting, as the clock goes: the point is to kill anywhere.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// All that is there, with what it is and when it was changed.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, u32, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let metadata = entry.path().symlink_metadata().expect("a file");
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path(), (metadata.ino(), metadata.mode(), metadata.ctime(), metadata.ctime_nsec()));
    }
    found
}

/// Nothing is changed on the host: no file, mount, cgroup or process, and no state directory.
#[test]
fn check_changes_nothing() {
    not_on_peer!("no peer has it");
    let _alone = alone();
    let runtime = Runtime::new();
    let bundle = Bundle::new()
        .mount(json!({ "destination": "/new/deep", "type": "tmpfs", "source": "tmpfs" }))
        .bind(Path::new("/etc"), "/made", &["rbind", "idmap"])
        .hook("createRuntime", Path::new("/nonexistent"), "tag", 0)
        .set("/process/cwd", json!("/work"));
    let bundle = bundle.mapped();
    reap_orphans();
    let (before, tree) = (Snapshot::take(&runtime), files(bundle.path()));
    let _ = runtime.call(["check"]).arg(bundle.path()).outcome();
    let _ = runtime.call(["check"]).outcome().ok();
    before.assert_again(&runtime, "a check");
    assert_eq!(files(bundle.path()), tree);
    assert!(!runtime.root().exists() && !bundle.cgroup().exists());
}

/// kill -9 of `create`, `start`, `exec` and `delete` at any point.
#[test]
fn kill_9_at_any_time_leaves_nothing_after_delete() {
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let whole = {
        let start = Instant::now();
        runtime.start_ready(&bundle).kill_and_delete();
        start.elapsed() / 2
    };
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let rounds = tries() / 4;
    for round in 0..rounds {
        let id = unique_name();
        let after = whole * round / rounds;
        let killed = |call: integration::Call| {
            let running = call.spawn();
            spin(after);
            running.signal(Signal::KILL);
            let _ = running.outcome();
        };
        let create = || runtime.call(["create", "--bundle"]).arg(bundle.path()).arg(&id);
        match round % 4 {
            0 => killed(create()),
            verb => {
                let _ = create().outcome().ok();
                if verb > 1 {
                    let _ = runtime.call(["start", &id]).outcome().ok();
                }
                killed(match verb {
                    1 => runtime.call(["start", &id]),
                    2 => runtime.call(["exec", &id, "/probe", "exit", "0"]),
                    _ => runtime.call(["delete", "--force", &id]),
                });
            }
        }
        if !integration::is_peer() {
            assert_true_answer(&runtime, &id, "after kill -9");
        }
        let deleted = runtime.call(["delete", "--force", &id]).spawn().outcome_reaping();
        if integration::is_peer() {
            // runc does not always find what a killed create has left.
            clean_up_after_peer(&runtime, &bundle, &id);
        } else {
            let _ = deleted.ok();
            before.assert_again(&runtime, &format!("after kill -9, {after:?} into it, round {round}"));
        }
    }
}

fn clean_up_after_peer(runtime: &Runtime, bundle: &Bundle, id: &str) {
    let _ = std::fs::write(bundle.cgroup().join("cgroup.kill"), "1");
    reap_orphans();
    let _ = std::fs::remove_dir(bundle.cgroup());
    let _ = std::fs::remove_dir_all(runtime.root().join(id));
}

/// The same of an ordinary user, whose user namespace waits for its mapping meanwhile: a host half
/// that dies leaves no process that waits for ever.
#[test]
fn a_failed_create_of_an_ordinary_user_leaves_nothing() {
    not_on_peer!("no peer can be made to fail at a step");
    let _alone = alone();
    let runtime = Runtime::as_user();
    let bundle = Bundle::new().rootless(runtime.uid());
    let _ = runtime.run(&bundle).ok();
    reap_orphans();
    let before = Snapshot::take(&runtime);
    let steps =
        ["clone", "id-map", "oom-score", "raise-limits", "send-plan", "mounts", "devices", "credentials", "save-state"];
    for step in steps {
        for kind in ["fail", "kill"] {
            let fault = format!("{step}:{kind}");
            let outcome = runtime.run_with(&bundle, |call| call.env("CLEAT_FAULT", &fault));
            assert_ne!(outcome.code(), 0, "{fault}: {outcome}");
            before.assert_again(&runtime, &format!("after {fault}"));
        }
    }
}

/// And of root's containers with a user namespace, one of them in a network given by path.
#[test]
fn a_failed_create_in_a_user_namespace_leaves_nothing() {
    not_on_peer!("no peer can be made to fail at a step");
    let _alone = alone();
    let runtime = Runtime::new();
    let path = format!("/proc/{}/ns/net", std::process::id());
    let mapped = Bundle::new().mapped();
    give(&mapped.rootfs(), 100_000);
    let joined = Bundle::sharing_rootfs_of(&mapped).mapped().without_mount("/sys").without_mount("/sys/fs/cgroup");
    let joined = joined.namespace(json!({ "type": "network", "path": path })).without("/hostname");
    for bundle in [&mapped, &joined] {
        let _ = runtime.run(bundle).ok();
        reap_orphans();
        let before = Snapshot::take(&runtime);
        for fault in ["clone:kill", "id-map:fail", "id-map:kill", "oom-score:kill", "send-plan:kill", "mounts:kill"] {
            let outcome = runtime.run_with(bundle, |call| call.env("CLEAT_FAULT", fault));
            assert_ne!(outcome.code(), 0, "{fault}: {outcome}");
            before.assert_again(&runtime, &format!("after {fault}"));
        }
    }
}
