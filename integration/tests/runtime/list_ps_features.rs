//! `list`, `ps`, `features`, `spec`: what engines and people ask.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, not_on_peer, not_on_runc_1_1, skip};
use serde_json::{Value, json};

/// The state root as the first container leaves it: runc wants it to be there.
fn with_root() -> Runtime {
    let runtime = Runtime::new();
    fs::create_dir(runtime.root()).expect("the state root");
    runtime
}

/// An empty JSON list prints `null` (Go's nil slice; cli-contract A.2).
#[test]
fn an_empty_list_is_null_in_json() {
    let runtime = with_root();
    let outcome = runtime.call(["list", "--format", "json"]).outcome().ok();
    assert_eq!(outcome.stdout.trim(), "null");
}

/// JSON is one line, as runc's: scripts read by lines.
#[test]
fn a_list_in_json_is_one_line() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.create(&bundle);
    let listed = runtime.call(["list", "--format", "json"]).outcome().ok().stdout;
    assert!(listed.ends_with('\n') && listed.lines().count() == 1 && listed.contains(container.id()), "{listed}");
}

/// A state directory that is named and not there is an error, as with runc: a slip, and not an empty list.
#[test]
fn a_named_state_directory_must_be_there() {
    let runtime = Runtime::new();
    for args in [&["list"][..], &["list", "-q"], &["list", "-f", "json"]] {
        let outcome = runtime.call(["--root", "/no/such/state"]).args(args).outcome();
        let _ = outcome.fails(1, "/no/such/state: no such file or directory").in_one_line();
    }
}

/// `create --config FILE` reads that in the place of the bundle's config.json, as crun does.
#[test]
fn another_file_may_be_the_config() {
    not_on_peer!("runc has it not");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let mut other = bundle.spec().clone();
    other["hostname"] = json!("another");
    fs::write(runtime.dir().join("other.json"), other.to_string()).expect("a file");
    fs::write(bundle.path().join("config.json"), "{}").expect("config.json");
    for option in ["--config", "-f"] {
        let outcome = runtime.run_with(&bundle, |call| call.dir(runtime.dir()).args([option, "other.json"]));
        assert_eq!(outcome.json()["hostname"], "another");
    }
}

/// An empty table has its head alone; `-q` prints nothing.
#[test]
fn an_empty_list_has_a_head_alone() {
    let runtime = with_root();
    let table = runtime.call(["list"]).outcome().ok().stdout;
    let head: Vec<_> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!((head, table.lines().count()), (vec!["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], 1));
    assert_eq!(runtime.call(["list", "-q"]).outcome().ok().stdout, "");
}

/// Every container of the root, in three formats.
#[test]
fn list_shows_every_container() {
    let runtime = Runtime::new();
    let bundles = [Bundle::sleeper(), Bundle::sleeper().set("/annotations", json!({ "key": "value" }))];
    let running = runtime.start_ready(&bundles[0]);
    let created = runtime.create(&bundles[1]);

    let list = runtime.call(["list", "-f", "json"]).outcome().json();
    let of = |id: &str| {
        let found = list.as_array().expect("a list").iter().find(|c| c["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("no {id} in {list}"))
    };
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let one = of(running.id());
    assert_eq!((&one["status"], &one["pid"]), (&json!("running"), &json!(running.pid())));
    assert_eq!((&one["bundle"], &one["owner"]), (&json!(bundles[0].path()), &json!("root")));
    assert!(one["created"].is_string() && one["rootfs"].is_string() && one["ociVersion"].is_string(), "{one}");
    assert_eq!(
        (&of(created.id())["status"], &of(created.id())["annotations"]["key"]),
        (&json!("created"), &json!("value"))
    );

    let table = runtime.call(["list"]).outcome().ok().stdout;
    let line = table.lines().find(|l| l.starts_with(running.id())).unwrap_or_else(|| panic!("{table}"));
    let fields: Vec<_> = line.split_whitespace().collect();
    assert_eq!(fields[1], running.pid().to_string());
    assert_eq!((fields[2], fields[5]), ("running", "root"));

    let quiet = runtime.call(["list", "--quiet"]).outcome().ok().stdout;
    let mut ids: Vec<_> = quiet.lines().collect();
    ids.sort_unstable();
    let mut all = [running.id(), created.id()];
    all.sort_unstable();
    assert_eq!(ids, all);
}

/// A stray file or an unreadable state is no reason to show nothing.
#[test]
fn list_survives_what_it_does_not_understand() {
    let runtime = Runtime::new();
    let bundle = Bundle::sleeper();
    let container = runtime.start_ready(&bundle);
    fs::write(runtime.root().join("stray"), "x").expect("a file");
    let outcome = runtime.call(["list", "-f", "json"]).outcome().ok();
    assert!(outcome.stdout.contains(container.id()), "{outcome}");
}

/// An unknown format is refused by name.
#[test]
fn list_refuses_an_unknown_format() {
    let runtime = with_root();
    let outcome = runtime.call(["list", "--format", "xml"]).outcome();
    assert!(!outcome.succeeded(), "{outcome}");
    assert!(outcome.stderr.contains("format"), "{outcome}");
}

/// `ps --format json` is a list of the host's pids.
#[test]
fn ps_lists_the_pids_of_the_container() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "2"]);
    let container = runtime.start_ready(&bundle);
    let pids = runtime.call(["ps", "--format", "json", container.id()]).outcome().json();
    let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    let mut expected: Vec<i64> = procs.lines().filter_map(|l| l.parse().ok()).collect();
    let mut seen: Vec<i64> = pids.as_array().expect("a list").iter().filter_map(Value::as_i64).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!((seen.len(), seen), (3, expected));
}

/// `ps` as a table is ps(1)'s own, cut to the container; its options may follow the id.
#[test]
fn ps_shows_a_table_of_the_containers_processes_alone() {
    if !["/bin/ps", "/usr/bin/ps"].iter().any(|path| fs::exists(path).unwrap_or(false)) {
        skip("no ps(1), which makes the table");
    }
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "1"]);
    let container = runtime.start_ready(&bundle);
    for more in [&[][..], &["-ef"], &["-o", "pid,comm"]] {
        let table = runtime.call(["ps", container.id()]).args(more).outcome().ok().stdout;
        assert_eq!(table.lines().count(), 3, "{more:?}: {table}");
        assert!(table.lines().next().is_some_and(|head| head.contains("PID")), "{table}");
        assert!(table.contains(&container.pid().to_string()), "{table}");
    }
}

/// features.md: a document without arguments, root or container.
#[test]
fn features_tells_what_is_known() {
    not_on_runc_1_1!("its document is a draft's");
    let features = Runtime::new().call(["features"]).outcome().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().is_some_and(|v| v.starts_with("1.")), "{}", features["ociVersionMax"]);
    let has = |path: &str, word: &str| {
        let list = features.pointer(path).and_then(Value::as_array);
        assert!(list.is_some_and(|list| list.contains(&json!(word))), "no {word} in {path}: {list:?}");
    };
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        has("/hooks", hook);
    }
    for option in [
        "ro",
        "rro",
        "bind",
        "rbind",
        "nosuid",
        "noexec",
        "nodev",
        "private",
        "rslave",
        "tmpcopyup",
        "nosymfollow",
        "rnosuid",
    ] {
        has("/mountOptions", option);
    }
    for namespace in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        has("/linux/namespaces", namespace);
    }
    for capability in ["CAP_CHOWN", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"] {
        has("/linux/capabilities", capability);
    }
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    if !integration::is_peer() {
        assert_eq!(features["linux"]["intelRdt"], json!({ "enabled": true, "schemata": true, "monitoring": true }));
        for mode in ["MPOL_DEFAULT", "MPOL_BIND", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_LOCAL"] {
            has("/linux/memoryPolicy/modes", mode);
        }
        has("/linux/memoryPolicy/flags", "MPOL_F_STATIC_NODES");
    }
}

/// features-linux.md: every field of `linux` is there, with a value.
#[test]
fn features_has_every_field_of_the_specification() {
    not_on_peer!("its answers are its own");
    let features = Runtime::new().call(["features"]).outcome().json();
    let linux = &features["linux"];
    let fields: Vec<&str> = linux.as_object().expect("an object").keys().map(String::as_str).collect();
    let known = [
        "apparmor",
        "capabilities",
        "cgroup",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "namespaces",
        "netDevices",
        "seccomp",
        "selinux",
    ];
    assert_eq!(fields, known);
    let cgroup = json!({ "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true });
    assert_eq!(linux["cgroup"], cgroup);
    for name in ["apparmor", "selinux", "netDevices", "seccomp", "intelRdt"] {
        assert_eq!(linux[name]["enabled"], true, "{name}");
    }
    let seccomp = linux["seccomp"].as_object().expect("an object");
    for (list, least) in [("actions", 9), ("operators", 7), ("archs", 2), ("knownFlags", 4), ("supportedFlags", 3)] {
        let len = seccomp.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        assert!(len >= least, "{len} {list}");
    }
    let known = seccomp["knownFlags"].as_array().expect("flags");
    assert!(seccomp["supportedFlags"].as_array().is_some_and(|flags| flags.iter().all(|flag| known.contains(flag))));
    assert!(features["annotations"].as_object().is_some_and(|all| all.values().all(Value::is_string)));
    assert_eq!(
        features["potentiallyUnsafeConfigAnnotations"],
        json!([
            "org.criu.config",
            "run.oci.keep_original_groups",
            "run.oci.seccomp.receiver",
            "run.oci.mount_context_type",
            "run.oci.hooks.stdout",
            "run.oci.hooks.stderr",
            "run.oci.systemd.subgroup",
            "org.systemd.property."
        ])
    );
}

/// Whatever word `features` lists is one that config.json may have.
#[test]
fn every_word_of_features_is_understood() {
    not_on_peer!("only a plan tells without doing it");
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).outcome().json();
    let words = |path: &str| -> Vec<String> {
        let list = features.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("no {path}"));
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let understood = |bundle: Bundle, what: &str| {
        let outcome = runtime.call(["plan"]).arg(bundle.path()).outcome().ok();
        assert_eq!(outcome.stderr, "", "{what}: {outcome}");
    };
    for option in words("/mountOptions") {
        let mount = match option.as_str() {
            // What is of the file system cannot be said of a bind mount.
            "tmpcopyup" | "async" | "sync" | "dirsync" | "lazytime" | "nolazytime" | "mand" | "nomand" => {
                json!({ "destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": [option] })
            }
            "remount" => json!({ "destination": "/proc", "options": [option] }),
            "idmap" | "ridmap" => {
                let map = [json!({ "containerID": 0, "hostID": 1000, "size": 1 })];
                json!({ "destination": "/a", "source": "/", "options": ["bind", option], "uidMappings": map, "gidMappings": map })
            }
            _ => json!({ "destination": "/a", "source": "/", "options": ["rbind", option] }),
        };
        understood(Bundle::new().mount(mount), &option);
    }
    for namespace in words("/linux/namespaces") {
        let bundle = Bundle::new().without_namespace(&namespace).namespace(json!({ "type": namespace }));
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        let bundle = match namespace.as_str() {
            "user" => bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map),
            _ => bundle,
        };
        understood(bundle, &namespace);
    }
    for hook in words("/hooks") {
        understood(Bundle::new().raw_hook(&hook, json!({ "path": "/bin/true" })), &hook);
    }
    for mode in words("/linux/memoryPolicy/modes") {
        let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str()) { "" } else { "0" };
        understood(Bundle::new().set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes })), &mode);
    }
    for flag in words("/linux/memoryPolicy/flags") {
        let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] });
        understood(Bundle::new().set("/linux/memoryPolicy", policy), &flag);
    }
    let rule = |action: &str, operator: &str| {
        let condition = json!({ "index": 0, "value": 1, "op": operator });
        let rule = json!({ "names": ["getppid"], "action": action, "args": [condition] });
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/socket", "syscalls": [rule],
            "architectures": words("/linux/seccomp/archs"), "flags": words("/linux/seccomp/knownFlags") });
        Bundle::new().set("/linux/seccomp", profile)
    };
    for action in words("/linux/seccomp/actions") {
        understood(rule(&action, "SCMP_CMP_EQ"), &action);
    }
    for operator in words("/linux/seccomp/operators") {
        understood(rule("SCMP_ACT_ERRNO", &operator), &operator);
    }
}

/// What is not there yet is not claimed.
#[test]
fn features_claims_nothing_that_is_refused() {
    not_on_peer!("about our own state of completion");
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).outcome().json();
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [], "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }] });
    let works = runtime.run(&Bundle::new().set("/linux/seccomp", seccomp)).succeeded();
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(works), "seccomp");
    assert_eq!(features["linux"]["cgroup"]["v1"], false, "cgroup v1");
}

/// `spec` writes a config.json that runs as it is.
#[test]
fn spec_writes_a_bundle_that_runs() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    fs::remove_file(bundle.path().join("config.json")).expect("config.json");
    let _ = runtime.call(["spec"]).dir(bundle.path()).outcome().ok();
    let text = fs::read_to_string(bundle.path().join("config.json")).expect("config.json");
    let spec: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&spec["process"]["terminal"], &spec["process"]["args"]), (&json!(true), &json!(["sh"])));
    assert_eq!((&spec["root"]["path"], &spec["root"]["readonly"]), (&json!("rootfs"), &json!(true)));
    let bundle = bundle.edit(|own| *own = spec).set("/process/terminal", json!(false)).args(["/probe", "facts"]);
    assert_eq!(runtime.json(&bundle)["pid"], 1);
}

/// `spec -b DIR` writes there, and never over what is there.
#[test]
fn spec_does_not_overwrite() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let before = fs::read(bundle.path().join("config.json")).expect("config.json");
    let outcome = runtime.call(["spec", "--bundle"]).arg(bundle.path()).outcome();
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert_eq!(fs::read(bundle.path().join("config.json")).expect("config.json"), before);
}

/// `spec --rootless` maps the caller to root and wants nothing that only root can have.
#[test]
fn spec_rootless_maps_the_caller() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    fs::remove_file(bundle.path().join("config.json")).expect("config.json");
    let _ = runtime.call(["spec", "--rootless", "-b"]).arg(bundle.path()).outcome().ok();
    let text = fs::read_to_string(bundle.path().join("config.json")).expect("config.json");
    let spec: Value = serde_json::from_str(&text).expect("JSON");
    let own = rustix::process::getuid().as_raw();
    assert_eq!(spec["linux"]["uidMappings"], json!([{ "containerID": 0, "hostID": own, "size": 1 }]));
    let namespaces = spec["linux"]["namespaces"].as_array().expect("namespaces");
    assert!(
        namespaces.contains(&json!({ "type": "user" })) && !namespaces.contains(&json!({ "type": "network" })),
        "{namespaces:?}"
    );
    assert!(spec["linux"]["resources"].is_null(), "{}", spec["linux"]["resources"]);
}

/// `plan` prints what would be done and does nothing.
#[test]
fn plan_prints_the_steps_and_does_nothing() {
    not_on_peer!("no peer can show its plan");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let text = runtime.call(["plan"]).arg(bundle.path()).outcome().ok().stdout;
    assert!(text.contains("/proc") && text.contains("pivot"), "{text}");
    let plan = runtime.call(["plan", "--json"]).arg(bundle.path()).outcome().json();
    assert!(plan.is_object(), "{plan}");
    assert!(!bundle.cgroup().exists(), "a cgroup was made");
}
