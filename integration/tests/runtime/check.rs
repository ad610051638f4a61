//! `check`: what this machine offers, and whether a bundle will run on it. What it says is held
//! against what `run` does.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use integration::{Bundle, Call, Outcome, Runtime, not_on_peer};
use serde_json::{Value, json};

/// What `check` says of a bundle.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) runs: bool,
    /// Place, problem, remedy.
    pub(crate) problems: Vec<[String; 3]>,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) fn of(call: Call) -> Self {
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

    pub(crate) fn places(&self) -> Vec<&str> {
        self.problems.iter().map(|[place, ..]| place.as_str()).collect()
    }

    /// One problem, there, with these words.
    pub(crate) fn is_about(&self, place: &str, words: &str) {
        assert_eq!(self.places(), [place], "{self:?}");
        assert!(self.problems[0][1].contains(words), "expected {words:?} in {self:?}");
    }
}

fn json(runtime: &Runtime, bundle: &Bundle) -> Call {
    runtime.call(["check", "--json"]).arg(bundle.path())
}

pub(crate) fn check(runtime: &Runtime, bundle: &Bundle) -> Answer {
    Answer::of(json(runtime, bundle))
}

/// `check` tells this one problem, and `run` fails indeed.
pub(crate) fn assert_problem(bundle: &Bundle, place: &str, words: &str) {
    let runtime = Runtime::new();
    check(&runtime, bundle).is_about(place, words);
    let outcome = runtime.run(bundle);
    assert!(outcome.code() != 0 && !outcome.stderr.is_empty(), "check finds {place}: {words}, and yet: {outcome}");
}

/// `check` finds nothing, and `run` works indeed.
pub(crate) fn assert_runs(bundle: &Bundle) -> Answer {
    let runtime = Runtime::new();
    let answer = check(&runtime, bundle);
    assert!(answer.runs, "{answer:?}");
    let _ = runtime.run(bundle).ok();
    answer
}

/// A bundle whose root is another user on the host, who has the root file system.
pub(crate) fn mapped() -> Bundle {
    let bundle = Bundle::new().mapped();
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle
}

// --- the verdict ----------------------------------------------------------------------------------

/// `check` says that a good bundle runs, and it runs.
#[test]
fn a_good_bundle_runs() {
    not_on_peer!("no peer has it");
    let answer = assert_runs(&Bundle::new());
    assert!(answer.warnings.is_empty(), "{answer:?}");
    let _ = assert_runs(&mapped());
}

/// Every bundle in `bundles/invalid` is one that `run` refuses; the place is the same.
#[test]
fn every_invalid_bundle_is_reported_at_the_same_place() {
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

/// Problems of every kind are reported at once, each at its place.
#[test]
fn many_problems_are_reported_together() {
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
    check(&runtime, &bundle).is_about("", "config.json: no such file or directory");
}

/// What the specification does not know is ignored by `run`, and reported by `check`, with what was meant.
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
fn the_machine_alone_is_reported_and_no_failure() {
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
fn a_kernel_without_what_is_needed_is_reported() {
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

/// What a container cannot do in a container is reported with what is missing.
#[test]
fn missing_privileges_are_reported() {
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
fn a_limit_of_no_namespaces_is_reported() {
    not_on_peer!("no peer has it");
    let (runtime, bundle) = (Runtime::new(), Bundle::new());
    let script = r#"exec unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_uts_namespaces && exec "$0" "$@"' "$0" "$@""#;
    let answer = Answer::of(runtime.through_shell(script, ["check", "--json"]).arg(bundle.path()));
    let reported = answer.problems.iter().find(|[place, ..]| place == "linux.namespaces[3].type");
    let [_, problem, remedy] = reported.unwrap_or_else(|| panic!("{answer:?}"));
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

/// What takes root is reported, and the configuration of `spec --rootless` runs.
#[test]
fn an_ordinary_user_learns_what_takes_root() {
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
