//! config.md, "Root" and "Mounts"; config-linux.md, "Default Filesystems", "Devices", "Masked
//! Paths", "Readonly Paths", "Rootfs Mount Propagation".

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use integration::{Bundle, Runtime, not_on_peer, not_on_runc_1_1};
use serde_json::{Value, json};

pub(crate) fn facts(bundle: &Bundle) -> Value {
    Runtime::new().json(bundle)
}

/// The last, that is the visible, mount on `target`.
pub(crate) fn mount_on(facts: &Value, target: &str) -> Value {
    let mounts = facts["mounts"].as_array().expect("mounts");
    let found = mounts.iter().rev().find(|m| m["target"] == target).cloned();
    found.unwrap_or_else(|| panic!("nothing is mounted on {target}: {mounts:#?}"))
}

pub(crate) fn is_mounted_on(facts: &Value, target: &str) -> bool {
    facts["mounts"].as_array().expect("mounts").iter().any(|m| m["target"] == target)
}

pub(crate) fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|w| w == word))
}

#[track_caller]
pub(crate) fn assert_options(mount: &Value, with: &[&str], without: &[&str]) {
    for option in with {
        assert!(has(&mount["options"], option), "no {option} in {mount}");
    }
    for option in without {
        assert!(!has(&mount["options"], option), "{option} in {mount}");
    }
}

pub(crate) fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

/// The root file system of a mapped container belongs to its root.
pub(crate) fn chown_all(bundle: &Bundle) {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
}

// --- mounts and their options ------------------------------------------------------------------

/// config.md § Mounts: "The runtime MUST mount entries in the listed order."
#[test]
fn mounts_are_made_in_the_listed_order() {
    let bundle = Bundle::new();
    let host = bundle.dir().join("host");
    fs::create_dir_all(host.join("inner")).expect("directories");
    fs::write(host.join("seen"), "x").expect("a file");
    let bundle = bundle
        .bind(&host, "/a", &["bind"])
        .mount(tmpfs("/a/inner", &["size=1m"]))
        .mount(tmpfs("/b", &[]))
        .bind(&host, "/b", &["bind"]);
    let facts = facts(&bundle);
    assert_eq!(mount_on(&facts, "/a/inner")["type"], "tmpfs");
    assert_ne!(mount_on(&facts, "/b")["type"], json!(null));
    let order: Vec<_> = facts["mounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .map(|m| m["target"].clone())
        .filter(|t| t == "/a" || t == "/a/inner" || t == "/b")
        .collect();
    assert_eq!(order, ["/a", "/a/inner", "/b", "/b"]);
}

/// config.md § Mounts: options of mount(8) that the kernel shows in mountinfo.
#[test]
fn plain_options_reach_the_mount() {
    for (options, with, without) in [
        (&["ro"][..], &["ro"][..], &["rw"][..]),
        (&["rw"], &["rw"], &["ro"]),
        (&["ro", "rw"], &["rw"], &["ro"]),
        (&["nosuid", "nodev", "noexec"], &["nosuid", "nodev", "noexec"], &[]),
        (&["nosuid", "suid", "nodev", "dev", "noexec", "exec"], &["rw"], &["nosuid", "nodev", "noexec"]),
        (&["noatime"], &["noatime"], &["relatime"]),
        (&["nodiratime"], &["nodiratime"], &[]),
        (&["strictatime"], &[], &["relatime", "noatime"]),
        (&["relatime"], &["relatime"], &[]),
    ] {
        let facts = facts(&Bundle::new().mount(tmpfs("/data", options)));
        let mount = mount_on(&facts, "/data");
        for option in with {
            assert!(has(&mount["options"], option), "{options:?}: no {option} in {mount}");
        }
        for option in without {
            assert!(!has(&mount["options"], option), "{options:?}: {option} in {mount}");
        }
    }
}

/// `defaults` is what fstab says for nothing at all.
#[test]
fn defaults_changes_nothing() {
    not_on_peer!("runc hands the word to the file system, which refuses it");
    let mount = mount_on(&facts(&Bundle::new().mount(tmpfs("/data", &["defaults"]))), "/data");
    assert_options(&mount, &["rw", "relatime"], &["nosuid", "nodev", "noexec"]);
}

/// Options of the file system, not of the mount: sync, dirsync, lazytime; and data for tmpfs.
#[test]
fn file_system_options_reach_the_file_system() {
    let options = ["sync", "dirsync", "lazytime", "size=4096k", "mode=0750", "uid=3", "gid=4", "nr_inodes=99"];
    let mount = mount_on(&facts(&Bundle::new().mount(tmpfs("/data", &options))), "/data");
    for option in ["sync", "dirsync", "lazytime", "size=4096k", "mode=750", "uid=3", "gid=4", "nr_inodes=99"] {
        assert!(has(&mount["super_options"], option), "no {option} in {mount}");
    }
}

/// The options that undo others, or have no effect today, are words of the specification.
#[test]
fn options_without_visible_effect_are_accepted() {
    let options = [
        "async",
        "suid",
        "dev",
        "exec",
        "diratime",
        "norelatime",
        "nostrictatime",
        "mand",
        "nomand",
        "noiversion",
        "nolazytime",
        "loud",
        "atime",
        "symfollow",
    ];
    for option in options {
        let outcome = Runtime::new().run(&Bundle::new().mount(tmpfs("/data", &[option])));
        assert!(outcome.succeeded(), "{option}: {outcome}");
    }
}

/// `silent` only quiets the kernel's log.
#[test]
fn silent_is_accepted() {
    let _ = Runtime::new().run(&Bundle::new().mount(tmpfs("/data", &["silent"]))).ok();
}

/// nosymfollow: the kernel follows no link on that mount (Linux 5.10).
#[test]
fn nosymfollow_keeps_the_kernel_from_following_links() {
    let bundle = Bundle::new();
    let host = bundle.dir().join("host");
    fs::create_dir(&host).expect("a directory");
    fs::write(host.join("file"), "x").expect("a file");
    std::os::unix::fs::symlink("file", host.join("link")).expect("a link");
    let runtime = Runtime::new();
    let bundle = bundle.bind(&host, "/data", &["bind", "nosymfollow"]).args(["/probe", "read", "/data/link"]);
    assert_eq!(runtime.json(&bundle), json!({ "error": "ELOOP" }));
    let bundle = bundle.args(["/probe", "read", "/data/file"]);
    assert_eq!(runtime.json(&bundle), json!({ "text": "x" }));
}

/// config.md § Mounts: an option that is neither ours nor the file system's is an error.
#[test]
fn an_unknown_option_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().mount(tmpfs("/data", &["nonsense"]));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("/data").in_one_line();
}

/// A file system that the kernel does not have is an error that names it.
#[test]
fn an_unknown_file_system_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().mount(json!({ "destination": "/data", "type": "nosuchfs", "source": "x" }));
    let _ = runtime
        .try_create(&bundle)
        .expect_err("create succeeds")
        .refused(if integration::is_peer() { "no such device" } else { "nosuchfs" })
        .in_one_line();
}

/// bind: the host's directory, writable, and the host sees what is written.
#[test]
fn a_bind_mount_is_the_hosts_directory() {
    let bundle = Bundle::new();
    let host = bundle.dir().join("host");
    fs::create_dir(&host).expect("a directory");
    let bundle = bundle.bind(&host, "/data", &["bind"]).args(["/probe", "write", "/data/new", "text"]);
    assert_eq!(facts(&bundle), json!({ "ok": true }));
    assert_eq!(fs::read_to_string(host.join("new")).expect("the file"), "text");
}

/// A file can be bound too; its target is made, with the directories that lead there.
#[test]
fn a_file_can_be_bound_where_nothing_is() {
    let bundle = Bundle::new();
    let host = bundle.dir().join("host.conf");
    fs::write(&host, "text").expect("a file");
    let bundle = bundle.bind(&host, "/etc/deep/host.conf", &["bind", "ro"]);
    let runtime = Runtime::new();
    let bundle = bundle.args(["/probe", "read", "/etc/deep/host.conf"]);
    assert_eq!(runtime.json(&bundle), json!({ "text": "text" }));
    let bundle = bundle.args(["/probe", "write", "/etc/deep/host.conf", "x"]);
    assert_eq!(runtime.json(&bundle)["error"], "EROFS");
}

/// A relative source is relative to the bundle.
#[test]
fn a_relative_source_is_in_the_bundle() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.path().join("volume")).expect("a directory");
    fs::write(bundle.path().join("volume/file"), "text").expect("a file");
    let bundle = bundle.bind("volume".as_ref(), "/data", &["bind"]).args(["/probe", "read", "/data/file"]);
    assert_eq!(facts(&bundle), json!({ "text": "text" }));
}

/// A source that is not there is an error that names it.
#[test]
fn a_missing_source_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().bind("/no/such/source".as_ref(), "/data", &["bind"]);
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("/no/such/source").in_one_line();
}

/// A bind mount's flags are its own: the host's mount stays as it is.
#[test]
fn a_bind_mount_takes_its_own_options() {
    let bundle = Bundle::new();
    let host = bundle.dir().join("host");
    fs::create_dir(&host).expect("a directory");
    let bundle = bundle.bind(&host, "/data", &["bind", "ro", "nosuid", "nodev", "noexec", "noatime"]);
    assert_options(&mount_on(&facts(&bundle), "/data"), &["ro", "nosuid", "nodev", "noexec", "noatime"], &["rw"]);
    fs::write(host.join("still-writable"), "x").expect("the host can write");
}

/// rbind brings along what is mounted below, bind does not.
#[test]
fn rbind_brings_along_what_is_mounted_below() {
    let outer = Bundle::new();
    // The host's own mounts are not ours to change: /proc has mounts below in every container.
    let bind = facts(&outer.bind("/dev".as_ref(), "/data", &["bind", "ro"]));
    let rbind = facts(&Bundle::new().bind("/dev".as_ref(), "/data", &["rbind", "ro"]));
    assert!(!is_mounted_on(&bind, "/data/pts"), "{}", bind["mounts"]);
    assert!(is_mounted_on(&rbind, "/data/pts"), "{}", rbind["mounts"]);
    // Plain `ro` is for the top alone; see the recursive attributes for the rest.
    assert_options(&mount_on(&rbind, "/data"), &["ro"], &[]);
    assert_options(&mount_on(&rbind, "/data/pts"), &["rw"], &[]);
}

/// config.md § Mounts: rro, rnosuid, rnodev, rnoexec, rnoatime … hold for the whole tree
/// (mount_setattr with AT_RECURSIVE).
#[test]
fn recursive_attributes_hold_for_the_whole_tree() {
    not_on_runc_1_1!("its rrw does not lift rro");
    for (options, with, without) in [
        (&["rro"][..], &["ro"][..], &["rw"][..]),
        (&["rnosuid", "rnodev", "rnoexec"], &["nosuid", "nodev", "noexec"], &[]),
        (&["rnoatime"], &["noatime"], &["relatime"]),
        (&["rnodiratime"], &["nodiratime"], &[]),
        (&["rstrictatime"], &[], &["noatime", "relatime"]),
        (&["rnosymfollow"], &["nosymfollow"], &[]),
        (&["rro", "rrw"], &["rw"], &["ro"]),
        (&["rnosuid", "rsuid", "rnoexec", "rexec", "rnodev", "rdev"], &[], &["nosuid", "noexec", "nodev"]),
    ] {
        let mut all = vec!["rbind"];
        all.extend(options);
        let facts = facts(&Bundle::new().bind("/dev".as_ref(), "/data", &all));
        for target in ["/data", "/data/pts", "/data/shm"] {
            let mount = mount_on(&facts, target);
            for option in with {
                assert!(has(&mount["options"], option), "{options:?}: no {option} in {mount}");
            }
            for option in without {
                assert!(!has(&mount["options"], option), "{options:?}: {option} in {mount}");
            }
        }
    }
}

/// config.md § Mounts: propagation of one mount.
#[test]
fn the_propagation_of_a_mount_is_as_configured() {
    for (option, tag) in [
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
    ] {
        let bundle = Bundle::new();
        let host = bundle.dir().join("host");
        fs::create_dir(&host).expect("a directory");
        let mount = mount_on(&facts(&bundle.bind(&host, "/data", &["bind", option])), "/data");
        let tags: Vec<_> = mount["propagation"]
            .as_array()
            .expect("tags")
            .iter()
            .filter_map(Value::as_str)
            .filter(|t| !t.starts_with("master:"))
            .collect();
        match tag {
            "" => assert!(tags.is_empty(), "{option}: {mount}"),
            tag => assert!(tags.iter().any(|t| t.starts_with(tag)), "{option}: {mount}"),
        }
    }
}

/// runc's extension: a tmpfs that begins with what was there.
#[test]
fn tmpcopyup_begins_with_what_was_there() {
    let bundle = Bundle::new()
        .with_file("/etc/conf", "text")
        .with_file("/etc/sub/deep", "deeper")
        .with_link("/etc/link", "conf")
        .mount(tmpfs("/etc", &["tmpcopyup", "mode=755"]));
    let runtime = Runtime::new();
    let read = |path: &str, bundle: Bundle| -> (Value, Bundle) {
        let bundle = bundle.args(["/probe", "read", path]);
        (runtime.json(&bundle), bundle)
    };
    let (seen, bundle) = read("/etc/conf", bundle);
    assert_eq!(seen, json!({ "text": "text" }));
    let (seen, bundle) = read("/etc/sub/deep", bundle);
    assert_eq!(seen, json!({ "text": "deeper" }));
    let (seen, bundle) = read("/etc/link", bundle);
    assert_eq!(seen, json!({ "text": "text" }));
    let bundle = bundle.args(["/probe", "write", "/etc/conf", "TEXT"]);
    assert_eq!(runtime.json(&bundle), json!({ "ok": true }));
    assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/conf")).expect("the file"), "text");
}

/// A mount on a link of the image lands where the link leads *inside* the root.
#[test]
fn a_link_as_destination_is_followed_inside_the_root() {
    let bundle = Bundle::new().with_dir("/real/place").with_link("/var", "/real").mount(tmpfs("/var/place", &[]));
    let facts = facts(&bundle);
    assert_eq!(mount_on(&facts, "/real/place")["type"], "tmpfs");
}

/// `..` never leads above the root.
#[test]
fn dots_in_a_destination_stay_inside_the_root() {
    let bundle = Bundle::new().mount(tmpfs("/../../data", &[]));
    let runtime = Runtime::new();
    let outcome = runtime.run(&bundle);
    let inside = outcome.succeeded() && is_mounted_on(&outcome.clone().json(), "/data");
    assert!(inside || !outcome.succeeded() && !integration::is_peer(), "{outcome}");
}

/// config.md § Mounts: "destination … MUST be an absolute path" (a relative one is refused or,
/// as in runc with a warning, taken from the root).
#[test]
fn a_relative_destination_stays_inside_the_root() {
    let outcome = Runtime::new().run(&Bundle::new().mount(tmpfs("data", &[])));
    let inside = outcome.succeeded() && is_mounted_on(&serde_json::from_str(&outcome.stdout).expect("facts"), "/data");
    assert!(inside || outcome.code() == 1, "{outcome}");
}

/// The file system of a user namespace's tmpfs, proc, sysfs, devpts and mqueue is its own.
#[test]
fn the_default_file_systems_are_mounted_in_a_user_namespace() {
    let bundle = Bundle::new().mapped();
    chown_all(&bundle);
    let facts = facts(&bundle);
    for (target, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "cgroup2"),
    ] {
        assert_eq!(mount_on(&facts, target)["type"], kind);
    }
    assert_eq!(facts["uid_map"], json!([[0, 100_000, 65_536]]));
}

/// config.md § Mounts, uidMappings, gidMappings: an idmapped bind mount.
#[test]
fn an_idmapped_mount_shows_the_mapped_owner() {
    not_on_runc_1_1!("idmapped mounts came with 1.2");
    let bundle = Bundle::new();
    let host = bundle.dir().join("host");
    fs::create_dir(&host).expect("a directory");
    fs::write(host.join("file"), "x").expect("a file");
    chown(host.join("file"), Some(1000), Some(1001)).expect("chown");
    let maps = json!([{ "containerID": 1000, "hostID": 5000, "size": 10 }]);
    let mount = json!({
        "destination": "/data", "type": "bind", "source": host, "options": ["bind"],
        "uidMappings": maps, "gidMappings": maps,
    });
    let stat = facts(&bundle.mount(mount).args(["/probe", "stat", "/data/file"]));
    assert_eq!((&stat["uid"], &stat["gid"]), (&json!(5000), &json!(5001)));
}

/// `idmap` without mappings takes those of the container's user namespace.
#[test]
fn an_idmapped_mount_takes_the_containers_mappings_by_default() {
    not_on_runc_1_1!("idmapped mounts came with 1.2");
    for option in ["idmap", "ridmap"] {
        let bundle = Bundle::new().mapped();
        chown_all(&bundle);
        let host = bundle.dir().join("host");
        fs::create_dir(&host).expect("a directory");
        fs::write(host.join("file"), "x").expect("a file");
        chown(host.join("file"), Some(7), Some(8)).expect("chown");
        let stat = facts(&bundle.bind(&host, "/data", &["rbind", option]).args(["/probe", "stat", "/data/file"]));
        assert_eq!((&stat["uid"], &stat["gid"]), (&json!(7), &json!(8)), "{option}");
    }
}

/// A file bound over a directory is an error, not something else.
#[test]
fn a_file_over_a_directory_is_refused() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_dir("/data");
    let host = bundle.dir().join("host");
    fs::write(&host, "x").expect("a file");
    let outcome = runtime.try_create(&bundle.bind(&host, "/data", &["bind"])).expect_err("create succeeds");
    let _ = outcome.refused("/data").in_one_line();
}

/// Targets that had to be made have root's mode 0755 and stay in the root file system.
#[test]
fn a_target_that_is_made_has_mode_0755() {
    let bundle = Bundle::new().mount(tmpfs("/made/here", &[]));
    let _ = facts(&bundle);
    for path in ["made", "made/here"] {
        let meta = fs::metadata(bundle.rootfs().join(path)).expect("the target");
        assert_eq!((meta.permissions().mode() & 0o777, meta.uid()), (0o755, 0), "{path}");
    }
}

/// `remount` changes an earlier mount.
#[test]
fn remount_changes_an_earlier_mount() {
    let bundle =
        Bundle::new().mount(tmpfs("/data", &["size=1024k"])).mount(tmpfs("/data", &["remount", "ro", "size=2048k"]));
    let facts = facts(&bundle);
    let mounts: Vec<_> =
        facts["mounts"].as_array().expect("mounts").iter().filter(|m| m["target"] == "/data").collect();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!(mounts[0]["type"], "tmpfs");
    assert!(has(&mounts[0]["options"], "ro") && has(&mounts[0]["super_options"], "size=2048k"), "{mounts:?}");
}

/// Type `cgroup` without a cgroup namespace is the v2 tree too, read-only as configured
/// (CVE-2023-25809 was one that was not).
#[test]
fn a_cgroup_mount_without_cgroup_namespace_is_read_only() {
    let bundle = Bundle::new().without_namespace("cgroup");
    let runtime = Runtime::new();
    let mount = mount_on(&runtime.json(&bundle), "/sys/fs/cgroup");
    assert_eq!(mount["type"], "cgroup2");
    assert_options(&mount, &["ro"], &[]);
    let bundle = bundle.args(["/probe", "mkdir", "/sys/fs/cgroup/new"]);
    assert_eq!(runtime.json(&bundle), json!({ "error": "EROFS" }));
}

/// Type `cgroup2` is the same on a v2 host.
#[test]
fn type_cgroup2_mounts_the_v2_tree() {
    let mount = json!({ "destination": "/cg", "type": "cgroup2", "source": "cgroup", "options": ["ro", "nosuid"] });
    let facts = facts(&Bundle::new().mount(mount));
    let mount = mount_on(&facts, "/cg");
    assert_eq!(mount["type"], "cgroup2");
    assert_options(&mount, &["ro", "nosuid"], &[]);
}

/// proc of the container's own pid namespace, and with options of proc(5).
#[test]
fn proc_shows_the_containers_processes_only() {
    assert_eq!(facts(&Bundle::new())["pids"], json!([1]));
}

/// proc's own options are data for the file system.
#[test]
fn proc_takes_its_own_options() {
    not_on_peer!("runc allows no options on /proc since 1.2");
    let bundle = Bundle::new().without_mount("/proc").edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.insert(0, json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["hidepid=2", "nosuid", "nodev", "noexec"] }));
    });
    let mount = mount_on(&facts(&bundle), "/proc");
    assert_options(&mount, &["nosuid", "nodev", "noexec"], &[]);
    let hides = has(&mount["super_options"], "hidepid=2") || has(&mount["super_options"], "hidepid=invisible");
    assert!(hides, "{mount}");
}

/// A destination with blanks, tabs and non-ASCII letters is a path like any other.
#[test]
fn a_destination_may_have_any_name() {
    let facts = facts(&Bundle::new().mount(tmpfs("/a b\tü\\c", &[])));
    assert_eq!(mount_on(&facts, "/a b\tü\\c")["type"], "tmpfs");
}

/// A hundred mounts are a hundred mounts (user-complaints 11).
#[test]
fn a_hundred_mounts_are_made() {
    let mut bundle = Bundle::new();
    for n in 0..100 {
        bundle = bundle.mount(tmpfs(&format!("/many/{n}"), &["size=64k"]));
    }
    let facts = facts(&bundle);
    let count = facts["mounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .filter(|m| m["target"].as_str().is_some_and(|t| t.starts_with("/many/")))
        .count();
    assert_eq!(count, 100);
}
