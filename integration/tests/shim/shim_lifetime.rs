//! What a shim withstands, and what is left when it ends.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use containerd_shim_cleat::messages::{
    Any, CreateRequest, DeleteResponse, ExecRequest, Mount, Options, PidResponse, TaskStatus, WaitResponse,
};
use integration::shim::{OPTIONS, Reply, Shim, ShimHost, Streams, fifo, frame};
use integration::{Bundle, DEADLINE, eventually, proc, tries};

/// It still answers.
fn lives(shim: &Shim<'_>) {
    assert!(shim.pid(&mut shim.connect()) > 0);
}

#[test]
fn nonsense_is_refused_and_harms_nobody() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let raw = |bytes: &[u8]| client.stream().write_all(bytes).expect("write");
    // Garbage in a frame; garbage in a request; a frame of no known type; one with no data.
    raw(&frame(1, 1, b"\xff\xff\xff"));
    let request = containerd_shim_cleat::messages::Request {
        service: "containerd.task.v3.Task".into(),
        method: "Create".into(),
        payload: b"\x0a\xff".to_vec(),
        timeout_nano: 0,
    };
    raw(&frame(3, 1, &prost::Message::encode_to_vec(&request)));
    raw(&frame(5, 7, b"what"));
    raw(&frame(7, 1, b""));
    let other = containerd_shim_cleat::messages::Request { service: "a.b.C".into(), ..request };
    raw(&frame(9, 1, &prost::Message::encode_to_vec(&other)));
    // Longer than is allowed, and all of it is sent.
    raw(&frame(11, 1, &vec![0; (4 << 20) + 1]));
    for (stream, code) in [(1, 3), (3, 3), (7, 12), (9, 12), (11, 8)] {
        let reply = client.answer(stream).expect_err("nonsense");
        assert_eq!(reply.0, code, "{stream}: {reply:?}");
    }
    assert!(shim.pid(&mut client) > 0, "the connection is as good as before");
    // A frame that never comes to its end, and one whose end never comes.
    for bytes in [&b"\0\0"[..], &frame(1, 1, &[0; 64])[..40], &[0xff; 10]] {
        let stream = UnixStream::connect(shim.socket()).expect("connect");
        (&stream).write_all(bytes).expect("write");
        drop(stream);
        lives(&shim);
    }
    // Who has said everything is answered, though it says that no more will come.
    let pid = i32::try_from(shim.pid(&mut client)).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let mut asked = shim.connect();
    // Both are there when it looks.
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("SIGSTOP");
    let stream = asked.ask("Connect", &shim.process(""));
    asked.stream().shutdown(std::net::Shutdown::Write).expect("shutdown");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("SIGCONT");
    assert!(asked.answer(stream).is_ok());
    host.kill_servers();
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let request = shim.create_request(&Streams::default());
    for id in ["", "..", ".", "../a", "a/b", "/a", "a\0b", "ä"] {
        let reply = client.done("Create", &CreateRequest { id: id.into(), ..request.clone() });
        assert!(
            reply.as_ref().is_err_and(|(code, text)| *code == 3 && text.contains("not a name")),
            "{id:?}: {reply:?}"
        );
    }
    shim.create(&mut client, &Streams::default());
    let exec = shim.exec_request("e", &["/probe", "exit", "0"], &Streams::default());
    for id in ["", "..", "../init", "a/b"] {
        let reply = client.done("Exec", &ExecRequest { exec_id: id.into(), ..exec.clone() });
        assert!(
            reply.as_ref().is_err_and(|(code, text)| *code == 3 && text.contains("not a name")),
            "{id:?}: {reply:?}"
        );
    }
    for (id, name) in [("..", host.namespace()), ("a", "../x")] {
        let mut command = host.command(bundle.path(), id);
        command.args(["-namespace", name, "start"]);
        let (code, _, err) = integration::shim::finish(command, b"");
        assert!(code == 2 && err.contains("not a name"), "{id} {name}: {err}");
    }
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_create_that_cannot_be_says_why_and_leaves_nothing() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let request = shim.create_request(&Streams::default());
    let mut fails = |request: &CreateRequest, text: &str| {
        let reply: Reply<PidResponse> = client.call("Create", request);
        assert!(reply.as_ref().is_err_and(|(_, message)| message.contains(text)), "{text:?} expected: {reply:?}");
    };
    fails(&CreateRequest { bundle: "relative".into(), ..request.clone() }, "must be absolute");
    fails(&CreateRequest { bundle: "/no/such/bundle".into(), ..request.clone() }, "/no/such/bundle");
    let mount = |kind: &str, source: &str, options: &[&str]| Mount {
        kind: kind.into(),
        source: source.into(),
        target: String::new(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let with = |mounts: &[Mount]| CreateRequest { rootfs: mounts.to_vec(), ..request.clone() };
    let missing = mount("bind", "/no/such/source", &["rbind"]);
    fails(&with(std::slice::from_ref(&missing)), "/no/such/source");
    // What was mounted before goes again.
    fails(&with(&[mount("tmpfs", "tmpfs", &[]), missing]), "/no/such/source");
    fails(&with(&[mount("ext4", "/tmp", &["loop"])]), "open /tmp: is a directory (EISDIR)");
    // Mounted well, and then there is no program in it.
    fails(&with(&[mount("tmpfs", "tmpfs", &[])]), "create failed");
    let config = bundle.path().join("config.json");
    let text = fs::read(&config).expect("config.json");
    fs::remove_file(&config).expect("remove");
    fails(&request, "config.json");
    fs::write(&config, "{").expect("write");
    fails(&request, "config.json");
    fs::write(&config, text).expect("write");
    let left = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    assert!(!left.contains(bundle.path().to_str().expect("UTF-8")), "{left}");
    // And then it can be created.
    shim.run(&mut client, &Streams::default());
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// Who connects and says nothing makes room; who has asked something is not sent away.
#[test]
fn a_flood_of_peers_locks_nobody_out() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut first = shim.connect();
    lives(&shim);
    shim.create(&mut first, &Streams::default());
    let waits = first.ask("Wait", &shim.process(""));
    let flood: Vec<UnixStream> = (0..600).map(|_| UnixStream::connect(shim.socket()).expect("connect")).collect();
    let half: Vec<_> = flood.iter().filter(|stream| (&**stream).write_all(&[0, 0, 0]).is_ok()).collect();
    assert!(half.len() > 100, "{}", half.len());
    lives(&shim);
    assert_eq!(shim.state(&mut first, "").0, TaskStatus::Created, "the first one is still served");
    drop(flood);
    shim.kill(&mut first, "", 9, false).expect("Kill");
    assert!(first.answer(waits).is_ok());
    shim.end(&mut first);
    host.nothing_is_left(&[&bundle]);
}

/// Who never reads its answers is dropped some time, and until then keeps nobody waiting.
#[test]
fn a_peer_that_never_reads_keeps_nobody_waiting() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut good = shim.connect();
    shim.create(&mut good, &Streams::default());
    let deaf = shim.connect();
    let end = Instant::now() + Duration::from_secs(3);
    deaf.stream().set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let request = containerd_shim_cleat::messages::Request {
        service: "containerd.task.v3.Task".into(),
        method: "State".into(),
        payload: prost::Message::encode_to_vec(&shim.process("")),
        timeout_nano: 0,
    };
    let many = frame(1, 1, &prost::Message::encode_to_vec(&request)).repeat(1000);
    while Instant::now() < end && deaf.stream().write_all(&many).is_ok() {
        assert_eq!(shim.state(&mut good, "").0, TaskStatus::Created);
    }
    let pid = shim.pid(&mut good);
    let memory = proc::resident(pid);
    assert!(memory < 64 << 10, "{memory} kB");
    drop(deaf);
    shim.end(&mut good);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn an_exit_is_written_down_before_it_is_published_and_known_after_the_server() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "exit", "7"]));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let pid = shim.run(&mut client, &Streams::default());
    assert_eq!(shim.wait(&mut client, ""), 7);
    assert!(bundle.path().join("exits/init.json").exists());
    host.kill_servers();
    let reply = host.delete(bundle.path(), "a");
    assert_eq!((reply.pid, reply.exit_status), (pid, 7));
    assert!(reply.exited_at.is_some_and(|at| at.seconds > 1_700_000_000), "{reply:?}");
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_task_whose_server_is_killed_is_removed_and_said_to_be_killed() {
    let host = ShimHost::new();
    let rootfs = Bundle::sleeper();
    let bundle = Bundle::empty().args(["/probe", "sleep"]).set("/root/path", "rootfs".into());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let source = rootfs.rootfs().to_str().expect("UTF-8").to_owned();
    let mount = Mount { kind: "bind".into(), source, target: String::new(), options: vec!["rbind".into()] };
    let request = CreateRequest { rootfs: vec![mount], ..shim.create_request(&Streams::default()) };
    let created: PidResponse = client.call("Create", &request).expect("Create");
    let _: PidResponse = client.call("Start", &shim.process("")).expect("Start");
    // An exec that is called like a file of the task's.
    shim.exec(&mut client, "init", &["/probe", "exit", "3"], &Streams::default());
    assert_eq!(shim.wait(&mut client, "init"), 3);
    assert_eq!(shim.delete(&mut client, "init"), 3);
    host.kill_servers();
    let reply = host.delete(bundle.path(), "a");
    assert_eq!((reply.pid, reply.exit_status), (created.pid, 137));
    host.nothing_is_left(&[&bundle]);
    // Once more, and where there is nothing, or not even a directory.
    assert_eq!(host.delete(bundle.path(), "a").exit_status, 137);
    let empty = host.dir().join("empty");
    fs::create_dir(&empty).expect("mkdir");
    for bundle in [&empty, &host.dir().join("nothing")] {
        let reply = host.delete(bundle, "b");
        assert_eq!((reply.pid, reply.exit_status), (0, 137), "{}", bundle.display());
    }
}

/// containerd 2 executes `delete` for a pod, and for none of its containers.
#[test]
fn a_pod_whose_server_is_killed_is_removed_with_all_in_it() {
    let host = ShimHost::new();
    let of = |group: &str| Bundle::sleeper().set("/annotations/io.kubernetes.cri.sandbox-id", group.into());
    let (pod, member, other) = (of("pod"), of("pod"), of("other"));
    let shim = host.serve(pod.path(), "pod");
    let _ = shim.run(&mut shim.connect(), &Streams::default());
    let beside = host.serve(member.path(), "member");
    assert_eq!(beside.socket(), shim.socket());
    let _ = beside.run(&mut beside.connect(), &Streams::default());
    // While it serves, a member's end is nobody else's.
    assert_eq!(host.delete(other.path(), "nobody").exit_status, 137);
    lives(&shim);
    host.kill_servers();
    // One that has nothing to do with it.
    let apart = host.serve(other.path(), "other");
    let _ = apart.run(&mut apart.connect(), &Streams::default());
    assert_eq!(host.delete(pod.path(), "pod").exit_status, 137);
    lives(&apart);
    assert!(!member.cgroup().exists(), "the cgroup of the other one in the pod is still there");
    assert!(!host.state().join("member").exists(), "its state is still there");
    // containerd 1 does execute it.
    assert_eq!(host.delete(member.path(), "member").exit_status, 137);
    apart.end(&mut apart.connect());
    host.nothing_is_left(&[&pod, &member, &other]);
}

/// An init in another's pid namespace leaves its children alive, which keep its streams. They end with it, as
/// containerd waits for the streams' end before it believes in the task's.
#[test]
fn what_an_init_in_anothers_pid_namespace_leaves_is_killed() {
    let host = ShimHost::new();
    let first = Bundle::sleeper();
    let owner = host.serve(first.path(), "first");
    let pid = owner.run(&mut owner.connect(), &Streams::default());
    let path = format!("/proc/{pid}/ns/pid");
    let joining = serde_json::json!({ "type": "pid", "path": path });
    let second = Bundle::new().args(["/probe", "fork-sleep", "2"]).namespace(joining);
    let shim = host.serve(second.path(), "second");
    let mut client = shim.connect();
    let _ = shim.run(&mut client, &Streams::default());
    let processes = || fs::read_to_string(second.cgroup().join("cgroup.procs")).unwrap_or_default();
    eventually("its children", || match processes() {
        three if three.lines().count() == 3 => Ok(()),
        other => Err(other),
    });
    // The init alone.
    shim.kill(&mut client, "", 15, false).expect("Kill");
    let _ = shim.wait(&mut client, "");
    eventually("the end of them all", || match processes() {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
    shim.end(&mut client);
    owner.end(&mut owner.connect());
    host.nothing_is_left(&[&first, &second]);
}

/// A server that is stopped, and has more peers waiting than it may have.
#[test]
fn a_server_that_hangs_keeps_neither_start_nor_delete_waiting() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let said = host.start(bundle.path(), "a");
    let shim = host.serve(bundle.path(), "a");
    let pid =
        i32::try_from(shim.pid(&mut shim.connect())).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("SIGSTOP");
    let mut waiting = Vec::new();
    loop {
        let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, flags, None);
        let socket = socket.expect("a socket");
        let address = rustix::net::SocketAddrUnix::new(shim.socket()).expect("an address");
        if rustix::net::connect(&socket, &address).is_err() {
            break;
        }
        waiting.push(socket);
    }
    assert!(waiting.len() >= 100, "{}", waiting.len());
    let before = Instant::now();
    assert_eq!(host.start(bundle.path(), "a"), said, "it is there");
    assert_eq!(host.delete(bundle.path(), "a").exit_status, 137);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert!(shim.socket().exists(), "and keeps its socket");
    host.kill_servers();
}

#[test]
fn a_server_that_nobody_needs_ends() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let pid = shim.pid(&mut client);
    // As long as somebody is there it stays: longer than it would alone.
    let stays = client.ask("Connect", &shim.process(""));
    assert!(client.is_answered(stays, DEADLINE));
    drop(client);
    let before = Instant::now();
    host.nothing_is_left(&[&bundle]);
    assert!(before.elapsed() > Duration::from_secs(5), "{:?}: rather soon", before.elapsed());
    assert!(!std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists());
}

/// Nor does one stay, or do anything, that has a peer and no task.
#[test]
fn a_server_without_a_task_does_nothing_until_it_ends() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let client = shim.connect();
    let pid = *host.servers().first().expect("a server");
    let mut woken = 0;
    eventually("the server to end", || match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) if !status.contains("zombie") => {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            woken = line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(woken);
            Err(format!("it was woken {woken} times"))
        }
        _ => Ok(()),
    });
    assert!(woken < 100, "woken {woken} times, for nothing");
    drop(client);
    host.nothing_is_left(&[&bundle]);
}

/// Neither descriptors nor watches nor children nor memory stay of what has gone.
#[test]
fn nothing_grows() {
    let execs: u32 = std::env::var("CLEAT_EXECS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let pid = shim.pid(&mut client);
    let out = fifo(host.dir(), "out");
    // Somebody who reads, and nobody.
    let reader = fs::File::options().read(true).write(true).open(&out).expect("the fifo");
    let streams = Streams { stdout: out, stderr: fifo(host.dir(), "err"), ..Streams::default() };
    let mut one = || {
        shim.exec(&mut client, "e", &["/probe", "exit", "2"], &streams);
        assert_eq!((shim.wait(&mut client, "e"), shim.delete(&mut client, "e")), (2, 2));
    };
    let fds = || proc::fd_count(pid);
    // Not what is private: a page that a new process still shares for a moment is not.
    let dirty = || proc::status(pid).rssanon.expect("RssAnon");
    (0..50).for_each(|_| one());
    let (open, memory) = (fds(), dirty());
    let end = Instant::now() + Duration::from_secs(if std::env::var_os("CLEAT_EXECS").is_some() { 600 } else { 25 });
    let done = (0..execs).take_while(|_| Instant::now() < end).map(|_| one()).count();
    assert!(done >= 100, "only {done} in the time there is");
    assert_eq!(fds(), open, "descriptors after {done} execs");
    let now = dirty();
    let received = host.events().topics().len();
    assert!(now <= memory + 128, "{memory} kB, {now} kB after {done} execs; {received} events were received");
    let children = proc::children(pid);
    assert_eq!(children.len(), 1, "the first process alone: {children:?}");
    let files: Vec<_> = fs::read_dir(bundle.path()).expect("the bundle").flatten().map(|e| e.file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().starts_with("exec-")), "{files:?}");
    drop(reader);
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// Tasks that come and go in one server leave no descriptor and no watch.
#[test]
fn a_servers_tasks_leave_nothing_in_it() {
    let host = ShimHost::new();
    let (keeper, bundle) = (Bundle::sleeper(), Bundle::sleeper());
    let shim = host.serve(keeper.path(), "keeper");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let pid = shim.pid(&mut client);
    let watches = || -> usize {
        let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("fdinfo").flatten();
        let texts = infos.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        texts.map(|text| text.lines().filter(|line| line.starts_with("inotify ")).count()).sum()
    };
    let fds = || proc::fd_count(pid);
    let before = (fds(), watches());
    for round in 0..5 {
        let id = format!("c{round}");
        let request = CreateRequest {
            id: id.clone(),
            bundle: bundle.path().to_str().expect("UTF-8").into(),
            ..shim.create_request(&Streams::default())
        };
        let asked =
            |exec: &str| containerd_shim_cleat::messages::ProcessRequest { id: id.clone(), exec_id: exec.into() };
        let _: PidResponse = client.call("Create", &request).expect("Create");
        // Never started: its exit is published first.
        let waits = client.ask("Wait", &asked(""));
        let deleted: DeleteResponse = client.call("Delete", &asked("")).expect("Delete");
        let reply: WaitResponse =
            prost::Message::decode(&*client.answer(waits).expect("Wait")).expect("a WaitResponse");
        assert_eq!((deleted.exit_status, reply.exit_status), (137, 137));
    }
    assert_eq!((fds(), watches()), before);
    shim.end(&mut client);
    host.nothing_is_left(&[&keeper, &bundle]);
}

/// A server that is just ending still takes who connects, and then hangs up; one with too many peers hangs up, too, and
/// is there.
#[test]
fn a_server_that_is_ending_is_distinguished_from_one_that_is_busy() {
    for ends in [true, false] {
        let (host, bundle) = (ShimHost::new(), Bundle::new());
        fs::create_dir(host.sockets()).expect("a directory");
        fs::set_permissions(host.sockets(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
        let socket = host.sockets().join("socket");
        fs::write(bundle.path().join("address"), format!("unix://{}", socket.display())).expect("write");
        let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
        std::thread::scope(|scope| {
            let delete = scope.spawn(|| host.delete(bundle.path(), "a"));
            let (first, _) = listener.accept().expect("a peer");
            if ends {
                drop((listener, first));
            } else {
                drop(first);
                listener.set_nonblocking(true).expect("fcntl");
                while !delete.is_finished() {
                    drop(listener.accept());
                    std::thread::yield_now();
                }
            }
            delete.join().expect("delete");
        });
        assert_eq!(socket.exists(), !ends);
    }
}

/// The server is killed while a container is being made, and `delete` is faster than its maker.
#[test]
fn a_create_ends_with_its_server() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper());
    let (pid, runtime) = (host.dir().join("pid"), host.dir().join("slow"));
    let text = format!(
        "#!/bin/sh\necho $$ >{pid}.new; mv {pid}.new {pid}; sleep 2; exec {cleat} \"$@\"\n",
        pid = pid.display(),
        cleat = host.options().binary_name
    );
    fs::write(&runtime, text).expect("write");
    fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let slow = Options { binary_name: runtime.to_str().expect("UTF-8").into(), ..host.options() };
    let request = CreateRequest { options: Some(Any::of(OPTIONS, &slow)), ..shim.create_request(&Streams::default()) };
    client.ask("Create", &request);
    let maker = eventually("its maker", || fs::read_to_string(&pid).map_err(|error| error.to_string()));
    host.kill_servers();
    assert_eq!(host.delete(bundle.path(), "a").exit_status, 137);
    let maker = format!("/proc/{}/cmdline", maker.trim());
    eventually("its maker's end", || match fs::read(&maker) {
        Ok(line) if !line.is_empty() => Err(String::from_utf8_lossy(&line).into_owned()),
        _ => Ok(()),
    });
    host.nothing_is_left(&[&bundle]);
}

/// The server is killed at any moment of a container's life; what `delete` then leaves is nothing.
#[test]
fn whenever_the_server_is_killed_delete_leaves_nothing() {
    let rounds = tries().min(if std::env::var_os("CLEAT_TRIES").is_some() { u32::MAX } else { 20 });
    let rootfs = Bundle::sleeper();
    let source = rootfs.rootfs().to_str().expect("UTF-8").to_owned();
    for round in 0..rounds {
        let host = ShimHost::new();
        let bundle = Bundle::empty().args(["/probe", "sleep"]).set("/root/path", "rootfs".into());
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        let (kind, options) = ("bind".into(), vec!["rbind".into()]);
        let mount = Mount { kind, source: source.clone(), target: String::new(), options };
        let request = CreateRequest { rootfs: vec![mount], ..shim.create_request(&Streams::default()) };
        // All in one go, and the end comes at some point of it.
        client.ask("Create", &request);
        let killer = std::thread::scope(|scope| {
            let host = &host;
            let killer = scope.spawn(move || {
                let after = Duration::from_micros(u64::from(round) * 3_700 % 60_000);
                let end = Instant::now() + after;
                while Instant::now() < end {
                    std::thread::yield_now();
                }
                host.kill_servers();
            });
            let mut byte = [0u8; 1];
            if client.stream().read(&mut byte).is_ok_and(|len| len > 0) {
                let mut other = client.stream();
                let start = containerd_shim_cleat::messages::Request {
                    service: "containerd.task.v3.Task".into(),
                    method: "Start".into(),
                    payload: prost::Message::encode_to_vec(&shim.process("")),
                    timeout_nano: 0,
                };
                // It may be gone by now.
                let _ = other.write_all(&frame(99, 1, &prost::Message::encode_to_vec(&start)));
            }
            killer.join()
        });
        killer.expect("the killer");
        let reply = host.delete(bundle.path(), "a");
        assert_eq!(reply.exit_status, 137, "round {round}: {reply:?}");
        host.nothing_is_left(&[&bundle]);
    }
}

/// The first process or a further one is killed at any moment of others' coming and going: the client that was
/// started has an exit, which is published once, waited for and found by Delete.
#[test]
fn every_exit_is_published_whatever_is_killed_during_execs() {
    let host = ShimHost::new();
    let pid_of = |pid: u32| i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let mut expected = 0;
    for round in 0..tries() {
        let bundle = Bundle::sleeper();
        let shim = host.serve(bundle.path(), &format!("a{round}"));
        let mut client = shim.connect();
        let init = shim.run(&mut client, &Streams::default());
        let names: Vec<String> = (0..6).map(|n| format!("e{n}")).collect();
        let program = |n: usize| if n % 2 == 0 { &["/probe", "sleep"][..] } else { &["/probe", "exit", "4"] };
        for (n, name) in names.iter().enumerate() {
            client.done("Exec", &shim.exec_request(name, program(n), &Streams::default())).expect("Exec");
        }
        let starts: Vec<u32> = names.iter().map(|name| client.ask("Start", &shim.process(name))).collect();
        let end = Instant::now() + Duration::from_micros(u64::from(round) * 777 % 20_000);
        while Instant::now() < end {
            std::thread::yield_now();
        }
        let victim = if round % 2 == 0 { init } else { shim.state(&mut client, "e0").1 };
        if let Some(pid) = pid_of(victim) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("SIGKILL");
        }
        let mut reported = Vec::new();
        for ((n, name), start) in names.iter().enumerate().zip(starts) {
            if client.answer(start).is_err() {
                // Its container had ended, or ended meanwhile.
                assert!(round % 2 == 0, "round {round}: {name} is refused");
                shim.delete(&mut client, name);
                continue;
            }
            if n % 2 == 0 {
                let _ = shim.kill(&mut client, name, 9, false);
            }
            let status = shim.wait(&mut client, name);
            assert!(status == 137 || n % 2 == 1 && status == 4, "round {round}: {name} has {status}");
            assert_eq!(shim.delete(&mut client, name), status, "round {round}: {name}");
            reported.push(name);
        }
        let _ = shim.kill(&mut client, "", 9, false);
        assert_eq!(shim.wait(&mut client, ""), 137, "round {round}");
        assert_eq!(shim.delete(&mut client, ""), 137, "round {round}");
        client.done("Shutdown", &shim.process("")).expect("Shutdown");
        host.nothing_is_left(&[&bundle]);
        let topics = host.events().topics().split_off(expected);
        expected += topics.len();
        let at = |topic: &str| {
            let mut all = topics.iter().enumerate().filter(|(_, one)| *one == topic).map(|(at, _)| at);
            let first = all.next().unwrap_or_else(|| panic!("round {round}: no {topic:?} in {topics:?}"));
            assert!(all.next().is_none(), "round {round}: {topic:?} twice in {topics:?}");
            first
        };
        for name in &reported {
            let (started, exit) = (at(&format!("exec-started {name}")), at(&format!("exit {name}")));
            assert!(started < exit && exit < at("exit"), "round {round}: {topics:?}");
        }
        let exits = topics.iter().filter(|topic| topic.starts_with("exit")).count();
        assert_eq!((exits, at("delete")), (reported.len() + 1, topics.len() - 1), "round {round}: {topics:?}");
    }
}
