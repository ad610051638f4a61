//! config.md, "POSIX-platform Hooks"; runtime.md, "Lifecycle", steps 3 to 13.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use integration::{Bundle, Container, Pty, Runtime, eventually, not_on_peer, probe, skip};
use serde_json::{Value, json};

const IN_CREATE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// All kinds, in the order of their turn. runc calls poststart hooks at the end of `create`
/// until 1.5 (#4347), so a peer is spared them.
fn kinds() -> Vec<&'static str> {
    let all = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    all.into_iter().filter(|kind| !(integration::is_peer() && *kind == "poststart")).collect()
}

/// A bundle with a directory that host and container both see, for what the hooks write.
struct Hooked {
    bundle: Bundle,
    log: PathBuf,
}

fn hooked(args: &[&str]) -> Hooked {
    let bundle = Bundle::new().args(args.iter().copied());
    let dir = bundle.dir().join("hooks");
    fs::create_dir(&dir).expect("a directory");
    let log = dir.join("log");
    let bundle = bundle.bind(&dir, "/hooks", &["bind", "rw"]);
    Hooked { bundle, log }
}

impl Hooked {
    fn hook(mut self, kind: &str, tag: &str, status: u8) -> Self {
        self.bundle = if kind == "startContainer" {
            // Path and file as the container sees them.
            self.bundle.raw_hook(
                kind,
                json!({ "path": "/probe", "args": ["probe", "hook", "/hooks/log", tag, status.to_string()] }),
            )
        } else {
            self.bundle.hook(kind, &self.log, tag, status)
        };
        self
    }

    fn raw(mut self, kind: &str, hook: Value) -> Self {
        self.bundle = self.bundle.raw_hook(kind, hook);
        self
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the probe")).collect()
    }

    fn tags(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["tag"].as_str().expect("a tag").to_owned()).collect()
    }

    /// Nothing that create made is left.
    fn assert_gone(&self, runtime: &Runtime, when: &str) {
        assert!(!self.bundle.cgroup().exists(), "{when}: the cgroup was left");
        let left = fs::read_dir(runtime.root()).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
        assert!(left.is_empty(), "{when}: left in the state root: {left:?}");
    }
}

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string()
}

fn of(container: &Container<'_>, name: &str) -> String {
    fs::read_link(container.proc(&format!("ns/{name}"))).expect("a namespace").display().to_string()
}

/// runtime.md § Lifecycle: which hooks run at which operation, in which order; config.md: "MUST
/// be called in the listed order".
#[test]
fn hooks_run_in_order_at_their_operation() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "sleep"]);
    for kind in kinds().into_iter().rev() {
        hooked = hooked.hook(kind, &format!("{kind} 1"), 0).hook(kind, &format!("{kind} 2"), 0);
    }
    let called = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().flat_map(|kind| [format!("{kind} 1"), format!("{kind} 2")]).collect()
    };
    let container = runtime.create(&hooked.bundle);
    assert_eq!(hooked.tags(), called(&IN_CREATE), "at create");
    container.start();
    // runc's start returns before the startContainer hooks are over, ours after poststart.
    container.wait_for_line("ready");
    let up_to_start: Vec<_> = kinds().into_iter().filter(|kind| *kind != "poststop").collect();
    assert_eq!(hooked.tags(), called(&up_to_start), "at start");
    container.kill_and_delete();
    assert_eq!(hooked.tags(), called(&kinds()), "at delete");
}

/// config.md § Hooks: "The state of the container MUST be passed to hooks over stdin".
#[test]
fn hooks_get_the_state_on_stdin() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "sleep"]);
    for kind in kinds() {
        hooked = hooked.hook(kind, kind, 0);
    }
    hooked.bundle = hooked.bundle.set("/annotations", json!({ "org.example.key": "value" }));
    let container = runtime.start_ready(&hooked.bundle);
    let pid = container.pid();
    container.kill_and_delete();
    let lines = hooked.lines();
    assert_eq!(lines.len(), kinds().len(), "{lines:?}");
    for line in lines {
        let (tag, state) = (line["tag"].as_str().unwrap_or_default(), &line["state"]);
        assert_eq!(state["id"], container.id(), "{tag}");
        assert_eq!(state["bundle"], json!(hooked.bundle.path()), "{tag}");
        assert_eq!(state["annotations"]["org.example.key"], "value", "{tag}");
        assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{tag}: {state}");
        let status = match tag {
            "prestart" | "createRuntime" | "createContainer" => "creating",
            "startContainer" => "created",
            "poststart" => "running",
            _ => "stopped",
        };
        assert_eq!(state["status"], status, "{tag}");
        let seen = &state["pid"];
        match tag {
            // "For hooks executed in the container namespace, it is the pid as seen by the container."
            "createContainer" | "startContainer" => {
                assert!(*seen == 1 || integration::is_peer() && *seen == pid, "{tag}: pid {seen}");
            }
            "poststop" => assert!(seen.is_null() || *seen == 0, "{tag}: pid {seen}"),
            _ => assert_eq!(*seen, pid, "{tag}"),
        }
    }
}

/// config.md § Hooks: prestart, createRuntime, poststart and poststop run in the runtime's
/// namespaces, createContainer and startContainer in the container's.
#[test]
fn hooks_run_in_the_namespaces_of_the_specification() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "sleep"]).hook("startContainer", "startContainer", 0);
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        hooked = hooked.hook(kind, kind, 0);
    }
    let container = runtime.start_ready(&hooked.bundle);
    let inside: Vec<_> = ["mnt", "net", "ipc", "uts", "pid"].map(|name| (name, of(&container, name))).into();
    container.kill_and_delete();
    for line in hooked.lines() {
        let tag = line["tag"].as_str().unwrap_or_default();
        for (name, inside) in &inside {
            let seen = &line["namespaces"][*name];
            if matches!(tag, "createContainer" | "startContainer") {
                assert_eq!(seen, inside, "{tag}: {name}");
            } else {
                assert_eq!(*seen, own(name), "{tag}: {name}");
            }
        }
        let root: Vec<_> = line["root"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_containers = root.contains(&"hooks");
        assert_eq!(is_containers, tag == "startContainer", "{tag}: / holds {root:?}");
    }
}

/// createRuntime: "after the runtime environment has been created" and before pivot_root: the
/// hook finds the container's namespaces by its pid, as CNI plugins do.
#[test]
fn create_runtime_finds_the_namespaces_made() {
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "facts"]);
    let found = hooked.log.with_file_name("found");
    let script =
        format!("pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net > {}", found.display());
    let hooked = hooked.raw(
        "createRuntime",
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }),
    );
    let container = runtime.create(&hooked.bundle);
    assert_eq!(fs::read_to_string(found).expect("what the hook found").trim_end(), of(&container, "net"));
}

/// config.md § Hooks: args and env are as configured, "same semantics as execv's argv".
#[test]
fn hooks_get_their_own_args_and_env() {
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "exit", "0"]);
    let hook = json!({
        "path": probe(),
        "args": ["argv0", "hook", hooked.log, "tag"],
        "env": ["KEY=value", "OTHER=a=b"],
    });
    let hooked = hooked.raw("createRuntime", hook);
    let run = runtime.run_with(&hooked.bundle, |call| call.env("SECRET", "of the caller"));
    let _ = run.ok();
    let lines = hooked.lines();
    assert_eq!(lines[0]["args"][0], "argv0");
    let mut env: Vec<_> = lines[0]["env"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    env.sort_unstable();
    assert_eq!(env, ["KEY=value", "OTHER=a=b"]);
}

/// runtime.md § Lifecycle: if a create hook fails, "MUST generate an error, stop the container,
/// and continue the lifecycle at step 12": nothing is left, later hooks do not run.
#[test]
fn a_failing_hook_of_create_fails_create() {
    for kind in IN_CREATE {
        let runtime = Runtime::new();
        let hooked = hooked(&["/probe", "sleep"]).hook(kind, "before", 0).hook(kind, "fails", 3).hook(kind, "after", 0);
        let outcome = runtime.try_create(&hooked.bundle).err().unwrap_or_else(|| panic!("{kind}: create succeeds"));
        let _ = outcome.exits(1);
        assert_eq!(hooked.tags(), ["before", "fails"], "{kind}");
        hooked.assert_gone(&runtime, kind);
    }
}

/// The message names the hook, its status and what it said.
#[test]
fn the_message_of_a_failing_hook_names_it() {
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]).hook("createRuntime", "tag", 3);
    let outcome = runtime.try_create(&hooked.bundle).expect_err("create succeeds").exits(1).in_one_line();
    for word in ["3", "hook tag fails as asked"] {
        assert!(outcome.stderr.contains(word), "expected {word:?}: {outcome}");
    }
}

/// Scripts and engines look for runc's words, for every kind, with a terminal too.
#[test]
fn a_failing_hook_is_reported_in_runcs_words() {
    for terminal in [false, true] {
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
            // What fails after the order to start is told on the container's own terminal.
            if terminal && kind == "startContainer" || integration::is_peer() && (terminal || kind == "startContainer")
            {
                continue;
            }
            let runtime = Runtime::new();
            let failing = |hooked: Hooked| hooked.hook(kind, "first", 0).hook(kind, "tag", 3);
            let hooked = failing(hooked(&["/probe", "sleep"]));
            let bundle = hooked.bundle.set("/process/terminal", json!(terminal));
            let (_pty, slave) = Pty::open();
            let outcome = runtime.run_with(&bundle, |call| if terminal { call.stdin_of(&slave) } else { call });
            let words = format!("error running {kind} hook #1: exit status 3, stdout: , stderr: ");
            for words in [words.as_str(), "hook tag fails as asked"] {
                assert!(outcome.stderr.contains(words), "{kind}, terminal {terminal}: expected {words:?}: {outcome}");
            }
        }
    }
    let kinds = |kind: &str, path: &str| if kind == "startContainer" { "/no".into() } else { path.to_owned() };
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        let runtime = Runtime::new();
        let path = kinds(kind, "/no/such/hook");
        let hooked = hooked(&["/probe", "sleep"]).raw(kind, json!({ "path": path }));
        let outcome = runtime.run(&hooked.bundle);
        let words = format!("error running {kind} hook #0: fork/exec {path}: no such file or directory");
        assert!(outcome.stderr.contains(&words), "expected {words:?}: {outcome}");
        let path = kinds(kind, &probe().display().to_string());
        let path = if kind == "startContainer" { "/probe".to_owned() } else { path };
        let hook = json!({ "path": path, "args": ["probe", "sleep"], "timeout": 1 });
        let hooked = self::hooked(&["/probe", "sleep"]).raw(kind, hook);
        let outcome = runtime.run(&hooked.bundle);
        let words = format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
        assert!(outcome.stderr.contains(&words), "expected {words:?}: {outcome}");
    }
}

/// Hooks of the host without `env` have the runtime's environment, and those of the container the
/// process's. An empty one is empty. None of the caller's reaches the container's namespaces.
#[test]
fn hooks_without_env_have_that_of_who_runs_them() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "exit", "0"]);
    for kind in kinds() {
        let path = if kind == "startContainer" { PathBuf::from("/probe") } else { probe() };
        let log = if kind == "startContainer" { PathBuf::from("/hooks/log") } else { hooked.log.clone() };
        hooked = hooked.raw(kind, json!({ "path": path, "args": ["probe", "hook", log, kind] }));
    }
    let empty = json!({ "path": probe(), "args": ["probe", "hook", hooked.log, "empty"], "env": [] });
    let mut hooked = hooked.raw("createRuntime", empty);
    hooked.bundle = hooked.bundle.set("/process/env", json!(["OF=process"]));
    let _ = runtime.run_with(&hooked.bundle, |call| call.env("OF", "caller")).ok();
    for line in hooked.lines() {
        let tag = line["tag"].as_str().unwrap_or_default();
        let has = |var: &str| line["env"].as_array().is_some_and(|env| env.iter().any(|known| known == var));
        let seen = (has("OF=caller"), has("OF=process"));
        let expected = match tag {
            // crun has its own there, too.
            "createContainer" | "empty" if integration::is_peer() => continue,
            "startContainer" => (false, true),
            "createContainer" | "empty" => (false, false),
            _ => (true, false),
        };
        assert_eq!(seen, expected, "{tag}: {line}");
    }
}

/// Hooks of the host run in the bundle, and createContainer hooks in the container's root.
#[test]
fn hooks_run_in_the_bundle() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "exit", "0"]);
    let of_host = ["prestart", "createRuntime", "poststart", "poststop"];
    let file = |kind: &str| hooked.log.with_file_name(kind);
    let script = |kind: &str| {
        format!("pwd -P >{f}; stat -Lc %d:%i . >>{f}; test -e probe && echo root >>{f}", f = file(kind).display())
    };
    let hook = |kind: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", script(kind) + "; true"] });
    let all: Vec<_> = of_host.iter().chain(&["createContainer"]).map(|kind| (*kind, hook(kind), file(kind))).collect();
    for (kind, hook, _) in &all {
        hooked = hooked.raw(kind, hook.clone());
    }
    let _ = runtime.run_with(&hooked.bundle, |call| call).ok();
    for (kind, _, file) in &all {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        let pwd = lines.next().unwrap_or_default();
        if *kind == "createContainer" {
            assert_eq!(lines.nth(1), Some("root"), "{kind}: {text}");
        } else if !integration::is_peer() || *kind != "poststop" {
            assert_eq!(Path::new(pwd), hooked.bundle.path(), "{kind}");
        }
    }
}

/// runtime.md: a failed create continues at step 12, so the poststop hooks (step 13) run.
#[test]
fn poststop_runs_after_a_failed_create() {
    not_on_peer!("runc runs no poststop hook when create fails before its state is saved");
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]).hook("createRuntime", "fails", 1).hook("poststop", "poststop", 0);
    let _ = runtime.try_create(&hooked.bundle).expect_err("create succeeds");
    assert_eq!(hooked.tags(), ["fails", "poststop"]);
}

/// runtime.md § Lifecycle, step 7: after a failing startContainer hook the program never runs. As with runc, that is
/// told on the container's standard error and by its status: `start` has returned by then.
#[test]
fn a_failing_start_container_hook_keeps_the_program_from_running() {
    let runtime = Runtime::new();
    let hooked =
        hooked(&["/probe", "print", "ran"]).hook("startContainer", "fails", 3).hook("startContainer", "after", 0);
    let container = runtime.create(&hooked.bundle);
    container.start();
    let status = container.wait();
    assert_eq!(container.stdout(), "");
    assert_eq!(hooked.tags(), ["fails"]);
    assert_eq!(container.status(), "stopped");
    if !integration::is_peer() {
        assert_eq!(status, 255);
        let text = container.stderr();
        assert!(text.starts_with("error running startContainer hook #0: exit status 3, stdout: , stderr: "), "{text}");
    }
}

/// crun's annotations: what hooks print is also in files of the host, of every kind of hook, made for their owner
/// alone and appended to.
#[test]
fn annotations_name_files_for_what_hooks_print() {
    not_on_peer!("runc has no such annotations, and crun makes files of mode 0700");
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "exit", "0"]);
    let (out, err) = (hooked.log.with_file_name("out"), hooked.log.with_file_name("err"));
    let script = |kind: &str| format!("echo {kind}; echo {kind} fails >&2");
    for kind in kinds() {
        let hook = match kind {
            "startContainer" => json!({ "path": "/probe", "args": ["probe", "print", kind] }),
            _ => json!({ "path": "/bin/sh", "args": ["sh", "-c", script(kind)] }),
        };
        hooked = hooked.raw(kind, hook);
    }
    fs::write(&out, "before\n").expect("a file");
    let annotations = json!({ "run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err });
    let bundle = hooked.bundle.set("/annotations", annotations);
    let _ = runtime.run(&bundle).ok();
    let text = |path| fs::read_to_string(path).expect("a log");
    assert_eq!(text(&out), format!("before\n{}\n", kinds().join("\n")));
    for kind in kinds().into_iter().filter(|kind| *kind != "startContainer") {
        assert!(text(&err).contains(&format!("{kind} fails\n")), "{kind}: {}", text(&err));
    }
    assert_eq!(fs::metadata(&err).expect("the file").permissions().mode() & 0o777, 0o600);
}

/// Such an annotation may be an image's: it is not followed through a link, nor written to what is no plain file.
#[test]
fn what_hooks_print_goes_to_plain_files_alone() {
    not_on_peer!("crun writes wherever it leads");
    let runtime = Runtime::new();
    let dir = runtime.dir();
    let target = dir.join("target");
    fs::write(&target, "").expect("a file");
    fs::write(dir.join("second"), "").expect("a file");
    fs::hard_link(dir.join("second"), dir.join("hard")).expect("a link");
    std::os::unix::fs::symlink(&target, dir.join("link")).expect("a link");
    let fifo = rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0);
    fifo.expect("mknod");
    for kind in ["createRuntime", "createContainer"] {
        for (path, why) in [
            (dir.join("link"), "ELOOP"),
            (dir.join("fifo"), "no regular file"),
            (dir.join("hard"), "other names"),
            (dir.to_owned(), "EISDIR"),
            (PathBuf::from("/dev/null"), "no regular file"),
            (PathBuf::from("relative"), "must be absolute"),
        ] {
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo written"] });
            let bundle = Bundle::new().args(["/probe", "exit", "0"]).raw_hook(kind, hook);
            let bundle = bundle.set("/annotations", json!({ "run.oci.hooks.stdout": path }));
            let outcome = runtime.run(&bundle);
            assert!(outcome.code() == 1 && outcome.stderr.contains(why), "{kind}, {}: {outcome}", path.display());
        }
    }
    assert_eq!(fs::read_to_string(target).expect("the file"), "");
}

/// runtime.md § Lifecycle, step 9: "If any poststart hook fails, the runtime MUST generate an
/// error, stop the container".
#[test]
fn a_failing_poststart_hook_stops_the_container() {
    not_on_peer!("runc leaves it running until 1.5, crun deletes it");
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]).hook("poststart", "fails", 3).hook("poststart", "after", 0);
    let container = runtime.create(&hooked.bundle);
    let outcome = container.call(["start"]).outcome().exits(1).in_one_line();
    assert!(outcome.stderr.contains('3'), "no status: {outcome}");
    assert!(container.wait() >= 128, "not killed");
    assert_eq!(container.status(), "stopped");
    assert_eq!(hooked.tags(), ["fails"]);
    container.delete();
}

/// The same in the foreground: `run` ends, with an error, and leaves nothing.
#[test]
fn a_failing_poststart_hook_ends_run() {
    not_on_peer!("runc leaves it running until 1.5");
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]).hook("poststart", "fails", 3);
    let _ = runtime.run(&hooked.bundle).exits(1);
    hooked.assert_gone(&runtime, "poststart");
}

/// runtime.md § Lifecycle, step 13: "If any poststop hook fails, the runtime MUST log a warning,
/// but the remaining hooks and lifecycle continue as if the hook had succeeded."
#[test]
fn a_failing_poststop_hook_is_a_warning_and_the_others_run() {
    not_on_peer!("runc's delete fails and skips the remaining hooks");
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]).hook("poststop", "fails", 3).hook("poststop", "after", 0);
    let container = runtime.start_ready(&hooked.bundle);
    container.kill("KILL");
    let _ = container.wait();
    let outcome = container.call(["delete"]).outcome().ok();
    assert!(outcome.stderr.contains("poststop"), "no warning: {outcome}");
    assert_eq!(hooked.tags(), ["fails", "after"]);
    hooked.assert_gone(&runtime, "poststop");
}

/// runtime.md § Lifecycle, step 13: poststop hooks are called *after* the container is deleted.
#[test]
fn poststop_runs_when_the_resources_are_gone() {
    let runtime = Runtime::new();
    let hooked = hooked(&["/probe", "sleep"]);
    let found = hooked.log.with_file_name("found");
    let script = format!(
        "test -e {} && echo there > {f} || echo gone > {f}",
        hooked.bundle.cgroup().display(),
        f = found.display()
    );
    let hooked = hooked.raw("poststop", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    runtime.start_ready(&hooked.bundle).kill_and_delete();
    assert_eq!(fs::read_to_string(found).expect("what the hook found").trim_end(), "gone");
}

/// config.md § Hooks, timeout: "the number of seconds before aborting the hook"; what hangs is
/// killed and create fails.
#[test]
fn a_hook_that_takes_too_long_is_killed() {
    for kind in IN_CREATE {
        let runtime = Runtime::new();
        let hooked = hooked(&["/probe", "sleep"]);
        let hook = json!({ "path": probe(), "args": ["probe", "hook-sleep", hooked.log, "hangs"], "timeout": 1 });
        let hooked = hooked.raw(kind, hook).hook(kind, "after", 0);
        let outcome = runtime.try_create(&hooked.bundle).err().unwrap_or_else(|| panic!("{kind}: create succeeds"));
        let _ = outcome.exits(1);
        assert_eq!(hooked.tags(), ["hangs"], "{kind}");
        assert_no_process_with(&hooked.log, kind);
        hooked.assert_gone(&runtime, kind);
    }
}

/// The hook is not alive: no process has its log among its arguments.
fn assert_no_process_with(log: &Path, kind: &str) {
    let log = log.display().to_string();
    eventually(&format!("the end of the {kind} hook"), || {
        let found = fs::read_dir("/proc").expect("/proc").flatten().find(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("hook-sleep") && line.contains(&log)
        });
        found.map_or(Ok(()), |entry| Err(format!("{}", entry.path().display())))
    });
}

/// config.md § Hooks: "path … MUST be an absolute path"; "timeout … MUST be greater than zero".
#[test]
fn hooks_that_break_the_rules_are_refused() {
    let runtime = Runtime::new();
    let path = probe();
    for (hook, what) in [
        (json!({ "path": "relative/hook" }), "a relative path"),
        (json!({ "path": "/no/such/hook" }), "a missing program"),
        (json!({ "path": "/etc/passwd" }), "a file that is no program"),
        (json!({ "path": path, "args": ["probe", "exit", "0"], "timeout": 0 }), "a timeout of 0"),
        (json!({ "path": path, "args": ["probe", "exit", "0"], "timeout": -1 }), "a negative timeout"),
    ] {
        if integration::is_peer() && what.contains("timeout") {
            // runc takes them for no time at all, and crun for none given.
            continue;
        }
        let hooked = hooked(&["/probe", "sleep"]).raw("createRuntime", hook);
        let outcome = runtime.try_create(&hooked.bundle).err().unwrap_or_else(|| panic!("create succeeds with {what}"));
        let _ = outcome.exits(1).in_one_line();
        hooked.assert_gone(&runtime, what);
    }
}

/// A hook that reads nothing and ends at once is no failure, however long the state is.
#[test]
fn a_hook_may_leave_its_stdin_unread() {
    let runtime = Runtime::new();
    let long: serde_json::Map<String, Value> =
        (0..2000).map(|n| (format!("org.example.{n}"), json!("x".repeat(100)))).collect();
    let hooked = hooked(&["/probe", "exit", "0"]).raw("createRuntime", json!({ "path": "/bin/true" }));
    let bundle = hooked.bundle.set("/annotations", Value::Object(long));
    let _ = runtime.run(&bundle).ok();
}

/// `run` calls them all, in order.
#[test]
fn run_calls_all_hooks() {
    let runtime = Runtime::new();
    let mut hooked = hooked(&["/probe", "sleep"]);
    for kind in kinds() {
        hooked = hooked.hook(kind, kind, 0);
    }
    let (container, running) = runtime.spawn_run(&hooked.bundle, |call| call);
    container.wait_for_line("ready");
    // The start within `run` is over when its last hook has been called.
    let before_stop = kinds().len() - 1;
    eventually("the hooks of start", || {
        let tags = hooked.tags();
        (tags.len() == before_stop).then_some(()).ok_or(format!("{tags:?}"))
    });
    container.kill("TERM");
    let _ = running.outcome().exits(0);
    assert_eq!(hooked.tags(), kinds());
}

/// A hook of the host that says whether the state that it gets can be made a program, and reads it.
fn looks_at_state(log: &Path) -> Value {
    let script = format!(
        "exec >>{} 2>/dev/null; chmod 755 /proc/self/fd/0 && echo changed; stat -L -c %a /proc/self/fd/0; \
         grep -c ociVersion",
        log.display()
    );
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] })
}

/// Boundary 14: the state of a hook is a file in memory that can be executed, whatever is written into it.
#[test]
fn boundary_14_a_hooks_state_is_no_program() {
    not_on_peer!("its hooks read a pipe");
    let runtime = Runtime::new();
    let noexec = rustix::fs::MemfdFlags::from_bits_retain(8);
    if rustix::fs::memfd_create("noexec", noexec).is_err() {
        skip("MFD_NOEXEC_SEAL, before Linux 6.3");
    }
    let log = runtime.dir().join("states");
    let kinds = ["createRuntime", "createContainer", "poststart", "poststop"];
    let hook = |bundle: Bundle, kind: &&str| bundle.raw_hook(kind, looks_at_state(&log));
    let bundle = kinds.iter().fold(Bundle::new().args(["/probe", "exit", "0"]), hook);
    runtime.run(&bundle).ok();
    let seen = fs::read_to_string(&log).expect("what the hooks wrote");
    assert_eq!(seen, "666\n1\n".repeat(kinds.len()), "it can be made a program");
}

/// Where nothing in memory may be executed (`vm.memfd_noexec`, of a pid namespace), hooks run all the same.
#[test]
fn hooks_run_where_memory_is_not_executable() {
    not_on_peer!("its hooks read a pipe");
    let runtime = Runtime::new();
    let first = runtime.start_ready(&Bundle::new().args(["/probe", "sleep"]));
    let namespace = first.proc("ns/pid");
    let mut enter = std::process::Command::new("nsenter");
    enter.arg(format!("--pid={}", namespace.display())).args(["sh", "-c", "echo 2 >/proc/sys/vm/memfd_noexec"]);
    if !enter.status().expect("nsenter(1)").success() {
        skip("vm.memfd_noexec, before Linux 6.3");
    }
    let log = runtime.dir().join("states");
    let bundle = Bundle::new()
        .namespace(json!({ "type": "pid", "path": namespace }))
        .raw_hook("createContainer", looks_at_state(&log))
        .args(["/probe", "exit", "0"]);
    runtime.run(&bundle).ok();
    assert_eq!(fs::read_to_string(&log).expect("what the hook wrote"), "666\n1\n");
}
