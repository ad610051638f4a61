//! What did containerd pass? Pure.
//!
//! `containerd-shim-cleat-v2 -namespace NS -address A -publish-binary B -id ID [-bundle PATH] [-debug] start|delete`
//! in the style of Go's flags (one dash or two, `-flag value` or `-flag=value`), `-info`, `-v` and `-help`.

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a server for a task, or name the one that is there.
    Start,
    /// Be that server.
    Serve,
    /// Remove what is left of a task whose server is gone.
    Delete,
    /// Print what the runtime can do.
    Info,
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// What `-help` prints.
pub const USAGE: &str = "\
Usage of containerd-shim-cleat-v2: it is executed by containerd, as
  containerd-shim-cleat-v2 -namespace NAME -id ID -address SOCKET [FLAG...] start|delete

  -address string
    \tcontainerd's socket
  -bundle string
    \tthe bundle of the task, for delete; it is the working directory otherwise
  -debug
    \tlog more
  -help
    \tprint this, and exit
  -id string
    \tid of the task
  -info
    \tread options from standard input, print what the runtime can do, and exit
  -namespace string
    \tcontainerd's namespace
  -publish-binary string
    \tignored: events are published by TTRPC
  -socket string
    \tthe socket of a server
  -v, -version
    \tprint the version, and exit
";

/// The command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// containerd's namespace.
    pub namespace: String,
    /// The task.
    pub id: String,
    /// containerd's own socket.
    pub address: String,
    /// The bundle, for `delete`.
    pub bundle: Option<String>,
    /// Log more.
    pub debug: bool,
    /// The socket's path, for the server.
    pub socket: String,
}

/// Reads the command line.
///
/// # Errors
/// An unknown flag or word, a flag without its value, no action, or an id or a namespace that could
/// be mistaken for a path.
pub fn parse(words: &[String]) -> Result<(Action, Args), String> {
    let mut args = Args::default();
    let (mut info, mut version, mut help, mut action) = (false, false, false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            action = Some(match word.as_str() {
                "start" => Action::Start,
                "serve" => Action::Serve,
                "delete" => Action::Delete,
                other => return Err(format!("unknown action {other:?}; it is start or delete")),
            });
            continue;
        };
        let (name, given) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        // The message may go to a terminal, which would obey escape sequences.
        let shown = name.escape_debug();
        match name {
            "v" | "version" => version = is_true(given.as_deref()),
            "h" | "help" => help = is_true(given.as_deref()),
            "info" => info = is_true(given.as_deref()),
            "debug" => args.debug = is_true(given.as_deref()),
            _ => {
                let missing = || format!("flag -{shown} needs a value");
                let value = match given {
                    Some(value) => value,
                    None => words.next().cloned().ok_or_else(missing)?,
                };
                match name {
                    "namespace" => args.namespace = value,
                    "id" => args.id = value,
                    "address" => args.address = value,
                    "bundle" => args.bundle = Some(value),
                    "socket" => args.socket = value,
                    // Events go by ttrpc, never by executing containerd.
                    "publish-binary" => {}
                    _ => return Err(format!("unknown flag -{shown}")),
                }
            }
        }
    }
    if help {
        return Ok((Action::Help, args));
    }
    if version {
        return Ok((Action::Version, args));
    }
    if info {
        return Ok((Action::Info, args));
    }
    let action = action.ok_or("no action; it is start or delete")?;
    check_name("-namespace", &args.namespace)?;
    check_name("-id", &args.id)?;
    Ok((action, args))
}

fn is_true(given: Option<&str>) -> bool {
    given.is_none_or(|value| matches!(value, "true" | "1" | "t" | "T" | "TRUE" | "True"))
}

/// Names that become parts of paths.
///
/// # Errors
/// It is empty, or has other characters than letters, digits and `_+-.`.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    cleat::container::check_id(name)
        .map_err(|_| format!("{what} {name:?}: not a name; use letters, digits and _ + - . only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_those_of_go() {
        let line = "-namespace k8s.io --address=/run/c.sock -publish-binary /usr/bin/containerd -id x1 -debug start";
        let (action, args) = parse(&words(line)).unwrap();
        assert_eq!(action, Action::Start);
        assert_eq!((&*args.namespace, &*args.address, &*args.id, args.debug), ("k8s.io", "/run/c.sock", "x1", true));
        assert_eq!(parse(&words("-v")).unwrap().0, Action::Version);
        assert_eq!(parse(&words("-info")).unwrap().0, Action::Info);
        for asks in ["-h", "-help", "--help", "-id a --help -v"] {
            assert_eq!(parse(&words(asks)).unwrap().0, Action::Help, "{asks}");
        }
    }

    #[test]
    fn what_could_be_a_path_is_no_name() {
        for wrong in ["-namespace n -id ../x start", "-namespace a/b -id x start", "-namespace n start", "-id x start"]
        {
            assert!(parse(&words(wrong)).unwrap_err().contains("not a name"), "{wrong}");
        }
        for wrong in ["-namespace n -id x", "-namespace n -id x stop", "-what", "-id"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(parse(&words("-\x1b[2J=x")).unwrap_err(), "unknown flag -\\u{1b}[2J");
    }
}
