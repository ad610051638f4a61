//! Where is a cgroup on the host?

use std::path::{Path, PathBuf};

/// The directory of a cgroup.
#[must_use]
pub fn directory(mount: &Path, path: &Path) -> PathBuf {
    mount.join(path.strip_prefix("/").unwrap_or(path))
}
