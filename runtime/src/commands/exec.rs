//! `exec`: runs another process in a container.

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::cgroup::OomWatch;
use crate::cli::Exec;
use crate::container::Container;
use crate::error::{Context, Error, Result};
use crate::launch::console;
use crate::launch::console::Signals;
use crate::launch::exec::{ExecParameters, ExecProcess, join};
use crate::launch::start as starting;
use crate::plan::{Request, caps};
use crate::spec;
use crate::spec::Process;
use crate::sys;

use super::{Shell, fault, inherited_fds};

/// A user as `--user` has it: `UID` or `UID:GID`, both numbers.
///
/// # Errors
/// Anything else, also a number that does not fit (CVE-2026-30892, CVE-2024-40635).
pub fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let wrong =
        || Error::new(format!("--user {text:?}: not UID or UID:GID")).remedy("both are numbers from 0 to 4294967294");
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
fn process(container: &Container, options: &Exec, warn: &dyn Fn(&str)) -> Result<Process> {
    if let Some(path) = &options.process {
        let text = spec::read_json(path)?;
        let mut process: Process = spec::parse(&path.display().to_string(), &text)?;
        process.terminal |= options.tty;
        // As with runc, these are the container's where the file leaves them out. Limits of resources are
        // the caller's then.
        let own = own_process(container)?;
        process.scheduler = process.scheduler.or(own.scheduler);
        process.io_priority = process.io_priority.or(own.io_priority);
        process.exec_cpu_affinity = process.exec_cpu_affinity.or(own.exec_cpu_affinity);
        let or = |label: String, own: String| if label.is_empty() { own } else { label };
        process.apparmor_profile = or(process.apparmor_profile, own.apparmor_profile);
        process.selinux_label = or(process.selinux_label, own.selinux_label);
        return Ok(process);
    }
    if options.args.is_empty() {
        return Err(Error::new("process args cannot be empty").remedy("give a program, or --process FILE"));
    }
    if options.args[0] == "--" {
        let error = Error::new("exec \"--\": executable file not found in $PATH");
        return Err(error.remedy("leave it out: what follows the container is the program's"));
    }
    let mut process = own_process(container)?;
    process.args.clone_from(&options.args);
    if let Some(cwd) = options.cwd.as_ref().filter(|cwd| !cwd.is_empty()) {
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
    if !options.cap.is_empty() {
        let mut capabilities = process.capabilities.take().unwrap_or_default();
        for cap in &options.cap {
            if caps::number(cap).is_none() {
                warn(&format!("--cap: {}", caps::unknown(cap)));
                continue;
            }
            // Never inheritable (CVE-2022-29162). What the container's own process may hand down, this may, too.
            if capabilities.inheritable.contains(cap) {
                capabilities.ambient.push(cap.clone());
            }
            for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
                set.push(cap.clone());
            }
        }
        process.capabilities = Some(capabilities);
    }
    Ok(process)
}

/// Names the option, or the file of `--process`, where an error is about what that has set, and not config.json.
fn blame(error: Error, options: &Exec) -> Error {
    let place = error.parts().0.to_owned();
    let Some(rest) = place.strip_prefix("process.") else { return error };
    if let Some(file) = &options.process {
        return error.in_file(&file.display().to_string(), rest);
    }
    let given = [
        ("env[", "--env", !options.env.is_empty()),
        ("cwd", "--cwd", options.cwd.is_some()),
        ("user.additionalGids", "--additional-gids", !options.additional_gids.is_empty()),
        ("user.", "--user", options.user.is_some()),
        ("apparmorProfile", "--apparmor", options.apparmor.is_some()),
        ("selinuxLabel", "--process-label", options.process_label.is_some()),
    ];
    match given.iter().find(|(name, _, given)| *given && rest.starts_with(name)) {
        Some((_, option, _)) => error.in_file(option, ""),
        None => error,
    }
}

/// The process of the container's config.json.
fn own_process(container: &Container) -> Result<Process> {
    match &container.record.cleat.process {
        Some(raw) => spec::parse("state.json", raw.get().as_bytes()),
        None => Ok(Process { cwd: "/".into(), ..Process::default() }),
    }
}

/// `[controller:]PATH`: version 2 has one tree, so a controller names nothing.
fn cgroup(options: &Exec) -> Result<Option<PathBuf>> {
    match options.cgroup.as_slice() {
        [] => Ok(None),
        [one] => match one.split_once(':') {
            Some((_, _)) => Err(Error::new(format!("--cgroup {one:?}: cgroup v2 has no path for a controller"))
                .remedy("give the path alone")),
            None => Ok(Some(PathBuf::from(one))),
        },
        _ => Err(Error::new("--cgroup: cgroup v2 has one path").remedy("give it once")),
    }
}

/// `exec`: the exit code is that of the program, 0 when detached.
///
/// # Errors
/// The process could not be made. The container is as before.
pub fn exec(shell: &Shell<'_>, options: &Exec) -> Result<u8> {
    let (preserve_fds, listen_fds) = inherited_fds(shell, options.preserve_fds)?;
    let container = shell.store.open(&options.id)?;
    let process = process(&container, options, shell.warn)?;
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
        options,
        warn: shell.warn,
        debug: shell.debug,
        rootless: shell.rootless,
    };
    let own = container.memory_limited().then(|| container.cgroup()).flatten();
    let oom = OomWatch::from_now(own.as_ref());
    let mut prepared = join(&parameters).map_err(|error| blame(error, options))?;
    let signals = (!options.detach).then(Signals::block).transpose()?;
    let mut started = hand_over(&prepared, options).and_then(|()| prepared.start(&container));
    if options.detach && started.is_ok() {
        started = starting::not_killed_at_once(prepared.child.get().pidfd.as_fd(), &oom);
    }
    if let Err(error) = started {
        if let Some(path) = &options.pid_file {
            let _ = std::fs::remove_file(path);
        }
        return Err(error);
    }
    let Some(signals) = signals else {
        prepared.child.release();
        return Ok(0);
    };
    let code = console::supervise(prepared.child.get(), &signals, prepared.console.take());
    super::create::tell_memory_death(&code, &oom, shell.report);
    prepared.child.release();
    code
}

fn hand_over(prepared: &ExecProcess, options: &Exec) -> Result<()> {
    match (&options.console_socket, &prepared.console) {
        (Some(path), Some(master)) => console::send_fd(path, master.as_fd(), "/dev/ptmx")?,
        (None, Some(master)) => console::prepare(master),
        (_, None) => {}
    }
    if let Some(path) = &options.pidfd_socket {
        console::send_fd(path, prepared.child.get().pidfd.as_fd(), "pidfd")?;
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
