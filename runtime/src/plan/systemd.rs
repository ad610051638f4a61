//! Which unit of systemd is the container's cgroup, and with which properties?
//!
//! Names and defaults are those of runc's systemd driver. Limits are given to systemd as well as written to the
//! cgroup, lest systemd takes them back when it reads its units again. Devices, too: both programs must allow one,
//! so that systemd's may be the wider.
//!
//! Source: systemd.unit(5), systemd.resource-control(5), org.freedesktop.systemd1(5).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::devices::Rule as DeviceRule;
use super::devices::{self, DeviceKind};
use super::findings::Findings;
use super::place::Place;
use super::place::place;
use super::resources::Limit;
use crate::error::Result;
use crate::plan::host::Systemd;

/// A transient scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name, with `.scope`.
    pub name: String,
    /// The user's manager has it, not the machine's.
    pub user: bool,
    /// What it is made with; its first process comes on top.
    pub properties: Vec<Property>,
    /// Limits under which no process can be started.
    pub late: Vec<Property>,
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name on the bus.
    pub name: &'static str,
    /// Its value, in systemd's type for it.
    pub value: Value,
}

/// A value, and with it a type of D-Bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Flag(bool),
    /// `i`
    Number(i32),
    /// `t`; a limit of `u64::MAX` is none.
    Count(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`: a set of CPUs or memory nodes, bit N of byte M is number 8 M + N.
    Set(Vec<u8>),
    /// `a(ss)`: devices, and what may be done with them.
    Pairs(Vec<(String, String)>),
    /// `au`: processes.
    Pids(Vec<u32>),
}

fn property(name: &'static str, value: Value) -> Property {
    Property { name, value }
}

/// Versions of systemd that brought what not every one of today has (systemd's NEWS).
mod since {
    pub(super) const CPU_QUOTA_PERIOD: u32 = 242;
    pub(super) const ALLOWED_CPUS: u32 = 244;
    /// A `CPUWeight` of 0 is `cpu.idle`.
    pub(super) const CPU_IDLE: u32 = 252;
    pub(super) const SCOPE_OOM_POLICY: u32 = 253;
    pub(super) const ZSWAP: u32 = 253;
}

const PLACE: &str = "linux.cgroupsPath";
/// What names are made of (systemd.unit(5)), but for `@`, which makes an instance of a template.
const NAME_CHARS: &[u8] = b":-_.\\";
/// Longer is no unit's name.
const NAME_MAX: usize = 255;

/// What the unit is made from.
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) path: &'a str,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) limits: &'a [Limit],
    pub(super) devices: Option<&'a [DeviceRule]>,
}

/// The unit, and its cgroup.
pub(super) fn decide(asked: &Asked<'_>, systemd: &Systemd, findings: &mut Findings) -> Option<(Unit, PathBuf)> {
    let annotated = annotated(asked.annotations, findings);
    let (slice, name) = findings.keep(names(asked.path, asked.id, systemd.user).map(Some))?;
    let mut units = findings.keep(expand(&slice).map(Some))?;
    units.push(name.clone());
    let mut path = systemd.cgroup.clone();
    units.iter().for_each(|unit| path.push(directory(unit)));
    let mut properties = vec![
        property("Description", Value::Text(format!("cleat container {}", asked.id))),
        property("Slice", Value::Text(slice)),
        // Gone when its last process is, whatever became of that: its name can be used again.
        property("CollectMode", Value::Text("inactive-or-failed".into())),
        property("DefaultDependencies", Value::Flag(false)),
    ];
    for name in ["Delegate", "CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"] {
        properties.push(property(name, Value::Flag(true)));
    }
    if let Some(rules) = asked.devices {
        device_properties(rules, &mut properties);
    }
    let (late, early): (Vec<&Limit>, Vec<&Limit>) = asked.limits.iter().partition(|limit| limit.late);
    properties.extend(of_limits(&early, systemd.version));
    properties.extend(annotated);
    let late = of_limits(&late, systemd.version);
    Some((Unit { name, user: systemd.user, properties, late }, path))
}

/// Slice and scope of a `linux.cgroupsPath`, `slice:prefix:name`.
fn names(path: &str, id: &str, user: bool) -> Result<(String, String)> {
    let place = place(PLACE);
    let default = || if user { "user.slice" } else { "system.slice" }.to_owned();
    if path.is_empty() {
        // The one character of an id that no unit's name has, as systemd-escape(1) writes it.
        return Ok((default(), format!("cleat-{}.scope", id.replace('+', "\\x2b"))));
    }
    let parts: Vec<&str> = path.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return Err(place.error(format_args!(
            "{path:?} is not of the form slice:prefix:name, which --systemd-cgroup wants, such as system.slice:cleat:web1"
        )));
    };
    if name.ends_with(".slice") {
        return Err(place
            .error(format_args!("{path:?}: {name} is a slice, in which no process may live"))
            .remedy("give the container's scope a name without .slice"));
    }
    let scope = format!("{prefix}-{name}.scope");
    let is_sane = |b: u8| b.is_ascii_alphanumeric() || NAME_CHARS.contains(&b);
    if name.is_empty() || scope.len() > NAME_MAX || !scope.bytes().all(is_sane) {
        return Err(place.error(format_args!(
            "{path:?}: {scope:?} is not the name of a unit: letters, digits and - _ . \\ only, and {NAME_MAX} at most"
        )));
    }
    Ok((if slice.is_empty() { default() } else { slice.to_owned() }, scope))
}

/// A slice with those that it lies in: `a-b.slice` is `a.slice/a-b.slice`, `-.slice` is the root.
fn expand(slice: &str) -> Result<Vec<String>> {
    let wrong = || {
        place(PLACE).error(format_args!(
            "{slice:?} is not the name of a slice, such as system.slice or kubepods-burstable.slice"
        ))
    };
    let stem = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if stem == "-" {
        return Ok(Vec::new());
    }
    let is_sane =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.\\".contains(&b));
    if slice.len() > NAME_MAX || !stem.split('-').all(is_sane) {
        return Err(wrong());
    }
    let mut slices = Vec::new();
    for (at, _) in stem.match_indices('-') {
        slices.push(format!("{}.slice", &stem[..at]));
    }
    slices.push(slice.to_owned());
    Ok(slices)
}

/// The cgroup of a unit: what could be a file of the kernel's gets a character in front.
fn directory(unit: &str) -> String {
    let escape = if unit.starts_with(['_', '.']) { "_" } else { "" };
    format!("{escape}{unit}")
}

/// Limits as properties, where systemd has one for a file.
pub(crate) fn of_limits(limits: &[&Limit], version: u32) -> Vec<Property> {
    let mut list = Vec::new();
    for (file, text) in limits.iter().flat_map(|limit| &limit.files) {
        let text = text.trim();
        if file == "cpu.max" {
            cpu_quota(text, version, &mut list);
        } else if let Some((name, value)) = of_file(file, text, version) {
            list.push(property(name, value));
        }
    }
    list
}

fn of_file(file: &str, text: &str, version: u32) -> Option<(&'static str, Value)> {
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "memory.zswap.max" if version >= since::ZSWAP => "MemoryZSwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "io.weight" => "IOWeight",
        "cpu.idle" if text == "1" && version >= since::CPU_IDLE => return Some(("CPUWeight", Value::Count(0))),
        "cpuset.cpus" if version >= since::ALLOWED_CPUS => return Some(("AllowedCPUs", Value::Set(members(text)?))),
        "cpuset.mems" if version >= since::ALLOWED_CPUS => {
            return Some(("AllowedMemoryNodes", Value::Set(members(text)?)));
        }
        "memory.oom.group" if version >= since::SCOPE_OOM_POLICY => {
            let word = if text == "1" { "kill" } else { "continue" };
            return Some(("OOMPolicy", Value::Text(word.into())));
        }
        _ => return None,
    };
    let count = number(text.strip_prefix("default ").unwrap_or(text))?;
    // systemd takes no limit of 0 processes; to who lives there alone, 1 is the same.
    Some((name, Value::Count(if name == "TasksMax" { count.max(1) } else { count })))
}

/// A number, or `max`.
fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

/// `cpu.max`, a quota and perhaps a period in microseconds, as time for each second. systemd keeps whole
/// hundredths of a CPU and takes the next smaller. So the property is the next greater one, and the file keeps
/// what was asked for.
fn cpu_quota(text: &str, version: u32, list: &mut Vec<Property>) {
    const DEFAULT_PERIOD_US: u64 = 100_000;
    const HUNDREDTH_US: u64 = 10_000;
    let (quota, period) = text.split_once(' ').unwrap_or((text, ""));
    let Some(quota) = number(quota) else { return };
    let period = number(period).filter(|period| *period > 0);
    if let Some(period) = period.filter(|_| version >= since::CPU_QUOTA_PERIOD) {
        list.push(property("CPUQuotaPeriodUSec", Value::Count(period)));
    }
    let per_second = match quota {
        u64::MAX => quota,
        quota => {
            let exact = quota.saturating_mul(1_000_000) / period.unwrap_or(DEFAULT_PERIOD_US);
            exact.div_ceil(HUNDREDTH_US).saturating_mul(HUNDREDTH_US)
        }
    };
    list.push(property("CPUQuotaPerSecUSec", Value::Count(per_second)));
}

/// The numbers of a list such as `0-3,8` as a set; `None`: no such list, which the kernel will say.
fn members(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel has CPUs.
    const MOST: usize = 1 << 16;
    let mut set: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        set.resize(set.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|number| set[number / 8] |= 1 << (number % 8));
    }
    Some(set)
}

/// All that some rule allows: a device that ours allows is allowed by the last rule about it. What
/// comes before a rule that denies everything counts for nothing.
fn device_properties(rules: &[DeviceRule], properties: &mut Vec<Property>) {
    let mut policy = "strict";
    let mut pairs: Vec<(String, String)> = Vec::new();
    for rule in rules {
        let any = rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() && rule.access == devices::ALL;
        match (rule.allow, any) {
            (true, true) => policy = "auto",
            (true, false) => device_pairs(rule, &mut pairs),
            (false, true) => {
                policy = "strict";
                pairs.clear();
            }
            (false, false) => {}
        }
    }
    properties.push(property("DevicePolicy", Value::Text(policy.into())));
    if policy == "strict" {
        properties.push(property("DeviceAllow", Value::Pairs(pairs)));
    }
}

fn device_pairs(rule: &DeviceRule, pairs: &mut Vec<(String, String)>) {
    let mut access = String::new();
    for (bit, letter) in [(devices::READ, 'r'), (devices::WRITE, 'w'), (devices::MKNOD, 'm')] {
        if rule.access & bit != 0 {
            access.push(letter);
        }
    }
    for kind in [DeviceKind::Char, DeviceKind::Block] {
        if rule.kind.is_none_or(|only| only == kind) {
            pairs.push((device_path(rule, kind), access.clone()));
        }
    }
}

fn device_path(rule: &DeviceRule, kind: DeviceKind) -> String {
    let kind = if kind == DeviceKind::Block { "block" } else { "char" };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        // systemd has no word for a minor number alone; our own program does.
        (None, _) => format!("{kind}-*"),
    }
}

/// The type of a property that an annotation may set.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Count,
    Text,
    Texts,
}

/// Annotations that set properties begin with it.
pub(crate) const ANNOTATION_PREFIX: &str = "org.systemd.property.";

/// What an annotation may set: how the container's own unit is described, ordered, stopped and
/// watched. Nothing that starts, stops or runs anything else, takes in other processes, loads
/// programs, or lifts a limit (CVE-2024-3154).
const ANNOTATIONS: &[(&str, Kind)] = &[
    ("After", Kind::Texts),
    ("Before", Kind::Texts),
    ("CollectMode", Kind::Text),
    ("DefaultDependencies", Kind::Flag),
    ("Description", Kind::Text),
    ("Documentation", Kind::Texts),
    ("FinalKillSignal", Kind::Number),
    ("IPAccounting", Kind::Flag),
    ("KillMode", Kind::Text),
    ("KillSignal", Kind::Number),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMPreference", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("OOMPolicy", Kind::Text),
    ("RuntimeMaxUSec", Kind::Count),
    ("SendSIGHUP", Kind::Flag),
    ("SendSIGKILL", Kind::Flag),
    ("TimeoutStopUSec", Kind::Count),
];

/// The full names of the annotations that are allowed, for the manual page.
#[must_use]
pub fn annotation_names() -> Vec<String> {
    ANNOTATIONS.iter().map(|(name, _)| format!("{ANNOTATION_PREFIX}{name}")).collect()
}

/// Properties that annotations ask for, in GVariant's text format as runc reads it.
fn annotated(annotations: &BTreeMap<String, String>, findings: &mut Findings) -> Vec<Property> {
    let asked: Vec<_> = annotations.iter().filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX)).collect();
    findings.each(&asked, |_, (key, text)| annotation(key, text))
}

fn annotation(key: &str, text: &str) -> Result<Property> {
    let place = Place::new(format!("annotations[{key:?}]"));
    let name = &key[ANNOTATION_PREFIX.len()..];
    // As in unit files, seconds stand for microseconds.
    let seconds = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    let full = seconds.map_or_else(|| name.to_owned(), |stem| format!("{stem}USec"));
    let Some((name, kind)) = ANNOTATIONS.iter().find(|(known, _)| *known == full) else {
        let names: Vec<&str> = ANNOTATIONS.iter().map(|(known, _)| *known).collect();
        return Err(place
            .error("is not a property that a container may set")
            .remedy(format_args!("remove it (limits belong in linux.resources). Allowed: {}", names.join(", "))));
    };
    let text = text.trim();
    let (value, form) = match kind {
        Kind::Flag => (matches!(text, "true" | "false").then(|| Value::Flag(text == "true")), "true or false"),
        Kind::Number => (integer(text).and_then(|n| n.parse().ok()).map(Value::Number), "a number, such as 15"),
        Kind::Count if seconds.is_some() => (microseconds(text).map(Value::Count), "a number of seconds, such as 10"),
        Kind::Count => {
            (integer(text).and_then(|n| n.parse().ok()).map(Value::Count), "a number, such as uint64 10000000")
        }
        Kind::Text => (quoted(text).filter(|(_, rest)| rest.is_empty()).map(|(word, _)| Value::Text(word)), "a 'text'"),
        Kind::Texts => (strings(text).map(Value::Texts), "a list ['text', …]"),
    };
    let value = value.ok_or_else(|| place.error(format_args!("{text:?} is not {form} in GVariant's text format")))?;
    Ok(property(name, value))
}

/// The digits behind the name of a type, if there is one.
fn integer(text: &str) -> Option<&str> {
    match text.split_once(' ') {
        None => Some(text),
        Some(("byte" | "int16" | "uint16" | "int32" | "uint32" | "handle" | "int64" | "uint64", digits)) => {
            Some(digits.trim_start())
        }
        Some(_) => None,
    }
}

/// Seconds with up to six decimals as microseconds.
fn microseconds(text: &str) -> Option<u64> {
    let text = integer(text)?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 6 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: u64 = format!("{decimals:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

/// A text in single or double quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let mut word = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => word.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                same @ ('\\' | '\'' | '"') => same,
                _ => return None,
            }),
            c if c == quote => return Some((word, text[at + 1..].trim_start())),
            '\0' => return None,
            c => word.push(c),
        }
    }
    None
}

/// `['a', 'b']`, or `@as []`.
fn strings(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix("@as").unwrap_or(text).trim_start();
    let mut rest = inner.strip_prefix('[')?.trim_start();
    let mut list = Vec::new();
    while rest != "]" {
        let (word, after) = quoted(rest)?;
        list.push(word);
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None => after,
        };
        if !after.starts_with(',') && rest != "]" {
            return None;
        }
    }
    Some(list)
}

impl Serialize for Property {
    /// As it is shown: `NAME=VALUE`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl std::fmt::Display for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match &self.value {
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Count(u64::MAX) => "infinity".into(),
            Value::Count(count) => count.to_string(),
            Value::Text(text) => text.clone(),
            Value::Texts(list) => list.join(" "),
            Value::Set(set) => {
                let is_in = |number: &usize| set[number / 8] & (1 << (number % 8)) != 0;
                let numbers = (0..set.len() * 8).filter(is_in);
                numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
            }
            Value::Pairs(pairs) => {
                pairs.iter().map(|(path, access)| format!("{path} {access}")).collect::<Vec<_>>().join(", ")
            }
            Value::Pids(pids) => format!("{pids:?}"),
        };
        write!(f, "{}={text}", self.name)
    }
}

#[cfg(test)]
mod tests;
