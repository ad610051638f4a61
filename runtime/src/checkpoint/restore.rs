//! How is a container made whose processes come from a checkpoint?
//!
//! This runtime makes what it makes for every container: the state, the cgroup with its limits and device program, mount
//! points, hooks. CRIU, which runs in that cgroup from its first request on, makes namespaces, mounts and processes.
//! Images may say anything, and CRIU does it as root of the host: so before a process runs its first
//! instruction, all that was restored is audited, and killed with its cgroup where it is more than config.json asks for.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use cleat_plan::Step;
use nix::fcntl::OFlag;

use crate::audit::{self, Moment, Reference};
use crate::cgroup::{CgroupGuard, OomWatch, resctrl};
use crate::cli;
use crate::container::{self, Basis, Container, Record, StateDirGuard};
use crate::criu::conversation::{Execution, FIRST_FD, OwnMounts};
use crate::criu::messages::{CgroupRoot, ExtMount, InheritFd, JoinNamespace, Kind, Opts};
use crate::criu::{Criu, Notice};
use crate::error::{Context, Error, Result};
use crate::launch::child::{ChildGuard, forked};
use crate::launch::create::{CreateParameters, Creation, begin_network, check_rootfs};
use crate::launch::fault::Faults;
use crate::launch::netdev::{self, MovedDevices};
use crate::launch::{console, hooks, standard_streams};
use crate::plan::host::Host;
use crate::plan::{self, Plan};
use crate::spec::{self, Spec};
use crate::sys::{self, Child};

use super::images::Images;
use super::{attributes, dump, external, options, strays};

/// What CRIU writes its log to.
const LOG: &str = "restore.log";
/// The name of the root among CRIU's mounts.
const ROOT: &str = "root";

/// A container whose processes run again.
pub struct RestoredContainer {
    /// What is remembered.
    pub container: Container,
    /// Its first process, a child of ours.
    pub child: ChildGuard,
    /// Its terminal's master.
    pub console: Option<OwnedFd>,
    /// Network devices of the host.
    pub net_devices: MovedDevices,
}

/// The name of the cgroup file system there.
const CGROUP: &str = "cgroup";

/// Makes a container from a checkpoint.
///
/// # Errors
/// What is wrong with the bundle, the host or the images, or CRIU's own. Nothing is left behind.
pub fn restore(parameters: &CreateParameters<'_>, options: &cli::Restore) -> Result<RestoredContainer> {
    dump::check_privileges()?;
    let request = &parameters.request;
    parameters.store.check_free(&request.id)?;
    let images = Images::open(&dump::images_path(options.image_path.as_deref()))?;
    images.is_complete()?;
    let work = Images::make(options.work_path.as_deref().unwrap_or(&images.path))?;
    let text = spec::read_from(&request.bundle, None)?;
    let spec: Spec = spec::parse("config.json", &text)?;
    dump::refuse(&spec)?;
    let mut host = Host::of_bundle(parameters.rootless, &spec)?;
    host.find_manager(parameters.manager)?;
    let plan = Plan::new(request, &spec, &host)?;
    plan.warnings.iter().for_each(|warning| (parameters.warn)(warning));
    console::check(plan.host.terminal, parameters.detached, parameters.options.console_socket.as_deref())?;
    check_rootfs(&plan.host.rootfs)?;
    if plan.host.cgroup.is_none() {
        // Else what images make could not be held while it is audited, nor all of it be found and killed.
        return Err(Error::new("a container without a cgroup of its own cannot be restored")
            .remedy("leave out --cgroup-manager disabled, and see cleat check for what keeps one from being made"));
    }
    let root = plan.init.root.as_ref().filter(|root| root.pivot != cleat_plan::Pivot::Chroot);
    if root.is_none() {
        let problem = "a container without a mount namespace of its own cannot be restored";
        return Err(Error::at("linux.namespaces", problem).remedy("add {\"type\": \"mount\"} to them"));
    }
    let (poststop, log) = (plan.host.poststop.clone(), plan.host.hook_log.clone());
    let (poststop_state, moved) = (std::cell::RefCell::new(None), std::cell::RefCell::default());
    let creation = Creation {
        parameters,
        kept: spec::parse("config.json", &text)?,
        basis: Basis::of(request, &host, &text)?,
        spec: &spec,
        faults: Faults::new(request, parameters.debug),
        network: begin_network(&spec)?,
        poststop_state: &poststop_state,
        moved: &moved,
        plan,
    };
    let restoration = Restoration { creation: &creation, options, images, work };
    restoration.perform().inspect_err(|_| {
        moved.take().bring_back(parameters.warn);
        if let Some(state) = poststop_state.take() {
            let runner = hooks::Runner { bundle: &request.bundle, state: &state, log: &log };
            hooks::run_all(&poststop, &runner).iter().for_each(|error| (parameters.warn)(&error.to_string()));
        }
    })
}

struct Restoration<'a> {
    creation: &'a Creation<'a>,
    options: &'a cli::Restore,
    images: Images,
    work: Images,
}

/// What the notifications of CRIU have brought.
#[derive(Default)]
struct Progress {
    audited: bool,
    child: Option<ChildGuard>,
    console: Option<OwnedFd>,
}

impl Restoration<'_> {
    /// The steps, in order.
    fn perform(&self) -> Result<RestoredContainer> {
        let Creation { parameters, plan, faults, .. } = self.creation;
        faults.at(Step::StateDir)?;
        let reserved = parameters.store.reserve(&plan.host.id)?;
        faults.at(Step::Cgroup)?;
        let mut record = self.creation.record();
        let made_before = self.creation.cgroup(&reserved, &mut record)?;
        if made_before.is_none() {
            reserved.save(&record)?;
        }
        self.creation.limit(made_before.as_ref(), false)?;
        self.creation.give_cgroup(made_before.as_ref())?;
        faults.at(Step::Resctrl)?;
        let group = resctrl::prepare(plan.host.rdt.as_ref(), |own| {
            record.set_rdt(own);
            reserved.save(&record)
        })?;
        faults.at(Step::Mounts)?;
        self.creation.make_mount_points().context("make mount points")?;
        faults.at(Step::Clone)?;
        standard_streams::protect_devices(parameters.warn)?;
        let (execution, mut opts) = self.execution(&reserved)?;
        let mut criu = Criu::prepare(execution)?;
        let mut scope = None;
        let mut progress = Progress::default();
        let outcome = self.enter_cgroup(&criu, made_before.as_ref(), &reserved, &mut record).and_then(|made| {
            scope = made;
            resctrl::add(group.as_ref(), criu.pid())?;
            let made = made_before.as_ref().or(scope.as_ref());
            self.converse(&mut criu, &mut opts, made, &reserved, &mut record, &mut progress)
        });
        let made = made_before.as_ref().or(scope.as_ref());
        if let Err(error) = outcome {
            drop(criu);
            // Whatever was restored by then, which may be more than the first process.
            if let Some(made) = made {
                let _ = made.cgroup().kill();
                drop(progress);
                let _ = made.cgroup().wait_empty();
            }
            return Err(error);
        }
        criu.finish();
        let child = progress.child.ok_or_else(|| Error::new("criu has restored no process"))?;
        if let Some(made) = made_before.or(scope) {
            made.keep();
        }
        resctrl::keep(group);
        Ok(RestoredContainer {
            container: reserved.keep(record),
            child,
            console: progress.console,
            net_devices: self.creation.moved.take(),
        })
    }

    /// CRIU, which all that it restores descends from, enters the cgroup before it gets its request: limits and the device
    /// program hold from the first process on.
    fn enter_cgroup(
        &self,
        criu: &Criu,
        made: Option<&CgroupGuard>,
        reserved: &StateDirGuard,
        record: &mut Record,
    ) -> Result<Option<CgroupGuard>> {
        if !self.creation.plan.host.poststop.is_empty() {
            let state = container::state_json(record, container::Status::Stopped, 0)?;
            *self.creation.poststop_state.borrow_mut() = Some(state);
        }
        let scope = match made {
            Some(made) => {
                made.cgroup().join(criu.pid())?;
                None
            }
            None => {
                let child = Child { pid: criu.pid(), pidfd: sys::pidfd_open(criu.pid()).context("pidfd_open")? };
                self.creation.scope(reserved, record, &child)?
            }
        };
        self.creation.set_devices(made.or(scope.as_ref()))?;
        Ok(scope)
    }

    fn converse(
        &self,
        criu: &mut Criu,
        opts: &mut Opts,
        made: Option<&CgroupGuard>,
        reserved: &StateDirGuard,
        record: &mut Record,
        progress: &mut Progress,
    ) -> Result<()> {
        criu.execute()?;
        criu.version()?;
        if opts.manage_cgroups_mode != Some(0) {
            opts.cg_root = cgroup_roots(criu.pid())?;
        }
        let oom = OomWatch::from_now(made.map(CgroupGuard::cgroup));
        let criu_pid = criu.pid();
        let mut notice = |notice: Notice| match notice.script.as_str() {
            "setup-namespaces" => self.set_up_namespaces(&notice, record, reserved),
            "orphan-pts-master" => self.take_console(notice, progress),
            "post-restore" => self.take_child(&notice, made, record, reserved, progress),
            "pre-resume" => self.audit(criu_pid, made, reserved, record, progress),
            _ => Ok(()),
        };
        let config = opts.config_file.clone();
        let answer = criu.request(Kind::Restore, opts.clone(), &mut notice).map_err(|error| oom.annotate(error))?;
        match answer {
            Ok(_) if !progress.audited => Err(Error::new("criu has resumed what was not audited")),
            // Now it may run.
            Ok(_) => made.map_or(Ok(()), |made| made.cgroup().set_frozen(false)),
            Err(failure) => Err(oom.annotate(dump::failed(&failure, &self.work, LOG, config.as_deref()))),
        }
    }

    /// Namespaces are there and nothing is mounted: what a creation does then, hooks of the host among it.
    fn set_up_namespaces(&self, notice: &Notice, record: &mut Record, reserved: &StateDirGuard) -> Result<()> {
        let child = child_of(notice)?;
        if self.creation.plan.init.loopback || self.creation.plan.host.network.is_some() {
            if is_in_own_network(child.pid)? {
                return Err(Error::at(
                    "linux.namespaces",
                    "criu has restored no network namespace of the container's own",
                ));
            }
            netdev::raise_loopback(&child)?;
        }
        self.creation.run_hooks(&child, record, reserved)
    }

    fn take_console(&self, notice: Notice, progress: &mut Progress) -> Result<()> {
        let master = notice.fd.ok_or_else(|| Error::new("criu gave no terminal"))?;
        if !self.creation.plan.host.terminal || progress.console.is_some() {
            return Ok(());
        }
        if !sys::is_terminal_master(std::os::fd::AsFd::as_fd(&master)) {
            return Err(Error::new("criu gave a terminal that is none"));
        }
        progress.console = Some(master);
        Ok(())
    }

    /// All processes are there, and stand still; their credentials are still CRIU's.
    fn take_child(
        &self,
        notice: &Notice,
        made: Option<&CgroupGuard>,
        record: &mut Record,
        reserved: &StateDirGuard,
        progress: &mut Progress,
    ) -> Result<()> {
        // Kept whatever happens: it is waited for when CRIU, which traces it, has ended.
        let child = progress.child.insert(forked(child_of(notice)?.pidfd)?);
        let pid = child.get().pid;
        self.creation.set_pid(record, pid)?;
        if made.is_some_and(|made| !made.cgroup().processes().is_ok_and(|pids| pids.binary_search(&pid).is_ok())) {
            return Err(Error::new(format!("restored process {pid} is not in the container's cgroup")));
        }
        if is_in_other_time_namespace(pid)? {
            record.cleat.namespaces |= plan::NEWTIME;
        }
        if let Some(made) = made {
            record.set_cgroup(made.cgroup());
        }
        self.creation.limit(made, true)?;
        self.creation.give_streams(child.get())?;
        reserved.save(record)
    }

    /// Nothing has run yet, and all is as it will be then: the one moment to look at it.
    fn audit(
        &self,
        criu: i32,
        made: Option<&CgroupGuard>,
        reserved: &StateDirGuard,
        record: &mut Record,
        progress: &mut Progress,
    ) -> Result<()> {
        let Err(error) = self.examine(criu, made, reserved, record, progress) else {
            progress.audited = true;
            return Ok(());
        };
        // Whatever has failed: CRIU lets them run whatever is answered.
        match (made, &progress.child) {
            (Some(made), _) => made.cgroup().kill()?,
            (None, Some(child)) => {
                sys::pidfd_send_signal(std::os::fd::AsFd::as_fd(&child.get().pidfd), nix::libc::SIGKILL)
                    .context("kill what was restored")?;
            }
            (None, None) => {}
        }
        Err(error)
    }

    fn examine(
        &self,
        criu: i32,
        made: Option<&CgroupGuard>,
        reserved: &StateDirGuard,
        record: &mut Record,
        progress: &Progress,
    ) -> Result<()> {
        let child = progress.child.as_ref().ok_or_else(|| Error::new("criu resumes what it has not restored"))?;
        self.creation.faults.at(Step::SaveState)?;
        let container = self.creation.parameters.store.open(&record.id)?;
        made.map_or(Ok(()), |made| hold(made, criu))?;
        let root = self.creation.plan.init.root.as_ref();
        root.map_or(Ok(()), |root| attributes::set_again(root, child.get()))?;
        self.compare(&container, criu)?;
        self.creation.save(reserved, record, made, child.get().pid)
    }

    fn compare(&self, container: &Container, criu: i32) -> Result<()> {
        let report = audit::compare(container, &Reference::of(container)?, Moment::Restored, Some(criu))?;
        let told = report.differences.iter().map(|difference| {
            let audit::Difference { place, asked, found, .. } = difference;
            format!("{place}: asked for {asked}; is {found}")
        });
        let mut all: Vec<String> = told.collect();
        if let Some(root) = &self.creation.plan.init.root {
            all.extend(strays::find(container, root, &report.processes)?);
        }
        if all.is_empty() {
            return Ok(());
        }
        let all = crate::error::printable(&all.join(" | "));
        Err(Error::new(format!("what the images hold is more than config.json asks for: {all}"))
            .remedy("nothing of it has run; restore it with the config.json that it was made with"))
    }

    /// How CRIU is executed, and what it is asked.
    fn execution(&self, reserved: &StateDirGuard) -> Result<(Execution, Opts)> {
        let plan = &self.creation.plan;
        let root = plan.init.root.as_ref().ok_or_else(|| Error::new("no root"))?;
        let rootfs = clone_of(&plan.host.rootfs)?;
        let mut ext_mnt = external::restored_mounts(root, &rootfs)?;
        let mut mounts = own_mounts(reserved.path(), rootfs);
        if plan.host.namespaces & plan::NEWUSER != 0 {
            let gid = plan.host.id_maps.as_ref().and_then(|maps| plan::ids::outside(&maps.gids, 0));
            self.images.let_group_search(gid)?;
            bring_in_reach(&mut mounts, &ext_mnt, &self.joined())?;
            for target in external::cgroup_mounts(plan) {
                let val = mounts.path(CGROUP).to_string_lossy().into_owned();
                ext_mnt.push(ExtMount { key: target.to_string_lossy().into_owned(), val });
                mounts.cgroup = Some(CGROUP.into());
            }
        }
        let mut fds = Vec::new();
        let mut inherit_fd = self.streams(&mut fds)?;
        inherit_fd.extend(self.namespaces(&mut fds)?);
        let options = self.options;
        options::empty_namespaces(&options.empty_ns)?;
        let opts = Opts {
            images_dir_fd: self.images.dir.as_raw_fd(),
            work_dir_fd: Some(self.work.dir.as_raw_fd()),
            evasive_devices: Some(true),
            ext_unix_sk: Some(options.ext_unix_sk),
            tcp_established: Some(options.tcp_established),
            tcp_close: options.tcp_close.then_some(true),
            shell_job: Some(options.shell_job),
            file_locks: Some(options.file_locks),
            auto_dedup: Some(options.auto_dedup),
            lazy_pages: Some(options.lazy_pages),
            log_level: Some(4),
            log_file: Some(LOG.into()),
            notify_scripts: Some(true),
            rst_sibling: Some(true),
            orphan_pts_master: Some(true),
            root: Some(mounts.path(ROOT).to_string_lossy().into_owned()),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(options::cgroups_mode(options.manage_cgroups_mode.as_deref())?),
            ext_mnt,
            inherit_fd,
            join_ns: self.joined(),
            empty_ns: Some(u32::try_from(plan::NEWNET).unwrap_or(0)),
            config_file: dump::config_file(&plan.host.annotations),
            lsm_profile: options.lsm_profile.as_deref().map(lsm_profile).transpose()?,
            lsm_mount_context: options.lsm_mount_context.clone(),
            network_lock: options.network_lock.as_deref().map(options::network_lock).transpose()?,
            ..Opts::default()
        };
        let process = plan.init.process.as_ref();
        let execution = Execution {
            fds,
            streams: true,
            ends_with_us: true,
            mounts: Some(mounts),
            // In other modes CRIU makes one itself.
            cgroup_namespace: opts.manage_cgroups_mode == Some(0) && self.makes_cgroup_namespace(),
            no_new_privileges: process.is_some_and(|process| process.no_new_privileges),
        };
        Ok((execution, opts))
    }

    /// Our standard streams in place of those that the processes had, and the null device for what else was the host's.
    /// CRIU takes a descriptor once: each name has one of its own.
    fn streams(&self, fds: &mut Vec<OwnedFd>) -> Result<Vec<InheritFd>> {
        let terminal = self.creation.plan.host.terminal;
        let pipes = if terminal { Vec::new() } else { self.images.pipes()? };
        let pipes = pipes.into_iter().map(|(stream, key)| (key, Some(stream)));
        let files = self.images.external()?.into_iter().map(|file| (file.key, file.stream));
        let mut list: Vec<InheritFd> = Vec::new();
        for (key, stream) in pipes.chain(files) {
            if list.iter().any(|known| known.key == key) {
                continue;
            }
            fds.push(match stream.filter(|_| !terminal) {
                Some(stream) => sys::stream(stream.into()).try_clone_to_owned().context("dup")?,
                None => standard_streams::protected_null()?,
            });
            list.push(InheritFd { key, fd: number_of_last(fds) });
        }
        // The socket is one, and there are two namespaces at most.
        match list.len() + 3 > sys::child::MOST_DESCRIPTORS {
            true => Err(Error::new(format!("the checkpoint has {} streams of the host: too many", list.len()))),
            false => Ok(list),
        }
    }

    /// Network and pid namespaces that config.json names by path.
    fn namespaces(&self, fds: &mut Vec<OwnedFd>) -> Result<Vec<InheritFd>> {
        let mut list = Vec::new();
        for (kind, key) in [("network", external::NET), ("pid", external::PID)] {
            let Some(path) = self.path_of(kind) else { continue };
            let place = format!("config.json: linux.namespaces: {path}");
            fds.push(
                nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
                    .context(format_args!("{place}: open"))?,
            );
            list.push(InheritFd { key: key.into(), fd: number_of_last(fds) });
        }
        Ok(list)
    }

    /// The others, which CRIU joins.
    fn joined(&self) -> Vec<JoinNamespace> {
        let kinds = [("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("time", "time")];
        let paths = kinds.into_iter().filter_map(|(kind, ns)| Some((ns, self.path_of(kind)?)));
        paths.map(|(ns, path)| JoinNamespace { ns: ns.into(), ns_file: path.into() }).collect()
    }

    fn makes_cgroup_namespace(&self) -> bool {
        let spec = &self.creation.spec.linux.namespaces;
        spec.iter().any(|own| own.kind == "cgroup" && own.path.is_empty())
    }

    fn path_of(&self, kind: &str) -> Option<&str> {
        let spec = &self.creation.spec.linux.namespaces;
        spec.iter().find(|own| own.kind == kind).map(|own| own.path.as_str()).filter(|path| !path.is_empty())
    }
}

/// Freezes what was restored. Else CRIU alone would hold it: should that be killed while we look, for the memory that the
/// images have it take, all would run. CRIU itself leaves the cgroup before, as it makes no more processes.
fn hold(made: &CgroupGuard, criu: i32) -> Result<()> {
    let place = "move CRIU out of the container's cgroup";
    let text = std::fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or_else(|| Error::new(format!("{place}: this process is in none")))?;
    made.cgroup().elsewhere(Path::new(own)).context(place)?.join(criu).context(place)?;
    made.cgroup().set_frozen(true)
}

/// The number that CRIU will have the last of these as.
fn number_of_last(fds: &[OwnedFd]) -> i32 {
    FIRST_FD + i32::try_from(fds.len()).unwrap_or(0) - 1
}

/// `TYPE:NAME`
fn lsm_profile(text: &str) -> Result<String> {
    let known =
        text.split_once(':').is_some_and(|(kind, name)| ["selinux", "apparmor"].contains(&kind) && !name.is_empty());
    known.then(|| text.to_owned()).ok_or_else(|| {
        Error::of(crate::error::Kind::Usage, format!("--lsm-profile {text:?}: not selinux:LABEL or apparmor:PROFILE"))
    })
}

/// The process that a notification is about.
fn child_of(notice: &Notice) -> Result<Child> {
    let pid = notice.pid.filter(|pid| *pid > 0).ok_or_else(|| Error::new("criu names no process"))?;
    let pidfd = sys::pidfd_open(pid).context(format_args!("pidfd_open {pid}, which criu has named"))?;
    Ok(Child { pid, pidfd })
}

/// Whether a process is in this one's network namespace.
fn is_in_own_network(pid: i32) -> Result<bool> {
    let inode = |who: &str| {
        let place = format!("/proc/{who}/ns/net");
        nix::sys::stat::stat(place.as_str()).map(|stat| stat.st_ino).context(format_args!("stat {place}"))
    };
    Ok(inode("self")? == inode(&pid.to_string())?)
}

/// CRIU restores clocks that go on in a time namespace, where the kernel has them.
fn is_in_other_time_namespace(pid: i32) -> Result<bool> {
    let inode = |who: &str| nix::sys::stat::stat(format!("/proc/{who}/ns/time").as_str()).map(|stat| stat.st_ino);
    match (inode("self"), inode(&pid.to_string())) {
        (Ok(own), Ok(other)) => Ok(own != other),
        (Err(nix::errno::Errno::ENOENT), _) => Ok(false),
        (_, Err(errno)) | (Err(errno), _) => Err(errno).context(format_args!("stat /proc/{pid}/ns/time")),
    }
}

/// Where CRIU is, so that cgroups below are restored there.
fn cgroup_roots(pid: i32) -> Result<Vec<CgroupRoot>> {
    let place = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&place).context(format_args!("read {place}"))?;
    let root = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some(CgroupRoot { ctrl: Some(fields.next()?.to_owned()), path: fields.next()?.to_owned() })
    };
    Ok(text.lines().filter_map(root).collect())
}

fn is_mount_point(path: &Path) -> bool {
    let wanted = (rustix::fs::AtFlags::SYMLINK_NOFOLLOW, rustix::fs::StatxFlags::empty());
    rustix::fs::statx(rustix::fs::CWD, path, wanted.0, wanted.1)
        .is_ok_and(|stat| stat.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

/// A copy of a mount, detached.
fn clone_of(path: &Path) -> Result<OwnedFd> {
    let text = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::new(format!("{}: zero byte", path.display())))?;
    let flags = sys::TreeFlags { recursive: true, nofollow: false };
    let tree = sys::open_tree(&text, flags).context(format_args!("open_tree {}", path.display()))?;
    // Mounts made in it must not reach the host's, whatever images say of its peers.
    sys::enslave_mount(std::os::fd::AsFd::as_fd(&tree), false).context("mount_setattr")?;
    Ok(tree)
}

/// CRIU's mounts: the root, which is to be a mount below which nothing else lies.
fn own_mounts(state: &Path, rootfs: OwnedFd) -> OwnMounts {
    let below = state.ancestors().find(|path| is_mount_point(path)).unwrap_or(Path::new("/"));
    OwnMounts { base: state.into(), below: below.into(), trees: vec![(ROOT.into(), rootfs)], cgroup: None }
}

/// In a user namespace CRIU's processes have no right to search directories of the host's root: then the mounts are in
/// one directory below `/`, in which nothing lies that is bound.
fn bring_in_reach(mounts: &mut OwnMounts, ext_mnt: &[ExtMount], joined: &[JoinNamespace]) -> Result<()> {
    let named = |place: &Path| {
        let paths = joined.iter().map(|own| own.ns_file.as_str()).chain(ext_mnt.iter().map(|own| own.val.as_str()));
        paths.into_iter().any(|path| Path::new(path).starts_with(place))
    };
    let places = ["/mnt", "/media", "/srv", "/opt", "/boot", "/home", "/root"].map(Path::new);
    let base = places.into_iter().find(|place| place.is_dir() && !named(place));
    mounts.base = base.ok_or_else(|| Error::new("no directory below / that mounts could be put on"))?.into();
    mounts.below = if is_mount_point(&mounts.base) { mounts.base.clone() } else { "/".into() };
    Ok(())
}
