//! How does the program get its AppArmor profile or SELinux label (apparmor(7), selinux(8))?
//!
//! Written to this process's own attributes while nothing of the container is in the way. It goes through the
//! host's procfs, verified to be one, before `pivot_root` or before the container's namespaces are joined
//! (CVE-2019-16884, CVE-2025-52881). They take effect with `execve`.

use alloc::vec::Vec;
use core::ffi::CStr;

use cleat_plan::Process;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Call, Result};
use crate::procfs;

/// Sets the labels that `execve` changes to.
pub(crate) fn set(process: &Process) -> Result<()> {
    if process.apparmor.is_none() && process.selinux.is_none() {
        return Ok(());
    }
    let proc = procfs::host()?;
    if let Some(profile) = &process.apparmor {
        let mut order: Vec<u8> = b"exec ".to_vec();
        order.extend_from_slice(profile.to_bytes());
        let hint = "no such profile is loaded; load it: apparmor_parser --replace FILE";
        match write(&proc, c"thread-self/attr/apparmor/exec", &order) {
            // Before Linux 5.8, and where it is the only module.
            Err(error) if error.call == "openat2" && error.errno == Some(Errno::NOENT) => {
                write(&proc, c"thread-self/attr/exec", &order)
            }
            other => other,
        }
        .map_err(|e| e.on(&[b"process.apparmorProfile ", profile.to_bytes()].concat()).hint_if(Errno::NOENT, hint))?;
    }
    if let Some(label) = &process.selinux {
        let hint = "the loaded policy has no such label";
        let set = |path: &CStr| {
            let object = [b"process.selinuxLabel ", label.to_bytes()].concat();
            write(&proc, path, label.to_bytes()).map_err(|e| e.on(&object).hint_if(Errno::INVAL, hint))
        };
        set(c"thread-self/attr/exec")?;
        // For the session keyring; `execve` takes this one back.
        set(c"thread-self/attr/keycreate")?;
    }
    Ok(())
}

fn write(proc: &OwnedFd, path: &CStr, text: &[u8]) -> Result<()> {
    let file = procfs::open_beneath(proc, path, OFlags::WRONLY)?;
    rustix::io::write(&file, text).call_on("write", path).map(drop)
}
