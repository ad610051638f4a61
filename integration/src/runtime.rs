//! How is the program under test called?

use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::bundle::Bundle;
use crate::call::Call;
use crate::programs::{is_peer, program};
use crate::temp::TempDir;
use crate::user::{DelegatedCgroup, EngineNamespace, etc_of, give, unused_uid};

/// The runtime under test with a state root of its own.
#[derive(Debug)]
pub struct Runtime {
    program: PathBuf,
    root: PathBuf,
    dir: TempDir,
    user: Option<u32>,
    /// Words before the program: into a user namespace, as its root.
    entry: Vec<String>,
    /// Whose its directory is, if not root's.
    owner: Option<u32>,
    /// Shell commands that root runs first, in a mount namespace of the call's own.
    setup: Vec<String>,
    /// Global options of each call.
    options: Vec<String>,
    /// Environment of each call.
    env: Vec<(String, PathBuf)>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

/// What has warnings on standard error, where tests look for them, though that is no terminal.
fn warnings() -> Vec<String> {
    if is_peer() { Vec::new() } else { vec!["--log-level=warning".to_owned()] }
}

impl Runtime {
    /// # Panics
    /// When the program has not been built.
    #[must_use]
    pub fn new() -> Self {
        // What a runtime orphans comes to us: we learn how it ends, and that it ends.
        static SUBREAPER: Once = Once::new();
        SUBREAPER.call_once(|| {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("PR_SET_CHILD_SUBREAPER");
        });
        let dir = TempDir::new();
        let root = dir.path().join("root");
        Self {
            program: program(),
            root,
            dir,
            user: None,
            entry: Vec::new(),
            owner: None,
            setup: Vec::new(),
            options: warnings(),
            env: Vec::new(),
        }
    }

    /// The same, with a global option on each call.
    #[must_use]
    pub fn with_option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// The same, with no global option at all.
    #[must_use]
    pub fn without_options(mut self) -> Self {
        self.options.clear();
        self
    }

    /// The same, with a variable in each call's environment.
    #[must_use]
    pub fn with_env(mut self, key: &str, value: impl Into<PathBuf>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// The same, called by an ordinary user who owns its directory. The program is a copy within
    /// reach.
    #[must_use]
    pub fn as_user() -> Self {
        let mut runtime = Self::copied();
        let uid = unused_uid();
        give(runtime.dir(), uid);
        (runtime.user, runtime.owner) = (Some(uid), Some(uid));
        runtime
    }

    /// The user that calls.
    ///
    /// # Panics
    /// Unless made by [`Runtime::as_user`].
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.user.expect("an ordinary user")
    }

    /// A bundle for this runtime's user.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        Bundle::new().rootless(self.uid())
    }

    /// The user, called alice, has these lines of `/etc/subuid` and `/etc/subgid`.
    #[must_use]
    pub fn with_subids(mut self, lines: &str) -> Self {
        let script = etc_of(self.dir(), self.uid(), lines);
        self.setup.push(script);
        self
    }

    /// Calls come from this cgroup.
    #[must_use]
    pub fn in_cgroup(mut self, cgroup: &DelegatedCgroup) -> Self {
        self.setup.push(format!("echo $$ >{}/cgroup.procs", cgroup.path().display()));
        self
    }

    /// Root runs this shell command before each call, in a mount namespace of the call's own.
    #[must_use]
    pub fn after(mut self, script: &str) -> Self {
        self.setup.push(script.to_owned());
        self
    }

    /// `PROGRAM` called by this runtime's user, with nothing set up before.
    #[must_use]
    pub fn command_from_anywhere(&self, program: impl AsRef<std::ffi::OsStr>) -> Call {
        Call::new(program, self.dir.path()).user(self.uid())
    }

    /// The same, called by root of a user namespace, as an engine's. The program is a copy within reach.
    #[must_use]
    pub fn in_user_namespace(namespace: &EngineNamespace) -> Self {
        let mut runtime = Self::copied();
        give(runtime.dir(), namespace.uid());
        (runtime.entry, runtime.owner) = (namespace.entry(), Some(namespace.uid()));
        runtime
    }

    /// `PROGRAM` as this runtime is called: by its user, after what is to be set up.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Call {
        let call = match (self.user, self.prefix().split_first()) {
            // Without another program between.
            (Some(uid), _) if self.setup.is_empty() => Call::new(program, self.dir.path()).user(uid),
            (_, None) => Call::new(program, self.dir.path()),
            (_, Some((first, rest))) => Call::new(first, self.dir.path()).args(rest).arg(program),
        };
        self.env.iter().fold(call, |call, (key, value)| call.env(key, value))
    }

    /// The words before a program that is called as this runtime is.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let user = self.user.map(|uid| format!("setpriv --reuid {uid} --regid {uid} --clear-groups --"));
        let entry: Vec<String> = match &user {
            Some(words) => words.split(' ').map(str::to_owned).collect(),
            None => self.entry.clone(),
        };
        if self.setup.is_empty() {
            return entry;
        }
        let script = format!("{} && exec {} \"$@\"", self.setup.join(" && "), entry.join(" "));
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        words.into_iter().map(str::to_owned).collect()
    }

    /// Who owns this runtime's files, where that is not root.
    pub(crate) fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Global options of each call.
    pub(crate) fn options(&self) -> &[String] {
        &self.options
    }

    /// Variables of each call.
    pub(crate) fn environment(&self) -> &[(String, PathBuf)] {
        &self.env
    }

    /// The same, with a copy of the program that a hostile container may damage, alone in its
    /// directory.
    #[must_use]
    pub fn copied() -> Self {
        let mut runtime = Self::new();
        let dir = runtime.dir.path().join("bin");
        std::fs::create_dir(&dir).expect("a directory");
        let copy = dir.join(runtime.program.file_name().expect("a file name"));
        std::fs::copy(&runtime.program, &copy).expect("a copy of the runtime");
        runtime.program = copy;
        runtime
    }

    /// The program under test.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The state root of this test.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory for this test's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `runtime --root ROOT ARGS…`
    #[must_use]
    pub fn call<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> Call {
        self.command(&self.program).arg("--root").arg(&self.root).args(&self.options).args(args)
    }

    /// `runtime --root ROOT` as it was built: root's copy may have been damaged by a container.
    pub(crate) fn whole(&self) -> Call {
        let program = if self.owner().is_some() { self.program.clone() } else { program() };
        self.command(&program).arg("--root").arg(&self.root)
    }

    /// `sh -c SCRIPT` with the runtime as `$0` and `--root ROOT … ARGS…` as `$@`: for what only a
    /// shell can arrange, such as further descriptors.
    #[must_use]
    pub fn through_shell<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, script: &str, args: I) -> Call {
        let call = Call::new("/bin/sh", self.dir.path()).arg("-c").arg(script);
        call.arg(&self.program).arg("--root").arg(&self.root).args(&self.options).args(args)
    }
}
