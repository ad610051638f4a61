//! What is measured, and how is each operation spelled?

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::Options;
use crate::sample;
use crate::workdir::{HELD, Workdir};

/// In the order of a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Not a container at all: what starting an empty static program costs, in every figure below.
    Spawn,
    Run,
    /// With Docker's default profile of system calls.
    RunFiltered,
    CreateFiltered,
    Create,
    State,
    Start,
    Exec,
    Kill,
    Delete,
}

impl Operation {
    pub(crate) const ALL: [Self; 10] = [
        Self::Spawn,
        Self::Run,
        Self::RunFiltered,
        Self::CreateFiltered,
        Self::Create,
        Self::State,
        Self::Start,
        Self::Exec,
        Self::Kill,
        Self::Delete,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Run => "run",
            Self::RunFiltered => "run, filtered",
            Self::Create => "create",
            Self::CreateFiltered => "create, filtered",
            Self::State => "state",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Kill => "kill",
            Self::Delete => "delete",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::RunFiltered => "run",
            Self::CreateFiltered => "create",
            _ => self.name(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) program: PathBuf,
}

pub(crate) const FLOOR: &str = "floor";

impl Subject {
    pub(crate) fn does(&self, operation: Operation) -> bool {
        match operation {
            Operation::Spawn => self.is_floor(),
            Operation::Run | Operation::Exec => true,
            _ => !self.is_floor(),
        }
    }

    /// The command line of `operation` on container `name`; `None` where there is no such.
    pub(crate) fn command(&self, place: &Workdir, operation: Operation, name: &str) -> Option<Vec<OsString>> {
        if !self.does(operation) {
            return None;
        }
        let mut words = vec![self.program.clone().into_os_string()];
        if self.is_floor() {
            match operation {
                Operation::Spawn => words.push("nothing".into()),
                Operation::Run => {
                    words.push("run".into());
                    words.extend(floor_paths(place, name));
                }
                Operation::Exec => {
                    let pid = sample::pid(place, HELD).ok()?.to_string();
                    words.extend(["exec".into(), pid.into(), place.cgroup(HELD).into()]);
                }
                _ => return None,
            }
            return Some(words);
        }
        words.push("--root".into());
        words.push(place.path("state").join(self.name).into());
        words.push(operation.verb().into());
        match operation {
            Operation::Run => words.extend(["--bundle".into(), place.path("true").into()]),
            Operation::RunFiltered => words.extend(["--bundle".into(), place.path("true-filtered").into()]),
            Operation::Create | Operation::CreateFiltered => {
                let bundle = if operation == Operation::Create { "pause" } else { "pause-filtered" };
                words.extend(["--bundle".into(), place.path(bundle).into()]);
                words.extend(["--pid-file".into(), sample::pid_file(place, name).into()]);
            }
            _ => {}
        }
        words.push(place.id(name).into());
        match operation {
            Operation::Exec => words.push("/true".into()),
            Operation::Kill => words.push("KILL".into()),
            _ => {}
        }
        Some(words)
    }

    /// `delete --force`
    pub(crate) fn delete(&self, place: &Workdir, name: &str) -> Vec<OsString> {
        let mut words = vec![self.program.clone().into_os_string(), "--root".into()];
        words.extend([place.path("state").join(self.name).into(), "delete".into(), "--force".into()]);
        words.push(place.id(name).into());
        words
    }

    /// The command line of a container that tells what its system calls cost.
    pub(crate) fn calls(&self, place: &Workdir, bundle: &str) -> Vec<OsString> {
        let mut words = vec![self.program.clone().into_os_string(), "--root".into()];
        words.extend([place.path("state").join(self.name).into(), "run".into(), "--bundle".into()]);
        words.extend([place.path(bundle).into(), place.id(self.name).into()]);
        words
    }

    /// Makes the container [`HELD`]; `None` for a runtime.
    pub(crate) fn hold(&self, place: &Workdir) -> Option<Vec<OsString>> {
        let mut words = vec![self.program.clone().into(), "hold".into()];
        words.extend(floor_paths(place, HELD));
        words.push(sample::pid_file(place, HELD).into());
        Some(words).filter(|_| self.is_floor())
    }

    pub(crate) fn is_floor(&self) -> bool {
        self.name == FLOOR
    }
}

/// Those that are there, the floor always among them.
pub(crate) fn find(options: &Options, place: &Workdir) -> Vec<Subject> {
    let brought = |name| Some(place.path("bin").join(name));
    let on_path = |name: &str| options.path.iter().map(|path| path.join(name)).find(|path| path.is_file());
    let places =
        [("cleat", brought("cleat")), ("crun", on_path("crun")), ("runc", on_path("runc")), (FLOOR, brought(FLOOR))];
    let mut found = Vec::new();
    for (name, program) in places {
        if let Some(program) = program.filter(|path| path.is_file()) {
            let version = if name == FLOOR { String::new() } else { version(&program) };
            found.push(Subject { name, version, program });
        }
    }
    found
}

/// Root file system, state directory and cgroup, as `floor run` and `floor hold` take them.
fn floor_paths(place: &Workdir, name: &str) -> [OsString; 3] {
    let state = place.path(&format!("floor-{name}"));
    [place.path("rootfs"), state, place.cgroup(name)].map(PathBuf::into_os_string)
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}
