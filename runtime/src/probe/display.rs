//! How does `cleat check` print a machine for people?

use std::fmt::{self, Display, Formatter};

use crate::probe::machine::Survey;
use crate::probe::subids::Range;

/// Where the second column begins.
pub(crate) const WIDTH: usize = 26;

/// A line of two columns.
pub(crate) fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<WIDTH$}{value}")
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    let words: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn yes_or_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

/// A limit, of which the highest number is none.
fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

fn ranges(list: &[Range]) -> String {
    let text = |range: &Range| format!("{}-{}", range.first, range.first.saturating_add(range.count - 1));
    if list.is_empty() { "nothing".to_owned() } else { list.iter().map(text).collect::<Vec<_>>().join(", ") }
}

impl Display for Survey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kernel(f)?;
        self.namespaces(f)?;
        self.cgroup(f)?;
        self.security(f)?;
        self.user(f)?;
        self.limits(f)
    }
}

impl Survey {
    fn kernel(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "kernel", format_args!("{}, {}", self.kernel.release, self.kernel.machine))?;
        for feature in &self.kernel.features {
            let (name, since) = (feature.name, feature.since);
            let answer = match feature.available {
                Some(true) => "yes".to_owned(),
                Some(false) => format!("no: {} ({})", feature.without, feature.used_for),
                None => "cannot be seen from here".to_owned(),
            };
            writeln!(f, "  {name:<42}{since:<22}{answer}")?;
        }
        match self.memfd_noexec {
            Some(value) if value > 0 => line(f, "vm.memfd_noexec", value),
            _ => Ok(()),
        }
    }

    fn namespaces(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = |wanted: bool| -> Vec<&str> {
            self.namespaces.iter().filter(|n| n.available == wanted).map(|n| n.kind).collect()
        };
        line(f, "namespaces", list(&names(true)))?;
        if !names(false).is_empty() {
            line(f, "  not in this kernel", list(&names(false)))?;
        }
        line(f, "  at most", self.namespace_limits())?;
        let user = &self.user_namespaces;
        let refused = [
            (user.limit == Some(0), "user.max_user_namespaces is 0"),
            (user.unprivileged_clone == Some(0), "kernel.unprivileged_userns_clone is 0"),
            (user.apparmor_restricts == Some(1), "kernel.apparmor_restrict_unprivileged_userns is 1"),
        ];
        let refused: Vec<&str> = refused.iter().filter(|(is_so, _)| *is_so).map(|(_, why)| *why).collect();
        match (user.works, refused.as_slice()) {
            (Some(true), _) => line(f, "  for ordinary users", "this user can make user namespaces"),
            (Some(false), []) => line(f, "  for ordinary users", "this user cannot make user namespaces"),
            (_, []) => line(f, "  for ordinary users", "nothing forbids user namespaces"),
            (_, why) => line(f, "  for ordinary users", format_args!("no user namespaces: {}", why.join(", "))),
        }
    }

    fn namespace_limits(&self) -> String {
        let limits: Vec<(&str, u64)> = self.namespaces.iter().filter_map(|n| Some((n.kind, n.limit?))).collect();
        match limits.first() {
            Some((_, first)) if limits.iter().all(|(_, limit)| limit == first) => format!("{first} of each kind"),
            _ => limits.iter().map(|(kind, limit)| format!("{kind} {limit}")).collect::<Vec<_>>().join(", "),
        }
    }

    fn cgroup(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cgroup = &self.cgroup;
        let Some(mount) = &cgroup.mount else {
            return line(f, "cgroup v2", "not mounted");
        };
        line(f, "cgroup v2", mount.display())?;
        line(f, "  own cgroup", cgroup.own.display())?;
        let delegated = if cgroup.delegated { "this user may make some" } else { "this user may make none" };
        line(f, "  containers' cgroups", format_args!("below {}, {delegated}", cgroup.parent.display()))?;
        line(f, "  controllers there", list(&cgroup.controllers))?;
        line(f, "  enabled for them", list(&cgroup.enabled))?;
        if cgroup.bound_to_v1.is_empty() {
            return Ok(());
        }
        line(f, "  bound to cgroup v1", format_args!("{}: not for containers", list(&cgroup.bound_to_v1)))
    }

    fn security(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let security = &self.security;
        line(f, "security modules", list(&security.modules))?;
        line(f, "  AppArmor", yes_or_no(security.apparmor))?;
        let selinux = match (security.selinux, security.selinux_enforcing) {
            (false, _) => "no",
            (true, true) => "enforcing",
            (true, false) => "permissive",
        };
        line(f, "  SELinux", selinux)?;
        let resctrl = match (self.resctrl.mounted, self.resctrl.available) {
            (true, _) => "mounted at /sys/fs/resctrl",
            (false, true) => "not mounted: mount -t resctrl resctrl /sys/fs/resctrl",
            (false, false) => "not in this kernel or processor",
        };
        line(f, "resctrl", resctrl)
    }

    fn user(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let privileges = &self.privileges;
        let inside = if privileges.in_user_namespace { ", in a user namespace" } else { "" };
        line(f, "this user", format_args!("{} ({}){inside}", privileges.euid, self.ids.user))?;
        let missing = &privileges.missing_capabilities;
        let missing = if privileges.capabilities == 0 { "all".to_owned() } else { list(missing) };
        line(f, "  missing capabilities", missing)?;
        if privileges.no_new_privileges {
            line(f, "  no_new_privs", "set: newuidmap(1) gets no privileges")?;
        }
        if privileges.euid == 0 && !privileges.in_user_namespace {
            return Ok(());
        }
        let ids = &self.ids;
        line(f, "  delegated ids", format_args!("users {}; groups {}", ranges(&ids.subuid), ranges(&ids.subgid)))?;
        let helper = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map_or_else(|| "missing".to_owned(), |path| path.display().to_string())
        };
        let (users, groups) = (helper(&ids.newuidmap), helper(&ids.newgidmap));
        line(f, "  mapped by", format_args!("newuidmap {users}; newgidmap {groups}"))
    }

    fn limits(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let limits = &self.limits;
        let pair = |pair: Option<(u64, u64)>| {
            pair.map_or_else(|| "not known".to_owned(), |(soft, hard)| format!("{} of {}", limit(soft), limit(hard)))
        };
        line(f, "limits", format_args!("open files {}, processes {}", pair(limits.nofile), pair(limits.nproc)))?;
        let number = |value: Option<u64>| value.map_or_else(|| "not known".to_owned(), |value| value.to_string());
        line(
            f,
            "  of the machine",
            format_args!("pids {}, threads {}", number(limits.pid_max), number(limits.threads_max)),
        )?;
        for above in &limits.pids {
            let current = above.current.map(|n| format!(", {n} in use")).unwrap_or_default();
            line(f, "  pids.max", format_args!("{} in {}{current}", above.max, above.cgroup.display()))?;
        }
        Ok(())
    }
}
