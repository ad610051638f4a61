//! The shim below a real containerd (`make containerd`), driven by `ctr`. The chapter `containerd_sid` is this
//! one again, on the newest containerd there is.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use integration::{Containerd, Release, ended_within, eventually, is_cleat_shim, note, skip, tries};

/// Which containerd it is here.
const RELEASE: Release = match module_path!().as_bytes() {
    b"engines::containerd_sid" => Release::Sid,
    _ => Release::Host,
};

/// containerd; the test is skipped where there is none.
macro_rules! containerd {
    () => {
        Containerd::start(RELEASE)
    };
}

/// Waits for what a task has become.
fn task_is(containerd: &Containerd, id: &str, status: &str) {
    eventually(&format!("{id} to be {status}"), || {
        let said = containerd.ctr(["task", "ls"]);
        let line = said.out.lines().find(|line| line.starts_with(&format!("{id} "))).map(str::to_owned);
        match line {
            Some(line) if line.contains(status) => Ok(()),
            other => Err(format!("{other:?} {said:?}")),
        }
    });
}

/// Output, errors and the exit code come back, and the events in their order; nothing stays.
#[test]
fn what_a_task_says_and_how_it_ends_comes_back() {
    let containerd = containerd!();
    let said = containerd.run(&["--rm"], "a", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((said.code, said.out.as_str()), (7, "out\n"), "{said:?}");
    assert!(said.err.contains("err\n"), "{said:?}");
    eventually("the events", || match containerd.topics() {
        topics if topics == ["create", "start", "exit", "delete"] => Ok(()),
        topics => Err(format!("{topics:?}")),
    });
    containerd.nothing_is_left();
}

/// What is written to standard input arrives, and so does its end.
#[test]
fn standard_input_arrives_and_ends() {
    let containerd = containerd!();
    let mut command = containerd.run_command(&["--rm"], "a", &["cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ctr = command.spawn().expect("ctr");
    let mut stdin = ctr.stdin.take().expect("a pipe");
    stdin.write_all(b"some words\n").expect("write");
    // ctr passes the end on only once the task is there: before, it forgets it.
    eventually("the task", || {
        let listed = containerd.ctr(["task", "ls", "-q"]).out;
        if listed.contains('a') { Ok(()) } else { Err(listed) }
    });
    task_is(&containerd, "a", "RUNNING");
    drop(stdin);
    let output = ctr.wait_with_output().expect("ctr");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "some words\n", "{output:?}");
    containerd.nothing_is_left();
}

/// A terminal is a terminal, and what is typed arrives.
#[test]
fn a_terminal_is_one() {
    let containerd = containerd!();
    let said = containerd.ctr_command(["version"]).output().expect("ctr");
    assert!(said.status.success());
    // script(1) gives ctr a terminal. `exec`: a shell between would leave it in the background of that,
    // for timeout(1) leads a group of its own unless it leads the session.
    let run = containerd.run_command(&["--rm", "-t"], "a", &["sh", "-c", "test -t 0 && test -t 1 && stty -a"]);
    let words: Vec<String> = std::iter::once(run.get_program())
        .chain(run.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("exec {}", words.join(" ")), "/dev/null"]).stdin(Stdio::null());
    script.env("SHELL", "/bin/sh");
    for (name, value) in run.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    let output = script.output().expect("script(1)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("speed"), "{output:?}\n{}", containerd.log());
    containerd.nothing_is_left();
}

/// A further process has its own streams and exit code; children that keep its streams do not keep
/// the client that waits for its end for ever.
#[test]
fn a_further_process_ends_though_its_children_live() {
    let containerd = containerd!();
    let _ = containerd.run(&["-d"], "a", &["sleep", "1000"]).ok();
    let said = containerd.ctr(["task", "exec", "--exec-id", "e", "a", "sh", "-c", "echo one; exit 4"]);
    assert_eq!((said.code, said.out.as_str()), (4, "one\n"), "{said:?}");
    let said = containerd.ctr(["task", "exec", "--exec-id", "f", "a", "sh", "-c", "echo two; sleep 900 & exit 5"]);
    assert_eq!((said.code, said.out.as_str()), (5, "two\n"), "{said:?}");
    // The ids can be used again.
    let said = containerd.ctr(["task", "exec", "--exec-id", "e", "a", "echo", "three"]);
    assert_eq!((said.code, said.out.as_str()), (0, "three\n"), "{said:?}");
    let said = containerd.ctr(["task", "exec", "--exec-id", "g", "a", "/no/such/program"]);
    assert!(said.code != 0 && said.err.contains("no such file or directory"), "{said:?}");
    let _ = containerd.ctr(["task", "rm", "--force", "a"]).ok();
    containerd.nothing_is_left();
}

/// `ps`, `pause`, `resume`, `metrics` and `kill` do what they say.
#[test]
fn a_task_is_listed_frozen_measured_and_killed() {
    let containerd = containerd!();
    let _ = containerd.run(&["-d"], "a", &["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"]).ok();
    assert!(containerd.ctr(["task", "ps", "a"]).ok().lines().count() >= 2);
    let _ = containerd.ctr(["task", "pause", "a"]).ok();
    task_is(&containerd, "a", "PAUSED");
    let refused = containerd.ctr(["task", "exec", "--exec-id", "e", "a", "true"]);
    assert!(refused.code != 0 && refused.err.contains("paused"), "{refused:?}");
    let _ = containerd.ctr(["task", "resume", "a"]).ok();
    let metrics = containerd.ctr(["task", "metrics", "a"]).ok();
    assert!(metrics.contains("cpu.usage_usec"), "{metrics}");
    let _ = containerd.ctr(["task", "kill", "a"]).ok();
    task_is(&containerd, "a", "STOPPED");
    let said = containerd.ctr(["task", "rm", "a"]);
    assert!(said.err.contains("exit code 3"), "{said:?}");
    containerd.nothing_is_left();
}

/// A program that is not there is said so, and nothing is left of the attempt.
#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    let containerd = containerd!();
    let said = containerd.run(&["--rm"], "a", &["/no/such/program"]);
    assert!(said.code != 0 && said.err.contains("no such file or directory"), "{said:?}");
    let _ = containerd.ctr(["task", "rm", "--force", "a"]);
    containerd.nothing_is_left();
}

/// containerd is killed while a task writes, and comes back: the task is neither killed nor gets
/// an error, no byte is lost or twice there, and its exit status is known though it ended meanwhile.
#[test]
fn a_task_outlives_containerd_and_its_exit_status_is_known() {
    let mut containerd = containerd!();
    let log = containerd.dir().join("out.log");
    let uri = format!("file://{}", log.display());
    let program = "i=0; while [ $i -lt 200 ]; do echo line $i || exit 1; i=$((i+1)); sleep 0.01; done; exit 7";
    let _ = containerd.run(&["-d", "--log-uri", &uri], "a", &["sh", "-c", program]).ok();
    containerd.down();
    let expected: String = (0..200).map(|n| format!("line {n}\n")).collect();
    eventually("all lines", || match std::fs::read_to_string(&log).expect("the log") {
        text if text == expected => Ok(()),
        text => Err(format!("{} lines", text.lines().count())),
    });
    containerd.up();
    if is_cleat_shim() {
        task_is(&containerd, "a", "STOPPED");
        let said = containerd.ctr(["task", "rm", "a"]);
        assert!(said.err.contains("exit code 7"), "{said:?}");
        // It waited in the shim until containerd could hear of it.
        eventually("the events", || match containerd.topics() {
            topics if topics.ends_with(&["delete".into()]) => Ok(()),
            topics => Err(format!("{topics:?}")),
        });
        containerd.nothing_is_left();
    }
}

/// The same with a fifo: what nobody reads stays until somebody does.
#[test]
fn a_writer_to_a_fifo_survives_its_reader() {
    let mut containerd = containerd!();
    let program = "trap '' TERM; i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; sleep 1000";
    let mut ctr = containerd.run_command(&[], "a", &["sh", "-c", program]);
    let mut ctr = ctr.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ctr");
    task_is(&containerd, "a", "RUNNING");
    // The reader goes first, then containerd.
    let pid = rustix::process::Pid::from_child(&ctr);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    let _ = ctr.wait();
    containerd.down();
    containerd.up();
    task_is(&containerd, "a", "RUNNING");
    let said = containerd.ctr(["task", "exec", "--exec-id", "e", "a", "sh", "-c", "ps | grep -c 'sleep 1000'"]);
    assert!(said.code == 0, "the writer has been killed: {said:?}");
    let _ = containerd.ctr(["task", "kill", "-s", "KILL", "a"]).ok();
    task_is(&containerd, "a", "STOPPED");
    let _ = containerd.ctr(["task", "rm", "a"]);
    containerd.nothing_is_left();
}

/// The shim is killed: its task is, too, and nothing of it is left.
#[test]
fn a_killed_shim_leaves_nothing() {
    let containerd = containerd!();
    for round in 0..3 {
        let id = format!("a{round}");
        let _ = containerd.run(&["-d"], &id, &["sleep", "1000"]).ok();
        for pid in containerd.shims() {
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
        }
        eventually("the task to be gone", || match containerd.ctr(["task", "ls", "-q"]).out {
            out if out.trim().is_empty() => Ok(()),
            out => Err(out),
        });
        if is_cleat_shim() {
            containerd.nothing_is_left();
        }
    }
}

/// Tasks of a group have one shim.
#[test]
fn a_group_has_one_shim() {
    let containerd = containerd!();
    let group = ["-d", "--annotation", "io.containerd.runc.v2.group=pod"];
    for id in ["a", "b", "c"] {
        let _ = containerd.run(&group, id, &["sleep", "1000"]).ok();
    }
    assert_eq!(containerd.shims().len(), 1);
    for id in ["b", "a", "c"] {
        assert_eq!(containerd.shims().len(), 1);
        let _ = containerd.ctr(["task", "rm", "--force", id]).ok();
    }
    // Of a group, containerd 2's own shim leaves its sockets.
    if is_cleat_shim() {
        containerd.nothing_is_left();
    }
}

/// A snapshotter that makes images of file systems hands over the option `loop`.
#[test]
fn a_root_file_system_may_be_in_a_file() {
    let mut containerd = containerd!();
    let scratch = containerd.dir().join("scratch");
    let mut make = std::process::Command::new("mke2fs");
    let made = make.args(["-q", "-t", "ext4"]).arg(&scratch).arg("32M").status().is_ok_and(|made| made.success());
    let root = containerd.dir().join("blockfile");
    containerd.configure_more(&format!(
        "[plugins.\"io.containerd.snapshotter.v1.blockfile\"]\n  root_path = {root:?}\n  \
         scratch_file = {scratch:?}\n  fs_type = \"ext4\"\n  mount_options = []\n",
    ));
    let plugins = containerd.ctr(["plugins", "ls"]).ok();
    let has = |line: &str| line.contains(" blockfile ") && line.trim_end().ends_with("ok");
    if !made || !plugins.lines().any(has) {
        skip("no mke2fs(8), or a containerd that has no blockfile snapshotter");
    }
    let mount = "while read -r a b c; do test $b = / || continue; echo $a $c; done </proc/mounts";
    let said = containerd.run(&["--rm", "--snapshotter", "blockfile"], "a", &["sh", "-c", mount]);
    let out = said.out.as_str();
    assert!(said.code == 0 && out.starts_with("/dev/loop") && out.contains(" ext4 "), "{said:?}\n{}", containerd.log());
    containerd.nothing_is_left();
}

/// Many at a time.
#[test]
fn fifty_tasks_start_at_once() {
    let containerd = containerd!();
    let ids: Vec<String> = (0..50).map(|n| format!("a{n}")).collect();
    let start = |id: &String| {
        let mut command = containerd.run_command(&["--rm"], id, &["sh", "-c", "echo it is me; exit 9"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ctr")
    };
    let running: Vec<_> = ids.iter().map(start).collect();
    for (ctr, id) in running.into_iter().zip(&ids) {
        let output = ctr.wait_with_output().expect("ctr");
        assert_eq!(output.status.code(), Some(9), "{id}: {output:?}");
        assert_eq!(output.stdout, b"it is me\n", "{id}");
    }
    containerd.nothing_is_left();
}

/// Whatever is killed at whatever moment of a task's life, containerd, the shim or the task's init: what
/// should live lives, and nothing is left once it has been removed.
#[test]
fn nothing_is_left_whatever_is_killed_whenever() {
    let mut containerd = containerd!();
    if !is_cleat_shim() {
        skip("not on containerd's own shim: of a task that is killed while it is created, something stays");
    }
    let mut draw = dice();
    for round in 0..tries().div_ceil(20) {
        let id = format!("k{round}");
        let mut command = containerd.run_command(&["-d"], &id, &["sleep", "1000"]);
        let mut ctr = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ctr");
        let (victim, at) = (draw(3), Duration::from_micros(draw(200_000)));
        // The moment, or the end of what is going on, whichever comes first.
        let _ = ended_within(&ctr, at);
        match victim {
            0 => containerd.down(),
            1 => containerd.shims().into_iter().for_each(|pid| kill(&containerd, pid)),
            _ => inits(&containerd, &id).into_iter().for_each(|pid| kill(&containerd, pid)),
        }
        if victim == 0 {
            let lived = inits(&containerd, &id);
            containerd.up();
            let _ = ctr.wait();
            let lives = |pid: &i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
            // containerd itself removes tasks that it does not know of.
            let known = containerd.ctr(["task", "ls", "-q"]).out.contains(&id);
            assert!(!known || lived.iter().all(lives), "round {round}: the task died with containerd, after {at:?}");
        }
        let _ = ctr.wait();
        let _ = containerd.ctr(["task", "rm", "--force", &id]);
        let _ = containerd.ctr(["container", "rm", &id]);
        eventually(&format!("round {round}: the task to be gone, victim {victim} after {at:?}"), || {
            match containerd.ctr(["task", "ls", "-q"]).out {
                out if out.trim().is_empty() => Ok(()),
                out => {
                    let _ = containerd.ctr(["task", "rm", "--force", &id]);
                    Err(out)
                }
            }
        });
        note!("round {round}: victim {victim} after {at:?}");
        if victim == 1 {
            // Of a shim that dies before its Create is answered, nobody is asked to remove the socket.
            eventually("the shim's end", || if containerd.shims().is_empty() { Ok(()) } else { Err(String::new()) });
            for socket in containerd.files("/run/containerd/s") {
                let _ = containerd.inside("rm").arg(socket).output();
            }
        }
        containerd.nothing_is_left();
    }
}

/// The same while further processes come and go: each of them, or the client that asked for one, learns of an end;
/// a task that nobody killed goes on.
#[test]
fn nothing_is_left_whatever_is_killed_during_execs() {
    let mut containerd = containerd!();
    if !is_cleat_shim() {
        skip("not on containerd's own shim: its processes are not known by their files");
    }
    let mut draw = dice();
    for round in 0..tries().div_ceil(20) {
        let id = format!("x{round}");
        let _ = containerd.run(&["-d"], &id, &["sleep", "1000"]).ok();
        let exec = |name: &str| {
            let program = ["sh", "-c", "sleep 0.05; exit 5"];
            let all = ["task", "exec", "--exec-id", name, &id].into_iter().chain(program);
            containerd.ctr_command(all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ctr")
        };
        let execs: Vec<_> = ["e0", "e1", "e2", "e3"].into_iter().map(exec).collect();
        let (victim, at) = (draw(4), Duration::from_micros(draw(250_000)));
        let case = format!("round {round}: victim {victim} after {at:?}");
        let _ = ended_within(&execs[3], at);
        let init = inits(&containerd, &id);
        match victim {
            0 => containerd.down(),
            1 => containerd.shims().into_iter().for_each(|pid| kill(&containerd, pid)),
            2 => init.iter().copied().for_each(|pid| kill(&containerd, pid)),
            _ => {
                let pid = containerd.read(&containerd.bundle(&id, "exec-e1.pid"));
                pid.trim().parse().into_iter().for_each(|pid| kill(&containerd, pid));
            }
        }
        if victim == 0 {
            containerd.up();
        }
        let ended: Vec<_> = execs.into_iter().map(|ctr| ctr.wait_with_output().expect("ctr")).collect();
        let codes: Vec<_> = ended.iter().map(|output| output.status.code()).collect();
        let seen = || format!("{case}: {codes:?} {ended:?}");
        match victim {
            0 => {
                assert!(containerd.ctr(["task", "ls"]).out.contains("RUNNING"), "{}", seen());
                let said = containerd.ctr(["task", "exec", "--exec-id", "f", &id, "sh", "-c", "exit 6"]);
                assert_eq!(said.code, 6, "{said:?} {}", seen());
            }
            2 => {
                task_is(&containerd, &id, "STOPPED");
                let said = containerd.ctr(["task", "rm", &id]);
                assert!(said.err.contains("exit code 137"), "{said:?} {}", seen());
            }
            3 => {
                assert!(matches!(codes[1], Some(137 | 5)), "{}", seen());
                assert_eq!([codes[0], codes[2], codes[3]], [Some(5); 3], "{}", seen());
                task_is(&containerd, &id, "RUNNING");
            }
            _ => {}
        }
        let _ = containerd.ctr(["task", "rm", "--force", &id]);
        eventually(&format!("{case}: the task to be gone"), || match containerd.ctr(["task", "ls", "-q"]).out {
            out if out.trim().is_empty() => Ok(()),
            out => Err(out),
        });
        let _ = containerd.ctr(["container", "rm", &id]);
        note!("{case}: {codes:?}");
        containerd.nothing_is_left();
    }
}

/// Numbers below one that is given, others in every run.
fn dice() -> impl FnMut(u64) -> u64 {
    let mut random = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move |below| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    }
}

/// Kills a process whose number was read somewhere, if it is still one of this containerd's: a shim of its, or in a
/// cgroup of its tasks. The number may belong to another by now; the descriptor belongs to the one that was looked at.
fn kill(containerd: &Containerd, pid: i32) {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    let names = ["cmdline", "cgroup"].map(|file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
    if names.iter().any(|text| String::from_utf8_lossy(text).contains(containerd.name())) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

/// A task's init, when it has got that far.
fn inits(containerd: &Containerd, id: &str) -> Vec<i32> {
    containerd.read(&containerd.bundle(id, "init.pid")).trim().parse().into_iter().collect()
}
