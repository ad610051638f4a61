//! The shim without containerd: every call, every event, every end.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use containerd_shim_cleat::messages::{Any, Options, RuntimeInfo, TaskStatus};
use integration::shim::{OPTIONS, ShimHost, Streams, finish};
use integration::{Bundle, Runtime, eventually};
use prost::Message;

/// gRPC's numbers.
const NOT_FOUND: i32 = 5;

/// A container of `/probe sleep`, which ends when it is told to.
fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

#[test]
fn start_answers_json_or_an_address_and_nothing_else() {
    let (host, bundle) = (ShimHost::new(), sleeper());
    let json: serde_json::Value = serde_json::from_str(&host.start(bundle.path(), "a")).expect("JSON");
    assert_eq!((json["version"].as_u64(), json["protocol"].as_str()), (Some(3), Some("ttrpc")), "{json}");
    // A containerd before 1.7: another id, as this one is there.
    let mut command = host.command(bundle.path(), "b");
    command.env_remove("MAX_SHIM_VERSION").arg("start");
    let (code, out, err) = finish(command, &host.bootstrap("b"));
    let address = String::from_utf8_lossy(&out).into_owned();
    assert!(code == 0 && address.starts_with("unix:///") && !address.contains('\n'), "{address} {err}");
    assert!(std::path::Path::new(address.trim_start_matches("unix://")).exists(), "{address}");
    host.kill_servers();
}

#[test]
fn the_version_and_the_features_are_told() {
    let host = ShimHost::new();
    let mut command = host.command(host.dir(), "a");
    command.arg("-v");
    let (code, out, _) = finish(command, b"");
    assert!(code == 0 && String::from_utf8_lossy(&out).contains("Version:"), "{out:?}");
    let options = Any::of(OPTIONS, &Options { systemd_cgroup: true, ..Options::default() });
    let mut command = host.command(host.dir(), "a");
    command.arg("-info");
    let (code, out, err) = finish(command, &options.encode_to_vec());
    assert_eq!(code, 0, "{err}");
    let info = RuntimeInfo::decode(&*out).expect("a RuntimeInfo");
    assert_eq!(info.options.as_ref(), Some(&options));
    let features = info.features.expect("features");
    assert_eq!(features.type_url, "types.containerd.io/opencontainers/runtime-spec/1/features/Features");
    let told: serde_json::Value = serde_json::from_slice(&features.value).expect("JSON");
    assert_eq!(told, Runtime::new().call(["features"]).outcome().json());
    let mut command = host.command(host.dir(), "a");
    command.arg("-info");
    let (code, _, err) = finish(command, b"\xff\xff");
    assert!(code == 1 && err.contains("not a google.protobuf.Any"), "{code} {err}");
}

/// CVE-2020-15257: whoever may connect owns the containers.
#[test]
fn cve_2020_15257_the_socket_is_its_owners() {
    let (host, bundle) = (ShimHost::new(), sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mode = |path: &std::path::Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(shim.socket()), mode(&host.sockets())), (0o600, 0o700));
    assert_eq!(shim.socket().metadata().expect("metadata").uid(), 0);
    // Opened up, as a mistake would: it asks who it is, too.
    std::fs::set_permissions(host.sockets(), PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::set_permissions(shim.socket(), PermissionsExt::from_mode(0o666)).expect("chmod");
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.settimeout(20)\nprint(len(s.recv(1)))";
    let other = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "python3", "-c", script])
        .arg(shim.socket())
        .output()
        .expect("setpriv(1)");
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(said == "0\n" || String::from_utf8_lossy(&other.stderr).contains("ConnectionReset"), "{other:?}");
    assert!(shim.pid(&mut shim.connect()) > 0, "its owner is served");
    host.kill_servers();
}

#[test]
fn a_group_has_one_server_and_a_dead_ones_socket_is_replaced() {
    let host = ShimHost::new();
    let annotation = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "pod" });
    let (one, two) = (sleeper().set("/annotations", annotation.clone()), sleeper().set("/annotations", annotation));
    let first = host.start(one.path(), "a");
    assert_eq!(host.start(two.path(), "b"), first);
    assert_eq!(host.servers().len(), 1);
    host.kill_servers();
    assert_eq!(host.start(two.path(), "b"), first, "the same name");
    let shim = host.serve(one.path(), "a");
    assert!(shim.pid(&mut shim.connect()) > 0);
    assert_eq!(host.servers().len(), 1);
    host.kill_servers();
}

#[test]
fn a_life_is_told_in_order() {
    let (host, bundle) = (ShimHost::new(), sleeper());
    let shim = host.serve(bundle.path(), "a");
    let mut client = shim.connect();
    let pid = shim.create(&mut client, &Streams::default());
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Created, pid));
    let told = client.done("Start", &shim.process("x")).expect_err("no such process");
    assert_eq!(told.0, NOT_FOUND, "{told:?}");
    client.call::<containerd_shim_cleat::messages::PidResponse>("Start", &shim.process("")).expect("Start");
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Running, pid));
    eventually("SIGTERM to be taken", || shim.kill(&mut client, "", 15, false).map_err(|told| format!("{told:?}")));
    assert_eq!(shim.wait(&mut client, ""), 0);
    assert_eq!(shim.state(&mut client, ""), (TaskStatus::Stopped, pid));
    assert_eq!(shim.delete(&mut client, ""), 0);
    host.events().expect(&["create", "start", "exit", "delete"]);
    client.done("Shutdown", &shim.process("")).expect("Shutdown");
    host.nothing_is_left(&[&bundle]);
}
