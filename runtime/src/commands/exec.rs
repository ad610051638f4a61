//! `exec`: runs another process in a container.

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cgroup::OomWatch;
use crate::container::Container;
use crate::error::{Context, Error, Result};
use crate::launch::console;
use crate::launch::console::Signals;
use crate::launch::exec::{ExecParameters, ExecProcess, join};
use crate::launch::start as starting;
use crate::plan::Request;
use crate::spec;
use crate::spec::Process;
use crate::sys;

use super::{Shell, fault, inherited_fds};

/// What `exec` takes.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `--process`: a file with all of the process instead.
    pub process: Option<PathBuf>,
    /// `--cwd`
    pub cwd: Option<String>,
    /// `--env`
    pub env: Vec<String>,
    /// `--tty`
    pub tty: bool,
    /// `--user`: UID or UID:GID.
    pub user: Option<String>,
    /// `--additional-gids`
    pub additional_gids: Vec<u32>,
    /// `--detach`
    pub detach: bool,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--process-label`
    pub process_label: Option<String>,
    /// `--apparmor`
    pub apparmor: Option<String>,
    /// `--no-new-privs`
    pub no_new_privs: bool,
    /// `--cap`
    pub caps: Vec<String>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--cgroup`
    pub cgroups: Vec<String>,
    /// `--give-fifos`
    pub give_fifos: bool,
    /// `--ignore-paused`
    pub ignore_paused: bool,
    /// `--no-subreaper`
    pub no_subreaper: bool,
}

/// A user as `--user` has it: `UID` or `UID:GID`, both numbers.
///
/// # Errors
/// Anything else, also a number that does not fit (CVE-2026-30892, CVE-2024-40635).
pub fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let wrong = || Error::new(format!("--user {text:?}: not UID or UID:GID; both are numbers from 0 to 4294967294"));
    let number = |part: &str| match part.parse::<u32>() {
        Ok(id) if id != u32::MAX && part.bytes().all(|b| b.is_ascii_digit()) => Ok(id),
        _ => Err(wrong()),
    };
    match text.split_once(':') {
        None => Ok((number(text)?, None)),
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
    }
}

/// The process: that of the container's config.json, with what the options change; or the file's.
fn process(container: &Container, options: &Options) -> Result<Process> {
    if let Some(path) = &options.process {
        let text = spec::read_json(path)?;
        let mut process: Process = spec::parse(&path.display().to_string(), &text)?;
        process.terminal |= options.tty;
        // As with runc, these are the container's where the file leaves them out.
        let own = own_process(container)?;
        process.scheduler = process.scheduler.or(own.scheduler);
        process.io_priority = process.io_priority.or(own.io_priority);
        process.exec_cpu_affinity = process.exec_cpu_affinity.or(own.exec_cpu_affinity);
        if process.rlimits.is_empty() {
            process.rlimits = own.rlimits;
        }
        let or = |label: String, own: String| if label.is_empty() { own } else { label };
        process.apparmor_profile = or(process.apparmor_profile, own.apparmor_profile);
        process.selinux_label = or(process.selinux_label, own.selinux_label);
        return Ok(process);
    }
    if options.args.is_empty() {
        return Err(Error::new("process args cannot be empty; give a program, or --process FILE"));
    }
    let mut process = own_process(container)?;
    process.args.clone_from(&options.args);
    if let Some(cwd) = &options.cwd {
        process.cwd.clone_from(cwd);
    }
    process.env.extend(options.env.iter().cloned());
    process.terminal = options.tty;
    process.no_new_privileges |= options.no_new_privs;
    if let Some(user) = &options.user {
        let (uid, gid) = parse_user(user)?;
        process.user.uid = uid;
        if let Some(gid) = gid {
            process.user.gid = gid;
        }
    }
    process.user.additional_gids.extend(&options.additional_gids);
    if let Some(label) = &options.process_label {
        process.selinux_label.clone_from(label);
    }
    if let Some(profile) = &options.apparmor {
        process.apparmor_profile.clone_from(profile);
    }
    if !options.caps.is_empty() {
        let mut capabilities = process.capabilities.take().unwrap_or_default();
        for cap in &options.caps {
            if crate::plan::caps::number(cap).is_none() {
                return Err(Error::new(format!("--cap {cap:?}: no such capability; see capabilities(7)")));
            }
            // Never inheritable (CVE-2022-29162).
            for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
                set.push(cap.clone());
            }
        }
        process.capabilities = Some(capabilities);
    }
    Ok(process)
}

/// The process of the container's config.json.
fn own_process(container: &Container) -> Result<Process> {
    match &container.record.cleat.process {
        Some(raw) => spec::parse("state.json", raw.get().as_bytes()),
        None => Ok(Process { cwd: "/".into(), ..Process::default() }),
    }
}

/// `[controller:]PATH`: version 2 has one tree, so a controller names nothing.
fn cgroup(options: &Options) -> Result<Option<PathBuf>> {
    match options.cgroups.as_slice() {
        [] => Ok(None),
        [one] => match one.split_once(':') {
            Some((_, _)) => Err(Error::new(format!(
                "--cgroup {one:?}: cgroup v2 has no path for a controller; give the path alone"
            ))),
            None => Ok(Some(PathBuf::from(one))),
        },
        _ => Err(Error::new("--cgroup: cgroup v2 has one path; give it once")),
    }
}

/// `exec`: the exit code is that of the program, 0 when detached.
///
/// # Errors
/// The process could not be made. The container is as before.
pub fn exec(shell: &Shell<'_>, options: &Options) -> Result<u8> {
    let (preserve_fds, listen_fds) = inherited_fds(shell, options.preserve_fds)?;
    let container = shell.store.open(&options.id)?;
    let process = process(&container, options)?;
    console::check(process.terminal, options.detach, options.console_socket.as_deref())?;
    let request = Request {
        id: options.id.clone(),
        keyring: container.record.cleat.keyring.clone(),
        preserve_fds,
        listen_fds,
        listen_fdnames: super::listen_fdnames(listen_fds),
        fault: fault()?,
        ..Request::default()
    };
    if !options.detach && !options.no_subreaper {
        sys::become_subreaper().context("prctl PR_SET_CHILD_SUBREAPER")?;
    }
    let parameters = ExecParameters {
        container: &container,
        process,
        request,
        cgroup: cgroup(options)?,
        give_fifos: options.give_fifos,
        ignore_paused: options.ignore_paused,
        pid_file: options.pid_file.as_deref(),
        warn: shell.warn,
        rootless: shell.rootless,
    };
    let own = container.memory_limited().then(|| container.cgroup()).flatten();
    let oom = OomWatch::from_now(own.as_ref());
    let mut prepared = join(&parameters)?;
    let signals = (!options.detach).then(Signals::block).transpose()?;
    let mut started = hand_over(&prepared, options).and_then(|()| prepared.start(&container));
    if options.detach && started.is_ok() {
        started = starting::not_killed_at_once(prepared.child.get()?.pidfd.as_fd(), &oom);
    }
    if let Err(error) = started {
        if let Some(path) = &options.pid_file {
            let _ = std::fs::remove_file(path);
        }
        return Err(error);
    }
    let Some(signals) = signals else {
        drop(prepared.child.release());
        return Ok(0);
    };
    let code = console::supervise(prepared.child.get()?, &signals, prepared.console.as_ref());
    super::create::tell_memory_death(&code, &oom, shell.warn);
    drop(prepared.child.release());
    code
}

fn hand_over(prepared: &ExecProcess, options: &Options) -> Result<()> {
    match (&options.console_socket, &prepared.console) {
        (Some(path), Some(master)) => console::send_fd(path, master.as_fd(), "/dev/ptmx")?,
        (None, Some(master)) => console::copy_window_size(master),
        (_, None) => {}
    }
    if let Some(path) = &options.pidfd_socket {
        console::send_fd(path, prepared.child.get()?.pidfd.as_fd(), "pidfd")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2026-30892, CVE-2024-40635
    #[test]
    fn a_user_is_one_or_two_numbers() {
        assert_eq!(parse_user("1").unwrap(), (1, None));
        assert_eq!(parse_user("1:2").unwrap(), (1, Some(2)));
        for wrong in [
            "",
            "1:",
            ":1",
            "a",
            "-1",
            "+1",
            " 1",
            "1 ",
            "4294967295",
            "4294967296",
            "1:2:3",
            "0x1",
            "99999999999999999999",
        ] {
            assert!(parse_user(wrong).unwrap_err().to_string().contains("not UID or UID:GID"), "{wrong:?}");
        }
    }
}
