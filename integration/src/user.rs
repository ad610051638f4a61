//! Who is an ordinary user, and what was delegated to him?
//!
//! Nothing of the host's `/etc` is touched: entries of subuid(5) are seen by the runtime under test
//! alone, in a mount namespace of its own. Delegated cgroups are made by root as systemd makes
//! them (Linux cgroup-v2.rst, "Delegation") and removed with the value.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::{cgroup_root, unique_name};

/// A uid that nobody has, and a group of the same number.
#[must_use]
pub fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    60_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 1000
}

/// Gives everything in `path` to a user and the group of the same number.
///
/// # Panics
/// Without `CAP_CHOWN`.
pub fn give(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|_| is_dir) {
        give(&entry.path(), uid);
    }
}

/// A script that lays `/etc/passwd`, `/etc/subuid` and `/etc/subgid` of the test's own over the
/// host's: the user has a name there, and `lines` of both files.
pub(crate) fn etc_of(dir: &Path, uid: u32, lines: &str) -> String {
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let entry = format!("alice:x:{uid}:{uid}::/nonexistent:/bin/sh\n");
    fs::write(etc.join("passwd"), passwd + &entry).expect("passwd");
    for file in ["subuid", "subgid"] {
        fs::write(etc.join(file), lines).expect("subuid");
    }
    format!("mount -t overlay overlay -o ro,lowerdir={}:/etc /etc", etc.display())
}

/// Whether newuidmap(1) and newgidmap(1) are there; says loudly when they are not.
#[must_use]
pub fn has_idmap_helpers(test: &str) -> bool {
    let found = ["newuidmap", "newgidmap"].iter().all(|name| Path::new("/usr/bin").join(name).exists());
    if !found {
        // Not by the macro, whose output the test harness keeps to itself.
        let words = format!("SKIPPED {test}: no newuidmap(1) and newgidmap(1); apt-get install uidmap\n");
        let _ = std::io::stderr().write_all(words.as_bytes());
    }
    found
}

/// A cgroup that belongs to a user, as a service manager delegates one.
#[derive(Debug)]
pub struct DelegatedCgroup {
    path: PathBuf,
}

impl DelegatedCgroup {
    /// At the top of the tree.
    #[must_use]
    pub fn new(uid: u32) -> Self {
        Self::at(cgroup_root().join(unique_name()), uid)
    }

    /// One below it, of the same user.
    #[must_use]
    pub fn below(&self, name: &str, uid: u32) -> Self {
        Self::at(self.path.join(name), uid)
    }

    fn at(path: PathBuf, uid: u32) -> Self {
        fs::create_dir(&path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
        let own = |path: &Path| lchown(path, Some(uid), Some(uid)).expect("chown of a cgroup");
        own(&path);
        let files = fs::read_to_string("/sys/kernel/cgroup/delegate").expect("/sys/kernel/cgroup/delegate");
        for file in files.lines().map(|file| path.join(file)).filter(|file| file.exists()) {
            own(&file);
        }
        Self { path }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroups in it.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn children(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("the delegated cgroup");
        let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for DelegatedCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        crate::bundle::remove_cgroup_when_empty(&self.path);
    }
}
