//! config.md, "Process": what the program finds itself to be.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::net::UnixDatagram;

use integration::{Bundle, Runtime, not_on_peer, proc, require_keyrings, tries, unique_name};
use serde_json::{Value, json};

fn facts(bundle: &Bundle) -> Value {
    Runtime::new().json(bundle)
}

/// config.md § Process, args: "similar semantics to IEEE Std 1003.1-2008 execvp's argv".
#[test]
fn args_arrive_as_written() {
    let args = ["/probe", "facts", "", " two words ", "ü\"'\\", "$HOME", "-x"];
    assert_eq!(facts(&Bundle::new().args(args))["args"], json!(args));
}

/// A program without a slash is looked up in the container's PATH, in the container's root.
#[test]
fn a_bare_program_name_is_looked_up_in_the_containers_path() {
    let bundle = Bundle::new().with_dir("/bin").with_dir("/opt/tools");
    fs::rename(bundle.rootfs().join("probe"), bundle.rootfs().join("opt/tools/probe")).expect("rename");
    let bundle = bundle.set("/process/env", json!(["PATH=/bin:/opt/tools"])).args(["probe", "facts"]);
    assert_eq!(facts(&bundle)["args"], json!(["probe", "facts"]));
}

/// A relative program with a slash is taken from the cwd.
#[test]
fn a_relative_program_is_found_from_the_cwd() {
    let bundle = Bundle::new().with_dir("/opt");
    fs::copy(bundle.rootfs().join("probe"), bundle.rootfs().join("opt/other")).expect("a copy");
    let bundle = bundle.set("/process/cwd", json!("/opt")).args(["./other", "facts"]);
    assert_eq!(facts(&bundle)["args"], json!(["./other", "facts"]));
}

/// podman turns this text into exit code 127 (cli-contract A.3); it comes before `start`.
#[test]
fn a_missing_program_is_found_before_start() {
    let runtime = Runtime::new();
    for program in ["no-such-program", "sub/no-such-program"] {
        let bundle = Bundle::new().args([program]);
        let outcome = runtime.try_create(&bundle).err();
        let outcome =
            outcome.unwrap_or_else(|| panic!("create succeeds with the program {program:?}")).exits(1).in_one_line();
        let text = if program.contains('/') { "no such file or directory" } else { "executable file not found in" };
        assert!(outcome.stderr.contains(text), "expected {text:?}: {outcome}");
        assert!(outcome.stderr.contains(program), "expected the program's name: {outcome}");
        assert!(!bundle.cgroup().exists(), "the cgroup was left");
    }
}

/// podman turns "permission denied" into exit code 126.
#[test]
fn a_program_that_is_not_executable_is_found_before_start() {
    let bundle = Bundle::new().with_file("/script", "text").with_mode("/script", 0o644).args(["/script"]);
    let runtime = Runtime::new();
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds");
    let _ = outcome.refused("permission denied").in_one_line();
}

/// A directory is no program.
#[test]
fn a_directory_is_no_program() {
    let bundle = Bundle::new().with_dir("/dir").args(["/dir"]);
    let runtime = Runtime::new();
    let failed = match runtime.try_create(&bundle) {
        Err(outcome) => outcome,
        Ok(container) => container.call(["start"]).outcome(),
    };
    assert!(!failed.succeeded(), "a directory was executed: {failed}");
}

/// What only execve can find out is reported as by runc: by `run` with 255, and by a container that has started, and
/// ended with that and the reason on its standard error. Engines show both.
#[test]
fn what_only_execve_finds_out_is_the_containers_own_end() {
    let runtime = Runtime::new();
    for (text, reason) in [
        ("#!/no/such/interpreter\n", "exec /script: no such file or directory"),
        ("echo no shebang\n", "exec /script: exec format error"),
    ] {
        let bundle = Bundle::new().with_file("/script", text).with_mode("/script", 0o755).args(["/script"]);
        let outcome = runtime.run(&bundle);
        assert!(outcome.stderr.to_lowercase().contains(&reason.replace("exec /script: ", "")), "{outcome}");
        if integration::is_peer() {
            continue;
        }
        let _ = outcome.fails(255, reason);
        let container = runtime.create(&bundle);
        container.start();
        assert_eq!(container.wait(), 255, "{reason}");
        assert!(container.stderr().starts_with(reason), "{reason}: {}", container.stderr());
        container.delete();
        let id = unique_name();
        let _ = runtime.call(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).outcome().ok();
        let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    }
}

/// A text file without `#!` is ENOEXEC: no shell is tried.
#[test]
fn a_file_in_no_known_format_is_an_error() {
    let bundle = Bundle::new().with_file("/data", "no program").with_mode("/data", 0o755).args(["/data"]);
    let outcome = Runtime::new().run(&bundle);
    assert!(!outcome.succeeded(), "{outcome}");
    assert!(
        outcome.stderr.to_lowercase().contains("exec format error") || outcome.stderr.contains("ENOEXEC"),
        "{outcome}"
    );
}

/// config.md § Process, cwd: "MUST be an absolute path".
#[test]
fn cwd_is_where_the_program_starts() {
    let facts = facts(&Bundle::new().with_dir("/some/where").set("/process/cwd", json!("/some/where")));
    assert_eq!((&facts["cwd"], &facts["cwd_link"]), (&json!("/some/where"), &json!("/some/where")));
}

/// A cwd that is not there is made, as runc makes it.
#[test]
fn a_missing_cwd_is_made() {
    let bundle = Bundle::new().set("/root/readonly", json!(false)).set("/process/cwd", json!("/made/for/you"));
    assert_eq!(facts(&bundle)["cwd"], "/made/for/you");
}

/// A relative cwd is refused, by name.
#[test]
fn a_relative_cwd_is_refused() {
    let runtime = Runtime::new();
    let outcome =
        runtime.try_create(&Bundle::new().set("/process/cwd", json!("some/where"))).expect_err("create succeeds");
    assert!(outcome.stderr.to_lowercase().contains("cwd"), "{outcome}");
}

/// A cwd that only the user of the container may enter is no obstacle, nor one only root may.
#[test]
fn cwd_is_entered_with_the_users_or_with_roots_permissions() {
    let bundle = Bundle::new().with_dir("/private").with_mode("/private", 0o700).set("/process/cwd", json!("/private"));
    assert_eq!(facts(&bundle)["cwd"], "/private");
}

/// config.md § Process, env; runc keeps the last of duplicates (cli-contract A.7).
#[test]
fn env_is_exactly_what_is_configured_and_the_last_duplicate_counts() {
    let env = json!(["PATH=/bin", "A=1", "EMPTY=", "A=2", "HOME=/somewhere", "SPACE= x ", "EQ=a=b"]);
    let facts = facts(&Bundle::new().set("/process/env", env));
    let mut seen: Vec<_> = facts["env"].as_array().expect("env").iter().filter_map(Value::as_str).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["A=2", "EMPTY=", "EQ=a=b", "HOME=/somewhere", "PATH=/bin", "SPACE= x "]);
}

/// HOME comes from the container's passwd when it is missing, else it is `/`.
#[test]
fn home_is_taken_from_the_containers_passwd() {
    let home = |bundle: Bundle| {
        let facts = facts(&bundle.set("/process/env", json!(["PATH=/bin"])));
        facts["env"]
            .as_array()
            .expect("env")
            .iter()
            .find(|v| v.as_str().is_some_and(|v| v.starts_with("HOME=")))
            .cloned()
    };
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/srv/web:/bin/sh\n";
    assert_eq!(home(Bundle::new()), Some(json!("HOME=/")));
    // As with runc: an empty one is none.
    let empty = || Bundle::new().set("/process/env", json!(["HOME="]));
    assert_eq!(home(empty()), Some(json!("HOME=/")));
    assert_eq!(home(empty().with_file("/etc/passwd", passwd)), Some(json!("HOME=/root")));
    assert_eq!(home(Bundle::new().with_file("/etc/passwd", passwd)), Some(json!("HOME=/root")));
    let web = Bundle::new().with_file("/etc/passwd", passwd).set("/process/user/uid", json!(1000));
    assert_eq!(home(web), Some(json!("HOME=/srv/web")));
}

/// The container's passwd is read inside the container's root: a link leads nowhere else.
#[test]
fn home_is_never_taken_from_the_hosts_files() {
    let bundle = Bundle::new();
    let outside = bundle.dir().join("outside");
    fs::write(&outside, "root:x:0:0::/from-the-host:/bin/sh\n").expect("a file of the host");
    let facts = facts(&bundle.with_link("/etc/passwd", &outside).set("/process/env", json!(["PATH=/bin"])));
    assert!(facts["env"].as_array().expect("env").contains(&json!("HOME=/")), "{}", facts["env"]);
}

/// config.md § POSIX-platform user: uid, gid, additionalGids.
#[test]
fn user_group_and_additional_groups_are_set() {
    let user = json!({ "uid": 1234, "gid": 2345, "additionalGids": [7, 100, 65534] });
    let facts = facts(&Bundle::new().set("/process/user", user));
    assert_eq!((&facts["uid"], &facts["euid"]), (&json!(1234), &json!(1234)));
    assert_eq!((&facts["gid"], &facts["egid"]), (&json!(2345), &json!(2345)));
    assert_eq!(facts["groups"], json!([7, 100, 65534]));
}

/// CVE-2023-25173's family: without additionalGids the program has none, whatever the caller had.
#[test]
fn the_callers_groups_are_not_inherited() {
    assert_eq!(facts(&Bundle::new())["groups"], json!([]));
}

/// config.md § POSIX-platform user, umask.
#[test]
fn umask_is_set_and_is_0022_by_default() {
    assert_eq!(facts(&Bundle::new())["umask"], "0022");
    assert_eq!(facts(&Bundle::new().set("/process/user/umask", json!(0o077)))["umask"], "0077");
    assert_eq!(facts(&Bundle::new().set("/process/user/umask", json!(0)))["umask"], "0000");
}

/// config.md § POSIX process, rlimits.
#[test]
fn rlimits_are_set() {
    let limits = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 30 },
        { "type": "RLIMIT_NPROC", "soft": 50, "hard": 60 },
        { "type": "RLIMIT_STACK", "soft": 1 << 22, "hard": 1 << 23 },
        { "type": "RLIMIT_RTTIME", "soft": 1_000_000, "hard": 2_000_000 },
    ]);
    let facts = facts(&Bundle::new().set("/process/rlimits", limits.clone()));
    for limit in limits.as_array().expect("limits") {
        let name = limit["type"].as_str().expect("a name");
        let seen = &facts["rlimits"][name];
        assert_eq!((&seen["soft"], &seen["hard"]), (&limit["soft"], &limit["hard"]), "{name}");
    }
}

/// config.md § POSIX process, rlimits: "MUST generate an error" for names that cannot be mapped.
#[test]
fn an_unknown_rlimit_is_refused() {
    let runtime = Runtime::new();
    let limits = json!([{ "type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1 }]);
    let outcome = runtime.try_create(&Bundle::new().set("/process/rlimits", limits)).expect_err("create succeeds");
    let _ = outcome.refused("RLIMIT_NOSUCH").in_one_line();
}

/// config.md § POSIX process, rlimits: "If rlimits contains duplicated entries with same type,
/// the runtime MUST generate an error."
#[test]
fn a_repeated_rlimit_is_refused() {
    not_on_peer!("runc takes the last of them");
    let runtime = Runtime::new();
    let nofile = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
    let bundle = Bundle::new().set("/process/rlimits", json!([nofile, nofile]));
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds");
    let _ = outcome.refused("RLIMIT_NOFILE").in_one_line();
}

/// config.md § Linux process, capabilities: five sets, each as configured.
#[test]
fn the_five_capability_sets_are_as_configured() {
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    let user = json!({ "uid": 1000, "gid": 1000 });
    // As a user execve grants what is ambient, and no more: that it grants this much shows all five.
    let seen = &facts(&Bundle::new().set("/process/capabilities", sets).set("/process/user", user))["capabilities"];
    assert_eq!(seen["bounding"], json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"]));
    for set in ["inheritable", "ambient", "permitted", "effective"] {
        assert_eq!(seen[set], json!(["CAP_KILL"]), "{set}");
    }
}

/// CVE-2022-29162: inheritable and ambient are empty unless configured; missing means empty.
#[test]
fn capability_sets_that_are_missing_are_empty() {
    let seen = &facts(&Bundle::new().capabilities(&["CAP_KILL"]))["capabilities"];
    assert_eq!((&seen["inheritable"], &seen["ambient"]), (&json!([]), &json!([])));
}

/// youki#3434: a container without any `capabilities` has none, not all.
#[test]
fn capabilities_that_are_missing_altogether_are_none() {
    not_on_peer!("runc and crun leave the runtime's own in place");
    let none = &facts(&Bundle::new().without("/process/capabilities"))["capabilities"];
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        assert_eq!(none[set], json!([]), "{set}");
    }
}

/// config.md: "If a capability cannot be granted … SHOULD log a warning, SHOULD NOT fail".
#[test]
fn an_unknown_capability_is_a_warning() {
    let outcome = Runtime::new().run(&Bundle::new().capabilities(&["CAP_KILL", "CAP_NO_SUCH"])).ok();
    assert!(outcome.stderr.contains("CAP_NO_SUCH"), "no warning: {outcome}");
    assert_eq!(outcome.json()["capabilities"]["permitted"], json!(["CAP_KILL"]));
}

/// A capability that the kernel knows and we do not hold is a warning too.
#[test]
fn a_capability_that_the_runtime_lacks_is_a_warning() {
    not_on_peer!("runc fails with EPERM where the specification wants a warning");
    let held = proc::own_status().capbnd;
    // Where everything is held, the test is about a capability that is granted.
    let granted = held.is_some_and(|mask| mask >> 24 & 1 == 1);
    let outcome = Runtime::new().run(&Bundle::new().capabilities(&["CAP_KILL", "CAP_SYS_RESOURCE"])).ok();
    let seen = outcome.json()["capabilities"]["bounding"].clone();
    assert_eq!(seen, if granted { json!(["CAP_KILL", "CAP_SYS_RESOURCE"]) } else { json!(["CAP_KILL"]) });
}

/// A program that is not root has no capability unless it is ambient.
#[test]
fn a_user_other_than_root_has_no_capabilities() {
    let seen = &facts(&Bundle::new().set("/process/user", json!({ "uid": 1000, "gid": 1000 })))["capabilities"];
    assert_eq!((&seen["effective"], &seen["permitted"]), (&json!([]), &json!([])));
}

/// config.md § Linux process, noNewPrivileges.
#[test]
fn no_new_privileges_is_as_configured() {
    assert_eq!(facts(&Bundle::new())["no_new_privs"], true);
    assert_eq!(facts(&Bundle::new().set("/process/noNewPrivileges", json!(false)))["no_new_privs"], false);
    assert_eq!(facts(&Bundle::new().without("/process/noNewPrivileges"))["no_new_privs"], false);
}

/// config.md § Linux process, oomScoreAdj: "If not set … MUST NOT change".
#[test]
fn oom_score_adj_is_set_or_left_alone() {
    let own: i64 =
        fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj").trim().parse().expect("a number");
    assert_eq!(facts(&Bundle::new())["oom_score_adj"], own);
    assert_eq!(facts(&Bundle::new().set("/process/oomScoreAdj", json!(own + 100)))["oom_score_adj"], own + 100);
}

/// config.md § Hostname, Domainname.
#[test]
fn hostname_and_domainname_are_set_in_the_uts_namespace() {
    let host = rustix::system::uname();
    let bundle = Bundle::new().set("/hostname", json!("web-1")).set("/domainname", json!("example.org"));
    let facts = facts(&bundle);
    assert_eq!(facts["hostname"], "web-1");
    let is_old = integration::is_peer() && integration::peer_version().contains("1.1.");
    assert!(is_old || facts["domainname"] == "example.org", "{}", facts["domainname"]);
    assert_eq!(rustix::system::uname().nodename(), host.nodename(), "the host's own name");
}

/// A host name without an own UTS namespace would be the host's: refused.
#[test]
fn a_hostname_without_uts_namespace_is_refused() {
    let runtime = Runtime::new();
    let outcome = runtime.try_create(&Bundle::new().without_namespace("uts")).expect_err("create succeeds");
    assert!(outcome.stderr.to_lowercase().contains("uts"), "{outcome}");
}

/// config-linux.md § Sysctl.
#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").ok();
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "20" });
    let bundle = Bundle::new().set("/linux/sysctl", sysctl.clone());
    let names = ["/probe", "facts", "net.ipv4.ip_forward", "kernel.shm_rmid_forced", "fs.mqueue.msg_max"];
    assert_eq!(facts(&bundle.args(names))["sysctl"], sysctl);
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").ok(), before, "the host's own value");
}

/// A slash instead of the dot is the same name; sysctl(8) reads both.
#[test]
fn sysctls_may_be_written_with_slashes() {
    let bundle = Bundle::new().set("/linux/sysctl", json!({ "net/ipv4/ip_forward": "1" }));
    assert_eq!(facts(&bundle.args(["/probe", "facts", "net.ipv4.ip_forward"]))["sysctl"]["net.ipv4.ip_forward"], "1");
}

/// A sysctl that is not namespaced, or whose namespace is the host's, is refused (CVE-2022-0811).
#[test]
fn sysctls_of_the_host_are_refused() {
    let runtime = Runtime::new();
    for (name, bundle) in [
        ("vm.swappiness", Bundle::new()),
        ("kernel.core_pattern", Bundle::new()),
        ("net.ipv4.ip_forward", Bundle::new().without_namespace("network").without_mount("/sys")),
        ("kernel.shmmax", Bundle::new().without_namespace("ipc").without_mount("/dev/mqueue")),
        ("net.../../kernel.core_pattern", Bundle::new()),
    ] {
        let outcome = runtime.try_create(&bundle.set("/linux/sysctl", json!({ name: "1" })));
        let outcome = outcome.err().unwrap_or_else(|| panic!("create succeeds with {name}"));
        let _ = outcome.exits(1).in_one_line();
    }
}

/// CVE-2024-21626: nothing is open in the program but 0, 1 and 2.
#[test]
fn no_descriptor_leaks_into_the_program() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    // The caller's own, without close-on-exec.
    let script = "exec 5</ 9</etc/passwd; exec \"$0\" \"$@\"";
    let run = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(unique_name());
    let seen = run.outcome().json()["fds"].clone();
    let fds: Vec<_> = seen.as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect();
    assert_eq!(fds, [0, 1, 2], "{seen}");
}

/// The same for a created and started container.
#[test]
fn no_descriptor_leaks_through_create_and_start() {
    let runtime = Runtime::new();
    let seen = runtime.start(&Bundle::new()).json()["fds"].clone();
    let fds: Vec<_> = seen.as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect();
    assert_eq!(fds, [0, 1, 2], "{seen}");
}

/// `--preserve-fds N` passes 3 … 3+N-1, and no other.
#[test]
fn preserve_fds_passes_that_many_descriptors() {
    let runtime = Runtime::new();
    let (bundle, dir) = (Bundle::new(), runtime.dir().to_owned());
    for name in ["three", "four", "five"] {
        fs::write(dir.join(name), name).expect("a file");
    }
    let script = "cd \"$DIR\"; exec 3<three 4<four 5<five; exec \"$0\" \"$@\"";
    let run = runtime.through_shell(script, ["run", "--preserve-fds", "2", "-b"]).env("DIR", &dir);
    let seen = run.arg(bundle.path()).arg(unique_name()).outcome().json()["fds"].clone();
    let fds: Vec<_> = seen.as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect();
    assert_eq!(fds, [0, 1, 2, 3, 4], "{seen}");
    let target = |n: usize| seen[n]["target"].as_str().unwrap_or_default().to_owned();
    assert!(target(3).ends_with("/three") && target(4).ends_with("/four"), "{seen}");
}

/// A descriptor that was promised and is not open is an error.
#[test]
fn preserve_fds_refuses_a_descriptor_that_is_not_open() {
    not_on_peer!("runc 1.3 hands out its own descriptor of /sys/fs/cgroup in such a place");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let script = "exec 3</dev/null 4<&-; exec \"$0\" \"$@\"";
    let run = runtime.through_shell(script, ["run", "--preserve-fds", "2", "-b"]).arg(bundle.path()).arg(unique_name());
    let outcome = run.outcome();
    assert!(!outcome.succeeded(), "{outcome}");
}

/// systemd's socket activation: the descriptors come after those of --preserve-fds, LISTEN_PID
/// is the program's own (1), LISTEN_FDNAMES goes with them (cli-contract A.7).
#[test]
fn listen_fds_are_passed_on() {
    let runtime = Runtime::new();
    let (bundle, dir) = (Bundle::new(), runtime.dir().to_owned());
    fs::write(dir.join("three"), "3").expect("a file");
    fs::write(dir.join("four"), "4").expect("a file");
    let script =
        "cd \"$DIR\"; exec 3<three 4<four; export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b; exec \"$0\" \"$@\"";
    let run = runtime.through_shell(script, ["run", "-b"]).env("DIR", &dir).arg(bundle.path()).arg(unique_name());
    let facts = run.outcome().json();
    let fds: Vec<_> = facts["fds"].as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect();
    assert_eq!(fds, [0, 1, 2, 3, 4], "{}", facts["fds"]);
    let env = facts["env"].as_array().expect("env");
    // runc passes the names on since 1.4.
    let names = (!integration::is_peer()).then_some("LISTEN_FDNAMES=a:b");
    for line in ["LISTEN_FDS=2", "LISTEN_PID=1"].into_iter().chain(names) {
        assert!(env.contains(&json!(line)), "no {line} in {env:?}");
    }
}

/// LISTEN_FDS for another process is not ours to pass on.
#[test]
fn listen_fds_of_another_process_are_ignored() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let run =
        runtime.call(["run", "-b"]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1").arg(bundle.path()).arg(unique_name());
    let outcome = run.outcome();
    let fds = outcome.succeeded().then(|| outcome.clone().json()["fds"].as_array().map_or(0, Vec::len));
    assert!(fds.is_none_or(|n| n == 3) || integration::is_peer(), "{outcome}");
}

/// NOTIFY_SOCKET: the container gets a socket of its own at /run/notify, the runtime passes
/// READY on to the service manager with the program's pid (cli-contract A.7).
#[test]
fn the_notify_socket_is_in_the_environment_and_not_the_hosts() {
    let runtime = Runtime::new();
    let host = runtime.dir().join("notify.sock");
    let _socket = UnixDatagram::bind(&host).expect("a socket");
    let bundle = Bundle::new().with_dir("/run");
    let container = runtime.create_with(&bundle, |call| call.env("NOTIFY_SOCKET", &host));
    container.start();
    let facts = container.json();
    let notify: Vec<_> = facts["env"]
        .as_array()
        .expect("env")
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|v| v.strip_prefix("NOTIFY_SOCKET="))
        .collect();
    assert!(notify.len() == 1 && notify[0].starts_with("/run/notify"), "NOTIFY_SOCKET {notify:?}");
}

/// Boundary 14: the socket's mode is changed by its name, which the container can exchange for a link to any file of
/// the host by then.
#[test]
fn boundary_14_the_notify_socket_gets_no_mode_by_its_name() {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    not_on_peer!("it makes its socket elsewhere");
    let runtime = Runtime::new();
    let manager = runtime.dir().join("notify.sock");
    let _socket = UnixDatagram::bind(&manager).expect("a socket");
    let bundle = Bundle::new().with_dir("/run").args(["/probe", "sleep"]);
    let container = runtime.create_with(&bundle, |call| call.env("NOTIFY_SOCKET", &manager));
    let dir = runtime.root().join(container.id()).join("notify");
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
    inotify::add_watch(&events, &dir, WatchFlags::CREATE | WatchFlags::ATTRIB).expect("a watch");
    // It waits for the program's word, which never comes; its umask lets nobody in.
    let start = runtime.through_shell("umask 077; exec \"$0\" \"$@\"", ["start", container.id()]);
    let start = start.env("NOTIFY_SOCKET", &manager).spawn();
    container.wait_for_line("ready");
    let socket = std::fs::metadata(dir.join("notify.sock")).expect("the container's socket");
    assert_eq!((socket.file_type().is_socket(), socket.mode() & 0o7777), (true, 0o777));
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&events, &mut buffer);
    let seen: Vec<ReadFlags> = std::iter::from_fn(|| reader.next().ok().map(|event| event.events())).collect();
    assert_eq!(seen, [ReadFlags::CREATE], "it is changed by its name");
    container.kill("KILL");
    drop(start);
}

/// The program leads a session of its own, blocks no signal and has one thread.
#[test]
fn the_program_starts_clean() {
    let facts = facts(&Bundle::new());
    assert_eq!((&facts["pid"], &facts["ppid"]), (&json!(1), &json!(0)));
    assert_eq!(facts["sid"], 1, "session");
    assert_eq!(facts["pgid"], 1, "process group");
    assert_eq!(facts["signals"]["blocked"], "0000000000000000");
    assert_eq!(facts["threads"], 1);
}

/// The runtime's own environment does not reach the program.
#[test]
fn the_runtimes_environment_does_not_leak() {
    let runtime = Runtime::new();
    let outcome = runtime.run_with(&Bundle::new(), |call| call.env("SECRET", "x").env("CLEAT_X", "y"));
    let facts = outcome.json();
    let env = facts["env"].as_array().expect("env");
    let leaks: Vec<_> = env
        .iter()
        .filter_map(Value::as_str)
        .filter(|v| !["PATH=", "TERM=", "HOME="].iter().any(|known| v.starts_with(known)))
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

/// CVE-2024-40635, CVE-2026-46680: ids are 32 bits, never wrapped, never negative, never a name; and
/// the largest number is none: setresuid(2) takes it for "as it is", which was root.
#[test]
fn ids_out_of_range_are_refused() {
    let runtime = Runtime::new();
    for id in [json!(-1), json!(4_294_967_295_u64), json!(4_294_967_296_u64), json!(1.5), json!("0"), json!("root")] {
        for key in ["uid", "gid", "additionalGids"] {
            let value = if key == "additionalGids" { json!([id]) } else { id.clone() };
            let bundle = Bundle::new().set(&format!("/process/user/{key}"), value);
            let outcome = runtime.try_create(&bundle).err().unwrap_or_else(|| panic!("{key} {id} is accepted"));
            let _ = outcome.refused(&format!("process.user.{key}")).in_one_line();
        }
    }
}

/// The same answer every time: what is set in what order is no race.
#[test]
fn the_program_finds_the_same_every_time() {
    let runtime = Runtime::new();
    let user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] });
    let bundle = Bundle::new().set("/process/user", user);
    let run = || {
        let facts = runtime.json(&bundle);
        ["uid", "groups", "capabilities", "rlimits", "no_new_privs", "umask", "cwd", "env", "fds"]
            .map(|key| if key == "fds" { json!(facts[key].as_array().map(Vec::len)) } else { facts[key].clone() })
    };
    let first = run();
    for _ in 0..tries() / 10 {
        assert_eq!(run(), first);
    }
}

/// `--no-new-keyring` keeps the caller's session keyring; without it the container has its own.
#[test]
fn the_container_has_a_session_keyring_of_its_own() {
    require_keyrings();
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/maskedPaths", json!([]));
    let container = runtime.start(&bundle);
    let keys = container.json()["keys"].clone();
    let own = keys.as_str().is_some_and(|k| k.contains(&format!("_ses.{}", container.id())));
    assert!(own, "keyrings: {keys}");
    let (kept, running) = runtime.spawn_run(&bundle, |call| call.arg("--no-new-keyring"));
    let keys = running.outcome().json()["keys"].clone();
    let own = keys.as_str().is_some_and(|k| k.contains(&format!("_ses.{}", kept.id())));
    assert!(!own, "keyrings: {keys}");
}

/// The kernel takes 65,536; the message blames nothing else.
#[test]
fn too_many_groups_are_refused() {
    let groups: Vec<u32> = (1..=65_537).collect();
    let bundle = Bundle::new().set("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": groups }));
    let _ = Runtime::new().run(&bundle).refused("65537 groups; the kernel takes 65536").in_one_line();
}
