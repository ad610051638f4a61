//! Which system calls does rustix not give us, and what does a program without libc need?
//!
//! Runs as the container's first process. All `unsafe` of the init is here.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

use alloc::vec::Vec;
use cleat_plan::Text;
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::process::Pid;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call {entry}",
    "ud2",
    entry = sym entry,
    options(att_syntax)
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "and sp, x0, #-16",
    "bl {entry}",
    "brk #1",
    entry = sym entry,
);

/// First instruction in Rust: `stack` is what the kernel laid there (argc, argv …).
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel puts argc at the stack pointer and argc pointers to C strings after it
    // (System V ABI, both architectures), which live as long as the process.
    let argc = unsafe { *stack };
    let socket = if argc >= 2 {
        // SAFETY: argc is at least 2, so argv[1], two words up, is a valid C string.
        let word = unsafe { stack.add(2) };
        // SAFETY: as above.
        let pointer = unsafe { *word } as *const c_char;
        // SAFETY: as above.
        let arg = unsafe { CStr::from_ptr(pointer) };
        parse_fd(arg.to_bytes())
    } else {
        None
    };
    match socket {
        // SAFETY: cleat passes the number of a socket that nothing else in this process owns.
        Some(fd) => crate::run(unsafe { OwnedFd::from_raw_fd(fd) }),
        None => exit(70),
    }
}

fn parse_fd(text: &[u8]) -> Option<RawFd> {
    core::str::from_utf8(text).ok()?.parse().ok().filter(|fd| *fd >= 0)
}

/// One raw system call.
///
/// # Safety
/// As for the call itself: pointers must be valid for what the kernel does with them.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: u32, a: [usize; 6]) -> Result<usize, Errno> {
    let result: usize;
    // SAFETY: the x86_64 system call convention; rcx and r11 are clobbered, memory is declared so.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    check(result)
}

/// One raw system call.
///
/// # Safety
/// As for the call itself: pointers must be valid for what the kernel does with them.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: u32, a: [usize; 6]) -> Result<usize, Errno> {
    let result: usize;
    // SAFETY: the arm64 system call convention; memory is declared clobbered.
    unsafe {
        asm!("svc 0", in("x8") number as usize, inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    check(result)
}

/// The last 4095 values are errors, negated.
fn check(result: usize) -> Result<usize, Errno> {
    let negated = result.wrapping_neg();
    if (1..=4095).contains(&negated) {
        Err(Errno::from_raw_os_error(i32::try_from(negated).unwrap_or(i32::MAX)))
    } else {
        Ok(result)
    }
}

fn fd_arg(fd: BorrowedFd<'_>) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}

/// Ends the process.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: takes a number and does not return, but where a filter forbids it.
    let _ = unsafe { syscall(raw::__NR_exit_group, [usize::from(code), 0, 0, 0, 0, 0]) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an instruction that there is not: SIGILL ends the process.
    unsafe {
        asm!("ud2", options(noreturn, nomem, nostack))
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a breakpoint: SIGTRAP ends the process.
    unsafe {
        asm!("brk #1", options(noreturn, nomem, nostack))
    }
}

/// `mount_setattr(2)` on the mount that `fd` is the root of.
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<(), Errno> {
    let attr = raw::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let flags = raw::AT_EMPTY_PATH | if recursive { raw::AT_RECURSIVE } else { 0 };
    let args =
        [fd_arg(fd), c"".as_ptr() as usize, flags as usize, &raw const attr as usize, size_of::<raw::mount_attr>(), 0];
    // SAFETY: the path is a C string and attr outlives the call with its true size.
    unsafe { syscall(raw::__NR_mount_setattr, args) }.map(drop)
}

/// `close_range(2)`: marks every descriptor from `first` on close-on-exec.
pub(crate) fn cloexec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let args = [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0, 0];
    // SAFETY: numbers only; the call changes a flag and closes nothing.
    unsafe { syscall(raw::__NR_close_range, args) }.map(drop)
}

/// Standard input.
pub(crate) fn stdin() -> BorrowedFd<'static> {
    // SAFETY: this program never closes its standard streams, which cleat makes sure are open.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Standard error.
pub(crate) fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as above.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Every signal to its default action, none blocked: what a program expects to find.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    // The kernel's struct sigaction is all zero for SIG_DFL.
    let default = [0usize; 8];
    for signal in (1..=64).filter(|s| *s != 9 && *s != 19) {
        // SAFETY: the action is a zeroed buffer at least as long as the kernel's struct, and the
        // signal set's size is the kernel's eight bytes.
        unsafe { syscall(raw::__NR_rt_sigaction, [signal, default.as_ptr() as usize, 0, 8, 0, 0]) }?;
    }
    let none = 0u64;
    let args = [raw::SIG_SETMASK as usize, &raw const none as usize, 0, 8, 0, 0];
    // SAFETY: the set is eight bytes, as said, and outlives the call.
    unsafe { syscall(raw::__NR_rt_sigprocmask, args) }.map(drop)
}

/// Joins a new session keyring of that name (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`).
pub(crate) fn join_session_keyring(name: &CStr) -> Result<u32, Errno> {
    // SAFETY: the name is a C string that outlives the call.
    let id = unsafe { syscall(raw::__NR_keyctl, [1, name.as_ptr() as usize, 0, 0, 0, 0]) }?;
    Ok(u32::try_from(id & 0xffff_ffff).unwrap_or(0))
}

/// Adds possessor and user search rights to a key: `KEYCTL_SETPERM`.
pub(crate) fn keyring_set_permissions(id: u32, permissions: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    unsafe { syscall(raw::__NR_keyctl, [5, id as usize, permissions as usize, 0, 0, 0]) }.map(drop)
}

/// The permissions of a key, out of `KEYCTL_DESCRIBE`.
pub(crate) fn keyring_permissions(id: u32) -> Option<u32> {
    let mut text = [0u8; 256];
    let args = [6, id as usize, text.as_mut_ptr() as usize, text.len(), 0, 0];
    // SAFETY: the buffer is passed with its true length.
    let len = unsafe { syscall(raw::__NR_keyctl, args) }.ok()?.min(text.len());
    // "type;uid;gid;perm;description"
    let field = text.get(..len)?.split(|b| *b == b';').nth(3)?;
    u32::from_str_radix(core::str::from_utf8(field).ok()?, 16).ok()
}

/// `prctl(2)` with numbers only.
pub(crate) fn prctl(option: u32, a: usize, b: usize) -> Result<usize, Errno> {
    // SAFETY: only options whose arguments are numbers are passed (callers are in this crate).
    unsafe { syscall(raw::__NR_prctl, [option as usize, a, b, 0, 0, 0]) }
}

/// `capset(2)` of the calling thread.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    fn low(set: u64) -> u32 {
        (set & 0xffff_ffff) as u32
    }
    let header = [0x2008_0522u32, 0];
    let data = [
        low(effective),
        low(permitted),
        low(inheritable),
        low(effective >> 32),
        low(permitted >> 32),
        low(inheritable >> 32),
    ];
    let args = [header.as_ptr() as usize, data.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: version 3 of the header takes two structs of three words, which is what data holds.
    unsafe { syscall(raw::__NR_capset, args) }.map(drop)
}

/// Puts a filter on this thread's system calls (seccomp(2), `SECCOMP_SET_MODE_FILTER`); with
/// `listener` returns the notify descriptor for those to be decided elsewhere.
pub(crate) fn seccomp(program: &[u8], flags: u32, listener: bool) -> Result<Option<OwnedFd>, Errno> {
    const SET_MODE_FILTER: usize = 1;
    const FLAG_NEW_LISTENER: u32 = 8;
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const u8,
    }
    let len = u16::try_from(program.len() / 8).map_err(|_| Errno::INVAL)?;
    let all = Program { len, filter: program.as_ptr() };
    let flags = flags | if listener { FLAG_NEW_LISTENER } else { 0 };
    let args = [SET_MODE_FILTER, flags as usize, &raw const all as usize, 0, 0, 0];
    // SAFETY: struct sock_fprog with the true number of eight-byte instructions, which the kernel
    // copies and checks; both outlive the call.
    let result = unsafe { syscall(raw::__NR_seccomp, args) }?;
    let fd = listener.then(|| RawFd::try_from(result)).transpose().map_err(|_| Errno::BADF)?;
    // SAFETY: asked for a listener, the kernel has just returned it as a new descriptor.
    Ok(fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// `setgroups(2)`.
pub(crate) fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the array is passed with its true length.
    unsafe { syscall(raw::__NR_setgroups, [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Real, effective and saved group.
pub(crate) fn setresgid(gid: u32) -> Result<(), Errno> {
    let g = gid as usize;
    // SAFETY: numbers only.
    unsafe { syscall(raw::__NR_setresgid, [g, g, g, 0, 0, 0]) }.map(drop)
}

/// Real, effective and saved user.
pub(crate) fn setresuid(uid: u32) -> Result<(), Errno> {
    let u = uid as usize;
    // SAFETY: numbers only.
    unsafe { syscall(raw::__NR_setresuid, [u, u, u, 0, 0, 0]) }.map(drop)
}

/// `prlimit(2)` of this process.
pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: struct rlimit64 is two words of 64 bits; a null pointer asks for no old value.
    unsafe { syscall(raw::__NR_prlimit64, [0, resource as usize, limit.as_ptr() as usize, 0, 0, 0]) }.map(drop)
}

/// `set_mempolicy(2)`.
pub(crate) fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel takes one bit less than it is given: none of an empty mask.
    let bits = nodes.len() * 64 + 1;
    // SAFETY: the mask is passed with its true length.
    unsafe { syscall(raw::__NR_set_mempolicy, [mode as usize, nodes.as_ptr() as usize, bits, 0, 0, 0]) }.map(drop)
}

/// `personality(2)`.
pub(crate) fn personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    unsafe { syscall(raw::__NR_personality, [domain as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `unshare(2)` of namespaces.
pub(crate) fn unshare(flags: u32) -> Result<(), Errno> {
    // SAFETY: numbers only; namespaces, never the descriptor table, are what callers name.
    unsafe { syscall(raw::__NR_unshare, [flags as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// A process made by [`clone_process`].
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The caller, with the child's number and descriptor.
    Parent(Pid, OwnedFd),
}

/// A child of this process, or with `sibling` of its parent, started in `flags`' new namespaces.
/// With clone(2): filters of system calls, which may be in force here, often know no clone3(2).
pub(crate) fn clone_process(flags: u64, sibling: bool) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // The low byte is the exit signal; CLONE_PARENT takes over that of the caller.
    let how = if sibling { raw::CLONE_PARENT } else { raw::SIGCHLD };
    let flags = flags | u64::from(raw::CLONE_PIDFD | how);
    let flags = usize::try_from(flags).map_err(|_| Errno::INVAL)?;
    // SAFETY: no CLONE_VM, so the child has a copy of all memory and goes on with the same stack
    // contents (a null stack says so); the third argument, on both architectures, is where the
    // pidfd is put. This program has one thread.
    match unsafe { syscall(raw::__NR_clone, [flags, 0, &raw mut pidfd as usize, 0, 0, 0]) }? {
        0 => Ok(Cloned::Child),
        child => {
            let pid = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
            // SAFETY: the kernel has just put a new descriptor there.
            Ok(Cloned::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
    }
}

/// The descriptor of that number, which a child that shares our descriptors has left for us.
pub(crate) fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    let raw = usize::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: F_GETFD with a number: an error where nothing is open.
    unsafe { syscall(raw::__NR_fcntl, [raw, 1, 0, 0, 0, 0]) }?;
    // SAFETY: it is open, and who has opened it has ended without closing it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Strings as execve(2) takes them: a null pointer ends the array.
pub(crate) struct Strings<'a>(Vec<*const c_char>, PhantomData<&'a [Text]>);

impl<'a> Strings<'a> {
    pub(crate) fn of(strings: &'a [Text]) -> Strings<'a> {
        Strings(strings.iter().map(|s| s.as_ptr()).chain(core::iter::once(core::ptr::null())).collect(), PhantomData)
    }
}

/// `execve(2)`; returns only on failure.
pub(crate) fn execve(path: &CStr, args: &Strings<'_>, env: &Strings<'_>) -> Errno {
    let call = [path.as_ptr() as usize, args.0.as_ptr() as usize, env.0.as_ptr() as usize, 0, 0, 0];
    // SAFETY: both arrays end with a null pointer and borrow their strings.
    match unsafe { syscall(raw::__NR_execve, call) } {
        Err(errno) => errno,
        Ok(_) => Errno::IO,
    }
}

/// Sets the `IFF_UP` flag of `lo`: a new network namespace has it down.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    const SIOCGIFFLAGS: usize = 0x8913;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    // struct ifreq: sixteen bytes of name, then a union that begins with the flags.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    let pointer = request.as_mut_ptr() as usize;
    // SAFETY: request is as long as struct ifreq and outlives both calls.
    unsafe { syscall(raw::__NR_ioctl, [fd_arg(socket), SIOCGIFFLAGS, pointer, 0, 0, 0]) }?;
    request[16] |= IFF_UP;
    // SAFETY: as above.
    unsafe { syscall(raw::__NR_ioctl, [fd_arg(socket), SIOCSIFFLAGS, request.as_ptr() as usize, 0, 0, 0]) }.map(drop)
}

/// `kill(2)` with `SIGKILL` of this very process.
pub(crate) fn kill_self() -> ! {
    // SAFETY: numbers only. Pid 1 of a namespace cannot kill itself so, hence the exit after it.
    if let Ok(pid) = unsafe { syscall(raw::__NR_getpid, [0; 6]) } {
        // SAFETY: numbers only.
        let _ = unsafe { syscall(raw::__NR_kill, [pid, 9, 0, 0, 0, 0]) };
    }
    exit(137)
}

/// Closes a descriptor that nothing in this process owns: one that the program is to get.
pub(crate) fn close(number: u32) {
    // SAFETY: a number; what owns descriptors here has closed or kept its own.
    let _ = unsafe { syscall(raw::__NR_close, [number as usize, 0, 0, 0, 0, 0]) };
}

/// Duplicates `fd` onto the number `target`, without close-on-exec.
pub(crate) fn dup_onto(fd: impl AsFd, target: u32) -> Result<(), Errno> {
    let from = fd_arg(fd.as_fd());
    if from == target as usize {
        // SAFETY: F_SETFD with a number.
        return unsafe { syscall(raw::__NR_fcntl, [from, 2, 0, 0, 0, 0]) }.map(drop);
    }
    // SAFETY: dup3 replaces a descriptor of this process; only standard streams are ever targets.
    unsafe { syscall(raw::__NR_dup3, [from, target as usize, 0, 0, 0, 0]) }.map(drop)
}

/// An allocator that only ever grows: the init lives for milliseconds, or waits without work.
struct Bump {
    next: AtomicUsize,
    end: AtomicUsize,
}

#[global_allocator]
static HEAP: Bump = Bump { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

// SAFETY: each call hands out memory that was never handed out before, mapped read-write by the
// kernel and aligned as asked; this program has one thread, the atomics are there for `static`.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        const CHUNK: usize = 64 * 1024;
        let start = self.next.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let stop = start.wrapping_add(layout.size());
        if start != 0 && stop >= start && stop <= self.end.load(Ordering::Relaxed) {
            self.next.store(stop, Ordering::Relaxed);
            return start as *mut u8;
        }
        let Some(size) = layout.size().checked_add(layout.align()).map(|s| s.next_multiple_of(CHUNK)) else {
            return core::ptr::null_mut();
        };
        let flags = raw::MAP_PRIVATE | raw::MAP_ANONYMOUS;
        let args = [0, size, (raw::PROT_READ | raw::PROT_WRITE) as usize, flags as usize, usize::MAX, 0];
        // SAFETY: an anonymous mapping at a place of the kernel's choice disturbs nothing.
        let Ok(base) = (unsafe { syscall(raw::__NR_mmap, args) }) else {
            return core::ptr::null_mut();
        };
        let start = base.next_multiple_of(layout.align());
        self.next.store(start + layout.size(), Ordering::Relaxed);
        self.end.store(base + size, Ordering::Relaxed);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Asks the kernel for memory now, so that for so many bytes it need not be asked.
pub(crate) fn reserve_memory(bytes: usize) {
    let Ok(layout) = Layout::from_size_align(bytes.max(1), 1) else { return };
    // SAFETY: the layout has a size; what is handed out is used by nobody and given back below.
    if !unsafe { HEAP.alloc(layout) }.is_null() {
        HEAP.next.fetch_sub(layout.size(), Ordering::Relaxed);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(70)
}

/// The memory functions that compilers expect of every program.
#[allow(clippy::multiple_unsafe_ops_per_block, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
mod memory {
    #[cfg(target_arch = "x86_64")]
    use core::arch::asm;

    // SAFETY (all of them): the C standard's contracts, which the compiler's own calls honour.

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: `len` bytes are valid at both places and do not overlap.
        unsafe {
            asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        // SAFETY: `len` bytes are valid there.
        unsafe {
            asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") byte as u8,
                options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        let mut i = 0;
        while i < len {
            // SAFETY: i is below len; volatile, lest the loop becomes a call of memcpy.
            let byte = unsafe { from.add(i).read_volatile() };
            // SAFETY: as above.
            unsafe { to.add(i).write_volatile(byte) };
            i += 1;
        }
        to
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        let mut i = 0;
        while i < len {
            // SAFETY: i is below len; volatile, lest the loop becomes a call of memset.
            unsafe { to.add(i).write_volatile(byte as u8) };
            i += 1;
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= len {
            // SAFETY: a forward copy reads each byte before it is overwritten here.
            return unsafe { memcpy(to, from, len) };
        }
        let mut i = len;
        while i > 0 {
            i -= 1;
            // SAFETY: i is below len; backwards, each byte is read before it is overwritten.
            let byte = unsafe { from.add(i).read_volatile() };
            // SAFETY: as above.
            unsafe { to.add(i).write_volatile(byte) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        let mut i = 0;
        while i < len {
            // SAFETY: i is below len; volatile, lest the loop becomes a call of memcmp.
            let x = unsafe { a.add(i).read_volatile() };
            // SAFETY: as above.
            let y = unsafe { b.add(i).read_volatile() };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            i += 1;
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(a, b, len) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut len = 0;
        // SAFETY: a C string ends with a zero byte, and len has not passed it.
        while unsafe { text.add(len).read_volatile() } != 0 {
            len += 1;
        }
        len
    }
}
