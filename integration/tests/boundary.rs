//! Its own holes (SECURITY.md, "Its own"): what confines a container holds in every combination.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use integration::{Bundle, Container, Runtime, json_lines, not_on_peer, tries};
use serde_json::{Value, json};

/// What opens for everybody where nothing stands in the way, and no container has by default: `/dev/fuse`.
const FUSE: [&str; 3] = ["c", "10", "229"];

/// A node that everybody may open.
fn node(path: &Path) {
    let made = Command::new("mknod").arg(path).args(FUSE).status();
    assert!(made.is_ok_and(|status| status.success()), "mknod {}", path.display());
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("chmod");
}

fn no_devices(bundle: Bundle) -> Bundle {
    bundle.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }]))
}

/// Root of a user namespace of the container's own.
fn mapped(bundle: Bundle) -> Bundle {
    integration::give(&bundle.rootfs(), 100_000);
    bundle.mapped()
}

fn refused(answers: &Value, with: &str, when: &str) {
    for way in ["read", "write"] {
        assert_eq!(answers[way], with, "{when}: opening a device of the host for {way}: {answers}");
    }
}

/// Boundary 1: The device rules hold with a user namespace, too: a node in a volume that may have devices.
#[test]
fn boundary_1_a_device_filter_with_a_user_namespace() {
    let runtime = Runtime::new();
    for new in [true, false] {
        let bundle = no_devices(Bundle::new());
        let volume = bundle.dir().join("volume");
        fs::create_dir(&volume).expect("a volume");
        node(&volume.join("node"));
        let bundle = bundle.bind(&volume, "/volume", &["rbind", "dev"]).args(["/probe", "sleep"]);
        let bundle = if new { mapped(bundle) } else { bundle };
        let container = runtime.start_ready(&bundle);
        refused(&container.exec(["/probe", "open-dev", "/volume/node"]).json(), "EPERM", "exec");
        container.kill_and_delete();
        let facts = runtime.json(&bundle.args(["/probe", "open-dev", "/volume/node"]));
        refused(&facts, "EPERM", "run");
    }
}

/// Boundary 1: The same in a user namespace that is joined.
#[test]
fn boundary_1_a_device_filter_with_a_joined_user_namespace() {
    let runtime = Runtime::new();
    let other = mapped(Bundle::new().args(["/probe", "sleep"]));
    let first = runtime.start_ready(&other);
    let bundle = no_devices(Bundle::new());
    let volume = bundle.dir().join("volume");
    fs::create_dir(&volume).expect("a volume");
    node(&volume.join("node"));
    integration::give(&bundle.rootfs(), 100_000);
    let bundle = bundle
        .bind(&volume, "/volume", &["rbind", "dev"])
        .namespace(json!({ "type": "user", "path": first.proc("ns/user") }))
        .args(["/probe", "open-dev", "/volume/node"]);
    refused(&runtime.json(&bundle), "EPERM", "a joined user namespace");
}

/// Boundary 1: The second wall: in a user namespace nodes of the image and of volumes are none, whatever the rules
/// are; those that were asked for are.
#[test]
fn boundary_1_nodes_that_nobody_asked_for_are_none_in_a_user_namespace() {
    not_on_peer!("it has no second wall");
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]));
    let volume = bundle.dir().join("volume");
    fs::create_dir(&volume).expect("a volume");
    node(&volume.join("node"));
    node(&bundle.rootfs().join("node"));
    let bundle = mapped(
        bundle
            .bind(&volume, "/volume", &["rbind"])
            .bind(&volume.join("node"), "/bound", &["bind"])
            .args(["/probe", "sleep"]),
    );
    let container = runtime.start_ready(&bundle);
    let open = |path: &str| container.exec(["/probe", "open-dev", path]).json();
    refused(&open("/volume/node"), "EACCES", "a volume");
    refused(&open("/node"), "EACCES", "the image");
    for path in ["/bound", "/dev/null"] {
        assert_eq!(open(path)["read"], "ok", "{path} was asked for");
    }
}

/// Boundary 1: An ordinary user's container has no filter: there the second wall is the only one.
#[test]
fn boundary_1_nodes_are_none_for_an_ordinary_user() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "open-dev", "/node"]);
    node(&bundle.rootfs().join("node"));
    refused(&runtime.json(&bundle), "EACCES", "an ordinary user's container");
}

/// A profile that forbids one call.
fn forbids(call: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }] })
}

/// What a tracer with `CAP_SYS_PTRACE` has seen of others.
fn traced(container: &Container<'_>) -> Vec<Value> {
    container.kill("KILL");
    let _ = container.wait();
    json_lines(&container.stdout()).into_iter().filter(|line| line.get("traced").is_some()).collect()
}

fn tracer() -> Bundle {
    Bundle::new()
        .capabilities(&["CAP_SYS_PTRACE"])
        .set("/linux/seccomp", forbids("acct"))
        .set("/process/noNewPrivileges", json!(true))
        .args(["/probe", "attack-trace"])
}

fn assert_under_the_filter(traced: &[Value]) {
    assert!(!traced.is_empty(), "nothing could be traced");
    for line in traced {
        assert_eq!(line["seccomp"], "2", "traced before the filter was in force: {line}");
    }
}

/// Boundary 4: What joins a container that may trace it has its filter before it is seen there.
#[test]
fn boundary_4_what_joins_has_its_filter_before_it_can_be_traced() {
    let runtime = Runtime::new();
    let bundle = tracer();
    let container = runtime.start_ready(&bundle);
    for _ in 0..tries() {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    assert_under_the_filter(&traced(&container));
}

/// Boundary 4, and a shared pid namespace: a container that is made where others live has neither privileges nor
/// lacks a filter when it is seen there.
#[test]
fn boundary_4_a_shared_pid_namespace_is_entered_last() {
    not_on_peer!("it is made inside of the shared pid namespace");
    let runtime = Runtime::new();
    let bundle = tracer();
    let container = runtime.start_ready(&bundle);
    let pid_namespace = json!({ "type": "pid", "path": container.proc("ns/pid") });
    for new_user in [false, true] {
        let bundle = Bundle::new()
            .namespace(pid_namespace.clone())
            .set("/linux/seccomp", forbids("acct"))
            .set("/process/noNewPrivileges", json!(true))
            .args(["/probe", "exit", "0"]);
        let bundle = if new_user { mapped(bundle.without_mount("/proc").with_dir("proc")) } else { bundle };
        for _ in 0..tries() / 2 {
            let other = runtime.create(&bundle);
            other.start();
            assert_eq!(other.wait(), 0, "{}", other.stderr());
            other.delete();
        }
    }
    let traced = traced(&container);
    assert_under_the_filter(&traced);
    let usual = 1 << 5 | 1 << 10 | 1 << 29;
    for line in traced {
        let permitted = line["permitted"].as_str().and_then(|text| u64::from_str_radix(text, 16).ok());
        assert_eq!(permitted.expect("a set") & !usual, 0, "traced with privileges of the runtime's: {line}");
    }
}

/// A container in a shared pid namespace sees its processes, through a procfs of it.
#[test]
fn a_shared_pid_namespace_has_its_procfs_and_terminal() {
    let runtime = Runtime::new();
    let other = Bundle::new().args(["/probe", "sleep"]);
    let first = runtime.start_ready(&other);
    let bundle = Bundle::new().namespace(json!({ "type": "pid", "path": first.proc("ns/pid") }));
    let facts = runtime.json(&bundle);
    let pids = facts["pids"].as_array().expect("processes").len();
    assert!(pids >= 2, "the first container's process and this one: {facts}");
    assert_ne!(facts["pid"], 1, "{facts}");
}

/// Boundary 5: startContainer hooks are programs of the image, and under the filter of its process.
#[test]
fn boundary_5_hooks_of_the_image_are_under_the_filter() {
    const GETPPID: &str = if cfg!(target_arch = "x86_64") { "110" } else { "173" };
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for shared in [false, true] {
            let hook = json!({ "path": "/probe", "args": ["probe", "into", "/volume/hook", "calls", GETPPID] });
            let bundle = Bundle::new()
                .set("/linux/seccomp", forbids("getppid"))
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .raw_hook("startContainer", hook)
                .args(["/probe", "calls", GETPPID]);
            let bundle = if shared { bundle.without_namespace("pid") } else { bundle };
            let volume = bundle.dir().join("volume");
            std::fs::create_dir(&volume).expect("a directory");
            let bundle = bundle.bind(&volume, "/volume", &["bind"]);
            let outcome = runtime.run(&bundle).ok();
            let of_hook = std::fs::read_to_string(volume.join("hook")).expect("what the hook prints");
            for text in [&outcome.stdout, &of_hook] {
                let what = format!("noNewPrivileges {no_new_privileges}, shared {shared}");
                assert_eq!(text.matches("77").count(), 1, "{what}: {of_hook} {outcome}");
            }
        }
    }
}

/// Boundary, the host's devices: root of a container does not change the node behind its standard streams. (It
/// tries with the mode that the node has.)
#[test]
fn boundary_a_standard_stream_is_no_way_to_change_a_device() {
    not_on_peer!("it opens the container's own /dev/null");
    let runtime = Runtime::new();
    let sleeper = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&sleeper);
    let attack = ["/probe", "chmod", "666", "/proc/self/fd/0"];
    let bundle = Bundle::new().args(attack);
    let path = bundle.path().to_str().expect("a path");
    for device in ["/dev/null", "/dev/zero"] {
        let script = format!("exec \"$0\" \"$@\" <{device}");
        let exec = ["exec", container.id()].into_iter().chain(attack);
        let id = integration::unique_name();
        let run = ["run", "--bundle", path, &id];
        for outcome in [runtime.through_shell(&script, exec).outcome(), runtime.through_shell(&script, run).outcome()] {
            let answer = outcome.ok().json();
            assert_eq!(answer["error"], "EROFS", "the host's {device} can be changed: {answer}");
        }
    }
}
