//! Our documents, read by the specification's own types (the oci-spec crate).

use cleat::commands::{features, spec};
use cleat_plan::Step;

#[test]
fn the_default_configuration_is_one_by_the_specification() {
    let config = spec::default_config().unwrap();
    assert_eq!(config["ociVersion"], cleat::container::OCI_VERSION);
    let theirs: oci_spec::runtime::Spec = serde_json::from_value(config.clone()).unwrap();
    let text = serde_json::to_vec(&config).unwrap();
    let ours: cleat::spec::Spec = cleat::spec::parse("config.json", &text).unwrap();
    assert_eq!(theirs.mounts().as_ref().map(Vec::len), Some(ours.mounts.len()));
    assert_eq!(theirs.process().as_ref().and_then(|p| p.args().clone()), ours.process.map(|p| p.args));
}

#[test]
fn both_readers_understand_what_the_other_writes() {
    // Every property that oci-spec has by default, as its own types write it.
    let text = serde_json::to_vec(&oci_spec::runtime::Spec::default()).unwrap();
    let ours: cleat::spec::Spec = cleat::spec::parse("config.json", &text).unwrap();
    let theirs = oci_spec::runtime::Spec::default();
    assert_eq!(ours.mounts.len(), theirs.mounts().as_ref().map_or(0, Vec::len));
    assert_eq!(
        ours.linux.namespaces.len(),
        theirs.linux().as_ref().and_then(|l| l.namespaces().as_ref()).map_or(0, Vec::len)
    );
    assert_eq!(ours.process.unwrap().cwd, "/");
}

#[test]
fn the_features_document_is_one_by_the_specification() {
    let document = features::document();
    let theirs: oci_spec::runtime::Features = serde_json::from_value(document).unwrap();
    assert_eq!(theirs.oci_version_max(), cleat::container::OCI_VERSION);
    let options = theirs.mount_options().as_ref().unwrap();
    for option in ["rbind", "rro", "ridmap", "tmpcopyup", "nosymfollow"] {
        assert!(options.iter().any(|o| o == option), "{option}");
    }
}

/// The list in docs/startup.md is the list in the code.
#[test]
fn the_document_lists_every_step_in_order() {
    let document = include_str!("../../docs/startup.md");
    let listed: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | `").filter(|(n, _)| n.parse::<u32>().is_ok()))
        .filter_map(|(_, rest)| rest.split_once('`').map(|(name, _)| name))
        .collect();
    assert_eq!(listed, Step::ALL.iter().map(|step| step.name()).collect::<Vec<_>>());
}

/// The table of the kernel's features in docs/kernel.md is the one that `cleat check` asks for.
#[test]
fn the_document_lists_every_feature_of_the_kernel() {
    let document = include_str!("../../docs/kernel.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let listed: Vec<Vec<String>> =
        rows.skip(1).map(|row| row.split(" | ").map(|cell| cell.replace('`', "")).collect()).collect();
    let asked: Vec<Vec<String>> =
        cleat::probe::kernel_features::table().iter().map(|row| row.map(String::from).to_vec()).collect();
    assert_eq!(listed, asked, "docs/kernel.md and runtime/src/probe/kernel_features.rs differ");
}
