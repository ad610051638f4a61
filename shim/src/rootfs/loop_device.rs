//! How does a file become a block device?

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cleat::error::{Context, Error, Result};
use cleat::sys::loop_device as ioctl;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// How many devices are tried: another process may take a free one first.
const TRIES: u32 = 100;

/// A loop device of a file, until this is closed and the device is not mounted.
pub(super) struct Loop {
    /// `/dev/loopN`
    pub(super) path: String,
    _device: OwnedFd,
}

impl Loop {
    /// Of that file.
    ///
    /// # Errors
    /// There is no such file, or no loop device is to be had.
    pub(super) fn of(file: &Path, read_only: bool) -> Result<Loop> {
        let mode = if read_only { OFlag::O_RDONLY } else { OFlag::O_RDWR };
        let open = |path: &Path, flags| nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty());
        let image = open(file, mode).context(format_args!("open {}", file.display()))?;
        let control = open(Path::new("/dev/loop-control"), OFlag::O_RDWR)
            .context("open /dev/loop-control; load the kernel's module: modprobe loop")?;
        for _ in 0..TRIES {
            let number = ioctl::free_device(control.as_fd()).context("a free loop device: LOOP_CTL_GET_FREE")?;
            let path = format!("/dev/loop{number}");
            let device = match open(Path::new(&path), mode) {
                // It is just being removed.
                Err(Errno::ENXIO) => continue,
                other => other.context(format_args!("open {path}"))?,
            };
            match ioctl::configure(device.as_fd(), image.as_fd(), file.as_os_str().as_bytes(), read_only) {
                Ok(()) => return Ok(Loop { path, _device: device }),
                Err(Errno::EBUSY) => {}
                Err(errno) => return Err(errno).context(format_args!("{path} for {}: LOOP_CONFIGURE", file.display())),
            }
        }
        Err(Error::new(format!("no loop device for {}: others took {TRIES} before we could", file.display())))
    }
}
