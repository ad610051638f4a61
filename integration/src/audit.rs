//! What does `cleat audit` say of a container?

use serde_json::Value;

use crate::call::Outcome;

/// The answer of `audit --json ID`.
#[derive(Debug)]
pub struct Audit {
    report: Value,
}

impl Audit {
    /// # Panics
    /// When it could not be audited; says what was seen.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let code = outcome.code();
        assert!(code == 0 || code == 1, "expected an audit of {outcome}");
        let text = &outcome.stdout;
        let report: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
        assert_eq!(report["passes"], code == 0, "exit code {code}: {report:#}");
        Self { report }
    }

    /// All of it, in the shape that docs/audit.md documents.
    #[must_use]
    pub fn report(&self) -> &Value {
        &self.report
    }

    /// Properties that differ, each once.
    #[must_use]
    pub fn differences(&self) -> Vec<&str> {
        self.places("differences")
    }

    /// Properties that differ by the container's own right, each once.
    #[must_use]
    pub fn own_right(&self) -> Vec<&str> {
        self.places("ownRight")
    }

    /// Properties that could not be compared.
    #[must_use]
    pub fn not_checked(&self) -> Vec<&str> {
        self.places("notChecked")
    }

    /// Whether a property was compared, and holds.
    #[must_use]
    pub fn holds(&self, place: &str) -> bool {
        let checked = self.report["checked"].as_array();
        checked.is_some_and(|checked| checked.iter().any(|known| known == place))
    }

    fn places(&self, list: &str) -> Vec<&str> {
        let all = self.report[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut places: Vec<&str> = all.iter().filter_map(|entry| entry["place"].as_str()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// # Panics
    /// When there is a difference; says which.
    pub fn finds_nothing(self) -> Self {
        assert_eq!(self.differences(), [] as [&str; 0], "{:#}", self.report);
        self
    }

    /// # Panics
    /// Unless exactly these properties differ; says which do.
    pub fn finds(self, places: &[&str]) -> Self {
        assert_eq!(self.differences(), places, "{:#}", self.report);
        self
    }
}
