//! What will we do?
//!
//! [`Plan::new`] is a pure function of what was asked, what config.json says and what the machine
//! offers. All validation is here; afterwards there is no word of the specification left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cleat_plan as wire;
use cleat_plan::Hooks;
use serde::Serialize;

use crate::error::Result;
use crate::plan::host::Host;
use crate::spec::Spec;
use crate::sys::clean_path::clean;

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
pub mod mounts;
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
pub(crate) use hooks::hooks;
use ids::{Ids, id_maps};
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
pub use types::{FdSource, IdMap, IdMaps, IdmapSource, Request, Tree};

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
    pub fds: Vec<FdSource>,
    /// Network devices that move into the container, in this order.
    pub net_devices: Vec<netdev::NetDevice>,
    /// `prestart` hooks, then `createRuntime` hooks.
    pub runtime_hooks: Vec<wire::Hook>,
    /// `poststart` hooks.
    pub poststart: Vec<wire::Hook>,
    /// `poststop` hooks.
    pub poststop: Vec<wire::Hook>,
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
    let what = "this version of cleat does not support it; remove it from the bundle, or use another runtime for it";
    let asked = asked.iter().filter(|(_, is_asked)| *is_asked);
    findings.problems.extend(asked.map(|(name, _)| place(name).error(what)));
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
        let mut join = findings.each(&namespaces.joined, |_, (flag, path)| {
            let fd = push_fd(&mut fds, FdSource::Namespace(path.clone()))?;
            Ok(wire::Join { fd, flags: u32::try_from(*flag).unwrap_or(0), path: text(path)? })
        });
        let mut drop_groups = false;
        let mut process = spec.process.as_ref().map(|p| process(p, request, host, user_namespace, findings));
        if let (Some(process), Some(asked)) = (&mut process, &spec.process) {
            let may_set = match &id_maps {
                Some(maps) => !maps.deny_setgroups && !host.setgroups_denied,
                None => host.euid == 0 && !host.setgroups_denied,
            };
            ids.check_user(&asked.user, may_set, findings);
            let keep = ids::keeps_groups(&spec.annotations, host);
            process.groups = ids::groups(&asked.user, may_set, keep, &mut findings.warnings);
            drop_groups = namespaces.joins(NEWUSER) && host.may_drop_groups && !keep;
            ids::without_what_is_dropped(&mut process.groups, drop_groups);
        }
        let filter = spec.linux.seccomp.as_ref();
        let filter = filter.and_then(|s| seccomp::decide(s, seccomp::Family::NATIVE, findings));
        if let (Some(process), Some(filter)) = (&mut process, &filter) {
            // Before it starts, hooks may run in the container, and `exec` can join it.
            let tracers = (process.caps.bounding | process.caps.permitted) & caps::SYS_PTRACE != 0;
            let hooks = !spec.hooks.start_container.is_empty();
            let alone = namespaces.new & NEWPID != 0 && !tracers;
            let exposure = if alone { seccomp::Exposure::Alone } else { seccomp::Exposure::Seen { hooks } };
            let load = seccomp::load(filter, process.no_new_privileges, exposure, findings);
            process.seccomp = Some(filter.clone().with(load));
        }
        let scheduling = spec.process.as_ref().map(|p| scheduling(p, findings)).unwrap_or_default();
        findings.keep(scheduling.check_hooks(&spec.hooks.start_container));
        // Of processes that join alone; a mistake in it is an error before the first of them.
        affinity(spec.process.as_ref().and_then(|p| p.exec_cpu_affinity.as_ref()), findings);
        let rdt = spec.linux.intel_rdt.as_ref();
        let rdt =
            findings.keep(rdt.map(|asked| resctrl::decide(asked, &request.id, host.resctrl.as_ref())).transpose());
        // cgroup and time namespaces are made by the init: their contents depend on where it is; and an
        // ipc namespace's message queues belong to who makes it, who is to be root of a new user namespace.
        let queues = if namespaces.new & NEWUSER == 0 { 0 } else { NEWIPC };
        let by_init = namespaces.new & (NEWCGROUP | NEWTIME | queues);
        let mut by_clone = namespaces.new & !by_init;
        // What belongs to our user namespace can be entered only before there is a new one, and a new
        // one must be made in the others: by the init, since a process there sees it being made
        // and what program it is then (CVE-2019-5736).
        let born_inside = namespaces.joins(NEWUSER) || namespaces.new & NEWUSER != 0 && !join.is_empty();
        let network = Network::of(&namespaces, spec, host.euid);
        if network.is_some() {
            by_clone &= !NEWNET;
            let flags = u32::try_from(NEWNET).unwrap_or(0);
            let made = push_fd(&mut fds, FdSource::Network)
                .and_then(|fd| Ok(wire::Join { fd, flags, path: text("the new network namespace")? }));
            join.extend(findings.keep(made.map(Some)));
        }
        let unshare = if born_inside { by_clone } else { 0 };
        let fork = if namespaces.joins(NEWPID) {
            Some(wire::Fork::Joined)
        } else {
            (unshare & NEWPID != 0).then_some(wire::Fork::New)
        };
        let start = if request.start_later {
            findings.keep(push_fd(&mut fds, FdSource::StartListener).map(wire::Start::Listen))
        } else {
            wire::Start::Channel
        };
        // From here on only mounts are added: where the mount namespace is made after the plan was
        // sent, they follow later.
        let early = fds.len();
        // The container's root may not be allowed on the way to what the caller can reach.
        let another = host.euid == 0 || id_maps.as_ref().is_some_and(|maps| !ids::root_is(maps, host.euid));
        let host_opens = user_namespace && namespaces.new & NEWNS != 0 && another;
        let init_root = init_root(
            &RootInput {
                request,
                spec,
                rootfs: &rootfs,
                namespaces: &namespaces,
                host,
                host_opens,
                ids,
                cgroup: cgroup.as_ref(),
            },
            &mut fds,
            findings,
        );
        if init_root.nodev && host.rootless() {
            devices::unenforced(spec, &init_root.mounts, findings);
        } else if cgroup.is_none() && !host.rootless() {
            findings.warnings.push(
                "linux.resources.devices: without a cgroup of the container's own nothing enforces them: device nodes \
                 can be used"
                    .into(),
            );
        }
        let late_fds = if born_inside { u16::try_from(fds.len() - early).unwrap_or(u16::MAX) } else { 0 };
        let terminal = spec.process.as_ref().filter(|p| p.terminal).map(|p| terminal(p, true));
        let terminal = findings.keep(terminal.transpose());
        let prestart = hooks(&spec.hooks.prestart, "prestart", findings);
        let runtime_hooks = [prestart, hooks(&spec.hooks.create_runtime, "createRuntime", findings)].concat();
        let net_devices = netdev::decide(spec, &namespaces, host, findings);
        let init = wire::Plan {
            fault: request.fault,
            drop_groups,
            join,
            chroot: None,
            unshare,
            fork,
            late_fds,
            become_root: born_inside,
            unshare_late: u32::try_from(by_init & !NEWTIME).unwrap_or(0),
            time: findings.keep(time_offsets(spec, &namespaces)),
            keyring: findings.keep(request.keyring.as_ref().map(text).transpose()),
            loopback: namespaces.new & NEWNET != 0,
            hostname: findings.keep(name_in_uts(&spec.hostname, "hostname", &namespaces)),
            domainname: findings.keep(name_in_uts(&spec.domainname, "domainname", &namespaces)),
            root: Some(init_root),
            sysctl: sysctls(spec, &namespaces, findings),
            terminal,
            runtime_hooks: !runtime_hooks.is_empty() || !net_devices.is_empty(),
            create_container: Hooks {
                list: hooks(&spec.hooks.create_container, "createContainer", findings),
                state: Vec::new(),
            },
            start_container: Hooks {
                list: hooks(&spec.hooks.start_container, "startContainer", findings),
                state: Vec::new(),
            },
            memory_policy: findings.keep(spec.linux.memory_policy.as_ref().map(memory::policy).transpose()),
            personality: findings.keep(spec.linux.personality.as_ref().map(memory::personality).transpose()),
            process,
            start,
        };
        let host_half = HostHalf {
            id: request.id.clone(),
            rootfs,
            network,
            clone_flags: if born_inside { 0 } else { by_clone },
            namespaces: namespaces.all(),
            id_maps,
            cgroup,
            rdt,
            oom_score_adj: findings
                .keep(spec.process.as_ref().and_then(|p| p.oom_score_adj).map(oom_score).transpose()),
            rlimits: init.process.as_ref().map(|p| p.rlimits.clone()).unwrap_or_default(),
            scheduling,
            fds,
            net_devices,
            runtime_hooks,
            poststart: hooks(&spec.hooks.poststart, "poststart", findings),
            poststop: hooks(&spec.hooks.poststop, "poststop", findings),
            terminal: terminal.is_some(),
            seccomp: filter,
            annotations: spec.annotations.clone(),
        };
        Plan { host: host_half, init, warnings: Vec::new() }
    }
}

fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(
            place("ociVersion").error("is missing, this is no OCI bundle configuration; add it, such as \"1.0.2\"")
        );
    }
    if version.split('.').next() != Some("1") {
        return Err(place("ociVersion").error(format_args!("{version:?} is not a 1.x version")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
