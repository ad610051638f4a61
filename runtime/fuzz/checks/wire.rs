//! Bytes → the messages of both halves: no panic, and what was understood can be said again.

use std::fmt::Debug;

use cleat_plan::seccomp::Program;
use cleat_plan::wire::{FromInit, ToInit, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn again<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = decode(bytes).ok()?;
    let said = encode(&message).expect("what was decoded can be encoded");
    assert_eq!(decode::<T>(&said).expect("and decoded again"), message);
    Some(message)
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Some(FromInit::Failed(failure)) = again(bytes) {
                let text = cleat::launch::channel::failure_text(&failure);
                assert!(!text.chars().any(char::is_control), "{text:?} speaks to a terminal");
            }
        }
        1 => drop(again::<ToInit>(bytes)),
        2 => {
            if let Some(plan) = again::<cleat_plan::Plan>(bytes) {
                serde_json::to_string(&plan).expect("a plan is JSON");
            }
        }
        _ => {
            if let Some(program) = Program::from_bytes(bytes.to_vec()) {
                assert_eq!(Program::new(program.instructions()), Some(program));
            }
        }
    }
}
