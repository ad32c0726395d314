// SPDX-License-Identifier: MPL-2.0

//! Sending datagrams: to one socket, to the members of a group, to everybody.

use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering::Relaxed,
};

use readiness::IoEvents;

use super::{
    super::{IPPROTO_IP, IPPROTO_IPV6, decode_address, ip::name, route},
    Core, PORTS, UdpSocket,
    control::Wishes,
    errors::Notice,
    is_broadcast,
    mailbox::Datagram,
    multicast,
};
use crate::{
    file::IoSrc,
    net::{MsgFlags, Outgoing, socket::payload::Payload},
    prelude::*,
    time::now_realtime,
};

/// The most bytes that fit into a datagram: 65535 less the headers of UDP and, for IPv4, of IP.
const MAX_LEN_V4: usize = 65535 - 8 - 20;
const MAX_LEN_V6: usize = 65535 - 8;
/// The most datagrams that one call sends (Linux's `UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;
/// What a program gets as time to live if it did not choose one.
const DEFAULT_TTL: u8 = 64;

impl UdpSocket {
    /// `sendmsg(2)`
    ///
    /// # Errors
    /// `EDESTADDRREQ` without a peer; the pending error; `EPIPE` after `shutdown(2)`; `EMSGSIZE`; `EACCES` for a broadcast that was not
    /// allowed by `SO_BROADCAST`; `EINVAL` for more segments than may be; `EOPNOTSUPP` for urgent data and for what is to be continued (`MSG_MORE`).
    pub(super) fn send_datagram(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        if message.flags.intersects(MsgFlags::OOB | MsgFlags::MORE) {
            return Err(EOPNOTSUPP);
        }
        // Even a send that fails binds, as on Linux.
        let bound = self.bound_address(ctx)?;
        let wishes = Wishes::decode(&message.control)?;
        let peer = self.core.mailbox.read(|mailbox| mailbox.peer);
        let destination = match &message.destination {
            Some(address) => self.destination(decode_address(self.common.family, address)?)?,
            None => peer.ok_or(EDESTADDRREQ)?,
        };
        let ip = destination.ip();
        let len = src.remain();
        if len > if ip.is_ipv4() { MAX_LEN_V4 } else { MAX_LEN_V6 } {
            self.tell_too_long(destination, peer, len);
            return Err(EMSGSIZE);
        }
        let segment = wishes.segment.unwrap_or_else(|| self.segment.load(Relaxed));
        if segment > 0 && len > MAX_SEGMENTS * usize::from(segment) {
            return Err(EINVAL);
        }
        if is_broadcast(ip) && !self.common.options.broadcasts() {
            return Err(EACCES);
        }
        let source = source_for(bound, ip, wishes.source)?;
        self.check_sender()?;
        let payload = Payload::copy_from(src, len)?;
        let hops = self.hops(ip, &wishes);
        let segment = if len > usize::from(segment) { segment } else { 0 };
        let datagram = Datagram { source, destination, time: now_realtime(), hops, drops: 0, segment, payload };
        if let Some(refused) = self.deliver(datagram) {
            self.tell_refused(&refused, peer);
        }
        Ok(len)
    }

    /// Nobody receives where `datagram` went. As on Linux, that does not reach a socket that is connected elsewhere, and without `IP_RECVERR` none that
    /// is not connected.
    fn tell_refused(&self, datagram: &Datagram, peer: Option<SocketAddr>) {
        let wants_notices = self.wants_notices(datagram.destination);
        if peer.map_or(!wants_notices, |peer| peer != datagram.destination) {
            return;
        }
        let notice = wants_notices.then(|| Notice::refused(datagram));
        self.core.mailbox.update(|mailbox| {
            mailbox.error = Some(ECONNREFUSED);
            if let Some(notice) = notice {
                mailbox.push_notice(notice);
            }
            mailbox.notify(0, IoEvents::ERR);
        });
    }

    /// What was to be sent to `destination` has too many bytes.
    fn tell_too_long(&self, destination: SocketAddr, peer: Option<SocketAddr>, len: usize) {
        // A length that no field can hold is refused before anything else by IPv4.
        if !self.wants_notices(destination) || destination.is_ipv4() && len > usize::from(u16::MAX) {
            return;
        }
        let port = if destination.is_ipv4() { peer.map_or(0, |peer| peer.port()) } else { destination.port() };
        let notice = Notice::too_long(SocketAddr::new(destination.ip(), port));
        self.core.mailbox.update(|mailbox| {
            mailbox.push_notice(notice);
            mailbox.notify(0, IoEvents::ERR);
        });
    }

    /// # Errors
    /// The pending error; `EPIPE` if nothing more may be sent.
    fn check_sender(&self) -> Result<()> {
        self.core.mailbox.update(|mailbox| {
            if mailbox.error.is_some() {
                mailbox.notify_nothing();
                return mailbox.error.take().map_or(Ok(()), Err);
            }
            if mailbox.is_write_shut() { Err(EPIPE) } else { Ok(()) }
        })
    }

    /// Time to live and type of service of what is sent to `ip`.
    fn hops(&self, ip: IpAddr, wishes: &Wishes) -> (u8, u8) {
        let (ttl, tos) = match (ip, ip.is_multicast()) {
            (IpAddr::V4(_), false) => ((IPPROTO_IP, name::IP_TTL), (IPPROTO_IP, name::IP_TOS)),
            (IpAddr::V4(_), true) => ((IPPROTO_IP, name::IP_MULTICAST_TTL), (IPPROTO_IP, name::IP_TOS)),
            (IpAddr::V6(_), false) => ((IPPROTO_IPV6, name::IPV6_UNICAST_HOPS), (IPPROTO_IPV6, name::IPV6_TCLASS)),
            (IpAddr::V6(_), true) => ((IPPROTO_IPV6, name::IPV6_MULTICAST_HOPS), (IPPROTO_IPV6, name::IPV6_TCLASS)),
        };
        let number = |(level, name)| u8::try_from(self.ip.number(level, name));
        let ttl = wishes.ttl.unwrap_or_else(|| number(ttl).unwrap_or(DEFAULT_TTL));
        (ttl, wishes.tos.unwrap_or_else(|| number(tos).unwrap_or(0)))
    }

    /// Puts a datagram into the mailboxes of those that are meant. The answer is one that nobody was meant by.
    fn deliver(&self, datagram: Datagram) -> Option<Datagram> {
        let (source, destination) = (datagram.source, datagram.destination);
        let ip = destination.ip();
        if !ip.is_multicast() && !is_broadcast(ip) {
            let find = |core: &Core| core.mailbox.read(|mailbox| mailbox.match_score(source, ip));
            let Some(core) = PORTS.find(destination, source, find) else { return Some(datagram) };
            core.put(datagram);
            return None;
        }
        // IP_MULTICAST_LOOP is about copies that come back; the loopback's own way is not one of them.
        let is_joined = ip.is_multicast() && multicast::is_joined(ip);
        PORTS.for_each(destination, |core| core.put_if_member(&datagram, is_joined));
        // Nobody complains of what was sent to many.
        None
    }
}

/// Where a datagram to `destination` comes from, by a socket bound to `bound`, which may wish for another address.
///
/// # Errors
/// `EINVAL` if the wish is an address of the other version of IP; `ENETUNREACH` if the socket is bound to one.
fn source_for(bound: SocketAddr, destination: IpAddr, wish: Option<IpAddr>) -> Result<SocketAddr> {
    let is_own = !bound.ip().is_multicast() && !is_broadcast(bound.ip()) && !bound.ip().is_unspecified();
    let own = is_own.then(|| bound.ip());
    let ip = wish.or(own).unwrap_or_else(|| route::source(destination));
    if ip.is_ipv4() != destination.is_ipv4() {
        return Err(if wish.is_some() { EINVAL } else { ENETUNREACH });
    }
    Ok(SocketAddr::new(ip, bound.port()))
}

impl Core {
    /// Puts a datagram in, or the several that it is, if there is room.
    fn put(&self, datagram: Datagram) {
        if datagram.segment > 0 && !self.mailbox.read(|mailbox| mailbox.takes_segments) {
            datagram.segments().for_each(|segment| self.put_one(segment));
        } else {
            self.put_one(datagram);
        }
    }

    fn put_one(&self, datagram: Datagram) {
        let lost = self.mailbox.update(|mailbox| {
            if !mailbox.has_room() {
                mailbox.notify_nothing();
                mailbox.drops += 1;
                return Some(datagram);
            }
            mailbox.push(datagram);
            mailbox.notify(0, IoEvents::READABLE);
            None
        });
        drop(lost);
    }

    /// Puts a datagram to many in, if this socket is among them. `is_joined`: somebody is in that group.
    fn put_if_member(&self, datagram: &Datagram, is_joined: bool) {
        let ip = datagram.destination.ip();
        let is_meant = self.mailbox.read(|mailbox| {
            let is_member = !ip.is_multicast() || mailbox.groups.contains(&ip) || is_joined && mailbox.hears_all_groups;
            is_member && mailbox.peer.is_none_or(|peer| peer == datagram.source)
        });
        if is_meant {
            self.put(datagram.clone());
        }
    }
}
