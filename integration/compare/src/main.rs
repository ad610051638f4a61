//! `make compare`: runs the cases on cleat, runc and crun, and prints what differs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Error, Result, bail};
use compare::{Bench, Documented, Report, cases, matches};

const USAGE: &str = "\
usage: compare [--kinds] [--list] [--show] [--json] [--faults] ROOT RUNTIME PROBE [CASE…]

  ROOT      a root directory with runc and crun (integration/compare/prepare), or /
  RUNTIME   the runtime under test
  PROBE     the program inside containers
  CASE      names or patterns (bind-*) of cases; without, all

  --kinds   undocumented differences by kind, the most frequent first
  --json    all differences, one in a line
  --faults  lines for the file faults
  --list    only the names of cases
  --show    what was seen of each case, with each runtime";

fn main() -> ExitCode {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let has = |option: &str| options.iter().any(|word| word == option);
    match answer(&words, &has) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn answer(words: &[String], has: &dyn Fn(&str) -> bool) -> Result<bool> {
    let [root, runtime, probe, patterns @ ..] = words else { bail!(USAGE) };
    let mut cases = cases().map_err(Error::msg)?;
    let complete = patterns.is_empty();
    cases.retain(|case| complete || patterns.iter().any(|pattern| matches(pattern, &case.name)));
    if has("--list") {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(true);
    }
    let [root, runtime, probe] = [root, runtime, probe].map(PathBuf::from);
    let bench = Bench::new(&root, &runtime, &probe).map_err(Error::msg)?;
    let report = Report::new(&bench, cases, Documented::read().map_err(Error::msg)?, complete);
    if has("--show") {
        print!("{}", report.seen());
    }
    let complaints = report.complaints();
    match () {
        () if has("--kinds") => print!("{}", report.kinds()),
        () if has("--json") => print!("{}", report.json()),
        () if has("--faults") => println!("{}", report.faults()),
        () => print!("{complaints}"),
    }
    print!("\n{}", report.summary());
    Ok(complaints.is_empty())
}
