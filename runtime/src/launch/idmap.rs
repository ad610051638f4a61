//! How does a user namespace get its ids?
//!
//! Host half, with the caller's privileges; the namespace's first process stands still meanwhile.
//! The kernel lets root map what it has, and everybody his own id. Other ids of an ordinary user
//! are mapped by newuidmap(1) and newgidmap(1), which may because they are setuid root, and do for
//! those that /etc/subuid and /etc/subgid delegate to him (user_namespaces(7), subuid(5)).

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::{Context, Error, Result};
use crate::launch::child::ChildGuard;
use crate::launch::hooks;
use crate::launch::hooks::Program;
use crate::plan::ids::range;
use crate::plan::{self, IdMap, IdMaps};
use crate::probe::subids::{find, undelegated, user_name};
use crate::sys;
use crate::sys::path::Proc;

/// One of the two kinds of ids.
struct Kind {
    /// In config.json.
    property: &'static str,
    /// Below `/proc/PID`.
    file: &'static str,
    helper: &'static str,
    /// Who may have which.
    delegations: &'static str,
}

const USERS: Kind =
    Kind { property: "linux.uidMappings", file: "uid_map", helper: "newuidmap", delegations: "/etc/subuid" };
const GROUPS: Kind =
    Kind { property: "linux.gidMappings", file: "gid_map", helper: "newgidmap", delegations: "/etc/subgid" };

/// Writes `setgroups`, `gid_map` and `uid_map` of a child that waits in a new user namespace.
///
/// # Errors
/// Which ids this process may not map, and what would help.
pub fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    let proc = Proc::open()?;
    if maps.deny_setgroups {
        proc.write(&format!("{pid}/setgroups"), "deny").context("id-map")?;
    }
    // Groups first: who has mapped the user may not be allowed to look at the process any more.
    one(&proc, pid, &GROUPS, &maps.gids, maps.gids_delegated)?;
    one(&proc, pid, &USERS, &maps.uids, maps.uids_delegated)
}

fn one(proc: &Proc, pid: i32, kind: &Kind, maps: &[IdMap], delegated: bool) -> Result<()> {
    let text: String = maps.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect();
    let path = format!("{pid}/{}", kind.file);
    // A process with CAP_SETUID needs no help.
    let refused = match proc.write(&path, &text) {
        Ok(()) => return Ok(()),
        Err(error) if delegated => error,
        Err(error) => return Err(explain_refusal(&error, kind)),
    };
    let place = format!("id-map: config.json: {}", kind.property);
    let own = if kind.file == USERS.file { nix::unistd::geteuid().as_raw() } else { nix::unistd::getegid().as_raw() };
    let Some(program) = find(kind.helper) else {
        return Err(Error::new(format!(
            "{place}: host ids {} are not this user's own, and {}(1), which maps what {} delegates, is not in PATH",
            list(&others(maps, own)),
            kind.helper,
            kind.delegations
        ))
        .remedy("install the package uidmap"));
    };
    let mut args = vec![pid.to_string()];
    args.extend(maps.iter().flat_map(|m| [m.container_id, m.host_id, m.size]).map(|number| number.to_string()));
    let call = Program::new(&program, kind.helper, &args);
    let place = format!("{place}: {}", program.display());
    hooks::execute(&call, &place).map_err(|error| explain_failure(error, &refused, kind, &program, &others(maps, own)))
}

/// The kernel's own refusal of a mapping that should need no help.
fn explain_refusal(error: &Error, kind: &Kind) -> Error {
    let restricted = std::fs::read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_ok_and(|value| value.starts_with(b"1"));
    let hint = if restricted {
        "; AppArmor restricts user namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a \
         profile with \"userns,\" for this program"
    } else if nix::unistd::geteuid().is_root() {
        "; root may map only ids of its own user namespace, and needs CAP_SETUID, CAP_SETGID and CAP_SETFCAP"
    } else {
        "; an ordinary user may map only his own id"
    };
    Error::new(format!("id-map: config.json: {}: {error}{hint}", kind.property))
}

/// What the helper said, and what of it can be seen from here.
fn explain_failure(error: Error, refused: &Error, kind: &Kind, program: &Path, others: &[(u32, u32)]) -> Error {
    let user = user_name();
    let missing = std::fs::read_to_string(kind.delegations)
        .map_or_else(|_| others.to_vec(), |text| undelegated(&text, &user, others));
    if let Some((first, size)) = missing.first() {
        return Error::new(format!("{error}")).remedy(format_args!(
            "{} does not delegate host ids {} to {}; add a line to it: {}:{first}:{size}",
            kind.delegations,
            list(&missing),
            user.1,
            user.1
        ));
    }
    // Setuid, or file capabilities, which are not as easy to see.
    let plain = std::fs::metadata(program).is_ok_and(|file| file.mode() & 0o4000 == 0 || file.uid() != 0);
    if sys::no_new_privileges() {
        return Error::new(format!("{error}")).remedy(format_args!(
            "no_new_privs is set for cleat, and so {} gets no privilege: run it without (systemd: \
             NoNewPrivileges=no)",
            kind.helper
        ));
    }
    if plain {
        return Error::new(format!("{error}")).remedy(format_args!(
            "{} is not setuid root, and may have no file capabilities: reinstall the package uidmap ({refused})",
            program.display()
        ));
    }
    error
}

/// Host ids of mappings that are not the caller's own: first and how many.
pub(crate) fn others(maps: &[IdMap], own: u32) -> Vec<(u32, u32)> {
    maps.iter().filter(|m| !(m.size == 1 && m.host_id == own)).map(|m| (m.host_id, m.size)).collect()
}

pub(crate) fn list(ranges: &[(u32, u32)]) -> String {
    ranges.iter().map(|(first, size)| range(*first, *size)).collect::<Vec<_>>().join(", ")
}

/// The user namespace of a process.
///
/// # Errors
/// As for open(2).
pub fn user_namespace_of(pid: i32) -> Result<OwnedFd> {
    Proc::open()?.follow(&format!("{pid}/ns/user"), OFlag::O_RDONLY).context(format_args!("open /proc/{pid}/ns/user"))
}

/// A user namespace that lives as long as its descriptor.
///
/// # Errors
/// Those of clone3(2) and [`write()`].
pub fn new_user_namespace(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    let holder = ChildGuard::new(sys::namespace_holder(plan::NEWUSER).context("clone3 CLONE_NEWUSER")?);
    let pid = holder.get().pid;
    let maps = IdMaps {
        uids: uids.into(),
        gids: gids.into(),
        uids_delegated: false,
        gids_delegated: false,
        deny_setgroups: false,
    };
    write(pid, &maps)?;
    user_namespace_of(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::subids::{Range, delegated};

    const FILE: &str = "# a comment\nalice:100000:1000\nbob:5:5\n1000:300000:10\nalice:101000:500\nalice:x:y\n";

    fn missing(wanted: &[(u32, u32)]) -> Vec<(u32, u32)> {
        undelegated(FILE, &(1000, "alice".into()), wanted)
    }

    #[test]
    fn neighbours_are_one_range() {
        let ranges = delegated(FILE, &(1000, "alice".into()));
        assert_eq!(ranges, [Range { first: 100_000, count: 1500 }, Range { first: 300_000, count: 10 }]);
        assert_eq!(delegated("a:0:0\na:18446744073709551615:2\n", &(7, "a".into())).len(), 1);
    }

    #[test]
    fn what_is_delegated_is_not_missing() {
        assert_eq!(missing(&[(100_000, 1000), (101_499, 1), (300_000, 10)]), []);
        // Two lines that follow on each other are one range.
        assert_eq!(missing(&[(100_000, 1500)]), []);
    }

    #[test]
    fn what_is_missing_is_told_to_the_id() {
        assert_eq!(missing(&[(99_999, 2)]), [(99_999, 1)]);
        assert_eq!(missing(&[(100_500, 1500)]), [(101_500, 500)]);
        assert_eq!(missing(&[(299_990, 30)]), [(299_990, 10), (300_010, 10)]);
        assert_eq!(missing(&[(5, 5), (0, 1)]), [(5, 5), (0, 1)]);
        assert_eq!(missing(&[(u32::MAX - 1, 1)]), [(u32::MAX - 1, 1)]);
    }

    #[test]
    fn the_callers_own_id_needs_no_delegation() {
        let maps = [
            IdMap { container_id: 0, host_id: 1000, size: 1 },
            IdMap { container_id: 1, host_id: 100_000, size: 65_536 },
        ];
        assert_eq!(others(&maps, 1000), [(100_000, 65_536)]);
        assert_eq!(list(&others(&maps, 7)), "1000, 100000-165535");
    }
}
