//! Which hooks are called, with what?

use std::collections::BTreeMap;
use std::path::PathBuf;

use cleat_plan as wire;
use serde::Serialize;

use super::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use super::findings::Findings;
use super::place::{Place, text, texts};
use super::types::{CreateFd, push_fd};
use crate::error::Result;
use crate::spec;

/// Files of the host that get what hooks print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HookLog {
    /// On standard output.
    pub stdout: Option<PathBuf>,
    /// On standard error.
    pub stderr: Option<PathBuf>,
}

impl HookLog {
    /// As annotations have them.
    ///
    /// # Errors
    /// One is not absolute: later commands, too, write there.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<HookLog> {
        let path = |name: &str| match annotations.get(name) {
            Some(path) if !path.starts_with('/') => {
                Err(Place::new(format!("annotations[{name:?}]")).error(format_args!("{path:?} must be absolute")))
            }
            path => Ok(path.map(PathBuf::from)),
        };
        Ok(HookLog { stdout: path(HOOKS_STDOUT)?, stderr: path(HOOKS_STDERR)? })
    }
}

/// Hooks that the init runs. Their state is known when it is.
pub(super) fn of_init(
    (list, kind): (&[spec::Hook], &str),
    log: &HookLog,
    fds: &mut Vec<CreateFd>,
    findings: &mut Findings,
) -> wire::Hooks {
    let mut list = hooks(list, kind, findings);
    if list.is_empty() {
        return wire::Hooks::default();
    }
    if kind == "startContainer" {
        // As with runc, for which an empty environment is none: then it is the process's.
        list.iter_mut().for_each(|hook| hook.env = hook.env.take().filter(|env| !env.is_empty()));
    }
    let mut push = |path: &Option<PathBuf>| {
        let fd = path.as_ref().map(|path| push_fd(fds, CreateFd::HookLog(path.clone())));
        findings.keep(fd.transpose())
    };
    wire::Hooks { list, log: [push(&log.stdout), push(&log.stderr)], ..wire::Hooks::default() }
}

/// Checks and converts hooks of one kind.
pub(crate) fn hooks(list: &[spec::Hook], kind: &str, findings: &mut Findings) -> Vec<wire::Hook> {
    findings.each(list, |index, hook| {
        let place = Place::new(format!("hooks.{kind}[{index}]"));
        if !hook.path.starts_with('/') {
            return Err(place.at("path").error(format_args!("{:?} must be absolute", hook.path)));
        }
        let timeout_secs = match hook.timeout {
            None => None,
            Some(secs) if secs > 0 => Some(u32::try_from(secs).unwrap_or(u32::MAX)),
            Some(secs) => return Err(place.at("timeout").error(format_args!("{secs} must be greater than zero"))),
        };
        let args = if hook.args.is_empty() { vec![text(&hook.path)?] } else { texts(&hook.args)? };
        let env = hook.env.as_deref().map(texts).transpose()?;
        Ok(wire::Hook {
            name: text(format!("{kind} hook #{index}"))?,
            path: text(&hook.path)?,
            args,
            env,
            timeout_secs,
        })
    })
}
