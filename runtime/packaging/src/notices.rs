//! Whose code is in the binaries, and under which licences?

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use anyhow::{Context, Result, bail};

/// The crates that are linked into what is shipped.
pub(crate) const ROOTS: [&str; 3] = ["cleat", "containerd-shim-cleat", "cleat-init"];

/// What is linked in besides crates: name, licence, and the notice that must be kept.
const OTHERS: [(&str, &str, &str); 2] = [
    (
        "the Rust standard library",
        "MIT OR Apache-2.0",
        "Copyright (c) The Rust Project Contributors, https://www.rust-lang.org/policies/licenses",
    ),
    ("musl libc (in builds for musl)", "MIT", "Copyright (c) 2005-2020 Rich Felker, et al."),
];

/// One crate.
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) licence: String,
    /// Whether it is one of this workspace.
    pub(crate) is_own: bool,
    /// The sha256 of its archive, by Cargo.lock.
    pub(crate) sha256: Option<String>,
    /// What it uses, by id.
    pub(crate) uses: Vec<String>,
    dir: PathBuf,
}

/// All of them by id, in one order.
pub(crate) struct Shipped {
    /// By cargo's id of the package.
    pub(crate) crates: BTreeMap<String, Crate>,
}

impl Shipped {
    /// Finds them in the output of `cargo metadata`.
    ///
    /// # Errors
    /// It is not that, a crate has no licence, or Cargo.lock cannot be read.
    pub(crate) fn of(metadata: &Value) -> Result<Shipped> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages: BTreeMap<String, Value> =
            list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
        let nodes: BTreeMap<String, Value> =
            list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
        let sums = checksums(&Path::new(&text(&metadata["workspace_root"])).join("Cargo.lock"))?;
        let is_macro = |id: &str| {
            list(&packages[id]["targets"]).iter().any(|target| list(&target["kind"]).contains(&"proc-macro".into()))
        };
        let is_root = |package: &Value| package["source"].is_null() && ROOTS.contains(&&*text(&package["name"]));
        let mut crates = BTreeMap::new();
        let mut rest: Vec<String> =
            packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| id.clone()).collect();
        if rest.len() != ROOTS.len() {
            bail!("cargo metadata does not have all crates that are shipped");
        }
        while let Some(id) = rest.pop() {
            if crates.contains_key(&id) {
                continue;
            }
            let package = &packages[&id];
            // What runs while it is compiled is in no binary.
            let is_linked = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let uses: Vec<String> = list(&nodes[&id]["deps"])
                .iter()
                .filter(|dep| is_linked(dep))
                .map(|dep| text(&dep["pkg"]))
                .filter(|used| !is_macro(used))
                .collect();
            rest.extend(uses.iter().cloned());
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let licence = text(&package["license"]).replace('/', " OR ");
            if licence.is_empty() {
                bail!("{name} {version} has no licence");
            }
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let dir = manifest.parent().map(Path::to_owned).unwrap_or_default();
            let sha256 = sums.get(&(name.clone(), version.clone())).cloned();
            let is_own = package["source"].is_null();
            crates.insert(id, Crate { name, version, licence, is_own, sha256, uses, dir });
        }
        Ok(Shipped { crates })
    }

    /// Crates of others, by name.
    pub(crate) fn others(&self) -> Vec<&Crate> {
        let mut found: Vec<&Crate> = self.crates.values().filter(|one| !one.is_own).collect();
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found
    }

    /// The licences of all, and the texts that came with them, each once.
    ///
    /// # Errors
    /// A crate has no text, or it cannot be read.
    pub(crate) fn licences(&self) -> Result<String> {
        let mut out =
            "The binaries of cleat contain code of others. Its licences, and what their owners ask to be kept:\n\n"
                .to_owned();
        let mut texts: Vec<(String, BTreeSet<String>)> = Vec::new();
        for one in self.others() {
            let label = format!("{} {}", one.name, one.version);
            out += &format!("  {label}: {}\n", one.licence);
            let found = texts_of(&one.dir)?;
            if found.is_empty() {
                bail!("{label}: no licence text in {}", one.dir.display());
            }
            for text in found {
                match texts.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, labels)) => drop(labels.insert(label.clone())),
                    None => texts.push((text, BTreeSet::from([label.clone()]))),
                }
            }
        }
        for (name, licence, notice) in OTHERS {
            out += &format!("  {name}: {licence}; {notice}\n");
        }
        for (text, labels) in texts {
            let labels: Vec<String> = labels.into_iter().collect();
            out += &format!("\n{}\n{}\n\n{}\n", "=".repeat(100), labels.join(", "), text.trim_matches('\n'));
        }
        Ok(out)
    }
}

/// The files of a crate that a licence asks to be kept.
fn texts_of(dir: &Path) -> Result<Vec<String>> {
    let is_notice = |name: &str| {
        ["license", "licence", "copying", "copyright", "notice", "unlicense"]
            .iter()
            .any(|word| name.to_lowercase().starts_with(word))
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(is_notice))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| -> Result<String> {
        std::fs::read_to_string(path).with_context(|| path.display().to_string())
    };
    paths.iter().map(|path| Ok(read(path)?.replace("\r\n", "\n"))).collect()
}

/// The checksums in Cargo.lock, by name and version.
fn checksums(path: &Path) -> Result<BTreeMap<(String, String), String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let value = |block: &str, key: &str| {
        block.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))?.strip_suffix('"').map(str::to_owned))
    };
    Ok(text
        .split("[[package]]")
        .filter_map(|block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?)))
        .collect())
}
