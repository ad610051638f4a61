//! What an ordinary user's container can mount, and what the host's mounts forbid it.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, mount_of, options_of};
use serde_json::{Value, json};

/// What needs a namespace that the container has not: replaced, or refused with the remedy.
#[test]
fn file_systems_of_namespaces_that_are_inherited() {
    let runtime = Runtime::as_user();
    let sysfs = |options: Value| {
        let bundle = runtime.bundle().without_mount("/sys").without_mount("/sys/fs/cgroup");
        bundle.mount(json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options }))
    };
    let facts = runtime.json(&sysfs(json!(["nosuid", "noexec", "nodev", "ro"])));
    let options = options_of(&facts, "/sys");
    assert!(["ro", "nosuid", "nodev", "noexec"].iter().all(|o| options.iter().any(|is| is == o)), "{options:?}");
    let refused = runtime.run(&sysfs(json!(["nosuid"])));
    let _ =
        refused.refused("a new sysfs shows the network namespace, which must belong to the container's user namespace");
    let refused = runtime.run(&runtime.bundle().without_namespace("pid"));
    let _ = refused.refused("config.json: mounts[0]: a new proc shows the pid namespace");
    let refused = runtime.run(&runtime.bundle().without_namespace("ipc"));
    let _ = refused.refused("a new mqueue shows the ipc namespace");
}

/// The host's processes, where the container shares its pid namespace: its /proc is bound.
#[test]
fn the_hosts_proc_can_be_bound() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().without_namespace("pid").edit(|spec| {
        spec["mounts"][0] = json!({ "destination": "/proc", "type": "bind", "source": "/proc",
            "options": ["rbind", "nosuid", "noexec", "nodev"] });
    });
    let outcome = runtime.run(&bundle).ok();
    assert!(outcome.stderr.contains("processes that outlive its first one"), "{outcome}");
    let facts = outcome.json();
    assert_eq!(mount_of(&facts, "/proc")["type"], "proc");
    let pids = facts["pids"].as_array().expect("pids");
    assert!(pids.len() > 2 && pids.contains(&facts["pid"]), "{pids:?}");
}

/// As in a container: part of /proc is covered, and a new one would show it.
#[test]
fn a_proc_that_is_partly_covered_is_reported() {
    let runtime = Runtime::as_user().after("mount --bind /dev/null /proc/cmdline");
    let _ = runtime.run(&runtime.bundle()).refused("mounts: fsmount /proc").refused("partly masked here");
}

/// runc's default devpts wants group 5, which is not mapped.
#[test]
fn an_unmapped_group_of_a_mount_is_refused_with_its_place() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().edit(|spec| {
        let options = spec["mounts"][2]["options"].as_array_mut().expect("options");
        options.push(json!("gid=5"));
    });
    let text = "config.json: mounts[2].options: gid=5: 5 has no mapping in linux.gidMappings, which has 0; map it \
                there, or leave the option out";
    let _ = runtime.run(&bundle).refused(text);
}

/// mount_namespaces(7): what the host's mount forbids, a user namespace cannot allow. Asked for, it is an
/// error, as with runc; else it stays.
#[test]
fn locked_options_of_the_hosts_mounts_stay() {
    let setup = Runtime::as_user();
    let source = setup.dir().join("source");
    let script = format!(
        "mkdir -p {0}/sub && mount -t tmpfs -o ro,nosuid,nodev,noexec,noatime tmpfs {0} -o mode=755",
        source.display()
    );
    let runtime = setup.after(&script);
    let locked = ["ro", "nosuid", "nodev", "noexec"];
    for options in [json!(["bind"]), json!(["rbind", "nosuid", "rprivate"]), json!(["bind", "ro", "atime"])] {
        let bundle = runtime.bundle();
        let bind = json!({ "destination": "/data", "type": "bind", "source": source, "options": options });
        let facts = runtime.json(&bundle.mount(bind));
        let seen = options_of(&facts, "/data");
        assert!(locked.iter().all(|o| seen.iter().any(|is| is == o)), "{options}: {seen:?}");
    }
    for option in ["rw", "suid", "dev", "exec", "rrw", "rsuid", "rdev", "rexec"] {
        let bundle = runtime.bundle().bind(&source, "/data", &["rbind", option]);
        let _ = runtime.run(&bundle).refused("mounts: mount_setattr /data").refused("leave the option out");
    }
    let remount = json!({ "destination": "/data", "type": "none", "options": ["remount", "bind", "rw"] });
    let bundle = runtime.bundle().bind(&source, "/data", &["bind"]).mount(remount);
    let _ = runtime.run(&bundle).refused("mounts: mount_setattr /data").refused("leave the option out");
    // What is not locked can be had.
    let own = runtime.bundle();
    let dir = own.dir().join("own");
    fs::create_dir(&dir).expect("a directory");
    let facts = runtime.json(&own.bind(&dir, "/data", &["bind", "ro", "nosuid", "noexec"]));
    let seen = options_of(&facts, "/data");
    assert!(["ro", "nosuid", "noexec"].iter().all(|o| seen.iter().any(|is| is == o)), "{seen:?}");
}

/// Access times of the host's mount are locked, too; they are no protection, so asking is an error.
#[test]
fn locked_access_times_are_reported() {
    let setup = Runtime::as_user();
    let source = setup.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    let runtime = setup.after(&format!("mount -t tmpfs -o noatime,mode=755 tmpfs {}", source.display()));
    let bundle = runtime.bundle().bind(&source, "/data", &["bind", "strictatime"]);
    let outcome = runtime.run(&bundle);
    let _ = outcome.refused("mounts: mount_setattr /data").refused("cannot change access-time options");
}

/// A mount below the source would come to light: the kernel's EINVAL, explained.
#[test]
fn a_bind_that_would_uncover_something_is_explained() {
    let setup = Runtime::as_user();
    let source = setup.dir().join("source");
    fs::create_dir_all(source.join("sub")).expect("a directory");
    let runtime = setup.after(&format!("mount -t tmpfs tmpfs {}/sub", source.display()));
    let outcome = runtime.run(&runtime.bundle().bind(&source, "/data", &["bind"]));
    let _ = outcome.refused("mounts below it are locked here: \"rbind\" takes them along");
    let _ = runtime.run(&runtime.bundle().bind(&source, "/data", &["rbind"])).ok();
}

/// A tmpfs over a directory of the image takes what is there along.
#[test]
fn tmpcopyup_works_for_an_ordinary_user() {
    let runtime = Runtime::as_user();
    let bundle = Bundle::new().with_file("/data/sub/file", "copied").rootless(runtime.uid());
    let tmpfs = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
    let bundle = bundle.mount(tmpfs).args(["/probe", "read", "/data/sub/file"]);
    assert_eq!(runtime.json(&bundle), json!({ "text": "copied" }));
}

/// The default nodes work, though none can be made.
#[test]
fn the_default_devices_work() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "open-dev", "/dev/null"]);
    assert_eq!(runtime.json(&bundle), json!({ "read": "ok", "write": "ok" }));
}

/// `--no-pivot`, for what it is worth: the host's /proc cannot be unmounted, and is covered.
#[test]
fn no_pivot_works_for_an_ordinary_user() {
    let runtime = Runtime::as_user();
    let facts = runtime.run_with(&runtime.bundle(), |call| call.arg("--no-pivot")).json();
    assert_eq!(facts["pid"], 1);
}
