//! How does argv become an exit code?
#![forbid(unsafe_code)]

use std::process::ExitCode;

use containerd_shim_cleat::args::{self, Action};
use containerd_shim_cleat::{delete, event_loop, info, start};

fn main() -> ExitCode {
    // First of all: other processes of our user must not read our memory and descriptors.
    if let Err(errno) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("containerd-shim-cleat-v2: prctl PR_SET_DUMPABLE: {errno}");
        return ExitCode::FAILURE;
    }
    let words: Option<Vec<String>> = std::env::args_os().skip(1).map(|word| word.into_string().ok()).collect();
    let parsed = words.ok_or_else(|| "an argument is not valid UTF-8".to_owned()).and_then(|words| args::parse(&words));
    let (action, args) = match parsed {
        Ok(parsed) => parsed,
        Err(text) => {
            eprintln!("containerd-shim-cleat-v2: {text}");
            return ExitCode::from(2);
        }
    };
    let outcome = match action {
        Action::Start => start::start(&args),
        Action::Serve => event_loop::run(&args),
        Action::Delete => delete::delete(&args),
        Action::Info => info::info(),
        Action::Version => info::version(),
        Action::Help => {
            // Where Go's flags print it.
            eprint!("{}", args::USAGE);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("containerd-shim-cleat-v2: {error}");
            ExitCode::FAILURE
        }
    }
}
