//! Which file will `execve` run, and will the kernel be able to?
//!
//! Runs inside the container as its user, before the container counts as created: a missing
//! program is an error of `create`, not of `start`.

use alloc::borrow::Cow;
use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;
use core::ffi::CStr;

use cleat_plan::{Process, Text};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::sys;

/// Longest `/etc/passwd` that is read (CVE-2026-47262 was an unbounded one).
const MAX_PASSWD: usize = 1 << 20;

/// The program's path: as given when it has a slash, else the first match in `PATH`.
pub(crate) fn find(process: &Process) -> Result<CString> {
    let name = process.args.first().ok_or_else(|| Error::new("execve", Errno::INVAL))?;
    if name.to_bytes().contains(&b'/') {
        check(name)?;
        return Ok((**name).into());
    }
    if name.is_empty() {
        return Err(Error::refused("exec", b"\"\"", "executable file not found in $PATH"));
    }
    let path = process.env.iter().find_map(|var| var.to_bytes().strip_prefix(b"PATH=")).unwrap_or(b"");
    let mut denied = false;
    for dir in path.split(|b| *b == b':') {
        let mut full = if dir.is_empty() { b".".to_vec() } else { dir.to_vec() };
        full.push(b'/');
        full.extend_from_slice(name.to_bytes());
        let Ok(full) = CString::new(full) else { continue };
        match check(&full) {
            Ok(()) => return Ok(full),
            Err(error) if error.errno == Some(Errno::ACCESS) => denied = true,
            Err(error) if error.errno.is_none() => return Err(error),
            Err(_) => {}
        }
    }
    // Engines match these words, runc's in both cases.
    let why = if denied {
        "executable file not found in $PATH: what has the name cannot be executed"
    } else {
        "executable file not found in $PATH"
    };
    Err(Error::refused("exec", &[b"\"", name.to_bytes(), b"\""].concat(), why))
}

fn check(path: &CStr) -> Result<()> {
    let stat = rustix::fs::stat(path).map_err(|e| readable(e, path))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Error::new("exec", Errno::ACCESS).on(path.to_bytes()).hint("permission denied: it is a directory"));
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|e| readable(e, path))
}

/// The errors that engines recognise by their words.
fn readable(errno: Errno, path: &CStr) -> Error {
    let error = Error::new("exec", errno).on(path.to_bytes());
    match errno {
        Errno::NOENT | Errno::NOTDIR => error.hint("no such file or directory"),
        Errno::ACCESS => error.hint("permission denied"),
        _ => error,
    }
}

/// The interpreter that a script's first line or an ELF file's `PT_INTERP` names, if it is not there: `execve` says
/// no more than that there is no such file.
pub(crate) fn missing_interpreter(path: &CStr) -> Option<CString> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // A program may be executable and not readable.
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mut head = [0u8; 256];
    let got = rustix::io::pread(&file, &mut head[..], 0).unwrap_or(0);
    let head = &head[..got];
    let interpreter = match head.strip_prefix(b"#!") {
        Some(line) => {
            let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
            let word = line.split(|b| *b == b' ' || *b == b'\t').find(|w| !w.is_empty());
            word.map(<[u8]>::to_vec)
        }
        None => elf_interpreter(&file, head),
    };
    let interpreter = CString::new(interpreter?).ok()?;
    matches!(rustix::fs::stat(&interpreter), Err(Errno::NOENT | Errno::NOTDIR)).then_some(interpreter)
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    Some(field.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// `PT_INTERP` of a 64-bit or 32-bit little-endian ELF file.
fn elf_interpreter(file: &OwnedFd, head: &[u8]) -> Option<Vec<u8>> {
    if head.get(..4)? != b"\x7fELF" || *head.get(5)? != 1 {
        return None;
    }
    let wide = *head.get(4)? == 2;
    let (offset, size, count) = if wide {
        (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?)
    } else {
        (number(head, 28, 4)?, number(head, 42, 2)?, number(head, 44, 2)?)
    };
    let mut table = [0u8; 64 * 56];
    let got = rustix::io::pread(file, &mut table[..], offset).ok()?;
    let (size, count) = (usize::try_from(size).ok()?, usize::try_from(count).ok()?);
    for entry in table[..got].chunks_exact(size.max(32)).take(count) {
        if number(entry, 0, 4)? == 3 {
            let (at, len) = if wide {
                (number(entry, 8, 8)?, number(entry, 32, 8)?)
            } else {
                (number(entry, 4, 4)?, number(entry, 16, 4)?)
            };
            let mut text = [0u8; 256];
            let len = usize::try_from(len).ok()?.min(text.len());
            let got = rustix::io::pread(file, &mut text[..len], at).ok()?;
            return text[..got].split(|b| *b == 0).next().map(<[u8]>::to_vec);
        }
    }
    None
}

/// `HOME` of a user, from the container's own `/etc/passwd`; `/` where it says nothing.
fn home(uid: u32) -> Vec<u8> {
    read_home(uid).unwrap_or_else(|| b"/".to_vec())
}

fn read_home(uid: u32) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/etc/passwd", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let size = usize::try_from(stat.st_size).ok()?.min(MAX_PASSWD);
    let mut text = alloc::vec![0u8; size];
    let got = rustix::io::pread(&file, &mut text[..], 0).ok()?;
    text[..got].split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let id: u32 = core::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty()).then(|| home.to_vec())
    })
}

/// The program's environment, but for what [`name_listener`] adds. From here on nothing but the
/// descriptors that are to be passed on outlives `execve`.
pub(crate) fn prepare(process: &Process) -> Result<Vec<Text>> {
    let mut env = process.env.clone();
    if process.find_home {
        let mut var = b"HOME=".to_vec();
        var.extend_from_slice(&home(process.uid));
        env.extend(Text::new(var));
    }
    if let Some(count) = process.listen_fds {
        env.extend(Text::new(format!("LISTEN_FDS={count}")));
    }
    // Nothing of the host leaks into the program (CVE-2024-21626).
    sys::cloexec_from(process.preserve_fds.saturating_add(3)).call("close_range")?;
    Ok(env)
}

/// `LISTEN_PID`, in the process that becomes the program.
pub(crate) fn name_listener(process: &Process, env: &mut Vec<Text>) {
    if process.listen_fds.is_some() {
        let pid = rustix::process::getpid().as_raw_nonzero();
        env.extend(Text::new(format!("LISTEN_PID={pid}")));
    }
}

/// Becomes the program, or says why not and ends. Makes no other system call before: a filter may be in force.
pub(crate) fn execute(path: &CStr, args: &sys::Strings<'_>, env: &sys::Strings<'_>, interpreter: Option<&CStr>) -> ! {
    let error = Error::new("exec", sys::execve(path, args, env)).on(path.to_bytes());
    let missing = interpreter.filter(|_| error.errno == Some(Errno::NOENT));
    give_up(&match missing {
        Some(interpreter) => error.hint(&format!("its interpreter {} is missing", interpreter.to_string_lossy())),
        None => error,
    })
}

/// Says on the container's standard error why there is no program, and ends with the status of runc's init. Who has
/// ordered the start does not wait: to them the container has started, and has ended at once.
pub(crate) fn give_up(error: &Error) -> ! {
    let mut text = error.call.as_bytes().to_vec();
    if !error.path.is_empty() {
        text.push(b' ');
        text.extend_from_slice(&error.path);
    }
    let words = error.errno.map(words);
    for part in [words.as_deref().unwrap_or_default().as_bytes(), &error.hint] {
        if !part.is_empty() {
            text.extend_from_slice(b": ");
            text.extend_from_slice(part);
        }
    }
    text.push(b'\n');
    let _ = rustix::io::write(sys::stderr(), &text);
    sys::exit(255)
}

/// What execve(2) answers, in the C library's words: people and programs look for them.
fn words(errno: Errno) -> Cow<'static, str> {
    Cow::Borrowed(match errno {
        Errno::NOENT => "no such file or directory",
        Errno::ACCESS => "permission denied",
        Errno::PERM => "operation not permitted",
        Errno::NOEXEC => "exec format error",
        Errno::NOTDIR => "not a directory",
        Errno::TXTBSY => "text file busy",
        Errno::TOOBIG => "argument list too long",
        Errno::NOMEM => "cannot allocate memory",
        Errno::LOOP => "too many levels of symbolic links",
        Errno::INVAL => "invalid argument",
        Errno::IO => "input/output error",
        Errno::AGAIN => "resource temporarily unavailable",
        Errno::LIBBAD => "accessing a corrupted shared library",
        other => return Cow::Owned(format!("errno {}", other.raw_os_error())),
    })
}
