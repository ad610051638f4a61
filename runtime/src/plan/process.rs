//! What is a process and what may it do? For a container's first one and for those that join.

use cleat_plan as wire;
use cleat_plan::Text;

use super::{Place, Request, caps, place, text, texts};
use crate::config;
use crate::error::Result;
use crate::host::Host;

/// `RLIMIT_*` by their names without the prefix, in the kernel's order.
const RLIMITS: &[&str] = &[
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// The terminal of a process.
pub(crate) fn terminal(process: &config::Process, console: bool) -> wire::Terminal {
    let size =
        process.console_size.and_then(|size| Some((u16::try_from(size.height).ok()?, u16::try_from(size.width).ok()?)));
    wire::Terminal { size, uid: process.user.uid, console }
}

pub(super) fn oom_score(score: i32) -> Result<i32> {
    if (-1000..=1000).contains(&score) {
        Ok(score)
    } else {
        Err(place("process.oomScoreAdj").error(format_args!("{score} is not between -1000 and 1000")))
    }
}

fn rlimits(list: &[config::Rlimit]) -> Result<Vec<wire::Rlimit>> {
    let mut seen = Vec::new();
    let decide = |(index, limit): (usize, &config::Rlimit)| {
        let place = Place::new(format!("process.rlimits[{index}]"));
        let name = limit.kind.strip_prefix("RLIMIT_").unwrap_or("");
        let number = RLIMITS.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok());
        let resource = number.ok_or_else(|| {
            place.at("type").error(format_args!("{:?} is no limit of setrlimit(2), such as RLIMIT_NOFILE", limit.kind))
        })?;
        if seen.contains(&resource) {
            return Err(place.at("type").error(format_args!("{:?} is there twice", limit.kind)));
        }
        seen.push(resource);
        if limit.soft > limit.hard {
            return Err(place.error(format_args!("soft {} is above hard {}", limit.soft, limit.hard)));
        }
        Ok(wire::Rlimit { resource, soft: limit.soft, hard: limit.hard })
    };
    list.iter().enumerate().map(decide).collect()
}

/// What a process is and may do: for a container's first one and for those that join.
pub(crate) fn process(
    process: &config::Process,
    request: &Request,
    host: &Host,
    user_namespace: bool,
    warnings: &mut Vec<String>,
) -> Result<wire::Process> {
    if process.args.is_empty() {
        return Err(place("process.args").error("is empty; it names the program to run"));
    }
    if !process.cwd.starts_with('/') {
        return Err(place("process.cwd").error(format_args!("{:?} must be absolute", process.cwd)));
    }
    // The last one of a name holds, as everywhere.
    let mut names = std::collections::HashSet::with_capacity(process.env.len());
    let mut env: Vec<&String> = Vec::with_capacity(process.env.len());
    for (index, var) in process.env.iter().enumerate().rev() {
        match var.split_once('=') {
            Some((name, _)) if !name.is_empty() => {
                if names.insert(name) {
                    env.push(var);
                }
            }
            _ => {
                let place = Place::new(format!("process.env[{index}]"));
                return Err(place.error(format_args!("{var:?} is not of the form NAME=value")));
            }
        }
    }
    env.reverse();
    if request.notify_dir.is_some() {
        env.retain(|var| !var.starts_with("NOTIFY_SOCKET="));
    }
    if request.listen_fds.is_some() {
        env.retain(|var| !["LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="].iter().any(|name| var.starts_with(name)));
    }
    let find_home = !env.iter().any(|var| var.starts_with("HOME="));
    let mut env: Vec<Text> = env.into_iter().map(text).collect::<Result<_>>()?;
    if request.notify_dir.is_some() {
        env.push(text("NOTIFY_SOCKET=/run/notify/notify.sock")?);
    }
    if let Some(names) = &request.listen_fdnames {
        env.push(text(format!("LISTEN_FDNAMES={names}"))?);
    }
    let capabilities = process.capabilities.clone().unwrap_or_default();
    Ok(wire::Process {
        args: texts(&process.args)?,
        env,
        find_home,
        cwd: text(&process.cwd)?,
        uid: process.user.uid,
        gid: process.user.gid,
        // See `ids::groups`.
        groups: None,
        umask: process.user.umask.unwrap_or(0o022) & 0o777,
        caps: caps::sets(&capabilities, host, user_namespace, warnings),
        no_new_privileges: process.no_new_privileges,
        rlimits: rlimits(&process.rlimits)?,
        preserve_fds: request.preserve_fds,
        listen_fds: request.listen_fds,
    })
}
