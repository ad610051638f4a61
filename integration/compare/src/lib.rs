//! Differential tests: the same inputs on cleat, runc and crun.
//!
//! A case ([`Case`]) is a fragment of `config.json` and some commands. [`Bench`] runs it with each runtime in
//! namespaces of its own, inside a root directory that has the peers. What was seen becomes a flat list of facts
//! ([`Facts`]): exit codes, what the program inside printed, texts that programs match, files left.
//! A fact that is another with cleat than with runc is a difference; [`Documented`] knows which are meant so.

mod case;
mod config;
mod differences;
mod engines;
mod facts;
mod pairs;
mod report;
mod run;

pub use case::{Case, all as cases};
pub use differences::{Difference, Documented, between};
pub use facts::Facts;
pub use report::{Report, Verdict};
pub use run::{Bench, Peer};

use std::path::{Path, PathBuf};

/// The folder with the cases, the scripts and the list of differences.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Whether `text` is what `pattern` says; `*` stands for any text, also none.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    if matches(rest, text) {
        return true;
    }
    while let Some(next) = text.chars().next() {
        text = text.get(next.len_utf8()..).unwrap_or_default();
        if matches(rest, text) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("*.exit", "1.exit") && matches("a*c*", "abcd") && matches("*", ""));
        assert!(!matches("*.exit", "1.exits") && !matches("a*c", "ab"));
    }
}
