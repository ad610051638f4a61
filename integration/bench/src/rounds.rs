//! In which order are samples taken?

use crate::error::{At as _, Interrupted, Result, bail};
use crate::options::Options;
use crate::orphans;
use crate::progress;
use crate::runtimes::{Operation, Subject};
use crate::sample::{self, Cost, Signals};
use crate::workdir::Workdir;

/// All samples of one operation of one runtime, or of one quantity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) wall_ms: Vec<f64>,
    pub(crate) cpu_ms: Vec<f64>,
    pub(crate) peak_mb: Vec<f64>,
}

impl Series {
    pub(crate) fn add(&mut self, cost: Cost) {
        self.wall_ms.push(cost.wall_ms);
        self.cpu_ms.push(cost.cpu_ms);
        self.peak_mb.push(cost.peak_mb);
    }
}

/// What all rounds together have shown of one runtime.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    /// Empty where the runtime has no such operation.
    operations: [Series; Operation::ALL.len()],
    /// Memory of a container between `create` and `start`.
    pub(crate) created_mb: Vec<f64>,
    /// What a system call costs in a container, in ns, by [`Call`].
    pub(crate) call_ns: [Vec<f64>; 4],
}

/// System calls of a container's program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// `getppid`, which Docker's profile allows, without a filter and with it.
    Plain,
    Allowed,
    /// `personality`, which it allows with certain arguments.
    PlainWithArguments,
    AllowedWithArguments,
}

impl Figures {
    pub(crate) fn of(&self, operation: Operation) -> &Series {
        &self.operations[operation as usize]
    }
}

/// Takes each runtime through one container's life, and returns those that came through, and why
/// the others did not.
pub(crate) fn fit(place: &Workdir, signals: &Signals, found: Vec<Subject>) -> Result<(Vec<Subject>, Vec<String>)> {
    let mut fit = Vec::new();
    let mut unfit = Vec::new();
    for subject in found {
        match life(place, signals, &subject) {
            Ok(()) => fit.push(subject),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                unfit.push(format!("{error:#}"));
                if !subject.is_floor() {
                    place.sweep();
                }
            }
        }
    }
    Ok((fit, unfit))
}

fn life(place: &Workdir, signals: &Signals, subject: &Subject) -> Result<()> {
    if let Some(command) = subject.hold(place) {
        sample::measure(place, signals, &command).at("floor hold")?;
    }
    for operation in Operation::ALL {
        once(place, signals, subject, operation, subject.name)?;
    }
    Ok(())
}

/// One sample; `None` where the runtime has no such operation.
pub(crate) fn once(
    place: &Workdir,
    signals: &Signals,
    subject: &Subject,
    operation: Operation,
    name: &str,
) -> Result<Option<Cost>> {
    let Some(command) = subject.command(place, operation, name) else {
        return Ok(None);
    };
    let what = format!("{} {}", subject.name, operation.name());
    let cost = sample::measure(place, signals, &command).at(&what)?;
    if operation == Operation::CreateFiltered {
        remove(place, signals, subject, name)?;
    }
    if operation == Operation::Kill {
        // Only now: what is measured is the signal's sending, and delete wants a dead container.
        orphans::await_end(sample::pid(place, name)?).at(&what)?;
    }
    Ok(Some(cost))
}

/// The order of `count` runtimes in `round`: over `count` rounds (twice as many for an odd count)
/// each follows each other one equally often, since what a container leaves to the kernel to
/// clean up disturbs the next (a Williams design).
fn order(count: usize, round: usize) -> Vec<usize> {
    let zigzag = |at: usize| match at % 2 {
        0 => at / 2,
        _ => count - at.div_ceil(2),
    };
    let mut order: Vec<usize> = (0..count).map(|at| (zigzag(at) + round) % count).collect();
    if count % 2 == 1 && round / count % 2 == 1 {
        order.reverse();
    }
    order
}

pub(crate) fn take(
    place: &Workdir,
    signals: &Signals,
    subjects: &[Subject],
    options: &Options,
) -> Result<Vec<Figures>> {
    let new = |subject: &Subject| Figures {
        name: subject.name,
        operations: Default::default(),
        created_mb: Vec::new(),
        call_ns: Default::default(),
    };
    let mut figures: Vec<Figures> = subjects.iter().map(new).collect();
    let rounds = options.warmups + options.rounds;
    for round in progress::bar("rounds", rounds).wrap_iter(0..rounds) {
        let counts = round >= options.warmups;
        for operation in Operation::ALL {
            let able = (0..subjects.len()).filter(|&at| subjects[at].does(operation));
            let able: Vec<usize> = able.collect();
            for at in order(able.len(), round).into_iter().map(|at| able[at]) {
                let (subject, figures) = (&subjects[at], &mut figures[at]);
                let cost = once(place, signals, subject, operation, subject.name)?;
                if let (Some(cost), true) = (cost, counts) {
                    figures.operations[operation as usize].add(cost);
                }
            }
            if operation == Operation::Create && counts {
                // When each runtime has one, so that what they share with others is alike.
                for figures in figures.iter_mut().filter(|it| it.name != crate::runtimes::FLOOR) {
                    let pid = sample::pid(place, figures.name)?;
                    figures.created_mb.push(sample::pss_mb(pid)?);
                }
            }
        }
        for at in order(subjects.len(), round) {
            let (subject, figures) = (&subjects[at], &mut figures[at]);
            if counts && !subject.is_floor() && round % CALLS_EVERY == 0 {
                calls(place, signals, subject, figures)?;
            }
        }
        orphans::reap();
    }
    Ok(figures)
}

/// System calls cost the same in each round, but for what else the machine does.
const CALLS_EVERY: usize = 4;

fn calls(place: &Workdir, signals: &Signals, subject: &Subject, figures: &mut Figures) -> Result<()> {
    for (bundle, plain, with_arguments) in [
        ("calls", Call::Plain, Call::PlainWithArguments),
        ("calls-filtered", Call::Allowed, Call::AllowedWithArguments),
    ] {
        let text = sample::output(signals, &subject.calls(place, bundle)).at(format!("{} {bundle}", subject.name))?;
        let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
        let [getppid, personality] = numbers[..] else {
            bail!("{} {bundle}: no figures, but {text:?}", subject.name);
        };
        figures.call_ns[plain as usize].push(getppid);
        figures.call_ns[with_arguments as usize].push(personality);
    }
    Ok(())
}

/// Kills a container and deletes it.
fn remove(place: &Workdir, signals: &Signals, subject: &Subject, name: &str) -> Result<()> {
    once(place, signals, subject, Operation::Kill, name)?;
    once(place, signals, subject, Operation::Delete, name).map(drop)
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_runtime_follows_each_other_equally_often() {
        for count in 1..6 {
            let rounds = if count % 2 == 1 { 2 * count } else { count };
            let mut follows = vec![vec![0; count]; count];
            for round in 0..rounds {
                let order = order(count, round);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..count).collect::<Vec<_>>(), "round {round}");
                for pair in order.windows(2) {
                    follows[pair[0]][pair[1]] += 1;
                }
            }
            for (one, row) in follows.iter().enumerate() {
                for (other, times) in row.iter().enumerate() {
                    let expected = if one == other { 0 } else { rounds / count };
                    assert_eq!(*times, expected, "{other} after {one} of {count}");
                }
            }
        }
    }
}
