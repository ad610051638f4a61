#![no_main]

#[path = "../checks/strings.rs"]
mod strings;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| strings::check(data));
