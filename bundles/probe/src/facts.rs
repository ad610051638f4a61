//! What is known about this process and the world it sees?

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::process::Resource;
use rustix::time::ClockId;
use serde_json::{Map, Value, json};

use crate::sys;

/// The name of an errno (`"EPERM"`), from an error of the standard library or of rustix.
pub(crate) fn errno(error: impl Into<std::io::Error>) -> String {
    let error = error.into();
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

/// Everything. `sysctls` are names with dots (`net.ipv4.ip_forward`).
pub(crate) fn all(sysctls: &[&str]) -> Value {
    let parts = [
        process(),
        world(),
        json!({
            "sysctl": sysctls.iter().map(|name| ((*name).to_owned(), sysctl(name))).collect::<Map<_, _>>(),
        }),
    ];
    parts
        .into_iter()
        .filter_map(|part| if let Value::Object(map) = part { Some(map) } else { None })
        .flatten()
        .collect()
}

/// What belongs to this process.
fn process() -> Value {
    let status = status();
    json!({
        "pid": pid(Some(rustix::process::getpid())),
        "ppid": pid(rustix::process::getppid()),
        "sid": pid(rustix::process::getsid(None).ok()),
        "pgid": pid(rustix::process::getpgid(None).ok()),
        "uid": rustix::process::getuid().as_raw(),
        "euid": rustix::process::geteuid().as_raw(),
        "gid": rustix::process::getgid().as_raw(),
        "egid": rustix::process::getegid().as_raw(),
        "groups": groups(),
        "umask": umask(),
        "cwd": std::env::current_dir().ok(),
        "cwd_link": fs::read_link("/proc/self/cwd").ok(),
        "args": std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "env": environment(),
        "capabilities": capabilities(),
        "no_new_privs": status.get("NoNewPrivs").map(|v| v == "1"),
        "seccomp": status.get("Seccomp").and_then(|v| v.parse::<u32>().ok()),
        "signals": { "blocked": status.get("SigBlk"), "ignored": status.get("SigIgn") },
        "threads": status.get("Threads").and_then(|v| v.parse::<u32>().ok()),
        "rlimits": rlimits(),
        "fds": descriptors(),
        "oom_score_adj": number("/proc/self/oom_score_adj"),
        "personality": text("/proc/self/personality"),
        "scheduler": scheduler(),
        "io_priority": sys::io_priority().map(|(class, level)| json!({ "class": class, "level": level })),
        "affinity": status.get("Cpus_allowed_list"),
        "memory_policy": sys::memory_policy().map(|(mode, nodes)| json!({ "mode": mode, "nodes": nodes })),
        "tty": [terminal(0), terminal(1), terminal(2)],
    })
}

/// What this process shares with others: namespaces, file systems, cgroup, devices.
fn world() -> Value {
    let uname = rustix::system::uname();
    json!({
        "machine": uname.machine().to_string_lossy(),
        "hostname": uname.nodename().to_string_lossy(),
        "domainname": uname.domainname().to_string_lossy(),
        "namespaces": namespaces(),
        "root": names("/"),
        "mounts": mounts(),
        "cgroup": text("/proc/self/cgroup"),
        "cgroup_root": names("/sys/fs/cgroup"),
        "uid_map": id_map("/proc/self/uid_map"),
        "gid_map": id_map("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "timens_offsets": text("/proc/self/timens_offsets"),
        "clocks": {
            "boottime": seconds(ClockId::Boottime),
            "monotonic": seconds(ClockId::Monotonic),
        },
        "links": links(),
        "dev": dev(),
        "keys": text("/proc/keys"),
        "pids": pids(),
    })
}

fn pid(pid: Option<rustix::process::Pid>) -> i32 {
    pid.map_or(0, |p| p.as_raw_nonzero().get())
}

pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim_end().to_owned())
}

fn number(path: &str) -> Option<i64> {
    text(path)?.parse().ok()
}

pub(crate) fn names(path: &str) -> Option<Vec<String>> {
    let mut names: Vec<_> =
        fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Some(names)
}

/// The processes that `/proc` shows.
pub(crate) fn pids() -> Option<Vec<u32>> {
    let mut pids: Vec<_> = names("/proc")?.iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    Some(pids)
}

fn groups() -> Vec<u32> {
    let mut groups: Vec<_> = rustix::process::getgroups().unwrap_or_default().into_iter().map(|g| g.as_raw()).collect();
    groups.sort_unstable();
    groups
}

fn umask() -> String {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    format!("{:04o}", mask.bits())
}

/// In the order and with the duplicates that execve passed.
fn environment() -> Vec<String> {
    match fs::read("/proc/self/environ") {
        Ok(bytes) => bytes
            .split(|b| *b == 0)
            .filter(|s| !s.is_empty())
            .map(|s| String::from_utf8_lossy(s).into_owned())
            .collect(),
        Err(_) => {
            std::env::vars_os().map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect()
        }
    }
}

fn status() -> BTreeMap<String, String> {
    text("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

pub(crate) fn namespaces() -> BTreeMap<String, String> {
    names("/proc/self/ns")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
            Some((name, link.to_string_lossy().into_owned()))
        })
        .collect()
}

/// `/proc/self/mountinfo`, in its order.
pub(crate) fn mounts() -> Option<Vec<Value>> {
    let text = text("/proc/self/mountinfo")?;
    Some(text.lines().filter_map(mount).collect())
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left.first()?.parse::<u64>().ok()?,
        "parent": left.get(1)?.parse::<u64>().ok()?,
        "dev": left.get(2)?,
        "root": unescape(left.get(3)?),
        "target": unescape(left.get(4)?),
        "options": left.get(5)?.split(',').collect::<Vec<_>>(),
        "propagation": left.get(6..)?,
        "type": right.first()?,
        "source": unescape(right.get(1)?),
        "super_options": right.get(2).map(|o| o.split(',').collect::<Vec<_>>()),
    }))
}

/// mountinfo writes blanks, tabs, newlines and backslashes in octal.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn capabilities() -> Value {
    let set = |set: caps::CapSet| -> Option<Vec<String>> {
        let mut held: Vec<caps::Capability> = caps::read(None, set).ok()?.into_iter().collect();
        held.sort_by_key(caps::Capability::index);
        Some(held.iter().map(ToString::to_string).collect())
    };
    json!({
        "bounding": set(caps::CapSet::Bounding),
        "effective": set(caps::CapSet::Effective),
        "permitted": set(caps::CapSet::Permitted),
        "inheritable": set(caps::CapSet::Inheritable),
        "ambient": set(caps::CapSet::Ambient),
    })
}

fn scheduler() -> Option<Value> {
    let attr = sys::scheduling()?;
    Some(json!({
        "policy": attr.policy,
        "flags": attr.flags,
        "nice": rustix::process::getpriority_process(None).ok(),
        "nice_in_force": attr.nice,
        "priority": attr.priority,
        "runtime": attr.runtime,
        "deadline": attr.deadline,
        "period": attr.period,
    }))
}

fn rlimits() -> Map<String, Value> {
    [
        ("RLIMIT_AS", Resource::As),
        ("RLIMIT_CORE", Resource::Core),
        ("RLIMIT_CPU", Resource::Cpu),
        ("RLIMIT_DATA", Resource::Data),
        ("RLIMIT_FSIZE", Resource::Fsize),
        ("RLIMIT_LOCKS", Resource::Locks),
        ("RLIMIT_MEMLOCK", Resource::Memlock),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        ("RLIMIT_NICE", Resource::Nice),
        ("RLIMIT_NOFILE", Resource::Nofile),
        ("RLIMIT_NPROC", Resource::Nproc),
        ("RLIMIT_RSS", Resource::Rss),
        ("RLIMIT_RTPRIO", Resource::Rtprio),
        ("RLIMIT_RTTIME", Resource::Rttime),
        ("RLIMIT_SIGPENDING", Resource::Sigpending),
        ("RLIMIT_STACK", Resource::Stack),
    ]
    .into_iter()
    .map(|(name, resource)| {
        let limit = rustix::process::getrlimit(resource);
        (name.to_owned(), json!({ "soft": limit.current, "hard": limit.maximum }))
    })
    .collect()
}

/// The open descriptors, without the one this listing needs.
fn descriptors() -> Option<Vec<Value>> {
    let mut found: Vec<(u32, String)> = fs::read_dir("/proc/self/fd")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
        })
        .filter(|(_, target)| !target.ends_with("/fd"))
        .collect();
    found.sort();
    // What it is, whatever its name: of a device the numbers.
    let device = |fd| {
        let meta = fs::metadata(format!("/proc/self/fd/{fd}")).ok()?;
        let rdev = meta.file_type().is_char_device().then(|| meta.rdev())?;
        Some([rustix::fs::major(rdev), rustix::fs::minor(rdev)])
    };
    let one = |(fd, target)| json!({ "fd": fd, "target": target, "device": device(fd) });
    Some(found.into_iter().map(one).collect())
}

fn id_map(path: &str) -> Option<Vec<Vec<u32>>> {
    let text = text(path)?;
    Some(text.lines().map(|line| line.split_whitespace().filter_map(|n| n.parse().ok()).collect()).collect())
}

fn seconds(clock: ClockId) -> i64 {
    rustix::time::clock_gettime(clock).tv_sec
}

/// The network devices of this namespace.
pub(crate) fn links() -> Option<BTreeMap<String, Value>> {
    let mut links: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for link in nix::ifaddrs::getifaddrs().ok()? {
        let up = link.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP);
        let entry = links.entry(link.interface_name).or_insert((up, Vec::new()));
        let address = link.address.filter(|a| a.as_sockaddr_in().is_some() || a.as_sockaddr_in6().is_some());
        entry.1.extend(address.map(|a| a.to_string()));
    }
    Some(links.into_iter().map(|(name, (up, addresses))| (name, json!({ "up": up, "addresses": addresses }))).collect())
}

fn terminal(fd: i32) -> Value {
    let at = match fd {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    };
    let Ok(size) = rustix::termios::tcgetwinsize(at) else {
        return json!({ "terminal": false });
    };
    json!({ "terminal": true, "rows": size.ws_row, "columns": size.ws_col, "name": fs::read_link(format!("/proc/self/fd/{fd}")).ok() })
}

fn dev() -> Option<BTreeMap<String, Value>> {
    Some(names("/dev")?.into_iter().map(|name| (name.clone(), stat(&format!("/dev/{name}")))).collect())
}

/// What lstat(2) says of `path`.
pub(crate) fn stat(path: &str) -> Value {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return json!({ "path": path, "error": errno(error) }),
    };
    let kind = meta.file_type();
    let kind_name = match () {
        () if kind.is_symlink() => "link",
        () if kind.is_dir() => "directory",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    json!({
        "path": path,
        "type": kind_name,
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "major": rustix::fs::major(meta.rdev()),
        "minor": rustix::fs::minor(meta.rdev()),
        "dev": meta.dev(),
        "ino": meta.ino(),
        "link": fs::read_link(path).ok(),
    })
}

fn sysctl(name: &str) -> Value {
    match fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))) {
        Ok(text) => json!(text.trim_end()),
        Err(error) => json!({ "error": errno(error) }),
    }
}
