//! What does config.json say?
//!
//! Runs on the host before anything is changed. Unknown properties are ignored, as the
//! specification asks; a `null` is a property that is not there, as engines written in Go have it.
//! What words mean is decided in [`crate::plan`], so that an error can name their place.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

mod parse;
mod resources;

pub use parse::*;
pub use resources::*;

/// The whole of config.json (runtime-spec 1.3.0, config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Spec {
    #[serde(deserialize_with = "or_default")]
    pub oci_version: String,
    #[serde(deserialize_with = "optional_object")]
    pub root: Option<Root>,
    #[serde(deserialize_with = "objects")]
    pub mounts: Vec<Mount>,
    #[serde(deserialize_with = "optional_object")]
    pub process: Option<Process>,
    #[serde(deserialize_with = "or_default")]
    pub hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub domainname: String,
    #[serde(deserialize_with = "object")]
    pub hooks: Hooks,
    #[serde(deserialize_with = "texts_by_name")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "object")]
    pub linux: Linux,
    pub solaris: Option<IgnoredAny>,
    pub windows: Option<IgnoredAny>,
    pub vm: Option<IgnoredAny>,
    pub zos: Option<IgnoredAny>,
    pub freebsd: Option<IgnoredAny>,
}

/// `null` is absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A `null` among them is empty, as in Go.
fn texts_by_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let texts: BTreeMap<String, Option<String>> = or_default(deserializer)?;
    Ok(texts.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect())
}

/// A JSON object. (What serde derives takes an array of the properties' values for one, too.)
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Object<T>, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

fn object<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    optional_object(deserializer).map(Option::unwrap_or_default)
}

fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> std::result::Result<Vec<T>, D::Error> {
    let list: Vec<Object<T>> = or_default(deserializer)?;
    Ok(list.into_iter().map(|object| object.0).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Root {
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub readonly: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Mount {
    #[serde(deserialize_with = "or_default")]
    pub destination: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub source: String,
    #[serde(deserialize_with = "or_default")]
    pub options: Vec<String>,
    #[serde(deserialize_with = "objects")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "objects")]
    pub gid_mappings: Vec<IdMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Process {
    #[serde(deserialize_with = "or_default")]
    pub terminal: bool,
    #[serde(deserialize_with = "optional_object")]
    pub console_size: Option<ConsoleSize>,
    #[serde(deserialize_with = "or_default")]
    pub cwd: String,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "objects")]
    pub rlimits: Vec<Rlimit>,
    #[serde(deserialize_with = "or_default")]
    pub apparmor_profile: String,
    #[serde(deserialize_with = "optional_object")]
    pub capabilities: Option<Capabilities>,
    #[serde(deserialize_with = "or_default")]
    pub no_new_privileges: bool,
    pub oom_score_adj: Option<i32>,
    #[serde(deserialize_with = "optional_object")]
    pub scheduler: Option<Scheduler>,
    #[serde(deserialize_with = "or_default")]
    pub selinux_label: String,
    #[serde(deserialize_with = "optional_object")]
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity", deserialize_with = "optional_object")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
    #[serde(deserialize_with = "object")]
    pub user: User,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ConsoleSize {
    pub height: Option<u32>,
    pub width: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Scheduler {
    #[serde(deserialize_with = "or_default")]
    pub policy: String,
    #[serde(deserialize_with = "or_default")]
    pub nice: i32,
    #[serde(deserialize_with = "or_default")]
    pub priority: i32,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub runtime: u64,
    #[serde(deserialize_with = "or_default")]
    pub deadline: u64,
    #[serde(deserialize_with = "or_default")]
    pub period: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct IoPriority {
    #[serde(deserialize_with = "or_default")]
    pub class: String,
    pub priority: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct CpuAffinity {
    #[serde(deserialize_with = "or_default")]
    pub initial: String,
    #[serde(rename = "final", deserialize_with = "or_default")]
    pub last: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Capabilities {
    #[serde(deserialize_with = "or_default")]
    pub bounding: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub effective: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub inheritable: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub permitted: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub ambient: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct User {
    #[serde(deserialize_with = "or_default")]
    pub uid: u32,
    #[serde(deserialize_with = "or_default")]
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub additional_gids: Vec<u32>,
    #[serde(deserialize_with = "or_default")]
    pub username: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Hooks {
    #[serde(deserialize_with = "objects")]
    pub prestart: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_runtime: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_container: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub start_container: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststart: Vec<Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststop: Vec<Hook>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Hook {
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// Missing is not the same as empty.
    pub env: Option<Vec<String>>,
    pub timeout: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Linux {
    #[serde(deserialize_with = "objects")]
    pub namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "objects")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "objects")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "or_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    #[serde(deserialize_with = "objects")]
    pub devices: Vec<Device>,
    #[serde(deserialize_with = "or_default")]
    pub net_devices: BTreeMap<String, Object<NetDevice>>,
    #[serde(deserialize_with = "or_default")]
    pub cgroups_path: String,
    #[serde(deserialize_with = "object")]
    pub resources: Resources,
    #[serde(deserialize_with = "optional_object")]
    pub intel_rdt: Option<IntelRdt>,
    #[serde(deserialize_with = "optional_object")]
    pub memory_policy: Option<MemoryPolicy>,
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, String>,
    #[serde(deserialize_with = "optional_object")]
    pub seccomp: Option<Seccomp>,
    #[serde(deserialize_with = "or_default")]
    pub rootfs_propagation: String,
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub mount_label: String,
    #[serde(deserialize_with = "optional_object")]
    pub personality: Option<Personality>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct IntelRdt {
    #[serde(rename = "closID", deserialize_with = "or_default")]
    pub clos_id: String,
    #[serde(deserialize_with = "or_default")]
    pub l3_cache_schema: String,
    #[serde(deserialize_with = "or_default")]
    pub mem_bw_schema: String,
    #[serde(deserialize_with = "or_default")]
    pub schemata: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub enable_monitoring: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct MemoryPolicy {
    #[serde(deserialize_with = "or_default")]
    pub mode: String,
    #[serde(deserialize_with = "or_default")]
    pub nodes: String,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Personality {
    #[serde(deserialize_with = "or_default")]
    pub domain: String,
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Seccomp {
    #[serde(deserialize_with = "or_default")]
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    /// Not there is not the same as empty.
    pub flags: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub listener_path: String,
    #[serde(deserialize_with = "or_default")]
    pub listener_metadata: String,
    #[serde(deserialize_with = "objects")]
    pub syscalls: Vec<SyscallRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SyscallRule {
    #[serde(deserialize_with = "or_default")]
    pub names: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub action: String,
    pub errno_ret: Option<u32>,
    #[serde(deserialize_with = "objects")]
    pub args: Vec<SyscallArg>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SyscallArg {
    pub index: u32,
    pub value: u64,
    pub value_two: u64,
    #[serde(deserialize_with = "or_default")]
    pub op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub path: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "idMapping")]
#[allow(missing_docs)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Device {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub major: i64,
    #[serde(deserialize_with = "or_default")]
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NetDevice {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// The parts of config.json that later commands need, word by word as they were written.
#[derive(Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct RawSpec<'a> {
    #[serde(borrow)]
    pub process: Option<&'a RawValue>,
    #[serde(borrow)]
    pub hooks: Option<&'a RawValue>,
    #[serde(borrow)]
    pub linux: Option<KeptLinux<'a>>,
}

/// The same of `linux`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct KeptLinux<'a> {
    #[serde(borrow)]
    pub resources: Option<&'a RawValue>,
}
