//! Where do messages go, and in which form? Engines read the last record of `--log`, and show their
//! users what `create` and `exec` leave on standard error as words of the program.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;

use integration::{Bundle, Runtime, json_lines, not_on_peer};
use serde_json::json;

const NAME: &str = "CAP_NO_SUCH";

/// Asks three times for what no kernel has.
fn bundle() -> Bundle {
    let list = json!(["CAP_KILL", NAME]);
    Bundle::new()
        .set("/process/capabilities", json!({ "bounding": list, "effective": list, "permitted": list }))
        .args(["/probe", "sleep"])
}

/// Without `--log`, and where no terminal is, a warning of what shares its standard error with the
/// program is left out; with it, it is there, once.
#[test]
fn a_warning_is_no_word_of_the_programs() {
    not_on_peer!("runc warns there");
    let runtime = Runtime::new().without_options();
    let once = bundle().args(["/probe", "exit", "0"]);
    let outcome = runtime.run(&once).ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    let sleeper = bundle();
    let container = runtime.start_ready(&sleeper);
    let outcome = container.exec(["/probe", "exit", "0"]).ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    assert_eq!(container.stderr(), "");
    container.kill_and_delete();

    let log = runtime.dir().join("log");
    let logging = Runtime::new().without_options().with_option(&format!("--log={}", log.display()));
    let outcome = logging.run(&once).ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    let text = fs::read_to_string(&log).expect("the log");
    assert_eq!(text.matches(NAME).count(), 1, "{text}");
    assert!(text.contains(" level=warning msg=\"config.json: process.capabilities.bounding[1]: "), "{text}");
}

/// Who asks for warnings has them.
#[test]
fn a_level_has_warnings_on_standard_error() {
    not_on_peer!("runc has no levels");
    let once = bundle().args(["/probe", "exit", "0"]);
    for (options, expected) in [
        (&["--log-level=warning"][..], 1),
        (&["--log-level", "info"], 1),
        (&["--log-level=error"], 0),
        (&["--debug"], 1),
    ] {
        let runtime =
            options.iter().fold(Runtime::new().without_options(), |runtime, option| runtime.with_option(option));
        let outcome = runtime.run(&once).ok();
        assert_eq!(outcome.stderr.matches(NAME).count(), expected, "{options:?}: {outcome}");
    }
    let runtime = Runtime::new().without_options().with_option("--log-level=loud");
    let outcome = runtime.call(["list"]).outcome().exits(1);
    assert!(outcome.stderr.contains("loud"), "{outcome}");
}

/// `--debug`: a record for each step with its time, of `exec`, too, in the form that was asked for.
#[test]
fn debug_has_a_record_for_each_step() {
    not_on_peer!("their steps are others");
    let once = Bundle::new().args(["/probe", "exit", "0"]);
    let outcome = Runtime::new().without_options().with_option("--debug").run(&once).ok();
    for line in outcome.stderr.lines() {
        assert!(line.starts_with("time=\"20") && line.contains(" level=debug msg=\""), "{line}");
    }
    for step in ["state-dir", "limits", "clone", "send-plan", "save-state"] {
        assert!(outcome.stderr.contains(&format!(" msg=\"step {step} after ")), "{step}: {outcome}");
    }
    let runtime = Runtime::new().without_options();
    let log = runtime.dir().join("log");
    let runtime = ["--debug", "--log-format=json", &format!("--log={}", log.display())]
        .into_iter()
        .fold(runtime, |runtime, option| runtime.with_option(option));
    let sleeper = Bundle::new().args(["/probe", "sleep"]);
    let container = runtime.start_ready(&sleeper);
    let before = fs::read_to_string(&log).expect("the log").len();
    let outcome = container.exec(["/probe", "exit", "0"]).ok();
    assert_eq!(outcome.stderr, "", "{outcome}");
    let text = fs::read_to_string(&log).expect("the log");
    let records = json_lines(&text[before..]);
    assert!(records.iter().all(|record| record["level"] == "debug" && record["time"].is_string()), "{records:?}");
    for step in ["clone", "send-plan"] {
        let begins = |record: &serde_json::Value| {
            record["msg"].as_str().is_some_and(|msg| msg.starts_with(&format!("step {step} after ")))
        };
        assert!(records.iter().any(begins), "{step}: {records:?}");
    }
    container.kill_and_delete();
}

/// `--log-format json` without `--log`: records on standard error.
#[test]
fn json_without_a_file_goes_to_standard_error() {
    let runtime = Runtime::new().without_options().with_option("--log-format=json");
    let outcome = runtime.call(["state", "no-such-container"]).outcome().exits(1);
    let records = json_lines(&outcome.stderr);
    let message = records.last().and_then(|record| record["msg"].as_str()).unwrap_or_default();
    assert!(records.iter().any(|record| record["level"] == "error"), "{outcome}");
    assert!(message.contains("does not exist"), "{outcome}");
}
