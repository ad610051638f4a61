//! How far is a measurement, and how long has it taken? Shown on a terminal alone.

use indicatif::{ProgressBar, ProgressStyle};

/// A line on standard error that counts up to `length`; nothing where that is no terminal.
///
/// It is drawn when it counts: a thread that draws would disturb what is measured.
pub(crate) fn bar(what: &str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}: {pos} of {len} {bar:30} {elapsed_precise}, {eta} to go");
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what.to_owned())
}
