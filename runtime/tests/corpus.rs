//! What `make fuzz` has found worth keeping (`runtime/fuzz/corpus`) is checked here as it is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/bundle.rs"]
mod bundle;
#[path = "../fuzz/checks/command_line.rs"]
mod command_line;
#[path = "../fuzz/checks/program.rs"]
mod program;
#[path = "../fuzz/checks/seccomp.rs"]
mod seccomp;
#[path = "../fuzz/checks/state.rs"]
mod state;
#[path = "../fuzz/checks/wire.rs"]
mod wire;
#[path = "../fuzz/checks/words.rs"]
mod words;

type Check = fn(&[u8]);

const TARGETS: &[(&str, Check)] = &[
    ("bundle", bundle::check),
    ("command_line", command_line::check),
    ("program", program::check),
    ("seccomp", seccomp::check),
    ("state", state::check),
    ("wire", wire::check),
    ("words", words::check),
];

/// A failure tells its file by the output of the test.
#[test]
fn the_corpus_of_every_fuzz_target_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut directories: Vec<_> = fs::read_dir(&corpus).expect("a corpus").flatten().map(|e| e.file_name()).collect();
    // The shim's are in a test of its own.
    directories.retain(|name| !name.to_string_lossy().starts_with("shim_"));
    directories.sort();
    assert_eq!(directories, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, check) in TARGETS {
        let files = fs::read_dir(corpus.join(name)).expect("a corpus").flatten().map(|entry| entry.path());
        for file in files {
            println!("{}", file.display());
            check(&fs::read(&file).expect("an input"));
        }
    }
}
