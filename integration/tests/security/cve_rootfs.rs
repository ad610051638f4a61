//! The rest of the security record (SECURITY.md): what `hostile.rs` has not tried yet, each line
//! with an attacker of its own.
//!
//! A race is tried `CLEAT_TRIES` times (100). What is attacked is harmless: files of the test's
//! own, a copy of the runtime, a kernel parameter that gets the value it has.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, symlink};

use integration::{
    Bundle, ConsoleSocket, Container, Exchange, Outcome, Runtime, contents, not_on_peer, note, tries, unique_name,
};
use rustix::fs::{CWD, FileType, Mode, SealFlags, makedev, mknodat};
use serde_json::json;

/// Where file systems of this type are mounted, as the container sees it.
fn mounted(container: &Container<'_>, fstype: &str) -> Vec<String> {
    let text = fs::read_to_string(container.proc("mountinfo")).expect("mountinfo");
    let mounts = text.lines().filter_map(|line| line.split_once(" - "));
    let wanted = mounts.filter(|(_, right)| right.starts_with(&format!("{fstype} ")));
    wanted.filter_map(|(left, _)| left.split(' ').nth(4).map(str::to_owned)).collect()
}

// --- links and names below /proc and /sys -----------------------------------------------------------

/// CVE-2023-27561, CVE-2023-28642: `/proc` or `/sys` of the image is a directory and a link in turn:
/// what is mounted there is mounted on the directory or not at all.
#[test]
fn cve_2023_27561_proc_becomes_a_link() {
    let runtime = Runtime::new();
    for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
        let bundle = Bundle::new().with_dir(name).with_dir("elsewhere").with_link("evil", "/elsewhere");
        let _exchange = Exchange::of(bundle.rootfs().join(name), bundle.rootfs().join("evil"));
        let mut made = 0;
        for _ in 0..tries() / 2 {
            let Ok(container) = runtime.try_create(&bundle) else { continue };
            let seen = mounted(&container, fstype);
            // Read-only parts of it are mounts below.
            let ok = seen.iter().all(|at| at.starts_with(&format!("/{name}")) || at.starts_with("/evil"));
            assert!(ok && !seen.is_empty(), "the link at /{name} was followed: {fstype} is mounted on {seen:?}");
            made += 1;
        }
        note!("{made} of {} containers were made", tries() / 2);
    }
}

/// GHSA-3q8j-pf29-vwv8, CVE-2023-27561: the directory below the procfs is renamed between the mount
/// and the masks, and another one has its name: the masks must be where the procfs is.
#[test]
fn ghsa_3q8j_proc_is_renamed_under_its_masks() {
    not_on_peer!("it looks for the masked paths by name");
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_dir("proc").with_dir("evil");
    let _exchange = Exchange::of(bundle.rootfs().join("proc"), bundle.rootfs().join("evil"));
    for _ in 0..tries() {
        let Ok(container) = runtime.try_create(&bundle) else { continue };
        for name in ["proc", "evil"] {
            let file = container.proc(&format!("root/{name}/timer_list"));
            let Ok(meta) = fs::metadata(file) else { continue };
            assert!(meta.file_type().is_char_device(), "procfs is at /{name}, and its timer_list is not masked");
        }
        let parts = mounted(&container, "proc");
        assert!(parts.iter().any(|at| at.ends_with("/sys")), "/proc/sys is not read-only: {parts:?}");
    }
}

/// GHSA-3q8j-pf29-vwv8: a read-only path in a volume is looked up once: what is exchanged between
/// the copy and the mount would cover one file with another.
#[test]
fn ghsa_3q8j_a_read_only_path_is_bound_onto_itself() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let volume = bundle.dir().join("volume");
    for name in ["a", "b"] {
        fs::create_dir_all(volume.join(name)).expect("a directory");
        fs::write(volume.join(name).join("file"), name).expect("a file");
    }
    let bundle = bundle
        .with_dir("/volume")
        .bind(&volume, "/volume", &["bind"])
        .set("/linux/readonlyPaths", json!(["/volume/a/file"]))
        .args(["/probe", "sleep"]);
    for _ in 0..tries() {
        let exchange = Exchange::of(volume.join("a"), volume.join("b"));
        let created = runtime.try_create(&bundle);
        drop(exchange);
        let Ok(container) = created else { continue };
        let text = fs::read_to_string(container.proc("mountinfo")).expect("mountinfo");
        let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let covered: Vec<_> =
            fields.filter(|f| f[4].ends_with("/file")).map(|f| (f[3].to_owned(), f[4].to_owned())).collect();
        assert_eq!(covered.len(), 1, "mounts on the file: {covered:?}");
        let (source, target) = &covered[0];
        assert!(source.ends_with(target.as_str()), "{target} is covered by {source}");
    }
}

// --- procfs -------------------------------------------------------------------------------------------

/// CVE-2019-16884: the image has files of its own where a label would be written. (On a machine with
/// AppArmor there is no such profile, on one without it the kernel refuses: an error either way, and
/// never a container that runs without its label.)
#[test]
fn cve_2019_16884_a_label_is_not_written_to_a_file_of_the_image() {
    not_on_peer!("it asks the kernel in another way whether there is AppArmor");
    let runtime = Runtime::new();
    let fakes = ["/proc/thread-self/attr/exec", "/proc/thread-self/attr/apparmor/exec", "/proc/self/attr/exec"];
    let bundle = fakes.iter().fold(Bundle::new().without_mount("/proc"), |bundle, fake| bundle.with_file(fake, ""));
    let bundle = bundle
        .set("/root/readonly", json!(false))
        .set("/process/apparmorProfile", json!("cleat-test-no-such-profile"))
        .args(["/probe", "exit", "0"]);
    // In a mount namespace of its own the runtime finds AppArmor enabled.
    let enabled = "/sys/module/apparmor/parameters";
    let script = format!(
        "exec unshare -m --propagation private sh -c 'mount -t tmpfs fake /sys/module && mkdir -p {enabled} && \
         echo Y >{enabled}/enabled && exec \"$0\" \"$@\"' \"$0\" \"$@\""
    );
    let outcome = runtime.through_shell(&script, ["run", "-b"]).arg(bundle.path()).arg(unique_name()).outcome();
    for fake in fakes {
        let seen = fs::read_to_string(bundle.rootfs().join(&fake[1..])).expect("the fake file");
        assert_eq!(seen, "", "the label was written to {fake} of the image");
    }
    let _ = outcome.refused("label").in_one_line();
}

/// CVE-2019-16884, CVE-2025-52881: the same with kernel parameters; nothing is mounted on `/proc`.
#[test]
fn cve_2019_16884_a_sysctl_is_not_written_to_a_file_of_the_image() {
    let runtime = Runtime::new();
    let fake = "/proc/sys/net/ipv4/ip_forward";
    let bundle = Bundle::new()
        .without_mount("/proc")
        .with_file(fake, "untouched")
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .args(["/probe", "exit", "0"]);
    let outcome = runtime.run(&bundle);
    assert!([0, 1].contains(&outcome.code()), "{outcome}");
    let seen = fs::read_to_string(bundle.rootfs().join(&fake[1..])).expect("the fake file");
    assert_eq!(seen, "untouched", "a sysctl was written to a file of the image");
}

/// CVE-2019-16884, CVE-2025-52881: a volume whose place in the image is a link into `/proc` covers
/// the kernel parameter that is about to be written.
#[test]
fn cve_2019_16884_a_volume_that_leads_into_proc() {
    let runtime = Runtime::new();
    let bundle = Bundle::new();
    let fake = bundle.dir().join("fake");
    fs::write(&fake, "untouched").expect("a file");
    let bundle = bundle
        .with_link("/data", "/proc/sys/net/ipv4")
        .bind(&fake, "/data/ip_forward", &["bind"])
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .without("/linux/readonlyPaths")
        .args(["/probe", "read", "/proc/sys/net/ipv4/conf/all/forwarding"]);
    let outcome = runtime.run(&bundle);
    assert_eq!(fs::read_to_string(&fake).expect("the fake file"), "untouched", "a sysctl was written to it");
    if outcome.succeeded() {
        assert_eq!(outcome.json(), json!({ "text": "1\n" }), "the sysctl was written to nowhere");
    }
}

/// CVE-2025-52881, with mounts that race: what is to be bound on `/proc` is a directory of the
/// attacker's, on which a procfs comes and goes, here and, by propagation, where the container is made.
#[test]
fn cve_2025_52881_a_mount_that_comes_and_goes() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52881").args(["/probe", "exit", "0"]);
    let (path, fake) = (bundle.path(), bundle.path().join("fake"));
    let mut made = 0;
    // Some at a time, in a mount namespace of their own, with the attacker; their number comes last.
    for _ in 0..tries().div_ceil(50) {
        let script = format!(
            "mount --bind {path} {path} && mount --make-shared {path} || exit; \
             {probe} attack-mount {fake} >{log} 2>&1 & n=0; i=0; while [ $i -lt 50 ]; do \
             \"$0\" \"$@\" && n=$((n+1)); i=$((i+1)); done 2>/dev/null; kill $!; wait; echo $n",
            probe = integration::probe().display(),
            path = path.display(),
            fake = fake.display(),
            log = runtime.dir().join("attacker").display(),
        );
        let script = format!("exec unshare -m --propagation private sh -c '{script}' \"$0\" \"$@\"");
        let call = runtime.through_shell(&script, ["run", "-b"]).arg(path).arg(unique_name());
        let outcome = call.outcome().ok();
        made += outcome.stdout.trim().parse::<u32>().expect("a number of creations");
        let seen = fs::read_to_string(fake.join("sys/net/ipv4/ip_forward")).expect("the fake file");
        assert_eq!(seen, "untouched\n", "a sysctl was written to a file of the attacker");
    }
    assert!(made > 0, "no container was made");
    note!("{made} containers were made");
}

/// CVE-2022-0811: one parameter of config.json is one file below the container's part of
/// `/proc/sys`: no name leads to another, and no value brings one along. (The kernel parameters of
/// the host would get the value that they have.)
#[test]
fn cve_2022_0811_a_sysctl_is_one_parameter() {
    not_on_peer!("the messages are ours");
    let runtime = Runtime::new();
    let hosts = "kernel/randomize_va_space";
    let value = fs::read_to_string(format!("/proc/sys/{hosts}")).expect("a kernel parameter");
    for key in [
        "kernel.shm_rmid_forced+kernel.randomize_va_space",
        "net.ipv4.ip_forward+kernel.randomize_va_space",
        "net/../kernel/randomize_va_space",
        "net/ipv4/../../kernel/randomize_va_space",
        "net/./../kernel/randomize_va_space",
        "fs/mqueue/../../kernel/randomize_va_space",
        "net//../kernel/randomize_va_space",
        "/kernel/randomize_va_space",
        "../sys/kernel/randomize_va_space",
        "kernel.randomize_va_space",
        "net.ipv4.ip_forward ",
        "net.ipv4.ip_forward\n",
        "",
    ] {
        let bundle = Bundle::new().set("/linux/sysctl", json!({ key: value.trim() }));
        let outcome = runtime.run(&bundle);
        assert!(!outcome.succeeded(), "{key:?} is accepted: {outcome}");
        let _ = outcome.refused("linux.sysctl[").in_one_line();
    }
    let values = ["1+net.ipv4.ip_default_ttl=99", "1\nnet.ipv4.ip_default_ttl=99", "1\n+net.ipv4.ip_default_ttl=99"];
    for value in values {
        let bundle = Bundle::new().set("/linux/sysctl", json!({ "net.ipv4.ip_forward": value })).args([
            "/probe",
            "read",
            "/proc/sys/net/ipv4/ip_default_ttl",
        ]);
        let outcome = runtime.run(&bundle);
        assert!(!outcome.stdout.contains("99"), "{value:?} sets another parameter: {outcome}");
    }
}

// --- terminals ----------------------------------------------------------------------------------------

/// Makes a container with a terminal for an ordinary user; how that went.
fn with_console(runtime: &Runtime, bundle: &Bundle) -> Result<(), Outcome> {
    let socket = ConsoleSocket::listen(runtime.dir());
    let container = runtime.try_create_with(bundle, |call| call.arg("--console-socket").arg(socket.path()))?;
    let _master = socket.receive();
    drop(container);
    Ok(())
}

/// CVE-2025-52565: `/dev/pts` is the image's own, with a multiplexer that leads to another devpts, is
/// a file, or a link: a terminal comes from a devpts that is mounted there, or not at all.
#[test]
fn cve_2025_52565_dev_pts_is_the_images_own() {
    not_on_peer!("it opens what is there");
    let runtime = Runtime::new();
    for kind in ["device", "file", "link"] {
        let bundle = Bundle::of_workspace("hostile-2025-52565").edit(|spec| {
            for mount in spec["mounts"].as_array_mut().expect("mounts") {
                if mount["type"] == "devpts" {
                    mount["destination"] = json!("/dev/pts/pts");
                }
            }
        });
        fs::remove_file(bundle.rootfs().join("dev/console")).expect("the link of the bundle");
        let ptmx = bundle.rootfs().join("dev/pts/ptmx");
        match kind {
            // The kernel looks for a devpts beside it.
            "device" => mknodat(CWD, &ptmx, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(5, 2))
                .expect("mknod"),
            "file" => fs::write(&ptmx, "").expect("a file"),
            _ => symlink("pts/ptmx", &ptmx).expect("a link"),
        }
        let outcome = with_console(&runtime, &bundle).expect_err("create succeeds");
        let _ = outcome.refused("/dev/pts").in_one_line();
    }
}

/// CVE-2025-52565: `/dev/pts` is exchanged, after the terminal was made, for a directory in which
/// its name is a link to a file of the host.
#[test]
fn cve_2025_52565_a_terminals_name_becomes_a_link() {
    let runtime = Runtime::new();
    let bundle = Bundle::of_workspace("hostile-2025-52565")
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .args(["/probe", "sleep"]);
    let canary = bundle.path().join("canary");
    let dev = bundle.rootfs().join("dev");
    fs::remove_file(dev.join("console")).expect("the link of the bundle");
    fs::create_dir(dev.join("evil")).expect("a directory");
    for number in 0..4 {
        symlink(&canary, dev.join(format!("evil/{number}"))).expect("a link");
    }
    let _exchange = Exchange::of(dev.join("pts"), dev.join("evil"));
    for _ in 0..tries() / 2 {
        let _ = with_console(&runtime, &bundle);
        let meta = fs::metadata(&canary).expect("the canary");
        assert_eq!(meta.uid(), 0, "a file of the host was taken for the terminal, and given away");
    }
}

// --- control groups ------------------------------------------------------------------------------------

/// CVE-2023-25809: without a cgroup namespace, a container in a user namespace would write to the
/// cgroup that its user has been given by the host.
#[test]
fn cve_2023_25809_a_delegated_cgroup_without_a_namespace() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().mapped().without_namespace("cgroup").edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["type"] == "cgroup" {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
            }
        }
    });
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    fs::create_dir(bundle.cgroup()).expect("a cgroup");
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        std::os::unix::fs::chown(bundle.cgroup().join(file), Some(100_000), Some(100_000)).expect("chown");
    }
    let bundle = bundle.args(["/probe", "mkdir", "/sys/fs/cgroup/made"]);
    let answer = runtime.run(&bundle).json();
    assert_eq!(answer, json!({ "error": "EROFS" }), "the container has written to the host's cgroup");
}

// --- the runtime's own files ---------------------------------------------------------------------------

/// runc#5272, CVE-2026-31431: what runs inside a container before its own program shares no page with a file of
/// the host. A kernel that writes to pages it should not has no way there.
#[test]
fn runc_5272_what_runs_inside_shares_no_page_with_the_hosts_files() {
    not_on_peer!("it seals with an overlay or a bind mount");
    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
    let runtime = Runtime::copied();
    let bundles = [(); 2].map(|()| Bundle::new().args(["/probe", "sleep"]));
    let containers = bundles.each_ref().map(|bundle| runtime.create(bundle));
    let mut inodes = Vec::new();
    for container in &containers {
        let program = File::open(container.proc("exe")).expect("the program of the first process");
        let meta = program.metadata().expect("its metadata");
        for (name, _) in contents(runtime.program().parent().expect("a directory")) {
            let file = runtime.program().with_file_name(name);
            let own = fs::metadata(&file).expect("the runtime's file");
            let same = (own.dev(), own.ino()) == (meta.dev(), meta.ino());
            assert!(!same, "{} of the host is what runs inside", file.display());
        }
        let magic = rustix::fs::fstatfs(&program).expect("fstatfs").f_type;
        assert_eq!(magic, TMPFS_MAGIC, "the program is on a file system of the host's: {meta:?}");
        let seals = rustix::fs::fcntl_get_seals(&program).expect("F_GET_SEALS");
        let wanted = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        assert!(seals.contains(wanted), "seals: {seals:?}");
        inodes.push(meta.ino());
    }
    assert_ne!(inodes[0], inodes[1], "two containers share a file");
    // As such a kernel would, from the other side.
    let before = containers.each_ref().map(|container| fs::read(container.proc("exe")).expect("the program"));
    let len = fs::metadata(runtime.program()).expect("the runtime").len();
    let file = File::options().write(true).open(runtime.program()).expect("the runtime");
    file.write_all_at(&vec![0; usize::try_from(len).expect("a length")], 0).expect("a write");
    let after = containers.each_ref().map(|container| fs::read(container.proc("exe")).expect("the program"));
    assert!(before == after, "what was written to the host's file is seen inside");
    drop(file);
    fs::copy(Runtime::new().program(), runtime.program()).expect("the runtime, whole again");
}

/// CVE-2024-3154, CVE-2025-24965, CVE-2026-84042: annotations, which may be an image's, decide
/// nothing for root's containers: the plan is the same with the most dangerous ones of all runtimes.
#[test]
fn annotations_decide_nothing() {
    not_on_peer!("it has no plan to compare");
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "exit", "0"]);
    let plan = |bundle: &Bundle| {
        let mut plan = runtime.call(["plan", "--json"]).arg(bundle.path()).outcome().json();
        let annotations = plan["host"]["annotations"].take();
        // A warning names those that decide something with crun.
        let _ = plan["warnings"].take();
        (plan, annotations)
    };
    let (before, _) = plan(&bundle);
    let (after, annotations) = plan(&bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.ExecStopPost": "[['/bin/false', ['false'], false]]",
            "org.systemd.property.CollectMode": "'inactive'",
            "run.oci.handler": "krun",
            "krun.use_passt": "1",
            "run.oci.systemd.subgroup": "../..",
            "run.oci.delegate-cgroup": "../../other",
            "run.oci.hooks.stdout": "/no/such/file",
            "run.oci.mount_context_type": "rootcontext",
            "run.oci.seccomp_bpf_file": "/no/such/file",
            "run.oci.keep_original_groups": "1",
        }),
    ));
    assert!(annotations["run.oci.handler"] == "krun", "the plan has no annotations: {annotations}");
    assert_eq!(before, after, "an annotation changes the plan");
}

/// CVE-2026-84042: a helper of the host that is called while a container is made, a hook, is the
/// host's file, whatever the image has under the same name.
#[test]
fn cve_2026_84042_a_hook_is_the_hosts_file() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/root/readonly", json!(false));
    let (helper, mark) = (bundle.dir().join("helper"), bundle.dir().join("mark"));
    fs::copy(integration::probe(), &helper).expect("a helper");
    let (helper, mark) = (helper.to_str().expect("a path"), mark.to_str().expect("a path"));
    let mut bundle = bundle.with_file(helper, "");
    let images_own = bundle.rootfs().join(&helper[1..]);
    fs::copy(integration::probe(), &images_own).expect("the image's own");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let mark = format!("{mark}-{kind}");
        bundle = bundle.raw_hook(kind, json!({ "path": helper, "args": ["helper", "mkdir", mark] }));
    }
    let bundle = bundle.args(["/probe", "exit", "0"]);
    let outcome = runtime.run(&bundle).ok();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let mark = format!("{mark}-{kind}");
        assert!(fs::exists(&mark).expect("a path"), "{kind}: the host's file was not called: {outcome}");
    }
    let inside = contents(images_own.parent().expect("a directory"));
    assert_eq!(inside.len(), 1, "the image's file was called");
}
