//! How is every cgroup below one visited, and who lives there?
//!
//! Host half, by directory descriptor. A container that may write its cgroup decides how deep the
//! tree below is: a few descriptors are open at a time, and nothing recurses.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::error::{Context, Result};
use crate::sys::path;
use crate::sys::path::{Proc, open_beneath};

use super::Cgroup;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

impl Cgroup {
    /// All processes in it and below it.
    ///
    /// # Errors
    /// Those of reading `cgroup.procs` and `cgroup.threads`.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        let enter = |dir: &OwnedFd| match processes_of(dir, &mut pids) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            other => other,
        };
        visit(&self.dir, enter, |_, _| Ok(())).context(self.file("read", "cgroup.procs"))?;
        // The domain of a subtree of threads lists its processes, too.
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether a process lives in it, and not below.
    #[must_use]
    pub fn holds(&self, pid: i32) -> bool {
        let mut pids = Vec::new();
        processes_of(&self.dir, &mut pids).is_ok() && pids.contains(&pid)
    }

    /// Removes all cgroups below it, the deepest first.
    pub(super) fn remove_children(&self) -> nix::Result<()> {
        let leave = |parent: &OwnedFd, name: &Path| match nix::unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir)
        {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        visit(&self.dir, |_| Ok(true), leave)
    }
}

/// Visits `top` and all cgroups below it, and those below one only if `enter` says so; `leave` gets
/// the parent and the name of one when all below it has been left.
fn visit(
    top: &OwnedFd,
    mut enter: impl FnMut(&OwnedFd) -> nix::Result<bool>,
    mut leave: impl FnMut(&OwnedFd, &Path) -> nix::Result<()>,
) -> nix::Result<()> {
    let mut enter = |dir: &OwnedFd| if enter(dir)? { children(dir) } else { Ok(Vec::new()) };
    let mut at = open_beneath(top, Path::new("."), DIRECTORY)?;
    // Of each level what is still to be visited; the last of a level is being visited.
    let mut levels = vec![enter(&at)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.last() {
            match open_beneath(&at, name, DIRECTORY) {
                Ok(child) => {
                    levels.push(enter(&child)?);
                    at = child;
                }
                Err(Errno::ENOENT) => drop(level.pop()),
                Err(errno) => return Err(errno),
            }
        } else {
            levels.pop();
            let Some(name) = levels.last_mut().and_then(Vec::pop) else { break };
            at = parent(&at)?;
            leave(&at, &name)?;
        }
    }
    Ok(())
}

/// The cgroup above. No cgroup v2 can be moved, so it is the one that we came from. As many levels as were entered
/// are left, so that nothing above the first is reached.
fn parent(dir: &OwnedFd) -> nix::Result<OwnedFd> {
    nix::fcntl::openat(dir, "..", DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Names of the cgroups directly below; of one that has been removed there are none.
fn children(dir: &OwnedFd) -> nix::Result<Vec<PathBuf>> {
    let own = match open_beneath(dir, Path::new("."), DIRECTORY) {
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in nix::dir::Dir::from_fd(own)?.iter() {
        let entry = match entry {
            Err(Errno::ENOENT) => break,
            other => other?,
        };
        if entry.file_type() == Some(nix::dir::Type::Directory) {
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
            }
        }
    }
    Ok(names)
}

/// Adds the processes that live in one cgroup, if any do in it or below, and says whether.
fn processes_of(dir: &OwnedFd, pids: &mut Vec<i32>) -> nix::Result<bool> {
    let read = |file: &str| path::read(&open_beneath(dir, Path::new(file), OFlag::O_RDONLY)?);
    // A thousand nested ones without a process are one look. (The root has no such file.)
    if read("cgroup.events").is_ok_and(|events| events.lines().any(|line| line == "populated 0")) {
        return Ok(false);
    }
    let numbers = |text: String| text.lines().filter_map(|line| line.parse::<i32>().ok()).collect::<Vec<_>>();
    match read("cgroup.procs") {
        Ok(text) => pids.extend(numbers(text)),
        // In a subtree of threads (cgroup-v2.rst, "Threads") only threads are listed.
        Err(Errno::EOPNOTSUPP) => {
            let proc = Proc::open().map_err(|_| Errno::ENOSYS)?;
            pids.extend(numbers(read("cgroup.threads")?).into_iter().filter_map(|tid| process_of(&proc, tid)));
        }
        Err(errno) => return Err(errno),
    }
    Ok(true)
}

/// The process that a thread belongs to.
fn process_of(proc: &Proc, tid: i32) -> Option<i32> {
    let status = proc.read(&format!("{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}
