//! What did one command cost?

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::error::{At as _, Context as _, Interrupted, Result, bail};
use crate::orphans::TIMEOUT;
use crate::workdir::Workdir;

/// An interrupt is an error like any other, so that what was made is removed.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    pub(crate) fn block() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().at("block signals")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).at("signalfd")?;
        Ok(Self(signals))
    }
}

/// The runtime's own process and those it waited for; of the peak, the largest of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
    /// Never under that of `floor time`, which a new process inherits: some 0.7 MB.
    pub(crate) peak_mb: f64,
}

/// Runs `command` by way of `floor time`.
///
/// # Errors
/// It exits other than with 0, it hangs, or we were interrupted.
pub(crate) fn measure(place: &Workdir, signals: &Signals, command: &[OsString]) -> Result<Cost> {
    let stderr = place.path("stderr");
    let child = Command::new(place.path("bin/floor"))
        .arg("time")
        .arg(&stderr)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .at("floor time")?;
    let answer = finish(child, signals)?;
    let numbers: Vec<f64> = answer.split(' ').flat_map(str::parse).collect();
    let [wall_ns, cpu_us, peak_kb, code] = numbers[..] else {
        bail!("floor time: no figures, but {answer:?}");
    };
    if code != 0.0 {
        let text = fs::read_to_string(&stderr).unwrap_or_default();
        let line = text.trim().lines().last().unwrap_or("it said nothing");
        bail!("exit code {code}: {line}");
    }
    Ok(Cost { wall_ms: wall_ns / 1e6, cpu_ms: cpu_us / 1e3, peak_mb: peak_kb * 1024.0 / 1e6 })
}

/// What a command prints.
///
/// # Errors
/// It cannot be executed, it hangs, or we were interrupted.
pub(crate) fn output(signals: &Signals, command: &[OsString]) -> Result<String> {
    let (program, args) = command.split_first().context("no command")?;
    let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn();
    finish(child.at(program.to_string_lossy())?, signals)
}

fn finish(mut child: Child, signals: &Signals) -> Result<String> {
    let group = i32::try_from(child.id()).map(Pid::from_raw).at("pid")?;
    let mut answer = String::new();
    let answered = wait_for_answer(&mut child, signals, &mut answer);
    if answered.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
    }
    child.wait().at("floor time")?;
    answered.map(|()| answer)
}

fn wait_for_answer(child: &mut Child, signals: &Signals, answer: &mut String) -> Result<()> {
    let mut output = child.stdout.take().context("floor time: no output")?;
    let mut sources =
        [PollFd::new(output.as_fd(), PollFlags::POLLIN), PollFd::new(signals.0.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(TIMEOUT).at("timeout")?;
    let ready = poll(&mut sources, timeout).at("poll")?;
    if sources[1].any() == Some(true) {
        return Err(Interrupted.into());
    }
    if ready == 0 {
        bail!("no end after {} s", TIMEOUT.as_secs());
    }
    output.read_to_string(answer).at("floor time").map(drop)
}

pub(crate) fn pid_file(place: &Workdir, name: &str) -> PathBuf {
    place.path(&format!("{name}.pid"))
}

/// The first process of container `name`, in our pid namespace.
pub(crate) fn pid(place: &Workdir, name: &str) -> Result<i32> {
    let path = pid_file(place, name);
    let text = fs::read_to_string(&path).at(path.display())?;
    text.trim().parse().at(path.display())
}

/// The proportional set size of a process: pages it shares count in parts.
pub(crate) fn pss_mb(pid: i32) -> Result<f64> {
    let rollup = Process::new(pid).and_then(|process| process.smaps_rollup()).at(format!("smaps_rollup of {pid}"))?;
    let mapping = rollup.memory_map_rollup.0.first().with_context(|| format!("smaps_rollup of {pid}: it is empty"))?;
    let bytes = *mapping.extension.map.get("Pss").with_context(|| format!("smaps_rollup of {pid}: no Pss"))?;
    Ok(u32::try_from(bytes / 1024).map(f64::from).at("Pss")? * 1024.0 / 1e6)
}
