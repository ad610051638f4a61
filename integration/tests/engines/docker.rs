//! Docker of Debian sid on the runtime (`make engines`): cleat by path, by its shim's name, and as `runc` itself.
//!
//! Each test has a host of its own with its own dockerd. `CLEAT_ENGINE_RUNTIME=runc` puts another in place of cleat by
//! path, to see that the tests are right.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::{EngineHost, docker_runtime, eventually};

/// dockerd with cleat by path, or the end of the test where there is none.
macro_rules! docker {
    () => {
        docker!(&docker_runtime())
    };
    ($configuration:expr) => {
        match EngineHost::docker($configuration) {
            Some(host) => host,
            None => integration::skip("it is not here; make engines fetches it"),
        }
    };
}

/// With its own shim.
const BY_TYPE: &str = r#""runtimes": {"it": {"runtimeType": "io.containerd.cleat.v2"}}, "default-runtime": "it""#;

/// No container is left, nor its shim or cgroup.
fn nothing_is_left(host: &EngineHost) {
    host.prints("docker ps --all --quiet", "");
    eventually("all shims and cgroups to be gone", || {
        let said = host.sh("pgrep containerd-shim; find /sys/fs/cgroup/docker -mindepth 1 -type d");
        if said.out.trim().is_empty() { Ok(()) } else { Err(format!("{said:?}")) }
    });
}

/// Starts a container `a` that sleeps.
fn sleeps(host: &EngineHost, options: &str) {
    let _ = host.sh(&format!("docker run -d --name aa {options} $I sleep 1000")).ok();
}

fn removed(host: &EngineHost) {
    let _ = host.sh("docker rm -f aa").ok();
    nothing_is_left(host);
}

/// What each way must do.
fn works(host: &EngineHost) {
    let said = host.sh("docker run --rm $I sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (7, "out\n", "err\n"), "{said:?}");
    host.prints("echo words | docker run --rm -i $I cat", "words\n");
    host.fails("docker run --rm $I nosuch", 127, "nosuch");
    host.fails("docker run --rm $I /etc", 126, "ermission denied");
    sleeps(host, "");
    host.prints(
        "docker exec -u user:postgres -e A=b -w /tmp aa sh -c 'echo $A; pwd; id -u; id -g'",
        "b\n/tmp\n1000\n70\n",
    );
    host.prints("echo in | docker exec -i aa cat; docker exec aa sh -c 'exit 33' || echo $?", "in\n33\n");
    host.fails("docker exec aa nosuch", 127, "nosuch");
    host.fails("docker exec aa /etc", 126, "ermission denied");
    host.prints("docker top aa -o pid,comm | grep -o '[a-z]*$'", "sleep\n");
    host.prints("docker pause aa; docker inspect -f '{{.State.Status}}' aa; docker unpause aa", "aa\npaused\naa\n");
    host.prints("docker update --restart always aa; docker update --restart no aa", "aa\naa\n");
    host.prints("docker stop -t 0 aa; docker inspect -f '{{.State.ExitCode}}' aa; docker start aa", "aa\n137\naa\n");
    removed(host);
}

#[test]
fn it_works_by_path() {
    works(&docker!(&docker_runtime()));
}

#[test]
fn it_works_with_its_own_shim() {
    works(&docker!(BY_TYPE));
}

/// A distribution may put it in runc's place: `docker build` executes that, too.
#[test]
fn it_works_as_runc() {
    let host = docker!("");
    let _ = host.sh("mkdir -p /usr/local/sbin && ln -s /usr/local/bin/cleat /usr/local/sbin/runc && runc --version | grep -q cleat").ok();
    works(&host);
    host.write(
        "/tmp/b/Dockerfile",
        "FROM localhost/busybox:1\nRUN echo built >/b && id -u\nUSER 1000\nRUN id -u >/tmp/id\nCMD cat /b /tmp/id\n",
    );
    let _ = host.sh("docker build --progress plain --network none -t built /tmp/b").ok();
    host.prints("docker run --rm built", "built\n1000\n");
    host.write("/tmp/b/Dockerfile", "FROM localhost/busybox:1\nRUN exit 7\n");
    host.fails("docker build --network none /tmp/b", 1, "exit code: 7");
    nothing_is_left(&host);
}

#[test]
fn a_terminal_is_one() {
    let host = docker!();
    let said = host.on_a_terminal("docker run --rm -it $I sh -c 'tty; stty size; test -t 1; echo $?'");
    assert_eq!(said, (0, "/dev/pts/0\n33 99\n0\n".to_owned()));
    let _ = host.sh("docker run -dit --name aa $I sh").ok();
    let said = host.on_a_terminal("docker exec -it aa sh -c 'tty; test -t 0; echo $?'");
    assert_eq!(said, (0, "/dev/pts/1\n0\n".to_owned()));
    host.prints("docker run --rm -t $I tty", "/dev/pts/0\r\n");
    removed(&host);
}

#[test]
fn who_attaches_sees_what_comes_and_logs_keep_it() {
    let host = docker!();
    let _ = host.sh("docker run -di --name aa $I sh -c 'read l; echo got $l; echo err >&2; read l; exit 5'").ok();
    host.prints("(echo one; until docker logs aa | grep -q got; do sleep 0.1; done; echo two) | docker attach aa 2>/dev/null || echo $?",
        "got one\n5\n",
    );
    let said = host.sh("docker logs -f aa");
    assert_eq!((said.out.as_str(), said.err.as_str()), ("got one\n", "err\n"), "{said:?}");
    removed(&host);
}

#[test]
fn a_container_is_stopped_killed_and_restarted() {
    let host = docker!();
    let trap = "trap 'exit 7' TERM; trap 'echo usr' USR1; echo up; while :; do sleep 0.05; done";
    let _ = host.sh(&format!("docker run -d --name aa $I sh -c \"{trap}\"")).ok();
    host.comes("docker logs aa", "up");
    let _ = host.sh("docker kill -s USR1 aa").ok();
    host.comes("docker logs aa", "usr");
    host.prints("docker stop aa; docker inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' aa", "aa\n7 false\n");
    host.prints("docker start aa; docker restart -t 0 aa; docker kill aa; docker wait aa", "aa\naa\naa\n137\n");
    host.fails("docker kill aa", 1, "not running");
    let _ = host.sh("docker run -d --name bb --restart on-failure:2 $I sh -c 'echo up; exit 3'").ok();
    host.comes("docker inspect -f '{{.RestartCount}} {{.State.Status}}' bb", "2 exited");
    host.prints("docker logs bb; docker rm bb", "up\nup\nup\nbb\n");
    sleeps_anew(&host);
    removed(&host);
}

/// A killed process is not the policy's end: the container comes again.
fn sleeps_anew(host: &EngineHost) {
    let _ = host.sh("docker rm aa").ok();
    sleeps(host, "--restart always");
    let _ = host.sh("kill -9 $(docker inspect -f '{{.State.Pid}}' aa)").ok();
    host.comes("docker inspect -f '{{.RestartCount}} {{.State.Status}}' aa", "1 running");
    host.prints(
        "docker pause aa; docker rm -f aa; docker run -d --name aa $I true >/dev/null; docker wait aa",
        "aa\naa\n0\n",
    );
}

#[test]
fn files_are_copied_compared_and_committed() {
    let host = docker!();
    let _ = host.sh("docker run -d --name aa $I sh -c 'echo x >/new; rm /etc/group; sleep 1000'").ok();
    host.comes("docker diff aa", "D /etc/group");
    host.prints("docker diff aa | sort", "A /new\nC /etc\nD /etc/group\n");
    host.prints("echo text >/tmp/f; docker cp -q /tmp/f aa:/root/; docker exec aa cat /root/f", "text\n");
    host.prints("docker commit -c 'CMD [\"cat\",\"/new\"]' aa bb >/dev/null; docker run --rm bb", "x\n");
    removed(&host);
}

#[test]
fn an_init_a_read_only_root_and_a_tmpfs_are_there() {
    let host = docker!();
    host.prints("docker run --rm --init $I cat /proc/1/comm", "docker-init\n");
    host.prints("docker run --rm --init $I sh -c 'kill -9 $$' || echo $?", "137\n");
    host.prints(
        "docker run --rm --read-only --tmpfs /t $I sh -c 'touch /t/x && ! touch /x 2>/dev/null && echo yes'",
        "yes\n",
    );
    nothing_is_left(&host);
}

/// A mount that is made after the start is seen where its propagation says so.
#[test]
fn volumes_propagate_as_asked_for() {
    let host = docker!();
    let _ = host
        .sh("mkdir /tmp/v && mount -t tmpfs tmpfs /tmp/v && mount --make-shared /tmp/v && mkdir /tmp/v/m /tmp/v/n")
        .ok();
    for (how, inside, outside) in [("", "no", "no"), (":rslave", "yes", "no"), (":rshared", "yes", "yes")] {
        sleeps(&host, &format!("--cap-add SYS_ADMIN --security-opt apparmor=unconfined -v /tmp/v:/v{how}"));
        let is = "grep -q {} /proc/self/mountinfo && echo yes || echo no";
        let _ = host.sh("mount -t tmpfs tmpfs /tmp/v/m").ok();
        host.prints(&format!("docker exec aa sh -c '{}'", is.replace("{}", "/v/m")), &format!("{inside}\n"));
        let _ = host.sh("docker exec aa mount -t tmpfs tmpfs /v/n").ok();
        host.prints(&is.replace("{}", "/tmp/v/n"), &format!("{outside}\n"));
        let _ = host.sh("umount /tmp/v/m; umount /tmp/v/n 2>/dev/null; docker rm -f aa").ok();
    }
    host.prints("docker run --rm -v /tmp/v:/v:ro $I sh -c 'touch /v/x 2>/dev/null || echo refused'", "refused\n");
    host.prints("docker run --rm -v named:/var/log $I touch /var/log/x; docker volume rm named", "named\n");
    nothing_is_left(&host);
}

#[test]
fn devices_capabilities_and_filters_are_those_asked_for() {
    let host = docker!();
    let device = "true </dev/mine && echo read; true 2>/dev/null >/dev/mine || echo refused";
    host.prints(&format!("docker run --rm --device /dev/fuse:/dev/mine:r $I sh -c '{device}'"), "read\nrefused\n");
    let status = |options: &str, line: &str| format!("docker run --rm {options} $I grep {line} /proc/self/status");
    host.prints(&status("--cap-drop ALL --cap-add NET_ADMIN", "CapEff"), "CapEff:\t0000000000001000\n");
    host.prints(&status("-u 1000", "CapEff"), "CapEff:\t0000000000000000\n");
    host.prints(&status("", "Seccomp:"), "Seccomp:\t2\n");
    host.prints(&status("--privileged", "Seccomp:"), "Seccomp:\t0\n");
    host.prints(&status("--security-opt no-new-privileges", "NoNewPrivs"), "NoNewPrivs:\t1\n");
    host.prints("docker run --rm --privileged $I sh -c 'mount -t tmpfs x /tmp && echo mounted'", "mounted\n");
    nothing_is_left(&host);
}

#[test]
fn names_sysctls_limits_and_namespaces_are_those_asked_for() {
    let host = docker!();
    let run = |options: &str, program: &str| format!("docker run --rm {options} $I {program}");
    host.prints(&run("--hostname box", "hostname"), "box\n");
    host.prints(&run("--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    host.prints(&run("--ulimit nofile=100:200", "sh -c 'ulimit -n; ulimit -Hn'"), "100\n200\n");
    host.prints(&run("--oom-score-adj 200", "cat /proc/self/oom_score_adj"), "200\n");
    sleeps(&host, "--hostname first --ipc shareable");
    host.prints(
        &run("--pid container:aa --net container:aa --ipc container:aa", "sh -c 'cat /proc/1/comm'"),
        "sleep\n",
    );
    host.prints(&run("--net host --pid host --ipc host --uts host --cgroupns host", "echo in"), "in\n");
    removed(&host);
}

#[test]
fn users_are_mapped_where_dockerd_says_so() {
    let host = docker!(&format!("{}, \"userns-remap\": \"alice\"", docker_runtime()));
    host.prints("docker run --rm $I sh -c \"tr -s ' ' </proc/self/uid_map; id -u\"", " 0 100000 65536\n0\n");
    host.prints("docker run --rm -u 1000 $I sh -c 'touch /tmp/x; stat -c %u /tmp/x'", "1000\n");
    host.prints("docker run --rm -v vol:/v $I touch /v/x; docker run --rm --userns host $I sh -c \"tr -s ' ' </proc/self/uid_map\"",
        " 0 0 4294967295\n",
    );
    sleeps(&host, "");
    host.prints("docker exec -u 5 aa id -u", "5\n");
    removed(&host);
}

/// dockerd is killed and comes again: a container has lived on, and what it has said is there; another has ended, whose
/// status dockerd takes for 255 with runc, too.
#[test]
fn containers_outlive_dockerd() {
    for way in [docker_runtime(), BY_TYPE.to_owned()] {
        let mut host = docker!(&format!("{way}, \"live-restore\": true"));
        let _ =
            host.sh("docker run -d --name aa $I sh -c 'while [ ! -e /end ]; do echo x; sleep 0.05; done; exit 6'").ok();
        let _ = host.sh("docker run -d --name bb $I sh -c 'while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 4'").ok();
        let pid = host.sh("docker inspect -f '{{.State.Pid}}' aa bb").ok().replace('\n', " ");
        let mut pids = pid.split_whitespace();
        let (a, b) = (pids.next().expect("a pid"), pids.next().expect("a pid"));
        host.dockerd_down("KILL");
        let _ = host.sh(&format!("kill -0 {a} && touch /proc/{b}/root/tmp/end")).ok();
        eventually("the end of bb", || {
            if host.sh(&format!("kill -0 {b}")).code == 0 { Err("alive".into()) } else { Ok(()) }
        });
        host.dockerd_up();
        host.comes("docker inspect -f '{{.State.Status}}' bb", "exited");
        host.prints("docker exec aa touch /end; docker wait aa; docker logs aa 2>&1 | uniq", "6\nx\n");
        let _ = host.sh("docker rm aa bb").ok();
        nothing_is_left(&host);
    }
}

#[test]
fn services_are_composed() {
    let host = docker!();
    host.write(
        "/tmp/c/compose.yaml",
        "services:\n  db:\n    image: localhost/busybox:1\n    network_mode: none\n    command: [sh, -c, 'echo ready >/d/db; sleep 1000']\n    volumes: ['data:/d']\n    \
         healthcheck: {test: [CMD, test, -e, /d/db], interval: 200ms}\n  web:\n    image: localhost/busybox:1\n    network_mode: none\n    \
         depends_on: {db: {condition: service_healthy}}\n    command: [cat, /d/db]\n    volumes: ['data:/d:ro']\nvolumes: {data: {}}\n",
    );
    let _ = host.sh("cd /tmp/c && docker compose up -d --quiet-pull").ok();
    host.comes("cd /tmp/c && docker compose logs --no-log-prefix web", "ready");
    let _ = host.sh("cd /tmp/c && docker compose down -v -t 0").ok();
    nothing_is_left(&host);
}

/// Root prepares its files, and the service runs as another user, with a signal and a volume of its own.
#[test]
fn an_image_like_postgres_runs() {
    let host = docker!();
    host.write(
        "/tmp/start",
        "if [ $(id -u) = 0 ]; then mkdir -p /data/db && chown -R postgres /data && chmod 700 /data/db && \
         exec su postgres -c 'sh /start'; fi\ntrap 'echo fast; exit 0' INT\n\
         echo $((1 + $(cat /data/db/starts 2>/dev/null || echo 0))) >/data/db/starts\necho ready $(cat /data/db/starts)\n\
         while :; do sleep 0.1; done\n",
    );
    let _ = host
        .sh("docker run -d --name aa --shm-size 1m --stop-signal INT -v named:/data -v /tmp/start:/start:ro $I sh /start")
        .ok();
    host.comes("docker logs aa", "ready 1");
    host.prints("docker exec -u postgres aa stat -c '%U %a' /data/db", "postgres 700\n");
    host.prints("docker stop aa; docker inspect -f '{{.State.ExitCode}}' aa; docker start aa", "aa\n0\naa\n");
    host.comes("docker logs aa", "fast\nready 2");
    let _ = host.sh("docker rm -f aa && docker volume rm named").ok();
    nothing_is_left(&host);
}

/// As little as a web server needs, with a health check.
#[test]
fn an_image_like_nginx_runs() {
    let host = docker!();
    let _ = host.sh("mkdir /tmp/www && echo hello >/tmp/www/index.html").ok();
    let confined = "--read-only --tmpfs /run --cap-drop ALL --cap-add NET_BIND_SERVICE --sysctl net.core.somaxconn=999";
    let healthy = "--health-cmd 'wget -q -O - http://127.0.0.1/' --health-interval 200ms";
    runs(&host, &format!("{confined} {healthy} -v /tmp/www:/www:ro"), "httpd -f -vv -p 80 -h /www");
    host.comes("docker inspect -f '{{.State.Health.Status}}' aa | grep -x healthy", "healthy");
    host.prints("docker exec aa cat /proc/sys/net/core/somaxconn", "999\n");
    host.fails("docker exec aa touch /www/x", 1, "Read-only");
    removed(&host);
}

/// Its first process is a shell script that does what systemd does at first.
#[test]
fn an_image_like_systemds_runs() {
    let host = docker!();
    host.write(
        "/tmp/init",
        "trap 'echo halted; exit 0' 37\nmkdir /sys/fs/cgroup/init.scope && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs\n\
         mount -t tmpfs tmpfs /run && touch /run/x && echo up\nwhile :; do sleep 0.1; done\n",
    );
    runs(&host, "--privileged --stop-signal RTMIN+3 -v /tmp/init:/init:ro", "sh /init");
    host.comes("docker logs aa", "up");
    host.prints("docker exec aa cat /proc/1/cgroup | grep ^0:", "0::/init.scope\n");
    host.prints("docker stop aa; docker inspect -f '{{.State.ExitCode}}' aa; docker logs aa", "aa\n0\nup\nhalted\n");
    removed(&host);
}

/// Starts a container `aa` that runs a program.
fn runs(host: &EngineHost, options: &str, program: &str) {
    let _ = host.sh(&format!("docker run -d --name aa {options} $I {program}")).ok();
}

#[test]
fn settings_are_updated_and_usage_is_told() {
    let host = docker!(&docker_runtime());
    sleeps(&host, "");
    host.prints(
        "docker update --restart on-failure:3 aa; docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' aa",
        "aa\non-failure\n",
    );
    host.prints("docker stats --no-stream --format '{{.Name}}' aa", "aa\n");
    if host.has_controller("memory") {
        host.prints("docker update --memory 100m --memory-swap -1 --pids-limit 77 aa", "aa\n");
        host.prints("docker exec aa cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max", "104857600\n77\n");
    }
    removed(&host);
}
