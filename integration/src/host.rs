//! What is on the host, and what has a test left there?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::runtime::Runtime;
#[cfg(doc)]
use crate::wait::DEADLINE;
use crate::wait::eventually;

/// A name that no other test has: `cleat-test-PID-N`.
#[must_use]
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("cleat-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether this is the guest of `integration/guest`, which has all that a test may want.
#[must_use]
pub fn in_guest() -> bool {
    std::env::var_os("CLEAT_IN_GUEST").is_some()
}

/// A directory of this test's own, removed with it.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Under `TMPDIR`, else `/tmp`; mode 0755, so that mapped users can reach what is in it.
    #[must_use]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique_name());
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A mount that a failed test left here must not be emptied.
        let is_below = |line: &String| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(&self.0));
        if mountinfo().iter().any(is_below) {
            eprintln!("{}: still mounted on, kept", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Where the cgroup v2 tree is mounted: `/sys/fs/cgroup`, on a hybrid host a directory below.
///
/// # Panics
/// Without a v2 tree.
#[must_use]
pub fn cgroup_root() -> PathBuf {
    let lines = mountinfo();
    // The last mount on a path hides the earlier ones; of several, the first path is the usual one.
    let visible = lines.iter().rev().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let target = left.split(' ').nth(4)?;
        let hidden = lines.iter().rev().find(|l| l.split(' ').nth(4) == Some(target)) != Some(line);
        (right.starts_with("cgroup2 ") && target.starts_with("/sys/fs/cgroup") && !hidden)
            .then(|| PathBuf::from(target))
    });
    visible.expect("a cgroup v2 tree below /sys/fs/cgroup in /proc/self/mountinfo")
}

fn mountinfo() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").expect("/proc/thread-self/mountinfo");
    text.lines().map(str::to_owned).collect()
}

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

/// Reaps every child that has ended, whoever left it to us. Only for a test that runs alone: it
/// would take the exit status that another one waits for.
pub fn reap_orphans() {
    reap_orphans_but(None);
}

/// The same, but for the child whose status somebody waits for.
pub(crate) fn reap_orphans_but(spared: Option<u32>) {
    for child in children() {
        let pid = child.split(' ').next().and_then(|pid| pid.parse::<i32>().ok());
        let pid = pid.filter(|pid| u32::try_from(*pid).ok() != spared);
        let options = rustix::process::WaitOptions::NOHANG;
        // One that lives on, or is gone by now, stays as it is.
        let _ = pid.and_then(rustix::process::Pid::from_raw).map(|pid| rustix::process::waitpid(Some(pid), options));
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

fn children() -> BTreeSet<String> {
    let own = std::process::id();
    let mut found = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task").expect("/proc/self/task").flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in list.split_whitespace() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            found.insert(format!("{pid} {}", stat.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")));
        }
    }
    if found.is_empty() && !Path::new(&format!("/proc/{own}/task/{own}/children")).exists() {
        panic!("this kernel has no /proc/PID/task/TID/children");
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
