//! `checkpoint`: saves a container's processes to files.

use crate::checkpoint::dump;
use crate::cli::Checkpoint;
use crate::error::{Context, Result};

use super::{Shell, delete};

/// `checkpoint`: the container is deleted afterwards, unless it is to run on.
///
/// # Errors
/// See [`dump::dump`]; then it runs on.
pub fn checkpoint(shell: &Shell<'_>, options: &Checkpoint) -> Result<()> {
    // CRIU gets no descriptor of our caller's.
    crate::sys::cloexec_from(3).context("close_range")?;
    let (container, lock) = shell.store.open(&options.id)?.locked()?;
    dump::dump(&container, options, shell.warn)?;
    if options.leave_running || options.pre_dump {
        return Ok(());
    }
    delete::destroy_locked(&container, lock, shell.warn)
}
