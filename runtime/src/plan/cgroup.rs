//! Where is the container's cgroup, and what holds there?

use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::plan::host::Host;
use crate::spec;
use crate::spec::Spec;
use crate::sys::clean_path::clean;

use super::clone_flags::NEWCGROUP;
use super::clone_flags::NEWPID;
use super::devices;
use super::devices::Rule as DeviceRule;
use super::findings::Findings;
use super::namespaces::Namespaces;
use super::place::{Place, place};
use super::resources;
use super::resources::Limit;
use super::systemd;
use super::types::IdMap;
use super::types::IdMaps;
use super::types::Request;

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cgroup {
    /// Mount point of the v2 tree.
    pub mount: PathBuf,
    /// Relative to it, with a leading slash.
    pub path: PathBuf,
    /// The device allow-list; `None`: only root of the machine may set one. Then device nodes are
    /// unusable by `nodev` (see `Mount::nodev`).
    pub devices: Option<Vec<DeviceRule>>,
    /// What its processes may use, in order.
    pub limits: Vec<Limit>,
    /// Who may divide it further from inside, user and group: root of the user namespace.
    pub owner: Option<(u32, u32)>,
    /// The unit of systemd that it is; `None`: it is made without systemd.
    pub unit: Option<systemd::Unit>,
    /// Properties and options without which an ordinary user's container would do without.
    pub asked_by: Vec<String>,
}

impl Cgroup {
    /// What to do where this user may not make it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let delegate = "have one delegated (systemd: Delegate=yes)";
        match self.asked_by.as_slice() {
            [] => delegate.to_owned(),
            asked => format!("{delegate}, or leave out {}", asked.join(" and ")),
        }
    }
}

/// Decides on it; `None`: the container has none of its own.
pub(super) fn decide(
    request: &Request,
    spec: &Spec,
    host: &Host,
    namespaces: &Namespaces,
    limits: Vec<Limit>,
    findings: &mut Findings,
) -> Option<Cgroup> {
    let asked_by = asked_by(spec, host, &limits);
    let rules = devices::rules(&spec.linux.resources.devices, findings);
    // With a user namespace, too: a node of mode 666 in the image opens for root of any of them.
    let devices = (!host.rootless()).then_some(rules);
    if host.no_cgroups {
        without(&limits, namespaces, findings);
        return None;
    }
    if let Some(systemd) = &host.systemd {
        let mount = findings.keep(mount(host).map(Some));
        let asked = systemd::Asked {
            id: &request.id,
            path: &spec.linux.cgroups_path,
            annotations: &spec.annotations,
            limits: &limits,
            devices: devices.as_deref(),
        };
        let (unit, path) = systemd::decide(&asked, systemd, findings)?;
        let limits = bounded(spec, limits);
        return Some(Cgroup { mount: mount?, path, devices, limits, owner: None, unit: Some(unit), asked_by });
    }
    if asked_by.is_empty() && host.may_do_without_cgroup() && host.cgroup.delegated.is_none() {
        let orphans = if namespaces.has(NEWPID) {
            ""
        } else {
            ", and, without a pid namespace, processes that outlive its first one cannot be found"
        };
        // Root of a user namespace is an engine, which knows, and whose container gets our words on
        // its standard error.
        if host.euid != 0 || !host.in_user_namespace || !orphans.is_empty() {
            findings.warnings.push(format!(
                "no cgroup is delegated to user {}: the container has none of its own and cannot be paused{orphans}",
                host.euid
            ));
        }
        return None;
    }
    let (mount, path) = findings.keep(path(request, spec, host).map(Some))?;
    let limits = bounded(spec, limits);
    Some(Cgroup { mount, path, devices, limits, owner: None, unit: None, asked_by })
}

/// `--cgroup-manager disabled`: then nothing may be asked for that only a cgroup can hold.
fn without(limits: &[Limit], namespaces: &Namespaces, findings: &mut Findings) {
    let mut places: Vec<&str> =
        limits.iter().filter(|limit| limit.required).map(|limit| limit.place.as_str()).collect();
    // One property may be several files.
    places.dedup();
    let why = "wants a cgroup, and --cgroup-manager disabled makes none; leave one of them out";
    findings.problems.extend(places.into_iter().map(|place| Place::new(place.to_owned()).error(why)));
    if !namespaces.has(NEWPID) {
        findings.warnings.push(
            "--cgroup-manager disabled: without a cgroup and without a pid namespace, processes that outlive the \
             container's first one cannot be found"
                .into(),
        );
    }
}

/// The limits, and before them those of the tree that the container may make below.
fn bounded(spec: &Spec, limits: Vec<Limit>) -> Vec<Limit> {
    let mut all = resources::bounds(&spec.linux.resources);
    all.extend(limits);
    all
}

/// What asks for a cgroup of the container's own.
fn asked_by(spec: &Spec, host: &Host, limits: &[Limit]) -> Vec<String> {
    let path = Some("linux.cgroupsPath").filter(|_| !spec.linux.cgroups_path.is_empty());
    let option = Some("--rootless false").filter(|_| host.rootless_asked == crate::cli::Rootless::No);
    let limits = limits.iter().filter(|limit| limit.required).map(|limit| limit.place.as_str());
    let mut all: Vec<String> = path.into_iter().chain(limits).chain(option).map(str::to_owned).collect();
    // One property may be several files.
    all.dedup();
    all
}

/// Root of a new user namespace, where the container sees its own cgroup and may write there.
///
/// Source: runtime-spec config-linux.md § Control groups, "Cgroup ownership".
pub(super) fn owner(spec: &Spec, namespaces: &Namespaces, maps: Option<&IdMaps>) -> Option<(u32, u32)> {
    let writable = |mount: &spec::Mount| {
        let mut words = mount.options.iter().flat_map(|option| super::mount_options::words(option));
        (mount.kind == "cgroup" || mount.kind == "cgroup2") && !words.any(|word| word == "ro")
    };
    let root = |maps: &[IdMap]| maps.iter().find(|map| map.container_id == 0).map(|map| map.host_id);
    let maps = maps.filter(|_| namespaces.new & NEWCGROUP != 0 && spec.mounts.iter().any(writable))?;
    Some((root(&maps.uids)?, root(&maps.gids)?))
}

/// The mount point of the tree, and the container's place in it.
fn path(request: &Request, spec: &Spec, host: &Host) -> Result<(PathBuf, PathBuf)> {
    let path = &spec.linux.cgroups_path;
    let asked = place("linux.cgroupsPath");
    if leads_out(Path::new(path)) {
        return Err(asked.error(format_args!("{path:?} leads above where it begins")));
    }
    let mount = mount(host)?;
    // A relative path is relative to the parent of our own cgroup, which has processes in it and so cannot have
    // children with controllers. Or it is relative to where an ordinary user may make one.
    let beside = host.cgroup.own.parent().unwrap_or(Path::new("/"));
    let base = host.cgroup.delegated.as_deref().unwrap_or(beside);
    let relative = if path.is_empty() { &request.id } else { path };
    let full = clean(base, Path::new(relative));
    if full == Path::new("/") {
        return Err(asked.error("the root of the cgroup tree cannot be a container's"));
    }
    Ok((mount, full))
}

/// Whether a path leads above its own beginning on its way.
fn leads_out(path: &Path) -> bool {
    let mut depth = 0u32;
    path.components().any(|part| match part {
        Component::ParentDir => depth.checked_sub(1).map(|above| depth = above).is_none(),
        Component::Normal(_) => {
            depth += 1;
            false
        }
        Component::CurDir | Component::RootDir | Component::Prefix(_) => false,
    })
}

fn mount(host: &Host) -> Result<PathBuf> {
    host.cgroup.mount.clone().ok_or_else(|| {
        place("linux.cgroupsPath")
            .error("no cgroup v2 tree is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
            .remedy("mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_go_up_as_far_as_it_has_come_down() {
        for inside in ["", "/", "/a/../b", "a/./../b/..", "/a/b/../../c", "..a/b"] {
            assert!(!leads_out(Path::new(inside)), "{inside}");
        }
        for outside in ["..", "/..", "/a/../../b", "a/b/../../../c", "./../a"] {
            assert!(leads_out(Path::new(outside)), "{outside}");
        }
    }
}
