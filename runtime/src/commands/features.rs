//! `features`: what this version can do (runtime-spec features.md, features-linux.md).

use serde_json::{Value, json};

use crate::container::OCI_VERSION;
use crate::error::Result;
use crate::plan::seccomp::{ACTIONS, FLAGS, Family, OPERATORS};
use crate::plan::{NAMESPACES, annotations, caps, ids, memory, mount_options, systemd};
use crate::sys;

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
        "mountOptions": mount_options::option_names(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": caps::NAMES,
            "cgroup": {"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": memory::MODES, "flags": memory::FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true}
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "true",
            "io.github.opencontainers.cleat.version": env!("CARGO_PKG_VERSION"),
            "io.github.opencontainers.cleat.init-size": crate::launch::init_binary::size().to_string()
        },
        "potentiallyUnsafeConfigAnnotations": [
            crate::checkpoint::dump::CONFIG,
            ids::KEEP_GROUPS,
            annotations::RECEIVER,
            annotations::MOUNT_CONTEXT,
            annotations::HOOKS_STDOUT,
            annotations::HOOKS_STDERR,
            annotations::SUBGROUP,
            systemd::ANNOTATION_PREFIX
        ]
    })
}

/// Architectures are those that this machine's kernel may run; flags are supported if it knows them.
fn seccomp() -> Value {
    fn names(table: &[(&str, impl Copy)]) -> Vec<String> {
        table.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
    let supported: Vec<_> = FLAGS.iter().filter(|(_, flag)| sys::knows_filter_flag(*flag)).copied().collect();
    json!({
        "enabled": true,
        "actions": names(ACTIONS),
        "operators": names(OPERATORS),
        "archs": names(Family::NATIVE.architectures()),
        "knownFlags": names(FLAGS),
        "supportedFlags": names(&supported)
    })
}
