//! Which features has this kernel, asked and not guessed from its version?

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sched::CloneFlags;
use nix::sys::memfd::MFdFlags;
use serde::Serialize;

use crate::plan::host::Host;
use crate::sys;
use crate::sys::netlink::{Change, Netlink};
use crate::sys::query;

/// The kernel.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// uname(2)
    pub release: String,
    /// uname(2)
    pub machine: String,
    /// In the order of docs/kernel.md.
    pub features: Vec<Feature>,
}

/// A feature that is used.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// Which.
    #[serde(skip)]
    pub which: Which,
    /// As docs/kernel.md has it.
    pub name: &'static str,
    /// The first version that has it.
    pub since: &'static str,
    /// What it is used for.
    pub used_for: &'static str,
    /// What is lost without it.
    pub without: &'static str,
    /// `None`: it cannot be seen from here.
    pub available: Option<bool>,
}

impl Feature {
    /// No container runs without it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.without == NOTHING_RUNS
    }
}

/// The features by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Which {
    Openat2,
    MountCalls,
    MountSetattr,
    CloneIntoCgroup,
    CloseRange,
    CgroupKill,
    SetnsPidfd,
    DevicePrograms,
    TimeNamespaces,
    NewIfindex,
    Nosymfollow,
    IdmappedMounts,
    Seccomp,
    SeccompNotify,
    WaitKillable,
    MfdExec,
    ProcfsPidns,
    MfdNoexecSeal,
}

const NOTHING_RUNS: &str = "does not run";
const CONFIGURATION_FAILS: &str = "a configuration with them fails";
const OPTION_FAILS: &str = "a configuration with it fails";

type Row = (Which, &'static str, &'static str, &'static str, &'static str);

/// The table of docs/kernel.md: feature, since, used for, without it.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Which::Openat2, "openat2 with RESOLVE_IN_ROOT", "5.6", "every file of the container", NOTHING_RUNS),
    (Which::MountCalls, "fsopen, fsmount, open_tree, move_mount", "5.2", "every mount, by descriptor", NOTHING_RUNS),
    (Which::MountSetattr, "mount_setattr", "5.12", "attributes, propagation, recursive ones, identity maps", NOTHING_RUNS),
    (Which::CloneIntoCgroup, "clone3 with CLONE_INTO_CGROUP", "5.7", "creation inside the cgroup, without a global lock", NOTHING_RUNS),
    (Which::CloseRange, "close_range with CLOSE_RANGE_CLOEXEC", "5.11", "no descriptor leaks", NOTHING_RUNS),
    (Which::CgroupKill, "cgroup.kill", "5.14", "kill, delete", NOTHING_RUNS),
    (Which::SetnsPidfd, "setns with a pidfd", "5.8", "exec", NOTHING_RUNS),
    (Which::DevicePrograms, "eBPF device programs on cgroups", "4.15", "device access, as root", NOTHING_RUNS),
    (Which::TimeNamespaces, "time namespaces", "5.6", "timeOffsets", CONFIGURATION_FAILS),
    (Which::NewIfindex, "IFLA_NEW_IFINDEX", "5.13", "netDevices: a moved device is known by its number", CONFIGURATION_FAILS),
    (Which::Nosymfollow, "nosymfollow", "5.10 (attribute 5.14)", "that mount option", OPTION_FAILS),
    (Which::IdmappedMounts, "identity-mapped mounts", "5.12 (tmpfs 6.3)", "idmap, uidMappings of mounts", CONFIGURATION_FAILS),
    (Which::Seccomp, "seccomp filters", "3.17", "linux.seccomp", OPTION_FAILS),
    (Which::SeccompNotify, "SECCOMP_RET_USER_NOTIF", "5.0", "SCMP_ACT_NOTIFY", OPTION_FAILS),
    (Which::WaitKillable, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "5.19", "that flag", OPTION_FAILS),
    (Which::MfdExec, "MFD_EXEC", "6.3", "the init's memfd where vm.memfd_noexec is 1", "not needed before"),
    (
        Which::ProcfsPidns,
        "pidns= of procfs",
        "6.17",
        "the procfs of a shared pid namespace",
        "a process with privileges is seen there for a moment",
    ),
    (Which::MfdNoexecSeal, "MFD_NOEXEC_SEAL", "6.3", "the state that hooks get", "it can be made a program"),
];

/// What else has to be known to ask.
pub(super) struct Context<'a> {
    pub(super) host: &'a Host,
    /// The v2 tree and this process's own cgroup there.
    pub(super) cgroup: Option<&'a Path>,
}

impl Kernel {
    /// Asks it.
    pub(super) fn probe(context: &Context<'_>) -> Kernel {
        let name = nix::sys::utsname::uname().ok();
        let text = |text: Option<&OsStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        Kernel {
            release: text(name.as_ref().map(|name| name.release())),
            machine: text(name.as_ref().map(|name| name.machine())),
            features: TABLE.iter().map(|row| feature(row, context)).collect(),
        }
    }

    /// Whether it does not answer, because this process may not mount.
    pub(super) fn hides_something(&self) -> bool {
        self.features.iter().any(|feature| feature.available.is_none() && takes_right_to_mount(feature.which))
    }

    /// Asks for that again.
    pub(super) fn ask_again(&mut self, context: &Context<'_>) {
        for feature in self.features.iter_mut().filter(|feature| takes_right_to_mount(feature.which)) {
            feature.available = available(feature.which, context);
        }
    }

    /// Whether it has a feature; `None`: that cannot be seen.
    #[must_use]
    pub fn has(&self, which: Which) -> Option<bool> {
        self.features.iter().find(|feature| feature.which == which).and_then(|feature| feature.available)
    }

    /// The features that are not there and that no container runs without.
    pub fn missing(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|feature| feature.is_required() && feature.available == Some(false))
    }
}

fn feature(row: &Row, context: &Context<'_>) -> Feature {
    let (which, name, since, used_for, without) = *row;
    Feature { which, name, since, used_for, without, available: available(which, context) }
}

fn takes_right_to_mount(which: Which) -> bool {
    matches!(which, Which::Nosymfollow | Which::IdmappedMounts | Which::ProcfsPidns)
}

fn available(which: Which, context: &Context<'_>) -> Option<bool> {
    const NOSYMFOLLOW: u64 = 0x20_0000;
    const IDMAP: u64 = 0x10_0000;
    match which {
        Which::Openat2 => Some(has_openat2()),
        Which::MountCalls => Some(query::has_mount_calls()),
        Which::MountSetattr => Some(query::has_mount_setattr()),
        Which::CloneIntoCgroup => query::knows_clone_into_cgroup(),
        // There is one number from the highest on, which no descriptor has.
        Which::CloseRange => Some(sys::cloexec_from(u32::MAX).is_ok()),
        Which::CgroupKill => context.cgroup.and_then(has_cgroup_kill),
        Which::SetnsPidfd => has_setns_with_pidfd(),
        Which::DevicePrograms => (!context.host.rootless()).then(loads_device_program).flatten(),
        Which::TimeNamespaces => Some(Path::new("/proc/self/ns/time").exists()),
        Which::NewIfindex => has_new_ifindex(),
        Which::Nosymfollow => query::knows_mount_attributes(NOSYMFOLLOW),
        Which::IdmappedMounts => query::knows_mount_attributes(IDMAP),
        // SECCOMP_FILTER_FLAG_TSYNC, which is as old as the call.
        Which::Seccomp => Some(sys::knows_filter_flag(1)),
        Which::SeccompNotify => seccomp_action("user_notif"),
        Which::WaitKillable => Some(sys::knows_filter_flag(32)),
        Which::ProcfsPidns => has_procfs_pidns(),
        Which::MfdExec => Some(has_memfd_flag(nix::libc::MFD_EXEC)),
        Which::MfdNoexecSeal => Some(has_memfd_flag(nix::libc::MFD_NOEXEC_SEAL)),
    }
}

fn has_openat2() -> bool {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    crate::sys::path::open_dir(Path::new("/")).and_then(|root| nix::fcntl::openat2(&root, ".", how)).is_ok()
}

/// The root of the tree has no such file, so another cgroup is looked at, if there is one.
fn has_cgroup_kill(own: &Path) -> Option<bool> {
    let of_cgroup = |dir: &Path| {
        let has = dir.join("cgroup.kill").exists();
        // Asked afterwards: it may be gone by now.
        (has || dir.join("cgroup.type").exists()).then_some(has)
    };
    let children = || std::fs::read_dir(own).into_iter().flatten().flatten().find_map(|entry| of_cgroup(&entry.path()));
    of_cgroup(own).or_else(children)
}

/// Into the namespace where this process is, which changes nothing.
fn has_setns_with_pidfd() -> Option<bool> {
    let own = sys::pidfd_open(nix::unistd::getpid().as_raw()).ok()?;
    match nix::sched::setns(own.as_fd(), CloneFlags::CLONE_NEWUTS) {
        // Who may not has been understood.
        Ok(()) | Err(Errno::EPERM) => Some(true),
        Err(Errno::EINVAL) => Some(false),
        Err(_) => None,
    }
}

/// A program that allows everything and is attached to nothing.
fn loads_device_program() -> Option<bool> {
    let allow =
        [sys::Insn { code: 0xb7, registers: 0, off: 0, imm: 1 }, sys::Insn { code: 0x95, ..Default::default() }];
    match sys::load_device_program(&allow) {
        Ok(_) => Some(true),
        Err(Errno::ENOSYS | Errno::EINVAL) => Some(false),
        Err(_) => None,
    }
}

/// A number that no device can have, for a device that is not there: which of both is reported first?
fn has_new_ifindex() -> Option<bool> {
    let change = Change { new_index: Some(-1), ..Change::default() };
    match Netlink::open().ok()?.change(i32::MAX, &change) {
        Err(Errno::ERANGE | Errno::EINVAL) => Some(true),
        Err(Errno::ENODEV) => Some(false),
        _ => None,
    }
}

fn seccomp_action(name: &str) -> Option<bool> {
    let text = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").ok()?;
    Some(text.split_ascii_whitespace().any(|word| word == name))
}

fn has_memfd_flag(flag: u32) -> bool {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::from_bits_retain(flag);
    nix::sys::memfd::memfd_create(c"check", flags).is_ok()
}

/// Without anything mounted. Who may not make a procfs cannot ask.
fn has_procfs_pidns() -> Option<bool> {
    let options = query::FsContext::of(c"proc").ok()?;
    Some(options.set(c"pidns", Some(c"/proc/self/ns/pid")) != Err(Errno::EINVAL))
}

/// The rows of the table, for a test that holds them against docs/kernel.md.
#[must_use]
pub fn table() -> Vec<[&'static str; 4]> {
    TABLE.iter().map(|(_, name, since, used_for, without)| [*name, *since, *used_for, *without]).collect()
}
