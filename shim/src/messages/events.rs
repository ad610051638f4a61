//! Which events are published? (`containerd.events`, and the call that carries them.)

use prost::Message;

use super::{Any, Mount, Timestamp};

/// `containerd.services.events.ttrpc.v1.ForwardRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ForwardRequest {
    #[prost(message, optional, tag = "1")]
    pub envelope: Option<Envelope>,
}

/// `containerd.types.Envelope`
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub topic: String,
    #[prost(message, optional, tag = "4")]
    pub event: Option<Any>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskCreate {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub bundle: String,
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    #[prost(message, optional, tag = "4")]
    pub io: Option<TaskIo>,
    #[prost(string, tag = "5")]
    pub checkpoint: String,
    #[prost(uint32, tag = "6")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskIo {
    #[prost(string, tag = "1")]
    pub stdin: String,
    #[prost(string, tag = "2")]
    pub stdout: String,
    #[prost(string, tag = "3")]
    pub stderr: String,
    #[prost(bool, tag = "4")]
    pub terminal: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskStart {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskDelete {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    #[prost(uint32, tag = "3")]
    pub exit_status: u32,
    #[prost(message, optional, tag = "4")]
    pub exited_at: Option<Timestamp>,
    #[prost(string, tag = "5")]
    pub id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskExit {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub id: String,
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    #[prost(uint32, tag = "4")]
    pub exit_status: u32,
    #[prost(message, optional, tag = "5")]
    pub exited_at: Option<Timestamp>,
}

/// The events that name a container and nothing else.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskNamed {
    #[prost(string, tag = "1")]
    pub container_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskCheckpointed {
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// The directory of the images.
    #[prost(string, tag = "2")]
    pub checkpoint: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskExecAdded {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub exec_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TaskExecStarted {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub exec_id: String,
    #[prost(uint32, tag = "3")]
    pub pid: u32,
}

/// An event of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Create(TaskCreate),
    Start(TaskStart),
    Exit(TaskExit),
    Delete(TaskDelete),
    ExecAdded(TaskExecAdded),
    ExecStarted(TaskExecStarted),
    Paused(TaskNamed),
    Resumed(TaskNamed),
    Checkpointed(TaskCheckpointed),
    Oom(TaskNamed),
}

impl Event {
    /// The topic, and the event with its type.
    pub fn encode(&self) -> (&'static str, Any) {
        let any = |name: &str, message: Vec<u8>| Any { type_url: format!("containerd.events.{name}"), value: message };
        match self {
            Event::Create(event) => ("/tasks/create", any("TaskCreate", event.encode_to_vec())),
            Event::Start(event) => ("/tasks/start", any("TaskStart", event.encode_to_vec())),
            Event::Exit(event) => ("/tasks/exit", any("TaskExit", event.encode_to_vec())),
            Event::Delete(event) => ("/tasks/delete", any("TaskDelete", event.encode_to_vec())),
            Event::ExecAdded(event) => ("/tasks/exec-added", any("TaskExecAdded", event.encode_to_vec())),
            Event::ExecStarted(event) => ("/tasks/exec-started", any("TaskExecStarted", event.encode_to_vec())),
            Event::Paused(event) => ("/tasks/paused", any("TaskPaused", event.encode_to_vec())),
            Event::Resumed(event) => ("/tasks/resumed", any("TaskResumed", event.encode_to_vec())),
            Event::Checkpointed(event) => ("/tasks/checkpointed", any("TaskCheckpointed", event.encode_to_vec())),
            Event::Oom(event) => ("/tasks/oom", any("TaskOOM", event.encode_to_vec())),
        }
    }
}
