//! A seccomp filter as the kernel takes it.

use alloc::vec::Vec;
use core::fmt;

use serde::de::Error as _;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most instructions of one program (kernel: `BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// What is done with a process's system calls, from some point of its creation on (seccomp(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp {
    /// The filter.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*` but `NEW_LISTENER`.
    pub flags: u32,
    /// Ask for the notify descriptor of the calls to be decided elsewhere, and send it.
    pub listener: bool,
    /// When.
    pub load: Load,
}

/// When the filter is loaded. Later is better: from then on the init's own calls go through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// Just before `execve`: `no_new_privs` is set, which takes the place of a privilege.
    Last,
    /// The same, with `CAP_SYS_ADMIN` kept for it until then. `execve` takes it away. In a pid
    /// namespace of its own, whose processes cannot trace it and get at it meanwhile.
    LastPrivileged,
    /// Before others see this process, who may trace it: all that is left to do then is to go on in a
    /// child, to wait for the order to start, and `execve`.
    Early,
}

/// One instruction of classic BPF (kernel: `struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped when the comparison holds.
    pub jt: u8,
    /// Instructions skipped when it does not.
    pub jf: u8,
    /// Constant.
    pub k: u32,
}

/// A classic BPF program: bytes on the wire, instructions in JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Program(Vec<u8>);

impl Program {
    /// Of instructions; `None` without any, or with more than [`MAX_INSTRUCTIONS`].
    pub fn new(instructions: impl IntoIterator<Item = Instruction>) -> Option<Program> {
        let mut bytes = Vec::new();
        for insn in instructions {
            bytes.extend_from_slice(&insn.code.to_ne_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_ne_bytes());
        }
        Program::from_bytes(bytes)
    }

    /// As it was saved; `None` unless it is a whole number of instructions that the kernel takes.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Program> {
        let count = bytes.len() / 8;
        (bytes.len() % 8 == 0 && (1..=MAX_INSTRUCTIONS).contains(&count)).then_some(Program(bytes))
    }

    /// An array of `struct sock_filter`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many instructions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len() / 8
    }

    /// Each instruction.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction> {
        self.0.chunks_exact(8).map(|b| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.instructions()).finish()
    }
}

impl Serialize for Program {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        let mut list = serializer.serialize_seq(Some(self.count()))?;
        for insn in self.instructions() {
            list.serialize_element(&(insn.code, insn.jt, insn.jf, insn.k))?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Program, D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        Program::from_bytes(bytes.into()).ok_or_else(|| D::Error::custom("not a BPF program"))
    }
}
