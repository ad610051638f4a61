//! How long does an engine wait for containerd? The part of `make bench-shim` that speaks as the kubelet and dockerd
//! do: one process with one connection.
//!
//! `engine SOCKET NAMESPACE FIFOS CGROUPS ROUNDS SUBJECT…`, where the containers `run-SUBJECT` (of true),
//! `exec-SUBJECT` and `fifty-SUBJECT-1` to `50` (which sleep) have been made. FIFOS is a directory, CGROUPS a list
//! with commas: that of containerd and whatever it executes, and others whose CPU time counts. A line is printed for
//! each sample: what it is of, SUBJECT, microseconds on the clock, microseconds of CPU time.

#![allow(clippy::expect_used, reason = "what is not as expected ends it, and says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use containerd_shim_cleat::messages::{Any, Mount};
use integration::grpc::{Connection, Pending, Request};
use prost::Message;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::net::unix::pipe::{OpenOptions, Receiver};

mod messages;

use messages::{
    Container, CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest, GetContainerRequest,
    KillRequest, MountsRequest, StartRequest, WaitRequest, WaitResponse,
};

/// As many are started at once.
const AT_ONCE: usize = 50;
/// As often.
const TIMES_AT_ONCE: usize = 3;
/// All of it is done by then.
const TIMEOUT: Duration = Duration::from_secs(500);
/// What goes on for so long after an answer, counts as caused by the question.
const AFTERMATH: Duration = Duration::from_millis(50);
/// Shims whose task is deleted, and others without one, have gone by then.
const LEAVE: Duration = Duration::from_secs(40);
const SIGKILL: u32 = 9;
/// The type of what Exec takes.
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, fifos, cgroups, rounds, subjects @ ..] = args.as_slice() else {
        eprintln!("usage: engine SOCKET NAMESPACE FIFOS CGROUPS ROUNDS SUBJECT…");
        std::process::exit(2);
    };
    let rounds = rounds.parse().expect("ROUNDS: a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let work = async {
        let connection = Connection::open(Path::new(socket), &[("containerd-namespace", namespace)]).await;
        let connection = connection.expect("SOCKET: containerd's");
        let cgroups = cgroups.split(',').map(PathBuf::from).collect();
        let engine = Arc::new(Engine { connection, fifos: fifos.into(), cgroups });
        one_by_one(&engine, rounds, subjects).await;
        at_once(&engine, subjects).await;
    };
    runtime.block_on(async { tokio::time::timeout(TIMEOUT, work).await }).expect("all of it, in time");
}

/// Samples of run and exec, in turn.
async fn one_by_one(engine: &Arc<Engine>, rounds: usize, subjects: &[String]) {
    let mut all = Vec::new();
    engine.settle(0).await;
    for subject in subjects {
        let (once, stays) = (engine.container("run", subject).await, engine.container("exec", subject).await);
        let process = process_of(&stays);
        let streams = engine.start(&stays).await;
        all.push((subject, once, stays, process, streams));
    }
    engine.settle(all.len()).await;
    for round in 0..rounds {
        let exec_id = format!("x{round}");
        for (subject, once, stays, process, _) in &all {
            engine.sample("run", subject, all.len(), engine.run(once)).await;
            engine.sample("exec", subject, all.len(), engine.exec(&stays.id, &exec_id, process)).await;
        }
    }
    for (_, _, stays, _, _) in &all {
        engine.remove(&stays.id).await;
    }
}

/// Samples of many starts at once.
async fn at_once(engine: &Arc<Engine>, subjects: &[String]) {
    for _ in 0..TIMES_AT_ONCE {
        for subject in subjects {
            let mut containers = Vec::new();
            for number in 1..=AT_ONCE {
                containers.push(Arc::new(engine.container("fifty", &format!("{subject}-{number}")).await));
            }
            let all = containers.iter().map(|container| {
                let (engine, container) = (Arc::clone(engine), Arc::clone(container));
                async move { engine.start(&container).await }
            });
            engine.settle(0).await;
            let streams = engine.sample("fifty", subject, AT_ONCE, together(all)).await;
            let all = containers.iter().map(|container| {
                let (engine, container) = (Arc::clone(engine), Arc::clone(container));
                async move { engine.remove(&container.id).await }
            });
            together(all).await;
            drop(streams);
        }
    }
}

/// What comes of all of them.
async fn together<F>(all: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut out = Vec::new();
    for task in all.map(tokio::spawn).collect::<Vec<_>>() {
        out.push(task.await.expect("what it makes"));
    }
    out
}

/// `true`, as the container's own process is.
fn process_of(container: &Container) -> Any {
    let spec = container.spec.as_ref().expect("a spec");
    let mut spec: Value = serde_json::from_slice(&spec.value).expect("a spec in JSON");
    let mut process = spec["process"].take();
    process["args"] = json!(["true"]);
    Any { type_url: PROCESS.into(), value: process.to_string().into_bytes() }
}

/// A client of containerd.
struct Engine {
    connection: Connection,
    fifos: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Engine {
    /// What must not be refused.
    async fn ask<R: Request + std::fmt::Debug>(&self, request: &R) -> R::Answer {
        let answer = self.connection.ask(request).await;
        answer.unwrap_or_else(|refused| panic!("{} {request:?}: {refused:?}", R::METHOD))
    }

    /// One that has been made.
    async fn container(&self, what: &str, subject: &str) -> Container {
        let answer = self.ask(&GetContainerRequest { id: format!("{what}-{subject}") }).await;
        answer.container.expect("a container")
    }

    /// Its root.
    async fn rootfs(&self, container: &Container) -> Vec<Mount> {
        let (snapshotter, key) = (container.snapshotter.clone(), container.snapshot_key.clone());
        self.ask(&MountsRequest { snapshotter, key }).await.mounts
    }

    /// A task that is not started.
    async fn create(&self, container: &Container) -> Streams {
        let (container_id, rootfs) = (container.id.clone(), self.rootfs(container).await);
        let streams = Streams::new(&self.fifos, &container_id);
        let (stdout, stderr) = streams.names();
        self.ask(&CreateTaskRequest { container_id, rootfs, stdout, stderr }).await;
        streams
    }

    /// A task.
    async fn start(&self, container: &Container) -> Streams {
        let streams = self.create(container).await;
        self.ask(&StartRequest { container_id: container.id.clone(), exec_id: String::new() }).await;
        streams
    }

    /// Asks for the end of a process, before it is started as a rule: then nobody has to poll.
    async fn wait(&self, container_id: &str, exec_id: &str) -> Pending {
        let request = WaitRequest { container_id: container_id.into(), exec_id: exec_id.into() };
        self.connection.send(WaitRequest::METHOD, &request.encode_to_vec()).await.expect("a connection")
    }

    /// A task, from its creation to its removal.
    async fn run(&self, container: &Container) {
        let mut streams = self.create(container).await;
        let container_id = container.id.clone();
        let end = self.wait(&container_id, "").await;
        self.ask(&StartRequest { container_id: container_id.clone(), exec_id: String::new() }).await;
        assert_eq!(exit_status(end).await, 0, "{container_id}");
        streams.drain().await;
        self.ask(&DeleteTaskRequest { container_id }).await;
    }

    /// Another process in a task, from its creation to its removal.
    async fn exec(&self, container_id: &str, exec_id: &str, process: &Any) {
        let mut streams = Streams::new(&self.fifos, &format!("{container_id}-{exec_id}"));
        let (stdout, stderr) = streams.names();
        let (container_id, exec_id) = (container_id.to_owned(), exec_id.to_owned());
        let spec = Some(process.clone());
        let (id, exec) = (container_id.clone(), exec_id.clone());
        self.ask(&ExecProcessRequest { container_id: id, stdout, stderr, spec, exec_id: exec }).await;
        let end = self.wait(&container_id, &exec_id).await;
        self.ask(&StartRequest { container_id: container_id.clone(), exec_id: exec_id.clone() }).await;
        assert_eq!(exit_status(end).await, 0, "{container_id} {exec_id}");
        streams.drain().await;
        self.ask(&DeleteProcessRequest { container_id, exec_id }).await;
    }

    /// Kills a task.
    async fn remove(&self, container_id: &str) {
        let end = self.wait(container_id, "").await;
        self.ask(&KillRequest { container_id: container_id.into(), signal: SIGKILL }).await;
        exit_status(end).await;
        self.ask(&DeleteTaskRequest { container_id: container_id.into() }).await;
    }

    /// Does the work, after which so many tasks are left.
    async fn sample<T>(&self, what: &str, subject: &str, tasks: usize, work: impl Future<Output = T>) -> T {
        let (used_us, begun) = (self.used_us(), Instant::now());
        let made = work.await;
        let wall = begun.elapsed();
        self.settle(tasks).await;
        println!("{what} {subject} {} {}", wall.as_micros(), self.used_us() - used_us);
        made
    }

    /// Waits until containerd's cgroup has nothing but itself and a shim for each of so many tasks.
    async fn settle(&self, tasks: usize) {
        let begun = Instant::now();
        loop {
            let others = self.processes() - 1;
            if others == tasks {
                break;
            }
            assert!(begun.elapsed() < LEAVE, "{tasks} tasks, and {others} processes below containerd after {LEAVE:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(AFTERMATH).await;
    }

    /// In containerd's cgroup.
    fn processes(&self) -> usize {
        let cgroup = self.cgroups.first().expect("CGROUPS: one");
        fs::read_to_string(cgroup.join("cgroup.procs")).expect("CGROUPS: of version 2").lines().count()
    }

    /// CPU time of all the cgroups, in microseconds.
    fn used_us(&self) -> u64 {
        let used = |cgroup: &PathBuf| {
            let text = fs::read_to_string(cgroup.join("cpu.stat")).expect("CGROUPS: of version 2");
            let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("a usage");
            value.parse::<u64>().expect("microseconds")
        };
        self.cgroups.iter().map(used).sum()
    }
}

/// What a process's end was.
async fn exit_status(end: Pending) -> u32 {
    let bytes = end.answer().await.expect("an exit status");
    WaitResponse::decode(bytes.as_slice()).expect("the answer to Wait").exit_status
}

/// Standard output and error of a process: two fifos, whose ends we have opened for reading.
struct Streams([(PathBuf, Receiver); 2]);

impl Streams {
    fn new(directory: &Path, name: &str) -> Streams {
        let fifo = |stream| {
            let path = directory.join(format!("{name}-{stream}"));
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o700), 0).expect("mkfifo");
            let end = OpenOptions::new().open_receiver(&path).expect("a fifo's end");
            (path, end)
        };
        Streams([fifo("stdout"), fifo("stderr")])
    }

    /// Their paths.
    fn names(&self) -> (String, String) {
        let [stdout, stderr] = &self.0;
        (stdout.0.to_string_lossy().into_owned(), stderr.0.to_string_lossy().into_owned())
    }

    /// Reads to the end: until all who write have gone.
    async fn drain(&mut self) {
        let mut buffer = [0; 4096];
        for (path, end) in &self.0 {
            loop {
                end.readable().await.expect("readable");
                match end.try_read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => eprintln!("{}: {}", path.display(), String::from_utf8_lossy(&buffer[..length])),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
