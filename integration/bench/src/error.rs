//! What does an error say?

use std::fmt::Display;

/// An error is one line that says what, where and why; nothing here decides on its kind.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Puts the place of an error before its cause.
pub(crate) trait At<T> {
    fn at(self, place: impl Display) -> Result<T>;
}

impl<T, E: Display> At<T> for std::result::Result<T, E> {
    fn at(self, place: impl Display) -> Result<T> {
        self.map_err(|cause| format!("{place}: {cause}"))
    }
}
