//! The server: one thread that waits, asks `task` what follows, and has it done.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cleat::error::{Context, Result};
use cleat::sys::child;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::args::Args;
use crate::connections::{self, Flushed, Heard, MAX_PEERS, Peers};
use crate::driver::{Driver, Outcome};
use crate::epoll::{Source, Token, Watch};
use crate::messages::Timestamp;
use crate::publisher::Publisher;
use crate::task::{Call, Effect, Exit, Input, Tasks};

/// Without a task and without a peer it ends after so long: whoever started it was killed.
const IDLE: Duration = Duration::from_secs(10);
/// Without a task, though there is a peer: a containerd that came back does not know what it was for.
const USELESS: Duration = Duration::from_secs(20);
/// How long events, and whoever starts, may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// When to look again whether anybody starts.
const AGAIN: Duration = Duration::from_millis(20);

/// The status of whom `SIGKILL` has ended.
const KILLED: u8 = 137;

struct Server {
    watch: Watch,
    listener: OwnedFd,
    /// Its name, until that is taken away.
    socket: Option<PathBuf>,
    signals: SignalFd,
    peers: Peers,
    /// Of each peer, and whether it is watched for space to write.
    tokens: BTreeMap<u32, (Token, bool)>,
    publisher: Publisher,
    publisher_token: Option<Token>,
    tasks: Tasks,
    driver: Driver,
    idle_since: Option<Instant>,
    /// A descriptor to be had when there are no others.
    spare: Option<OwnedFd>,
    /// When to end, whatever waits.
    farewell: Option<Instant>,
    /// Tasks that a start has announced, and when: it sends containerd for a Create.
    expected: BTreeMap<String, Instant>,
    /// A signal told it to end.
    dismissed: bool,
    /// containerd has told it to end, and has not come with a new task since.
    shut_down: bool,
    /// When to see again whether it may end.
    again: Option<Instant>,
}

/// Serves until the last task is gone and containerd says so.
///
/// # Errors
/// Those of its descriptors' making.
pub fn run(args: &Args) -> Result<()> {
    cleat::sys::become_subreaper().context("prctl PR_SET_CHILD_SUBREAPER")?;
    // The bundle we were started in may be removed before we end.
    nix::unistd::chdir("/").context("chdir /")?;
    let listener = take_listener()?;
    let address = std::env::var("TTRPC_ADDRESS").unwrap_or_else(|_| match args.address.is_empty() {
        true => String::new(),
        false => format!("{}.ttrpc", args.address),
    });
    let mut signals = SigSet::empty();
    // Of the others nothing follows: no tool's habit may end containers, nor a log that is as long as it may be.
    let others = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ];
    let heard = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT];
    heard.into_iter().chain(others).for_each(|signal| signals.add(signal));
    signals.thread_block().context("sigprocmask")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
    let mut watch = Watch::new().context("epoll_create1")?;
    watch.read(&listener, Source::Listener).context("epoll_ctl")?;
    watch.read(&signals, Source::Signals).context("epoll_ctl")?;
    let mut server = Server {
        watch,
        listener,
        socket: Some(PathBuf::from(&args.socket)).filter(|path| path.is_absolute()),
        signals,
        peers: Peers::default(),
        tokens: BTreeMap::new(),
        publisher: Publisher::new(&address, &args.namespace),
        publisher_token: None,
        tasks: Tasks::default(),
        driver: Driver::new(args),
        idle_since: Some(Instant::now()),
        spare: spare(),
        farewell: None,
        expected: BTreeMap::new(),
        dismissed: false,
        shut_down: false,
        again: None,
    };
    let outcome = server.run();
    server.driver.end();
    server.take_name_away();
    outcome
}

fn spare() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}

/// The socket is standard input, whose place it leaves.
fn take_listener() -> Result<OwnedFd> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned().context("the socket on standard input")?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").context("open /dev/null")?;
    nix::unistd::dup2_stdin(&null).context("dup2")?;
    crate::stdio::never_wait(&listener)?;
    Ok(listener)
}

impl Server {
    fn run(&mut self) -> Result<()> {
        loop {
            let patience = self.patience();
            let idle_until = self.idle_since.filter(|_| self.farewell.is_none()).map(|since| since + patience);
            let until = [self.publisher.next(), self.driver.next(), self.farewell, idle_until, self.again.take()];
            let ready = self.watch.wait(until.into_iter().flatten().min()).context("epoll_wait")?;
            for (source, writable) in ready {
                self.ready(source, writable);
            }
            let now = Instant::now();
            self.publisher.tick(now);
            let mut outcomes = VecDeque::new();
            self.driver.tick(now, &mut self.watch, &mut outcomes);
            self.settle(outcomes);
            self.watch_publisher();
            if self.is_over(now) && self.retires(now) {
                return Ok(());
            }
        }
    }

    /// How long it stays without a task.
    fn patience(&self) -> Duration {
        if self.peers.count() == 0 { IDLE } else { USELESS }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if let Some(farewell) = self.farewell {
            return self.publisher.is_idle() || farewell <= now;
        }
        let since = self.idle_since.unwrap_or(now);
        self.idle_since = self.tasks.is_empty().then_some(since);
        if self.tasks.is_empty() && since + self.patience() <= now {
            self.farewell = Some(now + FAREWELL);
            return self.publisher.is_idle();
        }
        false
    }

    /// Takes its name away, unless somebody comes in that moment: a start of its group that finds it
    /// listening sends containerd to it.
    fn retires(&mut self, now: Instant) -> bool {
        let Some(dir) = self.socket.as_deref().and_then(Path::parent) else { return true };
        let nobody_starts = crate::start::try_lock(dir);
        let farewell = *self.farewell.get_or_insert(now + FAREWELL);
        if nobody_starts.is_none() && now < farewell {
            self.again = Some(now + AGAIN);
            return false;
        }
        self.accept();
        if self.farewell.is_some() {
            self.take_name_away();
        }
        self.farewell.is_some()
    }

    fn take_name_away(&mut self) {
        let _ = self.socket.take().map(std::fs::remove_file);
    }

    /// Whether somebody is on his way to us who does not know of that Shutdown.
    fn is_expected(&self) -> bool {
        self.expected.values().any(|since| since.elapsed() < IDLE) || self.peers.silent().is_some()
    }

    /// Whoever comes may have been sent here by a start, and others may follow.
    fn stay(&mut self) {
        if !self.dismissed {
            self.farewell = None;
            self.idle_since = self.idle_since.map(|_| Instant::now());
        }
    }

    fn ready(&mut self, source: Source, writable: bool) {
        let mut outcomes = VecDeque::new();
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.signalled(&mut outcomes),
            Source::Publisher => self.publisher.readable(),
            Source::Peer(number) => {
                if writable {
                    self.flush(number);
                }
                self.hear(number, &mut outcomes);
            }
            Source::Kills => self.driver.killed(&mut outcomes),
            Source::Opened => self.driver.opened(),
            Source::Pump(number) => self.driver.pump(number, &mut self.watch, &mut outcomes),
            Source::Ready(who) => self.driver.ready(&who, &mut self.watch, &mut outcomes),
        }
        self.settle(outcomes);
    }

    /// Has everything done that follows.
    fn settle(&mut self, mut outcomes: VecDeque<Outcome>) {
        while let Some(outcome) = outcomes.pop_front() {
            let effects = match outcome {
                Outcome::Happened(input) => self.tasks.step(input),
                Outcome::Do(effect) => vec![effect],
            };
            for effect in effects {
                match effect {
                    Effect::Answer(ticket, answer) => {
                        if let Some(peer) = self.peers.answer(ticket, answer) {
                            self.flush(peer);
                        }
                    }
                    Effect::Publish(event) => self.publisher.publish(&event),
                    Effect::Shutdown if self.is_expected() => {}
                    Effect::Shutdown => {
                        self.farewell = Some(Instant::now() + FAREWELL);
                        self.shut_down = true;
                    }
                    effect => self.driver.perform(effect, &mut self.watch, &mut outcomes),
                }
            }
        }
    }

    fn accept(&mut self) {
        // One at a time: whoever else waits makes us come again.
        let Some(socket) = self.take_peer() else { return };
        self.stay();
        if self.peers.count() >= MAX_PEERS {
            // Who has asked something is containerd, perhaps, which takes the end of its connection for
            // ours; who has only come makes room.
            let Some(silent) = self.peers.silent() else { return };
            self.drop_peer(silent);
        }
        let number = self.peers.add(socket);
        let Some(socket) = self.peers.get(number) else { return };
        match self.watch.read(socket, Source::Peer(number)) {
            Ok(token) => drop(self.tokens.insert(number, (token, false))),
            Err(_) => drop(self.peers.remove(number)),
        }
    }

    /// A new peer. Where no descriptor is left, one that has asked nothing makes room, or else the new
    /// one is sent away: it must not wait for ever, nor keep us busy.
    fn take_peer(&mut self) -> Option<OwnedFd> {
        match connections::accept(&self.listener) {
            Ok(socket) => socket,
            Err(Errno::EMFILE | Errno::ENFILE) => {
                match self.peers.silent() {
                    Some(silent) => self.drop_peer(silent),
                    None => drop(self.spare.take()),
                }
                let socket = connections::accept(&self.listener).ok().flatten().filter(|_| self.spare.is_some());
                self.spare = self.spare.take().or_else(spare);
                socket
            }
            Err(_) => None,
        }
    }

    fn hear(&mut self, number: u32, outcomes: &mut VecDeque<Outcome>) {
        match self.peers.hear(number) {
            Heard::Gone => self.drop_peer(number),
            Heard::Calls(calls) => {
                for (stream, call) in calls {
                    match &call {
                        Ok(Call::Connect(id)) if !self.tasks.has(id) => {
                            self.expected.retain(|_, since| since.elapsed() < IDLE);
                            self.expected.insert(id.clone(), Instant::now());
                        }
                        Ok(Call::Create(request)) => {
                            self.expected.remove(&request.id);
                            self.shut_down = false;
                        }
                        _ => {}
                    }
                    let ticket = connections::ticket(number, stream);
                    outcomes.push_back(match call {
                        Ok(call) => Outcome::Happened(Input::Call(ticket, call)),
                        Err(failure) => Outcome::Do(Effect::Answer(ticket, Err(failure))),
                    });
                }
            }
        }
    }

    fn flush(&mut self, number: u32) {
        match self.peers.flush(number) {
            Flushed::Broken => self.drop_peer(number),
            flushed => {
                let wanted = flushed == Flushed::Some;
                if let (Some(socket), Some((token, writes))) = (self.peers.get(number), self.tokens.get_mut(&number)) {
                    if *writes != wanted {
                        self.watch.also_write(socket, *token, wanted);
                        *writes = wanted;
                    }
                }
            }
        }
    }

    fn drop_peer(&mut self, number: u32) {
        if let (Some(socket), Some((token, _))) = (self.peers.remove(number), self.tokens.remove(&number)) {
            self.watch.remove(&socket, token);
        }
        // It came to see whether anybody is here, such as `delete`, and nobody else is to come.
        if self.shut_down && self.farewell.is_none() && self.tasks.is_empty() && !self.is_expected() {
            self.farewell = Some(Instant::now() + FAREWELL);
        }
    }

    fn signalled(&mut self, outcomes: &mut VecDeque<Outcome>) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number == nix::libc::SIGTERM || number == nix::libc::SIGINT {
                self.farewell = Some(Instant::now() + FAREWELL);
                self.dismissed = true;
            }
        }
        while let Some((pid, status)) = child::peek_ended() {
            if !self.driver.ended(pid, status, &mut self.watch, outcomes) {
                if let Ok(number) = u32::try_from(pid) {
                    if let Some(who) = self.tasks.who(number).filter(|who| who.is_init() || status == KILLED) {
                        self.driver.count_kills(&who.id, outcomes);
                    }
                    let exit = Exit { status: u32::from(status), at: Timestamp::now() };
                    outcomes.push_back(Outcome::Happened(Input::Exited(number, exit)));
                }
            }
            // What is known of it is written down before its pid can be used again.
            self.settle(std::mem::take(outcomes));
            let _ = cleat::sys::wait_for(pid);
        }
    }

    fn watch_publisher(&mut self) {
        if let Some(socket) = self.publisher.take_new() {
            self.publisher_token.take().into_iter().for_each(|token| self.watch.forget(token));
            self.publisher_token = self.watch.read(socket, Source::Publisher).ok();
        }
    }
}
