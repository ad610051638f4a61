//! What is this test's own: a name, a directory?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::add_note;
use crate::host::mountinfo;

/// A name that no other test has: `cleat-test-PID-N`.
#[must_use]
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("cleat-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
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
            add_note(&format!("{}: still mounted on, kept", self.0.display()));
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
