//! How long is something waited for, and on what?

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// No wait of a test is longer: far over what anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The number of rounds a race is tried: `CLEAT_TRIES`, by default 100.
#[must_use]
pub fn tries() -> u32 {
    std::env::var("CLEAT_TRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// Asks until the answer is `Some`, with the processor given up in between.
///
/// # Panics
/// After [`DEADLINE`], with `what` and the last thing `seen`.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, ask)
}

/// The same after `limit`, for what takes minutes in an emulated machine.
pub(crate) fn eventually_within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < end, "waited {limit:?} for {what}; seen: {seen}"),
        }
        // Nothing to wait on here: a poll without descriptors gives the processor up for a tick.
        let tick = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let _ = poll(&mut [], Some(&tick));
    }
}

/// Waits for the end of a child. False: it has not come within `limit`.
///
/// # Panics
/// Without pidfds.
#[must_use]
pub fn ended_within(child: &std::process::Child, limit: Duration) -> bool {
    let pid = rustix::process::Pid::from_child(child);
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd_open");
    readable(std::os::fd::AsFd::as_fd(&fd), limit)
}

/// Waits until `fd` is readable (a pidfd: until the process has exited). False after `limit`.
pub(crate) fn readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a timeout that fits");
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}
