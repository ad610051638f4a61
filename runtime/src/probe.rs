//! What does this machine offer?
//!
//! [`host`] asks the few things that the plan needs, [`machine`] all that `cleat check` shows.

pub mod display;
pub mod host;
pub mod host_mounts;
pub mod kernel_features;
pub mod machine;
pub mod subids;
