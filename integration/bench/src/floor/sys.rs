//! Which kernel calls does the floor make? All `unsafe` of this crate, one call a function.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong};
use std::fmt;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

/// Which call failed, and how.
#[derive(Clone, Copy)]
pub(crate) struct Fail {
    call: &'static str,
    pub(crate) errno: c_int,
}

pub(crate) type Result<T> = std::result::Result<T, Fail>;

impl Fail {
    pub(crate) fn usage() -> Self {
        Self { call: "arguments", errno: libc::EINVAL }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "{}: {error}", self.call)
    }
}

/// The entry, called by libc instead of Rust's own start-up code.
// SAFETY: the program links no other `main`: the crate is `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) -> c_int {
    // SAFETY: libc passes argc pointers, which live until the process ends.
    let words = unsafe { std::slice::from_raw_parts(argv, usize::try_from(argc).unwrap_or(0)) };
    crate::floor(&Args { words, envp })
}

/// The command line, not copied.
pub(crate) struct Args {
    words: &'static [*const c_char],
    envp: *const *const c_char,
}

impl Args {
    pub(crate) fn get(&self, at: usize) -> Option<&CStr> {
        let word = *self.words.get(at)?;
        // SAFETY: the words of argv are C strings that live until the process ends.
        Some(unsafe { CStr::from_ptr(word) })
    }

    /// The words from `at` to the end, as a command line of their own; at least one.
    pub(crate) fn from(&self, at: usize) -> Result<Self> {
        match self.words.get(at..) {
            Some(words) if !words.is_empty() => Ok(Self { words, ..*self }),
            _ => Err(Fail::usage()),
        }
    }
}

/// A child, by number (for printing) and by descriptor (for everything else).
pub(crate) struct Child {
    pub(crate) pid: u64,
    pidfd: OwnedFd,
}

/// What a program cost, its waited-for children included.
pub(crate) struct Cost {
    pub(crate) wall_ns: u64,
    pub(crate) cpu_us: u64,
    pub(crate) peak_kb: u64,
    pub(crate) code: c_int,
}

fn fail<T>(call: &'static str) -> Result<T> {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Err(Fail { call, errno })
}

fn check(call: &'static str, answer: impl Into<i64>) -> Result<u64> {
    u64::try_from(answer.into()).or_else(|_| fail(call))
}

fn descriptor(call: &'static str, answer: impl Into<i64>) -> Result<OwnedFd> {
    let number = check(call, answer)?;
    let number = RawFd::try_from(number).or_else(|_| fail(call))?;
    // SAFETY: a call just returned the number as that of a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The same bits, for flags and descriptors that libc declares signed and the kernel unsigned.
fn unsigned(number: c_int) -> u32 {
    u32::from_ne_bytes(number.to_ne_bytes())
}

/// A count that is never negative.
fn count(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

pub(crate) fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for the two numbers the kernel writes.
    let answer = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    check("socketpair", answer)?;
    Ok((descriptor("socketpair", ends[0])?, descriptor("socketpair", ends[1])?))
}

/// Blocks until a message or the end of file arrives; both are fine.
pub(crate) fn read(from: &OwnedFd) -> Result<()> {
    let mut message = [0_u8; 8];
    let room = message.len();
    // SAFETY: the kernel writes at most `room` bytes into `message`.
    let answer = unsafe { libc::read(from.as_raw_fd(), message.as_mut_ptr().cast(), room) };
    check("read", i64::try_from(answer).unwrap_or(-1)).map(drop)
}

pub(crate) fn write(to: &OwnedFd, message: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `message`, whose length is passed.
    let answer = unsafe { libc::write(to.as_raw_fd(), message.as_ptr().cast(), message.len()) };
    check("write", i64::try_from(answer).unwrap_or(-1)).map(drop)
}

pub(crate) fn mkdir(path: &CStr, mode: libc::mode_t) -> Result<()> {
    // SAFETY: `path` is a C string that outlives the call.
    check("mkdir", unsafe { libc::mkdir(path.as_ptr(), mode) }).map(drop)
}

pub(crate) fn rmdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is a C string that outlives the call.
    check("rmdir", unsafe { libc::rmdir(path.as_ptr()) }).map(drop)
}

pub(crate) fn open_dir(path: &CStr) -> Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `path` is a C string that outlives the call.
    descriptor("open", unsafe { libc::open(path.as_ptr(), flags) })
}

pub(crate) fn create(path: &CStr) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    // SAFETY: `path` is a C string that outlives the call.
    descriptor("open", unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

/// One instruction of eBPF, in the kernel's layout on a little-endian machine.
const fn insn(code: u64, dst: u64, src: u64, skip: u64, value: u64) -> u64 {
    code | dst << 8 | src << 12 | skip << 16 | value << 32
}

/// Allows mknod of all, and the default devices of runc; denies the rest.
const DEVICE_RULES: [u64; 23] = {
    const LOAD: u64 = 0x61;
    const COPY: u64 = 0xbf;
    const AND: u64 = 0x57;
    const SHIFT: u64 = 0x77;
    const JUMP: u64 = 0x05;
    const IF: u64 = 0x15;
    const UNLESS: u64 = 0x55;
    const SET: u64 = 0xb7;
    const EXIT: u64 = 0x95;
    [
        insn(LOAD, 2, 1, 0, 0), // 0: type in the low half, access in the high half
        insn(COPY, 3, 2, 0, 0),
        insn(AND, 2, 0, 0, 0xffff),
        insn(SHIFT, 3, 0, 0, 16),
        insn(LOAD, 4, 1, 4, 0),    // 4: major
        insn(LOAD, 5, 1, 8, 0),    // 5: minor
        insn(IF, 3, 0, 14, 1),     // 6: nothing but mknod is asked for
        insn(UNLESS, 2, 0, 11, 2), // 7: not a character device
        insn(IF, 4, 0, 12, 136),   // 8: pts
        insn(IF, 4, 0, 7, 5),      // 9
        insn(UNLESS, 4, 0, 8, 1),  // 10
        insn(IF, 5, 0, 9, 3),      // 11: null
        insn(IF, 5, 0, 8, 5),      // 12: zero
        insn(IF, 5, 0, 7, 7),      // 13: full
        insn(IF, 5, 0, 6, 8),      // 14: random
        insn(IF, 5, 0, 5, 9),      // 15: urandom
        insn(JUMP, 0, 0, 2, 0),    // 16
        insn(IF, 5, 0, 3, 0),      // 17: tty
        insn(IF, 5, 0, 2, 2),      // 18: ptmx
        insn(SET, 0, 0, 0, 0),     // 19: denied
        insn(EXIT, 0, 0, 0, 0),
        insn(SET, 0, 0, 0, 1), // 21: allowed
        insn(EXIT, 0, 0, 0, 0),
    ]
};

/// The head of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest for zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// The head of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct ProgAttach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

fn bpf<T>(call: &'static str, command: c_int, attr: &T) -> Result<c_long> {
    let size = size_of::<T>();
    // SAFETY: `attr` is a `repr(C)` head of bpf_attr for `command`, and its size is passed.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size) };
    check(call, answer).map(|_| answer)
}

/// Returns the program; the cgroup holds it too.
pub(crate) fn attach_device_rules(cgroup: BorrowedFd<'_>) -> Result<OwnedFd> {
    const PROG_LOAD: c_int = 5;
    const PROG_ATTACH: c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let load = ProgLoad {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(DEVICE_RULES.len()).or(Err(Fail::usage()))?,
        insns: DEVICE_RULES.as_ptr().addr() as u64,
        license: c"".as_ptr().addr() as u64,
    };
    let program = descriptor("bpf load", bpf("bpf load", PROG_LOAD, &load)?)?;
    let attach = ProgAttach {
        target_fd: unsigned(cgroup.as_raw_fd()),
        attach_bpf_fd: unsigned(program.as_raw_fd()),
        attach_type: CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    bpf("bpf attach", PROG_ATTACH, &attach)?;
    Ok(program)
}

/// `None` in the child.
pub(crate) fn clone3(namespaces: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Option<Child>> {
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = u64::from(unsigned(namespaces | libc::CLONE_PIDFD));
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(unsigned(libc::SIGCHLD));
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, which libc types as i32 and cannot hold
        args.cgroup = u64::from(unsigned(cgroup.as_raw_fd()));
    }
    let size = size_of_val(&args);
    // SAFETY: `args` and `pidfd` outlive the call and the size is passed; there is one thread and
    // no CLONE_VM, so the child goes on with a whole copy of all memory.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) };
    match check("clone3", answer)? {
        0 => Ok(None),
        pid => descriptor("clone3", pidfd).map(|pidfd| Some(Child { pid, pidfd })),
    }
}

/// The exit code of `child`, or 128 and the signal.
pub(crate) fn wait(child: &Child) -> Result<c_int> {
    // SAFETY: siginfo_t is plain data, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    let id = unsigned(child.pidfd.as_raw_fd());
    // SAFETY: the kernel writes one siginfo_t into `info`.
    let answer = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED) };
    check("waitid", answer)?;
    // SAFETY: a successful waitid filled in the fields of SIGCHLD.
    let status = unsafe { info.si_status() };
    Ok(match info.si_code {
        libc::CLD_EXITED => status,
        _ => 128 + status,
    })
}

/// Ends a child that could not become its program.
pub(crate) fn exit(fail: Fail) -> ! {
    eprintln!("floor: in the container: {fail}");
    exit_with(126)
}

pub(crate) fn exit_with(code: c_int) -> ! {
    // SAFETY: _exit has no conditions.
    unsafe { libc::_exit(code) }
}

pub(crate) fn setsid() -> Result<()> {
    // SAFETY: setsid has no conditions.
    check("setsid", unsafe { libc::setsid() }).map(drop)
}

pub(crate) fn unshare(namespaces: c_int) -> Result<()> {
    // SAFETY: no flag of ours shares or splits memory.
    check("unshare", unsafe { libc::unshare(namespaces) }).map(drop)
}

pub(crate) fn setns(target: BorrowedFd<'_>, namespaces: c_int) -> Result<()> {
    // SAFETY: setns reads its arguments by value.
    let answer = unsafe { libc::setns(target.as_raw_fd(), namespaces) };
    check("setns", answer).map(drop)
}

pub(crate) fn pidfd_open(pid: libc::pid_t) -> Result<OwnedFd> {
    // SAFETY: pidfd_open reads its arguments by value.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    descriptor("pidfd_open", answer)
}

pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: c_ulong, data: Option<&CStr>) -> Result<()> {
    let data = data.map_or(null(), CStr::as_ptr).cast();
    // SAFETY: three C strings and one or NULL, all outliving the call.
    let answer = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) };
    check("mount", answer).map(drop)
}

/// A detached copy of the mounts at `path`.
pub(crate) fn clone_tree(path: &CStr) -> Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | unsigned(libc::AT_RECURSIVE);
    // SAFETY: `path` is a C string that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    descriptor("open_tree", answer)
}

pub(crate) fn move_mount(tree: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    // SAFETY: two C strings that outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check("move_mount", answer).map(drop)
}

pub(crate) fn set_read_only(tree: BorrowedFd<'_>, all_of_it: bool) -> Result<()> {
    let attr = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let recursive = if all_of_it { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: a C string and `attr`, whose size is passed; both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    check("mount_setattr", answer).map(drop)
}

/// Makes the current directory the root and unmounts the old one.
pub(crate) fn pivot_root_here() -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: two C strings that outlive the call.
    check("pivot_root", unsafe { libc::syscall(libc::SYS_pivot_root, here, here) })?;
    // SAFETY: a C string that outlives the call.
    check("umount2", unsafe { libc::umount2(here, libc::MNT_DETACH) }).map(drop)
}

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is a C string that outlives the call.
    check("chdir", unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

pub(crate) fn fchdir(directory: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: fchdir reads its argument by value.
    check("fchdir", unsafe { libc::fchdir(directory.as_raw_fd()) }).map(drop)
}

pub(crate) fn clear_umask() {
    // SAFETY: umask has no conditions and cannot fail.
    unsafe { libc::umask(0) };
}

pub(crate) fn mknod(path: &CStr, major: c_uint, minor: c_uint) -> Result<()> {
    let device = libc::makedev(major, minor);
    // SAFETY: `path` is a C string that outlives the call.
    let answer = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device) };
    check("mknod", answer).map(drop)
}

pub(crate) fn symlink(target: &CStr, path: &CStr) -> Result<()> {
    // SAFETY: two C strings that outlive the call.
    check("symlink", unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }).map(drop)
}

pub(crate) fn set_hostname(name: &str) -> Result<()> {
    // SAFETY: the kernel reads `name`, whose length is passed.
    check("sethostname", unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

pub(crate) fn loopback_up() -> Result<()> {
    // SAFETY: socket reads its arguments by value.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let socket = descriptor("socket", socket)?;
    // SAFETY: ifreq is plain data, for which zero is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = c_char::try_from(byte).unwrap_or(0);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).or(Err(Fail::usage()))?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    check("ioctl SIOCSIFFLAGS", answer).map(drop)
}

pub(crate) fn new_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    let anonymous = null::<c_char>();
    // SAFETY: NULL asks for a nameless keyring.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) };
    check("keyctl", answer).map(drop)
}

pub(crate) fn limit_descriptors(limit: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the kernel reads one rlimit, which outlives the call.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    check("setrlimit", answer).map(drop)
}

fn prctl(call: &'static str, option: c_int, value: c_ulong) -> Result<()> {
    let rest: c_ulong = 0;
    // SAFETY: the options we use read their arguments by value.
    check(call, unsafe { libc::prctl(option, value, rest, rest, rest) }).map(drop)
}

/// A capability this kernel does not know needs no dropping, nor one we cannot drop.
pub(crate) fn drop_bounding(capability: u32) -> Result<()> {
    match prctl("prctl", libc::PR_CAPBSET_DROP, c_ulong::from(capability)) {
        Err(fail) if fail.errno == libc::EINVAL => Ok(()),
        other => other,
    }
}

pub(crate) fn clear_ambient() -> Result<()> {
    let all: c_ulong = 4; // PR_CAP_AMBIENT_CLEAR_ALL
    prctl("prctl", libc::PR_CAP_AMBIENT, all)
}

pub(crate) fn no_new_privileges() -> Result<()> {
    prctl("prctl", libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Sets the effective and the permitted set; all are below capability 32.
pub(crate) fn set_capabilities(set: u32) -> Result<()> {
    let header: [u32; 2] = [0x2008_0522, 0]; // _LINUX_CAPABILITY_VERSION_3, this process
    let data: [u32; 6] = [set, set, 0, 0, 0, 0]; // effective, permitted, inheritable, low then high
    // SAFETY: header and data have the layout of capset(2), version 3, and outlive the call.
    let answer = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    check("capset", answer).map(drop)
}

pub(crate) fn close_on_exec_from(first: c_uint) -> Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: close_range reads its arguments by value, and this flag closes nothing yet.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) };
    check("close_range", answer).map(drop)
}

/// Returns only after a failure.
pub(crate) fn execve(program: &CStr) -> Fail {
    let argv = [program.as_ptr(), null()];
    let envp = [null()];
    // SAFETY: both arrays end in NULL and hold C strings; all outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    match fail::<()>("execve") {
        Err(fail) => fail,
        Ok(()) => Fail::usage(),
    }
}

/// The bench blocks signals, which a runtime must not inherit.
pub(crate) fn unblock_signals() -> Result<()> {
    // SAFETY: sigset_t is plain data, and zero is the empty set on Linux.
    let none: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the kernel reads one set, which outlives the call.
    let answer = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut()) };
    check("sigprocmask", answer).map(drop)
}

/// Points 0 and 1 to /dev/null and 2 to the file `stderr`, and returns what was 1.
pub(crate) fn redirect(stderr: &CStr) -> Result<OwnedFd> {
    // SAFETY: fcntl reads its arguments by value here.
    let answer = unsafe { libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3) };
    let output = descriptor("fcntl", answer)?;
    // SAFETY: a C string that outlives the call.
    let nowhere = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    let nowhere = descriptor("open /dev/null", nowhere)?;
    let errors = create(stderr)?;
    for (from, to) in [(&nowhere, 0), (&nowhere, 1), (&errors, 2)] {
        // SAFETY: 0, 1 and 2 are owned by no object of this program.
        check("dup2", unsafe { libc::dup2(from.as_raw_fd(), to) })?;
    }
    Ok(output)
}

pub(crate) fn now_ns() -> Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    check("clock_gettime", unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) })?;
    Ok(count(now.tv_sec) * 1_000_000_000 + count(now.tv_nsec))
}

pub(crate) fn getppid() {
    // SAFETY: a number, and no memory of ours.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Asks, and changes nothing.
pub(crate) fn ask_personality() {
    // SAFETY: numbers, and no memory of ours.
    unsafe { libc::syscall(libc::SYS_personality, 0xffff_ffff_u64) };
}

fn micros(time: libc::timeval) -> u64 {
    count(time.tv_sec) * 1_000_000 + count(time.tv_usec)
}

/// Runs a program as if by vfork, and waits for it.
pub(crate) fn spawn_and_wait(command: &Args) -> Result<Cost> {
    let mut pid: libc::pid_t = 0;
    let mut status: c_int = 0;
    // SAFETY: rusage is plain integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { zeroed() };
    let program = command.words[0];
    let argv = command.words.as_ptr().cast_mut().cast();
    let envp = command.envp.cast_mut().cast();
    let before = now_ns()?;
    // SAFETY: argv is the tail of our own, which ends in NULL, as does envp; NULL attributes and
    // actions are the defaults.
    let errno = unsafe { libc::posix_spawn(&raw mut pid, program, null(), null(), argv, envp) };
    if errno != 0 {
        return Err(Fail { call: "posix_spawn", errno });
    }
    // SAFETY: the kernel writes one status and one rusage.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let after = now_ns()?;
    check("wait4", waited)?;
    Ok(Cost {
        wall_ns: after - before,
        cpu_us: micros(usage.ru_utime) + micros(usage.ru_stime),
        peak_kb: count(usage.ru_maxrss),
        code: match libc::WIFEXITED(status) {
            true => libc::WEXITSTATUS(status),
            false => 128 + libc::WTERMSIG(status),
        },
    })
}
