//! `restore`: makes a container whose processes come from a checkpoint.

use std::os::fd::AsFd;

use crate::checkpoint::restore;
use crate::checkpoint::restore::RestoredContainer;
use crate::cli;
use crate::error::{Error, Result};
use crate::launch::console;
use crate::launch::console::Signals;
use crate::launch::create::CreateParameters;
use crate::plan::Request;
use crate::sys;

use super::create::tell_memory_death;
use super::{Shell, bundle, delete, fault, inherited_fds};

/// `restore`: the exit code is that of the program.
///
/// # Errors
/// See [`restore::restore`]. Nothing is left behind.
pub fn restore(shell: &Shell<'_>, options: &cli::Restore) -> Result<u8> {
    inherited_fds(shell, 0)?;
    let create = cli::Create {
        bundle: options.bundle.clone(),
        config: None,
        console_socket: options.console_socket.clone(),
        pidfd_socket: None,
        pid_file: options.pid_file.clone(),
        no_pivot: false,
        no_new_keyring: true,
        give_fifos: options.give_fifos,
        preserve_fds: 0,
        id: options.id.clone(),
    };
    let request = Request {
        id: options.id.clone(),
        bundle: bundle(options.bundle.as_deref())?,
        fault: fault()?,
        ..Request::default()
    };
    let parameters = CreateParameters {
        store: &shell.store,
        request,
        options: &create,
        detached: options.detach,
        warn: shell.warn,
        debug: shell.debug,
        rootless: shell.rootless,
        manager: shell.manager,
        notify: None,
    };
    if !options.detach && !options.no_subreaper {
        sys::become_subreaper().map_err(|errno| Error::new(format!("prctl PR_SET_CHILD_SUBREAPER: {errno:?}")))?;
    }
    let signals = (!options.detach).then(Signals::block).transpose()?;
    let mut restored = restore::restore(&parameters, options)?;
    if let Err(error) = hand_over(&mut restored, options) {
        undo(restored, options, shell.warn);
        return Err(error);
    }
    restored.net_devices.keep();
    let Some(signals) = signals else {
        restored.child.release();
        return Ok(0);
    };
    let own = restored.container.memory_limited().then(|| restored.container.cgroup()).flatten();
    let oom = crate::cgroup::OomWatch::from_now(own.as_ref());
    let code = console::supervise(restored.child.get(), &signals, restored.console.take());
    tell_memory_death(&code, &oom, shell.report);
    restored.child.release();
    let removed = delete::destroy(restored.container, shell.report);
    let code = code?;
    removed.map(|()| code)
}

fn hand_over(restored: &mut RestoredContainer, options: &cli::Restore) -> Result<()> {
    match (&options.console_socket, restored.console.take()) {
        (Some(path), Some(master)) => console::send_fd(path, master.as_fd(), "/dev/ptmx"),
        (Some(_), None) => Err(Error::new("the checkpoint has no terminal, and config.json asks for one")
            .remedy("restore it with the config.json that it was made with")),
        (None, console) => {
            if let Some(master) = &console {
                console::prepare(master);
            }
            restored.console = console;
            Ok(())
        }
    }
}

/// A container that must not live after all.
fn undo(restored: RestoredContainer, options: &cli::Restore, warn: &dyn Fn(&str)) {
    let RestoredContainer { container, child, mut net_devices, .. } = restored;
    drop(child);
    net_devices.bring_back(warn);
    let _ = delete::destroy(container, &|_| {});
    if let Some(path) = &options.pid_file {
        let _ = std::fs::remove_file(path);
    }
}
