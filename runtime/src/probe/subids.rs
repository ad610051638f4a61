//! Which ids are delegated to the caller, and who maps them?

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Serialize;

/// What is delegated to the caller.
#[derive(Debug, Default, Serialize)]
pub struct Ids {
    /// The caller's name in `/etc/passwd`, else the number.
    pub user: String,
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
        let user = user_name();
        let ranges = |path| delegated(&std::fs::read_to_string(path).unwrap_or_default(), &user);
        Ids {
            subuid: ranges("/etc/subuid"),
            subgid: ranges("/etc/subgid"),
            newuidmap: find("newuidmap"),
            newgidmap: find("newgidmap"),
            user: user.1,
        }
    }
}

/// Ids of the host from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What lines of subuid(5) give to a user, who is known by number and by name; in order, and
/// neighbours are one.
#[must_use]
pub fn delegated(text: &str, user: &(u32, String)) -> Vec<Range> {
    let number = user.0.to_string();
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ((name == user.1 || name == number) && count > 0).then_some(Range { first, count })
    });
    let mut given: Vec<Range> = lines.collect();
    given.sort_unstable();
    let mut joined: Vec<Range> = Vec::with_capacity(given.len());
    for range in given {
        match joined.last_mut() {
            Some(last) if range.first <= last.end() => last.count = last.count.max(range.end() - last.first),
            _ => joined.push(range),
        }
    }
    joined
}

/// The parts of `wanted`, first and how many, that are in no range. The ranges are joined.
pub(crate) fn missing(given: &[Range], wanted: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut missing = Vec::new();
    for (first, size) in wanted {
        let (mut at, end) = (u64::from(*first), u64::from(*first) + u64::from(*size));
        let mut gap = |from: u64, to: u64| {
            if let (Ok(from), Ok(size)) = (u32::try_from(from), u32::try_from(to.saturating_sub(from))) {
                if size > 0 {
                    missing.push((from, size));
                }
            }
        };
        for range in given.iter().filter(|range| range.end() > u64::from(*first) && range.first < end) {
            gap(at, range.first.min(end));
            at = at.max(range.end());
        }
        gap(at, end);
    }
    missing
}

/// The parts of `wanted` that no line of subuid(5) gives to the user.
pub(crate) fn undelegated(text: &str, user: &(u32, String), wanted: &[(u32, u32)]) -> Vec<(u32, u32)> {
    missing(&delegated(text, user), wanted)
}

/// The caller by number and, as newuidmap(1) has it, by name.
pub(crate) fn user_name() -> (u32, String) {
    let uid = nix::unistd::getuid().as_raw();
    (uid, crate::probe::host::user_name(uid).unwrap_or_else(|| uid.to_string()))
}

/// A program of that name in the caller's `PATH`, whose relative parts are left out: they would
/// mean the bundle's directory.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let executable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(executable)
}

impl Range {
    fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }
}
