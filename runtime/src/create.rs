//! How is a container born? The host half.
//!
//! Runs in the caller's namespaces with the caller's privileges, with one thread until `clone3`.
//! Everything made on the way is owned by a guard: a birth that fails leaves the host as it was.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cleat_plan::wire::{FromInit, ToInit};
use cleat_plan::{FaultKind, Step};
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use nix::sys::memfd::MFdFlags;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::cgroup::{Cgroup, Made};
use crate::config::{Kept, Spec};
use crate::error::{Context, Error, Result};
use crate::netdev::Moved;
use crate::path::Proc;
use crate::plan::{self, FdSource, IdMap, IdMaps, IdmapSource, Plan, Request, Tree};
use crate::state::{
    self, Container, Own, OwnCgroup, OwnFilter, Phase, Record, Reserved, RuncCgroup, RuncConfig, Status, Store,
};
use crate::sys::{self, Child};
use crate::wire::{Conversation, Heard, failure_text};
use crate::{config, hooks, listener};

/// The init's program, built for this purpose (see build.rs).
const INIT: &[u8] = include_bytes!(env!("CLEAT_INIT"));

/// What a birth needs besides the plan's request.
pub struct Orders<'a> {
    /// Where containers are remembered.
    pub store: &'a Store,
    /// The plan's request.
    pub request: Request,
    /// Gets the pid of the container's process.
    pub pid_file: Option<&'a Path>,
    /// This process will not wait for the container.
    pub detached: bool,
    /// Gets the terminal's master.
    pub console_socket: Option<&'a Path>,
    /// Hears of warnings.
    pub warn: &'a dyn Fn(&str),
    /// Hears of the plan, with `--debug`.
    pub debug: Option<&'a dyn Fn(&str)>,
    /// `--rootless`; `None` is `auto`.
    pub rootless: Option<bool>,
    /// `NOTIFY_SOCKET` of the caller.
    pub notify: Option<PathBuf>,
}

/// A container that has been made and has not started.
pub struct Newborn {
    /// What is remembered.
    pub container: Container,
    /// Its first process, a child of ours.
    pub child: ChildGuard,
    /// The conversation with its init.
    pub conversation: Conversation,
    /// Its terminal's master.
    pub console: Option<OwnedFd>,
    /// `poststart` hooks.
    pub poststart: Vec<cleat_plan::Hook>,
    /// Network devices of the host, which go back there unless they are kept.
    pub net_devices: Moved,
}

/// A child that is killed and reaped unless it is let go.
pub struct ChildGuard {
    child: Option<Child>,
}

impl ChildGuard {
    pub(crate) fn new(child: Child) -> ChildGuard {
        ChildGuard { child: Some(child) }
    }

    /// The process.
    ///
    /// # Errors
    /// Never: it is there until the guard is gone.
    pub fn get(&self) -> Result<&Child> {
        self.child.as_ref().ok_or_else(|| Error::new("the child is gone"))
    }

    /// Not ours to kill any more.
    #[must_use]
    pub fn release(mut self) -> Option<Child> {
        self.child.take()
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = sys::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
            let _ = sys::wait_for(child.pid);
        }
    }
}

/// A host step that tests can make fail.
pub(crate) struct Faults(Option<cleat_plan::Fault>);

impl Faults {
    pub(crate) fn new(request: &Request) -> Faults {
        Faults(request.fault)
    }

    /// Enters a step.
    pub(crate) fn at(&self, step: Step) -> Result<()> {
        match self.0 {
            Some(fault) if fault.step == step => match fault.kind {
                FaultKind::Fail => Err(Error::new(format!("{}: fault injected: ECANCELED", step.name()))),
                FaultKind::Kill => sys::kill_self(),
            },
            _ => Ok(()),
        }
    }
}

/// The last step of the host half that tests can make fail.
///
/// # Errors
/// Only when a test asks for it.
pub fn poststart_fault(request: &Request) -> Result<()> {
    Faults::new(request).at(Step::Poststart)
}

/// Makes a container: everything but its start.
///
/// # Errors
/// What is wrong with the bundle or the host, and where. Nothing is left behind.
pub fn create(orders: &Orders<'_>) -> Result<Newborn> {
    let request = &orders.request;
    state::check_id(&request.id)?;
    let text = config::read(&request.bundle)?;
    let spec: Spec = config::parse("config.json", &text)?;
    let host = crate::host::Host::of_bundle(orders.rootless, &spec)?;
    let plan = Plan::new(request, &spec, &host)?;
    plan.warnings.iter().for_each(|warning| (orders.warn)(warning));
    crate::console::check(plan.host.terminal, orders.detached, orders.console_socket)?;
    if let Some(debug) = orders.debug {
        plan.to_string().lines().for_each(debug);
    }
    check_rootfs(&plan.host.rootfs)?;
    let poststop = plan.host.poststop.clone();
    let born = std::cell::RefCell::new(None);
    let moved = std::cell::RefCell::default();
    let kept = config::parse("config.json", &text)?;
    let birth = Birth { orders, plan, kept, spec: &spec, faults: Faults::new(request), born: &born, moved: &moved };
    birth.perform().inspect_err(|_| {
        moved.take().bring_back(orders.warn);
        // runtime-spec runtime.md § Lifecycle: what fails after the first hooks goes on with the
        // undoing, which is done by now, and the poststop hooks.
        if let Some(state) = born.take() {
            hooks::run_all(&poststop, &state).iter().for_each(|error| (orders.warn)(&format!("poststop {error}")));
        }
    })
}

/// Before anything is made: a better message than the one of a mount call.
fn check_rootfs(rootfs: &Path) -> Result<()> {
    let place = format!("config.json: root.path: {}", rootfs.display());
    match std::fs::metadata(rootfs) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Error::new(format!("{place}: not a directory; it must hold the container's root file system"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("{place}: no such file or directory; put the container's root file system there")))
        }
        Err(error) => Err(error).context(place),
    }
}

struct Birth<'a> {
    orders: &'a Orders<'a>,
    plan: Plan,
    kept: Kept<'a>,
    spec: &'a Spec,
    faults: Faults,
    /// The state as `poststop` hooks get it, once there is something to stop.
    born: &'a std::cell::RefCell<Option<String>>,
    /// Network devices that have left the host.
    moved: &'a std::cell::RefCell<Moved>,
}

impl Birth<'_> {
    /// The host's steps; the init's are in `runtime/init/src/main.rs`. README.md lists both.
    fn perform(mut self) -> Result<Newborn> {
        self.faults.at(Step::StateDir)?;
        let reserved = self.orders.store.reserve(&self.plan.host.id)?;
        self.faults.at(Step::Cgroup)?;
        if self.orders.notify.is_some() {
            crate::notify::make_directory(reserved.path())?;
        }
        // Before the cgroup is there: whatever happens later, `delete` finds what to remove.
        let mut record = self.record();
        let made = self.cgroup(&reserved, &mut record)?;
        let listener = self.orders.request.start_later.then(|| reserved.listen()).transpose()?;
        self.faults.at(Step::Clone)?;
        let (conversation, theirs) = Conversation::pair()?;
        let cgroup = made.as_ref().map(Made::cgroup).transpose()?;
        let born = self.clone_init(cgroup, &theirs)?;
        drop(theirs);
        if !self.plan.host.poststop.is_empty() {
            *self.born.borrow_mut() = Some(state::state_json(&record, Status::Stopped, 0)?);
        }
        self.faults.at(Step::IdMap)?;
        if let Some(maps) = &self.plan.host.id_maps {
            write_id_maps(born.get()?.pid, maps)?;
            conversation.say(ToInit::Mapped)?;
        }
        self.faults.at(Step::Oom)?;
        if let Some(score) = self.plan.host.oom_score_adj {
            set_oom_score(born.get()?.pid, score)?;
        }
        self.faults.at(Step::RaiseLimits)?;
        raise_limits(born.get()?.pid, &self.plan.host.rlimits)?;
        // The init runs hooks by itself: then nothing may happen before the rules hold.
        let early = !self.plan.init.create_container.list.is_empty();
        if early {
            self.set_devices(cgroup)?;
        }
        self.faults.at(Step::SendPlan)?;
        self.fill_hook_state(&record, born.get()?.pid)?;
        let fds = self.open_fds(born.get()?, listener)?;
        conversation.send_plan(&self.plan.init, &fds)?;
        drop(fds);
        if !early {
            self.set_devices(cgroup)?;
        }
        let mut midwife =
            Midwife { birth: &self, conversation: &conversation, child: born, console: None, cgroup, half_way: None };
        midwife.attend(&mut record, &reserved)?;
        let Midwife { child, console, .. } = midwife;
        self.faults.at(Step::SaveState)?;
        record.cleat.phase = Phase::Created;
        self.set_pid(&mut record, child.get()?.pid)?;
        if let Some(path) = self.orders.pid_file {
            write_pid_file(path, child.get()?.pid)?;
        }
        if let Some(filter) = &self.plan.host.seccomp {
            reserved.save_filter(filter).inspect_err(|_| self.forget_pid_file())?;
        }
        reserved.save(&record).inspect_err(|_| self.forget_pid_file())?;
        if self.orders.request.start_later {
            conversation.say(ToInit::Prepared)?;
        }
        if let Some(made) = made {
            drop(made.keep());
        }
        Ok(Newborn {
            container: reserved.keep(record),
            child,
            conversation,
            console,
            poststart: self.plan.host.poststart,
            net_devices: self.moved.take(),
        })
    }

    fn forget_pid_file(&self) {
        if let Some(path) = self.orders.pid_file {
            let _ = std::fs::remove_file(path);
        }
    }

    fn record(&self) -> Record {
        let host = &self.plan.host;
        let cgroup = host.cgroup.as_ref();
        let full = cgroup.map(|c| crate::cgroup::directory(&c.mount, &c.path));
        Record {
            id: host.id.clone(),
            init_process_pid: 0,
            init_process_start: 0,
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            config: RuncConfig {
                rootfs: host.rootfs.clone(),
                hostname: self.spec.hostname.clone(),
                labels: vec![format!("bundle={}", self.orders.request.bundle.display())],
                cgroups: cgroup.map(|c| RuncCgroup { path: c.path.clone() }),
            },
            rootless: nix::unistd::geteuid().as_raw() != 0,
            cgroup_paths: full.into_iter().map(|path| (String::new(), path)).collect(),
            namespace_paths: std::collections::BTreeMap::new(),
            external_descriptors: None,
            intel_rdt_path: String::new(),
            cleat: Own {
                phase: Phase::Creating,
                bundle: self.orders.request.bundle.clone(),
                owner: nix::unistd::geteuid().as_raw(),
                cgroup: cgroup.map(|c| OwnCgroup { mount: c.mount.clone(), path: c.path.clone(), made_above: 0 }),
                namespaces: host.namespaces,
                annotations: host.annotations.clone(),
                process: self.kept.process.map(ToOwned::to_owned),
                hooks: self.kept.hooks.map(ToOwned::to_owned),
                notify: self.orders.notify.clone(),
                keyring: self.orders.request.keyring.clone(),
                seccomp: host
                    .seccomp
                    .as_ref()
                    .map(|filter| OwnFilter { flags: filter.flags, listener: filter.listener.clone() }),
            },
        }
    }

    /// Makes the cgroup.
    fn cgroup(&self, reserved: &Reserved, record: &mut Record) -> Result<Option<Made>> {
        let Some(wanted) = &self.plan.host.cgroup else { return Ok(None) };
        reserved.save(record)?;
        let made = match Made::new(&wanted.mount, &wanted.path) {
            Err(error) if !wanted.required => {
                (self.orders.warn)(&format!("{error}; the container has no cgroup of its own"));
                record.cleat.cgroup = None;
                record.cgroup_paths.clear();
                return Ok(None);
            }
            other => other?,
        };
        if let Some(own) = &mut record.cleat.cgroup {
            own.made_above = made.made_above;
        }
        if made.made_above > 0 {
            reserved.save(record)?;
        }
        Ok(Some(made))
    }

    /// Sets who may use which device, while the init is at work: before any program but the init
    /// runs in the cgroup, be it a hook.
    fn set_devices(&self, cgroup: Option<&Cgroup>) -> Result<()> {
        self.faults.at(Step::Devices)?;
        match (cgroup, self.plan.host.cgroup.as_ref().and_then(|wanted| wanted.devices.as_ref())) {
            (Some(cgroup), Some(rules)) => cgroup.set_devices(rules),
            _ => Ok(()),
        }
    }

    fn clone_init(&self, cgroup: Option<&Cgroup>, socket: &OwnedFd) -> Result<ChildGuard> {
        let program = sealed_init()?;
        let birth = sys::Birth {
            namespaces: self.plan.host.clone_flags,
            cgroup: cgroup.map(Cgroup::as_fd),
            program: program.as_fd(),
            socket: socket.as_fd(),
            wait_for_mapping: self.plan.host.id_maps.is_some(),
        };
        sys::birth(&birth).map(ChildGuard::new).map_err(|errno| clone_error(errno, cgroup))
    }

    /// Hooks that the init runs get the state with the pid, which is known only now.
    fn fill_hook_state(&mut self, record: &Record, pid: i32) -> Result<()> {
        // A process that is still to fork will have another pid.
        let pid = if self.plan.init.fork.is_some() { 0 } else { pid };
        let init = &mut self.plan.init;
        for (hooks, status) in
            [(&mut init.create_container, Status::Creating), (&mut init.start_container, Status::Created)]
        {
            if !hooks.list.is_empty() {
                hooks.state = state::state_json(record, status, pid)?.into_bytes();
            }
        }
        Ok(())
    }

    /// Opens what the init gets with its plan; mounts only if they are not to follow later.
    fn open_fds(&self, child: &Child, listener: Option<OwnedFd>) -> Result<Vec<OwnedFd>> {
        let mut listener = listener;
        let early = self.plan.host.fds.len() - usize::from(self.plan.init.late_fds);
        let (others, trees): (Vec<&FdSource>, Vec<&FdSource>) =
            self.plan.host.fds.iter().take(early).partition(|source| !matches!(source, FdSource::Tree(_)));
        let open = |source: &FdSource| match source {
            FdSource::Namespace(path) => self.open_namespace(path),
            FdSource::StartListener => listener.take().ok_or_else(|| Error::new("no start socket")),
            FdSource::Tree(_) | FdSource::ContainerPidfd | FdSource::ContainerRoot => {
                Err(Error::new("not part of a birth"))
            }
        };
        // The order is that of the list: mounts are its end.
        let mut fds: Vec<OwnedFd> = others.into_iter().map(open).collect::<Result<_>>()?;
        fds.extend(self.open_trees(&trees, child)?);
        Ok(fds)
    }

    fn open_namespace(&self, path: &Path) -> Result<OwnedFd> {
        let place = format!("config.json: linux.namespaces: {}", path.display());
        let fd = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .context(format_args!("{place}: open"))?;
        let init = &self.plan.init;
        if init.sysctl.is_empty() && init.hostname.is_none() && init.domainname.is_none() {
            return Ok(fd);
        }
        let theirs = nix::sys::stat::fstat(&fd).context(format_args!("{place}: fstat"))?;
        for kind in ["net", "ipc", "uts"] {
            let own =
                nix::sys::stat::stat(&*PathBuf::from(format!("/proc/self/ns/{kind}"))).context("stat /proc/self/ns")?;
            if (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino) {
                let what = "is the runtime's own: linux.sysctl, hostname and domainname would change the host";
                return Err(Error::new(format!("{place}: {what}")));
            }
        }
        Ok(fd)
    }

    /// Opens mounts for the init, from inside its mount namespace where it has one already: copies
    /// made there keep the locks by which a user namespace cannot undo what the host has mounted.
    fn open_trees(&self, trees: &[&FdSource], child: &Child) -> Result<Vec<OwnedFd>> {
        if trees.is_empty() {
            return Ok(Vec::new());
        }
        let inside = self.plan.host.namespaces & plan::NEWUSER != 0;
        let visit = inside.then(|| MountVisit::enter(child)).transpose()?;
        let open = |source: &&FdSource| match source {
            FdSource::Tree(tree) => open_tree(tree, child),
            _ => Err(Error::new("not a mount")),
        };
        let opened = trees.iter().map(open).collect();
        if let Some(visit) = visit {
            visit.leave()?;
        }
        opened
    }

    /// The mounts that had to wait for the fork.
    fn send_late_fds(&self, conversation: &Conversation, child: &Child) -> Result<()> {
        let early = self.plan.host.fds.len() - usize::from(self.plan.init.late_fds);
        let late: Vec<&FdSource> = self.plan.host.fds.iter().skip(early).collect();
        conversation.send_late_fds(&self.open_trees(&late, child)?)
    }

    fn set_pid(&self, record: &mut Record, pid: i32) -> Result<()> {
        let proc = Proc::open()?;
        let (start, _) = state::process_start(&proc, pid)
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

pub(crate) fn clone_error(errno: nix::errno::Errno, cgroup: Option<&Cgroup>) -> Error {
    use nix::errno::Errno;
    let place = cgroup.map(|c| format!(" into cgroup {}", c.full().display())).unwrap_or_default();
    let hint = match errno {
        Errno::EBUSY => {
            "; the cgroup has children with controllers, so no process may live in it; remove them or choose another"
        }
        Errno::EACCES if cgroup.is_some() => {
            "; this user may not put processes there; it needs write access to cgroup.procs up to the common ancestor"
        }
        Errno::EPERM => "; new namespaces need privileges, or a user namespace",
        Errno::ENOSPC => "; the limit of nested or of all namespaces is reached: see /proc/sys/user",
        Errno::EAGAIN => "; the limit of processes is reached: see pids.max of the cgroups above, and RLIMIT_NPROC",
        _ => "",
    };
    Error::new(format!("clone: clone3{place}: {errno:?}{hint}"))
}

/// The init as a file that nobody can change and nobody else uses: a copy of our own bytes, never
/// the page cache of a file (CVE-2019-5736, runc#5272).
pub(crate) fn sealed_init() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = nix::sys::memfd::memfd_create(c"cleat-init", flags | MFdFlags::from_bits_retain(0x10))
        // MFD_EXEC is known since Linux 6.3.
        .or_else(|_| nix::sys::memfd::memfd_create(c"cleat-init", flags))
        .context("memfd_create")?;
    let mut rest = INIT;
    while !rest.is_empty() {
        let put = nix::unistd::write(&fd, rest).context("write init")?;
        rest = &rest[put..];
    }
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    nix::fcntl::fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).context("seal init")?;
    Ok(fd)
}

/// This process in another mount namespace, and its way back.
struct MountVisit {
    home: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl MountVisit {
    fn enter(child: &Child) -> Result<MountVisit> {
        let open = |path: &str| crate::path::open_dir(Path::new(path)).context(format_args!("open {path}"));
        let home = Proc::open()?
            .follow(&format!("{}/ns/mnt", std::process::id()), OFlag::O_RDONLY)
            .context("open own mount namespace")?;
        let visit = MountVisit { home, root: open("/")?, cwd: open(".")? };
        // Our own root may not be that of the namespace; the child's is the same directory as ours.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let theirs = Proc::open()?.follow(&format!("{}/root", child.pid), flags).context("open the child's root")?;
        nix::sched::setns(&child.pidfd, CloneFlags::CLONE_NEWNS)
            .context("setns into the container's mount namespace")?;
        nix::unistd::fchdir(&theirs).context("fchdir")?;
        nix::unistd::chroot(".").context("chroot")?;
        Ok(visit)
    }

    fn leave(self) -> Result<()> {
        nix::sched::setns(&self.home, CloneFlags::CLONE_NEWNS).context("setns back")?;
        nix::unistd::fchdir(&self.root).context("fchdir")?;
        nix::unistd::chroot(".").context("chroot")?;
        nix::unistd::fchdir(&self.cwd).context("fchdir")
    }
}

/// Size of the init's program in bytes.
#[must_use]
pub fn init_size() -> usize {
    INIT.len()
}

/// Listens to an init until the container is made.
struct Midwife<'a, 'b> {
    birth: &'a Birth<'b>,
    conversation: &'a Conversation,
    child: ChildGuard,
    console: Option<OwnedFd>,
    cgroup: Option<&'a Cgroup>,
    /// The process that forked: nobody waits for its end until there is time.
    half_way: Option<ChildGuard>,
}

impl Midwife<'_, '_> {
    fn attend(&mut self, record: &mut Record, reserved: &Reserved) -> Result<()> {
        loop {
            match self.conversation.hear()? {
                Heard::Message(FromInit::Forked, Some(pidfd)) if self.birth.plan.init.fork.is_some() => {
                    self.half_way = Some(std::mem::replace(&mut self.child, forked(pidfd)?));
                    if self.birth.plan.init.late_fds > 0 {
                        self.birth.send_late_fds(self.conversation, self.child.get()?)?;
                    }
                }
                Heard::Message(FromInit::Console, Some(master)) => self.console = Some(master),
                Heard::Message(FromInit::Listener, Some(fd)) => {
                    let pid = self.child.get()?.pid;
                    let state = state::state_json(record, Status::Creating, pid)?;
                    let listener = self.birth.plan.host.seccomp.as_ref().and_then(|f| f.listener.as_ref());
                    listener::hand_over(listener, &fd, &state, pid)?;
                }
                Heard::Message(FromInit::RunHooks, None) => {
                    // After most that can go wrong: routes of the host over a device do not come back.
                    self.birth.faults.at(Step::NetDevices)?;
                    self.birth.moved.borrow_mut().take(&self.birth.plan.host.net_devices, self.child.get()?)?;
                    self.birth.faults.at(Step::RuntimeHooks)?;
                    let pid = self.child.get()?.pid;
                    self.birth.set_pid(record, pid)?;
                    // A hook may ask `cleat state`.
                    reserved.save(record)?;
                    hooks::run(
                        &self.birth.plan.host.runtime_hooks,
                        &state::state_json(record, Status::Creating, pid)?,
                    )?;
                    self.conversation.say(ToInit::HooksDone)?;
                }
                Heard::Message(FromInit::Ready, None) => return Ok(()),
                Heard::Message(FromInit::Failed(failure), _) => return Err(Error::new(failure_text(&failure))),
                Heard::Message(..) => return Err(Error::new("the init sent a message out of turn")),
                Heard::Closed => return Err(self.death()),
            }
        }
    }

    /// The init ended without a word.
    fn death(&mut self) -> Error {
        death(&self.child, self.cgroup)
    }
}

/// Why a process that should have spoken did not.
pub(crate) fn death(child: &ChildGuard, cgroup: Option<&Cgroup>) -> Error {
    if cgroup.is_some_and(|cgroup| cgroup.memory_kills() > 0) {
        return Error::new(
            "the kernel killed the container's first process for want of memory; raise linux.resources.memory.limit",
        );
    }
    let status = child.get().and_then(|child| {
        let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        // It closed its socket because it ended, or somebody closed it for it.
        match nix::poll::poll(&mut fds, PollTimeout::from(1000u16)).context("poll")? {
            0 => Err(Error::new("it does not answer any more")),
            _ => sys::wait_for(child.pid).context("wait"),
        }
    });
    Error::new(match status {
        Ok(status) if nix::libc::WIFSIGNALED(status) => {
            format!(
                "the container's first process was killed by signal {} while it was set up",
                nix::libc::WTERMSIG(status)
            )
        }
        Ok(status) => match nix::libc::WEXITSTATUS(status) {
            71 => "the init could not be executed from its memfd; is vm.memfd_noexec set to 2?".into(),
            code => format!("the container's first process ended with status {code} while it was set up"),
        },
        Err(error) => format!("the container's first process is gone: {error}"),
    })
}

/// The half-way process ends; its sibling goes on.
pub(crate) fn forked(pidfd: OwnedFd) -> Result<ChildGuard> {
    let info = Proc::open()?
        .read(&format!("{}/fdinfo/{}", std::process::id(), pidfd.as_raw_fd()))
        .context("read fdinfo of a pidfd")?;
    let pid =
        info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| Error::new("the container's process is gone"))?;
    // Whoever may have taken over the init's end of the conversation: only a child of ours is
    // trusted, signalled and limited.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::PIDFd(pidfd.as_fd()), flags).context("the process that the init told of is no child of ours")?;
    Ok(ChildGuard::new(Child { pid, pidfd }))
}

/// `uid_map` and `gid_map` of a child; with `newuidmap` where the kernel does not let us.
fn write_id_maps(pid: i32, maps: &IdMaps) -> Result<()> {
    let proc = Proc::open()?;
    let text = |maps: &[IdMap]| {
        maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect::<String>()
    };
    if maps.deny_setgroups {
        proc.write(&format!("{pid}/setgroups"), "deny")?;
    }
    let hint = "an ordinary user may map only its own id, and ids of /etc/subuid by newuidmap(1)";
    let explain = |error: Error| {
        if maps.deny_setgroups { Error::new(format!("id-map: {error}; {hint}")) } else { error.within("id-map") }
    };
    proc.write(&format!("{pid}/gid_map"), &text(&maps.gids)).map_err(explain)?;
    proc.write(&format!("{pid}/uid_map"), &text(&maps.uids)).map_err(explain)
}

/// By us and not by the init: lowering it needs a privilege of the machine itself.
pub(crate) fn set_oom_score(pid: i32, score: i32) -> Result<()> {
    Proc::open()?.write(&format!("{pid}/oom_score_adj"), &score.to_string()).context("config.json: process.oomScoreAdj")
}

/// By us and not by the init: raising a hard limit needs a privilege of the machine itself. The
/// limits proper are set by the init, last of all.
pub(crate) fn raise_limits(pid: i32, limits: &[cleat_plan::Rlimit]) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        let (soft, hard) = sys::own_limit(limit.resource).context("prlimit")?;
        if limit.hard > hard {
            sys::prlimit(pid, limit.resource, soft, limit.hard).context(format_args!(
                "config.json: process.rlimits[{index}]: raise the hard limit from {hard} to {}",
                limit.hard
            ))?;
        }
    }
    Ok(())
}

/// A temporary name and a rename; no newline: engines parse the whole file as a number.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    state::write_atomically(path, pid.to_string().as_bytes(), 0o666).context("pid file")
}

fn open_tree(tree: &Tree, child: &Child) -> Result<OwnedFd> {
    let place = format!("open_tree {}", tree.path.display());
    let path = std::ffi::CString::new(tree.path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::new(format!("{place}: zero byte")))?;
    let flags = sys::TreeFlags { recursive: tree.recursive, nofollow: false };
    let fd = sys::open_tree(&path, flags).context(&place)?;
    // Our mount namespace's propagation must not reach the container's.
    sys::enslave_mount(fd.as_fd()).context(&place)?;
    if let Some(source) = &tree.idmap {
        let namespace = match source {
            IdmapSource::Container => user_namespace_of(child.pid)?,
            IdmapSource::Mappings { uids, gids } => new_user_namespace(uids, gids)?,
        };
        sys::idmap_mount(fd.as_fd(), tree.idmap_recursive, namespace.as_fd()).map_err(|errno| {
            let hint = if errno == nix::errno::Errno::EINVAL {
                "; this file system or kernel has no identity-mapped mounts"
            } else {
                ""
            };
            Error::new(format!("{place}: mount_setattr MOUNT_ATTR_IDMAP: {errno:?}{hint}"))
        })?;
    }
    Ok(fd)
}

fn user_namespace_of(pid: i32) -> Result<OwnedFd> {
    Proc::open()?.follow(&format!("{pid}/ns/user"), OFlag::O_RDONLY).context(format_args!("open /proc/{pid}/ns/user"))
}

/// A user namespace that lives as long as its descriptor.
pub(crate) fn new_user_namespace(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    let holder = ChildGuard::new(sys::namespace_holder(plan::NEWUSER).context("clone3 CLONE_NEWUSER")?);
    let pid = holder.get()?.pid;
    write_id_maps(pid, &IdMaps { uids: uids.into(), gids: gids.into(), deny_setgroups: false })?;
    user_namespace_of(pid)
}
