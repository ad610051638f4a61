//! What may a process of the container do with a file of the host?

use nix::sys::stat::FileStat;

use crate::plan::IdMap;

/// Search a directory, execute a file.
pub(super) const SEARCH: u32 = 1;
/// Write.
pub(super) const WRITE: u32 = 2;

const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;

/// A process of the container, with its ids as the host sees them.
pub(super) struct Subject<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Effective capabilities.
    pub(super) capabilities: u64,
    /// The ids of its user namespace; `None`: all of the host's.
    pub(super) uids: Option<&'a [IdMap]>,
    /// The same of groups.
    pub(super) gids: Option<&'a [IdMap]>,
}

/// The host's id of one of the container's.
pub(super) fn to_host(maps: Option<&[IdMap]>, id: u32) -> Option<u32> {
    let Some(maps) = maps else { return Some(id) };
    let map = maps.iter().find(|m| id >= m.container_id && id - m.container_id < m.size)?;
    map.host_id.checked_add(id - map.container_id)
}

fn is_mapped(maps: Option<&[IdMap]>, host_id: u32) -> bool {
    maps.is_none_or(|maps| maps.iter().any(|m| host_id >= m.host_id && host_id - m.host_id < m.size))
}

impl Subject<'_> {
    /// Whether it may do all of `wanted` with a file, as far as its mode shows (path_resolution(7)).
    pub(super) fn may(&self, file: &FileStat, wanted: u32) -> bool {
        let mode = file.st_mode & 0o777;
        let class = if file.st_uid == self.uid {
            mode >> 6
        } else if file.st_gid == self.gid || self.groups.contains(&file.st_gid) {
            mode >> 3
        } else {
            mode
        };
        if class & wanted == wanted {
            return true;
        }
        // Capabilities are good for files whose ids the user namespace has.
        let known = is_mapped(self.uids, file.st_uid) && is_mapped(self.gids, file.st_gid);
        let is_dir = file.st_mode & 0o170_000 == 0o040_000;
        let overrides = self.capabilities & DAC_OVERRIDE != 0 && (is_dir || wanted & SEARCH == 0 || mode & 0o111 != 0);
        let searches = self.capabilities & DAC_READ_SEARCH != 0 && is_dir && wanted & WRITE == 0;
        known && (overrides || searches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, uid: u32, gid: u32) -> FileStat {
        let mut stat = nix::sys::stat::stat("/").unwrap();
        (stat.st_mode, stat.st_uid, stat.st_gid) = (mode, uid, gid);
        stat
    }

    fn subject(uid: u32, capabilities: u64) -> Subject<'static> {
        Subject { uid, gid: uid, groups: vec![7], capabilities, uids: None, gids: None }
    }

    #[test]
    fn the_class_of_the_owner_decides_alone() {
        assert!(!subject(5, 0).may(&file(0o100_077, 5, 5), SEARCH));
        assert!(subject(5, 0).may(&file(0o100_701, 6, 6), SEARCH));
        assert!(!subject(5, 0).may(&file(0o100_701, 6, 7), SEARCH), "of a supplementary group");
    }

    #[test]
    fn root_executes_what_anybody_may_execute() {
        assert!(subject(0, DAC_OVERRIDE).may(&file(0o100_100, 5, 5), SEARCH));
        assert!(!subject(0, DAC_OVERRIDE).may(&file(0o100_666, 5, 5), SEARCH));
        assert!(!subject(0, 0).may(&file(0o100_700, 5, 5), SEARCH), "without the capability it is nobody");
        assert!(subject(0, DAC_READ_SEARCH).may(&file(0o040_700, 5, 5), SEARCH));
        assert!(!subject(0, DAC_READ_SEARCH).may(&file(0o040_700, 5, 5), SEARCH | WRITE));
    }

    #[test]
    fn capabilities_end_where_the_mappings_do() {
        let maps = [IdMap { container_id: 0, host_id: 1000, size: 10 }];
        let root = Subject { uids: Some(&maps), gids: Some(&maps), ..subject(1000, DAC_OVERRIDE) };
        assert!(root.may(&file(0o040_700, 1009, 1000), SEARCH));
        assert!(!root.may(&file(0o040_700, 1010, 1000), SEARCH));
        assert!(!root.may(&file(0o040_700, 0, 0), SEARCH));
        assert_eq!(to_host(Some(&maps), 3), Some(1003));
        assert_eq!(to_host(Some(&maps), 10), None);
        assert_eq!(to_host(None, 10), Some(10));
    }
}
