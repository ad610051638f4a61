//! How is a network namespace made while we do something else?
//!
//! The kernel takes as long for it as for all other namespaces together. Among many containers it takes as long
//! again for the first sysfs of it, as it compares all there are. A process of its own does both, concurrently
//! with the first half of a creation. It runs with the privileges of the host half, and shares its memory and its
//! descriptors. It makes a handful of system calls on data made before. None of them sets libc's `errno`, which is
//! ours.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{UnshareFlags, futex};

use super::clone::{CHILD_STACK, clone3_sharing};
use super::wide;

/// No descriptor yet, nor an error: the process has ended before it came to that.
const NOTHING: i32 = -1000;

/// The sysfs of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sysfs {
    /// Mounts of it may be writable.
    Writable,
    /// None is, whatever its flags are.
    ReadOnly,
}

/// A network namespace in the making. Dropped, it waits until its maker has ended.
pub struct Network {
    maker: i32,
    // Both the maker's, as long as it lives, and freed after it. Shared by count: a Box would promise that nobody
    // else has it.
    job: Arc<Job>,
    _stack: Vec<u128>,
}

/// What we and the maker share.
struct Job {
    /// The host's `/proc`.
    proc: OwnedFd,
    sysfs: Option<Sysfs>,
    begun: AtomicBool,
    /// Zero once `namespace` is there, or the maker is not: the kernel wakes us then, too.
    busy: AtomicU32,
    /// A descriptor, or minus an error.
    namespace: AtomicI32,
    /// Keeps the sysfs from ending before somebody mounts it.
    context: AtomicI32,
}

impl Network {
    /// Begins to make one. `proc`: the host's `/proc`; `sysfs`: with a file system of that type.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub fn begin(proc: OwnedFd, sysfs: Option<Sysfs>) -> nix::Result<Network> {
        let job = Arc::new(Job {
            proc,
            sysfs,
            begun: AtomicBool::new(false),
            busy: AtomicU32::new(1),
            namespace: AtomicI32::new(NOTHING),
            context: AtomicI32::new(NOTHING),
        });
        let mut stack = vec![0u128; CHILD_STACK / size_of::<u128>()];
        // SAFETY: clone_args is plain numbers, for which zero is a valid value.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = wide(libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_CHILD_CLEARTID);
        args.child_tid = job.busy.as_ptr().expose_provenance() as u64;
        args.stack = stack.as_mut_ptr().expose_provenance() as u64;
        args.stack_size = CHILD_STACK as u64;
        // SAFETY: the stack is the child's alone, 16-byte aligned and as long as said; it and the job are
        // freed when the child has been waited for, and `make` does not return.
        let maker = super::check(unsafe { clone3_sharing(&args, make, &*job) })?;
        let maker = i32::try_from(maker).map_err(|_| Errno::ESRCH)?;
        Ok(Network { maker, job, _stack: stack })
    }

    /// Sends the maker to another processor if it waits for this one, as some kernels' schedulers leave a new
    /// process where its parent is. From there on it may go where it likes. Where that is refused, it runs as soon
    /// as we wait for it.
    pub fn hurry(&self) {
        if self.job.begun.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: a set is plain bits, for which zero is a valid value.
        let (mut all, mut other): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::cpu_set_t>();
        // SAFETY: the set outlives the call and its size is passed.
        if unsafe { libc::sched_getaffinity(0, size, &raw mut all) } != 0 {
            // More processors than the set has bits for.
            return;
        }
        // SAFETY: no arguments.
        let Ok(own) = usize::try_from(unsafe { libc::sched_getcpu() }) else { return };
        let count = size * 8;
        // SAFETY: the number is below the set's.
        let next = (1..count).map(|step| (own + step) % count).find(|cpu| unsafe { libc::CPU_ISSET(*cpu, &all) });
        let Some(next) = next else { return };
        // SAFETY: as above.
        unsafe { libc::CPU_SET(next, &mut other) };
        for set in [&other, &all] {
            // SAFETY: as above; the maker is a child that we have not waited for.
            unsafe { libc::sched_setaffinity(self.maker, size, set) };
        }
    }

    /// The namespace, as soon as it is there. (The sysfs may not be yet.)
    ///
    /// # Errors
    /// Those of unshare(2), and of open(2) for `/proc/self/ns/net`; `ESRCH`: its maker was killed.
    pub fn namespace(&self) -> nix::Result<OwnedFd> {
        while self.job.busy.load(Ordering::Acquire) != 0 {
            // Anew after a signal, and when it was zero already.
            let _ = futex::wait(&self.job.busy, futex::Flags::empty(), 1, None);
        }
        match self.job.namespace.swap(NOTHING, Ordering::AcqRel) {
            // SAFETY: the maker has opened it, and nobody else takes it.
            fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            NOTHING => Err(Errno::ESRCH),
            errno => Err(Errno::from_raw(-errno)),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut status = 0;
        // It has no signal for its end: others who wait for children of ours do not see it.
        // SAFETY: status outlives the call. The maker is ours to wait for until this has been done.
        while unsafe { libc::waitpid(self.maker, &raw mut status, libc::__WALL) } == -1 && Errno::last() == Errno::EINTR
        {
        }
        for fd in [&self.job.namespace, &self.job.context] {
            if let fd @ 0.. = fd.load(Ordering::Acquire) {
                // SAFETY: the maker has opened it, and nobody has taken it.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

/// The maker's work.
///
/// # Safety
/// Only in a fresh child, which shares our memory: it allocates nothing.
unsafe extern "C" fn make(job: &Job) -> ! {
    job.begun.store(true, Ordering::Release);
    let made = namespace(job);
    let result = made.map_or_else(|errno| -errno.raw_os_error(), IntoRawFd::into_raw_fd);
    job.namespace.store(result, Ordering::Release);
    job.busy.store(0, Ordering::Release);
    let _ = futex::wake(&job.busy, futex::Flags::empty(), 1);
    if let (0.., Some(kind)) = (result, job.sysfs) {
        // Where it cannot be had, the mount of it fails later.
        if let Ok(context) = sysfs(kind) {
            job.context.store(context.into_raw_fd(), Ordering::Release);
        }
    }
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) }
}

fn namespace(job: &Job) -> rustix::io::Result<OwnedFd> {
    // SAFETY: it takes no descriptor from anybody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    rustix::fs::openat(&job.proc, c"self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The file system: a mount of it in this network namespace finds it.
fn sysfs(kind: Sysfs) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(c"sysfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
    if kind == Sysfs::ReadOnly {
        rustix::mount::fsconfig_set_flag(context.as_fd(), c"ro")?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(context)
}
