//! What is on the host?

use std::fs;
use std::path::PathBuf;

/// Whether this is the guest of `integration/guest`, which has all that a test may want.
#[must_use]
pub fn in_guest() -> bool {
    std::env::var_os("CLEAT_IN_GUEST").is_some()
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

pub(crate) fn mountinfo() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").expect("/proc/thread-self/mountinfo");
    text.lines().map(str::to_owned).collect()
}
