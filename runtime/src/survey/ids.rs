//! Which ids are delegated to the caller, and who maps them?
//!
//! subuid(5): lines of `NAME-OR-NUMBER:FIRST:COUNT`; newuidmap(1) and newgidmap(1) map them.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Serialize;

/// Ids of the host from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What is delegated to the caller.
#[derive(Debug, Default, Serialize)]
pub struct Ids {
    /// The caller's name in `/etc/passwd`.
    pub user: Option<String>,
    /// Of `/etc/subuid`.
    pub subuid: Vec<Range>,
    /// Of `/etc/subgid`.
    pub subgid: Vec<Range>,
    /// newuidmap(1), where it is in `PATH`.
    pub newuidmap: Option<PathBuf>,
    /// newgidmap(1), where it is in `PATH`.
    pub newgidmap: Option<PathBuf>,
}

impl Ids {
    pub(super) fn of_caller() -> Ids {
        let uid = nix::unistd::getuid().as_raw();
        let user = super::read("/etc/passwd").and_then(|text| user_name(&text, uid));
        let ranges = |path| {
            let text = super::read(path).unwrap_or_default();
            delegated(&text, uid, user.as_deref())
        };
        let (subuid, subgid) = (ranges("/etc/subuid"), ranges("/etc/subgid"));
        Ids { subuid, subgid, newuidmap: find("newuidmap"), newgidmap: find("newgidmap"), user }
    }
}

/// The name of a user in passwd(5).
#[must_use]
pub fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The ranges that subuid(5) gives to a user, by number or by name, in order; neighbours are one.
#[must_use]
pub fn delegated(text: &str, uid: u32, name: Option<&str>) -> Vec<Range> {
    let number = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().filter(|owner| *owner == number || Some(*owner) == name)?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!owner.is_empty() && fields.next().is_none() && count > 0).then_some(Range { first, count })
    };
    let mut ranges: Vec<Range> = text.lines().filter_map(line).collect();
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let end = range.first.saturating_add(range.count);
        match joined.last_mut() {
            Some(last) if range.first <= last.first.saturating_add(last.count) => {
                last.count = last.count.max(end - last.first);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Whether all of `count` ids from `first` on are in one of the ranges, which are joined.
#[must_use]
pub fn covers(ranges: &[Range], first: u32, count: u32) -> bool {
    let end = u64::from(first) + u64::from(count);
    ranges.iter().any(|range| range.first <= first.into() && end <= range.first.saturating_add(range.count))
}

/// A program of that name in `PATH`, whose relative parts are left out.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let executable = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\nalice:100000:1000\nbob:5:5\n1000:300000:10\nalice:101000:500\nalice:x:y\nalice:7:0\nalice:1:2:3\n";

    #[test]
    fn ranges_are_the_users_by_name_and_by_number() {
        let ranges = delegated(FILE, 1000, Some("alice"));
        assert_eq!(ranges, [Range { first: 100_000, count: 1500 }, Range { first: 300_000, count: 10 }]);
        assert_eq!(delegated(FILE, 1000, None), [Range { first: 300_000, count: 10 }]);
        assert_eq!(delegated("", 0, Some("")), []);
        assert_eq!(delegated(":1:2", 7, Some("")), []);
    }

    #[test]
    fn what_is_not_delegated_to_the_last_id_is_not_covered() {
        let ranges = delegated(FILE, 1000, Some("alice"));
        assert!(covers(&ranges, 100_000, 1500) && covers(&ranges, 300_009, 1));
        assert!(!covers(&ranges, 99_999, 2) && !covers(&ranges, 300_009, 2) && !covers(&ranges, u32::MAX, u32::MAX));
    }

    #[test]
    fn a_user_is_known_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbroken\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("alice"));
        assert_eq!(user_name(passwd, 5), None);
    }
}
