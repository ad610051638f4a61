//! How is the server started?
//!
//! `start` binds the socket, spawns a server that inherits it, and prints its address. A task of a group (a pod) gets
//! the address of the group's server, if that listens.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cleat::error::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::Mode;
use prost::Message;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::args::Args;
use crate::messages::{Any, BootstrapParams, Options, ProcessRequest, Request};
use crate::options;

/// Where sockets are, unless containerd says otherwise.
const SOCKET_DIR: &str = "/run/containerd/s";
/// How long a server may take to answer (ms).
const ANSWER: u16 = 3000;
/// In the bundle: where its server listens.
const ADDRESS: &str = "address";
/// Annotations that name a group, in order.
const GROUPS: [&str; 3] =
    ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"];

/// What containerd writes to standard input.
#[derive(Debug, Default, PartialEq)]
pub struct StdinParams {
    /// The runtime's options.
    pub options: Options,
    /// Where sockets are to be.
    pub socket_dir: Option<String>,
    /// Where events are published.
    pub ttrpc_address: Option<String>,
    /// It was a `BootstrapParams`.
    pub is_bootstrap: bool,
}

/// containerd writes a `BootstrapParams` since 2.3, and an `Any` before. Either may decode as the other: the former
/// repeats what the command line says.
///
/// # Errors
/// There are options that we cannot read.
pub fn given(input: &[u8], args: &Args) -> Result<StdinParams> {
    if let Ok(params) = BootstrapParams::decode(input) {
        if params.instance_id == args.id && params.namespace == args.namespace {
            let mut found = Options::default();
            for any in params.extensions.iter().filter_map(|extension| extension.value.as_ref()) {
                found = options::read(any)?.unwrap_or(found);
            }
            return Ok(StdinParams {
                options: found,
                socket_dir: params.socket_dir.filter(|dir| !dir.is_empty()),
                ttrpc_address: Some(params.ttrpc_address).filter(|address| !address.is_empty()),
                is_bootstrap: true,
            });
        }
    }
    let any = Any::decode(input).ok();
    let options = any.as_ref().map_or(Ok(None), options::read)?;
    Ok(StdinParams { options: options.unwrap_or_default(), ..StdinParams::default() })
}

/// The part of config.json that is read here.
#[derive(Deserialize)]
struct PodAnnotations {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The group of a task, which has one server; it is the task's id if no annotation names one.
fn group(config: &Path, id: &str) -> Result<String> {
    let text = cleat::spec::read_json(config)?;
    let spec: PodAnnotations = cleat::spec::parse("config.json", &text)?;
    Ok(group_of(&spec.annotations, id).to_owned())
}

/// The same by annotations.
pub fn group_of<'a>(annotations: &'a BTreeMap<String, String>, id: &'a str) -> &'a str {
    GROUPS.iter().find_map(|name| annotations.get(*name)).map_or(id, String::as_str)
}

fn socket_path(dir: &Path, args: &Args, group: &str) -> PathBuf {
    let name = Path::new(&args.address).join(&args.namespace).join(group);
    let digest = Sha256::digest(name.to_string_lossy().as_bytes());
    dir.join(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Starts a server, or finds the one of the group, and prints its address.
///
/// # Errors
/// config.json cannot be read, or the socket cannot be made.
pub fn start(args: &Args) -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin().take(1 << 20).read_to_end(&mut input).context("read standard input")?;
    let given = given(&input, args)?;
    if !given.options.task_api_address.is_empty() {
        return print(&given.options.task_api_address, &given);
    }
    check_runtime(&given.options.binary_name)?;
    let dir = PathBuf::from(given.socket_dir.as_deref().unwrap_or(SOCKET_DIR));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .context(format_args!("mkdir {}", dir.display()))?;
    let path = socket_path(&dir, args, &group(Path::new("config.json"), &args.id)?);
    let address = format!("unix://{}", path.display());
    let _one_at_a_time = lock(&dir)?;
    let Some(listener) = listen(&path, &args.id)? else {
        write_address(&address)?;
        return print(&address, &given);
    };
    // Before the server is there: `delete` finds the socket by it if the server is killed.
    let outcome = write_address(&address).and_then(|()| spawn(args, &given, &path, listener));
    if outcome.is_err() {
        let _ = std::fs::remove_file(&path);
    }
    outcome?;
    print(&address, &given)
}

/// Refuses another runtime, before anything is created: the shim reads cleat's state itself.
fn check_runtime(binary: &str) -> Result<()> {
    if binary.is_empty() {
        return Ok(());
    }
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output = output.context(format_args!("BinaryName {binary}: execute"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A wrapper that does not pass the option on may execute cleat all the same.
    match text.lines().next().filter(|_| output.status.success()) {
        Some(version) if !text.contains("cleat") => Err(Error::new(format!(
            "BinaryName {binary}: it is {version:?}; this shim needs cleat, io.containerd.runc.v2 is for others"
        ))),
        _ => Ok(()),
    }
}

/// Two starts of a group at once must not remove each other's socket, and a server that exits must not unlink it
/// when a start has just found it.
fn lock(dir: &Path) -> Result<Flock<OwnedFd>> {
    lock_with(dir, FlockArg::LockExclusive)
}

/// The same for a server, which does not wait; `None`: a start is under way.
pub fn try_lock(dir: &Path) -> Option<Flock<OwnedFd>> {
    lock_with(dir, FlockArg::LockExclusiveNonblock).ok()
}

fn lock_with(dir: &Path, how: FlockArg) -> Result<Flock<OwnedFd>> {
    let fd = nix::fcntl::open(
        dir,
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    let fd = fd.context(format_args!("open {}", dir.display()))?;
    let stat = nix::sys::stat::fstat(&fd).context(format_args!("stat {}", dir.display()))?;
    if stat.st_uid != nix::unistd::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(Error::new(format!(
            "socket directory {}: others may write there; it must be ours, and of mode 0700",
            dir.display()
        )));
    }
    Flock::lock(fd, how).map_err(|(_, errno)| errno).context(format_args!("lock {}", dir.display()))
}

/// A non-blocking socket.
fn probe() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).context("socket")
}

/// Announces a task, for which a server that is exiting stays.
fn announce(peer: &OwnedFd, id: &str) {
    let payload = ProcessRequest { id: id.into(), exec_id: String::new() }.encode_to_vec();
    let (service, method) = ("containerd.task.v3.Task".into(), "Connect".into());
    let request = Request { service, method, payload, ..Request::default() };
    // A server that cannot take it is exiting.
    let _ = socket::send(peer.as_raw_fd(), &crate::ttrpc::request(1, &request), socket::MsgFlags::MSG_NOSIGNAL);
}

/// A socket that listens; `None`: a server listens there, and the task was announced to it.
fn listen(path: &Path, id: &str) -> Result<Option<OwnedFd>> {
    let place = format!("socket {}", path.display());
    let address = UnixAddr::new(path).context(&place)?;
    let new = || socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("socket");
    let bind = |fd: &OwnedFd| {
        // Before it has a name: a process that can connect controls the containers.
        nix::sys::stat::fchmod(fd, Mode::from_bits_truncate(0o600))?;
        socket::bind(fd.as_raw_fd(), &address)
    };
    let listener = new()?;
    match bind(&listener) {
        Ok(()) => {}
        Err(Errno::EADDRINUSE) => {
            let peer = probe()?;
            match socket::connect(peer.as_raw_fd(), &address) {
                Ok(()) => {
                    announce(&peer, id);
                    return Ok(None);
                }
                // Its queue is full, so it is not exiting.
                Err(Errno::EAGAIN) => return Ok(None),
                Err(_) => {}
            }
            // Left over from a server that was killed.
            std::fs::remove_file(path).context(format_args!("remove {}", path.display()))?;
            bind(&listener).context(format_args!("{place}: bind"))?;
        }
        Err(errno) => return Err(errno).context(format_args!("{place}: bind")),
    }
    let backlog = Backlog::new(128).context("listen")?;
    socket::listen(&listener, backlog).context(format_args!("{place}: listen"))?;
    Ok(Some(listener))
}

fn spawn(args: &Args, given: &StdinParams, path: &Path, listener: OwnedFd) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("containerd-shim-cleat-v2");
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &args.address]);
    command.arg("-socket").arg(path);
    if args.debug {
        command.arg("-debug");
    }
    if let Some(address) = &given.ttrpc_address {
        command.env("TTRPC_ADDRESS", address);
    }
    // What containerd forgot to close must not stay open after its end.
    cleat::sys::cloexec_from(3).context("close_range")?;
    // Its own group: signals to containerd's must not reach it.
    command.process_group(0).stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(log());
    // The server, and so its containers, share a core with no other process.
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        cleat::sys::child::new_core_cookie().context("SCHED_CORE: prctl PR_SCHED_CORE_CREATE")?;
    }
    let mut child = command.arg("serve").spawn().context("execute the server")?;
    let moved = join_cgroup(&given.options.shim_cgroup, child.id());
    moved.and_then(|()| adjust_oom_score(child.id())).inspect_err(|_| drop(child.kill()))
}

/// containerd's log: a fifo in the bundle, which may have no reader.
fn log() -> Stdio {
    use nix::fcntl::OFlag;
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let is_fifo = std::fs::metadata("log").is_ok_and(|metadata| {
        use std::os::unix::fs::FileTypeExt;
        metadata.file_type().is_fifo()
    });
    match nix::fcntl::open("log", flags, Mode::empty()) {
        Ok(log) if is_fifo => log.into(),
        _ => Stdio::null(),
    }
}

/// `ShimCgroup`: relative to the mount point.
fn join_cgroup(path: &str, pid: u32) -> Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    let mount = cleat::plan::host::Cgroup::mount_point()
        .ok_or_else(|| Error::new(format!("shim cgroup {path}: no cgroup v2 tree is mounted here")))?;
    let dir = mount.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(&dir).context(format_args!("shim cgroup {}: mkdir", dir.display()))?;
    std::fs::write(dir.join("cgroup.procs"), pid.to_string())
        .context(format_args!("shim cgroup {}: write cgroup.procs", dir.display()))
}

/// The kernel OOM-kills the shim rather than containerd.
fn adjust_oom_score(pid: u32) -> Result<()> {
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").context("read /proc/self/oom_score_adj")?;
    let score: i32 = ours.trim().parse().unwrap_or(0);
    let score = (score + 1).min(1000);
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
        .context(format_args!("write /proc/{pid}/oom_score_adj"))
}

/// Whether that is the socket of a server that has ended. While it exits, the kernel still accepts connections and then
/// closes them; so does a server with too many peers, which is asked again.
fn is_dead(path: &Path) -> bool {
    let Ok(address) = UnixAddr::new(path) else { return false };
    for _ in 0..3 {
        let Ok(peer) = probe() else { return false };
        match socket::connect(peer.as_raw_fd(), &address) {
            Ok(()) if answers(&peer) => return false,
            Ok(()) => {}
            other => return other == Err(Errno::ECONNREFUSED),
        }
    }
    false
}

/// Whether the server answers, or is silent but does not close the connection.
fn answers(peer: &OwnedFd) -> bool {
    let request = Request { service: "containerd.task.v3.Task".into(), method: "State".into(), ..Request::default() };
    let _ = socket::send(peer.as_raw_fd(), &crate::ttrpc::request(1, &request), socket::MsgFlags::MSG_NOSIGNAL);
    let mut fds = [PollFd::new(peer.as_fd(), PollFlags::POLLIN)];
    let ready = nix::poll::poll(&mut fds, PollTimeout::from(ANSWER)).is_ok_and(|count| count > 0);
    !ready || socket::recv(peer.as_raw_fd(), &mut [0; 1], socket::MsgFlags::empty()).is_ok_and(|len| len > 0)
}

/// Removes the socket of a bundle whose server was killed, unless another server listens there. Before that, with the
/// lock held, calls `killed` with the server's group.
///
/// containerd may have removed the bundle already: then it is where a task without a group has it.
pub fn remove_stale_socket(bundle: &Path, args: &Args, killed: impl FnOnce(&str)) {
    let path = match std::fs::read_to_string(bundle.join(ADDRESS)) {
        Ok(address) => PathBuf::from(address.trim_start_matches("unix://")),
        Err(_) => socket_path(Path::new(SOCKET_DIR), args, &args.id),
    };
    let Some(_one_at_a_time) = path.parent().and_then(|dir| lock(dir).ok()) else { return };
    if is_dead(&path) {
        killed(&group(&bundle.join("config.json"), &args.id).unwrap_or_else(|_| args.id.clone()));
        let _ = std::fs::remove_file(path);
    }
}

/// containerd before 1.7 looks for it there, too.
fn write_address(address: &str) -> Result<()> {
    cleat::container::write_atomically(Path::new(ADDRESS), address.as_bytes(), 0o600)
}

fn print(address: &str, given: &StdinParams) -> Result<()> {
    let knows_versions = std::env::var_os("MAX_SHIM_VERSION").is_some();
    let text = answer(address, knows_versions, given.is_bootstrap);
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}

/// containerd before 1.7 takes the bare address. 1.7 takes version 2 only; 2.0 to 2.2 would take 3, and cannot be
/// distinguished.
fn answer(address: &str, knows_versions: bool, is_bootstrap: bool) -> String {
    if !knows_versions && !is_bootstrap {
        return address.to_owned();
    }
    let version = if is_bootstrap { 3 } else { 2 };
    serde_json::json!({ "version": version, "address": address, "protocol": "ttrpc" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Extension;

    fn args() -> Args {
        Args { id: "c1".into(), namespace: "n".into(), address: "/run/c.sock".into(), ..Args::default() }
    }

    #[test]
    fn options_come_in_either_message() {
        let options = Options { root: "/run/x".into(), systemd_cgroup: true, ..Options::default() };
        let any = Any::of("containerd.runc.v1.Options", &options);
        assert_eq!(given(&any.encode_to_vec(), &args()).unwrap().options, options);
        let params = BootstrapParams {
            instance_id: "c1".into(),
            namespace: "n".into(),
            ttrpc_address: "/t".into(),
            extensions: vec![Extension { value: Some(any) }],
            socket_dir: Some("/s".into()),
            ..BootstrapParams::default()
        };
        let read = given(&params.encode_to_vec(), &args()).unwrap();
        assert_eq!((read.options, read.socket_dir.as_deref()), (options, Some("/s")));
        assert_eq!(given(b"", &args()).unwrap(), StdinParams::default());
        assert_eq!(given(b"\xff\xff nonsense", &args()).unwrap(), StdinParams::default());
        let unreadable = Any { type_url: "containerd.runc.v1.Options".into(), value: b"\xff".to_vec() };
        assert!(given(&unreadable.encode_to_vec(), &args()).is_err());
    }

    #[test]
    fn each_containerd_gets_an_answer_that_it_takes() {
        assert_eq!(answer("unix:///s", false, false), "unix:///s");
        let version = |bootstrap| {
            let json: serde_json::Value = serde_json::from_str(&answer("unix:///s", true, bootstrap)).unwrap();
            assert_eq!((json["address"].as_str(), json["protocol"].as_str()), (Some("unix:///s"), Some("ttrpc")));
            json["version"].as_u64()
        };
        assert_eq!((version(false), version(true)), (Some(2), Some(3)));
    }

    #[test]
    fn a_group_has_one_socket() {
        let dir = Path::new("/run/containerd/s");
        let mut other = args();
        other.id = "c2".into();
        assert_eq!(socket_path(dir, &args(), "pod"), socket_path(dir, &other, "pod"));
        assert_ne!(socket_path(dir, &args(), "c1"), socket_path(dir, &args(), "c2"));
        other.namespace = "m".into();
        assert_ne!(socket_path(dir, &args(), "pod"), socket_path(dir, &other, "pod"));
    }
}
