//! What does this machine offer?
//!
//! A few cheap questions to the kernel, asked once before the plan is made, so that the plan
//! itself is a pure function.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::config::{Process, Spec};
use crate::error::{Context, Error, Result};
use crate::sys;

/// Facts about the machine and about this process in it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Effective user.
    pub euid: u32,
    /// This process's capability bounding set, bit N is capability N.
    pub capabilities: u64,
    /// Highest capability that the kernel knows.
    pub last_capability: u32,
    /// This process's user namespace does not let `setgroups(2)` be called.
    pub setgroups_denied: bool,
    /// Control groups.
    pub cgroup: Cgroup,
    /// This process is in a user namespace that does not map every id.
    pub in_user_namespace: bool,
    /// `--rootless`: whether a container may do without a cgroup; `None`: as privileges are.
    pub rootless_asked: Option<bool>,
    /// Security modules with labels; asked for only where a label is.
    pub labels: Labels,
}

/// Security modules that label processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

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

/// Where the cgroup v2 tree is, and what is left of version 1.
#[derive(Clone, Debug, Default)]
pub struct Cgroup {
    /// Mount point of the v2 tree; `None`: there is none.
    pub mount: Option<PathBuf>,
    /// This process's own cgroup, relative to `mount`, with a leading slash.
    pub own: PathBuf,
    /// Controllers that are bound to version 1.
    pub v1_controllers: Vec<String>,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn probe(rootless_asked: Option<bool>) -> Result<Host> {
        let mut host = Host::of_privileges(rootless_asked)?;
        host.cgroup = Cgroup::probe()?;
        host.in_user_namespace = in_user_namespace()?;
        // Where all ids are mapped nobody can have denied it.
        host.setgroups_denied = host.in_user_namespace && setgroups_denied();
        Ok(host)
    }

    /// The same with what a bundle asks for by name: security modules, where it has labels.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_bundle(rootless_asked: Option<bool>, spec: &Spec) -> Result<Host> {
        let host = Host::probe(rootless_asked)?;
        let process = spec.process.as_ref();
        let labels = process.map_or(["", ""], |p| [p.apparmor_profile.as_str(), p.selinux_label.as_str()]);
        Ok(host.with_labels(&[labels[0], labels[1], &spec.linux.mount_label]))
    }

    /// The same without what a process that joins a container has no use for: control groups, and
    /// whether ids are mapped.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_joining(rootless_asked: Option<bool>, process: &Process) -> Result<Host> {
        let host =
            Host::of_privileges(rootless_asked)?.with_labels(&[&process.apparmor_profile, &process.selinux_label]);
        Ok(Host { setgroups_denied: setgroups_denied(), ..host })
    }

    /// What changing limits needs to know.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_update(rootless_asked: Option<bool>) -> Result<Host> {
        Ok(Host { cgroup: Cgroup::probe()?, ..Host::of_privileges(rootless_asked)? })
    }

    fn of_privileges(rootless_asked: Option<bool>) -> Result<Host> {
        let euid = nix::unistd::geteuid().as_raw();
        let (capabilities, last_capability) = sys::bounding_capabilities().context("prctl PR_CAPBSET_READ")?;
        Ok(Host {
            euid,
            capabilities,
            last_capability,
            setgroups_denied: false,
            cgroup: Cgroup::default(),
            in_user_namespace: false,
            rootless_asked,
            labels: Labels::default(),
        })
    }

    /// The same host, asked for security modules, too, where a label of theirs is wanted.
    #[must_use]
    fn with_labels(self, labels: &[&str]) -> Host {
        let wanted = labels.iter().any(|label| !label.is_empty());
        Host { labels: if wanted { Labels::probe() } else { self.labels }, ..self }
    }

    /// Whether privileges of the machine itself are missing.
    #[must_use]
    pub fn rootless(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }
}

fn setgroups_denied() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

/// Whether this process is in a user namespace that does not map every id to itself.
///
/// # Errors
/// `/proc` is not there.
pub fn in_user_namespace() -> Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map").context("read /proc/self/uid_map")?;
    let fields: Vec<&str> = map.split_ascii_whitespace().collect();
    Ok(fields != ["0", "0", "4294967295"])
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
        cgroup.mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|path| statfs(*path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC))
            .map(PathBuf::from);
        Ok(cgroup)
    }
}

/// Makes a path absolute and clean without asking the file system: no `.`, no `..`, no double slash.
#[must_use]
pub fn clean(base: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in base.join(path).components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Whether two byte strings name the same clean path.
#[must_use]
pub fn same_path(a: &str, b: &str) -> bool {
    clean(Path::new("/"), Path::new(OsStr::from_bytes(a.as_bytes()))) == Path::new(b)
}

/// The absolute path of a directory given on the command line.
///
/// # Errors
/// It is not there, or is not a directory.
pub fn real_directory(path: &Path) -> Result<PathBuf> {
    let real = path.canonicalize().context(format_args!("bundle {}", path.display()))?;
    if real.is_dir() { Ok(real) } else { Err(Error::new(format!("bundle {}: not a directory", path.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_resolves_dots_without_the_file_system() {
        assert_eq!(clean(Path::new("/a/b"), Path::new("../c/./d//e")), Path::new("/a/c/d/e"));
        assert_eq!(clean(Path::new("/"), Path::new("/../../x")), Path::new("/x"));
        assert!(same_path("/proc/", "/proc"));
    }
}
