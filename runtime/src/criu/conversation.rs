//! One execution of `criu swrk`: what is asked, what it notifies of, and how it ends.
//!
//! CRIU runs with all our privileges, outside of every container. It reads images, which are not trusted, and
//! we believe no more of its answers than what is checked afterwards.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use prost::Message;

use crate::error::{Context, Error, Result, printable};
use crate::sys;

use super::messages::{Kind, Opts, Request, Response, Version};

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
    answer: Vec<u8>,
}

/// How CRIU is executed.
#[derive(Default)]
pub struct Execution {
    /// Descriptors that it has as 4 and so on: three at most.
    pub fds: Vec<OwnedFd>,
    /// It has our standard streams, which restored processes inherit.
    pub streams: bool,
    /// It ends with us: for a restore. A dump that is broken off leaves processes in a bad state: there it is to
    /// notice by itself that we have gone.
    pub ends_with_us: bool,
    /// The root of what is restored, in a mount namespace of CRIU's own.
    pub root: Option<sys::child::OwnRoot>,
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
        write!(f, "criu failed: type {} errno {}", self.kind, self.errno)?;
        self.text.iter().try_for_each(|text| write!(f, ": {}", printable(text)))
    }
}

/// Where CRIU is.
///
/// # Errors
/// It is in no directory of `PATH`.
pub fn find() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        path.is_absolute()
            && std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|dir| dir.join("criu")).find(is_program).ok_or_else(|| {
        let path = printable(&String::from_utf8_lossy(path.as_bytes()));
        Error::new("CRIU version check failed: there is no program criu in PATH")
            .remedy(format_args!("install the package criu; PATH is {path}"))
    })
}

impl Criu {
    /// Executes it.
    ///
    /// # Errors
    /// There is none, or it cannot be executed.
    pub fn start(execution: Execution) -> Result<Criu> {
        let program = find()?;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).context("socketpair")?;
        let mut command = Command::new(&program);
        command.arg("swrk").arg(SOCKET.to_string());
        if !execution.streams {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        sys::child::restore_signals(&mut command);
        if execution.ends_with_us {
            sys::child::die_with_parent(&mut command);
        }
        if let Some(root) = execution.root {
            sys::child::with_own_root(&mut command, root);
        }
        let fds = std::iter::once(theirs).chain(execution.fds).collect();
        sys::child::pass_descriptors(&mut command, fds);
        let child = command.spawn().context(format_args!("execute {}", program.display()))?;
        Ok(Criu { child, socket: ours, answer: vec![0; MAX_ANSWER] })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
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
            let Version { major, minor, sublevel } = version;
            let found = format!("{major}.{minor}.{}", sublevel.unwrap_or(0));
            return Err(Error::new(format!("CRIU version {found} is too old: at least 3.15 is needed"))
                .remedy("install a newer package criu"));
        }
        Ok(version)
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
    pub fn finish(self) {
        let Criu { mut child, socket, .. } = self;
        drop(socket);
        let _ = child.wait();
    }

    /// Kills it.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.finish();
    }
}

fn outcome(asked: i32, response: Response) -> std::result::Result<Response, Failure> {
    if response.success && response.kind == asked {
        return Ok(response);
    }
    let kind = Kind::try_from(response.kind).map_or("unknown", Kind::name);
    let text = response.cr_errmsg.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Err(Failure { kind, errno: response.cr_errno.unwrap_or(0), text })
}
