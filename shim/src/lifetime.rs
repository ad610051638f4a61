//! When does the server exit? Pure.
//!
//! ```text
//!             Shutdown, a signal, or idle for too long          all events published,
//!                       (and no task is expected)               and no start runs
//!   Serving ──────────────────────────────────────▶ Exiting ───────────────────────▶ exit
//!      ▲                                              │
//!      └───────────── a new connection ───────────────┘
//!                    (but not after a signal)
//! ```
//!
//! `containerd-shim-cleat-v2 start` sends containerd to a server that listens, and says which task will follow. So a
//! server that shuts down must stay for a task that is expected, and for a connection that comes while
//! it exits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The server exits when it has had no task and no peer for so long: the engine that started it was killed.
const IDLE: Duration = Duration::from_secs(10);
/// The same with a peer: a containerd that was restarted does not know what the server was for.
const IDLE_WITH_PEER: Duration = Duration::from_secs(20);
/// How long a task is expected that `start` has announced.
const EXPECTED: Duration = Duration::from_secs(10);
/// How long a peer that has not sent a request may be a `start`, which announces a task at once.
const SILENT: Duration = Duration::from_secs(2);
/// How long publishing events, and `start`, can delay the exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay before the next look whether a `start` is under way.
const RETRY: Duration = Duration::from_millis(20);

/// What happened to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeEvent<'a> {
    /// A peer has connected.
    Connected,
    /// `start` has announced a task.
    Announced(&'a str),
    /// containerd has created a task.
    Create(&'a str),
    /// containerd says Shutdown, and there is no task.
    Shutdown,
    /// `SIGTERM` or `SIGINT`.
    Terminated,
}

/// What the exit depends on besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// There are tasks.
    pub tasks: bool,
    /// The number of peers.
    pub peers: usize,
    /// Since when the last peer is connected that has not sent a request: `start`, perhaps, which will announce a
    /// task.
    pub silent_peer: Option<Instant>,
    /// All events are published.
    pub published: bool,
}

/// The state.
#[derive(Debug)]
pub struct Lifetime {
    /// There is no task since then.
    idle_since: Option<Instant>,
    /// The server is exiting, and does so at this time whatever it waits for.
    exit_deadline: Option<Instant>,
    /// Announced tasks, and since when.
    expected: BTreeMap<String, Instant>,
    /// By a signal.
    terminated: bool,
    /// containerd has said Shutdown, and has not created a task since.
    shut_down: bool,
    /// When to call [`Lifetime::may_exit`] again.
    retry: Option<Instant>,
}

impl Lifetime {
    /// Of a server that has just started.
    pub fn new(now: Instant) -> Lifetime {
        Lifetime {
            idle_since: Some(now),
            exit_deadline: None,
            expected: BTreeMap::new(),
            terminated: false,
            shut_down: false,
            retry: None,
        }
    }

    /// Takes an event.
    pub fn step(&mut self, event: LifetimeEvent<'_>, facts: Conditions, now: Instant) {
        match event {
            // `start` may have sent it here, and containerd may follow.
            LifetimeEvent::Connected if self.terminated => {}
            LifetimeEvent::Connected => {
                self.exit_deadline = None;
                self.idle_since = self.idle_since.map(|_| now);
            }
            LifetimeEvent::Announced(id) => {
                self.expected.retain(|_, since| now < *since + EXPECTED);
                self.expected.insert(id.into(), now);
            }
            LifetimeEvent::Create(id) => {
                self.expected.remove(id);
                self.shut_down = false;
            }
            // It may have been sent before a task was announced, for which `is_over` waits.
            LifetimeEvent::Shutdown => {
                self.shut_down = true;
                if self.expected_until(facts, now).is_none() {
                    self.exit_deadline = Some(now + EXIT_TIMEOUT);
                }
            }
            LifetimeEvent::Terminated => {
                self.exit_deadline = Some(now + EXIT_TIMEOUT);
                self.terminated = true;
            }
        }
    }

    /// Until when a task is expected, if one is.
    fn expected_until(&self, facts: Conditions, now: Instant) -> Option<Instant> {
        let announced = self.expected.values().map(|since| *since + EXPECTED);
        announced.chain(facts.silent_peer.map(|since| since + SILENT)).filter(|until| now < *until).max()
    }

    fn idle_timeout(facts: Conditions) -> Duration {
        if facts.peers == 0 { IDLE } else { IDLE_WITH_PEER }
    }

    /// When to call [`Lifetime::is_over`] at the latest.
    pub fn next_timer(&mut self, facts: Conditions, now: Instant) -> Option<Instant> {
        let idle_until = self.idle_since.filter(|_| self.exit_deadline.is_none());
        let idle_until = idle_until.map(|since| since + Self::idle_timeout(facts));
        let shut_down = self.shut_down && self.exit_deadline.is_none() && !facts.tasks;
        let expected_until = self.expected_until(facts, now).filter(|_| shut_down);
        [self.exit_deadline, idle_until, expected_until, self.retry.take()].into_iter().flatten().min()
    }

    /// Whether the server should exit now.
    pub fn is_over(&mut self, facts: Conditions, now: Instant) -> bool {
        if let Some(deadline) = self.exit_deadline {
            return facts.published || deadline <= now;
        }
        let since = self.idle_since.unwrap_or(now);
        self.idle_since = (!facts.tasks).then_some(since);
        let shut_down = self.shut_down && self.expected_until(facts, now).is_none();
        if !facts.tasks && (shut_down || since + Self::idle_timeout(facts) <= now) {
            self.exit_deadline = Some(now + EXIT_TIMEOUT);
            return facts.published;
        }
        false
    }

    /// Whether a server that should exit may: with the lock, which keeps `start` from finding it, or after the
    /// timeout. Then the last connections are to be accepted; [`Lifetime::is_exiting`] says whether they keep it.
    pub fn may_exit(&mut self, locked: bool, now: Instant) -> bool {
        let deadline = *self.exit_deadline.get_or_insert(now + EXIT_TIMEOUT);
        let may = locked || deadline <= now;
        self.retry = (!may).then_some(now + RETRY);
        may
    }

    /// Whether the server is exiting.
    pub fn is_exiting(&self) -> bool {
        self.exit_deadline.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Conditions = Conditions { tasks: false, peers: 0, silent_peer: None, published: true };
    const PEER: Conditions = Conditions { peers: 1, ..NOBODY };
    const TASK: Conditions = Conditions { tasks: true, ..PEER };

    fn secs(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }

    #[test]
    fn without_tasks_the_server_exits_after_a_while() {
        let start = Instant::now();
        for (facts, timeout) in [(NOBODY, 10), (PEER, 20)] {
            let mut life = Lifetime::new(start);
            assert_eq!(life.next_timer(facts, start), Some(secs(start, timeout)));
            assert!(!life.is_over(facts, secs(start, timeout - 1)));
            assert!(life.is_over(facts, secs(start, timeout)));
            assert!(life.may_exit(true, secs(start, timeout)) && life.is_exiting());
        }
        let mut life = Lifetime::new(start);
        assert!(!life.is_over(TASK, secs(start, 100)));
        assert_eq!(life.next_timer(TASK, start), None);
        // The time counts from the end of the last task.
        assert!(!life.is_over(PEER, secs(start, 101)));
        assert_eq!(life.next_timer(PEER, start), Some(secs(start, 121)));
    }

    #[test]
    fn after_shutdown_the_server_exits_when_all_is_published() {
        let start = Instant::now();
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Shutdown, PEER, start);
        let unpublished = Conditions { published: false, ..PEER };
        assert!(!life.is_over(unpublished, secs(start, 2)));
        assert_eq!(life.next_timer(unpublished, start), Some(secs(start, 3)));
        assert!(life.is_over(PEER, secs(start, 2)));
        assert!(life.is_over(unpublished, secs(start, 3)));
    }

    #[test]
    fn a_connection_keeps_a_server_that_exits_but_not_after_a_signal() {
        let start = Instant::now();
        let silent = Conditions { silent_peer: Some(start), ..PEER };
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Shutdown, PEER, start);
        assert!(life.is_over(PEER, start) && life.may_exit(true, start));
        life.step(LifetimeEvent::Connected, silent, start);
        assert!(!life.is_exiting() && !life.is_over(silent, start));
        life.step(LifetimeEvent::Terminated, PEER, start);
        life.step(LifetimeEvent::Connected, silent, start);
        assert!(life.is_exiting() && life.is_over(silent, start));
    }

    #[test]
    fn a_silent_peer_keeps_a_server_for_a_moment() {
        let start = Instant::now();
        let silent = Conditions { silent_peer: Some(start), ..PEER };
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Shutdown, silent, start);
        assert!(!life.is_exiting());
        assert_eq!(life.next_timer(silent, start), Some(secs(start, 2)));
        assert!(!life.is_over(silent, secs(start, 1)));
        assert!(life.is_over(silent, secs(start, 2)), "it was a stranger");
    }

    #[test]
    fn an_announced_task_keeps_the_server() {
        let start = Instant::now();
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Announced("c"), PEER, start);
        life.step(LifetimeEvent::Shutdown, PEER, secs(start, 1));
        assert!(!life.is_exiting() && !life.is_over(PEER, secs(start, 9)));
        life.step(LifetimeEvent::Create("c"), PEER, secs(start, 2));
        life.step(LifetimeEvent::Shutdown, PEER, secs(start, 3));
        assert!(life.is_exiting());
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Announced("c"), PEER, start);
        life.step(LifetimeEvent::Shutdown, PEER, secs(start, 1));
        assert!(life.is_over(PEER, secs(start, 10)), "it never came");
    }

    #[test]
    fn a_peer_that_goes_again_does_not_keep_the_server() {
        let start = Instant::now();
        let mut life = Lifetime::new(start);
        assert!(!life.is_over(NOBODY, start));
        life.step(LifetimeEvent::Shutdown, PEER, start);
        // `delete`, which asks whether the server lives.
        let silent = Conditions { silent_peer: Some(start), ..PEER };
        life.step(LifetimeEvent::Connected, silent, start);
        assert!(!life.is_over(silent, start));
        assert!(!life.is_over(TASK, start));
        assert!(life.is_over(NOBODY, start));
    }

    #[test]
    fn a_start_under_way_delays_the_exit() {
        let start = Instant::now();
        let mut life = Lifetime::new(start);
        life.step(LifetimeEvent::Shutdown, PEER, start);
        assert!(life.is_over(PEER, start) && !life.may_exit(false, start));
        assert_eq!(life.next_timer(PEER, start), Some(start + RETRY));
        assert!(life.may_exit(true, start + RETRY));
        assert!(life.may_exit(false, secs(start, 3)), "at most so long");
    }
}
