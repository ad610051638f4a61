//! The container's cgroup is its boundary. Nothing joins past it, nothing of the host is moved into it, no tree in
//! it is too deep to be removed. Nothing is killed in it that is not its own.
//!
//! The attacks are of `boundary 6`, `8`, `9`, `11` and `13` of the security record.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration::{
    Bundle, Container, DelegatedCgroup, Orphan, Outcome, Runtime, cgroup_root, eventually, not_on_peer, unique_name,
};
use rustix::fs::{CWD, Mode, OFlags, XattrFlags};
use serde_json::{Value, json};

/// A cgroup of the test's own, removed with all below it.
struct Group(PathBuf);

impl Group {
    fn new() -> Group {
        Group::at(cgroup_root().join(unique_name()))
    }

    fn at(path: PathBuf) -> Group {
        fs::create_dir(&path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
        Group(path)
    }

    /// Somebody else removes it.
    fn into_path(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }

    /// As `linux.cgroupsPath`.
    fn path_of(&self, below: &str) -> String {
        let relative = self.0.strip_prefix(cgroup_root()).expect("below the root");
        Path::new("/").join(relative).join(below).display().to_string()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() && self.0.exists() && !std::thread::panicking() {
            eventually("the end of a cgroup", || fs::remove_dir(&self.0).map_err(|error| error.to_string()));
        }
    }
}

/// A process of the host.
struct OfHost(Child);

impl OfHost {
    fn new() -> OfHost {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn();
        OfHost(child.expect("sleep"))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("waitpid").is_none()
    }
}

impl Drop for OfHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The cgroup v2 of a process, as the host names it.
fn place(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup v2").to_owned()
}

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// In the cgroup of another bundle.
fn in_place_of(other: &Bundle, bundle: Bundle) -> Bundle {
    bundle.set("/linux/cgroupsPath", other.spec()["linux"]["cgroupsPath"].clone())
}

fn stop(container: &Container<'_>) {
    container.kill("TERM");
    let _ = container.wait();
    assert_eq!(container.status(), "stopped");
}

fn lives(container: &Container<'_>) {
    assert_eq!(container.status(), "running", "another container's end took it along");
}

fn update(container: &Container<'_>, resources: &Value) -> Outcome {
    container.call(["update", "--resources", "-"]).stdin(resources.to_string()).outcome()
}

/// A container that sees the whole tree, writable, has moved its first process out of its own cgroup
/// and removed that.
fn that_has_left<'r>(runtime: &'r Runtime, bundle: &Bundle, elsewhere: &str) -> Container<'r> {
    let container = runtime.start_ready(bundle);
    let does = |words: &[&str]| {
        let done = container.exec(words).json();
        assert_eq!(done, json!({"ok": true}), "{words:?}");
    };
    does(&["/probe", "mkdir", &format!("/cg/{elsewhere}")]);
    does(&["/probe", "write", &format!("/cg/{elsewhere}/cgroup.procs"), "1"]);
    // From beside: while one is in it, it cannot be removed.
    let _ = fs::remove_dir(bundle.cgroup());
    assert!(!bundle.cgroup().exists(), "its first process is still in its cgroup");
    container
}

fn sees_the_tree(bundle: Bundle) -> Bundle {
    let bundle = bundle.without_namespace("cgroup").capabilities(&["CAP_DAC_OVERRIDE"]);
    bundle.bind(&cgroup_root(), "/cg", &["rbind", "rw"])
}

/// boundary 6: whatever the container does to its cgroup, nobody who joins it is in the caller's.
#[test]
fn exec_joins_the_first_process_where_its_cgroup_is_gone() {
    not_on_peer!("crun refuses, runc says nothing");
    let elsewhere = Group(cgroup_root().join(unique_name()));
    let name = elsewhere.0.file_name().expect("a name").to_string_lossy().into_owned();
    for option in ["--rootless=auto", "--rootless=true"] {
        let runtime = Runtime::new().with_option(option);
        let bundle = sees_the_tree(sleeper());
        let container = that_has_left(&runtime, &bundle, &name);
        let joined = container.exec(["/probe", "read", "/proc/self/cgroup"]).ok();
        assert!(joined.stdout.contains(&format!("0::/{name}\\n")), "{option}: it is in the caller's cgroup: {joined}");
        assert_eq!(joined.stderr.matches("has left its cgroup").count(), 1, "{option}: nothing is said: {joined}");
        let _ = container.exec_with(["--cgroup", "/"], ["/probe"]).fails(255, "no cgroup of its own");
        drop(container);
        eventually("the end of its processes", || fs::remove_dir(&elsewhere.0).map_err(|error| error.to_string()));
    }
}

/// boundary 6: that one may be frozen, too.
#[test]
fn exec_waits_for_nobody_where_the_first_process_is_frozen() {
    not_on_peer!("runc hangs, crun refuses all");
    let elsewhere = Group::new();
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    fs::write(elsewhere.0.join("cgroup.procs"), container.pid().to_string()).expect("it moves");
    fs::remove_dir(bundle.cgroup()).expect("its cgroup goes");
    fs::write(elsewhere.0.join("cgroup.freeze"), "1").expect("a frozen cgroup");
    eventually("a frozen process", || {
        let events = fs::read_to_string(elsewhere.0.join("cgroup.events")).expect("cgroup.events");
        if events.contains("frozen 1") { Ok(()) } else { Err(events) }
    });
    let _ = container.exec(["/probe"]).fails(255, "cannot exec in a paused container");
}

/// Every core file of a cgroup, and names that are none.
const REFUSED: [(&str, &str); 12] = [
    ("cgroup.procs", "is no limit"),
    ("cgroup.threads", "is no limit"),
    ("cgroup.kill", "is no limit"),
    ("cgroup.freeze", "is no limit"),
    ("cgroup.type", "is no limit"),
    ("cgroup.subtree_control", "is no limit"),
    ("cgroup.pressure", "is no limit"),
    ("cgroup.of.tomorrow", "is no limit"),
    ("./cgroup.procs", "is not the name of a file"),
    ("../cgroup.procs", "is not the name of a file"),
    ("memory..max", "is not the name of a file"),
    ("memory", "is not the name of a file"),
];

/// boundary 8: a limit moves no process of the host, and is tried in nothing but files of limits.
#[test]
fn a_core_file_is_no_limit_of_a_new_container() {
    not_on_peer!("they move the process");
    let runtime = Runtime::new();
    let mut host = OfHost::new();
    let before = place(host.pid());
    for (file, text) in REFUSED {
        let bundle = Bundle::new()
            .args(["/probe", "print", "ran"])
            .set("/linux/resources/unified", json!({ file: host.pid().to_string() }));
        let outcome = runtime.run(&bundle);
        assert!(host.lives(), "{file}: a process of the host was killed: {outcome}");
        assert_eq!(place(host.pid()), before, "{file}: a process of the host was moved: {outcome}");
        let outcome = outcome.refused(text);
        assert!(outcome.stderr.contains(&format!("linux.resources.unified[\"{file}\"]")), "{outcome}");
    }
}

/// boundary 8: nor of one that runs.
#[test]
fn a_core_file_is_no_limit_of_an_update() {
    not_on_peer!("they move the process");
    let runtime = Runtime::new();
    let mut host = OfHost::new();
    let before = place(host.pid());
    let container = runtime.start_ready(&sleeper());
    for (file, text) in REFUSED {
        let outcome = update(&container, &json!({"unified": { file: host.pid().to_string() }}));
        assert_eq!(place(host.pid()), before, "{file}: a process of the host was moved: {outcome}");
        let _ = outcome.refused(text);
        assert_eq!(container.status(), "running", "{file}");
    }
    drop(container);
    assert!(host.lives(), "a process of the host was killed");
}

/// What is above a cgroup's depth and number of descendants is config.json's, and nothing else of the core.
#[test]
fn bounds_of_the_tree_are_limits() {
    let runtime = Runtime::new();
    let bundle = sleeper().set("/linux/resources/unified", json!({"cgroup.max.depth": "3"}));
    let container = runtime.start_ready(&bundle);
    let bound = |file: &str| fs::read_to_string(bundle.cgroup().join(file)).expect("a bound").trim().to_owned();
    assert_eq!(bound("cgroup.max.depth"), "3");
    let _ = update(&container, &json!({"unified": {"cgroup.max.descendants": "7"}})).ok();
    assert_eq!((bound("cgroup.max.depth"), bound("cgroup.max.descendants")), ("3".into(), "7".into()));
    let _ = update(&container, &json!({"unified": {"cgroup.max.depth": "max"}})).ok();
    assert_eq!((bound("cgroup.max.depth"), bound("cgroup.max.descendants")), ("max".into(), "7".into()));
}

/// A chain of cgroups below one; the deepest.
fn chain(top: &Path, depth: usize) -> OwnedFd {
    let open = |dir: &OwnedFd, name: &str| rustix::fs::openat(dir, name, OFlags::DIRECTORY, Mode::empty());
    let mut at = rustix::fs::openat(CWD, top, OFlags::DIRECTORY, Mode::empty()).expect("a cgroup");
    for level in 0..depth {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755))
            .unwrap_or_else(|errno| panic!("level {level}: {errno}"));
        at = open(&at, "d").expect("a level");
    }
    at
}

/// boundary 9: a thousand cgroups, one in another, are listed and removed with few descriptors.
#[test]
fn a_tree_of_any_depth_is_listed_and_removed() {
    let runtime = Runtime::new();
    let unbounded = json!({"cgroup.max.depth": "max", "cgroup.max.descendants": "max"});
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "1"]).set("/linux/resources/unified", unbounded);
    let container = runtime.start_ready(&bundle);
    let dir = bundle.cgroup();
    let processes = fs::read_to_string(dir.join("cgroup.procs")).expect("cgroup.procs");
    let child = processes.lines().find(|pid| **pid != *container.pid().to_string()).expect("a child").to_owned();
    let deepest = chain(&dir, 1200);
    let procs = rustix::fs::openat(&deepest, "cgroup.procs", OFlags::WRONLY, Mode::empty()).expect("cgroup.procs");
    assert_eq!(rustix::io::write(&procs, child.as_bytes()), Ok(child.len()), "the child moves down");
    let few = |words: &[&str]| runtime.through_shell("ulimit -n 32; exec \"$0\" \"$@\"", words).arg(container.id());
    let listed = few(&["ps", "--format", "json"]).outcome();
    let mut expected = [container.pid(), child.parse().expect("a pid")];
    expected.sort_unstable();
    assert_eq!(listed.json(), json!(expected), "processes");
    let _ = few(&["delete", "--force"]).outcome().ok();
    assert!(!dir.exists(), "its cgroup is left");
}

/// boundary 9: who may write to a cgroup divides it so far and no further.
#[test]
fn a_tree_has_bounds_that_config_json_does_not_name() {
    not_on_peer!("theirs has none");
    let runtime = Runtime::new();
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]});
    let bundle = sleeper().mapped().without_mount("/sys/fs/cgroup").mount(cgroup).given_to(100_000);
    let container = runtime.start_ready(&bundle);
    drop(chain(&bundle.cgroup(), 63));
    let deep = vec!["d"; 63].join("/");
    std::os::unix::fs::chown(bundle.cgroup().join(&deep), Some(100_000), Some(100_000)).expect("it is root's inside");
    let inside = format!("/sys/fs/cgroup/{deep}");
    let made = |dir: &str| container.exec(["/probe", "mkdir", dir]).json();
    assert_eq!(made(&format!("{inside}/d")), json!({"ok": true}), "the last level");
    assert_eq!(made(&format!("{inside}/d/d")), json!({"error": "EAGAIN"}), "a level too many");
    let most = fs::read_to_string(bundle.cgroup().join("cgroup.max.descendants")).expect("a bound");
    assert_eq!(most, "8192\n");
}

/// A bound of a cgroup that was there before stays.
#[test]
fn a_bound_that_is_there_is_not_raised() {
    not_on_peer!("they set none");
    let above = Group::new();
    let own = Group::at(above.0.join("own"));
    fs::write(own.0.join("cgroup.max.depth"), "2").expect("a bound");
    let runtime = Runtime::new();
    let bundle = sleeper().set("/linux/cgroupsPath", json!(above.path_of("own")));
    let container = runtime.start_ready(&bundle);
    let bound = |file: &str| fs::read_to_string(own.0.join(file)).expect("a bound");
    assert_eq!((bound("cgroup.max.depth").as_str(), bound("cgroup.max.descendants").as_str()), ("2\n", "8192\n"));
    drop(container);
}

/// boundary 11: two containers, one after the other, in one cgroup: the end of the first is not that
/// of the second, also one that is in another's state.
#[test]
fn the_end_of_a_container_is_not_that_of_another_in_the_same_cgroup() {
    not_on_peer!("crun kills it");
    for shared in [false, true] {
        let (one, two) = (Runtime::new(), Runtime::new());
        let bundle = if shared { sleeper().without_namespace("pid") } else { sleeper() };
        let first = one.start_ready(&bundle);
        stop(&first);
        let second = two.start_ready(&in_place_of(&bundle, sleeper()));
        let _ = first.call(["kill", "--all"]).arg("KILL").outcome().ok();
        lives(&second);
        let of_first = one.call(["ps", "--format", "json", first.id()]).outcome();
        assert!(!of_first.stdout.contains(&second.pid().to_string()), "shared {shared}: {of_first}");
        for words in [&["delete"][..], &["delete", "--force"][..]] {
            let outcome = first.call(words).outcome();
            lives(&second);
            let _ = outcome.refused("which is not touched").in_one_line();
        }
        second.kill_and_delete();
        first.delete();
    }
}

/// boundary 11: so it is when an ordinary user has both.
#[test]
fn the_end_of_a_users_container_is_not_that_of_his_other_one() {
    let cgroup;
    let runtime = Runtime::as_user();
    cgroup = DelegatedCgroup::new(runtime.uid());
    let runtime = runtime.in_cgroup(&cgroup);
    for shared in [false, true] {
        let bundle = || {
            let bundle = runtime.bundle().args(["/probe", "sleep"]).set("/linux/cgroupsPath", json!("same"));
            if shared { bundle.without_namespace("pid") } else { bundle }
        };
        let (of_first, of_second) = (plain_proc(bundle(), shared), plain_proc(bundle(), shared));
        let first = runtime.start_ready(&of_first);
        stop(&first);
        let second = runtime.start_ready(&of_second);
        let outcome = first.call(["delete", "--force"]).outcome();
        lives(&second);
        let _ = outcome.refused("which is not touched");
        second.kill_and_delete();
        first.delete();
    }
    assert_eq!(cgroup.children(), Vec::<String>::new());
}

/// Without a pid namespace of its own nobody in a user namespace may mount a procfs.
fn plain_proc(bundle: Bundle, shared: bool) -> Bundle {
    if !shared {
        return bundle;
    }
    let proc = json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind", "nosuid", "noexec", "nodev"]});
    let bundle = bundle.without_mount("/proc").mount(proc);
    bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]))
}

/// boundary 11: nor that of a process which somebody else has put there since.
#[test]
fn the_end_of_a_container_is_not_that_of_a_process_of_the_host() {
    not_on_peer!("crun kills it");
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    stop(&container);
    let mut host = OfHost::new();
    fs::write(bundle.cgroup().join("cgroup.procs"), host.pid().to_string()).expect("it moves in");
    let _ = container.call(["kill", "--all"]).arg("KILL").outcome().ok();
    let outcome = container.call(["delete", "--force"]).outcome();
    assert!(host.lives(), "a process of the host was killed: {outcome}");
    let _ = outcome.refused("which is not touched").in_one_line();
    drop(host);
    container.delete();
}

/// What was joining a frozen container is none of its own yet, and ends all the same.
#[test]
fn a_process_that_was_joining_a_frozen_container_ends_with_it() {
    not_on_peer!("they hang");
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = container.call(["pause"]).outcome().ok();
    let joining = container.exec_call(["--ignore-paused"], ["/probe"]).spawn();
    eventually("a process that joins", || {
        let processes = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
        if processes.lines().count() > 1 { Ok(()) } else { Err(processes) }
    });
    container.kill("KILL");
    let _ = container.wait();
    container.delete();
    assert!(!joining.outcome().succeeded());
    assert!(!bundle.cgroup().exists(), "its cgroup is left");
}

/// boundary 11: a container that has left its cgroup, which another one has taken, does nothing there.
#[test]
fn a_container_that_has_left_its_cgroup_does_nothing_to_who_has_taken_it() {
    not_on_peer!("they freeze and kill it");
    let elsewhere = Group::new();
    let runtime = Runtime::new();
    let bundle = sleeper().without_namespace("pid");
    let first = runtime.start_ready(&bundle);
    fs::write(elsewhere.0.join("cgroup.procs"), first.pid().to_string()).expect("it moves");
    let second = runtime.start_ready(&in_place_of(&bundle, sleeper()));
    let _ = first.call(["pause"]).outcome().refused("has no cgroup of its own");
    let _ = update(&first, &json!({"unified": {"cgroup.max.depth": "1"}})).refused("has no cgroup of its own");
    let joined = first.exec(["/probe", "facts"]).ok();
    assert!(
        joined.stderr.contains(&elsewhere.path_of("")[..]) || joined.stderr.contains("has left its cgroup"),
        "{joined}"
    );
    lives(&second);
    stop(&first);
    lives(&second);
    let _ = first.call(["delete", "--force"]).outcome().refused("which is not touched");
    lives(&second);
    second.kill_and_delete();
    first.delete();
}

/// A creation that fails leaves a cgroup to who had it before.
#[test]
fn a_creation_that_fails_takes_no_cgroup() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let first = runtime.start_ready(&bundle);
    stop(&first);
    let fails = in_place_of(&bundle, Bundle::new().args(["/none"]));
    assert!(runtime.try_create(&fails).is_err());
    first.delete();
    assert!(!bundle.cgroup().exists(), "its cgroup is left");
}

/// boundary 11: its own processes that outlive its first one are its own, whatever it writes on its cgroup.
#[test]
fn a_mark_that_the_container_has_changed_saves_nobody() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "fork-sleep", "1"]).without_namespace("pid");
    let container = runtime.start_ready(&bundle);
    for name in ["trusted.cleat", "user.cleat"] {
        rustix::fs::setxattr(bundle.cgroup(), name, b"another one", XattrFlags::empty()).expect("a mark");
    }
    let processes = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(processes.lines().count(), 2, "{processes:?}");
    let _ = container.call(["pause"]).outcome().ok();
    let _ = container.call(["resume"]).outcome().ok();
    container.kill("KILL");
    let _ = container.wait();
    eventually("the end of both", || {
        integration::reap_orphans_in(&bundle.cgroup());
        let events = fs::read_to_string(bundle.cgroup().join("cgroup.events")).expect("cgroup.events");
        events.contains("populated 0").then_some(()).ok_or(events)
    });
    container.delete();
}

/// A process lives as long as one of its threads, be it not the first.
#[test]
fn a_container_whose_first_thread_has_ended_runs() {
    not_on_peer!("they call it stopped");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "thread-stays"]);
    let container = runtime.start_ready(&bundle);
    eventually("the end of its first thread", || {
        let stat = fs::read_to_string(container.proc("stat")).expect("stat");
        stat.contains(") Z ").then_some(()).ok_or(stat)
    });
    assert_eq!(container.status(), "running");
    let _ = container.call(["delete"]).outcome().refused("that is not stopped");
    container.kill("KILL");
    let _ = container.wait();
    assert_eq!(container.status(), "stopped");
    container.delete();
}

/// A threaded cgroup below one of the test's own.
fn threaded(above: &Group, name: &str) -> Group {
    let group = Group::at(above.0.join(name));
    fs::write(group.0.join("cgroup.type"), "threaded").expect("a threaded cgroup");
    group
}

/// boundary 13: in a subtree of threads, where the kernel takes no `cgroup.kill`.
#[test]
fn a_container_in_a_threaded_cgroup_can_be_ended() {
    let above = Group::new();
    let runtime = Runtime::new();
    for words in [&["kill", "KILL"][..], &["delete", "--force"][..]] {
        let own = threaded(&above, "own").into_path();
        let bundle = Bundle::new().args(["/probe", "fork-sleep", "3"]).without_namespace("pid");
        let bundle = bundle.set("/linux/cgroupsPath", json!(above.path_of("own")));
        let container = runtime.start_ready(&bundle);
        let threads = fs::read_to_string(own.join("cgroup.threads")).expect("cgroup.threads");
        assert_eq!(threads.lines().count(), 4, "{threads:?}");
        let joined: Orphan = container.exec_detached(Vec::<&str>::new(), ["/probe", "sleep"]);
        let listed = runtime.call(["ps", "--format", "json", container.id()]).outcome().json();
        let listed = listed.as_array().expect("pids").len();
        assert_eq!(listed, 5, "processes");
        let _ = container.call(["pause"]).outcome().ok();
        assert_eq!(container.status(), "paused");
        let call = if words[0] == "kill" { container.call(["kill"]).arg("KILL") } else { container.call(words) };
        let _ = call.outcome().ok();
        drop(joined);
        eventually("the end of all", || {
            integration::reap_orphans_in(&own);
            let left = fs::read_to_string(own.join("cgroup.threads")).unwrap_or_default();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        drop(container);
        assert!(!own.exists(), "its cgroup is left");
    }
}

/// boundary 13: below a cgroup that has threaded ones, where nothing else can live.
#[test]
fn a_path_below_a_domain_of_threads_is_a_place() {
    let above = Group::new();
    let beside = threaded(&above, "beside");
    let runtime = Runtime::new();
    let bundle = sleeper().set("/linux/cgroupsPath", json!(above.path_of("a/b")));
    let checked = runtime.command(runtime.program()).arg("check").arg(bundle.path()).outcome();
    assert!(integration::is_peer() || checked.succeeded(), "{checked}");
    let container = runtime.start_ready(&bundle);
    assert_eq!(place(container.pid()), above.path_of("a/b"));
    container.kill_and_delete();
    drop(beside);
    let _ = fs::remove_dir(above.0.join("a"));
}

/// boundary 13: a container that makes a threaded cgroup is listed all the same.
#[test]
fn processes_are_listed_where_a_container_has_threaded_cgroups() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let inside = Group::at(bundle.cgroup().join("t"));
    fs::write(inside.0.join("cgroup.type"), "threaded").expect("a threaded cgroup");
    fs::write(inside.0.join("cgroup.threads"), container.pid().to_string()).expect("its thread moves");
    let listed = runtime.call(["ps", "--format", "json", container.id()]).outcome().json();
    assert_eq!(listed, json!([container.pid()]));
    container.kill_and_delete();
}
