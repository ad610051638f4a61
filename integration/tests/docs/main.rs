//! What the documents and the security record say is true of the code. Needs neither root nor a build.

#[macro_use]
extern crate integration;

mod docs;
mod mutations;

fn main() -> std::process::ExitCode {
    integration::harness::main()
}
