//! The rest of the security record (SECURITY.md): what `hostile.rs` has not tried yet, each line
//! with an attacker of its own.
//!
//! A race is tried `CLEAT_TRIES` times (100). What is attacked is harmless: files of the test's
//! own, a copy of the runtime, a kernel parameter that gets the value it has.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::FileTypeExt as _;

use integration::{Bundle, Container, Exchange, Runtime, not_on_peer, tries};

/// Where file systems of this type are mounted, as the container sees it.
fn mounted(container: &Container<'_>, fstype: &str) -> Vec<String> {
    let text = fs::read_to_string(container.proc("mountinfo")).expect("mountinfo");
    let mounts = text.lines().filter_map(|line| line.split_once(" - "));
    let wanted = mounts.filter(|(_, right)| right.starts_with(&format!("{fstype} ")));
    wanted.filter_map(|(left, _)| left.split(' ').nth(4).map(str::to_owned)).collect()
}

// --- links and names below /proc and /sys -----------------------------------------------------------

/// CVE-2023-27561, CVE-2023-28642: `/proc` or `/sys` of the image is a directory and a link in turn:
/// what is mounted there is mounted on the directory or not at all.
#[test]
fn cve_2023_27561_proc_becomes_a_link() {
    let runtime = Runtime::new();
    for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
        let bundle = Bundle::new().with_dir(name).with_dir("elsewhere").with_link("evil", "/elsewhere");
        let _exchange = Exchange::of(bundle.rootfs().join(name), bundle.rootfs().join("evil"));
        let mut made = 0;
        for _ in 0..tries() / 2 {
            let Ok(container) = runtime.try_create(&bundle) else { continue };
            let seen = mounted(&container, fstype);
            // Read-only parts of it are mounts below.
            let ok = seen.iter().all(|at| at.starts_with(&format!("/{name}")) || at.starts_with("/evil"));
            assert!(ok && !seen.is_empty(), "the link at /{name} was followed: {fstype} is mounted on {seen:?}");
            made += 1;
        }
        eprintln!("{made} of {} containers were made", tries() / 2);
    }
}

/// GHSA-3q8j-pf29-vwv8, CVE-2023-27561: the directory below the procfs is renamed between the mount
/// and the masks, and another one has its name: the masks must be where the procfs is.
#[test]
fn ghsa_3q8j_proc_is_renamed_under_its_masks() {
    not_on_peer!("it looks for the masked paths by name");
    let runtime = Runtime::new();
    let bundle = Bundle::new().with_dir("proc").with_dir("evil");
    let _exchange = Exchange::of(bundle.rootfs().join("proc"), bundle.rootfs().join("evil"));
    for _ in 0..tries() {
        let Ok(container) = runtime.try_create(&bundle) else { continue };
        for name in ["proc", "evil"] {
            let file = container.proc(&format!("root/{name}/timer_list"));
            let Ok(meta) = fs::metadata(file) else { continue };
            assert!(meta.file_type().is_char_device(), "procfs is at /{name}, and its timer_list is not masked");
        }
        let parts = mounted(&container, "proc");
        assert!(parts.iter().any(|at| at.ends_with("/sys")), "/proc/sys is not read-only: {parts:?}");
    }
}
