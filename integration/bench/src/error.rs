//! What does an error say?

use std::fmt::{self, Display};

pub(crate) use anyhow::{Context, Result, anyhow, bail};

/// A signal has ended the measurement: the one error that is never a runtime's.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Puts the place of an error before its cause, as `anyhow::Context` does; the place is text at once.
pub(crate) trait At<T> {
    fn at(self, place: impl Display) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, place: impl Display) -> Result<T> {
        self.map_err(|cause| cause.into().context(place.to_string()))
    }
}
