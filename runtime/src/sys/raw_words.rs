//! How does a word that is not UTF-8 pass through strings?
//!
//! Pure. Words of the command line are bytes; config.json knows text. A byte that is none stands in a string
//! as a zero byte and the character of its number, which no word and no valid string of config.json has.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A word as a string.
#[must_use]
pub fn escape(word: &OsStr) -> String {
    let mut text = String::with_capacity(word.len());
    for chunk in word.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push('\0');
            text.push(char::from(*byte));
        }
    }
    text
}

/// The bytes of a string that may be such a word.
#[must_use]
pub fn bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\0') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\0') {
        bytes.extend_from_slice(before.as_bytes());
        let next = after.chars().next().filter(|c| !c.is_ascii()).and_then(|c| Some((c, u8::try_from(c).ok()?)));
        rest = match next {
            Some((c, byte)) => {
                bytes.push(byte);
                &after[c.len_utf8()..]
            }
            None => {
                bytes.push(0);
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Cow::Owned(bytes)
}

/// The same as a word again, such as a path.
#[must_use]
pub fn unescape(text: &str) -> OsString {
    OsString::from_vec(bytes(text).into_owned())
}

/// The same for people.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    match bytes(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_out_as_it_went_in() {
        for word in [
            &b""[..],
            b"text",
            "\u{e9}\u{10ffff}".as_bytes(),
            b"caf\xe9",
            b"\x80\xff\xc3",
            b"a\xe2\x82",
            b"\xc3\xa9\xe9",
        ] {
            let text = escape(OsStr::from_bytes(word));
            assert_eq!(bytes(&text), word, "{text:?}");
            assert_eq!(unescape(&text), OsStr::from_bytes(word));
            assert!(!shown(&text).contains('\0'), "{text:?}");
        }
    }

    #[test]
    fn a_zero_byte_of_config_json_stays_one() {
        for text in ["\0", "a\0b", "\0\0", "x\0"] {
            assert_eq!(bytes(text), text.as_bytes());
        }
    }
}
