//! Which options does containerd pass, and in which form?
//!
//! As `containerd.runc.v1.Options`, or as `runtimeoptions.v1.Options`, which the CRI plugin of containerd 2 has for
//! runtimes that it does not know: the handler's table in TOML, or a file with one.

use cleat::error::{Context, Error, Result};
use prost::Message;
use serde::Deserialize;

use crate::messages::{Any, CheckpointOptions, Options};

const OPTIONS: &str = "containerd.runc.v1.Options";
const CHECKPOINT: &str = "containerd.runc.v1.CheckpointOptions";
const GENERIC: &str = "runtimeoptions.v1.Options";

/// `runtimeoptions.v1.Options`
#[derive(Clone, PartialEq, Message)]
struct Generic {
    /// A file.
    #[prost(string, tag = "2")]
    config_path: String,
    /// What would be in it.
    #[prost(bytes = "vec", tag = "3")]
    config_body: Vec<u8>,
}

/// The table, with the names that containerd's documentation has for runc's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
struct Table {
    no_pivot_root: bool,
    no_new_keyring: bool,
    shim_cgroup: String,
    io_uid: u32,
    io_gid: u32,
    binary_name: String,
    root: String,
    systemd_cgroup: bool,
    task_api_address: String,
    task_api_version: u32,
    criu_image_path: String,
    criu_work_path: String,
    // Of old versions of containerd: `criu` is the one of `PATH`.
    #[serde(rename = "CriuPath")]
    _criu_path: String,
}

/// The options that are there; `None`: none of ours.
///
/// # Errors
/// Options that cannot be read: the user would wait for their effect in vain.
pub fn read(any: &Any) -> Result<Option<Options>> {
    // That of containerd before 1.7 began with its own name.
    let is = |name: &str| any.type_url.rsplit('/').next().is_some_and(|kind| kind.ends_with(name));
    let wrong = |error: prost::DecodeError| Error::new(format!("options: not {}: {error}", any.type_url));
    if is(OPTIONS) {
        return Options::decode(&*any.value).map(Some).map_err(wrong);
    }
    if !is(GENERIC) {
        return Ok(None);
    }
    let generic = Generic::decode(&*any.value).map_err(wrong)?;
    let (place, text) = match generic.config_path.as_str() {
        "" => ("options".to_owned(), String::from_utf8_lossy(&generic.config_body).into_owned()),
        path => (format!("options: {path}"), std::fs::read_to_string(path).context(format_args!("options: {path}"))?),
    };
    let table: Table = toml::from_str(&text).map_err(|error| Error::new(format!("{place}: {}", one_line(&error))))?;
    Ok(Some(Options {
        no_pivot_root: table.no_pivot_root,
        no_new_keyring: table.no_new_keyring,
        shim_cgroup: table.shim_cgroup,
        io_uid: table.io_uid,
        io_gid: table.io_gid,
        binary_name: table.binary_name,
        root: table.root,
        systemd_cgroup: table.systemd_cgroup,
        criu_image_path: table.criu_image_path,
        criu_work_path: table.criu_work_path,
        task_api_address: table.task_api_address,
        task_api_version: table.task_api_version,
    }))
}

/// The options of a checkpoint, which are no table.
///
/// # Errors
/// They are of another type, or cannot be read.
pub fn read_checkpoint(any: &Any) -> Result<CheckpointOptions> {
    if any.type_url.is_empty() && any.value.is_empty() {
        return Ok(CheckpointOptions::default());
    }
    if any.type_url.rsplit('/').next() != Some(CHECKPOINT) {
        return Err(Error::new(format!("options: unknown type {}", any.type_url)).remedy(format!("use {CHECKPOINT}")));
    }
    CheckpointOptions::decode(&*any.value).map_err(|error| Error::new(format!("options: not {CHECKPOINT}: {error}")))
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(body: &str, path: &str) -> Any {
        Any::of(GENERIC, &Generic { config_path: path.into(), config_body: body.into() })
    }

    #[test]
    fn a_table_is_as_good_as_a_message() {
        let options = Options { root: "/run/x".into(), systemd_cgroup: true, io_uid: 7, ..Options::default() };
        assert_eq!(read(&Any::of(OPTIONS, &options)).unwrap(), Some(options.clone()));
        // What containerd's default configuration has for runc.
        let table = "BinaryName = \"\"\nCriuImagePath = \"\"\nCriuPath = \"\"\nCriuWorkPath = \"\"\nIoGid = 0\nIoUid = 7\n\
                     NoNewKeyring = false\nNoPivotRoot = false\nRoot = \"/run/x\"\nShimCgroup = \"\"\nSystemdCgroup = true\n";
        assert_eq!(read(&generic(table, "")).unwrap(), Some(options.clone()));
        let file = std::env::temp_dir().join(format!("cleat-options-{}", std::process::id()));
        std::fs::write(&file, table).unwrap();
        let parsed = read(&generic("", file.to_str().unwrap()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(parsed.unwrap(), Some(options));
        assert_eq!(read(&generic("", "")).unwrap(), Some(Options::default()));
        assert_eq!(read(&Any { type_url: "other".into(), value: b"x".to_vec() }).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for (body, path, expected) in [
            ("SystemdCgroups = true", "", "options: unknown field `SystemdCgroups`"),
            ("SystemdCgroup = 1", "", "options: invalid type: integer `1`, expected a boolean"),
            ("IoUid = -1", "", "options: invalid value"),
            ("Root =", "", "options: "),
            ("", "/no/such/file", "options: /no/such/file: no such file"),
        ] {
            let text = read(&generic(body, path)).unwrap_err().to_string();
            assert!(text.to_lowercase().starts_with(&expected.to_lowercase()) && !text.contains('\n'), "{text}");
        }
        assert!(read(&Any { type_url: OPTIONS.into(), value: b"\xff".to_vec() }).is_err());
    }
}
