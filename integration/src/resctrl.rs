//! What would a machine with cache and bandwidth control answer?
//!
//! A stand-in for the kernel's resctrl file system, because few machines have the hardware: a FUSE
//! file system (linux/fuse.h) with the same directories and rules (Linux resctrl.rst). A new group
//! has its files at once, `rmdir` takes a group with all that is in it, refusals have their errno
//! and their line in `info/last_cmd_status`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::temp::TempDir;

/// A mounted stand-in; unmounted when it leaves scope.
#[derive(Debug)]
pub struct Resctrl {
    dir: TempDir,
    tree: Arc<Mutex<Tree>>,
}

impl Resctrl {
    /// One with L3 and MB on two domains, and room for `groups` groups of control and as many of
    /// monitoring besides the default ones. `None` on a machine without FUSE.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn mount(groups: usize) -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let dir = TempDir::new();
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let options = CString::new(options).expect("mount options");
        rustix::mount::mount("resctrl", dir.path(), "fuse", MountFlags::empty(), &*options).expect("a FUSE mount");
        let tree = Arc::new(Mutex::new(Tree::new(groups)));
        let served = Arc::clone(&tree);
        // Ends when the mount does.
        std::thread::spawn(move || serve(&device, &served));
        Some(Self { dir, tree })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("the tree")
    }

    /// The groups, below the mount: `web`, `web/mon_groups/a`.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.tree().groups.keys().filter(|name| !name.is_empty()).cloned().collect()
    }

    /// The processes of a group; the default group is "".
    #[must_use]
    pub fn tasks(&self, group: &str) -> Vec<i32> {
        self.tree().groups.get(group).map(|group| group.tasks.iter().copied().collect()).unwrap_or_default()
    }

    /// All that was written to files `schemata`, and to which groups, one entry a write(2).
    #[must_use]
    pub fn written(&self) -> Vec<(String, String)> {
        self.tree().written.clone()
    }
}

impl Drop for Resctrl {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.dir.path(), UnmountFlags::DETACH);
    }
}

type Schemata = BTreeMap<String, BTreeMap<u32, u64>>;

#[derive(Debug, Default)]
struct Group {
    tasks: BTreeSet<i32>,
    schemata: Schemata,
}

/// The directories and files, by their paths below the mount.
#[derive(Debug)]
struct Tree {
    /// Groups of control and of monitoring: a name with a slash is one of monitoring.
    groups: BTreeMap<String, Group>,
    room: usize,
    status: String,
    written: Vec<(String, String)>,
    /// Node N is the path at N - 1.
    nodes: Vec<PathBuf>,
}

/// What stands at a path.
enum Found {
    Directory,
    File(String),
}

fn full() -> Schemata {
    let of = |name: &str, value: u64| (name.to_owned(), BTreeMap::from([(0, value), (1, value)]));
    BTreeMap::from([of("L3", 0x7ff), of("MB", 100)])
}

/// The group that a path is in or below, and the rest: `web/mon_groups/a/tasks`, `web/tasks`.
fn split(path: &Path) -> (String, String) {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let at = match parts.iter().position(|part| part == "mon_groups") {
        Some(at) if parts.len() > at + 1 => at + 2,
        Some(at) => at,
        None => usize::from(parts.len() > 1 || !["tasks", "schemata", ""].contains(&&*parts.concat())),
    };
    (parts.get(..at).unwrap_or_default().join("/"), parts.get(at..).unwrap_or_default().join("/"))
}

impl Tree {
    fn new(room: usize) -> Self {
        let default = Group { tasks: BTreeSet::new(), schemata: full() };
        let groups = BTreeMap::from([(String::new(), default)]);
        Self { groups, room, status: "ok".to_owned(), written: Vec::new(), nodes: vec![PathBuf::new()] }
    }

    fn find(&self, path: &Path) -> Option<Found> {
        match path.to_str()? {
            "" | "info" | "info/MB" => return Some(Found::Directory),
            "info/last_cmd_status" => return Some(Found::File(format!("{}\n", self.status))),
            "info/MB/bandwidth_gran" => return Some(Found::File("10\n".to_owned())),
            _ => {}
        }
        let (name, rest) = split(path);
        let group = self.groups.get(&name)?;
        let is_monitor = name.contains("mon_groups");
        match rest.as_str() {
            "" => Some(Found::Directory),
            "mon_groups" if !is_monitor => Some(Found::Directory),
            "tasks" => Some(Found::File(group.tasks.iter().map(|pid| format!("{pid}\n")).collect())),
            "schemata" if !is_monitor => Some(Found::File(print(&group.schemata))),
            _ => None,
        }
    }

    fn refuse(&mut self, errno: Errno, status: &str) -> Errno {
        status.clone_into(&mut self.status);
        errno
    }

    fn mkdir(&mut self, path: &Path) -> Result<(), Errno> {
        if self.find(path).is_some() {
            return Err(Errno::EXIST);
        }
        let name = path.to_string_lossy().into_owned();
        let is_monitor = path.parent().is_some_and(|parent| parent.ends_with("mon_groups"));
        if !is_monitor && name.contains('/') {
            return Err(Errno::PERM);
        }
        let like_it = self.groups.keys().filter(|other| !other.is_empty());
        if like_it.filter(|other| other.contains('/') == is_monitor).count() >= self.room {
            return Err(self.refuse(Errno::NOSPC, if is_monitor { "Out of RMIDs" } else { "Out of CLOSIDs" }));
        }
        self.groups.insert(name, Group { tasks: BTreeSet::new(), schemata: full() });
        Ok(())
    }

    fn rmdir(&mut self, path: &Path) -> Result<(), Errno> {
        let name = path.to_string_lossy().into_owned();
        let gone = self.groups.remove(&name).filter(|_| !name.is_empty()).ok_or(Errno::PERM)?;
        if !name.contains('/') {
            self.groups.retain(|other, _| !other.starts_with(&format!("{name}/")));
            self.groups.entry(String::new()).or_default().tasks.extend(gone.tasks);
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, text: &str) -> Result<(), Errno> {
        let (name, file) = split(path);
        match file.as_str() {
            "tasks" => self.add(&name, text.trim()),
            "schemata" => {
                self.written.push((name.clone(), text.to_owned()));
                let granted = self.groups.get(&name).map(|group| group.schemata.clone()).unwrap_or_default();
                let changed = change(granted, text).map_err(|status| self.refuse(Errno::INVAL, &status))?;
                self.groups.entry(name).or_default().schemata = changed;
                Ok(())
            }
            _ => Err(Errno::ACCESS),
        }
    }

    fn add(&mut self, name: &str, pid: &str) -> Result<(), Errno> {
        let pid: i32 = pid.parse().map_err(|_| Errno::INVAL)?;
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return Err(self.refuse(Errno::SRCH, &format!("No task {pid}")));
        }
        let control = name.split_once("mon_groups").map(|(control, _)| control.trim_end_matches('/').to_owned());
        match control {
            Some(control) if !self.groups.get(&control).is_some_and(|group| group.tasks.contains(&pid)) => {
                return Err(self.refuse(Errno::INVAL, "Can't move task to different control group"));
            }
            Some(_) => {}
            None => self.groups.values_mut().for_each(|group| {
                let _ = group.tasks.remove(&pid);
            }),
        }
        self.groups.entry(name.to_owned()).or_default().tasks.insert(pid);
        Ok(())
    }

    fn node(&mut self, path: PathBuf) -> u64 {
        let at = self.nodes.iter().position(|node| *node == path).unwrap_or_else(|| {
            self.nodes.push(path);
            self.nodes.len() - 1
        });
        at as u64 + 1
    }
}

/// As the kernel prints it: names padded to the longest, decimal bandwidths, hexadecimal masks.
fn print(schemata: &Schemata) -> String {
    let line = |(name, domains): (&String, &BTreeMap<u32, u64>)| {
        let value = |(domain, value): (&u32, &u64)| {
            if name == "MB" { format!("{domain}={value:4}") } else { format!("{domain}={value:x}") }
        };
        format!("{name:>6}:{}\n", domains.iter().map(value).collect::<Vec<_>>().join(";"))
    };
    schemata.iter().map(line).collect()
}

/// As the kernel reads it: all of a write or nothing, no domain twice in one write.
fn change(mut schemata: Schemata, text: &str) -> Result<Schemata, String> {
    let text = text.strip_suffix('\n').ok_or("no newline")?;
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let (name, domains) = line.split_once(':').ok_or("Missing ':'")?;
        let known = schemata.get_mut(name).ok_or(format!("Unknown or unsupported resource name '{name}'"))?;
        for part in domains.split(';') {
            let (domain, value) = part.split_once('=').ok_or("Missing '=' or non-numeric domain")?;
            let domain: u32 = domain.parse().map_err(|_| "Missing '=' or non-numeric domain")?;
            let value = u64::from_str_radix(value, if name == "MB" { 10 } else { 16 });
            let value = value.map_err(|_| format!("Non-{} character in the mask {part}", "hex"))?;
            let value = if name == "MB" { value.next_multiple_of(10) } else { value };
            if !seen.insert((name.to_owned(), domain)) {
                return Err(format!("Duplicate domain {domain}"));
            }
            *known.get_mut(&domain).ok_or(format!("Unknown domain {domain}"))? = value;
        }
    }
    Ok(schemata)
}

// --- FUSE -------------------------------------------------------------------------------------------

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const MKDIR: u32 = 9;
const RMDIR: u32 = 11;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// A request of the kernel: header and body.
struct Request<'a> {
    opcode: u32,
    unique: u64,
    path: PathBuf,
    body: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes(b.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |b| u64::from_ne_bytes(b.try_into().expect("eight bytes")))
}

impl Request<'_> {
    /// The path of the name that follows `skip` bytes.
    fn named(&self, skip: usize) -> PathBuf {
        let name = self.body.get(skip..).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
        self.path.join(String::from_utf8_lossy(name).as_ref())
    }
}

fn serve(mut device: &File, tree: &Mutex<Tree>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let got = match device.read(&mut buffer) {
            Ok(got) => got,
            // A request that was taken back.
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let packet = buffer.get(..got).unwrap_or_default();
        let mut tree = tree.lock().expect("the tree");
        let node = usize::try_from(u64_at(packet, 16)).unwrap_or(0);
        let request = Request {
            opcode: u32_at(packet, 4),
            unique: u64_at(packet, 8),
            path: tree.nodes.get(node.wrapping_sub(1)).cloned().unwrap_or_default(),
            body: packet.get(40..).unwrap_or_default(),
        };
        if [FORGET, BATCH_FORGET, INTERRUPT].contains(&request.opcode) {
            continue;
        }
        let (error, body) = match answer(&mut tree, &request) {
            Ok(body) => (0, body),
            Err(errno) => (-errno.raw_os_error(), Vec::new()),
        };
        drop(tree);
        let length = u32::try_from(16 + body.len()).expect("a short answer");
        let head = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &request.unique.to_ne_bytes()].concat();
        let _ = device.write(&[head, body].concat());
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct fuse_attr`
fn attributes(node: u64, found: &Found) -> Vec<u8> {
    let mode = match found {
        Found::Directory => 0o040_755,
        Found::File(_) => 0o100_644,
    };
    let mut attr = node.to_ne_bytes().to_vec();
    attr.resize(48, 0);
    attr.extend(words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]));
    attr
}

fn entry(tree: &mut Tree, path: PathBuf) -> Result<Vec<u8>, Errno> {
    let found = tree.find(&path).ok_or(Errno::NOENT)?;
    let node = tree.node(path);
    // No generation, no time for which the kernel may remember it.
    let mut entry = node.to_ne_bytes().to_vec();
    entry.resize(40, 0);
    entry.extend(attributes(node, &found));
    Ok(entry)
}

fn answer(tree: &mut Tree, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
    match request.opcode {
        INIT => {
            // Protocol 7.31 without any of its options; 4 KiB a write, as with the kernel's files.
            let mut out = words(&[7, 31, 0, 0, 0, 4096, 1]);
            out.resize(64, 0);
            Ok(out)
        }
        LOOKUP => entry(tree, request.named(0)),
        GETATTR => {
            let found = tree.find(&request.path).ok_or(Errno::NOENT)?;
            let node = tree.node(request.path.clone());
            Ok([vec![0; 16], attributes(node, &found)].concat())
        }
        MKDIR => {
            let path = request.named(8);
            tree.mkdir(&path)?;
            entry(tree, path)
        }
        RMDIR => tree.rmdir(&request.named(0)).map(|()| Vec::new()),
        // FOPEN_DIRECT_IO: every read and write comes here.
        OPEN => tree.find(&request.path).map(|_| words(&[0, 0, 1, 0])).ok_or(Errno::NOENT),
        OPENDIR => Ok(words(&[0; 4])),
        READ => match tree.find(&request.path).ok_or(Errno::NOENT)? {
            Found::File(text) => {
                let (from, size) = (u64_at(request.body, 8), u32_at(request.body, 16));
                let rest = text.into_bytes().into_iter().skip(usize::try_from(from).unwrap_or(usize::MAX));
                Ok(rest.take(usize::try_from(size).unwrap_or(0)).collect())
            }
            Found::Directory => Err(Errno::ISDIR),
        },
        WRITE => {
            let text = String::from_utf8_lossy(request.body.get(40..).unwrap_or_default()).into_owned();
            "ok".clone_into(&mut tree.status);
            tree.write(&request.path, &text)?;
            Ok(words(&[u32::try_from(text.len()).unwrap_or(0), 0]))
        }
        STATFS => Ok(vec![0; 80]),
        READDIR | RELEASE | RELEASEDIR | FLUSH => Ok(Vec::new()),
        _ => Err(Errno::NOSYS),
    }
}
