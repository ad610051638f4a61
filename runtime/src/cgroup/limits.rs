//! How are limits written, changed and put back?
//!
//! Host half, by directory descriptor. A limit that the kernel refuses is an error with its file, its
//! text and the kernel's answer, and what was changed before it is changed back.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::unistd::{Gid, Uid, fchownat};

use crate::error::{Context, Error, Result, errno_name, errno_text};
use crate::plan::Limit;
use crate::sys::path;
use crate::sys::path::open_beneath;

use super::Cgroup;

/// Controllers that containers are limited and measured with.
pub(crate) const CONTROLLERS: &[&str] = &["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

/// How long the kernel may take to settle what it has charged in advance.
const TIMEOUT: Duration = Duration::from_millis(50);

/// What was in files before limits were written to them.
#[derive(Debug, Default)]
pub struct Before(Vec<(String, String)>);

impl Cgroup {
    /// Writes limits in order. What depends on another one that comes later (a burst above the old
    /// quota) is tried again at the end.
    ///
    /// # Errors
    /// The kernel has no such limit or refuses it; those written before hold.
    pub fn limit(&self, limits: &[&Limit]) -> Result<()> {
        self.write_limits(limits, None)
    }

    /// The same, and `before` gets what [`Cgroup::put_back`] needs, also after an error.
    ///
    /// # Errors
    /// As above.
    pub fn replace_limits(&self, limits: &[&Limit], before: &mut Before) -> Result<()> {
        self.write_limits(limits, Some(before))
    }

    /// Brings old limits back in force.
    pub fn put_back(&self, before: &Before) {
        // The last first, as they may depend on each other.
        for (file, text) in before.0.iter().rev() {
            let _ = self.write_text(file, text);
        }
    }

    fn write_limits(&self, limits: &[&Limit], mut before: Option<&mut Before>) -> Result<()> {
        let mut again = Vec::new();
        for limit in limits {
            match self.write_limit(limit, before.as_deref_mut()) {
                Err((Errno::EINVAL, _)) => again.push(limit),
                other => other.map_err(|(_, error)| error)?,
            }
        }
        again
            .into_iter()
            .try_for_each(|limit| self.write_limit(limit, before.as_deref_mut()).map_err(|(_, error)| error))
    }

    fn write_limit(&self, limit: &Limit, before: Option<&mut Before>) -> std::result::Result<(), (Errno, Error)> {
        let there = limit.files.iter().find(|(file, _)| self.has(file));
        let Some((file, text)) = there else {
            if limit.is_device_weight() && self.has("io.stat") {
                self.no_weights(limit);
                return Ok(());
            }
            return if limit.required { Err((Errno::ENOENT, self.no_such_limit(limit))) } else { Ok(()) };
        };
        if let Some(before) = before {
            let old = self.read(file).unwrap_or_default();
            if limit.is_default() && old.trim() != "max" {
                return Ok(());
            }
            before.0.push((file.clone(), undo(&old, text)));
        }
        if let Some(bytes) = text.parse().ok().filter(|_| limit.late && file == "memory.max") {
            self.settle(bytes);
        }
        match self.write_text(file, text) {
            // A user who may not write it got the cgroup from somebody who bounds it from above.
            Err(Errno::EACCES | Errno::EPERM) if limit.is_default() => Ok(()),
            // That of a device on which no scheduler takes weights: runc leaves it out, too.
            Err(Errno::EOPNOTSUPP) if limit.is_device_weight() => {
                self.no_weights(limit);
                Ok(())
            }
            // Without bfq runc does not even look whether there is such a device.
            Err(Errno::ENODEV) if limit.is_device_weight() && file == "io.weight" => {
                self.no_weights(limit);
                Ok(())
            }
            // A period is asked for without a quota, too.
            Err(errno) if limit.required || errno != Errno::EINVAL || file == "cpu.max" => {
                let call = self.file(&format!("write {text:?} to"), file);
                let error = Error::at(&limit.place, format_args!("{call}: {}", errno_text(errno)));
                Err((
                    errno,
                    match why_refused(file, errno) {
                        Some(why) => error.remedy(why),
                        None => error,
                    },
                ))
            }
            _ => Ok(()),
        }
    }

    /// Waits a little until the kernel has taken back what it charges in advance, up to 256 kB on each CPU. A
    /// small `memory.max` below it would kill a process that uses far less. `memory.high` makes it do so, and
    /// kills nobody.
    fn settle(&self, bytes: u64) {
        let Ok(high) = self.read("memory.high") else { return };
        let end = Instant::now() + TIMEOUT;
        while self.number("memory.current").is_some_and(|used| used > bytes) && Instant::now() < end {
            let _ = self.write_text("memory.high", &bytes.to_string());
        }
        let _ = self.write_text("memory.high", high.trim_end());
    }

    /// Says that a device's weight does not hold.
    fn no_weights(&self, limit: &Limit) {
        self.warnings.borrow_mut().push(format!(
            "config.json: {}: ignored, nothing gives weights to this device: set its scheduler to bfq, or see \
             io.cost.qos",
            limit.place
        ));
    }

    fn has(&self, file: &str) -> bool {
        open_beneath(&self.dir, Path::new(file), OFlag::O_PATH).is_ok()
    }

    /// One write(2); the kernel takes a line at a time.
    pub(super) fn write_text(&self, file: &str, text: &str) -> nix::Result<()> {
        let fd = open_beneath(&self.dir, Path::new(file), OFlag::O_WRONLY)?;
        // An empty write would be none: an empty list is a line without anything.
        let text = if text.is_empty() { "\n" } else { text };
        nix::unistd::write(&fd, text.as_bytes()).map(drop)
    }

    fn no_such_limit(&self, limit: &Limit) -> Error {
        let (file, _) = limit.files.last().cloned().unwrap_or_default();
        let available = self.read("cgroup.controllers").unwrap_or_default();
        let controller = limit.controller.as_str();
        let why = if !CONTROLLERS.contains(&controller) || available.split_ascii_whitespace().any(|c| c == controller) {
            "this kernel has no such limit".to_owned()
        } else {
            let parent = self.full().parent().map(|dir| dir.display().to_string()).unwrap_or_default();
            let tried = format!("echo +{controller} > {parent}/cgroup.subtree_control");
            let list = |file: &str| std::fs::read_to_string(format!("{parent}/{file}")).unwrap_or_default();
            if !list("cgroup.controllers").split_ascii_whitespace().any(|c| c == controller) {
                format!(
                    "{parent} has no {controller} controller; enable it in the cgroups above (a user's systemd: \
                     systemctl edit user@.service, Delegate={controller})"
                )
            } else if list("cgroup.procs").is_empty() {
                format!("the {controller} controller is not enabled there; enable it: {tried}")
            } else {
                format!("processes live in {parent}, so its cgroups get no controllers; move them, then: {tried}")
            }
        };
        Error::at(&limit.place, format_args!("{}: {}", self.file("write", &file), errno_name(Errno::ENOENT)))
            .remedy(format_args!("{why}"))
    }

    /// Gives the cgroup to a user who may then divide it further, as far as the kernel says that
    /// this is safe (Linux cgroup-v2.rst, "Delegation"; `/sys/kernel/cgroup/delegate`).
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn give_to(&self, uid: u32, gid: u32) -> Result<()> {
        let files =
            std::fs::read_to_string("/sys/kernel/cgroup/delegate").context("read /sys/kernel/cgroup/delegate")?;
        for file in std::iter::once(".").chain(files.lines()) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            match fchownat(&self.dir, Path::new(file), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // Those of controllers that are not enabled.
                Err(Errno::ENOENT) => {}
                other => other.context(self.file("chown", file))?,
            }
        }
        Ok(())
    }

    /// A number that a file of this cgroup holds; `None`: it has no such file, or no number in it.
    #[must_use]
    pub fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim().parse().ok()
    }
}

/// What the kernel means by an answer that does not say it, for people.
fn why_refused(file: &str, errno: Errno) -> Option<&'static str> {
    match (file.split_once('.').map_or(file, |(controller, _)| controller), errno) {
        ("rdma", Errno::ENODEV) => Some("there is no such device, see /sys/class/infiniband"),
        ("io", Errno::ENODEV) => Some("there is no such block device, or it is a partition, see /sys/block"),
        ("misc", Errno::EINVAL) => Some("see misc.capacity of the root cgroup"),
        _ => None,
    }
}

/// The text that brings a file back, of which `text` is about to change one entry.
fn undo(old: &str, text: &str) -> String {
    let (key, rest) = text.split_once(' ').unwrap_or((text, ""));
    let keyed = !rest.is_empty() && (key.contains(':') || key == "default" || rest.contains('='));
    if !keyed {
        return old.trim_end().to_owned();
    }
    let entry = old.lines().find(|line| line.split_once(' ').is_some_and(|(known, _)| known == key));
    entry.map(str::to_owned).unwrap_or_else(|| {
        let unlimited = |pair: &str| pair.split_once('=').map(|(name, _)| format!("{name}=max"));
        let all: Vec<String> = rest.split_ascii_whitespace().filter_map(unlimited).collect();
        if all.is_empty() { format!("{key} default") } else { format!("{key} {}", all.join(" ")) }
    })
}

/// Enables every controller that there is for the children of `parent`: they limit and measure a
/// container. One that cannot be had is missed only by a limit that needs it.
pub(super) fn enable_controllers(parent: &OwnedFd) {
    let read = |file: &str| {
        let fd = open_beneath(parent, Path::new(file), OFlag::O_RDONLY)?;
        path::read(&fd)
    };
    let (Ok(there), Ok(enabled)) = (read("cgroup.controllers"), read("cgroup.subtree_control")) else { return };
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|known| known == name);
    let missing: Vec<&str> =
        CONTROLLERS.iter().copied().filter(|name| has(&there, name) && !has(&enabled, name)).collect();
    if missing.is_empty() {
        return;
    }
    // Processes that live there would compete with the children. The kernel refuses most controllers. With the
    // others it makes all below a subtree of threads, in which no container can be started (cgroup-v2.rst, "No
    // Internal Process Constraint", "Threads"). The root alone, which has no type, may have both.
    let is_inner = read("cgroup.type").is_ok();
    if is_inner && read("cgroup.procs").is_ok_and(|processes| !processes.is_empty()) {
        return;
    }
    let write = |names: &[&str]| {
        let fd = open_beneath(parent, Path::new("cgroup.subtree_control"), OFlag::O_WRONLY)?;
        let text: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
        nix::unistd::write(&fd, text.join(" ").as_bytes())
    };
    if write(&missing).is_err() {
        // All or none: some may be refused, such as cpu while a real-time process runs.
        for name in missing {
            let _ = write(&[name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::undo;

    #[test]
    fn a_limit_is_put_back_as_it_was() {
        assert_eq!(undo("max 100000\n", "50000 100000"), "max 100000");
        assert_eq!(undo("\n", "0-1"), "");
        assert_eq!(
            undo("8:0 rbps=5 wbps=max riops=max wiops=max\n", "8:0 rbps=7"),
            "8:0 rbps=5 wbps=max riops=max wiops=max"
        );
        assert_eq!(undo("8:0 rbps=5\n", "8:16 rbps=7"), "8:16 rbps=max");
        assert_eq!(undo("default 100\n8:0 50\n", "8:16 30"), "8:16 default");
        assert_eq!(undo("default 100\n8:0 50\n", "default 30"), "default 100");
    }
}
