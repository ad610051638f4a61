//! What must a host have for a test? Where it has not, the test is skipped, and counted so.
//!
//! The guest of `integration/guest` has all: there what is missing is a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use crate::harness::skip;
use crate::host::{cgroup_root, in_guest};

/// Whether cgroup v2 has all of these controllers.
///
/// # Panics
/// In the guest, when it has not.
#[must_use]
pub fn has_controllers(wanted: &[&str]) -> bool {
    let there = fs::read_to_string(cgroup_root().join("cgroup.controllers")).expect("cgroup.controllers");
    let all = wanted.iter().all(|name| there.split_whitespace().any(|known| known == *name));
    assert!(all || !in_guest(), "the guest has only {there}, and not all of {wanted:?}");
    all
}

/// Skips the test where cgroup v2 has not all of these controllers: a hybrid host has them elsewhere.
pub fn require_controllers(wanted: &[&str]) {
    if !has_controllers(wanted) {
        skip("cgroup v2 has not the controllers memory, cpu, cpuset, io, pids here; make guest has");
    }
}

/// Skips the test on all but the guest.
pub fn require_guest(reason: &str) {
    if !in_guest() {
        skip(format!("only in the guest (make guest): {reason}"));
    }
}

/// Whether systemd is the init, of a guest.
#[must_use]
pub fn has_systemd() -> bool {
    in_guest() && Path::new("/run/systemd/system").exists()
}

/// Skips the test unless systemd is the init of the guest: units of the tests' own are not for a host of others.
pub fn require_systemd() {
    if !has_systemd() {
        skip("this is no guest with systemd; make guest CHAPTERS=systemd");
    }
}

/// Skips the test without newuidmap(1) and newgidmap(1).
pub fn require_idmap_helpers() {
    if !["newuidmap", "newgidmap"].iter().all(|name| Path::new("/usr/bin").join(name).exists()) {
        skip("no newuidmap(1) and newgidmap(1); apt-get install uidmap");
    }
}

/// Skips the test without session keyrings.
pub fn require_keyrings() {
    if !fs::exists("/proc/keys").unwrap_or(false) {
        skip("a kernel without CONFIG_KEYS has no keyrings to tell apart");
    }
}

/// A `PATH` with CRIU, which is in the guest alone; skips the test elsewhere. (It mounts and changes cgroups of the
/// whole machine: no test may ever run it on a host of others.)
///
/// # Panics
/// When CRIU finds the guest's kernel wanting.
#[must_use]
pub fn require_criu() -> PathBuf {
    static READY: Once = Once::new();
    require_guest("CRIU changes cgroups of the whole machine");
    let line = fs::read_to_string("/proc/cmdline").expect("/proc/cmdline");
    assert!(line.contains("guest.service"), "CLEAT_IN_GUEST is set, and this is no guest: {line}");
    READY.call_once(|| {
        // The kernel asks for some of them by names that a busybox does not know.
        let modules = "inet_diag tcp_diag udp_diag unix_diag af_packet_diag netlink_diag nf_tables nf_conntrack nft_ct";
        for module in modules.split(' ') {
            let _ = Command::new("/run/guest/busybox").args(["modprobe", module]).status();
        }
        // What it finds out about the kernel it keeps in /run/criu.kdat.
        let output = Command::new("/run/guest/made/criu/bin/criu").arg("check").output().expect("criu check");
        assert!(output.status.success(), "criu check: {}", String::from_utf8_lossy(&output.stderr));
    });
    "/run/guest/made/criu/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()
}

/// Why there can be no profiles of AppArmor here; `None` where there can.
pub(crate) fn missing_for_apparmor() -> Option<&'static str> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let parser = Command::new("apparmor_parser").arg("--version").output();
    match (enabled.trim(), parser) {
        ("Y", Ok(_)) => None,
        ("Y", Err(_)) => Some("there is no apparmor_parser here (Debian: apt-get install apparmor)"),
        _ => Some("this kernel has no AppArmor (make guest has one that does)"),
    }
}

/// Why there can be no policy of SELinux here; `None` where there can.
pub(crate) fn missing_for_selinux() -> Option<&'static str> {
    match Path::new("/sys/fs/selinux/load").exists() {
        // It would be the whole machine's.
        true if !in_guest() => Some("a policy of SELinux is loaded in a guest only (make guest CHAPTERS=selinux)"),
        true => None,
        false => Some("this kernel has no SELinux (make guest CHAPTERS=selinux has one that does)"),
    }
}
