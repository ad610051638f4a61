//! What will we do?
//!
//! [`Plan::new`] is a pure function of what was asked, what config.json says and what the machine
//! offers. All validation is here; afterwards there is no word of the specification left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cleat_plan as wire;
use serde::Serialize;

use crate::error::Result;
use crate::plan::host::Host;
use crate::spec::Spec;
use crate::sys::clean_path::clean;

pub mod annotations;
pub mod caps;
mod cgroup;
pub mod cgroup_path;
pub mod clone_flags;
pub(crate) mod cpu_list;
pub mod devices;
mod display;
mod findings;
pub(crate) mod hooks;
pub mod host;
pub mod ids;
mod label;
pub mod memory;
pub mod mount_options;
mod mounts;
mod namespaces;
pub mod netdev;
pub(crate) mod place;
mod process;
mod resctrl;
pub(crate) mod resources;
mod root;
mod scheduler;
pub mod seccomp;
pub mod systemd;
mod types;

pub use cgroup::Cgroup;
pub use clone_flags::*;
pub use devices::Rule as DeviceRule;
pub use findings::Findings;
pub use hooks::HookLog;
pub(crate) use hooks::hooks;
use ids::{Ids, id_maps};
pub use namespaces::reaches_host;
use namespaces::{Namespaces, name_in_uts, sysctls, time_offsets};
pub(crate) use place::{Place, place, text};
use process::oom_score;
pub(crate) use process::{process, terminal};
pub use resctrl::Rdt;
pub use resources::Limit;
use root::{RootInput, init_root, root_path};
pub use scheduler::{Affinity, IoClass, IoPriority, Policy, Scheduler, Scheduling};
pub(crate) use scheduler::{affinity, scheduling};
pub(crate) use types::push_fd;
pub use types::{CreateFd, ExecFd, IdMap, IdMaps, IdmapSource, Request, Tree};

/// Everything that will be done, in two halves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// What this process does.
    pub host: HostHalf,
    /// What the container's first process does.
    pub init: wire::Plan,
    /// What cannot be done and need not stop it.
    pub warnings: Vec<String>,
}

/// The host half's part.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostHalf {
    /// The id.
    pub id: String,
    /// The root directory, absolute.
    pub rootfs: PathBuf,
    /// A network namespace that is made beside the rest, and how; the init joins it.
    pub network: Option<Network>,
    /// Namespaces made by `clone3`, `CLONE_NEW*`.
    pub clone_flags: u64,
    /// All namespaces that are not the runtime's own, for commands that join later.
    pub namespaces: u64,
    /// A user namespace of its own, with these mappings.
    pub id_maps: Option<IdMaps>,
    /// The cgroup; `None`: stay in the caller's.
    pub cgroup: Option<Cgroup>,
    /// The resctrl group; `None`: stay in the caller's.
    pub rdt: Option<Rdt>,
    /// `oom_score_adj` of the process.
    pub oom_score_adj: Option<i32>,
    /// Resource limits of the process: where the hard one is above ours, we raise it.
    pub rlimits: Vec<wire::Rlimit>,
    /// Policy and priorities of the process.
    pub scheduling: Scheduling,
    /// Descriptors that the init gets with its plan, in order.
    pub fds: Vec<CreateFd>,
    /// Mounts that it gets after it, in order.
    pub mount_fds: Vec<Tree>,
    /// Network devices that move into the container, in this order.
    pub net_devices: Vec<netdev::NetDevice>,
    /// `prestart` hooks, then `createRuntime` hooks.
    pub runtime_hooks: Vec<wire::Hook>,
    /// `poststart` hooks.
    pub poststart: Vec<wire::Hook>,
    /// `poststop` hooks.
    pub poststop: Vec<wire::Hook>,
    /// Where they print.
    pub hook_log: HookLog,
    /// The container has a terminal.
    pub terminal: bool,
    /// The filter of system calls, for processes that join later.
    pub seccomp: Option<seccomp::Filter>,
    /// Annotations, for hooks and `state`.
    pub annotations: BTreeMap<String, String>,
}

/// A new network namespace, made by a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// With a sysfs, which the kernel makes for each of them: the init's mount finds it.
    pub sysfs: bool,
    /// That is read-only as a whole.
    pub sysfs_readonly: bool,
}

impl Network {
    /// Whether a bundle gets one, before all of its plan is known.
    #[must_use]
    pub fn wanted(spec: &Spec, euid: u32) -> Option<Network> {
        Network::of(&Namespaces::decide(&spec.linux.namespaces, &mut Findings::default()), spec, euid)
    }

    /// It must belong to our own user namespace, in which anybody with the privilege can make it.
    fn of(namespaces: &Namespaces, spec: &Spec, euid: u32) -> Option<Network> {
        let beside = namespaces.new & NEWNET != 0 && !namespaces.has(NEWUSER) && euid == 0;
        let sysfs = spec.mounts.iter().any(|mount| mount.kind == "sysfs");
        beside.then(|| Network { sysfs, sysfs_readonly: mounts::is_sysfs_readonly(spec, namespaces) })
    }
}

/// Properties that no version of cleat so far acts on: never dropped in silence.
fn refuse_unsupported(spec: &Spec, findings: &mut Findings) {
    let asked: &[(&str, bool)] = &[
        ("solaris", spec.solaris.is_some()),
        ("windows", spec.windows.is_some()),
        ("vm", spec.vm.is_some()),
        ("zos", spec.zos.is_some()),
        ("freebsd", spec.freebsd.is_some()),
    ];
    let error = |name| {
        let remedy = "remove it from the bundle, or use another runtime for it";
        place(name).error("this version of cleat does not support it").remedy(remedy)
    };
    let asked = asked.iter().filter(|(_, is_asked)| *is_asked);
    findings.problems.extend(asked.map(|(name, _)| error(name)));
}

/// What users and groups depend on.
struct Users<'a> {
    namespaces: &'a Namespaces,
    id_maps: Option<&'a IdMaps>,
    ids: Ids<'a>,
}

/// The process, and whether the caller's supplementary groups go before a user namespace is joined.
fn init_process(
    request: &Request,
    spec: &Spec,
    host: &Host,
    users: &Users<'_>,
    findings: &mut Findings,
) -> (Option<wire::Process>, bool) {
    let user_namespace = users.namespaces.has(NEWUSER);
    let Some(asked) = &spec.process else { return (None, false) };
    let mut process = process(asked, request, host, user_namespace, findings);
    let may_set = match users.id_maps {
        Some(maps) => !maps.deny_setgroups && !host.setgroups_denied,
        None => host.euid == 0 && !host.setgroups_denied,
    };
    users.ids.check_user(&asked.user, may_set, findings);
    let keep = ids::keeps_groups(&spec.annotations, host);
    process.groups = ids::groups(&asked.user, may_set, keep, &mut findings.warnings);
    let drop_groups = users.namespaces.joins(NEWUSER) && host.may_drop_groups && !keep;
    ids::without_what_is_dropped(&mut process.groups, drop_groups);
    (Some(process), drop_groups)
}

/// The filter, which the process gets with when it is loaded.
fn init_filter(
    spec: &Spec,
    process: Option<&mut wire::Process>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Option<seccomp::Filter> {
    let receiver = spec.annotations.get(annotations::RECEIVER).map(String::as_str);
    let filter = seccomp::decide(spec.linux.seccomp.as_ref()?, receiver, seccomp::Family::NATIVE, findings)?;
    let Some(process) = process else { return Some(filter) };
    // Before it starts, hooks may run in the container, and `exec` can join it.
    let tracers = (process.caps.bounding | process.caps.permitted) & caps::SYS_PTRACE != 0;
    let hooks = !spec.hooks.start_container.is_empty();
    let alone = namespaces.new & NEWPID != 0 && !tracers;
    let exposure = if alone { seccomp::Exposure::Alone } else { seccomp::Exposure::Seen { hooks } };
    let load = seccomp::load(&filter, process.no_new_privileges, exposure, findings);
    process.seccomp = Some(filter.clone().with(load));
    Some(filter)
}

fn init_scheduling(spec: &Spec, findings: &mut Findings) -> Scheduling {
    let scheduling = spec.process.as_ref().map(|p| scheduling(p, findings)).unwrap_or_default();
    findings.keep(scheduling.check_hooks(&spec.hooks.start_container));
    // Of processes that join alone; a mistake in it is reported before the first of them.
    affinity(spec.process.as_ref().and_then(|p| p.exec_cpu_affinity.as_ref()), findings);
    scheduling
}

/// The namespaces that are joined by their paths.
fn joined(namespaces: &Namespaces, fds: &mut Vec<CreateFd>, findings: &mut Findings) -> Vec<wire::Join> {
    findings.each(&namespaces.joined, |_, (flag, path)| {
        let fd = push_fd(fds, CreateFd::Namespace(path.clone()))?;
        Ok(wire::Join { fd, flags: u32::try_from(*flag).unwrap_or(0), path: text(path)? })
    })
}

/// Who makes which namespace.
struct Entry {
    /// The init enters these.
    join: Vec<wire::Join>,
    /// One that is made beside the rest, and joined, too.
    network: Option<Network>,
    /// `clone3` makes these.
    by_clone: u64,
    /// The init makes these after joining.
    unshare: u64,
    /// It does so from inside of a user namespace.
    inside: bool,
    /// The init makes these when all else is there.
    by_init: u64,
    fork: Option<wire::Fork>,
}

impl Entry {
    fn decide(
        namespaces: &Namespaces,
        mut join: Vec<wire::Join>,
        fds: &mut Vec<CreateFd>,
        spec: &Spec,
        host: &Host,
        findings: &mut Findings,
    ) -> Entry {
        // cgroup and time namespaces are made by the init: their contents depend on where it is; and an
        // ipc namespace's message queues belong to who makes it, who is to be root of a new user namespace.
        let queues = if namespaces.new & NEWUSER == 0 { 0 } else { NEWIPC };
        let by_init = namespaces.new & (NEWCGROUP | NEWTIME | queues);
        let mut by_clone = namespaces.new & !by_init;
        // What belongs to our user namespace can be entered only before there is a new one, and a new
        // one must be made in the others: by the init, since a process there sees it being made
        // and what program it is then (CVE-2019-5736).
        let inside = namespaces.joins(NEWUSER) || namespaces.new & NEWUSER != 0 && !join.is_empty();
        let network = Network::of(namespaces, spec, host.euid);
        if network.is_some() {
            by_clone &= !NEWNET;
            let flags = u32::try_from(NEWNET).unwrap_or(0);
            let made = push_fd(fds, CreateFd::Network)
                .and_then(|fd| Ok(wire::Join { fd, flags, path: text("the new network namespace")? }));
            join.extend(findings.keep(made.map(Some)));
        }
        let (by_clone, unshare) = if inside { (0, by_clone) } else { (by_clone, 0) };
        let fork = if namespaces.joins(NEWPID) {
            Some(wire::Fork::Joined)
        } else {
            (unshare & NEWPID != 0).then_some(wire::Fork::New)
        };
        Entry { join, network, by_clone, unshare, inside, by_init, fork }
    }
}

/// Device rules that nothing enforces.
fn warn_of_devices(spec: &Spec, host: &Host, cgroup: Option<&Cgroup>, root: &wire::Root, findings: &mut Findings) {
    if cgroup.is_some_and(|cgroup| cgroup.devices.is_some()) {
        return;
    }
    if root.nodev {
        devices::unenforced(spec, &root.mounts, findings);
    } else if !host.rootless() && !devices::all_allowed(&spec.linux.resources.devices) {
        findings.warnings.push(
            "linux.resources.devices: without a cgroup of the container's own nothing enforces them: device nodes can \
             be used"
                .into(),
        );
    }
}

/// What of the init's half depends on config.json and the namespaces alone.
fn init_settings(request: &Request, spec: &Spec, namespaces: &Namespaces, findings: &mut Findings) -> wire::Plan {
    wire::Plan {
        fault: request.fault,
        time: findings.keep(time_offsets(spec, namespaces)),
        keyring: findings.keep(request.keyring.as_ref().map(text).transpose()),
        loopback: namespaces.new & NEWNET != 0,
        hostname: findings.keep(name_in_uts(&spec.hostname, "hostname", namespaces)),
        domainname: findings.keep(name_in_uts(&spec.domainname, "domainname", namespaces)),
        sysctl: sysctls(spec, namespaces, findings),
        inherited: memory::inherited(spec, findings),
        ..wire::Plan::default()
    }
}

/// Where hooks print, if there are any: an annotation decides nothing else. And those that the init runs.
fn init_hooks(spec: &Spec, fds: &mut Vec<CreateFd>, findings: &mut Findings) -> (HookLog, [wire::Hooks; 2]) {
    let hooks = &spec.hooks;
    let of_host = [&hooks.prestart, &hooks.create_runtime, &hooks.poststart, &hooks.poststop];
    let of_init = [(&hooks.create_container, "createContainer"), (&hooks.start_container, "startContainer")];
    let is_none = of_host.iter().chain(&of_init.map(|(list, _)| list)).all(|list| list.is_empty());
    let log = if is_none { HookLog::default() } else { findings.keep(HookLog::of(&spec.annotations)) };
    let of_init = of_init.map(|(list, kind)| hooks::of_init((list.as_slice(), kind), &log, fds, findings));
    (log, of_init)
}

impl Plan {
    /// Decides everything.
    ///
    /// # Errors
    /// A property that is wrong, contradicts another, or cannot be had here; the message names its
    /// place in config.json.
    pub fn new(request: &Request, spec: &Spec, host: &Host) -> Result<Plan> {
        let mut findings = Findings::default();
        let plan = Plan::decide(request, spec, host, &mut findings);
        Ok(Plan { warnings: findings.warnings()?, ..plan })
    }

    /// The same for a bundle that may be wrong in many places: the plan is good for nothing when
    /// there are problems.
    #[must_use]
    pub fn decide(request: &Request, spec: &Spec, host: &Host, findings: &mut Findings) -> Plan {
        findings.keep(check_version(&spec.oci_version));
        refuse_unsupported(spec, findings);
        let limits = resources::decide(&spec.linux.resources, host, findings);
        let rootfs = clean(&request.bundle, Path::new(findings.keep(root_path(spec))));
        let namespaces = Namespaces::decide(&spec.linux.namespaces, findings);
        let id_maps = findings.keep(id_maps(spec, &namespaces, host));
        let ids = Ids::of_birth(id_maps.as_ref(), &namespaces, host);
        let user_namespace = namespaces.has(NEWUSER);
        let cgroup = cgroup::decide(request, spec, host, &namespaces, limits, findings);
        let owner = cgroup::owner(spec, &namespaces, id_maps.as_ref());
        let cgroup = cgroup.map(|cgroup| Cgroup { owner, ..cgroup });
        let mut fds = Vec::new();
        let join = joined(&namespaces, &mut fds, findings);
        let users = Users { namespaces: &namespaces, id_maps: id_maps.as_ref(), ids };
        let (mut process, drop_groups) = init_process(request, spec, host, &users, findings);
        annotations::unknown(&spec.annotations, findings);
        let filter = init_filter(spec, process.as_mut(), &namespaces, findings);
        let scheduling = init_scheduling(spec, findings);
        let rdt = spec.linux.intel_rdt.as_ref();
        let rdt =
            findings.keep(rdt.map(|asked| resctrl::decide(asked, &request.id, host.resctrl.as_ref())).transpose());
        let entry = Entry::decide(&namespaces, join, &mut fds, spec, host, findings);
        let (hook_log, [create_container, start_container]) = init_hooks(spec, &mut fds, findings);
        let listener = request.start_later.then(|| push_fd(&mut fds, CreateFd::StartListener).map(wire::Start::Listen));
        let start = findings.keep(listener.transpose()).unwrap_or_default();
        let mut mount_fds = Vec::new();
        // The container's root may not be allowed on the way to what the caller can reach.
        let another = host.euid == 0 || id_maps.as_ref().is_some_and(|maps| !ids::root_is(maps, host.euid));
        let host_opens = user_namespace && namespaces.new & NEWNS != 0 && another;
        let (dir, own) = (&rootfs, cgroup.as_ref());
        let input =
            RootInput { request, spec, rootfs: dir, namespaces: &namespaces, host, host_opens, ids, cgroup: own };
        let init_root = init_root(&input, &mut mount_fds, findings);
        warn_of_devices(spec, host, cgroup.as_ref(), &init_root, findings);
        let terminal = spec.process.as_ref().filter(|p| p.terminal).map(|p| terminal(p, true));
        let terminal = findings.keep(terminal.transpose());
        let prestart = hooks(&spec.hooks.prestart, "prestart", findings);
        let runtime_hooks = [prestart, hooks(&spec.hooks.create_runtime, "createRuntime", findings)].concat();
        let net_devices = netdev::decide(spec, &namespaces, host, findings);
        let init = wire::Plan {
            drop_groups,
            join: entry.join,
            unshare: entry.unshare,
            fork: entry.fork,
            mount_fds: u16::try_from(mount_fds.len()).unwrap_or(u16::MAX),
            become_root: entry.inside,
            unshare_late: u32::try_from(entry.by_init & !NEWTIME).unwrap_or(0),
            root: Some(init_root),
            terminal,
            runtime_hooks: !runtime_hooks.is_empty() || !net_devices.is_empty(),
            create_container,
            start_container,
            process,
            start,
            ..init_settings(request, spec, &namespaces, findings)
        };
        let host_half = HostHalf {
            id: request.id.clone(),
            rootfs,
            network: entry.network,
            clone_flags: entry.by_clone,
            namespaces: namespaces.all(),
            id_maps,
            cgroup,
            rdt,
            oom_score_adj: findings
                .keep(spec.process.as_ref().and_then(|p| p.oom_score_adj).map(oom_score).transpose()),
            rlimits: init.process.as_ref().map(|p| p.rlimits.clone()).unwrap_or_default(),
            scheduling,
            fds,
            mount_fds,
            net_devices,
            runtime_hooks,
            poststart: hooks(&spec.hooks.poststart, "poststart", findings),
            poststop: hooks(&spec.hooks.poststop, "poststop", findings),
            hook_log,
            terminal: terminal.is_some(),
            seccomp: filter,
            annotations: spec.annotations.clone(),
        };
        Plan { host: host_half, init, warnings: Vec::new() }
    }
}

fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(place("ociVersion")
            .error("is missing, this is no OCI bundle configuration")
            .remedy("add it, such as \"1.0.2\""));
    }
    if version.split('.').next() != Some("1") {
        return Err(place("ociVersion").error(format_args!("{version:?} is not a 1.x version")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
