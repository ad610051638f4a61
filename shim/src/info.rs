//! What can the runtime do?

use std::io::{Read, Write};

use cleat::error::{Context, Error, Result};
use prost::Message;

use crate::messages::{Any, RuntimeInfo, RuntimeVersion};

/// Prints the version.
///
/// # Errors
/// Those of write(2).
pub fn version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("containerd-shim-cleat-v2:\n  Version:  {version}\n  Revision: {}\n", revision());
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}

fn revision() -> String {
    cleat::commands::revision(option_env!("CLEAT_COMMIT"))
}

/// Prints a `RuntimeInfo`; the options on standard input come back in it.
///
/// # Errors
/// Standard input is not an `Any`.
pub fn info() -> Result<()> {
    let mut given = Vec::new();
    std::io::stdin().take(1 << 20).read_to_end(&mut given).context("read standard input")?;
    let options = (!given.is_empty()).then(|| Any::decode(&*given)).transpose();
    let options = options.map_err(|error| Error::new(format!("standard input: not a google.protobuf.Any: {error}")))?;
    let features = serde_json::to_vec(&cleat::commands::features::document());
    let features = features.map_err(|error| Error::new(format!("encode features: {error}")))?;
    let version = env!("CARGO_PKG_VERSION");
    let info = RuntimeInfo {
        name: "io.containerd.cleat.v2".into(),
        version: Some(RuntimeVersion { version: version.into(), revision: revision() }),
        options,
        features: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/features/Features".into(),
            value: features,
        }),
        annotations: std::collections::HashMap::new(),
    };
    std::io::stdout().write_all(&info.encode_to_vec()).context("write to standard output")
}
