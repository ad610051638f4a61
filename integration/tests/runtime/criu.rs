//! `checkpoint` and `restore` with the real CRIU: in the guest alone, as it changes cgroups of the whole machine.
//!
//! Elsewhere all of it is skipped; the chapter `checkpoint` has a stand-in for CRIU.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, ConsoleSocket, Container, Pty, Runtime, eventually, mount_of, nothing_is_left, require_criu,
    unique_name,
};
use serde_json::json;

fn runtime() -> Runtime {
    Runtime::new().with_env("PATH", require_criu())
}

/// Options of the host's cgroup2: any mode but `ignore` was seen to take them away (criu#3029).
fn cgroup_options() -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = text.lines().find(|line| line.contains(" - cgroup2 ")).expect("a cgroup2");
    line.rsplit(' ').next().expect("options").to_owned()
}

/// A container whose streams are pipes.
fn started<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let container = runtime.create_with(bundle, Call::through_pipes);
    container.start();
    container
}

/// The same, once it has said that it is ready.
fn ready<'r>(runtime: &'r Runtime, bundle: &Bundle) -> Container<'r> {
    let container = started(runtime, bundle);
    container.wait_for_line("ready");
    container
}

/// Another process of a container, which a thread reaps: not reaped, it keeps the pid namespace from ending.
fn exec_detached(runtime: &Runtime, container: &Container<'_>) -> std::thread::JoinHandle<()> {
    let file = runtime.dir().join("helper.pid");
    let options = ["--detach", "--pid-file", file.to_str().expect("a path")];
    let _ = container.exec_call(options, ["/probe", "sleep"]).through_pipes().outcome().ok();
    let pid = fs::read_to_string(file).expect("a pid file").parse().expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    std::thread::spawn(move || {
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    })
}

/// Dumps a container; with `--leave-running` it goes on, else it is gone.
fn dump(container: &Container<'_>, images: &Path, options: &[&str]) {
    let before = cgroup_options();
    let words = ["checkpoint", "--image-path", images.to_str().expect("a path")];
    let _ = container.call(words.iter().chain(options)).outcome().ok();
    assert_eq!(cgroup_options(), before, "options of the host's cgroup2");
    if !options.iter().any(|option| matches!(*option, "--leave-running" | "--pre-dump")) {
        let _ = container.wait();
        let _ = container.call(["state"]).outcome().refused("does not exist");
    }
}

/// Restores it under another id.
fn restored<'r>(runtime: &'r Runtime, bundle: &Bundle, images: &Path, options: &[&str]) -> Container<'r> {
    let before = cgroup_options();
    let outcome = runtime.try_restore(bundle, images, |call| call.through_pipes().args(options));
    assert_eq!(cgroup_options(), before, "options of the host's cgroup2");
    let container = outcome.unwrap_or_else(|outcome| {
        let log = fs::read_to_string(images.join("restore.log")).unwrap_or_default();
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error")).collect();
        panic!("expected success of {outcome}\n{errors:#?}")
    });
    assert_eq!(container.status(), "running");
    container.audit().finds_nothing();
    container
}

fn images(runtime: &Runtime) -> PathBuf {
    runtime.dir().join(format!("images-{}", unique_name()))
}

/// Numbers of whole lines.
fn numbers(text: &str) -> Vec<u64> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
}

fn wait_for_number(container: &Container<'_>, most: u64) {
    eventually(&format!("number {most}"), || {
        let seen = numbers(&container.stdout()).last().copied().unwrap_or(0);
        if seen >= most { Ok(()) } else { Err(format!("{seen}, stderr {:?}", container.stderr())) }
    });
}

/// Fifos of the host as standard streams, which are containerd's way; binds, links, masked paths; another id and cgroup. No
/// line is lost, and none comes twice.
#[test]
fn a_program_goes_on_where_it_was_with_other_streams() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "count"]).with_dir("/real").with_link("/conf", "real").with_dir("/a");
    // Private, as engines have them: CRIU gives a slave of the host's mount back only where its source is a mount itself.
    let source = bundle.dir().join("source");
    fs::create_dir_all(source.join("inner")).expect("a directory");
    fs::write(source.join("file"), "the host's").expect("a file");
    let bundle = bundle
        .bind(&source, "/conf", &["bind", "ro", "rprivate"])
        .bind(&source, "/a", &["rbind", "rprivate"])
        .bind(&source.join("inner"), "/a/inner", &["bind", "nosuid", "rprivate"]);
    let first = runtime.create_with(&bundle, Call::through_fifos);
    first.start();
    // Its parent is outside: CRIU 3.17 does not find it among the first one's descendants. It must not be in the way.
    let helper = exec_detached(&runtime, &first);
    wait_for_number(&first, 3);
    let images = images(&runtime);
    dump(&first, &images, &[]);
    assert!(helper.join().is_ok());
    let before = numbers(&first.stdout());
    let twin = Bundle::twin_of(&bundle);
    let second = restored(&runtime, &twin, &images, &[]);
    let last = *before.last().expect("a number");
    wait_for_number(&second, last + 3);
    let all: Vec<u64> = before.into_iter().chain(numbers(&second.stdout())).collect();
    let wanted: Vec<u64> = (1..).take(all.len()).collect();
    assert_eq!(all, wanted);
    let facts = second.exec(["/probe", "facts"]).json();
    assert_eq!(mount_of(&facts, "/real")["target"], "/real");
    assert_eq!(second.exec(["/probe", "read", "/conf/file"]).json()["text"], "the host's");
    second.kill_and_delete();
    nothing_is_left(&runtime);
    assert!(!twin.cgroup().exists() && !bundle.cgroup().exists());
}

/// Pipes: the ends of the restoring command take their place.
#[test]
fn pipes_are_those_of_the_restore() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "cat"]);
    let open = || rustix::pipe::pipe().expect("a pipe");
    let (old_in, old_out) = (open(), open());
    let first = runtime.create_with(&bundle, |call| call.through_pipes().stdin_of(&old_in.0).stdout_to(&old_out.1));
    first.start();
    let echo = |input: &std::os::fd::OwnedFd, output: &std::os::fd::OwnedFd, text: &str| {
        rustix::io::write(input, text.as_bytes()).expect("a write");
        let mut bytes = [0; 64];
        let length = rustix::io::read(output, &mut bytes).expect("a read");
        assert_eq!(&bytes[..length], text.as_bytes());
    };
    echo(&old_in.1, &old_out.0, "ping\n");
    let images = images(&runtime);
    dump(&first, &images, &[]);
    let (new_in, new_out) = (open(), open());
    let twin = Bundle::twin_of(&bundle);
    let second =
        runtime.try_restore(&twin, &images, |call| call.through_pipes().stdin_of(&new_in.0).stdout_to(&new_out.1));
    let second = second.unwrap_or_else(|outcome| panic!("expected success of {outcome}"));
    echo(&new_in.1, &new_out.0, "pong\n");
    drop(new_in);
    assert_eq!(second.wait(), 0, "the end of its input is the end of it");
}

/// Threads, a filter, limits, capabilities; dumped twice, once while it goes on, and restored twice at once.
#[test]
fn a_program_of_many_threads_is_restored_twice_at_once() {
    let runtime = runtime();
    let filter =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }] });
    let bundle = Bundle::new()
        .args(["/probe", "threads", "8"])
        .set("/linux/seccomp", filter)
        .set("/linux/resources/memory", json!({ "limit": 64 << 20 }))
        .set("/linux/resources/pids", json!({ "limit": 40 }));
    let first = ready(&runtime, &bundle);
    first.kill("USR1");
    first.wait_for_line("8 threads, turn 1");
    let images = images(&runtime);
    dump(&first, &images, &["--leave-running"]);
    assert_eq!(first.status(), "running");
    first.kill("USR1");
    first.wait_for_line("8 threads, turn 2");
    let twins = [Bundle::twin_of(&bundle), Bundle::twin_of(&bundle)];
    let containers = twins.each_ref().map(|twin| restored(&runtime, twin, &images, &[]));
    for (container, twin) in containers.iter().zip(&twins) {
        container.kill("USR1");
        // As when it was dumped.
        container.wait_for_line("8 threads, turn 2");
        let read = |name: &str| fs::read_to_string(twin.cgroup().join(name)).expect("a limit").trim().to_owned();
        assert_eq!((read("memory.max"), read("pids.max")), ((64 << 20).to_string(), "40".to_owned()));
        let status = fs::read_to_string(container.proc("status")).expect("status");
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    }
    containers.iter().for_each(Container::kill_and_delete);
    first.kill_and_delete();
    nothing_is_left(&runtime);
}

/// Each pre-dump has what changed since the one before.
#[test]
fn a_chain_of_pre_dumps_is_restored() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "count"]);
    let first = started(&runtime, &bundle);
    wait_for_number(&first, 1);
    let dir = images(&runtime);
    fs::create_dir(&dir).expect("a directory");
    dump(&first, &dir.join("one"), &["--pre-dump"]);
    dump(&first, &dir.join("two"), &["--pre-dump", "--parent-path", "../one"]);
    assert_eq!(first.status(), "running");
    dump(&first, &dir.join("three"), &["--parent-path", "../two"]);
    assert_eq!(fs::read_link(dir.join("three/parent")).expect("a link"), Path::new("../two"));
    let last = *numbers(&first.stdout()).last().expect("a number");
    let second = restored(&runtime, &Bundle::twin_of(&bundle), &dir.join("three"), &[]);
    wait_for_number(&second, last + 1);
    assert_eq!(numbers(&second.stdout())[0], last + 1);
    second.kill_and_delete();
}

/// Its master is sent as at a create.
#[test]
fn a_terminal_is_restored() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "cat"]).set("/process/terminal", json!(true));
    let started = |socket: &ConsoleSocket| socket.path().to_str().expect("a path").to_owned();
    let socket = ConsoleSocket::listen(runtime.dir());
    let first = runtime.create_with(&bundle, |call| call.args(["--console-socket", &started(&socket)]));
    first.start();
    let mut pty = Pty::of(socket.receive().0);
    pty.write("one\n");
    let _ = pty.wait_for("one\r\none");
    let images = images(&runtime);
    dump(&first, &images, &[]);
    drop(pty);
    let socket = ConsoleSocket::listen(runtime.dir());
    let twin = Bundle::twin_of(&bundle);
    let second = restored(&runtime, &twin, &images, &["--console-socket", &started(&socket)]);
    let mut pty = Pty::of(socket.receive().0);
    pty.write("two\n");
    let _ = pty.wait_for("two\r\ntwo");
    second.kill_and_delete();
}

/// An open connection, both of whose ends are in the container.
#[test]
fn an_established_connection_is_restored() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "tcp-pair"]);
    let first = ready(&runtime, &bundle);
    first.kill("USR1");
    first.wait_for_line("sent and received 1");
    let images = images(&runtime);
    let refusal = first.call(["checkpoint", "--image-path", images.to_str().expect("a path")]).outcome();
    assert!(!refusal.succeeded() && refusal.stderr.contains("criu failed"), "{refusal}");
    assert_eq!(first.status(), "running", "after a dump that failed");
    dump(&first, &images, &["--tcp-established", "--network-lock", "nftables"]);
    let options = ["--tcp-established", "--network-lock", "nftables"];
    let second = restored(&runtime, &Bundle::twin_of(&bundle), &images, &options);
    second.kill("USR1");
    second.wait_for_line("sent and received 2");
    second.kill_and_delete();
}

/// Ids of a user namespace, and devices that are the host's.
#[test]
fn a_container_in_a_user_namespace_is_restored() {
    let runtime = runtime();
    let bundle = Bundle::new().mapped().args(["/probe", "count"]);
    integration::give(&bundle.rootfs(), 100_000);
    let first = started(&runtime, &bundle);
    wait_for_number(&first, 1);
    let images = images(&runtime);
    dump(&first, &images, &[]);
    let last = *numbers(&first.stdout()).last().expect("a number");
    let second = restored(&runtime, &Bundle::twin_of(&bundle), &images, &[]);
    wait_for_number(&second, last + 1);
    let map = fs::read_to_string(second.proc("uid_map")).expect("uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    second.kill_and_delete();
}

/// What config.json does not ask for is not restored: here a filter, which was taken out of the images' own config.
#[test]
fn images_with_more_than_config_json_asks_for_are_refused() {
    let runtime = runtime();
    let bundle = Bundle::new().args(["/probe", "sleep"]).capabilities(&["CAP_KILL", "CAP_SYS_ADMIN"]);
    let first = ready(&runtime, &bundle);
    let images = images(&runtime);
    dump(&first, &images, &[]);
    let twin = Bundle::twin_of(&bundle).capabilities(&["CAP_KILL"]);
    let outcome = match runtime.try_restore(&twin, &images, |call| call) {
        Ok(container) => panic!("restored with more than it may: {}", container.status()),
        Err(outcome) => outcome.refused("process.capabilities"),
    };
    assert!(outcome.stderr.contains("CAP_SYS_ADMIN"), "{outcome}");
    nothing_is_left(&runtime);
    assert!(!twin.cgroup().exists());
}
