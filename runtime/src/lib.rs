//! `cleat`, an OCI container runtime: a drop-in for runc on Linux.
//!
//! The modules are floors: each uses only those below it, and `check-layers` sees to that. From the top:
//! [`commands`], one file a command; [`check`] and [`audit`], which compare a bundle with this machine and a
//! container with its bundle; [`checkpoint`], which dumps and restores; [`launch`], from `clone3` to `execve`; [`criu`],
//! the conversation with the program of that name; [`probe`], which asks the machine;
//! [`container`], what is known of one; [`cgroup`]; [`plan`], a pure function, where all is decided; [`spec`],
//! config.json as types; [`sys`], the system calls. What happens inside the container is in
//! `runtime/init`, another program.

pub mod audit;
pub mod cgroup;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod container;
pub mod criu;
pub mod error;
pub mod launch;
pub mod log;
pub mod plan;
pub mod probe;
pub mod spec;
pub mod sys;
