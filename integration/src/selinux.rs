//! A policy of SELinux, as small as one can be.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::skip;
use crate::requires::missing_for_selinux;
use crate::temp::TempDir;

/// The kernel's own contexts, by number.
const INITIAL: &[&str] = &[
    "kernel",
    "security",
    "unlabeled",
    "fs",
    "file",
    "file_labels",
    "init",
    "any_socket",
    "port",
    "netif",
    "netmsg",
    "node",
    "igmp_packet",
    "icmp_socket",
    "tcp_socket",
    "sysctl_modprobe",
    "sysctl",
    "sysctl_fs",
    "sysctl_kernel",
    "sysctl_net",
    "sysctl_net_unix",
    "sysctl_vm",
    "sysctl_dev",
    "kmod",
    "policy",
    "scmp_packet",
    "devnull",
];

/// The classes are what the kernel insists on, and what tests distinguish; all else is allowed.
/// Everybody may do everything, but `confined` cannot read what is `secret`. There are the types
/// `host`, `confined`, `secret` and `volume`.
fn policy() -> String {
    let mut text = String::from(
        "(handleunknown allow)\n(mls true)\n(policycap nnp_nosuid_transition)\n\
         (class file (read))\n(class dir ())\n(class process (transition dyntransition))\n(classorder (file dir process))\n\
         (sensitivity s0)\n(sensitivityorder (s0))\n(category c0)\n(categoryorder (c0))\n(sensitivitycategory s0 (c0))\n\
         (user u)\n(role r)\n(userrole u r)\n(userlevel u (s0))\n(userrange u ((s0) (s0 (c0))))\n",
    );
    for name in ["host", "confined", "secret", "volume"] {
        text += &format!("(type {name})\n(roletype r {name})\n");
    }
    text += "(typeattribute anything)\n(typeattributeset anything (all))\n\
             (typeattribute trusted)\n(typeattributeset trusted (not (confined)))\n\
             (typeattribute public)\n(typeattributeset public (not (secret)))\n\
             (allow trusted anything (file (read)))\n(allow confined public (file (read)))\n\
             (allow anything anything (process (transition)))\n";
    for name in INITIAL {
        text += &format!("(sid {name})\n(sidcontext {name} (u r host ((s0) (s0))))\n");
    }
    text += &format!("(sidorder ({}))\n", INITIAL.join(" "));
    for (how, kind) in
        [("xattr", "ext4"), ("xattr", "overlay"), ("trans", "tmpfs"), ("trans", "mqueue"), ("trans", "devpts")]
    {
        text += &format!("(fsuse {how} {kind} (u r host ((s0) (s0))))\n");
    }
    text + "(genfscon proc / (u r host ((s0) (s0))))\n(genfscon sysfs / (u r host ((s0) (s0))))\n"
}

/// The context of a type: `u:r:TYPE:s0`.
#[must_use]
pub fn context(kind: &str) -> String {
    format!("u:r:{kind}:s0")
}

/// Loads a policy, once and for all, and has it enforced. Where there is no SELinux, the test is skipped.
///
/// The types of files and processes are `host`, of all there is, `confined`, which cannot read
/// files that are `secret`, and `volume`.
///
/// # Panics
/// When the policy cannot be loaded.
pub fn load_policy() {
    static LOADED: OnceLock<()> = OnceLock::new();
    if let Some(reason) = missing_for_selinux() {
        skip(reason);
    }
    LOADED.get_or_init(|| {
        let dir = TempDir::new();
        let (text, binary) = (dir.path().join("policy.cil"), dir.path().join("policy"));
        fs::write(&text, policy()).expect("a policy");
        let version = fs::read_to_string("/sys/fs/selinux/policyvers").expect("the version of policies");
        let mut compiler = Command::new("secilc");
        compiler.args(["-f", "/dev/null", "-c", version.trim(), "-o"]).arg(&binary).arg(&text);
        let output = compiler.output().expect("secilc");
        assert!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
        // The kernel wants it in one piece.
        fs::write("/sys/fs/selinux/load", fs::read(binary).expect("a policy")).expect("load the policy");
        fs::write("/sys/fs/selinux/enforce", "1").expect("enforce it");
    });
}
