//! What does it cost to understand a profile of Docker's size, once, in a new process?

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use cleat::plan::Findings;
use cleat::plan::seccomp::{Family, decide};
use cleat::spec;

use crate::error::{At as _, Context as _, Result, bail};
use crate::statistics::median;

/// Docker 28.5's default profile, as it writes it into config.json.
pub(crate) const PROFILE: &str = include_str!("../../../bundles/engines/seccomp/docker.json");

/// The word that makes this program do it once.
pub(crate) const WORD: &str = "compile-once";

const ROUNDS: usize = 100;

/// Medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compile {
    /// JSON to strings and numbers.
    pub(crate) parse_ms: f64,
    /// Those to a filter.
    pub(crate) compile_ms: f64,
}

/// Prints the nanoseconds of parsing and of compiling.
pub(crate) fn once() -> Result<()> {
    let start = Instant::now();
    let profile: spec::Seccomp = spec::parse("docker.json", black_box(PROFILE.as_bytes())).at("parse")?;
    let parsed = start.elapsed();
    let start = Instant::now();
    let filter =
        decide(black_box(&profile), None, Family::NATIVE, &mut Findings::default()).context("compile: no filter")?;
    let compiled = start.elapsed();
    println!("{} {} {}", parsed.as_nanos(), compiled.as_nanos(), filter.program.count());
    Ok(())
}

/// In processes of their own, as `create` does it.
pub(crate) fn measure() -> Result<Compile> {
    let program = std::env::current_exe().at("this program's own path")?;
    let (mut parse, mut compile) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let output = Command::new(&program).arg(WORD).output().at(WORD)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
        let [parsed, compiled, _] = numbers[..] else {
            bail!("{WORD}: no figures, but {text:?} {}", String::from_utf8_lossy(&output.stderr));
        };
        parse.push(parsed / 1e6);
        compile.push(compiled / 1e6);
    }
    Ok(Compile { parse_ms: median(&parse), compile_ms: median(&compile) })
}
