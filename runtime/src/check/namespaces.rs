//! Can the namespaces be made and joined, and their ids be mapped?

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};

use super::Preflight;
use super::mount_view::is;
use crate::error::errno_text;
use crate::launch::idmap;
use crate::plan::{self, NAMESPACES, NEWUSER, kind_of};
use crate::probe::machine::namespace_file;
use crate::probe::subids::Range;
use crate::sys::query;

/// A namespace file, opened to be looked at: nothing that waits or acts when it is opened.
fn open(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let handle = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if is(&fstat(&handle)?, SFlag::S_IFREG) { nix::fcntl::open(path, flags, Mode::empty()) } else { Ok(handle) }
}

fn is_own(file: &FileStat, kind: &str) -> bool {
    let own = stat(format!("/proc/self/ns/{}", namespace_file(kind)).as_str());
    own.is_ok_and(|own| (own.st_dev, own.st_ino) == (file.st_dev, file.st_ino))
}

impl Preflight<'_> {
    /// `linux.namespaces`
    pub(super) fn check_namespaces(&mut self) {
        let list = &self.spec.linux.namespaces;
        for (index, namespace) in list.iter().enumerate() {
            let place = format!("linux.namespaces[{index}]");
            let known = NAMESPACES.iter().find(|(name, _)| *name == namespace.kind);
            let Some((kind, flag)) = known.filter(|_| !self.has_problem(&place)) else { continue };
            if namespace.path.is_empty() {
                self.check_new(&place, kind);
            } else {
                self.check_joined(&format!("{place}.path"), Path::new(&namespace.path), kind, *flag);
            }
        }
        let user = self.plan.host.namespaces & NEWUSER != 0;
        let privileged = self.survey.has_capability("CAP_SYS_ADMIN");
        if !user && !privileged && !self.has_problem("linux.namespaces") {
            let remedy = "run it as root, or add {\"type\": \"user\"} with linux.uidMappings and linux.gidMappings, as \
                          \"spec --rootless\" writes them";
            let what = "this process has no CAP_SYS_ADMIN, which namespaces need where there is no user namespace";
            self.problem("linux.namespaces", what, remedy);
        }
    }

    /// Whether this user can make one, which has been tried.
    pub(super) fn check_user_namespaces(&mut self) {
        if self.plan.host.id_maps.is_some() && self.survey.user_namespaces.works == Some(false) {
            let remedy = self.how_to_allow_user_namespaces();
            self.problem("linux.namespaces", "this user cannot make user namespaces", remedy);
        }
    }

    fn how_to_allow_user_namespaces(&self) -> &'static str {
        let user = &self.survey.user_namespaces;
        if user.limit == Some(0) {
            "sysctl user.max_user_namespaces=15000"
        } else if user.unprivileged_clone == Some(0) {
            "sysctl kernel.unprivileged_userns_clone=1"
        } else if user.apparmor_restricts == Some(1) {
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile with \"userns,\" for cleat"
        } else {
            "ask who runs this machine; a container around this process may forbid it"
        }
    }

    fn check_new(&mut self, place: &str, kind: &str) {
        let Some(offered) = self.survey.namespaces.iter().find(|n| n.kind == kind) else { return };
        if !offered.available {
            let what = format!("this kernel has no {kind} namespaces");
            self.problem(format!("{place}.type"), what, "boot another one, or remove it");
        } else if offered.limit == Some(0) {
            let name = format!("user.max_{}_namespaces", namespace_file(kind));
            let what = format!("{name} is 0: no {kind} namespace can be made");
            self.problem(format!("{place}.type"), what, format!("sysctl {name}=15000"));
        }
    }

    fn check_joined(&mut self, place: &str, path: &Path, kind: &str, flag: u64) {
        let shown = path.display();
        let file = match open(path) {
            Ok(file) => file,
            Err(errno) => {
                let remedy = "start what it belongs to, or correct the path";
                return self.problem(place, format!("{shown}: {}", errno_text(errno)), remedy);
            }
        };
        let remedy = format!("give the path of a {kind} namespace, such as /proc/PID/ns/{}", namespace_file(kind));
        match query::namespace_kind(file.as_fd()) {
            Err(_) => return self.problem(place, format!("{shown}: it is no namespace"), remedy),
            Ok(other) if other != flag => {
                let what = format!("{shown}: it is a {} namespace and no {kind} one", kind_of(other));
                return self.problem(place, what, remedy);
            }
            Ok(_) => {}
        }
        let Ok(stat) = fstat(&file) else { return };
        if kind == "user" && is_own(&stat, kind) {
            let what = format!("{shown}: it is this process's own, which cannot be joined again");
            self.problem(place, what, "remove it from linux.namespaces");
        }
        if !self.plan.host.net_devices.is_empty() && is_own(&stat, "network") {
            let what = format!("{shown}: it is the runtime's own, where the devices of linux.netDevices are already");
            self.problem(place, what, "remove linux.netDevices, or make a new namespace");
        }
        if let Some(setting) = plan::reaches_host(&self.plan.init, flag).filter(|_| is_own(&stat, kind)) {
            let what = format!("{shown}: {setting} not allowed in host {kind} namespace: this is the runtime's own");
            self.problem(place, what, format!("remove {setting}, or make a new namespace"));
        }
    }

    /// `linux.uidMappings` and `linux.gidMappings`, where newuidmap(1) and newgidmap(1) have to help.
    pub(super) fn check_id_maps(&mut self) {
        let (plan, survey) = (self.plan, self.survey);
        let Some(maps) = &plan.host.id_maps else { return };
        let (ids, privileges) = (&survey.ids, &survey.privileges);
        if maps.uids_delegated && !survey.has_capability("CAP_SETUID") {
            let others = idmap::others(&maps.uids, privileges.euid);
            self.check_delegation("uid", &others, &ids.subuid, ids.newuidmap.is_some());
        }
        if maps.gids_delegated && !survey.has_capability("CAP_SETGID") {
            let others = idmap::others(&maps.gids, privileges.egid);
            self.check_delegation("gid", &others, &ids.subgid, ids.newgidmap.is_some());
        }
    }

    fn check_delegation(&mut self, kind: &str, others: &[(u32, u32)], delegated: &[Range], helper: bool) {
        let place = format!("linux.{kind}Mappings");
        let user = &self.survey.ids.user;
        if !helper {
            let ids = idmap::list(others);
            let what = format!("host ids {ids} are not this user's own, and new{kind}map(1) is not in PATH");
            return self.problem(place, what, "install the package uidmap, or map the own id alone");
        }
        if self.survey.privileges.no_new_privileges {
            let what = format!("no_new_privs is set for cleat, and so new{kind}map(1) gets no privilege");
            return self.problem(place, what, "run cleat without (systemd: NoNewPrivileges=no)");
        }
        let missing = crate::probe::subids::missing(delegated, others);
        if let Some((first, size)) = missing.first() {
            let what = format!("/etc/sub{kind} does not delegate host ids {} to {user}", idmap::list(&missing));
            let remedy = format!("add a line to it: {user}:{first}:{size}");
            self.problem(place, what, remedy);
        }
    }
}
