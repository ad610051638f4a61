//! How does argv become an exit code?
//!
//! Without the standard library's start-up code, which takes 0.06 ms of a command (it looks up the
//! stack's limits in `/proc` and installs signal handlers) and 0.1 MB.
#![no_main]

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cleat::cli::{self, Action, Invocation};
use cleat::commands::{self, Shell};
use cleat::container::{OCI_VERSION, Store};
use cleat::error::{Context, Error, Kind, Result};
use cleat::log::{self, Level, Log};
use cleat::plan::host::CgroupManager;
use cleat::sys::raw_words;

/// The version of runc whose command line and behaviour this one has: engines look for the words.
const RUNC_VERSION: &str = "1.3.6";

cleat::entry!(command);

#[allow(clippy::needless_pass_by_value, reason = "what calls it hands them over")]
fn command(words: Vec<OsString>) -> u8 {
    let inherited = commands::count_inherited_fds();
    let arguments: Vec<String> = words.iter().map(|word| raw_words::escape(word)).collect();
    let invocation = match cli::parse(&arguments) {
        Ok(invocation) => invocation,
        Err(refusal) if refusal.asked => return u8::from(commands::print(&refusal.text).is_err()),
        Err(refusal) => {
            eprint!("{}", raw_words::shown(&refusal.text));
            return 1;
        }
    };
    let global = &invocation.global;
    let options = log::Options {
        file: global.log.as_deref(),
        json: global.log_format == "json",
        debug: global.debug,
        level: global.log_level.as_deref().map(Level::of_word),
        shares_stderr: matches!(
            invocation.action,
            Action::Create(_) | Action::Run(..) | Action::Exec(_) | Action::Restore(_)
        ),
    };
    let log = match Log::open(options) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let log = if is_for_shim(&invocation.action) { log.for_shim() } else { log };
    perform(&invocation, &log, inherited).unwrap_or_else(|error| {
        log.send(Level::Error, &raw_words::shown(&error.within(subject(&invocation.action)).to_string()));
        // The runtime's own failure must not look like one of the program's.
        match invocation.action {
            Action::Exec(_) => 255,
            // 1 is a container that is not what was asked for.
            Action::Audit(_) => 2,
            _ => 1,
        }
    })
}

/// Whether the shim calls: it reads the log, and our standard streams are the container's.
fn is_for_shim(action: &Action) -> bool {
    match action {
        Action::Create(options) | Action::Run(options, _) => options.give_fifos,
        Action::Exec(options) => options.give_fifos,
        _ => false,
    }
}

/// What was being done, for errors: the command and the container.
fn subject(action: &Action) -> String {
    match action {
        Action::Create(options) => format!("create {}", options.id),
        Action::Run(options, _) => format!("run {}", options.id),
        Action::Start(options) => format!("start {}", options.id),
        Action::State(options) => format!("state {}", options.id),
        Action::Kill(options) => format!("kill {}", options.id),
        Action::Delete(options) => format!("delete {}", options.id),
        Action::List(_) => "list".into(),
        Action::Ps(options) => format!("ps {}", options.id),
        Action::Exec(options) => format!("exec {}", options.id),
        Action::Events(options) => format!("events {}", options.id),
        Action::Update(options) => format!("update {}", options.id),
        Action::Pause(options) => format!("pause {}", options.id),
        Action::Resume(options) => format!("resume {}", options.id),
        Action::Checkpoint(options) => format!("checkpoint {}", options.id),
        Action::Restore(options) => format!("restore {}", options.id),
        Action::Spec(_) => "spec".into(),
        Action::Features => "features".into(),
        Action::Plan(options) => format!("plan {}", options.bundle().display()),
        Action::Check(_) => "check".into(),
        Action::Audit(options) => format!("audit {}", options.id),
        Action::Version => "version".into(),
    }
}

fn perform(invocation: &Invocation, log: &Log, inherited: u32) -> Result<u8> {
    let global = &invocation.global;
    if matches!(invocation.action, Action::Version) {
        let version = env!("CARGO_PKG_VERSION");
        let revision = commands::revision(option_env!("CLEAT_COMMIT"));
        return done(commands::print(&format!(
            "runc version {RUNC_VERSION} (cleat {version})\ncommit: {revision}\nspec: {OCI_VERSION}\n"
        )));
    }
    if let Action::Check(options) = &invocation.action {
        let state = root(global.root.as_deref(), false);
        if let Some(id) = &options.checkpoint {
            return commands::check::checkpoint(&Store::new(state?), id, options.json);
        }
        let asked = commands::check::Asked { rootless: global.rootless, manager: manager(global)? };
        return commands::check::check(asked, &state, options.bundle(), options.json);
    }
    let warn = |message: &str| log.send(Level::Warning, message);
    let report = |message: &str| log.report(message);
    let debug = |message: &str| log.send(Level::Debug, message);
    // Commands that remember nothing need no place for it.
    let stateless = matches!(invocation.action, Action::Spec(_) | Action::Features | Action::Plan(_));
    let root = if stateless { PathBuf::new() } else { root(global.root.as_deref(), true)? };
    let shell = Shell {
        store: Store::new(root),
        warn: &warn,
        report: &report,
        debug: log.debug().then_some(&debug),
        inherited,
        rootless: global.rootless,
        manager: manager(global)?,
    };
    act(&shell, &invocation.action, global.root.is_some())
}

/// `--cgroup-manager`, or `--systemd-cgroup`, the older name of one of them.
fn manager(global: &cli::Global) -> Result<CgroupManager> {
    match (global.cgroup_manager.as_deref(), global.systemd_cgroup) {
        (Some("systemd"), _) | (None, true) => Ok(CgroupManager::Systemd),
        (Some(other), true) => Err(Error::of(
            Kind::Usage,
            format!("--systemd-cgroup and --cgroup-manager {other} exclude each other; leave one of them out"),
        )),
        (Some("disabled"), false) => Ok(CgroupManager::Disabled),
        (_, false) => Ok(CgroupManager::Cgroupfs),
    }
}

fn done(outcome: Result<()>) -> Result<u8> {
    outcome.map(|()| 0)
}

fn act(shell: &Shell<'_>, action: &Action, named: bool) -> Result<u8> {
    match action {
        Action::Create(options) => done(commands::create::create(shell, options)),
        Action::Run(options, run) => commands::create::run(shell, options, *run),
        Action::Start(options) => done(commands::start::start(shell, &options.id)),
        Action::State(options) => done(commands::state::state(shell, &options.id)),
        Action::Kill(options) => {
            let kill = |id: &str| commands::kill::kill(shell, id, &options.signal, options.all);
            done(commands::each(shell, &options.id, options.regex, kill))
        }
        Action::Delete(options) => {
            let delete = |id: &str| commands::delete::delete(shell, id, options.force);
            done(commands::each(shell, &options.id, options.regex, delete))
        }
        Action::List(options) => done(commands::list::list(shell, options, named)),
        Action::Ps(options) => done(commands::ps::ps(shell, &options.id, options.format == "json", &options.arguments)),
        Action::Exec(options) => commands::exec::exec(shell, options),
        Action::Events(options) => done(
            commands::events::parse_interval(&options.interval)
                .and_then(|interval| commands::events::events(shell, &options.id, interval, options.stats)),
        ),
        Action::Update(options) => done(commands::update::update(shell, options)),
        Action::Pause(options) => done(commands::pause::pause(shell, &options.id)),
        Action::Resume(options) => done(commands::pause::resume(shell, &options.id)),
        Action::Checkpoint(options) => done(commands::checkpoint::checkpoint(shell, options)),
        Action::Restore(options) => commands::restore::restore(shell, options),
        Action::Spec(options) => done(commands::spec::spec(options.bundle.as_deref(), options.rootless)),
        Action::Features => done(commands::features::features()),
        Action::Plan(options) if options.steps => done(commands::plan::steps()),
        Action::Plan(options) => {
            let id = options.id.clone().map_or_else(|| commands::plan::default_id(options.bundle()), Ok)?;
            done(commands::plan::plan(shell, options.bundle(), &id, options.json))
        }
        Action::Audit(options) => commands::audit::audit(shell, &options.id, options.json),
        Action::Check(_) | Action::Version => Ok(0),
    }
}

/// The directory of the containers' state: `--root`, else root's `/run/cleat`, else the user's own,
/// which is made unless the command only asks.
fn root(given: Option<&Path>, make: bool) -> Result<PathBuf> {
    if let Some(path) = given {
        let path = std::path::absolute(path).context("--root")?;
        let clean = cleat::sys::clean_path::clean(Path::new("/"), &path);
        if clean == Path::new("/") {
            return Err(Error::of(Kind::Usage, "--root: \"/\" cannot hold containers' state")
                .remedy("choose a directory of its own"));
        }
        return Ok(clean);
    }
    let as_root = std::env::var("USER").is_ok_and(|user| user == "root");
    let user = nix::unistd::geteuid();
    if user.is_root() && (as_root || !cleat::probe::host::in_user_namespace()?) {
        return Ok("/run/cleat".into());
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => below_runtime_dir(Path::new(&dir), user.as_raw(), make),
        None if user.is_root() => Ok("/run/cleat".into()),
        None => Err(Error::new("state directory: XDG_RUNTIME_DIR is not set, and /run/cleat is root's").remedy(
            "a login session sets it, or give \
             --root a directory of your own",
        )),
    }
}

/// `cleat` in the user's own runtime directory (XDG base directory specification), which must be
/// theirs and nobody else's: a user who may write there may have the containers started.
fn below_runtime_dir(dir: &Path, user: u32, make: bool) -> Result<PathBuf> {
    let place = format!("state directory: XDG_RUNTIME_DIR {}", dir.display());
    let wrong = |what: String| Error::new(what).remedy("set it to a directory of your own, or give --root one");
    if !dir.is_absolute() {
        return Err(wrong(format!("{place}: must be absolute")));
    }
    let path = dir.join("cleat");
    let is_ours = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.uid() != user => {
            let owner = metadata.uid();
            Err(wrong(format!("{place}: {} belongs to user {owner}, not to {user}", path.display())))
        }
        _ => Ok(()),
    };
    is_ours(dir)?;
    if !make {
        return is_ours(&path).map(|()| path);
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    is_ours(&path)?;
    // Sticky: tools that tidy the runtime directory leave it alone.
    let sticky = std::fs::Permissions::from_mode(0o1700);
    made.context("mkdir cleat")
        .and_then(|()| std::fs::set_permissions(&path, sticky).context("chmod cleat"))
        .map_err(|error| wrong(format!("{place}: {error}")))?;
    Ok(path)
}
