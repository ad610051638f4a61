//! Who is an ordinary user, and what was delegated to that user?
//!
//! Nothing of the host's `/etc` is touched: entries of subuid(5) are seen by the runtime under test
//! alone, in a mount namespace of its own. Delegated cgroups are made by root as systemd makes
//! them (Linux cgroup-v2.rst, "Delegation") and removed with the value.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroups::remove_cgroup_when_empty;
use crate::host::cgroup_root;
use crate::temp::unique_name;
use crate::wait::eventually;

/// A uid that nobody has, and a group of the same number.
#[must_use]
pub fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    60_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 1000
}

/// Gives everything in `path` to a user and the group of the same number.
///
/// # Panics
/// Without `CAP_CHOWN`.
pub fn give(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|_| is_dir) {
        give(&entry.path(), uid);
    }
}

/// A script that lays `/etc/passwd`, `/etc/subuid` and `/etc/subgid` of the test's own over the
/// host's: the user has a name there, and `lines` of both files.
pub(crate) fn etc_of(dir: &Path, uid: u32, lines: &str) -> String {
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let entry = format!("alice:x:{uid}:{uid}::/nonexistent:/bin/sh\n");
    fs::write(etc.join("passwd"), passwd + &entry).expect("passwd");
    for file in ["subuid", "subgid"] {
        fs::write(etc.join(file), lines).expect("subuid");
    }
    format!("mount -t overlay overlay -o ro,lowerdir={}:/etc /etc", etc.display())
}

/// A user namespace of an ordinary user with further ids, as a rootless engine makes one; gone with the value.
#[derive(Debug)]
pub struct EngineNamespace {
    holder: Child,
    uid: u32,
}

impl EngineNamespace {
    /// Its root is the user, the other ids are those from 100000 on.
    ///
    /// # Panics
    /// Without `unshare(1)`, or when the ids cannot be mapped.
    #[must_use]
    pub fn new(uid: u32) -> Self {
        let id = uid.to_string();
        let user = ["--reuid", &id, "--regid", &id, "--clear-groups", "--", "unshare", "--user"];
        let mut command = Command::new("setpriv");
        command.args(user).args(["sh", "-c", "echo made; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("setpriv(1)");
        let mut word = [0; 5];
        holder.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("unshare(1) makes a user namespace");
        for map in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{map}", holder.id());
            fs::write(&path, format!("0 {uid} 1\n1 100000 65535\n")).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        Self { holder, uid }
    }

    /// Who its root is outside.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// What the kernel calls it, such as `user:[4026531837]`.
    #[must_use]
    pub fn link(&self) -> String {
        let link = fs::read_link(format!("/proc/{}/ns/user", self.holder.id())).expect("a namespace");
        link.to_string_lossy().into_owned()
    }

    /// The words that have its root run a program.
    pub(crate) fn entry(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        // With mounts of its own, as an engine has them: without it could not unmount anything.
        let enter = ["nsenter", "--user", "--setuid", "0", "--setgid", "0", "--target", &pid];
        let words = enter.into_iter().chain(["unshare", "--mount", "--propagation", "slave"]);
        words.map(str::to_owned).collect()
    }
}

impl Drop for EngineNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A cgroup that belongs to a user, as a service manager delegates one.
#[derive(Debug)]
pub struct DelegatedCgroup {
    path: PathBuf,
}

impl DelegatedCgroup {
    /// At the top of the tree.
    #[must_use]
    pub fn new(uid: u32) -> Self {
        Self::at(cgroup_root().join(unique_name()), uid)
    }

    /// One below it, of the same user.
    #[must_use]
    pub fn below(&self, name: &str, uid: u32) -> Self {
        Self::at(self.path.join(name), uid)
    }

    fn at(path: PathBuf, uid: u32) -> Self {
        fs::create_dir(&path).unwrap_or_else(|error| panic!("mkdir {}: {error}", path.display()));
        let own = |path: &Path| lchown(path, Some(uid), Some(uid)).expect("chown of a cgroup");
        own(&path);
        let files = fs::read_to_string("/sys/kernel/cgroup/delegate").expect("/sys/kernel/cgroup/delegate");
        for file in files.lines().map(|file| path.join(file)).filter(|file| file.exists()) {
            own(&file);
        }
        Self { path }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cgroups in it.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn children(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("the delegated cgroup");
        let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for DelegatedCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        remove_cgroup_when_empty(&self.path);
    }
}

/// A user of this guest whose manager stays when nobody is logged in; gone with the value.
#[derive(Debug)]
pub struct Lingering {
    name: String,
    uid: u32,
}

impl Lingering {
    /// # Panics
    /// Where systemd is not the init.
    #[must_use]
    pub fn new(uid: u32) -> Self {
        let name = format!("user{uid}");
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().expect(program);
            assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        // One of another chapter in the same guest may be there still, whose processes had not ended.
        if !Command::new("id").args(["--user", &name]).output().is_ok_and(|known| known.status.success()) {
            run("useradd", &["--uid", &uid.to_string(), "--user-group", "--no-create-home", &name]);
        }
        run("loginctl", &["enable-linger", &name]);
        let user = Self { name, uid };
        eventually("the user's systemd", || {
            let socket = user.runtime_dir().join("systemd/private");
            socket.exists().then_some(()).ok_or_else(|| format!("no {}", socket.display()))
        });
        user
    }

    /// His `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        format!("/run/user/{}", self.uid).into()
    }

    /// His manager's cgroup.
    #[must_use]
    pub fn manager(&self) -> String {
        format!("/user.slice/user-{0}.slice/user@{0}.service", self.uid)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let _ = Command::new("loginctl").args(["disable-linger", &self.name]).output();
        let _ = Command::new("systemctl").args(["stop", &format!("user@{}.service", self.uid)]).output();
    }
}
