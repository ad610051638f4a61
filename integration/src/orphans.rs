//! What was left to this process, as the init of those whose parents have gone?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::host::cgroup_root;

/// Reaps every child that has ended, also those that others left to us. Only for a test that runs alone: it
/// would take the exit status that another one waits for.
pub fn reap_orphans() {
    reap_orphans_but(None);
}

/// Reaps those that have ended in a cgroup or below it, and nobody else: other tests may run meanwhile.
pub fn reap_orphans_in(cgroup: &Path) {
    let Ok(below) = cgroup.strip_prefix(cgroup_root()) else { return };
    let is_in = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        Path::new(path.trim_end_matches(" (deleted)")).starts_with(below)
    };
    pids().filter(is_in).for_each(reap);
}

/// The same, but for the child whose status somebody waits for.
pub(crate) fn reap_orphans_but(spared: Option<u32>) {
    pids().filter(|pid| u32::try_from(*pid).ok() != spared).for_each(reap);
}

fn pids() -> impl Iterator<Item = i32> {
    children().into_iter().filter_map(|child| child.split(' ').next()?.parse().ok())
}

fn reap(pid: i32) {
    // One that lives on, or is gone by now, stays as it is.
    let options = rustix::process::WaitOptions::NOHANG;
    let _ = rustix::process::Pid::from_raw(pid).map(|pid| rustix::process::waitpid(Some(pid), options));
}

/// Of this process, by its threads: `PID (NAME) STATE`.
pub(crate) fn children() -> BTreeSet<String> {
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
