//! Builds the init, the container half: a program without libc, with flags of its own. A cargo of
//! its own does it, with an explicit target, so that the flags do not reach procedural macros.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let manifest = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let target = var("TARGET");
    let out = PathBuf::from(var("OUT_DIR")).join("init");
    for watched in ["init", "plan"] {
        println!("cargo::rerun-if-changed={}", manifest.join(watched).display());
    }
    // Without what only unwinding reads, which the precompiled standard library brings: a fifth of the init.
    let script = manifest.join("no-unwinding.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    let mut flags = format!(
        "-Crelocation-model=static -Cforce-unwind-tables=no \
         -Clink-arg=-Wl,--build-id=none,-z,noseparate-code,-z,norelro,--no-eh-frame-hdr,-T,{}",
        script.display()
    );
    if target.ends_with("musl") {
        // Rust brings start-up files for it, which the init has none of.
        flags.push_str(" -Clink-self-contained=no");
    }
    // Builds in two directories are to give the same bytes (`make reproducible`).
    for flag in env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().split('\x1f') {
        if flag.starts_with("--remap-path-prefix=") {
            flags.push(' ');
            flags.push_str(flag);
        }
    }
    let mut cargo = Command::new(var("CARGO"));
    cargo
        .args(["build", "--release", "--package", "cleat-init", "--target", &target, "--target-dir"])
        .arg(&out)
        .current_dir(&manifest)
        // Flags of the outer build are for programs with a libc.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        // Whatever the outer build has: its size is its budget.
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTFLAGS", flags);
    let status = cargo.status().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    assert!(status.success(), "the init could not be built: {cargo:?}");
    let program = out.join(target).join("release/cleat-init");
    let size = std::fs::metadata(&program).map_or(0, |metadata| metadata.len());
    assert!(size <= 100_000, "the init has {size} bytes; its budget is 100000 (design: it is copied at every start)");
    println!("cargo::rustc-env=CLEAT_INIT={}", program.display());
    if var("PROFILE") == "release" {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{}", script.display());
    }
}
