//! Which limits does the container's cgroup get? `linux.resources` as writes to files of cgroup v2.
//!
//! Numbers that version 1 had in other units are converted as runc and crun do it. What asks for
//! the kernel's default needs no controller; what only version 1 has is a warning.

use std::fmt::Display;

use serde::Serialize;

use super::findings::Findings;
use super::place::Place;
use crate::error::{Error, Result};
use crate::plan::host::Host;
use crate::spec::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// One write to a file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The property of config.json, for errors.
    pub place: String,
    /// Properties that it comes from, as `group.name`.
    #[serde(skip)]
    pub from: &'static [&'static str],
    /// The controller that has the file.
    pub controller: String,
    /// File and text; the first whose file the kernel has is written.
    pub files: Vec<(String, String)>,
    /// False: it asks for what holds where there is no such file.
    pub required: bool,
    /// The first process could not be started under it: it is set before any other program runs.
    pub late: bool,
}

impl Limit {
    /// Whether it is ours, and no property of config.json asks for it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.from.is_empty()
    }

    /// Whether it is the weight of one device.
    #[must_use]
    pub fn is_device_weight(&self) -> bool {
        self.from.contains(&"blockIO.weightDevice")
    }
}

/// How deep a container may divide its cgroup, and into how many. systemd in Kubernetes in a container in a
/// container is a tenth of that. The kernel gives a machine's memory controller 65,535 cgroups; one container
/// takes an eighth of them at most.
const BOUNDS: [(&str, u32); 2] = [("cgroup.max.depth", 64), ("cgroup.max.descendants", 8192)];

/// The bounds of what any container can do that may write its cgroup, where config.json has none:
/// its root needs no mount of ours for it, only unshare(2).
pub(super) fn bounds(resources: &Resources) -> Vec<Limit> {
    let missing = BOUNDS.iter().filter(|(file, _)| !resources.unified.contains_key(*file));
    let bound = |(file, most): &(&str, u32)| Limit {
        place: format!("linux.resources.unified[{file:?}]"),
        from: &[],
        controller: CORE.into(),
        files: vec![((*file).to_owned(), most.to_string())],
        required: false,
        late: false,
    };
    missing.map(bound).collect()
}

/// Below so many bytes a limit of memory is set when all is made. Until it has become its own program, the first
/// process shares our memory, and we would die with it. And what making the container takes, of which most is
/// given back, is not the program's.
const TIGHT: i64 = 16 << 20;

const UNITS: [&str; 3] = ["KB", "MB", "GB"];

/// Collects limits with what they share.
struct Limits<'a> {
    list: Vec<Limit>,
    host: &'a Host,
    findings: &'a mut Findings,
}

impl Limits<'_> {
    /// A limit in one file.
    fn set(&mut self, from: &'static [&'static str], controller: &str, file: &str, text: impl Display) -> &mut Limit {
        self.set_one_of(from, controller, vec![(file.to_owned(), text.to_string())])
    }

    /// A limit in the first file that there is.
    fn set_one_of(
        &mut self,
        from: &'static [&'static str],
        controller: &str,
        files: Vec<(String, String)>,
    ) -> &mut Limit {
        let place = format!("linux.resources.{}", from.first().copied().unwrap_or_default());
        let controller = controller.to_owned();
        self.list.push(Limit { place, from, controller, files, required: true, late: false });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    fn problem(&mut self, name: &str, what: impl Display) {
        self.findings.problems.push(Place::new(format!("linux.resources.{name}")).error(what));
    }

    /// A setting that version 2 of control groups does not have.
    fn only_v1(&mut self, name: &str, asks: bool) {
        if asks {
            let what = "ignored, only cgroup v1 has it";
            self.findings.warnings.push(format!("config.json: linux.resources.{name}: {what}"));
        }
    }
}

/// All limits, in the order in which they are written.
pub(crate) fn decide(resources: &Resources, host: &Host, findings: &mut Findings) -> Vec<Limit> {
    let mut limits = Limits { list: Vec::new(), host, findings };
    cpu(&resources.cpu, &mut limits);
    match resources.pids.limit {
        // Engines mean none by 0 (containerd's CRI sends it where there is none), and runc takes it so.
        None | Some(0) => {}
        Some(-1) => limits.set(&["pids.limit"], "pids", "pids.max", "max").required = false,
        Some(limit) if limit > 0 => {
            limits.set(&["pids.limit"], "pids", "pids.max", limit);
        }
        Some(limit) => limits.problem("pids.limit", format_args!("{limit} is neither -1 (unlimited) nor a number")),
    }
    block_io(&resources.block_io, &mut limits);
    hugepages(resources, &mut limits);
    rdma(resources, &mut limits);
    // A limit of memory kills when it is set: after all that could still be refused.
    memory(&resources.memory, &mut limits);
    unified(resources, &mut limits);
    limits.only_v1("network.classID", resources.network.class_id.is_some_and(|id| id != 0));
    limits.only_v1("network.priorities", !resources.network.priorities.is_empty());
    let Limits { list, host, findings } = limits;
    findings.each(&list, |_, limit| on_version_1(limit, host));
    list
}

/// A controller that is bound to version 1 limits nothing here.
fn on_version_1(limit: &Limit, host: &Host) -> Result<()> {
    let controller = limit.controller.as_str();
    let bound = host.cgroup.v1_controllers.iter().any(|v1| v1 == controller || (controller == "io" && v1 == "blkio"));
    if limit.required && bound {
        return Err(Error::at(
            &limit.place,
            format_args!("the {controller} controller is bound to cgroup v1 on this host"),
        )
        .remedy("boot with cgroup_no_v1=all (or systemd.unified_cgroup_hierarchy=1), or remove the limit"));
    }
    Ok(())
}

/// Bytes as the kernel reads them; `None`: nothing is asked.
fn bytes(value: Option<i64>, name: &str, limits: &mut Limits<'_>) -> Option<String> {
    match value {
        None | Some(0) => None,
        Some(-1) => Some("max".into()),
        Some(bytes) if bytes > 0 => Some(bytes.to_string()),
        Some(other) => {
            limits.problem(name, format_args!("{other} is neither -1 (unlimited) nor a number of bytes"));
            None
        }
    }
}

fn memory(memory: &Memory, limits: &mut Limits<'_>) {
    if let Some(text) = bytes(memory.reservation, "memory.reservation", limits) {
        let required = text != "max";
        let text = if required { text } else { "0".into() };
        limits.set(&["memory.reservation"], "memory", "memory.low", text).required = required;
    }
    match swap(memory) {
        Err(error) => limits.findings.problems.push(error),
        Ok(None) => {}
        Ok(Some(text)) => {
            // Without swap accounting, or without swap, there is nothing to hold back.
            let required = text != "max" && text != "0";
            let from = &["memory.swap", "memory.limit"];
            limits.set(from, "memory", "memory.swap.max", text).required = required;
        }
    }
    if let Some(text) = bytes(memory.limit, "memory.limit", limits) {
        let required = text != "max";
        let late = memory.limit.is_some_and(|limit| limit < TIGHT);
        let set = limits.set(&["memory.limit"], "memory", "memory.max", text);
        (set.required, set.late) = (required, late && required);
    }
    limits.only_v1("memory.kernel", memory.kernel.is_some_and(|limit| limit > 0));
    limits.only_v1("memory.kernelTCP", memory.kernel_tcp.is_some_and(|limit| limit > 0));
    limits.only_v1("memory.swappiness", memory.swappiness.is_some());
    limits.only_v1("memory.disableOOMKiller", memory.disable_oom_killer == Some(true));
    limits.only_v1("memory.useHierarchy", memory.use_hierarchy == Some(false));
}

/// Version 1 limited memory and swap together, version 2 limits swap alone.
fn swap(memory: &Memory) -> Result<Option<String>> {
    let wrong = |what: String| Error::at("linux.resources.memory.swap", what);
    let limit = memory.limit.unwrap_or(0);
    match memory.swap.unwrap_or(0) {
        -1 => Ok(Some("max".into())),
        0 if limit == -1 => Ok(Some("max".into())),
        0 => Ok(None),
        swap if swap < 0 => Err(wrong(format!("{swap} is neither -1 (unlimited) nor a number of bytes"))),
        swap if limit <= 0 => {
            Err(wrong(format!("{swap} is for memory and swap together")).remedy("set memory.limit, too"))
        }
        swap if swap < limit => Err(wrong(format!("{swap} is below memory.limit {limit}"))
            .remedy("it is for memory and swap together, or -1 for unlimited swap")),
        swap => Ok(Some((swap - limit).to_string())),
    }
}

/// `cpu.weight` for `cpu.shares`: 2 is 1, 1024 is 100 and 262144 is 10000, with a curve between
/// them, 10^((log2(shares)² + 125 log2(shares)) / 612 - 7 / 34), rounded up. The default of version
/// 1 so is the default of version 2. In whole numbers, which takes 30 kB less than floating ones.
fn weight_of_shares(shares: u64) -> u64 {
    /// log2(10), in units of 2^-32 as all of these logarithms.
    const LOG2_10: u128 = 14_267_572_527;
    /// More than the logarithms are inexact by.
    const EXACT: u128 = 64;
    match shares {
        0 => 0,
        1 | 2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = u128::from(log2(shares));
            let exponent = (((log * log) >> 32) + 125 * log) / 612 - (7 << 32) / 34;
            let wanted = (exponent * LOG2_10) >> 32;
            let (mut low, mut high) = (1, 10_000);
            while low < high {
                let middle = (low + high) / 2;
                if u128::from(log2(middle)) + EXACT >= wanted {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            low
        }
    }
}

/// The logarithm of a number from 1 to 2^31, in units of 2^-32: a bit of it for each squaring.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let mut rest = number << (31 - whole);
    let mut log = u64::from(whole) << 32;
    for bit in (0..32).rev() {
        rest = (rest * rest) >> 31;
        if rest >= 1 << 32 {
            rest >>= 1;
            log |= 1 << bit;
        }
    }
    log
}

fn cpu(cpu: &Cpu, limits: &mut Limits<'_>) {
    if let Some(idle) = cpu.idle {
        if idle == 0 || idle == 1 {
            limits.set(&["cpu.idle"], "cpu", "cpu.idle", idle).required = idle != 0;
        } else {
            limits.problem("cpu.idle", format_args!("{idle} is neither 0 nor 1"));
        }
    }
    // An idle group has no weight.
    if let (Some(shares), false) = (cpu.shares.filter(|shares| *shares != 0), cpu.idle == Some(1)) {
        let weight = weight_of_shares(shares);
        // A group that is idle no more has lost its weight.
        limits.set(&["cpu.shares", "cpu.idle"], "cpu", "cpu.weight", weight).required = shares != 1024;
    }
    let quota = cpu.quota.unwrap_or(0);
    let period = cpu.period.unwrap_or(0);
    if quota < -1 {
        limits.problem("cpu.quota", format_args!("{quota} is neither -1 (unlimited) nor a number of microseconds"));
    } else if quota != 0 || period != 0 {
        let quota_us = if quota > 0 { quota.to_string() } else { "max".into() };
        let text = if period == 0 { quota_us } else { format!("{quota_us} {period}") };
        let set = limits.set(&["cpu.quota", "cpu.period"], "cpu", "cpu.max", text);
        set.required = quota > 0;
        if quota <= 0 && period != 0 {
            set.place = "linux.resources.cpu.period".into();
        }
    }
    if let Some(burst) = cpu.burst {
        limits.set(&["cpu.burst"], "cpu", "cpu.max.burst", burst).required = burst != 0;
    }
    for (name, file, text) in [(&["cpu.cpus"], "cpuset.cpus", &cpu.cpus), (&["cpu.mems"], "cpuset.mems", &cpu.mems)]
        as [(&[&str; 1], _, _); 2]
    {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            limits.set(name, "cpuset", file, text);
        }
    }
    limits.only_v1("cpu.realtimeRuntime", cpu.realtime_runtime.is_some_and(|us| us != 0));
    limits.only_v1("cpu.realtimePeriod", cpu.realtime_period.is_some_and(|us| us != 0));
}

/// `io.weight` for a weight of the BFQ scheduler: 10 to 1000 as 1 to 10000.
fn io_weight(weight: u16) -> u32 {
    1 + (u32::from(weight) - 10) * 9999 / 990
}

fn block_io(io: &BlockIo, limits: &mut Limits<'_>) {
    let sane = |weight: Option<u16>, name: String, limits: &mut Limits<'_>| match weight.filter(|weight| *weight != 0) {
        Some(weight) if !(10..=1000).contains(&weight) => {
            limits.problem(&name, format_args!("{weight} is not between 10 and 1000"));
            None
        }
        other => other,
    };
    if let Some(weight) = sane(io.weight, "blockIO.weight".into(), limits) {
        let files = vec![
            ("io.bfq.weight".to_owned(), weight.to_string()),
            ("io.weight".to_owned(), format!("default {}", io_weight(weight))),
        ];
        limits.set_one_of(&["blockIO.weight"], "io", files);
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let name = format!("blockIO.weightDevice[{index}]");
        if let Some(weight) = sane(device.weight, format!("{name}.weight"), limits) {
            let number = format!("{}:{}", device.major, device.minor);
            let files = vec![
                ("io.bfq.weight".to_owned(), format!("{number} {weight}")),
                ("io.weight".to_owned(), format!("{number} {}", io_weight(weight))),
            ];
            // bfq takes a weight for all devices as that of each.
            let from = &["blockIO.weightDevice", "blockIO.weight"];
            limits.set_one_of(from, "io", files).place = format!("linux.resources.{name}");
        }
        limits.only_v1(&format!("{name}.leafWeight"), device.leaf_weight.is_some_and(|weight| weight != 0));
    }
    limits.only_v1("blockIO.leafWeight", io.leaf_weight.is_some_and(|weight| weight != 0));
    throttle(&["blockIO.throttleReadBpsDevice"], &io.throttle_read_bps_device, "rbps", limits);
    throttle(&["blockIO.throttleWriteBpsDevice"], &io.throttle_write_bps_device, "wbps", limits);
    throttle(&["blockIO.throttleReadIOPSDevice"], &io.throttle_read_iops_device, "riops", limits);
    throttle(&["blockIO.throttleWriteIOPSDevice"], &io.throttle_write_iops_device, "wiops", limits);
}

fn throttle(from: &'static [&'static str; 1], list: &[ThrottleDevice], key: &str, limits: &mut Limits<'_>) {
    for (index, device) in list.iter().enumerate() {
        let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
        let text = format!("{}:{} {key}={rate}", device.major, device.minor);
        limits.set(from, "io", "io.max", text).place = format!("linux.resources.{}[{index}]", from[0]);
    }
}

fn hugepages(resources: &Resources, limits: &mut Limits<'_>) {
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let name = format!("hugepageLimits[{index}]");
        let size = &limit.page_size;
        let digits = UNITS.iter().find_map(|unit| size.strip_suffix(unit));
        if !digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
            limits.problem(
                &format!("{name}.pageSize"),
                format_args!("{size:?} is not a size as the kernel writes it, such as 2MB or 1GB"),
            );
            continue;
        }
        let place = format!("linux.resources.{name}");
        let files = [format!("hugetlb.{size}.max"), format!("hugetlb.{size}.rsvd.max")];
        for (file, required) in files.into_iter().zip([true, false]) {
            let set = limits.set(&["hugepageLimits"], "hugetlb", &file, limit.limit);
            (set.place, set.required) = (place.clone(), required);
        }
    }
}

fn rdma(resources: &Resources, limits: &mut Limits<'_>) {
    for (device, limit) in &resources.rdma {
        let name = format!("rdma[{device:?}]");
        if device.is_empty() || !device.bytes().all(|b| b.is_ascii_graphic()) {
            limits.problem(&name, "is not the name of a device");
            continue;
        }
        let number = |value: Option<u32>| value.map_or_else(|| "max".to_owned(), |n| n.to_string());
        let text =
            format!("{device} hca_handle={} hca_object={}", number(limit.hca_handles), number(limit.hca_objects));
        limits.set(&["rdma"], "rdma", "rdma.max", text).place = format!("linux.resources.{name}");
    }
}

/// What the core files of every cgroup begin with.
const CORE: &str = "cgroup";

/// Files of the cgroup by their own names; several lines are several writes.
fn unified(resources: &Resources, limits: &mut Limits<'_>) {
    for (file, text) in &resources.unified {
        let name = format!("unified[{file:?}]");
        let Some(controller) = controller(file) else {
            limits.problem(&name, "is not the name of a file of a cgroup, such as memory.high");
            continue;
        };
        // They move, stop and kill processes, those of the host, too, and say what else is a limit.
        if controller == CORE && !BOUNDS.iter().any(|(bound, _)| bound == file) {
            let both = "cgroup.max.depth and cgroup.max.descendants are";
            limits.problem(&name, format_args!("is no limit but manages the cgroup, of whose core files {both} taken"));
            continue;
        }
        let lines: Vec<&str> = if text.is_empty() { vec![""] } else { text.lines().collect() };
        for line in lines {
            let set = limits.set(&["unified"], controller, file, line);
            set.late = file == "memory.max";
            set.place = format!("linux.resources.{name}");
        }
    }
}

/// That of a file such as `hugetlb.2MB.max`; `None`: that is the name of none, or of another directory's.
fn controller(file: &str) -> Option<&str> {
    let sane = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let (controller, rest) = file.split_once('.')?;
    (sane(controller) && rest.split('.').all(sane)).then_some(controller)
}

/// What an update must not do by itself: kill the container out of memory.
///
/// # Errors
/// The new limit is below what is in use.
pub(crate) fn check_usage(memory: &Memory, used: Option<u64>, swap_used: Option<u64>) -> Result<()> {
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let below =
        |limit: Option<i64>, used: u64| limit.and_then(|l| u64::try_from(l).ok()).filter(|l| *l > 0 && *l < used);
    let used = used.unwrap_or(0);
    if let Some(limit) = below(memory.limit, used) {
        return Err(Error::at(
            "linux.resources.memory.limit",
            format_args!("{limit} is below the {used} bytes in use"),
        ));
    }
    let together = used + swap_used.unwrap_or(0);
    if let Some(swap) = below(memory.swap, together) {
        return Err(Error::at(
            "linux.resources.memory.swap",
            format_args!("{swap} is below the {together} bytes in use"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide_json(value: Value) -> (std::result::Result<Vec<Limit>, String>, Vec<String>) {
        decide_on(&Host::default(), value)
    }

    fn decide_on(host: &Host, value: Value) -> (std::result::Result<Vec<Limit>, String>, Vec<String>) {
        let resources: Resources = serde_json::from_value(value).unwrap();
        let mut findings = Findings::default();
        let limits = decide(&resources, host, &mut findings);
        let warnings = findings.warnings.clone();
        (findings.warnings().map(|_| limits).map_err(|problem| problem.to_string()), warnings)
    }

    fn writes(value: Value) -> Vec<String> {
        let (limits, warnings) = decide_json(value);
        assert_eq!(warnings, Vec::<String>::new());
        limits.unwrap().iter().map(|limit| format!("{} {}", limit.files[0].0, limit.files[0].1)).collect()
    }

    #[test]
    fn each_property_is_a_write_to_its_file() {
        let all = json!({
            "memory": {"limit": 1000, "reservation": 500, "swap": 1500},
            "cpu": {"shares": 2048, "quota": 50_000, "period": 100_000, "burst": 10_000, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 7},
            "blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
            "unified": {"memory.high": "800", "io.max": "8:0 rbps=1\n8:16 wbps=2"}
        });
        assert_eq!(
            writes(all),
            [
                "cpu.weight 174",
                "cpu.max 50000 100000",
                "cpu.max.burst 10000",
                "cpuset.cpus 0-1",
                "cpuset.mems 0",
                "pids.max 7",
                "io.bfq.weight 10",
                "io.bfq.weight 8:0 1000",
                "io.max 8:0 rbps=9",
                "io.max 8:16 wiops=max",
                "hugetlb.2MB.max 4096",
                "hugetlb.2MB.rsvd.max 4096",
                "rdma.max mlx5_1 hca_handle=3 hca_object=max",
                "memory.low 500",
                "memory.swap.max 500",
                "memory.max 1000",
                "io.max 8:0 rbps=1",
                "io.max 8:16 wbps=2",
                "memory.high 800",
            ]
        );
    }

    #[test]
    fn shares_become_weights_with_both_defaults_equal() {
        let table = [
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (1, 1),
            (512, 59),
            (3, 2),
            (100, 17),
            (4096, 303),
            (100_000, 4340),
            (262_143, 10_000),
            (2048, 174),
            (1_000_000, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!((io_weight(10), io_weight(1000), io_weight(500)), (1, 10_000, 4950));
    }

    #[test]
    fn what_holds_anyway_needs_no_controller() {
        let mut host = Host::default();
        host.cgroup.v1_controllers = ["memory", "cpu", "cpuset", "pids", "blkio"].map(String::from).into();
        let neutral = json!({
            "memory": {"limit": -1, "swap": 0, "disableOOMKiller": false},
            "cpu": {"shares": 1024, "quota": -1, "period": 100_000, "cpus": "", "idle": 0},
            "pids": {"limit": -1}, "blockIO": {"weight": 0, "weightDevice": []},
            "hugepageLimits": [], "unified": {}, "network": null
        });
        let (limits, warnings) = decide_on(&host, neutral);
        assert!(limits.unwrap().iter().all(|limit| !limit.required));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn a_limit_whose_controller_is_bound_to_v1_names_it() {
        let mut host = Host::default();
        host.cgroup.v1_controllers = vec!["memory".into(), "blkio".into()];
        for (limit, expected) in [
            (json!({"memory": {"limit": 1 << 20}}), "memory.limit: the memory controller is bound to cgroup v1"),
            (json!({"blockIO": {"weight": 10}}), "blockIO.weight: the io controller is bound to cgroup v1"),
            (json!({"unified": {"memory.high": "1"}}), "unified[\"memory.high\"]: the memory controller is bound"),
        ] {
            let error = decide_on(&host, limit).0.unwrap_err();
            assert!(error.starts_with(&format!("config.json: linux.resources.{expected}")), "{error}");
        }
    }

    /// boundary 9
    #[test]
    fn what_config_json_does_not_bound_has_bounds() {
        let bounds_of = |unified: Value| {
            let resources: Resources = serde_json::from_value(json!({"unified": unified})).unwrap();
            bounds(&resources).into_iter().map(|limit| limit.files[0].0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(bounds_of(json!({})), ["cgroup.max.depth", "cgroup.max.descendants"]);
        assert_eq!(bounds_of(json!({"cgroup.max.depth": "max"})), ["cgroup.max.descendants"]);
        assert_eq!(writes(json!({"unified": {"cgroup.max.depth": "max"}})), ["cgroup.max.depth max"]);
    }

    #[test]
    fn a_limit_of_0_processes_is_none() {
        assert_eq!(writes(json!({"pids": {"limit": 0}})), Vec::<String>::new());
    }

    #[test]
    fn settings_of_version_1_are_warnings() {
        let old = json!({
            "memory": {"kernel": 1, "kernelTCP": 1, "swappiness": 60, "disableOOMKiller": true},
            "cpu": {"realtimeRuntime": 1, "realtimePeriod": 2},
            "blockIO": {"leafWeight": 10},
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}
        });
        let (limits, warnings) = decide_json(old);
        assert_eq!((limits, warnings.len()), (Ok(vec![]), 9));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (limit, expected) in [
            (json!({"memory": {"limit": -2}}), "memory.limit: -2 is neither -1"),
            (json!({"memory": {"swap": 5}}), "memory.swap: 5 is for memory and swap together; set memory.limit"),
            (json!({"memory": {"limit": 10, "swap": 5}}), "memory.swap: 5 is below memory.limit 10"),
            (json!({"cpu": {"quota": -5}}), "cpu.quota: -5 is neither"),
            (json!({"cpu": {"idle": 2}}), "cpu.idle: 2 is neither 0 nor 1"),
            (json!({"pids": {"limit": -2}}), "pids.limit: -2 is neither"),
            (json!({"blockIO": {"weight": 9}}), "blockIO.weight: 9 is not between 10 and 1000"),
            (
                json!({"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "weight": 1001}]}}),
                "blockIO.weightDevice[0].weight: 1001 is not between",
            ),
            (
                json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}),
                "hugepageLimits[0].pageSize: \"../x\" is not a size",
            ),
            (json!({"rdma": {"a b": {}}}), "rdma[\"a b\"]: is not the name of a device"),
            (json!({"unified": {"../memory.max": "1"}}), "unified[\"../memory.max\"]: is not the name of a file"),
            (json!({"unified": {"memory": "1"}}), "unified[\"memory\"]: is not the name of a file"),
            (json!({"unified": {"memory..max": "1"}}), "unified[\"memory..max\"]: is not the name of a file"),
            (json!({"unified": {"./cgroup.procs": "1"}}), "unified[\"./cgroup.procs\"]: is not the name of a file"),
            (json!({"unified": {"cgroup.procs/": "1"}}), "unified[\"cgroup.procs/\"]: is not the name of a file"),
            (json!({"unified": {"cgroup.procs": "1"}}), "unified[\"cgroup.procs\"]: is no limit"),
            (json!({"unified": {"cgroup.a.new.one": "1"}}), "unified[\"cgroup.a.new.one\"]: is no limit"),
        ] {
            let error = decide_json(limit).0.unwrap_err();
            assert!(error.starts_with(&format!("config.json: linux.resources.{expected}")), "{error}");
        }
    }

    #[test]
    fn an_update_can_be_kept_from_killing() {
        let memory = |limit| Memory { limit: Some(limit), check_before_update: Some(true), ..Memory::default() };
        assert!(check_usage(&memory(100), Some(200), None).is_err());
        assert!(check_usage(&memory(300), Some(200), None).is_ok());
        assert!(check_usage(&Memory { check_before_update: None, ..memory(100) }, Some(200), None).is_ok());
    }
}
