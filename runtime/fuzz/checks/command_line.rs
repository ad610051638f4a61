//! Words of a command line, with a zero byte between them: no panic, and an answer for people.

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let arguments: Vec<String> = text.split('\0').map(String::from).collect();
    if let Err(refusal) = cleat::cli::parse(&arguments) {
        assert!(refusal.asked || refusal.text.starts_with("Incorrect Usage."), "{}", refusal.text);
    }
}
