//! How does a profile become a filter?
//!
//! First the architecture, then a binary search over the call's number: a call that is allowed
//! whatever its arguments are is answered from the number alone, so that the kernel answers it from
//! a bitmap without running the filter (kernel: `seccomp_cache_prepare`). Only rules with
//! conditions look at arguments, in the order of config.json.
//!
//! The program is written from its end: a jump's target is there before the jump, and every
//! distance is known.

use std::rc::Rc;

use cleat_plan::seccomp::Instruction;

use super::syscalls::SYSCALLS;
use super::{
    ARM_PRIVATE, Arch, Condition, Family, Operator, Profile, Rule, X32_BIT, holds_multiplexed, multiplexed, verdict,
};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The filter of a profile, of any length.
#[must_use]
pub fn compile(profile: &Profile, family: Family) -> Vec<Instruction> {
    let mut program = Assembler::default();
    let has = |arch: Arch| profile.architectures.contains(&arch);
    let mut dispatch = Vec::new();
    for arch in [Arch::X86, Arch::Arm, family.native()].into_iter().filter(|arch| has(*arch)) {
        let mut segments = segments(profile, arch);
        if arch == Arch::X86_64 {
            // x32 calls have the same architecture and a bit in their number.
            if has(Arch::X32) {
                segments.extend(self::segments(profile, Arch::X32));
            } else {
                segments.push(Segment { first: X32_BIT, outcome: Outcome::Answer(verdict::KILL_THREAD) });
            }
        }
        // The number that a tracer sets to have a call skipped.
        segments.push(Segment { first: u32::MAX, outcome: Outcome::Answer(profile.default) });
        // Two segments at least, so that the search begins with what is written last.
        program.search(arch.narrow(), &segments);
        dispatch.push((arch.audit(), program.load(NUMBER)));
    }
    let mut otherwise = program.answer(verdict::KILL_THREAD);
    for (audit, block) in dispatch {
        otherwise = program.branch(IF_EQUAL, audit, block, otherwise);
    }
    program.load(ARCHITECTURE);
    program.code.reverse();
    program.code
}

/// The numbers from `first` on, up to the next segment.
#[derive(Clone, Debug)]
struct Segment {
    first: u32,
    outcome: Outcome,
}

/// What a number leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Answer(u32),
    /// Conditions and what is answered when all hold, in order; then the answer otherwise.
    Ask(Rc<Questions>),
}

#[derive(Debug, PartialEq, Eq)]
struct Questions {
    list: Vec<(Vec<Condition>, u32)>,
    otherwise: u32,
}

/// Which rules a number has: itself, and the call within a multiplexed one.
struct Entry<'a> {
    number: u32,
    rule: &'a Rule,
    inner: Option<Condition>,
}

fn entries<'a>(profile: &'a Profile, arch: Arch, highest: &mut Option<u32>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for rule in &profile.rules {
        for row in &rule.calls {
            if let Some(number) = arch.number(*row) {
                if arch != Arch::Arm || number < ARM_PRIVATE {
                    *highest = (*highest).max(Some(number));
                }
                if rule.verdict != profile.default {
                    entries.push(Entry { number, rule, inner: None });
                }
            }
            if arch == Arch::X86 && rule.verdict != profile.default {
                entries.extend(inner_entry(profile, rule, *row));
            }
        }
    }
    // Stable: rules of one number stay in their order.
    entries.sort_by_key(|entry| entry.number);
    entries
}

fn inner_entry<'a>(profile: &Profile, rule: &'a Rule, row: u16) -> Option<Entry<'a>> {
    let (name, inner) = multiplexed(SYSCALLS.get(usize::from(row))?.0)?;
    let number = Arch::X86.number_of(name)?;
    holds_multiplexed(profile, rule).then_some(Entry { number, rule, inner: Some(inner) })
}

/// All numbers of an architecture, neighbours with the same outcome together.
fn segments(profile: &Profile, arch: Arch) -> Vec<Segment> {
    let mut highest = None;
    let entries = entries(profile, arch, &mut highest);
    let first = if arch == Arch::X32 { X32_BIT } else { 0 };
    let unnamed = |number: u32| {
        let private = arch == Arch::Arm && number >= ARM_PRIVATE;
        if highest.is_some_and(|highest| number > highest) && !private { profile.newer } else { profile.default }
    };
    let mut places: Vec<u32> = entries.iter().flat_map(|entry| [entry.number, entry.number + 1]).collect();
    places.push(first);
    places.extend(highest.map(|highest| highest + 1));
    if arch == Arch::Arm {
        places.push(ARM_PRIVATE);
    }
    places.sort_unstable();
    places.dedup();
    let mut segments: Vec<Segment> = Vec::with_capacity(places.len());
    let mut rest = entries.as_slice();
    for place in places {
        let count = rest.iter().take_while(|entry| entry.number == place).count();
        let (here, after) = rest.split_at(count);
        rest = after;
        let outcome = outcome(here, unnamed(place));
        if segments.last().is_none_or(|last| last.outcome != outcome) {
            segments.push(Segment { first: place, outcome });
        }
    }
    segments
}

fn outcome(entries: &[Entry<'_>], otherwise: u32) -> Outcome {
    let unconditional = |entry: &&Entry<'_>| entry.inner.is_none() && entry.rule.conditions.is_empty();
    if let Some(entry) = entries.iter().find(unconditional) {
        return Outcome::Answer(entry.rule.verdict);
    }
    if entries.is_empty() {
        return Outcome::Answer(otherwise);
    }
    let question = |entry: &Entry<'_>| {
        let conditions = entry.inner.map_or_else(|| entry.rule.conditions.clone(), |inner| vec![inner]);
        (conditions, entry.rule.verdict)
    };
    Outcome::Ask(Rc::new(Questions { list: entries.iter().map(question).collect(), otherwise }))
}

/// A place in the program, counted from its end.
type Label = usize;

/// Writes a program from its end.
#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    /// Where each answer was written last.
    answers: Vec<(u32, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.code.push(Instruction { code, jt, jf, k });
        self.code.len() - 1
    }

    /// What was written last, which is what runs next.
    fn here(&self) -> Label {
        self.code.len().saturating_sub(1)
    }

    /// How many instructions the one to be written next would skip to get there.
    fn distance(&self, to: Label) -> usize {
        self.here() - to
    }

    fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    /// An answer near enough for a comparison to jump to.
    fn answer(&mut self, verdict: u32) -> Label {
        match self.answers.iter_mut().find(|(known, _)| *known == verdict) {
            Some((_, label)) if self.code.len() - *label < 200 => *label,
            Some((_, label)) => {
                *label = self.code.len();
                self.push(RETURN, 0, 0, verdict)
            }
            None => {
                self.answers.push((verdict, self.code.len()));
                self.push(RETURN, 0, 0, verdict)
            }
        }
    }

    /// A target as a comparison can reach it: directly, or over a jump that reaches farther.
    fn near(&mut self, to: Label) -> Label {
        // One less than it could be: another such jump may come between.
        match self.distance(to) {
            0..255 => to,
            far => {
                let far = u32::try_from(far).unwrap_or(u32::MAX);
                self.push(JUMP, 0, 0, far)
            }
        }
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let no = self.near(no);
        let yes = self.near(yes);
        let near = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let (jt, jf) = (near(self.distance(yes)), near(self.distance(no)));
        self.push(code, jt, jf, k)
    }

    /// A binary search over segments; the number is loaded.
    fn search(&mut self, narrow: bool, segments: &[Segment]) -> Label {
        match segments {
            [] => self.answer(verdict::KILL_THREAD),
            [one] => match &one.outcome {
                Outcome::Answer(verdict) => self.answer(*verdict),
                Outcome::Ask(questions) => self.questions(questions, narrow),
            },
            many => {
                let (low, high) = many.split_at(many.len() / 2);
                let yes = self.search(narrow, high);
                let no = self.search(narrow, low);
                self.branch(IF_GREATER_OR_EQUAL, high[0].first, yes, no)
            }
        }
    }

    fn questions(&mut self, questions: &Questions, narrow: bool) -> Label {
        let mut next = self.answer(questions.otherwise);
        for (conditions, verdict) in questions.list.iter().rev() {
            let mut holds = self.answer(*verdict);
            for condition in conditions.iter().rev() {
                holds = self.condition(condition, narrow, holds, next);
            }
            next = holds;
        }
        next
    }

    /// Compares one argument, its high half first where it has one.
    fn condition(&mut self, condition: &Condition, narrow: bool, yes: Label, no: Label) -> Label {
        let (low, high) = halves(condition.value);
        let (low_mask, high_mask) = halves(condition.mask);
        let offset = 16 + 8 * u32::from(condition.argument);
        // The comparison of the low half, the one of the high half that decides alone, and where
        // each of them leads. Less is not greater-or-equal.
        let (compare, yes, no) = match condition.operator {
            Operator::Equal | Operator::MaskedEqual => (IF_EQUAL, yes, no),
            Operator::NotEqual => (IF_EQUAL, no, yes),
            Operator::Greater => (IF_GREATER, yes, no),
            Operator::LessOrEqual => (IF_GREATER, no, yes),
            Operator::GreaterOrEqual => (IF_GREATER_OR_EQUAL, yes, no),
            Operator::Less => (IF_GREATER_OR_EQUAL, no, yes),
        };
        self.branch(compare, low, yes, no);
        self.mask(low_mask);
        let lower = self.load(offset);
        if narrow {
            return lower;
        }
        self.branch(IF_EQUAL, high, lower, no);
        if compare != IF_EQUAL {
            let same = self.here();
            self.branch(IF_GREATER, high, yes, same);
        }
        self.mask(high_mask);
        self.load(offset + 4)
    }

    fn mask(&mut self, mask: u32) {
        if mask != u32::MAX {
            self.push(AND, 0, 0, mask);
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
    (half(value), half(value >> 32))
}
