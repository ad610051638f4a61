//! SECURITY.md, the tests that it names and the defences that can be taken out are about the same.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use integration::{Edit, Mutation};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One line of the record.
struct Row {
    ids: Vec<String>,
    defence: String,
    tests: Vec<String>,
    changes: Vec<String>,
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The files that are linked to.
fn linked(cell: &str) -> Vec<String> {
    cell.split("](mutations/").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// `CVE-…`, `GHSA-…` and `project#N`.
fn ids(cell: &str) -> Vec<String> {
    let is_id = |word: &&str| word.starts_with("CVE-") || word.starts_with("GHSA-") || word.contains('#');
    cell.split(' ').filter(is_id).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(workspace().join("integration/SECURITY.md")).expect("SECURITY.md");
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| known as"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [known, _, defence, tests, without] = cells[..] else { panic!("not five columns: {line}") };
        Row { ids: ids(known), defence: defence.to_owned(), tests: quoted(tests), changes: linked(without) }
    };
    lines.map(row).collect()
}

/// A test's doc comment; `None` when there is no such test.
fn comment_of(test: &str) -> Option<String> {
    let (file, name) = test.split_once("::")?;
    let path = if file == "unit" {
        let modules = name.trim_end_matches(|c| c != ':').trim_end_matches("::").trim_end_matches("::tests");
        let module = workspace().join("runtime/src").join(modules.replace("::", "/"));
        let alone = module.join("tests.rs");
        if alone.exists() { alone } else { module.with_extension("rs") }
    } else {
        integration::chapter_file(file)?
    };
    let text = fs::read_to_string(path).ok()?;
    let function = format!("fn {}()", name.rsplit("::").next()?);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&function))?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let comment: Vec<&str> = above.filter_map(|line| line.strip_prefix("///")).collect();
    Some(comment.into_iter().rev().collect::<String>())
}

/// Each change can be made: the code that it is about is still there.
#[test]
fn every_defence_can_be_taken_out() {
    let all = Mutation::all();
    assert!(all.len() > 40, "only {} defences", all.len());
    let errors: Vec<_> = all.iter().filter_map(|defence| defence.take_out(&workspace()).err()).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// Each test that is named exists.
#[test]
fn every_test_that_is_named_exists() {
    let of_defences = Mutation::all().into_iter().flat_map(|defence| defence.failures);
    let mut named: BTreeSet<_> = of_defences.map(|failure| format!("{}::{}", failure.file, failure.test)).collect();
    named.extend(rows().into_iter().flat_map(|row| row.tests));
    let missing: Vec<_> = named.iter().filter(|test| comment_of(test).is_none()).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

/// Each line of the record names its tests, each of them says which line it is about, and is seen to fail without
/// one of the line's defences. Or the line says why it does not concern us.
#[test]
fn every_line_of_the_record_is_proven() {
    let defences = Mutation::all();
    let rows = rows();
    assert!(rows.len() > 35, "only {} lines", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let ids = row.ids.join(" ");
        if row.tests.is_empty() && !row.defence.starts_with("not concerned: ") {
            wrong.push(format!("{ids}: no test, and no reason"));
        }
        for change in &row.changes {
            if defences.iter().all(|defence| defence.name != *change) {
                wrong.push(format!("{ids}: there is no mutations/{change}"));
            }
        }
        let named = defences.iter().filter(|defence| row.changes.contains(&defence.name));
        let proven: Vec<_> = named.flat_map(|d| &d.failures).map(|f| format!("{}::{}", f.file, f.test)).collect();
        for test in row.tests.iter().filter(|test| !proven.contains(test)) {
            wrong.push(format!("{ids}: {test} is not seen to fail"));
        }
        let comments: Vec<_> = row.tests.iter().map(|test| (test, comment_of(test).unwrap_or_default())).collect();
        for (test, comment) in &comments {
            if !row.ids.is_empty() && !row.ids.iter().any(|id| comment.contains(id)) {
                wrong.push(format!("{ids}: {test} does not say that it is about it"));
            }
        }
        for id in row.ids.iter().filter(|_| !comments.is_empty()) {
            if !comments.iter().any(|(_, comment)| comment.contains(id)) {
                wrong.push(format!("{id}: no test says that it is about it"));
            }
        }
    }
    for defence in &defences {
        if rows.iter().all(|row| !row.changes.contains(&defence.name)) {
            wrong.push(format!("mutations/{} is in no line of SECURITY.md", defence.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each function that is named as a defence is where it is said to be.
#[test]
fn every_function_that_is_named_exists() {
    for row in rows() {
        let words = quoted(&row.defence);
        let mut names: Vec<&String> = Vec::new();
        for word in &words {
            let is_file = Path::new(word).extension().is_some_and(|extension| extension == "rs");
            if !is_file {
                names.push(word);
                continue;
            }
            let text = fs::read_to_string(workspace().join(word)).unwrap_or_else(|error| panic!("{word}: {error}"));
            for name in names.drain(..) {
                let found = [format!("fn {name}("), format!("fn {name}<"), format!("struct {name}")]
                    .iter()
                    .any(|item| text.contains(item));
                assert!(found || name.contains(['/', '.']), "{:?}: there is no {name} in {word}", row.ids);
            }
        }
    }
}

/// How a change is read and made.
#[test]
fn a_change_applies_to_one_place_alone() {
    let text =
        "# why\ntries: 7\nfails: cve_rootfs::a_test: it says: so | or else\nin: a.rs\n-one();\n+two();\n-three();\n+\n";
    let defence = Mutation::parse("name", text).expect("a defence");
    assert_eq!(
        (defence.tries, defence.edits.len(), defence.failures[0].says.join("/")),
        (7, 2, "it says: so/or else".into())
    );
    let edit: &Edit = &defence.edits[0];
    assert_eq!(edit.apply("fn f() {\n    one();\n}\n").as_deref(), Ok("fn f() {\ntwo();\n}\n"));
    let error = edit.apply("one();\none();\n").expect_err("two places");
    assert!(error.contains("more than once") && error.contains("one();"), "{error}");
    let error = edit.apply("four();\n").expect_err("no place");
    assert!(error.contains("not there any more"), "{error}");
    for wrong in
        ["", "fails: cve_rootfs::a: b\n", "fails: nothing\nin: a\n-x\n", "fails: a::b: c\nin: a\n+x\n", "what\n"]
    {
        assert!(Mutation::parse("name", wrong).is_err(), "{wrong:?}");
    }
}
