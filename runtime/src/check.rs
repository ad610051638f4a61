//! Will this bundle run on this machine? Every reason why not, before anything is made.
//!
//! What [`Plan::decide`] finds, and then what only the machine shows: files, namespaces, the
//! cgroup, privileges. Runs with the caller's privileges, looks and changes nothing. A thing that
//! cannot be known is no problem.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::plan::host::Host;
use crate::plan::{Findings, Plan, Request};
use crate::probe::machine::Survey;
use crate::spec;
use crate::spec::{Hook, Spec};

mod cgroup;
mod devices;
mod mount_view;
mod mounts;
mod namespaces;
mod permission;
mod process;
pub mod program;
mod unknown;

use mount_view::View;

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The property of config.json; empty: the bundle or the machine as a whole.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    fn new(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { place: place.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// An error. What does not say what to do is a mistake that is plain to see.
    fn of(error: &Error) -> Problem {
        let (place, problem, remedy) = error.parts();
        Problem::new(place, problem, remedy.unwrap_or("correct it"))
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The bundle.
    pub path: PathBuf,
    /// Nothing is wrong.
    pub runs: bool,
    /// Why it will not run.
    pub problems: Vec<Problem>,
    /// What it will have to do without, and what could not be known.
    pub warnings: Vec<String>,
}

impl Report {
    /// The same with one more problem.
    #[must_use]
    pub fn with(mut self, error: &Error) -> Report {
        self.problems.push(Problem::of(error));
        self.runs = false;
        self
    }
}

/// What the parts of the check share.
struct Preflight<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    host: &'a Host,
    survey: &'a Survey,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    /// Mounts that the plan has: which in config.json, and which in the plan.
    mounts: Vec<(usize, usize)>,
}

impl Preflight<'_> {
    fn problem(&mut self, place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(place, problem, remedy));
    }

    /// Whether something is wrong at a place, or below it.
    fn has_problem(&self, place: &str) -> bool {
        is_at(&self.problems, place)
    }

    fn warn(&mut self, place: &str, what: impl std::fmt::Display) {
        self.warnings.push(format!("config.json: {place}: {what}"));
    }

    /// A problem that hooks may solve: they run when the mounts are there and before the program is
    /// looked for.
    fn problem_unless_hooked(&mut self, place: &str, problem: &str, remedy: &str) {
        let hooks = &self.spec.hooks;
        if [&hooks.prestart, &hooks.create_runtime, &hooks.create_container].iter().all(|list| list.is_empty()) {
            self.problem(place, problem, remedy);
        } else {
            self.warn(place, format_args!("{problem}, unless a hook changes that; {remedy}"));
        }
    }
}

/// Whether one of the problems is at that place, or below it.
fn is_at(problems: &[Problem], place: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    problems.iter().any(|problem| problem.place.strip_prefix(place).is_some_and(below))
}

/// Checks a bundle. `host` is how this process found the machine, and `state` where containers would
/// be remembered. The last questions of the survey are asked on the way.
#[must_use]
pub fn check(path: &Path, host: &Host, state: &Result<PathBuf>, survey: &mut Survey) -> Report {
    let obstacles = survey.obstacles().into_iter().map(|(problem, remedy)| Problem::new("", problem, remedy));
    let mut problems: Vec<Problem> = obstacles.collect();
    let mut warnings = Vec::new();
    let bundle = match read(path) {
        Ok((bundle, text, spec)) => {
            let found = examine(&bundle, &spec, host, survey);
            problems.extend(found.0);
            problems.extend(state_problem(state));
            warnings = [unknown::warnings(&text), found.1].concat();
            bundle
        }
        Err((bundle, error)) => {
            survey.ask_the_rest(host);
            problems.push(Problem::of(&error));
            bundle
        }
    };
    Report { path: bundle, runs: problems.is_empty(), problems, warnings }
}

/// The bundle's absolute path, and its config.json.
#[allow(clippy::result_large_err, reason = "it is called once")]
fn read(path: &Path) -> std::result::Result<(PathBuf, Vec<u8>, Spec), (PathBuf, Error)> {
    let bundle = crate::probe::host::real_directory(path).map_err(|error| (path.to_path_buf(), error))?;
    let parse = |text: Vec<u8>| Ok((spec::parse("config.json", &text)?, text));
    match spec::read(&bundle).and_then(parse) {
        Ok((spec, text)) => Ok((bundle, text, spec)),
        Err(error) => Err((bundle, error)),
    }
}

fn examine(bundle: &Path, spec: &Spec, host: &Host, survey: &mut Survey) -> (Vec<Problem>, Vec<String>) {
    let host = match Host::of_bundle(host.rootless_asked, spec) {
        Ok(found) => Host { systemd: host.systemd.clone(), ..found },
        Err(_) => host.clone(),
    };
    let id = bundle.file_name().map(|name| name.to_string_lossy().into_owned());
    let id = id.filter(|id| crate::container::check_id(id).is_ok()).unwrap_or_else(|| "check".into());
    let request = Request { id, bundle: bundle.into(), start_later: true, ..Request::default() };
    let mut findings = Findings::default();
    let plan = Plan::decide(&request, spec, &host, &mut findings);
    let problems: Vec<Problem> = findings.problems.iter().map(Problem::of).collect();
    let begun =
        Preflight { spec, plan: &plan, host: &host, survey, problems, warnings: findings.warnings, mounts: Vec::new() };
    let Preflight { problems, warnings, mounts, .. } = begun.look();
    survey.ask_the_rest(&host);
    let begun = Preflight { spec, plan: &plan, host: &host, survey, problems, warnings, mounts };
    let Preflight { problems, warnings, .. } = begun.ask();
    (problems, warnings)
}

impl Preflight<'_> {
    /// What is there: before this process may be somebody else, who sees other owners.
    fn look(mut self) -> Self {
        self.check_root();
        self.check_namespaces();
        self.check_id_maps();
        self.check_cgroup();
        self.check_process();
        self.check_network_devices();
        self.check_hooks();
        self
    }

    /// What the kernel answers to who may mount.
    fn ask(mut self) -> Self {
        self.check_user_namespaces();
        self.check_seccomp();
        self.check_mount_options();
        self
    }
}

impl Preflight<'_> {
    /// The root file system, and everything that is looked up in it.
    fn check_root(&mut self) {
        if self.has_problem("root") {
            return;
        }
        let path = self.plan.host.rootfs.clone();
        let place = "root.path";
        let remedy = "put the container's root file system there";
        match crate::sys::path::open_dir(&path) {
            Ok(root) => {
                let mut view = View::new(root);
                self.check_mounts(&mut view);
                self.check_devices(&view);
                self.check_terminal(&view);
                self.check_program(&view);
            }
            Err(nix::errno::Errno::ENOTDIR) => {
                self.problem(place, format!("{}: not a directory", path.display()), remedy);
            }
            Err(errno) => {
                let why = crate::error::errno_text(errno);
                self.problem(place, format!("{}: {why}", path.display()), remedy);
            }
        }
    }

    /// Hooks of the runtime's own namespaces, which are files of the host.
    fn check_hooks(&mut self) {
        let hooks = &self.spec.hooks;
        let kinds: [(&str, &[Hook]); 4] = [
            ("prestart", &hooks.prestart),
            ("createRuntime", &hooks.create_runtime),
            ("createContainer", &hooks.create_container),
            ("poststart", &hooks.poststart),
        ];
        for (kind, list) in kinds {
            for (index, hook) in list.iter().enumerate().filter(|(_, hook)| hook.path.starts_with('/')) {
                if let Err((problem, remedy)) = program::of_host(Path::new(&hook.path)) {
                    self.problem(format!("hooks.{kind}[{index}].path"), format!("on the host, {problem}"), remedy);
                }
            }
        }
        for (index, hook) in hooks.poststop.iter().enumerate().filter(|(_, hook)| hook.path.starts_with('/')) {
            if let Err((problem, remedy)) = program::of_host(Path::new(&hook.path)) {
                let what = format!("on the host, {problem}, and so delete will warn; {remedy}");
                self.warn(&format!("hooks.poststop[{index}].path"), what);
            }
        }
    }
}

/// Whether containers can be remembered.
fn state_problem(state: &Result<PathBuf>) -> Option<Problem> {
    use nix::unistd::AccessFlags;
    let state = match state {
        Ok(path) => path,
        Err(error) => return Some(Problem::of(error)),
    };
    let there = state.ancestors().find(|dir| dir.exists())?;
    let why = match crate::probe::machine::may(there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Err(errno) => crate::error::errno_text(errno),
        Ok(()) if !there.is_dir() => "not a directory".into(),
        Ok(()) => return None,
    };
    let place = format!("the state directory {} cannot be used: {}: {why}", state.display(), there.display());
    Some(Problem::new("", place, "choose another: --root DIR, or XDG_RUNTIME_DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_problem_at_a_place_with_a_remedy() {
        let error = Error::at("linux.sysctl[\"a; b\"]", "is wrong: very").remedy("remove it; or not");
        let problem = Problem::new("linux.sysctl[\"a; b\"]", "is wrong: very", "remove it; or not");
        assert_eq!(Problem::of(&error), problem);
        let error = Error::at("process.cwd", "\"work\" must be absolute");
        assert_eq!(Problem::of(&error), Problem::new("process.cwd", "\"work\" must be absolute", "correct it"));
        let error = spec::parse::<Spec>("config.json", b"").unwrap_err();
        let problem = Problem::new("", "config.json ends too early, at line 1 column 0", "was it written whole?");
        assert_eq!(Problem::of(&error), problem);
    }

    #[test]
    fn a_problem_is_at_its_place_and_above_it() {
        let problems = [Problem::new("mounts[1].source", "", "")];
        assert!(is_at(&problems, "mounts[1]") && is_at(&problems, "mounts") && is_at(&problems, "mounts[1].source"));
        assert!(!is_at(&problems, "mounts[1].s") && !is_at(&problems, "mounts[0]"));
    }
}
