//! Is the living container what was asked for?
//!
//! Host half. Reads what the kernel says of a container's processes, namespaces, mounts and cgroup, and compares
//! it with config.json, and with the plan that is made of that again. Nothing is changed, nothing is believed that
//! the container says of itself, and what cannot be read is reported. A process may have less than it was given.
//! Where it has more, its own rights may have let it get that far. Then it is distinguished from a container that
//! was made wrong.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::container::{Basis, Container, Status, Waiting};
use crate::error::{Error, Kind, Result, errno_text};
use crate::launch::sd_notify;
use crate::plan::host::Host;
use crate::plan::{Findings, Limit, NEWPID, NEWUSER, Plan, Request, resources};
use crate::spec;
use crate::spec::{Resources, Spec};
use crate::sys::path::Proc;

mod cgroup;
mod facts;
mod mount_points;
mod mounts;
mod namespaces;
mod parameters;
mod process;
mod report;

use facts::ProcDir;
pub use mount_points::{MountPoint, MountPoints};
use namespaces::Namespaces;
use process::{Role, Thread};
use report::Verdict;
pub use report::{Difference, NotChecked, Report};

/// `CAP_SYS_ADMIN`, which mounts, and unmounts.
const SYS_ADMIN: u64 = 1 << 21;

/// When a container is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before its program runs.
    Created,
    /// Its program runs: from then on a container has rights of its own.
    Running,
    /// It has just been restored: as above, but nobody has joined it with another process.
    Restored,
}

/// What a container is compared with.
pub struct Reference {
    spec: Spec,
    plan: Plan,
    /// `update` may have changed them since.
    limits: Vec<Limit>,
    /// The machine as it is now.
    now: Host,
    /// Whether config.json is the same as when the container was made; `None`: nobody knows.
    same: Option<bool>,
}

impl Reference {
    /// What the container's config.json asks for, and what was decided of it when it was made.
    ///
    /// # Errors
    /// The bundle is not there, or is wrong by now.
    pub fn of(container: &Container) -> Result<Reference> {
        let own = &container.record.cleat;
        let basis = own.basis.as_ref();
        let text = spec::read_again(&own.bundle, basis.and_then(|basis| basis.file.as_deref()))?;
        let spec: Spec = spec::parse("config.json", &text)?;
        let now = Host::of_bundle(basis.map(|basis| basis.rootless).unwrap_or_default(), &spec)?;
        let host = basis.map_or_else(|| now.clone(), |basis| basis.host(now.clone()));
        let request = Request {
            id: container.id().to_owned(),
            bundle: own.bundle.clone(),
            no_pivot: basis.is_some_and(|basis| basis.no_pivot),
            keyring: own.keyring.clone(),
            start_later: true,
            notify_dir: own.notify.as_ref().map(|_| sd_notify::directory(container.path())),
            ..Request::default()
        };
        let mut findings = Findings::default();
        let plan = Plan::decide(&request, &spec, &host, &mut findings);
        let limits = match &own.resources {
            Some(raw) => {
                let resources: Resources = spec::parse("state.json", raw.get().as_bytes())?;
                resources::decide(&resources, &host, &mut findings)
            }
            None => Vec::new(),
        };
        findings.warnings()?;
        let same = basis.map(|basis| basis.config.is_of(&text));
        Ok(Reference { spec, plan, limits, now, same })
    }

    /// config.json.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What was decided of it.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether config.json was changed since the container was made.
    #[must_use]
    pub fn was_changed(&self) -> bool {
        self.same == Some(false)
    }
}

/// What all parts of the comparison share.
struct Expected<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    limits: &'a [Limit],
    basis: Option<&'a Basis>,
    /// Its program runs: from then on a container has rights of its own.
    started: bool,
    /// Nobody can have joined it.
    restored: bool,
    /// It may mount in its own mount namespace.
    may_mount: bool,
    /// It may write files of its own cgroup.
    owns_cgroup: bool,
    /// Namespaces that it shares with others.
    joined: u64,
    /// It was made without privileges of the machine.
    rootless: bool,
    /// systemd writes limits, too, and rounds them.
    by_systemd: bool,
}

impl<'a> Expected<'a> {
    fn new(asked: &'a Reference, container: &'a Container, moment: Moment) -> Expected<'a> {
        let own = &container.record.cleat;
        let plan = &asked.plan;
        let caps = plan.init.process.as_ref().map(|process| process.caps).unwrap_or_default();
        let may_mount = (caps.bounding | caps.permitted | caps.inheritable) & SYS_ADMIN != 0;
        let basis = own.basis.as_ref();
        let rootless = basis.map_or_else(|| asked.now.rootless(), |basis| basis.euid != 0 || basis.in_user_namespace());
        let mounted = plan.init.root.as_ref().is_some_and(|root| root.mounts.iter().any(is_writable_cgroup));
        Expected {
            spec: &asked.spec,
            plan,
            limits: &asked.limits,
            basis,
            started: moment != Moment::Created,
            restored: moment == Moment::Restored,
            may_mount,
            owns_cgroup: plan.host.namespaces & NEWUSER == 0 && (may_mount || mounted),
            joined: own.joined,
            rootless,
            by_systemd: own.cgroup.as_ref().is_some_and(|cgroup| !cgroup.unit.is_empty()),
        }
    }

    /// Of a container whose program runs, without rights of its own.
    #[cfg(test)]
    fn of_plan(spec: &'a Spec, plan: &'a Plan) -> Expected<'a> {
        Expected {
            spec,
            plan,
            limits: &[],
            basis: None,
            started: true,
            restored: false,
            may_mount: false,
            owns_cgroup: false,
            joined: 0,
            rootless: false,
            by_systemd: false,
        }
    }

    /// Whether the container may have a capability that counts on the machine, not in a user namespace.
    fn has_on_host(&self, cap: u64) -> bool {
        let caps = self.plan.init.process.as_ref().map(|process| process.caps).unwrap_or_default();
        self.plan.host.namespaces & NEWUSER == 0 && (caps.bounding | caps.permitted) & cap != 0
    }
}

/// A mount through which root writes limits.
fn is_writable_cgroup(mount: &cleat_plan::Mount) -> bool {
    let shows = match &mount.kind {
        cleat_plan::MountKind::New { fstype, .. } => fstype.to_bytes() == b"cgroup2",
        cleat_plan::MountKind::Bind { source, .. } => source.to_bytes().starts_with(b"/sys"),
        cleat_plan::MountKind::Remount { .. } => false,
    };
    shows && (mount.attr.set | mount.attr_recursive.set) & 1 == 0
}

/// Why something could not be read.
fn why(errno: Errno) -> String {
    match errno {
        Errno::EACCES | Errno::EPERM => format!("this process may not look there: {errno:?}"),
        Errno::ESRCH => "the process has ended meanwhile".into(),
        errno => errno_text(errno),
    }
}

/// Audits a container that has been created, runs or is paused.
///
/// # Errors
/// There is nothing to look at: it has stopped, or its bundle is gone.
pub fn audit(container: &Container) -> Result<Report> {
    let status = container.status()?;
    if !matches!(status, Status::Created | Status::Running | Status::Paused) {
        let what = format!("container not running: {}; only a living one can be audited", container.id());
        return Err(Error::of(Kind::NotRunning, what));
    }
    // A paused one may not have been started, either.
    let moment = if matches!(container.connect()?, Waiting::Nobody) { Moment::Running } else { Moment::Created };
    let report = compare(container, &Reference::of(container)?, moment, None)?;
    Ok(Report { status: status.name(), ..report })
}

/// Compares a container's processes with what was asked for. `not_its` is one in its cgroup that is not the container's.
///
/// # Errors
/// Its first process has ended, or `/proc` is not there.
pub fn compare(container: &Container, asked: &Reference, moment: Moment, not_its: Option<i32>) -> Result<Report> {
    let expected = Expected::new(asked, container, moment);
    let ended =
        || Error::of(Kind::NotRunning, format!("container not running: {}; it has ended meanwhile", container.id()));
    let alive = container.alive()?.ok_or_else(ended)?;
    let pid = container.record.init_process_pid;
    let mut report = Report { id: container.id().to_owned(), pid, ..Report::default() };
    match asked.same {
        Some(true) => report.holds("config.json"),
        Some(false) => {
            let (asked, found) = ("as it was when the container was made", "it was changed since");
            report.note("config.json", None, Verdict::Differs, &asked, &found);
        }
        None => report.skip("config.json", "it is not known how it was when the container was made"),
    }
    let proc = Proc::open()?;
    let first = ProcDir::open(&proc, pid).map_err(|_| ended())?;
    let cgroup = container.cgroup();
    let path = container.record.cleat.cgroup.as_ref().map(|own| own.path.as_path());
    if let (Some(path), None) = (path, &cgroup) {
        report.note("linux.cgroupsPath", None, Verdict::Differs, &path.display(), &"there is no such cgroup any more");
    }
    let own = ProcDir::open(&proc, std::process::id().try_into().unwrap_or(0));
    let ours = own.map(|own| namespaces::of(&own)).unwrap_or_default();
    let mut all = processes(&expected, &proc, &first, cgroup.as_ref());
    all.retain(|pid| Some(*pid) != not_its);
    compare_processes(&expected, &proc, &first, &all, &ours, path, &mut report).ok_or_else(ended)?;
    report.processes = all;
    namespaces::compare_first(&expected, &first, &ours, &mut report);
    namespaces::compare_id_maps(&expected, &first, &asked.now, &mut report);
    namespaces::compare_clocks(&expected, &first, &mut report);
    mounts::compare(&expected, &first, &mut report);
    cgroup::compare_limits(&expected, cgroup.as_ref(), &mut report);
    cgroup::compare_devices(&expected, cgroup.as_ref(), &mut report);
    parameters::compare(&expected, alive.pidfd.as_fd(), &mut report);
    not_read(&expected, &mut report);
    // What was read was the container's, if it still lives.
    let is_there = container.alive()?.is_some();
    is_there.then(|| report.finish()).ok_or_else(ended)
}

/// The container's processes: those in its cgroup, and those in its pid namespace, if it has made that.
fn processes(expected: &Expected<'_>, proc: &Proc, first: &ProcDir, cgroup: Option<&Cgroup>) -> Vec<i32> {
    let mut all = cgroup.and_then(|cgroup| cgroup.processes().ok()).unwrap_or_default();
    all.push(first.pid);
    let made = expected.plan.host.namespaces & !expected.joined & NEWPID != 0;
    if let (true, Ok(wanted), Ok(entries)) = (made, first.namespace("pid"), std::fs::read_dir("/proc")) {
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let lives_there =
            |pid: &i32| ProcDir::open(proc, *pid).and_then(|subject| subject.namespace("pid")) == Ok(wanted);
        all.extend(pids.filter(lives_there));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// All processes, with all their threads. `None`: the first one has ended.
fn compare_processes(
    expected: &Expected<'_>,
    proc: &Proc,
    first: &ProcDir,
    all: &[i32],
    ours: &Namespaces,
    cgroup: Option<&std::path::Path>,
    report: &mut Report,
) -> Option<()> {
    let status = process::ProcStatus::parse(&first.read("status").ok()?)?;
    let theirs = namespaces::of(first);
    let ids = namespaces::ids(first, ours);
    for pid in all {
        // What one that joined may have, no descendant of the first one can get; of a restored one that is known.
        let role = if *pid == first.pid || expected.restored { Role::First } else { Role::Other };
        let Ok(subject) = ProcDir::open(proc, *pid) else { continue };
        let mut own = Report::default();
        let inside = theirs.get(NEWUSER).is_some_and(|user| namespaces::lives_below(&subject, user));
        for thread in subject.threads() {
            let Ok(text) = subject.read(&format!("task/{thread}/status")) else { continue };
            let Some(seen) = process::ProcStatus::parse(&text).filter(|seen| !seen.zombie) else { continue };
            let thread = Thread { pid: thread, role, inside, status: &seen };
            process::compare(expected, &ids, &status, &thread, &mut own);
        }
        if let Some(cgroup) = cgroup {
            cgroup::compare_place(cgroup, &subject, &mut own);
        }
        if *pid != first.pid {
            namespaces::compare_other(expected, &subject, &theirs, ours, &mut own);
        }
        process::compare_rest(expected, &subject, role, &mut own);
        if subject.is_gone() {
            continue;
        }
        if role == Role::Other && !own.differences.is_empty() && is_joining(&subject) {
            report.skip("process", &format!("process {pid} is about to join (exec)"));
            continue;
        }
        report.take(own);
    }
    Some(())
}

/// Whether a process still is the runtime's own program, on its way into the container.
fn is_joining(subject: &ProcDir) -> bool {
    let exe = std::fs::read_link(format!("/proc/{}/exe", subject.pid));
    exe.is_ok_and(|exe| crate::launch::init_binary::is_init(&exe))
}

/// What the kernel does not show, of what was asked for.
fn not_read(expected: &Expected<'_>, report: &mut Report) {
    let (spec, init) = (expected.spec, &expected.plan.init);
    let asked = spec.process.as_ref();
    if expected.plan.host.seccomp.is_some() {
        report.skip("linux.seccomp.syscalls", "what a filter decides is shown only to a tracer of the process");
    }
    let list = [
        ("process.scheduler", asked.is_some_and(|process| process.scheduler.is_some())),
        ("process.ioPriority", asked.is_some_and(|process| process.io_priority.is_some())),
        ("linux.memoryPolicy", init.inherited.memory_policy.is_some()),
        ("linux.personality", init.inherited.personality.is_some()),
        ("linux.intelRdt", expected.plan.host.rdt.is_some()),
        ("linux.netDevices", !expected.plan.host.net_devices.is_empty()),
        ("linux.devices", !spec.linux.devices.is_empty()),
        ("linux.mountLabel", !spec.linux.mount_label.is_empty()),
    ];
    for (place, _) in list.into_iter().filter(|(_, is_asked)| *is_asked) {
        report.skip(place, "this version does not look at it");
    }
    if init.keyring.is_some() {
        report.skip("process", "its session keyring is shown to nobody else");
    }
}
