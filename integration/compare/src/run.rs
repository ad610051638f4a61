//! How is a case run with one runtime, and what is there to be seen?

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::facts::Facts;
use crate::folder;

/// Whose behaviour is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The runtime under test.
    Cleat,
    /// The reference.
    Runc,
    /// The other one.
    Crun,
}

impl Peer {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Cleat, Self::Runc, Self::Crun];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cleat => "cleat",
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }

    /// Where it is inside.
    fn program(self) -> &'static str {
        match self {
            Self::Cleat => "/run/cleat",
            Self::Runc => "/usr/sbin/runc",
            Self::Crun => "/usr/bin/crun",
        }
    }
}

/// What all cases are run with.
#[derive(Debug)]
pub struct Bench {
    /// The root directory that has runc and crun.
    root: PathBuf,
    /// The runtime under test.
    runtime: PathBuf,
    probe: PathBuf,
    /// For what is written while cases run; gone with this value.
    work: PathBuf,
    cgroups: PathBuf,
}

/// What the names of its directory and its cgroup begin with; its pid follows.
const NAME: &str = "cleat-compare-";

/// How long one command may take, and all of one case.
const COMMAND: u64 = 10;
const CASE: Duration = Duration::from_secs(90);

/// The programs of busybox that the root file system has.
const APPLETS: &str = "sh true false cat echo sleep id env ls mount pwd stat touch grep head tail wc readlink test \
    kill ps printf mkdir tr od cut sed hostname tty stty seq umount printenv dd";

impl Bench {
    /// For the peers in `root` (`/`: those of this host), with the programs `runtime` and `probe`.
    ///
    /// # Errors
    /// What is not there.
    pub fn new(root: &Path, runtime: &Path, probe: &Path) -> Result<Self, String> {
        let found = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
        let name = format!("{NAME}{}", std::process::id());
        let tree = cgroup_root().ok_or("no cgroup v2 tree in /proc/self/mountinfo")?;
        stale(&std::env::temp_dir()).iter().for_each(|path| drop(fs::remove_dir_all(path)));
        stale(&tree).iter().for_each(|path| remove_cgroups(path));
        let (work, cgroups) = (std::env::temp_dir().join(&name), tree.join(&name));
        let this = Self { root: found(root)?, runtime: found(runtime)?, probe: found(probe)?, work, cgroups };
        for peer in [Peer::Runc, Peer::Crun] {
            let path = this.root.join(peer.program().trim_start_matches('/'));
            found(&path).map_err(|error| format!("{error}; integration/compare/prepare makes a root with it"))?;
        }
        fs::create_dir_all(&this.cgroups).map_err(|error| format!("{}: {error}", this.cgroups.display()))?;
        for controller in controllers() {
            // Some cannot be had on a machine; cases say which they need.
            let enable = |path: &Path| fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
            let _ = enable(&tree).and_then(|()| enable(&this.cgroups));
        }
        this.template().map_err(|error| format!("{}: {error}", this.work.display()))?;
        Ok(this)
    }

    /// The bundle's directory as every case finds it.
    fn template(&self) -> std::io::Result<()> {
        let rootfs = self.work.join("template/rootfs");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc", "root", "mnt"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::set_permissions(rootfs.join("root"), fs::Permissions::from_mode(0o700))?;
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\nmore:x:2000:user\n")?;
        copy(&self.probe, &rootfs.join("probe"))?;
        let busybox = [self.root.join("usr/bin/busybox"), self.root.join("bin/busybox")];
        copy(busybox.iter().find(|path| path.exists()).unwrap_or(&busybox[0]), &rootfs.join("bin/busybox"))?;
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        Ok(())
    }

    /// Whether cgroup v2 has all controllers that a case needs here.
    #[must_use]
    pub fn can(&self, case: &Case) -> bool {
        let there = controllers();
        case.controllers.iter().all(|controller| there.contains(controller))
    }

    /// Runs a case with one runtime.
    ///
    /// # Errors
    /// It could not be run, which says nothing about the runtime.
    pub fn run(&self, case: &Case, peer: Peer) -> Result<Facts, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let (dir, cgroup) = (self.work.join(&name), self.cgroups.join(&name));
        let said = |error: std::io::Error| format!("{}: {error}", case.name);
        self.lay_out(case, peer, &dir).map_err(said)?;
        fs::create_dir_all(cgroup.join("runner")).map_err(said)?;
        let log = fs::File::create(dir.join("log")).map_err(said)?;
        // With an end of this program that nothing else sees, all that it has started ends, too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "bash"])
            .arg(folder().join("enter"))
            .args([&self.root, &dir, &cgroup, &self.runtime])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(said)?)
            .stderr(log)
            .spawn()
            .map_err(said)?;
        let ended = wait(child);
        remove_cgroups(&cgroup);
        let facts = Facts::read(&dir, case.commands.len()).map_err(|error| {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            format!("{} with {}: {error}; the script {ended}: {log}", case.name, peer.name())
        });
        if std::env::var_os("CLEAT_COMPARE_KEEP").is_none() {
            fs::remove_dir_all(&dir).map_err(said)?;
        }
        facts
    }

    /// What the script of `enter` finds at `/run/case`.
    fn lay_out(&self, case: &Case, peer: Peer, dir: &Path) -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::hard_link(self.work.join("template/rootfs/probe"), dir.join("probe"))?;
        hard_links(&self.work.join("template"), &dir.join("template"))?;
        fs::write(dir.join("config.json"), &case.config)?;
        if !case.files.is_empty() {
            fs::create_dir(dir.join("files"))?;
        }
        for (name, text) in &case.files {
            fs::write(dir.join("files").join(name), text)?;
        }
        for (number, command) in case.commands.iter().enumerate() {
            fs::write(dir.join(format!("step.{}", number + 1)), format!("{command}\n"))?;
        }
        let driver = fs::read_to_string(folder().join("driver"))?;
        let mut script = format!("RUNTIME={}\nLIMIT={COMMAND}\n{driver}\n{}\n", peer.program(), case.setup);
        for number in 1..=case.commands.len() {
            script += &format!("step {number}\n");
        }
        script += "ls -l /proc/self/ns >/run/case/namespaces\n";
        script += "find /sys/fs/cgroup -mindepth 1 -type d >/run/case/cgroups\n";
        script += "/run/case/probe left $W >/run/case/left.new && mv /run/case/left.new /run/case/left\n";
        fs::write(dir.join("script"), script)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        remove_cgroups(&self.cgroups);
        if std::env::var_os("CLEAT_COMPARE_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// What was left here by one of these programs that has been killed.
fn stale(dir: &Path) -> Vec<PathBuf> {
    let is_stale = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix(NAME).is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_stale).collect()
}

/// By another process: a descriptor that writes to a program could be inherited by what another thread starts (ETXTBSY).
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("cp {} {status}", from.display()))) }
}

/// The same tree, with the same files.
fn hard_links(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)?.flatten() {
        let (path, new) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() { hard_links(&path, &new)? } else { fs::hard_link(&path, &new)? }
    }
    Ok(())
}

/// Waits for the end of the script; what takes too long is ended, with all that it has started.
fn wait(mut child: Child) -> String {
    let end = Instant::now() + CASE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) if Instant::now() < end => std::thread::park_timeout(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return format!("was ended after {CASE:?}");
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// The controllers of cgroup v2 that are there.
pub(crate) fn controllers() -> Vec<String> {
    let file = cgroup_root().map(|root| root.join("cgroup.controllers"));
    let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Where the cgroup v2 tree is mounted.
fn cgroup_root() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let of = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4).map(PathBuf::from))?
    };
    text.lines().rev().filter_map(of).find(|path| path.starts_with("/sys/fs/cgroup"))
}

/// Removes cgroups whose processes have been killed, or kills them.
fn remove_cgroups(path: &Path) {
    let end = Instant::now() + Duration::from_secs(10);
    while path.exists() && Instant::now() < end {
        let _ = fs::write(path.join("cgroup.kill"), "1");
        remove_tree(path);
        if path.exists() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn remove_tree(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}
