//! How does the program on a terminal learn that our input has ended?
//!
//! Host half. A terminal knows no end of input but a character, and that is lost when the program
//! makes the terminal raw before it reads. So the character is written again whenever it has been
//! read. Who still reads then gets a hang-up, as when a person closes the window.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{self, LocalFlags, SpecialCharacterIndices};
use rustix::pty::OpenptFlags;

/// The pauses between two looks at the terminal: nothing tells when a program has read from it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// How often a program that reads single characters gets it. (A shell with `IGNOREEOF` ends at the tenth.)
const MOST_WHILE_RAW: u8 = 12;

/// Ctrl-D, where the terminal has no such character of its own.
const CTRL_D: u8 = 4;

/// A terminal whose input has ended.
pub(super) struct InputEnd {
    /// The program's side, to see what it has not read yet.
    slave: OwnedFd,
    pause: Duration,
    next: Instant,
    while_raw: u8,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// This character is written.
    Write(u8),
    /// The master is closed.
    HangUp,
}

impl InputEnd {
    /// # Errors
    /// Those of ioctl_tty(2), `TIOCGPTPEER`: then there is nothing but the hang-up.
    pub(super) fn of(master: &OwnedFd) -> rustix::io::Result<InputEnd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(master, flags)?;
        Ok(InputEnd { slave, pause: FIRST_PAUSE, next: Instant::now(), while_raw: 0 })
    }

    /// How long until the next look.
    pub(super) fn timeout(&self) -> PollTimeout {
        let left = self.next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Looks whether the program has read all there was.
    pub(super) fn look(&mut self, master: &OwnedFd) -> Step {
        let now = Instant::now();
        if now < self.next {
            return Step::Wait;
        }
        self.next = now + self.pause;
        let mut fds = [PollFd::new(self.slave.as_fd(), PollFlags::POLLIN)];
        let Ok(unread) = nix::poll::poll(&mut fds, PollTimeout::ZERO) else { return Step::Wait };
        if unread > 0 {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return Step::Wait;
        }
        let Ok(modes) = termios::tcgetattr(master) else { return Step::HangUp };
        if modes.local_flags.contains(LocalFlags::ICANON) {
            // What is switched off is 0.
            return match modes.control_chars.get(SpecialCharacterIndices::VEOF as usize) {
                None | Some(0) => Step::HangUp,
                Some(end) => Step::Write(*end),
            };
        }
        if self.while_raw == MOST_WHILE_RAW {
            return Step::HangUp;
        }
        self.while_raw += 1;
        Step::Write(CTRL_D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at_once(end: &mut InputEnd, master: &OwnedFd) -> Step {
        end.next = Instant::now();
        end.look(master)
    }

    #[test]
    fn the_end_is_written_again_once_it_was_read() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut end = InputEnd::of(&pair.master).unwrap();
        assert_eq!(look_at_once(&mut end, &pair.master), Step::Write(CTRL_D));
        nix::unistd::write(&pair.master, &[CTRL_D]).unwrap();
        assert_eq!(nix::unistd::read(&pair.slave, &mut [0; 8]), Ok(0));
        assert_eq!(look_at_once(&mut end, &pair.master), Step::Write(CTRL_D));
    }

    #[test]
    fn what_is_unread_is_waited_for() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut end = InputEnd::of(&pair.master).unwrap();
        nix::unistd::write(&pair.master, b"line\n").unwrap();
        // The line discipline gets it in its own time.
        nix::poll::poll(&mut [PollFd::new(pair.slave.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert_eq!(look_at_once(&mut end, &pair.master), Step::Wait);
        assert!(end.pause > FIRST_PAUSE);
    }

    #[test]
    fn who_reads_on_in_raw_mode_is_hung_up_on() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut modes = termios::tcgetattr(&pair.slave).unwrap();
        termios::cfmakeraw(&mut modes);
        termios::tcsetattr(&pair.slave, termios::SetArg::TCSANOW, &modes).unwrap();
        let mut end = InputEnd::of(&pair.master).unwrap();
        for _ in 0..MOST_WHILE_RAW {
            assert_eq!(look_at_once(&mut end, &pair.master), Step::Write(CTRL_D));
        }
        assert_eq!(look_at_once(&mut end, &pair.master), Step::HangUp);
    }

    #[test]
    fn without_a_character_for_the_end_there_is_the_hang_up() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut modes = termios::tcgetattr(&pair.slave).unwrap();
        modes.control_chars[SpecialCharacterIndices::VEOF as usize] = 0;
        termios::tcsetattr(&pair.slave, termios::SetArg::TCSANOW, &modes).unwrap();
        let mut end = InputEnd::of(&pair.master).unwrap();
        assert_eq!(look_at_once(&mut end, &pair.master), Step::HangUp);
    }
}
