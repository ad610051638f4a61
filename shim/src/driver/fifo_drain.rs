//! Have its readers taken what an ended init wrote?
//!
//! containerd 1.6 (that of Debian 12) closes a container's streams as soon as it hears of the end, and what is
//! in a fifo by then is lost. So the end is told when the fifos are empty, if somebody reads them.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::epoll::Watch;
use crate::stdio;
use crate::task::{Input, Who};

use super::{Driver, Outcome, Outcomes, Timer};

/// Readers that take longer than that for a fifo's length are not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel tells nobody that a pipe is empty: so it is looked at again after so long, then twice that ...
const FIRST: Duration = Duration::from_millis(1);
/// ... up to that.
const LAST: Duration = Duration::from_millis(32);

impl Driver {
    /// An init has ended.
    pub(super) fn flush(&mut self, who: &Who, watch: &mut Watch, outcomes: &mut Outcomes) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.flush = Some((Instant::now() + PATIENCE, FIRST));
            self.check_flushed(who, watch, outcomes);
        } else {
            outcomes.push_back(Outcome::Happened(Input::Flushed(who.id.clone())));
        }
    }

    /// Says so if they have, or looks again later.
    pub(super) fn check_flushed(&mut self, who: &Who, watch: &mut Watch, outcomes: &mut Outcomes) {
        let Some(streams) = self.streams.get_mut(who) else { return };
        let Some((until, pause)) = streams.flush else { return };
        let held = streams.held.take_back(&mut self.shelf);
        let unread = held.iter().any(stdio::has_unread);
        if streams.outputs > 0 || unread {
            // Nothing is read where nobody reads.
            let writes = if streams.outputs == 0 { without_readers(held) } else { Vec::new() };
            if writes.is_empty() && Instant::now() < until {
                streams.flush = Some((until, LAST.min(pause * 2)));
                let number = streams.number;
                return self.after(pause, Timer::Flush(who.clone(), number));
            }
            for write in writes {
                self.expect_reader(who, write, watch);
            }
        }
        if let Some(streams) = self.streams.get_mut(who) {
            streams.flush = None;
        }
        outcomes.push_back(Outcome::Happened(Input::Flushed(who.id.clone())));
    }
}

/// Write ends of those fifos that nobody reads besides us, in place of our read ends; none, if any is read. For
/// whoever writes: only where nobody does any more, who could be told `EPIPE` meanwhile.
fn without_readers(held: &mut Vec<OwnedFd>) -> Vec<OwnedFd> {
    let mut writes = Vec::new();
    for hold in std::mem::take(held) {
        // What is in it stays as long as one of its ends is open, and a reader sees no end.
        match stdio::write_end(&hold) {
            Some(write) => writes.push(write),
            None => held.push(hold),
        }
    }
    if writes.iter().any(stdio::is_read) {
        held.extend(writes.drain(..).filter_map(|write| stdio::read_end(&write)));
    }
    writes
}
