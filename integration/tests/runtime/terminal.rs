//! config.md, "Process", terminal and consoleSize; config-linux.md, "/dev/console".

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, ConsoleSocket, Pty, Runtime, eventually, not_on_peer, skip};
use rustix::process::Signal;
use serde_json::{Value, json};

fn with_terminal(args: &[&str]) -> Bundle {
    Bundle::new().args(args.iter().copied()).set("/process/terminal", json!(true))
}

/// The probe's JSON, out of all that a terminal shows.
fn json_of(text: &str) -> Value {
    let start = text.find('{').unwrap_or_else(|| panic!("no facts in {text:?}"));
    serde_json::from_str(text.get(start..).unwrap_or_default().trim_end()).unwrap_or_else(|e| panic!("{e} in {text:?}"))
}

/// cli-contract A.5: the master's side comes over the socket, alone.
#[test]
fn create_sends_the_terminal_over_the_console_socket() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = with_terminal(&["/probe", "facts"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let (master, name) = socket.receive();
    assert!(name.len() < 4096 && !name.is_empty(), "name {name:?}");
    let mut pty = Pty::of(master);
    container.start();
    let _ = container.wait();
    let facts = json_of(pty.to_end());
    for fd in 0..3 {
        assert_eq!(facts["tty"][fd]["terminal"], true, "descriptor {fd}");
    }
}

/// All three descriptors are the container's own /dev/pts/0, which is its /dev/console too.
#[test]
fn the_terminal_is_the_containers_own() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = with_terminal(&["/probe", "facts"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = container.wait();
    let facts = json_of(pty.to_end());
    for fd in 0..3 {
        assert_eq!(facts["tty"][fd]["name"], "/dev/pts/0", "descriptor {fd}");
    }
    let console = &facts["dev"]["console"];
    assert_eq!((&console["type"], &console["major"], &console["minor"]), (&json!("char"), &json!(136), &json!(0)));
    let fds: Vec<_> = facts["fds"].as_array().expect("descriptors").iter().map(|d| d["fd"].clone()).collect();
    assert_eq!(fds, [0, 1, 2], "{}", facts["fds"]);
    assert_eq!((&facts["sid"], &facts["pgid"]), (&json!(1), &json!(1)));
}

/// config.md § Process, consoleSize.
#[test]
fn console_size_is_the_terminals_size() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = with_terminal(&["/probe", "facts"]).set("/process/consoleSize", json!({ "height": 33, "width": 77 }));
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    assert_eq!(pty.size(), (33, 77));
    container.start();
    let _ = container.wait();
    let facts = json_of(pty.to_end());
    assert_eq!((&facts["tty"][0]["rows"], &facts["tty"][0]["columns"]), (&json!(33), &json!(77)));
}

/// It is the controlling terminal: what is typed arrives, ^C is SIGINT, a new size SIGWINCH.
#[test]
fn the_terminal_controls_the_program() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = with_terminal(&["/probe", "signal-report"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = pty.wait_for("ready");
    pty.write("\u{3}");
    let _ = pty.wait_for("SIGINT 2");
    pty.resize(12, 34);
    let _ = pty.wait_for("SIGWINCH 28");
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
}

/// Bytes go both ways.
#[test]
fn what_is_typed_arrives() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = with_terminal(&["/probe", "cat"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    pty.write("some text\n");
    // Once as the terminal's echo, once from cat.
    let _ = pty.wait_for("some text\r\nsome text\r\n");
    pty.write("\u{4}");
    assert_eq!(container.wait(), 0);
}

/// The terminal belongs to the container's user.
#[test]
fn the_terminal_belongs_to_the_user() {
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle =
        with_terminal(&["/probe", "stat", "/dev/pts/0"]).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let container = runtime.create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = container.wait();
    let stat = json_of(pty.to_end());
    assert_eq!((&stat["uid"], &stat["mode"]), (&json!(1000), &json!("0620")), "{stat}");
}

/// A terminal and a socket go together for `create`: one without the other is refused.
#[test]
fn create_wants_a_socket_for_a_terminal_and_none_without() {
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "facts"]);
    let _ = runtime.try_create(&bundle).expect_err("create succeeds without a socket").exits(1).in_one_line();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = Bundle::new();
    let outcome = runtime.try_create_with(&bundle, |call| call.arg("--console-socket").arg(socket.path()));
    let _ = outcome.expect_err("create succeeds with a socket and no terminal").exits(1).in_one_line();
}

/// A socket that nobody listens on is an error, and nothing is left.
#[test]
fn a_dead_console_socket_is_refused() {
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "facts"]);
    let outcome = runtime.try_create_with(&bundle, |call| call.arg("--console-socket").arg("/no/such.sock"));
    let outcome = outcome.expect_err("create succeeds").exits(1).in_one_line();
    assert!(outcome.stderr.contains("/no/such.sock"), "{outcome}");
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
}

/// `run` in the foreground copies between the caller's terminal and the container's.
#[test]
fn run_copies_between_the_terminals() {
    let runtime = Runtime::new();
    let (mut pty, slave) = Pty::open();
    pty.resize(20, 60);
    let bundle = with_terminal(&["/probe", "facts"]);
    let (_container, running) = runtime.spawn_run(&bundle, |call| call.terminal(&slave));
    drop(slave);
    let text = pty.to_end().to_owned();
    let _ = running.outcome().exits(0);
    let facts = json_of(&text);
    assert_eq!(facts["tty"][0]["name"], "/dev/pts/0");
    assert_eq!((&facts["tty"][1]["rows"], &facts["tty"][1]["columns"]), (&json!(20), &json!(60)));
}

/// In the foreground what is typed arrives, and ^C is the container's SIGINT, not the runtime's.
#[test]
fn run_passes_on_what_is_typed() {
    let runtime = Runtime::new();
    let (mut pty, slave) = Pty::open();
    let bundle = with_terminal(&["/probe", "signal-report"]);
    let (container, running) = runtime.spawn_run(&bundle, |call| call.terminal(&slave));
    let _ = pty.wait_for("ready");
    pty.write("\u{3}");
    let _ = pty.wait_for("SIGINT 2");
    container.kill("TERM");
    let _ = running.outcome().exits(0);
    drop(slave);
}

/// A new size of the caller's terminal becomes the container's.
#[test]
fn run_passes_on_a_new_size() {
    let runtime = Runtime::new();
    let (mut pty, slave) = Pty::open();
    pty.resize(10, 20);
    let bundle = with_terminal(&["/probe", "winsize"]);
    let (container, running) = runtime.spawn_run(&bundle, |call| call.terminal(&slave));
    let _ = pty.wait_for("ready");
    pty.resize(44, 55);
    // The kernel tells the terminal's foreground group; here the runtime leads none.
    running.signal(Signal::WINCH);
    let _ = pty.wait_for("44x55");
    container.kill("TERM");
    let _ = running.outcome().exits(0);
    drop(slave);
}

/// The caller's terminal is as before when the foreground is over.
#[test]
fn run_restores_the_callers_terminal() {
    let runtime = Runtime::new();
    let (mut pty, slave) = Pty::open();
    let modes = || {
        let modes = rustix::termios::tcgetattr(&slave).expect("tcgetattr");
        (modes.input_modes, modes.output_modes, modes.local_modes, modes.control_modes)
    };
    let before = modes();
    let bundle = with_terminal(&["/probe", "sleep"]);
    let (container, running) = runtime.spawn_run(&bundle, |call| call.terminal(&slave));
    let _ = pty.wait_for("ready");
    assert_ne!(modes(), before, "the caller's terminal is raw meanwhile");
    container.kill("TERM");
    let _ = running.outcome().exits(0);
    assert_eq!(modes(), before, "and as before at the end");
}

/// `exec --tty` in the foreground.
#[test]
fn exec_tty_gives_a_terminal() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    for flag in ["-t", "--tty"] {
        let (mut pty, slave) = Pty::open();
        let running = container.exec_call([flag], ["/probe", "facts"]).terminal(&slave).spawn();
        drop(slave);
        let text = pty.to_end().to_owned();
        let _ = running.outcome().exits(0);
        let facts = json_of(&text);
        assert_eq!(facts["tty"][0]["terminal"], true, "{flag}");
        assert_eq!(facts["tty"][0]["name"], "/dev/pts/0", "{flag}");
    }
}

/// `exec --tty --detach --console-socket`, as conmon calls it.
#[test]
fn exec_sends_its_terminal_over_the_console_socket() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let socket = ConsoleSocket::listen(runtime.dir());
    let path = socket.path().to_str().expect("a path");
    let _process = container.exec_detached(["--tty", "--console-socket", path], ["/probe", "facts"]);
    let mut pty = Pty::of(socket.receive().0);
    assert_eq!(json_of(pty.to_end())["tty"][2]["terminal"], true);
}

/// consoleSize of a process that joins: its file's, else the container's.
#[test]
fn console_size_is_that_of_a_joining_process_too() {
    let runtime = Runtime::new();
    let bundle =
        Bundle::new().args(["/probe", "sleep"]).set("/process/consoleSize", json!({ "height": 11, "width": 65_535 }));
    let container = runtime.start_ready(&bundle);
    let size = |options: &[&str], args: &[&str]| {
        let socket = ConsoleSocket::listen(runtime.dir());
        let path = socket.path().to_str().expect("a path");
        let options = [options, &["--console-socket", path]].concat();
        let _process = container.exec_detached(options, args);
        let mut pty = Pty::of(socket.receive().0);
        let tty = json_of(pty.to_end())["tty"][0].clone();
        (tty["rows"].clone(), tty["columns"].clone())
    };
    assert_eq!(size(&["--tty"], &["/probe", "facts"]), (json!(11), json!(65_535)));
    let file = runtime.dir().join("process.json");
    let process = json!({ "terminal": true, "consoleSize": { "height": 65_535, "width": 22 }, "cwd": "/",
        "user": { "uid": 0, "gid": 0 }, "args": ["/probe", "facts"] });
    fs::write(&file, process.to_string()).expect("a process file");
    assert_eq!(size(&["--process", file.to_str().expect("a path")], &[]), (json!(65_535), json!(22)));
}

/// config.md § Process: "Runtimes MUST ignore consoleSize if terminal is false or unset".
#[test]
fn without_a_terminal_the_console_size_is_ignored() {
    let bundle = Bundle::new().set("/process/consoleSize", json!({ "height": 70_000 }));
    let _ = Runtime::new().run(&bundle).ok();
}

/// What a program writes last is not lost.
#[test]
fn the_last_words_on_a_terminal_are_not_lost() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let words = "x".repeat(3000);
    for _ in 0..integration::tries() / 10 {
        let (mut pty, slave) = Pty::open();
        let running = container.exec_call(["--tty"], ["/probe", "print", &words]).terminal(&slave).spawn();
        drop(slave);
        assert!(pty.to_end().contains(&words), "lost: {} of {}", pty.to_end().len(), words.len());
        let _ = running.outcome().exits(0);
    }
}

/// With `--pidfd-socket` the pidfd of the first process comes over a socket of its own.
#[test]
fn create_sends_a_pidfd_over_the_pidfd_socket() {
    if integration::is_peer() && !integration::peer_version().contains("runc version 1.3") {
        skip(format!("not on {}: it has no --pidfd-socket", integration::peer_version()));
    }
    let runtime = Runtime::new();
    let socket = ConsoleSocket::listen(runtime.dir());
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.create_with(&bundle, |call| call.arg("--pidfd-socket").arg(socket.path()));
    let (pidfd, _) = socket.receive();
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd))).expect("fdinfo");
    let pid = info.lines().find_map(|l| l.strip_prefix("Pid:\t")).unwrap_or_default().to_owned();
    assert_eq!(pid, container.pid().to_string(), "{info}");
    drop(pidfd);
    eventually("created", || (container.status() == "created").then_some(()).ok_or_else(|| container.status()));
}

/// The runtime in a session of its own, which has no terminal.
fn alone(runtime: &Runtime, args: &[&str]) -> integration::Call {
    runtime.through_shell("exec setsid -w \"$0\" \"$@\"", args)
}

/// In CI and in cron nobody is there for a program that expects a person: as the peers, a refusal, and nothing is left.
#[test]
fn the_foreground_of_a_terminal_needs_one() {
    not_on_peer!("it has words of its own");
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "cat"]);
    let path = bundle.path().to_str().expect("a path");
    let run = alone(&runtime, &["run", "--bundle", path, &integration::unique_name()]).outcome();
    assert!(run.stderr.contains("/dev/tty"), "{run}");
    let _ = run.exits(1).in_one_line();
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
    let container = runtime.start_ready(&Bundle::new().args(["/probe", "sleep"]));
    let exec = alone(&runtime, &["exec", "--tty", container.id(), "/probe", "cat"]).outcome();
    assert!(exec.stderr.contains("/dev/tty"), "{exec}");
    let _ = exec.exits(255).in_one_line();
}

/// Our input is a file, and no terminal: its end is the end of the program's, when that reads late, too.
#[test]
fn the_end_of_input_is_not_lost() {
    not_on_peer!("it waits for ever");
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "cat"]);
    for text in ["", "a line\n", "no line"] {
        let (mut pty, slave) = Pty::open();
        let (_container, running) = runtime.spawn_run(&bundle, |call| call.stdin(text).stderr(&slave));
        let outcome = running.outcome().exits(0);
        assert!(outcome.stdout.contains(text), "{text:?} in {outcome}");
        drop(slave);
        assert_eq!(pty.to_end(), "");
    }
}

/// Who makes the terminal raw does not see the character for the end: it gets a hang-up.
#[test]
fn the_end_of_input_reaches_who_reads_a_raw_terminal() {
    not_on_peer!("it waits for ever");
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "read-raw"]);
    let (_pty, slave) = Pty::open();
    let (_container, running) = runtime.spawn_run(&bundle, |call| call.stdin("text").stderr(&slave));
    let _ = running.outcome().exits(7);
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let exec = container.exec_call(["--tty"], ["/probe", "read-raw"]).stderr(&slave).outcome();
    // It is no first process of a pid namespace, and the hang-up is a signal, too.
    assert!([7, 128 + 1].contains(&exec.code()), "{exec}");
}

/// A program that does not read goes on when our input is at its end.
#[test]
fn the_end_of_input_ends_nobody_who_does_not_read() {
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "signal-report"]);
    let (_pty, slave) = Pty::open();
    let (container, running) = runtime.spawn_run(&bundle, |call| call.stdin("").stderr(&slave));
    eventually("ready", || running.stdout().contains("ready").then_some(()).ok_or(running.stdout()));
    container.kill("USR1");
    eventually("USR1", || running.stdout().contains("USR1").then_some(()).ok_or(running.stdout()));
    container.kill("TERM");
    let outcome = running.outcome().exits(0);
    assert!(!outcome.stdout.contains("SIGHUP"), "{outcome}");
}

/// Whose output nobody takes any more is hung up on, and does not wait for ever.
#[test]
fn a_reader_who_goes_away_ends_a_terminal() {
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "babble"]);
    let path = bundle.path().to_str().expect("a path");
    let (_pty, slave) = Pty::open();
    let args = ["run", "--bundle", path, &integration::unique_name()];
    let _ = runtime.through_shell("\"$0\" \"$@\" | head -c 1", args).stderr(&slave).outcome().ok();
}

/// In a file or a pipe lines end as in one; on our terminal they end as on a terminal.
#[test]
fn lines_end_as_where_they_go() {
    let runtime = Runtime::new();
    let bundle = with_terminal(&["/probe", "print", "a line"]);
    let (mut pty, slave) = Pty::open();
    let (_container, running) = runtime.spawn_run(&bundle, |call| call.stderr(&slave));
    assert_eq!(running.outcome().exits(0).stdout, "a line\n");
    let (_container, running) = runtime.spawn_run(&bundle, |call| call.terminal(&slave));
    let _ = running.outcome().exits(0);
    drop(slave);
    assert_eq!(pty.to_end(), "a line\r\n");
}

/// The address of a socket has 108 bytes; its path may have more.
#[test]
fn a_console_socket_may_have_a_long_path() {
    let runtime = Runtime::new();
    let dir = runtime.dir().join("d".repeat(120));
    fs::create_dir(&dir).expect("a directory");
    let link = runtime.dir().join("short");
    std::os::unix::fs::symlink(&dir, &link).expect("a link");
    let console = ConsoleSocket::listen(&link);
    let pidfd = ConsoleSocket::listen(&link);
    let long = |socket: &ConsoleSocket| dir.join(socket.path().file_name().expect("a name"));
    let container = runtime.create_with(&with_terminal(&["/probe", "sleep"]), |call| {
        call.arg("--console-socket").arg(long(&console)).arg("--pidfd-socket").arg(long(&pidfd))
    });
    assert!(rustix::termios::isatty(console.receive().0), "a terminal's master");
    drop(pidfd.receive());
    container.kill_and_delete();
}
