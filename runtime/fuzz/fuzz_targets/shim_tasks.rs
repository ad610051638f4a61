#![no_main]

#[path = "../checks/shim_tasks.rs"]
mod shim_tasks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shim_tasks::check(data));
