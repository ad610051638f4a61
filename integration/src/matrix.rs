//! Which confining property holds in which container? The matrix, and its form as a document.
//!
//! `MATRIX.md` is what holds; the chapter `matrix` looks at containers of every combination and compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;

mod ask;
mod judge;

pub use ask::{Asked, LIMITS, ask, base, root_of};
pub use judge::{Seen, judge};

/// Makes an enumeration whose members have a text each.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$inner:meta])* $member:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$inner])* #[doc = $text] $member,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// As the document has it.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$member => $text),+ }
            }
        }
    };
}

named! {
    /// Who calls.
    User {
        Root = "root",
        EngineRoot = "root in a user namespace",
        Ordinary = "an ordinary user",
    }
}

named! {
    /// Who makes the cgroup.
    Manager {
        Cgroupfs = "cgroupfs",
        Systemd = "systemd",
    }
}

named! {
    /// The container's user namespace.
    Space {
        None = "none",
        New = "new",
        Joined = "joined",
    }
}

named! {
    /// What makes the process.
    Verb {
        Run = "run",
        Create = "create, start",
        Hook = "startContainer hook",
        Exec = "exec",
        ExecProcess = "exec --process",
        ShimCreate = "shim: create",
        ShimExec = "shim: exec",
    }
}

named! {
    /// What confines.
    Property {
        Devices = "linux.resources.devices",
        Bounding = "process.capabilities.bounding",
        Effective = "process.capabilities.effective",
        Permitted = "process.capabilities.permitted",
        Inheritable = "process.capabilities.inheritable",
        Ambient = "process.capabilities.ambient",
        NoNewPrivileges = "process.noNewPrivileges",
        Seccomp = "linux.seccomp",
        Label = "process.apparmorProfile",
        MaskedPaths = "linux.maskedPaths",
        ReadonlyPaths = "linux.readonlyPaths",
        ReadonlyRoot = "root.readonly",
        Mounts = "mounts[].options",
        Groups = "process.user.additionalGids",
        User = "process.user.uid, gid",
        Mappings = "linux.uidMappings, gidMappings",
        Umask = "process.user.umask",
        Keyring = "a session keyring",
        Limits = "linux.resources.hugepageLimits, memory, pids",
        Cgroup = "a cgroup of its own",
        Namespaces = "linux.namespaces",
        Sysctl = "linux.sysctl",
        OomScore = "process.oomScoreAdj",
        Rlimits = "process.rlimits",
    }
}

named! {
    /// What became of it.
    Outcome {
        Applied = "A",
        Inherited = "C",
        Refused = "R",
        Warned = "W",
        NotConcerned = "–",
    }
}

impl Property {
    /// How messages name it.
    #[must_use]
    pub fn places(self) -> &'static [&'static str] {
        match self {
            Self::Mounts => &["config.json: mounts["],
            Self::User => &["process.user.uid", "process.user.gid"],
            Self::Mappings => &["linux.uidMappings", "linux.gidMappings"],
            Self::Keyring => &["keyctl"],
            Self::Limits => &["linux.resources.hugepageLimits", "linux.resources.memory", "linux.resources.pids"],
            Self::Cgroup => &["linux.cgroupsPath", "the container has none of its own", "stays in the caller's cgroup"],
            Self::Devices => &["linux.resources.devices"],
            Self::Bounding => &["process.capabilities.bounding"],
            Self::Effective => &["process.capabilities.effective"],
            Self::Permitted => &["process.capabilities.permitted"],
            Self::Inheritable => &["process.capabilities.inheritable"],
            Self::Ambient => &["process.capabilities.ambient"],
            Self::NoNewPrivileges => &["process.noNewPrivileges"],
            Self::Seccomp => &["linux.seccomp"],
            Self::Label => &["process.apparmorProfile"],
            Self::MaskedPaths => &["linux.maskedPaths"],
            Self::ReadonlyPaths => &["linux.readonlyPaths"],
            Self::ReadonlyRoot => &["root.readonly"],
            Self::Groups => &["process.user.additionalGids"],
            Self::Umask => &["process.user.umask"],
            Self::Namespaces => &["linux.namespaces"],
            Self::Sysctl => &["linux.sysctl"],
            Self::OomScore => &["process.oomScoreAdj"],
            Self::Rlimits => &["process.rlimits"],
        }
    }

    /// Whether a process that joins brings it; else it is the container's.
    #[must_use]
    pub fn is_of_a_process(self) -> bool {
        use Property::{
            Ambient, Bounding, Effective, Groups, Inheritable, Label, NoNewPrivileges, OomScore, Permitted, Rlimits,
            Seccomp, Umask, User,
        };
        [
            Ambient,
            Bounding,
            Effective,
            Groups,
            Inheritable,
            Label,
            NoNewPrivileges,
            OomScore,
            Permitted,
            Rlimits,
            Seccomp,
            Umask,
            User,
        ]
        .contains(&self)
    }

    /// The one that a message is about: others may be in the remedy.
    #[must_use]
    pub fn named_in(message: &str) -> Option<Self> {
        let first = |property: &Self| property.places().iter().filter_map(|place| message.find(place)).min();
        let named = Self::ALL.iter().filter_map(|property| Some((first(property)?, *property)));
        named.min().map(|(_, property)| property)
    }
}

impl Verb {
    /// Whether it makes a process in a container that there is.
    #[must_use]
    pub fn joins(self) -> bool {
        matches!(self, Self::Exec | Self::ExecProcess | Self::ShimExec)
    }

    /// What it is for a property to hold in such a process.
    #[must_use]
    pub fn holding(self, property: Property) -> Outcome {
        let of_another = self.joins() || self == Self::Hook;
        if of_another && !property.is_of_a_process() { Outcome::Inherited } else { Outcome::Applied }
    }
}

/// What a container is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Combination {
    /// Who calls.
    pub user: User,
    /// Its cgroup's.
    pub manager: Manager,
    /// Its user namespace.
    pub space: Space,
}

impl Combination {
    /// All that a user can have.
    #[must_use]
    pub fn all_of(user: User) -> Vec<Self> {
        let of = |manager| Space::ALL.iter().map(move |space| Self { user, manager, space: *space });
        Manager::ALL.iter().flat_map(|manager| of(*manager)).collect()
    }

    /// Whether there is anything to say of a property there.
    #[must_use]
    pub fn is_concerned(self, verb: Verb, property: Property) -> bool {
        let without = self.space == Space::None;
        let by_shim = matches!(verb, Verb::ShimCreate | Verb::ShimExec);
        !(self.user == User::Ordinary && (without || by_shim) || without && property == Property::Mappings)
    }
}

/// One place in the table.
pub type Cell = (Combination, Verb, Property);

/// Hosts that can look at a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any.
    Anywhere,
    /// One with AppArmor.
    Guest,
    /// One with systemd as its init, for the tests alone.
    GuestWithSystemd,
}

impl Place {
    /// Where a cell is looked at.
    #[must_use]
    pub fn of((combination, _, property): Cell) -> Self {
        match (combination.manager, property) {
            (Manager::Systemd, _) => Self::GuestWithSystemd,
            (Manager::Cgroupfs, Property::Label) => Self::Guest,
            (Manager::Cgroupfs, _) => Self::Anywhere,
        }
    }
}

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix(pub BTreeMap<Cell, Outcome>);

const INTRODUCTION: &str = "\
# What holds where

Every property that confines a container, in every combination of who calls, the container's user namespace, what
makes the process, and who makes the cgroup. Each is looked at from inside by the chapter `matrix`, which also
compares this file (`make matrix` writes it anew): as any user with cgroupfs on any host, AppArmor's row and the
columns of systemd in the guest. An ordinary user and root in a user namespace have a delegated cgroup here.

* **A** applied: what was asked for is what holds inside.
* **C** the container's: the process joins the container, or is a hook in it, and what its config.json asked for holds
  for this process, too.
* **R** refused, with the name of the property.
* **W** a warning names the property; it may not hold. Of device rules that is so for `linux.devices` and what asks for
  devices, here a mount with the option `dev`; no other node can be used (see [Devices](../docs/devices.md)).
* **–** not concerned: an ordinary user needs a user namespace (refused by name: `linux.namespaces`); containerd, and
  with it the shim, is always run by root, of the machine or of a user namespace; without a user namespace there are
  no mappings.

One letter is for every user namespace, three are for none, a new one and a joined one. After a slash stands what is
otherwise with systemd. `exec` is the command without options, where its container asks for all of this, and with
`--user`, `--additional-gids` and `--no-new-privs` where it does not; `exec --process` and the shim's are the whole of a
process. SELinux's labels are the chapter `selinux`'s.
";

impl Matrix {
    /// The document.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for user in User::ALL {
            let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.text()).collect();
            let _ = write!(text, "\n## {}\n\n| property | {} |\n|---|", user.text(), verbs.join(" | "));
            text.push_str(&"---|".repeat(verbs.len()));
            for property in Property::ALL {
                let cells: Vec<String> = Verb::ALL.iter().map(|verb| self.cell(*user, *verb, *property)).collect();
                let _ = write!(text, "\n| {} | {} |", property.text(), cells.join(" | "));
            }
            text.push('\n');
        }
        text
    }

    fn cell(&self, user: User, verb: Verb, property: Property) -> String {
        let of = |manager: Manager| {
            let letter = |space: &Space| {
                let at = (Combination { user, manager, space: *space }, verb, property);
                self.0.get(&at).map_or("?", |outcome| outcome.text())
            };
            let letters: Vec<&str> = Space::ALL.iter().map(letter).collect();
            if letters.iter().all(|letter| *letter == letters[0]) { letters[0].to_owned() } else { letters.concat() }
        };
        let (cgroupfs, systemd) = (of(Manager::Cgroupfs), of(Manager::Systemd));
        if cgroupfs == systemd { cgroupfs } else { format!("{cgroupfs} / {systemd}") }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Which line is none of its.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let mut matrix = Self::default();
        let mut user = None;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                user = User::ALL.iter().find(|user| user.text() == title);
            }
            let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let property = Property::ALL.iter().find(|property| fields.first() == Some(&property.text()));
            let (Some(user), Some(property)) = (user, property) else { continue };
            let cells = fields.get(1..).filter(|cells| cells.len() == Verb::ALL.len()).ok_or(line)?;
            for (verb, cell) in Verb::ALL.iter().zip(cells) {
                matrix.read(*user, *verb, *property, cell).ok_or_else(|| format!("{cell:?} in {line}"))?;
            }
        }
        Ok(matrix)
    }

    fn read(&mut self, user: User, verb: Verb, property: Property, cell: &str) -> Option<()> {
        let (cgroupfs, systemd) = cell.split_once(" / ").unwrap_or((cell, cell));
        for (manager, letters) in [(Manager::Cgroupfs, cgroupfs), (Manager::Systemd, systemd)] {
            let letters: Vec<String> = letters.chars().map(String::from).collect();
            for (index, space) in Space::ALL.iter().enumerate() {
                let letter = if letters.len() == 1 { letters.first()? } else { letters.get(index)? };
                if letter != "?" {
                    let outcome = Outcome::ALL.iter().find(|outcome| outcome.text() == letter)?;
                    self.0.insert((Combination { user, manager, space: *space }, verb, property), *outcome);
                }
            }
        }
        Some(())
    }

    /// The places of which nothing is known.
    #[must_use]
    pub fn empty_cells(&self) -> Vec<Cell> {
        every_cell().filter(|cell| !self.0.contains_key(cell)).collect()
    }
}

/// All places.
pub fn every_cell() -> impl Iterator<Item = Cell> {
    let combinations = User::ALL.iter().flat_map(|user| Combination::all_of(*user));
    combinations.flat_map(|combination| {
        Verb::ALL.iter().flat_map(move |verb| Property::ALL.iter().map(move |property| (combination, *verb, *property)))
    })
}
