//! Which devices may the container use, and which nodes does it find?
//!
//! The allow-list becomes an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`
//! (Linux bpf-helpers(7); include/uapi/linux/bpf.h, `struct bpf_cgroup_dev_ctx`).

use std::path::{Path, PathBuf};

use cleat_plan::{Device, Mount, MountKind, Text};
use serde::Serialize;

use super::findings::Findings;
use super::ids::Ids;
use super::place::{Place, text};
use crate::error::{Error, Result};
use crate::spec;
use crate::spec::{DeviceRule, Spec};
use crate::sys::Insn;
use crate::sys::clean_path::clean;

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

pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

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
pub(super) fn rules(config: &[DeviceRule], findings: &mut Findings) -> Vec<Rule> {
    let mut unknown = Vec::new();
    let decided = findings.each(config, |index, rule| {
        let place = Place::new(format!("linux.resources.devices[{index}]"));
        let kind = match rule.kind.as_str() {
            "" | "a" => None,
            "c" | "u" => Some(DeviceKind::Char),
            "b" => Some(DeviceKind::Block),
            other => return Err(place.at("type").wrong(other, "a, b, c")),
        };
        let number = |value: Option<i64>, name: &str| match value {
            None | Some(-1) => Ok(None),
            Some(n) => {
                u32::try_from(n).map(Some).map_err(|_| place.at(name).error("must be -1 (any) or a device number"))
            }
        };
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'm' => MKNOD,
                'r' => READ,
                'w' => WRITE,
                // As the peers do. What is left never allows more than what is there.
                letter => {
                    let what = format_args!("{letter:?} is none of r, w and m, ignored");
                    unknown.push(place.at("access").error(what).to_string());
                    0
                }
            };
        }
        // Nothing that is known: an empty one is all, as one that denies is; one that allows, nothing.
        let access = match access {
            0 if rule.access.is_empty() || !rule.allow => ALL,
            known => known,
        };
        let (major, minor) = (number(rule.major, "major")?, number(rule.minor, "minor")?);
        Ok((access != 0).then_some(Rule { allow: rule.allow, kind, major, minor, access }))
    });
    let mut rules: Vec<Rule> = decided.into_iter().flatten().collect();
    findings.warnings.append(&mut unknown);
    rules.extend_from_slice(DEFAULT_RULES);
    rules
}

/// Whether the rules of config.json let every device be used: then there is nothing that a cgroup would have to hold.
pub(super) fn all_allowed(config: &[DeviceRule]) -> bool {
    let any = |value: Option<i64>| matches!(value, None | Some(-1));
    let every = |rule: &DeviceRule| {
        let access = rule.access.is_empty() || "rwm".chars().all(|letter| rule.access.contains(letter));
        matches!(rule.kind.as_str(), "" | "a") && any(rule.major) && any(rule.minor) && access
    };
    // The last one that fits a device decides.
    config.iter().fold(false, |allowed, rule| rule.allow && (allowed || every(rule)))
}

/// Nodes below `/dev`: the defaults, with those of config.json in place of what they name.
pub(super) fn nodes(config: &[spec::Device], bind: bool, ids: Ids<'_>, findings: &mut Findings) -> Vec<Device> {
    let missing = |path: &str| !config.iter().any(|device| clean_path(&device.path) == Path::new(path));
    let defaults: Vec<_> = DEFAULT_NODES.iter().filter(|(path, ..)| missing(path)).collect();
    let mut nodes = findings.each(&defaults, |_, (path, major, minor)| {
        Ok(Device {
            path: text(path)?,
            file_type: S_IFCHR,
            mode: 0o666,
            major: *major,
            minor: *minor,
            uid: 0,
            gid: 0,
            bind,
            default: true,
        })
    });
    let place = |index| Place::new(format!("linux.devices[{index}]"));
    nodes.extend(findings.each(config, |index, device| node(device, &place(index), bind, ids)));
    nodes
}

fn clean_path(path: &str) -> PathBuf {
    clean(Path::new("/"), Path::new(path))
}

fn node(device: &spec::Device, place: &Place, bind: bool, ids: Ids<'_>) -> Result<Device> {
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
    // A node of the host, bound, keeps its owner; what is made has one of the container's.
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    let bind = bind && file_type != S_IFIFO;
    if !bind {
        ids.check_uid(uid, &place.at("uid"))?;
        ids.check_gid(gid, &place.at("gid"))?;
    }
    let path = clean_path(&device.path);
    if path == Path::new("/") {
        return Err(place.at("path").error("\"/\" is no place for a device"));
    }
    Ok(Device {
        path: text(&path)?,
        file_type,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        major: number(device.major, "major")?,
        minor: number(device.minor, "minor")?,
        uid,
        gid,
        bind,
        default: false,
    })
}

/// What the rules mean: whether they let such a device be used.
fn allows(rules: &[Rule], kind: DeviceKind, access: u8, number: (u32, u32)) -> bool {
    let decides = |rule: &&Rule| {
        rule.kind.is_none_or(|k| k == kind)
            && rule.major.is_none_or(|major| major == number.0)
            && rule.minor.is_none_or(|minor| minor == number.1)
            && if rule.allow { access & !rule.access == 0 } else { access & rule.access != 0 }
    };
    rules.iter().rev().find(decides).is_some_and(|rule| rule.allow)
}

/// A warning where rules were given that nobody but root of the machine may have enforced, and there are devices
/// that they may deny. Those are the ones of linux.devices, and of mounts that ask for devices.
pub(super) fn unenforced(spec: &Spec, mounts: &[Mount], findings: &mut Findings) {
    let asked = &spec.linux.resources.devices;
    let rules = rules(asked, &mut Findings::default());
    let anything = |rule: &Rule| rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none();
    let own = rules.len().saturating_sub(DEFAULT_RULES.len());
    let last = rules[..own].iter().rev().find(|rule| anything(rule) || !rule.allow);
    if asked.is_empty() || last.is_some_and(|rule| rule.allow && rule.access == ALL) {
        return;
    }
    let denied = |device: &spec::Device| {
        let kind = if device.kind == "b" { DeviceKind::Block } else { DeviceKind::Char };
        let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        device.kind != "p" && !allows(&rules, kind, READ | WRITE, (number(device.major), number(device.minor)))
    };
    let devices = spec.linux.devices.iter().enumerate().filter(|(_, device)| denied(device));
    let default = |source: &Text| DEFAULT_NODES.iter().any(|(path, ..)| path.as_bytes() == source.to_bytes());
    let brings = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => !mount.nodev && !default(source),
        MountKind::New { .. } | MountKind::Remount { .. } => false,
    };
    let mounts = mounts.iter().take(spec.mounts.len()).enumerate().filter(|(_, mount)| brings(mount));
    let places: Vec<String> = devices
        .map(|(index, _)| format!("linux.devices[{index}]"))
        .chain(mounts.map(|(index, _)| format!("mounts[{index}]")))
        .collect();
    if !places.is_empty() {
        findings.warnings.push(format!(
            "config.json: linux.resources.devices: only root of the machine may filter devices: those of {} can be \
             used whatever the rules say",
            places.join(", ")
        ));
    }
}

/// Jumps are at most 32767 instructions long.
const MAX_RULES: usize = 3000;

/// The program: the last matching rule decides, so it tests the rules from the last to the first.
/// It is short because the kernel verifies it at every creation: rules of one kind of device share
/// the test for it, and all share two ends.
///
/// # Errors
/// More rules than a program may have.
pub fn compile(rules: &[Rule]) -> Result<Vec<Insn>> {
    if rules.len() > MAX_RULES {
        return Err(Error::new(format!("config.json: linux.resources.devices: {} rules", rules.len()))
            .remedy(format_args!("at most {MAX_RULES} are possible")));
    }
    let mut program = Program::default();
    // w2 kind, w3 access, w4 major, w5 minor, out of struct bpf_cgroup_dev_ctx in r1; w6 both
    // numbers as the kernel's dev_t has them: twelve and twenty bits.
    program.insns.extend([
        load(2, 0),
        load(3, 0),
        load(4, 4),
        load(5, 8),
        alu(0x54, 2, 0xffff),                                       // w2 &= 0xffff
        alu(0x74, 3, 16),                                           // w3 >>= 16
        Insn { code: 0xbc, registers: 6 | 4 << 4, off: 0, imm: 0 }, // w6 = w4
        alu(0x64, 6, 20),                                           // w6 <<= 20
        Insn { code: 0x4c, registers: 6 | 5 << 4, off: 0, imm: 0 }, // w6 |= w5
    ]);
    let mut decided = false;
    let mut last_first: Vec<Rule> = rules.to_vec();
    last_first.reverse();
    for group in last_first.chunk_by(|a, b| a.kind == b.kind) {
        let past_group = program.label();
        if let Some(kind) = group.first().and_then(|rule| rule.kind) {
            program.jump(JNE, 2, if kind == DeviceKind::Block { 1 } else { 2 }, past_group);
        }
        for rule in group {
            let unconditional = program.rule(rule);
            if unconditional && rule.kind.is_none() {
                decided = true;
            }
            if unconditional {
                // The verifier refuses instructions that cannot be reached.
                break;
            }
        }
        program.place(past_group);
        if decided {
            break;
        }
    }
    Ok(program.finish(decided))
}

/// `if w == imm`
const JEQ: u8 = 0x16;
/// `if w != imm`
const JNE: u8 = 0x56;
/// `if w & imm`
const JSET: u8 = 0x46;
/// Always.
const JA: u8 = 0x05;

const ALLOW: usize = 0;
const DENY: usize = 1;

/// Instructions with jumps to places that are not known yet.
struct Program {
    insns: Vec<Insn>,
    /// Where each label is.
    labels: Vec<usize>,
    /// Which instruction jumps to which label.
    jumps: Vec<(usize, usize)>,
}

impl Default for Program {
    fn default() -> Program {
        Program { insns: Vec::new(), labels: vec![0, 0], jumps: Vec::new() }
    }
}

impl Program {
    fn label(&mut self) -> usize {
        self.labels.push(0);
        self.labels.len() - 1
    }

    fn place(&mut self, label: usize) {
        self.labels[label] = self.insns.len();
    }

    fn jump(&mut self, code: u8, register: u8, imm: u32, label: usize) {
        self.jumps.push((self.insns.len(), label));
        self.insns.push(Insn { code, registers: register, off: 0, imm: i32::from_ne_bytes(imm.to_ne_bytes()) });
    }

    /// One rule but for its kind: whether it matches whatever is asked.
    fn rule(&mut self, rule: &Rule) -> bool {
        let verdict = if rule.allow { ALLOW } else { DENY };
        // No device has numbers beyond those of dev_t.
        if rule.major.is_some_and(|major| major >= 1 << 12) || rule.minor.is_some_and(|minor| minor >= 1 << 20) {
            return false;
        }
        let next = self.label();
        // An allowing rule must cover all that is asked for, a denying one any part of it.
        if rule.allow && rule.access != ALL {
            self.jump(JSET, 3, u32::from(ALL & !rule.access), next);
        }
        let by_number = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => Some((6, major << 20 | minor)),
            (Some(major), None) => Some((4, major)),
            (None, Some(minor)) => Some((5, minor)),
            (None, None) => None,
        };
        let by_access = !rule.allow && rule.access != ALL;
        match by_number {
            Some((register, value)) if by_access => {
                self.jump(JNE, register, value, next);
                self.jump(JSET, 3, rule.access.into(), verdict);
            }
            Some((register, value)) => self.jump(JEQ, register, value, verdict),
            None if by_access => self.jump(JSET, 3, rule.access.into(), verdict),
            None => self.jump(JA, 0, 0, verdict),
        }
        self.place(next);
        by_number.is_none() && rule.access == ALL
    }

    fn finish(mut self, decided: bool) -> Vec<Insn> {
        if decided && self.insns.last().is_some_and(|insn| insn.code == JA) {
            // Straight on to the end that it would jump to.
            let (_, end) = self.jumps.pop().unwrap_or((0, DENY));
            self.insns.pop();
            self.ends(end);
        } else {
            self.ends(DENY);
        }
        for (at, label) in &self.jumps {
            self.insns[*at].off = i16::try_from(self.labels[*label] - at - 1).unwrap_or(0);
        }
        self.insns
    }

    /// Both ends; `first` is the one that is fallen into.
    fn ends(&mut self, first: usize) {
        for end in [first, 1 - first] {
            if end == first || self.jumps.iter().any(|(_, label)| *label == end) {
                self.place(end);
                self.insns.push(alu(0xb4, 0, i32::from(end == ALLOW))); // w0 =
                self.insns.push(alu(0x95, 0, 0)); // exit
            }
        }
    }
}

/// `wD = *(u32 *)(r1 + off)`
fn load(register: u8, off: i16) -> Insn {
    Insn { code: 0x61, registers: register | 1 << 4, off, imm: 0 }
}

/// An operation of a register and a constant.
fn alu(code: u8, register: u8, imm: i32) -> Insn {
    Insn { code, registers: register, off: 0, imm }
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
            let imm = u32::from_ne_bytes(insn.imm.to_ne_bytes());
            pc += 1;
            let jump = match insn.code {
                0x61 => {
                    r[dst] = context[usize::try_from(insn.off / 4).unwrap()];
                    false
                }
                0x54 => {
                    r[dst] &= imm;
                    false
                }
                0x74 => {
                    r[dst] >>= imm;
                    false
                }
                0xbc => {
                    r[dst] = r[src];
                    false
                }
                0x64 => {
                    r[dst] <<= imm;
                    false
                }
                0x4c => {
                    r[dst] |= r[src];
                    false
                }
                0x05 => true,
                0x46 => r[dst] & imm != 0,
                0xb4 => {
                    r[dst] = imm;
                    false
                }
                0x56 => r[dst] != imm,
                0x16 => r[dst] == imm,
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            };
            if jump {
                pc += usize::try_from(insn.off).unwrap();
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_list_read_from_its_end() {
        let config: Vec<DeviceRule> = serde_json::from_str(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"},
                {"allow":false,"type":"c","major":1,"minor":5,"access":"w"},{"allow":true,"type":"c","major":10,"minor":200}]"#,
        )
        .unwrap();
        let whole = rules(&config, &mut Findings::default());
        for rules in [&whole[..], &whole[..1], &whole[..2], &whole[1..], &[]] {
            compare(rules);
        }
    }

    fn compare(rules: &[Rule]) {
        let program = compile(rules).unwrap();
        for (kind, bits) in [(DeviceKind::Block, 1), (DeviceKind::Char, 2)] {
            for access in 1..8u8 {
                for major in [0, 1, 5, 8, 10, 136] {
                    for minor in [0, 2, 3, 5, 9, 200] {
                        let want = allows(rules, kind, access, (major, minor));
                        let got = interpret(&program, bits, u32::from(access), major, minor);
                        assert_eq!(got, want, "{kind:?} {access} {major}:{minor}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_allowed_by_default_but_the_defaults() {
        let rules = rules(&[], &mut Findings::default());
        assert!(allows(&rules, DeviceKind::Char, READ, (1, 3)));
        assert!(!allows(&rules, DeviceKind::Block, READ, (8, 0)));
    }

    #[test]
    fn a_device_of_config_json_takes_the_place_of_a_default() {
        let config: Vec<spec::Device> =
            serde_json::from_str(r#"[{"type":"c","path":"/dev/null","major":1,"minor":3,"fileMode":384}]"#).unwrap();
        let nodes = nodes(&config, false, Ids::of_container(&[], &[]), &mut Findings::default());
        assert_eq!(
            nodes.iter().filter(|n| n.path.to_bytes() == b"/dev/null").map(|n| n.mode).collect::<Vec<_>>(),
            [0o600]
        );
        assert_eq!(nodes.len(), 6);
    }

    #[test]
    fn a_wrong_type_names_the_allowed_ones() {
        let config: Vec<spec::Device> = serde_json::from_str(r#"[{"type":"x","path":"/dev/a"}]"#).unwrap();
        let mut findings = Findings::default();
        let _ = nodes(&config, false, Ids::of_container(&[], &[]), &mut findings);
        let error = findings.problems[0].to_string();
        assert_eq!(error, "config.json: linux.devices[0].type: \"x\" is not one of b, c, p, u");
    }
}
