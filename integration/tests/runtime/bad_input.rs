//! Bad input: an error of one line that names the place, exit code 1, and the host as before.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use integration::{Bundle, Outcome, Runtime, cgroup_root, not_on_peer, not_on_runc_1_1, skip, unique_name};
use serde_json::{Value, json};

/// Neither cgroup nor state is left.
fn assert_nothing_left(runtime: &Runtime, bundle: &Bundle, when: &str) {
    assert!(!bundle.cgroup().exists(), "{when}: the cgroup was left");
    let left: Vec<_> = fs::read_dir(runtime.root()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{when}: left in the state root: {left:?}");
}

fn create(runtime: &Runtime, bundle: &Bundle) -> Outcome {
    match runtime.try_create(bundle) {
        Err(outcome) => outcome,
        Ok(container) => panic!("create succeeds, status {}", container.status()),
    }
}

/// Every bundle in `bundles/invalid` is refused with the very message that its `expected` holds,
/// in which `BUNDLE` stands for the bundle's directory.
#[test]
fn every_invalid_bundle_is_refused_with_its_message() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/invalid");
    let mut seen = 0;
    let mut wrong = String::new();
    for entry in fs::read_dir(dir).expect("bundles/invalid").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let expected = fs::read_to_string(entry.path().join("expected")).expect("expected");
        let bundle = Bundle::of_workspace(&format!("invalid/{name}"));
        // Word by word: messages tell lines and columns.
        fs::copy(entry.path().join("config.json"), bundle.path().join("config.json")).expect("config.json");
        let outcome = runtime.run(&bundle);
        let directory = bundle.path().display().to_string();
        let seen_text = outcome.stderr.replace(&directory, "BUNDLE");
        let message = seen_text.split_once(": ").map_or("", |(_, message)| message);
        if outcome.code() != 1 || message != expected {
            wrong += &format!("\n{name}: expected {expected}seen: {outcome}");
        }
        assert_nothing_left(&runtime, &bundle, &name);
        seen += 1;
    }
    assert!(seen > 20, "only {seen} invalid bundles");
    assert!(wrong.is_empty(), "{wrong}");
}

/// The bundle itself: missing, a file, without config.json, with a directory for it.
#[test]
fn a_bundle_that_is_none_is_refused() {
    let runtime = Runtime::new();
    let file = runtime.dir().join("file");
    fs::write(&file, "x").expect("a file");
    let empty = runtime.dir().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let odd = runtime.dir().join("odd");
    fs::create_dir_all(odd.join("config.json")).expect("a directory");
    for (path, text) in [
        (Path::new("/no/such/bundle"), "/no/such/bundle"),
        (&file, "file"),
        (&empty, "config.json"),
        (&odd, if integration::is_peer() { "" } else { "config.json" }),
    ] {
        let call = runtime.call(["create", "--bundle"]).arg(path).arg(unique_name());
        let _ = call.outcome().refused(text).in_one_line();
    }
}

/// A config.json that is no JSON in any way is refused, whatever it holds.
#[test]
fn a_config_that_is_no_json_is_refused() {
    not_on_runc_1_1!("it crashes on null");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let deep = "[".repeat(200_000);
    let long = format!("{{\"ociVersion\": \"{}", "x".repeat(5_000_000));
    for text in [
        &b""[..],
        b"\0\0\0\0",
        b"\xff\xfe",
        b"null",
        b"3",
        b"{",
        b"{}}",
        b"{\"a\": nan}",
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        fs::write(bundle.path().join("config.json"), text).expect("config.json");
        let outcome = create(&runtime, &bundle).exits(1).in_one_line();
        assert!(integration::is_peer() || outcome.stderr.contains("config.json"), "{outcome}");
        assert!(outcome.stderr.len() < 2000, "the message is {} bytes long", outcome.stderr.len());
    }
}

/// A valid config.json cut anywhere is refused; never a crash.
#[test]
fn a_truncated_config_is_refused_wherever_it_ends() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let text = fs::read(bundle.path().join("config.json")).expect("config.json");
    for end in (0..text.len() - 2).step_by(text.len() / 25) {
        fs::write(bundle.path().join("config.json"), &text[..end]).expect("config.json");
        let _ = create(&runtime, &bundle).exits(1).in_one_line();
    }
    assert_nothing_left(&runtime, &bundle, "truncated");
}

/// Every property with a value of another type: an error or no effect, never a crash.
#[test]
fn a_wrong_type_anywhere_is_never_a_crash() {
    let runtime = Runtime::new();
    let spec = Bundle::new().spec().clone();
    let mut pointers = Vec::new();
    collect(&spec, String::new(), &mut pointers);
    assert!(pointers.len() > 60, "{pointers:?}");
    let shared = Bundle::new();
    for pointer in pointers {
        let mut changed = spec.clone();
        let at = changed.pointer_mut(&pointer).expect("what was there");
        *at = match at {
            Value::Object(_) => json!("text"),
            Value::Array(_) => json!({ "an": "object" }),
            Value::String(_) => json!(12_345),
            _ => json!([["nested"]]),
        };
        let cgroup = shared.spec()["linux"]["cgroupsPath"].clone();
        if let Some(linux) = changed["linux"].as_object_mut() {
            linux.insert("cgroupsPath".to_owned(), cgroup);
        }
        let bundle = Bundle::sharing_rootfs_of(&shared).edit(|own| *own = changed);
        let outcome = runtime.run(&bundle);
        assert!([0, 1].contains(&outcome.code()), "{pointer}: {outcome}");
        assert!(outcome.code() == 0 || !outcome.stderr.contains("panicked"), "{pointer}: {outcome}");
    }
}

fn collect(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            collect(value, format!("{at}/{}", key.replace('/', "~1")), pointers);
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| collect(value, format!("{at}/{n}"), pointers));
        }
        _ => {}
    }
    if !at.is_empty() {
        pointers.push(at);
    }
}

/// config.md § Extensibility: "unknown properties … MUST be ignored".
#[test]
fn unknown_properties_are_ignored() {
    let bundle = Bundle::new().edit(|spec| {
        for pointer in
            ["", "/process", "/root", "/linux", "/linux/resources", "/mounts/0", "/process/user", "/linux/namespaces/0"]
        {
            let at = spec.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
            at.insert("org.example.unknown".to_owned(), json!({ "any": ["thing"] }));
        }
    });
    let _ = Runtime::new().run(&bundle).ok();
}

/// What is given as `null` is not given.
#[test]
fn null_is_not_given() {
    let bundle = Bundle::new()
        .set("/hooks", Value::Null)
        .set("/annotations", Value::Null)
        .set("/process/rlimits", Value::Null)
        .set("/linux/devices", Value::Null)
        .set("/linux/sysctl", Value::Null)
        .set("/linux/seccomp", Value::Null);
    let _ = Runtime::new().run(&bundle).ok();
}

// --- namespaces -------------------------------------------------------------------------------------

/// No more network namespaces, in a user namespace of the test's own: an error, after the init was started.
#[test]
fn a_limit_of_no_network_namespaces_is_an_error() {
    not_on_peer!("a step of ours");
    let bundle = Bundle::new().without_mount("/dev/pts");
    let runtime = Runtime::new();
    let script = r#"exec unshare --user --map-root-user --mount --pid --fork --mount-proc sh -c \
        'echo 0 >/proc/sys/user/max_net_namespaces && exec "$0" "$@"' "$0" "$@""#;
    let call = runtime.through_shell(script, ["run", "--bundle"]).arg(bundle.path());
    let outcome = call.arg(unique_name()).outcome().exits(1).in_one_line();
    assert!(outcome.stderr.contains("network-namespace: unshare: ENOSPC; the limit"), "{outcome}");
    assert_nothing_left(&runtime, &bundle, "no network namespaces");
}

// --- the state directory ---------------------------------------------------------------------------

/// Calls the runtime in a mount namespace of its own, after the shell words of `before`.
fn unshared(runtime: &Runtime, before: &str, bundle: &Bundle) -> Outcome {
    let script =
        format!("exec unshare --mount --propagation private sh -c '{before} && exec \"$0\" \"$@\"' \"$0\" \"$@\"");
    let call = runtime.through_shell(&script, ["create", "--bundle"]).arg(bundle.path());
    let call = call.env("ROOT", runtime.root()).env("CGROUPS", cgroup_root());
    call.arg(unique_name()).outcome()
}

/// A full state directory.
#[test]
fn a_full_state_directory_is_an_error() {
    not_on_runc_1_1!("its message has lost the cause");
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let fill = r#"mkdir -p "$ROOT" && mount -t tmpfs -o mode=700,size=4k,nr_inodes=4 tmpfs "$ROOT" && head -c 4096 /dev/zero >"$ROOT/fill""#;
    let outcome = unshared(&runtime, fill, &bundle).exits(1).in_one_line();
    let text = outcome.stderr.to_lowercase();
    assert!(text.contains("enospc") || text.contains("no space left"), "{outcome}");
    assert_nothing_left(&runtime, &bundle, "a full state directory");
}

/// A read-only state directory.
#[test]
fn a_read_only_state_directory_is_an_error() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let freeze = r#"mkdir -p "$ROOT" && mount -t tmpfs -o ro,mode=700 tmpfs "$ROOT""#;
    let outcome = unshared(&runtime, freeze, &bundle).exits(1).in_one_line();
    let text = outcome.stderr.to_lowercase();
    assert!(text.contains("erofs") || text.contains("read-only file system"), "{outcome}");
    assert_nothing_left(&runtime, &bundle, "a read-only state directory");
}

/// A state root that is a file.
#[test]
fn a_state_root_that_is_a_file_is_an_error() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    fs::write(runtime.root(), "x").expect("a file");
    let _ = create(&runtime, &bundle).exits(1).in_one_line();
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
}

/// cli-contract A.1: the host's root is no state root.
#[test]
fn the_root_directory_is_no_state_root() {
    not_on_peer!("runc 1.1 takes any");
    let runtime = Runtime::new();
    let _ = runtime.call(["--root", "/", "list"]).outcome().refused("/").in_one_line();
}

/// A state.json that is broken: true answers, and `delete --force` cleans up.
#[test]
fn a_broken_state_is_reported_and_can_be_deleted() {
    not_on_peer!("runc asks for help by hand");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    for text in ["", "{", "[]", "{\"id\": 3}"] {
        let container = runtime.start_ready(&bundle);
        let dir = runtime.root().join(container.id());
        for entry in fs::read_dir(&dir).expect("the state directory").flatten() {
            if entry.path().extension().is_some_and(|e| e == "json") {
                fs::write(entry.path(), text).expect("a broken state");
            }
        }
        let _ = container.call(["state"]).outcome().exits(1).in_one_line();
        let _ = container.call(["delete", "--force"]).outcome().ok();
        assert!(!dir.exists(), "{text:?}: the state directory is still there");
        // What the state no longer tells, the test ends itself.
        let pid = rustix::process::Pid::from_raw(container.pid()).expect("a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// A pid file that cannot be written fails `create`, and nothing is left.
#[test]
fn a_pid_file_that_cannot_be_written_is_an_error() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let call = runtime.call(["create", "--pid-file", "/no/such/directory/pid", "--bundle"]).arg(bundle.path());
    let _ = call.arg(unique_name()).outcome().refused("/no/such/directory").in_one_line();
    assert_nothing_left(&runtime, &bundle, "a pid file");
}

/// A log that cannot be written is an error, not a silence.
#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let runtime = Runtime::new();
    let _ = runtime.call(["--log", "/no/such/directory/log", "list"]).outcome().refused("/no/such/directory");
}

// --- cgroups -----------------------------------------------------------------------------------------

/// config-linux.md § Control groups: a cgroup that is frozen would freeze the container at its creation.
#[test]
fn a_frozen_cgroup_is_an_error_and_stays_as_it_was() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    fs::write(bundle.cgroup().join("cgroup.freeze"), "1").expect("cgroup.freeze");
    let outcome = create(&runtime, &bundle).exits(1).in_one_line();
    assert!(outcome.stderr.contains("frozen") || outcome.stderr.contains("paused"), "{outcome}");
    let freeze = fs::read_to_string(bundle.cgroup().join("cgroup.freeze"));
    assert_eq!(freeze.expect("the cgroup is as before"), "1\n");
}

/// config-linux.md § Control groups: a cgroup with processes in it belongs to somebody.
#[test]
fn a_cgroup_with_processes_is_an_error_and_they_live_on() {
    not_on_runc_1_1!("it joins them");
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    let mut child = Command::new(integration::probe())
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    fs::write(bundle.cgroup().join("cgroup.procs"), child.id().to_string()).expect("our own child moves");
    let outcome = create(&runtime, &bundle).exits(1).in_one_line();
    assert!(
        outcome.stderr.contains("not empty")
            || outcome.stderr.contains("non-empty")
            || outcome.stderr.contains("process"),
        "{outcome}"
    );
    assert!(child.try_wait().expect("the child").is_none(), "the process in it was killed");
    drop(child.stdin.take());
    let _ = child.wait().expect("the child");
}

/// An empty cgroup that is there already may be used, and only what was made is removed.
#[test]
fn an_empty_cgroup_may_be_used() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    let _ = runtime.run(&bundle).ok();
}

/// A cgroup below one that allows no more.
#[test]
fn a_cgroup_that_cannot_be_made_is_an_error() {
    let runtime = Runtime::new();
    let parent = Bundle::new();
    fs::create_dir(parent.cgroup()).expect("a cgroup");
    fs::write(parent.cgroup().join("cgroup.max.descendants"), "0").expect("cgroup.max.descendants");
    let path = parent.spec()["linux"]["cgroupsPath"].as_str().expect("a path");
    let bundle = Bundle::new().set("/linux/cgroupsPath", json!(format!("{path}/child")));
    let outcome = create(&runtime, &bundle).exits(1).in_one_line();
    assert!(outcome.stderr.contains(path), "{outcome}");
    let names: Vec<_> =
        fs::read_dir(parent.cgroup()).expect("the cgroup").flatten().filter(|e| e.path().is_dir()).collect();
    assert!(names.is_empty(), "{names:?}");
}

/// A cgroup tree that is mounted read-only.
#[test]
fn a_read_only_cgroup_tree_is_an_error() {
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let outcome =
        unshared(&runtime, r#"mount --bind "$CGROUPS" "$CGROUPS" && mount -o remount,bind,ro "$CGROUPS""#, &bundle);
    let outcome = outcome.exits(1).in_one_line();
    let text = outcome.stderr.to_lowercase();
    assert!(text.contains("erofs") || text.contains("read-only file system"), "{outcome}");
    assert_nothing_left(&runtime, &bundle, "a read-only cgroup tree");
}

/// A `cgroupsPath` never leads above the tree's root (crun 1.28 and 1.29 had such paths in annotations).
#[test]
fn a_cgroups_path_never_leads_out_of_the_tree() {
    let runtime = Runtime::new();
    let name = unique_name();
    let up = "/..".repeat(9);
    for path in [format!("{up}/{name}"), format!("{}/{name}", &up[1..]), format!("/{name}-a{up}/{name}")] {
        let bundle = Bundle::new().set("/linux/cgroupsPath", json!(path));
        let _ = runtime.run(&bundle);
        let _ = fs::remove_dir(cgroup_root().join(format!("{name}-a")));
        for above in ["/sys/fs/cgroup", "/sys/fs", "/sys", "/"] {
            let made = Path::new(above).join(&name);
            // An empty directory, if any: nothing is left by a hole found.
            let was_made = above != cgroup_root().to_str().unwrap_or_default() && fs::remove_dir(&made).is_ok();
            assert!(!was_made, "{path}: {} was made outside", made.display());
        }
    }
}

fn missing_controller() -> Option<&'static str> {
    let there = fs::read_to_string(cgroup_root().join("cgroup.controllers")).expect("cgroup.controllers");
    ["memory", "cpu", "pids"].into_iter().find(|name| !there.split_whitespace().any(|c| c == *name))
}

/// A limit whose controller is bound to v1 is an error that names the controller; never dropped.
#[test]
fn a_limit_without_its_controller_is_an_error() {
    let Some(controller) = missing_controller() else { skip("cgroup v2 has every controller here") };
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let limit = match controller {
        "memory" => json!({ "limit": 100 << 20 }),
        "cpu" => json!({ "quota": 50_000, "period": 100_000 }),
        _ => json!({ "limit": 10 }),
    };
    let bundle = bundle.set(&format!("/linux/resources/{controller}"), limit);
    let _ = create(&runtime, &bundle).refused(controller).in_one_line();
    assert_nothing_left(&runtime, &bundle, "a limit");
}

/// A setting that asks for what holds anyway needs no controller.
#[test]
fn a_limit_that_is_none_is_never_an_error() {
    not_on_peer!("runc wants the controller all the same");
    let runtime = Runtime::new();
    for (controller, limit) in [
        ("memory", json!({ "limit": -1 })),
        ("memory", json!({ "limit": -1, "swap": -1, "reservation": -1 })),
        ("memory", json!({})),
        ("cpu", json!({ "shares": 1024 })),
        ("cpu", json!({ "quota": -1 })),
        ("cpu", json!({ "quota": -1, "period": 100_000 })),
        ("cpu", json!({})),
        ("pids", json!({ "limit": -1 })),
        ("blockIO", json!({})),
        ("hugepageLimits", json!([])),
        ("unified", json!({})),
    ] {
        let bundle = Bundle::new().set(&format!("/linux/resources/{controller}"), limit.clone());
        let outcome = runtime.run(&bundle);
        assert!(outcome.succeeded(), "{controller} {limit}: {outcome}");
    }
}

/// The first mistake of all: a directory that is no bundle. And a mount whose source is not there, also with a user
/// namespace, where the host half opens it: `check` says the same.
#[test]
fn what_is_missing_is_reported_with_what_to_do() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let empty = runtime.dir().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let call = runtime.call(["run", "--bundle"]).arg(&empty).arg(unique_name());
    let _ = call.outcome().fails(1, "a bundle is a directory with config.json and a root file system").in_one_line();
    for bundle in [Bundle::new(), Bundle::new().mapped()] {
        let bundle = bundle.bind(Path::new("/no/such/source"), "/data", &["rbind", "ro"]);
        let index = bundle.spec()["mounts"].as_array().map_or(0, |mounts| mounts.len() - 1);
        let text = format!(
            "config.json: mounts[{index}].source: /no/such/source: no such file or directory (ENOENT); make it, or \
             remove the mount"
        );
        let _ = create(&runtime, &bundle).fails(1, &text).in_one_line();
    }
}

/// Ids that are none say why.
#[test]
fn an_id_that_is_none_says_why() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    for (id, text) in [
        ("..", "these two are no ids"),
        ("docker.io/library/alpine", "cleat runs bundles, not images"),
        ("a b", "use letters, digits"),
    ] {
        let call = runtime.call(["run", "--bundle"]).arg(bundle.path()).arg(id);
        let _ = call.outcome().fails(1, "invalid container ID format").fails(1, text).in_one_line();
    }
}

/// A wrong option or command: the nearest one, what engines call otherwise, and no tip that fails.
#[test]
fn a_wrong_word_is_reported_with_what_was_meant() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    for (args, text) in [
        (&["run", "--bundel", "/b", "web"][..], "did you mean --bundle?"),
        (&["kill", "-9", "web"], "cleat kill ID 9"),
        (&["exec", "-it", "web", "sh"], "standard input is always passed on"),
        (&["run", "--rm", "web"], "unless --keep is given"),
        (&["run", "web", "sleep", "1"], "cleat exec ID COMMAND"),
        (&["ps"], "cleat list lists the containers"),
        (&["runn"], "did you mean \"run\"?"),
        (&["ls"], "listed by \"list\""),
        (&["help", "fly"], "\"fly\" is no command"),
    ] {
        let outcome = runtime.call(args).outcome().fails(1, text);
        assert!(outcome.stderr.starts_with("Incorrect Usage. ") && !outcome.stderr.contains("tip:"), "{outcome}");
    }
}

/// Every command has `-h`, and `help COMMAND`, which is the same; as runc's.
#[test]
fn every_command_of_runc_has_help() {
    not_on_peer!("their help is theirs");
    let runtime = Runtime::new();
    for command in [
        "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "resume", "run", "spec",
        "start", "state", "update",
    ] {
        let help = runtime.call([command, "-h"]).outcome().ok().stdout;
        assert!(help.contains(&format!("Usage: cleat {command}")), "{help}");
        assert_eq!(runtime.call([command, "--help"]).outcome().ok().stdout, help);
        assert_eq!(runtime.call(["help", command]).outcome().ok().stdout, help);
    }
    let all = runtime.call(["-h"]).outcome().ok().stdout;
    assert_eq!(runtime.call(["help"]).outcome().ok().stdout, all);
    let version = runtime.call(["--version"]).outcome().ok().stdout;
    assert!(version.starts_with("runc version 1.") && version.contains("\ncommit: "), "{version}");
    assert_eq!(runtime.call(["version"]).outcome().ok().stdout, version);
}
