//! Has the output of an ended init been read?
//!
//! containerd 1.6 (that of Debian 12) closes a container's streams as soon as it learns of the exit, and loses
//! what is in a fifo by then. So the exit is published when the fifos are empty, if they have a reader.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::stdio;
use crate::task::{Input, ProcessId};

use super::{Ctx, Driver, Timer};

/// How long a slow reader can delay the exit.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The kernel does not report that a pipe is empty. So it is looked at again after so long, then twice that ...
const FIRST_DELAY: Duration = Duration::from_millis(1);
/// ... up to that.
const LAST_DELAY: Duration = Duration::from_millis(32);

impl Driver {
    /// An init has ended.
    pub(super) fn drain_fifos(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.fifo_drain = Some((Instant::now() + TIMEOUT, FIRST_DELAY));
            self.check_fifos(who, ctx);
        } else {
            ctx.event(Input::FifosDrained(who.container.clone()));
        }
    }

    /// Reports that the fifos have been read, or looks again later.
    pub(super) fn check_fifos(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        let Some(streams) = self.streams.get_mut(who) else { return };
        let Some((until, delay)) = streams.fifo_drain else { return };
        let held = streams.held.restore(&mut self.fd_store);
        let unread = held.iter().any(stdio::has_unread);
        if streams.outputs > 0 || unread {
            // Without a reader there is nothing to wait for.
            let writes = if streams.outputs == 0 { without_readers(held) } else { Vec::new() };
            if writes.is_empty() && Instant::now() < until {
                streams.fifo_drain = Some((until, LAST_DELAY.min(delay * 2)));
                let number = streams.number;
                return self.after(delay, Timer::Fifos(who.clone(), number));
            }
            for write in writes {
                self.expect_reader(who, write, ctx);
            }
        }
        if let Some(streams) = self.streams.get_mut(who) {
            streams.fifo_drain = None;
        }
        ctx.event(Input::FifosDrained(who.container.clone()));
    }
}

/// Replaces the read ends that we hold by write ends and returns these, if none of the fifos has another reader.
/// Only for fifos without a writer, which could get `EPIPE` meanwhile.
fn without_readers(held: &mut Vec<OwnedFd>) -> Vec<OwnedFd> {
    let mut writes = Vec::new();
    for hold in std::mem::take(held) {
        // The content stays as long as one of its ends is open, and a reader does not see the end of the file.
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
