//! Does a text match an extended regular expression of POSIX (regex(7))?
//!
//! By the C library, whose dialect is that of crun's options.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

impl Regex {
    /// Compiles an expression; `None`: it is none.
    #[must_use]
    pub fn new(expression: &str) -> Option<Regex> {
        let expression = CString::new(expression).ok()?;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::uninit());
        // SAFETY: memory of that type for the result, which stays where it is, and a C string.
        let answer =
            unsafe { libc::regcomp(compiled.as_mut_ptr(), expression.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        // SAFETY: it was compiled into.
        (answer == 0).then(|| Regex(unsafe { compiled.assume_init() }))
    }

    /// Whether it is found anywhere in the text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: a compiled expression, a C string, and no place for matches as none are asked for.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it is compiled, and freed once.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn an_expression_is_found_anywhere() {
        for (expression, text, found) in [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^(web|db)-[0-9]+$", "db-12", true),
            ("^(web|db)-[0-9]+$", "db-12x", false),
            ("a{2}.", "xaab", true),
            ("", "any", true),
        ] {
            assert_eq!(Regex::new(expression).map(|regex| regex.is_in(text)), Some(found), "{expression} in {text}");
        }
        for wrong in ["(", "[a", "a{2", "a\0"] {
            assert!(Regex::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
