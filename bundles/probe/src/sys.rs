//! What does the kernel answer to questions that no crate here asks safely? All `unsafe` of the probe.
#![allow(unsafe_code)]

use std::ffi::c_long;

/// `struct sched_attr` (sched_getattr(2)), its first version.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct SchedAttr {
    size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

fn ok(result: c_long) -> Option<c_long> {
    (result >= 0).then_some(result)
}

/// How this process is scheduled.
pub(crate) fn scheduling() -> Option<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: the kernel writes at most the size that is passed.
    ok(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) })?;
    Some(attr)
}

/// I/O class and level of this process.
pub(crate) fn io_priority() -> Option<(c_long, c_long)> {
    // SAFETY: numbers only; 1 is IOPRIO_WHO_PROCESS.
    let value = ok(unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) })?;
    Some((value >> 13 & 7, value & 7))
}

/// Mode with its flags, and nodes, of this process's memory policy.
pub(crate) fn memory_policy() -> Option<(u32, Vec<usize>)> {
    let mut mode = 0u32;
    let mut nodes = [0u64; 64];
    let bits = size_of_val(&nodes) * 8 + 1;
    let address = std::ptr::null::<u8>();
    // SAFETY: the mask is as long as said, and the address is not looked at without flags.
    ok(unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), bits, address, 0) })?;
    Some((mode, (0..nodes.len() * 64).filter(|n| nodes[n / 64] >> (n % 64) & 1 == 1).collect()))
}

/// Serial number and description of the session keyring: `type;uid;gid;permissions;name`.
pub(crate) fn session_keyring() -> Option<(c_long, String)> {
    // linux/keyctl.h: KEYCTL_GET_KEYRING_ID, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING.
    const ID: c_long = 0;
    const DESCRIBE: c_long = 6;
    const SESSION: c_long = -3;
    let mut text = [0u8; 256];
    // SAFETY: numbers only.
    let serial = ok(unsafe { libc::syscall(libc::SYS_keyctl, ID, SESSION, 0) })?;
    // SAFETY: the kernel writes at most the length that is passed.
    let length = ok(unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, text.as_mut_ptr(), text.len()) })?;
    // With the zero at its end.
    let length = usize::try_from(length).ok()?.saturating_sub(1).min(text.len());
    Some((serial, String::from_utf8_lossy(&text[..length]).into_owned()))
}
