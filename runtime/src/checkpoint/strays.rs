//! Have restored processes anything open that is not the container's?
//!
//! Images name files by their paths in the restored mount namespace, and what is the host's by keys that we
//! answer for. So there should be nothing; it is looked at all the same, before anything runs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cleat_plan::Root;
use nix::sys::stat::{FileStat, stat};

use crate::audit::MountPoints;
use crate::container::Container;
use crate::error::Result;
use crate::sys::path::Proc;

use super::external::Foreign;

/// Kinds of namespaces, by their files.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// What each process has that it should not have, in words.
///
/// # Errors
/// The first process cannot be looked at.
pub(super) fn find(container: &Container, root: &Root, processes: &[i32]) -> Result<Vec<String>> {
    let proc = Proc::open()?;
    let points = MountPoints::of(root, container.record.init_process_pid)?;
    let given: Vec<FileStat> = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/dev/null"]
        .iter()
        .filter_map(|path| stat(*path).ok())
        .collect();
    let ours = namespaces_of("self");
    let theirs = namespaces_of(&container.record.init_process_pid.to_string());
    let hosts: BTreeSet<PathBuf> = ours.difference(&theirs).cloned().collect();
    let mut all = Vec::new();
    for pid in processes {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for number in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if let Some(name) = stray(&proc, *pid, &number, &points, &given, &hosts) {
                all.push(format!("process {pid} has {} of the host open as {number}", name.display()));
            }
        }
    }
    Ok(all)
}

fn namespaces_of(process: &str) -> BTreeSet<PathBuf> {
    NAMESPACES.iter().filter_map(|kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()).collect()
}

fn stray(
    proc: &Proc,
    pid: i32,
    number: &str,
    points: &MountPoints,
    given: &[FileStat],
    hosts: &BTreeSet<PathBuf>,
) -> Option<PathBuf> {
    let file = format!("/proc/{pid}/fd/{number}");
    let name = std::fs::read_link(&file).ok()?;
    if hosts.contains(&name) {
        return Some(name);
    }
    let Foreign { name, stat: found, .. } = Foreign::of(proc, pid, number, points)?;
    let same = |other: &FileStat| {
        let same_device = found.st_rdev != 0 && other.st_rdev == found.st_rdev;
        same_device || (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino)
    };
    (!given.iter().any(same)).then_some(name)
}
