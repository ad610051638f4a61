//! What is restored: a process that is like the first one of a living container, but for what the test wants.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use integration::criu::Restored;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rust_criu::rust_criu_protobuf::rpc::Criu_opts;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::sys;

/// Kinds of namespaces that a process enters as it is, by their names in `/proc/PID/ns`.
const KINDS: [(&str, CloneFlags); 4] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// A process that is being restored.
pub(crate) struct Process {
    pid: i32,
    /// It goes on when something is written here.
    order: OwnedFd,
    traced: bool,
}

impl Process {
    /// Makes it; it is in its namespaces, and has mounted nothing.
    pub(crate) fn clone(restored: &Restored, opts: &Criu_opts) -> Self {
        let external = |key: &str| opts.inherit_fd.iter().find(|inherited| inherited.key() == key).map(|fd| fd.fd());
        let mut flags = 0;
        match external("extRootPidNS") {
            Some(number) => enter(&format!("/proc/self/fd/{number}"), CloneFlags::CLONE_NEWPID),
            None if is_host(restored, "pid") => {}
            None => flags = u64::try_from(libc::CLONE_NEWPID).expect("a flag"),
        }
        let (receives, sends) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let (ready, made) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        // Numbers are others in its pid namespace.
        let limits = sys::limits(restored.template);
        let Some(pid) = sys::clone(flags, !restored.not_sibling) else {
            drop((sends, ready));
            // The first process of a pid namespace does not die of SIGABRT.
            std::panic::set_hook(Box::new(|info| {
                eprintln!("criu-stand-in: the restored process: {info}");
                std::process::exit(101);
            }));
            namespaces(restored, opts, external("extRootNetNS"));
            rustix::io::write(&made, b"!").expect("a word to the stand-in");
            let mut byte = [0];
            if rustix::io::read(&receives, &mut byte) != Ok(1) {
                std::process::exit(0);
            }
            become_program(restored, &limits);
        };
        drop((receives, made));
        let mut byte = [0];
        assert_eq!(rustix::io::read(&ready, &mut byte), Ok(1), "the restored process has ended");
        if let Some(cgroup) = &restored.cgroup {
            fs::write(cgroup.join("cgroup.procs"), pid.to_string()).expect("cgroup.procs");
        }
        Self { pid, order: sends, traced: false }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// It mounts, takes its credentials, executes its program, and stands still.
    pub(crate) fn execute(&mut self) {
        let pid = Pid::from_raw(self.pid);
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACEEXEC).expect("PTRACE_SEIZE");
        self.traced = true;
        rustix::io::write(&self.order, b"!").expect("an order to the restored process");
        loop {
            match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("a stop of the restored process") {
                WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => return,
                WaitStatus::Stopped(_, signal) => ptrace::cont(pid, signal).expect("PTRACE_CONT"),
                WaitStatus::PtraceEvent(..) => ptrace::cont(pid, None).expect("PTRACE_CONT"),
                other => panic!("the restored process: {other:?}"),
            }
        }
    }

    /// Lets its parent have it, if it has ended.
    pub(crate) fn reap(&self) {
        if self.traced {
            let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
        }
    }

    /// It goes on, if it still is there.
    pub(crate) fn resume(&mut self) {
        if self.traced {
            let _ = ptrace::detach(Pid::from_raw(self.pid), None);
        }
        self.traced = false;
    }
}

fn is_host(restored: &Restored, kind: &str) -> bool {
    restored.host_namespaces.iter().any(|name| name == kind) || {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        of("self") == of(&restored.template.to_string())
    }
}

fn enter(path: &str, kind: CloneFlags) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    setns(file.as_fd(), kind).unwrap_or_else(|error| panic!("setns {path}: {error}"));
}

/// New ones, or those that the request names.
fn namespaces(restored: &Restored, opts: &Criu_opts, net: Option<i32>) {
    for (name, flag) in KINDS {
        let joined = opts.join_ns.iter().find(|joined| joined.ns() == name);
        match (joined, net) {
            (Some(joined), _) => enter(joined.ns_file(), flag),
            (None, Some(number)) if name == "net" => enter(&format!("/proc/self/fd/{number}"), flag),
            _ if is_host(restored, name) => {}
            _ => {
                if name == "uts" {
                    // With its host name.
                    enter(&format!("/proc/{}/ns/uts", restored.template), flag);
                }
                unshare(flag).expect("unshare");
            }
        }
    }
}

fn become_program(restored: &Restored, limits: &[libc::rlimit]) -> ! {
    let template = restored.template;
    let status = fs::read_to_string(format!("/proc/{template}/status")).expect("the template's status");
    let cwd = fs::read_link(format!("/proc/{template}/cwd")).expect("the template's cwd");
    let open = restored.open.as_ref().map(|path| File::open(path).expect("the file that is to be open"));
    sys::limit(limits);
    if !restored.host_namespaces.iter().any(|name| name == "mnt") {
        mounts(restored);
    }
    std::env::set_current_dir(cwd).expect("chdir");
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(
        u32::from_str_radix(field(&status, "Umask"), 8).expect("a mask"),
    ));
    if restored.companion {
        companion();
    }
    let is_set = field(&status, "NoNewPrivs") == "1";
    if is_set && !restored.new_privileges {
        rustix::thread::set_no_new_privs(true).expect("PR_SET_NO_NEW_PRIVS");
    }
    if restored.filter {
        sys::load_filter();
    }
    credentials(restored, &status);
    if let Some(file) = &open {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("F_SETFD");
    }
    cloexec_but(open.as_ref().map(|file| file.as_raw_fd()));
    let [program, args @ ..] = restored.args.as_slice() else { panic!("no program to restore") };
    let error = std::process::Command::new(program).args(args).env_clear().exec();
    panic!("{program}: {error}")
}

/// A line of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

fn set_of(status: &str, name: &str) -> HashSet<Capability> {
    let bits = u64::from_str_radix(field(status, name), 16).expect("a set");
    caps::all().into_iter().filter(|cap| bits & cap.bitmask() != 0).collect()
}

/// User and capabilities, all that were there before included.
fn credentials(restored: &Restored, status: &str) {
    let number = |name, at: usize| -> u32 {
        field(status, name).split_whitespace().nth(at).and_then(|id| id.parse().ok()).expect("an id")
    };
    let (uid, gid) = (restored.uid.unwrap_or_else(|| number("Uid", 0)), number("Gid", 0));
    if !restored.all_capabilities {
        let kept = set_of(status, "CapBnd");
        for cap in caps::all().difference(&kept) {
            let _ = caps::drop(None, CapSet::Bounding, *cap);
        }
    }
    rustix::thread::set_keep_capabilities(true).expect("PR_SET_KEEPCAPS");
    let groups =
        field(status, "Groups").split_whitespace().map(|id| rustix::fs::Gid::from_raw(id.parse().expect("a group")));
    rustix::thread::set_thread_groups(&groups.collect::<Vec<_>>()).expect("setgroups");
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).expect("setresgid");
    rustix::thread::set_thread_res_uid(uid, uid, uid).expect("setresuid");
    if restored.all_capabilities {
        return;
    }
    for (name, set) in [("CapInh", CapSet::Inheritable), ("CapEff", CapSet::Effective), ("CapPrm", CapSet::Permitted)] {
        caps::set(None, set, &set_of(status, name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// A second process, with all that the first has now.
fn companion() {
    if sys::clone(0, false).is_none() {
        let error = std::process::Command::new("/probe").arg("sleep").stdout(std::process::Stdio::null()).exec();
        panic!("/probe: {error}");
    }
}

/// Nothing else stays open in the program.
fn cloexec_but(spared: Option<i32>) {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && Some(*number) != spared)
        .collect();
    for number in numbers {
        // The directory that was read is closed by now.
        let _ = nix::fcntl::fcntl(
            // A copy of the flag alone; whoever owns it, it ends with this program.
            sys::borrowed(number),
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
        );
    }
}

/// A copy of the template's mounts, with a procfs of its own.
fn mounts(restored: &Restored) {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", restored.template)).expect("the template's mounts");
    enter(&format!("/proc/{}/ns/mnt", restored.template), CloneFlags::CLONE_NEWNS);
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let lines: Vec<Mount> = text.lines().filter_map(Mount::parse).collect();
    if let Some(proc) = lines.iter().find(|line| line.target == Path::new("/proc")) {
        fresh_proc(proc, &lines);
    }
    if let Some(extra) = &restored.mount {
        rustix::mount::mount("none", extra, "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
    }
}

/// A line of mountinfo.
struct Mount {
    root: String,
    target: PathBuf,
    flags: MountFlags,
    kind: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let words: Vec<&str> = left.split(' ').collect();
        let flag = |word: &str| match word {
            "ro" => MountFlags::RDONLY,
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "noatime" => MountFlags::NOATIME,
            "relatime" => MountFlags::RELATIME,
            _ => MountFlags::empty(),
        };
        Some(Self {
            root: (*words.get(3)?).to_owned(),
            target: words.get(4)?.into(),
            flags: words.get(5)?.split(',').map(flag).fold(MountFlags::empty(), |all, flag| all | flag),
            kind: right.split(' ').next()?.to_owned(),
        })
    }
}

/// That of the template shows other processes; what lies on it is made anew.
fn fresh_proc(proc: &Mount, lines: &[Mount]) {
    rustix::mount::unmount("/proc", UnmountFlags::DETACH).expect("the template's procfs goes");
    rustix::mount::mount("proc", "/proc", "proc", proc.flags, None).expect("a procfs");
    for line in lines.iter().filter(|line| line.target != proc.target && line.target.starts_with("/proc")) {
        match line.kind.as_str() {
            "proc" => bind(&line.target, line),
            "tmpfs" if line.root == "/" => {
                rustix::mount::mount("tmpfs", &line.target, "tmpfs", line.flags, None).expect("a mask");
            }
            _ => bind(Path::new("/dev/null"), line),
        }
    }
}

fn bind(source: &Path, line: &Mount) {
    rustix::mount::mount_bind(source, &line.target)
        .unwrap_or_else(|error| panic!("{}: {error}", line.target.display()));
    rustix::mount::mount_remount(&line.target, MountFlags::BIND | line.flags, c"").expect("a mount's own flags");
}
