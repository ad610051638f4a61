use super::*;
use crate::plan::host::Host;
use crate::plan::resources;
use crate::spec::Resources;
use serde_json::{Value as Json, json};

const SYSTEM: fn() -> Systemd = || Systemd { user: false, version: 252, cgroup: "/".into() };

fn decide_with(
    path: &str,
    annotations: Json,
    resources: Json,
    systemd: &Systemd,
) -> std::result::Result<(Unit, PathBuf), String> {
    let mut findings = Findings::default();
    let resources: Resources = serde_json::from_value(resources).unwrap();
    let limits = resources::decide(&resources, &Host::default(), &mut findings);
    let rules = devices::rules(&resources.devices, &mut findings);
    let annotations = serde_json::from_value(annotations).unwrap();
    let asked = UnitRequest {
        id: "web+1",
        path,
        annotations: &annotations,
        limits: &limits,
        devices: (!systemd.user).then_some(&rules),
    };
    let decided = decide(&asked, systemd, &mut findings);
    findings.warnings().map(|_| decided.unwrap()).map_err(|error| error.to_string())
}

fn path_of(path: &str, systemd: &Systemd) -> std::result::Result<String, String> {
    decide_with(path, json!({}), json!({}), systemd).map(|(_, path)| path.display().to_string())
}

fn properties(annotations: Json, resources: Json) -> Vec<String> {
    let (unit, _) = decide_with("", annotations, resources, &SYSTEM()).unwrap();
    // Those that every scope has.
    unit.properties.iter().skip(9).map(ToString::to_string).filter(|text| !text.starts_with("Device")).collect()
}

#[test]
fn a_path_is_a_scope_in_a_slice() {
    let user = Systemd { user: true, cgroup: "/user.slice/user-7.slice/user@7.service".into(), ..SYSTEM() };
    for (asked, expected) in [
        ("", "/system.slice/cleat-web\\x2b1.scope"),
        (":docker:4a", "/system.slice/docker-4a.scope"),
        ("-.slice:a:b", "/a-b.scope"),
        ("machine.slice:libpod:c1", "/machine.slice/libpod-c1.scope"),
        ("kube-pods-x.slice:cri:d", "/kube.slice/kube-pods.slice/kube-pods-x.slice/cri-d.scope"),
        ("a.slice::b", "/a.slice/-b.scope"),
        ("..slice:_a:b", "/_..slice/__a-b.scope"),
    ] {
        assert_eq!(path_of(asked, &SYSTEM()).unwrap(), expected, "{asked}");
    }
    assert_eq!(path_of("", &user).unwrap(), "/user.slice/user-7.slice/user@7.service/user.slice/cleat-web\\x2b1.scope");
}

/// It may be an image's annotation: it leads nowhere but below the scope (crun 1.28).
#[test]
fn an_annotation_names_a_cgroup_below_the_scope() {
    let of = |subgroup: &str| decide_with("a.slice:b:c", json!({ SUBGROUP: subgroup }), json!({}), &SYSTEM());
    for (asked, below) in [("", ""), ("/", ""), ("container", "container"), ("/a/b/", "a/b"), ("..a", "..a")] {
        let (unit, path) = of(asked).unwrap();
        assert_eq!((unit.subgroup.as_path(), unit.name.as_str()), (Path::new(below), "b-c.scope"), "{asked}");
        assert_eq!(path, Path::new("/a.slice/b-c.scope").join(below), "{asked}");
        assert_eq!(below_unit(&path, &unit.name), Path::new(below), "{asked}");
    }
    for wrong in ["..", "a/..", "../../other.scope", "a//b", ".", "a\0b"] {
        let decided = of(wrong).map(drop);
        let is_refused = |error: &String| error.contains("is not the name of a cgroup below the scope");
        assert!(decided.as_ref().is_err_and(is_refused), "{wrong} leads out of the scope: {decided:?}");
    }
}

#[test]
fn a_path_of_another_form_names_the_form() {
    let long = format!("a.slice:b:{}", "c".repeat(250));
    for (asked, expected) in [
        ("/a/b", "\"/a/b\" is not of the form slice:prefix:name"),
        ("a:b", "is not of the form slice:prefix:name"),
        ("a.slice:b:c:d", "is not of the form slice:prefix:name"),
        ("a:b:c", "\"a\" is not the name of a slice"),
        (".slice:b:c", "\".slice\" is not the name of a slice"),
        ("a--b.slice:b:c", "\"a--b.slice\" is not the name of a slice"),
        ("-a.slice:b:c", "\"-a.slice\" is not the name of a slice"),
        ("a/b.slice:b:c", "\"a/b.slice\" is not the name of a slice"),
        ("a.slice:b:", "\"b-.scope\" is not the name of a unit"),
        ("a.slice:b:c/d", "\"b-c/d.scope\" is not the name of a unit"),
        ("a.slice:b:c@d", "is not the name of a unit"),
        ("a.slice:b:c\n", "is not the name of a unit"),
        ("a.slice:b:pod.slice", "pod.slice is a slice, in which no process may live"),
        (long.as_str(), "is not the name of a unit"),
    ] {
        let error = path_of(asked, &SYSTEM()).unwrap_err();
        assert!(error.starts_with("config.json: linux.cgroupsPath: ") && error.contains(expected), "{asked}: {error}");
    }
}

#[test]
fn limits_are_properties_too() {
    let all = json!({
        "memory": {"limit": 64 << 20, "reservation": 500, "swap": 65 << 20},
        "cpu": {"shares": 2048, "quota": 12_345, "period": 100_000, "cpus": "0-2,9", "mems": "0"},
        "pids": {"limit": 7},
        "blockIO": {"weight": 10},
        "unified": {"memory.high": "800", "memory.min": "max", "hugetlb.2MB.max": "1"}
    });
    assert_eq!(
        properties(json!({}), all),
        [
            "CPUWeight=174",
            "CPUQuotaPeriodUSec=100000",
            "CPUQuotaPerSecUSec=130000",
            "AllowedCPUs=0,1,2,9",
            "AllowedMemoryNodes=0",
            "TasksMax=7",
            "IOWeight=1",
            "MemoryLow=500",
            "MemorySwapMax=1048576",
            "MemoryMax=67108864",
            "MemoryHigh=800",
            "MemoryMin=infinity",
        ]
    );
}

#[test]
fn a_limit_that_no_process_can_start_under_is_set_late() {
    let (unit, _) = decide_with("", json!({}), json!({"memory": {"limit": 1 << 20}}), &SYSTEM()).unwrap();
    assert!(!unit.properties.iter().any(|property| property.name == "MemoryMax"));
    assert_eq!(unit.late, [property("MemoryMax", Value::Count(1 << 20))]);
}

#[test]
fn a_quota_is_rounded_up_and_never_lost() {
    let of_version = |text: &str, version| {
        let mut list = Vec::new();
        cpu_quota(text, version, &mut list);
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let quota = |text: &str| of_version(text, 252);
    assert_eq!(quota("max 100000"), "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity");
    assert_eq!(quota("50000"), "CPUQuotaPerSecUSec=500000");
    assert_eq!(quota("1000 1000000"), "CPUQuotaPeriodUSec=1000000 CPUQuotaPerSecUSec=10000");
    assert_eq!(quota("150000 100000"), "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=1500000");
    assert_eq!(of_version("50000 100000", 241), "CPUQuotaPerSecUSec=500000", "an old systemd knows no period");
    assert_eq!((quota("x"), quota("5 0")), (String::new(), "CPUQuotaPerSecUSec=10000".into()));
}

#[test]
fn an_old_systemd_gets_what_it_knows() {
    let cpus = json!({"cpu": {"cpus": "0", "idle": 1}});
    let old = Systemd { version: 240, ..SYSTEM() };
    let of = |systemd: &Systemd| {
        let (unit, _) = decide_with("", json!({}), cpus.clone(), systemd).unwrap();
        unit.properties.iter().skip(11).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of(&old), Vec::<String>::new());
    assert_eq!(of(&SYSTEM()), ["CPUWeight=0", "AllowedCPUs=0"]);
}

#[test]
fn lists_of_numbers_are_sets() {
    assert_eq!(members("0-2,9").unwrap(), [0b111, 0b10]);
    assert_eq!(members("7, 8").unwrap(), [0x80, 1]);
    assert_eq!(members("").unwrap(), Vec::<u8>::new());
    for wrong in ["a", "3-1", "-1", "1-", "99999999"] {
        assert_eq!(members(wrong), None, "{wrong}");
    }
}

fn devices_of(rules: &Json) -> Vec<String> {
    let (unit, _) = decide_with("", json!({}), json!({ "devices": rules }), &SYSTEM()).unwrap();
    unit.properties.iter().map(ToString::to_string).filter(|text| text.starts_with("Device")).collect()
}

#[test]
fn systemd_allows_what_some_rule_allows() {
    let defaults = "char-* m, block-* m, /dev/char/1:3 rwm, /dev/char/1:8 rwm, /dev/char/1:7 rwm, /dev/char/5:0 rwm, \
                    /dev/char/1:5 rwm, /dev/char/1:9 rwm, char-136 rwm, /dev/char/5:2 rwm";
    assert_eq!(
        devices_of(&json!([{"allow": false, "access": "rwm"}])),
        ["DevicePolicy=strict".to_owned(), format!("DeviceAllow={defaults}")]
    );
    let rules = json!([
        {"allow": true, "access": "rwm"},
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "access": "r"},
        {"allow": false, "type": "b", "major": 8, "minor": 1, "access": "r"},
        {"allow": true, "major": 10, "minor": 200, "access": "rw"},
        {"allow": true, "type": "c", "minor": 4, "access": "w"},
    ]);
    let own = "block-8 r, /dev/char/10:200 rw, /dev/block/10:200 rw, char-* w";
    assert_eq!(devices_of(&rules), ["DevicePolicy=strict".to_owned(), format!("DeviceAllow={own}, {defaults}")]);
    assert_eq!(
        devices_of(&json!([{"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm"}])),
        ["DevicePolicy=auto"]
    );
    let user = Systemd { user: true, ..SYSTEM() };
    let (unit, _) = decide_with("", json!({}), json!({}), &user).unwrap();
    assert!(!unit.properties.iter().any(|p| p.name.starts_with("Device")), "a user may load no program");
}

#[test]
fn annotations_set_what_is_the_containers_own() {
    let key = |name: &str| format!("org.systemd.property.{name}");
    for (name, text, expected) in [
        ("KillSignal", "15", "KillSignal=15"),
        ("KillSignal", "int32 15", "KillSignal=15"),
        ("TimeoutStopUSec", "uint64 10000000", "TimeoutStopUSec=10000000"),
        ("TimeoutStopSec", "uint64 10", "TimeoutStopUSec=10000000"),
        ("TimeoutStopSec", "1.5", "TimeoutStopUSec=1500000"),
        ("CollectMode", " 'inactive'", "CollectMode=inactive"),
        ("Description", r#""it's \"a\"""#, "Description=it's \"a\""),
        ("After", "['crio.service', \"b.service\"]", "After=crio.service b.service"),
        ("After", "@as []", "After="),
        ("DefaultDependencies", "true", "DefaultDependencies=true"),
    ] {
        assert_eq!(properties(json!({ key(name): text, "other": "x" }), json!({})), [expected], "{name} {text}");
    }
}

/// CVE-2024-3154: nothing that has the host do something.
#[test]
fn annotations_set_nothing_else() {
    for (name, text, expected) in [
        ("ExecStopPost", "[['/bin/false', ['false'], false]]", "is not a property that a container may set; remove it"),
        ("SuccessAction", "'reboot'", "is not a property"),
        ("OnFailure", "['a.service']", "is not a property"),
        ("Wants", "['a.service']", "is not a property"),
        ("PIDs", "[1]", "is not a property"),
        ("Slice", "'-.slice'", "is not a property"),
        ("MemoryMax", "uint64 1", "limits belong in linux.resources"),
        ("DevicePolicy", "'auto'", "is not a property"),
        ("collectMode", "'a'", "is not a property"),
        ("", "1", "is not a property"),
        ("Sec", "1", "is not a property"),
        ("CollectMode", "inactive", "\"inactive\" is not a 'text' in GVariant's text format"),
        ("CollectMode", "'a' 'b'", "is not a 'text'"),
        ("CollectMode", "'a", "is not a 'text'"),
        ("SendSIGHUP", "1", "is not true or false"),
        ("KillSignal", "uint64 99999999999", "is not a number"),
        ("KillSignal", "'15'", "is not a number"),
        ("TimeoutStopSec", "-1", "is not a number of seconds"),
        ("TimeoutStopSec", "1.2345678", "is not a number of seconds"),
        ("TimeoutStopSec", "99999999999999999", "is not a number of seconds"),
        ("After", "'a'", "is not a list"),
        ("After", "['a' 'b']", "is not a list"),
        ("After", "['a'", "is not a list"),
        ("After", "['a'],", "is not a list"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let error = decide_with("", json!({ key.as_str(): text }), json!({}), &SYSTEM()).unwrap_err();
        let place = format!("config.json: annotations[{key:?}]: ");
        assert!(error.starts_with(&place) && error.contains(expected), "{name}={text}: {error}");
    }
}
