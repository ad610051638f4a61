//! Not in a container but outside: what is there when commands have ended, and what comes out of a terminal?

use std::fs;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::OpenptFlags;
use serde_json::{Map, Value, json};

use crate::facts;

/// The longest file that is shown as text.
const SHOWN: u64 = 200;

/// Every file at and below these paths, the mounts, and the names of all processes but this one.
pub(crate) fn left(paths: &[&str]) -> Value {
    let mut files = Map::new();
    for path in paths {
        below(Path::new(path), &mut files);
    }
    let own = std::process::id();
    let others = facts::pids().unwrap_or_default().into_iter().filter(|pid| *pid != own);
    let mut processes: Vec<_> = others.filter_map(|pid| facts::text(format!("/proc/{pid}/comm"))).collect();
    processes.sort();
    let mounts = facts::mounts().unwrap_or_default();
    let mounts: Vec<_> = mounts.into_iter().map(|mount| mount["target"].clone()).collect();
    json!({ "files": files, "processes": processes, "mounts": mounts })
}

fn below(path: &Path, files: &mut Map<String, Value>) {
    let Some(name) = path.to_str() else { return };
    let mut stat = facts::stat(name);
    if stat["type"] == "file" && stat["size"].as_u64().is_some_and(|size| size <= SHOWN) {
        stat["text"] = json!(facts::text(path));
    }
    let is_directory = stat["type"] == "directory";
    files.insert(name.to_owned(), stat);
    if is_directory {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            below(&entry.path(), files);
        }
    }
}

/// Waits for a terminal's master on a socket of its own, prints what the message said, and what comes out of it.
pub(crate) fn console(path: &str) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    let (stream, _) = listener.accept()?;
    let mut text = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(&stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let said = String::from_utf8_lossy(text.get(..received.bytes).unwrap_or_default()).into_owned();
    println!("{} descriptor for {said}", descriptors.len());
    let Some(master) = descriptors.first() else { return Ok(()) };
    print_all(master)
}

/// What comes out of a terminal. EIO is how it says that its last user has gone.
fn print_all(master: &OwnedFd) -> io::Result<()> {
    let mut text = [0; 4096];
    while let Ok(n @ 1..) = rustix::io::read(master, &mut text) {
        io::stdout().write_all(text.get(..n).unwrap_or_default())?;
        io::stdout().flush()?;
    }
    Ok(())
}

/// Runs a program on a new terminal, which is its controlling one, and prints what comes out; its exit code.
pub(crate) fn on_terminal(program: &[&str]) -> io::Result<u8> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).args(program);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let mut child = command.spawn()?;
    // Its copies of the terminal's other side.
    drop(command);
    print_all(&master)?;
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}
