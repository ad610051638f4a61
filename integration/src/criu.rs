//! A stand-in for `criu`: what a test tells it to do, and what it saw.
//!
//! The program `criu-stand-in` (`integration/criu`) speaks `criu swrk 3`: it says word by word what the runtime
//! asked for, and plays the steps that the test gives. The real CRIU is for the guest alone (chapter `criu`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attack::json_lines;
use crate::bundle::Bundle;
use crate::call::Outcome;
use crate::host::mountinfo;
use crate::orphans::reap_orphans_in;
use crate::runtime::Runtime;
use crate::snapshot::nothing_is_left;
use crate::temp::TempDir;
use crate::wait::eventually;

/// Names the file that holds the [`Script`].
pub const SCRIPT_VARIABLE: &str = "CRIU_STAND_IN";

/// What the stand-in does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Where it writes what it sees, a JSON object a line.
    pub record: PathBuf,
    /// Major, minor, sublevel; `None`: it does not know the request.
    pub version: Option<[i32; 3]>,
    /// By the type of request (`DUMP`). Without: success is answered at once.
    pub steps: BTreeMap<String, Vec<Step>>,
}

/// One of the things it does, in order.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Step {
    /// A callback; goes on with the answer.
    Notify {
        /// Its name.
        script: String,
        /// The restored process's number goes along.
        with_pid: bool,
    },
    /// A callback with this number.
    NotifyOf {
        /// Its name.
        script: String,
        /// Of whatever process.
        pid: i32,
    },
    /// The callback `orphan-pts-master` with a terminal's master, into whose other side this text was written.
    Terminal(String),
    /// Writes a file of the image directory.
    Image(String, String),
    /// Adds lines to the log.
    Log(String),
    /// Creates an empty file: the test hears that this step has been reached.
    Create(PathBuf),
    /// Waits until there is such a file.
    WaitFor(PathBuf),
    /// Kills the runtime by SIGKILL, and goes on when it has gone.
    KillPeer,
    /// Kills itself by SIGKILL.
    KillSelf,
    /// Closes the connection, and goes on.
    Close,
    /// Exits with this status.
    Exit(u8),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// The end of the request.
    Answer(Answer),
    /// Freezes the cgroup that the request names.
    Freeze,
    /// Thaws it, if it was not frozen before.
    Thaw,
    /// Ends the container's processes, as at the end of a dump that leaves nothing running.
    KillDumped,
    /// Makes the process that is restored: it is in its namespaces, with nothing mounted.
    Clone(Restored),
    /// It executes its program, and stands still before the first instruction.
    Execute,
    /// It goes on.
    Resume,
}

/// How a request is answered.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Answer {
    /// Of another type than was asked for.
    pub kind: Option<String>,
    /// `success`
    pub success: bool,
    /// `cr_errno`
    pub errno: Option<i32>,
    /// `cr_errmsg`
    pub message: Option<String>,
    /// The answer to `RESTORE` has another number than the process's.
    pub pid: Option<i32>,
}

/// The process that is made by a restore: like that of a living container, with what differs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Restored {
    /// The first process of a container whose mounts, credentials and limits it gets.
    pub template: i32,
    /// Its program.
    pub args: Vec<String>,
    /// It has all capabilities.
    pub all_capabilities: bool,
    /// It may gain privileges by what it executes.
    pub new_privileges: bool,
    /// It is under a filter of system calls, which permits all.
    pub filter: bool,
    /// There is a tmpfs more, on this directory.
    pub mount: Option<PathBuf>,
    /// This file of the host is open.
    pub open: Option<PathBuf>,
    /// It runs as this user.
    pub uid: Option<u32>,
    /// It is in this cgroup.
    pub cgroup: Option<PathBuf>,
    /// Its parent is the stand-in.
    pub not_sibling: bool,
    /// It stays in these namespaces of the host, by the names of `/proc/PID/ns`.
    pub host_namespaces: Vec<String>,
    /// There is a second process, with all capabilities.
    pub companion: bool,
}

fn notify(script: &str) -> Step {
    Step::Notify { script: script.to_owned(), with_pid: false }
}

fn notify_of_process(script: &str) -> Step {
    Step::Notify { script: script.to_owned(), with_pid: true }
}

impl Step {
    /// Success.
    #[must_use]
    pub fn success() -> Self {
        Self::Answer(Answer { success: true, ..Answer::default() })
    }

    /// Failure, with these words.
    #[must_use]
    pub fn failure(errno: i32, message: &str) -> Self {
        Self::Answer(Answer { errno: Some(errno), message: Some(message.to_owned()), ..Answer::default() })
    }

    /// A dump, as CRIU's is seen from outside. `leave`: the container goes on.
    #[must_use]
    pub fn dump(leave: bool) -> Vec<Self> {
        let end = if leave { vec![Self::Thaw, notify("network-unlock")] } else { vec![Self::KillDumped] };
        let begin = [
            notify("pre-dump"),
            Self::Freeze,
            notify("network-lock"),
            notify("query-ext-files"),
            Self::Image("inventory.img".into(), "an inventory".into()),
            notify("status-ready"),
            notify("post-dump"),
        ];
        [begin.to_vec(), end, vec![Self::success()]].concat()
    }

    /// One of memory alone.
    #[must_use]
    pub fn pre_dump() -> Vec<Self> {
        let image = Self::Image("pages-1.img".into(), "pages".into());
        vec![notify("pre-dump"), Self::Freeze, image, Self::Thaw, Self::success()]
    }

    /// A restore.
    #[must_use]
    pub fn restore(restored: Restored) -> Vec<Self> {
        vec![
            notify("pre-restore"),
            Self::Clone(restored),
            notify_of_process("setup-namespaces"),
            notify("post-setup-namespaces"),
            Self::Execute,
            notify_of_process("post-restore"),
            notify("network-unlock"),
            notify_of_process("pre-resume"),
            Self::Resume,
            notify_of_process("post-resume"),
            Self::success(),
        ]
    }

    /// Whether it is the callback of this name.
    #[must_use]
    pub fn is_callback(&self, name: &str) -> bool {
        matches!(self, Self::Notify { script, .. } | Self::NotifyOf { script, .. } if script == name)
    }
}

/// These steps with others before the callback of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn before(name: &str, mut steps: Vec<Step>, others: &[Step]) -> Vec<Step> {
    let at = steps.iter().position(|step| step.is_callback(name));
    let at = at.unwrap_or_else(|| panic!("no callback {name} among {steps:?}"));
    steps.splice(at..at, others.iter().cloned());
    steps
}

/// These steps up to, and without, the callback of this name, then others.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn until(name: &str, mut steps: Vec<Step>, others: &[Step]) -> Vec<Step> {
    let at = steps.iter().position(|step| step.is_callback(name));
    steps.truncate(at.unwrap_or_else(|| panic!("no callback {name} among {steps:?}")));
    steps.extend_from_slice(others);
    steps
}

/// A stand-in in a directory of its own, for runtimes that have this first in their `PATH`.
#[derive(Debug)]
pub struct StandIn {
    dir: TempDir,
    script: Script,
}

impl StandIn {
    /// `program` is `env!("CARGO_BIN_EXE_criu-stand-in")`, which only a test can name. It is version 4.2, and every
    /// request succeeds at once.
    ///
    /// # Panics
    /// When its directory cannot be made.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let dir = TempDir::new();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        let (script, criu) = (dir.path().join("script.json"), bin.join("criu"));
        let text = format!("#!/bin/sh\n{SCRIPT_VARIABLE}='{}' exec '{program}' \"$@\"\n", script.display());
        fs::write(&criu, text).expect("a script");
        fs::set_permissions(&criu, fs::Permissions::from_mode(0o755)).expect("its mode");
        let script = Script { record: dir.path().join("record"), version: Some([4, 2, 0]), steps: BTreeMap::new() };
        Self { dir, script }.write()
    }

    fn write(self) -> Self {
        let text = serde_json::to_vec_pretty(&self.script).expect("a script");
        fs::write(self.dir.path().join("script.json"), text).expect("the script");
        self
    }

    /// The steps at a type of request.
    #[must_use]
    pub fn at(mut self, request: &str, steps: Vec<Step>) -> Self {
        self.script.steps.insert(request.to_owned(), steps);
        self.write()
    }

    /// It is of another version.
    #[must_use]
    pub fn version(mut self, version: Option<[i32; 3]>) -> Self {
        self.script.version = version;
        self.write()
    }

    /// A `PATH` in which it is the only `criu`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.dir.path().join("bin").display()).into()
    }

    /// A directory for what the test and the stand-in share.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory with the images of a test.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    /// All that it has written down so far.
    #[must_use]
    pub fn record(&self) -> Vec<Value> {
        json_lines(&fs::read_to_string(&self.script.record).unwrap_or_default())
    }

    /// Requests, each as CRIU's own definition of the messages reads it.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.record().into_iter().filter_map(|line| line.get("request").cloned()).collect()
    }

    /// The last request of a type; `opts` are those of `criu_opts` that were sent, with
    /// `images_dir` and `work_dir` as paths.
    ///
    /// # Panics
    /// When there was none; says what was seen.
    #[must_use]
    pub fn request(&self, kind: &str) -> Value {
        let found = self.requests().into_iter().rfind(|request| request["type"] == kind);
        found.unwrap_or_else(|| panic!("no request {kind}: {:#?}", self.record()))
    }

    /// Its `opts`.
    ///
    /// # Panics
    /// When there was no such request.
    #[must_use]
    pub fn opts(&self, kind: &str) -> Value {
        self.request(kind)["opts"].clone()
    }

    /// The callbacks that were answered by `notify_success`, in order.
    #[must_use]
    pub fn answered(&self) -> Vec<String> {
        let name = |line: Value| {
            let answer = line.get("answer")?;
            (answer["type"] == "NOTIFY" && answer["notify_success"] == true)
                .then(|| line["to"].as_str().map(str::to_owned))?
        };
        self.record().into_iter().filter_map(name).collect()
    }

    /// How it was started: `args`, `env`, `cwd`, `cgroup`, `descriptors`.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn started(&self) -> Value {
        let found = self.record().into_iter().rev().find_map(|line| line.get("started").cloned());
        found.unwrap_or_else(|| panic!("criu was not executed: {:?}", self.record()))
    }

    /// Waits for a file that a step makes.
    ///
    /// # Panics
    /// After [`DEADLINE`](crate::DEADLINE); says what was seen.
    pub fn wait_for(&self, file: &Path) {
        eventually(&format!("{}", file.display()), || {
            if file.exists() { Ok(()) } else { Err(format!("{:#?}", self.record())) }
        });
    }
}

/// A living container, and images that stand for its checkpoint.
#[derive(Debug)]
pub struct Original {
    runtime: Runtime,
    program: &'static str,
    pid: i32,
    id: String,
    /// What it was made from.
    pub bundle: Bundle,
}

impl Original {
    /// A container of this bundle, which says that it is ready; `program` is the stand-in's.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of(program: &'static str, bundle: Bundle) -> Self {
        let runtime = Runtime::new();
        // Deleted with this value, see below.
        let container = std::mem::ManuallyDrop::new(runtime.start_ready(&bundle));
        let (pid, id) = (container.pid(), container.id().to_owned());
        Self { runtime, program, pid, id, bundle }
    }

    /// The process that CRIU makes: like it in all.
    #[must_use]
    pub fn restored(&self) -> Restored {
        Restored { template: self.pid, args: vec!["/probe".into(), "sleep".into()], ..Restored::default() }
    }

    /// A stand-in that restores it, with whole images.
    #[must_use]
    pub fn criu(&self) -> StandIn {
        self.criu_with(Step::restore(self.restored()))
    }

    /// The same, with other steps.
    ///
    /// # Panics
    /// When the images cannot be written.
    #[must_use]
    pub fn criu_with(&self, steps: Vec<Step>) -> StandIn {
        let criu = StandIn::new(self.program).at("RESTORE", steps);
        fs::create_dir(criu.images()).expect("a directory");
        fs::write(criu.images().join("inventory.img"), "an inventory").expect("an image");
        let nothing = serde_json::json!(["/dev/null", "/dev/null", "/dev/null"]);
        fs::write(criu.images().join("descriptors.json"), nothing.to_string()).expect("descriptors");
        criu
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.runtime.call(["delete", "--force", &self.id]).outcome();
        reap_orphans_in(&self.bundle.cgroup());
    }
}

/// The outcome of a restore that fails: nothing of it has run, and nothing is left.
///
/// # Panics
/// When it does not fail, or something is left; says what was seen.
#[must_use]
pub fn failing_restore(runtime: &Runtime, bundle: &Bundle, criu: &StandIn) -> Outcome {
    let outcome = match runtime.try_restore(bundle, &criu.images(), |call| call) {
        Ok(container) => panic!("expected a failure, and {} is {}", container.id(), container.status()),
        Err(outcome) => outcome,
    };
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(!outcome.stdout.contains("ready"), "its program has run: {outcome}");
    reap_orphans_in(&bundle.cgroup());
    nothing_is_left(runtime);
    assert!(!bundle.cgroup().exists(), "a cgroup is left after {outcome}");
    let ours = runtime.dir().to_str().expect("a path of the test's");
    assert!(!mountinfo().iter().any(|line| line.contains(ours)), "a mount is left after {outcome}");
    outcome
}

impl Runtime {
    /// The same, with a stand-in for `criu`.
    #[must_use]
    pub fn with_criu(self, criu: &StandIn) -> Self {
        self.with_env("PATH", criu.path())
    }
}
