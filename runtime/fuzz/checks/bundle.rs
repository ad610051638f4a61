//! Bytes of a config.json → a plan: no panic; a plan without problems prints itself, is JSON, and
//! its half for the init decodes to itself.

use cleat::plan::host::{Cgroup, Host, Labels};
use cleat::plan::{Findings, IdMap, Plan, Request, devices};
use cleat::spec;
use cleat::spec::{RawSpec, Spec};

fn request() -> Request {
    Request {
        id: "fuzz".into(),
        bundle: "/bundle".into(),
        keyring: Some("_ses.fuzz".into()),
        start_later: true,
        ..Request::default()
    }
}

/// Root, root of a user namespace, and an ordinary user.
fn hosts() -> [Host; 3] {
    let cgroup = Cgroup { mount: Some("/sys/fs/cgroup".into()), own: "/user/shell".into(), ..Cgroup::default() };
    let host = Host { capabilities: (1 << 41) - 1, last_capability: 40, cgroup, ..Host::default() };
    let maps = vec![
        IdMap { container_id: 0, host_id: 1000, size: 1 },
        IdMap { container_id: 1, host_id: 100_000, size: 65_536 },
    ];
    let labels = Labels { apparmor: true, selinux: true };
    let v1 = ["memory", "cpu", "blkio"].map(String::from).to_vec();
    let inside = Host {
        in_user_namespace: true,
        own_uids: maps.clone(),
        own_gids: maps,
        cgroup: Cgroup { v1_controllers: v1, ..host.cgroup.clone() },
        resctrl: Some("/sys/fs/resctrl".into()),
        ..host.clone()
    };
    let user = Host {
        euid: 1000,
        egid: 1000,
        capabilities: 0,
        setgroups_denied: true,
        cgroup: Cgroup::default(),
        ..host.clone()
    };
    [Host { labels, ..host }, inside, user]
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Ok(spec) = spec::parse::<Spec>("config.json", data) else { return };
    let _ = spec::parse::<RawSpec<'_>>("config.json", data);
    let request = request();
    for host in hosts() {
        let mut findings = Findings::default();
        let decided = Plan::decide(&request, &spec, &host, &mut findings);
        for problem in &findings.problems {
            let text = problem.to_string();
            assert!(text.starts_with("config.json: "), "{text}");
            assert!(text.contains(problem.parts().0), "{text}");
        }
        let plan = match Plan::new(&request, &spec, &host) {
            Err(error) => {
                assert_eq!(findings.problems.first().map(ToString::to_string), Some(error.to_string()));
                continue;
            }
            Ok(plan) => plan,
        };
        assert_eq!((&plan.host, &plan.init, &plan.warnings), (&decided.host, &decided.init, &findings.warnings));
        assert!(!plan.to_string().is_empty());
        serde_json::to_string(&plan).expect("a plan is JSON");
        let bytes = cleat_plan::wire::encode_plan(&plan.init).expect("a plan can be encoded");
        let journeyed: cleat_plan::Plan = cleat_plan::wire::decode(&bytes).expect("and decoded");
        assert_eq!(journeyed, plan.init);
        if let Some(rules) = plan.host.cgroup.as_ref().and_then(|cgroup| cgroup.devices.as_ref()) {
            let _ = devices::compile(rules);
        }
    }
}
