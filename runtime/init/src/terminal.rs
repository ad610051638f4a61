//! How does the container get its terminal?
//!
//! Master and slave come from the container's own devpts, verified by descriptor; the slave is
//! taken from the master (`TIOCGPTPEER`), never by its name (CVE-2025-52565, CVE-2026-88264).

use cleat_plan::wire::FromInit;
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::OpenTreeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::Init;
use crate::error::{Call, Error, Result};
use crate::mount_api::attach;
use crate::path::{self, Make};
use crate::sys;

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Opens the pair, sends the master to the host half and makes the slave our standard streams. `root`
/// is the root while it is not yet entered.
pub(crate) fn open(init: &mut Init, root: Option<&OwnedFd>) -> Result<()> {
    let Some(terminal) = init.plan.terminal else { return Ok(()) };
    let slash;
    let root = if let Some(root) = root {
        root
    } else {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        slash = rustix::fs::open(c"/", flags, Mode::empty()).call_on("open", c"/")?;
        &slash
    };
    let master = open_master(root)?;
    rustix::pty::unlockpt(&master).call("ioctl TIOCSPTLCK")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call("ioctl TIOCGPTPEER")?;
    if let Some((rows, columns)) = terminal.size {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size).call("ioctl TIOCSWINSZ")?;
    }
    if terminal.uid != 0 {
        let uid = Some(Uid::from_raw(terminal.uid));
        rustix::fs::fchown(&slave, uid, None::<Gid>).call_on("fchown", c"/dev/console")?;
    }
    if terminal.console {
        bind_console(root, &slave)?;
    }
    init.host.send_with_fd(&FromInit::Console, master.as_fd())?;
    (0..3).try_for_each(|stream| sys::dup_onto(&slave, stream).call("dup3"))
}

/// Makes what the standard streams are this process's controlling terminal; its session is new.
pub(crate) fn control() -> Result<()> {
    rustix::process::ioctl_tiocsctty(sys::stdin()).call("ioctl TIOCSCTTY")
}

/// `/dev/pts/ptmx`: a link or another device in its place is an attack or a missing mount.
fn open_master(root: &OwnedFd) -> Result<OwnedFd> {
    let path = c"/dev/pts/ptmx";
    let hint = "a terminal needs a devpts mounted at /dev/pts";
    let handle = path::find_nofollow(root, path).call_on("openat2", path).map_err(|e| e.hint(hint))?;
    let stat = rustix::fs::fstat(&handle).call_on("fstat", path)?;
    let magic = rustix::fs::fstatfs(&handle).call_on("fstatfs", path)?.f_type;
    let is_ptmx = stat.st_mode & raw::S_IFMT == raw::S_IFCHR && stat.st_rdev == rustix::fs::makedev(5, 2);
    if !is_ptmx || u64::try_from(magic) != Ok(DEVPTS_SUPER_MAGIC) {
        return Err(Error::refused("open", path.to_bytes(), hint));
    }
    // The parent's handle, so that what is opened is what was verified: devpts does not rename.
    let dir = path::find_nofollow(root, c"/dev/pts").call_on("openat2", path)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(&dir, c"ptmx", flags, Mode::empty()).call_on("open", path)?;
    let opened = rustix::fs::fstat(&master).call_on("fstat", path)?;
    if opened.st_dev != stat.st_dev || opened.st_rdev != stat.st_rdev {
        return Err(Error::refused("open", path.to_bytes(), "it was exchanged while it was opened"));
    }
    Ok(master)
}

/// The slave on `/dev/console`, found without following a link.
fn bind_console(root: &OwnedFd, slave: &OwnedFd) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(slave, c"", flags).call_on("open_tree", c"/dev/console")?;
    let target = path::find_or_make_nofollow(root, c"/dev/console", Make::File)?;
    attach(tree.as_fd(), target.as_fd()).call_on("move_mount", c"/dev/console")
}
