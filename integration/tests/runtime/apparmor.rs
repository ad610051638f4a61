//! config.md § Process, `apparmorProfile`: "the name of the AppArmor profile for the process", and
//! that nothing in a container keeps it from its profile.
//!
//! Where the kernel has no AppArmor these tests prove nothing and say so; `make guest` runs them on
//! one that has.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;

use integration::{Bundle, Container, Profiles, Runtime, not_on_peer, unique_name};
use serde_json::{Value, json};

/// Loads `deny`, under which nobody reads `/secret`, and `allow`, or skips the test.
macro_rules! profiles {
    () => {
        Profiles::load(&[("deny", "deny /secret rwklx,"), ("allow", "")])
    };
}

/// A root file system with `/secret` and `/public`, and a program under `profile`.
fn bundle(profile: &str) -> Bundle {
    let bundle = Bundle::new().with_file("/secret", "secret").with_file("/public", "public");
    bundle.set("/process/apparmorProfile", json!(profile)).args(["/probe", "sleep"])
}

/// The same in a user namespace, whose root owns the root file system.
fn mapped(bundle: Bundle) -> Bundle {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle.mapped()
}

const OWN: &str = "/proc/self/attr/apparmor/current";

/// The profile and the mode of a container's first process, seen from the host.
fn confinement(container: &Container<'_>) -> String {
    of_process(container.pid())
}

fn of_process(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).expect("its profile");
    text.trim_end().to_owned()
}

/// What a process says that reads a file: the text, or the name of an error.
fn said(answer: &Value) -> String {
    let text = answer["text"].as_str().or(answer["error"].as_str());
    text.unwrap_or_else(|| panic!("neither text nor error: {answer}")).trim_end().to_owned()
}

/// What the container's program sees: its profile, `/secret`, `/public`.
fn seen_by_the_program(runtime: &Runtime, bundle: Bundle) -> [String; 3] {
    let mut bundle = bundle;
    [OWN, "/secret", "/public"].map(|path| {
        bundle = std::mem::take(&mut bundle).args(["/probe", "read", path]);
        said(&runtime.json(&bundle))
    })
}

/// The same of a process that `exec` makes.
fn seen_by_exec(container: &Container<'_>, options: &[&str]) -> [String; 3] {
    [OWN, "/secret", "/public"].map(|path| said(&container.exec_with(options, ["/probe", "read", path]).json()))
}

fn denied(profiles: &Profiles) -> [String; 3] {
    [format!("{} (enforce)", profiles.name("deny")), "EACCES".into(), "public".into()]
}

fn allowed(profiles: &Profiles) -> [String; 3] {
    [format!("{} (enforce)", profiles.name("allow")), "secret".into(), "public".into()]
}

fn unconfined() -> [String; 3] {
    ["unconfined", "secret", "public"].map(str::to_owned)
}

// --- the profile of the configuration ---------------------------------------------------------------

/// The program, and no other, is under the profile.
#[test]
fn the_program_is_confined_by_the_profile_of_the_configuration() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let of = |name: &str| bundle(&profiles.name(name)).set("/process/noNewPrivileges", json!(no_new_privileges));
        let when = format!("noNewPrivileges {no_new_privileges}");
        assert_eq!(seen_by_the_program(&runtime, of("deny")), denied(&profiles), "{when}");
        assert_eq!(seen_by_the_program(&runtime, of("allow")), allowed(&profiles), "{when}");
    }
}

/// In a user namespace, where the init is root of nothing but its namespace.
#[test]
fn the_program_is_confined_in_a_user_namespace() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let bundle = mapped(bundle(&profiles.name("deny"))).set("/process/noNewPrivileges", json!(no_new_privileges));
        assert_eq!(seen_by_the_program(&runtime, bundle), denied(&profiles), "noNewPrivileges {no_new_privileges}");
    }
}

/// As a user without privileges, who gets the profile before the privileges go.
#[test]
fn the_program_of_an_ordinary_user_is_confined() {
    let profiles = profiles!();
    let bundle = bundle(&profiles.name("deny")).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    assert_eq!(seen_by_the_program(&Runtime::new(), bundle), denied(&profiles));
}

/// The profile holds from the program's first instruction on, not before: a created container
/// waits in the runtime's own init.
#[test]
fn a_container_is_confined_when_it_starts() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny"));
    let container = runtime.create(&bundle);
    assert_eq!(confinement(&container), "unconfined");
    let audit = container.audit().finds_nothing();
    assert!(audit.not_checked().contains(&"process.apparmorProfile"), "{:#}", audit.report());
    container.start();
    container.wait_for_line("ready");
    assert_eq!(confinement(&container), denied(&profiles)[0]);
    let audit = container.audit().finds_nothing();
    assert!(audit.holds("process.apparmorProfile"), "{:#}", audit.report());
}

/// No profile, an empty one and "unconfined" are the same where the runtime is not confined.
#[test]
fn a_container_may_be_unconfined() {
    let _profiles = profiles!();
    let runtime = Runtime::new();
    assert_eq!(seen_by_the_program(&runtime, bundle("unconfined")), unconfined());
    assert_eq!(seen_by_the_program(&runtime, bundle("")), unconfined());
    assert_eq!(seen_by_the_program(&runtime, bundle("").without("/process/apparmorProfile")), unconfined());
}

/// config.md: an error, and "the environment MUST be in the state as if … never attempted".
#[test]
fn a_profile_that_is_not_loaded_is_refused_and_leaves_nothing() {
    let _profiles = profiles!();
    let runtime = Runtime::new();
    let name = unique_name();
    let bundle = bundle(&name);
    let outcome = runtime.try_create(&bundle).expect_err("create succeeds").exits(1);
    if !integration::is_peer() {
        for text in ["process.apparmorProfile", &name, "no such profile is loaded", "apparmor_parser"] {
            assert!(outcome.stderr.contains(text), "expected {text:?} on stderr of {outcome}");
        }
    }
    let _ = outcome.in_one_line();
    let left = runtime.call(["list", "--quiet"]).outcome().ok().stdout;
    assert_eq!(left, "", "a container is left");
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
}

// --- exec -------------------------------------------------------------------------------------------

/// By default as the container's program; `--apparmor` says otherwise.
#[test]
fn exec_is_confined_as_the_container_is_unless_configured_otherwise() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let bundle = bundle(&profiles.name("deny")).set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = runtime.start_ready(&bundle);
        assert_eq!(seen_by_exec(&container, &[]), denied(&profiles), "noNewPrivileges {no_new_privileges}");
        assert_eq!(seen_by_exec(&container, &["--apparmor", &profiles.name("allow")]), allowed(&profiles));
        assert_eq!(confinement(&container), denied(&profiles)[0], "the container itself");
    }
}

/// The same where further processes are between the runtime and the program.
#[test]
fn exec_is_confined_in_a_user_namespace() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = mapped(bundle(&profiles.name("deny")));
    let container = runtime.start_ready(&bundle);
    assert_eq!(seen_by_exec(&container, &[]), denied(&profiles));
    assert_eq!(seen_by_exec(&container, &["--apparmor", &profiles.name("allow")]), allowed(&profiles));
}

/// A container without a profile can be entered with one, and the other way round.
#[test]
fn exec_may_have_a_profile_where_the_container_has_none() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle("");
    let container = runtime.start_ready(&bundle);
    assert_eq!(seen_by_exec(&container, &[]), unconfined());
    assert_eq!(seen_by_exec(&container, &["--apparmor", &profiles.name("deny")]), denied(&profiles));
}

/// Engines describe the process in a file: its profile is that of the file, and the container's
/// where it names none, as runc has it. A process must not get out of the profile by silence.
#[test]
fn exec_of_a_process_file_is_confined() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny"));
    let container = runtime.start_ready(&bundle);
    let seen = |profile: Option<String>| {
        let mut process = json!({ "args": ["/probe", "read", OWN], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
        if let Some(profile) = profile {
            process["apparmorProfile"] = json!(profile);
        }
        let file = runtime.dir().join("process.json");
        fs::write(&file, process.to_string()).expect("a process file");
        let exec = runtime.call(["exec", "--process"]).arg(file).arg(container.id());
        said(&exec.outcome().json())
    };
    assert_eq!(seen(Some(profiles.name("allow"))), allowed(&profiles)[0]);
    assert_eq!(seen(None), denied(&profiles)[0]);
}

/// A mistake in a profile's name is no reason to run without one.
#[test]
fn exec_refuses_a_profile_that_is_not_loaded() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny"));
    let container = runtime.start_ready(&bundle);
    let name = unique_name();
    let outcome = container.exec_with(["--apparmor", &name], ["/probe", "print", "it runs"]).exits(255);
    assert!(!outcome.stdout.contains("it runs"), "{outcome}");
    assert!(integration::is_peer() || outcome.stderr.contains("no such profile is loaded"), "{outcome}");
    assert_eq!(seen_by_exec(&container, &[]), denied(&profiles));
    let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(procs.lines().count(), 1, "processes in the container: {procs}");
}

// --- a /proc that is not the kernel's ------------------------------------------------------------------

/// The files that a label might be written to, in a directory that poses as `/proc`.
const ATTRIBUTES: [&str; 6] = [
    "self/attr/exec",
    "self/attr/current",
    "self/attr/apparmor/exec",
    "thread-self/attr/exec",
    "thread-self/attr/apparmor/exec",
    "thread-self/attr/apparmor/current",
];

/// A directory that poses as `/proc`.
fn fake_proc(dir: &Path) {
    for file in ATTRIBUTES {
        let file = dir.join(file);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(file, "").expect("a file of the fake");
    }
}

fn assert_untouched(fake: &Path) {
    for file in ATTRIBUTES {
        assert_eq!(
            fs::read_to_string(fake.join(file)).expect("a file of the fake"),
            "",
            "a label was written to {file}"
        );
    }
}

/// A container that comes to life is confined, and so is what joins it, whatever its `/proc` is: the
/// host's tells. One that is refused is confined as well.
fn confined_or_refused(runtime: &Runtime, bundle: &Bundle, profiles: &Profiles) -> bool {
    match runtime.try_create(bundle) {
        Err(outcome) => {
            let _ = outcome.exits(1).in_one_line();
            false
        }
        Ok(container) => {
            container.start();
            container.wait_for_line("ready");
            assert_eq!(confinement(&container), denied(profiles)[0], "of {}", bundle.spec());
            let joined = container.exec_detached(["--cwd", "/"], ["/probe", "sleep"]);
            assert_eq!(of_process(joined.pid()), denied(profiles)[0], "of exec into {}", bundle.spec());
            true
        }
    }
}

/// CVE-2019-16884: the image has a `/proc` of its own, and no procfs is mounted on it.
#[test]
fn cve_2019_16884_a_directory_of_the_image_poses_as_proc() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny")).without_mount("/proc").set("/root/readonly", json!(false));
    fake_proc(&bundle.rootfs().join("proc"));
    assert!(confined_or_refused(&runtime, &bundle, &profiles), "a container without procfs is refused");
    assert_untouched(&bundle.rootfs().join("proc"));
}

/// CVE-2019-16884: a volume of the attacker's is mounted on `/proc`.
#[test]
fn cve_2019_16884_a_volume_is_mounted_on_proc() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny"));
    let fake = bundle.dir().join("fake");
    fake_proc(&fake);
    // In place of the procfs, and over it.
    let instead = bundle.without_mount("/proc").bind(&fake, "/proc", &["rbind"]);
    confined_or_refused(&runtime, &instead, &profiles);
    let over = instead.edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.insert(0, json!({ "destination": "/proc", "type": "proc", "source": "proc" }));
    });
    confined_or_refused(&runtime, &over, &profiles);
    assert_untouched(&fake);
}

/// CVE-2025-52881: procfs is real, what the label is written to is covered.
#[test]
fn cve_2025_52881_mounts_cover_the_attributes() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let plain = bundle(&profiles.name("deny"));
    let fake = plain.dir().join("fake");
    fake_proc(&fake);
    for place in ["self/attr", "thread-self/attr", "self/attr/apparmor", "self/attr/exec", "self/attr/apparmor/exec"] {
        // With the root file system of the first.
        let covered = Bundle::sharing_rootfs_of(&plain).args(["/probe", "sleep"]).edit(|spec| {
            spec["process"]["apparmorProfile"] = json!(profiles.name("deny"));
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            let mount = json!({ "destination": format!("/proc/{place}"), "type": "bind",
                "source": fake.join(place), "options": ["bind"] });
            mounts.insert(1, mount);
        });
        confined_or_refused(&runtime, &covered, &profiles);
    }
    assert_untouched(&fake);
}

/// CVE-2025-52881: `/proc` of the image leads elsewhere.
#[test]
fn cve_2025_52881_proc_is_a_link() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny"));
    let fake = bundle.rootfs().join("fake");
    fake_proc(&fake);
    let with_procfs = bundle.with_link("/proc", "/fake");
    confined_or_refused(&runtime, &with_procfs, &profiles);
    let without_procfs = with_procfs.without_mount("/proc");
    confined_or_refused(&runtime, &without_procfs, &profiles);
    assert_untouched(&fake);
}

/// CVE-2025-52881: a container with privileges covers its own procfs; what joins it then is
/// confined nonetheless.
#[test]
fn cve_2025_52881_a_container_covers_its_proc_before_exec() {
    let profiles = profiles!();
    let runtime = Runtime::new();
    let bundle = bundle(&profiles.name("deny")).capabilities(&["CAP_SYS_ADMIN"]);
    let fake = bundle.rootfs().join("fake");
    fake_proc(&fake);
    let container = runtime.start_ready(&bundle);
    let covered = container.exec(["/probe", "bind", "/fake", "/proc"]).json();
    assert_eq!(covered, json!({ "ok": true }));
    assert_eq!(container.exec(["/probe", "list", "/proc"]).json()["names"], json!(["self", "thread-self"]));
    let joined = container.exec_detached(["--cwd", "/"], ["/probe", "sleep"]);
    assert_eq!(of_process(joined.pid()), denied(&profiles)[0]);
    let other = container.exec_detached(["--apparmor", &profiles.name("allow")], ["/probe", "sleep"]);
    assert_eq!(of_process(other.pid()), allowed(&profiles)[0]);
    assert_untouched(&fake);
}

// --- a runtime that is confined itself --------------------------------------------------------------------

/// Nested containers (runc#4968): a procfs that is mounted nowhere has paths such as `/sys/net/…`,
/// which the profiles of LXC take for sysfs and deny. Kernel parameters are set all the same.
#[test]
fn a_runtime_under_a_profile_of_lxc_sets_kernel_parameters() {
    not_on_peer!("runc 1.1 to 1.4 are either from before the hardening, or fail here");
    // As LXC has it in its abstractions/container-base.
    let profiles = Profiles::load(&[("lxc", "deny /sys/[^fdc]*{,/**} wklx,")]);
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).args([
        "/probe",
        "facts",
        "net.ipv4.ip_forward",
    ]);
    let script =
        format!("echo 'exec {}' >/proc/thread-self/attr/apparmor/exec && exec \"$0\" \"$@\"", profiles.name("lxc"));
    let id = unique_name();
    let facts = runtime.through_shell(&script, ["run", "-b"]).arg(bundle.path()).arg(&id).outcome().json();
    assert_eq!(facts["sysctl"]["net.ipv4.ip_forward"], "1", "{}", facts["sysctl"]);
}
