//! What is a path without dots and double slashes? Pure: no file system is asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Makes a path absolute and clean without asking the file system: no `.`, no `..`, no double slash.
#[must_use]
pub fn clean(base: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in base.join(path).components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Whether two byte strings name the same clean path.
#[must_use]
pub fn same_path(a: &str, b: &str) -> bool {
    clean(Path::new("/"), Path::new(OsStr::from_bytes(a.as_bytes()))) == Path::new(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_resolves_dots_without_the_file_system() {
        assert_eq!(clean(Path::new("/a/b"), Path::new("../c/./d//e")), Path::new("/a/c/d/e"));
        assert_eq!(clean(Path::new("/"), Path::new("/../../x")), Path::new("/x"));
        assert!(same_path("/proc/", "/proc"));
    }
}
