//! config.md § Process, `selinuxLabel`, and config-linux.md, `mountLabel`: what has which label, and
//! that it holds.
//!
//! Where the kernel has no SELinux these tests prove nothing and say so; `make guest` runs them on
//! one that has.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::path::Path;

use integration::selinux::{context, load_policy};
use integration::{Bundle, Container, Runtime};
use serde_json::{Value, json};

const OWN: &str = "/proc/self/attr/current";
const XATTR: &str = "security.selinux";

/// A root file system with `/secret`, which is labelled so, and a program that is labelled, too.
fn bundle(label: &str) -> Bundle {
    let bundle = Bundle::new().with_file("/secret", "secret").set("/process/selinuxLabel", json!(label));
    let secret = bundle.rootfs().join("secret");
    rustix::fs::setxattr(&secret, XATTR, context("secret").as_bytes(), rustix::fs::XattrFlags::empty())
        .expect("a label for a file");
    bundle.args(["/probe", "sleep"])
}

/// What a process says that reads a file: the text, or the name of an error.
fn said(answer: &Value) -> String {
    let text = answer["text"].as_str().or(answer["error"].as_str());
    text.unwrap_or_else(|| panic!("neither text nor error: {answer}")).trim_end_matches(['\n', '\0']).to_owned()
}

/// What the container's program sees: its label and `/secret`.
fn seen_by_the_program(runtime: &Runtime, mut bundle: Bundle) -> [String; 2] {
    [OWN, "/secret"].map(|path| {
        bundle = std::mem::take(&mut bundle).args(["/probe", "read", path]);
        said(&runtime.json(&bundle))
    })
}

/// The same of a process that `exec` makes.
fn seen_by_exec(container: &Container<'_>, options: &[&str]) -> [String; 2] {
    [OWN, "/secret"].map(|path| said(&container.exec_with(options, ["/probe", "read", path]).json()))
}

fn confined() -> [String; 2] {
    [context("confined"), "EACCES".into()]
}

fn unconfined() -> [String; 2] {
    [context("host"), "secret".into()]
}

/// The label of a file.
fn label_of(path: &Path) -> String {
    let mut buffer = [0; 256];
    let len = rustix::fs::getxattr(path, XATTR, &mut buffer[..]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&buffer[..len]).trim_end_matches('\0').to_owned()
}

/// The program, and no other, has the label, and what the policy says of it holds.
#[test]
fn the_program_has_the_label_of_the_configuration() {
    load_policy();
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        let of = |label: &str| bundle(label).set("/process/noNewPrivileges", json!(no_new_privileges));
        let when = format!("noNewPrivileges {no_new_privileges}");
        assert_eq!(seen_by_the_program(&runtime, of(&context("confined"))), confined(), "{when}");
        assert_eq!(seen_by_the_program(&runtime, of("")), unconfined(), "{when}");
        let user = of(&context("confined")).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        assert_eq!(seen_by_the_program(&runtime, user), confined(), "{when}, as a user");
    }
    let created = bundle(&context("confined"));
    let container = runtime.create(&created);
    let current = || fs::read_to_string(container.proc("attr/current")).expect("its label");
    assert_eq!(current().trim_end_matches('\0'), context("host"), "before it starts");
    container.start();
    container.wait_for_line("ready");
    assert_eq!(current().trim_end_matches('\0'), context("confined"), "when it runs");
    let audit = container.audit().finds_nothing();
    assert!(audit.holds("process.selinuxLabel"), "{:#}", audit.report());
}

/// What joins has the container's label, or the one that was asked for.
#[test]
fn a_process_that_joins_has_the_label_of_the_container() {
    load_policy();
    let runtime = Runtime::new();
    let bundle = bundle(&context("confined"));
    let container = runtime.start_ready(&bundle);
    assert_eq!(seen_by_exec(&container, &[]), confined());
    assert_eq!(seen_by_exec(&container, &["--process-label", &context("host")]), unconfined());
}

/// A label that the policy has not got: nothing runs, nothing is left.
#[test]
fn a_label_that_the_policy_has_not_is_refused_and_leaves_nothing() {
    load_policy();
    let runtime = Runtime::new();
    let bundle = bundle("u:r:nobody:s0");
    let outcome = runtime.run(&bundle);
    let _ = outcome.refused("process.selinuxLabel u:r:nobody:s0").in_one_line();
    assert!(!bundle.cgroup().exists(), "the cgroup was left");
    let bundle = self::bundle("");
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec_with(["--process-label", "u:r:nobody:s0"], ["/probe", "print", "joined"]);
    let _ = outcome.fails(255, "process.selinuxLabel u:r:nobody:s0: EINVAL; the loaded policy has no such label");
}

/// New file systems, and the files in them; a label may have commas.
#[test]
fn new_mounts_have_the_label_of_the_configuration() {
    load_policy();
    let runtime = Runtime::new();
    for label in ["u:r:volume:s0", "u:r:volume:s0:c0"] {
        let bundle = bundle(&context("confined")).set("/linux/mountLabel", json!(label));
        let container = runtime.start_ready(&bundle);
        for path in ["dev", "dev/null", "dev/shm", "dev/mqueue", "dev/pts"] {
            assert_eq!(label_of(&container.proc("root").join(path)), label, "/{path}");
        }
        assert_eq!(label_of(&container.proc("root").join("secret")), context("secret"), "what is no new mount");
    }
    let bundle = bundle(&context("confined"));
    let container = runtime.start_ready(&bundle);
    assert_eq!(label_of(&container.proc("root").join("dev/shm")), "u:object_r:host:s0", "without a mountLabel");
}
