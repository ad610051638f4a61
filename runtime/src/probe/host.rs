//! What does this machine offer?
//!
//! A few cheap questions to the kernel, asked once before the plan is made, so that the plan
//! itself is a pure function.

use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::AccessFlags;

use crate::cli::Rootless;
use crate::error::{Context, Error, Result};
use crate::plan::IdMap;
use crate::plan::host::{Cgroup, CgroupManager, Host, Labels};
use crate::spec::{Process, Spec};
use crate::sys;

/// Inode number of the machine's own user namespace (Linux include/uapi/linux/nsfs.h,
/// `USER_NS_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

impl Labels {
    /// Asks the kernel.
    #[must_use]
    pub fn probe() -> Labels {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        Labels {
            apparmor: enabled.is_ok_and(|text| text.starts_with(b"Y")),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn probe(rootless_asked: Rootless) -> Result<Host> {
        let mut host = Host::of_privileges(rootless_asked)?;
        host.cgroup = Cgroup::probe()?;
        host.in_user_namespace = in_user_namespace()?;
        if host.in_user_namespace {
            host.setgroups_denied = setgroups_denied("/proc/self/setgroups");
            host.own_uids = id_map("/proc/self/uid_map")?;
            host.own_gids = id_map("/proc/self/gid_map")?;
        }
        host.may_drop_groups = host.euid == 0 && !host.setgroups_denied;
        if host.may_do_without_cgroup() {
            host.cgroup.find_delegated();
        }
        Ok(host)
    }

    /// The same with what a bundle asks for by name: security modules, where it has labels, and resctrl.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_bundle(rootless_asked: Rootless, spec: &Spec) -> Result<Host> {
        let mut host = Host::probe(rootless_asked)?;
        host.resctrl = spec.linux.intel_rdt.as_ref().and_then(|_| crate::cgroup::resctrl::mount_point());
        let process = spec.process.as_ref();
        let labels = process.map_or(["", ""], |p| [p.apparmor_profile.as_str(), p.selinux_label.as_str()]);
        Ok(host.with_labels(&[labels[0], labels[1], &spec.linux.mount_label]))
    }

    /// The same for a process that joins a container, which has no use for control groups. Ids and
    /// groups are those of the container's user namespace, where it has one: `first` lives there.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_joining(rootless_asked: Rootless, first: Option<i32>, process: &Process) -> Result<Host> {
        let host = Host::of_privileges(rootless_asked)?;
        let mut host = host.with_labels(&[&process.apparmor_profile, &process.selinux_label]);
        host.in_user_namespace = in_user_namespace()?;
        match first {
            Some(pid) => {
                // Of the machine's own user namespace nobody can deny it (user_namespaces(7)).
                let denied = host.in_user_namespace && setgroups_denied("/proc/self/setgroups");
                host.may_drop_groups = host.euid == 0 && !denied;
                host.setgroups_denied = setgroups_denied(&format!("/proc/{pid}/setgroups"));
                host.own_uids = id_map(&format!("/proc/{pid}/uid_map"))?;
                host.own_gids = id_map(&format!("/proc/{pid}/gid_map"))?;
            }
            None if host.in_user_namespace => host.setgroups_denied = setgroups_denied("/proc/self/setgroups"),
            None => {}
        }
        Ok(host)
    }

    /// What changing limits needs to know.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_update(rootless_asked: Rootless) -> Result<Host> {
        Ok(Host { cgroup: Cgroup::probe()?, ..Host::of_privileges(rootless_asked)? })
    }

    /// Asks what the manager of cgroups needs to know.
    ///
    /// # Errors
    /// No systemd answers, and it is to be the manager.
    pub fn find_manager(&mut self, asked: CgroupManager) -> Result<()> {
        self.no_cgroups = asked == CgroupManager::Disabled;
        if asked != CgroupManager::Systemd {
            return Ok(());
        }
        // Root of a user namespace may have a systemd of its own there.
        let has_none = || self.euid != 0 || self.in_user_namespace && !crate::cgroup::systemd::is_of_root();
        let user = self.rootless_asked.unwrap_or_else(has_none);
        self.systemd = Some(crate::cgroup::systemd::probe(user)?);
        Ok(())
    }

    fn of_privileges(rootless_asked: Rootless) -> Result<Host> {
        let (euid, egid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let (capabilities, last_capability) = sys::bounding_capabilities().context("prctl PR_CAPBSET_READ")?;
        Ok(Host { euid, egid, capabilities, last_capability, rootless_asked, ..Host::default() })
    }

    /// The same host, asked for security modules, too, where a label of theirs is wanted.
    #[must_use]
    fn with_labels(self, labels: &[&str]) -> Host {
        let wanted = labels.iter().any(|label| !label.is_empty());
        Host { labels: if wanted { Labels::probe() } else { self.labels }, ..self }
    }
}

fn setgroups_denied(path: &str) -> bool {
    std::fs::read(path).is_ok_and(|text| text.starts_with(b"deny"))
}

/// Whether this process is in another user namespace than the machine's own.
///
/// # Errors
/// `/proc` is not there.
pub fn in_user_namespace() -> Result<bool> {
    let own = nix::sys::stat::stat("/proc/self/ns/user").context("stat /proc/self/ns/user")?;
    Ok(own.st_ino != INITIAL_USER_NAMESPACE)
}

/// As many descriptors as making a container takes at a time, with some for what config.json names.
const DESCRIPTORS: usize = 20;

/// What is wrong where this process may open too few descriptors to make a container, and what to do.
#[must_use]
pub fn short_of_descriptors() -> Option<(String, String)> {
    const NOFILE: u32 = 7;
    let (soft, _) = sys::own_limit(NOFILE).ok()?;
    let free = (0..i32::try_from(soft).unwrap_or(i32::MAX)).filter(|raw| !sys::is_open(*raw)).take(DESCRIPTORS).count();
    (free < DESCRIPTORS).then(|| {
        let what = format!("RLIMIT_NOFILE is {soft}, which leaves {free} descriptors of the {DESCRIPTORS} that making");
        (format!("{what} a container takes"), "raise it: ulimit -n 1024".to_owned())
    })
}

/// The lines of a `uid_map` or `gid_map` (user_namespaces(7)).
pub(crate) fn id_map(path: &str) -> Result<Vec<IdMap>> {
    let text = std::fs::read_to_string(path).context(format_args!("read {path}"))?;
    Ok(id_map_of(&text))
}

/// The same of the text.
pub(crate) fn id_map_of(text: &str) -> Vec<IdMap> {
    text.lines().filter_map(id_map_line).collect()
}

fn id_map_line(line: &str) -> Option<IdMap> {
    let mut fields = line.split_ascii_whitespace().map(str::parse);
    let mut next = || fields.next()?.ok();
    Some(IdMap { container_id: next()?, host_id: next()?, size: next()? })
}

/// The name of a user in `/etc/passwd`.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

impl Cgroup {
    fn probe() -> Result<Cgroup> {
        let text = std::fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
        let mut cgroup = Cgroup::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if id == "0" && controllers.is_empty() {
                cgroup.own = PathBuf::from(path);
            } else {
                let named = |c: &&str| !c.is_empty() && !c.starts_with("name=");
                cgroup.v1_controllers.extend(controllers.split(',').filter(named).map(String::from));
            }
        }
        cgroup.mount = Cgroup::mount_point();
        Ok(cgroup)
    }

    /// Where the v2 tree is mounted.
    #[must_use]
    pub fn mount_point() -> Option<PathBuf> {
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|path| statfs(*path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC))
            .map(PathBuf::from)
    }

    /// First next to our own cgroup, where controllers can be had. Then below it, where processes live already,
    /// which leaves freezing, killing and counting them (cgroup-v2.rst, "No Internal Process Constraint" and
    /// "Delegation Containment").
    fn find_delegated(&mut self) {
        let Some(mount) = &self.mount else { return };
        let usable = |cgroup: &&Path| {
            let dir = crate::plan::cgroup_path::directory(mount, cgroup);
            may_write(&dir) && may_write(&dir.join("cgroup.procs"))
        };
        let beside = self.own.parent().unwrap_or(Path::new("/"));
        self.delegated = [beside, &self.own].into_iter().find(usable).map(Path::to_path_buf);
    }
}

/// With the effective ids, and on a file system that can be written to.
fn may_write(path: &Path) -> bool {
    nix::unistd::faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
}

/// The absolute path of a directory given on the command line.
///
/// # Errors
/// It is not there, or is not a directory.
pub fn real_directory(path: &Path) -> Result<PathBuf> {
    let real = path.canonicalize().context(format_args!("bundle {}", path.display()))?;
    if real.is_dir() { Ok(real) } else { Err(Error::new(format!("bundle {}: not a directory", path.display()))) }
}
