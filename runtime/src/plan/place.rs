//! Where in config.json is a value, for errors? And strings for the init.

use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;

use cleat_plan::Text;

use crate::error::{Error, Result};
use crate::sys::raw_words;

/// A place in config.json, for errors.
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn new(path: String) -> Place {
        Place(path)
    }

    pub(crate) fn at(&self, name: impl Display) -> Place {
        Place(format!("{}.{name}", self.0))
    }

    pub(crate) fn error(&self, what: impl Display) -> Error {
        Error::at(&self.0, what)
    }

    pub(crate) fn wrong(&self, value: &str, allowed: &str) -> Error {
        self.error(format_args!("{value:?} is not one of {allowed}"))
    }
}

pub(crate) fn place(path: &str) -> Place {
    Place::new(path.to_owned())
}

/// A C string for the init.
pub(crate) fn text(value: impl AsRef<std::ffi::OsStr>) -> Result<Text> {
    let value = value.as_ref();
    // A word of the command line may have bytes in it that are no text.
    let bytes = value.to_str().map_or(std::borrow::Cow::Borrowed(value.as_bytes()), raw_words::bytes);
    Text::new(&*bytes)
        .ok_or_else(|| Error::at("", format_args!("{:?} has a zero byte in it", String::from_utf8_lossy(&bytes))))
}

pub(super) fn texts(values: &[String]) -> Result<Vec<Text>> {
    values.iter().map(text).collect()
}
