//! A bundle that asks for everything at once, or for all but some.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::cells::{Combination, Manager, Property, Space, User};
use crate::bundle::Bundle;
use crate::user::give;

/// What is asked for, besides which properties.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// All of these.
    pub properties: BTreeSet<Property>,
    /// The profile of AppArmor.
    pub profile: Option<String>,
    /// Files of the cgroup, and what they then say.
    pub limits: Vec<(&'static str, &'static str)>,
}

/// Which controller has which limit: a property of `linux.resources`, its file, and what that says.
pub const LIMITS: [(&str, &str, &str); 3] =
    [("hugetlb", "hugetlb.2MB.max", "4194304"), ("memory", "memory.max", "67108864"), ("pids", "pids.max", "40")];

/// The capability sets: each is another.
pub(super) const CAPABILITIES: [(Property, &str, &[&str]); 5] = [
    (Property::Bounding, "bounding", &["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"]),
    (Property::Permitted, "permitted", &["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]),
    (Property::Effective, "effective", &["CAP_KILL", "CAP_NET_BIND_SERVICE"]),
    (Property::Inheritable, "inheritable", &["CAP_KILL", "CAP_NET_BIND_SERVICE"]),
    (Property::Ambient, "ambient", &["CAP_NET_BIND_SERVICE"]),
];

/// A node that everybody may open, of a device that no container has by default: `/dev/fuse`.
fn node(path: &Path) {
    let made = Command::new("mknod").arg(path).args(["c", "10", "229"]).status();
    assert!(made.is_ok_and(|status| status.success()), "mknod {}", path.display());
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("chmod");
}

/// The bundle of a combination, which asks for nothing but its namespaces; `caller` has its files, and
/// `joined` is the user namespace's.
#[must_use]
pub fn base(combination: Combination, caller: u32, joined: Option<&Path>) -> Bundle {
    let bundle = Bundle::new()
        .with_file("hidden/file", "secret")
        .with_file("hidden/dir/file", "secret")
        .with_dir("plain")
        .with_dir("volume")
        .namespace(json!({ "type": "time" }))
        .without("/linux/resources")
        .without("/process/rlimits")
        .without("/process/capabilities")
        .without("/linux/maskedPaths")
        .without("/linux/readonlyPaths")
        .set("/process/noNewPrivileges", json!(false))
        .set("/root/readonly", json!(false))
        .set("/linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]));
    let (volume, plain) = (bundle.dir().join("volume"), bundle.dir().join("plain"));
    for dir in [volume.clone(), plain.clone(), volume.join("kept")] {
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("chmod");
    }
    for dir in [&volume, &plain, &bundle.rootfs()] {
        node(&dir.join("node"));
    }
    fs::set_permissions(bundle.rootfs(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let bundle = bundle.bind(&volume, "/volume", &["rbind", "dev"]).bind(&plain, "/plain", &["rbind"]);
    let by_path = combination.user == User::Root && combination.manager == Manager::Cgroupfs;
    let bundle = if by_path { bundle } else { bundle.without("/linux/cgroupsPath") };
    let bundle = if combination.user == User::Ordinary { without_terminals_group(bundle) } else { bundle };
    in_space(bundle, combination, caller, joined)
}

/// Without `gid=5`, which an ordinary user does not have.
fn without_terminals_group(bundle: Bundle) -> Bundle {
    bundle.edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    })
}

/// Who is root in such a container, outside.
#[must_use]
pub fn root_of(combination: Combination, caller: u32) -> u32 {
    match (combination.user, combination.space) {
        (User::Root | User::EngineRoot, Space::New | Space::Joined) => 100_000,
        _ => caller,
    }
}

fn in_space(bundle: Bundle, combination: Combination, caller: u32, joined: Option<&Path>) -> Bundle {
    give(bundle.dir(), caller);
    let owner = root_of(combination, caller);
    give(&bundle.rootfs(), owner);
    match (combination.space, joined) {
        (Space::None, _) => bundle,
        (Space::Joined, path) => {
            bundle.namespace(json!({ "type": "user", "path": path.expect("a user namespace to join") }))
        }
        (Space::New, _) => {
            let maps = maps(combination.user, owner);
            let maps = json!([{ "containerID": 0, "hostID": maps.0, "size": maps.1 }]);
            let bundle = bundle.namespace(json!({ "type": "user" }));
            bundle.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps)
        }
    }
}

/// First id outside and their number, in a user namespace of this user's containers.
pub(super) fn maps(user: User, owner: u32) -> (u32, u32) {
    match user {
        User::Root => (owner, 65_536),
        // 100000, as those of an engine's user namespace are numbered there.
        User::EngineRoot => (1, 60_000),
        User::Ordinary => (owner, 1),
    }
}

/// Asks for properties.
#[must_use]
pub fn ask(bundle: Bundle, asked: &Asked) -> Bundle {
    asked.properties.iter().fold(bundle, |bundle, property| one(bundle, *property, asked))
}

fn one(bundle: Bundle, property: Property, asked: &Asked) -> Bundle {
    match property {
        Property::Devices => bundle.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }])),
        Property::Bounding | Property::Effective | Property::Permitted | Property::Inheritable | Property::Ambient => {
            let (_, name, set) = CAPABILITIES.iter().find(|(set, ..)| *set == property).expect("a set");
            bundle.set(&format!("/process/capabilities/{name}"), json!(set))
        }
        Property::NoNewPrivileges => bundle.set("/process/noNewPrivileges", json!(true)),
        Property::Seccomp => bundle.set(
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                { "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }] }),
        ),
        Property::Label => match &asked.profile {
            Some(profile) => bundle.set("/process/apparmorProfile", json!(profile)),
            None => bundle,
        },
        Property::MaskedPaths => bundle.set("/linux/maskedPaths", json!(["/hidden/file", "/hidden/dir"])),
        Property::ReadonlyPaths => bundle.set("/linux/readonlyPaths", json!(["/volume/kept", "/proc/sys"])),
        Property::ReadonlyRoot => bundle.set("/root/readonly", json!(true)),
        Property::Mounts => {
            let plain = bundle.dir().join("plain");
            let options = ["ro", "nosuid", "nodev", "noexec", "noatime"];
            let flags = json!({ "destination": "/flags", "type": "tmpfs", "source": "tmpfs", "options": options });
            bundle.with_dir("flags").with_dir("bound").mount(flags).bind(
                &plain,
                "/bound",
                &["rbind", "ro", "nosuid", "nodev", "noexec"],
            )
        }
        Property::Groups => bundle.set("/process/user/additionalGids", json!([5, 9])),
        Property::User => bundle.set("/process/user/uid", json!(7)).set("/process/user/gid", json!(8)),
        Property::Umask => bundle.set("/process/user/umask", json!(0o27)),
        Property::Limits => asked.limits.iter().fold(bundle, |bundle, (file, value)| limit(bundle, file, value)),
        Property::Sysctl => bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })),
        Property::OomScore => bundle.set("/process/oomScoreAdj", json!(500)),
        Property::Rlimits => bundle.set("/process/rlimits", rlimits()),
        // The combination's own.
        Property::Mappings | Property::Keyring | Property::Cgroup | Property::Namespaces => bundle,
    }
}

pub(super) fn rlimits() -> Value {
    json!([
        { "type": "RLIMIT_NOFILE", "soft": 512, "hard": 600 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ])
}

fn limit(bundle: Bundle, file: &str, value: &str) -> Bundle {
    let number: u64 = value.parse().expect("a number");
    match file {
        "pids.max" => bundle.set("/linux/resources/pids", json!({ "limit": number })),
        "memory.max" => bundle.set("/linux/resources/memory", json!({ "limit": number })),
        _ => bundle.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": number }])),
    }
}
