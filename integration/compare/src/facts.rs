//! What was seen, as a flat list; what differs only by nature (pids, times, numbers of inodes) is taken out or named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Names of facts and their values. `1.` stands before what the first command did, `left.` before what was there
/// after the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(pub BTreeMap<String, String>);

/// Texts that engines, their tests and scripts match in a message. Where a runtime says one, so must the other.
const MATCHED: [&str; 17] = [
    "container does not exist",
    "container not running",
    "container with given id already exists",
    "container not paused",
    "cannot exec in a stopped container",
    "cannot exec in a paused container",
    "cannot start a container that has stopped",
    "cannot start an already running container",
    "that is not stopped",
    "process already finished",
    "no such process",
    "executable file not found in",
    "no such file or directory",
    "permission denied",
    "operation not permitted",
    "exec format error",
    "is a directory",
];

/// Properties of JSON that are another in every run.
const BY_NATURE: [&str; 10] = ["ino", "dev", "id", "parent", "clocks", "keys", "created", "path", "size", "machine"];

impl Facts {
    /// Reads what the driver has written about `commands` commands.
    pub(crate) fn read(dir: &Path, commands: usize) -> Result<Self, String> {
        let text = |name: &str| match fs::read(dir.join(name)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(format!("{name}: {error}")),
        };
        let mut facts = Self::default();
        let own = namespaces(&text("namespaces")?);
        for number in 1..=commands {
            let exit = text(&format!("{number}.exit"))?.trim().to_owned();
            let (out, err) = (text(&format!("{number}.out"))?, text(&format!("{number}.err"))?);
            facts.set(format!("{number}.says"), says(&err));
            // Kept for the reader, and never compared.
            facts.set(format!("{number}.#message"), err.trim().to_owned());
            facts.set(format!("{number}.exit"), exit);
            facts.out(&format!("{number}.out"), &out, &own);
        }
        let left: Value = serde_json::from_str(&text("left")?).map_err(|error| format!("left: {error}"))?;
        facts.left(&left, &text("cgroups")?);
        Ok(facts)
    }

    fn set(&mut self, name: String, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    /// JSON, one value or several, or any text, in which lines may be JSON.
    fn out(&mut self, name: &str, text: &str, own: &BTreeMap<String, String>) {
        let is_tree = |value: &Value| value.is_object() || value.is_array();
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Some(mut values) = values.ok().filter(|values| !values.is_empty() && values.iter().all(is_tree)) {
            for (number, value) in values.iter_mut().enumerate() {
                if let Some(list) = value.as_array().filter(|list| list.iter().all(Value::is_number)) {
                    // Of `ps`.
                    *value = format!("{} pids", list.len()).into();
                }
                normalise(value, own);
                let name = if number == 0 { name.to_owned() } else { format!("{name}#{}", number + 1) };
                self.flatten(&name, value);
            }
            return;
        }
        let mut rest = String::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(mut value) = serde_json::from_str(line).ok().filter(is_tree) {
                normalise(&mut value, own);
                self.flatten(&format!("{name}#{}", number + 1), &value);
            } else {
                rest += line;
                rest.push('\n');
            }
        }
        if rest.contains("Incorrect Usage") || rest.contains("USAGE:") {
            "(usage)".clone_into(&mut rest);
        }
        self.set(name.to_owned(), rest.chars().take(4000).collect::<String>());
    }

    fn flatten(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.flatten(&format!("{name}.{key}"), value);
                }
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                let mut seen: BTreeMap<String, u32> = BTreeMap::new();
                for (index, element) in list.iter().enumerate() {
                    let key = ["fd", "target", "id"].iter().find_map(|key| element.get(key));
                    let key = key.map_or_else(
                        || index.to_string(),
                        |key| key.as_str().map_or_else(|| key.to_string(), str::to_owned),
                    );
                    let count = seen.entry(key.clone()).or_default();
                    *count += 1;
                    let key = if *count == 1 { key } else { format!("{key}#{count}") };
                    self.flatten(&format!("{name}.{key}"), element);
                }
            }
            Value::String(text) => self.set(name.to_owned(), text.clone()),
            other => self.set(name.to_owned(), other.to_string()),
        }
    }

    /// Files of the bundle, names of what is in the state root, processes, mounts and cgroups.
    fn left(&mut self, left: &Value, cgroups: &str) {
        let mut containers = BTreeSet::new();
        for (path, stat) in left["files"].as_object().into_iter().flatten() {
            let path = path.trim_start_matches("/tmp/w");
            if let Some(state) = path.strip_prefix("/root/") {
                let name = state.split('/').next().unwrap_or_default();
                if !name.starts_with('.') {
                    containers.insert(name.to_owned());
                }
            } else if let Some(path) = path.strip_prefix("/bundle/") {
                let of = |key: &str| stat[key].as_str().map_or_else(|| stat[key].to_string(), str::to_owned);
                let mut shown = format!("{} {} {}:{}", of("type"), of("mode"), of("uid"), of("gid"));
                for key in ["link", "text"] {
                    if !stat[key].is_null() {
                        shown += &format!(" {}", of(key));
                    }
                }
                if stat["type"] == "char" || stat["type"] == "block" {
                    shown += &format!(" {}:{}", of("major"), of("minor"));
                }
                self.set(format!("left.file.{path}"), shown);
            }
        }
        self.set("left.containers".to_owned(), containers.into_iter().collect::<Vec<_>>().join(" "));
        let harness = ["bash", "probe", "cat"];
        let processes = left["processes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // What waits in a container that is created and not started.
        let init = |name| if ["runc:[2:INIT]", "memfd:cleat-ini", "crun"].contains(&name) { "(init)" } else { name };
        let processes: Vec<&str> = processes.filter(|name| !harness.contains(name)).map(init).collect();
        self.set("left.processes".to_owned(), processes.join(" "));
        let mounts = left["mounts"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mounts: Vec<&str> =
            mounts.filter(|target| target.starts_with("/tmp/") || target.starts_with("/run/n")).collect();
        self.set("left.mounts".to_owned(), mounts.join(" "));
        let mut cgroups: Vec<&str> = cgroups
            .lines()
            .filter_map(|line| line.strip_prefix("/sys/fs/cgroup/"))
            .filter(|name| *name != "runner")
            .collect();
        cgroups.sort_unstable();
        self.set("left.cgroups".to_owned(), cgroups.join(" "));
    }
}

/// Of `ls -l /proc/self/ns`.
fn namespaces(text: &str) -> BTreeMap<String, String> {
    let of = |line: &str| {
        let (left, target) = line.split_once(" -> ")?;
        Some((left.rsplit(' ').next()?.to_owned(), target.to_owned()))
    };
    text.lines().filter_map(of).collect()
}

/// What of a message is compared: whether there is one, or but a warning, and which of the texts that programs match.
fn says(message: &str) -> String {
    let is_warning = |line: &&str| line.contains("level=warning") || line.contains("warning: ");
    let (warnings, errors): (Vec<&str>, Vec<&str>) =
        message.lines().filter(|line| !line.trim().is_empty()).partition(is_warning);
    if errors.is_empty() {
        return if warnings.is_empty() { "nothing" } else { "a warning" }.to_owned();
    }
    let errors = errors.join("\n").to_lowercase();
    let found: Vec<&str> = MATCHED.iter().copied().filter(|text| errors.contains(text)).collect();
    format!("a message: {}", if found.is_empty() { "-".to_owned() } else { found.join(", ") })
}

/// Takes out of JSON what is another in every run, and gives names to the rest.
fn normalise(value: &mut Value, own: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            // An id of a mount is a number; one of a container stays.
            map.retain(|key, value| !BY_NATURE.contains(&key.as_str()) || (key == "id" && value.is_string()));
            for (key, value) in map.iter_mut() {
                property(key, value, own);
                normalise(value, own);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| normalise(value, own)),
        Value::String(text) => {
            if let Some((kind, "")) = text
                .split_once(":[")
                .map(|(kind, rest)| (kind, rest.trim_matches(|c: char| c.is_ascii_digit() || c == ']')))
            {
                *text = format!("{kind}:[]");
            }
        }
        _ => {}
    }
}

fn property(key: &str, value: &mut Value, own: &BTreeMap<String, String>) {
    match key {
        "pid" | "ppid" | "sid" | "pgid" if value.as_u64().is_some_and(|pid| pid > 1) => *value = "another".into(),
        "pids" if *value != serde_json::json!([1]) => *value = "several".into(),
        "namespaces" => {
            for (kind, link) in value.as_object_mut().into_iter().flatten() {
                let same = own.get(kind).is_some_and(|own| link == own.as_str());
                *link = if same { "the runtime's" } else { "another" }.into();
            }
        }
        // Two numbers that C libraries keep to themselves (32 and 33) tell of the runtime's library.
        "ignored" | "blocked" => {
            let mask = value.as_str().and_then(|mask| u64::from_str_radix(mask, 16).ok());
            if let Some(mask) = mask {
                *value = format!("{:016x}", mask & !0x1_8000_0000).into();
            }
        }
        "env" | "options" | "super_options" => sort(value),
        "groups" => {
            // runc names an additional group of `exec` twice.
            if let Some(list) = value.as_array_mut() {
                list.dedup();
            }
        }
        "mounts" => {
            if let Some(list) = value.as_array_mut() {
                list.sort_by_key(|mount| mount["target"].to_string());
            }
        }
        "propagation" => {
            for word in value.as_array_mut().into_iter().flatten() {
                let text = word.as_str().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
                *word = text.into();
            }
        }
        "cgroup" => {
            let line =
                value.as_str().unwrap_or_default().lines().find(|line| line.starts_with("0:")).map(str::to_owned);
            *value = line.unwrap_or_default().into();
        }
        _ => {}
    }
}

fn sort(value: &mut Value) {
    if let Some(list) = value.as_array_mut() {
        list.sort_by_key(Value::to_string);
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, says};
    use std::collections::BTreeMap;

    #[test]
    fn what_differs_by_nature_is_no_fact() {
        let mut facts = Facts::default();
        let text = r#"{"pid":17,"clocks":{"x":1},"mounts":[{"id":3,"target":"/a","propagation":["master:5"]}],"x":"net:[40]"}"#;
        facts.out("1.out", text, &BTreeMap::new());
        let found: Vec<(&str, &str)> = facts.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("1.out.mounts./a.propagation", "[\"master\"]"),
            ("1.out.mounts./a.target", "/a"),
            ("1.out.pid", "another"),
            ("1.out.x", "net:[]"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn of_a_message_only_what_programs_match() {
        assert_eq!(says("runc: exec: No such file or directory\n"), "a message: no such file or directory");
        assert_eq!(says(" \n"), "nothing");
    }
}
