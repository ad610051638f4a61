//! What do the entries of `mounts` ask for?
//!
//! Options are those of mount(8) and runtime-spec config.md § Linux mount options. The tables
//! below are all of them: `cleat features` prints the same.

use std::path::{Path, PathBuf};

use cleat_plan::{Attr, FsOption, Mount, MountKind, Propagation, PropagationKind, Text};

use super::clone_flags::NEWCGROUP;
use super::clone_flags::NEWIPC;
use super::clone_flags::NEWNET;
use super::clone_flags::NEWPID;
use super::clone_flags::NEWUSER;
use super::ids::Ids;
use super::namespaces::Namespaces;
use super::place::Place;
use super::place::text;
use super::types::FdSource;
use super::types::IdmapSource;
use super::types::Tree;
use crate::error::Result;
use crate::spec;
use crate::sys::clean_path::clean;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// Options that are attributes of a mount: name, bits set, bits cleared. With an `r` in front they
/// are those of all mounts below, too.
const ATTRIBUTES: &[(&str, u64, u64)] = &[
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, ATIME),
    ("relatime", 0, ATIME),
    ("norelatime", 0, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", 0, ATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// Options of the file system as a whole that the kernel knows by these names (fsconfig(2)).
const SUPERBLOCK: &[&str] = &["sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime"];

/// Options without effect on any kernel this program runs on: `silent` suppresses a log line of
/// mount(2), which is not used; `iversion` is the file system's own affair since Linux 6.6, and
/// was ignored by those that containers mount.
const WITHOUT_EFFECT: &[&str] = &["defaults", "silent", "loud", "iversion", "noiversion", "nofail"];

const PROPAGATIONS: &[(&str, PropagationKind, bool)] = &[
    ("private", PropagationKind::Private, false),
    ("rprivate", PropagationKind::Private, true),
    ("shared", PropagationKind::Shared, false),
    ("rshared", PropagationKind::Shared, true),
    ("slave", PropagationKind::Slave, false),
    ("rslave", PropagationKind::Slave, true),
    ("unbindable", PropagationKind::Unbindable, false),
    ("runbindable", PropagationKind::Unbindable, true),
];

/// Options that say what kind of mount it is.
const KINDS: &[&str] = &["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"];

/// Every option with a meaning of its own, sorted.
#[must_use]
pub fn option_names() -> Vec<String> {
    let mut names: Vec<String> =
        ATTRIBUTES.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("r{name}")]).collect();
    names.extend(PROPAGATIONS.iter().map(|(name, ..)| (*name).to_owned()));
    names.extend(SUPERBLOCK.iter().chain(WITHOUT_EFFECT).chain(KINDS).map(|name| (*name).to_owned()));
    names.retain(|name| name != "nofail");
    names.sort();
    names
}

/// The propagation that a word means.
pub(super) fn propagation(word: &str) -> Option<Propagation> {
    PROPAGATIONS
        .iter()
        .find(|(name, ..)| *name == word)
        .map(|(_, kind, recursive)| Propagation { kind: *kind, recursive: *recursive })
}

/// What one mount's options say.
#[derive(Default)]
struct Options {
    attr: Attr,
    attr_recursive: Attr,
    propagation: Vec<Propagation>,
    fs: Vec<FsOption>,
    bind: bool,
    recursive: bool,
    remount: bool,
    copy_up: bool,
    /// `Some(true)` maps the mounts below, too.
    idmap: Option<bool>,
}

fn apply(attr: &mut Attr, set: u64, clear: u64) {
    attr.set = attr.set & !clear | set;
    attr.clear = attr.clear & !set | clear;
}

fn parse(options: &[String], place: &Place) -> Result<Options> {
    let mut parsed = Options::default();
    for (index, option) in options.iter().enumerate() {
        let attribute = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
        match option.as_str() {
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "remount" => parsed.remount = true,
            "tmpcopyup" => parsed.copy_up = true,
            "idmap" => parsed.idmap = Some(false),
            "ridmap" => parsed.idmap = Some(true),
            word if WITHOUT_EFFECT.contains(&word) => {}
            word => {
                if let Some((_, set, clear)) = attribute(word) {
                    apply(&mut parsed.attr, *set, *clear);
                } else if let Some((_, set, clear)) = word.strip_prefix('r').and_then(attribute) {
                    apply(&mut parsed.attr_recursive, *set, *clear);
                } else if let Some(how) = propagation(word) {
                    parsed.propagation.push(how);
                } else {
                    let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
                    if key.is_empty() {
                        return Err(place.at(format_args!("options[{index}]")).error("is empty"));
                    }
                    if value.is_some_and(|v| v.len() > 255) {
                        return Err(place
                            .at(format_args!("options[{index}]"))
                            .error("the value is longer than the 255 bytes that fsconfig(2) takes"));
                    }
                    parsed.fs.push(FsOption { key: text(key)?, value: value.map(text).transpose()? });
                }
            }
        }
    }
    Ok(parsed)
}

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
    pub(super) fds: &'a mut Vec<FdSource>,
    /// See [`is_sysfs_readonly`].
    pub(super) sysfs_readonly: bool,
    /// `linux.mountLabel`
    pub(super) mount_label: Option<&'a Text>,
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
        mount.options.iter().rfind(|option| matches!(option.as_str(), "ro" | "rw")).is_some_and(|last| last == "ro")
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
    if destination == Path::new("/") {
        return Err(place.at("destination").error("\"/\" is the root file system itself; set root.path instead"));
    }
    let mut options = parse(&mount.options, &place.at("options"))?;
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
                .error("is missing, and the options are not those of a bind mount; add \"bind\" or a type"));
        }
        MountKind::Remount { options: Vec::new() }
    } else {
        if options.idmap.is_some() || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
            return Err(place.error("identity-mapped mounts must be bind mounts; add \"bind\" to the options"));
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
        require_procfs: false,
        copy_up: options.copy_up,
        label: None,
    };
    planned.nodev = context.nodev && !has_devices(mount, &planned, context.bundle);
    label_mount(&mut planned, context.mount_label, context.label_option)?;
    if planned.copy_up && mount.kind != "tmpfs" {
        return Err(place.at("options").error("\"tmpcopyup\" is for mounts of type tmpfs"));
    }
    check_proc(&mut planned, &destination, mount, place)?;
    Ok(planned)
}

/// Whether device nodes on a mount were asked for: by the option `dev`, as those of the host's `/dev`, or as
/// a container's terminals. In a user namespace no others can be used: there a node of mode 666 in an
/// image or a volume would open whatever device it names, and for an ordinary user's container no
/// device filter stands in the way. (What lies in the host's `/dev/shm` is not the administrator's.)
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
    Err(place.at("destination").error(format_args!(
        "{} cannot be mounted because it is inside /proc; allowed there are {}",
        destination.display(),
        PROC_FILES.join(", ")
    )))
}

fn bind_kind(
    mount: &spec::Mount,
    options: &mut Options,
    place: &Place,
    context: &mut Context<'_>,
) -> Result<MountKind> {
    if let Some(option) = options.fs.first() {
        return Err(place
            .at("options")
            .error(format_args!("{:?} is no option of a bind mount", option.key.to_string_lossy())));
    }
    if mount.source.is_empty() {
        return Err(place.at("source").error("is missing; a bind mount needs one"));
    }
    let source: PathBuf = clean(context.bundle, Path::new(&mount.source));
    // Read-only means the cgroups below, too: there lies what an ordinary user owns outside
    // (CVE-2023-25809).
    if context.unprivileged && options.recursive && options.attr.set & RDONLY != 0 && source.starts_with("/sys") {
        apply(&mut options.attr_recursive, RDONLY, 0);
    }
    let idmap = idmap_source(mount, options, place, context)?;
    if idmap.is_none() {
        return bind(&source, options.recursive, false, context);
    }
    let recursive = options.recursive;
    let tree = Tree { path: source.clone(), recursive, idmap, idmap_recursive: options.idmap == Some(true) };
    let tree = super::types::push_fd(context.fds, FdSource::Tree(tree))?;
    Ok(MountKind::Bind { source: text(&source)?, recursive, nofollow: false, tree: Some(tree) })
}

/// A bind mount as it is, opened by the half that can reach it.
fn bind(source: &Path, recursive: bool, nofollow: bool, context: &mut Context<'_>) -> Result<MountKind> {
    let tree = || Tree { path: source.into(), recursive, idmap: None, idmap_recursive: false };
    let tree = context.host_opens.then(|| super::types::push_fd(context.fds, FdSource::Tree(tree()))).transpose()?;
    Ok(MountKind::Bind { source: text(source)?, recursive, nofollow, tree })
}

fn idmap_source(
    mount: &spec::Mount,
    options: &Options,
    place: &Place,
    context: &Context<'_>,
) -> Result<Option<IdmapSource>> {
    let has_maps = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if (has_maps || options.idmap.is_some()) && !context.may_idmap {
        return Err(
            place.error("identity-mapped mounts can be made by root alone; leave the mappings and \"idmap\" out")
        );
    }
    if has_maps {
        if mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty() {
            return Err(place.error("uidMappings and gidMappings must be given together"));
        }
        let maps = |list: &[spec::IdMapping]| list.iter().map(|m| super::IdMap::from(*m)).collect();
        return Ok(Some(IdmapSource::Mappings { uids: maps(&mount.uid_mappings), gids: maps(&mount.gid_mappings) }));
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
    Ok(MountKind::New { fstype: text(fstype)?, source: Some(text(source)?), options: fs })
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
            fds: &mut fds,
            sysfs_readonly: true,
            mount_label: None,
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
        assert_eq!(mount.attr, Attr { set: STRICTATIME | NOSUID, clear: RDONLY | ATIME });
    }

    #[test]
    fn recursive_attributes_are_kept_apart() {
        let mount =
            decide_json(r#"{"destination":"/a","source":"x","options":["rbind","rro","rnoatime","rslave"]}"#).unwrap();
        assert_eq!(mount.attr_recursive, Attr { set: RDONLY | NOATIME, clear: ATIME });
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
        let error = decide_json(r#"{"destination":"/a","source":"/x","options":["bind","size=1"]}"#).unwrap_err();
        assert_eq!(error, "config.json: mounts[0].options: \"size\" is no option of a bind mount");
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
            assert_eq!(mount.attr, Attr { set: RDONLY, clear: 0 });
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
