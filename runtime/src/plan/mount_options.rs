//! What do the options of an entry of `mounts` say?
//!
//! They are those of mount(8) and runtime-spec config.md § Linux mount options. The tables below are
//! all of them: `cleat features` prints the same.

use cleat_plan::{Attr, FsOption, Propagation, PropagationKind};

use super::place::{Place, text};
use super::types::IdMap;
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
pub(super) const SUPERBLOCK: &[&str] = &["sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime"];

/// Options without effect on any kernel this program runs on: `silent` suppresses a log line of mount(2), which is
/// not used. `iversion` is the file system's own affair since Linux 6.6, and was ignored by those that containers
/// mount.
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
const KINDS: &[&str] =
    &["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow"];

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
    /// The mappings of the `idmap` option itself, as crun has them.
    pub(super) mappings: Option<Mappings>,
    pub(super) copy_link: bool,
    pub(super) source_nofollow: bool,
    pub(super) target_nofollow: bool,
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
            for word in words(option) {
                parsed.word(word, &place.at(format_args!("options[{index}]")))?;
            }
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
            "copy-symlink" => self.copy_link = true,
            "src-nofollow" => self.source_nofollow = true,
            "dest-nofollow" => self.target_nofollow = true,
            "" => {}
            _ if WITHOUT_EFFECT.contains(&word) || FLAGS_WITHOUT_EFFECT.contains(&word) => {}
            _ => {
                if let Some((_, set, clear)) = attribute(word) {
                    self.flags = true;
                    apply(&mut self.attr, *set, *clear);
                } else if let Some((_, set, clear)) = word.strip_prefix('r').and_then(attribute) {
                    apply(&mut self.attr_recursive, *set, *clear);
                } else if let Some(how) = propagation(word) {
                    self.propagation.push(how);
                } else if let Some(mappings) = word.strip_prefix("idmap=") {
                    self.mappings = Some(Mappings::parse(mappings, place)?);
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

/// The words of a string, as mount(2) takes them apart: at commas, but not in quotes or behind a backslash.
pub(super) fn words(option: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    option.split(move |letter| {
        let cut = letter == ',' && !quoted && !escaped;
        quoted ^= letter == '"';
        escaped = letter == '\\' && !escaped;
        cut
    })
}

/// An option that the file system itself knows.
fn file_system_option(word: &str, place: &Place) -> Result<FsOption> {
    let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
    if key.is_empty() {
        return Err(place.error(format_args!("{word:?} has no name")));
    }
    // mount(2) takes the quotes off labels of SELinux, fsconfig(2) does not.
    let value = value.map(|value| match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if key.ends_with("context") => inner,
        _ => value,
    });
    Ok(FsOption { key: text(key)?, value: value.map(text).transpose()? })
}

/// The mappings that an `idmap` option names: `uids=0-1000-1#1-5000-10;gids=0-1000-1`. Each is the first id
/// on the file system, the first id that it becomes, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    pub(super) uids: Vec<Mapping>,
    pub(super) gids: Vec<Mapping>,
}

#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) map: IdMap,
    /// `@`: the second id is one of the container's user namespace.
    pub(super) relative: bool,
}

impl Mappings {
    fn parse(text: &str, place: &Place) -> Result<Mappings> {
        let wrong = || place.error("is not of the form \"idmap=uids=0-1000-1#1-5000-10;gids=0-1000-1\"");
        let mut mappings = Mappings::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (kind, ranges) = part.split_once('=').ok_or_else(wrong)?;
            let list = match kind {
                "uids" => &mut mappings.uids,
                "gids" => &mut mappings.gids,
                _ => return Err(wrong()),
            };
            for range in ranges.split('#') {
                let (relative, numbers) = range.strip_prefix('@').map_or((false, range), |rest| (true, rest));
                let numbers: Option<Vec<u32>> = numbers.split('-').map(|number| number.parse().ok()).collect();
                let Some(&[container_id, host_id, size]) = numbers.as_deref() else { return Err(wrong()) };
                list.push(Mapping { map: IdMap { container_id, host_id, size }, relative });
            }
        }
        if mappings.uids.is_empty() || mappings.gids.is_empty() {
            return Err(place.error("both uids and gids must be mapped"));
        }
        Ok(mappings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_taken_apart_as_mount_does() {
        let parts = |text| words(text).collect::<Vec<_>>();
        assert_eq!(parts("nosuid,nodev"), ["nosuid", "nodev"]);
        assert_eq!(parts(""), [""]);
        assert_eq!(parts(r#"context="a:c1,c2",ro"#), [r#"context="a:c1,c2""#, "ro"]);
        assert_eq!(parts(r"upperdir=/a\,b,ro"), [r"upperdir=/a\,b", "ro"]);
        let label = file_system_option(r#"context="a:c1,c2""#, &Place::new(String::new())).unwrap();
        assert_eq!(label.value.unwrap().to_bytes(), b"a:c1,c2");
    }

    #[test]
    fn mappings_of_an_option_are_read() {
        let place = Place::new("x".into());
        let read = Mappings::parse("uids=0-1-10#@10-11-10;gids=0-100-10", &place).unwrap();
        let maps: Vec<_> =
            read.uids.iter().map(|m| (m.map.container_id, m.map.host_id, m.map.size, m.relative)).collect();
        assert_eq!(maps, [(0, 1, 10, false), (10, 11, 10, true)]);
        for wrong in ["uids=0-1;gids=0-0-1", "uids=0-0-1", "users=0-0-1;gids=0-0-1", "uids=0-0-x;gids=0-0-1", ""] {
            assert!(Mappings::parse(wrong, &place).is_err(), "{wrong}");
        }
    }
}
