//! How does the init come into the namespaces that `clone3` did not give it, and what is set there?
//!
//! Runs as root of the container's user namespace, before any file of the container is in reach.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use cleat_plan::Fork;
use cleat_plan::wire::{FromInit, ToInit};
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::Init;
use crate::error::{Call, Result};
use crate::{procfs, sys};

/// Enters the namespaces that exist already. What belongs to a joined user namespace can only be
/// entered after it, what belongs to ours only before.
pub(crate) fn join(init: &mut Init) -> Result<()> {
    if init.plan.drop_groups {
        // In a user namespace that denies it they could not be dropped any more.
        sys::setgroups(&[]).call_on("setgroups", c"the caller's groups")?;
    }
    let list = core::mem::take(&mut init.plan.join);
    let with_user = list.iter().any(|join| join.flags == raw::CLONE_NEWUSER);
    let mut later = Vec::new();
    for join in list {
        let fd = init.take_fd(join.fd)?;
        let is_late = !with_user || join.flags & (raw::CLONE_NEWUSER | raw::CLONE_NEWNS) != 0;
        if is_late || enter(init, &fd, &join).is_err() {
            later.push((fd, join));
        }
    }
    for (fd, join) in &later {
        enter(init, fd, join)?;
    }
    if let Some(index) = init.plan.chroot {
        let root = init.take_fd(index)?;
        rustix::process::fchdir(&root).call("fchdir")?;
        rustix::process::chroot(c".").call("chroot")?;
    }
    Ok(())
}

fn enter(init: &mut Init, fd: &OwnedFd, join: &cleat_plan::Join) -> Result<()> {
    let kinds = ThreadNameSpaceType::from_bits_retain(join.flags);
    if join.flags == raw::CLONE_NEWPID {
        // Only children are in it. Its procfs is mounted before there is one.
        init.pid_namespace = Some(rustix::io::fcntl_dupfd_cloexec(fd, 0).call("fcntl")?);
    }
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

/// Makes what `clone3` could not make, and receives the mappings and mounts that it needs.
pub(crate) fn make(init: &mut Init) -> Result<()> {
    let flags = init.plan.unshare;
    if flags == 0 {
        return init.receive_mounts();
    }
    let own_user = flags & u64::from(raw::CLONE_NEWUSER) != 0;
    if !own_user {
        // For namespaces that the joined user namespace shall own.
        become_root()?;
    }
    if init.plan.fork == Some(Fork::New) {
        fork(init, flags)?;
    } else {
        sys::unshare(u32::try_from(flags).unwrap_or(0)).call("unshare")?;
    }
    init.host.send(&FromInit::Unshared)?;
    if own_user {
        init.host.expect(ToInit::Mapped)?;
    }
    init.receive_mounts()
}

/// Goes on in a child in the joined pid namespace, if there is one. Last of all, when this process has
/// no privilege left that the container has not: a process there sees the child, and may trace it.
pub(crate) fn enter_pid_namespace(init: &mut Init) -> Result<()> {
    match init.plan.fork {
        Some(Fork::Joined) => fork(init, 0),
        _ => Ok(()),
    }
}

/// Goes on in a child. The child is a sibling, so that the host half waits for it and not for this
/// process, which ends. It has a copy of our memory, which sharing it would spare: who may trace it
/// could write into ours, and have us run what they like outside of their pid namespace.
///
/// A filter may be in force: these are calls that every profile allows.
fn fork(init: &Init, flags: u64) -> Result<()> {
    let (until, sent) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).call("pipe2")?;
    match sys::clone_process(flags, true).call("clone")? {
        sys::Cloned::Parent(_, pidfd) => {
            if init.host.send_with_fd(&FromInit::Forked, pidfd.as_fd()).is_ok() {
                let _ = rustix::io::write(&sent, &[1]);
            }
            sys::exit(0)
        }
        sys::Cloned::Child => {
            drop(sent);
            // Nothing that is said here overtakes what is said of us; where that was not said, nobody
            // knows of us.
            if rustix::io::read(&until, &mut [0u8; 1][..]) != Ok(1) {
                sys::exit(70);
            }
            let _ = rustix::process::setsid();
            Ok(())
        }
    }
}

/// A new time namespace: offsets can be set while it has no process, and only then is it entered.
pub(crate) fn time(init: &mut Init) -> Result<()> {
    let Some(offsets) = init.plan.time else { return Ok(()) };
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
pub(crate) fn session(init: &mut Init) -> Result<()> {
    if init.plan.become_root {
        become_root()?;
    }
    match rustix::process::setsid() {
        // Already a leader: a new pid namespace's first process may be.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).call("setsid"),
    }
    let Some(name) = &init.plan.keyring else { return Ok(()) };
    match sys::join_session_keyring(name) {
        Ok(id) => {
            // The container's root may search its keyring: user gets what the possessor has.
            if let Some(permissions) = sys::keyring_permissions(id) {
                let _ = sys::keyring_set_permissions(id, permissions | 0x0008_0000);
            }
            Ok(())
        }
        // No key retention in this kernel: there are no keys.
        Err(Errno::NOSYS) => Ok(()),
        // A filter above us forbids it.
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => init.host.send(&FromInit::NoKeyring(errno.raw_os_error())),
        Err(errno) => Err(errno).call("keyctl").map_err(|e| e.hint("--no-new-keyring does without it")),
    }
}

/// `clone3` with `CLONE_NEWCGROUP` would root the namespace at the caller's cgroup: this way it is
/// the container's own. Message queues belong to the user who makes their ipc namespace: root of the new user
/// namespace, which its first process is only now.
pub(crate) fn cgroup(init: &mut Init) -> Result<()> {
    match init.plan.unshare_late {
        0 => Ok(()),
        kinds => unshare(ThreadNameSpaceType::from_bits_retain(kinds)),
    }
}

/// Brings `lo` up.
pub(crate) fn loopback(init: &mut Init) -> Result<()> {
    if !init.plan.loopback {
        return Ok(());
    }
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).call("socket")?;
    sys::loopback_up(socket.as_fd()).call_on("ioctl SIOCSIFFLAGS", c"lo")
}

/// Host and domain name.
pub(crate) fn hostname(init: &mut Init) -> Result<()> {
    if let Some(name) = &init.plan.hostname {
        rustix::system::sethostname(name.to_bytes()).call("sethostname")?;
    }
    if let Some(name) = &init.plan.domainname {
        rustix::system::setdomainname(name.to_bytes()).call("setdomainname")?;
    }
    Ok(())
}
