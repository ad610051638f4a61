//! `criu-stand-in`, put as `criu` before a runtime's `PATH`: speaks `criu swrk 3` as CRIU does, and dumps nothing.
//!
//! What it is asked for is decoded by rust-criu, CRIU's own bindings, and written down; what it does is the script of
//! the test (`integration::criu`). What it restores is a process like that of a living container.

#![allow(clippy::expect_used, reason = "what is not as expected ends it, and the test says so")]

mod connection;
mod json;
mod restored;
mod sys;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use integration::criu::{Answer, SCRIPT_VARIABLE, Script, Step};
use integration::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_criu::rust_criu_protobuf::rpc::{
    Criu_features, Criu_notify, Criu_opts, Criu_req, Criu_req_type, Criu_resp, Criu_restore_resp, Criu_version,
};
use rustix::pty::OpenptFlags;
use serde_json::{Value, json};

use connection::Connection;
use restored::Process;

fn main() {
    let script = std::env::var_os(SCRIPT_VARIABLE).expect("a script");
    let script: Script = serde_json::from_slice(&fs::read(script).expect("the script")).expect("a script");
    let record = Record(script.record.clone());
    record.add(&json!({ "started": started() }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args != ["swrk", "3"] {
        eprintln!("criu-stand-in: only swrk 3");
        std::process::exit(1);
    }
    let connection = Connection::new();
    let mut player =
        Player { script, record, connection, opts: Criu_opts::new(), was_frozen: false, process: None, aborted: false };
    while let Some(bytes) = player.connection.receive() {
        if !player.serve(&bytes) {
            break;
        }
    }
    player.record.add(&json!({ "ended": true }));
}

/// What it finds itself with.
fn started() -> Value {
    let descriptors: BTreeMap<String, PathBuf> = fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?)))
        .filter(|(_, target)| !target.ends_with("fd"))
        .collect();
    json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "cwd": std::env::current_dir().ok(),
        "cgroup": fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines().last(),
        "descriptors": descriptors,
        "parent": std::os::unix::process::parent_id(),
        "signals": fs::read_to_string("/proc/self/status").unwrap_or_default().lines()
            .filter_map(|line| line.split_once(":\t")).filter(|(name, _)| name.starts_with("Sig")).collect::<BTreeMap<_, _>>(),
    })
}

/// A file of JSON lines.
struct Record(PathBuf);

impl Record {
    fn add(&self, line: &Value) {
        let mut file = fs::File::options().append(true).create(true).open(&self.0).expect("the record");
        file.write_all(format!("{line}\n").as_bytes()).expect("a line of the record");
    }
}

struct Player {
    script: Script,
    record: Record,
    connection: Connection,
    opts: Criu_opts,
    was_frozen: bool,
    process: Option<Process>,
    /// The runtime has refused a callback.
    aborted: bool,
}

/// Callbacks whose answer CRIU does not heed.
const NOT_HEEDED: [&str; 4] = ["network-unlock", "pre-resume", "post-resume", "post-setup-namespaces"];

impl Player {
    /// Serves one request; whether another one may come.
    fn serve(&mut self, bytes: &[u8]) -> bool {
        let request = match connection::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                self.record.add(&json!({ "undecodable": bytes, "error": error }));
                return false;
            }
        };
        self.record.add(&json!({ "request": self.described(&request) }));
        if let Some(opts) = request.opts.as_ref() {
            self.opts = opts.clone();
        }
        let kind = request.type_();
        let steps = self.script.steps.get(&format!("{kind:?}")).cloned();
        for step in steps.unwrap_or_else(|| vec![Step::success()]) {
            self.play(kind, &step);
            if self.aborted {
                self.abort(kind);
                break;
            }
        }
        request.keep_open() || kind == Criu_req_type::PRE_DUMP
    }

    /// The request, with paths in place of numbers of descriptors.
    fn described(&self, request: &Criu_req) -> Value {
        let mut value = json::message(request);
        let opts = request.opts.get_or_default();
        for (name, number) in [("images_dir", Some(opts.images_dir_fd())), ("work_dir", opts.work_dir_fd)] {
            let path = number.map(|number| fs::read_link(self.peer_descriptor(number)).ok());
            if let (Some(path), Some(Value::Object(opts))) = (path, value.get_mut("opts")) {
                opts.insert(name.to_owned(), json!(path));
            }
        }
        for (at, inherited) in opts.inherit_fd.iter().enumerate() {
            let path = format!("/proc/self/fd/{}", inherited.fd());
            let entry = &mut value["opts"]["inherit_fd"][at];
            entry["target"] = json!(fs::read_link(&path).ok());
            entry["device"] = json!(fs::metadata(path).map_or(0, |meta| std::os::unix::fs::MetadataExt::rdev(&meta)));
        }
        value
    }

    /// A descriptor of the runtime's, as CRIU finds it.
    fn peer_descriptor(&self, number: i32) -> PathBuf {
        format!("/proc/{}/fd/{number}", self.connection.peer()).into()
    }

    fn images(&self) -> PathBuf {
        self.peer_descriptor(self.opts.images_dir_fd())
    }

    fn work(&self) -> PathBuf {
        self.opts.work_dir_fd.map_or_else(|| self.images(), |number| self.peer_descriptor(number))
    }

    fn frozen_cgroup(&self) -> Option<&Path> {
        self.opts.freeze_cgroup.as_deref().map(Path::new)
    }

    fn play(&mut self, kind: Criu_req_type, step: &Step) {
        match step {
            Step::Notify { script, with_pid } => {
                let pid = self.process.as_ref().map(Process::pid).filter(|_| *with_pid);
                self.notify(script, pid, &[]);
            }
            Step::NotifyOf { script, pid } => self.notify(script, Some(*pid), &[]),
            Step::Terminal(text) => self.terminal(text),
            Step::Image(name, text) => fs::write(self.images().join(name), text).expect("an image"),
            Step::Log(text) => self.log(text),
            Step::Create(path) => fs::write(path, "").expect("a file for the test"),
            Step::WaitFor(path) => {
                eventually("a file of the test's", || path.exists().then_some(()).ok_or_else(String::new));
            }
            Step::KillPeer => self.connection.kill_peer(),
            Step::KillSelf => drop(kill(Pid::this(), Signal::SIGKILL)),
            Step::Close => self.connection.close(),
            Step::Exit(status) => std::process::exit((*status).into()),
            Step::Raw(bytes) => self.connection.send(bytes, &[]),
            Step::Answer(answer) => self.answer(kind, answer),
            Step::Freeze => self.freeze(),
            Step::Thaw => self.thaw(),
            Step::KillDumped => self.kill_dumped(),
            Step::Clone(restored) => self.process = Some(Process::clone(restored, &self.opts)),
            Step::Execute => self.process.as_mut().expect("a process").execute(),
            Step::Resume => self.process.as_mut().expect("a process").resume(),
        }
    }

    fn notify(&mut self, script: &str, pid: Option<i32>, descriptors: &[std::os::fd::BorrowedFd<'_>]) {
        let mut notify = Criu_notify::new();
        notify.set_script(script.to_owned());
        notify.pid = pid;
        let mut response = Criu_resp::new();
        response.set_type(Criu_req_type::NOTIFY);
        response.set_success(true);
        response.notify = Some(notify).into();
        self.connection.send(&connection::encode(&response), descriptors);
        // CRIU reaps what it traces, also while it waits.
        while !self.connection.is_readable() {
            self.process.as_ref().map(Process::reap);
        }
        let answer = self.connection.receive().map(|bytes| match connection::decode(&bytes) {
            Ok(request) => json::message(&request),
            Err(error) => json!({ "undecodable": bytes, "error": error }),
        });
        let refused = answer.as_ref().is_some_and(|answer| answer["notify_success"] == false);
        self.aborted |= refused && !NOT_HEEDED.contains(&script);
        self.record.add(&json!({ "to": script, "answer": answer }));
    }

    /// As CRIU does when a callback was refused.
    fn abort(&mut self, kind: Criu_req_type) {
        self.aborted = false;
        if let Some(process) = &mut self.process {
            let _ = kill(Pid::from_raw(process.pid()), Signal::SIGKILL);
            process.resume();
        }
        self.thaw();
        self.answer(kind, &Answer::default());
    }

    fn terminal(&mut self, text: &str) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("/dev/ptmx");
        rustix::pty::unlockpt(&master).expect("unlockpt");
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("the terminal's other side");
        rustix::io::write(&slave, text.as_bytes()).expect("a write to the terminal");
        self.notify("orphan-pts-master", None, &[std::os::fd::AsFd::as_fd(&master)]);
    }

    fn log(&self, text: &str) {
        let path = self.work().join(self.opts.log_file());
        let mut file = fs::File::options().append(true).create(true).open(path).expect("the log");
        file.write_all(text.as_bytes()).expect("a line of the log");
    }

    fn freeze(&mut self) {
        let Some(cgroup) = self.frozen_cgroup().map(Path::to_owned) else { return };
        let file = cgroup.join("cgroup.freeze");
        self.was_frozen = fs::read_to_string(&file).expect("cgroup.freeze").trim() == "1";
        fs::write(file, "1").expect("cgroup.freeze");
        eventually("a frozen cgroup", || {
            let events = fs::read_to_string(cgroup.join("cgroup.events")).expect("cgroup.events");
            if events.contains("frozen 1") { Ok(()) } else { Err(events) }
        });
        self.record.add(&json!({ "frozen": cgroup, "before": self.was_frozen }));
    }

    fn thaw(&self) {
        if let Some(cgroup) = self.frozen_cgroup().filter(|_| !self.was_frozen) {
            fs::write(cgroup.join("cgroup.freeze"), "0").expect("cgroup.freeze");
        }
    }

    fn kill_dumped(&self) {
        let listed = self.frozen_cgroup().and_then(|cgroup| fs::read_to_string(cgroup.join("cgroup.procs")).ok());
        let mut pids: Vec<i32> = listed.unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect();
        pids.push(self.opts.pid());
        for pid in pids.into_iter().filter(|pid| *pid > 0) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        self.thaw();
    }

    fn answer(&mut self, kind: Criu_req_type, answer: &Answer) {
        let mut response = Criu_resp::new();
        let named = answer.kind.as_deref().map(|name| json::request_type(name).expect("a type of request"));
        response.set_type(named.unwrap_or(kind));
        response.set_success(answer.success);
        response.cr_errno = answer.errno;
        response.cr_errmsg.clone_from(&answer.message);
        match kind {
            Criu_req_type::VERSION => match self.script.version {
                Some([major, minor, sublevel]) => {
                    let mut version = Criu_version::new();
                    version.set_major_number(major);
                    version.set_minor_number(minor);
                    version.set_sublevel(sublevel);
                    response.version = Some(version).into();
                }
                None => response.set_success(false),
            },
            Criu_req_type::RESTORE if answer.success => {
                let mut restore = Criu_restore_resp::new();
                restore.set_pid(answer.pid.or_else(|| self.process.as_ref().map(Process::pid)).unwrap_or(0));
                response.restore = Some(restore).into();
            }
            Criu_req_type::FEATURE_CHECK => {
                let mut features = Criu_features::new();
                features.set_mem_track(true);
                features.set_lazy_pages(true);
                features.set_pidfd_store(true);
                response.features = Some(features).into();
            }
            _ => {}
        }
        self.connection.send(&connection::encode(&response), &[]);
    }
}
