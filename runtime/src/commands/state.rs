//! `state`: what is known of one container.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::container::{Container, OCI_VERSION, Status};
use crate::error::Result;

use super::{Shell, print_json};

/// What `state` and `list` print, with runc's names and order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<'a> {
    oci_version: &'static str,
    id: &'a str,
    pub(super) pid: i32,
    pub(super) status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    pub(super) owner: String,
}

impl<'a> Listed<'a> {
    pub(super) fn new(container: &'a Container) -> Result<Listed<'a>> {
        let record = &container.record;
        let status = container.status()?;
        Ok(Listed {
            oci_version: OCI_VERSION,
            id: &record.id,
            pid: if status == Status::Stopped { 0 } else { record.init_process_pid },
            status: status.name(),
            bundle: &record.cleat.bundle,
            rootfs: &record.config.rootfs,
            created: &record.created,
            annotations: &record.cleat.annotations,
            owner: String::new(),
        })
    }
}

/// `state`
///
/// # Errors
/// There is no such container.
pub fn state(shell: &Shell<'_>, id: &str) -> Result<()> {
    let container = shell.store.open(id)?;
    print_json(&Listed::new(&container)?)
}
