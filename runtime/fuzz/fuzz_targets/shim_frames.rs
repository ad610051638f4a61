#![no_main]

#[path = "../checks/shim_frames.rs"]
mod shim_frames;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shim_frames::check(data));
