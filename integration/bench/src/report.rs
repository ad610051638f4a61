//! What do the figures say, and are the budgets met?
//!
//! MB and kB are decimal throughout.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::compile::Compile;
use crate::error::{At as _, Result};
use crate::options::Options;
use crate::rounds::{Call, Figures, Series};
use crate::runtimes::{FLOOR, Operation, Subject};
use crate::scale::{self, Scale};
use crate::statistics::{median, percentile};

/// What can be read from files, before the root changes.
#[derive(Debug)]
pub(crate) struct Sizes {
    cleat_mb: Option<f64>,
    cleat_is_static: bool,
    init_kb: Option<f64>,
    floor_is_static: bool,
}

impl Sizes {
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let init_bytes = match &options.init {
            Some(init) => Some(bytes(init)?),
            None => None,
        };
        Ok(Self {
            cleat_mb: bytes(&options.cleat).ok().map(|bytes| bytes / 1e6),
            cleat_is_static: is_static(&options.cleat),
            init_kb: init_bytes.map(|bytes| bytes / 1e3),
            floor_is_static: is_static(&options.floor),
        })
    }
}

fn bytes(path: &Path) -> Result<f64> {
    let length = fs::metadata(path).at(path.display())?.len();
    u32::try_from(length).map(f64::from).at(path.display())
}

/// No program header asks for an interpreter.
fn is_static(path: &Path) -> bool {
    const INTERPRETER: [u8; 4] = [3, 0, 0, 0];
    let file = fs::read(path).unwrap_or_default();
    let Some((start, count)) = program_headers(&file) else {
        return false;
    };
    let headers = file.get(start..).unwrap_or_default().chunks(56).take(count);
    !headers.into_iter().any(|header| header.starts_with(&INTERPRETER))
}

/// Where a 64-bit, little-endian ELF file has its program headers, and how many.
fn program_headers(file: &[u8]) -> Option<(usize, usize)> {
    let start = u64::from_le_bytes(file.get(32..40)?.try_into().ok()?);
    let count = u16::from_le_bytes(file.get(56..58)?.try_into().ok()?);
    Some((usize::try_from(start).ok()?, usize::from(count)))
}

/// What it costs when nothing else is in its way; NaN for no samples.
fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)
}

/// One line of the budget table.
#[derive(Debug)]
struct Budget {
    what: String,
    figure: f64,
    limit: f64,
    unit: &'static str,
}

impl Budget {
    fn is_met(&self) -> bool {
        self.figure <= self.limit
    }
}

#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) subjects: &'a [Subject],
    pub(crate) absent: &'a [String],
    pub(crate) sizes: &'a Sizes,
    pub(crate) figures: &'a [Figures],
    pub(crate) crowd: Option<&'a Scale>,
    pub(crate) compile: Compile,
    /// Cgroups that a runtime said it had removed, and had not.
    pub(crate) left: &'a [PathBuf],
}

impl Report<'_> {
    fn series(&self, name: &str, operation: Operation) -> Option<&Series> {
        let figures = self.figures.iter().find(|figures| figures.name == name)?;
        Some(figures.of(operation)).filter(|series| !series.wall_ms.is_empty())
    }

    fn wall_ms(&self, name: &str, operation: Operation) -> Option<f64> {
        self.series(name, operation).map(|series| median(&series.wall_ms))
    }

    /// How many times slower `name` is than `other`.
    fn ratio(&self, name: &str, other: &str, operation: Operation) -> Option<f64> {
        Some(self.wall_ms(name, operation)? / self.wall_ms(other, operation)?)
    }

    /// Those of the design that this run could judge.
    fn budgets(&self) -> Vec<Budget> {
        let mut budgets = Vec::new();
        let mut judge = |what: String, figure: Option<f64>, limit, unit| {
            if let Some(figure) = figure {
                budgets.push(Budget { what, figure, limit, unit });
            }
        };
        for (operation, other, limit) in [
            (Operation::Run, "crun", 0.50),
            (Operation::Run, FLOOR, 1.40),
            (Operation::RunFiltered, "crun", 0.50),
            (Operation::Create, "crun", 0.50),
            (Operation::CreateFiltered, "crun", 0.50),
            (Operation::Start, "crun", 0.35),
            (Operation::State, "crun", 0.35),
            (Operation::Kill, "crun", 0.35),
            (Operation::Delete, "crun", 0.35),
            (Operation::Exec, "crun", 0.45),
            (Operation::Exec, FLOOR, 1.50),
        ] {
            let what = format!("{} of cleat to {other}", operation.name());
            judge(what, self.ratio("cleat", other, operation), limit, "x");
        }
        let peaks = Operation::ALL.map(|operation| self.series("cleat", operation));
        let peaks = peaks.iter().flatten().map(|series| median(&series.peak_mb));
        let peak = peaks.reduce(f64::max);
        judge("peak memory of any command".into(), peak, 2.5, "MB");
        let cleat = self.figures.iter().find(|figures| figures.name == "cleat");
        let created = cleat.map(|figures| median(&figures.created_mb));
        judge("a container created, not started".into(), created, 0.3, "MB");
        judge("Docker's profile, compiled".into(), Some(self.compile.compile_ms), 0.2, "ms");
        judge("binary".into(), self.sizes.cleat_mb, 2.0, "MB");
        judge("init".into(), self.sizes.init_kb, 100.0, "kB");
        if let Some(crowd) = self.crowd.filter(|crowd| crowd.name == "cleat") {
            for (operation, among, alone) in crowd_rows(crowd) {
                let what = format!("{} among {} to alone", operation.name(), crowd.containers);
                judge(what, Some(among / alone), 1.1, "x");
            }
        }
        budgets
    }

    pub(crate) fn all_met(&self) -> bool {
        let is_judged = self.figures.iter().any(|figures| figures.name == "cleat");
        is_judged && self.budgets().iter().all(Budget::is_met)
    }

    pub(crate) fn json(&self) -> Value {
        let operations = self.figures.iter().flat_map(|figures| {
            Operation::ALL.iter().filter_map(move |&operation| {
                let series = self.series(figures.name, operation)?;
                Some(json!({
                    "operation": operation.name(),
                    "runtime": figures.name,
                    "wall_ms": series.wall_ms,
                    "median_ms": median(&series.wall_ms),
                    "p95_ms": percentile(&series.wall_ms, 95),
                    "cpu_ms": median(&series.cpu_ms),
                    "peak_mb": median(&series.peak_mb),
                }))
            })
        });
        let created = self.figures.iter().filter(|figures| figures.name != FLOOR);
        let created = created.map(|figures| json!({"runtime": figures.name, "pss_mb": median(&figures.created_mb)}));
        let calls = self.figures.iter().filter(|figures| figures.name != FLOOR).map(|figures| {
            let ns = |call: Call| least(&figures.call_ns[call as usize]);
            json!({
                "runtime": figures.name,
                "plain": ns(Call::Plain),
                "allowed": ns(Call::Allowed),
                "plain_with_arguments": ns(Call::PlainWithArguments),
                "allowed_with_arguments": ns(Call::AllowedWithArguments),
            })
        });
        let budgets = self.budgets();
        let budgets = budgets.iter().map(|budget| {
            json!({
                "what": budget.what,
                "figure": budget.figure,
                "limit": budget.limit,
                "unit": budget.unit,
                "met": budget.is_met(),
            })
        });
        let runtimes = self
            .subjects
            .iter()
            .map(|subject| json!({"name": subject.name, "path": subject.program, "version": subject.version}));
        json!({
            "rounds": self.options.rounds,
            "kernel": kernel(),
            "runtimes": runtimes.collect::<Vec<_>>(),
            "absent": self.absent,
            "operations": operations.collect::<Vec<_>>(),
            "created": created.collect::<Vec<_>>(),
            "calls_ns": calls.collect::<Vec<_>>(),
            "profile": {"parse_ms": self.compile.parse_ms, "compile_ms": self.compile.compile_ms},
            "binary": {"mb": self.sizes.cleat_mb, "static": self.sizes.cleat_is_static},
            "init_kb": self.sizes.init_kb,
            "crowd": self.crowd.map(|crowd| json!({
                "runtime": crowd.name,
                "containers": crowd.containers,
                "operations": crowd_rows(crowd).map(|(operation, among, alone)| {
                    json!({"operation": operation.name(), "alone_ms": alone, "among_ms": among})
                }).collect::<Vec<_>>(),
                "deleted_at_once_ms": crowd.deleted_ms,
                "left": crowd.left,
            })),
            "budgets": budgets.collect::<Vec<_>>(),
            "left": self.left,
        })
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:<8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "operation", "runtime", "median ms", "p95 ms", "CPU ms", "peak MB", "/ crun", "/ runc", "/ floor"
        )?;
        for operation in Operation::ALL {
            for figures in self.figures {
                let Some(series) = self.series(figures.name, operation) else {
                    continue;
                };
                write!(f, "{:<16} {:<8}", operation.name(), figures.name)?;
                write!(f, " {:>10.2}", median(&series.wall_ms))?;
                write!(f, " {:>8.2}", percentile(&series.wall_ms, 95))?;
                write!(f, " {:>8.2}", median(&series.cpu_ms))?;
                write!(f, " {:>8.2}", median(&series.peak_mb))?;
                for other in ["crun", "runc", FLOOR] {
                    match self.ratio(figures.name, other, operation) {
                        Some(ratio) if other != figures.name => write!(f, " {ratio:>8.2}")?,
                        _ => write!(f, " {:>8}", "-")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }

    fn memory_and_sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figures in self.figures.iter().filter(|figures| figures.name != FLOOR) {
            let mb = median(&figures.created_mb);
            writeln!(f, "created container by {}: {mb:.2} MB (PSS of its first process)", figures.name)?;
        }
        for figures in self.figures.iter().filter(|figures| figures.name != FLOOR) {
            let ns = |call: Call| least(&figures.call_ns[call as usize]);
            writeln!(
                f,
                "system calls under {}'s filter: {:.0} ns (without one {:.0}), with conditions {:.0} ns ({:.0})",
                figures.name,
                ns(Call::Allowed),
                ns(Call::Plain),
                ns(Call::AllowedWithArguments),
                ns(Call::PlainWithArguments)
            )?;
        }
        let Compile { parse_ms, compile_ms } = self.compile;
        writeln!(f, "Docker's profile in cleat: parsed in {parse_ms:.3} ms, compiled in {compile_ms:.3} ms")?;
        if let Some(mb) = self.sizes.cleat_mb {
            let kind = if self.sizes.cleat_is_static { "static" } else { "NOT static" };
            writeln!(f, "binary of cleat: {mb:.2} MB, {kind}")?;
        }
        if let Some(kb) = self.sizes.init_kb {
            writeln!(f, "init of cleat: {kb:.1} kB")?;
        }
        if let Some(crowd) = self.crowd {
            let (name, count) = (crowd.name, crowd.containers);
            for (operation, (among, alone)) in scale::OPERATIONS.iter().zip(crowd.among.iter().zip(&crowd.alone)) {
                let text = |it: &Series| format!("{:.2} ms ({:.2} of CPU)", median(&it.wall_ms), median(&it.cpu_ms));
                let (alone, among) = (text(alone), text(among));
                writeln!(f, "{} by {name}: {alone} alone, {among} among {count}", operation.name())?;
            }
            let [alone, among] = crowd.floor.each_ref().map(|it| median(&it.wall_ms));
            writeln!(
                f,
                "run by the floor, which is the kernel's share: {alone:.2} ms alone, {among:.2} ms among {count}"
            )?;
            let left = crowd.left.len();
            writeln!(f, "{count} containers deleted at once in {:.0} ms, {left} of them left", crowd.deleted_ms)?;
        }
        Ok(())
    }
}

/// What is measured with many containers: its median among them, and without them.
fn crowd_rows(crowd: &Scale) -> impl Iterator<Item = (Operation, f64, f64)> {
    let series = crowd.among.iter().zip(&crowd.alone);
    let rows = scale::OPERATIONS.into_iter().zip(series);
    rows.map(|(operation, (among, alone))| (operation, median(&among.wall_ms), median(&alone.wall_ms)))
}

fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// How many processes wanted a CPU in the last minute, and how many CPUs there are.
fn load() -> (f64, usize) {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|word| word.parse().ok());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (load.unwrap_or(f64::NAN), cpus)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (load, cpus) = load();
        writeln!(
            f,
            "{} rounds, Linux {}, {cpus} CPUs, load {load:.2} (of which about 1 is this)\n",
            self.options.rounds,
            kernel()
        )?;
        for subject in self.subjects.iter().filter(|subject| !subject.is_floor()) {
            writeln!(f, "{:<6} {} ({})", subject.name, subject.version, subject.program.display())?;
        }
        for line in self.absent {
            writeln!(f, "without {line}")?;
        }
        if !self.sizes.floor_is_static {
            writeln!(f, "the floor is not static, so it is too high: build with crt-static")?;
        }
        writeln!(f)?;
        self.table(f)?;
        writeln!(f, "\nspawn, an empty program, is in every figure\n")?;
        self.memory_and_sizes(f)?;
        writeln!(f)?;
        for budget in self.budgets() {
            let Budget { what, figure, limit, unit } = &budget;
            write!(f, "{what:<36} {figure:>8.2} {unit:<2}  budget {limit:>6.2} {unit:<2}  ")?;
            match budget.is_met() {
                true => writeln!(f, "met")?,
                false => writeln!(f, "missed by {:.0} %", (figure / limit - 1.0) * 100.0)?,
            }
        }
        for cgroup in self.left {
            writeln!(f, "left behind: {}", cgroup.display())?;
        }
        Ok(())
    }
}
