//! The proofs of security: attacks, and what confines. None may be skipped wherever it could run (`make test`).

#[macro_use]
extern crate integration;

mod boundary;
mod boundary_cgroup;
mod boundary_host;
mod hostile;
mod matrix;
mod record;
mod record_process;
mod security;
mod shim_boundary;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
