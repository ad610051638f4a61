//! What is said of `checkpoint` and `restore`?

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::path;

/// Options of `checkpoint`.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Checkpoint {
    /// Directory for the images [default: checkpoint]
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub image_path: Option<PathBuf>,
    /// Directory for CRIU's log and statistics [default: that of the images]
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub work_path: Option<PathBuf>,
    /// Directory of an earlier checkpoint, relative to the images: pages that have not changed since stay there
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// Allow established TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Leave out TCP connections that are being established
    #[arg(long)]
    pub tcp_skip_in_flight: bool,
    /// Leave out established TCP connections
    #[arg(long)]
    pub tcp_close: bool,
    /// Allow Unix sockets to programs outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow a session leader or a terminal of outside
    #[arg(long)]
    pub shell_job: bool,
    /// Save files that were removed while open, by links in the file system
    #[arg(long)]
    pub link_remap: bool,
    /// Save file locks
    #[arg(long)]
    pub file_locks: bool,
    /// Save memory only, and let the container run on
    #[arg(long)]
    pub pre_dump: bool,
    /// Serve memory to a lazy restore instead of writing it
    #[arg(long)]
    pub lazy_pages: bool,
    /// Write a zero byte to descriptor N when lazy pages can be had
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub status_fd: Option<i32>,
    /// Send memory to a page server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// Remove pages from the earlier checkpoint that are in the new one
    #[arg(long)]
    pub auto_dedup: bool,
    /// What CRIU does with cgroups: ignore, soft, full or strict [default: ignore]
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// Leave namespaces of a kind empty: network, which is always done
    #[arg(long, value_name = "KIND", action = ArgAction::Append)]
    pub empty_ns: Vec<String>,
    /// How connections are kept from packets: iptables, nftables or skip
    #[arg(long, value_name = "METHOD")]
    pub network_lock: Option<String>,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `restore`.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Restore {
    /// Unix socket that receives the terminal's master
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub console_socket: Option<PathBuf>,
    /// Directory of the images [default: checkpoint]
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub image_path: Option<PathBuf>,
    /// Directory for CRIU's log and statistics [default: that of the images]
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub work_path: Option<PathBuf>,
    /// The bundle's directory [default: the current one]
    #[arg(short, long, value_name = "DIR", value_parser = path)]
    pub bundle: Option<PathBuf>,
    /// Allow established TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Restore TCP connections as closed ones
    #[arg(long)]
    pub tcp_close: bool,
    /// Allow Unix sockets to programs outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow a session leader or a terminal of outside
    #[arg(long)]
    pub shell_job: bool,
    /// Restore file locks
    #[arg(long)]
    pub file_locks: bool,
    /// What CRIU does with cgroups: ignore, soft, full or strict [default: ignore]
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write to FILE the pid of the container's process
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub pid_file: Option<PathBuf>,
    /// Do not become the subreaper of the container's orphaned processes
    #[arg(long)]
    pub no_subreaper: bool,
    /// Give named pipes among the standard streams to the program's user, too: those that the shim hands on
    #[arg(long, hide = true)]
    pub give_fifos: bool,
    /// Taken for runc's sake: CRIU enters the root by itself
    #[arg(long)]
    pub no_pivot: bool,
    /// Leave namespaces of a kind empty: network, which is always done
    #[arg(long, value_name = "KIND", action = ArgAction::Append)]
    pub empty_ns: Vec<String>,
    /// Remove pages from the images as they are restored
    #[arg(long)]
    pub auto_dedup: bool,
    /// Have memory sent as it is needed, by criu lazy-pages
    #[arg(long)]
    pub lazy_pages: bool,
    /// LSM profile instead of the saved one: apparmor:NAME or selinux:LABEL
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// SELinux label for mounts that have one
    #[arg(long, value_name = "LABEL")]
    pub lsm_mount_context: Option<String>,
    /// How connections are kept from packets: iptables, nftables or skip
    #[arg(long, value_name = "METHOD")]
    pub network_lock: Option<String>,
    /// A new name for the container, of letters, digits and the characters _+.-
    #[arg(value_name = "ID")]
    pub id: String,
}
