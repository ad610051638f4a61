//! The shim without containerd: checkpoints, and containers that come from one.
//!
//! The runtime is a script in place of `cleat checkpoint` and `cleat restore`: CRIU may not run here. What it restores
//! is a container that is created and started. The chapter `criu` sees the real one, in the guest.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::{Path, PathBuf};

use containerd_shim_cleat::messages::events::TaskCheckpointed;
use containerd_shim_cleat::messages::{
    Any, CheckpointOptions, CheckpointRequest, CreateRequest, DeleteResponse, ExecRequest, Options, PidResponse,
    TaskStatus,
};
use integration::shim::{Client, OPTIONS, Reader, Reply, Shim, ShimHost, Streams, fifo, script};
use integration::{Bundle, eventually};
use prost::Message;

const FAILED_PRECONDITION: i32 = 9;

/// `criu`'s part, and what the runtime does with the container around it. In the directory are `asked` (the words of each
/// such command), `gate` (a fifo: the dump waits for a line) and `fail` (neither works, as long as it is there).
const RUNTIME: &str = r#"
set -e
globals=
while :; do
  case $1 in
    --log) log=$2; globals="$globals $1 $2"; shift 2 ;;
    --root | --log-format) globals="$globals $1 $2"; shift 2 ;;
    --*) globals="$globals $1"; shift ;;
    *) break ;;
  esac
done
command=$1
case $command in checkpoint | restore) echo "$*" >>DIR/asked ;; *) exec CLEAT $globals "$@" ;; esac
shift
leave= images= work= words=
while [ $# -gt 1 ]; do
  case $1 in
    --image-path) images=$2; shift 2 ;;
    --work-path) work=$2; shift 2 ;;
    --leave-running) leave=yes; shift ;;
    --detach | --no-subreaper) shift ;;
    *) words="$words $1"; shift ;;
  esac
done
mkdir -p "$images" "$work"
if [ -e DIR/fail ]; then
  case $command in checkpoint) name=dump.log ;; *) name=restore.log ;; esac
  echo why >"$work/$name"
  echo "{\"level\":\"error\",\"msg\":\"criu failed: why; its log is $work/$name\"}" >"$log"
  exit 1
fi
case $command in
  restore)
    CLEAT $globals create $words "$1"
    CLEAT $globals start "$1" ;;
  checkpoint)
    [ ! -p DIR/gate ] || read -r line <DIR/gate
    echo inventory >"$images/inventory.img"
    [ -n "$leave" ] || CLEAT $globals delete --force "$1" ;;
esac
"#;

/// A host with that runtime, and where its images are.
struct Stage {
    host: ShimHost,
    bundle: Bundle,
    runtime: String,
    images: PathBuf,
}

impl Stage {
    fn of(bundle: Bundle) -> Self {
        let host = ShimHost::new();
        let (dir, cleat) = (host.dir().to_str().expect("UTF-8"), host.options().binary_name);
        let text = RUNTIME.replace("DIR", dir).replace("CLEAT", &cleat);
        let runtime = script(host.dir(), "runtime", &text);
        let images = host.dir().join("images");
        Self { bundle, runtime, images, host }
    }

    fn options(&self) -> Options {
        Options { binary_name: self.runtime.clone(), ..self.host.options() }
    }

    /// Create.
    fn create(&self, shim: &Shim<'_>, client: &mut Client, streams: &Streams, checkpoint: &Path) -> u32 {
        let request = CreateRequest {
            options: Some(Any::of(OPTIONS, &self.options())),
            checkpoint: checkpoint.to_str().expect("UTF-8").into(),
            ..shim.create_request(streams)
        };
        let told: Reply<PidResponse> = client.call("Create", &request);
        told.unwrap_or_else(|refusal| panic!("Create: {refusal:?}")).pid
    }

    fn checkpoint(&self, options: &CheckpointOptions) -> CheckpointRequest {
        let options = Some(Any::of("containerd.runc.v1.CheckpointOptions", options));
        CheckpointRequest { id: "a".into(), path: self.images.to_str().expect("UTF-8").into(), options }
    }

    /// What the runtime was asked for, with `BUNDLE` and `DIR` for those directories.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.host.dir().join("asked")).unwrap_or_default();
        let named = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (bundle, dir) = (named(self.bundle.path()), named(self.host.dir()));
        text.lines().map(|line| line.replace(&bundle, "BUNDLE").replace(&dir, "DIR")).collect()
    }

    fn close(&self, shim: &Shim<'_>, client: &mut Client) {
        client.done("Shutdown", &shim.process("")).expect("Shutdown");
        self.host.nothing_is_left(&[&self.bundle]);
    }
}

fn sleeper() -> Stage {
    Stage::of(Bundle::new().args(["/probe", "sleep"]))
}

fn start(shim: &Shim<'_>, client: &mut Client) -> u32 {
    let told: Reply<PidResponse> = client.call("Start", &shim.process(""));
    told.unwrap_or_else(|refusal| panic!("Start: {refusal:?}")).pid
}

fn run(stage: &Stage, shim: &Shim<'_>, client: &mut Client) -> u32 {
    let pid = stage.create(shim, client, &Streams::default(), Path::new(""));
    assert_eq!(start(shim, client), pid);
    pid
}

#[track_caller]
fn refused<T: std::fmt::Debug>(reply: Reply<T>, code: i32, text: &str) {
    match reply {
        Err((is, said)) if is == code && said.contains(text) => {}
        other => panic!("{other:?}, not {code} {text}"),
    }
}

/// The words of the Go shim, and the mode that it forgets.
#[test]
fn a_checkpoint_has_all_that_was_asked_for_and_the_container_goes_on() {
    let stage = sleeper();
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    let pid = run(&stage, &shim, &mut client);
    client.done("Checkpoint", &stage.checkpoint(&CheckpointOptions::default())).expect("Checkpoint");
    let all = CheckpointOptions {
        open_tcp: true,
        external_unix_sockets: true,
        terminal: true,
        file_locks: true,
        empty_namespaces: vec!["network".into()],
        cgroups_mode: "soft".into(),
        work_path: stage.host.dir().join("logs").to_str().expect("UTF-8").into(),
        ..CheckpointOptions::default()
    };
    client.done("Checkpoint", &stage.checkpoint(&all)).expect("Checkpoint");
    assert_eq!(
        stage.asked(),
        [
            "checkpoint --image-path DIR/images --work-path BUNDLE/criu-work --leave-running a",
            "checkpoint --image-path DIR/images --work-path DIR/logs --tcp-established --ext-unix-sk --shell-job \
             --file-locks --leave-running --empty-ns network --manage-cgroups-mode soft a",
        ]
    );
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    assert!(!stage.bundle.path().join("criu-work").exists(), "its directory goes with success");
    assert!(stage.host.dir().join("logs").exists(), "the caller's stays");
    let event = stage.host.events().received().into_iter().find(|event| event.topic == "/tasks/checkpointed");
    let event = event.and_then(|event| event.event).expect("an event");
    assert_eq!(event.type_url, "containerd.events.TaskCheckpointed");
    let event = TaskCheckpointed::decode(&*event.value).expect("a TaskCheckpointed");
    assert_eq!(event.checkpoint, stage.images.to_str().expect("UTF-8"));

    shim.kill(&mut client, "", 9, true).expect("Kill");
    shim.wait(&mut client, "");
    refused(client.done("Checkpoint", &stage.checkpoint(&all)), FAILED_PRECONDITION, "not running");
    shim.delete(&mut client, "");
    stage.close(&shim, &mut client);
}

#[test]
fn a_failed_checkpoint_names_the_log_that_is_kept() {
    let stage = sleeper();
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    let pid = run(&stage, &shim, &mut client);
    fs::write(stage.host.dir().join("fail"), "").expect("a file");
    let log = stage.bundle.path().join("criu-dump.log");
    let text = format!("OCI runtime checkpoint failed: criu failed: why; its log is {}", log.display());
    let options = CheckpointOptions { exit: true, ..CheckpointOptions::default() };
    assert_eq!(client.done("Checkpoint", &stage.checkpoint(&options)), Err((2, text)));
    assert_eq!(fs::read_to_string(log).expect("the log"), "why\n");
    assert!(!stage.bundle.path().join("criu-work").exists());
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    assert!(!stage.host.events().topics().iter().any(|topic| topic.contains("checkpointed")));
    shim.end(&mut client);
    stage.host.nothing_is_left(&[&stage.bundle]);
}

/// What changes the container is refused meanwhile, and all else is served: a checkpoint takes seconds.
#[test]
fn others_are_served_while_a_container_is_dumped() {
    let stage = sleeper();
    let gate = fifo(stage.host.dir(), "gate");
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    let pid = run(&stage, &shim, &mut client);
    // As containerd does: frozen before, thawed afterwards.
    client.done("Pause", &shim.process("")).expect("Pause");
    let dump = client.ask("Checkpoint", &stage.checkpoint(&CheckpointOptions::default()));
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Paused, pid));
    let exec: ExecRequest = shim.exec_request("e", &["/probe", "sleep"], &Streams::default());
    client.done("Exec", &exec).expect("Exec");
    refused(client.done("Resume", &shim.process("")), FAILED_PRECONDITION, "being checkpointed");
    refused(client.done("Start", &shim.process("e")), FAILED_PRECONDITION, "being checkpointed");
    let again = stage.checkpoint(&CheckpointOptions::default());
    refused(client.done("Checkpoint", &again), FAILED_PRECONDITION, "being checkpointed");
    fs::write(gate, "go on\n").expect("the gate");
    client.answer(dump).expect("Checkpoint");
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Paused, pid));
    client.done("Resume", &shim.process("")).expect("Resume");
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    shim.end(&mut client);
    stage.host.nothing_is_left(&[&stage.bundle]);
}

/// The command deletes the container, and the exit is an exit like any other.
#[test]
fn a_checkpoint_that_ends_the_container_publishes_its_exit() {
    let stage = sleeper();
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    run(&stage, &shim, &mut client);
    shim.exec(&mut client, "e", &["/probe", "sleep"], &Streams::default());
    let options = CheckpointOptions { exit: true, ..CheckpointOptions::default() };
    client.done("Checkpoint", &stage.checkpoint(&options)).expect("Checkpoint");
    assert_eq!((shim.wait(&mut client, "e"), shim.wait(&mut client, "")), (137, 137));
    assert_eq!(stage.asked(), ["checkpoint --image-path DIR/images --work-path BUNDLE/criu-work a"]);
    refused(client.done("Resume", &shim.process("")), FAILED_PRECONDITION, "not paused");
    assert_eq!((shim.delete(&mut client, "e"), shim.delete(&mut client, "")), (137, 137));
    let topics = eventually("the deletion is published", || {
        let topics = stage.host.events().topics();
        let last = topics.last().is_some_and(|last| last.contains("delete"));
        if last { Ok(topics) } else { Err(format!("{topics:?}")) }
    });
    let place = |topic: &str| topics.iter().rposition(|heard| heard.contains(topic));
    assert!(place("checkpointed").is_some() && place("checkpointed") < place("delete"), "{topics:?}");
    stage.close(&shim, &mut client);
}

#[test]
fn a_container_is_restored_when_it_is_started() {
    let stage = Stage::of(Bundle::new().script("read -r line; echo out $line; exit 7"));
    let name = |stream: &str| fifo(stage.host.dir(), stream);
    let streams = Streams { stdin: name("in"), stdout: name("out"), ..Streams::default() };
    let out = Reader::of(&streams.stdout);
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    assert_eq!(stage.create(&shim, &mut client, &streams, &stage.images), 0, "there is no process");
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Created, 0));
    assert_eq!(stage.asked(), [""; 0]);
    refused(shim.kill(&mut client, "", 9, false), FAILED_PRECONDITION, "not created");
    refused(client.done("Pause", &shim.process("")), FAILED_PRECONDITION, "not restored");
    let end = client.ask("Wait", &shim.process(""));

    // What fails is told, leaves a log, and can be tried again.
    let fail = stage.host.dir().join("fail");
    fs::write(&fail, "").expect("a file");
    let told: Reply<PidResponse> = client.call("Start", &shim.process(""));
    let log = stage.bundle.path().join("criu-restore.log");
    let text = format!("OCI runtime restore failed: criu failed: why; its log is {}", log.display());
    assert_eq!(told, Err((2, text)));
    assert!(log.exists());
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Created, 0));
    fs::remove_file(fail).expect("a file less");

    let pid = start(&shim, &mut client);
    let words = "restore --image-path DIR/images --work-path BUNDLE/criu-work --detach --no-subreaper \
                 --bundle BUNDLE --pid-file BUNDLE/init.pid --give-fifos a";
    assert_eq!(stage.asked(), [words, words]);
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    let parent = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    assert!(parent.contains(&format!("PPid:\t{}\n", shim.pid(&mut client))), "the shim reaps it: {parent}");
    fs::write(&streams.stdin, "line\n").expect("write");
    client.answer(end).expect("Wait");
    assert_eq!(shim.wait(&mut client, ""), 7);
    assert_eq!(out.text(), "out line\n");
    assert_eq!(shim.delete(&mut client, ""), 7);
    stage.host.events().expect(&["create", "start", "exit", "delete"]);
    stage.close(&shim, &mut client);
}

#[test]
fn a_container_that_was_never_restored_is_deleted() {
    let stage = sleeper();
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    stage.create(&shim, &mut client, &Streams::default(), &stage.images);
    let told: Reply<DeleteResponse> = client.call("Delete", &shim.process(""));
    assert_eq!(told.expect("Delete").pid, 0);
    assert_eq!(stage.asked(), [""; 0]);
    stage.close(&shim, &mut client);
}

/// All are frozen, then each is dumped, then all go on: so the images agree.
#[test]
fn the_containers_of_a_pod_are_frozen_together() {
    let stage = sleeper();
    let other = Bundle::new().args(["/probe", "sleep"]);
    let shim = stage.host.serve(stage.bundle.path(), "a");
    let mut client = shim.connect();
    let first = run(&stage, &shim, &mut client);
    let request = CreateRequest {
        id: "b".into(),
        bundle: other.path().to_str().expect("UTF-8").into(),
        options: Some(Any::of(OPTIONS, &stage.options())),
        ..shim.create_request(&Streams::default())
    };
    let told: Reply<PidResponse> = client.call("Create", &request);
    let second = told.expect("Create").pid;
    let of = |id: &str| containerd_shim_cleat::messages::ProcessRequest { id: id.into(), exec_id: String::new() };
    let told: Reply<PidResponse> = client.call("Start", &of("b"));
    assert!(told.is_ok(), "{told:?}");
    for id in ["a", "b"] {
        client.done("Pause", &of(id)).expect("Pause");
    }
    let dumps = ["a", "b"].map(|id| {
        let path = stage.host.dir().join(id).to_str().expect("UTF-8").to_owned();
        client.ask("Checkpoint", &CheckpointRequest { id: id.into(), path, options: None })
    });
    for dump in dumps {
        client.answer(dump).expect("Checkpoint");
    }
    for (id, pid) in [("a", first), ("b", second)] {
        assert!(stage.host.dir().join(id).join("inventory.img").exists());
        let state: Reply<containerd_shim_cleat::messages::StateResponse> = client.call("State", &of(id));
        let state = state.expect("State");
        assert_eq!((state.status(), state.pid), (TaskStatus::Paused, pid), "{id}");
    }
    for id in ["a", "b"] {
        client.done("Resume", &of(id)).expect("Resume");
        let kill = containerd_shim_cleat::messages::KillRequest { id: id.into(), signal: 9, ..Default::default() };
        client.done("Kill", &kill).expect("Kill");
        eventually("its end", || {
            let told: Reply<DeleteResponse> = client.call("Delete", &of(id));
            told.map(drop).map_err(|refusal| format!("{refusal:?}"))
        });
    }
    stage.close(&shim, &mut client);
    stage.host.nothing_is_left(&[&other]);
}
