//! What does config.json say?
//!
//! Runs on the host before anything is changed. Unknown properties are ignored, as the
//! specification asks; a `null` is a property that is not there, as engines written in Go have it.
//! What words mean is decided in [`crate::plan`], so that an error can name their place.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Context, Error, Result};

mod resources;

pub use resources::*;

/// Longest config.json that is read.
const MAX_LEN: u64 = 16 << 20;

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

/// Reads `config.json` of a bundle.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    match std::fs::metadata(&path) {
        // Without the words for ENOENT, from which engines conclude that the program is missing.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::new(format!(
            "{}: not found",
            path.display()
        ))
        .remedy(
            "a bundle has a config.json and a root file system: -b DIR names it, and cleat spec writes a config.json",
        )),
        _ => read_json(&path),
    }
}

/// Reads it once more, long after the container was created.
///
/// # Errors
/// Those of [`read_from`]; it was a pipe, which may have no writer any more.
pub fn read_again(bundle: &Path, file: Option<&Path>) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileTypeExt;
    let path = file.map_or_else(|| bundle.join("config.json"), Path::to_path_buf);
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(Error::new(format!("{}: is a pipe, which can be read once", path.display())));
    }
    read_from(bundle, file)
}

/// Reads the file that is to be in the place of a bundle's `config.json`, if there is one.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read_from(bundle: &Path, file: Option<&Path>) -> Result<Vec<u8>> {
    file.map_or_else(|| read(bundle), read_json)
}

/// Reads a JSON file of reasonable length.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read_json(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path).context(format_args!("open {}", path.display()))?;
    let mut text = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut text).context(format_args!("read {}", path.display()))?;
    if text.len() as u64 > MAX_LEN {
        return Err(Error::new(format!("{}: longer than 16 MiB", path.display())));
    }
    Ok(text)
}

/// Parses JSON; an error names the property, line and column.
///
/// # Errors
/// Not JSON, or a property of another type than the specification gives it. `file` is its name.
pub fn parse<'a, T: Deserialize<'a>>(file: &str, text: &'a [u8]) -> Result<T> {
    serde_json::from_slice::<Object<T>>(text).map(|object| object.0).map_err(|error| {
        if error.is_eof() {
            let (line, column) = (error.line(), error.column());
            return Error::new(format!("{file} ends too early, at line {line} column {column}"))
                .remedy("was it written whole?");
        }
        let place = if error.is_data() { property_at(text, error.line(), error.column()) } else { String::new() };
        Error::new(error.to_string()).in_file(file, &place)
    })
}

/// Calls `each` for every property of a well-formed JSON text: with the object that it is in, such as `process` or
/// `mounts[1]`, and its name.
pub fn each_property(text: &[u8], mut each: impl FnMut(&str, &str)) {
    let mut walk = Walk::default();
    for byte in text {
        if walk.step(*byte) {
            if let Some((At::Key(name), above)) = walk.stack.split_last() {
                each(&path_of(above), name);
            }
        }
    }
}

/// The property that is being read at a place of a JSON text that is well-formed up to there,
/// such as `process.args[1]`. (A library that keeps the path while it parses doubles the size of
/// every parser, in a binary that has a budget, for the one document in thousands that is wrong.)
fn property_at(text: &[u8], line: usize, column: usize) -> String {
    let line_start = text.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    // The column is that of the last byte that was read.
    let end = (line_start + column).min(text.len());
    let mut walk = Walk::default();
    for byte in &text[..end] {
        let _ = walk.step(*byte);
    }
    path_of(&walk.stack)
}

enum At {
    Key(String),
    Index(usize),
}

/// Where one is in a JSON text.
#[derive(Default)]
struct Walk {
    stack: Vec<At>,
    /// The string that was begun, or that was last.
    string: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// A string here is the name of a property.
    is_key: bool,
}

impl Walk {
    /// Takes the next byte. True: it ends the name of a property, which is the last of the stack.
    fn step(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if std::mem::take(&mut self.escaped) => self.string.push(byte),
            (true, b'"') => {
                self.in_string = false;
                // Already here: one that is there twice is where the error is.
                if let (Some(At::Key(key)), true) = (self.stack.last_mut(), self.is_key) {
                    *key = String::from_utf8_lossy(&self.string).into_owned();
                }
            }
            (true, _) => {
                self.escaped = byte == b'\\';
                self.string.push(byte);
            }
            (false, b'"') => {
                self.string.clear();
                self.in_string = true;
            }
            (false, b'{') => {
                self.stack.push(At::Key(String::new()));
                self.is_key = true;
            }
            (false, b'[') => self.stack.push(At::Index(0)),
            (false, b'}' | b']') => drop(self.stack.pop()),
            (false, b':') => {
                self.is_key = false;
                return matches!(self.stack.last(), Some(At::Key(_)));
            }
            (false, b',') => match self.stack.last_mut() {
                Some(At::Index(index)) => *index += 1,
                Some(At::Key(_)) => self.is_key = true,
                None => {}
            },
            (false, _) => {}
        }
        false
    }
}

fn path_of(stack: &[At]) -> String {
    let mut path = String::new();
    for step in stack {
        match step {
            At::Key(key) if path.is_empty() => path.push_str(key),
            At::Key(key) => path.extend([".", key]),
            At::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_is_a_property_that_is_not_there() {
        let spec: Spec =
            parse("config.json", br#"{"ociVersion":"1.0.2","mounts":null,"process":{"args":null,"rlimits":null}}"#)
                .unwrap();
        assert!(spec.mounts.is_empty());
    }

    #[test]
    fn a_null_annotation_is_empty() {
        let spec: Spec = parse("config.json", br#"{"annotations":{"a":null,"b":"c"}}"#).unwrap();
        assert_eq!(spec.annotations["a"], "");
        assert_eq!(spec.annotations["b"], "c");
    }

    /// The property that is there twice, wherever the first one is.
    #[test]
    fn an_error_of_a_property_that_is_there_twice_names_it() {
        for (text, place) in [
            (&br#"{"hostname":"a","root":{"path":"x"},"hostname":"b"}"#[..], "hostname"),
            (br#"{"root":{"path":"x","readonly":true,"path":"y"}}"#, "root.path"),
            (br#"{"mounts":[{"source":"a"},{"source":"b","type":"c","source":"d"}]}"#, "mounts[1].source"),
        ] {
            let error = parse::<Spec>("config.json", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: {place}: duplicate field")), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_property() {
        let error = parse::<Spec>("config.json", br#"{"process":{"args":["a", 7]}}"#).unwrap_err().to_string();
        assert!(error.starts_with("config.json: process.args[1]: invalid type: integer `7`"), "{error}");
    }

    #[test]
    fn the_place_of_an_error_is_found_over_lines_and_strings() {
        let text =
            b"{\n \"a]\\\"}\": {\"x\": 1},\n \"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\":\n {}}]}}";
        let error = parse::<Spec>("config.json", text).unwrap_err().to_string();
        assert!(error.starts_with("config.json: linux.namespaces[1].type: invalid type: map"), "{error}");
        let error =
            parse::<Spec>("config.json", br#"{"mounts":[{"destination":"/a"},{"destination":"/b","options":"ro"}]}"#)
                .unwrap_err()
                .to_string();
        assert!(error.starts_with("config.json: mounts[1].options: invalid type: string"), "{error}");
    }

    #[test]
    fn an_array_is_no_object() {
        for (text, place) in [
            ("[]", "config.json: invalid type: sequence, expected an object"),
            (r#"{"root":["rootfs"]}"#, "config.json: root: invalid type: sequence, expected an object"),
            (r#"{"mounts":[{"destination":"/a"},["/b"]]}"#, "config.json: mounts[1]: invalid type: sequence"),
        ] {
            let error = parse::<Spec>("config.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn a_truncated_file_is_told_as_such() {
        let error = parse::<Spec>("config.json", br#"{"process":{"args":["a""#).unwrap_err().to_string();
        assert!(error.contains("ends too early"), "{error}");
    }

    #[test]
    fn unknown_properties_are_ignored() {
        let spec: Spec =
            parse("config.json", br#"{"ociVersion":"1.3.0","somethingNew":{"a":1},"linux":{"later":true}}"#).unwrap();
        assert_eq!(spec.oci_version, "1.3.0");
    }
}
