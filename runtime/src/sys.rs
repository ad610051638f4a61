//! Which system calls do the crates not give us safely?
//!
//! Host half: the only file here with `unsafe`. Everything else says what it wants in types.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_long, c_uint};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

pub use bpf::*;
pub use clone::*;

mod bpf;
pub mod child;
pub mod clean_path;
mod clone;
mod heap;
pub mod loop_device;
pub mod netlink;
pub mod netns;
pub mod path;
pub mod query;
pub mod raw_words;
pub mod regex;

/// Defines the program's C entry point, which calls a function that gets the arguments and returns
/// the exit code.
#[macro_export]
macro_rules! entry {
    ($command:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            $crate::sys::begin();
            // SAFETY: what a C program's first function gets is what is asked for.
            std::ffi::c_int::from($command(unsafe { $crate::sys::arguments(count, words) }))
        }
    };
}

/// The words after the program's name. (Where the C library is musl, the standard library knows
/// them only by its own start-up code.)
///
/// # Safety
/// They are those that C's `main` got: `count` pointers to C strings that stay.
#[must_use]
pub unsafe fn arguments(count: c_int, words: *const *const c_char) -> Vec<OsString> {
    // SAFETY: the caller answers for the array and its length.
    let words = unsafe { std::slice::from_raw_parts(words, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: and for each of the strings.
    let text = |word: &*const c_char| unsafe { CStr::from_ptr(*word) };
    words.iter().skip(1).map(|word| OsStr::from_bytes(text(word).to_bytes()).to_owned()).collect()
}

/// Does what the standard library's start-up code does and is needed. A pipe without reader is an error and no
/// signal. 0, 1 and 2 are open, lest another file takes their place. And it sets what the rest of this program
/// takes for granted, whatever the caller has set. A file over `RLIMIT_FSIZE` is an error like that, and children
/// that have ended wait to be waited for.
pub fn begin() {
    for signal in IGNORED {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Where a caller ignores it, the kernel reaps our children.
    // SAFETY: nor does the default action of one that changes nothing.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    for stream in 0..3 {
        if !is_open(stream) {
            // The lowest free number is this one. Without /dev/null there is nothing to be done.
            // SAFETY: the path is a C string.
            let _ = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Signals that are errors here and would end this process. Programs of others get the default action again.
const IGNORED: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// What [`begin`] has changed, for a program of others that this process is about to become.
///
/// Async-signal-safe.
pub(crate) fn restore_signals() {
    for signal in IGNORED {
        // SAFETY: the default action runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn check(result: c_long) -> nix::Result<c_long> {
    Errno::result(result)
}

fn new_fd(result: c_long) -> nix::Result<OwnedFd> {
    let raw = RawFd::try_from(check(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this number as a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Whether a descriptor of that number is open.
#[must_use]
pub fn is_open(raw: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag of a number that may be anything.
    unsafe { libc::fcntl(raw, libc::F_GETFD) >= 0 }
}

/// A copy of a descriptor of that number, which must be open for writing.
///
/// # Errors
/// `EBADF`: it is not.
pub fn take_writable(raw: RawFd) -> nix::Result<OwnedFd> {
    if raw < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: asking a number what it is changes nothing.
    let flags = check(unsafe { libc::fcntl(raw, libc::F_GETFL) }.into())?;
    if flags & c_long::from(libc::O_ACCMODE) == c_long::from(libc::O_RDONLY) {
        return Err(Errno::EBADF);
    }
    // SAFETY: as above.
    new_fd(unsafe { libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, 3) }.into())
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2)).
///
/// # Errors
/// `ENOSYS` before Linux 5.9, `EINVAL` before 5.11.
pub fn cloexec_from(first: u32) -> nix::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: numbers only; the call changes a flag and closes nothing.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flag) }).map(drop)
}

/// A flag or descriptor, neither of which is negative, as the kernel's structs have them.
fn wide(number: c_int) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// `pidfd_open(2)`.
///
/// # Errors
/// `ESRCH`: no such process.
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    new_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `pidfd_send_signal(2)`; signal 0 asks whether the process is there.
///
/// # Errors
/// `ESRCH`: the process has been reaped.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> nix::Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for that of kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, null, 0) }).map(drop)
}

/// `prlimit(2)` of a child that has not been waited for.
///
/// # Errors
/// `EPERM`: the hard limit is raised without `CAP_SYS_RESOURCE`. `EINVAL`: soft above hard.
pub fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let null = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: limit outlives the call; a null pointer asks for no old value.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, null) }).map(drop)
}

/// A limit of this process: soft, hard.
///
/// # Errors
/// `EINVAL`: there is no such limit.
pub fn own_limit(resource: u32) -> nix::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let null = std::ptr::null::<libc::rlimit64>();
    // SAFETY: limit outlives the call; a null pointer sets nothing.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, null, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// `struct sched_attr`; the times are runtime, deadline, period, and the clamps (Linux 5.3).
#[repr(C)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) times: [u64; 4],
}

/// `sched_setattr(2)` of a child that has not been waited for; the size is filled in.
pub(crate) fn sched_setattr(pid: i32, mut attr: SchedAttr) -> nix::Result<()> {
    attr.size = u32::try_from(size_of::<SchedAttr>()).map_err(|_| Errno::E2BIG)?;
    // SAFETY: attr outlives the call and holds its true size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) }).map(drop)
}

/// `sched_setaffinity(2)`: bit N of all words is processor N; pid 0 is this process.
pub(crate) fn sched_setaffinity(pid: i32, mask: &[u64]) -> nix::Result<()> {
    // SAFETY: the mask is passed with its true length in bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// `ioprio_set(2)` of a child that has not been waited for: the class from bit 13 on, the level.
pub(crate) fn ioprio_set(pid: i32, value: i32) -> nix::Result<()> {
    // SAFETY: numbers only; IOPRIO_WHO_PROCESS is 1.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, 1, pid, value) }).map(drop)
}

/// Flags of [`open_tree`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeFlags {
    /// With the mounts below.
    pub recursive: bool,
    /// The last component is not followed.
    pub nofollow: bool,
}

/// A detached copy of a mount (open_tree(2), `OPEN_TREE_CLONE`).
///
/// # Errors
/// `EPERM`: without `CAP_SYS_ADMIN`. `ENOENT`, `EACCES`: as for open(2).
pub fn open_tree(path: &CStr, flags: TreeFlags) -> nix::Result<OwnedFd> {
    let mut bits = u64::from(libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC);
    if flags.recursive {
        bits |= wide(libc::AT_RECURSIVE);
    }
    if flags.nofollow {
        bits |= wide(libc::AT_SYMLINK_NOFOLLOW);
    }
    // SAFETY: the path is a C string that outlives the call.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), bits) })
}

/// The same of the mount that an open file is on, with that file as its root.
///
/// # Errors
/// `EPERM`: without `CAP_SYS_ADMIN`. `EINVAL`: the file is of another mount namespace, or of no mount.
pub fn open_tree_at(file: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let bits = u64::from(libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) | wide(libc::AT_EMPTY_PATH);
    // SAFETY: the path is a C string that outlives the call.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), bits) })
}

/// Through this mount owner, mode and times of a node cannot be changed; a device works as ever.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn protect_node(mount: BorrowedFd<'_>) -> nix::Result<()> {
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    let attr = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_mount_attr(mount, false, &attr)
}

/// Makes a mount one that nothing is written through.
///
/// # Errors
/// `EBUSY`: a file on it is open for writing. Others are those of mount_setattr(2).
pub fn make_readonly(mount: BorrowedFd<'_>) -> nix::Result<()> {
    let attr = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_mount_attr(mount, false, &attr)
}

/// Sets `MOUNT_ATTR_*` of a mount, and with `recursive` of all below it.
///
/// # Errors
/// `EINVAL`: the file is no root of a mount. `EBUSY`: it is to be read-only, and a file on it is open for writing.
pub fn set_mount_attributes(mount: BorrowedFd<'_>, recursive: bool, attributes: u64) -> nix::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_mount_attr(mount, recursive, &attr)
}

/// Maps the owners of a detached mount by a user namespace (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// `EINVAL`: the file system cannot do it. `EPERM`: it is mapped already.
pub fn idmap_mount(mount: BorrowedFd<'_>, recursive: bool, user_namespace: BorrowedFd<'_>) -> nix::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: wide(user_namespace.as_raw_fd()),
    };
    set_mount_attr(mount, recursive, &attr)
}

/// Makes a detached mount receive events of its origin's peer group and send none.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn enslave_mount(mount: BorrowedFd<'_>) -> nix::Result<()> {
    let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };
    set_mount_attr(mount, true, &attr)
}

fn set_mount_attr(mount: BorrowedFd<'_>, recursive: bool, attr: &libc::mount_attr) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    let raw = mount.as_raw_fd();
    // SAFETY: the path is a C string, attr outlives the call and its size is passed.
    check(unsafe { libc::syscall(libc::SYS_mount_setattr, raw, c"".as_ptr(), flags, std::ptr::from_ref(attr), size) })
        .map(drop)
}

/// Receives one packet with its descriptors. An empty packet is the end of the channel.
///
/// # Errors
/// Those of recvmsg(2); `EMSGSIZE` when the packet or its descriptors did not fit.
pub fn receive(socket: BorrowedFd<'_>, packet: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    receive_with(socket, packet, RecvFlags::empty())
}

fn receive_with(socket: BorrowedFd<'_>, packet: &mut [u8], flags: RecvFlags) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(packet)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut iov, &mut control, flags));
    let message = message.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    // Those that came, whether or not all did, are closed or handed on.
    let rights = control.drain().filter_map(|control| match control {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let fds = rights.flatten().collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    Ok((message.bytes, fds))
}

/// Whether the kernel knows a flag of `SECCOMP_SET_MODE_FILTER` (seccomp(2)).
#[must_use]
pub fn knows_filter_flag(flag: u32) -> bool {
    const SET_MODE_FILTER: c_uint = 1;
    const NEW_LISTENER: u32 = 8;
    const WAIT_KILLABLE_RECV: u32 = 32;
    let flag = if flag == WAIT_KILLABLE_RECV { flag | NEW_LISTENER } else { flag };
    // SAFETY: without a program nothing is loaded; known flags are known by EFAULT.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flag, std::ptr::null::<u8>()) };
    check(answer) == Err(Errno::EFAULT)
}

/// Whether that is the master of a terminal, and not a file that somebody would like us to write to.
#[must_use]
pub fn is_terminal_master(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat, makedev};
    let ptmx = |stat: nix::sys::stat::FileStat| {
        stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && stat.st_rdev == makedev(5, 2)
    };
    let mut number: c_uint = 0;
    // SAFETY: the number outlives the call.
    let ask_number =
        |number: &mut c_uint| unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGPTN, std::ptr::from_mut(number)) };
    fstat(fd).is_ok_and(ptmx) && ask_number(&mut number) == 0
}

/// The size of a terminal, rows and columns.
///
/// # Errors
/// `ENOTTY`: not a terminal.
pub fn window_size(terminal: BorrowedFd<'_>) -> nix::Result<libc::winsize> {
    // SAFETY: winsize is plain numbers, for which zero is a valid value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a winsize there.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(size)
}

/// Sets the size of a terminal.
///
/// # Errors
/// `ENOTTY`: not a terminal.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &libc::winsize) -> nix::Result<()> {
    // SAFETY: the kernel reads a winsize there.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) }).map(drop)
}

/// What a child of a hook does between fork and exec: descriptors from 3 on are closed.
pub fn spawn_without_descriptors(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let prepare = || {
        cloexec_from(3).map_err(std::io::Error::from)?;
        restore_signals();
        Ok(())
    };
    // SAFETY: all these calls are async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(prepare) };
}

/// Reaps any child: its pid and wait status, or `None` when none has ended.
///
/// # Errors
/// `ECHILD`: there are no children.
pub fn reap_any() -> nix::Result<Option<(i32, c_int)>> {
    let mut status = 0;
    // SAFETY: status outlives the call.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) })?;
    Ok((pid > 0).then_some((pid, status)))
}

/// Waits for one child: its wait status.
///
/// # Errors
/// `ECHILD`: it is not a child, or has been reaped.
pub fn wait_for(pid: i32) -> nix::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: status outlives the call.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| status),
        }
    }
}

/// The exit code that a shell would give for this wait status.
#[must_use]
pub fn exit_code(status: c_int) -> u8 {
    let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    u8::try_from(code & 0xff).unwrap_or(255)
}

/// Receives `SIGKILL` of this process itself: a fault on purpose.
#[allow(clippy::disallowed_methods, reason = "no other process has our number while we are there")]
pub fn kill_self() -> ! {
    let _ = nix::sys::signal::kill(nix::unistd::getpid(), Signal::SIGKILL);
    std::process::abort()
}

/// The capability bounding set of this process, bit N is capability N, and the kernel's last one.
///
/// # Errors
/// Those of prctl(2).
pub fn bounding_capabilities() -> nix::Result<(u64, u32)> {
    let mut set = 0;
    let mut last = 0;
    for cap in 0..64u32 {
        // SAFETY: numbers only.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_READ, cap, 0, 0, 0) }) {
            Ok(has) => {
                last = cap;
                set |= u64::from(has == 1) << cap;
            }
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok((set, last))
}

/// Whether programs that this process executes get no privileges by being setuid.
#[must_use]
pub fn no_new_privileges() -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Whether this process is under a seccomp filter.
#[must_use]
pub fn is_filtered() -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 }
}

/// Makes this process the parent of its descendants' orphans.
///
/// # Errors
/// Those of prctl(2).
pub fn become_subreaper() -> nix::Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// A file in memory that nobody will ever execute, whatever is written into it, where the kernel can say so (6.3).
///
/// # Errors
/// Those of memfd_create(2).
pub fn memory_file(name: &CStr) -> nix::Result<std::fs::File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let flags = MFdFlags::MFD_CLOEXEC;
    let noexec_seal = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let fd = match memfd_create(name, flags | noexec_seal) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        other => other,
    };
    fd.map(std::fs::File::from)
}

/// A random number (getrandom(2)).
///
/// # Errors
/// Those of the call.
pub fn random() -> nix::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is passed with its true length.
    Errno::result(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Borrows a standard stream.
#[must_use]
pub fn stream(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: Rust's start-up code makes sure that 0, 1 and 2 are open, and nothing closes them.
    unsafe { BorrowedFd::borrow_raw(number.clamp(0, 2)) }
}
