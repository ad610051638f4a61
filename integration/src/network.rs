//! A host's network that belongs to one test: devices, their addresses, where they are.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWLINKPROP: u16 = 108;
const REQUEST_ACK: u16 = 0x5;
const CREATE_EXCLUSIVE: u16 = 0x600;
const DUMP: u16 = 0x300;
/// Of an address's lifetime.
const INFINITE: u32 = u32::MAX;

/// A network namespace that this test's thread is in, and what it calls; left at the end.
#[derive(Debug)]
pub struct Network {
    outside: OwnedFd,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub index: i32,
    /// Set up or not.
    pub up: bool,
    /// Hardware address.
    pub mac: Vec<u8>,
    /// Longest packet.
    pub mtu: u32,
    /// Its addresses by their text: `192.0.2.1/24`.
    pub addresses: BTreeMap<String, Address>,
}

/// An address of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// 0 is global, 253 the link, 254 the host.
    pub scope: u8,
    /// `IFA_F_*`, of which only those are kept that do not change by themselves.
    pub flags: u32,
    /// Of IPv4.
    pub label: Option<String>,
    /// Seconds; `None` is permanent.
    pub lifetime: Option<u32>,
    /// The address at the other end.
    pub peer: Option<IpAddr>,
    /// Of IPv4.
    pub broadcast: Option<Ipv4Addr>,
}

impl Network {
    /// A new one, for this thread and its children.
    ///
    /// # Panics
    /// Without the privilege.
    #[must_use]
    pub fn enter() -> Self {
        let outside = of_thread();
        #[allow(deprecated, reason = "only sharing of descriptors is unsafe to end")]
        rustix::thread::unshare(UnshareFlags::NEWNET).expect("unshare of the network namespace, as root");
        Self { outside }
    }

    /// One more, in which nobody is, and a path that leads to it.
    #[must_use]
    pub fn another() -> (OwnedFd, PathBuf) {
        let network = Self::enter();
        let fd = of_thread();
        drop(network);
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&fd)));
        (fd, path)
    }

    /// Does something in the network namespace at `path`.
    ///
    /// # Panics
    /// When there is none.
    pub fn at<T>(path: &Path, action: impl FnOnce() -> T) -> T {
        let back = Self { outside: of_thread() };
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        enter(&fd);
        let answer = action();
        drop(back);
        answer
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        enter(&self.outside);
    }
}

fn of_thread() -> OwnedFd {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/proc/thread-self/ns/net", flags, rustix::fs::Mode::empty()).expect("our network namespace")
}

fn enter(fd: &OwnedFd) {
    rustix::thread::move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
}

/// All devices of this thread's network namespace.
///
/// # Panics
/// When the kernel does not say.
#[must_use]
pub fn devices() -> BTreeMap<String, Device> {
    let mut found = BTreeMap::new();
    for payload in ask(RTM_GETLINK, DUMP, vec![0; 16]).expect("RTM_GETLINK") {
        let attributes = attributes(&payload[16..]);
        let text = |kind| attributes.get(&kind).map(|value: &Vec<u8>| text_of(value));
        let device = Device {
            index: i32::from_ne_bytes(four(&payload[4..])),
            up: payload[8] & 1 == 1,
            mac: attributes.get(&1).cloned().unwrap_or_default(),
            mtu: attributes.get(&4).map_or(0, |value| u32::from_ne_bytes(four(value))),
            addresses: BTreeMap::new(),
        };
        found.insert(text(3).expect("a name"), device);
    }
    for payload in ask(RTM_GETADDR, DUMP, vec![0; 8]).expect("RTM_GETADDR") {
        let index = i32::from_ne_bytes(four(&payload[4..]));
        let (text, address) = address_of(&payload);
        if let Some(device) = found.values_mut().find(|device| device.index == index) {
            device.addresses.insert(text, address);
        }
    }
    found
}

/// The device of that name.
///
/// # Panics
/// When there is none; says which there are.
#[must_use]
pub fn device(name: &str) -> Device {
    let all = devices();
    all.get(name).cloned().unwrap_or_else(|| panic!("no device {name:?}; there are {all:#?}"))
}

/// Two ends of a cable, `name` and `peer`.
///
/// # Panics
/// When the kernel cannot make them.
pub fn add_veth(name: &str, peer: &str) {
    add_veth_numbered(name, 0, peer);
}

/// The same; the first one gets that number, if it is not 0.
///
/// # Panics
/// When the kernel cannot make them.
pub fn add_veth_numbered(name: &str, index: i32, peer: &str) {
    let mut other = vec![0; 16];
    attribute(&mut other, 3, &zero_ended(peer));
    let mut data = Vec::new();
    attribute(&mut data, 1, &other);
    add_link(name, index, "veth", &data);
}

/// A bridge.
///
/// # Panics
/// When the kernel cannot make it.
pub fn add_bridge(name: &str) {
    add_link(name, 0, "bridge", &[]);
}

fn add_link(name: &str, index: i32, kind: &str, data: &[u8]) {
    let mut info = Vec::new();
    attribute(&mut info, 1, kind.as_bytes());
    if !data.is_empty() {
        attribute(&mut info, 2, data);
    }
    let mut body = link(index, 0);
    attribute(&mut body, 3, &zero_ended(name));
    attribute(&mut body, 18, &info);
    let made = ask(RTM_NEWLINK, REQUEST_ACK | CREATE_EXCLUSIVE, body);
    made.unwrap_or_else(|error| panic!("a {kind} device {name:?}: {error}"));
}

/// Takes a device away.
///
/// # Panics
/// When the kernel does not.
pub fn delete(name: &str) {
    ask(RTM_DELLINK, REQUEST_ACK, link(device(name).index, 0)).expect("RTM_DELLINK");
}

/// Sets a device up.
///
/// # Panics
/// When the kernel does not.
pub fn set_up(name: &str) {
    ask(RTM_SETLINK, REQUEST_ACK, link(device(name).index, 1)).expect("RTM_SETLINK");
}

/// Sets a device's longest packet and hardware address.
///
/// # Panics
/// When the kernel does not.
pub fn set_mtu_and_mac(name: &str, mtu: u32, mac: [u8; 6]) {
    let mut body = link(device(name).index, 0);
    attribute(&mut body, 4, &mtu.to_ne_bytes());
    attribute(&mut body, 1, &mac);
    ask(RTM_SETLINK, REQUEST_ACK, body).expect("RTM_SETLINK");
}

/// Gives a device one more name.
///
/// # Panics
/// When the kernel does not.
pub fn add_alternative_name(name: &str, alternative: &str) {
    let mut list = Vec::new();
    attribute(&mut list, 53, &zero_ended(alternative));
    let mut body = link(device(name).index, 0);
    attribute(&mut body, 52 | 0x8000, &list);
    ask(RTM_NEWLINKPROP, REQUEST_ACK | CREATE_EXCLUSIVE | 0x800, body).expect("RTM_NEWLINKPROP");
}

/// Gives a device an address, such as `192.0.2.1/24`.
///
/// # Panics
/// When the kernel does not.
pub fn add_address(name: &str, text: &str, address: &Address) {
    let (ip, prefix) = text.split_once('/').expect("address/prefix");
    let (ip, prefix): (IpAddr, u8) = (ip.parse().expect("an address"), prefix.parse().expect("a prefix"));
    let family = if ip.is_ipv4() { 2 } else { 10 };
    let mut body = vec![family, prefix, 0, address.scope];
    body.extend(device(name).index.to_ne_bytes());
    attribute(&mut body, 2, &octets(ip));
    attribute(&mut body, 1, &octets(address.peer.unwrap_or(ip)));
    attribute(&mut body, 8, &address.flags.to_ne_bytes());
    if let Some(label) = &address.label {
        attribute(&mut body, 3, &zero_ended(label));
    }
    if let Some(broadcast) = address.broadcast {
        attribute(&mut body, 4, &broadcast.octets());
    }
    let valid = address.lifetime.unwrap_or(INFINITE);
    attribute(&mut body, 6, &[valid.to_ne_bytes(), valid.to_ne_bytes(), [0; 4], [0; 4]].concat());
    ask(RTM_NEWADDR, REQUEST_ACK | CREATE_EXCLUSIVE, body).unwrap_or_else(|error| panic!("{text} on {name}: {error}"));
}

fn address_of(payload: &[u8]) -> (String, Address) {
    let attributes = attributes(&payload[8..]);
    let ip = |kind| attributes.get(&kind).map(|value: &Vec<u8>| ip_of(value));
    let local = ip(2).or(ip(1)).expect("an address");
    let lifetime = attributes.get(&6).map_or(INFINITE, |value| u32::from_ne_bytes(four(&value[4..])));
    // Neither whether it is secondary nor how far it has been tested: what was asked for.
    let flags = attributes.get(&8).map_or(0, |value| u32::from_ne_bytes(four(value))) & 0x780;
    let broadcast = match ip(4) {
        Some(IpAddr::V4(broadcast)) => Some(broadcast),
        _ => None,
    };
    let address = Address {
        scope: payload[3],
        flags,
        label: attributes.get(&3).map(|value| text_of(value)),
        // It runs: only that it does is the same twice.
        lifetime: (lifetime != INFINITE).then_some(0),
        peer: ip(1).filter(|peer| *peer != local),
        broadcast,
    };
    (format!("{local}/{}", payload[1]), address)
}

// --- rtnetlink(7) ----------------------------------------------------------------------------------

fn link(index: i32, flags: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(u16::try_from(value.len() + 4).expect("a short attribute").to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn attributes(mut bytes: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let mut found = BTreeMap::new();
    while let [a, b, c, d, ..] = *bytes {
        let len = usize::from(u16::from_ne_bytes([a, b]));
        found.insert(u16::from_ne_bytes([c, d]) & 0x3fff, bytes[4..len].to_vec());
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn four(bytes: &[u8]) -> [u8; 4] {
    *bytes.first_chunk().expect("four bytes")
}

fn zero_ended(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_of(value: &[u8]) -> IpAddr {
    match <[u8; 16]>::try_from(value) {
        Ok(octets) => Ipv6Addr::from(octets).into(),
        Err(_) => Ipv4Addr::from(four(value)).into(),
    }
}

/// Sends one request; the payloads of the answer.
fn ask(kind: u16, flags: u16, body: Vec<u8>) -> Result<Vec<Vec<u8>>, Errno> {
    // NETLINK_ROUTE is protocol 0.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let len = u32::try_from(16 + body.len()).expect("a short request");
    let head = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &(flags | 1).to_ne_bytes(), &1u32.to_ne_bytes(), &[0; 4]];
    let request = [head.concat(), body].concat();
    rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = Vec::new();
    let mut packet = vec![0; 1 << 17];
    loop {
        let (got, _) = rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty())?;
        let mut rest = &packet[..got];
        while rest.len() >= 16 {
            let len = usize::try_from(u32::from_ne_bytes(four(rest))).expect("a length");
            let payload = &rest[16..len];
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                2 | 3 => {
                    let errno = i32::from_ne_bytes(four(payload));
                    return if errno == 0 { Ok(found) } else { Err(Errno::from_raw_os_error(-errno)) };
                }
                _ => found.push(payload.to_vec()),
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
