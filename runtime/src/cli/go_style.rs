//! How are the words of a command line read that a Go program would take?

use clap::{Arg, ArgAction, Command};

/// Whether an option takes the next word.
fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Gives long options that were typed with one dash their second one. Returns the words and the
/// place of the first that is no option; with `stop`, options end there.
pub(super) fn go_style(command: &Command, words: &[String], stop: bool) -> (Vec<String>, Option<usize>) {
    let long = |name: &str| command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let short = |letter: char| command.get_arguments().find(|arg| arg.get_short() == Some(letter));
    let mut out = Vec::with_capacity(words.len() + 1);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let dashes = word.len() - word.trim_start_matches('-').len();
        let body = &word[dashes..];
        let name = body.split('=').next().unwrap_or_default();
        let inline = body.contains('=');
        let arg = match dashes {
            0 => None,
            1 if body.chars().count() == 1 => body.chars().next().and_then(short),
            1 => long(name),
            _ => long(name),
        };
        if dashes == 0 || body.is_empty() {
            let at = out.len();
            if stop && dashes != 2 {
                out.push("--".to_owned());
            }
            out.push(word.clone());
            out.extend(rest.cloned());
            return (out, (dashes == 0).then_some(at));
        }
        let long_with_one_dash = dashes == 1 && body.chars().count() > 1 && arg.is_some();
        out.push(if long_with_one_dash { format!("-{word}") } else { word.clone() });
        if arg.is_some_and(takes_value) && !inline {
            out.extend(rest.next().cloned());
        }
    }
    (out, None)
}
