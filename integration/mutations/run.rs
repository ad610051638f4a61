//! `make mutations`: takes each defence out of a copy of the runtime, and sees its tests fail.
//!
//! The tests are this workspace's own. What is changed is a copy of the sources below
//! `target/mutations`; the attacks aim at files of the tests' own, so a runtime without a defence
//! harms nobody.

#![allow(clippy::expect_used, reason = "what is not as expected ends it, and says so")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use integration::{Failure, Mutation, program_of};
use serde_json::Value;

/// What must work with every change, or a failure proves nothing.
const SMOKE: [(&str, &str); 2] =
    [("exec", "exec_joins_the_containers_namespaces_and_cgroup"), ("rootfs", "the_root_is_the_bundles_rootfs")];

/// It is built and tested with the runtime.
const SHIM: &str = "containerd-shim-cleat-v2";

/// As the release, built a hundred times faster. (The init is built as ever, by its own cargo.)
const PROFILE: [&str; 4] = [
    "profile.mutant.inherits=\"release\"",
    "profile.mutant.lto=\"off\"",
    "profile.mutant.codegen-units=16",
    "profile.mutant.incremental=true",
];

/// The copy of the sources, and what is built of it.
struct Copy {
    workspace: PathBuf,
    tree: PathBuf,
    out: PathBuf,
    tests: BTreeMap<String, PathBuf>,
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Files below `dir`, relative to it, but for what is built there.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(at) = rest.pop() {
        for entry in fs::read_dir(dir.join(&at)).into_iter().flatten().flatten() {
            let path = at.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => rest.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Writes only what is not there yet: cargo goes by the time of the last change.
fn write(path: &Path, text: &[u8]) {
    if fs::read(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory below target");
    fs::write(path, text).expect("a file below target");
}

impl Copy {
    fn new(workspace: &Path) -> Self {
        let out = workspace.join("target/mutations");
        let this = Self { workspace: workspace.into(), tree: out.join("tree"), out, tests: test_programs(workspace) };
        for dir in ["runtime", "bundles/probe", "shim", "integration"] {
            let theirs = files(&this.tree.join(dir));
            let ours = files(&workspace.join(dir));
            for gone in theirs.iter().filter(|path| !ours.contains(path)) {
                fs::remove_file(this.tree.join(dir).join(gone)).expect("a file below target");
            }
            for path in ours {
                let path = Path::new(dir).join(path);
                write(&this.tree.join(&path), &fs::read(workspace.join(&path)).expect("a source file"));
            }
        }
        for path in ["Cargo.toml", "Cargo.lock"] {
            write(&this.tree.join(path), &fs::read(workspace.join(path)).expect("a manifest"));
        }
        this
    }

    fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", self.out.join("build"));
        cargo
    }

    /// Builds the tree as it is now; the program, in a directory of its own.
    fn build(&self, name: &str) -> Result<PathBuf> {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let flags = "-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no";
        let mut cargo = self.cargo();
        cargo.args(["build", "--quiet", "--profile", "mutant", "--target", &target, "-p", "cleat"]);
        cargo.args(["-p", "containerd-shim-cleat"]);
        cargo.args(PROFILE.iter().flat_map(|option| ["--config", option]));
        let output = cargo.env("RUSTFLAGS", flags).output().expect("cargo");
        if !output.status.success() {
            bail!("it cannot be built: {}", String::from_utf8_lossy(&output.stderr));
        }
        let dir = self.out.join("bin").join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory below target");
        let built = self.out.join("build").join(target).join("mutant");
        for name in ["cleat", SHIM] {
            fs::copy(built.join(name), dir.join(name)).expect("the program");
        }
        Ok(dir.join("cleat"))
    }

    /// Whether one test passes with this runtime, and what was printed.
    fn passes(&self, file: &str, test: &str, runtime: &Path, tries: u32) -> Result<(bool, String)> {
        let mut command = Command::new("timeout");
        command.arg("1200");
        if file == "unit" {
            command.arg(cargo().get_program()).args(["test", "--quiet", "-p", "cleat", "--lib", "--"]);
            command.current_dir(&self.tree).env("CARGO_TARGET_DIR", self.out.join("build"));
        } else {
            let program = program_of(file).and_then(|program| self.tests.get(&program));
            let program = program.with_context(|| format!("there is no chapter {file} in integration/tests"))?;
            command.arg(program).current_dir(self.workspace.join("integration"));
        }
        let name = if file == "unit" { test.to_owned() } else { format!("{file}::{test}") };
        command.args(["--exact", &name]).env("RUST_BACKTRACE", "0").env("CLEAT_TRIES", tries.to_string());
        command.env("CLEAT_SHIM", runtime.with_file_name(SHIM));
        let output = command.env("CLEAT_RUNTIME", runtime).output().expect("timeout(1)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        match (output.status.success(), text.contains("1 passed"), text.contains("1 failed")) {
            (true, true, _) => Ok((true, text)),
            (false, _, true) => Ok((false, text)),
            (true, ..) if text.contains("1 ignored") => bail!("{file}::{test} is skipped here: {text}"),
            _ => bail!("there is no test {file}::{test}, or it does not end: {text}"),
        }
    }

    fn smoke(&self, runtime: &Path) -> Result<()> {
        for (file, test) in SMOKE {
            let (passed, text) = self.passes(file, test, runtime, 10)?;
            if !passed {
                bail!("with this change nothing works, {file}::{test}: {}", reason(&text));
            }
        }
        Ok(())
    }

    /// The tests of a defence pass with it, and fail without it for the reason that is given.
    fn prove(&self, defence: &Mutation, control: &Path) -> Result<Vec<String>> {
        let changed = defence.take_out(&self.workspace).map_err(Error::msg)?;
        let mut proofs = Vec::new();
        for Failure { file, test, .. } in &defence.failures {
            let (passed, text) = self.passes(file, test, control, defence.tries)?;
            if !passed {
                bail!("{file}::{test} fails with the defence in place: {}", reason(&text));
            }
        }
        for (path, text) in &changed {
            write(&self.tree.join(path), text.as_bytes());
        }
        let result = self.build(&defence.name).and_then(|runtime| {
            self.smoke(&runtime)?;
            for failure in &defence.failures {
                proofs.push(self.fails(failure, &runtime, defence.tries)?);
            }
            Ok(())
        });
        for (path, _) in &changed {
            write(&self.tree.join(path), &fs::read(self.workspace.join(path)).expect("a source file"));
        }
        result.map(|()| proofs)
    }

    fn fails(&self, failure: &Failure, runtime: &Path, tries: u32) -> Result<String> {
        let Failure { file, test, says } = failure;
        let (passed, text) = self.passes(file, test, runtime, tries)?;
        if passed {
            bail!("{file}::{test} passes without the defence");
        }
        match says.iter().find(|words| text.contains(words.as_str())) {
            Some(words) => Ok(format!("{file}::{test} fails: {words}")),
            None => bail!("{file}::{test} fails, but not with {says:?}: {}", reason(&text)),
        }
    }
}

/// What a test that failed has said.
fn reason(text: &str) -> String {
    let from = text.find("panicked at").unwrap_or(0);
    text.get(from..).unwrap_or_default().lines().skip(1).take(4).collect::<Vec<_>>().join(" | ")
}

/// The programs of `integration/tests`, by name.
fn test_programs(workspace: &Path) -> BTreeMap<String, PathBuf> {
    let args = ["test", "--quiet", "-p", "integration", "--tests", "--no-run", "--message-format=json"];
    let output = cargo().args(args).current_dir(workspace).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter_map(|message| {
        let program = message["executable"].as_str()?;
        let name = message["target"]["name"].as_str()?;
        (message["target"]["kind"][0] == "test").then(|| (name.to_owned(), PathBuf::from(program)))
    });
    built.collect()
}

/// A line on standard error that counts the defences; nothing where that is no terminal.
fn progress(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}: {pos} of {len} {bar:30} {elapsed_precise}, {eta} to go");
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Proves those that are named, or all, and prints what was seen; whether all are proven.
fn prove(wanted: &[String]) -> Result<bool> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
    let mut defences = Mutation::all();
    let unknown: Vec<_> = wanted.iter().filter(|name| defences.iter().all(|defence| defence.name != **name)).collect();
    ensure!(unknown.is_empty(), "there are no integration/mutations/{unknown:?}");
    defences.retain(|defence| wanted.is_empty() || wanted.contains(&defence.name));
    let copy = Copy::new(workspace);
    let control = copy.build("control").and_then(|control| copy.smoke(&control).map(|()| control));
    let control = control.context("the runtime as it is")?;
    let mut bad = Vec::new();
    let bar = progress(defences.len());
    for defence in &defences {
        bar.set_message(defence.name.clone());
        let proofs = copy.prove(defence, &control);
        bar.inc(1);
        bar.suspend(|| match proofs {
            Ok(proofs) => {
                println!("without {}:", defence.name);
                proofs.iter().for_each(|proof| println!("  {proof}"));
            }
            Err(error) => {
                println!("without {}:\n  NOT PROVEN: {error:#}", defence.name);
                bad.push(&defence.name);
            }
        });
    }
    bar.finish_and_clear();
    println!("{} of {} defences are seen by their tests", defences.len() - bad.len(), defences.len());
    if !bad.is_empty() {
        println!("not proven: {bad:?}");
    }
    Ok(bad.is_empty())
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match prove(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutations: {error:#}");
            ExitCode::FAILURE
        }
    }
}
