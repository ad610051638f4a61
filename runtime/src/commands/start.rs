//! `start`: lets a created container's program run.

use crate::error::{Error, Result};
use crate::exec::order_start;
use crate::state::{Container, Status};
use crate::wire::Conversation;
use crate::{hooks, notify, sys};

use super::{Shell, delete};

/// `start`
///
/// # Errors
/// The container is not `created`; its program could not be executed; a hook failed.
pub fn start(shell: &Shell<'_>, id: &str) -> Result<()> {
    let container = shell.store.open(id)?;
    let _lock = container.lock()?;
    let Some(alive) = container.alive()? else {
        return Err(Error::new(format!("cannot start a container that has stopped: {id}")));
    };
    let Some(socket) = container.connect()? else {
        return Err(match container.status()? {
            Status::Stopped => Error::new(format!("cannot start a container that has stopped: {id}")),
            Status::Creating => Error::new(format!("cannot start {id}: it is still being created")),
            _ => Error::new(format!("cannot start an already running container: {id}")),
        });
    };
    if container.cgroup().is_some_and(|cgroup| cgroup.frozen().unwrap_or(false)) {
        return Err(Error::new(format!("cannot start a paused container: {id}; resume it first")));
    }
    if container.record.cleat.process.is_none() {
        return Err(Error::new(format!("cannot start {id}: config.json had no process")));
    }
    let manager = container.record.cleat.notify.as_ref().and_then(|_| notify::of_caller());
    let listener = manager.as_ref().map(|_| notify::Listener::bind(container.path())).transpose()?;
    order_start(&Conversation::over(socket))?;
    container.forget_start_socket();
    run_poststart(&container)?;
    match (&listener, &manager) {
        (Some(listener), Some(manager)) => {
            use std::os::fd::AsFd;
            listener.forward(alive.pidfd.as_fd(), container.record.init_process_pid, manager)
        }
        _ => Ok(()),
    }
}

/// A failure stops the container (runtime-spec runtime.md § Lifecycle).
fn run_poststart(container: &Container) -> Result<()> {
    let hooks = container.hooks().and_then(|hooks| Container::planned_hooks(&hooks.poststart, "poststart"))?;
    if hooks.is_empty() && std::env::var_os("CLEAT_FAULT").is_none() {
        return Ok(());
    }
    let faulted = super::fault()?.filter(|fault| fault.step == cleat_plan::Step::Poststart);
    if faulted.is_some_and(|fault| fault.kind == cleat_plan::FaultKind::Kill) {
        sys::kill_self();
    }
    let outcome = match faulted {
        Some(_) => Err(Error::new("poststart-hooks: fault injected: ECANCELED")),
        None => hooks::run(&hooks, &container.state_json(Status::Running)?),
    };
    outcome.inspect_err(|_| drop(delete::kill_all(container)))
}
