//! What do packages contain besides the binaries?
//!
//! `packaging docs DIR` writes man pages and completions, generated from the definition of the command line.
//! `packaging notices DIR` the licences of all crates in the binaries and a bill of materials, from `cargo
//! metadata` on standard input. `SOURCE_DATE_EPOCH` is the date in them. This program runs while packages are made
//! and is in none of them.

mod completions;
mod date;
mod man;
mod notices;
mod pages;
mod sbom;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["docs", dir] => docs(Path::new(dir)),
        ["notices", dir] => notices(Path::new(dir)),
        _ => Err(anyhow::anyhow!("usage: packaging docs|notices DIR")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("packaging: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn docs(dir: &Path) -> Result<()> {
    let date = date::of_source()?;
    for (path, text) in man::all(&date)?.into_iter().chain(completions::all()?) {
        write(&dir.join(path), &text)?;
    }
    Ok(())
}

fn notices(dir: &Path) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let metadata = serde_json::from_str(&text)?;
    let shipped = notices::Shipped::of(&metadata)?;
    write(&dir.join("THIRD-PARTY-LICENSES"), &shipped.licences()?)?;
    write(&dir.join("cleat.cdx.json"), &sbom::document(&shipped, &date::of_source()?)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| path.display().to_string())?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
