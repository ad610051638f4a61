//! How does a test make a step of the host half fail? `CLEAT_FAULT=STEP:fail` or `STEP:kill`.

use cleat_plan::{FaultKind, Step};

use crate::error::{Error, Result};
use crate::plan::Request;
use crate::sys;

/// A host step that tests can make fail.
pub(crate) struct Faults(Option<cleat_plan::Fault>);

impl Faults {
    pub(crate) fn new(request: &Request) -> Faults {
        Faults(request.fault)
    }

    /// Enters a step.
    pub(crate) fn at(&self, step: Step) -> Result<()> {
        match self.0 {
            Some(fault) if fault.step == step => match fault.kind {
                FaultKind::Fail => Err(Error::new(format!("{}: fault injected: ECANCELED", step.name()))),
                FaultKind::Kill => sys::kill_self(),
            },
            _ => Ok(()),
        }
    }
}

/// The last step of the host half that tests can make fail.
///
/// # Errors
/// Only when a test asks for it.
pub fn poststart_fault(request: &Request) -> Result<()> {
    Faults::new(request).at(Step::PoststartHooks)
}
