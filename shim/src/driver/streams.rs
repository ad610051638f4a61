//! Which streams has a process, and who carries what flows through them?

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cleat::error::{Context, Error, Result};
use cleat::sys::child;
use nix::fcntl::OFlag;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};

use crate::epoll::{Source, Token, Watch};
use crate::pump::{How, Pump, Wants};
use crate::stdio::{self, Kind, Target};
use crate::task::{Input, Stdio as Names, Who};

use super::held_fds::Held;
use super::{Driver, Outcome, Outcomes, Work, pid_of};

/// Most bytes of a message of the console's socket.
const PACKET: usize = 4096;

/// The streams of a process.
#[derive(Default)]
pub(super) struct Streams {
    /// No others have it.
    pub(super) number: u64,
    pub(super) names: Names,
    /// Read ends of the fifos that its init writes to, or that were written to.
    pub(super) held: Held,
    /// Read ends of a logging program's pipes.
    pub(super) pipes: Held,
    /// The write end of its standard input, until CloseIO.
    pub(super) stdin: Held,
    /// Its end is not told until its readers have read, or that time; how long it is to the next look.
    pub(super) flush: Option<(Instant, Duration)>,
    /// The terminal.
    pub(super) console: Option<OwnedFd>,
    /// Where the terminal comes from.
    pub(super) console_socket: Option<ConsoleSocket>,
    /// Pumps that carry its output.
    pub(super) outputs: usize,
    pub(super) logger: Option<i32>,
    /// Its birth waits for the logging program.
    pub(super) waiting: Option<(Command, bool, OwnedFd, Token)>,
    /// The end of its output is waited for.
    pub(super) draining: bool,
}

/// The socket on which `cleat` gives us the terminal; its name goes with it.
pub(super) struct ConsoleSocket {
    pub(super) listener: OwnedFd,
    pub(super) path: PathBuf,
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A pump, what it is watched by, and whose it is.
pub(super) struct Running {
    pub(super) pump: Pump,
    pub(super) token: Option<(Token, Wants)>,
    pub(super) who: Who,
    pub(super) output: bool,
    /// The read end of the fifo that it writes to.
    pub(super) hold: Option<OwnedFd>,
}

impl Running {
    pub(super) fn unwatch(&mut self, watch: &mut Watch) {
        match self.token.take() {
            Some((token, Wants::Read)) => watch.remove(&self.pump.from, token),
            Some((token, _)) => watch.remove(&self.pump.to, token),
            None => {}
        }
    }
}

impl Driver {
    /// Streams without a terminal.
    pub(super) fn connect(
        &mut self,
        who: &Who,
        streams: &mut Streams,
        command: &mut Command,
        owner: (u32, u32),
        watch: &mut Watch,
    ) -> Result<()> {
        let names = streams.names.clone();
        if let Target::Fifo(path) = stdio::target(&names.stdin)? {
            let input = stdio::input(&path, false)?;
            streams.stdin.extend(input.hold);
            let read = match input.kind {
                Kind::Fifo | Kind::Null => input.read,
                other => self.feed(who, input.read, other, watch)?,
            };
            if input.kind != Kind::Null {
                stdio::give(&read, owner.0, owner.1);
            }
            command.stdin(read);
        }
        let (out, err) = (stdio::target(&names.stdout)?, stdio::target(&names.stderr)?);
        if let Target::Binary(program, arguments) = &out {
            return self.log_to(who, streams, command, program, arguments, owner);
        }
        let pumps = streams.outputs;
        let stdout = self.output(who, streams, &out, owner, watch)?;
        let stderr = match &stdout {
            // One pipe for both: what was written first comes first.
            Some(pipe) if out == err && streams.outputs > pumps => Some(pipe.try_clone().context("dup")?),
            _ => self.output(who, streams, &err, owner, watch)?,
        };
        command.stdout(stdio::stdio(stdout)).stderr(stdio::stdio(stderr));
        Ok(())
    }

    /// What a process reads that may not have the thing itself: a pipe.
    fn feed(&mut self, who: &Who, from: OwnedFd, kind: Kind, watch: &mut Watch) -> Result<OwnedFd> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        stdio::never_wait(&write)?;
        let how = if kind == Kind::File { How::ReadFile } else { How::Copy };
        self.run_pump(who, Pump::new(from, write, how), false, None, watch)?;
        Ok(read)
    }

    /// Where a process writes to.
    pub(super) fn output(
        &mut self,
        who: &Who,
        streams: &mut Streams,
        target: &Target,
        owner: (u32, u32),
        watch: &mut Watch,
    ) -> Result<Option<OwnedFd>> {
        let path = match target {
            Target::Null => return Ok(None),
            Target::File(path) | Target::Fifo(path) => path,
            Target::Binary(..) => return Err(Error::new("stdio: a logging program takes both streams or none")),
        };
        let direct = who.exec.is_empty();
        let output = stdio::output(path, !direct)?;
        if output.kind == Kind::Null {
            return Ok(Some(output.write));
        }
        if direct && output.kind == Kind::Fifo {
            streams.held.extend(output.hold);
            stdio::give(&output.write, owner.0, owner.1);
            return Ok(Some(output.write));
        }
        let (read, write) = stdio::pipe()?;
        stdio::give(&write, owner.0, owner.1);
        streams.outputs += 1;
        let how = carried(output.kind, How::Splice);
        self.run_pump(who, Pump::new(read, output.write, how), true, output.hold, watch)?;
        Ok(Some(write))
    }

    /// A program that takes what is written: it gets the pipes as 3 and 4, and closes 5 (or writes
    /// to it) when it is ready.
    pub(super) fn log_to(
        &mut self,
        who: &Who,
        streams: &mut Streams,
        command: &mut Command,
        program: &Path,
        arguments: &[String],
        owner: (u32, u32),
    ) -> Result<()> {
        let (out_read, out) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        let (err_read, err) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        let (ready, is_ready) = stdio::pipe()?;
        // Like a fifo's: should it end, nobody is told EPIPE.
        streams.pipes.extend([out_read.try_clone().context("dup")?, err_read.try_clone().context("dup")?]);
        stdio::give(&out, owner.0, owner.1);
        stdio::give(&err, owner.0, owner.1);
        let mut logger = Command::new(program);
        logger.args(arguments).env("CONTAINER_ID", &who.id).env("CONTAINER_NAMESPACE", &self.namespace);
        logger.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        child::pass_descriptors(&mut logger, vec![out_read, err_read, is_ready]);
        let child = logger.spawn().context(format_args!("execute {}", program.display()))?;
        streams.logger = Some(pid_of(&child));
        self.work.insert(pid_of(&child), Work::Log(who.clone()));
        command.stdout(out).stderr(err);
        // Filled in by the caller, who has the whole command.
        streams.waiting = Some((Command::new(""), true, ready, 0));
        Ok(())
    }

    /// The terminal that `cleat` has sent, and its two directions.
    pub(super) fn take_console(&mut self, who: &Who, watch: &mut Watch) -> Result<()> {
        let Some(streams) = self.streams.get_mut(who) else { return Ok(()) };
        let Some(socket) = streams.console_socket.take() else { return Ok(()) };
        let connection = child::accept(socket.listener.as_fd()).context("console socket: accept")?;
        let mut packet = [0u8; PACKET];
        let (_, fds) = cleat::sys::receive(connection.as_fd(), &mut packet).context("console socket: recvmsg")?;
        let master = fds.into_iter().next().ok_or_else(|| Error::new("console socket: no terminal came"))?;
        if !cleat::sys::is_terminal_master(master.as_fd()) {
            return Err(Error::new("console socket: what came is no terminal's master"));
        }
        stdio::never_wait(&master)?;
        let names = streams.names.clone();
        let mut pumps = Vec::new();
        if let Target::Fifo(path) | Target::File(path) = stdio::target(&names.stdout)? {
            let output = stdio::output(&path, true)?;
            streams.outputs += 1;
            let how = carried(output.kind, How::Copy);
            pumps.push((Pump::new(master.try_clone().context("dup")?, output.write, how), true, output.hold));
        }
        if let Target::Fifo(path) = stdio::target(&names.stdin)? {
            let input = stdio::input(&path, true)?;
            streams.stdin.extend(input.hold);
            let how = if input.kind == Kind::File { How::ReadFile } else { How::Copy };
            pumps.push((Pump::new(input.read, master.try_clone().context("dup")?, how), false, None));
        }
        streams.console = Some(master);
        for (pump, output, hold) in pumps {
            self.run_pump(who, pump, output, hold, watch)?;
        }
        Ok(())
    }

    fn run_pump(
        &mut self,
        who: &Who,
        pump: Pump,
        output: bool,
        hold: Option<OwnedFd>,
        watch: &mut Watch,
    ) -> Result<()> {
        let number = self.number();
        let (first, source) = (pump.first(), Source::Pump(number));
        let token = match first {
            Wants::Write => watch.write(&pump.to, source),
            _ => watch.read(&pump.from, source),
        };
        let token = Some((token.context("epoll_ctl")?, first));
        let running = Running { pump, token, who: who.clone(), output, hold };
        self.pumps.insert(number, running);
        Ok(())
    }

    /// One side of a pump is ready.
    pub fn pump(&mut self, number: u64, watch: &mut Watch, outcomes: &mut Outcomes) {
        let Some(running) = self.pumps.get_mut(&number) else { return };
        let (wants, full) = running.pump.run();
        if let Some(errno) = full {
            let text = format!("its log takes nothing ({errno}); what it writes is lost until it does again");
            super::log("error", &format!("{}: {text}", running.who.id));
        }
        let has = running.token.as_ref().map(|(_, has)| *has);
        if has == Some(wants) {
            return;
        }
        running.unwatch(watch);
        let source = Source::Pump(number);
        let token = match wants {
            Wants::Read => watch.read(&running.pump.from, source),
            Wants::Write => watch.write(&running.pump.to, source),
            Wants::Nothing => Err(nix::errno::Errno::ENOENT),
        };
        match token {
            Ok(token) => running.token = Some((token, wants)),
            Err(_) => {
                let Some(running) = self.pumps.remove(&number) else { return };
                if running.output {
                    self.end_output(running, watch, outcomes);
                }
            }
        }
    }

    /// A process has ended: what it wrote to a file is there before anybody is told.
    pub(super) fn catch_up(&mut self, who: &Who, watch: &mut Watch, outcomes: &mut Outcomes) {
        let to_files = self.pumps.iter().filter(|(_, running)| running.who == *who && running.pump.how == How::Append);
        for number in to_files.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.pump(number, watch, outcomes);
        }
    }

    /// All has been carried on: nobody writes to that fifo any more.
    fn end_output(&mut self, running: Running, watch: &mut Watch, outcomes: &mut Outcomes) {
        let Running { pump, who, hold, .. } = running;
        if let Some(streams) = self.streams.get_mut(&who) {
            streams.outputs = streams.outputs.saturating_sub(1);
        }
        // Closed before anybody is told that all has been handed over.
        if hold.is_some() {
            drop(hold);
            if stdio::is_read(&pump.to) {
                self.hold_unread(&who, &pump.to);
            } else {
                self.expect_reader(&who, pump.to, watch);
            }
        } else {
            drop(pump);
        }
        self.check_flushed(&who, watch, outcomes);
        self.check_drained(&who, outcomes);
    }

    pub(super) fn stop_pumps(&mut self, who: &Who, watch: &mut Watch) {
        let numbers: Vec<u64> = self.pumps.iter().filter(|(_, pump)| pump.who == *who).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(mut running) = self.pumps.remove(&number) {
                running.unwatch(watch);
            }
        }
    }

    pub(super) fn check_drained(&mut self, who: &Who, outcomes: &mut Outcomes) {
        let Some(streams) = self.streams.get(who) else { return };
        if streams.draining && streams.outputs == 0 && streams.logger.is_none() {
            self.drained(who, outcomes);
        }
    }

    pub(super) fn drained(&mut self, who: &Who, outcomes: &mut Outcomes) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.draining = false;
        }
        outcomes.push_back(Outcome::Happened(Input::Drained(who.clone())));
    }
}

/// How bytes come to something of that kind; between pipes and fifos so.
fn carried(kind: Kind, between: How) -> How {
    match kind {
        Kind::File => How::Append,
        Kind::Fifo => between,
        Kind::Null | Kind::Device => How::Copy,
    }
}

/// A socket in the bundle, however long its path is, and its name there.
pub(super) fn console_socket(dir: &Path, who: &Who) -> Result<(ConsoleSocket, String)> {
    let name = if who.exec.is_empty() { ".console".to_owned() } else { format!(".console-{}", who.exec) };
    let path = dir.join(&name);
    let _ = std::fs::remove_file(&path);
    let at = cleat::sys::path::open_dir(dir).context(format_args!("open {}", dir.display()))?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).context("socket")?;
    let short = format!("/proc/self/fd/{}/{name}", at.as_raw_fd());
    let address = UnixAddr::new(short.as_str()).context("socket address")?;
    socket::bind(listener.as_raw_fd(), &address).context(format_args!("bind {}", path.display()))?;
    let socket = ConsoleSocket { listener, path };
    socket::listen(&socket.listener, Backlog::new(1).context("listen")?).context("listen")?;
    Ok((socket, name))
}
