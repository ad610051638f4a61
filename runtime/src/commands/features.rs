//! `features`: what this version can do (runtime-spec features.md, features-linux.md).

use serde_json::{Value, json};

use crate::error::Result;
use crate::plan::{NAMESPACES, caps, ids, mounts};
use crate::state::OCI_VERSION;

use super::print_json;

/// `features`
///
/// # Errors
/// Those of write(2).
pub fn features() -> Result<()> {
    print_json(&document())
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let namespaces: Vec<&str> = NAMESPACES.iter().map(|(name, _)| *name).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": mounts::option_names(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": caps::NAMES,
            "cgroup": {"v1": false, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {"enabled": false},
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "memoryPolicy": {},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": false}
        },
        "annotations": {
            "io.github.opencontainers.cleat.version": env!("CARGO_PKG_VERSION"),
            "io.github.opencontainers.cleat.init-size": crate::create::init_size().to_string()
        },
        "potentiallyUnsafeConfigAnnotations": [ids::KEEP_GROUPS]
    })
}
