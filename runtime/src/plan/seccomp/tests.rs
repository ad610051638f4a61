use super::*;
use serde_json::{Value, json};

/// The filter of a profile that lets the program start.
fn filter(mut value: Value) -> std::result::Result<Filter, String> {
    let execve = json!({"names": ["execve"], "action": "SCMP_ACT_ALLOW"});
    match value["syscalls"].as_array_mut() {
        Some(list) => list.push(execve),
        None => value["syscalls"] = json!([execve]),
    }
    decide_on(value)
}

fn decide_on(value: Value) -> std::result::Result<Filter, String> {
    let config = serde_json::from_value(value).unwrap();
    let mut findings = Findings::default();
    let filter = decide(&config, None, Family::X86, &mut findings);
    findings.warnings().map_err(|error| error.to_string())?;
    Ok(filter.expect("a filter where nothing is wrong"))
}

/// What the filter answers to a call of the native architecture.
fn answer(filter: &Filter, name: &str, arguments: [u64; 6]) -> u32 {
    let number = Arch::X86_64.number(row(name).unwrap()).unwrap();
    let call = reference::SystemCall { audit: Arch::X86_64.audit(), number, arguments };
    let program: Vec<_> = filter.program.instructions().collect();
    reference::run(&program, &call).expect("an answer")
}

#[test]
fn the_table_is_sorted_by_name() {
    assert!(syscalls::SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(row("accept4").and_then(|row| Arch::Arm64.number(row)), Some(242));
    assert_eq!(row("cacheflush").and_then(|row| Arch::Arm.number(row)), Some(0x0f_0002));
    assert_eq!(row("open").and_then(|row| Arch::Arm64.number(row)), None);
}

#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let old = filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write", "openat2"], "action": "SCMP_ACT_ALLOW"}]}))
    .unwrap();
    assert_eq!(answer(&old, "read", [0; 6]), verdict::ALLOW);
    assert_eq!(answer(&old, "mkdir", [0; 6]), verdict::ERRNO | EPERM);
    assert_eq!(answer(&old, "landlock_restrict_self", [0; 6]), verdict::ERRNO | ENOSYS);
    for (action, expected) in
        [("SCMP_ACT_ALLOW", verdict::ALLOW), ("SCMP_ACT_LOG", verdict::LOG), ("SCMP_ACT_TRACE", verdict::TRACE | 1)]
    {
        let open = filter(json!({"defaultAction": action, "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}))
        .unwrap();
        assert_eq!(answer(&open, "landlock_restrict_self", [0; 6]), expected, "{action}");
    }
}

/// Programs of 32-bit x86 have two ways to some calls (socketcall(2), ipc(2)).
#[test]
fn a_call_within_a_call_is_no_way_around_a_rule() {
    let answers = |default: &str, rule: Value, name: &str, first: u64| {
        let profile = json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule]});
        let program: Vec<_> = filter(profile).unwrap().program.instructions().collect();
        let number = Arch::X86.number_of(name).unwrap();
        let call = reference::SystemCall { audit: Arch::X86.audit(), number, arguments: [first, 0, 0, 0, 0, 0] };
        reference::run(&program, &call).expect("an answer")
    };
    let (allow, deny) = (verdict::ALLOW, verdict::ERRNO | 1);
    let no_shm = || json!({"names": ["shmat"], "action": "SCMP_ACT_ERRNO"});
    assert_eq!(answers("SCMP_ACT_ALLOW", no_shm(), "ipc", 21), deny);
    assert_eq!(answers("SCMP_ACT_ALLOW", no_shm(), "ipc", (2 << 16) | 21), deny, "with a version");
    assert_eq!(answers("SCMP_ACT_ALLOW", no_shm(), "ipc", 22), allow);
    // Conditions on arguments that cannot be seen.
    let local = |action: &str| {
        json!({"names": ["socket"], "action": action,
               "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]})
    };
    assert_eq!(answers("SCMP_ACT_ALLOW", local("SCMP_ACT_ERRNO"), "socketcall", 1), deny);
    assert_eq!(answers("SCMP_ACT_ALLOW", local("SCMP_ACT_ERRNO"), "socketcall", 2), allow);
    assert_eq!(answers("SCMP_ACT_ERRNO", local("SCMP_ACT_ALLOW"), "socketcall", 1), deny);
    assert_eq!(answers("SCMP_ACT_ERRNO", local("SCMP_ACT_ALLOW"), "socket", 40), allow);
}

#[test]
fn arguments_are_compared_in_all_their_bits() {
    let with = |op: &str, value: u64| {
        filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": value, "op": op}]}]}))
        .unwrap()
    };
    let high = (1 << 32) | 5;
    assert_eq!(answer(&with("SCMP_CMP_EQ", 5), "personality", [high, 0, 0, 0, 0, 0]), verdict::ERRNO | EPERM);
    assert_eq!(answer(&with("SCMP_CMP_GT", 6), "personality", [high, 0, 0, 0, 0, 0]), verdict::ALLOW);
    assert_eq!(answer(&with("SCMP_CMP_LT", high), "personality", [6, 0, 0, 0, 0, 0]), verdict::ALLOW);
}

/// config-linux.md § Seccomp, `architectures`, and that none changes what the machine's own has.
#[test]
fn every_architecture_of_the_specification_is_known() {
    let names = [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "RISCV64",
        "LOONGARCH64",
        "M68K",
        "SH",
        "SHEB",
    ];
    for name in names {
        let filter = filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": [format!("SCMP_ARCH_{name}")],
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}));
        assert_eq!(answer(&filter.unwrap(), "read", [0; 6]), verdict::ALLOW, "{name}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let arg = |arg: Value| rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [arg]}));
    let cases = [
        (json!({}), "defaultAction: is missing; it is one of SCMP_ACT_KILL, "),
        (json!({"defaultAction": "SCMP_ACT_NO"}), "defaultAction: \"SCMP_ACT_NO\" is not one of SCMP_ACT_KILL, "),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "defaultAction: SCMP_ACT_NOTIFY cannot be the default"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            "defaultErrnoRet: SCMP_ACT_ALLOW has no number",
        ),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}), "defaultErrnoRet: 4096 is above 4095"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X"]}),
            "architectures[0]: \"SCMP_ARCH_X\"",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_X"]}),
            "flags[0]: \"SECCOMP_X\" is not one of SECCOMP_",
        ),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"}), "listenerMetadata: is for a listener"),
        (rule(json!({"names": ["read"], "action": "ERRNO"})), "syscalls[0].action: \"ERRNO\" is not one of"),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
            "syscalls[0].errnoRet: SCMP_ACT_KILL has no",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
            "syscalls[0].errnoRet: 65536 is above 65535",
        ),
        (arg(json!({"index": 6, "op": "SCMP_CMP_EQ"})), "syscalls[0].args[0].index: 6 is not an argument, from 0 to 5"),
        (arg(json!({"index": 0, "op": "EQ"})), "syscalls[0].args[0].op: \"EQ\" is not one of SCMP_CMP_NE"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})), "listenerPath: \"\": SCMP_ACT_NOTIFY needs"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [
                {"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}),
            "linux.seccomp: with SCMP_ACT_NOTIFY sendmsg must be allowed",
        ),
    ];
    for (config, expected) in cases {
        let error = filter(config.clone()).expect_err(&config.to_string());
        assert!(error.starts_with("config.json: linux.seccomp") && error.contains(expected), "{config}: {error}");
    }
}

#[test]
fn a_profile_that_never_lets_the_program_start_is_refused() {
    let decide = |action: &str| {
        decide_on(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["execve"], "action": action, "args": [{"index": 1, "op": "SCMP_CMP_NE"}]}]}))
    };
    let error = decide("SCMP_ACT_TRAP").unwrap_err();
    assert_eq!(error, "config.json: linux.seccomp: execve is not allowed, which starts the program; allow it");
    assert!(decide("SCMP_ACT_LOG").is_ok(), "under a condition that may hold");
}

#[test]
fn a_filter_that_is_too_long_is_refused_with_its_length() {
    let rules: Vec<Value> = (0..2000u32)
        .map(|n| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 1, "value": n, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let error = filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})).unwrap_err();
    assert!(
        error.starts_with("config.json: linux.seccomp: the filter has ") && error.contains("takes 4096"),
        "{error}"
    );
}

#[test]
fn flags_that_make_no_sense_alone_are_left_out() {
    let flags = |list: Value| filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": list})).unwrap().flags;
    assert_eq!(flags(Value::Null), SPEC_ALLOW, "as with runc, when nothing is said");
    assert_eq!(flags(json!([])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"])), 2);
}
