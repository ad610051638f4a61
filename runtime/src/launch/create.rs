//! How is a container created? The host half.
//!
//! Runs in the caller's namespaces with the caller's privileges, with one thread until `clone3`.
//! Everything made on the way is owned by a guard: a creation that fails leaves the host as it was.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cleat_plan::wire::ToInit;
use cleat_plan::{Propagation, PropagationKind, Step};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::cgroup::resctrl;
use crate::cgroup::{Cgroup, CgroupGuard, OomWatch};
use crate::cli::{self, Rootless};
use crate::container;
use crate::container::{
    Basis, CgroupState, CleatState, Container, FilterState, Phase, Record, RuncCgroup, RuncConfig, StateDirGuard,
    Status, Store,
};
use crate::error::{Context, Error, Kind, Result, errno_text};
use crate::launch::channel::Channel;
use crate::launch::netdev::MovedDevices;
use crate::launch::setns_helper;
use crate::launch::{hooks, idmap, init_binary, scheduler, seccomp_agent, standard_streams};
use crate::plan::host::CgroupManager;
use crate::plan::host::Host;
use crate::plan::{self, CreateFd, IdmapSource, Plan, Request, Tree};
use crate::probe::host;
use crate::probe::host_mounts;
use crate::spec;
use crate::spec::{RawSpec, Spec};
use crate::sys::clean_path::clean;
use crate::sys::netns::{Network, Sysfs};
use crate::sys::path::Proc;
use crate::sys::{self, Child};

use super::child::ChildGuard;
use super::fault::Faults;
use super::handshake::{Event, Handshake, Ready};
use super::settings::{clone_error, raise_limits, set_oom_score, write_pid_file};

/// What a creation needs besides the plan's request.
pub struct CreateParameters<'a> {
    /// Where containers are remembered.
    pub store: &'a Store,
    /// The plan's request.
    pub request: Request,
    /// What was typed.
    pub options: &'a cli::Create,
    /// This process will not wait for the container.
    pub detached: bool,
    /// Receives warnings.
    pub warn: &'a dyn Fn(&str),
    /// Receives the plan, with `--debug`.
    pub debug: Option<&'a dyn Fn(&str)>,
    /// `--rootless`
    pub rootless: Rootless,
    /// `--cgroup-manager`
    pub manager: CgroupManager,
    /// `NOTIFY_SOCKET` of the caller.
    pub notify: Option<PathBuf>,
}

/// A container that has been made and has not started.
pub struct CreatedContainer {
    /// What is remembered.
    pub container: Container,
    /// Its first process, a child of ours.
    pub child: ChildGuard,
    /// The channel with its init.
    pub channel: Channel,
    /// Its terminal's master.
    pub console: Option<OwnedFd>,
    /// `poststart` hooks.
    pub poststart: Vec<cleat_plan::Hook>,
    /// Network devices of the host, which go back there unless they are kept.
    pub net_devices: MovedDevices,
}

/// Makes a container: everything but its start.
///
/// # Errors
/// What is wrong with the bundle or the host, and where. Nothing is left behind.
pub fn create(parameters: &CreateParameters<'_>) -> Result<CreatedContainer> {
    let request = &parameters.request;
    container::check_id(&request.id)?;
    // Before anything is made: a command that runs out of them half-way has none left to undo with, either.
    if let Some((what, remedy)) = host::short_of_descriptors() {
        return Err(Error::new(what.to_string()).remedy(format_args!("{remedy}")));
    }
    let text = spec::read_from(&request.bundle, parameters.options.config.as_deref())?;
    let spec: Spec = spec::parse("config.json", &text)?;
    let faults = Faults::new(request, parameters.debug);
    faults.at(Step::NetworkNamespace)?;
    let network = begin_network(&spec)?;
    let mut host = Host::of_bundle(parameters.rootless, &spec)?;
    host.find_manager(parameters.manager)?;
    if request.no_pivot {
        host.mounts = host_mounts::list()?;
    }
    let plan = Plan::new(request, &spec, &host)?;
    plan.warnings.iter().for_each(|warning| (parameters.warn)(warning));
    crate::launch::console::check(
        plan.host.terminal,
        parameters.detached,
        parameters.options.console_socket.as_deref(),
    )?;
    if let Some(debug) = parameters.debug {
        // The warnings, which stand at its end, have been told.
        plan.to_string().lines().filter(|line| !line.starts_with("warning ")).for_each(debug);
    }
    check_rootfs(&plan.host.rootfs)?;
    let (poststop, hook_log) = (plan.host.poststop.clone(), plan.host.hook_log.clone());
    let poststop_state = std::cell::RefCell::new(None);
    let moved = std::cell::RefCell::default();
    let kept = spec::parse("config.json", &text)?;
    network.iter().for_each(Network::hurry);
    let file = parameters.options.config.as_deref().map(std::path::absolute).transpose().context("--config")?;
    let basis = Basis { file, ..Basis::of(request, &host, &text)? };
    let creation = Creation {
        parameters,
        plan,
        kept,
        basis,
        spec: &spec,
        faults,
        network,
        poststop_state: &poststop_state,
        moved: &moved,
    };
    creation.perform().map_err(|error| name_missing_source(error, &spec, &request.bundle)).inspect_err(|_| {
        moved.take().bring_back(parameters.warn);
        // runtime-spec runtime.md § Lifecycle: what fails after the first hooks goes on with the
        // undoing, which is done by now, and the poststop hooks.
        if let Some(state) = poststop_state.take() {
            let runner = hooks::Runner { bundle: &request.bundle, state: &state, log: &hook_log };
            hooks::run_all(&poststop, &runner).iter().for_each(|error| (parameters.warn)(&error.to_string()));
        }
    })
}

/// Names the mount whose source is not there, as `check` does.
fn name_missing_source(error: Error, spec: &Spec, bundle: &Path) -> Error {
    let is_bound = |mount: &spec::Mount| {
        mount.kind == "bind" || mount.options.iter().any(|option| option == "bind" || option == "rbind")
    };
    let bound = spec.mounts.iter().enumerate().filter(|(_, mount)| is_bound(mount));
    let sources = bound.map(|(index, mount)| (index, clean(bundle, Path::new(&mount.source))));
    let is_missing = |path: &Path| std::fs::metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    let mut missing = sources.filter(|(_, path)| error.kind() == Kind::NoSource && is_missing(path));
    match missing.next() {
        Some((index, path)) => {
            let what = format!("{}: {}", path.display(), errno_text(Errno::ENOENT));
            Error::at(&format!("mounts[{index}].source"), what).remedy("make it, or remove the mount")
        }
        None => error,
    }
}

/// Before anything is made: a better message than the one of a mount call.
pub(crate) fn check_rootfs(rootfs: &Path) -> Result<()> {
    let place = format!("config.json: root.path: {}", rootfs.display());
    match std::fs::metadata(rootfs) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            Err(Error::new(format!("{place}: not a directory")).remedy("it must hold the container's root file system"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("{place}: no such file or directory"))
                .remedy("put the container's root file system there"))
        }
        Err(error) => Err(error).context(place),
    }
}

/// A container in the making: `restore` has some of the steps, too.
pub(crate) struct Creation<'a> {
    pub(crate) parameters: &'a CreateParameters<'a>,
    pub(crate) plan: Plan,
    pub(crate) kept: RawSpec<'a>,
    /// What the plan was made from.
    pub(crate) basis: Basis,
    pub(crate) spec: &'a Spec,
    pub(crate) faults: Faults<'a>,
    /// The new network namespace, in the making.
    pub(crate) network: Option<Network>,
    /// The state as `poststop` hooks get it, once there is something to stop.
    pub(crate) poststop_state: &'a std::cell::RefCell<Option<String>>,
    /// Network devices that have left the host.
    pub(crate) moved: &'a std::cell::RefCell<MovedDevices>,
}

impl Creation<'_> {
    /// The host's steps; the init's are in `runtime/init/src/main.rs`. docs/startup.md lists both.
    fn perform(mut self) -> Result<CreatedContainer> {
        self.faults.at(Step::StateDir)?;
        let reserved = self.parameters.store.reserve(&self.plan.host.id)?;
        self.faults.at(Step::Cgroup)?;
        if self.parameters.notify.is_some() {
            crate::launch::sd_notify::make_directory(reserved.path())?;
        }
        // Before the cgroup is there: whatever happens later, `delete` finds what to remove.
        let mut record = self.record();
        let made_before = self.cgroup(&reserved, &mut record)?;
        let made = made_before.as_ref();
        self.limit(made, false)?;
        self.give_cgroup(made)?;
        self.faults.at(Step::Resctrl)?;
        let group = resctrl::prepare(self.plan.host.rdt.as_ref(), |own| {
            record.set_rdt(own);
            reserved.save(&record)
        })?;
        let listener = self.parameters.request.start_later.then(|| reserved.listen()).transpose()?;
        self.faults.at(Step::Clone)?;
        standard_streams::protect_devices(self.parameters.warn)?;
        let (channel, theirs) = Channel::pair()?;
        let cgroup = made.map(CgroupGuard::cgroup);
        let oom = OomWatch::from_now(cgroup);
        let init = self.clone_init(cgroup, &theirs)?;
        drop(theirs);
        let scope = self.scope(&reserved, &mut record, init.get())?;
        let made = made.or(scope.as_ref());
        let cgroup = made.map(CgroupGuard::cgroup);
        let oom = if scope.is_some() { OomWatch::from_creation(cgroup) } else { oom };
        if !self.plan.host.poststop.is_empty() {
            *self.poststop_state.borrow_mut() = Some(container::state_json(&record, Status::Stopped, 0)?);
        }
        resctrl::add(group.as_ref(), init.get().pid)?;
        self.equip(init.get(), &channel).map_err(|error| oom.annotate(error))?;
        // The init runs hooks by itself: then nothing may happen before the rules hold.
        let early = !self.plan.init.create_container.list.is_empty();
        if early {
            self.limit(made, true)?;
            self.set_devices(made)?;
        }
        self.faults.at(Step::SendPlan)?;
        self.fill_hook_state(&record)?;
        let fds = self.open_fds(listener).map_err(|error| oom.annotate(error))?;
        // Where the init has its mount namespace already, before the plan can make it another.
        let mounts = match self.mounts_follow() {
            true => Vec::new(),
            false => self.open_mounts(init.get()).map_err(|error| oom.annotate(error))?,
        };
        channel.send_plan(&self.plan.init, &fds)?;
        channel.send_mounts(&mounts)?;
        drop((fds, mounts));
        if !early {
            self.set_devices(made)?;
        }
        let mut handshake = Handshake::new(&channel, init, &self.plan.init, oom, self.parameters.warn);
        self.attend(&mut handshake, &channel, &mut record, &reserved)?;
        let Ready { child, console, .. } = handshake.ready();
        if !early {
            self.limit(made, true)?;
        }
        if let Some(message) = oom.message() {
            return Err(Error::new(message));
        }
        self.give_streams(child.get())?;
        self.faults.at(Step::Scheduler)?;
        scheduler::apply(child.get().pid, &self.plan.host.scheduling)?;
        self.faults.at(Step::SaveState)?;
        self.save(&reserved, &mut record, made, child.get().pid)?;
        if self.parameters.request.start_later {
            channel.send(ToInit::Prepared)?;
        }
        if let Some(made) = made_before.or(scope) {
            made.keep();
        }
        resctrl::keep(group);
        Ok(CreatedContainer {
            container: reserved.keep(record),
            child,
            channel,
            console,
            poststart: self.plan.host.poststart,
            net_devices: self.moved.take(),
        })
    }

    /// From now on it is there for other commands.
    pub(crate) fn save(
        &self,
        reserved: &StateDirGuard,
        record: &mut Record,
        made: Option<&CgroupGuard>,
        pid: i32,
    ) -> Result<()> {
        record.cleat.phase = Phase::Created;
        if let Some(made) = made {
            record.set_cgroup(made.cgroup());
        }
        self.set_pid(record, pid)?;
        if let Some(path) = &self.parameters.options.pid_file {
            write_pid_file(path, pid)?;
        }
        if let Some(filter) = &self.plan.host.seccomp {
            reserved.save_filter(filter).inspect_err(|_| self.forget_pid_file())?;
        }
        reserved.save(record).inspect_err(|_| self.forget_pid_file())
    }

    /// Does what the init needs until it is ready.
    fn attend(
        &self,
        handshake: &mut Handshake<'_>,
        channel: &Channel,
        record: &mut Record,
        reserved: &StateDirGuard,
    ) -> Result<()> {
        loop {
            match handshake.next()? {
                Event::Unshared => self.follow(handshake.child(), channel)?,
                Event::Listener(fd) => {
                    let pid = handshake.child().pid;
                    let state = container::state_json(record, Status::Creating, pid)?;
                    let listener = self.plan.host.seccomp.as_ref().and_then(|f| f.listener.as_ref());
                    seccomp_agent::hand_over(listener, None, &fd, &state, pid)?;
                    channel.send(ToInit::ListenerTaken)?;
                }
                Event::RunHooks => {
                    self.run_hooks(handshake.child(), record, reserved)?;
                    channel.send(ToInit::HooksDone)?;
                }
                Event::Ready => return Ok(()),
            }
        }
    }

    /// Its late namespaces are there: mappings, and mounts that are opened in them.
    pub(super) fn follow(&self, child: &Child, channel: &Channel) -> Result<()> {
        if let Some(maps) = &self.plan.host.id_maps {
            idmap::write(child.pid, maps)?;
            channel.send(ToInit::Mapped)?;
        }
        if self.mounts_follow() {
            channel.send_mounts(&self.open_mounts(child)?)?;
        }
        Ok(())
    }

    pub(crate) fn run_hooks(&self, child: &Child, record: &mut Record, reserved: &StateDirGuard) -> Result<()> {
        // After most that can go wrong: routes of the host over a device do not come back.
        self.faults.at(Step::NetDevices)?;
        self.moved.borrow_mut().take(&self.plan.host.net_devices, child)?;
        self.faults.at(Step::RuntimeHooks)?;
        self.set_pid(record, child.pid)?;
        // A hook may ask `cleat state`.
        reserved.save(record)?;
        let state = container::state_json(record, Status::Creating, child.pid)?;
        let (bundle, log) = (&self.parameters.request.bundle, &self.plan.host.hook_log);
        let runner = hooks::Runner { bundle, state: &state, log };
        hooks::run(&self.plan.host.runtime_hooks, &runner)
    }

    /// What the host does to the process from outside, before that gets its plan.
    fn equip(&self, init: &Child, channel: &Channel) -> Result<()> {
        self.faults.at(Step::Affinity)?;
        scheduler::reset_affinity(init.pid, self.parameters.warn);
        self.faults.at(Step::IdMap)?;
        if let Some(maps) = self.plan.host.id_maps.as_ref().filter(|_| self.is_mapped_at_birth()) {
            idmap::write(init.pid, maps)?;
        }
        self.faults.at(Step::OomScore)?;
        if let Some(score) = self.plan.host.oom_score_adj {
            set_oom_score(init.pid, score)?;
        }
        self.faults.at(Step::RaiseLimits)?;
        raise_limits(init.pid, &self.plan.host.rlimits)?;
        if self.is_mapped_at_birth() {
            // Only now: it becomes root of its user namespace, and so another user of ours, whose
            // files in /proc an ordinary user may not write.
            channel.send(ToInit::Mapped)?;
        }
        Ok(())
    }

    /// Once it is in its user namespace, which may be one that it has joined.
    pub(crate) fn give_streams(&self, child: &Child) -> Result<()> {
        let Some(process) = self.plan.init.process.as_ref().filter(|_| !self.plan.host.terminal) else {
            return Ok(());
        };
        let mapped = self.plan.host.namespaces & plan::NEWUSER != 0;
        let ids = (process.uid, process.gid);
        standard_streams::give(ids, mapped.then_some(child.pid), self.parameters.options.give_fifos)
    }

    pub(crate) fn forget_pid_file(&self) {
        if let Some(path) = &self.parameters.options.pid_file {
            let _ = std::fs::remove_file(path);
        }
    }

    pub(crate) fn record(&self) -> Record {
        let host = &self.plan.host;
        let cgroup = host.cgroup.as_ref();
        let full = cgroup.map(|c| crate::plan::cgroup_path::directory(&c.mount, &c.path));
        Record {
            id: host.id.clone(),
            init_process_pid: 0,
            init_process_start: 0,
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            config: RuncConfig {
                rootfs: host.rootfs.clone(),
                hostname: self.spec.hostname.clone(),
                labels: vec![format!("bundle={}", self.parameters.request.bundle.display())],
                cgroups: cgroup.map(|c| RuncCgroup { path: c.path.clone() }),
            },
            rootless: nix::unistd::geteuid().as_raw() != 0,
            cgroup_paths: full.into_iter().map(|path| (String::new(), path)).collect(),
            namespace_paths: std::collections::BTreeMap::new(),
            external_descriptors: (!host.terminal).then(standard_streams::names),
            intel_rdt_path: String::new(),
            cleat: CleatState {
                phase: Phase::Creating,
                bundle: self.parameters.request.bundle.clone(),
                owner: nix::unistd::geteuid().as_raw(),
                cgroup: cgroup.map(|c| CgroupState {
                    mount: c.mount.clone(),
                    path: c.path.clone(),
                    made_above: 0,
                    memory_limited: c.limits.iter().any(|limit| limit.controller == "memory"),
                    unit: c.unit.as_ref().map(|unit| unit.name.clone()).unwrap_or_default(),
                    of_user: c.unit.as_ref().is_some_and(|unit| unit.user),
                    inode: 0,
                }),
                namespaces: host.namespaces,
                // The init joins what was made beside the rest, too.
                joined: self.plan.init.join.iter().fold(0, |flags, join| flags | u64::from(join.flags))
                    & !host.network.map_or(0, |_| plan::NEWNET),
                rdt: None,
                inherited: self.plan.init.inherited.clone(),
                annotations: host.annotations.clone(),
                process: self.kept.process.map(ToOwned::to_owned),
                hooks: self.kept.hooks.map(ToOwned::to_owned),
                notify: self.parameters.notify.clone(),
                keyring: self.parameters.request.keyring.clone(),
                resources: self.kept.linux.as_ref().and_then(|linux| linux.resources).map(ToOwned::to_owned),
                seccomp: FilterState::of(&self.plan),
                basis: Some(self.basis.clone()),
            },
        }
    }

    /// Makes the cgroup.
    pub(crate) fn cgroup(&self, reserved: &StateDirGuard, record: &mut Record) -> Result<Option<CgroupGuard>> {
        let Some(wanted) = &self.plan.host.cgroup else { return Ok(None) };
        reserved.save(record)?;
        if wanted.unit.is_some() {
            return Ok(None);
        }
        let made = CgroupGuard::new(wanted)?;
        if let Some(own) = &mut record.cleat.cgroup {
            own.made_above = made.made_above;
        }
        // Either shows `delete` that it was taken, should we be killed.
        if !made.mark(&record.mark()) || made.made_above > 0 {
            record.set_cgroup(made.cgroup());
            reserved.save(record)?;
        }
        Ok(Some(made))
    }

    /// Has systemd make the cgroup around the init, and sets its limits.
    pub(crate) fn scope(
        &self,
        reserved: &StateDirGuard,
        record: &mut Record,
        init: &Child,
    ) -> Result<Option<CgroupGuard>> {
        let Some(wanted) = &self.plan.host.cgroup else { return Ok(None) };
        let Some(unit) = &wanted.unit else { return Ok(None) };
        let made = CgroupGuard::scope(&wanted.mount, &wanted.path, unit, init.pid)?;
        if let Some(own) = &mut record.cleat.cgroup {
            own.made_above = made.made_above;
        }
        record.set_cgroup(made.cgroup());
        reserved.save(record)?;
        let _ = made.mark(&record.mark());
        self.limit(Some(&made), false)?;
        self.give_cgroup(Some(&made))?;
        Ok(Some(made))
    }

    /// Sets limits: before the first process is there, or those under which none can be started.
    pub(crate) fn limit(&self, made: Option<&CgroupGuard>, late: bool) -> Result<()> {
        match (made, &self.plan.host.cgroup) {
            (Some(made), Some(wanted)) if !wanted.limits.is_empty() => {
                self.faults.at(Step::Limits)?;
                made.limit(&wanted.limits, late)?;
                made.cgroup().take_warnings().iter().for_each(|warning| (self.parameters.warn)(warning));
                match (made.unit(), &wanted.unit) {
                    (Some(own), Some(unit)) if late => own.set(&unit.late),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn give_cgroup(&self, made: Option<&CgroupGuard>) -> Result<()> {
        match (made, self.plan.host.cgroup.as_ref().and_then(|wanted| wanted.owner)) {
            (Some(made), Some((uid, gid))) => made.cgroup().give_to(uid, gid),
            _ => Ok(()),
        }
    }

    /// Sets who may use which device, while the init is at work: before any program but the init
    /// runs in the cgroup, be it a hook.
    pub(crate) fn set_devices(&self, made: Option<&CgroupGuard>) -> Result<()> {
        self.faults.at(Step::DeviceAccess)?;
        let rules = self.plan.host.cgroup.as_ref().and_then(|wanted| wanted.devices.as_ref());
        made.zip(rules).map_or(Ok(()), |(made, rules)| made.set_devices(rules))
    }

    pub(super) fn clone_init(&self, cgroup: Option<&Cgroup>, socket: &OwnedFd) -> Result<ChildGuard> {
        let program = init_binary::sealed()?;
        let spec = sys::InitSpawn {
            namespaces: self.plan.host.clone_flags,
            cgroup: cgroup.map(Cgroup::as_fd),
            program: program.as_fd(),
            socket: socket.as_fd(),
            wait_for_mapping: self.is_mapped_at_birth(),
            own_memory: false,
        };
        let mut spawned = sys::spawn_init(&spec);
        // Below a subtree of threads, where the peers run, too.
        if matches!((&spawned, cgroup), (Err(Errno::EOPNOTSUPP), Some(cgroup)) if cgroup.make_threaded() == Ok(true)) {
            spawned = sys::spawn_init(&spec);
        }
        spawned.map(ChildGuard::new).map_err(|errno| clone_error(errno, cgroup))
    }

    /// Whether the child that we make has the new user namespace; else the init makes it later.
    pub(super) fn is_mapped_at_birth(&self) -> bool {
        self.plan.host.clone_flags & plan::NEWUSER != 0
    }

    /// Hooks that the init runs get the state, with the pid as it is in the container: the init fills it in.
    fn fill_hook_state(&mut self, record: &Record) -> Result<()> {
        let init = &mut self.plan.init;
        // A process that is still to go into others' pid namespace has none there.
        let is_there = init.fork != Some(cleat_plan::Fork::Joined);
        for (hooks, status, is_there) in [
            (&mut init.create_container, Status::Creating, is_there),
            (&mut init.start_container, Status::Created, true),
        ] {
            if !hooks.list.is_empty() {
                (hooks.state, hooks.state_after_pid) = container::state_around_pid(record, status, is_there)?;
            }
        }
        Ok(())
    }

    /// Opens what the init gets with its plan.
    pub(super) fn open_fds(&self, listener: Option<OwnedFd>) -> Result<Vec<OwnedFd>> {
        let mut listener = listener;
        let open = |source: &CreateFd| match source {
            CreateFd::Namespace(path) => self.open_namespace(path),
            CreateFd::Network => {
                let made = self.network.as_ref().map_or(Err(Errno::EBADF), Network::namespace);
                made.map_err(|errno| network_error("unshare", errno))
            }
            CreateFd::StartListener => listener.take().ok_or_else(|| Error::new("no start socket")),
            CreateFd::HookLog(path) => hooks::open_log(path).map(Into::into),
        };
        self.plan.host.fds.iter().map(open).collect()
    }

    fn open_namespace(&self, path: &Path) -> Result<OwnedFd> {
        let place = format!("config.json: linux.namespaces: {}", path.display());
        let fd = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .context(format_args!("{place}: open"))?;
        for (file, flag) in [("net", plan::NEWNET), ("ipc", plan::NEWIPC), ("uts", plan::NEWUTS)] {
            let Some(setting) = plan::reaches_host(&self.plan.init, flag) else { continue };
            let theirs = nix::sys::stat::fstat(&fd).context(format_args!("{place}: fstat"))?;
            let own =
                nix::sys::stat::stat(&*PathBuf::from(format!("/proc/self/ns/{file}"))).context("stat /proc/self/ns")?;
            if (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino) {
                let what = "is the runtime's own, which it would change; remove it, or make a new namespace";
                return Err(Error::new(format!(
                    "{place}: {setting} not allowed in host {} namespace: this {what}",
                    plan::kind_of(flag)
                )));
            }
        }
        Ok(fd)
    }

    /// The init makes its mount namespace when it has its plan: mounts can be opened only afterwards.
    pub(super) fn mounts_follow(&self) -> bool {
        self.plan.init.unshare != 0
    }

    /// Opens mounts for the init, from inside its mount namespace where it has one.
    pub(super) fn open_mounts(&self, child: &Child) -> Result<Vec<OwnedFd>> {
        let mounts = &self.plan.host.mount_fds;
        let private = Propagation { kind: PropagationKind::Private, recursive: true };
        let private = self.plan.init.root.as_ref().is_some_and(|root| root.propagation == private);
        if !mounts.is_empty() && self.plan.host.namespaces & plan::NEWUSER != 0 {
            let opened = setns_helper::open_in_mounts_of(child, mounts, |tree| open_tree(tree, child, private));
            // A copy of this process says in a text what has failed.
            return opened.map_err(|error| error.with_kind(Kind::NoSource));
        }
        mounts.iter().map(|tree| open_tree(tree, child, private)).collect()
    }

    pub(crate) fn set_pid(&self, record: &mut Record, pid: i32) -> Result<()> {
        let proc = Proc::open()?;
        let (start, _) = container::process_start(&proc, pid)
            .ok_or_else(|| Error::new(format!("process {pid} of the container is gone")))?;
        record.init_process_pid = pid;
        record.init_process_start = start;
        let names = [
            ("NEWPID", "pid"),
            ("NEWNET", "net"),
            ("NEWNS", "mnt"),
            ("NEWIPC", "ipc"),
            ("NEWUTS", "uts"),
            ("NEWUSER", "user"),
            ("NEWCGROUP", "cgroup"),
            ("NEWTIME", "time"),
        ];
        record.namespace_paths =
            names.iter().map(|(key, file)| ((*key).to_owned(), format!("/proc/{pid}/ns/{file}"))).collect();
        Ok(())
    }
}

/// Has a new network namespace made while we go on.
pub(crate) fn begin_network(spec: &Spec) -> Result<Option<Network>> {
    let Some(wanted) = plan::Network::wanted(spec, nix::unistd::geteuid().as_raw()) else { return Ok(None) };
    let kind = if wanted.sysfs_readonly { Sysfs::ReadOnly } else { Sysfs::Writable };
    let begun = Network::begin(Proc::open()?.into(), wanted.sysfs.then_some(kind));
    begun.map(Some).map_err(|errno| network_error("clone3", errno))
}

fn network_error(call: &str, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EPERM => "; new namespaces need privileges, or a user namespace",
        Errno::ENOSPC => "; the limit of network namespaces is reached: see /proc/sys/user/max_net_namespaces",
        Errno::EAGAIN => "; the caller may not have one more process: see RLIMIT_NPROC, and pids.max of its cgroup",
        Errno::EINVAL => "; this kernel has no network namespaces",
        Errno::ESRCH => "; the process that makes it was killed",
        _ => "",
    };
    Error::new(format!("{}: {call}: {errno:?}{hint}", Step::NetworkNamespace.name()))
}

fn open_tree(tree: &Tree, child: &Child, private: bool) -> Result<OwnedFd> {
    let place = format!("open_tree {}", tree.path.display());
    let path = std::ffi::CString::new(tree.path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::new(format!("{place}: zero byte")))?;
    let flags = sys::TreeFlags { recursive: tree.recursive, nofollow: tree.nofollow };
    let fd = sys::open_tree(&path, flags).context(&place)?;
    // Our mount namespace's propagation must not reach the container's.
    sys::enslave_mount(fd.as_fd(), private).context(&place)?;
    if let Some(source) = &tree.idmap {
        let namespace = match source {
            IdmapSource::Container => idmap::user_namespace_of(child.pid)?,
            IdmapSource::Mappings { uids, gids } => idmap::new_user_namespace(uids, gids)?,
        };
        sys::idmap_mount(fd.as_fd(), tree.idmap_recursive, namespace.as_fd()).map_err(|errno| {
            let hint = match errno {
                Errno::EINVAL => "; this file system or kernel has no identity-mapped mounts",
                Errno::EPERM => "; only file systems of our own user namespace can be mapped",
                _ => "",
            };
            Error::new(format!("{place}: mount_setattr MOUNT_ATTR_IDMAP: {errno:?}{hint}"))
        })?;
    }
    Ok(fd)
}
