//! How do processes of `cleat` create and start a container's processes?

use std::process::Command;
use std::time::Duration;

use cleat::commands;
use cleat::error::{Context, Error, Result};
use cleat::sys::child;

use crate::epoll::Source;
use crate::rootfs::MountGuard;
use crate::stdio::Target;
use crate::task::{CreateSpec, ExecSpec, Input, NewProcess, ProcessId, Stdio};
use crate::ttrpc::{Code, Failure};
use crate::{bundle, rootfs};

use super::checkpoint::restore_arguments;
use super::streams::{PendingSpawn, Streams, console_socket};
use super::{ContainerEntry, Ctx, Driver, Timer, Work, log, pid_of};

/// How long a logging program may take to say that it is ready.
const READY: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn create(&mut self, who: &ProcessId, spec: CreateSpec, ctx: &mut Ctx) {
        if let Err(error) = self.try_create(who, spec, ctx) {
            self.create_failed(who, error.into(), ctx);
        }
    }

    fn try_create(&mut self, who: &ProcessId, spec: CreateSpec, ctx: &mut Ctx) -> Result<()> {
        let dir = spec.bundle;
        bundle::save_options(&dir, &spec.options)?;
        // Of an earlier task with this bundle.
        bundle::remove_exit(&dir, "");
        let mounted = rootfs::mount(&spec.rootfs, &dir.join("rootfs"))?;
        let from_checkpoint = spec.checkpoint.is_some();
        let entry =
            ContainerEntry { bundle: dir.clone(), options: spec.options, from_checkpoint, mounted: Some(mounted) };
        let mut command = self.runtime(&entry, &dir.join("log.json"));
        // When the shim is killed, `delete` removes what is there. Nothing may be created after that.
        child::die_with_parent(&mut command);
        match &spec.checkpoint {
            Some(images) => restore_arguments(&mut command, &entry, images),
            None => drop(command.arg("create")),
        }
        command.arg("--bundle").arg(&dir).arg("--pid-file").arg(dir.join("init.pid"));
        // containerd has made them for this container alone.
        command.arg("--give-fifos");
        if entry.options.no_pivot_root {
            command.arg("--no-pivot");
        }
        if entry.options.no_new_keyring && !from_checkpoint {
            command.arg("--no-new-keyring");
        }
        self.containers.insert(who.container.clone(), entry);
        self.spawn_runtime(who, command, spec.stdio, ctx)
    }

    pub(super) fn exec(&mut self, who: &ProcessId, spec: ExecSpec, ctx: &mut Ctx) {
        if let Err(error) = self.try_exec(who, spec, ctx) {
            self.create_failed(who, error.into(), ctx);
        }
    }

    fn try_exec(&mut self, who: &ProcessId, spec: ExecSpec, ctx: &mut Ctx) -> Result<()> {
        let entry = self.entry(&who.container)?;
        let file = |suffix: &str| bundle::exec_file(&entry.bundle, &who.exec, suffix);
        cleat::container::write_atomically(&file("process.json"), &spec.process, 0o600)?;
        let mut command = self.runtime(entry, &file("log.json"));
        command
            .args(["exec", "--detach", "--give-fifos", "--process"])
            .arg(file("process.json"))
            .arg("--pid-file")
            .arg(file("pid"));
        self.spawn_runtime(who, command, spec.stdio, ctx)
    }

    pub(super) fn entry(&self, id: &str) -> Result<&ContainerEntry> {
        self.containers.get(id).ok_or_else(|| Error::new(format!("no bundle of {id}")))
    }

    /// Opens the streams and spawns the runtime, or lets that wait for a logging program.
    fn spawn_runtime(&mut self, who: &ProcessId, mut command: Command, stdio: Stdio, ctx: &mut Ctx) -> Result<()> {
        let number = self.new_number();
        let mut streams = Streams { number, ..Streams::default() };
        let entry = self.entry(&who.container)?;
        let (dir, owner) = (entry.bundle.clone(), (entry.options.io_uid, entry.options.io_gid));
        let mut ready = None;
        if stdio.terminal {
            // The name is relative to the bundle, in which the runtime runs.
            let (socket, name) = console_socket(&dir, who)?;
            command.arg("--console-socket").arg(name);
            streams.console_socket = Some(socket);
            if let Target::Binary { program, arguments, .. } = &stdio.stdout.target {
                let logger = self.start_logger(who, &mut streams, program, arguments)?;
                streams.logger_stdin = Some(logger.stdout);
                ready = Some(logger.ready);
            }
        } else {
            ready = self.connect(who, &mut streams, &mut command, &stdio, owner, ctx)?;
        }
        let writes_ready = matches!(stdio.stdout.target, Target::Binary { writes_ready: true, .. });
        streams.stdio = stdio;
        command.arg(&who.container);
        self.streams.insert(who.clone(), streams);
        let Some(ready) = ready else { return self.spawn_or_hold(who, command, ctx) };
        let token = ctx.epoll.read(&ready, Source::LoggerReady(who.clone())).context("epoll_ctl")?;
        if let Some(streams) = self.streams.get_mut(who) {
            streams.pending_spawn = Some(PendingSpawn { command, ready, token, writes_ready });
        }
        self.after(READY, Timer::LoggerReady(who.clone(), number));
        Ok(())
    }

    fn spawn_or_hold(&mut self, who: &ProcessId, mut command: Command, ctx: &mut Ctx) -> Result<()> {
        if who.is_init() && self.entry(&who.container)?.from_checkpoint {
            self.hold_restore(who, command, ctx);
        } else {
            let child = self.spawn_in_bundle(&who.container, &mut command)?;
            let work = if who.is_init() { Work::Create(who.clone()) } else { Work::Exec(who.clone()) };
            self.work.insert(pid_of(&child), work);
        }
        // With one container there are descriptors enough.
        if who.is_init() && self.containers.len() > 1 {
            self.store_fds(who);
        }
        Ok(())
    }

    /// A logging program is ready, or has ended.
    pub fn logger_ready(&mut self, who: &ProcessId, ctx: &mut Ctx) {
        let Some(pending) = self.streams.get_mut(who).and_then(|streams| streams.pending_spawn.take()) else {
            return;
        };
        ctx.epoll.remove(&pending.ready, pending.token);
        if pending.writes_ready && !matches!(nix::unistd::read(&pending.ready, &mut [0; 1]), Ok(1)) {
            let text = "the logging program is not ready: it has closed descriptor 5, and written nothing to it before";
            return self.create_failed(who, Failure::new(Code::Unknown, text), ctx);
        }
        if let Err(error) = self.spawn_or_hold(who, pending.command, ctx) {
            self.create_failed(who, error.into(), ctx);
        }
    }

    /// A logging program has had its time to become ready.
    pub(super) fn logger_is_late(&mut self, who: &ProcessId, number: u64, ctx: &mut Ctx) {
        let streams = self.streams.get_mut(who).filter(|streams| streams.number == number);
        let Some(pending) = streams.and_then(|streams| streams.pending_spawn.take()) else { return };
        ctx.epoll.remove(&pending.ready, pending.token);
        let text = "the logging program does not say that it is ready: it closes descriptor 5 then";
        self.create_failed(who, Failure::new(Code::Unknown, text), ctx);
    }

    /// Nothing was created; dropping the entry unmounts the root file system.
    pub(super) fn create_failed(&mut self, who: &ProcessId, failure: Failure, ctx: &mut Ctx) {
        if who.is_init() {
            self.containers.remove(&who.container);
        }
        ctx.event(Input::Created(who.clone(), Err(failure)));
    }

    pub(super) fn start(&mut self, id: &str, ctx: &mut Ctx) {
        let who = ProcessId::init(id);
        let Some(entry) = self.containers.get(id) else { return };
        let mut command = self.runtime(entry, &entry.bundle.join("log.json"));
        match self.spawn_in_bundle(id, command.arg("start").arg(id)) {
            Ok(child) => drop(self.work.insert(pid_of(&child), Work::Start(who))),
            Err(error) => ctx.event(Input::Started(who, Err(error.into()))),
        }
    }

    /// `cleat create` has ended.
    pub(super) fn create_ended(&mut self, who: ProcessId, status: u8, ctx: &mut Ctx) {
        match self.created(&who, status, ctx) {
            Ok(process) => ctx.event(Input::Created(who, Ok(process))),
            Err(error) => {
                if status == 0 {
                    self.undo(&who.container);
                }
                let text = format!("OCI runtime create failed: {error}");
                self.create_failed(&who, Failure::new(Code::Unknown, text), ctx);
            }
        }
    }

    /// What a new container of the runtime's has to offer.
    pub(super) fn created(&mut self, who: &ProcessId, status: u8, ctx: &mut Ctx) -> Result<NewProcess> {
        self.outcome(&who.container, "log.json", status)?;
        self.log_warnings(&who.container, "log.json");
        let entry = self.containers.get_mut(&who.container);
        let entry = entry.ok_or_else(|| Error::new("the container was deleted"))?;
        let file = entry.bundle.join("init.pid");
        let pid = bundle::pid(&file).ok_or_else(|| Error::new(format!("{}: no pid in it", file.display())))?;
        entry.mounted.take().into_iter().for_each(MountGuard::keep);
        let container = self.container(&who.container)?;
        self.watch_oom(&who.container, &container, ctx);
        self.take_console(who, ctx)?;
        Ok(NewProcess { pid, gone: is_gone(pid), shares_pids: !container.record.ends_with_init() })
    }

    /// Removes a container that was created, and cannot be used.
    fn undo(&mut self, id: &str) {
        let deleted = self.with(id, |shell| commands::delete::delete(shell, id, true));
        let unmounted = self.containers.get(id).map_or(Ok(()), |entry| rootfs::unmount(&entry.bundle.join("rootfs")));
        for error in [deleted, unmounted].into_iter().filter_map(Result::err) {
            log("error", &format!("{id}: {error}"));
        }
    }

    /// `cleat exec` has ended.
    pub(super) fn exec_ended(&mut self, who: ProcessId, status: u8, ctx: &mut Ctx) {
        let created = self.executed(&who, status, ctx);
        let created = created.map_err(|error| Failure::new(Code::Unknown, format!("OCI runtime exec failed: {error}")));
        ctx.event(Input::Created(who, created));
    }

    fn executed(&mut self, who: &ProcessId, status: u8, ctx: &mut Ctx) -> Result<NewProcess> {
        let file = bundle::exec_name(&who.exec, "log.json");
        let outcome = self.outcome(&who.container, &file, status);
        self.log_warnings(&who.container, &file);
        let entry = self.entry(&who.container)?;
        for suffix in ["process.json", "log.json"] {
            let _ = std::fs::remove_file(bundle::exec_file(&entry.bundle, &who.exec, suffix));
        }
        outcome?;
        let file = bundle::exec_file(&entry.bundle, &who.exec, "pid");
        let pid = bundle::pid(&file).ok_or_else(|| Error::new(format!("{}: no pid in it", file.display())))?;
        self.take_console(who, ctx)?;
        Ok(NewProcess { pid, gone: is_gone(pid), shares_pids: false })
    }

    /// Into containerd's log: what was asked for and a process does not get.
    pub(super) fn log_warnings(&self, id: &str, log_file: &str) {
        let Some(entry) = self.containers.get(id) else { return };
        for text in bundle::messages(&entry.bundle.join(log_file), "warning") {
            log("warning", &format!("{id}: {text}"));
        }
    }
}

/// Whether a new process has been reaped: it became a child of the shim when `cleat` ended.
fn is_gone(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| !child::is_child(pid))
}
