//! `make test`'s last words: how many tests ran where, and which were skipped for what reason.
//!
//! `test-report FILE [--complete]`. With `--complete` every place has been: a proof of security that was skipped
//! in all of them is an error.

use std::process::ExitCode;

use integration::report::Report;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let is_complete = arguments.next().is_some_and(|word| word == "--complete");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"));
    let report = match text.and_then(|text| Report::parse(&text)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("test-report: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", report.summary());
    let unproven = report.unproven();
    if !is_complete || unproven.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("proofs of security that were skipped in every place:");
    for (test, why) in unproven {
        println!("  {test}: {why}");
    }
    ExitCode::FAILURE
}
