//! `cleat audit`: finds nothing where a container is what was asked for, and each way of tampering.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Stdio};

use integration::{Bundle, Container, Runtime, not_on_peer, note, require_controllers, skip};
use serde_json::{Value, json};

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// The root file system of a mapped container belongs to its root.
fn mapped(bundle: Bundle) -> Bundle {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle.mapped()
}

/// A filter that forbids one call.
fn filtered(bundle: Bundle) -> Bundle {
    let rule = json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }]);
    bundle.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule }))
}

fn audited(container: &Container<'_>) -> Value {
    container.audit().finds_nothing().report().clone()
}

/// Before the start, running, paused, and with a second process.
fn is_as_asked(bundle: &Bundle) {
    let runtime = Runtime::new();
    let container = runtime.create(bundle);
    let report = audited(&container);
    assert_eq!((&report["status"], &report["pid"]), (&json!("created"), &json!(container.pid())));
    container.start();
    container.wait_for_line("ready");
    assert_eq!(audited(&container)["status"], "running");
    let second = container.exec_detached(["--user", "7:7"], ["/probe", "sleep"]);
    let report = audited(&container);
    assert_eq!(report["processes"], json!([container.pid(), second.pid()]), "{report:#}");
    let _ = container.call(["pause"]).outcome().ok();
    assert_eq!(audited(&container)["status"], "paused");
    let _ = container.call(["resume"]).outcome().ok();
}

#[test]
fn nothing_is_found_in_a_container_as_it_was_asked_for() {
    not_on_peer!("they have no audit");
    is_as_asked(&sleeper());
}

#[test]
fn nothing_is_found_in_a_user_namespace() {
    not_on_peer!("they have no audit");
    is_as_asked(&mapped(sleeper()));
}

#[test]
fn nothing_is_found_with_a_filter() {
    not_on_peer!("they have no audit");
    is_as_asked(&filtered(sleeper()));
    is_as_asked(&filtered(sleeper()).set("/process/noNewPrivileges", json!(false)));
}

#[test]
fn nothing_is_found_with_names_parameters_and_clocks() {
    not_on_peer!("they have no audit");
    let bundle = sleeper()
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "9000" }))
        .set("/domainname", json!("domain"))
        .namespace(json!({ "type": "time" }))
        .set("/linux/timeOffsets", json!({ "monotonic": { "secs": 100, "nanosecs": 5 }, "boottime": { "secs": -7 } }))
        .set("/process/oomScoreAdj", json!(300))
        .set("/process/user", json!({ "uid": 5, "gid": 6, "umask": 0o77, "additionalGids": [8, 9] }))
        .set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "hard": 99, "soft": 98 }]));
    let runtime = Runtime::new();
    let container = runtime.start_ready(&bundle);
    let audit = container.audit().finds_nothing();
    for place in [
        "linux.sysctl[\"net.ipv4.ip_forward\"]",
        "linux.sysctl[\"kernel.msgmax\"]",
        "hostname",
        "domainname",
        "linux.timeOffsets.monotonic",
        "linux.timeOffsets.boottime",
        "process.oomScoreAdj",
        "process.user.uid",
        "process.user.gid",
        "process.user.umask",
        "process.user.additionalGids",
        "process.rlimits[0]",
        "process.noNewPrivileges",
        "linux.cgroupsPath",
        "root.readonly",
        "config.json",
    ] {
        assert!(audit.holds(place), "{place}: {:#}", audit.report());
    }
}

#[test]
fn nothing_is_found_in_joined_namespaces() {
    not_on_peer!("they have no audit");
    let runtime = Runtime::new();
    let (other, bundle) = (sleeper(), sleeper());
    let neighbour = runtime.start_ready(&other);
    let join = |bundle: Bundle, kind: &str, file: &str| {
        bundle.namespace(json!({ "type": kind, "path": neighbour.proc(&format!("ns/{file}")) }))
    };
    let bundle = join(join(join(bundle, "network", "net"), "ipc", "ipc"), "pid", "pid");
    is_as_asked(&bundle);
    let shared = sleeper().without_namespace("network").without_namespace("pid").without_namespace("cgroup");
    let shared = shared.without("/hostname").without_namespace("uts");
    is_as_asked(&shared);
}

#[test]
fn nothing_is_found_in_mounts_of_all_kinds() {
    not_on_peer!("they have no audit");
    let bundle = sleeper().with_dir("/real").with_link("/link", "/real");
    for name in ["volume", "tree"] {
        fs::create_dir_all(bundle.dir().join(name)).expect("a directory");
    }
    let (volume, tree, file) = (bundle.dir().join("volume"), bundle.dir().join("tree"), bundle.dir().join("file"));
    fs::write(&file, "file").expect("a file");
    let bundle = bundle
        .bind(&volume, "/link", &["rbind", "ro", "nosuid", "nodev", "noexec"])
        .bind(&tree, "/tree", &["rbind", "rro", "rnosuid", "private"])
        .bind(&file, "/file", &["bind", "ro"])
        .bind(&volume, "/twice", &["bind"])
        .bind(&tree, "/twice", &["bind", "ro"])
        .mount(json!({ "destination": "/own", "type": "tmpfs", "source": "own", "options": ["noatime", "nodev"] }))
        .mount(json!({ "destination": "/own", "type": "none", "options": ["remount", "ro"] }))
        .set("/linux/maskedPaths", json!(["/proc/kcore", "/sys/firmware", "/proc/no-such-file", "/twice"]))
        .set("/root/readonly", json!(false));
    is_as_asked(&bundle);
    let runtime = Runtime::new();
    let container = runtime.create_with(&bundle, |call| call.arg("--no-pivot"));
    container.start();
    container.wait_for_line("ready");
    let _ = audited(&container);
}

/// What a user may look at, in the user's own container.
#[test]
fn nothing_is_found_in_an_ordinary_users_container() {
    not_on_peer!("they have no audit");
    let runtime = Runtime::as_user();
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let container = runtime.create(&bundle);
    let _ = audited(&container);
    container.start();
    container.wait_for_line("ready");
    let audit = container.audit().finds_nothing();
    // Nobody but root may load a device program.
    assert!(audit.not_checked().contains(&"linux.resources.devices"), "{:#}", audit.report());
    assert!(audit.holds("process.capabilities.bounding") && audit.holds("linux.uidMappings"), "{:#}", audit.report());
}

#[test]
fn what_cannot_be_audited_is_another_exit_code() {
    not_on_peer!("they have no audit");
    let runtime = Runtime::new();
    let _ = runtime.call(["audit", "nobody"]).outcome().fails(2, "audit nobody: container does not exist");
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let text = container.call(["audit"]).outcome().ok().stdout;
    assert!(text.contains("no difference") && text.contains(container.id()), "{text}");
    container.kill("KILL");
    let _ = container.wait();
    let _ = container.call(["audit"]).outcome().fails(2, "container not running");
}

/// A program of the host, in some of the container's namespaces, with all privileges.
fn from_host(container: &Container<'_>, namespaces: &[&str], program: &[&str]) -> String {
    let pid = container.pid().to_string();
    let output = Command::new("nsenter").args(["--target", &pid]).args(namespaces).args(program).output();
    let output = output.expect("nsenter");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("error"), "{program:?}: {text}");
    text
}

/// The place of a path in one of the lists of `linux`.
fn place_in(bundle: &Bundle, list: &str, path: &str) -> String {
    let all = bundle.spec()["linux"][list].as_array().expect("a list");
    format!("linux.{list}[{}]", all.iter().position(|known| known == path).expect("the path"))
}

fn options_at(bundle: &Bundle, target: &str) -> String {
    let all = bundle.spec()["mounts"].as_array().expect("mounts");
    format!("mounts[{}].options", all.iter().position(|mount| mount["destination"] == target).expect("the mount"))
}

/// Where a difference is reported.
type Place = fn(&Bundle) -> String;

/// Each of these changes what holds in a container that runs, from the outside.
#[test]
fn each_mount_that_was_tampered_with_is_found() {
    not_on_peer!("they have no audit");
    let cases: [(&[&str], Place); 9] = [
        (&["remount", "/"], |_| "root.readonly".to_owned()),
        (&["unmount", "/proc/version"], |bundle| place_in(bundle, "maskedPaths", "/proc/version")),
        (&["unmount", "/sys/kernel"], |bundle| place_in(bundle, "maskedPaths", "/sys/kernel")),
        (&["bind", "/proc", "/sys/kernel"], |bundle| place_in(bundle, "maskedPaths", "/sys/kernel")),
        (&["unmount", "/proc/sys"], |bundle| place_in(bundle, "readonlyPaths", "/proc/sys")),
        (&["remount", "/proc/irq"], |bundle| place_in(bundle, "readonlyPaths", "/proc/irq")),
        (&["remount", "/dev/shm", "nodev", "noexec"], |bundle| options_at(bundle, "/dev/shm")),
        (&["unmount", "/dev/mqueue"], |bundle| {
            options_at(bundle, "/dev/mqueue").trim_end_matches(".options").to_owned()
        }),
        (&["mount-tmpfs", "/extra"], |_| "mounts".to_owned()),
    ];
    let runtime = Runtime::new();
    for (tamper, place) in cases {
        let masked = json!(["/proc/version", "/sys/kernel"]);
        let bundle = sleeper().with_dir("/extra").set("/linux/maskedPaths", masked);
        let container = runtime.start_ready(&bundle);
        let _ = container.audit().finds_nothing();
        let _ = from_host(&container, &["--mount"], &[&["/probe"], tamper].concat());
        note!("{tamper:?}");
        let _ = container.audit().finds(&[&place(&bundle)]);
    }
}

#[test]
fn a_parameter_that_was_changed_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper().set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })));
    let container = runtime.start_ready(&bundle);
    let change = "echo 0 >/proc/sys/net/ipv4/ip_forward";
    let _ = from_host(&container, &["--net"], &["sh", "-c", change]);
    let _ = container.audit().finds(&["linux.sysctl[\"net.ipv4.ip_forward\"]"]);
}

#[test]
fn a_name_that_was_changed_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let _ = from_host(&container, &["--uts"], &["hostname", "another"]);
    let _ = container.audit().finds(&["hostname"]);
}

#[test]
fn an_oom_score_that_was_lowered_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper().set("/process/oomScoreAdj", json!(500)));
    let container = runtime.start_ready(&bundle);
    fs::write(container.proc("oom_score_adj"), "100").expect("oom_score_adj");
    let _ = container.audit().finds(&["process.oomScoreAdj"]);
    // The other way it may have gone itself.
    fs::write(container.proc("oom_score_adj"), "600").expect("oom_score_adj");
    assert_eq!(container.audit().finds_nothing().own_right(), ["process.oomScoreAdj"]);
}

#[test]
fn a_limit_that_was_raised_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let pid = container.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--nofile=2000:2000"]).output().expect("prlimit");
    if !raised.status.success() {
        assert!(!integration::in_guest(), "{raised:?}");
        skip(format!("prlimit(1): {}", String::from_utf8_lossy(&raised.stderr).trim()));
    }
    let _ = container.audit().finds(&["process.rlimits[0]"]);
}

#[test]
fn a_process_that_left_the_cgroup_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let second = container.exec_detached::<[&str; 0], _>([], ["/probe", "sleep"]);
    let _ = container.audit().finds_nothing();
    for pid in [container.pid(), second.pid()] {
        let home = bundle.cgroup().join("cgroup.procs");
        fs::write(integration::cgroup_root().join("cgroup.procs"), pid.to_string()).expect("cgroup.procs");
        let audit = container.audit().finds(&["linux.cgroupsPath"]);
        assert_eq!(audit.report()["differences"][0]["pid"], pid, "{:#}", audit.report());
        fs::write(home, pid.to_string()).expect("cgroup.procs");
    }
    let _ = container.audit().finds_nothing();
}

#[test]
fn a_cgroup_limit_that_was_changed_is_found() {
    not_on_peer!("they have no audit");
    let limit = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
    let (runtime, bundle) = (Runtime::new(), sleeper().set("/linux/resources/hugepageLimits", limit));
    let container = runtime.start_ready(&bundle);
    let audit = container.audit().finds_nothing();
    assert!(audit.holds("linux.resources.hugepageLimits[0]"), "{:#}", audit.report());
    fs::write(bundle.cgroup().join("hugetlb.2MB.max"), "max").expect("hugetlb.2MB.max");
    let _ = container.audit().finds(&["linux.resources.hugepageLimits[0]"]);
}

/// The same of controllers that hybrid hosts do not have here.
#[test]
fn limits_of_memory_and_processes_that_were_changed_are_found() {
    not_on_peer!("they have no audit");
    require_controllers(&["memory", "pids", "cpu"]);
    let bundle = sleeper()
        .set("/linux/resources/memory", json!({ "limit": (64 << 20) + 5, "reservation": 32 << 20 }))
        .set("/linux/resources/pids", json!({ "limit": 50 }))
        .set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 100_000, "shares": 512 }));
    let runtime = Runtime::new();
    let container = runtime.start_ready(&bundle);
    let _ = container.audit().finds_nothing();
    for (file, text) in [("memory.max", "max"), ("pids.max", "51"), ("cpu.max", "60000 100000")] {
        fs::write(bundle.cgroup().join(file), text).expect(file);
    }
    let cpu = "linux.resources.cpu.quota";
    let _ = container.audit().finds(&[cpu, "linux.resources.memory.limit", "linux.resources.pids.limit"]);
    let _ = container.call(["update", "--memory", "32m"]).outcome().ok();
    let _ = container.audit().finds(&[cpu, "linux.resources.pids.limit"]);
}

/// What `update` has changed is what is asked for from then on.
#[test]
fn what_update_has_changed_is_asked_for() {
    not_on_peer!("they have no audit");
    let limit = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
    let (runtime, bundle) = (Runtime::new(), sleeper().set("/linux/resources/hugepageLimits", limit));
    let container = runtime.start_ready(&bundle);
    let other = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 8 << 20 }] });
    let _ = container.call(["update", "--resources", "-"]).stdin(other.to_string()).outcome().ok();
    let audit = container.audit().finds_nothing();
    assert!(audit.holds("linux.resources.hugepageLimits[0]"), "{:#}", audit.report());
}

#[test]
fn a_device_program_that_was_exchanged_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let cgroup = fs::File::open(bundle.cgroup()).expect("the cgroup");
    let programs = cleat::sys::device_programs(cgroup.as_fd()).expect("device programs");
    let [own] = programs.as_slice() else { panic!("{programs:?}") };
    // w0 = 1; exit
    let allow = [0xb4, 0x95].map(|code| cleat::sys::Insn { code, imm: i32::from(code == 0xb4), ..Default::default() });
    let other = cleat::sys::load_device_program(&allow).expect("a device program");
    cleat::sys::attach_device_program(cgroup.as_fd(), other.as_fd(), Some(own.as_fd())).expect("another one");
    let _ = container.audit().finds(&["linux.resources.devices"]);
    // Beside its own another one takes nothing away.
    cleat::sys::attach_device_program(cgroup.as_fd(), own.as_fd(), None).expect("its own");
    let _ = container.audit().finds_nothing();
    cleat::sys::detach_device_program(cgroup.as_fd(), other.as_fd()).expect("detached");
    cleat::sys::detach_device_program(cgroup.as_fd(), own.as_fd()).expect("detached");
    let audit = container.audit().finds(&["linux.resources.devices"]);
    assert_eq!(audit.report()["differences"][0]["found"], "none");
}

/// A process that has entered from the host; killed and reaped when it leaves scope.
struct Intruder(Child);

impl Intruder {
    /// In the cgroup, and with `nsenter OPTIONS`.
    fn new(container: &Container<'_>, bundle: &Bundle, options: &[&str]) -> Intruder {
        let (procs, pid) = (bundle.cgroup().join("cgroup.procs"), container.pid().to_string());
        let enter = format!("echo $$ >{} && exec nsenter --target {pid} \"$@\"", procs.display());
        let mut call = Command::new("sh");
        let call = call.args(["-c", &enter, "sh"]).args(options).args(["/probe", "sleep"]).stdout(Stdio::piped());
        let mut child = call.spawn().expect("nsenter");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("its output");
        let _ = BufReader::new(out).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Intruder(child)
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_without_the_filter_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), filtered(sleeper()));
    let container = runtime.start_ready(&bundle);
    let _intruder =
        Intruder::new(&container, &bundle, &["--mount", "--net", "--ipc", "--uts", "--cgroup", "--no-fork"]);
    let audit = container.audit().finds(&["linux.namespaces[0]", "linux.seccomp"]);
    // It has every capability; that a process which joins may have, as far as config.json says.
    assert!(audit.own_right().contains(&"process.capabilities.bounding"), "{:#}", audit.report());
}

#[test]
fn a_process_in_the_hosts_namespaces_is_found() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let _intruder = Intruder::new(&container, &bundle, &["--mount"]);
    let all = bundle.spec()["linux"]["namespaces"].as_array().expect("namespaces").clone();
    let other = |index: &usize| all[*index]["type"] != "mount";
    let places: Vec<String> = (0..all.len()).filter(other).map(|index| format!("linux.namespaces[{index}]")).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let _ = container.audit().finds(&places);
}

/// More was asked for than is: config.json was edited when the container was there already.
#[test]
fn a_container_that_has_more_than_its_config_json_says_is_found() {
    not_on_peer!("they have no audit");
    let runtime = Runtime::new();
    let bundle = filtered(sleeper().set("/process/noNewPrivileges", json!(false)));
    let bundle = bundle.without("/linux/seccomp").set("/root/readonly", json!(false));
    let container = runtime.start_ready(&bundle);
    let _ = container.audit().finds_nothing();
    let bundle = filtered(bundle)
        .capabilities(&["CAP_KILL"])
        .set("/process/noNewPrivileges", json!(true))
        .set("/process/user/uid", json!(1000))
        .set("/root/readonly", json!(true))
        .set(
            "/linux/resources/devices",
            json!([{ "allow": false, "type": "c", "major": 1, "minor": 3, "access": "w" }]),
        )
        .edit(|spec| spec["linux"]["maskedPaths"].as_array_mut().expect("a list").push(json!("/proc/version")))
        .namespace(json!({ "type": "time" }))
        .mount(json!({ "destination": "/scratch", "type": "tmpfs", "source": "tmpfs" }));
    let scratch = bundle.spec()["mounts"].as_array().expect("mounts").len() - 1;
    let time = bundle.spec()["linux"]["namespaces"].as_array().expect("namespaces").len() - 1;
    let _ = container.audit().finds(&[
        "config.json",
        &place_in(&bundle, "maskedPaths", "/proc/version"),
        &format!("linux.namespaces[{time}]"),
        "linux.resources.devices",
        "linux.seccomp",
        &format!("mounts[{scratch}]"),
        "process.capabilities.bounding",
        "process.capabilities.effective",
        "process.capabilities.permitted",
        "process.noNewPrivileges",
        "process.user.uid",
        "root.readonly",
    ]);
}

/// Who may mount may change mounts: reported, and no difference.
#[test]
fn what_a_container_does_by_its_own_right_is_distinguished() {
    not_on_peer!("they have no audit");
    let runtime = Runtime::new();
    let bundle = mapped(sleeper()).with_dir("/extra").capabilities(&["CAP_SYS_ADMIN"]);
    let bundle = bundle.set("/linux/maskedPaths", json!(["/proc/version"]));
    let container = runtime.start_ready(&bundle);
    assert_eq!(container.audit().own_right(), [] as [&str; 0]);
    assert_eq!(container.exec(["/probe", "mount-tmpfs", "/extra"]).json(), json!({ "ok": true }));
    assert_eq!(container.exec(["/probe", "unmount", "/proc/version"]).json(), json!({ "ok": true }));
    let audit = container.audit();
    assert_eq!(audit.own_right(), ["linux.maskedPaths[0]", "mounts"]);
    // Before the program runs there is nobody whose right it could be.
    let bundle = Bundle::sharing_rootfs_of(&bundle).capabilities(&["CAP_SYS_ADMIN"]);
    let container = runtime.create(&bundle);
    let _ = from_host(&container, &["--mount"], &["/probe", "mount-tmpfs", "/extra"]);
    let _ = container.audit().finds(&["mounts"]);
}

/// `exec --cap` gives more than config.json has, and tells of it nowhere else.
#[test]
fn what_exec_has_given_is_distinguished() {
    not_on_peer!("they have no audit");
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let container = runtime.start_ready(&bundle);
    let second = container.exec_detached(["--cap", "CAP_CHOWN"], ["/probe", "sleep"]);
    let audit = container.audit().finds_nothing();
    let own = audit.report()["ownRight"].as_array().expect("a list");
    assert!(own.iter().all(|difference| difference["pid"] == second.pid()), "{own:?}");
    assert!(audit.own_right().contains(&"process.capabilities.bounding"), "{own:?}");
}
