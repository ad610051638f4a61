//! How does a test make a step of the host half fail? `CLEAT_FAULT=STEP:fail` or `STEP:kill`. And how
//! does `--debug` hear of each?

use std::time::Instant;

use cleat_plan::{FaultKind, Step};

use crate::error::{Error, Result};
use crate::plan::Request;
use crate::sys;

/// The steps of the host half, one of which tests can make fail.
pub(crate) struct Faults<'a> {
    fault: Option<cleat_plan::Fault>,
    debug: Option<&'a dyn Fn(&str)>,
    begun: Instant,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(request: &Request, debug: Option<&'a dyn Fn(&str)>) -> Faults<'a> {
        Faults { fault: request.fault, debug, begun: Instant::now() }
    }

    /// Enters a step.
    pub(crate) fn at(&self, step: Step) -> Result<()> {
        if let Some(debug) = self.debug {
            debug(&format!("step {} after {} us", step.name(), self.begun.elapsed().as_micros()));
        }
        match self.fault {
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
    Faults::new(request, None).at(Step::PoststartHooks)
}
