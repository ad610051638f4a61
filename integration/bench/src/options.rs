//! What did the caller type?

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{At as _, Context as _, Result, bail};

const HELP: &str = "\
bench: cleat compared with crun, runc and the kernel's floor, interleaved in one run (needs root)

    --cleat PATH    the runtime to judge; else CLEAT_RUNTIME, else the release build
    --init PATH     cleat's init, for its size
    --rounds N      samples of each operation and runtime (60)
    --warmups N     rounds before those, not counted (5)
    --crowd N       also: the cost of create, exec and delete with N containers present (0: skip)
    --memory N      instead of all that: the smallest memory.max under which true starts N times of N;
                    wants the controller, as in the guest (make bench-memory)
    --json FILE     write the figures there too
    --strict        exit 1 when a budget is missed
    --help

PEERS_ROOT=DIR      take crun and runc from this Debian root directory and run everything in it;
                    without it they are taken from PATH
";

const DEBIAN_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) cleat: PathBuf,
    pub(crate) floor: PathBuf,
    pub(crate) init: Option<PathBuf>,
    pub(crate) peers_root: Option<PathBuf>,
    /// Where crun and runc are looked for, once the root is the peers'.
    pub(crate) path: Vec<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) warmups: usize,
    pub(crate) crowd: usize,
    pub(crate) memory: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) strict: bool,
}

impl Options {
    /// `None`: help was asked for, and given.
    pub(crate) fn read() -> Result<Option<Self>> {
        let beside = beside()?;
        let path = |name| env::var_os(name).filter(|value| !value.is_empty());
        let mut options = Self {
            cleat: path("CLEAT_RUNTIME").map_or_else(|| release_build(&beside), PathBuf::from),
            floor: beside.join("floor"),
            init: None,
            path: match path("PEERS_ROOT") {
                Some(_) => DEBIAN_PATH.map(PathBuf::from).into(),
                None => env::split_paths(&path("PATH").unwrap_or_default()).collect(),
            },
            peers_root: path("PEERS_ROOT").map(PathBuf::from),
            rounds: 60,
            warmups: 5,
            crowd: 0,
            memory: 0,
            json: None,
            strict: false,
        };
        let mut words = env::args_os().skip(1);
        while let Some(word) = words.next() {
            let name = word.to_string_lossy().into_owned();
            let mut value = || words.next().with_context(|| format!("{name}: a value is missing"));
            let number = |value: std::ffi::OsString| {
                let text = value.to_string_lossy();
                text.parse::<usize>().at(format!("{name} {text}"))
            };
            match name.as_str() {
                "--cleat" => options.cleat = value()?.into(),
                "--init" => options.init = Some(value()?.into()),
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--warmups" => options.warmups = number(value()?)?,
                "--crowd" => options.crowd = number(value()?)?,
                "--memory" => options.memory = number(value()?)?,
                "--json" => options.json = Some(value()?.into()),
                "--strict" => options.strict = true,
                "--help" | "-h" => {
                    print!("{HELP}");
                    return Ok(None);
                }
                _ => bail!("{name}: no such option; see --help"),
            }
        }
        if !options.floor.is_file() {
            let floor = options.floor.display();
            bail!("{floor}: not there; build it: cargo build --release -p bench");
        }
        Ok(Some(options))
    }
}

/// The directory of this program.
fn beside() -> Result<PathBuf> {
    let program = env::current_exe().at("this program's own path")?;
    Ok(program.parent().map(Path::to_path_buf).unwrap_or_default())
}

fn release_build(beside: &Path) -> PathBuf {
    let sibling = beside.join("cleat");
    if sibling.is_file() {
        return sibling;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let workspace = workspace.unwrap_or(Path::new("."));
    let of = |libc: &str| workspace.join(format!("target/{}-unknown-linux-{libc}/release/cleat", env::consts::ARCH));
    Some(of("musl")).filter(|path| path.is_file()).unwrap_or_else(|| of("gnu"))
}
