#![no_main]

#[path = "../checks/seccomp.rs"]
mod seccomp;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| seccomp::check(data));
