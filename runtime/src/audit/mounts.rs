//! What is mounted where, and how? The mounts of the plan, masks, and read-only paths.
//!
//! The way to each path is walked in the container's root without following links out of it. The mount at its end
//! is known by its number, and what mountinfo (proc_pid_mountinfo(5)) says of that is compared. One reading of it
//! has everything, and older kernels have it, too: nothing is made here that could be raced. A mount that nobody
//! planned is reported, too.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cleat_plan::{Attr, MountKind, Pivot, PropagationKind, Root, Text};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{SFlag, fstat};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

use super::facts::ProcDir;
use super::report::{Report, Verdict};
use super::{Expected, why};

const MAY_MOUNT: &str = "it may mount and unmount itself";
const FROM_HOST: &str = "it may have come from the host, by propagation";
const BY_HOOK: &str = "a hook of config.json may have mounted it";

const RDONLY: u64 = 0x1;
const NODEV: u64 = 0x4;
const ATIME: u64 = 0x70;
/// Attributes (`MOUNT_ATTR_*`) that take something away, and their names in mountinfo.
const CONFINING: &[(u64, &str)] = &[
    (RDONLY, "ro"),
    (0x2, "nosuid"),
    (NODEV, "nodev"),
    (0x8, "noexec"),
    (0x80, "nodiratime"),
    (0x20_0000, "nosymfollow"),
];

/// One line of mountinfo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountLine {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// From the process's root.
    pub(super) target: PathBuf,
    pub(super) options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`, without numbers.
    pub(super) propagation: Vec<String>,
    pub(super) fstype: String,
    pub(super) super_options: Vec<String>,
}

impl MountLine {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
            || option == "ro" && self.super_options.iter().any(|known| known == "ro")
    }

    fn propagates(&self, word: &str) -> bool {
        self.propagation.iter().any(|known| known == word)
    }
}

/// The lines of mountinfo.
pub(super) fn parse(text: &str) -> Vec<MountLine> {
    let words = |list: &str| list.split(',').map(str::to_owned).collect();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let (id, parent) = (left.next()?.parse().ok()?, left.next()?.parse().ok()?);
        let target = unescape(left.nth(2)?);
        let options = words(left.next()?);
        let propagation = left.map(|word| word.split(':').next().unwrap_or_default().to_owned()).collect();
        let mut right = right.split(' ');
        let fstype = right.next()?.to_owned();
        let super_options = words(right.nth(1).unwrap_or_default());
        Some(MountLine { id, parent, target, options, propagation, fstype, super_options })
    };
    text.lines().filter_map(line).collect()
}

/// Blanks and the like are `\040` there.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// What is at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathEnd {
    /// Nothing.
    Missing,
    /// It cannot be looked up.
    Unknown(Errno),
    /// The mount with that number.
    There { mount: u64, is_root: bool, kind: FileKind, file: (u64, u64) },
}

/// As far as masks need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A directory without anything in it.
    EmptyDirectory,
    Directory,
    /// Character device 1:3.
    Null,
    /// Another device.
    Device,
    Other,
}

/// All that was looked at.
#[derive(Debug, Default)]
pub(super) struct MountFacts {
    pub(super) lines: Vec<MountLine>,
    /// The number of the mount that is the process's root; `None`: it has another root.
    pub(super) root: Option<u64>,
    pub(super) places: Vec<(PathBuf, PathEnd)>,
    /// Device and inode of directories of the host that are bound, by their paths.
    pub(super) sources: Vec<(PathBuf, (u64, u64))>,
    /// What is mounted below directories of the host, relative to them.
    pub(super) below: Vec<(PathBuf, Vec<PathBuf>)>,
}

fn path(text: &Text) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(text.to_bytes()).into()
}

/// Looks at everything that the plan names.
///
/// # Errors
/// mountinfo or the root of the process cannot be read.
pub(super) fn look(root: &Root, first: &ProcDir) -> nix::Result<MountFacts> {
    let top = first.follow("root", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let text = first.read("mountinfo")?;
    let mut facts = MountFacts { lines: parse(&text), ..MountFacts::default() };
    if let PathEnd::There { mount, is_root: true, .. } = at(&top, Path::new("/")) {
        facts.root = Some(mount);
    }
    let all = root.mounts.iter().map(|mount| &mount.target).chain(&root.masked).chain(&root.readonly_paths);
    for place in all.chain(root.devices.iter().map(|device| &device.path)).map(path) {
        if facts.place(&place).is_none() {
            let found = at(&top, &place);
            facts.places.push((place, found));
        }
    }
    let ours = std::fs::read_to_string("/proc/self/mountinfo").map(|text| parse(&text)).unwrap_or_default();
    let bound = root.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, .. } => Some(source),
        _ => None,
    });
    for source in bound.chain([&root.path]).map(path) {
        let Ok(real) = source.canonicalize() else { continue };
        if let Some(stat) = nix::sys::stat::stat(&real).ok().filter(|stat| is_dir(stat.st_mode)) {
            facts.sources.push((source.clone(), (stat.st_dev, stat.st_ino)));
        }
        let relative = |line: &MountLine| line.target.strip_prefix(&real).ok().map(Path::to_path_buf);
        facts.below.push((source, ours.iter().filter_map(relative).collect()));
    }
    Ok(facts)
}

fn is_dir(mode: u32) -> bool {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}

/// What is at the end of a path in a root.
fn at(root: &OwnedFd, path: &Path) -> PathEnd {
    let look = || {
        // A path of the container's: absolute links are its own, and magic ones are not followed.
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = loop {
            match nix::fcntl::openat2(root.as_fd(), path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                other => break other?,
            }
        };
        let stat = fstat(&file)?;
        let statx = rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        let file_type = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let kind = match () {
            () if file_type == SFlag::S_IFCHR && stat.st_rdev == libc::makedev(1, 3) => FileKind::Null,
            () if file_type == SFlag::S_IFCHR || file_type == SFlag::S_IFBLK => FileKind::Device,
            () if is_dir(stat.st_mode) && is_empty(&file) => FileKind::EmptyDirectory,
            () if is_dir(stat.st_mode) => FileKind::Directory,
            () => FileKind::Other,
        };
        let is_root = statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        Ok(PathEnd::There { mount: statx.stx_mnt_id, is_root, kind, file: (stat.st_dev, stat.st_ino) })
    };
    match look() {
        Ok(there) => there,
        Err(Errno::ENOENT | Errno::ENOTDIR) => PathEnd::Missing,
        Err(errno) => PathEnd::Unknown(errno),
    }
}

fn is_empty(dir: &OwnedFd) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::openat(dir, ".", flags, nix::sys::stat::Mode::empty()).and_then(nix::dir::Dir::from_fd);
    let is_name = |entry: nix::Result<nix::dir::Entry>| {
        entry.map_or(true, |entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
    };
    opened.is_ok_and(|mut dir| !dir.iter().any(is_name))
}

/// A mount that is to be seen.
struct Wanted<'a> {
    place: String,
    target: PathBuf,
    fstype: Option<&'a CStr>,
    source: Option<PathBuf>,
    recursive: bool,
    set: u64,
    set_below: u64,
    private: bool,
    /// Device nodes on it cannot be used, unless it is one itself.
    nodev: bool,
}

/// Everything that has to do with the mount namespace.
pub(super) fn compare(expected: &Expected<'_>, first: &ProcDir, report: &mut Report) {
    let Some(root) = expected.plan.init.root.as_ref().filter(|root| root.pivot != Pivot::Chroot) else { return };
    let facts = match look(root, first) {
        Ok(facts) => facts,
        Err(errno) => {
            let places = ["mounts", "root.readonly", "linux.maskedPaths", "linux.readonlyPaths"];
            return places.into_iter().for_each(|place| report.skip(place, &why(errno)));
        }
    };
    compare_facts(expected, root, &facts, report);
}

/// The pure part.
pub(super) fn compare_facts(expected: &Expected<'_>, root: &Root, facts: &MountFacts, report: &mut Report) {
    let Some(top) = facts.root.and_then(|id| facts.line(id)) else {
        let changed = "its first process has changed its root directory (chroot), which only it can look behind";
        return report.skip("mounts", changed);
    };
    let may = expected.started && expected.may_mount;
    let judge = |holds: bool| if holds { Verdict::Holds } else { Verdict::unless(may, MAY_MOUNT) };
    if root.readonly {
        report.note("root.readonly", None, judge(top.has("ro")), &"ro", &top.options.join(","));
    }
    if root.nodev {
        let below = facts.below(top).filter(|line| facts.is_from_host(line, root));
        let open = std::iter::once(top).chain(below).find(|line| !line.has("nodev"));
        let found =
            open.map_or_else(String::new, |line| format!("{}: {}", line.target.display(), line.options.join(",")));
        report.note("root", None, judge(open.is_none()), &"nodev", &found);
    }
    let kind = root.root_propagation.unwrap_or(root.propagation).kind;
    let propagation = if top.propagation.is_empty() { "private".to_owned() } else { top.propagation.join(" ") };
    let fits = match kind {
        PropagationKind::Shared => top.propagates("shared"),
        PropagationKind::Slave => !top.propagates("shared"),
        PropagationKind::Private => !top.propagates("shared") && !top.propagates("master"),
        PropagationKind::Unbindable => top.propagates("unbindable"),
    };
    report.note(
        "linux.rootfsPropagation",
        None,
        judge(fits),
        &format_args!("{kind:?}").to_string().to_lowercase(),
        &propagation,
    );
    let wanted = wanted(root, expected.spec.mounts.len());
    for (index, mount) in wanted.iter().enumerate() {
        if !is_covered(mount, &wanted[index + 1..], root, facts) {
            planned(mount, &wanted[index + 1..], root, facts, &judge, report);
        }
    }
    for (index, masked) in root.masked.iter().enumerate() {
        mask(&path(masked), &format!("linux.maskedPaths[{index}]"), facts, &judge, report);
    }
    for (index, readonly) in root.readonly_paths.iter().enumerate() {
        let place = format!("linux.readonlyPaths[{index}]");
        if let Some((line, _)) = facts.mounted(&path(readonly), &place, report) {
            let open = facts.below(line).find(|below| !below.has("ro"));
            let found = open.map_or_else(|| line.options.join(","), |open| format!("{} is rw", open.target.display()));
            report.note(&place, None, judge(line.has("ro") && open.is_none()), &"ro", &found);
        }
    }
    unplanned(expected, root, &wanted, facts, report);
}

impl MountFacts {
    fn place(&self, path: &Path) -> Option<PathEnd> {
        self.places.iter().find(|(place, _)| place == path).map(|(_, at)| *at)
    }

    pub(super) fn line(&self, id: u64) -> Option<&MountLine> {
        self.lines.iter().find(|line| line.id == id)
    }

    /// Whether a mount has come along with the root file system.
    fn is_from_host(&self, line: &MountLine, root: &Root) -> bool {
        let (relative, source) = (line.target.strip_prefix("/"), path(&root.path));
        let below = self.below.iter().find(|(known, _)| *known == source);
        let planned = root.mounts.iter().any(|mount| line.target.starts_with(path(&mount.target)));
        !planned
            && relative.ok().zip(below).is_some_and(|(relative, (_, below))| below.iter().any(|path| path == relative))
    }

    /// Whether it is what lies on a device node or a masked path: made after all mounts.
    fn covers_file(&self, line: &MountLine, root: &Root) -> bool {
        let is_there =
            |place: PathBuf| matches!(self.place(&place), Some(PathEnd::There { mount, .. }) if mount == line.id);
        line.target == Path::new("/dev/console")
            || root.masked.iter().map(path).any(is_there)
            || root.devices.iter().map(|device| path(&device.path)).any(is_there)
    }

    /// The mounts below one.
    fn below<'a>(&'a self, top: &'a MountLine) -> impl Iterator<Item = &'a MountLine> {
        self.lines.iter().filter(|line| line.id != top.id && line.target != top.target && self.is_below(line, top.id))
    }

    fn is_below(&self, line: &MountLine, top: u64) -> bool {
        let mut at = line;
        // No more steps than there are mounts.
        for _ in 0..self.lines.len() {
            if at.parent == top {
                return true;
            }
            let Some(parent) = self.line(at.parent) else { return false };
            at = parent;
        }
        false
    }

    /// The mount at the end of a path, where there is something.
    fn mounted(&self, path: &Path, place: &str, report: &mut Report) -> Option<(&MountLine, FileKind)> {
        match self.place(path) {
            Some(PathEnd::There { mount, kind, .. }) => match self.line(mount) {
                Some(line) => return Some((line, kind)),
                None => report.skip(place, "the mount there was changed meanwhile"),
            },
            Some(PathEnd::Unknown(errno)) => report.skip(place, &why(errno)),
            // What is not there needs no protection.
            Some(PathEnd::Missing) | None => report.holds(place),
        }
        None
    }
}

fn wanted(root: &Root, named: usize) -> Vec<Wanted<'_>> {
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for (index, mount) in root.mounts.iter().enumerate() {
        let (target, attr) = (path(&mount.target), mount.attr);
        let change = |set: u64, by: Attr| set & !by.clear | by.set;
        let before = all.iter_mut().rev().find(|wanted| wanted.target == target);
        if let (MountKind::Remount { .. }, Some(before)) = (&mount.kind, before) {
            before.set = change(before.set, attr) & !mount.attr_recursive.clear;
            before.set_below = change(before.set_below, mount.attr_recursive);
            before.nodev &= (attr.clear | mount.attr_recursive.clear) & NODEV == 0;
            continue;
        }
        let (fstype, source, recursive) = match &mount.kind {
            MountKind::New { fstype, .. } => (Some(&**fstype), None, false),
            MountKind::Bind { source, recursive, .. } => (None, Some(path(source)), *recursive),
            MountKind::Remount { .. } => (None, None, false),
        };
        // A mount, or a link: only who made it knows.
        if mount.copy_link {
            continue;
        }
        // One that the runtime adds has no place in config.json.
        let place = if index < named { format!("mounts[{index}]") } else { "mounts".to_owned() };
        let alone = |kind| matches!(kind, PropagationKind::Private | PropagationKind::Unbindable);
        let private = mount.propagation.last().is_some_and(|how| alone(how.kind));
        let (set, set_below) = (attr.set & !mount.attr_recursive.clear, mount.attr_recursive.set);
        let nodev = mount.nodev;
        all.push(Wanted { place, target, fstype, source, recursive, set, set_below, private, nodev });
    }
    all
}

/// Whether another mount, a mask or a read-only path lies over it.
fn is_covered(mount: &Wanted<'_>, later: &[Wanted<'_>], root: &Root, facts: &MountFacts) -> bool {
    let same_mount = |other: &Wanted<'_>| match (facts.place(&mount.target), facts.place(&other.target)) {
        (
            Some(PathEnd::There { mount: a, is_root: true, .. }),
            Some(PathEnd::There { mount: b, is_root: true, .. }),
        ) => a == b,
        _ => false,
    };
    later.iter().any(|other| mount.target.starts_with(&other.target) || same_mount(other))
        || root.masked.iter().any(|masked| mount.target.starts_with(path(masked)))
        || root.readonly_paths.iter().any(|readonly| mount.target == path(readonly))
}

/// One mount of config.json.
fn planned(
    mount: &Wanted<'_>,
    later: &[Wanted<'_>],
    root: &Root,
    facts: &MountFacts,
    judge: &dyn Fn(bool) -> Verdict,
    report: &mut Report,
) {
    let at = facts.place(&mount.target).unwrap_or(PathEnd::Missing);
    let fstype = mount.fstype.map(CStr::to_string_lossy).unwrap_or("a mount".into());
    let asked = format!("{fstype} on {}", mount.target.display());
    let (line, kind, file) = match at {
        PathEnd::Unknown(errno) => return report.skip(&mount.place, &why(errno)),
        PathEnd::Missing | PathEnd::There { is_root: false, .. } => {
            return report.note(&mount.place, None, judge(false), &asked, &"nothing is mounted there");
        }
        PathEnd::There { mount: id, kind, file, .. } => match facts.line(id) {
            Some(line) => (line, kind, file),
            None => return report.skip(&mount.place, "the mount there was changed meanwhile"),
        },
    };
    let same_kind = mount.fstype.is_none() || line.fstype == fstype || line.fstype.starts_with(&format!("{fstype}."));
    report.note(&mount.place, None, judge(same_kind), &asked, &format_args!("a {}", line.fstype));
    if let Some(source) = mount
        .source
        .as_ref()
        .and_then(|source| Some((source, facts.sources.iter().find(|(known, _)| known == source)?.1)))
    {
        let place = format!("{}.source", mount.place);
        let found = "another directory, or the host has another one of that name by now";
        report.note(&place, None, judge(source.1 == file), &source.0.display(), &found);
    }
    let place = format!("{}.options", mount.place);
    let nodev = if mount.nodev && !matches!(kind, FileKind::Null | FileKind::Device) { NODEV } else { 0 };
    let set_below = mount.set_below | nodev;
    let lacks = missing(line, mount.set | set_below);
    report.note(&place, None, judge(lacks.is_empty()), &lacks.join(","), &line.options.join(","));
    if set_below != 0 {
        let is_later = |below: &MountLine| {
            later.iter().any(|other| below.target.starts_with(&other.target)) || facts.covers_file(below, root)
        };
        let open = facts.below(line).filter(|below| !is_later(below));
        for (below, lacks) in open.map(|below| (below, missing(below, set_below))) {
            let found = format!("{}: {}", below.target.display(), below.options.join(","));
            report.note(&place, None, judge(lacks.is_empty()), &lacks.join(","), &found);
        }
    }
    if mount.private {
        let alone = !line.propagates("shared") && !line.propagates("master");
        report.note(&place, None, judge(alone), &"private", &line.propagation.join(" "));
    }
}

/// Options that were asked for and are not there.
fn missing(line: &MountLine, set: u64) -> Vec<&'static str> {
    let mut missing: Vec<&'static str> =
        CONFINING.iter().filter(|(bit, name)| set & bit != 0 && !line.has(name)).map(|(_, name)| *name).collect();
    match set & ATIME {
        0x10 if !line.has("noatime") => missing.push("noatime"),
        0x20 if line.has("noatime") || line.has("relatime") => missing.push("strictatime"),
        _ => {}
    }
    missing
}

/// One masked path: covered by the null device or an empty read-only directory.
fn mask(path: &Path, place: &str, facts: &MountFacts, judge: &dyn Fn(bool) -> Verdict, report: &mut Report) {
    let Some((line, kind)) = facts.mounted(path, place, report) else { return };
    let is_root = matches!(facts.place(path), Some(PathEnd::There { is_root: true, .. }));
    let covered = match kind {
        FileKind::Null => is_root && line.has("ro"),
        FileKind::EmptyDirectory => is_root && line.fstype == "tmpfs" && line.has("ro"),
        FileKind::Directory | FileKind::Device | FileKind::Other => false,
    };
    let found = match kind {
        _ if !is_root => "nothing covers it".to_owned(),
        FileKind::Directory => format!("a {} that is not empty", line.fstype),
        _ => format!("a {} ({})", line.fstype, line.options.join(",")),
    };
    report.note(place, None, judge(covered), &"masked", &found);
}

/// Mounts that nothing in the plan explains.
fn unplanned(expected: &Expected<'_>, root: &Root, wanted: &[Wanted<'_>], facts: &MountFacts, report: &mut Report) {
    let mut known: Vec<&Path> = vec![Path::new("/")];
    for (place, at) in &facts.places {
        known.push(place);
        // Where links in the image have led.
        if let PathEnd::There { mount, is_root: true, .. } = at {
            known.extend(facts.line(*mount).map(|line| line.target.as_path()));
        }
    }
    if expected.plan.init.terminal.is_some() {
        known.push(Path::new("/dev/console"));
    }
    // What the host has below a directory that is bound with all that is in it.
    let trees =
        wanted.iter().filter(|mount| mount.recursive).filter_map(|mount| Some((&mount.target, mount.source.as_ref()?)));
    let (slash, rootfs) = (PathBuf::from("/"), path(&root.path));
    let trees: Vec<_> = trees.chain([(&slash, &rootfs)]).collect();
    let from_host = |line: &MountLine| {
        trees.iter().any(|(target, source)| {
            let relative = line.target.strip_prefix(target).ok();
            let below = facts.below.iter().find(|(known, _)| known == *source);
            relative.zip(below).is_some_and(|(relative, (_, below))| below.iter().any(|path| path == relative))
        })
    };
    let readonly = |line: &MountLine| {
        line.has("ro") && root.readonly_paths.iter().any(|readonly| line.target.starts_with(path(readonly)))
    };
    let hooked = expected.plan.init.runtime_hooks
        || !expected.plan.init.create_container.list.is_empty()
        || !expected.plan.init.start_container.list.is_empty();
    for line in &facts.lines {
        if known.contains(&line.target.as_path()) || from_host(line) || readonly(line) {
            continue;
        }
        // What comes in through a slave is one of the host's mount; what was made here is not.
        let slave = line.propagates("master");
        let verdict = match () {
            () if expected.started && expected.may_mount => Verdict::Own(MAY_MOUNT),
            () if hooked => Verdict::Own(BY_HOOK),
            () if slave => Verdict::Own(FROM_HOST),
            () => Verdict::Differs,
        };
        let target = line.target.display();
        report.note(
            "mounts",
            None,
            verdict,
            &format_args!("nothing on {target}"),
            &format_args!("a {} on {target}", line.fstype),
        );
    }
}

#[cfg(test)]
mod tests {
    use cleat_plan::{Propagation, Text};

    use super::*;
    use crate::plan::{HostHalf, Plan};
    use crate::spec::Spec;

    const MOUNTINFO: &str = "\
21 20 0:20 / / ro,relatime master:1 - overlay overlay rw
22 21 0:21 / /a\\040b rw,nosuid,nodev - tmpfs tmpfs rw,size=64k
23 21 0:22 / /proc rw - proc proc rw
24 23 0:5 /null /proc/keys ro,nosuid shared:7 master:9 - devtmpfs udev rw
25 22 0:23 / /a\\040b/below rw - tmpfs tmpfs ro
";

    fn text(value: &str) -> Text {
        Text::new(value.as_bytes()).unwrap()
    }

    fn mount(target: &str, set: u64) -> cleat_plan::Mount {
        cleat_plan::Mount {
            target: text(target),
            kind: MountKind::New { fstype: text("tmpfs"), source: None, options: Vec::new() },
            attr: Attr { set, clear: 0, clear_unlocked: 0, unwanted_times: 0 },
            attr_recursive: Attr::default(),
            propagation: Vec::new(),
            nodev: false,
            target_nofollow: false,
            target_last_nofollow: false,
            readonly_late: false,
            copy_link: false,
            require_procfs: false,
            copy_up: false,
            label: None,
        }
    }

    fn root(mounts: Vec<cleat_plan::Mount>) -> Root {
        Root {
            path: text("/rootfs"),
            tree: None,
            nodev: false,
            pivot: Pivot::PivotRoot,
            propagation: Propagation { kind: PropagationKind::Slave, recursive: true },
            root_propagation: None,
            readonly: true,
            mounts,
            devices: Vec::new(),
            dev_links: false,
            masked: vec![text("/proc/keys"), text("/proc/gone")],
            readonly_paths: Vec::new(),
            host_mounts: Vec::new(),
            revealing: Vec::new(),
        }
    }

    fn there(mount: u64, kind: FileKind) -> PathEnd {
        PathEnd::There { mount, is_root: true, kind, file: (1, mount) }
    }

    fn facts() -> MountFacts {
        let places = [
            ("/a b", there(22, FileKind::Directory)),
            ("/a b/below", there(25, FileKind::Directory)),
            ("/proc/keys", there(24, FileKind::Null)),
            ("/proc/gone", PathEnd::Missing),
        ];
        let places = places.into_iter().map(|(path, at)| (path.into(), at)).collect();
        MountFacts { lines: parse(MOUNTINFO), root: Some(21), places, ..MountFacts::default() }
    }

    /// Differences, and what is the container's own, by their places.
    fn compared(root: &Root, facts: &MountFacts, may_mount: bool) -> (Vec<String>, Vec<String>) {
        let plan = Plan { host: HostHalf::default(), init: cleat_plan::Plan::default(), warnings: Vec::new() };
        let spec =
            Spec { mounts: root.mounts.iter().map(|_| crate::spec::Mount::default()).collect(), ..Spec::default() };
        let mut report = Report::default();
        compare_facts(&Expected { may_mount, ..Expected::of_plan(&spec, &plan) }, root, facts, &mut report);
        let places =
            |list: &[super::super::Difference]| list.iter().map(|difference| difference.place.clone()).collect();
        (places(&report.differences), places(&report.own_right))
    }

    #[test]
    fn mountinfo_is_read() {
        let lines = parse(MOUNTINFO);
        assert_eq!(lines.len(), 5);
        assert_eq!((lines[1].id, lines[1].parent, lines[1].target.to_str()), (22, 21, Some("/a b")));
        assert_eq!(lines[3].propagation, ["shared", "master"]);
        assert!(lines[4].has("ro") && !lines[4].has("nodev") && lines[4].fstype == "tmpfs");
    }

    #[test]
    fn what_is_mounted_as_planned_is_no_difference() {
        let root = root(vec![mount("/proc", 0), mount("/a b", 0x6), mount("/a b/below", 1)]);
        let mut facts = facts();
        facts.lines[2].fstype = "tmpfs".into();
        facts.places.push(("/proc".into(), there(23, FileKind::Directory)));
        assert_eq!(compared(&root, &facts, false), (vec![], vec![]));
    }

    #[test]
    fn what_differs_is_reported_with_its_place() {
        let root = root(vec![mount("/a b", 0xe), mount("/gone", 0)]);
        let mut facts = facts();
        facts.lines[0].options = vec!["rw".into()];
        facts.lines[0].propagation = vec!["shared".into()];
        facts.places[2].1 = there(23, FileKind::Directory);
        let wrong =
            ["root.readonly", "linux.rootfsPropagation", "mounts[0].options", "mounts[1]", "linux.maskedPaths[0]"];
        let wrong = [&wrong[..], &["mounts"]].concat();
        let (differences, own) = compared(&root, &facts, false);
        assert_eq!(
            (&differences[..5], own.as_slice()),
            (&wrong.iter().map(ToString::to_string).collect::<Vec<_>>()[..5], &[][..])
        );
        let (differences, own) = compared(&root, &facts, true);
        assert_eq!(
            (differences.len(), &own[..5]),
            (0, &wrong.iter().map(ToString::to_string).collect::<Vec<_>>()[..5])
        );
    }

    #[test]
    fn a_mount_that_is_covered_is_not_looked_for() {
        let mut facts = facts();
        facts.lines.truncate(4);
        facts.places.push(("/proc".into(), there(23, FileKind::Directory)));
        facts.lines[2].fstype = "tmpfs".into();
        let root = root(vec![mount("/a b", 0x8), mount("/a b", 0x6), mount("/proc", 0), mount("/proc/keys", 8)]);
        assert_eq!(compared(&root, &facts, false), (vec![], vec![]));
    }
}
