//! Who runs the process, when and where: policy, priorities, processors?

use serde::Serialize;

use super::cpu_list;
use super::findings::Findings;
use super::place::Place;
use super::place::place;
use crate::error::Result;
use crate::spec;
use crate::spec::{CpuAffinity, Process};

/// Scheduling of a process, to be set once it is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scheduling {
    /// `process.scheduler`
    pub scheduler: Option<Scheduler>,
    /// `process.ioPriority`
    pub io: Option<IoPriority>,
}

/// Policy and parameters for sched_setattr(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scheduler {
    /// The policy.
    pub policy: Policy,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// From -20, the most processor time, to 19. It holds under `SCHED_OTHER` and `SCHED_BATCH`;
    /// of other policies it is what remains when they are left.
    pub nice: i32,
    /// 1 to 99 under the real-time policies, else 0.
    pub priority: u32,
    /// Processor time in each period, under `SCHED_DEADLINE`.
    pub runtime_ns: u64,
    /// When it must have been given, counted from the period's begin.
    pub deadline_ns: u64,
    /// The period; 0: as long as the deadline.
    pub period_ns: u64,
}

/// Scheduling policies (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Policy {
    /// `SCHED_OTHER`
    Other,
    /// `SCHED_FIFO`
    Fifo,
    /// `SCHED_RR`
    RoundRobin,
    /// `SCHED_BATCH`
    Batch,
    /// `SCHED_IDLE`
    Idle,
    /// `SCHED_DEADLINE`
    Deadline,
}

impl Policy {
    /// The kernel's number and name.
    #[must_use]
    pub fn number_and_name(self) -> (u32, &'static str) {
        match self {
            Policy::Other => (0, "SCHED_OTHER"),
            Policy::Fifo => (1, "SCHED_FIFO"),
            Policy::RoundRobin => (2, "SCHED_RR"),
            Policy::Batch => (3, "SCHED_BATCH"),
            Policy::Idle => (5, "SCHED_IDLE"),
            Policy::Deadline => (6, "SCHED_DEADLINE"),
        }
    }

    /// sched_setattr(2) takes the nice value of these alone.
    #[must_use]
    pub fn has_nice(self) -> bool {
        matches!(self, Policy::Other | Policy::Batch)
    }
}

const POLICIES: [Policy; 6] =
    [Policy::Other, Policy::Fifo, Policy::RoundRobin, Policy::Batch, Policy::Idle, Policy::Deadline];

/// `SCHED_FLAG_RESET_ON_FORK`
const RESET_ON_FORK: u64 = 1;
/// `SCHED_FLAG_KEEP_POLICY`
const KEEP_POLICY: u64 = 8;

/// Bit N is the Nth (linux/sched.h).
const FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// Class and level for ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// From 0, the highest, to 7.
    pub level: u8,
}

/// I/O scheduling classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum IoClass {
    /// `IOPRIO_CLASS_RT`
    RealTime,
    /// `IOPRIO_CLASS_BE`
    BestEffort,
    /// `IOPRIO_CLASS_IDLE`
    Idle,
}

/// Processors of a process that joins a container, as masks for sched_setaffinity(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Of the runtime, which the process inherits; empty: as it is.
    pub initial: Vec<u64>,
    /// Of the process once it is in the container's cgroup; empty: as the kernel decides.
    pub last: Vec<u64>,
}

/// Decides policy and priorities.
pub(crate) fn scheduling(process: &Process, findings: &mut Findings) -> Scheduling {
    Scheduling {
        scheduler: findings.keep(process.scheduler.as_ref().map(scheduler).transpose()),
        io: findings.keep(process.io_priority.as_ref().map(io_priority).transpose()),
    }
}

fn scheduler(asked: &spec::Scheduler) -> Result<Scheduler> {
    let at = place("process.scheduler");
    let policy = policy(&asked.policy, &at.at("policy"))?;
    let (_, name) = policy.number_and_name();
    if !(-20..=19).contains(&asked.nice) {
        return Err(at.at("nice").error(format_args!("{} is not between -20 and 19", asked.nice)));
    }
    let real_time = matches!(policy, Policy::Fifo | Policy::RoundRobin);
    let allowed = if real_time { 1..=99 } else { 0..=0 };
    let priority =
        u32::try_from(asked.priority).ok().filter(|priority| allowed.contains(priority)).ok_or_else(|| {
            let rule = if real_time { "must be between 1 and 99" } else { "can only be 0" };
            let error = at.at("priority").error(format_args!("{} under {name} {rule}", asked.priority));
            if real_time { error } else { error.remedy("SCHED_FIFO and SCHED_RR have one") }
        })?;
    check_times(asked, policy, &at)?;
    let mut flags = 0;
    for (index, flag) in asked.flags.iter().enumerate() {
        let known = FLAGS.iter().position(|known| known == flag);
        let bit = known.ok_or_else(|| at.at(format_args!("flags[{index}]")).wrong(flag, &FLAGS.join(", ")))?;
        flags |= 1 << bit;
    }
    Ok(Scheduler {
        policy,
        flags,
        nice: asked.nice,
        priority,
        runtime_ns: asked.runtime,
        deadline_ns: asked.deadline,
        period_ns: asked.period,
    })
}

fn policy(name: &str, at: &Place) -> Result<Policy> {
    match name {
        "" => Err(at.error("is missing")),
        "SCHED_ISO" => Err(at.error("\"SCHED_ISO\": no Linux kernel has this policy, its number is only reserved")),
        _ => POLICIES.into_iter().find(|policy| policy.number_and_name().1 == name).ok_or_else(|| {
            let names: Vec<&str> = POLICIES.iter().map(|policy| policy.number_and_name().1).collect();
            at.wrong(name, &names.join(", "))
        }),
    }
}

/// The rules of sched(7) for `SCHED_DEADLINE`, under which alone there are such times.
fn check_times(asked: &spec::Scheduler, policy: Policy, at: &Place) -> Result<()> {
    let times = [("runtime", asked.runtime), ("deadline", asked.deadline), ("period", asked.period)];
    if policy != Policy::Deadline {
        return match times.iter().find(|(_, time)| *time != 0) {
            Some((name, time)) => {
                let (_, policy) = policy.number_and_name();
                Err(at.at(name).error(format_args!("{time} under {policy}: only SCHED_DEADLINE has one")))
            }
            None => Ok(()),
        };
    }
    for (name, time) in times {
        // Without a period the deadline is the period.
        let left_out = time == 0 && name == "period";
        if !left_out && !(1024..1 << 63).contains(&time) {
            return Err(at.at(name).error(format_args!("{time} ns: must be at least 1024 ns and below 2^63 ns")));
        }
    }
    if asked.runtime > asked.deadline {
        let (runtime, deadline) = (asked.runtime, asked.deadline);
        return Err(at.at("runtime").error(format_args!("{runtime} ns is longer than the deadline, {deadline} ns")));
    }
    if asked.period != 0 && asked.deadline > asked.period {
        let (deadline, period) = (asked.deadline, asked.period);
        return Err(at.at("deadline").error(format_args!("{deadline} ns is longer than the period, {period} ns")));
    }
    Ok(())
}

impl Scheduler {
    /// `SCHED_FLAG_KEEP_POLICY`: the policy stays whatever it is.
    #[must_use]
    pub fn keeps_policy(&self) -> bool {
        self.flags & KEEP_POLICY != 0
    }
}

impl Scheduling {
    /// For people, a line for each of the two.
    pub(super) fn lines(&self) -> Vec<String> {
        let scheduler = self.scheduler.as_ref().map(|s| {
            let flags = FLAGS.iter().enumerate().filter(|(bit, _)| s.flags >> bit & 1 == 1);
            let mut text = format!("{} nice {} priority {}", s.policy.number_and_name().1, s.nice, s.priority);
            if s.policy == Policy::Deadline {
                text +=
                    &format!(" runtime {} ns deadline {} ns period {} ns", s.runtime_ns, s.deadline_ns, s.period_ns);
            }
            flags.for_each(|(_, flag)| text.extend([" ", flag]));
            text
        });
        scheduler.into_iter().chain(self.io.map(|io| format!("I/O {:?} {}", io.class, io.level))).collect()
    }

    /// Checks that the process can run what it must run before its program.
    ///
    /// # Errors
    /// The kernel forbids a `SCHED_DEADLINE` process to fork, and `startContainer` hooks are forked.
    pub(super) fn check_hooks(&self, start_container: &[spec::Hook]) -> Result<()> {
        match &self.scheduler {
            Some(s) if s.policy == Policy::Deadline && s.flags & RESET_ON_FORK == 0 && !start_container.is_empty() => {
                Err(place("process.scheduler.flags")
                    .error("a SCHED_DEADLINE process cannot fork, and hooks.startContainer has hooks for it to run")
                    .remedy("add \"SCHED_FLAG_RESET_ON_FORK\", or remove the hooks"))
            }
            _ => Ok(()),
        }
    }
}

fn io_priority(asked: &spec::IoPriority) -> Result<IoPriority> {
    let at = place("process.ioPriority");
    let class = match asked.class.as_str() {
        "IOPRIO_CLASS_RT" => IoClass::RealTime,
        "IOPRIO_CLASS_BE" => IoClass::BestEffort,
        "IOPRIO_CLASS_IDLE" => IoClass::Idle,
        "" => return Err(at.at("class").error("is missing")),
        other => return Err(at.at("class").wrong(other, "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE")),
    };
    // The idle class has none, and 0 is what the peers take for a missing one.
    let priority = asked.priority.unwrap_or(0);
    let level = u8::try_from(priority).ok().filter(|level| *level <= 7);
    let level = level.ok_or_else(|| at.at("priority").error(format_args!("{priority} is not between 0 and 7")))?;
    Ok(IoPriority { class, level })
}

/// Decides the processors of a process that joins. A container's first process is checked and
/// otherwise left alone (runtime-spec config.md § Linux Process, `execCPUAffinity`).
pub(crate) fn affinity(asked: Option<&CpuAffinity>, findings: &mut Findings) -> Affinity {
    let Some(asked) = asked else { return Affinity::default() };
    let at = place("process.execCPUAffinity");
    Affinity {
        initial: findings.keep(cpu_list::mask(&asked.initial, &at.at("initial"))),
        last: findings.keep(cpu_list::mask(&asked.last, &at.at("final"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide(process: Value) -> std::result::Result<Scheduling, String> {
        let process: Process = serde_json::from_value(process).unwrap();
        let mut findings = Findings::default();
        affinity(process.exec_cpu_affinity.as_ref(), &mut findings);
        let scheduling = scheduling(&process, &mut findings);
        findings.warnings().map(|_| scheduling).map_err(|error| error.to_string())
    }

    #[test]
    fn every_policy_and_flag_is_known() {
        for (name, number) in [
            ("SCHED_OTHER", 0),
            ("SCHED_FIFO", 1),
            ("SCHED_RR", 2),
            ("SCHED_BATCH", 3),
            ("SCHED_IDLE", 5),
            ("SCHED_DEADLINE", 6),
        ] {
            let priority = i32::from(["SCHED_FIFO", "SCHED_RR"].contains(&name));
            let time = if name == "SCHED_DEADLINE" { 1_000_000 } else { 0 };
            let asked =
                json!({"policy": name, "priority": priority, "runtime": time, "deadline": time, "flags": FLAGS});
            let scheduler = decide(json!({ "scheduler": asked })).unwrap().scheduler.unwrap();
            assert_eq!((scheduler.policy.number_and_name().0, scheduler.flags), (number, 0x7f), "{name}");
        }
    }

    /// Each of these is refused with its place and what is allowed; none is dropped.
    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (json!({"nice": 1}), "policy: is missing"),
            (json!({"policy": "SCHED_FAST"}), "policy: \"SCHED_FAST\" is not one of SCHED_OTHER, SCHED_FIFO, SCHED_RR"),
            (json!({"policy": "SCHED_ISO"}), "policy: \"SCHED_ISO\": no Linux kernel has this policy"),
            (json!({"policy": "SCHED_OTHER", "nice": -21}), "nice: -21 is not between -20 and 19"),
            (json!({"policy": "SCHED_FIFO", "nice": 20}), "nice: 20 is not between -20 and 19"),
            (json!({"policy": "SCHED_FIFO"}), "priority: 0 under SCHED_FIFO must be between 1 and 99"),
            (json!({"policy": "SCHED_RR", "priority": 100}), "priority: 100 under SCHED_RR must be between 1 and 99"),
            (json!({"policy": "SCHED_RR", "priority": -1}), "priority: -1 under SCHED_RR"),
            (json!({"policy": "SCHED_BATCH", "priority": 1}), "priority: 1 under SCHED_BATCH can only be 0"),
            (json!({"policy": "SCHED_IDLE", "period": 1024}), "period: 1024 under SCHED_IDLE: only SCHED_DEADLINE"),
            (json!({"policy": "SCHED_OTHER", "flags": ["RECLAIM"]}), "flags[0]: \"RECLAIM\" is not one of SCHED_FLAG"),
            (json!({"policy": "SCHED_DEADLINE"}), "runtime: 0 ns: must be at least 1024 ns"),
            (json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1023}), "deadline: 1023 ns: must be"),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 9_223_372_036_854_775_808_u64}),
                "deadline: 9223372036854775808 ns: must be at least 1024 ns and below 2^63 ns",
            ),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000}),
                "runtime: 3000 ns is longer than the deadline, 2000 ns",
            ),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2500}),
                "deadline: 3000 ns is longer than the period, 2500 ns",
            ),
        ];
        for (scheduler, expected) in cases {
            let error = decide(json!({ "scheduler": scheduler })).expect_err(&scheduler.to_string());
            assert!(error.starts_with(&format!("config.json: process.scheduler.{expected}")), "{scheduler}: {error}");
        }
        let cases = [
            (json!({"ioPriority": {"priority": 1}}), "ioPriority.class: is missing"),
            (
                json!({"ioPriority": {"class": "RT", "priority": 0}}),
                "ioPriority.class: \"RT\" is not one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE",
            ),
            (
                json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}),
                "ioPriority.priority: 8 is not between 0 and 7",
            ),
            (
                json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": -1}}),
                "ioPriority.priority: -1 is not between 0 and 7",
            ),
            (json!({"execCPUAffinity": {"initial": "a"}}), "execCPUAffinity.initial: \"a\": \"a\" is no number"),
            (json!({"execCPUAffinity": {"final": "1-0"}}), "execCPUAffinity.final: \"1-0\": the range"),
        ];
        for (process, expected) in cases {
            let error = decide(process.clone()).expect_err(&process.to_string());
            assert!(error.starts_with(&format!("config.json: process.{expected}")), "{process}: {error}");
        }
    }

    #[test]
    fn a_deadline_process_cannot_run_start_container_hooks() {
        let hooks = [spec::Hook::default()];
        let decided = |flags: &[&str]| {
            let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2000, "flags": flags});
            decide(json!({ "scheduler": scheduler })).unwrap()
        };
        let error = decided(&[]).check_hooks(&hooks).unwrap_err().to_string();
        assert!(error.starts_with("config.json: process.scheduler.flags: a SCHED_DEADLINE process cannot"), "{error}");
        decided(&[]).check_hooks(&[]).unwrap();
        decided(&["SCHED_FLAG_RESET_ON_FORK"]).check_hooks(&hooks).unwrap();
    }
}
