//! What does the host half set on a process from outside? And why could it not be made?

use std::path::Path;

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::container;
use crate::error::{Context, Error, Result, errno_text};
use crate::sys;
use crate::sys::path::Proc;

pub(crate) fn clone_error(errno: Errno, cgroup: Option<&Cgroup>) -> Error {
    let place = cgroup.map(|c| format!(" into cgroup {}", c.full().display())).unwrap_or_default();
    let hint = match errno {
        Errno::EBUSY => {
            "; the cgroup has children with controllers, so no process may live in it; remove them or choose another"
        }
        Errno::EACCES if cgroup.is_some() => {
            "; this user may not put processes there; it needs write access to cgroup.procs up to the common ancestor"
        }
        Errno::EOPNOTSUPP if cgroup.is_some() => {
            "; it is in a subtree of threads (cgroup.type), where no process can be started; choose another"
        }
        Errno::ENOENT if cgroup.is_some() => "; it is outside of the caller's cgroup namespace",
        Errno::EPERM if !nix::unistd::geteuid().is_root() => {
            "; ordinary users may make no user namespaces here: see the sysctls kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns; nor may they in a chroot"
        }
        Errno::EPERM => "; new namespaces need privileges, or a user namespace",
        Errno::ENOSPC => "; the limit of nested or of all namespaces is reached: see /proc/sys/user",
        Errno::EAGAIN => {
            let own = cgroup.map_or_else(|| "see RLIMIT_NPROC".to_owned(), Cgroup::process_refusal);
            return Error::new("clone: clone3: EAGAIN").remedy(format_args!("{own}"));
        }
        _ => "",
    };
    Error::new(format!("clone: clone3{place}: {errno:?}{hint}"))
}

/// By us and not by the init: lowering it needs a privilege of the machine itself.
pub(crate) fn set_oom_score(pid: i32, score: i32) -> Result<()> {
    let hint = "to lower it below what it was set to takes CAP_SYS_RESOURCE on the machine itself";
    let written = Proc::open()?.write(&format!("{pid}/oom_score_adj"), &score.to_string());
    written.map_err(|error| Error::new(format!("config.json: process.oomScoreAdj: {error}")).remedy(hint))
}

/// By us and not by the init: raising a hard limit needs a privilege of the machine itself. The
/// limits proper are set by the init, last of all.
pub(crate) fn raise_limits(pid: i32, limits: &[cleat_plan::Rlimit]) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        let (soft, hard) = sys::own_limit(limit.resource).context("prlimit")?;
        if limit.hard > hard {
            sys::prlimit(pid, limit.resource, soft, limit.hard).map_err(|errno| {
                let place = format!("config.json: process.rlimits[{index}]");
                let what = format!("raise the hard limit from the caller's {hard} to {}", limit.hard);
                let hint = "that takes CAP_SYS_RESOURCE on the machine itself";
                Error::new(format!("{place}: {what}: {}", errno_text(errno))).remedy(hint)
            })?;
        }
    }
    Ok(())
}

/// A temporary name and a rename; no newline: engines parse the whole file as a number.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    container::write_atomically(path, pid.to_string().as_bytes(), 0o666).context("pid file")
}
