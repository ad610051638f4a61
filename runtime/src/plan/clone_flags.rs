//! What are the kinds of namespaces called, and which `CLONE_NEW*` are they?

/// The kinds of namespaces (namespaces(7)) under the specification's names.
pub const NAMESPACES: &[(&str, u64)] = &[
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("mount", 0x0002_0000),
    ("network", 0x4000_0000),
    ("pid", 0x2000_0000),
    ("time", 0x80),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
];

/// `CLONE_NEWCGROUP`
pub const NEWCGROUP: u64 = 0x0200_0000;

/// `CLONE_NEWIPC`
pub const NEWIPC: u64 = 0x0800_0000;

/// `CLONE_NEWNS`
pub const NEWNS: u64 = 0x0002_0000;

/// `CLONE_NEWNET`
pub const NEWNET: u64 = 0x4000_0000;

/// `CLONE_NEWPID`
pub const NEWPID: u64 = 0x2000_0000;

/// `CLONE_NEWTIME`
pub const NEWTIME: u64 = 0x80;

/// `CLONE_NEWUSER`
pub const NEWUSER: u64 = 0x1000_0000;

/// `CLONE_NEWUTS`
pub const NEWUTS: u64 = 0x0400_0000;

/// The specification's name of the kind of namespace that a flag makes.
#[must_use]
pub fn kind_of(flag: u64) -> &'static str {
    NAMESPACES.iter().find(|(_, known)| *known == flag).map_or("another kind of", |(name, _)| *name)
}
