//! Who may use which device? How does a device program come on a cgroup, and off again?
//!
//! Host half, by directory descriptor.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Context, Result};
use crate::plan;
use crate::sys;

use super::Cgroup;

/// A device program of ours on a cgroup.
pub(super) struct Attached {
    program: OwnedFd,
    /// Whose place it took.
    replaced: Option<OwnedFd>,
}

impl Cgroup {
    /// Puts a device program on it; one that is there already is replaced in one step.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub(super) fn set_devices(&self, rules: &[plan::DeviceRule]) -> Result<Attached> {
        let place = format!("cgroup {}: bpf BPF_PROG_QUERY", self.full().display());
        let old = sys::device_programs(self.as_fd()).context(place)?;
        self.attach_devices(rules, old.into_iter().next())
    }

    /// Adds a device program to what systemd has put on a new scope and will put there again:
    /// what one of them denies is denied.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub(super) fn add_devices(&self, rules: &[plan::DeviceRule]) -> Result<Attached> {
        self.attach_devices(rules, None)
    }

    fn attach_devices(&self, rules: &[plan::DeviceRule], replaced: Option<OwnedFd>) -> Result<Attached> {
        let place = format!("cgroup {}", self.full().display());
        let program = sys::load_device_program(&plan::devices::compile(rules)?)
            .context(format_args!("{place}: bpf BPF_PROG_LOAD"))?;
        sys::attach_device_program(self.as_fd(), program.as_fd(), replaced.as_ref().map(AsFd::as_fd))
            .context(format_args!("{place}: bpf BPF_PROG_ATTACH"))?;
        Ok(Attached { program, replaced })
    }

    /// The tag of the program that these rules compile to, and those of the programs that it has. The kernel is
    /// asked to load the first one, which is attached nowhere.
    ///
    /// # Errors
    /// `EPERM`: without `CAP_SYS_ADMIN`.
    pub(crate) fn device_tags(&self, rules: &[plan::DeviceRule]) -> Result<([u8; 8], Vec<[u8; 8]>)> {
        let wanted = sys::load_device_program(&plan::devices::compile(rules)?).context("bpf BPF_PROG_LOAD")?;
        let tag = |program: &OwnedFd| sys::program_tag(program.as_fd()).context("bpf BPF_OBJ_GET_INFO_BY_FD");
        let there = sys::device_programs(self.as_fd()).context("bpf BPF_PROG_QUERY")?;
        Ok((tag(&wanted)?, there.iter().map(tag).collect::<Result<_>>()?))
    }

    /// Takes a device program off again; the one whose place it took is back.
    pub(super) fn take_off(&self, attached: &Attached) {
        let own = attached.program.as_fd();
        let _ = match &attached.replaced {
            Some(old) => sys::attach_device_program(self.as_fd(), old.as_fd(), Some(own)),
            None => sys::detach_device_program(self.as_fd(), own),
        };
    }
}
