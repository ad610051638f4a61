//! The harness: what a test needs to say one sentence about a runtime and prove it.
//!
//! ```no_run
//! use integration::{Bundle, Runtime};
//! let runtime = Runtime::new();
//! let bundle = Bundle::new().args(["/probe", "sleep"]);
//! let container = runtime.create(&bundle);
//! assert_eq!(container.status(), "created");
//! ```
//!
//! The runtime under test is the program that `CLEAT_RUNTIME` names, by default this workspace's release build.
//! When that program is called `runc` or `crun` it is a *peer*. The same tests then check the tests themselves. A
//! test that asks for more than the peers can do says so with [`not_on_peer!`]. The program inside the containers
//! is `probe` (`CLEAT_PROBE`).
//!
//! A test owns all that it makes: temporary directory, state root, cgroups, containers. They go
//! when they leave scope, also when the test fails. Every wait is for an event and has a deadline.

#![allow(clippy::expect_used, reason = "a test harness fails by saying what was expected")]

mod apparmor;
mod attack;
mod audit;
mod bundle;
mod call;
mod cgroups;
mod chapters;
mod container;
mod containerd;
pub mod cri;
pub mod criu;
mod engine;
pub mod grpc;
pub mod harness;
mod host;
mod lifecycle;
pub mod matrix;
mod mutation;
pub mod network;
mod orphans;
pub mod proc;
mod programs;
pub mod report;
mod requires;
mod resctrl;
mod runtime;
mod seccomp_agent;
pub mod selinux;
pub mod shim;
mod snapshot;
mod spec;
mod temp;
mod terminal;
mod user;
mod wait;

pub use apparmor::Profiles;
pub use attack::{Exchange, contents, json_lines};
pub use audit::Audit;
pub use bundle::{Bundle, mount_of, options_of};
pub use call::{Call, Outcome, Running};
pub use chapters::{chapter_file, program_of};
pub use container::{Container, Orphan};
pub use containerd::{Containerd, IMAGE, Release, Said, is_cleat_shim, runtime_type};
pub use engine::{ENGINE_IMAGE, EngineHost, docker_runtime, engine_runtime};
pub use harness::skip;
pub use host::{cgroup_root, in_guest};
pub use mutation::{Edit, Failure, Mutation};
pub use orphans::{reap_orphans, reap_orphans_in};
pub use programs::{is_peer, peer_version, probe, program};
pub use requires::{
    has_controllers, has_systemd, require_controllers, require_criu, require_guest, require_idmap_helpers,
    require_keyrings, require_systemd,
};
pub use resctrl::Resctrl;
pub use runtime::Runtime;
pub use seccomp_agent::{Agent, Answer, Decider, Notification};
pub use snapshot::{Snapshot, nothing_is_left};
pub use spec::default_spec;
pub use temp::{TempDir, unique_name};
pub use terminal::{ConsoleSocket, Pty, receive_descriptor};
pub use user::{DelegatedCgroup, EngineNamespace, Lingering, give, unused_uid};
pub use wait::{DEADLINE, ended_within, eventually, tries};

pub use integration_macros::test;
#[doc(hidden)]
pub use inventory;

/// Skips the test when the runtime is a peer, and says why.
///
/// A test that runs against the peers proves itself; one that does not owes this reason.
#[macro_export]
macro_rules! not_on_peer {
    ($reason:literal) => {
        if $crate::is_peer() {
            $crate::skip(format!("not on {}: {}", $crate::peer_version(), $reason));
        }
    };
}

/// Skips the test when the runtime is runc 1.1 (Debian 12's), and says why.
#[macro_export]
macro_rules! not_on_runc_1_1 {
    ($reason:literal) => {
        if $crate::is_peer() && $crate::peer_version().starts_with("runc version 1.1.") {
            $crate::skip(format!("not on {}: {}", $crate::peer_version(), $reason));
        }
    };
}
