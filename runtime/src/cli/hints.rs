//! What is said of a command or an option that there is not?

use clap::{Arg, Command};

use super::COMMANDS;

/// What is said of a command that there is not: what others call by that name, or the nearest one.
pub(super) fn unknown_command(name: &str) -> String {
    let others = [
        (&["ls", "containers"][..], "the containers are listed by \"list\""),
        (&["rm", "remove"], "a container is removed by \"delete\""),
        (&["stop"], "a container is ended by \"kill\""),
        (&["unpause"], "a container goes on by \"resume\""),
        (&["inspect"], "a container's state is printed by \"state\""),
        (&["top"], "a container's processes are listed by \"ps\""),
        (&["stats"], "usage is printed by \"events --stats\""),
        (&["logs", "attach"], "a program's output goes where that of cleat goes, and is kept by nobody"),
        (
            &["images", "image", "pull", "push", "build", "rmi", "login"],
            "cleat runs bundles and knows no images: those are an engine's",
        ),
    ];
    if let Some((_, what)) = others.iter().find(|(names, _)| names.contains(&name)) {
        return format!("is no command; {what}");
    }
    match crate::error::nearest(name, COMMANDS.iter().map(|(known, ..)| *known)) {
        Some(near) => format!("is no command; did you mean {near:?}?"),
        None => "is no command".to_owned(),
    }
}

/// What to type instead of what is typed to an engine.
pub(super) fn habit(command: &str, word: &str) -> Option<&'static str> {
    let name = word.split('=').next().unwrap_or(word);
    Some(match (command, name) {
        ("kill", _) if word.starts_with('-') => "the signal follows the container: cleat kill ID 9",
        ("exec", "-i" | "--interactive") => "leave it out: standard input is always passed on, and -t gives a terminal",
        ("run", "--rm") => "leave it out: run removes what has ended, unless --keep is given",
        ("run" | "create", "-i" | "-t" | "--tty" | "--interactive") => {
            "a terminal is given by process.terminal in config.json"
        }
        ("run" | "create", "-p" | "--publish" | "--network" | "--net") => {
            "cleat makes a network namespace and nothing in it: that is an engine's, or a hook's in config.json"
        }
        ("run" | "create", "-v" | "--volume" | "--mount" | "--tmpfs") => "that is mounts in config.json",
        ("run" | "create", "-e" | "--env") => "that is process.env in config.json",
        ("run" | "create", "-w" | "--workdir" | "--cwd") => "that is process.cwd in config.json",
        ("run" | "create", "-u" | "--user") => "that is process.user in config.json",
        ("run" | "create", "-m" | "--memory" | "--cpus" | "--pids-limit") => {
            "that is linux.resources in config.json, or cleat update"
        }
        ("run" | "create", "--privileged" | "--cap-add" | "--cap-drop") => {
            "that is process.capabilities in config.json"
        }
        ("run" | "create", "--name") => "the name is the ID, without an option",
        ("run" | "create", _) if !word.starts_with('-') => {
            "the program is process.args in config.json; another one in the container is cleat exec ID COMMAND"
        }
        ("ps", "-a" | "--all") => "the containers are listed by cleat list",
        _ => return None,
    })
}

/// The option that was meant.
pub(super) fn near_option(called: &str, command: &Command, word: &str) -> Option<String> {
    let given = word.strip_prefix("--")?.split('=').next()?;
    let own = command.find_subcommand(called).unwrap_or(command);
    let known = own.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
    crate::error::nearest(given, known).map(|near| format!("did you mean --{near}?"))
}
