//! `events`: what a container uses, again and again, and when the kernel OOM-killed a process.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde::Serialize;

use crate::cgroup::Cgroup;
use crate::cgroup::stats::Stats;
use crate::container::{Container, Status};
use crate::error::{Context, Error, Kind, Result};

use super::{Shell, print};

/// A duration as Go writes it: `5s`, `1m30s`, `500ms`.
///
/// # Errors
/// Anything else, and none at all.
pub fn parse_interval(text: &str) -> Result<Duration> {
    let wrong = || Error::new(format!("--interval {text:?}: not a duration above zero, such as 5s, 1m30s or 500ms"));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let units = [
            ("ms", Duration::from_millis(1)),
            ("us", Duration::from_micros(1)),
            ("ns", Duration::from_nanos(1)),
            ("s", Duration::from_secs(1)),
            ("m", Duration::from_secs(60)),
            ("h", Duration::from_secs(3600)),
        ];
        let (unit, one) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
        rest = &rest[unit.len()..];
        total = one.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

fn running(container: &Container) -> Result<bool> {
    Ok(matches!(container.status()?, Status::Created | Status::Running | Status::Paused | Status::Checkpointing))
}

/// One line, with runc's keys in runc's order.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

fn tell(event: &Event<'_>) -> Result<()> {
    let text = serde_json::to_string(event).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
    print(&format!("{text}\n"))
}

fn tell_stats(cgroup: &Cgroup, container: &Container) -> Result<()> {
    let mut stats = cgroup.stats();
    if let Some(rdt) = &container.record.cleat.rdt {
        stats.intel_rdt = rdt.stats();
    }
    tell(&Event { r#type: "stats", id: container.id(), data: Some(stats) })
}

/// `events`: with `once`, the use of now alone; else every `interval`, until the container ends.
///
/// # Errors
/// The container does not run or has no cgroup.
pub fn events(shell: &Shell<'_>, id: &str, interval: Duration, once: bool) -> Result<()> {
    let container = shell.store.open(id)?;
    let not_running = || Error::of(Kind::NotRunning, format!("container not running: {id}"));
    if !running(&container)? {
        return Err(not_running());
    }
    let cgroup =
        container.cgroup().ok_or_else(|| Error::new(format!("container {id} has no cgroup, which measures")))?;
    if once {
        return tell_stats(&cgroup, &container);
    }
    let alive = container.alive()?.ok_or_else(not_running)?;
    let memory = cgroup.memory_events().ok();
    let mut killed = cgroup.oom_kills();
    let mut next = Instant::now() + interval;
    loop {
        let mut fds = vec![PollFd::new(alive.pidfd.as_fd(), PollFlags::POLLIN)];
        fds.extend(memory.as_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)));
        let left = next.saturating_duration_since(Instant::now());
        // A little more than is left rather than less, lest it returns too early.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
        let ended = fds[0].any().unwrap_or(false);
        let kills = Cgroup::oom_kills_of(memory.as_ref());
        if kills > killed {
            killed = kills;
            tell(&Event { r#type: "oom", id, data: None })?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            tell_stats(&cgroup, &container)?;
            next += interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        assert_eq!(parse_interval("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_interval("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_interval("500ms").unwrap(), Duration::from_millis(500));
        for wrong in ["", "5", "0s", "s", "-1s", "5x", "1.5s", "99999999999h"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }
}
