//! Which properties of config.json mean nothing here, and which were meant?
//!
//! The specification has them ignored, as it may be extended; most are a slip.

use crate::error::nearest;
use crate::spec::each_property;

/// Properties of the specification: of which object, with `[]` for any of a list. Of objects that are not here every
/// name may be: annotations, sysctls, files of the cgroup.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ociVersion",
            "root",
            "mounts",
            "process",
            "hostname",
            "domainname",
            "hooks",
            "annotations",
            "linux",
            "solaris",
            "windows",
            "vm",
            "zos",
            "freebsd",
        ],
    ),
    ("root", &["path", "readonly"]),
    ("mounts[]", &["destination", "type", "source", "options", "uidMappings", "gidMappings"]),
    ("mounts[].uidMappings[]", MAPPING),
    ("mounts[].gidMappings[]", MAPPING),
    (
        "process",
        &[
            "terminal",
            "consoleSize",
            "cwd",
            "env",
            "args",
            "commandLine",
            "rlimits",
            "apparmorProfile",
            "capabilities",
            "noNewPrivileges",
            "oomScoreAdj",
            "scheduler",
            "selinuxLabel",
            "ioPriority",
            "execCPUAffinity",
            "user",
        ],
    ),
    ("process.consoleSize", &["height", "width"]),
    ("process.user", &["uid", "gid", "umask", "additionalGids"]),
    ("process.capabilities", &["bounding", "effective", "inheritable", "permitted", "ambient"]),
    ("process.rlimits[]", &["type", "soft", "hard"]),
    ("process.scheduler", &["policy", "nice", "priority", "flags", "runtime", "deadline", "period"]),
    ("process.ioPriority", &["class", "priority"]),
    ("process.execCPUAffinity", &["initial", "final"]),
    ("hooks", &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]),
    ("hooks.prestart[]", HOOK),
    ("hooks.createRuntime[]", HOOK),
    ("hooks.createContainer[]", HOOK),
    ("hooks.startContainer[]", HOOK),
    ("hooks.poststart[]", HOOK),
    ("hooks.poststop[]", HOOK),
    (
        "linux",
        &[
            "namespaces",
            "uidMappings",
            "gidMappings",
            "timeOffsets",
            "devices",
            "netDevices",
            "cgroupsPath",
            "resources",
            "rootfsPropagation",
            "sysctl",
            "seccomp",
            "maskedPaths",
            "readonlyPaths",
            "mountLabel",
            "intelRdt",
            "memoryPolicy",
            "personality",
        ],
    ),
    ("linux.namespaces[]", &["type", "path"]),
    ("linux.uidMappings[]", MAPPING),
    ("linux.gidMappings[]", MAPPING),
    ("linux.timeOffsets", &["monotonic", "boottime"]),
    ("linux.devices[]", &["type", "path", "major", "minor", "fileMode", "uid", "gid"]),
    (
        "linux.resources",
        &["devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "rdma", "unified"],
    ),
    ("linux.resources.devices[]", &["allow", "type", "major", "minor", "access"]),
    (
        "linux.resources.memory",
        &[
            "limit",
            "reservation",
            "swap",
            "kernel",
            "kernelTCP",
            "swappiness",
            "disableOOMKiller",
            "useHierarchy",
            "checkBeforeUpdate",
        ],
    ),
    (
        "linux.resources.cpu",
        &["shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle"],
    ),
    ("linux.resources.pids", &["limit"]),
    (
        "linux.resources.blockIO",
        &[
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ],
    ),
    ("linux.resources.hugepageLimits[]", &["pageSize", "limit"]),
    ("linux.resources.network", &["classID", "priorities"]),
    (
        "linux.seccomp",
        &["defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata", "syscalls"],
    ),
    ("linux.seccomp.syscalls[]", &["names", "action", "errnoRet", "args"]),
    ("linux.seccomp.syscalls[].args[]", &["index", "value", "valueTwo", "op"]),
    (
        "linux.intelRdt",
        &["closID", "l3CacheSchema", "memBwSchema", "schemata", "enableMonitoring", "enableCMT", "enableMBM"],
    ),
    ("linux.memoryPolicy", &["mode", "nodes", "flags"]),
    ("linux.personality", &["domain", "flags"]),
];
const MAPPING: &[&str] = &["containerID", "hostID", "size"];
const HOOK: &[&str] = &["path", "args", "env", "timeout"];

/// A warning for each of them.
pub(super) fn warnings(text: &[u8]) -> Vec<String> {
    let mut warnings = Vec::new();
    each_property(text, |object, name| {
        let any: String = object.chars().filter(|c| !c.is_ascii_digit()).collect();
        let Some((_, known)) = KNOWN.iter().find(|(place, _)| *place == any) else { return };
        // As the parser has it, letter by letter.
        if known.contains(&name) {
            return;
        }
        let place = if object.is_empty() { String::new() } else { format!("{object}.") };
        let meant = nearest(name, known.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        warnings.push(format!("config.json: {place}{name}: there is no such property, it is ignored{meant}"));
    });
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_property_is_named_with_the_nearest() {
        let text = br#"{"hostnme": "a", "process": {"arg": ["x: y"], "user": {"username": "u"}, "env": ["{\"b\": 1}"]},
            "annotations": {"any": "thing"}, "mounts": [{}, {"option": []}], "linux": {"sysctl": {"a.b": "c"}}}"#;
        assert_eq!(
            warnings(text),
            [
                "config.json: hostnme: there is no such property, it is ignored; did you mean \"hostname\"?",
                "config.json: process.arg: there is no such property, it is ignored; did you mean \"args\"?",
                "config.json: process.user.username: there is no such property, it is ignored",
                "config.json: mounts[1].option: there is no such property, it is ignored; did you mean \"options\"?",
            ]
        );
    }
}
