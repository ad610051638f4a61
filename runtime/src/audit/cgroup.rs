//! Is every process in the container's cgroup, and does that have the limits and the device program?

use std::path::Path;

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::plan::Limit;

use super::facts::ProcDir;
use super::report::{Report, Verdict};
use super::{Expected, why};

/// Where a process is, in the tree as this process sees it.
pub(super) fn of(subject: &ProcDir) -> Option<String> {
    let text = subject.read("cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// One process's place.
pub(super) fn compare_place(cgroup: &Path, subject: &ProcDir, report: &mut Report) {
    let place = "linux.cgroupsPath";
    let Some(found) = of(subject) else {
        if !subject.is_gone() {
            report.skip(place, &format!("the cgroup of process {} cannot be seen", subject.pid));
        }
        return;
    };
    let verdict = if Path::new(&found).starts_with(cgroup) { Verdict::Holds } else { Verdict::Differs };
    report.note(place, Some(subject.pid), verdict, &cgroup.display(), &found);
}

/// The limits, read back.
pub(super) fn compare_limits(expected: &Expected<'_>, cgroup: Option<&Cgroup>, report: &mut Report) {
    for limit in expected.limits {
        let Some(cgroup) = cgroup else {
            if limit.required {
                report.note(&limit.place, None, Verdict::Differs, &limit.files[0].1, &"it has no cgroup");
            }
            continue;
        };
        let there = limit.files.iter().find_map(|(file, text)| match cgroup.read(file) {
            Err(Errno::ENOENT) => None,
            read => Some((file, text, read)),
        });
        match there {
            Some((file, asked, Ok(found))) => {
                // A later write to the same file may have changed the same entry.
                let last = expected.limits.iter().rev().find(|other| is_same(other, limit, file));
                if last.is_some_and(|last| std::ptr::eq(last, limit)) {
                    let holds = holds(file, asked, &found, expected.by_systemd);
                    let verdict = if holds { Verdict::Holds } else { Verdict::unless(expected.owns_cgroup, OWNED) };
                    let (asked, found) = (format!("{file}: {asked}"), found.trim_end().replace('\n', ", "));
                    report.note(&limit.place, None, verdict, &asked, &found);
                }
            }
            // Some can only be written.
            Some((_, _, Err(errno))) => report.skip(&limit.place, &why(errno)),
            None if limit.required => {
                report.note(&limit.place, None, Verdict::Differs, &limit.files[0].1, &"there is no such file");
            }
            // It asks for what holds without such a file.
            None => report.holds(&limit.place),
        }
    }
}

const OWNED: &str = "it may write its own cgroup";

/// Whether two limits are written to one entry of a file.
fn is_same(a: &Limit, b: &Limit, file: &str) -> bool {
    let entry = |limit: &Limit| {
        let text = limit.files.iter().find(|(name, _)| name == file).map(|(_, text)| text.clone());
        text.map(|text| match keyed(&text) {
            Some((key, rest)) => {
                let names = rest.split_ascii_whitespace().filter_map(|pair| Some(pair.split_once('=')?.0));
                format!("{key} {}", names.collect::<Vec<_>>().join(" "))
            }
            None => String::new(),
        })
    };
    entry(a).is_some() && entry(a) == entry(b)
}

/// The key and the rest of a line such as `8:0 rbps=7` or `default 100`.
fn keyed(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = text.split_once(' ')?;
    (key.contains(':') || key == "default" || rest.contains('=')).then_some((key, rest))
}

/// Whether a file says what was written to it, in the kernel's own words.
pub(super) fn holds(file: &str, asked: &str, found: &str, by_systemd: bool) -> bool {
    let (asked, found) = (asked.trim(), found.trim());
    if asked == found {
        return true;
    }
    if let Some((key, rest)) = keyed(asked) {
        let line = found.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        // A weight for all devices is the first line's; without a line there is no limit.
        let line = line.or_else(|| (key == "default" && !found.contains('\n')).then_some(found));
        let has = |pair: &str| match line {
            Some(line) => line.split_ascii_whitespace().any(|known| known == pair),
            None => pair.ends_with("=max"),
        };
        return rest.split_ascii_whitespace().all(has);
    }
    match file {
        "cpu.max" => quota(asked, found, by_systemd),
        "cpuset.cpus" | "cpuset.mems" => set(asked).zip(set(found)).is_some_and(|(asked, found)| {
            asked.iter().all(|n| found.contains(n)) && found.iter().all(|n| asked.contains(n))
        }),
        // bfq has its lines under one for all.
        "io.bfq.weight" => found.lines().next().is_some_and(|line| line.trim_start_matches("default ") == asked),
        _ => number(file, asked, found),
    }
}

/// Numbers of bytes are cut to whole pages.
fn number(file: &str, asked: &str, found: &str) -> bool {
    let (Some(asked), Ok(found)) = (bytes(asked), found.parse::<u64>()) else { return false };
    let page = match file.strip_prefix("hugetlb.").and_then(|rest| rest.split('.').next()) {
        Some(size) => size.strip_suffix('B').and_then(bytes).unwrap_or(1),
        None if file.starts_with("memory.") => page_size(),
        None => 1,
    };
    found == asked || found == asked - asked % page.max(1)
}

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| n.try_into().ok())
        .unwrap_or(4096)
}

/// A number as the kernel's memparse() reads it.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        b't' | b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Quota and period; one that was not written stays. systemd rounds up to a hundredth of a CPU.
fn quota(asked: &str, found: &str, by_systemd: bool) -> bool {
    let parts = |text: &str| {
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        (words.next().unwrap_or_default(), words.next())
    };
    let ((quota, period), (now, now_period)) = (parts(asked), parts(found));
    if period.is_some() && period != now_period {
        return false;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let step = now_period.as_deref().and_then(number).unwrap_or(100_000) / 100;
    quota == now
        || by_systemd && number(&quota).zip(number(&now)).is_some_and(|(quota, now)| now >= quota && now - quota < step)
}

/// The numbers of a list such as `0-3,7`; `None`: it is none.
fn set(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No machine has more; a longer list is not the kernel's.
        if last.checked_sub(first)? > 1 << 12 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// The device program: what the plan's rules compile to must be on the cgroup. Another one beside it
/// (systemd's) can only deny more.
pub(super) fn compare_devices(expected: &Expected<'_>, cgroup: Option<&Cgroup>, report: &mut Report) {
    let place = "linux.resources.devices";
    let rules = expected.plan.host.cgroup.as_ref().and_then(|cgroup| cgroup.devices.as_ref());
    let (Some(rules), Some(cgroup)) = (rules, cgroup) else {
        if expected.rootless {
            return report.skip(place, "only root may attach a device program; mounts are nodev in its place");
        }
        if expected.plan.init.root.as_ref().is_some_and(|root| root.nodev) {
            return report.skip(place, "without a cgroup there is no device program; mounts are nodev in its place");
        }
        return report.note(place, None, Verdict::Differs, &"a device program", &"none was planned");
    };
    match cgroup.device_tags(rules) {
        Ok((wanted, tags)) => {
            let verdict = if tags.contains(&wanted) { Verdict::Holds } else { Verdict::Differs };
            let hex = |tag: &[u8; 8]| tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let found: Vec<String> = tags.iter().map(hex).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            report.note(place, None, verdict, &format_args!("a device program with the tag {}", hex(&wanted)), &found);
        }
        Err(error) => report.skip(place, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_limit_is_known_in_the_kernels_words() {
        for (file, asked, found) in [
            ("memory.max", "5000", "4096\n"),
            ("memory.max", "max", "max\n"),
            ("memory.high", "1M", "1048576\n"),
            ("pids.max", "7", "7\n"),
            ("cpu.max", "50000", "50000 100000\n"),
            ("cpu.max", "50000 20000", "50000 20000\n"),
            ("cpuset.cpus", "0,1,3", "0-1,3\n"),
            ("io.max", "8:0 rbps=7", "8:0 rbps=7 wbps=max riops=max wiops=max\n"),
            ("io.max", "8:0 rbps=max", "\n"),
            ("io.weight", "default 30", "default 30\n8:0 50\n"),
            ("io.weight", "8:0 50", "default 30\n8:0 50\n"),
            ("io.bfq.weight", "30", "default 30\n8:0 50\n"),
            ("hugetlb.2MB.max", "2097153", "2097152\n"),
            ("rdma.max", "mlx hca_handle=1 hca_object=max", "mlx hca_handle=1 hca_object=max\n"),
        ] {
            assert!(holds(file, asked, found, false), "{file}: {asked}, {found}");
        }
        for (file, asked, found) in [
            ("memory.max", "5000", "8192\n"),
            ("memory.max", "5000", "max\n"),
            ("pids.max", "7", "8\n"),
            ("pids.max", "4097", "4096\n"),
            ("cpu.max", "50000", "60000 100000\n"),
            ("cpu.max", "50000 20000", "50000 10000\n"),
            ("cpuset.cpus", "0,1,3", "0-3\n"),
            ("io.max", "8:0 rbps=7", "8:0 rbps=8 wbps=max riops=max wiops=max\n"),
            ("io.max", "8:0 rbps=7", "\n"),
            ("io.weight", "8:0 50", "default 50\n"),
        ] {
            assert!(!holds(file, asked, found, false), "{file}: {asked}, {found}");
        }
        assert!(holds("cpu.max", "50001 100000", "51000 100000", true));
        assert!(!holds("cpu.max", "50001 100000", "52000 100000", true));
    }
}
