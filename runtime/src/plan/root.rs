//! What is the container's root file system, with all that is in it?

use std::path::Path;

use cleat_plan as wire;
use cleat_plan::{Pivot, PropagationKind, Text};

use super::host::HostMount;
use crate::error::{Error, Result};
use crate::plan::host::Host;
use crate::spec;
use crate::spec::Spec;
use crate::sys::clean_path::clean;

use super::cgroup::Cgroup;
use super::clone_flags::NEWNS;
use super::clone_flags::NEWUSER;
use super::findings::Findings;
use super::ids::Ids;
use super::namespaces::Namespaces;
use super::place::Place;
use super::place::place;
use super::place::text;
use super::types::Request;
use super::types::Tree;
use super::types::push_mount;
use super::{devices, label, mount_options, mounts};

/// `root.path`, which there must be.
pub(super) fn root_path(spec: &Spec) -> Result<&str> {
    let root = spec.root.as_ref().ok_or_else(|| place("root").error("is missing"))?;
    if root.path.is_empty() { Err(place("root.path").error("is missing")) } else { Ok(&root.path) }
}

/// What decides on it.
pub(super) struct RootInput<'a> {
    pub(super) request: &'a Request,
    pub(super) spec: &'a Spec,
    pub(super) rootfs: &'a Path,
    pub(super) namespaces: &'a Namespaces,
    pub(super) host: &'a Host,
    pub(super) host_opens: bool,
    pub(super) ids: Ids<'a>,
    pub(super) cgroup: Option<&'a Cgroup>,
}

/// The init's part of it; `mount_fds` gets what the host half opens for that.
pub(super) fn init_root(input: &RootInput<'_>, mount_fds: &mut Vec<Tree>, findings: &mut Findings) -> wire::Root {
    let linux = &input.spec.linux;
    let readonly = input.spec.root.as_ref().is_some_and(|root| root.readonly);
    let unprivileged = input.namespaces.has(NEWUSER) || input.host.rootless();
    // Where no cgroup filters devices, the nodes that may be used are bound, and no other works.
    let filtered = input.cgroup.is_some_and(|cgroup| cgroup.devices.is_some());
    let nodev = unprivileged || !filtered && !devices::all_allowed(&linux.resources.devices);
    // A joined mount namespace belongs to others, too: mounting or pivoting there would change
    // their files under them. The root is looked up in it and entered, no more.
    let own_mounts = input.namespaces.new & NEWNS != 0;
    let pivot = match (own_mounts, input.request.no_pivot) {
        (false, _) => Pivot::Chroot,
        (true, true) => Pivot::MoveMount,
        (true, false) => Pivot::PivotRoot,
    };
    if !own_mounts {
        check_without_mounts(input, findings);
    }
    let (propagation, root_propagation) =
        findings.keep(root_propagation(&linux.rootfs_propagation).map(Some)).unwrap_or(DEFAULT_PROPAGATION);
    let path = findings.keep(text(input.rootfs));
    let tree = findings.keep(root_tree(input, mount_fds));
    let cgroup_dir = input.cgroup.map(|c| crate::plan::cgroup_path::directory(&c.mount, &c.path));
    let mount_label = findings.keep(label::mounts(linux, input.host));
    let mut context = mounts::Context {
        bundle: &input.request.bundle,
        cgroup_dir: cgroup_dir.as_deref().or(input.host.cgroup.mount.as_deref()),
        host_opens: input.host_opens,
        ids: input.ids,
        namespaces: input.namespaces,
        unprivileged,
        nodev,
        may_idmap: input.host.euid == 0,
        mount_fds,
        sysfs_readonly: mounts::is_sysfs_readonly(input.spec, input.namespaces),
        mount_label: mount_label.as_ref(),
        rootfs: input.rootfs,
        earlier: Vec::new(),
        warnings: Vec::new(),
        label_option: findings
            .keep(super::annotations::mount_context(&input.spec.annotations).map(Some))
            .unwrap_or("context"),
    };
    let mut list = mount_list(input, &mut context, findings);
    findings.warnings.append(&mut context.warnings);
    // One on `/` is the root from then on, and read-only when all has been mounted in it.
    let readonly = readonly || list.first().is_some_and(|mount| mount.target.to_bytes() == b"/" && mount.readonly_late);
    mounts::settle_late(&mut list);
    // An engine that binds a /dev of its own has filled it, too.
    let bound_dev =
        list.iter().any(|m| m.target.to_bytes() == b"/dev" && matches!(m.kind, wire::MountKind::Bind { .. }));
    let make_nodes = own_mounts && !bound_dev;
    let nodes = devices::nodes(&linux.devices, nodev, input.ids, findings);
    let devices = if make_nodes { nodes } else { Vec::new() };
    let (host_mounts, revealing) = match pivot {
        Pivot::MoveMount => findings.keep(host_mounts(&input.host.mounts, unprivileged)),
        Pivot::PivotRoot | Pivot::Chroot => Default::default(),
    };
    wire::Root {
        path,
        tree,
        nodev: nodev && own_mounts,
        pivot,
        host_mounts,
        revealing,
        propagation,
        root_propagation,
        readonly,
        mounts: list,
        devices,
        dev_links: make_nodes,
        masked: absolute(&linux.masked_paths, "linux.maskedPaths", findings),
        readonly_paths: absolute(&linux.readonly_paths, "linux.readonlyPaths", findings),
    }
}

/// The tree at the root's path, where the host half opens it.
fn root_tree(input: &RootInput<'_>, mount_fds: &mut Vec<Tree>) -> Result<Option<wire::MountFd>> {
    if !input.host_opens || input.namespaces.new & NEWNS == 0 {
        return Ok(None);
    }
    let path = input.rootfs.into();
    let tree = Tree { path, recursive: true, nofollow: false, idmap: None, idmap_recursive: false };
    push_mount(mount_fds, tree).map(Some)
}

/// Masked or read-only paths. The specification wants them absolute; runc and crun take others from the root.
fn absolute(paths: &[String], name: &str, findings: &mut Findings) -> Vec<Text> {
    findings.each(paths, |index, path| match path.as_str() {
        "" => Err(Place::new(format!("{name}[{index}]")).error(format_args!("{path:?} must be absolute"))),
        path if path.starts_with('/') => text(path),
        path => text(format!("/{path}")),
    })
}

/// What a container cannot have that has no mount namespace of its own.
fn check_without_mounts(input: &RootInput<'_>, findings: &mut Findings) {
    let (spec, linux) = (input.spec, &input.spec.linux);
    let needs = [
        ("mounts", !spec.mounts.is_empty()),
        ("linux.maskedPaths", !linux.masked_paths.is_empty()),
        ("linux.readonlyPaths", !linux.readonly_paths.is_empty()),
        ("linux.rootfsPropagation", !linux.rootfs_propagation.is_empty()),
        ("root.readonly", spec.root.as_ref().is_some_and(|root| root.readonly)),
        ("process.terminal", spec.process.as_ref().is_some_and(|p| p.terminal)),
    ];
    let error = |name| {
        let remedy = "add {\"type\": \"mount\"} without a path to linux.namespaces";
        place(name).error("needs a new mount namespace").remedy(remedy)
    };
    let needs = needs.iter().filter(|(_, is_needed)| *is_needed);
    findings.problems.extend(needs.map(|(name, _)| error(name)));
    if input.host.rootless() {
        findings.warnings.push(
            "linux.resources.devices: only root of the machine may filter devices, and without a mount namespace of \
             the container's own its root file system cannot be \"nodev\" instead: device nodes in it can be used"
                .into(),
        );
    }
}

/// Those of config.json, and the one for `NOTIFY_SOCKET`.
fn mount_list(input: &RootInput<'_>, context: &mut mounts::Context<'_>, findings: &mut Findings) -> Vec<wire::Mount> {
    let mut list = findings.each(&input.spec.mounts, |index, mount| {
        let decided = mounts::decide(mount, &Place::new(format!("mounts[{index}]")), context);
        context.earlier.push(clean(Path::new("/"), Path::new(&mount.destination)));
        decided
    });
    if let Some(dir) = &input.request.notify_dir {
        let notify = spec::Mount {
            destination: "/run/notify".into(),
            source: dir.to_string_lossy().into_owned(),
            options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(String::from).into(),
            ..spec::Mount::default()
        };
        list.extend(findings.keep(mounts::decide(&notify, &place("NOTIFY_SOCKET"), context).map(Some)));
    }
    list
}

/// Where the host's mounts are, and which of them let a user namespace of the container's see what is masked.
fn host_mounts(mounts: &[HostMount], locked: bool) -> Result<(Vec<Text>, Vec<Text>)> {
    // Of a user namespace they cannot be unmounted, and so this one cannot be reached to be covered.
    if let Some(hidden) = mounts.iter().find(|mount| locked && mount.hidden) {
        return Err(Error::new(format!("--no-pivot: another mount lies over the procfs or sysfs on {}, which a user namespace can neither unmount nor \
             cover: a user namespace in the container would see what is masked", hidden.point.display())).remedy("do without --no-pivot"));
    }
    let points = |all| -> Result<Vec<Text>> {
        mounts.iter().filter(|mount| all || mount.reveals).map(|mount| text(&mount.point)).collect()
    };
    Ok((points(true)?, points(false)?))
}

/// That of runc: events of the host come in, none goes out.
const DEFAULT_PROPAGATION: (wire::Propagation, Option<wire::Propagation>) =
    (wire::Propagation { kind: PropagationKind::Slave, recursive: true }, None);

/// Propagation before the first mount, and of `/` at the end.
fn root_propagation(word: &str) -> Result<(wire::Propagation, Option<wire::Propagation>)> {
    let recursive = |kind| wire::Propagation { kind, recursive: true };
    if word.is_empty() {
        return Ok(DEFAULT_PROPAGATION);
    }
    let asked = mount_options::propagation(word).ok_or_else(|| {
        place("linux.rootfsPropagation")
            .wrong(word, "shared, slave, private, unbindable, and the same with an r in front")
    })?;
    Ok(match asked.kind {
        PropagationKind::Slave | PropagationKind::Private => (recursive(asked.kind), None),
        PropagationKind::Shared => (recursive(asked.kind), Some(asked)),
        // An unbindable tree could not be made the root.
        PropagationKind::Unbindable => (recursive(PropagationKind::Private), Some(asked)),
    })
}
