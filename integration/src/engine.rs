//! A private host with Podman and Docker of Debian sid: root directory, processes, network and cgroups of its own.
//!
//! Inside, everything is as on a whole machine: an overlay over what `integration/engines/prepare` has fetched, storage
//! in memory, cgroup v2 alone, a first process that reaps. All of it ends with the value, and with the test program,
//! too, which holds the first process's standard input.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cgroups::remove_cgroup_when_empty;
use crate::containerd::Said;
use crate::harness::skip;
use crate::host::{cgroup_root, in_guest};
use crate::programs::{built, program};
use crate::temp::{TempDir, unique_name};
use crate::terminal::Pty;
use crate::wait::{DEADLINE, ended_within, eventually, eventually_within};

/// The image that is there: busybox under its names. `$I` in [`EngineHost::sh`].
pub const ENGINE_IMAGE: &str = "localhost/busybox:1";

/// No command takes longer, and no daemon to start.
fn limit() -> Duration {
    Duration::from_secs(if in_guest() { 300 } else { 90 })
}

/// The cgroup and its namespace: `$0` is its path, `$1` the next script, the others are that one's.
///
/// The root of a cgroup namespace is the cgroup of who makes it. It must be empty again before controllers are given to
/// those below.
const CGROUP: &str = r#"set -e
mkdir "$0" "$0/init"
echo $$ >"$0/cgroup.procs"
exec unshare --cgroup --mount --propagation private sh -c '
  set -e
  echo $$ >"$0/init/cgroup.procs"
  for name in $(cat "$0/cgroup.controllers"); do echo "+$name" >"$0/cgroup.subtree_control"; done
  exec unshare --net --ipc --uts --pid --fork --kill-child sh -c "$1" "$@"' "$0" "$@""#;

/// The rest of the host: `$1` is the root directory, `$2` an empty directory, `$3` cleat, `$4` its shim.
const MACHINE: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mkdir -p usr/local/bin before
for program in "$3" "$4"; do : >"usr/local/bin/${program##*/}"; mount --bind "$program" "usr/local/bin/${program##*/}"; done
for directory in run tmp var/lib/containers var/lib/docker var/tmp home; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
chmod 755 run
mkdir -p run/user/1001 home/alice
chown 1001:1001 run/user/1001 home/alice
pivot_root . before
umount -l /before
echo engines >/proc/sys/kernel/hostname
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
echo ready
exec /usr/libexec/podman/catatonit -- cat"#;

/// See above.
#[derive(Debug)]
pub struct EngineHost {
    dir: TempDir,
    holder: Child,
    /// Its first process, as seen from here.
    first: String,
    cgroup: PathBuf,
    dockerd: Option<Child>,
}

impl EngineHost {
    /// Starts it; skips the test where nothing has been fetched.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start() -> EngineHost {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/engines/root");
        let Ok(root) = root.canonicalize() else { skip("no Podman and no Docker are here; make engines fetches them") };
        let (dir, cgroup) = (TempDir::new(), cgroup_root().join(unique_name()));
        let machine = dir.path().join("machine");
        fs::create_dir(&machine).expect("mkdir");
        let mut command = Command::new("sh");
        command.args(["-c", CGROUP]).arg(&cgroup).arg(MACHINE).args([&root, &machine]);
        command.arg(program()).arg(built("containerd-shim-cleat-v2", "CLEAT_SHIM"));
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        let mut ready = [0; 6];
        holder.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("namespaces, with cgroup v2");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let first = fs::read_to_string(children).expect("its children").trim().to_owned();
        EngineHost { dir, holder, first, cgroup, dockerd: None }
    }

    /// Starts it with a Podman that knows the image and takes the runtime under test: cleat, or that of
    /// `CLEAT_ENGINE_RUNTIME`, to see that the tests are right. Skips the test where there is none.
    #[must_use]
    pub fn podman() -> EngineHost {
        let host = EngineHost::start();
        let runtime = engine_runtime();
        // A limit of processes that Podman sets by itself is an error where its controller is version 1's.
        let pids = if host.has_controller("pids") { "" } else { "pids_limit = 0\n" };
        host.write(
            "/etc/containers/containers.conf",
            &format!(
                "[containers]\n{pids}log_driver = \"k8s-file\"\n[engine]\nruntime = \"{runtime}\"\n\
                 cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                 runtime_supports_nocgroup = [\"crun\", \"cleat\"]\n\
                 [engine.runtimes]\ncleat = [\"/usr/local/bin/cleat\"]\n"
            ),
        );
        let _ = host.sh("podman import -q -c 'CMD [\"sh\"]' /image.tar $I").ok();
        host
    }

    /// Starts it with a dockerd, which has the image, and more of its configuration, in JSON without braces.
    /// Skips the test where there is none.
    #[must_use]
    pub fn docker(more: &str) -> EngineHost {
        let mut host = EngineHost::start();
        // Its own networks want modules that not each kernel has.
        let base = r#""bridge": "none", "iptables": false, "ip6tables": false, "features": {"buildkit": true}"#;
        host.write("/etc/docker/daemon.json", &format!("{{{base}{}{more}}}", if more.is_empty() { "" } else { ", " }));
        host.dockerd_up();
        let _ = host.sh("docker import -c 'CMD [\"sh\"]' /image.tar $I").ok();
        host
    }

    /// Starts dockerd, and waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn dockerd_up(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.dir.path().join("log")).expect("a log");
        let mut command = self.command("dockerd");
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        self.dockerd = Some(command.spawn().expect("dockerd"));
        eventually_within(limit(), "dockerd to answer", || {
            let said = self.sh("docker version");
            if said.code == 0 { Ok(()) } else { Err(format!("{said:?}\n{}", self.dockerd_log())) }
        });
    }

    /// Kills dockerd, and containerd with it if it is to; its containers may live on.
    ///
    /// # Panics
    /// There is none.
    pub fn dockerd_down(&mut self, signal: &str) {
        let _ = self.sh(&format!("kill -{signal} $(cat /var/run/docker.pid)")).ok();
        let mut daemon = self.dockerd.take().expect("a daemon");
        assert!(ended_within(&daemon, DEADLINE), "dockerd does not end: {}", self.dockerd_log());
        let _ = daemon.wait();
    }

    /// The errors that it has logged.
    #[must_use]
    pub fn dockerd_log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().filter(|line| line.contains("level=error")).map(|line| format!("{line}\n")).collect()
    }

    /// Whether limits of this kind can be set.
    #[must_use]
    pub fn has_controller(&self, name: &str) -> bool {
        let all = fs::read_to_string(self.cgroup.join("cgroup.controllers")).expect("cgroup.controllers");
        all.split_whitespace().any(|known| known == name)
    }

    /// A file inside, whose directory is made, too.
    pub fn write(&self, path: &str, text: &str) {
        let mut command = self.command("sh");
        command.args(["-c", "mkdir -p \"${0%/*}\" && cat >\"$0\"", path]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("nsenter(1)");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("write");
        assert!(child.wait().expect("wait").success(), "{path}");
    }

    /// A command inside, without a limit.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        // Who enters a cgroup namespace must be below its root, or reads paths with `..` for its own cgroup.
        command.args(["-c", "echo $$ >\"$0/init/cgroup.procs\" && exec nsenter \"$@\""]).arg(&self.cgroup);
        command.args(["--target", &self.first, "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--wdns=/"]);
        command.args(["--", "env", "--ignore-environment", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"]);
        command.args(["HOME=/root", "TERM=xterm", "LANG=C.UTF-8", &format!("I={ENGINE_IMAGE}"), program]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a script, and compares what it prints.
    ///
    /// # Panics
    /// When it prints something else, or fails.
    pub fn prints(&self, script: &str, expected: &str) {
        let said = self.sh(script);
        assert_eq!((said.code, said.out.as_str()), (0, expected), "{script}: {said:?}");
    }

    /// Runs a script that ends with `code` and says `text`, on either stream.
    ///
    /// # Panics
    /// When it does not.
    pub fn fails(&self, script: &str, code: i32, text: &str) {
        let said = self.sh(script);
        assert!(said.code == code && (said.err.contains(text) || said.out.contains(text)), "{script}: {said:?}");
    }

    /// Waits until a script prints something.
    pub fn comes(&self, script: &str, expected: &str) {
        eventually(&format!("{script} to print {expected:?}"), || match self.sh(script) {
            Said { out, .. } if out.contains(expected) => Ok(()),
            said => Err(format!("{said:?}")),
        });
    }

    /// What a script of the shell says inside.
    ///
    /// # Panics
    /// nsenter(1) is not there.
    #[must_use]
    pub fn sh(&self, script: &str) -> Said {
        let mut command = self.command("timeout");
        command.args(["-s", "KILL", &limit().as_secs().to_string(), "sh", "-c", script]);
        Said::of(&command.output().expect("nsenter(1)"))
    }

    /// The same as an ordinary user with delegated ids.
    ///
    /// # Panics
    /// nsenter(1) is not there.
    #[must_use]
    pub fn as_user(&self, script: &str) -> Said {
        let mut command = self.command("setpriv");
        command.args(["--reuid", "1001", "--regid", "1001", "--clear-groups", "--inh-caps=-all"]);
        command.args(["env", "HOME=/home/alice", "USER=alice", "STORAGE_DRIVER=vfs", "XDG_RUNTIME_DIR=/run/user/1001"]);
        command.args(["timeout", "-s", "KILL", &limit().as_secs().to_string(), "sh", "-c", &format!("cd\n{script}")]);
        Said::of(&command.output().expect("nsenter(1)"))
    }

    /// The same on a terminal of 33 lines and 99 columns: its exit code, and what comes, with `\n` at the ends of lines.
    ///
    /// # Panics
    /// It does not end.
    #[must_use]
    pub fn on_a_terminal(&self, script: &str) -> (i32, String) {
        let (mut pty, slave) = Pty::open();
        pty.resize(33, 99);
        let stream = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut command = self.command("timeout");
        command.args(["--foreground", "-s", "KILL", &limit().as_secs().to_string(), "sh", "-c", script]);
        let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("nsenter(1)");
        drop((command, slave));
        let text = pty.to_end().replace('\r', "");
        (child.wait().expect("wait").code().unwrap_or(-1), text)
    }
}

/// What engines call: `cleat`, or another that is tested instead.
#[must_use]
pub fn engine_runtime() -> String {
    std::env::var("CLEAT_ENGINE_RUNTIME").unwrap_or_else(|_| "cleat".into())
}

/// The same for Docker's configuration, by path: below Go's shim, which executes it.
#[must_use]
pub fn docker_runtime() -> String {
    let path = match engine_runtime().as_str() {
        "cleat" => "/usr/local/bin/cleat".to_owned(),
        peer => format!("/usr/bin/{peer}"),
    };
    format!("\"runtimes\": {{\"it\": {{\"path\": \"{path}\"}}}}, \"default-runtime\": \"it\"")
}

impl Drop for EngineHost {
    fn drop(&mut self) {
        // Its first process takes all others along.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        if let Some(mut daemon) = self.dockerd.take() {
            let _ = daemon.wait();
        }
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        remove_cgroup_when_empty(&self.cgroup);
    }
}
