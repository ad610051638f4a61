//! `spec`: a config.json to begin with.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Context, Error, Result};

/// The default configuration, that of runc; a file, which takes less of the binary than code does.
const DEFAULT: &str = include_str!("spec.json");

/// The default configuration.
///
/// # Errors
/// Never: a test reads it.
pub fn default_config() -> Result<Value> {
    crate::spec::parse("the default configuration", DEFAULT.as_bytes())
}

/// The changes that make it run for an ordinary user (`--rootless`).
fn rootless(config: &mut Value) {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    if let Some(mounts) = config.pointer_mut("/mounts").and_then(Value::as_array_mut) {
        for mount in mounts.iter_mut() {
            if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
                options
                    .retain(|option| !option.as_str().is_some_and(|o| o.starts_with("gid=") || o.starts_with("uid=")));
            }
            if mount["destination"] == "/sys" {
                // Its network namespace is not the user namespace's. What the host has mounted below
                // comes along; the cgroup mount that follows covers the host's (CVE-2023-25809).
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            }
        }
    }
    let linux = &mut config["linux"];
    linux["namespaces"] = json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "user"}]);
    linux["uidMappings"] = map(nix::unistd::geteuid().as_raw());
    linux["gidMappings"] = map(nix::unistd::getegid().as_raw());
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
}

/// `spec`
///
/// # Errors
/// There is a config.json already.
pub fn spec(bundle: Option<&Path>, for_user: bool) -> Result<()> {
    let path = bundle.unwrap_or(Path::new(".")).join("config.json");
    let mut config = default_config()?;
    if for_user {
        rootless(&mut config);
    }
    let text = serde_json::to_string_pretty(&config).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    if opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
        return Err(Error::new(format!("File {} exists. Remove it first", path.display())));
    }
    opened
        .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
        .context(format_args!("write {}", path.display()))
}
