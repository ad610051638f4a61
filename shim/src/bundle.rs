//! What is written into a bundle, and read from it again?
//!
//! The bundle is containerd's directory for the task, which it removes. Files there outlive the shim: `options.json`
//! says where the container's state is, `init.pid` and `exits/NAME.json` which pid it had and how it ended.

use std::path::{Path, PathBuf};

use cleat::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use crate::messages::{Options, Timestamp};
use crate::task::Exit;

/// The options that a later `delete` needs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedOptions {
    root: String,
    binary_name: String,
    systemd_cgroup: bool,
}

/// How a process ended.
#[derive(Debug, Serialize, Deserialize)]
struct ExitRecord {
    pid: u32,
    status: u32,
    seconds: i64,
    nanos: i32,
}

/// Where containers' state is, of one namespace of containerd.
pub fn state_root(options: &Options, namespace: &str) -> PathBuf {
    let root = if options.root.is_empty() { "/run/containerd/cleat" } else { &options.root };
    // The shim's directory is `/`, and the runtime's is the bundle.
    Path::new("/").join(root).join(namespace)
}

/// Writes what `delete` needs.
///
/// # Errors
/// Those of the file system.
pub fn save_options(bundle: &Path, options: &Options) -> Result<()> {
    let kept = SavedOptions {
        root: options.root.clone(),
        binary_name: options.binary_name.clone(),
        systemd_cgroup: options.systemd_cgroup,
    };
    write(&bundle.join("options.json"), &kept)
}

/// Reads them again; the defaults if there are none.
pub fn options(bundle: &Path) -> Options {
    let text = std::fs::read(bundle.join("options.json")).unwrap_or_default();
    let kept: SavedOptions = serde_json::from_slice(&text).unwrap_or_default();
    Options {
        root: kept.root,
        binary_name: kept.binary_name,
        systemd_cgroup: kept.systemd_cgroup,
        ..Options::default()
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
    cleat::container::write_atomically(path, &text, 0o600)
}

/// Writes down how a process ended.
///
/// # Errors
/// Those of the file system.
pub fn record_exit(bundle: &Path, exec: &str, pid: u32, exit: Exit) -> Result<()> {
    let dir = bundle.join("exits");
    match std::fs::create_dir(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context(format_args!("mkdir {}", dir.display()));
        }
        _ => {}
    }
    let record = ExitRecord { pid, status: exit.status, seconds: exit.at.seconds, nanos: exit.at.nanos };
    write(&exit_file(bundle, exec), &record)
}

fn exit_file(bundle: &Path, exec: &str) -> PathBuf {
    bundle.join("exits").join(if exec.is_empty() { "init.json".into() } else { exec_name(exec, "json") })
}

/// The name of a file of an exec, which is never one of the container's own.
pub fn exec_name(exec: &str, suffix: &str) -> String {
    format!("exec-{exec}.{suffix}")
}

/// The file itself.
pub fn exec_file(bundle: &Path, exec: &str, suffix: &str) -> PathBuf {
    bundle.join(exec_name(exec, suffix))
}

/// Removes the record of a process that was deleted.
pub fn remove_exit(bundle: &Path, exec: &str) {
    let _ = std::fs::remove_file(exit_file(bundle, exec));
}

/// How the init ended: its pid, and its exit.
pub fn init_exit(bundle: &Path) -> Option<(u32, Exit)> {
    let text = std::fs::read(exit_file(bundle, "")).ok()?;
    let record: ExitRecord = serde_json::from_slice(&text).ok()?;
    let at = Timestamp { seconds: record.seconds, nanos: record.nanos };
    Some((record.pid, Exit { status: record.status, at }))
}

/// A pid that `cleat` wrote.
pub fn pid(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The last error in a log of `cleat`.
pub fn last_error(log: &Path) -> Option<String> {
    messages(log, "error").pop()
}

/// What is in a log of `cleat` of one level, in order.
pub fn messages(log: &Path, level: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter(|line| line.level == level).map(|line| line.msg).collect()
}
