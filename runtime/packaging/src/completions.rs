//! What do shells complete? The command line's own words, by clap_complete, and the ids of
//! containers, which `cleat list` knows.

use clap::Command;
use clap_complete::{Shell, generate};

use anyhow::{Context, Result, bail};

/// Commands whose first argument is a container that exists.
const OF_A_CONTAINER: [&str; 12] =
    ["start", "state", "ps", "kill", "delete", "exec", "pause", "resume", "events", "update", "checkpoint", "audit"];

/// A function for zsh.
const ZSH_CONTAINERS: &str = r#"
(( $+functions[_cleat_containers] )) ||
_cleat_containers() {
    local -a ids
    ids=(${(f)"$(cleat list --quiet 2>/dev/null)"})
    _describe -t containers 'container' ids
}
"#;

/// All scripts as paths and texts.
///
/// # Errors
/// clap_complete writes what it did not when this was written.
pub(crate) fn all() -> Result<Vec<(String, String)>> {
    Ok(vec![
        ("completions/bash/cleat".into(), bash(script(Shell::Bash)?)?),
        ("completions/zsh/_cleat".into(), zsh(&script(Shell::Zsh)?)?),
        ("completions/fish/cleat.fish".into(), fish(script(Shell::Fish)?)),
    ])
}

fn script(shell: Shell) -> Result<String> {
    let mut bytes = Vec::new();
    let mut command: Command = cleat::cli::whole().disable_help_subcommand(false);
    generate(shell, &mut command, "cleat", &mut bytes);
    Ok(String::from_utf8(bytes)?)
}

fn bash(mut text: String) -> Result<String> {
    for name in OF_A_CONTAINER {
        let begin = format!("\n        cleat__subcmd__{name})\n            opts=\"");
        let at = text.find(&begin).with_context(|| format!("bash: no options of {name}"))? + begin.len();
        let end = at + text[at..].find('"').context("bash: options without an end")?;
        text.insert_str(end, " $(cleat list --quiet 2>/dev/null)");
    }
    Ok(text)
}

fn zsh(text: &str) -> Result<String> {
    let plain = "':id -- The container:_default'";
    let head = "autoload -U is-at-least\n";
    if text.matches(plain).count() != OF_A_CONTAINER.len() || !text.contains(head) {
        bail!("zsh: not as many commands on a container as expected");
    }
    // A colon in the name of a value would end the name.
    let text = text.replace(":UID[:GID]:", ":UID[\\:GID]:").replace(plain, "':id -- The container:_cleat_containers'");
    Ok(text.replacen(head, &format!("{head}{ZSH_CONTAINERS}"), 1))
}

fn fish(text: String) -> String {
    let commands = OF_A_CONTAINER.join(" ");
    text + &format!(
        "complete -c cleat -n \"__fish_cleat_using_subcommand {commands}\" -f -a \"(cleat list --quiet 2>/dev/null)\" \
         -d 'Container'\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for (path, text) in all().unwrap() {
            for command in cleat::cli::whole().get_subcommands() {
                assert!(text.contains(command.get_name()), "{path}: {}", command.get_name());
            }
            assert!(text.contains("cleat list --quiet"), "{path}");
        }
    }

    #[test]
    fn the_list_has_every_command_on_a_container() {
        let is_of_one = |command: &&Command| {
            let help = command.get_positionals().next().and_then(|arg| arg.get_help()).map(ToString::to_string);
            help.as_deref() == Some("The container")
        };
        let whole = cleat::cli::whole();
        let mut found: Vec<&str> = whole.get_subcommands().filter(is_of_one).map(Command::get_name).collect();
        let mut known = OF_A_CONTAINER;
        found.sort_unstable();
        known.sort_unstable();
        assert_eq!(found, known);
    }
}
