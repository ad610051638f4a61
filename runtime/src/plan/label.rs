//! Which labels of a security module do the program and the mounts get?

use cleat_plan::Text;

use super::place::place;
use super::place::text;
use crate::error::Result;
use crate::plan::host::Host;
use crate::spec;

/// The AppArmor profile that the program changes to when it is executed; `None` leaves it as it is.
///
/// # Errors
/// A profile is asked for and this kernel has no AppArmor.
pub(super) fn apparmor(process: &spec::Process, host: &Host) -> Result<Option<Text>> {
    match process.apparmor_profile.as_str() {
        "" => Ok(None),
        // What holds anyway needs no AppArmor.
        "unconfined" if !host.labels.apparmor => Ok(None),
        _ if !host.labels.apparmor => Err(place("process.apparmorProfile")
            .error("AppArmor is not enabled in this kernel")
            .remedy("remove the profile, or boot with lsm=apparmor,… apparmor=1")),
        profile => text(profile).map(Some),
    }
}

/// The SELinux label that the program gets when it is executed; `None` leaves it to the policy.
///
/// # Errors
/// A label is asked for and this kernel has no SELinux.
pub(super) fn selinux(process: &spec::Process, host: &Host) -> Result<Option<Text>> {
    selinux_label(&process.selinux_label, "process.selinuxLabel", host)
}

/// The SELinux label of the files in new mounts.
///
/// # Errors
/// A label is asked for and this kernel has no SELinux.
pub(super) fn mounts(linux: &spec::Linux, host: &Host) -> Result<Option<Text>> {
    selinux_label(&linux.mount_label, "linux.mountLabel", host)
}

fn selinux_label(label: &str, name: &str, host: &Host) -> Result<Option<Text>> {
    if label.is_empty() {
        return Ok(None);
    }
    if !host.labels.selinux {
        return Err(place(name)
            .error("SELinux is not enabled in this kernel")
            .remedy("remove the label, or boot with selinux=1"));
    }
    text(label).map(Some)
}
