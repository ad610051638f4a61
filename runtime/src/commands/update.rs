//! `update`: changes the limits of a container that runs.

use std::io::Read;
use std::path::Path;

use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::cgroup::{Before, Cgroup, systemd};
use crate::cli;
use crate::container::{Container, Status};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::host::Host;
use crate::plan::{self, Findings, resources};
use crate::spec;
use crate::spec::Resources;

use super::Shell;

/// Most of standard input that is read.
const MAX_LEN: u64 = 1 << 20;

/// `update`: limits that are not named stay; the devices are never touched.
///
/// # Errors
/// A limit that is wrong, or that the kernel refuses: then the old ones are in force again.
pub fn update(shell: &Shell<'_>, options: &cli::Update) -> Result<()> {
    let wanted = wanted(options)?;
    let schemata = schemata(options)?;
    change(shell, &options.id, wanted, &schemata)
}

/// The same with limits as `linux.resources` has them, in JSON.
///
/// # Errors
/// See [`update`].
pub fn update_with(shell: &Shell<'_>, id: &str, resources: &[u8]) -> Result<()> {
    change(shell, id, from_json("resources", resources)?, &[])
}

fn change(shell: &Shell<'_>, id: &str, mut wanted: Value, schemata: &[&str]) -> Result<()> {
    let (mut container, _lock) = shell.store.open(id)?.locked()?;
    if !matches!(container.status()?, Status::Created | Status::Running | Status::Paused | Status::Checkpointing) {
        return Err(Error::of(Kind::NotRunning, format!("container not running: {id}")));
    }
    forget_what_asks_for_nothing(&mut wanted);
    let wanted = &wanted;
    if wanted.as_object().is_none_or(Map::is_empty) {
        return change_rdt(&container, schemata);
    }
    let cgroup =
        container.cgroup().ok_or_else(|| Error::new(format!("container {id} has no cgroup of its own to limit")))?;
    let merged = merged(&container, wanted)?;
    let all: Resources = typed("the limits of the container", &merged)?;
    let mut findings = Findings::default();
    let unit = container.unit();
    let host = Host::of_update(shell.rootless)?;
    let limits = resources::decide(&all, &host, &mut findings);
    findings.warnings()?.iter().for_each(|warning| (shell.warn)(warning));
    check_usage(&cgroup, &all, &typed("the limits", wanted)?)?;
    let touched = |name: &&str| named(wanted, name);
    let changed: Vec<_> = limits.iter().filter(|limit| limit.from.iter().any(touched)).collect();
    let mut before = Before::default();
    cgroup
        .replace_limits(&changed, &mut before)
        .and_then(|()| match &unit {
            Some(unit) => {
                let version = systemd::probe(unit.user)?.version;
                unit.set(&plan::systemd::of_limits(&changed, version))?;
                // It rounds what it writes.
                cgroup.limit(&changed)
            }
            None => Ok(()),
        })
        .and_then(|()| change_rdt(&container, schemata))
        .inspect_err(|_| cgroup.put_back(&before))?;
    cgroup.take_warnings().iter().for_each(|warning| (shell.warn)(warning));
    let text = to_raw_value(&merged).map_err(|error| Error::new(format!("encode limits: {error}")))?;
    container.record.cleat.resources = Some(text);
    if let Some(own) = &mut container.record.cleat.cgroup {
        own.memory_limited = limits.iter().any(|limit| limit.controller == "memory");
    }
    container.save()
}

/// What the container's resctrl group is to have.
fn schemata(options: &cli::Update) -> Result<Vec<&str>> {
    let all = [
        ("--l3-cache-schema", options.l3_cache_schema.as_deref(), "L3"),
        ("--mem-bw-schema", options.mem_bw_schema.as_deref(), "MB:"),
    ];
    let given = all.into_iter().filter_map(|(option, text, start)| Some((option, text?, start)));
    given
        .map(|(option, text, start)| match text.starts_with(start) && !text.contains('\n') {
            true => Ok(text),
            false => Err(Error::new(format!("{option} {text:?}: not one line that starts with {start:?}"))),
        })
        .collect()
}

fn change_rdt(container: &Container, schemata: &[&str]) -> Result<()> {
    if schemata.is_empty() {
        return Ok(());
    }
    let own = container.record.cleat.rdt.as_ref().ok_or_else(|| {
        let what = "has no resctrl group to change: its config.json has no linux.intelRdt";
        Error::new(format!("container {} {what}", container.id()))
    })?;
    own.change(schemata)
}

/// Leaves out what changes nothing, as engines send it when they are asked for something else
/// (`docker update --restart`): no value, and the 0 by which runc, too, knows what was not given.
fn forget_what_asks_for_nothing(wanted: &mut Value) {
    const ZEROS: &[(&str, &[&str])] = &[
        ("blockIO", &["weight", "leafWeight"]),
        ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod"]),
        ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
        ("pids", &["limit"]),
    ];
    let Some(groups) = wanted.as_object_mut() else { return };
    for (group, value) in groups.iter_mut() {
        let Some(properties) = value.as_object_mut() else { continue };
        let zeros = ZEROS.iter().find(|(name, _)| name == group).map_or(&[][..], |(_, zeros)| zeros);
        properties.retain(|name, value| {
            let is_zero = value == 0 && zeros.contains(&name.as_str());
            let is_empty = group == "cpu" && value == "";
            !(value.is_null() || is_zero || is_empty || value.as_array().is_some_and(Vec::is_empty))
        });
    }
    groups.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(properties) => !properties.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

fn typed(name: &str, value: &Value) -> Result<Resources> {
    let text = serde_json::to_vec(value).map_err(|error| Error::new(format!("encode limits: {error}")))?;
    spec::parse(name, &text)
}

/// Whether that is asked for may stand in config.json.
fn check_usage(cgroup: &Cgroup, all: &Resources, wanted: &Resources) -> Result<()> {
    let memory = spec::Memory { check_before_update: all.memory.check_before_update, ..wanted.memory.clone() };
    resources::check_usage(&memory, cgroup.number("memory.current"), cgroup.number("memory.swap.current"))
}

/// Whether a property such as `memory.limit` is among those given.
fn named(wanted: &Value, name: &str) -> bool {
    let (group, name) = name.split_once('.').unwrap_or((name, ""));
    match &wanted[group] {
        Value::Null => false,
        value => name.is_empty() || !value[name].is_null(),
    }
}

/// What the container has, with what is new in its place.
fn merged(container: &Container, wanted: &Value) -> Result<Value> {
    let mut all: Value = match &container.record.cleat.resources {
        Some(raw) => spec::parse::<Map<String, Value>>("state.json", raw.get().as_bytes())?.into(),
        None => json!({}),
    };
    for (group, new) in wanted.as_object().into_iter().flatten() {
        match (all.get_mut(group), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let given = new.iter().filter(|(_, value)| !value.is_null());
                old.extend(given.map(|(name, value)| (name.clone(), value.clone())));
            }
            (_, Value::Null) => {}
            _ => all[group] = new.clone(),
        }
    }
    // Without a limit of memory there is none of both together.
    if wanted["memory"]["limit"] == -1 && wanted["memory"]["swap"].is_null() {
        all["memory"]["swap"] = json!(-1);
    }
    Ok(all)
}

/// What is to be changed, as `linux.resources` has it.
fn wanted(options: &cli::Update) -> Result<Value> {
    let mut wanted = match &options.resources {
        Some(path) => from_file(path)?,
        None => json!({}),
    };
    let numbers = [
        ("blockIO", "weight", options.blkio_weight.map(Value::from)),
        ("cpu", "period", options.cpu_period.map(Value::from)),
        ("cpu", "quota", options.cpu_quota.map(Value::from)),
        ("cpu", "burst", options.cpu_burst.map(Value::from)),
        ("cpu", "shares", options.cpu_share.map(Value::from)),
        ("cpu", "realtimePeriod", options.cpu_rt_period.map(Value::from)),
        ("cpu", "realtimeRuntime", options.cpu_rt_runtime.map(Value::from)),
        ("cpu", "cpus", options.cpuset_cpus.clone().map(Value::from)),
        ("cpu", "mems", options.cpuset_mems.clone().map(Value::from)),
        ("cpu", "idle", options.cpu_idle.map(Value::from)),
        ("memory", "limit", bytes("--memory", options.memory.as_deref())?),
        ("memory", "reservation", bytes("--memory-reservation", options.memory_reservation.as_deref())?),
        ("memory", "swap", bytes("--memory-swap", options.memory_swap.as_deref())?),
        ("memory", "kernel", bytes("--kernel-memory", options.kernel_memory.as_deref())?),
        ("memory", "kernelTCP", bytes("--kernel-memory-tcp", options.kernel_memory_tcp.as_deref())?),
        ("pids", "limit", options.pids_limit.map(Value::from)),
    ];
    for (group, name, value) in numbers {
        if let Some(value) = value {
            wanted[group][name] = value;
        }
    }
    Ok(wanted)
}

fn from_file(path: &Path) -> Result<Value> {
    let (name, text) = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().take(MAX_LEN).read_to_end(&mut text).context("read standard input")?;
        ("standard input".to_owned(), text)
    } else {
        (path.display().to_string(), spec::read_json(path)?)
    };
    from_json(&name, &text)
}

fn from_json(name: &str, text: &[u8]) -> Result<Value> {
    // Once for the types of all properties, once for which of them are there.
    let _: Resources = spec::parse(name, text)?;
    let mut all: Map<String, Value> = spec::parse(name, text)?;
    all.remove("devices");
    Ok(all.into())
}

/// A number of bytes as Docker and runc take it: also with k, m, g or t behind it, and -1.
fn bytes(option: &str, text: Option<&str>) -> Result<Option<Value>> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || {
        Error::new(format!("{option} {text:?}: not a number of bytes, such as 1048576, 512m or 1g"))
            .remedy("-1 is unlimited")
    };
    if text == "-1" {
        return Ok(Some(json!(-1)));
    }
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match bare.bytes().last() {
        Some(b'k') => (&bare[..bare.len() - 1], 10),
        Some(b'm') => (&bare[..bare.len() - 1], 20),
        Some(b'g') => (&bare[..bare.len() - 1], 30),
        Some(b't') => (&bare[..bare.len() - 1], 40),
        _ => (bare, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).map(|bytes| Some(json!(bytes))).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [("0", 0), ("-1", -1), ("512m", 512 << 20), ("1G", 1 << 30), ("2KiB", 2048), ("7b", 7)]
        {
            assert_eq!(bytes("--memory", Some(text)).unwrap(), Some(json!(expected)), "{text}");
        }
        for wrong in ["", "m", "-2", "1x", "1.5g", "99999999999t", "9223372036854775808", " 1"] {
            assert!(bytes("--memory", Some(wrong)).unwrap_err().to_string().starts_with("--memory \""), "{wrong:?}");
        }
    }

    #[test]
    fn what_changes_nothing_is_left_out() {
        let mut wanted = json!({"blockIO": {"weight": 0, "weightDevice": []}, "pids": {}, "hugepageLimits": null,
            "cpu": {"shares": 0, "quota": 0, "cpus": "", "idle": 0}, "memory": {"limit": 0, "swap": -1}});
        forget_what_asks_for_nothing(&mut wanted);
        assert_eq!(wanted, json!({"cpu": {"idle": 0}, "memory": {"swap": -1}}));
    }

    #[test]
    fn only_what_is_named_is_touched() {
        let wanted = json!({"memory": {"limit": 1, "swap": null}, "unified": {"a.b": "c"}});
        assert!(named(&wanted, "memory.limit") && named(&wanted, "unified"));
        assert!(!named(&wanted, "memory.swap") && !named(&wanted, "cpu.quota"));
    }
}
