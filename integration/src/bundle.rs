//! A bundle, as a test wants it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cgroups::remove_cgroup;
use crate::host::cgroup_root;
use crate::programs::probe;
use crate::spec::{self, default_spec, typed};
use crate::temp::{TempDir, unique_name};
use crate::user::give;

/// A directory with `config.json` and `rootfs`; gone when it leaves scope.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
    bundle: PathBuf,
    spec: Value,
    cgroup: String,
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl Bundle {
    /// What runc's `spec` writes, without a terminal, with a cgroup namespace, a cgroup of its
    /// own and `/probe facts` as the program; the root file system holds `/probe` alone.
    #[must_use]
    pub fn new() -> Self {
        let bundle = Self::empty();
        let rootfs = bundle.rootfs();
        fs::create_dir(&rootfs).expect("rootfs");
        // A copy, not a link: a container may be hostile. Another process makes it, as a descriptor
        // that writes to it could be inherited by what another thread starts (ETXTBSY).
        let copied = std::process::Command::new("cp").arg(probe()).arg(rootfs.join("probe")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the probe");
        bundle
    }

    /// A container whose program waits until it is killed.
    #[must_use]
    pub fn sleeper() -> Self {
        Self::new().args(["/probe", "sleep"])
    }

    /// The same program and specification on the root file system of `other`.
    #[must_use]
    pub fn sharing_rootfs_of(other: &Self) -> Self {
        Self::empty().set("/root/path", json!(other.rootfs()))
    }

    /// The same specification and root file system as `other`, in a directory and a cgroup of its own.
    #[must_use]
    pub fn twin_of(other: &Self) -> Self {
        let twin = Self::empty();
        let cgroup = json!(twin.cgroup);
        let twin = twin.edit(|spec| spec.clone_from(&other.spec)).set("/linux/cgroupsPath", cgroup);
        twin.set("/root/path", json!(other.rootfs()))
    }

    /// The same, without any root file system.
    #[must_use]
    pub fn empty() -> Self {
        let (dir, cgroup) = (TempDir::new(), format!("/{}", unique_name()));
        let mut spec = default_spec();
        spec["linux"]["cgroupsPath"] = json!(cgroup);
        let bundle = dir.path().to_owned();
        Self { dir, bundle, spec, cgroup }.write()
    }

    /// A copy of the workspace's `bundles/NAME` with a fresh root file system.
    ///
    /// # Panics
    /// When there is no such bundle.
    #[must_use]
    pub fn of_workspace(name: &str) -> Self {
        let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
        let dir = TempDir::new();
        let bundle = dir.path().join(name);
        fs::create_dir_all(&bundle).expect("a bundle directory");
        let text = fs::read_to_string(bundles.join(name).join("config.json"))
            .unwrap_or_else(|error| panic!("bundles/{name}/config.json: {error}"));
        let made = Command::new(bundles.join("make-rootfs")).arg(probe()).arg(&bundle).output().expect("make-rootfs");
        assert!(made.status.success(), "make-rootfs {name}: {}", String::from_utf8_lossy(&made.stderr));
        let cgroup = format!("/{}", unique_name());
        // An invalid bundle may hold anything: it is copied to the letter.
        let Ok(mut spec) = serde_json::from_str::<Value>(&text) else {
            fs::write(bundle.join("config.json"), text).expect("config.json");
            return Self { dir, bundle, spec: Value::Null, cgroup };
        };
        if let Some(linux) = spec.get_mut("linux").and_then(Value::as_object_mut) {
            linux.insert("cgroupsPath".to_owned(), json!(cgroup));
        }
        Self { dir, bundle, spec, cgroup }.write()
    }

    fn write(self) -> Self {
        let text = serde_json::to_vec_pretty(&self.spec).expect("a specification");
        fs::write(self.bundle.join("config.json"), text).expect("config.json");
        self
    }

    /// The bundle's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.bundle
    }

    /// A directory beside the bundle, for files of the host.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The root file system, as the host sees it.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// The container's cgroup, as the host sees it.
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        cgroup_root().join(self.cgroup.trim_start_matches('/'))
    }

    /// The specification as it is now.
    #[must_use]
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// Changes the specification.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self.write()
    }

    /// Sets what a JSON pointer (`/process/cwd`) names; what leads there is made.
    #[must_use]
    pub fn set(self, pointer: &str, value: Value) -> Self {
        self.edit(|spec| {
            let mut at = spec;
            for key in pointer.split('/').skip(1) {
                at = match key.parse::<usize>() {
                    Ok(index) if at.is_array() => &mut at[index],
                    _ => &mut at[key],
                };
            }
            *at = value;
        })
    }

    /// Takes away what a JSON pointer names.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn without(self, pointer: &str) -> Self {
        self.edit(|spec| {
            let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
            let parent = spec.pointer_mut(parent).and_then(Value::as_object_mut);
            let removed = parent.and_then(|parent| parent.remove(key));
            assert!(removed.is_some(), "no {pointer} to take away");
        })
    }

    /// What the container runs.
    #[must_use]
    pub fn args<I: IntoIterator<Item: Into<String>>>(self, args: I) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set("/process/args", json!(args))
    }

    /// The same set of capabilities for bounding, effective and permitted.
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Self {
        self.set("/process/capabilities", json!({ "bounding": names, "effective": names, "permitted": names }))
    }

    /// One more mount, after the others.
    #[must_use]
    pub fn mount(self, mount: Value) -> Self {
        self.edit(|spec| push(spec, "/mounts", mount))
    }

    /// A bind mount of a host path.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        self.mount(typed(spec::mount(destination, "bind", source, options)))
    }

    /// Without the mount on `destination`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn without_mount(self, destination: &str) -> Self {
        self.edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            let before = mounts.len();
            mounts.retain(|mount| mount["destination"] != destination);
            assert!(mounts.len() < before, "no mount on {destination} to take away");
        })
    }

    /// One more namespace, or another form of the one with this type.
    #[must_use]
    pub fn namespace(self, namespace: Value) -> Self {
        let this = self.edit(|spec| {
            let list = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
            list.retain(|old| old["type"] != namespace["type"]);
        });
        this.edit(|spec| push(spec, "/linux/namespaces", namespace))
    }

    /// Without the namespace of this type: the container inherits the runtime's.
    #[must_use]
    pub fn without_namespace(self, kind: &str) -> Self {
        self.edit(|spec| {
            let list = spec["linux"]["namespaces"].as_array_mut().expect("namespaces");
            list.retain(|namespace| namespace["type"] != kind);
        })
    }

    /// A user namespace in which ids 0–65535 are 100000–165535 of the host. `/sys` and what is
    /// in it go with the network namespace, which is new.
    #[must_use]
    pub fn mapped(self) -> Self {
        let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        let this = self.namespace(json!({ "type": "user" }));
        this.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps)
    }

    /// The same, and the root file system belongs to root of that namespace.
    #[must_use]
    pub fn mapped_with_rootfs(self) -> Self {
        self.chown_rootfs();
        self.mapped()
    }

    /// Gives the root file system to root of the namespace that [`Bundle::mapped`] asks for.
    ///
    /// # Panics
    /// The caller may not.
    pub fn chown_rootfs(&self) {
        for path in [self.rootfs(), self.rootfs().join("probe")] {
            std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).expect("chown");
        }
    }

    /// For an ordinary user, as `spec --rootless` has it: the user is root inside, the network and `/sys`
    /// are the host's. All files belong to the user.
    #[must_use]
    pub fn rootless(self, uid: u32) -> Self {
        let maps = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
        let this = self.namespace(json!({ "type": "user" })).without_namespace("network");
        let this = this.set("/linux/uidMappings", maps.clone()).set("/linux/gidMappings", maps);
        let this = this.without("/linux/cgroupsPath").edit(|spec| {
            for mount in spec["mounts"].as_array_mut().expect("mounts") {
                if mount["destination"] == "/sys" {
                    *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
                }
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
        });
        this.given_to(uid)
    }

    /// Gives all its files to a user.
    #[must_use]
    pub fn given_to(self, uid: u32) -> Self {
        give(self.dir.path(), uid);
        self
    }

    /// One more hook of this kind: the probe on the host, which appends to `file` under `tag`.
    #[must_use]
    pub fn hook(self, kind: &str, file: &Path, tag: &str, status: u8) -> Self {
        let file = file.to_str().expect("a path of the test's");
        self.raw_hook(kind, typed(spec::hook(&probe(), &["probe", "hook", file, tag, &status.to_string()])))
    }

    /// One more hook of this kind, as given.
    #[must_use]
    pub fn raw_hook(self, kind: &str, hook: Value) -> Self {
        self.edit(|spec| {
            let hooks = &mut spec["hooks"][kind];
            if hooks.is_null() {
                *hooks = json!([]);
            }
            push(spec, &format!("/hooks/{kind}"), hook);
        })
    }

    /// A directory of the root file system.
    #[must_use]
    pub fn with_dir(self, path: &str) -> Self {
        fs::create_dir_all(self.inside(path)).expect("a directory in rootfs");
        self
    }

    /// A file of the root file system.
    #[must_use]
    pub fn with_file(self, path: &str, text: &str) -> Self {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory in rootfs");
        fs::write(path, text).expect("a file in rootfs");
        self
    }

    /// A symbolic link of the root file system.
    #[must_use]
    pub fn with_link(self, path: &str, target: impl AsRef<Path>) -> Self {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory in rootfs");
        symlink(target, path).expect("a link in rootfs");
        self
    }

    /// Another mode for a file of the root file system.
    #[must_use]
    pub fn with_mode(self, path: &str, mode: u32) -> Self {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.inside(path), mode).expect("a mode in rootfs");
        self
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.rootfs().join(path.trim_start_matches('/'))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // The containers that used it are gone by now; what they left must not stay.
        remove_cgroup(&self.cgroup());
    }
}

fn push(spec: &mut Value, pointer: &str, value: Value) {
    let list = spec.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.unwrap_or_else(|| panic!("no list at {pointer}")).push(value);
}

/// The last mount on `target` that a probe's facts tell of.
///
/// # Panics
/// When there is none; says what was seen.
#[must_use]
pub fn mount_of<'a>(facts: &'a Value, target: &str) -> &'a Value {
    let mounts = facts["mounts"].as_array().expect("mounts");
    mounts.iter().rfind(|mount| mount["target"] == target).unwrap_or_else(|| panic!("nothing on {target}: {mounts:?}"))
}

/// Its options.
#[must_use]
pub fn options_of(facts: &Value, target: &str) -> Vec<String> {
    let options = mount_of(facts, target)["options"].as_array().expect("options");
    options.iter().map(|option| option.as_str().expect("an option").to_owned()).collect()
}
