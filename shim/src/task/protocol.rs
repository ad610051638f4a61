//! What can be asked, what can happen, and what can follow?

use crate::messages::events::Event;
use crate::messages::{self, Timestamp};
use crate::ttrpc::{Answer, Failure};

/// A call that waits for its answer.
pub type Ticket = u64;

/// A process: its container, and its own id, which is empty for the first one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The container.
    pub id: String,
    /// The process.
    pub exec: String,
}

impl Who {
    /// The first process.
    pub fn init(id: &str) -> Who {
        Who { id: id.into(), exec: String::new() }
    }

    /// The first process.
    pub fn is_init(&self) -> bool {
        self.exec.is_empty()
    }

    /// Its name in events: the container's for the first one.
    pub(super) fn name(&self) -> String {
        if self.is_init() { self.id.clone() } else { self.exec.clone() }
    }
}

/// Where bytes come from and go to, as the caller named it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stdio {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
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

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Call {
    Create(messages::CreateRequest),
    Start(Who),
    State(Who),
    Delete(Who),
    Exec(messages::ExecRequest),
    ResizePty(messages::ResizePtyRequest),
    CloseIo(messages::CloseIoRequest),
    Kill(messages::KillRequest),
    Wait(Who),
    Pids(String),
    Pause(String),
    Resume(String),
    Update(messages::UpdateRequest),
    Stats(String),
    Connect(String),
    Checkpoint(String),
    Shutdown,
}

/// What happened.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Input {
    Call(Ticket, Call),
    /// The birth of a process has come to an end; an init waits for its start.
    Born(Who, Result<Birth, Failure>),
    /// The order to start an init has come to an end.
    Started(Who, Result<(), Failure>),
    /// A process that is a child of ours ended.
    Exited(u32, Exit),
    /// The readers of an ended init have taken what it wrote, or there are none, or they do not read.
    Flushed(String),
    /// What a stopped process wrote has been handed over, or will never be.
    Drained(Who),
    /// A container was removed, or could not be.
    Removed(String, Result<(), Failure>),
    /// A container was frozen (or thawed), or could not be.
    Frozen(Ticket, String, bool, Result<(), Failure>),
    /// The kernel killed in a container for want of memory.
    Oom(String),
}

/// A process that was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Its pid.
    pub pid: u32,
    /// It has ended and been reaped. If not, whoever ended with that pid was another.
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
    /// Mount the root file system, open the streams, and have the init made.
    Create(Box<messages::CreateRequest>),
    /// Order a created init to start.
    StartInit(String),
    /// Open the streams and have a process made.
    StartExec(Who, Box<ExecSpec>),
    /// Write down how a process ended, before anybody is told.
    Record(Who, u32, Exit),
    /// An init has ended: let its readers take what it wrote. `Flushed` follows.
    Flush(String),
    /// Say when all that a stopped process wrote has been handed over: `Drained` follows.
    Drain(Who),
    /// The same, and do not wait for ever for children that keep its streams.
    Hurry(Who),
    /// End all processes of a container.
    KillAll(String),
    Signal(Ticket, messages::KillRequest),
    /// Signal a process that is not the first one; it has not been reaped.
    SignalExec(Ticket, u32, u32),
    Freeze(Ticket, String, bool),
    Pids(Ticket, String, Vec<(u32, String)>),
    Update(Ticket, String, Vec<u8>),
    Stats(Ticket, String),
    Resize(Who, u16, u16),
    CloseStdin(Who),
    /// Remove the container, its root file system and its streams: `Removed` follows.
    Remove(String),
    /// Close the streams of a process that is gone.
    Forget(Who),
    Shutdown,
}

/// What a further process is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecSpec {
    /// The `process` object (runtime-spec config.md § Process).
    pub process: Vec<u8>,
    /// Its streams.
    pub stdio: Stdio,
}
