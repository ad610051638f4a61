//! What do the entries of `mounts` ask for?

use std::path::{Path, PathBuf};

use cleat_plan::{FsOption, Mount, MountKind, Text};

use super::clone_flags::NEWCGROUP;
use super::clone_flags::NEWIPC;
use super::clone_flags::NEWNET;
use super::clone_flags::NEWPID;
use super::clone_flags::NEWUSER;
use super::ids::Ids;
use super::mount_options::{ATIME, Mapping, Mappings, NODEV, NODIRATIME, Options, RDONLY, SUPERBLOCK, apply, words};
use super::namespaces::Namespaces;
use super::place::Place;
use super::place::text;
use super::types::IdMap;
use super::types::IdmapSource;
use super::types::Tree;
use crate::error::Result;
use crate::spec;
use crate::sys::clean_path::clean;

/// What a mount needs to know of the rest of the plan.
pub(super) struct Context<'a> {
    pub(super) bundle: &'a Path,
    pub(super) namespaces: &'a Namespaces,
    pub(super) ids: Ids<'a>,
    /// The container's cgroup as a directory of the host; the whole tree where it has none.
    pub(super) cgroup_dir: Option<&'a Path>,
    /// The init is in a user namespace, and this process can reach what the init may not.
    pub(super) host_opens: bool,
    /// The container's user namespace is not the machine's own.
    pub(super) unprivileged: bool,
    /// Device nodes must not work, but those that are bound.
    pub(super) nodev: bool,
    /// This process is root of its user namespace.
    pub(super) may_idmap: bool,
    pub(super) mount_fds: &'a mut Vec<Tree>,
    /// See [`is_sysfs_readonly`].
    pub(super) sysfs_readonly: bool,
    /// `linux.mountLabel`
    pub(super) mount_label: Option<&'a Text>,
    pub(super) rootfs: &'a Path,
    /// Where the mounts before it in the list are.
    pub(super) earlier: Vec<PathBuf>,
    /// What is ignored, with a warning.
    pub(super) warnings: Vec<String>,
    /// The option that carries it.
    pub(super) label_option: &'static str,
}

/// Files below `/proc` that may be covered by a bind mount, as tools like lxcfs do.
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Whether the one sysfs that a new network namespace has is made read-only: unless one of its mounts is
/// not. That of a namespace that others have, too, stays as it is: they may want to write.
pub(super) fn is_sysfs_readonly(spec: &spec::Spec, namespaces: &Namespaces) -> bool {
    let is_readonly = |mount: &spec::Mount| {
        let words = mount.options.iter().flat_map(|option| words(option));
        words.filter(|word| matches!(*word, "ro" | "rw")).last() == Some("ro")
    };
    let mut all = spec.mounts.iter().filter(|mount| mount.kind == "sysfs").peekable();
    namespaces.new & NEWNET != 0 && all.peek().is_some() && all.all(is_readonly)
}

/// Decides one mount.
pub(super) fn decide(mount: &spec::Mount, place: &Place, context: &mut Context<'_>) -> Result<Mount> {
    if mount.destination.is_empty() {
        return Err(place.at("destination").error("is missing"));
    }
    let destination = clean(Path::new("/"), Path::new(&mount.destination));
    let mut options = Options::parse(&mount.options, place)?;
    let is_root = destination == Path::new("/");
    if is_root && (!context.earlier.is_empty() || options.remount) {
        return Err(place
            .at("destination")
            .error("\"/\" is the root file system itself")
            .remedy("set root.path instead, or mount there before all others"));
    }
    let bind = options.bind || mount.kind == "bind" || mount.kind == "rbind";
    options.recursive |= mount.kind == "rbind";
    let kind = if options.remount {
        MountKind::Remount { options: options.fs }
    } else if bind {
        bind_kind(mount, &mut options, place, context)?
    } else if mount.kind.is_empty() || mount.kind == "none" {
        if options.propagation.is_empty() {
            return Err(place
                .at("type")
                .error("is missing, and the options are not those of a bind mount")
                .remedy("add \"bind\" or a type"));
        }
        MountKind::Remount { options: Vec::new() }
    } else {
        if options.idmap.is_some()
            || options.mappings.is_some()
            || !mount.uid_mappings.is_empty()
            || !mount.gid_mappings.is_empty()
        {
            return Err(place
                .error("identity-mapped mounts must be bind mounts")
                .remedy("add \"bind\" to the options"));
        }
        new_kind(mount, &mut options, place, context)?
    };
    let mut planned = Mount {
        target: text(&destination)?,
        kind,
        attr: options.attr,
        attr_recursive: options.attr_recursive,
        propagation: options.propagation,
        nodev: false,
        target_nofollow: destination == Path::new("/proc") || destination == Path::new("/sys"),
        target_last_nofollow: options.target_nofollow,
        readonly_late: false,
        copy_link: options.copy_link,
        require_procfs: false,
        copy_up: options.copy_up,
        label: None,
    };
    planned.nodev = context.nodev && !has_devices(mount, &planned, context.bundle);
    if planned.nodev {
        planned.attr.clear_unlocked &= !NODEV;
    }
    // Something may still be made on them: mount points, device nodes.
    let is_filled = is_root || destination == Path::new("/dev") || mount.kind == "tmpfs";
    let is_new = matches!(planned.kind, MountKind::New { .. }) || is_root;
    planned.readonly_late = is_filled && is_new && planned.attr.set & RDONLY != 0;
    label_mount(&mut planned, context.mount_label, context.label_option)?;
    if planned.copy_up && mount.kind != "tmpfs" {
        return Err(place.at("options").error("\"tmpcopyup\" is for mounts of type tmpfs"));
    }
    check_proc(&mut planned, &destination, mount, place)?;
    Ok(planned)
}

/// A later remount decides on the write protection of a mount.
pub(super) fn settle_late(list: &mut [Mount]) {
    for index in 0..list.len() {
        let (before, rest) = list.split_at_mut(index);
        let Some(mount) = rest.first().filter(|mount| matches!(mount.kind, MountKind::Remount { .. })) else {
            continue;
        };
        if (mount.attr.set | mount.attr.clear) & RDONLY != 0
            && let Some(earlier) = before.iter_mut().rfind(|earlier| earlier.target == mount.target)
        {
            earlier.readonly_late = false;
        }
    }
}

/// Whether device nodes on a mount were asked for: by the option `dev`, as those of the host's `/dev`, or as a
/// container's terminals. In a user namespace no others can be used. There a node of mode 666 in an image or a
/// volume would open whatever device it names, and for an ordinary user's container no device filter stands in the
/// way. (What lies in the host's `/dev/shm` is not the administrator's.)
fn has_devices(mount: &spec::Mount, planned: &Mount, bundle: &Path) -> bool {
    let (dev, shm) = (Path::new("/dev"), Path::new("/dev/shm"));
    let asked = (planned.attr.clear | planned.attr_recursive.clear) & NODEV != 0;
    asked
        || match &planned.kind {
            MountKind::Bind { .. } => {
                let source = clean(bundle, Path::new(&mount.source));
                source.starts_with(dev) && !source.starts_with(shm)
            }
            MountKind::New { fstype, .. } => fstype.to_bytes() == b"devpts",
            MountKind::Remount { .. } => true,
        }
}

/// New file systems get the label as an option; a message queue's root gets it afterwards. Those
/// that show the kernel have labels of their own.
fn label_mount(planned: &mut Mount, label: Option<&Text>, option: &str) -> Result<()> {
    let (MountKind::New { fstype, options, .. }, Some(label)) = (&mut planned.kind, label) else { return Ok(()) };
    match fstype.to_bytes() {
        b"proc" | b"sysfs" | b"cgroup2" => {}
        b"mqueue" => planned.label = Some(label.clone()),
        _ => options.push(FsOption { key: text(option)?, value: Some(label.clone()) }),
    }
    Ok(())
}

/// What lies on `/proc` must be a procfs: labels and kernel parameters are written there
/// (CVE-2019-16884).
fn check_proc(planned: &mut Mount, destination: &Path, mount: &spec::Mount, place: &Place) -> Result<()> {
    if !destination.starts_with("/proc") {
        return Ok(());
    }
    if destination == Path::new("/proc") {
        match planned.kind {
            MountKind::Bind { .. } => planned.require_procfs = true,
            MountKind::New { .. } if mount.kind != "proc" => {
                return Err(place.error(format_args!("a {} cannot be mounted on /proc", mount.kind)));
            }
            MountKind::New { .. } | MountKind::Remount { .. } => {}
        }
        return Ok(());
    }
    let allowed = PROC_FILES.iter().any(|file| Path::new(file) == destination);
    if allowed || !matches!(planned.kind, MountKind::New { .. } | MountKind::Bind { .. }) {
        return Ok(());
    }
    Err(place
        .at("destination")
        .error(format_args!("{} cannot be mounted because it is inside /proc", destination.display()))
        .remedy(format_args!("allowed there are {}", PROC_FILES.join(", "))))
}

fn bind_kind(
    mount: &spec::Mount,
    options: &mut Options,
    place: &Place,
    context: &mut Context<'_>,
) -> Result<MountKind> {
    ignore_data(options, place, context)?;
    if options.copy_link && (options.source_nofollow || options.target_nofollow) {
        return Err(place.at("options").error("\"copy-symlink\" excludes \"src-nofollow\" and \"dest-nofollow\""));
    }
    if mount.source.is_empty() {
        return Err(place.at("source").error("is missing").remedy("a bind mount needs one"));
    }
    let source: PathBuf = clean(context.bundle, Path::new(&mount.source));
    // Read-only means the cgroups below, too: there lies what an ordinary user owns outside
    // (CVE-2023-25809).
    if context.unprivileged && options.recursive && options.attr.set & RDONLY != 0 && source.starts_with("/sys") {
        apply(&mut options.attr_recursive, RDONLY, 0);
    }
    options.bind_flags();
    let idmap = idmap_source(mount, options, place, context)?;
    let (recursive, nofollow) = (options.recursive, options.source_nofollow || options.copy_link);
    if idmap.is_none() {
        return bind(&source, recursive, nofollow, context);
    }
    let tree = Tree { path: source.clone(), recursive, nofollow, idmap, idmap_recursive: options.idmap == Some(true) };
    let tree = super::types::push_mount(context.mount_fds, tree)?;
    Ok(MountKind::Bind { source: text(&source)?, inside: None, recursive, nofollow, tree: Some(tree) })
}

/// Options of file systems mean nothing to a bind mount. Those of all file systems are ignored as by the peers,
/// and so is a value, with a warning. Any other word may be a typing error in what was to confine.
fn ignore_data(options: &mut Options, place: &Place, context: &mut Context<'_>) -> Result<()> {
    for FsOption { key, value } in std::mem::take(&mut options.fs) {
        let key = key.to_string_lossy();
        if value.is_some() {
            let said = place.at("options").error(format_args!("{key:?} has no effect on a bind mount"));
            context.warnings.push(said.to_string());
        } else if !SUPERBLOCK.contains(&&*key) {
            return Err(place.at("options").error(format_args!("{key:?} is no option of a bind mount")));
        }
    }
    Ok(())
}

/// A bind mount as it is, opened by the half that can reach it.
fn bind(source: &Path, recursive: bool, nofollow: bool, context: &mut Context<'_>) -> Result<MountKind> {
    let tree = || Tree { path: source.into(), recursive, nofollow, idmap: None, idmap_recursive: false };
    // What an earlier mount brings into the root is not there yet when the host half opens. The init, which may
    // not be allowed on the way to it, looks from the root that it has.
    let inside = source.strip_prefix(context.rootfs).ok().map(|rest| Path::new("/").join(rest));
    let inside =
        inside.filter(|path| context.host_opens && context.earlier.iter().any(|mount| path.starts_with(mount)));
    if let Some(inside) = inside {
        return Ok(MountKind::Bind {
            source: text(source)?,
            inside: Some(text(inside)?),
            recursive,
            nofollow,
            tree: None,
        });
    }
    let tree = context.host_opens.then(|| super::types::push_mount(context.mount_fds, tree())).transpose()?;
    Ok(MountKind::Bind { source: text(source)?, inside: None, recursive, nofollow, tree })
}

fn idmap_source(
    mount: &spec::Mount,
    options: &Options,
    place: &Place,
    context: &Context<'_>,
) -> Result<Option<IdmapSource>> {
    let has_maps = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if (has_maps || options.idmap.is_some() || options.mappings.is_some()) && !context.may_idmap {
        return Err(place
            .error("identity-mapped mounts can be made by root alone")
            .remedy("leave the mappings and \"idmap\" out"));
    }
    if has_maps {
        if mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty() {
            return Err(place.error("uidMappings and gidMappings must be given together"));
        }
        let maps = |list: &[spec::IdMapping]| list.iter().map(|m| super::IdMap::from(*m)).collect();
        return Ok(Some(IdmapSource::Mappings { uids: maps(&mount.uid_mappings), gids: maps(&mount.gid_mappings) }));
    }
    if let Some(Mappings { uids, gids }) = &options.mappings {
        let absolute = |list: &[Mapping], ids: &[IdMap], name: &str| -> Result<Vec<IdMap>> {
            let host_id = |mapping: &Mapping| match mapping.relative {
                false => Some(mapping.map.host_id),
                true => super::ids::outside(ids, mapping.map.host_id),
            };
            let no_id = |id| place.at("options").error(format_args!("\"idmap\": {id} has no mapping in linux.{name}"));
            let each =
                list.iter().map(|m| Ok(IdMap { host_id: host_id(m).ok_or_else(|| no_id(m.map.host_id))?, ..m.map }));
            each.collect()
        };
        let uids = absolute(uids, context.ids.uids, "uidMappings")?;
        let gids = absolute(gids, context.ids.gids, "gidMappings")?;
        return Ok(Some(IdmapSource::Mappings { uids, gids }));
    }
    match options.idmap {
        None => Ok(None),
        Some(_) if context.namespaces.has(NEWUSER) => Ok(Some(IdmapSource::Container)),
        Some(_) => Err(place
            .at("options")
            .error("\"idmap\" needs uidMappings and gidMappings, or a user namespace of the container")),
    }
}

fn new_kind(mount: &spec::Mount, options: &mut Options, place: &Place, context: &mut Context<'_>) -> Result<MountKind> {
    let fstype = if mount.kind == "cgroup" { "cgroup2" } else { &mount.kind };
    if let Some(instead) = instead_of_new(fstype, options, place, context)? {
        return Ok(instead);
    }
    for (key, value) in options.fs.iter().filter_map(|option| Some((&option.key, option.value.as_ref()?))) {
        let place = place.at(format_args!("options: {key}={value}"));
        context.ids.check_option(key.to_bytes(), value.to_bytes(), &place)?;
    }
    let source = if mount.source.is_empty() { fstype } else { &mount.source };
    let mut fs = std::mem::take(&mut options.fs);
    // As a whole: on a device, and where the file system shows the kernel. (A tmpfs is still to be filled.)
    let as_a_whole = match fstype {
        "proc" => true,
        "sysfs" => context.sysfs_readonly,
        _ => mount.source.starts_with('/'),
    };
    if as_a_whole && options.attr.set & RDONLY != 0 {
        fs.push(FsOption { key: text("ro")?, value: None });
    }
    check_length(&fs, place)?;
    Ok(MountKind::New { fstype: text(fstype)?, source: Some(text(source)?), options: fs })
}

/// What is too long for fsconfig(2) goes through mount(2), which would cut off what is beyond a page.
fn check_length(options: &[FsOption], place: &Place) -> Result<()> {
    const PAGE: usize = 4096;
    let length = |text: &Text| text.to_bytes().len();
    let all: usize = options.iter().map(|o| length(&o.key) + o.value.as_ref().map_or(0, length) + 2).sum();
    if all < PAGE || options.iter().all(|option| option.value.as_ref().map_or(0, length) <= 255) {
        return Ok(());
    }
    Err(place
        .at("options")
        .error(format_args!("are {all} bytes together, one of them more than 255; mount(2) takes 4095")))
}

/// File systems that show a namespace, which only that namespace's owner may mount.
const OF_NAMESPACES: &[(&str, u64, &str)] = &[
    ("cgroup2", NEWCGROUP, "cgroup"),
    ("mqueue", NEWIPC, "ipc"),
    ("proc", NEWPID, "pid"),
    ("sysfs", NEWNET, "network"),
];

/// Where a file system shows a namespace that does not belong to the container's user namespace:
/// what takes its place, or why nothing can.
fn instead_of_new(
    fstype: &str,
    options: &mut Options,
    place: &Place,
    context: &mut Context<'_>,
) -> Result<Option<MountKind>> {
    let Some((_, flag, kind)) = OF_NAMESPACES.iter().find(|(name, ..)| *name == fstype) else { return Ok(None) };
    let (new, inherited) = (context.namespaces.new, !context.namespaces.has(*flag));
    // One that is joined may belong to a user namespace that is joined, or is ours: the kernel knows.
    let of_others = new & NEWUSER != 0 && new & flag == 0;
    let readonly = options.attr.set & RDONLY != 0;
    let is_cgroup = fstype == "cgroup2" && (of_others || context.unprivileged && inherited);
    let (source, recursive) = match context.cgroup_dir.filter(|_| is_cgroup) {
        // In reach as asked for; but what an ordinary user owns outside must not be writable
        // inside (CVE-2023-25809).
        Some(dir) => (dir, false),
        None if !of_others => return Ok(None),
        // Those of the runtime's network, which the container may share.
        None if fstype == "sysfs" && readonly => (Path::new("/sys"), true),
        None => {
            let instead = if fstype == "sysfs" {
                "\"ro\" to the options, which binds the host's"
            } else {
                "bind-mount the host's"
            };
            return Err(place.error(format_args!(
                "a new {fstype} shows the {kind} namespace, which must belong to the container's user namespace: add \
                 {{\"type\": \"{kind}\"}} to linux.namespaces, or {instead}"
            )));
        }
    };
    apply(&mut options.attr, RDONLY, 0);
    apply(&mut options.attr_recursive, RDONLY, 0);
    // Access times are kept as the host's mount has it, where they are locked.
    for attr in [&mut options.attr, &mut options.attr_recursive] {
        (attr.set, attr.clear) = (attr.set & !(ATIME | NODIRATIME), attr.clear & !(ATIME | NODIRATIME));
    }
    bind(source, recursive, is_cgroup, context).map(Some)
}

#[cfg(test)]
mod tests {
    use cleat_plan::{Attr, Propagation, PropagationKind};

    use super::super::mount_options::{NOATIME, NOEXEC, NOSUID, STRICTATIME, option_names};
    use super::*;

    fn decide_json(json: &str) -> std::result::Result<Mount, String> {
        decide_in("[]", false, json)
    }

    fn decide_in(namespaces: &str, unprivileged: bool, json: &str) -> std::result::Result<Mount, String> {
        let mount: spec::Mount = serde_json::from_str(json).unwrap();
        let list: Vec<spec::Namespace> = serde_json::from_str(namespaces).unwrap();
        let mut fds = Vec::new();
        let mut context = Context {
            bundle: Path::new("/bundle"),
            namespaces: &Namespaces::decide(&list, &mut crate::plan::Findings::default()),
            ids: Ids::of_container(&[], &[]),
            cgroup_dir: Some(Path::new("/sys/fs/cgroup/a")),
            host_opens: false,
            unprivileged,
            nodev: unprivileged,
            may_idmap: !unprivileged,
            mount_fds: &mut fds,
            sysfs_readonly: true,
            mount_label: None,
            rootfs: Path::new("/bundle/rootfs"),
            earlier: vec![PathBuf::from("/proc")],
            warnings: Vec::new(),
            label_option: "context",
        };
        decide(&mount, &Place::new("mounts[0]".into()), &mut context).map_err(|e| e.to_string())
    }

    #[test]
    fn the_last_of_two_contrary_options_holds() {
        let mount = decide_json(
            r#"{"destination":"/a","type":"tmpfs","options":["ro","rw","noatime","strictatime","nosuid"]}"#,
        )
        .unwrap();
        assert_eq!((mount.attr.set, mount.attr.clear), (STRICTATIME | NOSUID, RDONLY | ATIME));
    }

    #[test]
    fn recursive_attributes_are_kept_apart() {
        let mount =
            decide_json(r#"{"destination":"/a","source":"x","options":["rbind","rro","rnoatime","rslave"]}"#).unwrap();
        assert_eq!(mount.attr_recursive, Attr { set: RDONLY | NOATIME, clear: ATIME, clear_unlocked: 0 });
        assert_eq!(mount.propagation, [Propagation { kind: PropagationKind::Slave, recursive: true }]);
        assert!(
            matches!(mount.kind, MountKind::Bind { recursive: true, ref source, .. } if source.to_bytes() == b"/bundle/x")
        );
    }

    #[test]
    fn nothing_but_procfs_and_known_files_goes_on_proc() {
        assert!(
            decide_json(r#"{"destination":"/proc","type":"tmpfs"}"#)
                .unwrap_err()
                .contains("cannot be mounted on /proc")
        );
        assert!(
            decide_json(r#"{"destination":"/proc/sys/../sys","source":"/x","options":["bind"]}"#)
                .unwrap_err()
                .contains("inside /proc")
        );
        assert!(decide_json(r#"{"destination":"/proc","source":"/proc","options":["bind"]}"#).unwrap().require_procfs);
        decide_json(r#"{"destination":"/proc/meminfo","source":"/x","options":["bind"]}"#).unwrap();
    }

    #[test]
    fn an_option_that_a_bind_mount_cannot_have_is_named() {
        let error = decide_json(r#"{"destination":"/a","source":"/x","options":["bind","readonly"]}"#).unwrap_err();
        assert_eq!(error, "config.json: mounts[0].options: \"readonly\" is no option of a bind mount");
        decide_json(r#"{"destination":"/a","source":"/x","options":["bind","size=1","sync","","mand"]}"#).unwrap();
    }

    const USER: &str = r#"[{"type":"user"},{"type":"mount"}]"#;

    fn source(mount: &Mount) -> (&str, bool) {
        match &mount.kind {
            MountKind::Bind { source, recursive, .. } => (source.to_str().unwrap(), *recursive),
            other => panic!("{other:?}"),
        }
    }

    /// CVE-2023-25809.
    #[test]
    fn what_an_ordinary_user_owns_in_the_hosts_cgroups_is_read_only() {
        let rbind = r#"{"destination":"/sys","source":"/sys","options":["rbind","nosuid","ro"]}"#;
        assert_eq!(decide_in(USER, true, rbind).unwrap().attr_recursive.set, RDONLY);
        assert!(decide_json(rbind).unwrap().attr_recursive.is_empty(), "root gets what was asked for");
        let cgroup = r#"{"destination":"/sys/fs/cgroup","type":"cgroup","options":["rw","relatime"]}"#;
        for namespaces in [USER, "[]", r#"[{"type":"user"},{"type":"cgroup","path":"/c"}]"#] {
            let mount = decide_in(namespaces, true, cgroup).unwrap();
            assert_eq!(source(&mount), ("/sys/fs/cgroup/a", false));
            assert_eq!(mount.attr, Attr { set: RDONLY, clear: 0, clear_unlocked: 0 });
        }
        let own = decide_in(r#"[{"type":"user"},{"type":"cgroup"}]"#, true, cgroup).unwrap();
        assert!(matches!(own.kind, MountKind::New { .. }), "{own:?}");
    }

    #[test]
    fn the_hosts_sys_stands_in_for_a_sysfs_that_cannot_be_mounted() {
        let sysfs = r#"{"destination":"/sys","type":"sysfs","options":["nosuid","noexec","nodev","ro"]}"#;
        let mount = decide_in(USER, true, sysfs).unwrap();
        assert_eq!(source(&mount), ("/sys", true));
        assert_eq!((mount.attr.set, mount.attr_recursive.set), (RDONLY | NOSUID | NODEV | NOEXEC, RDONLY));
        let own = decide_in(r#"[{"type":"user"},{"type":"network"}]"#, true, sysfs).unwrap();
        assert!(matches!(own.kind, MountKind::New { .. }), "{own:?}");
        let error = decide_in(USER, true, r#"{"destination":"/sys","type":"sysfs"}"#).unwrap_err();
        assert_eq!(
            error,
            "config.json: mounts[0]: a new sysfs shows the network namespace, which must belong to the container's user \
             namespace: add {\"type\": \"network\"} to linux.namespaces, or \"ro\" to the options, which binds the \
             host's"
        );
    }

    #[test]
    fn a_file_system_of_a_namespace_needs_that_namespace() {
        for (kind, namespace) in [("proc", "pid"), ("mqueue", "ipc")] {
            let mount = format!(r#"{{"destination":"/{kind}","type":"{kind}"}}"#);
            let error = decide_in(USER, true, &mount).unwrap_err();
            let expected = format!("a new {kind} shows the {namespace} namespace");
            assert!(error.contains(&expected), "{error}");
            let own = format!(r#"[{{"type":"user"}},{{"type":"{namespace}"}}]"#);
            decide_in(&own, true, &mount).unwrap();
            // In a user namespace that is ours the kernel knows whose it is.
            decide_in("[]", true, &mount).unwrap();
        }
    }

    #[test]
    fn identity_mapped_mounts_are_for_root() {
        let mount = r#"{"destination":"/a","source":"/b","options":["bind","idmap"]}"#;
        assert!(decide_in(USER, true, mount).unwrap_err().contains("by root alone"));
        decide_in(USER, false, mount).unwrap();
    }

    #[test]
    fn every_attribute_has_its_recursive_twin() {
        let names = option_names();
        for name in ["rro", "rnosymfollow", "rnorelatime", "rbind", "ridmap"] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
    }
}
