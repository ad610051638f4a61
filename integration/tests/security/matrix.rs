//! The confinement matrix (`MATRIX.md`): containers of every combination ask for every property, and what is
//! found inside is compared with that, and with the document. `CLEAT_BLESS=1` writes the document anew.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use integration::matrix::{
    Asked, Cell, Combination, Manager, Matrix, Outcome, Place, Property, Seen, Space, User, Verb, ask, base,
    every_cell, judge, root_of,
};
use integration::shim::{Client, Reply, ShimHost, Streams};
use integration::{
    Bundle, Container, Profiles, Runtime, eventually, has_systemd, in_guest, is_peer, json_lines, not_on_peer, skip,
    unique_name,
};
use serde_json::{Value, json};

use caller::{Caller, cgroup_of, limits};

mod caller;

// --- where ----------------------------------------------------------------------------------------

fn is_looked_at_here(cell: Cell) -> bool {
    match Place::of(cell) {
        Place::Anywhere => !has_systemd(),
        Place::Guest => in_guest() && !has_systemd(),
        Place::GuestWithSystemd => has_systemd(),
    }
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("MATRIX.md")
}

fn written() -> Matrix {
    let text = fs::read_to_string(document()).unwrap_or_default();
    Matrix::of_text(&text).unwrap_or_else(|line| panic!("MATRIX.md: {line}"))
}

fn is_to_be_written() -> bool {
    std::env::var_os("CLEAT_BLESS").is_some()
}

/// No cell is empty, and the document is what is made of its cells.
#[test]
fn the_document_says_something_of_every_combination() {
    if is_to_be_written() {
        skip("it is being written");
    }
    let matrix = written();
    let empty = matrix.empty_cells();
    assert!(empty.is_empty(), "{} cells are empty, such as {:?}", empty.len(), empty.first());
    assert_eq!(fs::read_to_string(document()).expect("MATRIX.md"), matrix.to_text(), "run: make matrix");
}

// --- what -----------------------------------------------------------------------------------------

/// A combination that is looked at.
struct Look<'a> {
    caller: &'a Caller,
    combination: Combination,
    /// A user namespace to join, and its name.
    joined: Option<(PathBuf, String)>,
    /// All that is asked for at first.
    wanted: Asked,
    found: &'a mut BTreeMap<Cell, Outcome>,
    problems: &'a mut Vec<String>,
}

/// What was refused, with the words.
type Refused = BTreeMap<Property, String>;

/// Tries until nothing is refused any more; what was, is not asked for any more.
fn without_refused<T>(
    asked: &mut Asked,
    refused: &mut Refused,
    mut call: impl FnMut(&Asked) -> Result<T, String>,
) -> Result<T, String> {
    loop {
        match call(asked) {
            Ok(made) => return Ok(made),
            // Its warnings come first, and its error last.
            Err(words) => match Property::named_in(words.trim_end().lines().last().unwrap_or_default())
                .filter(|property| asked.properties.remove(property))
            {
                Some(property) => drop(refused.insert(property, words)),
                None => return Err(words),
            },
        }
    }
}

/// A process that was made, or was not.
struct Made<'f> {
    verb: Verb,
    asked: Asked,
    refused: Refused,
    facts: &'f Value,
    first: Option<&'f Value>,
    cgroup: Option<String>,
    warnings: String,
}

impl Look<'_> {
    fn owner(&self) -> u32 {
        root_of(self.combination, self.caller.uid)
    }

    fn base(&self) -> Bundle {
        base(self.combination, self.caller.uid, self.joined.as_ref().map(|(path, _)| path.as_path()))
    }

    fn bundle(&self, base: Bundle, spec: &Value, asked: &Asked, args: &[&str]) -> Bundle {
        let bundle = base.edit(|now| *now = spec.clone());
        ask(bundle, asked).args(args.iter().copied())
    }

    fn problem(&mut self, verb: Verb, words: &str) {
        self.problems.push(format!("{:?}, {}: {words}", self.combination, verb.text()));
    }

    /// Judges every property that was wanted.
    fn record(&mut self, made: &Made<'_>) {
        for property in self.wanted.properties.clone() {
            let warned = made.warnings.lines().any(|line| Property::named_in(line) == Some(property));
            let seen = Seen {
                combination: self.combination,
                verb: made.verb,
                facts: made.facts,
                callers: &self.caller.namespaces,
                first: made.first,
                joined: self.joined.as_ref().map(|(_, name)| name.as_str()),
                owner: self.owner(),
                cgroups: made.cgroup.clone().map(|cgroup| (cgroup, self.caller.cgroup.clone())),
                warned,
            };
            let outcome = if !self.combination.is_concerned(made.verb, property) {
                Outcome::NotConcerned
            } else if made.refused.contains_key(&property) {
                Outcome::Refused
            } else {
                let judged = judge(property, &made.asked, &seen);
                match (judged, warned && property != Property::Devices) {
                    (_, true) => Outcome::Warned,
                    (Ok(()), _) if warned => Outcome::Warned,
                    (Ok(()), _) => made.verb.holding(property),
                    (Err(words), _) => {
                        self.problem(made.verb, &format!("{}: {words}", property.text()));
                        continue;
                    }
                }
            };
            self.is(made.verb, property, outcome);
        }
    }

    fn is(&mut self, verb: Verb, property: Property, outcome: Outcome) {
        let before = self.found.insert((self.combination, verb, property), outcome);
        if before.is_some_and(|before| before != outcome) {
            let words = format!("{}: {before:?} at first, then {outcome:?}", property.text());
            self.problem(verb, &words);
        }
    }

    fn runtime(&self) -> &Runtime {
        &self.caller.runtime
    }

    /// `run`.
    fn run(&mut self) {
        let (caller, mut asked, mut refused) = (self.caller, self.wanted.clone(), Refused::new());
        let mut bundle = Some(self.base());
        let spec = bundle.as_ref().map(|bundle| bundle.spec().clone()).unwrap_or_default();
        let mut before = 0;
        let made = without_refused(&mut asked, &mut refused, |asked| {
            before = caller.logged();
            let now =
                self.bundle(bundle.take().expect("a bundle"), &spec, asked, &["/probe", "confinement", "run", "stay"]);
            let made = caller.runtime.try_run_detached(&now).map_err(|outcome| outcome.stderr);
            bundle = Some(now);
            made
        });
        match made {
            Err(words) => self.problem(Verb::Run, &words),
            Ok(container) => {
                container.wait_for_line("ready");
                let (facts, warnings) = (facts(&container.stdout(), "run"), caller.warnings(before));
                let cgroup = Some(cgroup_of(&container.pid().to_string()));
                self.record(&Made { verb: Verb::Run, asked, refused, facts: &facts, first: None, cgroup, warnings });
                container.kill_and_delete();
            }
        }
    }

    /// `create` and `start`, with a hook inside, and those that join.
    fn create(&mut self) {
        let (caller, mut asked, mut refused) = (self.caller, self.wanted.clone(), Refused::new());
        let mut bundle = Some(self.base());
        let spec = bundle.as_ref().map(|bundle| bundle.spec().clone()).unwrap_or_default();
        let mut before = 0;
        let made = without_refused(&mut asked, &mut refused, |asked| {
            // What hooks print nobody hears.
            let hook = json!({ "path": "/probe", "args": ["probe", "into", "/volume/hook", "confinement", "hook"] });
            let now = self.bundle(
                bundle.take().expect("a bundle"),
                &spec,
                asked,
                &["/probe", "confinement", "first", "stay"],
            );
            let file = now.dir().join("volume/hook");
            let file = fs::File::options().write(true).create(true).truncate(true).open(file).expect("a file");
            file.set_permissions(fs::Permissions::from_mode(0o666)).expect("chmod");
            let now = now.raw_hook("startContainer", hook);
            before = caller.logged();
            let made = caller.runtime.try_create(&now).map_err(|outcome| outcome.stderr).and_then(|container| {
                let outcome = container.call(["start"]).outcome();
                if outcome.succeeded() { Ok(container) } else { Err(outcome.stderr) }
            });
            bundle = Some(now);
            made
        });
        match made {
            Err(words) => self.problem(Verb::Create, &words),
            Ok(container) => {
                container.wait_for_line("ready");
                let first = facts(&container.stdout(), "first");
                let of_hook = bundle.as_ref().map(|bundle| fs::read_to_string(bundle.dir().join("volume/hook")));
                let hook = (!is_peer()).then(|| facts(&of_hook.expect("a bundle").expect("a file"), "hook"));
                let cgroup = Some(cgroup_of(&container.pid().to_string()));
                let warnings = caller.warnings(before);
                let mut made = Made {
                    verb: Verb::Create,
                    asked: asked.clone(),
                    refused: refused.clone(),
                    facts: &first,
                    first: None,
                    cgroup,
                    warnings: warnings.clone(),
                };
                self.record(&made);
                if let Some(hook) = &hook {
                    (made.verb, made.facts, made.first, made.cgroup) = (Verb::Hook, hook, Some(&first), None);
                    self.record(&made);
                }
                let made = Joining { container: Some(&container), spec, asked, refused, first: &first, warnings };
                self.exec(&made);
                self.exec_process(&made);
                self.audit(&container);
                container.kill_and_delete();
            }
        }
    }

    /// `cleat audit` finds no difference, either.
    fn audit(&mut self, container: &Container<'_>) {
        let outcome = container.call(["audit"]).outcome();
        if !is_peer() && !outcome.succeeded() {
            self.problem(Verb::Create, &format!("cleat audit: {}{}", outcome.stdout, outcome.stderr));
        }
    }

    /// `exec` with options for what the container has not asked for.
    fn exec(&mut self, to: &Joining<'_>) {
        let mut asked = self.wanted.clone();
        // What its container cannot have, and no option gives, is refused with it.
        let mut refused: Refused = to.refused.clone();
        refused.retain(|property, _| ![Property::User, Property::Groups].contains(property));
        asked.properties.retain(|property| !refused.contains_key(property));
        let mut before = 0;
        let outcome = without_refused(&mut asked, &mut refused, |asked| {
            before = self.caller.logged();
            let missing =
                |property: Property| asked.properties.contains(&property) && !to.asked.properties.contains(&property);
            let words = [
                (Property::User, "--user=7:8"),
                (Property::Groups, "--additional-gids=5"),
                (Property::Groups, "--additional-gids=9"),
                (Property::NoNewPrivileges, "--no-new-privs"),
            ];
            let words: Vec<&str> =
                words.iter().filter(|(property, _)| missing(*property)).map(|(_, word)| *word).collect();
            let outcome = to.exec(words, ["/probe", "confinement", "exec"]);
            if outcome.succeeded() { Ok(outcome) } else { Err(outcome.stderr) }
        });
        let warnings = self.caller.warnings(before);
        self.joined(Verb::Exec, to, asked, refused, outcome.map(|outcome| (outcome.stdout, warnings)));
    }

    /// The whole of a process, which may ask for what its container has not.
    fn process(&self, to: &Joining<'_>, asked: &Asked) -> Value {
        let of_process = Asked {
            properties: asked.properties.iter().copied().filter(|property| property.is_of_a_process()).collect(),
            ..asked.clone()
        };
        let bundle = ask(Bundle::empty().edit(|spec| *spec = to.spec.clone()), &of_process);
        bundle.args(["/probe", "confinement", "exec"]).spec()["process"].clone()
    }

    /// `exec --process`.
    fn exec_process(&mut self, to: &Joining<'_>) {
        let (mut asked, mut refused) = self.of_joining(to);
        let file = self.runtime().dir().join(format!("{}.json", unique_name()));
        let mut before = 0;
        let outcome = without_refused(&mut asked, &mut refused, |asked| {
            before = self.caller.logged();
            fs::write(&file, self.process(to, asked).to_string()).expect("a file");
            let options = ["--process".as_ref(), file.as_os_str()];
            let outcome = to.exec(options, Vec::<&str>::new());
            if outcome.succeeded() { Ok(outcome) } else { Err(outcome.stderr) }
        });
        let warnings = self.caller.warnings(before);
        self.joined(Verb::ExecProcess, to, asked, refused, outcome.map(|outcome| (outcome.stdout, warnings)));
    }

    /// What a joining process asks for: its own, though its container may not have it.
    fn of_joining(&self, to: &Joining<'_>) -> (Asked, Refused) {
        let mut refused = to.refused.clone();
        refused.retain(|property, _| !property.is_of_a_process() || *property == Property::Seccomp);
        let mut asked = self.wanted.clone();
        asked.properties.retain(|property| !refused.contains_key(property));
        (asked, refused)
    }

    fn joined(
        &mut self,
        verb: Verb,
        to: &Joining<'_>,
        asked: Asked,
        refused: Refused,
        outcome: Result<(String, String), String>,
    ) {
        match outcome {
            Err(words) => self.problem(verb, &words),
            Ok((stdout, warnings)) => {
                let facts = facts(&stdout, "exec");
                // Of its container's properties the container's maker was warned.
                let of_container = |line: &&str| Property::named_in(line).is_some_and(|p| !p.is_of_a_process());
                let before: Vec<&str> = to.warnings.lines().filter(of_container).collect();
                let warnings = format!("{warnings}\n{}", before.join("\n"));
                let first = Some(to.first);
                self.record(&Made { verb, asked, refused, facts: &facts, first, cgroup: None, warnings });
            }
        }
    }

    /// The shim's Create and Start, and a process that joins.
    fn shim(&mut self) {
        if self.combination.user == User::Ordinary {
            for (verb, property) in [Verb::ShimCreate, Verb::ShimExec]
                .into_iter()
                .flat_map(|verb| Property::ALL.iter().map(move |p| (verb, *p)))
            {
                self.is(verb, property, Outcome::NotConcerned);
            }
            return;
        }
        let host = ShimHost::called_as(&self.caller.runtime);
        let bundle = self.base();
        let log = shim_log(bundle.path());
        integration::give(&bundle.path().join("log"), self.caller.uid);
        let shim = host.serve(bundle.path(), &unique_name());
        let mut client = shim.connect();
        let (mut asked, mut refused) = (self.wanted.clone(), Refused::new());
        let spec = bundle.spec().clone();
        let mut bundle = Some(bundle);
        let out = host.dir().join("first");
        let made = without_refused(&mut asked, &mut refused, |asked| {
            let words = ["/probe", "confinement", "first", "stay"];
            bundle = Some(self.bundle(bundle.take().expect("a bundle"), &spec, asked, &words));
            let reply = create_by(&shim, &mut client, &out);
            reply.map_err(|(_, words)| words)
        });
        match made {
            Err(words) => self.problem(Verb::ShimCreate, &words),
            Ok(pid) => {
                eventually("the first process", || {
                    let text = fs::read_to_string(&out).unwrap_or_default();
                    text.ends_with("ready\n").then_some(()).ok_or(text)
                });
                let first = facts(&fs::read_to_string(&out).expect("its output"), "first");
                let warnings = read_log(&log);
                let made = Made {
                    verb: Verb::ShimCreate,
                    asked,
                    refused,
                    facts: &first,
                    first: None,
                    cgroup: Some(cgroup_of(&pid.to_string())),
                    warnings,
                };
                self.record(&made);
                self.shim_exec(&shim, &mut client, &log, &spec, &made);
                let _ = shim.kill(&mut client, "", 9, true);
                let _ = shim.wait(&mut client, "");
                let _ = shim.delete(&mut client, "");
                client.done("Shutdown", &shim.process("")).expect("Shutdown");
            }
        }
        drop(bundle);
    }

    fn shim_exec(
        &mut self,
        shim: &integration::shim::Shim<'_>,
        client: &mut Client,
        log: &fs::File,
        spec: &Value,
        made: &Made<'_>,
    ) {
        let to = Joining {
            container: None,
            spec: spec.clone(),
            asked: made.asked.clone(),
            refused: made.refused.clone(),
            first: made.facts,
            warnings: made.warnings.clone(),
        };
        let (mut asked, mut refused) = self.of_joining(&to);
        let mut times = 0;
        let outcome = without_refused(&mut asked, &mut refused, |asked| {
            times += 1;
            let (exec, out) = (format!("exec{times}"), shim.socket().with_file_name(unique_name()));
            let process = self.process(&to, asked);
            let streams = Streams { stdout: format!("file://{}", out.display()), ..Streams::default() };
            let mut request = shim.exec_request(&exec, &[], &streams);
            request.spec.as_mut().expect("a process").value = process.to_string().into_bytes();
            let said: Reply<()> = client.done("Exec", &request);
            said.map_err(|(_, words)| words)?;
            let reply: Reply<integration::shim::Pid> = client.call("Start", &shim.process(&exec));
            reply.map_err(|(_, words)| words)?;
            let _ = shim.wait(client, &exec);
            let text = fs::read_to_string(&out).unwrap_or_default();
            let _ = shim.delete(client, &exec);
            Ok(text)
        });
        let warnings = read_log(log);
        self.joined(Verb::ShimExec, &to, asked, refused, outcome.map(|text| (text, warnings)));
    }
}

/// A container that others join.
struct Joining<'a> {
    /// None below a shim.
    container: Option<&'a Container<'a>>,
    spec: Value,
    asked: Asked,
    refused: Refused,
    first: &'a Value,
    warnings: String,
}

impl Joining<'_> {
    fn exec<O, I>(&self, options: O, args: I) -> integration::Outcome
    where
        O: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        self.container.expect("a container").exec_with(options, args)
    }
}

fn facts(output: &str, name: &str) -> Value {
    let found = json_lines(output).into_iter().find(|line| line["name"] == name);
    found.unwrap_or_else(|| panic!("no facts of {name} in {output:?}"))
}

/// containerd's end of the shim's log.
fn shim_log(bundle: &Path) -> fs::File {
    let _ = integration::shim::fifo(bundle, "log");
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags");
    fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(bundle.join("log")).expect("the log")
}

fn read_log(mut log: &fs::File) -> String {
    let (mut text, mut piece) = (Vec::new(), [0u8; 4096]);
    while let Ok(length) = log.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn create_by(shim: &integration::shim::Shim<'_>, client: &mut Client, out: &Path) -> Reply<u32> {
    let streams = Streams { stdout: format!("file://{}", out.display()), ..Streams::default() };
    let made: integration::shim::Pid = client.call("Create", &shim.create_request(&streams))?;
    let _: integration::shim::Pid = client.call("Start", &shim.process(""))?;
    Ok(made.pid)
}

// --- each user ------------------------------------------------------------------------------------

fn look(
    user: User,
    manager: Manager,
    profile: Option<&str>,
    found: &mut BTreeMap<Cell, Outcome>,
    problems: &mut Vec<String>,
) {
    let caller = Caller::new(user, manager);
    for space in Space::ALL {
        let combination = Combination { user, manager, space: *space };
        if user == User::Ordinary && *space == Space::None {
            let outcome = caller.runtime.run(&base(combination, caller.uid, None));
            let _ = outcome.refused("config.json: linux.namespaces: user ");
            let cells = every_cell().filter(|(at, ..)| *at == combination).map(|cell| (cell, Outcome::NotConcerned));
            found.extend(cells.filter(|(cell, _)| is_looked_at_here(*cell)));
            continue;
        }
        let holder_of = Combination { space: Space::New, ..combination };
        let holder = (*space == Space::Joined)
            .then(|| base(holder_of, caller.uid, None).args(["/probe", "sleep"]))
            .map(|bundle| (caller.runtime.start_ready(&bundle), bundle));
        let joined = holder.as_ref().map(|(container, _)| {
            let path = container.proc("ns/user");
            let name = fs::read_link(&path).expect("a namespace").to_string_lossy().into_owned();
            (path, name)
        });
        // With everything, and as root that may gain privileges: this takes other ways.
        for less in [&[][..], &[Property::User, Property::NoNewPrivileges]] {
            let all = Property::ALL.iter().copied();
            let properties: BTreeSet<Property> = all
                .filter(|property| !less.contains(property) && (*property != Property::Label || profile.is_some()))
                .collect();
            if !less.is_empty() && in_guest() {
                continue;
            }
            let wanted = Asked { properties, profile: profile.map(str::to_owned), limits: limits(manager) };
            let joined = joined.clone();
            let mut look = Look { caller: &caller, combination, joined, wanted, found, problems };
            look.run();
            look.create();
            if !is_peer() {
                look.shim();
            }
        }
    }
}

/// What was found by the tests of this program so far.
static FOUND: Mutex<BTreeMap<Cell, Outcome>> = Mutex::new(BTreeMap::new());

fn look_at(user: User) {
    if !is_to_be_written() {
        not_on_peer!("the table is cleat's, and the words of a refusal (with CLEAT_BLESS=1 it tells what it finds)");
    }
    let profiles = Profiles::load_if_any(&[("matrix", "")]).ok();
    let profile = profiles.as_ref().map(|profiles| profiles.name("matrix"));
    let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
    let manager = if has_systemd() { Manager::Systemd } else { Manager::Cgroupfs };
    look(user, manager, profile.as_deref(), &mut found, &mut problems);
    if is_peer() {
        return tell(&found, &problems);
    }
    let here: BTreeSet<Cell> = every_cell().filter(|cell| cell.0.user == user && is_looked_at_here(*cell)).collect();
    found.retain(|cell, _| here.contains(cell));
    let elsewhere = every_cell().filter(|cell| cell.0.user == user).count() - here.len();
    let counted = format!("matrix: {}: {} cells looked at here, {elsewhere} elsewhere\n", user.text(), found.len());
    // Past the capture of test output.
    let _ = std::io::stderr().write_all(counted.as_bytes());
    assert!(problems.is_empty(), "what was asked for is not what holds:\n{}", problems.join("\n"));
    let missing: Vec<&Cell> = here.iter().filter(|cell| !found.contains_key(cell)).collect();
    assert!(missing.is_empty(), "{} cells were not looked at, such as {:?}", missing.len(), missing.first());
    if is_to_be_written() {
        return write(found);
    }
    let written = written().0;
    let other: Vec<String> = found
        .iter()
        .filter(|(cell, outcome)| written.get(cell) != Some(outcome))
        .map(|(cell, outcome)| format!("{cell:?}: {outcome:?}, not {:?}", written.get(cell)))
        .collect();
    assert!(other.is_empty(), "MATRIX.md says otherwise (make matrix writes it):\n{}", other.join("\n"));
}

/// What a peer does, past the capture of test output.
fn tell(found: &BTreeMap<Cell, Outcome>, problems: &[String]) {
    let table = Matrix(found.clone()).to_text();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    let words = format!("{}\n{}\n{}\n", integration::peer_version(), lines.join("\n"), problems.join("\n"));
    let _ = std::io::stderr().write_all(words.as_bytes());
}

fn write(found: BTreeMap<Cell, Outcome>) {
    let mut all = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(found);
    let mut matrix = written();
    matrix.0.extend(all.iter().map(|(cell, outcome)| (*cell, *outcome)));
    let text = matrix.to_text();
    if in_guest() {
        // What it writes is gone with it.
        let lines: String = text.lines().map(|line| format!("MATRIX {line}\n")).collect();
        let _ = std::io::stderr().write_all(lines.as_bytes());
    } else {
        fs::write(document(), text).expect("MATRIX.md");
    }
}

#[test]
fn what_root_asks_for_holds() {
    look_at(User::Root);
}

#[test]
fn what_root_in_a_user_namespace_asks_for_holds() {
    look_at(User::EngineRoot);
}

#[test]
fn what_an_ordinary_user_asks_for_holds() {
    look_at(User::Ordinary);
}
