//! `cleat`, an OCI container runtime: a drop-in for runc on Linux.
//!
//! The module list is the map: each answers one question. A container is born in [`create`]; what
//! will be done is decided in [`plan`], a pure function; what happens inside the container is in
//! `runtime/init`, another program.

pub mod audit;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod console;
pub mod create;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod host;
pub mod host_mounts;
pub mod idmap;
pub mod init;
pub mod listener;
pub mod log;
pub mod netdev;
pub mod netlink;
pub mod notify;
pub mod path;
pub mod plan;
pub mod preflight;
pub mod rdt;
pub mod scheduler;
pub mod state;
pub mod streams;
pub mod survey;
pub mod sys;
mod visit;
pub mod wire;
