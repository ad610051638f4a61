//! What does procfs say of a process: its state, its memory, its descriptors, its children?

use std::path::PathBuf;

use procfs::process::{FDTarget, Process, Status};
use procfs::{ProcError, ProcResult};

/// A process of any of the types that a pid has.
fn process<P: TryInto<i32>>(pid: P) -> ProcResult<Process> {
    let pid = pid.try_into().map_err(|_| ProcError::Other("no pid".to_owned()))?;
    Process::new(pid)
}

/// The letter of its state; `None`: it has been reaped.
#[must_use]
pub fn state<P: TryInto<i32>>(pid: P) -> Option<char> {
    Some(process(pid).and_then(|process| process.stat()).ok()?.state)
}

/// Waits for nothing.
///
/// # Errors
/// It has not ended: its state.
pub fn has_ended<P: TryInto<i32>>(pid: P) -> Result<(), String> {
    match state(pid) {
        None | Some('Z' | 'X') => Ok(()),
        Some(letter) => Err(format!("its state is {letter}")),
    }
}

/// Its `status`.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn status<P: TryInto<i32>>(pid: P) -> Status {
    process(pid).and_then(|process| process.status()).expect("its status")
}

/// `status` of this thread.
///
/// # Panics
/// There is no procfs.
#[must_use]
pub fn own_status() -> Status {
    Process::myself().and_then(|process| process.status()).expect("our status")
}

/// How much memory of it is resident, in kB.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn resident<P: TryInto<i32>>(pid: P) -> u64 {
    status(pid).vmrss.expect("VmRSS")
}

/// How many descriptors it has.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn fd_count<P: TryInto<i32>>(pid: P) -> usize {
    process(pid).and_then(|process| process.fd_count()).expect("its descriptors")
}

/// Its descriptors: their numbers, and what they are of.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn descriptors<P: TryInto<i32>>(pid: P) -> Vec<(i32, FDTarget)> {
    let all = process(pid).and_then(|process| process.fd()).expect("its descriptors");
    all.flatten().map(|descriptor| (descriptor.fd, descriptor.target)).collect()
}

/// The files that it has open, by their paths.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn open_files<P: TryInto<i32>>(pid: P) -> Vec<PathBuf> {
    let path = |(_, target)| if let FDTarget::Path(path) = target { Some(path) } else { None };
    descriptors(pid).into_iter().filter_map(path).collect()
}

/// The children of its first thread.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn children<P: TryInto<i32>>(pid: P) -> Vec<u32> {
    let children = |process: Process| process.task_main_thread()?.children();
    process(pid).and_then(children).expect("its children")
}
