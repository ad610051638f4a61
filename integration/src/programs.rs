//! Which programs are tested, and where are they?

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the workspace's own static programs are, by name.
pub(crate) fn built(program: &str, variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || {
            let of = |libc: &str| {
                let target = format!("target/{}-unknown-linux-{libc}/release", std::env::consts::ARCH);
                Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(target).join(program)
            };
            Some(of("musl")).filter(|path| path.exists()).unwrap_or_else(|| of("gnu"))
        },
        PathBuf::from,
    );
    path.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}; run `make build` first, or set {variable} to the program to test", path.display())
    })
}

/// The runtime under test.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program() -> PathBuf {
    built("cleat", "CLEAT_RUNTIME")
}

/// The static program that runs inside the containers.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn probe() -> PathBuf {
    built("probe", "CLEAT_PROBE")
}

/// Whether the program under test is runc or crun.
#[must_use]
pub fn is_peer() -> bool {
    let name = program().file_name().map(|n| n.to_string_lossy().into_owned());
    matches!(name.as_deref(), Some("runc" | "crun"))
}

/// The first line of the peer's `--version`.
#[must_use]
pub fn peer_version() -> String {
    let output = Command::new(program()).arg("--version").output().expect("--version");
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("a peer").to_owned()
}
