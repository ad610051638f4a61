//! libseccomp, which other runtimes leave their filters to, as an oracle: loaded at run time, since
//! every Debian has it (apt needs it) and few have its headers.

#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block, reason = "calls into a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use cleat::plan::seccomp::{ACTIONS, Arch, Family, verdict};
use cleat_plan::seccomp::{Instruction, Program};
use serde_json::Value;

/// `struct scmp_arg_cmp`
#[repr(C)]
struct Comparison {
    argument: c_uint,
    operator: c_int,
    a: u64,
    b: u64,
}

#[repr(C)]
struct Version {
    major: c_uint,
    minor: c_uint,
    micro: c_uint,
}

type Context = *mut c_void;

/// A function of the library.
///
/// # Safety
/// `T` is its type, a function pointer; the library is never unloaded.
unsafe fn symbol<T: Copy>(library: *mut c_void, name: &CStr) -> T {
    // SAFETY: a C string, and a library that is loaded.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null() && size_of::<T>() == size_of_val(&found), "libseccomp has no {name:?}");
    // SAFETY: of the same size, and by the caller's word a pointer to such a function.
    unsafe { std::mem::transmute_copy(&found) }
}

pub(crate) struct Library {
    init: unsafe extern "C" fn(u32) -> Context,
    release: unsafe extern "C" fn(Context),
    arch_add: unsafe extern "C" fn(Context, u32) -> c_int,
    arch_remove: unsafe extern "C" fn(Context, u32) -> c_int,
    rule_add_array: unsafe extern "C" fn(Context, u32, c_int, c_uint, *const Comparison) -> c_int,
    resolve: unsafe extern "C" fn(*const c_char) -> c_int,
    resolve_on: unsafe extern "C" fn(u32, *const c_char) -> c_int,
    export_bpf: unsafe extern "C" fn(Context, c_int) -> c_int,
    /// What it says of itself.
    pub(crate) version: (u32, u32, u32),
}

/// `SCMP_ARCH_*`
fn token(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_003e } else { arch.audit() }
}

impl Library {
    pub(crate) fn load() -> Self {
        // SAFETY: a library that every package manager of this system runs; it has no constructor
        // that does anything to its process.
        let library = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "libseccomp.so.2 is not here; it is in the package libseccomp2");
        // SAFETY: all types, here and of the fields, are those of seccomp.h of version 2, whose
        // interface is stable; a null pointer is not read.
        unsafe {
            let version: unsafe extern "C" fn() -> *const Version = symbol(library, c"seccomp_version");
            let api_set: unsafe extern "C" fn(c_uint) -> c_int = symbol(library, c"seccomp_api_set");
            // All actions, whatever this kernel has: nothing is loaded here.
            assert_eq!(api_set(6), 0, "seccomp_api_set");
            let Version { major, minor, micro } = version().read();
            Self {
                init: symbol(library, c"seccomp_init"),
                release: symbol(library, c"seccomp_release"),
                arch_add: symbol(library, c"seccomp_arch_add"),
                arch_remove: symbol(library, c"seccomp_arch_remove"),
                rule_add_array: symbol(library, c"seccomp_rule_add_array"),
                resolve: symbol(library, c"seccomp_syscall_resolve_name"),
                resolve_on: symbol(library, c"seccomp_syscall_resolve_name_arch"),
                export_bpf: symbol(library, c"seccomp_export_bpf"),
                version: (major, minor, micro),
            }
        }
    }

    /// The number of a call there; `None`: it has none, or the library does not know.
    pub(crate) fn number(&self, name: &str, arch: Arch) -> Option<u32> {
        let name = CString::new(name).ok()?;
        // SAFETY: a C string that outlives the call.
        let number = unsafe { (self.resolve_on)(token(arch), name.as_ptr()) };
        u32::try_from(number).ok()
    }

    /// Whether it knows a call at all.
    pub(crate) fn knows(&self, name: &str) -> bool {
        // -1 is an error; calls of other architectures have numbers below that.
        CString::new(name).is_ok_and(|name| self.resolve_native(&name) != -1)
    }

    fn resolve_native(&self, name: &CStr) -> c_int {
        // SAFETY: a C string that outlives the call.
        unsafe { (self.resolve)(name.as_ptr()) }
    }

    /// The filter of a profile, made as runc and crun make it.
    pub(crate) fn compile(&self, profile: &Value, family: Family) -> Vec<Instruction> {
        let default = answer(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        // SAFETY: any action is a number.
        let context = unsafe { (self.init)(default) };
        assert!(!context.is_null(), "seccomp_init {default:#x}");
        let native = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::X86_64 };
        let mut architectures = vec![family.architectures()[0].1];
        for name in profile["architectures"].as_array().into_iter().flatten() {
            let found = family.architectures().iter().find(|(known, _)| name == known);
            architectures.extend(found.map(|(_, arch)| *arch).filter(|arch| !architectures.contains(arch)));
        }
        let is_added = |answer: c_int| answer == 0 || answer == -libc::EEXIST;
        for arch in &architectures {
            // SAFETY: a context that is not released yet.
            let answer = unsafe { (self.arch_add)(context, token(*arch)) };
            assert!(is_added(answer), "seccomp_arch_add {arch:?}: {answer}");
        }
        if !architectures.contains(&native) {
            // SAFETY: as above.
            assert_eq!(unsafe { (self.arch_remove)(context, token(native)) }, 0, "seccomp_arch_remove");
        }
        for rule in profile["syscalls"].as_array().unwrap() {
            self.add(context, default, rule);
        }
        let program = self.export(context);
        // SAFETY: the context is used no more.
        unsafe { (self.release)(context) };
        program
    }

    fn add(&self, context: Context, default: u32, rule: &Value) {
        let verdict = answer(&rule["action"], &rule["errnoRet"]);
        if verdict == default {
            return;
        }
        let conditions: Vec<Comparison> = rule["args"].as_array().into_iter().flatten().map(comparison).collect();
        let twice = |one: &Comparison| conditions.iter().filter(|c| c.argument == one.argument).count() > 1;
        let sets: Vec<&[Comparison]> =
            if conditions.iter().any(twice) { conditions.chunks(1).collect() } else { vec![&conditions] };
        for name in rule["names"].as_array().unwrap() {
            let number = self.resolve_native(&CString::new(name.as_str().unwrap()).unwrap());
            for set in sets.iter().filter(|_| number != -1) {
                let count = c_uint::try_from(set.len()).unwrap();
                // SAFETY: a live context and an array of that many elements.
                let answer = unsafe { (self.rule_add_array)(context, verdict, number, count, set.as_ptr()) };
                // A rule that is there already.
                assert!(answer == 0 || answer == -libc::EEXIST, "seccomp_rule_add {rule}: {answer}");
            }
        }
    }

    fn export(&self, context: Context) -> Vec<Instruction> {
        let mut file = memory_file();
        // SAFETY: a live context and an open descriptor.
        let answer = unsafe { (self.export_bpf)(context, file.as_raw_fd()) };
        assert_eq!(answer, 0, "seccomp_export_bpf");
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let program = Program::from_bytes(bytes).expect("a program that the kernel takes");
        program.instructions().collect()
    }
}

fn memory_file() -> File {
    // SAFETY: a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(c"filter".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create");
    // SAFETY: new, and nobody else's.
    unsafe { File::from_raw_fd(fd) }
}

/// `SCMP_ACT_*`, which are the kernel's own numbers.
pub(crate) fn answer(word: &Value, number: &Value) -> u32 {
    let (_, bare) = ACTIONS.iter().find(|(name, _)| word == name).unwrap();
    let numbered = matches!(*bare, verdict::ERRNO | verdict::TRACE);
    bare | if numbered { number.as_u64().map_or(1, |n| u32::try_from(n).unwrap()) } else { 0 }
}

fn comparison(arg: &Value) -> Comparison {
    let operator = match arg["op"].as_str().unwrap() {
        "SCMP_CMP_NE" => 1,
        "SCMP_CMP_LT" => 2,
        "SCMP_CMP_LE" => 3,
        "SCMP_CMP_EQ" => 4,
        "SCMP_CMP_GE" => 5,
        "SCMP_CMP_GT" => 6,
        "SCMP_CMP_MASKED_EQ" => 7,
        other => panic!("{other}"),
    };
    let number = |key: &str| arg[key].as_u64().unwrap_or(0);
    Comparison {
        argument: u32::try_from(number("index")).unwrap(),
        operator,
        a: number("value"),
        b: number("valueTwo"),
    }
}
