//! Which mounts of the host would stay in a container whose root is not pivoted (`--no-pivot`)?
//!
//! A process that makes a user namespace in it may mount a procfs or a sysfs there, whatever is masked, if one
//! without masks is anywhere in the mount namespace (Linux fs/namespace.c, `mount_too_revealing`). So all
//! mounts of the host leave it. They are learnt from mountinfo, which takes long where there are many:
//! nowhere but here.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::OFlag;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::error::{Context, Error, Result};
use crate::plan::host::HostMount;
use crate::sys::path::Proc;

/// All but that on `/`.
///
/// # Errors
/// `/proc` is not there.
pub fn list() -> Result<Vec<HostMount>> {
    let place = "/proc/self/mountinfo";
    let file = Proc::open()?.follow("self/mountinfo", OFlag::O_RDONLY).context(format_args!("open {place}"))?;
    let mut text = Vec::new();
    std::fs::File::from(file).read_to_end(&mut text).context(format_args!("read {place}"))?;
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let mut mounts = Vec::new();
    for line in lines {
        let (id, mut mount) =
            parse(line).ok_or_else(|| Error::new(format!("{place}: a line is not as it should be")))?;
        if mount.point.as_os_str() != "/" {
            mount.hidden = mount.reveals && id_at(&mount.point) != Some(id);
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

/// Which mount a path leads to.
fn id_at(path: &std::path::Path) -> Option<u64> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    Some(rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?.stx_mnt_id)
}

/// A line of proc_pid_mountinfo(5): the mount's id, and what it is.
fn parse(line: &[u8]) -> Option<(u64, HostMount)> {
    let mut fields = line.split(|b| *b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = fields.nth(2)?;
    let point = OsString::from_vec(unescape(fields.next()?)).into();
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let reveals = root == b"/" && matches!(kind, b"proc" | b"sysfs");
    Some((id, HostMount { point, reveals, hidden: false }))
}

/// Blanks and backslashes are three octal digits after a backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [a, b, c, after @ ..]) => {
                plain.push((a & 3) << 6 | (b & 7) << 3 | c & 7);
                rest = after;
            }
            _ => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_and_what() {
        let of = |line: &str| parse(line.as_bytes()).unwrap();
        let (id, mount) = of(r"36 35 98:0 / /a\040b\134c rw,noatime master:1 shared:2 - proc proc rw");
        assert_eq!((id, mount.point.to_str(), mount.reveals), (36, Some(r"/a b\c"), true));
        assert!(!of("36 35 98:0 /sys /proc/sys ro - proc proc rw").1.reveals, "a part of one");
        assert!(of("36 35 98:0 / /sys ro - sysfs x rw").1.reveals);
        assert!(!of("36 35 98:0 / /x ro - ext4 /dev/proc rw").1.reveals);
        assert!(parse(b"36 35 98:0 / /x ro").is_none());
        assert!(list().unwrap().iter().any(|mount| mount.point.as_os_str() == "/proc" && mount.reveals));
    }
}
