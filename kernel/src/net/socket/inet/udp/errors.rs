// SPDX-License-Identifier: MPL-2.0

//! The queue of errors of a datagram socket (`ip(7)`, `IP_RECVERR`): what became of messages, for `recvmsg(2)` with `MSG_ERRQUEUE`.
//!
//! # Protocol
//! An entry is made where Linux would get an ICMP message or refuse a datagram for its size. While there is one, the socket shows
//! `POLLERR`. Whoever takes an entry also sets the pending error to that of the next, if it came by ICMP. Mirrors Linux's `ip_icmp_error`,
//! `ip_local_error` and `sock_dequeue_err_skb`.

use core::net::SocketAddr;

use readiness::IoEvents;

use super::{
    super::{IPPROTO_IP, IPPROTO_IPV6, ip::name, route, show_address},
    UdpSocket,
    mailbox::{Datagram, cost_of},
};
use crate::{
    file::IoDst,
    net::{ControlMessage, Family, Incoming, MsgFlags, socket::payload::Payload},
    prelude::*,
};

/// What somebody had to say about a datagram that was sent.
pub struct Notice {
    error: Errno,
    origin: Origin,
    /// Where the datagram was to go.
    destination: SocketAddr,
    /// What it held, as much as comes back.
    payload: Payload,
}

/// Who said it.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// This machine, before it sent.
    Local,
    /// The machine that it went to.
    Icmp,
}

/// `struct sock_extended_err`
#[repr(C)]
#[derive(Clone, Copy, Pod)]
struct ExtendedError {
    errno: u32,
    origin: u8,
    kind: u8,
    code: u8,
    pad: u8,
    info: u32,
    data: u32,
}

const SO_EE_ORIGIN_LOCAL: u8 = 1;
const SO_EE_ORIGIN_ICMP: u8 = 2;
const SO_EE_ORIGIN_ICMP6: u8 = 3;

/// How much of a datagram comes back: what fits, with all headers, into 576 bytes (RFC 1812) or 1280 (RFC 4443).
const RETURNED_V4: usize = 576 - 2 * 20 - 8 - 8;
const RETURNED_V6: usize = 1280 - 2 * 40 - 8 - 8;

impl Notice {
    /// Nobody receives where `datagram` went.
    pub fn refused(datagram: &Datagram) -> Self {
        let destination = datagram.destination;
        let returned = if destination.is_ipv4() { RETURNED_V4 } else { RETURNED_V6 };
        Self { error: ECONNREFUSED, origin: Origin::Icmp, destination, payload: datagram.payload.part(0..returned) }
    }

    /// A datagram to `destination` was too long.
    pub fn too_long(destination: SocketAddr) -> Self {
        Self { error: EMSGSIZE, origin: Origin::Local, destination, payload: Payload::Small(Vec::new()) }
    }

    /// What it counts against `SO_RCVBUF`.
    pub fn cost(&self) -> usize {
        cost_of(self.payload.len())
    }

    /// The pending error that goes with it.
    pub fn pending_error(&self) -> Option<Errno> {
        (self.origin == Origin::Icmp).then_some(self.error)
    }

    fn extended(&self) -> ExtendedError {
        let mtu = route::mtu(self.destination.ip());
        // Destination unreachable, and there the port.
        let (origin, kind, code, info) = match (self.origin, self.destination) {
            (Origin::Local, _) => (SO_EE_ORIGIN_LOCAL, 0, 0, mtu),
            (Origin::Icmp, SocketAddr::V4(_)) => (SO_EE_ORIGIN_ICMP, 3, 3, 0),
            (Origin::Icmp, SocketAddr::V6(_)) => (SO_EE_ORIGIN_ICMP6, 1, 4, 0),
        };
        ExtendedError { errno: self.error as u32, origin, kind, code, pad: 0, info, data: 0 }
    }

    /// For a reader of `family`: the error, and the address of who said it.
    fn describe(&self, family: Family) -> ControlMessage {
        let (level, kind, len) = match family {
            Family::Inet6 => (IPPROTO_IPV6, name::IPV6_RECVERR, 28),
            _ => (IPPROTO_IP, name::IP_RECVERR, 16),
        };
        let mut data = self.extended().as_bytes().to_vec();
        let end = data.len() + len;
        if self.origin == Origin::Icmp {
            data.extend(show_address(family, SocketAddr::new(self.destination.ip(), 0)).encode());
        }
        data.resize(end, 0);
        ControlMessage::Other { level, kind, data }
    }
}

impl UdpSocket {
    /// Whether it wants to know what became of what it sends to `destination`.
    pub(super) fn wants_notices(&self, destination: SocketAddr) -> bool {
        match destination {
            SocketAddr::V4(_) => self.ip.is_set(IPPROTO_IP, name::IP_RECVERR),
            SocketAddr::V6(_) => self.ip.is_set(IPPROTO_IPV6, name::IPV6_RECVERR),
        }
    }

    /// Takes the oldest entry, as a message.
    ///
    /// # Errors
    /// `EAGAIN` if there is none; `EFAULT`.
    pub(super) fn receive_notice(&self, dst: &mut IoDst<'_>) -> Result<Incoming> {
        let taken = self.core.mailbox.update(|mailbox| {
            let notice = mailbox.pop_notice();
            match mailbox.has_notices() {
                true => mailbox.notify(0, IoEvents::ERR),
                false => mailbox.notify_nothing(),
            }
            notice
        });
        let notice = taken.ok_or(EAGAIN)?;
        let copied = notice.payload.copy_to(dst)?;
        let mut incoming = Incoming::message(copied, notice.payload.len(), MsgFlags::empty());
        incoming.flags |= MsgFlags::ERRQUEUE;
        incoming.source = Some(show_address(self.common.family, notice.destination));
        incoming.control.push(notice.describe(self.common.family));
        Ok(incoming)
    }
}
