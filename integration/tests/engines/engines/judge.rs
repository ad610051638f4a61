//! Does a program find all that an engine's config.json asks for? What the probe prints is compared with it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether cgroup v2 has every controller here; in the guest it must.
pub(super) fn limits_hold() -> bool {
    integration::has_controllers(&["cpu", "cpuset", "hugetlb", "io", "memory", "pids"])
}

/// Compares files of the cgroup with all limits that are asked for.
pub(super) fn limits(asked: &Value, cgroup: &Path) {
    let (memory, cpu) = (&asked["memory"], &asked["cpu"]);
    let swap = || Some(memory["swap"].as_u64()? - memory["limit"].as_u64()?);
    let weight = cpu["shares"].as_u64().map(|shares| match shares {
        2 => "1",
        102 => "17",
        512 => "59",
        1024 => "100",
        other => panic!("{other} shares: which weight?"),
    });
    let quota = || Some(format!("{} {}", cpu["quota"].as_u64()?, cpu["period"].as_u64()?));
    let number = |value: &Value| value.as_u64().map(|number| number.to_string());
    let mut expected = vec![
        ("memory.max".to_owned(), number(&memory["limit"])),
        ("memory.low".to_owned(), number(&memory["reservation"])),
        ("memory.swap.max".to_owned(), swap().map(|bytes| bytes.to_string())),
        ("cpu.weight".to_owned(), weight.map(str::to_owned)),
        ("cpu.max".to_owned(), quota()),
        ("cpuset.cpus".to_owned(), cpu["cpus"].as_str().map(str::to_owned)),
        ("pids.max".to_owned(), number(&asked["pids"]["limit"])),
        ("io.weight".to_owned(), asked["blockIO"]["weight"].as_u64().map(io_weight)),
    ];
    for limit in list(&asked["hugepageLimits"]) {
        let size = limit["pageSize"].as_str().expect("a size");
        expected.push((format!("hugetlb.{size}.max"), number(&limit["limit"])));
    }
    for (name, value) in object(&asked["unified"]) {
        expected.push((name.clone(), value.as_str().map(str::to_owned)));
    }
    for (name, value) in expected {
        let Some(value) = value else { continue };
        let found = fs::read_to_string(cgroup.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.trim_end(), value, "{name} for {asked}");
    }
}

/// 10 to 1000 as 1 to 10000.
fn io_weight(weight: u64) -> String {
    format!("default {}", 1 + (weight - 10) * 9999 / 990)
}

pub(super) fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub(super) fn strings(value: &Value) -> Vec<&str> {
    list(value).filter_map(Value::as_str).collect()
}

pub(super) fn words(value: &Value) -> Vec<&str> {
    value.as_str().unwrap_or_default().split_whitespace().collect()
}

fn sorted(value: &Value) -> Vec<&str> {
    let mut all = strings(value);
    all.sort_unstable();
    all
}

/// The mount that is seen at `target`: the last one there.
pub(super) fn mount_on<'a>(facts: &'a Value, target: &str) -> &'a Value {
    let found = list(&facts["mounts"]).filter(|mount| mount["target"] == target).last();
    found.unwrap_or_else(|| panic!("nothing is mounted on {target}: {}", facts["mounts"]))
}

pub(super) fn has_option(mount: &Value, option: &str) -> bool {
    strings(&mount["options"]).contains(&option)
}

/// config.md, "Process".
pub(super) fn process(asked: &Value, facts: &Value) {
    let user = &asked["user"];
    assert_eq!((&facts["uid"], &facts["gid"]), (&user["uid"], &user["gid"]), "user");
    let mut groups: Vec<u64> = list(&user["additionalGids"]).filter_map(Value::as_u64).collect();
    groups.sort_unstable();
    groups.dedup();
    let seen: Vec<u64> = list(&facts["groups"]).filter_map(Value::as_u64).collect();
    assert_eq!(seen, groups, "supplementary groups");
    if let Some(umask) = user["umask"].as_u64() {
        assert_eq!(facts["umask"], format!("{umask:04o}"), "umask");
    }
    assert_eq!(facts["cwd"], asked["cwd"], "cwd");
    for variable in strings(&asked["env"]) {
        assert!(strings(&facts["env"]).contains(&variable), "{variable} is not in {}", facts["env"]);
    }
    // A program that is not root's has what is ambient, and engines ask for none of that.
    let is_root = user["uid"] == 0;
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        let wanted = sorted(&asked["capabilities"][set]);
        let wanted = if is_root || set == "bounding" { wanted } else { Vec::new() };
        assert_eq!(sorted(&facts["capabilities"][set]), wanted, "{set} capabilities");
    }
    assert_eq!(facts["no_new_privs"], asked["noNewPrivileges"] == true, "no_new_privs");
    if !asked["oomScoreAdj"].is_null() {
        assert_eq!(facts["oom_score_adj"], asked["oomScoreAdj"], "oom_score_adj");
    }
    for limit in list(&asked["rlimits"]) {
        let kind = limit["type"].as_str().expect("a type");
        let seen = &facts["rlimits"][kind];
        assert_eq!((&seen["soft"], &seen["hard"]), (&limit["soft"], &limit["hard"]), "{kind}");
    }
    for fd in 0..3 {
        assert_eq!(facts["tty"][fd]["terminal"], asked["terminal"] == true, "terminal on descriptor {fd}");
    }
}

/// config-linux.md, "Seccomp": a filter is in force where one is asked for.
pub(super) fn filter(spec: &Value, facts: &Value) {
    let mode = if spec["linux"]["seccomp"].is_null() { 0 } else { 2 };
    assert_eq!(facts["seccomp"], mode, "mode of seccomp");
}

/// config.md, "Mounts".
pub(super) fn mounted(asked: &Value, facts: &Value) {
    let mount = mount_on(facts, asked["destination"].as_str().expect("a destination"));
    let is_bind = asked["type"] == "bind";
    if !is_bind {
        let kind = if asked["type"] == "cgroup" { "cgroup2" } else { asked["type"].as_str().expect("a type") };
        assert_eq!(mount["type"], kind, "{mount}");
    }
    for option in strings(&asked["options"]) {
        let seen = if option == "rro" { "ro" } else { option };
        if matches!(seen, "ro" | "nosuid" | "nodev" | "noexec") {
            assert!(has_option(mount, seen), "no {option}: {mount}");
        }
    }
    let size = strings(&asked["options"]).into_iter().find_map(|option| option.strip_prefix("size="));
    let bytes = size.map(|size| match size.strip_suffix(['k', 'm']) {
        Some(number) if size.ends_with('m') => number.parse::<u64>().expect("a size") << 20,
        Some(number) => number.parse::<u64>().expect("a size") << 10,
        None => size.parse().expect("a size"),
    });
    if let Some(bytes) = bytes {
        let size = format!("size={}k", bytes >> 10);
        assert!(strings(&mount["super_options"]).contains(&size.as_str()), "no {size}: {mount}");
    }
}

/// config-linux.md, "Namespaces": new, joined, or the caller's.
pub(super) fn namespaces(spec: &Value, facts: &Value) {
    let linux = &spec["linux"];
    for (kind, file) in [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mount", "mnt"),
        ("network", "net"),
        ("pid", "pid"),
        ("user", "user"),
        ("uts", "uts"),
    ] {
        let asked = list(&linux["namespaces"]).find(|namespace| namespace["type"] == kind);
        let seen = facts["namespaces"][file].as_str().unwrap_or_default();
        let link = |path: &Path| fs::read_link(path).expect("a namespace").display().to_string();
        let ours = link(&Path::new("/proc/self/ns").join(file));
        match asked.map(|namespace| namespace["path"].as_str()) {
            None => assert_eq!(seen, ours, "{kind} namespace is not the caller's"),
            Some(None) => assert_ne!(seen, ours, "{kind} namespace is the caller's"),
            Some(Some(path)) => assert_eq!(seen, link(Path::new(path)), "{kind} namespace is not the neighbour's"),
        }
        if kind == "pid" && asked.is_some_and(|namespace| namespace["path"].is_null()) {
            assert_eq!(facts["pid"], 1);
            assert_eq!(facts["pids"], json!([1]));
        }
    }
    if !spec["hostname"].is_null() {
        assert_eq!(facts["hostname"], spec["hostname"]);
    }
    if !spec["domainname"].is_null() {
        assert_eq!(facts["domainname"], spec["domainname"]);
    }
    for (name, map) in [("uidMappings", "uid_map"), ("gidMappings", "gid_map")] {
        let asked: Vec<Value> = list(&linux[name]).map(|m| json!([m["containerID"], m["hostID"], m["size"]])).collect();
        if !asked.is_empty() {
            assert_eq!(facts[map], json!(asked), "{name}");
        }
    }
}

/// config-linux.md, "Masked Paths" and "Readonly Paths", as far as this kernel has them.
pub(super) fn paths(linux: &Value, facts: &Value) {
    for path in strings(&linux["maskedPaths"]).into_iter().filter(|path| Path::new(path).exists()) {
        let mount = mount_on(facts, path);
        assert!(mount["type"] == "tmpfs" || mount["root"] == "/null", "{path} is not masked: {mount}");
    }
    for path in strings(&linux["readonlyPaths"]).into_iter().filter(|path| Path::new(path).exists()) {
        assert!(has_option(mount_on(facts, path), "ro"), "{path} can be written: {}", mount_on(facts, path));
    }
}

/// config-linux.md, "Devices".
pub(super) fn devices(linux: &Value, facts: &Value) {
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert_eq!(facts["dev"][name]["type"], "char", "/dev/{name}");
    }
    for device in list(&linux["devices"]) {
        let path = device["path"].as_str().expect("a path");
        let node = &facts["dev"][path.trim_start_matches("/dev/")];
        // Only the names right below /dev are known.
        if path.matches('/').count() == 2 {
            let mode = device["fileMode"].as_u64().unwrap_or(0o666) & 0o7777;
            assert_eq!((&node["major"], &node["minor"]), (&device["major"], &device["minor"]), "{path}");
            assert_eq!(node["mode"], format!("{mode:04o}"), "{path}");
            assert_eq!((&node["uid"], &node["gid"]), (&device["uid"], &device["gid"]), "{path}");
        }
    }
}
