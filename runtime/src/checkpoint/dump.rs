//! How is a container's tree of processes dumped?
//!
//! CRIU runs outside of the container, freezes its cgroup, and writes what it finds. Whatever fails, the container
//! goes on as before; a CRIU that loses us notices by itself.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cleat_plan::Root;

use crate::audit::{Asked, MountPoints};
use crate::cli::Checkpoint;
use crate::container::{Container, Status};
use crate::criu::conversation::Execution;
use crate::criu::messages::{ExtMount, Kind, Opts, PageServer};
use crate::criu::{self, Criu, Notice};
use crate::error::{Context, Error, Kind as ErrorKind, Result, printable};
use crate::plan::Plan;
use crate::spec::Spec;
use crate::sys::clean_path::clean;

use super::images::{ExternalFile, Images};
use super::{external, options};

/// The annotation that names a configuration file for CRIU; empty: none. It may have programs of the host executed.
pub const CONFIG: &str = "org.criu.config";
/// The configuration file otherwise, which runc reads, too.
const RUNC_CONFIG: &str = "/etc/criu/runc.conf";
/// What CRIU writes its log to.
const LOG: &str = "dump.log";

/// Dumps a container, whose lock the caller holds.
///
/// # Errors
/// It is in no state for that, something of it cannot be dumped, or CRIU fails: the container runs on.
pub fn dump(container: &Container, options: &Checkpoint, warn: &dyn Fn(&str)) -> Result<()> {
    check_state(container)?;
    check_privileges()?;
    let asked = Asked::of(container)?;
    if asked.was_changed() {
        warn("config.json was changed since the container was made: what it names now is taken for what is there");
    }
    refuse(asked.spec())?;
    let parent = parent(options)?;
    let mode = options::cgroups_mode(options.manage_cgroups_mode.as_deref())?;
    options::empty_namespaces(&options.empty_ns)?;
    let left = external::outsiders(container);
    if !left.is_empty() {
        warn(&format!(
            "processes {left:?} are not saved: CRIU saves the first process and its descendants, not those of exec"
        ));
    }
    let dump = Dump { container, options, asked: &asked, mode, parent };
    let mut opts = dump.opts()?;
    let criu = Criu::prepare(Execution::default())?;
    dump.perform(criu, &mut opts)
}

/// What is the host's and not the container's: mounts, all names that CRIU is given, and files.
///
/// # Errors
/// It cannot be found, or there is something in whose place CRIU takes nothing else.
pub(super) fn look(
    container: &Container,
    root: &Root,
    plan: &Plan,
) -> Result<(Vec<ExtMount>, Vec<String>, Vec<ExternalFile>)> {
    let pid = container.record.init_process_pid;
    let points = MountPoints::of(root, pid)?;
    let mounts = external::dumped_mounts(plan, root, &points)?;
    let files = external::open_files(container, &points)?;
    let mut names = external::namespaces(plan, pid)?;
    names.extend(files.iter().map(|file| file.key.clone()));
    Ok((mounts, names, files))
}

/// Only what runs has processes to dump.
pub(super) fn check_state(container: &Container) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Paused => Ok(()),
        other => {
            Err(Error::of(ErrorKind::NotRunning, format!("Container cannot be checkpointed in {} state", other.name())))
        }
    }
}

/// CRIU needs those of the machine.
pub(super) fn check_privileges() -> Result<()> {
    let is_root = nix::unistd::geteuid().is_root() && !crate::probe::host::in_user_namespace()?;
    is_root.then_some(()).ok_or_else(|| {
        Error::new("checkpoint and restore need root of the machine, and its user namespace")
            .remedy("CRIU cannot do it with less")
    })
}

/// What CRIU cannot make again, by the name that it has in config.json.
///
/// # Errors
/// There is such a thing.
pub fn refuse(spec: &Spec) -> Result<()> {
    let idmapped = |mount: &crate::spec::Mount| {
        !mount.uid_mappings.is_empty()
            || !mount.gid_mappings.is_empty()
            || mount.options.iter().any(|option| option.starts_with("idmap") || option.starts_with("ridmap"))
    };
    if let Some(index) = spec.mounts.iter().position(idmapped) {
        return Err(Error::at(&format!("mounts[{index}]"), "CRIU cannot restore an identity-mapped mount")
            .remedy("a container with one cannot be checkpointed"));
    }
    let agent = spec.linux.seccomp.as_ref().is_some_and(|seccomp| !seccomp.listener_path.is_empty());
    if agent {
        return Err(Error::at("linux.seccomp.listenerPath", "CRIU cannot restore a filter that asks an agent")
            .remedy("a container with one cannot be checkpointed"));
    }
    Ok(())
}

/// `--parent-path`, which is relative to the images.
fn parent(options: &Checkpoint) -> Result<Option<String>> {
    let Some(given) = &options.parent_path else { return Ok(None) };
    if given.is_absolute() {
        return Err(Error::of(ErrorKind::Usage, "--parent-path must be relative")
            .remedy("it is relative to --image-path, such as ../parent"));
    }
    let images = std::path::absolute(images_path(options.image_path.as_deref())).context("--image-path")?;
    // By its name: the directory of the images may not be there yet.
    let full = clean(&images, given);
    match std::fs::metadata(&full) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            let what = format!("invalid --parent-path: {}: not a directory", full.display());
            return Err(Error::of(ErrorKind::Usage, what));
        }
        Err(error) => return Err(error).context(format_args!("invalid --parent-path: {}", full.display())),
    }
    let text = given.to_str().ok_or_else(|| Error::of(ErrorKind::Usage, "invalid --parent-path: not UTF-8"))?;
    Ok(Some(text.to_owned()))
}

/// `--image-path`, as runc's default has it.
pub(super) fn images_path(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| PathBuf::from("checkpoint"), Path::to_path_buf)
}

/// The configuration file that CRIU reads last: it overrides what is asked here.
pub(super) fn config_file(annotations: &std::collections::BTreeMap<String, String>) -> Option<String> {
    match annotations.get(CONFIG) {
        Some(file) => Some(file.clone()).filter(|file| !file.is_empty()),
        None => Path::new(RUNC_CONFIG).exists().then(|| RUNC_CONFIG.to_owned()),
    }
}

/// The text of a failure: CRIU's own, or the first error of its log, and where the log is.
pub(super) fn failed(failure: &criu::Failure, work: &Images, log: &str, config: Option<&str>) -> Error {
    // Its answer has one line at most, and older ones not the one that helps.
    let told = criu::log::errors(&work.dir, log).or_else(|| failure.text.as_deref().map(printable));
    let told = told.map(|line| format!(": {line}")).unwrap_or_default();
    let path = work.path.join(log);
    let remedy = match config {
        _ if path.exists() => format!("its log is {}", path.display()),
        Some(config) => format!("its log is where {config} has it written"),
        None => "it has written no log".to_owned(),
    };
    Error::new(format!("{failure}{told}")).remedy(remedy)
}

struct Dump<'a> {
    container: &'a Container,
    options: &'a Checkpoint,
    asked: &'a Asked,
    mode: i32,
    parent: Option<String>,
}

/// What goes to CRIU, with all that must stay open for it.
struct Prepared {
    opts: Opts,
    images: Images,
    work: Images,
    external: Vec<ExternalFile>,
    status: Option<OwnedFd>,
}

impl Dump<'_> {
    fn opts(&self) -> Result<Prepared> {
        let (options, pid) = (self.options, self.container.record.init_process_pid);
        let images = Images::make(&images_path(options.image_path.as_deref()))?;
        let work = options.work_path.as_deref().map(Images::make).transpose()?;
        let status = options.status_fd.map(status_fd).transpose()?;
        let page_server = options.page_server.as_deref().map(options::page_server).transpose()?;
        let mut opts = Opts {
            images_dir_fd: images.dir.as_raw_fd(),
            work_dir_fd: work.as_ref().map(|work| work.dir.as_raw_fd()),
            pid: Some(pid),
            leave_running: Some(options.leave_running || options.pre_dump),
            ext_unix_sk: Some(options.ext_unix_sk),
            tcp_established: Some(options.tcp_established),
            tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
            tcp_close: options.tcp_close.then_some(true),
            shell_job: Some(options.shell_job),
            file_locks: Some(options.file_locks),
            log_level: Some(4),
            log_file: Some(LOG.into()),
            notify_scripts: Some(true),
            root: Some(self.container.record.config.rootfs.to_string_lossy().into_owned()),
            parent_img: self.parent.clone(),
            // Pages that change from now on are known to the next dump.
            track_mem: Some(options.pre_dump || self.parent.is_some()),
            auto_dedup: Some(options.auto_dedup),
            link_remap: Some(options.link_remap),
            lazy_pages: Some(options.lazy_pages),
            ps: page_server.map(|(address, port)| PageServer { address: Some(address), port: Some(port) }),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(self.mode),
            freeze_cgroup: self.container.cgroup().map(|cgroup| cgroup.full().to_string_lossy().into_owned()),
            orphan_pts_master: Some(true),
            config_file: config_file(&self.container.record.cleat.annotations),
            network_lock: network_lock(options)?,
            // Devices of the container's network are not CRIU's to save: they are those of config.json.
            empty_ns: Some(u32::try_from(crate::plan::NEWNET).unwrap_or(0)),
            ..Opts::default()
        };
        let mut files = Vec::new();
        if let Some(root) = &self.asked.plan().init.root {
            (opts.ext_mnt, opts.external, files) = look(self.container, root, self.asked.plan())?;
        }
        let work = match work {
            Some(work) => work,
            None => Images::open(&images.path)?,
        };
        Ok(Prepared { opts, images, work, external: files, status })
    }

    fn perform(&self, mut criu: Criu, prepared: &mut Prepared) -> Result<()> {
        let kind = if self.options.pre_dump { Kind::PreDump } else { Kind::Dump };
        let opts = prepared.opts.clone();
        let Prepared { images, work, external, status, .. } = prepared;
        let frozen_before = self.is_frozen();
        let marker = self.container.mark_checkpointing()?;
        let mut notice = |notice: Notice| match notice.script.as_str() {
            "status-ready" => tell_ready(status.take()),
            // Now the images are whole; without these files nothing is restored from them.
            "post-dump" if kind == Kind::Dump => self.save_own(images, external),
            _ => Ok(()),
        };
        let config = opts.config_file.clone();
        let outcome = criu.execute().and_then(|()| criu.version()).and_then(|_| criu.request(kind, opts, &mut notice));
        // One that waits for the next dump after a pre-dump is to go.
        criu.finish();
        let outcome = match outcome {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) => Err(failed(&failure, work, LOG, config.as_deref())),
            Err(error) => Err(error),
        };
        if outcome.is_err() && !frozen_before {
            self.thaw();
        }
        drop(marker);
        outcome
    }

    fn save_own(&self, images: &Images, external: &[ExternalFile]) -> Result<()> {
        let nothing = vec![String::from("/dev/null"); 3];
        images.save_descriptors(self.container.record.external_descriptors.as_deref().unwrap_or(&nothing))?;
        images.save_external(external)
    }

    fn is_frozen(&self) -> bool {
        self.container.cgroup().is_some_and(|cgroup| cgroup.freezes().unwrap_or(false))
    }

    /// CRIU was killed with the processes frozen: they are to run on.
    fn thaw(&self) {
        if let Some(cgroup) = self.container.cgroup().filter(|cgroup| cgroup.freezes().unwrap_or(false)) {
            let _ = cgroup.set_frozen(false);
        }
    }
}

/// `--network-lock`. Without one CRIU calls iptables, even where no connection is to be kept; it knows the
/// rules of nftables itself.
fn network_lock(options: &Checkpoint) -> Result<Option<i32>> {
    let default = || criu::conversation::program("iptables-restore").is_none().then_some("nftables");
    options.network_lock.as_deref().or_else(default).map(options::network_lock).transpose()
}

/// `--status-fd`, a descriptor of the caller's.
fn status_fd(number: i32) -> Result<OwnedFd> {
    let wrong = || {
        Error::of(ErrorKind::Usage, format!("invalid --status-fd argument {number}: not writable"))
            .remedy("it is a descriptor that is open for writing")
    };
    crate::sys::take_writable(number).map_err(|_| wrong())
}

/// The page server listens.
fn tell_ready(status: Option<OwnedFd>) -> Result<()> {
    let Some(status) = status else { return Ok(()) };
    nix::unistd::write(&status, &[0]).context("write to --status-fd").map(drop)
}
