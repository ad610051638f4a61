//! A stream's name → where its bytes go: no panic, an absolute path, and an error that says what it is about.

use std::path::Path;

use containerd_shim_cleat::stdio::{Target, target};

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rest = |path: &Path| {
        assert!(path.is_absolute(), "{text:?}: {}", path.display());
        text.contains(path.to_str().expect("UTF-8"))
    };
    match target(text) {
        Ok(Target::Null) => assert!(text.is_empty()),
        Ok(Target::Fifo(path) | Target::File(path)) => {
            assert!(rest(&path) && text.ends_with(path.to_str().unwrap_or("-")));
        }
        Ok(Target::Binary { program, arguments: words, writes_ready }) => {
            let scheme = if writes_ready { "binary-v2://" } else { "binary://" };
            assert!(rest(&program) && text.starts_with(scheme), "{text:?}");
            assert!(words.iter().all(|word| !word.is_empty()), "{text:?}: {words:?}");
            let most = 2 * text.matches('&').count() + 2;
            assert!(words.len() <= most && (text.contains('?') || words.is_empty()), "{text:?}: {words:?}");
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("stdio ") && !message.chars().any(char::is_control), "{message:?}");
        }
    }
}
