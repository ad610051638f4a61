//! Have its readers taken what an ended init wrote?
//!
//! containerd 1.6 (that of Debian 12) closes a container's streams as soon as it hears of the end, and what is
//! in a fifo by then is lost. So the end is told when the fifos are empty, if somebody reads them.

use std::time::{Duration, Instant};

use crate::stdio;
use crate::task::{Input, Who};

use super::streams::Streams;
use super::{Driver, Outcome, Outcomes, Timer};

/// Readers that take longer than that for a fifo's length are not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel tells nobody that a pipe is empty: so it is looked at again after so long, then twice that ...
const FIRST: Duration = Duration::from_millis(1);
/// ... up to that.
const LAST: Duration = Duration::from_millis(32);

impl Driver {
    /// An init has ended.
    pub(super) fn flush(&mut self, who: &Who, outcomes: &mut Outcomes) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.held.take_back(&mut self.shelf);
            streams.flush = Some((Instant::now() + PATIENCE, FIRST));
            self.check_flushed(who, outcomes);
        } else {
            outcomes.push_back(Outcome::Happened(Input::Flushed(who.id.clone())));
        }
    }

    /// Says so if they have, or looks again later.
    pub(super) fn check_flushed(&mut self, who: &Who, outcomes: &mut Outcomes) {
        let Some(streams) = self.streams.get_mut(who) else { return };
        let Some((until, pause)) = streams.flush else { return };
        if streams.are_read(&mut self.shelf) || until <= Instant::now() {
            streams.flush = None;
            outcomes.push_back(Outcome::Happened(Input::Flushed(who.id.clone())));
            return;
        }
        streams.flush = Some((until, LAST.min(pause * 2)));
        let number = streams.number;
        self.after(pause, Timer::Flush(who.clone(), number));
    }
}

impl Streams {
    /// Whether everything has been read that will be.
    fn are_read(&mut self, shelf: &mut Option<crate::shelf::Shelf>) -> bool {
        // A logging program is waited for when the process is deleted.
        if self.logger.is_some() {
            return true;
        }
        let held = self.held.take_back(shelf);
        let all = self.outputs == 0 && held.iter().all(|hold| !stdio::has_unread(hold));
        // Nothing is read where nobody reads.
        all || !held.iter_mut().map(stdio::has_reader).fold(false, |some, one| some | one)
    }
}
