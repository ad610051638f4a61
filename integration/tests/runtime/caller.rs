//! What callers have set for themselves, and in which namespaces they are: the runtime does its work all the same.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use integration::{Bundle, Runtime, unique_name};
use serde_json::json;

fn sleeper() -> Bundle {
    Bundle::new().args(["/probe", "sleep"])
}

/// What a caller has set for himself is none of our business: here children that end are not waited for.
#[test]
fn a_caller_may_ignore_his_children() {
    let runtime = Runtime::new();
    let hook = json!({ "path": "/bin/true" });
    let bundle = Bundle::new().args(["/probe", "exit", "5"]).raw_hook("createRuntime", hook);
    let id = unique_name();
    let args = ["run", "--bundle", bundle.path().to_str().expect("a path"), &id];
    let script = "trap '' CHLD; exec \"$0\" \"$@\"";
    let _ = runtime.through_shell(script, args).outcome().exits(5);
    let bundle = sleeper();
    let container = runtime.start_ready(&bundle);
    let _ = runtime.through_shell(script, ["exec", container.id(), "/probe", "exit", "6"]).outcome().exits(6);
    let _ = runtime.through_shell(script, ["ps", container.id()]).outcome().ok();
}

/// A file that may not become larger is an error and no death, and nothing is left. What the container inherits is
/// the caller's.
#[test]
fn a_caller_may_have_a_limit_of_file_sizes() {
    let runtime = Runtime::new();
    let bundle = sleeper();
    let id = unique_name();
    let args = ["create", "--bundle", bundle.path().to_str().expect("a path"), &id];
    let _ = runtime.through_shell("ulimit -f 0; exec \"$0\" \"$@\"", args).outcome().exits(1);
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
    assert_eq!(runtime.state(&id), None);
    let bundle = Bundle::new().args(["/probe", "facts"]);
    let args = ["run", "--bundle", bundle.path().to_str().expect("a path"), &id];
    let script = "ulimit -f 4096; exec \"$0\" \"$@\"";
    let facts = runtime.through_shell(script, args).outcome().json();
    // SIGPIPE, which the standard library of the program ignores, and nothing of ours.
    assert_eq!(facts["signals"]["ignored"], "0000000000001000");
}

/// `vm.memfd_noexec`, of a pid namespace: the init is executed from elsewhere, also that of an ordinary user.
#[test]
fn memory_need_not_be_executable() {
    let script = "exec unshare --pid --fork --kill-child --mount-proc sh -c \
        '(echo 2 >/proc/sys/vm/memfd_noexec) 2>/dev/null || exit 99; exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "print", "it runs"]);
    let id = unique_name();
    let outcome = runtime.through_shell(script, ["run", "--bundle", bundle.path().to_str().expect("a path"), &id]);
    let outcome = outcome.outcome();
    if outcome.code() == 99 {
        return eprintln!("not here: vm.memfd_noexec, before Linux 6.3");
    }
    assert_eq!(outcome.ok().stdout, "it runs\n");
}

/// A caller in a pid namespace of its own, with the /proc of the one above: the numbers there are those of others.
#[test]
fn proc_may_be_that_of_a_pid_namespace_above() {
    let runtime = Runtime::new();
    let bundle = Bundle::new().args(["/probe", "print", "it runs"]);
    let args = ["run", "--bundle", bundle.path().to_str().expect("a path"), &unique_name()];
    let script = "exec unshare --pid --fork --kill-child \"$0\" \"$@\"";
    assert_eq!(runtime.through_shell(script, args).outcome().ok().stdout, "it runs\n");
}
