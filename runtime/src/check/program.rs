//! Can a file be executed? In the container and, for hooks, on the host.
//!
//! As the init's step `program` decides it (runtime/init/src/program.rs): the same order, the same
//! errors.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::AccessFlags;

use super::mount_view::{Found, View, is};
use super::permission::{SEARCH, Subject};
use crate::error::errno_text;

/// Why a file cannot be executed, and what to do.
pub(super) type Refusal = (String, String);

/// What keeps a file of the container from being executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// It is not there; the next directory of `PATH` may have it.
    Missing(Refusal),
    /// It is there and must not be executed; another one may.
    Denied(Refusal),
    /// It would be executed, and that will fail.
    Broken(Refusal),
    /// Unknown.
    Unknown,
}

fn refusal(problem: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    (problem.into(), remedy.into())
}

/// A file of the container; `path` is absolute, relative interpreters are looked up in `cwd`.
pub(super) fn of_container(
    view: &View,
    path: &Path,
    cwd: &Path,
    subject: Option<&Subject<'_>>,
) -> Result<(), Obstacle> {
    let shown = path.display();
    let end = view.walk(path, subject);
    let denied = |why: &str, remedy: &str| Err(Obstacle::Denied(refusal(format!("{shown}: {why}"), remedy)));
    let (file, stat) = match end.found {
        Found::File(file, stat) => (file, stat),
        Found::Missing(_) | Found::NotDirectory => {
            let what = refusal(
                format!("{shown}: no such file or directory in the root file system"),
                "add it there, or correct the path",
            );
            return Err(Obstacle::Missing(what));
        }
        Found::Empty => return denied("it is a directory", "name a program in it"),
        Found::Denied => return denied("a directory on the way must not be searched", "correct its mode or owner"),
        Found::Loop => return denied("too many symbolic links (ELOOP)", "correct the links in the image"),
        Found::Unknown => return Err(Obstacle::Unknown),
    };
    if is(&stat, SFlag::S_IFDIR) {
        return denied("it is a directory", "name a program in it");
    }
    if end.noexec {
        return denied("it lies on a mount with noexec", "mount it with exec");
    }
    let may_execute = match subject {
        Some(subject) if !end.idmapped => subject.may(&stat, SEARCH),
        _ => stat.st_mode & 0o111 != 0,
    };
    if !may_execute {
        return denied(
            "permission denied: it is not executable for this user",
            "chmod a+x the file in the root file system",
        );
    }
    if !is(&stat, SFlag::S_IFREG) {
        return denied("it is no regular file", "name a program");
    }
    // A program may be executable and not readable; then only execve shows it.
    let Some(file) = open(&file) else { return Ok(()) };
    let interpreter = match format(&reader(&file)) {
        Format::Native => return Ok(()),
        Format::Foreign(_) if others_are_executed() => return Err(Obstacle::Unknown),
        Format::Foreign(what) => {
            let remedy = "take one for this machine, or give it a first line such as #!/bin/sh";
            return Err(Obstacle::Broken(refusal(format!("{shown}: exec format error (ENOEXEC): {what}"), remedy)));
        }
        Format::With(interpreter) => interpreter,
    };
    match view.walk(&cwd.join(&interpreter), None).found {
        Found::Missing(_) | Found::NotDirectory => Err(Obstacle::Broken(refusal(
            format!("{shown}: its interpreter {} is missing", interpreter.display()),
            "add the interpreter to the root file system",
        ))),
        _ => Ok(()),
    }
}

/// Whether binfmt_misc has handlers: which files they are for is their affair.
fn others_are_executed() -> bool {
    let entries = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
}

/// A file of the host, for a hook.
pub(super) fn of_host(path: &Path) -> Result<(), Refusal> {
    let shown = path.display();
    let remedy = "correct the path, or install the program";
    let metadata = std::fs::metadata(path).map_err(|error| refusal(format!("{shown}: {}", io_text(&error)), remedy))?;
    if !metadata.is_file() {
        return Err(refusal(format!("{shown}: it is no regular file"), remedy));
    }
    if let Err(errno) = crate::probe::machine::may(path, AccessFlags::X_OK) {
        return Err(refusal(format!("{shown}: it is not executable: {}", errno_text(errno)), "chmod a+x it"));
    }
    let file = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok();
    let Some(file) = file.as_ref().and_then(open) else { return Ok(()) };
    let Format::With(interpreter) = format(&reader(&file)) else { return Ok(()) };
    // What is executed in a directory that is not known here may have a relative one.
    if interpreter.is_absolute() && !interpreter.exists() {
        let what = format!("{shown}: its interpreter {} is missing", interpreter.display());
        return Err(refusal(what, "install the interpreter"));
    }
    Ok(())
}

fn io_text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| errno_text(Errno::from_raw(number)))
}

/// The same file, to be read; `None` where that is not allowed. It is a regular one: nothing waits,
/// and nothing happens.
fn open(file: &OwnedFd) -> Option<std::fs::File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    nix::fcntl::open(path.as_str(), flags, Mode::empty()).ok().map(Into::into)
}

/// Reads some bytes at some place.
pub type Reader<'a> = dyn Fn(u64, usize) -> Vec<u8> + 'a;

fn reader(file: &std::fs::File) -> Box<Reader<'_>> {
    use std::os::unix::fs::FileExt;
    Box::new(|at, len| {
        let mut bytes = vec![0; len];
        let got = file.read_at(&mut bytes, at).unwrap_or(0);
        bytes.truncate(got);
        bytes
    })
}

/// What the kernel makes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    /// A program of this machine, all by itself.
    Native,
    /// What a script's first line or an ELF file's `PT_INTERP` names executes it.
    With(PathBuf),
    /// No format that the kernel knows by itself.
    Foreign(&'static str),
}

/// ELF's numbers of the machines whose programs this kernel executes (elf(5), `e_machine`).
const MACHINES: &[u64] = if cfg!(target_arch = "aarch64") { &[183, 40] } else { &[62, 3] };

/// Looks at a file, which may be anything.
#[must_use]
pub fn format(read: &Reader<'_>) -> Format {
    let head = read(0, 256);
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let word = line.split(|b| *b == b' ' || *b == b'\t').find(|word| !word.is_empty());
        let no_name = Format::Foreign("its first line names no interpreter");
        return word.map_or(no_name, |word| Format::With(OsString::from_vec(word.to_vec()).into()));
    }
    if head.get(..4) != Some(b"\x7fELF") {
        return Format::Foreign("it is neither a script nor an ELF file");
    }
    if head.get(5) != Some(&1) || !number(&head, 18, 2).is_some_and(|machine| MACHINES.contains(&machine)) {
        return Format::Foreign("it is an ELF file for another kind of machine");
    }
    match elf_interpreter(&head, read) {
        Some(name) if !name.is_empty() => Format::With(OsString::from_vec(name).into()),
        _ => Format::Native,
    }
}

/// `PT_INTERP` of a 64-bit or 32-bit little-endian ELF file.
fn elf_interpreter(head: &[u8], read: &Reader<'_>) -> Option<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    let wide = *head.get(4)? == 2;
    let (offset, size, count) = if wide {
        (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?)
    } else {
        (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?)
    };
    let (size, count) = (usize::try_from(size).ok()?, usize::try_from(count).ok()?);
    let table = read(offset, 64 * 56);
    for entry in table.chunks_exact(size.max(32)).take(count) {
        if number(entry, 0, 4)? == PT_INTERP {
            let (at, len) = if wide {
                (number(entry, 8, 8)?, number(entry, 32, 8)?)
            } else {
                (number(entry, 4, 4)?, number(entry, 16, 4)?)
            };
            let text = read(at, usize::try_from(len).ok()?.min(256));
            return text.split(|b| *b == 0).next().map(<[u8]>::to_vec);
        }
    }
    None
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    Some(field.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// The first match in `PATH`, as the init looks for it.
pub(super) fn search(
    view: &View,
    name: &OsStr,
    path: &[u8],
    cwd: &Path,
    subject: Option<&Subject<'_>>,
) -> Result<(), Obstacle> {
    let mut last = None;
    for dir in path.split(|b| *b == b':') {
        match of_container(view, &cwd.join(OsStr::from_bytes(dir)).join(name), cwd, subject) {
            Err(Obstacle::Missing(_)) => {}
            Err(denied @ Obstacle::Denied(_)) => last = Some(denied),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| {
        let dirs = String::from_utf8_lossy(path).into_owned();
        Obstacle::Missing(refusal(
            format!("{:?}: executable file not found in $PATH, which is {dirs:?}", name.to_string_lossy()),
            "add it to the root file system, give its whole path, or correct PATH in process.env",
        ))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Format {
        format(&|at, len| {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes[at..bytes.len().min(at.saturating_add(len))].to_vec()
        })
    }

    #[test]
    fn a_script_names_its_interpreter_in_its_first_line() {
        assert_eq!(of(b"#!/bin/sh -e\n/no"), Format::With("/bin/sh".into()));
        assert_eq!(of(b"#! \t/bin/sh"), Format::With("/bin/sh".into()));
        for foreign in [&b"#!\n/bin/sh"[..], b"text", b"", b"\x7fELF"] {
            assert!(matches!(of(foreign), Format::Foreign(_)), "{foreign:?}");
        }
    }

    #[test]
    fn a_program_names_its_loader() {
        let mut elf = vec![0u8; 256];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = u8::try_from(MACHINES[0]).unwrap();
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        assert_eq!(of(&elf), Format::Native);
        elf[64] = 3;
        elf[64 + 8] = 200;
        elf[64 + 32] = 16;
        elf[200..210].copy_from_slice(b"/lib/ld.so");
        assert_eq!(of(&elf), Format::With("/lib/ld.so".into()));
        // Cut anywhere it is something else, and no crash.
        for end in 0..elf.len() {
            let _ = of(&elf[..end]);
        }
        elf[18] = 243;
        assert!(matches!(of(&elf), Format::Foreign(_)), "RISC-V");
    }
}
