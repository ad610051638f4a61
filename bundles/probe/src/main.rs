//! `probe` runs inside a container and prints facts; the tests on the outside judge them.
//!
//! It runs in root file systems that hold nothing else, so it is linked statically and answers under many names.
//! `probe facts` prints one JSON object, every other word does one small thing and prints what came of it. What
//! cannot be learnt (no `/proc`, say) is `null`, never a failure.

mod act;
mod attack;
mod call;
mod confinement;
mod consume;
mod facts;
mod hello;
mod outside;
mod sys;

use std::process::ExitCode;

const USAGE: &str = "\
usage: probe [WORD [ARGUMENT…]]

  facts [SYSCTL…]             everything known about this process, as one JSON object (default)
  confinement NAME [stay]     what holds this process, as one JSON line; then as `sleep`
  hello                       the same for people, in a few lines

  exit N                      leave with status N
  die SIGNAL                  die of the signal with this number
  sleep                       print \"ready\", wait for SIGTERM
  signal-report               print \"ready\", then the number of every signal; SIGTERM ends it
  cat                         copy stdin to stdout
  read-raw                    make the terminal raw, read to the end, leave with status 7
  babble                      write lines until that fails
  length [WORD…]              the number of bytes of each word
  print TEXT / eprint TEXT    one line to stdout / stderr
  winsize                     print \"ready\", then the terminal's size after each SIGWINCH

  read PATH                   {\"text\"} or {\"error\"}
  write PATH TEXT             {\"ok\"} or {\"error\"}; creates, never truncates; likewise the next ones
  append PATH TEXT / mkdir PATH / remove PATH / chmod MODE PATH / chroot PATH / sethostname NAME
  mknod PATH c|b|p MAJOR MINOR
  mount-tmpfs PATH / bind PATH PATH / unmount PATH
  remount PATH [ro|nosuid|nodev|noexec]…   a mount's own attributes, those and no others
  list PATH                   the names in a directory
  stat PATH…                  one object per path, links not followed
  open-dev PATH               what open(2) answers for reading and for writing
  run PATH [ARGUMENT…]        execute another program, print how it ended

  nested                      a new mount namespace, then as `sleep`
  calls [i386:]NUMBER[,ARGUMENT…]…   what system calls answer: {\"value\"} or {\"errno\"} of each
  call-in-thread CALL         the same in a thread of its own, then whether the first one goes on

  thread-stays                the first thread ends, another one goes on as `sleep`

  count                       numbered lines, fifty a second
  threads N                   so many threads; SIGUSR1 asks all of them
  tcp-pair                    both ends of a connection; SIGUSR1 sends a number over it and back

  fork-sleep N                N children that sleep too, then as `sleep`
  zombie                      leave an orphan that exits at once, then as `sleep`
  into FILE WORD [ARGUMENT…]  do that, and write to the end of FILE what it prints

  hook FILE TAG [STATUS]      append {tag, state from stdin, facts} to FILE, leave with STATUS
  hook-sleep FILE TAG         append as `hook`, then never end

  eat BYTES                   use so much memory, then as `sleep`
  forks N                     fork until refused, at most N times: {\"forked\", \"error\"}
  rdma-contexts PATH N        open contexts of an RDMA device until refused, at most N: {\"contexts\", \"error\"}
  burn MILLISECONDS           use the CPU for so long: {\"wall_us\", \"cpu_us\"}
  read-direct PATH BYTES      read past the page cache: {\"bytes\", \"us\"}
  write-direct PATH BYTES     write past the page cache: the same
  allocate PATH BYTES         fallocate(2)

  left PATH…                  outside containers: files below, mounts, processes, as one JSON object
  console SOCKET              outside containers: receive a terminal's master, print what comes out of it
  pty PROGRAM [ARGUMENT…]     outside containers: run a program on a new terminal, print what comes out of it

  attack-exe N                find the runtime's program in /proc N times and write to it
  attack-exchange A B         exchange two names for ever
  attack-mount TARGET         mount a procfs and unmount it for ever
  attack-escape CANARY        look for a way to the host's CANARY file by every known door
  attack-doors CANARY         the same in every process that shows up, for ever
  attack-fresh                a procfs, then a sysfs, in namespaces of its own: what it shows of what is masked here
  attack-trace                trace every process that shows up, for ever";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if args.len() > 2 && args[0] == "into" {
        if act::print_into(&args[1]).is_none() {
            return ExitCode::from(2);
        }
        args.drain(..2);
    }
    let word = args.first().map_or("facts", String::as_str);
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match (word, rest.as_slice()) {
        ("facts", sysctls) => print_json(&facts::all(sysctls)),
        ("confinement", [name]) => print_json(&confinement::all(name)),
        ("confinement", [name, "stay"]) => {
            print_json(&confinement::all(name));
            act::sleep();
        }
        ("hello", []) => print!("{}", hello::text()),
        ("exit", [status]) => return ExitCode::from(status.parse().unwrap_or(2)),
        ("die", [signal]) => return act::die(signal),
        ("sleep", []) => act::sleep(),
        ("signal-report", []) => act::signal_report(),
        ("winsize", []) => act::winsize(),
        ("cat", []) => return act::cat(),
        ("read-raw", []) => return act::read_raw(),
        ("babble", []) => act::babble(),
        ("length", _) => std::env::args_os().skip(2).for_each(|word| println!("{}", word.len())),
        ("print", [text]) => println!("{text}"),
        ("eprint", [text]) => eprintln!("{text}"),
        ("read", [path]) => print_json(&act::read(path)),
        ("write", [path, text]) => print_json(&act::write(path, text, false)),
        ("append", [path, text]) => print_json(&act::write(path, text, true)),
        ("mkdir", [path]) => print_json(&act::mkdir(path)),
        ("remove", [path]) => print_json(&act::remove(path)),
        ("chmod", [mode, path]) => print_json(&act::chmod(mode, path)),
        ("chroot", [path]) => print_json(&act::chroot(path)),
        ("sethostname", [name]) => print_json(&act::set_host_name(name)),
        ("mknod", [path, kind, major, minor]) => print_json(&act::mknod(path, kind, major, minor)),
        ("mount-tmpfs", [path]) => print_json(&act::mount_tmpfs(path)),
        ("bind", [from, to]) => print_json(&act::bind(from, to)),
        ("unmount", [path]) => print_json(&act::unmount(path)),
        ("remount", [path, words @ ..]) => print_json(&act::remount(path, words)),
        ("list", [path]) => print_json(&act::list(path)),
        ("stat", paths) => paths.iter().for_each(|path| print_json(&facts::stat(path))),
        ("open-dev", [path]) => print_json(&act::open_dev(path)),
        ("run", [path, args @ ..]) => print_json(&act::run(path, args)),
        ("nested", []) => act::nested(),
        ("calls", calls) => print_json(&call::calls(calls)),
        ("call-in-thread", [call]) => call::in_thread(call),
        ("thread-stays", []) => call::thread_stays(),
        ("count", []) => act::count(),
        ("threads", [count]) => act::threads(count.parse().unwrap_or(1)),
        ("tcp-pair", []) => {
            if let Err(error) = act::tcp_pair() {
                eprintln!("tcp-pair: {error}");
                return ExitCode::FAILURE;
            }
        }
        ("fork-sleep", [count]) => act::fork_sleep(count.parse().unwrap_or(1)),
        ("zombie", []) => act::zombie(),
        ("eat", [bytes]) => consume::memory(bytes.parse().unwrap_or(0)),
        ("forks", [most]) => print_json(&consume::forks(most.parse().unwrap_or(0))),
        ("rdma-contexts", [path, most]) => print_json(&consume::rdma(path, most.parse().unwrap_or(0))),
        ("burn", [ms]) => print_json(&consume::cpu(ms.parse().unwrap_or(0))),
        ("read-direct", [path, bytes]) => print_json(&consume::device(path, bytes.parse().unwrap_or(0), false)),
        ("write-direct", [path, bytes]) => print_json(&consume::device(path, bytes.parse().unwrap_or(0), true)),
        ("allocate", [path, bytes]) => print_json(&consume::allocate(path, bytes.parse().unwrap_or(0))),
        ("hook", [file, tag]) => return act::hook(file, tag, "0"),
        ("hook", [file, tag, status]) => return act::hook(file, tag, status),
        ("hook-sleep", [file, tag]) => act::hook_sleep(file, tag),
        (attack, rest) if attack.starts_with("attack-") => return attack_with(attack, rest),
        (word, rest) => return outside_containers(word, rest),
    }
    ExitCode::SUCCESS
}

/// What attacks.
fn attack_with(word: &str, rest: &[&str]) -> ExitCode {
    match (word, rest) {
        ("attack-exe", [tries]) => attack::exe(tries.parse().unwrap_or(1000)),
        ("attack-exchange", [a, b]) => return attack::exchange(a, b),
        ("attack-mount", [target]) => return attack::mount(target),
        ("attack-escape", [canary]) => print_json(&attack::escape(canary)),
        ("attack-doors", [canary]) => attack::doors(canary),
        ("attack-fresh", []) => attack::fresh(),
        ("attack-fresh-mounts", []) => print_json(&attack::fresh_mounts()),
        ("attack-trace", []) => attack::trace(),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

/// What does not run in a container, but next to some.
fn outside_containers(word: &str, rest: &[&str]) -> ExitCode {
    match (word, rest) {
        ("left", paths) => print_json(&outside::left(paths)),
        ("console", [socket]) => {
            if let Err(error) = outside::console(socket) {
                eprintln!("console {socket}: {error}");
                return ExitCode::FAILURE;
            }
        }
        ("pty", program @ [_, ..]) => match outside::on_terminal(program) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => {
                eprintln!("pty: {error}");
                return ExitCode::FAILURE;
            }
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn print_json(value: &serde_json::Value) {
    println!("{value}");
}
