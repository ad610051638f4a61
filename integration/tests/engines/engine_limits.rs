//! Limits below Docker and Podman of Debian sid: set, read back, changed, counted, felt (`make engines`).
//!
//! They take the controllers of cgroup v2, and so mostly the guest, where dockerd needs a minute to start: one test for
//! each engine does it all. `CLEAT_ENGINE_RUNTIME=crun` takes another runtime.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::{EngineHost, docker_runtime, require_controllers};

const CONTROLLERS: &[&str] = &["memory", "pids", "cpu", "cpuset"];

/// What the container `aa` finds in its cgroup, a file a line.
const FILES: &str = "cd /sys/fs/cgroup && cat memory.max memory.swap.max memory.low pids.max cpu.max cpuset.cpus";

/// `engine` is `docker` or `podman`, `network` an option that both take.
fn limits(host: &EngineHost, engine: &str) {
    let run = format!("{engine} run --net none");
    let limits = "-m 64m --memory-swap 96m --memory-reservation 32m --pids-limit 30 --cpus 0.5 --cpuset-cpus 0";
    let _ = host.sh(&format!("{run} -d --name aa {limits} $I sleep 1000")).ok();
    let files = format!("{engine} exec aa sh -c '{FILES}'");
    host.prints(&files, "67108864\n33554432\n33554432\n30\n50000 100000\n0\n");
    host.prints(
        &format!("{engine} update -m 48m --memory-swap 48m --pids-limit 20 --cpus 0.25 aa >/dev/null && {files}"),
        "50331648\n0\n33554432\n20\n25000 100000\n0\n",
    );
    let stats = "stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' aa";
    let said = host.sh(&format!("{engine} {stats}")).ok();
    assert!(said.ends_with(" 1\n") && (said.contains("/ 48MiB") || said.contains("/ 50.33MB")), "{said:?}");
    // A fork too many, and a page too many.
    host.fails(&format!("{run} --rm --pids-limit 5 $I sh -c 'for i in 1 2 3 4 5 6; do sleep 100 & done'"), 2, "fork");
    let eats = host.sh(&format!("{run} --name bb -m 16m --memory-swap 16m $I tail /dev/zero"));
    assert_eq!(eats.code, 137, "{eats:?}");
    host.prints(&format!("{engine} inspect -f '{{{{.State.OOMKilled}}}} {{{{.State.ExitCode}}}}' bb"), "true 137\n");
    let _ = host.sh(&format!("{engine} rm -f aa bb")).ok();
}

#[test]
fn podmans_limits_hold() {
    require_controllers(CONTROLLERS);
    limits(&EngineHost::podman(), "podman");
}

#[test]
fn dockers_limits_hold() {
    require_controllers(CONTROLLERS);
    limits(&EngineHost::docker(&docker_runtime()), "docker");
}
