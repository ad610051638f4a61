//! How does a profile become a filter?
//!
//! First the architecture, then a binary search over the call's number. A call that is allowed whatever its
//! arguments are is answered from the number alone, so that the kernel answers it from a bitmap without running
//! the filter (kernel: `seccomp_cache_prepare`). Only rules with conditions look at arguments, in the order of
//! config.json.
//!
//! The program is written from its end: a jump's target is there before the jump, and every
//! distance is known.

use std::ops::Range;
use std::slice::from_ref;

use cleat_plan::seccomp::Instruction;

use super::{ARM_PRIVATE, Arch, Condition, Family, Inner, Operator, Profile, X32_BIT, holds_multiplexed, verdict};

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
    let inner = if has(Arch::X86) { super::inner_calls() } else { Vec::new() };
    let mut dispatch = Vec::new();
    for arch in [Arch::X86, Arch::Arm, family.native()].into_iter().filter(|arch| has(*arch)) {
        let mut segments = Vec::new();
        match arch {
            Arch::X86 => add_segments(&mut segments, profile, arch, 0..u32::MAX, &inner),
            Arch::Arm => {
                add_segments(&mut segments, profile, arch, 0..ARM_PRIVATE, &[]);
                add_segments(&mut segments, profile, arch, ARM_PRIVATE..u32::MAX, &[]);
            }
            Arch::X86_64 => {
                add_segments(&mut segments, profile, arch, 0..X32_BIT, &[]);
                // x32 calls have the same architecture and a bit in their number.
                if has(Arch::X32) {
                    add_segments(&mut segments, profile, Arch::X32, X32_BIT..u32::MAX, &[]);
                } else {
                    add_segment(&mut segments, X32_BIT, Outcome::Answer(verdict::KILL_THREAD));
                }
            }
            Arch::Arm64 | Arch::X32 => add_segments(&mut segments, profile, arch, 0..u32::MAX, &[]),
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
struct Segment<'a> {
    first: u32,
    outcome: Outcome<'a>,
}

/// What a number leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome<'a> {
    Answer(u32),
    /// Conditions and what is answered when all hold, in order; then the answer otherwise.
    Ask(Vec<Question<'a>>, u32),
}

type Question<'a> = (&'a [Condition], u32);

/// What the rules read so far say of a number.
#[derive(Clone, Debug, Default)]
struct Slot<'a> {
    unconditional: Option<u32>,
    questions: Vec<Question<'a>>,
}

/// The numbers of an architecture that lie in a range, neighbours with the same outcome together.
fn add_segments<'a>(
    list: &mut Vec<Segment<'a>>,
    profile: &'a Profile,
    arch: Arch,
    range: Range<u32>,
    inner: &'a [Inner],
) {
    let slots = Slots::read(profile, arch, &range, inner);
    // What is above all that are named; there is nothing new among those private to ARM.
    let above = if slots.named > 0 && range.start != ARM_PRIVATE { profile.newer } else { profile.default };
    let mut first = range.start;
    for (at, slot) in slots.list.into_iter().enumerate() {
        let otherwise = if at < slots.named { profile.default } else { above };
        let outcome = match slot.unconditional {
            Some(verdict) => Outcome::Answer(verdict),
            None if slot.questions.is_empty() => Outcome::Answer(otherwise),
            None => Outcome::Ask(slot.questions, otherwise),
        };
        add_segment(list, first, outcome);
        first += 1;
    }
    add_segment(list, first, Outcome::Answer(above));
}

fn add_segment<'a>(list: &mut Vec<Segment<'a>>, first: u32, outcome: Outcome<'a>) {
    if list.last().is_none_or(|last| last.outcome != outcome) {
        list.push(Segment { first, outcome });
    }
}

/// All numbers of a range up to the highest that any rule is about. (They are few hundreds: no order
/// has to be made among calls.)
struct Slots<'a> {
    list: Vec<Slot<'a>>,
    /// Up to the highest that any rule names.
    named: usize,
}

impl<'a> Slots<'a> {
    fn read(profile: &'a Profile, arch: Arch, range: &Range<u32>, inner: &'a [Inner]) -> Slots<'a> {
        let mut slots = Slots { list: Vec::with_capacity(512), named: 0 };
        for rule in &profile.rules {
            let says_something = rule.verdict != profile.default;
            for row in &rule.calls {
                if let Some(number) = arch.number(*row).filter(|number| range.contains(number)) {
                    let slot = slots.at(number - range.start);
                    if says_something {
                        slot.add(&rule.conditions, rule.verdict);
                    }
                    slots.named = slots.named.max(index(number - range.start) + 1);
                }
                let inner =
                    super::inner_call(inner, *row).filter(|_| says_something && holds_multiplexed(profile, rule));
                if let Some(inner) = inner {
                    slots.at(inner.number).add(from_ref(&inner.condition), rule.verdict);
                }
            }
        }
        slots
    }

    fn at(&mut self, offset: u32) -> &mut Slot<'a> {
        let at = index(offset);
        if at >= self.list.len() {
            self.list.resize_with(at + 1, Slot::default);
        }
        &mut self.list[at]
    }
}

impl<'a> Slot<'a> {
    fn add(&mut self, conditions: &'a [Condition], verdict: u32) {
        if self.unconditional.is_some() {
        } else if conditions.is_empty() {
            self.unconditional = Some(verdict);
        } else {
            self.questions.push((conditions, verdict));
        }
    }
}

fn index(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
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
    fn search(&mut self, narrow: bool, segments: &[Segment<'_>]) -> Label {
        match segments {
            [] => self.answer(verdict::KILL_THREAD),
            [one] => match &one.outcome {
                Outcome::Answer(verdict) => self.answer(*verdict),
                Outcome::Ask(questions, otherwise) => self.questions(questions, *otherwise, narrow),
            },
            many => {
                let (low, high) = many.split_at(many.len() / 2);
                let yes = self.search(narrow, high);
                let no = self.search(narrow, low);
                self.branch(IF_GREATER_OR_EQUAL, high[0].first, yes, no)
            }
        }
    }

    fn questions(&mut self, questions: &[Question<'_>], otherwise: u32, narrow: bool) -> Label {
        let mut next = self.answer(otherwise);
        for (conditions, verdict) in questions.iter().rev() {
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
