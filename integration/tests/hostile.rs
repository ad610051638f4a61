//! What hostile containers, images and volumes have done to runtimes: each is tried in earnest.
//!
//! A race is tried `CLEAT_TRIES` times (100). What is attacked is always a file or directory of
//! the test's own, the *canary*, or a copy of the runtime: a hole found harms nobody.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use integration::{Bundle, ConsoleSocket, Outcome, Pty, Runtime, eventually, not_on_runc_1_1, tries};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use serde_json::{Value, json};

/// Exchanges two names for as long as it is in scope.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Exchange {
    fn of(a: PathBuf, b: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("an exchange of two names");
                rounds += 1;
            }
            rounds
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let rounds = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0);
        eprintln!("exchanged {rounds} times");
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Files below a directory and what is in them.
fn contents(dir: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .expect("the canary")
        .flatten()
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path()).unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

fn mounts_from<'f>(facts: &'f Value, source: &str) -> Vec<&'f Value> {
    facts["mounts"].as_array().expect("mounts").iter().filter(|m| m["source"] == source).collect()
}

/// A refusal in one line, or a success; never a crash or a hang.
fn refused_or_ok(outcome: &Outcome) {
    assert!([0, 1].contains(&outcome.code()), "{outcome}");
    assert!(outcome.code() == 0 || !outcome.stderr.is_empty(), "no message: {outcome}");
}

// --- CVE-2019-5736: the runtime's own program ---------------------------------------------------

/// CVE-2019-5736: an entry point that is `#!/proc/self/exe` executes the runtime inside the
/// container; the runtime's file must not be what is executed.
#[test]
fn cve_2019_5736_an_entry_point_that_is_proc_self_exe() {
    let runtime = Runtime::copied();
    let before = fs::read(runtime.program()).expect("the runtime");
    let bundle = Bundle::of_workspace("hostile-2019-5736");
    let outcome = runtime.run(&bundle);
    assert!(!outcome.succeeded(), "the init ran a second time: {outcome}");
    let bundle = bundle.args(["/proc/self/exe", "--version"]);
    let outcome = runtime.run(&bundle);
    assert!(!outcome.stdout.contains("version"), "the runtime ran inside the container: {outcome}");
    assert!(fs::read(runtime.program()).expect("the runtime") == before, "the runtime's program was changed");
}

/// CVE-2019-5736: a container with every capability over its own processes lies in wait for
/// `exec` and opens the program of whatever joins it, to write to it afterwards.
#[test]
fn cve_2019_5736_a_container_that_lies_in_wait_for_exec() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let before = fs::read(runtime.program()).expect("the runtime");
    let own = fs::metadata(runtime.program()).expect("the runtime");
    let bundle = Bundle::new()
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_KILL"])
        .set("/root/readonly", json!(false))
        .args(["/probe", "attack-exe", "100000000"]);
    let container = runtime.start_ready(&bundle);
    for _ in 0..tries() {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    container.kill("KILL");
    let _ = container.wait();
    for line in json_lines(&container.stdout()) {
        let program = &line["program"];
        let is_runtime = program["dev"] == own.dev() && program["ino"] == own.ino();
        assert!(!is_runtime, "the container reached the runtime's file: {line}");
        assert_ne!(line["write"], "written", "the container wrote to a program that joined it: {line}");
    }
    assert!(fs::read(runtime.program()).expect("the runtime") == before, "the runtime's program was changed");
}

/// The same while the container is made: the pid namespace is the attacker's.
#[test]
fn cve_2019_5736_a_pod_that_lies_in_wait_for_the_next_container() {
    not_on_runc_1_1!("a read-only bind mount of its own file is what it executes");
    let runtime = Runtime::copied();
    let before = fs::read(runtime.program()).expect("the runtime");
    let own = fs::metadata(runtime.program()).expect("the runtime");
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_KILL"];
    let bundle = Bundle::new().capabilities(&all).args(["/probe", "attack-exe", "100000000"]);
    let container = runtime.start_ready(&bundle);
    let next = Bundle::new()
        .namespace(json!({ "type": "pid", "path": container.proc("ns/pid") }))
        .args(["/probe", "exit", "0"]);
    for _ in 0..tries() / 2 {
        let _ = runtime.run(&next).ok();
    }
    container.kill("KILL");
    let _ = container.wait();
    for line in json_lines(&container.stdout()) {
        let program = &line["program"];
        assert!(program["dev"] != own.dev() || program["ino"] != own.ino(), "reached the runtime's file: {line}");
        // The next container's own program is its own image's affair.
        let is_probe = program["link"] == "/probe";
        assert!(is_probe || line["write"] != "written", "wrote to a program that joined it: {line}");
    }
    assert!(fs::read(runtime.program()).expect("the runtime") == before, "the runtime's program was changed");
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
    eprintln!("{mounted} of {} containers came to life", tries());
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

/// The same without a race: a link that is there from the start stays inside the root.
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

/// The same by `exec --cwd`, and by a link of the image that leads there.
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

/// From an ordinary container no door leads to the host's files: no descriptor, no other
/// process's root or cwd.
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

/// CVE-2025-31133: `/dev/null` of the image is a link to a host file, which would be bound,
/// writable, where the mask belongs.
#[test]
fn cve_2025_31133_dev_null_is_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-31133");
    let canary = bundle.path().join("canary");
    let before = fs::read(&canary).expect("the canary");
    let outcome = runtime.run(&bundle);
    refused_or_ok(&outcome);
    assert_masked_with_null(&outcome, "a link from the start");
    assert_eq!(fs::read(&canary).expect("the canary"), before);
}

/// The same as a race: `/dev` is a volume in which null is exchanged all the time.
#[test]
fn cve_2025_31133_dev_null_becomes_a_link() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    let dev = bundle.dir().join("dev");
    fs::create_dir(&dev).expect("a directory");
    mknodat(CWD, dev.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
        .expect("mknod");
    symlink(&canary, dev.join("evil")).expect("a link");
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
        assert_eq!(fs::read_to_string(&canary).expect("the canary"), "the host's file");
    }
}

fn run_with_console(runtime: &Runtime, bundle: &Bundle) -> Option<String> {
    let socket = ConsoleSocket::listen(runtime.dir());
    let container = runtime.try_create_with(bundle, |call| call.arg("--console-socket").arg(socket.path())).ok()?;
    let mut pty = Pty::of(socket.receive().0);
    container.start();
    let _ = container.wait();
    Some(pty.to_end().to_owned())
}

/// CVE-2025-52565, CVE-2026-88264: `/dev/console` of the image is a link to a host file.
#[test]
fn cve_2025_52565_dev_console_is_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52565");
    let canary = bundle.path().join("canary");
    let before = (fs::read(&canary).expect("the canary"), fs::metadata(&canary).expect("the canary").uid());
    let seen = run_with_console(&runtime, &bundle);
    assert_eq!((fs::read(&canary).expect("the canary"), fs::metadata(&canary).expect("the canary").uid()), before);
    for stat in json_lines(seen.as_deref().unwrap_or_default()) {
        assert_ne!(stat["type"], "file", "/dev/console is a file of the host: {stat}");
    }
}

/// The same as a race, in a `/dev` that others share.
#[test]
fn cve_2025_52565_dev_console_becomes_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52565");
    let canary = bundle.path().join("canary");
    let before = fs::read(&canary).expect("the canary");
    let dev = bundle.rootfs().join("dev");
    fs::write(dev.join("other"), "").expect("a file");
    let _exchange = Exchange::of(dev.join("console"), dev.join("other"));
    for _ in 0..tries() / 4 {
        let seen = run_with_console(&runtime, &bundle);
        assert_eq!(fs::read(&canary).expect("the canary"), before);
        for stat in json_lines(seen.as_deref().unwrap_or_default()) {
            // A device of the terminals, or what the exchange has put there since: the image's own.
            let is_hosts = stat["type"] == "file" && stat["size"] != 0;
            assert!(!is_hosts, "/dev/console is a file of the host: {stat}");
        }
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

/// The same where the link's target exists inside the root as well.
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

/// CVE-2025-52881: what the runtime writes to `/proc` (labels, sysctls) is redirected by mounts.
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

/// The same with a mount *inside* a real `/proc`.
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

/// The race of the report: two containers of a pod share a volume; the one mounts over what the
/// other's runtime is about to write. What is written through `/proc` lands in procfs or nowhere.
#[test]
fn cve_2025_52881_a_race_for_proc() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52881");
    let fake = bundle.path().join("fake");
    let other = bundle.path().join("other");
    fs::create_dir(&other).expect("a directory");
    symlink(&fake, bundle.path().join("link")).expect("a link");
    let bundle = bundle.edit(|spec| {
        spec["mounts"][0] = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
    });
    // The image's /proc is a directory and a link in turn.
    let rootfs = bundle.rootfs();
    fs::create_dir(rootfs.join("proc")).expect("a directory");
    symlink(format!("{}{}", "../".repeat(20), fake.display()), rootfs.join("evil")).expect("a link");
    let _exchange = Exchange::of(rootfs.join("proc"), rootfs.join("evil"));
    for _ in 0..tries() {
        refused_or_ok(&runtime.run(&bundle));
        let seen = fs::read_to_string(fake.join("sys/net/ipv4/ip_forward")).expect("the fake file");
        assert_eq!(seen, "untouched\n", "a sysctl was written to a file of the attacker");
    }
}

// --- others -------------------------------------------------------------------------------------------

/// crun, CVE-2026-88265: stdio is re-opened as the image's `/dev/null`, and chowned.
#[test]
fn stdio_is_never_a_file_of_the_image() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    let bundle = bundle
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|m| !m["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
        })
        .with_link("/dev/null", &canary)
        .set("/root/readonly", json!(false))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let script = "exec <&- >&- 2>&-; exec \"$0\" \"$@\"";
    let _ = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(integration::unique_name()).outcome();
    let meta = fs::metadata(&canary).expect("the canary");
    assert_eq!((meta.uid(), fs::read_to_string(&canary).expect("the canary").as_str()), (0, "the host's file"));
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
