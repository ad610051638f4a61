//! Which namespaces, with which contents: clocks, names, kernel parameters?

use std::path::PathBuf;

use cleat_plan as wire;
use cleat_plan::Text;

use super::clone_flags::NAMESPACES;
use super::clone_flags::NEWIPC;
use super::clone_flags::NEWNET;
use super::clone_flags::NEWTIME;
use super::clone_flags::NEWUSER;
use super::clone_flags::NEWUTS;
use super::findings::Findings;
use super::place::Place;
use super::place::place;
use super::place::text;
use crate::error::Result;
use crate::spec;
use crate::spec::Spec;

/// Namespaces as config.json has them: made anew, or joined by path.
pub(super) struct Namespaces {
    pub(super) new: u64,
    pub(super) joined: Vec<(u64, PathBuf)>,
}

impl Namespaces {
    pub(super) fn decide(list: &[spec::Namespace], findings: &mut Findings) -> Namespaces {
        let mut seen = 0;
        let mut namespaces = Namespaces { new: 0, joined: Vec::new() };
        findings.each(list, |index, namespace| {
            let place = Place::new(format!("linux.namespaces[{index}]"));
            let Some((_, flag)) = NAMESPACES.iter().find(|(name, _)| *name == namespace.kind) else {
                let names: Vec<&str> = NAMESPACES.iter().map(|(name, _)| *name).collect();
                return Err(place.at("type").wrong(&namespace.kind, &names.join(", ")));
            };
            if seen & flag != 0 {
                return Err(place.at("type").error(format_args!("{:?} is there twice", namespace.kind)));
            }
            seen |= flag;
            if namespace.path.is_empty() {
                namespaces.new |= flag;
            } else if namespace.path.starts_with('/') {
                namespaces.joined.push((*flag, PathBuf::from(&namespace.path)));
            } else {
                return Err(place.at("path").error(format_args!("{:?} must be absolute", namespace.path)));
            }
            Ok(())
        });
        // The user namespace first: it gives the privilege to join what belongs to it.
        namespaces.joined.sort_by_key(|(flag, _)| *flag != NEWUSER);
        namespaces
    }

    pub(super) fn joins(&self, flag: u64) -> bool {
        self.joined.iter().any(|(kind, _)| *kind == flag)
    }

    pub(super) fn has(&self, flag: u64) -> bool {
        self.new & flag != 0 || self.joins(flag)
    }

    pub(super) fn all(&self) -> u64 {
        self.joined.iter().fold(self.new, |all, (flag, _)| all | flag)
    }
}

pub(super) fn time_offsets(spec: &Spec, namespaces: &Namespaces) -> Result<Option<wire::TimeOffsets>> {
    if namespaces.new & NEWTIME == 0 {
        return match spec.linux.time_offsets.keys().next() {
            Some(_) => Err(place("linux.timeOffsets")
                .error("needs a new time namespace")
                .remedy("add {\"type\": \"time\"} to linux.namespaces")),
            None => Ok(None),
        };
    }
    let mut offsets = wire::TimeOffsets::default();
    for (clock, offset) in &spec.linux.time_offsets {
        let place = Place::new(format!("linux.timeOffsets.{clock}"));
        if offset.nanosecs >= 1_000_000_000 {
            return Err(place.at("nanosecs").error("must be below 1000000000"));
        }
        let value = Some(wire::ClockOffset { secs: offset.secs, nanos: offset.nanosecs });
        match clock.as_str() {
            "monotonic" => offsets.monotonic = value,
            "boottime" => offsets.boottime = value,
            other => return Err(Place::new("linux.timeOffsets".into()).wrong(other, "monotonic, boottime")),
        }
    }
    Ok(Some(offsets))
}

pub(super) fn name_in_uts(name: &str, property: &str, namespaces: &Namespaces) -> Result<Option<Text>> {
    if name.is_empty() {
        return Ok(None);
    }
    if !namespaces.has(NEWUTS) {
        return Err(place(property).error("cannot be set without a uts namespace of the container's own"));
    }
    if name.len() > 64 {
        return Err(place(property).error("is longer than 64 bytes"));
    }
    text(name).map(Some)
}

/// Kernel parameters of an ipc namespace, besides those below `fs/mqueue`.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The namespace that a kernel parameter belongs to; `None`: to none, or to one in which it is not set.
fn namespace_of(sysctl: &str) -> Option<(u64, &'static str)> {
    match sysctl {
        path if IPC.contains(&path) || path.starts_with("fs/mqueue/") => Some((NEWIPC, "ipc")),
        path if path.starts_with("net/") => Some((NEWNET, "network")),
        "kernel/domainname" => Some((NEWUTS, "uts")),
        _ => None,
    }
}

/// What a plan would change on the host if the namespace of this kind were the host's: it may be
/// joined by path.
#[must_use]
pub fn reaches_host(plan: &wire::Plan, flag: u64) -> Option<String> {
    let names = [("hostname", &plan.hostname), ("domainname", &plan.domainname)];
    let name = names.iter().find(|(_, name)| flag == NEWUTS && name.is_some());
    let of_kind = |sysctl: &&wire::Sysctl| {
        let path = sysctl.path.to_str().unwrap_or_default();
        namespace_of(path).is_some_and(|(owner, _)| owner == flag)
    };
    match name {
        Some((name, _)) => Some((*name).to_owned()),
        None => plan.sysctl.iter().find(of_kind).map(|sysctl| {
            // As config.json has it.
            let exchange = |c| match c {
                '/' => '.',
                '.' => '/',
                c => c,
            };
            let key: String = sysctl.path.to_string_lossy().chars().map(exchange).collect();
            format!("sysctl {key:?}")
        }),
    }
}

/// Kernel parameters that belong to a namespace of the container; no others may be set.
pub(super) fn sysctls(spec: &Spec, namespaces: &Namespaces, findings: &mut Findings) -> Vec<wire::Sysctl> {
    let all: Vec<_> = spec.linux.sysctl.iter().collect();
    findings.each(&all, |_, (key, value)| {
        let place = Place::new(format!("linux.sysctl[{key:?}]"));
        // As sysctl(8): the separator that comes first is the separator.
        let path = match key.find(['.', '/']) {
            Some(at) if key.as_bytes().get(at) == Some(&b'.') => key
                .chars()
                .map(|c| match c {
                    '.' => '/',
                    '/' => '.',
                    c => c,
                })
                .collect(),
            _ => (*key).clone(),
        };
        let sane = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_graphic() && b != b'+')
        };
        if path.trim_end_matches('/') != path && path.trim_end_matches('/').split('/').all(sane) {
            return Err(place.error("is a directory of kernel parameters, and none of them"));
        }
        if !path.split('/').all(sane) {
            return Err(place.error("is not the name of a kernel parameter"));
        }
        let (flag, kind) = match namespace_of(&path) {
            Some(namespace) => namespace,
            None if path == "kernel/hostname" => return Err(place.error("set \"hostname\" instead")),
            None => return Err(place.error("is not in a separate kernel namespace: it would change the host")),
        };
        if !namespaces.has(flag) {
            return Err(place
                .error(format_args!("needs a {kind} namespace of the container's own, else it would change the host"))
                .remedy(
                    "add one to \
                 linux.namespaces",
                ));
        }
        Ok(wire::Sysctl { path: text(path)?, value: text(value)? })
    })
}
