//! The shim without containerd: a test is its containerd.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use containerd_shim_cleat::messages::{
    Any, ConnectResponse, CreateRequest, DeleteResponse, ExecRequest, KillRequest, Options, PidResponse,
    ProcessRequest, Request, Response, StateResponse, Status, TaskStatus, WaitResponse,
};
use prost::Message;

use crate::bundle::Bundle;
use crate::programs::{built, program};
use crate::runtime::Runtime;
use crate::temp::{TempDir, unique_name};
use crate::user::give;
use crate::wait::{DEADLINE, eventually};

mod events;
mod frames;

/// What Create and Start answer.
pub use containerd_shim_cleat::messages::PidResponse as Pid;
pub use events::Listener;
use frames::read_frame;
pub use frames::{HEADER, frame};

/// The options' type.
pub const OPTIONS: &str = "containerd.runc.v1.Options";

/// What an answer is: a message, or a code of gRPC and a text.
pub type Reply<T> = Result<T, (i32, String)>;

/// Where shims of one test live: their sockets, the state of their containers, and who receives their
/// events. Everything goes with it.
#[derive(Debug)]
pub struct ShimHost {
    // Before the directory that its socket is in.
    events: Listener,
    dir: TempDir,
    namespace: String,
    bundles: Mutex<Vec<PathBuf>>,
    caller: Caller,
}

/// Who calls the shim, and with which programs.
#[derive(Debug)]
struct Caller {
    shim: PathBuf,
    runtime: PathBuf,
    /// Words before the shim's program.
    prefix: Vec<String>,
    env: Vec<(String, PathBuf)>,
    /// If not root.
    uid: Option<u32>,
    systemd: bool,
}

impl Default for ShimHost {
    fn default() -> Self {
        Self::new()
    }
}

impl ShimHost {
    /// A directory of its own, and somebody who listens.
    #[must_use]
    pub fn new() -> Self {
        let (dir, namespace) = (TempDir::new(), unique_name());
        fs::create_dir(dir.path().join("work")).expect("a directory");
        let events = Listener::new(dir.path().join("events"));
        let caller = Caller {
            shim: built("containerd-shim-cleat-v2", "CLEAT_SHIM"),
            runtime: program(),
            prefix: Vec::new(),
            env: Vec::new(),
            uid: None,
            systemd: false,
        };
        Self { dir, namespace, events, bundles: Mutex::default(), caller }
    }

    /// The same for a shim that is called as `runtime` is: by its user, from its cgroup.
    #[must_use]
    pub fn called_as(runtime: &Runtime) -> Self {
        let mut host = Self::new();
        host.caller.prefix = runtime.prefix();
        host.caller.env = runtime.environment().to_vec();
        host.caller.systemd = runtime.options().iter().any(|option| option == "--systemd-cgroup");
        host.caller.runtime = runtime.program().to_owned();
        if let Some(uid) = runtime.owner() {
            let copy = host.dir.path().join("containerd-shim-cleat-v2");
            fs::copy(&host.caller.shim, &copy).expect("a copy of the shim");
            host.caller.shim = copy;
            host.caller.uid = Some(uid);
            give(host.dir.path(), uid);
        }
        host
    }

    /// For a test's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// containerd's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where sockets are made.
    #[must_use]
    pub fn sockets(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Who hears of events.
    #[must_use]
    pub fn events(&self) -> &Listener {
        &self.events
    }

    /// What every Create says: where the state is, and which runtime it is.
    #[must_use]
    pub fn options(&self) -> Options {
        let text = |path: PathBuf| path.to_str().expect("a path of UTF-8").to_owned();
        Options {
            root: text(self.dir.path().join("root")),
            binary_name: text(self.caller.runtime.clone()),
            systemd_cgroup: self.caller.systemd,
            ..Options::default()
        }
    }

    /// The directory of this namespace's containers.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("root").join(&self.namespace)
    }

    /// The shim's program with containerd's flags, in a directory.
    #[must_use]
    pub fn command(&self, cwd: &Path, id: &str) -> Command {
        let mut command = self.called(&self.caller.shim);
        let containerd = self.dir.path().join("containerd.sock");
        command.args(["-namespace", &self.namespace, "-address"]).arg(containerd);
        command.args(["-publish-binary", "/nowhere/containerd", "-id", id]).current_dir(cwd);
        command.env("MAX_SHIM_VERSION", "2").env("TTRPC_ADDRESS", self.events.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A program as the shim is called.
    fn called(&self, program: &Path) -> Command {
        let mut command = match self.caller.prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.envs(self.caller.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// What containerd since 2.3 says on standard input.
    #[must_use]
    pub fn bootstrap(&self, id: &str) -> Vec<u8> {
        self.bootstrap_with(id, &self.options())
    }

    /// The same with other options.
    #[must_use]
    pub fn bootstrap_with(&self, id: &str, options: &Options) -> Vec<u8> {
        use containerd_shim_cleat::messages::{BootstrapParams, Extension};
        let text = |path: PathBuf| path.to_str().expect("a path of UTF-8").to_owned();
        let params = BootstrapParams {
            instance_id: id.into(),
            namespace: self.namespace.clone(),
            ttrpc_address: text(self.events.path().to_owned()),
            extensions: vec![Extension { value: Some(Any::of(OPTIONS, options)) }],
            socket_dir: Some(text(self.sockets())),
            ..BootstrapParams::default()
        };
        params.encode_to_vec()
    }

    /// `start`: what it printed.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn start(&self, bundle: &Path, id: &str) -> String {
        self.bundles.lock().expect("a lock").push(bundle.into());
        let mut command = self.command(bundle, id);
        command.arg("start");
        let (code, out, err) = finish(command, &self.bootstrap(id));
        assert_eq!(code, 0, "{err}");
        String::from_utf8(out).expect("text")
    }

    /// `start`, and its socket.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn serve(&self, bundle: &Path, id: &str) -> Shim<'_> {
        let said = self.start(bundle, id);
        let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let address = json["address"].as_str().expect("an address").trim_start_matches("unix://");
        Shim { host: self, id: id.into(), bundle: bundle.into(), socket: address.into() }
    }

    /// `delete`: what it answers.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn delete(&self, bundle: &Path, id: &str) -> DeleteResponse {
        let mut command = self.command(&self.dir.path().join("work"), id);
        command.arg("-bundle").arg(bundle).arg("delete");
        let (code, out, err) = finish(command, b"");
        assert_eq!(code, 0, "{err}");
        DeleteResponse::decode(&*out).expect("a DeleteResponse")
    }

    /// The pids of the servers.
    #[must_use]
    pub fn servers(&self) -> Vec<i32> {
        let processes = fs::read_dir("/proc").expect("/proc");
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words.contains(&self.namespace.as_bytes()) && words.contains(&&b"serve"[..])
        };
        pids.filter(ours).collect()
    }

    /// `SIGKILL` for every server, and waits until they have ended.
    pub fn kill_servers(&self) {
        let mut seen = 0;
        eventually("the servers' end", || {
            let servers = self.servers();
            for pid in servers.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                seen += 1;
            }
            // One that has just been executed has no command line yet.
            if servers.is_empty() && seen > 0 { Ok(()) } else { Err(format!("{servers:?}")) }
        });
    }

    /// Mounts below the test's directory, or another.
    fn mounts(below: &Path) -> Vec<String> {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let targets = text.lines().filter_map(|line| line.split(' ').nth(4));
        targets.filter(|target| Path::new(target).starts_with(below)).map(str::to_owned).collect()
    }

    /// # Panics
    /// When a server, a socket, a container's state, its cgroup or a mount is left after a while.
    pub fn nothing_is_left(&self, bundles: &[&Bundle]) {
        let names = |dir: &Path| {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string())
        };
        eventually("everything to be gone", || {
            let mut left: Vec<String> = names(&self.sockets()).chain(names(&self.state())).collect();
            left.extend(self.servers().iter().map(|pid| format!("server {pid}")));
            for bundle in bundles {
                left.extend(Self::mounts(bundle.path()));
                left.extend(Some(bundle.cgroup()).filter(|path| path.exists()).map(|path| path.display().to_string()));
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }
}

impl Drop for ShimHost {
    fn drop(&mut self) {
        // What a failed test has left.
        for pid in self.servers() {
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        for entry in fs::read_dir(self.state()).into_iter().flatten().flatten() {
            let mut command = self.called(&self.caller.runtime);
            command.arg("--root").arg(self.state()).args(["delete", "--force"]).arg(entry.file_name());
            let _ = command.stdin(Stdio::null()).output();
        }
        for bundle in self.bundles.get_mut().into_iter().flatten() {
            let _ = rustix::mount::unmount(bundle.join("rootfs"), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Runs a command to its end with this on standard input: its code, what it printed, and its errors.
///
/// # Panics
/// It cannot be executed.
#[must_use]
pub fn finish(mut command: Command, input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the shim's program");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may not read.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    (output.status.code().unwrap_or(-1), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A server, and the container that it was started for.
#[derive(Debug)]
pub struct Shim<'a> {
    host: &'a ShimHost,
    id: String,
    bundle: PathBuf,
    socket: PathBuf,
}

/// Where a process's bytes come from and go to.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

impl Shim<'_> {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::new(&self.socket, self.host.caller.uid)
    }

    /// What a Create says.
    #[must_use]
    pub fn create_request(&self, streams: &Streams) -> CreateRequest {
        CreateRequest {
            id: self.id.clone(),
            bundle: self.bundle.to_str().expect("a path of UTF-8").into(),
            terminal: streams.terminal,
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            options: Some(Any::of(OPTIONS, &self.host.options())),
            ..CreateRequest::default()
        }
    }

    /// Create: the pid.
    ///
    /// # Panics
    /// It is refused.
    pub fn create(&self, client: &mut Client, streams: &Streams) -> u32 {
        let reply: Reply<PidResponse> = client.call("Create", &self.create_request(streams));
        reply.unwrap_or_else(|refusal| panic!("Create: {refusal:?}")).pid
    }

    /// Create and Start: the pid.
    ///
    /// # Panics
    /// It is refused.
    pub fn run(&self, client: &mut Client, streams: &Streams) -> u32 {
        let pid = self.create(client, streams);
        let reply: Reply<PidResponse> = client.call("Start", &self.process(""));
        assert_eq!(reply.as_ref().map(|reply| reply.pid), Ok(pid), "{reply:?}");
        pid
    }

    /// Most calls' question.
    #[must_use]
    pub fn process(&self, exec: &str) -> ProcessRequest {
        ProcessRequest { id: self.id.clone(), exec_id: exec.into() }
    }

    /// What an Exec says: the arguments of a process that is like the first one.
    #[must_use]
    pub fn exec_request(&self, exec: &str, args: &[&str], streams: &Streams) -> ExecRequest {
        let mut process = crate::spec::default_spec()["process"].clone();
        process["args"] = serde_json::json!(args);
        process["terminal"] = serde_json::json!(streams.terminal);
        let value = serde_json::to_vec(&process).expect("JSON");
        ExecRequest {
            id: self.id.clone(),
            exec_id: exec.into(),
            terminal: streams.terminal,
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            spec: Some(Any { type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(), value }),
        }
    }

    /// Exec and Start: the pid.
    ///
    /// # Panics
    /// It is refused.
    pub fn exec(&self, client: &mut Client, exec: &str, args: &[&str], streams: &Streams) -> u32 {
        client.done("Exec", &self.exec_request(exec, args, streams)).expect("Exec");
        let reply: Reply<PidResponse> = client.call("Start", &self.process(exec));
        reply.unwrap_or_else(|refusal| panic!("Start {exec}: {refusal:?}")).pid
    }

    /// Wait: the exit status.
    ///
    /// # Panics
    /// It is refused.
    pub fn wait(&self, client: &mut Client, exec: &str) -> u32 {
        let reply: Reply<WaitResponse> = client.call("Wait", &self.process(exec));
        reply.unwrap_or_else(|refusal| panic!("Wait {exec:?}: {refusal:?}")).exit_status
    }

    /// State: the status, and the pid.
    ///
    /// # Panics
    /// It is refused.
    pub fn state(&self, client: &mut Client, exec: &str) -> (TaskStatus, u32) {
        let reply: Reply<StateResponse> = client.call("State", &self.process(exec));
        let reply = reply.unwrap_or_else(|refusal| panic!("State {exec:?}: {refusal:?}"));
        (reply.status(), reply.pid)
    }

    /// Kill.
    ///
    /// # Errors
    /// It is refused.
    pub fn kill(&self, client: &mut Client, exec: &str, signal: u32, all: bool) -> Reply<()> {
        client.done("Kill", &KillRequest { id: self.id.clone(), exec_id: exec.into(), signal, all })
    }

    /// Delete: the exit status.
    ///
    /// # Panics
    /// It is refused.
    pub fn delete(&self, client: &mut Client, exec: &str) -> u32 {
        let reply: Reply<DeleteResponse> = client.call("Delete", &self.process(exec));
        reply.unwrap_or_else(|refusal| panic!("Delete {exec:?}: {refusal:?}")).exit_status
    }

    /// The server's pid.
    ///
    /// # Panics
    /// It is refused.
    pub fn pid(&self, client: &mut Client) -> u32 {
        let reply: Reply<ConnectResponse> = client.call("Connect", &self.process(""));
        reply.expect("Connect").shim_pid
    }

    /// Kill, Wait, Delete and Shutdown: the container and the server are gone.
    pub fn end(&self, client: &mut Client) {
        let _ = self.kill(client, "", 9, true);
        let _ = self.wait(client, "");
        let _ = self.delete(client, "");
        client.done("Shutdown", &self.process("")).expect("Shutdown");
    }
}

/// A connection to a server. Answers may come in any order.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    last: u32,
    answers: BTreeMap<u32, Response>,
    /// The service that is asked.
    pub service: &'static str,
}

impl Client {
    fn new(socket: &Path, user: Option<u32>) -> Self {
        let connect = || UnixStream::connect(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        // The peer is the calling thread's user.
        let stream = user.map_or_else(connect, |uid| {
            std::thread::scope(|scope| {
                let as_user = scope.spawn(|| {
                    let uid = Some(rustix::thread::Uid::from_raw(uid));
                    rustix::thread::set_thread_res_uid(None, uid, None).expect("another user");
                    connect()
                });
                as_user.join().expect("a connection")
            })
        });
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Self { stream, last: u32::MAX, answers: BTreeMap::new(), service: "containerd.task.v3.Task" }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Asks, and does not wait: the stream of the answer.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn ask(&mut self, method: &str, message: &impl Message) -> u32 {
        self.last = self.last.wrapping_add(2);
        let request = Request {
            service: self.service.into(),
            method: method.into(),
            payload: message.encode_to_vec(),
            timeout_nano: 0,
        };
        let bytes = frame(self.last, 1, &request.encode_to_vec());
        self.stream.write_all(&bytes).unwrap_or_else(|error| panic!("{method}: {error}"));
        self.last
    }

    /// The answer of a stream.
    ///
    /// # Errors
    /// It is a refusal.
    ///
    /// # Panics
    /// It does not come, or another comes twice.
    pub fn answer(&mut self, stream: u32) -> Reply<Vec<u8>> {
        while !self.answers.contains_key(&stream) {
            let (of, kind, data) = read_frame(&self.stream).unwrap_or_else(|error| panic!("no answer: {error}"));
            assert_eq!(kind, 2, "a response");
            let response = Response::decode(&*data).expect("a response");
            assert!(self.answers.insert(of, response).is_none(), "two answers to call {of}");
        }
        let response = self.answers.remove(&stream).expect("an answer");
        match response.status.unwrap_or_default() {
            Status { code: 0, .. } => Ok(response.payload),
            Status { code, message } => Err((code, message)),
        }
    }

    /// Whether an answer has come within a moment.
    #[must_use]
    pub fn is_answered(&mut self, stream: u32, within: Duration) -> bool {
        if !self.answers.contains_key(&stream) && crate::wait::readable(std::os::fd::AsFd::as_fd(&self.stream), within)
        {
            let (of, _, data) = read_frame(&self.stream).expect("an answer");
            self.answers.insert(of, Response::decode(&*data).expect("a response"));
        }
        self.answers.contains_key(&stream)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// It is a refusal.
    ///
    /// # Panics
    /// No answer comes, or another message.
    pub fn call<T: Message + Default>(&mut self, method: &str, message: &impl Message) -> Reply<T> {
        let stream = self.ask(method, message);
        let payload = self.answer(stream)?;
        Ok(T::decode(&*payload).unwrap_or_else(|error| panic!("the answer to {method}: {error}")))
    }

    /// Asks for something whose answer says nothing.
    ///
    /// # Errors
    /// It is a refusal.
    pub fn done(&mut self, method: &str, message: &impl Message) -> Reply<()> {
        let stream = self.ask(method, message);
        self.answer(stream).map(|payload| assert!(payload.is_empty(), "{method}: {payload:?}"))
    }
}

/// A fifo in a directory, and its name.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn fifo(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .expect("mkfifo");
    path.to_str().expect("a path of UTF-8").into()
}

/// An executable script of the host's, and its path.
///
/// # Panics
/// Without install(1).
#[must_use]
pub fn script(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    // By another process: see `Bundle::new`.
    let mut install = Command::new("install");
    install.args(["-m", "0755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped());
    let mut install = install.spawn().expect("install(1)");
    install.stdin.take().expect("a pipe").write_all(format!("#!/bin/sh\n{text}").as_bytes()).expect("write");
    assert!(install.wait().expect("install(1)").success());
    path.to_str().expect("UTF-8").into()
}

/// Reads a file or fifo to its end elsewhere.
#[derive(Debug)]
pub struct Reader(Child);

impl Reader {
    /// Begins.
    ///
    /// # Panics
    /// Without cat(1).
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self(Command::new("cat").arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("cat(1)"))
    }

    /// All that came, when its end has come.
    ///
    /// # Panics
    /// Without cat(1).
    #[must_use]
    pub fn text(mut self) -> String {
        let mut text = Vec::new();
        let mut stdout = self.0.stdout.take().expect("a pipe");
        let end = std::time::Instant::now() + DEADLINE;
        let mut piece = [0u8; 65536];
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let so_far = || format!("{} bytes so far", text.len());
            assert!(crate::wait::readable(std::os::fd::AsFd::as_fd(&stdout), left), "no end of it: {}", so_far());
            match stdout.read(&mut piece).expect("a read") {
                0 => break,
                len => text.extend_from_slice(&piece[..len]),
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bundle {
    /// With the host's programs, read-only: `/bin/sh` and what it may call.
    #[must_use]
    pub fn with_shell(self) -> Self {
        let this = self.bind(Path::new("/usr"), "/usr", &["rbind", "ro"]).with_dir("/usr");
        ["bin", "lib", "lib64"].into_iter().fold(this, |this, name| this.with_link(name, format!("usr/{name}")))
    }

    /// A shell that runs this.
    #[must_use]
    pub fn script(self, text: &str) -> Self {
        self.with_shell().args(["/bin/sh", "-c", text])
    }
}
