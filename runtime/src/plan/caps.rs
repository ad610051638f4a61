//! Which capabilities do the names in config.json mean?

use cleat_plan::Caps;

use crate::plan::host::Host;
use crate::spec::Capabilities;

/// `CAP_SYS_PTRACE`, which lets a process take over others with more privileges than its own.
pub const SYS_PTRACE: u64 = 1 << 19;

/// capabilities(7), by number.
pub const NAMES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability, in the one form that the specification and runc know.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok())
}

/// The five sets. What cannot be granted is a warning and is left out: the specification says
/// that the runtime must log it and should not fail (config.md § Linux Process).
pub(super) fn sets(
    capabilities: &Capabilities,
    host: &Host,
    new_user_namespace: bool,
    warnings: &mut Vec<String>,
) -> Caps {
    // The first process of a user namespace has all capabilities in it.
    let known = (1u64 << (host.last_capability + 1)) - 1;
    let grantable = if new_user_namespace { known } else { host.capabilities };
    // Who asks for all that there is, as for a privileged container, means that.
    let asked = capabilities.bounding.iter().filter_map(|name| number(name)).fold(0, |bits, cap| bits | (1 << cap));
    let is_privileged = known & !asked == 0;
    // One name stands in up to five sets, and is reported once.
    let mut reported: Vec<String> = Vec::new();
    let mut set = |names: &[String], which: &str| {
        let mut bits = 0;
        for (index, name) in names.iter().enumerate() {
            let what = match number(name) {
                Some(cap) if grantable & (1 << cap) != 0 => {
                    bits |= 1 << cap;
                    continue;
                }
                Some(_) if is_privileged => continue,
                None => unknown(name),
                Some(_) => format!("{name} cannot be granted here, ignored; this process does not have it"),
            };
            if !reported.contains(name) {
                reported.push(name.clone());
                warnings.push(format!("config.json: process.capabilities.{which}[{index}]: {what}"));
            }
        }
        bits
    };
    let mut caps = Caps {
        bounding: set(&capabilities.bounding, "bounding"),
        effective: set(&capabilities.effective, "effective"),
        permitted: set(&capabilities.permitted, "permitted"),
        inheritable: set(&capabilities.inheritable, "inheritable"),
        ambient: set(&capabilities.ambient, "ambient"),
    };
    if caps.effective & !caps.permitted != 0 {
        warnings.push("config.json: process.capabilities.effective: what is not in permitted is ignored".into());
        caps.effective &= caps.permitted;
    }
    if caps.ambient & !(caps.permitted & caps.inheritable) != 0 {
        warnings.push(
            "config.json: process.capabilities.ambient: what is not both permitted and inheritable is ignored".into(),
        );
        caps.ambient &= caps.permitted & caps.inheritable;
    }
    caps
}

/// What is said of a name that is none: it is ignored, as by runc.
#[must_use]
pub fn unknown(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    let advice = number(&full).map_or("see capabilities(7)".to_owned(), |_| format!("write {full}"));
    format!("no capability {name:?}, ignored; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { capabilities: (1 << 41) - 1 - (1 << 24), last_capability: 40, ..Host::default() }
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn an_unknown_capability_is_a_warning() {
        let mut warnings = Vec::new();
        let config = Capabilities { bounding: names(&["CAP_KILL", "CAP_SYS_ADMN"]), ..Capabilities::default() };
        assert_eq!(sets(&config, &host(), false, &mut warnings).bounding, 1 << 5);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("config.json: process.capabilities.bounding[1]: no capability \"CAP_SYS_ADMN\"")
        );
    }

    #[test]
    fn a_name_has_one_form() {
        let mut warnings = Vec::new();
        let config = Capabilities { bounding: names(&["cap_kill", "KILL", "CAP_CHOWN"]), ..Capabilities::default() };
        assert_eq!(sets(&config, &host(), false, &mut warnings).bounding, 1);
        assert!(
            matches!(&warnings[..], [one, two] if one.ends_with("write CAP_KILL") && two.ends_with("write CAP_KILL"))
        );
    }

    #[test]
    fn what_the_runtime_lacks_is_a_warning_except_in_a_new_user_namespace() {
        let config = Capabilities { bounding: names(&["CAP_SYS_RESOURCE"]), ..Capabilities::default() };
        let mut warnings = Vec::new();
        assert_eq!(sets(&config, &host(), false, &mut warnings).bounding, 0);
        assert_eq!(warnings.len(), 1);
        assert_eq!(sets(&config, &host(), true, &mut Vec::new()).bounding, 1 << 24);
    }

    #[test]
    fn a_name_is_reported_once() {
        let list = names(&["CAP_KILL", "CAP_SYS_ADMN", "CAP_SYS_RESOURCE"]);
        let config = Capabilities {
            bounding: list.clone(),
            effective: list.clone(),
            permitted: list,
            ..Capabilities::default()
        };
        let mut warnings = Vec::new();
        assert_eq!(sets(&config, &host(), false, &mut warnings).permitted, 1 << 5);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    /// A privileged container has what its host has; an unknown name is reported all the same.
    #[test]
    fn who_asks_for_all_means_what_there_is() {
        let mut all = names(NAMES);
        all.push("CAP_SYS_ADMN".into());
        let config = Capabilities { bounding: all, ..Capabilities::default() };
        let mut warnings = Vec::new();
        assert_eq!(sets(&config, &host(), false, &mut warnings).bounding, host().capabilities);
        assert!(matches!(&warnings[..], [one] if one.contains("CAP_SYS_ADMN")), "{warnings:?}");
    }

    #[test]
    fn missing_sets_are_empty() {
        assert_eq!(sets(&Capabilities::default(), &host(), false, &mut Vec::new()), Caps::default());
    }

    #[test]
    fn ambient_needs_permitted_and_inheritable() {
        let config =
            Capabilities { permitted: names(&["CAP_KILL"]), ambient: names(&["CAP_KILL"]), ..Capabilities::default() };
        assert_eq!(sets(&config, &host(), false, &mut Vec::new()).ambient, 0);
    }
}
