//! How do we ask the kernel about network devices, and change them? (netlink(7), rtnetlink(7))
//!
//! Host half, all privileges. A socket belongs for ever to the network namespace in which it was
//! opened. There others may live who send to it: only the kernel is listened to. Every length is
//! checked, coming and going (CVE-2021-43784 was one that wrapped).

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::time::{TimeVal, TimeValLike};

// Linux include/uapi/linux: netlink.h, rtnetlink.h, if_link.h, if_addr.h.
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The group that receives messages about devices.
const RTMGRP_LINK: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NEW_IFINDEX: u16 = 49;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const IFA_F_PERMANENT: u32 = 0x80;
/// What somebody chose; the other flags of an address are the kernel's to set.
/// `NODAD | OPTIMISTIC | HOMEADDRESS | MANAGETEMPADDR | NOPREFIXROUTE | MCAUTOJOIN`
const IFA_F_CHOSEN: u32 = 0x2 | 0x4 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK: usize = 16;
/// Length of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// Room for one packet: what the kernel puts into one of a dump; a link takes some kilobytes.
const PACKET: usize = 64 * 1024;
/// Most packets of one answer, and of others that get in between.
const MAX_PACKETS: usize = 10_000;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: i32,
    /// Its name, not an alternative one.
    pub name: Vec<u8>,
    /// It has been set up.
    pub up: bool,
}

/// Which device.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// By name; alternative names count, too.
    Name(&'a [u8]),
    /// By number.
    Index(i32),
}

/// What to change of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Another network namespace.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Its number there.
    pub new_index: Option<i32>,
    /// Another name; `%d` in it is a free number.
    pub name: Option<&'a [u8]>,
    /// Set it up.
    pub up: bool,
}

/// An address of a device, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix_len: u8,
    scope: u8,
    flags: u32,
    label: Option<Vec<u8>>,
    /// The attributes that are copied as they are.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Permanent and of global scope: what a device brings into a container.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.flags & IFA_F_PERMANENT != 0 && self.scope == RT_SCOPE_UNIVERSE
    }

    /// The same address for a device of another name: `eth0:web` becomes `eth1:web`. A label that
    /// is but the device's name, or would be too long, is left to the kernel.
    #[must_use]
    pub fn relabelled(&self, old: &[u8], new: &[u8]) -> Address {
        let label = self.label.as_ref().and_then(|label| match label.strip_prefix(old) {
            Some([]) => None,
            Some(rest @ [b':', ..]) => Some([new, rest].concat()).filter(|label| label.len() < libc::IFNAMSIZ),
            _ => Some(label.clone()),
        });
        Address { label, ..self.clone() }
    }

    fn parse(payload: &[u8]) -> nix::Result<(i32, Address)> {
        let head = payload.get(..ADDRESS).ok_or(Errno::EBADMSG)?;
        let [family, prefix_len, flags, scope, ..] = *head else { return Err(Errno::EBADMSG) };
        let mut address =
            Address { family, prefix_len, scope, flags: flags.into(), label: None, attributes: Vec::new() };
        for (kind, value) in attributes(&payload[ADDRESS..])? {
            match kind {
                IFA_FLAGS => address.flags = u32_at(value, 0)?,
                IFA_LABEL => address.label = Some(until_zero(value).to_vec()),
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_CACHEINFO | IFA_RT_PRIORITY | IFA_PROTO => {
                    address.attributes.push((kind, value.to_vec()));
                }
                _ => {}
            }
        }
        Ok((i32_at(head, 4)?, address))
    }

    fn body(&self, index: i32) -> nix::Result<Body> {
        let flags = self.flags & IFA_F_CHOSEN;
        let mut head = vec![self.family, self.prefix_len, low_byte(flags), self.scope];
        head.extend(index.to_ne_bytes());
        let mut body = Body(head);
        body.attribute(IFA_FLAGS, &flags.to_ne_bytes())?;
        for (kind, value) in &self.attributes {
            body.attribute(*kind, value)?;
        }
        if let Some(label) = &self.label {
            body.attribute(IFA_LABEL, &zero_ended(label))?;
        }
        Ok(body)
    }
}

impl Link {
    fn parse(payload: &[u8]) -> nix::Result<Link> {
        let head = payload.get(..LINK).ok_or(Errno::EBADMSG)?;
        let all = attributes(&payload[LINK..])?;
        let name = all.iter().find(|(kind, _)| *kind == IFLA_IFNAME).ok_or(Errno::EBADMSG)?;
        Ok(Link { index: i32_at(head, 4)?, name: until_zero(name.1).to_vec(), up: u32_at(head, 8)? & IFF_UP != 0 })
    }
}

/// What follows the header of a request: a fixed struct, and attributes.
struct Body(Vec<u8>);

impl Body {
    /// `struct ifinfomsg`
    fn of_link(index: i32, flags: u32) -> Body {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        // Which of the flags to change.
        body.extend(flags.to_ne_bytes());
        Body(body)
    }

    /// `struct rtattr`; `EMSGSIZE` when its length does not fit.
    fn attribute(&mut self, kind: u16, value: &[u8]) -> nix::Result<()> {
        let len = u16::try_from(value.len() + 4).map_err(|_| Errno::EMSGSIZE)?;
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(())
    }
}

/// The request with its header; `EMSGSIZE` when its length does not fit.
fn request(kind: u16, flags: u16, sequence: u32, body: &Body) -> nix::Result<Vec<u8>> {
    let len = u32::try_from(HEADER + body.0.len()).map_err(|_| Errno::EMSGSIZE)?;
    let mut bytes = Vec::with_capacity(HEADER + body.0.len());
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(&body.0);
    Ok(bytes)
}

/// One message of the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of a packet; `EBADMSG` when a length is out of bounds.
fn messages(mut packet: &[u8]) -> nix::Result<Vec<Message<'_>>> {
    let mut list = Vec::new();
    while !packet.is_empty() {
        let len = usize::try_from(u32_at(packet, 0)?).map_err(|_| Errno::EBADMSG)?;
        let payload = packet.get(HEADER..len).ok_or(Errno::EBADMSG)?;
        let (kind, flags) = (u16_at(packet, 4)?, u16_at(packet, 6)?);
        list.push(Message { kind, flags, sequence: u32_at(packet, 8)?, payload });
        packet = packet.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(list)
}

/// The attributes of a message by their kinds; `EBADMSG` when a length is out of bounds.
fn attributes(mut bytes: &[u8]) -> nix::Result<Vec<(u16, &[u8])>> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..len).ok_or(Errno::EBADMSG)?;
        // The two highest bits say how it is written.
        list.push((u16_at(bytes, 2)? & 0x3fff, value));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(list)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> nix::Result<[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(Errno::EBADMSG)
}

fn u16_at(bytes: &[u8], at: usize) -> nix::Result<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> nix::Result<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> nix::Result<i32> {
    bytes_at(bytes, at).map(i32::from_ne_bytes)
}

fn low_byte(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn zero_ended(name: &[u8]) -> Vec<u8> {
    [name, &[0]].concat()
}

fn open(groups: u32) -> nix::Result<OwnedFd> {
    let socket = nix::sys::socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    nix::sys::socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// One packet, as long as it is from the kernel: with a privilege over the namespace others can
/// send to any socket in it.
fn receive<'a>(socket: &OwnedFd, packet: &'a mut [u8], flags: MsgFlags) -> nix::Result<Option<&'a [u8]>> {
    let mut iov = [IoSliceMut::new(packet)];
    let message = loop {
        match nix::sys::socket::recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut iov, None, flags) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    let (len, sender) = (message.bytes, message.address);
    let from_kernel = sender.is_some_and(|address| address.pid() == 0);
    if from_kernel { packet.get(..len).map(Some).ok_or(Errno::EBADMSG) } else { Ok(None) }
}

/// A socket of `NETLINK_ROUTE`, for requests.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    packet: Vec<u8>,
}

impl Netlink {
    /// For the network namespace that this process is in.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> nix::Result<Netlink> {
        let socket = open(0)?;
        // The kernel has answered when the request is sent: this is for the unthinkable.
        nix::sys::socket::setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(10))?;
        Ok(Netlink { socket, sequence: 0, packet: vec![0; PACKET] })
    }

    /// Sends a request and receives its answer, up to NLMSG_DONE.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &Body,
        mut each: impl FnMut(u16, &[u8]) -> nix::Result<()>,
    ) -> nix::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request(kind, flags, self.sequence, body)?;
        let kernel = NetlinkAddr::new(0, 0);
        nix::sys::socket::sendto(self.socket.as_raw_fd(), &bytes, &kernel, MsgFlags::empty())?;
        let mut interrupted = false;
        for _ in 0..MAX_PACKETS {
            let Some(packet) = receive(&self.socket, &mut self.packet, MsgFlags::empty())? else { continue };
            for message in messages(packet)?.into_iter().filter(|m| m.sequence == self.sequence) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match i32_at(message.payload, 0)? {
                            0 if interrupted => Err(Errno::EINTR),
                            0 => Ok(()),
                            errno => Err(Errno::from_raw(errno.saturating_neg())),
                        };
                    }
                    kind => each(kind, message.payload)?,
                }
            }
        }
        Err(Errno::ENOBUFS)
    }

    /// A device.
    ///
    /// # Errors
    /// `ENODEV`: there is none.
    pub fn link(&mut self, by: By<'_>) -> nix::Result<Link> {
        let body = match by {
            By::Index(index) => Body::of_link(index, 0),
            By::Name(name) => {
                let mut body = Body::of_link(0, 0);
                body.attribute(IFLA_IFNAME, &zero_ended(name))?;
                body
            }
        };
        let mut found = None;
        self.ask(libc::RTM_GETLINK, NLM_F_ACK, &body, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                found = Some(Link::parse(payload)?);
            }
            Ok(())
        })?;
        found.ok_or(Errno::ENODEV)
    }

    /// Whether there is a device of that name.
    ///
    /// # Errors
    /// As [`Netlink::link`], but for `ENODEV`.
    pub fn has(&mut self, name: &[u8]) -> nix::Result<bool> {
        match self.link(By::Name(name)) {
            Ok(_) => Ok(true),
            Err(Errno::ENODEV) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Changes a device.
    ///
    /// # Errors
    /// `EPERM`: without `CAP_NET_ADMIN` over both namespaces. `EEXIST`: the name is taken. `EBUSY`:
    /// the number is. `EINVAL`: this kind of device cannot leave its namespace.
    pub fn change(&mut self, index: i32, change: &Change<'_>) -> nix::Result<()> {
        let mut body = Body::of_link(index, if change.up { IFF_UP } else { 0 });
        if let Some(namespace) = change.namespace {
            body.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())?;
        }
        if let Some(new_index) = change.new_index {
            body.attribute(IFLA_NEW_IFINDEX, &new_index.to_ne_bytes())?;
        }
        if let Some(name) = change.name {
            body.attribute(IFLA_IFNAME, &zero_ended(name))?;
        }
        self.ask(libc::RTM_SETLINK, NLM_F_ACK, &body, |_, _| Ok(()))
    }

    /// The addresses of a device, of every family, in their order.
    ///
    /// # Errors
    /// `EINTR`: they do not stop changing.
    pub fn addresses(&mut self, index: i32) -> nix::Result<Vec<Address>> {
        let mut tries = 0..10;
        loop {
            tries.next();
            let mut list = Vec::new();
            let asked = self.ask(libc::RTM_GETADDR, NLM_F_DUMP, &Body(vec![0; ADDRESS]), |kind, payload| {
                if kind == libc::RTM_NEWADDR {
                    let (of, address) = Address::parse(payload)?;
                    list.extend((of == index).then_some(address));
                }
                Ok(())
            });
            match asked {
                Err(Errno::EINTR) if !tries.is_empty() => {}
                other => return other.map(|()| list),
            }
        }
    }

    /// Gives a device an address, or changes the one that it has.
    ///
    /// # Errors
    /// `EACCES`: of IPv6, which is turned off there.
    pub fn add_address(&mut self, index: i32, address: &Address) -> nix::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(libc::RTM_NEWADDR, flags, &address.body(index)?, |_, _| Ok(()))
    }
}

/// Receives messages about devices that leave a network namespace.
pub struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// For the network namespace that this process is in.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> nix::Result<Watch> {
        open(RTMGRP_LINK).map(|socket| Watch { socket })
    }

    /// The numbers of the devices that have left since the last time.
    ///
    /// # Errors
    /// `ENOBUFS`: messages were lost.
    pub fn departed(&self) -> nix::Result<Vec<i32>> {
        let mut packet = vec![0; PACKET];
        let mut gone = Vec::new();
        for _ in 0..MAX_PACKETS {
            match receive(&self.socket, &mut packet, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => return Ok(gone),
                Err(errno) => return Err(errno),
                Ok(None) => {}
                Ok(Some(packet)) => {
                    for message in messages(packet)?.into_iter().filter(|m| m.kind == libc::RTM_DELLINK) {
                        // Of another family: a port leaves a bridge.
                        if message.payload.first() == Some(&0) {
                            gone.push(i32_at(message.payload, 4)?);
                        }
                    }
                }
            }
        }
        Err(Errno::ENOBUFS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let mut body = Body::of_link(7, IFF_UP);
        body.attribute(IFLA_IFNAME, &zero_ended(b"eth0")).unwrap();
        let bytes = request(libc::RTM_SETLINK, NLM_F_ACK, 3, &body).unwrap();
        assert_eq!(u32_at(&bytes, 0).unwrap(), 44);
        let parsed = messages(&bytes).unwrap();
        let [message] = parsed.as_slice() else { panic!("{parsed:?}") };
        assert_eq!((message.kind, message.flags, message.sequence), (19, 5, 3));
        assert_eq!(Link::parse(message.payload).unwrap(), Link { index: 7, name: b"eth0".to_vec(), up: true });
    }

    /// CVE-2021-43784
    #[test]
    fn an_attribute_longer_than_its_length_can_say_is_an_error() {
        let mut body = Body::of_link(1, 0);
        assert_eq!(body.attribute(1, &vec![0; 65_532]), Err(Errno::EMSGSIZE));
        assert_eq!(body.attribute(1, &vec![0; 65_531]), Ok(()));
        assert_eq!(attributes(&body.0[LINK..]).unwrap()[0].1.len(), 65_531);
    }

    /// Whatever the lengths say, nothing is read that is not there, and the parser comes to an end.
    #[test]
    fn lengths_out_of_bounds_are_errors() {
        let mut body = Body::of_link(7, 0);
        body.attribute(IFLA_IFNAME, &zero_ended(b"eth0")).unwrap();
        let good = request(libc::RTM_NEWLINK, 0, 1, &body).unwrap();
        for len in [0u32, 1, 15, 45, 4096, u32::MAX, u32::MAX - 2] {
            let mut bytes = good.clone();
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&bytes), Err(Errno::EBADMSG), "{len}");
        }
        for len in [0u16, 1, 3, 13, 100, u16::MAX] {
            let mut bytes = body.0[LINK..].to_vec();
            bytes[..2].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(attributes(&bytes), Err(Errno::EBADMSG), "{len}");
        }
        for end in 1..good.len() {
            assert!(messages(&good[..end]).is_err(), "cut at {end}");
        }
        // What fills the last one up may be missing.
        for end in 0..body.0.len() - 3 {
            assert!(Link::parse(&body.0[..end]).is_err(), "cut at {end}");
        }
        for end in 0..ADDRESS {
            assert!(Address::parse(&[0; ADDRESS][..end]).is_err(), "cut at {end}");
        }
    }

    fn address(flags: u32, scope: u8, label: Option<&[u8]>) -> Address {
        Address {
            family: 2,
            prefix_len: 24,
            scope,
            flags,
            label: label.map(<[u8]>::to_vec),
            attributes: vec![(IFA_LOCAL, vec![192, 0, 2, 1])],
        }
    }

    #[test]
    fn only_what_is_permanent_and_global_lasts() {
        assert!(address(IFA_F_PERMANENT, 0, None).is_lasting());
        assert!(address(IFA_F_PERMANENT | 1, 0, None).is_lasting());
        assert!(!address(0, 0, None).is_lasting(), "a dynamic one");
        assert!(!address(IFA_F_PERMANENT, 253, None).is_lasting(), "a link-local one");
        assert!(!address(IFA_F_PERMANENT, 254, None).is_lasting(), "one of the host");
    }

    /// Flags beyond the eight bits of the header, and none that is the kernel's.
    #[test]
    fn an_address_survives_its_journey() {
        let before = address(IFA_F_PERMANENT | 0x200 | 0x1, 0, Some(b"eth0:web"));
        let body = before.body(9).unwrap();
        let (index, after) = Address::parse(&body.0).unwrap();
        assert_eq!((index, &after), (9, &Address { flags: 0x200, ..before }));
    }

    #[test]
    fn a_label_follows_the_name() {
        let relabelled = |label: &[u8], new: &[u8]| address(0, 0, Some(label)).relabelled(b"eth0", new).label;
        assert_eq!(relabelled(b"eth0", b"c"), None);
        assert_eq!(relabelled(b"eth0:web", b"c"), Some(b"c:web".to_vec()));
        assert_eq!(relabelled(b"eth0:web", b"a23456789012"), None, "too long");
        assert_eq!(relabelled(b"eth01", b"c"), Some(b"eth01".to_vec()));
        assert_eq!(relabelled(b"public", b"c"), Some(b"public".to_vec()));
    }
}
