//! Rootless containers: everything an ordinary user expects, without any privilege of the machine.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;

use integration::{
    Bundle, ConsoleSocket, Pty, Runtime, eventually, give, mount_of, nothing_is_left, options_of, probe, proc,
    require_idmap_helpers, unique_name,
};
use serde_json::{Value, json};

/// The same with a network of its own, and so a sysfs.
fn with_network(bundle: Bundle) -> Bundle {
    let bundle = bundle.namespace(json!({ "type": "network" })).without_mount("/sys");
    bundle.edit(|spec| {
        let sysfs = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] });
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        let at = mounts.iter().position(|mount| mount["destination"] == "/sys/fs/cgroup").expect("a cgroup mount");
        mounts.insert(at, sysfs);
    })
}

/// Container ids 0 and from 1 on are the user's own and those of 100000 on.
fn with_delegated_ids(bundle: Bundle, uid: u32) -> Bundle {
    let maps = json!([
        { "containerID": 0, "hostID": uid, "size": 1 },
        { "containerID": 1, "hostID": 100_000, "size": 65_536 },
    ]);
    bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps)
}

// --- the whole of a life -------------------------------------------------------------------------

/// What `spec --rootless` writes runs unchanged: on a terminal, as root of its own user namespace.
#[test]
fn spec_rootless_runs_unchanged() {
    let runtime = Runtime::as_user();
    let dir = runtime.dir().join("bundle");
    fs::create_dir_all(dir.join("rootfs/bin")).expect("a root file system");
    // Called without arguments it prints facts.
    fs::copy(probe(), dir.join("rootfs/bin/sh")).expect("a copy of the probe");
    give(&dir, runtime.uid());
    let _ = runtime.command(runtime.program()).args(["spec", "--rootless"]).dir(&dir).outcome().ok();
    let (mut pty, slave) = Pty::open();
    let run = runtime.call(["run", "--bundle"]).arg(&dir).arg(unique_name()).terminal(&slave).spawn();
    drop(slave);
    let text = pty.to_end().to_owned();
    assert_eq!(run.outcome().code(), 0, "{text}");
    let facts: Value = serde_json::from_str(text.get(text.find('{').expect("facts")..).expect("facts").trim_end())
        .unwrap_or_else(|error| panic!("{error} in {text:?}"));
    let uid = runtime.uid();
    assert_eq!((&facts["uid"], &facts["uid_map"]), (&json!(0), &json!([[0, uid, 1]])));
    assert_eq!(
        (&facts["gid"], &facts["gid_map"], &facts["setgroups"]),
        (&json!(0), &json!([[0, uid, 1]]), &json!("deny"))
    );
    assert_eq!(facts["tty"][0]["terminal"], true);
    assert_eq!(facts["hostname"], "cleat");
}

/// Every command of a life, and nothing left of it; the processes of a container without a cgroup
/// are known by its pid namespace.
#[test]
fn every_command_works_for_an_ordinary_user() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let container = runtime.create(&bundle);
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_for_line("ready");
    let state = container.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("running"), &json!(container.pid())));
    let listed = runtime.call(["list", "--format", "json"]).outcome().json();
    assert_eq!(listed[0]["owner"], format!("#{}", runtime.uid()));
    assert_eq!(container.exec(["/probe", "print", "inside"]).ok().stdout, "inside\n");
    let second = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
    let pids = runtime.call(["ps", "--format", "json", container.id()]).outcome().json();
    assert_eq!(pids, json!([container.pid(), second.pid()]));
    let table = runtime.call(["ps", container.id()]).outcome().ok().stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    drop(second);
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    assert_eq!(container.status(), "stopped");
    container.delete();
    nothing_is_left(&runtime);
}

/// Commands that remember nothing need no place for it.
#[test]
fn plan_features_and_spec_need_no_runtime_directory() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle();
    let call = |words: &[&str]| runtime.command(runtime.program()).args(words);
    let plan = call(&["plan"]).arg(bundle.path()).outcome().ok().stdout;
    assert!(plan.contains(&format!("uid 0 inside is {} outside, 1 of them", runtime.uid())), "{plan}");
    assert!(call(&["features"]).outcome().json().is_object());
    let _ = call(&["spec", "-b"]).arg(runtime.dir()).outcome().ok();
}

/// `delete --force` ends every process, by the pid namespace where there is no cgroup.
#[test]
fn delete_force_ends_all_processes_without_a_cgroup() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "fork-sleep", "3"]);
    let container = runtime.start_ready(&bundle);
    let pids = runtime.call(["ps", "-f", "json", container.id()]).outcome().json();
    assert_eq!(pids.as_array().map(Vec::len), Some(4), "{pids}");
    let _ = container.call(["delete", "--force"]).outcome().ok();
    assert_eq!(container.wait(), 128 + 9);
    drop(container);
    for pid in pids.as_array().expect("pids") {
        let pid = pid.as_i64().expect("a pid");
        eventually("its end", || proc::has_ended(pid));
    }
    nothing_is_left(&runtime);
}

/// Who is not root needs a user namespace, and the error says how to get one.
#[test]
fn without_a_user_namespace_an_ordinary_user_is_refused() {
    let runtime = Runtime::as_user();
    let bundle = Bundle::new().given_to(runtime.uid());
    let text =
        format!("config.json: linux.namespaces: user {} is not root, and so needs a user namespace", runtime.uid());
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused(&text).in_one_line();
}

// --- the state directory -------------------------------------------------------------------------

/// XDG base directory specification; runc's behaviour: sticky, so that nobody tidies it away.
#[test]
fn the_state_is_in_the_users_runtime_directory() {
    let runtime = Runtime::as_user();
    let xdg = runtime.dir().join("xdg");
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let id = unique_name();
    let call = |words: &[&str]| runtime.command(runtime.program()).env("XDG_RUNTIME_DIR", &xdg).args(words);
    let _ = call(&["run", "--detach", "-b"]).arg(bundle.path()).arg(&id).outcome().ok();
    let root = xdg.join("cleat");
    let metadata = fs::metadata(&root).expect("the state directory");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o1700, runtime.uid()));
    assert!(root.join(&id).join("state.json").exists());
    assert_eq!(call(&["list", "-q"]).outcome().ok().stdout, format!("{id}\n"));
    let _ = call(&["delete", "--force", &id]).outcome().ok();
}

/// Each wrong value is named, and what to do about it.
#[test]
fn a_runtime_directory_that_is_not_the_users_is_refused() {
    let runtime = Runtime::as_user();
    let closed = runtime.dir().join("closed");
    fs::create_dir(&closed).expect("a directory");
    give(&closed, runtime.uid());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).expect("chmod");
    let closed = closed.to_string_lossy();
    for (value, text) in [
        ("", "XDG_RUNTIME_DIR is not set, and /run/cleat is root's; a login session sets it, or give --root"),
        ("run/user", "XDG_RUNTIME_DIR run/user: must be absolute"),
        ("/tmp", "XDG_RUNTIME_DIR /tmp: /tmp belongs to user 0, not to"),
        ("/dev/null/x", "mkdir cleat: not a directory (ENOTDIR)"),
        (&closed, "mkdir cleat: permission denied (EACCES); set it to a directory of your own, or give --root one"),
    ] {
        let outcome = runtime.command(runtime.program()).env("XDG_RUNTIME_DIR", value).arg("list").outcome();
        let _ = outcome.refused(text).in_one_line();
    }
    assert!(!std::path::Path::new("/tmp/cleat").exists(), "a directory was made in /tmp");
}

// --- ids -----------------------------------------------------------------------------------------

/// user_namespaces(7): one's own group can be mapped only when setgroups(2) is denied. Groups that
/// then cannot be had are reported, and the container lives.
#[test]
fn with_ones_own_ids_alone_groups_cannot_be_set() {
    let runtime = Runtime::as_user();
    let user = json!({ "uid": 0, "gid": 0, "additionalGids": [5] });
    let bundle = runtime.bundle().set("/process/user", user);
    let outcome = runtime.run(&bundle).ok();
    assert!(outcome.stderr.contains("process.user.additionalGids: ignored"), "{outcome}");
    assert_eq!(outcome.json()["setgroups"], "deny");
}

/// The one id need not be root's outside: `unshare --map-user` as a configuration. But the container
/// is set up as its root.
#[test]
fn a_user_that_is_not_mapped_is_refused_with_its_place() {
    let runtime = Runtime::as_user();
    for (user, text) in [
        (json!({ "uid": 1000, "gid": 0 }), "process.user.uid: 1000 has no mapping in linux.uidMappings, which has 0"),
        (json!({ "uid": 0, "gid": 5 }), "process.user.gid: 5 has no mapping in linux.gidMappings, which has 0"),
    ] {
        let outcome = runtime.run(&runtime.bundle().set("/process/user", user));
        let _ = outcome.refused(&format!("config.json: {text}"));
    }
    let container = runtime.start_ready(&runtime.bundle().args(["/probe", "sleep"]));
    let outcome = container.exec_with(["--user", "7"], ["/probe"]);
    let _ = outcome.fails(255, "--user: 7 has no mapping in the container's user namespace, which has 0");
}

/// subuid(5): ids that are delegated are mapped by newuidmap(1), and groups can be set.
#[test]
fn delegated_ids_are_mapped() {
    require_idmap_helpers();
    let runtime = Runtime::as_user().with_subids("alice:100000:65536\n");
    let uid = runtime.uid();
    let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] });
    let facts = runtime.json(&with_delegated_ids(runtime.bundle(), uid).set("/process/user", user));
    assert_eq!((&facts["uid"], &facts["gid"], &facts["groups"]), (&json!(1000), &json!(1001), &json!([5, 7])));
    let map = json!([[0, uid, 1], [1, 100_000, 65_536]]);
    assert_eq!((&facts["uid_map"], &facts["gid_map"], &facts["setgroups"]), (&map, &map, &json!("allow")));
}

/// The same of a process that joins, whichever user it is.
#[test]
fn exec_takes_delegated_ids() {
    require_idmap_helpers();
    let runtime = Runtime::as_user().with_subids("alice:100000:65536\n");
    let bundle = with_delegated_ids(runtime.bundle().args(["/probe", "sleep"]), runtime.uid());
    let container = runtime.start_ready(&bundle);
    let facts = container.exec_with(["--user", "1000:1001", "-g", "5"], ["/probe", "facts"]).json();
    assert_eq!((&facts["uid"], &facts["gid"], &facts["groups"]), (&json!(1000), &json!(1001), &json!([5])));
    let text = "--additional-gids: 70000 has no mapping in the container's user namespace";
    let _ = container.exec_with(["-g", "70000"], ["/probe"]).fails(255, text);
}

/// Ids that nobody delegates: which, to whom, and the line that is missing. Nothing is left.
#[test]
fn ids_that_are_not_delegated_are_reported() {
    require_idmap_helpers();
    for (lines, missing, line) in [
        ("bob:100000:65536\n", "100000-165535", "alice:100000:65536"),
        ("alice:100000:1000\n", "101000-165535", "alice:101000:64536"),
        ("", "100000-165535", "alice:100000:65536"),
    ] {
        let runtime = Runtime::as_user().with_subids(lines);
        let outcome = runtime.run(&with_delegated_ids(runtime.bundle(), runtime.uid()));
        let text = format!("/etc/subgid does not delegate host ids {missing} to alice; add a line to it: {line}");
        let outcome = outcome.refused(&text).refused("config.json: linux.gidMappings: /usr/bin/newgidmap: ");
        let _ = outcome.refused("not allowed");
        nothing_is_left(&runtime);
    }
}

/// Without the helpers: what to install. Looked for in absolute directories of PATH alone: others
/// would mean whatever lies in the bundle.
#[test]
fn without_the_helpers_the_package_is_named() {
    let runtime = Runtime::as_user();
    let bundle = with_delegated_ids(runtime.bundle(), runtime.uid());
    let bait = bundle.dir().join("newgidmap");
    fs::write(&bait, "#!/bin/sh\necho taken >&2; exit 1\n").expect("a script");
    fs::set_permissions(&bait, fs::Permissions::from_mode(0o755)).expect("chmod");
    for path in ["", ".", ":/no/such/directory", "bin:."] {
        let outcome = runtime.run_with(&bundle, |call| call.env("PATH", path).dir(bundle.dir()));
        let text = "host ids 100000-165535 are not this user's own, and newgidmap(1), which maps what /etc/subgid \
                    delegates, is not in PATH; install the package uidmap";
        let outcome = outcome.refused(text);
        assert!(!outcome.stderr.contains("taken"), "{outcome}");
    }
}

/// The helper gets the process, the mapping, and nothing else of ours: no descriptor, no variable.
#[test]
fn the_helper_is_called_with_nothing_but_the_mapping() {
    let runtime = Runtime::as_user();
    let bundle = with_delegated_ids(runtime.bundle(), runtime.uid());
    let dir = bundle.dir().join("bin");
    fs::create_dir(&dir).expect("a directory");
    let script = "#!/bin/sh\necho args $# $2 $3 $4 $5 $6 $7\nset -- /proc/self/fd/*\necho fds $*\nexport -p\nexit 3\n";
    fs::write(dir.join("newgidmap"), script).expect("a script");
    fs::set_permissions(dir.join("newgidmap"), fs::Permissions::from_mode(0o755)).expect("chmod");
    let outcome = runtime.run_with(&bundle, |call| call.env("PATH", &dir).env("SECRET", "x"));
    let args = format!("args 7 0 {} 1 1 100000 65536", runtime.uid());
    let outcome = outcome.refused("it exited with status 3; it printed: ").refused(&args);
    // 10 and above are the shell's own.
    let fds = outcome.stderr.split("fds ").nth(1).unwrap_or_default();
    let fds: Vec<&str> = fds.split([' ', '|']).filter_map(|word| word.strip_prefix("/proc/self/fd/")).collect();
    let ours: Vec<&&str> = fds.iter().filter(|fd| fd.parse::<u32>().is_ok_and(|fd| (4..10).contains(&fd))).collect();
    assert!(fds.contains(&"2") && ours.is_empty(), "{fds:?} in {outcome}");
    assert!(!outcome.stderr.contains("SECRET"), "{outcome}");
}

/// With no_new_privs no program can be setuid; the warning says so, for nobody would guess.
#[test]
fn no_new_privs_is_named_as_the_reason() {
    require_idmap_helpers();
    let runtime = Runtime::as_user().with_subids("alice:100000:65536\n");
    let bundle = with_delegated_ids(runtime.bundle(), runtime.uid());
    let call =
        runtime.command("setpriv").arg("--no-new-privs").arg(runtime.program()).arg("--root").arg(runtime.root());
    let outcome = call.args(["run", "-b"]).arg(bundle.path()).arg(unique_name()).outcome();
    let _ = outcome.refused("no_new_privs is set for cleat, and so newgidmap gets no privilege");
}

/// podman's keep-id: the container's root is a delegated id, which may not search the user's
/// directories; the user's own files are in reach all the same.
#[test]
fn the_containers_root_may_be_a_delegated_id() {
    require_idmap_helpers();
    let runtime = Runtime::as_user().with_subids("alice:100000:65536\n");
    let uid = runtime.uid();
    let maps = json!([
        { "containerID": 0, "hostID": 100_000, "size": 1000 },
        { "containerID": 1000, "hostID": uid, "size": 1 },
    ]);
    let bundle = Bundle::new().rootless(uid).set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
    let data = bundle.dir().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("file"), "the user's").expect("a file");
    give(&data, uid);
    give(&bundle.rootfs(), 100_000);
    let bundle = bundle.bind(&data, "/data", &["bind", "rw"]);
    let bundle = bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    fs::set_permissions(bundle.dir(), fs::Permissions::from_mode(0o700)).expect("chmod");
    // What the process is given: a score and signals, though it is another user's.
    let bundle = bundle.args(["/probe", "read", "/data/file"]).set("/process/oomScoreAdj", json!(700));
    assert_eq!(runtime.json(&bundle), json!({ "text": "the user's" }));
    let bundle = bundle.args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe", "facts"]).json();
    assert_eq!((&facts["uid"], &facts["oom_score_adj"]), (&json!(1000), &json!(700)));
    container.kill_and_delete();
}

// --- what a process is ---------------------------------------------------------------------------

/// An ordinary user may raise the score and not lower it.
#[test]
fn oom_score_can_be_raised_and_not_lowered() {
    let runtime = Runtime::as_user();
    let facts = runtime.json(&runtime.bundle().set("/process/oomScoreAdj", json!(500)));
    assert_eq!(facts["oom_score_adj"], 500);
    let outcome = runtime.run(&runtime.bundle().set("/process/oomScoreAdj", json!(-500)));
    let outcome = outcome.refused("config.json: process.oomScoreAdj: ");
    let _ = outcome.refused("to lower it below what it was set to takes CAP_SYS_RESOURCE on the machine itself");
}

/// Limits can be lowered; one above the caller's is refused with both numbers.
#[test]
fn rlimits_can_be_lowered_and_not_raised() {
    let runtime = Runtime::as_user();
    let limits = |hard: u64| json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }, { "type": "RLIMIT_NOFILE", "soft": 64, "hard": hard }]);
    let facts = runtime.json(&runtime.bundle().set("/process/rlimits", limits(65)));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!({ "soft": 64, "hard": 65 }));
    let outcome = runtime.run(&runtime.bundle().set("/process/rlimits", limits(1 << 40)));
    let outcome = outcome.refused("config.json: process.rlimits[1]: raise the hard limit from the caller's ");
    let _ = outcome.refused("to 1099511627776: operation not permitted (EPERM); that takes CAP_SYS_RESOURCE");
}

/// A network, a host name, a keyring and kernel parameters of its own.
#[test]
fn network_host_name_keyring_and_sysctls_are_the_containers_own() {
    let runtime = Runtime::as_user();
    let bundle = with_network(runtime.bundle()).set("/hostname", json!("mine"));
    let bundle = bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).without("/linux/maskedPaths");
    let facts = runtime.json(&bundle.args(["/probe", "facts", "net.ipv4.ip_forward"]));
    assert_eq!((&facts["links"]["lo"]["up"], &facts["hostname"]), (&json!(true), &json!("mine")));
    assert_eq!(facts["links"].as_object().map(serde_json::Map::len), Some(1), "{}", facts["links"]);
    assert_eq!(facts["sysctl"]["net.ipv4.ip_forward"], "1");
    assert!(facts["keys"].as_str().is_some_and(|keys| keys.contains("_ses.cleat-test-")), "{}", facts["keys"]);
    assert_eq!(mount_of(&facts, "/sys")["type"], "sysfs");
}

/// A time namespace with its offsets.
#[test]
fn a_time_namespace_works_for_an_ordinary_user() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().namespace(json!({ "type": "time" }));
    let facts = runtime.json(&bundle.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1000 } })));
    assert!(facts["timens_offsets"].as_str().is_some_and(|text| text.contains("1000")), "{}", facts["timens_offsets"]);
}

/// The network of another container of the same user, by its user namespace. One that belongs to
/// another user namespace cannot be joined, and the error says which.
#[test]
fn a_network_of_the_same_user_can_be_joined() {
    let runtime = Runtime::as_user();
    let first = runtime.start_ready(&with_network(runtime.bundle().args(["/probe", "sleep"])));
    let path = |name: &str| first.proc(&format!("ns/{name}"));
    let network = json!({ "type": "network", "path": path("net") });
    let bundle = runtime.bundle().namespace(network.clone());
    let bundle = bundle.without("/linux/uidMappings").without("/linux/gidMappings");
    let bundle = bundle.namespace(json!({ "type": "user", "path": path("user") }));
    let facts = runtime.json(&bundle);
    let of_first = |name: &str| fs::read_link(path(name)).expect("a namespace").display().to_string();
    for name in ["net", "user"] {
        assert_eq!(facts["namespaces"][name], of_first(name), "{name}");
    }
    let outcome = runtime.run(&runtime.bundle().namespace(network));
    let outcome = outcome.refused(&format!("setns {}: EPERM", path("net").display()));
    let _ = outcome.refused("it belongs to a user namespace in which the caller has no privilege; join that one, too");
}

/// `exec` has its own directory, environment and terminal.
#[test]
fn exec_has_a_directory_an_environment_and_a_terminal() {
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let facts = container.exec_with(["--cwd", "/dev", "--env", "A=1"], ["/probe", "facts"]).json();
    assert_eq!(facts["cwd"], "/dev");
    assert!(facts["env"].as_array().is_some_and(|env| env.contains(&json!("A=1"))), "{}", facts["env"]);
    let (mut pty, slave) = Pty::open();
    let exec = container.exec_call(["--tty"], ["/probe", "facts"]).terminal(&slave).spawn();
    drop(slave);
    let text = pty.to_end().to_owned();
    assert_eq!(exec.outcome().code(), 0, "{text}");
    assert!(text.contains("\"name\":\"/dev/pts/0\""), "{text}");
}

/// `create` sends the terminal over the socket, and the program's user owns it.
#[test]
fn a_terminal_goes_over_the_console_socket() {
    let runtime = Runtime::as_user();
    let socket = ConsoleSocket::listen(runtime.dir());
    give(socket.path(), runtime.uid());
    let bundle = runtime.bundle().set("/process/terminal", json!(true)).args(["/probe", "stat", "/dev/console"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = container.wait();
    let text = pty.to_end();
    assert!(text.contains("\"type\":\"char\"") && text.contains("\"uid\":0"), "{text}");
}

/// config.md § Hooks: those of the runtime's namespaces run as the user himself.
#[test]
fn hooks_run_as_the_user() {
    let runtime = Runtime::as_user();
    let uid = runtime.uid();
    let log = runtime.dir().join("hooks");
    fs::create_dir(&log).expect("a directory");
    give(&log, uid);
    let file = log.join("log");
    let mut bundle = runtime.bundle().bind(&log, "/hooks", &["bind", "rw"]).args(["/probe", "exit", "0"]);
    // The probe that hooks of the host execute must be in the user's reach.
    let probe = bundle.rootfs().join("probe");
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        let hook = if kind == "startContainer" {
            json!({ "path": "/probe", "args": ["probe", "hook", "/hooks/log", kind] })
        } else {
            json!({ "path": probe, "args": ["probe", "hook", file, kind] })
        };
        bundle = bundle.raw_hook(kind, hook);
    }
    let _ = runtime.run(&bundle).ok();
    let text = fs::read_to_string(&file).expect("what the hooks wrote");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tags: Vec<&str> = lines.iter().map(|line| line["tag"].as_str().expect("a tag")).collect();
    assert_eq!(tags, kinds);
    for line in &lines {
        let inside = ["createContainer", "startContainer"].contains(&line["tag"].as_str().unwrap_or_default());
        assert_eq!(line["uid"], if inside { 0 } else { uid }, "{}", line["tag"]);
    }
}

/// NOTIFY_SOCKET, in the state directory that nobody but the user can search.
#[test]
fn the_notify_socket_reaches_into_a_users_container() {
    let runtime = Runtime::as_user();
    let host = runtime.dir().join("notify.sock");
    let _socket = UnixDatagram::bind(&host).expect("a socket");
    give(&host, runtime.uid());
    let bundle =
        Bundle::new().with_dir("/run").rootless(runtime.uid()).args(["/probe", "stat", "/run/notify/notify.sock"]);
    let facts = runtime.run_with(&bundle, |call| call.env("NOTIFY_SOCKET", &host)).json();
    assert_eq!(facts["type"], "socket");
}

// --- root of a user namespace --------------------------------------------------------------------

/// A user namespace as rootless engines make it, in which the runtime is called as root.
struct Nested {
    runtime: Runtime,
    holder: Runtime,
    id: String,
}

impl Nested {
    fn new() -> Self {
        let holder = Runtime::new();
        let bundle = Bundle::new().mapped().args(["/probe", "sleep"]);
        give(&bundle.rootfs(), 100_000);
        let id = unique_name();
        let _ = holder.call(["run", "--detach", "-b"]).arg(bundle.path()).arg(&id).outcome().ok();
        let runtime = Runtime::copied();
        give(runtime.dir(), 100_000);
        Self { runtime, holder, id }
    }

    /// A bundle of its root, without a user namespace, on the host's network.
    fn bundle(&self) -> Bundle {
        let _ = &self.id;
        let bundle = Bundle::new().rootless(100_000).without_namespace("user");
        bundle.without("/linux/uidMappings").without("/linux/gidMappings")
    }

    fn run(&self, bundle: &Bundle) -> integration::Outcome {
        self.run_by(&[], bundle)
    }

    /// Called by a program that changes what the runtime is before.
    fn run_by(&self, before: &[&str], bundle: &Bundle) -> integration::Outcome {
        let state = self.holder.state(&self.id).expect("the holder's state");
        let enter = ["--user", "--setuid", "0", "--setgid", "0", "--target", &state["pid"].to_string()];
        let call = self.runtime.command("nsenter").args(enter).args(before).arg(self.runtime.program());
        call.arg("--root").arg(self.runtime.root()).args(["run", "-b"]).arg(bundle.path()).arg(unique_name()).outcome()
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = self.holder.call(["delete", "--force", &self.id]).outcome();
    }
}

/// podman's default: no user namespace but the one that it is in.
#[test]
fn root_of_a_user_namespace_needs_no_other() {
    let outer = Nested::new();
    let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] });
    let facts = outer.run(&outer.bundle().set("/process/user", user)).json();
    assert_eq!((&facts["uid"], &facts["groups"]), (&json!(1000), &json!([5])));
    assert_eq!(facts["uid_map"], json!([[0, 100_000, 65_536]]));
    let unmapped = outer.run(&outer.bundle().set("/process/user", json!({ "uid": 70_000 })));
    let _ = unmapped.refused("process.user.uid: 70000 has no mapping in the user namespace that cleat runs in");
}

/// podman's `--group-add keep-groups`: the groups of the user whose engine calls stay. Those of the
/// machine's root never do (CVE-2023-25173).
#[test]
fn the_callers_groups_stay_where_an_annotation_asks_for_it() {
    let outer = Nested::new();
    let groups = ["setpriv", "--groups", "7,8"];
    for (value, expected) in [("1", json!([7, 8])), ("0", json!([]))] {
        let bundle = outer.bundle().set("/annotations", json!({ "run.oci.keep_original_groups": value }));
        assert_eq!(outer.run_by(&groups, &bundle).json()["groups"], expected, "{value}");
    }
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/annotations", json!({ "run.oci.keep_original_groups": "1" }));
    let call = runtime.command(groups[0]).args(&groups[1..]).arg(runtime.program()).arg("--root").arg(runtime.root());
    let facts = call.args(["run", "-b"]).arg(bundle.path()).arg(unique_name()).outcome().json();
    assert_eq!(facts["groups"], json!([]), "of root");
}

/// podman's `--userns=keep-id`: a user namespace in it, whose root is another than the caller.
#[test]
fn root_of_a_user_namespace_can_map_its_ids_again() {
    let outer = Nested::new();
    let maps = |maps: Value| {
        let bundle = outer.bundle().namespace(json!({ "type": "user" }));
        bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps)
    };
    let bundle = maps(json!([
        { "containerID": 0, "hostID": 1, "size": 1000 },
        { "containerID": 1000, "hostID": 0, "size": 1 },
    ]));
    // Its files are the caller's, in a directory that the container's root may not search.
    fs::set_permissions(bundle.dir(), fs::Permissions::from_mode(0o700)).expect("chmod");
    give(&bundle.rootfs(), 100_001);
    let facts = outer.run(&bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 }))).json();
    assert_eq!((&facts["uid"], &facts["setgroups"]), (&json!(1000), &json!("allow")));
    assert_eq!(facts["uid_map"], json!([[0, 1, 1000], [1000, 0, 1]]), "as its own parent sees them");
    let outside = outer.run(&maps(json!([{ "containerID": 0, "hostID": 65_000, "size": 1000 }])));
    let _ = outside.refused(
        "config.json: linux.uidMappings[0]: host ids 65000-65999 are not all mapped in the user namespace that cleat \
         runs in, which has 0-65535",
    );
}

/// The same for root of a user namespace (podman's) that owns no cgroup namespace.
#[test]
fn in_a_user_namespace_the_hosts_cgroups_are_read_only() {
    let outer = Nested::new();
    let bundle = outer.bundle().without_namespace("cgroup").edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["type"] == "cgroup" {
                mount["options"] = json!(["rw"]);
            }
        }
    });
    let facts = outer.run(&bundle).json();
    assert!(options_of(&facts, "/sys/fs/cgroup").iter().any(|option| option == "ro"));
}
