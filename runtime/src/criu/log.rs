//! What does CRIU's log tell of a failure?
//!
//! Its lines may quote what stands in images or in the container: they are made printable.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use crate::error::printable;

/// How much of a log's end is looked at.
const MOST: u64 = 256 * 1024;
/// The longest line that is quoted.
const LONGEST: usize = 400;

/// How many lines are quoted.
const LINES: usize = 3;

/// The first lines of a log that tell of errors: the others mostly follow from these. `None`: there is no log, or no
/// such line.
#[must_use]
pub fn errors(dir: &OwnedFd, name: &str) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = nix::fcntl::openat(dir, name, flags, nix::sys::stat::Mode::empty()).ok()?;
    let mut file = std::fs::File::from(file);
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST))).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    errors_in(&String::from_utf8_lossy(&bytes))
}

fn errors_in(text: &str) -> Option<String> {
    let error = |line: &str| line.find("Error (").map(|from| line[from..].chars().take(LONGEST).collect::<String>());
    // That something has failed, which other lines say better.
    let is_plain = |line: &String| line.ends_with("FAILED.") || line.contains("exited, status=");
    let mut lines: Vec<String> = text.lines().filter_map(error).filter(|line| !is_plain(line)).take(LINES).collect();
    lines.dedup();
    (!lines.is_empty()).then(|| printable(&lines.join(" | ")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn errors_are_quoted_without_their_time() {
        let text = "(00.1) cg: fine\n(00.2) Error (criu/files.c:7): Can't \x1b[2J dump\n(00.3) Error (criu/x.c:1): Dumping FAILED.\n";
        assert_eq!(super::errors_in(text).unwrap(), "Error (criu/files.c:7): Can't \\u{1b}[2J dump");
        assert_eq!(super::errors_in("all is well"), None);
    }
}
