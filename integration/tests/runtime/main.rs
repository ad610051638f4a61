//! What the runtime does by itself: a chapter for each part of the specification.

#[macro_use]
extern crate integration;

mod apparmor;
mod audit;
mod bad_input;
mod bind_flags;
mod caller;
mod check;
mod check_problems;
mod checkpoint;
mod criu;
mod devices;
mod events;
mod exec;
mod hooks;
mod io;
mod lifecycle;
mod limits;
mod list_ps_features;
mod log;
mod mount_options;
mod mounts;
mod namespaces;
mod nested;
mod net_devices;
mod pause;
mod process;
mod properties;
mod rdt;
mod rootfs;
mod rootless;
mod rootless_cgroups;
mod rootless_mounts;
mod seccomp;
mod seccomp_agents;
mod selinux;
mod systemd;
mod terminal;
mod update;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
