//! Which calls could block the shim, and are done by a process of `cleat`?
//!
//! A container that may write to its cgroup creates as many cgroups in it as it likes, and to walk through them takes
//! as long as it likes. Hooks, and processes that do not end when they are killed, can block, too.

use std::fs::File;
use std::io::Seek;

use cleat::commands;
use cleat::container::Container;
use cleat::error::{Context, Error, Kind, Result};
use prost::Message;

use crate::messages::{self, Any};
use crate::rootfs;
use crate::task::{Input, ProcessId, Ticket};
use crate::ttrpc::Failure;

use super::{Ctx, Driver, Work, pid_of};

/// So many cgroups are walked through in the shim: an init system has fewer, and a process takes a millisecond.
const FEW: u64 = 64;

/// A call for the processes of a container, and the exec ids of some of them.
pub(super) struct PidsRequest {
    pub(super) ticket: Ticket,
    pub(super) id: String,
    pub(super) named: Vec<(u32, String)>,
}

impl Driver {
    pub(super) fn remove(&mut self, id: &str, ctx: &mut Ctx) {
        let Some(entry) = self.containers.get(id) else { return };
        if self.container(id).is_ok_and(|container| takes_long(&container)) {
            let mut command = self.runtime(entry, &entry.bundle.join("log.json"));
            match self.spawn_in_bundle(id, command.arg("delete").arg(id)) {
                Ok(child) => drop(self.work.insert(pid_of(&child), Work::Remove(ProcessId::init(id)))),
                Err(error) => self.removed(id, Err(error), ctx),
            }
            return;
        }
        let outcome = self.with(id, |shell| match commands::delete::delete(shell, id, false) {
            // It was deleted with the runtime's command.
            Err(error) if error.kind() == Kind::NoContainer => Ok(()),
            other => other,
        });
        self.removed(id, outcome, ctx);
    }

    pub(super) fn removed(&mut self, id: &str, outcome: Result<()>, ctx: &mut Ctx) {
        let outcome = outcome.and_then(|()| match self.containers.get(id) {
            Some(entry) => rootfs::unmount(&entry.bundle.join("rootfs")),
            None => Ok(()),
        });
        let outcome = outcome.map_err(|error| Failure::from(error.within("delete task")));
        ctx.event(Input::Removed(id.into(), outcome));
    }

    pub(super) fn pids(&mut self, request: PidsRequest, ctx: &mut Ctx) {
        let container = self.container(&request.id);
        if !container.as_ref().is_ok_and(is_vast) {
            let pids = container.and_then(|container| commands::ps::processes(&container));
            return answer(&request, pids.map_err(Failure::from), ctx);
        }
        if let Err((request, error)) = self.list(request) {
            answer(&request, Err(error.into()), ctx);
        }
    }

    #[allow(clippy::result_large_err, reason = "the request comes back to be answered")]
    fn list(&mut self, request: PidsRequest) -> std::result::Result<(), (PidsRequest, Error)> {
        let Some(entry) = self.containers.get(&request.id) else {
            return Err((request, Error::of(Kind::NoContainer, "the container was deleted")));
        };
        let mut command = self.runtime(entry, &entry.bundle.join("ps.json"));
        command.args(["ps", "--format", "json"]).arg(&request.id);
        // To memory: a pipe would be full some time.
        let list = cleat::sys::memory_file(c"pids").context("memfd_create");
        let started = list.and_then(|list| {
            let child = self.spawn_in_bundle(&request.id, command.stdout(list.try_clone().context("dup")?))?;
            Ok((list, child))
        });
        match started {
            Ok((list, child)) => drop(self.work.insert(pid_of(&child), Work::List(request, list))),
            Err(error) => return Err((request, error)),
        }
        Ok(())
    }

    /// `cleat ps` has ended.
    pub(super) fn listed(&mut self, request: &PidsRequest, list: File, status: u8, ctx: &mut Ctx) {
        let outcome = self.outcome(&request.id, "ps.json", status);
        if let Some(entry) = self.containers.get(&request.id) {
            let _ = std::fs::remove_file(entry.bundle.join("ps.json"));
        }
        let pids = outcome.and_then(|()| read_pids(list)).map_err(Failure::from);
        answer(request, pids, ctx);
    }
}

fn read_pids(mut list: File) -> Result<Vec<i32>> {
    list.rewind().context("read the output of cleat ps")?;
    serde_json::from_reader(list).map_err(|error| Error::new(format!("read the output of cleat ps: {error}")))
}

fn answer(request: &PidsRequest, pids: std::result::Result<Vec<i32>, Failure>, ctx: &mut Ctx) {
    ctx.answer(request.ticket, pids.map(|pids| process_infos(&pids, &request.named).encode_to_vec()));
}

/// Processes as `Pids` answers them.
fn process_infos(pids: &[i32], named: &[(u32, String)]) -> messages::PidsResponse {
    let info = |pid: &i32| {
        let pid = u32::try_from(*pid).ok()?;
        let exec = named.iter().find(|(number, _)| *number == pid);
        let info = exec.map(|(_, exec)| {
            Any::of("containerd.runc.v1.ProcessDetails", &messages::ProcessDetails { exec_id: exec.clone() })
        });
        Some(messages::ProcessInfo { pid, info })
    };
    messages::PidsResponse { processes: pids.iter().filter_map(info).collect() }
}

fn is_vast(container: &Container) -> bool {
    container.cgroup().is_some_and(|cgroup| cgroup.descendants().unwrap_or(u64::MAX) > FEW)
}

/// Whether deleting it may block: hooks, processes that do not end, or thousands of cgroups.
fn takes_long(container: &Container) -> bool {
    let hooks = container.hooks().map_or(true, |hooks| !hooks.poststop.is_empty());
    hooks || is_vast(container) || container.cgroup().is_some_and(|cgroup| cgroup.populated().unwrap_or(true))
}
