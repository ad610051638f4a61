//! How does the root file system that containerd describes come to be at `rootfs`, and go?
//!
//! In the host's mount namespace, with the shim's privileges; the paths are containerd's own.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cleat::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use crate::messages::Mount;

/// Mounts that are taken away again unless they are kept.
pub struct Mounted {
    root: PathBuf,
    keep: bool,
}

impl Mounted {
    /// They stay.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.keep {
            let _ = unmount(&self.root);
        }
    }
}

/// Mounts one after the other at `root`, which is made.
///
/// # Errors
/// An option that the shim does not know how to handle, or what mount(2) says; then nothing is
/// mounted.
pub fn mount(mounts: &[Mount], root: &Path) -> Result<Mounted> {
    if !mounts.is_empty() {
        match nix::unistd::mkdir(root, nix::sys::stat::Mode::from_bits_truncate(0o711)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).context(format_args!("mkdir {}", root.display())),
        }
    }
    let mounted = Mounted { root: root.into(), keep: mounts.is_empty() };
    for one in mounts {
        mount_one(one, root).map_err(|error| error.within(format_args!("mount {} rootfs", one.kind)))?;
    }
    Ok(mounted)
}

/// Options as mount(2) wants them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    flags: u64,
    data: Vec<String>,
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
            "loop" => return Err(Error::new("option loop: set the loop device up first, and mount that")),
            other if other.starts_with("uidmap=") || other.starts_with("gidmap=") => {
                return Err(Error::new(format!(
                    "option {other}: the shim makes no idmapped root file system; let the snapshotter do without"
                )));
            }
            other => {
                parsed.data.push(other.into());
                continue;
            }
        };
        parsed.flags = (parsed.flags | set.bits()) & !clear.bits();
    }
    Ok(parsed)
}

fn mount_one(mount: &Mount, root: &Path) -> Result<()> {
    let parsed = parse(&mount.options)?;
    let flags = MsFlags::from_bits_truncate(parsed.flags);
    let below = open_below(root, &mount.target)?;
    let target = below.as_ref().map(|dir| PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())));
    let target = target.as_deref().unwrap_or(root);
    let (data, from) = match mount.kind.as_str() {
        "overlay" => shorten(parsed.data),
        _ => (parsed.data, None),
    };
    let data = data.join(",");
    let place = format!("{} on {}", mount.source, target.display());
    let back = from.map(|dir| Elsewhere::enter(&dir)).transpose()?;
    let (kind, source) = (Some(mount.kind.as_str()).filter(|kind| !kind.is_empty()), Some(mount.source.as_str()));
    nix::mount::mount(source, target, kind, flags, Some(data.as_str()).filter(|data| !data.is_empty()))
        .context(&place)?;
    drop(back);
    let remount = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if flags.contains(MsFlags::MS_BIND) && flags.intersects(remount) {
        // A bind mount takes no other flags when it is made.
        nix::mount::mount(None::<&str>, target, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>)
            .context(format_args!("remount {place}"))?;
    }
    Ok(())
}

/// A directory below the root: nothing there can lead out of it.
fn open_below(root: &Path, below: &str) -> Result<Option<OwnedFd>> {
    let clean = cleat::host::clean(Path::new("/"), Path::new(below));
    let relative = clean.strip_prefix("/").unwrap_or(&clean);
    if relative.as_os_str().is_empty() {
        return Ok(None);
    }
    let dir = cleat::path::open_dir(root).context(format_args!("open {}", root.display()))?;
    let found = cleat::path::open_beneath(&dir, relative, nix::fcntl::OFlag::O_PATH);
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

/// Another working directory for a while. The shim has one thread.
struct Elsewhere(OwnedFd);

impl Elsewhere {
    fn enter(dir: &Path) -> Result<Elsewhere> {
        let here = cleat::path::open_dir(Path::new(".")).context("open .")?;
        nix::unistd::chdir(dir).context(format_args!("chdir {}", dir.display()))?;
        Ok(Elsewhere(here))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = nix::unistd::fchdir(&self.0);
    }
}

/// Takes every mount away that lies at `root`, one above the other, with all below them.
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
        assert!(parse(&words("loop")).is_err() && parse(&words("uidmap=0:1000:1")).is_err());
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
