//! How does a cgroup of a test's own go?

use std::fs;
use std::path::Path;

use crate::wait::eventually;

/// Removes a cgroup whose processes have just been killed.
pub(crate) fn remove_cgroup_when_empty(path: &Path) {
    eventually(&format!("the end of all processes in {}", path.display()), || {
        remove_cgroup(path);
        if path.exists() { Err("it is still there".to_owned()) } else { Ok(()) }
    });
}

/// Removes a cgroup and those below it, as far as they are empty.
pub(crate) fn remove_cgroup(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}
