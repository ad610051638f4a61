//! What does a cgroup use? Read by descriptor (Linux cgroup-v2.rst).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Cgroup;

/// Use of everything that the enabled controllers measure, as `runc events` shows it.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: CpuSet,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: BlockIo,
    pub hugetlb: BTreeMap<String, Hugetlb>,
    pub intel_rdt: crate::cgroup::resctrl::ResctrlStats,
    pub network_interfaces: Option<Vec<u64>>,
}

/// Nanoseconds of CPU time.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Nanoseconds of CPU time: all, in the kernel, outside of it.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct CpuUsage {
    pub total: u64,
    pub kernel: u64,
    pub user: u64,
}

/// How often the quota held processes back, and for how many nanoseconds.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// CPUs and memory nodes in force.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct CpuSet {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
}

/// Bytes of memory.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Memory {
    pub cache: u64,
    pub usage: MemoryEntry,
    pub swap: MemoryEntry,
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Limit (`u64::MAX` is none), use, highest use, and how often the limit was met.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct MemoryEntry {
    pub limit: u64,
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

/// Processes and threads; a limit of 0 is none.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Pids {
    pub current: u64,
    pub limit: u64,
}

/// Bytes and operations by device.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct BlockIo {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlockIoEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of one device.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct BlockIoEntry {
    pub major: u64,
    pub minor: u64,
    pub op: &'static str,
    pub value: u64,
}

/// Huge pages of one size: bytes in use or reserved, and how often the limit was met.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Hugetlb {
    pub usage: u64,
    pub failcnt: u64,
}

/// Pressure stall information (Linux psi.rst): shares of time, and microseconds in all.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

/// One line of it.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Stall {
    pub avg10: Share,
    pub avg60: Share,
    pub avg300: Share,
    pub total: u64,
}

/// A percentage as the kernel wrote it, a number with two decimals. (Floating-point numbers would
/// take 20 kB of the program.)
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Share(Box<RawValue>);

/// Numbers of a flat keyed file.
type Keyed = BTreeMap<String, u64>;

fn keyed(text: &str) -> Keyed {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn get(map: &Keyed, key: &str) -> u64 {
    map.get(key).copied().unwrap_or(0)
}

impl Cgroup {
    /// What it uses; zero where a controller is not enabled.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let cpu = self.keyed_file("cpu.stat");
        let thousand = |key: &str| get(&cpu, key).saturating_mul(1000);
        Stats {
            cpu: Cpu {
                usage: CpuUsage {
                    total: thousand("usage_usec"),
                    kernel: thousand("system_usec"),
                    user: thousand("user_usec"),
                },
                throttling: Throttling {
                    periods: get(&cpu, "nr_periods"),
                    throttled_periods: get(&cpu, "nr_throttled"),
                    throttled_time: thousand("throttled_usec"),
                },
                psi: self.pressure("cpu.pressure"),
            },
            cpuset: CpuSet {
                cpus: numbers(&self.read("cpuset.cpus.effective").unwrap_or_default()),
                mems: numbers(&self.read("cpuset.mems.effective").unwrap_or_default()),
            },
            memory: self.memory_stats(),
            pids: Pids {
                current: self.number("pids.current").unwrap_or_else(|| self.count()),
                limit: self.number("pids.max").unwrap_or(0),
            },
            blkio: self.io_stats(),
            hugetlb: self.hugetlb_stats(),
            ..Stats::default()
        }
    }

    fn keyed_file(&self, file: &str) -> Keyed {
        keyed(&self.read(file).unwrap_or_default())
    }

    /// A limit; none at all is the largest number.
    fn limit_of(&self, file: &str) -> u64 {
        match self.read(file) {
            Ok(text) => text.trim().parse().unwrap_or(u64::MAX),
            Err(_) => 0,
        }
    }

    /// Processes, where the controller is not there to count them.
    fn count(&self) -> u64 {
        self.processes().map_or(0, |list| u64::try_from(list.len()).unwrap_or(0))
    }

    fn memory_stats(&self) -> Memory {
        let raw = self.keyed_file("memory.stat");
        let usage = MemoryEntry {
            limit: self.limit_of("memory.max"),
            usage: self.number("memory.current").unwrap_or(0),
            max: self.number("memory.peak").unwrap_or(0),
            failcnt: get(&self.keyed_file("memory.events"), "max"),
        };
        // As version 1 showed it: memory and swap together.
        let swap = MemoryEntry {
            limit: self.limit_of("memory.swap.max").saturating_add(usage.limit),
            usage: self.number("memory.swap.current").unwrap_or(0).saturating_add(usage.usage),
            // Both peaks together are none of both together.
            max: 0,
            failcnt: get(&self.keyed_file("memory.swap.events"), "max"),
        };
        Memory { cache: get(&raw, "file"), usage, swap, raw, psi: self.pressure("memory.pressure") }
    }

    fn io_stats(&self) -> BlockIo {
        let mut io = BlockIo { psi: self.pressure("io.pressure"), ..BlockIo::default() };
        for line in self.read("io.stat").unwrap_or_default().lines() {
            let mut fields = line.split_ascii_whitespace();
            let device = fields.next().and_then(|device| device.split_once(':'));
            let Some((Ok(major), Ok(minor))) = device.map(|(a, b)| (a.parse(), b.parse())) else { continue };
            for (key, value) in fields.filter_map(|field| field.split_once('=')) {
                let Ok(value) = value.parse() else { continue };
                let entry = |op| BlockIoEntry { major, minor, op, value };
                match key {
                    "rbytes" => io.io_service_bytes_recursive.push(entry("Read")),
                    "wbytes" => io.io_service_bytes_recursive.push(entry("Write")),
                    "dbytes" => io.io_service_bytes_recursive.push(entry("Discard")),
                    "rios" => io.io_serviced_recursive.push(entry("Read")),
                    "wios" => io.io_serviced_recursive.push(entry("Write")),
                    "dios" => io.io_serviced_recursive.push(entry("Discard")),
                    _ => {}
                }
            }
        }
        io
    }

    fn hugetlb_stats(&self) -> BTreeMap<String, Hugetlb> {
        let one = |size: &str| Hugetlb {
            // Reservations, where the kernel counts them, as runc has it.
            usage: [".rsvd", ""]
                .iter()
                .find_map(|kind| self.number(&format!("hugetlb.{size}{kind}.current")))
                .unwrap_or(0),
            failcnt: get(&self.keyed_file(&format!("hugetlb.{size}.events")), "max"),
        };
        self.hugetlb_sizes().into_iter().map(|size| (size.clone(), one(&size))).collect()
    }

    /// Sizes of huge pages, such as `2MB`.
    #[must_use]
    pub fn hugetlb_sizes(&self) -> Vec<String> {
        let files = super::entries(&self.dir).unwrap_or_default();
        let sizes = files.iter().filter_map(|file| file.strip_prefix("hugetlb.")?.strip_suffix(".current"));
        sizes.filter(|size| !size.contains('.')).map(str::to_owned).collect()
    }

    fn pressure(&self, file: &str) -> Option<Pressure> {
        let text = self.read(file).ok()?;
        let none = || RawValue::NULL.to_owned();
        let line = |kind: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
            let field = |key: &str| rest.split_ascii_whitespace().find_map(|f| f.strip_prefix(key)?.strip_prefix('='));
            let share = |key: &str| {
                Share(field(key).and_then(|text| RawValue::from_string(text.into()).ok()).unwrap_or_else(none))
            };
            Stall {
                avg10: share("avg10"),
                avg60: share("avg60"),
                avg300: share("avg300"),
                total: field("total").and_then(|value| value.parse().ok()).unwrap_or(0),
            }
        };
        Some(Pressure { some: line("some"), full: line("full") })
    }
}

/// The numbers of a list such as `0-2,7`.
fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(numbers("\n"), [0u16; 0]);
    }

    #[test]
    fn a_flat_keyed_file() {
        let map = keyed("usage_usec 12\nbad\nnr_periods 3\n");
        assert_eq!((get(&map, "usage_usec"), get(&map, "nr_periods"), get(&map, "none")), (12, 3, 0));
    }
}
