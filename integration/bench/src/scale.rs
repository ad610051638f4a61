//! What does one more container cost when there are many?

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{At as _, Result, anyhow};
use crate::options::Options;
use crate::orphans;
use crate::progress;
use crate::rounds::{Series, once};
use crate::runtimes::{Operation, Subject};
use crate::sample::Signals;
use crate::workdir::Workdir;

/// What is measured with and without the others.
pub(crate) const OPERATIONS: [Operation; 3] = [Operation::Create, Operation::Exec, Operation::Delete];

/// How often the others come and go.
const TURNS: usize = 5;

/// The cost of one container without others, and among many that run.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) name: &'static str,
    pub(crate) containers: usize,
    /// By [`OPERATIONS`].
    pub(crate) alone: [Series; OPERATIONS.len()],
    pub(crate) among: [Series; OPERATIONS.len()],
    /// The same of what the kernel alone charges for a container's creation and removal: without and with them.
    pub(crate) floor: [Series; 2],
    /// How long it took to delete them all at once, at most.
    pub(crate) deleted_ms: f64,
    /// What their state directory still held then.
    pub(crate) left: Vec<String>,
}

/// Measures alone and among `--crowd` containers that run, which are then all deleted at once, by turns:
/// what else changes on the machine meanwhile is in both. `None`: not asked for.
///
/// # Errors
/// A command fails, or hangs.
pub(crate) fn measure(
    place: &Workdir,
    signals: &Signals,
    subjects: &[Subject],
    options: &Options,
) -> Result<Option<Scale>> {
    let Some(subject) = subjects.iter().find(|it| !it.is_floor() && options.crowd > 0) else {
        return Ok(None);
    };
    let names: Vec<String> = (0..options.crowd).map(|at| format!("crowd{at}")).collect();
    let mut crowd = Scale {
        name: subject.name,
        containers: names.len(),
        alone: Default::default(),
        among: Default::default(),
        floor: Default::default(),
        deleted_ms: 0.0,
        left: Vec::new(),
    };
    let kernel = subjects.iter().find(|it| it.is_floor());
    let charge = |count: usize, into: &mut Series| {
        let floors = std::iter::repeat_n(kernel, count).flatten();
        floors
            .map(|floor| once(place, signals, floor, Operation::Run, "floor"))
            .try_for_each(|cost| cost.map(|cost| cost.into_iter().for_each(|cost| into.add(cost))))
    };
    let warm = |count| lives(place, signals, subject, count, &mut Default::default());
    let count = options.rounds.div_ceil(TURNS);
    let state = place.path("state").join(subject.name);
    let bar = progress::bar(&format!("turns with {} containers by {}", names.len(), subject.name), TURNS);
    for _ in bar.wrap_iter(0..TURNS) {
        warm(options.warmups)?;
        lives(place, signals, subject, count, &mut crowd.alone)?;
        charge(count, &mut crowd.floor[0])?;
        for name in &names {
            once(place, signals, subject, Operation::Create, name)?;
            once(place, signals, subject, Operation::Start, name)?;
        }
        warm(options.warmups)?;
        lives(place, signals, subject, count, &mut crowd.among)?;
        charge(count, &mut crowd.floor[1])?;
        let start = Instant::now();
        delete_at_once(place, subject, &names)?;
        crowd.deleted_ms = crowd.deleted_ms.max(start.elapsed().as_secs_f64() * 1e3);
        let left = fs::read_dir(&state).at(state.display())?.flatten();
        crowd.left.extend(left.map(|entry| entry.path().display().to_string()));
    }
    Ok(Some(crowd))
}

/// Whole lives of one container.
fn lives(place: &Workdir, signals: &Signals, subject: &Subject, count: usize, into: &mut [Series; 3]) -> Result<()> {
    let name = subject.name;
    for _ in 0..count {
        let mut take = |operation: Operation, index: usize| {
            let cost = once(place, signals, subject, operation, name)?;
            cost.into_iter().for_each(|cost| into[index].add(cost));
            Ok::<(), anyhow::Error>(())
        };
        take(Operation::Create, 0)?;
        once(place, signals, subject, Operation::Start, name)?;
        take(Operation::Exec, 1)?;
        once(place, signals, subject, Operation::Kill, name)?;
        take(Operation::Delete, 2)?;
        orphans::reap();
    }
    Ok(())
}

/// `delete --force` of all of them, each by a process of its own, none of which waits for another.
fn delete_at_once(place: &Workdir, subject: &Subject, names: &[String]) -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(120);
    let spawn = |name: &String| {
        let mut command = Command::new(&subject.program);
        command.arg("--root").arg(place.path("state").join(subject.name)).args(["delete", "--force"]);
        command.arg(place.id(name)).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    };
    let mut running: Vec<Child> = Vec::new();
    let spawned = names.iter().try_for_each(|name| spawn(name).map(|child| running.push(child)));
    let deadline = Instant::now() + TIMEOUT;
    let mut failed = 0;
    for child in &mut running {
        // The bench has one thread, and these end by themselves.
        while child.try_wait().at("delete")?.is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        failed += usize::from(!child.wait().at("delete")?.success());
    }
    spawned.at("delete")?;
    match failed {
        0 => Ok(()),
        _ => Err(anyhow!("{failed} of {} deletes failed", names.len())),
    }
}
