//! What `make fuzz` has found worth keeping of the shim (`runtime/fuzz/corpus/shim_*`) is checked here as it
//! is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

#[path = "../../runtime/fuzz/corpus.rs"]
mod corpus;
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

const TARGETS: &[(&str, corpus::Check)] = &[
    ("shim_arguments", shim_arguments::check),
    ("shim_events", shim_events::check),
    ("shim_frames", shim_frames::check),
    ("shim_stdio", shim_stdio::check),
    ("shim_tasks", shim_tasks::check),
];

#[test]
fn the_corpus_of_every_fuzz_target_of_the_shim_passes() {
    corpus::check("../runtime/fuzz/corpus", |name| name.starts_with("shim_"), TARGETS);
}
