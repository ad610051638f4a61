//! What engines really write: `bundles/engines/*.json`.
//!
//! Each file is a config.json (`*-exec.json`: the process for `exec --process`) as containerd 2.1.9 (by `ctr`, and
//! by its CRI plugin as for a kubelet), Podman 5.8 or Docker 28.5 handed it to its runtime. Limits of control
//! groups are as they write them on a host with pure cgroup v2, without options and with some (the CRI plugin's as
//! its source composes them from what kubelets ask for). Where the host's controllers are bound to version 1, they
//! are left out. `@rootfs@`, `@cgroup@`, `@host@/NAME` (the source of a bind mount) and `@namespace@/KIND` (a
//! namespace of another container) stand for what is this machine's, `@seccomp@/NAME` for a profile that many
//! have, `bundles/engines/seccomp/NAME.json`. (`ctr` and kubelets ask for one only on request.)
//!
//! [`Engine::check`] compares all that a file asks for with what the probe finds; a test then
//! adds what is particular to it.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use integration::{Bundle, ConsoleSocket, Container, Pty, Runtime};
use serde_json::{Value, json};

use judge::{
    devices, filter, has_option, limits, limits_hold, list, mount_on, mounted, namespaces, object, paths, process,
    strings, words,
};

mod judge;

/// The first host id of the files that map ids.
const MAPPED: u32 = 100_000;

/// A bundle made from an engine's config.json.
struct Engine {
    runtime: Runtime,
    bundle: Bundle,
}

impl Engine {
    fn new(name: &str) -> Self {
        Self::with_neighbour(name, None)
    }

    /// `neighbour` has the namespaces that the file joins.
    fn with_neighbour(name: &str, neighbour: Option<&Container<'_>>) -> Self {
        let mut spec = file(name);
        if let Some(profile) = spec["linux"]["seccomp"].as_str().and_then(|text| text.strip_prefix("@seccomp@/")) {
            spec["linux"]["seccomp"] = file(&format!("seccomp/{profile}"));
        }
        let bundle = Bundle::new();
        let cgroup = bundle.spec()["linux"]["cgroupsPath"].clone();
        let host = bundle.dir().join("host");
        fs::create_dir(&host).expect("a directory");
        replace(&mut spec, &|text| match text {
            "@rootfs@" => bundle.rootfs().display().to_string(),
            "@cgroup@" => cgroup.as_str().expect("a cgroup path").to_owned(),
            _ => match (text.strip_prefix("@host@/"), text.strip_prefix("@namespace@/")) {
                (Some(file), _) => source(&host, file).display().to_string(),
                (_, Some(kind)) => neighbour.expect("a neighbour").proc(&format!("ns/{kind}")).display().to_string(),
                _ => text.to_owned(),
            },
        });
        if !spec["linux"]["uidMappings"].is_null() {
            own(&bundle.rootfs());
        }
        if !limits_hold() {
            let devices = spec["linux"]["resources"]["devices"].take();
            spec["linux"]["resources"] = json!({ "devices": devices });
        }
        Self { runtime: Runtime::new(), bundle: bundle.edit(|old| *old = spec) }
    }

    fn spec(&self) -> &Value {
        self.bundle.spec()
    }

    /// The same with another program.
    fn args(self, args: &[&str]) -> Self {
        Self { bundle: self.bundle.args(args.iter().copied()), ..self }
    }

    /// The same with a profile of `bundles/engines/seccomp`.
    fn filtered(self, profile: &str) -> Self {
        Self { bundle: self.bundle.set("/linux/seccomp", file(&format!("seccomp/{profile}"))), ..self }
    }

    /// What another program of the probe prints in this container.
    fn answer(self, args: &[&str]) -> Value {
        let this = self.args(args);
        this.runtime.json(&this.bundle)
    }

    /// Creates and starts the container and compares it with all that its file asks for.
    fn check(self) -> Value {
        let names: Vec<String> = object(&self.spec()["linux"]["sysctl"]).map(|(name, _)| name.clone()).collect();
        let args = ["/probe", "facts"].into_iter().map(str::to_owned).chain(names);
        let this = self.audit_running();
        let this = Self { bundle: this.bundle.args(args), ..this };
        if !integration::is_peer() {
            // `check` says that it will run.
            let _ = this.runtime.call(["check"]).arg(this.bundle.path()).outcome().ok();
        }
        let facts = if this.spec()["process"]["terminal"] == true {
            this.facts_on_a_terminal()
        } else {
            let container = this.runtime.create(&this.bundle);
            if !integration::is_peer() {
                let _ = container.audit().finds_nothing();
            }
            container.start();
            limits(&this.spec()["linux"]["resources"], &this.bundle.cgroup());
            container.json()
        };
        let spec = this.spec();
        process(&spec["process"], &facts);
        filter(spec, &facts);
        for mount in list(&spec["mounts"]) {
            mounted(mount, &facts);
        }
        namespaces(spec, &facts);
        paths(&spec["linux"], &facts);
        devices(&spec["linux"], &facts);
        for (name, value) in object(&spec["linux"]["sysctl"]) {
            assert_eq!(words(&facts["sysctl"][name]), words(value), "sysctl {name}: {}", facts["sysctl"]);
        }
        if spec["root"]["readonly"] == true {
            assert!(has_option(mount_on(&facts, "/"), "ro"), "root: {}", mount_on(&facts, "/"));
        }
        facts
    }

    /// What runs is what the file asks for, as the kernel sees it from the outside.
    fn audit_running(self) -> Self {
        if integration::is_peer() || self.spec()["process"]["terminal"] == true {
            return self;
        }
        let this = self.args(&["/probe", "sleep"]);
        let container = this.runtime.start_ready(&this.bundle);
        let _ = container.audit().finds_nothing();
        container.kill_and_delete();
        drop(container);
        this
    }

    fn facts_on_a_terminal(&self) -> Value {
        let socket = ConsoleSocket::listen(self.runtime.dir());
        let container = self.runtime.create_with(&self.bundle, |call| call.arg("--console-socket").arg(socket.path()));
        let (master, _) = socket.receive();
        if !integration::is_peer() {
            let _ = container.audit().finds_nothing();
        }
        container.start();
        let mut pty = Pty::of(master);
        let text = pty.to_end().to_owned();
        let _ = container.wait();
        let start = text.find('{').unwrap_or_else(|| panic!("no facts in {text:?}"));
        let facts = text.get(start..).unwrap_or_default().trim_end();
        serde_json::from_str(facts).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }
}

/// `bundles/engines/NAME.json`
fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/engines").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Applies `change` to every string of a JSON value.
fn replace(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, change)),
        Value::Object(map) => map.values_mut().for_each(|value| replace(value, change)),
        _ => {}
    }
}

/// A file of the host that is to be mounted, or a directory with one file in it.
fn source(host: &Path, name: &str) -> PathBuf {
    let path = host.join(name);
    if matches!(name, "data" | "o" | "vol" | "shm") {
        fs::create_dir_all(&path).expect("a directory");
        fs::write(path.join("file"), format!("file of {name}")).expect("a file");
    } else {
        fs::write(&path, format!("host's {name}")).expect("a file");
    }
    path
}

/// As engines do it: a root file system for a user namespace belongs to its root.
fn own(path: &Path) {
    chown(path, Some(MAPPED), Some(MAPPED)).expect("chown");
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        own(&entry.path());
    }
}

/// A container whose namespaces others join.
fn neighbour(runtime: &Runtime, mapped: bool) -> (Bundle, Container<'_>) {
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let bundle = if mapped { bundle.mapped() } else { bundle };
    if mapped {
        own(&bundle.rootfs());
    }
    let container = runtime.start_ready(&bundle);
    (bundle, container)
}

fn check_beside(name: &str, mapped: bool) -> Value {
    let runtime = Runtime::new();
    let (_bundle, container) = neighbour(&runtime, mapped);
    Engine::with_neighbour(name, Some(&container)).check()
}

fn check_filtered_beside(name: &str, mapped: bool) -> Value {
    let runtime = Runtime::new();
    let (_bundle, container) = neighbour(&runtime, mapped);
    Engine::with_neighbour(name, Some(&container)).filtered("containerd").check()
}

#[test]
fn containerd_runs_a_plain_container() {
    let facts = Engine::new("containerd-plain").check();
    assert_eq!(facts["no_new_privs"], true);
}

#[test]
fn containerd_gets_a_terminal() {
    let facts = Engine::new("containerd-terminal").check();
    assert_eq!(facts["tty"][0]["name"], "/dev/pts/0");
}

#[test]
fn containerd_privileged_has_every_capability_and_the_hosts_devices() {
    let facts = Engine::new("containerd-privileged").check();
    assert!(strings(&facts["capabilities"]["effective"]).contains(&"CAP_SYS_ADMIN"));
    assert!(!has_option(mount_on(&facts, "/sys"), "ro"), "{}", mount_on(&facts, "/sys"));
    assert_eq!(facts["dev"]["loop-control"]["type"], "char");
}

#[test]
fn containerd_passes_variables_and_mounts() {
    let facts = Engine::new("containerd-env-and-mounts").check();
    assert_eq!(facts["env"].get(1), Some(&json!("A=1")));
    let read = Engine::new("containerd-env-and-mounts").answer(&["/probe", "read", "/data/file"]);
    assert_eq!(read, json!({ "text": "file of data" }));
    let write = Engine::new("containerd-env-and-mounts").answer(&["/probe", "write", "/data/new", "text"]);
    assert_eq!(write, json!({ "error": "EROFS" }));
}

#[test]
fn containerd_maps_ids_in_a_user_namespace() {
    let facts = Engine::new("containerd-user-namespace").check();
    assert_eq!(facts["uid_map"], json!([[0, MAPPED, 65_536]]));
}

#[test]
fn containerd_runs_as_another_user() {
    let facts = Engine::new("containerd-user").check();
    assert_eq!((&facts["uid"], &facts["groups"]), (&json!(1000), &json!([1000])));
}

#[test]
fn containerd_gives_a_read_only_root_a_cwd_and_a_hostname() {
    let engine = Engine::new("containerd-read-only");
    // The working directory is made where it is missing; here the root can't be written.
    fs::create_dir(engine.bundle.rootfs().join("tmp")).expect("a directory");
    for made in ["proc", "dev", "sys", "run"] {
        fs::create_dir(engine.bundle.rootfs().join(made)).expect("a directory");
    }
    let facts = engine.check();
    assert_eq!((&facts["cwd"], &facts["hostname"]), (&json!("/tmp"), &json!("box")));
}

#[test]
fn containerd_adds_a_device_and_capabilities() {
    let facts = Engine::new("containerd-device-and-capabilities").check();
    let effective = strings(&facts["capabilities"]["effective"]);
    assert!(effective.contains(&"CAP_SYS_ADMIN") && !effective.contains(&"CAP_MKNOD"), "{effective:?}");
    assert_eq!(facts["dev"]["fuse"]["minor"], 229);
    let opened = Engine::new("containerd-device-and-capabilities").answer(&["/probe", "open-dev", "/dev/fuse"]);
    assert_ne!(opened["read"], "EPERM", "the cgroup lets the device be opened");
}

#[test]
fn containerd_shares_the_hosts_network() {
    let facts = Engine::new("containerd-host-network").check();
    assert_eq!(mount_on(&facts, "/etc/resolv.conf")["target"], "/etc/resolv.conf");
}

/// `ctr run --seccomp`
#[test]
fn containerd_filters_system_calls() {
    let facts = Engine::new("containerd-plain").filtered("containerd").check();
    assert_eq!(facts["no_new_privs"], true);
    let facts = Engine::new("containerd-device-and-capabilities").filtered("containerd-sys-admin").check();
    assert_eq!(facts["no_new_privs"], false);
}

/// A pod's `seccompProfile: RuntimeDefault`, beside its sandbox: in its pid namespace, without
/// `no_new_privs`, with one capability, in its user namespace.
#[test]
fn a_cri_container_has_the_default_profile() {
    for (name, mapped) in [("cri-container", false), ("cri-security-context", false), ("cri-user-namespace", true)] {
        let _ = check_filtered_beside(name, mapped);
    }
    let _ = check_filtered_beside("cri-sandbox", false);
}

#[test]
fn a_cri_sandbox_joins_a_network_namespace_and_sets_its_sysctls() {
    let facts = check_beside("cri-sandbox", false);
    assert_eq!(facts["sysctl"]["net.ipv4.ip_unprivileged_port_start"], "0");
}

#[test]
fn a_cri_sandbox_of_a_host_network_pod_keeps_the_hosts_name() {
    let facts = Engine::new("cri-sandbox-host-network").check();
    let ours = fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname");
    assert_eq!(facts["hostname"], ours.trim_end());
}

#[test]
fn a_cri_container_joins_the_namespaces_of_its_sandbox() {
    let facts = check_beside("cri-container", false);
    assert_ne!(facts["pid"], 1);
    assert_eq!(facts["pids"].get(0), Some(&json!(1)), "the sandbox's own process is seen");
}

#[test]
fn a_cri_security_context_gives_user_groups_and_one_capability() {
    let facts = check_beside("cri-security-context", false);
    assert_eq!((&facts["uid"], &facts["groups"]), (&json!(1000), &json!([1000, 2000])));
    assert_eq!(facts["capabilities"]["bounding"], json!(["CAP_NET_ADMIN"]));
    assert_eq!(facts["no_new_privs"], true);
}

#[test]
fn a_cri_container_joins_the_user_namespace_of_its_sandbox() {
    let facts = check_beside("cri-user-namespace", true);
    assert_eq!(facts["uid_map"], json!([[0, MAPPED, 65_536]]));
    assert_eq!(facts["uid"], 0);
}

#[test]
fn a_privileged_cri_container_has_every_capability_and_the_hosts_devices() {
    let facts = check_beside("cri-privileged", false);
    assert!(strings(&facts["capabilities"]["effective"]).contains(&"CAP_SYS_ADMIN"));
    assert_eq!(facts["dev"]["loop-control"]["type"], "char");
    assert!(!has_option(mount_on(&facts, "/sys"), "ro"), "{}", mount_on(&facts, "/sys"));
}

#[test]
fn podman_runs_a_plain_container() {
    let facts = Engine::new("podman-plain").check();
    assert_eq!(facts["sysctl"]["net.ipv4.ping_group_range"], "0\t0");
    let hostname = Engine::new("podman-plain").answer(&["/probe", "read", "/etc/hostname"]);
    assert_eq!(hostname, json!({ "text": "host's hostname" }));
}

#[test]
fn podman_gets_a_terminal() {
    let facts = Engine::new("podman-terminal").check();
    assert_eq!(facts["tty"][0]["name"], "/dev/pts/0");
}

#[test]
fn podman_read_only_leaves_scratch_space_writable() {
    let engine = Engine::new("podman-read-only");
    let targets: Vec<String> =
        list(&engine.spec()["mounts"]).map(|m| m["destination"].as_str().expect("a destination").to_owned()).collect();
    for target in ["/tmp", "/run", "/var/tmp"] {
        assert!(targets.iter().any(|t| t == target), "{targets:?}");
    }
    let facts = engine.check();
    for target in ["/tmp", "/run", "/var/tmp"] {
        assert!(!has_option(mount_on(&facts, target), "ro"), "{}", mount_on(&facts, target));
    }
}

#[test]
fn podman_runs_as_another_user_with_another_group() {
    let facts = Engine::new("podman-user").check();
    assert_eq!((&facts["uid"], &facts["gid"]), (&json!(1000), &json!(1000)));
    assert!(list(&facts["groups"]).any(|group| *group == 2000), "{}", facts["groups"]);
}

#[test]
fn podman_mounts_volumes() {
    let facts = Engine::new("podman-volumes").check();
    assert!(has_option(mount_on(&facts, "/o"), "noexec") && !has_option(mount_on(&facts, "/o"), "ro"));
    let write = Engine::new("podman-volumes").answer(&["/probe", "write", "/data/new", "text"]);
    assert_eq!(write, json!({ "error": "EROFS" }));
}

#[test]
fn podman_mounts_a_tmpfs_of_the_size_asked_for() {
    let facts = Engine::new("podman-tmpfs").check();
    assert!(strings(&mount_on(&facts, "/scratch")["super_options"]).contains(&"size=1024k"));
}

#[test]
fn podman_maps_ids_in_a_user_namespace() {
    let facts = Engine::new("podman-user-namespace").check();
    assert_eq!(facts["gid_map"], json!([[0, MAPPED, 65_536]]));
}

/// `--volume SOURCE:/data:idmap`: what is root's on the host is root's in the container.
#[test]
fn podman_mounts_a_volume_with_mapped_ids() {
    let _ = Engine::new("podman-idmapped-volume").check();
    let stat = Engine::new("podman-idmapped-volume").answer(&["/probe", "stat", "/data/file"]);
    assert_eq!((&stat["uid"], &stat["gid"]), (&json!(0), &json!(0)));
}

#[test]
fn podman_privileged_has_every_capability_and_the_hosts_devices() {
    let facts = Engine::new("podman-privileged").check();
    assert!(strings(&facts["capabilities"]["effective"]).contains(&"CAP_SYS_ADMIN"));
    assert!(!has_option(mount_on(&facts, "/sys/fs/cgroup"), "ro"));
}

#[test]
fn podman_sets_variables_sysctls_limits_and_one_capability() {
    let facts = Engine::new("podman-env-sysctl-and-limits").check();
    assert_eq!(facts["sysctl"]["net.ipv4.ip_forward"], "1");
    assert_eq!(facts["capabilities"]["effective"], json!(["CAP_NET_ADMIN"]));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!({ "soft": 100, "hard": 200 }));
}

/// `--device /dev/fuse:/dev/myfuse:r`
#[test]
fn podman_lets_a_device_be_read_and_not_written() {
    let facts = Engine::new("podman-device").check();
    assert_eq!(facts["dev"]["myfuse"]["minor"], 229);
    let opened = Engine::new("podman-device").answer(&["/probe", "open-dev", "/dev/myfuse"]);
    assert_ne!(opened["read"], "EPERM");
    assert_eq!(opened["write"], "EPERM");
}

#[test]
fn podman_shares_the_hosts_namespaces() {
    let facts = Engine::new("podman-host-namespaces").check();
    assert_ne!(facts["pid"], 1);
}

#[test]
fn podman_sets_umask_oom_score_and_masks_of_its_own() {
    let facts = Engine::new("podman-umask-and-masks").check();
    assert_eq!((&facts["umask"], &facts["oom_score_adj"]), (&json!("0077"), &json!(100)));
    assert!(!list(&facts["mounts"]).any(|mount| mount["target"] == "/proc/acpi"), "/proc/acpi was unmasked");
}

#[test]
fn podman_joins_the_namespaces_of_another_container() {
    let facts = check_beside("podman-joined-namespaces", false);
    assert_eq!(facts["pids"].get(0), Some(&json!(1)), "the other container's process is seen");
}

#[test]
fn podman_joins_the_user_namespace_of_another_container() {
    let facts = check_beside("podman-joined-user-namespace", true);
    assert_eq!(facts["uid_map"], json!([[0, MAPPED, 65_536]]));
}

#[test]
fn docker_runs_a_plain_container() {
    let facts = Engine::new("docker-plain").check();
    assert_eq!(facts["sysctl"]["net.ipv4.ip_unprivileged_port_start"], "0");
}

#[test]
fn docker_gets_a_terminal() {
    let facts = Engine::new("docker-terminal").check();
    assert_eq!(facts["tty"][0]["name"], "/dev/pts/0");
}

#[test]
fn docker_runs_as_another_user_with_other_capabilities() {
    let facts = Engine::new("docker-user").check();
    let bounding = strings(&facts["capabilities"]["bounding"]);
    assert!(bounding.contains(&"CAP_NET_ADMIN") && !bounding.contains(&"CAP_CHOWN"), "{bounding:?}");
    assert_eq!((&facts["uid"], &facts["no_new_privs"]), (&json!(1000), &json!(true)));
}

#[test]
fn docker_read_only_leaves_a_tmpfs_writable() {
    let facts = Engine::new("docker-read-only").check();
    assert!(!has_option(mount_on(&facts, "/scratch"), "ro"));
}

#[test]
fn docker_privileged_has_every_capability_and_the_hosts_devices() {
    let facts = Engine::new("docker-privileged").check();
    assert!(strings(&facts["capabilities"]["effective"]).contains(&"CAP_SYS_ADMIN"));
    assert_eq!(facts["dev"]["loop-control"]["type"], "char");
}

/// Docker asks for `rro`: read-only with all that is mounted below.
#[test]
fn docker_mounts_volumes() {
    let facts = Engine::new("docker-volumes").check();
    assert!(has_option(mount_on(&facts, "/data"), "ro") && !has_option(mount_on(&facts, "/vol"), "ro"));
}

#[test]
fn docker_mounts_its_init() {
    let facts = Engine::new("docker-init").check();
    assert!(has_option(mount_on(&facts, "/sbin/docker-init"), "ro"));
}

#[test]
fn docker_shares_the_hosts_namespaces() {
    let facts = Engine::new("docker-host-namespaces").check();
    assert_ne!(facts["pid"], 1);
}

#[test]
fn docker_sets_names_sysctls_limits_and_oom_score() {
    let facts = Engine::new("docker-sysctl-and-limits").check();
    assert_eq!((&facts["hostname"], &facts["oom_score_adj"]), (&json!("box"), &json!(100)));
    assert_eq!(facts["sysctl"]["net.ipv4.ip_forward"], "1");
}

#[test]
fn docker_joins_the_namespaces_of_another_container() {
    let facts = check_beside("docker-joined-namespaces", false);
    assert_ne!(facts["pid"], 1);
}

/// `exec --process` with what an engine writes, in the engine's own plain container.
fn check_exec(container: &str, process_file: &str) {
    let engine = Engine::new(container).args(&["/probe", "sleep"]);
    let bundle = engine.bundle.with_dir("/tmp");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/engines").join(process_file);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let asked: Value = serde_json::from_str(&text).expect("JSON");
    let container = engine.runtime.start_ready(&bundle);
    let options = ["--process", file.to_str().expect("UTF-8")];
    let facts = container.exec_with(options, std::iter::empty::<&str>()).json();
    process(&asked, &facts);
    filter(bundle.spec(), &facts);
    assert_eq!(facts["uid"], 1000);
    assert!(list(&facts["pids"]).any(|pid| *pid == 1), "the container's process is seen: {}", facts["pids"]);
}

#[test]
fn containerd_executes_as_another_user() {
    check_exec("containerd-plain", "containerd-exec.json");
}

#[test]
fn podman_executes_as_another_user() {
    check_exec("podman-plain", "podman-exec.json");
}

#[test]
fn docker_executes_as_another_user() {
    check_exec("docker-plain", "docker-exec.json");
}

/// `privileged: true` of a pod asks for a cgroup tree that can be written, without a cgroup
/// namespace: agents of the node depend on it.
#[test]
fn a_privileged_cri_container_may_write_the_cgroup_tree() {
    let facts = check_beside("cri-privileged", false);
    let mount = mount_on(&facts, "/sys/fs/cgroup");
    assert!(!has_option(mount, "ro"), "asked for: rw, {mount}");
}

/// The default capabilities of engines hold CAP_FOWNER: what covers a masked file must not be the
/// host's own /dev/null, or must not be writable as a file, else `chmod 0 /proc/keys` changes the
/// host's device.
#[test]
fn a_masked_file_is_no_way_to_the_hosts_null_device() {
    let changed = || {
        let meta = fs::metadata("/dev/null").expect("/dev/null");
        (meta.ctime(), meta.ctime_nsec())
    };
    let before = changed();
    // The mode that it has: should this succeed on the host's device, no harm is done.
    let _ = Engine::new("podman-plain").answer(&["/probe", "chmod", "0666", "/proc/timer_list"]);
    assert_eq!(changed(), before, "the host's /dev/null was changed from inside");
}
