//! What state of a container do hooks, engines and seccomp agents get?

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Record, Status};
use crate::error::{Error, Result};

/// The version of the specification that `state` and hooks speak.
pub const OCI_VERSION: &str = "1.3.0";

/// runtime-spec runtime.md § State.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateJson<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The state as hooks get it; a pid of 0 is left out.
///
/// # Errors
/// Never in practice: plain data is encoded.
pub fn state_json(record: &Record, status: Status, pid: i32) -> Result<String> {
    let state = StateJson {
        oci_version: OCI_VERSION,
        id: &record.id,
        status: status.name(),
        pid: (pid > 0).then_some(pid),
        bundle: &record.cleat.bundle,
        annotations: &record.cleat.annotations,
    };
    serde_json::to_string(&state).map_err(|error| Error::new(format!("encode state: {error}")))
}

/// The same as bytes up to the pid, and after it, for one that is known in the container alone; all in the first
/// if there `is` none.
///
/// # Errors
/// As [`state_json`].
pub fn state_around_pid(record: &Record, status: Status, is: bool) -> Result<(Vec<u8>, Vec<u8>)> {
    let state = state_json(record, status, is.into())?;
    // What comes before it has no quotes: it is the first of that name.
    Ok(match state.split_once("\"pid\":1,").filter(|_| is) {
        Some((before, after)) => (format!("{before}\"pid\":").into_bytes(), format!(",{after}").into_bytes()),
        None => (state.into_bytes(), Vec::new()),
    })
}
