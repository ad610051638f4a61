//! Options of mounts as engines and generators write them, and as runc and crun take them.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use integration::{Bundle, Runtime, mount_of, not_on_peer, options_of};
use serde_json::{Value, json};

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}

/// A bundle with a directory of the host beside it.
fn with_source() -> (Bundle, std::path::PathBuf) {
    let bundle = Bundle::new();
    let source = bundle.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    (bundle, source)
}

/// What the container finds at these paths.
fn stat(runtime: &Runtime, bundle: Bundle, paths: &[&str]) -> Vec<Value> {
    let words = ["/probe", "stat"].iter().chain(paths).map(|word| (*word).to_owned());
    let outcome = runtime.run(&bundle.args(words)).ok();
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What lies on a tmpfs is made before it becomes read-only.
#[test]
fn a_read_only_tmpfs_is_filled_first() {
    let (bundle, source) = with_source();
    let bundle = bundle.mount(tmpfs("/t", &["ro"])).bind(&source, "/t/below", &["bind"]);
    let bundle = bundle.mount(tmpfs("/t/more/deep", &[]));
    let facts = Runtime::new().json(&bundle);
    assert!(options_of(&facts, "/t").iter().any(|option| option == "ro"), "{facts}");
    assert!(options_of(&facts, "/t/below").iter().any(|option| option == "rw"), "{facts}");
    assert_eq!(mount_of(&facts, "/t/more/deep")["type"], "tmpfs");
}

/// And so is `/dev`, with its nodes, links and mounts.
#[test]
fn a_read_only_dev_has_all_its_nodes() {
    let bundle = Bundle::new().edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev" {
                mount["options"].as_array_mut().expect("options").push(json!("ro"));
            }
        }
    });
    let runtime = Runtime::new();
    let facts = runtime.json(&bundle);
    assert!(options_of(&facts, "/dev").iter().any(|option| option == "ro"), "{facts}");
    assert_eq!(mount_of(&facts, "/dev/pts")["type"], "devpts");
    let opened = runtime.json(&bundle.args(["/probe", "open-dev", "/dev/null"]));
    assert_eq!(opened, json!({ "read": "ok", "write": "ok" }));
}

/// A remount that comes later has the last word.
#[test]
fn a_tmpfs_that_is_remounted_is_writable() {
    not_on_peer!("runc makes it read-only at the end nevertheless");
    let remount = json!({ "destination": "/t", "type": "none", "options": ["remount", "rw"] });
    let facts = Runtime::new().json(&Bundle::new().mount(tmpfs("/t", &["ro"])).mount(remount));
    assert!(options_of(&facts, "/t").iter().any(|option| option == "rw"), "{facts}");
}

/// Open to all where the image has nothing (`docker run -u 1000 --tmpfs`), else as the directory was.
#[test]
fn the_mode_of_a_tmpfs_is_that_of_what_it_covers_or_1777() {
    let bundle = Bundle::new().with_dir("/old");
    let mode = fs::Permissions::from_mode(0o3750);
    fs::set_permissions(bundle.rootfs().join("old"), mode).expect("chmod");
    let bundle = bundle.mount(tmpfs("/old", &[])).mount(tmpfs("/new", &[])).mount(tmpfs("/given", &["mode=700"]));
    let modes: Vec<Value> =
        stat(&Runtime::new(), bundle, &["/old", "/new", "/given"]).iter().map(|facts| facts["mode"].clone()).collect();
    assert_eq!(modes, ["3750", "1777", "0700"]);
}

/// Generators leave empty strings; mount(8) takes several options in one string.
#[test]
fn empty_options_and_several_in_one_string() {
    let bundle = Bundle::new().mount(tmpfs("/a", &["nosuid", ""])).mount(tmpfs("/b", &["size=1m,mode=700", ","]));
    let facts = Runtime::new().json(&bundle);
    assert!(options_of(&facts, "/a").iter().any(|option| option == "nosuid"), "{facts}");
    let has = |word: &str| {
        mount_of(&facts, "/b")["super_options"].as_array().is_some_and(|all| all.iter().any(|w| w == word))
    };
    assert!(has("size=1024k") && has("mode=700"), "{facts}");
}

/// The same for flags, which runc hands to the file system in this form.
#[test]
fn several_flags_in_one_string() {
    not_on_peer!("it hands such a string to the file system");
    let (bundle, source) = with_source();
    let bundle = bundle.mount(tmpfs("/a", &["nosuid,nodev"])).bind(&source, "/b", &["bind,ro,noexec"]);
    let facts = Runtime::new().json(&bundle);
    for (target, words) in [("/a", ["nosuid", "nodev"]), ("/b", ["ro", "noexec"])] {
        let seen = options_of(&facts, target);
        assert!(words.iter().all(|word| seen.iter().any(|option| option == word)), "{target}: {seen:?}");
    }
}

/// Options of file systems have no effect on a bind mount, and are no error.
#[test]
fn file_system_options_of_a_bind_mount_are_passed_over() {
    let (mut bundle, source) = with_source();
    for (index, option) in
        ["sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", ""].iter().enumerate()
    {
        bundle = bundle.bind(&source, &format!("/t/{index}"), &["bind", *option]);
    }
    let _ = Runtime::new().run(&bundle).ok();
}

/// Values are named by a warning; an unknown word may have been meant to confine.
#[test]
fn a_value_of_a_bind_mount_is_reported_and_an_unknown_word_is_refused() {
    not_on_peer!("runc refuses both, crun takes both");
    let runtime = Runtime::new();
    let (bundle, source) = with_source();
    let outcome = runtime.run(&bundle.bind(&source, "/t", &["bind", "mode=755"])).ok();
    assert!(outcome.stderr.contains("\"mode\" has no effect on a bind mount"), "{outcome}");
    let (bundle, source) = with_source();
    let _ = runtime.run(&bundle.bind(&source, "/t", &["bind", "readonly"])).refused("\"readonly\" is no option");
}

/// An overlay of layers with real-life paths has a `lowerdir` that fsconfig(2) does not take.
#[test]
fn a_value_may_be_longer_than_255_bytes() {
    let bundle = Bundle::new();
    let layers = ["a", "b", "c", "d"].map(|name| bundle.dir().join(name.repeat(64)).join("diff"));
    for (index, layer) in layers.iter().enumerate() {
        fs::create_dir_all(layer).expect("a directory");
        fs::write(layer.join(format!("of-{index}")), "x").expect("a file");
    }
    let lower = layers.each_ref().map(|layer| layer.display().to_string()).join(":");
    assert!(lower.len() > 255);
    let overlay =
        |options: Value| json!({ "destination": "/data", "type": "overlay", "source": "overlay", "options": options });
    let option = format!("lowerdir={lower}");
    let bundle = bundle.mount(overlay(json!(["nosuid", "noatime", option])));
    let runtime = Runtime::new();
    let facts = runtime.json(&bundle);
    assert_eq!(mount_of(&facts, "/data")["type"], "overlay");
    let seen = options_of(&facts, "/data");
    assert!(["nosuid", "noatime"].iter().all(|word| seen.iter().any(|option| option == word)), "{seen:?}");
    let files = stat(&runtime, bundle, &["/data/of-0", "/data/of-3"]);
    assert!(files.iter().all(|facts| facts["type"] == "file"), "{files:?}");
}

/// mount(2) would cut off what is beyond a page: layers would be missing.
#[test]
fn more_than_a_page_of_options_is_refused() {
    not_on_peer!("its words are others");
    let option = format!("lowerdir={}", ["/layer"; 700].join(":"));
    let overlay = json!({ "destination": "/data", "type": "overlay", "source": "overlay", "options": [option] });
    let _ = Runtime::new().run(&Bundle::new().mount(overlay)).refused("mount(2) takes 4095");
}

/// Podman's `copy-symlink`: a link like the source, a mount where the source is none.
#[test]
fn copy_symlink_makes_a_link_like_the_source() {
    not_on_peer!("crun has it, runc has not");
    let runtime = Runtime::new();
    let (bundle, source) = with_source();
    let link = source.join("link");
    symlink("../some/where", &link).expect("a link");
    let bundle =
        bundle.bind(&link, "/etc/a", &["bind", "copy-symlink"]).bind(&source, "/etc/b", &["bind", "copy-symlink"]);
    for _ in 0..2 {
        let facts = runtime.json(&bundle);
        assert_ne!(mount_of(&facts, "/etc/b")["type"], json!(null));
        let made = fs::read_link(bundle.rootfs().join("etc/a")).expect("a link");
        assert_eq!(made.to_str(), Some("../some/where"));
    }
    fs::remove_file(&link).expect("the link");
    symlink("else", &link).expect("a link");
    let _ = runtime.run(&bundle).refused("symlinkat /etc/a: EEXIST");
}

/// crun's `src-nofollow` and `dest-nofollow`: a link on a link.
#[test]
fn links_that_are_not_followed() {
    not_on_peer!("crun has it, runc has not");
    let runtime = Runtime::new();
    let (bundle, source) = with_source();
    let link = source.join("link");
    symlink("of-the-host", &link).expect("a link");
    let bundle = bundle.with_link("/there", "of-the-image").with_file("/of-the-image", "x");
    let bundle = bundle.bind(&link, "/there", &["bind", "src-nofollow", "dest-nofollow"]);
    let facts = runtime.json(&bundle);
    assert_ne!(mount_of(&facts, "/there")["type"], json!(null));
    let (other, source) = with_source();
    let other = other.bind(&source, "/missing", &["bind", "dest-nofollow"]);
    let _ = runtime.run(&other).refused("openat2 /missing");
}

/// crun's `idmap=` with mappings of its own.
#[test]
fn mappings_in_the_idmap_option() {
    not_on_peer!("crun has it, runc has not");
    let (bundle, source) = with_source();
    chown(&source, Some(5), Some(6)).expect("chown");
    let idmap = ["bind", "idmap=uids=0-7-1#5-1005-1;gids=6-1006-1"];
    let runtime = Runtime::new().after(&format!("mount -t tmpfs s {0} && chown 5:6 {0}", source.display()));
    let facts = &stat(&runtime, bundle.bind(&source, "/t", &idmap), &["/t"])[0];
    assert_eq!([&facts["uid"], &facts["gid"]], [1005, 1006], "{facts}");
    let (bundle, source) = with_source();
    let bundle = bundle.bind(&source, "/t", &["bind", "idmap=uids=0-7-1"]);
    let _ = Runtime::new().run(&bundle).refused("both uids and gids");
}

/// The first mount may be on `/`: the root file system from then on.
#[test]
fn the_first_mount_may_be_the_root() {
    not_on_peer!("crun has it, runc has not");
    let other = Bundle::new().with_file("/other", "x");
    let root = json!({ "destination": "/", "type": "bind", "source": other.rootfs(), "options": ["rbind", "ro"] });
    let bundle = Bundle::new().edit(|spec| spec["mounts"].as_array_mut().expect("mounts").insert(0, root.clone()));
    let runtime = Runtime::new();
    let facts = runtime.json(&bundle);
    assert!(facts["root"].as_array().is_some_and(|all| all.iter().any(|name| name == "other")), "{facts}");
    assert!(options_of(&facts, "/").iter().any(|option| option == "ro"), "{facts}");
    let _ = runtime.run(&Bundle::new().mount(root)).refused("mount there before all others");
}

/// A source that an earlier mount brings, with a user namespace: the host half opens the others before.
#[test]
fn a_source_below_an_earlier_mount() {
    let runtime = Runtime::new();
    for mapped in [false, true] {
        let (bundle, source) = with_source();
        fs::create_dir(source.join("sub")).expect("a directory");
        fs::write(source.join("sub/deep"), "x").expect("a file");
        let below = bundle.rootfs().join("a/sub");
        let bundle = if mapped { bundle.mapped().given_to(100_000) } else { bundle };
        let bundle = bundle.bind(&source, "/a", &["bind"]).bind(&below, "/b", &["bind"]);
        let facts = &stat(&runtime, bundle, &["/b/deep"])[0];
        assert_eq!(facts["type"], "file", "{facts}");
    }
}
