//! One execution of `criu swrk`: what is asked, what it notifies of, and how it ends.
//!
//! CRIU runs with all our privileges, outside of every container. It reads images, which are not trusted, and
//! we believe no more of its answers than what is checked afterwards.

use std::convert::Infallible;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::stat::Mode;
use prost::Message;

use crate::error::{Context, Error, Result, printable};
use crate::sys::{self, Child};

use super::messages::{Features, Kind, Opts, Request, Response, Version};

/// The oldest version that this runtime works with: external pid namespaces, and the notification `status-ready`.
const OLDEST: i32 = 31_500;
/// Longest answer: CRIU's own are below 40 KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// The number that CRIU has its socket as.
const SOCKET: u8 = 3;
/// The number of the first descriptor that is passed besides the socket.
pub const FIRST_FD: i32 = 4;

/// A CRIU that waits for requests.
pub struct Criu {
    child: Child,
    socket: OwnedFd,
    /// Until it is executed: a word to do so, and what has gone wrong.
    gate: Option<OwnedFd>,
    answer: Vec<u8>,
    ended: bool,
}

/// How CRIU is executed.
#[derive(Default)]
pub struct Execution {
    /// Descriptors that it has as 4 and so on. It takes each once, under one name.
    pub fds: Vec<OwnedFd>,
    /// It has our standard streams, which restored processes inherit.
    pub streams: bool,
    /// It ends with us: for a restore. A dump that is broken off leaves processes in a bad state: there it is to
    /// notice by itself that we have gone.
    pub ends_with_us: bool,
    /// Mounts that only CRIU sees, the root of what is restored among them.
    pub mounts: Option<OwnMounts>,
    /// A cgroup namespace of its own, which what it restores inherits: where it leaves cgroups alone it makes none.
    pub cgroup_namespace: bool,
    /// What it restores has no_new_privs, as it has: CRIU before 4.0 does not restore that.
    pub no_new_privileges: bool,
}

/// Mounts in a mount namespace of CRIU's own: the host's does not change, whoever is killed when.
pub struct OwnMounts {
    /// The directory that a new tmpfs covers, in which the others are.
    pub base: PathBuf,
    /// The mount that the directory is on, which becomes private there: the host does not get the new ones.
    pub below: PathBuf,
    /// Trees, detached, with the names that they have there.
    pub trees: Vec<(String, OwnedFd)>,
    /// The name of a cgroup file system there, seen from CRIU's cgroup namespace.
    pub cgroup: Option<String>,
}

impl OwnMounts {
    /// Where a tree is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn make(&self) -> Result<()> {
        let place = || format!("mount {}", self.base.display());
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
        let nothing = None::<&str>;
        nix::mount::mount(nothing, &self.below, nothing, MsFlags::MS_PRIVATE, nothing)
            .context(format_args!("make {} private", self.below.display()))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        nix::mount::mount(Some("tmpfs"), &self.base, Some("tmpfs"), flags, Some("mode=755")).context(place())?;
        nix::mount::mount(nothing, &self.base, nothing, MsFlags::MS_PRIVATE, nothing).context(place())?;
        if let Some(at) = self.cgroup.as_ref().map(|name| self.path(name)) {
            std::fs::create_dir(&at).context(format_args!("mkdir {}", at.display()))?;
            // In a cgroup namespace of its own this changes no option of the host's.
            nix::mount::mount(Some("cgroup"), &at, Some("cgroup2"), flags, nothing)
                .context(format_args!("mount cgroup2 on {}", at.display()))?;
        }
        for (name, tree) in &self.trees {
            let at = self.path(name);
            let is_directory = nix::sys::stat::fstat(tree).is_ok_and(|stat| {
                nix::sys::stat::SFlag::from_bits_truncate(stat.st_mode & nix::sys::stat::SFlag::S_IFMT.bits())
                    == nix::sys::stat::SFlag::S_IFDIR
            });
            let made = match is_directory {
                true => std::fs::create_dir(&at),
                false => std::fs::File::create_new(&at).map(drop),
            };
            made.context(format_args!("make {}", at.display()))?;
            sys::child::attach_mount(tree.as_fd(), &text(&at)?).context(format_args!("move_mount {}", at.display()))?;
        }
        Ok(())
    }
}

/// Something that CRIU says between a request and its answer.
pub struct Notice {
    /// `pre-dump`, `post-restore` and so on.
    pub script: String,
    /// The process that it is about.
    pub pid: Option<i32>,
    /// What came with it: the master of a terminal.
    pub fd: Option<OwnedFd>,
}

/// What CRIU has answered to a request that it did not fulfil.
#[derive(Debug)]
pub struct Failure {
    /// Of the answer.
    pub kind: &'static str,
    /// CRIU's errno; 0: none.
    pub errno: i32,
    /// Its own text, where it has one.
    pub text: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "criu failed: type {} errno {}", self.kind, self.errno)
    }
}

/// A program in a directory of `PATH`.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        path.is_absolute()
            && std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(is_program)
}

/// Where CRIU is.
///
/// # Errors
/// It is in no directory of `PATH`.
pub fn find() -> Result<PathBuf> {
    program("criu").ok_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = printable(&String::from_utf8_lossy(path.as_bytes()));
        Error::new("CRIU version check failed: there is no program criu in PATH")
            .remedy(format_args!("install the package criu; PATH is {path}"))
    })
}

impl Criu {
    /// Makes the process that will be CRIU: it waits for [`Criu::execute`].
    ///
    /// # Errors
    /// There is none, or no process can be made.
    pub fn prepare(execution: Execution) -> Result<Criu> {
        let program = find()?;
        let pair =
            || socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).context("socketpair");
        let ((ours, theirs), (gate, their_gate)) = (pair()?, pair()?);
        let parent = nix::unistd::getpid();
        let child = sys::in_copy(0, || {
            let mut word = [0];
            // Closed: we have ended, or think better of it.
            if sys::receive(their_gate.as_fd(), &mut word).map(|(length, _)| length) != Ok(1) {
                return 1;
            }
            let Err(error) = become_criu(&program, theirs, execution, parent);
            let _ = send(their_gate.as_raw_fd(), error.to_string().as_bytes(), MsgFlags::MSG_NOSIGNAL);
            1
        });
        let child = child.context("clone3")?;
        Ok(Criu { child, socket: ours, gate: Some(gate), answer: vec![0; MAX_ANSWER], ended: false })
    }

    /// Has it executed.
    ///
    /// # Errors
    /// What the process could not do.
    pub fn execute(&mut self) -> Result<()> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        send(gate.as_raw_fd(), &[1], MsgFlags::MSG_NOSIGNAL).context("send to CRIU's process")?;
        let mut text = [0; 1024];
        // The end of the channel is that of the process that had it: the program runs.
        match sys::receive(gate.as_fd(), &mut text).context("receive from CRIU's process")?.0 {
            0 => Ok(()),
            length => Err(Error::new(String::from_utf8_lossy(&text[..length]))),
        }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Asks which version it is; it goes on waiting.
    ///
    /// # Errors
    /// It is too old, or does not speak.
    pub fn version(&mut self) -> Result<Version> {
        let request = Request { kind: Kind::Version as i32, keep_open: Some(true), ..Request::default() };
        let answer = self.ask(&request, &mut |_| Ok(())).context("CRIU version check failed")?;
        let answer = answer.map_err(|failure| Error::new(format!("CRIU version check failed: {failure}")))?;
        let version = answer.version.ok_or_else(|| Error::new("CRIU version check failed: it names no version"))?;
        if version.number() < OLDEST {
            return Err(Error::new(format!("CRIU version {version} is too old: at least 3.15 is needed"))
                .remedy("install a newer package criu"));
        }
        Ok(version)
    }

    /// Asks which of these features the kernel has; it goes on waiting.
    ///
    /// # Errors
    /// The channel broke, or CRIU could not find out.
    pub fn features(&mut self, features: Features) -> Result<Features> {
        let kind = Kind::FeatureCheck as i32;
        let request = Request { kind, keep_open: Some(true), features: Some(features), ..Request::default() };
        let answer = self.ask(&request, &mut |_| Ok(()))?;
        answer.map(|answer| answer.features.unwrap_or_default()).map_err(|failure| Error::new(failure.to_string()))
    }

    /// Sends a request and hears notifications until the answer. What `notice` refuses is refused to CRIU, too.
    ///
    /// # Errors
    /// The channel broke, or `notice` has refused: its own error. A failure of CRIU's is the inner one.
    pub fn request(
        &mut self,
        kind: Kind,
        opts: Opts,
        notice: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<std::result::Result<Response, Failure>> {
        self.ask(&Request { kind: kind as i32, opts: Some(opts), ..Request::default() }, notice)
    }

    fn ask(
        &mut self,
        request: &Request,
        notice: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<std::result::Result<Response, Failure>> {
        self.send(request)?;
        let mut refused = None;
        loop {
            let (response, fd) = self.receive().map_err(|error| refused.take().unwrap_or(error))?;
            if response.kind != Kind::Notify as i32 {
                return match refused {
                    Some(error) => Err(error),
                    None => Ok(outcome(request.kind, response)),
                };
            }
            let notify = response.notify.unwrap_or_default();
            let notice_of = Notice { script: notify.script.unwrap_or_default(), pid: notify.pid, fd };
            let answer = if response.success { notice(notice_of) } else { Ok(()) };
            let success = answer.is_ok();
            refused = refused.or(answer.err());
            let answer = Request { kind: Kind::Notify as i32, notify_success: Some(success), ..Request::default() };
            self.send(&answer).map_err(|error| refused.take().unwrap_or(error))?;
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        send(self.socket.as_raw_fd(), &request.encode_to_vec(), MsgFlags::MSG_NOSIGNAL)
            .context("send to CRIU")
            .map(drop)
    }

    fn receive(&mut self) -> Result<(Response, Option<OwnedFd>)> {
        let (length, mut fds) = sys::receive(self.socket.as_fd(), &mut self.answer).context("receive from CRIU")?;
        if length == 0 {
            return Err(Error::new("criu ended without an answer").remedy("was it killed?"));
        }
        let response = Response::decode(&self.answer[..length])
            .map_err(|error| Error::new(format!("criu said what is no answer of its: {error}")))?;
        Ok((response, fds.pop()))
    }

    /// Hangs up, and waits until it has ended.
    pub fn finish(mut self) {
        self.gate = None;
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        self.ended = true;
        let _ = sys::wait_for(self.child.pid);
    }
}

impl Drop for Criu {
    /// One that is given up is killed.
    fn drop(&mut self) {
        if !self.ended {
            let _ = sys::pidfd_send_signal(self.child.pidfd.as_fd(), nix::libc::SIGKILL);
            let _ = sys::wait_for(self.child.pid);
        }
    }
}

/// Turns this copy of the runtime into CRIU.
fn become_criu(program: &Path, socket: OwnedFd, execution: Execution, parent: nix::unistd::Pid) -> Result<Infallible> {
    if execution.ends_with_us {
        sys::child::end_with_parent(parent).context("prctl PR_SET_PDEATHSIG")?;
    }
    if execution.cgroup_namespace {
        nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare the cgroup namespace")?;
    }
    execution.mounts.as_ref().map_or(Ok(()), OwnMounts::make)?;
    if execution.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().context("prctl PR_SET_NO_NEW_PRIVS")?;
    }
    if !execution.streams {
        let null =
            nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).context("/dev/null")?;
        nix::unistd::dup2_stdin(&null)
            .and_then(|()| nix::unistd::dup2_stdout(&null))
            .and_then(|()| nix::unistd::dup2_stderr(&null))
            .context("dup2")?;
    }
    let fds: Vec<OwnedFd> = std::iter::once(socket).chain(execution.fds).collect();
    sys::child::place_descriptors(&fds).context("pass descriptors")?;
    sys::restore_signals();
    let path = text(program)?;
    let number = std::ffi::CString::new(SOCKET.to_string()).unwrap_or_default();
    nix::unistd::execv(&path, &[path.as_c_str(), c"swrk", number.as_c_str()])
        .context(format_args!("execute {}", program.display()))
}

fn text(path: &Path) -> Result<std::ffi::CString> {
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(format!("{}: zero byte", path.display())))
}

fn outcome(asked: i32, response: Response) -> std::result::Result<Response, Failure> {
    if response.success && response.kind == asked {
        return Ok(response);
    }
    let kind = Kind::try_from(response.kind).map_or("unknown", Kind::name);
    let text = response.cr_errmsg.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Err(Failure { kind, errno: response.cr_errno.unwrap_or(0), text })
}
