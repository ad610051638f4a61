//! The shim mounts the root file system that containerd names: layers of other owners, a file system in a file.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use containerd_shim_cleat::messages::{CreateRequest, Mount, PidResponse};
use integration::shim::{Reply, Shim, ShimHost, Streams};
use integration::{Bundle, eventually, skip};

/// Root's files are the mapped root's, in a bind mount and in an overlay, whose layers are not left
/// mounted anywhere; also when the server was killed with them.
#[test]
fn a_root_file_system_may_have_other_owners() {
    let (host, bundle) = (ShimHost::new(), Bundle::sleeper().mapped());
    let (root, lower) = (bundle.path().join("rootfs"), bundle.path().join("lower"));
    let path = |name: &str| host.dir().join(name).to_str().expect("UTF-8").to_owned();
    let copied = std::process::Command::new("cp").arg("-a").arg(&root).arg(path("layer")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    ["over-upper", "over-work"].iter().for_each(|name| fs::create_dir(path(name)).expect("mkdir"));
    let ids = ["uidmap=0:100000:65536".to_owned(), "gidmap=0:100000:65536".to_owned()];
    let layers = format!("lowerdir={}", path("layer"));
    let over = [layers, format!("upperdir={}", path("over-upper")), format!("workdir={}", path("over-work"))];
    for (kind, source, options) in
        [("bind", path("layer"), vec!["rbind".to_owned()]), ("overlay", "overlay".into(), over.into())]
    {
        let shim = host.serve(bundle.path(), "a");
        let mut client = shim.connect();
        let options = options.iter().chain(&ids).cloned().collect();
        let mount = Mount { kind: kind.into(), source, target: String::new(), options };
        let request = CreateRequest { rootfs: vec![mount], ..shim.create_request(&Streams::default()) };
        let reply: Reply<PidResponse> = client.call("Create", &request);
        assert!(reply.is_ok(), "{kind}: {reply:?}");
        let owner = fs::metadata(root.join("probe")).map(|file| (file.uid(), file.gid())).expect("the program");
        assert_eq!(owner, (100_000, 100_000), "{kind}");
        assert!(!lower.exists(), "{kind}: {} is left", lower.display());
        host.kill_servers();
        // As if it had been killed before the layers were used.
        let stale = lower.join("0");
        fs::create_dir_all(&stale).expect("mkdir");
        rustix::mount::mount("tmpfs", &stale, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("mount");
        assert_eq!(host.delete(bundle.path(), "a").exit_status, 137, "{kind}");
        let left = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        assert!(!left.contains(bundle.path().to_str().expect("UTF-8")), "{kind}: {left}");
        assert!(!lower.exists(), "{kind}: {} is left", lower.display());
    }
    host.nothing_is_left(&[&bundle]);
}

/// The loop devices that show a file.
fn devices_of(file: &std::path::Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").expect("/sys/block").flatten();
    let shows = |device: &fs::DirEntry| {
        let shown = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        std::path::Path::new(shown.trim_end()) == file
    };
    devices.filter(shows).map(|device| device.file_name().to_string_lossy().into_owned()).collect()
}

/// As some snapshotters hand it over: a file with a file system in it, and the option `loop`. Its device goes
/// with the mount, also when another unmounts it, and when there is none.
#[test]
fn a_root_file_system_may_be_in_a_file() {
    let host = ShimHost::new();
    let image = host.dir().join("image");
    let files = ["/proc", "/dev", "/sys"].into_iter().fold(Bundle::sleeper(), Bundle::with_dir);
    let mut make = std::process::Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-d"]).arg(files.rootfs()).arg(&image).arg("32M");
    if !fs::exists("/dev/loop-control").is_ok_and(|is_there| is_there)
        || !make.status().is_ok_and(|made| made.success())
    {
        skip("no loop devices, or no mke2fs(8), are here");
    }
    let bundle = Bundle::empty().args(["/probe", "sleep"]).set("/root/path", "rootfs".into());
    let root = bundle.path().join("rootfs");
    let mounted = || {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        text.lines().find(|line| line.split(' ').nth(4) == root.to_str()).map(str::to_owned).unwrap_or_default()
    };
    let request = |shim: &Shim<'_>, source: &std::path::Path, options: &[&str]| {
        let source = source.to_str().expect("UTF-8").to_owned();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mount = Mount { kind: "ext4".into(), source, target: String::new(), options };
        CreateRequest { rootfs: vec![mount], ..shim.create_request(&Streams::default()) }
    };
    for (options, access) in [(&["loop", "ro"][..], "ro"), (&["loop"], "rw")] {
        for is_killed in [false, true] {
            let shim = host.serve(bundle.path(), "a");
            let mut client = shim.connect();
            let reply: Reply<PidResponse> = client.call("Create", &request(&shim, &image, options));
            assert!(reply.is_ok(), "{options:?}: {reply:?}");
            let _: PidResponse = client.call("Start", &shim.process("")).expect("Start");
            let devices = devices_of(&image);
            let [device] = &devices[..] else { panic!("{options:?}: it is shown by {devices:?}") };
            assert!(mounted().contains(&format!(" - ext4 /dev/{device} {access}")), "{}", mounted());
            if is_killed {
                host.kill_servers();
                assert_eq!(host.delete(bundle.path(), "a").exit_status, 137);
            } else {
                shim.end(&mut client);
            }
            eventually("its device to be free", || match devices_of(&image) {
                devices if devices.is_empty() => Ok(()),
                devices => Err(format!("{options:?}: {devices:?}")),
            });
            host.nothing_is_left(&[&bundle]);
        }
    }
    // Several at once look for a free device, and each gets one of its own.
    std::thread::scope(|scope| {
        let (image, request) = (&image, &request);
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let host = ShimHost::new();
                    let bundle = Bundle::empty().args(["/probe", "sleep"]).set("/root/path", "rootfs".into());
                    let shim = host.serve(bundle.path(), "a");
                    let mut client = shim.connect();
                    let reply: Reply<PidResponse> = client.call("Create", &request(&shim, image, &["loop", "ro"]));
                    assert!(reply.is_ok(), "{reply:?}");
                    shim.end(&mut client);
                    host.nothing_is_left(&[&bundle]);
                }
            });
        }
    });
    let broken = host.dir().join("broken");
    fs::write(&broken, [0; 65536]).expect("write");
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let missing = host.dir().join("missing");
    for (source, text) in [(&broken, "broken on "), (&missing, "missing: no such file"), (&host.dir().into(), "open ")]
    {
        let reply: Reply<PidResponse> = client.call("Create", &request(&shim, source, &["loop"]));
        let is_reported =
            reply.as_ref().is_err_and(|(_, message)| message.contains("mount ext4") && message.contains(text));
        assert!(is_reported, "{text:?} expected: {reply:?}");
        eventually("no device", || match devices_of(source) {
            devices if devices.is_empty() => Ok(()),
            devices => Err(format!("{devices:?}")),
        });
    }
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}
