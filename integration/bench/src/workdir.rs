//! Where does it all run, and what is left of it?
//!
//! A mount namespace of our own, whose `/sys/fs/cgroup` is the cgroup v2 tree alone, whatever the
//! host has there: the host's own mounts are never touched. With `PEERS_ROOT` its root is that
//! directory. All files are made in a tmpfs on `/mnt`, which ends with the namespace; cgroups
//! bear a name of ours and are swept.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::error::{At as _, Context as _, Result, bail};
use crate::options::Options;
use crate::orphans::reap;

const HERE: &str = "/mnt";
const CGROUPS: &str = "/sys/fs/cgroup";

/// The name of the container in which the floor does its `exec`s.
pub(crate) const HELD: &str = "held";

/// The place, made. Dropping it ends what still runs there.
#[derive(Debug)]
pub(crate) struct Workdir {
    prefix: String,
}

/// Must be called by a process of one thread: namespaces belong to threads.
pub(crate) fn enter(options: &Options) -> Result<Workdir> {
    if !nix::unistd::geteuid().is_root() {
        bail!("not root; containers with cgroups and devices need it");
    }
    unshare(CloneFlags::CLONE_NEWNS).at("unshare")?;
    // Before the mounts that may hide them, and after unshare: a mount of another namespace
    // cannot be bound.
    let cleat = File::open(&options.cleat).ok();
    let floor = File::open(&options.floor).at(options.floor.display())?;
    attach(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;

    let root = options.peers_root.as_deref();
    if let Some(root) = root {
        furnish(root)?;
    }
    let base = root.unwrap_or(Path::new("/"));
    cgroup2_alone(&base.join(&CGROUPS[1..]))?;
    let here = base.join(&HERE[1..]);
    attach(Some("tmpfs"), &here, Some("tmpfs"), MsFlags::empty())?;
    fs::create_dir(here.join("bin")).at("bin")?;
    for (name, program) in [("cleat", cleat.as_ref()), ("floor", Some(&floor))] {
        if let Some(program) = program {
            let target = here.join("bin").join(name);
            File::create(&target).at(target.display())?;
            let source = format!("/proc/self/fd/{}", program.as_raw_fd());
            attach(Some(&source), &target, None, MsFlags::MS_BIND)?;
        }
    }
    if let Some(root) = root {
        std::env::set_current_dir(root).at(root.display())?;
        nix::unistd::pivot_root(".", ".").at("pivot_root")?;
        umount2(".", MntFlags::MNT_DETACH).at("umount the old root")?;
        std::env::set_current_dir("/").at("/")?;
    }
    // Orphaned containers become our children: we learn of their end, and leave no zombie.
    set_child_subreaper(true).at("prctl PR_SET_CHILD_SUBREAPER")?;
    Ok(Workdir { prefix: format!("cleatbench-{}-", std::process::id()) })
}

fn attach(source: Option<&str>, target: &Path, kind: Option<&str>, flags: MsFlags) -> Result<()> {
    mount(source, target, kind, flags, None::<&str>).at(format_args!("mount on {}", target.display()))
}

/// Gives a bare root directory what a host has, in our mount namespace only.
fn furnish(root: &Path) -> Result<()> {
    let text = root.to_str().context("PEERS_ROOT: not UTF-8")?;
    attach(Some(text), root, None, MsFlags::MS_BIND)?;
    let dev = MsFlags::MS_BIND | MsFlags::MS_REC;
    attach(Some("/dev"), &root.join("dev"), None, dev)?;
    for (kind, path) in [("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "tmp"), ("tmpfs", "run")] {
        attach(Some(kind), &root.join(path), Some(kind), MsFlags::empty())?;
    }
    Ok(())
}

fn cgroup2_alone(path: &Path) -> Result<()> {
    if statfs(path).at(path.display())?.filesystem_type() == CGROUP2_SUPER_MAGIC {
        return Ok(());
    }
    attach(Some("cgroup2"), path, Some("cgroup2"), MsFlags::empty())
}

impl Workdir {
    /// A path on the tmpfs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(HERE).join(name)
    }

    /// A container's name; the names of two benches at once differ.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn cgroup(&self, name: &str) -> PathBuf {
        Path::new(CGROUPS).join(self.id(name))
    }

    /// Ends and removes every cgroup of ours, and returns those that a runtime had left.
    pub(crate) fn sweep(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        self.search(Path::new(CGROUPS), &mut found);
        for cgroup in &found {
            if let Err(error) = end(cgroup) {
                eprintln!("bench: {error:#}");
            }
        }
        found.retain(|cgroup| *cgroup != self.cgroup(HELD));
        found
    }

    fn search(&self, directory: &Path, found: &mut Vec<PathBuf>) {
        for child in directories(directory) {
            let name = child.file_name().unwrap_or_default().to_string_lossy();
            if name.contains(&self.prefix) {
                found.push(child);
            } else {
                self.search(&child, found);
            }
        }
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        self.sweep();
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter(is_directory).map(|entry| entry.path()).collect()
}

/// Kills all in `cgroup`, waits until it is empty, and removes it.
fn end(cgroup: &Path) -> Result<()> {
    let kill = cgroup.join("cgroup.kill");
    let mut file = File::options().write(true).open(&kill).at(kill.display())?;
    file.write_all(b"1").at(kill.display())?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        reap();
        match remove(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn remove(cgroup: &Path) -> Result<()> {
    for child in directories(cgroup) {
        remove(&child)?;
    }
    fs::remove_dir(cgroup).at(cgroup.display())
}
