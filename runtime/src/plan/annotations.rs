//! Which annotations of crun's decide something?
//!
//! They may be an image's: none may widen what a container can do. `features` names those that an engine should filter.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::ids::KEEP_GROUPS;
use super::place::Place;
use crate::error::Result;

/// The socket that gets seccomp's listener, where `linux.seccomp.listenerPath` names none.
pub const RECEIVER: &str = "run.oci.seccomp.receiver";

/// The mount option that carries `linux.mountLabel`.
pub const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";

/// Files that get what hooks print.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
/// The same, of standard error.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";

/// A cgroup below the scope of systemd, in which the container's process is.
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// What crun's annotations have in front.
const PREFIX: &str = "run.oci.";

/// The mount option for labels (mount(8), "context=").
///
/// # Errors
/// There is no such option.
pub(super) fn mount_context(annotations: &BTreeMap<String, String>) -> Result<&'static str> {
    let Some(asked) = annotations.get(MOUNT_CONTEXT) else { return Ok("context") };
    let known = ["context", "fscontext", "defcontext", "rootcontext"];
    let place = Place::new(format!("annotations[{MOUNT_CONTEXT:?}]"));
    known.into_iter().find(|word| word == asked).ok_or_else(|| place.wrong(asked, &known.join(", ")))
}

/// Warns of those that decide nothing here: with crun they would.
pub(super) fn unknown(annotations: &BTreeMap<String, String>, findings: &mut Findings) {
    let known = [RECEIVER, MOUNT_CONTEXT, KEEP_GROUPS, HOOKS_STDOUT, HOOKS_STDERR, SUBGROUP];
    let asked = annotations.keys().filter(|key| key.starts_with(PREFIX) && !known.contains(&key.as_str()));
    findings
        .warnings
        .extend(asked.map(|key| format!("annotations[{key:?}]: decides nothing here, as it would with crun")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_option_for_labels_is_one_of_four() {
        assert_eq!(mount_context(&BTreeMap::new()).unwrap(), "context");
        assert_eq!(mount_context(&one(MOUNT_CONTEXT, "rootcontext")).unwrap(), "rootcontext");
        let error = mount_context(&one(MOUNT_CONTEXT, "exec")).unwrap_err().to_string();
        assert!(error.contains("context, fscontext"), "{error}");
    }

    #[test]
    fn what_decides_nothing_is_named() {
        let mut findings = Findings::default();
        unknown(&one("run.oci.handler", "krun"), &mut findings);
        unknown(&one(RECEIVER, "/x"), &mut findings);
        unknown(&one("org.example", "y"), &mut findings);
        assert_eq!(findings.warnings.len(), 1, "{:?}", findings.warnings);
        assert!(findings.warnings[0].contains("run.oci.handler"), "{:?}", findings.warnings);
    }
}
