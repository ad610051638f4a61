//! `kill`: sends a signal to a container's first process.

use std::os::fd::AsFd;

use nix::sys::signal::Signal;

use crate::container::Status;
use crate::error::{Error, Kind, Result};
use crate::sys;

use super::{Shell, delete};

/// `kill`
///
/// # Errors
/// There is no such signal, or the container does not run. `all` makes the latter no error.
pub fn kill(shell: &Shell<'_>, id: &str, signal: &str, all: bool) -> Result<()> {
    let number = parse(signal)?;
    let container = shell.store.open(id)?;
    let status = container.status()?;
    let stopped = || Error::of(Kind::NotRunning, format!("container not running: {id}"));
    if !matches!(status, Status::Created | Status::Running | Status::Paused | Status::Checkpointing) {
        let others = number == Signal::SIGKILL as i32 && !container.record.ends_with_init();
        let others = others && container.cgroup().is_some_and(|own| own.processes().is_ok_and(|pids| !pids.is_empty()));
        return if all || others { kill_leftovers(&container, number) } else { Err(stopped()) };
    }
    // The first process of a pid namespace gets no signal that it has no handler for. As with runc, whose init has
    // some, these end a container that has not started.
    let ends = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGTERM];
    let ends = status == Status::Created && ends.iter().any(|signal| *signal as i32 == number);
    let number = if ends { Signal::SIGKILL as i32 } else { number };
    // Without a pid namespace of its own, its other processes would outlive the first one.
    if number == nix::libc::SIGKILL && !container.record.ends_with_init() {
        if container.record.cleat.cgroup.is_some() && container.cgroup().is_none() {
            let left = "its first process has left its cgroup, which is gone or another's";
            (shell.warn)(&format!("kill {id}: {left}: that process alone is killed, others of it are not known"));
        }
        return delete::kill_all(&container);
    }
    let Some(alive) = container.alive()? else { return Err(stopped()) };
    match sys::pidfd_send_signal(alive.pidfd.as_fd(), number) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::ESRCH) => Err(stopped()),
        Err(errno) => {
            Err(Error::new(format!("kill {id}: pidfd_send_signal {number}: {}", crate::error::errno_text(errno))))
        }
    }
}

/// Processes that outlived the first one, where pid namespaces are shared.
fn kill_leftovers(container: &crate::container::Container, number: i32) -> Result<()> {
    let cgroup = if container.has_ended_whole()? { None } else { container.cgroup() };
    match cgroup {
        Some(cgroup) if number == nix::libc::SIGKILL => cgroup.kill(),
        Some(cgroup) => {
            for pid in cgroup.processes()? {
                // Opened and asked again, so that a number that went to another process is left alone.
                let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
                if cgroup.processes()?.binary_search(&pid).is_ok() {
                    let _ = sys::pidfd_send_signal(pidfd.as_fd(), number);
                }
            }
            Ok(())
        }
        None => Ok(()),
    }
}

/// A signal's number, its name, or its name without `SIG`; real-time signals as `RTMIN+n` and `RTMAX-n`.
///
/// # Errors
/// There is no such signal.
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || Error::new(format!("unknown signal {text:?}")).remedy("use a number or a name such as TERM");
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    for (base, sign) in [("RTMIN", '+'), ("RTMAX", '-')] {
        let Some(rest) = name.strip_prefix(base) else { continue };
        let offset: i32 = match rest.strip_prefix(sign) {
            None if rest.is_empty() => 0,
            digits => digits.and_then(|n| n.parse().ok()).ok_or_else(unknown)?,
        };
        let number = if sign == '+' { 34 + offset } else { 64 - offset };
        return if (0..=30).contains(&offset) { Ok(number) } else { Err(unknown()) };
    }
    format!("SIG{name}").parse::<Signal>().map(|signal| signal as i32).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_number_or_a_name() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("0", 0),
            ("RTMIN+3", 37),
            ("64", 64),
            ("SIGRTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("rtmax-30", 34),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in
            ["", "SIG", "65", "-1", "NOPE", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMAX-31", "RTMAX-", "9999999999"]
        {
            assert!(parse(text).unwrap_err().to_string().contains("unknown signal"), "{text:?}");
        }
    }
}
