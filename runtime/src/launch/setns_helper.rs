//! How does something happen in other namespaces, while this process stays at home?
//!
//! Host half. From the namespaces of others an ordinary user cannot come back: a copy of this
//! process goes there instead, does one thing, and sends back what it has by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::CloneFlags;

use crate::error::{Context, Error, Result};
use crate::launch::channel::Channel;
use crate::launch::child::ChildGuard;
use crate::sys::path::Proc;
use crate::sys::{self, Child};

/// Longest error that a copy of this process can send.
const MAX_ERROR: usize = 4096;

/// Has a copy of this process `enter` somewhere and open each of a list there.
fn files_of_a_copy<T>(
    enter: impl FnOnce() -> Result<()>,
    list: &[T],
    open: impl Fn(&T) -> Result<OwnedFd>,
) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = Channel::pair()?;
    let theirs = Channel::over(theirs);
    let copy = sys::in_copy(0, || {
        let work = || enter().and_then(|()| list.iter().try_for_each(|one| theirs.send_file(open(one)?.as_fd())));
        let outcome = work().or_else(|error| theirs.send_text(&error.to_string()));
        u8::from(outcome.is_err())
    });
    let copy = copy.map(ChildGuard::new).context("clone3")?;
    drop(theirs);
    let mut text = [0; MAX_ERROR];
    let files = list.iter().map(|_| match sys::receive(ours.as_fd(), &mut text).context("recvmsg")? {
        (1, mut fds) if fds.len() == 1 => fds.pop().ok_or_else(|| Error::new("no descriptor")),
        (0, _) => Err(Error::new("the copy of this process that enters other namespaces has ended")),
        (length, _) => Err(Error::new(String::from_utf8_lossy(&text[..length]))),
    });
    let files = files.collect();
    drop(copy);
    files
}

/// Opens each of a list in the mount namespace of a child: copies of mounts made there keep the
/// locks by which a user namespace cannot undo what the host has mounted.
///
/// Root takes its privileges along. An ordinary user has them only as the owner of the child's user
/// namespace, so he enters that, too, still with his own id, which it need not map: what is his is
/// in his reach there.
///
/// # Errors
/// Those of `open`, and of the way there.
pub(crate) fn open_in_mounts_of<T>(
    child: &Child,
    list: &[T],
    open: impl Fn(&T) -> Result<OwnedFd>,
) -> Result<Vec<OwnedFd>> {
    files_of_a_copy(|| enter_mounts_of(child), list, open)
}

/// Does something in the mount namespace of a child, with the child's root as `/`, by a copy of this process.
///
/// # Errors
/// Those of `work`, as a text, and of the way there.
pub(crate) fn in_mounts_of(child: &Child, work: impl Fn() -> Result<()>) -> Result<()> {
    let (ours, theirs) = Channel::pair()?;
    let theirs = Channel::over(theirs);
    let copy = sys::in_copy(0, || {
        let outcome = enter_mounts_of(child).and_then(|()| work());
        let text = outcome.as_ref().err().map_or_else(|| "+".to_owned(), |error| format!("-{error}"));
        u8::from(theirs.send_text(&text).is_err() || outcome.is_err())
    });
    let copy = copy.map(ChildGuard::new).context("clone3")?;
    drop(theirs);
    let mut text = [0; MAX_ERROR];
    let length = sys::receive(ours.as_fd(), &mut text).context("recvmsg")?.0;
    drop(copy);
    match text[..length].split_first() {
        Some((b'+', _)) => Ok(()),
        Some((_, why)) => Err(Error::new(String::from_utf8_lossy(why))),
        None => Err(Error::new("the copy of this process that enters other namespaces has ended")),
    }
}

fn enter_mounts_of(child: &Child) -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let owned = if root { CloneFlags::empty() } else { CloneFlags::CLONE_NEWUSER };
    // It is a copy of the host's own program: who lives in that user namespace must not trace it.
    nix::sys::prctl::set_dumpable(false).context("prctl PR_SET_DUMPABLE")?;
    // Our own root may not be that of the namespace; the child's is the same directory as ours.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let theirs = Proc::open()?.follow(&format!("{}/root", child.pid), flags).context("open the child's root")?;
    nix::sched::setns(&child.pidfd, CloneFlags::CLONE_NEWNS | owned)
        .context("setns into the container's mount namespace")?;
    nix::unistd::fchdir(&theirs).context("fchdir")?;
    nix::unistd::chroot(".").context("chroot")
}

/// Asks `count` questions in namespaces of a process, about what `/proc` says there. An answer is a
/// text, or why there is none.
///
/// # Errors
/// Those of the way there.
pub(crate) fn ask_in_namespaces_of(
    pidfd: BorrowedFd<'_>,
    kinds: CloneFlags,
    count: usize,
    ask: impl Fn(&Proc, usize) -> Result<String>,
) -> Result<Vec<std::result::Result<String, String>>> {
    let proc = Proc::open()?;
    let (ours, theirs) = Channel::pair()?;
    let theirs = Channel::over(theirs);
    let copy = sys::in_copy(0, || {
        let enter = || {
            nix::sys::prctl::set_dumpable(false).context("prctl PR_SET_DUMPABLE")?;
            if kinds.is_empty() {
                Ok(())
            } else {
                nix::sched::setns(pidfd, kinds).context("setns into the container's namespaces")
            }
        };
        let entered = enter();
        let answer = |index| match &entered {
            Ok(()) => ask(&proc, index),
            Err(error) => Err(Error::new(error.to_string())),
        };
        // The first letter says what it is; no packet is empty.
        let tell = |index| match answer(index) {
            Ok(text) => theirs.send_text(&format!("+{text}")),
            Err(error) => theirs.send_text(&format!("-{error}")),
        };
        u8::from((0..count).try_for_each(tell).is_err())
    });
    let copy = copy.map(ChildGuard::new).context("clone3")?;
    drop(theirs);
    let mut text = [0; MAX_ERROR];
    let answers = (0..count).map(|_| match sys::receive(ours.as_fd(), &mut text).context("recvmsg")?.0 {
        0 => Err(Error::new("the copy of this process that enters other namespaces has ended")),
        length => {
            let said = String::from_utf8_lossy(&text[1..length]).into_owned();
            Ok(if text[0] == b'+' { Ok(said) } else { Err(said) })
        }
    });
    let answers = answers.collect();
    drop(copy);
    answers
}
