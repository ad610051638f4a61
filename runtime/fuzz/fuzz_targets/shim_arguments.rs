#![no_main]

#[path = "../checks/shim_arguments.rs"]
mod shim_arguments;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shim_arguments::check(data));
