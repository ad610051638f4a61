//! How does a second process join a container?
//!
//! Host half. The same init executes a plan of joining steps: it starts in the container's cgroup
//! and in the host's namespaces, becomes its own program there, and only then enters the
//! container, whose processes never see the host's binary (CVE-2019-5736).

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use cleat_plan as wire;
use cleat_plan::Step;
use cleat_plan::wire::ToInit;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::child::ChildGuard;
use super::fault::Faults;
use super::handshake::{Event, Handshake, Ready, out_of_turn};
use super::settings::{clone_error, raise_limits, set_oom_score, write_pid_file};
use super::start::{agent, hand_over, order_start};
use crate::cgroup::{Cgroup, OomWatch};
use crate::cli::{self, Rootless};
use crate::container;
use crate::container::{Alive, Container, Phase, Status};
use crate::error::{Context, Error, Result};
use crate::launch::channel::Channel;
use crate::launch::{console, scheduler, standard_streams};
use crate::plan::host::Host;
use crate::plan::ids::{self, Ids, groups, keeps_groups};
use crate::plan::seccomp::{self, Exposure, Filter};
use crate::plan::{self, Affinity, ExecFd, Findings, NEWNS, NEWPID, NEWUSER, Request};
use crate::spec;
use crate::sys::path::Proc;
use crate::sys::{self, Child};

/// What an exec needs.
pub struct ExecParameters<'a> {
    /// Where to.
    pub container: &'a Container,
    /// Which program, as whom.
    pub process: spec::Process,
    /// Descriptors, keyring, fault.
    pub request: Request,
    /// A cgroup below the container's.
    pub cgroup: Option<PathBuf>,
    /// What was typed.
    pub options: &'a cli::Exec,
    /// `--rootless`
    pub rootless: Rootless,
    /// Receives warnings.
    pub warn: &'a dyn Fn(&str),
    /// Hears of each step, with `--debug`.
    pub debug: Option<&'a dyn Fn(&str)>,
}

/// A process that is ready to run in the container.
pub struct ExecProcess {
    /// A child of ours.
    pub child: ChildGuard,
    channel: Channel,
    /// Its terminal's master.
    pub console: Option<OwnedFd>,
    /// The process that forked: nobody waits for its end until there is time.
    intermediate: Option<ChildGuard>,
    /// Its seccomp filter is yet to be loaded.
    filter_at_start: bool,
}

/// The plan of a joining: pure.
///
/// # Errors
/// A property of the process that is wrong.
pub fn plan(
    container: &Container,
    process: &spec::Process,
    request: &Request,
    host: &Host,
    filter: Option<Filter>,
    findings: &mut Findings,
) -> Result<(wire::Plan, Vec<ExecFd>)> {
    let namespaces = container.record.cleat.namespaces;
    let mut fds = Vec::new();
    let mut join = Vec::new();
    if namespaces != 0 {
        let fd = plan::push_fd(&mut fds, ExecFd::ContainerPidfd)?;
        let path = plan::text(format!("the namespaces of {}", container.id()))?;
        join.push(wire::Join { fd, flags: u32::try_from(namespaces).unwrap_or(0), path });
    }
    let chroot = (namespaces & NEWNS == 0).then(|| plan::push_fd(&mut fds, ExecFd::ContainerRoot)).transpose()?;
    let user_namespace = namespaces & NEWUSER != 0;
    let may_set_groups = !host.setgroups_denied && (user_namespace || host.euid == 0);
    Ids::of_container(&host.own_uids, &host.own_gids).check_user(&process.user, may_set_groups, findings);
    let mut joining = plan::process(process, request, host, user_namespace, findings);
    let keep = keeps_groups(&container.record.cleat.annotations, host);
    joining.groups = groups(&process.user, may_set_groups, keep, &mut findings.warnings);
    let drop_groups = user_namespace && host.may_drop_groups && !keep;
    ids::without_what_is_dropped(&mut joining.groups, drop_groups);
    joining.seccomp = filter.map(|filter| {
        let load = seccomp::load(&filter, joining.no_new_privileges, Exposure::Seen { hooks: false }, findings);
        filter.with(load)
    });
    let init = wire::Plan {
        fault: request.fault,
        drop_groups,
        join,
        chroot,
        fork: (namespaces & NEWPID != 0).then_some(wire::Fork::Joined),
        become_root: user_namespace,
        keyring: request.keyring.as_ref().map(plan::text).transpose()?,
        terminal: findings.keep(process.terminal.then(|| plan::terminal(process, false)).transpose()),
        inherited: container.record.cleat.inherited.clone(),
        process: Some(joining),
        ..wire::Plan::default()
    };
    Ok((init, fds))
}

/// Makes a process inside a running container, ready to be started.
///
/// # Errors
/// The container does not run, or a step inside it failed. Nothing is left behind.
pub fn join(parameters: &ExecParameters<'_>) -> Result<ExecProcess> {
    ExecSteps::decide(parameters)?.perform()
}

/// All that is decided before anything is made.
struct ExecSteps<'a> {
    parameters: &'a ExecParameters<'a>,
    container: &'a Container,
    faults: Faults<'a>,
    /// The container's first process.
    alive: Alive,
    host: Host,
    /// Where the process is made: the container's own cgroup, or the one that its first process has gone to.
    cgroup: Option<Cgroup>,
    /// It is the container's own.
    is_own: bool,
    init: wire::Plan,
    fds: Vec<ExecFd>,
    scheduling: plan::Scheduling,
    affinity: Affinity,
}

impl<'a> ExecSteps<'a> {
    fn decide(parameters: &'a ExecParameters<'a>) -> Result<ExecSteps<'a>> {
        let container = parameters.container;
        let faults = Faults::new(&parameters.request, parameters.debug);
        let alive = container
            .alive()?
            .ok_or_else(|| Error::new(format!("cannot exec in a stopped container: {}", container.id())))?;
        if container.record.cleat.phase == Phase::Creating {
            return Err(Error::new(format!("cannot exec in {}: it is still being created", container.id())));
        }
        let own = container.cgroup();
        let is_own = own.is_some();
        let cgroup = match own {
            // Gone, or another's, since its first process has left it. Never the caller's instead.
            None if container.record.cleat.cgroup.is_some() => Some(current_cgroup(container, parameters.warn)?),
            own => own,
        };
        if !parameters.options.ignore_paused && cgroup.as_ref().is_some_and(|cgroup| cgroup.frozen().unwrap_or(false)) {
            let error = Error::new(format!("cannot exec in a paused container: {}", container.id()));
            return Err(error.remedy("resume it first, or use --ignore-paused"));
        }
        let mut findings = Findings::default();
        let host = Host::of_joining(parameters.rootless, first_of_user_namespace(container), &parameters.process)?;
        let filter = container.filter()?;
        let (init, fds) = plan(container, &parameters.process, &parameters.request, &host, filter, &mut findings)?;
        let scheduling = plan::scheduling(&parameters.process, &mut findings);
        let affinity = plan::affinity(parameters.process.exec_cpu_affinity.as_ref(), &mut findings);
        findings.warnings()?.iter().for_each(|warning| (parameters.warn)(warning));
        let options = parameters.options;
        console::check(parameters.process.terminal, options.detach, options.console_socket.as_deref())?;
        Ok(ExecSteps { parameters, container, faults, alive, host, cgroup, is_own, init, fds, scheduling, affinity })
    }

    /// The host's steps; the init's are in `runtime/init/src/main.rs`.
    fn perform(self) -> Result<ExecProcess> {
        self.faults.at(Step::Cgroup)?;
        let below = self.cgroup_below()?;
        let oom = OomWatch::from_now(self.cgroup.as_ref());
        self.faults.at(Step::Clone)?;
        scheduler::set_affinity(0, &self.affinity.initial, "initial")?;
        standard_streams::protect_devices(self.parameters.warn)?;
        let (channel, theirs) = Channel::pair()?;
        let child = self.clone_init(below.as_ref(), &theirs)?;
        drop(theirs);
        self.faults.at(Step::Affinity)?;
        self.set_affinity(child.get())?;
        self.faults.at(Step::Resctrl)?;
        self.add_to_resctrl(child.get())?;
        self.equip(child.get()).map_err(|error| oom.annotate(error))?;
        self.faults.at(Step::SendPlan)?;
        let fds = open_fds(&self.fds, self.alive, self.container)?;
        channel.send_plan(&self.init, &fds)?;
        drop(fds);
        let mut handshake = Handshake::new(&channel, child, &self.init, oom, self.parameters.warn);
        if let Err(error) = attend(self.container, &mut handshake, &channel) {
            handshake.end();
            return Err(error);
        }
        let Ready { child, console, intermediate } = handshake.ready();
        let pid = child.get().pid;
        let process = &self.parameters.process;
        if !process.terminal {
            let mapped = first_of_user_namespace(self.container).map(|_| pid);
            let ids = (process.user.uid, process.user.gid);
            standard_streams::give(ids, mapped, self.parameters.options.give_fifos)?;
        }
        self.faults.at(Step::Scheduler)?;
        scheduler::apply(pid, &self.scheduling)?;
        self.faults.at(Step::SaveState)?;
        if let Some(path) = &self.parameters.options.pid_file {
            write_pid_file(path, pid)?;
        }
        let filter_at_start = self.init.process.as_ref().is_some_and(seccomp::is_loaded_at_start);
        Ok(ExecProcess { child, channel, console, intermediate, filter_at_start })
    }

    /// The cgroup below the container's that was asked for.
    fn cgroup_below(&self) -> Result<Option<Cgroup>> {
        match (&self.cgroup, &self.parameters.cgroup) {
            (Some(own), Some(below)) if self.is_own => own.below(below).map(Some),
            (_, Some(path)) => {
                Err(Error::new(format!("--cgroup {}: the container has no cgroup of its own", path.display())))
            }
            (_, None) => Ok(None),
        }
    }

    fn clone_init(&self, below: Option<&Cgroup>, socket: &OwnedFd) -> Result<ChildGuard> {
        let exactly = self.parameters.cgroup.is_some();
        let with = |cgroup| clone_into(cgroup, self.parameters, socket, exactly);
        let child = match with(below.or(self.cgroup.as_ref())) {
            // Its user's, but not to be reached from where he calls: from another session of his, or (ENOENT)
            // from a cgroup namespace that is a boundary (cgroup-v2.rst, "nsdelegate"). Root reaches every one.
            Err(CloneError { errno: Errno::EACCES | Errno::ENOENT, error })
                if !exactly && self.is_own && self.host.rootless() && self.host.may_do_without_cgroup() =>
            {
                let child = with(None);
                let attached = match (&child, self.container.unit()) {
                    (Ok(child), Some(unit)) => unit.attach(child.get().pid).map_err(|refused| error.within(refused)),
                    _ => Err(error),
                };
                if let Err(error) = attached {
                    (self.parameters.warn)(&format!("{error}; the process stays in the caller's cgroup"));
                }
                child
            }
            other => other,
        };
        child.map_err(|failed| failed.error)
    }

    fn set_affinity(&self, child: &Child) -> Result<()> {
        if self.affinity == Affinity::default() {
            scheduler::reset_affinity(child.pid, self.parameters.warn);
            return Ok(());
        }
        scheduler::set_affinity(child.pid, &self.affinity.last, "final")
    }

    fn add_to_resctrl(&self, child: &Child) -> Result<()> {
        let Some(own) = &self.container.record.cleat.rdt else { return Ok(()) };
        if !own.add(child.pid)? {
            (self.parameters.warn)(&format!(
                "intelRdt {}: somebody has removed the group; the process is not in it",
                own.full().display()
            ));
        }
        Ok(())
    }

    /// What the host does to the process from outside, before that gets its plan.
    fn equip(&self, child: &Child) -> Result<()> {
        self.faults.at(Step::OomScore)?;
        if let Some(score) = self.parameters.process.oom_score_adj {
            set_oom_score(child.pid, score)?;
        }
        self.faults.at(Step::RaiseLimits)?;
        self.init.process.as_ref().map_or(Ok(()), |process| raise_limits(child.pid, &process.rlimits))
    }
}

/// The container's first process, where it lives in a user namespace of its own.
fn first_of_user_namespace(container: &Container) -> Option<i32> {
    let record = &container.record;
    (record.cleat.namespaces & NEWUSER != 0).then_some(record.init_process_pid)
}

/// Does what the init needs until it is ready.
fn attend(container: &Container, handshake: &mut Handshake<'_>, channel: &Channel) -> Result<()> {
    loop {
        match handshake.next()? {
            Event::Listener(fd) => {
                hand_over(container, Status::Running, None, &fd, handshake.child().pid)?;
                channel.send(ToInit::ListenerTaken)?;
            }
            Event::Ready => return Ok(()),
            Event::Unshared | Event::RunHooks => return Err(out_of_turn()),
        }
    }
}

/// A process could not be made.
struct CloneError {
    errno: Errno,
    error: Error,
}

impl CloneError {
    fn new(errno: Errno, cgroup: Option<&Cgroup>) -> CloneError {
        CloneError { errno, error: clone_error(errno, cgroup) }
    }
}

impl From<Error> for CloneError {
    fn from(error: Error) -> CloneError {
        CloneError { errno: Errno::UnknownErrno, error }
    }
}

/// Starts it in the container's cgroup. Where that has become an inner node, because the container
/// manages cgroups itself, in the one its first process is in now.
fn clone_into(
    cgroup: Option<&Cgroup>,
    parameters: &ExecParameters<'_>,
    socket: &OwnedFd,
    exactly: bool,
) -> std::result::Result<ChildGuard, CloneError> {
    let program = crate::launch::init_binary::sealed()?;
    // Who dies in the container takes along who shares his memory.
    let own_memory = parameters.container.memory_limited();
    let spawn = |cgroup: Option<&Cgroup>| {
        let spec = sys::InitSpawn {
            namespaces: 0,
            cgroup: cgroup.map(Cgroup::as_fd),
            program: program.as_fd(),
            socket: socket.as_fd(),
            wait_for_mapping: false,
            own_memory,
        };
        sys::spawn_init(&spec).map(ChildGuard::new)
    };
    match spawn(cgroup) {
        Err(Errno::EBUSY) if !exactly => {
            let current = current_cgroup(parameters.container, parameters.warn)?;
            spawn(Some(&current)).map_err(|errno| CloneError::new(errno, Some(&current)))
        }
        other => other.map_err(|errno| CloneError::new(errno, cgroup)),
    }
}

/// The cgroup that the container's first process is in now, as with runc: what joins there has no
/// more than that has. Where it is not beneath the container's own, a warning says what does not hold.
fn current_cgroup(container: &Container, warn: &dyn Fn(&str)) -> Result<Cgroup> {
    let own = container.record.cleat.cgroup.as_ref();
    let own = own.ok_or_else(|| Error::new("the container has no cgroup of its own"))?;
    let place = container.place_of_first()?;
    let full = crate::plan::cgroup_path::directory(&own.mount, &own.path);
    let left =
        format!("the container's first process has left its cgroup {}: it is in {}", full.display(), place.display());
    let current = Cgroup::open(&own.mount, &place).context(&left)?;
    // By descriptor: the name may be another one's by now.
    if !current.holds(container.record.init_process_pid) {
        return Err(Error::new(format!("{left}, or was: it moves")).remedy("try again"));
    }
    if !place.starts_with(&own.path) || container.cgroup().is_none() {
        warn(&format!("{left}; exec joins it there, where limits and device rules of config.json do not hold"));
    }
    Ok(current)
}

fn open_fds(sources: &[ExecFd], alive: Alive, container: &Container) -> Result<Vec<OwnedFd>> {
    let mut pidfd = Some(alive.pidfd);
    let open = |source: &ExecFd| match source {
        ExecFd::ContainerPidfd => pidfd.take().ok_or_else(|| Error::new("no pidfd")),
        ExecFd::ContainerRoot => container_root(container),
    };
    sources.iter().map(open).collect()
}

fn container_root(container: &Container) -> Result<OwnedFd> {
    let pid = container.record.init_process_pid;
    let proc = Proc::open()?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let root = proc.follow(&format!("{pid}/root"), flags).context(format_args!("open /proc/{pid}/root"))?;
    // Afterwards, so that the number still meant the container's process when it was used.
    match container::process_start(&proc, pid) {
        Some((start, _)) if start == container.record.init_process_start => Ok(root),
        _ => Err(Error::new(format!("cannot exec in a stopped container: {}", container.id()))),
    }
}

impl ExecProcess {
    /// Lets the program run; returns when it does.
    ///
    /// # Errors
    /// As [`order_start`].
    pub fn start(&mut self, container: &Container) -> Result<()> {
        let intermediate = self.intermediate.take();
        let pid = self.child.get().pid;
        let mut agent = agent(container, self.filter_at_start)?;
        let hand_over = |fd| hand_over(container, Status::Running, agent.take(), &fd, pid);
        order_start(&self.channel, hand_over, || drop(intermediate))
    }
}
