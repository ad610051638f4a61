//! The Plan: what `cleat`'s host half decided and its container half, the init, executes.
//!
//! Plain data without a specification word in it. Each decision is an enum, a number with a unit, a bit set, a C
//! string or a descriptor's place in the message that brought it. It is the only thing that both halves know;
//! [`wire`] is how it and the few other messages travel.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub mod hook_end;
pub mod seccomp;
pub mod steps;
mod text;
pub mod wire;

pub use seccomp::Seccomp;
pub use steps::{Fault, FaultKind, Step};
pub use text::Text;

/// A descriptor that comes with the plan: its position among the descriptors sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdIndex(pub u16);

/// A mount that the host half has opened: its position among those, which come in a message of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFd(pub u16);

/// All that the init does between its first instruction and `execve`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// A step made to fail on purpose, for tests.
    pub fault: Option<Fault>,
    /// Give the caller's supplementary groups up before a user namespace is joined.
    pub drop_groups: bool,
    /// Namespaces to join, in this order, before anything else.
    pub join: Vec<Join>,
    /// Change the root to this directory after joining: the container has no mount namespace.
    pub chroot: Option<FdIndex>,
    /// Namespaces to make after the joined ones were entered, `CLONE_NEW*`: those that a joined user
    /// namespace shall own, or a user namespace beside joined ones.
    pub unshare: u64,
    /// Go on in a child: a pid namespace holds children only.
    pub fork: Option<Fork>,
    /// How many mounts the host half opens. They come after the plan, and after `unshare` where they are
    /// opened in the mount namespace that it makes.
    pub mount_fds: u16,
    /// Become user and group 0 of the (joined or new) user namespace before the first mount.
    pub become_root: bool,
    /// New namespaces, `CLONE_NEW*` bits, that must be made by root of the container's user namespace,
    /// from inside the cgroup that the init started in.
    pub unshare_late: u32,
    /// A new time namespace with these offsets.
    pub time: Option<TimeOffsets>,
    /// Name of a new session keyring; `None` keeps the caller's.
    pub keyring: Option<Text>,
    /// Bring `lo` up: the network namespace is new.
    pub loopback: bool,
    /// `sethostname(2)`.
    pub hostname: Option<Text>,
    /// `setdomainname(2)`.
    pub domainname: Option<Text>,
    /// The root file system; `None` when joining a running container.
    pub root: Option<Root>,
    /// Kernel parameters below `/proc/sys`, as relative paths and values.
    pub sysctl: Vec<Sysctl>,
    /// A pseudo-terminal from the container's own devpts as standard streams.
    pub terminal: Option<Terminal>,
    /// Report to the host half when the namespaces and mounts are there, and wait for what it does then:
    /// network devices, hooks.
    pub runtime_hooks: bool,
    /// `createContainer` hooks: run by the init before `pivot_root`.
    pub create_container: Hooks,
    /// `startContainer` hooks: run by the init just before `execve`.
    pub start_container: Hooks,
    /// What processes of `exec` get, too.
    pub inherited: Inherited,
    /// The program; `None` is a container without a process, which cannot be started.
    pub process: Option<Process>,
    /// Where the order to start comes from.
    pub start: Start,
}

/// Properties of the first process that every later one gets as they are: stored as a whole by `create`, and
/// put into the plan as a whole by `exec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inherited {
    /// The NUMA memory policy (set_mempolicy(2)).
    pub memory_policy: Option<MemoryPolicy>,
    /// The execution domain (personality(2)).
    pub personality: Option<u32>,
}

/// When the init goes on in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fork {
    /// At the step `unshare`, into the new namespaces: one of them is a pid namespace.
    New,
    /// At the step `pid-namespace`, into a pid namespace that others live in: they may trace whom they
    /// see there, who must have given up its privileges by then.
    Joined,
}

/// One namespace to enter with `setns(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// A namespace file, or a pidfd when `flags` names several kinds.
    pub fd: FdIndex,
    /// `CLONE_NEW*` bits.
    pub flags: u32,
    /// What the descriptor was opened from, for errors.
    pub path: Text,
}

/// Offsets of a new time namespace (runtime-spec config-linux.md § Offset for Time Namespace).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// `CLOCK_MONOTONIC`.
    pub monotonic: Option<ClockOffset>,
    /// `CLOCK_BOOTTIME`.
    pub boottime: Option<ClockOffset>,
}

/// An offset of one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Whole seconds, negative ones too.
    pub secs: i64,
    /// Nanoseconds added, below 1,000,000,000.
    pub nanos: u32,
}

/// The mount namespace's contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Absolute path on the host.
    pub path: Text,
    /// The same directory as a detached mount the host half opened, where the init may not reach
    /// it by itself (user namespaces).
    pub tree: Option<MountFd>,
    /// Device nodes of the root file system cannot be used.
    pub nodev: bool,
    /// How `path` becomes `/`.
    pub pivot: Pivot,
    /// With [`Pivot::MoveMount`]: where the host's mounts are, which are to leave.
    pub host_mounts: Vec<Text>,
    /// Those of them that are a procfs or a sysfs: covered if they stay.
    pub revealing: Vec<Text>,
    /// Propagation of every mount of the new namespace, set before the first mount.
    pub propagation: Propagation,
    /// Propagation of `/` once the root is entered (`linux.rootfsPropagation`).
    pub root_propagation: Option<Propagation>,
    /// Mount `/` read-only at the end.
    pub readonly: bool,
    /// In the order of config.json.
    pub mounts: Vec<Mount>,
    /// Device nodes below `/`.
    pub devices: Vec<Device>,
    /// Make the standard links (`/dev/fd`, `/dev/stdin` …) and `/dev/ptmx`.
    pub dev_links: bool,
    /// Hidden under `/dev/null` or an empty read-only directory.
    pub masked: Vec<Text>,
    /// Bound onto themselves read-only.
    pub readonly_paths: Vec<Text>,
}

/// How the root directory is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pivot {
    /// `pivot_root(2)` and the old root unmounted.
    PivotRoot,
    /// The root mount moved over `/` and `chroot(2)`: for an initramfs, where `/` cannot pivot.
    MoveMount,
    /// `chroot(2)` alone: no mount namespace of its own, or one that others live in, too.
    Chroot,
}

/// Mount propagation, see mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// The type.
    pub kind: PropagationKind,
    /// Of the mounts below too.
    pub recursive: bool,
}

/// `MS_SHARED` and its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationKind {
    /// Events travel both ways.
    Shared,
    /// Events come in, none goes out.
    Slave,
    /// None.
    Private,
    /// None, and it cannot be bound.
    Unbindable,
}

/// One entry of config.json's `mounts`, or one that we add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Path inside the container.
    pub target: Text,
    /// What is mounted there.
    pub kind: MountKind,
    /// Attributes of this mount alone.
    pub attr: Attr,
    /// Attributes of this mount and all below it.
    pub attr_recursive: Attr,
    /// In order.
    pub propagation: Vec<Propagation>,
    /// Device nodes below it cannot be used; a device node itself, when that is what is bound, can.
    pub nodev: bool,
    /// No part of the target may be a symbolic link (`/proc` and `/sys`: CVE-2019-19921).
    pub target_nofollow: bool,
    /// The last part of the target is not followed, and must be there (`dest-nofollow`).
    pub target_last_nofollow: bool,
    /// `RDONLY` of `attr` is set at the end only, when all that lies below has been made.
    pub readonly_late: bool,
    /// Where the source is a symbolic link, one like it is made instead of a mount (`copy-symlink`).
    pub copy_link: bool,
    /// What is bound must be the root of a procfs.
    pub require_procfs: bool,
    /// Copy what the image has at the target into the new file system.
    pub copy_up: bool,
    /// SELinux label of its root, for a file system that takes none as an option.
    pub label: Option<Text>,
}

/// Bits for `mount_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear; an error where a user namespace may not.
    pub clear: u64,
    /// `MOUNT_ATTR_*` to clear, too, but those that a user namespace may not stay.
    pub clear_unlocked: u64,
}

impl Attr {
    /// Nothing to change.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.set | self.clear | self.clear_unlocked == 0
    }
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: Text,
        /// The same as a path of the container, where an earlier mount of the list makes it.
        inside: Option<Text>,
        /// With the mounts below it.
        recursive: bool,
        /// Do not follow `source` when it is a symbolic link.
        nofollow: bool,
        /// Opened by the host half as a detached mount: in a user namespace the init may not
        /// reach the source, and identity-mapped mounts need the host's privilege.
        tree: Option<MountFd>,
    },
    /// A new instance of a file system.
    New {
        /// `tmpfs`, `proc` …
        fstype: Text,
        /// The device or label, shown in mountinfo.
        source: Option<Text>,
        /// Options of the file system.
        options: Vec<FsOption>,
    },
    /// Changes to what is mounted at the target already.
    Remount {
        /// Options of the file system; empty changes the mount alone.
        options: Vec<FsOption>,
    },
}

/// One option for `fsconfig(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsOption {
    /// `mode`, `size` …
    pub key: Text,
    /// `None` is a flag.
    pub value: Option<Text>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path inside the container.
    pub path: Text,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub file_type: u32,
    /// Permission bits.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `mknod(2)` is not possible in a user namespace: bind the host's node of the same path.
    pub bind: bool,
    /// One of the specification's defaults: what is no device in its place is an error. What stands in the
    /// place of one that config.json names stays, as with runc.
    pub default: bool,
}

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Relative to `/proc/sys`, with slashes.
    pub path: Text,
    /// Written as it is.
    pub value: Text,
}

/// The container's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Rows and columns at the start.
    pub size: Option<(u16, u16)>,
    /// Owner of the slave.
    pub uid: u32,
    /// Bind the slave on `/dev/console`.
    pub console: bool,
}

/// A NUMA memory policy (set_mempolicy(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with `MPOL_F_*` in it.
    pub mode: u32,
    /// Bit N of them all is memory node N; empty: none.
    pub nodes: Vec<u64>,
}

/// A program run at a point of the container's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its kind and its place among those, such as `createRuntime hook #0`.
    pub name: Text,
    /// Absolute path.
    pub path: Text,
    /// With `argv[0]`.
    pub args: Vec<Text>,
    /// The whole environment; `None`: that of who runs it.
    pub env: Option<Vec<Text>>,
    /// Killed after so many seconds; `None` waits for ever.
    pub timeout_secs: Option<u32>,
}

/// Hooks of one kind, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// The hooks.
    pub list: Vec<Hook>,
    /// The container's state as JSON, given to each on its standard input: up to the pid, as the container sees
    /// it, or all of it.
    pub state: Vec<u8>,
    /// What comes after the pid.
    pub state_after_pid: Vec<u8>,
    /// Files of the host that get what they print, too: on standard output, and on standard error.
    pub log: [Option<FdIndex>; 2],
}

/// The container's program and its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `argv`, at least one.
    pub args: Vec<Text>,
    /// The environment, each name once.
    pub env: Vec<Text>,
    /// The environment has no `HOME`: take it from the container's `/etc/passwd`.
    pub find_home: bool,
    /// Absolute working directory.
    pub cwd: Text,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; `None` where `setgroups(2)` is denied.
    pub groups: Option<Vec<u32>>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets.
    pub caps: Caps,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// The system calls it may make.
    pub seccomp: Option<Seccomp>,
    /// AppArmor profile that `execve` changes to.
    pub apparmor: Option<Text>,
    /// SELinux label that `execve` changes to.
    pub selinux: Option<Text>,
    /// Resource limits; the host half has raised hard limits where that takes a privilege.
    pub rlimits: Vec<Rlimit>,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// Set `LISTEN_PID` to the program's own pid.
    pub listen_fds: Option<u32>,
}

/// A resource limit (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`
    pub resource: u32,
    /// In force.
    pub soft: u64,
    /// Ceiling.
    pub hard: u64,
}

/// The five capability sets of capabilities(7), bit N is capability N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Limits what `execve(2)` can give.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Can be made effective.
    pub permitted: u64,
    /// Kept for file capabilities.
    pub inheritable: u64,
    /// Kept over `execve(2)` without file capabilities.
    pub ambient: u64,
}

/// Where the order to start comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// The channel that brought the plan.
    #[default]
    Channel,
    /// A listening socket: `start` is another process, later.
    Listen(FdIndex),
}
