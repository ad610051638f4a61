//! Pods, `kube play` and images like nginx's, postgres' and systemd's, below Podman of Debian sid (`make engines`).
//!
//! As in the chapter `podman`, each test has a host of its own, and `CLEAT_ENGINE_RUNTIME=crun` takes another runtime.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::EngineHost;

/// The infra container has a read-only `/dev`; the others join its namespaces.
#[test]
fn a_pod_shares_namespaces_and_is_paused_and_stopped_as_one() {
    let host = EngineHost::podman();
    let _ = host.sh("podman pod create --name p --network none --share net,ipc,uts,pid --hostname pod").ok();
    let _ = host.sh("podman run -d --pod p --name a $I sleep 1000").ok();
    host.prints("podman run --rm --pod p $I sh -c 'hostname; ps | grep -c \"[s]leep 1000\"'", "pod\n1\n");
    let _ = host.sh("podman pod pause p").ok();
    host.prints("podman pod ps --format '{{.Status}}'", "Paused\n");
    let _ = host.sh("podman pod unpause p && podman pod stop -t 0 p && podman pod start p && podman exec a true").ok();
    let _ = host.sh("podman pod rm -f -t 0 p").ok();
    host.prints("podman run --rm --network none --pod new:q $I echo new; podman pod rm -f -t 0 q >/dev/null", "new\n");
}

#[test]
fn a_pod_is_played() {
    let host = EngineHost::podman();
    host.write(
        "/tmp/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  hostNetwork: true\n  securityContext: {fsGroup: 2000}\n  \
         initContainers:\n  - {name: first, image: 'localhost/busybox:1', command: [sh, -c, 'echo made >/v/file'], \
         volumeMounts: [{name: v, mountPath: /v}]}\n  containers:\n  - name: main\n    image: localhost/busybox:1\n    \
         command: [sh, -c, 'cat /v/file /c/key; id -u; sleep 1000']\n    \
         volumeMounts: [{name: v, mountPath: /v}, {name: c, mountPath: /c}]\n    \
         livenessProbe: {exec: {command: [test, -e, /v/file]}, periodSeconds: 1}\n    \
         securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}\n  \
         volumes: [{name: v, emptyDir: {}}, {name: c, configMap: {name: settings}}]\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: \"value\\n\"}\n",
    );
    let _ = host.sh("podman kube play /tmp/pod.yaml").ok();
    host.comes("podman logs web-main", "made\nvalue\n1000\n");
    host.prints("podman healthcheck run web-main; podman inspect -f '{{.State.Status}}' web-main", "running\n");
    let _ = host.sh("podman kube down --force /tmp/pod.yaml").ok();
    host.prints("podman ps --all --quiet", "");
}

/// A directory that the image lacks is anybody's, as the kernel makes it; one that it has keeps its mode.
#[test]
fn a_tmpfs_can_be_written_by_any_user() {
    let host = EngineHost::podman();
    host.prints("podman run --rm --net none --tmpfs /t -u 1000 $I sh -c 'stat -c %a /t; touch /t/x'", "1777\n");
    host.prints("podman run --rm --net none --tmpfs /t:mode=0750,size=1m $I stat -c %a /t", "750\n");
}

/// Its first process is a shell script that does what systemd does at first.
#[test]
fn an_image_like_systemds_has_what_systemd_wants() {
    let host = EngineHost::podman();
    host.write(
        "/tmp/s/init",
        "#!/bin/sh\ntrap 'echo halted; exit 0' 37\nmkdir /sys/fs/cgroup/init.scope && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs\n\
         touch /run/x /tmp/x /run/lock/x && echo up in $container\nwhile :; do sleep 0.1; done\n",
    );
    host.write(
        "/tmp/s/Containerfile",
        "FROM localhost/busybox:1\nCOPY --chmod=755 init /sbin/init\nCMD [\"/sbin/init\"]\n",
    );
    let _ = host.sh("podman build -q -t like-systemd /tmp/s && podman run -d --net none --name s like-systemd").ok();
    host.comes("podman logs s", "up in podman");
    host.prints(
        "podman stop s; podman logs s | tail -n 1; podman inspect -f '{{.State.ExitCode}}' s",
        "s\nhalted\n0\n",
    );
    let _ = host.sh("podman rm s").ok();
    host.prints(
        "podman run --rm --net none --systemd=always $I sh -c 'touch /run/lock/x; echo $container'",
        "podman\n",
    );
}

/// Root prepares its files, and the service runs as another user with signals of its own.
#[test]
fn images_like_postgres_and_nginx_run() {
    let host = EngineHost::podman();
    host.write(
        "/tmp/p/start",
        "#!/bin/sh\nif [ $(id -u) = 0 ]; then mkdir -p /data/db && chown -R postgres /data && chmod 700 /data/db && \
         exec su postgres -c '/start'; fi\ntrap 'echo fast; exit 0' INT\necho ready >/data/db/log; cat /data/db/log\n\
         while :; do sleep 0.1; done\n",
    );
    host.write(
        "/tmp/p/Containerfile",
        "FROM localhost/busybox:1\nCOPY --chmod=755 start /start\nVOLUME /data\nSTOPSIGNAL INT\nENTRYPOINT [\"/start\"]\n",
    );
    let _ = host
        .sh("podman build -q -t like-postgres /tmp/p && podman run -d --net none --shm-size 1m --name p like-postgres")
        .ok();
    host.comes("podman logs p", "ready");
    host.prints("podman exec -u postgres p stat -c '%U %a' /data/db; podman rm -f -v -t 1 p", "postgres 700\np\n");
    host.write(
        "/tmp/n/Containerfile",
        "FROM localhost/busybox:1\nRUN mkdir /www && echo hello >/www/index.html && ln -s /dev/stdout /var/log/access.log\n\
         STOPSIGNAL QUIT\nEXPOSE 80\nCMD httpd -f -vv -p 80 -h /www\n",
    );
    let _ = host.sh("podman build --isolation oci --ulimit nofile=512:1024 --ulimit nproc=512:1024 --net none -q -t like-nginx /tmp/n").ok();
    let _ = host
        .sh("podman run -d --net none --read-only --cap-drop all --cap-add net_bind_service --name n like-nginx")
        .ok();
    host.comes("podman exec n wget -q -O - http://127.0.0.1/", "hello");
    let _ = host.sh("podman exec n sh -c 'echo line >/var/log/access.log'").ok();
    let _ = host.sh("podman rm -f -t 1 n").ok();
}
