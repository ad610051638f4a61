//! How does `cleat plan` print a plan for people?

use std::fmt::{self, Display, Formatter};

use cleat_plan::{Attr, Fork, Mount, MountKind, Step};

use super::cgroup::Cgroup;
use super::clone_flags::NAMESPACES;
use super::netdev::NetDevice;
use super::types::IdMap;
use super::types::IdMaps;
use super::{HostHalf, Plan};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in Step::ALL {
            for line in self.lines(*step) {
                writeln!(f, "{:<24}{line}", step.name())?;
            }
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "{:<24}{warning}", "warning"))
    }
}

fn namespace_names(flags: u64) -> String {
    let names: Vec<&str> = NAMESPACES.iter().filter(|(_, flag)| flags & flag != 0).map(|(name, _)| *name).collect();
    names.join(", ")
}

fn attr(attr: Attr, suffix: &str) -> String {
    let names = [
        (0x1, "ro"),
        (0x2, "nosuid"),
        (0x4, "nodev"),
        (0x8, "noexec"),
        (0x10, "noatime"),
        (0x20, "strictatime"),
        (0x80, "nodiratime"),
        (0x20_0000, "nosymfollow"),
    ];
    let set: Vec<String> =
        names.iter().filter(|(bit, _)| attr.set & bit != 0).map(|(_, name)| format!(" {name}{suffix}")).collect();
    set.concat()
}

fn mount(mount: &Mount) -> String {
    let what = match &mount.kind {
        MountKind::Bind { source, recursive, tree, .. } => {
            let how = if *recursive { "bind with all below" } else { "bind" };
            format!("{how} {source}{}", if tree.is_some() { " (opened by the host half)" } else { "" })
        }
        MountKind::New { fstype, options, .. } => {
            let options: Vec<String> = options
                .iter()
                .map(|o| o.value.as_ref().map_or_else(|| o.key.to_string(), |v| format!("{}={v}", o.key)))
                .collect();
            format!("new {fstype} {}", options.join(","))
        }
        MountKind::Remount { .. } => "change".to_owned(),
    };
    let propagation: Vec<String> = mount.propagation.iter().map(|p| format!(" {:?}", p.kind).to_lowercase()).collect();
    format!(
        "{}: {}{}{}{}{}",
        mount.target,
        what.trim_end(),
        if mount.nodev { " nodev (recursive)" } else { "" },
        attr(mount.attr, ""),
        attr(mount.attr_recursive, " (recursive)"),
        propagation.concat()
    )
}

fn id_maps(maps: &IdMaps) -> Vec<String> {
    let line = |kind: &str, delegated: bool, m: &IdMap| {
        let by = if delegated { format!(", by new{kind}map(1) unless the kernel lets us") } else { String::new() };
        format!("{kind} {} inside is {} outside, {} of them{by}", m.container_id, m.host_id, m.size)
    };
    let uids = maps.uids.iter().map(|m| line("uid", maps.uids_delegated, m));
    let gids = maps.gids.iter().map(|m| line("gid", maps.gids_delegated, m));
    let deny = maps.deny_setgroups.then(|| "setgroups denied".to_owned());
    deny.into_iter().chain(uids).chain(gids).collect()
}

/// A unit of systemd, and its properties.
fn unit_lines(unit: &super::systemd::Unit, lines: &mut Vec<String>) {
    lines.push(format!("{} of {}", unit.name, if unit.user { "the user's systemd" } else { "systemd" }));
    for (properties, when) in [(&unit.properties, ""), (&unit.late, ", when all is ready")] {
        for property in properties {
            lines.push(format!("  {property}{when}"));
        }
    }
}

fn one(text: Option<String>) -> Vec<String> {
    text.into_iter().collect()
}

fn texts(list: &[cleat_plan::Text]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn hooks(list: &[cleat_plan::Hook]) -> Vec<String> {
    list.iter().map(|hook| hook.path.to_string()).collect()
}

impl Plan {
    /// What a step does, a line each; none: nothing.
    fn lines(&self, step: Step) -> Vec<String> {
        let of_host = self.host.lines(step);
        let of_process = || self.init.process.as_ref().map(|process| process_lines(process, step)).unwrap_or_default();
        let of_root = || self.init.root.as_ref().map(|root| root_lines(root, step)).unwrap_or_default();
        of_host.unwrap_or_else(|| [init_lines(&self.init, step), of_root(), of_process()].concat())
    }
}

impl HostHalf {
    /// Of a step that is the host's; `None`: it is the init's.
    fn lines(&self, step: Step) -> Option<Vec<String>> {
        Some(match step {
            Step::StateDir => vec![self.id.clone()],
            Step::NetworkNamespace => one(self.network.map(|network| {
                format!(
                    "made concurrently with the steps up to {}{}",
                    Step::SendPlan.name(),
                    if network.sysfs { ", with its sysfs" } else { "" }
                )
            })),
            Step::Cgroup => self.cgroup.as_ref().map(cgroup_lines).unwrap_or_default(),
            Step::Resctrl => one(self.rdt.as_ref().map(|rdt| {
                let monitor = rdt.monitor.as_ref().map(|name| format!(", monitored as {name}")).unwrap_or_default();
                let schemata = rdt.schemata.concat().trim_end().replace('\n', " ");
                format!("{} {schemata}{monitor}", crate::sys::clean_path::clean(&rdt.root, &rdt.group).display())
            })),
            Step::Affinity => vec!["all processors that the cgroup allows".to_owned()],
            Step::Limits => {
                let limits = self.cgroup.iter().flat_map(|cgroup| &cgroup.limits);
                limits.filter_map(|limit| limit.files.last().map(|(file, text)| format!("{file} {text}"))).collect()
            }
            Step::DeviceAccess => {
                let rules = self.cgroup.as_ref().and_then(|c| c.devices.as_ref());
                one(rules.map(|rules| format!("{} rules as an eBPF program, deny by default", rules.len())))
            }
            Step::Clone => vec![format!("new: {}", namespace_names(self.clone_flags))],
            Step::IdMap => self.id_maps.as_ref().map(id_maps).unwrap_or_default(),
            Step::OomScore => one(self.oom_score_adj.map(|score| score.to_string())),
            Step::NetDevices => {
                let line = |device: &NetDevice| format!("{} as {}", device.host_name, device.container_name.text());
                self.net_devices.iter().map(line).collect()
            }
            Step::RuntimeHooks => hooks(&self.runtime_hooks),
            Step::Rlimits => {
                self.rlimits.iter().map(|l| format!("{} soft {} hard {}", l.resource, l.soft, l.hard)).collect()
            }
            Step::Scheduler => self.scheduling.lines(),
            Step::PoststartHooks => hooks(&self.poststart),
            _ => return None,
        })
    }
}

fn cgroup_lines(cgroup: &Cgroup) -> Vec<String> {
    let directory = crate::plan::cgroup_path::directory(&cgroup.mount, &cgroup.path);
    let mut lines = vec![directory.display().to_string()];
    if let Some(unit) = &cgroup.unit {
        unit_lines(unit, &mut lines);
    }
    lines
}

/// Of the init's steps: what is neither the root file system's nor the process's.
fn init_lines(init: &cleat_plan::Plan, step: Step) -> Vec<String> {
    match step {
        Step::JoinNamespaces => {
            init.join.iter().map(|join| format!("{} ({})", join.path, namespace_names(join.flags.into()))).collect()
        }
        Step::Unshare => one((init.unshare != 0).then(|| format!("new: {}", namespace_names(init.unshare)))),
        Step::PidNamespace => {
            one((init.fork == Some(Fork::Joined)).then(|| "a child goes on in the joined one".to_owned()))
        }
        Step::TimeNamespace => one(init.time.map(|offsets| format!("{offsets:?}"))),
        Step::Session => one(init.keyring.as_ref().map(|name| format!("keyring {name}"))),
        Step::CgroupNamespace => {
            one((init.unshare_late != 0).then(|| format!("new: {}", namespace_names(init.unshare_late.into()))))
        }
        Step::Loopback => one(init.loopback.then(|| "lo up".to_owned())),
        Step::Hostname => [&init.hostname, &init.domainname].into_iter().flatten().map(ToString::to_string).collect(),
        Step::Console => one(init.terminal.map(|t| format!("terminal for user {}", t.uid))),
        Step::CreateContainerHooks => hooks(&init.create_container.list),
        Step::Sysctl => init.sysctl.iter().map(|s| format!("{} = {}", s.path, s.value)).collect(),
        Step::MemoryPolicy => one(init.inherited.memory_policy.as_ref().map(super::memory::describe)),
        Step::Personality => {
            one(init.inherited.personality.map(|domain| if domain == 8 { "LINUX32" } else { "LINUX" }.into()))
        }
        Step::StartContainerHooks => hooks(&init.start_container.list),
        _ => Vec::new(),
    }
}

fn root_lines(root: &cleat_plan::Root, step: Step) -> Vec<String> {
    match step {
        Step::Propagation => vec![format!("{:?}", root.propagation.kind).to_lowercase()],
        Step::Rootfs => vec![format!("{}{}", root.path, if root.nodev { " nodev (recursive)" } else { "" })],
        Step::Mounts => root.mounts.iter().map(mount).collect(),
        Step::Devices => {
            let line = |d: &cleat_plan::Device| format!("{} {}:{} mode {:o}", d.path, d.major, d.minor, d.mode);
            root.devices.iter().map(line).collect()
        }
        Step::DevLinks => one(root.dev_links.then(|| "/dev/fd, stdin, stdout, stderr, core, ptmx".to_owned())),
        Step::PivotRoot => vec![format!("{:?}", root.pivot)],
        Step::ReadonlyPaths => texts(&root.readonly_paths),
        Step::MaskedPaths => texts(&root.masked),
        Step::ReadonlyRoot => one(root.readonly.then(|| "/".to_owned())),
        _ => Vec::new(),
    }
}

fn process_lines(process: &cleat_plan::Process, step: Step) -> Vec<String> {
    match step {
        Step::Label => [&process.apparmor, &process.selinux].into_iter().flatten().map(ToString::to_string).collect(),
        Step::Seccomp => one(process.seccomp.as_ref().map(|filter| {
            let asks = if filter.listener { ", asks a listener" } else { "" };
            let count = filter.program.count();
            format!("{count} instructions, flags {:#x}, loaded {:?}{asks}", filter.flags, filter.load)
        })),
        Step::Credentials => vec![format!(
            "user {} group {} groups {:?} umask {:04o}, {} capabilities in the bounding set{}",
            process.uid,
            process.gid,
            process.groups.as_deref().unwrap_or_default(),
            process.umask,
            process.caps.bounding.count_ones(),
            if process.no_new_privileges { ", no new privileges" } else { "" }
        )],
        Step::Cwd => vec![process.cwd.to_string()],
        Step::Program => one(process.args.first().map(ToString::to_string)),
        Step::Exec => vec![texts(&process.args).join(" ")],
        _ => Vec::new(),
    }
}
