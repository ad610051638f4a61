//! `plan`: what would be done with a bundle, step by step.

use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::host::Host;
use crate::plan::{Plan, Request};

use super::{bundle, print, print_json};

/// `plan`
///
/// # Errors
/// What `create` would say, too, before it makes anything.
pub fn plan(shell: &super::Shell<'_>, path: &Path, id: &str, json: bool) -> Result<()> {
    let bundle = bundle(Some(path))?;
    let text = crate::spec::read(&bundle)?;
    let spec: crate::spec::Spec = crate::spec::parse("config.json", &text)?;
    crate::container::check_id(id)?;
    let request =
        Request { id: id.into(), bundle, keyring: Some(format!("_ses.{id}")), start_later: true, ..Request::default() };
    let mut host = Host::of_bundle(shell.rootless, &spec)?;
    host.find_manager(shell.manager)?;
    let plan = Plan::new(&request, &spec, &host)?;
    if json { print_json(&plan) } else { print(&plan.to_string()) }
}

/// `plan --steps`: the names of all steps.
///
/// # Errors
/// Those of write(2).
pub fn steps() -> Result<()> {
    print(&cleat_plan::Step::ALL.iter().map(|step| format!("{}\n", step.name())).collect::<String>())
}

/// The id that `plan` takes when none is given: the bundle's name.
///
/// # Errors
/// The bundle is not there.
pub fn default_id(path: &Path) -> Result<String> {
    let bundle = bundle(Some(path))?;
    let name = bundle.file_name().map(|name| name.to_string_lossy().into_owned());
    name.ok_or_else(|| Error::new("the bundle has no name").remedy("give one with --id"))
}
