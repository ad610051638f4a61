//! What `make fuzz` has found worth keeping of the shim (`runtime/fuzz/corpus/shim_*`) is checked here as it
//! is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;

#[path = "../../runtime/fuzz/checks/shim_arguments.rs"]
mod shim_arguments;
#[path = "../../runtime/fuzz/checks/shim_events.rs"]
mod shim_events;
#[path = "../../runtime/fuzz/checks/shim_frames.rs"]
mod shim_frames;
#[path = "../../runtime/fuzz/checks/shim_stdio.rs"]
mod shim_stdio;
#[path = "../../runtime/fuzz/checks/shim_tasks.rs"]
mod shim_tasks;

type Check = fn(&[u8]);

const TARGETS: &[(&str, Check)] = &[
    ("shim_arguments", shim_arguments::check),
    ("shim_events", shim_events::check),
    ("shim_frames", shim_frames::check),
    ("shim_stdio", shim_stdio::check),
    ("shim_tasks", shim_tasks::check),
];

/// A failure tells its file by the output of the test.
#[test]
fn the_corpus_of_every_fuzz_target_of_the_shim_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/fuzz/corpus");
    let names = fs::read_dir(&corpus).expect("a corpus").flatten().map(|entry| entry.file_name());
    let mut directories: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("shim_")).collect();
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
