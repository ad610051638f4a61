//! What did the caller type?
//!
//! The command line of runc: the same commands, options and defaults. clap parses it and writes the help. What
//! clap cannot do is done before: long options with one dash, as Go programs take them, and the end of options at
//! the first word that is none (`exec ID ls -l`). Only the command that was called is built, which keeps the
//! start-up short.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};

pub use checkpoint::{Checkpoint, Restore};

use go_style::go_style;
use hints::{habit, near_option, unknown_command};

mod checkpoint;
mod go_style;
mod hints;

/// Those of logrus, as other runtimes take them.
const LEVELS: [&str; 8] = ["panic", "fatal", "error", "warning", "warn", "info", "debug", "trace"];

/// Options before the command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Log debug messages: the plan of every container created, and each step with its time
    #[arg(long)]
    pub debug: bool,
    /// Append log records to FILE; errors go to standard error, too
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub log: Option<PathBuf>,
    /// Format of the records; json without --log writes them to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// Log what is as grave as LEVEL: error, warning or debug; warnings go to standard error of create, run and exec,
    /// too, where it is no terminal
    #[arg(long, value_name = "LEVEL", value_parser = LEVELS, hide_possible_values = true)]
    pub log_level: Option<String>,
    /// Directory of the containers' state [default: /run/cleat, or $XDG_RUNTIME_DIR/cleat]
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub root: Option<PathBuf>,
    /// Have systemd create the cgroups: linux.cgroupsPath is slice:prefix:name
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who creates the cgroups: cgroupfs (cleat), systemd (as --systemd-cgroup), disabled (nobody: no container has one)
    #[arg(long, value_name = "MANAGER", value_parser = ["cgroupfs", "systemd", "disabled"])]
    pub cgroup_manager: Option<String>,
    /// Run without a cgroup where none can be created; auto: for unprivileged users only
    #[arg(long, value_name = "BOOL", default_value = "auto", value_parser = rootless())]
    pub rootless: Rootless,
    /// Print the version
    #[arg(short = 'v', long)]
    pub version: bool,
}

/// `--rootless`: whether a container may do without a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<bool>", into = "Option<bool>")]
pub enum Rootless {
    /// As the caller's privileges are.
    #[default]
    Auto,
    /// It may.
    Yes,
    /// It may not.
    No,
}

impl Rootless {
    /// What was said, or what `auto` means here.
    #[must_use]
    pub fn unwrap_or_else(self, auto: impl FnOnce() -> bool) -> bool {
        Option::from(self).unwrap_or_else(auto)
    }
}

/// As `state.json` has it.
impl From<Option<bool>> for Rootless {
    fn from(given: Option<bool>) -> Rootless {
        match given {
            None => Rootless::Auto,
            Some(true) => Rootless::Yes,
            Some(false) => Rootless::No,
        }
    }
}

impl From<Rootless> for Option<bool> {
    fn from(rootless: Rootless) -> Option<bool> {
        match rootless {
            Rootless::Auto => None,
            Rootless::Yes => Some(true),
            Rootless::No => Some(false),
        }
    }
}

fn rootless() -> impl TypedValueParser<Value = Rootless> {
    PossibleValuesParser::new(["true", "false", "auto"]).map(|word| Rootless::from(word.parse().ok()))
}

/// Options of `create`, and of `run`.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Create {
    /// The bundle's directory [default: the current one]
    #[arg(short, long, value_name = "DIR", value_parser = path)]
    pub bundle: Option<PathBuf>,
    /// Read FILE instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", value_parser = path)]
    pub config: Option<PathBuf>,
    /// Unix socket that receives the terminal's master
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the container's process
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub pidfd_socket: Option<PathBuf>,
    /// Write to FILE the pid of the container's process
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root (for a root file system on a ramdisk)
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring instead of creating one
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Give named pipes among the standard streams to the program's user, too: those that the shim hands on
    #[arg(long, hide = true)]
    pub give_fifos: bool,
    /// Pass N more file descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// A new name for the container, of letters, digits and the characters _+.-
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `run` alone.
#[derive(Args, Clone, Copy, Debug)]
pub struct Run {
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container when its program has exited
    #[arg(long)]
    pub keep: bool,
    /// Do not become the subreaper of the container's orphaned processes
    #[arg(long)]
    pub no_subreaper: bool,
}

/// A command on one container.
#[derive(Args, Clone, Debug)]
pub struct Id {
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `kill`.
#[derive(Args, Clone, Debug)]
pub struct Kill {
    /// No error when the container is not running (its remaining processes get the signal)
    #[arg(short, long, hide = true)]
    pub all: bool,
    /// The ID is a regular expression: all containers whose ids it is found in
    #[arg(short, long)]
    pub regex: bool,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
    /// Signal's number or name, with or without SIG
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    pub signal: String,
}

/// Options of `delete`.
#[derive(Args, Clone, Debug)]
pub struct Delete {
    /// Kill a running container first; no error when it does not exist
    #[arg(short, long)]
    pub force: bool,
    /// The ID is a regular expression: all containers whose ids it is found in
    #[arg(short, long)]
    pub regex: bool,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `list`.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Options of `ps`.
#[derive(Args, Clone, Debug)]
pub struct Ps {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
    /// Options for ps(1) [default: -ef]
    #[arg(value_name = "PS OPTIONS", allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// Options of `exec`.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Exec {
    /// Unix socket that receives the terminal's master
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub pidfd_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Environment variable, NAME=value; may be repeated
    #[arg(short, long, value_name = "VAR", action = ArgAction::Append)]
    pub env: Vec<String>,
    /// Allocate a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// User and group, as numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Supplementary group; may be repeated
    #[arg(short = 'g', long, value_name = "GID", action = ArgAction::Append)]
    pub additional_gids: Vec<u32>,
    /// JSON file with the process, as process in config.json; no COMMAND then
    #[arg(short, long, value_name = "FILE", value_parser = path)]
    pub process: Option<PathBuf>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Write to FILE the pid of the process
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability; may be repeated
    #[arg(short, long, value_name = "CAP", action = ArgAction::Append)]
    pub cap: Vec<String>,
    /// Pass N more file descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Run in the cgroup PATH below the container's
    #[arg(long, value_name = "PATH", action = ArgAction::Append)]
    pub cgroup: Vec<String>,
    /// Give named pipes among the standard streams to the program's user, too: those that the shim hands on
    #[arg(long, hide = true)]
    pub give_fifos: bool,
    /// Join a paused container; the program runs when it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// Do not become the subreaper of the process's orphans
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Options of `events`.
#[derive(Args, Clone, Debug)]
pub struct Events {
    /// Time between two reports, such as 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", allow_hyphen_values = true)]
    pub interval: String,
    /// Print the resource usage once, and exit
    #[arg(long)]
    pub stats: bool,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `update`.
#[derive(Args, Clone, Debug)]
pub struct Update {
    /// JSON file with limits, as linux.resources in config.json; - for standard input
    #[arg(short, long, value_name = "FILE", value_parser = path)]
    pub resources: Option<PathBuf>,
    /// Block I/O weight, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u16>,
    /// CPU period in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period in microseconds, -1 for unlimited
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time that can be accumulated for bursts, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_burst: Option<u64>,
    /// CPU shares (relative weight), 2 to 262144
    #[arg(long, value_name = "N", visible_alias = "cpu-shares")]
    pub cpu_share: Option<u64>,
    /// Realtime period (cgroup v1 only)
    #[arg(long, value_name = "US", hide = true)]
    pub cpu_rt_period: Option<u64>,
    /// Realtime runtime (cgroup v1 only)
    #[arg(long, value_name = "US", hide = true, allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1: run only when the CPU is idle otherwise
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// Memory limit in bytes, also as 512m or 1g; -1 for unlimited
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory: Option<String>,
    /// Memory in bytes that is protected from reclaim (soft limit)
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory_reservation: Option<String>,
    /// Limit of memory and swap together in bytes; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,
    /// Kernel memory (cgroup v1 only)
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory: Option<String>,
    /// Kernel memory of TCP (cgroup v1 only)
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Limit of processes and threads, -1 for unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// L3 cache schema of Intel RDT, such as L3:0=7f0;1=1f
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth schema of Intel RDT, such as MB:0=20;1=70
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `spec`.
#[derive(Args, Clone, Debug)]
pub struct Spec {
    /// The bundle's directory [default: the current one]
    #[arg(short, long, value_name = "DIR", value_parser = path)]
    pub bundle: Option<PathBuf>,
    /// Write a configuration for an unprivileged user
    #[arg(long)]
    pub rootless: bool,
}

/// Options of `plan`.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// The container's id [default: the bundle's name]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Print the names of all steps, one a line
    #[arg(long, hide = true)]
    pub steps: bool,
    /// The bundle's directory [default: the current one]
    #[arg(value_name = "BUNDLE", value_parser = path)]
    pub bundle: Option<PathBuf>,
    /// The same, as for create
    #[arg(short = 'b', long = "bundle", value_name = "DIR", value_parser = path, conflicts_with = "bundle")]
    pub dir: Option<PathBuf>,
}

impl Plan {
    /// The bundle's directory.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        self.dir.as_deref().or(self.bundle.as_deref()).unwrap_or(Path::new("."))
    }
}

/// Options of `audit`.
#[derive(Args, Clone, Debug)]
pub struct Audit {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Print instead whether checkpoints can be made here, and with ID of this container
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "")]
    pub checkpoint: Option<String>,
    /// Directory of a bundle to check, too
    #[arg(value_name = "BUNDLE", value_parser = path)]
    pub bundle: Option<PathBuf>,
    /// The same, as for create
    #[arg(short = 'b', long = "bundle", value_name = "DIR", value_parser = path, conflicts_with = "bundle")]
    pub dir: Option<PathBuf>,
}

impl Check {
    /// Directory of a bundle to check, too.
    #[must_use]
    pub fn bundle(&self) -> Option<&Path> {
        self.dir.as_deref().or(self.bundle.as_deref())
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Action {
    Create(Create),
    Run(Create, Run),
    Start(Id),
    State(Id),
    Kill(Kill),
    Delete(Delete),
    List(List),
    Ps(Ps),
    Exec(Box<Exec>),
    Pause(Id),
    Resume(Id),
    Update(Box<Update>),
    Events(Events),
    Checkpoint(Box<Checkpoint>),
    Restore(Box<Restore>),
    Spec(Spec),
    Features,
    Plan(Plan),
    Check(Check),
    Audit(Audit),
    Version,
}

/// A command line, understood.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Options before the command.
    pub global: Global,
    /// The command.
    pub action: Action,
}

/// What is printed instead of running anything.
#[derive(Debug)]
pub struct Refusal {
    /// Help, or what is wrong.
    pub text: String,
    /// Help was asked for: standard output, and no error.
    pub asked: bool,
    /// There is no such command, for which runc has an exit code of its own.
    pub no_command: bool,
}

impl Refusal {
    /// The exit code, runc's.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.no_command { 3 } else { 1 }
    }
}

type Build = fn(Command) -> Command;

/// Every command with what it does and how it is built.
const COMMANDS: &[(&str, &str, Build)] = &[
    ("create", "Create a container, ready to be started", Create::augment_args),
    ("run", "Create a container, start it and wait for it", |command| Run::augment_args(Create::augment_args(command))),
    ("start", "Start a created container", Id::augment_args),
    ("state", "Print the state of a container as JSON", Id::augment_args),
    ("list", "List the containers", List::augment_args),
    ("ps", "List the processes of a container", Ps::augment_args),
    ("kill", "Send a signal to a container's first process", Kill::augment_args),
    ("delete", "Delete a stopped container", Delete::augment_args),
    ("exec", "Run another process in a container", Exec::augment_args),
    ("pause", "Freeze a container's processes", Id::augment_args),
    ("resume", "Thaw a paused container's processes", Id::augment_args),
    ("events", "Print the resource usage of a container as JSON, repeatedly", Events::augment_args),
    ("update", "Change the limits of a container", Update::augment_args),
    ("checkpoint", "Save a container's processes to files, by CRIU", Checkpoint::augment_args),
    ("restore", "Create a container from a checkpoint, and wait for it", Restore::augment_args),
    ("spec", "Write a config.json to start from", Spec::augment_args),
    ("features", "Print the supported features as JSON", |command| command),
    ("plan", "Print what create would do with a bundle, step by step", Plan::augment_args),
    ("check", "Print what this machine supports, and whether a bundle will run on it", Check::augment_args),
    ("audit", "Compare a living container with what its config.json asks for", Audit::augment_args),
];

/// Options of these end at the first word that is none: what follows is another program's.
const STOP_AT_FIRST_WORD: &[&str] = &["exec", "kill", "ps"];

fn global_command() -> Command {
    let command = Global::augment_args(Command::new("cleat"));
    command
        .about("An OCI container runtime: a drop-in for runc")
        .after_help("'cleat help COMMAND' prints the help of a command.")
        .args_override_self(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
}

/// The whole command line, for help, manual pages and shell completions.
#[must_use]
pub fn whole() -> Command {
    COMMANDS
        .iter()
        .fold(global_command(), |command, (name, about, build)| command.subcommand(subcommand(name, about, *build)))
}

fn subcommand(name: &'static str, about: &'static str, build: Build) -> Command {
    // What is built would be described as its options are.
    build(Command::new(name)).about(about).args_override_self(true)
}

/// Understands a command line.
///
/// # Errors
/// Help was asked for, or something is wrong with it.
pub fn parse(arguments: &[String]) -> std::result::Result<Invocation, Refusal> {
    let global = global_command();
    let (mut words, at) = go_style(&global, arguments, false);
    if at.is_some_and(|at| words[at] == "version") && words.len() == at.map_or(0, |at| at + 1) {
        words.pop();
        words.push("--version".to_owned());
        return parse(&words);
    }
    if let Some(at) = at.filter(|at| ["help", "h"].contains(&words[*at].as_str())) {
        // `help COMMAND` is `COMMAND --help`.
        words.drain(..=at);
        words.truncate(1);
        words.push("--help".to_owned());
        return parse(&words);
    }
    let name = at.map(|at| words[at].clone()).unwrap_or_default();
    let called = at.and_then(|at| COMMANDS.iter().find(|(name, ..)| *name == words[at]));
    // Never taken apart: this process is short, and there are hundreds of small pieces.
    let mut command = ManuallyDrop::new(match called {
        // Nothing but options: only `--help` needs to know every command.
        None if at.is_none() && words.iter().any(|word| word == "--version" || word == "-v") => global,
        None => whole(),
        Some((name, about, build)) => {
            let sub = subcommand(name, about, *build);
            let at = at.unwrap_or(0);
            let (rest, _) = go_style(&sub, &words[at + 1..], STOP_AT_FIRST_WORD.contains(name));
            words.truncate(at + 1);
            words.extend(rest);
            global.subcommand(sub)
        }
    });
    let line = std::iter::once("cleat".to_owned()).chain(words);
    let matches =
        ManuallyDrop::new(command.try_get_matches_from_mut(line).map_err(|error| refusal(&name, &command, &error))?);
    let global = Global::from_arg_matches(&matches).map_err(|error| refusal(&name, &command, &error))?;
    if global.version {
        return Ok(Invocation { global, action: Action::Version });
    }
    let Some((name, sub)) = matches.subcommand() else {
        return Err(Refusal { text: command.render_help().to_string(), asked: true, no_command: false });
    };
    let action = action(name, sub).map_err(|error| refusal(name, &command, &error))?;
    if matches!(&action, Action::Kill(kill) if ["-h", "--help"].contains(&kill.signal.as_str())) {
        return parse(&["kill".to_owned(), "--help".to_owned()]);
    }
    Ok(Invocation { global, action })
}

fn action(name: &str, matches: &ArgMatches) -> std::result::Result<Action, clap::Error> {
    Ok(match name {
        "create" => Action::Create(Create::from_arg_matches(matches)?),
        "run" => Action::Run(Create::from_arg_matches(matches)?, Run::from_arg_matches(matches)?),
        "start" => Action::Start(Id::from_arg_matches(matches)?),
        "state" => Action::State(Id::from_arg_matches(matches)?),
        "list" => Action::List(List::from_arg_matches(matches)?),
        "ps" => Action::Ps(Ps::from_arg_matches(matches)?),
        "kill" => Action::Kill(Kill::from_arg_matches(matches)?),
        "delete" => Action::Delete(Delete::from_arg_matches(matches)?),
        "exec" => Action::Exec(Box::new(Exec::from_arg_matches(matches)?)),
        "pause" => Action::Pause(Id::from_arg_matches(matches)?),
        "resume" => Action::Resume(Id::from_arg_matches(matches)?),
        "events" => Action::Events(Events::from_arg_matches(matches)?),
        "update" => Action::Update(Box::new(Update::from_arg_matches(matches)?)),
        "checkpoint" => Action::Checkpoint(Box::new(Checkpoint::from_arg_matches(matches)?)),
        "restore" => Action::Restore(Box::new(Restore::from_arg_matches(matches)?)),
        "spec" => Action::Spec(Spec::from_arg_matches(matches)?),
        "plan" => Action::Plan(Plan::from_arg_matches(matches)?),
        "check" => Action::Check(Check::from_arg_matches(matches)?),
        "audit" => Action::Audit(Audit::from_arg_matches(matches)?),
        _ => Action::Features,
    })
}

/// Engines look for some of these words.
fn refusal(called: &str, command: &Command, error: &clap::Error) -> Refusal {
    use clap::error::{ContextKind, ErrorKind};
    let text_of = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asked {
        return Refusal { text: error.to_string(), asked, no_command: false };
    }
    if error.kind() == ErrorKind::InvalidSubcommand {
        let name = text_of(ContextKind::InvalidSubcommand);
        let why = unknown_command(&name);
        let text = format!("Incorrect Usage. {name:?} {why}; see cleat --help\n");
        return Refusal { text, asked, no_command: true };
    }
    if error.kind() == ErrorKind::UnknownArgument {
        let word = text_of(ContextKind::InvalidArg);
        let what = if word.starts_with('-') { "there is no option" } else { "there is no place for" };
        let hint = habit(called, &word).map(str::to_owned).or_else(|| near_option(called, command, &word));
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let usage = text_of(ContextKind::Usage);
        let help = [called, "--help"].join(" ");
        return Refusal {
            text: format!("Incorrect Usage. {what} {word}{hint}\n\n{usage}\n\nSee cleat {}\n", help.trim_start()),
            asked,
            no_command: false,
        };
    }
    let needs_value = error.kind() == ErrorKind::InvalidValue && text_of(ContextKind::InvalidValue).is_empty();
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let hint = match (needs_value, called, error.kind()) {
        (true, ..) => "flag needs an argument: ",
        (_, "ps", ErrorKind::MissingRequiredArgument) => "cleat list lists the containers, ps the processes of one: ",
        _ => "",
    };
    Refusal { text: format!("Incorrect Usage. {hint}{text}"), asked: false, no_command: false }
}

/// A path may have bytes that are no UTF-8.
#[allow(clippy::unnecessary_wraps, reason = "what clap calls may fail")]
fn path(text: &str) -> std::result::Result<PathBuf, std::convert::Infallible> {
    Ok(crate::sys::raw_words::unescape(text).into())
}

#[cfg(test)]
mod tests;
