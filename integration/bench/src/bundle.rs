//! Which containers are made? Bundles from runc's default `spec`, and the two programs in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::error::{At as _, Result};
use crate::workdir::Workdir;

/// What `runc spec` prints (1.3.6), for when there is no runc.
const DEFAULT_SPEC: &str = include_str!("default-spec.json");

/// Makes the bundles `true`, `pause` and `calls`, each with and without Docker's default profile of
/// system calls, which share a root file system of two programs of a hundred-odd bytes and the floor.
pub(crate) fn make(place: &Workdir, runc: Option<&Path>) -> Result<()> {
    let rootfs = place.path("rootfs");
    for directory in ["proc", "dev", "sys"] {
        fs::create_dir_all(rootfs.join(directory)).at(directory)?;
    }
    for (name, code) in [("true", EXIT), ("pause", PAUSE)] {
        write_program(&rootfs.join(name), code)?;
    }
    fs::copy(place.path("bin/floor"), rootfs.join("floor")).at("floor")?;
    let profile: Value = serde_json::from_str(crate::compile::PROFILE).at("docker.json")?;
    let mut spec = match runc.and_then(|runc| ask_for_spec(place, runc)) {
        Some(spec) => spec,
        None => serde_json::from_str(DEFAULT_SPEC).at("default-spec.json")?,
    };
    spec["process"]["terminal"] = json!(false);
    spec["root"]["path"] = json!(rootfs);
    for (name, args) in
        [("true", json!(["/true"])), ("pause", json!(["/pause"])), ("calls", json!(["/floor", "calls"]))]
    {
        spec["process"]["args"] = args;
        for (suffix, profile) in [("", &Value::Null), ("-filtered", &profile)] {
            spec["linux"]["seccomp"] = profile.clone();
            let bundle = place.path(&format!("{name}{suffix}"));
            fs::create_dir(&bundle).at(bundle.display())?;
            let config = bundle.join("config.json");
            fs::write(&config, format!("{spec:#}")).at(config.display())?;
        }
    }
    Ok(())
}

fn ask_for_spec(place: &Workdir, runc: &Path) -> Option<Value> {
    let directory = place.path("spec");
    fs::create_dir(&directory).ok()?;
    let status = Command::new(runc).arg("spec").current_dir(&directory).status().ok()?;
    let text = fs::read_to_string(directory.join("config.json")).ok()?;
    serde_json::from_str(&text).ok().filter(|_| status.success())
}

fn write_program(path: &Path, code: &[u8]) -> Result<()> {
    fs::write(path, elf(code)).at(path.display())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).at(path.display())
}

/// `exit_group(0)`
#[cfg(target_arch = "x86_64")]
const EXIT: &[u8] = &[
    0xb8, 0xe7, 0, 0, 0, // mov eax, 231
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
];

/// `for (;;) pause();`
#[cfg(target_arch = "x86_64")]
const PAUSE: &[u8] = &[
    0xb8, 0x22, 0, 0, 0, // mov eax, 34
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp to the start
];

/// `exit_group(0)`
#[cfg(target_arch = "aarch64")]
const EXIT: &[u8] = &[
    0xc8, 0x0b, 0x80, 0xd2, // mov x8, 94
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0x01, 0x00, 0x00, 0xd4, // svc 0
];

/// `for (;;) ppoll(NULL, 0, NULL, NULL);`
#[cfg(target_arch = "aarch64")]
const PAUSE: &[u8] = &[
    0x28, 0x09, 0x80, 0xd2, // mov x8, 73
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0x01, 0x00, 0x80, 0xd2, // mov x1, 0
    0x02, 0x00, 0x80, 0xd2, // mov x2, 0
    0x03, 0x00, 0x80, 0xd2, // mov x3, 0
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0xfa, 0xff, 0xff, 0x17, // b to the start
];

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// A whole program: one ELF header, one program header, the code. It touches one page and its
/// stack, so that what is measured is the runtime and not the program.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bits, little-endian
    file.resize(16, 0);
    let halves = |file: &mut Vec<u8>, values: &[u16]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, values: &[u32]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let longs = |file: &mut Vec<u8>, values: &[u64]| {
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    halves(&mut file, &[2, MACHINE]); // an executable
    words(&mut file, &[1]);
    longs(&mut file, &[BASE + HEADERS, 64, 0]); // entry, program headers, no section headers
    words(&mut file, &[0]);
    halves(&mut file, &[64, 56, 1, 0, 0, 0]); // sizes and numbers of the headers
    words(&mut file, &[1, 5]); // loaded, readable and executable
    longs(&mut file, &[0, BASE, BASE, size, size, 4096]);
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::PathBuf;
    use std::process::Stdio;

    fn program(name: &str, code: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bench-{}-{name}", std::process::id()));
        write_program(&path, code).unwrap();
        path
    }

    #[test]
    fn the_true_program_is_true() {
        let path = program("true", EXIT);
        let status = Command::new(&path).status();
        fs::remove_file(&path).unwrap();
        assert_eq!(status.unwrap().code(), Some(0));
    }

    #[test]
    fn the_pause_program_stays_until_killed() {
        let path = program("pause", PAUSE);
        let child = Command::new(&path).stdin(Stdio::null()).spawn();
        fs::remove_file(&path).unwrap();
        let mut child = child.unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn the_default_spec_is_json() {
        let spec: Value = serde_json::from_str(DEFAULT_SPEC).unwrap();
        assert_eq!(spec["root"]["readonly"], true);
    }
}
