//! The pages of `docs/engines`, to the letter: each command of theirs runs on a private host (`make engines`), and prints
//! what the page says.
//!
//! A block of commands is marked `sh`, what it prints `text`. The rest of a page (`toml`, `yaml`, no mark) is to be read.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;

use integration::{ENGINE_IMAGE, EngineHost};

/// A host without any configuration of engines but what this kernel wants, or the end of the test where there is none.
fn host() -> EngineHost {
    let host = EngineHost::start();
    // A limit of processes that Podman sets by itself is an error where its controller is version 1's.
    let pids = if host.has_controller("pids") { "" } else { "pids_limit = 0\n" };
    host.write(
        "/etc/containers/containers.conf",
        &format!(
            "[containers]\n{pids}log_driver = \"k8s-file\"\n[engine]\ncgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n"
        ),
    );
    host
}

/// What stands for systemd: it starts a daemon anew, and waits until that answers.
const SYSTEMCTL: &str = r#"#!/bin/sh
case $2 in
  docker) start="dockerd --bridge none --iptables=false --ip6tables=false" answers="docker version" ;;
  containerd) start="containerd --root /var/tmp/containerd" answers="ctr version" ;;
  *) exit 1 ;;
esac
for pid in $(pgrep -x "${start%% *}" -P 1); do
  kill "$pid"
  while [ -d "/proc/$pid" ]; do sleep 0.05; done
done
setsid -f $start >"/tmp/$2.log" 2>&1 </dev/null
until $answers >/dev/null 2>&1; do sleep 0.05; done
"#;

/// Starts `daemon` as its package would.
fn starts(host: &EngineHost, daemon: &str) {
    host.write("/usr/local/bin/systemctl", SYSTEMCTL);
    let _ = host.sh(&format!("chmod 755 /usr/local/bin/systemctl && systemctl start {daemon}")).ok();
}

/// The code blocks of a page: their mark, and their text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/engines").join(page);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut blocks = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(mark) = line.strip_prefix("```") {
            if !inside {
                blocks.push((mark.to_owned(), String::new()));
            }
            inside = !inside;
        } else if let (true, Some((_, block))) = (inside, blocks.last_mut()) {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

/// Does what a page says.
fn follow(host: &EngineHost, page: &str) {
    let mut printed = String::new();
    let mut compared = 0;
    for (mark, text) in blocks(page) {
        match mark.as_str() {
            "sh" => printed = host.sh(&format!("set -e; export IMAGE={ENGINE_IMAGE}\n{text}")).ok(),
            "text" => {
                compared += 1;
                assert!(printed.ends_with(&text), "{page}: it prints {printed:?}, and the page says {text:?}");
            }
            _ => {}
        }
    }
    assert!(compared > 0, "{page} does not say what is seen");
}

#[test]
fn podmans_page_is_right() {
    let host = host();
    let _ = host.sh("podman import -q -c 'CMD [\"sh\"]' /image.tar $I").ok();
    follow(&host, "podman.md");
    host.prints("podman ps --all --quiet; podman info --format '{{.Host.OCIRuntime.Name}}'", "crun\n");
}

#[test]
fn dockers_page_is_right() {
    let host = host();
    starts(&host, "docker");
    let _ = host.sh("docker import -c 'CMD [\"sh\"]' /image.tar $I").ok();
    follow(&host, "docker.md");
    host.prints("docker ps --all --quiet; docker info --format '{{.DefaultRuntime}}'", "runc\n");
}

/// An image for containerd comes by way of Podman.
#[test]
fn containerds_page_is_right() {
    let host = host();
    starts(&host, "containerd");
    let save = "podman import -q -c 'CMD [\"sh\"]' /image.tar $I && podman save -q -o /tmp/image $I";
    let _ = host.sh(&format!("{save} && ctr image import /tmp/image")).ok();
    follow(&host, "containerd.md");
    host.prints("ctr container ls -q", "");
}

#[test]
fn the_page_on_kubernetes_is_right() {
    let host = host();
    host.write("/etc/containerd/config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    starts(&host, "containerd");
    follow(&host, "kubernetes.md");
    host.prints("containerd config dump | grep -c cleat || true", "0\n");
}

/// What the DaemonSet runs on a node.
#[test]
fn a_node_is_prepared_and_left_as_it_was() {
    let host = host();
    host.write("/etc/containerd/config.toml", "version = 3\n");
    starts(&host, "containerd");
    // The host's own programs take the place of those of the image.
    let _ = host.sh("mkdir /tmp/image && cp /usr/local/bin/cleat /usr/local/bin/containerd-shim-cleat-v2 /tmp/image && umount /usr/local/bin/cleat /usr/local/bin/containerd-shim-cleat-v2 && rm /usr/local/bin/cleat /usr/local/bin/containerd-shim-cleat-v2").ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/packaging/kubernetes");
    for name in ["node", "cleat.toml"] {
        let text = fs::read_to_string(folder.join(name)).expect(name);
        host.write(&format!("/tmp/image/{name}"), &text);
    }
    let there = "ls -A /usr/local/bin; ls /etc/containerd/conf.d; containerd config dump | grep -c shim-cleat || true";
    host.fails("HOST= sh /tmp/image/node install", 1, "does not have imports");
    host.prints("ls -A /usr/local/bin", "systemctl\n");
    host.write("/etc/containerd/config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    for _ in 0..2 {
        let said = host.sh("HOST= sh /tmp/image/node install").ok();
        assert!(said.ends_with("installed\n"), "{said}");
    }
    host.prints(there, "cleat\ncontainerd-shim-cleat-v2\nsystemctl\ncleat.toml\n1\n");
    host.prints("HOST= sh /tmp/image/node remove", "cleat on engines: removed\n");
    host.prints(there, "systemctl\n0\n");
}
