//! What does the kernel alone charge for a container?
//!
//! The same kernel calls as runc's default `spec` needs, in the order a runtime needs them, and
//! nothing else: no config.json, no validation, no state, no way back after an error. A real
//! runtime is measured against this.
//!
//! ```text
//! floor run  ROOTFS STATE CGROUP             run /true in a new container, wait, remove it
//! floor hold ROOTFS STATE CGROUP PIDFILE     run /pause in a new container and leave it there
//! floor exec PID CGROUP                      run /true in the container of PID
//! floor time STDERR PROGRAM ARGS...          run a program, print what it cost
//! floor nothing                              exit at once
//! floor calls                                print what getppid and personality cost, in ns
//! ```
//!
//! `time` is in this program because a process begins with the peak memory of the process that executed
//! it: measuring from a process of a few hundred kB is what makes small figures visible. For the
//! same reason there is no runtime of the Rust standard library: `main` is C's.

#![no_main]

mod sys;

use std::ffi::CStr;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::{Args, Child, Fail, Result};

/// The namespaces of runc's default `spec`; the cgroup namespace comes later, from inside.
const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNS;

/// KILL, NET_BIND_SERVICE and AUDIT_WRITE, by number.
const CAPABILITIES: [u32; 3] = [5, 10, 29];

/// The last capability of Linux 5.9 and later: CHECKPOINT_RESTORE.
const LAST_CAPABILITY: u32 = 40;

const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
];

const MASKED: [&CStr; 10] = [
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/proc/sched_debug",
    c"/sys/firmware",
    c"/proc/scsi",
];

const READ_ONLY: [&CStr; 5] = [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];

/// Called by `sys::main`; the value is the exit code.
fn floor(args: &Args) -> i32 {
    let word = |at| args.get(at).ok_or(Fail::usage());
    let done = match args.get(1).map(CStr::to_bytes) {
        Some(b"run") => (|| run(word(2)?, word(3)?, word(4)?))(),
        Some(b"hold") => (|| hold(word(2)?, word(3)?, word(4)?, word(5)?))(),
        Some(b"exec") => (|| exec(word(2)?, word(3)?))(),
        Some(b"time") => (|| time(word(2)?, args))(),
        Some(b"nothing") => return 0,
        Some(b"calls") => calls(),
        _ => Err(Fail::usage()),
    };
    done.unwrap_or_else(|fail| {
        eprintln!("floor: {fail}");
        125
    })
}

fn run(rootfs: &CStr, state: &CStr, cgroup: &CStr) -> Result<i32> {
    let child = spawn(rootfs, state, cgroup, c"/true")?;
    let code = sys::wait(&child)?;
    sys::rmdir(cgroup)?;
    sys::rmdir(state)?;
    Ok(code)
}

fn hold(rootfs: &CStr, state: &CStr, cgroup: &CStr, pid_file: &CStr) -> Result<i32> {
    let child = spawn(rootfs, state, cgroup, c"/pause")?;
    let mut text = String::new();
    let _ = write!(text, "{}", child.pid);
    sys::write(&sys::create(pid_file)?, text.as_bytes())?;
    Ok(0)
}

/// Returns once `program` is executing.
fn spawn(rootfs: &CStr, state: &CStr, cgroup: &CStr, program: &CStr) -> Result<Child> {
    let (ours, theirs) = sys::socketpair()?;
    sys::mkdir(state, 0o700)?;
    sys::mkdir(cgroup, 0o755)?;
    let cgroup = sys::open_dir(cgroup)?;
    // Held until the end: detaching is the cgroup's removal.
    let _rules = sys::attach_device_rules(cgroup.as_fd())?;
    let Some(child) = sys::clone3(NAMESPACES, Some(cgroup.as_fd()))? else {
        drop(ours);
        sys::exit(become_program(&theirs, rootfs, program));
    };
    drop(theirs);
    sys::write(&ours, b"go")?;
    // The end of file: execve closed the other end.
    sys::read(&ours)?;
    Ok(child)
}

/// In the new namespaces and the new cgroup. Returns only after a failure.
fn become_program(parent: &OwnedFd, rootfs: &CStr, program: &CStr) -> Fail {
    match set_up(parent, rootfs) {
        Ok(()) => sys::execve(program),
        Err(fail) => fail,
    }
}

fn set_up(parent: &OwnedFd, rootfs: &CStr) -> Result<()> {
    sys::read(parent)?;
    sys::setsid()?;
    // After clone3, which takes the parent's cgroup for the root of a new cgroup namespace.
    sys::unshare(libc::CLONE_NEWCGROUP)?;

    sys::mount(c"", c"/", c"", libc::MS_SLAVE | libc::MS_REC, None)?;
    let root = sys::clone_tree(rootfs)?;
    sys::move_mount(root.as_fd(), rootfs)?;
    sys::fchdir(root.as_fd())?;
    mounts()?;
    devices()?;
    sys::set_read_only(root.as_fd(), false)?;
    sys::pivot_root_here()?;
    for path in READ_ONLY {
        read_only(path)?;
    }
    mask()?;

    sys::set_hostname("runc")?;
    sys::loopback_up()?;
    process()
}

fn mounts() -> Result<()> {
    let quiet = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
    sys::mount(c"proc", c"proc", c"proc", 0, None)?;
    let flags = libc::MS_NOSUID | libc::MS_STRICTATIME;
    let data = Some(c"mode=755,size=65536k");
    sys::mount(c"tmpfs", c"dev", c"tmpfs", flags, data)?;
    sys::mkdir(c"dev/pts", 0o755)?;
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    let data = Some(c"newinstance,ptmxmode=0666,mode=0620,gid=5");
    sys::mount(c"devpts", c"dev/pts", c"devpts", flags, data)?;
    sys::mkdir(c"dev/shm", 0o755)?;
    let data = Some(c"mode=1777,size=65536k");
    sys::mount(c"shm", c"dev/shm", c"tmpfs", quiet, data)?;
    sys::mkdir(c"dev/mqueue", 0o755)?;
    sys::mount(c"mqueue", c"dev/mqueue", c"mqueue", quiet, None)?;
    let flags = quiet | libc::MS_RDONLY;
    sys::mount(c"sysfs", c"sys", c"sysfs", flags, None)?;
    let flags = flags | libc::MS_RELATIME;
    sys::mount(c"cgroup", c"sys/fs/cgroup", c"cgroup2", flags, None)
}

fn devices() -> Result<()> {
    sys::clear_umask();
    for (path, major, minor) in DEVICES {
        sys::mknod(path, major, minor)?;
    }
    for (target, path) in LINKS {
        sys::symlink(target, path)?;
    }
    Ok(())
}

fn mask() -> Result<()> {
    let mut empty: Option<&CStr> = None;
    for path in MASKED {
        match sys::mount(c"/dev/null", path, c"", libc::MS_BIND, None) {
            // No such file: nothing to hide.
            Err(fail) if fail.errno == libc::ENOENT => {}
            // A directory: one empty file system serves them all.
            Err(fail) if fail.errno == libc::ENOTDIR => match empty {
                Some(other) => sys::mount(other, path, c"", libc::MS_BIND, None)?,
                None => {
                    sys::mount(c"tmpfs", path, c"tmpfs", libc::MS_RDONLY, None)?;
                    empty = Some(path);
                }
            },
            other => other?,
        }
    }
    Ok(())
}

fn read_only(path: &CStr) -> Result<()> {
    let tree = match sys::clone_tree(path) {
        Err(fail) if fail.errno == libc::ENOENT => return Ok(()),
        other => other?,
    };
    sys::set_read_only(tree.as_fd(), true)?;
    sys::move_mount(tree.as_fd(), path)
}

/// What the process itself gets, the same in a new container and in `exec`.
fn process() -> Result<()> {
    sys::new_session_keyring()?;
    sys::limit_descriptors(1024)?;
    sys::chdir(c"/")?;
    for capability in (0..=LAST_CAPABILITY).filter(|number| !CAPABILITIES.contains(number)) {
        sys::drop_bounding(capability)?;
    }
    sys::clear_ambient()?;
    sys::set_capabilities(CAPABILITIES.iter().fold(0, |set, number| set | 1 << number))?;
    sys::no_new_privileges()?;
    sys::close_on_exec_from(3)
}

fn exec(pid: &CStr, cgroup: &CStr) -> Result<i32> {
    let number = pid.to_str().ok().and_then(|text| text.parse().ok());
    let target = sys::pidfd_open(number.ok_or(Fail::usage())?)?;
    let cgroup = sys::open_dir(cgroup)?;
    match sys::clone3(0, Some(cgroup.as_fd()))? {
        Some(child) => sys::wait(&child),
        None => sys::exit(joined(target.as_fd())),
    }
}

/// In the container's cgroup, still in the host's namespaces. Returns only after a failure.
fn joined(target: BorrowedFd<'_>) -> Fail {
    let done = sys::setns(target, NAMESPACES | libc::CLONE_NEWCGROUP)
        // A pid namespace is entered by being created in it.
        .and_then(|()| sys::clone3(0, None))
        .and_then(|child| match child {
            Some(child) => sys::exit_with(sys::wait(&child)?),
            None => process(),
        });
    match done {
        Ok(()) => sys::execve(c"/true"),
        Err(fail) => fail,
    }
}

/// Prints wall time in ns, CPU time in µs, peak memory in kB, and the exit code.
///
/// The program's standard input and output are /dev/null, its standard error is the file `stderr`.
fn time(stderr: &CStr, args: &Args) -> Result<i32> {
    sys::unblock_signals()?;
    let answer = sys::redirect(stderr)?;
    let cost = sys::spawn_and_wait(&args.from(3)?)?;
    let mut text = String::new();
    let _ = write!(text, "{} {} {} {}", cost.wall_ns, cost.cpu_us, cost.peak_kb, cost.code);
    sys::write(&answer, text.as_bytes())?;
    Ok(0)
}

/// Prints the nanoseconds of one getppid and of one personality, which asks and changes nothing: of
/// many batches the fastest, in which nothing else was in the way.
fn calls() -> Result<i32> {
    const BATCHES: u32 = 50;
    const COUNT: u64 = 1000;
    let mut text = String::new();
    for call in [sys::getppid, sys::ask_personality] {
        let mut least = u64::MAX;
        for _ in 0..BATCHES {
            let start = sys::now_ns()?;
            (0..COUNT).for_each(|_| call());
            least = least.min((sys::now_ns()? - start) / COUNT);
        }
        let _ = write!(text, "{least} ");
    }
    println!("{text}");
    Ok(0)
}
