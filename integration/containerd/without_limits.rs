//! `without-limits`, put before a runtime under its name in a shim's `PATH`: takes the limits out of the bundle of
//! `create`, and executes the next program of that name with all arguments.
//!
//! For a host whose kernel has the controllers of cgroup v2 elsewhere, below a containerd that asks for limits
//! however it is configured. containerd 2 gives every container shares of the CPU.

use std::env::{args_os, current_exe, split_paths, var_os};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use serde_json::Value;

/// What asks for a controller, in `linux.resources`.
const LIMITS: [&str; 5] = ["cpu", "memory", "pids", "blockIO", "unified"];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = args_os().collect();
    let error = work(&arguments);
    eprintln!("without-limits: {error}");
    ExitCode::FAILURE
}

/// Returns when it has not become the runtime.
fn work(arguments: &[OsString]) -> io::Error {
    let Some((name, rest)) = arguments.split_first() else { return io::Error::other("no arguments") };
    if let Some(bundle) = created_bundle(rest) {
        let config = bundle.join("config.json");
        if let Err(error) = lift(&config) {
            return io::Error::other(format!("{}: {error}", config.display()));
        }
    }
    match next(name) {
        Some(program) => Command::new(program).arg0(name).args(rest).exec(),
        None => io::Error::other(format!("{}: no other in PATH", Path::new(name).display())),
    }
}

/// The bundle, when it is `create`.
fn created_bundle(arguments: &[OsString]) -> Option<PathBuf> {
    let after: Vec<&OsString> = arguments.iter().skip_while(|word| *word != "create").collect();
    let value = |pair: &[&OsString]| match pair {
        [option, value] if *option == "--bundle" || *option == "-b" => Some(PathBuf::from(value)),
        _ => None,
    };
    let joined =
        |word: &&OsString| word.as_bytes().strip_prefix(b"--bundle=").map(|path| OsStr::from_bytes(path).into());
    after.windows(2).find_map(value).or_else(|| after.iter().find_map(joined))
}

/// Takes the limits out.
fn lift(config: &Path) -> io::Result<()> {
    let mut value: Value = serde_json::from_slice(&fs::read(config)?)?;
    if let Some(resources) = value.pointer_mut("/linux/resources").and_then(Value::as_object_mut) {
        resources.retain(|name, _| !LIMITS.contains(&name.as_str()));
    }
    fs::write(config, serde_json::to_vec(&value)?)
}

/// The next of that name in `PATH` that is not this program.
fn next(name: &OsStr) -> Option<PathBuf> {
    let own = current_exe().ok()?;
    let name = Path::new(name).file_name()?;
    let is_other = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path != own);
    split_paths(&var_os("PATH")?).map(|dir| dir.join(name)).find(is_other)
}
