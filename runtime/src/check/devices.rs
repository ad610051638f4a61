//! Can every device be had? Nodes of the container, and devices of the network.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cleat_plan::Device;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, makedev, stat};

use super::mount_view::{Found, View};
use super::{Preflight, Problem};
use crate::error::errno_text;
use crate::plan::NEWUSER;
use crate::plan::netdev::place_of;
use crate::probe::kernel_features::Which;
use crate::sys::netlink::{By, Netlink};

/// Whether a node is that device.
fn is_device(stat: &FileStat, device: &Device) -> bool {
    let same_kind = stat.st_mode & SFlag::S_IFMT.bits() == device.file_type;
    let numbered = device.file_type != SFlag::S_IFIFO.bits();
    same_kind && (!numbered || stat.st_rdev == makedev(device.major.into(), device.minor.into()))
}

impl Preflight<'_> {
    /// Device nodes, and the null device that covers masked files.
    pub(super) fn check_devices(&mut self, view: &View) {
        let plan = self.plan;
        let Some(root) = &plan.init.root else { return };
        for device in &root.devices {
            let index = self.spec.linux.devices.iter().position(|d| d.path.as_bytes() == device.path.to_bytes());
            // The defaults have no place in config.json.
            let place = index.map(|index| format!("linux.devices[{index}].path")).unwrap_or_default();
            if device.bind {
                self.check_host_node(&place, device);
            } else if device.default {
                let end = view.walk(Path::new(OsStr::from_bytes(device.path.to_bytes())), None);
                let is_null = device.path.to_bytes() == b"/dev/null";
                let another = |stat: &FileStat| {
                    !is_device(stat, device) && (is_null || stat.st_mode & SFlag::S_IFMT.bits() != device.file_type)
                };
                if matches!(&end.found, Found::File(_, stat) if another(stat)) {
                    let what = format!("{}: the image or a mount has another file there", device.path);
                    self.problem(place, what, "remove it: every container has this device");
                }
            } else {
                let end = view.walk(Path::new(OsStr::from_bytes(device.path.to_bytes())), None);
                if matches!(&end.found, Found::File(_, stat) if !is_device(stat, device)) {
                    self.warn(&place, format_args!("{}: the image has another file there, which stays", device.path));
                }
            }
        }
        let makes = root.devices.iter().any(|device| !device.bind && device.file_type != SFlag::S_IFIFO.bits());
        if makes && !self.host.rootless() && !self.survey.has_capability("CAP_MKNOD") {
            self.problem("", "this process has no CAP_MKNOD and cannot make device nodes", "run cleat with it");
        }
        let null = stat("/dev/null").ok();
        // Where there is none, root of the machine makes one.
        let makes_null = plan.host.namespaces & NEWUSER == 0 && !self.host.rootless();
        if !root.masked.is_empty() && null.map_or(!makes_null, |null| null.st_rdev != makedev(1, 3)) {
            self.problem(
                "linux.maskedPaths",
                "the host's /dev/null is not the null device (char 1:3)",
                "mknod it anew",
            );
        }
    }

    /// In a user namespace devices are the host's nodes, bound.
    fn check_host_node(&mut self, place: &str, device: &Device) {
        let path = OsStr::from_bytes(device.path.to_bytes());
        let remedy = "make the node on the host, or remove the device from config.json";
        match stat(path) {
            Err(errno) => {
                self.problem(place, format!("on the host, {}: {}", device.path, errno_text(errno)), remedy);
            }
            Ok(node) if !is_device(&node, device) => {
                self.problem(place, format!("the host's node {} is another device", device.path), remedy);
            }
            Ok(_) => {}
        }
    }

    /// `linux.netDevices`
    pub(super) fn check_network_devices(&mut self) {
        let devices = &self.plan.host.net_devices;
        if devices.is_empty() {
            return;
        }
        if self.survey.kernel.has(Which::NewIfindex) == Some(false) {
            self.problem("linux.netDevices", "this kernel has no IFLA_NEW_IFINDEX", "boot Linux 5.13 or later");
        }
        let Ok(mut netlink) = Netlink::open() else { return };
        for device in devices {
            let name = device.host_name.to_string_lossy();
            let error = match netlink.link(By::Name(device.host_name.to_bytes())) {
                Err(Errno::ENODEV) => {
                    "there is no such device in the runtime's network namespace; see ip link".to_owned()
                }
                Ok(link) if link.name != device.host_name.to_bytes() => {
                    format!("is an alternative name of {:?}; use that", String::from_utf8_lossy(&link.name))
                }
                _ if device.container_name.text().to_bytes() == b"lo" => {
                    "\"lo\" is there in the container already; choose another \"name\"".to_owned()
                }
                _ => continue,
            };
            self.problems.push(Problem::of(&place_of(&name).error(error)));
        }
    }
}
