//! Can the container have its cgroup?

use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::Preflight;
use crate::cgroup::Cgroup;
use crate::cgroup::limits::CONTROLLERS;
use crate::error::errno_text;
use crate::plan;
use crate::plan::cgroup_path::directory;
use crate::probe::machine::{number, read};

const PLACE: &str = "linux.cgroupsPath";

impl Preflight<'_> {
    /// Its cgroup, which `create` makes or finds empty.
    pub(super) fn check_cgroup(&mut self) {
        let plan = self.plan;
        let Some(wanted) = &plan.host.cgroup else { return };
        let full = directory(&wanted.mount, &wanted.path);
        if let (Some(unit), Some(systemd)) = (&wanted.unit, &self.host.systemd) {
            if full.exists() && !self.spec.linux.cgroups_path.is_empty() {
                let remedy = format!("choose another, or stop that one: systemctl stop {}", unit.name);
                self.problem(PLACE, format!("unit {} is there already", unit.name), remedy);
            }
            return self.check_manager(&directory(&wanted.mount, &systemd.cgroup));
        }
        let mut problems = Vec::new();
        if full.exists() {
            // Without a path of its own the container's id decides, which is not known here.
            if !self.spec.linux.cgroups_path.is_empty() {
                problems.extend(problem_of_existing(&wanted.mount, &wanted.path, &full));
            }
            problems.extend(problem_of_processes(&full));
        } else {
            problems.extend(problem_of_parent(wanted, &full));
        }
        let place = wanted.asked_by.first().filter(|_| self.spec.linux.cgroups_path.is_empty());
        let place = place.filter(|place| place.starts_with("linux.")).map_or(PLACE, String::as_str);
        for (what, remedy) in problems {
            self.problem(place, format!("cgroup {}: {what}", full.display()), remedy);
        }
        self.check_controllers(&full);
    }

    /// Limits whose controllers systemd has not got itself, where it is the user's.
    fn check_manager(&mut self, manager: &Path) {
        let plan = self.plan;
        let there = read(manager.join("cgroup.controllers")).unwrap_or_default();
        let limits = plan.host.cgroup.iter().flat_map(|cgroup| &cgroup.limits);
        for limit in limits.filter(|limit| limit.required && CONTROLLERS.contains(&limit.controller.as_str())) {
            if !there.split_ascii_whitespace().any(|known| known == limit.controller) {
                let what = format!("the {} controller is not to be had in {}", limit.controller, manager.display());
                let remedy = format!(
                    "have it delegated: systemctl edit user@.service, Delegate={there}",
                    there = limit.controller
                );
                self.problem(limit.place.clone(), what, remedy);
            }
        }
    }

    /// Limits whose controllers the container's cgroup will not get.
    fn check_controllers(&mut self, full: &Path) {
        let plan = self.plan;
        let Some(parent) = full.ancestors().skip(1).find(|dir| dir.exists()) else { return };
        let list = |file: &str| read(parent.join(file)).unwrap_or_default();
        let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|known| known == name);
        let (there, enabled) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
        // The root of the tree has no type; that of a cgroup namespace has one.
        let is_busy = parent.join("cgroup.type").exists() && !list("cgroup.procs").is_empty();
        let may_enable = crate::probe::machine::may(&parent.join("cgroup.subtree_control"), AccessFlags::W_OK).is_ok();
        let shown = parent.display();
        let limits = plan.host.cgroup.iter().flat_map(|cgroup| &cgroup.limits);
        for limit in limits.filter(|limit| limit.required && CONTROLLERS.contains(&limit.controller.as_str())) {
            let name = &limit.controller;
            let enable = format!("echo +{name} > {shown}/cgroup.subtree_control");
            let (what, remedy) = if has(&enabled, name) {
                continue;
            } else if !has(&there, name) {
                (
                    format!("{shown} has no {name} controller"),
                    "enable it in the cgroups above, or remove the limit".into(),
                )
            } else if is_busy {
                let what = format!("processes live in {shown}, so its cgroups get no {name} controller");
                (what, format!("move them, then: {enable}"))
            } else if !may_enable {
                (format!("this user may not enable the {name} controller in {shown}"), format!("enable it: {enable}"))
            } else {
                continue;
            };
            self.problem(limit.place.clone(), what, remedy);
        }
    }
}

type Refusal = (String, String);

fn refusal(problem: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    (problem.into(), remedy.into())
}

/// runtime-spec config-linux.md § Control groups: a cgroup that cannot serve is an error.
fn problem_of_existing(mount: &Path, path: &Path, full: &Path) -> Option<Refusal> {
    let cgroup = match Cgroup::open(mount, path) {
        Ok(cgroup) => cgroup,
        Err(errno) => return Some(refusal(format!("open: {}", errno_text(errno)), "choose another")),
    };
    if cgroup.freezes().unwrap_or(false) {
        return Some(refusal("is frozen", format!("thaw it: echo 0 > {}/cgroup.freeze", full.display())));
    }
    if cgroup.populated().unwrap_or(false) {
        let remedy = "another container or service lives there, choose another linux.cgroupsPath";
        return Some(refusal("is not empty", remedy));
    }
    // cgroup-v2.rst, "No Internal Process Constraint".
    if read(full.join("cgroup.subtree_control")).is_some_and(|list| !list.trim().is_empty()) {
        return Some(refusal(
            "has controllers enabled for its children, so no process may live in it",
            "choose another",
        ));
    }
    None
}

/// Whether this process may put others there.
fn problem_of_processes(full: &Path) -> Option<Refusal> {
    let errno = crate::probe::machine::may(&full.join("cgroup.procs"), AccessFlags::W_OK).err()?;
    Some(refusal(
        format!("this user may not put processes there: {}", errno_text(errno)),
        "have it delegated, or choose another linux.cgroupsPath",
    ))
}

/// The nearest cgroup above that is there, and whether more can be made in it.
fn problem_of_parent(wanted: &plan::Cgroup, full: &Path) -> Option<Refusal> {
    let parent: PathBuf = full.ancestors().skip(1).find(|dir| dir.exists())?.to_path_buf();
    let shown = parent.display();
    if let Err(errno) = crate::probe::machine::may(&parent, AccessFlags::W_OK | AccessFlags::X_OK) {
        return Some(refusal(format!("it cannot be made in {shown}: {}", errno_text(errno)), wanted.remedy()));
    }
    if parent == wanted.mount {
        return None;
    }
    let events = read(parent.join("cgroup.events")).unwrap_or_default();
    if events.lines().any(|line| line == "frozen 1") {
        return Some(refusal(format!("{shown} is frozen, and so would it be"), "thaw that"));
    }
    limit_above(&wanted.mount, &parent, full)
}

/// `cgroup.max.descendants` and `cgroup.max.depth` of those above.
fn limit_above(mount: &Path, parent: &Path, full: &Path) -> Option<Refusal> {
    let missing = u64::try_from(full.strip_prefix(parent).ok()?.iter().count()).ok()?;
    for above in parent.ancestors().take_while(|dir| *dir != mount) {
        let stat = read(above.join("cgroup.stat")).unwrap_or_default();
        let descendants = stat.lines().find_map(|line| line.strip_prefix("nr_descendants ")?.parse::<u64>().ok());
        let depth = u64::try_from(full.strip_prefix(above).ok()?.iter().count()).ok()?;
        let most = number(above.join("cgroup.max.descendants"));
        if most.zip(descendants).is_some_and(|(most, now)| now + missing > most)
            || number(above.join("cgroup.max.depth")).is_some_and(|most| depth > most)
        {
            let remedy = "raise its cgroup.max.descendants and cgroup.max.depth, or choose another linux.cgroupsPath";
            return Some(refusal(format!("{} allows no more cgroups below it", above.display()), remedy));
        }
    }
    None
}
