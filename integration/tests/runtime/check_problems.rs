//! `check`: each problem that a bundle can have, one at a time, is found and has its place.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use integration::{Bundle, Runtime, not_on_peer};
use serde_json::json;

use crate::check::{Answer, assert_problem, assert_runs, check, mapped};

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
    let reported = warnings(&bundle);
    assert!(
        reported.len() == 1
            && reported[0].contains("linux.seccomp.listenerPath")
            && reported[0].contains("nobody listens"),
        "{reported:?}"
    );
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a listener");
    assert_eq!(warnings(&bundle), Vec::<String>::new());
    drop(listener);
    let reported = warnings(&Bundle::new().set("/linux/sysctl", json!({ "net.no.such": "1" })));
    assert!(reported.len() == 1 && reported[0].contains("linux.sysctl[\"net.no.such\"]"), "{reported:?}");
}
