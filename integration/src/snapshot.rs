//! What has a test left on the host?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::{cgroup_root, mountinfo};
use crate::orphans::{children, reap_orphans};
use crate::runtime::Runtime;
#[cfg(doc)]
use crate::wait::DEADLINE;
use crate::wait::eventually;

/// # Panics
/// When the runtime remembers a container. What else could be left, a [`Snapshot`] tells.
pub fn nothing_is_left(runtime: &Runtime) {
    let left = walk(runtime.root(), 1);
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// All that a runtime could leave behind, at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    children: BTreeSet<String>,
    descriptors: BTreeSet<String>,
    state: BTreeSet<PathBuf>,
}

impl Snapshot {
    /// Mounts and descriptors of this process, its children (zombies too, and whatever was
    /// orphaned: the harness is a subreaper), our cgroups, and the files below the state root.
    #[must_use]
    pub fn take(runtime: &Runtime) -> Self {
        let mut cgroups = BTreeSet::new();
        for path in walk(&cgroup_root(), 1) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&format!("cleat-test-{}-", std::process::id())) {
                cgroups.extend(walk(&path, 8).into_iter().filter(|p| p.is_dir()));
                cgroups.insert(path);
            }
        }
        Self {
            mounts: mountinfo().into_iter().collect(),
            cgroups,
            children: children(),
            descriptors: descriptors(),
            state: walk(runtime.root(), 8),
        }
    }

    /// Takes another one until it is the same again; what has been killed needs a moment to go.
    ///
    /// # Panics
    /// After [`DEADLINE`]; says what has come and what has gone.
    pub fn assert_again(&self, runtime: &Runtime, when: &str) {
        eventually(&format!("the host as before {when}"), || {
            reap_orphans();
            let difference = Self::take(runtime).difference(self);
            if difference.is_empty() { Ok(()) } else { Err(difference) }
        });
    }

    fn difference(&self, before: &Self) -> String {
        let mut seen = String::new();
        let mut compare = |what: &str, was: &BTreeSet<String>, is: &BTreeSet<String>| {
            for left in is.difference(was) {
                seen += &format!("\n  left behind: {what} {left}");
            }
            for gone in was.difference(is) {
                seen += &format!("\n  gone: {what} {gone}");
            }
        };
        let paths = |set: &BTreeSet<PathBuf>| set.iter().map(|p| p.display().to_string()).collect();
        compare("mount", &before.mounts, &self.mounts);
        compare("cgroup", &paths(&before.cgroups), &paths(&self.cgroups));
        compare("process", &before.children, &self.children);
        compare("descriptor", &before.descriptors, &self.descriptors);
        compare("state", &paths(&before.state), &paths(&self.state));
        seen
    }
}

/// Everything below `dir`, to the given depth, links not followed.
fn walk(dir: &Path, depth: u32) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if depth > 1 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(walk(&path, depth - 1));
        }
        found.insert(path);
    }
    found
}

fn descriptors() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd").expect("/proc/self/fd").flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        // The descriptor of this listing itself.
        if !target.ends_with("/fd") {
            found.insert(format!("{} {target}", entry.file_name().to_string_lossy()));
        }
    }
    found
}
