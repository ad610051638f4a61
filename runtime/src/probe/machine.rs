//! What does this machine offer, in full? For `cleat check`.
//!
//! Reads and asks, and changes nothing but this process itself, which is about to end. What cannot
//! be learnt is `None` or empty, never an error: to show what is missing is the purpose.

use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sched::CloneFlags;
use nix::unistd::AccessFlags;
use serde::Serialize;

use crate::plan::host::Host;
use crate::plan::host::Labels;
use crate::plan::{NAMESPACES, caps};
use crate::sys;

use super::kernel_features::{Context, Kernel};
use super::subids::Ids;

/// The machine, and this process on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// The kernel and its features.
    pub kernel: Kernel,
    /// Kinds of namespaces.
    pub namespaces: Vec<Namespace>,
    /// What ordinary users may do with user namespaces.
    pub user_namespaces: UserNamespaces,
    /// Control groups.
    pub cgroup: Cgroup,
    /// Security modules.
    pub security: Security,
    /// What this process may do.
    pub privileges: Privileges,
    /// Ids that are delegated to this user.
    pub ids: Ids,
    /// Cache and memory bandwidth.
    pub resctrl: Resctrl,
    /// Limits above every container.
    pub limits: Limits,
    /// `vm.memfd_noexec`: with 2 the init is executed from a file of a tmpfs instead.
    pub memfd_noexec: Option<u64>,
    /// File systems that the kernel has by now.
    pub file_systems: Vec<FileSystem>,
}

/// A kind of namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// The specification's name.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kernel has it.
    pub available: bool,
    /// How many there may be (`/proc/sys/user`).
    pub limit: Option<u64>,
}

/// What ordinary users may do with user namespaces.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserNamespaces {
    /// `user.max_user_namespaces`
    pub limit: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, which some distributions have.
    pub unprivileged_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`
    pub apparmor_restricts: Option<u64>,
    /// Whether this user could make one, and mount in it; `None` for root, who was not tried.
    pub works: Option<bool>,
}

/// Control groups.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    /// Where the v2 tree is mounted.
    pub mount: Option<PathBuf>,
    /// This process's own cgroup.
    pub own: PathBuf,
    /// Where a container's cgroup is made unless config.json says otherwise.
    pub parent: PathBuf,
    /// Controllers of version 2 that the parent has.
    pub controllers: Vec<String>,
    /// Those of them that cgroups in the parent get.
    pub enabled: Vec<String>,
    /// Controllers that are bound to version 1.
    pub bound_to_v1: Vec<String>,
    /// Whether this process may make cgroups in the parent and put processes there.
    pub delegated: bool,
}

/// Security modules.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// `/sys/kernel/security/lsm`
    pub modules: Vec<String>,
    /// Profiles of AppArmor can be had.
    pub apparmor: bool,
    /// Labels of SELinux can be had.
    pub selinux: bool,
    /// SELinux is not permissive.
    pub selinux_enforcing: bool,
}

/// What this process may do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Privileges {
    /// Effective user.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Effective capabilities, bit N is capability N.
    #[serde(skip)]
    pub capabilities: u64,
    /// Those that are missing.
    pub missing_capabilities: Vec<String>,
    /// No program gets more privileges: newuidmap(1) has none.
    pub no_new_privileges: bool,
    /// In another user namespace than the machine's.
    pub in_user_namespace: bool,
}

/// Cache and memory bandwidth.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resctrl {
    /// The kernel has the file system.
    pub available: bool,
    /// It is mounted at `/sys/fs/resctrl`.
    pub mounted: bool,
}

/// Limits above every container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Open files of this process: soft, hard.
    pub nofile: Option<(u64, u64)>,
    /// Processes of this user: soft, hard.
    pub nproc: Option<(u64, u64)>,
    /// `fs.nr_open`, above which no limit of open files can be.
    pub nr_open: Option<u64>,
    /// `kernel.pid_max`
    pub pid_max: Option<u64>,
    /// `kernel.threads-max`
    pub threads_max: Option<u64>,
    /// Cgroups from the parent up that limit processes.
    pub pids: Vec<PidsLimit>,
}

/// A cgroup that limits processes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PidsLimit {
    /// Which.
    pub cgroup: PathBuf,
    /// `pids.max`
    pub max: u64,
    /// `pids.current`
    pub current: Option<u64>,
}

/// A line of `/proc/filesystems`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSystem {
    /// Its name.
    pub name: String,
    /// It lies on a device.
    pub needs_device: bool,
}

impl Survey {
    /// Asks everything but what takes the right to mount.
    #[must_use]
    pub fn take(host: &Host) -> Survey {
        let cgroup = Cgroup::look(host);
        let privileges = Privileges::look(host);
        let own = cgroup.mount.as_ref().map(|mount| crate::plan::cgroup_path::directory(mount, &cgroup.own));
        Survey {
            kernel: Kernel::probe(&Context { host, cgroup: own.as_deref() }),
            namespaces: namespaces(),
            user_namespaces: UserNamespaces {
                limit: number("/proc/sys/user/max_user_namespaces"),
                unprivileged_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
                apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
                works: None,
            },
            security: Security::look(),
            ids: Ids::of_caller(),
            resctrl: Resctrl {
                available: words("/proc/filesystems").iter().any(|word| word == "resctrl"),
                mounted: Path::new("/sys/fs/resctrl/info").exists(),
            },
            limits: Limits::look(&cgroup),
            memfd_noexec: number("/proc/sys/vm/memfd_noexec"),
            file_systems: file_systems(&read("/proc/filesystems").unwrap_or_default()),
            cgroup,
            privileges,
        }
    }

    /// Asks the rest. Who may not mount is nobody in particular afterwards, in namespaces of its own
    /// where it may: files seem to be owned by others then.
    pub fn ask_the_rest(&mut self, host: &Host) {
        if !self.kernel.hides_something() {
            return;
        }
        let made = nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).is_ok();
        self.kernel.ask_again(&Context { host, cgroup: None });
        // A security module may let them be made, and take the privileges in there away.
        self.user_namespaces.works = Some(made && !self.kernel.hides_something());
    }

    /// Whether this process has a capability over its user namespace.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        caps::number(name).is_some_and(|number| self.privileges.capabilities & (1 << number) != 0)
    }

    /// What keeps any container from running here: what is wrong, and what to do.
    #[must_use]
    pub fn obstacles(&self) -> Vec<(String, String)> {
        let mut list: Vec<(String, String)> = self
            .kernel
            .missing()
            .map(|f| (format!("the kernel has no {}", f.name), format!("boot Linux {} or later", f.since)))
            .collect();
        if self.cgroup.mount.is_none() {
            list.push((
                "no cgroup v2 tree is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified".into(),
                "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup".into(),
            ));
        }
        list.extend(crate::probe::host::short_of_descriptors());
        list
    }
}

/// Reads a small file of `/proc` or `/sys`.
pub(crate) fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A file that holds one number; `max` is none.
pub(crate) fn number(path: impl AsRef<Path>) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

fn words(path: impl AsRef<Path>) -> Vec<String> {
    read(path).unwrap_or_default().split_ascii_whitespace().map(String::from).collect()
}

/// Whether this process may, with its effective ids and on a file system that lets it.
pub(crate) fn may(path: &Path, access: AccessFlags) -> nix::Result<()> {
    nix::unistd::faccessat(nix::fcntl::AT_FDCWD, path, access, AtFlags::AT_EACCESS)
}

/// The name of a namespace's file in `/proc/PID/ns`.
pub(crate) fn namespace_file(kind: &str) -> &str {
    match kind {
        "mount" => "mnt",
        "network" => "net",
        other => other,
    }
}

fn namespaces() -> Vec<Namespace> {
    let one = |kind: &'static str| {
        let file = namespace_file(kind);
        Namespace {
            kind,
            available: Path::new(&format!("/proc/self/ns/{file}")).exists(),
            limit: number(format!("/proc/sys/user/max_{file}_namespaces")),
        }
    };
    NAMESPACES.iter().map(|(kind, _)| one(kind)).collect()
}

/// `/proc/filesystems`: lines of `nodev`, where it needs none, and a name.
fn file_systems(text: &str) -> Vec<FileSystem> {
    let line = |line: &str| {
        let (flag, name) = line.split_once('\t')?;
        Some(FileSystem { name: name.to_owned(), needs_device: flag != "nodev" })
    };
    text.lines().filter_map(line).collect()
}

impl Cgroup {
    fn look(host: &Host) -> Cgroup {
        let own = host.cgroup.own.clone();
        let beside = own.parent().unwrap_or(Path::new("/"));
        let parent = host.cgroup.delegated.as_deref().unwrap_or(beside).to_path_buf();
        let dir = host.cgroup.mount.as_ref().map(|mount| crate::plan::cgroup_path::directory(mount, &parent));
        let list = |name: &str| dir.as_ref().map(|dir| words(dir.join(name))).unwrap_or_default();
        let mut bound_to_v1 = host.cgroup.v1_controllers.clone();
        bound_to_v1.sort();
        Cgroup {
            mount: host.cgroup.mount.clone(),
            controllers: list("cgroup.controllers"),
            enabled: list("cgroup.subtree_control"),
            bound_to_v1,
            delegated: dir.is_some_and(|dir| is_delegated(&dir)),
            own,
            parent,
        }
    }
}

/// Linux cgroup-v2.rst § Delegation: the directory, and the files that the kernel names, so far as
/// they are there and it takes them to put a process into a cgroup below.
pub(crate) fn is_delegated(dir: &Path) -> bool {
    let files = words("/sys/kernel/cgroup/delegate");
    let needed = files.iter().filter(|name| name.starts_with("cgroup.")).map(|name| dir.join(name));
    may(dir, AccessFlags::W_OK).is_ok()
        && needed.filter(|file| file.exists()).all(|file| may(&file, AccessFlags::W_OK).is_ok())
}

impl Security {
    fn look() -> Security {
        let modules = read("/sys/kernel/security/lsm").unwrap_or_default();
        let labels = Labels::probe();
        Security {
            modules: modules.trim().split(',').filter(|name| !name.is_empty()).map(String::from).collect(),
            apparmor: labels.apparmor,
            selinux: labels.selinux,
            selinux_enforcing: number("/sys/fs/selinux/enforce") == Some(1),
        }
    }
}

impl Privileges {
    fn look(host: &Host) -> Privileges {
        let status = read("/proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        let known = caps::NAMES.iter().enumerate().take_while(|(n, _)| *n <= host.last_capability as usize);
        Privileges {
            euid: host.euid,
            egid: nix::unistd::getegid().as_raw(),
            groups: nix::unistd::getgroups().unwrap_or_default().into_iter().map(nix::unistd::Gid::as_raw).collect(),
            capabilities,
            missing_capabilities: known
                .filter(|(n, _)| capabilities & (1 << n) == 0)
                .map(|(_, name)| (*name).to_owned())
                .collect(),
            no_new_privileges: field("NoNewPrivs").is_some_and(|value| value.trim() == "1"),
            in_user_namespace: host.in_user_namespace,
        }
    }
}

impl Limits {
    fn look(cgroup: &Cgroup) -> Limits {
        const NPROC: u32 = 6;
        const NOFILE: u32 = 7;
        let mut pids = Vec::new();
        if let Some(mount) = &cgroup.mount {
            for above in cgroup.parent.ancestors() {
                let dir = crate::plan::cgroup_path::directory(mount, above);
                if let Some(max) = number(dir.join("pids.max")) {
                    pids.push(PidsLimit { cgroup: above.into(), max, current: number(dir.join("pids.current")) });
                }
            }
        }
        Limits {
            nofile: sys::own_limit(NOFILE).ok(),
            nproc: sys::own_limit(NPROC).ok(),
            nr_open: number("/proc/sys/fs/nr_open"),
            pid_max: number("/proc/sys/kernel/pid_max"),
            threads_max: number("/proc/sys/kernel/threads-max"),
            pids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_nodev_needs_a_device() {
        let list = file_systems("nodev\tsysfs\n\text4\nnodev\toverlay\n");
        let names: Vec<(&str, bool)> = list.iter().map(|fs| (fs.name.as_str(), fs.needs_device)).collect();
        assert_eq!(names, [("sysfs", false), ("ext4", true), ("overlay", false)]);
    }

    #[test]
    fn this_machine_answers() {
        let survey = Survey::take(&Host::probe(crate::cli::Rootless::Auto).unwrap());
        assert_eq!(survey.namespaces.len(), 8);
        assert!(!survey.kernel.release.is_empty());
        assert!(survey.file_systems.iter().any(|fs| fs.name == "tmpfs" && !fs.needs_device));
    }
}
