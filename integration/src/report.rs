//! How many tests ran where, and which were skipped for what reason?
//!
//! The programs of tests add a line for each test to the file that `CLEAT_TEST_REPORT` names; the guest's lines are
//! added when it has ended (`integration/guest/test`). `make test` ends with the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

/// The program whose tests are the proofs of security: one that was skipped wherever it could have run is an error.
pub const SECURITY: &str = "security";

/// What has become of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Passed,
    /// It panicked: the words.
    Failed(String),
    /// It cannot be run here: the reason.
    Skipped(String),
}

/// One test, in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Such as `this host`.
    pub place: String,
    /// The folder of `integration/tests`.
    pub program: String,
    /// Its chapter and its name.
    pub test: String,
    /// What has become of it. A failure's words are not kept.
    pub outcome: Outcome,
}

impl Line {
    /// The line of the file, without its end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (word, why) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(_) => ("failed", ""),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
        };
        [&self.place, &self.program, &self.test, word, why].map(|field| field.replace(['\t', '\n'], " ")).join("\t")
    }

    /// `None`: it is no such line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('\t').collect();
        let [place, program, test, word, why] = fields[..] else { return None };
        let outcome = match word {
            "passed" => Outcome::Passed,
            "failed" => Outcome::Failed(String::new()),
            "skipped" => Outcome::Skipped(why.to_owned()),
            _ => return None,
        };
        Some(Self { place: place.to_owned(), program: program.to_owned(), test: test.to_owned(), outcome })
    }
}

/// Where this program runs: `CLEAT_TEST_PLACE`, by default `this host`.
pub(crate) fn place() -> String {
    std::env::var("CLEAT_TEST_PLACE").unwrap_or_else(|_| "this host".to_owned())
}

/// Adds a line to the file, if one is named.
pub(crate) fn add(line: &Line) {
    let Some(path) = std::env::var_os("CLEAT_TEST_REPORT") else { return };
    // One write, to the end: lines of several threads and programs do not mix.
    let added = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{}\n", line.to_text()).as_bytes()));
    if let Err(error) = added {
        eprintln!("CLEAT_TEST_REPORT {}: {error}", std::path::Path::new(&path).display());
    }
}

/// All lines of a run of the tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(Vec<Line>);

impl Report {
    /// Reads the file's text.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = |line: &str| Line::parse(line).ok_or_else(|| format!("not understood: {line:?}"));
        text.lines().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Tests that have run somewhere.
    fn ran(&self) -> BTreeSet<(&str, &str)> {
        let ran = self.0.iter().filter(|line| !matches!(line.outcome, Outcome::Skipped(_)));
        ran.map(|line| (line.program.as_str(), line.test.as_str())).collect()
    }

    /// How many passed, failed and were skipped in each place, and for what reasons.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let mut places: Vec<&str> = Vec::new();
        for line in &self.0 {
            if !places.contains(&line.place.as_str()) {
                places.push(&line.place);
            }
        }
        for place in &places {
            let of = |wanted: fn(&Outcome) -> bool| {
                self.0.iter().filter(|line| line.place == *place && wanted(&line.outcome)).count()
            };
            let passed = of(|outcome| *outcome == Outcome::Passed);
            let failed = of(|outcome| matches!(outcome, Outcome::Failed(_)));
            let skipped = of(|outcome| matches!(outcome, Outcome::Skipped(_)));
            let _ = writeln!(text, "{place}: {passed} passed, {failed} failed, {skipped} skipped");
        }
        let ran = self.ran();
        let mut reasons: BTreeMap<(&str, &str), Vec<&Line>> = BTreeMap::new();
        for line in &self.0 {
            if let Outcome::Skipped(why) = &line.outcome {
                reasons.entry((&line.place, why)).or_default().push(line);
            }
        }
        for ((place, why), lines) in reasons {
            let elsewhere = lines.iter().filter(|line| ran.contains(&(&line.program, &line.test))).count();
            let but = match elsewhere {
                0 => String::new(),
                all if all == lines.len() => "; run elsewhere".to_owned(),
                some => format!("; {some} of them run elsewhere"),
            };
            let _ = writeln!(text, "{:>5} skipped on {place}: {why}{but}", lines.len());
        }
        text
    }

    /// The proofs of security that were skipped wherever they could have run, each with the last reason.
    #[must_use]
    pub fn unproven(&self) -> BTreeMap<String, String> {
        let ran = self.ran();
        let of_security = self.0.iter().filter(|line| line.program == SECURITY);
        let skipped = of_security.filter_map(|line| match &line.outcome {
            Outcome::Skipped(why) if !ran.contains(&(&line.program, &line.test)) => {
                Some((line.test.clone(), why.clone()))
            }
            _ => None,
        });
        skipped.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(place: &str, program: &str, test: &str, outcome: Outcome) -> Line {
        Line { place: place.into(), program: program.into(), test: test.into(), outcome }
    }

    fn skipped() -> Outcome {
        Outcome::Skipped("no systemd".into())
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for outcome in [Outcome::Passed, Outcome::Failed(String::new()), skipped()] {
            let line = line("guest", "runtime", "mounts::a", outcome);
            assert_eq!(Line::parse(&line.to_text()), Some(line));
        }
        let odd = line("guest", "runtime", "mounts::a", Outcome::Skipped("two\nlines\tand more".into()));
        assert_eq!(odd.to_text(), "guest\truntime\tmounts::a\tskipped\ttwo lines and more");
        assert!(Report::parse("nonsense").is_err());
    }

    #[test]
    fn a_reason_is_counted_once_and_what_ran_elsewhere_is_said() {
        let report = Report(vec![
            line("here", "runtime", "a::a", skipped()),
            line("here", "runtime", "a::b", skipped()),
            line("here", "runtime", "a::c", Outcome::Passed),
            line("guest", "runtime", "a::a", Outcome::Passed),
        ]);
        let expected = "here: 1 passed, 0 failed, 2 skipped\nguest: 1 passed, 0 failed, 0 skipped\n    \
                        2 skipped on here: no systemd; 1 of them run elsewhere\n";
        assert_eq!(report.summary(), expected);
    }

    #[test]
    fn a_proof_of_security_must_run_somewhere() {
        let mut report = Report(vec![
            line("here", SECURITY, "hostile::a", skipped()),
            line("guest", SECURITY, "hostile::a", Outcome::Passed),
            line("here", "runtime", "a::b", skipped()),
        ]);
        assert!(report.unproven().is_empty());
        report.0.push(line("here", SECURITY, "hostile::b", skipped()));
        assert_eq!(report.unproven(), [("hostile::b".to_owned(), "no systemd".to_owned())].into());
    }
}
