//! What do manual pages say that the command line's definition does not: descriptions, examples, files.
//!
//! In the texts words between backticks are bold, those between stars italic; `| TERM | TEXT` is an
//! item of a list, and what begins with `$ ` is literal.

use clap::Command;

/// A section besides the usual ones.
pub(crate) struct Section {
    /// Its title, in capitals.
    pub(crate) title: &'static str,
    /// Its paragraphs.
    pub(crate) lines: Vec<String>,
}

/// One page.
#[derive(Default)]
pub(crate) struct Page {
    /// Its name, such as `cleat-run`.
    pub(crate) name: String,
    /// One line; empty: what the command's help says.
    pub(crate) about: String,
    /// How it is called, where no command says it.
    pub(crate) synopsis: Vec<String>,
    /// Paragraphs.
    pub(crate) description: Vec<String>,
    /// Sections between the options and the examples.
    pub(crate) sections: Vec<Section>,
    /// What an example does, and its lines.
    pub(crate) examples: Vec<(String, String)>,
    /// Other pages.
    pub(crate) also: Vec<String>,
}

impl Page {
    fn command(name: &str, description: &[&str]) -> Page {
        Page { name: format!("cleat-{name}"), description: owned(description), ..Page::default() }
    }

    fn example(mut self, what: &str, lines: &str) -> Page {
        self.examples.push((what.to_owned(), lines.to_owned()));
        self
    }

    fn section(mut self, title: &'static str, lines: &[&str]) -> Page {
        self.sections.push(Section { title, lines: owned(lines) });
        self
    }

    fn also(mut self, pages: &[&str]) -> Page {
        self.also = owned(pages);
        self
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const BUNDLE: &str = "A bundle is a directory with a *config.json* and the root file system that it names, usually \
                      *rootfs*. See `cleat-spec`(8) for making one.";

/// The page of each command.
pub(crate) fn commands() -> Vec<Page> {
    let mut pages = of_life();
    pages.extend(of_checkpoints());
    pages.extend(of_processes());
    pages.extend(of_looking());
    pages
}

/// Checkpoints.
fn of_checkpoints() -> Vec<Page> {
    vec![
        Page::command("checkpoint", &[
            "Saves the processes of the container *ID* to files, by `criu`(8), and deletes the container, unless \
             `--leave-running` or `--pre-dump` is given. It takes root. Options are those of runc; `--network-lock` and \
             `--tcp-close` are those of crun.",
            "What cannot be saved is refused before anything is frozen; `cleat-check`(8) `--checkpoint` says it \
             earlier. When CRIU fails, the container runs on, and the message quotes CRIU's log and names it.",
            "The images have all that the processes know, keys and passwords among it.",
        ])
        .example("Save a container, and go on with it under another name:", "cleat checkpoint --image-path /var/ckpt web\ncleat restore -d --image-path /var/ckpt -b /srv/web web2")
        .example("Freeze it only for what has changed since:", "cleat checkpoint --pre-dump --image-path /var/ckpt/1 web\ncleat checkpoint --parent-path ../1 --image-path /var/ckpt/2 web")
        .also(&["cleat(8)", "cleat-restore(8)", "cleat-check(8)", "criu(8)"]),
        Page::command("restore", &[
            "Creates the container *ID* from a checkpoint and the bundle's *config.json*, and waits for its end as \
             `cleat-run`(8) does, or with `--detach` returns when it runs. Limits, mounts and namespaces are those of \
             *config.json*; memory and open files are those of the images. Standard streams are those of `cleat`.",
            "Before anything runs, what was restored is compared with *config.json*. If it is more, it is killed, and \
             the message names each difference.",
        ])
        .section("EXIT STATUS", &["That of the program; with `--detach` 0. 1: nothing was restored, and nothing is left."])
        .example("Many containers from one checkpoint:", "cleat restore -d --image-path /var/ckpt --work-path /run/a -b /srv/web a\ncleat restore -d --image-path /var/ckpt --work-path /run/b -b /srv/web b")
        .also(&["cleat(8)", "cleat-checkpoint(8)", "cleat-audit(8)", "criu(8)"]),
    ]
}

/// Commands that create, run and remove a container.
fn of_life() -> Vec<Page> {
    vec![
        Page::command("create", &[
            "Creates the container *ID* of a bundle: namespaces, cgroup, mounts, devices, hooks and limits are made, \
             and its first process waits. `cleat-start`(8) then executes the program. Changes of *config.json* after \
             this have no effect on the container.",
            BUNDLE,
            "With `process.terminal` in *config.json*, `--console-socket` must name a Unix socket that receives the \
             terminal's master. Otherwise the container has the standard streams of `cleat` itself.",
        ])
        .section("EXIT STATUS", &["0 when the container is created, 1 otherwise; then nothing of it is left."])
        .example("Create a container, look at it, start it:", "cleat create -b /srv/web web\ncleat state web\ncleat start web")
        .also(&["cleat(8)", "cleat-start(8)", "cleat-run(8)", "cleat-delete(8)", "cleat(5)"]),
        Page::command("run", &[
            "Creates the container *ID* of a bundle, starts it, waits until its program exits, and deletes it. Signals \
             that `cleat` receives are passed on to the program.",
            BUNDLE,
            "With `process.terminal` in *config.json* the program gets a terminal of its own, connected to that of \
             the caller. With `--detach` that takes a `--console-socket`.",
        ])
        .section("EXIT STATUS", &[
            "That of the program, or 128 and the number of the signal that ended it. 1 when the container could not be \
             created or started; then nothing of it is left. With `--detach`, 0 as soon as the program runs.",
        ])
        .example("A container in five lines, from a static busybox:",
            "mkdir -p web/rootfs/bin && cp /bin/busybox web/rootfs/bin/sh\ncd web\ncleat spec\ncleat check .\ncleat run web")
        .example("In the background, with its output in a file (config.json has \"terminal\": false):",
            "cleat run --detach -b /srv/web web >web.log 2>&1 </dev/null")
        .also(&["cleat(8)", "cleat-create(8)", "cleat-spec(8)", "cleat-check(8)", "cleat(5)"]),
        Page::command("start", &[
            "Starts the container *ID*, which `cleat-create`(8) has created: its process runs the hooks of the start and \
             executes the program. It returns when the program has been executed, and says why when it could not be.",
        ])
        .example("Start a created container:", "cleat start web")
        .also(&["cleat(8)", "cleat-create(8)", "cleat-state(8)"]),
        Page::command("delete", &[
            "Deletes the container *ID*, which must be stopped or just created: its cgroup, its state, and with its \
             `poststop` hooks whatever these clean up. With `--force` a container that runs is killed first, and one that does \
             not exist is no error.",
        ])
        .example("Stop a container, then delete it:", "cleat kill web TERM\ncleat delete web")
        .example("Delete all containers, whatever they do:", "cleat list -q | xargs -r -n 1 cleat delete --force")
        .also(&["cleat(8)", "cleat-kill(8)"]),
        Page::command("pause", &[
            "Freezes all processes of the container *ID* (`cgroup.freeze`). It returns when they stand still. Processes \
             can join a paused container with `cleat-exec`(8) `--ignore-paused`.",
        ])
        .example("Freeze a container while its files are copied:", "cleat pause web\ncp -a /srv/web/rootfs /backup/\ncleat resume web")
        .also(&["cleat(8)", "cleat-resume(8)"]),
        Page::command("resume", &["Thaws the processes of the container *ID*, which `cleat-pause`(8) has frozen."])
            .example("Let a paused container go on:", "cleat resume web")
            .also(&["cleat(8)", "cleat-pause(8)"]),
        Page::command("update", &[
            "Changes the limits of the container *ID* while it runs. Limits that are not named stay as they are. What is \
             given as an option overrides what the file of `--resources` says.",
            "The values are those of *config.json*, of `linux.resources`, as cgroup v1 has them; `cleat` converts CPU \
             shares, block I/O weights and swap for cgroup v2 as runc does.",
        ])
        .example("At most 512 MiB of memory, half a CPU and 100 processes:",
            "cleat update --memory 512m --cpu-period 100000 --cpu-quota 50000 --pids-limit 100 web")
        .example("The same from a file:",
            "echo '{\"memory\": {\"limit\": 536870912}, \"pids\": {\"limit\": 100}}' | cleat update -r - web")
        .also(&["cleat(8)", "cleat-events(8)", "cgroups(7)"]),
    ]
}

/// Commands on the processes of a container.
fn of_processes() -> Vec<Page> {
    vec![
        Page::command("exec", &[
            "Runs another process in the container *ID*, in its namespaces, cgroup and root file system, with the user, \
             environment, capabilities, seccomp filter and labels of its first process unless options say otherwise. \
             Options end at *ID*: what follows the command's name is its own.",
            "Standard input is always passed on. `--tty` allocates a terminal for the process.",
        ])
        .section("EXIT STATUS", &[
            "That of the program, or 128 and the number of the signal that ended it. 255 when it could not be run. With \
             `--detach`, 0 as soon as it runs.",
        ])
        .example("A shell in a container:", "cleat exec -t web sh")
        .example("One command as another user, in another directory:",
            "cleat exec --user 1000:1000 --cwd /tmp --env LANG=C web ls -l")
        .example("A process as config.json describes one:",
            "cleat exec --process process.json --detach --pid-file web.pid web")
        .also(&["cleat(8)", "cleat-ps(8)", "setns(2)"]),
        Page::command("kill", &[
            "Sends *SIGNAL* to the first process of the container *ID*. When a container without a pid namespace of its \
             own is sent `KILL`, all its processes are killed.",
        ])
        .example("Ask a container to end, then make it end:", "cleat kill web\ncleat kill web KILL")
        .example("A signal by number:", "cleat kill web 1")
        .also(&["cleat(8)", "cleat-delete(8)", "signal(7)"]),
        Page::command("ps", &[
            "Lists the processes of the container *ID* by ps(1), with the pids of the host. What follows *ID* are options \
             of ps(1); its output must have a column PID. With `--format json` the pids alone are printed.",
        ])
        .example("All processes of a container:", "cleat ps web")
        .example("Their memory, by ps(1):", "cleat ps web -eo pid,rss,args")
        .example("Their pids, for programs:", "cleat ps --format json web")
        .also(&["cleat(8)", "cleat-exec(8)", "ps(1)"]),
        Page::command("events", &[
            "Prints the resource usage of the container *ID* as lines of JSON, at once and after each interval, and an event \
             when the kernel has killed a process because of the memory limit. It ends when the container does.",
        ])
        .example("What a container uses now:", "cleat events --stats web")
        .example("Its memory every second:", "cleat events --interval 1s web | jq .data.memory.usage.usage")
        .also(&["cleat(8)", "cleat-update(8)", "cgroups(7)"]),
    ]
}

/// Commands that look, and those of bundles.
fn of_looking() -> Vec<Page> {
    vec![
        Page::command("state", &[
            "Prints the state of the container *ID* as JSON, as the OCI runtime specification defines it, with runc's \
             additions. Its `status` is *creating*, *created*, *running*, *paused* or *stopped*.",
        ])
        .example("The status and the pid of a container:", "cleat state web | jq -r '.status, .pid'")
        .also(&["cleat(8)", "cleat-list(8)"]),
        Page::command("list", &[
            "Lists the containers below the state directory (`--root`): id, pid of the first process, status, bundle, \
             time of creation and owner.",
        ])
        .example("All containers of this user:", "cleat list")
        .example("The ids of those that are stopped:",
            "cleat list --format json | jq -r '.[]? | select(.status == \"stopped\") | .id'")
        .also(&["cleat(8)", "cleat-state(8)"]),
        Page::command("spec", &[
            "Writes a *config.json* into the bundle's directory, which must have none. It runs `sh` on a terminal, with \
             a read-only root file system in *rootfs*. With `--rootless` it is for the user that calls: root in \
             the container is that user, and the network is the host's.",
        ])
        .example("A bundle from a static busybox:",
            "mkdir -p web/rootfs/bin && cp /bin/busybox web/rootfs/bin/sh\ncleat spec -b web\ncleat run -b web web")
        .example("A bundle from an image, with an engine's help:",
            "mkdir -p web/rootfs\npodman export $(podman create alpine) | tar -C web/rootfs -x\ncleat spec -b web")
        .also(&["cleat(8)", "cleat-check(8)", "cleat-run(8)"]),
        Page::command("features", &[
            "Prints what this version supports, as the features document of the OCI runtime specification: hooks, mount \
             options, namespaces, capabilities, seccomp actions and flags, annotations. Engines read it.",
        ])
        .example("The mount options that config.json may have:", "cleat features | jq -r '.mountOptions[]'")
        .also(&["cleat(8)", "cleat-check(8)"]),
        Page::command("plan", &[
            "Prints the steps that `cleat-create`(8) and `cleat-start`(8) would take for a bundle, in order, each with what \
             it would do, and takes none of them. Errors of *config.json* are reported with their place. Whether this machine can \
             do it is the question of `cleat-check`(8).",
        ])
        .example("What would be done with the bundle in this directory:", "cleat plan .")
        .example("The mounts alone:", "cleat plan . | grep mount")
        .also(&["cleat(8)", "cleat-check(8)", "cleat-create(8)"]),
        Page::command("check", &[
            "Prints what this machine supports: features of the kernel, namespaces, cgroups, security modules, privileges, \
             delegated ids and limits. With *BUNDLE* it also lists every reason why that will not run, with its \
             place in *config.json* and what to do about it. It works for unprivileged users, and changes nothing.",
            "It cannot foresee what hooks will do, or what changes on the machine before the bundle runs.",
        ])
        .section("EXIT STATUS", &["1 when the bundle will not run, else 0."])
        .example("Does this machine have all that is needed?", "cleat check")
        .example("Will the bundle in this directory run, and if not, why not?", "cleat check .")
        .example("The problems alone, for programs:", "cleat check --json . | jq '.bundle.problems'")
        .also(&["cleat(8)", "cleat-plan(8)", "cleat-features(8)", "cleat-audit(8)"]),
        Page::command("audit", &[
            "Compares a living container with what its *config.json* asks for: reads from the kernel what holds for each of \
             its processes (ids, capabilities, filters, labels, namespaces, mounts, masks, limits, device programs) and \
             prints each difference with its place, what was asked and what is. What a container has changed by its \
             own right is listed apart, and so is what could not be looked at.",
        ])
        .section("EXIT STATUS", &["0 without a difference, 1 with one, 2 when the container could not be audited."])
        .example("Does what confines *web* still hold?", "cleat audit web")
        .example("The differences alone, for programs:", "cleat audit --json web | jq '.differences'")
        .also(&["cleat(8)", "cleat-check(8)"]),
    ]
}

/// `cleat(8)`
pub(crate) fn cleat(whole: &Command) -> Page {
    let mut page = Page {
        name: "cleat".into(),
        about: "OCI container runtime, a drop-in for runc".into(),
        description: owned(&[
            "`cleat` turns a bundle, a root file system and a *config.json*, into an isolated process, as the OCI runtime \
             specification describes it, and exits. Its commands, options, exit statuses and files are those of `runc`(8): \
             engines such as containerd, Docker, Podman and CRI-O use it in the same way. It needs Linux 5.15 or \
             later with cgroup v2; `cleat-check`(8) says whether a machine suffices.",
            "`cleat` works for unprivileged users, too. Then the state is in *$XDG_RUNTIME_DIR/cleat*, and \
             *config.json* must have a user namespace (`cleat spec --rootless`).",
            "The global options stand before the command. Long options may be written with one dash.",
        ]),
        ..Page::default()
    };
    let commands = whole.get_subcommands().map(|command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("| `cleat-{}`(8) | {about}.", command.get_name())
    });
    page.sections.push(Section {
        title: "COMMANDS",
        lines: commands.chain(["| `cleat help` *COMMAND* | Print the help of a command.".into()]).collect(),
    });
    page.section("EXIT STATUS", &[
        "0 for success and 1 for an error, which is one line on standard error: what was done, where, why it is wrong, and \
         what to do. `cleat run` and `cleat exec` exit with the status of the program, or with 128 and the number of \
         the signal that ended it; an error of `cleat exec` itself is 255.",
    ])
    .section("ENVIRONMENT", &[
        "| `XDG_RUNTIME_DIR` | The directory of the user's state, for unprivileged users.",
        "| `DBUS_SESSION_BUS_ADDRESS` | Where the user's systemd listens, for `--systemd-cgroup`.",
        "| `NOTIFY_SOCKET` | A socket of sd_notify(3): the container gets one, and `cleat run` and `cleat start` pass on that \
         it is ready.",
        "| `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES` | Sockets that the caller has opened, for the container.",
        "| `PATH` | Where newuidmap(1), newgidmap(1) and ps(1) are.",
    ])
    .section("FILES", &[
        "| */run/cleat* | The state of root's containers, one directory each; gone with the container.",
        "| *$XDG_RUNTIME_DIR/cleat* | The state of a user's containers.",
        "| */etc/subuid*, */etc/subgid* | The ids that are delegated to users.",
    ])
    .section("NOTES", &[
        "Checkpoint and restore are not in this version. Limits that cgroup v2 does not have are ignored with a warning; \
         all else that *config.json* asks for and that cannot be done is an error.",
        "`cleat --version` begins with the version of runc whose command line this is, because engines look for it.",
    ])
    .example("A first container, from a static busybox:",
        "mkdir -p web/rootfs/bin && cp /bin/busybox web/rootfs/bin/sh\ncd web\ncleat spec\ncleat run web")
    .example("As the runtime of an engine:",
        "podman --runtime /usr/bin/cleat run --rm alpine true\nctr run --rm --runtime io.containerd.cleat.v2 IMAGE ID")
    .also(&["cleat(5)", "containerd-shim-cleat-v2(8)", "cgroups(7)", "namespaces(7)", "runc(8)", "ctr(8)"])
}

/// `containerd-shim-cleat-v2(8)`
pub(crate) fn shim() -> Page {
    Page {
        name: "containerd-shim-cleat-v2".into(),
        about: "containerd's shim for cleat".into(),
        synopsis: owned(&[
            "`containerd-shim-cleat-v2` `-namespace` *NAMESPACE* `-address` *SOCKET* `-id` *ID* [`-bundle` *DIR*] [`-debug`] \
             `start`|`delete`",
            "`containerd-shim-cleat-v2` `-info`|`-v`",
        ]),
        description: owned(&[
            "containerd starts this program; nobody else has to. It stays with a container, or with all containers of a \
             pod, while containerd comes and goes: it keeps the standard streams open, answers containerd's requests, and \
             knows the exit status. It runs `cleat`(8), which must be in containerd's `PATH`, to create, start and join \
             containers.",
            "For containerd the runtime's type is *io.containerd.cleat.v2*. Below Kubernetes, and for any client of the CRI \
             plugin, use the type *io.containerd.runc.v2* with this program's path as *runtime_path*: containerd asks only \
             that type for its features, and containerd 1 passes options to no other. Options are in `cleat`(5).",
        ]),
        ..Page::default()
    }
    .section("OPTIONS", &[
        "One dash or two, *-flag value* or *-flag=value*, as containerd passes them.",
        "| `start` | Start a server for the task, or find that of its pod, and print its address.",
        "| `delete` | Kill and remove what is left of a task whose server is gone.",
        "| `-namespace` *NAMESPACE* | containerd's namespace.",
        "| `-id` *ID* | The task.",
        "| `-address` *SOCKET* | containerd's own socket.",
        "| `-bundle` *DIR* | The bundle, for `delete`.",
        "| `-publish-binary` *PATH* | Ignored: events go to containerd's socket.",
        "| `-debug` | Log more.",
        "| `-info` | Print what the runtime supports, as a message for containerd.",
        "| `-v`, `-version` | Print the version.",
    ])
    .section("FILES", &[
        "| */run/containerd/cleat* | The state of the containers.",
        "| */run/containerd/s* | The sockets of shims.",
    ])
    .example("A container by ctr(8):", "ctr run --rm --runtime io.containerd.cleat.v2 docker.io/library/alpine:latest a1 true")
    .example("A handler for Kubernetes, in /etc/containerd/config.toml (version = 3):",
        "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.cleat]\n  runtime_type = \"io.containerd.runc.v2\"\n  \
         runtime_path = \"/usr/bin/containerd-shim-cleat-v2\"\n  \
         [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.cleat.options]\n    SystemdCgroup = true")
    .also(&["cleat(8)", "cleat(5)", "containerd(8)", "ctr(8)"])
}

/// `cleat(5)`
pub(crate) fn configuration() -> Page {
    let properties = cleat::plan::systemd::annotation_names();
    let mut annotations = owned(&[
        "`annotations` of *config.json* that have an effect. All others are kept, and are in the output of `cleat-state`(8).",
        "| `run.oci.keep_original_groups` | For unprivileged users: keep the supplementary groups of the caller, as crun \
         does; any value but 0.",
        "| `run.oci.seccomp.receiver` | The socket that gets the listener of `SCMP_ACT_NOTIFY`, where \
         `linux.seccomp.listenerPath` names none.",
        "| `run.oci.hooks.stdout`, `run.oci.hooks.stderr` | Absolute paths of files that get what hooks print: made with mode \
         0600 if they are not there, appended to otherwise; never through a symbolic link, and plain files alone.",
        "| `run.oci.systemd.subgroup` | With `--systemd-cgroup`: the name of a cgroup below the scope, in which the container is.",
        "| `run.oci.mount_context_type` | The mount option that carries `linux.mountLabel`: `context`, `fscontext`, \
         `defcontext` or `rootcontext`.",
        "| `io.containerd.runc.v2.group`, `io.kubernetes.cri.sandbox-id` | For the shim: containers with the same value share \
         one shim. The first that is there counts.",
        "| `org.systemd.property.`*NAME* | With `--systemd-cgroup`: a property of the container's scope, in GVariant's text \
         format. Properties in microseconds are also known as seconds (*TimeoutStopSec*). Any other property than these is \
         an error:",
    ]);
    annotations.push(format!("$ {}", properties.join("\n")));
    Page {
        name: "cleat".into(),
        about: "options and annotations of cleat and its containerd shim".into(),
        synopsis: owned(&["*config.json*, */etc/containerd/config.toml*"]),
        description: owned(&[
            "`cleat`(8) has no configuration file. A container is described by the *config.json* of its bundle, in the \
             format of the OCI runtime specification; the options that stand there are those of runc. The shim, \
             `containerd-shim-cleat-v2`(8), takes options from containerd's configuration.",
        ]),
        ..Page::default()
    }
    .section("OPTIONS OF THE SHIM", &[
        "The table *options* of a runtime in containerd's configuration, the options of *containerd.runc.v1*. An option that \
         is not known is an error. Those of CRIU are accepted, for checkpoints that this version does not make.",
        "| `SystemdCgroup` | Boolean: systemd creates the cgroups. Set it where the kubelet has *cgroupDriver: systemd*.",
        "| `BinaryName` | The path of `cleat`; by default it is looked up in `PATH`.",
        "| `Root` | The directory of the containers' state, by default */run/containerd/cleat*.",
        "| `NoPivotRoot` | Boolean: do not use pivot_root(2), for a root file system on a ramdisk.",
        "| `NoNewKeyring` | Boolean: do not create a session keyring for each container.",
        "| `ShimCgroup` | The cgroup that the shim itself enters.",
        "| `IoUid`, `IoGid` | The owner of the containers' standard streams.",
        "| `CriuImagePath`, `CriuWorkPath` | The directories of a checkpoint's images and of CRIU's log.",
        "| `TaskApiAddress`, `TaskApiVersion` | The address of a server that is there already, and its version.",
    ])
    .section("ANNOTATIONS", &annotations.iter().map(String::as_str).collect::<Vec<_>>())
    .section("CGROUPS", &[
        "| `linux.cgroupsPath` | Without `--systemd-cgroup`, a path below the cgroup v2 mount. With it, *slice:prefix:name*: the \
         scope *prefix-name.scope* in *slice*; by default *system.slice* (*user.slice* for users), *cleat* and the \
         container's id.",
    ])
    .example("A container that systemd stops gently, and after others (in config.json):",
        "\"annotations\": {\n  \"org.systemd.property.TimeoutStopUSec\": \"uint64 10000000\",\n  \
         \"org.systemd.property.After\": \"['network.target']\"\n}")
    .also(&["cleat(8)", "containerd-shim-cleat-v2(8)", "systemd.scope(5)", "systemd.kill(5)", "containerd-config.toml(5)"])
}
