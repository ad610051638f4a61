//! How does `cleat plan` print a plan for people?

use std::fmt::{self, Display, Formatter};

use cleat_plan::{Attr, Fork, Mount, MountKind, Step};

use super::Plan;
use super::clone_flags::NAMESPACES;
use super::types::IdMap;
use super::types::IdMaps;

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

impl Plan {
    /// What a step does, a line each; none: nothing.
    fn lines(&self, step: Step) -> Vec<String> {
        let (host, init) = (&self.host, &self.init);
        let root = init.root.as_ref();
        let one = |text: Option<String>| text.into_iter().collect::<Vec<_>>();
        let texts = |list: &[cleat_plan::Text]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let hooks = |list: &[cleat_plan::Hook]| list.iter().map(|hook| hook.path.to_string()).collect::<Vec<_>>();
        match step {
            Step::StateDir => vec![host.id.clone()],
            Step::NetworkNamespace => one(host.network.map(|network| {
                format!(
                    "made beside the steps up to {}{}",
                    Step::SendPlan.name(),
                    if network.sysfs { ", with its sysfs" } else { "" }
                )
            })),
            Step::Cgroup => {
                let Some(cgroup) = &host.cgroup else { return Vec::new() };
                let mut lines =
                    vec![crate::plan::cgroup_path::directory(&cgroup.mount, &cgroup.path).display().to_string()];
                if let Some(unit) = &cgroup.unit {
                    unit_lines(unit, &mut lines);
                }
                lines
            }
            Step::Resctrl => one(host.rdt.as_ref().map(|rdt| {
                let monitor = rdt.monitor.as_ref().map(|name| format!(", monitored as {name}")).unwrap_or_default();
                let schemata = rdt.schemata.concat().trim_end().replace('\n', " ");
                format!("{} {schemata}{monitor}", crate::sys::clean_path::clean(&rdt.root, &rdt.group).display())
            })),
            Step::Affinity => vec!["all processors that the cgroup allows".to_owned()],
            Step::Limits => host
                .cgroup
                .iter()
                .flat_map(|cgroup| &cgroup.limits)
                .filter_map(|limit| limit.files.last().map(|(file, text)| format!("{file} {text}")))
                .collect(),
            Step::DeviceAccess => {
                let rules = host.cgroup.as_ref().and_then(|c| c.devices.as_ref());
                one(rules.map(|rules| format!("{} rules as an eBPF program, deny by default", rules.len())))
            }
            Step::Clone => vec![format!("new: {}", namespace_names(host.clone_flags))],
            Step::IdMap => host.id_maps.as_ref().map(id_maps).unwrap_or_default(),
            Step::OomScore => one(host.oom_score_adj.map(|score| score.to_string())),
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
            Step::Hostname => {
                [&init.hostname, &init.domainname].into_iter().flatten().map(ToString::to_string).collect()
            }
            Step::Propagation => one(root.map(|r| format!("{:?}", r.propagation.kind).to_lowercase())),
            Step::Rootfs => one(root.map(|r| format!("{}{}", r.path, if r.nodev { " nodev (recursive)" } else { "" }))),
            Step::Mounts => root.map(|r| r.mounts.iter().map(mount).collect()).unwrap_or_default(),
            Step::Devices => root
                .map(|r| {
                    r.devices.iter().map(|d| format!("{} {}:{} mode {:o}", d.path, d.major, d.minor, d.mode)).collect()
                })
                .unwrap_or_default(),
            Step::DevLinks => {
                one(root.filter(|r| r.dev_links).map(|_| "/dev/fd, stdin, stdout, stderr, core, ptmx".to_owned()))
            }
            Step::Console => one(init.terminal.map(|t| format!("terminal for user {}", t.uid))),
            Step::NetDevices => host
                .net_devices
                .iter()
                .map(|device| format!("{} as {}", device.host_name, device.container_name.text()))
                .collect(),
            Step::RuntimeHooks => hooks(&host.runtime_hooks),
            Step::CreateContainerHooks => hooks(&init.create_container.list),
            Step::Label => {
                init.process.iter().flat_map(|p| [&p.apparmor, &p.selinux]).flatten().map(ToString::to_string).collect()
            }
            Step::Seccomp => one(init.process.as_ref().and_then(|p| p.seccomp.as_ref()).map(|filter| {
                let asks = if filter.listener { ", asks a listener" } else { "" };
                format!(
                    "{} instructions, flags {:#x}, loaded {:?}{asks}",
                    filter.program.count(),
                    filter.flags,
                    filter.load
                )
            })),
            Step::PivotRoot => one(root.map(|r| format!("{:?}", r.pivot))),
            Step::Sysctl => init.sysctl.iter().map(|s| format!("{} = {}", s.path, s.value)).collect(),
            Step::ReadonlyPaths => root.map(|r| texts(&r.readonly_paths)).unwrap_or_default(),
            Step::MaskedPaths => root.map(|r| texts(&r.masked)).unwrap_or_default(),
            Step::ReadonlyRoot => one(root.filter(|r| r.readonly).map(|_| "/".to_owned())),
            Step::MemoryPolicy => one(init.inherited.memory_policy.as_ref().map(super::memory::describe)),
            Step::Personality => {
                one(init.inherited.personality.map(|domain| if domain == 8 { "LINUX32" } else { "LINUX" }.into()))
            }
            Step::Credentials => one(init.process.as_ref().map(|p| {
                let nnp = if p.no_new_privileges { ", no new privileges" } else { "" };
                format!(
                    "user {} group {} groups {:?} umask {:04o}, {} capabilities in the bounding set{nnp}",
                    p.uid,
                    p.gid,
                    p.groups.as_deref().unwrap_or_default(),
                    p.umask,
                    p.caps.bounding.count_ones()
                )
            })),
            Step::Cwd => one(init.process.as_ref().map(|p| p.cwd.to_string())),
            Step::Program => one(init.process.as_ref().and_then(|p| p.args.first()).map(ToString::to_string)),
            Step::Rlimits => {
                host.rlimits.iter().map(|l| format!("{} soft {} hard {}", l.resource, l.soft, l.hard)).collect()
            }
            Step::Scheduler => host.scheduling.lines(),
            Step::StartContainerHooks => hooks(&init.start_container.list),
            Step::Exec => one(init.process.as_ref().map(|p| texts(&p.args).join(" "))),
            Step::PoststartHooks => hooks(&host.poststart),
            Step::RaiseLimits | Step::SendPlan | Step::ReceivePlan | Step::Ready | Step::SaveState | Step::Start => {
                Vec::new()
            }
        }
    }
}
