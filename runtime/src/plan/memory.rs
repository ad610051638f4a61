//! Where is the process's memory taken from, and which machine does it believe to run on?

use cleat_plan::MemoryPolicy;

use super::cpu_list;
use super::place::place;
use crate::error::Result;
use crate::spec;

/// `MPOL_*` by their numbers (linux/mempolicy.h).
pub const MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// `MPOL_F_*` by their numbers, from bit 13 on.
pub const FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

const FIRST_FLAG: u32 = 13;
const NUMA_BALANCING: u32 = 1 << 13;
const RELATIVE_NODES: u32 = 1 << 14;
const STATIC_NODES: u32 = 1 << 15;

/// Decides the memory policy, by the rules of set_mempolicy(2).
pub(super) fn policy(asked: &spec::MemoryPolicy) -> Result<MemoryPolicy> {
    let at = place("linux.memoryPolicy");
    let mode = asked.mode.as_str();
    if mode.is_empty() {
        return Err(at.at("mode").error("is missing"));
    }
    let number = MODES.iter().position(|known| *known == mode).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| at.at("mode").wrong(mode, &MODES.join(", ")))?;
    let mut flags = 0;
    for (index, flag) in asked.flags.iter().enumerate() {
        let known = (FIRST_FLAG..).zip(FLAGS).find(|(_, known)| known == flag);
        let (bit, _) = known.ok_or_else(|| at.at(format_args!("flags[{index}]")).wrong(flag, &FLAGS.join(", ")))?;
        flags |= 1 << bit;
    }
    let nodes = cpu_list::mask(&asked.nodes, &at.at("nodes"))?;
    match mode {
        "MPOL_DEFAULT" | "MPOL_LOCAL" if !nodes.is_empty() => {
            return Err(at.at("nodes").error(format_args!("{:?}: {mode} takes no nodes", asked.nodes)));
        }
        "MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED" => {}
        _ if nodes.is_empty() => return Err(at.at("nodes").error(format_args!("{mode} needs at least one node"))),
        _ => {}
    }
    if flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        return Err(at.at("flags").error("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"));
    }
    if flags & (STATIC_NODES | RELATIVE_NODES) != 0 && nodes.is_empty() && mode != "MPOL_DEFAULT" {
        return Err(at.at("flags").error(format_args!("{mode} without nodes takes no flag about nodes")));
    }
    if flags & NUMA_BALANCING != 0 && !["MPOL_BIND", "MPOL_PREFERRED_MANY"].contains(&mode) {
        return Err(at.at("flags").error(format_args!(
            "MPOL_F_NUMA_BALANCING goes with MPOL_BIND and MPOL_PREFERRED_MANY, not with {mode}"
        )));
    }
    Ok(MemoryPolicy { mode: number | flags, nodes })
}

/// Decides the execution domain (personality(2), `PER_*`).
pub(super) fn personality(asked: &spec::Personality) -> Result<u32> {
    let at = place("linux.personality");
    if !asked.flags.is_empty() {
        // runtime-spec config-linux.md § Personality.
        return Err(at
            .at("flags[0]")
            .error(format_args!("{:?}: the specification defines no flags", asked.flags[0]))
            .remedy("leave linux.personality.flags out"));
    }
    match asked.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        "" => Err(at.at("domain").error("is missing")),
        other => Err(at.at("domain").wrong(other, "LINUX, LINUX32")),
    }
}

/// A policy for people.
pub(super) fn describe(policy: &MemoryPolicy) -> String {
    let mut words: Vec<String> = Vec::new();
    let mode = usize::try_from(policy.mode & 0xff).ok().and_then(|mode| MODES.get(mode));
    words.extend(mode.map(ToString::to_string));
    words.extend((FIRST_FLAG..).zip(FLAGS).filter(|(bit, _)| policy.mode >> bit & 1 == 1).map(|(_, name)| name.into()));
    if !policy.nodes.is_empty() {
        words.push(format!("nodes {}", cpu_list::list(&policy.nodes)));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide(asked: Value) -> std::result::Result<MemoryPolicy, String> {
        policy(&serde_json::from_value(asked).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mode_with_its_flags_is_one_number() {
        for (asked, mode, nodes) in [
            (json!({"mode": "MPOL_DEFAULT"}), 0, vec![]),
            (json!({"mode": "MPOL_PREFERRED"}), 1, vec![]),
            (json!({"mode": "MPOL_PREFERRED", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES"]}), 1 | 1 << 15, vec![2]),
            (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}), 2 | 1 << 13, vec![1]),
            (
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "2-3,64", "flags": ["MPOL_F_RELATIVE_NODES"]}),
                3 | 1 << 14,
                vec![12, 1],
            ),
            (json!({"mode": "MPOL_LOCAL"}), 4, vec![]),
            (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), 5, vec![1]),
            (json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), 6, vec![1]),
        ] {
            assert_eq!(decide(asked.clone()), Ok(MemoryPolicy { mode, nodes }), "{asked}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let static_nodes = "MPOL_F_STATIC_NODES";
        for (asked, expected) in [
            (json!({}), "mode: is missing"),
            (json!({"mode": "BIND"}), "mode: \"BIND\" is not one of MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND"),
            (json!({"mode": "MPOL_BIND"}), "nodes: MPOL_BIND needs at least one node"),
            (json!({"mode": "MPOL_BIND", "nodes": "x"}), "nodes: \"x\": \"x\" is no number"),
            (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "nodes: \"0\": MPOL_LOCAL takes no nodes"),
            (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "nodes: \"0\": MPOL_DEFAULT takes no nodes"),
            (
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["STATIC"]}),
                "flags[0]: \"STATIC\" is not one of MPOL_F_NUMA_BALANCING, MPOL_F_RELATIVE_NODES, MPOL_F_STATIC_NODES",
            ),
            (
                json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [static_nodes, "MPOL_F_RELATIVE_NODES"]}),
                "flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
            ),
            (
                json!({"mode": "MPOL_PREFERRED", "flags": [static_nodes]}),
                "flags: MPOL_PREFERRED without nodes takes no flag about nodes",
            ),
            (
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
                "flags: MPOL_F_NUMA_BALANCING goes with MPOL_BIND and MPOL_PREFERRED_MANY, not with MPOL_INTERLEAVE",
            ),
        ] {
            let error = decide(asked.clone()).expect_err(&asked.to_string());
            assert!(error.starts_with(&format!("config.json: linux.memoryPolicy.{expected}")), "{asked}: {error}");
        }
    }

    #[test]
    fn a_domain_has_a_number_and_no_flags() {
        let decide = |asked: Value| personality(&serde_json::from_value(asked).unwrap()).map_err(|e| e.to_string());
        assert_eq!(decide(json!({"domain": "LINUX"})), Ok(0));
        assert_eq!(decide(json!({"domain": "LINUX32", "flags": []})), Ok(8));
        for (asked, expected) in [
            (json!({"domain": "BSD"}), "domain: \"BSD\" is not one of LINUX, LINUX32"),
            (json!({}), "domain: is missing"),
            (
                json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
                "flags[0]: \"ADDR_NO_RANDOMIZE\": the specification defines no flags",
            ),
        ] {
            let error = decide(asked.clone()).expect_err(&asked.to_string());
            assert!(error.starts_with(&format!("config.json: linux.personality.{expected}")), "{asked}: {error}");
        }
    }
}
