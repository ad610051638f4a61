//! How is the order to start given, and how is it known that the program runs?

use std::os::fd::{BorrowedFd, OwnedFd};

use cleat_plan::wire::{FromInit, ToInit};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::cgroup::OomWatch;
use crate::container::{Container, Status};
use crate::error::{Context, Error, Result};
use crate::launch::channel::{Channel, Received, failure_error};
use crate::launch::console::Connection;
use crate::launch::seccomp_agent;

/// Orders the start and waits for its result: the channel closes when the program runs, or when the
/// init has ended because a `startContainer` hook failed or execve(2) did: as with runc, that is told on the
/// container's standard error, and by its exit status. There is time to do something `meanwhile`.
///
/// # Errors
/// A limit or the filter could not be set; or `listener` failed, which gets the descriptor of a seccomp filter
/// that asks others: then the program may run, and must not.
pub fn order_start(
    channel: &Channel,
    mut listener: impl FnMut(OwnedFd) -> Result<()>,
    meanwhile: impl FnOnce(),
) -> Result<()> {
    channel.send(ToInit::Go)?;
    meanwhile();
    loop {
        match channel.recv()? {
            Received::Closed => return Ok(()),
            Received::Message(FromInit::Listener, Some(fd)) => listener(fd)?,
            Received::Message(FromInit::Failed(failure), _) => {
                return Err(failure_error(&failure));
            }
            Received::Message(..) => return Err(Error::new("the init sent a message out of turn")),
        }
    }
}

/// The channel of a start closes with the program's first instruction, or with a death before it:
/// an OOM kill, where the kernel says so.
///
/// # Errors
/// It was killed.
pub fn not_killed_at_once(pidfd: BorrowedFd<'_>, oom: &OomWatch<'_>) -> Result<()> {
    let Some(message) = oom.message() else { return Ok(()) };
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    // Who was killed needs a moment to go; it may have been another one.
    match nix::poll::poll(&mut fds, PollTimeout::from(1000u16)).context("poll")? {
        0 => Ok(()),
        _ => Err(Error::new(message)),
    }
}

/// A connection to who decides for a container's seccomp filter, if that is loaded `at_start`:
/// before the order to start, since a program whose calls nobody answers for must not run.
///
/// # Errors
/// Nobody listens there.
pub fn agent(container: &Container, at_start: bool) -> Result<Option<Connection>> {
    container.listener().filter(|_| at_start).map(seccomp_agent::connect).transpose()
}

/// Hands the listener of a container's seccomp filter over, on a `connection` if there is one.
///
/// # Errors
/// Nobody takes it.
pub fn hand_over(
    container: &Container,
    status: Status,
    connection: Option<Connection>,
    fd: &OwnedFd,
    pid: i32,
) -> Result<()> {
    seccomp_agent::hand_over(container.listener(), connection, fd, &container.state_json(status)?, pid)
}
