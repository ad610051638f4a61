//! Which hooks are called, with what?

use cleat_plan as wire;

use super::findings::Findings;
use super::place::{Place, text, texts};
use crate::spec;

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
