//! How is a child made by `clone3(2)`: the init, in its namespaces and its cgroup, and copies of this process?
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::{check, restore_signals, wide};

/// Arguments of `clone3(2)` for a child with a pidfd, which will be put at `pidfd`.
pub(super) fn clone_args(namespaces: u64, pidfd: *mut RawFd) -> libc::clone_args {
    // SAFETY: clone_args is plain numbers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces | wide(libc::CLONE_PIDFD);
    args.pidfd = pidfd.expose_provenance() as u64;
    args.exit_signal = wide(libc::SIGCHLD);
    args
}

/// The init's process as [`spawn_init`] makes it.
pub struct InitSpawn<'a> {
    /// `CLONE_NEW*` bits.
    pub namespaces: u64,
    /// The cgroup that it starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The program: a sealed memfd.
    pub program: BorrowedFd<'a>,
    /// The channel; its number is the program's only argument.
    pub socket: BorrowedFd<'a>,
    /// Wait for one packet on `socket`, then become user and group 0 of the new user namespace:
    /// without a mapping `execve` would take all capabilities away.
    pub wait_for_mapping: bool,
    /// A copy of our memory from the start: where the kernel may OOM-kill the child,
    /// it would kill all who share it.
    pub own_memory: bool,
}

/// A new process and its pidfd.
#[derive(Debug)]
pub struct Child {
    /// Ours to wait for; its number cannot be used again before we did.
    pub pid: i32,
    /// The same as a descriptor.
    pub pidfd: OwnedFd,
}

/// `clone3(2)` into namespaces and cgroup, then `execveat(2)` of the program.
///
/// # Errors
/// Those of clone3; a failed `execveat` ends the child with status 71.
pub fn spawn_init(spec: &InitSpawn<'_>) -> nix::Result<Child> {
    // All memory is taken before the child exists: it must not need an allocator.
    let number = CString::new(spec.socket.as_raw_fd().to_string()).map_err(|_| Errno::EINVAL)?;
    let argv: [*const c_char; 3] = [c"cleat-init".as_ptr(), number.as_ptr(), std::ptr::null()];
    let envp: [*const c_char; 1] = [std::ptr::null()];
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(spec.namespaces, &raw mut pidfd);
    if let Some(cgroup) = spec.cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP
        args.cgroup = wide(cgroup.as_raw_fd());
    }
    let child = InitArgs { spec, argv: argv.as_ptr(), envp: envp.as_ptr() };
    let pid = if spec.wait_for_mapping || spec.own_memory {
        // SAFETY: args outlives the call and its size is passed; no CLONE_VM and this program has
        // one thread, so the child owns a copy of all memory.
        let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
        if pid == 0 {
            // SAFETY: this is the child, alone with its memory.
            unsafe { become_init(&child) }
        }
        pid
    } else {
        // Without a copy of our memory, which would be thrown away at once: we stand still until
        // the child has become its own program.
        let mut stack = vec![0u128; CHILD_STACK / size_of::<u128>()];
        args.flags |= wide(libc::CLONE_VM | libc::CLONE_VFORK);
        args.stack = stack.as_mut_ptr().expose_provenance() as u64;
        args.stack_size = CHILD_STACK as u64;
        // SAFETY: args and child outlive the call, the stack is the child's alone, 16-byte aligned
        // and as long as said; become_init does not return.
        let result = unsafe { clone3_sharing(&args, become_init, &child) };
        check(result)?
    };
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    // SAFETY: clone3 has put a new descriptor there.
    Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Stack of a child that shares our memory: it makes a few system calls.
pub(super) const CHILD_STACK: usize = 16 * 1024;

/// What [`become_init`] needs.
struct InitArgs<'a> {
    spec: &'a InitSpawn<'a>,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

/// `clone3(2)` with `CLONE_VM`: the child runs `entry(data)` on the stack in `args`, with
/// `CLONE_VFORK` while the caller stands still. Returns the pid, or an error as libc does.
///
/// # Safety
/// `args.stack` is memory of `args.stack_size` bytes for the child alone, its end 16-byte aligned;
/// it and `data` stay until the child has another program or has ended; `entry` never returns.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3_sharing<T>(
    args: &libc::clone_args,
    entry: unsafe extern "C" fn(&T) -> !,
    data: &T,
) -> c_long {
    let result: c_long;
    // SAFETY: the kernel preserves every register but rax, rcx and r11, in both processes; the
    // child finds its stack empty and aligned, as a call wants it, and never comes back here.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {data}",
            "call {entry}",
            "ud2",
            "2:",
            data = in(reg) std::ptr::from_ref(data),
            entry = in(reg) entry,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<libc::clone_args>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    raw_result(result)
}

/// The same for arm64.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3_sharing<T>(
    args: &libc::clone_args,
    entry: unsafe extern "C" fn(&T) -> !,
    data: &T,
) -> c_long {
    let result: c_long;
    // SAFETY: the kernel preserves every register but x0, in both processes; the child finds its
    // stack empty and aligned and never comes back here.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, {data}",
            "blr {entry}",
            "brk #1",
            "2:",
            data = in(reg) std::ptr::from_ref(data),
            entry = in(reg) entry,
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<libc::clone_args>(),
            out("x30") _,
        );
    }
    raw_result(result)
}

/// The kernel's result as libc's functions return it: minus one, and the error in `errno`.
fn raw_result(result: c_long) -> c_long {
    if (-4095..0).contains(&result) {
        Errno::from_raw(c_int::try_from(-result).unwrap_or(0)).set();
        return -1;
    }
    result
}

/// The child's way from `clone3` to its own program: system calls on data made before.
///
/// # Safety
/// Only in a fresh child; `argv` and `envp` end with null pointers. It may share its parent's
/// memory, so it allocates nothing and changes nothing but `errno`.
unsafe extern "C" fn become_init(args: &InitArgs<'_>) -> ! {
    let InitArgs { spec, argv, envp } = *args;
    let socket = spec.socket.as_raw_fd();
    if spec.wait_for_mapping {
        // A copy of all our descriptors: the other end of the channel, which must close when
        // the host half dies, and the lock of the state directory.
        let kept = [socket.min(spec.program.as_raw_fd()), socket.max(spec.program.as_raw_fd())];
        for (first, last) in [(3, kept[0] - 1), (kept[0] + 1, kept[1] - 1), (kept[1] + 1, c_int::MAX)] {
            if first <= last {
                // SAFETY: numbers only; nothing in this process uses these descriptors any more.
                unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            }
        }
        let mut packet = [0u8; 16];
        // SAFETY: the buffer is passed with its true length.
        let got = unsafe { libc::recv(socket, packet.as_mut_ptr().cast(), packet.len(), 0) };
        if got <= 0 {
            // SAFETY: ends this process. The host half is gone.
            unsafe { libc::_exit(70) }
        }
        // SAFETY: raw calls with numbers; libc's own wrappers would signal threads that are not.
        unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) };
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) };
    }
    restore_signals();
    // SAFETY: clears close-on-exec of a descriptor that the program knows of.
    unsafe { libc::fcntl(socket, libc::F_SETFD, 0) };
    let program = spec.program.as_raw_fd();
    // SAFETY: the path is a C string, the arrays end with null pointers.
    unsafe { libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH) };
    // SAFETY: ends this process.
    unsafe { libc::_exit(71) }
}
/// A copy of this process that does one thing and ends: what it does there is not done to us.
///
/// # Errors
/// Those of clone3.
pub fn in_copy(namespaces: u64, work: impl FnOnce() -> u8) -> nix::Result<Child> {
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(namespaces, &raw mut pidfd);
    // SAFETY: as in `spawn_init`.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        let code = work();
        // SAFETY: ends this process.
        unsafe { libc::_exit(code.into()) }
    }
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    // SAFETY: clone3 has put a new descriptor there.
    Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// A process whose only purpose is a user namespace (for identity-mapped mounts): it sleeps until
/// it is killed.
///
/// # Errors
/// Those of clone3.
pub fn namespace_holder(namespaces: u64) -> nix::Result<Child> {
    let parent = nix::unistd::getpid();
    in_copy(namespaces, || {
        // SAFETY: numbers only. Not to outlive its parent, which kills it in any case.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // It may have died before that was said.
        while nix::unistd::getppid() == parent {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
        0
    })
}
