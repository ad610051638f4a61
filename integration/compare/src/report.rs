//! All cases, several at a time, and what is to be said about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::{Bench, Case, Difference, Documented, Facts, Peer, between};

/// What came of one case.
#[derive(Debug)]
pub enum Verdict {
    /// What was seen with cleat, runc and crun, and what differs.
    Run([Facts; 3], Vec<Difference>),
    /// It could not be run here; why.
    Skipped(String),
    /// The harness failed.
    Failed(String),
}

/// A difference, and where it was seen.
type Seen<'a> = (&'a Case, &'a [Facts; 3], &'a Difference);

/// What came of all cases.
#[derive(Debug)]
pub struct Report {
    cases: Vec<(Case, Verdict)>,
    documented: Documented,
    /// Whether these were all cases there are.
    complete: bool,
}

impl Report {
    /// Runs them. `complete`: that a documented difference is not seen is to be told.
    #[must_use]
    pub fn new(bench: &Bench, cases: Vec<Case>, documented: Documented, complete: bool) -> Self {
        let jobs = std::env::var("CLEAT_COMPARE_JOBS").ok().and_then(|jobs| jobs.parse().ok());
        let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(2, |n| n.get() + 1));
        let next = AtomicUsize::new(0);
        let verdicts: Mutex<BTreeMap<usize, Verdict>> = Mutex::new(BTreeMap::new());
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some((number, case)) = take(&next, &cases) {
                        let verdict = verdict(bench, case, &documented);
                        if number % 100 == 99 {
                            eprintln!("compare: {} of {}", number + 1, cases.len());
                        }
                        if let Ok(mut verdicts) = verdicts.lock() {
                            verdicts.insert(number, verdict);
                        }
                    }
                });
            }
        });
        let verdicts = verdicts.into_inner().unwrap_or_default();
        Self { cases: cases.into_iter().zip(verdicts.into_values()).collect(), documented, complete }
    }

    /// The cases that were run.
    fn run(&self) -> Vec<&Case> {
        self.cases.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Run(..))).map(|(case, _)| case).collect()
    }

    /// Each difference with the case and the line of the list that it is.
    fn differences(&self) -> impl Iterator<Item = (&Case, &[Facts; 3], &Difference, Option<usize>)> {
        self.cases.iter().flat_map(|(case, verdict)| match verdict {
            Verdict::Run(facts, differences) => {
                differences.iter().map(|d| (case, facts, d, self.documented.find(case, d))).collect()
            }
            _ => Vec::new(),
        })
    }

    /// What must not be: differences without a reason, reasons without a difference, failures. Empty: all is well.
    #[must_use]
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        for (case, verdict) in &self.cases {
            let Verdict::Run(facts, differences) = verdict else {
                if let Verdict::Failed(why) = verdict {
                    let _ = writeln!(text, "\n== {}\n{why}", case.name);
                }
                continue;
            };
            let open: Vec<&Difference> =
                differences.iter().filter(|d| self.documented.find(case, d).is_none()).collect();
            if !open.is_empty() {
                text += &shown(case, facts, &open);
            }
        }
        if self.complete {
            let seen: BTreeSet<usize> = self.differences().filter_map(|(_, _, _, line)| line).collect();
            for gone in self.documented.not_seen(&self.run(), &seen, false) {
                let _ =
                    writeln!(text, "\n== no longer seen, take it out of differences and docs/differences.md: {gone}");
            }
        }
        text
    }

    /// Undocumented differences by kind, the most frequent first, each with the smallest case.
    #[must_use]
    pub fn kinds(&self) -> String {
        let mut kinds: BTreeMap<(String, String, String), Vec<Seen<'_>>> = BTreeMap::new();
        for (case, facts, difference, documented) in self.differences() {
            if documented.is_none() {
                let (_, fact) = difference.fact.split_once('.').unwrap_or(("", &difference.fact));
                let key = (fact.to_owned(), short(&difference.should), short(&difference.is));
                kinds.entry(key).or_default().push((case, facts, difference));
            }
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, all)| usize::MAX - all.len());
        let mut text = String::new();
        for ((fact, should, is), all) in kinds {
            let Some((case, facts, difference)) =
                all.iter().min_by_key(|(case, ..)| case.fragment.len() + case.setup.len())
            else {
                continue;
            };
            let _ = writeln!(
                text,
                "{:4}  {fact}: runc {should} | cleat {is} | crun {}",
                all.len(),
                short(&difference.crun)
            );
            let _ = writeln!(text, "      {}", case.name);
            for (name, facts) in ["cleat", "runc"].iter().zip(facts.iter()) {
                let number = difference.fact.split('.').next().unwrap_or_default();
                let said = facts.0.get(&format!("{number}.#message")).filter(|said| !said.is_empty());
                if let Some(said) = said.filter(|_| fact == "exit" || fact == "says") {
                    let _ = writeln!(text, "      {name}: {}", said.lines().last().unwrap_or_default());
                }
            }
        }
        text
    }

    /// Every difference, and every case that could not be run, as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = String::new();
        for (case, verdict) in &self.cases {
            if let Verdict::Failed(why) = verdict {
                let _ = writeln!(text, "{}", json!({ "case": case.name, "failed": why }));
            }
        }
        for (case, facts, difference, line) in self.differences() {
            let number = difference.fact.split('.').next().unwrap_or_default();
            let said =
                facts.each_ref().map(|facts| facts.0.get(&format!("{number}.#message")).cloned().unwrap_or_default());
            let is_fault = line.map(|line| self.documented.is_fault(line));
            let known = match is_fault {
                None => "no",
                Some(true) => "fault",
                Some(false) => "documented",
            };
            let line = json!({
                "case": case.name, "fragment": case.fragment, "setup": case.setup, "commands": case.commands,
                "fact": difference.fact, "runc": difference.should, "cleat": difference.is, "crun": difference.crun,
                "known": known, "said": { "cleat": said[0], "runc": said[1], "crun": said[2] },
            });
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Lines for the file `faults`: all cases with an undocumented difference.
    #[must_use]
    pub fn faults(&self) -> String {
        let bad: BTreeSet<&str> =
            self.differences().filter(|(_, _, _, line)| line.is_none()).map(|(case, ..)| case.name.as_str()).collect();
        let file = |name: &str| {
            name.split('=')
                .next()
                .and_then(|name| name.rsplit_once('/'))
                .map_or(name.to_owned(), |(file, _)| file.to_owned())
        };
        let mut lines = BTreeSet::new();
        for name in &bad {
            let file = file(name);
            let of_file = self.cases.iter().filter(|(case, _)| case.name.starts_with(&format!("{file}/")));
            let all = name.contains('=')
                && of_file.clone().count() > 1
                && of_file.clone().all(|(case, _)| bad.contains(case.name.as_str()));
            lines.insert(if all { format!("issue-13  {file}/*  *") } else { format!("issue-13  {name}  *") });
        }
        lines.into_iter().collect::<Vec<_>>().join("\n")
    }

    /// All facts of all cases.
    #[must_use]
    pub fn seen(&self) -> String {
        let mut text = String::new();
        for (case, verdict) in &self.cases {
            let _ = writeln!(text, "\n== {}", case.name);
            let Verdict::Run([cleat, runc, crun], _) = verdict else { continue };
            let names: BTreeSet<&String> = cleat.0.keys().chain(runc.0.keys()).chain(crun.0.keys()).collect();
            for name in names {
                let of = |facts: &Facts| facts.0.get(name).map_or("(absent)".to_owned(), |value| short(value));
                let _ = writeln!(
                    text,
                    "   {name}\n     runc:  {}\n     cleat: {}\n     crun:  {}",
                    of(runc),
                    of(cleat),
                    of(crun)
                );
            }
        }
        text
    }

    /// The figures.
    #[must_use]
    pub fn summary(&self) -> String {
        let (mut run, mut as_runc, mut as_crun, mut skipped, mut failed) = (0, 0, 0, 0, 0);
        for (case, verdict) in &self.cases {
            match verdict {
                Verdict::Run([cleat, runc, crun], differences) => {
                    run += 1;
                    as_runc += usize::from(differences.is_empty());
                    as_crun += usize::from(
                        between(&Case { expected: Vec::new(), ..case.clone() }, cleat, crun, runc).is_empty(),
                    );
                }
                Verdict::Skipped(_) => skipped += 1,
                Verdict::Failed(_) => failed += 1,
            }
        }
        let documented: BTreeSet<usize> = self.differences().filter_map(|(_, _, _, line)| line).collect();
        let is_fault = |line: &Option<usize>| line.is_some_and(|line| self.documented.is_fault(line));
        let faults = self.differences().filter(|(_, _, _, line)| is_fault(line)).count();
        let known = self.differences().filter(|(_, _, _, line)| line.is_some()).count() - faults;
        let open = self.differences().filter(|(_, _, _, line)| line.is_none()).count();
        let mut text = format!(
            "{run} inputs: {as_runc} equal to runc (or as expected), {as_crun} equal to crun\n\
             {known} documented differences, {faults} known faults ({} lines of the lists), {open} undocumented ones\n",
            documented.len()
        );
        if skipped + failed > 0 {
            let _ = writeln!(text, "{skipped} inputs skipped, {failed} could not be run");
        }
        if self.complete {
            for gone in self.documented.not_seen(&self.run(), &documented, true) {
                let _ = writeln!(text, "mended, take it out of the list of faults: {gone}");
            }
        }
        let reasons: BTreeSet<&String> = self
            .cases
            .iter()
            .filter_map(|(_, v)| if let Verdict::Skipped(why) = v { Some(why) } else { None })
            .collect();
        for reason in reasons {
            let _ = writeln!(text, "skipped: {reason}");
        }
        text
    }
}

fn take<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, cases.get(number)?))
}

/// A second time, when something differs that should not: a busy machine may have been in the way.
fn verdict(bench: &Bench, case: &Case, documented: &Documented) -> Verdict {
    if !bench.can(case) {
        return Verdict::Skipped(format!("no controller {} here", case.controllers.join(" or ")));
    }
    let mut verdict = once(bench, case);
    let tries = std::env::var("CLEAT_COMPARE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2);
    for _ in 1..tries {
        let open = match &verdict {
            Verdict::Run(_, differences) => differences.iter().any(|d| documented.find(case, d).is_none()),
            _ => true,
        };
        if open {
            let again = once(bench, case);
            if count(&again) <= count(&verdict) {
                verdict = again;
            }
        }
    }
    verdict
}

fn count(verdict: &Verdict) -> usize {
    if let Verdict::Run(_, differences) = verdict { differences.len() } else { usize::MAX }
}

fn once(bench: &Bench, case: &Case) -> Verdict {
    match (bench.run(case, Peer::Cleat), bench.run(case, Peer::Runc), bench.run(case, Peer::Crun)) {
        (Ok(cleat), Ok(runc), crun) => {
            // crun may do what ends the script, too: with the cgroup `/` it kills all there is.
            let crun = crun.unwrap_or_default();
            let differences = between(case, &cleat, &runc, &crun);
            Verdict::Run([cleat, runc, crun], differences)
        }
        (cleat, runc, crun) => {
            Verdict::Failed([cleat, runc, crun].into_iter().filter_map(Result::err).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn short(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    if text.chars().count() <= 160 { text } else { format!("{}…", text.chars().take(160).collect::<String>()) }
}

/// A case, and a line for each of its differences.
fn shown(case: &Case, [cleat, runc, crun]: &[Facts; 3], differences: &[&Difference]) -> String {
    let mut text = format!("\n== {}\n", case.name);
    for line in case.about.lines() {
        let _ = writeln!(text, "   # {line}");
    }
    let _ = write!(text, "   config: {}", short(&case.fragment.replace('\n', " ")));
    text.push('\n');
    for (number, command) in case.commands.iter().enumerate() {
        let _ = writeln!(text, "   {} {command}", number + 1);
    }
    for difference in differences {
        let Difference { fact, should, is, crun: other } = difference;
        let _ = writeln!(
            text,
            "   {fact}\n     - runc:  {}\n     + cleat: {}\n       crun:  {}",
            short(should),
            short(is),
            short(other)
        );
        if let Some(number) = fact.strip_suffix(".exit").or_else(|| fact.strip_suffix(".says")) {
            for (name, facts) in [("runc", runc), ("cleat", cleat), ("crun", crun)] {
                let said = facts.0.get(&format!("{number}.#message")).map_or("", String::as_str);
                let _ = writeln!(text, "       {name} said: {}", short(said));
            }
        }
    }
    text
}
