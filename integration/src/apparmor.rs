//! Profiles of AppArmor, for as long as a test needs them.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::Once;

use crate::host::{TempDir, in_guest, unique_name};

/// Why there can be no profiles here; `None` where there can.
fn missing() -> Option<&'static str> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let parser = Command::new("apparmor_parser").arg("--version").output();
    match (enabled.trim(), parser) {
        ("Y", Ok(_)) => None,
        ("Y", Err(_)) => Some("there is no apparmor_parser here (Debian: apt-get install apparmor)"),
        _ => Some("this kernel has no AppArmor (make guest has one that does)"),
    }
}

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
    /// `None` where there is no AppArmor; that is said once, past the capture of test output.
    ///
    /// # Panics
    /// In the guest, which has AppArmor; when the profiles cannot be loaded.
    #[must_use]
    pub fn load(profiles: &[(&str, &str)]) -> Option<Self> {
        if let Some(reason) = missing() {
            assert!(!in_guest(), "{reason}");
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let _ = writeln!(std::io::stderr(), "\n*** skipped, whatever the next lines say: {reason} ***\n");
            });
            return None;
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
        Some(this)
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
