//! How are effects performed?
//!
//! Creating and starting are processes of `cleat`, as many at a time as are asked for. All else is done in this
//! process, by the library. Runs as root in the host's namespaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cleat::commands::{self, Shell};
use cleat::container::{Container, Store};
use cleat::error::{Context, Error, Kind, Result};
use cleat::plan::host::CgroupManager;
use nix::sys::inotify::Inotify;
use prost::Message;

use crate::args::Args;
use crate::fd_store::FdStore;
use crate::messages::{Any, Options, StatsResponse};
use crate::rootfs::MountGuard;
use crate::task::{Effect, Input, ProcessId};
use crate::ttrpc::{Answer, Code, Failure};
use crate::{bundle, metrics};

mod checkpoint;
mod context;
mod fifo_drain;
mod held_fds;
mod launch;
mod oom;
mod pending_readers;
mod slow_calls;
mod streams;

use checkpoint::Dump;
pub use context::{Ctx, Outcome};
use oom::OomWatch;
use pending_readers::PendingReader;
use slow_calls::PidsRequest;
use streams::{Running, Streams};

/// How long children of a process may hold its streams when it is deleted.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a logging program may take to end when it is asked to.
const LOGGER_END: Duration = Duration::from_secs(12);

/// What a child of the shim does.
enum Work {
    /// `cleat create`
    Create(ProcessId),
    /// `cleat start`
    Start(ProcessId),
    /// `cleat exec`
    Exec(ProcessId),
    /// `cleat restore`
    Restore(ProcessId),
    /// `cleat checkpoint`
    Checkpoint(Dump),
    /// `cleat delete`, where that may take long.
    Remove(ProcessId),
    /// `cleat ps`, where that may take long.
    List(PidsRequest, File),
    /// A logging program.
    Log(ProcessId),
}

/// What happens at some time.
enum Timer {
    /// Stop waiting for the output of a process. The number is that of its streams: another process may have the
    /// same id by then.
    Drain(ProcessId, u64),
    /// Look again whether the fifos of an init are empty.
    Fifos(ProcessId, u64),
    /// A logging program has not become ready.
    LoggerReady(ProcessId, u64),
    /// A logging program has not ended.
    LoggerEnd(i32),
}

/// A container.
struct ContainerEntry {
    bundle: PathBuf,
    options: Options,
    /// It is restored when it is started.
    from_checkpoint: bool,
    /// While the container is being created.
    mounted: Option<MountGuard>,
}

/// All that the shim has open and under way.
pub struct Driver {
    namespace: String,
    debug: bool,
    containers: BTreeMap<String, ContainerEntry>,
    streams: BTreeMap<ProcessId, Streams>,
    /// Descriptors held for all containers but the first.
    fd_store: Option<FdStore>,
    work: BTreeMap<i32, Work>,
    pumps: BTreeMap<u64, Running>,
    timers: BTreeMap<(Instant, u64), Timer>,
    last_number: u64,
    oom_inotify: Option<Inotify>,
    oom_watches: Vec<OomWatch>,
    fifo_inotify: Option<Inotify>,
    pending_readers: Vec<PendingReader>,
}

impl Driver {
    /// Without containers.
    pub fn new(args: &Args) -> Driver {
        Driver {
            namespace: args.namespace.clone(),
            debug: args.debug,
            containers: BTreeMap::new(),
            streams: BTreeMap::new(),
            fd_store: None,
            work: BTreeMap::new(),
            pumps: BTreeMap::new(),
            timers: BTreeMap::new(),
            last_number: 0,
            oom_inotify: None,
            oom_watches: Vec::new(),
            fifo_inotify: None,
            pending_readers: Vec::new(),
        }
    }

    /// When `tick` is to be called.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn after(&mut self, delay: Duration, timer: Timer) {
        let key = (Instant::now() + delay, self.new_number());
        self.timers.insert(key, timer);
    }

    /// Runs the timers that are due.
    pub fn tick(&mut self, now: Instant, ctx: &mut Ctx) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Timer::Drain(who, number) => {
                    if self.streams.get(&who).is_some_and(|streams| streams.number == number && streams.draining) {
                        self.stop_pumps(&who, ctx);
                        self.drained(&who, ctx);
                    }
                }
                Timer::Fifos(who, number) => {
                    if self.streams.get(&who).is_some_and(|streams| streams.number == number) {
                        self.check_fifos(&who, ctx);
                    }
                }
                Timer::LoggerReady(who, number) => self.logger_is_late(&who, number, ctx),
                Timer::LoggerEnd(pid) => signal(pid, nix::libc::SIGKILL),
            }
        }
    }

    fn shell<'a>(&self, options: &Options, warn: &'a dyn Fn(&str)) -> Shell<'a> {
        let store = Store::new(bundle::state_root(options, &self.namespace));
        Shell {
            store,
            warn,
            report: warn,
            debug: None,
            inherited: &[],
            rootless: cleat::cli::Rootless::Auto,
            manager: CgroupManager::systemd_if(options.systemd_cgroup),
        }
    }

    /// Calls the library for a container.
    fn with<T>(&self, id: &str, act: impl FnOnce(&Shell<'_>) -> Result<T>) -> Result<T> {
        let entry = self.containers.get(id);
        let entry = entry.ok_or_else(|| Error::of(Kind::NoContainer, format!("container does not exist: {id}")))?;
        let warn = |text: &str| log("warning", &format!("{id}: {text}"));
        act(&self.shell(&entry.options, &warn))
    }

    fn container(&self, id: &str) -> Result<Container> {
        self.with(id, |shell| shell.store.open(id))
    }

    /// Performs an effect.
    pub fn perform(&mut self, effect: Effect, ctx: &mut Ctx) {
        match effect {
            // The event loop's.
            Effect::Answer(..) | Effect::Publish(_) | Effect::Shutdown => {}
            Effect::Create(id, spec) => self.create(&ProcessId::init(&id), *spec, ctx),
            Effect::StartInit(id) => self.start(&id, ctx),
            Effect::RestoreInit(id) => self.restore(&id, ctx),
            Effect::Checkpoint(id, spec) => self.checkpoint(id, *spec, ctx),
            Effect::StartExec(who, spec) => self.exec(&who, *spec, ctx),
            Effect::RecordExit(who, pid, exit) => {
                self.catch_up(&who, ctx);
                let Some(entry) = self.containers.get(&who.container) else { return };
                if let Err(error) = bundle::record_exit(&entry.bundle, &who.exec, pid, exit) {
                    log("error", &error.to_string());
                }
            }
            Effect::DrainFifos(id) => self.drain_fifos(&ProcessId::init(&id), ctx),
            Effect::Drain(who) => {
                self.streams.entry(who.clone()).or_default().draining = true;
                self.check_drained(&who, ctx);
            }
            Effect::DrainDeadline(who) => {
                let number = self.streams.get(&who).map_or(0, |streams| streams.number);
                self.after(DRAIN, Timer::Drain(who, number));
            }
            Effect::KillAll(id) => {
                match self.container(&id).and_then(|container| commands::delete::kill_all(&container)) {
                    Ok(()) => {}
                    // A checkpoint has ended and deleted it.
                    Err(error) if error.kind() == Kind::NoContainer => {}
                    Err(error) => log("error", &error.to_string()),
                }
            }
            Effect::Signal(ticket, id, kill) => {
                let signal = kill.signal.to_string();
                let done = self.with(&id, |shell| commands::kill::kill(shell, &id, &signal, kill.all));
                let done = done.map_err(|error| match error.kind() {
                    Kind::NotRunning => Failure::new(Code::NotFound, "process already finished"),
                    _ => error.into(),
                });
                ctx.answer(ticket, done.map(|()| Vec::new()));
            }
            Effect::SignalExec(ticket, pid, number) => {
                ctx.answer(ticket, signal_exec(pid, number).map(|()| Vec::new()));
            }
            Effect::Freeze(ticket, id, freeze) => {
                let done = self.with(&id, |shell| match freeze {
                    true => commands::pause::pause(shell, &id),
                    false => commands::pause::resume(shell, &id),
                });
                ctx.event(Input::Frozen(ticket, id, freeze, done.map_err(Failure::from)));
            }
            Effect::Pids(ticket, id, named) => self.pids(PidsRequest { ticket, id, named }, ctx),
            Effect::Update(ticket, id, resources) => {
                let done = self.with(&id, |shell| commands::update::update_with(shell, &id, &resources));
                ctx.answer(ticket, done.map(|()| Vec::new()).map_err(Failure::from));
            }
            Effect::Stats(ticket, id, pid) => ctx.answer(ticket, self.stats(&id, pid)),
            Effect::Resize(who, width, height) => self.resize(&who, width, height),
            Effect::CloseStdin(who) => {
                if let Some(streams) = self.streams.get_mut(&who) {
                    streams.stdin.release(&mut self.fd_store);
                }
            }
            Effect::Remove(id) => self.remove(&id, ctx),
            Effect::ReleaseStreams(who) => self.release(&who, ctx),
        }
    }

    fn resize(&self, who: &ProcessId, width: u16, height: u16) {
        let size = nix::libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        if let Some(console) = self.streams.get(who).and_then(|streams| streams.console.as_ref()) {
            let _ = cleat::sys::set_window_size(console.as_fd(), &size);
        }
    }

    /// A command of the runtime, up to the options that come before its name.
    fn runtime(&self, entry: &ContainerEntry, log: &Path) -> Command {
        let options = &entry.options;
        let mut command = Command::new(runtime_path(options));
        command.arg("--root").arg(bundle::state_root(options, &self.namespace));
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        if self.debug {
            command.arg("--debug");
        }
        if options.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        // Those of containerd's service manager concern no container.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Spawns the runtime in the bundle, as the Go shim does: wrappers of a runtime read `./config.json`.
    fn spawn_in_bundle(&self, id: &str, command: &mut Command) -> Result<Child> {
        let entry = self.containers.get(id);
        let entry = entry.ok_or_else(|| Error::of(Kind::NoContainer, format!("container does not exist: {id}")))?;
        let dir = &entry.bundle;
        // With `Command::current_dir` the standard library would fork all of the shim.
        nix::unistd::chdir(dir).context(format_args!("chdir {}", dir.display()))?;
        let child = command.spawn();
        // The bundle must not be kept busy.
        nix::unistd::chdir("/").context("chdir /")?;
        child.context(format_args!("execute {}", command.get_program().to_string_lossy()))
    }

    /// A child has ended. False: the shim did not spawn it.
    pub fn ended(&mut self, pid: i32, status: u8, ctx: &mut Ctx) -> bool {
        let Some(work) = self.work.remove(&pid) else { return false };
        match work {
            Work::Create(who) => self.create_ended(who, status, ctx),
            Work::Exec(who) => self.exec_ended(who, status, ctx),
            Work::Restore(who) => self.restore_ended(who, status, ctx),
            Work::Checkpoint(dump) => self.checkpoint_ended(dump, status, ctx),
            Work::Start(who) => {
                let failed = |error| Failure::new(Code::Unknown, format!("OCI runtime start failed: {error}"));
                let outcome = self.outcome(&who.container, "log.json", status).map_err(failed);
                ctx.event(Input::Started(who, outcome));
            }
            Work::Remove(who) => {
                let outcome = self.outcome(&who.container, "log.json", status);
                self.removed(&who.container, outcome, ctx);
            }
            Work::List(request, list) => self.listed(&request, list, status, ctx),
            Work::Log(who) => {
                // Its pid is free, and not to be killed.
                self.timers.retain(|_, timer| !matches!(timer, Timer::LoggerEnd(logger) if *logger == pid));
                // Another process may have the same id since.
                if let Some(streams) = self.streams.get_mut(&who).filter(|streams| streams.logger == Some(pid)) {
                    streams.logger = None;
                    self.check_drained(&who, ctx);
                }
            }
        }
        true
    }

    /// Whether the runtime succeeded; if not, the error that it logged.
    fn outcome(&self, id: &str, log: &str, status: u8) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        let entry = self.containers.get(id);
        let logged = entry.and_then(|entry| bundle::last_error(&entry.bundle.join(log)));
        Err(Error::new(logged.unwrap_or_else(|| {
            let program = entry.map_or_else(|| "cleat".into(), |entry| runtime_path(&entry.options));
            let what = format!("{} ended with status {status} and logged no error", program.display());
            // Another runtime does not know cleat's options, and what it prints goes to the container's streams.
            let named = entry.is_some_and(|entry| !entry.options.binary_name.is_empty());
            if named { format!("{what}; BinaryName must be cleat, or a program that executes it") } else { what }
        })))
    }

    fn release(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        self.stop_pumps(who, ctx);
        self.drop_pending_readers(who);
        if let Some(mut streams) = self.streams.remove(who) {
            streams.release(&mut self.fd_store);
            if let Some(pending) = streams.pending_spawn {
                ctx.epoll.remove(&pending.ready, pending.token);
            }
            if let Some(logger) = streams.logger {
                signal(logger, nix::libc::SIGTERM);
                self.after(LOGGER_END, Timer::LoggerEnd(logger));
            }
        }
        if who.is_init() {
            self.containers.remove(&who.container);
            self.unwatch_oom(&who.container);
        } else if let Some(entry) = self.containers.get(&who.container) {
            bundle::remove_exit(&entry.bundle, &who.exec);
            let _ = std::fs::remove_file(bundle::exec_file(&entry.bundle, &who.exec, "pid"));
        }
    }

    /// The shim ends: kills logging programs that were asked to end and have not.
    pub fn end(&mut self) {
        for timer in std::mem::take(&mut self.timers).into_values() {
            if let Timer::LoggerEnd(pid) = timer {
                signal(pid, nix::libc::SIGKILL);
            }
        }
    }

    fn stats(&self, id: &str, pid: Option<u32>) -> Answer {
        let container = self.container(id)?;
        let cgroup = container
            .cgroup()
            .ok_or_else(|| Failure::new(Code::NotFound, format!("container {id} has no cgroup, which measures")))?;
        let stats = Any::of("io.containerd.cgroups.v2.Metrics", &metrics::read(&cgroup, pid));
        Ok(StatsResponse { stats: Some(stats) }.encode_to_vec())
    }
}

/// The runtime: what the options say, else the `cleat` in the shim's directory, else that of `PATH`.
fn runtime_path(options: &Options) -> PathBuf {
    if !options.binary_name.is_empty() {
        return options.binary_name.clone().into();
    }
    let neighbour = std::env::current_exe().ok().map(|exe| exe.with_file_name("cleat"));
    neighbour.filter(|path| path.exists()).unwrap_or_else(|| "cleat".into())
}

fn pid_of(child: &std::process::Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(-1)
}

/// Signals a child that has not been reaped: its pid is its own.
fn signal(pid: i32, number: i32) {
    if let Ok(pidfd) = cleat::sys::pidfd_open(pid) {
        let _ = cleat::sys::pidfd_send_signal(pidfd.as_fd(), number);
    }
}

fn signal_exec(pid: u32, number: u32) -> std::result::Result<(), Failure> {
    let gone = |_| Failure::new(Code::NotFound, "process already finished");
    let wrong = || Failure::new(Code::InvalidArgument, format!("unknown signal {number}; it is from 0 to 64"));
    let number = i32::try_from(number).ok().filter(|number| *number <= 64).ok_or_else(wrong)?;
    let pidfd = cleat::sys::pidfd_open(i32::try_from(pid).unwrap_or(-1)).map_err(gone)?;
    cleat::sys::pidfd_send_signal(pidfd.as_fd(), number).map_err(gone)
}

/// Writes to containerd's log.
pub fn log(level: &str, text: &str) {
    use std::io::Write;
    // Without a reader the fifo is full some time.
    let _ = writeln!(std::io::stderr(), "level={level} msg={text:?}");
}
