//! Where do messages go? Engines read the last record of `--log`.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Context, Result};

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// It goes on.
    Warning,
    /// It ends here.
    Error,
}

impl Level {
    /// What a word of `--log-level` lets pass.
    #[must_use]
    pub fn of_word(word: &str) -> Level {
        match word {
            "debug" | "trace" => Level::Debug,
            "info" | "warning" | "warn" => Level::Warning,
            _ => Level::Error,
        }
    }
}

/// What is logged, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions<'a> {
    /// `--log`
    pub file: Option<&'a Path>,
    /// `--log-format json`
    pub json: bool,
    /// `--debug`
    pub debug: bool,
    /// `--log-level`
    pub level: Option<Level>,
    /// Our standard error is, or will be, the program's: what a warning says there an engine shows
    /// its user as the program's own words.
    pub shares_stderr: bool,
}

/// The log of one command.
pub struct Log {
    file: Option<File>,
    json: bool,
    least: Level,
    /// Warnings go to standard error where there is no file.
    warns: bool,
    /// Errors are printed, too.
    prints: bool,
}

impl Log {
    /// Opens the file for appending; several commands share it.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(options: LogOptions<'_>) -> Result<Log> {
        let file = options
            .file
            .map(|path| {
                let mut options = File::options();
                options.append(true).create(true).mode(0o644).custom_flags(nix::libc::O_SYNC);
                options.open(path).context(format_args!("--log {}: open", path.display()))
            })
            .transpose()?;
        let least = if options.debug { Level::Debug } else { options.level.unwrap_or(Level::Warning) };
        // Where somebody reads them, or has asked for them.
        let warns =
            !options.shares_stderr || options.debug || options.level.is_some() || std::io::stderr().is_terminal();
        Ok(Log { file, json: options.json, least, warns, prints: true })
    }

    /// For a caller who reads the log: our standard error is the container's, which needs no second copy of an error.
    #[must_use]
    pub fn for_shim(self) -> Log {
        Log { prints: self.file.is_none(), ..self }
    }

    /// Whether debug messages are wanted.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.least == Level::Debug
    }

    /// Logs a warning that is printed wherever standard error leads: runtime-spec runtime.md, § Lifecycle, wants those of
    /// `poststop` hooks.
    pub fn report(&self, message: &str) {
        match self.file {
            None if !self.warns => drop(std::io::stderr().write_all(format!("warning: {message}\n").as_bytes())),
            _ => self.send(Level::Warning, message),
        }
    }

    /// Logs one message. Errors are printed for people, too.
    pub fn send(&self, level: Level, message: &str) {
        if level < self.least {
            return;
        }
        let print = |text: &str| drop(std::io::stderr().write_all(text.as_bytes()));
        match self.file.as_ref() {
            Some(mut file) => {
                // One write: several processes append to the same file.
                let _ = file.write_all(self.record(level, message).as_bytes());
                if level == Level::Error && self.prints {
                    print(&format!("{message}\n"));
                }
            }
            None if level == Level::Warning && !self.warns => {}
            None if self.json || self.debug() && level < Level::Error => print(&self.record(level, message)),
            None if level == Level::Warning => print(&format!("warning: {message}\n")),
            None => print(&format!("{message}\n")),
        }
    }

    /// logrus's form, which engines parse.
    fn record(&self, level: Level, message: &str) -> String {
        let now = SystemTime::now();
        let (level, time) = match level {
            // Steps take less than a second.
            Level::Debug => ("debug", humantime::format_rfc3339_micros(now).to_string()),
            Level::Warning => ("warning", humantime::format_rfc3339_seconds(now).to_string()),
            Level::Error => ("error", humantime::format_rfc3339_seconds(now).to_string()),
        };
        if self.json {
            let record = serde_json::json!({"level": level, "msg": message, "time": time});
            format!("{record}\n")
        } else {
            format!("time={time:?} level={level} msg={message:?}\n")
        }
    }
}
