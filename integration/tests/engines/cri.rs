//! The shim below containerd's CRI plugin (`make containerd`), driven as the kubelet does. The chapter `cri_sid` is
//! this one again, on the newest containerd there is.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::cri::messages::{
    Capability, ContainerState, ContainerStatsRequest, IdMapping, Int64Value, LinuxContainerResources,
    ListContainersRequest, Mount, MountPropagation, NamespaceMode, NamespaceOption, PodState, ProfileType,
    ReopenContainerLogRequest, SecurityProfile, StatusRequest, UpdateContainerResourcesRequest, UserNamespace,
};
use integration::cri::{
    HANDLER_BY_PATH, HANDLER_WITH_OPTIONS, HANDLER_WITH_UNKNOWN_OPTIONS, Node, PodContainer, ROOT_BY_PATH,
    ROOT_WITH_OPTIONS, read_log,
};
use integration::{Release, eventually, is_cleat_shim, note, proc, require_controllers, skip};

/// Which containerd it is here.
const RELEASE: Release = match module_path!().as_bytes() {
    b"engines::cri_sid" => Release::Sid,
    _ => Release::Host,
};

/// A node; the test is skipped where there is none.
macro_rules! node {
    () => {
        Node::start(RELEASE, env!("CARGO_BIN_EXE_without-limits"))
    };
}

#[path = "cri/streams.rs"]
mod streams;

/// Waits until a container's log has a text on standard output.
fn logs(container: &PodContainer<'_>, text: &str) {
    eventually(&format!("{text:?} in the log"), || match container.logged() {
        logged if logged.stdout.contains(text) => Ok(()),
        logged => Err(format!("{logged:?} {:?}", container.status())),
    });
}

/// Waits until a container's log is complete: containerd's log is a little behind its status.
fn log_is(container: &PodContainer<'_>, text: &str) {
    eventually(&format!("{text:?} as the log"), || match container.logged() {
        logged if logged.stdout.replace('\r', "") == text => Ok(()),
        logged => Err(format!("{logged:?}")),
    });
}

/// Waits until there are as many shims: one ends a little after its pod, on its own account.
fn has_shims(node: &Node, count: usize) {
    eventually(&format!("{count} shims"), || match node.containerd().shims() {
        shims if shims.len() == count => Ok(()),
        shims => Err(format!("{shims:?}")),
    });
}

/// The containers of a pod have one address, and pods reach each other over the bridge. A pod has one
/// shim, whatever is in it.
#[test]
fn a_pod_is_one_host_with_one_shim() {
    let node = node!();
    let pod = node.plain_pod("web");
    assert!(pod.address().starts_with("10.88."), "{:?}", pod.status());
    assert_eq!(pod.status().state, i32::from(PodState::Ready));
    assert_eq!(pod.status().runtime_handler, "cleat");
    let serve =
        "mkdir /tmp/www; echo from $(busybox hostname) > /tmp/www/index.html; exec busybox httpd -f -p 80 -h /tmp/www";
    let server = pod.run("server", serve);
    let beside = pod.run("beside", "exec sleep 1000");
    has_shims(&node, 1);
    for container in [&server, &beside] {
        let addresses = container.exec("busybox ip -o -4 addr").ok();
        assert!(addresses.contains(&format!("{}/16", pod.address())), "{addresses}");
        assert!(addresses.contains("127.0.0.1/8"), "{addresses}");
        assert_eq!(container.exec("busybox hostname; cat /etc/hostname").ok(), "web\nweb\n");
        assert_eq!(container.exec("cat /etc/resolv.conf").ok(), "nameserver 10.88.0.53\n");
    }
    // busybox' wget is linked with a resolver that wants a C library's files.
    let get = |container: &PodContainer<'_>, address: &str| {
        let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 {address} 80");
        eventually("the page", || match container.exec(&script) {
            said if said.code == 0 && said.out.contains("200 OK") => Ok(said.out),
            said => Err(format!("{said:?}")),
        })
    };
    let get = |container, address: &str| get(container, address).lines().last().map(str::to_owned);
    assert_eq!(get(&beside, "127.0.0.1").as_deref(), Some("from web"));
    let other = node.plain_pod("client");
    has_shims(&node, 2);
    let client = other.run("client", "exec sleep 1000");
    let pinged = client.exec(&format!("busybox ping -c 1 -W 5 {}", pod.address()));
    assert_eq!(pinged.code, 0, "{pinged:?}");
    assert_eq!(get(&client, &pod.address()).as_deref(), Some("from web"));
    other.remove();
    has_shims(&node, 1);
    pod.remove();
    node.nothing_is_left();
}

/// `ExecSync` gives both streams in full and the exit code; at its time limit the program is killed.
#[test]
fn exec_sync_gives_streams_and_the_exit_code_and_ends_in_time() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let container = pod.run("main", "exec sleep 1000");
    let said = container.exec("echo out; echo err >&2; exit 7");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (7, "out\n", "err\n"));
    let said = container.exec("yes | head -n 500000").ok();
    assert_eq!(said.len(), 1_000_000);
    let late = container.try_exec(&["sleep", "777"], 1).expect_err("an end");
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.message.contains("timeout 1s exceeded"), "{late:?}");
    eventually("the end of what took too long", || match container.exec("ps").out {
        ps if ps.contains("sleep 777") => Err(ps),
        _ => Ok(()),
    });
    let missing = container.try_exec(&["/no/such/program"], 5).expect_err("an error");
    assert!(missing.message.contains("no such file or directory"), "{missing:?}");
    // It has killed a process of this one, and nothing else.
    assert_eq!(container.status().state, i32::from(ContainerState::Running));
    pod.remove();
    node.nothing_is_left();
}

/// Every byte is in the log, by streams, in the order it was written; the log can be rotated.
#[test]
fn logs_are_complete_and_can_be_rotated() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let lines = if integration::in_guest() { 2000 } else { 20_000 };
    // containerd 1.6.20, that of Debian 12, closes the streams as soon as it learns of the exit, whatever is still
    // in them (task.go, Delete; mended in later ones). So a shim does better to report the exit when they are
    // empty.
    let last = if node.is_2() || is_cleat_shim() { "" } else { "; sleep 2" };
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do echo line $i; echo error $i >&2; i=$((i+1)); done; echo -n end{last}"
    );
    let burst = pod.run("burst", &script);
    let status = burst.ended();
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"), "{status:?}");
    let of = |word: &str| (0..lines).map(|n| format!("{word} {n}\n")).collect::<String>();
    // containerd's log is a little behind its status.
    eventually("the whole log", || match burst.logged() {
        logged if logged.stdout == of("line") + "end" && logged.stderr == of("error") => Ok(()),
        logged => Err(format!("{} and {} bytes", logged.stdout.len(), logged.stderr.len())),
    });

    let steady = pod.run("steady", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done");
    logs(&steady, "line 3\n");
    let rotated = steady.log.with_extension("log.1");
    fs::rename(&steady.log, &rotated).expect("rename");
    let _ = steady.must(&ReopenContainerLogRequest { container_id: steady.id.clone() });
    logs(&steady, "line");
    steady.stop(0);
    let both = read_log(&rotated).stdout + &steady.logged().stdout;
    let expected: String = (0..both.lines().count()).map(|n| format!("line {n}\n")).collect();
    assert_eq!(both, expected);

    // A terminal has one stream.
    let mut config = pod.config_of("tty", &["sh", "-c", "test -t 1 && echo a terminal; echo and this >&2"]);
    config.tty = true;
    let terminal = pod.start(config);
    assert_eq!(terminal.ended().exit_code, 0);
    log_is(&terminal, "a terminal\nand this\n");
    pod.remove();
    node.nothing_is_left();
}

/// `StopContainer` asks with `SIGTERM`, and has the last word with `SIGKILL` when the grace is over.
#[test]
fn a_container_is_asked_to_stop_then_killed() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let polite = pod.run("polite", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    logs(&polite, "up");
    polite.stop(60);
    let status = polite.status();
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"), "{status:?}");
    assert!(status.started_at > 0 && status.finished_at >= status.started_at, "{status:?}");
    log_is(&polite, "up\nbye\n");
    let deaf = pod.run("deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done");
    logs(&deaf, "up");
    deaf.stop(1);
    let status = deaf.status();
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"), "{status:?}");
    // Again is no error; nor is it for a pod.
    deaf.stop(1);
    deaf.remove();
    assert!(deaf.try_exec(&["true"], 5).is_err());
    polite.remove();
    pod.stop();
    assert_eq!(pod.status().state, i32::from(PodState::NotReady));
    pod.remove();
    node.nothing_is_left();
}

/// A program that is not there is reported by `StartContainer` with the text that Kubernetes shows, and the
/// container can be removed; the pod is not harmed.
#[test]
fn a_program_that_is_missing_is_reported() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let container = pod.create(pod.config_of("main", &["/no/such/program"]));
    let refused = container.try_start().expect_err("an error");
    assert!(refused.message.contains("no such file or directory"), "{refused:?}");
    assert!(refused.message.contains("/no/such/program"), "{refused:?}");
    let status = container.status();
    assert_eq!(status.state, i32::from(ContainerState::Exited), "{status:?}");
    assert_eq!(status.reason, "StartError", "{status:?}");
    assert_eq!(status.exit_code, 128, "{status:?}");
    container.remove();
    let next = pod.run("next", "echo it is me");
    assert_eq!(next.ended().exit_code, 0);
    log_is(&next, "it is me\n");
    pod.remove();
    node.nothing_is_left();
}

/// The shim by its path, as docs/containerd.md has it for Kubernetes, gets the options of its handler.
#[test]
fn a_shim_by_its_path_has_options() {
    let node = node!();
    let pod = node.try_pod(node.config("pod"), HANDLER_BY_PATH).unwrap_or_else(|refused| panic!("{refused:?}"));
    let container = pod.run("main", "exec sleep 1000");
    let states = node.containerd().files(&format!("{ROOT_BY_PATH}/k8s.io"));
    for id in [&pod.id, &container.id] {
        assert!(states.iter().any(|path| path.ends_with(id)), "no {id} in {states:?}");
    }
    assert_eq!(container.exec("echo it is me").ok(), "it is me\n");
    has_shims(&node, 1);
    pod.remove();
    node.nothing_is_left();
}

/// Options for the shim by its name reach it, too, in another form, and one that nobody knows is refused.
#[test]
fn a_shim_by_its_name_has_options() {
    let node = node!();
    if !is_cleat_shim() || !node.is_2() {
        skip("not here: it is containerd's own shim, or containerd 1, which drops them before");
    }
    let pod = node.try_pod(node.config("pod"), HANDLER_WITH_OPTIONS).unwrap_or_else(|refused| panic!("{refused:?}"));
    let states = node.containerd().files(&format!("{ROOT_WITH_OPTIONS}/k8s.io"));
    assert!(states.iter().any(|path| path.ends_with(&pod.id)), "no {} in {states:?}", pod.id);
    pod.remove();
    let refused = node.try_pod(node.config("pod"), HANDLER_WITH_UNKNOWN_OPTIONS).expect_err("an error");
    assert!(refused.message.contains("options: unknown field `SystemdCGroup`"), "{refused:?}");
    node.nothing_is_left();
}

/// A handler that is not configured is refused, and nothing is made for it.
#[test]
fn an_unknown_handler_is_refused() {
    let node = node!();
    let refused = node.try_pod(node.config("pod"), "nobody").expect_err("an error");
    assert!(refused.message.contains("nobody"), "{refused:?}");
    node.nothing_is_left();
}

/// With the pod's pid namespace every container sees the others' processes, and the pause is PID 1. What a
/// container leaves behind when it ends is killed all the same, and nothing else.
#[test]
fn a_pod_may_share_its_processes() {
    let node = node!();
    let mut config = node.config("pod");
    config.namespaces().pid = NamespaceMode::Pod.into();
    let pod = node.pod(config);
    let in_pod = |name, script: &str| {
        let mut config = pod.config_of(name, &["sh", "-c", script]);
        config.security().namespace_options =
            Some(NamespaceOption { pid: NamespaceMode::Pod.into(), ..NamespaceOption::default() });
        pod.start(config)
    };
    let first = in_pod("first", "exec sleep 555");
    let second = in_pod("second", "sleep 777 & echo up; sleep 0.2; exit 4");
    assert_eq!(second.ended().exit_code, 4);
    eventually("the end of what was left behind", || match first.exec("ps").ok() {
        ps if ps.contains("sleep 777") => Err(ps),
        _ => Ok(()),
    });
    let ps = first.exec("ps").ok();
    let is_first = ps.lines().any(|line| line.trim_start().starts_with("1 ") && line.contains("sleep 1000000"));
    assert!(is_first && ps.contains("sleep 555"), "{ps}");
    let third = in_pod("third", "exec sleep 333");
    let seen = third.exec("ps").ok();
    assert!(seen.contains("sleep 555") && seen.contains("sleep 333"), "{seen}");
    first.stop(0);
    assert_eq!(first.status().exit_code, 137);
    assert_eq!(third.status().state, i32::from(ContainerState::Running));
    assert_eq!(pod.status().state, i32::from(PodState::Ready));
    pod.remove();
    node.nothing_is_left();
}

/// A pod on the host's network has the host's devices, and no address of its own; also with the host's
/// processes and its System V objects.
#[test]
fn a_pod_may_be_on_the_hosts_network() {
    let node = node!();
    // So that the bridge is there.
    let ordinary = node.plain_pod("ordinary");
    let host = NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Node.into(),
        ipc: NamespaceMode::Node.into(),
        ..NamespaceOption::default()
    };
    let mut config = node.config("pod");
    config.security().namespace_options = Some(host.clone());
    config.hostname.clear();
    let pod = node.pod(config);
    assert_eq!(pod.address(), "");
    let mut config = pod.config_of("main", &["sleep", "1000"]);
    config.security().namespace_options = Some(host);
    let container = pod.start(config);
    let links = container.exec("busybox ip -o link").ok();
    assert!(links.contains(": pods0"), "{links}");
    let same = |kind: &str| {
        let inside = container.exec(&format!("busybox readlink /proc/self/ns/{kind}")).ok();
        let outside =
            node.containerd().inside("readlink").arg(format!("/proc/self/ns/{kind}")).output().expect("nsenter");
        assert_eq!(inside, String::from_utf8_lossy(&outside.stdout), "{kind}");
    };
    ["net", "pid", "ipc"].into_iter().for_each(same);
    // There is no pid namespace whose end would end them.
    let said = container.exec("sleep 778 >/dev/null 2>&1 & echo up").ok();
    assert_eq!(said, "up\n");
    container.stop(0);
    eventually("the end of what was left behind", || {
        let ps = std::process::Command::new("ps").args(["-eo", "args"]).output().expect("ps(1)");
        match String::from_utf8_lossy(&ps.stdout).lines().any(|line| line == "sleep 778") {
            true => Err("sleep 778 lives".into()),
            false => Ok(()),
        }
    });
    pod.remove();
    ordinary.remove();
    node.nothing_is_left();
}

/// `securityContext`: users and groups, a read-only root, capabilities, the default profile of system
/// calls, `no_new_privs`, masked and read-only paths.
#[test]
fn a_container_has_the_security_that_was_asked_for() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let mut config = pod.config_of("main", &["sleep", "1000"]);
    let security = config.security();
    security.run_as_user = Some(Int64Value { value: 1234 });
    security.run_as_group = Some(Int64Value { value: 55 });
    security.supplemental_groups = vec![77];
    security.readonly_rootfs = true;
    security.no_new_privs = true;
    security.masked_paths = vec!["/proc/meminfo".into(), "/sys/firmware".into()];
    security.readonly_paths = vec!["/proc/sys".into()];
    security.seccomp = Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() });
    let container = pod.start(config);
    assert_eq!(container.exec("id -u; id -g").ok(), "1234\n55\n");
    let status = container.exec("cat /proc/self/status").ok();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    assert!(field("Groups").split(' ').any(|group| group == "77"), "{status}");
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    assert_eq!(field("CapEff"), "0000000000000000");
    let refused = container.exec("echo x > /tmp/x");
    assert!(refused.code != 0 && refused.err.contains("Read-only file system"), "{refused:?}");
    assert_eq!(container.exec("busybox wc -c < /proc/meminfo").ok().trim(), "0");
    // The profile: unshare(2) takes CAP_SYS_ADMIN in it.
    let refused = container.exec("busybox unshare -U true");
    assert!(refused.code != 0 && refused.err.contains("Operation not permitted"), "{refused:?}");

    let mut config = pod.config_of("few", &["sleep", "1000"]);
    let add = vec!["NET_ADMIN".into()];
    config.security().capabilities = Some(Capability { add_capabilities: add, drop_capabilities: vec!["ALL".into()] });
    let container = pod.start(config);
    let status = container.exec("grep CapEff /proc/self/status || cat /proc/self/status").out;
    assert!(status.contains("CapEff:\t0000000000001000"), "{status}");

    // Nothing at all is Kubernetes' privileged.
    let mut config = node.config("privileged");
    config.security().privileged = true;
    let privileged = node.pod(config);
    let mut config = privileged.config_of("main", &["sleep", "1000"]);
    config.security().privileged = true;
    let container = privileged.start(config);
    let said = container.exec("mount -t tmpfs tmpfs /tmp && test -e /dev/zero && echo x > /proc/sys/kernel/domainname && cat /proc/self/status");
    let status = said.ok();
    assert!(status.contains("Seccomp:\t0"), "{status}");
    privileged.remove();
    pod.remove();
    node.nothing_is_left();
}

/// Volumes: what the host mounts below one later is seen where that is asked for, read-only ones are;
/// and environment and working directory are as asked for.
#[test]
fn volumes_are_shared_as_asked() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let dir = node.containerd().dir().join("volume");
    fs::create_dir(&dir).expect("mkdir");
    let path = dir.to_string_lossy().into_owned();
    let inside = |words: &[&str]| {
        let said = node.containerd().inside("mount").args(words).output().expect("nsenter");
        assert!(said.status.success(), "{said:?}");
    };
    inside(&["--bind", &path, &path]);
    inside(&["--make-shared", &path]);
    let mount = |to: &str, readonly, propagation: MountPropagation| Mount {
        container_path: to.into(),
        host_path: path.clone(),
        readonly,
        propagation: propagation.into(),
    };
    let mut config = pod.config_of("main", &["sleep", "1000"]);
    config.mounts = vec![
        mount("/private", true, MountPropagation::Private),
        mount("/slave", false, MountPropagation::HostToContainer),
    ];
    config.working_dir = "/slave".into();
    config.envs = vec![integration::cri::messages::KeyValue { key: "WORD".into(), value: "some words".into() }];
    let container = pod.start(config);
    assert_eq!(container.exec("echo $PWD $WORD").ok(), "/slave some words\n");
    let refused = container.exec("echo x > /private/x");
    assert!(refused.code != 0 && refused.err.contains("Read-only file system"), "{refused:?}");
    assert_eq!(container.exec("echo from inside > /slave/file; cat /private/file").ok(), "from inside\n");
    fs::create_dir(dir.join("later")).expect("mkdir");
    inside(&["-t", "tmpfs", "tmpfs", &format!("{path}/later")]);
    assert_eq!(container.exec("grep -c ' /slave/later ' /proc/self/mounts || cat /proc/self/mounts").out, "1\n");
    assert!(!container.exec("cat /proc/self/mounts").ok().contains(" /private/later "));
    pod.remove();
    let said = node.containerd().inside("umount").args(["-R", &path]).output().expect("nsenter");
    assert!(said.status.success(), "{said:?}");
    node.nothing_is_left();
}

/// What a container uses is reported: CPU time everywhere, memory where the kernel counts it.
#[test]
fn what_is_used_is_reported() {
    let node = node!();
    if !is_cleat_shim() && !node.has_limits() {
        skip("not on containerd's own shim: without the controllers it tells of no CPU time either");
    }
    let pod = node.plain_pod("pod");
    let container = pod.run("main", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; exec sleep 1000");
    eventually("its use", || {
        let stats = container.must(&ContainerStatsRequest { container_id: container.id.clone() }).stats;
        let stats = stats.unwrap_or_default();
        let cpu = stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds).map_or(0, |value| value.value);
        let memory = stats.memory.and_then(|memory| memory.working_set_bytes).map_or(0, |value| value.value);
        if cpu > 0 && (memory > 0 || !node.has_limits()) { Ok(()) } else { Err(format!("{stats:?}")) }
    });
    pod.remove();
    node.nothing_is_left();
}

/// Limits reach the kernel and can be changed; a container that takes more memory is `OOMKilled`.
#[test]
fn limits_hold_and_can_be_changed() {
    let node = node!();
    if !node.has_limits() {
        require_controllers(&["memory", "cpu"]);
    }
    let pod = node.plain_pod("pod");
    let mut config = pod.config_of("main", &["sleep", "1000"]);
    *config.resources() = LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        ..LinuxContainerResources::default()
    };
    let container = pod.start(config);
    assert_eq!(container.cgroup("memory.max"), (64u32 << 20).to_string());
    assert_eq!(container.cgroup("cpu.max"), "50000 100000");
    let linux = LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 70_000,
        memory_limit_in_bytes: 96 << 20,
        ..LinuxContainerResources::default()
    };
    let update = UpdateContainerResourcesRequest { container_id: container.id.clone(), linux: Some(linux) };
    let _ = container.must(&update);
    assert_eq!(container.cgroup("memory.max"), (96u32 << 20).to_string());
    assert_eq!(container.cgroup("cpu.max"), "70000 100000");
    let mut config = pod.config_of("greedy", &["sh", "-c", "a=x; while :; do a=$a$a; done"]);
    config.resources().memory_limit_in_bytes = 16 << 20;
    let greedy = pod.start(config);
    let status = greedy.ended();
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "{status:?}");
    pod.remove();
    node.nothing_is_left();
}

/// containerd is killed, and comes back: pod and containers live, what they have written meanwhile is in
/// the log, and one that has ended meanwhile has its exit code. All of it can then be stopped.
#[test]
fn a_pod_outlives_containerd() {
    let mut node = node!();
    let (pod_id, config, ids) = {
        let pod = node.plain_pod("pod");
        let steady = pod.run("steady", "i=0; while :; do echo line $i || exit 9; i=$((i+1)); sleep 0.05; done");
        let short = pod.run("short", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done");
        logs(&steady, "line 2\n");
        logs(&short, "up");
        let pid = rustix::process::Pid::from_raw(short.pid()).expect("a pid");
        ((pod.id.clone()), pod.config.clone(), (steady.id.clone(), short.id.clone(), steady.log.clone(), pid))
    };
    let (steady, short, log, pid) = ids;
    node.down();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
    eventually("its end", || proc::has_ended(pid.as_raw_nonzero().get()));
    node.up();
    let pod = node.known_pod(&pod_id, config);
    assert_eq!(pod.status().state, i32::from(PodState::Ready), "{:?}", pod.status());
    let steady = pod.known(&steady, log);
    assert_eq!(steady.status().state, i32::from(ContainerState::Running), "{:?}", steady.status());
    let short = pod.known(&short, pod_log(&pod.config.log_directory, "short"));
    let status = short.ended();
    if is_cleat_shim() {
        assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"), "{status:?}");
    } else {
        // containerd's own shim keeps no exit status.
        note!("exit code {} ({})", status.exit_code, status.reason);
    }
    let before = steady.logged().stdout.lines().count();
    logs(&steady, &format!("line {}\n", before + 3));
    assert_eq!(steady.exec("echo still here").ok(), "still here\n");
    steady.stop(0);
    let lines = steady.logged().stdout;
    let expected: String = (0..lines.lines().count()).map(|n| format!("line {n}\n")).collect();
    assert_eq!(lines, expected);
    pod.remove();
    node.nothing_is_left();
}

fn pod_log(directory: &str, name: &str) -> std::path::PathBuf {
    std::path::Path::new(directory).join(format!("{name}.log"))
}

/// The shim of a pod is killed: the kubelet sees that the pod is not ready and its containers have ended,
/// and removes it.
#[test]
fn a_pod_whose_shim_is_killed_can_be_removed() {
    let node = node!();
    if !is_cleat_shim() && node.is_2() {
        skip("not on containerd 2's own shim: of the containers of the pod, something stays");
    }
    let pod = node.plain_pod("pod");
    let container = pod.run("main", "exec sleep 1000");
    let pid = container.pid();
    for shim in node.containerd().shims() {
        let shim = rustix::process::Pid::from_raw(shim).expect("a pid");
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).expect("kill");
    }
    let status = container.ended();
    assert_ne!(status.exit_code, 0, "{status:?}");
    eventually("the pod to be not ready", || match pod.status() {
        status if status.state == i32::from(PodState::NotReady) => Ok(()),
        status => Err(format!("{status:?}")),
    });
    eventually("the processes' end", || proc::state(pid).map_or(Ok(()), |letter| Err(format!("state {letter}"))));
    pod.remove();
    if !is_cleat_shim() {
        // containerd's own leaves the file of its socket.
        for socket in node.containerd().files("/run/containerd/s") {
            let _ = node.containerd().inside("rm").arg(socket).output();
        }
    }
    node.nothing_is_left();
}

/// A pod in a user namespace (`hostUsers: false`): root inside is nobody in particular outside.
#[test]
fn a_pod_may_have_a_user_namespace() {
    let node = node!();
    if !node.is_2() {
        skip("not with containerd 1: it has no user namespaces");
    }
    let handlers = node.ask(&StatusRequest {}).expect("a status").runtime_handlers;
    let ours = handlers.iter().find(|handler| handler.name == HANDLER_BY_PATH).expect("the handler");
    let features = ours.features.expect("features");
    if !is_cleat_shim() && !features.user_namespaces {
        skip("not with this runc: it does not tell that it has them");
    }
    assert!(features.user_namespaces && features.recursive_read_only_mounts, "{handlers:?}");
    let ids = vec![IdMapping { host_id: 100_000, container_id: 0, length: 65_536 }];
    let users = UserNamespace { mode: NamespaceMode::Pod.into(), uids: ids.clone(), gids: ids };
    let options =
        NamespaceOption { userns_options: Some(users), pid: NamespaceMode::Container.into(), ..Default::default() };
    let mut config = node.config("pod");
    config.security().namespace_options = Some(options.clone());
    let pod = node.try_pod(config, HANDLER_BY_PATH).unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut config = pod.config_of("main", &["sh", "-c", "echo to the log; exec sleep 1000"]);
    config.security().namespace_options = Some(options);
    let container = pod.start(config);
    logs(&container, "to the log\n");
    assert_eq!(container.exec("id -u; cat /proc/self/uid_map | busybox tr -s ' '").ok(), "0\n 0 100000 65536\n");
    assert_eq!(container.exec("echo x > /tmp/x && busybox stat -c %u:%g /tmp/x /etc/passwd").ok(), "0:0\n0:0\n");
    let pinged = container.exec("busybox ping -c 1 -W 5 10.88.0.1");
    assert_eq!(pinged.code, 0, "{pinged:?}");
    assert_eq!(proc::status(container.pid()).ruid, 100_000);
    pod.remove();
    node.nothing_is_left();
}

/// Ten pods at once, with two containers each, come and go.
#[test]
fn many_pods_come_and_go() {
    let node = node!();
    let count = if integration::in_guest() { 4 } else { 10 };
    let pods: Vec<_> = (0..count).map(|n| node.plain_pod(&format!("pod{n}"))).collect();
    has_shims(&node, count);
    let mut addresses: Vec<String> = pods.iter().map(|pod| pod.address()).collect();
    let containers: Vec<_> =
        pods.iter().flat_map(|pod| [pod.run("one", "echo one; exit 1"), pod.run("two", "exec sleep 1000")]).collect();
    for pair in containers.chunks(2) {
        assert_eq!(pair[0].ended().exit_code, 1);
        log_is(&pair[0], "one\n");
        assert_eq!(pair[1].status().state, i32::from(ContainerState::Running));
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), count);
    let listed = node.ask(&ListContainersRequest {}).expect("a list").containers;
    assert_eq!(listed.len(), 2 * count, "{listed:?}");
    pods.into_iter().for_each(integration::cri::Pod::remove);
    node.nothing_is_left();
}
