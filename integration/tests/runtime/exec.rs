//! `exec`: a second process joins a container.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Container, Runtime, eventually, not_on_peer, not_on_runc_1_1};
use rustix::process::Signal;
use serde_json::{Value, json};

fn of(container: &Container<'_>, name: &str) -> String {
    fs::read_link(container.proc(&format!("ns/{name}"))).expect("a namespace").display().to_string()
}

fn fds(facts: &Value) -> Vec<Value> {
    facts["fds"].as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect()
}

/// The process is in all namespaces and in the cgroup of the container.
#[test]
fn exec_joins_the_containers_namespaces_and_cgroup() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe", "facts"]).json();
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"] {
        assert_eq!(facts["namespaces"][name], of(&container, name), "{name}");
    }
    assert!(facts["cgroup"].as_str().is_some_and(|c| c.lines().any(|l| l == "0::/")), "{}", facts["cgroup"]);
    assert_ne!(facts["pid"], 1);
    assert_eq!(facts["root"], json!(["dev", "probe", "proc", "sys"]));
}

/// Without options it is as the container's own process: user, env, cwd, capabilities, rlimits.
#[test]
fn exec_is_by_default_as_the_containers_process() {
    not_on_runc_1_1!("exec has its own umask there");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper()
        .with_dir("/srv")
        .set("/process/cwd", json!("/srv"))
        .set("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o027 }))
        .set("/process/env", json!(["PATH=/bin", "KEY=value"]));
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe", "facts"]).json();
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(5), &json!(6)));
    assert_eq!(facts["cwd"], "/srv");
    assert_eq!(facts["umask"], "0027");
    let env = facts["env"].as_array().expect("env");
    assert!(env.contains(&json!("KEY=value")) && env.contains(&json!("HOME=/")), "{env:?}");
    assert_eq!(facts["capabilities"]["bounding"], json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!({ "soft": 1024, "hard": 1024 }));
    assert_eq!(facts["no_new_privs"], true);
    assert_eq!(fds(&facts), [0, 1, 2]);
}

/// The exit code of `exec` is that of the process.
#[test]
fn exec_exits_as_the_process_does() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for code in [0, 1, 42, 254] {
        let _ = container.exec(["/probe", "exit", &code.to_string()]).exits(code);
    }
}

/// 128 + the signal that ended it.
#[test]
fn exec_exits_with_128_and_the_signal_that_killed_the_process() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for signal in [9, 15, 6] {
        let _ = container.exec(["/probe", "die", &signal.to_string()]).exits(128 + signal);
    }
}

/// A failure of the runtime itself is 255 (cli-contract A.1), with podman's texts.
#[test]
fn exec_fails_with_255_and_says_why() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().with_file("/text", "x").with_mode("/text", 0o644);
    let container = runtime.start_ready(&bundle);
    let _ = container.exec(["no-such-program"]).fails(255, "executable file not found in").in_one_line();
    let _ = container.exec(["/no/such/program"]).fails(255, "no such file or directory").in_one_line();
    let _ = container.exec(["/text"]).fails(255, "permission denied").in_one_line();
    assert_eq!(container.status(), "running");
}

/// What an option of `exec` has set is not config.json's fault; nor is what the file of `--process` says.
#[test]
fn exec_names_the_option_that_is_to_blame() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for (options, text) in [
        (["--env", "FOO"], "--env: \"FOO\" is not of the form NAME=value"),
        (["--cwd", "/nope"], "--cwd: chdir /nope: no such file or directory"),
        (["--cwd", "nope"], "--cwd: \"nope\" must be absolute"),
    ] {
        let outcome = container.exec_with(options, ["/probe"]).fails(255, text).in_one_line();
        assert!(!outcome.stderr.contains("config.json"), "{outcome}");
    }
    let none: [&str; 0] = [];
    let _ = container.exec_with(none, ["--", "/probe"]).fails(255, "leave it out").in_one_line();
    let file = runtime.dir().join("process.json");
    fs::write(&file, json!({ "args": ["/probe"], "cwd": "nope" }).to_string()).expect("a file");
    let file = file.display().to_string();
    let outcome =
        container.exec_with(["--process", file.as_str()], none).fails(255, "process.json: cwd: ").in_one_line();
    assert!(!outcome.stderr.contains("config.json"), "{outcome}");
}

/// stdin, stdout and stderr are the caller's.
#[test]
fn exec_passes_stdin_stdout_and_stderr() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let none: [&str; 0] = [];
    let cat = container.exec_call(none, ["/probe", "cat"]).stdin("some\ntext").outcome().ok();
    assert_eq!(cat.stdout, "some\ntext");
    assert_eq!(container.exec(["/probe", "eprint", "oh"]).ok().stderr, "oh\n");
}

/// What is like an option after the id belongs to the program (StopOnNthArg in runc).
#[test]
fn exec_leaves_the_programs_own_options_alone() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe", "facts", "-t", "--cwd", "--", "-d"]).json();
    assert_eq!(facts["args"], json!(["/probe", "facts", "-t", "--cwd", "--", "-d"]));
}

/// `--cwd`
#[test]
fn exec_cwd_is_where_the_process_starts() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().with_dir("/some/where");
    let container = runtime.start_ready(&bundle);
    assert_eq!(container.exec_with(["--cwd", "/some/where"], ["/probe"]).json()["cwd"], "/some/where");
}

/// `--env`, several times; it is added to the container's own and wins over it.
#[test]
fn exec_env_is_added() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().set("/process/env", json!(["PATH=/bin", "KEY=old"]));
    let container = runtime.start_ready(&bundle);
    let facts = container.exec_with(["-e", "KEY=new", "-e", "MORE=a=b", "-e=LAST="], ["/probe"]).json();
    let env: Vec<_> = facts["env"].as_array().expect("env").iter().filter_map(Value::as_str).collect();
    for line in ["KEY=new", "MORE=a=b", "LAST=", "PATH=/bin"] {
        assert!(env.contains(&line), "no {line} in {env:?}");
    }
    assert!(!env.contains(&"KEY=old"), "{env:?}");
}

/// `--user UID[:GID]`, `--additional-gids`; CVE-2026-30892: "1" was parsed so that the uid stayed 0.
#[test]
fn exec_user_is_the_user_that_was_asked_for() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for (user, uid, gid) in [("1", 1, 0), ("1:2", 1, 2), ("65534:65533", 65534, 65533), ("0:5", 0, 5)] {
        let facts = container.exec_with(["--user", user], ["/probe"]).json();
        assert_eq!((&facts["uid"], &facts["gid"]), (&json!(uid), &json!(gid)), "--user {user}");
    }
    let facts = container.exec_with(["-u", "3", "--additional-gids", "8", "--additional-gids", "9"], ["/probe"]).json();
    assert_eq!((&facts["uid"], &facts["groups"]), (&json!(3), &json!([8, 9])));
}

/// A user that is no number, or too large a one, is refused: never root instead (CVE-2024-40635,
/// CVE-2026-30892). 4294967295 is "as it is" to setresuid(2), which was root.
#[test]
fn exec_refuses_a_user_that_is_no_number() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for user in
        ["nobody", "1:", ":1", "4294967295", "1:4294967295", "4294967296", "-1", "1:x", "1:2:3", "0x10", " 1", ""]
    {
        if integration::is_peer() && ["", "4294967295", "1:4294967295", "4294967296", "-1"].contains(&user) {
            // runc takes no user as none given, and wraps numbers.
            continue;
        }
        let outcome = container.exec_with([format!("--user={user}")], ["/probe"]);
        assert_eq!(outcome.code(), 255, "--user {user:?}: {outcome}");
    }
    let file = runtime.dir().join("process.json");
    for user in ["4294967295", "4294967296", "-1", "\"1\""] {
        let process = format!(r#"{{"args":["/probe"],"cwd":"/","user":{{"uid":{user},"gid":0}}}}"#);
        fs::write(&file, process).expect("a process file");
        let outcome = runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome();
        assert!(integration::is_peer() || outcome.code() == 255, "uid {user}: {outcome}");
    }
}

/// `--cap` is for bounding, effective and permitted only (CVE-2022-29162, CVE-2025-27612).
#[test]
fn exec_capabilities_are_never_inheritable() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let own = container.exec(["/probe"]).json();
    let facts = container.exec_with(["--cap", "CAP_NET_RAW", "--cap", "CAP_CHOWN"], ["/probe"]).json();
    for set in ["bounding", "effective", "permitted"] {
        let caps = facts["capabilities"][set].as_array().expect("a set");
        for name in ["CAP_NET_RAW", "CAP_CHOWN", "CAP_KILL"] {
            assert!(caps.contains(&json!(name)), "{set}: no {name} in {caps:?}");
        }
        assert!(!own["capabilities"][set].as_array().expect("a set").contains(&json!("CAP_NET_RAW")));
    }
    for set in ["inheritable", "ambient"] {
        assert_eq!(facts["capabilities"][set], json!([]), "{set}");
    }
}

/// As with runc: a capability that there is not is ignored, and has one form; an empty `--cwd` is none.
#[test]
fn exec_ignores_unknown_capabilities_and_an_empty_cwd() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().set("/process/cwd", json!("/proc"));
    let container = runtime.start_ready(&bundle);
    let own = container.exec(["/probe"]).json()["capabilities"].clone();
    let mut names = vec!["CAP_NOSUCH"];
    if !integration::is_peer() {
        names.extend(["cap_net_raw", "NET_RAW"]);
    }
    for name in names {
        let facts = container.exec_with(["--cap", name], ["/probe"]).json();
        assert_eq!(facts["capabilities"], own, "{name}");
    }
    assert_eq!(container.exec_with(["--cwd", ""], ["/probe"]).json()["cwd"], "/proc");
}

/// What only execve finds out is told by the process itself, which has started: also when it is detached.
#[test]
fn exec_starts_what_cannot_be_executed() {
    not_on_peer!("crun's exec does not know of it");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().with_file("/text", "echo\n").with_mode("/text", 0o755);
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec(["/text"]).exits(255);
    assert_eq!(outcome.stderr, "exec /text: exec format error\n");
    let _ = container.exec_with(["--detach"], ["/text"]).ok();
}

/// `--no-new-privs`
#[test]
fn exec_no_new_privs_is_set() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().set("/process/noNewPrivileges", json!(false));
    let container = runtime.start_ready(&bundle);
    assert_eq!(container.exec(["/probe"]).json()["no_new_privs"], false);
    assert_eq!(container.exec_with(["--no-new-privs"], ["/probe"]).json()["no_new_privs"], true);
}

/// As with runc and crun, a process in whole that names no resource limits has the caller's; without
/// `--process` it has the container's.
#[test]
fn exec_process_without_rlimits_has_the_callers() {
    let runtime = Runtime::new();
    let nofile = |limit: u64| json!([{ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }]);
    let bundle = Bundle::sleeper().set("/process/rlimits", nofile(321));
    let container = runtime.start_ready(&bundle);
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let own = json!({ "soft": own.current, "hard": own.maximum });
    let both = |limit: u64| json!({ "soft": limit, "hard": limit });
    assert_eq!(container.exec(["/probe"]).json()["rlimits"]["RLIMIT_NOFILE"], both(321));
    for (rlimits, expected) in [(Value::Null, own.clone()), (json!([]), own), (nofile(123), both(123))] {
        let process = json!({ "args": ["/probe"], "cwd": "/", "rlimits": rlimits });
        let file = bundle.dir().join("process.json");
        std::fs::write(&file, process.to_string()).expect("a file");
        let facts = runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome().json();
        assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], expected, "{process}");
    }
}

/// `--process FILE` (what containerd uses) replaces everything.
#[test]
fn exec_process_file_says_everything() {
    not_on_runc_1_1!("it raises the soft RLIMIT_NOFILE");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().with_dir("/srv");
    let container = runtime.start_ready(&bundle);
    let file = runtime.dir().join("process.json");
    let process = json!({
        "terminal": false,
        "user": { "uid": 11, "gid": 12, "additionalGids": [13] },
        "args": ["/probe", "facts"],
        "env": ["PATH=/bin", "ONLY=this", "HOME=/srv"],
        "cwd": "/srv",
        "capabilities": { "bounding": ["CAP_CHOWN"], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 }],
        "noNewPrivileges": true,
        "oomScoreAdj": 300,
    });
    fs::write(&file, process.to_string()).expect("a process file");
    let facts = runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome().json();
    assert_eq!((&facts["uid"], &facts["gid"], &facts["groups"]), (&json!(11), &json!(12), &json!([13])));
    assert_eq!(facts["cwd"], "/srv");
    let mut env: Vec<_> = facts["env"].as_array().expect("env").iter().filter_map(Value::as_str).collect();
    env.sort_unstable();
    assert_eq!(env, ["HOME=/srv", "ONLY=this", "PATH=/bin"]);
    assert_eq!(facts["capabilities"]["bounding"], json!(["CAP_CHOWN"]));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!({ "soft": 77, "hard": 88 }));
    // runc takes this one from the container's own process.
    assert!(integration::is_peer() || facts["oom_score_adj"] == 300, "{}", facts["oom_score_adj"]);
}

/// A process file that is no process is refused with its place.
#[test]
fn exec_refuses_a_broken_process_file() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let file = runtime.dir().join("process.json");
    for text in ["", "{", "[]", r#"{"args": "no list", "cwd": "/"}"#, r#"{"args": [], "cwd": "/"}"#] {
        fs::write(&file, text).expect("a process file");
        let _ = runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome().exits(255).in_one_line();
    }
    let _ = runtime
        .call(["exec", "--process", "/no/such/file", container.id()])
        .outcome()
        .fails(255, "no such file or directory");
}

/// A call without a program is a usage error.
#[test]
fn exec_wants_a_program() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let none: [&str; 0] = [];
    let outcome = container.exec(none);
    assert!(!outcome.succeeded(), "{outcome}");
}

/// `--detach` returns at once, 0, with the pid in `--pid-file`, as the host numbers it.
#[test]
fn exec_detach_returns_while_the_process_runs() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let process = container.exec_detached(["--cwd", "/"], ["/probe", "sleep"]);
    let pid = process.pid();
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).expect("the process");
    assert!(cmdline.starts_with(b"/probe\0"), "{}", String::from_utf8_lossy(&cmdline));
    let ns = fs::read_link(format!("/proc/{pid}/ns/pid")).expect("a namespace").display().to_string();
    assert_eq!(ns, of(&container, "pid"));
}

/// Many at once: exec probes are what users do most (user-complaints 1).
#[test]
fn many_execs_at_once_do_not_disturb_each_other() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let none: [&str; 0] = [];
    let running: Vec<_> =
        (0..32).map(|n| (n, container.exec_call(none, ["/probe", "exit", &n.to_string()]).spawn())).collect();
    for (n, running) in running {
        let _ = running.outcome().exits(n);
    }
}

/// Signals sent to a foreground `exec` go to the process.
#[test]
fn exec_forwards_signals() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let none: [&str; 0] = [];
    let running = container.exec_call(none, ["/probe", "signal-report"]).spawn();
    running.wait_for_line("ready");
    running.signal(Signal::USR2);
    running.wait_for_line("SIGUSR2 12");
    running.signal(Signal::TERM);
    let _ = running.outcome().exits(0);
    assert_eq!(container.status(), "running");
}

/// `--preserve-fds`, and no descriptor beyond (CVE-2024-21626).
#[test]
fn exec_passes_no_other_descriptors() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let script = "exec 3</dev/null 4</etc/passwd 5</ 9</; exec \"$0\" \"$@\"";
    let facts = runtime.through_shell(script, ["exec", container.id(), "/probe"]).outcome().json();
    assert_eq!(fds(&facts), [0, 1, 2], "{}", facts["fds"]);
    let facts =
        runtime.through_shell(script, ["exec", "--preserve-fds", "2", container.id(), "/probe"]).outcome().json();
    assert_eq!(fds(&facts), [0, 1, 2, 3, 4], "{}", facts["fds"]);
}

/// runc's texts for containers in which nothing can run.
#[test]
fn exec_needs_a_running_container() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    container.kill("TERM");
    let _ = container.wait();
    let is_old = integration::is_peer() && integration::peer_version().contains(" 1.1.");
    let text = if is_old { "cannot exec" } else { "cannot exec in a stopped container" };
    let _ = container.exec(["/probe"]).fails(255, text).in_one_line();
}

/// A created container can be exec'd into: its first process waits.
#[test]
fn exec_works_in_a_created_container() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.create(&bundle);
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["namespaces"]["mnt"], of(&container, "mnt"));
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_for_line("ready");
}

/// In a user namespace the process is its root, not the host's.
#[test]
fn exec_joins_a_user_namespace() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().mapped();
    bundle.chown_rootfs();
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["namespaces"]["user"], of(&container, "user"));
    assert_eq!(facts["uid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(0), &json!(0)));
}

/// A time namespace with offsets is joined too.
#[test]
fn exec_joins_a_time_namespace() {
    not_on_runc_1_1!("time namespaces came with 1.2");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper()
        .namespace(json!({ "type": "time" }))
        .set("/linux/timeOffsets", json!({ "boottime": { "secs": 1000, "nanosecs": 0 } }));
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["namespaces"]["time"], of(&container, "time"));
}

/// A namespace that the container inherits is inherited by exec: the host's pid namespace.
#[test]
fn exec_in_a_container_with_the_hosts_pid_namespace() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper().without_namespace("pid");
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["namespaces"]["pid"], of(&container, "pid"));
    let _ = container.exec(["/probe", "exit", "9"]).exits(9);
}

/// The short forms are the same options.
#[test]
fn exec_has_short_options() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let options = ["-u", "3:4", "-g", "8", "-g", "9", "-c", "CAP_NET_RAW", "-e", "KEY=value"];
    let facts = container.exec_with(options, ["/probe"]).json();
    assert_eq!((&facts["uid"], &facts["gid"], &facts["groups"]), (&json!(3), &json!(4), &json!([8, 9])));
    assert!(facts["capabilities"]["bounding"].as_array().is_some_and(|c| c.contains(&json!("CAP_NET_RAW"))));
    assert!(facts["env"].as_array().is_some_and(|env| env.contains(&json!("KEY=value"))));
    let long = ["--env", "KEY=long", "--user", "5"];
    let facts = container.exec_with(long, ["/probe"]).json();
    assert_eq!(facts["uid"], 5);
    assert!(facts["env"].as_array().is_some_and(|env| env.contains(&json!("KEY=long"))));
}

/// `--cgroup PATH` puts the process into a sub-cgroup of the container.
#[test]
fn exec_cgroup_is_below_the_containers() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    fs::create_dir(bundle.cgroup().join("sub")).expect("a cgroup");
    let facts = container.exec_with(["--cgroup", "sub"], ["/probe"]).json();
    let cgroup = facts["cgroup"].as_str().unwrap_or_default();
    assert!(cgroup.lines().any(|l| l == "0::/sub"), "{cgroup:?}");
}

/// runc 1.5.2: a prefix test let `exec --cgroup` of container-a reach its sibling container-ab.
#[test]
fn exec_cgroup_never_leads_out_of_the_containers() {
    not_on_peer!("runc before 1.5.2 has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let name = bundle.cgroup().file_name().expect("a name").to_string_lossy().into_owned();
    let sibling = bundle.cgroup().with_file_name(format!("{name}b"));
    fs::create_dir(&sibling).expect("a cgroup");
    let attempts =
        [format!("../{name}b"), "..".to_owned(), "../..".to_owned(), format!("/../{name}b"), "/no/such".to_owned()];
    let outcomes: Vec<_> = attempts.iter().map(|path| container.exec_with(["--cgroup", path], ["/probe"])).collect();
    let reached = fs::read_to_string(sibling.join("cgroup.events")).expect("cgroup.events");
    fs::remove_dir(&sibling).expect("the cgroup is empty");
    assert!(reached.contains("populated 0"), "{reached}");
    for (path, outcome) in attempts.iter().zip(outcomes) {
        assert_eq!(outcome.code(), 255, "--cgroup {path}: {outcome}");
    }
}

/// user-complaints 24: the container's cgroup may have become an inner node; exec goes where
/// the first process is.
#[test]
fn exec_finds_a_container_that_has_moved_into_a_sub_cgroup() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let inner = bundle.cgroup().join("inner");
    fs::create_dir(&inner).expect("a cgroup");
    fs::write(inner.join("cgroup.procs"), container.pid().to_string()).expect("our own container moves");
    // hugetlb is the one controller of a hybrid host's v2 tree; any makes the node an inner one.
    let controllers = fs::read_to_string(bundle.cgroup().join("cgroup.controllers")).expect("cgroup.controllers");
    if let Some(controller) = controllers.split_whitespace().next() {
        fs::write(bundle.cgroup().join("cgroup.subtree_control"), format!("+{controller}")).expect("subtree_control");
    }
    let facts = container.exec(["/probe"]).json();
    let cgroup = facts["cgroup"].as_str().unwrap_or_default().to_owned();
    assert!(cgroup.contains("0::/"), "{cgroup:?}");
}

/// A container that dies while an exec runs takes it along.
#[test]
fn exec_ends_with_the_container() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let none: [&str; 0] = [];
    let running = container.exec_call(none, ["/probe", "sleep"]).spawn();
    running.wait_for_line("ready");
    container.kill("KILL");
    let _ = container.wait();
    let _ = running.outcome().exits(128 + 9);
}

/// The pid of an exec is no child that nobody reaps.
#[test]
fn exec_leaves_no_zombie_in_the_container() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    for _ in 0..3 {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    eventually("one process in the container", || {
        let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        (procs.lines().count() == 1).then_some(()).ok_or(procs)
    });
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["pids"].as_array().map(Vec::len), Some(2), "{}", facts["pids"]);
}

/// `--ignore-paused` waits for the thaw; without it a paused container is refused.
#[test]
fn exec_in_a_paused_container_is_refused_unless_asked_to_wait() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    let is_old = integration::is_peer() && integration::peer_version().contains(" 1.1.");
    let text = if is_old { "cannot exec" } else { "cannot exec in a paused container" };
    let _ = container.exec(["/probe"]).fails(255, text).in_one_line();
    let _ = container.call(["resume"]).outcome().ok();
    let _ = container.exec(["/probe", "exit", "0"]).ok();
}

/// The process leads a session of its own; it shares none with its caller.
#[test]
fn exec_leads_a_session_of_its_own() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let facts = container.exec(["/probe"]).json();
    assert_eq!(facts["sid"], facts["pid"]);
}

/// Bytes that are no text arrive as they are typed.
#[test]
fn exec_passes_on_what_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;
    let word = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let call = container.call(["exec"]).args(["/probe", "length"]).arg(word).arg("caf\u{e9}");
    assert_eq!(call.outcome().ok().stdout, "4\n5\n");
    let variable = std::ffi::OsStr::from_bytes(b"WORD=caf\xe9");
    let call = runtime.call(["exec", "--env"]).arg(variable).arg(container.id()).args([
        "/probe",
        "read",
        "/proc/self/environ",
    ]);
    let outcome = call.outcome().ok();
    assert!(outcome.stdout.contains("WORD=caf\u{fffd}"), "{outcome}");
    let directory = std::ffi::OsStr::from_bytes(b"/caf\xe9");
    let call = runtime.call(["exec", "--cwd"]).arg(directory).arg(container.id()).args(["/probe", "facts"]);
    let _ = call.outcome().fails(255, "--cwd: chdir /caf\u{fffd}: no such file or directory");
    // A path of the host.
    let file = runtime.dir().join(word);
    let call = runtime.call(["exec", "--pid-file"]).arg(&file).arg(container.id()).args(["/probe", "exit", "0"]);
    let _ = call.outcome().ok();
    assert!(file.exists(), "no {}", file.display());
}

/// As with runc: what the container's processes may hand down, one with `--cap` may.
#[test]
fn exec_cap_is_ambient_where_it_is_inheritable() {
    let bundle = Bundle::sleeper().set(
        "/process/capabilities",
        json!({ "inheritable": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL", "CAP_CHOWN"], "bounding": ["CAP_KILL", "CAP_CHOWN"], "ambient": ["CAP_KILL"] }),
    );
    let runtime = Runtime::new();
    let container = runtime.start_ready(&bundle);
    let ambient = |options: &[&str]| {
        let status = container.exec_with(options, ["/probe", "read", "/proc/self/status"]).ok().stdout;
        let at = status.find("CapAmb:").unwrap_or_else(|| panic!("no CapAmb in {status}"));
        status
            .get(at + 7..)
            .unwrap_or_default()
            .trim_start_matches(['\\', 't', '\t'])
            .chars()
            .take(16)
            .collect::<String>()
    };
    assert_eq!(ambient(&[]), "0000000000000020");
    assert_eq!(ambient(&["--cap", "CAP_CHOWN"]), "0000000000000021");
    assert_eq!(ambient(&["--cap", "CAP_NET_RAW"]), "0000000000000020");
}

/// Somebody removes the image's files under a container: the message says what is wrong.
#[test]
fn exec_says_that_the_root_has_been_removed() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    fs::remove_dir_all(bundle.rootfs()).expect("the root file system goes");
    let outcome = container.exec(["/probe", "facts"]);
    assert!(!outcome.stderr.contains("outside"), "{outcome}");
    let _ =
        outcome.fails(255, "process.cwd: chdir /: no such file or directory (ENOENT); the directory has been removed");
    container.kill_and_delete();
}

/// A directory that is not there is the process's, and no step's.
#[test]
fn exec_names_the_working_directory() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec_with(["--cwd", "/nope"], ["/probe", "facts"]);
    let _ = outcome.fails(255, "--cwd: chdir /nope: no such file or directory").in_one_line();
}
