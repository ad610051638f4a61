//! What do the options of an entry of `mounts` say?
//!
//! They are those of mount(8) and runtime-spec config.md § Linux mount options. The tables below are
//! all of them: `cleat features` prints the same.

use cleat_plan::{Attr, FsOption, Propagation, PropagationKind};

use super::place::{Place, text};
use crate::error::Result;

pub(super) const RDONLY: u64 = 0x1;
pub(super) const NOSUID: u64 = 0x2;
pub(super) const NODEV: u64 = 0x4;
pub(super) const NOEXEC: u64 = 0x8;
pub(super) const ATIME: u64 = 0x70;
pub(super) const NOATIME: u64 = 0x10;
pub(super) const STRICTATIME: u64 = 0x20;
pub(super) const NODIRATIME: u64 = 0x80;
pub(super) const NOSYMFOLLOW: u64 = 0x20_0000;
/// `relatime` in so many words. The kernel's attribute is the absence of the others.
const RELATIME: u64 = 1 << 63;

/// Options that are attributes of a mount: name, bits set, bits cleared. With an `r` in front they
/// are those of all mounts below, too.
const ATTRIBUTES: &[(&str, u64, u64)] = &[
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME | RELATIME),
    ("atime", 0, ATIME),
    ("relatime", RELATIME, ATIME),
    ("norelatime", 0, ATIME | RELATIME),
    ("strictatime", STRICTATIME, ATIME | RELATIME),
    ("nostrictatime", 0, ATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// Options of the file system as a whole that the kernel knows by these names (fsconfig(2)).
const SUPERBLOCK: &[&str] = &["sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime"];

/// Options without effect on any kernel this program runs on: `silent` suppresses a log line of
/// mount(2), which is not used; `iversion` is the file system's own affair since Linux 6.6, and
/// was ignored by those that containers mount.
const FLAGS_WITHOUT_EFFECT: &[&str] = &["silent", "loud", "iversion", "noiversion"];

/// What fstab(5) says for nothing at all.
const WITHOUT_EFFECT: &[&str] = &["defaults", "nofail"];

const PROPAGATIONS: &[(&str, PropagationKind, bool)] = &[
    ("private", PropagationKind::Private, false),
    ("rprivate", PropagationKind::Private, true),
    ("shared", PropagationKind::Shared, false),
    ("rshared", PropagationKind::Shared, true),
    ("slave", PropagationKind::Slave, false),
    ("rslave", PropagationKind::Slave, true),
    ("unbindable", PropagationKind::Unbindable, false),
    ("runbindable", PropagationKind::Unbindable, true),
];

/// Options that say what kind of mount it is.
const KINDS: &[&str] = &["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"];

/// Every option with a meaning of its own, sorted.
#[must_use]
pub fn option_names() -> Vec<String> {
    let mut names: Vec<String> =
        ATTRIBUTES.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("r{name}")]).collect();
    names.extend(PROPAGATIONS.iter().map(|(name, ..)| (*name).to_owned()));
    names.extend(
        SUPERBLOCK.iter().chain(FLAGS_WITHOUT_EFFECT).chain(WITHOUT_EFFECT).chain(KINDS).map(|name| (*name).to_owned()),
    );
    names.retain(|name| name != "nofail");
    names.sort();
    names
}

/// The propagation that a word means.
pub(super) fn propagation(word: &str) -> Option<Propagation> {
    PROPAGATIONS
        .iter()
        .find(|(name, ..)| *name == word)
        .map(|(_, kind, recursive)| Propagation { kind: *kind, recursive: *recursive })
}

/// What one mount's options say.
#[derive(Default)]
pub(super) struct Options {
    pub(super) attr: Attr,
    pub(super) attr_recursive: Attr,
    pub(super) propagation: Vec<Propagation>,
    pub(super) fs: Vec<FsOption>,
    pub(super) bind: bool,
    pub(super) recursive: bool,
    pub(super) remount: bool,
    pub(super) copy_up: bool,
    /// `Some(true)` maps the mounts below, too.
    pub(super) idmap: Option<bool>,
    /// Something was asked of the flags of this mount alone, and something of its access times.
    flags: bool,
    access_times: bool,
}

pub(super) fn apply(attr: &mut Attr, set: u64, clear: u64) {
    attr.set = attr.set & !clear | set;
    attr.clear = attr.clear & !set | clear;
}

impl Options {
    /// Reads them all. The last of two contrary ones holds.
    pub(super) fn parse(options: &[String], place: &Place) -> Result<Options> {
        let mut parsed = Options::default();
        for (index, option) in options.iter().enumerate() {
            parsed.word(option, &place.at(format_args!("options[{index}]")))?;
        }
        parsed.access_times = parsed.attr.set & (ATIME | NODIRATIME | RELATIME) != 0;
        for attr in [&mut parsed.attr, &mut parsed.attr_recursive] {
            (attr.set, attr.clear) = (attr.set & !RELATIME, attr.clear & !RELATIME);
        }
        Ok(parsed)
    }

    fn word(&mut self, word: &str, place: &Place) -> Result<()> {
        let attribute = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
        self.flags |= SUPERBLOCK.contains(&word) || FLAGS_WITHOUT_EFFECT.contains(&word);
        match word {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            _ if WITHOUT_EFFECT.contains(&word) || FLAGS_WITHOUT_EFFECT.contains(&word) => {}
            _ => {
                if let Some((_, set, clear)) = attribute(word) {
                    self.flags = true;
                    apply(&mut self.attr, *set, *clear);
                } else if let Some((_, set, clear)) = word.strip_prefix('r').and_then(attribute) {
                    apply(&mut self.attr_recursive, *set, *clear);
                } else if let Some(how) = propagation(word) {
                    self.propagation.push(how);
                } else {
                    self.fs.push(file_system_option(word, place)?);
                }
            }
        }
        Ok(())
    }

    /// The flags of a bind mount: as with runc those that are asked for and no others, where any are
    /// asked for; else those of the source. Access times are changed only if they are asked for. In a
    /// user namespace what is locked stays unless its opposite is among the options.
    pub(super) fn bind_flags(&mut self) {
        let Attr { set, clear, clear_unlocked } = &mut self.attr;
        let times = ATIME | NODIRATIME;
        *clear = if self.access_times { *clear | times } else { *clear & !times };
        if self.flags {
            *clear_unlocked = (RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW) & !*set & !*clear;
        }
    }
}

/// An option that the file system itself knows.
fn file_system_option(word: &str, place: &Place) -> Result<FsOption> {
    let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
    if key.is_empty() {
        return Err(place.error("is empty"));
    }
    if value.is_some_and(|v| v.len() > 255) {
        return Err(place.error("the value is longer than the 255 bytes that fsconfig(2) takes"));
    }
    Ok(FsOption { key: text(key)?, value: value.map(text).transpose()? })
}
