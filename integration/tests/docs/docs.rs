//! What the documents say is true as far as names go: tests, files, headings. The README stays one page.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
            let file = integration::chapter_file(chapter);
            let known = if chapter == "cleat" {
                of_crate.contains(test)
            } else {
                file.as_deref().is_some_and(|file| tests_of(file).contains(test))
            };
            let is_name = test.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if is_name && (chapter == "cleat" || file.is_some() || test.contains('_')) {
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

/// No file is forgotten: each is a module of its program, and none is a program of its own, whose tests would
/// not be counted.
#[test]
fn every_chapter_is_in_a_program() {
    let mut chapters = 0;
    for program in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).expect("tests").flatten() {
        let folder = program.path();
        let main = fs::read_to_string(folder.join("main.rs"));
        let main = main.unwrap_or_else(|error| panic!("{}/main.rs: {error}", folder.display()));
        for file in fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            if file.is_file() && name != "main" {
                chapters += 1;
                assert!(main.contains(&format!("\nmod {name};\n")), "{} is no module of main.rs", file.display());
            }
        }
    }
    assert!(chapters > 30, "only {chapters} chapters");
}

/// The front door and every page of the documentation.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].iter().map(|name| root.join(name)).collect();
    pages.extend(["integration/SECURITY.md", "integration/MATRIX.md"].iter().map(|name| root.join(name)));
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("docs").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The lines of a document outside of code blocks.
fn lines_of(text: &str) -> Vec<&str> {
    let mut code = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    };
    text.lines().filter(outside).collect()
}

/// The anchors of a document's headings, as forges and mdBook make them.
fn anchors_of(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let headings = lines_of(&text).into_iter().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

/// Where the links of a document lead to, as they are written.
fn links_of(text: &str) -> Vec<String> {
    let targets = |line: &str| {
        let after = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        after.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    };
    lines_of(text).into_iter().flat_map(targets).collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let (mut followed, mut broken) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links_of(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, to)| (file, Some(to)));
            let target = match (file, page.parent()) {
                ("", _) | (_, None) => page.clone(),
                (file, Some(folder)) => folder.join(file),
            };
            followed += 1;
            if !target.exists() || anchor.is_some_and(|anchor| !anchors_of(&target).contains(anchor)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(followed > 50, "only {followed} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let listed = links_of(&fs::read_to_string(docs.join("SUMMARY.md")).expect("SUMMARY.md"));
    let listed: BTreeSet<PathBuf> =
        listed.iter().map(|link| docs.join(link)).chain([docs.join("SUMMARY.md")]).collect();
    let there: BTreeSet<PathBuf> = pages().into_iter().filter(|page| page.starts_with(&docs)).collect();
    assert_eq!(listed, there);
}

#[test]
fn the_readme_is_one_page() {
    let readme = fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("README.md");
    assert!(readme.len() <= 8000, "README.md has {} bytes of 8000: details belong to docs/", readme.len());
}
