#![no_main]

#[path = "../checks/program.rs"]
mod program;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| program::check(data));
