//! The shim without containerd: every call, every event, every end.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use containerd_shim_cleat::messages::{
    Any, ConnectResponse, DeleteResponse, ExecRequest, Options, PidResponse, PidsResponse, ProcessDetails, RuntimeInfo,
    StatsResponse, TaskStatus, UpdateRequest, WaitResponse,
};
use integration::shim::{OPTIONS, Reply, ShimHost, Streams, finish};
use integration::{Bundle, Runtime, eventually, require_controllers};
use prost::Message;

/// gRPC's numbers.
const UNKNOWN: i32 = 2;
const INVALID: i32 = 3;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const FAILED_PRECONDITION: i32 = 9;
const UNIMPLEMENTED: i32 = 12;

#[test]
fn start_answers_with_an_address_and_nothing_else() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let json: serde_json::Value = serde_json::from_str(&host.start(bundle.path(), "a")).expect("JSON");
    assert_eq!((json["version"].as_u64(), json["protocol"].as_str()), (Some(3), Some("ttrpc")), "{json}");
    let path = json["address"].as_str().expect("an address").trim_start_matches("unix://");
    assert!(path.starts_with('/') && std::path::Path::new(path).exists(), "{json}");
    host.kill_servers();
}

/// As Go's flags do it: to standard error, and it is no failure.
#[test]
fn the_usage_is_printed_when_it_is_asked_for() {
    let host = ShimHost::new();
    for flag in ["-h", "-help", "--help"] {
        let mut command = std::process::Command::new(host.command(host.dir(), "a").get_program());
        command.arg(flag).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let (code, out, err) = finish(command, b"");
        let right = code == 0 && out.is_empty() && err.contains("Usage of") && err.contains("-publish-binary");
        assert!(right, "{flag}: {code} {out:?} {err}");
    }
}

#[test]
fn the_version_and_the_features_are_reported() {
    let host = ShimHost::new();
    let mut command = host.command(host.dir(), "a");
    command.arg("-v");
    let (code, out, _) = finish(command, b"");
    assert!(code == 0 && String::from_utf8_lossy(&out).contains("Version:"), "{out:?}");
    let options = Any::of(OPTIONS, &Options { systemd_cgroup: true, ..Options::default() });
    let mut command = host.command(host.dir(), "a");
    command.arg("-info");
    let (code, out, err) = finish(command, &options.encode_to_vec());
    assert_eq!(code, 0, "{err}");
    let info = RuntimeInfo::decode(&*out).expect("a RuntimeInfo");
    assert_eq!(info.options.as_ref(), Some(&options));
    let features = info.features.expect("features");
    assert_eq!(features.type_url, "types.containerd.io/opencontainers/runtime-spec/1/features/Features");
    let mut reply: serde_json::Value = serde_json::from_slice(&features.value).expect("JSON");
    let mut expected = Runtime::new().call(["features"]).outcome().json();
    // The two may have been built differently.
    reply["annotations"].take();
    expected["annotations"].take();
    assert_eq!(reply, expected);
    let mut command = host.command(host.dir(), "a");
    command.arg("-info");
    let (code, _, err) = finish(command, b"\xff\xff");
    assert!(code == 1 && err.contains("not a google.protobuf.Any"), "{code} {err}");
}

/// CVE-2020-15257: a process that may connect owns the containers.
#[test]
fn cve_2020_15257_the_socket_is_its_owners() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mode = |path: &std::path::Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(shim.socket()), mode(&host.sockets())), (0o600, 0o700));
    assert_eq!(shim.socket().metadata().expect("metadata").uid(), 0);
    // Opened up, as a mistake would: it asks who it is, too.
    std::fs::set_permissions(host.sockets(), PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::set_permissions(shim.socket(), PermissionsExt::from_mode(0o666)).expect("chmod");
    let socket = shim.socket().to_owned();
    let other = std::thread::spawn(move || {
        use rustix::process::{Gid, Uid};
        let (gid, uid) = (Gid::from_raw(65534), Uid::from_raw(65534));
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("setresgid");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("setresuid");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connect");
        // It hangs up at once; a server without a task does so some time.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a timeout");
        std::io::Read::read(&mut stream, &mut [0u8; 1]).map_err(|error| error.kind())
    });
    let said = other.join().expect("the thread");
    assert!(matches!(said, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "another user is heard: {said:?}");
    assert!(shim.pid(&mut shim.connect()) > 0, "its owner is served");
    host.kill_servers();
}

/// CVE-2021-41103, CVE-2024-25621: directories that are open to others.
#[test]
fn cve_2021_41103_a_socket_directory_that_others_write_to_is_refused() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    std::fs::create_dir(host.sockets()).expect("mkdir");
    let start = || {
        let mut command = host.command(bundle.path(), "a");
        command.arg("start");
        finish(command, &host.bootstrap("a"))
    };
    for mode in [0o777, 0o1777, 0o770] {
        std::fs::set_permissions(host.sockets(), PermissionsExt::from_mode(mode)).expect("chmod");
        let (code, _, err) = start();
        assert!(code == 1 && err.contains("others may write there"), "{mode:o}: it is accepted: {err}");
    }
    std::fs::set_permissions(host.sockets(), PermissionsExt::from_mode(0o700)).expect("chmod");
    std::os::unix::fs::chown(host.sockets(), Some(65534), None).expect("chown");
    assert!(start().2.contains("others may write there"), "another user's directory");
    assert!(host.servers().is_empty());
}

#[test]
fn each_engines_annotation_names_a_group() {
    for name in ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"] {
        let host = ShimHost::new();
        let [one, two] = [(); 2].map(|()| Bundle::sleeper().set("/annotations", serde_json::json!({ name: "pod" })));
        assert_eq!(host.start(one.path(), "a"), host.start(two.path(), "b"), "{name}");
        host.kill_servers();
    }
}

#[test]
fn a_group_has_one_server_and_a_dead_ones_socket_is_replaced() {
    let host = ShimHost::new();
    let annotation = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "pod" });
    let (one, two) =
        (Bundle::sleeper().set("/annotations", annotation.clone()), Bundle::sleeper().set("/annotations", annotation));
    let first = host.start(one.path(), "a");
    assert_eq!(host.start(two.path(), "b"), first);
    assert_eq!(host.servers().len(), 1);
    host.kill_servers();
    assert_eq!(host.start(two.path(), "b"), first, "the same name");
    let shim = host.serve(one.path(), "a");
    assert!(shim.pid(&mut shim.connect()) > 0);
    assert_eq!(host.servers().len(), 1);
    host.kill_servers();
}

/// A start that finds its group's server sends containerd there, whatever that server was about to do.
#[test]
fn a_client_of_a_server_that_exits_is_served() {
    let tries: u64 = std::env::var("CLEAT_TRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let host = ShimHost::new();
    let annotation = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "pod" });
    let (one, two) =
        (Bundle::sleeper().set("/annotations", annotation.clone()), Bundle::sleeper().set("/annotations", annotation));
    for round in 0..tries {
        let first = host.serve(one.path(), "a");
        let mut client = first.connect();
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| host.serve(two.path(), "b"));
            // Before, while and after that one looks.
            std::thread::sleep(std::time::Duration::from_micros(round % 30 * 150));
            client.done("Shutdown", &first.process("")).expect("Shutdown");
            second.join().expect("a server")
        });
        let mut client = second.connect();
        client.call::<ConnectResponse>("Connect", &second.process("")).unwrap_or_else(|e| panic!("{round}: {e:?}"));
        host.kill_servers();
    }
}

/// Who only sees whether it is there, such as `delete`, does not keep a server that is about to end.
#[test]
fn a_server_that_ends_is_not_kept_by_who_only_looks() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let _ = shim.kill(&mut client, "", 9, true);
    assert_eq!((shim.wait(&mut client, ""), shim.delete(&mut client, "")), (137, 137));
    // As if somebody started: it waits for that.
    let sockets = std::fs::File::open(host.sockets()).expect("the directory");
    rustix::fs::flock(&sockets, rustix::fs::FlockOperation::LockShared).expect("flock");
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    drop((shim.connect(), client));
    rustix::fs::flock(&sockets, rustix::fs::FlockOperation::Unlock).expect("flock");
    let since = std::time::Instant::now();
    host.nothing_is_left(&[&bundle]);
    assert!(since.elapsed() < std::time::Duration::from_secs(9), "it stayed for {:?}", since.elapsed());
}

/// Who connects and says nothing is not `start`, which announces a task at once.
#[test]
fn a_silent_connection_does_not_keep_a_server_that_ends() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let _ = shim.kill(&mut client, "", 9, true);
    assert_eq!((shim.wait(&mut client, ""), shim.delete(&mut client, "")), (137, 137));
    let stranger = shim.connect();
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    let since = std::time::Instant::now();
    host.nothing_is_left(&[&bundle]);
    assert!(since.elapsed() < std::time::Duration::from_secs(9), "it stayed for {:?}", since.elapsed());
    drop(stranger);
}

#[test]
fn a_lifetime_is_published_in_order() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let pid = shim.create(&mut client, &Streams::default());
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Created, pid));
    let reply = client.done("Start", &shim.process("x")).expect_err("no such process");
    assert_eq!(reply.0, NOT_FOUND, "{reply:?}");
    client.call::<containerd_shim_cleat::messages::PidResponse>("Start", &shim.process("")).expect("Start");
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    // A pid 1 that has not asked for it yet does not get it.
    eventually("SIGTERM to be taken", || {
        let reply = shim.kill(&mut client, "", 15, false);
        if shim.state(&mut client, "").0 == TaskStatus::Stopped { Ok(()) } else { Err(format!("{reply:?}")) }
    });
    assert_eq!(shim.wait(&mut client, ""), 0);
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Stopped, pid));
    assert_eq!(shim.delete(&mut client, ""), 0);
    host.events().expect(&["create", "start", "exit", "delete"]);
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn every_call_of_either_service_does_what_it_says() {
    for service in ["containerd.task.v2.Task", "containerd.task.v3.Task"] {
        let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        client.service = service;
        let init = shim.run(&mut client, &Streams::default());
        let connected: ConnectResponse = client.call("Connect", &shim.process("")).expect("Connect");
        assert_eq!(
            (connected.task_pid, host.servers()),
            (init, vec![i32::try_from(connected.shim_pid).expect("a pid")])
        );
        let exec = shim.exec(&mut client, "e", &["/probe", "sleep"], &Streams::default());
        let pids: PidsResponse = client.call("Pids", &shim.process("")).expect("Pids");
        let named = pids.processes.iter().find(|one| one.pid == exec).and_then(|one| one.info.clone());
        let details = ProcessDetails::decode(&*named.expect("the details of the exec").value).expect("details");
        assert_eq!(details.exec_id, "e");
        assert!(pids.processes.iter().any(|one| one.pid == init && one.info.is_none()), "{pids:?}");

        client.done("Pause", &shim.process("")).expect("Pause");
        assert_eq!(shim.state(&mut client, ""), (TaskStatus::Paused, init));
        assert_eq!(shim.state(&mut client, "e"), (TaskStatus::Paused, exec));
        refused(client.done("Pause", &shim.process("")), FAILED_PRECONDITION, "paused already");
        client.done("Resume", &shim.process("")).expect("Resume");
        assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, init));
        refused(client.done("Resume", &shim.process("")), FAILED_PRECONDITION, "not paused");

        let stats: StatsResponse = client.call("Stats", &shim.process("")).expect("Stats");
        let stats = stats.stats.expect("an Any");
        assert_eq!(stats.type_url, "io.containerd.cgroups.v2.Metrics");
        let metrics = containerd_shim_cleat::messages::metrics::Metrics::decode(&*stats.value).expect("Metrics");
        assert!(metrics.cpu.is_some_and(|cpu| cpu.usage_usec > 0), "a process has run");

        let update = |value: &[u8]| UpdateRequest {
            id: "a".into(),
            resources: Some(Any { type_url: "LinuxResources".into(), value: value.into() }),
        };
        client.done("Update", &update(b"{}")).expect("Update");
        refused(client.done("Update", &update(b"{\"pids\":")), UNKNOWN, "resources");
        refused(client.done("Update", &update(br#"{"pids":{"limit":"many"}}"#)), UNKNOWN, "pids");
        refused(client.done("Update", &UpdateRequest { id: "a".into(), resources: None }), INVALID, "no resources");

        refused(client.done("Checkpoint", &shim.process("")), INVALID, "no path given");
        refused(client.done("Restart", &shim.process("")), UNIMPLEMENTED, "Restart");
        refused(shim.kill(&mut client, "", 99, false), UNKNOWN, "99");
        refused(shim.kill(&mut client, "e", 99, false), INVALID, "unknown signal 99");
        client.done("Shutdown", &shim.process("")).expect("Shutdown");
        assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, init), "others live: nothing is shut down");

        shim.kill(&mut client, "e", 9, false).expect("Kill of the exec");
        assert_eq!(shim.wait(&mut client, "e"), 137);
        refused(shim.kill(&mut client, "e", 9, false), NOT_FOUND, "already finished");
        assert_eq!(shim.delete(&mut client, "e"), 137);
        shim.end(&mut client);
        host.nothing_is_left(&[&bundle]);
    }
}

#[test]
fn a_wrong_order_has_its_code_and_a_word() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    for method in
        ["Start", "State", "Delete", "Wait", "Pids", "Pause", "Resume", "Stats", "Kill", "CloseIO", "ResizePty"]
    {
        refused(client.done(method, &shim.process("")), NOT_FOUND, "not created");
    }
    let request = shim.create_request(&Streams::default());
    shim.create(&mut client, &Streams::default());
    refused(client.done("Create", &request), ALREADY_EXISTS, "already exists");
    refused(client.done("Pause", &shim.process("")), FAILED_PRECONDITION, "not running");
    let started: Reply<PidResponse> = client.call("Start", &shim.process(""));
    assert!(started.is_ok(), "{started:?}");
    let again: Reply<PidResponse> = client.call("Start", &shim.process(""));
    refused(again.map(drop), FAILED_PRECONDITION, "started already");
    let deleted: Reply<DeleteResponse> = client.call("Delete", &shim.process(""));
    refused(deleted.map(drop), FAILED_PRECONDITION, "kill it first");
    let exec = shim.exec_request("e", &["/probe", "exit", "3"], &Streams::default());
    client.done("Exec", &exec).expect("Exec");
    refused(client.done("Exec", &exec), ALREADY_EXISTS, "id e");
    refused(
        client.done("Exec", &ExecRequest { spec: None, exec_id: "f".into(), ..exec.clone() }),
        INVALID,
        "no process",
    );
    refused(shim.kill(&mut client, "e", 9, false), FAILED_PRECONDITION, "not created");
    // Who waits for a process that never starts hears when it is deleted.
    let waits = client.ask("Wait", &shim.process("e"));
    assert_eq!(shim.delete(&mut client, "e"), 0);
    refused(client.answer(waits).map(drop), NOT_FOUND, "deleted");
    client.done("Exec", &exec).expect("Exec");
    let waits = client.ask("Wait", &shim.process("e"));
    // Several wait for the first process, and each hears once.
    let all: Vec<u32> = (0..5).map(|_| client.ask("Wait", &shim.process(""))).collect();
    shim.kill(&mut client, "", 9, false).expect("Kill");
    for one in all {
        let reply = WaitResponse::decode(&*client.answer(one).expect("Wait")).expect("a WaitResponse");
        assert_eq!(reply.exit_status, 137);
    }
    let started: Reply<PidResponse> = client.call("Start", &shim.process("e"));
    refused(started.map(drop), FAILED_PRECONDITION, "not running");
    refused(shim.kill(&mut client, "", 9, false), NOT_FOUND, "already finished");
    let pids: PidsResponse = client.call("Pids", &shim.process("")).expect("Pids");
    assert_eq!(pids.processes.len(), 1, "a containerd that comes back finds somebody: {pids:?}");
    assert_eq!(shim.delete(&mut client, ""), 137);
    refused(client.answer(waits).map(drop), NOT_FOUND, "deleted");
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn events_come_in_order_and_wait_for_a_containerd_that_is_away() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    host.events().expect(&["create", "start"]);
    host.events().down();
    for exec in ["one", "two"] {
        shim.exec(&mut client, exec, &["/probe", "exit", "4"], &Streams::default());
        assert_eq!(shim.wait(&mut client, exec), 4);
    }
    shim.exec(&mut client, "three", &["/probe", "sleep"], &Streams::default());
    shim.kill(&mut client, "", 9, false).expect("Kill");
    assert_eq!(shim.wait(&mut client, ""), 137);
    host.events().up();
    let mut expected = vec!["create", "start"];
    expected.extend(["exec-added one", "exec-started one", "exit one"]);
    expected.extend(["exec-added two", "exec-started two", "exit two"]);
    expected.extend(["exec-added three", "exec-started three", "exit three", "exit"]);
    host.events().expect(&expected);
    shim.end(&mut client);
    expected.push("delete");
    host.events().expect(&expected);
    assert!(
        host.events().received().iter().all(|one| one.namespace == host.namespace()),
        "{:?}",
        host.events().received()
    );
    host.nothing_is_left(&[&bundle]);
}

/// containerd makes `OOMKilled` of it, if it comes in time: the first process, and a further one.
#[test]
fn an_oom_kill_is_published_before_the_exit() {
    require_controllers(&["memory"]);
    let limit = serde_json::json!({ "limit": 64 << 20, "swap": 64 << 20 });
    let eat = ["/probe", "eat", "100000000"];
    for exec in ["", "e"] {
        let host = ShimHost::new();
        let bundle = Bundle::sleeper().set("/linux/resources/memory", limit.clone());
        let bundle = if exec.is_empty() { bundle.args(eat) } else { bundle };
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        shim.run(&mut client, &Streams::default());
        let mut expected = vec!["create", "start"];
        match exec {
            "" => expected.extend(["oom", "exit"]),
            _ => {
                shim.exec(&mut client, exec, &eat, &Streams::default());
                expected.extend(["exec-added e", "exec-started e", "oom", "exit e"]);
            }
        }
        assert_eq!(shim.wait(&mut client, exec), 137);
        host.events().expect(&expected);
        shim.end(&mut client);
        // Reported once.
        expected.extend(if exec.is_empty() { &["delete"][..] } else { &["exit", "delete"] });
        host.events().expect(&expected);
        host.nothing_is_left(&[&bundle]);
    }
}

fn refused(reply: Reply<()>, code: i32, text: &str) {
    let (is, message) = reply.expect_err(text);
    assert!(is == code && message.contains(text), "code {code} with {text:?} expected, not {is}: {message}");
}
