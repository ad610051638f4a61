//! What the kernel does to our memory.

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
