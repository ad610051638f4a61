//! The messages that the halves exchange over their `SOCK_SEQPACKET` pair.
//!
//! One packet is one message. The plan alone may be longer than a packet: it is preceded by its
//! length and sent in pieces. Lengths are checked against [`MAX_PLAN`] before memory is taken
//! (CVE-2021-43784 was a length that wrapped).

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::Plan;
use crate::steps::Step;

/// Longest packet that is ever sent.
pub const MAX_PACKET: usize = 32 * 1024;
/// Longest packet that the init sends: a failure with a path in it.
pub const MAX_ANSWER: usize = 16 * 1024;
/// Longest encoded plan: arguments and environment may have 2 MiB each on Linux (execve(2)).
pub const MAX_PLAN: usize = 16 * 1024 * 1024;
/// Most descriptors in one packet (`SCM_MAX_FD` is 253).
pub const MAX_FDS: usize = 250;

/// From the host half to the init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToInit {
    /// The user namespace has its mappings (sent before the init's own program runs).
    Mapped,
    /// `len` bytes of plan follow in further packets, and `fds` descriptors with them.
    Plan {
        /// Bytes of the encoded plan.
        len: u32,
        /// Descriptors that come along.
        fds: u16,
    },
    /// The mounts that the host half has opened; one packet for each few of them.
    Mounts,
    /// Network devices have been moved, `prestart` and `createRuntime` hooks have run.
    HooksDone,
    /// The listener of the filter that is loaded early has been handed over.
    ListenerTaken,
    /// The state is saved; the order to start will come from another process.
    Prepared,
    /// Execute the program.
    Go,
}

/// From the init to the host half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromInit {
    /// The pidfd of the child that goes on: the process that sends it ends.
    Forked,
    /// The namespaces of the step `unshare` are there: a new user namespace needs its mappings, and
    /// descriptors can be opened in the mount namespace.
    Unshared,
    /// The terminal's master comes with this message.
    Console,
    /// Namespaces and mounts are there: move network devices, run the hooks.
    RunHooks,
    /// The container is made and waits for its order to start.
    Ready,
    /// The seccomp filter is loaded, and the descriptor that decides for it comes with this message.
    Listener,
    /// There is no session keyring for it, for this reason of the kernel's: it has its caller's.
    NoKeyring(i32),
    /// A step failed and the init ends.
    Failed(Failure),
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// The system call, or what was being done.
    pub call: Vec<u8>,
    /// The object, where there is one.
    pub path: Vec<u8>,
    /// The kernel's answer.
    pub errno: i32,
    /// What to do about it, or why; may be empty.
    pub hint: Vec<u8>,
}

/// Encodes any of the messages; infallible but for memory.
///
/// # Errors
/// Only those of the encoder's buffer growing.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_allocvec(message)
}

/// Decodes a message; trailing bytes are an error.
///
/// # Errors
/// The bytes are not such a message.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(message) } else { Err(postcard::Error::DeserializeUnexpectedEnd) }
}

/// Encodes a plan.
///
/// # Errors
/// As [`encode`].
pub fn encode_plan(plan: &Plan) -> Result<Vec<u8>, postcard::Error> {
    encode(plan)
}
