//! The chapter `cri` on the newest containerd that Debian has, that of sid.

#[path = "cri.rs"]
mod sid;
