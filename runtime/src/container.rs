//! What is known of a container, and what is its status?
//!
//! `store` keeps it on disk, `status` compares it with the processes that live, `oci_state` reports it.

mod basis;
mod oci_state;
mod own_cgroup;
mod status;
mod store;
mod trust;

pub use basis::Basis;
pub use oci_state::{OCI_VERSION, state_around_pid, state_json};
pub use own_cgroup::CgroupOwner;
pub use status::{Alive, CheckpointMark, Container, Waiting, process_start};
pub use store::*;
