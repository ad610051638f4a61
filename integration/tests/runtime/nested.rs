//! Containers in a container: `cleat` runs inside one, which sees its own cgroup as the root of the tree
//! (Linux cgroup-v2.rst, "No Internal Process Constraint", "Namespace").

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::PathBuf;

use integration::{Bundle, Container, Outcome, Runtime, cgroup_root, not_on_peer, require_controllers};
use serde_json::json;

/// Every capability of Linux 5.15.
fn all_capabilities() -> Vec<&'static str> {
    let text = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE \
        NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE \
        SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE \
        AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF \
        CHECKPOINT_RESTORE";
    text.split_whitespace().collect()
}

/// A container that may run others: what a privileged one of an engine has, and a bundle in `/inner`.
fn outer(runtime: &Runtime, inner: &Bundle) -> Bundle {
    let names: Vec<String> = all_capabilities().iter().map(|name| format!("CAP_{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let writable = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    let all = json!([{ "allow": true, "access": "rwm" }]);
    Bundle::new()
        .args(["/probe", "sleep"])
        .capabilities(&names)
        .set("/root/readonly", json!(false))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/linux/resources/devices", all)
        .without_mount("/sys/fs/cgroup")
        .mount(writable)
        .bind(runtime.program(), "/cleat", &["bind"])
        .bind(inner.path(), "/inner", &["rbind"])
        .with_dir("/state")
}

/// `cleat run` inside, as a process of the cgroup `at`.
fn run(container: &Container<'_>, at: &[&str]) -> Outcome {
    container.exec_with(
        at.iter().copied(),
        ["/cleat", "--log-level=warning", "--root", "/state", "run", "--bundle", "/inner", "in"],
    )
}

/// What is below a container's cgroup.
fn below(bundle: &Bundle) -> Vec<PathBuf> {
    let entries = fs::read_dir(bundle.cgroup()).expect("the cgroup").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn kind(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.cgroup().join("cgroup.type")).expect("cgroup.type").trim_end().to_owned()
}

/// Without limits the processes of the outer container may stay where they are, in what is the root of the tree
/// for them. The inner one's cgroup is below, and nothing of it is left.
#[test]
fn a_container_runs_another_one() {
    not_on_peer!("it is not one static program");
    let runtime = Runtime::new();
    let mut inner = Bundle::new();
    let bundle = outer(&runtime, &inner);
    let container = runtime.start_ready(&bundle);
    for path in [json!("/absolute"), json!("relative/path"), json!("")] {
        inner = inner.set("/linux/cgroupsPath", path.clone());
        let facts = run(&container, &[]).json();
        assert_eq!((&facts["pid"], &facts["hostname"]), (&json!(1), &json!("cleat")), "with {path}");
        assert_eq!(below(&bundle), Vec::<PathBuf>::new(), "left with {path}");
        assert_eq!(kind(&bundle), "domain", "with {path}");
    }
    assert_eq!(container.exec(["/probe", "list", "/state"]).json(), json!({ "names": [] }));
}

/// In a user namespace, too, whose root owns the cgroup.
#[test]
fn a_container_in_a_user_namespace_runs_another_one() {
    not_on_peer!("it is not one static program");
    let runtime = Runtime::new();
    let inner = Bundle::new().set("/linux/cgroupsPath", json!("/inner"));
    let bundle = outer(&runtime, &inner).mapped();
    for path in [bundle.rootfs(), bundle.rootfs().join("state"), inner.path().join("rootfs")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    let container = runtime.start_ready(&bundle);
    let facts = run(&container, &[]).json();
    assert_eq!((&facts["pid"], &facts["hostname"]), (&json!(1), &json!("cleat")));
    assert_eq!(below(&bundle), Vec::<PathBuf>::new(), "left");
}

/// Limits take controllers, which a cgroup with processes in it cannot give to those below: the error
/// says so and what to do. Once that is done, by the container itself as Docker's in Docker does it, they
/// hold, and `exec` from outside goes where the first process is.
#[test]
fn limits_of_an_inner_container_hold_when_the_outer_makes_room() {
    not_on_peer!("it is not one static program");
    require_controllers(&["memory", "pids"]);
    let runtime = Runtime::new();
    let inner = Bundle::new()
        .set("/linux/cgroupsPath", json!("/inner"))
        .set("/linux/resources/pids", json!({ "limit": 3 }))
        .set("/linux/resources/memory", json!({ "limit": 64 << 20 }))
        .args(["/probe", "forks", "9"]);
    let bundle = outer(&runtime, &inner);
    let container = runtime.start_ready(&bundle);
    let outcome = run(&container, &[]).exits(1);
    for text in [
        "config.json: linux.resources.pids.limit: cgroup /sys/fs/cgroup/inner: write pids.max: no such file or directory (ENOENT)",
        "processes live in /sys/fs/cgroup, so its cgroups get no controllers; move them, then: echo +pids",
    ] {
        assert!(outcome.stderr.contains(text), "expected {text:?} in {outcome}");
    }
    assert_eq!((below(&bundle), kind(&bundle)), (Vec::new(), "domain".to_owned()), "after {outcome}");
    let check = container.exec(["/cleat", "check", "/inner"]).exits(1);
    assert!(check.stdout.contains("processes live in /sys/fs/cgroup"), "{check}");
    // What the entry point of such an image does.
    let ok = json!({ "ok": true });
    assert_eq!(container.exec(["/probe", "mkdir", "/sys/fs/cgroup/init"]).json(), ok);
    let procs = "/sys/fs/cgroup/init/cgroup.procs";
    assert_eq!(container.exec_with(["--cgroup", "init"], ["/probe", "write", procs, "1"]).json(), ok);
    let forked = run(&container, &["--cgroup", "init"]).json();
    assert_eq!(forked, json!({ "forked": 2, "error": "EAGAIN" }));
    assert_eq!(below(&bundle), [bundle.cgroup().join("init")], "left");
    // The container's cgroup may hold no process any more.
    let facts = container.exec(["/probe"]).json();
    assert!(facts["cgroup"].as_str().is_some_and(|text| text.contains("0::/init")), "{}", facts["cgroup"]);
    // Nobody lies beside or above it.
    let outcome = container.exec_with(["--cgroup", "../"], ["/probe"]).exits(255).in_one_line();
    assert!(outcome.stderr.contains("--cgroup") || outcome.stderr.contains("cgroup ../"), "{outcome}");
    container.kill_and_delete();
    assert!(!bundle.cgroup().exists(), "the cgroup is left");
}

/// Where its own cgroup is an inner node and its first process has left it for one beside, `exec`
/// joins that there, which is said.
#[test]
fn exec_joins_the_first_process_where_it_has_left_the_containers_cgroup() {
    not_on_peer!("the message is ours");
    require_controllers(&["memory"]);
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let beside = cgroup_root().join(integration::unique_name());
    fs::create_dir(&beside).expect("a cgroup");
    fs::write(beside.join("cgroup.procs"), container.pid().to_string()).expect("the process moves");
    fs::write(bundle.cgroup().join("cgroup.subtree_control"), "+memory").expect("an inner node");
    let joined = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
    let processes = fs::read_to_string(beside.join("cgroup.procs")).expect("cgroup.procs");
    assert!(processes.lines().any(|pid| *pid == joined.pid().to_string()), "{processes:?}");
    drop(joined);
    let outcome = container.exec(["/probe"]).ok().in_one_line();
    assert!(outcome.stderr.contains("the container's first process has left its cgroup"), "{outcome}");
    drop(container);
    integration::eventually("the cgroup goes", || fs::remove_dir(&beside).map_err(|error| error.to_string()));
}

/// Where a filter forbids the runtime to make a session keyring, a container has its caller's, and its processes, too:
/// each of them says so.
#[test]
fn boundary_a_keyring_that_cannot_be_made_is_reported() {
    not_on_peer!("the message is ours");
    let runtime = Runtime::new();
    let inner = Bundle::new().set("/linux/cgroupsPath", json!("/inner"));
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
    let bundle = outer(&runtime, &inner).set("/linux/seccomp", filter);
    let container = runtime.start_ready(&bundle);
    let outcome = run(&container, &[]).ok();
    assert!(outcome.stderr.contains("no session keyring of its own can be made"), "nobody is warned: {outcome}");
}
