//! What does a container look like from within, for a person, in a few lines?

use std::fmt::Write as _;

use serde_json::Value;

use crate::facts;

/// A page of text: process, namespaces, root, mounts, capabilities, cgroup.
pub(crate) fn text() -> String {
    let facts = facts::all(&[]);
    let mut page = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "  {label:<13} {value}");
    };
    line("process", format!("pid {}, uid {}, gid {}", facts["pid"], facts["uid"], facts["gid"]));
    line("host name", string(&facts["hostname"]).to_owned());
    line("namespaces", namespaces(&facts["namespaces"]));
    line("root", join(&facts["root"], " "));
    for (n, mount) in list(&facts["mounts"]).iter().enumerate() {
        let label = if n == 0 { "mounts" } else { "" };
        let (target, kind) = (string(&mount["target"]), string(&mount["type"]));
        line(label, format!("{target:<24} {kind:<8} {}", join(&mount["options"], ",")));
    }
    let capabilities = join(&facts["capabilities"]["effective"], " ").replace("CAP_", "").to_lowercase();
    line("capabilities", if capabilities.is_empty() { "none".to_owned() } else { capabilities });
    line("cgroup", cgroup(string(&facts["cgroup"])));
    format!("hello from inside a container\n\n{page}")
}

fn namespaces(all: &Value) -> String {
    let all = all.as_object().cloned().unwrap_or_default();
    let shown = all.iter().filter(|(name, _)| !name.ends_with("_for_children"));
    shown.map(|(name, link)| format!("{name} {}", id(string(link)))).collect::<Vec<_>>().join(", ")
}

/// `mnt:[4026532222]` → `4026532222`.
fn id(link: &str) -> &str {
    link.split_once('[').map_or(link, |(_, id)| id.trim_end_matches(']'))
}

/// The v2 line (`0::/…`) of `/proc/self/cgroup`; the first line when there is none.
fn cgroup(text: &str) -> String {
    let v2 = text.lines().find_map(|l| l.strip_prefix("0::"));
    v2.or_else(|| text.lines().next()).unwrap_or("unknown").to_owned()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn join(value: &Value, between: &str) -> String {
    list(value).iter().map(string).collect::<Vec<_>>().join(between)
}
