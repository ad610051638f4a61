//! Which of `linux.resources` asks for something, and can we do it?
//!
//! Limits are not set by this version. A value that asks for what holds anyway (unlimited, the
//! kernel's default) needs no controller and is accepted; anything else is refused by name, never
//! dropped.

use serde_json::Value;

use crate::config::Resources;
use crate::error::Error;
use crate::host::Host;

use super::{Findings, Place};

/// A setting, the controller it needs, and the numbers that ask for what holds anyway.
struct Setting {
    group: &'static str,
    name: &'static str,
    controller: &'static str,
    neutral: &'static [i64],
}

const fn setting(
    group: &'static str,
    name: &'static str,
    controller: &'static str,
    neutral: &'static [i64],
) -> Setting {
    Setting { group, name, controller, neutral }
}

/// runtime-spec config-linux.md § Control groups.
const SETTINGS: &[Setting] = &[
    setting("memory", "limit", "memory", &[0, -1]),
    setting("memory", "reservation", "memory", &[0, -1]),
    setting("memory", "swap", "memory", &[0, -1]),
    setting("cpu", "shares", "cpu", &[0, 1024]),
    setting("cpu", "quota", "cpu", &[0, -1]),
    setting("cpu", "burst", "cpu", &[0]),
    setting("cpu", "idle", "cpu", &[0]),
    setting("cpu", "cpus", "cpuset", &[]),
    setting("cpu", "mems", "cpuset", &[]),
    setting("pids", "limit", "pids", &[-1]),
    setting("blockIO", "weight", "io", &[0]),
    setting("blockIO", "leafWeight", "io", &[0]),
    setting("blockIO", "weightDevice", "io", &[]),
    setting("blockIO", "throttleReadBpsDevice", "io", &[]),
    setting("blockIO", "throttleWriteBpsDevice", "io", &[]),
    setting("blockIO", "throttleReadIOPSDevice", "io", &[]),
    setting("blockIO", "throttleWriteIOPSDevice", "io", &[]),
];

/// Settings that only version 1 of control groups has: ignored on version 2, as runc does.
const V1_ONLY: &[(&str, &str)] = &[
    ("memory", "kernel"),
    ("memory", "kernelTCP"),
    ("memory", "swappiness"),
    ("memory", "disableOOMKiller"),
    ("cpu", "realtimeRuntime"),
    ("cpu", "realtimePeriod"),
    ("network", "classID"),
    ("network", "priorities"),
];

/// Checks every limit.
pub(super) fn check(limits: &Resources, host: &Host, findings: &mut Findings) {
    findings.each(SETTINGS, |_, setting| {
        let Some(value) = group(limits, setting.group).get(setting.name) else { return Ok(()) };
        let place = Place::new(format!("linux.resources.{}.{}", setting.group, setting.name));
        match is_neutral(value, setting.neutral) {
            Some(true) => Ok(()),
            Some(false) => Err(refuse(&place, setting.controller, host)),
            None => Err(place.error(format_args!("{value} is of the wrong type"))),
        }
    });
    findings.each(&[("hugepageLimits", "hugetlb"), ("rdma", "rdma"), ("unified", "")], |_, (name, controller)| {
        match is_neutral(group(limits, name), &[]) {
            Some(true) => Ok(()),
            _ => Err(refuse(&Place::new(format!("linux.resources.{name}")), controller, host)),
        }
    });
    for (of, name) in V1_ONLY {
        let value = group(limits, of).get(*name);
        if value.is_some_and(|v| is_neutral(v, &[0, -1]) != Some(true)) {
            findings.warnings.push(format!("config.json: linux.resources.{of}.{name}: ignored, only cgroup v1 has it"));
        }
    }
}

fn group<'a>(limits: &'a Resources, name: &str) -> &'a Value {
    match name {
        "memory" => &limits.memory,
        "cpu" => &limits.cpu,
        "pids" => &limits.pids,
        "blockIO" => &limits.block_io,
        "hugepageLimits" => &limits.hugepage_limits,
        "network" => &limits.network,
        "rdma" => &limits.rdma,
        _ => &limits.unified,
    }
}

/// Whether a value asks for nothing; `None` for a value of a type that no setting has.
fn is_neutral(value: &Value, numbers: &[i64]) -> Option<bool> {
    match value {
        Value::Null | Value::Bool(false) => Some(true),
        Value::Bool(true) => Some(false),
        Value::Number(number) => Some(number.as_i64().is_some_and(|n| numbers.contains(&n))),
        Value::String(text) => numbers.is_empty().then_some(text.is_empty()),
        Value::Array(list) => numbers.is_empty().then_some(list.is_empty()),
        Value::Object(map) => numbers.is_empty().then_some(map.is_empty()),
    }
}

fn refuse(place: &Place, controller: &str, host: &Host) -> Error {
    if host.cgroup.v1_controllers.iter().any(|v1| v1 == controller || (controller == "io" && v1 == "blkio")) {
        return place.error(format_args!(
            "the {controller} controller is bound to cgroup v1 on this host; \
             boot with cgroup_no_v1=all (or systemd.unified_cgroup_hierarchy=1), or remove the limit"
        ));
    }
    place.error("this version of cleat sets no resource limits but device access; remove it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_json(value: Value) -> (std::result::Result<(), String>, Vec<String>) {
        let limits = serde_json::from_value(value).unwrap();
        let mut host = Host::default();
        host.cgroup.v1_controllers = vec!["memory".into(), "blkio".into()];
        let mut findings = Findings::default();
        check(&limits, &host, &mut findings);
        let first = findings.problems.first().map_or(Ok(()), |problem| Err(problem.to_string()));
        (first, findings.warnings)
    }

    #[test]
    fn what_holds_anyway_needs_no_controller() {
        let neutral = json!({
            "memory": {"limit": -1, "swap": 0, "disableOOMKiller": false},
            "cpu": {"shares": 1024, "quota": -1, "period": 100_000, "cpus": ""},
            "pids": {"limit": -1}, "blockIO": {"weight": 0, "weightDevice": []},
            "hugepageLimits": [], "unified": {}, "network": null
        });
        assert_eq!(check_json(neutral), (Ok(()), vec![]));
    }

    #[test]
    fn a_limit_whose_controller_is_bound_to_v1_names_it() {
        let error = check_json(json!({"memory": {"limit": 1 << 20}})).0.unwrap_err();
        assert!(
            error.starts_with("config.json: linux.resources.memory.limit: the memory controller is bound to cgroup v1"),
            "{error}"
        );
        assert!(
            check_json(json!({"blockIO": {"weight": 10}}))
                .0
                .unwrap_err()
                .contains("io controller is bound to cgroup v1")
        );
    }

    #[test]
    fn a_limit_is_refused_by_name_and_never_dropped() {
        for limit in [
            json!({"pids": {"limit": 0}}),
            json!({"cpu": {"idle": 1}}),
            json!({"rdma": {"mlx": {}}}),
            json!({"unified": {"a": "b"}}),
        ] {
            let error = check_json(limit).0.unwrap_err();
            assert!(error.contains("sets no resource limits"), "{error}");
        }
    }

    #[test]
    fn a_wrong_type_is_told() {
        assert!(check_json(json!({"cpu": {"shares": "many"}})).0.unwrap_err().contains("wrong type"));
    }
}
