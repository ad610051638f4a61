//! `list`: all containers of a state directory.

use crate::cli;
use crate::error::{Context, Error, Kind, Result};

use super::state::Listed;
use super::{Shell, print};

/// `list`. The default state directory need not be there; one that was `named` must.
///
/// # Errors
/// The state directory cannot be read.
pub fn list(shell: &Shell<'_>, options: &cli::List, named: bool) -> Result<()> {
    if named {
        let root = shell.store.root();
        std::fs::metadata(root).context(format_args!("open {}", root.display()))?;
    }
    let mut ids = shell.store.ids()?;
    ids.retain(|id| match shell.store.open(id) {
        Err(error) if error.kind() == Kind::Untrusted => {
            (shell.warn)(&format!("{id} is not listed: {error}"));
            false
        }
        _ => true,
    });
    if options.quiet {
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    // One that goes away while we look, or that is half made, is not listed.
    let containers: Vec<_> = ids.iter().filter_map(|id| shell.store.open(id).ok()).collect();
    let mut listed = Vec::new();
    for container in &containers {
        if let Ok(mut entry) = Listed::new(container) {
            let owner = container.record.cleat.owner;
            entry.owner = crate::probe::host::user_name(owner).unwrap_or_else(|| format!("#{owner}"));
            listed.push((entry, container));
        }
    }
    if options.format == "json" {
        let entries: Vec<&Listed<'_>> = listed.iter().map(|(entry, _)| entry).collect();
        // As runc's: one line, for scripts that read by lines.
        let text = serde_json::to_string(&entries).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
        return if entries.is_empty() { print("null\n") } else { print(&format!("{text}\n")) };
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
    rows.extend(listed.iter().map(|(entry, container)| {
        let record = &container.record;
        [
            record.id.clone(),
            entry.pid.to_string(),
            entry.status.into(),
            record.cleat.bundle.display().to_string(),
            record.created.clone(),
            entry.owner.clone(),
        ]
    }));
    print(&table(&rows))
}

/// Columns at least twelve wide and three apart, as runc's.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_twelve_wide_and_three_apart() {
        let row = |id: &str| [id, "1", "running", "/b", "now", "root"].map(String::from);
        let text = table(&[row("a"), row("a-long-long-name")]);
        assert!(
            text.starts_with("a                  1           running     /b          now         root\n"),
            "{text:?}"
        );
    }
}
