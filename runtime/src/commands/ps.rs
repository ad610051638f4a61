//! `ps`: the processes of a container.

use std::process::Command;

use crate::error::{Context, Error, Result};

use super::{Shell, print};

/// `ps`: `arguments` go to ps(1), whose lines are filtered; JSON is an array of pids.
///
/// # Errors
/// The container has no cgroup, or ps(1) cannot be run.
pub fn ps(shell: &Shell<'_>, id: &str, json: bool, arguments: &[String]) -> Result<()> {
    let container = shell.store.open(id)?;
    let cgroup = container
        .cgroup()
        .ok_or_else(|| Error::new(format!("container {id} has no cgroup: its processes are not known")))?;
    let pids = cgroup.processes()?;
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

/// The header, and the lines whose PID column is one of `pids`.
fn filter(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_ascii_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Error::new("ps(1) printed no PID column; add pid to its options"))?;
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
