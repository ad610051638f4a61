//! Chapters that look at the whole of this process, one test at a time: nothing else may run beside them.

#[macro_use]
extern crate integration;

mod leaks;
mod stress;

fn main() -> std::process::ExitCode {
    integration::harness::main_one_at_a_time()
}
