//! How does this process enter other namespaces, and come back?
//!
//! Host half, with one thread. What it does there is one call or two: a child is born, a mount is
//! copied. Whatever goes wrong, it comes home: what is undone then is at home, too.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;

use crate::create::ChildGuard;
use crate::error::{Context, Error, Result, errno_text};
use crate::path::{Proc, open_dir};
use crate::sys::{self, Child};
use crate::wire::Conversation;

/// Namespaces by their files in `/proc/PID/ns`. Never a user namespace: there is no way back.
const FILES: &[(CloneFlags, &str)] = &[
    (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
    (CloneFlags::CLONE_NEWIPC, "ipc"),
    (CloneFlags::CLONE_NEWNS, "mnt"),
    (CloneFlags::CLONE_NEWNET, "net"),
    (CloneFlags::CLONE_NEWPID, "pid"),
    // CLONE_NEWTIME
    (CloneFlags::from_bits_retain(0x80), "time"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
];

/// A namespace to enter.
pub(crate) struct Wanted<'a> {
    /// `CLONE_NEW*`
    pub(crate) kind: u32,
    pub(crate) file: &'a OwnedFd,
    /// What it was opened from.
    pub(crate) path: &'a Path,
}

/// This process away from home; it goes back when this is dropped.
pub(crate) struct Visit {
    home: Vec<(CloneFlags, OwnedFd)>,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Visit {
    fn begin() -> Result<Visit> {
        let open = |path: &str| open_dir(Path::new(path)).context(format_args!("open {path}"));
        Ok(Visit { home: Vec::new(), root: open("/")?, cwd: open(".")? })
    }

    /// Notes the way back, then enters.
    fn enter_one(&mut self, proc: &Proc, kind: CloneFlags, namespace: &OwnedFd) -> Result<nix::Result<()>> {
        let (_, file) = FILES.iter().find(|(flag, _)| *flag == kind).ok_or_else(|| Error::new("no such namespace"))?;
        let home = proc
            .follow(&format!("{}/ns/{file}", std::process::id()), OFlag::O_RDONLY)
            .context(format_args!("open own {file} namespace"))?;
        self.home.push((kind, home));
        Ok(nix::sched::setns(namespace, kind))
    }

    /// Enters namespaces given by path, for a child that is to be born in them.
    ///
    /// # Errors
    /// One of them is of another kind, or belongs to a user namespace in which we have no privilege.
    pub(crate) fn enter<'a>(wanted: impl Iterator<Item = Wanted<'a>>) -> Result<Visit> {
        let proc = Proc::open()?;
        let mut visit = Visit::begin()?;
        for Wanted { kind, file, path } in wanted {
            let kind = CloneFlags::from_bits_retain(i32::try_from(kind).unwrap_or(0));
            visit.enter_one(&proc, kind, file)?.map_err(|errno| {
                let hint = match errno {
                    Errno::EINVAL => "; it is no namespace file of that type, or already this process's own",
                    Errno::EPERM => {
                        "; it belongs to a user namespace in which the caller has no privilege; join that one, too"
                    }
                    _ => "",
                };
                let place = format!("config.json: linux.namespaces: {}", path.display());
                Error::new(format!("{place}: setns: {}{hint}", errno_text(errno)))
            })?;
        }
        Ok(visit)
    }

    /// Enters the mount namespace of a child.
    ///
    /// # Errors
    /// The child is gone, or we have no privilege in its user namespace.
    pub(crate) fn enter_mounts_of(child: &Child) -> Result<Visit> {
        let proc = Proc::open()?;
        let mut visit = Visit::begin()?;
        // Our own root may not be that of the namespace; the child's is the same directory as ours.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let theirs = proc.follow(&format!("{}/root", child.pid), flags).context("open the child's root")?;
        visit
            .enter_one(&proc, CloneFlags::CLONE_NEWNS, &child.pidfd)?
            .context("setns into the container's mount namespace")?;
        nix::unistd::fchdir(&theirs).context("fchdir")?;
        nix::unistd::chroot(".").context("chroot")?;
        Ok(visit)
    }

    /// Goes home.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.go_home()
    }

    fn go_home(&mut self) -> Result<()> {
        let mut moved = false;
        while let Some((kind, home)) = self.home.pop() {
            moved |= kind == CloneFlags::CLONE_NEWNS;
            nix::sched::setns(&home, kind).context("setns back")?;
        }
        if moved {
            nix::unistd::fchdir(&self.root).context("fchdir")?;
            nix::unistd::chroot(".").context("chroot")?;
            nix::unistd::fchdir(&self.cwd).context("fchdir")?;
        }
        Ok(())
    }
}

/// Longest error that a copy of this process can tell.
const MAX_ERROR: usize = 4096;

/// Opens `count` files from inside the user and mount namespaces of a child, as the owner of that
/// user namespace. An ordinary user could not come back from there: a copy of this process goes.
/// It has all privileges there and still the caller's own id, which the namespace need not map.
///
/// # Errors
/// Those of `open`, which gets the number of the file, and of the way there.
pub(crate) fn open_as_owner(
    child: &Child,
    count: usize,
    open: impl Fn(usize) -> Result<OwnedFd>,
) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = Conversation::pair()?;
    let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    let enter = || -> Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let root = Proc::open()?.follow(&format!("{}/root", child.pid), flags).context("open the child's root")?;
        nix::sched::setns(&child.pidfd, both).context("setns into the container's user and mount namespaces")?;
        nix::unistd::fchdir(&root).context("fchdir")?;
        nix::unistd::chroot(".").context("chroot")
    };
    let theirs = Conversation::over(theirs);
    let copy = sys::in_copy(0, || {
        let work = || enter().and_then(|()| (0..count).try_for_each(|index| theirs.send_file(open(index)?.as_fd())));
        let outcome = work().or_else(|error| theirs.send_text(&error.to_string()));
        u8::from(outcome.is_err())
    });
    let copy = copy.map(ChildGuard::new).context("clone3")?;
    drop(theirs);
    let mut text = [0; MAX_ERROR];
    let files = (0..count).map(|_| match sys::receive(ours.as_fd(), &mut text).context("recvmsg")? {
        (1, mut fds) if fds.len() == 1 => fds.pop().ok_or_else(|| Error::new("no descriptor")),
        (0, _) => Err(Error::new("the process that opens mounts for the container has ended")),
        (length, _) => Err(Error::new(String::from_utf8_lossy(&text[..length]))),
    });
    let files = files.collect();
    drop(copy);
    files
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.go_home();
    }
}
