//! System calls of a process that stays, the shim, and for programs that are started.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use rustix::net::RecvFlags;

use super::{cloexec_from, receive_with};

/// Takes a connection from a listening socket, which does not wait.
///
/// # Errors
/// Those of accept4(2).
pub fn accept(listener: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    let raw = unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    let raw = Errno::result(raw)?;
    // SAFETY: the kernel has just returned this number as a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The first packet that waits, with descriptors of what came with it; it goes on waiting.
///
/// # Errors
/// Those of recvmsg(2); `EMSGSIZE` when the packet did not fit, or no more descriptors can be had.
pub fn peek(socket: BorrowedFd<'_>, packet: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    receive_with(socket, packet, RecvFlags::PEEK | RecvFlags::DONTWAIT)
}

/// How many bytes a pipe holds that nobody has read yet.
///
/// # Errors
/// `ENOTTY`: nothing of that kind.
pub fn unread(pipe: BorrowedFd<'_>) -> nix::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the number outlives the call.
    Errno::result(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// A child that has ended, which stays a zombie, so that its pid is not used again: its pid, and
/// its exit code as a shell would give it. `None`: all of them live, or there are none.
#[must_use]
pub fn peek_ended() -> Option<(i32, u8)> {
    // SAFETY: siginfo_t is plain numbers, for which zero is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: info outlives the call.
    Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) }).ok()?;
    // SAFETY: waitid has filled in these fields, or left them zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let code = if info.si_code == libc::CLD_EXITED { status } else { 128 + status };
    (pid > 0).then_some((pid, u8::try_from(code & 0xff).unwrap_or(255)))
}

/// Whether that is a child of ours that has not been reaped, alive or not.
#[must_use]
pub fn is_child(pid: i32) -> bool {
    // SAFETY: siginfo_t is plain numbers, for which zero is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let Ok(pid) = libc::id_t::try_from(pid) else { return false };
    // SAFETY: info outlives the call.
    Errno::result(unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, flags) }).is_ok()
}

/// Attaches a detached mount (move_mount(2)).
///
/// # Errors
/// `ENOENT`, `ENOTDIR`: the target is not there. `EINVAL`: it is no place for a mount.
pub fn attach_mount(mount: BorrowedFd<'_>, target: &CStr) -> nix::Result<()> {
    // SAFETY: both paths are C strings that outlive the call.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// The command's process is killed when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: every call is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(move || end_with_parent(parent).map_err(std::io::Error::from)) };
}

/// Gives this process, and so its children, a core scheduling cookie of their own: no other process runs on a sibling
/// of their core (Linux core-scheduling.rst).
///
/// # Errors
/// `EINVAL`: the kernel has no core scheduling (`CONFIG_SCHED_CORE`). `ENODEV`: the processor has no SMT.
pub fn new_core_cookie() -> nix::Result<()> {
    // PIDTYPE_TGID: all threads of a process; 0 is our own.
    let (own, tgid, unused): (libc::c_ulong, libc::c_ulong, libc::c_ulong) = (0, 1, 0);
    // SAFETY: without a pointer (PR_SCHED_CORE_GET alone takes one) nothing of our memory is read or written.
    let done = unsafe { libc::prctl(libc::PR_SCHED_CORE, libc::PR_SCHED_CORE_CREATE, own, tgid, unused) };
    Errno::result(done).map(drop)
}

/// The command's process will have these descriptors as 3, 4 and so on, and no others.
pub fn pass_descriptors(command: &mut Command, fds: Vec<OwnedFd>) {
    // SAFETY: every call is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(move || place_descriptors(&fds).map_err(std::io::Error::from)) };
}

/// How many descriptors a program can be given.
pub const MOST_DESCRIPTORS: usize = 32;

/// Puts copies of descriptors at 3, 4 and so on, where the next program has them, and no others: for a process that will
/// execute one.
///
/// # Errors
/// `EMFILE`: there are too many. Others are those of fcntl(2), dup2(2) and close_range(2).
pub fn place_descriptors(fds: &[OwnedFd]) -> nix::Result<()> {
    let first = RawFd::try_from(fds.len()).unwrap_or(0) + 3;
    let mut high = [-1; MOST_DESCRIPTORS];
    // Away from the numbers that are to be taken, then to them.
    for (index, fd) in fds.iter().enumerate() {
        let copy = high.get_mut(index).ok_or(Errno::EMFILE)?;
        // SAFETY: an open descriptor is copied.
        *copy = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, first) })?;
    }
    for (number, raw) in (3..first).zip(high) {
        // SAFETY: this process will execute another program: nothing else of it uses these descriptors.
        Errno::result(unsafe { libc::dup2(raw, number) })?;
    }
    cloexec_from(u32::try_from(first).unwrap_or(3))
}

/// This process is killed when the thread that made it ends.
///
/// # Errors
/// `ESRCH`: that has ended before.
pub fn end_with_parent(parent: nix::unistd::Pid) -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}
