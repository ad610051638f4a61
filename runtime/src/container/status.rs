//! What is one container's status now, and who may change it?

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cleat_plan::seccomp::Program;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};

use crate::cgroup::systemd::UnitState;
use crate::error::{Context, Error, Kind, Result};
use crate::plan;
use crate::plan::seccomp::{Filter, Listener};
use crate::sys;
use crate::sys::path;
use crate::sys::path::Proc;

use super::trust::Trusted;
use super::{CHECKPOINTING, FILE, FILTER, Phase, Record, START_SOCKET, Status, lock, save, start_address, state_json};

/// A container that has been created.
#[derive(Debug)]
pub struct Container {
    pub(super) path: PathBuf,
    /// What is known of it.
    pub record: Record,
}

/// Who listens on a container's start socket.
pub enum Waiting {
    /// The init of a created container.
    Init(OwnedFd),
    /// The same, with more callers than it has answered.
    Busy,
    /// Nobody: the container has started or stopped.
    Nobody,
}

/// A container's process, proven to be the one that was recorded.
pub struct Alive {
    /// The only way to signal it.
    pub pidfd: OwnedFd,
}

impl Container {
    /// Its state directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The filter of system calls that its processes have.
    ///
    /// # Errors
    /// Its program cannot be read: then nothing may run without it.
    pub fn filter(&self) -> Result<Option<Filter>> {
        let Some(own) = &self.record.cleat.seccomp else { return Ok(None) };
        let file = self.path.join(FILTER);
        let bytes = self.read(FILTER)?.ok_or_else(|| Error::new(format!("{} is missing", file.display())))?;
        let program = Program::from_bytes(bytes).ok_or_else(|| {
            Error::new(format!("{}: not a seccomp filter", file.display())).remedy("was it written whole?")
        })?;
        Ok(Some(Filter { program, flags: own.flags, listener: own.listener.clone() }))
    }

    /// A file of its state; `None`: it is missing.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Trusted::open(&self.path)?.map_or(Ok(None), |directory| directory.read(name))
    }

    /// Who decides where its filter does not.
    #[must_use]
    pub fn listener(&self) -> Option<&Listener> {
        self.record.cleat.seccomp.as_ref()?.listener.as_ref()
    }

    /// Whether its filter is loaded after the order to start.
    #[must_use]
    pub fn filter_at_start(&self) -> bool {
        self.record.cleat.seccomp.as_ref().is_some_and(|own| own.at_start)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Keeps others from changing it until the lock is dropped, and reads again what others may
    /// have changed before.
    ///
    /// # Errors
    /// It is gone by now, or another container has its id.
    pub fn locked(self) -> Result<(Container, Flock<OwnedFd>)> {
        let gone = || {
            Error::of(Kind::NoContainer, format!("container does not exist: {}", self.id()))
                .remedy("it was deleted meanwhile")
        };
        let place = format!("lock {}", self.path.display());
        let held = match lock(&self.path, FlockArg::LockExclusive) {
            Err(Errno::ENOENT) => return Err(gone()),
            other => other.context(&place)?,
        };
        // The lock is of a directory, not of its name: another may have it by now.
        let ours = nix::sys::stat::fstat(&*held).context(&place)?;
        match nix::sys::stat::stat(&self.path) {
            Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => {}
            _ => return Err(gone()),
        }
        let file = self.path.join(FILE);
        let text = self.read(FILE)?.ok_or_else(gone)?;
        let record: Record = crate::spec::parse(&file.to_string_lossy(), &text)?;
        // Nor need the directory be the one that was read before: the id may have been used again.
        if record.created != self.record.created {
            return Err(gone());
        }
        Ok((Container { path: self.path, record }, held))
    }

    /// Writes the state again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self) -> Result<()> {
        save(&self.path, &self.record)
    }

    /// Its first process, if it still is the one that was recorded.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn alive(&self) -> Result<Option<Alive>> {
        let pid = self.record.init_process_pid;
        if pid <= 0 {
            return Ok(None);
        }
        // The pidfd first: what is read of the number afterwards is true of the descriptor, too,
        // as long as the process has not been reaped, which the signal 0 asks.
        let pidfd = match sys::pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(errno).context(format_args!("pidfd_open {pid}")),
        };
        match process_start(&Proc::open()?, pid) {
            // So it looks, too, when its first thread alone has ended: then the others live.
            Some((start, 'Z' | 'X')) if start == self.record.init_process_start && has_ended(&pidfd)? => Ok(None),
            Some((start, _)) if start == self.record.init_process_start => Ok(Some(Alive { pidfd })),
            _ => Ok(None),
        }
    }

    /// The status now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn status(&self) -> Result<Status> {
        if self.record.cleat.phase == Phase::Creating {
            // Its maker holds the lock as long as it lives.
            return Ok(match lock(&self.path, FlockArg::LockSharedNonblock) {
                Err(Errno::EWOULDBLOCK) => Status::Creating,
                _ => Status::Stopped,
            });
        }
        if self.alive()?.is_none() {
            return Ok(Status::Stopped);
        }
        if self.is_checkpointing() {
            return Ok(Status::Checkpointing);
        }
        if self.cgroup().is_some_and(|cgroup| cgroup.frozen().unwrap_or(false)) {
            return Ok(Status::Paused);
        }
        Ok(if matches!(self.connect()?, Waiting::Nobody) { Status::Running } else { Status::Created })
    }

    /// Whether a command is at work that writes a checkpoint: it holds a lock as long as it lives.
    fn is_checkpointing(&self) -> bool {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = nix::fcntl::open(&self.path.join(CHECKPOINTING), flags, nix::sys::stat::Mode::empty());
        let Ok(file) = file else { return false };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    }

    /// Its status is `checkpointing` until what this returns is dropped.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn mark_checkpointing(&self) -> Result<CheckpointMark> {
        let path = self.path.join(CHECKPOINTING);
        let place = format!("open {}", path.display());
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = nix::fcntl::open(&path, flags, nix::sys::stat::Mode::from_bits_truncate(0o600)).context(&place)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).context("flock")?;
        Ok(CheckpointMark { path, _lock: lock })
    }

    /// Connects to an init that waits for its order to start. A container
    /// that has started keeps no such socket open, whatever files are left.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn connect(&self) -> Result<Waiting> {
        // The init accepts one at a time, and may be frozen or stopped: nobody waits for it here.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).context("socket")?;
        let long_way;
        let address = match UnixAddr::new(&self.path.join(START_SOCKET)) {
            Ok(address) => address,
            Err(_) => {
                long_way = match path::open_dir(&self.path) {
                    Err(Errno::ENOENT) => return Ok(Waiting::Nobody),
                    other => other.context(format_args!("open {}", self.path.display()))?,
                };
                start_address(&self.path, &long_way)?
            }
        };
        match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => {
                nix::fcntl::fcntl(&socket, FcntlArg::F_SETFL(OFlag::empty())).context("fcntl")?;
                Ok(Waiting::Init(socket))
            }
            Err(Errno::EAGAIN) => Ok(Waiting::Busy),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(Waiting::Nobody),
            Err(errno) => Err(errno).context(format_args!("connect {}/{START_SOCKET}", self.path.display())),
        }
    }

    /// Its start has been ordered: nobody will listen there again.
    pub fn forget_start_socket(&self) {
        let _ = std::fs::remove_file(self.path.join(START_SOCKET));
    }

    /// The unit of systemd that its cgroup is.
    #[must_use]
    pub fn unit(&self) -> Option<UnitState> {
        let own = self.record.cleat.cgroup.as_ref()?;
        (!own.unit.is_empty()).then(|| UnitState { name: own.unit.clone(), user: own.of_user })
    }

    /// Whether its memory is limited: then its processes may be OOM-killed.
    #[must_use]
    pub fn memory_limited(&self) -> bool {
        self.record.cleat.cgroup.as_ref().is_some_and(|own| own.memory_limited)
    }

    /// The state as hooks and `state` give it.
    ///
    /// # Errors
    /// Never in practice: plain data is encoded.
    pub fn state_json(&self, status: Status) -> Result<String> {
        state_json(&self.record, status, if status == Status::Stopped { 0 } else { self.record.init_process_pid })
    }

    /// The hooks that run after the start.
    ///
    /// # Errors
    /// The file was changed by others.
    pub fn hooks(&self) -> Result<crate::spec::Hooks> {
        match &self.record.cleat.hooks {
            Some(raw) => crate::spec::parse(FILE, raw.get().as_bytes()),
            None => Ok(crate::spec::Hooks::default()),
        }
    }

    /// Where they print. What is wrong with it was an error of its creation, if there are hooks.
    #[must_use]
    pub fn hook_log(&self) -> plan::HookLog {
        plan::HookLog::of(&self.record.cleat.annotations).unwrap_or_default()
    }

    /// Checks and converts hooks of one kind.
    ///
    /// # Errors
    /// The file was changed by others.
    pub fn planned_hooks(list: &[crate::spec::Hook], kind: &str) -> Result<Vec<cleat_plan::Hook>> {
        let mut findings = plan::Findings::default();
        let hooks = plan::hooks(list, kind, &mut findings);
        findings.warnings().map(|_| hooks)
    }
}

/// A container whose checkpoint is being written.
pub struct CheckpointMark {
    path: PathBuf,
    _lock: Flock<OwnedFd>,
}

impl Drop for CheckpointMark {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether every thread of a process has ended (pidfd_open(2)).
fn has_ended(pidfd: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::ZERO).context("poll pidfd").map(|ended| ended > 0)
}

/// Start time in clock ticks after boot, and state letter, of a process (proc_pid_stat(5)).
#[must_use]
pub fn process_start(proc: &Proc, pid: i32) -> Option<(u64, char)> {
    let text = proc.read(&format!("{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything, so fields are counted from its end.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let proc = Proc::open().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let (start, state) = process_start(&proc, pid).unwrap();
        assert!(start > 0);
        assert!("RS".contains(state), "{state}");
    }
}
