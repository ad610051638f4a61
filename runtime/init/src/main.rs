//! The container half of cleat: reads the [`Plan`] and performs it, one straight list of steps.
//!
//! Runs from a sealed memfd as the container's first process, inside its new namespaces and its
//! cgroup, with all privileges of its user namespace until the step `credentials`. It has no
//! libc, no standard library and no file of the host behind it: a container that gets hold of
//! `/proc/PID/exe` finds a copy that nothing else uses (CVE-2019-5736).
#![no_std]
#![no_main]

extern crate alloc;

mod channel;
mod copy_up;
mod credentials;
mod devices;
mod error;
mod hooks;
mod label;
mod masks;
mod mount_api;
mod mounts;
mod namespaces;
mod path;
mod procfs;
mod program;
mod root;
mod seccomp;
mod sys;
mod terminal;

use alloc::vec::Vec;

use cleat_plan::wire::FromInit;
use cleat_plan::{FaultKind, Plan, Step};
use rustix::fd::OwnedFd;

use channel::Channel;
use error::{Call, Error, Result};

/// The process, with all that `execve` takes.
struct Prepared {
    process: cleat_plan::Process,
    program: alloc::ffi::CString,
    env: Vec<cleat_plan::Text>,
    /// What the program names as its interpreter, and is not there.
    interpreter: Option<alloc::ffi::CString>,
    /// Of `startContainer` hooks.
    streams: Vec<hooks::Streams>,
    /// Decides for its filter, and is yet to be handed over.
    listener: Option<OwnedFd>,
}

/// What the steps share.
struct Init {
    plan: Plan,
    fds: Vec<Option<OwnedFd>>,
    mount_fds: Vec<Option<OwnedFd>>,
    host: Channel,
    step: Step,
    /// The joined pid namespace, for the container's procfs.
    pid_namespace: Option<OwnedFd>,
}

/// Performs the plan that arrives at `socket`.
fn run(socket: OwnedFd) -> ! {
    let host = Channel::new(socket);
    // Long before `execve`, where a `start` would wait for it.
    let _ = sys::reset_signals();
    let (plan, fds) = match host.receive_plan() {
        Ok(received) => received,
        Err(error) => {
            host.report(Step::ReceivePlan, &error);
            sys::exit(70);
        }
    };
    // Not dumpable: in a shared pid namespace no process of a container may trace this one, open
    // its descriptors or its executable, before it has given its privileges up. Not earlier: then an
    // ordinary user's host half could not write our files in /proc; up to here we are in no
    // namespace that others live in, or have capabilities that they have not.
    let _ = sys::prctl(linux_raw_sys::prctl::PR_SET_DUMPABLE, 0, 0);
    let mut init = Init { plan, fds, mount_fds: Vec::new(), host, step: Step::ReceivePlan, pid_namespace: None };
    let Err(error) = init.perform();
    init.host.report(init.step, &error);
    sys::exit(70)
}

impl Init {
    /// Enters a step: errors from here on bear its name.
    fn step(&mut self, step: Step) -> Result<()> {
        self.step = step;
        match self.plan.fault {
            Some(fault) if fault.step == step => match fault.kind {
                FaultKind::Fail => Err(Error::new("fault injected", rustix::io::Errno::CANCELED)),
                FaultKind::Kill => sys::kill_self(),
            },
            _ => Ok(()),
        }
    }

    /// The steps of a creation or an exec, in their order. docs/startup.md has the same list.
    fn perform(&mut self) -> Result<core::convert::Infallible> {
        self.step(Step::ReceivePlan)?;
        if self.plan.root.is_none() {
            self.label()?;
        }
        self.step(Step::JoinNamespaces)?;
        namespaces::join(self)?;
        match self.plan.root.take() {
            Some(root) => self.make_container(&root)?,
            None => self.join_container()?,
        }
        let mut prepared = self.become_process()?;
        self.step(Step::PidNamespace)?;
        namespaces::enter_pid_namespace(self)?;
        seccomp::hand_over(prepared.as_mut().and_then(|prepared| prepared.listener.take()), &self.host)?;
        if self.plan.terminal.is_some() {
            self.step(Step::Console)?;
            terminal::control()?;
        }
        self.step(Step::Ready)?;
        self.host.send(&FromInit::Ready)?;
        self.step(Step::Start)?;
        self.await_start()?;
        self.step(Step::StartContainerHooks)?;
        let Some(Prepared { process, program, mut env, interpreter, streams, .. }) = prepared else {
            return Err(Error::refused("execve", b"", "the configuration has no process"));
        };
        let log = self.take_log(self.plan.start_container.log)?;
        let runner = hooks::Runner { process: Some((&process, &self.host)), env: &env, cwd: None, log };
        if let Err(error) = hooks::run(&self.plan.start_container, &streams, &runner) {
            program::give_up(&error);
        }
        self.step(Step::Rlimits)?;
        program::name_listener(&process, &mut env);
        let (args, env) = (sys::Strings::of(&process.args), sys::Strings::of(&env));
        credentials::limit(&process.rlimits)?;
        self.step(Step::Seccomp)?;
        seccomp::last(&process, &self.host)?;
        self.step(Step::Exec)?;
        program::execute(&program, &args, &env, interpreter.as_deref())
    }

    /// A new container, all but its process.
    fn make_container(&mut self, root: &cleat_plan::Root) -> Result<()> {
        self.step(Step::Unshare)?;
        namespaces::make(self)?;
        self.step(Step::TimeNamespace)?;
        namespaces::time(self)?;
        self.step(Step::Session)?;
        namespaces::session(self)?;
        self.step(Step::CgroupNamespace)?;
        namespaces::cgroup(self)?;
        self.step(Step::Loopback)?;
        namespaces::loopback(self)?;
        self.step(Step::Hostname)?;
        namespaces::hostname(self)?;
        self.make_root(root)
    }

    /// A process that joins a container gives up its privileges while it is still outside of the
    /// container's pid namespace, where nobody can trace it: what `CAP_SYS_PTRACE` gives inside is
    /// then no more than the container has. So does one that is made in a pid namespace of others.
    fn join_container(&mut self) -> Result<()> {
        self.step(Step::Session)?;
        namespaces::session(self)?;
        self.step(Step::Console)?;
        terminal::open(self, None)
    }

    /// While the host's procfs is at `/proc`.
    fn label(&mut self) -> Result<()> {
        self.step(Step::Label)?;
        self.plan.process.as_ref().map_or(Ok(()), label::set)
    }

    /// Credentials, working directory, program, and the filter where it is early. Afterwards little is
    /// left that it must allow.
    fn become_process(&mut self) -> Result<Option<Prepared>> {
        // Before privileges are given up and filters hold, which may be against these calls.
        self.step(Step::MemoryPolicy)?;
        if let Some(policy) = &self.plan.inherited.memory_policy {
            sys::set_mempolicy(policy.mode, &policy.nodes).call("set_mempolicy")?;
        }
        self.step(Step::Personality)?;
        if let Some(domain) = self.plan.inherited.personality {
            sys::personality(domain).call("personality")?;
        }
        self.step(Step::Credentials)?;
        let process = self.plan.process.take();
        if let Some(process) = &process {
            credentials::take(process)?;
            self.step(Step::Cwd)?;
            credentials::verify_cwd(&process.cwd)?;
        }
        self.step(Step::Program)?;
        let Some(process) = process else { return Ok(None) };
        let program = program::find(&process)?;
        let env = program::prepare(&process)?;
        // For the two arrays of execve, and messages.
        let state = &self.plan.start_container;
        let strings = (process.args.len() + env.len()) * size_of::<usize>();
        sys::reserve_memory(strings + (state.state.len() + state.state_after_pid.len()) * 4 + 8192);
        let interpreter = program::missing_interpreter(&program);
        let streams = hooks::prepare(state)?;
        self.step = Step::Seccomp;
        let listener = seccomp::early(&process)?;
        Ok(Some(Prepared { process, program, env, interpreter, streams, listener }))
    }

    /// Everything that has to do with the root file system.
    fn make_root(&mut self, root: &cleat_plan::Root) -> Result<()> {
        self.step(Step::Propagation)?;
        let devnull = root::prepare(root)?;
        self.step(Step::Rootfs)?;
        let mut dir = root::mount_rootfs(self, root)?;
        self.step(Step::Mounts)?;
        let mounts::Mounted { kernel, readonly } = mounts::perform(self, &mut dir, &root.mounts)?;
        self.step(Step::Devices)?;
        devices::make(self, &dir, &root.devices)?;
        self.step(Step::DevLinks)?;
        if root.dev_links {
            devices::links(&dir)?;
        }
        self.step(Step::Console)?;
        terminal::open(self, Some(&dir))?;
        if let Some(process) = &self.plan.process {
            self.step = Step::Cwd;
            root::make_cwd(&dir, &process.cwd)?;
        }
        self.step(Step::RuntimeHooks)?;
        if self.plan.runtime_hooks {
            self.host.send(&FromInit::RunHooks)?;
            self.host.expect(cleat_plan::wire::ToInit::HooksDone)?;
        }
        self.step(Step::CreateContainerHooks)?;
        // Without the caller's environment, which other processes of a pod could read.
        let log = self.take_log(self.plan.create_container.log)?;
        let streams = hooks::prepare(&self.plan.create_container)?;
        let runner = hooks::Runner { cwd: Some(&dir), log, ..Default::default() };
        hooks::run(&self.plan.create_container, &streams, &runner)?;
        self.label()?;
        self.step(Step::PivotRoot)?;
        let dir = root::enter(root, dir)?;
        self.step(Step::Sysctl)?;
        procfs::write_sysctls(&self.plan.sysctl)?;
        self.step(Step::ReadonlyPaths)?;
        let places = masks::Places { root: &dir, kernel: &kernel };
        masks::readonly(&places, &root.readonly_paths)?;
        self.step(Step::MaskedPaths)?;
        masks::mask(&places, &root.masked, devnull)?;
        self.step(Step::ReadonlyRoot)?;
        root::finish(root, &dir, &readonly)
    }

    /// Waits for the order to start, from the channel or from a later `cleat start`.
    fn await_start(&mut self) -> Result<()> {
        match self.plan.start {
            cleat_plan::Start::Channel => self.host.expect(cleat_plan::wire::ToInit::Go),
            cleat_plan::Start::Listen(index) => {
                // Without this word nobody will know of us: the host half died before it saved.
                self.host.expect(cleat_plan::wire::ToInit::Prepared)?;
                let listener = self.take_fd(index)?;
                self.host = channel::accept_start(&listener)?;
                Ok(())
            }
        }
    }

    /// Receives the mounts that the host half has opened.
    fn receive_mounts(&mut self) -> Result<()> {
        while self.mount_fds.len() < usize::from(self.plan.mount_fds) {
            self.host.receive_mounts(&mut self.mount_fds)?;
        }
        Ok(())
    }

    /// Takes a descriptor that came with the plan.
    fn take_fd(&mut self, index: cleat_plan::FdIndex) -> Result<OwnedFd> {
        take(&mut self.fds, index.0)
    }

    /// Takes the files that get what hooks print.
    fn take_log(&mut self, [out, err]: [Option<cleat_plan::FdIndex>; 2]) -> Result<[Option<OwnedFd>; 2]> {
        let mut take = |index: Option<_>| index.map(|index| self.take_fd(index)).transpose();
        Ok([take(out)?, take(err)?])
    }

    /// Takes a mount that the host half has opened.
    fn take_mount(&mut self, index: cleat_plan::MountFd) -> Result<OwnedFd> {
        take(&mut self.mount_fds, index.0)
    }
}

fn take(fds: &mut [Option<OwnedFd>], index: u16) -> Result<OwnedFd> {
    fds.get_mut(usize::from(index))
        .and_then(Option::take)
        .ok_or_else(|| Error::new("descriptor of the plan", rustix::io::Errno::BADF))
}
