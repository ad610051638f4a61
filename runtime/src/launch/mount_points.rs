//! How are mount points made without a container?
//!
//! A restore needs them: CRIU mounts what it finds in images, on what is there. Runs where [`create`](super::create) does.

use cleat_plan::wire::ToInit;

use crate::cgroup::OomWatch;
use crate::error::Result;
use crate::launch::channel::Channel;
use crate::launch::idmap;

use super::create::Creation;
use super::handshake::{Event, Handshake, out_of_turn};

impl Creation<'_> {
    /// Makes what mounts are put on, where the root file system lacks it, as every creation does: an init mounts all
    /// in namespaces that end with it.
    ///
    /// # Errors
    /// Those of the init's steps up to the root.
    pub(crate) fn make_mount_points(&self) -> Result<()> {
        let init = cleat_plan::Plan {
            process: None,
            sysctl: Vec::new(),
            keyring: None,
            terminal: None,
            hostname: None,
            domainname: None,
            time: None,
            runtime_hooks: false,
            create_container: cleat_plan::Hooks::default(),
            start_container: cleat_plan::Hooks::default(),
            start: cleat_plan::Start::Channel,
            fault: None,
            ..self.plan.init.clone()
        };
        let (channel, theirs) = Channel::pair()?;
        let child = self.clone_init(None, &theirs)?;
        drop(theirs);
        if let Some(maps) = self.plan.host.id_maps.as_ref().filter(|_| self.is_mapped_at_birth()) {
            idmap::write(child.get().pid, maps)?;
            channel.send(ToInit::Mapped)?;
        }
        let fds = self.open_fds(None)?;
        let mounts = if self.mounts_follow() { Vec::new() } else { self.open_mounts(child.get())? };
        channel.send_plan(&init, &fds)?;
        channel.send_mounts(&mounts)?;
        let mut handshake = Handshake::new(&channel, child, &init, OomWatch::from_now(None), self.parameters.warn);
        loop {
            match handshake.next()? {
                Event::Unshared => self.follow(handshake.child(), &channel)?,
                Event::Ready => return Ok(()),
                Event::Listener(_) | Event::RunHooks => return Err(out_of_turn()),
            }
        }
    }
}
