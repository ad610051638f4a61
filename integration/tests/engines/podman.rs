//! Podman of Debian sid on the runtime (`make engines`): what its users do most, as root and as an ordinary user.
//!
//! Each test has a host of its own, on which it is the only one. `CLEAT_ENGINE_RUNTIME=crun` runs the same on crun, to
//! see that the tests are right.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::{EngineHost, eventually};

/// No container is left, nor its cgroup or state.
fn nothing_is_left(host: &EngineHost) {
    host.prints("podman ps --all --quiet", "");
    // What is conmon's own goes after it.
    eventually("all cgroups and states of containers to be gone", || {
        let said =
            host.sh("find /sys/fs/cgroup -name 'libpod-*' -type d; ls /run/cleat /run/crun 2>/dev/null | grep -v :");
        if said.out.trim().is_empty() { Ok(()) } else { Err(format!("{said:?}")) }
    });
}

#[test]
fn what_a_container_says_and_how_it_ends_comes_back() {
    let host = EngineHost::podman();
    let said = host.sh("podman run --rm --net none $I sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (7, "out\n", "err\n"), "{said:?}");
    host.prints("echo words | podman run --rm -i --net none $I cat", "words\n");
    host.prints("podman run --rm --net none --preserve-fds 1 $I sh -c 'cat <&3' 3</etc/debian_version", "forky/sid\n");
    // The first process of a pid namespace cannot kill itself.
    assert_eq!(host.sh("podman run --rm --init --net none $I sh -c 'kill -9 $$'").code, 137);
    nothing_is_left(&host);
}

/// 127: no such program; 126: it cannot be executed; 125: Podman's own.
#[test]
fn a_program_that_cannot_be_run_has_its_own_exit_code() {
    let host = EngineHost::podman();
    host.fails("podman run --rm --net none $I nosuch", 127, "nosuch");
    host.fails("podman run --rm --net none $I /no/such", 127, "/no/such");
    host.fails("podman run --rm --net none $I /etc", 126, "ermission denied");
    host.fails("podman run --rm --net none --workdir /none $I true", 126, "/none");
    host.fails("podman run --rm --net none --volume /none:/x $I true", 125, "/none");
    let _ = host.sh("podman run -d --net none --name a $I sleep 1000").ok();
    host.fails("podman exec a nosuch", 127, "nosuch");
    host.fails("podman exec a /etc", 126, "ermission denied");
    host.fails("podman exec --workdir /none a true", 127, "/none");
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

#[test]
fn a_further_process_has_its_own_user_place_streams_and_end() {
    let host = EngineHost::podman();
    let _ = host.sh("podman run -d --net none --name a $I sleep 1000").ok();
    host.prints("podman exec -e A=b -w /tmp a sh -c 'echo $A; pwd; id -u'", "b\n/tmp\n0\n");
    host.prints("podman exec -u user:postgres a id", "uid=1000(user) gid=70(postgres) groups=70(postgres)\n");
    host.prints("echo in | podman exec -i a cat", "in\n");
    host.prints("podman exec a sh -c 'exit 33' || echo $?", "33\n");
    host.prints("podman exec a sh -c 'kill -9 $$' || echo $?", "137\n");
    host.prints("podman exec --preserve-fds 1 a sh -c 'cat <&3' 3</etc/debian_version", "forky/sid\n");
    host.prints("podman exec --privileged a grep CapEff /proc/self/status | cmp -s - /proc/none; echo", "\n");
    let _ = host.sh("podman exec -d a sh -c 'echo there >/tmp/file; sleep 900'").ok();
    host.comes("podman exec a cat /tmp/file", "there");
    host.prints("for i in 1 2 3 4; do podman exec a sh -c \"exit $i\" & p=\"$p $!\"; done; for i in $p; do wait $i; echo $?; done",
        "1\n2\n3\n4\n",
    );
    host.prints("podman stop -t 0 a; podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' a", "a\nexited 137\n");
    let _ = host.sh("podman rm a").ok();
    nothing_is_left(&host);
}

#[test]
fn a_terminal_is_one() {
    let host = EngineHost::podman();
    let said = host.on_a_terminal("podman run --rm -it --net none $I sh -c 'tty; stty size; test -t 1; echo $?'");
    assert_eq!(said, (0, "/dev/pts/0\n33 99\n0\n".to_owned()));
    let _ = host.sh("podman run -dt --net none --name a $I sh").ok();
    let said = host.on_a_terminal("podman exec -it a sh -c 'tty; test -t 0; echo $?'");
    assert_eq!(said, (0, "/dev/pts/1\n0\n".to_owned()));
    // Nobody's terminal: still one inside.
    host.prints("podman run --rm -t --net none $I tty", "/dev/pts/0\r\n");
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

#[test]
fn logs_are_kept_and_followed() {
    let host = EngineHost::podman();
    let _ = host
        .sh("podman run -d --net none --name a $I sh -c 'for i in 1 2 3; do echo out$i; echo err$i >&2; done'")
        .ok();
    let said = host.sh("podman logs -f a");
    assert_eq!((said.out.as_str(), said.err.as_str()), ("out1\nout2\nout3\n", "err1\nerr2\nerr3\n"), "{said:?}");
    host.prints("podman wait a; podman rm a", "0\na\n");
    nothing_is_left(&host);
}

#[test]
fn a_container_is_stopped_killed_started_anew_and_restarted() {
    let host = EngineHost::podman();
    let trap = "trap 'exit 7' TERM; trap 'echo usr >&2' USR1; echo up; while :; do sleep 0.05; done";
    let _ = host.sh(&format!("podman run -d --net none --name a $I sh -c \"{trap}\"")).ok();
    host.comes("podman logs a", "up");
    let _ = host.sh("podman kill -s USR1 a").ok();
    host.comes("podman logs a 2>&1", "usr");
    host.prints("podman stop a; podman inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' a", "a\n7 false\n");
    host.prints("podman start a; podman restart -t 0 a; podman kill a; podman wait a", "a\na\na\n137\n");
    host.fails("podman kill a", 125, "running");
    let _ = host.sh("podman rm a").ok();
    let _ = host.sh("podman run -d --net none --name b --restart on-failure:2 $I sh -c 'echo up; exit 3'").ok();
    host.comes("podman inspect -f '{{.RestartCount}} {{.State.Status}}' b", "2 exited");
    host.prints("podman logs b; podman rm b", "up\nup\nup\nb\n");
    nothing_is_left(&host);
}

#[test]
fn a_container_is_paused_looked_at_and_goes_on() {
    let host = EngineHost::podman();
    let _ = host.sh("podman run -d --net none --name a $I sh -c 'sleep 1000 & sleep 1001'").ok();
    host.comes("podman top a args", "sleep 1001");
    host.prints("podman top a comm user huser seccomp | tail -n 1 | tr -s ' '", "sleep root root filter\n");
    host.prints("podman stats --no-stream --format '{{.Name}} {{.PIDs}}' a | cut -c1", "a\n");
    host.prints("podman pause a; podman inspect -f '{{.State.Status}}' a", "a\npaused\n");
    host.fails("podman exec a true", 255, "state improper");
    host.prints("podman unpause a; podman exec a echo on", "a\non\n");
    host.fails("podman unpause a", 125, "not paused");
    host.prints("podman pause a; podman rm -f -t 0 a", "a\na\n");
    nothing_is_left(&host);
}

#[test]
fn files_are_copied_compared_and_committed() {
    let host = EngineHost::podman();
    let _ = host.sh("podman run -d --net none --name a $I sh -c 'echo x >/new; rm /etc/group; sleep 1000'").ok();
    host.comes("podman diff a", "A /new");
    host.prints("podman diff a | sort", "A /new\nC /etc\nD /etc/group\n");
    host.prints("echo text >/tmp/f; podman cp /tmp/f a:/root/; podman exec a cat /root/f", "text\n");
    host.prints("podman commit -q -c 'CMD [\"cat\",\"/new\"]' a b >/dev/null; podman run --rm --net none b", "x\n");
    host.prints("podman export a | tar -tf - root/f", "root/f\n");
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

#[test]
fn a_health_check_says_how_it_is() {
    let host = EngineHost::podman();
    let _ =
        host.sh("podman run -d --net none --name a --health-cmd 'test -e /ok' --health-retries 1 $I sleep 1000").ok();
    host.fails("podman healthcheck run a", 1, "unhealthy");
    host.prints(
        "podman exec a touch /ok; podman healthcheck run a; podman inspect -f '{{.State.Health.Status}}' a",
        "healthy\n",
    );
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

#[test]
fn ids_are_mapped_as_asked_for() {
    let host = EngineHost::podman();
    let map = "cat /proc/self/uid_map | tr -s ' '";
    let run = |options: &str, program: &str| format!("podman run --rm --net none {options} $I sh -c \"{program}\"");
    host.prints(&run("--userns auto:size=1000", &format!("{map} | cut -d' ' -f2,4")), "0 1000\n");
    host.prints(&run("--uidmap 0:100000:2000 --gidmap 0:200000:2000", map), " 0 100000 2000\n");
    host.prints(&run("--userns keep-id:uid=200,gid=210", "id -u; id -g"), "200\n210\n");
    host.prints(&run("--userns host", map), " 0 0 4294967295\n");
    let _ = host.sh("podman run -d --net none --name a --uidmap 0:100000:2000 $I sleep 1000").ok();
    host.prints(&run("--userns container:a", map), " 0 100000 2000\n");
    host.prints("podman exec -u 5 a sh -c 'touch /tmp/a; stat -c %u /tmp/a'", "5\n");
    host.prints("mkdir -p /tmp/v; touch /tmp/v/f", "");
    host.prints(&run("--uidmap 0:100000:2000 -v /tmp/v:/v:idmap", "stat -c %u /v/f; touch /v/g"), "0\n");
    host.prints("stat -c %u /tmp/v/g", "0\n");
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

/// `disabled` sends `--cgroup-manager disabled`: the container is where conmon is.
#[test]
fn cgroups_are_made_or_not_as_asked_for() {
    let host = EngineHost::podman();
    for (how, cgroup) in [("enabled", "0::/\n"), ("no-conmon", "0::/\n"), ("disabled", "0::/\n")] {
        let script = format!("podman run --rm --net none --cgroups={how} $I sh -c 'grep ^0: /proc/self/cgroup'");
        host.prints(&script, cgroup);
    }
    let _ = host.sh("podman run -d --net none --name a --cgroups=disabled $I sleep 1000").ok();
    host.prints("find /sys/fs/cgroup -name 'libpod-*' -type d", "");
    host.prints("podman exec a echo in", "in\n");
    host.prints("podman stop -t 0 a; podman start a; podman kill a; podman wait a; podman rm a", "a\na\na\n137\na\n");
    nothing_is_left(&host);
}

#[test]
fn a_read_only_root_and_an_init_are_there() {
    let host = EngineHost::podman();
    host.prints(
        "podman run --rm --net none --read-only $I sh -c 'touch /tmp/x && ! touch /x 2>/dev/null && echo yes'",
        "yes\n",
    );
    host.prints("podman run --rm --net none --init $I sh -c 'cat /proc/1/comm'", "podman-init\n");
    host.prints("podman run --rm --net none --init -u 1000 $I id -u", "1000\n");
    nothing_is_left(&host);
}

/// A mount that is made after the start is seen where its propagation says so.
#[test]
fn volumes_propagate_as_asked_for() {
    let host = EngineHost::podman();
    let _ = host
        .sh("mkdir /tmp/v && mount -t tmpfs tmpfs /tmp/v && mount --make-shared /tmp/v && mkdir /tmp/v/m /tmp/v/n")
        .ok();
    for (how, inside, outside) in [
        ("", "no", "no"),
        (":rprivate", "no", "no"),
        (":rslave", "yes", "no"),
        (":rshared", "yes", "yes"),
        (":shared", "yes", "yes"),
    ] {
        let run = format!(
            "podman run -d --net none --name a --cap-add SYS_ADMIN --security-opt seccomp=unconfined -v /tmp/v:/v{how} $I sleep 1000"
        );
        let _ = host.sh(&run).ok();
        let is = "grep -q {} /proc/self/mountinfo && echo yes || echo no";
        let _ = host.sh("mount -t tmpfs tmpfs /tmp/v/m").ok();
        host.prints(&format!("podman exec a sh -c '{}'", is.replace("{}", "/v/m")), &format!("{inside}\n"));
        let _ = host.sh("podman exec a mount -t tmpfs tmpfs /v/n").ok();
        host.prints(&is.replace("{}", "/tmp/v/n"), &format!("{outside}\n"));
        let _ = host.sh("umount /tmp/v/m; umount /tmp/v/n 2>/dev/null; podman rm -f -t 0 a").ok();
    }
    host.prints(
        "podman run --rm --net none -v /tmp/v:/v:ro $I sh -c 'touch /v/x 2>/dev/null || echo refused'",
        "refused\n",
    );
    host.prints("podman run --rm --net none -v named:/var/log $I touch /var/log/x; podman volume rm named", "named\n");
    host.prints("podman run --rm --net none -v /tmp/v:/v:O $I touch /v/over; ls /tmp/v", "m\nn\n");
    nothing_is_left(&host);
}

#[test]
fn devices_capabilities_and_filters_are_those_asked_for() {
    let host = EngineHost::podman();
    let device = "true </dev/mine && echo read; true 2>/dev/null >/dev/mine || echo refused";
    let run = format!("podman run --rm --net none --device /dev/fuse:/dev/mine:r $I sh -c '{device}'");
    host.prints(&run, "read\nrefused\n");
    let status =
        |options: &str, line: &str| format!("podman run --rm --net none {options} $I grep {line} /proc/self/status");
    host.prints(&status("--cap-drop all --cap-add net_admin", "CapEff"), "CapEff:\t0000000000001000\n");
    host.prints(&status("-u 1000", "CapEff"), "CapEff:\t0000000000000000\n");
    host.prints(&status("", "Seccomp:"), "Seccomp:\t2\n");
    host.prints(&status("--privileged", "Seccomp:"), "Seccomp:\t0\n");
    host.prints(&status("--security-opt no-new-privileges", "NoNewPrivs"), "NoNewPrivs:\t1\n");
    host.prints(
        "podman run --rm --privileged --net none $I sh -c 'mount -t tmpfs x /tmp && echo mounted'",
        "mounted\n",
    );
    nothing_is_left(&host);
}

#[test]
fn names_sysctls_limits_and_masks_are_those_asked_for() {
    let host = EngineHost::podman();
    let run = |options: &str, program: &str| format!("podman run --rm --net none {options} $I {program}");
    host.prints(&run("--hostname box", "hostname"), "box\n");
    host.prints(&run("--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    host.prints(&run("--ulimit nofile=100:200", "sh -c 'ulimit -n; ulimit -Hn'"), "100\n200\n");
    host.prints(&run("--oom-score-adj 200", "cat /proc/self/oom_score_adj"), "200\n");
    host.prints(&run("--umask 0077", "sh -c umask"), "0077\n");
    host.prints(&run("--personality LINUX32 --env A=b", "sh -c 'echo $A'"), "b\n");
    host.prints("printf s3cret | podman secret create s - >/dev/null", "");
    host.prints(&run("--secret s,mode=0400,uid=1000 -u 1000", "cat /run/secrets/s"), "s3cret");
    host.prints(&run("--timeout 1", "sleep 1000 || echo $?"), "255\n");
    nothing_is_left(&host);
}

#[test]
fn namespaces_are_shared_as_asked_for() {
    let host = EngineHost::podman();
    let _ = host.sh("podman run -d --net none --name a --hostname first --ipc shareable $I sleep 1000").ok();
    let joined = |options: &str, program: &str| format!("podman run --rm {options} $I {program}");
    host.prints(&joined("--net none --uts container:a", "hostname"), "first\n");
    host.prints(&joined("--net none --pid container:a", "sh -c 'cat /proc/1/comm'"), "sleep\n");
    host.prints(&joined("--net container:a --ipc container:a", "echo in"), "in\n");
    host.prints(&joined("--net host --pid host --ipc host --uts host --cgroupns host", "echo in"), "in\n");
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}

/// What hooks get is a state, and one that fails is the run's end.
#[test]
fn hooks_run_and_may_refuse() {
    let host = EngineHost::podman();
    let hook = |args: &str, stages: &str| {
        format!(
            "{{\"version\":\"1.0.0\",\"hook\":{{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"{args}\"]}},\
             \"when\":{{\"always\":true}},\"stages\":[{stages}]}}"
        )
    };
    host.write("/etc/hooks/a.json", &hook("cat >>/tmp/states; echo >>/tmp/states", "\"createRuntime\",\"poststop\""));
    host.prints("podman --hooks-dir /etc/hooks run --rm --net none $I echo ran", "ran\n");
    host.prints("grep -o stopped /tmp/states; grep -c ociVersion /tmp/states", "stopped\n2\n");
    host.write("/etc/hooks/a.json", &hook("echo no way >&2; exit 3", "\"createRuntime\""));
    host.fails("podman --hooks-dir /etc/hooks run --rm --net none $I echo ran", 126, "hook");
    nothing_is_left(&host);
}

#[test]
fn images_are_built() {
    let host = EngineHost::podman();
    host.write(
        "/tmp/b/Containerfile",
        "FROM localhost/busybox:1\nRUN echo built >/b && id -u\nRUN --mount=type=tmpfs,dst=/x touch /x/y\n\
         USER 1000\nRUN id -u >/tmp/id\nWORKDIR /w\nCMD cat /b /tmp/id; pwd\n",
    );
    let _ = host.sh("podman build --isolation oci --ulimit nofile=512:1024 --ulimit nproc=512:1024 --net none -q -t built /tmp/b").ok();
    host.prints("podman run --rm --net none built", "built\n1000\n/w\n");
    host.write("/tmp/b/Containerfile", "FROM localhost/busybox:1\nRUN exit 7\n");
    host.fails(
        "podman build --isolation oci --ulimit nofile=512:1024 --ulimit nproc=512:1024 --net none /tmp/b",
        7,
        "exit status 7",
    );
    nothing_is_left(&host);
}

/// As an ordinary user with delegated ids, without a cgroup.
#[test]
fn an_ordinary_user_runs_containers() {
    let host = EngineHost::podman();
    let user = |script: &str, expected: &str| {
        let said = host.as_user(script);
        assert_eq!((said.code, said.out.as_str()), (0, expected), "{script}: {said:?}");
    };
    user("podman import -q -c 'CMD [\"sh\"]' /image.tar $I >/dev/null", "");
    user(
        "podman run --rm --net none $I sh -c 'id -u; tr -s \" \" </proc/self/uid_map'",
        "0\n 0 1001 1\n 1 100000 65536\n",
    );
    user("podman run --rm --net none -u 1000 $I id -u", "1000\n");
    user("podman run --rm --net none --userns keep-id $I sh -c 'id -u'", "1001\n");
    user("podman run --rm --net none --userns nomap $I sh -c 'tr -s \" \" </proc/self/uid_map'", " 0 1 65536\n");
    user("podman run --rm --net host $I echo host", "host\n");
    user(
        "podman run --rm --net none --read-only $I sh -c 'touch /tmp/x && ! touch /x 2>/dev/null && echo yes'",
        "yes\n",
    );
    user("mkdir v; podman run --rm --net none -v ./v:/v $I touch /v/a; stat -c %U v/a", "alice\n");
    user("podman run --rm --net none --cgroups=disabled $I echo none", "none\n");
    user("podman run --rm --net none --privileged $I sh -c 'mount -t tmpfs x /tmp && echo mounted'", "mounted\n");
    user(
        "podman run --rm --net none --device /dev/null:/dev/mine $I sh -c 'test -c /dev/mine && echo there'",
        "there\n",
    );
    user("podman run -d --net none --name a $I sleep 1000 >/dev/null; podman exec -u 5 a id -u", "5\n");
    user(
        "podman top a comm; podman stop -t 0 a; podman inspect -f '{{.State.ExitCode}}' a; podman rm a",
        "COMMAND\nsleep\na\n137\na\n",
    );
}

#[test]
fn settings_are_updated() {
    let host = EngineHost::podman();
    let _ = host.sh("podman run -d --net none --name a $I sleep 1000").ok();
    let _ = host.sh("podman update --restart always a").ok();
    host.prints("podman inspect -f '{{.HostConfig.RestartPolicy.Name}}' a", "always\n");
    if host.has_controller("memory") {
        let _ = host.sh("podman update --memory 100m --pids-limit 77 a").ok();
        host.prints("podman exec a cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max", "104857600\n77\n");
    }
    let _ = host.sh("podman rm -f -t 0 a").ok();
    nothing_is_left(&host);
}
