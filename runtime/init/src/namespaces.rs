//! How does the init come into the namespaces that `clone3` did not give it, and what is set there?
//!
//! Runs as root of the container's user namespace, before any file of the container is in reach.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use cleat_plan::wire::{FromInit, ToInit};
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::PidfdFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::Birth;
use crate::error::{Call, Result};
use crate::{procfs, sys};

/// Enters the namespaces that exist already. What belongs to a joined user namespace can only be
/// entered after it, what belongs to ours only before.
pub(crate) fn join(birth: &mut Birth) -> Result<()> {
    if birth.plan.drop_groups {
        // In a user namespace that denies it they could not be dropped any more.
        sys::setgroups(&[]).call_on("setgroups", c"the caller's groups")?;
    }
    let list = core::mem::take(&mut birth.plan.join);
    let with_user = list.iter().any(|join| join.flags == raw::CLONE_NEWUSER);
    let mut later = Vec::new();
    for join in list {
        let fd = birth.take_fd(join.fd)?;
        let is_late = !with_user || join.flags & (raw::CLONE_NEWUSER | raw::CLONE_NEWNS) != 0;
        if is_late || enter(&fd, &join).is_err() {
            later.push((fd, join));
        }
    }
    for (fd, join) in &later {
        enter(fd, join)?;
    }
    if let Some(index) = birth.plan.chroot {
        let root = birth.take_fd(index)?;
        rustix::process::fchdir(&root).call("fchdir")?;
        rustix::process::chroot(c".").call("chroot")?;
    }
    Ok(())
}

fn enter(fd: &OwnedFd, join: &cleat_plan::Join) -> Result<()> {
    let kinds = ThreadNameSpaceType::from_bits_retain(join.flags);
    rustix::thread::move_into_thread_name_spaces(fd.as_fd(), kinds)
        .call_on("setns", &join.path)
        .map_err(|e| e.hint_if(Errno::INVAL, "it is no namespace file of that type, or already this process's own"))
        .map_err(|e| {
            e.hint_if(
                Errno::PERM,
                "it belongs to a user namespace in which the caller has no privilege; join that one, too",
            )
        })
}

/// Goes on in a child where the joined namespaces take effect for children only. The child is a
/// sibling, so that the host half waits for it and not for this process, which ends. It has a copy
/// of our memory, which sharing it would spare: who may trace it could write into ours, and have us
/// run what he likes outside of his pid namespace.
pub(crate) fn fork(birth: &mut Birth) -> Result<()> {
    let Some(flags) = birth.plan.fork else { return Ok(()) };
    let own_user = flags & u64::from(raw::CLONE_NEWUSER) != 0;
    // For namespaces that the joined user namespace shall own.
    if flags != 0 && !own_user {
        become_root()?;
    }
    match sys::clone_process(flags, true).call("clone")? {
        sys::Cloned::Parent(_) => sys::exit(0),
        sys::Cloned::Child => {
            // Told by the child itself: nothing it says later can overtake this.
            let own = rustix::process::getpid();
            let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty()).call("pidfd_open")?;
            birth.host.say_with_fd(&FromInit::Forked, pidfd.as_fd())?;
            if own_user {
                birth.host.expect(ToInit::Mapped)?;
            }
            let _ = rustix::process::setsid();
            birth.receive_late_fds()
        }
    }
}

/// A new time namespace: offsets can be set while it has no process, and only then is it entered.
pub(crate) fn time(birth: &mut Birth) -> Result<()> {
    let Some(offsets) = birth.plan.time else { return Ok(()) };
    unshare(ThreadNameSpaceType::TIME)?;
    let mut text = String::new();
    for (clock, offset) in [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)] {
        if let Some(offset) = offset {
            let _ = writeln!(text, "{clock} {} {}", offset.secs, offset.nanos);
        }
    }
    let proc = procfs::host()?;
    if !text.is_empty() {
        let file = procfs::open_beneath(&proc, c"self/timens_offsets", OFlags::WRONLY)?;
        rustix::io::write(&file, text.as_bytes()).call_on("write", c"/proc/self/timens_offsets")?;
    }
    // The path is a magic link of procfs itself; the directory was verified to be one.
    let path = c"self/ns/time_for_children";
    let own = rustix::fs::openat(&proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call_on("open", path)?;
    rustix::thread::move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::TIME).call("setns")
}

fn unshare(kinds: ThreadNameSpaceType) -> Result<()> {
    sys::unshare(kinds.bits()).call("unshare")
}

fn become_root() -> Result<()> {
    sys::setresgid(0).call("setresgid")?;
    sys::setresuid(0).call("setresuid")
}

/// A session without terminal, and a session keyring of its own.
pub(crate) fn session(birth: &mut Birth) -> Result<()> {
    if birth.plan.become_root {
        become_root()?;
    }
    match rustix::process::setsid() {
        // Already a leader: a new pid namespace's first process may be.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).call("setsid"),
    }
    let Some(name) = &birth.plan.keyring else { return Ok(()) };
    match sys::join_session_keyring(name) {
        Ok(id) => {
            // The container's root may search its keyring: user gets what the possessor has.
            if let Some(permissions) = sys::keyring_permissions(id) {
                let _ = sys::keyring_set_permissions(id, permissions | 0x0008_0000);
            }
            Ok(())
        }
        // No key retention in this kernel, or a filter above us forbids it.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno).call("keyctl").map_err(|e| e.hint("--no-new-keyring does without it")),
    }
}

/// `clone3` with `CLONE_NEWCGROUP` would root the namespace at the caller's cgroup: this way it is
/// the container's own. Message queues belong to whoever makes their ipc namespace: root of the new user
/// namespace, which its first process is only now.
pub(crate) fn cgroup(birth: &mut Birth) -> Result<()> {
    match birth.plan.unshare {
        0 => Ok(()),
        kinds => unshare(ThreadNameSpaceType::from_bits_retain(kinds)),
    }
}

/// Brings `lo` up.
pub(crate) fn loopback(birth: &mut Birth) -> Result<()> {
    if !birth.plan.loopback {
        return Ok(());
    }
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).call("socket")?;
    sys::loopback_up(socket.as_fd()).call_on("ioctl SIOCSIFFLAGS", c"lo")
}

/// Host and domain name.
pub(crate) fn hostname(birth: &mut Birth) -> Result<()> {
    if let Some(name) = &birth.plan.hostname {
        rustix::system::sethostname(name.to_bytes()).call("sethostname")?;
    }
    if let Some(name) = &birth.plan.domainname {
        rustix::system::setdomainname(name.to_bytes()).call("setdomainname")?;
    }
    Ok(())
}
