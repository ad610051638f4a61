//! config-linux.md § Network Devices. Each test has a host's network of its own.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::path::Path;

use integration::network::{self, Address, Device, Network};
use integration::{Bundle, Container, Runtime, eventually, not_on_peer, not_on_runc_1_1, proc};
use procfs::process::FDTarget;
use serde_json::{Value, json};

/// A container that stays, with these network devices.
fn bundle(devices: Value) -> Bundle {
    Bundle::new().args(["/probe", "sleep"]).set("/linux/netDevices", devices)
}

/// The devices of a container, but for `lo`.
fn devices_of(container: &Container<'_>) -> BTreeMap<String, Device> {
    devices_at(&container.proc("ns/net"))
}

fn devices_at(path: &Path) -> BTreeMap<String, Device> {
    let mut devices = Network::at(path, network::devices);
    devices.remove("lo");
    devices
}

fn names(devices: &BTreeMap<String, Device>) -> Vec<&str> {
    devices.keys().map(String::as_str).collect()
}

/// In a network namespace in which nobody is: the descriptor keeps it.
fn prepared(action: impl FnOnce()) -> (std::os::fd::OwnedFd, std::path::PathBuf) {
    let (fd, path) = Network::another();
    Network::at(&path, action);
    (fd, path)
}

fn joining(bundle: Bundle, path: &Path) -> Bundle {
    bundle.namespace(json!({ "type": "network", "path": path }))
}

/// "A set of network devices that MUST be made available in the container", "The runtime MUST set
/// the network device state to 'up'".
#[test]
fn a_device_moves_into_the_container_and_is_up() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_address("cleat0", "192.0.2.1/24", &Address::default());
    let runtime = Runtime::new();
    let facts = runtime.json(&Bundle::new().set("/linux/netDevices", json!({ "cleat0": {} })));
    let links = facts["links"].as_object().expect("links");
    assert_eq!(links.keys().collect::<Vec<_>>(), ["cleat0", "lo"]);
    assert_eq!(links["cleat0"]["up"], true);
    assert!(links["cleat0"]["addresses"].to_string().contains("192.0.2.1"), "{}", links["cleat0"]);
}

/// It is gone from the host, and its peer stays.
#[test]
fn a_moved_device_is_gone_from_the_host() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": {} })));
    let container = runtime.create(&bundle);
    assert_eq!(names(&network::devices()), ["lo", "peer0"]);
    assert_eq!(names(&devices_of(&container)), ["cleat0"]);
}

/// "The runtime MUST preserve existing network interface attributes".
#[test]
fn a_device_keeps_its_number_mtu_and_hardware_address() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth_numbered("cleat0", 4711, "peer0");
    network::set_mtu_and_mac("cleat0", 1789, [2, 0, 0, 0, 0x47, 0x11]);
    let before = network::device("cleat0");
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": { "name": "eth0" } })));
    let container = runtime.create(&bundle);
    let after = &devices_of(&container)["eth0"];
    assert_eq!((after.mtu, &after.mac), (1789, &before.mac));
    assert!(integration::is_peer() || after.index == 4711, "{after:?}");
    assert!(after.up, "{after:?}");
}

/// "name … the name of the network device inside the container namespace".
#[test]
fn a_device_gets_its_new_name() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_veth("a23456789012345", "peer1");
    let names_in_container = json!({ "cleat0": { "name": "b23456789012345" }, "a23456789012345": { "name": "eth.0" } });
    let (runtime, bundle) = (Runtime::new(), bundle(names_in_container));
    let container = runtime.create(&bundle);
    assert_eq!(names(&devices_of(&container)), ["b23456789012345", "eth.0"]);
}

/// Two devices may exchange their names, though each is still taken when the other comes.
#[test]
fn names_can_be_exchanged() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_veth("cleat1", "peer1");
    let macs = [network::device("cleat0").mac, network::device("cleat1").mac];
    let exchange = json!({ "cleat0": { "name": "cleat1" }, "cleat1": { "name": "cleat0" } });
    let (runtime, bundle) = (Runtime::new(), bundle(exchange));
    let container = runtime.create(&bundle);
    let devices = devices_of(&container);
    assert_eq!([&devices["cleat1"].mac, &devices["cleat0"].mac], [&macs[0], &macs[1]]);
    assert!(devices.values().all(|device| device.up), "{devices:#?}");
}

/// "unless the user has provided a template by appending %d to the new name … the kernel will
/// generate a unique name": the lowest number, whatever the device's name was.
#[test]
fn a_template_gets_the_lowest_free_number() {
    not_on_peer!("a device that is called as the template would have it gets the next number");
    let _network = Network::enter();
    for (name, peer) in [("eth0", "peer0"), ("eth7", "peer1"), ("cleat0", "peer2")] {
        network::add_veth(name, peer);
    }
    let devices = json!({ "eth0": { "name": "eth%d" }, "eth7": { "name": "eth%d" }, "cleat0": { "name": "cleat%d" } });
    let (runtime, bundle) = (Runtime::new(), bundle(devices));
    let container = runtime.create(&bundle);
    let devices = devices_of(&container);
    assert_eq!(names(&devices)[1..], ["eth0", "eth1"], "{devices:#?}");
    assert!(names(&devices)[0].starts_with("cleat"), "{devices:#?}");
}

/// A template takes no name that another device was given, in whatever order they are listed.
#[test]
fn a_template_gives_way_to_a_name() {
    not_on_peer!("the order is that of a map");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_veth("cleat1", "peer1");
    let (runtime, bundle) =
        (Runtime::new(), bundle(json!({ "cleat0": { "name": "eth%d" }, "cleat1": { "name": "eth0" } })));
    let mac = network::device("cleat0").mac;
    let container = runtime.create(&bundle);
    assert_eq!(devices_of(&container)["eth1"].mac, mac);
}

/// A template in a namespace where that name is taken.
#[test]
fn a_template_avoids_what_is_there() {
    not_on_peer!("crun looks for a device that is called as the template");
    let _network = Network::enter();
    network::add_veth("eth0", "peer0");
    let (_fd, path) = prepared(|| network::add_veth("eth0", "eth1"));
    let (runtime, bundle) = (Runtime::new(), joining(bundle(json!({ "eth0": { "name": "eth%d" } })), &path));
    let mac = network::device("eth0").mac;
    let _container = runtime.create(&bundle);
    let devices = devices_at(&path);
    let found = devices.iter().find(|(_, device)| device.mac == mac).expect("the device").0;
    assert!(integration::is_peer() || found == "eth2", "{devices:#?}");
}

// --- addresses -------------------------------------------------------------------------------------

/// "including all permanent IP addresses (IFA_F_PERMANENT flag) of any family with global scope
/// (RT_SCOPE_UNIVERSE value)", with all that belongs to them.
#[test]
fn permanent_global_addresses_come_along() {
    not_on_peer!("flags, labels and broadcast addresses are lost");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let labelled = Address { label: Some("cleat0:web".to_owned()), ..Address::default() };
    let given = [
        ("192.0.2.1/24", Address { broadcast: Some([192, 0, 2, 255].into()), ..Address::default() }),
        ("192.0.2.2/24", labelled),
        ("198.51.100.1/32", Address { peer: Some([198, 51, 100, 2].into()), ..Address::default() }),
        // IFA_F_NOPREFIXROUTE
        ("203.0.113.1/24", Address { flags: 0x200, ..Address::default() }),
        ("2001:db8::1/64", Address::default()),
        ("2001:db8::2/128", Address { flags: 0x200, ..Address::default() }),
        (
            "2001:db8:1::1/128",
            Address { peer: Some("2001:db8:1::2".parse().expect("an address")), ..Address::default() },
        ),
    ];
    for (text, address) in &given {
        network::add_address("cleat0", text, address);
    }
    let mut expected = network::device("cleat0").addresses;
    assert_eq!(expected.len(), given.len());
    for address in expected.values_mut() {
        address.label = address.label.take().map(|label| label.replace("cleat0", "eth0"));
    }
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": { "name": "eth0" } })));
    let container = runtime.create(&bundle);
    let mut seen = devices_of(&container)["eth0"].addresses.clone();
    // What the kernel has made when the device went up.
    seen.retain(|_, address| address.scope == 0);
    assert_eq!(seen, expected);
}

/// The same from a device that is up, where IPv6 addresses would go if it were set down first.
#[test]
fn addresses_of_a_device_in_use_come_along() {
    not_on_peer!("runc sets the device down before it asks");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::set_up("peer0");
    network::set_up("cleat0");
    network::add_address("cleat0", "192.0.2.1/24", &Address::default());
    network::add_address("cleat0", "2001:db8::1/64", &Address::default());
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": {} })));
    let container = runtime.create(&bundle);
    let device = devices_of(&container).remove("cleat0").expect("the device");
    for text in ["192.0.2.1/24", "2001:db8::1/64"] {
        assert!(device.addresses.contains_key(text), "{device:#?}");
    }
}

/// "This ensures that only addresses intended for persistent, external communication are
/// transferred": none with a lifetime, none of another scope.
#[test]
fn other_addresses_stay_behind() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let of_scope = |scope| Address { scope, ..Address::default() };
    let dynamic = Address { lifetime: Some(3600), ..Address::default() };
    network::add_address("cleat0", "192.0.2.1/24", &dynamic);
    network::add_address("cleat0", "2001:db8::1/64", &dynamic);
    network::add_address("cleat0", "169.254.1.1/16", &of_scope(253));
    network::add_address("cleat0", "127.0.0.33/8", &of_scope(254));
    network::add_address("cleat0", "fe80::4711/64", &of_scope(253));
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": {} })));
    let container = runtime.create(&bundle);
    let mut device = devices_of(&container).remove("cleat0").expect("the device");
    // The kernel makes one of its own for a device that is up and has a carrier.
    device.addresses.retain(|text, _| !text.starts_with("fe80:") || text.contains("4711"));
    assert!(device.addresses.is_empty(), "{device:#?}");
}

// --- other namespaces --------------------------------------------------------------------------------

/// A namespace given by path: the device is in it, and stays when the container is deleted: "The
/// runtime MUST NOT attempt to move the interface out of the namespace before deletion."
#[test]
fn a_device_stays_in_a_joined_namespace() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_address("cleat0", "192.0.2.1/24", &Address::default());
    let (_fd, path) = prepared(|| ());
    let (runtime, bundle) = (Runtime::new(), joining(bundle(json!({ "cleat0": { "name": "eth0" } })), &path));
    let container = runtime.start_ready(&bundle);
    assert_eq!(names(&devices_at(&path)), ["eth0"]);
    container.kill_and_delete();
    let devices = devices_at(&path);
    assert!(devices["eth0"].up && devices["eth0"].addresses.contains_key("192.0.2.1/24"), "{devices:#?}");
    assert_eq!(names(&network::devices()), ["lo", "peer0"]);
}

/// The device's number is taken there, and so are the next ones.
#[test]
fn a_device_whose_number_is_taken_gets_another() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth_numbered("cleat0", 50, "peer0");
    let (_fd, path) = prepared(|| {
        for number in 50..55 {
            network::add_veth_numbered(&format!("a{number}"), number, &format!("b{number}"));
        }
    });
    let (runtime, bundle) = (Runtime::new(), joining(bundle(json!({ "cleat0": {} })), &path));
    let mac = network::device("cleat0").mac;
    let _container = runtime.create(&bundle);
    let device = Network::at(&path, || network::device("cleat0"));
    assert_eq!((&device.mac, device.up), (&mac, true));
    assert!(integration::is_peer() || device.index == 55, "{device:?}");
    let others = devices_at(&path);
    assert!(others.values().filter(|other| other.up).count() == 1, "{others:#?}");
}

/// With the network namespace go the container's devices, and their peers with them: nothing is
/// left that nobody owns.
#[test]
fn virtual_devices_end_with_their_namespace() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": {} })));
    let container = runtime.start_ready(&bundle);
    container.kill_and_delete();
    eventually("the end of the device's peer", || {
        let devices = network::devices();
        if names(&devices) == ["lo"] { Ok(()) } else { Err(format!("{devices:?}")) }
    });
}

/// `run` does not hold on to the namespace while it waits for the program to end.
#[test]
fn run_holds_no_descriptor_of_the_namespace() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": {} })));
    let (_container, running) = runtime.spawn_run(&bundle, |call| call);
    running.wait_for_line("ready");
    eventually("a runtime without descriptors of a namespace", || {
        let open = proc::descriptors(running.pid());
        let holds = open.iter().any(|(_, target)| matches!(target, FDTarget::Net(_)));
        if holds { Err(format!("{open:?}")) } else { Ok(()) }
    });
}

/// A container in a user namespace of its own.
#[test]
fn a_device_moves_into_a_user_namespace() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let bundle = mapped(bundle(json!({ "cleat0": { "name": "eth0" } })));
    let runtime = Runtime::new();
    let container = runtime.start_ready(&bundle);
    assert_eq!(names(&devices_of(&container)), ["eth0"]);
}

/// A network namespace that is only made by the init, because a joined user namespace owns it.
#[test]
fn a_device_moves_into_a_namespace_of_a_joined_user_namespace() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let runtime = Runtime::new();
    let first = mapped(Bundle::new().args(["/probe", "sleep"]));
    let first = runtime.start_ready(&first);
    let bundle = mapped(bundle(json!({ "cleat0": { "name": "eth0" } })))
        .without("/linux/uidMappings")
        .without("/linux/gidMappings")
        .namespace(json!({ "type": "user", "path": first.proc("ns/user") }));
    let container = runtime.start_ready(&bundle);
    assert_eq!(names(&devices_of(&container)), ["eth0"]);
    assert!(devices_of(&first).is_empty());
}

/// The root file system of a mapped container belongs to its root.
fn mapped(bundle: Bundle) -> Bundle {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle.mapped()
}

// --- its place among the other steps -----------------------------------------------------------------

/// Kernel parameters of a device can be set, so it is there before them.
#[test]
fn a_device_is_there_before_kernel_parameters_are_set() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let sysctl = "net.ipv4.conf.eth0.forwarding";
    let bundle = bundle(json!({ "cleat0": { "name": "eth0" } }))
        .set("/linux/sysctl", json!({ sysctl: "1" }))
        .args(["/probe", "facts", sysctl]);
    assert_eq!(Runtime::new().json(&bundle)["sysctl"][sysctl], "1");
}

/// Hooks of the runtime's namespaces find the devices gone, hooks of the container's find them there.
#[test]
fn hooks_run_when_the_devices_have_moved() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let bundle = bundle(json!({ "cleat0": { "name": "eth0" } }));
    let log = bundle.dir().join("log");
    let bundle = bundle.hook("createRuntime", &log, "runtime", 0).hook("createContainer", &log, "container", 0);
    let runtime = Runtime::new();
    let _container = runtime.create(&bundle);
    let text = std::fs::read_to_string(&log).expect("what the hooks wrote");
    let mut links = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of the probe");
        line["links"].as_object().expect("links").keys().cloned().collect::<Vec<_>>()
    });
    assert_eq!(links.next().as_deref(), Some(&["lo".to_owned(), "peer0".to_owned()][..]), "{text}");
    assert_eq!(links.next().as_deref(), Some(&["eth0".to_owned(), "lo".to_owned()][..]), "{text}");
}

/// `exec` finds the device, and leaves it alone.
#[test]
fn exec_finds_the_device_and_leaves_it_alone() {
    not_on_runc_1_1!("it does not know network devices");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    network::add_address("cleat0", "192.0.2.1/24", &Address::default());
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": { "name": "eth0" } })));
    let container = runtime.start_ready(&bundle);
    let before = devices_of(&container);
    let facts = container.exec(["/probe", "facts"]).json();
    assert_eq!(facts["links"]["eth0"]["up"], true, "{}", facts["links"]);
    let _ = container.exec(["/no/such/program"]);
    assert_eq!(devices_of(&container), before);
}

/// `plan` tells what would move, and moves nothing.
#[test]
fn plan_tells_what_would_move() {
    not_on_peer!("no peer can show its plan");
    let _network = Network::enter();
    network::add_veth("cleat0", "peer0");
    let (runtime, bundle) = (Runtime::new(), bundle(json!({ "cleat0": { "name": "eth%d" } })));
    let text = runtime.call(["plan"]).arg(bundle.path()).outcome().ok().stdout;
    assert!(text.contains("\nnet-devices             cleat0 as eth%d\n"), "{text}");
    assert_eq!(names(&network::devices()), ["cleat0", "lo", "peer0"]);
}

// --- what cannot be done -------------------------------------------------------------------------------

/// Everything on the host, as it was before something fails.
struct Before(BTreeMap<String, Device>);

impl Before {
    /// Devices with every kind of address, two of them up.
    fn prepare() -> (Network, Before) {
        let network = Network::enter();
        network::add_veth_numbered("cleat0", 40, "peer0");
        network::add_veth_numbered("cleat1", 60, "peer1");
        network::set_mtu_and_mac("cleat0", 1400, [2, 0, 0, 0, 0, 1]);
        network::set_up("cleat0");
        let label = Some("cleat0:web".to_owned());
        network::add_address("cleat0", "192.0.2.1/24", &Address { label, ..Address::default() });
        network::add_address("cleat0", "192.0.2.2/24", &Address { lifetime: Some(3600), ..Address::default() });
        network::add_address("cleat0", "169.254.1.1/16", &Address { scope: 253, ..Address::default() });
        network::add_address("cleat0", "2001:db8::1/64", &Address { flags: 0x200, ..Address::default() });
        network::add_address("cleat1", "198.51.100.1/24", &Address::default());
        (network, Before(network::devices()))
    }

    fn assert_again(&self, when: &str) {
        let seen = network::devices();
        assert_eq!(seen, self.0, "{when}");
    }
}

/// `create` fails with this text, and everything is as before.
fn refused(runtime: &Runtime, bundle: &Bundle, text: &str) {
    match runtime.try_create(bundle) {
        Err(outcome) => {
            let outcome = outcome.exits(1).in_one_line();
            assert!(outcome.stderr.contains(text), "expected {text:?} of {outcome}");
        }
        Ok(container) => panic!("create succeeds, status {}", container.status()),
    }
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
}

/// "If a network device with the specified name already exists in the container namespace, the
/// runtime MUST generate an error".
#[test]
fn a_name_that_is_taken_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    let (_fd, path) = prepared(|| network::add_veth("eth0", "cleat1"));
    let there = devices_at(&path);
    let runtime = Runtime::new();
    for (devices, place, name) in [
        (json!({ "cleat0": { "name": "eth0" } }), "cleat0", "eth0"),
        (json!({ "cleat1": {} }), "cleat1", "cleat1"),
        (json!({ "cleat0": { "name": "b" }, "cleat1": {} }), "cleat1", "cleat1"),
        (json!({ "cleat0": { "name": "lo" } }), "cleat0", "lo"),
    ] {
        let text = format!(
            "net-devices: config.json: linux.netDevices[\"{place}\"]: there is a device \"{name}\" in the container's network namespace already"
        );
        refused(&runtime, &joining(bundle(devices.clone()), &path), &text);
        before.assert_again(&devices.to_string());
        assert_eq!(devices_at(&path), there, "{devices}");
    }
    refused(&runtime, &bundle(json!({ "cleat0": { "name": "lo" } })), "there is a device \"lo\"");
    before.assert_again("lo");
}

/// A device that is not there, after one that is.
#[test]
fn a_device_that_is_missing_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    let runtime = Runtime::new();
    for devices in [json!({ "none": {} }), json!({ "cleat0": {}, "cleat1": { "name": "eth%d" }, "none": {} })] {
        let text = "linux.netDevices[\"none\"]: there is no such device in the runtime's network namespace";
        refused(&runtime, &bundle(devices.clone()), text);
        before.assert_again(&devices.to_string());
    }
}

/// A bridge belongs to its namespace.
#[test]
fn a_device_that_cannot_leave_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, _) = Before::prepare();
    network::add_bridge("bridge0");
    let before = Before(network::devices());
    let runtime = Runtime::new();
    refused(
        &runtime,
        &bundle(json!({ "bridge0": {}, "cleat0": { "name": "a" } })),
        "cannot leave their network namespace",
    );
    before.assert_again("a bridge");
}

/// Another name by which the kernel knows a device is not "the name of the network device".
#[test]
fn an_alternative_name_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    network::add_alternative_name("cleat0", "uplink");
    refused(&Runtime::new(), &bundle(json!({ "uplink": {} })), "is an alternative name of \"cleat0\"; use that");
    before.assert_again("an alternative name");
}

/// A path that leads to the namespace in which the devices are already.
#[test]
fn the_runtimes_own_namespace_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    let path = Path::new("/proc/self/ns/net");
    let bundle = joining(bundle(json!({ "cleat0": { "name": "eth0" } })), path).without("/hostname");
    refused(
        &Runtime::new(),
        &bundle,
        "linux.netDevices: the network namespace that the container joins is the runtime's own",
    );
    before.assert_again("the own namespace");
}

/// Root of a user namespace without power over the network namespace it is in.
#[test]
fn a_runtime_without_the_privilege_says_so() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    let bundle = bundle(json!({ "cleat0": {} })).without("/linux/cgroupsPath");
    let bundle = bundle.set("/mounts", json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]));
    let runtime = Runtime::new();
    let script = "exec unshare --user --map-root-user \"$0\" \"$@\"";
    let call = runtime.through_shell(script, ["--rootless=true", "run", "--bundle"]).arg(bundle.path());
    let outcome = call.arg(integration::unique_name()).outcome().exits(1);
    assert!(
        outcome.stderr.contains("EPERM; moving network devices takes CAP_SYS_ADMIN and CAP_NET_ADMIN"),
        "{outcome}"
    );
    before.assert_again("root without privileges");
}

/// IPv6 is off where the device goes: its address cannot be kept, which is no success.
#[test]
fn an_address_that_cannot_be_kept_is_an_error() {
    not_on_peer!("the messages are ours");
    let (_network, before) = Before::prepare();
    let (_fd, path) = prepared(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("a sysctl");
    });
    let bundle = joining(bundle(json!({ "cleat0": {} })), &path);
    refused(&Runtime::new(), &bundle, "RTM_NEWADDR in the container: EACCES; is IPv6 turned off there?");
    before.assert_again("without IPv6");
}

// --- a creation that fails ----------------------------------------------------------------------------------

/// A failure at any later step brings the devices back, with their names, numbers, addresses and
/// states, out of a new namespace and out of a joined one.
#[test]
fn a_run_that_fails_brings_the_devices_back() {
    not_on_peer!("the peers have no steps that can be made to fail");
    let (_network, before) = Before::prepare();
    let runtime = Runtime::new();
    let (_fd, path) = prepared(|| network::add_veth_numbered("cleat0", 60, "other"));
    let there = devices_at(&path);
    let devices = json!({ "cleat0": { "name": "eth%d" }, "cleat1": { "name": "eth0" } });
    let new = bundle(devices.clone());
    let joined = joining(bundle(devices.clone()), &path);
    let with_user = mapped(bundle(devices));
    let steps = runtime.call(["plan", "--steps"]).outcome().ok().stdout;
    let later = steps.lines().skip_while(|step| *step != "net-devices").filter(|step| *step != "poststart-hooks");
    let later: Vec<_> = later.collect();
    assert!(later.len() > 10 && later.contains(&"runtime-hooks") && later.contains(&"exec"), "{later:?}");
    for step in later {
        for kind in ["fail", "kill"] {
            // Killed, the host half can do no more; and an init that is made has become a program.
            let of_init = !["net-devices", "runtime-hooks", "scheduler", "save-state"].contains(&step);
            let is_made = ["start", "start-container-hooks", "rlimits", "seccomp", "exec"].contains(&step);
            if kind == "kill" && (is_made || !of_init) {
                continue;
            }
            let fault = format!("{step}:{kind}");
            for bundle in [&new, &joined, &with_user] {
                let outcome = runtime.run_with(bundle, |call| call.env("CLEAT_FAULT", &fault));
                let outcome = outcome.exits(1).in_one_line();
                before.assert_again(&format!("after {outcome}"));
                assert_eq!(devices_at(&path), there, "after {fault}");
            }
        }
    }
}

/// The same for `create`, which knows of a failure up to the saving of the state.
#[test]
fn a_create_that_fails_brings_the_devices_back() {
    not_on_peer!("the peers leave them to the kernel, which destroys them");
    let (_network, before) = Before::prepare();
    let runtime = Runtime::new();
    let base = || bundle(json!({ "cleat0": { "name": "eth0" }, "cleat1": {} }));
    let hook = json!({ "path": "/bin/false" });
    for bundle in [
        base().raw_hook("createRuntime", hook.clone()),
        base().raw_hook("createContainer", hook),
        base().args(["/no/such/program"]),
        base().set("/linux/sysctl", json!({ "net.no.such.sysctl": "1" })),
    ] {
        let outcome = runtime.try_create(&bundle).expect_err("create succeeds").exits(1);
        before.assert_again(&format!("after {outcome}"));
    }
    let create = runtime.call(["create", "--pid-file", "/no/such/directory/pid", "--bundle"]);
    let bundle = base();
    let outcome = create.arg(bundle.path()).arg(integration::unique_name()).outcome().exits(1);
    before.assert_again(&format!("after {outcome}"));
}

/// Its name on the host is taken when a device comes back: it is not lost, and it is reported.
#[test]
fn a_device_comes_back_under_another_name_if_its_own_is_taken() {
    not_on_peer!("the peers leave them to the kernel, which destroys them");
    let (_network, before) = Before::prepare();
    let runtime = Runtime::new();
    let (bundle, log) = stopped_by_a_hook(bundle(json!({ "cleat0": {} })));
    let (_container, running) = runtime.spawn_run(&bundle, |call| call);
    eventually("the hook", || std::fs::metadata(&log).map(drop).map_err(|error| error.to_string()));
    network::add_veth_numbered("cleat0", 40, "new");
    let outcome = running.outcome().exits(1);
    assert!(
        outcome.stderr.contains("network device \"cleat0\" comes back as \"dev1\": its name is taken"),
        "{outcome}"
    );
    let (old, new) = (&before.0["cleat0"], network::device("dev1"));
    assert_eq!((new.index, &new.mac, new.up), (41, &old.mac, true));
    assert_eq!(new.addresses.keys().collect::<Vec<_>>(), old.addresses.keys().collect::<Vec<_>>());
}

/// Who shares the network namespace may put another device in the place of ours: that one is not
/// brought to the host, to be trusted there as `cleat0`.
#[test]
fn a_device_that_was_exchanged_does_not_come_to_the_host() {
    not_on_peer!("the peers bring none back");
    let (_network, before) = Before::prepare();
    let runtime = Runtime::new();
    let (_fd, path) = prepared(|| ());
    let (bundle, log) = stopped_by_a_hook(joining(bundle(json!({ "cleat0": {}, "cleat1": {} })), &path));
    let (_container, running) = runtime.spawn_run(&bundle, |call| call);
    eventually("the hook", || std::fs::metadata(&log).map(drop).map_err(|error| error.to_string()));
    Network::at(&path, || {
        network::delete("cleat0");
        network::add_veth_numbered("cleat0", 40, "trap");
        network::set_mtu_and_mac("cleat0", 1400, [2, 0, 0, 0, 0, 1]);
    });
    let outcome = running.outcome().exits(1);
    assert!(outcome.stderr.contains("\"cleat0\" does not come back: it has left"), "{outcome}");
    assert_eq!(names(&network::devices()), ["cleat1", "lo", "peer1"]);
    assert_eq!(network::device("cleat1"), before.0["cleat1"]);
    assert_eq!(names(&devices_at(&path)), ["cleat0", "trap"]);
}

/// A creation that waits in its createRuntime hook, and fails there after two seconds.
fn stopped_by_a_hook(bundle: Bundle) -> (Bundle, std::path::PathBuf) {
    let log = bundle.dir().join("log");
    let args = json!(["probe", "hook-sleep", log, "stop"]);
    let hook = json!({ "path": integration::probe(), "args": args, "timeout": 2 });
    (bundle.raw_hook("createRuntime", hook), log)
}
