//! What hostile containers, images and volumes have done to runtimes: each is tried in earnest.
//!
//! A race is tried `CLEAT_TRIES` times (100). What is attacked is always a file or directory of
//! the test's own, the *canary*, or a copy of the runtime: a hole found harms nobody.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use integration::{
    Bundle, ConsoleSocket, Exchange, Outcome, Pty, Runtime, contents, eventually, json_lines, not_on_runc_1_1, note,
    tries,
};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

fn mounts_from<'f>(facts: &'f Value, source: &str) -> Vec<&'f Value> {
    facts["mounts"].as_array().expect("mounts").iter().filter(|m| m["source"] == source).collect()
}

/// A refusal in one line, or a success; never a crash or a hang.
fn refused_or_ok(outcome: &Outcome) {
    assert!([0, 1].contains(&outcome.code()), "{outcome}");
    assert!(outcome.code() == 0 || !outcome.stderr.is_empty(), "no message: {outcome}");
}

// --- CVE-2019-5736: the runtime's own program ---------------------------------------------------

/// Capabilities with which a container can look into every process that it sees.
const ALL: [&str; 5] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_KILL"];

/// The runtime's program, and whatever else it keeps beside it to execute.
struct Programs<'r> {
    dir: &'r Path,
    before: Vec<(String, Vec<u8>)>,
}

impl<'r> Programs<'r> {
    fn of(runtime: &'r Runtime) -> Self {
        let dir = runtime.program().parent().expect("a directory");
        // Once, so that what is made at the first use is there.
        let _ = runtime.run(&Bundle::new().args(["/probe", "exit", "0"])).ok();
        Self { dir, before: contents(dir) }
    }

    /// What a container of `attack-exe` has seen and done.
    fn assert_out_of_reach(&self, attacker: &str) {
        let own: Vec<_> = contents(self.dir).into_iter().map(|(name, _)| self.dir.join(name)).collect();
        for line in json_lines(attacker) {
            let program = &line["program"];
            for file in &own {
                let meta = fs::metadata(file).expect("the runtime's file");
                let reached = program["dev"] == meta.dev() && program["ino"] == meta.ino();
                assert!(!reached, "the container reached {}: {line}", file.display());
            }
            // A container's own program is its own image's affair.
            let is_its_own = program["link"] == "/probe";
            assert!(is_its_own || line["write"] != "written", "wrote to a program that joined it: {line}");
        }
        assert!(contents(self.dir) == self.before, "the runtime's program was changed");
    }
}

/// CVE-2019-5736: an entry point that is `#!/proc/self/exe` executes the runtime inside the
/// container, while an accomplice lies in wait for it; the runtime's file must not be what is
/// executed.
#[test]
fn cve_2019_5736_an_entry_point_that_is_proc_self_exe() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let programs = Programs::of(&runtime);
    let accomplice = Bundle::new().capabilities(&ALL).args(["/probe", "attack-exe", "100000000"]);
    let accomplice = runtime.start_ready(&accomplice);
    let bundle = Bundle::of_workspace("hostile-2019-5736")
        .namespace(json!({ "type": "pid", "path": accomplice.proc("ns/pid") }));
    for _ in 0..tries() / 4 {
        let outcome = runtime.run(&bundle);
        assert!(!outcome.succeeded(), "the init ran a second time: {outcome}");
    }
    let bundle = bundle.args(["/proc/self/exe", "--version"]);
    let outcome = runtime.run(&bundle);
    assert!(!outcome.stdout.contains("version"), "the runtime ran inside the container: {outcome}");
    accomplice.kill("KILL");
    let _ = accomplice.wait();
    programs.assert_out_of_reach(&accomplice.stdout());
}

/// CVE-2019-5736: a container with every capability over its own processes lies in wait for
/// `exec` and opens the program of whatever joins it, to write to it afterwards.
#[test]
fn cve_2019_5736_a_container_that_lies_in_wait_for_exec() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let programs = Programs::of(&runtime);
    let bundle = Bundle::new().capabilities(&ALL).set("/root/readonly", json!(false)).args([
        "/probe",
        "attack-exe",
        "100000000",
    ]);
    let container = runtime.start_ready(&bundle);
    let failed = (0..tries()).map(|_| container.exec(["/probe", "exit", "0"])).find(|outcome| !outcome.succeeded());
    container.kill("KILL");
    let _ = container.wait();
    programs.assert_out_of_reach(&container.stdout());
    let _ = failed.map(Outcome::ok);
}

/// CVE-2019-5736, while the container is made: the pid namespace is the attacker's.
#[test]
fn cve_2019_5736_a_pod_that_lies_in_wait_for_the_next_container() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let programs = Programs::of(&runtime);
    let bundle = Bundle::new().capabilities(&ALL).args(["/probe", "attack-exe", "100000000"]);
    let container = runtime.start_ready(&bundle);
    let next = Bundle::new()
        .namespace(json!({ "type": "pid", "path": container.proc("ns/pid") }))
        .args(["/probe", "exit", "0"]);
    let failed = (0..tries() / 2).map(|_| runtime.run(&next)).find(|outcome| !outcome.succeeded());
    container.kill("KILL");
    let _ = container.wait();
    programs.assert_out_of_reach(&container.stdout());
    let _ = failed.map(Outcome::ok);
}

/// CVE-2019-5736, where the next container in the pod has a user namespace of its own. What is in it belongs to
/// root of the host, and so to a container of root's that sees it, with no capability at all.
#[test]
fn cve_2019_5736_a_pod_that_lies_in_wait_for_a_user_namespace() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let programs = Programs::of(&runtime);
    let bundle = Bundle::new().capabilities(&[]).args(["/probe", "attack-exe", "100000000"]);
    let container = runtime.start_ready(&bundle);
    let next = Bundle::new()
        .mapped()
        .namespace(json!({ "type": "pid", "path": container.proc("ns/pid") }))
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            // One of a pid namespace that is not its own.
            mounts.retain(|m| m["type"] != "proc");
        })
        .without("/linux/maskedPaths")
        .without("/linux/readonlyPaths")
        .args(["/probe", "exit", "0"]);
    for path in [next.rootfs(), next.rootfs().join("probe")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    let failed = (0..tries() / 2).map(|_| runtime.run(&next)).find(|outcome| !outcome.succeeded());
    container.kill("KILL");
    let _ = container.wait();
    programs.assert_out_of_reach(&container.stdout());
    let _ = failed.map(Outcome::ok);
}

// --- links where file systems are mounted ---------------------------------------------------------

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: `/proc` of the image is a link, so that the
/// masks land elsewhere.
#[test]
fn cve_2019_19921_proc_is_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2019-19921");
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("/proc").in_one_line();
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
}

/// CVE-2023-28642: the same with `/sys`.
#[test]
fn cve_2023_28642_sys_is_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_dir("/elsewhere").with_link("/sys", "/elsewhere");
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("/sys").in_one_line();
}

/// CVE-2019-16884: something else than proc is mounted on `/proc`.
#[test]
fn cve_2019_16884_proc_is_not_proc() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().without_mount("/proc").edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.insert(0, json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" }));
    });
    let bundle = bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
    let _ = runtime.try_create(&bundle).expect_err("create succeeds").refused("/proc").in_one_line();
}

/// CVE-2021-30465: a mount's target in a shared volume is exchanged for a link to the host
/// between the check and the mount.
#[test]
fn cve_2021_30465_a_mount_target_that_becomes_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2021-30465");
    let volume = bundle.path().join("volume");
    let _exchange = Exchange::of(volume.join("real"), volume.join("link"));
    let mut mounted = 0;
    for _ in 0..tries() {
        let outcome = runtime.run(&bundle);
        refused_or_ok(&outcome);
        if outcome.succeeded() {
            let facts = outcome.json();
            let ours = mounts_from(&facts, "attack");
            assert_eq!(ours.len(), 1, "the mount is not inside the container's root: {}", facts["mounts"]);
            mounted += 1;
        }
    }
    note!("{mounted} of {} containers came to life", tries());
}

/// CVE-2024-45310: directories that the runtime makes for a mount's target land on the host.
#[test]
fn cve_2024_45310_directories_made_through_a_link() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2024-45310");
    let volume = bundle.path().join("volume");
    let canary = bundle.path().join("canary");
    let _exchange = Exchange::of(volume.join("real"), volume.join("link"));
    for _ in 0..tries() {
        refused_or_ok(&runtime.run(&bundle));
        assert_eq!(contents(&canary), [], "something was made on the host");
    }
}

/// CVE-2019-18837, CVE-2024-45310 without a race: a link that is there from the start stays inside
/// the root.
#[test]
fn a_link_to_the_host_leads_nowhere() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = bundle.dir().join("canary");
    fs::create_dir(&canary).expect("a directory");
    let mount = |destination: &str| json!({ "destination": destination, "type": "tmpfs", "source": "attack" });
    let bundle = bundle
        .with_link("/absolute", &canary)
        .with_link("/relative", format!("{}{}", "../".repeat(20), canary.display()))
        .mount(mount("/absolute/made"))
        .mount(mount("/relative/made/too"));
    let outcome = runtime.run(&bundle);
    refused_or_ok(&outcome);
    assert_eq!(contents(&canary), [], "something was made on the host");
    if outcome.succeeded() {
        assert_eq!(mounts_from(&outcome.json(), "attack").len(), 2);
    }
}

// --- CVE-2024-21626: descriptors and the working directory -----------------------------------------

/// CVE-2024-21626: the cwd is a descriptor of the runtime that leads to the host.
#[test]
fn cve_2024_21626_the_cwd_is_a_leaked_descriptor() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2024-21626");
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    let mut bundle = bundle.args(
        ["/probe".as_ref(), "attack-escape".as_ref(), canary.as_os_str()].map(|a| a.to_string_lossy().into_owned()),
    );
    for fd in 0..24 {
        for cwd in [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../../.."), format!("/proc/1/fd/{fd}")] {
            bundle = bundle.set("/process/cwd", json!(cwd));
            let outcome = runtime.run(&bundle);
            refused_or_ok(&outcome);
            if outcome.succeeded() {
                let seen = outcome.json();
                assert_eq!(seen["open"], json!([]), "{cwd}: a way to the host: {seen}");
            }
        }
    }
}

/// CVE-2024-21626 by `exec --cwd`, and by a link of the image that leads there.
#[test]
fn cve_2024_21626_the_cwd_of_exec_is_a_leaked_descriptor() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    let mut bundle = bundle.args(["/probe", "sleep"]);
    for fd in 3..16 {
        bundle = bundle.with_link(&format!("/cwd{fd}"), format!("/proc/self/fd/{fd}"));
    }
    let container = runtime.start_ready(&bundle);
    for fd in 3..16 {
        for cwd in [format!("/proc/self/fd/{fd}"), format!("/cwd{fd}")] {
            let args = ["/probe".as_ref(), "attack-escape".as_ref(), canary.as_os_str()];
            let outcome = container.exec_with(["--cwd", &cwd], args);
            assert!([0, 255].contains(&outcome.code()), "{outcome}");
            if outcome.succeeded() {
                let seen = outcome.json();
                assert_eq!(seen["open"], json!([]), "{cwd}: a way to the host: {seen}");
            }
        }
    }
}

/// CVE-2024-21626: from an ordinary container no door leads to the host's files: no descriptor, no
/// other process's root or cwd.
#[test]
fn no_door_leads_to_the_host() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN"];
    let bundle = bundle.capabilities(&all).args(
        ["/probe".as_ref(), "attack-escape".as_ref(), canary.as_os_str()]
            .map(|a: &std::ffi::OsStr| a.to_string_lossy().into_owned()),
    );
    let seen = runtime.json(&bundle);
    assert_eq!(seen["open"], json!([]), "{seen}");
    assert!(seen["tried"].as_u64().is_some_and(|n| n > 5), "{seen}");
    assert_eq!(seen["cwd"], "/");
}

// --- /dev ------------------------------------------------------------------------------------------

fn assert_masked_with_null(outcome: &Outcome, what: &str) {
    for stat in json_lines(&outcome.stdout) {
        if stat["error"] == "ENOENT" {
            // This kernel has no such file: there is nothing to mask.
            continue;
        }
        let seen = (&stat["type"], &stat["major"], &stat["minor"]);
        assert_eq!(seen, (&json!("char"), &json!(1), &json!(3)), "{what}: masked with something else: {stat}");
    }
}

/// CVE-2025-31133, CVE-2025-62161: `/dev/null` of the image is a link to a file of the host, to one of the
/// container's, or to nothing. That would be bound, writable, where the mask belongs, or the mask would be left
/// out.
#[test]
fn cve_2025_31133_dev_null_is_a_link() {
    let runtime = Runtime::new();
    for target in [None, Some("/probe"), Some("/proc/sys/kernel/cap_last_cap"), Some("/no/such/file")] {
        let bundle = Bundle::of_workspace("hostile-2025-31133");
        let canary = bundle.path().join("canary");
        let before = fs::read(&canary).expect("the canary");
        if let Some(target) = target {
            fs::remove_file(bundle.rootfs().join("dev/null")).expect("the link of the bundle");
            symlink(target, bundle.rootfs().join("dev/null")).expect("a link");
        }
        let outcome = runtime.run(&bundle);
        refused_or_ok(&outcome);
        assert_masked_with_null(&outcome, "a link from the start");
        assert_eq!(fs::read(&canary).expect("the canary"), before);
    }
}

/// CVE-2025-31133, CVE-2025-62161 as a race: `/dev` is a volume in which null is exchanged all the
/// time, for a link to a file of the container's.
#[test]
fn cve_2025_31133_dev_null_becomes_a_link() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let dev = bundle.dir().join("dev");
    fs::create_dir(&dev).expect("a directory");
    mknodat(CWD, dev.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
        .expect("mknod");
    symlink("/probe", dev.join("evil")).expect("a link");
    let bundle = bundle
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
        })
        .bind(&dev, "/dev", &["bind"])
        .args(["/probe", "stat", "/proc/keys", "/proc/timer_list"]);
    let _exchange = Exchange::of(dev.join("null"), dev.join("evil"));
    for _ in 0..tries() {
        let outcome = runtime.run(&bundle);
        refused_or_ok(&outcome);
        assert_masked_with_null(&outcome, "a race");
    }
}

/// CVE-2025-31133: what the *host* has at `/dev/null` is looked at, too, before it is used.
#[test]
fn cve_2025_31133_the_hosts_dev_null_is_no_device() {
    not_on_runc_1_1!("it takes what is there");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "stat", "/proc/keys", "/proc/timer_list"]);
    let file = bundle.dir().join("file");
    fs::write(&file, "a file of the host").expect("a file");
    let script = format!(
        "exec unshare -m --propagation private sh -c 'mount --bind {} /dev/null && exec \"$0\" \"$@\"' \"$0\" \"$@\"",
        file.display()
    );
    let id = integration::unique_name();
    let outcome = runtime.through_shell(&script, ["run", "-b"]).arg(bundle.path()).arg(&id).outcome();
    assert_masked_with_null(&outcome, "a file of the host");
    let _ = outcome.refused("not the null device").in_one_line();
}

fn run_with_console(runtime: &Runtime, bundle: &Bundle) -> Option<String> {
    let socket = ConsoleSocket::listen(runtime.dir());
    let container = runtime.try_create_with(bundle, |call| call.arg("--console-socket").arg(socket.path())).ok()?;
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = container.wait();
    Some(pty.to_end().to_owned())
}

/// CVE-2025-52565, CVE-2026-88264: `/dev/console` of the image is a link, to a file of the host or
/// to one of the container's, and there is no mount on `/dev`.
#[test]
fn cve_2025_52565_dev_console_is_a_link() {
    let runtime = Runtime::new();
    for inside in [false, true] {
        let bundle = Bundle::of_workspace("hostile-2025-52565");
        let canary = bundle.path().join("canary");
        if inside {
            fs::remove_file(bundle.rootfs().join("dev/console")).expect("the link of the bundle");
            symlink("/probe", bundle.rootfs().join("dev/console")).expect("a link");
        }
        let before = (fs::read(&canary).expect("the canary"), fs::metadata(&canary).expect("the canary").uid());
        let seen = run_with_console(&runtime, &bundle);
        assert_eq!((fs::read(&canary).expect("the canary"), fs::metadata(&canary).expect("the canary").uid()), before);
        for stat in json_lines(seen.as_deref().unwrap_or_default()) {
            let is_terminal = stat["type"] == "char" && stat["major"] == 136;
            assert!(is_terminal, "the link was followed: /dev/console is {stat}");
        }
    }
}

/// CVE-2025-52565, CVE-2026-88264 as a race, in a `/dev` that others share: what is made for the
/// console is made in the image.
#[test]
fn cve_2025_52565_dev_console_becomes_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52565");
    let canary = bundle.path().join("victim");
    fs::create_dir(&canary).expect("a directory");
    let dev = bundle.rootfs().join("dev");
    fs::remove_file(dev.join("console")).expect("the link of the bundle");
    symlink(canary.join("made"), dev.join("console")).expect("a link");
    fs::write(dev.join("other"), "").expect("a file");
    let _exchange = Exchange::of(dev.join("console"), dev.join("other"));
    for _ in 0..tries() / 4 {
        let _ = run_with_console(&runtime, &bundle);
        assert_eq!(contents(&canary), [], "a file was made on the host");
    }
}

/// CVE-2026-41579, CVE-2026-47766: `/dev` of the image is a link: ptmx, fd, stdin … are removed
/// and made on the host.
#[test]
fn cve_2026_41579_dev_is_a_link() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2026-41579");
    let canary = bundle.path().join("canary");
    let before = contents(&canary);
    assert!(before.len() >= 6, "{before:?}");
    refused_or_ok(&runtime.run(&bundle));
    assert_eq!(contents(&canary), before, "the host's files were changed");
    for file in ["ptmx", "fd", "stdin"] {
        let kind = fs::symlink_metadata(canary.join(file)).expect("the host's file").file_type();
        assert!(kind.is_file(), "{file} of the host is no file any more");
    }
}

/// CVE-2026-41579, CVE-2026-47766 where the link's target exists inside the root as well.
#[test]
fn cve_2026_41579_dev_is_a_link_that_leads_somewhere_inside_too() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2026-41579");
    let canary = bundle.path().join("canary");
    let before = contents(&canary);
    let bundle = bundle.with_dir(canary.to_str().expect("a path"));
    refused_or_ok(&runtime.run(&bundle));
    assert_eq!(contents(&canary), before, "the host's files were changed");
}

// --- CVE-2025-52881: writes to procfs ----------------------------------------------------------------

/// CVE-2025-52881, CVE-2025-62596: what the runtime writes to `/proc` (labels, sysctls) is
/// redirected by mounts.
#[test]
fn cve_2025_52881_proc_is_a_directory_of_the_attacker() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52881");
    let fake = bundle.path().join("fake");
    let outcome = runtime.run(&bundle);
    refused_or_ok(&outcome);
    let seen = fs::read_to_string(fake.join("sys/net/ipv4/ip_forward")).expect("the fake file");
    assert_eq!(seen, "untouched\n", "a sysctl was written to a file of the attacker");
    for file in ["self/attr/exec", "self/attr/current", "thread-self/attr/exec"] {
        assert_eq!(fs::read_to_string(fake.join(file)).expect("the fake file"), "", "{file}");
    }
}

/// CVE-2025-52881, CVE-2025-62596 with a mount *inside* a real `/proc`.
#[test]
fn cve_2025_52881_a_mount_inside_proc() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let fake = bundle.dir().join("fake");
    fs::write(&fake, "untouched").expect("a file");
    let bundle = bundle
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.insert(1, json!({ "destination": "/proc/sys/net/ipv4/ip_forward", "type": "bind", "source": fake, "options": ["bind"] }));
        })
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .without("/linux/readonlyPaths");
    refused_or_ok(&runtime.run(&bundle));
    assert_eq!(fs::read_to_string(&fake).expect("the fake file"), "untouched", "a sysctl was written to it");
}

/// CVE-2025-52881, CVE-2025-62596, the race of the report: two containers of a pod share a volume;
/// the one exchanges what the other's runtime is about to write to. What is written through `/proc`
/// lands in procfs or nowhere.
#[test]
fn cve_2025_52881_a_race_for_proc() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52881").edit(|spec| {
        spec["mounts"][0] = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
    });
    // The image's /proc is a directory and a link to what looks the same in turn.
    let rootfs = bundle.rootfs();
    fs::rename(bundle.path().join("fake"), rootfs.join("fake")).expect("the fake in the image");
    let fake = rootfs.join("fake/sys/net/ipv4/ip_forward");
    fs::create_dir(rootfs.join("proc")).expect("a directory");
    symlink("/fake", rootfs.join("evil")).expect("a link");
    let _exchange = Exchange::of(rootfs.join("proc"), rootfs.join("evil"));
    for _ in 0..tries() {
        refused_or_ok(&runtime.run(&bundle));
        let seen = fs::read_to_string(&fake).expect("the fake file");
        assert_eq!(seen, "untouched\n", "a sysctl was written to a file of the attacker");
    }
}

// --- others -------------------------------------------------------------------------------------------

/// CVE-2026-88265: stdio is re-opened as the container's `/dev/null`, which is a file of a volume, and
/// given to the user. (`/dev` is a volume, too: in an image such a link is an error.)
#[test]
fn cve_2026_88265_stdio_is_never_a_file_of_the_image() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let volume = bundle.dir().join("volume");
    let canary = volume.join("canary");
    fs::create_dir(&volume).expect("a directory");
    fs::write(&canary, "the host's file").expect("the canary");
    let dev = bundle.dir().join("dev");
    fs::create_dir(&dev).expect("a directory");
    symlink("/volume/canary", dev.join("null")).expect("a link");
    let bundle = bundle
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
        })
        .with_dir("/volume")
        .bind(&volume, "/volume", &["bind"])
        .bind(&dev, "/dev", &["bind"])
        .set("/root/readonly", json!(false))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    for script in ["exec <&-; exec \"$0\" \"$@\"", "exec <&- 2>&-; exec \"$0\" \"$@\"", "exec \"$0\" \"$@\" </dev/null"]
    {
        let call = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(integration::unique_name());
        let facts = call.outcome().json();
        let of = |fd: usize| facts["fds"].as_array().and_then(|fds| fds.iter().find(|d| d["fd"] == fd));
        assert_eq!(of(0).map(|d| &d["device"]), Some(&json!([1, 3])), "standard input: {}", facts["fds"]);
        assert!(of(1).is_some() && of(2).is_some(), "{}", facts["fds"]);
        let meta = fs::metadata(&canary).expect("the canary");
        assert_eq!((meta.uid(), fs::read_to_string(&canary).expect("the canary").as_str()), (0, "the host's file"));
    }
}

/// CVE-2026-88265: a file of the host that is a standard stream stays its owner's: only pipes are given to
/// the container's user.
#[test]
fn cve_2026_88265_a_file_that_is_a_standard_stream_stays_its_owners() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "").expect("the canary");
    let script = format!("exec >>{}; exec \"$0\" \"$@\"", canary.display());
    let call = runtime.through_shell(&script, ["run", "-b"]).arg(bundle.path()).arg(integration::unique_name());
    let _ = call.outcome().ok();
    let meta = fs::metadata(&canary).expect("the canary");
    assert!(meta.len() > 0, "the container wrote nothing");
    assert_eq!(meta.uid(), 0, "the host's file was given away");
}

/// A container that forks as fast as it can is gone after `delete --force`.
#[test]
fn a_container_full_of_processes_is_deleted() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().without_namespace("pid").args(["/probe", "fork-sleep", "40"]);
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["delete", "--force"]).outcome().ok();
    eventually("the end of the cgroup", || (!bundle.cgroup().exists()).then_some(()).ok_or("still there".to_owned()));
}

/// Sub-cgroups that the container has made go with it.
#[test]
fn sub_cgroups_are_removed() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    fs::create_dir_all(bundle.cgroup().join("a/b/c")).expect("cgroups");
    fs::create_dir_all(bundle.cgroup().join("d")).expect("cgroups");
    container.kill_and_delete();
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
}
