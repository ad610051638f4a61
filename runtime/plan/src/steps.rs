//! The names of the steps of a start, as docs/startup.md lists them and errors print them.

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// One step of a container's creation and start, in the order in which they happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Step { $($(#[$doc])* $variant),+ }

        impl Step {
            /// All of them, in order.
            pub const ALL: &[Step] = &[$(Step::$variant),+];

            /// The name in docs/startup.md, in errors and in `cleat plan`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Step::$variant => $name),+ }
            }
        }
    };
}

steps! {
    /// Host: a new network namespace, made concurrently with the steps up to the plan's sending.
    NetworkNamespace = "network-namespace",
    /// Host: the state directory, which reserves the id.
    StateDir = "state-dir",
    /// Host: the cgroup.
    Cgroup = "cgroup",
    /// Host: limits on the cgroup. (One under which no process can be started is set later.)
    Limits = "limits",
    /// Host: the resctrl group (`linux.intelRdt`), which the process enters as soon as it is there.
    Resctrl = "resctrl",
    /// Host: `clone3` into the namespaces and the cgroup.
    Clone = "clone",
    /// Host: the processors that the process may run on: not those of the caller.
    Affinity = "affinity",
    /// Host: `uid_map`, `gid_map`, `setgroups`.
    IdMap = "id-map",
    /// Host: `oom_score_adj`.
    OomScore = "oom-score",
    /// Host: hard limits that are above ours, which takes a privilege of the machine.
    RaiseLimits = "raise-limits",
    /// Host: the plan and its descriptors go to the init.
    SendPlan = "send-plan",
    /// Host, while the init is at work: the device program on the cgroup.
    DeviceAccess = "device-access",
    /// Init: the plan arrives.
    ReceivePlan = "receive-plan",
    /// Init: `setns` into namespaces given by path, or those of a container.
    JoinNamespaces = "join-namespaces",
    /// Init: new namespaces that `clone3` could not make: those that a joined user namespace owns, and
    /// a user namespace beside joined ones.
    Unshare = "unshare",
    /// Init: a new time namespace and its offsets.
    TimeNamespace = "time-namespace",
    /// Init: user and group 0 of the user namespace, a new session, a new keyring.
    Session = "session",
    /// Init: a new cgroup namespace.
    CgroupNamespace = "cgroup-namespace",
    /// Init: `lo` goes up.
    Loopback = "loopback",
    /// Init: host name and domain name.
    Hostname = "hostname",
    /// Init: propagation of the mount namespace.
    Propagation = "propagation",
    /// Init: the root file system becomes a mount of its own.
    Rootfs = "rootfs",
    /// Init: `mounts`, in order.
    Mounts = "mounts",
    /// Init: device nodes.
    Devices = "devices",
    /// Init: `/dev/fd`, `/dev/stdin` … and `/dev/ptmx`.
    DevLinks = "dev-links",
    /// Init: the terminal, and `/dev/console`.
    Console = "console",
    /// Host: network devices move into the container's network namespace.
    NetDevices = "net-devices",
    /// Host: `prestart` and `createRuntime` hooks.
    RuntimeHooks = "runtime-hooks",
    /// Init: `createContainer` hooks.
    CreateContainerHooks = "create-container-hooks",
    /// Init: the AppArmor profile or SELinux label that `execve` changes to.
    Label = "label",
    /// Init: `pivot_root`.
    PivotRoot = "pivot-root",
    /// Init: kernel parameters.
    Sysctl = "sysctl",
    /// Init: read-only paths.
    ReadonlyPaths = "readonly-paths",
    /// Init: masked paths.
    MaskedPaths = "masked-paths",
    /// Init: propagation of the root, and a read-only one.
    ReadonlyRoot = "readonly-root",
    /// Init: NUMA memory policy.
    MemoryPolicy = "memory-policy",
    /// Init: execution domain.
    Personality = "personality",
    /// Init: groups, user, capability sets, no_new_privs.
    Credentials = "credentials",
    /// Init: working directory.
    Cwd = "cwd",
    /// Init: the program is found.
    Program = "program",
    /// Init: a child goes on in the joined pid namespace.
    PidNamespace = "pid-namespace",
    /// Init: all is ready; from here on the container is `created`.
    Ready = "ready",
    /// Host: scheduling policy and I/O priority, which takes privileges of the machine.
    Scheduler = "scheduler",
    /// Host: the state is on disk.
    SaveState = "save-state",
    /// Init: the order to start.
    Start = "start",
    /// Init: `startContainer` hooks.
    StartContainerHooks = "start-container-hooks",
    /// Init: resource limits, last of all, lest a low one hits the init's own work.
    Rlimits = "rlimits",
    /// Init: the seccomp filter. (Where other processes may trace this one it is loaded before
    /// `pid-namespace`.)
    Seccomp = "seccomp",
    /// Init: `execve`.
    Exec = "exec",
    /// Host: `poststart` hooks.
    PoststartHooks = "poststart-hooks",
}

impl Step {
    /// The step of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Step> {
        Step::ALL.iter().copied().find(|step| step.name() == name)
    }
}

/// A step made to fail on purpose (`CLEAT_FAULT`), so that tests can see what is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// How.
    pub kind: FaultKind,
}

/// How a step is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// It reports `ECANCELED`.
    Fail,
    /// The process performing it kills itself with `SIGKILL`.
    Kill,
}
