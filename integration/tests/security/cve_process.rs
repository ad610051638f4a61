//! The security record (SECURITY.md), second part: what joins a container, what leaks into it, and
//! as whom its processes run.
//!
//! A race is tried `CLEAT_TRIES` times (100). What is attacked is harmless: files of the test's own.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use integration::{Bundle, Outcome, Runtime, json_lines, not_on_peer, not_on_runc_1_1, proc, tries, unique_name};
use procfs::process::FDTarget;
use rustix::fs::{XattrFlags, setxattr};
use serde_json::{Value, json};

/// A file of the host that no container may read.
fn canary(bundle: &Bundle) -> PathBuf {
    let canary = bundle.dir().join("canary");
    fs::write(&canary, "the host's file").expect("the canary");
    canary
}

fn probe_args(word: &str, path: &Path) -> [String; 3] {
    ["/probe".to_owned(), word.to_owned(), path.to_str().expect("a path").to_owned()]
}

/// Descriptors of a caller's that lead to the host, without close-on-exec.
fn leaking(canary: &Path) -> String {
    let dir = canary.parent().expect("a directory").display();
    format!("exec 3</ 4<{dir} 5</proc 6</ 7<{dir} 8</tmp 9</; exec \"$0\" \"$@\"")
}

fn assert_no_open_door(outcome: &Outcome, when: &str) {
    assert!([0, 1, 255].contains(&outcome.code()), "{when}: {outcome}");
    if outcome.succeeded() {
        let seen = outcome.clone().json();
        assert_eq!(seen["open"], json!([]), "{when}: a way to the host: {seen}");
    }
}

// --- what joins a container ---------------------------------------------------------------------------

/// CVE-2019-5736: what joins a container cannot be looked into by its processes, not even where they
/// are the same user with the same capabilities (`PR_SET_DUMPABLE`).
#[test]
fn cve_2019_5736_what_joins_cannot_be_looked_into() {
    not_on_runc_1_1!("its second process is visible for a moment");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = canary(&bundle);
    let bundle = bundle.args(probe_args("attack-doors", &canary));
    let container = runtime.start_ready(&bundle);
    for _ in 0..tries() {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    container.kill("KILL");
    let _ = container.wait();
    for line in json_lines(&container.stdout()) {
        assert!(line.get("door").is_none(), "a way to the host: {line}");
        assert_eq!(line["program"], "/probe", "the container looked into what joined it");
    }
}

/// CVE-2019-5736 with `CAP_SYS_PTRACE`, which traces whatever it sees: what it gets hold of may do no
/// more than the container itself.
#[test]
fn cve_2019_5736_a_container_that_traces_what_joins() {
    not_on_peer!("it drops its capabilities inside the container's pid namespace");
    let runtime = Runtime::new();
    let bundle = Bundle::new().capabilities(&["CAP_SYS_PTRACE"]).args(["/probe", "attack-trace"]);
    let container = runtime.start_ready(&bundle);
    for _ in 0..tries() {
        let _ = container.exec(["/probe", "exit", "0"]).ok();
    }
    container.kill("KILL");
    let _ = container.wait();
    let traced = json_lines(&container.stdout());
    assert!(!traced.is_empty(), "nothing could be traced");
    for line in traced {
        let permitted = line["permitted"].as_str().and_then(|text| u64::from_str_radix(text, 16).ok());
        let beyond = permitted.expect("a set of capabilities") & !(1 << 19);
        assert_eq!(beyond, 0, "traced with more capabilities than the container has: {line}");
    }
}

/// CVE-2024-21626, and runc 1.5.2 (the descriptor of a cgroup): while a process joins, none of its
/// descriptors leads to the host, whatever its caller has left open.
#[test]
fn cve_2024_21626_no_descriptor_of_what_joins_is_a_door() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = canary(&bundle);
    let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_CHROOT", "CAP_SYS_ADMIN"];
    let bundle = bundle.capabilities(&all).args(probe_args("attack-doors", &canary));
    let container = runtime.start_ready(&bundle);
    let script = leaking(&canary);
    for _ in 0..tries() {
        let _ = runtime.through_shell(&script, ["exec", container.id(), "/probe", "exit", "0"]).outcome().ok();
    }
    container.kill("KILL");
    let _ = container.wait();
    let seen = json_lines(&container.stdout());
    assert!(seen.iter().any(|line| line.get("program").is_some()), "nothing was seen: {seen:?}");
    for line in seen {
        assert!(line.get("door").is_none(), "a way to the host: {line}");
    }
}

// --- descriptors and the working directory ----------------------------------------------------------------

/// CVE-2024-21626: the working directory is a descriptor that the caller of the runtime has leaked.
#[test]
fn cve_2024_21626_descriptors_of_the_caller_lead_nowhere() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let canary = canary(&bundle);
    let script = leaking(&canary);
    let mut bundle = bundle.args(probe_args("attack-escape", &canary));
    for fd in 3..10 {
        for cwd in [format!("/proc/self/fd/{fd}"), format!("/proc/1/fd/{fd}"), format!("/proc/self/fd/{fd}/..")] {
            bundle = bundle.set("/process/cwd", json!(cwd));
            let call = runtime.through_shell(&script, ["run", "-b"]).arg(bundle.path()).arg(unique_name());
            assert_no_open_door(&call.outcome(), &cwd);
        }
    }
    let bundle = bundle.set("/process/cwd", json!("/")).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    for fd in 3..10 {
        let cwd = format!("/proc/self/fd/{fd}");
        let call = runtime.through_shell(&script, ["exec", "--cwd", &cwd, container.id()]);
        assert_no_open_door(&call.args(probe_args("attack-escape", &canary)).outcome(), &format!("exec, {cwd}"));
    }
}

/// CVE-2024-21626: a directory of the host that the caller passes on purpose (`--preserve-fds`) is
/// still no working directory.
#[test]
fn cve_2024_21626_a_preserved_descriptor_is_no_working_directory() {
    not_on_runc_1_1!("it has the hole");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "exit", "0"]);
    let script = "exec 3</; exec \"$0\" \"$@\"";
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/3/tmp", "/link"] {
        let bundle = Bundle::sharing_rootfs_of(&bundle).args(["/probe", "exit", "0"]).set("/process/cwd", json!(cwd));
        let bundle = if cwd == "/link" { bundle_with_link(bundle) } else { bundle };
        let call = runtime.through_shell(script, ["run", "--preserve-fds", "1", "-b"]);
        let _ = call.arg(bundle.path()).arg(unique_name()).outcome().refused("outside");
    }
    let sleeper = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&sleeper);
    let options = ["exec", "--preserve-fds", "1", "--cwd", "/proc/self/fd/3", container.id(), "/probe", "exit", "0"];
    let outcome = runtime.through_shell(script, options).outcome();
    assert!(!outcome.succeeded(), "a working directory of the host: {outcome}");
}

fn bundle_with_link(bundle: Bundle) -> Bundle {
    let rootfs = PathBuf::from(bundle.spec()["root"]["path"].as_str().expect("root.path"));
    std::os::unix::fs::symlink("/proc/self/fd/3", rootfs.join("link")).expect("a link");
    bundle
}

/// CVE-2024-21626, and runc 1.5.2 (the descriptor of a cgroup): the process that waits for `start`
/// inside of a container holds nothing but its streams and a socket.
#[test]
fn cve_2024_21626_a_created_container_holds_no_file_of_the_host() {
    not_on_peer!("it holds its state directory");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "sleep"]);
    let id = unique_name();
    let _container = runtime.container(&id);
    let script = leaking(&bundle.dir().join("x"));
    let _ = runtime.through_shell(&script, ["create", "-b"]).arg(bundle.path()).arg(&id).outcome().ok();
    let pid = runtime.state(&id).expect("a state")["pid"].as_u64().expect("a pid");
    for (number, target) in proc::descriptors(pid) {
        assert!(number < 3 || matches!(target, FDTarget::Socket(_)), "descriptor {number} is {target:?}");
    }
}

// --- what the halves say to each other ----------------------------------------------------------------------

/// CVE-2021-43784: no length wraps: a plan of any length arrives as it was sent, byte for byte, or is
/// refused.
#[test]
fn cve_2021_43784_no_length_wraps() {
    let runtime = Runtime::new();
    for total in [65_000, 65_536 - 700, 65_536, 65_600, 131_072, 200_000, 1_000_000] {
        let count = total / 8000 + 1;
        let value = |index: usize| format!("V{index}={}", "\u{1}\u{7f}x".repeat(total / count / 3));
        let env: Vec<String> = (0..count).map(value).collect();
        let bundle = Bundle::new()
            .set("/process/env", json!(env))
            .set("/process/user", json!({ "uid": 1234, "gid": 2345, "additionalGids": [7] }));
        let facts = runtime.json(&bundle);
        assert_eq!((&facts["uid"], &facts["gid"], &facts["groups"]), (&json!(1234), &json!(2345), &json!([7])));
        assert_eq!(facts["capabilities"]["bounding"].as_array().map(Vec::len), Some(3), "{total}");
        let seen = facts["env"].as_array().expect("env");
        assert!(env.iter().all(|var| seen.contains(&json!(var))), "{total}: a variable was changed on its way");
    }
    let env: Vec<String> = (0..17 << 10).map(|index| format!("V{index}={}", "x".repeat(1024))).collect();
    let _ = runtime.run(&Bundle::new().set("/process/env", json!(env))).refused("16 MiB");
}

// --- capabilities -------------------------------------------------------------------------------------------

/// A program of the image whose file has `CAP_CHOWN` in its *inheritable* set (capabilities(7)).
fn with_inheritable_program(bundle: Bundle) -> Bundle {
    let bundle = bundle.with_file("/inheritable", "");
    let path = bundle.rootfs().join("inheritable");
    fs::copy(integration::probe(), &path).expect("the probe");
    // struct vfs_cap_data, revision 2, with the effective bit: permitted none, inheritable CAP_CHOWN.
    let words = [0x0200_0001u32, 0, 1, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    setxattr(&path, "security.capability", &bytes, XattrFlags::empty()).expect("capabilities of a file");
    bundle
}

fn assert_gains_nothing(facts: &Value, what: &str) {
    for set in ["permitted", "effective", "inheritable", "ambient"] {
        assert_eq!(facts["capabilities"][set], json!([]), "{what}: an ordinary user has gained capabilities: {set}");
    }
}

/// CVE-2022-24769, CVE-2022-27650: capabilities that the container may have are not inheritable, and so a file of
/// the image cannot give them to an ordinary user. Nor can those of the caller be.
#[test]
fn cve_2022_24769_an_inheritable_capability_of_a_file_gives_nothing() {
    let runtime = Runtime::new();
    let bundle = with_inheritable_program(Bundle::new())
        .capabilities(&["CAP_CHOWN", "CAP_SETPCAP"])
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .args(["/inheritable", "facts"]);
    assert_gains_nothing(&runtime.json(&bundle), "run");
    let script = "exec setpriv --inh-caps +chown,+setpcap \"$0\" \"$@\"";
    let call = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(unique_name());
    assert_gains_nothing(&call.outcome().json(), "run by a caller with inheritable capabilities");
}

/// CVE-2022-29162, CVE-2022-27650, CVE-2025-27612: the same for `exec --cap`.
#[test]
fn cve_2022_29162_exec_gives_no_inheritable_capability() {
    let runtime = Runtime::new();
    let bundle =
        with_inheritable_program(Bundle::new()).set("/process/noNewPrivileges", json!(false)).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let facts = container.exec_with(["--cap", "CAP_CHOWN", "--user", "1000:1000"], ["/inheritable", "facts"]).json();
    assert_gains_nothing(&facts, "exec");
    let file = runtime.dir().join("process.json");
    let caps = json!({ "bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] });
    let process = json!({ "args": ["/inheritable", "facts"], "cwd": "/", "capabilities": caps,
        "user": { "uid": 1000, "gid": 1000 } });
    fs::write(&file, process.to_string()).expect("a process file");
    let facts = runtime.call(["exec", "--process"]).arg(&file).arg(container.id()).outcome().json();
    assert_gains_nothing(&facts, "exec --process");
}

/// youki#3434, youki#3554: a bounding set that is not given is empty: a file of the image with
/// capabilities gives root none of them.
#[test]
fn youki_3434_a_missing_bounding_set_is_empty() {
    let runtime = Runtime::new();
    let base =
        || Bundle::new().set("/process/noNewPrivileges", json!(false)).args(["/probe", "run", "/probe", "facts"]);
    for capabilities in [None, Some(json!({})), Some(json!({ "permitted": [], "effective": null }))] {
        let bundle = match &capabilities {
            None => base().without("/process/capabilities"),
            Some(sets) => base().set("/process/capabilities", sets.clone()),
        };
        let ran = runtime.json(&bundle);
        let facts: Value = serde_json::from_str(ran["stdout"].as_str().expect("facts")).expect("facts");
        for set in ["bounding", "permitted", "effective"] {
            assert_eq!(facts["capabilities"][set], json!([]), "capabilities {capabilities:?}: {set}");
        }
    }
}

// --- users and groups ----------------------------------------------------------------------------------------

/// CVE-2024-40635, CVE-2026-46680: ids beyond those of 31 bits are what they are, and no names.
#[test]
fn cve_2026_46680_large_ids_are_what_they_are() {
    let runtime = Runtime::new();
    for id in [2_147_483_647_u32, 2_147_483_648, 4_294_967_294] {
        let bundle = Bundle::new()
            .with_file("/etc/passwd", &format!("{id}:x:0:0::/:/bin/sh\n"))
            .set("/process/user", json!({ "uid": id, "gid": id }));
        let facts = runtime.json(&bundle);
        assert_eq!((&facts["uid"], &facts["gid"]), (&json!(id), &json!(id)), "another user than {id}");
        let sleeper = Bundle::new().args(["/probe", "sleep"]);
        let container = runtime.start_ready(&sleeper);
        let facts = container.exec_with([format!("--user={id}:{id}")], ["/probe"]).json();
        assert_eq!((&facts["euid"], &facts["egid"]), (&json!(id), &json!(id)), "exec");
    }
}

/// CVE-2026-47262: the image's `/etc/passwd` is as large as it likes, or no file at all: what the
/// runtime reads of it is bounded.
#[test]
fn cve_2026_47262_a_passwd_of_any_size() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_file("/etc/passwd", "root:x:0:0::/home/of/root:/bin/sh\n");
    let home = |bundle: &Bundle| {
        // 64 MB of address space for the runtime, and for its init until it is the program.
        let run = runtime.through_shell("ulimit -v 65536 && exec \"$0\" \"$@\"", ["run", "-b"]);
        let facts = run.arg(bundle.path()).arg(unique_name()).outcome().json();
        facts["env"].as_array().expect("env").iter().any(|var| var == "HOME=/home/of/root")
    };
    let passwd = bundle.rootfs().join("etc/passwd");
    File::options().write(true).open(&passwd).expect("passwd").set_len(1 << 30).expect("a sparse file");
    assert!(home(&bundle), "the first line is not found");
    fs::remove_file(&passwd).expect("passwd");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, fifo, rustix::fs::Mode::from_raw_mode(0o644), 0).expect("a fifo");
    assert!(!home(&bundle));
}

/// CVE-2023-25173: groups that the caller has are not the container's, with and without groups of
/// its own.
#[test]
fn cve_2023_25173_groups_of_the_caller_are_not_inherited() {
    let runtime = Runtime::new();
    let script = "exec setpriv --groups 4242,4243 \"$0\" \"$@\"";
    for groups in [json!(null), json!([]), json!([7, 8])] {
        let bundle = Bundle::new().set("/process/user", json!({ "uid": 5, "gid": 6, "additionalGids": groups }));
        let call = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(unique_name());
        let seen = call.outcome().json()["groups"].clone();
        assert_eq!(seen, if groups.is_null() { json!([]) } else { groups }, "groups of the caller's");
    }
    let sleeper = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&sleeper);
    let facts = runtime.through_shell(script, ["exec", container.id(), "/probe"]).outcome().json();
    assert_eq!(facts["groups"], json!([]), "exec");
}
