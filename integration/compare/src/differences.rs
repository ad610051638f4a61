//! What differs, and is it meant so?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::facts::Facts;
use crate::{Case, folder, matches};

/// One fact that is another with cleat than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The fact's name.
    pub fact: String,
    /// What runc does, or what the case expects.
    pub should: String,
    /// What cleat does.
    pub is: String,
    /// What crun does.
    pub crun: String,
}

/// A fact that is not there.
const ABSENT: &str = "(absent)";

/// What differs between cleat and runc. Once a command ends in another way, what comes after it is a consequence
/// and is not compared.
#[must_use]
pub fn between(case: &Case, cleat: &Facts, runc: &Facts, crun: &Facts) -> Vec<Difference> {
    let value = |facts: &Facts, name: &str| facts.0.get(name).cloned().unwrap_or_else(|| ABSENT.to_owned());
    let expected: BTreeMap<&str, &str> = case.expected.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let should = |name: &str| expected.get(name).map_or_else(|| value(runc, name), |value| (*value).to_owned());
    let differs = |name: &str| value(cleat, name) != should(name);
    let diverged = (1..=case.commands.len()).find(|number| differs(&format!("{number}.exit")));
    let names: BTreeSet<&String> = cleat.0.keys().chain(runc.0.keys()).collect();
    names
        .into_iter()
        .filter(|name| !name.contains(".#") && differs(name))
        .filter(|name| {
            diverged.is_none_or(|diverged| {
                of_command(name).is_some_and(|number| number < diverged)
                    || **name == format!("{diverged}.exit")
                    || expected.contains_key(name.as_str())
            })
        })
        .filter(|name| !case.ignored.iter().any(|pattern| matches(pattern, name)))
        .map(|name| Difference {
            fact: name.clone(),
            should: should(name),
            is: value(cleat, name),
            crun: value(crun, name),
        })
        .collect()
}

/// The number of the command that a fact is about.
fn of_command(name: &str) -> Option<usize> {
    name.split('.').next()?.parse().ok()
}

/// Whether cleat's value is what a line says; `+a,b`: the list of runc, and these words, too.
fn is_value(pattern: &str, difference: &Difference) -> bool {
    let list = |text: &str| serde_json::from_str::<BTreeSet<String>>(text).ok();
    let Some(more) = pattern.strip_prefix('+') else { return matches(pattern, &difference.is) };
    let (Some(mut should), Some(is)) = (list(&difference.should), list(&difference.is)) else { return false };
    should.extend(more.split(',').map(str::to_owned));
    should == is
}

/// Differences that are known, by what they look like: those that `docs/differences.md` gives a reason for (the file
/// `differences`), and faults that are not mended yet (the file `faults`).
#[derive(Debug)]
pub struct Documented {
    entries: Vec<Entry>,
}

/// One line of the file.
#[derive(Debug)]
struct Entry {
    name: String,
    case: String,
    fact: String,
    should: String,
    is: String,
    /// That it is to be mended, and not meant so.
    is_fault: bool,
}

impl Documented {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or a line is none; says which.
    pub fn read() -> Result<Self, String> {
        let mut entries = Self::of("differences", false)?;
        entries.extend(Self::of("faults", true)?);
        Ok(Self { entries })
    }

    fn of(file: &str, is_fault: bool) -> Result<Vec<Entry>, String> {
        let path = folder().join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let entry = |line: &str| {
            let columns: Vec<&str> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
            let (name, case, fact, values) = match columns.as_slice() {
                [name, case, fact] => (name, case, fact, "* => *"),
                [name, case, fact, values] => (name, case, fact, *values),
                _ => return Err(format!("{}: not NAME  CASE  FACT  RUNC => CLEAT: {line}", path.display())),
            };
            let (should, is) =
                values.split_once(" => ").ok_or_else(|| format!("{}: no => in {line}", path.display()))?;
            let [name, case, fact, should, is] = [*name, *case, *fact, should, is].map(str::to_owned);
            Ok(Entry { name, case, fact, should, is, is_fault })
        };
        lines.map(entry).collect()
    }

    /// The names of those that are meant so.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.entries.iter().filter(|entry| !entry.is_fault).map(|entry| entry.name.clone()).collect()
    }

    /// Which one a difference is, as the number of its line.
    #[must_use]
    pub fn find(&self, case: &Case, difference: &Difference) -> Option<usize> {
        self.entries.iter().position(|entry| {
            matches(&entry.case, &case.name)
                && matches(&entry.fact, &difference.fact)
                && matches(&entry.should, &difference.should)
                && is_value(&entry.is, difference)
        })
    }

    /// Whether a line is of a fault.
    #[must_use]
    pub fn is_fault(&self, line: usize) -> bool {
        self.entries.get(line).is_some_and(|entry| entry.is_fault)
    }

    /// The lines that say something about none of these cases.
    #[must_use]
    pub fn about_nothing(&self, cases: &[Case]) -> Vec<String> {
        let is_idle = |entry: &&Entry| !cases.iter().any(|case| matches(&entry.case, &case.name));
        self.entries.iter().filter(is_idle).map(|entry| format!("{}  {}", entry.name, entry.case)).collect()
    }

    /// Those that say something about one of these cases, and were not seen: the names of differences, of which no
    /// line was, and the lines of faults.
    #[must_use]
    pub fn not_seen(&self, cases: &[&Case], seen: &BTreeSet<usize>, faults: bool) -> BTreeSet<String> {
        let is_about = |entry: &Entry| cases.iter().any(|case| matches(&entry.case, &case.name));
        let text = |entry: &Entry| {
            if faults { format!("{} ({}, {})", entry.name, entry.case, entry.fact) } else { entry.name.clone() }
        };
        let all = || self.entries.iter().enumerate().filter(|(_, entry)| entry.is_fault == faults);
        let there: BTreeSet<String> = all().filter(|(number, _)| seen.contains(number)).map(|(_, e)| text(e)).collect();
        all().filter(|(_, entry)| is_about(entry)).map(|(_, e)| text(e)).filter(|text| !there.contains(text)).collect()
    }
}
