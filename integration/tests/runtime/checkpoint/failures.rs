//! What if a checkpoint fails? The container runs on, and the message says why.

use std::fs;
use std::os::unix::fs::symlink;

use integration::criu::{Answer, StandIn, Step, before, until};
use integration::{Bundle, Outcome, Runtime, eventually};
use serde_json::json;

use super::{checkpoint, dumping, is_frozen, sleeper, stand_in, started};

/// The outcome of a checkpoint that fails; the container runs on.
fn failing(criu: &StandIn) -> Outcome {
    let runtime = Runtime::new().with_criu(criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let outcome = checkpoint(&container, criu, &[]).outcome();
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert_eq!(container.status(), "running", "after {outcome}");
    assert!(!is_frozen(&bundle), "frozen after {outcome}");
    assert!(!runtime.root().join(container.id()).join("checkpointing").exists(), "after {outcome}");
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    outcome
}

/// runc's words, and what to do.
#[test]
fn without_criu_there_is_no_checkpoint() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let images = runtime.dir().join("images");
    let call = container.call(["checkpoint", "--image-path", images.to_str().expect("a path")]);
    // The real one, if there is one here, is not to be found.
    let outcome = call.env("PATH", "/nowhere").outcome().refused("CRIU version check failed").in_one_line();
    assert!(outcome.stderr.contains("install"), "{outcome}");
    assert_eq!(container.status(), "running");
}

/// Older ones lack what is asked for.
#[test]
fn a_criu_that_is_too_old_is_refused() {
    for version in [[3, 14, 0], [2, 0, 0]] {
        let criu = dumping(false).version(Some(version));
        let outcome = failing(&criu).in_one_line();
        assert!(outcome.stderr.contains(&format!("{}.{}", version[0], version[1])), "{outcome}");
        assert_eq!(criu.requests().len(), 1, "{:#?}", criu.record());
    }
    let criu = dumping(false).version(None);
    assert!(failing(&criu).stderr.contains("CRIU version check failed"));
}

/// The oldest that will do, and Debian 12's.
#[test]
fn criu_3_15_will_do() {
    for version in [[3, 15, 0], [3, 17, 1]] {
        let criu = dumping(true).version(Some(version));
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = sleeper();
        let container = started(&runtime, &bundle);
        let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome().ok();
    }
}

/// At whatever point it goes, the container thaws.
#[test]
fn a_criu_that_is_killed_leaves_the_container_running() {
    for callback in ["pre-dump", "network-lock", "query-ext-files", "status-ready", "post-dump"] {
        let criu = stand_in().at("DUMP", until(callback, Step::dump(false), &[Step::KillSelf]));
        let outcome = failing(&criu).in_one_line();
        assert!(outcome.stderr.contains("criu"), "{outcome}");
    }
}

/// It says nothing, or nonsense, or hangs up.
#[test]
fn answers_that_are_none_are_failures() {
    let wrong_kind = Step::Answer(Answer { kind: Some("RESTORE".into()), success: true, ..Answer::default() });
    for end in [Step::Close, Step::Exit(0), Step::Exit(3), Step::Raw(vec![0xff; 40]), Step::Raw(vec![1]), wrong_kind] {
        let criu = stand_in().at("DUMP", until("query-ext-files", Step::dump(false), &[end]));
        let outcome = failing(&criu).in_one_line();
        assert!(outcome.stderr.contains("criu") || outcome.stderr.contains("CRIU"), "{outcome}");
    }
    let criu = stand_in().at("VERSION", vec![Step::Close]);
    let _ = failing(&criu).in_one_line();
    // Longer than what CRIU ever says.
    let criu = stand_in().at("DUMP", vec![Step::Raw(vec![0; 100_000])]);
    let _ = failing(&criu).in_one_line();
}

/// CRIU's own words stand in the message.
#[test]
fn what_criu_says_is_in_the_message() {
    let refusal = Step::failure(52, "Can't dump an io_uring");
    let criu = stand_in().at("DUMP", until("post-dump", Step::dump(false), &[Step::Thaw, refusal]));
    let outcome = failing(&criu).in_one_line();
    assert!(outcome.stderr.contains("criu failed: type DUMP errno 52"), "{outcome}");
    assert!(outcome.stderr.contains("Can't dump an io_uring"), "{outcome}");
    let criu = stand_in().at("DUMP", vec![Step::failure(1, "a \u{1b}[2J\nof two lines")]);
    assert!(!failing(&criu).in_one_line().stderr.contains('\u{1b}'));
}

/// Older versions say it in their log alone (criu#1127).
#[test]
fn errors_of_the_log_are_quoted_with_its_path() {
    let log = "(00.010) cg: All is well\n(00.020) Error (criu/files-reg.c:1790): Can't lookup mount=73\n\
               (00.030) Error (criu/cr-dump.c:2098): Dumping FAILED.\n";
    let steps = vec![Step::Log(log.into()), Step::Answer(Answer { errno: Some(0), ..Answer::default() })];
    let criu = stand_in().at("DUMP", steps);
    let outcome = failing(&criu).in_one_line();
    assert!(outcome.stderr.contains("criu failed: type DUMP errno 0"), "{outcome}");
    assert!(outcome.stderr.contains("Can't lookup mount=73"), "{outcome}");
    assert!(outcome.stderr.contains(criu.images().join("dump.log").to_str().expect("a path")), "{outcome}");
}

/// Whoever may write there must not have other files overwritten.
#[test]
fn an_image_directory_that_is_a_link_is_refused() {
    let criu = dumping(false);
    let elsewhere = criu.dir().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    symlink(&elsewhere, criu.images()).expect("a link");
    let outcome = failing(&criu).in_one_line();
    assert!(outcome.stderr.contains(criu.images().to_str().expect("a path")), "{outcome}");
    assert_eq!(fs::read_dir(elsewhere).expect("a directory").count(), 0);
}

/// A file of ours that is a link there is replaced, not followed.
#[test]
fn descriptors_are_not_written_through_a_link() {
    let criu = dumping(true);
    let target = criu.dir().join("target");
    fs::write(&target, "untouched").expect("a file");
    fs::create_dir(criu.images()).expect("a directory");
    symlink(&target, criu.images().join("descriptors.json")).expect("a link");
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = sleeper();
    let container = started(&runtime, &bundle);
    let _ = checkpoint(&container, &criu, &["--leave-running"]).outcome();
    assert_eq!(fs::read_to_string(target).expect("a file"), "untouched");
}

/// Said before anything is frozen, by the property.
#[test]
fn what_criu_cannot_restore_is_refused_by_name() {
    let source = sleeper();
    fs::create_dir(source.dir().join("source")).expect("a directory");
    let path = source.dir().join("source");
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let idmapped = |bundle: Bundle| {
        bundle.with_dir("/m").mount(json!({ "destination": "/m", "type": "bind", "source": path,
            "options": ["bind"], "uidMappings": maps, "gidMappings": maps }))
    };
    let criu = dumping(false);
    let runtime = Runtime::new().with_criu(&criu);
    let bundle = idmapped(sleeper());
    let container = runtime.try_create_with(&bundle, integration::Call::through_pipes);
    let Ok(container) = container else { integration::skip("this file system's mounts cannot be mapped here") };
    container.start();
    container.wait_for_line("ready");
    let outcome = checkpoint(&container, &criu, &[]).outcome().refused("mounts[7]").in_one_line();
    assert!(outcome.stderr.contains("mapped"), "{outcome}");
    assert!(criu.record().is_empty(), "{:?}", criu.record());
    assert_eq!(container.status(), "running");
}

/// CRIU needs the machine's own root.
#[test]
fn an_ordinary_user_is_refused() {
    let criu = dumping(false);
    let runtime = Runtime::as_user().with_criu(&criu);
    let bundle = runtime.bundle().args(["/probe", "sleep"]);
    let container = started(&runtime, &bundle);
    let images = runtime.dir().join("images");
    let call = container.call(["checkpoint", "--image-path", images.to_str().expect("a path")]);
    let _ = call.outcome().refused("root").in_one_line();
    assert!(criu.record().is_empty(), "{:?}", criu.record());
    assert_eq!(container.status(), "running");
}

/// A runtime that is killed leaves what the next command can tell, and undo.
#[test]
fn a_killed_checkpoint_leaves_a_container_that_can_be_used() {
    for callback in ["pre-dump", "network-lock", "query-ext-files", "status-ready", "post-dump", "network-unlock"] {
        let steps = before(callback, Step::dump(true), &[Step::KillPeer, Step::Thaw, Step::Exit(1)]);
        let criu = stand_in().at("DUMP", steps);
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = sleeper();
        let container = started(&runtime, &bundle);
        let outcome = checkpoint(&container, &criu, &["--leave-running"]).outcome();
        assert_eq!(outcome.code(), 128 + 9, "{outcome}");
        // As CRIU does that sees nobody at the other end.
        eventually("running", || match container.status() {
            status if status == "running" => Ok(()),
            status => Err(status),
        });
        let again = dumping(true);
        let call = checkpoint(&container, &again, &["--leave-running"]).env("PATH", again.path());
        let _ = call.outcome().ok();
        let _ = container.call(["delete", "--force"]).outcome().ok();
        let _ = container.wait();
        assert!(!bundle.cgroup().exists(), "its cgroup is still there");
    }
}

/// Both killed, and the container frozen: the next commands say so, and end it.
#[test]
fn a_container_that_stays_frozen_can_be_resumed_or_deleted() {
    for resumed in [true, false] {
        let steps = until("query-ext-files", Step::dump(true), &[Step::KillPeer, Step::KillSelf]);
        let criu = stand_in().at("DUMP", steps);
        let runtime = Runtime::new().with_criu(&criu);
        let bundle = sleeper();
        let container = started(&runtime, &bundle);
        assert_eq!(checkpoint(&container, &criu, &[]).outcome().code(), 128 + 9);
        assert_eq!(container.status(), "paused");
        if resumed {
            let _ = container.call(["resume"]).outcome().ok();
            assert_eq!(container.status(), "running");
        }
        let _ = container.call(["delete", "--force"]).outcome().ok();
        let _ = container.wait();
    }
}
