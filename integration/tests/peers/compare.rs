//! cleat does what runc does, but for what `docs/differences.md` gives a reason for.
//!
//! The inputs are in `integration/compare/cases`; `docs/testing.md` tells how to add one. The peers are those of the
//! root directory `PEERS_ROOT`, by default one that is made in `target/peers`.

use std::path::PathBuf;
use std::process::Command;

use compare::{Bench, Case, Documented, Report, cases, folder};
use integration::{in_guest, require_controllers, skip};

/// Those that a hybrid host has in the trees of version 1.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The root directory with the peers. Without one the test is skipped, but where `CI` says that nobody looks, it fails.
fn peers() -> PathBuf {
    if let Some(root) = variable("PEERS_ROOT") {
        return root;
    }
    let root = folder().join("../../target/peers");
    // In the guest nothing can be fetched.
    let made = in_guest() || Command::new(folder().join("prepare")).arg(&root).status().is_ok_and(|s| s.success());
    if made && root.join("usr/bin/crun").exists() {
        return root;
    }
    let why = "no root directory with runc and crun: integration/compare/prepare makes one of Debian's packages, \
               PEERS_ROOT names another";
    assert!(variable("CI").is_none(), "{why}");
    skip(why)
}

fn documented() -> Documented {
    Documented::read().unwrap_or_else(|error| panic!("{error}"))
}

/// Whether an input is about what only those controllers can do.
fn has_limits(case: &Case) -> bool {
    case.controllers.iter().any(|needed| CONTROLLERS.contains(&needed.as_str()))
}

/// Runs the inputs that `wanted` names. `complete`: a line of the list that none of them shows is one too many.
fn run(wanted: impl Fn(&Case) -> bool, complete: bool) {
    let root = peers();
    let mut cases = cases().unwrap_or_else(|error| panic!("{error}"));
    cases.retain(wanted);
    let bench = Bench::new(&root, &integration::program(), &integration::probe());
    let bench = bench.unwrap_or_else(|error| panic!("{error}"));
    let report = Report::new(&bench, cases, documented(), complete);
    let complaints = report.complaints();
    assert!(complaints.is_empty(), "{complaints}\n{}", report.summary());
    eprintln!("{}", report.summary());
}

#[test]
fn what_differs_from_runc_is_documented_and_what_is_documented_differs() {
    if in_guest() {
        skip("the inputs that need no controller have been seen on the host, ten times as fast");
    }
    run(|case| !has_limits(case), true);
}

#[test]
fn limits_do_what_those_of_runc_do() {
    require_controllers(&CONTROLLERS);
    run(has_limits, false);
}
