//! Are the shim's messages those of containerd? Held against the types that containerd-shim-protos generates from
//! containerd's own files: every field of theirs is set, read by ours, written again and read by theirs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use containerd_shim_cleat::messages as ours;
use containerd_shim_cleat::messages::{events, metrics};
use containerd_shim_protos::api;
use containerd_shim_protos::bootstrap_api as bootstrap;
use containerd_shim_protos::cgroups_v2::metrics as cgroups;
use containerd_shim_protos::events::task as task_events;
use containerd_shim_protos::protobuf::reflect::{
    MessageDescriptor, ReflectFieldRef, ReflectValueBox, ReflectValueRef, RuntimeFieldType, RuntimeType,
};
use containerd_shim_protos::protobuf::well_known_types::{any, timestamp};
use containerd_shim_protos::protobuf::{MessageDyn, MessageFull};
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::types::introspection;
use prost::Message;

/// A value of a type that is not its default; each a different one.
fn value(kind: &RuntimeType, next: &mut u32) -> ReflectValueBox {
    *next += 1;
    let number = *next;
    match kind {
        RuntimeType::I32 => ReflectValueBox::I32(number.try_into().unwrap()),
        RuntimeType::I64 => ReflectValueBox::I64(number.into()),
        RuntimeType::U32 => ReflectValueBox::U32(number),
        RuntimeType::U64 => ReflectValueBox::U64(u64::from(number) << 33),
        RuntimeType::F32 => ReflectValueBox::F32(1.5),
        RuntimeType::F64 => ReflectValueBox::F64(f64::from(number) + 0.5),
        RuntimeType::Bool => ReflectValueBox::Bool(true),
        RuntimeType::String => ReflectValueBox::String(format!("text {number}")),
        RuntimeType::VecU8 => ReflectValueBox::Bytes(number.to_be_bytes().to_vec()),
        RuntimeType::Enum(kind) => {
            let last = kind.values().last().expect("a value of the enumeration");
            ReflectValueBox::Enum(kind.clone(), last.value())
        }
        RuntimeType::Message(kind) => {
            let mut message = kind.new_instance();
            fill(&mut *message, next);
            ReflectValueBox::Message(message)
        }
    }
}

/// Sets every field.
fn fill(message: &mut dyn MessageDyn, next: &mut u32) {
    for field in message.descriptor_dyn().fields() {
        match field.runtime_field_type() {
            RuntimeFieldType::Singular(kind) => field.set_singular_field(message, value(&kind, next)),
            RuntimeFieldType::Repeated(kind) => {
                let values = [value(&kind, next), value(&kind, next)];
                let mut list = field.mut_repeated(message);
                values.into_iter().for_each(|value| list.push(value));
            }
            RuntimeFieldType::Map(key, kind) => {
                let (key, value) = (value(&key, next), value(&kind, next));
                field.mut_map(message).insert(key, value);
            }
        }
    }
}

/// The fields of `sent` that are not the same in `got`, by path.
fn differences(sent: &dyn MessageDyn, got: &dyn MessageDyn, at: &str, found: &mut BTreeSet<String>) {
    for field in sent.descriptor_dyn().fields() {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        let same = match (field.get_reflect(sent), field.get_reflect(got)) {
            (ReflectFieldRef::Optional(left), ReflectFieldRef::Optional(right)) => {
                match (left.value(), right.value()) {
                    (Some(left), Some(right)) => equal(left, right, &path, found),
                    (left, right) => left.is_none() && right.is_none(),
                }
            }
            (ReflectFieldRef::Repeated(left), ReflectFieldRef::Repeated(right)) => {
                let len = left.len();
                let pairs = left.into_iter().zip(&right);
                len == right.len() && pairs.fold(true, |same, (l, r)| equal(l, r, &path, found) && same)
            }
            (ReflectFieldRef::Map(left), ReflectFieldRef::Map(right)) => format!("{left:?}") == format!("{right:?}"),
            _ => false,
        };
        if !same {
            found.insert(path);
        }
    }
}

fn equal(left: ReflectValueRef<'_>, right: ReflectValueRef<'_>, at: &str, found: &mut BTreeSet<String>) -> bool {
    match (left, right) {
        (ReflectValueRef::Message(left), ReflectValueRef::Message(right)) => {
            differences(&*left, &*right, at, found);
            true
        }
        (left, right) => format!("{left:?}") == format!("{right:?}"),
    }
}

/// Every field of theirs comes back but `left_out`, and ours has no others.
fn same<Ours: Message + Default + Debug>(theirs: &MessageDescriptor, left_out: &[&str]) {
    let mut sent = theirs.new_instance();
    fill(&mut *sent, &mut 0);
    let bytes = sent.write_to_bytes_dyn().unwrap();
    let read = Ours::decode(&bytes[..]).unwrap_or_else(|error| panic!("{}: {error}", theirs.full_name()));
    let got = theirs.parse_from_bytes(&read.encode_to_vec()).unwrap();
    let mut lost = BTreeSet::new();
    differences(&*sent, &*got, "", &mut lost);
    let expected: BTreeSet<String> = left_out.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(lost, expected, "fields of {} that do not come back", theirs.full_name());
    let known = theirs.fields().count() - left_out.iter().filter(|name| !name.contains('.')).count();
    let text = format!("{:#?}", Ours::default());
    let fields = text.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     ")).count();
    let closing = text.lines().filter(|line| ["    },", "    ],"].contains(line)).count();
    assert_eq!(fields - closing, known, "fields of ours for {}: {text}", theirs.full_name());
}

#[test]
fn requests_and_answers_of_the_task_service_are_containerds() {
    same::<ours::CreateRequest>(&api::CreateTaskRequest::descriptor(), &["parent_checkpoint"]);
    same::<ours::PidResponse>(&api::CreateTaskResponse::descriptor(), &[]);
    same::<ours::PidResponse>(&api::StartResponse::descriptor(), &[]);
    same::<ours::ProcessRequest>(&api::StartRequest::descriptor(), &[]);
    same::<ours::ProcessRequest>(&api::DeleteRequest::descriptor(), &[]);
    same::<ours::ProcessRequest>(&api::StateRequest::descriptor(), &[]);
    same::<ours::ProcessRequest>(&api::WaitRequest::descriptor(), &[]);
    same::<ours::TaskRequest>(&api::PidsRequest::descriptor(), &[]);
    same::<ours::TaskRequest>(&api::PauseRequest::descriptor(), &[]);
    same::<ours::TaskRequest>(&api::ResumeRequest::descriptor(), &[]);
    same::<ours::TaskRequest>(&api::StatsRequest::descriptor(), &[]);
    same::<ours::TaskRequest>(&api::ConnectRequest::descriptor(), &[]);
    same::<ours::DeleteResponse>(&api::DeleteResponse::descriptor(), &[]);
    same::<ours::ExecRequest>(&api::ExecProcessRequest::descriptor(), &[]);
    same::<ours::ResizePtyRequest>(&api::ResizePtyRequest::descriptor(), &[]);
    same::<ours::StateResponse>(&api::StateResponse::descriptor(), &[]);
    same::<ours::KillRequest>(&api::KillRequest::descriptor(), &[]);
    same::<ours::CloseIoRequest>(&api::CloseIORequest::descriptor(), &[]);
    same::<ours::PidsResponse>(&api::PidsResponse::descriptor(), &[]);
    same::<ours::UpdateRequest>(&api::UpdateTaskRequest::descriptor(), &["annotations"]);
    same::<ours::CheckpointRequest>(&api::CheckpointTaskRequest::descriptor(), &[]);
    same::<ours::WaitResponse>(&api::WaitResponse::descriptor(), &[]);
    same::<ours::StatsResponse>(&api::StatsResponse::descriptor(), &[]);
    same::<ours::ConnectResponse>(&api::ConnectResponse::descriptor(), &[]);
}

#[test]
fn types_that_others_contain_are_containerds() {
    same::<ours::Any>(&any::Any::descriptor(), &[]);
    same::<ours::Timestamp>(&timestamp::Timestamp::descriptor(), &[]);
    same::<ours::Mount>(&api::Mount::descriptor(), &[]);
    same::<ours::ProcessInfo>(&api::ProcessInfo::descriptor(), &[]);
    same::<ours::Options>(&oci::Options::descriptor(), &[]);
    same::<ours::CheckpointOptions>(&oci::CheckpointOptions::descriptor(), &[]);
    same::<ours::ProcessDetails>(&oci::ProcessDetails::descriptor(), &[]);
    same::<ours::RuntimeInfo>(&introspection::RuntimeInfo::descriptor(), &[]);
    same::<ours::RuntimeVersion>(&introspection::RuntimeVersion::descriptor(), &[]);
}

#[test]
fn what_a_shim_is_started_with_is_containerds() {
    // Events go by ttrpc, not by containerd's binary.
    let left_out = ["containerd_binary", "containerd_version"];
    same::<ours::BootstrapParams>(&bootstrap::BootstrapParams::descriptor(), &left_out);
    same::<ours::Extension>(&bootstrap::Extension::descriptor(), &[]);
}

#[test]
fn events_are_containerds() {
    same::<events::ForwardRequest>(&api::ForwardRequest::descriptor(), &[]);
    same::<events::Envelope>(&containerd_shim_protos::shim::event::Envelope::descriptor(), &[]);
    // A restored task's image: there is none.
    same::<events::TaskCreate>(&task_events::TaskCreate::descriptor(), &[]);
    same::<events::TaskCheckpointed>(&task_events::TaskCheckpointed::descriptor(), &[]);
    same::<events::TaskIo>(&task_events::TaskIO::descriptor(), &[]);
    same::<events::TaskStart>(&task_events::TaskStart::descriptor(), &[]);
    same::<events::TaskDelete>(&task_events::TaskDelete::descriptor(), &[]);
    same::<events::TaskExit>(&task_events::TaskExit::descriptor(), &[]);
    same::<events::TaskNamed>(&task_events::TaskOOM::descriptor(), &[]);
    same::<events::TaskNamed>(&task_events::TaskPaused::descriptor(), &[]);
    same::<events::TaskNamed>(&task_events::TaskResumed::descriptor(), &[]);
    same::<events::TaskExecAdded>(&task_events::TaskExecAdded::descriptor(), &[]);
    same::<events::TaskExecStarted>(&task_events::TaskExecStarted::descriptor(), &[]);
}

#[test]
fn metrics_are_containerds() {
    same::<metrics::Metrics>(&cgroups::Metrics::descriptor(), &[]);
    same::<metrics::PsiStats>(&cgroups::PSIStats::descriptor(), &[]);
    same::<metrics::PsiData>(&cgroups::PSIData::descriptor(), &[]);
    same::<metrics::PidsStat>(&cgroups::PidsStat::descriptor(), &[]);
    same::<metrics::CpuStat>(&cgroups::CPUStat::descriptor(), &[]);
    same::<metrics::MemoryStat>(&cgroups::MemoryStat::descriptor(), &[]);
    same::<metrics::MemoryEvents>(&cgroups::MemoryEvents::descriptor(), &[]);
    same::<metrics::RdmaStat>(&cgroups::RdmaStat::descriptor(), &[]);
    same::<metrics::RdmaEntry>(&cgroups::RdmaEntry::descriptor(), &[]);
    same::<metrics::IoStat>(&cgroups::IOStat::descriptor(), &[]);
    same::<metrics::IoEntry>(&cgroups::IOEntry::descriptor(), &[]);
    same::<metrics::HugeTlbStat>(&cgroups::HugeTlbStat::descriptor(), &[]);
    same::<metrics::NetworkStat>(&cgroups::NetworkStat::descriptor(), &[]);
}
