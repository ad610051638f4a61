//! What does a container use? containerd's metrics, read by descriptor of its cgroup.

use std::collections::BTreeMap;

use cleat::cgroup::Cgroup;

use crate::messages::metrics::{
    CpuStat, HugeTlbStat, IoEntry, IoStat, MemoryEvents, MemoryStat, Metrics, NetworkStat, PidsStat, PsiData, PsiStats,
    RdmaEntry, RdmaStat,
};

/// Numbers of a flat keyed file.
struct Keyed(BTreeMap<String, u64>);

impl Keyed {
    fn of(cgroup: &Cgroup, file: &str) -> Option<Keyed> {
        let text = cgroup.read(file).ok()?;
        let pairs = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        });
        Some(Keyed(pairs.collect()))
    }

    fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

/// A limit; `max` is the largest number.
fn limit(cgroup: &Cgroup, file: &str) -> u64 {
    cgroup.read(file).map_or(0, |text| text.trim().parse().unwrap_or(u64::MAX))
}

fn number(cgroup: &Cgroup, file: &str) -> u64 {
    cgroup.number(file).unwrap_or(0)
}

/// Everything that the enabled controllers measure, and the network interfaces of an init that lives.
pub fn read(cgroup: &Cgroup, init: Option<u32>) -> Metrics {
    Metrics {
        pids: Some(PidsStat { current: number(cgroup, "pids.current"), limit: pids_limit(cgroup) }),
        cpu: Some(cpu(cgroup)),
        memory: Some(memory(cgroup)),
        rdma: Some(RdmaStat { current: rdma(cgroup, "rdma.current"), limit: rdma(cgroup, "rdma.max") }),
        io: Some(IoStat { usage: io(cgroup), psi: pressure(cgroup, "io.pressure") }),
        hugetlb: hugetlb(cgroup),
        memory_events: Keyed::of(cgroup, "memory.events").map(|events| MemoryEvents {
            low: events.get("low"),
            high: events.get("high"),
            max: events.get("max"),
            oom: events.get("oom"),
            oom_kill: events.get("oom_kill"),
            oom_group_kill: events.get("oom_group_kill"),
        }),
        network: init.map(network).unwrap_or_default(),
    }
}

/// The interfaces of a process with a network namespace of its own, without its loopback. The pid is that of a child
/// that has not been reaped.
fn network(pid: u32) -> Vec<NetworkStat> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let of_init = namespace(&pid.to_string());
    if of_init.is_none() || of_init == namespace("self") {
        return Vec::new();
    }
    interfaces(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// Two lines of titles, then `eth0: ` and eight numbers of what was received and eight of what was sent.
fn interfaces(text: &str) -> Vec<NetworkStat> {
    let one = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied();
        Some(NetworkStat {
            name: name.trim().into(),
            rx_bytes: at(0)?,
            rx_packets: at(1)?,
            rx_errors: at(2)?,
            rx_dropped: at(3)?,
            tx_bytes: at(8)?,
            tx_packets: at(9)?,
            tx_errors: at(10)?,
            tx_dropped: at(11)?,
        })
    };
    text.lines().skip(2).filter_map(one).filter(|interface| interface.name != "lo").collect()
}

/// No limit is 0 here.
fn pids_limit(cgroup: &Cgroup) -> u64 {
    match limit(cgroup, "pids.max") {
        u64::MAX => 0,
        limit => limit,
    }
}

fn cpu(cgroup: &Cgroup) -> CpuStat {
    let Some(stat) = Keyed::of(cgroup, "cpu.stat") else { return CpuStat::default() };
    CpuStat {
        usage_usec: stat.get("usage_usec"),
        user_usec: stat.get("user_usec"),
        system_usec: stat.get("system_usec"),
        nr_periods: stat.get("nr_periods"),
        nr_throttled: stat.get("nr_throttled"),
        throttled_usec: stat.get("throttled_usec"),
        psi: pressure(cgroup, "cpu.pressure"),
        nr_bursts: stat.get("nr_bursts"),
        burst_usec: stat.get("burst_usec"),
    }
}

fn memory(cgroup: &Cgroup) -> MemoryStat {
    let Some(stat) = Keyed::of(cgroup, "memory.stat") else { return MemoryStat::default() };
    MemoryStat {
        anon: stat.get("anon"),
        file: stat.get("file"),
        kernel_stack: stat.get("kernel_stack"),
        slab: stat.get("slab"),
        sock: stat.get("sock"),
        shmem: stat.get("shmem"),
        file_mapped: stat.get("file_mapped"),
        file_dirty: stat.get("file_dirty"),
        file_writeback: stat.get("file_writeback"),
        anon_thp: stat.get("anon_thp"),
        inactive_anon: stat.get("inactive_anon"),
        active_anon: stat.get("active_anon"),
        inactive_file: stat.get("inactive_file"),
        active_file: stat.get("active_file"),
        unevictable: stat.get("unevictable"),
        slab_reclaimable: stat.get("slab_reclaimable"),
        slab_unreclaimable: stat.get("slab_unreclaimable"),
        pgfault: stat.get("pgfault"),
        pgmajfault: stat.get("pgmajfault"),
        // Linux 5.9 counts anonymous memory and files apart.
        workingset_refault: stat.get("workingset_refault")
            + stat.get("workingset_refault_anon")
            + stat.get("workingset_refault_file"),
        workingset_activate: stat.get("workingset_activate")
            + stat.get("workingset_activate_anon")
            + stat.get("workingset_activate_file"),
        workingset_nodereclaim: stat.get("workingset_nodereclaim"),
        pgrefill: stat.get("pgrefill"),
        pgscan: stat.get("pgscan"),
        pgsteal: stat.get("pgsteal"),
        pgactivate: stat.get("pgactivate"),
        pgdeactivate: stat.get("pgdeactivate"),
        pglazyfree: stat.get("pglazyfree"),
        pglazyfreed: stat.get("pglazyfreed"),
        thp_fault_alloc: stat.get("thp_fault_alloc"),
        thp_collapse_alloc: stat.get("thp_collapse_alloc"),
        usage: number(cgroup, "memory.current"),
        usage_limit: limit(cgroup, "memory.max"),
        swap_usage: number(cgroup, "memory.swap.current"),
        swap_limit: limit(cgroup, "memory.swap.max"),
        max_usage: number(cgroup, "memory.peak"),
        swap_max_usage: number(cgroup, "memory.swap.peak"),
        psi: pressure(cgroup, "memory.pressure"),
    }
}

/// `mlx4_0 hca_handle=2 hca_object=max`
fn rdma(cgroup: &Cgroup, file: &str) -> Vec<RdmaEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let device = fields.next()?.to_owned();
        let mut entry = RdmaEntry { device, ..RdmaEntry::default() };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.parse().unwrap_or(u32::MAX);
            match key {
                "hca_handle" => entry.hca_handles = value,
                "hca_object" => entry.hca_objects = value,
                _ => {}
            }
        }
        Some(entry)
    };
    cgroup.read(file).unwrap_or_default().lines().filter_map(entry).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`
fn io(cgroup: &Cgroup) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        let mut entry = IoEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, ..IoEntry::default() };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => entry.rbytes = value,
                "wbytes" => entry.wbytes = value,
                "rios" => entry.rios = value,
                "wios" => entry.wios = value,
                _ => {}
            }
        }
        Some(entry)
    };
    cgroup.read("io.stat").unwrap_or_default().lines().filter_map(entry).collect()
}

fn hugetlb(cgroup: &Cgroup) -> Vec<HugeTlbStat> {
    let sizes = cgroup.hugetlb_sizes().into_iter();
    let one = |pagesize: String| HugeTlbStat {
        current: number(cgroup, &format!("hugetlb.{pagesize}.current")),
        max: limit(cgroup, &format!("hugetlb.{pagesize}.max")),
        failcnt: Keyed::of(cgroup, &format!("hugetlb.{pagesize}.events")).map_or(0, |events| events.get("max")),
        pagesize,
    };
    sizes.map(one).collect()
}

/// Pressure stall information (Linux psi.rst).
fn pressure(cgroup: &Cgroup, file: &str) -> Option<PsiStats> {
    let text = cgroup.read(file).ok()?;
    let line = |kind: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let field = |key: &str| rest.split_ascii_whitespace().find_map(|f| f.strip_prefix(key)?.strip_prefix('='));
        let share = |key: &str| field(key).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Some(PsiData {
            avg10: share("avg10"),
            avg60: share("avg60"),
            avg300: share("avg300"),
            total: field("total").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    };
    Some(PsiStats { some: line("some"), full: line("full") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_but_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes\n    lo:  7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7\n\
                    eth0:10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n eth1: 1\n";
        let seen = interfaces(text);
        assert_eq!(seen.len(), 1, "{seen:?}");
        let eth0 = &seen[0];
        assert_eq!((&*eth0.name, eth0.rx_bytes, eth0.rx_dropped), ("eth0", 10, 13));
        assert_eq!((eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped), (20, 21, 22, 23));
    }
}
