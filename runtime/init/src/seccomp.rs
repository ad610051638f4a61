//! When and how is the filter of system calls loaded?
//!
//! As late as can be: every call that the init makes afterwards goes through the filter, too. See
//! [`Load`] for the three points in time and why there are three.

use cleat_plan::seccomp::{Load, Seccomp};
use cleat_plan::wire::{FromInit, ToInit};
use cleat_plan::{Caps, Process};
use rustix::fd::{AsFd, IntoRawFd, OwnedFd};
use rustix::io::Errno;

use crate::channel::Channel;
use crate::error::{Call, Result};
use crate::sys;

/// `CAP_SYS_ADMIN`, without which a filter needs `no_new_privs`.
const SYS_ADMIN: u64 = 1 << 21;

/// The capability sets of a process, with what the filter needs on top of them.
pub(crate) fn caps_until_loaded(process: &Process) -> Caps {
    let mut caps = process.caps;
    match process.seccomp.as_ref().map(|filter| filter.load) {
        None | Some(Load::Last) => {}
        Some(Load::LastPrivileged) => caps.permitted |= SYS_ADMIN,
        Some(Load::Early) if process.no_new_privileges => {}
        Some(Load::Early) => {
            caps.permitted |= SYS_ADMIN;
            caps.effective |= SYS_ADMIN;
        }
    }
    caps
}

/// Loads it before others see this process. The descriptor that decides for it, if one does, is handed
/// over by [`hand_over`], when the host half knows the process that becomes the program.
pub(crate) fn early(process: &Process) -> Result<Option<OwnedFd>> {
    let Some(filter) = process.seccomp.as_ref().filter(|filter| filter.load == Load::Early) else {
        return Ok(None);
    };
    let listener = load(filter)?;
    if !process.no_new_privileges {
        let caps = process.caps;
        sys::capset(caps.effective, caps.permitted, caps.inheritable)
            .call("capset")
            .map_err(|e| e.hint("without noNewPrivileges the filter must allow capset, which gives up privileges"))?;
    }
    Ok(listener)
}

/// Sends the descriptor and waits until it was taken.
pub(crate) fn hand_over(listener: Option<OwnedFd>, host: &Channel) -> Result<()> {
    if listener.is_none() {
        return Ok(());
    }
    send(listener, host)?;
    host.expect(ToInit::ListenerTaken)
}

/// Loads it just before `execve`, of the program or of a hook, which takes away what loading took.
pub(crate) fn last(process: &Process, host: &Channel) -> Result<()> {
    let Some(filter) = process.seccomp.as_ref().filter(|filter| filter.load != Load::Early) else {
        return Ok(());
    };
    if filter.load == Load::LastPrivileged {
        let caps = process.caps;
        sys::capset(caps.effective | SYS_ADMIN, caps.permitted | SYS_ADMIN, caps.inheritable).call("capset")?;
    }
    send(load(filter)?, host)
}

fn load(filter: &Seccomp) -> Result<Option<OwnedFd>> {
    let explain = |error: crate::error::Error| {
        error
            .hint_if(Errno::ACCESS, "a filter needs CAP_SYS_ADMIN or noNewPrivileges")
            .hint_if(Errno::INVAL, "this kernel does not know one of linux.seccomp.flags")
            .hint_if(Errno::BUSY, "a filter of this process has a listener already; there can be one")
    };
    sys::seccomp(filter.program.as_bytes(), filter.flags, filter.listener).call("seccomp").map_err(explain)
}

fn send(listener: Option<OwnedFd>, host: &Channel) -> Result<()> {
    let Some(fd) = listener else { return Ok(()) };
    host.send_with_fd(&FromInit::Listener, fd.as_fd())?;
    // Left to execve, which closes it: close(2) would be one more call that has to be allowed.
    let _ = fd.into_raw_fd();
    Ok(())
}
