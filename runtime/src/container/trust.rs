//! Whose word is it that is remembered here?
//!
//! What a state says is done: hooks are executed, processes joined, cgroups killed, with the caller's rights. So
//! it must have been written by the caller, or by root, and nobody else may be able to write there.
//! Everything is looked at by the descriptor that is then read from.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::path;

/// A directory that says what the caller or root has said.
pub(super) struct Trusted {
    fd: OwnedFd,
    path: PathBuf,
}

impl Trusted {
    /// Opens a directory; `None`: there is none.
    ///
    /// # Errors
    /// It is somebody else's, or others may write to it.
    pub(super) fn open(path: &Path) -> Result<Option<Trusted>> {
        Trusted::of(path::open_dir(path), path.into())
    }

    /// Opens one in it, which is no link.
    ///
    /// # Errors
    /// As above.
    pub(super) fn below(&self, name: &str) -> Result<Option<Trusted>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Trusted::of(nix::fcntl::openat(&self.fd, name, flags, Mode::empty()), self.path.join(name))
    }

    fn of(opened: nix::Result<OwnedFd>, path: PathBuf) -> Result<Option<Trusted>> {
        let fd = match opened {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            other => other.context(format_args!("state directory {}", path.display()))?,
        };
        check(&fd, &path)?;
        Ok(Some(Trusted { fd, path }))
    }

    /// Reads a file in it, which is no link; `None`: there is none.
    ///
    /// # Errors
    /// As above, and those of open(2) and read(2).
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let place = format!("read {}", path.display());
        // A fifo would keep us waiting for its writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.context(&place)?,
        };
        let size = usize::try_from(check(&fd, &path)?.st_size).unwrap_or(0);
        let mut text = Vec::with_capacity(size + 1);
        std::fs::File::from(fd).read_to_end(&mut text).context(&place)?;
        Ok(Some(text))
    }
}

/// An error unless it is the caller's or root's, and nobody else's to write to.
fn check(fd: impl AsFd, path: &Path) -> Result<FileStat> {
    let place = path.display();
    let stat = fstat(fd).context(format_args!("fstat {place}"))?;
    let caller = nix::unistd::geteuid().as_raw();
    let untrusted = |what: String| Error::of(Kind::Untrusted, format!("state {place}: {what}"));
    if stat.st_uid != 0 && stat.st_uid != caller {
        let owner = stat.st_uid;
        let error = untrusted(format!("belongs to user {owner}, who could have user {caller} execute anything"));
        return Err(error.remedy("call cleat as that user, or give --root a directory of your own"));
    }
    if stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o7777;
        let error = untrusted(format!(
            "others may write there (mode {mode:04o}), and could have user {caller} execute what they like"
        ));
        return Err(error.remedy(format_args!("take that away: chmod go-w {place}")));
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_write_is_not_believed() {
        let dir = std::env::temp_dir().join(format!("cleat-trust-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a")).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let file = dir.join("a/f");
        std::fs::write(&file, "text").unwrap();
        for path in [&dir, &dir.join("a")] {
            mode(path, 0o711);
        }
        mode(&file, 0o600);
        let read = || Trusted::open(&dir)?.unwrap().below("a")?.unwrap().read("f");
        assert_eq!(read().unwrap().as_deref(), Some(b"text".as_slice()));
        for (path, good) in [(&dir, 0o755), (&dir.join("a"), 0o711), (&file, 0o600)] {
            for wrong in [good | 0o20, good | 0o2, good | 0o1022] {
                mode(path, wrong);
                let error = read().unwrap_err();
                assert_eq!(error.kind(), Kind::Untrusted, "{error}");
                assert!(error.to_string().contains(&format!("chmod go-w {}", path.display())), "{error}");
            }
            mode(path, good);
        }
        assert!(Trusted::open(&dir.join("b")).unwrap().is_none());
        assert!(Trusted::open(&dir).unwrap().unwrap().below("a").unwrap().unwrap().read("g").unwrap().is_none());
        std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
        assert!(Trusted::open(&dir).unwrap().unwrap().below("link").unwrap().is_none());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
