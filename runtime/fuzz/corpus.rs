//! What `make fuzz` has found worth keeping (`corpus`) is checked by tests as it is there.

use std::fs;
use std::path::Path;

/// What is checked of an input.
pub(crate) type Check = fn(&[u8]);

/// Checks every input of these targets, which are all whose names are chosen. A failure tells its file by the
/// output of the test.
pub(crate) fn check(corpus: &str, is_chosen: fn(&str) -> bool, targets: &[(&str, Check)]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(corpus);
    let names = fs::read_dir(&corpus).expect("a corpus").flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.into_string().expect("UTF-8"));
    let mut directories: Vec<_> = names.filter(|name| is_chosen(name)).collect();
    directories.sort();
    assert_eq!(directories, targets.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, check) in targets {
        let files = fs::read_dir(corpus.join(name)).expect("a corpus").flatten().map(|entry| entry.path());
        for file in files {
            println!("{}", file.display());
            check(&fs::read(&file).expect("an input"));
        }
    }
}
