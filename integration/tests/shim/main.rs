//! The shim, called as containerd calls it.

#[macro_use]
extern crate integration;

mod shim;
mod shim_checkpoint;
mod shim_lifetime;
mod shim_options;
mod shim_rootfs;
mod shim_streams;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
