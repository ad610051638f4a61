//! What, besides config.json, has decided how a container was made?
//!
//! The plan is a pure function of what was asked, of config.json and of the machine. `audit` makes it
//! again, maybe as another user: what of it does not stand in config.json is remembered here.

use std::hash::Hasher;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cli::Rootless;
use crate::error::{Context, Result};
use crate::plan::host::Host;
use crate::plan::{IdMap, Request};
use crate::sys;

/// Who made the container, and how config.json was then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Basis {
    pub euid: u32,
    pub egid: u32,
    pub capabilities: u64,
    pub setgroups_denied: bool,
    pub own_uids: Vec<IdMap>,
    pub own_gids: Vec<IdMap>,
    pub rootless: Rootless,
    #[serde(default)]
    pub no_cgroups: bool,
    pub no_pivot: bool,
    pub filters: u32,
    pub config: Fingerprint,
    /// Where that is, if not in the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// A keyed hash of config.json (SipHash-2-4): the key's halves and the value. Who may write the bundle cannot read the key, and so
/// cannot make another config.json of the same fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u64; 3]);

impl Basis {
    /// That of a container that is being made.
    ///
    /// # Errors
    /// Those of getrandom(2).
    pub fn of(request: &Request, host: &Host, config: &[u8]) -> Result<Basis> {
        Ok(Basis {
            euid: host.euid,
            egid: host.egid,
            capabilities: host.capabilities,
            setgroups_denied: host.setgroups_denied,
            own_uids: host.own_uids.clone(),
            own_gids: host.own_gids.clone(),
            rootless: host.rootless_asked,
            no_cgroups: host.no_cgroups,
            no_pivot: request.no_pivot,
            filters: own_filters(),
            config: Fingerprint::of(config)?,
            file: None,
        })
    }

    /// Whether who made it was in another user namespace than the machine's own: only there is
    /// anything mapped.
    #[must_use]
    pub fn in_user_namespace(&self) -> bool {
        !self.own_uids.is_empty()
    }

    /// The machine as it was found then, as far as that decides; the rest as it is now.
    #[must_use]
    pub fn host(&self, now: Host) -> Host {
        Host {
            euid: self.euid,
            egid: self.egid,
            capabilities: self.capabilities,
            setgroups_denied: self.setgroups_denied,
            in_user_namespace: self.in_user_namespace(),
            own_uids: self.own_uids.clone(),
            own_gids: self.own_gids.clone(),
            rootless_asked: self.rootless,
            no_cgroups: self.no_cgroups,
            ..now
        }
    }
}

/// How many seccomp filters this process has, and so hands on.
fn own_filters() -> u32 {
    // Most have none, and need not read a file to know.
    let text = crate::sys::is_filtered().then(|| std::fs::read_to_string("/proc/self/status").ok()).flatten();
    let count = |text: &str| text.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")?.trim().parse().ok());
    text.as_deref().and_then(count).unwrap_or(0)
}

impl Fingerprint {
    fn of(text: &[u8]) -> Result<Fingerprint> {
        let random = || sys::random().context("getrandom");
        let (a, b) = (random()?, random()?);
        Ok(Fingerprint([a, b, hash((a, b), text)]))
    }

    /// Whether config.json is the same as then.
    #[must_use]
    pub fn is_of(&self, text: &[u8]) -> bool {
        let [a, b, value] = self.0;
        hash((a, b), text) == value
    }
}

/// The standard library's other hashers take no key that could be kept.
#[allow(deprecated)]
fn hash(key: (u64, u64), text: &[u8]) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(key.0, key.1);
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_one_text_and_one_key() {
        let (one, other) = (Fingerprint::of(b"{}").unwrap(), Fingerprint::of(b"{}").unwrap());
        assert!(one.is_of(b"{}") && !one.is_of(b"{} "));
        assert_ne!(one, other);
        // The reference implementation's vector for the key 0, 1, … 15 and no text.
        assert_eq!(hash((0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908), b""), 0x726f_db47_dd0e_0e31);
    }
}
