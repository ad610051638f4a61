//! What does the plan know of this machine? Data; `probe::host` asks for it.

use std::path::PathBuf;

use super::types::IdMap;
use crate::cli::Rootless;

/// Facts about the machine and about this process in it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// This process's capability bounding set, bit N is capability N.
    pub capabilities: u64,
    /// Highest capability that the kernel knows.
    pub last_capability: u32,
    /// This process's user namespace does not let `setgroups(2)` be called.
    pub setgroups_denied: bool,
    /// This process may give up its supplementary groups, wherever it goes.
    pub may_drop_groups: bool,
    /// Control groups.
    pub cgroup: Cgroup,
    /// This process is in another user namespace than the machine's own.
    pub in_user_namespace: bool,
    /// What that user namespace maps, with its own ids as `container_id`; empty outside of one.
    pub own_uids: Vec<IdMap>,
    /// The same of groups.
    pub own_gids: Vec<IdMap>,
    /// `--rootless`: whether a container may do without a cgroup.
    pub rootless_asked: Rootless,
    /// `--cgroup-manager disabled`: no container has a cgroup of its own.
    pub no_cgroups: bool,
    /// What is mounted here; only with `--no-pivot`.
    pub mounts: Vec<HostMount>,
    /// Where resctrl is mounted, if it is; only where a container asks for it.
    pub resctrl: Option<PathBuf>,
    /// Security modules with labels; asked for only where a label is.
    pub labels: Labels,
    /// The manager of units; only with `--systemd-cgroup`.
    pub systemd: Option<Systemd>,
}

/// Who creates containers' cgroups (`--cgroup-manager`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// This program.
    #[default]
    Cgroupfs,
    /// systemd, as units of its own.
    Systemd,
    /// Nobody.
    Disabled,
}

impl CgroupManager {
    /// For callers that know `--systemd-cgroup` alone.
    #[must_use]
    pub fn systemd_if(asked: bool) -> CgroupManager {
        if asked { CgroupManager::Systemd } else { CgroupManager::Cgroupfs }
    }
}

/// A systemd that containers' cgroups are asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Systemd {
    /// It is the user's own, not the machine's.
    pub user: bool,
    /// Its version, such as 252.
    pub version: u32,
    /// Where its units have their cgroups, with a leading slash.
    pub cgroup: PathBuf,
}

/// Security modules that label processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

/// Where the cgroup v2 tree is, and what is left of version 1.
#[derive(Clone, Debug, Default)]
pub struct Cgroup {
    /// Mount point of the v2 tree; `None`: there is none.
    pub mount: Option<PathBuf>,
    /// This process's own cgroup, relative to `mount`, with a leading slash.
    pub own: PathBuf,
    /// Where this process may make cgroups and put processes into them; only looked for where a
    /// container may do without a cgroup. `None`: nowhere.
    pub delegated: Option<PathBuf>,
    /// Controllers that are bound to version 1.
    pub v1_controllers: Vec<String>,
}

impl Host {
    /// Whether privileges of the machine itself are missing.
    #[must_use]
    pub fn rootless(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }

    /// Whether a container that did not ask for a cgroup may run without one (`--rootless`).
    #[must_use]
    pub fn may_do_without_cgroup(&self) -> bool {
        self.rootless_asked.unwrap_or_else(|| self.rootless())
    }
}

/// A mount of this process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Where it is.
    pub point: PathBuf,
    /// It is a procfs or a sysfs as a whole.
    pub reveals: bool,
    /// Another mount lies over it: no path leads there.
    pub hidden: bool,
}
