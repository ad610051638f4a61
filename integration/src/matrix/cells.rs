//! Of what is the matrix: who calls, how, and what confines?

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
            Self::User => &["process.user.uid", "process.user.gid", "--user:", ": user.uid", ": user.gid"],
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

/// All places.
pub fn every_cell() -> impl Iterator<Item = Cell> {
    let combinations = User::ALL.iter().flat_map(|user| Combination::all_of(*user));
    combinations.flat_map(|combination| {
        Verb::ALL.iter().flat_map(move |verb| Property::ALL.iter().map(move |property| (combination, *verb, *property)))
    })
}
