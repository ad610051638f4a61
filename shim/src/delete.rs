//! How is a task deleted whose server is gone?
//!
//! containerd executes `delete` in a bundle in any state, half created or half removed, and after a regular exit, too:
//! then nothing is left to do.

use std::io::Write;
use std::path::{Path, PathBuf};

use cleat::commands::Shell;
use cleat::container::Store;
use cleat::error::{Context, Result};
use cleat::plan::host::CgroupManager;
use prost::Message;

use crate::args::Args;
use crate::messages::{DeleteResponse, Timestamp};
use crate::{bundle, rootfs, start};

/// The exit status of a process that was killed with its shim.
const KILLED: u32 = 137;

/// Kills and removes the container, unmounts its root file system, and prints how it ended.
///
/// # Errors
/// Those of write(2). What cannot be removed is logged.
pub fn delete(args: &Args) -> Result<()> {
    let here = std::env::current_dir().context("getcwd")?;
    // containerd's working directory is the bundle, or a neighbour of it.
    let bundle: PathBuf = match &args.bundle {
        Some(bundle) => bundle.into(),
        None => here.parent().unwrap_or(Path::new("/")).join(&args.id),
    };
    let options = bundle::options(&bundle);
    let warn = |text: &str| drop(writeln!(std::io::stderr(), "delete {}: {text}", args.id));
    let shell = Shell {
        store: Store::new(bundle::state_root(&options, &args.namespace)),
        warn: &warn,
        report: &warn,
        debug: None,
        inherited: &[],
        rootless: cleat::cli::Rootless::Auto,
        manager: CgroupManager::systemd_if(options.systemd_cgroup),
    };
    if let Err(error) = cleat::commands::delete::delete(&shell, &args.id, true) {
        warn(&error.to_string());
    }
    if let Err(error) = rootfs::unmount(&bundle.join("rootfs")) {
        warn(&error.to_string());
    }
    rootfs::remove_layers(&bundle.join("rootfs"));
    start::remove_stale_socket(&bundle, args, |group| remove_group(&shell, group));
    let recorded = bundle::init_exit(&bundle);
    let response = match recorded {
        Some((pid, exit)) => DeleteResponse { pid, exit_status: exit.status, exited_at: Some(exit.at) },
        None => DeleteResponse {
            pid: bundle::pid(&bundle.join("init.pid")).unwrap_or(0),
            exit_status: KILLED,
            exited_at: Some(Timestamp::now()),
        },
    };
    std::io::stdout().write_all(&response.encode_to_vec()).context("write to standard output")
}

/// Removes the other containers of a killed server: for a pod, containerd 2 executes `delete` for the sandbox alone.
fn remove_group(shell: &Shell<'_>, group: &str) {
    for id in shell.store.ids().unwrap_or_default() {
        let Ok(container) = shell.store.open(&id) else { continue };
        let own = &container.record.cleat;
        if start::group_of(&own.annotations, &id) != group {
            continue;
        }
        let rootfs = own.bundle.join("rootfs");
        let removed = cleat::commands::delete::delete(shell, &id, true).and_then(|()| rootfs::unmount(&rootfs));
        if let Err(error) = removed {
            (shell.warn)(&format!("{id}: {error}"));
        }
        rootfs::remove_layers(&rootfs);
    }
}
