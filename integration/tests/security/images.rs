//! Images are code that root of the host is asked to run (C.12). What they hold beyond config.json is seen before
//! it runs: nothing of it does, and nothing is left.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::symlink;

use integration::criu::{Original, Restored, Step, before, failing_restore};
use integration::{Bundle, Runtime, cgroup_root, reap_orphans_in, unique_name};
use serde_json::json;

const STAND_IN: &str = env!("CARGO_BIN_EXE_criu-stand-in");

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// A restore of something else than what config.json asks for: the message names the property.
fn refused(original: &Original, restored: Restored, property: &str) {
    let criu = original.criu_with(Step::restore(restored));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let outcome = failing_restore(&runtime, &bundle, &criu).in_one_line();
    assert!(outcome.stderr.contains(property), "expected {property:?}: {outcome}");
}

/// The rest proves nothing otherwise.
#[test]
fn what_is_as_asked_for_is_restored() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = runtime.try_restore(&bundle, &criu.images(), |call| call);
    let container = container.unwrap_or_else(|outcome| panic!("expected success of {outcome}"));
    container.wait_for_line("ready");
    container.kill_and_delete();
}

/// Its capabilities.
#[test]
fn capabilities_that_nobody_asked_for_are_refused() {
    let original = Original::of(STAND_IN, sleeper());
    refused(&original, Restored { all_capabilities: true, ..original.restored() }, "process.capabilities");
}

/// CRIU itself has `no_new_privs` where config.json asks for it: nothing that it makes is without.
#[test]
fn no_restored_process_may_gain_privileges() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu_with(Step::restore(Restored { new_privileges: true, ..original.restored() }));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = runtime.try_restore(&bundle, &criu.images(), |call| call);
    let container = container.unwrap_or_else(|outcome| panic!("expected success of {outcome}"));
    let status = fs::read_to_string(container.proc("status")).expect("status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    container.kill_and_delete();
}

/// A filter that is not there.
#[test]
fn a_process_without_its_filter_is_refused() {
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["ptrace"], "action": "SCMP_ACT_ERRNO" }] });
    let original = Original::of(STAND_IN, sleeper().set("/linux/seccomp", filter));
    refused(&original, original.restored(), "linux.seccomp");
    let criu = original.criu_with(Step::restore(Restored { filter: true, ..original.restored() }));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = runtime.try_restore(&bundle, &criu.images(), |call| call);
    container.unwrap_or_else(|outcome| panic!("expected success of {outcome}")).kill_and_delete();
}

/// A mount more.
#[test]
fn a_mount_that_nobody_asked_for_is_refused() {
    let original = Original::of(STAND_IN, sleeper().with_dir("/extra"));
    refused(&original, Restored { mount: Some("/extra".into()), ..original.restored() }, "/extra");
}

/// A file of the host, by which its root directory is reached (CVE-2024-21626).
#[test]
fn an_open_directory_of_the_host_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    refused(&original, Restored { open: Some("/".into()), ..original.restored() }, "open");
    let secret = original.bundle.dir().join("secret");
    fs::write(&secret, "the host's").expect("a file");
    refused(&original, Restored { open: Some(secret), ..original.restored() }, "secret");
}

/// A namespace of the host, which setns(2) takes.
#[test]
fn an_open_namespace_of_the_host_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    for file in ["mnt", "net", "pid"] {
        let open = Some(format!("/proc/{}/ns/{file}", std::process::id()).into());
        refused(&original, Restored { open, ..original.restored() }, file);
    }
}

/// Another user than config.json's.
#[test]
fn another_user_is_refused() {
    let user = sleeper().set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let original = Original::of(STAND_IN, user.with_mode("/probe", 0o755));
    refused(&original, Restored { uid: Some(0), ..original.restored() }, "process.user.uid");
}

/// Limits and the device program are the cgroup's.
#[test]
fn a_process_outside_of_the_cgroup_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let elsewhere = cgroup_root().join(unique_name());
    fs::create_dir(&elsewhere).expect("a cgroup");
    let restored = Restored { cgroup: Some(elsewhere.clone()), ..original.restored() };
    let criu = original.criu_with(Step::restore(restored));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let outcome = failing_restore(&runtime, &bundle, &criu).in_one_line();
    assert!(outcome.stderr.contains("cgroup"), "{outcome}");
    integration::eventually("an empty cgroup", || {
        reap_orphans_in(&elsewhere);
        fs::remove_dir(&elsewhere).map_err(|error| error.to_string())
    });
}

/// A namespace of the host instead of a new one.
#[test]
fn namespaces_of_the_host_are_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let texts = ["network namespace", "linux.namespaces[2]", "linux.namespaces[3]"];
    for (file, text) in ["net", "ipc", "uts"].into_iter().zip(texts) {
        refused(&original, Restored { host_namespaces: vec![file.into()], ..original.restored() }, text);
    }
}

/// Another process than the first one, with more than it.
#[test]
fn a_second_process_with_capabilities_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    refused(&original, Restored { companion: true, ..original.restored() }, "process.capabilities");
}

/// A number that is none of ours, or of nobody: a pid is only taken of a child.
#[test]
fn a_pid_that_is_no_child_of_ours_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let child = |pid: i32| {
        let steps = Step::restore(original.restored()).into_iter().map(|step| match step {
            Step::Notify { script, with_pid: true } => Step::NotifyOf { script, pid },
            other => other,
        });
        let criu = original.criu_with(steps.collect());
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = Bundle::twin_of(&original.bundle);
        let outcome = failing_restore(&runtime, &bundle, &criu);
        assert!(fs::exists(format!("/proc/{}", original.restored().template)).expect("/proc"), "killed by {outcome}");
    };
    for pid in [1, original.restored().template, 0, -1, i32::MAX] {
        child(pid);
    }
    refused(&original, Restored { not_sibling: true, ..original.restored() }, "child");
}

/// Links of the root file system are not followed out of it when mount points are made.
#[test]
fn mount_points_are_not_made_through_links_to_the_host() {
    let bundle = sleeper();
    let (source, outside) = (bundle.dir().join("source"), bundle.dir().join("outside"));
    fs::create_dir(&source).expect("a directory");
    fs::create_dir(&outside).expect("a directory");
    let original = Original::of(STAND_IN, bundle);
    symlink(&outside, original.bundle.rootfs().join("out")).expect("a link");
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle).bind(&source, "/out/made", &["bind"]);
    let _ = runtime.try_restore(&bundle, &criu.images(), |call| call);
    assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);
}

/// The order of its callbacks is CRIU's own: what is not so is no CRIU.
#[test]
fn a_restore_that_resumes_without_having_restored_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let early = Step::Notify { script: "pre-resume".into(), with_pid: false };
    let criu = original.criu_with(before("setup-namespaces", Step::restore(original.restored()), &[early]));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let _ = failing_restore(&runtime, &bundle, &criu);
}

/// CVE-2026-53489: a link among the files of a checkpoint is read as root, and what it leads to is told.
#[test]
fn files_beside_images_are_no_links() {
    let original = Original::of(STAND_IN, sleeper());
    let secret = original.bundle.dir().join("secret");
    fs::write(&secret, r#"[{"key":"the host's secret","stream":1}]"#).expect("a file");
    for name in ["descriptors.json", "external-files.json"] {
        let criu = original.criu();
        let file = criu.images().join(name);
        let _ = fs::remove_file(&file);
        symlink(&secret, &file).expect("a link");
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = Bundle::twin_of(&original.bundle);
        let outcome = failing_restore(&runtime, &bundle, &criu).in_one_line();
        assert!(!outcome.stderr.contains("the host's secret"), "{outcome}");
        assert!(outcome.stderr.contains(name), "{outcome}");
    }
}

/// Without the callback at which all is looked at nothing is restored.
#[test]
fn a_restore_that_nobody_could_audit_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let steps = Step::restore(original.restored()).into_iter();
    let criu = original.criu_with(steps.filter(|step| !step.is_callback("pre-resume")).collect());
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let outcome = runtime.try_restore(&bundle, &criu.images(), |call| call).expect_err("a failure");
    let _ = outcome.refused("audited").in_one_line();
    reap_orphans_in(&bundle.cgroup());
    integration::nothing_is_left(&runtime);
    assert!(!bundle.cgroup().exists());
}
