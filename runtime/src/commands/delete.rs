//! `delete`: removes what is left of a container.

use std::time::Duration;

use nix::fcntl::Flock;

use crate::cgroup::Cgroup;
use crate::cgroup::systemd::UnitState;
use crate::container::{Alive, CgroupOwner, Container, Phase, Status};
use crate::error::{Context, Error, Kind, Result, printable};
use crate::launch::hooks;
use crate::sys;

use super::Shell;

/// How long a process may take to find that the container is gone which it was to join.
const JOINING: Duration = Duration::from_secs(10);

/// `delete`
///
/// # Errors
/// The container runs and `force` is not given, or something of it cannot be removed.
pub fn delete(shell: &Shell<'_>, id: &str, force: bool) -> Result<()> {
    let container = match shell.store.open(id) {
        Err(error) if error.kind() == Kind::NoContainer && force => return Ok(()),
        Err(error) if error.kind() == Kind::Other && shell.store.directory(id).is_dir() => {
            // Its maker, or who deleted it, was killed half-way; or one of them is still at work.
            return match force {
                false => Err(error),
                true if shell.store.remove_rest(id)? => Ok(()),
                true => delete(shell, id, force),
            };
        }
        // Its removal came to an end between the two looks.
        Err(_) if force && shell.store.open(id).is_err_and(|error| error.kind() == Kind::NoContainer) => return Ok(()),
        other => other?,
    };
    let status = container.status()?;
    match status {
        // A created one has run nothing yet: runc deletes it, too.
        Status::Stopped | Status::Created => {}
        _ if force => {}
        other => return Err(still_alive(id, other)),
    }
    if force && status != Status::Stopped {
        // The command that holds the lock, a creation or a start, sees its process die and releases it.
        kill_all(&container)?;
    }
    match container.locked() {
        // Its maker, or another delete, was faster.
        Err(error) if error.kind() == Kind::NoContainer && force => Ok(()),
        Err(error) => Err(error),
        Ok((container, lock)) => {
            // The id may have been given to another container while we waited.
            let status = container.status()?;
            if !force && !matches!(status, Status::Stopped | Status::Created) {
                return Err(still_alive(id, status));
            }
            destroy_locked(&container, lock, shell.warn)
        }
    }
}

fn still_alive(id: &str, status: Status) -> Error {
    let name = status.name();
    Error::new(format!("cannot delete container {id} that is not stopped: {name}"))
        .remedy("kill it first, or use --force")
}

/// Ends every process of a container: its cgroup's, and its first one where it has no cgroup.
///
/// # Errors
/// The kernel refuses.
pub fn kill_all(container: &Container) -> Result<()> {
    // What lives in its cgroup when all of its own has ended is somebody else's.
    let cgroup = if container.has_ended_whole()? { None } else { container.cgroup() };
    kill(container.alive()?.as_ref(), cgroup.as_ref())
}

/// The same by what was opened before.
///
/// # Errors
/// The kernel refuses.
pub fn kill(first: Option<&Alive>, cgroup: Option<&Cgroup>) -> Result<()> {
    if let Some(first) = first {
        use std::os::fd::AsFd;
        let _ = sys::pidfd_send_signal(first.pidfd.as_fd(), nix::libc::SIGKILL);
    }
    cgroup.map_or(Ok(()), Cgroup::kill)
}

/// Ends and removes a container that this process has just made.
///
/// # Errors
/// See [`delete`].
pub fn destroy(container: Container, warn: &dyn Fn(&str)) -> Result<()> {
    match container.locked() {
        // Somebody deleted it meanwhile.
        Err(error) if error.kind() == Kind::NoContainer => Ok(()),
        Err(error) => Err(error),
        Ok((container, lock)) => destroy_locked(&container, lock, warn),
    }
}

pub(super) fn destroy_locked(
    container: &Container,
    lock: Flock<std::os::fd::OwnedFd>,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let first = container.alive()?;
    empty_cgroup(container, first.is_some(), warn)?;
    if let Some(first) = first {
        wait_for_end(&first)?;
    }
    if let Some(own) = &container.record.cleat.rdt {
        own.remove()?;
    }
    let hooks = container.hooks().and_then(|hooks| Container::planned_hooks(&hooks.poststop, "poststop"))?;
    let log = container.hook_log();
    let created = container.record.cleat.phase == Phase::Created;
    // The directory last: until it is gone, the id is taken and `delete` can be tried again.
    let state = container.state_json(Status::Stopped)?;
    let path = container.path().to_owned();
    std::fs::remove_dir_all(&path).context(format_args!("remove {}", path.display()))?;
    drop(lock);
    if created {
        // runtime-spec runtime.md § Lifecycle: a failure is logged, the others run, delete succeeds.
        let (bundle, log) = (&container.record.cleat.bundle, &log);
        let runner = hooks::Runner { bundle, state: &state, log };
        for error in hooks::run_all(&hooks, &runner) {
            warn(&error.to_string());
        }
    }
    Ok(())
}

/// Ends what lives in its cgroup, and removes that; what is another's stays as it is.
fn empty_cgroup(container: &Container, lives: bool, warn: &dyn Fn(&str)) -> Result<()> {
    let cgroup = match container.cgroup_owner() {
        CgroupOwner::Own(cgroup) => cgroup,
        other => {
            if lives {
                kill_all(container)?;
            }
            return leave(container, other);
        }
    };
    // Of a creation in the same cgroup and this only one is at work there.
    let lock = cgroup.lock();
    if lives || cgroup.populated().unwrap_or(true) {
        let ended_whole = container.has_ended_whole()?;
        kill_all(container)?;
        if ended_whole && cgroup.frozen().unwrap_or(false) {
            cgroup.set_frozen(false)?;
        }
        // A process that was joining needs a moment to see that there is nothing to join.
        if !(if ended_whole { cgroup.wait_empty_for(JOINING)? } else { cgroup.wait_empty()? }) {
            let left = cgroup.processes().unwrap_or_default();
            return Err(if ended_whole {
                not_its_own(container, &cgroup, &format!("processes {left:?}, and all of its own have ended"))
            } else {
                let stuck = format!("processes {left:?} did not end when killed; they may be stuck in the kernel");
                Error::new(format!("container {}: {stuck}", container.id()))
            });
        }
    } else if lock.is_none() {
        return Ok(());
    }
    if let Some(Err(error)) = container.unit().as_ref().map(UnitState::stop) {
        warn(&format!("{error}; its cgroup is removed without systemd"));
    }
    let made_above = container.record.cleat.cgroup.as_ref().map_or(0, |own| own.made_above);
    cgroup.remove(made_above)
}

/// Whether there is nothing left of it in a cgroup that is not its own.
fn leave(container: &Container, place: CgroupOwner) -> Result<()> {
    match place {
        CgroupOwner::Others(cgroup, mark) if cgroup.populated().unwrap_or(true) => {
            let whose = mark.split(' ').next().unwrap_or_default();
            Err(not_its_own(container, &cgroup, &format!("container {}", printable(whose))))
        }
        // Made, and not used by anybody, or somebody else's.
        CgroupOwner::NotTaken(cgroup) if !cgroup.populated().unwrap_or(true) => match cgroup.lock() {
            Some(_lock) => cgroup.remove(0),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn not_its_own(container: &Container, cgroup: &Cgroup, who: &str) -> Error {
    let (id, full) = (container.id(), cgroup.full());
    Error::new(format!("delete {id}: in its cgroup {} lives {who}, which is not touched", full.display()))
        .remedy("end that first")
}

/// Until the kernel has torn the process down: its pid namespace's other processes go with it.
fn wait_for_end(first: &crate::container::Alive) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(first.pidfd.as_fd(), PollFlags::POLLIN)];
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::from(10_000u16)) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(0) => {
                return Err(Error::new("the container's first process did not end when killed")
                    .remedy("it may be stuck in the kernel"));
            }
            other => return other.context("poll pidfd").map(drop),
        }
    }
}
