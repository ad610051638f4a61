//! What holds this process: the facts of the confinement matrix, one JSON line.

use serde_json::{Value, json};

use crate::{act, call, facts, sys};

/// Nodes that nobody asked for, and that everybody may open by their mode.
const NODES: [&str; 3] = ["/node", "/plain/node", "/volume/node"];
/// What `maskedPaths` and `readonlyPaths` of the matrix name.
const MASKED: [&str; 2] = ["/hidden/file", "/hidden/dir"];
const READONLY: [&str; 2] = ["/volume/kept", "/proc/sys"];
/// Values of limits, as a cgroup mount shows them.
const LIMITS: [&str; 3] = ["hugetlb.2MB.max", "memory.max", "pids.max"];

/// All of it, under the name that the caller gives it.
pub(crate) fn all(name: &str) -> Value {
    // Before /proc is looked at, which takes descriptors.
    let mut all = facts::all(&["net.ipv4.ip_forward"]);
    let each = |paths: &[&str], ask: &dyn Fn(&str) -> Value| -> Value {
        paths.iter().map(|path| ((*path).to_owned(), ask(path))).collect::<serde_json::Map<_, _>>().into()
    };
    let limit = |name: &str| json!(facts::text(format!("/sys/fs/cgroup/{name}")));
    let label = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"].into_iter().find_map(facts::text);
    let more = json!({
        "name": name,
        "nodes": each(&NODES, &act::open_dev),
        "masked": each(&MASKED, &|path| json!({ "read": act::read(path), "list": act::list(path) })),
        "readonly": each(&READONLY, &|path| act::write(&format!("{path}/written"), "x", false)),
        "root_written": act::mkdir("/written"),
        "limits": each(&LIMITS, &limit),
        "forbidden_call": call::calls(&[&nix::libc::SYS_getppid.to_string()]),
        "session_keyring": sys::session_keyring(),
        "label": label,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}
