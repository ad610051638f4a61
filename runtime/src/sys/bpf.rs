//! Which device programs do cgroups have? bpf(2) for programs of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{check, new_fd};

/// One eBPF instruction (kernel: `struct bpf_insn`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source in the high one.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub off: i16,
    /// Constant.
    pub imm: i32,
}

/// `union bpf_attr` at a size that every kernel so far knows, zeroed: kernels 6.17 to 7.2 write
/// `query.revision` whatever length they were given (opencontainers/cgroups#69).
#[repr(C, align(8))]
struct BpfAttr([u8; 128]);

impl BpfAttr {
    fn new() -> BpfAttr {
        BpfAttr([0; 128])
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn get_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    /// # Safety
    /// Pointers in the attribute must be valid for the command.
    unsafe fn call(&mut self, command: c_int) -> nix::Result<c_long> {
        // SAFETY: the buffer is passed with its true size; the caller answers for the pointers.
        check(unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) })
    }
}

const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_ATTACH: c_int = 8;
const BPF_PROG_DETACH: c_int = 9;
const BPF_PROG_GET_FD_BY_ID: c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_PROG_QUERY: c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
///
/// # Errors
/// `EPERM`: without `CAP_BPF` or `CAP_SYS_ADMIN`. `EINVAL`, `EACCES`: the verifier refused it.
pub fn load_device_program(program: &[Insn]) -> nix::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attr = BpfAttr::new();
    attr.set(0, &BPF_PROG_TYPE_CGROUP_DEVICE.to_ne_bytes());
    attr.set(4, &u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?.to_ne_bytes());
    attr.set(8, &(program.as_ptr().expose_provenance() as u64).to_ne_bytes());
    attr.set(16, &(license.as_ptr().expose_provenance() as u64).to_ne_bytes());
    // SAFETY: instructions and license outlive the call; their count and the string's end are true.
    new_fd(unsafe { attr.call(BPF_PROG_LOAD) }?)
}

/// Attaches a device program to a cgroup; `replace` takes the place of one that is there, without
/// a moment in which neither or both hold.
///
/// # Errors
/// `EPERM`: without privilege. `EINVAL`: a kernel without cgroup device programs.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    let mut attr = BpfAttr::new();
    attr.set(0, &cgroup.as_raw_fd().to_ne_bytes());
    attr.set(4, &program.as_raw_fd().to_ne_bytes());
    attr.set(8, &BPF_CGROUP_DEVICE.to_ne_bytes());
    let mut flags = BPF_F_ALLOW_MULTI;
    if let Some(old) = replace {
        flags |= BPF_F_REPLACE;
        attr.set(16, &old.as_raw_fd().to_ne_bytes());
    }
    attr.set(12, &flags.to_ne_bytes());
    // SAFETY: numbers only.
    unsafe { attr.call(BPF_PROG_ATTACH) }.map(drop)
}

/// Takes a device program off a cgroup.
///
/// # Errors
/// `EPERM`: without privilege. `ENOENT`: it is not there.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let mut attr = BpfAttr::new();
    attr.set(0, &cgroup.as_raw_fd().to_ne_bytes());
    attr.set(4, &program.as_raw_fd().to_ne_bytes());
    attr.set(8, &BPF_CGROUP_DEVICE.to_ne_bytes());
    // SAFETY: numbers only.
    unsafe { attr.call(BPF_PROG_DETACH) }.map(drop)
}

/// Asks for the ids of the device programs attached to a cgroup itself; `attr` gets their number.
fn query_programs(cgroup: BorrowedFd<'_>, ids: &mut [u32], attr: &mut BpfAttr) -> nix::Result<()> {
    attr.set(0, &cgroup.as_raw_fd().to_ne_bytes());
    attr.set(4, &BPF_CGROUP_DEVICE.to_ne_bytes());
    attr.set(16, &(ids.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
    attr.set(24, &u32::try_from(ids.len()).unwrap_or(0).to_ne_bytes());
    // SAFETY: ids outlives the call and its length is passed.
    unsafe { attr.call(BPF_PROG_QUERY) }.map(drop)
}

/// The device programs attached to a cgroup itself.
///
/// # Errors
/// Those of bpf(2), `BPF_PROG_QUERY`.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> nix::Result<Vec<OwnedFd>> {
    let (mut ids, mut attr) = ([0u32; 64], BpfAttr::new());
    query_programs(cgroup, &mut ids, &mut attr)?;
    let count = usize::try_from(attr.get_u32(24)).unwrap_or(0).min(ids.len());
    ids[..count]
        .iter()
        .map(|id| {
            let mut attr = BpfAttr::new();
            attr.set(0, &id.to_ne_bytes());
            // SAFETY: numbers only.
            new_fd(unsafe { attr.call(BPF_PROG_GET_FD_BY_ID) }?)
        })
        .collect()
}

/// What a program was when it was loaded: a hash of its instructions, eight bytes long (Linux
/// kernel/bpf/core.c, `bpf_prog_calc_tag`). Two programs of one tag decide alike.
///
/// # Errors
/// Those of bpf(2), `BPF_OBJ_GET_INFO_BY_FD`.
pub fn program_tag(program: BorrowedFd<'_>) -> nix::Result<[u8; 8]> {
    /// `struct bpf_prog_info` up to its first pointers, which are null: nothing else is asked for.
    #[repr(C, align(8))]
    struct Info([u8; 64]);
    let (mut info, mut attr) = (Info([0; 64]), BpfAttr::new());
    attr.set(0, &program.as_raw_fd().to_ne_bytes());
    attr.set(4, &64u32.to_ne_bytes());
    attr.set(8, &(info.0.as_mut_ptr().expose_provenance() as u64).to_ne_bytes());
    // SAFETY: info outlives the call and its length is passed.
    unsafe { attr.call(BPF_OBJ_GET_INFO_BY_FD) }?;
    let mut tag = [0; 8];
    tag.copy_from_slice(&info.0[8..16]);
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    /// opencontainers/cgroups#69: a kernel that writes `query.revision`, at 56, whatever length it was
    /// given, finds its place in the attribute, and nothing else of ours. (Later ones were repaired, so
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
}
