//! The runtime and the shim below engines, or as engines call them.

#[macro_use]
extern crate integration;

mod containerd;
#[path = "containerd.rs"]
#[allow(clippy::duplicate_mod, reason = "the same chapter, on another containerd")]
mod containerd_sid;
mod cri;
#[path = "cri.rs"]
#[allow(clippy::duplicate_mod, reason = "the same chapter, on another containerd")]
mod cri_sid;
mod docker;
mod engine_limits;
mod engine_pages;
mod engines;
mod podman;
mod podman_pods;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
