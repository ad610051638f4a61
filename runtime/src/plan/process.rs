//! What is a process and what may it do? For a container's first one and for those that join.

use cleat_plan as wire;
use cleat_plan::Text;

use super::findings::Findings;
use super::place::Place;
use super::place::place;
use super::place::text;
use super::place::texts;
use super::types::Request;
use super::{caps, label};
use crate::error::Result;
use crate::plan::host::Host;
use crate::spec;

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

/// The terminal of a process. (Without one its size is ignored: runtime-spec config.md § Process.)
pub(crate) fn terminal(process: &spec::Process, console: bool) -> Result<wire::Terminal> {
    let length = |name: &str, value: Option<u32>| {
        let place = place("process.consoleSize").at(name);
        let value = value.ok_or_else(|| place.error("is missing"))?;
        u16::try_from(value).map_err(|_| place.error(format_args!("{value} is not between 0 and {}", u16::MAX)))
    };
    let size = process.console_size.map(|size| Ok((length("height", size.height)?, length("width", size.width)?)));
    Ok(wire::Terminal { size: size.transpose()?, uid: process.user.uid, console })
}

pub(super) fn oom_score(score: i32) -> Result<i32> {
    if (-1000..=1000).contains(&score) {
        Ok(score)
    } else {
        Err(place("process.oomScoreAdj").error(format_args!("{score} is not between -1000 and 1000")))
    }
}

fn rlimits(list: &[spec::Rlimit], findings: &mut Findings) -> Vec<wire::Rlimit> {
    let mut seen = Vec::new();
    findings.each(list, |index, limit| {
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
    })
}

/// Most supplementary groups of a process (Linux include/uapi/linux/limits.h, `NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// To the kernel the largest number is no id: setresuid(2) takes it for "as it is", which is root.
fn check_ids(user: &spec::User) -> Result<()> {
    let groups = user.additional_gids.len();
    if groups > MAX_GROUPS {
        let what = format_args!("{groups} groups; the kernel takes {MAX_GROUPS}");
        return Err(place("process.user.additionalGids").error(what));
    }
    let extra = user.additional_gids.iter().enumerate().map(|(index, gid)| (format!("additionalGids[{index}]"), *gid));
    let ids = [("uid".to_owned(), user.uid), ("gid".to_owned(), user.gid)].into_iter().chain(extra);
    for (name, id) in ids {
        if id == u32::MAX {
            return Err(Place::new(format!("process.user.{name}"))
                .error(format_args!("{id} is no id"))
                .remedy("ids are 0 to 4294967294"));
        }
    }
    Ok(())
}

/// What a process is and may do: for a container's first one and for those that join.
pub(crate) fn process(
    process: &spec::Process,
    request: &Request,
    host: &Host,
    user_namespace: bool,
    findings: &mut Findings,
) -> wire::Process {
    if process.args.is_empty() {
        findings.problems.push(place("process.args").error("is empty").remedy("it names the program to run"));
    }
    if !process.cwd.starts_with('/') {
        findings.problems.push(place("process.cwd").error(format_args!("{:?} must be absolute", process.cwd)));
    }
    findings.keep(check_ids(&process.user));
    let (env, find_home) = environment(process, request, findings);
    let capabilities = process.capabilities.clone().unwrap_or_default();
    wire::Process {
        args: findings.keep(texts(&process.args)),
        env,
        find_home,
        cwd: findings.keep(text(&process.cwd)),
        uid: process.user.uid,
        gid: process.user.gid,
        // See `ids::groups`.
        groups: None,
        umask: process.user.umask.unwrap_or(0o022) & 0o777,
        caps: caps::sets(&capabilities, host, user_namespace, &mut findings.warnings),
        no_new_privileges: process.no_new_privileges,
        seccomp: None,
        apparmor: findings.keep(label::apparmor(process, host)),
        selinux: findings.keep(label::selinux(process, host)),
        rlimits: rlimits(&process.rlimits, findings),
        preserve_fds: request.preserve_fds.clone(),
        listen_fds: request.listen_fds,
    }
}

/// The environment, and whether `HOME` is not in it. (An empty one is none, as with runc.)
fn environment(process: &spec::Process, request: &Request, findings: &mut Findings) -> (Vec<Text>, bool) {
    let named = findings.each(&process.env, |index, var| match var.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok((name, var)),
        _ => {
            let place = Place::new(format!("process.env[{index}]"));
            Err(place.error(format_args!("{var:?} is not of the form NAME=value")))
        }
    });
    // The last one of a name holds, as everywhere.
    let mut names = std::collections::HashSet::with_capacity(process.env.len());
    let mut env: Vec<&String> = Vec::with_capacity(process.env.len());
    env.extend(named.iter().rev().filter(|(name, _)| names.insert(*name)).map(|(_, var)| *var));
    env.reverse();
    if request.notify_dir.is_some() {
        env.retain(|var| !var.starts_with("NOTIFY_SOCKET="));
    }
    if request.listen_fds.is_some() {
        env.retain(|var| !["LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="].iter().any(|name| var.starts_with(name)));
    }
    env.retain(|var| *var != "HOME=");
    let find_home = !env.iter().any(|var| var.starts_with("HOME="));
    let mut env = findings.keep(env.into_iter().map(text).collect::<Result<Vec<Text>>>());
    if request.notify_dir.is_some() {
        env.extend(text("NOTIFY_SOCKET=/run/notify/notify.sock"));
    }
    if let Some(names) = &request.listen_fdnames {
        env.extend(findings.keep(text(format!("LISTEN_FDNAMES={names}")).map(Some)));
    }
    (env, find_home)
}
