//! What do an engine and containerd say to each other?
//!
//! The messages of `containerd.services.{containers,snapshots,tasks}.v1` with their names and numbers, as far as
//! they are used here.

use containerd_shim_cleat::messages::{Any, Mount};
use integration::grpc::Request;
use prost::Message;

macro_rules! methods {
    ($($request:ident => $method:literal, $answer:ident;)+) => {
        $(impl Request for $request {
            const METHOD: &'static str = concat!("/containerd.services.", $method);
            type Answer = $answer;
        })+
    };
}

methods! {
    GetContainerRequest => "containers.v1.Containers/Get", GetContainerResponse;
    MountsRequest => "snapshots.v1.Snapshots/Mounts", MountsResponse;
    CreateTaskRequest => "tasks.v1.Tasks/Create", Nothing;
    StartRequest => "tasks.v1.Tasks/Start", Nothing;
    ExecProcessRequest => "tasks.v1.Tasks/Exec", Nothing;
    WaitRequest => "tasks.v1.Tasks/Wait", WaitResponse;
    KillRequest => "tasks.v1.Tasks/Kill", Nothing;
    DeleteTaskRequest => "tasks.v1.Tasks/Delete", Nothing;
    DeleteProcessRequest => "tasks.v1.Tasks/DeleteProcess", Nothing;
}

/// An answer of which nothing is used.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct GetContainerRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// JSON.
    #[prost(message, optional, tag = "5")]
    pub(crate) spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(crate) snapshot_key: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MountsRequest {
    #[prost(string, tag = "1")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MountsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) mounts: Vec<Mount>,
}

/// Without options, as ctr sends it: containerd then takes those that the container has for its runtime.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CreateTaskRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rootfs: Vec<Mount>,
    #[prost(string, tag = "5")]
    pub(crate) stdout: String,
    #[prost(string, tag = "6")]
    pub(crate) stderr: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct StartRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExecProcessRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "3")]
    pub(crate) stdout: String,
    #[prost(string, tag = "4")]
    pub(crate) stderr: String,
    /// JSON.
    #[prost(message, optional, tag = "6")]
    pub(crate) spec: Option<Any>,
    #[prost(string, tag = "7")]
    pub(crate) exec_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WaitRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct WaitResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) exit_status: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct KillRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) signal: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeleteTaskRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DeleteProcessRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}
