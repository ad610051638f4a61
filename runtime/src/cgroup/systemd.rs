//! How does systemd make a container's cgroup?
//!
//! Host half, with the caller's privileges. A transient scope is made around a process: the init, which starts in
//! the caller's cgroup. It is in the scope before it receives the container's plan, or its ids are mapped. systemd
//! moves it, since nobody else may from another session of the same user. No process is moved that has run
//! anything else. In the scope, which is delegated to us, limits are written and devices guarded as without
//! systemd.
//!
//! The manager is called on its private socket, which is there without a bus; where only the bus
//! can be reached, by that. Every exchange has a deadline.
//!
//! Source: org.freedesktop.systemd1(5); systemd's docs/CONTROL_GROUP_INTERFACE.md, docs/CGROUP_DELEGATION.md.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, printable};
use crate::plan::host::Systemd;
use crate::plan::systemd::{Property, Unit, Value};

use super::{Cgroup, CgroupGuard, limits};
use bus::{Answer, Bus, Reader, Refusal, Target, Writer};

mod bus;

/// How long systemd may take for one thing: for ever where it hangs, a moment where it does not.
const TIMEOUT: Duration = Duration::from_secs(30);

const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    object: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const PROPERTIES: Target = Target { interface: "org.freedesktop.DBus.Properties", ..MANAGER };
const DAEMON: Target =
    Target { destination: "org.freedesktop.DBus", object: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',member='JobRemoved'";

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// The scope of a container.
#[derive(Debug)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// The user's manager has it.
    pub user: bool,
}

/// Asks systemd what a plan needs to know.
///
/// # Errors
/// It does not answer.
pub fn probe(user: bool) -> Result<Systemd> {
    let mut manager = Manager::connect(user)?;
    let version = manager.property("Version")?;
    let cgroup = manager.property("ControlGroup")?;
    // An unknown one gets only what every systemd knows.
    let version = version.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok()).unwrap_or(0);
    Ok(Systemd { user, version, cgroup: Path::new("/").join(cgroup) })
}

/// Whether the machine's systemd belongs to root as this process sees it.
#[must_use]
pub fn is_of_root() -> bool {
    nix::sys::stat::stat("/run/systemd/private").is_ok_and(|stat| stat.st_uid == 0)
}

/// A connection to a manager of units.
struct Manager {
    bus: Bus,
}

impl Manager {
    fn connect(user: bool) -> Result<Manager> {
        let mut refused = String::new();
        for (socket, is_private) in sockets(user) {
            match Manager::connect_to(&socket, is_private) {
                Ok(manager) => return Ok(manager),
                Err(error) => refused += &format!("{}{error}", if refused.is_empty() { "" } else { ", " }),
            }
        }
        if refused.is_empty() {
            refused += "XDG_RUNTIME_DIR is not set";
        }
        Err(if user {
            Error::new(format!("--systemd-cgroup: no systemd of this user answers: {refused}")).remedy(format_args!(
                "log in, or keep one running (loginctl enable-linger) and set XDG_RUNTIME_DIR=/run/user/{}",
                nix::unistd::geteuid()
            ))
        } else {
            Error::new(format!("--systemd-cgroup: no systemd answers: {refused}"))
                .remedy("leave the option out to manage cgroups directly")
        })
    }

    fn connect_to(socket: &Path, is_private: bool) -> Result<Manager> {
        let mut manager = Manager { bus: Bus::connect(socket, TIMEOUT)? };
        if !is_private {
            manager.subscribe()?;
        }
        Ok(manager)
    }

    /// What a connection to a bus takes before signals come.
    fn subscribe(&mut self) -> Result<()> {
        let checked = |answer: Answer| answer.map(drop).map_err(|refusal| refused("subscribe", &refusal));
        checked(self.bus.call(&DAEMON, "Hello", "", &Writer::default())?)?;
        checked(self.bus.call(&DAEMON, "AddMatch", "s", &Writer::of(&[JOB_REMOVED]))?)?;
        checked(self.bus.call(&MANAGER, "Subscribe", "", &Writer::default())?)
    }

    /// A property of the manager itself, a text.
    fn property(&mut self, name: &str) -> Result<String> {
        let arguments = Writer::of(&[MANAGER.interface, name]);
        let body = self.bus.call(&PROPERTIES, "Get", "ss", &arguments)?;
        let body = body.map_err(|refusal| refused(name, &refusal))?;
        let mut reader = Reader::new(&body);
        let value = reader.signature().filter(|kind| kind == "s").and_then(|_| reader.text());
        value.ok_or_else(|| Error::new(format!("systemd: {name}: its answer makes no sense")))
    }

    /// A call that makes a job, to the end of the job.
    fn job(
        &mut self,
        method: &str,
        signature: &str,
        arguments: &Writer,
    ) -> Result<std::result::Result<String, Refusal>> {
        let body = match self.bus.call(&MANAGER, method, signature, arguments)? {
            Ok(body) => body,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let job = Reader::new(&body).text();
        let job = job.ok_or_else(|| Error::new(format!("systemd: {method}: its answer makes no sense")))?;
        self.bus.end_of_job(&job).map(Ok)
    }

    /// Nothing to report: a unit that is not there has not failed.
    fn reset_failed(&mut self, name: &str) -> Result<()> {
        self.bus.call(&MANAGER, "ResetFailedUnit", "s", &Writer::of(&[name])).map(drop)
    }

    fn start(&mut self, unit: &Unit, pid: i32) -> Result<()> {
        let pids = Property { name: "PIDs", value: Value::Pids(u32::try_from(pid).into_iter().collect()) };
        let mut arguments = Writer::of(&[&unit.name, "fail"]);
        arguments.properties(unit.properties.iter().chain([&pids]));
        // No further units.
        arguments.array(8, |_| ());
        let start = |manager: &mut Manager| manager.job("StartTransientUnit", "ssa(sv)a(sa(sv))", &arguments);
        let mut ended = start(self)?;
        if ended.as_ref().is_err_and(|refusal| refusal.name == UNIT_EXISTS) {
            // One that failed keeps its name until somebody has taken note.
            self.reset_failed(&unit.name)?;
            ended = start(self)?;
        }
        let name = &unit.name;
        match ended {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => {
                let _ = self.reset_failed(name);
                Err(Error::new(format!("systemd: start {name}: {result}"))
                    .remedy(format_args!("see systemctl status {name}, journalctl -u {name}")))
            }
            Err(refusal) if refusal.name == UNIT_EXISTS => {
                Err(Error::at("linux.cgroupsPath", format_args!("unit {name} is there already"))
                    .remedy(format_args!("choose another, or stop that one: systemctl stop {name}")))
            }
            Err(refusal) => Err(refused(&format!("start {name}"), &refusal)),
        }
    }
}

/// The manager's own socket, and that of a bus which it is on: whether it is the first.
fn sockets(user: bool) -> Vec<(PathBuf, bool)> {
    if !user {
        return vec![("/run/systemd/private".into(), true), ("/run/dbus/system_bus_socket".into(), false)];
    }
    let mut found = Vec::new();
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from) {
        found = vec![(dir.join("systemd/private"), true), (dir.join("bus"), false)];
    }
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    if let Some(path) = address.strip_prefix("unix:path=") {
        found.push((path.split([',', ';']).next().unwrap_or_default().into(), false));
    }
    found
}

fn refused(what: &str, refusal: &Refusal) -> Error {
    Error::new(format!("systemd: {what}: {} ({})", printable(&refusal.text), printable(&refusal.name)))
}

impl CgroupGuard {
    /// Has systemd make the scope around a process of ours.
    ///
    /// # Errors
    /// It refuses, does not answer, or has put the process elsewhere. A scope that is there all the
    /// same ends with the process.
    pub fn scope(mount: &Path, path: &Path, unit: &Unit, pid: i32) -> Result<CgroupGuard> {
        let mut manager = Manager::connect(unit.user)?;
        manager.start(unit, pid)?;
        let elsewhere = |why: String| {
            let full = crate::plan::cgroup_path::directory(mount, path);
            Error::new(format!("systemd: the process is not in cgroup {}: {why}", full.display()))
                .remedy("is it the systemd of this machine?")
        };
        let cgroup = Cgroup::open(mount, path).map_err(|errno| elsewhere(format!("open: {errno:?}")))?;
        let inside = cgroup.processes().is_ok_and(|pids| pids.binary_search(&pid).is_ok());
        if !inside {
            return Err(elsewhere("it is not listed there".into()));
        }
        // What systemd does not manage, such as hugetlb, is not enabled in its slices.
        if let Ok(mut above) = super::path::open_dir(mount) {
            for name in path.strip_prefix("/").unwrap_or(path).iter() {
                limits::enable_controllers(&above);
                let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY;
                let Ok(next) = super::open_beneath(above.as_fd(), Path::new(name), flags) else { break };
                above = next;
            }
        }
        let unit = UnitState { name: unit.name.clone(), user: unit.user };
        Ok(CgroupGuard::of(cgroup, false, 0, Some(unit)))
    }

    /// The scope, if it is one.
    #[must_use]
    pub fn unit(&self) -> Option<&UnitState> {
        self.unit.as_ref()
    }
}

impl UnitState {
    /// Sets properties until the next start of the machine, lest systemd takes limits back.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn set(&self, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut arguments = Writer::of(&[&self.name]);
        arguments.flag(true);
        arguments.properties(properties);
        let answer = Manager::connect(self.user)?.bus.call(&MANAGER, "SetUnitProperties", "sba(sv)", &arguments)?;
        answer.map(drop).map_err(|refusal| refused(&format!("set properties of {}", self.name), &refusal))
    }

    /// Has a process of ours put into it, which only systemd can from another session of the user.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub fn attach(&self, pid: i32) -> Result<()> {
        let mut arguments = Writer::of(&[&self.name, "/"]);
        arguments.array(4, |pids| u32::try_from(pid).into_iter().for_each(|pid| pids.number(pid)));
        let answer = Manager::connect(self.user)?.bus.call(&MANAGER, "AttachProcessesToUnit", "ssau", &arguments)?;
        answer.map(drop).map_err(|refusal| refused(&format!("attach a process to {}", self.name), &refusal))
    }

    /// Stops it, whose processes are gone by now, and forgets that it failed.
    ///
    /// # Errors
    /// It refuses, or does not answer. That there is no such unit is none.
    pub fn stop(&self) -> Result<()> {
        let mut manager = Manager::connect(self.user)?;
        let stopped = manager.job("StopUnit", "ss", &Writer::of(&[&self.name, "replace"]))?;
        match stopped {
            Ok(_) => manager.reset_failed(&self.name),
            Err(refusal) if refusal.name == NO_SUCH_UNIT => Ok(()),
            Err(refusal) => Err(refused(&format!("stop {}", self.name), &refusal)),
        }
    }
}
