//! Profiles and calls → the compiled filter answers what the profile means.
#![allow(clippy::disallowed_types, reason = "a check may keep what it has read")]

use std::sync::OnceLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use cleat::plan::Findings;
use cleat::plan::seccomp::reference::{SystemCall, meaning, run};
use cleat::plan::seccomp::{ACTIONS, Arch, FLAGS, Family, OPERATORS, calls, compile, decide, profile};
use cleat::spec;

fn names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&str>> = OnceLock::new();
    NAMES.get_or_init(|| calls().collect())
}

/// A name out of a few, so that rules meet, or of all.
fn name(u: &mut Unstructured<'_>) -> Result<&'static str> {
    const FEW: &[&str] = &[
        "read",
        "openat",
        "ioctl",
        "socket",
        "semop",
        "clone3",
        "cacheflush",
        "personality",
        "sendmsg",
        "execve",
        "ipc",
    ];
    if u.ratio(3, 4)? { u.choose(FEW).copied() } else { u.choose(names()).copied() }
}

/// Borders of 32 and 64 bits, and small numbers, which conditions and calls have in common.
fn value(u: &mut Unstructured<'_>) -> Result<u64> {
    const BORDERS: &[u64] = &[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX];
    Ok(match u.int_in_range(0..=3)? {
        0 => *u.choose(BORDERS)?,
        1 => u.int_in_range(0..=7)?,
        2 => u64::from(u.arbitrary::<u32>()?),
        _ => u.arbitrary()?,
    })
}

#[derive(Debug)]
struct Case {
    config: spec::Seccomp,
    family: Family,
    calls: Vec<SystemCall>,
}

fn rule(u: &mut Unstructured<'_>) -> Result<spec::SyscallRule> {
    let (action, _) = *u.choose(ACTIONS)?;
    let has_number = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    let mut rule = spec::SyscallRule { action: action.into(), ..Default::default() };
    for _ in 0..u.int_in_range(1..=4)? {
        rule.names.push(name(u)?.into());
    }
    if has_number && u.arbitrary()? {
        rule.errno_ret = Some(u.int_in_range(0..=4095)?);
    }
    for _ in 0..u.int_in_range(0..=3)? {
        rule.args.push(spec::SyscallArg {
            index: u.int_in_range(0..=5)?,
            value: value(u)?,
            value_two: value(u)?,
            op: u.choose(OPERATORS)?.0.into(),
        });
    }
    Ok(rule)
}

/// Says it all again of other calls, and of the same with other values, so that jumps are long.
fn lengthen(config: &mut spec::Seccomp, times: u64) {
    let short = config.syscalls.clone();
    let all = (0..times).flat_map(|time| short.iter().map(move |rule| (time, rule.clone())));
    for (at, (time, mut rule)) in all.enumerate() {
        if at % 2 == 0 {
            rule.names = vec![names()[(at * 37) % names().len()].into()];
        }
        for arg in &mut rule.args {
            arg.value = arg.value.wrapping_add(time);
        }
        config.syscalls.push(rule);
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Case> {
        let family = if u.arbitrary()? { Family::X86 } else { Family::Arm };
        let mut config = spec::Seccomp { default_action: u.choose(ACTIONS)?.0.into(), ..Default::default() };
        for (name, _) in family.architectures() {
            if u.arbitrary()? {
                config.architectures.push((*name).into());
            }
        }
        if u.ratio(1, 4)? {
            config.flags = Some(vec![u.choose(FLAGS)?.0.into()]);
        }
        for _ in 0..u.int_in_range(0..=12)? {
            config.syscalls.push(rule(u)?);
        }
        let mut calls = Vec::new();
        for _ in 0..u.int_in_range(1..=24)? {
            let (_, arch): (_, Arch) = *u.choose(family.architectures())?;
            let audit = if u.ratio(1, 16)? { u.arbitrary()? } else { arch.audit() };
            let number = match u.int_in_range(0..=7)? {
                0 => u.arbitrary()?,
                1 => u.int_in_range(0..=500)?,
                _ => arch.number_of(name(u)?).unwrap_or(u32::MAX),
            };
            let mut arguments = [0; 6];
            for argument in &mut arguments {
                *argument = value(u)?;
            }
            calls.push(SystemCall { audit, number, arguments });
        }
        if u.ratio(1, 8)? {
            lengthen(&mut config, u.int_in_range(1..=30)?);
        }
        Ok(Case { config, family, calls })
    }
}

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut findings = Findings::default();
    let understood = profile(&case.config, case.family, &mut findings);
    let compiled = compile::compile(&understood, case.family);
    for call in &case.calls {
        let answer = run(&compiled, call);
        assert_eq!(answer, Some(meaning(&understood, call)), "{call:?} of {understood:?}");
    }
    let mut findings = Findings::default();
    let _ = decide(&case.config, None, case.family, &mut findings);
}
