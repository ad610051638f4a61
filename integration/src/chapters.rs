//! Where is a chapter of the tests?

use std::fs;
use std::path::{Path, PathBuf};

/// The file of a chapter, in one of the folders of `integration/tests`; `None`: there is no such chapter.
#[must_use]
pub fn chapter_file(chapter: &str) -> Option<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    // The same chapter on another containerd.
    let name = format!("{}.rs", chapter.strip_suffix("_sid").unwrap_or(chapter));
    let programs = fs::read_dir(tests).into_iter().flatten().flatten();
    programs.map(|program| program.path().join(&name)).find(|file| name != "main.rs" && file.is_file())
}

/// The program of tests that a chapter is in: what `cargo test --test` takes.
#[must_use]
pub fn program_of(chapter: &str) -> Option<String> {
    Some(chapter_file(chapter)?.parent()?.file_name()?.to_string_lossy().into_owned())
}
