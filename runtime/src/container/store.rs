//! What do we remember of a container, and what is its status now?
//!
//! `<root>/<id>/state.json` has the keys that readers of runc's file know, and under `cleat` what
//! our own later commands need: they never read config.json again. It is replaced as a whole. The
//! directory's lock is held by the command that changes the container; a creation whose lock is gone and whose
//! phase is still `creating` was interrupted.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::basis::Basis;
use super::status::Container;
use super::trust::Trusted;
use crate::cgroup::resctrl::ResctrlState;
use crate::error::{Context, Error, Kind, Result};
use crate::plan::seccomp::{Filter, Listener};
use crate::plan::{self, NEWPID};
use crate::sys::path;

pub(super) const FILE: &str = "state.json";
/// The program of the seccomp filter.
pub(super) const FILTER: &str = "seccomp.bpf";
/// The socket on which a created container waits; its presence alone means nothing.
pub(super) const START_SOCKET: &str = "start.sock";
/// Locked by the command that writes a checkpoint of it.
pub(super) const CHECKPOINTING: &str = "checkpointing";

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Record {
    pub id: String,
    pub init_process_pid: i32,
    pub init_process_start: u64,
    pub created: String,
    pub config: RuncConfig,
    pub rootless: bool,
    pub cgroup_paths: BTreeMap<String, PathBuf>,
    pub namespace_paths: BTreeMap<String, String>,
    pub external_descriptors: Option<Vec<String>>,
    pub intel_rdt_path: String,
    pub cleat: CleatState,
}

impl Record {
    /// Whether its processes end with its first one: it has made a pid namespace, and not joined one.
    #[must_use]
    pub fn ends_with_init(&self) -> bool {
        self.cleat.namespaces & !self.cleat.joined & NEWPID != 0
    }

    /// What is put on its cgroup: no other container has the same id and the same nanosecond.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{} {}", self.id, self.created)
    }

    /// Remembers which cgroup was made.
    pub fn set_cgroup(&mut self, made: &crate::cgroup::Cgroup) {
        if let Some(own) = &mut self.cleat.cgroup {
            own.inode = made.inode();
        }
    }

    /// Remembers the resctrl group.
    pub fn set_rdt(&mut self, own: &ResctrlState) {
        self.intel_rdt_path = own.full().display().to_string();
        self.cleat.rdt = Some(own.clone());
    }
}

/// What readers of runc's file look for in `config`.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RuncConfig {
    pub rootfs: PathBuf,
    pub hostname: String,
    pub labels: Vec<String>,
    pub cgroups: Option<RuncCgroup>,
}

/// `config.cgroups` of runc's file.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RuncCgroup {
    pub path: PathBuf,
}

/// What our own later commands need.
#[derive(Debug, Serialize, Deserialize)]
pub struct CleatState {
    /// How far the creation has come.
    pub phase: Phase,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The owner, by number.
    pub owner: u32,
    /// The container's cgroup.
    pub cgroup: Option<CgroupState>,
    /// Namespaces that are not the host's, `CLONE_NEW*`.
    pub namespaces: u64,
    /// Those of them that it did not make, but joined.
    #[serde(default)]
    pub joined: u64,
    /// The container's resctrl group.
    pub rdt: Option<ResctrlState>,
    /// What processes of `exec` get as the first one did.
    #[serde(default)]
    pub inherited: cleat_plan::Inherited,
    /// Annotations of config.json.
    pub annotations: BTreeMap<String, String>,
    /// `process` of config.json, word by word.
    pub process: Option<Box<RawValue>>,
    /// `hooks` of config.json, word by word.
    pub hooks: Option<Box<RawValue>>,
    /// Where `NOTIFY_SOCKET` messages go.
    pub notify: Option<PathBuf>,
    /// The session keyring, which processes that join get, too.
    pub keyring: Option<String>,
    /// `linux.resources` of config.json, word by word, or as `update` left it.
    pub resources: Option<Box<RawValue>>,
    /// The filter of system calls, which processes that join get, too. Its program is a file of its
    /// own, which no other command has to read.
    pub seccomp: Option<FilterState>,
    /// What the plan was made from, for `audit`; those of older versions have none.
    #[serde(default)]
    pub basis: Option<Basis>,
}

/// A filter without its program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FilterState {
    /// `SECCOMP_FILTER_FLAG_*`
    pub flags: u32,
    /// Who decides where it does not.
    pub listener: Option<Listener>,
    /// It is loaded after the order to start, not before.
    #[serde(default)]
    pub at_start: bool,
}

impl FilterState {
    /// That of a container's plan.
    #[must_use]
    pub fn of(plan: &plan::Plan) -> Option<FilterState> {
        let filter = plan.host.seccomp.as_ref()?;
        let at_start = plan.init.process.as_ref().is_some_and(plan::seccomp::is_loaded_at_start);
        Some(FilterState { flags: filter.flags, listener: filter.listener.clone(), at_start })
    }
}

/// Where the cgroup is, and what was made for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CgroupState {
    /// Mount point of the v2 tree.
    pub mount: PathBuf,
    /// Relative to it.
    pub path: PathBuf,
    /// How many directories above it were made with it.
    pub made_above: usize,
    /// Its memory is limited: processes may be killed for it.
    #[serde(default)]
    pub memory_limited: bool,
    /// The unit of systemd that it is; empty: it was made without systemd.
    #[serde(default)]
    pub unit: String,
    /// The user's systemd has that.
    #[serde(default)]
    pub of_user: bool,
    /// Its inode, which distinguishes it from another one of the same name; 0: not made yet, or marked.
    #[serde(default)]
    pub inode: u64,
}

/// How far a creation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its `create` has not ended.
    Creating,
    /// Its `create` has succeeded.
    Created,
}

/// The container's status (runtime-spec runtime.md § State, and `paused`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being made.
    Creating,
    /// Waiting for `start`.
    Created,
    /// Its process runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its processes are being written to a checkpoint.
    Checkpointing,
    /// Its process is not there.
    Stopped,
}

impl Status {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Checkpointing => "checkpointing",
            Status::Stopped => "stopped",
        }
    }
}

/// All containers of one `--root`.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Checks an id: runc's rules.
///
/// # Errors
/// It is empty, too long, `.` or `..`, or has other characters than letters, digits and `_+-.`.
pub fn check_id(id: &str) -> Result<()> {
    let sane = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    let remedy = match id {
        "." | ".." => "these two are no ids",
        _ if id.len() > 255 => "at most 255 characters are possible",
        _ if !id.is_empty() && id.bytes().all(sane) => return Ok(()),
        _ if id.contains(['/', ':']) => {
            "use letters, digits and _ + - . only (cleat runs bundles, not images: -b DIR is the bundle)"
        }
        _ => "use letters, digits and _ + - . only",
    };
    Err(Error::new(format!("invalid container ID format: {id:?}")).remedy(remedy))
}

fn in_use(id: &str) -> Error {
    Error::new(format!("container with given ID already exists: {id}")).remedy("delete it first, or choose another id")
}

impl Store {
    /// The containers below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Store {
        Store { root }
    }

    /// Reserves an id by making its directory.
    ///
    /// # Errors
    /// The id is in use, or the directory cannot be made, or others may write where it is.
    pub fn reserve(&self, id: &str) -> Result<StateDirGuard> {
        check_id(id)?;
        if !self.root.exists() {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(&self.root)
                .context(format_args!("state directory {}", self.root.display()))?;
        }
        Trusted::open(&self.root)?;
        let path = self.root.join(id);
        match nix::unistd::mkdir(&path, nix::sys::stat::Mode::from_bits_truncate(0o711)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Err(in_use(id)),
            Err(errno) => return Err(errno).context(format_args!("state directory {}: mkdir", path.display())),
        }
        match lock(&path, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StateDirGuard { lock, directory: Directory { path, keep: false } }),
            Err(errno) => {
                // Empty, and so still ours; a `delete --force` that was faster has it locked.
                let _ = std::fs::remove_dir(&path);
                Err(errno).context(format_args!("lock {}", path.display()))
            }
        }
    }

    /// Refuses an id that is in use, before anything else is looked at. (Only [`Store::reserve`] keeps others from it.)
    ///
    /// # Errors
    /// It is, or is no id.
    pub fn check_free(&self, id: &str) -> Result<()> {
        check_id(id)?;
        let is_there = self.root.join(id).symlink_metadata().is_ok();
        if is_there { Err(in_use(id)) } else { Ok(()) }
    }

    /// Looks up a container.
    ///
    /// # Errors
    /// There is none of that id, or its state cannot be read, or is not to be believed.
    pub fn open(&self, id: &str) -> Result<Container> {
        check_id(id)?;
        let path = self.root.join(id);
        let file = path.join(FILE);
        let root = Trusted::open(&self.root)?;
        let Some(directory) = root.map_or(Ok(None), |root| root.below(id))? else {
            let error = Error::of(Kind::NoContainer, format!("container does not exist: {id}"));
            return Err(error.remedy(format_args!("there is no {}", path.display())));
        };
        let text = directory.read(FILE)?.ok_or_else(|| {
            let place = format!(
                "state of {id}: {} is missing: its creation is under way, or that or its removal was interrupted",
                file.display()
            );
            Error::new(place.to_string()).remedy(format_args!("remove the rest: delete --force {id}"))
        })?;
        let record: Record = crate::spec::parse(&file.to_string_lossy(), &text)?;
        Ok(Container { path, record })
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// The directory cannot be read, or is not to be believed; that it does not exist is no error.
    pub fn ids(&self) -> Result<Vec<String>> {
        Trusted::open(&self.root)?;
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(format_args!("read {}", self.root.display()))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| check_id(name).is_ok() && self.root.join(name).is_dir())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Removes a directory whose state is missing or damaged, when nobody is at work on it any
    /// more. False: by then there is a whole container.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_rest(&self, id: &str) -> Result<bool> {
        let path = self.root.join(id);
        let held = match lock(&path, FlockArg::LockExclusive) {
            Err(Errno::ENOENT) => return Ok(true),
            other => other.context(format_args!("lock {}", path.display()))?,
        };
        match self.open(id) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == Kind::NoContainer => Ok(true),
            Err(_) => {
                let removed = std::fs::remove_dir_all(&path);
                drop(held);
                match removed {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
                    other => other.context(format_args!("remove {}", path.display())).map(|()| true),
                }
            }
        }
    }

    /// The directory of all of them.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of an id.
    #[must_use]
    pub fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }
}

pub(super) fn lock(dir: &Path, how: FlockArg) -> nix::Result<Flock<OwnedFd>> {
    let fd =
        nix::fcntl::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    Flock::lock(fd, how).map_err(|(_, errno)| errno)
}

/// An id in the making: its directory goes away again unless it is kept.
pub struct StateDirGuard {
    // Let go of before the directory is removed: a descriptor less, which removing may need.
    lock: Flock<OwnedFd>,
    directory: Directory,
}

/// Removed again unless it is kept.
struct Directory {
    path: PathBuf,
    keep: bool,
}

impl StateDirGuard {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// Binds the socket on which the init will wait for `start`. It is moved to its name only when
    /// the container counts as created.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub fn listen(&self) -> Result<OwnedFd> {
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
            .context("socket")?;
        let address = start_address(self.path(), &self.lock)?;
        // Before it has a name: a process that may connect may start the container.
        nix::sys::stat::fchmod(&socket, nix::sys::stat::Mode::from_bits_truncate(0o600)).context("fchmod")?;
        nix::sys::socket::bind(socket.as_raw_fd(), &address)
            .context(format_args!("bind {}/{START_SOCKET}", self.path().display()))?;
        nix::sys::socket::listen(&socket, Backlog::new(4).context("listen")?).context("listen")?;
        Ok(socket)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, record: &Record) -> Result<()> {
        save(self.path(), record)
    }

    /// Writes the program of the filter.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save_filter(&self, filter: &Filter) -> Result<()> {
        write_atomically(&self.path().join(FILTER), filter.program.as_bytes(), 0o600)
    }

    /// The creation has succeeded.
    #[must_use]
    pub fn keep(mut self, record: Record) -> Container {
        self.directory.keep = true;
        Container { path: self.directory.path.clone(), record }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The start socket's address; by a descriptor of its directory where the path is longer than the
/// 107 bytes of a socket's name.
pub(super) fn start_address(path: &Path, dir: &OwnedFd) -> Result<UnixAddr> {
    UnixAddr::new(&path.join(START_SOCKET))
        .or_else(|_| UnixAddr::new(&path::of_descriptor(dir, START_SOCKET)))
        .context("socket address")
}

pub(super) fn save(dir: &Path, record: &Record) -> Result<()> {
    let text = serde_json::to_vec(record).map_err(|error| Error::new(format!("encode state: {error}")))?;
    write_atomically(&dir.join(FILE), &text, 0o600)
}

/// Replaces a file as a whole: readers see the old or the new one, and a full disk leaves the old.
///
/// # Errors
/// Those of the file system; nothing is left behind.
pub fn write_atomically(path: &Path, text: &[u8], mode: u32) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&temporary);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text)?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary))).context(format_args!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_runcs_rules() {
        for good in ["a", "A-b_c.d+1", "..."] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "../a", "a b", "ä", "a\0"] {
            assert!(check_id(bad).unwrap_err().to_string().starts_with("invalid container ID format"), "{bad:?}");
        }
    }
}
