//! cleat does what runc does, but for what `docs/differences.md` gives a reason for.
//!
//! The inputs are in `cases`; `docs/testing.md` tells how to add one. The programs are those of `CLEAT_RUNTIME` and
//! `CLEAT_PROBE`, by default this workspace's release build; the peers those of the root directory `PEERS_ROOT`, by
//! default one that is made in `target/peers`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use compare::{Bench, Case, Documented, Report, cases, folder};

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn target(path: &str) -> PathBuf {
    folder().join("../../target").join(path)
}

/// A static program of this workspace.
fn built(name: &str, named_by: &str) -> PathBuf {
    let of = |libc: &str| target(&format!("{}-unknown-linux-{libc}/release/{name}", std::env::consts::ARCH));
    variable(named_by).unwrap_or_else(|| Some(of("musl")).filter(|path| path.exists()).unwrap_or_else(|| of("gnu")))
}

/// The root directory with the peers; `None` where it cannot be had.
fn peers(in_guest: bool) -> Option<PathBuf> {
    if let Some(root) = variable("PEERS_ROOT") {
        return Some(root);
    }
    let root = target("peers");
    if in_guest {
        // Nothing can be fetched there.
        return Some(root).filter(|root| root.exists());
    }
    let made = Command::new(folder().join("prepare")).arg(&root).status();
    made.is_ok_and(|status| status.success()).then_some(root)
}

fn all_cases() -> Vec<Case> {
    cases().unwrap_or_else(|error| panic!("{error}"))
}

fn documented() -> Documented {
    Documented::read().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_differs_from_runc_is_documented_and_what_is_documented_differs() {
    let in_guest = variable("CLEAT_IN_GUEST").is_some();
    let Some(root) = peers(in_guest) else {
        eprintln!("SKIPPED: no root directory with runc and crun, see above");
        return;
    };
    let mut cases = all_cases();
    if in_guest {
        // All that needs no controller has been seen on the host, ten times as fast.
        cases.retain(|case| !case.controllers.is_empty());
    }
    let bench = Bench::new(&root, &built("cleat", "CLEAT_RUNTIME"), &built("probe", "CLEAT_PROBE"));
    let bench = bench.unwrap_or_else(|error| panic!("{error}"));
    let report = Report::new(&bench, cases, documented(), !in_guest);
    eprintln!("{}", report.summary());
    let complaints = report.complaints();
    assert!(complaints.is_empty(), "{complaints}\n{}", report.summary());
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
