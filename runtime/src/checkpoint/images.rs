//! Which files are beside CRIU's own, and how are directories of images opened?
//!
//! `descriptors.json` is that of runc: what the first process's standard streams were when it was made.
//! `external-files.json` names files of the host that processes had open, as CRIU knows them.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::container::write_atomically;
use crate::error::{Context, Error, Result};
use crate::sys::path::of_descriptor;

const DESCRIPTORS: &str = "descriptors.json";
const EXTERNAL: &str = "external-files.json";
/// Longest file of ours that is read.
const MOST: u64 = 64 * 1024;

/// A directory with images, or with logs.
pub(super) struct Images {
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
}

/// A file of the host that processes have open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExternalFile {
    /// CRIU's name for it: `file[MOUNT:INODE]`, hexadecimal.
    pub(super) key: String,
    /// The standard stream that it was.
    pub(super) stream: Option<u8>,
}

impl Images {
    /// Opens a directory, which is no link, and makes it if need be: it will have all that the processes know.
    ///
    /// # Errors
    /// It is something else, or cannot be made.
    pub(super) fn make(path: &Path) -> Result<Images> {
        let path = std::path::absolute(path).context(path.display())?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        match made {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).context(format_args!("mkdir {}", path.display()))
            }
            _ => Images::open(&path),
        }
    }

    /// Opens one that is there.
    ///
    /// # Errors
    /// It is no directory.
    pub(super) fn open(path: &Path) -> Result<Images> {
        let path = std::path::absolute(path).context(path.display())?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match nix::fcntl::open(&path, flags, Mode::empty()) {
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                return Err(Error::new(format!("{}: not a directory", path.display()))
                    .remedy("a link is not followed there: name the directory itself"));
            }
            other => other.context(format_args!("open {}", path.display()))?,
        };
        Ok(Images { dir, path })
    }

    /// Lets root of a container's user namespace read the images: CRIU opens some as that. `gid`: its group outside.
    /// (It stays so: another restore may be at work with the same images.)
    ///
    /// # Errors
    /// The directory cannot be given to the group.
    pub(super) fn let_group_search(&self, gid: Option<u32>) -> Result<()> {
        let Some(gid) = gid else { return Ok(()) };
        let place = format!("{}: give to group {gid}, which is root's in the container", self.path.display());
        nix::unistd::fchown(&self.dir, None, Some(nix::unistd::Gid::from_raw(gid))).context(&place)?;
        nix::sys::stat::fchmod(&self.dir, Mode::from_bits_truncate(0o750)).context(&place)
    }

    /// Whether a whole checkpoint is there.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn is_complete(&self) -> Result<()> {
        match nix::sys::stat::fstatat(&self.dir, "inventory.img", nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(()),
            Err(errno) => Err(errno)
                .context(format_args!("there is no checkpoint in {}: inventory.img", self.path.display()))
                .map_err(|error| error.remedy("name its directory by --image-path")),
        }
    }

    pub(super) fn save_descriptors(&self, list: &[String]) -> Result<()> {
        self.save(DESCRIPTORS, &list)
    }

    pub(super) fn save_external(&self, list: &[ExternalFile]) -> Result<()> {
        self.save(EXTERNAL, &list)
    }

    fn save(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| Error::new(format!("encode {name}: {error}")))?;
        write_atomically(&of_descriptor(&self.dir, name), &text, 0o600)
    }

    /// Pipes that standard streams were: the number of a stream, and its key.
    ///
    /// # Errors
    /// The file is missing, or is not what it must be.
    pub(super) fn pipes(&self) -> Result<Vec<(u8, String)>> {
        let list: Vec<String> = self.load(DESCRIPTORS)?.ok_or_else(|| {
            Error::new(format!("{}: {DESCRIPTORS} is missing", self.path.display()))
                .remedy("was this checkpoint made by a runtime?")
        })?;
        let is_pipe = |text: &str| {
            let digits = text.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
            digits.is_some_and(|digits| (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        Ok((0..3).zip(list).filter(|(_, text)| is_pipe(text)).collect())
    }

    /// Files of the host; those of other runtimes have none.
    ///
    /// # Errors
    /// The file is not what it must be.
    pub(super) fn external(&self) -> Result<Vec<ExternalFile>> {
        let list: Vec<ExternalFile> = self.load(EXTERNAL)?.unwrap_or_default();
        match list.iter().find(|file| !is_key(&file.key) || file.stream.is_some_and(|stream| stream > 2)) {
            Some(wrong) => Err(Error::new(format!(
                "{}/{EXTERNAL}: {:?} is not file[MOUNT:INODE] with a standard stream",
                self.path.display(),
                wrong.key
            ))),
            None => Ok(list),
        }
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let place = format!("{}/{name}", self.path.display());
        // A fifo would keep us waiting for its writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match nix::fcntl::openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => std::fs::File::from(other.context(&place)?),
        };
        let meta = file.metadata().context(&place)?;
        if !meta.is_file() || meta.len() > MOST {
            return Err(Error::new(format!("{place}: not a file of at most {MOST} bytes")));
        }
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text).context(&place)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| Error::new(format!("{place}: {error}")))
    }
}

/// `file[MOUNT:INODE]`
fn is_key(key: &str) -> bool {
    let inner = key.strip_prefix("file[").and_then(|rest| rest.strip_suffix(']')).and_then(|rest| rest.split_once(':'));
    let is_hex = |text: &str| (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    inner.is_some_and(|(mount, inode)| is_hex(mount) && is_hex(inode))
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_those_of_criu() {
        for good in ["file[31:2a]", "file[0:ffffffffffffffff]"] {
            assert!(super::is_key(good));
        }
        for bad in ["file[31:2a", "net[4]", "file[:]", "file[x:1]", "file[1:2]3", "file[1:2:3]", ""] {
            assert!(!super::is_key(bad), "{bad}");
        }
    }
}
