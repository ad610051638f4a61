//! What the documents say of the tests is true as far as names go.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests in a source file.
fn tests_of(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).expect("a source file");
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        is_test |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ") {
            if std::mem::take(&mut is_test) {
                names.insert(rest.split('(').next().unwrap_or_default().to_owned());
            }
        }
    }
    names
}

fn sources(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_of(&path));
        }
    }
}

/// A test that a document names as `chapter::test`, or as `cleat::test` for one of the crate.
#[test]
fn every_test_that_a_document_names_exists() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut of_crate = BTreeSet::new();
    sources(&here.join("../runtime"), &mut of_crate);
    let mut named = 0;
    let mut missing = Vec::new();
    for document in fs::read_dir(here).expect("integration").flatten().map(|entry| entry.path()) {
        if document.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&document).expect("a document");
        for word in text.split('`').skip(1).step_by(2) {
            let Some((chapter, test)) = word.split_once("::") else { continue };
            let file = here.join("tests").join(format!("{chapter}.rs"));
            let known = if chapter == "cleat" {
                of_crate.contains(test)
            } else {
                file.exists() && tests_of(&file).contains(test)
            };
            let is_name = test.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if is_name && (chapter == "cleat" || file.exists() || test.contains('_')) {
                named += 1;
                if !known {
                    missing.push(format!("{}: {word}", document.display()));
                }
            }
        }
    }
    assert!(named > 100, "only {named} tests are named");
    assert!(missing.is_empty(), "{missing:#?}");
}
