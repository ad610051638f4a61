//! One small act each, and what came of it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

use crate::facts;

/// `{"ok": true}`, or the errno's name.
pub(crate) fn outcome<T>(result: Result<T, impl Into<io::Error>>) -> Value {
    match result {
        Ok(_) => json!({ "ok": true }),
        Err(error) => json!({ "error": facts::errno(error) }),
    }
}

fn ready() {
    println!("ready");
    // A reader that has gone away is no reason to stop.
    let _ = io::stdout().flush();
}

/// Blocks every signal *before* saying "ready", so that none can be lost between the two.
fn block_all() -> SigSet {
    let all = SigSet::all();
    if let Err(error) = all.thread_block() {
        eprintln!("sigprocmask: {error:?}");
    }
    all
}

/// Says "ready", then waits for SIGTERM; pid 1 has no default action, so it must ask for it.
pub(crate) fn sleep() {
    let all = block_all();
    ready();
    loop {
        match all.wait() {
            Ok(Signal::SIGTERM) => return,
            // Any orphan becomes ours when we are pid 1.
            Ok(Signal::SIGCHLD) => {
                while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
            }
            _ => {}
        }
    }
}

pub(crate) fn signal_report() {
    let all = block_all();
    ready();
    loop {
        let Ok(signal) = all.wait() else { continue };
        println!("{signal:?} {}", signal as i32);
        let _ = io::stdout().flush();
        if signal == Signal::SIGTERM {
            return;
        }
    }
}

pub(crate) fn winsize() {
    let all = block_all();
    ready();
    loop {
        match all.wait() {
            Ok(Signal::SIGWINCH) => {}
            Ok(Signal::SIGTERM) => return,
            _ => continue,
        }
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
            println!("{}x{}", size.ws_row, size.ws_col);
            let _ = io::stdout().flush();
        }
    }
}

/// Dies of a signal; as pid 1, where it is ignored, leaves with 0 and a word about it.
pub(crate) fn die(signal: &str) -> ExitCode {
    let number: i32 = signal.parse().unwrap_or(0);
    let Ok(signal) = Signal::try_from(number) else {
        return ExitCode::from(2);
    };
    if let Err(error) = nix::sys::signal::raise(signal) {
        eprintln!("raise: {error:?}");
    }
    eprintln!("survived {signal:?}");
    ExitCode::SUCCESS
}

pub(crate) fn cat() -> ExitCode {
    match io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cat: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn read(path: &str) -> Value {
    match fs::read(path) {
        Ok(bytes) => json!({ "text": String::from_utf8_lossy(&bytes) }),
        Err(error) => json!({ "error": facts::errno(error) }),
    }
}

pub(crate) fn write(path: &str, text: &str, append: bool) -> Value {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).append(append).open(path);
    outcome(file.and_then(|mut file| file.write_all(text.as_bytes())))
}

pub(crate) fn mkdir(path: &str) -> Value {
    outcome(fs::create_dir(path))
}

pub(crate) fn remove(path: &str) -> Value {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    outcome(if is_dir { fs::remove_dir(path) } else { fs::remove_file(path) })
}

pub(crate) fn chmod(mode: &str, path: &str) -> Value {
    let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
    outcome(fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)))
}

pub(crate) fn chroot(path: &str) -> Value {
    outcome(rustix::process::chroot(path))
}

pub(crate) fn set_host_name(name: &str) -> Value {
    outcome(rustix::system::sethostname(name.as_bytes()))
}

pub(crate) fn mknod(path: &str, kind: &str, major: &str, minor: &str) -> Value {
    let kind = match kind {
        "c" => rustix::fs::FileType::CharacterDevice,
        "b" => rustix::fs::FileType::BlockDevice,
        _ => rustix::fs::FileType::Fifo,
    };
    let device = rustix::fs::makedev(major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    outcome(rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device))
}

pub(crate) fn mount_tmpfs(path: &str) -> Value {
    outcome(rustix::mount::mount("probe", path, "tmpfs", rustix::mount::MountFlags::empty(), None))
}

pub(crate) fn bind(from: &str, to: &str) -> Value {
    outcome(rustix::mount::mount_bind(from, to))
}

pub(crate) fn unmount(path: &str) -> Value {
    outcome(rustix::mount::unmount(path, rustix::mount::UnmountFlags::empty()))
}

pub(crate) fn remount(path: &str, words: &[&str]) -> Value {
    use rustix::mount::MountFlags;
    let flag = |word: &&str| match *word {
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        _ => MountFlags::empty(),
    };
    let flags = words.iter().map(flag).fold(MountFlags::BIND, |all, flag| all | flag);
    outcome(rustix::mount::mount_remount(path, flags, c""))
}

/// As a container in this one would: what is mounted in either may propagate to the other.
pub(crate) fn nested() {
    if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS) {
        eprintln!("unshare: {error:?}");
    }
    sleep();
}

pub(crate) fn list(path: &str) -> Value {
    match fs::read_dir(path) {
        Ok(_) => json!({ "names": facts::names(path) }),
        Err(error) => json!({ "error": facts::errno(error) }),
    }
}

pub(crate) fn open_dev(path: &str) -> Value {
    let answer = |result: io::Result<fs::File>| match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => facts::errno(error),
    };
    json!({
        "read": answer(fs::OpenOptions::new().read(true).open(path)),
        "write": answer(fs::OpenOptions::new().write(true).open(path)),
    })
}

pub(crate) fn run(path: &str, args: &[&str]) -> Value {
    match Command::new(path).args(args).stdin(Stdio::null()).output() {
        Ok(output) => json!({
            "code": output.status.code(),
            "signal": output.status.signal(),
            "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        }),
        Err(error) => json!({ "error": facts::errno(error) }),
    }
}

/// This program once more. Its path is the first argument: `/proc` may not be there.
fn another(word: &str) -> Option<std::process::Child> {
    let myself = std::env::args_os().next()?;
    let child = Command::new(myself).arg(word).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    child.inspect_err(|error| eprintln!("spawn: {error}")).ok()
}

pub(crate) fn fork_sleep(count: u32) {
    let mut children: Vec<_> = (0..count).filter_map(|_| another("sleep")).collect();
    for child in &mut children {
        // The child's "ready": one line is enough to know it has blocked its signals.
        let mut word = [0; 6];
        let _ = child.stdout.as_mut().map(|out| out.read_exact(&mut word));
    }
    sleep();
}

/// The orphan's exit is ours to notice (we are pid 1), and `sleep` reaps it.
pub(crate) fn zombie() {
    if let Some(mut child) = another("facts") {
        let mut rest = Vec::new();
        // Its stdout ends when it exits; it is not reaped, and so stays a zombie until `sleep`.
        let _ = child.stdout.as_mut().map(|out| out.read_to_end(&mut rest));
    }
    sleep();
}

/// One JSON line: who was called, with what on stdin, and where it found itself.
pub(crate) fn hook(file: &str, tag: &str, status: &str) -> ExitCode {
    let mut stdin = String::new();
    let read = io::stdin().read_to_string(&mut stdin);
    let line = json!({
        "tag": tag,
        "state": serde_json::from_str::<Value>(&stdin).ok(),
        "stdin": stdin,
        "stdin_error": read.err().map(facts::errno),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok(),
        "pid": std::process::id(),
        "uid": rustix::process::getuid().as_raw(),
        "namespaces": facts::namespaces(),
        "root": facts::names("/"),
        "links": facts::links(),
        "mount_count": facts::mounts().map(|m| m.len()),
    });
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    if let Err(error) = opened.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes())) {
        eprintln!("{file}: {error}");
        return ExitCode::from(77);
    }
    if status != "0" {
        eprintln!("hook {tag} fails as asked");
    }
    ExitCode::from(status.parse().unwrap_or(2))
}

pub(crate) fn hook_sleep(file: &str, tag: &str) {
    hook(file, tag, "0");
    loop {
        std::thread::park();
    }
}

/// From here on what is printed goes to the end of a file.
pub(crate) fn print_into(path: &str) -> Option<()> {
    let file = std::fs::File::options().append(true).create(true).open(path).ok()?;
    rustix::stdio::dup2_stdout(file).ok()
}

/// Makes its terminal raw, with what came before thrown away, and reads until there is no more: exit status 7.
pub(crate) fn read_raw() -> ExitCode {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let stdin = rustix::stdio::stdin();
    let Ok(mut modes) = tcgetattr(stdin) else { return ExitCode::from(2) };
    modes.make_raw();
    if tcsetattr(stdin, OptionalActions::Flush, &modes).is_err() {
        return ExitCode::from(2);
    }
    while !matches!(rustix::io::read(stdin, &mut [0u8; 64]), Ok(0) | Err(rustix::io::Errno::IO)) {}
    ExitCode::from(7)
}

/// Writes lines until it cannot.
pub(crate) fn babble() {
    while writeln!(io::stdout(), "a line").is_ok() {}
}

/// Writes numbered lines for ever, fifty a second.
pub(crate) fn count() {
    for number in 1u64.. {
        println!("{number}");
        let _ = io::stdout().flush();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// So many threads; each SIGUSR1 asks all, and prints how many have answered how often. SIGTERM ends it.
pub(crate) fn threads(count: usize) {
    use std::sync::mpsc::{Sender, channel};
    let all = block_all();
    let askers: Vec<Sender<Sender<u32>>> = (0..count)
        .map(|_| {
            let (asker, asked) = channel::<Sender<u32>>();
            std::thread::spawn(move || {
                for (turn, answer) in (1..).zip(asked) {
                    let _ = answer.send(turn);
                }
            });
            asker
        })
        .collect();
    ready();
    while let Ok(signal) = all.wait() {
        match signal {
            Signal::SIGTERM => return,
            Signal::SIGUSR1 => {
                let (answer, answers) = channel();
                askers.iter().for_each(|asker| drop(asker.send(answer.clone())));
                drop(answer);
                let turns: Vec<u32> = answers.iter().collect();
                println!("{} threads, turn {}", turns.len(), turns.iter().min().unwrap_or(&0));
                let _ = io::stdout().flush();
            }
            _ => {}
        }
    }
}

/// Both ends of a TCP connection; each SIGUSR1 sends a number over it and back. SIGTERM ends it.
pub(crate) fn tcp_pair() -> io::Result<()> {
    use std::net::{TcpListener, TcpStream};
    let all = block_all();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    ready();
    for turn in 1u32.. {
        loop {
            match all.wait() {
                Ok(Signal::SIGTERM) => return Ok(()),
                Ok(Signal::SIGUSR1) => break,
                _ => {}
            }
        }
        let mut bytes = [0; 4];
        client.write_all(&turn.to_be_bytes())?;
        server.read_exact(&mut bytes)?;
        server.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
        println!("sent and received {}", u32::from_be_bytes(bytes));
        io::stdout().flush()?;
    }
    Ok(())
}
