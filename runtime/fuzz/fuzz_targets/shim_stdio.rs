#![no_main]

#[path = "../checks/shim_stdio.rs"]
mod shim_stdio;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shim_stdio::check(data));
