//! `create` and `run`: makes a container; `run` starts it, too, and waits for it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::cgroup::Kills;
use crate::container::Status;
use crate::error::{Context, Error, Result};
use crate::launch::console;
use crate::launch::console::Signals;
use crate::launch::create;
use crate::launch::create::{Newborn, Orders};
use crate::launch::start::{self as starting, order_start};
use crate::launch::{hooks, sd_notify};
use crate::plan::Request;
use crate::sys;

use super::{Shell, bundle, delete, fault, inherited_fds};

/// What both take.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// The id.
    pub id: String,
    /// `--bundle`
    pub bundle: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--give-fifos`
    pub give_fifos: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
}

/// What only `run` takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Foreground {
    /// `--detach`
    pub detach: bool,
    /// `--keep`
    pub keep: bool,
    /// `--no-subreaper`
    pub no_subreaper: bool,
}

fn orders<'a>(shell: &'a Shell<'_>, options: &'a Options, start_later: bool, detached: bool) -> Result<Orders<'a>> {
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
    Ok(Orders {
        store: &shell.store,
        request,
        pid_file: options.pid_file.as_deref(),
        detached,
        give_fifos: options.give_fifos,
        console_socket: options.console_socket.as_deref(),
        warn: shell.warn,
        debug: shell.debug,
        rootless: shell.rootless,
        manager: shell.manager,
        notify,
    })
}

/// A name that nobody could have given to a keyring of his before: joining is by name.
fn keyring_name(id: &str) -> Result<String> {
    let random = sys::random().context("getrandom")?;
    Ok(format!("_ses.{id}.{random:016x}"))
}

fn hand_over(newborn: &Newborn, options: &Options) -> Result<()> {
    match (&options.console_socket, &newborn.console) {
        (Some(path), Some(master)) => console::send_fd(path, master.as_fd(), "/dev/ptmx")?,
        (None, Some(master)) => console::copy_window_size(master),
        (_, None) => {}
    }
    if let Some(path) = &options.pidfd_socket {
        console::send_fd(path, newborn.child.get()?.pidfd.as_fd(), "pidfd")?;
    }
    Ok(())
}

/// `create`
///
/// # Errors
/// See [`create::create`].
pub fn create(shell: &Shell<'_>, options: &Options) -> Result<()> {
    let orders = orders(shell, options, true, true)?;
    let mut newborn = create::create(&orders)?;
    if let Err(error) = hand_over(&newborn, options) {
        undo(newborn, options, shell.warn);
        return Err(error);
    }
    // It lives on without us.
    newborn.net_devices.keep();
    drop(newborn.child.release());
    Ok(())
}

/// The exit code of a program that was killed does not tell that it was for want of memory.
pub(super) fn tell_memory_death(code: &Result<u8>, kills: &Kills<'_>, warn: &dyn Fn(&str)) {
    if let (Ok(137), Some(told)) = (code, kills.told()) {
        warn(&told);
    }
}

/// A container that must not live after all.
fn undo(newborn: Newborn, options: &Options, warn: &dyn Fn(&str)) {
    let Newborn { container, child, mut net_devices, .. } = newborn;
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
pub fn run(shell: &Shell<'_>, options: &Options, foreground: Foreground) -> Result<u8> {
    let orders = orders(shell, options, false, foreground.detach)?;
    if !foreground.detach && !foreground.no_subreaper {
        sys::become_subreaper().map_err(|errno| Error::new(format!("prctl PR_SET_CHILD_SUBREAPER: {errno:?}")))?;
    }
    let mut newborn = create::create(&orders)?;
    let signals = (!foreground.detach).then(Signals::block).transpose();
    let own = newborn.container.memory_limited().then(|| newborn.container.cgroup()).flatten();
    let kills = Kills::from_now(own.as_ref());
    let started = signals.and_then(|signals| start(&mut newborn, options, &orders).map(|()| signals));
    let started = match started {
        // Nobody waits for it who could tell.
        Ok(None) => starting::not_killed_at_once(newborn.child.get()?.pidfd.as_fd(), &kills).map(|()| None),
        other => other,
    };
    let signals = match started {
        Ok(signals) => signals,
        Err(error) => {
            undo(newborn, options, shell.warn);
            return Err(error);
        }
    };
    let Some(signals) = signals else {
        drop(newborn.child.release());
        return Ok(0);
    };
    let code = console::supervise(newborn.child.get()?, &signals, newborn.console.as_ref());
    tell_memory_death(&code, &kills, shell.warn);
    // Reaped, or not ours to reap again.
    drop(newborn.child.release());
    if foreground.keep {
        return code;
    }
    let removed = delete::destroy(newborn.container, shell.warn);
    let code = code?;
    removed.map(|()| code)
}

fn start(newborn: &mut Newborn, options: &Options, orders: &Orders<'_>) -> Result<()> {
    hand_over(newborn, options)?;
    let container = &newborn.container;
    let listener = orders.notify.as_ref().map(|_| sd_notify::Listener::bind(container.path())).transpose()?;
    let pid = newborn.child.get()?.pid;
    let mut agent = starting::agent(container, container.filter_at_start())?;
    let hand_over = |fd| starting::hand_over(container, Status::Created, agent.take(), &fd, pid);
    order_start(&newborn.conversation, hand_over, || ())?;
    // The program may have changed them, or put others in their place.
    newborn.net_devices.keep();
    crate::launch::fault::poststart_fault(&orders.request)?;
    if !newborn.poststart.is_empty() {
        hooks::run(&newborn.poststart, &container.state_json(Status::Running)?)?;
    }
    sd_notify::wait(listener.as_ref(), newborn.child.get()?, orders.notify.as_deref())
}
