//! How fast is `cleat`, and how small, compared with its peers and with the kernel itself?
//!
//! Every round takes one sample of every operation from every runtime, in an order that changes. So each runtime
//! follows each other one equally often, and whatever else the machine does, it does to all of them. Medians are
//! compared, within this one run only.
//!
//! | file | the one question it answers |
//! |---|---|
//! | `options.rs` | what did the caller type? |
//! | `workdir.rs` | where does it all run, and what is left of it? a private mount namespace |
//! | `bundle.rs` | which containers are made? |
//! | `runtimes.rs` | what is measured, and how is each operation spelled? |
//! | `sample.rs` | what did one command cost? |
//! | `orphans.rs` | how do processes end that were left to us? |
//! | `statistics.rs` | which number stands for many samples? |
//! | `rounds.rs` | in which order are samples taken? |
//! | `scale.rs` | what does one more container cost when there are many? |
//! | `min_memory.rs` | under which limit of memory does a program still start? |
//! | `compile.rs` | what does it cost to understand a profile of system calls? |
//! | `report.rs` | what do the figures say, and are the budgets met? |
//! | `progress.rs` | how far is it? |
//! | `error.rs` | what does an error say? |
//! | `floor/` | a program of its own: what does the kernel alone charge? |

mod bundle;
mod compile;
mod error;
mod min_memory;
mod options;
mod orphans;
mod progress;
mod report;
mod rounds;
mod runtimes;
mod sample;
mod scale;
mod statistics;
mod workdir;

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use error::{At as _, Result};
use options::Options;
use report::Report;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == compile::WORD) {
        return match compile::once() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match Options::read() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::from(2);
        }
    };
    match bench(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all is well: always, unless budgets are to be enforced.
fn bench(options: &Options) -> Result<bool> {
    // Before the root changes, in which the file's path has a meaning.
    let json = match &options.json {
        Some(path) => Some(File::create(path).at(path.display())?),
        None => None,
    };
    let sizes = report::Sizes::read(options)?;
    let compile = compile::measure()?;
    let place = workdir::enter(options)?;
    let signals = sample::Signals::block()?;
    let found = runtimes::find(options, &place);
    let there = |name: &str| found.iter().any(|subject| subject.name == name);
    let mut absent: Vec<String> = ["cleat", "crun", "runc"]
        .into_iter()
        .filter(|&name| !there(name))
        .map(|name| match name {
            "cleat" => format!("cleat: no {}", options.cleat.display()),
            _ => format!("{name}: not found"),
        })
        .collect();
    let runc = found.iter().find(|subject| subject.name == "runc");
    bundle::make(&place, runc.map(|runc| runc.program.as_path()))?;
    let (subjects, unfit) = rounds::fit(&place, &signals, found)?;
    absent.extend(unfit);
    for line in &absent {
        eprintln!("bench: without {line}");
    }
    if let Some(smallest) = min_memory::Smallest::measure(&place, &signals, &subjects, options)? {
        print!("{smallest}");
        place.sweep();
        return Ok(!options.strict || smallest.is_met());
    }
    let figures = rounds::take(&place, &signals, &subjects, options)?;
    let crowd = scale::measure(&place, &signals, &subjects, options)?;
    let left = place.sweep();
    let report = Report {
        options,
        subjects: &subjects,
        absent: &absent,
        sizes: &sizes,
        figures: &figures,
        crowd: crowd.as_ref(),
        compile,
        left: &left,
    };
    print!("{report}");
    if let Some(mut file) = json {
        writeln!(file, "{:#}", report.json()).at("--json")?;
    }
    let all_gone = left.is_empty() && crowd.as_ref().is_none_or(|crowd| crowd.left.is_empty());
    Ok(all_gone && (!options.strict || report.all_met()))
}
