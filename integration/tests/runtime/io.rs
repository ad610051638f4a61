//! Limits of devices (runtime-spec config-linux.md § Block IO, § RDMA; Linux cgroup-v2.rst, "IO", "RDMA"), on
//! those of the tests' own: for the guest (`make guest`).

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::process::Command;

use integration::{Bundle, Container, Runtime, cgroup_root, is_peer, require_guest, skip};
use serde_json::{Value, json};

/// Skips the test where it would use this host's own devices.
fn in_guest_only() {
    require_guest("a block device and the controller io are wanted");
}

fn modprobe(module: &str) {
    let path = fs::read_to_string("/proc/sys/kernel/modprobe").expect("modprobe");
    let _ = Command::new(path.trim()).arg(module).status();
}

/// A block device of a file, for as long as the test runs.
struct Loop(String);

impl Loop {
    fn new(runtime: &Runtime, bytes: u64) -> Self {
        modprobe("loop");
        let backing = runtime.dir().join("disk");
        fs::File::create(&backing).and_then(|file| file.set_len(bytes)).expect("a file");
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&backing).output();
        let output = output.expect("losetup");
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Its number, as `cgroup.io.max` has it.
    fn number(&self) -> (u32, u32) {
        let device = fs::metadata(&self.0).expect("the device");
        let number = std::os::unix::fs::MetadataExt::rdev(&device);
        (rustix::fs::major(number), rustix::fs::minor(number))
    }

    /// Gives it another scheduler.
    fn schedule(&self, name: &str) {
        let path = format!("/sys/block/{}/queue/scheduler", self.0.trim_start_matches("/dev/"));
        fs::write(&path, name).unwrap_or_else(|error| panic!("{name} to {path}: {error}"));
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// A file of the container's cgroup.
fn file(bundle: &Bundle, name: &str) -> String {
    let path = bundle.cgroup().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

/// A container that waits, with these limits and a device that it may use.
fn limited(disk: &Loop, block_io: &Value) -> Bundle {
    let (major, minor) = disk.number();
    let device = json!({ "path": "/dev/disk", "type": "b", "major": major, "minor": minor });
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "b", "major": major, "minor": minor, "access": "rw" },
    ]);
    Bundle::new()
        .args(["/probe", "sleep"])
        .set("/linux/devices", json!([device]))
        .set("/linux/resources/devices", rules)
        .set("/linux/resources/blockIO", block_io.clone())
}

/// Microseconds that the probe takes to move 3 MiB.
fn time(container: &Container<'_>, word: &str) -> u64 {
    let answer = container.exec(["/probe", word, "/dev/disk", "3145728"]).json();
    assert_eq!(answer["bytes"], 3_145_728, "{answer}");
    answer["us"].as_u64().unwrap_or_else(|| panic!("no time: {answer}"))
}

/// Throttles in bytes and operations a second hold a program back, until an update lifts them.
#[test]
fn io_is_throttled() {
    in_guest_only();
    let runtime = Runtime::new();
    let disk = Loop::new(&runtime, 16 << 20);
    let (major, minor) = disk.number();
    let throttle = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let bundle = limited(
        &disk,
        &json!({
            "throttleReadBpsDevice": throttle(1 << 20),
            "throttleWriteBpsDevice": throttle(1 << 20),
            "throttleReadIOPSDevice": throttle(1000),
            "throttleWriteIOPSDevice": throttle(2000),
        }),
    );
    let container = runtime.start_ready(&bundle);
    assert_eq!(file(&bundle, "io.max"), format!("{major}:{minor} rbps=1048576 wbps=1048576 riops=1000 wiops=2000"));
    for word in ["read-direct", "write-direct"] {
        let us = time(&container, word);
        assert!((1_800_000..6_000_000).contains(&us), "{word}: 3 MiB at 1 MiB a second took {us} us");
    }
    let update = |block_io: Value| {
        let call = container.call(["update", "--resources", "-"]).stdin(json!({ "blockIO": block_io }).to_string());
        let _ = call.outcome().ok();
    };
    if is_peer() {
        return;
    }
    // 0 is no limit; operations are limited by themselves.
    update(json!({
        "throttleReadBpsDevice": throttle(0), "throttleWriteBpsDevice": throttle(0),
        "throttleReadIOPSDevice": throttle(0), "throttleWriteIOPSDevice": throttle(16),
    }));
    assert_eq!(file(&bundle, "io.max"), format!("{major}:{minor} rbps=max wbps=max riops=max wiops=16"));
    let (read, write) = (time(&container, "read-direct"), time(&container, "write-direct"));
    assert!(read < 1_500_000, "3 MiB without a limit took {read} us");
    assert!(write > 1_800_000, "48 operations at 16 a second took {write} us");
}

/// Weights, of all devices and of one. They are in `io.weight` where the kernel's own model of cost has the
/// device, in `io.bfq.weight` where there is that scheduler; else that of a device is left out, with a warning.
#[test]
fn io_has_weights() {
    in_guest_only();
    let runtime = Runtime::new();
    let disk = Loop::new(&runtime, 1 << 20);
    let (major, minor) = disk.number();
    let weights = json!({ "weight": 500, "weightDevice": [{ "major": major, "minor": minor, "weight": 300 }] });
    let bundle = limited(&disk, &weights);
    let is_bfq = || bundle.cgroup().join("io.bfq.weight").exists();
    let qos = cgroup_root().join("io.cost.qos");
    let enable = |on: u8| fs::write(&qos, format!("{major}:{minor} enable={on}")).expect("io.cost.qos");
    let container = runtime.create(&bundle);
    assert_eq!(file(&bundle, "io.weight"), "default 4950");
    let text = "linux.resources.blockIO.weightDevice[0]: ignored, nothing gives weights to this device";
    assert!(is_peer() || container.stderr().contains(text), "expected {text:?} in {:?}", container.stderr());
    container.delete();
    enable(1);
    let container = runtime.start_ready(&bundle);
    assert!(!is_bfq(), "bfq is loaded already");
    assert_eq!(file(&bundle, "io.weight"), format!("default 4950\n{major}:{minor} 2930"));
    container.kill_and_delete();
    enable(0);
    modprobe("bfq");
    disk.schedule("bfq");
    let container = runtime.start_ready(&bundle);
    assert!(is_bfq(), "no bfq");
    assert_eq!(file(&bundle, "io.bfq.weight"), format!("default 500\n{major}:{minor} 300"));
    let _ = container.call(["update", "--blkio-weight", "700"]).outcome().ok();
    assert_eq!(file(&bundle, "io.bfq.weight"), format!("default 700\n{major}:{minor} 300"));
}

/// RDMA over a network device, by software.
struct Rdma(&'static str);

impl Rdma {
    /// Skips the test where it is not to be had.
    fn over_loopback(name: &'static str) -> Self {
        modprobe("rdma_rxe");
        let output = Command::new("rdma").args(["link", "add", name, "type", "rxe", "netdev", "lo"]).output();
        match output {
            Ok(output) if output.status.success() => Self(name),
            Ok(output) => skip(format!("rdma link add: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => skip(format!("rdma(8) of iproute2: {error}")),
        }
    }
}

impl Rdma {
    /// Its device file for programs, in a container, and its number.
    fn verbs(&self) -> (String, (u32, u32)) {
        let files = fs::read_dir("/sys/class/infiniband_verbs").expect("ib_uverbs").flatten();
        let is_ours =
            |dir: &fs::DirEntry| fs::read_to_string(dir.path().join("ibdev")).is_ok_and(|name| name.trim() == self.0);
        let dir = files.into_iter().find(is_ours).expect("a device file");
        let number = fs::read_to_string(dir.path().join("dev")).expect("a number");
        let (major, minor) = number.trim().split_once(':').expect("a number");
        let number = |text: &str| text.parse().expect("a number");
        (format!("/dev/infiniband/{}", dir.file_name().to_string_lossy()), (number(major), number(minor)))
    }
}

impl Drop for Rdma {
    fn drop(&mut self) {
        let _ = Command::new("rdma").args(["link", "delete", self.0]).status();
    }
}

/// Each open context of a device is a handle: the one beyond the limit is refused.
#[test]
fn more_handles_of_an_rdma_device_than_allowed_are_refused() {
    in_guest_only();
    integration::not_on_peer!("crun ignores the limit");
    let device = Rdma::over_loopback("cleat1");
    modprobe("ib_uverbs");
    let (path, (major, minor)) = device.verbs();
    let runtime = Runtime::new();
    let contexts = |limit: Value| {
        let bundle = Bundle::new()
            .args(["/probe", "rdma-contexts", &path, "5"])
            .set("/linux/devices", json!([{ "path": path, "type": "c", "major": major, "minor": minor }]))
            .set(
                "/linux/resources/devices",
                json!([{ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rw" }]),
            )
            .set("/linux/resources/rdma", limit);
        runtime.json(&bundle)
    };
    assert_eq!(contexts(json!({})), json!({ "contexts": 5, "error": null }));
    assert_eq!(contexts(json!({ device.0: { "hcaHandles": 3 } })), json!({ "contexts": 3, "error": "EAGAIN" }));
}

/// Handles and objects of a device; what is not named has no limit. Others are refused, with what was set
/// before them undone.
#[test]
fn rdma_devices_are_limited() {
    in_guest_only();
    integration::not_on_peer!("crun ignores them");
    let device = Rdma::over_loopback("cleat0");
    let runtime = Runtime::new();
    let limits = json!({ device.0: { "hcaHandles": 3, "hcaObjects": 10_000 } });
    let bundle = Bundle::new().args(["/probe", "sleep"]).set("/linux/resources/rdma", limits);
    let container = runtime.start_ready(&bundle);
    // There may be others.
    let limits = || {
        let all = file(&bundle, "rdma.max");
        all.lines().find(|line| line.starts_with(device.0)).map(|line| line.trim().to_owned()).unwrap_or(all)
    };
    assert_eq!(limits(), "cleat0 hca_handle=3 hca_object=10000");
    let update = |rdma: Value| {
        container.call(["update", "--resources", "-"]).stdin(json!({ "rdma": rdma }).to_string()).outcome()
    };
    let _ = update(json!({ "cleat0": { "hcaObjects": 5 } })).ok();
    assert_eq!(limits(), "cleat0 hca_handle=max hca_object=5");
    let outcome = update(json!({ "cleat0": { "hcaHandles": 1 }, "mlx5_9": { "hcaHandles": 1 } })).exits(1);
    assert!(outcome.stderr.contains("rdma.max: ENODEV; there is no such device"), "{outcome}");
    assert_eq!(limits(), "cleat0 hca_handle=max hca_object=5");
}
