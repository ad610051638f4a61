//! Who decides on the system calls that a filter does not decide on (`SCMP_ACT_NOTIFY`)?
//!
//! Host half. The init sends the listening descriptor with the filter in force; it goes on to the
//! program that waits at `listenerPath`, with the state that the specification gives it.

use std::os::fd::{AsFd, OwnedFd};

use serde_json::json;

use crate::container::OCI_VERSION;
use crate::error::{Context, Error, Result};
use crate::launch::console;
use crate::launch::console::Connection;
use crate::plan::seccomp::Listener;

/// Connects to who decides.
///
/// # Errors
/// Nobody listens there.
pub fn connect(listener: &Listener) -> Result<Connection> {
    console::connect(&listener.path).context("linux.seccomp.listenerPath")
}

/// Hands the listening descriptor over, on a `connection` if there is one already, and hangs up.
/// `state` is the container's state as JSON, `pid` the process that loaded the filter.
///
/// # Errors
/// Nobody listens there.
///
/// Source: runtime-spec config-linux.md § The Container Process State.
pub fn hand_over(
    listener: Option<&Listener>,
    connection: Option<Connection>,
    fd: &OwnedFd,
    state: &str,
    pid: i32,
) -> Result<()> {
    let listener = listener.ok_or_else(|| Error::new("the init sent a seccomp listener that nobody asked for"))?;
    let state: serde_json::Value =
        serde_json::from_str(state).map_err(|error| Error::new(format!("encode state: {error}")))?;
    let text = json!({
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": listener.metadata,
        "state": state,
    });
    let connection = connection.map_or_else(|| connect(listener), Ok)?;
    connection.send(fd.as_fd(), &text.to_string()).context("linux.seccomp.listenerPath")
}
