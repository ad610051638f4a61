//! The lists of differences are about what is there: each line about a case, each name about a row of the page.

use std::collections::BTreeSet;

use compare::{Case, Documented, cases, folder};

fn all_cases() -> Vec<Case> {
    cases().unwrap_or_else(|error| panic!("{error}"))
}

fn documented() -> Documented {
    Documented::read().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_difference_of_the_list_has_a_reason_and_each_reason_is_in_the_list() {
    let page = std::fs::read_to_string(folder().join("../../docs/differences.md"));
    let page = page.unwrap_or_else(|error| panic!("docs/differences.md: {error}"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<String> = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect();
    assert_eq!(told, documented().names(), "docs/differences.md (left) and integration/compare/differences (right)");
}

#[test]
fn every_line_of_the_list_is_about_a_case() {
    let nothing = documented().about_nothing(&all_cases());
    assert!(nothing.is_empty(), "no case has such a name: {nothing:#?}");
}
