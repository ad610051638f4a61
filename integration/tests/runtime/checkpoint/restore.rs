//! What does a restore ask CRIU for, what does it make itself, and what is left when it fails?

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use integration::criu::{Original, Restored, StandIn, Step, before, failing_restore, until};
use integration::{
    Bundle, ConsoleSocket, Container, Runtime, eventually, json_lines, nothing_is_left, reap_orphans_in,
};
use serde_json::{Value, json};

use super::{STAND_IN, key_and_value, sleeper};

/// CRIU's callbacks at a restore that pass, in order.
const CALLBACKS: [&str; 7] = [
    "pre-restore",
    "setup-namespaces",
    "post-setup-namespaces",
    "post-restore",
    "network-unlock",
    "pre-resume",
    "post-resume",
];

fn restored<'r>(runtime: &'r Runtime, bundle: &Bundle, criu: &StandIn) -> Container<'r> {
    restored_with(runtime, bundle, criu, &[])
}

fn restored_with<'r>(runtime: &'r Runtime, bundle: &Bundle, criu: &StandIn, options: &[&str]) -> Container<'r> {
    let outcome = runtime.try_restore(bundle, &criu.images(), |call| call.args(options));
    outcome.unwrap_or_else(|outcome| panic!("expected success of {outcome}; CRIU saw {:#?}", criu.record()))
}

/// The whole request, as CRIU's own definition of it reads it.
#[test]
fn a_restore_asks_for_the_containers_processes_and_nothing_else() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    let requests: Vec<Value> = criu.requests().iter().map(|request| request["type"].clone()).collect();
    assert_eq!(requests, ["VERSION", "RESTORE"], "{:#?}", criu.record());
    let mut opts = criu.opts("RESTORE");
    let opts = opts.as_object_mut().expect("opts");
    for name in ["images_dir_fd", "work_dir_fd"] {
        assert!(opts.remove(name).is_some_and(|fd| fd.as_i64() > Some(2)), "{name}");
    }
    let root = opts.remove("root").expect("a root");
    assert!(Path::new(root.as_str().expect("a path")).starts_with(runtime.root()), "{root}");
    // Masked files, and devices that a user namespace could not make.
    let declared = key_and_value(&opts.remove("ext_mnt").expect("ext_mnt"));
    assert!(declared.contains(&("/dev/null".into(), "/dev/null".into())), "{declared:?}");
    assert!(declared.iter().all(|(key, val)| key.starts_with("/dev/") && key == val), "{declared:?}");
    assert_eq!(
        Value::Object(opts.clone()),
        json!({
            "images_dir": criu.images(),
            "work_dir": criu.images(),
            "ext_unix_sk": false,
            "tcp_established": false,
            "evasive_devices": true,
            "shell_job": false,
            "file_locks": false,
            "log_level": 4,
            "log_file": "restore.log",
            "notify_scripts": true,
            "auto_dedup": false,
            "lazy_pages": false,
            "manage_cgroups": true,
            "manage_cgroups_mode": "IGNORE",
            "rst_sibling": true,
            "orphan_pts_master": true,
            "empty_ns": 0x4000_0000,
        })
    );
    container.kill_and_delete();
}

/// Each flag is one field; none is refused.
#[test]
fn each_flag_is_a_field_of_the_request() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    for (flag, field, value) in [
        ("--ext-unix-sk", "ext_unix_sk", json!(true)),
        ("--tcp-established", "tcp_established", json!(true)),
        ("--tcp-close", "tcp_close", json!(true)),
        ("--shell-job", "shell_job", json!(true)),
        ("--file-locks", "file_locks", json!(true)),
        ("--lazy-pages", "lazy_pages", json!(true)),
        ("--auto-dedup", "auto_dedup", json!(true)),
        ("--manage-cgroups-mode=ignore", "manage_cgroups_mode", json!("IGNORE")),
        ("--manage-cgroups-mode=soft", "manage_cgroups_mode", json!("SOFT")),
        ("--manage-cgroups-mode=strict", "manage_cgroups_mode", json!("STRICT")),
        ("--network-lock=skip", "network_lock", json!("SKIP")),
        ("--lsm-profile=selinux:a_label", "lsm_profile", json!("selinux:a_label")),
        ("--lsm-mount-context=a_label", "lsm_mount_context", json!("a_label")),
        ("--empty-ns=network", "empty_ns", json!(0x4000_0000)),
        ("-no-subreaper", "rst_sibling", json!(true)),
        ("--no-pivot", "rst_sibling", json!(true)),
    ] {
        let container = restored_with(&runtime, &bundle, &criu, &[flag]);
        assert_eq!(criu.opts("RESTORE")[field], value, "{flag}");
        container.kill_and_delete();
    }
}

/// Its roots of hierarchies are where CRIU is itself: that is the container's cgroup.
#[test]
fn a_mode_that_restores_cgroups_is_told_where() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored_with(&runtime, &bundle, &criu, &["--manage-cgroups-mode", "soft"]);
    let roots = criu.opts("RESTORE")["cg_root"].clone();
    let name = bundle.cgroup().file_name().expect("a name").to_string_lossy().into_owned();
    let is_there = |root: &Value| root["path"].as_str().is_some_and(|path| path.ends_with(&name));
    assert!(roots.as_array().is_some_and(|roots| roots.iter().any(is_there)), "{roots}");
    container.kill_and_delete();
}

/// It is a container like any other: of another id, in another bundle and cgroup.
#[test]
fn a_restored_container_is_one_like_others() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    container.wait_for_line("ready");
    let state = container.state();
    assert_eq!((&state["status"], &state["bundle"]), (&json!("running"), &json!(bundle.path())));
    assert_eq!(state["pid"], container.pid());
    let cgroup = fs::read_to_string(container.proc("cgroup")).expect("its cgroup");
    let name = bundle.cgroup().file_name().expect("a name").to_string_lossy().into_owned();
    assert!(cgroup.lines().any(|line| line.starts_with("0::") && line.ends_with(&name)), "{cgroup}");
    assert_eq!(container.exec(["/probe", "print", "hello"]).ok().stdout, "hello\n");
    container.audit().finds_nothing();
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(container.status(), "paused");
    let _ = container.call(["resume"]).outcome().ok();
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    assert_eq!(container.status(), "stopped");
    container.delete();
    nothing_is_left(&runtime);
    assert!(!bundle.cgroup().exists());
}

/// One image, many containers at once.
#[test]
fn one_image_is_restored_twice_at_once() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundles = [Bundle::twin_of(&original.bundle), Bundle::twin_of(&original.bundle)];
    let containers = bundles.each_ref().map(|bundle| restored(&runtime, bundle, &criu));
    for container in &containers {
        container.wait_for_line("ready");
        assert_eq!(container.status(), "running");
    }
    containers.iter().for_each(Container::kill_and_delete);
}

/// All callbacks are answered, those of later versions, too.
#[test]
fn all_callbacks_are_answered() {
    let original = Original::of(STAND_IN, sleeper());
    let unknown = Step::Notify { script: "something-new".into(), with_pid: false };
    let criu = original.criu_with(before("post-restore", Step::restore(original.restored()), &[unknown]));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    let mut all: Vec<&str> = CALLBACKS.into();
    all.insert(3, "something-new");
    assert_eq!(criu.answered(), all);
    container.kill_and_delete();
}

/// prestart and createRuntime once the namespaces are there, with that pid; those of a start do not run (C.2).
#[test]
fn hooks_of_the_host_run_when_namespaces_are_there() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let file = original.bundle.dir().join("hooks");
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let twin = Bundle::twin_of(&original.bundle);
    let bundle = kinds.iter().fold(twin, |bundle, kind| bundle.hook(kind, &file, kind, 0));
    let container = restored(&runtime, &bundle, &criu);
    let run = || json_lines(&fs::read_to_string(&file).unwrap_or_default());
    let tags: Vec<Value> = run().iter().map(|line| line["tag"].clone()).collect();
    assert_eq!(tags, ["prestart", "createRuntime"]);
    for line in run() {
        assert_eq!(line["state"]["pid"], container.pid(), "{line:#}");
        assert_eq!(line["state"]["id"], container.id());
    }
    container.kill_and_delete();
    assert_eq!(run().last().expect("a hook")["tag"], "poststop");
}

/// A hook that fails ends it.
#[test]
fn a_failing_hook_leaves_nothing() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let file = original.bundle.dir().join("hooks");
    let bundle = Bundle::twin_of(&original.bundle).hook("createRuntime", &file, "createRuntime", 3);
    let outcome = failing_restore(&runtime, &bundle, &criu);
    assert!(outcome.stderr.contains("createRuntime"), "{outcome}");
}

/// All processes that held one of the pipes get the new one: ours.
#[test]
fn pipes_are_our_standard_streams() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let list = json!(["/dev/null", "pipe:[4711]", "pipe:[4712]"]);
    fs::write(criu.images().join("descriptors.json"), list.to_string()).expect("descriptors");
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    let inherited = criu.opts("RESTORE")["inherit_fd"].clone();
    let keys: Vec<&Value> = inherited.as_array().into_iter().flatten().map(|entry| &entry["key"]).collect();
    assert_eq!(keys, ["pipe:[4711]", "pipe:[4712]"]);
    for (entry, end) in [(&inherited[0], "stdout"), (&inherited[1], "stderr")] {
        let target = entry["target"].as_str().expect("a target");
        assert!(Path::new(target).starts_with(runtime.dir()) && target.ends_with(end), "{target}");
    }
    container.kill_and_delete();
}

/// Files of the host that a dump has named are given back: the streams, and the null device for others.
#[test]
fn files_of_the_host_are_given_back() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let files = json!([{ "key": "file[2a:1f]", "stream": 1 }, { "key": "file[2a:20]", "stream": null }]);
    fs::write(criu.images().join("external-files.json"), files.to_string()).expect("files");
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    let inherited = criu.opts("RESTORE")["inherit_fd"].clone();
    let target = |key: &str| {
        let found = inherited.as_array().into_iter().flatten().find(|entry| entry["key"] == key);
        found.unwrap_or_else(|| panic!("no {key}: {inherited:#}"))["target"].as_str().expect("a target").to_owned()
    };
    assert!(Path::new(&target("file[2a:1f]")).starts_with(runtime.dir()));
    let null = inherited.as_array().into_iter().flatten().find(|entry| entry["key"] == "file[2a:20]");
    assert_eq!(null.map(|entry| &entry["device"]), Some(&json!(rustix::fs::makedev(1, 3))), "{inherited:#}");
    container.kill_and_delete();
}

/// Those that config.json names by path; CRIU makes others.
#[test]
fn namespaces_by_path_are_joined() {
    let holder = Runtime::new();
    let other = sleeper();
    let neighbour = holder.start_ready(&other);
    let path = |file: &str| neighbour.proc(&format!("ns/{file}"));
    let of = |kind: &str, file: &str| json!({ "type": kind, "path": path(file) });
    let bundle = sleeper().namespace(of("network", "net")).namespace(of("ipc", "ipc")).namespace(of("uts", "uts"));
    let bundle = bundle.without("/hostname");
    let original = Original::of(STAND_IN, bundle);
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let container = restored(&runtime, &bundle, &criu);
    let opts = criu.opts("RESTORE");
    let mut joined: Vec<(&str, &str)> = opts["join_ns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|join| (join["ns"].as_str().expect("a kind"), join["ns_file"].as_str().expect("a path")))
        .collect();
    joined.sort_unstable();
    let (ipc, uts) = (path("ipc"), path("uts"));
    assert_eq!(joined, [("ipc", ipc.to_str().expect("a path")), ("uts", uts.to_str().expect("a path"))]);
    let net = fs::read_link(path("net")).expect("a namespace");
    let inherited = &opts["inherit_fd"][0];
    assert_eq!((&inherited["key"], &inherited["target"]), (&json!("extRootNetNS"), &json!(net)));
    assert!(inherited["fd"].as_i64() > Some(3), "{inherited}");
    for file in ["net", "ipc", "uts"] {
        let link = |path: PathBuf| fs::read_link(path).expect("a namespace");
        assert_eq!(link(container.proc(&format!("ns/{file}"))), link(path(file)));
    }
    container.kill_and_delete();
}

/// Where they are in the container, and where they come from now.
#[test]
fn mounts_of_the_host_are_given_back() {
    let bundle = sleeper().with_dir("/real").with_link("/conf", "real").with_dir("/a");
    let (old, new) = (bundle.dir().join("old"), bundle.dir().join("new"));
    for dir in [&old, &new] {
        fs::create_dir_all(dir.join("inner")).expect("a directory");
    }
    let original = Original::of(STAND_IN, bundle.bind(&old, "/conf", &["bind"]).bind(&old, "/a", &["bind"]));
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle).edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["source"] == json!(old) {
                mount["source"] = json!(new);
            }
        }
    });
    // What is mounted is the template's: the audit sees that, or not; what is asked for counts here.
    let _ = runtime.try_restore(&bundle, &criu.images(), |call| call);
    let declared = key_and_value(&criu.opts("RESTORE")["ext_mnt"]);
    let new = new.to_str().expect("a path").to_owned();
    for at in ["/real", "/a"] {
        assert!(declared.contains(&(at.to_owned(), new.clone())), "{at} is missing: {declared:?}");
    }
}

/// As `create` makes them; CRIU mounts on what is there.
#[test]
fn missing_mount_points_are_made() {
    let bundle = sleeper();
    let source = bundle.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    let original = Original::of(STAND_IN, bundle.bind(&source, "/made/below", &["bind"]));
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    fs::remove_dir(original.bundle.rootfs().join("made/below")).ok();
    let bundle = Bundle::twin_of(&original.bundle);
    let _ = runtime.try_restore(&bundle, &criu.images(), |call| call);
    assert!(original.bundle.rootfs().join("made/below").is_dir());
}

/// The terminal's master goes where one of a create goes.
#[test]
fn a_terminal_is_sent_over_the_console_socket() {
    let original = Original::of(STAND_IN, sleeper());
    let steps = before("post-restore", Step::restore(original.restored()), &[Step::Terminal("from criu\n".into())]);
    let criu = original.criu_with(steps);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle).set("/process/terminal", json!(true));
    let socket = ConsoleSocket::listen(runtime.dir());
    let path = socket.path().to_str().expect("a path").to_owned();
    let container = restored_with(&runtime, &bundle, &criu, &["--console-socket", &path]);
    let (master, _) = socket.receive();
    assert!(rustix::termios::isatty(&master));
    let mut pty = integration::Pty::of(master);
    let _ = pty.wait_for("from criu");
    container.kill_and_delete();
}

/// The rules of `create`, before CRIU is executed.
#[test]
fn a_detached_terminal_needs_a_console_socket() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle).set("/process/terminal", json!(true));
    let outcome = failing_restore(&runtime, &bundle, &criu);
    assert!(outcome.stderr.contains("--console-socket"), "{outcome}");
    assert!(criu.record().is_empty(), "{:?}", criu.record());
}

/// The program's status is that of the command, and the container goes with it.
#[test]
fn a_restore_in_the_foreground_waits_for_the_program() {
    let original = Original::of(STAND_IN, sleeper());
    let exit = Restored { args: vec!["/probe".into(), "exit".into(), "7".into()], ..original.restored() };
    let criu = original.criu_with(Step::restore(exit));
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let images = criu.images();
    let call = runtime.call(["restore", "--image-path"]).arg(images).arg("--bundle").arg(bundle.path());
    let _ = call.arg(integration::unique_name()).outcome().exits(7);
    nothing_is_left(&runtime);
    assert!(!bundle.cgroup().exists());
}

/// runc's text, before anything else is looked at.
#[test]
fn an_id_that_is_taken_is_refused_first() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let call = runtime.call(["restore", "--image-path", "/nowhere", "--bundle"]).arg(bundle.path());
    let _ = call.arg(container.id()).outcome().refused("already exists").in_one_line();
    assert_eq!(container.status(), "running");
}

/// Said before anything is made.
#[test]
fn what_is_no_checkpoint_is_refused() {
    let original = Original::of(STAND_IN, sleeper());
    let refused = |spoil: &dyn Fn(&Path), text: &str| {
        let criu = original.criu();
        spoil(&criu.images());
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = Bundle::twin_of(&original.bundle);
        let outcome = failing_restore(&runtime, &bundle, &criu).in_one_line();
        assert!(outcome.stderr.contains(text), "expected {text:?}: {outcome}");
        assert!(criu.requests().iter().all(|request| request["type"] != "RESTORE"), "{:#?}", criu.record());
    };
    let descriptors = |images: &Path| images.join("descriptors.json");
    refused(&|images| fs::remove_file(images.join("inventory.img")).expect("an image"), "inventory.img");
    refused(&|images| fs::remove_file(descriptors(images)).expect("a file"), "descriptors.json");
    refused(&|images| fs::write(descriptors(images), "{").expect("a file"), "descriptors.json");
    refused(&|images| fs::write(descriptors(images), vec![b' '; 1 << 20]).expect("a file"), "descriptors.json");
    refused(
        &|images| {
            fs::rename(descriptors(images), images.join("elsewhere")).expect("a file");
            symlink("elsewhere", descriptors(images)).expect("a link");
        },
        "descriptors.json",
    );
    refused(
        &|images| {
            fs::rename(images, images.with_file_name("elsewhere")).expect("a directory");
            symlink("elsewhere", images).expect("a link");
        },
        "images",
    );
    let external = |text: &str| {
        let text = text.to_owned();
        move |images: &Path| fs::write(images.join("external-files.json"), &text).expect("a file")
    };
    refused(&external(r#"[{"key":"net[4026531840]","stream":1}]"#), "external-files.json");
    refused(&external(r#"[{"key":"file[1:2]","stream":9}]"#), "external-files.json");
}

/// What images make is held by its cgroup while it is audited: without one nothing is asked of CRIU.
#[test]
fn a_container_without_a_cgroup_is_not_restored() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let call = runtime.call(["--cgroup-manager", "disabled", "restore", "--detach", "--image-path"]);
    let call = call.arg(criu.images()).arg("--bundle").arg(bundle.path()).arg("without-cgroup");
    let _ = call.outcome().refused("without a cgroup of its own").in_one_line();
    assert!(criu.requests().iter().all(|request| request["type"] != "RESTORE"), "{:#?}", criu.record());
}

/// Whatever CRIU says: no process, directory, cgroup or mount is left.
#[test]
fn a_restore_that_fails_leaves_nothing() {
    let original = Original::of(STAND_IN, sleeper());
    let all = || Step::restore(original.restored());
    let mut scripts: Vec<Vec<Step>> = CALLBACKS
        .iter()
        .flat_map(|name| {
            [Step::KillSelf, Step::failure(22, "no such thing"), Step::Raw(vec![0xff; 9]), Step::Close]
                .map(|end| until(name, all(), &[end]))
        })
        .collect();
    scripts.push(vec![Step::success()]);
    for steps in scripts {
        let end = format!("{:?}", steps.last());
        let criu = original.criu_with(steps);
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = Bundle::twin_of(&original.bundle);
        let outcome = match runtime.try_restore(&bundle, &criu.images(), |call| call) {
            Ok(container) => panic!("expected a failure after {end}: {}", container.status()),
            Err(outcome) => outcome,
        };
        assert_eq!(outcome.code(), 1, "after {end}: {outcome}");
        reap_orphans_in(&bundle.cgroup());
        nothing_is_left(&runtime);
        assert!(!bundle.cgroup().exists(), "a cgroup is left after {end}: {outcome}");
    }
}

/// CRIU's own words, and the path of its log.
#[test]
fn what_criu_says_of_a_restore_is_in_the_message() {
    let original = Original::of(STAND_IN, sleeper());
    let log = "(00.1) Error (criu/mount.c:9): Can't mount at ./proc\n";
    let steps = vec![Step::Log(log.into()), Step::failure(0, "")];
    let criu = original.criu_with(steps);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = Bundle::twin_of(&original.bundle);
    let outcome = failing_restore(&runtime, &bundle, &criu).in_one_line();
    assert!(outcome.stderr.contains("criu failed: type RESTORE errno 0"), "{outcome}");
    assert!(outcome.stderr.contains("Can't mount at ./proc"), "{outcome}");
    assert!(outcome.stderr.contains(criu.images().join("restore.log").to_str().expect("a path")), "{outcome}");
}

/// A restore by a runtime that is killed: `state` does not lie about what it leaves, and `delete --force` removes it.
fn killed(runtime: &Runtime, criu: &StandIn, bundle: &Bundle, fault: Option<String>, when: &str) {
    let id = integration::unique_name();
    let call = runtime.call(["restore", "--detach", "--image-path"]).arg(criu.images());
    let call = call.arg("--bundle").arg(bundle.path()).arg(&id);
    let outcome = fault.into_iter().fold(call, |call, fault| call.env("CLEAT_FAULT", fault)).outcome();
    assert_eq!(outcome.code(), 128 + 9, "{when}: {outcome}");
    let status = runtime.state(&id).map(|state| state["status"].clone());
    let has_processes = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).is_ok_and(|text| !text.is_empty());
    assert!(has_processes || status != Some(json!("running")), "{when}: {status:?} with no process");
    let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    eventually(&format!("nothing of what was made {when}"), || {
        reap_orphans_in(&bundle.cgroup());
        let processes = fs::read_to_string(bundle.cgroup().join("cgroup.procs"));
        if bundle.cgroup().exists() { Err(format!("its cgroup, with {processes:?}")) } else { Ok(()) }
    });
    nothing_is_left(runtime);
}

/// At each callback.
#[test]
fn a_killed_restore_can_be_deleted() {
    let original = Original::of(STAND_IN, sleeper());
    for callback in CALLBACKS {
        let criu = original.criu_with(before(callback, Step::restore(original.restored()), &[Step::KillPeer]));
        let runtime = Runtime::new().with_criu(&criu);
        killed(&runtime, &criu, &Bundle::twin_of(&original.bundle), None, &format!("before {callback}"));
    }
}

/// At each step of the host's.
#[test]
fn a_restore_that_ends_at_a_step_leaves_nothing() {
    let original = Original::of(STAND_IN, sleeper());
    let criu = original.criu();
    for step in ["state-dir", "cgroup", "resctrl", "mounts", "clone", "save-state"] {
        let bundle = Bundle::twin_of(&original.bundle);
        let runtime = Runtime::new().with_criu(&criu).with_env("CLEAT_FAULT", format!("{step}:fail"));
        let outcome = failing_restore(&runtime, &bundle, &criu);
        assert!(outcome.stderr.contains(step), "{outcome}");
        let runtime = Runtime::new().with_criu(&criu);
        killed(&runtime, &criu, &bundle, Some(format!("{step}:kill")), &format!("at {step}"));
    }
}
