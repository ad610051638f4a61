//! How do processes of `cleat` write checkpoints, and restore containers from them?
//!
//! CRIU's log goes to a directory of its own in the bundle, unless the request names one, and lives on only when
//! something went wrong. The arguments are those that containerd's own shim has for runc.

use std::path::{Path, PathBuf};
use std::process::Command;

use cleat::commands;
use cleat::error::{Context, Error, Kind, Result};
use cleat::sys::child;

use crate::rootfs::MountGuard;
use crate::task::{CheckpointSpec, Input, NewProcess, ProcessId};
use crate::ttrpc::{Code, Failure};

use super::{ContainerEntry, Ctx, Driver, Work, log, pid_of};

/// CRIU's directory in the bundle.
const WORK: &str = "criu-work";
/// The runtime's log of a checkpoint: others write theirs meanwhile.
const LOG: &str = "checkpoint.json";

/// A checkpoint that is being written.
pub(super) struct Dump {
    id: String,
    images: PathBuf,
    /// CRIU's directory is the one in the bundle.
    own_work: bool,
}

/// What comes before the options that `cleat create` has, too.
pub(super) fn restore_arguments(command: &mut Command, entry: &ContainerEntry, images: &Path) {
    command.arg("restore").arg("--image-path").arg(images).arg("--work-path").arg(restore_work(entry));
    // The restored process is to be our child.
    command.args(["--detach", "--no-subreaper"]);
}

fn restore_work(entry: &ContainerEntry) -> PathBuf {
    match entry.options.criu_work_path.as_str() {
        "" => entry.bundle.join(WORK),
        path => path.into(),
    }
}

impl Driver {
    pub(super) fn checkpoint(&mut self, id: String, spec: CheckpointSpec, ctx: &mut Ctx) {
        match self.spawn_checkpoint(&id, &spec) {
            Ok(pid) => {
                let own_work = spec.options.work_path.is_empty();
                self.work.insert(pid, Work::Checkpoint(Dump { id, images: spec.images, own_work }));
            }
            Err(error) => ctx.event(Input::Checkpointed(id, spec.images, Err(error.into()))),
        }
    }

    fn spawn_checkpoint(&mut self, id: &str, spec: &CheckpointSpec) -> Result<i32> {
        let (entry, options) = (self.entry(id)?, &spec.options);
        let log = entry.bundle.join(LOG);
        let _ = std::fs::remove_file(&log);
        let mut command = self.runtime(entry, &log);
        // It holds the container's lock, which the `delete` after a killed shim needs.
        child::die_with_parent(&mut command);
        command.arg("checkpoint").arg("--image-path").arg(&spec.images).arg("--work-path");
        if options.work_path.is_empty() {
            remove_work(&entry.bundle)?;
            command.arg(entry.bundle.join(WORK));
        } else {
            command.arg(&options.work_path);
        }
        let flags = [
            (options.open_tcp, "--tcp-established"),
            (options.external_unix_sockets, "--ext-unix-sk"),
            (options.terminal, "--shell-job"),
            (options.file_locks, "--file-locks"),
            (!options.exit, "--leave-running"),
        ];
        command.args(flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)));
        for kind in &options.empty_namespaces {
            command.arg("--empty-ns").arg(kind);
        }
        // containerd's own shim forgets it.
        if !options.cgroups_mode.is_empty() {
            command.arg("--manage-cgroups-mode").arg(&options.cgroups_mode);
        }
        self.spawn_in_bundle(id, command.arg(id)).map(|child| pid_of(&child))
    }

    /// `cleat checkpoint` has ended.
    pub(super) fn checkpoint_ended(&mut self, dump: Dump, status: u8, ctx: &mut Ctx) {
        let Dump { id, images, own_work } = dump;
        let outcome = self.outcome(&id, LOG, status);
        self.log_warnings(&id, LOG);
        let Some(bundle) = self.containers.get(&id).map(|entry| entry.bundle.clone()) else {
            let gone = Failure::from(Error::of(Kind::NoContainer, format!("container does not exist: {id}")));
            return ctx.event(Input::Checkpointed(id, images, Err(gone)));
        };
        let _ = std::fs::remove_file(bundle.join(LOG));
        let outcome = outcome.map_err(|error| {
            let text = format!("OCI runtime checkpoint failed: {error}");
            let text = if own_work { keep_log(&bundle, "dump.log", text) } else { text };
            Failure::new(Code::Unknown, text)
        });
        if own_work {
            remove_work(&bundle).unwrap_or_else(|error| log("warning", &format!("{id}: {error}")));
        }
        ctx.event(Input::Checkpointed(id, images, outcome));
    }

    /// All that the restore needs is open: it waits for the start.
    pub(super) fn hold_restore(&mut self, who: &ProcessId, command: Command, ctx: &mut Ctx) {
        if let Some(entry) = self.containers.get_mut(&who.container) {
            entry.mounted.take().into_iter().for_each(MountGuard::keep);
        }
        if let Some(streams) = self.streams.get_mut(who) {
            streams.restore = Some(command);
        }
        let nothing = NewProcess { pid: 0, gone: false, shares_pids: false };
        ctx.event(Input::Created(who.clone(), Ok(nothing)));
    }

    pub(super) fn restore(&mut self, id: &str, ctx: &mut Ctx) {
        let who = ProcessId::init(id);
        if let Err(error) = self.spawn_restore(&who) {
            ctx.event(Input::Created(who, Err(error.into())));
        }
    }

    fn spawn_restore(&mut self, who: &ProcessId) -> Result<()> {
        let entry = self.entry(&who.container)?;
        if entry.options.criu_work_path.is_empty() {
            remove_work(&entry.bundle)?;
        }
        let command = self.streams.get_mut(who).and_then(|streams| streams.restore.take());
        let mut command = command.ok_or_else(|| Error::new("no streams are open for the restore"))?;
        let spawned = self.spawn_in_bundle(&who.container, &mut command);
        // For another attempt.
        if let Some(streams) = self.streams.get_mut(who) {
            streams.restore = Some(command);
        }
        self.work.insert(pid_of(&spawned?), Work::Restore(who.clone()));
        Ok(())
    }

    /// `cleat restore` has ended.
    pub(super) fn restore_ended(&mut self, who: ProcessId, status: u8, ctx: &mut Ctx) {
        let restored = self.created(&who, status, ctx);
        if restored.is_err() && status == 0 {
            let deleted = self.with(&who.container, |shell| commands::delete::delete(shell, &who.container, true));
            match deleted {
                Err(error) if error.kind() != Kind::NoContainer => log("error", &format!("{}: {error}", who.container)),
                _ => {}
            }
        }
        let entry = self.containers.get(&who.container);
        let own_work = entry.filter(|entry| entry.options.criu_work_path.is_empty()).map(|entry| entry.bundle.clone());
        let restored = restored.map_err(|error| {
            let text = format!("OCI runtime restore failed: {error}");
            let text = match &own_work {
                Some(bundle) => keep_log(bundle, "restore.log", text),
                None => text,
            };
            Failure::new(Code::Unknown, text)
        });
        if let Some(bundle) = own_work {
            remove_work(&bundle).unwrap_or_else(|error| log("warning", &format!("{}: {error}", who.container)));
        }
        if let (Ok(_), Some(streams)) = (&restored, self.streams.get_mut(&who)) {
            // The container's ends of its streams are its own.
            streams.restore = None;
        }
        ctx.event(Input::Created(who, restored));
    }
}

/// Keeps CRIU's log beside the directory that goes, and names it in the text of the failure.
fn keep_log(bundle: &Path, name: &str, text: String) -> String {
    let (from, to) = (bundle.join(WORK).join(name), bundle.join(format!("criu-{name}")));
    if std::fs::rename(&from, &to).is_err() {
        return text;
    }
    let (from, to) = (from.display().to_string(), to.display().to_string());
    if text.contains(&from) { text.replace(&from, &to) } else { format!("{text}; its log is {to}") }
}

fn remove_work(bundle: &Path) -> Result<()> {
    let path = bundle.join(WORK);
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format_args!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
