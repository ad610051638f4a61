//! Which ids does the container have, who maps them, and are all that config.json names among them?
//!
//! user_namespaces(7): without a privilege a process may map its own id alone, and its own group
//! only once `setgroups(2)` is denied. Ids of /etc/subuid and /etc/subgid are mapped by
//! newuidmap(1) and newgidmap(1), and then `setgroups(2)` stays allowed.

use std::collections::BTreeMap;

use super::clone_flags::NEWUSER;
use super::findings::Findings;
use super::namespaces::Namespaces;
use super::place::Place;
use super::place::place;
use super::types::IdMap;
use super::types::IdMaps;
use crate::error::Result;
use crate::plan::host::Host;
use crate::spec;
use crate::spec::Spec;

/// Most lines that the kernel takes (Linux include/linux/user_namespace.h, `UID_GID_MAP_MAX_EXTENTS`).
const MAX_LINES: usize = 340;

/// crun's annotation for `podman run --group-add keep-groups`: anything but "0" leaves the caller's
/// supplementary groups as they are.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The mappings of a new user namespace.
pub(super) fn id_maps(spec: &Spec, namespaces: &Namespaces, host: &Host) -> Result<Option<IdMaps>> {
    let linux = &spec.linux;
    let given = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if namespaces.new & NEWUSER == 0 {
        // With a joined namespace the mappings repeat what it has already.
        if given && !namespaces.joins(NEWUSER) {
            return Err(
                place("linux.uidMappings").error("there are mappings, but linux.namespaces has no user namespace")
            );
        }
        if host.euid != 0 && !namespaces.joins(NEWUSER) {
            return Err(place("linux.namespaces")
                .error(format_args!("user {} is not root, and so needs a user namespace", host.euid))
                .remedy(
                    "add {\"type\": \"user\"} with linux.uidMappings \
                 and linux.gidMappings, as \"spec --rootless\" writes them",
                ));
        }
        return Ok(None);
    }
    let uids = decide(&linux.uid_mappings, "linux.uidMappings", &host.own_uids)?;
    let gids = decide(&linux.gid_mappings, "linux.gidMappings", &host.own_gids)?;
    let delegated = |maps: &[IdMap], own: u32| host.euid != 0 && !is_only(maps, own);
    let gids_delegated = delegated(&gids, host.egid);
    Ok(Some(IdMaps {
        uids_delegated: delegated(&uids, host.euid),
        gids_delegated,
        deny_setgroups: host.euid != 0 && !gids_delegated,
        uids,
        gids,
    }))
}

/// Whether the mappings are of this id of the host and of nothing else.
fn is_only(maps: &[IdMap], own: u32) -> bool {
    matches!(maps, [only] if only.host_id == own && only.size == 1)
}

/// Whether the container's root is this user of the host.
pub(super) fn root_is(maps: &IdMaps, uid: u32) -> bool {
    maps.uids.iter().any(|map| map.container_id == 0 && map.host_id == uid)
}

fn decide(list: &[spec::IdMapping], name: &str, outer: &[IdMap]) -> Result<Vec<IdMap>> {
    if list.is_empty() {
        return Err(place(name).error("a new user namespace needs at least one mapping"));
    }
    if list.len() > MAX_LINES {
        return Err(place(name)
            .error(format_args!("{} mappings", list.len()))
            .remedy(format_args!("the kernel takes {MAX_LINES}")));
    }
    for (index, map) in list.iter().enumerate() {
        let here = Place::new(format!("{name}[{index}]"));
        if map.size == 0 {
            return Err(place(name).error(format_args!("[{index}].size is 0")).remedy("a mapping has at least one id"));
        }
        // The last number is no id (user_namespaces(7)).
        for (first, side) in [(map.container_id, "containerID"), (map.host_id, "hostID")] {
            if u64::from(first) + u64::from(map.size) > u64::from(u32::MAX) {
                return Err(here.error(format_args!("{side} {first} and size {} go beyond 4294967294", map.size)));
            }
        }
        for (before, other) in list.iter().take(index).enumerate() {
            for (side, a, b) in
                [("containerID", map.container_id, other.container_id), ("hostID", map.host_id, other.host_id)]
            {
                if a < b + other.size && b < a + map.size {
                    return Err(here.error(format_args!("its ids by {side} overlap with those of [{before}]")));
                }
            }
        }
        if !outer.is_empty() && !outer.iter().any(|range| contains(range, map.host_id, map.size)) {
            return Err(here.error(format_args!(
                "host ids {} are not all mapped in the user namespace that cleat runs in, which has {}",
                range(map.host_id, map.size),
                ranges(outer)
            )));
        }
    }
    if !list.iter().any(|m| m.container_id == 0) {
        return Err(place(name).error("no mapping for id 0, as which the container is set up"));
    }
    Ok(list.iter().map(|m| IdMap::from(*m)).collect())
}

/// Whether ids of the inside are in a mapping, all of them.
fn contains(map: &IdMap, first: u32, size: u32) -> bool {
    first >= map.container_id && u64::from(first) + u64::from(size) <= u64::from(map.container_id) + u64::from(map.size)
}

/// What an id of the inside is outside.
pub(crate) fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
    maps.iter().find(|map| contains(map, id, 1)).map(|map| map.host_id + (id - map.container_id))
}

/// `5` or `100000-165535`.
pub(crate) fn range(first: u32, size: u32) -> String {
    match size {
        0 | 1 => first.to_string(),
        _ => format!("{first}-{}", first.saturating_add(size - 1)),
    }
}

fn ranges(maps: &[IdMap]) -> String {
    maps.iter().map(|map| range(map.container_id, map.size)).collect::<Vec<_>>().join(", ")
}

/// The ids that there are in the container's user namespace, as far as they are known.
#[derive(Clone, Copy)]
pub(crate) struct Ids<'a> {
    /// Empty: all, or not known.
    pub(crate) uids: &'a [IdMap],
    /// The same.
    pub(crate) gids: &'a [IdMap],
    /// What maps them, for errors: `linux.` and this.
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    Config,
    Outer,
    Container,
}

impl<'a> Ids<'a> {
    /// Those of a container that is to be made.
    pub(super) fn of_create(maps: Option<&'a IdMaps>, namespaces: &Namespaces, host: &'a Host) -> Ids<'a> {
        match maps {
            Some(maps) => Ids { uids: &maps.uids, gids: &maps.gids, source: Source::Config },
            // The kernel alone knows what is mapped in a namespace that is given by path.
            None if namespaces.joins(NEWUSER) => Ids { uids: &[], gids: &[], source: Source::Container },
            None => Ids { uids: &host.own_uids, gids: &host.own_gids, source: Source::Outer },
        }
    }

    /// Those of a container that runs.
    pub(crate) fn of_container(uids: &'a [IdMap], gids: &'a [IdMap]) -> Ids<'a> {
        Ids { uids, gids, source: Source::Container }
    }

    /// An error unless that user can be had.
    pub(super) fn check_uid(self, id: u32, place: &Place) -> Result<()> {
        self.check(self.uids, id, "linux.uidMappings", place)
    }

    /// An error unless that group can be had.
    pub(super) fn check_gid(self, id: u32, place: &Place) -> Result<()> {
        self.check(self.gids, id, "linux.gidMappings", place)
    }

    fn check(self, maps: &[IdMap], id: u32, name: &str, place: &Place) -> Result<()> {
        if maps.is_empty() || maps.iter().any(|map| contains(map, id, 1)) {
            return Ok(());
        }
        let by = match self.source {
            Source::Config => name,
            Source::Outer => "the user namespace that cleat runs in",
            Source::Container => "the container's user namespace",
        };
        Err(place.error(format_args!("{id} has no mapping in {by}, which has {}", ranges(maps))))
    }

    /// A problem unless the process can have its user and groups.
    pub(crate) fn check_user(self, user: &spec::User, may_set_groups: bool, findings: &mut Findings) {
        findings.keep(self.check_uid(user.uid, &place("process.user.uid")));
        findings.keep(self.check_gid(user.gid, &place("process.user.gid")));
        let groups = if may_set_groups { user.additional_gids.as_slice() } else { &[] };
        findings.each(groups, |index, gid| {
            self.check_gid(*gid, &Place::new(format!("process.user.additionalGids[{index}]")))
        });
    }

    /// An error unless a file system's options `uid=` and `gid=` name ids that there are.
    pub(super) fn check_option(self, key: &[u8], value: &[u8], place: &Place) -> Result<()> {
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        let checked = match (key, number()) {
            (b"uid", Some(id)) => self.check(self.uids, id, "linux.uidMappings", place),
            (b"gid", Some(id)) => self.check(self.gids, id, "linux.gidMappings", place),
            _ => Ok(()),
        };
        checked.map_err(|error| error.remedy("map it there, or leave the option out"))
    }
}

/// Whether the caller's supplementary groups stay. Those of the machine's root never do, whatever an annotation
/// says that may have come with an image (CVE-2023-25173). Root of a user namespace has the groups of the user
/// whose engine it is (`podman run --group-add keep-groups`).
pub(crate) fn keeps_groups(annotations: &BTreeMap<String, String>, host: &Host) -> bool {
    host.rootless() && annotations.get(KEEP_GROUPS).is_some_and(|value| value != "0")
}

/// The supplementary groups to set; `None` leaves the caller's as they are.
pub(crate) fn groups(user: &spec::User, may_set: bool, keep: bool, warnings: &mut Vec<String>) -> Option<Vec<u32>> {
    if keep {
        return None;
    }
    if !may_set && !user.additional_gids.is_empty() {
        warnings.push(
            "config.json: process.user.additionalGids: ignored, setgroups(2) is denied in this user namespace; it is \
             allowed where linux.gidMappings has groups of /etc/subgid"
                .into(),
        );
    }
    may_set.then(|| user.additional_gids.clone())
}

/// None need be set where the caller's are given up before a user namespace is joined, which may deny it.
pub(crate) fn without_what_is_dropped(groups: &mut Option<Vec<u32>>, dropped: bool) {
    groups.take_if(|groups| dropped && groups.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(text: &[(u32, u32, u32)]) -> Vec<spec::IdMapping> {
        text.iter().map(|&(container_id, host_id, size)| spec::IdMapping { container_id, host_id, size }).collect()
    }

    fn refused(list: &[(u32, u32, u32)], outer: &[IdMap]) -> String {
        decide(&maps(list), "linux.uidMappings", outer).unwrap_err().to_string()
    }

    fn namespaces(json: &str) -> (Spec, Namespaces) {
        let spec: Spec = serde_json::from_str(json).unwrap();
        let namespaces = Namespaces::decide(&spec.linux.namespaces, &mut Findings::default());
        (spec, namespaces)
    }

    fn user(euid: u32) -> Host {
        Host { euid, egid: euid, ..Host::default() }
    }

    fn planned(uids: &str, gids: &str, euid: u32) -> IdMaps {
        let text =
            format!(r#"{{"linux":{{"namespaces":[{{"type":"user"}}],"uidMappings":{uids},"gidMappings":{gids}}}}}"#);
        let (spec, namespaces) = namespaces(&text);
        id_maps(&spec, &namespaces, &user(euid)).unwrap().unwrap()
    }

    const OWN: &str = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
    const MORE: &str = r#"[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":65536}]"#;

    #[test]
    fn setgroups_is_denied_only_where_the_group_is_the_callers_own() {
        let own = planned(OWN, OWN, 1000);
        assert_eq!((own.uids_delegated, own.gids_delegated, own.deny_setgroups), (false, false, true));
        let more = planned(MORE, MORE, 1000);
        assert_eq!((more.uids_delegated, more.gids_delegated, more.deny_setgroups), (true, true, false));
        let mixed = planned(MORE, OWN, 1000);
        assert_eq!((mixed.uids_delegated, mixed.gids_delegated, mixed.deny_setgroups), (true, false, true));
        let root = planned(OWN, MORE, 0);
        assert_eq!((root.uids_delegated, root.gids_delegated, root.deny_setgroups), (false, false, false));
    }

    #[test]
    fn another_users_id_is_a_delegated_one() {
        let other = planned(r#"[{"containerID":0,"hostID":7,"size":1}]"#, OWN, 1000);
        assert!(other.uids_delegated && !other.gids_delegated);
    }

    #[test]
    fn a_mapping_that_the_kernel_would_refuse_is_named() {
        for (list, expected) in [
            (&[][..], "linux.uidMappings: a new user namespace needs at least one mapping"),
            (&[(0, 5, 0)], "linux.uidMappings: [0].size is 0"),
            (&[(1, 5, 1)], "linux.uidMappings: no mapping for id 0"),
            (&[(0, 5, 10), (9, 100, 1)], "linux.uidMappings[1]: its ids by containerID overlap with those of [0]"),
            (&[(0, 5, 10), (10, 14, 1)], "linux.uidMappings[1]: its ids by hostID overlap with those of [0]"),
            (&[(0, 4_294_967_290, 6)], "linux.uidMappings[0]: hostID 4294967290 and size 6 go beyond 4294967294"),
        ] {
            let error = refused(list, &[]);
            assert!(error.starts_with(&format!("config.json: {expected}")), "{error}");
        }
        let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
        assert!(refused(&many, &[]).ends_with("341 mappings; the kernel takes 340"));
        assert!(decide(&maps(&many[..340]), "linux.uidMappings", &[]).is_ok());
    }

    #[test]
    fn in_a_user_namespace_only_its_ids_can_be_mapped() {
        let outer = [
            IdMap { container_id: 0, host_id: 1000, size: 1 },
            IdMap { container_id: 1, host_id: 100_000, size: 65_536 },
        ];
        assert_eq!(
            refused(&[(0, 1, 70_000)], &outer),
            "config.json: linux.uidMappings[0]: host ids 1-70000 are not all mapped in the user namespace that \
             cleat runs in, which has 0, 1-65536"
        );
        assert!(decide(&maps(&[(0, 1, 1000), (1000, 0, 1)]), "linux.uidMappings", &outer).is_ok());
    }

    #[test]
    fn who_is_not_root_needs_a_user_namespace() {
        let (spec, namespaces) = namespaces(r#"{"linux":{"namespaces":[{"type":"pid"}]}}"#);
        let error = id_maps(&spec, &namespaces, &user(1000)).unwrap_err().to_string();
        assert!(error.starts_with("config.json: linux.namespaces: user 1000 is not root"), "{error}");
        assert_eq!(id_maps(&spec, &namespaces, &user(0)).unwrap(), None);
    }

    #[test]
    fn an_id_that_is_not_mapped_is_reported_with_its_place() {
        let (_, namespaces) = namespaces("{}");
        let maps = planned(OWN, MORE, 0);
        let host = Host::default();
        let ids = Ids::of_create(Some(&maps), &namespaces, &host);
        let mut user = spec::User { uid: 0, gid: 5, ..spec::User::default() };
        let check = |user: &spec::User, may_set_groups: bool| {
            let mut findings = Findings::default();
            ids.check_user(user, may_set_groups, &mut findings);
            findings.warnings().map(drop)
        };
        check(&user, true).unwrap();
        user.additional_gids = vec![1, 70_000];
        check(&user, false).unwrap();
        assert_eq!(
            check(&user, true).unwrap_err().to_string(),
            "config.json: process.user.additionalGids[1]: 70000 has no mapping in linux.gidMappings, which has 0, 1-65536"
        );
        user.uid = 1;
        assert_eq!(
            check(&user, true).unwrap_err().to_string(),
            "config.json: process.user.uid: 1 has no mapping in linux.uidMappings, which has 0"
        );
        let option = ids.check_option(b"uid", b"33", &Place::new("mounts[2].options".into())).unwrap_err();
        assert_eq!(
            option.to_string(),
            "config.json: mounts[2].options: 33 has no mapping in linux.uidMappings, which has 0; map it there, or \
             leave the option out"
        );
        ids.check_option(b"mode", b"33", &Place::new(String::new())).unwrap();
    }

    #[test]
    fn groups_are_set_kept_or_cannot_be_set() {
        let user = spec::User { additional_gids: vec![5], ..spec::User::default() };
        let mut warnings = Vec::new();
        assert_eq!(groups(&user, true, false, &mut warnings), Some(vec![5]));
        assert!(warnings.is_empty());
        assert_eq!(groups(&user, false, false, &mut warnings), None);
        assert_eq!(warnings.len(), 1);
        assert_eq!(groups(&user, true, true, &mut warnings), None);
        let keeps = |value: &str, euid, in_user_namespace| {
            let annotations = BTreeMap::from([(KEEP_GROUPS.to_owned(), value.to_owned())]);
            keeps_groups(&annotations, &Host { euid, in_user_namespace, ..Host::default() })
        };
        assert!(keeps("1", 1000, false) && !keeps("0", 1000, false) && keeps("1", 0, true) && !keeps("1", 0, false));
    }
}
