//! What the kernel does to our memory, and what we do with it.

use std::fs::File;
use std::os::fd::AsFd;

use super::*;

/// opencontainers/cgroups#69: a kernel that writes `query.revision`, at 56, whatever length it was
/// told, finds its place in the attribute, and nothing else of ours. (Later ones were repaired, so
/// the length is looked at, too.)
#[test]
fn a_query_writes_into_its_attribute_alone() {
    #[repr(C)]
    struct Guarded(BpfAttr, [u8; 64]);
    let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let Some(cgroup) = trees.iter().find_map(|tree| File::open(tree).ok()) else { return };
    let (mut ids, mut query) = ([0u32; 64], Guarded(BpfAttr::new(), [0xa5; 64]));
    if let Err(errno) = query_programs(cgroup.as_fd(), &mut ids, &mut query.0) {
        eprintln!("not here: bpf BPF_PROG_QUERY: {errno:?}");
    }
    assert!(query.1 == [0xa5; 64], "the kernel wrote past the attribute: {:x?}", query.1);
    assert!(size_of::<BpfAttr>() >= 64, "some kernels write past the attribute");
}

#[test]
fn memory_is_kept_apart_and_keeps_what_is_in_it_when_it_grows() {
    let mut lists: Vec<Vec<u64>> = (0..50).map(|_| Vec::new()).collect();
    // From the smallest pieces over the largest to mappings, and those moved.
    for round in 0..5000 {
        for (own, list) in (0u64..).zip(&mut lists) {
            list.push(own << 32 | round);
        }
    }
    for (own, list) in (0u64..).zip(&lists) {
        assert!((0..5000).map(|round| own << 32 | round).eq(list.iter().copied()), "list {own}");
        assert!(list.as_ptr().addr().is_multiple_of(16));
    }
}

#[test]
fn memory_that_was_given_back_is_used_again() {
    let seen: std::collections::BTreeSet<usize> =
        (0..10_000).map(|_| Vec::<u8>::with_capacity(3000)).map(|piece| piece.as_ptr().addr()).collect();
    assert!(seen.len() < 1000, "{} places", seen.len());
}
