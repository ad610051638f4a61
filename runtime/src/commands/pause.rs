//! `pause` and `resume`: freezes and thaws a container's processes.

use crate::container::{Container, Phase, Status};
use crate::error::{Error, Kind, Result};

use super::Shell;

fn set(container: &Container, frozen: bool) -> Result<()> {
    let id = container.id();
    let cgroup = container
        .cgroup()
        .ok_or_else(|| Error::new(format!("container {id} has no cgroup of its own, which freezing needs")))?;
    cgroup.set_frozen(frozen)
}

/// `pause`
///
/// # Errors
/// The container does not run, or the kernel cannot freeze it.
pub fn pause(shell: &Shell<'_>, id: &str) -> Result<()> {
    let container = shell.store.open(id)?;
    match container.status()? {
        Status::Running | Status::Created => set(&container, true),
        Status::Paused => Err(Error::new(format!("container not running: {id}: it is paused already"))),
        Status::Checkpointing => Err(Error::new(format!("container {id} is being checkpointed: wait for that"))),
        _ => Err(Error::of(Kind::NotRunning, format!("container not running: {id}"))),
    }
}

/// `resume`
///
/// # Errors
/// The container is not paused.
pub fn resume(shell: &Shell<'_>, id: &str) -> Result<()> {
    let container = shell.store.open(id)?;
    // One that was held frozen by a restore that has not come to its end has not been audited.
    let complete = container.record.cleat.phase == Phase::Created;
    if container.status()? == Status::Checkpointing {
        // CRIU has frozen it: processes that run on would not be those that are saved.
        return Err(Error::new(format!("container {id} is being checkpointed: wait for that")));
    }
    // A created container can be frozen, too.
    let frozen = complete && container.cgroup().is_some_and(|cgroup| cgroup.frozen().unwrap_or(false));
    if frozen { set(&container, false) } else { Err(Error::new(format!("container not paused: {id}"))) }
}
