//! Profiles of AppArmor, for as long as a test needs them.

use std::fs;
use std::process::Command;

use crate::harness::skip;
use crate::host::in_guest;
use crate::requires::missing_for_apparmor;
use crate::temp::{TempDir, unique_name};

/// Profiles that are loaded, unloaded when they leave scope: whatever runs under them must have
/// ended by then, or goes on unconfined.
#[derive(Debug)]
pub struct Profiles {
    dir: TempDir,
    name: String,
}

impl Profiles {
    /// One profile for each of `(NAME, RULES)`. Each allows what is not denied in its rules.
    ///
    /// Where there is no AppArmor, the test is skipped.
    ///
    /// # Panics
    /// In the guest, which has AppArmor; when the profiles cannot be loaded.
    #[must_use]
    pub fn load(profiles: &[(&str, &str)]) -> Self {
        Self::load_if_any(profiles).unwrap_or_else(|reason| skip(reason))
    }

    /// The same.
    ///
    /// # Errors
    /// There is no AppArmor: the reason.
    ///
    /// # Panics
    /// In the guest, which has AppArmor; when the profiles cannot be loaded.
    pub fn load_if_any(profiles: &[(&str, &str)]) -> Result<Self, &'static str> {
        if let Some(reason) = missing_for_apparmor() {
            assert!(!in_guest(), "{reason}");
            return Err(reason);
        }
        let this = Self { dir: TempDir::new(), name: unique_name() };
        let text: String = profiles
            .iter()
            .map(|(name, rules)| {
                let name = this.name(name);
                let all = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,";
                format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  {all}\n  {rules}\n}}\n")
            })
            .collect();
        fs::write(this.file(), text).expect("a file of profiles");
        this.parser("--replace");
        Ok(this)
    }

    /// The name that the kernel knows a profile by.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("profiles")
    }

    fn parser(&self, order: &str) {
        let mut parser = Command::new("apparmor_parser");
        // Neither the host's settings nor its cache.
        let output = parser.args(["--config-file", "/dev/null", "--skip-cache", order]).arg(self.file()).output();
        let output = output.expect("apparmor_parser");
        assert!(output.status.success(), "{parser:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.parser("--remove");
        }
    }
}
