#![no_main]

#[path = "../checks/shim_events.rs"]
mod shim_events;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| shim_events::check(data));
