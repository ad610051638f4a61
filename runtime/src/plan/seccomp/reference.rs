//! What does a profile mean, and what does a program answer? Said slowly and plainly.
//!
//! Nothing here is used to make a filter. It is what tests and fuzzing hold the compiler against.

use cleat_plan::seccomp::Instruction;

use super::{ARM_PRIVATE, INNER, syscalls::SYSCALLS};
use super::{Arch, Condition, Operator, Profile, Rule, X32_BIT, holds_multiplexed, verdict};

/// One system call as a filter sees it (`struct seccomp_data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

fn holds(condition: &Condition, call: &Call, narrow: bool) -> bool {
    let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
    let argument = cut(call.arguments[usize::from(condition.argument)]);
    let value = cut(condition.value);
    match condition.operator {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::Greater => argument > value,
        Operator::MaskedEqual => argument & cut(condition.mask) == value,
    }
}

/// The architecture of a call among those of the profile.
fn architecture(profile: &Profile, call: &Call) -> Option<Arch> {
    // Numbers from there on are no call of x86_64, also where they lack the bit.
    let x32 = call.audit == Arch::X32.audit() && call.number >= X32_BIT && call.number != u32::MAX;
    let is_it = |arch: &&Arch| arch.audit() == call.audit && (**arch == Arch::X32) == x32;
    profile.architectures.iter().find(is_it).copied()
}

/// The rules that are about this number, with the conditions under which they hold.
fn rules_for(profile: &Profile, arch: Arch, number: u32) -> Vec<(Vec<Condition>, u32)> {
    let mut list = Vec::new();
    for rule in profile.rules.iter().filter(|rule| rule.verdict != profile.default) {
        for row in &rule.calls {
            if arch.number(*row) == Some(number) {
                list.push((rule.conditions.clone(), rule.verdict));
            }
            list.extend(through_multiplexer(profile, rule, *row, arch, number));
        }
    }
    list
}

fn through_multiplexer(
    profile: &Profile,
    rule: &Rule,
    row: u16,
    arch: Arch,
    number: u32,
) -> Option<(Vec<Condition>, u32)> {
    let name = SYSCALLS.get(usize::from(row)).filter(|_| arch == Arch::X86)?.0;
    let inner = super::inner(INNER.iter().find(|inner| inner.0 == name)?)?;
    let holds = inner.number == number && holds_multiplexed(profile, rule);
    holds.then(|| (vec![inner.condition], rule.verdict))
}

/// The answer where no rule matches.
fn otherwise(profile: &Profile, arch: Arch, number: u32) -> u32 {
    let private = |number: u32| arch == Arch::Arm && number >= ARM_PRIVATE;
    let numbers = profile.rules.iter().flat_map(|rule| &rule.calls).filter_map(|row| arch.number(*row));
    let highest = numbers.filter(|number| !private(*number)).max();
    match highest {
        Some(highest) if number > highest && !private(number) && number != u32::MAX => profile.newer,
        _ => profile.default,
    }
}

/// Every answer that this number can get, whatever its arguments.
#[must_use]
pub fn answers(profile: &Profile, arch: Arch, number: u32) -> Vec<u32> {
    let rules = rules_for(profile, arch, number);
    match rules.iter().find(|(conditions, _)| conditions.is_empty()) {
        Some((_, verdict)) => vec![*verdict],
        None => rules.iter().map(|(_, verdict)| *verdict).chain([otherwise(profile, arch, number)]).collect(),
    }
}

/// What the profile answers to a call.
#[must_use]
pub fn meaning(profile: &Profile, call: &Call) -> u32 {
    let Some(arch) = architecture(profile, call) else {
        return if call.number == u32::MAX && profile.architectures.iter().any(|arch| arch.audit() == call.audit) {
            profile.default
        } else {
            verdict::KILL_THREAD
        };
    };
    let rules = rules_for(profile, arch, call.number);
    let unconditional = rules.iter().find(|(conditions, _)| conditions.is_empty());
    let matching = || rules.iter().find(|(all, _)| all.iter().all(|one| holds(one, call, arch.narrow())));
    unconditional.or_else(matching).map_or_else(|| otherwise(profile, arch, call.number), |(_, verdict)| *verdict)
}

/// What a program answers to a call, as the kernel's interpreter has it. `None` for an instruction that no filter
/// of ours has, a jump out of the program, or no end.
#[must_use]
pub fn run(program: &[Instruction], call: &Call) -> Option<u32> {
    let word = |offset: u32| -> Option<u32> {
        let half = |value: u64, high: bool| u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff }).ok();
        match offset {
            0 => Some(call.number),
            4 => Some(call.audit),
            16..64 if offset % 4 == 0 => {
                half(call.arguments[usize::try_from((offset - 16) / 8).ok()?], offset % 8 == 4)
            }
            _ => None,
        }
    };
    let mut at = 0usize;
    let mut a = 0;
    // Every jump leads forward.
    for _ in 0..=program.len() {
        let insn = program.get(at)?;
        at += 1;
        let compare = match insn.code {
            0x06 => return Some(insn.k),
            0x20 => {
                a = word(insn.k)?;
                continue;
            }
            0x54 => {
                a &= insn.k;
                continue;
            }
            0x05 => {
                at += usize::try_from(insn.k).ok()?;
                continue;
            }
            0x15 => a == insn.k,
            0x25 => a > insn.k,
            0x35 => a >= insn.k,
            _ => return None,
        };
        at += usize::from(if compare { insn.jt } else { insn.jf });
    }
    None
}
