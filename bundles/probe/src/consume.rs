//! What happens to a program that wants more than it may have?

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::{act, facts};

const PAGE: usize = 4096;

/// Every page is written to.
pub(crate) fn memory(bytes: usize) {
    let mut eaten = vec![0u8; bytes];
    for page in eaten.chunks_mut(PAGE) {
        page[0] = 1;
    }
    act::sleep();
    drop(eaten);
}

/// The children wait, and are killed at the end.
pub(crate) fn forks(most: u32) -> Value {
    let myself = std::env::args_os().next().unwrap_or_default();
    let mut children = Vec::new();
    let mut error = None;
    while children.len() < usize::try_from(most).unwrap_or(usize::MAX) {
        match Command::new(&myself).arg("sleep").stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(refusal) => {
                error = Some(facts::errno(refusal));
                break;
            }
        }
    }
    let forked = children.len();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    json!({ "forked": forked, "error": error })
}

/// Contexts of an RDMA device, each of which is a handle of it, until `most` are open or it is refused.
pub(crate) fn rdma(path: &str, most: usize) -> Value {
    let answer = AtomicU64::new(0);
    let address = u64::try_from(answer.as_ptr().expose_provenance()).unwrap_or(0);
    // linux/rdma/ib_user_verbs.h: IB_USER_VERBS_CMD_GET_CONTEXT, its length and that of its answer in words
    // of four bytes, and where the answer is to be.
    let command = [&0u32.to_ne_bytes()[..], &4u16.to_ne_bytes(), &2u16.to_ne_bytes(), &address.to_ne_bytes()].concat();
    let mut contexts = Vec::new();
    let mut error = None;
    while contexts.len() < most {
        let open = fs::File::options().read(true).write(true).open(path);
        match open.and_then(|mut device| io::Write::write(&mut device, &command).map(|_| device)) {
            Ok(device) => contexts.push(device),
            Err(refusal) => {
                error = Some(facts::errno(refusal));
                break;
            }
        }
    }
    json!({ "contexts": contexts.len(), "error": error })
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

pub(crate) fn cpu(milliseconds: u64) -> Value {
    let (start, before) = (Instant::now(), cpu_time());
    let end = Duration::from_millis(milliseconds);
    while start.elapsed() < end {
        std::hint::spin_loop();
    }
    let used = cpu_time().saturating_sub(before);
    json!({ "wall_us": us(start.elapsed()), "cpu_us": us(used) })
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// O_DIRECT, 64 KiB at a time; reads, or writes zeros.
pub(crate) fn device(path: &str, bytes: usize, write: bool) -> Value {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    let file = match fs::OpenOptions::new().read(!write).write(write).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) => return json!({ "error": facts::errno(error) }),
    };
    let mut room = vec![0u8; 65_536 + PAGE];
    let first = room.as_ptr().align_offset(PAGE);
    let buffer = &mut room[first..first + 65_536];
    let start = Instant::now();
    let mut done = 0;
    while done < bytes {
        let result = if write { io::Write::write(&mut &file, buffer) } else { io::Read::read(&mut &file, buffer) };
        match result {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) => return json!({ "error": facts::errno(error) }),
        }
    }
    json!({ "bytes": done, "us": us(start.elapsed()) })
}

pub(crate) fn allocate(path: &str, bytes: u64) -> Value {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    act::outcome(file.and_then(|file| Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)?)))
}
