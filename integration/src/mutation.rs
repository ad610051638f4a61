//! What is taken out of the runtime to see a test fail? The files in `mutations/`.
//!
//! ```text
//! # What an attacker gains.
//! tries: 300
//! fails: hostile::cve_2021_30465_a_mount_target_that_becomes_a_link: words of its failure | or others
//! in: runtime/init/src/path.rs
//! -lines as they are, indented as one likes
//! +lines in their place
//! ```
//!
//! Several tests and several edits may be named; a `-` after a `+` begins another place of the
//! same file. A test is named as `FILE::TEST`, and `unit::PATH::TEST` for one of `cargo test -p cleat`.

use std::fs;
use std::path::{Path, PathBuf};

/// One defence, and how it is taken out.
#[derive(Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The file's name.
    pub name: String,
    /// How often races are tried.
    pub tries: u32,
    /// The tests that fail without it.
    pub failures: Vec<Failure>,
    /// What is changed.
    pub edits: Vec<Edit>,
}

/// A test that fails without a defence.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The file of `integration/tests`, or `unit`.
    pub file: String,
    /// The function, with its modules in a unit test.
    pub test: String,
    /// What its failure says, that the attack has succeeded: one of these.
    pub says: Vec<String>,
}

/// Lines of one file that take the place of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Below the workspace.
    pub file: PathBuf,
    old: Vec<String>,
    new: Vec<String>,
}

impl Mutation {
    /// All of them, by name.
    ///
    /// # Panics
    /// When one is not written as it should be; says which and where.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations");
        let mut names: Vec<_> = fs::read_dir(&dir).expect("mutations").flatten().map(|entry| entry.path()).collect();
        names.retain(|path| path.extension().is_none());
        names.sort();
        let read = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(path).expect("a defence");
            Self::parse(&name, &text).unwrap_or_else(|error| panic!("mutations/{name}: {error}"))
        };
        names.iter().map(read).collect()
    }

    /// Reads one.
    ///
    /// # Errors
    /// The line that is not understood, or what is missing.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut this = Self { name: name.to_owned(), tries: 300, failures: Vec::new(), edits: Vec::new() };
        let mut file = None;
        for line in text.lines() {
            let wrong = || format!("not understood: {line:?}");
            if let Some(number) = line.strip_prefix("tries: ") {
                this.tries = number.parse().map_err(|_| wrong())?;
            } else if let Some(failure) = line.strip_prefix("fails: ") {
                let (test, says) = failure.split_once(": ").ok_or_else(wrong)?;
                let (file, test) = test.split_once("::").ok_or_else(wrong)?;
                this.failures.push(Failure {
                    file: file.into(),
                    test: test.into(),
                    says: says.split(" | ").map(str::to_owned).collect(),
                });
            } else if let Some(path) = line.strip_prefix("in: ") {
                file = Some(PathBuf::from(path));
                this.edits.push(Edit { file: path.into(), ..Edit::default() });
            } else if let Some(old) = line.strip_prefix('-') {
                let file = file.clone().ok_or_else(wrong)?;
                if this.edits.last().is_none_or(|edit| !edit.new.is_empty()) {
                    this.edits.push(Edit { file, ..Edit::default() });
                }
                this.edits.last_mut().ok_or_else(wrong)?.old.push(old.to_owned());
            } else if let Some(new) = line.strip_prefix('+') {
                this.edits.last_mut().ok_or_else(wrong)?.new.push(new.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                return Err(wrong());
            }
        }
        if this.failures.is_empty() || this.edits.is_empty() || this.edits.iter().any(|edit| edit.old.is_empty()) {
            return Err("it needs \"fails:\", \"in:\" and lines with - and +".to_owned());
        }
        Ok(this)
    }

    /// The files that it changes, as they are without it.
    ///
    /// # Errors
    /// An edit does not apply; says which text is not there, or is there more than once.
    pub fn take_out(&self, workspace: &Path) -> Result<Vec<(PathBuf, String)>, String> {
        let mut changed: Vec<(PathBuf, String)> = Vec::new();
        for edit in &self.edits {
            let path = edit.file.display();
            let before = match changed.iter().position(|(file, _)| *file == edit.file) {
                Some(at) => changed.remove(at).1,
                None => fs::read_to_string(workspace.join(&edit.file)).map_err(|error| format!("{path}: {error}"))?,
            };
            let after = edit.apply(&before).map_err(|error| format!("mutations/{}: {path}: {error}", self.name))?;
            changed.push((edit.file.clone(), after));
        }
        Ok(changed)
    }
}

impl Edit {
    /// The text with the old lines replaced; indentation does not count.
    ///
    /// # Errors
    /// They are not there exactly once.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let lines: Vec<&str> = text.lines().collect();
        let same = |window: &[&str]| window.iter().zip(&self.old).all(|(line, old)| line.trim() == old.trim());
        let found: Vec<usize> =
            lines.windows(self.old.len()).enumerate().filter(|(_, window)| same(window)).map(|(at, _)| at).collect();
        let [at] = found[..] else {
            let times = if found.is_empty() { "is not there any more" } else { "is there more than once" };
            return Err(format!("the text to be changed {times}: {:?}", self.old.join("\n")));
        };
        let (before, rest) = lines.split_at(at);
        let new = self.new.iter().map(String::as_str);
        let after = rest.iter().skip(self.old.len()).copied();
        Ok(before.iter().copied().chain(new).chain(after).map(|line| format!("{line}\n")).collect())
    }
}
