//! `checkpoint` and `restore`, with a stand-in for CRIU: what is asked of it, and what follows from what it says.
//!
//! Nothing is dumped here. The chapter `criu` sees the real one, in the guest.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

mod failures;
mod restore;
mod states;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use integration::criu::{StandIn, Step};
use integration::{Bundle, Call, Container, Runtime, cgroup_root};
use serde_json::{Value, json};

const STAND_IN: &str = env!("CARGO_BIN_EXE_criu-stand-in");

/// Version 4.2 of what is no CRIU.
fn stand_in() -> StandIn {
    StandIn::new(STAND_IN)
}

/// One that dumps, and lets the container go on or not.
fn dumping(leave: bool) -> StandIn {
    stand_in().at("DUMP", Step::dump(leave)).at("PRE_DUMP", Step::pre_dump())
}

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// A running container whose streams are pipes: CRIU takes no files of the host for them.
fn started<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let container = runtime.create_with(bundle, Call::through_pipes);
    container.start();
    container.wait_for_line("ready");
    container
}

/// `checkpoint --image-path IMAGES OPTIONS… ID`
fn checkpoint(container: &Container<'_>, criu: &StandIn, options: &[&str]) -> Call {
    let images = criu.images();
    let words = ["checkpoint", "--image-path", images.to_str().expect("a path of the test's")];
    container.call(words.iter().chain(options))
}

/// What a checkpoint of a container from this bundle asks CRIU for, with these options.
fn asked_for(bundle: &Bundle, options: &[&str]) -> Value {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let container = started(&runtime, bundle);
    let _ = checkpoint(&container, &criu, options).outcome().ok();
    criu.opts(if options.contains(&"--pre-dump") { "PRE_DUMP" } else { "DUMP" })
}

fn key_and_value(list: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    list.as_array().into_iter().flatten().map(|entry| (text(entry, "key"), text(entry, "val"))).collect()
}

/// The whole request, as CRIU's own definition of it reads it.
#[test]
fn a_checkpoint_asks_for_the_containers_processes_and_nothing_else() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    let requests: Vec<Value> = criu.requests().iter().map(|request| request["type"].clone()).collect();
    assert_eq!(requests, ["VERSION", "DUMP"], "{:#?}", criu.record());
    let started = criu.record().iter().filter(|line| line.get("started").is_some()).count();
    assert_eq!(started, 1, "criu is executed once");
    assert_eq!(criu.request("VERSION"), json!({ "type": "VERSION", "keep_open": true }));
    let mut opts = criu.opts("DUMP");
    let opts = opts.as_object_mut().expect("opts");
    assert!(opts.remove("images_dir_fd").is_some_and(|fd| fd.as_i64() > Some(2)));
    // Masks, and the null device as standard input: see the tests of those.
    assert!(opts.remove("ext_mnt").is_some() && opts.remove("external").is_some(), "{opts:#?}");
    // CRIU's own default wants iptables; where there is none, nftables is asked for.
    assert!(opts.remove("network_lock").is_none_or(|method| method == "NFTABLES"));
    let work = opts.remove("work_dir_fd").and_then(|_| opts.remove("work_dir"));
    assert!(work.is_none_or(|work| work == json!(criu.images())));
    assert_eq!(
        Value::Object(opts.clone()),
        json!({
            "images_dir": criu.images(),
            "pid": container.pid(),
            "leave_running": true,
            "ext_unix_sk": false,
            "tcp_established": false,
            "tcp_skip_in_flight": false,
            "shell_job": false,
            "file_locks": false,
            "log_level": 4,
            "log_file": "dump.log",
            "notify_scripts": true,
            "root": bundle.rootfs(),
            "track_mem": false,
            "auto_dedup": false,
            "link_remap": false,
            "lazy_pages": false,
            "manage_cgroups": true,
            "manage_cgroups_mode": "IGNORE",
            "freeze_cgroup": bundle.cgroup(),
            "orphan_pts_master": true,
            "empty_ns": 0x4000_0000,
        })
    );
}

/// Each flag is one field, and no other.
#[test]
fn each_flag_is_a_field_of_the_request() {
    let bundle = sleeper();
    let plain = asked_for(&bundle, &["--leave-running"]);
    let flags = [
        ("--ext-unix-sk", "ext_unix_sk", json!(true)),
        ("--tcp-established", "tcp_established", json!(true)),
        ("--tcp-skip-in-flight", "tcp_skip_in_flight", json!(true)),
        ("--tcp-close", "tcp_close", json!(true)),
        ("--shell-job", "shell_job", json!(true)),
        ("--file-locks", "file_locks", json!(true)),
        ("--link-remap", "link_remap", json!(true)),
        ("--lazy-pages", "lazy_pages", json!(true)),
        ("--auto-dedup", "auto_dedup", json!(true)),
        ("--manage-cgroups-mode=soft", "manage_cgroups_mode", json!("SOFT")),
        ("--manage-cgroups-mode=full", "manage_cgroups_mode", json!("FULL")),
        ("--manage-cgroups-mode=strict", "manage_cgroups_mode", json!("STRICT")),
        ("--network-lock=iptables", "network_lock", json!("IPTABLES")),
        ("--network-lock=nftables", "network_lock", json!("NFTABLES")),
        ("--network-lock=skip", "network_lock", json!("SKIP")),
        ("--page-server=192.0.2.1:2345", "ps", json!({ "address": "192.0.2.1", "port": 2345 })),
    ];
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let container = started(&runtime, &bundle);
    for (flag, field, value) in flags {
        let _ = checkpoint(&container, &criu, &["--leave-running", flag]).outcome().ok();
        let opts = criu.opts("DUMP");
        assert_eq!(opts[field], value, "{flag}: {opts:#}");
        assert!(opts.get("unknown").is_none(), "{flag}: a field that CRIU does not know: {opts:#}");
        let differs = |name: &&String| {
            let names = ["pid", "images_dir", "images_dir_fd", "work_dir", "work_dir_fd", "external", field];
            !names.contains(&name.as_str()) && opts[name.as_str()] != plain[name.as_str()]
        };
        let others: Vec<&String> = opts.as_object().expect("opts").keys().filter(differs).collect();
        assert_eq!(others, [] as [&String; 0], "{flag} changes others, too");
    }
}

/// Podman sends it twice, and scripts write options with one dash.
#[test]
fn leave_running_may_come_twice_and_options_may_have_one_dash() {
    let bundle = sleeper();
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let container = started(&runtime, &bundle);
    let images = criu.images();
    let words = ["checkpoint", "-image-path", images.to_str().expect("a path"), "-leave-running", "--leave-running"];
    let _ = container.call(words).outcome().ok();
    assert_eq!(criu.opts("DUMP")["leave_running"], true);
    assert_eq!(container.status(), "running");
    let _ = checkpoint(&container, &criu, &["-tcp-established", "-leave-running"]).outcome().ok();
    assert_eq!(criu.opts("DUMP")["tcp_established"], true);
}

/// A zero that is left out is CRIU's default, which mounts the host's hierarchies (runc#4178, criu#3029).
#[test]
fn the_mode_of_cgroups_is_ignore_and_sent_as_zero() {
    let bundle = sleeper();
    for options in [&["--leave-running"][..], &["--leave-running", "--manage-cgroups-mode", "ignore"]] {
        let opts = asked_for(&bundle, options);
        assert_eq!((&opts["manage_cgroups"], &opts["manage_cgroups_mode"]), (&json!(true), &json!("IGNORE")));
    }
}

/// runc's texts, and crun's.
#[test]
fn options_that_are_wrong_are_refused_by_name() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    for (option, text) in [
        ("--manage-cgroups-mode=hard", "invalid manage-cgroups-mode value"),
        ("--network-lock=ebtables", "unknown network lock method specified"),
        ("--empty-ns=pid", "namespace \"pid\" is not supported"),
        ("--page-server=nowhere", "Use --page-server ADDRESS:PORT to specify page server"),
        ("--page-server=192.0.2.1:many", "Invalid port number"),
        ("--status-fd=77", "invalid --status-fd argument 77: not writable"),
        ("--parent-path=/absolute", "--parent-path"),
        ("--parent-path=../missing", "invalid --parent-path"),
    ] {
        let outcome = checkpoint(&container, &criu, &["--leave-running", option]).outcome();
        let _ = outcome.refused(text).in_one_line();
    }
    assert_eq!(criu.requests(), [] as [Value; 0], "nothing is asked of CRIU");
    assert_eq!(container.status(), "running");
}

/// `--empty-ns network` is what is done anyway.
#[test]
fn an_empty_network_namespace_is_always_asked_for() {
    let bundle = sleeper();
    let opts = asked_for(&bundle, &["--leave-running", "--empty-ns", "network"]);
    assert_eq!(opts["empty_ns"], 0x4000_0000);
}

/// Memory alone; the container goes on, and nothing says that this is a checkpoint.
#[test]
fn a_pre_dump_leaves_the_container_running_and_no_descriptors() {
    let criu = dumping(false);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = checkpoint(&container, &criu, &["--pre-dump"]).outcome().ok();
    let opts = criu.opts("PRE_DUMP");
    assert_eq!((&opts["track_mem"], &opts["leave_running"]), (&json!(true), &json!(true)));
    assert!(!criu.images().join("descriptors.json").exists());
    assert_eq!(container.status(), "running");
}

/// Relative to the images, as CRIU takes it.
#[test]
fn a_parent_is_named_relative_to_the_images() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    fs::create_dir(criu.dir().join("parent")).expect("a directory");
    let _ = checkpoint(&container, &criu, &["--leave-running", "--parent-path", "../parent"]).outcome().ok();
    let opts = criu.opts("DUMP");
    assert_eq!((&opts["parent_img"], &opts["track_mem"]), (&json!("../parent"), &json!(true)));
}

/// One zero byte when pages can be had, and the end.
#[test]
fn the_status_descriptor_gets_one_zero_byte() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let (images, status) = (criu.images(), criu.dir().join("status"));
    let words = ["checkpoint", "--leave-running", "--lazy-pages", "--status-fd", "7", "--image-path"];
    let script = format!("exec \"$0\" \"$@\" 7>'{}'", status.display());
    let call = runtime.through_shell(&script, words).arg(&images).arg(container.id());
    let _ = call.env("PATH", criu.path()).outcome().ok();
    assert_eq!(fs::read(status).expect("what was written"), [0]);
}

/// Whoever reads images reads all that the processes know.
#[test]
fn directories_of_images_and_logs_are_roots_alone() {
    let criu = dumping(true).at("DUMP", [vec![Step::Log("(00.1) fine\n".into())], Step::dump(true)].concat());
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let (images, work) = (criu.dir().join("deep/images"), criu.dir().join("work"));
    let call = container.call(["checkpoint", "--leave-running", "--image-path", images.to_str().expect("a path")]);
    let _ = call.args(["--work-path", work.to_str().expect("a path")]).outcome().ok();
    let mode = |path: &Path| fs::metadata(path).expect("a directory").permissions().mode() & 0o7777;
    assert_eq!((mode(&images), mode(&work)), (0o700, 0o700));
    let opts = criu.opts("DUMP");
    assert_eq!((&opts["images_dir"], &opts["work_dir"]), (&json!(images), &json!(work)));
    assert!(work.join("dump.log").exists() && images.join("inventory.img").exists());
    assert_eq!(mode(&images.join("descriptors.json")), 0o600);
}

/// `checkpoint` in the working directory, as with runc.
#[test]
fn images_lie_in_the_working_directory_without_a_path() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = container.call(["checkpoint", "--leave-running"]).dir(criu.dir()).outcome().ok();
    assert!(criu.dir().join("checkpoint/inventory.img").exists());
}

/// What the first process had at its creation, for all that it may have changed since; runc reads it, too.
#[test]
fn descriptors_are_those_of_the_creation() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let container = runtime.create_with(&bundle, |call| call.through_pipes().stderr(&write));
    container.start();
    container.wait_for_line("ready");
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    let text = fs::read_to_string(criu.images().join("descriptors.json")).expect("descriptors.json");
    let list: Vec<String> = serde_json::from_str(&text).expect("a list of texts");
    let inode = rustix::fs::fstat(&read).expect("the pipe").st_ino;
    assert_eq!(list.len(), 3, "{list:?}");
    assert_eq!((list[0].as_str(), list[2].clone()), ("/dev/null", format!("pipe:[{inode}]")));
    assert!(list[1].starts_with("pipe:["), "{list:?}");
}

/// CRIU gets its socket and nothing else of ours; its PATH is ours, for programs that it calls.
#[test]
fn criu_has_no_descriptor_of_ours_but_its_socket() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let script = "exec \"$0\" \"$@\" 8</";
    let images = criu.images();
    let call = runtime.through_shell(script, ["checkpoint", "--leave-running", "--image-path"]).arg(&images);
    let _ = call.arg(container.id()).env("PATH", criu.path()).outcome().ok();
    let started = criu.started();
    let numbers: Vec<&String> = started["descriptors"].as_object().expect("descriptors").keys().collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "{started:#}");
    assert_eq!(started["env"]["PATH"], json!(criu.path()));
}

/// Binds are named by where they are in the container, links of the root resolved; masks as `/dev/null` (C.4).
#[test]
fn mounts_of_the_host_are_declared_where_they_are() {
    let bundle = sleeper().with_dir("/real").with_link("/conf", "real").with_dir("/a").with_file("/file", "");
    let source = bundle.dir().join("source");
    fs::create_dir_all(source.join("inner")).expect("a directory");
    fs::write(source.join("one"), "").expect("a file");
    let bundle = bundle
        .bind(&source, "/conf", &["bind"])
        .bind(&source, "/a", &["rbind", "ro"])
        .bind(&source.join("inner"), "/a/inner", &["bind"])
        .bind(&source.join("one"), "/file", &["bind"]);
    let opts = asked_for(&bundle, &["--leave-running"]);
    let declared = key_and_value(&opts["ext_mnt"]);
    for at in ["/real", "/a", "/a/inner", "/file"] {
        assert!(declared.contains(&(at.to_owned(), at.to_owned())), "{at} is missing: {declared:?}");
    }
    assert!(declared.iter().all(|(key, _)| !key.starts_with("/conf")), "{declared:?}");
    // A file that every kernel with procfs has, and a directory, which is masked in another way.
    assert!(declared.contains(&("/proc/timer_list".into(), "/dev/null".into())), "{declared:?}");
    assert!(declared.iter().all(|(key, _)| key != "/sys/firmware"), "{declared:?}");
    let known = ["/real", "/a", "/a/inner", "/file"];
    assert!(declared.iter().all(|(key, val)| known.contains(&key.as_str()) || val == "/dev/null"), "{declared:?}");
}

/// Nodes that a user namespace may not make are the host's (crun#1207).
#[test]
fn devices_in_a_user_namespace_are_mounts_of_the_host() {
    let bundle = sleeper().mapped();
    integration::give(&bundle.rootfs(), 100_000);
    let opts = asked_for(&bundle, &["--leave-running"]);
    let declared = key_and_value(&opts["ext_mnt"]);
    for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"] {
        assert!(declared.iter().any(|(key, _)| key == device), "{device} is missing: {declared:?}");
    }
}

/// A network or pid namespace that config.json names by path stays outside (C.5); what has none is CRIU's own.
#[test]
fn namespaces_by_path_are_external() {
    let holder = Runtime::new();
    let other = sleeper();
    let neighbour = holder.start_ready(&other);
    let path = |file: &str| json!(neighbour.proc(&format!("ns/{file}")));
    let bundle = sleeper()
        .namespace(json!({ "type": "network", "path": path("net") }))
        .namespace(json!({ "type": "pid", "path": path("pid") }))
        .namespace(json!({ "type": "ipc", "path": path("ipc") }));
    let opts = asked_for(&bundle, &["--leave-running"]);
    let inode = |file: &str| {
        let link = fs::read_link(neighbour.proc(&format!("ns/{file}"))).expect("a namespace").display().to_string();
        link.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()
    };
    let external: Vec<&str> = opts["external"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for wanted in [format!("net[{}]:extRootNetNS", inode("net")), format!("pid[{}]:extRootPidNS", inode("pid"))] {
        assert!(external.contains(&wanted.as_str()), "{wanted} is missing: {external:?}");
    }
    assert!(!external.iter().any(|entry| entry.starts_with("ipc")), "{external:?}");
}

/// A fifo of the host as a standard stream is named, or CRIU cannot find its path (C.6); a file is refused, since CRIU
/// takes no other one in its place.
#[test]
fn fifos_of_the_host_as_standard_streams_are_external() {
    let criu = dumping(true);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = runtime.create_with(&bundle, Call::through_fifos);
    container.start();
    container.wait_for_line("ready");
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    let opts = criu.opts("DUMP");
    for number in [1, 2] {
        let info = fs::read_to_string(container.proc(&format!("fdinfo/{number}"))).expect("fdinfo");
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).expect("a mount").trim().to_owned();
        let meta = fs::metadata(container.proc(&format!("fd/{number}"))).expect("the fifo");
        let inode = std::os::unix::fs::MetadataExt::ino(&meta);
        let key = format!("file[{:x}:{inode:x}]", mount.parse::<u64>().expect("a number"));
        let external = opts["external"].as_array().expect("external");
        assert!(external.contains(&json!(key)), "{key} is missing: {external:?}");
    }
    let twin = Bundle::twin_of(&bundle);
    let files = runtime.start_ready(&twin);
    let _ = checkpoint(&files, &criu, &["--leave-running"]).outcome().refused("open as 1").in_one_line();
    assert_eq!(files.status(), "running");
}

/// `org.criu.config` names a configuration of CRIU's own, which overrides all (C.9); empty: none.
#[test]
fn a_configuration_of_criu_is_taken_from_the_annotation_or_etc() {
    let with = |value: &str| sleeper().set("/annotations", json!({ "org.criu.config": value }));
    assert_eq!(asked_for(&with("/srv/criu.conf"), &["--leave-running"])["config_file"], "/srv/criu.conf");
    assert_eq!(asked_for(&sleeper(), &["--leave-running"]).get("config_file"), None);
    let etc = |bundle: &Bundle| {
        let criu = dumping(true);
        let runtime = Runtime::new()
            .with_criu(&criu)
            .after("mount -t tmpfs none /etc && mkdir /etc/criu && : >/etc/criu/runc.conf");
        let container = started(&runtime, bundle);
        let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
        criu.opts("DUMP").get("config_file").cloned()
    };
    assert_eq!(etc(&sleeper()), Some(json!("/etc/criu/runc.conf")));
    assert_eq!(etc(&with("")), None);
}

/// Every callback is answered, known or not.
#[test]
fn callbacks_that_nobody_knows_are_answered() {
    let unknown = Step::Notify { script: "something-new".into(), with_pid: false };
    let steps = integration::criu::before("post-dump", Step::dump(true), &[unknown]);
    let criu = stand_in().at("DUMP", steps);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    let all =
        ["pre-dump", "network-lock", "query-ext-files", "status-ready", "something-new", "post-dump", "network-unlock"];
    assert_eq!(criu.answered(), all);
}

/// Whether a cgroup of this test is frozen.
fn is_frozen(bundle: &Bundle) -> bool {
    assert!(bundle.cgroup().starts_with(cgroup_root()));
    fs::read_to_string(bundle.cgroup().join("cgroup.freeze")).is_ok_and(|text| text.trim() == "1")
}
