//! A valid specification, by the types of oci-spec.
//!
//! What is wrong on purpose, or newer than that crate, is JSON: [`Bundle::set`](crate::Bundle::set).

use std::path::Path;

use oci_spec::runtime::{
    Capability, Hook, HookBuilder, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDeviceCgroupBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimitBuilder,
    PosixRlimitType, Process, ProcessBuilder, RootBuilder, SpecBuilder, UserBuilder,
};
use serde::Serialize;
use serde_json::Value;

/// A value of oci-spec as JSON.
///
/// # Panics
/// Never: it has no keys but texts.
pub(crate) fn typed(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A mount.
///
/// # Panics
/// Never: all that a mount needs is given.
pub(crate) fn mount(destination: &str, kind: &str, source: &Path, options: &[&str]) -> Mount {
    let mount = MountBuilder::default().destination(destination).typ(kind).source(source).options(texts(options));
    mount.build().expect("a mount")
}

/// A hook.
///
/// # Panics
/// Never: all that a hook needs is given.
pub(crate) fn hook(path: &Path, args: &[&str]) -> Hook {
    HookBuilder::default().path(path).args(texts(args)).build().expect("a hook")
}

fn process() -> Process {
    let held = || [Capability::AuditWrite, Capability::Kill, Capability::NetBindService].into_iter().collect();
    let none = || std::iter::empty().collect();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding::<std::collections::HashSet<_>>(held())
        .effective::<std::collections::HashSet<_>>(held())
        .permitted::<std::collections::HashSet<_>>(held())
        .inheritable::<std::collections::HashSet<_>>(none())
        .ambient::<std::collections::HashSet<_>>(none())
        .build();
    let files = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).hard(1024u64).soft(1024u64).build();
    ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(0u32).gid(0u32).build().expect("a user"))
        .args(texts(&["/probe", "facts"]))
        .env(texts(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]))
        .cwd("/")
        .capabilities(capabilities.expect("capabilities"))
        .rlimits([files.expect("a limit")])
        .no_new_privileges(true)
        .build()
        .expect("a process")
}

/// runc's default specification without a terminal, with `/probe facts` and a cgroup namespace.
///
/// # Panics
/// Never: all that it needs is given.
#[must_use]
pub fn default_spec() -> Value {
    let of = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        mount(destination, kind, Path::new(source), options)
    };
    let mounts = [
        of("/proc", "proc", "proc", &[]),
        of("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        of("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        of("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        of("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        of("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        of("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    let namespaces = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ]
    .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build().expect("a namespace"));
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
    ];
    let read_only = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    let rule = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build().expect("a rule");
    let linux = LinuxBuilder::default()
        .resources(LinuxResourcesBuilder::default().devices([rule]).build().expect("resources"))
        .namespaces(namespaces)
        .masked_paths(texts(&masked))
        .readonly_paths(texts(&read_only))
        .build();
    let spec = SpecBuilder::default()
        .version("1.0.2")
        .process(process())
        .root(RootBuilder::default().path("rootfs").readonly(true).build().expect("a root"))
        .hostname("cleat")
        .mounts(mounts)
        .linux(linux.expect("linux"))
        .build();
    typed(spec.expect("a specification"))
}
