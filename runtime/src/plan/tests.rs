use super::*;
use serde_json::{Value, json};

fn host() -> Host {
    Host {
        capabilities: (1 << 41) - 1,
        last_capability: 40,
        cgroup: crate::plan::host::Cgroup {
            mount: Some("/sys/fs/cgroup".into()),
            own: "/user/shell".into(),
            ..crate::plan::host::Cgroup::default()
        },
        ..Host::default()
    }
}

fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["/bin/true"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}]}
    })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn plan_with(change: Value) -> std::result::Result<Plan, String> {
    plan_on(&host(), change)
}

fn plan_on(host: &Host, change: Value) -> std::result::Result<Plan, String> {
    let mut config = base();
    merge(&mut config, change);
    let spec: Spec = serde_json::from_value(config).unwrap();
    let request = Request { id: "web1".into(), bundle: "/bundle".into(), ..Request::default() };
    Plan::new(&request, &spec, host).map_err(|error| error.to_string())
}

#[test]
fn the_plan_of_a_plain_bundle() {
    let plan = plan_with(json!({})).unwrap();
    assert_eq!(plan.host.clone_flags, NEWPID | NEWNS | NEWIPC | NEWUTS);
    assert_eq!(plan.host.network, Some(Network { sysfs: false, sysfs_readonly: false }), "concurrently with the rest");
    assert_eq!(plan.init.join.iter().map(|join| u64::from(join.flags)).collect::<Vec<_>>(), [NEWNET]);
    assert_eq!(u64::from(plan.init.unshare_late), NEWCGROUP, "the cgroup namespace is made inside the cgroup");
    assert_eq!(plan.host.rootfs, Path::new("/bundle/rootfs"));
    assert_eq!(plan.init.fork, None);
    // A relative or missing path is relative to the parent of our own cgroup.
    assert_eq!(plan.host.cgroup.unwrap().path, Path::new("/user/web1"));
}

/// Made by a process of ours it would belong to our user namespace.
#[test]
fn a_network_namespace_that_belongs_to_a_new_user_namespace_is_made_with_it() {
    let kinds = json!([{"type": "network"}, {"type": "mount"}, {"type": "user"}]);
    let plan = plan_with(mapped(json!({"linux": {"namespaces": kinds}}))).unwrap();
    assert_eq!((plan.host.network, plan.init.join.len()), (None, 0));
    assert!(plan.host.clone_flags & NEWNET != 0);
    let plan = plan_with(json!({"mounts": [{"destination": "/sys", "type": "sysfs"}]})).unwrap();
    assert_eq!(plan.host.network, Some(Network { sysfs: true, sysfs_readonly: false }));
    let plan = plan_with(json!({"mounts": [{"destination": "/sys", "type": "sysfs", "options": ["ro"]}]})).unwrap();
    assert_eq!(plan.host.network, Some(Network { sysfs: true, sysfs_readonly: true }));
}

#[test]
fn a_plan_survives_its_journey() {
    let plan =
        plan_with(json!({"hostname": "a", "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}))
            .unwrap();
    let bytes = cleat_plan::wire::encode_plan(&plan.init).unwrap();
    assert_eq!(cleat_plan::wire::decode::<wire::Plan>(&bytes).unwrap(), plan.init);
}

/// Each of these is refused with its place; none is dropped.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        (json!({"ociVersion": "2.0"}), "ociVersion: \"2.0\" is not a 1.x version"),
        (json!({"root": null}), "root: is missing"),
        (json!({"process": {"args": []}}), "process.args: is empty"),
        (json!({"process": {"cwd": "tmp"}}), "process.cwd: \"tmp\" must be absolute"),
        (json!({"process": {"env": ["A=1", "B"]}}), "process.env[1]: \"B\" is not of the form NAME=value"),
        (
            json!({"process": {"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}}),
            "process.rlimits[0].type: \"RLIMIT_X\"",
        ),
        (
            json!({"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}}),
            "process.rlimits[0]: soft 2 is above hard 1",
        ),
        (
            json!({"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 1}]}}),
            "process.rlimits[1].type: \"RLIMIT_CORE\" is there twice",
        ),
        (json!({"process": {"oomScoreAdj": 2000}}), "process.oomScoreAdj: 2000 is not between"),
        (json!({"hooks": {"poststop": [{"path": "bin/x"}]}}), "hooks.poststop[0].path: \"bin/x\" must be absolute"),
        (
            json!({"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}}),
            "hooks.prestart[0].timeout: 0 must be greater than zero",
        ),
        (
            json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}),
            "linux.namespaces[1].type: \"pid\" is there twice",
        ),
        (
            json!({"linux": {"namespaces": [{"type": "net"}]}}),
            "linux.namespaces[0].type: \"net\" is not one of cgroup, ipc, mount, network, pid, time, user, uts",
        ),
        (
            json!({"linux": {"namespaces": [{"type": "pid", "path": "x"}]}}),
            "linux.namespaces[0].path: \"x\" must be absolute",
        ),
        (
            json!({"linux": {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}}),
            "linux.namespaces has no user namespace",
        ),
        (json!({"linux": {"timeOffsets": {"boottime": {"secs": 1}}}}), "linux.timeOffsets: needs a new time namespace"),
        (json!({"linux": {"sysctl": {"vm.swappiness": "1"}}}), "is not in a separate kernel namespace"),
        (json!({"linux": {"sysctl": {"net.ipv4+x": "1"}}}), "is not the name of a kernel parameter"),
        (json!({"linux": {"sysctl": {"net/../kernel/panic": "1"}}}), "is not the name of a kernel parameter"),
        (json!({"linux": {"sysctl": {"kernel.hostname": "x"}}}), "set \"hostname\" instead"),
        (json!({"linux": {"cgroupsPath": "/a/../../b"}}), "leads above where it begins"),
        (json!({"linux": {"rootfsPropagation": "rslaved"}}), "linux.rootfsPropagation: \"rslaved\" is not one of"),
        (json!({"linux": {"maskedPaths": [""]}}), "linux.maskedPaths[0]: \"\" must be absolute"),
        (json!({"linux": {"seccomp": {}}}), "linux.seccomp.defaultAction: is missing; it is one of SCMP_ACT_KILL"),
        (json!({"linux": {"mountLabel": "x"}}), "linux.mountLabel: SELinux is not enabled in this kernel"),
        (json!({"process": {"selinuxLabel": "x"}}), "process.selinuxLabel: SELinux is not enabled in this kernel"),
        (
            json!({"process": {"apparmorProfile": "x"}}),
            "process.apparmorProfile: AppArmor is not enabled in this kernel",
        ),
        (json!({"windows": {}}), "windows: this version"),
    ];
    for (change, expected) in cases {
        let error = plan_with(change.clone()).expect_err(&change.to_string());
        assert!(error.starts_with("config.json: ") && error.contains(expected), "{change}: {error}");
    }
}

#[test]
fn a_host_name_needs_a_namespace() {
    let error = plan_with(json!({"hostname": "a", "linux": {"namespaces": [{"type": "mount"}]}})).unwrap_err();
    assert_eq!(error, "config.json: hostname: cannot be set without a uts namespace of the container's own");
}

#[test]
fn a_joined_user_namespace_owns_what_is_made_new() {
    let plan = plan_with(json!({"linux": {"namespaces": [{"type": "network", "path": "/n"}, {"type": "mount"}, {"type": "pid"}, {"type": "user", "path": "/u"}]}})).unwrap();
    assert_eq!(plan.host.clone_flags, 0);
    assert_eq!((plan.init.unshare, plan.init.fork), (NEWNS | NEWPID, Some(wire::Fork::New)));
    assert_eq!(plan.init.join[0].path.to_bytes(), b"/u", "the user namespace comes first");
    assert!(plan.init.become_root);
}

#[test]
fn the_last_of_a_variable_holds_and_home_is_looked_up_when_missing() {
    let plan = plan_with(json!({"process": {"env": ["A=1", "PATH=/x", "A=2"]}})).unwrap();
    let process = plan.init.process.unwrap();
    assert_eq!(process.env.iter().map(ToString::to_string).collect::<Vec<_>>(), ["PATH=/x", "A=2"]);
    assert!(process.find_home);
}

#[test]
fn a_cgroup_mount_without_a_cgroup_namespace_is_read_only_in_a_user_namespace() {
    let plan = plan_with(json!({
        "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]
        }
    }))
    .unwrap();
    assert_eq!(plan.init.root.unwrap().mounts[0].attr.set & 1, 1);
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted() {
    let error = plan_with(json!({"mounts": [{"destination": "/proc", "type": "proc"}], "linux": {"namespaces": []}}))
        .unwrap_err();
    assert!(error.starts_with("config.json: mounts: needs a new mount namespace"), "{error}");
    let plan = plan_with(json!({"linux": {"namespaces": []}})).unwrap();
    assert_eq!(plan.init.root.unwrap().pivot, wire::Pivot::Chroot);
}

#[test]
fn a_slash_in_a_kernel_parameter_keeps_the_dots() {
    let plan =
        plan_with(json!({"linux": {"sysctl": {"net/ipv4/conf/eth0.100/rp_filter": "1", "net.ipv4.ip_forward": "1"}}}))
            .unwrap();
    let paths: Vec<String> = plan.init.sysctl.iter().map(|s| s.path.to_string()).collect();
    assert_eq!(paths, ["net/ipv4/ip_forward", "net/ipv4/conf/eth0.100/rp_filter"]);
}

#[test]
fn the_text_names_every_step_that_does_something() {
    let text = plan_with(json!({"hostname": "web", "linux": {"maskedPaths": ["/proc/kcore"]}})).unwrap().to_string();
    for line in
        ["hostname                web", "masked-paths            /proc/kcore", "exec                    /bin/true"]
    {
        assert!(text.contains(line), "{line:?} in:\n{text}");
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let config = json!({
        "ociVersion": "1.3.0",
        "process": {"cwd": "x", "args": ["a"], "env": ["A", "B=1", "C"], "rlimits": [{"type": "X"}, {"type": "Y"}]},
        "mounts": [{"destination": "/a"}, {"destination": "/proc", "type": "tmpfs"}],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "x"}, {"type": "pid", "path": "y"}],
            "sysctl": {"a": "1", "b": "2"},
            "seccomp": {"defaultAction": "X", "architectures": ["Y"], "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 9}, {"index": 0, "op": "Z"}]}]}
        },
        "hooks": {"poststop": [{"path": "a"}, {"path": "b"}]}
    });
    let spec: Spec = serde_json::from_value(config).unwrap();
    let request = Request { id: "web1".into(), bundle: "/bundle".into(), ..Request::default() };
    let mut findings = Findings::default();
    let _ = Plan::decide(&request, &spec, &host(), &mut findings);
    let places: Vec<&str> = findings.problems.iter().map(|problem| problem.parts().0).collect();
    for place in [
        "root",
        "process.cwd",
        "process.env[0]",
        "process.env[2]",
        "process.rlimits[0].type",
        "process.rlimits[1].type",
        "mounts[0].type",
        "mounts[1]",
        "linux.namespaces[1].type",
        "linux.namespaces[2].path",
        "linux.sysctl[\"a\"]",
        "linux.sysctl[\"b\"]",
        "linux.seccomp.defaultAction",
        "linux.seccomp.architectures[0]",
        "linux.seccomp.syscalls[0].args[0].index",
        "linux.seccomp.syscalls[0].args[1].op",
        "hooks.poststop[0].path",
        "hooks.poststop[1].path",
    ] {
        assert!(places.contains(&place), "{place} is not among {places:?}");
    }
}
/// An ordinary user, and what such a user adds to a configuration.
fn user() -> Host {
    Host { euid: 1000, egid: 1000, ..host() }
}

fn mapped(change: Value) -> Value {
    let own = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mut config = json!({"linux": {
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "cgroup"}, {"type": "user"}],
        "uidMappings": own, "gidMappings": own
    }});
    merge(&mut config, change);
    config
}

#[test]
fn an_ordinary_users_container_does_without_a_cgroup_that_was_not_asked_for() {
    let plan = plan_on(&user(), mapped(json!({}))).unwrap();
    assert_eq!(plan.host.cgroup, None);
    assert_eq!(
        plan.warnings,
        ["no cgroup is delegated to user 1000: the container has none of its own and cannot be paused"]
    );
    let asked = plan_on(&user(), mapped(json!({"linux": {"cgroupsPath": "/a/b"}}))).unwrap();
    let cgroup = asked.host.cgroup.unwrap();
    assert_eq!(cgroup.path, Path::new("/a/b"));
    assert_eq!(cgroup.remedy(), "have one delegated (systemd: Delegate=yes), or leave out linux.cgroupsPath");
    let limits =
        json!({"linux": {"resources": {"pids": {"limit": 9}, "memory": {"limit": 99_999_744, "swap": 99_999_744}}}});
    let limited = plan_on(&user(), mapped(limits)).unwrap().host.cgroup.unwrap();
    assert_eq!(limited.asked_by, ["linux.resources.pids.limit", "linux.resources.memory.limit"]);
    assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
    let required = Host { rootless_asked: crate::cli::Rootless::No, ..user() };
    assert!(plan_on(&required, mapped(json!({}))).unwrap().host.cgroup.is_some());
    let root = plan_on(&Host { rootless_asked: crate::cli::Rootless::Yes, ..host() }, json!({})).unwrap();
    assert_eq!(root.host.cgroup, None);
    // Mounts hold the device rules in its place.
    assert!(root.init.root.unwrap().nodev && root.warnings.len() == 1, "{:?}", root.warnings);
    let engine = plan_on(&Host { in_user_namespace: true, ..host() }, json!({})).unwrap();
    assert!(engine.host.cgroup.is_none() && engine.warnings.is_empty(), "{:?}", engine.warnings);
}

#[test]
fn without_cgroups_limits_are_refused_and_mounts_hold_device_rules() {
    let without = Host { no_cgroups: true, ..host() };
    let plan = plan_on(&without, json!({"linux": {"cgroupsPath": "/a/b"}})).unwrap();
    assert!(plan.host.cgroup.is_none() && plan.init.root.unwrap().nodev && plan.warnings.is_empty());
    let open = json!({"linux": {"resources": {"devices": [{"allow": true, "access": "rwm"}]}}});
    assert!(!plan_on(&without, open).unwrap().init.root.unwrap().nodev);
    let error = plan_on(&without, json!({"linux": {"resources": {"pids": {"limit": 9}}}})).unwrap_err().to_string();
    assert!(error.contains("linux.resources.pids.limit") && error.contains("--cgroup-manager disabled"), "{error}");
}

#[test]
fn an_ordinary_users_cgroup_is_where_one_was_delegated() {
    let mut host = user();
    host.cgroup.delegated = Some("/user/shell".into());
    for (path, expected) in [("", "/user/shell/web1"), ("a/b", "/user/shell/a/b"), ("/a", "/a")] {
        let plan = plan_on(&host, mapped(json!({"linux": {"cgroupsPath": path}}))).unwrap();
        let cgroup = plan.host.cgroup.unwrap();
        assert_eq!((cgroup.path.as_path(), &cgroup.devices), (Path::new(expected), &None), "{path:?}");
    }
}

#[test]
fn without_cgroup_and_pid_namespace_processes_may_be_lost() {
    let config = mapped(json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}));
    let plan = plan_on(&user(), config).unwrap();
    assert!(plan.warnings[0].contains("processes that outlive its first one"), "{:?}", plan.warnings);
}

#[test]
fn namespaces_given_by_path_are_entered_before_a_new_user_namespace() {
    let config = mapped(json!({"linux": {"namespaces": [
        {"type": "user"}, {"type": "mount"}, {"type": "network", "path": "/n"}, {"type": "pid", "path": "/p"}
    ]}}));
    let plan = plan_with(config).unwrap();
    let paths: Vec<&[u8]> = plan.init.join.iter().map(|join| join.path.to_bytes()).collect();
    assert_eq!(paths, [b"/n", b"/p"]);
    assert_eq!(
        (plan.host.clone_flags, plan.init.unshare, plan.init.fork),
        (0, NEWUSER | NEWNS, Some(wire::Fork::Joined)),
        "by the init"
    );
    assert!(plan.init.become_root);
}

#[test]
fn the_host_half_opens_what_only_root_can_reach() {
    for (host, opens) in [(user(), false), (host(), true), (Host { in_user_namespace: true, ..host() }, true)] {
        let plan = plan_on(&host, mapped(json!({}))).unwrap();
        assert_eq!(plan.init.root.unwrap().tree.is_some(), opens, "euid {}", host.euid);
    }
}

#[test]
fn ids_that_nothing_maps_are_refused_wherever_they_are_named() {
    let devpts = json!({"destination": "/dev/pts", "type": "devpts", "options": ["nosuid", "gid=5"]});
    let fifo = json!({"path": "/dev/p", "type": "p", "gid": 7});
    for (change, expected) in [
        (json!({"process": {"user": {"uid": 33}}}), "process.user.uid: 33 has no mapping in linux.uidMappings"),
        (json!({"process": {"user": {"gid": 5}}}), "process.user.gid: 5 has no mapping in linux.gidMappings"),
        (
            json!({"mounts": [devpts]}),
            "mounts[0].options: gid=5: 5 has no mapping in linux.gidMappings, which has 0; map",
        ),
        (json!({"linux": {"devices": [fifo]}}), "linux.devices[0].gid: 7 has no mapping in linux.gidMappings"),
    ] {
        let error = plan_on(&user(), mapped(change)).unwrap_err();
        assert!(error.starts_with(&format!("config.json: {expected}")), "{error}");
    }
    let in_namespace = Host {
        in_user_namespace: true,
        own_uids: vec![IdMap { container_id: 0, host_id: 1000, size: 1 }],
        own_gids: vec![IdMap { container_id: 0, host_id: 1000, size: 1 }],
        ..host()
    };
    let error = plan_on(&in_namespace, json!({"process": {"user": {"uid": 33}}})).unwrap_err();
    assert!(error.contains("33 has no mapping in the user namespace that cleat runs in"), "{error}");
}

#[test]
fn supplementary_groups_are_ignored_aloud_where_they_cannot_be_set() {
    let plan = plan_on(&user(), mapped(json!({"process": {"user": {"additionalGids": [5]}}}))).unwrap();
    assert_eq!(plan.init.process.unwrap().groups, None);
    assert!(plan.warnings.iter().any(|w| w.contains("process.user.additionalGids: ignored")), "{:?}", plan.warnings);
}

/// Only what the rules that were given may deny is warned about, and only if they cannot be enforced.
#[test]
fn device_rules_that_nobody_enforces_are_reported() {
    let engine = Host { in_user_namespace: true, ..host() };
    let warnings = |host: &Host, rules: Value, change: Value| {
        let mut all = json!({ "linux": { "resources": { "devices": rules } } });
        merge(&mut all, change);
        let warnings = plan_on(host, all).unwrap().warnings;
        warnings.iter().filter(|text| text.contains("linux.resources.devices")).count()
    };
    let deny = json!({ "allow": false, "access": "rwm" });
    let fuse = json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" });
    let device = json!({ "linux": { "devices": [{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }] } });
    let bind = |source: &str, option: &str| json!({ "mounts": [{ "destination": "/x", "source": source, "options": ["rbind", option] }] });
    for (rules, change, expected) in [
        (json!([deny]), json!({}), 0),
        (json!([deny]), device.clone(), 1),
        (json!([deny, fuse]), device.clone(), 0),
        (json!([]), device.clone(), 0),
        (json!([deny, { "allow": true, "access": "rwm" }]), device.clone(), 0),
        (
            json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "b", "access": "w" }]),
            bind("/dev/x", "ro"),
            1,
        ),
        (json!([deny]), bind("/dev/dri", "ro"), 1),
        (json!([deny]), bind("/dev/null", "ro"), 0),
        (json!([deny]), bind("/srv", "ro"), 0),
        (json!([deny]), bind("/srv", "dev"), 1),
    ] {
        assert_eq!(warnings(&engine, rules.clone(), change.clone()), expected, "{rules} {change}");
        assert_eq!(warnings(&host(), rules, change), 0, "root has a filter");
    }
}
