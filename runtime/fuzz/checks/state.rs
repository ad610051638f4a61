//! Bytes of a state.json → what is remembered of a container: no panic, and it can be saved again.

use cleat::container::{Container, Record};
use cleat::spec;
use cleat::spec::{Hooks, Process};

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Ok(record) = spec::parse::<Record>("state.json", data) else { return };
    let saved = serde_json::to_vec(&record).expect("a record is JSON");
    let again: Record = spec::parse("state.json", &saved).expect("and can be read again");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(saved));
    if let Some(raw) = &record.cleat.process {
        let _ = spec::parse::<Process>("state.json", raw.get().as_bytes());
    }
    if let Some(Ok(hooks)) =
        record.cleat.hooks.as_ref().map(|raw| spec::parse::<Hooks>("state.json", raw.get().as_bytes()))
    {
        let _ = Container::planned_hooks(&hooks.poststop, "poststop");
    }
}
