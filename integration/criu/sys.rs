//! System calls that no crate here gives safely: all `unsafe` of the stand-in.
#![allow(unsafe_code, reason = "clone3(2), seccomp(2), prlimit(2) of others, and a descriptor that was inherited")]

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// A descriptor that this program was executed with.
pub(crate) fn own_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: nothing else here owns it: it is asked for once, at the start.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A descriptor that is open, whoever owns it.
pub(crate) fn borrowed(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: /proc/self/fd has just shown it, and there is one thread.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// A child in new namespaces; with `sibling` its parent is ours. `None`: this is the child.
pub(crate) fn clone(namespaces: u64, sibling: bool) -> Option<i32> {
    let parent = if sibling { u64::try_from(libc::CLONE_PARENT).expect("a flag") } else { 0 };
    // The kernel takes the signal of the parent's own then.
    let exit_signal = if sibling { 0 } else { u64::try_from(libc::SIGCHLD).expect("a number") };
    // struct clone_args of its first version: flags, pidfd, child_tid, parent_tid, exit_signal, stack, its size, tls.
    let args = [namespaces | parent, 0, 0, 0, exit_signal, 0, 0, 0];
    // SAFETY: the arguments are as long as said; without CLONE_VM and with one thread the child owns a copy of all.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    assert!(answer >= 0, "clone3: {}", std::io::Error::last_os_error());
    (answer > 0).then(|| i32::try_from(answer).expect("a pid"))
}

/// A filter that permits every system call, on top of others.
pub(crate) fn load_filter() {
    // BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
    let mut program = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 }];
    let program = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    // SAFETY: the program and its length are as said.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    assert!(answer == 0, "seccomp: {}", std::io::Error::last_os_error());
}

/// The resource limits of a process, by their numbers, which is how `/proc/PID/limits` lists them.
pub(crate) fn limits(of: i32) -> Vec<libc::rlimit> {
    let text = std::fs::read_to_string(format!("/proc/{of}/limits")).expect("the template's limits");
    let number = |word: &str| word.trim().parse().unwrap_or(libc::RLIM_INFINITY);
    let limit = |line: &str| libc::rlimit { rlim_cur: number(&line[26..46]), rlim_max: number(&line[47..67]) };
    text.lines().skip(1).map(limit).collect()
}

/// Takes these resource limits.
pub(crate) fn limit(limits: &[libc::rlimit]) {
    for (resource, limit) in (0..).zip(limits) {
        // SAFETY: the kernel reads one struct rlimit.
        let answer = unsafe { libc::prlimit(0, resource, limit, std::ptr::null_mut()) };
        assert!(answer == 0, "prlimit: {}", std::io::Error::last_os_error());
    }
}
