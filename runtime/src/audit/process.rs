//! What may a process do? `/proc/PID/status` and its like, compared with `process` of config.json.
//!
//! A process may give up what it has, and so have less. What is more than was asked for is a
//! difference, unless the kernel lets a process get that far by itself. Of processes that joined
//! later (`exec`) config.json says little: they may have been given another `process`.

use cleat_plan as wire;
use cleat_plan::Caps;
use nix::errno::Errno;

use crate::plan::{IdMap, caps, seccomp};

use super::facts::Subject;
use super::report::{Report, Verdict};
use super::{Expected, why};

const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const SYS_RESOURCE: u64 = 1 << 24;

const JOINED: &str = "it may have joined with a process of its own (exec)";
const OWN_CAPS: &str = "its own capabilities let it";
const EXECUTED: &str = "a program of the image gives it (setuid or file capabilities)";

/// What the kernel says of a thread (proc_pid_status(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) zombie: bool,
    /// Real, effective, saved, of the file system.
    pub(super) uids: Vec<u32>,
    pub(super) gids: Vec<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) umask: Option<u32>,
    pub(super) no_new_privileges: bool,
    /// 0: none, 1: strict, 2: filters.
    pub(super) seccomp: u32,
    /// How many (Linux 5.9).
    pub(super) filters: u32,
    pub(super) caps: Caps,
}

impl Status {
    /// `None`: it is not the text of a process.
    pub(super) fn parse(text: &str) -> Option<Status> {
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let list =
            |name| -> Option<Vec<u32>> { field(name)?.split_ascii_whitespace().map(|id| id.parse().ok()).collect() };
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        Some(Status {
            zombie: field("State")?.starts_with(['Z', 'X']),
            uids: list("Uid")?,
            gids: list("Gid")?,
            groups: list("Groups")?,
            umask: field("Umask").and_then(|mask| u32::from_str_radix(mask, 8).ok()),
            no_new_privileges: field("NoNewPrivs")? == "1",
            seccomp: field("Seccomp").and_then(|mode| mode.parse().ok()).unwrap_or(0),
            filters: field("Seccomp_filters").and_then(|count| count.parse().ok()).unwrap_or(0),
            caps: Caps {
                inheritable: set("CapInh")?,
                permitted: set("CapPrm")?,
                effective: set("CapEff")?,
                bounding: set("CapBnd")?,
                ambient: set("CapAmb")?,
            },
        })
    }
}

/// Which process of the container it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that config.json is about.
    First,
    /// Its descendant, or one that joined.
    Other,
}

/// What one thread is compared with.
pub(super) struct Thread<'a> {
    pub(super) pid: i32,
    pub(super) role: Role,
    /// It lives in a user namespace made inside, whose capabilities reach no further.
    pub(super) inside: bool,
    pub(super) status: &'a Status,
}

/// The ids of the container's user namespace as this process sees them.
pub(super) struct Ids {
    /// `None`: as they are.
    pub(super) uids: Option<Vec<IdMap>>,
    pub(super) gids: Option<Vec<IdMap>>,
}

fn seen(maps: Option<&Vec<IdMap>>, id: u32) -> Option<u32> {
    let Some(maps) = maps else { return Some(id) };
    let inside = |map: &&IdMap| id.checked_sub(map.container_id).is_some_and(|at| at < map.size);
    maps.iter().find(inside).map(|map| map.host_id + (id - map.container_id))
}

/// Names of capabilities.
fn names(set: u64) -> String {
    if set == 0 {
        return "none".into();
    }
    let name = |bit: u32| usize::try_from(bit).ok().and_then(|bit| caps::NAMES.get(bit)).copied().unwrap_or("CAP_?");
    (0..64).filter(|bit| set & (1 << bit) != 0).map(name).collect::<Vec<_>>().join(" ")
}

/// Compares a thread with what its role allows.
pub(super) fn compare(expected: &Expected<'_>, ids: &Ids, first: &Status, thread: &Thread<'_>, report: &mut Report) {
    filter(expected, thread, report);
    let Some(asked) = &expected.plan.init.process else {
        report.skip("process", "config.json has none");
        return;
    };
    no_new_privileges(expected, asked, thread, report);
    if thread.inside {
        return;
    }
    capabilities(expected, asked, thread, report);
    user(expected, asked, ids, thread, report);
    groups(expected, asked, ids, first, thread, report);
    umask(expected, asked, thread, report);
}

fn filter(expected: &Expected<'_>, thread: &Thread<'_>, report: &mut Report) {
    if expected.plan.host.seccomp.is_none() {
        return;
    }
    let place = "linux.seccomp";
    let waits = !expected.started && expected.plan.init.process.as_ref().is_some_and(seccomp::is_loaded_at_start);
    if waits && thread.role == Role::First {
        return report.skip(place, "the filter is loaded at start");
    }
    // One on top of those that who made the container was under itself.
    let inherited = expected.basis.filter(|_| thread.role == Role::First).map_or(0, |basis| basis.filters);
    let is_there = thread.status.seccomp == 2 && thread.status.filters > inherited;
    let verdict = if is_there { Verdict::Holds } else { Verdict::Differs };
    let found = format_args!("{} filters", thread.status.filters);
    report.note(place, Some(thread.pid), verdict, &format_args!("a filter besides {inherited} of others"), &found);
}

fn no_new_privileges(expected: &Expected<'_>, asked: &wire::Process, thread: &Thread<'_>, report: &mut Report) {
    if !asked.no_new_privileges {
        return;
    }
    // It cannot be taken back.
    let verdict = match thread.role {
        _ if thread.status.no_new_privileges => Verdict::Holds,
        Role::First => Verdict::Differs,
        Role::Other => Verdict::unless(expected.started, JOINED),
    };
    report.note("process.noNewPrivileges", Some(thread.pid), verdict, &"set", &"not set");
}

fn capabilities(expected: &Expected<'_>, asked: &wire::Process, thread: &Thread<'_>, report: &mut Report) {
    let Caps { bounding, effective, permitted, inheritable, ambient } = asked.caps;
    let found = &thread.status.caps;
    // execve(2) gives root, and programs with capabilities, what is in the bounding set.
    let ceiling = bounding | permitted | inheritable | ambient;
    let by_program = if asked.no_new_privileges { permitted } else { ceiling };
    // Kept until the filter is loaded.
    let until_start = match asked.seccomp.as_ref().map(|filter| filter.load) {
        Some(wire::seccomp::Load::LastPrivileged) if !expected.started => 1 << 21,
        _ => 0,
    };
    let sets = [
        ("bounding", bounding, found.bounding, bounding),
        ("permitted", permitted | until_start, found.permitted, by_program),
        ("effective", effective | until_start, found.effective, by_program),
        ("inheritable", inheritable, found.inheritable, ceiling),
        ("ambient", ambient, found.ambient, ceiling),
    ];
    for (name, asked, found, reachable) in sets {
        let more = found & !asked;
        let by_itself = more & !reachable == 0;
        let why = if matches!(name, "permitted" | "effective") { EXECUTED } else { OWN_CAPS };
        let verdict = match thread.role {
            _ if more == 0 => Verdict::Holds,
            _ if !expected.started => Verdict::Differs,
            _ if by_itself => Verdict::Own(why),
            Role::First => Verdict::Differs,
            Role::Other => Verdict::Own(JOINED),
        };
        let place = format!("process.capabilities.{name}");
        report.note(&place, Some(thread.pid), verdict, &names(asked), &format_args!("also {}", names(more)));
    }
}

fn user(expected: &Expected<'_>, asked: &wire::Process, ids: &Ids, thread: &Thread<'_>, report: &mut Report) {
    // Which users others are config.json does not say.
    if thread.role == Role::Other {
        return;
    }
    let may = |cap: u64| !asked.no_new_privileges || asked.caps.permitted & cap != 0;
    for (place, id, maps, found, cap) in [
        ("process.user.uid", asked.uid, &ids.uids, &thread.status.uids, SETUID),
        ("process.user.gid", asked.gid, &ids.gids, &thread.status.gids, SETGID),
    ] {
        let wanted = seen(maps.as_ref(), id);
        let same = wanted.is_some_and(|wanted| found.iter().all(|id| *id == wanted));
        let verdict = match same {
            true => Verdict::Holds,
            false => Verdict::unless(expected.started && may(cap), "it may change its ids itself"),
        };
        let asked = wanted.map_or_else(|| format!("{id}, which is not mapped"), |wanted| wanted.to_string());
        report.note(place, Some(thread.pid), verdict, &asked, &format_args!("{found:?}"));
    }
}

fn groups(
    expected: &Expected<'_>,
    asked: &wire::Process,
    ids: &Ids,
    first: &Status,
    thread: &Thread<'_>,
    report: &mut Report,
) {
    let place = "process.user.additionalGids";
    let may = asked.caps.permitted & SETGID != 0;
    let allowed: Vec<u32> = match &asked.groups {
        // They cannot be set there: nobody has any but those that the creator had.
        None if thread.role == Role::First => {
            return report.skip(place, "groups cannot be set there; the caller's are kept");
        }
        None => first.groups.clone(),
        Some(groups) => groups.iter().filter_map(|gid| seen(ids.gids.as_ref(), *gid)).collect(),
    };
    let gids = &thread.status.gids;
    let more: Vec<u32> =
        thread.status.groups.iter().copied().filter(|gid| !allowed.contains(gid) && !gids.contains(gid)).collect();
    let verdict = match thread.role {
        _ if more.is_empty() => Verdict::Holds,
        // A group that nothing inside can have given to it.
        _ if asked.groups.is_none() => Verdict::Differs,
        _ if expected.started && may => Verdict::Own(OWN_CAPS),
        Role::First => Verdict::Differs,
        Role::Other => Verdict::Own(JOINED),
    };
    report.note(place, Some(thread.pid), verdict, &format_args!("{allowed:?}"), &format_args!("also {more:?}"));
}

fn umask(expected: &Expected<'_>, asked: &wire::Process, thread: &Thread<'_>, report: &mut Report) {
    let (Role::First, Some(found)) = (thread.role, thread.status.umask) else { return };
    let verdict = match found == asked.umask {
        true => Verdict::Holds,
        false => Verdict::unless(expected.started, "a process may change its own"),
    };
    report.note(
        "process.user.umask",
        Some(thread.pid),
        verdict,
        &format_args!("{:04o}", asked.umask),
        &format_args!("{found:04o}"),
    );
}

/// What is read of a process as a whole, not of its threads.
pub(super) fn compare_rest(expected: &Expected<'_>, subject: &Subject, role: Role, report: &mut Report) {
    label(expected, subject, role, report);
    limits(expected, subject, role, report);
    oom_score(expected, subject, role, report);
}

/// The name in what AppArmor says: `NAME (enforce)`.
fn profile_of(current: &str) -> &str {
    let current = current.trim_end_matches(['\0', '\n']);
    current.rsplit_once(" (").map_or(current, |(name, _)| name)
}

fn label(expected: &Expected<'_>, subject: &Subject, role: Role, report: &mut Report) {
    let Some(asked) = &expected.plan.init.process else { return };
    for (place, wanted, files) in [
        ("process.apparmorProfile", &asked.apparmor, ["attr/apparmor/current", "attr/current"]),
        ("process.selinuxLabel", &asked.selinux, ["attr/selinux/current", "attr/current"]),
    ] {
        let Some(wanted) = wanted else { continue };
        let wanted = wanted.to_string_lossy();
        if role == Role::First && !expected.started {
            report.skip(place, "it takes effect at start");
            continue;
        }
        let read = match subject.read(files[0]) {
            Err(Errno::ENOENT) => subject.read(files[1]),
            other => other,
        };
        let current = match read {
            Ok(current) => current,
            Err(errno) => {
                report.skip(place, &why(errno));
                continue;
            }
        };
        let found = profile_of(&current);
        // What a profile or the policy goes on to when it executes another program.
        let stays = found == wanted || found.strip_prefix(&*wanted).is_some_and(|rest| rest.starts_with("//"));
        let verdict = match role {
            _ if stays => Verdict::Holds,
            Role::Other if found != "unconfined" => Verdict::Own(JOINED),
            _ => Verdict::Differs,
        };
        report.note(place, Some(subject.pid), verdict, &wanted, &found);
    }
}

/// Soft and hard of each limit, in the kernel's order (proc_pid_limits(5)).
pub(super) fn parse_limits(text: &str) -> Vec<(u64, u64)> {
    let number = |word: Option<&str>| match word? {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    };
    let line = |line: &str| {
        // Names have blanks in them, and 25 columns.
        let mut words = line.get(25..)?.split_ascii_whitespace();
        Some((number(words.next())?, number(words.next())?))
    };
    text.lines().skip(1).filter_map(line).collect()
}

fn limits(expected: &Expected<'_>, subject: &Subject, role: Role, report: &mut Report) {
    let Some(asked) = expected.plan.init.process.as_ref().filter(|asked| !asked.rlimits.is_empty()) else { return };
    let list = match subject.read("limits") {
        _ if !expected.started && role == Role::First => {
            return report.skip("process.rlimits", "they are set at start");
        }
        Ok(text) => parse_limits(&text),
        Err(errno) => return report.skip("process.rlimits", &why(errno)),
    };
    let may_raise = expected.has_on_host(SYS_RESOURCE);
    let text = |(soft, hard): (u64, u64)| {
        let number = |n| if n == u64::MAX { "unlimited".to_owned() } else { format!("{n}") };
        format!("{} {}", number(soft), number(hard))
    };
    for (index, limit) in asked.rlimits.iter().enumerate() {
        let place = format!("process.rlimits[{index}]");
        let found = usize::try_from(limit.resource).ok().and_then(|at| list.get(at));
        let Some(&(soft, hard)) = found else {
            report.skip(&place, "the kernel does not show it");
            continue;
        };
        let verdict = match role {
            _ if hard <= limit.hard && soft <= limit.soft => Verdict::Holds,
            _ if hard <= limit.hard => Verdict::Own("a process may raise a soft limit itself"),
            _ if may_raise => Verdict::Own(OWN_CAPS),
            Role::First => Verdict::Differs,
            Role::Other => Verdict::Own(JOINED),
        };
        report.note(&place, Some(subject.pid), verdict, &text((limit.soft, limit.hard)), &text((soft, hard)));
    }
}

fn oom_score(expected: &Expected<'_>, subject: &Subject, role: Role, report: &mut Report) {
    let (place, Some(asked)) = ("process.oomScoreAdj", expected.plan.host.oom_score_adj) else { return };
    let found = match subject.read("oom_score_adj").map(|text| text.trim().parse::<i32>()) {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => return report.skip(place, "it is no number"),
        Err(errno) => return report.skip(place, &why(errno)),
    };
    let verdict = match role {
        _ if found == asked => Verdict::Holds,
        _ if expected.started && found > asked => Verdict::Own("a process may offer itself first"),
        _ if expected.started && expected.has_on_host(SYS_RESOURCE) => Verdict::Own(OWN_CAPS),
        Role::First => Verdict::Differs,
        Role::Other => Verdict::Own(JOINED),
    };
    report.note(place, Some(subject.pid), verdict, &asked, &found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{HostHalf, Plan};
    use crate::spec::Spec;

    const STATUS: &str = "\
Name:\tprobe
Umask:\t0022
State:\tS (sleeping)
Uid:\t0\t0\t0\t0
Gid:\t0\t0\t0\t0
Groups:\t7 8
CapInh:\t0000000000000000
CapPrm:\t0000000000000020
CapEff:\t0000000000000020
CapBnd:\t0000000000000020
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1
";

    fn asked() -> wire::Process {
        let text = |text: &str| wire::Text::new(text.as_bytes()).unwrap();
        wire::Process {
            args: Vec::new(),
            env: Vec::new(),
            find_home: false,
            cwd: text("/"),
            uid: 0,
            gid: 0,
            groups: Some(vec![7, 8]),
            umask: 0o022,
            caps: Caps { bounding: 0x20, permitted: 0x20, effective: 0x20, ..Caps::default() },
            no_new_privileges: true,
            seccomp: None,
            apparmor: None,
            selinux: None,
            rlimits: Vec::new(),
            preserve_fds: 0,
            listen_fds: None,
        }
    }

    fn compared(asked: wire::Process, status: &Status, role: Role, started: bool) -> (Vec<String>, Vec<String>) {
        let init = wire::Plan { process: Some(asked), ..wire::Plan::default() };
        let (plan, spec) = (Plan { host: HostHalf::default(), init, warnings: Vec::new() }, Spec::default());
        let mut report = Report::default();
        let thread = Thread { pid: 7, role, inside: false, status };
        let ids = Ids { uids: None, gids: None };
        compare(&Expected { started, ..Expected::of_plan(&spec, &plan) }, &ids, status, &thread, &mut report);
        let places = |list: &[super::super::Difference]| {
            list.iter().map(|difference| difference.place.replace("process.", "")).collect()
        };
        (places(&report.differences), places(&report.own_right))
    }

    fn differences(status: &Status, role: Role, started: bool) -> Vec<String> {
        compared(asked(), status, role, started).0
    }

    #[test]
    fn a_process_as_asked_for_is_no_difference() {
        let status = Status::parse(STATUS).unwrap();
        assert_eq!((status.seccomp, status.filters, status.umask), (2, 1, Some(0o022)));
        assert_eq!(compared(asked(), &status, Role::First, true), (vec![], vec![]));
        let less = Status { caps: Caps::default(), groups: vec![8], ..status };
        assert_eq!(compared(asked(), &less, Role::First, false), (vec![], vec![]));
    }

    #[test]
    fn more_than_asked_for_is_a_difference() {
        let status = Status::parse(STATUS).unwrap();
        let caps = Caps { bounding: 0x21, permitted: 0x21, effective: 0x21, inheritable: 1, ambient: 1 };
        let more = Status { caps, no_new_privileges: false, groups: vec![7, 9], uids: vec![5; 4], ..status.clone() };
        let all = [
            "noNewPrivileges",
            "capabilities.bounding",
            "capabilities.permitted",
            "capabilities.effective",
            "capabilities.inheritable",
            "capabilities.ambient",
            "user.uid",
            "user.additionalGids",
        ];
        assert_eq!(differences(&more, Role::First, false), all);
        assert_eq!(differences(&more, Role::First, true), all);
        // Of one that joined config.json says nothing.
        let (differences, own) = compared(asked(), &more, Role::Other, true);
        assert_eq!((differences, own.len()), (vec![], 7));
    }

    /// The kernel gives a program of root what is in the bounding set, and who may change ids does.
    #[test]
    fn what_the_kernel_gives_is_its_own_right() {
        let status = Status::parse(STATUS).unwrap();
        let root = wire::Process { caps: Caps { bounding: 0xff, ..asked().caps }, no_new_privileges: false, ..asked() };
        let caps = Caps { bounding: 0xff, permitted: 0xff, effective: 0xff, ..Caps::default() };
        let status = Status { caps, uids: vec![5; 4], no_new_privileges: false, ..status };
        let own = ["capabilities.permitted", "capabilities.effective", "user.uid"].map(str::to_owned);
        assert_eq!(compared(root.clone(), &status, Role::First, true), (vec![], own.to_vec()));
        assert_eq!(compared(root, &status, Role::First, false), (own.to_vec(), vec![]));
    }

    #[test]
    fn groups_that_nobody_may_set_are_those_of_the_first() {
        let status = Status::parse(STATUS).unwrap();
        let denied = wire::Process { groups: None, ..asked() };
        assert_eq!(compared(denied.clone(), &status, Role::First, true), (vec![], vec![]));
        let (plan, spec) = (
            Plan {
                host: HostHalf::default(),
                init: wire::Plan { process: Some(denied), ..wire::Plan::default() },
                warnings: Vec::new(),
            },
            Spec::default(),
        );
        let joined = Status { groups: vec![7, 42], ..status.clone() };
        let thread = Thread { pid: 8, role: Role::Other, inside: false, status: &joined };
        let mut report = Report::default();
        let ids = Ids { uids: None, gids: None };
        compare(&Expected::of_plan(&spec, &plan), &ids, &status, &thread, &mut report);
        assert_eq!(report.differences[0].found, "also [42]");
    }

    #[test]
    fn limits_are_read_in_the_kernels_order() {
        let text = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             5                    unlimited            bytes     
";
        assert_eq!(parse_limits(text), [(u64::MAX, u64::MAX), (5, u64::MAX)]);
    }

    #[test]
    fn a_profile_is_separated_from_its_mode() {
        assert_eq!(profile_of("docker-default (enforce)\n"), "docker-default");
        assert_eq!(profile_of("unconfined\n"), "unconfined");
        assert_eq!(profile_of("system_u:system_r:container_t:s0:c1,c2\0"), "system_u:system_r:container_t:s0:c1,c2");
    }
}
