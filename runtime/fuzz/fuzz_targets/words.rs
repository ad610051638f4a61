#![no_main]

#[path = "../checks/words.rs"]
mod words;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| words::check(data));
