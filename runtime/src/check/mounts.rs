//! Can every mount be made? Their sources, targets, file systems and options.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cleat_plan::{FsOption, Mount, MountFd, MountKind};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::AccessFlags;

use super::Preflight;
use super::mount_view::{Content, Found, Layer, View, is, is_read_only};
use super::permission::{SEARCH, Subject, WRITE, to_host};
use crate::error::errno_text;
use crate::plan::{IdmapSource, NEWUSER, Tree};
use crate::probe::kernel_features::Which;
use crate::sys;
use crate::sys::clean_path::clean;
use crate::sys::query::FsContext;

const NOEXEC: u64 = 0x8;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// A path of the plan.
fn path_of(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

fn open_path(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether it is the root of a procfs.
fn is_procfs(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC) && fstat(file).is_ok_and(|s| s.st_ino == 1)
}

impl<'a> Preflight<'a> {
    /// Checks all of them, in order, and lays them over the root file system.
    pub(super) fn check_mounts(&mut self, view: &mut View) {
        let plan = self.plan;
        let Some(root) = &plan.init.root else { return };
        let sound: Vec<bool> =
            (0..self.spec.mounts.len()).map(|index| !self.has_problem(&format!("mounts[{index}]"))).collect();
        let mut planned = root.mounts.iter().enumerate();
        for (index, sound) in sound.into_iter().enumerate() {
            let destination = clean(Path::new("/"), Path::new(&self.spec.mounts[index].destination));
            let planned = if sound { planned.next() } else { None };
            match planned {
                // Only what the plan has decided is known.
                Some((position, mount)) if path_of(&mount.target) == destination => {
                    self.mounts.push((index, position));
                    self.check_mount(index, mount, view);
                }
                _ => view.mount(Layer::new(destination, Content::Unknown)),
            }
        }
    }

    fn check_mount(&mut self, index: usize, mount: &Mount, view: &mut View) {
        let place = format!("mounts[{index}]");
        let content = match &mount.kind {
            MountKind::Bind { source, inside, nofollow, tree, .. } => {
                if let Some(tree) = tree.and_then(|index| self.tree(index)) {
                    self.check_idmap(&place, tree);
                }
                // One that the plan has put in the place of another, of something that is not made yet.
                if *nofollow || inside.is_some() {
                    Some(Content::Unknown)
                } else {
                    self.check_source(&place, path_of(source), mount)
                }
            }
            MountKind::New { fstype, .. } => {
                self.check_file_system(&place, fstype);
                self.new_content(fstype, mount)
            }
            MountKind::Remount { .. } => {
                if matches!(view.walk(path_of(&mount.target), None).found, Found::Missing(_) | Found::NotDirectory) {
                    self.problem(
                        format!("{place}.destination"),
                        format!("{}: nothing is mounted there to remount", mount.target),
                        "mount something there first, or remove the mount",
                    );
                }
                None
            }
        };
        if matches!(mount.kind, MountKind::Remount { .. }) {
            return;
        }
        let at = self.check_target(&place, mount, content.as_ref(), view);
        let Some(content) = content else { return };
        let recursive = !matches!(mount.kind, MountKind::Bind { recursive: false, .. });
        let idmapped = matches!(&mount.kind, MountKind::Bind { tree: Some(index), .. }
            if self.tree(*index).is_some_and(|tree| tree.idmap.is_some()));
        let noexec = (mount.attr.set | mount.attr_recursive.set) & NOEXEC != 0;
        view.mount(Layer { noexec, recursive, idmapped, ..Layer::new(at, content) });
    }

    fn tree(&self, index: MountFd) -> Option<&'a Tree> {
        self.plan.host.mount_fds.get(usize::from(index.0))
    }

    /// What a bind mount will show.
    fn check_source(&mut self, place: &str, source: &Path, mount: &Mount) -> Option<Content> {
        let file = match open_path(source) {
            Ok(file) => file,
            Err(errno) => {
                let what = format!("{}: {}", source.display(), errno_text(errno));
                self.problem(format!("{place}.source"), what, "make it, or remove the mount");
                return Some(Content::Unknown);
            }
        };
        if mount.require_procfs && !is_procfs(&file) {
            let what = format!("{}: what lies on /proc must be the root of a procfs", source.display());
            self.problem(format!("{place}.source"), what, "mount a new proc instead");
        }
        // Another instance, or another view of it: what is in there is not what is here.
        let shows_kernel = fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        Some(if shows_kernel { Content::Unknown } else { Content::File(Rc::new(file)) })
    }

    /// What is in a new file system; `None`: what it covers, too.
    fn new_content(&self, fstype: &CStr, mount: &Mount) -> Option<Content> {
        let makes_nodes = self.plan.init.root.as_ref().is_some_and(|root| root.dev_links);
        match fstype.to_bytes() {
            b"tmpfs" if mount.copy_up => None,
            b"tmpfs" | b"ramfs" if makes_nodes && mount.target.to_bytes() == b"/dev" => Some(Content::Unknown),
            b"tmpfs" | b"ramfs" => Some(Content::Empty),
            _ => Some(Content::Unknown),
        }
    }

    /// Where the mount will be, which may be made for it.
    fn check_target(&mut self, place: &str, mount: &Mount, content: Option<&Content>, view: &View) -> PathBuf {
        let place = format!("{place}.destination");
        let end = view.walk(path_of(&mount.target), None);
        let source_is_dir = match content {
            Some(Content::File(file)) => fstat(&**file).ok().map(|stat| is(&stat, SFlag::S_IFDIR)),
            Some(Content::Unknown) => None,
            Some(Content::Empty) | None => Some(true),
        };
        let shown = &mount.target;
        if mount.target_nofollow && end.linked {
            let what = format!("{shown}: a symbolic link in the image stands where a real directory must be (ELOOP)");
            self.problem(place, what, "remove the link from the root file system");
            return end.path;
        }
        match (&end.found, source_is_dir) {
            (Found::Loop, _) => {
                self.problem(
                    place,
                    format!("{shown}: too many symbolic links (ELOOP)"),
                    "correct the links in the image",
                );
            }
            (Found::NotDirectory, _) => {
                let what = format!("{shown}: a part of it is no directory in the image (ENOTDIR)");
                self.problem(place, what, "choose another destination, or correct the image");
            }
            (Found::Missing(Content::File(dir)), _) => {
                if let Some((what, remedy)) = self.cannot_make(dir) {
                    self.problem(place, format!("{shown}: the mount point is missing and {what}"), remedy);
                }
            }
            (Found::File(..) | Found::Empty, Some(source_is_dir)) if end.is_dir() != Some(source_is_dir) => {
                let what = format!("{shown}: source and target must both be directories, or neither (ENOTDIR)");
                self.problem(place, what, "choose another source or destination");
            }
            _ => {}
        }
        end.path
    }

    /// Why nothing can be made in a directory of the host.
    fn cannot_make(&self, dir: &OwnedFd) -> Option<(String, &'static str)> {
        if is_read_only(dir) {
            return Some(("its file system is read-only".into(), "add it to the image"));
        }
        let maps = self.plan.host.id_maps.as_ref();
        let denied = match maps {
            None if self.plan.host.namespaces & NEWUSER != 0 => false,
            None => {
                use std::os::fd::AsRawFd;
                let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
                crate::probe::machine::may(Path::new(&path), AccessFlags::W_OK | AccessFlags::X_OK).is_err()
            }
            // The init, which is root in there.
            Some(maps) => {
                let (uids, gids) = (Some(maps.uids.as_slice()), Some(maps.gids.as_slice()));
                let ids = to_host(uids, 0).zip(to_host(gids, 0));
                let root =
                    ids.map(|(uid, gid)| Subject { uid, gid, groups: Vec::new(), capabilities: u64::MAX, uids, gids });
                let stat = fstat(dir).ok();
                root.zip(stat).is_some_and(|(root, stat)| !root.may(&stat, SEARCH | WRITE))
            }
        };
        denied.then(|| {
            (
                "the container's root may not make it (EACCES)".into(),
                "add it to the image, or correct the owner of its directory",
            )
        })
    }

    fn check_file_system(&mut self, place: &str, fstype: &CStr) {
        let name = fstype.to_string_lossy();
        let base = name.split('.').next().unwrap_or_default();
        let Some(known) = self.survey.file_systems.iter().find(|fs| fs.name == base) else {
            if !is_module(&self.survey.kernel.release, base) {
                let what = format!("this kernel has no file system {name:?}");
                self.problem(format!("{place}.type"), what, "choose one of /proc/filesystems, or install its module");
            }
            return;
        };
        if self.plan.host.id_maps.is_some() && known.needs_device && !base.starts_with("fuse") {
            let what = format!("a {base} cannot be mounted in a user namespace");
            self.problem(place, what, "mount it on the host, and bind it");
        }
    }

    /// What the kernel has to know for the mounts.
    pub(super) fn check_mount_options(&mut self) {
        let plan = self.plan;
        let Some(root) = &plan.init.root else { return };
        for (index, position) in std::mem::take(&mut self.mounts) {
            let Some(mount) = root.mounts.get(position) else { continue };
            let place = format!("mounts[{index}]");
            let attributes = mount.attr.set | mount.attr_recursive.set;
            if attributes & NOSYMFOLLOW != 0 && self.survey.kernel.has(Which::Nosymfollow) == Some(false) {
                self.problem(
                    format!("{place}.options"),
                    "this kernel has no \"nosymfollow\"",
                    "boot Linux 5.14 or later",
                );
            }
            match &mount.kind {
                MountKind::Bind { tree: Some(index), .. } => {
                    if self.tree(*index).is_some_and(|tree| tree.idmap.is_some())
                        && self.survey.kernel.has(Which::IdmappedMounts) == Some(false)
                    {
                        self.problem(place, "this kernel has no identity-mapped mounts", "boot Linux 5.12 or later");
                    }
                }
                MountKind::New { fstype, source, options } => {
                    self.check_options(&place, fstype, source.as_deref(), options);
                }
                MountKind::Bind { .. } | MountKind::Remount { .. } => {}
            }
        }
    }

    /// Gives the options to a file system that is not mounted.
    fn check_options(&mut self, place: &str, fstype: &CStr, source: Option<&CStr>, options: &[FsOption]) {
        // To ask one that is not there would load its module, and some look at their device.
        let name = fstype.to_string_lossy();
        let base = name.split('.').next().unwrap_or_default();
        if !self.survey.file_systems.iter().any(|fs| fs.name == base && !fs.needs_device) {
            return;
        }
        // What fsconfig(2) does not take goes through mount(2), which cannot be asked.
        let is_long = |text: &CStr| text.to_bytes().len() > 255;
        if source.is_some_and(is_long) || options.iter().any(|o| o.value.as_deref().is_some_and(is_long)) {
            return;
        }
        // Who may not mount here cannot ask either.
        let Ok(fs) = FsContext::of(fstype) else { return };
        // The namespace that an ordinary user is in by now has no ids to name.
        let has_ids = self.survey.user_namespaces.works.is_none();
        let mut said = |property: &str, option: String, answer: nix::Result<()>| {
            // What is not permitted here may be permitted there.
            let Err(errno) = answer.or_else(|errno| if errno == Errno::EPERM { Ok(()) } else { Err(errno) }) else {
                return;
            };
            let words = fs.said();
            let why = if words.is_empty() { errno_text(errno) } else { format!("{words} ({errno:?})") };
            self.problem(format!("{place}.{property}"), format!("{option}: {why}"), "correct or remove it");
        };
        if let Some(source) = source {
            said("source", format!("{source:?}"), fs.set(c"source", Some(source)));
        }
        for option in options.iter().filter(|option| has_ids || !matches!(option.key.to_bytes(), b"uid" | b"gid")) {
            let shown = option.value.as_ref().map_or_else(|| option.key.to_string(), |v| format!("{}={v}", option.key));
            said("options", format!("{shown:?}"), fs.set(&option.key, option.value.as_deref()));
        }
    }

    /// Tries an identity map on a copy of the mount that nobody sees.
    fn check_idmap(&mut self, place: &str, tree: &Tree) {
        let Some(source) = &tree.idmap else { return };
        let maps = match (source, &self.plan.host.id_maps) {
            (IdmapSource::Mappings { uids, gids }, _) => (uids, gids),
            (IdmapSource::Container, Some(maps)) => (&maps.uids, &maps.gids),
            (IdmapSource::Container, None) => return,
        };
        if !self.survey.has_capability("CAP_SYS_ADMIN") {
            return;
        }
        let flags = sys::TreeFlags { recursive: tree.recursive, nofollow: tree.nofollow };
        let path = CString::new(tree.path.as_os_str().as_bytes()).ok();
        // That the source is not there is reported elsewhere.
        let Some(Ok(copy)) = path.map(|path| sys::open_tree(&path, flags)) else { return };
        match crate::launch::idmap::new_user_namespace(maps.0, maps.1) {
            Err(error) => self.problem(place, error.to_string(), "correct uidMappings and gidMappings"),
            Ok(namespace) => match sys::idmap_mount(copy.as_fd(), tree.idmap_recursive, namespace.as_fd()) {
                Ok(()) => {}
                Err(errno @ (Errno::EINVAL | Errno::EPERM)) => {
                    let what = format!("{}: cannot be identity-mapped ({errno:?})", tree.path.display());
                    self.problem(
                        place,
                        what,
                        "this file system or kernel cannot, or it is mapped already: remove the mapping",
                    );
                }
                Err(_) => {}
            },
        }
    }
}

/// Whether a module of that file system could be loaded, as far as modprobe(8)'s files show.
fn is_module(release: &str, name: &str) -> bool {
    let dir = Path::new("/lib/modules").join(release);
    let alias = format!("alias fs-{name} ");
    crate::probe::machine::read(dir.join("modules.alias"))
        .is_some_and(|text| text.lines().any(|line| line.starts_with(&alias)))
}
