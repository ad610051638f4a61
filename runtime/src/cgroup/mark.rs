//! Whose is a cgroup?
//!
//! Host half. One that was there before may have been another container's, which has stopped and is not deleted
//! yet: path and inode are the same. So the command that takes a cgroup marks it with an extended attribute. That
//! is a trusted one where this process may, which root of a user namespace cannot change; else one of a user.
//!
//! Source: Linux xattr(7); cgroup v2 has both since 5.7.

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};

use super::Cgroup;

const TRUSTED: &str = "trusted.cleat";
const OF_USER: &str = "user.cleat";

/// Longer than an id and a time.
const MAX_LEN: usize = 512;

/// The mark that was there before.
#[derive(Debug)]
pub(super) struct Replaced {
    attribute: &'static str,
    mark: Option<String>,
}

impl Cgroup {
    /// The mark of who took it last.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        self.attribute(TRUSTED).or_else(|| self.attribute(OF_USER))
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let mut buffer = [0; MAX_LEN];
        let len = fgetxattr(&self.dir, name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(buffer.get(..len)?).into_owned())
    }

    /// Puts a mark on it. `None`: this process may not.
    pub(super) fn set_mark(&self, mark: &str) -> Option<Replaced> {
        [TRUSTED, OF_USER].into_iter().find_map(|attribute| {
            let replaced = Replaced { attribute, mark: self.attribute(attribute) };
            fsetxattr(&self.dir, attribute, mark.as_bytes(), XattrFlags::empty()).ok().map(|()| replaced)
        })
    }

    /// Puts the mark back that was there before.
    pub(super) fn put_mark_back(&self, replaced: &Replaced) {
        let _ = match &replaced.mark {
            Some(mark) => fsetxattr(&self.dir, replaced.attribute, mark.as_bytes(), XattrFlags::empty()),
            None => fremovexattr(&self.dir, replaced.attribute),
        };
    }
}
