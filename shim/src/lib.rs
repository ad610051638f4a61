//! `containerd-shim-cleat-v2`: keeps a container's standard streams open and its exit status known.
//!
//! The module list is the map. One thread, one loop, one owner of state: [`event_loop`] waits, [`task`] (pure) decides
//! what follows, [`driver`] performs it. Creating and starting are processes of `cleat`; all else is done in this
//! process, by the `cleat` library.
#![forbid(unsafe_code)]

pub mod args;
pub mod bundle;
pub mod connections;
pub mod delete;
pub mod driver;
pub mod epoll;
pub mod event_loop;
pub mod fd_store;
pub mod info;
pub mod lifetime;
pub mod messages;
pub mod metrics;
pub mod options;
pub mod publisher;
pub mod pump;
pub mod requests;
pub mod rootfs;
pub mod start;
pub mod stdio;
pub mod task;
pub mod ttrpc;
