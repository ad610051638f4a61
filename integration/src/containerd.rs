//! A containerd of this test's own: its directories, its socket, its namespace of mounts.

use std::fs;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::skip;
use crate::programs::{built, program};
use crate::temp::{TempDir, unique_name};
use crate::wait::eventually;

/// The image that is there.
pub const IMAGE: &str = "test.local/busybox:1";

/// What `make containerd` has fetched and made.
pub(crate) fn fetched() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/containerd")
}

/// containerd, and a mount namespace that outlives it, with a `/run` of its own and the cgroup v2
/// tree alone.
#[derive(Debug)]
pub struct Containerd {
    dir: TempDir,
    /// What holds the namespace.
    holder: Child,
    daemon: Option<Child>,
    /// `ctr events`, as long as the daemon is up.
    events: Option<Child>,
    programs: PathBuf,
    /// Nobody else's: in its socket's path, and so in the arguments of its shims.
    name: String,
    /// containerd's namespace.
    namespace: String,
}

/// What a command printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What it printed.
    ///
    /// # Panics
    /// It failed.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// The runtime's type: cleat's, or the one of `CLEAT_RUNTIME_TYPE`, to see that the tests are right.
#[must_use]
pub fn runtime_type() -> String {
    std::env::var("CLEAT_RUNTIME_TYPE").unwrap_or_else(|_| "io.containerd.cleat.v2".into())
}

/// Whether it is cleat's shim that is tested.
#[must_use]
pub fn is_cleat_shim() -> bool {
    runtime_type().contains("cleat")
}

/// Whose containerd it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That of this host's release of Debian, or that of `CLEAT_CONTAINERD`.
    Host,
    /// The newest one that Debian has.
    Sid,
}

impl Release {
    /// Where its programs are, and the image; or why there is nothing.
    fn files(self) -> Result<(PathBuf, PathBuf), &'static str> {
        let named = std::env::var_os("CLEAT_CONTAINERD").map(PathBuf::from);
        if self == Release::Sid && named.is_some() {
            return Err("CLEAT_CONTAINERD names another containerd");
        }
        let cache = named.unwrap_or_else(fetched);
        let programs = cache.join(if self == Release::Sid { "sid/bin" } else { "bin" });
        match (programs.canonicalize(), cache.join("image.tar").canonicalize()) {
            (Ok(programs), Ok(image)) => Ok((programs, image)),
            (Err(_), Ok(_)) if self == Release::Sid => Err("sid's containerd is not there; see make containerd"),
            _ => Err("no containerd is there; see make containerd"),
        }
    }
}

impl Containerd {
    /// Starts it. Where `make containerd` has not fetched it, the test is skipped.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(release: Release) -> Containerd {
        let no_cri = "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        Containerd::start_with(release, None, |_| no_cri.into())
    }

    /// Starts it with a namespace, else one of its own, and more of a configuration.
    pub(crate) fn start_with(
        release: Release,
        namespace: Option<&str>,
        configuration: impl FnOnce(&Containerd) -> String,
    ) -> Containerd {
        let (bin, image) = release.files().unwrap_or_else(|why| skip(why));
        let dir = TempDir::new();
        let programs = dir.path().join("bin");
        fs::create_dir(&programs).expect("mkdir");
        let link = |from: PathBuf| {
            let to = programs.join(from.file_name().expect("a name"));
            std::os::unix::fs::symlink(from, to).expect("symlink");
        };
        for name in ["containerd", "ctr", "containerd-shim-runc-v2", "runc"] {
            link(bin.join(name));
        }
        link(program());
        link(built("containerd-shim-cleat-v2", "CLEAT_SHIM"));
        // What is in the guest's /run stays: its tools, and the temporary directory.
        let prepare = "{ [ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup; } && \
                       mkdir \"$0\" && mount -t tmpfs tmpfs \"$0\" && \
                       { [ ! -d /run/guest ] || { mkdir \"$0/guest\" && mount --rbind /run/guest \"$0/guest\"; }; } && \
                       mount -n --move \"$0\" /run && mount -t tmpfs tmpfs /var/lib && ip link set lo up && echo ready && \
                       exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private", "sh", "-c", prepare])
            .arg(dir.path().join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1)");
        let mut ready = [0u8; 6];
        let stdout = holder.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(stdout, &mut ready).expect("namespaces, with cgroup v2");
        let (name, namespace) = (unique_name(), namespace.map(str::to_owned));
        let namespace = namespace.unwrap_or_else(|| name.clone());
        let mut containerd = Containerd { dir, holder, daemon: None, events: None, programs, name, namespace };
        let more = configuration(&containerd);
        containerd.configure(&more);
        containerd.up();
        let _ = containerd.ctr(["image", "import", &image.to_string_lossy()]).ok();
        containerd
    }

    fn configure(&self, more: &str) {
        let root = self.dir.path().join("root");
        let text = format!(
            "version = 2\nroot = {root:?}\nstate = \"/run/containerd\"\n{more}\
             [grpc]\n  address = \"/run/containerd/{name}.sock\"\n[debug]\n  level = \"debug\"\n",
            name = self.name
        );
        fs::write(self.dir.path().join("config.toml"), text).expect("config.toml");
    }

    /// Starts the daemon again with more of a configuration.
    ///
    /// # Panics
    /// It does not come up.
    pub fn configure_more(&mut self, text: &str) {
        let config = self.dir.path().join("config.toml");
        let before = fs::read_to_string(&config).expect("config.toml");
        fs::write(config, format!("{before}{text}")).expect("config.toml");
        self.down();
        self.up();
    }

    /// nsenter(1) into its namespaces.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        let namespaces = format!("/proc/{}/ns", self.holder.id());
        command.args([format!("--mount={namespaces}/mnt"), format!("--net={namespaces}/net")]);
        command
    }

    /// A command in its namespaces.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        let mut command = self.enter();
        command.arg("timeout").args(["-k", "1", "120"]);
        command.arg(program).env("PATH", self.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts the daemon, and waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn up(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.log_path()).expect("containerd.log");
        let mut command = self.enter();
        command.args(["containerd", "--config"]).arg(self.dir.path().join("config.toml")).stdin(Stdio::null());
        command.env("PATH", self.path());
        command.stdout(log.try_clone().expect("dup")).stderr(log);
        self.daemon = Some(command.spawn().expect("nsenter(1)"));
        eventually("containerd to answer", || match self.ctr(["version"]) {
            said if said.code == 0 => Ok(()),
            said => Err(format!("{said:?}\n{}", self.log())),
        });
        let events = fs::File::options().append(true).create(true).open(self.events_path()).expect("events");
        self.events = Some(self.ctr_command(["events"]).stdout(events).spawn().expect("ctr events"));
    }

    /// `SIGKILL` for the daemon.
    ///
    /// # Panics
    /// It is not up.
    pub fn down(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.kill().expect("kill");
        let _ = daemon.wait();
        // It ends when its connection does.
        let _ = self.events.take().map(|mut events| events.wait());
    }

    fn events_path(&self) -> PathBuf {
        self.dir.path().join("events")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("containerd.log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Where its socket is, from outside.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/containerd/{}.sock", self.holder.id(), self.name))
    }

    /// A connection to an address of its network.
    ///
    /// # Panics
    /// Nobody is there.
    pub(crate) fn connect(&self, address: &str) -> TcpStream {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("its namespace");
        let connect = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
        };
        // A thread of its own, which ends in that network.
        std::thread::scope(|scope| scope.spawn(connect).join()).expect("a connection")
    }

    /// A name that is nobody else's, and that of the cgroup above its tasks'.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is before its programs, if anything is.
    fn first(&self) -> PathBuf {
        self.dir.path().join("first")
    }

    /// Where programs are looked for.
    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{}:{path}", self.first().display(), self.programs.display())
    }

    /// One of its programs: the shims, and what those execute.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        Some(self.first().join(name)).filter(|path| path.exists()).unwrap_or_else(|| self.programs.join(name))
    }

    /// Puts a program before the runtimes, under their names.
    pub(crate) fn put_before_runtimes(&self, program: &Path) {
        let first = self.first();
        fs::create_dir(&first).expect("mkdir");
        for runtime in ["cleat", "runc"] {
            std::os::unix::fs::symlink(program, first.join(runtime)).expect("symlink");
        }
        // It takes the cleat that it lies beside.
        let shim = "containerd-shim-cleat-v2";
        fs::copy(self.programs.join(shim), first.join(shim)).expect("a copy of the shim");
    }

    /// Its version, such as `1.6.20`.
    #[must_use]
    pub fn version(&self) -> String {
        let said = self.inside("containerd").arg("--version").output().expect("nsenter(1)");
        String::from_utf8_lossy(&said.stdout).split(' ').nth(2).unwrap_or_default().trim_start_matches('v').to_owned()
    }

    /// A directory of the test's, which is the same inside.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `ctr`, to be run.
    pub fn ctr_command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.inside("ctr");
        command.args(["--address", &format!("/run/containerd/{}.sock", self.name), "--namespace"]);
        command.arg(&self.namespace).args(arguments);
        command
    }

    /// `ctr`
    ///
    /// # Panics
    /// nsenter(1) is not there.
    pub fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Said {
        Said::of(&self.ctr_command(arguments).output().expect("nsenter(1)"))
    }

    /// `ctr run` with options, an id and a program.
    pub fn run<'a>(&self, options: &[&'a str], id: &'a str, program: &[&'a str]) -> Said {
        Said::of(&self.run_command(options, id, program).output().expect("nsenter(1)"))
    }

    /// The same, to be run.
    #[must_use]
    pub fn run_command<'a>(&self, options: &[&'a str], id: &'a str, program: &[&'a str]) -> Command {
        let runtime = runtime_type();
        // Newer ones ask for CPU shares by themselves, whose controller a hybrid host has elsewhere.
        let head = ["run", "--cpu-shares", "0", "--runtime", &runtime];
        let all = head.iter().chain(options).chain(&[IMAGE, id]).chain(program).copied().collect::<Vec<_>>();
        self.ctr_command(all)
    }

    /// The shims: their pids.
    #[must_use]
    pub fn shims(&self) -> Vec<i32> {
        let processes = fs::read_dir("/proc").expect("/proc");
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line);
            let program = text.split('\0').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            // Servers, that is, and not those who start or remove one.
            let passing = text.contains("\0start\0") || text.contains("\0delete\0");
            program.starts_with("containerd-shim") && text.contains(&self.name) && !passing
        };
        pids.filter(ours).collect()
    }

    /// Files and directories inside, such as below `/run/containerd`.
    #[must_use]
    pub fn files(&self, below: &str) -> Vec<String> {
        let output = self.inside("find").args([below, "-mindepth", "1"]).output().expect("find(1)");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The path of a file in a task's bundle, inside.
    #[must_use]
    pub fn bundle(&self, id: &str, file: &str) -> String {
        format!("/run/containerd/io.containerd.runtime.v2.task/{}/{id}/{file}", self.namespace)
    }

    /// A file inside; nothing when it is not there.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        let output = self.inside("cat").arg(path).output().expect("cat(1)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// # Panics
    /// When a shim, a bundle, a socket, a container's state, a cgroup or a mount is left after a while.
    pub fn nothing_is_left(&self) {
        eventually("everything to be gone", || {
            let tasks = format!("/run/containerd/io.containerd.runtime.v2.task/{}", self.namespace);
            let mut left = self.files(&tasks);
            left.extend(self.files("/run/containerd/s"));
            left.extend(self.files(&format!("/run/containerd/cleat/{}", self.namespace)));
            left.extend(self.files(&format!("/run/containerd/runc/{}", self.namespace)));
            let cgroups = self.files(&format!("/sys/fs/cgroup/{}", self.name));
            left.extend(cgroups.into_iter().filter(|path| !path.rsplit('/').next().unwrap_or_default().contains('.')));
            left.extend(self.shims().iter().map(|pid| format!("shim {pid}")));
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id())).expect("mountinfo");
            left.extend(mounts.lines().filter(|line| line.contains("/rootfs")).map(str::to_owned));
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }

    /// The topics of the events so far that came from shims, in order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let text = fs::read_to_string(self.events_path()).unwrap_or_default();
        let topics = text.lines().filter_map(|line| line.split_once(" /tasks/")?.1.split(' ').next());
        topics.map(str::to_owned).collect()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let tasks = self.ctr(["tasks", "ls", "-q"]);
            for id in tasks.out.lines() {
                let _ = self.ctr(["tasks", "rm", "--force", id]);
            }
            self.down();
        }
        // What a failed test has left.
        for state in self.files(&format!("/run/containerd/cleat/{}", self.namespace)) {
            let root = format!("/run/containerd/cleat/{}", self.namespace);
            if let Some(id) = state.strip_prefix(&format!("{root}/")).filter(|id| !id.contains('/')) {
                let _ = self.inside("cleat").args(["--root", &root, "delete", "--force", id]).output();
            }
        }
        for pid in self.shims() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.inside("sh").args(["-c", "umount -R -l /run/containerd/*/*/*/rootfs 2>/dev/null"]).output();
        let _ = self.inside("rmdir").arg(format!("/sys/fs/cgroup/{}", self.name)).output();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
