//! Can the process be what it is asked to be: its program, its limits, its filter and its labels?

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cleat_plan::Process;

use super::Preflight;
use super::mount_view::{Found, View};
use super::permission::{Subject, to_host};
use super::program::{self, Obstacle};
use crate::plan::seccomp::FLAGS;
use crate::plan::{IoClass, NEWUSER, Place, Policy, Scheduling, cpu_list};
use crate::probe::kernel_features::Which;
use crate::probe::machine::read;
use crate::sys;

/// `RLIMIT_NOFILE`
const NOFILE: u32 = 7;

impl<'a> Preflight<'a> {
    /// Privileges and limits.
    pub(super) fn check_process(&mut self) {
        let plan = self.plan;
        let may_raise = self.survey.has_capability("CAP_SYS_RESOURCE");
        if let (Some(score), false) = (plan.host.oom_score_adj, may_raise) {
            let own = read("/proc/self/oom_score_adj").and_then(|text| text.trim().parse::<i32>().ok());
            if own.is_some_and(|own| score < own) {
                let what =
                    format!("{score} is below this process's own {}, and it has no CAP_SYS_RESOURCE", own.unwrap_or(0));
                self.problem("process.oomScoreAdj", what, "choose a higher one, or run cleat with that capability");
            }
        }
        self.check_limits(may_raise);
        self.check_scheduling();
        self.check_memory_nodes();
        if let Some(process) = &plan.init.process {
            self.check_profile(process);
        }
        for (key, sysctl) in self.spec.linux.sysctl.keys().zip(&plan.init.sysctl) {
            let path = Path::new("/proc/sys").join(OsStr::from_bytes(sysctl.path.to_bytes()));
            // Some are there in the container alone, such as those of its devices.
            if plan.init.sysctl.len() == self.spec.linux.sysctl.len() && !path.exists() {
                self.warn(&format!("linux.sysctl[{key:?}]"), format_args!("this machine has no {}", path.display()));
            }
        }
    }

    /// What takes `CAP_SYS_NICE`, unless a limit of this process lets it (sched(7)).
    fn check_scheduling(&mut self) {
        const NICE: u32 = 13;
        const RTPRIO: u32 = 14;
        let plan = self.plan;
        let Scheduling { scheduler, io } = &plan.host.scheduling;
        if self.survey.has_capability("CAP_SYS_NICE") {
            return;
        }
        let remedy = "run cleat with that capability, or choose another";
        if io.is_some_and(|io| io.class == IoClass::RealTime) && !self.survey.has_capability("CAP_SYS_ADMIN") {
            self.problem("process.ioPriority", "IOPRIO_CLASS_RT needs CAP_SYS_NICE", remedy);
        }
        let Some(scheduler) = scheduler else { return };
        let soft = |limit: u32| sys::own_limit(limit).map_or(0, |(soft, _)| soft);
        let allowed = match scheduler.policy {
            Policy::Deadline => false,
            Policy::Fifo | Policy::RoundRobin => soft(RTPRIO) >= scheduler.priority.into(),
            _ => scheduler.nice >= 0 || soft(NICE) >= u64::from(20u32.saturating_add_signed(-scheduler.nice)),
        };
        if !allowed {
            let (_, name) = scheduler.policy.number_and_name();
            let what =
                format!("{name} with nice {} and priority {} needs CAP_SYS_NICE", scheduler.nice, scheduler.priority);
            self.problem("process.scheduler", what, remedy);
        }
    }

    /// The kernel wants one node at least that is there and has memory (set_mempolicy(2)).
    fn check_memory_nodes(&mut self) {
        const RELATIVE_NODES: u32 = 1 << 14;
        let Some(policy) = &self.plan.init.inherited.memory_policy else { return };
        let text = read("/sys/devices/system/node/has_memory").unwrap_or_default();
        let place = Place::new("linux.memoryPolicy.nodes".into());
        let Ok(there) = cpu_list::mask(text.trim(), &place) else { return };
        let none = policy.nodes.iter().zip(there.iter()).all(|(asked, there)| asked & there == 0);
        if none && !policy.nodes.is_empty() && !there.is_empty() && policy.mode & RELATIVE_NODES == 0 {
            let what = format!("none of the nodes has memory here, as {} have", text.trim());
            self.problem("linux.memoryPolicy.nodes", what, "choose one of them");
        }
    }

    fn check_limits(&mut self, may_raise: bool) {
        let list = self.spec.process.as_ref().map(|process| process.rlimits.as_slice()).unwrap_or_default();
        let sound = (0..list.len()).filter(|index| !self.has_problem(&format!("process.rlimits[{index}]")));
        let sound: Vec<usize> = sound.collect();
        for (index, limit) in sound.into_iter().zip(&self.plan.host.rlimits) {
            let place = format!("process.rlimits[{index}]");
            let nr_open = self.survey.limits.nr_open.filter(|most| limit.resource == NOFILE && limit.hard > *most);
            if let Some(most) = nr_open {
                let what = format!("hard {} is above fs.nr_open, which is {most}", limit.hard);
                self.problem(place, what, "lower it, or raise that: sysctl fs.nr_open=NUMBER");
                continue;
            }
            let Ok((_, hard)) = sys::own_limit(limit.resource) else { continue };
            if limit.hard > hard && !may_raise {
                let what =
                    format!("hard {} is above this process's own {hard}, and it has no CAP_SYS_RESOURCE", limit.hard);
                self.problem(place, what, "lower it, or run cleat with that capability");
            }
        }
    }

    /// The AppArmor profile, where the list of those that are loaded can be read.
    fn check_profile(&mut self, process: &Process) {
        let Some(profile) = &process.apparmor else { return };
        let name = profile.to_string_lossy();
        // Stacks and names with a namespace have their own grammar.
        if name == "unconfined" || name.contains("//&") || name.starts_with([':', '&']) {
            return;
        }
        let Some(loaded) = read("/sys/kernel/security/apparmor/profiles") else { return };
        if !loaded.lines().any(|line| line.rsplit_once(" (").is_some_and(|(known, _)| known == name)) {
            let what = format!("AppArmor has no profile {name:?}");
            self.problem("process.apparmorProfile", what, "load it: apparmor_parser -r FILE");
        }
    }

    /// The terminal comes from the container's own devpts, and lies on `/dev/console`.
    pub(super) fn check_terminal(&mut self, view: &View) {
        let Some(root) = self.plan.init.root.as_ref().filter(|_| self.plan.host.terminal) else { return };
        let is_mounted = |path: &[u8]| root.mounts.iter().any(|mount| mount.target.to_bytes() == path);
        let fresh_dev = root.dev_links && is_mounted(b"/dev");
        if fresh_dev && !is_mounted(b"/dev/pts") {
            let remedy = "add {\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\"} to mounts";
            self.problem("process.terminal", "a terminal needs a devpts on /dev/pts", remedy);
        }
        if view.walk(Path::new("/dev/console"), None).linked {
            let what = "/dev/console: a symbolic link in the image stands where the terminal must be (ELOOP)";
            self.problem("process.terminal", what, "remove the link from the root file system");
        }
    }

    /// What the filter asks of the kernel, and who is to decide for it.
    pub(super) fn check_seccomp(&mut self) {
        let (plan, spec, survey) = (self.plan, self.spec, self.survey);
        let Some(filter) = &plan.host.seccomp else { return };
        let kernel = &survey.kernel;
        if kernel.has(Which::Seccomp) == Some(false) {
            return self.problem("linux.seccomp", "this kernel has no seccomp filters", "boot another one");
        }
        let flags = spec.linux.seccomp.as_ref().and_then(|seccomp| seccomp.flags.as_deref()).unwrap_or_default();
        for (index, name) in flags.iter().enumerate() {
            let known = FLAGS.iter().find(|(known, _)| known == name);
            let used = known.filter(|(_, flag)| filter.flags & flag != 0);
            if used.is_some_and(|(_, flag)| !sys::knows_filter_flag(*flag)) {
                let what = format!("this kernel has no {name}");
                self.problem(format!("linux.seccomp.flags[{index}]"), what, "remove it, or boot a newer one");
            }
        }
        let Some(listener) = &filter.listener else { return };
        if kernel.has(Which::SeccompNotify) == Some(false) {
            self.problem("linux.seccomp", "this kernel has no SCMP_ACT_NOTIFY", "boot Linux 5.0 or later");
        }
        if !is_listened_to(&listener.path) {
            let what = format!("{}: nobody listens there by now; start who decides first", listener.path.display());
            self.warn("linux.seccomp.listenerPath", what);
        }
    }

    /// The working directory, the program, and hooks that are files of the container.
    pub(super) fn check_program(&mut self, view: &View) {
        let plan = self.plan;
        let Some(process) = &plan.init.process else { return };
        if self.has_problem("process.args") || self.has_problem("process.cwd") || self.has_problem("process.env") {
            return;
        }
        let subject = self.subject(process);
        let subject = subject.as_ref();
        let cwd = Path::new(OsStr::from_bytes(process.cwd.to_bytes()));
        let end = view.walk(cwd, subject);
        if matches!(end.found, Found::NotDirectory) || end.is_dir() == Some(false) {
            let what = format!("{}: it is no directory", cwd.display());
            self.problem_unless_hooked("process.cwd", &what, "choose another, or correct the image");
        } else if matches!(end.found, Found::Denied) {
            let what = format!("{}: this user may not search the directories above it", cwd.display());
            self.problem_unless_hooked("process.cwd", &what, "choose another, or correct their modes");
        }
        let Some(name) = process.args.first() else { return };
        let name = OsStr::from_bytes(name.to_bytes());
        let outcome = if name.is_empty() {
            Err(Obstacle::Missing(("\"\": no such file or directory".into(), "name a program".into())))
        } else if name.as_bytes().contains(&b'/') {
            program::of_container(view, &cwd.join(name), cwd, subject)
        } else {
            let path = process.env.iter().find_map(|var| var.to_bytes().strip_prefix(b"PATH="));
            program::search(view, name, path.unwrap_or_default(), cwd, subject)
        };
        self.tell("process.args[0]", outcome);
        for (index, hook) in self.spec.hooks.start_container.iter().enumerate() {
            if hook.path.starts_with('/') {
                let outcome = program::of_container(view, Path::new(&hook.path), cwd, subject);
                self.tell(&format!("hooks.startContainer[{index}].path"), outcome);
            }
        }
    }

    fn tell(&mut self, place: &str, outcome: Result<(), Obstacle>) {
        match outcome {
            Ok(()) | Err(Obstacle::Unknown) => {}
            Err(
                Obstacle::Missing((what, remedy)) | Obstacle::Denied((what, remedy)) | Obstacle::Broken((what, remedy)),
            ) => {
                self.problem_unless_hooked(place, &what, &remedy);
            }
        }
    }

    /// The process as the host sees it; `None` where that is not known.
    fn subject(&self, process: &Process) -> Option<Subject<'a>> {
        let plan = self.plan;
        let maps = plan.host.id_maps.as_ref();
        if maps.is_none() && plan.host.namespaces & NEWUSER != 0 {
            return None;
        }
        let (uids, gids) = (maps.map(|m| m.uids.as_slice()), maps.map(|m| m.gids.as_slice()));
        let groups = match &process.groups {
            Some(groups) => groups.iter().filter_map(|gid| to_host(gids, *gid)).collect(),
            None => self.survey.privileges.groups.clone(),
        };
        Some(Subject {
            uid: to_host(uids, process.uid)?,
            gid: to_host(gids, process.gid)?,
            groups,
            capabilities: process.caps.effective,
            uids,
            gids,
        })
    }
}

/// Whether a process listens on a socket, without calling it. Sockets of other network namespaces
/// cannot be seen.
fn is_listened_to(path: &Path) -> bool {
    // Num RefCount Protocol Flags Type St Inode Path; this flag is `__SO_ACCEPTCON`.
    let listens = |line: &str| {
        let mut fields = line.splitn(8, ' ').skip(3);
        fields.next() == Some("00010000")
            && line.split_once(" /").is_some_and(|(_, rest)| Path::new("/").join(rest) == path)
    };
    read("/proc/self/net/unix").is_some_and(|text| text.lines().any(listens))
}
