//! One container, from `create` to `delete`.

use std::cell::RefCell;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde_json::Value;

use crate::audit::Audit;
use crate::call::{Call, Outcome, Running};
use crate::harness::add_note;
use crate::runtime::Runtime;
use crate::temp::unique_name;
use crate::wait::{DEADLINE, eventually, readable};

/// How a container's first process has ended: an exit status, or 128 + a signal's number.
type Status = i32;

/// A container of this test; `delete --force`d when it leaves scope.
#[derive(Debug)]
pub struct Container<'r> {
    runtime: &'r Runtime,
    id: String,
    pid: i32,
    pidfd: Option<OwnedFd>,
    status: RefCell<Option<Status>>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl<'r> Container<'r> {
    pub(crate) fn new(runtime: &'r Runtime, id: String) -> Self {
        Self {
            runtime,
            id,
            pid: 0,
            pidfd: None,
            status: RefCell::new(None),
            stdout: PathBuf::new(),
            stderr: PathBuf::new(),
        }
    }

    pub(crate) fn output_of(&mut self, running: &Running) {
        (self.stdout, self.stderr) = running.output_paths();
    }

    /// Learns the pid, and holds on to that process.
    ///
    /// # Panics
    /// Without a pid file that holds a number and nothing else.
    pub fn created(&mut self, pid_file: &Path) {
        let text = fs::read_to_string(pid_file).expect("a pid file");
        self.pid = text.parse().unwrap_or_else(|_| panic!("pid file holds {text:?}"));
        let pid = Pid::from_raw(self.pid).expect("a pid");
        self.pidfd = Some(pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd of the container"));
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its first process, as the host numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// `/proc/PID/NAME` of its first process, seen from the host.
    #[must_use]
    pub fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// What it has written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// `runtime VERB… ID`
    #[must_use]
    pub fn call<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, verb: I) -> Call {
        self.runtime.call(verb).arg(&self.id)
    }

    /// # Panics
    /// When `start` fails; says what was seen.
    pub fn start(&self) {
        let _ = self.call(["start"]).outcome().ok();
    }

    /// The answer of `state`.
    ///
    /// # Panics
    /// When `state` fails; says what was seen.
    #[must_use]
    pub fn state(&self) -> Value {
        self.call(["state"]).outcome().json()
    }

    /// The status that `state` gives.
    ///
    /// # Panics
    /// When `state` fails; says what was seen.
    #[must_use]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// # Panics
    /// When `kill` fails; says what was seen.
    pub fn kill(&self, signal: &str) {
        let _ = self.call(["kill"]).arg(signal).outcome().ok();
    }

    /// # Panics
    /// When `delete` fails; says what was seen.
    pub fn delete(&self) {
        let _ = self.call(["delete"]).outcome().ok();
    }

    /// SIGKILL, the end of the process, `delete`.
    ///
    /// # Panics
    /// When any of them fails; says what was seen.
    pub fn kill_and_delete(&self) {
        self.kill("KILL");
        let _ = self.wait();
        self.delete();
    }

    /// What `audit` says of it.
    ///
    /// # Panics
    /// When it cannot be audited; says what was seen.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::of(&self.call(["audit", "--json"]).outcome())
    }

    /// `exec ID ARGS…`
    #[must_use]
    pub fn exec<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> Outcome {
        self.exec_with(std::iter::empty::<&str>(), args)
    }

    /// `exec OPTIONS… ID ARGS…`
    #[must_use]
    pub fn exec_with<O, I>(&self, options: O, args: I) -> Outcome
    where
        O: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        self.exec_call(options, args).outcome()
    }

    /// `exec OPTIONS… ID ARGS…`, not called yet.
    #[must_use]
    pub fn exec_call<O, I>(&self, options: O, args: I) -> Call
    where
        O: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        self.runtime.call(["exec"]).args(options).arg(&self.id).args(args)
    }

    /// `exec OPTIONS… --detach ID ARGS…`: the process, which is ours to reap. (Not reaped, it
    /// would keep the container's pid namespace from ending.)
    ///
    /// # Panics
    /// When it fails; says what was seen.
    #[must_use]
    pub fn exec_detached<O, I>(&self, options: O, args: I) -> Orphan
    where
        O: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        let file = self.runtime.dir().join(format!("{}.pid", unique_name()));
        let call = self.runtime.call(["exec"]).args(options).arg("--detach").arg("--pid-file").arg(&file);
        let _ = call.arg(&self.id).args(args).outcome().ok();
        Orphan::of_pid_file(&file)
    }

    /// Waits for the end of the first process.
    ///
    /// # Panics
    /// When that takes over [`DEADLINE`], or the container was not made by `create`.
    pub fn wait(&self) -> Status {
        if let Some(status) = *self.status.borrow() {
            return status;
        }
        let pidfd = self.pidfd.as_ref().expect("a container with a pid");
        let status = reap(pidfd).unwrap_or_else(|| {
            panic!(
                "the container has not ended within {DEADLINE:?}; stdout {:?}, stderr {:?}",
                self.stdout(),
                self.stderr()
            )
        });
        *self.status.borrow_mut() = Some(status);
        status
    }

    /// Waits for a whole line on stdout.
    ///
    /// # Panics
    /// After [`DEADLINE`]; says what was seen.
    pub fn wait_for_line(&self, line: &str) {
        eventually(&format!("{line:?} on stdout of {}", self.id), || {
            let stdout = self.stdout();
            let found = stdout.split_inclusive('\n').any(|l| l.strip_suffix('\n') == Some(line));
            found.then_some(()).ok_or_else(|| format!("stdout {stdout:?}, stderr {:?}", self.stderr()))
        });
    }

    /// Its facts, once it has ended.
    ///
    /// # Panics
    /// When it prints anything but one JSON value.
    #[must_use]
    pub fn json(&self) -> Value {
        let status = self.wait();
        let stdout = self.stdout();
        serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{error} in stdout {stdout:?}, status {status}, stderr {:?}", self.stderr()))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // By the program as it was built: a copy may be an attacker's by now.
        let outcome = self.runtime.whole().args(["delete", "--force", &self.id]).outcome();
        if !outcome.succeeded() && !std::thread::panicking() {
            add_note(&outcome.to_string());
        }
        if let (Some(pidfd), None) = (&self.pidfd, *self.status.borrow()) {
            let _ = reap(pidfd);
        }
    }
}

/// Waits for the end of an orphan of ours; `None` after [`DEADLINE`].
fn reap(pidfd: &OwnedFd) -> Option<Status> {
    if !readable(pidfd.as_fd(), DEADLINE) {
        return None;
    }
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok()??;
    Some(ended.exit_status().unwrap_or_else(|| 128 + ended.terminating_signal().unwrap_or(0)))
}

/// A process that a runtime has left to us; killed and reaped when it leaves scope.
#[derive(Debug)]
pub struct Orphan {
    pid: i32,
    pidfd: OwnedFd,
}

impl Orphan {
    fn of_pid_file(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("a pid file");
        let pid = text.parse().unwrap_or_else(|_| panic!("pid file holds {text:?}"));
        let pidfd = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty());
        Self { pid, pidfd: pidfd.expect("a pidfd of the process") }
    }

    /// Its number on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = reap(&self.pidfd);
    }
}
