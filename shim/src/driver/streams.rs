//! Which streams does a process have, and what is copied?

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::{Duration, Instant};

use cleat::error::{Context, Error, Result};
use cleat::sys::child;
use nix::fcntl::OFlag;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};

use crate::epoll::{Source, Token};
use crate::fd_store::FdStore;
use crate::pump::{How, Pump, Wants};
use crate::stdio::{self, Kind, Target};
use crate::task::{Input, ProcessId, Stdio};

use super::held_fds::HeldFds;
use super::{Ctx, Driver, Work, pid_of};

/// Most bytes of a message of the console's socket.
const PACKET: usize = 4096;

/// The streams of a process.
#[derive(Default)]
pub(super) struct Streams {
    /// Unique: another process may get the same id later.
    pub(super) number: u64,
    pub(super) stdio: Stdio,
    /// Read ends of the fifos that an init writes to, or that were written to.
    pub(super) held: HeldFds,
    /// Read ends of a logging program's pipes.
    pub(super) pipes: HeldFds,
    /// The write end of standard input, until CloseIO.
    pub(super) stdin: HeldFds,
    /// The exit waits until the fifos have been read, or until that time; the delay until the next look.
    pub(super) fifo_drain: Option<(Instant, Duration)>,
    /// The terminal.
    pub(super) console: Option<OwnedFd>,
    /// The runtime sends the terminal there.
    pub(super) console_socket: Option<ConsoleSocket>,
    /// Pumps that copy its output.
    pub(super) outputs: usize,
    pub(super) logger: Option<i32>,
    /// Where a logging program reads what is written to the terminal.
    pub(super) logger_stdin: Option<OwnedFd>,
    pub(super) pending_spawn: Option<PendingSpawn>,
    /// `cleat restore` with its streams, until the container is restored.
    pub(super) restore: Option<Command>,
    /// `Drained` has been asked for.
    pub(super) draining: bool,
}

impl Streams {
    /// Closes what was held for them.
    pub(super) fn release(&mut self, fd_store: &mut Option<FdStore>) {
        self.held.release(fd_store);
        self.pipes.release(fd_store);
        self.stdin.release(fd_store);
    }
}

/// A command of the runtime that waits until the logging program is ready.
pub(super) struct PendingSpawn {
    pub(super) command: Command,
    /// The logging program closes the other end when it is ready.
    pub(super) ready: OwnedFd,
    pub(super) token: Token,
    /// It writes a byte before.
    pub(super) writes_ready: bool,
}

/// What a logging program reads, and how it reports ready.
pub(super) struct Logger {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) ready: OwnedFd,
}

/// The socket on which the runtime sends the terminal; its name is removed with it.
pub(super) struct ConsoleSocket {
    pub(super) listener: OwnedFd,
    pub(super) path: PathBuf,
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A pump, what it is polled for, and whose it is.
pub(super) struct Running {
    pub(super) pump: Pump,
    pub(super) token: Option<(Token, Wants)>,
    pub(super) who: ProcessId,
    pub(super) output: bool,
    /// The read end of the fifo that it writes to.
    pub(super) hold: Option<OwnedFd>,
}

impl Running {
    pub(super) fn unwatch(&mut self, ctx: &mut Ctx) {
        match self.token.take() {
            Some((token, Wants::Read)) => ctx.epoll.remove(&self.pump.from, token),
            Some((token, _)) => ctx.epoll.remove(&self.pump.to, token),
            None => {}
        }
    }
}

impl Driver {
    /// Moves what is held for a process to the fd store.
    pub(super) fn store_fds(&mut self, who: &ProcessId) {
        let keys = [self.new_number(), self.new_number(), self.new_number()];
        let Some(streams) = self.streams.get_mut(who) else { return };
        for (held, key) in [&mut streams.held, &mut streams.pipes, &mut streams.stdin].into_iter().zip(keys) {
            held.store(&mut self.fd_store, key);
        }
    }

    /// Opens streams without a terminal. With a logging program: the descriptor that reports it ready.
    pub(super) fn connect(
        &mut self,
        who: &ProcessId,
        streams: &mut Streams,
        command: &mut Command,
        stdio: &Stdio,
        owner: (u32, u32),
        ctx: &mut Ctx,
    ) -> Result<Option<OwnedFd>> {
        if let Target::Fifo(path) = &stdio.stdin.target {
            let input = stdio::input(path, false)?;
            streams.stdin.extend(input.hold);
            let read = match input.kind {
                Kind::Fifo | Kind::Null => input.read,
                other => self.feed(who, input.read, other, ctx)?,
            };
            if input.kind != Kind::Null {
                stdio::give(&read, owner.0, owner.1);
            }
            command.stdin(read);
        }
        let (out, err) = (&stdio.stdout.target, &stdio.stderr.target);
        if let Target::Binary { program, arguments, .. } = out {
            let logger = self.start_logger(who, streams, program, arguments)?;
            stdio::give(&logger.stdout, owner.0, owner.1);
            stdio::give(&logger.stderr, owner.0, owner.1);
            command.stdout(logger.stdout).stderr(logger.stderr);
            return Ok(Some(logger.ready));
        }
        let pumps = streams.outputs;
        let stdout = self.output(who, streams, out, owner, ctx)?;
        let stderr = match &stdout {
            // One pipe for both: what was written first comes first.
            Some(pipe) if out == err && streams.outputs > pumps => Some(pipe.try_clone().context("dup")?),
            _ => self.output(who, streams, err, owner, ctx)?,
        };
        command.stdout(stdio::stdio(stdout)).stderr(stdio::stdio(stderr));
        Ok(None)
    }

    /// A pipe for a process that may not have the file or device itself to read from.
    fn feed(&mut self, who: &ProcessId, from: OwnedFd, kind: Kind, ctx: &mut Ctx) -> Result<OwnedFd> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        stdio::never_wait(&write)?;
        let how = if kind == Kind::File { How::ReadFile } else { How::Copy };
        self.run_pump(who, Pump::new(from, write, how), false, None, ctx)?;
        Ok(read)
    }

    /// Opens what a process writes to.
    pub(super) fn output(
        &mut self,
        who: &ProcessId,
        streams: &mut Streams,
        target: &Target,
        owner: (u32, u32),
        ctx: &mut Ctx,
    ) -> Result<Option<OwnedFd>> {
        let path = match target {
            Target::Null => return Ok(None),
            Target::File(path) | Target::Fifo(path) => path,
            Target::Binary { .. } => return Err(Error::new("stdio: a logging program takes both streams or none")),
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
        let how = copied(output.kind, How::Splice);
        self.run_pump(who, Pump::new(read, output.write, how), true, output.hold, ctx)?;
        Ok(Some(write))
    }

    /// Starts a logging program. It gets the pipes as 3 and 4, and closes 5 (or writes to it) when it is ready.
    pub(super) fn start_logger(
        &mut self,
        who: &ProcessId,
        streams: &mut Streams,
        program: &Path,
        arguments: &[String],
    ) -> Result<Logger> {
        let (out_read, stdout) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        let (err_read, stderr) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2")?;
        let (ready, is_ready) = stdio::pipe()?;
        // As with fifos: when the program ends, the container does not get EPIPE.
        streams.pipes.extend([out_read.try_clone().context("dup")?, err_read.try_clone().context("dup")?]);
        let mut logger = Command::new(program);
        logger.args(arguments).env("CONTAINER_ID", &who.container).env("CONTAINER_NAMESPACE", &self.namespace);
        logger.stdin(process::Stdio::null()).stdout(process::Stdio::null()).stderr(process::Stdio::null());
        child::pass_descriptors(&mut logger, vec![out_read, err_read, is_ready]);
        let child = logger.spawn().context(format_args!("execute {}", program.display()))?;
        streams.logger = Some(pid_of(&child));
        self.work.insert(pid_of(&child), Work::Log(who.clone()));
        Ok(Logger { stdout, stderr, ready })
    }

    /// Takes the terminal that the runtime has sent, and starts the pumps of its two directions.
    pub(super) fn take_console(&mut self, who: &ProcessId, ctx: &mut Ctx) -> Result<()> {
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
        let stdio = std::mem::take(&mut streams.stdio);
        let mut pumps = Vec::new();
        if let Some(logger) = streams.logger_stdin.take() {
            stdio::never_wait(&logger)?;
            streams.outputs += 1;
            pumps.push((Pump::new(master.try_clone().context("dup")?, logger, How::Copy), true, None));
        }
        if let Target::Fifo(path) | Target::File(path) = &stdio.stdout.target {
            let output = stdio::output(path, true)?;
            streams.outputs += 1;
            let how = copied(output.kind, How::Copy);
            pumps.push((Pump::new(master.try_clone().context("dup")?, output.write, how), true, output.hold));
        }
        if let Target::Fifo(path) = &stdio.stdin.target {
            let input = stdio::input(path, true)?;
            streams.stdin.extend(input.hold);
            let how = if input.kind == Kind::File { How::ReadFile } else { How::Copy };
            pumps.push((Pump::new(input.read, master.try_clone().context("dup")?, how), false, None));
        }
        streams.console = Some(master);
        for (pump, output, hold) in pumps {
            self.run_pump(who, pump, output, hold, ctx)?;
        }
        Ok(())
    }

    fn run_pump(
        &mut self,
        who: &ProcessId,
        pump: Pump,
        output: bool,
        hold: Option<OwnedFd>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let number = self.new_number();
        let (first, source) = (pump.first(), Source::Pump(number));
        let token = match first {
            Wants::Write => ctx.epoll.write(&pump.to, source),
            _ => ctx.epoll.read(&pump.from, source),
        };
        let token = Some((token.context("epoll_ctl")?, first));
        let running = Running { pump, token, who: who.clone(), output, hold };
        self.pumps.insert(number, running);
        Ok(())
    }

    /// One side of a pump is ready.
    pub fn pump(&mut self, number: u64, ctx: &mut Ctx) {
        let Some(running) = self.pumps.get_mut(&number) else { return };
        let (wants, full) = running.pump.run();
        if let Some(errno) = full {
            let text = format!("its log cannot be written ({errno}); output is lost until it can");
            super::log("error", &format!("{}: {text}", running.who.container));
        }
        let has = running.token.as_ref().map(|(_, has)| *has);
        if has == Some(wants) {
            return;
        }
        running.unwatch(ctx);
        let source = Source::Pump(number);
        let token = match wants {
            Wants::Read => ctx.epoll.read(&running.pump.from, source),
            Wants::Write => ctx.epoll.write(&running.pump.to, source),
            Wants::Nothing => Err(nix::errno::Errno::ENOENT),
        };
        match token {
            Ok(token) => running.token = Some((token, wants)),
            Err(_) => {
                let Some(running) = self.pumps.remove(&number) else { return };
                if running.output {
                    self.end_output(running, ctx);
                }
            }
        }
    }

    /// A process has ended: its output is in the file before the exit is published.
    pub(super) fn catch_up(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        let to_files = self.pumps.iter().filter(|(_, running)| running.who == *who && running.pump.how == How::Append);
        for number in to_files.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.pump(number, ctx);
        }
    }

    /// All has been copied: closes the fifo.
    fn end_output(&mut self, running: Running, ctx: &mut Ctx) {
        let Running { pump, who, hold, .. } = running;
        if let Some(streams) = self.streams.get_mut(&who) {
            streams.outputs = streams.outputs.saturating_sub(1);
        }
        // Closed before `Drained` is reported.
        if hold.is_some() {
            drop(hold);
            if stdio::is_read(&pump.to) {
                self.hold_unread(&who, &pump.to);
            } else {
                self.expect_reader(&who, pump.to, ctx);
            }
        } else {
            drop(pump);
        }
        self.check_fifos(&who, ctx);
        self.check_drained(&who, ctx);
    }

    pub(super) fn stop_pumps(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        let numbers: Vec<u64> = self.pumps.iter().filter(|(_, pump)| pump.who == *who).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(mut running) = self.pumps.remove(&number) {
                running.unwatch(ctx);
            }
        }
    }

    pub(super) fn check_drained(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        let Some(streams) = self.streams.get(who) else { return };
        if streams.draining && streams.outputs == 0 && streams.logger.is_none() {
            self.drained(who, ctx);
        }
    }

    pub(super) fn drained(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        if let Some(streams) = self.streams.get_mut(who) {
            streams.draining = false;
        }
        ctx.event(Input::Drained(who.clone()));
    }
}

/// How bytes are copied to something of that kind; to a fifo as the second argument says.
fn copied(kind: Kind, between: How) -> How {
    match kind {
        Kind::File => How::Append,
        Kind::Fifo => between,
        Kind::Null | Kind::Device => How::Copy,
    }
}

/// A socket in the bundle, however long its path is, and its name there.
pub(super) fn console_socket(dir: &Path, who: &ProcessId) -> Result<(ConsoleSocket, String)> {
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
