//! cleat beside runc and crun. One test at a time: each runs several inputs at once.

#[macro_use]
extern crate integration;

mod compare;

fn main() -> std::process::ExitCode {
    integration::harness::main_one_at_a_time()
}
