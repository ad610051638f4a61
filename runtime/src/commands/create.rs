//! `create` and `run`: makes a container; `run` starts it, too, and waits for it.

use std::os::fd::AsFd;
use std::path::Path;

use crate::cgroup::OomWatch;
use crate::cli::{Create, Run};
use crate::container::Status;
use crate::error::{Context, Error, Result};
use crate::launch::console;
use crate::launch::console::Signals;
use crate::launch::create;
use crate::launch::create::{CreateParameters, CreatedContainer};
use crate::launch::start::{self as starting, order_start};
use crate::launch::{hooks, sd_notify};
use crate::plan::Request;
use crate::sys;

use super::{Shell, bundle, delete, fault, inherited_fds};

fn parameters<'a>(
    shell: &'a Shell<'_>,
    options: &'a Create,
    start_later: bool,
    detached: bool,
) -> Result<CreateParameters<'a>> {
    let (preserve_fds, listen_fds) = inherited_fds(shell, options.preserve_fds)?;
    let notify = sd_notify::of_caller();
    let request = Request {
        id: options.id.clone(),
        bundle: bundle(options.bundle.as_deref())?,
        no_pivot: options.no_pivot,
        keyring: (!options.no_new_keyring).then(|| keyring_name(&options.id)).transpose()?,
        preserve_fds,
        listen_fds,
        listen_fdnames: super::listen_fdnames(listen_fds),
        start_later,
        notify_dir: notify.as_ref().map(|_| sd_notify::directory(&shell.store.directory(&options.id))),
        fault: fault()?,
    };
    Ok(CreateParameters {
        store: &shell.store,
        request,
        options,
        detached,
        warn: shell.warn,
        debug: shell.debug,
        rootless: shell.rootless,
        manager: shell.manager,
        notify,
    })
}

/// A name that nobody could have given to another keyring before: joining is by name.
fn keyring_name(id: &str) -> Result<String> {
    let random = sys::random().context("getrandom")?;
    Ok(format!("_ses.{id}.{random:016x}"))
}

fn hand_over(created: &CreatedContainer, options: &Create) -> Result<()> {
    match (&options.console_socket, &created.console) {
        (Some(path), Some(master)) => console::send_fd(path, master.as_fd(), "/dev/ptmx")?,
        (None, Some(master)) => console::prepare(master),
        (_, None) => {}
    }
    if let Some(path) = &options.pidfd_socket {
        console::send_fd(path, created.child.get().pidfd.as_fd(), "pidfd")?;
    }
    Ok(())
}

/// `create`
///
/// # Errors
/// See [`create::create`].
pub fn create(shell: &Shell<'_>, options: &Create) -> Result<()> {
    let parameters = parameters(shell, options, true, true)?;
    let mut created = create::create(&parameters)?;
    if let Err(error) = hand_over(&created, options) {
        undo(created, options, shell.warn);
        return Err(error);
    }
    // It lives on without us.
    created.net_devices.keep();
    created.child.release();
    Ok(())
}

/// The exit code of a program that was killed does not show that it was OOM-killed.
pub(super) fn tell_memory_death(code: &Result<u8>, oom: &OomWatch<'_>, warn: &dyn Fn(&str)) {
    if let (Ok(137), Some(message)) = (code, oom.message()) {
        warn(&message);
    }
}

/// A container that must not live after all.
fn undo(created: CreatedContainer, options: &Create, warn: &dyn Fn(&str)) {
    let CreatedContainer { container, child, mut net_devices, .. } = created;
    drop(child);
    net_devices.bring_back(warn);
    let _ = delete::destroy(container, &|_| {});
    if let Some(path) = &options.pid_file {
        let _ = std::fs::remove_file(Path::new(path));
    }
}

/// `run`: the exit code is that of the program.
///
/// # Errors
/// See [`create::create`]; a `poststart` hook failed. Nothing is left behind.
pub fn run(shell: &Shell<'_>, options: &Create, foreground: Run) -> Result<u8> {
    let parameters = parameters(shell, options, false, foreground.detach)?;
    if !foreground.detach && !foreground.no_subreaper {
        sys::become_subreaper().map_err(|errno| Error::new(format!("prctl PR_SET_CHILD_SUBREAPER: {errno:?}")))?;
    }
    let mut created = create::create(&parameters)?;
    let signals = (!foreground.detach).then(Signals::block).transpose();
    let own = created.container.memory_limited().then(|| created.container.cgroup()).flatten();
    let oom = OomWatch::from_now(own.as_ref());
    let started = signals.and_then(|signals| start(&mut created, options, &parameters).map(|()| signals));
    let started = match started {
        // Nobody waits for it who could report it.
        Ok(None) => starting::not_killed_at_once(created.child.get().pidfd.as_fd(), &oom).map(|()| None),
        other => other,
    };
    let signals = match started {
        Ok(signals) => signals,
        Err(error) => {
            undo(created, options, shell.warn);
            return Err(error);
        }
    };
    let Some(signals) = signals else {
        created.child.release();
        return Ok(0);
    };
    let code = console::supervise(created.child.get(), &signals, created.console.take());
    tell_memory_death(&code, &oom, shell.report);
    // Reaped, or not ours to reap again.
    created.child.release();
    if foreground.keep {
        return code;
    }
    let removed = delete::destroy(created.container, shell.report);
    let code = code?;
    removed.map(|()| code)
}

fn start(created: &mut CreatedContainer, options: &Create, parameters: &CreateParameters<'_>) -> Result<()> {
    hand_over(created, options)?;
    let container = &created.container;
    let listener = parameters.notify.as_ref().map(|_| sd_notify::Listener::bind(container.path())).transpose()?;
    let pid = created.child.get().pid;
    let mut agent = starting::agent(container, container.filter_at_start())?;
    let hand_over = |fd| starting::hand_over(container, Status::Created, agent.take(), &fd, pid);
    order_start(&created.channel, hand_over, || ())?;
    // The program may have changed them, or put others in their place.
    created.net_devices.keep();
    crate::launch::fault::poststart_fault(&parameters.request)?;
    if !created.poststart.is_empty() {
        let state = container.state_json(Status::Running)?;
        let (bundle, log) = (&container.record.cleat.bundle, &container.hook_log());
        hooks::run(&created.poststart, &hooks::Runner { bundle, state: &state, log })?;
    }
    sd_notify::wait(listener.as_ref(), created.child.get(), parameters.notify.as_deref())
}
