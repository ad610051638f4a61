//! `start`: lets a created container's program run.

use std::os::fd::{AsFd, OwnedFd};

use cleat_plan::FaultKind;
use nix::fcntl::Flock;

use crate::cgroup::OomWatch;
use crate::container::{Alive, Container, Phase, Status, Waiting};
use crate::error::{Error, Result};
use crate::launch::channel::Channel;
use crate::launch::start::{self as starting, order_start};
use crate::launch::{hooks, sd_notify};
use crate::sys;

use super::{Shell, delete};

/// `start`
///
/// # Errors
/// The container is not `created`; see [`order_start`]; a `poststart` hook failed.
pub fn start(shell: &Shell<'_>, id: &str) -> Result<()> {
    let (container, lock) = shell.store.open(id)?.locked()?;
    if container.cgroup().is_some_and(|cgroup| cgroup.frozen().unwrap_or(false)) {
        return Err(Error::new(format!("cannot start a paused container: {id}")).remedy("resume it first"));
    }
    // A socket that is listened to proves that the init lives and waits.
    let socket = match container.connect()? {
        Waiting::Init(socket) => socket,
        Waiting::Busy => {
            return Err(Error::new(format!("cannot start {id}: its init does not answer")).remedy("try again"));
        }
        Waiting::Nobody => {
            return Err(match container.status()? {
                Status::Stopped => {
                    let own = container.cgroup();
                    let stopped = Error::new(format!("cannot start a container that has stopped: {id}"));
                    OomWatch::from_creation(own.as_ref()).annotate(stopped)
                }
                Status::Creating => Error::new(format!("cannot start {id}: it is still being created")),
                _ => Error::new(format!("cannot start an already running container: {id}")),
            });
        }
    };
    if container.record.cleat.phase == Phase::Creating {
        return Err(Error::new(format!("cannot start {id}: its creation was interrupted")).remedy("delete it"));
    }
    if container.record.cleat.process.is_none() {
        return Err(Error::new(format!("cannot start {id}: config.json had no process")));
    }
    let ready = Readiness::expect(&container)?;
    let mut hooks = Ok(Vec::new());
    let pid = container.record.init_process_pid;
    let mut agent = starting::agent(&container, container.filter_at_start())?;
    let listener = |fd: OwnedFd| starting::hand_over(&container, Status::Created, agent.take(), &fd, pid);
    let own = container.memory_limited().then(|| container.cgroup()).flatten();
    let oom = OomWatch::from_now(own.as_ref());
    let first = own.as_ref().map(|_| container.alive()).transpose()?.flatten();
    let held = container.listener().map(|_| container.alive().map(|first| (first, container.cgroup()))).transpose()?;
    let outcome = order_start(&Channel::over(socket), listener, || {
        // Nobody will listen there again, whatever comes of it.
        container.forget_start_socket();
        hooks = container.hooks().and_then(|hooks| Container::planned_hooks(&hooks.poststart, "poststart"));
    });
    if let (Err(_), Some((first, cgroup))) = (&outcome, &held) {
        // Its filter may be in force, and nobody answers for it.
        let _ = delete::kill(first.as_ref(), cgroup.as_ref());
    }
    outcome?;
    if let Some(first) = first {
        starting::not_killed_at_once(first.pidfd.as_fd(), &oom)?;
    }
    run_poststart(&container, &hooks?, lock)?;
    ready.map_or(Ok(()), |ready| ready.wait(&container))
}

/// The service manager of our caller, which waits for the container's program to be ready.
struct Readiness {
    listener: sd_notify::Listener,
    manager: std::path::PathBuf,
    first: Alive,
}

impl Readiness {
    fn expect(container: &Container) -> Result<Option<Readiness>> {
        let Some(manager) = container.record.cleat.notify.as_ref().and_then(|_| sd_notify::of_caller()) else {
            return Ok(None);
        };
        let Some(first) = container.alive()? else { return Ok(None) };
        Ok(Some(Readiness { listener: sd_notify::Listener::bind(container.path())?, manager, first }))
    }

    fn wait(&self, container: &Container) -> Result<()> {
        self.listener.forward(self.first.pidfd.as_fd(), container.record.init_process_pid, &self.manager)
    }
}

/// A failure stops the container (runtime-spec runtime.md § Lifecycle).
fn run_poststart(container: &Container, hooks: &[cleat_plan::Hook], lock: Flock<OwnedFd>) -> Result<()> {
    let fault = super::fault()?.filter(|fault| fault.step == cleat_plan::Step::PoststartHooks);
    if hooks.is_empty() && fault.is_none() {
        return Ok(());
    }
    // Hooks may take long, and the container may be deleted meanwhile and its id be used again:
    // what may have to be killed is held by descriptors from here on.
    let (first, cgroup) = (container.alive()?, container.cgroup());
    drop(lock);
    let outcome = match fault.map(|fault| fault.kind) {
        Some(FaultKind::Kill) => sys::kill_self(),
        Some(FaultKind::Fail) => Err(Error::new("poststart-hooks: fault injected: ECANCELED")),
        None => container.state_json(Status::Running).and_then(|state| {
            let (bundle, log) = (&container.record.cleat.bundle, &container.hook_log());
            hooks::run(hooks, &hooks::Runner { bundle, state: &state, log })
        }),
    };
    outcome.inspect_err(|_| drop(delete::kill(first.as_ref(), cgroup.as_ref())))
}
