//! Who calls the runtime: root, root of an engine's user namespace, or an ordinary user, with or without systemd.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use integration::matrix::{LIMITS, Manager, User};
use integration::{DelegatedCgroup, EngineNamespace, Lingering, Runtime, cgroup_root, json_lines, unused_uid};

/// Who calls, with all that belongs to him; dropped in this order.
pub(super) struct Caller {
    pub(super) runtime: Runtime,
    /// Where warnings go.
    log: PathBuf,
    /// Whose files are a container's, without a user namespace of its own.
    pub(super) uid: u32,
    pub(super) namespaces: BTreeMap<String, String>,
    pub(super) cgroup: String,
    _scope: Option<DelegatedCgroup>,
    _session: Option<DelegatedCgroup>,
    _namespace: Option<EngineNamespace>,
    _user: Option<Lingering>,
}

fn own_namespaces() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/ns").expect("/proc/self/ns").flatten();
    let link = |path: PathBuf| fs::read_link(path).ok().map(|link| link.to_string_lossy().into_owned());
    entries.filter_map(|e| Some((e.file_name().to_string_lossy().into_owned(), link(e.path())?))).collect()
}

pub(super) fn cgroup_of(process: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("a cgroup");
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

impl Caller {
    pub(super) fn new(user: User, manager: Manager) -> Self {
        let uid = unused_uid();
        let namespace = (user == User::EngineRoot).then(|| EngineNamespace::new(uid));
        let mut namespaces = own_namespaces();
        let runtime = match &namespace {
            Some(namespace) => {
                namespaces.insert("user".to_owned(), namespace.link());
                Runtime::in_user_namespace(namespace)
            }
            None if user == User::Ordinary => Runtime::as_user(),
            None => Runtime::new(),
        };
        let uid = if user == User::Ordinary { runtime.uid() } else { uid };
        let log = runtime.dir().join("log.json");
        fs::write(&log, "").expect("a log");
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("chmod");
        let options = [format!("--log={}", log.display()), "--log-format=json".to_owned()];
        let runtime = options.iter().fold(runtime.without_options(), |runtime, option| runtime.with_option(option));
        let mut caller = Self {
            runtime,
            log,
            uid: if user == User::Root { 0 } else { uid },
            namespaces,
            cgroup: cgroup_of("self"),
            _scope: None,
            _session: None,
            _namespace: namespace,
            _user: None,
        };
        if manager == Manager::Systemd {
            caller.runtime = caller.runtime.with_option("--systemd-cgroup");
        }
        match (user, manager) {
            (User::Root, _) => {}
            (_, Manager::Systemd) => {
                let lingering = Lingering::new(uid);
                caller.runtime = caller.runtime.with_env("XDG_RUNTIME_DIR", lingering.runtime_dir());
                caller._user = Some(lingering);
            }
            (_, Manager::Cgroupfs) => {
                enable(&cgroup_root());
                let session = DelegatedCgroup::new(uid);
                let scope = session.below("scope", uid);
                caller.runtime = caller.runtime.in_cgroup(&scope);
                caller.cgroup = format!("/{}", scope.path().strip_prefix(cgroup_root()).expect("a path").display());
                (caller._session, caller._scope) = (Some(session), Some(scope));
            }
        }
        caller
    }
}

impl Caller {
    /// How long the log is.
    pub(super) fn logged(&self) -> usize {
        fs::read(&self.log).expect("the log").len()
    }

    /// The warnings that came after so much of the log.
    pub(super) fn warnings(&self, since: usize) -> String {
        let text = fs::read_to_string(&self.log).expect("the log");
        let records = json_lines(&text[since..]);
        let warnings = records.iter().filter(|record| record["level"] == "warning");
        let texts: Vec<_> = warnings.filter_map(|record| record["msg"].as_str()).collect();
        texts.join("\n")
    }
}

fn controllers() -> Vec<String> {
    let text = fs::read_to_string(cgroup_root().join("cgroup.controllers")).expect("cgroup.controllers");
    text.split_whitespace().map(str::to_owned).collect()
}

fn enable(cgroup: &Path) {
    for (controller, ..) in LIMITS.iter().filter(|(name, ..)| controllers().iter().any(|known| known == name)) {
        fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}")).expect("a controller");
    }
}

/// Of hugetlb systemd knows nothing.
pub(super) fn limits(manager: Manager) -> Vec<(&'static str, &'static str)> {
    let there = controllers();
    let has =
        |name: &str| there.iter().any(|known| known == name) && (manager == Manager::Cgroupfs || name != "hugetlb");
    LIMITS.iter().filter(|(name, ..)| has(name)).map(|(_, file, value)| (*file, *value)).collect()
}
