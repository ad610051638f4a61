//! Is every process in the container's namespaces, and do these hold what was asked for?

use std::path::Path;

use cleat_plan::{ClockOffset, TimeOffsets};
use nix::fcntl::OFlag;

use crate::plan::host::Host;
use crate::plan::{IdMap, NAMESPACES, NEWUSER};
use crate::probe::host;

use super::facts::{self, NamespaceId, ProcDir, is_below};
use super::process::MappedIds;
use super::report::{Report, Verdict};
use super::{Expected, why};

const MADE: &str = "a process may make a namespace of its own";

/// The file of a kind below `/proc/PID/ns`.
fn file(kind: &str) -> &str {
    match kind {
        "mount" => "mnt",
        "network" => "net",
        kind => kind,
    }
}

/// The namespaces of a process; those that cannot be seen are missing.
#[derive(Default)]
pub(super) struct Namespaces(Vec<(u64, NamespaceId)>);

impl Namespaces {
    /// That of a kind, `CLONE_NEW*`.
    pub(super) fn get(&self, flag: u64) -> Option<NamespaceId> {
        self.0.iter().find(|(kind, _)| *kind == flag).map(|(_, namespace)| *namespace)
    }
}

/// Those of a process.
pub(super) fn of(subject: &ProcDir) -> Namespaces {
    let seen = |(kind, flag): &(&str, u64)| Some((*flag, subject.namespace(file(kind)).ok()?));
    Namespaces(NAMESPACES.iter().filter_map(seen).collect())
}

/// Whether a process lives in a user namespace below that one.
pub(super) fn lives_below(subject: &ProcDir, user: NamespaceId) -> bool {
    subject.follow("ns/user", OFlag::O_RDONLY).is_ok_and(|namespace| is_below(&namespace, user))
}

/// The first process's namespaces: new ones, or those that were to be joined.
pub(super) fn compare_first(expected: &Expected<'_>, first: &ProcDir, ours: &Namespaces, report: &mut Report) {
    for (index, namespace) in expected.spec.linux.namespaces.iter().enumerate() {
        let place = format!("linux.namespaces[{index}]");
        let Some((kind, flag)) = NAMESPACES.iter().find(|(name, _)| *name == namespace.kind) else { continue };
        let found = match first.namespace(file(kind)) {
            Ok(found) => found,
            Err(errno) => {
                report.skip(&place, &why(errno));
                continue;
            }
        };
        let text = |(_, inode): NamespaceId| format!("{kind}:[{inode}]");
        if namespace.path.is_empty() {
            let verdict = if ours.get(*flag) == Some(found) { Verdict::Differs } else { Verdict::Holds };
            report.note(&place, None, verdict, &format_args!("a new {kind} namespace"), &"that of the host");
            continue;
        }
        let Ok(there) = nix::sys::stat::stat(Path::new(&namespace.path)) else {
            report.skip(&place, &format!("{} is not there any more", namespace.path));
            continue;
        };
        let there = (there.st_dev, there.st_ino);
        let moved = || {
            let opened = first.follow(&format!("ns/{}", file(kind)), OFlag::O_RDONLY);
            let user = first.namespace("user").ok();
            expected.started
                && ours.get(*flag) != Some(found)
                && opened.ok().zip(user).is_some_and(|(opened, user)| facts::belongs_to(&opened, user))
        };
        let verdict = if there == found { Verdict::Holds } else { Verdict::unless(moved(), MADE) };
        report.note(&place, None, verdict, &text(there), &text(found));
    }
}

/// Another process: in the namespaces of the first one, or in some that were made inside.
pub(super) fn compare_other(
    expected: &Expected<'_>,
    subject: &ProcDir,
    first: &Namespaces,
    ours: &Namespaces,
    report: &mut Report,
) {
    let theirs = of(subject);
    for (kind, flag) in NAMESPACES.iter().filter(|(_, flag)| expected.plan.host.namespaces & flag != 0) {
        let place = || {
            let index = expected.spec.linux.namespaces.iter().position(|namespace| namespace.kind == *kind);
            index.map_or_else(|| "linux.namespaces".to_owned(), |index| format!("linux.namespaces[{index}]"))
        };
        let (Some(found), Some(wanted)) = (theirs.get(*flag), first.get(*flag)) else {
            if !subject.is_gone() {
                report.skip(&place(), &format!("the {kind} namespace of process {} cannot be seen", subject.pid));
            }
            continue;
        };
        let verdict = match found {
            found if found == wanted => Verdict::Holds,
            found if ours.get(*flag) == Some(found) => Verdict::Differs,
            _ => Verdict::Own(MADE),
        };
        let (asked, found) = (format!("{kind}:[{}]", wanted.1), format!("{kind}:[{}]", found.1));
        report.note(&place(), Some(subject.pid), verdict, &asked, &found);
    }
}

/// How this process sees the ids of the first one's user namespace.
pub(super) fn ids(first: &ProcDir, ours: &Namespaces) -> MappedIds {
    // For its own namespace a process sees the parent's ids.
    if first.namespace("user").ok() == ours.get(NEWUSER) {
        return MappedIds { uids: None, gids: None };
    }
    MappedIds { uids: map(first, "uid_map"), gids: map(first, "gid_map") }
}

fn map(subject: &ProcDir, file: &str) -> Option<Vec<IdMap>> {
    Some(host::id_map_of(&subject.read(file).ok()?))
}

/// `linux.uidMappings`, `linux.gidMappings` and `setgroups`.
pub(super) fn compare_id_maps(expected: &Expected<'_>, first: &ProcDir, now: &Host, report: &mut Report) {
    let Some(asked) = &expected.plan.host.id_maps else { return };
    let basis = expected.basis;
    let elsewhere = basis.is_some_and(|basis| (&basis.own_uids, &basis.own_gids) != (&now.own_uids, &now.own_gids));
    for (place, file, asked) in
        [("linux.uidMappings", "uid_map", &asked.uids), ("linux.gidMappings", "gid_map", &asked.gids)]
    {
        if elsewhere {
            report.skip(place, "this process is in another user namespace than the one that made the container");
            continue;
        }
        let found = match first.read(file) {
            Ok(text) => host::id_map_of(&text),
            Err(errno) => {
                report.skip(place, &why(errno));
                continue;
            }
        };
        let text = |maps: &[IdMap]| {
            let line = |map: &IdMap| format!("{} {} {}", map.container_id, map.host_id, map.size);
            maps.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        // The kernel sorts long ones.
        let same = asked.len() == found.len() && asked.iter().all(|map| found.contains(map));
        let verdict = if same { Verdict::Holds } else { Verdict::Differs };
        report.note(place, None, verdict, &text(asked), &text(&found));
    }
    if asked.deny_setgroups {
        match first.read("setgroups") {
            Ok(text) => {
                let verdict = if text.trim() == "deny" { Verdict::Holds } else { Verdict::Differs };
                report.note("linux.gidMappings", None, verdict, &"setgroups: deny", &text.trim());
            }
            Err(errno) => report.skip("linux.gidMappings", &why(errno)),
        }
    }
}

/// `linux.timeOffsets`
pub(super) fn compare_clocks(expected: &Expected<'_>, first: &ProcDir, report: &mut Report) {
    let Some(TimeOffsets { monotonic, boottime }) = expected.plan.init.time else { return };
    let text = match first.read("timens_offsets") {
        Ok(text) => text,
        Err(errno) => return report.skip("linux.timeOffsets", &why(errno)),
    };
    for (clock, asked) in [("monotonic", monotonic), ("boottime", boottime)] {
        let ClockOffset { secs, nanos } = asked.unwrap_or(ClockOffset { secs: 0, nanos: 0 });
        let asked = format!("{secs} {nanos}");
        let found = text.lines().find_map(|line| line.strip_prefix(clock)).unwrap_or_default();
        let found = found.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let verdict = if asked == found { Verdict::Holds } else { Verdict::Differs };
        report.note(&format!("linux.timeOffsets.{clock}"), None, verdict, &asked, &found);
    }
}
