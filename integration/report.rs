//! `make test`'s last words: how many tests ran where, and which were skipped for what reason.
//!
//! `test-report FILE [--complete]`. With `--complete` every place has been: a proof of security that was skipped
//! in all of them is an error.

use std::process::ExitCode;

use anyhow::{Context as _, Error, Result};
use integration::report::Report;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let is_complete = arguments.next().is_some_and(|word| word == "--complete");
    match summarize(&path, is_complete) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("test-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the summary; whether every proof of security ran somewhere, if every place has been.
fn summarize(path: &str, is_complete: bool) -> Result<bool> {
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let report = Report::parse(&text).map_err(Error::msg)?;
    print!("{}", report.summary());
    let unproven = report.unproven();
    if !is_complete || unproven.is_empty() {
        return Ok(true);
    }
    println!("proofs of security that were skipped in every place:");
    for (test, why) in unproven {
        println!("  {test}: {why}");
    }
    Ok(false)
}
