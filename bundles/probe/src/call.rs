//! What does the kernel answer to a system call by its number, whatever the number?
//!
//! All `unsafe` of the probe: a filter of system calls can distinguish nothing else.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use nix::libc;
use serde_json::{Value, json};

/// `[i386:]NUMBER[,ARGUMENT…]`, decimal or with 0x.
struct Call {
    narrow: bool,
    number: u64,
    arguments: [u64; 6],
}

fn parse(spec: &str) -> Option<Call> {
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    let (narrow, rest) = spec.strip_prefix("i386:").map_or((false, spec), |rest| (true, rest));
    let mut words = rest.split(',').map(number);
    let called = words.next()??;
    let mut arguments = [0; 6];
    for (argument, word) in arguments.iter_mut().zip(words) {
        *argument = word?;
    }
    Some(Call { narrow, number: called, arguments })
}

/// Each call's value, or the number of its error.
pub(crate) fn calls(specs: &[&str]) -> Value {
    let answer = |spec: &&str| match parse(spec).map(|call| make(&call)) {
        Some(Ok(value)) => json!({ "value": value }),
        Some(Err(errno)) => json!({ "errno": errno }),
        None => json!({ "error": "not [i386:]NUMBER[,ARGUMENT…]" }),
    };
    specs.iter().map(answer).collect()
}

fn make(call: &Call) -> Result<i64, i32> {
    if call.narrow {
        return make_narrow(call);
    }
    let [a, b, c, d, e, f] = call.arguments;
    let number = libc::c_long::try_from(call.number).unwrap_or(-1);
    // SAFETY: the caller that asks for a call by number answers for it; tests ask for those that touch no
    // memory of this process.
    let value = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if value == -1 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(value) }
}

/// By the door of 32-bit programs, which 64-bit ones can use, too; with five arguments.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_possible_truncation, reason = "the registers have 32 bits")]
fn make_narrow(call: &Call) -> Result<i64, i32> {
    let [a, b, c, d, e, _] = call.arguments.map(|argument| argument as u32);
    let value: i32;
    // SAFETY: as above; ebx is restored, which the compiler may use, and what the kernel may
    // change on its way is declared.
    unsafe {
        std::arch::asm!(
            "mov {saved}, rbx",
            "mov ebx, {a:e}",
            "int 0x80",
            "mov rbx, {saved}",
            saved = out(reg) _,
            a = in(reg) a,
            inlateout("eax") call.number as u32 => value,
            in("ecx") b, in("edx") c, in("esi") d, in("edi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&value) { Err(-value) } else { Ok(value.into()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn make_narrow(_: &Call) -> Result<i64, i32> {
    Err(libc::ENOSYS)
}

/// Makes a call in a thread of its own, which may not live to tell.
pub(crate) fn in_thread(spec: &str) {
    let spec = spec.to_owned();
    std::thread::spawn(move || println!("{}", calls(&[&spec])));
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let patience = Instant::now() + Duration::from_secs(10);
    while threads() > 1 && Instant::now() < patience {
        std::thread::yield_now();
    }
    println!("{} thread goes on", threads());
}

/// The first thread ends, by which the process looks like a zombie; another one waits as `sleep`.
pub(crate) fn thread_stays() {
    std::thread::spawn(|| {
        crate::act::sleep();
        std::process::exit(0);
    });
    // SAFETY: this thread's stack has nothing that another one uses.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
