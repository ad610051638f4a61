//! What does the server wait for, and in which order does it act? One thread and one loop, which take events to the
//! state machine (`task`) and effects to the driver.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cleat::error::{Context, Result};
use cleat::sys::child;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::args::Args;
use crate::connections::{self, Flushed, MAX_PEERS, Peers, Received};
use crate::driver::{Ctx, Driver, Outcome};
use crate::epoll::{Epoll, Source, Token};
use crate::lifetime::{Event, Facts, Lifetime};
use crate::messages::Timestamp;
use crate::publisher::Publisher;
use crate::task::{Effect, Exit, Input, Tasks, Verb};

/// The exit status after `SIGKILL`.
const KILLED: u8 = 137;

struct Server {
    ctx: Ctx,
    listener: OwnedFd,
    /// The path of the listener, until it is unlinked.
    socket: Option<PathBuf>,
    signals: SignalFd,
    peers: Peers,
    /// Of each peer, and whether it is polled for space to write.
    tokens: BTreeMap<u32, (Token, bool)>,
    publisher: Publisher,
    publisher_token: Option<Token>,
    tasks: Tasks,
    driver: Driver,
    lifetime: Lifetime,
    /// Closed to make room where no descriptor is left.
    spare: Option<OwnedFd>,
}

/// Serves until the last task is deleted and containerd says Shutdown.
///
/// # Errors
/// A descriptor that the loop needs cannot be opened.
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
    // The others are ignored: neither `pkill -HUP` nor a log at its size limit may end containers.
    let ignored = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ];
    let handled = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT];
    handled.into_iter().chain(ignored).for_each(|signal| signals.add(signal));
    signals.thread_block().context("sigprocmask")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
    let mut epoll = Epoll::new().context("epoll_create1")?;
    epoll.read(&listener, Source::Listener).context("epoll_ctl")?;
    epoll.read(&signals, Source::Signals).context("epoll_ctl")?;
    let mut server = Server {
        ctx: Ctx::new(epoll),
        listener,
        socket: Some(PathBuf::from(&args.socket)).filter(|path| path.is_absolute()),
        signals,
        peers: Peers::default(),
        tokens: BTreeMap::new(),
        publisher: Publisher::new(&address, &args.namespace),
        publisher_token: None,
        tasks: Tasks::default(),
        driver: Driver::new(args),
        lifetime: Lifetime::new(Instant::now()),
        spare: spare(),
    };
    let outcome = server.run();
    server.driver.end();
    server.unlink_socket();
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
            let facts = self.facts();
            let timers =
                [self.publisher.next(), self.driver.next_timer(), self.lifetime.next_timer(facts, Instant::now())];
            let ready = self.ctx.epoll.wait(timers.into_iter().flatten().min()).context("epoll_wait")?;
            for (source, writable) in ready {
                self.ready(source, writable);
            }
            let now = Instant::now();
            self.publisher.tick(now);
            self.driver.tick(now, &mut self.ctx);
            self.settle();
            self.poll_publisher();
            let facts = self.facts();
            if self.lifetime.is_over(facts, now) && self.try_exit(now) {
                return Ok(());
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            tasks: !self.tasks.is_empty(),
            peers: self.peers.count(),
            silent_peer: self.peers.silent_since(),
            published: self.publisher.is_idle(),
        }
    }

    fn live(&mut self, event: Event<'_>) {
        let facts = self.facts();
        self.lifetime.step(event, facts, Instant::now());
    }

    /// Unlinks the socket, unless a peer connects at that moment: a `start` that finds it listening sends containerd
    /// here.
    fn try_exit(&mut self, now: Instant) -> bool {
        let Some(dir) = self.socket.as_deref().and_then(Path::parent) else { return true };
        // Held until the socket is gone.
        let lock = crate::start::try_lock(dir);
        if !self.lifetime.may_exit(lock.is_some(), now) {
            return false;
        }
        self.accept();
        if self.lifetime.is_exiting() {
            self.unlink_socket();
        }
        self.lifetime.is_exiting()
    }

    fn unlink_socket(&mut self) {
        let _ = self.socket.take().map(std::fs::remove_file);
    }

    fn ready(&mut self, source: Source, writable: bool) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.signalled(),
            Source::Publisher => self.publisher.readable(),
            Source::Peer(number) => {
                if writable {
                    self.flush(number);
                }
                self.receive(number);
            }
            Source::Oom => self.driver.oom_event(&mut self.ctx),
            Source::FifoOpened => self.driver.fifo_opened(),
            Source::Pump(number) => self.driver.pump(number, &mut self.ctx),
            Source::LoggerReady(who) => self.driver.logger_ready(&who, &mut self.ctx),
        }
        self.settle();
    }

    /// Performs everything that is queued, and what follows from it.
    fn settle(&mut self) {
        while let Some(outcome) = self.ctx.take_next() {
            let effects = match outcome {
                Outcome::Event(input) => self.tasks.step(input),
                Outcome::Effect(effect) => vec![effect],
            };
            for effect in effects {
                match effect {
                    Effect::Answer(ticket, answer) => {
                        if let Some(peer) = self.peers.answer(ticket, answer) {
                            self.flush(peer);
                        }
                    }
                    Effect::Publish(event) => self.publisher.publish(&event),
                    Effect::Shutdown => self.live(Event::Shutdown),
                    effect => self.driver.perform(effect, &mut self.ctx),
                }
            }
        }
    }

    fn accept(&mut self) {
        // One at a time: epoll reports the listener again while others wait.
        let Some(socket) = self.accept_peer() else { return };
        self.live(Event::Connected);
        if self.peers.count() >= MAX_PEERS {
            // A peer that has sent a request may be containerd, which takes the end of its connection for the end of
            // the shim. One that has not makes room.
            let Some(silent) = self.peers.silent() else { return };
            self.drop_peer(silent);
        }
        let number = self.peers.add(socket);
        let Some(socket) = self.peers.get(number) else { return };
        match self.ctx.epoll.read(socket, Source::Peer(number)) {
            Ok(token) => drop(self.tokens.insert(number, (token, false))),
            Err(_) => drop(self.peers.remove(number)),
        }
    }

    /// Accepts a peer. Where no descriptor is left, one that has not sent a request makes room, or else the new
    /// one is disconnected. Left in the queue, it would keep epoll reporting the listener.
    fn accept_peer(&mut self) -> Option<OwnedFd> {
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

    fn receive(&mut self, number: u32) {
        let calls = match self.peers.receive(number) {
            Received::Gone => return self.drop_peer(number),
            Received::Calls(calls) => calls,
        };
        for (stream, call) in calls {
            let ticket = connections::ticket(number, stream);
            match call {
                Err(failure) => self.ctx.answer(ticket, Err(failure)),
                Ok(call) => {
                    match &call.verb {
                        Verb::Connect if !self.tasks.has(&call.who.container) => {
                            self.live(Event::Announced(&call.who.container));
                        }
                        Verb::Create(_) => self.live(Event::Create(&call.who.container)),
                        _ => {}
                    }
                    self.ctx.event(Input::Call(ticket, call));
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
                        self.ctx.epoll.also_write(socket, *token, wanted);
                        *writes = wanted;
                    }
                }
            }
        }
    }

    fn drop_peer(&mut self, number: u32) {
        if let (Some(socket), Some((token, _))) = (self.peers.remove(number), self.tokens.remove(&number)) {
            self.ctx.epoll.remove(&socket, token);
        }
    }

    fn signalled(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number == nix::libc::SIGTERM || number == nix::libc::SIGINT {
                self.live(Event::Terminated);
            }
        }
        while let Some((pid, status)) = child::peek_ended() {
            if !self.driver.ended(pid, status, &mut self.ctx) {
                if let Ok(number) = u32::try_from(pid) {
                    if let Some(who) = self.tasks.who(number).filter(|who| who.is_init() || status == KILLED) {
                        self.driver.check_oom(&who.container, &mut self.ctx);
                    }
                    let exit = Exit { status: u32::from(status), at: Timestamp::now() };
                    self.ctx.event(Input::Exited(number, exit));
                }
            }
            // The exit is recorded before the pid can be used again.
            self.settle();
            let _ = cleat::sys::wait_for(pid);
        }
    }

    fn poll_publisher(&mut self) {
        if let Some(socket) = self.publisher.take_new() {
            self.publisher_token.take().into_iter().for_each(|token| self.ctx.epoll.forget(token));
            self.publisher_token = self.ctx.epoll.read(socket, Source::Publisher).ok();
        }
    }
}
