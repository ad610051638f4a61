//! `check`: what this machine offers, and whether a bundle will run on it.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::check;
use crate::check::Report;
use crate::checkpoint::readiness::Readiness;
use crate::cli::Rootless;
use crate::container::Store;
use crate::error::Result;
use crate::plan::host::{CgroupManager, Host};
use crate::probe::machine::Survey;

use super::{print, print_json};

/// Everything, in the shape that docs/check.md documents.
#[derive(Serialize)]
struct Document<'a> {
    host: &'a Survey,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<&'a Report>,
}

/// Global options that change the answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// `--rootless`
    pub rootless: Rootless,
    /// `--cgroup-manager`
    pub manager: CgroupManager,
}

/// `check`: the exit code is 0 unless a bundle was asked for that will not run. `state` is where
/// containers would be remembered, or why they could not.
///
/// # Errors
/// `/proc` is not there; no systemd answers, without a bundle; those of write(2).
pub fn check(asked: Asked, state: &Result<PathBuf>, bundle: Option<&Path>, json: bool) -> Result<u8> {
    let mut host = Host::probe(asked.rootless)?;
    let refused = host.find_manager(asked.manager).err();
    let mut survey = Survey::take(&host);
    let report = bundle.map(|path| check::check(path, &host, state, &mut survey));
    let report = match (report, refused) {
        (Some(report), Some(error)) => Some(report.with(&error)),
        (None, Some(error)) => return Err(error),
        (report, None) => report,
    };
    survey.ask_the_rest(&host);
    let document = Document { host: &survey, bundle: report.as_ref() };
    if json {
        print_json(&document)?;
    } else {
        print(&document.to_string())?;
    }
    Ok(u8::from(report.is_some_and(|report| !report.runs)))
}

/// `check --checkpoint`: the exit code is 0 if checkpoints can be made, of the container of that id where one is named.
///
/// # Errors
/// There is no such container; those of write(2).
pub fn checkpoint(store: &Store, id: &str, json: bool) -> Result<u8> {
    let container = if id.is_empty() { None } else { Some(store.open(id)?) };
    let readiness = Readiness::of(container.as_ref());
    if json {
        print_json(&readiness)?;
    } else {
        print(&readiness.to_string())?;
    }
    Ok(u8::from(!readiness.problems.is_empty()))
}

impl Display for Readiness {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<PathBuf>| path.as_ref().map_or("none".into(), |path| path.display().to_string());
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        writeln!(f, "criu              {} {}", path(&self.criu), self.version.as_deref().unwrap_or_default())?;
        writeln!(f, "memory tracking   {}", yes(self.memory_tracking))?;
        writeln!(f, "lazy pages        {}", yes(self.lazy_pages))?;
        writeln!(f, "iptables-restore  {}\n", path(&self.iptables))?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  problem: {problem}"))?;
        writeln!(
            f,
            "{}",
            if self.problems.is_empty() { "a checkpoint can be made" } else { "no checkpoint can be made" }
        )
    }
}

impl Display for Document<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        match self.bundle {
            Some(report) => write_report(f, report),
            None => write_verdict(f, &self.host.obstacles()),
        }
    }
}

/// Problems last, and the verdict in the last line.
fn write_report(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(f, "\nbundle {}", report.path.display())?;
    for warning in &report.warnings {
        writeln!(f, "  warning: {warning}")?;
    }
    for problem in &report.problems {
        let place = if problem.place.is_empty() { String::new() } else { format!("{}: ", problem.place) };
        writeln!(f, "  problem: {place}{}; {}", problem.problem, problem.remedy)?;
    }
    match report.problems.len() {
        0 => writeln!(f, "it will run here"),
        1 => writeln!(f, "it will not run here: one problem"),
        count => writeln!(f, "it will not run here: {count} problems"),
    }
}

fn write_verdict(f: &mut Formatter<'_>, obstacles: &[(String, String)]) -> fmt::Result {
    writeln!(f)?;
    for (problem, remedy) in obstacles {
        writeln!(f, "  problem: {problem}; {remedy}")?;
    }
    writeln!(f, "{}", if obstacles.is_empty() { "containers will run here" } else { "no container will run here" })
}
