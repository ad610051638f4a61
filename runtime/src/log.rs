//! Where do messages go? Engines read the last record of `--log`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Context, Result};

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// It goes on.
    Warning,
    /// It ends here.
    Error,
}

/// The log of one command.
pub struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    /// Opens `file` for appending; several commands share it.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(file: Option<&Path>, json: bool, debug: bool) -> Result<Log> {
        let file = file
            .map(|path| {
                let mut options = File::options();
                options.append(true).create(true).mode(0o644).custom_flags(nix::libc::O_SYNC);
                options.open(path).context(format_args!("--log {}: open", path.display()))
            })
            .transpose()?;
        Ok(Log { file, json, debug })
    }

    /// Whether debug messages are wanted.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.debug
    }

    /// Logs one message. Errors are printed for people, too.
    pub fn send(&self, level: Level, message: &str) {
        if level == Level::Debug && !self.debug {
            return;
        }
        if let Some(mut file) = self.file.as_ref() {
            // One write: several processes append to the same file.
            let _ = file.write_all(self.record(level, message).as_bytes());
            if level != Level::Error {
                return;
            }
        }
        let prefix = match level {
            Level::Debug => "debug: ",
            Level::Warning => "warning: ",
            Level::Error => "",
        };
        let _ = std::io::stderr().write_all(format!("{prefix}{message}\n").as_bytes());
    }

    /// logrus's form, which engines parse.
    fn record(&self, level: Level, message: &str) -> String {
        let level = match level {
            Level::Debug => "debug",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        if self.json {
            let record = serde_json::json!({"level": level, "msg": message, "time": time});
            format!("{record}\n")
        } else {
            format!("time={time:?} level={level} msg={message:?}\n")
        }
    }
}
