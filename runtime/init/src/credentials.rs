//! How does the init become the user that the configuration asks for, for good?

use core::ffi::CStr;

use cleat_plan::{Process, Rlimit};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::{seccomp, sys};

const PR_CAPBSET_READ: u32 = 23;
const PR_CAPBSET_DROP: u32 = 24;
const PR_SET_KEEPCAPS: u32 = 8;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_CAP_AMBIENT: u32 = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;

/// Working directory, groups, user, capability sets, `no_new_privs`, umask.
pub(crate) fn take(process: &Process) -> Result<()> {
    // With all privileges first, as the directory may be closed to the user; where root itself is
    // refused (a network file system), the user may be let in.
    let early = rustix::process::chdir(&*process.cwd);
    if !matches!(early, Ok(()) | Err(Errno::ACCESS | Errno::PERM)) {
        return early.call_on("chdir", &process.cwd);
    }
    drop_bounding(process.caps.bounding)?;
    sys::prctl(PR_SET_KEEPCAPS, 1, 0).call("prctl PR_SET_KEEPCAPS")?;
    let unmapped = |e: Error| e.hint_if(Errno::INVAL, "the id has no mapping in the user namespace");
    if let Some(groups) = &process.groups {
        sys::setgroups(groups).call_on("setgroups", c"process.user.additionalGids").map_err(unmapped)?;
    }
    sys::setresgid(process.gid).call_on("setresgid", c"process.user.gid").map_err(unmapped)?;
    sys::setresuid(process.uid).call_on("setresuid", c"process.user.uid").map_err(unmapped)?;
    sys::prctl(PR_SET_KEEPCAPS, 0, 0).call("prctl PR_SET_KEEPCAPS")?;
    if early.is_err() {
        rustix::process::chdir(&*process.cwd).call_on("chdir", &process.cwd)?;
    }
    let caps = seccomp::caps_until_loaded(process);
    sys::capset(caps.effective, caps.permitted, caps.inheritable).call("capset")?;
    sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0).call("prctl PR_CAP_AMBIENT_CLEAR_ALL")?;
    for cap in bits(caps.ambient) {
        sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap).call("prctl PR_CAP_AMBIENT_RAISE")?;
    }
    if process.no_new_privileges {
        sys::prctl(PR_SET_NO_NEW_PRIVS, 1, 0).call("prctl PR_SET_NO_NEW_PRIVS")?;
    }
    rustix::process::umask(Mode::from_raw_mode(process.umask));
    Ok(())
}

fn bits(set: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| set & (1 << bit) != 0)
}

fn drop_bounding(keep: u64) -> Result<()> {
    for cap in (0..64usize).filter(|cap| keep & (1 << cap) == 0) {
        match sys::prctl(PR_CAPBSET_DROP, cap, 0) {
            Ok(_) => {}
            // The kernel's last capability is behind us.
            Err(Errno::INVAL) => break,
            // Without CAP_SETPCAP: no matter where the capability is not there to be dropped.
            Err(Errno::PERM) if sys::prctl(PR_CAPBSET_READ, cap, 0) == Ok(0) => {}
            Err(errno) => return Err(errno).call("prctl PR_CAPBSET_DROP"),
        }
    }
    Ok(())
}

/// Lowers, or sets within what the host half has raised, the limits of this process.
pub(crate) fn limit(limits: &[Rlimit]) -> Result<()> {
    limits.iter().try_for_each(|limit| {
        sys::setrlimit(limit.resource, limit.soft, limit.hard).call("setrlimit").map_err(|e| e.on(b"process.rlimits"))
    })
}

/// A working directory outside the root would be a way out of it (CVE-2024-21626).
pub(crate) fn verify_cwd(cwd: &CStr) -> Result<()> {
    let refused = || {
        // Of what has been removed the kernel tells no path, either.
        if rustix::fs::stat(c".").is_ok_and(|here| here.st_nlink == 0) {
            return Error::new("chdir", Errno::NOENT).on(cwd.to_bytes()).hint("the directory has been removed");
        }
        Error::refused("chdir", cwd.to_bytes(), "the working directory is outside the container's root")
    };
    match rustix::process::getcwd(alloc::vec::Vec::new()) {
        Ok(path) if path.to_bytes().first() == Some(&b'/') => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(refused()),
        Err(errno) => Err(Error::new("getcwd", errno).on(cwd.to_bytes())),
    }
}
