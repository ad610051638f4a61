//! What engines hand to their runtime: `bundles/engines`, whose form `integration/tests/engines/engines.rs` tells.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::case::{Case, json_of};
use crate::config::replace;
use crate::{folder, run};

/// Where the driver lays the bundle, the files of the host, and the namespaces of another container.
const ROOTFS: &str = "/tmp/w/bundle/rootfs";
const HOST: &str = "/tmp/w/host";
const NEIGHBOUR: &str = "/tmp/w/neighbour";

fn engines() -> PathBuf {
    folder().join("../../bundles/engines")
}

/// One case for each file.
pub(crate) fn cases() -> Result<Vec<Case>, String> {
    let dir = engines();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .map_err(|error| format!("{}: {error}", dir.display()))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names.iter().map(|name| if name.ends_with("-exec") { of_exec(name) } else { of(name) }).collect()
}

fn of(name: &str) -> Result<Case, String> {
    let mut config = json_of(&engines().join(format!("{name}.json")))?;
    if let Some(profile) = config["linux"]["seccomp"].as_str().and_then(|text| text.strip_prefix("@seccomp@/")) {
        config["linux"]["seccomp"] = json_of(&engines().join(format!("seccomp/{profile}.json")))?;
    }
    let text = config.to_string();
    replace(&mut config, &|text| {
        text.replace("@rootfs@", ROOTFS)
            .replace("@cgroup@", "/c")
            .replace("@host@", HOST)
            .replace("@namespace@", NEIGHBOUR)
    });
    config["process"]["args"] = json!(["/probe", "facts"]);
    if !run::controllers().iter().any(|controller| controller == "memory") {
        // A hybrid host: limits would be refused by all three.
        let devices = config["linux"]["resources"]["devices"].take();
        config["linux"]["resources"] = json!({ "devices": devices });
    }
    let mut setup = sources(&text);
    if text.contains("@namespace@") {
        setup += if text.contains("@namespace@/user") { "neighbour --user\n" } else { "neighbour\n" };
    }
    if !config["linux"]["uidMappings"].is_null() {
        setup += "chown -R 100000:100000 rootfs\n";
    }
    let commands: &[&str] = if config["process"]["terminal"] == true {
        setup += "console\n";
        &["runtime create --console-socket $W/tty c", "runtime start c", "printed", "runtime delete -f c"]
    } else {
        &["runtime create c", "runtime start c", "stopped c", "runtime delete c"]
    };
    Ok(case(name, &config, setup, commands))
}

/// `exec --process` in the engine's own plain container.
fn of_exec(name: &str) -> Result<Case, String> {
    let engine = name.trim_end_matches("-exec");
    let mut plain = of(&format!("{engine}-plain"))?;
    let process = json_of(&engines().join(format!("{name}.json")))?;
    let mut config: Value = serde_json::from_str(&plain.config).map_err(|error| format!("{name}: {error}"))?;
    config["process"]["args"] = json!(["/probe", "sleep"]);
    plain.files.push(("process.json".to_owned(), process.to_string()));
    let commands = ["runtime run -d c >$W/out", "runtime exec --process $W/process.json c", "runtime delete -f c"];
    Ok(Case { files: plain.files, ..case(name, &config, plain.setup, &commands) })
}

fn case(name: &str, config: &Value, setup: String, commands: &[&str]) -> Case {
    Case {
        name: format!("engines/{name}"),
        about: format!("bundles/engines/{name}.json\n"),
        config: format!("{config:#}"),
        fragment: format!("{config}"),
        setup,
        commands: commands.iter().map(|line| (*line).to_owned()).collect(),
        files: Vec::new(),
        controllers: Vec::new(),
        ignored: Vec::new(),
        expected: Vec::new(),
    }
}

/// Shell that makes the files of the host: directories with a file in them, or files.
fn sources(text: &str) -> String {
    let mut setup = format!("mkdir -p {HOST}\n");
    let mut names: Vec<&str> = text.split("@host@/").skip(1).filter_map(|rest| rest.split(['"', '/']).next()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        setup += &match name {
            "data" | "o" | "vol" | "shm" => format!("mkdir {HOST}/{name}; echo of {name} >{HOST}/{name}/file\n"),
            _ => format!("echo of the host >{HOST}/{name}\n"),
        };
    }
    setup
}
