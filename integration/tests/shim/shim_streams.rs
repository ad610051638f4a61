//! The shim's standard streams: every byte, every end.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use containerd_shim_cleat::messages::{CloseIoRequest, ExecRequest, PidResponse, ResizePtyRequest};
use integration::shim::{Client, Reader, Reply, Shim, ShimHost, Streams, fifo, script};
use integration::{Bundle, eventually, proc};

/// Standard output alone.
fn to(stdout: impl Into<String>) -> Streams {
    Streams { stdout: stdout.into(), ..Streams::default() }
}

fn start(shim: &Shim<'_>, client: &mut Client) {
    let reply: Reply<PidResponse> = client.call("Start", &shim.process(""));
    assert!(reply.is_ok(), "{reply:?}");
}

fn close_stdin(shim: &Shim<'_>, client: &mut Client, exec: &str) {
    let request = CloseIoRequest { id: shim.id().into(), exec_id: exec.into(), stdin: true };
    client.done("CloseIO", &request).expect("CloseIO");
}

/// A fifo's write end, opened once somebody can read it.
fn writer(path: &str) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags"));
    eventually("a reader", || options.open(path).map_err(|error| error.to_string()))
}

/// Two writers, one after the other, then the word that no third will come; what came out of `cat`.
fn speak(shim: &Shim<'_>, client: &mut Client, exec: &str, streams: &Streams) {
    for words in ["some words\n", "more words\n"] {
        // Between the two nobody writes, and that is no end.
        writer(&streams.stdin).write_all(words.as_bytes()).expect("write");
    }
    close_stdin(shim, client, exec);
    assert_eq!(shim.wait(client, exec), 3);
}

const CAT: &str = "cat; echo error >&2; exit 3";

#[test]
fn bytes_come_and_go_through_fifos_and_standard_input_ends() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script(CAT));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let name = |stream: &str| fifo(host.dir(), stream);
    let streams = Streams { stdin: name("in"), stdout: name("out"), stderr: name("err"), terminal: false };
    let (out, err) = (Reader::of(&streams.stdout), Reader::of(&streams.stderr));
    shim.run(&mut client, &streams);
    speak(&shim, &mut client, "", &streams);
    // Nobody has to ask for the end.
    assert_eq!((out.text().as_str(), err.text().as_str()), ("some words\nmore words\n", "error\n"));
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_further_process_has_fifos_of_its_own() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let name = |stream: &str| fifo(host.dir(), stream);
    let streams = Streams { stdin: name("in"), stdout: name("out"), stderr: name("err"), terminal: false };
    let (out, err) = (Reader::of(&streams.stdout), Reader::of(&streams.stderr));
    shim.exec(&mut client, "e", &["/bin/sh", "-c", CAT], &streams);
    speak(&shim, &mut client, "e", &streams);
    assert_eq!((out.text().as_str(), err.text().as_str()), ("some words\nmore words\n", "error\n"));
    assert_eq!(shim.delete(&mut client, "e"), 3);
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_writer_survives_its_reader_and_nothing_is_lost() {
    let script = "i=0; while [ $i -lt 200 ]; do echo line $i || exit 9; i=$((i+1)); done; exit 7";
    let (host, bundle) = (ShimHost::new(), Bundle::new().script(script));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let out = fifo(host.dir(), "out");
    shim.create(&mut client, &to(&out));
    // One that comes, and goes.
    drop(early(&out));
    start(&shim, &mut client);
    assert_eq!(shim.wait(&mut client, ""), 7, "neither SIGPIPE nor EPIPE");
    assert_eq!(Reader::of(&out).text(), (0..200).map(|n| format!("line {n}\n")).collect::<String>());
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// A read end before anybody writes.
fn early(path: &str) -> File {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    OpenOptions::new().read(true).custom_flags(flags).open(path).expect("the fifo")
}

/// containerd opens a fifo at leisure: a program may have ended by then.
#[test]
fn who_comes_late_finds_what_was_written_and_its_end() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let name = |stream: &str| fifo(host.dir(), stream);
    let streams = Streams { stdout: name("out"), stderr: name("err"), ..Streams::default() };
    for (round, word) in ["one", "two"].into_iter().enumerate() {
        let exec = format!("e{round}");
        shim.exec(&mut client, &exec, &["/bin/echo", word], &streams);
        assert_eq!(shim.wait(&mut client, &exec), 0);
        // containerd deletes it when it has read all.
        let (out, err) = (Reader::of(&streams.stdout).text(), Reader::of(&streams.stderr).text());
        assert_eq!((out, err), (format!("{word}\n"), String::new()));
        assert_eq!(shim.delete(&mut client, &exec), 0);
    }
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// containerd 1.6 closes the streams as soon as it hears of the end (and would lose what is in them).
#[test]
fn an_exit_is_published_when_the_reader_has_read() {
    let script = "dd if=/dev/zero bs=10000 count=5; exec dd if=/dev/zero bs=1000 count=1 of=/dev/stderr";
    let (host, bundle) = (ShimHost::new(), Bundle::new().script(script));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let (out, err) = (fifo(host.dir(), "out"), fifo(host.dir(), "err"));
    shim.create(&mut client, &Streams { stderr: err.clone(), ..to(&out) });
    let (mut out, mut err) = (early(&out), early(&err));
    start(&shim, &mut client);
    let wait = client.ask("Wait", &shim.process(""));
    let exits = bundle.path().join("exits");
    eventually("the end, as it is written down", || match fs::read_dir(&exits).map(Iterator::count) {
        Ok(1..) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let moment = Duration::from_millis(300);
    assert!(!client.is_answered(wait, moment), "published while there is something to read");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut out, &mut text).expect("what was written");
    assert_eq!(text.len(), 50_000);
    assert!(!client.is_answered(wait, moment), "published while there is something to read on standard error");
    // A reader that goes reads no more.
    drop(out);
    text.clear();
    std::io::Read::read_to_string(&mut err, &mut text).expect("what was written");
    assert!(text.contains("50000 bytes"), "{text:?}");
    assert!(client.answer(wait).is_ok());
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// What a terminal shows is read, too; and who does not read is not waited for, nor who has gone.
#[test]
fn an_end_does_not_wait_for_who_does_not_read() {
    let terminal = Bundle::new().with_shell().set("/process/terminal", true.into());
    let bundles = [Bundle::new().script("echo out; exit 6"), terminal.args(["/bin/sh", "-c", "echo out; exit 6"])];
    for (bundle, is_terminal) in bundles.into_iter().zip([false, true]) {
        let host = ShimHost::new();
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        let out = fifo(host.dir(), "out");
        let reader = early(&out);
        shim.create(&mut client, &Streams { terminal: is_terminal, ..to(&out) });
        start(&shim, &mut client);
        assert_eq!(shim.wait(&mut client, ""), 6);
        drop(reader);
        // It is there for the next one.
        assert_eq!(std::io::read_to_string(early(&out)).expect("what waited").trim_end(), "out");
        shim.end(&mut client);
        host.nothing_is_left(&[&bundle]);
    }
}

/// A pod's further container costs its server the connection that containerd makes for it, and nothing else.
#[test]
fn what_is_held_for_many_containers_takes_no_descriptors() {
    let of_pod =
        |script: &str| Bundle::new().script(script).set("/annotations/io.kubernetes.cri.sandbox-id", "pod".into());
    let host = ShimHost::new();
    let bundles: Vec<_> = (0..8).map(|_| of_pod("echo out; cat; exit 3")).collect();
    let mut running = Vec::new();
    let mut counts = Vec::new();
    for (number, bundle) in bundles.iter().enumerate() {
        let shim = host.serve(bundle.path(), &format!("c{number}"));
        let mut client = shim.connect();
        let name = |stream: &str| fifo(host.dir(), &format!("{stream}{number}"));
        let streams = Streams { stdin: name("in"), stdout: name("out"), stderr: name("err"), terminal: false };
        let (out, err) = (Reader::of(&streams.stdout), Reader::of(&streams.stderr));
        shim.run(&mut client, &streams);
        counts.push(proc::fd_count(shim.pid(&mut client)));
        running.push((shim, client, streams, out, err));
    }
    let (shim, client, ..) = &mut running[0];
    let pid = shim.pid(client);
    // The second one brings the place where all are kept.
    assert!(counts[7] <= counts[1] + 6, "{counts:?}");
    // It has no descriptor to spare, and is to close one of those.
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let maximum = limit.maximum;
    limit.current = u64::try_from(counts[7]).ok();
    rustix::process::prlimit(process, rustix::process::Resource::Nofile, limit).expect("prlimit");
    for at in [5, 0, 7] {
        let (shim, client, streams, ..) = &mut running[at];
        speak_to(shim, client, streams);
    }
    let limit = rustix::process::Rlimit { current: maximum, maximum };
    rustix::process::prlimit(process, rustix::process::Resource::Nofile, limit).expect("prlimit");
    for (shim, mut client, streams, out, err) in running {
        if !matches!(shim.id(), "c5" | "c0" | "c7") {
            speak_to(&shim, &mut client, &streams);
        }
        assert_eq!((out.text().as_str(), err.text().as_str()), ("out\nsome words\n", ""));
        assert_eq!(shim.delete(&mut client, ""), 3);
        client.done("Shutdown", &shim.process("")).expect("Shutdown");
    }
    host.nothing_is_left(&bundles.iter().collect::<Vec<_>>());
}

/// Nor do the pipes of logging programs, which are held, too.
#[test]
fn what_is_held_for_logging_programs_takes_no_descriptors() {
    let host = ShimHost::new();
    let uri =
        format!("binary://{}", script(host.dir(), "log", "exec 5>&-\ncat <&3 >/dev/null & cat <&4 >/dev/null\nwait\n"));
    let bundles: Vec<_> = (0..4)
        .map(|_| {
            let pod = "/annotations/io.kubernetes.cri.sandbox-id";
            Bundle::new().args(["/probe", "sleep"]).set(pod, "pod".into())
        })
        .collect();
    let (mut running, mut counts) = (Vec::new(), Vec::new());
    for (number, bundle) in bundles.iter().enumerate() {
        let shim = host.serve(bundle.path(), &format!("c{number}"));
        let mut client = shim.connect();
        shim.run(&mut client, &Streams { stderr: uri.clone(), ..to(&uri) });
        counts.push(proc::fd_count(shim.pid(&mut client)));
        running.push((shim, client));
    }
    assert!(counts[3] <= counts[1] + 2, "{counts:?}");
    for (shim, mut client) in running {
        shim.end(&mut client);
    }
    host.nothing_is_left(&bundles.iter().collect::<Vec<_>>());
}

/// Some words, then the word that there will be no more.
fn speak_to(shim: &Shim<'_>, client: &mut Client, streams: &Streams) {
    writer(&streams.stdin).write_all(b"some words\n").expect("write");
    close_stdin(shim, client, "");
    assert_eq!(shim.wait(client, ""), 3);
}

#[test]
fn a_file_is_appended_to() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("echo out; echo err >&2; sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let log = host.dir().join("logs/here/log");
    fs::create_dir_all(log.parent().expect("a parent")).expect("mkdir");
    fs::write(&log, "before\n").expect("write");
    let uri = format!("file://{}", log.display());
    shim.run(&mut client, &Streams { stderr: uri.clone(), ..to(&uri) });
    let expect = |text: &str| {
        eventually("the log", || {
            let log = fs::read_to_string(&log).expect("the log");
            if log == text { Ok(()) } else { Err(log) }
        });
    };
    expect("before\nout\nerr\n");
    shim.exec(&mut client, "e", &["/bin/echo", "exec"], &to(&uri));
    assert_eq!(shim.wait(&mut client, "e"), 0);
    expect("before\nout\nerr\nexec\n");
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_logging_program_has_everything_before_the_task_is_deleted() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("echo out; echo err >&2; sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let dir = host.dir().display().to_string();
    let text = format!(
        "printf '%s|' \"$CONTAINER_ID\" \"$CONTAINER_NAMESPACE\" \"$@\" >{dir}/words.$CONTAINER_ID.$2\nexec 5>&-\n\
         cat <&3 >{dir}/out.$2 & cat <&4 >{dir}/err.$2\nwait\necho end >{dir}/end.$2\n"
    );
    let uri = |name: &str| format!("binary://{}?name={name}&a%20word=x%26y&last", script(host.dir(), "log", &text));
    let read = |name: &str| fs::read_to_string(host.dir().join(name)).unwrap_or_default();
    shim.run(&mut client, &Streams { stderr: uri("init"), ..to(uri("init")) });
    let words = format!("a|{}|name|init|a word|x&y|last|", host.namespace());
    assert_eq!(read("words.a.init"), words);
    let more = ["/bin/sh", "-c", "seq 1 20000; echo err >&2; exit 6"];
    shim.exec(&mut client, "e", &more, &Streams { stderr: uri("exec"), ..to(uri("exec")) });
    assert_eq!(shim.wait(&mut client, "e"), 6);
    assert_eq!(shim.delete(&mut client, "e"), 6);
    assert_eq!((read("end.exec").as_str(), read("err.exec").as_str()), ("end\n", "err\n"));
    assert_eq!(read("out.exec"), (1..=20000).map(|n| format!("{n}\n")).collect::<String>());
    assert_eq!(read("end.init"), "");
    shim.end(&mut client);
    assert_eq!(
        (read("out.init").as_str(), read("err.init").as_str(), read("end.init").as_str()),
        ("out\n", "err\n", "end\n")
    );
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_logging_program_that_is_no_help_is_reported_and_ended() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let mut reply = |uri: String, text: &str| {
        let request = shim.create_request(&Streams { stderr: uri.clone(), ..to(uri) });
        let reply: Reply<PidResponse> = client.call("Create", &request);
        assert!(reply.as_ref().is_err_and(|(_, message)| message.contains(text)), "{text:?} expected: {reply:?}");
    };
    reply("binary:///no/such/program".into(), "execute /no/such/program: no such file or directory (ENOENT)");
    reply("npipe:///a".into(), "unknown scheme");
    reply("file://relative".into(), "must be absolute");
    let pid = host.dir().join("pid");
    let never = script(host.dir(), "never", &format!("echo $$ >{}\nexec sleep 1000\n", pid.display()));
    reply(format!("binary://{never}"), "does not say that it is ready");
    let pid = fs::read_to_string(pid).expect("its pid");
    let process = format!("/proc/{}", pid.trim());
    eventually("its end", || if Path::new(&process).exists() { Err(process.clone()) } else { Ok(()) });
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}

/// `binary-v2`: a program that ends, or closes the descriptor, before it has written a byte is not ready.
#[test]
fn a_logging_program_of_the_second_version_writes_when_it_is_ready() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("echo out"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let dir = host.dir().display().to_string();
    for (name, says, ready) in
        [("closes", "exec 5>&-", false), ("ends", "exit 0", false), ("writes", "printf x >&5; exec 5>&-", true)]
    {
        let text = format!("{says}\ncat <&3 >{dir}/{name}.out\n");
        let uri = format!("binary-v2://{}", script(host.dir(), name, &text));
        let reply: Reply<PidResponse> = client.call("Create", &shim.create_request(&to(uri)));
        assert_eq!(reply.is_ok(), ready, "{name}: {reply:?}");
        if let Err((_, text)) = reply {
            assert!(text.contains("the logging program is not ready"), "{name}: {text}");
        }
    }
    start(&shim, &mut client);
    assert_eq!(shim.wait(&mut client, ""), 0);
    shim.end(&mut client);
    assert_eq!(fs::read_to_string(host.dir().join("writes.out")).expect("what was written"), "out\n");
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn a_logging_program_reads_what_a_terminal_shows() {
    let bundle = Bundle::new().script("test -t 1 && echo shown; sleep 1000").set("/process/terminal", true.into());
    let host = ShimHost::new();
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let out = host.dir().join("out");
    let text = format!("exec 5>&-\ncat <&3 >{}\n", out.display());
    let uri = format!("binary://{}", script(host.dir(), "log", &text));
    shim.run(&mut client, &Streams { terminal: true, ..to(uri) });
    eventually("what is shown", || match fs::read_to_string(&out).unwrap_or_default() {
        text if text == "shown\r\n" => Ok(()),
        text => Err(text),
    });
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// The Go shim sets `process.terminal` of an exec from the request.
#[test]
fn the_request_decides_whether_an_exec_has_a_terminal() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    for (exec, terminal) in [("e", false), ("f", true)] {
        let log = host.dir().join(exec);
        let streams = Streams { terminal: !terminal, ..to(format!("file://{}", log.display())) };
        let program = "if test -t 1; then echo terminal; else echo none; fi";
        // The process says the contrary.
        let request = shim.exec_request(exec, &["/bin/sh", "-c", program], &streams);
        client.done("Exec", &ExecRequest { terminal, ..request }).expect("Exec");
        let reply: Reply<PidResponse> = client.call("Start", &shim.process(exec));
        assert!(reply.is_ok(), "{exec}: {reply:?}");
        assert_eq!((shim.wait(&mut client, exec), shim.delete(&mut client, exec)), (0, 0));
        let text = fs::read_to_string(&log).expect("the log");
        assert_eq!(text, if terminal { "terminal\r\n" } else { "none\n" }, "{exec}");
    }
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// With the Go shim runc refuses that: config.json is the user's, and is not changed.
#[test]
fn a_create_whose_terminal_is_not_that_of_config_json_is_refused() {
    for (terminal, text) in [(true, "cannot use console socket"), (false, "cannot allocate tty")] {
        let bundle = Bundle::new().args(["/probe", "sleep"]).set("/process/terminal", (!terminal).into());
        let host = ShimHost::new();
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        let reply: Reply<PidResponse> =
            client.call("Create", &shim.create_request(&Streams { terminal, ..Streams::default() }));
        assert!(reply.as_ref().is_err_and(|(_, message)| message.contains(text)), "{text:?} expected: {reply:?}");
        client.done("Shutdown", &shim.process("")).expect("Shutdown");
        host.nothing_is_left(&[&bundle]);
    }
}

/// The caller has the error in the answer: it is no output of the container's.
#[test]
fn a_failed_start_writes_nothing_to_the_containers_streams() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/no/such/program"]));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let (log, exec_log) = (host.dir().join("log"), host.dir().join("exec-log"));
    let uri = |path: &Path| format!("file://{}", path.display());
    let streams = |log: &Path| Streams { stderr: uri(log), ..to(uri(log)) };
    let reply: Reply<PidResponse> = client.call("Create", &shim.create_request(&streams(&log)));
    assert!(reply.as_ref().is_err_and(|(_, text)| text.contains("/no/such/program")), "{reply:?}");
    let good = Bundle::new().args(["/probe", "sleep"]);
    let shim = host.serve(good.path(), "b");
    let mut second = shim.connect();
    shim.run(&mut second, &Streams::default());
    let request = shim.exec_request("e", &["/no/such/program"], &streams(&exec_log));
    second.done("Exec", &request).expect("Exec");
    let reply: Reply<PidResponse> = second.call("Start", &shim.process("e"));
    assert!(reply.as_ref().is_err_and(|(_, text)| text.contains("/no/such/program")), "{reply:?}");
    for log in [&log, &exec_log] {
        assert_eq!(fs::read_to_string(log).unwrap_or_default(), "", "{}", log.display());
    }
    assert_eq!(shim.delete(&mut second, "e"), 255);
    shim.end(&mut second);
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle, &good]);
}

#[test]
fn a_terminal_has_a_size_and_takes_what_is_typed() {
    let bundle = Bundle::new().with_shell().args(["/probe", "winsize"]).set("/process/terminal", true.into());
    let host = ShimHost::new();
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let log = host.dir().join("log");
    let streams = Streams { terminal: true, ..to(format!("file://{}", log.display())) };
    shim.run(&mut client, &streams);
    let expect = |text: &str| {
        eventually("what the terminal says", || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            if log.ends_with(text) { Ok(()) } else { Err(format!("{log:?}")) }
        });
    };
    expect("ready\r\n");
    let size = ResizePtyRequest { id: "a".into(), exec_id: String::new(), width: 132, height: 43 };
    client.done("ResizePty", &size).expect("ResizePty");
    expect("43x132\r\n");
    let stdin = fifo(host.dir(), "in");
    let out = fifo(host.dir(), "out");
    let reader = Reader::of(&out);
    let typed = Streams { stdin: stdin.clone(), terminal: true, ..to(&out) };
    let program = "test -t 0 && test -t 1 && stty -echo && read line && echo got $line; exit 4";
    shim.exec(&mut client, "e", &["/bin/sh", "-c", program], &typed);
    writer(&stdin).write_all(b"hello\n").expect("write");
    assert_eq!(shim.wait(&mut client, "e"), 4);
    assert_eq!(shim.delete(&mut client, "e"), 4);
    let text = reader.text();
    assert!(text.ends_with("got hello\r\n"), "{text:?}");
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// CVE-2026-53495: children keep the streams of a process that has ended.
#[test]
fn cve_2026_53495_children_that_keep_the_streams_do_not_keep_who_waits() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let out = fifo(host.dir(), "out");
    let reader = Reader::of(&out);
    shim.exec(&mut client, "e", &["/bin/sh", "-c", "echo two; sleep 900 & exit 5"], &to(&out));
    assert_eq!(shim.wait(&mut client, "e"), 5);
    let before = Instant::now();
    assert_eq!(shim.delete(&mut client, "e"), 5);
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    assert_eq!(reader.text(), "two\n");
    let pid = shim.pid(&mut client);
    eventually("its pipes to be closed", || {
        let pipes = proc::open_files(pid).iter().filter(|path| path.starts_with(&out)).count();
        if pipes == 0 { Ok(()) } else { Err(pipes.to_string()) }
    });
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

#[test]
fn the_deadline_of_a_process_is_not_that_of_the_next_one_with_its_id() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let out = fifo(host.dir(), "out");
    let reader = Reader::of(&out);
    shim.exec(&mut client, "e", &["/bin/sh", "-c", "echo one; sleep 4 & exit 5"], &to(&out));
    assert_eq!((shim.wait(&mut client, "e"), shim.delete(&mut client, "e"), reader.text()), (5, 5, "one\n".into()));
    // The first one's ten seconds end before this one's.
    let reader = Reader::of(&out);
    shim.exec(&mut client, "e", &["/bin/sh", "-c", "(sleep 7; echo late) & exit 6"], &to(&out));
    assert_eq!((shim.wait(&mut client, "e"), shim.delete(&mut client, "e"), reader.text()), (6, 6, "late\n".into()));
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// CVE-2022-31030, CVE-2022-1708: output without end, and nobody or somebody slow who reads.
#[test]
fn cve_2022_31030_output_without_end_takes_no_memory_and_keeps_nobody_waiting() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().script("sleep 1000"));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    let out = fifo(host.dir(), "out");
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&out).expect("the fifo");
    shim.exec(&mut client, "e", &["/bin/cat", "/dev/zero"], &to(&out));
    let pid = shim.pid(&mut client);
    let before = proc::resident(pid);
    let mut piece = vec![0u8; 1 << 20];
    let mut read = 0;
    eventually("64 MiB", || {
        // In between it is answered, though the fifo is full.
        assert!(shim.state(&mut client, "e").1 > 0);
        while let Ok(len) = std::io::Read::read(&mut reader, &mut piece) {
            read += len;
        }
        if read > 64 << 20 { Ok(()) } else { Err(format!("{read} bytes")) }
    });
    let after = proc::resident(pid);
    assert!(after < before + 1024, "{before} kB, then {after} kB");
    shim.kill(&mut client, "e", 9, false).expect("Kill");
    assert_eq!(shim.wait(&mut client, "e"), 137);
    drop(reader);
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}

/// CVE-2026-53488: what an image says becomes a logging program.
#[test]
fn cve_2026_53488_the_request_alone_names_a_logging_program() {
    let host = ShimHost::new();
    let evil = host.dir().join("evil");
    let uri = format!("binary://{}", script(host.dir(), "log", &format!("touch {}\n", evil.display())));
    let names = ["log-uri", "containerd.io/log-uri", "io.containerd.log-uri", "io.containerd.cri.log_uri", "logger"];
    let annotations: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), uri.as_str().into())).collect();
    let bundle = Bundle::new().args(["/probe", "print", "words"]).set("/annotations", annotations.into());
    let bundle = bundle.edit(|spec| spec["process"]["env"] = serde_json::json!([format!("LOG_URI={uri}")]));
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    assert_eq!(shim.wait(&mut client, ""), 0);
    shim.end(&mut client);
    assert!(!evil.exists(), "what an image names was executed");
    host.nothing_is_left(&[&bundle]);
}

/// The log is a fifo that nobody reads, and full: the server lives on.
#[test]
fn a_full_log_ends_nobody() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    let path = fifo(bundle.path(), "log");
    let mut log = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("the log");
    while log.write(&[b'.'; 4096]).is_ok() {}
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    shim.run(&mut client, &Streams::default());
    // Exits cannot be written down, which is an error.
    fs::write(bundle.path().join("exits"), "a file").expect("write");
    for exec in ["e", "f"] {
        shim.exec(&mut client, exec, &["/probe", "exit", "1"], &Streams::default());
        assert_eq!(shim.wait(&mut client, exec), 1);
    }
    let pid = shim.pid(&mut client);
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::USR1, rustix::process::Signal::USR2] {
        rustix::process::kill_process(pid, signal).expect("kill");
        assert!(shim.pid(&mut client) > 0);
    }
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
}
