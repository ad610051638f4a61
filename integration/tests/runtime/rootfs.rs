//! The root file system of a container: config.md, "Root"; config-linux.md, "Default Filesystems", "Devices",
//! "Masked Paths", "Readonly Paths", "Rootfs Mount Propagation".

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime};
use serde_json::{Value, json};

use crate::mounts::{assert_options, chown_all, facts, has, mount_on, tmpfs};

// --- root ---------------------------------------------------------------------------------

/// config.md § Root: the container sees its root and nothing above it.
#[test]
fn the_root_is_the_bundles_rootfs() {
    let facts = facts(&Bundle::new().with_file("/only/here", "x"));
    assert_eq!(facts["root"], json!(["dev", "only", "probe", "proc", "sys"]));
}

/// config.md § Root: an absolute path may be anywhere.
#[test]
fn the_root_may_be_an_absolute_path() {
    let other = Bundle::new().with_file("/other", "x");
    let facts = facts(&Bundle::sharing_rootfs_of(&other));
    assert!(has(&facts["root"], "other"), "{}", facts["root"]);
}

/// No mount of the host is left below or beside the new root.
#[test]
fn nothing_of_the_hosts_mounts_is_left() {
    let bundle = Bundle::new();
    let facts = facts(&bundle);
    for mount in facts["mounts"].as_array().expect("mounts") {
        let target = mount["target"].as_str().unwrap_or_default();
        let known = ["/", "/proc", "/dev", "/sys"]
            .iter()
            .any(|t| target == *t || target.starts_with(&format!("{t}/")) && *t != "/");
        assert!(known, "unexpected mount {mount}");
    }
    let roots = facts["mounts"].as_array().expect("mounts").iter().filter(|m| m["target"] == "/").count();
    assert_eq!(roots, 1, "mounts on / : {}", facts["mounts"]);
}

/// config.md § Root, readonly.
#[test]
fn a_read_only_root_cannot_be_written() {
    let bundle = Bundle::new().args(["/probe", "write", "/new", "text"]);
    assert_eq!(facts(&bundle), json!({ "error": "EROFS" }));
    assert!(!bundle.rootfs().join("new").exists(), "written on the host");
}

/// config.md § Root: "defaults to false".
#[test]
fn a_root_is_writable_unless_configured_otherwise() {
    let bundle = Bundle::new().without("/root/readonly").args(["/probe", "write", "/new", "text"]);
    assert_eq!(facts(&bundle), json!({ "ok": true }));
    assert_eq!(fs::read_to_string(bundle.rootfs().join("new")).expect("the file"), "text");
}

/// A read-only root says nothing about other mounts.
#[test]
fn a_read_only_root_leaves_other_mounts_writable() {
    let bundle = Bundle::new().mount(tmpfs("/data", &[])).args(["/probe", "write", "/data/new", "text"]);
    assert_eq!(facts(&bundle), json!({ "ok": true }));
}

/// config-linux.md § Rootfs Mount Propagation.
#[test]
fn the_roots_propagation_is_as_configured() {
    not_on_runc_1_1!("its shared root is private");
    for (value, seen) in
        [("private", None), ("slave", Some("master:")), ("shared", Some("shared:")), ("unbindable", Some("unbindable"))]
    {
        let root = mount_on(&facts(&Bundle::new().set("/linux/rootfsPropagation", json!(value))), "/");
        let tags = root["propagation"].as_array().cloned().unwrap_or_default();
        let text = format!("{tags:?}");
        match seen {
            None => assert!(tags.is_empty(), "{value}: {text}"),
            // A slave shows its master only where the host's mount is shared.
            Some("master:") => assert!(!text.contains("shared:"), "{value}: {text}"),
            Some(tag) => assert!(text.contains(tag), "{value}: {text}"),
        }
    }
}

/// An unknown propagation is refused by name.
#[test]
fn an_unknown_root_propagation_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/rootfsPropagation", json!("sideways"));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("sideways").in_one_line();
}

/// Nothing that is mounted in a container comes to the host.
#[test]
fn the_containers_mounts_do_not_reach_the_host() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]).mount(tmpfs("/data", &[]));
    let _container = runtime.start_ready(&bundle);
    let host = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let path = bundle.path().display().to_string();
    assert!(!host.contains(&path), "{}", host.lines().filter(|l| l.contains(&path)).collect::<String>());
}

/// `--no-pivot` (initramfs): the same container by MS_MOVE and chroot.
#[test]
fn no_pivot_gives_the_same_root() {
    let bundle = Bundle::new().with_file("/only/here", "x");
    let facts = Runtime::new().run_with(&bundle, |call| call.arg("--no-pivot")).json();
    assert_eq!(facts["root"], json!(["dev", "only", "probe", "proc", "sys"]));
    assert_eq!(facts["cwd"], "/");
}

// --- default file systems and devices --------------------------------------------------------

/// config-linux.md § Default Filesystems.
#[test]
fn the_default_file_systems_are_mounted_as_configured() {
    let facts = facts(&Bundle::new());
    for (target, kind, with) in [
        ("/proc", "proc", &[][..]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ("/sys/fs/cgroup", "cgroup2", &["nosuid", "noexec", "nodev", "ro"]),
    ] {
        let mount = mount_on(&facts, target);
        assert_eq!(mount["type"], kind, "{mount}");
        assert_options(&mount, with, &[]);
    }
    let pts = mount_on(&facts, "/dev/pts");
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(has(&pts["super_options"], option), "no {option} in {pts}");
    }
    assert!(has(&mount_on(&facts, "/dev/shm")["super_options"], "size=65536k"));
}

/// config-linux.md § Default Devices, and the links that runc makes.
#[test]
fn the_default_devices_and_links_are_there() {
    let dev = &facts(&Bundle::new())["dev"];
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let node = &dev[name];
        assert_eq!(
            (&node["type"], &node["major"], &node["minor"], &node["mode"], &node["uid"], &node["gid"]),
            (&json!("char"), &json!(major), &json!(minor), &json!("0666"), &json!(0), &json!(0)),
            "/dev/{name}"
        );
    }
    for (name, link) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        assert_eq!((&dev[name]["type"], &dev[name]["link"]), (&json!("link"), &json!(link)), "/dev/{name}");
    }
    let mut names: Vec<_> =
        dev.as_object().expect("/dev").keys().map(String::as_str).filter(|n| *n != "core").collect();
    names.sort_unstable();
    let all = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(names, all, "what is in /dev");
}

/// config-linux.md § Devices: type, number, mode, owner; anywhere in the root.
#[test]
fn configured_devices_are_made() {
    let devices = json!([
        { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8 },
        { "path": "/dev/sub/block", "type": "b", "major": 7, "minor": 99, "fileMode": 0o600 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o622 },
        { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5 },
        { "path": "/else/where", "type": "c", "major": 1, "minor": 3 },
    ]);
    let bundle = Bundle::new().set("/linux/devices", devices);
    let paths = ["/dev/fuse", "/dev/sub/block", "/dev/pipe", "/dev/unbuffered", "/else/where"];
    let outcome = Runtime::new().run(&bundle.args(["/probe", "stat"].into_iter().chain(paths))).ok();
    let seen: Vec<Value> = outcome.stdout.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let what = |n: usize| {
        let s: &Value = &seen[n];
        json!([s["type"], s["major"], s["minor"], s["mode"], s["uid"], s["gid"]])
    };
    assert_eq!(what(0), json!(["char", 10, 229, "0640", 7, 8]));
    assert_eq!(what(1), json!(["block", 7, 99, "0600", 0, 0]));
    assert_eq!(what(2), json!(["fifo", 0, 0, "0622", 0, 0]));
    assert_eq!((&seen[3]["type"], &seen[3]["minor"]), (&json!("char"), &json!(5)));
    assert_eq!((&seen[4]["type"], &seen[4]["minor"]), (&json!("char"), &json!(3)));
}

/// An unknown kind of device is refused by name.
#[test]
fn an_unknown_kind_of_device_is_refused() {
    let runtime = Runtime::new();
    let bundle =
        Bundle::new().set("/linux/devices", json!([{ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 }]));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").exits(1).in_one_line();
}

/// In a user namespace devices cannot be made: the host's are bound.
#[test]
fn the_default_devices_work_in_a_user_namespace() {
    let bundle = Bundle::new().mapped();
    chown_all(&bundle);
    let runtime = Runtime::new();
    let facts = runtime.json(&bundle);
    assert_eq!((&facts["dev"]["null"]["type"], &facts["dev"]["null"]["minor"]), (&json!("char"), &json!(3)));
    let bundle = bundle.args(["/probe", "open-dev", "/dev/null"]);
    assert_eq!(runtime.json(&bundle), json!({ "read": "ok", "write": "ok" }));
}

// --- masked and read-only paths --------------------------------------------------------------

/// config-linux.md § Masked Paths: a file reads as nothing, a directory is empty, neither can
/// be written.
#[test]
fn masked_paths_cannot_be_read() {
    let bundle = Bundle::new()
        .set("/root/readonly", json!(false))
        .with_file("/secret/file", "secret")
        .with_file("/alone", "secret")
        .set("/linux/maskedPaths", json!(["/secret", "/alone", "/not-there"]));
    let runtime = Runtime::new();
    let ask = |args: &[&str]| {
        runtime.json(
            &Bundle::sharing_rootfs_of(&bundle)
                .edit(|s| *s = masked(s, &bundle))
                .args(["/probe"].into_iter().chain(args.iter().copied())),
        )
    };
    assert_eq!(ask(&["list", "/secret"]), json!({ "names": [] }));
    assert_eq!(ask(&["read", "/alone"]), json!({ "text": "" }));
    assert_eq!(ask(&["write", "/secret/new", "x"])["error"], "EROFS");
    assert_eq!(ask(&["stat", "/not-there"])["error"], "ENOENT");
    let null = ask(&["stat", "/alone"]);
    assert_eq!((&null["type"], &null["major"], &null["minor"]), (&json!("char"), &json!(1), &json!(3)));
    assert_eq!(fs::read_to_string(bundle.rootfs().join("alone")).expect("the file"), "secret");
}

fn masked(spec: &Value, like: &Bundle) -> Value {
    let mut spec = spec.clone();
    spec["linux"]["maskedPaths"] = like.spec()["linux"]["maskedPaths"].clone();
    spec["linux"]["readonlyPaths"] = like.spec()["linux"]["readonlyPaths"].clone();
    spec["root"]["readonly"] = like.spec()["root"]["readonly"].clone();
    spec
}

/// config-linux.md § Readonly Paths: what is below can be read, not written; with all that is
/// mounted below.
#[test]
fn readonly_paths_cannot_be_written() {
    let bundle = Bundle::new()
        .set("/root/readonly", json!(false))
        .with_file("/fixed/file", "text")
        .set("/linux/readonlyPaths", json!(["/fixed", "/not-there"]));
    let runtime = Runtime::new();
    let ask = |args: &[&str]| {
        runtime.json(
            &Bundle::sharing_rootfs_of(&bundle)
                .edit(|s| *s = masked(s, &bundle))
                .args(["/probe"].into_iter().chain(args.iter().copied())),
        )
    };
    assert_eq!(ask(&["read", "/fixed/file"]), json!({ "text": "text" }));
    assert_eq!(ask(&["write", "/fixed/file", "x"])["error"], "EROFS");
    assert_eq!(ask(&["write", "/fixed/new", "x"])["error"], "EROFS");
    assert_eq!(ask(&["write", "/free", "x"]), json!({ "ok": true }));
}

/// runc's default: `/proc/sys` and `/proc/sysrq-trigger` cannot be written, `/proc/kcore` not read.
#[test]
fn the_default_masks_hold_in_proc() {
    let runtime = Runtime::new();
    let ask = |args: [&str; 3]| runtime.json(&Bundle::new().args(["/probe"].into_iter().chain(args)));
    assert_eq!(ask(["write", "/proc/sys/kernel/hostname", "x"])["error"], "EROFS");
    let kcore = runtime.json(&Bundle::new().args(["/probe", "read", "/proc/keys"]));
    assert_eq!(kcore, json!({ "text": "" }));
    let firmware = runtime.json(&Bundle::new().args(["/probe", "list", "/sys/firmware"]));
    assert_eq!(firmware, json!({ "names": [] }));
}
