//! What did one call of the runtime answer?

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use crate::host::in_guest;
use crate::orphans::reap_orphans_but;
use crate::programs::is_peer;
use crate::temp::unique_name;
use crate::wait::{DEADLINE, eventually, readable};

/// One call, before it is made. stdout and stderr go to files: a container inherits them. Nobody has to read a
/// pipe to its end to know that the runtime itself has gone.
#[derive(Debug)]
pub struct Call {
    command: Command,
    stdout: PathBuf,
    stderr: PathBuf,
    has_stdin: bool,
    has_stdout: bool,
    has_stderr: bool,
}

impl Call {
    pub(crate) fn new(program: impl AsRef<OsStr>, dir: &std::path::Path) -> Self {
        let name = unique_name();
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Self {
            command,
            stdout: dir.join(format!("{name}.stdout")),
            stderr: dir.join(format!("{name}.stderr")),
            has_stdin: false,
            has_stdout: false,
            has_stderr: false,
        }
    }

    /// As this user, with the group of the same number and no others.
    #[must_use]
    pub(crate) fn user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// The runtime's own environment holds `PATH` and what is set here.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// The runtime's own working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// stdin holds this text; without, it is `/dev/null`.
    #[must_use]
    pub fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        let path = self.stdout.with_extension("stdin");
        fs::write(&path, text).expect("a file for stdin");
        self.command.stdin(File::open(path).expect("the file for stdin"));
        self.has_stdin = true;
        self
    }

    /// stdin is this.
    #[must_use]
    pub fn stdin_of(mut self, end: &OwnedFd) -> Self {
        self.command.stdin(end.try_clone().expect("dup of stdin"));
        self.has_stdin = true;
        self
    }

    /// stdout is this.
    #[must_use]
    pub fn stdout_to(mut self, end: &OwnedFd) -> Self {
        self.command.stdout(end.try_clone().expect("dup of stdout"));
        self.has_stdout = true;
        self
    }

    /// stdout and stderr are pipes, as an engine's are, and what comes out of them goes to the files.
    ///
    /// # Panics
    /// When there can be none.
    #[must_use]
    pub fn through_pipes(self) -> Self {
        self.through(|_| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe"))
    }

    /// The same, with fifos, which have a name: those of containerd.
    ///
    /// # Panics
    /// When there can be none.
    #[must_use]
    pub fn through_fifos(self) -> Self {
        use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
        self.through(|file| {
            let path = format!("{}.fifo", file.display());
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a fifo");
            let end = |flags| open(&path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).expect("the fifo");
            let ends = (end(OFlags::RDONLY), end(OFlags::WRONLY));
            for end in [&ends.0, &ends.1] {
                fcntl_setfl(end, OFlags::empty()).expect("F_SETFL");
            }
            ends
        })
    }

    fn through(mut self, make: impl Fn(&std::path::Path) -> (OwnedFd, OwnedFd)) -> Self {
        for (number, path) in [self.stdout.clone(), self.stderr.clone()].into_iter().enumerate() {
            let (read, write) = make(&path);
            let mut file = File::options().append(true).create(true).open(path).expect("a file for output");
            // Ends with the last process that writes.
            std::thread::spawn(move || std::io::copy(&mut File::from(read), &mut file));
            if number == 0 {
                self.command.stdout(write)
            } else {
                self.command.stderr(write)
            };
        }
        (self.has_stdout, self.has_stderr) = (true, true);
        self
    }

    /// All three standard descriptors are this terminal.
    #[must_use]
    pub fn terminal(mut self, slave: &OwnedFd) -> Self {
        let copy = || Stdio::from(slave.try_clone().expect("dup of the terminal"));
        self.command.stdin(copy()).stdout(copy()).stderr(copy());
        (self.has_stdin, self.has_stdout, self.has_stderr) = (true, true, true);
        self
    }

    /// stderr is this.
    #[must_use]
    pub fn stderr(mut self, end: &OwnedFd) -> Self {
        self.command.stderr(end.try_clone().expect("dup of stderr"));
        self.has_stderr = true;
        self
    }

    /// Starts it and returns at once.
    ///
    /// # Panics
    /// When the program cannot be executed.
    #[must_use]
    pub fn spawn(mut self) -> Running {
        if !self.has_stdin {
            self.command.stdin(Stdio::null());
        }
        let open = |path| File::options().append(true).create(true).open(path).expect("a file for output");
        if !self.has_stdout {
            self.command.stdout(open(&self.stdout));
        }
        if !self.has_stderr {
            self.command.stderr(open(&self.stderr));
        }
        let line = format!("{:?}", self.command);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let pidfd = pidfd_open(pid_of(&child), PidfdFlags::empty()).expect("a pidfd of our child");
        Running { line, child: Some(child), pidfd, stdout: self.stdout, stderr: self.stderr }
    }

    /// Makes the call and waits for its end.
    ///
    /// # Panics
    /// When it takes over [`DEADLINE`].
    #[must_use]
    pub fn outcome(self) -> Outcome {
        self.spawn().outcome()
    }
}

fn pid_of(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid")
}

/// A call under way; killed if it leaves scope.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Option<Child>,
    pidfd: OwnedFd,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// The process id of the runtime.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Sends a signal to the runtime, not to the container.
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("a signal to the runtime");
    }

    /// Where stdout and stderr go.
    pub(crate) fn output_paths(&self) -> (PathBuf, PathBuf) {
        (self.stdout.clone(), self.stderr.clone())
    }

    /// What the container and the runtime have written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Waits for a whole line on stdout.
    pub fn wait_for_line(&self, line: &str) {
        eventually(&format!("{line:?} from {}", self.line), || {
            let (stdout, stderr) = (self.stdout(), fs::read_to_string(&self.stderr).unwrap_or_default());
            let found = stdout.lines().any(|l| l == line) && stdout.contains('\n');
            found.then_some(()).ok_or(format!("stdout {stdout:?}, stderr {stderr:?}"))
        });
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes over [`DEADLINE`].
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        // An emulated machine checkpoints a small container in ten seconds, when it has its processors for itself.
        let limit = if in_guest() { 5 * DEADLINE } else { DEADLINE };
        self.outcome_within(limit).unwrap_or_else(|| {
            let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
            panic!("{} has not ended within {limit:?}; stderr {stderr:?}", self.line)
        })
    }

    /// Waits for its end, and reaps meanwhile what others have left to us, as the host's init would. A pid
    /// namespace does not end before the last of its processes has been reaped.
    ///
    /// # Panics
    /// When it takes over [`DEADLINE`].
    #[must_use]
    pub fn outcome_reaping(mut self) -> Outcome {
        let (line, pid) = (self.line.clone(), self.pid());
        eventually(&format!("the end of {line}"), || {
            reap_orphans_but(Some(pid));
            self.outcome_within(Duration::ZERO).ok_or_else(|| fs::read_to_string(&self.stderr).unwrap_or_default())
        })
    }

    fn outcome_within(&mut self, limit: Duration) -> Option<Outcome> {
        if !readable(self.pidfd.as_fd(), limit) {
            return None;
        }
        let status = self.child.take()?.wait().expect("the status of our child");
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Some(Outcome { line: self.line.clone(), status, stdout: read(&self.stdout), stderr: read(&self.stderr) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How a call has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    line: String,
    status: ExitStatus,
    /// All of stdout, with what the container wrote there.
    pub stdout: String,
    /// All of stderr, with what the container wrote there.
    pub stderr: String,
}

impl Outcome {
    /// The exit code; 128 + the signal's number when the runtime itself was killed.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Whether it ended with 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// # Panics
    /// Unless it ended with 0; says what was called and seen.
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// # Panics
    /// Unless it ended with `code`; says what was called and seen.
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code() == code, "expected exit code {code} of {self}");
        self
    }

    /// The runtime's refusal: exit code 1 and `text` in its message.
    ///
    /// # Panics
    /// Otherwise; says what was called and seen.
    pub fn refused(self, text: &str) -> Self {
        self.fails(1, text)
    }

    /// Exit code `code` and `text` in the message.
    ///
    /// # Panics
    /// Otherwise; says what was called and seen.
    pub fn fails(self, code: i32, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} on stderr of {self}");
        self.exits(code)
    }

    /// stderr holds one line, as every message of ours does (a peer may say what it likes).
    ///
    /// # Panics
    /// Otherwise; says what was called and seen.
    pub fn in_one_line(self) -> Self {
        let lines = self.stderr.lines().count();
        assert!(is_peer() || lines == 1, "expected one line on stderr, not {lines}, of {self}");
        self
    }

    /// stdout as JSON: the facts of a probe, or the runtime's own.
    ///
    /// # Panics
    /// When the call failed or stdout is not JSON; says what was called and seen.
    #[must_use]
    pub fn json(self) -> Value {
        let this = self.ok();
        serde_json::from_str(&this.stdout).unwrap_or_else(|error| panic!("{error} in stdout of {this}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // All facts of a probe would bury the sentence.
        let stdout: String = self.stdout.chars().take(800).collect();
        write!(f, "{}\n  {}\n  stdout: {stdout:?}\n  stderr: {:?}", self.line, self.status, self.stderr)
    }
}
