//! What does each word after `cleat` do?

use std::io::Write;
use std::path::Path;

use crate::cli::Rootless;
use crate::container::Store;
use crate::error::{Context, Error, Result};
use crate::plan::host::CgroupManager;
use crate::sys::regex::Regex;

pub mod audit;
pub mod check;
pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod kill;
pub mod list;
pub mod pause;
pub mod plan;
pub mod ps;
pub mod restore;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

/// What every command gets.
pub struct Shell<'a> {
    /// Where containers are remembered.
    pub store: Store,
    /// Receives warnings.
    pub warn: &'a dyn Fn(&str),
    /// Receives warnings of what happens when the program has ended: they are no words of its own.
    pub report: &'a dyn Fn(&str),
    /// Receives what is done, with `--debug`.
    pub debug: Option<&'a dyn Fn(&str)>,
    /// Descriptors from 3 on that were open when this process started, in a row.
    pub inherited: u32,
    /// `--rootless`
    pub rootless: Rootless,
    /// `--cgroup-manager`
    pub manager: CgroupManager,
}

/// Counts the descriptors from 3 on that are open, before any is opened here.
#[must_use]
pub fn count_inherited_fds() -> u32 {
    (3u32..).take_while(|raw| crate::sys::is_open(i32::try_from(*raw).unwrap_or(-1))).map(|_| 1).sum()
}

/// The revision that versions show: that of the release, with the commit that it was built from, if that is known.
#[must_use]
pub fn revision(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    commit
        .filter(|commit| !commit.is_empty())
        .map_or_else(|| format!("v{version}"), |commit| format!("v{version}-g{commit}"))
}

/// Does it to one container; or, with a regular expression, as with crun, to all whose ids it is found in: what fails
/// with one of them is a warning.
///
/// # Errors
/// Those of `act` for one container; it is no expression; the containers cannot be listed.
pub fn each(shell: &Shell<'_>, id: &str, is_expression: bool, act: impl Fn(&str) -> Result<()>) -> Result<()> {
    if !is_expression {
        return act(id);
    }
    let expression = Regex::new(id).ok_or_else(|| {
        Error::new(format!("--regex {id:?}: not a regular expression")).remedy("see regex(7), extended ones")
    })?;
    for id in shell.store.ids()?.iter().filter(|id| expression.is_in(id)) {
        if let Err(error) = act(id) {
            (shell.report)(&error.within(id).to_string());
        }
    }
    Ok(())
}

/// Prints to standard output. A reader that has gone away is an error like any other.
///
/// # Errors
/// Those of write(2).
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to standard output")
}

/// Prints a value as indented JSON.
///
/// # Errors
/// Those of write(2).
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(format!("encode JSON: {error}")))?;
    print(&format!("{text}\n"))
}

/// The step that `CLEAT_FAULT=STEP:fail` or `STEP:kill` makes fail, for tests.
///
/// # Errors
/// There is no such step.
pub fn fault() -> Result<Option<cleat_plan::Fault>> {
    let Ok(text) = std::env::var("CLEAT_FAULT") else { return Ok(None) };
    let wrong =
        || Error::new(format!("CLEAT_FAULT={text:?}: not STEP:fail or STEP:kill")).remedy("see cleat plan --steps");
    let (name, kind) = text.split_once(':').ok_or_else(wrong)?;
    let step = cleat_plan::Step::from_name(name).ok_or_else(wrong)?;
    let kind = match kind {
        "fail" => cleat_plan::FaultKind::Fail,
        "kill" => cleat_plan::FaultKind::Kill,
        _ => return Err(wrong()),
    };
    Ok(Some(cleat_plan::Fault { step, kind }))
}

/// `LISTEN_FDNAMES`, when the descriptors are for us.
#[must_use]
pub fn listen_fdnames(listen_fds: Option<u32>) -> Option<String> {
    listen_fds.and_then(|_| std::env::var("LISTEN_FDNAMES").ok())
}

/// The descriptors that the program gets besides the standard streams: those asked for, and those
/// of socket activation (sd_listen_fds(3)).
///
/// # Errors
/// One of them is not open.
pub fn inherited_fds(shell: &Shell<'_>, preserve: u32) -> Result<(u32, Option<u32>)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let for_us = number("LISTEN_PID") == Some(std::process::id());
    let listen = number("LISTEN_FDS").filter(|count| for_us && *count > 0);
    let total = preserve.checked_add(listen.unwrap_or(0)).filter(|total| *total < 1 << 20);
    let total = total.ok_or_else(|| Error::new(format!("--preserve-fds {preserve}: too many")))?;
    if total > shell.inherited {
        return Err(Error::new(format!("--preserve-fds {preserve}: descriptor {} is not open", 3 + shell.inherited)));
    }
    // Whatever else the caller left open must not reach the container (CVE-2024-21626).
    crate::sys::cloexec_from(3 + total).context("close_range")?;
    Ok((total, listen))
}

/// The absolute path of a bundle.
///
/// # Errors
/// It is not a directory.
pub fn bundle(path: Option<&Path>) -> Result<std::path::PathBuf> {
    crate::probe::host::real_directory(path.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_revision_has_the_commit_where_it_is_known() {
        let release = format!("v{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(super::revision(None), release);
        assert_eq!(super::revision(Some("")), release);
        assert_eq!(super::revision(Some("9a52869aaaaa-dirty")), format!("{release}-g9a52869aaaaa-dirty"));
    }
}
