//! What will be at a path of the container, once its root file system and its mounts are there?
//!
//! The tree is walked name by name, each opened beneath the directory before it without following links. A link of
//! the image leads where it will lead in the container, never out of it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::permission::{SEARCH, Subject};

/// Most symbolic links on one way, as in the kernel.
const MAX_LINKS: u32 = 40;

/// The file trees that lie over each other, in the order in which they are mounted.
pub(super) struct View {
    layers: Vec<Layer>,
}

/// A tree, at a path that has no links in it.
pub(super) struct Layer {
    pub(super) at: PathBuf,
    pub(super) content: Content,
    /// Programs in it cannot be executed.
    pub(super) noexec: bool,
    /// Mounts below its root come along.
    pub(super) recursive: bool,
    /// Owners are mapped, and so nothing is known of who may do what.
    pub(super) idmapped: bool,
}

/// What is in a tree.
#[derive(Clone)]
pub(super) enum Content {
    /// A file or directory of the host.
    File(Rc<OwnedFd>),
    /// A directory that is empty at first.
    Empty,
    /// Only the kernel knows.
    Unknown,
}

/// What a walk has found.
pub(super) enum Found {
    /// A file or directory of the host.
    File(Rc<OwnedFd>, Box<FileStat>),
    /// A directory that is made when it is needed, with nothing in it but mounts.
    Empty,
    /// Nothing; the directory in which it is missing.
    Missing(Content),
    /// What should be a directory is none.
    NotDirectory,
    /// Too many links.
    Loop,
    /// A directory on the way must not be searched by the subject.
    Denied,
    /// Unknown.
    Unknown,
}

/// The end of a walk.
pub(super) struct End {
    pub(super) found: Found,
    /// The path without links, as far as it is there.
    pub(super) path: PathBuf,
    /// A link was on the way.
    pub(super) linked: bool,
    /// Programs there cannot be executed, because the mount forbids it.
    pub(super) noexec: bool,
    /// Owners are not what they seem.
    pub(super) idmapped: bool,
}

impl Layer {
    /// With what most have.
    pub(super) fn new(at: impl Into<PathBuf>, content: Content) -> Layer {
        Layer { at: at.into(), content, noexec: false, recursive: true, idmapped: false }
    }
}

impl End {
    /// A directory, or a file; `None` where that is not known.
    pub(super) fn is_dir(&self) -> Option<bool> {
        match &self.found {
            Found::File(_, stat) => Some(is(stat, SFlag::S_IFDIR)),
            Found::Empty => Some(true),
            _ => None,
        }
    }
}

/// Whether a file is of a kind.
pub(super) fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == kind
}

/// Whether the file system of a file lets nobody write.
pub(super) fn is_read_only(file: &OwnedFd) -> bool {
    fstatvfs(file).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether the mount of a file lets nobody execute it.
fn forbids_execution(file: &OwnedFd) -> bool {
    fstatvfs(file).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC))
}

impl View {
    /// With nothing but the root file system.
    pub(super) fn new(root: OwnedFd) -> View {
        View { layers: vec![Layer::new("/", Content::File(Rc::new(root)))] }
    }

    /// One more mount.
    pub(super) fn mount(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// What is at `path`, as the subject sees it; without one as the runtime does.
    pub(super) fn walk(&self, path: &Path, subject: Option<&Subject<'_>>) -> End {
        let mut walk = Walk { view: self, subject, stack: Vec::new(), pending: Vec::new(), links: 0 };
        walk.begin();
        walk.will_go(path);
        let found = walk.go();
        let (noexec, idmapped) = walk
            .stack
            .last()
            .map_or((false, false), |at| (self.layers[at.layer].noexec, self.layers[at.layer].idmapped));
        let noexec = noexec || matches!(&found, Found::File(file, _) if forbids_execution(file));
        End { found, path: walk.path(), linked: walk.links > 0, noexec, idmapped }
    }
}

/// A directory on the way.
struct At {
    name: OsString,
    content: Content,
    layer: usize,
}

struct Walk<'v> {
    view: &'v View,
    subject: Option<&'v Subject<'v>>,
    stack: Vec<At>,
    /// What is still to go, the next one last.
    pending: Vec<OsString>,
    links: u32,
}

impl Walk<'_> {
    fn begin(&mut self) {
        let content = self.view.layers.first().map_or(Content::Unknown, |layer| layer.content.clone());
        self.stack = vec![At { name: OsString::new(), content, layer: 0 }];
    }

    fn will_go(&mut self, path: &Path) {
        self.pending.extend(path.components().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        }));
    }

    /// Where it is, and what it did not get to.
    fn path(&self) -> PathBuf {
        let there = self.stack.iter().skip(1).map(|at| &at.name);
        Path::new("/").join(there.chain(self.pending.iter().rev()).collect::<PathBuf>())
    }

    fn go(&mut self) -> Found {
        while let Some(name) = self.pending.pop() {
            if name == ".." {
                // Above the root is the root.
                if self.stack.len() > 1 {
                    self.stack.pop();
                }
                continue;
            }
            if let Some(end) = self.step(&name) {
                // Nobody got past it.
                self.pending.push(name);
                return end;
            }
        }
        match self.stack.last().map(|at| at.content.clone()) {
            Some(Content::File(file)) => match fstat(&*file) {
                Ok(stat) => Found::File(file, Box::new(stat)),
                Err(_) => Found::Unknown,
            },
            Some(Content::Empty) => Found::Empty,
            _ => Found::Unknown,
        }
    }

    /// Goes to a name in the directory where it is; a value ends the walk.
    fn step(&mut self, name: &OsStr) -> Option<Found> {
        let Some(at) = self.stack.last() else { return Some(Found::Unknown) };
        let (here, layer) = (at.content.clone(), at.layer);
        if let Some(end) = self.enter(&here, layer) {
            return Some(end);
        }
        let next: PathBuf = self.stack.iter().skip(1).map(|at| at.name.as_os_str()).chain([name]).collect();
        let next = Path::new("/").join(next);
        let mut above = self.view.layers.iter().enumerate().skip(layer + 1).rev();
        if let Some((index, layer)) = above.find(|(_, layer)| layer.at == next) {
            self.stack.push(At { name: name.into(), content: layer.content.clone(), layer: index });
            return None;
        }
        // The way to a mount is made with it.
        let leads_to_mount = self.view.layers.iter().skip(layer + 1).any(|layer| layer.at.starts_with(&next));
        let content = match &here {
            Content::Unknown => return Some(Found::Unknown),
            Content::Empty => Err(Errno::ENOENT),
            Content::File(dir) => open_name(dir, name, self.view.layers[layer].recursive),
        };
        let content = match content {
            Ok(file) => Content::File(Rc::new(file)),
            Err(Errno::ENOENT) if leads_to_mount => Content::Empty,
            Err(Errno::ENOENT) => return Some(Found::Missing(here)),
            Err(Errno::ENOTDIR) => return Some(Found::NotDirectory),
            Err(_) => return Some(Found::Unknown),
        };
        if let Content::File(file) = &content {
            match fstat(&**file) {
                Ok(stat) if is(&stat, SFlag::S_IFLNK) => return self.follow(file),
                Ok(_) => {}
                Err(_) => return Some(Found::Unknown),
            }
        }
        self.stack.push(At { name: name.into(), content, layer });
        None
    }

    /// Whether this is a directory that may be searched.
    fn enter(&self, here: &Content, layer: usize) -> Option<Found> {
        let Content::File(dir) = here else { return None };
        let Ok(stat) = fstat(&**dir) else { return Some(Found::Unknown) };
        if !is(&stat, SFlag::S_IFDIR) {
            return Some(Found::NotDirectory);
        }
        let known = !self.view.layers[layer].idmapped;
        let denied = self.subject.is_some_and(|subject| known && !subject.may(&stat, SEARCH));
        denied.then_some(Found::Denied)
    }

    fn follow(&mut self, link: &OwnedFd) -> Option<Found> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Some(Found::Loop);
        }
        // Where links of procfs lead is not what they say.
        if fstatfs(link).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC) {
            return Some(Found::Unknown);
        }
        let Ok(target) = nix::fcntl::readlinkat(link, "") else { return Some(Found::Unknown) };
        if target.as_bytes().first() == Some(&b'/') {
            self.stack.truncate(1);
        }
        self.will_go(Path::new(&target));
        None
    }
}

/// A handle on a name in a directory; the link itself where it is one.
fn open_name(dir: &OwnedFd, name: &OsStr, across_mounts: bool) -> nix::Result<OwnedFd> {
    let mut resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if !across_mounts {
        resolve |= ResolveFlag::RESOLVE_NO_XDEV;
    }
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match nix::fcntl::openat2(dir.as_fd(), name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of this test's own, gone with it.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("cleat-view-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("root/bin")).unwrap();
            std::fs::create_dir_all(path.join("volume/sub")).unwrap();
            for file in ["root/bin/program", "volume/file", "outside"] {
                std::fs::write(path.join(file), "").unwrap();
            }
            Dir(path)
        }

        fn open(&self, path: &str) -> OwnedFd {
            nix::fcntl::open(&self.0.join(path), OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap()
        }

        fn view(&self) -> View {
            View::new(self.open("root"))
        }

        fn layer(&self, at: &str, source: &str) -> Layer {
            Layer::new(at, Content::File(Rc::new(self.open(source))))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn word(view: &View, path: &str) -> &'static str {
        match view.walk(Path::new(path), None).found {
            Found::File(_, stat) if is(&stat, SFlag::S_IFDIR) => "directory",
            Found::File(..) => "file",
            Found::Empty => "empty",
            Found::Missing(_) => "missing",
            Found::NotDirectory => "not a directory",
            Found::Loop => "loop",
            Found::Denied => "denied",
            Found::Unknown => "unknown",
        }
    }

    #[test]
    fn links_lead_nowhere_but_inside() {
        let dir = Dir::new("links");
        symlink("/bin/program", dir.0.join("root/absolute")).unwrap();
        symlink("../../../../bin", dir.0.join("root/up")).unwrap();
        symlink("../outside", dir.0.join("root/out")).unwrap();
        symlink(dir.0.join("outside"), dir.0.join("root/host")).unwrap();
        symlink("loop", dir.0.join("root/loop")).unwrap();
        let view = dir.view();
        assert_eq!(word(&view, "/absolute"), "file");
        assert_eq!(word(&view, "/up/program"), "file");
        assert_eq!(word(&view, "/out"), "missing");
        assert_eq!(word(&view, "/host"), "missing");
        assert_eq!(word(&view, "/loop"), "loop");
        assert_eq!(word(&view, "/bin/program/x"), "not a directory");
        assert_eq!(word(&view, "/../../outside"), "missing");
        let end = view.walk(Path::new("/up/program"), None);
        assert_eq!((end.path.as_path(), end.linked), (Path::new("/bin/program"), true));
    }

    #[test]
    fn a_mount_covers_what_was_there_before() {
        let dir = Dir::new("mounts");
        let mut view = dir.view();
        view.mount(dir.layer("/bin", "volume"));
        assert_eq!(word(&view, "/bin/program"), "missing");
        assert_eq!(word(&view, "/bin/file"), "file");
        // What is mounted below stays when it came later, and is covered when it came before.
        view.mount(dir.layer("/bin/sub", "root"));
        assert_eq!(word(&view, "/bin/sub/bin/program"), "file");
        view.mount(dir.layer("/bin", "root/bin"));
        assert_eq!(word(&view, "/bin/sub/bin/program"), "missing");
        assert_eq!(word(&view, "/bin/program"), "file");
    }

    #[test]
    fn the_way_to_a_mount_is_there_when_the_mount_is() {
        let dir = Dir::new("way");
        let mut view = dir.view();
        view.mount(dir.layer("/new/deep/file", "volume/file"));
        assert_eq!(word(&view, "/new/deep/file"), "file");
        assert_eq!(word(&view, "/new/deep"), "empty");
        assert_eq!(word(&view, "/new/other"), "missing");
        view.mount(Layer::new("/proc", Content::Unknown));
        assert_eq!(word(&view, "/proc/self/exe"), "unknown");
    }
}
