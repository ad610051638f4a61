//! Under which limit of memory does a program still start?

use std::fmt;
use std::fs;

use serde_json::{Value, json};

use crate::error::{At as _, Interrupted, Result, bail};
use crate::options::Options;
use crate::progress;
use crate::runtimes::{Operation, Subject};
use crate::sample::{self, Signals};
use crate::workdir::Workdir;

/// Steps of the search, in kB of 1024 bytes.
const STEPS: [u64; 22] = [
    32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384,
];
/// What the design allows cleat.
const BUDGET: u64 = 256;

/// The smallest `memory.max` from which on `run` of true always comes through, in kB; `None`: not even the
/// largest is enough.
#[derive(Debug)]
pub(crate) struct Smallest {
    tries: usize,
    found: Vec<(&'static str, Option<u64>)>,
}

impl Smallest {
    /// Asks every runtime; `None`: not asked for.
    ///
    /// # Errors
    /// There is no controller of memory, or we were interrupted.
    pub(crate) fn measure(
        place: &Workdir,
        signals: &Signals,
        subjects: &[Subject],
        options: &Options,
    ) -> Result<Option<Self>> {
        if options.memory == 0 {
            return Ok(None);
        }
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").at("cgroup.controllers")?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            bail!("--memory: cgroup v2 has no memory controller here; integration/guest/run has");
        }
        let mut found = Vec::new();
        for subject in subjects.iter().filter(|subject| !subject.is_floor()) {
            found.push((subject.name, search(place, signals, subject, options.memory)?));
        }
        Ok(Some(Self { tries: options.memory, found }))
    }

    pub(crate) fn is_met(&self) -> bool {
        self.found.iter().all(|(name, kb)| *name != "cleat" || kb.is_some_and(|kb| kb <= BUDGET))
    }
}

/// From the smallest limit upwards, as long as one of the tries fails.
fn search(place: &Workdir, signals: &Signals, subject: &Subject, tries: usize) -> Result<Option<u64>> {
    let bundle = place.path("true");
    let path = bundle.join("config.json");
    let before = fs::read_to_string(&path).at(path.display())?;
    let mut spec: Value = serde_json::from_str(&before).at(path.display())?;
    let mut smallest = None;
    let bar = progress::bar(&format!("smallest memory.max of {}", subject.name), STEPS.len());
    for kb in bar.wrap_iter(STEPS.into_iter()) {
        let bytes = kb * 1024;
        spec["linux"]["resources"]["memory"] = json!({ "limit": bytes, "swap": bytes });
        fs::write(&path, spec.to_string()).at(path.display())?;
        let mut runs = 0;
        while runs < tries && runs_once(place, signals, subject)? {
            runs += 1;
        }
        if runs == tries {
            smallest = Some(kb);
            break;
        }
    }
    fs::write(&path, before).at(path.display())?;
    Ok(smallest)
}

fn runs_once(place: &Workdir, signals: &Signals, subject: &Subject) -> Result<bool> {
    let Some(command) = subject.command(place, Operation::Run, subject.name) else { return Ok(false) };
    match sample::measure(place, signals, &command) {
        Ok(_) => Ok(true),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(_) => {
            // Some leave their state behind when they are killed.
            let _ = sample::output(signals, &subject.delete(place, subject.name));
            place.sweep();
            Ok(false)
        }
    }
}

impl fmt::Display for Smallest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "smallest memory.max under which true always runs ({} of {0} tries):", self.tries)?;
        for (name, kb) in &self.found {
            match kb {
                Some(kb) => writeln!(f, "  {name:<6} {kb:>6} kB")?,
                None => writeln!(f, "  {name:<6} more than {} kB", STEPS[STEPS.len() - 1])?,
            }
        }
        writeln!(f, "  budget of cleat {BUDGET} kB: {}", if self.is_met() { "met" } else { "missed" })
    }
}
