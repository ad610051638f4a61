//! A second reading with an attacker's eyes: privileges on their way into a container, promises of
//! the host's mounts, names that are used again, and peers that do not answer.
//!
//! `hostile.rs` tries what has happened to other runtimes; here is what could happen to this one.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration::{
    Bundle, Call, Pty, Running, Runtime, eventually, not_on_peer, not_on_runc_1_1, probe, proc, tries, unique_name,
};
use rustix::event::{Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long a call may take that has nothing to wait for.
const SOON: Duration = Duration::from_secs(5);

/// Gives the processor up for a moment.
fn tick() {
    let time = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    let _ = poll(&mut [], Some(&time));
}

/// Whether a call ends soon. Not a panic: what blocks it must be released before anything is judged.
fn ends_soon(call: &Running) -> bool {
    let end = Instant::now() + SOON;
    while proc::has_ended(call.pid()).is_err() {
        if Instant::now() > end {
            return false;
        }
        tick();
    }
    true
}

fn wait_for_state(call: &Running, wanted: char) {
    eventually(&format!("state {wanted} of the runtime"), || {
        let seen = proc::state(call.pid());
        if seen == Some(wanted) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// Until `call` waits for a lock that another process has.
fn wait_until_it_queues(call: &Running) {
    let pid = call.pid().to_string();
    eventually("the runtime in a lock's queue", || {
        let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
        let queues = locks.lines().any(|line| line.contains("->") && line.split_whitespace().any(|w| w == pid));
        if queues { Ok(()) } else { Err(locks) }
    });
}

fn create(runtime: &Runtime, bundle: &Bundle, id: &str) -> Call {
    runtime.call(["create", "--bundle"]).arg(bundle.path()).arg(id)
}

fn mask(status: &str, field: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    value.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
}

// --- privileges on their way in ---------------------------------------------------------------------

/// CVE-2019-5736: a container with `CAP_SYS_PTRACE` seizes what joins it: the init of `exec`, which is not
/// dumpable but is held back by nothing from a holder of that capability in its own user
/// namespace. A process that is visible in the container's pid namespace may therefore have no more
/// capabilities than the container, at any moment.
#[test]
fn nothing_that_joins_has_more_capabilities_than_the_container() {
    not_on_peer!("it drops its capabilities inside the container's pid namespace");
    let runtime = Runtime::new();
    let bundle = Bundle::new().capabilities(&["CAP_SYS_PTRACE"]).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let allowed = 1u64 << 19;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (stop, procs) = (Arc::clone(&stop), bundle.cgroup().join("cgroup.procs"));
        std::thread::spawn(move || {
            let mut caught = None;
            while !stop.load(Ordering::Relaxed) && caught.is_none() {
                for pid in fs::read_to_string(&procs).unwrap_or_default().lines() {
                    // Not parsed as a whole: the moment to be seen is short.
                    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                    let inside = status.lines().any(|l| l.starts_with("NSpid:") && l.split_whitespace().count() > 2);
                    if inside && mask(&status, "CapPrm") & !allowed != 0 {
                        caught = Some(status);
                    }
                }
            }
            caught
        })
    };
    for _ in 0..tries() {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    stop.store(true, Ordering::Relaxed);
    let caught = watcher.join().expect("the watcher");
    assert!(caught.is_none(), "visible in the container with all privileges: {}", caught.unwrap_or_default());
}

/// An id that is in use elsewhere, or that somebody has foreseen: a session keyring is found by its *name*. A
/// keyring planted as `_ses.ID` becomes that of the next container `ID`, with the keys in it (keyctl(2),
/// `KEYCTL_JOIN_SESSION_KEYRING`).
#[test]
fn a_session_keyring_is_never_one_that_was_there_before() {
    not_on_peer!("it names the keyring after the id, too");
    let (one, other) = (Runtime::new(), Runtime::new());
    let id = unique_name();
    let bundle = || Bundle::new().without("/linux/maskedPaths").args(["/probe", "sleep"]);
    let (first, second) = (bundle(), bundle());
    let mut names = Vec::new();
    let _containers = [one.container(&id), other.container(&id)];
    for (runtime, bundle) in [(&one, &first), (&other, &second)] {
        let _ = create(runtime, bundle, &id).outcome().ok();
        let _ = runtime.call(["start", &id]).outcome().ok();
        let keys = runtime.call(["exec", &id, "/probe", "read", "/proc/keys"]).outcome().json();
        let keys = keys["text"].as_str().expect("/proc/keys").to_owned();
        let own = keys.lines().filter(|line| line.contains(&format!("_ses.{id}")));
        names.push(own.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(names[0] != names[1], "both containers have the keyring {names:?}");
}

// --- promises of the host's mounts --------------------------------------------------------------------

/// A user namespace whose root owns the root file system, and can make what is missing there.
fn mapped(bundle: Bundle) -> Bundle {
    let rootfs = bundle.rootfs();
    rustix::fs::chown(&rootfs, rustix::fs::Uid::from_raw(100_000).into(), rustix::fs::Gid::from_raw(100_000).into())
        .expect("chown");
    bundle.mapped().set("/root/readonly", json!(false))
}

/// What the host mounted read-only, or mounted over, stays so for a container in a user namespace, whatever
/// capabilities it has there. mount_namespaces(7): "mounts that come as a single unit from a more privileged mount
/// namespace are locked together" and so are their flags.
#[test]
fn a_user_namespace_cannot_undo_what_the_host_has_mounted() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let (data, readonly) = (bundle.dir().join("data"), bundle.dir().join("readonly"));
    fs::create_dir_all(data.join("covered")).expect("a directory");
    fs::write(data.join("covered/canary"), "the host's file").expect("the canary");
    fs::create_dir(&readonly).expect("a directory");
    fs::set_permissions(&readonly, fs::Permissions::from_mode(0o777)).expect("chmod");
    let bundle = mapped(bundle)
        .capabilities(&["CAP_SYS_ADMIN"])
        .with_dir("/data")
        .with_dir("/readonly")
        .bind(&data, "/data", &["rbind"])
        .bind(&readonly, "/readonly", &["rbind"])
        .args(["/probe", "sleep"]);
    let (data, readonly) = (data.display(), readonly.display());
    let script = format!(
        "exec unshare -m --propagation private sh -c 'mount -t tmpfs cover {data}/covered && \
         mount --bind {readonly} {readonly} && mount -o remount,bind,ro {readonly} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    );
    let id = unique_name();
    let container = runtime.container(&id);
    let _ = runtime.through_shell(&script, ["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).outcome().ok();
    let does = |words: &[&str]| container.exec(["/probe"].iter().chain(words)).json();
    let (unmounted, covered) = (does(&["unmount", "/data/covered"]), does(&["read", "/data/covered/canary"]));
    assert!(!covered.to_string().contains("the host's file"), "saw what the host has covered: {unmounted}");
    let (remounted, written) = (does(&["remount", "/readonly", "rw"]), does(&["write", "/readonly/made", "text"]));
    assert_eq!(written["error"], "EROFS", "wrote to what the host has mounted read-only: {remounted}");
    assert_eq!((&unmounted["error"], &remounted["error"]), (&json!("EINVAL"), &json!("EPERM")));
}

/// A tmpfs over a directory that only root may enter must not become one that all may write to. Without `mode=`,
/// it has the mode of what it covers, as runc's and crun's have.
#[test]
fn a_tmpfs_has_the_mode_of_the_directory_it_covers() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_dir("/private").with_mode("/private", 0o700);
    let bundle = bundle
        .mount(json!({ "destination": "/private", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"] }))
        .args(["/probe", "stat", "/private"]);
    let seen = runtime.json(&bundle);
    assert!(seen["mode"] == "0700" || seen["mode"] == "700" || seen["mode"] == 0o700, "{seen}");
}

/// A network namespace given by path may be the host's own: then a kernel parameter would change
/// the host.
#[test]
fn a_sysctl_of_the_hosts_own_network_namespace_is_refused() {
    let runtime = Runtime::new();
    // The value that is there already: a hole found changes nothing.
    let ttl = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").expect("a kernel parameter");
    let bundle = Bundle::new()
        .namespace(json!({ "type": "network", "path": format!("/proc/{}/ns/net", std::process::id()) }))
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|m| m["type"] != "sysfs" && m["type"] != "cgroup");
        })
        .set("/linux/sysctl", json!({ "net.ipv4.ip_default_ttl": ttl.trim() }));
    let _ = runtime.run(&bundle).refused("sysctl");
}

// --- names that are used again ---------------------------------------------------------------------------

/// A `delete` that had to wait finds another container under its id: an engine that gave up on it
/// has deleted the old one and made a new one. The new one is not its to kill.
#[test]
fn a_late_delete_leaves_a_new_container_of_the_same_id_alone() {
    not_on_peer!("it has no lock to wait for");
    let runtime = Runtime::new();
    let id = unique_name();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.container(&id);
    let _ = create(&runtime, &bundle, &id).outcome().ok();
    let lock = File::open(runtime.root().join(&id)).expect("the state directory");
    flock(&lock, FlockOperation::LockExclusive).expect("flock");
    let late = runtime.call(["delete", &id]).spawn();
    wait_until_it_queues(&late);
    late.signal(Signal::STOP);
    wait_for_state(&late, 'T');
    drop(lock);
    let _ = runtime.call(["delete", &id]).outcome().ok();
    let _ = create(&runtime, &bundle, &id).outcome().ok();
    let _ = runtime.call(["start", &id]).outcome().ok();
    late.signal(Signal::CONT);
    let outcome = late.outcome();
    assert!(runtime.state(&id).is_some_and(|s| s["status"] == "running"), "the new container is gone: {outcome}");
    assert!(!outcome.succeeded(), "it believes it has deleted something: {outcome}");
    drop(container);
}

/// A foreground `run` whose container was deleted and made anew under the same id, while it was held
/// up, cleans up after its own only.
#[test]
fn a_late_run_leaves_a_new_container_of_the_same_id_alone() {
    not_on_peer!("it removes what has the id");
    let runtime = Runtime::new();
    let id = unique_name();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.container(&id);
    let late = runtime.call(["run", "--bundle"]).arg(bundle.path()).arg(&id).spawn();
    late.wait_for_line("ready");
    late.signal(Signal::STOP);
    wait_for_state(&late, 'T');
    let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    let _ = create(&runtime, &bundle, &id).outcome().ok();
    let _ = runtime.call(["start", &id]).outcome().ok();
    late.signal(Signal::CONT);
    let outcome = late.outcome();
    assert!(runtime.state(&id).is_some_and(|s| s["status"] == "running"), "the new container is gone: {outcome}");
    assert_eq!(outcome.code(), 137, "its own was killed: {outcome}");
    drop(container);
}

/// Many at once delete one container: with `--force`, one that is gone is no error to any of them.
#[test]
fn a_container_deleted_by_many_at_once_is_no_error() {
    not_on_peer!("each of its deletes may find half of the other's work");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    for _ in 0..tries() / 10 {
        let id = unique_name();
        let _container = runtime.container(&id);
        let _ = create(&runtime, &bundle, &id).outcome().ok();
        let calls: Vec<_> = (0..4).map(|_| runtime.call(["delete", "--force", &id]).spawn()).collect();
        for call in calls {
            let _ = call.outcome().ok();
        }
    }
}

/// The maker of a container that is deleted meanwhile cleans up by itself; both have succeeded in
/// what was asked: nothing is left.
#[test]
fn a_container_deleted_while_it_is_created_is_no_error() {
    not_on_peer!("it finds the id half made");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let log = bundle.dir().join("log");
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("echo x >{}; sleep 1", log.display())],
        "env": ["PATH=/bin:/usr/bin"] });
    let bundle = bundle.raw_hook("createRuntime", hook);
    let id = unique_name();
    let _container = runtime.container(&id);
    let making = create(&runtime, &bundle, &id).spawn();
    eventually("the hook", || if log.exists() { Ok(()) } else { Err("no file".to_owned()) });
    let _ = runtime.call(["delete", "--force", &id]).outcome().ok();
    assert!(!making.outcome().succeeded());
    assert!(!runtime.root().join(&id).exists() && !bundle.cgroup().exists(), "something was left");
}

/// Two creations at once into one cgroup: the second must find the first there, or the end of the one
/// container would be that of the other.
#[test]
fn two_containers_at_once_never_share_a_cgroup() {
    not_on_runc_1_1!("it checks before it puts its process there");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    for _ in 0..tries() / 5 {
        let ids = [(); 3].map(|()| unique_name());
        let containers = [0, 1, 2].map(|i: usize| runtime.container(&ids[i]));
        let calls = [0, 1, 2].map(|i: usize| create(&runtime, &bundle, &ids[i]).spawn());
        let made = calls.map(|call| call.outcome().succeeded()).into_iter().filter(|made| *made).count();
        drop(containers);
        assert!(made <= 1, "{made} containers in one cgroup");
    }
}

// --- peers that do not answer ------------------------------------------------------------------------------

/// Calls that must all end soon; what holds them up is released before the test judges.
fn all_end_soon(calls: impl IntoIterator<Item = Call>, release: impl FnOnce()) {
    let mut hung = None;
    for (index, call) in calls.into_iter().enumerate() {
        let running = call.spawn();
        if !ends_soon(&running) {
            hung = Some(index);
            break;
        }
    }
    release();
    assert!(hung.is_none(), "call {} did not end within {SOON:?}", hung.unwrap_or(0) + 1);
}

/// The init of a created container is stopped (a debugger, `kill STOP`): it takes no connection
/// any more, and the queue of its socket is short. `state` is asked all the time.
#[test]
fn state_answers_when_the_init_is_stopped() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.create(&bundle);
    let pid = container.state()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.expect("a pid");
    kill_process(pid, Signal::STOP).expect("SIGSTOP");
    all_end_soon((0..12).map(|_| container.call(["state"])), || {
        kill_process(pid, Signal::CONT).expect("SIGCONT");
    });
}

/// The same for `start`, which is refused while the container is paused: each refusal must not use
/// up a place in the queue, nor keep the lock that `delete` needs.
#[test]
fn start_is_refused_any_number_of_times_while_paused() {
    not_on_runc_1_1!("its start opens a fifo and waits");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.create(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    all_end_soon((0..12).map(|_| container.call(["start"])), || {
        let _ = container.call(["resume"]).outcome().ok();
    });
    assert_eq!(container.status(), "created");
}

/// `delete --force` ends whatever a `start` under way is waiting for: here, a `startContainer` hook
/// of the image that never ends.
#[test]
fn delete_force_does_not_wait_for_a_hook_of_the_image() {
    not_on_peer!("it kills the process, and the hook lives on");
    let runtime = Runtime::new();
    let log = "/tmp/log";
    let bundle = Bundle::new()
        .set("/root/readonly", json!(false))
        .with_dir("/tmp")
        .raw_hook("startContainer", json!({ "path": "/probe", "args": ["probe", "hook-sleep", log, "x"] }))
        .args(["/probe", "sleep"]);
    let container = runtime.create(&bundle);
    let starting = container.call(["start"]).spawn();
    let seen = bundle.rootfs().join("tmp/log");
    eventually("the hook", || if seen.exists() { Ok(()) } else { Err("no file".to_owned()) });
    let mut starting = Some(starting);
    all_end_soon([container.call(["delete", "--force"])], || drop(starting.take()));
}

/// The same where `start` waits for the program's `READY=1` (sd_notify(3)), which never comes.
#[test]
fn delete_force_does_not_wait_for_readiness() {
    not_on_peer!("its start takes no lock");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let socket = runtime.dir().join("manager");
    let container = runtime.create_with(&bundle, |call| call.env("NOTIFY_SOCKET", &socket));
    let mut starting = Some(container.call(["start"]).env("NOTIFY_SOCKET", &socket).spawn());
    container.wait_for_line("ready");
    all_end_soon([container.call(["delete", "--force"])], || drop(starting.take()));
}

/// The name of a socket has 107 bytes at most; an id has more.
#[test]
fn a_long_id_has_a_notify_socket_too() {
    not_on_peer!("it binds by path");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "exit", "0"]);
    let id = format!("{}-{}", unique_name(), "x".repeat(180));
    let _container = runtime.container(&id);
    let socket = runtime.dir().join("manager");
    let call = runtime.call(["run", "--bundle"]).arg(bundle.path()).env("NOTIFY_SOCKET", &socket);
    let _ = call.arg(&id).outcome().ok();
}

/// The runtime of a terminal in the foreground sleeps while nothing happens, also when its own
/// standard input has come to its end: a closed pipe is "ready" for ever.
#[test]
fn the_foreground_does_not_spin_on_a_closed_pipe() {
    not_on_runc_1_1!("its goroutines are not looked into");
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/process/terminal", json!(true)).args(["/probe", "sleep"]);
    let id = unique_name();
    let _container = runtime.container(&id);
    let call = runtime.through_shell(": | { exec \"$0\" \"$@\"; }", ["run", "-b"]).arg(bundle.path()).arg(&id);
    // There has to be a terminal somewhere.
    let (_pty, slave) = Pty::open();
    let shell = call.stderr(&slave).spawn();
    shell.wait_for_line("ready");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.pid())).expect("children");
    let pid = children.split_whitespace().next_back().expect("the runtime").to_owned();
    let ran = || -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
        text.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds on a processor")
    };
    // That nothing happens can only be seen by looking on for a while.
    let before = ran();
    let end = Instant::now() + Duration::from_millis(400);
    while Instant::now() < end {
        tick();
    }
    let spent = Duration::from_nanos(ran() - before);
    let _ = runtime.call(["kill", &id, "KILL"]).outcome();
    assert!(spent < Duration::from_millis(60), "{spent:?} on a processor while nothing happened");
}

// --- hooks -------------------------------------------------------------------------------------------------

fn long_state(kind: &str, hook: Value) -> Bundle {
    // More than a pipe holds; Kubernetes allows 256 KiB of annotations.
    Bundle::new()
        .args(["/probe", "exit", "0"])
        .set("/annotations", json!({ "a": "x".repeat(200_000) }))
        .raw_hook(kind, hook)
}

/// A hook gets the whole state, however long its annotations are.
#[test]
fn a_hook_gets_a_state_longer_than_a_pipe() {
    let runtime = Runtime::new();
    for kind in ["createRuntime", "createContainer"] {
        let log = runtime.dir().join(kind);
        let hook = json!({ "path": probe(), "args": ["probe", "hook", log, "x"] });
        let _ = runtime.run(&long_state(kind, hook)).ok();
        let line: Value = serde_json::from_str(&fs::read_to_string(&log).expect("the hook's file")).expect("JSON");
        let seen = line["state"]["annotations"]["a"].as_str().map(str::len);
        assert_eq!(seen, Some(200_000), "{kind}");
    }
}

/// A hook that does not read its state is killed at its timeout all the same.
#[test]
fn the_timeout_of_a_hook_holds_when_it_reads_nothing() {
    not_on_runc_1_1!("it writes the state before it looks at the clock");
    let runtime = Runtime::new();
    for kind in ["createRuntime", "createContainer"] {
        let hook = json!({ "path": "/bin/sleep", "args": ["sleep", "20"], "timeout": 1 });
        let begin = Instant::now();
        let outcome = runtime.run(&long_state(kind, hook));
        assert!(begin.elapsed() < Duration::from_secs(15), "{kind}: {:?}", begin.elapsed());
        let _ = outcome.refused("timeout");
    }
}

// --- words of the container -----------------------------------------------------------------------------------

/// What an image puts into our messages (here, the interpreter of a script) reaches an
/// administrator's terminal: no control characters, and one line (CWE-150).
#[test]
fn an_image_cannot_speak_to_our_terminal() {
    not_on_peer!("its messages are its own affair");
    let runtime = Runtime::new();
    let evil = "#!/\u{1b}]0;owned\u{7}\u{1b}[2J\rcleat: all is well\n";
    let bundle = Bundle::new().with_file("/evil", evil).with_mode("/evil", 0o755).args(["/evil"]);
    let outcome = runtime.run(&bundle).refused("interpreter").in_one_line();
    let controls: Vec<char> = outcome.stderr.trim_end_matches('\n').chars().filter(|c| c.is_control()).collect();
    assert!(controls.is_empty(), "control characters {controls:?} in {outcome}");
}

/// CVE-2021-41103, CVE-2024-25621: the socket on which a created container waits for `start` is its owner's alone, whatever the
/// umask is.
#[test]
fn nobody_else_may_start_a_container() {
    not_on_peer!("it has a fifo");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let id = unique_name();
    let _container = runtime.container(&id);
    let call = runtime.through_shell("umask 0; exec \"$0\" \"$@\"", ["create", "-b"]).arg(bundle.path()).arg(&id);
    let _ = call.outcome().ok();
    let mode = |path: &Path| fs::metadata(path).expect("the file").permissions().mode() & 0o777;
    let dir = runtime.root().join(&id);
    assert_eq!(mode(&dir.join("start.sock")) & 0o077, 0, "start.sock {:o}", mode(&dir.join("start.sock")));
    assert_eq!(mode(&dir.join("state.json")), 0o600);
    assert_eq!(mode(runtime.root()), 0o700, "the state root is open to others");
}

// --- many of something ------------------------------------------------------------------------------------------

/// More bind mounts in a user namespace than one message can carry descriptors (`SCM_MAX_FD`, 253).
#[test]
fn hundreds_of_bind_mounts_in_a_user_namespace() {
    let runtime = Runtime::new();
    let mut bundle = mapped(Bundle::new()).with_dir("/many");
    let source = bundle.dir().join("source");
    fs::create_dir(&source).expect("a directory");
    for index in 0..300 {
        bundle = bundle.with_dir(&format!("/many/{index}"));
    }
    let bundle = bundle.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.extend((0..300).map(|index| {
            json!({ "destination": format!("/many/{index}"), "type": "bind", "source": source, "options": ["bind"] })
        }));
    });
    let facts = runtime.json(&bundle.args(["/probe", "facts"]));
    let mounts = facts["mounts"].as_array().expect("mounts");
    let many = mounts.iter().filter(|m| m.to_string().contains("/many/")).count();
    assert_eq!(many, 300);
}

/// As many short variables as execve(2) takes: each name once, without comparing all with all. (A
/// configuration that costs the runtime minutes of one processor costs its author nothing.)
#[test]
fn a_hundred_thousand_variables() {
    not_on_runc_1_1!("it is given the time it takes");
    let runtime = Runtime::new();
    let env: Vec<String> = (0..100_000).map(|index| format!("V{index}=")).collect();
    let bundle = Bundle::new().set("/process/env", json!(env)).args(["/probe", "exit", "0"]);
    let _ = runtime.run(&bundle).ok();
}

/// A user namespace in which setgroups(2) is denied (`unshare -r`, an engine without subordinate
/// ids): there the supplementary groups stay as they are, and the container lives.
#[test]
fn a_namespace_without_setgroups_is_no_error() {
    let runtime = Runtime::new();
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let bundle = Bundle::new()
        .namespace(json!({ "type": "user" }))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/resources", json!({}))
        .edit(|spec| {
            // What only a mapped group could own.
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|m| m["type"] != "devpts");
        })
        .args(["/probe", "exit", "0"]);
    let id = unique_name();
    let script = "exec unshare --user --map-root-user --mount \"$0\" --rootless true \"$@\"";
    let _ = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(&id).outcome().ok();
}
