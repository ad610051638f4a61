//! What an attacker does from outside of a container, while one is made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;

/// Exchanges two names for as long as it is in scope: never is one of them missing.
#[derive(Debug)]
pub struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    /// Begins; the first exchange has been made when it returns.
    ///
    /// # Panics
    /// When the two cannot be exchanged.
    #[must_use]
    pub fn of(a: impl Into<PathBuf>, b: impl Into<PathBuf>) -> Self {
        let (a, b) = (a.into(), b.into());
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("an exchange of two names");
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        while rounds.load(Ordering::Relaxed) == 0 && !thread.is_finished() {
            std::thread::yield_now();
        }
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the attacker could not exchange its names");
    }
}

/// The lines that are JSON.
#[must_use]
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Files directly in a directory and what is in them, sorted. Of what is no file, its kind: some
/// devices can be read for ever.
///
/// # Panics
/// When there is no such directory.
#[must_use]
pub fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type() {
            Ok(kind) if kind.is_file() => (name, fs::read(entry.path()).unwrap_or_default()),
            kind => (name, format!("{kind:?}").into_bytes()),
        }
    };
    let mut found: Vec<_> = entries.flatten().map(read).collect();
    found.sort();
    found
}
