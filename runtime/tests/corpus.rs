//! What `make fuzz` has found worth keeping (`runtime/fuzz/corpus`) is checked here as it is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

#[path = "../fuzz/checks/bundle.rs"]
mod bundle;
#[path = "../fuzz/checks/command_line.rs"]
mod command_line;
#[path = "../fuzz/corpus.rs"]
mod corpus;
#[path = "../fuzz/checks/program.rs"]
mod program;
#[path = "../fuzz/checks/seccomp.rs"]
mod seccomp;
#[path = "../fuzz/checks/state.rs"]
mod state;
#[path = "../fuzz/checks/strings.rs"]
mod strings;
#[path = "../fuzz/checks/wire.rs"]
mod wire;

const TARGETS: &[(&str, corpus::Check)] = &[
    ("bundle", bundle::check),
    ("command_line", command_line::check),
    ("program", program::check),
    ("seccomp", seccomp::check),
    ("state", state::check),
    ("strings", strings::check),
    ("wire", wire::check),
];

#[test]
fn the_corpus_of_every_fuzz_target_passes() {
    // The shim's are in a test of its own.
    corpus::check("fuzz/corpus", |name| !name.starts_with("shim_"), TARGETS);
}
