//! How does a process get its share of caches and memory bandwidth?
//!
//! Host half, with the caller's privileges. A group of the resctrl file system is made, entered and
//! removed by directory descriptor; no process of a container can write there (Linux resctrl.rst).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, statfs};
use nix::unistd::UnlinkatFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::plan;
use crate::sys::path;
use crate::sys::path::open_beneath;

/// Where the file system is mounted.
const MOUNT_POINT: &str = "/sys/fs/resctrl";
/// `RDTGROUP_SUPER_MAGIC`
const RDTGROUP_SUPER_MAGIC: FsType = FsType(0x0765_5821);
/// Names another directory in its place, for tests on machines without the hardware.
const OVERRIDE: &str = "CLEAT_RESCTRL";

/// Where resctrl is mounted, if it is: asked only for a container that wants it.
#[must_use]
pub fn mount_point() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return std::path::absolute(path).ok();
    }
    let is_mounted = statfs(MOUNT_POINT).is_ok_and(|fs| fs.filesystem_type() == RDTGROUP_SUPER_MAGIC);
    is_mounted.then(|| MOUNT_POINT.into())
}

/// What is remembered of a container's group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResctrlState {
    /// Where resctrl is mounted.
    root: PathBuf,
    /// The group below it.
    group: PathBuf,
    /// The group was made for this container, and nobody else is to be in it.
    made: bool,
    /// The container's monitoring group below the group.
    monitor: Option<String>,
}

impl ResctrlState {
    /// The group's directory on the host.
    #[must_use]
    pub fn full(&self) -> PathBuf {
        crate::sys::clean_path::clean(&self.root, &self.group)
    }

    /// The monitoring group, below the group.
    fn monitor_directory(&self) -> Option<PathBuf> {
        self.monitor.as_ref().map(|name| Path::new("mon_groups").join(name))
    }

    /// Puts a process into the container's group, and into its monitoring group. False: somebody
    /// has removed the group.
    ///
    /// # Errors
    /// `ESRCH`: the process is gone.
    pub fn add(&self, pid: i32) -> Result<bool> {
        let root = open_root(&self.root)?;
        let place = format!("intelRdt {}", self.full().display());
        // The monitoring group takes only processes of the group it is in.
        let monitor = self.monitor_directory().map(|directory| self.group.join(directory));
        for directory in [Some(self.group.clone()), monitor].into_iter().flatten() {
            let tasks = directory.join("tasks");
            match write(&root, &tasks, &pid.to_string()) {
                Ok(()) => {}
                Err(Errno::ENOENT) => return Ok(false),
                Err(errno) => {
                    return Err(explain(&root, errno, &format!("{place}: write {pid} to {}", tasks.display())));
                }
            }
        }
        Ok(true)
    }

    /// Changes what the group may use, all of it or nothing: the kernel reads a write as a whole first.
    ///
    /// # Errors
    /// The kernel refuses it; resctrl's own text is in the error.
    pub fn change(&self, lines: &[&str]) -> Result<()> {
        let root = open_root(&self.root)?;
        let place = format!("intelRdt {}", self.full().display());
        let group = open_group(&root, &self.group).context(format_args!("{place}: open"))?;
        let text = lines.join("\n");
        write(&group, Path::new("schemata"), &format!("{text}\n"))
            .map_err(|errno| explain(&root, errno, &format!("{place}: write {text:?} to schemata")))
    }

    /// What the group may use, for `events`; nothing where it has gone.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let schemata = || {
            let root = open_root(&self.root).ok()?;
            Some((read(&root, "schemata").ok()?, read(&open_group(&root, &self.group).ok()?, "schemata").ok()?))
        };
        schemata().map(|(all, own)| Stats::of(&all, &own)).unwrap_or_default()
    }

    /// Removes what was made for the container.
    ///
    /// # Errors
    /// Those of rmdir(2); that it is gone already is none.
    pub fn remove(&self) -> Result<()> {
        let root = match open_root(&self.root) {
            Ok(root) => root,
            // Unmounted meanwhile, and the groups with it.
            Err(_) if !self.root.exists() => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = format!("intelRdt {}: rmdir", self.full().display());
        if self.made {
            // Its monitoring groups go with it.
            return gone(nix::unistd::unlinkat(&root, &self.group, UnlinkatFlags::RemoveDir))
                .map_err(|errno| explain(&root, errno, &place));
        }
        let Some(monitor) = self.monitor_directory() else { return Ok(()) };
        match open_group(&root, &self.group) {
            Ok(group) => gone(nix::unistd::unlinkat(&group, &monitor, UnlinkatFlags::RemoveDir))
                .map_err(|errno| explain(&root, errno, &format!("{place} {}", monitor.display()))),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).context(format_args!("{place}: open")),
        }
    }
}

/// What a group may use, and what the machine has, as `runc events` shows it.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
}

impl Stats {
    fn of(all: &str, own: &str) -> Stats {
        let line = |text: &str, resource: &str| {
            text.lines().map(str::trim).rfind(|line| line.starts_with(resource)).map(str::to_owned)
        };
        Stats {
            l3_cache_schema_root: line(all, "L3"),
            l3_cache_schema: line(own, "L3"),
            mem_bw_schema_root: line(all, "MB"),
            mem_bw_schema: line(own, "MB"),
            schemata: own.lines().map(str::to_owned).collect(),
        }
    }
}

fn gone(removed: nix::Result<()>) -> nix::Result<()> {
    match removed {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Prepares the group of a container that asks for one; see [`ResctrlGuard::new`].
///
/// # Errors
/// As there.
pub fn prepare(
    wanted: Option<&plan::Rdt>,
    remember: impl FnOnce(&ResctrlState) -> Result<()>,
) -> Result<Option<ResctrlGuard>> {
    wanted.map(|wanted| ResctrlGuard::new(wanted, remember)).transpose()
}

/// Puts the container's first process into its group.
///
/// # Errors
/// See [`ResctrlState::add`]; the directory is no group of processes.
pub fn add(group: Option<&ResctrlGuard>, pid: i32) -> Result<()> {
    match group {
        Some(group) if !group.own.add(pid)? => {
            Err(Error::new(format!("intelRdt {}: it has no file \"tasks\"", group.own.full().display())))
        }
        _ => Ok(()),
    }
}

/// The container lives: what was made stays.
pub fn keep(group: Option<ResctrlGuard>) {
    if let Some(mut group) = group {
        group.kept = true;
    }
}

/// A group prepared for a container that is not there yet: undone again unless it is kept.
pub struct ResctrlGuard {
    own: ResctrlState,
    /// A group that others may use, too, made for this container as its first user.
    for_others: bool,
    /// The monitoring group exists.
    monitored: bool,
    kept: bool,
}

impl ResctrlGuard {
    /// Makes the group where it is to be made, sets what it may use, and makes the monitoring group.
    /// `remember` is called before anything is made, with what a later `delete` has to remove.
    ///
    /// # Errors
    /// The group does not exist, or holds other limits; the kernel refuses a limit (its
    /// `info/last_cmd_status` is in the error); there is no group or monitor left to be had.
    pub fn new(wanted: &plan::Rdt, remember: impl FnOnce(&ResctrlState) -> Result<()>) -> Result<ResctrlGuard> {
        let own = ResctrlState {
            root: wanted.root.clone(),
            group: wanted.group.clone(),
            made: false,
            monitor: wanted.monitor.clone(),
        };
        let place = format!("intelRdt {}", own.full().display());
        let mut made = ResctrlGuard { own, for_others: false, monitored: false, kept: false };
        // The locking rule of resctrl.rst: between a look at the groups and a change nobody else changes them. Two
        // containers that share a new group find it set, or not there. Declared after the guard, and so let go of
        // before it undoes anything, which locks again.
        let lock = Flock::lock(open_root(&wanted.root)?, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context(format_args!("intelRdt: flock {}", wanted.root.display()))?;
        let root: &OwnedFd = &lock;
        let existing = match open_group(root, &wanted.group) {
            Ok(group) => Some(group),
            Err(Errno::ENOENT) if wanted.make => None,
            Err(Errno::ENOENT) => {
                let full = made.own.full();
                let what = "there is no such group, and no limits to make one with; make it, or set schemata";
                return Err(Error::new(format!("config.json: linux.intelRdt.closID: {}: {what}", full.display())));
            }
            Err(errno) => return Err(errno).context(format_args!("{place}: open")),
        };
        remember(&ResctrlState { made: existing.is_none() && wanted.own, ..made.own.clone() })?;
        let group = match existing {
            Some(group) => {
                made.compare(wanted, root, &group, &place)?;
                group
            }
            None => {
                mkdir(root, &wanted.group).map_err(|errno| explain(root, errno, &format!("{place}: mkdir")))?;
                (made.own.made, made.for_others) = (wanted.own, !wanted.own);
                open_group(root, &wanted.group).context(format_args!("{place}: open"))?
            }
        };
        for text in &wanted.schemata {
            write(&group, Path::new("schemata"), text)
                .map_err(|errno| explain(root, errno, &format!("{place}: write {:?} to schemata", text.trim_end())))?;
        }
        if let Some(directory) = made.own.monitor_directory() {
            mkdir(&group, &directory)
                .map_err(|errno| explain(root, errno, &format!("{place}: mkdir {}", directory.display())))?;
            made.monitored = true;
        }
        Ok(made)
    }

    /// runtime-spec config-linux.md § IntelRdt: an existing `closID` must have these limits.
    fn compare(&self, wanted: &plan::Rdt, root: &OwnedFd, group: &OwnedFd, place: &str) -> Result<()> {
        if wanted.expected.is_empty() {
            return Ok(());
        }
        let schemata = read(group, "schemata").context(format_args!("{place}: read schemata"))?;
        let granularity = read(root, "info/MB/bandwidth_gran").ok().and_then(|text| text.trim().parse().ok());
        match wanted.mismatch(&schemata, granularity.unwrap_or(1).max(1)) {
            Some(found) => Err(Error::new(format!(
                "config.json: linux.intelRdt: {} exists with other limits: {found} instead of {:?}",
                self.own.full().display(),
                wanted.expected.join("; ")
            ))),
            None => Ok(()),
        }
    }

    /// As if the container had never been tried. Its processes are gone.
    fn undo(&mut self) -> Result<()> {
        if !self.monitored {
            self.own.monitor = None;
        }
        self.own.remove()?;
        if !self.for_others {
            return Ok(());
        }
        // Another container may have found the group by now and be in it.
        let root = open_root(&self.own.root)?;
        let lock = Flock::lock(root, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("flock")?;
        let group = open_group(&*lock, &self.own.group).context("open")?;
        let tasks = open_beneath(&group, Path::new("tasks"), OFlag::O_RDONLY).context("open tasks")?;
        if path::read(&tasks).context("read tasks")?.trim().is_empty() {
            nix::unistd::unlinkat(&*lock, &self.own.group, UnlinkatFlags::RemoveDir).context("rmdir")?;
        }
        Ok(())
    }
}

impl Drop for ResctrlGuard {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.undo();
        }
    }
}

fn read(dir: &OwnedFd, file: &str) -> nix::Result<String> {
    path::read(&open_beneath(dir, Path::new(file), OFlag::O_RDONLY)?)
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    // Not for its path alone, because it is locked.
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .context(format_args!("intelRdt: open {}", path.display()))
}

fn open_group(root: impl AsFd, group: &Path) -> nix::Result<OwnedFd> {
    open_beneath(root, group, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

fn mkdir(dir: impl AsFd, path: &Path) -> nix::Result<()> {
    nix::sys::stat::mkdirat(dir, path, Mode::from_bits_truncate(0o755))
}

/// One write(2), which the kernel takes or refuses as a whole.
fn write(dir: impl AsFd, file: &Path, text: &str) -> nix::Result<()> {
    let file = open_beneath(dir, file, OFlag::O_WRONLY)?;
    let written = nix::unistd::write(&file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::E2BIG) }
}

/// Adds what resctrl itself says of a refusal of its own.
fn explain(root: &OwnedFd, errno: Errno, what: &str) -> Error {
    let hint = match errno {
        // These come from above it: what it says then is of an earlier refusal.
        Errno::EEXIST => "; it is there already: remove it, or choose another container id".to_owned(),
        Errno::EACCES | Errno::EPERM | Errno::EROFS => "; only the machine's root may change resctrl".to_owned(),
        Errno::ENOENT | Errno::EBADF => String::new(),
        _ => match last_status(root) {
            Some(said) => format!("; resctrl says: {said}"),
            None if errno == Errno::ENOSPC => "; all groups or monitors of the processor are in use".to_owned(),
            None => String::new(),
        },
    };
    Error::new(format!("{what}: {errno:?}{hint}"))
}

fn last_status(root: &OwnedFd) -> Option<String> {
    let file = open_beneath(root, Path::new("info/last_cmd_status"), OFlag::O_RDONLY).ok()?;
    let said = path::read(&file).ok()?;
    Some(crate::error::printable(said.trim())).filter(|said| !said.is_empty() && said != "ok")
}
