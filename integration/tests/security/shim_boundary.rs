//! The boundary, as far as it is the shim's: what a container gets of the host's, and what it can keep from others.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use containerd_shim_cleat::messages::{Any, CreateRequest, PidResponse, PidsResponse, ProcessRequest};
use integration::shim::{Client, OPTIONS, Reader, Reply, Shim, ShimHost, Streams, fifo, finish, script};
use integration::{Bundle, eventually};

fn both(to: &str) -> Streams {
    Streams { stdout: to.into(), stderr: to.into(), ..Streams::default() }
}

fn uri(file: &Path) -> String {
    format!("file://{}", file.display())
}

/// Takes whatever it has as its streams for its own: opens it again, truncates it, writes to it, makes it setuid.
const TAKE: &str = "exec 3>&1 4>&2 5<&0; echo one; for fd in 3 4 5; do file=/proc/self/fd/$fd; \
    if ! [ -c $file ] && ! [ -p $file ]; then truncate -s 0 $file; echo 'echo owned' >$file; chmod 4755 $file; fi; \
    done 2>/dev/null; echo two; echo three >&2; read line && echo \"read $line\"; sleep 1000";

/// Boundary 2: a container's root truncates its log, writes a program into it, and makes that setuid.
#[test]
fn boundary_2_a_log_is_no_file_of_the_containers() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script(TAKE));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let names = |what: &str| (host.dir().join(format!("{what}.log")), host.dir().join(format!("{what}.in")));
    // By a scheme and by a plain path, of the first process and of another one, without a terminal and with one.
    for (what, plain, terminal) in [("", false, false), ("e", false, false), ("f", true, false), ("t", true, true)] {
        let (log, input) = names(what);
        fs::write(&log, "before\n").expect("write");
        fs::write(&input, "words\n").expect("write");
        let to = if plain { log.display().to_string() } else { uri(&log) };
        let streams = Streams { stdin: input.display().to_string(), terminal, ..both(&to) };
        let pid = match what {
            "" => shim.run(&mut client, &streams),
            exec => shim.exec(&mut client, exec, &["/bin/sh", "-c", TAKE], &streams),
        };
        let expected = "before\none\ntwo\nthree\nread words\n";
        eventually("what it wrote", || {
            let text = fs::read_to_string(&log).expect("the log").replace("\r\n", "\n").replacen("\nwords\n", "\n", 1);
            if text == expected { Ok(()) } else { Err(format!("{what:?}: its own log is {text:?}")) }
        });
        let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o7777;
        assert_eq!((mode(&log), mode(&input)), (0o644, 0o644), "{what:?}: modes were changed");
        assert_eq!(fs::read_to_string(&input).expect("a file"), "words\n", "{what:?}: its input was written to");
        for stream in 0..3 {
            let kind = fs::metadata(format!("/proc/{pid}/fd/{stream}")).expect("a stream").file_type();
            assert!(kind.is_fifo() || kind.is_char_device(), "{what:?}: stream {stream} is {kind:?}");
        }
    }
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// What was written is in the file when the exit is published, in the order in which it was written.
#[test]
fn a_file_has_everything_when_the_end_is_reported() {
    let text = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; seq 1 100000; exit 3";
    let (host, bundle) = (ShimHost::new(), Bundle::new().script(&format!("read go; {text}")));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let expected: String = (0..300).map(|n| format!("out {n}\nerr {n}\n")).collect();
    let expected = expected + &(1..=100_000).map(|n| format!("{n}\n")).collect::<String>();
    let log = |name: &str| host.dir().join("logs/of").join(name);
    let go = fifo(host.dir(), "go");
    shim.run(&mut client, &Streams { stdin: go.clone(), ..both(&uri(&log("init"))) });
    for exec in ["e", "f"] {
        shim.exec(&mut client, exec, &["/bin/sh", "-c", text], &both(&uri(&log(exec))));
        assert_eq!(shim.wait(&mut client, exec), 3);
        assert!(fs::read_to_string(log(exec)).expect("the log") == expected, "{exec}: something is missing");
        assert_eq!(shim.delete(&mut client, exec), 3);
    }
    fs::write(go, "\n").expect("write");
    assert_eq!(shim.wait(&mut client, ""), 3);
    assert!(fs::read_to_string(log("init")).expect("the log") == expected, "something is missing");
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// Two shims that write to one file overwrite nothing, and leave no hole where somebody truncates it.
#[test]
fn who_appends_to_one_file_overwrites_nobody() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo some words; i=$((i+1)); done; exit 3";
    let host = ShimHost::new();
    let bundles = [Bundle::new().script(script), Bundle::new().script(script)];
    let log = host.dir().join("log");
    let shims = [host.serve(bundles[0].path(), "a"), host.serve(bundles[1].path(), "b")];
    let mut clients: Vec<_> = shims.iter().map(Shim::connect).collect();
    for (shim, client) in shims.iter().zip(&mut clients) {
        shim.run(client, &both(&uri(&log)));
    }
    for (shim, client) in shims.iter().zip(&mut clients) {
        assert_eq!(shim.wait(client, ""), 3);
    }
    assert_eq!(fs::metadata(&log).expect("the log").len(), 2 * 3000 * 11, "lines were overwritten");
    for (shim, client) in shims.iter().zip(&mut clients) {
        shim.end(client);
    }
    let bundle = Bundle::new().script("echo one; read go; echo two; sleep 1000");
    let shim = host.serve(bundle.path(), "c");
    let mut client = shim.connect();
    let go = fifo(host.dir(), "go");
    shim.run(&mut client, &Streams { stdin: go.clone(), ..both(&uri(&log)) });
    eventually("a line", || {
        let text = fs::read_to_string(&log).expect("the log");
        if text.ends_with("one\n") { Ok(()) } else { Err(text) }
    });
    File::options().write(true).truncate(true).open(&log).expect("the log");
    fs::write(go, "\n").expect("write");
    eventually("another line", || {
        let text = fs::read_to_string(&log).expect("the log");
        if text == "two\n" { Ok(()) } else { Err(format!("{text:?}")) }
    });
    shim.end(&mut client);
    host.nothing_is_left(&[&bundles[0], &bundles[1], &bundle]);
}

/// A log that takes no more, since the disk is full or it is as long as it may be, ends neither side.
#[test]
fn a_log_that_takes_no_more_ends_nobody() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("echo one; read go; seq 1 100000 && exit 3"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let (log, go) = (host.dir().join("log"), fifo(host.dir(), "go"));
    shim.run(&mut client, &Streams { stdin: go.clone(), ..both(&uri(&log)) });
    let server = i32::try_from(shim.pid(&mut client)).ok().and_then(rustix::process::Pid::from_raw);
    let limit = rustix::process::Rlimit { current: Some(10_000), maximum: Some(10_000) };
    rustix::process::prlimit(server, rustix::process::Resource::Fsize, limit).expect("prlimit");
    fs::write(go, "\n").expect("write");
    assert_eq!(shim.wait(&mut client, ""), 3, "who writes must not notice");
    assert_eq!(fs::metadata(&log).expect("the log").len(), 10_000);
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// Children that keep a log keep nobody waiting for ever.
#[test]
fn children_that_keep_a_log_do_not_keep_who_waits() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let log = host.dir().join("log");
    shim.exec(&mut client, "e", &["/bin/sh", "-c", "echo two; sleep 900 & exit 5"], &both(&uri(&log)));
    assert_eq!(shim.wait(&mut client, "e"), 5);
    assert_eq!(fs::read_to_string(&log).expect("the log"), "two\n");
    assert_eq!(shim.delete(&mut client, "e"), 5);
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// Runs a program without the capabilities that read every process: the second one since Linux 6.15 (and the
/// third, which is also taken for that).
fn without_ptrace(command: &Command) -> Command {
    let mut tame = Command::new("setpriv");
    let less = "-sys_ptrace,-perfmon,-sys_admin";
    tame.args(["--bounding-set", less, "--inh-caps", less, "--"]);
    tame.arg(command.get_program()).args(command.get_args());
    tame.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        tame.current_dir(dir);
    }
    tame
}

/// Boundary: another process of the shim's user reads what it has open and in its memory.
///
/// Without `CAP_SYS_PTRACE`, as below an engine in a container; with it everybody can be read.
#[test]
fn boundary_a_shims_descriptors_and_memory_are_its_own() {
    let (host, bundle) = (ShimHost::new(), Bundle::new());
    let mut start = host.command(bundle.path(), "a");
    start.arg("start");
    let mut start = without_ptrace(&start);
    start.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, _, err) = finish(start, &host.bootstrap("a"));
    assert_eq!(code, 0, "{err}");
    let server = host.servers()[0];
    let look = format!(
        "cd /proc/{server} && for file in environ auxv maps mem; do if (: <$file); then echo open: $file; fi; done; \
         for fd in 0 1 2 3; do readlink fd/$fd; done; [ -r cmdline ] && echo there"
    );
    let mut same = Command::new("sh");
    same.args(["-c", &look]);
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "sh", "-c", &look]);
    for command in [without_ptrace(&same), inside] {
        let mut command = command;
        let output = command.stderr(Stdio::null()).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "there\n", "{command:?} reads the shim");
    }
    host.kill_servers();
    let _ = host.delete(bundle.path(), "a");
}

/// Has `cleat` go through a script, which gets its path and the arguments.
fn through(host: &ShimHost, shim: &Shim<'_>, script: String, streams: &Streams) -> CreateRequest {
    let mut options = host.options();
    options.binary_name = script;
    CreateRequest { options: Some(Any::of(OPTIONS, &options)), ..shim.create_request(streams) }
}

/// A script that does as `cleat`; `delete` and `ps` wait for a word each.
fn slow_runtime(host: &ShimHost) -> (String, [String; 2]) {
    let [delete, ps] = ["delete", "ps"].map(|word| fifo(host.dir(), word));
    let text = format!(
        "case \" $* \" in *' delete '*) read go <{delete};; *' ps '*) read go <{ps};; esac\nexec {} \"$@\"\n",
        host.options().binary_name
    );
    (script(host.dir(), "slow", &text), [delete, ps])
}

/// A thousand cgroups, each in the one before, as a container makes them that may write its own.
fn nest(cgroup: &Path) {
    for limit in ["cgroup.max.depth", "cgroup.max.descendants"] {
        fs::write(cgroup.join(limit), "max").expect("a limit");
    }
    let at = cgroup.to_owned();
    let made = Command::new("sh")
        .args(["-c", "i=0; while [ $i -lt 1000 ]; do mkdir c && cd -P c || exit 1; i=$((i+1)); done"])
        .current_dir(at)
        .status();
    assert!(made.expect("sh(1)").success(), "cgroups could not be made");
}

/// Boundary 9: a container with a thousand cgroups is deleted, or its processes are asked for, and the shim's only
/// thread walks through them while others wait.
#[test]
fn boundary_9_cgroups_without_number_keep_nobody_waiting() {
    let host = ShimHost::new();
    let pod = "/annotations/io.kubernetes.cri.sandbox-id";
    let bundles = [0, 1].map(|_| Bundle::new().args(["/probe", "sleep"]).set(pod, "pod".into()));
    let (slow, [delete, ps]) = slow_runtime(&host);
    let [vast, other] = [host.serve(bundles[0].path(), "vast"), host.serve(bundles[1].path(), "other")];
    let (mut client, mut asks) = (vast.connect(), other.connect());
    let reply: Reply<PidResponse> = client.call("Create", &through(&host, &vast, slow, &Streams::default()));
    let pid = reply.expect("Create").pid;
    client.call::<PidResponse>("Start", &vast.process("")).expect("Start");
    other.run(&mut asks, &Streams::default());
    nest(&bundles[0].cgroup());
    let mut goes_on = |client: &mut Client, call: u32, exec: &str| {
        assert!(other.state(&mut asks, "").1 > 0);
        other.exec(&mut asks, exec, &["/probe", "exit", "4"], &Streams::default());
        assert_eq!(other.wait(&mut asks, exec), 4);
        assert!(!client.is_answered(call, Duration::ZERO), "the shim itself walked through a thousand cgroups");
    };
    let pids = client.ask("Pids", &ProcessRequest { id: "vast".into(), exec_id: String::new() });
    goes_on(&mut client, pids, "e");
    fs::write(ps, "go\n").expect("write");
    let answer = client.answer(pids).expect("Pids");
    let answer: PidsResponse = prost::Message::decode(&*answer).expect("a PidsResponse");
    assert_eq!(answer.processes.iter().map(|process| process.pid).collect::<Vec<_>>(), [pid]);
    vast.kill(&mut client, "", 9, true).expect("Kill");
    assert_eq!(vast.wait(&mut client, ""), 137);
    let deleted = client.ask("Delete", &vast.process(""));
    goes_on(&mut client, deleted, "f");
    fs::write(delete, "go\n").expect("write");
    client.answer(deleted).expect("Delete");
    assert!(!bundles[0].cgroup().exists());
    other.end(&mut asks);
    host.nothing_is_left(&[&bundles[0], &bundles[1]]);
}

/// Sends a descriptor as `cleat` sends a terminal.
fn send(to: &UnixStream, file: &File) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let fds = [file.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let name = [std::io::IoSlice::new(b"/dev/ptmx")];
    sendmsg(to, &name, &mut control, SendFlags::empty()).expect("sendmsg");
}

/// Boundary 14: what comes instead of a terminal's master is something else that the shim would write to.
#[test]
fn boundary_14_a_console_is_a_terminals_master() {
    let bundle = Bundle::new().args(["/probe", "sleep"]).set("/process/terminal", true.into());
    let host = ShimHost::new();
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    // The real terminal goes elsewhere.
    let (socket, go) = (host.dir().join("console"), fifo(host.dir(), "go"));
    let elsewhere = UnixListener::bind(&socket).expect("a socket");
    let text = format!(
        "case \" $* \" in *' create '*) read go <{go};; esac\nfor word; do shift\n\
         [ \"$last\" = --console-socket ] && word={}\nset -- \"$@\" \"$word\"; last=$word\ndone\nexec {} \"$@\"\n",
        socket.display(),
        host.options().binary_name
    );
    let (out, victim) = (fifo(host.dir(), "out"), fifo(host.dir(), "victim"));
    let reader = Reader::of(&out);
    let streams = Streams { stdout: out, terminal: true, ..Streams::default() };
    let runtime = script(host.dir(), "elsewhere", &text);
    let create = client.ask("Create", &through(&host, &shim, runtime, &streams));
    let victim = File::options().read(true).write(true).open(victim).expect("a fifo");
    let console: PathBuf = bundle.path().join(".console");
    // It has its name a moment before anybody listens there.
    let to = eventually("the shim's socket", || UnixStream::connect(&console).map_err(|error| error.to_string()));
    send(&to, &victim);
    fs::write(go, "\n").expect("write");
    let reply = client.answer(create);
    assert!(
        reply.as_ref().is_err_and(|(_, text)| text.contains("no terminal's master")),
        "it was taken for a terminal: {reply:?}"
    );
    drop((reader, elsewhere));
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}

/// What a container, or a process that joins one, does without although it was asked for: containerd's log has it,
/// where nobody reads the runtime's.
#[test]
fn boundary_what_a_process_does_without_is_reported() {
    let host = ShimHost::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let bundle = bundle.set("/process/capabilities/bounding", serde_json::json!(["CAP_ONE"]));
    let log = fifo(bundle.path(), "log");
    // Opened for both, so that it never ends and nobody waits.
    let log = File::options().read(true).write(true).open(log).expect("the log");
    let shim = host.serve(bundle.path(), "warnings");
    let mut client = shim.connect();
    let _ = shim.run(&mut client, &Streams::default());
    let mut request = shim.exec_request("one", &["/probe", "exit", "0"], &Streams::default());
    let spec = request.spec.as_mut().expect("a process");
    let text = String::from_utf8_lossy(&spec.value).replace("CAP_KILL", "CAP_OTHER");
    spec.value = text.into_bytes();
    client.done("Exec", &request).expect("Exec");
    let _: PidResponse = client.call("Start", &shim.process("one")).expect("Start");
    let _ = shim.wait(&mut client, "one");
    shim.end(&mut client);
    rustix::io::ioctl_fionbio(&log, true).expect("FIONBIO");
    let mut text = Vec::new();
    let _ = std::io::Read::read_to_end(&mut &log, &mut text);
    let text = String::from_utf8_lossy(&text);
    for name in ["CAP_ONE", "CAP_OTHER"] {
        let line = text.lines().find(|line| line.contains("level=warning") && line.contains(name));
        assert!(line.is_some_and(|line| line.contains("process.capabilities.")), "nobody is warned of {name}: {text}");
    }
}
