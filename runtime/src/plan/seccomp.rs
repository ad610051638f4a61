//! Which system calls may the program make? `linux.seccomp` of config.json, understood.
//!
//! [`decide`] reads the words, [`compile`](compile::compile) makes the filter, and [`reference`](mod@reference)
//! says slowly and plainly what a profile means: tests hold one against the other. Where the specification is
//! silent it is as with runc and crun, which leave it to libseccomp. An unconditional rule for a call takes the
//! place of all conditional ones, else the first rule that matches holds. A rule that says what the default says
//! is none. Two conditions on one argument in one rule are alternatives.

use cleat_plan::Process;
use cleat_plan::seccomp::{Load, MAX_INSTRUCTIONS, Program, Seccomp};
use serde::{Deserialize, Serialize};

use super::findings::Findings;
use super::place::Place;
use crate::error::Result;
use crate::spec;

pub mod compile;
pub mod reference;
mod syscalls;

/// A system call's name and its number on each of [`Arch`].
struct Row(&'static str, [u16; 5]);

/// An architecture has no such call.
const NO: u16 = u16::MAX;
/// Numbers that are private to ARM begin here in the table, and at [`ARM_PRIVATE`] in the kernel.
const ARM_PRIVATE_ROW: u16 = 0xf000;
/// `__ARM_NR_BASE`
const ARM_PRIVATE: u32 = 0x0f_0000;
/// `__X32_SYSCALL_BIT`
const X32_BIT: u32 = 0x4000_0000;

/// What a filter answers (linux/seccomp.h); the low half of some has a number.
pub mod verdict {
    /// End the process.
    pub const KILL_PROCESS: u32 = 0x8000_0000;
    /// End the thread.
    pub const KILL_THREAD: u32 = 0;
    /// Send `SIGSYS`.
    pub const TRAP: u32 = 0x0003_0000;
    /// Fail with the errno in the low half.
    pub const ERRNO: u32 = 0x0005_0000;
    /// Ask who holds the listener.
    pub const NOTIFY: u32 = 0x7fc0_0000;
    /// Ask the tracer, which gets the low half.
    pub const TRACE: u32 = 0x7ff0_0000;
    /// Allow it and log it.
    pub const LOG: u32 = 0x7ffc_0000;
    /// Allow it.
    pub const ALLOW: u32 = 0x7fff_0000;
    /// The part that is no number.
    pub const ACTION: u32 = 0xffff_0000;
}

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// An architecture that filters are made for: its place in the table of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM, EABI.
    Arm,
}

impl Arch {
    /// `AUDIT_ARCH_*`, what the kernel calls it. x32 is a kind of x86_64 there.
    #[must_use]
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Arm64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Arguments have 32 bits.
    fn narrow(self) -> bool {
        matches!(self, Arch::X86 | Arch::Arm)
    }

    /// The number of a call.
    #[must_use]
    pub fn number_of(self, name: &str) -> Option<u32> {
        self.number(row(name)?)
    }

    fn number(self, row: u16) -> Option<u32> {
        let number = syscalls::SYSCALLS.get(usize::from(row))?.1[self as usize];
        match (self, number) {
            (_, NO) => None,
            (Arch::Arm, number) if number >= ARM_PRIVATE_ROW => Some(ARM_PRIVATE + u32::from(number - ARM_PRIVATE_ROW)),
            (Arch::X32, number) => Some(X32_BIT | u32::from(number)),
            (_, number) => Some(u32::from(number)),
        }
    }
}

/// Architectures that one kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// x86_64 kernels.
    X86,
    /// arm64 kernels.
    Arm,
}

impl Family {
    /// That of this program.
    pub const NATIVE: Family = if cfg!(target_arch = "aarch64") { Family::Arm } else { Family::X86 };

    fn native(self) -> Arch {
        match self {
            Family::X86 => Arch::X86_64,
            Family::Arm => Arch::Arm64,
        }
    }

    /// The specification's names of what its kernels run.
    #[must_use]
    pub fn architectures(self) -> &'static [(&'static str, Arch)] {
        match self {
            Family::X86 => {
                &[("SCMP_ARCH_X86_64", Arch::X86_64), ("SCMP_ARCH_X86", Arch::X86), ("SCMP_ARCH_X32", Arch::X32)]
            }
            Family::Arm => &[("SCMP_ARCH_AARCH64", Arch::Arm64), ("SCMP_ARCH_ARM", Arch::Arm)],
        }
    }
}

/// Further architectures of the specification. None of our kernels runs their programs, so there is
/// nothing to filter; profiles for many machines name them.
const FOREIGN: &[&str] = &[
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// Actions by the specification's names.
pub const ACTIONS: &[(&str, u32)] = &[
    ("SCMP_ACT_KILL", verdict::KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", verdict::KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", verdict::KILL_THREAD),
    ("SCMP_ACT_TRAP", verdict::TRAP),
    ("SCMP_ACT_ERRNO", verdict::ERRNO),
    ("SCMP_ACT_TRACE", verdict::TRACE),
    ("SCMP_ACT_ALLOW", verdict::ALLOW),
    ("SCMP_ACT_LOG", verdict::LOG),
    ("SCMP_ACT_NOTIFY", verdict::NOTIFY),
];

/// Comparisons by the specification's names.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("SCMP_CMP_NE", Operator::NotEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
];

/// Flags by the specification's names (seccomp(2)).
pub const FLAGS: &[(&str, u32)] = &[
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 2),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];
const SPEC_ALLOW: u32 = 4;
const TSYNC: u32 = 1;
/// With a listener, TSYNC's answer would be taken for the descriptor.
const TSYNC_ESRCH: u32 = 16;
const WAIT_KILLABLE_RECV: u32 = 32;

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// The bits of `mask` are those of `value`.
    MaskedEqual,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: u64,
    /// For [`Operator::MaskedEqual`].
    pub mask: u64,
}

/// What is answered to some calls when all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Rows of the table.
    calls: Vec<u16>,
    /// The answer.
    pub verdict: u32,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// A profile, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The answer where no rule matches.
    pub default: u32,
    /// The same for calls with higher numbers than any that the profile names: they came after it
    /// was written, and programs that try them look for `ENOSYS` to do without.
    pub newer: u32,
    /// What programs of these are answered; of others, they are killed.
    pub architectures: Vec<Arch>,
    /// In the order of config.json.
    pub rules: Vec<Rule>,
}

/// A filter and who decides for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// The program.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*`
    pub flags: u32,
    /// `SCMP_ACT_NOTIFY` is among its answers.
    pub listener: Option<Listener>,
}

/// Where the listening descriptor goes (runtime-spec config-linux.md § Seccomp).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// A `SOCK_STREAM` socket of the host.
    pub path: std::path::PathBuf,
    /// Handed on as it is.
    pub metadata: String,
}

impl Filter {
    /// Which calls of the init's it forbids when it is loaded early.
    fn forbidden(&self, no_new_privileges: bool, hooks: bool) -> Vec<&'static str> {
        let native = Family::NATIVE.native();
        let instructions: Vec<_> = self.program.instructions().collect();
        let allows = |(name, [first, second]): &(&str, [u64; 2])| {
            let Some(number) = native.number_of(name) else { return true };
            let mut call = reference::Call { number, audit: native.audit(), arguments: [0; 6] };
            (call.arguments[0], call.arguments[1]) = (*first, *second);
            // What is no filter of ours the kernel refuses.
            let answer = reference::run(&instructions, &call);
            answer.is_none_or(|answer| matches!(answer & verdict::ACTION, verdict::ALLOW | verdict::LOG))
        };
        let capset = [("capset", [0, 0])];
        let capset = capset.iter().filter(|_| !no_new_privileges);
        let hooks = FOR_HOOKS.iter().filter(|_| hooks);
        AFTER_EARLY.iter().chain(capset).chain(hooks).filter(|call| !allows(call)).map(|(name, _)| *name).collect()
    }

    /// The filter as the init gets it.
    #[must_use]
    pub fn with(self, load: Load) -> Seccomp {
        Seccomp { program: self.program, flags: self.flags, listener: self.listener.is_some(), load }
    }
}

/// The names of all calls, on whatever architecture.
pub fn calls() -> impl Iterator<Item = &'static str> {
    syscalls::SYSCALLS.iter().map(|row| row.0)
}

/// The row of a call's name.
fn row(name: &str) -> Option<u16> {
    let at = syscalls::SYSCALLS.binary_search_by(|row| row.0.cmp(name)).ok()?;
    u16::try_from(at).ok()
}

/// The rows of many names; profiles have them sorted, mostly.
fn rows(names: &[String]) -> Vec<u16> {
    let mut next = 0;
    let mut find = |name: &String| {
        let near = syscalls::SYSCALLS.iter().skip(next).take(4).position(|row| row.0 == name);
        let at = near.map_or_else(|| row(name), |near| u16::try_from(next + near).ok())?;
        next = usize::from(at) + 1;
        Some(at)
    };
    names.iter().filter_map(&mut find).collect()
}

fn names(table: &[(&str, impl Copy)]) -> String {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A filter out of `linux.seccomp`. Problems are a word that is none, a contradiction, and a filter
/// that is too long for the kernel.
///
/// `receiver` is the listener's socket where the configuration names none (an annotation of crun's).
pub fn decide(
    config: &spec::Seccomp,
    receiver: Option<&str>,
    family: Family,
    findings: &mut Findings,
) -> Option<Filter> {
    let place = super::place::place("linux.seccomp");
    let profile = profile(config, family, findings);
    findings.keep(check_execve(&profile, family, &place));
    let listener = findings.keep(listener(config, receiver, &profile, family, &place));
    let flags = flags(config, listener.is_some(), &place, findings);
    let program = findings.keep(assemble(&profile, family, &place).map(Some))?;
    Some(Filter { program, flags, listener })
}

/// Without it no program can be started.
fn check_execve(profile: &Profile, family: Family, place: &Place) -> Result<()> {
    let execve = family.native().number_of("execve").unwrap_or(0);
    let starts = |verdict: &u32| {
        matches!(verdict & verdict::ACTION, verdict::ALLOW | verdict::LOG | verdict::TRACE | verdict::NOTIFY)
    };
    if reference::answers(profile, family.native(), execve).iter().any(starts) {
        return Ok(());
    }
    Err(place.error("execve is not allowed, which starts the program").remedy("allow it"))
}

fn assemble(profile: &Profile, family: Family, place: &Place) -> Result<Program> {
    let instructions = compile::compile(profile, family);
    let count = instructions.len();
    Program::new(instructions).ok_or_else(|| {
        place.error(format_args!("the filter has {count} instructions and the kernel takes {MAX_INSTRUCTIONS}")).remedy(
            "name fewer calls with \
             conditions on arguments, or fewer architectures",
        )
    })
}

/// The profile alone.
pub fn profile(config: &spec::Seccomp, family: Family, findings: &mut Findings) -> Profile {
    let place = super::place::place("linux.seccomp");
    let default = findings.keep(default_action(config, &place));
    let mut rules = Vec::with_capacity(config.syscalls.len());
    for (index, rule) in config.syscalls.iter().enumerate() {
        let decided = decide_rule(rule, &place.at(format_args!("syscalls[{index}]")), findings);
        rules.extend(findings.keep(decided));
    }
    // A profile that lets everything else pass has no quarrel with what is new, and a tracer is to
    // hear of all else: it may know better.
    let permissive = matches!(default & verdict::ACTION, verdict::ALLOW | verdict::LOG | verdict::TRACE);
    let newer = if permissive { default } else { verdict::ERRNO | ENOSYS };
    Profile { default, newer, architectures: architectures(config, family, &place, findings), rules }
}

fn default_action(config: &spec::Seccomp, place: &Place) -> Result<u32> {
    if config.default_action.is_empty() {
        return Err(place
            .at("defaultAction")
            .error("is missing")
            .remedy(format_args!("it is one of {}", names(ACTIONS))));
    }
    let default = action(&config.default_action, config.default_errno_ret, place, "defaultAction", "defaultErrnoRet")?;
    if default == verdict::NOTIFY {
        return Err(place
            .at("defaultAction")
            .error("SCMP_ACT_NOTIFY cannot be the default: the runtime's own last calls would wait for an answer"));
    }
    Ok(default)
}

fn action(word: &str, errno: Option<u32>, place: &Place, at: &str, errno_at: &str) -> Result<u32> {
    let known = ACTIONS.iter().find(|(name, _)| *name == word);
    let (_, bare) = known.ok_or_else(|| place.at(at).wrong(word, &names(ACTIONS)))?;
    // MAX_ERRNO, above which the kernel cuts; a tracer gets all of the low half.
    let most = match *bare {
        verdict::ERRNO => 4095,
        verdict::TRACE => 0xffff,
        _ if errno.is_some() => {
            return Err(place.at(errno_at).error(format_args!("{word} has no number")).remedy("remove it"));
        }
        bare => return Ok(bare),
    };
    match errno.unwrap_or(EPERM) {
        number if number <= most => Ok(bare | number),
        number => Err(place.at(errno_at).error(format_args!("{number} is above {most}, the most that {word} takes"))),
    }
}

fn architectures(config: &spec::Seccomp, family: Family, place: &Place, findings: &mut Findings) -> Vec<Arch> {
    // The machine's own is always there.
    let mut list = vec![family.native()];
    findings.each(&config.architectures, |index, word| {
        match family.architectures().iter().find(|(name, _)| name == word) {
            Some((_, arch)) if !list.contains(arch) => list.push(*arch),
            Some(_) => {}
            None if FOREIGN.contains(&word.as_str()) => {}
            None => return Err(place.at(format_args!("architectures[{index}]")).wrong(word, &FOREIGN.join(", "))),
        }
        Ok(())
    });
    list
}

fn decide_rule(rule: &spec::SyscallRule, place: &Place, findings: &mut Findings) -> Result<Vec<Rule>> {
    if rule.names.is_empty() {
        // Against the specification, but there are such profiles, and it confines nothing.
        findings.warnings.push(place.at("names").error("is empty: the rule is of no system call").to_string());
    }
    let verdict = action(&rule.action, rule.errno_ret, place, "action", "errnoRet")?;
    // Names that no architecture has are skipped: profiles are written for kernels to come, too.
    let calls = rows(&rule.names);
    let conditions = findings.each(&rule.args, |index, arg| condition(arg, &place.at(format_args!("args[{index}]"))));
    let twice = |c: &Condition| conditions.iter().filter(|other| other.argument == c.argument).count() > 1;
    if !conditions.iter().any(twice) {
        return Ok(vec![Rule { calls, verdict, conditions }]);
    }
    // Two on one argument are alternatives, as with other runtimes; profiles of engines are written so.
    Ok(conditions.iter().map(|c| Rule { calls: calls.clone(), verdict, conditions: vec![*c] }).collect())
}

fn condition(arg: &spec::SyscallArg, place: &Place) -> Result<Condition> {
    let argument = u8::try_from(arg.index).ok().filter(|index| *index < 6);
    let argument = argument
        .ok_or_else(|| place.at("index").error(format_args!("{} is not an argument, from 0 to 5", arg.index)))?;
    let known = OPERATORS.iter().find(|(name, _)| *name == arg.op);
    let (_, operator) = known.ok_or_else(|| place.at("op").wrong(&arg.op, &names(OPERATORS)))?;
    let (value, mask) = match operator {
        Operator::MaskedEqual => (arg.value_two, arg.value),
        _ => (arg.value, u64::MAX),
    };
    Ok(Condition { argument, operator: *operator, value, mask })
}

fn flags(config: &spec::Seccomp, listener: bool, place: &Place, findings: &mut Findings) -> u32 {
    // Without a word about flags it is as with runc: no slower speculation than the machine's own.
    let Some(list) = &config.flags else { return SPEC_ALLOW };
    let decided = findings.each(list, |index, word| {
        let known = FLAGS.iter().find(|(name, _)| name == word);
        Ok(known.ok_or_else(|| place.at(format_args!("flags[{index}]")).wrong(word, &names(FLAGS)))?.1)
    });
    let flags = decided.into_iter().fold(0, |all, flag| all | flag);
    match listener {
        true if flags & TSYNC != 0 => flags | TSYNC_ESRCH,
        true => flags,
        // The kernel refuses it where nobody receives.
        false => flags & !WAIT_KILLABLE_RECV,
    }
}

fn listener(
    config: &spec::Seccomp,
    receiver: Option<&str>,
    profile: &Profile,
    family: Family,
    place: &Place,
) -> Result<Option<Listener>> {
    let path = Some(config.listener_path.as_str()).filter(|path| !path.is_empty()).or(receiver).unwrap_or_default();
    if path.is_empty() && !config.listener_metadata.is_empty() {
        return Err(place.at("listenerMetadata").error("is for a listener").remedy("set listenerPath, too"));
    }
    if !profile.rules.iter().any(|rule| rule.verdict == verdict::NOTIFY) {
        return Ok(None);
    }
    if !path.starts_with('/') {
        return Err(place
            .at("listenerPath")
            .error(format_args!("{path:?}: SCMP_ACT_NOTIFY needs the absolute path of a socket that listens")));
    }
    // The descriptor is sent with the filter in force: that call must not wait for an answer.
    let native = family.native();
    let number = native.number_of("sendmsg").unwrap_or(0);
    let sends = reference::answers(profile, native, number);
    if !sends.iter().all(|verdict| matches!(verdict & verdict::ACTION, verdict::ALLOW | verdict::LOG)) {
        return Err(place.error("with SCMP_ACT_NOTIFY sendmsg must be allowed: it carries the listening descriptor"));
    }
    Ok(Some(Listener { path: path.into(), metadata: config.listener_metadata.clone() }))
}

/// Calls that the init still makes when the filter is loaded early, with arguments that profiles have conditions
/// on. It makes them to go on in a child, become the leader of a session with a terminal, wait for the order to
/// start, set limits, and say what went wrong.
const AFTER_EARLY: &[(&str, [u64; 2])] = &[
    ("accept4", [0, 0]),
    ("clone", [CLONE_PARENT | CLONE_PIDFD, 0]),
    ("close", [0, 0]),
    ("exit_group", [0, 0]),
    ("getpid", [0, 0]),
    ("ioctl", [0, TIOCSCTTY]),
    ("pipe2", [0, 0]),
    ("prlimit64", [0, 0]),
    ("read", [0, 0]),
    ("recvfrom", [0, 0]),
    ("recvmsg", [0, 0]),
    ("sendmsg", [0, 0]),
    ("setsid", [0, 0]),
    ("write", [0, 0]),
];
/// What running `startContainer` hooks takes on top of that: calls that filters have known for long.
const FOR_HOOKS: &[(&str, [u64; 2])] = &[
    ("clone", [CLONE_PIDFD | SIGCHLD, 0]),
    ("dup3", [0, 0]),
    ("kill", [0, 9]),
    ("ppoll", [0, 0]),
    ("pread64", [0, 0]),
    ("pwrite64", [0, 0]),
    ("waitid", [0, 0]),
];
const CLONE_PARENT: u64 = 0x8000;
const CLONE_PIDFD: u64 = 0x1000;
const SIGCHLD: u64 = 17;
const TIOCSCTTY: u64 = 0x540e;

/// Who can trace a process before it becomes its program, and so make it do what the filter forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// Nobody: it is alone in a new pid namespace, and who may join it there has no `CAP_SYS_PTRACE`.
    Alone,
    /// Others who see it; `hooks` of the container run before the program.
    Seen {
        /// `startContainer` hooks
        hooks: bool,
    },
}

/// When the filter is loaded. As late as can be, so that it need not allow what the init does. But before anybody
/// can trace the process, if it allows what is then still to be done.
///
/// # Errors
/// It is to be loaded early and forbids that, and without `no_new_privs` the privilege to load it later
/// cannot be kept in reach of others.
pub(crate) fn load(filter: &Filter, no_new_privileges: bool, exposure: Exposure, findings: &mut Findings) -> Load {
    let Exposure::Seen { hooks } = exposure else {
        return if no_new_privileges { Load::Last } else { Load::LastPrivileged };
    };
    let place = super::place::place("linux.seccomp");
    let forbidden = filter.forbidden(no_new_privileges, hooks);
    if forbidden.is_empty() {
        return Load::Early;
    }
    let names = forbidden.join(", ");
    if no_new_privileges {
        let what = format_args!(
            "forbids {names}, and so is loaded last of all: until then a process with CAP_SYS_PTRACE in the container's \
             pid namespace can make this process do what it forbids; allow it"
        );
        findings.warnings.push(place.error(what).to_string());
        return Load::Last;
    }
    findings.problems.push(
        place.error(format_args!("forbids {names}, and is loaded before, as others may trace the process")).remedy(
            "allow it, or set \
         process.noNewPrivileges",
        ),
    );
    Load::Early
}

/// Whether a process has a filter that is loaded after the order to start.
#[must_use]
pub fn is_loaded_at_start(process: &Process) -> bool {
    process.seccomp.as_ref().is_some_and(|filter| filter.load != Load::Early)
}

/// Calls that 32-bit x86 programs can also make through one number for all, socketcall(2) or
/// ipc(2), and which they are there. Sorted by name.
const INNER: &[(&str, &str, u32)] = &[
    ("accept", SOCKETCALL, 5),
    ("accept4", SOCKETCALL, 18),
    ("bind", SOCKETCALL, 2),
    ("connect", SOCKETCALL, 3),
    ("getpeername", SOCKETCALL, 7),
    ("getsockname", SOCKETCALL, 6),
    ("getsockopt", SOCKETCALL, 15),
    ("listen", SOCKETCALL, 4),
    ("msgctl", IPC, 14),
    ("msgget", IPC, 13),
    ("msgrcv", IPC, 12),
    ("msgsnd", IPC, 11),
    ("recv", SOCKETCALL, 10),
    ("recvfrom", SOCKETCALL, 12),
    ("recvmmsg", SOCKETCALL, 19),
    ("recvmsg", SOCKETCALL, 17),
    ("semctl", IPC, 3),
    ("semget", IPC, 2),
    ("semop", IPC, 1),
    ("semtimedop", IPC, 4),
    ("send", SOCKETCALL, 9),
    ("sendmmsg", SOCKETCALL, 20),
    ("sendmsg", SOCKETCALL, 16),
    ("sendto", SOCKETCALL, 11),
    ("setsockopt", SOCKETCALL, 14),
    ("shmat", IPC, 21),
    ("shmctl", IPC, 24),
    ("shmdt", IPC, 22),
    ("shmget", IPC, 23),
    ("shutdown", SOCKETCALL, 13),
    ("socket", SOCKETCALL, 1),
    ("socketpair", SOCKETCALL, 8),
];
const SOCKETCALL: &str = "socketcall";
const IPC: &str = "ipc";

/// A call within a call.
#[derive(Clone, Copy, Debug)]
struct Inner {
    /// Its row.
    row: u16,
    /// The number of the call that it is in.
    number: u32,
    /// What the first argument is then.
    condition: Condition,
}

/// Those of [`INNER`], by their rows.
fn inner_calls() -> Vec<Inner> {
    INNER.iter().filter_map(inner).collect()
}

fn inner((name, outer, call): &(&str, &str, u32)) -> Option<Inner> {
    // The upper half of ipc's is a version, and not looked at before the call is found.
    let (operator, mask) = if *outer == IPC { (Operator::MaskedEqual, 0xffff) } else { (Operator::Equal, u64::MAX) };
    let condition = Condition { argument: 0, operator, value: u64::from(*call), mask };
    Some(Inner { row: row(name)?, number: Arch::X86.number_of(outer)?, condition })
}

fn inner_call(list: &[Inner], row: u16) -> Option<&Inner> {
    list.binary_search_by_key(&row, |inner| inner.row).ok().and_then(|at| list.get(at))
}

/// Whether a rule holds for the number that 32-bit x86 has for many calls, too. Arguments cannot be seen there, as
/// they lie in memory. What a rule allows under conditions is not allowed this way. What it forbids under
/// conditions is forbidden whatever they are.
fn holds_multiplexed(profile: &Profile, rule: &Rule) -> bool {
    let default_allows = matches!(profile.default & verdict::ACTION, verdict::ALLOW | verdict::LOG);
    rule.conditions.is_empty() || default_allows
}

#[cfg(test)]
mod tests;
