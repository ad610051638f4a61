//! `audit`: is a living container what was asked for?

use std::fmt::{self, Display, Formatter};

use crate::audit::{Difference, Report};
use crate::error::Result;

use super::{Shell, print, print_json};

/// `audit`: the exit code is 0 when there is no difference, else 1.
///
/// # Errors
/// The container cannot be audited: then the exit code is another one (2).
pub fn audit(shell: &Shell<'_>, id: &str, json: bool) -> Result<u8> {
    let report = crate::audit::audit(&shell.store.open(id)?)?;
    if json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(u8::from(!report.passes))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, first process {}, {} in all", self.id, self.status, self.pid, self.processes.len())?;
        for skipped in &self.not_checked {
            writeln!(f, "  not checked: {}: {}", skipped.place, skipped.why)?;
        }
        self.own_right.iter().try_for_each(|difference| write(f, "own right", difference))?;
        self.differences.iter().try_for_each(|difference| write(f, "difference", difference))?;
        let checked = self.checked.len();
        match self.differences.len() {
            0 => writeln!(f, "no difference; {checked} properties hold"),
            1 => writeln!(f, "one difference; {checked} properties hold"),
            count => writeln!(f, "{count} differences; {checked} properties hold"),
        }
    }
}

fn write(f: &mut Formatter<'_>, word: &str, difference: &Difference) -> fmt::Result {
    let Difference { place, pid, asked, found, why } = difference;
    write!(f, "  {word}: {place}")?;
    if let Some(pid) = pid {
        write!(f, " (pid {pid})")?;
    }
    // What the container has named may be anything.
    write!(f, ": asked for {}; is {}", crate::error::printable(asked), crate::error::printable(found))?;
    if why.is_empty() { writeln!(f) } else { writeln!(f, " ({why})") }
}
