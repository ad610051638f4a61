//! How does a network device come into the container, and back when the creation fails?
//!
//! Host half, in the runtime's namespaces with its privileges, while the init waits with all its
//! namespaces made or joined. The init has no part in it: the namespace is entered once, to open
//! sockets there. What the kernel cannot do in one step is done by the device's number.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

use crate::error::{Context, Error, Result, errno_text};
use crate::plan::netdev::{NetDevice, NewName, place_of};
use crate::sys::Child;
use crate::sys::netlink::{Address, By, Change, Link, Netlink, Watch};
use crate::sys::path::Proc;

/// How many numbers are tried where the device's own is taken.
const MAX_NUMBERS: i32 = 1000;
/// A device's name while it has none that may stay.
const INTERIM: &[u8] = b"cleat%d";
/// The kernel's own choice for devices that come back to a name that is taken.
const FALLBACK: &[u8] = b"dev%d";

/// Network devices that have been moved. They go back unless they are [kept](MovedDevices::keep).
#[derive(Default)]
pub struct MovedDevices(Option<NetnsMover>);

impl MovedDevices {
    /// Moves devices into the network namespace of `child`, gives them their names and lasting
    /// addresses and sets them up.
    ///
    /// # Errors
    /// There is no such device, its new name is taken, or the kernel does not let it go. What has
    /// been moved goes back with this value.
    ///
    /// Source: runtime-spec config-linux.md § Network Devices.
    pub fn take(&mut self, devices: &[NetDevice], child: &Child) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let mover = self.0.insert(NetnsMover::prepare(child).map_err(|error| error.within("net-devices"))?);
        devices.iter().try_for_each(|device| {
            let place = place_of(&device.host_name.to_string_lossy());
            mover.take(device).map_err(|error| place.error(error).within("net-devices"))
        })
    }

    /// The devices are the container's, whatever becomes of it: with its network namespace the
    /// kernel destroys virtual devices and gives physical ones back.
    pub fn keep(&mut self) {
        if let Some(mover) = &mut self.0 {
            mover.list.clear();
        }
        self.0 = None;
    }

    /// Brings the devices back, with their names, numbers, addresses and states. (Routes of others
    /// that led over them are gone.) `warn` receives what could not be done.
    pub fn bring_back(&mut self, warn: &dyn Fn(&str)) {
        if let Some(mut mover) = self.0.take() {
            mover.bring_back().iter().for_each(|error| warn(&error.to_string()));
        }
    }
}

/// Sets `lo` of another network namespace up.
///
/// # Errors
/// Those of setns(2), and of the kernel.
pub(crate) fn raise_loopback(child: &Child) -> Result<()> {
    let place = "set lo up";
    let mut mover = NetnsMover::prepare(child).context(place)?;
    // The first device that a network namespace has.
    mover.there.netlink.change(1, &Change { up: true, ..Change::default() }).context(place)
}

/// Both sides of a move, and what has been moved.
struct NetnsMover {
    here: Side,
    there: Side,
    watch: Watch,
    list: Vec<Device>,
}

/// A network namespace.
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// A device as it was on the host.
struct Device {
    link: Link,
    addresses: Vec<Address>,
    /// Its number in the container.
    index: i32,
    /// Somebody has taken it out of there.
    departed: bool,
}

impl NetnsMover {
    fn prepare(child: &Child) -> Result<NetnsMover> {
        let proc = Proc::open()?;
        let open = |pid: String| {
            let path = format!("{pid}/ns/net");
            proc.follow(&path, OFlag::O_RDONLY).context(format_args!("open /proc/{path}"))
        };
        let (here, there) = (open(std::process::id().to_string())?, open(child.pid.to_string())?);
        let id = |namespace: &OwnedFd| fstat(namespace).map(|stat| (stat.st_dev, stat.st_ino)).context("fstat");
        if id(&here)? == id(&there)? {
            return Err(Error::new(
                "config.json: linux.netDevices: the network namespace that the container joins is the runtime's own, where the devices are already",
            ));
        }
        let netlink = Netlink::open().context("socket NETLINK_ROUTE")?;
        // Before we are away: is there a way back?
        setns(&here, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            let hint = "moving network devices takes CAP_SYS_ADMIN and CAP_NET_ADMIN over it";
            Error::new(format!("setns into the runtime's own network namespace: {errno:?}"))
                .remedy(format_args!("{hint}"))
        })?;
        setns(&there, CloneFlags::CLONE_NEWNET).context("setns into the container's network namespace")?;
        let opened = Netlink::open().and_then(|netlink| Ok((netlink, Watch::open()?)));
        // Whatever else fails: nothing may go on in the container's namespace.
        setns(&here, CloneFlags::CLONE_NEWNET).context("setns back into the runtime's network namespace")?;
        let (their_netlink, watch) = opened.context("socket NETLINK_ROUTE in the container")?;
        Ok(NetnsMover {
            here: Side { namespace: here, netlink },
            there: Side { namespace: there, netlink: their_netlink },
            watch,
            list: Vec::new(),
        })
    }

    fn take(&mut self, device: &NetDevice) -> Result<()> {
        let link = self.find(device.host_name.to_bytes())?;
        let addresses = self.here.netlink.addresses(link.index).context("RTM_GETADDR")?;
        let name = device.container_name.text().to_bytes();
        let fixed = matches!(device.container_name, NewName::Fixed(_));
        let there = &mut self.there.netlink;
        if fixed && there.has(name).context("RTM_GETLINK in the container")? {
            return Err(taken(device));
        }
        // With its own number and, where that can be, its own name: this much the kernel does as a
        // whole or not at all. (Among the names that a template must avoid it counts the device's.)
        let interim = !fixed || there.has(&link.name).context("RTM_GETLINK in the container")?;
        self.note_departures();
        let interim = interim.then_some(INTERIM);
        let index = transfer(&mut self.here, &mut self.there, link.index, link.index, interim)
            .map_err(|errno| not_moved(errno, &link))?;
        self.list.push(Device { link: link.clone(), addresses: addresses.clone(), index, departed: false });
        let there = &mut self.there.netlink;
        if !fixed || link.name != name {
            there.change(index, &Change { name: Some(name), ..Change::default() }).map_err(|errno| match errno {
                Errno::EEXIST => taken(device),
                errno => Error::new(format!("rename to {}: {}", device.container_name.text(), errno_text(errno))),
            })?;
        }
        let new_name = if fixed { name.to_vec() } else { there.link(By::Index(index)).context("RTM_GETLINK")?.name };
        // Before it is up: nothing that it sends has another address.
        for address in addresses.iter().filter(|address| address.is_lasting()) {
            there.add_address(index, &address.relabelled(&link.name, &new_name)).map_err(not_added)?;
        }
        there.change(index, &Change { up: true, ..Change::default() }).context("set it up in the container")
    }

    fn find(&mut self, name: &[u8]) -> Result<Link> {
        match self.here.netlink.link(By::Name(name)) {
            Ok(link) if link.name == name => Ok(link),
            Ok(link) => Err(Error::new(format!("is an alternative name of {:?}", String::from_utf8_lossy(&link.name)))
                .remedy("use that")),
            Err(Errno::ENODEV) => {
                Err(Error::new("there is no such device in the runtime's network namespace").remedy("see ip link"))
            }
            Err(errno) => Err(errno).context("RTM_GETLINK"),
        }
    }

    /// Who shares the namespace may take our devices out of it and put others in their place, to be
    /// brought to the host under names that are trusted there.
    fn note_departures(&mut self) {
        let departed = self.watch.departed();
        for device in &mut self.list {
            device.departed |= departed.as_ref().map_or(true, |departed| departed.contains(&device.index));
        }
    }

    fn bring_back(&mut self) -> Vec<Error> {
        if self.list.is_empty() {
            return Vec::new();
        }
        self.note_departures();
        let list = std::mem::take(&mut self.list);
        list.iter().rev().filter_map(|device| self.bring_one_back(device).err()).collect()
    }

    fn bring_one_back(&mut self, device: &Device) -> Result<()> {
        let Device { link, addresses, .. } = device;
        let text = |name: &[u8]| format!("{:?}", String::from_utf8_lossy(name));
        let place = format!("network device {} does not come back", text(&link.name));
        if device.departed {
            return Err(Error::new(format!("{place}: it has left the container's network namespace")));
        }
        let here = &mut self.here.netlink;
        let taken = here.has(&link.name).unwrap_or(false);
        let name = if taken { FALLBACK } else { &link.name };
        let index = transfer(&mut self.there, &mut self.here, device.index, link.index, Some(name)).context(&place)?;
        let here = &mut self.here.netlink;
        // Each is tried, whatever became of the others.
        let failed = addresses.iter().filter(|address| here.add_address(index, address).is_err()).count();
        if link.up {
            here.change(index, &Change { up: true, ..Change::default() }).context(format_args!("{place} up"))?;
        }
        if failed > 0 {
            return Err(Error::new(format!("{place} with all its addresses: {failed} are missing")));
        }
        if taken {
            let name = here.link(By::Index(index)).map(|link| text(&link.name)).unwrap_or_default();
            return Err(Error::new(format!(
                "network device {} comes back as {name}: its name is taken",
                text(&link.name)
            )));
        }
        Ok(())
    }
}

impl Drop for NetnsMover {
    fn drop(&mut self) {
        self.bring_back();
    }
}

/// Moves a device to another namespace: its number there, which is `wanted` or the next free one.
///
/// # Errors
/// Those of [`Netlink::change`].
fn transfer(from: &mut Side, to: &mut Side, index: i32, wanted: i32, name: Option<&[u8]>) -> nix::Result<i32> {
    for new_index in wanted..wanted.saturating_add(MAX_NUMBERS) {
        // Not only tried: before 6.6 a device that may not move for its number has its new name.
        match to.netlink.link(By::Index(new_index)) {
            Ok(_) => continue,
            Err(Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
        let change = Change { namespace: Some(to.namespace.as_fd()), new_index: Some(new_index), name, up: false };
        match from.netlink.change(index, &change) {
            Err(Errno::EBUSY) => {}
            other => return other.map(|()| new_index),
        }
    }
    Err(Errno::EBUSY)
}

fn taken(device: &NetDevice) -> Error {
    Error::new(format!(
        "there is a device \"{}\" in the container's network namespace already",
        device.container_name.text()
    ))
    .remedy("choose another \"name\", or one with \"%d\"")
}

fn not_moved(errno: Errno, link: &Link) -> Error {
    let hint = match errno {
        Errno::EPERM => {
            "; it takes CAP_NET_ADMIN over the network namespace that the device is in, and over the container's"
        }
        Errno::EINVAL => {
            "; devices of some kinds, such as bridges, bonds and wireless ones, cannot leave their network namespace"
        }
        Errno::EEXIST => "; one of its alternative names is taken there",
        Errno::ENODEV => "; it has just gone away",
        _ => "",
    };
    let name = String::from_utf8_lossy(&link.name);
    Error::new(format!("RTM_SETLINK {name} into the container's network namespace: {errno:?}{hint}"))
}

fn not_added(errno: Errno) -> Error {
    let hint = if errno == Errno::EACCES { "; is IPv6 turned off there?" } else { "" };
    Error::new(format!("RTM_NEWADDR in the container: {errno:?}{hint}"))
}
