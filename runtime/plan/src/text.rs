//! A C string that is bytes on the wire and text in JSON.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;
use core::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An owned C string: a path, a name, an argument.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(CString);

impl Text {
    /// From bytes without a zero byte.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Text> {
        CString::new(bytes).ok().map(Text)
    }
}

impl From<CString> for Text {
    fn from(text: CString) -> Text {
        Text(text)
    }
}

impl From<&CStr> for Text {
    fn from(text: &CStr) -> Text {
        Text(text.into())
    }
}

impl Deref for Text {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.0.to_string_lossy())
        } else {
            serializer.serialize_bytes(self.0.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        Text::new(bytes).ok_or_else(|| D::Error::custom("zero byte"))
    }
}
