//! The chapter `containerd` on the newest containerd that Debian has, that of sid.

#[path = "containerd.rs"]
mod sid;
