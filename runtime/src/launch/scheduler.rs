//! How does a process get its processors, its scheduling policy and its I/O priority?
//!
//! Host half, with the privileges of the machine: inside a user namespace nobody has
//! `CAP_SYS_NICE` of the machine, which most of it takes.

use nix::errno::Errno;

use crate::error::{Error, Result, errno_text};
use crate::plan::{IoClass, Policy, Scheduler, Scheduling};
use crate::sys::{self, SchedAttr};

/// As many processors as any kernel supports: it takes those that there are, and that the cgroup
/// allows (sched_setaffinity(2)).
const EVERY_PROCESSOR: [u64; 128] = [u64::MAX; 128];

/// Lets a process run wherever its cgroup allows: the caller may have been restricted, by an
/// init system or by hand, and the container is not the caller.
pub fn reset_affinity(pid: i32, warn: &dyn Fn(&str)) {
    if let Err(errno) = sys::sched_setaffinity(pid, &EVERY_PROCESSOR) {
        warn(&format!("sched_setaffinity: {errno:?}; the process stays on the processors of its caller"));
    }
}

/// Restricts a process, 0 is this one, to the processors of a mask; an empty one changes nothing.
///
/// # Errors
/// `EINVAL`: none of them is there, or allowed here.
pub fn set_affinity(pid: i32, mask: &[u64], property: &str) -> Result<()> {
    if mask.is_empty() {
        return Ok(());
    }
    let hint =
        |errno| if errno == Errno::EINVAL { "; none of these processors is online and allowed here" } else { "" };
    sys::sched_setaffinity(pid, mask).map_err(|errno| {
        Error::new(format!("process.execCPUAffinity.{property}: sched_setaffinity: {errno:?}{}", hint(errno)))
    })
}

/// Sets policy and priorities of a process that is ready to run its program: the work before that
/// is done at the caller's own.
///
/// # Errors
/// The kernel refuses them: a missing privilege, or what the machine cannot give.
pub fn apply(pid: i32, scheduling: &Scheduling) -> Result<()> {
    if let Some(io) = scheduling.io {
        let class = match io.class {
            IoClass::RealTime => 1,
            IoClass::BestEffort => 2,
            IoClass::Idle => 3,
        };
        // The process is alone in its process group: its children inherit the value.
        sys::ioprio_set(pid, class << 13 | i32::from(io.level)).map_err(|errno| {
            let hint = if errno == Errno::EPERM { "; IOPRIO_CLASS_RT needs CAP_SYS_NICE" } else { "" };
            Error::new(format!("process.ioPriority: ioprio_set: {}{hint}", errno_text(errno)))
        })?;
    }
    match &scheduling.scheduler {
        Some(scheduler) => set_scheduler(pid, scheduler),
        None => Ok(()),
    }
}

fn set_scheduler(pid: i32, scheduler: &Scheduler) -> Result<()> {
    if !scheduler.policy.has_nice() && !scheduler.keeps_policy() {
        // The policy to be set ignores it: it is what holds when that one is left.
        let plain = Scheduler { policy: Policy::Other, flags: 0, priority: 0, ..scheduler.clone() };
        set(pid, &Scheduler { runtime_ns: 0, deadline_ns: 0, period_ns: 0, ..plain })?;
    }
    set(pid, scheduler)
}

fn set(pid: i32, scheduler: &Scheduler) -> Result<()> {
    let (policy, name) = scheduler.policy.number_and_name();
    let attr = SchedAttr {
        size: 0,
        policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        times: [scheduler.runtime_ns, scheduler.deadline_ns, scheduler.period_ns, 0],
    };
    sys::sched_setattr(pid, attr).map_err(|errno| {
        let hint = hint(errno, scheduler.policy);
        Error::new(format!("process.scheduler: sched_setattr {name}: {}{hint}", errno_text(errno)))
    })
}

fn hint(errno: Errno, policy: Policy) -> &'static str {
    match (errno, policy) {
        (Errno::EPERM, Policy::Deadline) => {
            "; it needs CAP_SYS_NICE, and a process that may run on all processors of its cpuset"
        }
        (Errno::EPERM, Policy::Fifo | Policy::RoundRobin) => {
            "; it needs CAP_SYS_NICE, and with CONFIG_RT_GROUP_SCHED a cgroup that has real-time runtime"
        }
        (Errno::EPERM, _) => "; it needs CAP_SYS_NICE",
        (Errno::EBUSY, _) => "; the processors have promised too much of their time to other SCHED_DEADLINE processes",
        (Errno::EINVAL, Policy::Deadline) => "; see /proc/sys/kernel/sched_deadline_period_min_us and _max_us",
        (Errno::EOPNOTSUPP, _) => "; SCHED_FLAG_UTIL_CLAMP_* need a kernel with CONFIG_UCLAMP_TASK",
        _ => "",
    }
}
