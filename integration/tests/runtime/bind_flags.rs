//! The flags of bind mounts: what options ask for is what is set, as with runc (CRI sends such options
//! for every volume). `bind_flags/table` says what runc makes of each combination.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fmt::Write as _;
use std::path::Path;

use integration::{Bundle, Runtime, is_peer, options_of};

/// One row of the table: what is asked for, and what comes of it for each source.
struct Row {
    user_namespace: bool,
    options: &'static str,
    flags: Vec<&'static str>,
}

/// The flags of the sources, and what comes of them.
fn table() -> (Vec<&'static str>, Vec<Row>) {
    let mut lines = include_str!("bind_flags/table").lines().filter(|line| !line.starts_with('#'));
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    let sources = cells(lines.next().expect("a head"))[2..].to_vec();
    let mut rows: Vec<Row> = Vec::new();
    for line in lines {
        let cells = cells(line);
        let (kind, options, mut flags) = (cells[0], cells[1], cells[2..].to_vec());
        for (index, cell) in flags.iter_mut().enumerate().filter(|(_, cell)| **cell == "-") {
            let host = rows.iter().find(|row| row.options == options).expect("a row of the host");
            *cell = host.flags[index];
        }
        assert_eq!(flags.len(), sources.len(), "{line}");
        rows.push(Row { user_namespace: kind == "u", options, flags });
    }
    (sources, rows)
}

/// cleat's second wall: in a user namespace a mount is `nodev` unless `dev` is asked for.
fn expected(row: &Row, flags: &'static str) -> Option<Vec<String>> {
    if flags == "error" {
        return None;
    }
    let mut all: Vec<String> = flags.split(',').map(str::to_owned).collect();
    let asked = row.options.split(' ').any(|option| option == "dev" || option == "nodev");
    if row.user_namespace && !is_peer() && !asked && !all.iter().any(|flag| flag == "nodev") {
        all.push("nodev".to_owned());
    }
    all.sort();
    Some(all)
}

fn options(row: &Row) -> Vec<&'static str> {
    ["rbind"].into_iter().chain(row.options.split_whitespace()).collect()
}

fn bundle(user_namespace: bool) -> Bundle {
    let bundle = Bundle::new();
    if user_namespace { bundle.mapped().given_to(100_000) } else { bundle }
}

/// All rows that succeed in one container, each of the others in one of its own.
fn compare(runtime: &Runtime, source: &Path, rows: &[(&Row, Option<Vec<String>>)], what: &str, seen: &mut String) {
    let user_namespace = rows[0].0.user_namespace;
    let mut good = bundle(user_namespace);
    for (index, (row, _)) in rows.iter().enumerate().filter(|(_, (_, expected))| expected.is_some()) {
        good = good.bind(source, &format!("/t/{index}"), &options(row));
    }
    let facts = runtime.json(&good);
    for (index, (row, expected)) in rows.iter().enumerate() {
        let said = format!("{what}, options {:?}, user namespace: {user_namespace}", row.options);
        let Some(expected) = expected else {
            let outcome = runtime.run(&bundle(user_namespace).bind(source, "/t", &options(row)));
            if outcome.succeeded() {
                writeln!(seen, "{said}: it runs, and must not").expect("a string");
            }
            continue;
        };
        let mut flags = options_of(&facts, &format!("/t/{index}"));
        flags.sort();
        if flags != *expected {
            writeln!(seen, "{said}: {flags:?}, not {expected:?}").expect("a string");
        }
    }
}

/// Every combination of the table.
fn compare_all(user_namespace: bool) {
    let (sources, rows) = table();
    let mut seen = String::new();
    for (index, flags) in sources.iter().enumerate() {
        let setup = Runtime::new();
        let source = setup.dir().join("source");
        std::fs::create_dir(&source).expect("a directory");
        let script = format!("mount -t tmpfs s {0} && mount -o remount,bind,{flags} {0}", source.display());
        let runtime = setup.after(&script);
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| row.user_namespace == user_namespace)
            .map(|row| (row, expected(row, row.flags[index])))
            .collect();
        compare(&runtime, &source, &rows, &format!("source {flags}"), &mut seen);
    }
    assert!(seen.is_empty(), "{seen}");
}

/// config.md § Mounts. What is asked for is set, and no other flag of the source is kept; access times are
/// kept unless they are asked for; nothing asked for keeps all.
#[test]
fn flags_are_those_that_are_asked_for() {
    compare_all(false);
}

/// mount_namespaces(7): what a user namespace may not take away stays, but is an error if its opposite was
/// asked for.
#[test]
fn locked_flags_stay_unless_their_opposite_is_asked_for() {
    compare_all(true);
}
