//! Filters that others' libraries make of the same profiles answer the same.

use std::collections::BTreeMap;
use std::path::Path;

use cleat::plan::seccomp::compile::compile;
use cleat::plan::seccomp::reference::{self, SystemCall};
use cleat::plan::seccomp::{Arch, Family, calls, verdict};
use cleat_plan::seccomp::Instruction;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde_json::{Value, json};

use crate::libseccomp::{Library, answer};
use crate::random::{self, Edges, Random};
use crate::{seeds, understood};

/// Calls that 32-bit x86 can also make by way of another one.
fn is_multiplexed(name: &str) -> bool {
    const SOCKETS: &[&str] = &[
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: &[&str] = &[
        "semop",
        "semget",
        "semctl",
        "semtimedop",
        "msgsnd",
        "msgrcv",
        "msgget",
        "msgctl",
        "shmat",
        "shmdt",
        "shmget",
        "shmctl",
    ];
    SOCKETS.contains(&name) || IPC.contains(&name)
}

/// Names under which both mean the same calls: the library may be older than our table, and one
/// number may have two names.
fn common_names(library: &Library, family: Family) -> Vec<&'static str> {
    let mut seen = Vec::new();
    let mut common = Vec::new();
    for name in calls().filter(|name| library.knows(name) && !["socketcall", "ipc"].contains(name)) {
        let numbers = family.architectures().iter().map(|(_, arch)| *arch);
        let numbers: Vec<_> = numbers.filter_map(|arch| Some((arch as usize, arch.number_of(name)?))).collect();
        let agrees = family.architectures().iter().all(|(_, arch)| arch.number_of(name) == library.number(name, *arch));
        if agrees && !numbers.iter().any(|number| seen.contains(number)) {
            seen.extend(numbers);
            common.push(name);
        }
    }
    common
}

/// Which answers of the library can be expected to be ours.
///
/// * Calls with higher numbers than any that is named get ENOSYS from us (and from runc, which
///   patches the library's filter): the profiles here name the last one, so those are left out.
/// * x32: the library compares 32 bits of an argument, where the kernel has 64.
/// * ipc(2): the library compares all of the first argument, where the kernel looks at 16 bits.
struct Comparable {
    /// The highest number of each architecture.
    last: [u32; 5],
}

impl Comparable {
    fn new() -> Self {
        let mut last = [0; 5];
        for arch in ALL {
            let numbers = calls().filter_map(|name| arch.number_of(name));
            // Those private to ARM are not newer than others.
            last[arch as usize] = numbers.filter(|number| number & 0x0f_0000 == 0).max().unwrap();
        }
        Self { last }
    }

    fn has(&self, call: &SystemCall) -> bool {
        let arch = arch_of(call);
        let known = arch.is_none_or(|arch| call.number <= self.last[arch as usize] || call.number == u32::MAX);
        let wide = arch == Some(Arch::X32) && call.arguments.iter().any(|argument| argument >> 32 != 0);
        let versioned = arch == Some(Arch::X86) && call.number == 117 && call.arguments[0] & 0xffff_0000 != 0;
        known && !wide && !versioned
    }
}

const ALL: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Arm64, Arch::Arm];

fn arch_of(call: &SystemCall) -> Option<Arch> {
    let x32 = call.audit == Arch::X32.audit() && call.number >= 0x4000_0000 && call.number != u32::MAX;
    ALL.into_iter().find(|arch| arch.audit() == call.audit && (*arch == Arch::X32) == x32)
}

/// A profile about whose meaning there is no doubt: where rules overlap, one action holds. There are
/// `most` beside the default.
fn unambiguous(random: &mut Random, names: &[&'static str], architectures: &[&str], most: usize) -> Value {
    let architectures: Vec<_> = architectures.iter().filter(|_| random.percent(70)).collect();
    let mut actions: Vec<_> = (0..=most).map(|_| random::action(random)).collect();
    if actions[0].0 == "SCMP_ACT_NOTIFY" {
        actions[0] = ("SCMP_ACT_ERRNO", Some(1));
    }
    let with_x32 = architectures.contains(&&"SCMP_ARCH_X32");
    let rule = |random: &mut Random| {
        let which = 1 + random.below(most);
        let conditional = random.percent(60);
        // The action of a call depends on its name alone.
        let fits = |name: &&str| name.bytes().map(usize::from).sum::<usize>() % most + 1 == which;
        let count = if random.percent(5) { 150 } else { 1 + random.below(5) };
        let picked: Vec<&'static str> = (0..count).map(|_| random.pick(names)).filter(fits).collect();
        // Arguments of calls within calls cannot be seen; the library looks elsewhere for them.
        let names: Vec<_> = picked.into_iter().filter(|name| !conditional || !is_multiplexed(name)).collect();
        let mut rule = json!({ "names": names, "action": actions[which].0 });
        if let Some(number) = actions[which].1 {
            rule["errnoRet"] = json!(number);
        }
        if conditional {
            rule["args"] = random::conditions(random, with_x32);
            for arg in rule["args"].as_array_mut().unwrap() {
                // A value with bits beside its mask can never be met. The library forgets that
                // where a half of the mask is zero.
                arg["valueTwo"] = json!(arg["valueTwo"].as_u64().unwrap() & arg["value"].as_u64().unwrap());
            }
        }
        rule
    };
    let mut rules: Vec<_> = (0..random.below(14)).map(|_| rule(random)).collect();
    rules.retain(|rule| rule["names"] != json!([]));
    // Says nothing, but that the profile knows of all calls.
    let mut all = json!({ "names": calls().collect::<Vec<_>>(), "action": actions[0].0 });
    let mut profile = json!({ "defaultAction": actions[0].0, "architectures": architectures });
    if let Some(number) = actions[0].1 {
        profile["defaultErrnoRet"] = json!(number);
        all["errnoRet"] = json!(number);
    }
    rules.push(all);
    profile["syscalls"] = json!(rules);
    profile
}

/// The table of calls, as far as the library goes.
#[test]
fn the_table_of_calls_is_that_of_libseccomp() {
    let library = Library::load();
    let mut compared = 0;
    for name in calls() {
        for arch in ALL {
            if let (Some(theirs), ours) = (library.number(name, arch), arch.number_of(name)) {
                assert_eq!(ours, Some(theirs), "{name} on {arch:?}, libseccomp {:?}", library.version);
                compared += 1;
            }
        }
    }
    assert!(compared > 1500, "only {compared} numbers are known to libseccomp {:?}", library.version);
}

#[test]
fn libseccomp_answers_the_same() {
    let library = Library::load();
    let comparable = Comparable::new();
    let (mut broken, mut compared) = (0, 0);
    for (family, architectures) in [
        (Family::X86, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].as_slice()),
        (Family::Arm, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"].as_slice()),
    ] {
        let names = common_names(&library, family);
        assert!(names.len() > 300, "only {} names are common", names.len());
        for seed in seeds(600) {
            let random = &mut Random::new(seed);
            let profile = unambiguous(random, &names, architectures, 3);
            let (ours, theirs) = (compile(&understood(&profile, family), family), library.compile(&profile, family));
            if !loads_the_number(&theirs) {
                broken += 1;
                continue;
            }
            compared += 1;
            let edges = Edges::of(&profile, family);
            for _ in 0..150 {
                let call = edges.call(random);
                if comparable.has(&call) {
                    assert_same(&ours, &theirs, &call, format_args!("seed {seed}: {profile}"));
                }
            }
        }
    }
    assert!(broken * 8 < compared, "libseccomp {:?}: {broken} broken, {compared} compared", library.version);
}

/// libseccomp forgets at times to load the number of a call before it looks for it.
fn loads_the_number(program: &[Instruction]) -> bool {
    let loads = |arch: Arch| {
        let at = program.iter().position(|insn| insn.code == 0x15 && insn.k == arch.audit());
        at.is_none_or(|at| matches!(program[at + 1 + usize::from(program[at].jt)].code, 0x20 | 0x06))
    };
    [Arch::X86_64, Arch::X86, Arch::Arm64, Arch::Arm].into_iter().all(loads)
}

fn assert_same(ours: &[Instruction], theirs: &[Instruction], call: &SystemCall, of: std::fmt::Arguments<'_>) {
    let (our, their) = (reference::run(ours, call), reference::run(theirs, call));
    assert!(our == their && our.is_some(), "ours {our:x?}, theirs {their:x?}: {call:x?} of {of}");
}

/// The profile as seccompiler takes it.
fn by_seccompiler(profile: &Value, family: Family) -> Option<Vec<Instruction>> {
    let (native, target) = match family {
        Family::X86 => (Arch::X86_64, TargetArch::x86_64),
        Family::Arm => (Arch::Arm64, TargetArch::aarch64),
    };
    let default = answer(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut verdict = None;
    let mut unconditional = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let this = answer(&rule["action"], &rule["errnoRet"]);
        if this == default {
            continue;
        }
        verdict = Some(this);
        let names = rule["names"].as_array().unwrap().iter().filter_map(Value::as_str);
        for number in names.filter_map(|name| native.number_of(name)) {
            let list = rules.entry(number.into()).or_default();
            match rule["args"].as_array() {
                None => unconditional.push(i64::from(number)),
                Some(args) => list.extend(conditions(args)),
            }
        }
    }
    for number in unconditional {
        rules.insert(number, Vec::new());
    }
    let filter = SeccompFilter::new(rules, action(default)?, action(verdict?)?, target).ok()?;
    let program = BpfProgram::try_from(filter).ok()?;
    Some(program.iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect())
}

/// One rule, or several when two conditions are on one argument.
fn conditions(args: &[Value]) -> Vec<SeccompRule> {
    let index = |arg: &Value| u8::try_from(arg["index"].as_u64().unwrap()).unwrap();
    let condition = |arg: &Value| {
        let (value, two) = (arg["value"].as_u64().unwrap(), arg["valueTwo"].as_u64().unwrap());
        let (operator, value) = match arg["op"].as_str().unwrap() {
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, value),
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, value),
            _ => (SeccompCmpOp::MaskedEq(value), two),
        };
        SeccompCondition::new(index(arg), SeccompCmpArgLen::Qword, operator, value).unwrap()
    };
    let twice = args.iter().any(|one| args.iter().filter(|arg| index(arg) == index(one)).count() > 1);
    let sets: Vec<&[Value]> = if twice { args.chunks(1).collect() } else { vec![args] };
    sets.into_iter().map(|set| SeccompRule::new(set.iter().map(condition).collect()).unwrap()).collect()
}

fn action(answer: u32) -> Option<SeccompAction> {
    Some(match answer & verdict::ACTION {
        verdict::KILL_PROCESS => SeccompAction::KillProcess,
        verdict::KILL_THREAD => SeccompAction::KillThread,
        verdict::TRAP => SeccompAction::Trap,
        verdict::ERRNO => SeccompAction::Errno(answer & 0xffff),
        verdict::TRACE => SeccompAction::Trace(answer & 0xffff),
        verdict::LOG => SeccompAction::Log,
        verdict::ALLOW => SeccompAction::Allow,
        _ => return None,
    })
}

/// What seccompiler can express: two actions, one architecture. It has no opinion about x32.
#[test]
fn seccompiler_answers_the_same() {
    let comparable = Comparable::new();
    let mut compared = 0;
    for family in [Family::X86, Family::Arm] {
        let native = family.architectures()[0].1;
        let names: Vec<_> = calls().filter(|name| native.number_of(name).is_some()).collect();
        for seed in seeds(600) {
            let random = &mut Random::new(seed);
            let profile = unambiguous(random, &names, &[], 1);
            let Some(theirs) = by_seccompiler(&profile, family) else { continue };
            let ours = compile(&understood(&profile, family), family);
            compared += 1;
            let edges = Edges::of(&profile, family);
            for _ in 0..100 {
                let call = edges.call(random);
                if arch_of(&call) == Some(native) && comparable.has(&call) {
                    assert_same(&ours, &theirs, &call, format_args!("seed {seed}: {profile}"));
                }
            }
        }
    }
    assert!(compared > 500, "only {compared} profiles could be compared");
}

/// `bundles/engines/seccomp`: every call that there is, with every kind of arguments.
#[test]
fn libseccomp_answers_the_same_with_the_profiles_of_engines() {
    let library = Library::load();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/engines/seccomp");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let file = entry.file_name().into_string().unwrap();
        if !file.ends_with(".json") {
            continue;
        }
        seen += 1;
        let profile: Value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
        let meant = understood(&profile, Family::X86);
        let (ours, theirs) = (compile(&meant, Family::X86), library.compile(&profile, Family::X86));
        let edges = Edges::of(&profile, Family::X86);
        let random = &mut Random::new(1);
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            let named = profile["syscalls"].as_array().unwrap().iter().flat_map(|r| r["names"].as_array().unwrap());
            // What is newer than the profile is another question.
            let last = named.filter_map(|name| arch.number_of(name.as_str().unwrap())).max().unwrap();
            // The library may be older than the profile.
            let unknown = |name: &&str| library.number(name, arch).is_none();
            let unknown: Vec<u32> = calls().filter(unknown).filter_map(|name| arch.number_of(name)).collect();
            let first = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
            for number in (first..=last).filter(|number| !unknown.contains(number)) {
                let has_conditions = reference::answers(&meant, arch, number).len() > 1;
                for _ in 0..if has_conditions { 3000 } else { 5 } {
                    let call = SystemCall { audit: arch.audit(), number, ..edges.call(random) };
                    let call = if arch == Arch::X32 { narrowed(call) } else { call };
                    assert_same(&ours, &theirs, &call, format_args!("{arch:?} with {file}"));
                }
            }
        }
    }
    assert!(seen > 3, "only {seen} profiles");
}

fn narrowed(call: SystemCall) -> SystemCall {
    SystemCall { arguments: call.arguments.map(|argument| argument & 0xffff_ffff), ..call }
}
