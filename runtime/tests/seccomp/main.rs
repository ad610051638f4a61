//! Does the filter do what the profile says? Held against a plain reading of what profiles mean,
//! and against two libraries that others wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by saying what it expected")]

mod libseccomp;
mod oracles;
mod random;

use std::ops::Range;

use cleat::plan::seccomp::compile::compile;
use cleat::plan::seccomp::reference::{self, SystemCall};
use cleat::plan::seccomp::{self, Arch, Family, Profile, verdict};
use cleat::spec;
use cleat_plan::seccomp::Instruction;
use random::{Edges, Random, Taste};
use serde_json::Value;

/// `count` seeds from 1 on; with `CLEAT_SEED=N` that one alone, which a failure has printed, with
/// `CLEAT_SEEDS=N` so many times as many.
fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    match number("CLEAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + count * number("CLEAT_SEEDS").unwrap_or(1),
    }
}

fn understood(profile: &Value, family: Family) -> Profile {
    let config: spec::Seccomp = serde_json::from_value(profile.clone()).unwrap();
    let mut findings = cleat::plan::Findings::default();
    let decided = seccomp::profile(&config, family, &mut findings);
    assert!(findings.problems.is_empty(), "{:?}: {profile}", findings.problems);
    decided
}

/// What the kernel checks of a program before it takes it (kernel: `bpf_check_classic`,
/// `seccomp_check_filter`), but its length.
fn assert_the_kernel_takes(program: &[Instruction]) {
    for (at, insn) in program.iter().enumerate() {
        let lands = |skipped: u32| at + 1 + skipped as usize;
        match insn.code {
            0x20 => assert!(insn.k < 64 && insn.k % 4 == 0, "{at}: load from {}", insn.k),
            0x54 | 0x06 => {}
            0x05 => assert!(lands(insn.k) < program.len(), "{at}: jump out of the program"),
            0x15 | 0x25 | 0x35 => {
                assert!(lands(insn.jt.max(insn.jf).into()) < program.len(), "{at}: jump out of the program");
            }
            code => panic!("{at}: instruction {code:#x}"),
        }
    }
    assert_eq!(program.last().map(|insn| insn.code), Some(0x06), "the last instruction does not return");
}

/// Whether the kernel finds out that a call is allowed without knowing its arguments, so that it
/// need not run the filter for it (kernel: `seccomp_is_const_allow`).
fn is_known_to_be_allowed(program: &[Instruction], audit: u32, number: u32) -> bool {
    let (mut at, mut a) = (0, 0);
    loop {
        let insn = program[at];
        at += 1;
        let holds = match insn.code {
            0x20 if insn.k == 0 => {
                a = number;
                continue;
            }
            0x20 if insn.k == 4 => {
                a = audit;
                continue;
            }
            0x06 => return insn.k == verdict::ALLOW,
            0x05 => {
                at += insn.k as usize;
                continue;
            }
            0x15 => a == insn.k,
            0x25 => a > insn.k,
            0x35 => a >= insn.k,
            0x54 => {
                a &= insn.k;
                continue;
            }
            _ => return false,
        };
        at += usize::from(if holds { insn.jt } else { insn.jf });
    }
}

fn check(random: &mut Random, profile: &Value, family: Family, calls: usize, seed: u64) {
    let meant = understood(profile, family);
    let program = compile(&meant, family);
    assert_the_kernel_takes(&program);
    let edges = Edges::of(profile, family);
    for _ in 0..calls {
        let call = edges.call(random);
        let (is, means) = (reference::run(&program, &call), reference::meaning(&meant, &call));
        assert_eq!(is, Some(means), "seed {seed}: {call:x?} of {profile}\nprogram: {program:?}");
    }
}

/// Every property of a profile, on both families of architectures.
#[test]
fn a_filter_answers_what_its_profile_means() {
    let names = random::all_names();
    for (family, architectures) in [
        (Family::X86, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"].as_slice()),
        (Family::Arm, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"].as_slice()),
    ] {
        for seed in seeds(1000) {
            let random = &mut Random::new(seed);
            let profile = random::profile(random, &Taste::all(&names, architectures));
            check(random, &profile, family, 100, seed);
        }
    }
}

/// Targets that are too far for a comparison's jump of eight bits.
#[test]
fn a_long_filter_answers_what_its_profile_means() {
    let names = ["ioctl", "socket", "shmat", "read", "clone", "personality", "prctl", "cacheflush", "openat2"];
    for seed in seeds(40) {
        let random = &mut Random::new(seed);
        let taste = Taste { rules: 600, ..Taste::all(&names, &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]) };
        let profile = random::profile(random, &taste);
        check(random, &profile, Family::X86, 300, seed);
    }
}

/// Every call that is allowed whatever its arguments are, is allowed by its number.
#[test]
fn what_is_always_allowed_needs_no_run_of_the_filter() {
    let names = random::all_names();
    for seed in seeds(200) {
        let random = &mut Random::new(seed);
        let profile = random::profile(random, &Taste::all(&names, &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
        let meant = understood(&profile, Family::X86);
        let program = compile(&meant, Family::X86);
        for name in random::all_names().into_iter().step_by(7) {
            for arch in [Arch::X86_64, Arch::X86, Arch::X32].into_iter().filter(|a| meant.architectures.contains(a)) {
                let Some(number) = arch.number_of(name) else { continue };
                let answers = reference::answers(&meant, arch, number);
                if answers.iter().all(|answer| *answer == verdict::ALLOW) {
                    let known = is_known_to_be_allowed(&program, arch.audit(), number);
                    assert!(known, "seed {seed}: {name} on {arch:?} of {profile}");
                }
                let call = SystemCall { audit: arch.audit(), number, arguments: [random.value(); 6] };
                let answer = reference::meaning(&meant, &call);
                assert!(answers.contains(&answer), "seed {seed}: {name}: {answer:#x} is not among {answers:x?}");
            }
        }
    }
}
