//! The proofs of security: attacks, and what confines. None may be skipped wherever it could run (`make test`).

#[macro_use]
extern crate integration;

mod boundary;
mod boundary_cgroup;
mod boundary_host;
mod cve_process;
mod cve_rootfs;
mod hardening;
mod hostile;
mod images;
mod matrix;
mod shim_boundary;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
