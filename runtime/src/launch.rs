//! How is a process started in a container? The host half, from `clone3` to `execve`.
//!
//! [`create`] makes a container, [`exec`] a further process; both list their steps. Runs in the caller's
//! namespaces with the caller's privileges, with one thread.

pub mod channel;
pub mod child;
pub mod console;
pub mod create;
pub mod exec;
pub mod fault;
mod handshake;
pub mod hooks;
pub mod idmap;
pub mod init_binary;
mod input_end;
mod mount_points;
pub mod netdev;
pub mod scheduler;
pub mod sd_notify;
pub mod seccomp_agent;
pub(crate) mod setns_helper;
mod settings;
pub(crate) mod standard_streams;
pub mod start;
