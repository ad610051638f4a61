//! Calls, events and effects: what do the state machine of the tasks and the rest of the shim say to each other?

use std::path::PathBuf;

use crate::messages::events::Event;
use crate::messages::{CheckpointOptions, Mount, Options, Timestamp};
use crate::stdio::Target;
use crate::ttrpc::{Answer, Failure};

/// A call that waits for its answer.
pub type Ticket = u64;

/// Names a process: its container, and its exec id, which is empty for the init.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// The container's id.
    pub container: String,
    /// The exec id.
    pub exec: String,
}

impl ProcessId {
    /// The init of a container.
    pub fn init(id: &str) -> ProcessId {
        ProcessId { container: id.into(), exec: String::new() }
    }

    /// Whether it is the init.
    pub fn is_init(&self) -> bool {
        self.exec.is_empty()
    }

    /// Its id in events and messages: the container's for the init.
    pub(super) fn name(&self) -> String {
        if self.is_init() { self.container.clone() } else { self.exec.clone() }
    }
}

/// A stream, as the caller named it and what that means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stream {
    pub uri: String,
    pub target: Target,
}

/// The standard streams of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stdio {
    pub stdin: Stream,
    pub stdout: Stream,
    pub stderr: Stream,
    pub terminal: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, or 128 and the signal's number.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

/// A call of containerd's: for which process, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The process, or the init of the container that is meant.
    pub who: ProcessId,
    /// What is to be done.
    pub verb: Verb,
}

/// The calls of containerd's task service.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Verb {
    Create(Box<CreateSpec>),
    Start,
    State,
    Delete,
    Exec(Box<ExecSpec>),
    ResizePty { width: u16, height: u16 },
    CloseIo { stdin: bool },
    Kill(Kill),
    Wait,
    Pids,
    Pause,
    Resume,
    Update(Vec<u8>),
    Stats,
    Connect,
    Checkpoint(Box<CheckpointSpec>),
    Shutdown,
}

impl Verb {
    /// The call, for a process.
    pub fn of(self, who: ProcessId) -> Call {
        Call { who, verb: self }
    }
}

/// What a new container is to be.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct CreateSpec {
    pub bundle: PathBuf,
    pub rootfs: Vec<Mount>,
    pub stdio: Stdio,
    pub options: Options,
    /// The directory of the images that it is restored from when it is started.
    pub checkpoint: Option<PathBuf>,
}

/// What a checkpoint is to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointSpec {
    /// The directory of the images.
    pub images: PathBuf,
    /// As the request has them.
    pub options: CheckpointOptions,
}

/// What a further process is to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecSpec {
    /// The `process` object (runtime-spec config.md § Process).
    pub process: Vec<u8>,
    /// Its streams.
    pub stdio: Stdio,
}

/// Which signal, and whether it is for all processes of the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Kill {
    pub signal: u32,
    pub all: bool,
}

/// What happened.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Input {
    Call(Ticket, Call),
    /// `cleat create`, `cleat exec` or `cleat restore` has ended; an init that was created waits for its start. One that
    /// will be restored has no pid until then.
    Created(ProcessId, Result<NewProcess, Failure>),
    /// `cleat start` has ended.
    Started(ProcessId, Result<(), Failure>),
    /// A child of the shim has ended, which is a container's process.
    Exited(u32, Exit),
    /// The fifos of an ended init have been read empty, or have no reader, or their readers were too slow.
    FifosDrained(String),
    /// The output of a stopped process has been delivered, or will never be.
    Drained(ProcessId),
    /// A container was removed, or could not be.
    Removed(String, Result<(), Failure>),
    /// A container was frozen (or thawed), or could not be.
    Frozen(Ticket, String, bool, Result<(), Failure>),
    /// `cleat checkpoint` has ended: the directory of the images.
    Checkpointed(String, PathBuf, Result<(), Failure>),
    /// The kernel has OOM-killed a process of a container.
    Oom(String),
}

/// A process that was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewProcess {
    /// Its pid.
    pub pid: u32,
    /// It has ended and been reaped. If not, an earlier exit of that pid was another process's.
    pub gone: bool,
    /// Other processes of its container outlive it: it has no pid namespace of its own.
    pub shares_pids: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Effect {
    Answer(Ticket, Answer),
    Publish(Event),
    /// Mount the root file system, open the streams, and run `cleat create`, unless it will be restored.
    Create(String, Box<CreateSpec>),
    /// Run `cleat start`.
    StartInit(String),
    /// Run `cleat restore`: `Created` follows.
    RestoreInit(String),
    /// Run `cleat checkpoint`: `Checkpointed` follows.
    Checkpoint(String, Box<CheckpointSpec>),
    /// Open the streams and run `cleat exec`.
    StartExec(ProcessId, Box<ExecSpec>),
    /// Write down how a process ended, before the exit is published.
    RecordExit(ProcessId, u32, Exit),
    /// An init has ended: wait until its fifos have been read. `FifosDrained` follows.
    DrainFifos(String),
    /// Wait until the output of a stopped process has been delivered: `Drained` follows.
    Drain(ProcessId),
    /// From now on, wait ten seconds at most for children that hold the streams.
    DrainDeadline(ProcessId),
    /// Kill all processes of a container.
    KillAll(String),
    Signal(Ticket, String, Kill),
    /// Signal a process that is not the init; it has not been reaped.
    SignalExec(Ticket, u32, u32),
    Freeze(Ticket, String, bool),
    Pids(Ticket, String, Vec<(u32, String)>),
    Update(Ticket, String, Vec<u8>),
    /// The pid: of an init that lives.
    Stats(Ticket, String, Option<u32>),
    Resize(ProcessId, u16, u16),
    CloseStdin(ProcessId),
    /// Remove the container and its root file system: `Removed` follows.
    Remove(String),
    /// Close the streams of a process that was deleted.
    ReleaseStreams(ProcessId),
    Shutdown,
}
