//! What the kubelet is to containerd: a client of its CRI plugin, and a node with pods.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;

use crate::containerd::{Containerd, IMAGE, Release, fetched, is_cleat_shim, runtime_type};
pub use crate::grpc::Refused;
use crate::grpc::call;
use crate::harness::{add_note, skip};
use crate::host::cgroup_root;
use crate::wait::eventually;

pub mod messages;
pub mod streaming;

use messages::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, DnsConfig, ExecSyncRequest, ImageSpec, ImageStatusRequest, LinuxPodSandboxConfig,
    PodSandboxConfig, PodSandboxMetadata, PodSandboxStatus, PodSandboxStatusRequest, RemoveContainerRequest,
    RemovePodSandboxRequest, Request, RunPodSandboxRequest, StartContainerRequest, StatusRequest, StopContainerRequest,
    StopPodSandboxRequest,
};

/// The pods' image.
const PAUSE: &str = "test.local/pause:1";
/// The name that pods know the shim by.
pub const HANDLER: &str = "cleat";
/// The same shim by its path, as containerd's own: containerd 1 has options for no other type, nor do containerd
/// 2.0 and 2.1 ask another for its features.
pub const HANDLER_BY_PATH: &str = "cleat-by-path";
/// Where that one has its containers' state.
pub const ROOT_BY_PATH: &str = "/run/containerd/by-path";
/// The shim by its name, with options.
pub const HANDLER_WITH_OPTIONS: &str = "cleat-with-options";
/// Where that one has its containers' state.
pub const ROOT_WITH_OPTIONS: &str = "/run/containerd/with-options";
/// The same with one that there is not.
pub const HANDLER_WITH_UNKNOWN_OPTIONS: &str = "cleat-with-unknown-options";
/// No answer takes longer, in the guest either.
const TIMEOUT: Duration = Duration::from_secs(120);

/// As much of containerd's log is shown with a failure.
const LOG_LINES: usize = 120;

/// A containerd with its CRI plugin, and a network of its own: `10.88.0.0/16` on a bridge.
#[derive(Debug)]
pub struct Node {
    containerd: Containerd,
    /// Whether the kernel limits memory and CPU here.
    limits: bool,
    /// Of pods and containers.
    ids: RefCell<Vec<String>>,
}

impl Node {
    /// Starts it. Where there is no containerd, the test is skipped. Where the kernel has no limits, and it asks
    /// for some however it is configured, the program `without_limits` comes before the runtime.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(release: Release, without_limits: &str) -> Node {
        let controllers = fs::read_to_string(cgroup_root().join("cgroup.controllers")).unwrap_or_default();
        let has = |name| controllers.split_whitespace().any(|controller| controller == name);
        let limits = ["cpu", "memory", "pids"].into_iter().all(has);
        let containerd = Containerd::start_with(release, Some("k8s.io"), |containerd| {
            let is_1 = containerd.version().starts_with("1.");
            if !limits && !is_1 {
                containerd.put_before_runtimes(Path::new(without_limits));
            }
            configuration(containerd, limits, is_1)
        });
        let node = Node { containerd, limits, ids: RefCell::default() };
        node.ready();
        node
    }

    /// What is below it.
    #[must_use]
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// Whether there are limits of memory and CPU.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        self.limits
    }

    /// Whether it is containerd 2 or later.
    #[must_use]
    pub fn is_2(&self) -> bool {
        !self.containerd.version().starts_with("1.")
    }

    /// Asks the CRI plugin.
    ///
    /// # Errors
    /// What it says; 14 (`UNAVAILABLE`): it is not there; 4 (`DEADLINE_EXCEEDED`): nothing came.
    ///
    /// # Panics
    /// It answers something else.
    pub fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, Refused> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (socket, message) = (self.containerd.socket(), request.encode_to_vec());
        let late = |_| Refused { code: 4, message: format!("no answer to {} in {TIMEOUT:?}", R::METHOD) };
        let work = async { tokio::time::timeout(TIMEOUT, call(&socket, R::METHOD, &message)).await };
        let bytes = runtime.block_on(work).map_err(late)??;
        Ok(R::Answer::decode(bytes.as_slice()).expect("the message that answers"))
    }

    /// What it must not refuse.
    fn must<R: Request + std::fmt::Debug>(&self, request: &R) -> R::Answer {
        self.ask(request)
            .unwrap_or_else(|refused| panic!("{} {request:?}: {refused:?}\n{}", R::METHOD, self.complaints()))
    }

    /// What containerd has logged that is worse than information.
    #[must_use]
    pub fn complaints(&self) -> String {
        let log = self.containerd.log();
        let bad = |line: &&str| ["warning", "error", "fatal"].iter().any(|l| line.contains(&format!("level={l}")));
        log.lines().filter(bad).collect::<Vec<_>>().join("\n")
    }

    /// Waits until containers and networks can be had, and the images are known.
    fn ready(&self) {
        eventually("CRI to be ready", || {
            let said = self.ask(&StatusRequest {}).map_err(|refused| format!("{refused:?}"))?;
            let conditions = said.status.unwrap_or_default().conditions;
            let met = |kind: &str| conditions.iter().any(|one| one.kind == kind && one.status);
            if met("RuntimeReady") && met("NetworkReady") { Ok(()) } else { Err(format!("{conditions:?}")) }
        });
        for image in [IMAGE, PAUSE] {
            let request = ImageStatusRequest { image: Some(ImageSpec { image: image.into() }) };
            eventually(image, || match self.ask(&request) {
                Ok(answer) if answer.image.is_some() => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
    }

    /// `SIGKILL` for containerd.
    pub fn down(&mut self) {
        self.containerd.down();
    }

    /// It comes back.
    pub fn up(&mut self) {
        self.containerd.up();
        self.ready();
    }

    /// A pod like any other, to be changed before it is run.
    #[must_use]
    pub fn config(&self, name: &str) -> PodSandboxConfig {
        let metadata = PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        };
        let logs = self.containerd.dir().join("logs").join(name);
        PodSandboxConfig {
            metadata: Some(metadata),
            hostname: name.into(),
            log_directory: logs.to_string_lossy().into_owned(),
            dns_config: Some(DnsConfig { servers: vec!["10.88.0.53".into()] }),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.containerd.name()),
                ..LinuxPodSandboxConfig::default()
            }),
        }
    }

    /// Asks for a pod.
    ///
    /// # Errors
    /// What it says.
    pub fn try_pod(&self, config: PodSandboxConfig, handler: &str) -> Result<Pod<'_>, Refused> {
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.into() };
        let id = self.ask(&request)?.pod_sandbox_id;
        self.ids.borrow_mut().push(id.clone());
        Ok(Pod { node: self, config, id })
    }

    /// Runs a pod.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn pod(&self, config: PodSandboxConfig) -> Pod<'_> {
        self.try_pod(config, HANDLER).unwrap_or_else(|refused| panic!("{refused:?}\n{}", self.complaints()))
    }

    /// A pod that has been run before.
    #[must_use]
    pub fn known_pod(&self, id: &str, config: PodSandboxConfig) -> Pod<'_> {
        Pod { node: self, config, id: id.into() }
    }

    /// A pod like any other, which runs.
    #[must_use]
    pub fn plain_pod(&self, name: &str) -> Pod<'_> {
        self.pod(self.config(name))
    }

    /// What is there of pods, or has been: files, network namespaces and devices, addresses, cgroups, mounts.
    fn left_of_pods(&self) -> Vec<String> {
        let containerd = &self.containerd;
        let root = containerd.dir().join("root");
        let kept = |kind: &str| root.join("io.containerd.grpc.v1.cri").join(kind).to_string_lossy().into_owned();
        let mut left = Vec::new();
        for place in [&kept("sandboxes"), &kept("containers"), "/run/netns", "/var/lib/cni/results"] {
            left.extend(containerd.files(place));
        }
        left.extend(containerd.files(&format!("{ROOT_BY_PATH}/k8s.io")));
        let below = "/run/containerd/io.containerd.grpc.v1.cri";
        for place in [format!("{below}/sandboxes"), format!("{below}/containers")] {
            left.extend(containerd.files(&place));
        }
        let addresses = containerd.dir().join("addresses").to_string_lossy().into_owned();
        let given = containerd.files(&addresses);
        left.extend(
            given.into_iter().filter(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("10."))),
        );
        let devices = containerd.inside("ip").args(["-o", "link"]).output().expect("ip(8)");
        let devices = String::from_utf8_lossy(&devices.stdout).into_owned();
        left.extend(devices.lines().filter(|line| line.contains("veth")).map(str::to_owned));
        let ids = self.ids.borrow();
        let cgroups = containerd.files("/sys/fs/cgroup");
        let is_ours = |path: &String| ids.iter().any(|id| path.ends_with(id.as_str()));
        left.extend(cgroups.into_iter().filter(is_ours));
        left.extend(containerd.ctr(["container", "ls", "-q"]).ok().lines().map(str::to_owned));
        let mounts = containerd.read("/proc/self/mountinfo");
        left.extend(mounts.lines().filter(|line| ids.iter().any(|id| line.contains(id.as_str()))).map(str::to_owned));
        left
    }

    /// # Panics
    /// When anything of a pod is left after a while.
    pub fn nothing_is_left(&self) {
        self.containerd.nothing_is_left();
        eventually("everything of the pods to be gone", || match self.left_of_pods() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:#?}")),
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.containerd.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            add_note(&format!("the end of containerd's log:\n{end}"));
        }
    }
}

/// containerd's configuration: the plugin, the shim, the network.
fn configuration(containerd: &Containerd, limits: bool, is_1: bool) -> String {
    let of = |dir: PathBuf| dir.canonicalize().ok().filter(|dir| dir.join("cni/bridge").is_file());
    let given = std::env::var_os("CLEAT_CONTAINERD").map(PathBuf::from).and_then(of);
    let Some(cache) = given.or_else(|| of(fetched())) else {
        skip("no network plugins are there; see make containerd")
    };
    let (conf, addresses) = (containerd.dir().join("net.d"), containerd.dir().join("addresses"));
    fs::create_dir(&conf).expect("mkdir");
    let network = format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "pods0",
            "isGateway": true, "ipam": {{"type": "host-local", "dataDir": {addresses:?},
            "ranges": [[{{"subnet": "10.88.0.0/16"}}]]}}}}]}}"#
    );
    fs::write(conf.join("10-pods.conflist"), network).expect("a network");
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\"";
    let cgroups = if limits || !is_1 { "" } else { "  disable_cgroup = true\n" };
    let shim = if is_cleat_shim() { "containerd-shim-cleat-v2" } else { "containerd-shim-runc-v2" };
    format!(
        "{cri}]\n  sandbox_image = {PAUSE:?}\n  restrict_oom_score_adj = true\n{cgroups}  \
         enable_unprivileged_ports = true\n  enable_unprivileged_icmp = true\n  \
         stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n\
         {cri}.cni]\n  bin_dir = {bin:?}\n  conf_dir = {conf:?}\n\
         {cri}.containerd]\n  default_runtime_name = {HANDLER:?}\n\
         {cri}.containerd.runtimes.{HANDLER}]\n  runtime_type = {kind:?}\n\
         {cri}.containerd.runtimes.{HANDLER_BY_PATH}]\n  runtime_type = \"io.containerd.runc.v2\"\n  \
         runtime_path = {path:?}\n\
         {cri}.containerd.runtimes.{HANDLER_BY_PATH}.options]\n  Root = {ROOT_BY_PATH:?}\n\
         {cri}.containerd.runtimes.{HANDLER_WITH_OPTIONS}]\n  runtime_type = {kind:?}\n\
         {cri}.containerd.runtimes.{HANDLER_WITH_OPTIONS}.options]\n  Root = {ROOT_WITH_OPTIONS:?}\n\
         {cri}.containerd.runtimes.{HANDLER_WITH_UNKNOWN_OPTIONS}]\n  runtime_type = {kind:?}\n\
         {cri}.containerd.runtimes.{HANDLER_WITH_UNKNOWN_OPTIONS}.options]\n  SystemdCGroup = true\n",
        bin = cache.join("cni"),
        path = containerd.program(shim),
        kind = runtime_type(),
    )
}

/// A pod that has been run.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Pod<'a> {
    node: &'a Node,
    pub config: PodSandboxConfig,
    pub id: String,
}

/// A container's streams, from its log.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Logged {
    pub stdout: String,
    pub stderr: String,
}

/// What a program printed that was executed in a container.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Executed {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Executed {
    /// What it printed.
    ///
    /// # Panics
    /// It failed.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

impl<'a> Pod<'a> {
    /// How it is.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn status(&self) -> PodSandboxStatus {
        let request = PodSandboxStatusRequest { pod_sandbox_id: self.id.clone() };
        self.node.must(&request).status.expect("a status")
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.status().network.unwrap_or_default().ip
    }

    /// A container's configuration, to be changed before it is created.
    #[must_use]
    pub fn config_of(&self, name: &str, command: &[&str]) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.into() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            log_path: format!("{name}.log"),
            ..ContainerConfig::default()
        }
    }

    /// Creates a container.
    ///
    /// # Errors
    /// What it says.
    pub fn try_create(&self, config: ContainerConfig) -> Result<PodContainer<'a>, Refused> {
        let log = Path::new(&self.config.log_directory).join(&config.log_path);
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id = self.node.ask(&request)?.container_id;
        self.node.ids.borrow_mut().push(id.clone());
        Ok(PodContainer { node: self.node, id, log })
    }

    /// Creates a container.
    ///
    /// # Panics
    /// It is not made.
    #[must_use]
    pub fn create(&self, config: ContainerConfig) -> PodContainer<'a> {
        self.try_create(config).unwrap_or_else(|refused| panic!("{refused:?}\n{}", self.node.complaints()))
    }

    /// A container that has been made before.
    #[must_use]
    pub fn known(&self, id: &str, log: PathBuf) -> PodContainer<'a> {
        PodContainer { node: self.node, id: id.into(), log }
    }

    /// Creates a container and starts it.
    #[must_use]
    pub fn start(&self, config: ContainerConfig) -> PodContainer<'a> {
        let container = self.create(config);
        container.start();
        container
    }

    /// Creates a container of a shell's script and starts it.
    #[must_use]
    pub fn run(&self, name: &str, script: &str) -> PodContainer<'a> {
        self.start(self.config_of(name, &["sh", "-c", script]))
    }

    /// Stops it with all in it.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop(&self) {
        let _ = self.node.must(&StopPodSandboxRequest { pod_sandbox_id: self.id.clone() });
    }

    /// Stops it and removes it with all in it.
    ///
    /// # Panics
    /// It stays.
    pub fn remove(self) {
        self.stop();
        let _ = self.node.must(&RemovePodSandboxRequest { pod_sandbox_id: self.id });
    }
}

/// A container of a pod.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct PodContainer<'a> {
    node: &'a Node,
    pub id: String,
    pub log: PathBuf,
}

impl PodContainer<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// What it says.
    pub fn try_start(&self) -> Result<(), Refused> {
        self.node.ask(&StartContainerRequest { container_id: self.id.clone() }).map(|_| ())
    }

    /// Starts it.
    ///
    /// # Panics
    /// It does not.
    pub fn start(&self) {
        self.try_start().unwrap_or_else(|refused| panic!("{refused:?}\n{}", self.node.complaints()));
    }

    /// How it is.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn status(&self) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: self.id.clone() };
        self.node.must(&request).status.expect("a status")
    }

    /// Waits for its end.
    #[must_use]
    pub fn ended(&self) -> ContainerStatus {
        eventually("the container's end", || match self.status() {
            status if status.state == i32::from(ContainerState::Exited) => Ok(status),
            status => Err(format!("{status:?}")),
        })
    }

    /// Executes a program in it; `limit` in seconds, 0 for none.
    ///
    /// # Errors
    /// What it says.
    pub fn try_exec(&self, command: &[&str], limit: i64) -> Result<Executed, Refused> {
        let request = ExecSyncRequest {
            container_id: self.id.clone(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: limit,
        };
        let answer = self.node.ask(&request)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Executed { code: answer.exit_code, out: text(&answer.stdout), err: text(&answer.stderr) })
    }

    /// Executes a shell's script in it.
    ///
    /// # Panics
    /// It is not executed.
    #[must_use]
    pub fn exec(&self, script: &str) -> Executed {
        self.try_exec(&["sh", "-c", script], 0)
            .unwrap_or_else(|refused| panic!("{script}: {refused:?}\n{}", self.node.complaints()))
    }

    /// Asks any other thing of it.
    ///
    /// # Panics
    /// It is refused.
    pub fn must<R: Request + std::fmt::Debug>(&self, request: &R) -> R::Answer {
        self.node.must(request)
    }

    /// Stops it, with a grace in seconds.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop(&self, grace: i64) {
        let _ = self.node.must(&StopContainerRequest { container_id: self.id.clone(), timeout: grace });
    }

    /// Removes it.
    ///
    /// # Panics
    /// It stays.
    pub fn remove(&self) {
        let _ = self.node.must(&RemoveContainerRequest { container_id: self.id.clone() });
    }

    /// What is in its log by now, checked for its format: `TIME STREAM F|P TEXT`.
    ///
    /// # Panics
    /// A line is something else.
    #[must_use]
    pub fn logged(&self) -> Logged {
        read_log(&self.log)
    }

    /// A file of its cgroup, from outside; nothing when it is not there.
    #[must_use]
    pub fn cgroup(&self, file: &str) -> String {
        let containerd = &self.node.containerd;
        containerd.read(&format!("/sys/fs/cgroup/{}/{}/{file}", containerd.name(), self.id)).trim().to_owned()
    }

    /// Its first process.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let text = self.node.containerd.read(&self.node.containerd.bundle(&self.id, "init.pid"));
        text.trim().parse().expect("a pid")
    }
}

/// A log's streams.
///
/// # Panics
/// A line is not of CRI's format.
#[must_use]
pub fn read_log(path: &Path) -> Logged {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut streams: HashMap<&str, String> = HashMap::new();
    // The last line may be half written.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let &[time, stream @ ("stdout" | "stderr"), tag @ ("F" | "P"), text] = words.as_slice() else {
            panic!("{}: {line:?}", path.display());
        };
        assert!(time.contains('T') && time.contains('.'), "{line:?}");
        let all = streams.entry(stream).or_default();
        all.push_str(text);
        if tag == "F" {
            all.push('\n');
        }
    }
    let mut take = |stream: &str| streams.remove(stream).unwrap_or_default();
    Logged { stdout: take("stdout"), stderr: take("stderr") }
}
