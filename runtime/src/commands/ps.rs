//! `ps`: the processes of a container.

use std::process::Command;

use crate::container::Container;
use crate::error::{Context, Error, Result};
use crate::plan::NEWPID;

use super::{Shell, print};

/// `ps`: `arguments` go to ps(1), whose lines are filtered; JSON is an array of pids.
///
/// # Errors
/// The container has neither a cgroup nor a pid namespace, or ps(1) cannot be run.
pub fn ps(shell: &Shell<'_>, id: &str, json: bool, arguments: &[String]) -> Result<()> {
    let pids = processes(&shell.store.open(id)?)?;
    if json {
        let text = serde_json::to_string(&pids).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
        return print(&format!("{text}\n"));
    }
    let default = ["-ef".to_owned()];
    let arguments = if arguments.is_empty() { &default[..] } else { arguments };
    let output = Command::new("ps").args(arguments).output().context("execute ps(1); --format json does without it")?;
    if !output.status.success() {
        return Err(Error::new(format!(
            "ps {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    print(&filter(&String::from_utf8_lossy(&output.stdout), &pids)?)
}

/// The pids of a container's processes, as the caller sees them.
///
/// # Errors
/// The container has neither a cgroup nor a pid namespace.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    if container.has_ended_whole()? {
        return Ok(Vec::new());
    }
    match container.cgroup() {
        Some(cgroup) => cgroup.processes(),
        None if container.record.cleat.namespaces & NEWPID != 0 => in_pid_namespace(container),
        None => Err(Error::new(format!(
            "container {} has neither a cgroup nor a pid namespace of its own: its processes are not known",
            container.id()
        ))),
    }
}

/// The processes in the pid namespace of the container's first one; none when that is gone. Those
/// in namespaces below it are not found: they would have to be asked for their parents one by one.
fn in_pid_namespace(container: &Container) -> Result<Vec<i32>> {
    let first = container.record.init_process_pid;
    if container.alive()?.is_none() {
        return Ok(Vec::new());
    }
    let namespace = |pid: i32| {
        // Another user's process is none of this container.
        let link = nix::sys::stat::stat(&*format!("/proc/{pid}/ns/pid")).ok()?;
        Some((link.st_dev, link.st_ino))
    };
    let wanted = namespace(first).ok_or_else(|| Error::new(format!("stat /proc/{first}/ns/pid: no permission")))?;
    let entries = std::fs::read_dir("/proc").context("read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut ours: Vec<i32> = pids.filter(|pid| namespace(*pid) == Some(wanted)).collect();
    ours.sort_unstable();
    Ok(ours)
}

/// The header, and the lines whose PID column is one of `pids`.
fn filter(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_ascii_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::new("ps(1) printed no PID column").remedy("add pid to its options"))?;
    let ours = lines.filter(|line| {
        line.split_ascii_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
    });
    Ok(std::iter::once(header).chain(ours).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let text = "UID   PID CMD\nroot    1 init\nroot   12 sh\n";
        assert_eq!(filter(text, &[12]).unwrap(), "UID   PID CMD\nroot   12 sh\n");
        assert!(filter("CMD\nsh\n", &[1]).is_err());
    }
}
