//! How does one entry of `mounts` become a mount, without a path of the container ever being used?
//!
//! Each mount is made detached, configured, and attached to a descriptor found in the root.

use alloc::ffi::CString;
use alloc::vec::Vec;
use cleat_plan::{Attr, FsOption, Mount, MountKind, Text};
use core::ffi::CStr;
use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, OpenTreeFlags};
use rustix::process::{WaitId, WaitIdOptions};

use crate::error::{Call, Error, Result};
use crate::masks::Kernel;
use crate::mount_api::{attach, in_empty_place, no_devices, propagate};
use crate::path::{self, Make};
use crate::{Init, copy_up, procfs, sys};

/// What is changed again when all has been mounted.
#[derive(Default)]
pub(crate) struct Mounted {
    /// `/proc` and `/sys`, whose parts are masked.
    pub(crate) kernel: Vec<Kernel>,
    /// What becomes read-only, now that all below it has been made.
    pub(crate) readonly: Vec<(Text, OwnedFd)>,
}

/// All mounts, in order. One on `/` becomes the root.
pub(crate) fn perform(init: &mut Init, root: &mut OwnedFd, mounts: &[Mount]) -> Result<Mounted> {
    let mut mounted = Mounted::default();
    for mount in mounts {
        one(init, root, mount, &mut mounted).map_err(|error| name_target(error, &mount.target))?;
    }
    Ok(mounted)
}

/// Every error of a mount names its target, and the object of the call where that is another.
fn name_target(mut error: Error, target: &CStr) -> Error {
    let target = target.to_bytes();
    if error.path != target {
        let object = core::mem::replace(&mut error.path, target.into());
        if !object.is_empty() {
            error.path.extend_from_slice(b" (");
            error.path.extend_from_slice(&object);
            error.path.push(b')');
        }
    }
    error
}

fn one(init: &mut Init, root: &mut OwnedFd, mount: &Mount, mounted: &mut Mounted) -> Result<()> {
    let mut attr = mount.attr;
    if mount.readonly_late {
        attr.set &= !u64::from(raw::MOUNT_ATTR_RDONLY);
    }
    let made = match &mount.kind {
        MountKind::Bind { source, inside, recursive, nofollow, tree } => {
            let tree = match (tree, inside) {
                (Some(index), _) => init.take_mount(*index)?,
                (None, None) => open_source(CWD, source, *recursive, *nofollow)?,
                (None, Some(inside)) => {
                    let mut flags = OFlags::PATH;
                    flags.set(OFlags::NOFOLLOW, *nofollow);
                    let found = path::open(&*root, inside, flags).call_on("openat2", source)?;
                    open_source(found.as_fd(), c"", *recursive, *nofollow)?
                }
            };
            if mount.require_procfs {
                procfs::verify(&tree)?;
            }
            if mount.copy_link && path::file_type(&tree)? == FileType::Symlink {
                return copy_link(root, &tree, &mount.target);
            }
            set_attr(&tree, false, attr)?;
            tree
        }
        MountKind::New { fstype, source, options } => {
            new_in_its_namespace(init, root, mount, attr, (fstype, source.as_deref(), options))?
        }
        MountKind::Remount { options } => return remount(root, mount, options),
    };
    let kind = path::file_type(&made)?;
    let make = if kind == FileType::Directory { Make::Directory } else { Make::File };
    if mount.nodev && !kind.is_block_device() && !kind.is_char_device() {
        no_devices(&made).call("mount_setattr")?;
    }
    let target = if mount.target_nofollow {
        path::find_or_make_nofollow(&*root, &mount.target, make)?
    } else if mount.target_last_nofollow {
        path::open(&*root, &mount.target, OFlags::PATH | OFlags::NOFOLLOW).call("openat2")?
    } else {
        path::find_or_make(&*root, &mount.target, make)?
    };
    if mount.copy_up {
        copy_up::copy(&target, &made)?;
    }
    if path::is_dir(&target)? != (make == Make::Directory) {
        let hint = "not a directory: source and target must both be directories, or neither";
        return Err(Error::new("move_mount", Errno::NOTDIR).hint(hint));
    }
    attach(made.as_fd(), target.as_fd()).call("move_mount")?;
    if let Some(label) = &mount.label {
        let dir = rustix::fs::openat(&made, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call("openat")?;
        let name = c"security.selinux";
        rustix::fs::fsetxattr(&dir, name, label.to_bytes(), XattrFlags::empty()).call_on("fsetxattr", label)?;
    }
    set_attr(&made, true, mount.attr_recursive)?;
    for how in &mount.propagation {
        propagate(made.as_fd(), *how).call("mount_setattr")?;
    }
    if mount.readonly_late {
        let again = rustix::io::fcntl_dupfd_cloexec(&made, 0).call("fcntl")?;
        mounted.readonly.push((mount.target.clone(), again));
    }
    if mount.target_nofollow {
        mounted.kernel.push(Kernel { target: mount.target.clone(), mount: made });
    } else if &*mount.target == c"/" {
        *root = made;
    }
    Ok(())
}

/// Makes a symbolic link like the one that `link` is.
fn copy_link(root: &OwnedFd, link: &OwnedFd, target: &CStr) -> Result<()> {
    let content = rustix::fs::readlinkat(link, c"", Vec::new()).call("readlinkat")?;
    let (parent, name) = path::split(target).ok_or_else(|| Error::new("symlinkat", Errno::INVAL))?;
    let dir = path::find_or_make(root, &parent, Make::Directory)?;
    match rustix::fs::symlinkat(&content, &dir, &name) {
        Err(Errno::EXIST) if rustix::fs::readlinkat(&dir, &name, Vec::new()).as_ref() == Ok(&content) => Ok(()),
        other => other.call("symlinkat").map_err(|e| e.hint_if(Errno::EXIST, "the image has another file there")),
    }
}

/// A new file system; a procfs of the pid namespace that is joined.
fn new_in_its_namespace(
    init: &Init,
    root: &OwnedFd,
    mount: &Mount,
    attr: Attr,
    (fstype, source, options): (&CStr, Option<&CStr>, &[FsOption]),
) -> Result<OwnedFd> {
    let mode = inherited_mode(root, mount, fstype, options)?;
    let is_long = |text: &CStr| text.count_bytes() > MAX_STRING;
    if source.is_some_and(is_long) || options.iter().any(|o| o.value.as_deref().is_some_and(is_long)) {
        return by_mount2(root, fstype, source.unwrap_or_default(), options, attr);
    }
    let new = |namespace| new(fstype, source, options, mode.as_ref(), attr, namespace);
    match init.pid_namespace.as_ref().filter(|_| fstype == c"proc") {
        None => new(None),
        Some(namespace) => match new(Some(namespace)) {
            Err(error) if error.call == PIDNS => in_a_child(|| new(None)),
            other => other,
        },
    }
}

/// The longest string that fsconfig(2) takes.
const MAX_STRING: usize = 255;

/// Flags of mount(2) that are options of the file system for fsconfig(2).
const FLAGS: [(&[u8], u32); 5] = [
    (b"ro", raw::MS_RDONLY),
    (b"sync", raw::MS_SYNCHRONOUS),
    (b"dirsync", raw::MS_DIRSYNC),
    (b"mand", raw::MS_MANDLOCK),
    (b"lazytime", raw::MS_LAZYTIME),
];

/// Where a string is too long for fsconfig(2), as the `lowerdir` of an overlay with many layers. mount(2) takes
/// a page of them all, and a path: one that nobody else can reach.
fn by_mount2(root: &OwnedFd, fstype: &CStr, source: &CStr, options: &[FsOption], attr: Attr) -> Result<OwnedFd> {
    let (mut flags, mut data) = (0, Vec::new());
    for FsOption { key, value } in options {
        if let (None, Some((_, flag))) = (value, FLAGS.iter().find(|(name, _)| *name == key.to_bytes())) {
            flags |= flag;
            continue;
        }
        if !data.is_empty() {
            data.push(b',');
        }
        data.extend_from_slice(key.to_bytes());
        if let Some(value) = value {
            // Labels of SELinux have commas.
            let quote: &[u8] = if key.to_bytes().ends_with(b"context") { b"\"" } else { b"" };
            for part in [b"=", quote, value.to_bytes(), quote] {
                data.extend_from_slice(part);
            }
        }
    }
    let data = CString::new(data).map_err(|_| Error::new("mount", Errno::INVAL))?;
    let made = in_empty_place(root.as_fd(), c"m", |place| {
        rustix::fs::mkdirat(place, c"m", Mode::from_raw_mode(0o755)).call("mkdirat")?;
        let flags = MountFlags::from_bits_retain(flags);
        rustix::mount::mount(source, c"m", fstype, flags, &*data).call_on("mount", fstype)
    })?;
    set_attr(&made, false, attr)?;
    Ok(made)
}

/// A tmpfs without a mode of its own takes that of the directory it covers, as with runc; where there is
/// none, the kernel's default, which is open to all.
fn inherited_mode(root: &OwnedFd, mount: &Mount, fstype: &CStr, options: &[FsOption]) -> Result<Option<FsOption>> {
    if fstype != c"tmpfs" || options.iter().any(|option| option.key.to_bytes() == b"mode") {
        return Ok(None);
    }
    let target = match path::find(root, &mount.target) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.call("openat2")?,
    };
    let mode = rustix::fs::fstat(&target).call("fstat")?.st_mode & 0o7777;
    let digits: Vec<u8> = [9, 6, 3, 0].iter().map(|shift| b"01234567"[(mode >> shift & 7) as usize]).collect();
    let text = |bytes: &[u8]| Text::new(bytes).ok_or_else(|| Error::new("fsconfig", Errno::INVAL));
    Ok(Some(FsOption { key: text(b"mode")?, value: Some(text(&digits)?) }))
}

/// The call that only a kernel before Linux 6.17 refuses.
const PIDNS: &str = "fsconfig pidns";

/// Before Linux 6.17 a procfs shows the pid namespace of the process that makes it: here a child in the
/// joined one, which shares our descriptors. A process there may trace it for that moment.
fn in_a_child(make: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    let (answer, says) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2")?;
    let flags = raw::CLONE_FILES | raw::CLONE_VFORK;
    match sys::clone_process(flags.into(), false).call("clone")? {
        sys::Cloned::Child => {
            // Its number stays open for us; an error is negative, as the kernel has it.
            let number = match make() {
                Ok(mount) => mount.into_raw_fd(),
                Err(error) => error.errno.map_or(-1, |errno| -errno.raw_os_error()),
            };
            let _ = rustix::io::write(&says, &number.to_ne_bytes());
            sys::exit(0)
        }
        sys::Cloned::Parent(_, child) => {
            let mut number = [0; 4];
            let _ = rustix::io::read(&answer, &mut number[..]).call("read")?;
            // While nobody has waited for it the pid namespace does not end.
            let _ = rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED).call("waitid")?;
            match i32::from_ne_bytes(number) {
                errno @ ..0 => Err(Error::new("fsmount", Errno::from_raw_os_error(-errno))),
                number => sys::adopt(number).call("fcntl"),
            }
        }
    }
}

/// `MOUNT_ATTR_RDONLY`, `NOSUID`, `NODEV` and `NOEXEC`, which are the same bits in `statfs`.
const LOCKABLE: u64 = 0xf;

fn open_source(dir: BorrowedFd<'_>, source: &CStr, recursive: bool, nofollow: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, source.is_empty());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
    rustix::mount::open_tree(dir, source, flags).call_on("open_tree", source).map_err(|e| {
        // mount_namespaces(7): a user namespace must not see what the host has covered.
        e.hint_if(Errno::INVAL, "mounts below it are locked here: \"rbind\" takes them along")
    })
}

/// Attributes of a mount, or of all below it, too. What a user namespace may not take away from the
/// host's mounts stays where nothing asked for the opposite.
fn set_attr(mount: &OwnedFd, recursive: bool, attr: Attr) -> Result<()> {
    if attr.is_empty() {
        return Ok(());
    }
    let set = |unlocked| sys::mount_setattr(mount.as_fd(), recursive, attr.set, attr.clear | unlocked, 0);
    let mut outcome = set(attr.clear_unlocked);
    if outcome == Err(Errno::PERM) && attr.clear_unlocked != 0 {
        let there = rustix::fs::fstatvfs(mount).call("statfs")?.f_flag.bits();
        outcome = set(attr.clear_unlocked & !(there & LOCKABLE));
    }
    outcome.call("mount_setattr").map_err(|e| {
        let hint = if attr.clear & LOCKABLE != 0 {
            "a user namespace cannot make the host's mount rw, suid, dev or exec where it is not: leave the option out"
        } else {
            "a user namespace cannot change access-time options of the host's mounts"
        };
        e.hint_if(Errno::PERM, hint)
    })
}

/// A new file system instance, as a detached mount.
fn new(
    fstype: &CStr,
    source: Option<&CStr>,
    options: &[FsOption],
    mode: Option<&FsOption>,
    attr: Attr,
    pid_namespace: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
        .call_on("fsopen", fstype)
        .map_err(|e| e.hint_if(Errno::NODEV, "no such file system in this kernel"))?;
    let explain = |error: Error| explain(error, &fs, fstype);
    if let Some(namespace) = pid_namespace {
        // First: it decides whose user namespace is asked for privileges.
        rustix::mount::fsconfig_set_fd(fs.as_fd(), c"pidns", namespace.as_fd()).call(PIDNS)?;
    }
    if let Some(source) = source {
        rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", source)
            .call_on("fsconfig source", source)
            .map_err(explain)?;
    }
    configure(&fs, options).map_err(explain)?;
    configure(&fs, mode.map_or(&[], core::slice::from_ref)).map_err(explain)?;
    rustix::mount::fsconfig_create(fs.as_fd()).call_on("fsconfig create", fstype).map_err(explain)?;
    let attrs = MountAttrFlags::from_bits_retain(u32::try_from(attr.set).unwrap_or(0));
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs).call_on("fsmount", fstype).map_err(explain)
}

fn configure(fs: &OwnedFd, options: &[FsOption]) -> Result<()> {
    for option in options {
        match &option.value {
            Some(value) => rustix::mount::fsconfig_set_string(fs.as_fd(), &*option.key, &**value),
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), &*option.key),
        }
        .call_on("fsconfig", &option.key)?;
    }
    Ok(())
}

/// Adds what is known of such refusals, or what the file system itself says.
fn explain(mut error: Error, fs: &OwnedFd, fstype: &CStr) -> Error {
    match (error.errno, fstype.to_bytes()) {
        (Some(Errno::PERM), b"proc") => {
            return error.hint("/proc is partly masked here, or of another pid namespace; bind-mount the host's");
        }
        (Some(Errno::PERM), b"sysfs") => {
            return error.hint("the user namespace does not own the network namespace; bind-mount the host's /sys");
        }
        _ => {}
    }
    let mut text = [0u8; 256];
    if let Ok(got) = rustix::io::read(fs, &mut text[..]) {
        // "e tmpfs: Unknown parameter 'x'"
        error.hint = text.get(2..got).unwrap_or_default().iter().copied().filter(|b| *b != b'\n').collect::<Vec<u8>>();
        return error;
    }
    error.hint_if(Errno::PERM, "this file system cannot be mounted in a user namespace")
}

/// Changes a mount that is there already.
fn remount(root: &OwnedFd, mount: &Mount, options: &[FsOption]) -> Result<()> {
    let target = path::find(root, &mount.target).call("openat2")?;
    if !options.is_empty() {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fs = rustix::mount::fspick(&target, c"", flags).call("fspick")?;
        configure(&fs, options)?;
        rustix::mount::fsconfig_reconfigure(fs.as_fd()).call("fsconfig reconfigure")?;
    }
    let not_a_mount = |e: Error| e.hint_if(Errno::INVAL, "nothing is mounted there to remount");
    set_attr(&target, false, mount.attr).map_err(not_a_mount)?;
    set_attr(&target, true, mount.attr_recursive).map_err(not_a_mount)?;
    for how in &mount.propagation {
        propagate(target.as_fd(), *how).call("mount_setattr").map_err(not_a_mount)?;
    }
    Ok(())
}
