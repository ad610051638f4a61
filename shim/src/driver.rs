//! How is it done what follows?
//!
//! Births and starts are processes of `cleat`, as many at a time as are asked for; everything else
//! happens here and now, by the library. Runs as root in the host's namespaces.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cleat::commands::{self, Shell};
use cleat::container::{Container, Store};
use cleat::error::{Context, Error, Kind, Result};
use cleat::plan::host::CgroupManager;
use cleat::sys::child;
use nix::sys::inotify::Inotify;
use prost::Message;

use crate::args::Args;
use crate::messages::{Any, CreateRequest, Options, StatsResponse};
use crate::rootfs::Mounted;
use crate::shelf::Shelf;
use crate::task::{Birth, Effect, ExecSpec, Input, Stdio as Names, Who};
use crate::ttrpc::{Code, Failure};
use crate::watch::{Source, Watch};
use crate::{bundle, metrics, options, rootfs};

mod apart;
mod flush;
mod held;
mod kills;
mod late;
mod streams;

use apart::Question;
use kills::Watched;
use late::Late;
use streams::{Running, Streams, console_socket};

/// How long children of a process may keep its streams when it is deleted.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a logging program may take to say that it is ready.
const READY: Duration = Duration::from_secs(10);
/// How long it may take to end when it is asked to.
const LOGGER_END: Duration = Duration::from_secs(12);

/// What came of it.
pub enum Outcome {
    /// Something happened.
    Happened(Input),
    /// Something else is to be done.
    Do(Effect),
}

type Outcomes = VecDeque<Outcome>;

/// What a child process of ours does.
enum Work {
    /// Makes a container.
    Create(Who),
    /// Lets it start.
    Start(Who),
    /// Makes another process.
    Exec(Who),
    /// Removes a container, which may take long.
    Remove(Who),
    /// Lists the processes of one, which may take long.
    List(Question, File),
    /// Takes what a process writes.
    Log(Who),
}

/// What is to happen at some time.
enum Timer {
    /// Nobody waits for a process's output any more. The number is that of its streams: its name may
    /// be another's by then.
    Drain(Who, u64),
    /// Whether an init's readers have taken more.
    Flush(Who, u64),
    /// A logging program has not become ready.
    Ready(Who, u64),
    /// A logging program has not ended.
    Logger(i32),
}

/// A container.
struct Place {
    bundle: PathBuf,
    options: Options,
    /// Of a container that is being made.
    mounted: Option<Mounted>,
}

/// All that this process has open and in hand.
pub struct Driver {
    namespace: String,
    debug: bool,
    places: BTreeMap<String, Place>,
    streams: BTreeMap<Who, Streams>,
    /// For what is held for other containers than the first one.
    shelf: Option<Shelf>,
    work: BTreeMap<i32, Work>,
    pumps: BTreeMap<u64, Running>,
    timers: BTreeMap<(Instant, u64), Timer>,
    last: u64,
    kills: Option<Inotify>,
    watched: Vec<Watched>,
    opened: Option<Inotify>,
    late: Vec<Late>,
}

impl Driver {
    /// Nothing in hand yet.
    pub fn new(args: &Args) -> Driver {
        Driver {
            namespace: args.namespace.clone(),
            debug: args.debug,
            places: BTreeMap::new(),
            streams: BTreeMap::new(),
            shelf: None,
            work: BTreeMap::new(),
            pumps: BTreeMap::new(),
            timers: BTreeMap::new(),
            last: 0,
            kills: None,
            watched: Vec::new(),
            opened: None,
            late: Vec::new(),
        }
    }

    /// When `tick` wants to be called.
    pub fn next(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn after(&mut self, delay: Duration, timer: Timer) {
        let key = (Instant::now() + delay, self.number());
        self.timers.insert(key, timer);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant, watch: &mut Watch, outcomes: &mut Outcomes) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Timer::Drain(who, number) => {
                    if self.streams.get(&who).is_some_and(|streams| streams.number == number && streams.draining) {
                        self.stop_pumps(&who, watch);
                        self.drained(&who, outcomes);
                    }
                }
                Timer::Flush(who, number) => {
                    if self.streams.get(&who).is_some_and(|streams| streams.number == number) {
                        self.check_flushed(&who, watch, outcomes);
                    }
                }
                Timer::Ready(who, number) => {
                    let streams = self.streams.get_mut(&who).filter(|streams| streams.number == number);
                    if let Some((_, is_init, fd, token)) = streams.and_then(|streams| streams.waiting.take()) {
                        watch.remove(&fd, token);
                        let text = "the logging program does not say that it is ready: it closes descriptor 5 then";
                        let failure = Failure::new(Code::Unknown, text);
                        self.unborn(&who, is_init, failure, outcomes);
                    }
                }
                Timer::Logger(pid) => signal(pid, nix::libc::SIGKILL),
            }
        }
    }

    fn shell<'a>(&self, options: &Options, warn: &'a dyn Fn(&str)) -> Shell<'a> {
        let store = Store::new(bundle::state_root(options, &self.namespace));
        Shell {
            store,
            warn,
            debug: None,
            inherited: 0,
            rootless: None,
            manager: CgroupManager::systemd_if(options.systemd_cgroup),
        }
    }

    /// With a container of ours.
    fn with<T>(&self, id: &str, act: impl FnOnce(&Shell<'_>) -> Result<T>) -> Result<T> {
        let place = self.places.get(id);
        let place = place.ok_or_else(|| Error::of(Kind::NoContainer, format!("container does not exist: {id}")))?;
        let warn = |text: &str| log("warning", &format!("{id}: {text}"));
        act(&self.shell(&place.options, &warn))
    }

    fn container(&self, id: &str) -> Result<Container> {
        self.with(id, |shell| shell.store.open(id))
    }

    /// Does one thing.
    pub fn perform(&mut self, effect: Effect, watch: &mut Watch, outcomes: &mut Outcomes) {
        let answer =
            |ticket, outcome: std::result::Result<Vec<u8>, Failure>| Outcome::Do(Effect::Answer(ticket, outcome));
        match effect {
            // Not ours.
            Effect::Answer(..) | Effect::Publish(_) | Effect::Shutdown => {}
            Effect::Create(request) => self.create(&request, watch, outcomes),
            Effect::StartInit(id) => self.start(&id, outcomes),
            Effect::StartExec(who, spec) => self.exec(&who, &spec, watch, outcomes),
            Effect::Record(who, pid, exit) => {
                self.catch_up(&who, watch, outcomes);
                let Some(place) = self.places.get(&who.id) else { return };
                if let Err(error) = bundle::record_exit(&place.bundle, &who.exec, pid, exit) {
                    log("error", &error.to_string());
                }
            }
            Effect::Flush(id) => self.flush(&Who::init(&id), watch, outcomes),
            Effect::Drain(who) => {
                self.streams.entry(who.clone()).or_default().draining = true;
                self.check_drained(&who, outcomes);
            }
            Effect::Hurry(who) => {
                let number = self.streams.get(&who).map_or(0, |streams| streams.number);
                self.after(DRAIN, Timer::Drain(who, number));
            }
            Effect::KillAll(id) => {
                let killed = self.container(&id).and_then(|container| commands::delete::kill_all(&container));
                killed.unwrap_or_else(|error| log("error", &error.to_string()));
            }
            Effect::Signal(ticket, request) => {
                let signal = request.signal.to_string();
                let done =
                    self.with(&request.id, |shell| commands::kill::kill(shell, &request.id, &signal, request.all));
                let done = done.map_err(|error| match error.kind() {
                    Kind::NotRunning => Failure::new(Code::NotFound, "process already finished"),
                    _ => error.into(),
                });
                outcomes.push_back(answer(ticket, done.map(|()| Vec::new())));
            }
            Effect::SignalExec(ticket, pid, number) => {
                outcomes.push_back(answer(ticket, signal_exec(pid, number).map(|()| Vec::new())));
            }
            Effect::Freeze(ticket, id, freeze) => {
                let done = self.with(&id, |shell| match freeze {
                    true => commands::pause::pause(shell, &id),
                    false => commands::pause::resume(shell, &id),
                });
                outcomes.push_back(Outcome::Happened(Input::Frozen(ticket, id, freeze, done.map_err(Failure::from))));
            }
            Effect::Pids(ticket, id, named) => self.pids(Question { ticket, id, named }, outcomes),
            Effect::Update(ticket, id, resources) => {
                let done = self.with(&id, |shell| commands::update::update_with(shell, &id, &resources));
                outcomes.push_back(answer(ticket, done.map(|()| Vec::new()).map_err(Failure::from)));
            }
            Effect::Stats(ticket, id) => outcomes.push_back(answer(ticket, self.stats(&id))),
            Effect::Resize(who, width, height) => {
                let size = nix::libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
                if let Some(console) = self.streams.get(&who).and_then(|streams| streams.console.as_ref()) {
                    let _ = cleat::sys::set_window_size(console.as_fd(), &size);
                }
            }
            Effect::CloseStdin(who) => {
                if let Some(streams) = self.streams.get_mut(&who) {
                    streams.stdin.release(&mut self.shelf);
                }
            }
            Effect::Remove(id) => self.remove(&id, outcomes),
            Effect::Forget(who) => self.forget(&who, watch),
        }
    }

    fn create(&mut self, request: &CreateRequest, watch: &mut Watch, outcomes: &mut Outcomes) {
        let who = Who::init(&request.id);
        let outcome = self.try_create(&who, request, watch);
        if let Err(error) = outcome {
            self.unborn(&who, true, error.into(), outcomes);
        }
    }

    fn try_create(&mut self, who: &Who, request: &CreateRequest, watch: &mut Watch) -> Result<()> {
        let options = match &request.options {
            Some(any) => match options::read(any)? {
                None if !any.value.is_empty() => {
                    let text = format!("options: unknown type {}; use containerd.runc.v1.Options", any.type_url);
                    return Err(Error::new(text));
                }
                read => read.unwrap_or_default(),
            },
            None => Options::default(),
        };
        let dir = Path::new(&request.bundle);
        if !dir.is_absolute() {
            return Err(Error::new(format!("bundle {:?}: must be absolute", request.bundle)));
        }
        bundle::keep_options(dir, &options)?;
        // Of another task, which was here before.
        bundle::forget_exit(dir, "");
        let mounted = rootfs::mount(&request.rootfs, &dir.join("rootfs"))?;
        let mut command = self.cleat(&options, &dir.join("log.json"));
        // Nothing may be made after whoever removes it has looked.
        child::die_with_parent(&mut command);
        command.arg("create").arg("--bundle").arg(dir).arg("--pid-file").arg(dir.join("init.pid"));
        // containerd has made them for this container alone.
        command.arg("--give-fifos");
        if options.no_pivot_root {
            command.arg("--no-pivot");
        }
        if options.no_new_keyring {
            command.arg("--no-new-keyring");
        }
        self.places.insert(who.id.clone(), Place { bundle: dir.into(), options, mounted: Some(mounted) });
        let names = Names {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        self.bear(who, command, names, watch)
    }

    fn exec(&mut self, who: &Who, spec: &ExecSpec, watch: &mut Watch, outcomes: &mut Outcomes) {
        let outcome = self.try_exec(who, spec, watch);
        if let Err(error) = outcome {
            self.unborn(who, false, error.into(), outcomes);
        }
    }

    fn try_exec(&mut self, who: &Who, spec: &ExecSpec, watch: &mut Watch) -> Result<()> {
        let place = self.places.get(&who.id).ok_or_else(|| Error::new(format!("no bundle of {}", who.id)))?;
        let file = |suffix: &str| bundle::exec_file(&place.bundle, &who.exec, suffix);
        cleat::container::write_atomically(&file("process.json"), &spec.process, 0o600)?;
        let mut command = self.cleat(&place.options, &file("log.json"));
        command
            .args(["exec", "--detach", "--give-fifos", "--process"])
            .arg(file("process.json"))
            .arg("--pid-file")
            .arg(file("pid"));
        self.bear(who, command, spec.stdio.clone(), watch)
    }

    /// `cleat` with the options that come before the command's name.
    fn cleat(&self, options: &Options, log: &Path) -> Command {
        let mut command = Command::new(runtime(options));
        command.arg("--root").arg(bundle::state_root(options, &self.namespace));
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        if self.debug {
            command.arg("--debug");
        }
        if options.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        // Of whoever started containerd: no container's business.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Opens the streams and has the process born.
    fn bear(&mut self, who: &Who, mut command: Command, names: Names, watch: &mut Watch) -> Result<()> {
        let is_init = who.exec.is_empty();
        let terminal = names.terminal;
        let number = self.number();
        let mut streams = Streams { number, names, ..Streams::default() };
        let place = self.places.get(&who.id).ok_or_else(|| Error::new(format!("no bundle of {}", who.id)))?;
        let (dir, uid, gid) = (place.bundle.clone(), place.options.io_uid, place.options.io_gid);
        if terminal {
            let (socket, name) = console_socket(&dir, who)?;
            command.arg("--console-socket").arg(name).current_dir(&dir);
            streams.console_socket = Some(socket);
        } else {
            self.connect(who, &mut streams, &mut command, (uid, gid), watch)?;
        }
        command.arg(&who.id);
        let waits = streams.waiting.take();
        self.streams.insert(who.clone(), streams);
        if let Some((_, _, ready, _)) = waits {
            let token = watch.read(&ready, Source::Ready(who.clone())).context("epoll_ctl")?;
            if let Some(streams) = self.streams.get_mut(who) {
                streams.waiting = Some((command, is_init, ready, token));
            }
            self.after(READY, Timer::Ready(who.clone(), number));
            return Ok(());
        }
        self.spawn(who, &mut command, is_init)
    }

    fn spawn(&mut self, who: &Who, command: &mut Command, is_init: bool) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().context(format_args!("execute {program}"))?;
        let work = if is_init { Work::Create(who.clone()) } else { Work::Exec(who.clone()) };
        self.work.insert(pid_of(&child), work);
        // The only container of a server has no use for it.
        if is_init && self.places.len() > 1 {
            self.put_away(who);
        }
        Ok(())
    }

    /// A logging program is ready, or has ended.
    pub fn ready(&mut self, who: &Who, watch: &mut Watch, outcomes: &mut Outcomes) {
        let Some((mut command, is_init, fd, token)) = self.streams.get_mut(who).and_then(|s| s.waiting.take()) else {
            return;
        };
        watch.remove(&fd, token);
        if let Err(error) = self.spawn(who, &mut command, is_init) {
            self.unborn(who, is_init, error.into(), outcomes);
        }
    }

    /// It came to nothing; what was opened for it is closed.
    fn unborn(&mut self, who: &Who, is_init: bool, failure: Failure, outcomes: &mut Outcomes) {
        if is_init {
            self.places.remove(&who.id);
        }
        outcomes.push_back(Outcome::Happened(Input::Born(who.clone(), Err(failure))));
    }

    fn start(&mut self, id: &str, outcomes: &mut Outcomes) {
        let who = Who::init(id);
        let Some(place) = self.places.get(id) else { return };
        let mut command = self.cleat(&place.options, &place.bundle.join("log.json"));
        match command.arg("start").arg(id).spawn().context("execute cleat start") {
            Ok(child) => drop(self.work.insert(pid_of(&child), Work::Start(who))),
            Err(error) => outcomes.push_back(Outcome::Happened(Input::Started(who, Err(error.into())))),
        }
    }

    /// A child has ended. False: it is none that does our work.
    pub fn ended(&mut self, pid: i32, status: u8, watch: &mut Watch, outcomes: &mut Outcomes) -> bool {
        let Some(work) = self.work.remove(&pid) else { return false };
        match work {
            Work::Create(who) => {
                let born = self.created(&who, status, watch);
                match born {
                    Ok(birth) => outcomes.push_back(Outcome::Happened(Input::Born(who, Ok(birth)))),
                    Err(error) => {
                        if status == 0 {
                            self.undo(&who.id);
                        }
                        let text = format!("OCI runtime create failed: {error}");
                        self.unborn(&who, true, Failure::new(Code::Unknown, text), outcomes);
                    }
                }
            }
            Work::Exec(who) => {
                let born = self.executed(&who, status, watch);
                let born =
                    born.map_err(|error| Failure::new(Code::Unknown, format!("OCI runtime exec failed: {error}")));
                outcomes.push_back(Outcome::Happened(Input::Born(who, born)));
            }
            Work::Start(who) => {
                let failed = |error| Failure::new(Code::Unknown, format!("OCI runtime start failed: {error}"));
                let outcome = self.outcome(&who.id, "log.json", status).map_err(failed);
                outcomes.push_back(Outcome::Happened(Input::Started(who, outcome)));
            }
            Work::Remove(who) => {
                let outcome = self.outcome(&who.id, "log.json", status);
                self.removed(&who.id, outcome, outcomes);
            }
            Work::List(question, list) => self.listed(&question, list, status, outcomes),
            Work::Log(who) => {
                // Its pid is free, and not to be killed.
                self.timers.retain(|_, timer| !matches!(timer, Timer::Logger(logger) if *logger == pid));
                // Another one may have its process's name by now.
                if let Some(streams) = self.streams.get_mut(&who).filter(|streams| streams.logger == Some(pid)) {
                    streams.logger = None;
                    self.check_drained(&who, outcomes);
                }
            }
        }
        true
    }

    /// What `cleat` says of its failure.
    fn outcome(&self, id: &str, log: &str, status: u8) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        let told = self.places.get(id).and_then(|place| bundle::last_error(&place.bundle.join(log)));
        Err(Error::new(told.unwrap_or_else(|| format!("cleat ended with status {status} and no word"))))
    }

    /// Into containerd's log: what a process does without although it was asked for.
    fn pass_warnings_on(&self, id: &str, log_file: &str) {
        let Some(place) = self.places.get(id) else { return };
        for text in bundle::messages(&place.bundle.join(log_file), "warning") {
            log("warning", &format!("{id}: {text}"));
        }
    }

    fn created(&mut self, who: &Who, status: u8, watch: &mut Watch) -> Result<Birth> {
        self.outcome(&who.id, "log.json", status)?;
        self.pass_warnings_on(&who.id, "log.json");
        let place = self.places.get_mut(&who.id).ok_or_else(|| Error::new("the container was forgotten"))?;
        let file = place.bundle.join("init.pid");
        let pid = bundle::pid(&file).ok_or_else(|| Error::new(format!("{}: no pid in it", file.display())))?;
        place.mounted.take().into_iter().for_each(Mounted::keep);
        let container = self.container(&who.id)?;
        self.watch_kills(&who.id, &container, watch);
        self.take_console(who, watch)?;
        Ok(Birth { pid, gone: is_gone(pid), shares_pids: !container.record.ends_with_init() })
    }

    /// Removes a container that was made, and cannot be used.
    fn undo(&mut self, id: &str) {
        let undone = self.with(id, |shell| commands::delete::delete(shell, id, true));
        let unmounted = self.places.get(id).map_or(Ok(()), |place| rootfs::unmount(&place.bundle.join("rootfs")));
        for error in [undone, unmounted].into_iter().filter_map(Result::err) {
            log("error", &format!("{id}: {error}"));
        }
    }

    fn executed(&mut self, who: &Who, status: u8, watch: &mut Watch) -> Result<Birth> {
        let file = bundle::exec_name(&who.exec, "log.json");
        let outcome = self.outcome(&who.id, &file, status);
        self.pass_warnings_on(&who.id, &file);
        let place = self.places.get(&who.id).ok_or_else(|| Error::new("the container was forgotten"))?;
        for suffix in ["process.json", "log.json"] {
            let _ = std::fs::remove_file(bundle::exec_file(&place.bundle, &who.exec, suffix));
        }
        outcome?;
        let file = bundle::exec_file(&place.bundle, &who.exec, "pid");
        let pid = bundle::pid(&file).ok_or_else(|| Error::new(format!("{}: no pid in it", file.display())))?;
        self.take_console(who, watch)?;
        Ok(Birth { pid, gone: is_gone(pid), shares_pids: false })
    }

    fn forget(&mut self, who: &Who, watch: &mut Watch) {
        self.stop_pumps(who, watch);
        self.forget_late(who);
        if let Some(mut streams) = self.streams.remove(who) {
            streams.release(&mut self.shelf);
            if let Some((_, _, fd, token)) = streams.waiting {
                watch.remove(&fd, token);
            }
            if let Some(logger) = streams.logger {
                signal(logger, nix::libc::SIGTERM);
                self.after(LOGGER_END, Timer::Logger(logger));
            }
        }
        if who.exec.is_empty() {
            self.places.remove(&who.id);
            // The kernel does not end the watch of a cgroup's file by itself.
            let (gone, watched) =
                std::mem::take(&mut self.watched).into_iter().partition(|watched| watched.id == who.id);
            self.watched = watched;
            let gone: Vec<Watched> = gone;
            for watched in gone {
                let _ = self.kills.as_ref().map(|kills| kills.rm_watch(watched.descriptor));
            }
        } else if let Some(place) = self.places.get(&who.id) {
            bundle::forget_exit(&place.bundle, &who.exec);
            let _ = std::fs::remove_file(bundle::exec_file(&place.bundle, &who.exec, "pid"));
        }
    }

    /// The end: a logging program that was asked to end, and has not, is killed.
    pub fn end(&mut self) {
        for timer in std::mem::take(&mut self.timers).into_values() {
            if let Timer::Logger(pid) = timer {
                signal(pid, nix::libc::SIGKILL);
            }
        }
    }

    fn stats(&self, id: &str) -> std::result::Result<Vec<u8>, Failure> {
        let container = self.container(id)?;
        let cgroup = container
            .cgroup()
            .ok_or_else(|| Failure::new(Code::NotFound, format!("container {id} has no cgroup, which measures")))?;
        let stats = Any::of("io.containerd.cgroups.v2.Metrics", &metrics::read(&cgroup));
        Ok(StatsResponse { stats: Some(stats) }.encode_to_vec())
    }
}

/// The runtime: what the options say, else the one beside us, else that of `PATH`.
fn runtime(options: &Options) -> PathBuf {
    if !options.binary_name.is_empty() {
        return options.binary_name.clone().into();
    }
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("cleat"));
    beside.filter(|path| path.exists()).unwrap_or_else(|| "cleat".into())
}

/// A process that was born became our child when `cleat` ended.
fn is_gone(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| !child::is_child(pid))
}

fn pid_of(child: &std::process::Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(-1)
}

/// Signals a child of ours that has not been reaped: its pid is its own.
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
    // Nobody may read it: then it is full some time.
    let _ = writeln!(std::io::stderr(), "level={level} msg={text:?}");
}
