//! The loop driver: a file as a block device. For the shim.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const NAME_LEN: usize = 64;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct Info {
    /// Device, inode, device number, offset and size limit.
    file: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; NAME_LEN],
    crypt_name: [u8; NAME_LEN],
    key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a loop device that nobody uses at the moment; it is made where there is none
/// (loop(4), `LOOP_CTL_GET_FREE`).
///
/// # Errors
/// `ENOTTY`: it is not `/dev/loop-control`.
pub fn free_device(control: BorrowedFd<'_>) -> nix::Result<u32> {
    // SAFETY: this request takes no argument.
    let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
    u32::try_from(number).map_err(|_| Errno::EINVAL)
}

/// Makes the device show the file, until its last user has closed or unmounted it (loop(4),
/// `LOOP_CONFIGURE` with `LO_FLAGS_AUTOCLEAR`). The name is for people, and is cut after 63 bytes.
///
/// # Errors
/// `EBUSY`: somebody else was faster. `EINVAL`: neither a file nor a block device.
pub fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, name: &[u8], read_only: bool) -> nix::Result<()> {
    let mut file_name = [0; NAME_LEN];
    let len = name.len().min(NAME_LEN - 1);
    file_name[..len].copy_from_slice(&name[..len]);
    let info = Info {
        file: [0; 5],
        number: 0,
        encryption: [0; 2],
        flags: LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 },
        file_name,
        crypt_name: [0; NAME_LEN],
        key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: the kernel reads a loop_config there, whose layout this is (tested below).
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
        assert_eq!(std::mem::offset_of!(Info, flags), 52);
        assert_eq!(std::mem::offset_of!(Config, info), 8);
    }
}
