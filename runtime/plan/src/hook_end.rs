//! How did a hook end, in the words that scripts look for: those of runc, which are Go's?

use alloc::format;
use alloc::string::String;

/// Most of what a hook printed on either stream that a message holds.
pub const MAX_OUTPUT: usize = 2048;

/// An exit status, or the signal that killed it.
#[must_use]
pub fn ending(status: Option<i32>, signal: Option<i32>) -> String {
    match (status, signal) {
        (Some(status), _) => format!("exit status {status}"),
        (None, Some(signal)) => match usize::try_from(signal).ok().and_then(|signal| SIGNALS.get(signal)) {
            Some(name) if !name.is_empty() => format!("signal: {name}"),
            _ => format!("signal: signal {signal}"),
        },
        (None, None) => "it ended in an unknown way".into(),
    }
}

/// It was killed at its timeout.
#[must_use]
pub fn expired(timeout_secs: u32) -> String {
    format!("hook ran past specified timeout of {timeout_secs}.0s")
}

const SIGNALS: [&str; 16] = [
    "",
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
];

#[cfg(test)]
mod tests {
    use super::{ending, expired};

    #[test]
    fn a_hooks_end_is_reported_in_runcs_words() {
        assert_eq!(ending(Some(7), None), "exit status 7");
        assert_eq!(ending(None, Some(9)), "signal: killed");
        assert_eq!(ending(None, Some(64)), "signal: signal 64");
        assert_eq!(expired(1), "hook ran past specified timeout of 1.0s");
    }
}
