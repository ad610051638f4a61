//! How is the root file system of a request mounted at `rootfs`, and unmounted?
//!
//! In the host's mount namespace, with the shim's privileges; the paths are containerd's own.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cleat::error::{Context, Error, Result};
use cleat::plan::IdMap;
use cleat::sys;
use cleat::sys::{TreeFlags, child};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use crate::messages::Mount;

mod loop_device;

/// The directory, next to the root, of lower layers with mapped ids.
const LOWER: &str = "lower";

/// Unmounts what was mounted, unless it is kept.
pub struct MountGuard {
    root: PathBuf,
    keep: bool,
}

impl MountGuard {
    /// They stay.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if !self.keep {
            let _ = unmount(&self.root);
        }
    }
}

/// Mounts one after the other at `root`, which is created.
///
/// # Errors
/// An option that the shim does not know how to handle, or what mount(2) says; then nothing is
/// mounted.
pub fn mount(mounts: &[Mount], root: &Path) -> Result<MountGuard> {
    if !mounts.is_empty() {
        match nix::unistd::mkdir(root, nix::sys::stat::Mode::from_bits_truncate(0o711)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).context(format_args!("mkdir {}", root.display())),
        }
    }
    let mounted = MountGuard { root: root.into(), keep: mounts.is_empty() };
    for one in mounts {
        mount_one(one, root).map_err(|error| error.within(format_args!("mount {} rootfs", one.kind)))?;
    }
    Ok(mounted)
}

/// Mount options, as mount(2) takes them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    flags: u64,
    data: Vec<String>,
    /// The source is a file with a file system in it.
    is_file: bool,
    /// Mappings of a bind mount, or of the lower layers of an overlay.
    uids: Vec<IdMap>,
    gids: Vec<IdMap>,
}

/// `0:1000:65536`, several with commas: ids of the container, of the host, and how many.
fn id_maps(option: &str, text: &str) -> Result<Vec<IdMap>> {
    let one = |range: &str| {
        let mut numbers = range.split(':').map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(container_id)), Some(Ok(host_id)), Some(Ok(size)), None) => {
                Some(IdMap { container_id, host_id, size })
            }
            _ => None,
        }
    };
    let maps = text.split(',').map(one).collect::<Option<Vec<_>>>();
    maps.ok_or_else(|| {
        Error::new(format!("option {option}: ids are written CONTAINER:HOST:SIZE, such as 0:1000:65536"))
    })
}

fn parse(options: &[String]) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    for option in options {
        let (set, clear) = match option.as_str() {
            "bind" => (MsFlags::MS_BIND, MsFlags::empty()),
            "rbind" => (MsFlags::MS_BIND | MsFlags::MS_REC, MsFlags::empty()),
            "ro" => (MsFlags::MS_RDONLY, MsFlags::empty()),
            "rw" => (MsFlags::empty(), MsFlags::MS_RDONLY),
            "nosuid" => (MsFlags::MS_NOSUID, MsFlags::empty()),
            "suid" => (MsFlags::empty(), MsFlags::MS_NOSUID),
            "nodev" => (MsFlags::MS_NODEV, MsFlags::empty()),
            "dev" => (MsFlags::empty(), MsFlags::MS_NODEV),
            "noexec" => (MsFlags::MS_NOEXEC, MsFlags::empty()),
            "exec" => (MsFlags::empty(), MsFlags::MS_NOEXEC),
            "noatime" => (MsFlags::MS_NOATIME, MsFlags::empty()),
            "relatime" => (MsFlags::MS_RELATIME, MsFlags::empty()),
            "strictatime" => (MsFlags::MS_STRICTATIME, MsFlags::empty()),
            "nodiratime" => (MsFlags::MS_NODIRATIME, MsFlags::empty()),
            "sync" => (MsFlags::MS_SYNCHRONOUS, MsFlags::empty()),
            "dirsync" => (MsFlags::MS_DIRSYNC, MsFlags::empty()),
            "defaults" => (MsFlags::empty(), MsFlags::empty()),
            "loop" => {
                parsed.is_file = true;
                continue;
            }
            other => {
                if let Some(text) = other.strip_prefix("uidmap=") {
                    parsed.uids = id_maps(other, text)?;
                    continue;
                }
                if let Some(text) = other.strip_prefix("gidmap=") {
                    parsed.gids = id_maps(other, text)?;
                    continue;
                }
                parsed.data.push(other.into());
                continue;
            }
        };
        parsed.flags = (parsed.flags | set.bits()) & !clear.bits();
    }
    Ok(parsed)
}

fn mount_one(mount: &Mount, root: &Path) -> Result<()> {
    let mut parsed = parse(&mount.options)?;
    let flags = MsFlags::from_bits_truncate(parsed.flags);
    let owners = match parsed.uids.is_empty() && parsed.gids.is_empty() {
        true => None,
        false => Some(cleat::launch::idmap::new_user_namespace(&parsed.uids, &parsed.gids)?),
    };
    let below = open_below(root, &mount.target)?;
    let target = below.as_ref().map(|dir| PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())));
    let target = target.as_deref().unwrap_or(root);
    let mut layers = None;
    if let Some(owners) = &owners {
        if flags.contains(MsFlags::MS_BIND) {
            let recursive = flags.contains(MsFlags::MS_REC);
            attach_mapped(Path::new(&mount.source), target, recursive, owners)?;
            return remount(flags, target);
        }
        if mount.kind != "overlay" {
            return Err(Error::new("uidmap and gidmap are for bind mounts and overlays"));
        }
        let dir = root.with_file_name(LOWER);
        layers = Some(Layers::map(&mut parsed.data, dir, owners)?);
    }
    let (data, from) = match mount.kind.as_str() {
        "overlay" => shorten(parsed.data),
        _ => (parsed.data, None),
    };
    let data = data.join(",");
    let place = format!("{} on {}", mount.source, target.display());
    let back = from.map(|dir| WorkingDirectory::enter(&dir)).transpose()?;
    let device = match parsed.is_file {
        true => Some(loop_device::Loop::of(Path::new(&mount.source), flags.contains(MsFlags::MS_RDONLY))?),
        false => None,
    };
    let source = device.as_ref().map_or(mount.source.as_str(), |device| &device.path);
    let kind = Some(mount.kind.as_str()).filter(|kind| !kind.is_empty());
    nix::mount::mount(Some(source), target, kind, flags, Some(data.as_str()).filter(|data| !data.is_empty()))
        .context(&place)?;
    drop(back);
    // The overlay holds its own.
    drop(layers);
    remount(flags, target)
}

/// mount(2) ignores other flags of a new bind mount.
fn remount(flags: MsFlags, target: &Path) -> Result<()> {
    let others = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if flags.contains(MsFlags::MS_BIND) && flags.intersects(others) {
        nix::mount::mount(None::<&str>, target, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>)
            .context(format_args!("remount {}", target.display()))?;
    }
    Ok(())
}

/// Attaches a copy of a mount with mapped ids.
fn attach_mapped(source: &Path, target: &Path, recursive: bool, owners: &OwnedFd) -> Result<()> {
    let c_path = |path: &Path| {
        CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(format!("{}: a zero byte", path.display())))
    };
    let flags = TreeFlags { recursive, nofollow: false };
    let tree = sys::open_tree(&c_path(source)?, flags).context(format_args!("open_tree {}", source.display()))?;
    sys::idmap_mount(tree.as_fd(), recursive, owners.as_fd())
        .context(format_args!("mount_setattr MOUNT_ATTR_IDMAP on {}", source.display()))?;
    child::attach_mount(tree.as_fd(), &c_path(target)?).context(format_args!("move_mount {}", target.display()))
}

/// Lower layers with mapped ids, mounted until the overlay is.
struct Layers {
    dir: PathBuf,
    count: usize,
}

impl Layers {
    /// Mounts them, and replaces the paths in `lowerdir`.
    fn map(data: &mut [String], dir: PathBuf, owners: &OwnedFd) -> Result<Layers> {
        let mut layers = Layers { dir, count: 0 };
        let lower = data.iter_mut().find(|option| option.starts_with("lowerdir="));
        let lower = lower.ok_or_else(|| Error::new("an overlay without lowerdir"))?;
        let mut paths = Vec::new();
        for source in lower.trim_start_matches("lowerdir=").split(':') {
            let at = layers.dir.join(layers.count.to_string());
            std::fs::create_dir_all(&at).context(format_args!("mkdir {}", at.display()))?;
            layers.count += 1;
            attach_mapped(Path::new(source), &at, false, owners)?;
            paths.push(at.to_string_lossy().into_owned());
        }
        *lower = format!("lowerdir={}", paths.join(":"));
        Ok(layers)
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        for number in 0..self.count {
            let at = self.dir.join(number.to_string());
            let _ = unmount(&at);
            let _ = std::fs::remove_dir(&at);
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Opens a directory below the root: no link leads out of it.
fn open_below(root: &Path, below: &str) -> Result<Option<OwnedFd>> {
    let clean = cleat::sys::clean_path::clean(Path::new("/"), Path::new(below));
    let relative = clean.strip_prefix("/").unwrap_or(&clean);
    if relative.as_os_str().is_empty() {
        return Ok(None);
    }
    let dir = cleat::sys::path::open_dir(root).context(format_args!("open {}", root.display()))?;
    let found = cleat::sys::path::open_beneath(&dir, relative, nix::fcntl::OFlag::O_PATH);
    found.map(Some).context(format_args!("open {} in {}", relative.display(), root.display()))
}

/// mount(2) takes one page of options. Many layers fit when their paths are relative to the
/// directory that they have in common, which is entered for the moment.
fn shorten(data: Vec<String>) -> (Vec<String>, Option<PathBuf>) {
    const PAGE: usize = 4096 - 64;
    if data.iter().map(|option| option.len() + 1).sum::<usize>() < PAGE {
        return (data, None);
    }
    let lower = |option: &String| option.strip_prefix("lowerdir=").map(str::to_owned);
    let Some(layers) = data.iter().find_map(lower) else { return (data, None) };
    let mut layers = layers.split(':').map(Path::new);
    let Some(mut common) = layers.next().and_then(Path::parent) else { return (data, None) };
    for layer in layers.clone() {
        while !layer.starts_with(common) {
            match common.parent() {
                Some(parent) => common = parent,
                None => return (data, None),
            }
        }
    }
    let common = common.to_owned();
    let short = |option: String| match option.strip_prefix("lowerdir=") {
        Some(layers) => {
            let layers = layers.split(':').map(|layer| {
                let layer = Path::new(layer);
                layer.strip_prefix(&common).unwrap_or(layer).to_string_lossy().into_owned()
            });
            format!("lowerdir={}", layers.collect::<Vec<_>>().join(":"))
        }
        None => option,
    };
    (data.into_iter().map(short).collect(), Some(common))
}

/// Changes the working directory until it is dropped. The shim has one thread.
struct WorkingDirectory(OwnedFd);

impl WorkingDirectory {
    fn enter(dir: &Path) -> Result<WorkingDirectory> {
        let here = cleat::sys::path::open_dir(Path::new(".")).context("open .")?;
        nix::unistd::chdir(dir).context(format_args!("chdir {}", dir.display()))?;
        Ok(WorkingDirectory(here))
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        let _ = nix::unistd::fchdir(&self.0);
    }
}

/// Unmounts copies of lower layers that a killed shim has left.
pub fn remove_layers(root: &Path) {
    let dir = root.with_file_name(LOWER);
    let count = std::fs::read_dir(&dir).map_or(0, Iterator::count);
    drop(Layers { dir, count });
}

/// Unmounts all mounts at `root`, with those below them.
///
/// # Errors
/// Those of umount2(2); that nothing is mounted there is none.
pub fn unmount(root: &Path) -> Result<()> {
    loop {
        match nix::mount::umount2(root, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there, or nothing is there.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno).context(format_args!("umount {}", root.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_data() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let parsed = parse(&words("rbind ro nosuid suid upperdir=/u")).unwrap();
        assert_eq!(parsed.flags, (MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY).bits());
        assert_eq!(parsed.data, ["upperdir=/u"]);
        let parsed = parse(&words("loop ro")).unwrap();
        assert!(parsed.is_file && parsed.data.is_empty(), "{parsed:?}");
        let parsed = parse(&words("bind uidmap=0:1000:2,5:7:1 gidmap=0:9:1")).unwrap();
        assert_eq!(parsed.uids[1], IdMap { container_id: 5, host_id: 7, size: 1 });
        assert_eq!(parsed.gids, [IdMap { container_id: 0, host_id: 9, size: 1 }]);
        for wrong in ["uidmap=", "uidmap=0:1", "gidmap=0:1:2:3", "gidmap=a:1:1", "uidmap=0:-1:1"] {
            assert!(parse(&words(wrong)).unwrap_err().to_string().starts_with("option "), "{wrong}");
        }
    }

    #[test]
    fn many_layers_are_named_from_where_they_are() {
        let layers: Vec<String> = (0..200).map(|n| format!("/var/lib/containerd/snapshots/{n}/fs")).collect();
        let data = vec![format!("lowerdir={}", layers.join(":")), "index=off".to_owned()];
        let (short, from) = shorten(data);
        assert_eq!(from.as_deref(), Some(Path::new("/var/lib/containerd/snapshots")));
        assert!(short[0].starts_with("lowerdir=0/fs:1/fs:") && short[1] == "index=off");
        assert!(short[0].len() < 4096 - 64);
        let few = vec!["lowerdir=/a:/b".to_owned()];
        assert_eq!(shorten(few.clone()), (few, None));
    }
}
