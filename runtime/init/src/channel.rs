//! How does the init receive from the host half, and answer?

use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use cleat_plan::wire::{self, Failure, FromInit, ToInit};
use cleat_plan::{Plan, Step};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags,
};

use crate::error::{Call, Error, Result};
use crate::sys;

/// One end of a `SOCK_SEQPACKET` channel with a `cleat` process of the host.
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// The plan and its descriptors.
    pub(crate) fn receive_plan(&self) -> Result<(Plan, Vec<Option<OwnedFd>>)> {
        let mut fds = Vec::new();
        let mut head = [0u8; 64];
        let got = self.receive(&mut head, &mut fds)?;
        let (len, fd_count) = match wire::decode(&head[..got]) {
            Ok(ToInit::Plan { len, fds }) if len as usize <= wire::MAX_PLAN => (len as usize, usize::from(fds)),
            _ => return Err(Error::new("decode message", Errno::PROTO)),
        };
        let mut bytes = vec![0u8; len];
        let mut filled = 0;
        while filled < len {
            filled += self.receive(&mut bytes[filled..], &mut fds)?;
        }
        if fds.len() != fd_count {
            return Err(Error::new("descriptors of the plan", Errno::PROTO));
        }
        let plan = wire::decode(&bytes).map_err(|_| Error::new("decode plan", Errno::PROTO))?;
        Ok((plan, fds))
    }

    fn receive(&self, packet: &mut [u8], fds: &mut Vec<Option<OwnedFd>>) -> Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(wire::MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = retry(|| rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(packet)], &mut control, flags))
            .call("recvmsg")?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights.map(Some));
            }
        }
        if got.bytes == 0 {
            // The host half is gone: nobody waits for this container.
            sys::exit(70);
        }
        Ok(got.bytes)
    }

    /// Some of the mounts that come after the plan.
    pub(crate) fn receive_mounts(&self, fds: &mut Vec<Option<OwnedFd>>) -> Result<()> {
        let mut packet = [0u8; 64];
        let got = self.receive(&mut packet, fds)?;
        match wire::decode::<ToInit>(&packet[..got]) {
            Ok(ToInit::Mounts) => Ok(()),
            _ => Err(Error::new("unexpected message", Errno::PROTO)),
        }
    }

    /// Waits for one particular message.
    pub(crate) fn expect(&self, wanted: ToInit) -> Result<()> {
        let mut packet = [0u8; 64];
        let got = self.receive(&mut packet, &mut Vec::new())?;
        match wire::decode::<ToInit>(&packet[..got]) {
            Ok(message) if message == wanted => Ok(()),
            _ => Err(Error::new("unexpected message", Errno::PROTO)),
        }
    }

    /// Sends one message.
    pub(crate) fn send(&self, message: &FromInit) -> Result<()> {
        self.send_message(message, &[])
    }

    /// Sends one message with one descriptor.
    pub(crate) fn send_with_fd(&self, message: &FromInit, fd: BorrowedFd<'_>) -> Result<()> {
        self.send_message(message, &[fd])
    }

    fn send_message(&self, message: &FromInit, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let bytes = wire::encode(message).map_err(|_| Error::new("encode message", Errno::PROTO))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::NOSIGNAL;
        retry(|| rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, flags))
            .call("sendmsg")
            .map(drop)
    }

    /// Reports to the host half which step failed. There is nobody else to report to.
    pub(crate) fn report(&self, step: Step, error: &Error) {
        let failure = Failure {
            step,
            call: error.call.into(),
            path: error.path.iter().copied().take(wire::MAX_ANSWER / 2).collect(),
            errno: error.errno.map_or(0, Errno::raw_os_error),
            hint: error.hint.clone(),
        };
        let _ = self.send(&FromInit::Failed(failure));
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Waits until a `cleat start` connects and orders the start. A connection that closes without a
/// word is `cleat state` asking whether anybody still listens.
pub(crate) fn accept_start(listener: &OwnedFd) -> Result<Channel> {
    loop {
        let socket = retry(|| rustix::net::accept_with(listener.as_fd(), SocketFlags::CLOEXEC)).call("accept")?;
        let mut packet = [0u8; 64];
        let got =
            retry(|| rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty()).map(|(n, _)| n)).unwrap_or(0);
        if matches!(wire::decode::<ToInit>(&packet[..got.min(packet.len())]), Ok(ToInit::Go)) {
            return Ok(Channel::new(socket));
        }
    }
}
