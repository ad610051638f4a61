//! Bytes of a file of the image → what the kernel makes of it: no panic, and no reading far beyond.

use cleat::check::program::{Format, format};

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let read = |at: u64, len: usize| {
        assert!(len <= 4096, "{len} bytes at once");
        let rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
        rest[..rest.len().min(len)].to_vec()
    };
    if let Format::With(interpreter) = format(&read) {
        assert!(!interpreter.as_os_str().is_empty());
    }
}
