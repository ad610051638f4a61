//! Is what was asked for what holds inside?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ask::{Asked, CAPABILITIES, maps, rlimits};
use super::cells::{Combination, Property, Space, Verb};
use crate::bundle::options_of;

/// A process that was looked at.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Where.
    pub combination: Combination,
    /// By what it was made.
    pub verb: Verb,
    /// What the probe says.
    pub facts: &'a Value,
    /// The caller's namespaces.
    pub callers: &'a BTreeMap<String, String>,
    /// The container's first process, for one that joins.
    pub first: Option<&'a Value>,
    /// The user namespace that was joined.
    pub joined: Option<&'a str>,
    /// Whose the container's files are.
    pub owner: u32,
    /// Its cgroup and its caller's, as the host sees them.
    pub cgroups: Option<(String, String)>,
    /// A warning names the property.
    pub warned: bool,
}

fn equal(found: &Value, asked: &Value) -> Result<(), String> {
    if found == asked { Ok(()) } else { Err(format!("asked {asked}, found {found}")) }
}

fn all<I: IntoIterator<Item = Result<(), String>>>(results: I) -> Result<(), String> {
    results.into_iter().collect()
}

/// Whether a property holds.
///
/// # Errors
/// What was asked, and what was found.
pub fn judge(property: Property, asked: &Asked, seen: &Seen<'_>) -> Result<(), String> {
    let facts = seen.facts;
    match property {
        Property::Devices => devices(seen),
        Property::Bounding | Property::Effective | Property::Permitted | Property::Inheritable | Property::Ambient => {
            capabilities(property, asked, facts)
        }
        Property::NoNewPrivileges => equal(&facts["no_new_privs"], &json!(true)),
        Property::Seccomp => {
            all([equal(&facts["seccomp"], &json!(2)), equal(&facts["forbidden_call"], &json!([{ "errno": 77 }]))])
        }
        Property::Label => {
            let profile = asked.profile.as_deref().unwrap_or_default();
            equal(&facts["label"], &json!(format!("{profile} (enforce)")))
        }
        Property::MaskedPaths => all([
            equal(&facts["masked"]["/hidden/file"]["read"], &json!({ "text": "" })),
            equal(&facts["masked"]["/hidden/dir"]["list"], &json!({ "names": [] })),
        ]),
        Property::ReadonlyPaths => all([
            equal(&facts["readonly"]["/volume/kept"], &json!({ "error": "EROFS" })),
            options(facts, "/proc/sys", &["ro"]),
        ]),
        Property::ReadonlyRoot => {
            all([equal(&facts["root_written"], &json!({ "error": "EROFS" })), options(facts, "/", &["ro"])])
        }
        Property::Mounts => all([
            options(facts, "/flags", &["ro", "nosuid", "nodev", "noexec", "noatime"]),
            options(facts, "/bound", &["ro", "nosuid", "nodev", "noexec"]),
        ]),
        Property::Groups => equal(&facts["groups"], &json!([5, 9])),
        Property::User => {
            let found = json!([facts["uid"], facts["euid"], facts["gid"], facts["egid"]]);
            equal(&found, &json!([7, 7, 8, 8]))
        }
        Property::Mappings => {
            let (first, size) = maps(seen.combination.user, seen.owner);
            let map = json!([[0, first, size]]);
            all([equal(&facts["uid_map"], &map), equal(&facts["gid_map"], &map)])
        }
        Property::Umask => equal(&facts["umask"], &json!("0027")),
        Property::Keyring => keyring(seen),
        Property::Limits => all(asked.limits.iter().map(|(file, value)| equal(&facts["limits"][*file], &json!(value)))),
        Property::Cgroup => cgroup(seen),
        Property::Namespaces => namespaces(seen),
        Property::Sysctl => equal(&facts["sysctl"]["net.ipv4.ip_forward"], &json!("1")),
        Property::OomScore => equal(&facts["oom_score_adj"], &json!(500)),
        Property::Rlimits => all(rlimits().as_array().into_iter().flatten().map(|limit| {
            let found = &facts["rlimits"][limit["type"].as_str().unwrap_or_default()];
            equal(found, &json!({ "soft": limit["soft"], "hard": limit["hard"] }))
        })),
    }
}

fn options(facts: &Value, target: &str, asked: &[&str]) -> Result<(), String> {
    let found = options_of(facts, target);
    let missing: Vec<&&str> = asked.iter().filter(|option| !found.iter().any(|found| found == **option)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{target} is without {missing:?}, found {found:?}")) }
}

/// No node can be used: by the filter, or by `nodev`. Where a warning says that the rules are not held, that
/// is about the mount that asks for devices.
fn devices(seen: &Seen<'_>) -> Result<(), String> {
    let nodes = seen.facts["nodes"].as_object().ok_or("no nodes")?;
    let nodes = nodes.iter().filter(|(path, _)| !seen.warned || *path != "/volume/node");
    all(nodes.map(|(path, answers)| {
        let denied = |way: &str| matches!(answers[way].as_str(), Some("EPERM" | "EACCES"));
        if denied("read") && denied("write") { Ok(()) } else { Err(format!("{path} can be opened: {answers}")) }
    }))
}

/// What the kernel leaves of the sets at `execve` (capabilities(7)).
fn capabilities(property: Property, asked: &Asked, facts: &Value) -> Result<(), String> {
    let set = |property: Property| {
        let known =
            CAPABILITIES.iter().find(|(set, ..)| *set == property).filter(|_| asked.properties.contains(&property));
        known.map(|(_, _, names)| *names).unwrap_or_default()
    };
    let root = facts["uid"] == 0;
    let (expected, name) = match property {
        Property::Bounding => (set(property), "bounding"),
        Property::Inheritable => (set(property), "inheritable"),
        Property::Ambient => (set(property), "ambient"),
        other => {
            let name = if other == Property::Effective { "effective" } else { "permitted" };
            match (root, facts["no_new_privs"] == true) {
                (false, _) => (set(Property::Ambient), name),
                (true, true) => (set(Property::Permitted), name),
                (true, false) => (set(Property::Bounding), name),
            }
        }
    };
    equal(&facts["capabilities"][name], &json!(expected))
}

/// One of the container's, which all of its processes have.
fn keyring(seen: &Seen<'_>) -> Result<(), String> {
    let found = &seen.facts["session_keyring"];
    if let Some(first) = seen.first {
        return equal(found, &first["session_keyring"]);
    }
    let own = found[1].as_str().is_some_and(|text| text.contains(";_ses."));
    if own { Ok(()) } else { Err(format!("asked for a session keyring of its own, found {found}")) }
}

fn cgroup(seen: &Seen<'_>) -> Result<(), String> {
    let text = seen.facts["cgroup"].as_str().unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("0::"));
    equal(&json!(found), &json!("/"))?;
    match &seen.cgroups {
        Some((own, callers)) if own == callers => Err(format!("it is in its caller's cgroup, {callers}")),
        _ => Ok(()),
    }
}

fn namespaces(seen: &Seen<'_>) -> Result<(), String> {
    let all_kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let found = &seen.facts["namespaces"];
    if let Some(first) = seen.first {
        return all(
            all_kinds.map(|kind| equal(&found[kind], &first["namespaces"][kind]).map_err(|e| format!("{kind}: {e}")))
        );
    }
    all(all_kinds.map(|kind| {
        let callers = json!(seen.callers.get(kind));
        let asked = match (kind, seen.combination.space) {
            ("user", Space::None) => Some(callers.clone()),
            ("user", Space::Joined) => Some(json!(seen.joined)),
            _ => None,
        };
        match asked {
            Some(asked) => equal(&found[kind], &asked).map_err(|error| format!("{kind}: {error}")),
            None if found[kind].is_string() && found[kind] != callers => Ok(()),
            None => Err(format!("{kind}: asked for a new one, found {} of the caller", found[kind])),
        }
    }))
}
