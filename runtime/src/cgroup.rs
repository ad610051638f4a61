//! How is one cgroup made, joined, frozen, killed and removed?
//!
//! Host half. By directory descriptor: what a container does to the names inside its own cgroup
//! leads nowhere (Linux cgroup-v2.rst).

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::error::{Context, Error, Result, errno_text};
use crate::plan;
use crate::plan::cgroup_path::directory;
use crate::sys::path;
use crate::sys::path::open_beneath;

pub use limits::Before;
pub use oom::OomWatch;

mod devices;
pub(crate) mod limits;
mod mark;
mod oom;
pub mod resctrl;
pub mod stats;
pub mod systemd;
mod threads;
mod tree;

/// How long the kernel may take to freeze or to end the processes of a cgroup.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An existing cgroup.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    mount: PathBuf,
    path: PathBuf,
    /// What could not be set, and need not be.
    warnings: RefCell<Vec<String>>,
}

impl Cgroup {
    fn new(dir: OwnedFd, mount: &Path, path: PathBuf) -> Cgroup {
        Cgroup { dir, mount: mount.into(), path, warnings: RefCell::default() }
    }

    /// What was asked for since the last call, and does not hold.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Opens a cgroup of the v2 tree at `mount`.
    ///
    /// # Errors
    /// `ENOENT`: it does not exist.
    pub fn open(mount: &Path, path: &Path) -> nix::Result<Cgroup> {
        let root = path::open_dir(mount)?;
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let dir = open_beneath(&root, relative, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        Ok(Cgroup::new(dir, mount, path.into()))
    }

    /// Another cgroup of the same tree.
    ///
    /// # Errors
    /// `ENOENT`: it does not exist.
    pub fn elsewhere(&self, path: &Path) -> nix::Result<Cgroup> {
        Cgroup::open(&self.mount, path)
    }

    /// A cgroup below this one, for `exec --cgroup`; never one beside it.
    ///
    /// # Errors
    /// It does not exist, or is not below.
    pub fn below(&self, path: &Path) -> Result<Cgroup> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let place = format!("cgroup {} below {}", path.display(), self.full().display());
        let dir = open_beneath(&self.dir, relative, OFlag::O_RDONLY | OFlag::O_DIRECTORY).context(place)?;
        Ok(Cgroup::new(dir, &self.mount, self.path.join(relative)))
    }

    /// The directory on the host.
    #[must_use]
    pub fn full(&self) -> PathBuf {
        directory(&self.mount, &self.path)
    }

    /// The descriptor, for `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// An error text that names a file of this cgroup.
    fn file(&self, call: &str, name: &str) -> String {
        format!("cgroup {}: {call} {name}", self.full().display())
    }

    /// One of its files.
    ///
    /// # Errors
    /// `ENOENT`: the controller is not enabled, or the kernel has no such file.
    pub fn read(&self, name: &str) -> nix::Result<String> {
        path::read(&open_beneath(&self.dir, Path::new(name), OFlag::O_RDONLY)?)
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let file = open_beneath(&self.dir, Path::new(name), OFlag::O_WRONLY).context(self.file("open", name))?;
        nix::unistd::write(&file, value.as_bytes()).context(self.file(&format!("write {value:?} to"), name)).map(drop)
    }

    /// Puts a process into it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn join(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// One number of a flat keyed file, such as `populated` of `cgroup.events`.
    fn keyed(&self, name: &str, key: &str) -> nix::Result<Option<u64>> {
        let text = self.read(name)?;
        let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
        Ok(values.next())
    }

    /// Whether a process lives in it or below it.
    ///
    /// # Errors
    /// Those of reading `cgroup.events`.
    pub fn populated(&self) -> nix::Result<bool> {
        Ok(self.keyed("cgroup.events", "populated")? == Some(1))
    }

    /// How many cgroups are below it.
    ///
    /// # Errors
    /// Those of reading `cgroup.stat`.
    pub fn descendants(&self) -> nix::Result<u64> {
        Ok(self.keyed("cgroup.stat", "nr_descendants")?.unwrap_or(0))
    }

    /// Whether it is frozen, by itself or by one above it.
    ///
    /// # Errors
    /// Those of reading `cgroup.events`.
    pub fn frozen(&self) -> nix::Result<bool> {
        Ok(self.keyed("cgroup.events", "frozen")? == Some(1))
    }

    /// Whether processes that enter it are frozen at once.
    ///
    /// # Errors
    /// Those of reading `cgroup.freeze`.
    pub fn freezes(&self) -> nix::Result<bool> {
        Ok(self.read("cgroup.freeze")?.trim() == "1" || self.frozen()?)
    }

    /// Freezes or thaws all processes and waits until they are.
    ///
    /// # Errors
    /// The kernel refuses, or they are not within ten seconds.
    pub fn set_frozen(&self, frozen: bool) -> Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        let wanted = Some(u64::from(frozen));
        if self.wait_for_event("frozen", wanted, TIMEOUT)? {
            return Ok(());
        }
        // Half-frozen is worse than not at all.
        if frozen {
            self.write("cgroup.freeze", "0")?;
        }
        Err(Error::new(format!(
            "cgroup {}: processes did not change their state in {} s",
            self.full().display(),
            TIMEOUT.as_secs()
        )))
    }

    /// Kills every process in it and below it; one that has been removed has none.
    ///
    /// # Errors
    /// `ENOENT`: the kernel is older than 5.14.
    pub fn kill(&self) -> Result<()> {
        let killed = match self.write_text("cgroup.kill", "1") {
            // In a subtree of threads.
            Err(Errno::EOPNOTSUPP) => self.kill_threads(),
            other => other.context(self.file("write \"1\" to", "cgroup.kill")),
        };
        if killed.is_err() && self.is_gone() { Ok(()) } else { killed }
    }

    /// Waits until no process is left; false when ten seconds were not enough.
    ///
    /// # Errors
    /// Those of reading `cgroup.events`.
    pub fn wait_empty(&self) -> Result<bool> {
        self.wait_empty_for(TIMEOUT)
    }

    /// The same for another time.
    ///
    /// # Errors
    /// As above.
    pub fn wait_empty_for(&self, timeout: Duration) -> Result<bool> {
        let empty = self.wait_for_event("populated", Some(0), timeout);
        // systemd removes a scope when it is empty.
        if empty.is_err() && self.is_gone() { Ok(true) } else { empty }
    }

    fn is_gone(&self) -> bool {
        matches!(self.read("cgroup.procs"), Err(Errno::ENOENT | Errno::ENODEV))
    }

    /// The kernel wakes pollers of `cgroup.events` whenever a value in it changes.
    fn wait_for_event(&self, key: &str, wanted: Option<u64>, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let name = self.file("read", "cgroup.events");
        let events = open_beneath(&self.dir, Path::new("cgroup.events"), OFlag::O_RDONLY).context(&name)?;
        loop {
            nix::unistd::lseek(&events, 0, nix::unistd::Whence::SeekSet).context(&name)?;
            let text = path::read(&events).context(&name)?;
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
            if value == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll cgroup.events"),
            }
        }
    }

    /// Keeps others from taking it: a command that makes a container there, or removes one, holds this.
    /// `None`: somebody does.
    #[must_use]
    pub fn lock(&self) -> Option<Flock<OwnedFd>> {
        // A lock is of an open file: that of a duplicate would be given up with this one.
        let own = open_beneath(&self.dir, Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY).ok()?;
        Flock::lock(own, FlockArg::LockExclusiveNonblock).ok()
    }

    /// Removes it with all cgroups below it, depth first, and then those of `made_above` that are
    /// empty. Processes must be gone.
    ///
    /// # Errors
    /// `EBUSY`: a process is there.
    pub fn remove(&self, made_above: usize) -> Result<()> {
        let root = path::open_dir(&self.mount).context(format_args!("open {}", self.mount.display()))?;
        let mut path = self.path.as_path();
        if remove_one(&root, path).is_err() && !self.is_gone() {
            self.remove_children().context(format_args!("remove what is below cgroup {}", self.full().display()))?;
            remove_one(&root, path).context(format_args!("remove cgroup {}", self.full().display()))?;
        }
        for _ in 0..made_above {
            path = match path.parent() {
                Some(parent) if parent != Path::new("/") => parent,
                _ => break,
            };
            // Another container may live there by now.
            if remove_one(&root, path).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Its number in the tree, which no other cgroup gets; 0: unknown.
    #[must_use]
    pub fn inode(&self) -> u64 {
        nix::sys::stat::fstat(&self.dir).map_or(0, |stat| stat.st_ino)
    }
}

/// Names of everything in it.
fn entries(dir: &OwnedFd) -> nix::Result<Vec<String>> {
    let own = open_beneath(dir, Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut dir = nix::dir::Dir::from_fd(own)?;
    dir.iter().map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn remove_one(root: &OwnedFd, path: &Path) -> nix::Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else { return Err(Errno::EINVAL) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = match open_beneath(root, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    match nix::unistd::unlinkat(&parent, Path::new(name), UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A cgroup made for a container that is not there yet: removed again unless it is kept.
pub struct CgroupGuard {
    cgroup: Cgroup,
    /// The container lives: what was made stays.
    kept: bool,
    /// How many directories above it were made with it.
    pub made_above: usize,
    /// Of the directory, against other creations.
    _lock: Option<Flock<OwnedFd>>,
    /// It was there before: then it is not ours to remove when the creation fails.
    existed: bool,
    /// Its limits of that time, which come back then.
    before: RefCell<Before>,
    /// The device program that it has got, which goes then.
    devices: RefCell<Option<devices::Attached>>,
    /// Whose it was, likewise.
    mark: RefCell<Option<mark::Replaced>>,
    /// systemd has made it.
    unit: Option<systemd::UnitState>,
}

impl CgroupGuard {
    /// Makes the cgroup and what is missing above it.
    ///
    /// # Errors
    /// It is in use, frozen, or cannot be made.
    pub fn new(wanted: &plan::Cgroup) -> Result<CgroupGuard> {
        let (mount, path) = (wanted.mount.as_path(), wanted.path.as_path());
        let place = format!("cgroup {}", directory(mount, path).display());
        let mut at = path::open_dir(mount).context(format_args!("open {}", mount.display()))?;
        let mut made = 0;
        // Owned by the guard from the first directory on.
        let mut guard: Option<CgroupGuard> = None;
        let mut walked = PathBuf::from("/");
        for name in path.strip_prefix("/").unwrap_or(path).iter() {
            walked.push(name);
            limits::enable_controllers(&at);
            let last_made = match nix::sys::stat::mkdirat(&at, Path::new(name), Mode::from_bits_truncate(0o755)) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno @ (Errno::EACCES | Errno::EPERM)) if !nix::unistd::geteuid().is_root() => {
                    let what = format!("{place}: mkdir {}: {}", walked.display(), errno_text(errno));
                    let hint = "only cgroups that were delegated to this user can be used";
                    return Err(Error::new(what.to_string()).remedy(format_args!("{hint}: {}", wanted.remedy())));
                }
                Err(errno) => return Err(errno).context(format_args!("{place}: mkdir {}", walked.display())),
            };
            made += usize::from(last_made);
            at = match open_beneath(&at, Path::new(name), OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(child) => child,
                Err(errno) => {
                    if last_made {
                        let _ = nix::unistd::unlinkat(&at, Path::new(name), UnlinkatFlags::RemoveDir);
                    }
                    return Err(errno).context(format_args!("{place}: open"));
                }
            };
            let cgroup = Cgroup::new(at.try_clone().context("dup")?, mount, walked.clone());
            let (existed, made_above) = (!last_made, made.saturating_sub(1));
            match &mut guard {
                Some(guard) => (guard.cgroup, guard.existed, guard.made_above) = (cgroup, existed, made_above),
                None => guard = Some(CgroupGuard::of(cgroup, existed, made_above, None)),
            }
        }
        let mut guard = guard.ok_or_else(|| Error::new("the root cgroup cannot be a container's"))?;
        // Held until the container lives there: of two creations at once only one finds it empty.
        guard._lock = guard.cgroup.lock();
        if guard._lock.is_none() {
            guard.existed = true;
            return Err(Error::new(format!("{place}: is not empty")).remedy("another container is being created there"));
        }
        if guard.existed {
            let cgroup = &guard.cgroup;
            // runtime-spec config-linux.md § Control groups: a cgroup that cannot serve is an error.
            if cgroup.freezes().context(&place)? {
                return Err(Error::new(format!("{place}: is frozen"))
                    .remedy(format_args!("thaw it: echo 0 > {}/cgroup.freeze", cgroup.full().display())));
            }
        }
        // Also where we have made it: another creation may have taken the lock first, used it, and let go.
        if guard.cgroup.populated().context(&place)? {
            guard.existed = true;
            return Err(Error::new(format!("{place}: is not empty"))
                .remedy("another container or service lives there, choose another linux.cgroupsPath"));
        }
        Ok(guard)
    }

    fn of(cgroup: Cgroup, existed: bool, made_above: usize, unit: Option<systemd::UnitState>) -> CgroupGuard {
        CgroupGuard {
            cgroup,
            kept: false,
            made_above,
            existed,
            before: RefCell::default(),
            devices: RefCell::default(),
            mark: RefCell::default(),
            unit,
            _lock: None,
        }
    }

    /// The cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Says whose it is from now on. False: this process may not.
    #[must_use]
    pub fn mark(&self, mark: &str) -> bool {
        let replaced = self.cgroup.set_mark(mark);
        let marked = replaced.is_some();
        if self.existed {
            *self.mark.borrow_mut() = replaced;
        }
        marked
    }

    /// Sets the limits that hold from the first process's start on, or with `late` those that cannot.
    ///
    /// # Errors
    /// The kernel has no such limit or refuses it.
    pub fn limit(&self, limits: &[plan::Limit], late: bool) -> Result<()> {
        let limits: Vec<_> = limits.iter().filter(|limit| limit.late == late).collect();
        if self.existed {
            return self.cgroup.replace_limits(&limits, &mut self.before.borrow_mut());
        }
        self.cgroup.limit(&limits)
    }

    /// Sets who may use which device.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn set_devices(&self, rules: &[plan::DeviceRule]) -> Result<()> {
        let cgroup = &self.cgroup;
        let attached = if self.unit.is_some() { cgroup.add_devices(rules)? } else { cgroup.set_devices(rules)? };
        if self.existed {
            *self.devices.borrow_mut() = Some(attached);
        }
        Ok(())
    }

    /// The container lives: what was made stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for CgroupGuard {
    fn drop(&mut self) {
        let cgroup = &self.cgroup;
        if self.kept {
            return;
        }
        if self.existed {
            cgroup.put_back(&self.before.borrow());
            let _ = self.mark.take().map(|replaced| cgroup.put_mark_back(&replaced));
            let _ = self.devices.take().map(|attached| cgroup.take_off(&attached));
        } else {
            // A child that was just killed may not have left yet.
            let _ = cgroup.kill();
            let _ = cgroup.wait_empty();
            let _ = self.unit.as_ref().map(systemd::UnitState::stop);
            let _ = cgroup.remove(self.made_above);
        }
    }
}
