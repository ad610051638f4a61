//! What of the host's and the caller's stays theirs: terminals, groups, procfs, the word of others.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use integration::{Bundle, Outcome, Pty, Runtime, give, not_on_peer, unique_name, unused_uid};
use serde_json::{Value, json};

/// A user of the container who is no user of the host.
fn of_user(bundle: Bundle, uid: u32) -> Bundle {
    bundle.set("/process/user", json!({ "uid": uid, "gid": uid }))
}

fn owner(fd: impl AsFd) -> (u32, u32, u32) {
    let stat = rustix::fs::fstat(fd).expect("fstat");
    (stat.st_uid, stat.st_gid, stat.st_mode)
}

// --- 3: what the caller passes in stays the caller's ---------------------------------------------------------------

/// The caller's terminal: a user of the host with the number of the container's would read what is
/// typed on it, by its name in /dev/pts, as long as it is there.
#[test]
fn boundary_3_the_callers_terminal_stays_his() {
    let runtime = Runtime::new();
    let (mut pty, slave) = Pty::open();
    let before = owner(&slave);
    let bundle = of_user(Bundle::new(), 1000).args(["/probe", "print", "seen"]);
    let run = runtime.call(["run", "--bundle"]).arg(bundle.path()).arg(unique_name()).terminal(&slave).spawn();
    let _ = pty.wait_for("seen");
    assert_eq!(run.outcome().code(), 0);
    assert_eq!(owner(&slave), before, "the caller's terminal was given away by run");
    let bundle = of_user(Bundle::new(), 1000).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let exec = container.exec_call(["--user", "1001"], ["/probe", "print", "again"]).terminal(&slave).spawn();
    let _ = pty.wait_for("again");
    assert_eq!(exec.outcome().code(), 0);
    assert_eq!(owner(&slave), before, "the caller's terminal was given away by exec");
}

/// A fifo has a name, by which the user of that number would read what the container writes.
#[test]
fn boundary_3_the_callers_fifo_stays_his() {
    not_on_peer!("crun gives it away, runc with --detach");
    let runtime = Runtime::new();
    let bundle = of_user(Bundle::new(), 1000).args(["/probe", "print", "seen"]);
    let fifo = bundle.dir().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a fifo");
    let both = File::options().read(true).write(true).open(&fifo).expect("the fifo");
    let script = format!("exec >{}; exec \"$0\" \"$@\"", fifo.display());
    let call = runtime.through_shell(&script, ["run", "--bundle"]).arg(bundle.path()).arg(unique_name());
    let _ = call.outcome().ok();
    let mut text = [0; 5];
    std::io::Read::read_exact(&mut &both, &mut text).expect("what the container wrote");
    assert_eq!(&text, b"seen\n");
    assert_eq!(owner(&both).0, 0, "the caller's fifo was given away");
}

/// A pipe has no name: its user may open `/dev/stderr`, as with runc and crun; in a user namespace, too,
/// also as root of it (where they leave the pipe to somebody who is nobody there).
#[test]
fn boundary_3_a_pipe_can_be_opened_anew_by_its_user() {
    not_on_peer!("not in a user namespace");
    for (mapped, uid, outside) in [(false, 1000, 1000), (true, 0, 100_000), (true, 7, 100_007)] {
        let runtime = Runtime::new();
        let bundle = Bundle::new().set("/process/args", json!(["/probe", "append", "/proc/self/fd/2", "again"]));
        let bundle = if mapped { bundle.given_to(100_000).mapped() } else { bundle };
        let bundle = of_user(bundle, uid);
        let (pipe, end) = rustix::pipe::pipe().expect("a pipe");
        let call = runtime.call(["run", "--bundle"]).arg(bundle.path()).arg(unique_name());
        let outcome = with_stderr(call, &end);
        assert_eq!(outcome.json(), json!({ "ok": true }), "user {uid}, mapped: {mapped}");
        assert_eq!(owner(&pipe).0, outside);
        let mut text = [0; 5];
        rustix::io::read(&pipe, &mut text).expect("what came through the pipe");
        assert_eq!(&text, b"again");
    }
}

fn with_stderr(call: integration::Call, end: &OwnedFd) -> Outcome {
    call.stderr(end).outcome()
}

// --- 7: without pivot_root ---------------------------------------------------------------------------------------

/// What a user namespace made inside sees of a procfs and a sysfs of its own.
fn of_fresh(bundle: Bundle) -> Bundle {
    of_user(bundle, 1000).args(["/probe", "attack-fresh"])
}

fn fresh(runtime: &Runtime, bundle: Bundle, options: &[&str]) -> Value {
    runtime.run_with(&of_fresh(bundle), |call| call.args(options)).json()
}

const REFUSED: &str = "EPERM";

/// With `--no-pivot` a procfs or sysfs of the host stays in the mount namespace, wherever it is. A user namespace
/// made inside may then mount one without masks (Linux fs/namespace.c, `mount_too_revealing`).
#[test]
fn boundary_7_no_pivot_leaves_no_procfs_of_the_host() {
    let runtime = Runtime::new();
    let refused = json!({ "proc": { "error": REFUSED }, "sysfs": { "error": REFUSED } });
    let pivoted = fresh(&runtime, Bundle::new(), &[]);
    assert_eq!(pivoted, refused, "with pivot_root");
    let seen = fresh(&runtime, Bundle::new(), &["--no-pivot"]);
    assert_eq!(seen, refused, "--no-pivot: what is masked is seen");
    not_on_peer!("crun leaves them");
    // One more, as in a chroot's directory; one below a mount that is covered, and one that is covered.
    let dir = runtime.dir().join("more");
    fs::create_dir(&dir).expect("a directory");
    let at = dir.display();
    let script = format!(
        "mount -t tmpfs none {at} && cd {at} && mkdir -p 'a b/proc' c/proc d && mount -t proc proc 'a b/proc' && \
         mount -t sysfs none 'a b' && umount 'a b' && mount -t tmpfs none c && mkdir c/proc && \
         mount -t proc proc c/proc && mount -t tmpfs none c && mount -t proc proc d && mount -t sysfs sysfs d && cd /"
    );
    let runtime = runtime.after(&script);
    let seen = fresh(&runtime, Bundle::new(), &["--no-pivot"]);
    assert_eq!(seen, refused, "--no-pivot: what is masked is seen by the host's other procfs");
}

/// In a user namespace the host's mounts are locked: those that can be reached are covered.
#[test]
fn boundary_7_no_pivot_in_a_user_namespace_covers_what_is_locked() {
    not_on_peer!("its errors are others");
    let bundle = || Bundle::new().given_to(100_000).mapped();
    let runtime = Runtime::new();
    let dir = runtime.dir().join("more");
    fs::create_dir(&dir).expect("a directory");
    let at = dir.display();
    let runtime = runtime.after(&format!("mount -t proc proc {at}"));
    let seen = fresh(&runtime, bundle(), &["--no-pivot"]);
    assert_eq!(seen["proc"], json!({ "error": REFUSED }), "what is masked is seen: {seen}");
    let runtime = runtime.after(&format!("mount -t tmpfs none {at}"));
    let outcome = runtime.run_with(&of_fresh(bundle()), |call| call.arg("--no-pivot")).refused("do without --no-pivot");
    assert!(outcome.stderr.contains(&dir.display().to_string()), "{outcome}");
}

// --- 10: groups --------------------------------------------------------------------------------------------------------

const SHADOW: u32 = 4242;

/// A process that root has join a user namespace in which setgroups(2) is denied, keeps no group of
/// root's: it could read what only that group may.
#[test]
fn boundary_10_exec_into_a_users_container_keeps_no_group_of_the_caller() {
    let user = Runtime::as_user();
    let secret = user.dir().join("secret");
    fs::write(&secret, "of a group").expect("a file");
    chown(&secret, Some(0), Some(SHADOW)).expect("chown");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).expect("chmod");
    let bundle = user.bundle().with_file("/secret", "").bind(&secret, "/secret", &["bind"]).args(["/probe", "sleep"]);
    let container = user.start_ready(&bundle);
    // It is root's now to say what is in the container.
    give(user.root(), 0);
    let root = Runtime::new();
    let exec = |args: &[&str]| {
        let call = root.command("setpriv").args(["--groups", &SHADOW.to_string()]).arg(user.program());
        call.arg("--root").arg(user.root()).args(["exec", container.id()]).args(args).outcome().json()
    };
    assert_eq!(exec(&["/probe", "read", "/secret"]), json!({ "error": "EACCES" }), "a group of root's was kept");
    let facts = exec(&["/probe", "facts"]);
    assert_eq!((&facts["groups"], &facts["uid"], &facts["setgroups"]), (&json!([]), &json!(0), &json!("deny")));
    give(user.root(), user.uid());
}

/// Nor one that joins such a namespace when its container is made.
#[test]
fn boundary_10_a_joined_user_namespace_without_setgroups_gets_no_group_of_the_caller() {
    not_on_peer!("its errors are others");
    let runtime = Runtime::new();
    let owner = runtime.command("unshare").args(["--user", "--map-root-user", "sleep", "1000"]).spawn();
    let path = format!("/proc/{}/ns/user", owner.pid());
    let mapped = format!("/proc/{}/uid_map", owner.pid());
    integration::eventually("its mapping", || match fs::read_to_string(&mapped) {
        Ok(text) if !text.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let bundle = Bundle::new().namespace(json!({ "type": "user", "path": path })).without_mount("/dev/pts");
    let script = format!("exec setpriv --groups {SHADOW} \"$0\" \"$@\"");
    let run = |bundle: &Bundle| {
        runtime.through_shell(&script, ["run", "--bundle"]).arg(bundle.path()).arg(unique_name()).outcome()
    };
    let facts = run(&bundle).json();
    assert_eq!((&facts["groups"], &facts["setgroups"]), (&json!([]), &json!("deny")), "groups of the caller are kept");
    let bundle = bundle.set("/process/user/additionalGids", json!([0]));
    let _ = run(&bundle).refused("additionalGids").in_one_line();
}

// --- 12: whose word a state is --------------------------------------------------------------------------------

/// Of a user's own containers one, whose state the user may change at will: root must not do what it says.
#[test]
fn boundary_12_a_state_of_somebody_else_is_not_believed() {
    not_on_peer!("runc and crun believe it");
    let (runtime, uid) = (Runtime::new(), unused_uid());
    let marker = runtime.dir().join("marker");
    let bundle = Bundle::new()
        .args(["/probe", "exit", "0"])
        .raw_hook("poststop", json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("id >{}", marker.display())] }));
    let of_another = |root: &Path, id: &str, what: &str| {
        let call = |args: &[&str]| runtime.command(runtime.program()).arg("--root").arg(root).args(args).outcome();
        for args in [&["delete", "--force", id][..], &["delete", id], &["start", id], &["kill", id], &["state", id]] {
            let outcome = call(args);
            assert!(!marker.exists(), "{what}: {args:?} has executed a hook of user {uid}: {outcome}");
            let outcome = outcome.refused("user 0").in_one_line();
            assert!(outcome.stderr.contains(&root.display().to_string()), "{what}: {args:?}: {outcome}");
        }
        call(&["list"])
    };
    for (what, path) in [("the state root", ""), ("the container's directory", "ID"), ("the file", "ID/state.json")] {
        let (root, id) = (runtime.dir().join(unique_name()), unique_name());
        let create = runtime.command(runtime.program()).arg("--root").arg(&root).args(["create", "--bundle"]);
        let _ = create.arg(bundle.path()).arg(&id).outcome().ok();
        let place = root.join(path.replace("ID", &id));
        chown(&place, Some(uid), Some(uid)).expect("chown");
        let listed = of_another(&root, &id, what);
        assert!(listed.stderr.contains(&format!("belongs to user {uid}")), "{what}: list says nothing: {listed}");
        assert!(!listed.stdout.contains(&id), "{what}: {listed}");
        chown(&place, Some(0), Some(0)).expect("chown");
        let mode = fs::metadata(&place).expect("its mode").permissions().mode();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode | 0o002)).expect("chmod");
        let listed = of_another(&root, &id, what);
        assert!(listed.stderr.contains("chmod go-w"), "{what}: list says nothing: {listed}");
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("chmod");
        let delete = runtime.command(runtime.program()).arg("--root").arg(&root);
        let _ = delete.args(["delete", "--force", &id]).outcome().ok();
        assert!(marker.exists(), "the hook of a state that is root's own is executed");
        fs::remove_file(&marker).expect("the marker");
    }
}

/// Nor is anything made where another could exchange it.
#[test]
fn boundary_12_nothing_is_made_in_a_state_root_of_somebody_else() {
    not_on_peer!("runc and crun make it");
    let runtime = Runtime::new();
    fs::create_dir(runtime.root()).expect("a directory");
    let uid = unused_uid();
    give(runtime.root(), uid);
    let outcome = runtime.run(&Bundle::new()).refused(&format!("belongs to user {uid}"));
    assert!(outcome.stderr.contains("--root"), "{outcome}");
    assert_eq!(fs::read_dir(runtime.root()).expect("the state root").count(), 0);
}

/// A directory of root's is believed by everybody.
#[test]
fn boundary_12_an_ordinary_user_believes_root() {
    let runtime = Runtime::as_user();
    give(runtime.dir(), 0);
    fs::set_permissions(runtime.dir(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(runtime.root()).expect("a directory");
    let outcome = runtime.command_from_anywhere(runtime.program()).arg("--root").arg(runtime.root()).arg("list");
    let _ = outcome.outcome().ok();
}

// --- 14: small ones ------------------------------------------------------------------------------------------------------

/// A message queue belongs to the container's root.
#[test]
fn boundary_14_message_queues_belong_to_the_containers_root() {
    not_on_peer!("of runc's the group is nobody's");
    let runtime = Runtime::new();
    for bundle in [Bundle::new(), Bundle::new().given_to(100_000).mapped()] {
        let stat = runtime.json(&bundle.args(["/probe", "stat", "/dev/mqueue"]));
        assert_eq!((&stat["uid"], &stat["gid"], &stat["mode"]), (&json!(0), &json!(0), &json!("1777")), "{stat}");
    }
    let user = Runtime::as_user();
    let stat = user.json(&user.bundle().args(["/probe", "stat", "/dev/mqueue"]));
    assert_eq!((&stat["uid"], &stat["gid"]), (&json!(0), &json!(0)), "{stat}");
}

/// The superblocks of procfs and sysfs are read-only where each of their mounts is, as with runc.
#[test]
fn boundary_14_a_read_only_sysfs_is_so_as_a_whole() {
    let runtime = Runtime::new();
    let options = |bundle: Bundle| {
        let text = runtime.json(&bundle.args(["/probe", "read", "/proc/self/mountinfo"]))["text"].clone();
        let text = text.as_str().expect("mountinfo").to_owned();
        let line = text.lines().find(|line| line.contains(" /sys ")).expect("a line of /sys").to_owned();
        line.rsplit(' ').next().expect("options").to_owned()
    };
    for mapped in [false, true] {
        let bundle = || if mapped { Bundle::new().given_to(100_000).mapped() } else { Bundle::new() };
        assert!(options(bundle()).starts_with("ro"), "the superblock of sysfs is writable, mapped: {mapped}");
        let more = json!({ "destination": "/mnt", "type": "sysfs", "source": "sysfs", "options": ["rw"] });
        let both = options(bundle().with_dir("/mnt").mount(more));
        assert!(both.starts_with("rw"), "another mount of it is to be written to, mapped: {mapped}");
    }
}

/// `tmpcopyup`, while a file of root's and one of somebody else change places. The copy has the owner and the mode
/// of the file that was copied, or a program of anybody's would be a set-user-ID one of root's.
#[test]
fn boundary_14_copy_up_gives_nothing_the_mode_of_another_file() {
    not_on_peer!("they have other ways and errors");
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_file("/data/a", "root's").with_mode("/data/a", 0o4755).with_file("/data/b", "evil");
    chown(bundle.rootfs().join("data/b"), Some(1000), Some(1000)).expect("chown");
    fs::set_permissions(bundle.rootfs().join("data/b"), fs::Permissions::from_mode(0o644)).expect("chmod");
    let (a, b) = (bundle.rootfs().join("data/a"), bundle.rootfs().join("data/b"));
    let exchange = integration::Exchange::of(&a, &b);
    let tmpfs = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
    let bundle = bundle.mount(tmpfs).set("/root/readonly", json!(false));
    let bundle = bundle.args(["/probe", "stat", "/data/a", "/data/b"]);
    for round in 0..integration::tries() {
        let outcome = runtime.run(&bundle);
        if !outcome.succeeded() {
            assert!(outcome.stderr.contains("exchanged") || outcome.stderr.contains("EEXIST"), "{outcome}");
            continue;
        }
        for copy in integration::json_lines(&outcome.stdout) {
            let evil = copy["size"] == "evil".len();
            let as_evil = (&copy["uid"], &copy["mode"]) == (&json!(1000), &json!("0644"));
            assert_eq!(evil, as_evil, "round {round}: a file has the mode of another one: {copy}");
        }
    }
    drop(exchange);
}
