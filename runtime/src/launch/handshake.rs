//! What does an init say until its process is ready, and who is that process?
//!
//! Runs where [`create`](super::create) and [`exec`](super::exec) do.

use std::os::fd::{AsFd, OwnedFd};

use cleat_plan::Step;
use cleat_plan::wire::{Failure, FromInit};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::child::{ChildGuard, forked};
use crate::cgroup::Kills;
use crate::error::{Context, Error, Result, errno_text};
use crate::launch::channel::{Conversation, Heard, failure_text};
use crate::sys::{self, Child};

/// The host's side of it, for a process that is made and for one that joins: messages that mean the same
/// for both are answered here.
pub(super) struct Handshake<'a> {
    channel: &'a Conversation,
    child: ChildGuard,
    console: Option<OwnedFd>,
    kills: Kills<'a>,
    /// The init goes on in a child.
    forks: bool,
    /// The process that forked: nobody waits for its end until there is time.
    intermediate: Option<ChildGuard>,
    warn: &'a dyn Fn(&str),
}

/// What the init needs, or is.
pub(super) enum Event {
    /// Its namespaces are there: mappings, descriptors.
    Unshared,
    /// Network devices and hooks of the host.
    RunHooks,
    /// The descriptor that decides for its filter is to be handed over.
    Listener(OwnedFd),
    /// It waits for the order to start.
    Ready,
}

/// A process that is ready.
pub(super) struct Ready {
    pub(super) child: ChildGuard,
    /// Its terminal's master.
    pub(super) console: Option<OwnedFd>,
    pub(super) intermediate: Option<ChildGuard>,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(
        channel: &'a Conversation,
        child: ChildGuard,
        forks: bool,
        kills: Kills<'a>,
        warn: &'a dyn Fn(&str),
    ) -> Handshake<'a> {
        Handshake { channel, child, console: None, kills, forks, intermediate: None, warn }
    }

    /// The process that becomes the program, as far as is known.
    pub(super) fn child(&self) -> Result<&Child> {
        self.child.get()
    }

    /// Waits for the next thing to do.
    ///
    /// # Errors
    /// A step of the init failed, or it has ended.
    pub(super) fn next(&mut self) -> Result<Event> {
        loop {
            match self.channel.hear()? {
                Heard::Message(FromInit::Forked, Some(pidfd)) if self.forks && self.intermediate.is_none() => {
                    self.intermediate = Some(std::mem::replace(&mut self.child, forked(pidfd)?));
                }
                Heard::Message(FromInit::Console, Some(master)) => self.console = Some(master),
                Heard::Message(FromInit::Unshared, None) => return Ok(Event::Unshared),
                Heard::Message(FromInit::RunHooks, None) => return Ok(Event::RunHooks),
                Heard::Message(FromInit::Listener, Some(fd)) => return Ok(Event::Listener(fd)),
                // Without the word about its child it is not the process that we know.
                Heard::Message(FromInit::Ready, None) if self.forks == self.intermediate.is_some() => {
                    return Ok(Event::Ready);
                }
                Heard::Message(FromInit::NoKeyring(errno), None) => (self.warn)(&no_keyring(errno)),
                Heard::Message(FromInit::Failed(failure), _) => return Err(failed(&failure, &self.kills)),
                Heard::Message(..) => return Err(out_of_turn()),
                Heard::Closed => return Err(death(&self.child, &self.kills)),
            }
        }
    }

    pub(super) fn ready(self) -> Ready {
        Ready { child: self.child, console: self.console, intermediate: self.intermediate }
    }

    /// Ends the process that may have been made while it was given up: a sibling of the one that is
    /// known. Nobody else would wait for it, and the container's pid namespace could not end.
    pub(super) fn end(self) {
        let heard = self.intermediate.is_some();
        drop(self.child);
        drop(self.intermediate);
        while let (true, Ok(Heard::Message(message, fd))) = (self.forks && !heard, self.channel.hear()) {
            if let (FromInit::Forked, Some(pidfd)) = (message, fd) {
                drop(forked(pidfd));
                return;
            }
        }
    }
}

/// What no init of ours says then.
pub(super) fn out_of_turn() -> Error {
    Error::new("the init sent a message out of turn")
}

/// A process has the session keyring of whoever called.
fn no_keyring(errno: i32) -> String {
    format!(
        "no session keyring of its own can be made, it has the caller's: keyctl: {}; a filter of system calls that \
         cleat is under may forbid it",
        errno_text(nix::errno::Errno::from_raw(errno))
    )
}

/// A step that the init could not do, with what the container's limits may have to do with it.
fn failed(failure: &Failure, kills: &Kills<'_>) -> Error {
    let text = failure_text(failure);
    match (nix::errno::Errno::from_raw(failure.errno), kills.cgroup()) {
        (nix::errno::Errno::EAGAIN, Some(cgroup)) if failure.step == Step::PidNamespace => Error::new(format!(
            "{text}; {}; to enter a pid namespace takes two processes for a moment, of which the first is among these",
            cgroup.process_refusal()
        )),
        (nix::errno::Errno::EAGAIN, Some(cgroup)) => Error::new(format!("{text}; {}", cgroup.process_refusal())),
        _ => kills.explain(Error::new(text)),
    }
}

/// Why a process that should have spoken did not.
fn death(child: &ChildGuard, kills: &Kills<'_>) -> Error {
    if let Some(told) = kills.told() {
        return Error::new(told);
    }
    let status = child.get().and_then(|child| {
        let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        // It closed its socket because it ended, or somebody closed it for it.
        match nix::poll::poll(&mut fds, PollTimeout::from(1000u16)).context("poll")? {
            0 => Err(Error::new("it does not answer any more")),
            _ => sys::wait_for(child.pid).context("wait"),
        }
    });
    Error::new(match status {
        Ok(status) if nix::libc::WIFSIGNALED(status) => {
            format!(
                "the container's first process was killed by signal {} while it was set up",
                nix::libc::WTERMSIG(status)
            )
        }
        Ok(status) => match nix::libc::WEXITSTATUS(status) {
            71 => "the init could not be executed from its memfd; is vm.memfd_noexec set to 2?".into(),
            code => format!("the container's first process ended with status {code} while it was set up"),
        },
        Err(error) => format!("the container's first process is gone: {error}"),
    })
}
