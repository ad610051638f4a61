//! How is CRIU asked to dump or to restore processes?
//!
//! Host half, with the privileges of root, which CRIU needs. [`messages`] are its RPC's, [`conversation`] is one
//! execution of `criu swrk`, [`log`] says what its log tells of a failure.

pub mod conversation;
pub mod log;
pub mod messages;

pub use conversation::{Criu, Failure, Notice};
