//! What is asked of the plan, and which descriptors and mappings does it need?

use std::path::PathBuf;

use cleat_plan::{Fault, FdIndex, MountFd};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec;

/// What the caller asked for besides config.json.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The container's id, already checked.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// The name of a new session keyring.
    pub keyring: Option<String>,
    /// Descriptors from 3 on that the program gets.
    pub preserve_fds: u32,
    /// How many of them `LISTEN_FDS` counts.
    pub listen_fds: Option<u32>,
    /// Their names, `LISTEN_FDNAMES`.
    pub listen_fdnames: Option<String>,
    /// `start` is a later command.
    pub start_later: bool,
    /// A directory of the host with the socket for `NOTIFY_SOCKET`.
    pub notify_dir: Option<PathBuf>,
    /// A step made to fail on purpose.
    pub fault: Option<Fault>,
}

/// Where a descriptor comes from that goes with the plan of a new container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum CreateFd {
    /// A namespace file.
    Namespace(PathBuf),
    /// The new network namespace.
    Network,
    /// The socket on which the init waits for `start`.
    StartListener,
    /// A file that gets what hooks print.
    HookLog(PathBuf),
}

/// Where a descriptor comes from that goes with the plan of another process in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecFd {
    /// The pidfd of the container's first process.
    ContainerPidfd,
    /// The root directory of the container's first process.
    ContainerRoot,
}

/// A detached copy of a mount that this process opens for the init.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tree {
    /// Absolute path.
    pub path: PathBuf,
    /// With the mounts below.
    pub recursive: bool,
    /// A symbolic link itself, not what it leads to.
    pub nofollow: bool,
    /// Owners are mapped.
    pub idmap: Option<IdmapSource>,
    /// Of the mounts below, too.
    pub idmap_recursive: bool,
}

/// Which user namespace maps the owners.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum IdmapSource {
    /// The container's.
    Container,
    /// One with these mappings.
    Mappings {
        /// Users.
        uids: Vec<IdMap>,
        /// Groups.
        gids: Vec<IdMap>,
    },
}

/// One line of `uid_map` or `gid_map` (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

impl From<spec::IdMapping> for IdMap {
    fn from(m: spec::IdMapping) -> IdMap {
        IdMap { container_id: m.container_id, host_id: m.host_id, size: m.size }
    }
}

/// The mappings of a new user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdMap>,
    /// Groups.
    pub gids: Vec<IdMap>,
    /// Users other than the caller: where the kernel refuses, newuidmap(1) maps what is delegated.
    pub uids_delegated: bool,
    /// Groups other than the caller's; newgidmap(1).
    pub gids_delegated: bool,
    /// `setgroups` must be denied before an unprivileged process may map its own group.
    pub deny_setgroups: bool,
}

/// Adds a descriptor and returns its place.
pub(crate) fn push_fd<T>(fds: &mut Vec<T>, source: T) -> Result<FdIndex> {
    let index = u16::try_from(fds.len()).map_err(|_| Error::at("linux.namespaces", "too many of them"))?;
    fds.push(source);
    Ok(FdIndex(index))
}

/// Adds a mount and returns its place.
pub(crate) fn push_mount(mounts: &mut Vec<Tree>, tree: Tree) -> Result<MountFd> {
    let index = u16::try_from(mounts.len()).map_err(|_| Error::at("mounts", "too many of them"))?;
    mounts.push(tree);
    Ok(MountFd(index))
}
