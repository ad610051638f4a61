//! What does the kernel say to calls that change nothing?
//!
//! For `cleat check`. No call here has an object it could act on: descriptors are not open, lengths
//! are zero, and what is made is gone with its descriptor.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::clone::clone_args;
use super::{check, new_fd, wait_for, wide};

/// A number that no descriptor has.
const NO_DESCRIPTOR: c_int = c_int::MAX;

/// The calls by which mounts are made (Linux 5.2, `mount_setattr` 5.12).
const MOUNT_CALLS: [c_long; 6] = [
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fspick,
];

fn is_known(call: c_long) -> bool {
    let null = std::ptr::null::<u8>();
    // SAFETY: only called with the numbers above and mount_setattr's, none of which can succeed: no
    // descriptor is -1, and the kernel answers EFAULT to addresses where nothing is.
    let answer = unsafe { libc::syscall(call, -1, null, -1, null, 0) };
    check(answer) != Err(Errno::ENOSYS)
}

/// Whether the kernel has the calls by which mounts are made.
#[must_use]
pub fn has_mount_calls() -> bool {
    MOUNT_CALLS.into_iter().all(is_known)
}

/// Whether the kernel has mount_setattr(2).
#[must_use]
pub fn has_mount_setattr() -> bool {
    is_known(libc::SYS_mount_setattr)
}

/// Whether the kernel knows attributes of mounts (`MOUNT_ATTR_*`); `None`: it says so only to who
/// may mount.
#[must_use]
pub fn knows_mount_attributes(attributes: u64) -> Option<bool> {
    let user_namespace = wide(NO_DESCRIPTOR);
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: user_namespace };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is a C string, attr outlives the call and its size is passed; the descriptor
    // is not open.
    let answer = unsafe {
        libc::syscall(libc::SYS_mount_setattr, NO_DESCRIPTOR, c"".as_ptr(), libc::AT_EMPTY_PATH, &raw const attr, size)
    };
    match check(answer) {
        Err(Errno::EBADF) => Some(true),
        Err(Errno::EINVAL | Errno::ENOSYS) => Some(false),
        _ => None,
    }
}

/// Whether the kernel knows `CLONE_INTO_CGROUP`; `None`: another reason keeps it from looking.
///
/// The cgroup's descriptor is not open, so no process is created.
#[must_use]
pub fn knows_clone_into_cgroup() -> Option<bool> {
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(0, &raw mut pidfd);
    args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP
    args.cgroup = wide(NO_DESCRIPTOR);
    // SAFETY: args outlives the call and its size is passed; no CLONE_VM and this program has one
    // thread, so a child would own a copy of all memory.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) }) {
        Err(Errno::EBADF) => Some(true),
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::E2BIG) => Some(false),
        Err(_) => None,
        // SAFETY: ends this process, should a kernel have made one all the same.
        Ok(0) => unsafe { libc::_exit(0) },
        Ok(pid) => {
            let _ = i32::try_from(pid).map(wait_for);
            None
        }
    }
}

/// The kind of a namespace, `CLONE_NEW*` (ioctl_ns(2), `NS_GET_NSTYPE`).
///
/// # Errors
/// `ENOTTY`: it is no namespace.
pub fn namespace_kind(namespace: BorrowedFd<'_>) -> nix::Result<u64> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument.
    let kind = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) })?;
    u64::try_from(kind).map_err(|_| Errno::EINVAL)
}

/// The user namespace that a namespace belongs to (ioctl_ns(2), `NS_GET_USERNS`).
///
/// # Errors
/// `EPERM`: it is none that this process may see.
pub fn owner_of_namespace(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: this request takes no argument, and returns a new descriptor.
    new_fd(c_long::from(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) }))
}

/// The parent of a user or pid namespace (ioctl_ns(2), `NS_GET_PARENT`).
///
/// # Errors
/// `EPERM`: it is none that this process may see, or there is none.
pub fn parent_namespace(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: this request takes no argument, and returns a new descriptor.
    new_fd(c_long::from(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) }))
}

/// The options of a file system that is not mounted (fsopen(2)); gone with the descriptor.
pub struct Options(OwnedFd);

impl Options {
    /// Of the file system of that name.
    ///
    /// # Errors
    /// `ENODEV`: there is none of that name. `EPERM`: this process may not mount.
    pub fn of(name: &CStr) -> nix::Result<Options> {
        const CLOEXEC: c_int = 1;
        // SAFETY: the name is a C string that outlives the call.
        new_fd(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), CLOEXEC) }).map(Options)
    }

    /// Sets an option, with a value or as a flag.
    ///
    /// # Errors
    /// `EINVAL`: the file system does not know it, or not this value; [`said`](Options::said) tells.
    pub fn set(&self, key: &CStr, value: Option<&CStr>) -> nix::Result<()> {
        const SET_FLAG: c_int = 0;
        const SET_STRING: c_int = 1;
        let (raw, key) = (self.0.as_raw_fd(), key.as_ptr());
        let (command, value) = match value {
            Some(value) => (SET_STRING, value.as_ptr()),
            None => (SET_FLAG, std::ptr::null()),
        };
        // SAFETY: key and value are C strings that outlive the call, or a null pointer for a flag.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, raw, command, key, value, 0) }).map(drop)
    }

    /// What the file system said to the last option.
    #[must_use]
    pub fn said(&self) -> String {
        let mut text = [0u8; 256];
        let got = nix::unistd::read(&self.0, &mut text).unwrap_or(0);
        // "e tmpfs: Unknown parameter 'x'"
        let text = text.get(2..got).unwrap_or_default();
        String::from_utf8_lossy(text).trim_end().to_owned()
    }
}
