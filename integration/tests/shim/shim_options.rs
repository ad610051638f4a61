//! The shim without containerd: each of `containerd.runc.v1.Options` has its effect.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use containerd_shim_cleat::messages::{Any, CreateRequest, Options, PidResponse};
use integration::shim::{Client, OPTIONS, Reply, Shim, ShimHost, Streams, fifo, finish, script};
use integration::{Bundle, cgroup_root, require_keyrings, unique_name};
use serde_json::{Value, json};

/// Create with other options, and Start.
fn run(shim: &Shim<'_>, client: &mut Client, streams: &Streams, options: &Options) {
    let request = CreateRequest { options: Some(Any::of(OPTIONS, options)), ..shim.create_request(streams) };
    let reply: Reply<PidResponse> = client.call("Create", &request);
    assert!(reply.is_ok(), "Create: {reply:?}");
    let reply: Reply<PidResponse> = client.call("Start", &shim.process(""));
    assert!(reply.is_ok(), "Start: {reply:?}");
}

/// Facts of a container with these options.
fn facts(options: impl FnOnce(Options) -> Options) -> (String, Value) {
    let (host, bundle) = (ShimHost::new(), Bundle::new().set("/linux/maskedPaths", json!([])));
    let id = unique_name();
    let shim = host.serve(bundle.path(), &id);
    let mut client = shim.connect();
    let log = host.dir().join("facts");
    let streams = Streams { stdout: format!("file://{}", log.display()), ..Streams::default() };
    run(&shim, &mut client, &streams, &options(host.options()));
    assert_eq!(shim.wait(&mut client, ""), 0);
    let text = fs::read_to_string(&log).expect("the facts");
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
    (id, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// Opens its streams by name, as many a server whose log is `/dev/stdout`.
const BY_NAME: &str =
    "read -r line </dev/stdin && echo out $line >/dev/stdout && echo err >/dev/stderr || echo refused";

/// A fifo's read end, which keeps what is written.
fn reader(path: &str) -> fs::File {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    fs::File::options().read(true).custom_flags(flags).open(path).expect("a fifo")
}

/// containerd's `io_uid` and `io_gid`: fifos and pipes are that user's, who may open them again. Without them
/// they are the user's who the process is, in its user namespace.
#[test]
fn a_process_opens_its_streams_by_name_when_they_are_its_users() {
    const ROOT: u32 = 100_000;
    for (exec, given) in [("", true), ("", false), ("e", true), ("e", false)] {
        let case = format!("exec {exec:?}, owner given: {given}");
        let host = ShimHost::new();
        let bundle = ["/proc", "/dev", "/sys"].into_iter().fold(Bundle::new().mapped(), Bundle::with_dir);
        let bundle = bundle.script(if exec.is_empty() { BY_NAME } else { "sleep 1000" });
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        let name = |stream: &str| fifo(host.dir(), stream);
        let streams = Streams { stdin: name("in"), stdout: name("out"), stderr: name("err"), terminal: false };
        let (out, err) = (reader(&streams.stdout), reader(&streams.stderr));
        let owned = Options { io_uid: ROOT, io_gid: ROOT, ..host.options() };
        let options = if given { owned } else { host.options() };
        if exec.is_empty() {
            run(&shim, &mut client, &streams, &options);
        } else {
            run(&shim, &mut client, &Streams::default(), &options);
            shim.exec(&mut client, exec, &["/bin/sh", "-c", BY_NAME], &streams);
        }
        fs::write(&streams.stdin, "line\n").expect("write");
        assert_eq!(shim.wait(&mut client, exec), 0, "{case}");
        shim.delete(&mut client, exec);
        let text = |reader| std::io::read_to_string(reader).expect("what was written");
        let said = (text(out), text(err));
        assert_eq!(said, ("out line\n".into(), "err\n".into()), "{case}");
        let owner = fs::metadata(&streams.stdin).map(|fifo| (fifo.uid(), fifo.gid())).expect("a fifo");
        // The group, too: without it, the container's root could not give them to another user.
        assert_eq!(owner, (ROOT, ROOT), "{case}");
        if exec.is_empty() {
            client.done("Shutdown", &shim.process("")).expect("Shutdown");
        } else {
            shim.end(&mut client);
        }
        host.nothing_is_left(&[&bundle]);
    }
}

#[test]
fn a_shim_is_in_the_cgroup_that_was_asked_for() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let start = |cgroup: &str| {
        let mut command = host.command(bundle.path(), "a");
        command.arg("start");
        let options = Options { shim_cgroup: cgroup.into(), ..host.options() };
        finish(command, &host.bootstrap_with("a", &options))
    };
    // No cgroup can be made below a file of one.
    let (code, _, err) = start("/cgroup.procs/in");
    assert!(code == 1 && err.contains("shim cgroup ") && err.contains("/cgroup.procs/in: mkdir"), "{code} {err}");
    host.nothing_is_left(&[&bundle]);

    let name = unique_name();
    let (code, _, err) = start(&format!("/{name}"));
    assert_eq!(code, 0, "{err}");
    let server = host.servers()[0];
    let is_in = fs::read_to_string(format!("/proc/{server}/cgroup")).expect("its cgroups");
    assert!(is_in.lines().any(|line| line == format!("0::/{name}")), "{is_in}");
    // Its container is where it asks to be.
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let init = shim.run(&mut client, &Streams::default());
    let is_in = fs::read_to_string(format!("/proc/{init}/cgroup")).expect("its cgroups");
    assert!(!is_in.contains(&name), "{is_in}");
    shim.end(&mut client);
    host.nothing_is_left(&[&bundle]);
    fs::remove_dir(cgroup_root().join(name)).expect("an empty cgroup");
}

/// A sandbox of containerd's serves it already: its address is handed on, and nothing is started.
#[test]
fn a_task_service_that_is_there_is_named() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let address = "unix:///run/elsewhere.sock";
    let mut command = host.command(bundle.path(), "a");
    command.arg("start");
    let options = Options { task_api_address: address.into(), task_api_version: 3, ..host.options() };
    let (code, out, err) = finish(command, &host.bootstrap_with("a", &options));
    let said: Value = serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {out:?} {err}"));
    assert_eq!((code, &said["address"]), (0, &json!(address)), "{said}");
    assert!(host.servers().is_empty());
    host.nothing_is_left(&[&bundle]);
}

/// Wrappers of a runtime read `./config.json`.
#[test]
fn the_runtime_runs_in_the_bundle() {
    let hook = json!([{ "path": "/bin/true", "args": ["true"] }]);
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]).set("/hooks", json!({})));
    let bundle = bundle.set("/hooks/poststop", hook);
    let log = host.dir().join("calls");
    let text = format!(
        "for word; do case $word in create|start|exec|delete) test -e config.json && echo $word $PWD >>{};; esac; done\n\
         exec {} \"$@\"\n",
        log.display(),
        host.options().binary_name
    );
    let options = Options { binary_name: script(host.dir(), "wrapper", &text), ..host.options() };
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    run(&shim, &mut client, &Streams::default(), &options);
    shim.exec(&mut client, "e", &["/probe", "sleep"], &Streams::default());
    shim.end(&mut client);
    let calls = fs::read_to_string(&log).expect("the calls");
    let dir = bundle.path().display();
    assert_eq!(calls, ["create", "start", "exec", "delete"].map(|word| format!("{word} {dir}\n")).concat());
    host.nothing_is_left(&[&bundle]);
}

/// Kill, stats and the like are done by the shim, which knows the state of cleat alone.
#[test]
fn another_runtime_is_refused_before_anything_is_made() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let start = |binary: &str| {
        let mut command = host.command(bundle.path(), "a");
        command.arg("start");
        finish(command, &host.bootstrap_with("a", &Options { binary_name: binary.into(), ..host.options() }))
    };
    let other = script(host.dir(), "runc", "echo runc version 1.3.6; echo commit: v1.3.6\n");
    let (code, _, err) = start(&other);
    let text = format!("BinaryName {other}: it is \"runc version 1.3.6\"; this shim needs cleat");
    assert!(code == 1 && err.contains(&text), "{code} {err}");
    let (code, _, err) = start("/no/such/runtime");
    assert!(code == 1 && err.contains("BinaryName /no/such/runtime: execute: "), "{code} {err}");
    host.nothing_is_left(&[&bundle]);
    // It hides what it is, and does not know the options.
    let hidden = script(host.dir(), "hidden", "echo Usage; exit 3\n");
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let options = Options { binary_name: hidden.clone(), ..host.options() };
    let request =
        CreateRequest { options: Some(Any::of(OPTIONS, &options)), ..shim.create_request(&Streams::default()) };
    let reply: Reply<PidResponse> = client.call("Create", &request);
    let text = format!("{hidden} ended with status 3 and logged no error; BinaryName must be cleat");
    assert!(reply.as_ref().is_err_and(|(_, message)| message.contains(&text)), "{reply:?}");
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}

/// containerd's `sched_core`: the kernel, or the processor, may have none.
#[test]
fn a_shim_has_a_core_to_itself_where_it_is_asked_for() {
    let (host, bundle) = (ShimHost::new(), Bundle::new().args(["/probe", "sleep"]));
    let mut command = host.command(bundle.path(), "a");
    command.arg("start").env("SCHED_CORE", "1");
    let (code, _, err) = finish(command, &host.bootstrap("a"));
    assert!(code == 0 || err.contains("SCHED_CORE: prctl PR_SCHED_CORE_CREATE: "), "{code} {err}");
    if code == 0 {
        host.kill_servers();
    } else {
        host.nothing_is_left(&[&bundle]);
    }
}

#[test]
fn a_container_has_a_session_keyring_unless_it_shall_not() {
    require_keyrings();
    for shall_not in [false, true] {
        let (id, facts) = facts(|options| Options { no_new_keyring: shall_not, ..options });
        let own = facts["keys"].as_str().is_some_and(|keys| keys.contains(&format!("_ses.{id}")));
        assert_eq!(own, !shall_not, "{}", facts["keys"]);
    }
}

/// From an initramfs there is no pivot_root: the same root by other means.
#[test]
fn a_container_has_the_same_root_without_pivot_root() {
    let (_, usual) = facts(|options| options);
    let (_, without) = facts(|options| Options { no_pivot_root: true, ..options });
    assert_eq!((&without["root"], &without["cwd"]), (&usual["root"], &usual["cwd"]));
    assert!(without["root"].as_array().is_some_and(|names| names.contains(&json!("probe"))), "{}", without["root"]);
}
