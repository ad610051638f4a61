//! Which devices may the container use, and which nodes does it find?
//!
//! The allow-list becomes an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`
//! (Linux bpf-helpers(7); include/uapi/linux/bpf.h, `struct bpf_cgroup_dev_ctx`).

use cleat_plan::Device;
use serde::Serialize;

use super::{Place, text};
use crate::config::{self, DeviceRule};
use crate::error::{Error, Result};
use crate::sys::Insn;

const S_IFIFO: u32 = 0o010_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

/// One line of the allow-list, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Allow or deny.
    pub allow: bool,
    /// Which kind of node; `None` is both.
    pub kind: Option<DeviceKind>,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// `BPF_DEVCG_ACC_*`: 1 mknod, 2 read, 4 write.
    pub access: u8,
}

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// `BPF_DEVCG_DEV_BLOCK`
    Block,
    /// `BPF_DEVCG_DEV_CHAR`
    Char,
}

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

const fn char_device(major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, kind: Some(DeviceKind::Char), major, minor, access }
}

/// What every container may do (runtime-spec config-linux.md § Default Devices, and what runc
/// adds): make any node, use the harmless ones, its terminals and their multiplexer.
const DEFAULT_RULES: &[Rule] = &[
    char_device(None, None, MKNOD),
    Rule { allow: true, kind: Some(DeviceKind::Block), major: None, minor: None, access: MKNOD },
    char_device(Some(1), Some(3), ALL),
    char_device(Some(1), Some(8), ALL),
    char_device(Some(1), Some(7), ALL),
    char_device(Some(5), Some(0), ALL),
    char_device(Some(1), Some(5), ALL),
    char_device(Some(1), Some(9), ALL),
    char_device(Some(136), None, ALL),
    char_device(Some(5), Some(2), ALL),
];

const DEFAULT_NODES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The rules of config.json, then those that every container has. The last that matches decides;
/// none matching denies.
pub(super) fn rules(config: &[DeviceRule]) -> Result<Vec<Rule>> {
    let mut rules = Vec::with_capacity(config.len() + DEFAULT_RULES.len());
    for (index, rule) in config.iter().enumerate() {
        let place = Place::new(format!("linux.resources.devices[{index}]"));
        let kind = match rule.kind.as_str() {
            "" | "a" => None,
            "c" | "u" => Some(DeviceKind::Char),
            "b" => Some(DeviceKind::Block),
            other => return Err(place.at("type").wrong(other, "a, b, c")),
        };
        let number = |value: Option<i64>, name: &str| match value {
            None | Some(-1) => Ok(None),
            Some(n) => u32::try_from(n).map(Some).map_err(|_| place.at(name).error("must be -1 (any) or a device number")),
        };
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'm' => MKNOD,
                'r' => READ,
                'w' => WRITE,
                _ => return Err(place.at("access").wrong(&rule.access, "letters of rwm")),
            };
        }
        let access = if rule.access.is_empty() { ALL } else { access };
        let (major, minor) = (number(rule.major, "major")?, number(rule.minor, "minor")?);
        rules.push(Rule { allow: rule.allow, kind, major, minor, access });
    }
    rules.extend_from_slice(DEFAULT_RULES);
    Ok(rules)
}

/// Nodes below `/dev`: the defaults, with those of config.json in place of what they name.
pub(super) fn nodes(config: &[config::Device], bind: bool) -> Result<Vec<Device>> {
    let mut nodes = Vec::with_capacity(config.len() + DEFAULT_NODES.len());
    for (path, major, minor) in DEFAULT_NODES {
        if config.iter().any(|device| device.path == *path) {
            continue;
        }
        nodes.push(Device {
            path: text(path)?,
            file_type: S_IFCHR,
            mode: 0o666,
            major: *major,
            minor: *minor,
            uid: 0,
            gid: 0,
            bind,
            required: false,
        });
    }
    for (index, device) in config.iter().enumerate() {
        nodes.push(node(device, &Place::new(format!("linux.devices[{index}]")), bind)?);
    }
    Ok(nodes)
}

fn node(device: &config::Device, place: &Place, bind: bool) -> Result<Device> {
    let file_type = match device.kind.as_str() {
        "c" | "u" => S_IFCHR,
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        other => return Err(place.at("type").wrong(other, "b, c, p, u")),
    };
    if !device.path.starts_with('/') {
        return Err(place.at("path").error(format_args!("{:?} must be absolute", device.path)));
    }
    let number = |n: i64, name: &str| {
        u32::try_from(n).map_err(|_| place.at(name).error(format_args!("{n} is not a device number")))
    };
    Ok(Device {
        path: text(&device.path)?,
        file_type,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        major: number(device.major, "major")?,
        minor: number(device.minor, "minor")?,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        bind: bind && file_type != S_IFIFO,
        required: true,
    })
}

/// Longest distance of a jump.
const MAX_RULES: usize = 3000;

/// The program: the last matching rule decides, so it tests the rules from the last to the first.
///
/// # Errors
/// More rules than a program may have.
pub fn compile(rules: &[Rule]) -> Result<Vec<Insn>> {
    if rules.len() > MAX_RULES {
        return Err(Error::new(format!("config.json: linux.resources.devices: {} rules; at most {MAX_RULES} are possible", rules.len())));
    }
    // r2 type, r3 access, r4 major, r5 minor, out of struct bpf_cgroup_dev_ctx in r1.
    let mut program = vec![
        load(2, 0),
        alu_and(2, 0xffff),
        load(3, 0),
        Insn { code: 0x74, registers: 3, off: 0, imm: 16 }, // w3 >>= 16
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        if let Some(kind) = rule.kind {
            tests.push(jump_if_not(2, if kind == DeviceKind::Block { 1 } else { 2 }));
        }
        if rule.access != ALL {
            // An allowing rule must cover all that is asked for, a denying one any part of it.
            tests.push(Insn { code: 0xbc, registers: 1 | 3 << 4, off: 0, imm: 0 }); // w1 = w3
            if rule.allow {
                tests.push(alu_and(1, i32::from(rule.access)));
                tests.push(Insn { code: 0x5e, registers: 1 | 3 << 4, off: 0, imm: 0 }); // if w1 != w3
            } else {
                tests.push(alu_and(1, i32::from(rule.access)));
                tests.push(Insn { code: 0x16, registers: 1, off: 0, imm: 0 }); // if w1 == 0
            }
        }
        tests.extend(rule.major.map(|major| jump_if_not(4, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| jump_if_not(5, minor.cast_signed())));
        let len = tests.len();
        let unconditional = len == 0;
        for (at, mut insn) in tests.into_iter().enumerate() {
            if is_jump(insn) {
                // Past the rest of the tests and the two instructions of the verdict.
                insn.off = i16::try_from(len - at - 1 + 2).unwrap_or(0);
            }
            program.push(insn);
        }
        program.extend(verdict(rule.allow));
        if unconditional {
            // The verifier refuses instructions that cannot be reached.
            return Ok(program);
        }
    }
    program.extend(verdict(false));
    Ok(program)
}


fn is_jump(insn: Insn) -> bool {
    insn.code & 7 == 6
}

/// `rD = *(u32 *)(r1 + off)`
fn load(register: u8, off: i16) -> Insn {
    Insn { code: 0x61, registers: register | 1 << 4, off, imm: 0 }
}

/// `wD &= imm`
fn alu_and(register: u8, imm: i32) -> Insn {
    Insn { code: 0x54, registers: register, off: 0, imm }
}

/// `if wD != imm goto next rule`
fn jump_if_not(register: u8, imm: i32) -> Insn {
    Insn { code: 0x56, registers: register, off: 0, imm }
}

/// `r0 = allow; exit`
fn verdict(allow: bool) -> [Insn; 2] {
    [
        Insn { code: 0xb4, registers: 0, off: 0, imm: i32::from(allow) },
        Insn { code: 0x95, registers: 0, off: 0, imm: 0 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a device program as the kernel would, for the few operations that it has.
    fn interpret(program: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut r = [0u32; 11];
        let mut pc = 0;
        loop {
            let insn = program[pc];
            let (dst, src) = (usize::from(insn.registers & 15), usize::from(insn.registers >> 4));
            let imm = insn.imm.cast_unsigned();
            pc += 1;
            let jump = match insn.code {
                0x61 => { r[dst] = context[usize::try_from(insn.off / 4).unwrap()]; false }
                0x54 => { r[dst] &= imm; false }
                0x74 => { r[dst] >>= imm; false }
                0xbc => { r[dst] = r[src]; false }
                0xb4 => { r[dst] = imm; false }
                0x56 => r[dst] != imm,
                0x16 => r[dst] == imm,
                0x5e => r[dst] != r[src],
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            };
            if jump {
                pc += usize::try_from(insn.off).unwrap();
            }
        }
    }

    fn expected(rules: &[Rule], kind: DeviceKind, access: u8, major: u32, minor: u32) -> bool {
        rules
            .iter()
            .rev()
            .find(|rule| {
                rule.kind.is_none_or(|k| k == kind)
                    && rule.major.is_none_or(|m| m == major)
                    && rule.minor.is_none_or(|m| m == minor)
                    && if rule.allow { access & !rule.access == 0 } else { access & rule.access != 0 }
            })
            .is_some_and(|rule| rule.allow)
    }

    #[test]
    fn the_program_decides_as_the_list_read_from_its_end() {
        let config: Vec<DeviceRule> = serde_json::from_str(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"},
                {"allow":false,"type":"c","major":1,"minor":5,"access":"w"},{"allow":true,"type":"c","major":10,"minor":200}]"#,
        )
        .unwrap();
        let rules = rules(&config).unwrap();
        let program = compile(&rules).unwrap();
        for (kind, bits) in [(DeviceKind::Block, 1), (DeviceKind::Char, 2)] {
            for access in 1..8u8 {
                for major in [0, 1, 5, 8, 10, 136] {
                    for minor in [0, 2, 3, 5, 9, 200] {
                        let want = expected(&rules, kind, access, major, minor);
                        let got = interpret(&program, bits, u32::from(access), major, minor);
                        assert_eq!(got, want, "{kind:?} {access} {major}:{minor}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_allowed_by_default_but_the_defaults() {
        let rules = rules(&[]).unwrap();
        assert!(expected(&rules, DeviceKind::Char, READ, 1, 3));
        assert!(!expected(&rules, DeviceKind::Block, READ, 8, 0));
    }

    #[test]
    fn a_device_of_config_json_takes_the_place_of_a_default() {
        let config: Vec<config::Device> = serde_json::from_str(r#"[{"type":"c","path":"/dev/null","major":1,"minor":3,"fileMode":384}]"#).unwrap();
        let nodes = nodes(&config, false).unwrap();
        assert_eq!(nodes.iter().filter(|n| n.path.to_bytes() == b"/dev/null").map(|n| n.mode).collect::<Vec<_>>(), [0o600]);
        assert_eq!(nodes.len(), 6);
    }

    #[test]
    fn a_wrong_type_names_the_allowed_ones() {
        let config: Vec<config::Device> = serde_json::from_str(r#"[{"type":"x","path":"/dev/a"}]"#).unwrap();
        let error = nodes(&config, false).unwrap_err().to_string();
        assert_eq!(error, "config.json: linux.devices[0].type: \"x\" is not one of b, c, p, u");
    }
}
