//! What does an init say until the container is made, and what is done then?
//!
//! Runs where [`create`](super::create) does.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use cleat_plan::Step;
use cleat_plan::wire::{Failure, FromInit, ToInit};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::cgroup::Kills;
use crate::error::{Context, Error, Result, errno_text};
use crate::path::Proc;
use crate::state::{self, Record, Reserved, Status};
use crate::sys::{self, Child};
use crate::wire::{Conversation, Heard, failure_text};
use crate::{hooks, idmap, listener};

use super::{Birth, ChildGuard};

/// Listens to an init until the container is made.
pub(super) struct Midwife<'a, 'b> {
    pub(super) birth: &'a Birth<'b>,
    pub(super) conversation: &'a Conversation,
    pub(super) child: ChildGuard,
    pub(super) console: Option<OwnedFd>,
    pub(super) kills: Kills<'a>,
    /// The process that forked: nobody waits for its end until there is time.
    pub(super) half_way: Option<ChildGuard>,
}

impl Midwife<'_, '_> {
    /// Until it is ready to start.
    pub(super) fn attend(&mut self, record: &mut Record, reserved: &Reserved) -> Result<()> {
        loop {
            match self.conversation.hear()? {
                Heard::Message(FromInit::Forked, Some(pidfd)) if self.birth.plan.init.fork.is_some() => {
                    self.half_way = Some(std::mem::replace(&mut self.child, forked(pidfd)?));
                }
                Heard::Message(FromInit::Unshared, None) if self.birth.plan.init.unshare != 0 => {
                    if let Some(maps) = self.birth.plan.host.id_maps.as_ref() {
                        idmap::write(self.child.get()?.pid, maps)?;
                        self.conversation.say(ToInit::Mapped)?;
                    }
                    if self.birth.plan.init.late_fds > 0 {
                        self.birth.send_late_fds(self.conversation, self.child.get()?)?;
                    }
                }
                Heard::Message(FromInit::Console, Some(master)) => self.console = Some(master),
                Heard::Message(FromInit::Listener, Some(fd)) => {
                    let pid = self.child.get()?.pid;
                    let state = state::state_json(record, Status::Creating, pid)?;
                    let listener = self.birth.plan.host.seccomp.as_ref().and_then(|f| f.listener.as_ref());
                    listener::hand_over(listener, None, &fd, &state, pid)?;
                    self.conversation.say(ToInit::ListenerTaken)?;
                }
                Heard::Message(FromInit::RunHooks, None) => {
                    // After most that can go wrong: routes of the host over a device do not come back.
                    self.birth.faults.at(Step::NetDevices)?;
                    self.birth.moved.borrow_mut().take(&self.birth.plan.host.net_devices, self.child.get()?)?;
                    self.birth.faults.at(Step::RuntimeHooks)?;
                    let pid = self.child.get()?.pid;
                    self.birth.set_pid(record, pid)?;
                    // A hook may ask `cleat state`.
                    reserved.save(record)?;
                    hooks::run(
                        &self.birth.plan.host.runtime_hooks,
                        &state::state_json(record, Status::Creating, pid)?,
                    )?;
                    self.conversation.say(ToInit::HooksDone)?;
                }
                // Without the word about its child it is not the process that we know.
                Heard::Message(FromInit::Ready, None)
                    if self.birth.plan.init.fork.is_some() == self.half_way.is_some() =>
                {
                    return Ok(());
                }
                Heard::Message(FromInit::NoKeyring(errno), None) => (self.birth.orders.warn)(&no_keyring(errno)),
                Heard::Message(FromInit::Failed(failure), _) => return Err(failed(&failure, &self.kills)),
                Heard::Message(..) => return Err(Error::new("the init sent a message out of turn")),
                Heard::Closed => return Err(death(&self.child, &self.kills)),
            }
        }
    }
}

/// A process has the session keyring of whoever called.
pub(crate) fn no_keyring(errno: i32) -> String {
    format!(
        "no session keyring of its own can be made, it has the caller's: keyctl: {}; a filter of system calls that \
         cleat is under may forbid it",
        errno_text(nix::errno::Errno::from_raw(errno))
    )
}

/// A step that the init could not do, with what the container's limits may have to do with it.
pub(crate) fn failed(failure: &Failure, kills: &Kills<'_>) -> Error {
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
pub(crate) fn death(child: &ChildGuard, kills: &Kills<'_>) -> Error {
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

/// The half-way process ends; its sibling goes on.
pub(crate) fn forked(pidfd: OwnedFd) -> Result<ChildGuard> {
    let info = Proc::open()?
        .read(&format!("{}/fdinfo/{}", std::process::id(), pidfd.as_raw_fd()))
        .context("read fdinfo of a pidfd")?;
    let pid =
        info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| Error::new("the container's process is gone"))?;
    // Whoever may have taken over the init's end of the conversation: only a child of ours is
    // trusted, signalled and limited.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::PIDFd(pidfd.as_fd()), flags).context("the process that the init told of is no child of ours")?;
    Ok(ChildGuard::new(Child { pid, pidfd }))
}
