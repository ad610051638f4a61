//! What of a container is the host's: mounts, namespaces, open files?
//!
//! CRIU cannot make it again: it is declared at the dump, and given back at the restore. Only what config.json
//! names is declared: CRIU could find mounts of the host by itself, but then one that nobody asked for would pass.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cleat_plan::{MountKind, Root, Text};
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::audit::MountPoints;
use crate::container::Container;
use crate::criu::messages::ExtMount;
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::probe::host_mounts;
use crate::sys::path::Proc;

use super::images::ExternalFile;

/// CRIU's name for a network namespace that config.json names by path, and for such a pid namespace: those of runc.
pub(super) const NET: &str = "extRootNetNS";
pub(super) const PID: &str = "extRootPidNS";
/// What masks a file: the key of all of these.
const NULL: &str = "/dev/null";

/// A path of the plan.
pub(super) fn path(text: &Text) -> PathBuf {
    std::ffi::OsStr::from_bytes(text.to_bytes()).into()
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(format!("mount {}: CRIU takes paths in UTF-8 only", path.display())).remedy("give it another name")
    })
}

fn entry(key: &Path, val: &Path) -> Result<ExtMount> {
    Ok(ExtMount { key: text(key)?, val: text(val)? })
}

/// Binds of the plan: the path in the container, and the source.
fn binds(root: &Root) -> impl Iterator<Item = (PathBuf, PathBuf, bool)> {
    let mounts = root.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, inside: None, recursive, .. } => {
            Some((path(&mount.target), path(source), *recursive))
        }
        _ => None,
    });
    // A node that could not be made is that of the host, by the same name.
    mounts.chain(root.devices.iter().map(|device| (path(&device.path), path(&device.path), false)))
}

/// Where a container with a user namespace of its own has the cgroup file system: CRIU, whose cgroup namespace belongs to the
/// host, cannot mount it there, and is given one.
pub(super) fn cgroup_mounts(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    let own = plan.host.namespaces & crate::plan::NEWUSER != 0;
    let mounts = plan.init.root.iter().flat_map(|root| &root.mounts);
    mounts.filter_map(move |mount| match &mount.kind {
        MountKind::New { fstype, .. } if own && fstype.to_bytes() == b"cgroup2" => Some(path(&mount.target)),
        _ => None,
    })
}

/// Mounts of the host that the container has, for a dump. Each is known by where it is.
///
/// # Errors
/// A path is none that CRIU takes.
pub(super) fn dumped_mounts(plan: &Plan, root: &Root, points: &MountPoints) -> Result<Vec<ExtMount>> {
    let at = |wanted: &Path| points.planned.iter().find(|(path, _)| path == wanted).map(|(_, point)| point);
    let planned = |target: &Path| points.planned.iter().any(|(_, point)| point.target == target);
    let mut list = Vec::new();
    for (target, _, recursive) in binds(root) {
        let Some(point) = at(&target) else { continue };
        list.push(entry(&point.target, &point.target)?);
        // What the host has below it came along.
        let below = points.all.iter().filter(|other| recursive && other.starts_with(&point.target));
        for other in below.filter(|other| !planned(other)) {
            list.push(entry(other, other)?);
        }
    }
    for point in cgroup_mounts(plan).filter_map(|target| at(&target)) {
        list.push(entry(&point.target, &point.target)?);
    }
    for masked in &root.masked {
        if let Some(point) = at(&path(masked)).filter(|point| point.is_null) {
            list.push(entry(&point.target, Path::new(NULL))?);
        }
    }
    list.sort_by(|a, b| a.key.cmp(&b.key));
    list.dedup_by(|a, b| a.key == b.key);
    Ok(list)
}

/// The same for a restore: where each comes from on this host. `rootfs` is the root as the host sees it.
///
/// # Errors
/// A path is none that CRIU takes, or mounts of the host cannot be listed.
pub(super) fn restored_mounts(root: &Root, rootfs: &OwnedFd) -> Result<Vec<ExtMount>> {
    let mut list = vec![entry(Path::new(NULL), Path::new(NULL))?];
    let mut ours = None;
    for (target, source, recursive) in binds(root) {
        let target = without_links(rootfs, &target);
        list.push(entry(&target, &source)?);
        if !recursive {
            continue;
        }
        let ours: &Vec<_> = match &mut ours {
            Some(ours) => ours,
            none => none.insert(host_mounts::list()?),
        };
        let real = source.canonicalize().unwrap_or_else(|_| source.clone());
        for below in ours.iter().filter_map(|mount| mount.point.strip_prefix(&real).ok()) {
            if !below.as_os_str().is_empty() {
                list.push(entry(&target.join(below), &source.join(below))?);
            }
        }
    }
    Ok(list)
}

/// A path of the container without the links of the root file system: the mount is known by that. (Where other mounts
/// lie in between there is nothing yet: then the path is taken as it is.)
fn without_links(rootfs: &OwnedFd, target: &Path) -> PathBuf {
    use nix::fcntl::{OpenHow, ResolveFlag};
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let real = |fd: &OwnedFd| {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
    };
    let found = nix::fcntl::openat2(rootfs, target, how).ok();
    let (top, found) = (real(rootfs), found.as_ref().and_then(real));
    let relative = top.zip(found).and_then(|(top, found)| found.strip_prefix(top).map(Path::to_path_buf).ok());
    relative.map_or_else(|| target.to_path_buf(), |relative| Path::new("/").join(relative))
}

/// Namespaces that config.json names by path and that CRIU is told of at a dump.
///
/// # Errors
/// They cannot be looked at.
pub(super) fn namespaces(plan: &Plan, pid: i32) -> Result<Vec<String>> {
    let joined = |flag: u64| plan.init.join.iter().any(|join| u64::from(join.flags) & flag != 0);
    let kinds = [("net", crate::plan::NEWNET, NET), ("pid", crate::plan::NEWPID, PID)];
    let is_external = |flag: u64| joined(flag) && !(flag == crate::plan::NEWNET && plan.host.network.is_some());
    let external = kinds.into_iter().filter(|(_, flag, _)| is_external(*flag));
    external
        .map(|(file, _, key)| {
            let place = format!("/proc/{pid}/ns/{file}");
            let stat = nix::sys::stat::stat(place.as_str()).context(format_args!("stat {place}"))?;
            Ok(format!("{file}[{}]:{key}", stat.st_ino))
        })
        .collect()
}

/// Files of the host that processes of the container have open: the streams that they were given.
///
/// # Errors
/// The processes cannot be looked at.
pub(super) fn open_files(container: &Container, points: &MountPoints) -> Result<Vec<ExternalFile>> {
    let proc = Proc::open()?;
    let first = container.record.init_process_pid;
    let mut pids = container.cgroup().map_or(Ok(Vec::new()), |cgroup| cgroup.processes())?;
    pids.retain(|pid| *pid != first);
    pids.insert(0, first);
    let given = container.record.external_descriptors.as_deref().unwrap_or_default();
    let mut list: Vec<ExternalFile> = Vec::new();
    for pid in pids {
        // It may have ended.
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        for number in numbers {
            let Some(file) = foreign_file(&proc, pid, number, points, given)? else { continue };
            if !list.iter().any(|known| known.key == file.key) {
                list.push(file);
            }
        }
    }
    Ok(list)
}

/// Processes that are no descendants of the first one, as those of `exec`: CRIU does not save them.
pub(super) fn outsiders(container: &Container) -> Vec<i32> {
    let first = container.record.init_process_pid;
    let pids = container.cgroup().and_then(|cgroup| cgroup.processes().ok()).unwrap_or_default();
    let Ok(proc) = Proc::open() else { return Vec::new() };
    let parent = |pid: i32| -> Option<i32> {
        let text = proc.read(&format!("{pid}/stat")).ok()?;
        // The name is in parentheses and may contain anything.
        text[text.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let descends = |pid: &i32| {
        let mut at = *pid;
        while at > 1 && at != first {
            match parent(at) {
                Some(above) => at = above,
                // It has ended.
                None => return true,
            }
        }
        at == first
    };
    pids.into_iter().filter(|pid| !descends(pid)).collect()
}

/// A descriptor of a process, if it is of a file outside of its mounts.
///
/// # Errors
/// It is one in whose place CRIU takes no other.
fn foreign_file(
    proc: &Proc,
    pid: i32,
    number: u32,
    points: &MountPoints,
    given: &[String],
) -> Result<Option<ExternalFile>> {
    let Some(Foreign { mount, name, stat }) = Foreign::of(proc, pid, &number.to_string(), points) else {
        return Ok(None);
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let is_null = kind == SFlag::S_IFCHR && stat.st_rdev == nix::sys::stat::makedev(1, 3);
    let same = |path: &String| {
        let found = nix::sys::stat::stat(Path::new(path));
        found.is_ok_and(|other| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino))
    };
    let stream = given.iter().position(|path| path.starts_with('/') && !is_null && same(path));
    let stream = stream.and_then(|stream| u8::try_from(stream).ok());
    let is_terminal = kind == SFlag::S_IFCHR && (name.starts_with("/dev/pts") || name.starts_with("/dev/tty"));
    match kind {
        SFlag::S_IFREG | SFlag::S_IFDIR => {
            let what = format!("process {pid} has {} of the host open as {number}", name.display());
            Err(Error::new(format!("{what}, and CRIU takes no other file in its place"))
                .remedy("run the container with pipes or /dev/null as its standard streams"))
        }
        _ if is_terminal => Ok(None),
        _ => Ok(Some(ExternalFile { key: format!("file[{mount:x}:{:x}]", stat.st_ino), stream })),
    }
}

/// An open file that lies on none of a container's mounts.
pub(super) struct Foreign {
    /// The number of its mount.
    pub(super) mount: u64,
    /// Its path, as the kernel shows it here.
    pub(super) name: PathBuf,
    pub(super) stat: nix::sys::stat::FileStat,
}

impl Foreign {
    /// `None`: it lies on one, or has no name: pipes, sockets, memory, removed files.
    pub(super) fn of(proc: &Proc, pid: i32, number: &str, points: &MountPoints) -> Option<Foreign> {
        let info = proc.read(&format!("{pid}/fdinfo/{number}")).ok()?;
        let mount: u64 = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())?;
        let file = PathBuf::from(format!("/proc/{pid}/fd/{number}"));
        let name = std::fs::read_link(&file).ok()?;
        if points.ids.contains(&mount) || !name.is_absolute() || is_memory(&name) {
            return None;
        }
        let stat = nix::sys::stat::stat(&file).ok()?;
        (stat.st_nlink > 0).then_some(Foreign { mount, name, stat })
    }
}

/// Files of the kernel's own tmpfs, which have no name anywhere.
fn is_memory(name: &Path) -> bool {
    let bytes = name.as_os_str().as_encoded_bytes();
    ["/memfd:", "/SYSV", "/dev/zero (deleted)"].iter().any(|start| bytes.starts_with(start.as_bytes()))
}
