//! Can containers be checkpointed here, and can this one? Known before anything is frozen.

use std::path::PathBuf;

use serde::Serialize;

use crate::audit::Asked;
use crate::container::Container;
use crate::criu::conversation::{self, Execution};
use crate::criu::{Criu, messages::Features};
use crate::error::{Error, Result};

use super::dump;

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The program.
    pub criu: Option<PathBuf>,
    /// Its version.
    pub version: Option<String>,
    /// The kernel notes which pages change: `--pre-dump` and `--parent-path` save those alone.
    pub memory_tracking: bool,
    /// The kernel lets a restore have memory sent as it is needed.
    pub lazy_pages: bool,
    /// What CRIU keeps connections from packets with, if not its own rules of nftables.
    pub iptables: Option<PathBuf>,
    /// Why not.
    pub problems: Vec<String>,
}

impl Readiness {
    /// Looks at the machine, and at a container.
    #[must_use]
    pub fn of(container: Option<&Container>) -> Readiness {
        let mut found = Readiness {
            criu: conversation::program("criu"),
            iptables: conversation::program("iptables-restore"),
            ..Readiness::default()
        };
        let asked = dump::check_privileges().and_then(|()| found.ask_criu());
        let possible = container.map_or(Ok(()), possible);
        found.problems = [asked, possible].into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        found
    }

    fn ask_criu(&mut self) -> Result<()> {
        let mut criu = Criu::prepare(Execution::default())?;
        criu.execute()?;
        let version = criu.version()?;
        self.version = Some(version.to_string());
        // Those that the kernel lacks are answered by no.
        let features = criu.features(Features { mem_track: Some(true), lazy_pages: Some(true) })?;
        criu.finish();
        self.memory_tracking = features.mem_track == Some(true);
        self.lazy_pages = features.lazy_pages == Some(true);
        Ok(())
    }
}

/// All that a dump of this container finds before it begins.
fn possible(container: &Container) -> Result<()> {
    dump::check_state(container)?;
    let asked = Asked::of(container)?;
    dump::refuse(asked.spec())?;
    match &asked.plan().init.root {
        Some(root) => dump::look(container, root, asked.plan()).map(drop),
        None => Err(Error::new("it has no root file system of its own")),
    }
}
