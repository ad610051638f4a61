//! config-linux.md, "Seccomp", against the kernel: what the program meets, and what it takes to load
//! a filter. `seccomp_agents.rs` has those that let others decide.

#![allow(clippy::needless_pass_by_value, clippy::type_complexity, reason = "values are written where they are used")]
#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use integration::{Bundle, Container, Outcome, Runtime, not_on_peer, skip, unique_name};
use serde_json::{Value, json};

/// `getppid` has no arguments, so that a test can give it any.
const GETPPID: u64 = if cfg!(target_arch = "x86_64") { 110 } else { 173 };
const GETPPID_OF_I386: u64 = 64;
const CLONE: u64 = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
const KEXEC_LOAD: u64 = if cfg!(target_arch = "x86_64") { 246 } else { 104 };
const LANDLOCK_RESTRICT_SELF: u64 = 446;

/// 128 + SIGSYS.
const KILLED: i32 = 128 + 31;

/// All is allowed but what these rules say.
fn permissive(rules: &Value) -> Value {
    let architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules })
}

#[allow(clippy::needless_pass_by_value, reason = "rules are written where they are used")]
fn filtered(rules: Value) -> Bundle {
    Bundle::new().set("/linux/seccomp", permissive(&rules))
}

/// Docker's default profile.
fn docker() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/engines/seccomp/docker.json");
    serde_json::from_slice(&fs::read(path).expect("the profile")).expect("JSON")
}

/// What system calls answer in this container.
fn answers(bundle: Bundle, calls: &[String]) -> Vec<Value> {
    let bundle = bundle.args(["/probe", "calls"].into_iter().map(str::to_owned).chain(calls.iter().cloned()));
    let answers = Runtime::new().json(&bundle);
    answers.as_array().expect("a list").clone()
}

fn getppid(bundle: Bundle) -> Value {
    answers(bundle, &[GETPPID.to_string()]).remove(0)
}

fn run(bundle: Bundle, args: &[&str]) -> Outcome {
    Runtime::new().run(&bundle.args(args.iter().copied()))
}

/// A root file system for [`Bundle::mapped`], which belongs to its root.
fn mapped(bundle: Bundle) -> Bundle {
    for path in [bundle.rootfs(), bundle.rootfs().join("probe")] {
        chown(path, Some(100_000), Some(100_000)).expect("chown");
    }
    bundle.mapped()
}

fn sorted(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names
}

/// The capabilities and `no_new_privs` that the configuration asks for, and a filter.
fn assert_as_configured(spec: &Value, facts: &Value, when: &str) {
    let process = &spec["process"];
    let is_root = process["user"]["uid"] == 0;
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        let asked = sorted(&process["capabilities"][set]);
        // A program that is not root's has what is ambient.
        let asked = if is_root || set == "bounding" { asked } else { Vec::new() };
        assert_eq!(sorted(&facts["capabilities"][set]), asked, "{when}: {set} capabilities");
    }
    assert_eq!(facts["no_new_privs"], process["noNewPrivileges"], "{when}: no_new_privs");
    assert_eq!(facts["seccomp"], 2, "{when}: mode of seccomp");
}

/// Neither cgroup, and so no process, nor state.
fn assert_nothing_left(runtime: &Runtime, bundle: &Bundle, when: &str) {
    assert!(!bundle.cgroup().exists(), "{when}: the cgroup was left");
    let left: Vec<_> = fs::read_dir(runtime.root()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{when}: left in the state root: {left:?}");
}

// --- what the program meets ---------------------------------------------------------------------------

#[test]
fn a_call_fails_with_the_errno_of_its_rule() {
    for errno in [1, 13, 38, 4094] {
        let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno }]);
        assert_eq!(getppid(filtered(rule)), json!({ "errno": errno }));
    }
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" }]);
    assert_eq!(getppid(filtered(rule)), json!({ "errno": 1 }), "without errnoRet it is EPERM");
}

/// The number 0 is no error: the call returns 0 and does nothing.
#[test]
fn an_errno_of_zero_is_a_call_that_does_nothing() {
    not_on_peer!("crun takes 0 for a number that is not there");
    let rule = json!([{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 }]);
    let seen = run(filtered(rule), &["/probe", "sethostname", "other"]).json();
    assert_eq!(seen, json!({ "ok": true }));
}

#[test]
fn allowed_and_logged_calls_are_performed() {
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let rule = json!([{ "names": ["getppid"], "action": action }]);
        let mut profile = permissive(&rule);
        profile["defaultAction"] = json!(if action == "SCMP_ACT_LOG" { "SCMP_ACT_ALLOW" } else { "SCMP_ACT_LOG" });
        assert_eq!(getppid(Bundle::new().set("/linux/seccomp", profile)), json!({ "value": 0 }), "{action}");
    }
}

/// seccomp(2), `SECCOMP_RET_TRACE`: "If no tracer is present, … the system call … returns ENOSYS".
#[test]
fn a_call_for_a_tracer_does_not_exist_without_one() {
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": 7 }]);
    assert_eq!(getppid(filtered(rule)), json!({ "errno": 38 }));
}

#[test]
fn a_forbidden_call_ends_the_program_with_sigsys() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let rule = json!([{ "names": ["getppid"], "action": action }]);
        let outcome = run(filtered(rule), &["/probe", "calls", &GETPPID.to_string()]);
        assert_eq!((outcome.code(), outcome.stdout.as_str()), (KILLED, ""), "{action}: {outcome}");
    }
}

/// `SCMP_ACT_KILL` is `SCMP_ACT_KILL_THREAD`, as with libseccomp.
#[test]
fn a_thread_is_killed_alone_or_with_its_process() {
    for (action, code) in [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", KILLED),
        ("SCMP_ACT_TRAP", KILLED),
    ] {
        let rule = json!([{ "names": ["getppid"], "action": action }]);
        let outcome = run(filtered(rule), &["/probe", "call-in-thread", &GETPPID.to_string()]).exits(code);
        let goes_on = outcome.stdout == "1 thread goes on\n";
        assert_eq!(goes_on, code == 0, "{action}: {outcome}");
    }
}

/// What no rule names has the default's errno; what is newer than the profile does not exist, so that
/// programs that try it do without (runc has it so since 1.0.0-rc93).
#[test]
fn calls_that_no_rule_names_fail_with_the_default_or_do_not_exist() {
    not_on_peer!("crun has no answer of its own for newer calls");
    let newer = ["landlock", "memfd_secret", "process_mrelease", "futex_wa", "futex_re", "cachestat", "fchmodat2"];
    let newest = ["map_shadow_stack", "statmount", "listmount", "mseal", "xattrat"];
    let mut profile = docker();
    profile["defaultErrnoRet"] = json!(77);
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    for rule in rules {
        let names = rule["names"].as_array_mut().expect("names");
        let is_new = |name: &str| newer.iter().any(|n| name.starts_with(n)) || newest.iter().any(|n| name.ends_with(n));
        names.retain(|name| !is_new(name.as_str().expect("a name")));
    }
    let seen = answers(
        Bundle::new().set("/linux/seccomp", profile),
        &[KEXEC_LOAD.to_string(), LANDLOCK_RESTRICT_SELF.to_string(), GETPPID.to_string()],
    );
    assert_eq!(seen, [json!({ "errno": 77 }), json!({ "errno": 38 }), json!({ "value": 0 })]);
}

/// Every operator, over all 64 bits, unsigned.
#[test]
fn arguments_are_compared_in_all_their_bits() {
    const HIGH: u64 = 1 << 32;
    /// Operator, value, valueTwo; arguments for which it holds, and for which it does not.
    type Case = (&'static str, u64, u64, &'static [u64], &'static [u64]);
    let cases: [Case; 8] = [
        ("EQ", HIGH | 5, 0, &[HIGH | 5], &[5, HIGH, (2 << 32) | 5, 0]),
        ("EQ", 5, 0, &[5], &[HIGH | 5, 4, 6]),
        ("NE", HIGH | 5, 0, &[5, HIGH, 0], &[HIGH | 5]),
        ("LT", HIGH | 5, 0, &[6, HIGH | 4, 0], &[HIGH | 5, HIGH | 6, 2 << 32]),
        ("LE", HIGH | 5, 0, &[6, HIGH | 5], &[HIGH | 6, 2 << 32, u64::MAX]),
        ("GT", HIGH | 5, 0, &[HIGH | 6, 2 << 32, u64::MAX], &[HIGH | 5, u64::MAX >> 32]),
        ("GE", HIGH | 5, 0, &[HIGH | 5, 2 << 32], &[HIGH | 4, u64::MAX >> 32]),
        ("MASKED_EQ", (0xf << 32) | 0xf0, HIGH | 0x20, &[HIGH | 0x20, HIGH | 0x12f], &[0x20, HIGH | 0x30, 3 << 32]),
    ];
    for (operator, value, two, holding, failing) in cases {
        for index in [0, 5] {
            let condition =
                json!({ "index": index, "op": format!("SCMP_CMP_{operator}"), "value": value, "valueTwo": two });
            let rule =
                json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": [condition] }]);
            let call = |argument: &u64| match index {
                0 => format!("{GETPPID},{argument}"),
                _ => format!("{GETPPID},0,0,0,0,0,{argument}"),
            };
            let calls: Vec<String> = holding.iter().chain(failing).map(call).collect();
            let expected =
                holding.iter().map(|_| json!({ "errno": 77 })).chain(failing.iter().map(|_| json!({ "value": 0 })));
            assert_eq!(
                answers(filtered(rule), &calls),
                expected.collect::<Vec<_>>(),
                "{operator} {value:#x} {calls:?}"
            );
        }
    }
}

/// "All conditions must hold"; two on one argument are alternatives, as libseccomp has it.
#[test]
fn all_conditions_of_a_rule_must_hold() {
    let rule =
        |args: Value| json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args }]);
    let equals = |index: u32, value: u64| json!({ "index": index, "op": "SCMP_CMP_EQ", "value": value });
    let all: Vec<Value> = (0..6).map(|index| equals(index, u64::from(index) << 32)).collect();
    let high = |arguments: [u64; 6]| format!("{GETPPID}{}", arguments.map(|a| format!(",{}", a << 32)).concat());
    let seen = answers(
        filtered(rule(json!(all))),
        &[high([0, 1, 2, 3, 4, 5]), high([0, 1, 2, 3, 4, 6]), high([1, 1, 2, 3, 4, 5])],
    );
    assert_eq!(seen, [json!({ "errno": 77 }), json!({ "value": 0 }), json!({ "value": 0 })]);
    let either = json!([equals(0, 1), equals(0, 2)]);
    let calls = [1, 2, 3].map(|argument| format!("{GETPPID},{argument}"));
    let seen = answers(filtered(rule(either)), &calls);
    assert_eq!(seen, [json!({ "errno": 77 }), json!({ "errno": 77 }), json!({ "value": 0 })]);
}

/// A clone with a flag that the profile does not allow: one of Docker's own conditions.
#[test]
fn dockers_profile_forbids_new_namespaces() {
    let new_user = 0x1000_0000u64;
    let seen = answers(Bundle::new().set("/linux/seccomp", docker()), &[format!("{CLONE},{new_user}")]);
    assert_eq!(seen, [json!({ "errno": 1 })]);
}

// --- other architectures of the same kernel -----------------------------------------------------------

/// Skips the test unless this kernel lets 64-bit programs call as 32-bit ones do.
fn require_i386() {
    let outcome = run(Bundle::new(), &["/probe", "calls", &format!("i386:{GETPPID_OF_I386}")]);
    if !outcome.succeeded() || !outcome.stdout.contains("value") {
        skip("this kernel has no calls of i386");
    }
}

#[test]
fn calls_of_i386_have_the_answers_of_their_architecture() {
    require_i386();
    let call = format!("i386:{GETPPID_OF_I386}");
    // The same number is semget there, and another call here.
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    let seen = answers(filtered(rule), &[call.clone(), GETPPID.to_string(), format!("i386:{}", 20)]);
    assert_eq!((&seen[0], &seen[1]), (&json!({ "errno": 77 }), &json!({ "errno": 77 })), "{seen:?}");
    assert_eq!(seen[2], json!({ "value": 1 }), "getpid");
    // Arguments have 32 bits: the high half of a value is not looked at.
    let condition = json!({ "index": 0, "op": "SCMP_CMP_EQ", "value": 5 });
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": [condition] }]);
    let seen = answers(filtered(rule), &[format!("{call},5"), format!("{call},6")]);
    assert_eq!(seen, [json!({ "errno": 77 }), json!({ "value": 0 })]);
}

#[test]
fn calls_of_an_architecture_that_is_not_named_kill() {
    require_i386();
    let bundle = || filtered(json!([])).set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64"]));
    let outcome = run(bundle(), &["/probe", "calls", &format!("i386:{GETPPID_OF_I386}")]);
    assert_eq!(outcome.code(), KILLED, "{outcome}");
    let _ = run(bundle(), &["/probe", "calls", &GETPPID.to_string()]).ok();
}

/// socketcall(2) and ipc(2): one number for many calls.
#[test]
fn a_call_within_a_call_of_i386_is_filtered() {
    not_on_peer!("libseccomp compares all bits of what the kernel has a version in");
    require_i386();
    let rule = json!([{ "names": ["shmget", "socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    let (ipc, socketcall) = (117, 102);
    let calls = [(ipc, 23), (ipc, 23 | (2 << 16)), (socketcall, 1), (socketcall, 99)];
    let calls = calls.map(|(number, first)| format!("i386:{number},{first}"));
    let seen = answers(filtered(rule), &calls);
    let denied = json!({ "errno": 77 });
    assert_eq!(seen[..3], [denied.clone(), denied.clone(), denied], "{calls:?}");
    assert_eq!(seen[3], json!({ "errno": 22 }), "no such call within socketcall");
}

#[test]
fn calls_of_x32_have_the_answers_of_their_architecture() {
    if cfg!(not(target_arch = "x86_64")) {
        skip("x32 is x86_64's");
    }
    let call = (GETPPID | 0x4000_0000).to_string();
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    assert_eq!(answers(filtered(rule.clone()), std::slice::from_ref(&call)), [json!({ "errno": 77 })]);
    let bundle = filtered(rule).set("/linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64"]));
    let outcome = run(bundle, &["/probe", "calls", &call]);
    assert_eq!(outcome.code(), KILLED, "{outcome}");
}

// --- flags -----------------------------------------------------------------------------------------------

#[test]
fn a_filter_loads_with_every_flag_that_the_kernel_knows() {
    not_on_peer!("crun's features have no flags");
    let runtime = Runtime::new();
    let features = runtime.call(["features"]).outcome().json();
    let supported = sorted(&features["linux"]["seccomp"]["supportedFlags"]).into_iter().map(str::to_owned);
    let supported: Vec<String> = supported.collect();
    assert!(supported.len() > 2, "{supported:?}");
    let rule = json!([{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO" }]);
    let sets = supported.iter().map(|flag| json!([flag])).chain([json!([]), json!(supported), Value::Null]);
    for flags in sets {
        let facts = runtime.json(&filtered(rule.clone()).set("/linux/seccomp/flags", flags.clone()));
        assert_eq!(facts["seccomp"], 2, "{flags}");
    }
}

// --- what it takes to load ------------------------------------------------------------------------------

/// The ways in which a container can be, as far as they matter to who may load a filter.
fn shapes() -> Vec<(&'static str, Bundle)> {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let bundle = || Bundle::new().set("/linux/seccomp", docker());
    vec![
        ("plain", bundle()),
        ("as a user", bundle().set("/process/user", user.clone())),
        ("in the host's pid namespace", bundle().without_namespace("pid")),
        ("as a user in the host's pid namespace", bundle().without_namespace("pid").set("/process/user", user.clone())),
        ("in a user namespace", mapped(bundle())),
        ("as a user in a user namespace", mapped(bundle()).set("/process/user", user)),
        ("with a tracer's capability", bundle().capabilities(&["CAP_SYS_PTRACE", "CAP_KILL"])),
        ("without capabilities", bundle().capabilities(&[])),
        ("with CAP_SYS_ADMIN", bundle().capabilities(&["CAP_SYS_ADMIN", "CAP_CHOWN"])),
    ]
}

/// With `noNewPrivileges` and without: the program has the capabilities that it was given, and no more.
#[test]
fn a_filter_leaves_no_privilege_behind() {
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for (shape, bundle) in shapes() {
            let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            let when = format!("{shape}, noNewPrivileges {no_new_privileges}");
            assert_as_configured(bundle.spec(), &runtime.json(&bundle), &format!("run, {when}"));
            let container = runtime.start(&bundle);
            assert_as_configured(bundle.spec(), &container.json(), &format!("create and start, {when}"));
        }
    }
}

/// What joins has the container's filter, and its own privileges.
#[test]
fn a_process_that_joins_has_the_filter_and_no_privilege_of_ours() {
    not_on_peer!("crun's exec does not take noNewPrivileges over");
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for (shape, bundle) in shapes() {
            let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges)).args(["/probe", "sleep"]);
            let when = format!("exec, {shape}, noNewPrivileges {no_new_privileges}");
            let container = runtime.start_ready(&bundle);
            assert_as_configured(bundle.spec(), &container.exec(["/probe", "facts"]).json(), &when);
            let facts = container.exec_with(["--no-new-privs"], ["/probe", "facts"]).json();
            let spec = bundle.set("/process/noNewPrivileges", json!(true));
            assert_as_configured(spec.spec(), &facts, &format!("{when} --no-new-privs"));
        }
    }
}

fn permitted(container: &Container<'_>) -> u64 {
    let status = fs::read_to_string(container.proc("status")).expect("the first process's status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    u64::from_str_radix(set.expect("CapPrm"), 16).expect("a number")
}

/// Between `create` and `start`, `exec` can join, and hooks can run: with `CAP_SYS_PTRACE` they
/// could take the first process over, which therefore has no more capabilities than they have.
#[test]
fn a_created_container_has_nothing_that_its_own_tracer_could_take() {
    not_on_peer!("it loads the filter with the credentials");
    let runtime = Runtime::new();
    let bundle = Bundle::new().set("/linux/seccomp", docker()).set("/process/noNewPrivileges", json!(false));
    let container = runtime.create(&bundle);
    assert_eq!(
        permitted(&container) & !(1 << 21),
        1 << 5 | 1 << 10 | 1 << 29,
        "but for CAP_SYS_ADMIN, which loading takes"
    );
    let bundle =
        bundle.capabilities(&["CAP_SYS_PTRACE"]).set("/linux/cgroupsPath", json!(format!("/{}", unique_name())));
    let container = runtime.create(&bundle);
    assert_eq!(permitted(&container), 1 << 19);
    container.start();
    assert_as_configured(bundle.spec(), &container.json(), "with CAP_SYS_PTRACE");
}

/// A program of one call, `exit_group(7)`, and nothing before it.
fn tiny() -> Vec<u8> {
    let (machine, code): (u16, &[u8]) = if cfg!(target_arch = "x86_64") {
        (62, &[0xb8, 0xe7, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05])
    } else {
        (183, &[0xc8, 0x0b, 0x80, 0xd2, 0xe0, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4])
    };
    let (base, headers) = (0x40_0000u64, 120u64);
    let size = headers + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(&2u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1u32.to_le_bytes());
    [base + headers, 64, 0].iter().for_each(|word| put(&word.to_le_bytes()));
    put(&0u32.to_le_bytes());
    [64u16, 56, 1, 0, 0, 0].iter().for_each(|half| put(&half.to_le_bytes()));
    [1u32, 5].iter().for_each(|word| put(&word.to_le_bytes()));
    [0, base, base, size, size, 4096].iter().for_each(|word| put(&word.to_le_bytes()));
    put(code);
    file
}

/// A container whose program is [`tiny`], and a profile that kills whatever it does not need.
fn strict(no_new_privileges: bool) -> Bundle {
    let bundle = Bundle::new().set("/process/noNewPrivileges", json!(no_new_privileges)).args(["/tiny"]);
    fs::write(bundle.rootfs().join("tiny"), tiny()).expect("a program");
    bundle.with_mode("/tiny", 0o755).set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
            { "names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW" }] }),
    )
}

/// The filter is loaded last: `execve` alone goes through it before the program does. (runc and crun
/// need a dozen calls to be allowed.)
#[test]
fn a_profile_need_not_allow_what_the_runtime_does() {
    not_on_peer!("it makes calls of its own under the filter");
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for bundle in [
            strict(no_new_privileges),
            // What else has to be made ready for the program.
            strict(no_new_privileges).set("/process/env", json!([])).with_file("/etc/passwd", "root:x:0:0::/root:/sh\n"),
            strict(no_new_privileges).set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
            strict(no_new_privileges).set("/process/args", json!(["/tiny", "x".repeat(100_000)])),
            strict(no_new_privileges).set(
                "/process/rlimits",
                json!([{ "type": "RLIMIT_NOFILE", "soft": 0, "hard": 0 }, { "type": "RLIMIT_AS", "soft": 1 << 20, "hard": 1 << 20 }]),
            ),
            mapped(strict(no_new_privileges)),
        ] {
            let _ = runtime.run(&bundle).exits(7);
            let container = runtime.start(&bundle);
            assert_eq!(container.wait(), 7, "create and start: {}", container.stderr());
        }
    }
    // What joins with noNewPrivileges needs as little.
    let bundle = strict(true).args(["/probe", "sleep"]).without("/linux/seccomp");
    let container = runtime.start_ready(&bundle);
    let outcome = container.exec(["/tiny"]);
    assert_eq!(outcome.code(), 7, "{outcome}");
}

/// A profile that forbids even to end: the init ends all the same, and what was wrong is reported.
#[test]
fn a_filter_never_leaves_an_init_behind() {
    not_on_peer!("the message is ours");
    let runtime = Runtime::new();
    let bundle = strict(true).set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": ["execve"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 5, "op": "SCMP_CMP_EQ", "value": 77 }] }] }),
    );
    let outcome = runtime.run(&bundle);
    assert_ne!(outcome.code(), 0, "{outcome}");
    assert_nothing_left(&runtime, &bundle, "after an execve that fails and cannot be reported");
}

/// startContainer hooks run under Docker's profile, whenever that is loaded.
#[test]
fn hooks_of_the_container_run_under_its_filter() {
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for shared in [false, true] {
            let bundle = Bundle::new().set("/process/noNewPrivileges", json!(no_new_privileges));
            let bundle = bundle.set("/linux/seccomp", docker()).args(["/probe", "exit", "5"]);
            let log = bundle.dir().join("hooks");
            fs::create_dir(&log).expect("a directory");
            let hook = json!({ "path": "/probe", "args": ["probe", "hook", "/hooks/log", "started"] });
            let bundle = bundle.bind(&log, "/hooks", &["bind", "rw"]).raw_hook("startContainer", hook);
            let bundle = if shared { bundle.without_namespace("pid") } else { bundle };
            let _ = runtime.run(&bundle).exits(5);
            let text = fs::read_to_string(log.join("log")).expect("what the hook wrote");
            assert!(text.contains("\"started\""), "noNewPrivileges {no_new_privileges}, shared {shared}: {text}");
        }
    }
}

/// A profile of 2019 does not know what came after. What joins, and what is created where others may trace it, has
/// its filter early and does all that is newer before.
#[test]
fn an_older_profile_lets_processes_join() {
    not_on_peer!("their exec makes newer calls under the filter");
    let newer = [
        "faccessat2",
        "close_range",
        "openat2",
        "clone3",
        "epoll_pwait2",
        "pidfd_open",
        "pidfd_getfd",
        "pidfd_send_signal",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsmount",
        "fsconfig",
        "fspick",
        "memfd_create",
        "process_madvise",
        "process_mrelease",
        "futex_waitv",
        "cachestat",
        "fchmodat2",
    ];
    let runtime = Runtime::new();
    for no_new_privileges in [true, false] {
        for shared in [false, true] {
            let mut profile = docker();
            for rule in profile["syscalls"].as_array_mut().expect("rules") {
                rule["names"].as_array_mut().expect("names").retain(|name| !newer.iter().any(|newer| name == newer));
            }
            let bundle = Bundle::new().set("/process/noNewPrivileges", json!(no_new_privileges));
            let bundle = bundle.set("/linux/seccomp", profile).args(["/probe", "sleep"]);
            let hook = json!({ "path": "/probe", "args": ["probe", "exit", "0"], "timeout": 60 });
            let bundle = bundle.raw_hook("startContainer", hook);
            let bundle = if shared { bundle.without_namespace("pid") } else { bundle };
            let container = runtime.start_ready(&bundle);
            let outcome = container.exec(["/probe", "print", "it runs"]).ok();
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("it runs\n", ""), "{outcome}");
            container.kill_and_delete();
            // A hook that hangs is killed by a call that the profile knows, too.
            let hangs = json!({ "path": "/probe", "args": ["probe", "sleep"], "timeout": 1 });
            let outcome = runtime.run(&bundle.raw_hook("startContainer", hangs));
            let _ = outcome.fails(255, "startContainer hook #1: hook ran past specified timeout of 1.0s");
        }
    }
}

/// Without `noNewPrivileges`, where others could trace it, the init gives its privilege up under
/// the filter; one that forbids that is refused with that reason.
#[test]
fn a_filter_that_keeps_a_privilege_is_refused() {
    not_on_peer!("the message is ours");
    let runtime = Runtime::new();
    let rule = json!([{ "names": ["capset"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    let bundle = filtered(rule).without_namespace("pid").set("/process/noNewPrivileges", json!(false));
    let _ = runtime
        .run(&bundle)
        .refused("config.json: linux.seccomp: forbids capset, and is loaded before, as others may trace the process");
}

/// As an ordinary user, in a user namespace of its own.
#[test]
fn an_ordinary_user_filters_his_containers() {
    for no_new_privileges in [true, false] {
        let runtime = Runtime::new();
        let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        let bundle = Bundle::new()
            .set("/linux/seccomp", docker())
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .namespace(json!({ "type": "user" }))
            .set("/linux/uidMappings", map(1000))
            .set("/linux/gidMappings", map(1000))
            .without("/linux/cgroupsPath")
            .without("/linux/resources")
            .without_mount("/dev/pts")
            .without_mount("/sys/fs/cgroup");
        fs::create_dir(runtime.root()).expect("a state root");
        for path in [runtime.root(), bundle.path(), &bundle.rootfs(), &bundle.rootfs().join("probe")] {
            chown(path, Some(1000), Some(1000)).expect("chown");
        }
        let id = unique_name();
        let script = "exec setpriv --reuid 1000 --regid 1000 --clear-groups \"$0\" --rootless true \"$@\"";
        let outcome = runtime.through_shell(script, ["run", "-b"]).arg(bundle.path()).arg(&id).outcome();
        assert_as_configured(bundle.spec(), &outcome.json(), &format!("noNewPrivileges {no_new_privileges}"));
    }
}

// --- what processes that join later have -----------------------------------------------------------------

#[test]
fn the_filter_stays_when_config_json_changes_or_goes() {
    not_on_peer!("runc's exec reads config.json");
    let runtime = Runtime::new();
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    let bundle = filtered(rule).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let file = bundle.path().join("config.json");
    let call = || container.exec(["/probe", "calls", &GETPPID.to_string()]).json();
    assert_eq!(call(), json!([{ "errno": 77 }]));
    fs::write(&file, fs::read_to_string(&file).expect("config.json").replace("getppid", "getpid"))
        .expect("config.json");
    assert_eq!(call(), json!([{ "errno": 77 }]), "after a change");
    fs::remove_file(&file).expect("config.json");
    assert_eq!(call(), json!([{ "errno": 77 }]), "after its removal");
}

#[test]
fn nothing_joins_when_the_filter_is_damaged() {
    not_on_peer!("the file is ours");
    let runtime = Runtime::new();
    let bundle = filtered(json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" }])).args(["/probe", "sleep"]);
    let container = runtime.start_ready(&bundle);
    let file = runtime.root().join(container.id()).join("seccomp.bpf");
    let whole = fs::read(&file).expect("the filter");
    assert_eq!(fs::metadata(&file).expect("the filter").permissions().mode() & 0o777, 0o600);
    let exec = || container.exec(["/probe", "print", "joined"]);
    for (damaged, text) in [
        (&[][..], "not a seccomp filter"),
        (&whole[..whole.len() - 3], "not a seccomp filter"),
        (&whole[..whole.len() - 8], "seccomp: EINVAL"),
        (&whole.repeat(4096)[..], "not a seccomp filter"),
        (&[0xff; 80][..], "seccomp: EINVAL"),
    ] {
        fs::write(&file, damaged).expect("the filter");
        let outcome = exec().fails(255, text).in_one_line();
        assert!(!outcome.stdout.contains("joined"), "{outcome}");
    }
    fs::remove_file(&file).expect("the filter");
    let _ = exec().fails(255, "seccomp.bpf").in_one_line();
    fs::write(&file, whole).expect("the filter");
    let _ = exec().ok();
}
