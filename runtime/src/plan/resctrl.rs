//! Which share of caches and memory bandwidth does the container get (`linux.intelRdt`)?

use std::path::PathBuf;

use serde::Serialize;

use super::place::Place;
use super::place::place;
use crate::error::Result;
use crate::spec::IntelRdt;

/// A group of the resctrl file system (Linux resctrl.rst; runtime-spec config-linux.md § IntelRdt).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rdt {
    /// Where the file system is mounted.
    pub root: PathBuf,
    /// The group's directory below it; `.` is the default group.
    pub group: PathBuf,
    /// Make the group where it does not exist.
    pub make: bool,
    /// The group bears the container's name: what was made for it goes with it.
    pub own: bool,
    /// What an existing group must have in its `schemata` already.
    pub expected: Vec<String>,
    /// What is written to `schemata`, one write each, in this order.
    pub schemata: Vec<String>,
    /// The name of a monitoring group below the group.
    pub monitor: Option<String>,
}

/// What the file system itself has at its top: no names for groups.
const TAKEN: [&str; 3] = ["info", "mon_data", "mon_groups"];

/// Decides the group of a container; `root` is where resctrl is mounted, if it is.
pub(super) fn decide(asked: &IntelRdt, id: &str, root: Option<&PathBuf>) -> Result<Rdt> {
    let at = place("linux.intelRdt");
    let own = asked.clos_id.is_empty();
    let name = if own { id } else { asked.clos_id.as_str() };
    check_name(name, own, &at)?;
    let (l3, mb) = (asked.l3_cache_schema.as_str(), asked.mem_bw_schema.as_str());
    if !mb.is_empty() && (!mb.starts_with("MB:") || mb.contains('\n')) {
        return Err(at.at("memBwSchema").error(format_args!("{mb:?} must be one line that starts with \"MB:\"")));
    }
    for (index, line) in asked.schemata.iter().enumerate() {
        if line.trim().is_empty() || line.contains('\n') {
            let place = at.at(format_args!("schemata[{index}]"));
            return Err(place.error(format_args!("{line:?} must be one line, such as \"L3:0=7f0;1=1f\"")));
        }
    }
    let root = root.ok_or_else(|| {
        at.error("no resctrl file system is mounted at /sys/fs/resctrl").remedy("mount it: mount -t resctrl resctrl /sys/fs/resctrl \
             (the processor must have Intel RDT, AMD QoS or Arm MPAM, and the kernel CONFIG_X86_CPU_RESCTRL or its like)")
    })?;
    // The lists last, so that they hold where both say something.
    let single = [l3, mb].into_iter().filter(|schema| !schema.is_empty());
    let all = (!asked.schemata.is_empty()).then(|| asked.schemata.join("\n"));
    let schemata: Vec<String> =
        single.clone().map(str::to_owned).chain(all).map(|text| format!("{}\n", text.trim_end())).collect();
    Ok(Rdt {
        root: root.clone(),
        group: if name == "/" { ".".into() } else { name.into() },
        make: own || !schemata.is_empty(),
        own,
        expected: if own { Vec::new() } else { single.map(str::to_owned).collect() },
        schemata,
        monitor: asked.enable_monitoring.then(|| id.to_owned()),
    })
}

fn check_name(name: &str, own: bool, at: &Place) -> Result<()> {
    if name == "/" && !own {
        return Ok(());
    }
    if TAKEN.contains(&name) {
        let error = at.at("closID").error(format_args!("{name:?} is a directory of resctrl's own, and no group"));
        let remedy = "the container's id, which would be the group's name: set linux.intelRdt.closID";
        return Err(if own { error.remedy(remedy) } else { error });
    }
    if name == "." || name == ".." || name.contains(['/', '\n', '\0']) || name.len() > 255 {
        let rule = "must be the name of a group, without a slash, or \"/\" for the default group";
        return Err(at.at("closID").error(format_args!("{name:?} {rule}")));
    }
    Ok(())
}

impl Rdt {
    /// What in `schemata`, a file of the kernel's, is not as `expected` says: the resource and domain.
    ///
    /// Only what is expected is compared, number by number: the kernel pads names, sorts domains,
    /// drops leading zeros, and rounds a bandwidth up to a multiple of `granularity`.
    #[must_use]
    pub fn mismatch(&self, schemata: &str, granularity: u64) -> Option<String> {
        let wanted = self.expected.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty());
        wanted.into_iter().find_map(|line| {
            let (name, domains) = line.split_once(':').map_or((line.trim(), ""), |(name, rest)| (name.trim(), rest));
            let there = schemata.lines().find_map(|l| {
                let (other, rest) = l.split_once(':')?;
                (other.trim() == name).then_some(rest)
            });
            let Some(there) = there else { return Some(format!("{name} (it has no such line)")) };
            parts(domains).find_map(|(domain, value)| {
                let found = parts(there).find(|(other, _)| number(other, 10) == number(domain, 10));
                let is_same = found.is_some_and(|(_, found)| same(name, value, found, granularity));
                (!is_same).then(|| format!("{name}:{domain}={}", found.map_or("(none)", |(_, found)| found)))
            })
        })
    }
}

/// `0=7f0;1=1f`
fn parts(domains: &str) -> impl Iterator<Item = (&str, &str)> {
    domains.split(';').filter(|part| !part.trim().is_empty()).map(|part| {
        let (domain, value) = part.split_once('=').unwrap_or((part, ""));
        (domain.trim(), value.trim())
    })
}

fn same(resource: &str, wanted: &str, found: &str, granularity: u64) -> bool {
    let is_bandwidth = resource.ends_with("MB") || resource.ends_with("MBA");
    let radix = if is_bandwidth { 10 } else { 16 };
    match (number(wanted, radix), number(found, radix)) {
        (Some(wanted), Some(found)) => {
            wanted == found || is_bandwidth && wanted.checked_next_multiple_of(granularity) == Some(found)
        }
        _ => false,
    }
}

fn number(text: &str, radix: u32) -> Option<u64> {
    let digits = if radix == 16 { text.strip_prefix("0x").unwrap_or(text) } else { text };
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide_json(asked: Value) -> std::result::Result<Rdt, String> {
        let root = PathBuf::from("/sys/fs/resctrl");
        decide(&serde_json::from_value(asked).unwrap(), "web1", Some(&root)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_clos_id_the_group_is_the_containers() {
        let rdt = decide_json(json!({})).unwrap();
        assert_eq!((rdt.group.to_str().unwrap(), rdt.make, rdt.own), ("web1", true, true));
        assert!(rdt.schemata.is_empty() && rdt.expected.is_empty() && rdt.monitor.is_none());
    }

    #[test]
    fn a_clos_id_names_a_group_of_others() {
        let rdt = decide_json(json!({"closID": "gold"})).unwrap();
        assert_eq!((rdt.group.to_str().unwrap(), rdt.make, rdt.own), ("gold", false, false));
        let rdt = decide_json(json!({"closID": "gold", "memBwSchema": "MB:0=20", "enableMonitoring": true})).unwrap();
        assert_eq!((rdt.make, rdt.own, rdt.monitor.as_deref()), (true, false, Some("web1")));
        let rdt = decide_json(json!({"closID": "/"})).unwrap();
        assert_eq!((rdt.group.to_str().unwrap(), rdt.make, rdt.own), (".", false, false));
    }

    /// config-linux.md § IntelRdt: l3CacheSchema first, memBwSchema after it, `schemata` last.
    #[test]
    fn schemata_are_written_in_the_specifications_order() {
        let rdt = decide_json(json!({
            "closID": "gold", "schemata": ["L2:0=f", "MB:0=30"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=7f0"
        }))
        .unwrap();
        assert_eq!(rdt.schemata, ["L3:0=7f0\n", "MB:0=20\n", "L2:0=f\nMB:0=30\n"]);
        // Of these two alone the specification wants a comparison.
        assert_eq!(rdt.expected, ["L3:0=7f0", "MB:0=20"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let long = "x".repeat(256);
        for (asked, expected) in [
            (json!({"closID": ".."}), "closID: \"..\" must be the name of a group, without a slash, or \"/\""),
            (json!({"closID": "."}), "closID: \".\" must be"),
            (json!({"closID": "a/b"}), "closID: \"a/b\" must be"),
            (json!({"closID": "//"}), "closID: \"//\" must be"),
            (json!({"closID": "a\nb"}), "closID: \"a\\nb\" must be"),
            (json!({"closID": long}), "closID: \"xxx"),
            (json!({"closID": "info"}), "closID: \"info\" is a directory of resctrl's own, and no group"),
            (json!({"memBwSchema": "0=20"}), "memBwSchema: \"0=20\" must be one line that starts with \"MB:\""),
            (json!({"memBwSchema": "MB:0=20\nL3:0=1"}), "memBwSchema: \"MB:0=20\\nL3:0=1\" must be one line"),
            (json!({"schemata": ["L3:0=1", "L3:0=1\n"]}), "schemata[1]: \"L3:0=1\\n\" must be one line"),
            (json!({"schemata": [""]}), "schemata[0]: \"\" must be one line"),
        ] {
            let error = decide_json(asked.clone()).expect_err(&asked.to_string());
            assert!(error.starts_with(&format!("config.json: linux.intelRdt.{expected}")), "{asked}: {error}");
        }
        let error = decide(&IntelRdt::default(), "web1", None).unwrap_err().to_string();
        assert!(error.starts_with("config.json: linux.intelRdt: no resctrl file system is mounted"), "{error}");
        let root = PathBuf::from("/r");
        let error = decide(&IntelRdt::default(), "info", Some(&root)).unwrap_err().to_string();
        assert!(error.contains("set linux.intelRdt.closID"), "{error}");
    }

    #[test]
    fn schemata_are_compared_as_the_kernel_means_them() {
        let file = "    MB:0=  20;1= 100\n    L3:0=7f0;1=01f\nL3CODE:0=f\n";
        let compare = |expected: &[&str]| {
            let rdt = decide_json(json!({"closID": "gold"})).unwrap();
            Rdt { expected: expected.iter().map(ToString::to_string).collect(), ..rdt }.mismatch(file, 10)
        };
        for same in [
            &[][..],
            &["L3:0=7f0"],
            &["L3:1=1f;0=7f0"],
            &["L3:0=0x7f0;1=001f;"],
            &["L3:00=7F0", "MB:1=100;0=20"],
            &["MB:0=11"],
            &["L3CODE:0=f\nL3:1=1f"],
        ] {
            assert_eq!(compare(same), None, "{same:?}");
        }
        for (other, found) in [
            (&["L3:0=7f1"][..], "L3:0=7f0"),
            (&["L3:2=1"], "L3:2=(none)"),
            (&["L3:0="], "L3:0=7f0"),
            (&["MB:0=21"], "MB:0=20"),
            (&["L3:0=7f0", "MB:1=90"], "MB:1=100"),
            (&["L2:0=1"], "L2 (it has no such line)"),
            (&["rubbish"], "rubbish (it has no such line)"),
        ] {
            assert_eq!(compare(other).as_deref(), Some(found), "{other:?}");
        }
    }
}
