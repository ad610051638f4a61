//! `check`: what this machine offers, and whether a bundle will run on it. What it says is held
//! against what `run` does.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use integration::{Bundle, Call, Outcome, Runtime, not_on_peer};
use serde_json::{Value, json};

/// What `check` says of a bundle.
#[derive(Debug)]
struct Answer {
    runs: bool,
    /// Place, problem, remedy.
    problems: Vec<[String; 3]>,
    warnings: Vec<String>,
}

impl Answer {
    fn of(call: Call) -> Self {
        let outcome = call.outcome();
        let document: Value =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
        let bundle = &document["bundle"];
        let runs = bundle["runs"].as_bool().unwrap_or_else(|| panic!("no verdict: {outcome}"));
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (i32::from(!runs), ""), "{outcome}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {outcome}")).to_owned();
        let list = |name: &str| bundle[name].as_array().cloned().unwrap_or_else(|| panic!("no {name}: {outcome}"));
        let problems =
            list("problems").iter().map(|p| ["place", "problem", "remedy"].map(|name| text(&p[name]))).collect();
        let answer = Self { runs, problems, warnings: list("warnings").iter().map(text).collect() };
        assert_eq!(answer.runs, answer.problems.is_empty(), "{outcome}");
        assert!(
            answer.problems.iter().all(|[_, problem, remedy]| !problem.is_empty() && !remedy.is_empty()),
            "{outcome}"
        );
        answer
    }

    fn places(&self) -> Vec<&str> {
        self.problems.iter().map(|[place, ..]| place.as_str()).collect()
    }

    /// One problem, there, with these words.
    fn is_about(&self, place: &str, words: &str) {
        assert_eq!(self.places(), [place], "{self:?}");
        assert!(self.problems[0][1].contains(words), "expected {words:?} in {self:?}");
    }
}

fn json(runtime: &Runtime, bundle: &Bundle) -> Call {
    runtime.call(["check", "--json"]).arg(bundle.path())
}

fn check(runtime: &Runtime, bundle: &Bundle) -> Answer {
    Answer::of(json(runtime, bundle))
}

/// `check` tells this one problem, and `run` fails indeed.
fn assert_problem(bundle: &Bundle, place: &str, words: &str) {
    let runtime = Runtime::new();
    check(&runtime, bundle).is_about(place, words);
    let outcome = runtime.run(bundle);
    assert!(outcome.code() != 0 && !outcome.stderr.is_empty(), "check finds {place}: {words}, and yet: {outcome}");
}

/// `check` finds nothing, and `run` works indeed.
fn assert_runs(bundle: &Bundle) -> Answer {
    let runtime = Runtime::new();
    let answer = check(&runtime, bundle);
    assert!(answer.runs, "{answer:?}");
    let _ = runtime.run(bundle).ok();
    answer
}

/// A bundle whose root is another user on the host, who has the root file system.
fn mapped() -> Bundle {
    let bundle = Bundle::new().mapped();
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle
}

// --- the verdict ----------------------------------------------------------------------------------

/// A good bundle is told to run, and runs.
#[test]
fn a_good_bundle_runs() {
    not_on_peer!("no peer has it");
    let answer = assert_runs(&Bundle::new());
    assert!(answer.warnings.is_empty(), "{answer:?}");
    let _ = assert_runs(&mapped());
}

/// Every bundle in `bundles/invalid` is one that `run` refuses; the place is the same.
#[test]
fn every_invalid_bundle_is_told_at_the_same_place() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let (mut seen, mut wrong) = (0, String::new());
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/invalid")).expect("invalid").flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let expected = fs::read_to_string(entry.path().join("expected")).expect("expected");
        let bundle = Bundle::of_workspace(&format!("invalid/{name}"));
        // Word by word: messages tell lines and columns.
        fs::copy(entry.path().join("config.json"), bundle.path().join("config.json")).expect("config.json");
        let answer = check(&runtime, &bundle);
        let fails = runtime.run(&bundle).code() != 0;
        // A step of the creation has no place in config.json: there it is where the step's object is.
        let of_step =
            [("mounts: ", "mounts["), ("program: ", "process.args[0]"), ("join-namespaces: ", "linux.namespaces[")];
        let step = of_step.iter().find(|(step, _)| expected.starts_with(step)).map(|(_, place)| *place);
        let message = expected.split_once("config.json: ").map_or(expected.as_str(), |(_, message)| message);
        let is_there = |place: &&str| match step {
            Some(step) => place.starts_with(step),
            None if place.is_empty() => answer.problems.iter().any(|[_, problem, _]| message.starts_with(problem)),
            None => message.starts_with(&format!("{place}: ")),
        };
        if answer.runs || !fails || !answer.places().iter().any(is_there) {
            wrong += &format!("\n{name}: run fails: {fails}, expected {expected}seen: {answer:?}");
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} invalid bundles");
    assert!(wrong.is_empty(), "{wrong}");
}

/// Problems of every kind are told at once, each at its place.
#[test]
fn many_problems_are_told_together() {
    not_on_peer!("no peer has it");
    let bundle = Bundle::new()
        .set("/ociVersion", json!("2.0"))
        .set("/process/cwd", json!("work"))
        .set("/process/rlimits/0/type", json!("RLIMIT_NOSUCH"))
        .namespace(json!({ "type": "network", "path": "/no/such/namespace" }))
        .bind(Path::new("/no/such/source"), "/data", &["bind"])
        .mount(json!({ "destination": "/x", "type": "nosuchfs", "source": "x" }))
        .mount(json!({ "destination": "/y", "type": "tmpfs", "source": "y", "options": ["nonsense=1", "mode=755", "odd"] }))
        .raw_hook("prestart", json!({ "path": "hook" }))
        .raw_hook("poststart", json!({ "path": "/no/such/hook" }))
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["NONSENSE"] }));
    let answer = check(&Runtime::new(), &bundle);
    let mut places = answer.places();
    places.sort_unstable();
    let expected = [
        "hooks.poststart[0].path",
        "hooks.prestart[0].path",
        "linux.namespaces[5].path",
        "linux.seccomp.flags[0]",
        "mounts[7].source",
        "mounts[8].type",
        "mounts[9].options",
        "mounts[9].options",
        "ociVersion",
        "process.cwd",
        "process.rlimits[0].type",
    ];
    assert_eq!(places, expected, "{answer:?}");
}

/// Text and JSON say the same, and the last line of the text is the verdict.
#[test]
fn text_and_json_agree() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let good = Bundle::new();
    let bad = Bundle::new()
        .args(["no-such-program"])
        .bind(Path::new("/no/such/source"), "/data", &["bind"])
        .raw_hook("poststop", json!({ "path": "/no/such/hook" }));
    for (bundle, verdict) in [(&good, "it will run here"), (&bad, "it will not run here: 2 problems")] {
        let answer = check(&runtime, bundle);
        let outcome = runtime.call(["check"]).arg(bundle.path()).outcome().exits(i32::from(!answer.runs));
        assert_eq!(outcome.stdout.lines().last(), Some(verdict), "{outcome}");
        for [place, problem, remedy] in &answer.problems {
            assert!(outcome.stdout.contains(&format!("{place}: {problem}; {remedy}\n")), "{place} in {outcome}");
        }
        for warning in &answer.warnings {
            assert!(outcome.stdout.contains(&format!("warning: {warning}\n")), "{warning} in {outcome}");
        }
    }
    assert_eq!(check(&runtime, &bad).warnings.len(), 1);
}

/// The names in a JSON document, wherever they are.
fn names(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            names(value, found);
        }),
        Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

/// The picture of the JSON in docs/check.md has every name that there is, and each in it is one.
#[test]
fn the_json_is_as_the_document_has_it() {
    not_on_peer!("no peer has it");
    let document = include_str!("../../../docs/check.md");
    let picture = document.split("```\n{\"host\"").nth(1).and_then(|rest| rest.split("```").next()).expect("a picture");
    let drawn = picture.split('"').skip(1).step_by(2).map(str::to_owned);
    let drawn: std::collections::BTreeSet<String> = drawn.chain(["host".to_owned()]).collect();
    let bundle = Bundle::new().args(["no-such-program"]);
    let outcome = json(&Runtime::new(), &bundle).outcome().exits(1);
    let mut there = std::collections::BTreeSet::new();
    names(&serde_json::from_str(&outcome.stdout).expect("JSON"), &mut there);
    assert!(there.is_subset(&drawn), "not in docs/check.md: {:?}", there.difference(&drawn));
    // What is in lists that may be empty.
    let in_lists = ["first", "count", "cgroup", "max", "current"];
    let absent: Vec<_> = drawn.difference(&there).filter(|name| !in_lists.contains(&name.as_str())).collect();
    assert!(absent.is_empty(), "in docs/check.md alone: {absent:?}");
}

/// A bundle that is none has one problem; a config.json that is none, too, at its place.
#[test]
fn a_bundle_that_is_none_has_one_problem() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let call = runtime.call(["check", "--json", "/no/such/bundle"]);
    Answer::of(call).is_about("", "/no/such/bundle: no such file or directory");
    let bundle = Bundle::new();
    for (text, place, words) in [
        ("", "", "config.json ends too early"),
        ("[]", "", "expected an object"),
        (r#"{"process": {"args": ["a", 7]}}"#, "process.args[1]", "invalid type: integer `7`"),
    ] {
        fs::write(bundle.path().join("config.json"), text).expect("config.json");
        check(&runtime, &bundle).is_about(place, words);
    }
    fs::remove_file(bundle.path().join("config.json")).expect("config.json");
    check(&runtime, &bundle).is_about("", "config.json: not found");
}

/// What the specification does not know is ignored by `run`, and told by `check`, with what was meant.
#[test]
fn an_unknown_property_is_a_warning_with_the_nearest_one() {
    not_on_peer!("no peer has it");
    let bundle = Bundle::new().set("/hostnme", json!("web")).set("/process/user/username", json!("me"));
    let answer = assert_runs(&bundle);
    assert_eq!(
        answer.warnings,
        [
            "config.json: hostnme: there is no such property, it is ignored; did you mean \"hostname\"?",
            "config.json: process.user.username: there is no such property, it is ignored",
        ]
    );
}

/// `-b` names the bundle, as for every other command.
#[test]
fn the_bundle_may_be_an_option() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let answer = Answer::of(runtime.call(["check", "--json", "-b"]).arg(bundle.path()));
    assert!(answer.runs, "{answer:?}");
    let plan = |args: &[&str]| runtime.call(args).arg(bundle.path()).outcome().ok().stdout;
    assert_eq!(plan(&["plan", "-b"]), plan(&["plan"]));
}

// --- the machine ----------------------------------------------------------------------------------

/// Without a bundle it is the machine alone, and no failure.
#[test]
fn the_machine_alone_is_told_and_no_failure() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let document = runtime.call(["check", "--json"]).outcome().json();
    assert!(document.get("bundle").is_none(), "{document}");
    let host = &document["host"];
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    assert_eq!(host["kernel"]["release"], release.trim());
    let kinds: Vec<_> = host["namespaces"].as_array().expect("namespaces").iter().map(|n| n["type"].clone()).collect();
    assert_eq!(json!(kinds), json!(["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]));
    assert_eq!(host["cgroup"]["mount"], json!(integration::cgroup_root()));
    assert_eq!(host["privileges"]["euid"], 0);
    let features = host["kernel"]["features"].as_array().expect("features");
    let has = |name: &str| features.iter().find(|f| f["name"] == name).map(|f| f["available"].clone());
    // These tests run on this machine.
    for name in ["openat2 with RESOLVE_IN_ROOT", "mount_setattr", "setns with a pidfd", "nosymfollow"] {
        assert_eq!(has(name), Some(json!(true)), "{name}");
    }
    // That `cgroup.kill` is there can be seen where a cgroup is.
    let bundle = Bundle::new();
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    let document = runtime.call(["check", "--json"]).outcome().json();
    let features = document["host"]["kernel"]["features"].as_array().expect("features");
    let text = runtime.call(["check"]).outcome().ok().stdout;
    assert_eq!(text.lines().last(), Some("containers will run here"));
    for feature in features {
        let name = feature["name"].as_str().expect("a name");
        let line =
            text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        let word = match &feature["available"] {
            Value::Bool(true) => "yes",
            Value::Bool(false) => "no",
            _ => "cannot be seen",
        };
        assert!(line.contains(word), "{word}: {line}");
    }
}

/// A bundle whose program is `check`, in a container that lets it see.
fn check_inside() -> Bundle {
    let bundle = Bundle::new().args(["/cleat", "--root", "/dev/shm/state", "check", "--json"]);
    fs::copy(Runtime::new().program(), bundle.rootfs().join("cleat")).expect("the runtime");
    bundle
}

/// A kernel that lacks what every container needs: a filter makes it look so.
#[test]
fn a_kernel_without_what_is_needed_is_told() {
    not_on_peer!("no peer has it");
    let bundle = check_inside().set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["openat2", "mount_setattr"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }] }),
    );
    let document = Runtime::new().run(&bundle).json();
    let features = document["host"]["kernel"]["features"].as_array().expect("features").clone();
    let missing: Vec<_> = features.iter().filter(|f| f["available"] == false).map(|f| f["name"].clone()).collect();
    for name in ["openat2 with RESOLVE_IN_ROOT", "mount_setattr"] {
        assert!(missing.contains(&json!(name)), "{name}: {missing:?}");
    }
    let text = Runtime::new().run(&bundle.args(["/cleat", "check"])).ok().stdout;
    assert!(text.contains("the kernel has no mount_setattr; boot Linux 5.12 or later\n"), "{text}");
    assert_eq!(text.lines().last(), Some("no container will run here"));
}

/// What a container cannot do in a container is told with what is missing.
#[test]
fn missing_privileges_are_told() {
    not_on_peer!("no peer has it");
    let inner = Bundle::new();
    let bundle = check_inside().bind(inner.path(), "/inner", &["rbind", "ro"]);
    let bundle = bundle.args(["/cleat", "--root", "/dev/shm/state", "check", "--json", "/inner"]);
    let outcome = Runtime::new().run(&bundle).exits(1);
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    let missing = document["host"]["privileges"]["missingCapabilities"].as_array().expect("capabilities").clone();
    assert!(missing.contains(&json!("CAP_SYS_ADMIN")) && !missing.contains(&json!("CAP_KILL")), "{missing:?}");
    let problems = document["bundle"]["problems"].as_array().expect("problems").clone();
    let of = |place: &str| {
        problems.iter().filter(|p| p["place"] == place).map(|p| p["problem"].to_string()).collect::<String>()
    };
    assert!(of("linux.namespaces").contains("CAP_SYS_ADMIN"), "{problems:?}");
    assert!(of("linux.cgroupsPath").contains("read-only"), "{problems:?}");
    assert!(of("").contains("CAP_MKNOD"), "{problems:?}");
}

/// A limit of namespaces that is 0, set in a user namespace of the test's own.
#[test]
fn a_limit_of_no_namespaces_is_told() {
    not_on_peer!("no peer has it");
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let script = r#"exec unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_uts_namespaces && exec "$0" "$@"' "$0" "$@""#;
    let answer = Answer::of(runtime.through_shell(script, ["check", "--json"]).arg(bundle.path()));
    let told = answer.problems.iter().find(|[place, ..]| place == "linux.namespaces[3].type");
    let [_, problem, remedy] = told.unwrap_or_else(|| panic!("{answer:?}"));
    assert!(problem.starts_with("user.max_uts_namespaces is 0"), "{answer:?}");
    assert_eq!(remedy, "sysctl user.max_uts_namespaces=15000");
}

// --- an ordinary user -----------------------------------------------------------------------------

/// A user that nobody is.
const USER: u32 = 61_234;

/// `check` or `run` as an ordinary user, who has a directory for states.
fn as_user(runtime: &Runtime, args: &[&str], bundle: Option<&Bundle>) -> Outcome {
    let dir = runtime.dir().join("user");
    fs::create_dir_all(&dir).expect("a directory");
    chown(&dir, Some(USER), Some(USER)).expect("chown");
    let script = format!(
        "program=$0; shift 2; exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all \"$program\" \"$@\""
    );
    let mut call = runtime.through_shell(&script, args).env("XDG_RUNTIME_DIR", &dir);
    if let Some(bundle) = bundle {
        call = call.arg(bundle.path());
    }
    call.outcome()
}

/// It needs no privilege, makes nothing, and knows what this user may do.
#[test]
fn an_ordinary_user_may_ask() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let outcome = as_user(&runtime, &["check", "--json"], None).ok();
    let host = &serde_json::from_str::<Value>(&outcome.stdout).expect("JSON")["host"];
    assert_eq!(host["privileges"]["euid"], USER, "{outcome}");
    assert_eq!(host["userNamespaces"]["works"], true, "{outcome}");
    let features = host["kernel"]["features"].as_array().expect("features");
    for name in ["nosymfollow", "identity-mapped mounts", "setns with a pidfd"] {
        let known = features.iter().find(|f| f["name"] == name).map(|f| f["available"].clone());
        assert_eq!(known, Some(json!(true)), "{name}: {outcome}");
    }
    let _ = as_user(&runtime, &["check"], None).ok();
    let made: Vec<_> = fs::read_dir(runtime.dir().join("user")).expect("the directory").flatten().collect();
    assert!(made.is_empty(), "{made:?}");
}

/// What takes root is told, and the configuration of `spec --rootless` runs.
#[test]
fn an_ordinary_user_is_told_what_takes_root() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let answer = |bundle: &Bundle| {
        let outcome = as_user(&runtime, &["check", "--json"], Some(bundle));
        let document: Value =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
        (document["bundle"].clone(), outcome)
    };
    let (report, outcome) = answer(&Bundle::new());
    let places: Vec<_> = report["problems"].as_array().expect("problems").iter().map(|p| p["place"].clone()).collect();
    assert!(places.contains(&json!("linux.namespaces")), "{outcome}");

    let bundle = Bundle::new();
    fs::remove_file(bundle.path().join("config.json")).expect("config.json");
    chown(bundle.path(), Some(USER), Some(USER)).expect("chown");
    chown(bundle.rootfs(), Some(USER), Some(USER)).expect("chown");
    let _ = as_user(&runtime, &["spec", "--rootless", "-b"], Some(&bundle)).ok();
    let text = fs::read(bundle.path().join("config.json")).expect("config.json");
    let spec: Value = serde_json::from_slice(&text).expect("JSON");
    let bundle = bundle.edit(|own| *own = spec).set("/process/terminal", json!(false)).args(["/probe", "exit", "0"]);
    let (report, outcome) = answer(&bundle);
    assert_eq!((&report["runs"], &report["problems"]), (&json!(true), &json!([])), "{outcome}");
    let _ = as_user(&runtime, &["run", "rootless", "--bundle"], Some(&bundle)).ok();

    // Ids that nobody has delegated to this user.
    let bundle = bundle.set("/linux/uidMappings/0/hostID", json!(100_000));
    let (report, outcome) = answer(&bundle);
    let places: Vec<_> =
        report["problems"].as_array().expect("problems").iter().map(|p| p["place"].to_string()).collect();
    assert!(places.len() == 1 && places[0].contains("linux.uidMappings"), "{outcome}");
    let _ = as_user(&runtime, &["run", "rootless", "--bundle"], Some(&bundle)).exits(1);
}

// --- one problem each -----------------------------------------------------------------------------

/// `mounts`: sources, targets, types and options.
#[test]
fn mounts_that_cannot_be_made() {
    not_on_peer!("no peer has it");
    let tmpfs =
        |options: &[&str]| json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options });
    let missing = Bundle::new().bind(Path::new("/no/such/source"), "/data", &["bind"]);
    assert_problem(&missing, "mounts[7].source", "/no/such/source: no such file or directory");
    let kinds = Bundle::new().with_dir("/data").bind(Path::new("/etc/passwd"), "/data", &["bind"]);
    assert_problem(&kinds, "mounts[7].destination", "must both be directories, or neither");
    let through_a_file = Bundle::new().with_file("/data", "x").bind(Path::new("/etc"), "/data/etc", &["bind"]);
    assert_problem(&through_a_file, "mounts[7].destination", "is no directory");
    let unknown = Bundle::new().mount(json!({ "destination": "/data", "type": "nosuchfs", "source": "x" }));
    assert_problem(&unknown, "mounts[7].type", "no file system \"nosuchfs\"");
    assert_problem(&Bundle::new().mount(tmpfs(&["size=plenty"])), "mounts[7].options", "\"size=plenty\"");
    assert_problem(&Bundle::new().mount(tmpfs(&["nonsense"])), "mounts[7].options", "Unknown parameter 'nonsense'");
    let link = Bundle::new().with_dir("/elsewhere").with_link("/proc", "/elsewhere");
    assert_problem(&link, "mounts[0].destination", "a symbolic link in the image");
    // The container's root may make nothing in the host's directory.
    let owned = mapped().with_dir("/proc").with_dir("/dev").with_dir("/sys");
    chown(owned.rootfs(), Some(0), Some(0)).expect("chown");
    let _ = assert_runs(&owned);
    assert_problem(&owned.mount(tmpfs(&[])), "mounts[7].destination", "the container's root may not make it");
    let remount = Bundle::new().mount(json!({ "destination": "/data", "type": "none", "options": ["remount", "ro"] }));
    assert_problem(&remount, "mounts[7].destination", "nothing is mounted there");
    let fake = Bundle::new();
    let fake =
        fake.edit(|spec| spec["mounts"][0] = json!({ "destination": "/proc", "source": "/etc", "options": ["bind"] }));
    assert_problem(&fake, "mounts[0].source", "must be the root of a procfs");
    let idmap = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let of_proc = json!({ "destination": "/data", "source": "/proc/sys", "options": ["bind", "idmap"], "uidMappings": idmap, "gidMappings": idmap });
    assert_problem(&Bundle::new().mount(of_proc), "mounts[7]", "cannot be identity-mapped");
}

/// A mount point that is missing where none can be made.
#[test]
fn a_mount_point_on_a_read_only_file_system() {
    not_on_peer!("no peer has it");
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let script = r#"exec unshare --mount --propagation private sh -c 'mount --bind "$ROOTFS" "$ROOTFS" && mount -o remount,bind,ro "$ROOTFS" && exec "$0" "$@"' "$0" "$@""#;
    let call = runtime.through_shell(script, ["check", "--json"]).env("ROOTFS", bundle.rootfs());
    let answer = Answer::of(call.arg(bundle.path()));
    assert_eq!(answer.places()[0], "mounts[0].destination", "{answer:?}");
    assert!(answer.problems[0][1].contains("its file system is read-only"), "{answer:?}");
}

/// The program: where it is looked for, and what it must be.
#[test]
fn programs_that_cannot_be_executed() {
    not_on_peer!("no peer has it");
    let place = "process.args[0]";
    assert_problem(&Bundle::new().args(["no-such-program"]), place, "executable file not found in $PATH");
    assert_problem(&Bundle::new().args(["/no/such/program"]), place, "/no/such/program: no such file or directory");
    // It is there on the host, and not in the root file system.
    assert_problem(&Bundle::new().args(["/bin/sh"]), place, "/bin/sh: no such file or directory");
    assert_problem(&Bundle::new().with_link("/sh", "/bin/sh").args(["/sh"]), place, "/sh: no such file");
    assert_problem(&Bundle::new().with_link("/sh", "../../../../bin/sh").args(["/sh"]), place, "/sh: no such file");
    assert_problem(&Bundle::new().with_dir("/bin/tool").args(["tool"]), place, "it is a directory");
    assert_problem(&Bundle::new().with_link("/loop", "loop").args(["/loop"]), place, "too many symbolic links");
    let text = |name: &str, text: &str| Bundle::new().with_file(name, text).with_mode(name, 0o755).args([name]);
    assert_problem(&text("/script", "#!/no/such/interpreter\n"), place, "interpreter /no/such/interpreter is missing");
    assert_problem(&text("/data", "just text"), place, "exec format error (ENOEXEC)");
    assert_problem(&text("/script", "#!/probe\n").with_mode("/script", 0o644), place, "not executable");
    // Root without CAP_DAC_OVERRIDE is as anybody.
    let private = Bundle::new().with_mode("/probe", 0o700).set("/process/user/uid", json!(1000));
    assert_problem(&private, place, "not executable for this user");
    let hidden = Bundle::new().with_dir("/hidden").with_mode("/hidden", 0o700).set("/process/user/uid", json!(1000));
    fs::copy(hidden.rootfs().join("probe"), hidden.rootfs().join("hidden/probe")).expect("a copy");
    assert_problem(&hidden.args(["/hidden/probe"]), place, "a directory on the way must not be searched");
    // What a mount hides, and what a mount forbids.
    let covered = json!({ "destination": "/bin", "type": "tmpfs", "source": "tmpfs" });
    let bundle = Bundle::new().with_dir("/bin");
    fs::copy(bundle.rootfs().join("probe"), bundle.rootfs().join("bin/probe")).expect("a copy");
    assert_problem(&bundle.args(["/bin/probe"]).mount(covered), place, "/bin/probe: no such file");
    let other = Bundle::new();
    let noexec = Bundle::new().bind(&other.rootfs(), "/opt", &["bind", "noexec"]).args(["/opt/probe"]);
    assert_problem(&noexec, place, "noexec");
}

/// What will be found in the container is no problem, wherever it comes from.
#[test]
fn programs_that_links_and_mounts_bring() {
    not_on_peer!("no peer has it");
    let done = ["exit", "0"];
    let program = |name: &'static str| std::iter::once(name).chain(done);
    let bundle = Bundle::new().with_dir("/usr/bin").with_link("/bin", "usr/bin").with_link("/usr/bin/tool", "/probe");
    let _ = assert_runs(&bundle.args(program("tool")));
    let above = Bundle::new().with_dir("/a/b").with_link("/a/b/tool", "../../../../probe").args(program("/a/b/tool"));
    let _ = assert_runs(&above);
    let relative =
        Bundle::new().with_dir("/work").with_link("/work/tool", "/probe").set("/process/cwd", json!("/work"));
    let _ = assert_runs(&relative.args(program("./tool")));
    // In a volume, below a mount point that the image has not got, behind a link of the image.
    let volume = Bundle::new();
    let bound = Bundle::new().bind(&volume.rootfs(), "/opt/deep", &["rbind"]).with_link("/tool", "/opt/deep/probe");
    let _ = assert_runs(&bound.args(program("/tool")));
    let file = Bundle::new().bind(&volume.rootfs().join("probe"), "/tool", &["bind"]);
    let _ = assert_runs(&file.args(program("/tool")));
    // An interpreter in the root file system.
    let script = Bundle::new().with_file("/script", "#!/probe print\n").with_mode("/script", 0o755);
    let _ = assert_runs(&script.args(["/script"]));
    // Before the program is looked for, hooks may still bring it: that is a warning.
    let hooked = Bundle::new().raw_hook("createRuntime", json!({ "path": "/bin/true" })).args(["/later"]);
    let answer = check(&Runtime::new(), &hooked);
    assert!(answer.runs && answer.warnings[0].contains("unless a hook changes that"), "{answer:?}");
}

/// The working directory.
#[test]
fn working_directories_that_are_none() {
    not_on_peer!("no peer has it");
    assert_problem(&Bundle::new().set("/process/cwd", json!("/probe")), "process.cwd", "it is no directory");
    let _ = assert_runs(&Bundle::new().set("/process/cwd", json!("/is/made")));
}

/// Hooks: of the host, and `startContainer` of the container.
#[test]
fn hooks_that_cannot_be_executed() {
    not_on_peer!("no peer has it");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let place = format!("hooks.{kind}[0].path");
        let missing = Bundle::new().raw_hook(kind, json!({ "path": "/no/such/hook" }));
        assert_problem(&missing, &place, "on the host, /no/such/hook: no such file or directory");
        let file = Bundle::new();
        let script = file.dir().join("script");
        fs::write(&script, "#!/bin/sh\n").expect("a script");
        let file = file.raw_hook(kind, json!({ "path": script }));
        assert_problem(&file, &place, "not executable");
        fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
        assert_problem(&file, &place, "interpreter /no/such/interpreter is missing");
    }
    // On the host there is one.
    let inside = Bundle::new().raw_hook("startContainer", json!({ "path": "/bin/true" }));
    assert_problem(&inside, "hooks.startContainer[0].path", "in the root file system");
    let _ = assert_runs(
        &Bundle::new().raw_hook("startContainer", json!({ "path": "/probe", "args": ["probe", "exit", "0"] })),
    );
    let late = Bundle::new().raw_hook("poststop", json!({ "path": "/no/such/hook" }));
    let answer = check(&Runtime::new(), &late);
    assert!(answer.runs && answer.warnings[0].contains("hooks.poststop[0].path"), "{answer:?}");
}

/// Namespaces that are to be joined.
#[test]
fn namespaces_that_cannot_be_joined() {
    not_on_peer!("no peer has it");
    let joining = |kind: &str, path: &str| Bundle::new().namespace(json!({ "type": kind, "path": path }));
    let place = "linux.namespaces[5].path";
    assert_problem(&joining("ipc", "/no/such/namespace"), place, "/no/such/namespace: no such file or directory");
    assert_problem(&joining("ipc", "/etc/passwd"), place, "it is no namespace");
    assert_problem(&joining("ipc", "/proc/self/ns/net"), place, "it is a network namespace and no ipc one");
    assert_problem(&joining("ipc", "/dev/null"), place, "it is no namespace");
    assert_problem(&joining("uts", "/proc/self/ns/uts"), place, "this is the runtime's own");
    // What is said of the others is what they are: this one has its own name.
    let _ = assert_runs(&joining("ipc", "/proc/self/ns/ipc"));
    let user = Bundle::new().namespace(json!({ "type": "user", "path": "/proc/self/ns/user" }));
    check(&Runtime::new(), &user).is_about("linux.namespaces[6].path", "cannot be joined again");
}

/// Cgroups that cannot serve.
#[test]
fn cgroups_that_cannot_serve() {
    not_on_peer!("no peer has it");
    let place = "linux.cgroupsPath";
    let frozen = Bundle::new();
    fs::create_dir(frozen.cgroup()).expect("a cgroup");
    let _ = assert_runs(&frozen);
    fs::create_dir_all(frozen.cgroup()).expect("a cgroup");
    fs::write(frozen.cgroup().join("cgroup.freeze"), "1").expect("cgroup.freeze");
    assert_problem(&frozen, place, "is frozen");

    let parent = Bundle::new();
    fs::create_dir(parent.cgroup()).expect("a cgroup");
    fs::write(parent.cgroup().join("cgroup.max.descendants"), "0").expect("cgroup.max.descendants");
    let path = parent.spec()["linux"]["cgroupsPath"].as_str().expect("a path");
    let below = Bundle::new().set("/linux/cgroupsPath", json!(format!("{path}/child")));
    assert_problem(&below, place, "allows no more cgroups below it");

    let busy = Bundle::new();
    fs::create_dir(busy.cgroup()).expect("a cgroup");
    let mut child = Command::new(integration::probe());
    // Not ours: where that is a virtual console's port, splice(2) takes an empty pipe for its end.
    child.arg("cat").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut child = child.spawn().expect("a child");
    fs::write(busy.cgroup().join("cgroup.procs"), child.id().to_string()).expect("our own child moves");
    assert_problem(&busy, place, "is not empty");
    drop(child.stdin.take());
    let _ = child.wait().expect("the child");
}

/// What takes a capability that this machine may lack, or a limit of the kernel's own.
#[test]
fn limits_that_cannot_be_set() {
    not_on_peer!("no peer has it");
    let huge = Bundle::new().set("/process/rlimits/0/hard", json!(1u64 << 40));
    assert_problem(&huge, "process.rlimits[0]", "above fs.nr_open");
    let node = Bundle::new().set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1000" }));
    assert_problem(&node, "linux.memoryPolicy.nodes", "none of the nodes has memory here");
    let host = Runtime::new().call(["check", "--json"]).outcome().json()["host"].clone();
    let lacks =
        host["privileges"]["missingCapabilities"].as_array().expect("a list").contains(&json!("CAP_SYS_RESOURCE"));
    if lacks {
        let score = Bundle::new().set("/process/oomScoreAdj", json!(-500));
        assert_problem(&score, "process.oomScoreAdj", "no CAP_SYS_RESOURCE");
        let open =
            fs::read_to_string("/proc/sys/fs/nr_open").expect("nr_open").trim().parse::<u64>().expect("a number");
        let limit = Bundle::new().set("/process/rlimits/0/hard", json!(open));
        assert_problem(&limit, "process.rlimits[0]", "no CAP_SYS_RESOURCE");
    }
}

/// Devices of the image and of the host, and the terminal.
#[test]
fn devices_that_cannot_be_had() {
    not_on_peer!("no peer has it");
    let device = json!([{ "type": "c", "path": "/node", "major": 1, "minor": 3 }]);
    let image = Bundle::new().with_file("/node", "a file").set("/linux/devices", device);
    let _ = assert_runs(&image);
    let image = Bundle::new().without_mount("/dev").without_mount("/dev/pts").without_mount("/dev/shm");
    let image = image.without_mount("/dev/mqueue").with_file("/dev/null", "a file");
    check(&Runtime::new(), &image).is_about("", "/dev/null: the image or a mount has another file there");
    let device = json!([{ "type": "c", "path": "/dev/null", "major": 1, "minor": 5 }]);
    let host = mapped().set("/linux/devices", device);
    assert_problem(&host, "linux.devices[0].path", "is another device");
    let device = json!([{ "type": "c", "path": "/dev/no-such-node", "major": 1, "minor": 3 }]);
    let host = host.set("/linux/devices", device);
    assert_problem(&host, "linux.devices[0].path", "/dev/no-such-node: no such file or directory");

    let runtime = Runtime::new();
    let terminal = Bundle::new().set("/process/terminal", json!(true));
    assert!(check(&runtime, &terminal).runs);
    check(&runtime, &terminal.without_mount("/dev/pts")).is_about("process.terminal", "needs a devpts on /dev/pts");
    let network = Bundle::new().set("/linux/netDevices", json!({ "cleat-none0": {} }));
    assert_problem(&network, "linux.netDevices[\"cleat-none0\"]", "there is no such device");
    let lo = Bundle::new().without_mount("/sys").set("/linux/netDevices", json!({ "cleat-none0": { "name": "lo" } }));
    check(&runtime, &lo).is_about("linux.netDevices[\"cleat-none0\"]", "there is no such device");
}

/// A listener that does not listen by now, and a kernel parameter that is not here: warnings.
#[test]
fn what_may_still_come_is_a_warning() {
    not_on_peer!("no peer has it");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let socket = bundle.dir().join("listener.sock");
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket,
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] });
    let bundle = bundle.set("/linux/seccomp", seccomp);
    let warnings = |bundle: &Bundle| {
        let answer = check(&runtime, bundle);
        assert!(answer.runs, "{answer:?}");
        answer.warnings
    };
    let told = warnings(&bundle);
    assert!(
        told.len() == 1 && told[0].contains("linux.seccomp.listenerPath") && told[0].contains("nobody listens"),
        "{told:?}"
    );
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a listener");
    assert_eq!(warnings(&bundle), Vec::<String>::new());
    drop(listener);
    let told = warnings(&Bundle::new().set("/linux/sysctl", json!({ "net.no.such": "1" })));
    assert!(told.len() == 1 && told[0].contains("linux.sysctl[\"net.no.such\"]"), "{told:?}");
}
