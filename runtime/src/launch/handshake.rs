//! Which messages does an init send until its process is ready, and which process is it?
//!
//! Runs where [`create`](super::create) and [`exec`](super::exec) do.

use std::os::fd::{AsFd, OwnedFd};

use cleat_plan::seccomp::Load;
use cleat_plan::wire::{Failure, FromInit};
use cleat_plan::{Fork, Plan, Step};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::child::{ChildGuard, forked};
use crate::cgroup::OomWatch;
use crate::error::{Context, Error, Result, errno_text};
use crate::launch::channel::{Channel, Received, failure_error, failure_text};
use crate::sys::{self, Child};

/// The host's side of it, for a process that is made and for one that joins: messages that mean the same
/// for both are answered here.
///
/// Each message is taken once, and what the host does for it happens while nobody else can reach the init.
/// In a shared pid namespace others may trace the process that goes on, and speak in its place: who asked
/// then would be given mounts of the host before they are read-only, or have hooks called again.
pub(super) struct Handshake<'a> {
    channel: &'a Channel,
    child: ChildGuard,
    console: Option<OwnedFd>,
    oom: OomWatch<'a>,
    /// The init goes on in a child.
    forks: Option<Fork>,
    /// What it has still to say.
    expected: Expected,
    /// The process that forked: nobody waits for its end until there is time.
    intermediate: Option<ChildGuard>,
    warn: &'a dyn Fn(&str),
}

/// Messages of a plan.
struct Expected {
    console: bool,
    unshared: bool,
    hooks: bool,
    listener: bool,
}

impl Expected {
    fn of(plan: &Plan) -> Expected {
        let filter = plan.process.as_ref().and_then(|process| process.seccomp.as_ref());
        Expected {
            console: plan.terminal.is_some(),
            unshared: plan.unshare != 0,
            hooks: plan.runtime_hooks,
            listener: filter.is_some_and(|filter| filter.listener && filter.load == Load::Early),
        }
    }
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
        channel: &'a Channel,
        child: ChildGuard,
        plan: &Plan,
        oom: OomWatch<'a>,
        warn: &'a dyn Fn(&str),
    ) -> Handshake<'a> {
        let expected = Expected::of(plan);
        Handshake { channel, child, console: None, oom, forks: plan.fork, expected, intermediate: None, warn }
    }

    /// Whether the process may be in reach of others.
    fn is_seen(&self) -> bool {
        self.forks == Some(Fork::Joined) && self.intermediate.is_some()
    }

    /// The process that becomes the program, as far as is known.
    pub(super) fn child(&self) -> &Child {
        self.child.get()
    }

    /// Waits for the next thing to do.
    ///
    /// # Errors
    /// A step of the init failed, or it has ended.
    pub(super) fn next(&mut self) -> Result<Event> {
        loop {
            match self.channel.recv()? {
                Received::Message(FromInit::Forked, Some(pidfd))
                    if self.forks.is_some() && self.intermediate.is_none() =>
                {
                    self.intermediate = Some(std::mem::replace(&mut self.child, forked(pidfd)?));
                }
                Received::Message(FromInit::Console, Some(master)) if self.expected.console && !self.is_seen() => {
                    self.expected.console = false;
                    self.console = Some(master);
                }
                Received::Message(FromInit::Unshared, None) if self.expected.unshared && !self.is_seen() => {
                    self.expected.unshared = false;
                    return Ok(Event::Unshared);
                }
                Received::Message(FromInit::RunHooks, None) if self.expected.hooks && !self.is_seen() => {
                    self.expected.hooks = false;
                    return Ok(Event::RunHooks);
                }
                Received::Message(FromInit::Listener, Some(fd)) if self.expected.listener => {
                    self.expected.listener = false;
                    return Ok(Event::Listener(fd));
                }
                // Without the word about its child it is not the process that we know.
                Received::Message(FromInit::Ready, None) if self.forks.is_some() == self.intermediate.is_some() => {
                    return Ok(Event::Ready);
                }
                Received::Message(FromInit::NoKeyring(errno), None) => (self.warn)(&no_keyring(errno)),
                Received::Message(FromInit::Failed(failure), _) => return Err(failed(&failure, &self.oom)),
                Received::Message(..) => return Err(out_of_turn()),
                Received::Closed => return Err(death(&self.child, &self.oom)),
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
        while let (true, Ok(Received::Message(message, fd))) = (self.forks.is_some() && !heard, self.channel.recv()) {
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

/// A process has its caller's session keyring.
fn no_keyring(errno: i32) -> String {
    format!(
        "no session keyring of its own can be made, it has the caller's: keyctl: {}; a filter of system calls that \
         cleat is under may forbid it",
        errno_text(nix::errno::Errno::from_raw(errno))
    )
}

/// A step that the init could not do, with what the container's limits may have to do with it.
fn failed(failure: &Failure, oom: &OomWatch<'_>) -> Error {
    let text = failure_text(failure);
    match (nix::errno::Errno::from_raw(failure.errno), oom.cgroup()) {
        (nix::errno::Errno::EAGAIN, Some(cgroup)) if failure.step == Step::PidNamespace => Error::new(text.to_string())
            .remedy(format_args!(
                "{}; to enter a pid namespace takes two processes for a moment, of which the first is among these",
                cgroup.process_refusal()
            )),
        (nix::errno::Errno::EAGAIN, Some(cgroup)) => {
            Error::new(text.to_string()).remedy(format_args!("{}", cgroup.process_refusal()))
        }
        _ => oom.annotate(failure_error(failure)),
    }
}

/// Why a process that should have spoken did not.
fn death(child: &ChildGuard, oom: &OomWatch<'_>) -> Error {
    if let Some(message) = oom.message() {
        return Error::new(message);
    }
    Error::new(match end_of(child.get()) {
        Ok(status) if nix::libc::WIFSIGNALED(status) => {
            format!(
                "the container's first process was killed by signal {} while it was set up",
                nix::libc::WTERMSIG(status)
            )
        }
        Ok(status) => match nix::libc::WEXITSTATUS(status) {
            71 => "the init could not be executed; does a security module forbid it?".into(),
            code => format!("the container's first process ended with status {code} while it was set up"),
        },
        Err(error) => format!("the container's first process is gone: {error}"),
    })
}

/// The wait status of a process that closed its socket because it ended, or for which somebody closed it.
fn end_of(child: &Child) -> Result<i32> {
    let mut fds = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
    match nix::poll::poll(&mut fds, PollTimeout::from(1000u16)).context("poll")? {
        0 => Err(Error::new("it does not answer any more")),
        _ => sys::wait_for(child.pid).context("wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleat_plan::wire;
    use std::process::Command;

    /// A child that lives until its guard goes, with a descriptor of it.
    #[allow(clippy::zombie_processes, reason = "its guard waits for it")]
    fn child() -> (ChildGuard, OwnedFd) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = sys::pidfd_open(pid).unwrap();
        (ChildGuard::new(Child { pid, pidfd: pidfd.try_clone().unwrap() }), pidfd)
    }

    fn say(to: &Channel, message: &FromInit, fd: Option<&OwnedFd>) {
        let fds: Vec<_> = fd.into_iter().map(AsFd::as_fd).collect();
        to.send_bytes(&wire::encode(message).unwrap(), &fds).unwrap();
    }

    /// Boundary 4: who traces the process in a shared pid namespace speaks in its place.
    #[test]
    fn boundary_4_what_comes_again_or_from_who_is_seen_is_out_of_turn() {
        let plan = Plan { unshare: 1, runtime_hooks: true, fork: Some(Fork::Joined), ..Plan::default() };
        for (first, then) in [
            (&[FromInit::Unshared, FromInit::RunHooks][..], FromInit::Unshared),
            (&[FromInit::Unshared, FromInit::RunHooks], FromInit::RunHooks),
            (&[FromInit::RunHooks], FromInit::Unshared),
            (&[FromInit::Unshared], FromInit::RunHooks),
        ] {
            for forked in [false, true] {
                let again = first.contains(&then);
                let (ours, theirs) = Channel::pair().unwrap();
                let theirs = Channel::over(theirs);
                let (guard, _) = child();
                let mut handshake = Handshake::new(&ours, guard, &plan, OomWatch::from_now(None), &|_| ());
                for message in first {
                    say(&theirs, message, None);
                    assert!(matches!(handshake.next().unwrap(), Event::Unshared | Event::RunHooks));
                }
                let second = forked.then(child);
                if let Some((_, pidfd)) = &second {
                    say(&theirs, &FromInit::Forked, Some(pidfd));
                }
                say(&theirs, &then, None);
                let taken = handshake.next();
                assert_eq!(taken.is_ok(), !again && !forked, "{then:?} after {first:?}, seen by others: {forked}");
                drop(theirs);
                // The guard of a child that the handshake knows is the handshake's.
                second.into_iter().for_each(|(guard, _)| guard.release());
            }
        }
    }
}
