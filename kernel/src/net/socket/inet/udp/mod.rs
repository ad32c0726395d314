// SPDX-License-Identifier: MPL-2.0

//! Datagram sockets of the internet (`udp(7)`), between programs of this machine.
//!
//! # Protocol
//! A send finds the sockets that are meant by the table of ports and puts the datagram into their [`Mailbox`]es: it has arrived
//! when the call returns. If nobody is meant, a sender that is connected finds `ECONNREFUSED` with its next call, as if an ICMP
//! message had come back; so does every sender that wants to know more ([`errors`]).
//!
//! # Concurrency
//! Lock order: name (sleeps), the table of ports, a mailbox. Bytes are copied from and to user memory under none of them.

mod control;
mod errors;
mod mailbox;
mod multicast;
mod send;

use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

use readiness::{InTurn, IoEvents, Pollable, Pollee, Tracked};

use self::mailbox::{Datagram, Mailbox};
use super::{
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, decode_address,
    ip::{
        IpOptions,
        name::{IP_RECVERR, IPV6_RECVERR},
    },
    ports::{Claim, Ports, Wish},
    report::{Protocol, Row},
    route, settings, show_address,
};
use crate::{
    file::{IoDst, IoSrc},
    net::{
        Common, Family, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, address, message::Receive,
        options::decode_int, socket::errno_of,
    },
    prelude::*,
    process::credentials::Capabilities,
};

/// Who receives where.
static PORTS: Ports<Core> = Ports::new(false);

/// Options of `udp(7)`.
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;

/// A datagram socket.
pub struct UdpSocket {
    common: Common,
    ip: IpOptions,
    /// Bytes of each of the datagrams that a send is, 0 for one of any size (`UDP_SEGMENT`). Relaxed, as all options.
    segment: AtomicU16,
    core: Arc<Core>,
    /// What it is bound to. Held while it binds or connects.
    name: Mutex<Name>,
}

/// The part of a datagram socket that senders reach.
pub struct Core {
    mailbox: Tracked<Mailbox>,
}

#[derive(Default)]
struct Name {
    claim: Option<Claim<Core>>,
    /// The program chose it by `bind(2)`.
    is_chosen: bool,
}

impl UdpSocket {
    /// A socket that is neither bound nor connected.
    pub fn new(common: Common) -> Self {
        let limit = common.options.receive_buffer() as usize;
        let mailbox = Mailbox::new(limit);
        let core = Arc::new(Core { mailbox: Tracked::new(mailbox) });
        Self { common, ip: IpOptions::default(), segment: AtomicU16::new(0), core, name: Mutex::new(Name::default()) }
    }

    fn is_only_v6(&self) -> bool {
        self.ip.is_set(super::IPPROTO_IPV6, super::ip::name::IPV6_V6ONLY)
    }

    fn wish(&self, ctx: &Context, address: SocketAddr) -> Wish {
        let options = &self.common.options;
        Wish {
            address,
            is_dual: address.is_ipv6() && address.ip().is_unspecified() && !self.is_only_v6(),
            reuses_address: options.reuses_address(),
            reuses_port: options.reuses_port(),
            uid: ctx.credentials().euid,
        }
    }

    /// Binds to `address`, and receives there.
    fn claim(&self, ctx: &Context, address: SocketAddr) -> Result<Claim<Core>> {
        let claim = PORTS.bind(self.wish(ctx, address))?;
        claim.set_receiver(Some(Arc::downgrade(&self.core)))?;
        Ok(claim)
    }

    /// The address that it is bound to; an unbound socket gets a port.
    fn bound_address(&self, ctx: &Context) -> Result<SocketAddr> {
        let mut name = self.name.lock();
        if name.claim.is_none() {
            let claim = self.claim(ctx, address::any_of(self.common.family)).map_err(|_| EAGAIN)?;
            name.claim = Some(claim);
        }
        Ok(name.claim.as_ref().map_or_else(|| address::any_of(self.common.family), Claim::address))
    }

    /// Where something sent to `address` goes: an address of this machine, a group, or everybody.
    ///
    /// # Errors
    /// `ENETUNREACH` for another machine, or IPv4 from a socket that has only IPv6; `EINVAL` for port 0.
    fn destination(&self, address: SocketAddr) -> Result<SocketAddr> {
        let ip = address.ip();
        if self.is_only_v6() && ip.is_ipv4() {
            return Err(ENETUNREACH);
        }
        if address.port() == 0 {
            return Err(EINVAL);
        }
        let ip = if ip.is_multicast() || is_broadcast(ip) { ip } else { route::destination(ip)? };
        Ok(SocketAddr::new(ip, address.port()))
    }

    /// `connect(2)` with `AF_UNSPEC`.
    fn disconnect(&self) {
        let mut name = self.name.lock();
        self.core.mailbox.update(|mailbox| {
            (mailbox.peer, mailbox.local) = (None, None);
            mailbox.reopen();
            mailbox.notify(0, IoEvents::all());
        });
        if !name.is_chosen {
            name.claim = None;
        }
    }

    /// A datagram, or why there will be none. `None`: it may come.
    fn take(&self, peeks: bool) -> Option<Result<Option<Datagram>>> {
        self.core.mailbox.update(|mailbox| {
            if mailbox.error.is_some() {
                mailbox.notify_nothing();
                return mailbox.error.take().map(Err);
            }
            if mailbox.first().is_none() {
                return mailbox.is_read_shut().then_some(Ok(None));
            }
            if peeks {
                return mailbox.first().cloned().map(Some).map(Ok);
            }
            mailbox.notify_nothing();
            mailbox.pop().map(Some).map(Ok)
        })
    }
}

/// Whether what is sent there is meant for all machines of a network.
fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast() || ip.octets() == [127, 255, 255, 255])
}

impl Pollable for UdpSocket {
    fn pollee(&self) -> &Pollee {
        self.core.mailbox.pollee(0)
    }

    fn readiness(&self) -> IoEvents {
        self.core.mailbox.readiness(0)
    }
}

impl Socket for UdpSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let address = decode_address(self.common.family, address)?;
        let ip = address.ip();
        if !ip.is_unspecified() && !route::is_local(ip) && !ip.is_multicast() && !is_broadcast(ip) {
            return Err(EADDRNOTAVAIL);
        }
        if ip.is_ipv4() && self.is_only_v6() {
            return Err(EINVAL);
        }
        let is_privileged = (1..settings::UNPRIVILEGED_PORT_START.get()).contains(&u32::from(address.port()));
        if is_privileged && !ctx.credentials().has(Capabilities::NET_BIND_SERVICE) {
            return Err(EACCES);
        }
        let mut name = self.name.lock();
        if name.claim.is_some() {
            return Err(EINVAL);
        }
        *name = Name { claim: Some(self.claim(ctx, address)?), is_chosen: true };
        Ok(())
    }

    fn connect(&self, ctx: &Context, address: &SocketAddress, _is_nonblocking: bool) -> Result<()> {
        if *address == SocketAddress::Unspecified {
            self.disconnect();
            return Ok(());
        }
        let address = decode_address(self.common.family, address)?;
        // Port 0 is a peer like any other until something is sent to it.
        let port = address.port();
        let mut peer = self.destination(SocketAddr::new(address.ip(), port.max(1)))?;
        peer.set_port(port);
        if is_broadcast(peer.ip()) && !self.common.options.broadcasts() {
            return Err(EACCES);
        }
        let bound = self.bound_address(ctx)?;
        let local = if bound.ip().is_unspecified() { route::source(peer.ip()) } else { bound.ip() };
        self.core.mailbox.update(|mailbox| {
            (mailbox.peer, mailbox.local) = (Some(peer), Some(local));
            mailbox.notify_nothing();
        });
        Ok(())
    }

    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        self.send_datagram(ctx, src, message)
    }

    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        if how.flags.contains(MsgFlags::ERRQUEUE) {
            return self.receive_notice(dst);
        }
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let subject = InTurn(self, IoEvents::READABLE);
        let peeks = how.flags.contains(MsgFlags::PEEK);
        let taken = ctx.wait(&subject, timeout, || self.take(peeks));
        let Some(datagram) = taken.unwrap_or_else(|error| Err(errno_of(error, timeout)))? else {
            // As on Linux, only those that would wait see the end.
            return if how.is_nonblocking { Err(EAGAIN) } else { Ok(Incoming::bytes(0)) };
        };
        // As on Linux, what was taken is lost if it cannot be copied out.
        let copied = datagram.payload.copy_to(dst)?;
        let mut incoming = Incoming::message(copied, datagram.payload.len(), how.flags);
        incoming.source = Some(show_address(self.common.family, datagram.source));
        if how.wants_control {
            let is_many = datagram.segment > 0 && self.core.mailbox.read(|mailbox| mailbox.takes_segments);
            incoming.control = control::describe(&self.common.options, &self.ip, &datagram, is_many);
        }
        Ok(incoming)
    }

    fn shutdown(&self, _ctx: &Context, how: Shutdown) -> Result<()> {
        self.core.mailbox.update(|mailbox| {
            // As on Linux, it is shut although there is an error.
            mailbox.shut_down(how);
            mailbox.notify(0, IoEvents::all());
            if mailbox.peer.is_some() { Ok(()) } else { Err(ENOTCONN) }
        })
    }

    fn local_address(&self) -> Result<SocketAddress> {
        let family = self.common.family;
        let bound = self.name.lock().claim.as_ref().map(Claim::address);
        let mut bound = bound.unwrap_or_else(|| address::any_of(family));
        if let Some(local) = self.core.mailbox.read(|mailbox| mailbox.local) {
            bound.set_ip(local);
        }
        Ok(show_address(family, bound))
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        let peer = self.core.mailbox.read(|mailbox| mailbox.peer);
        peer.map(|peer| show_address(self.common.family, peer)).ok_or(ENOTCONN)
    }

    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if let Some(outcome) = self.set_group(level, name, value) {
            let knows_level = level == IPPROTO_IP || self.common.family == Family::Inet6;
            return if knows_level { outcome } else { Err(ENOPROTOOPT) };
        }
        if level == IPPROTO_UDP {
            return self.set_segments(name, decode_int(value)?);
        }
        let is_bound = self.name.lock().claim.is_some();
        match self.ip.set(ctx, self.common.family, is_bound, level, name, value) {
            Some(outcome) => outcome?,
            None => self.common.options.set(ctx, level, name, value)?,
        }
        if matches!((level, name), (IPPROTO_IP, IP_RECVERR) | (IPPROTO_IPV6, IPV6_RECVERR))
            && !self.ip.is_set(level, name)
        {
            let notices = self.core.mailbox.update(|mailbox| {
                mailbox.notify_nothing();
                mailbox.take_notices()
            });
            drop(notices);
        }
        self.apply_options();
        Ok(())
    }

    fn option(&self, _ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        if level == IPPROTO_UDP {
            let value = match name {
                UDP_SEGMENT => i32::from(self.segment.load(Relaxed)),
                UDP_GRO => i32::from(self.core.mailbox.read(|mailbox| mailbox.takes_segments)),
                _ => return Err(ENOPROTOOPT),
            };
            return Ok(value.to_ne_bytes().to_vec());
        }
        if let Some(value) = self.group_option(level, name) {
            return Ok(value);
        }
        let peer = self.core.mailbox.read(|mailbox| mailbox.peer);
        match self.ip.get(self.common.family, peer.map(|peer| peer.ip()), level, name) {
            Some(outcome) => outcome,
            None => self.common.options.get(&self.common, level, name),
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.core.mailbox.update(|mailbox| {
            mailbox.error?;
            mailbox.notify_nothing();
            mailbox.error.take()
        })
    }

    fn set_error(&self, error: Errno) {
        self.core.mailbox.update(|mailbox| {
            mailbox.error = Some(error);
            mailbox.notify(0, IoEvents::ERR);
        });
    }

    fn control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        let value = match command {
            FIONREAD => self.core.mailbox.read(|mailbox| mailbox.first().map_or(0, |first| first.payload.len())),
            SIOCOUTQ => 0,
            _ => return super::interface::control(ctx, command, argument),
        };
        ctx.write_val(argument, &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }
}

impl UdpSocket {
    /// What `/proc/net/udp` shows.
    pub fn row(&self) -> Row {
        const CONNECTED: u8 = 1;
        let mut row = Row::new(Protocol::Udp, &self.common);
        if let Some(claim) = &self.name.lock().claim {
            row.local = claim.address();
        }
        self.core.mailbox.read(|mailbox| {
            if let (Some(peer), Some(local)) = (mailbox.peer, mailbox.local) {
                row.local.set_ip(local);
                row.remote = peer;
                row.state = CONNECTED;
            }
            row.receive_queue = mailbox.cost();
            row.drops = mailbox.drops;
        });
        row
    }

    /// `UDP_SEGMENT` and `UDP_GRO`
    ///
    /// # Errors
    /// `ENOPROTOOPT` for another option; `EINVAL` for more than 65535 bytes.
    fn set_segments(&self, name: i32, value: i32) -> Result<()> {
        match name {
            UDP_SEGMENT => self.segment.store(u16::try_from(value).map_err(|_| EINVAL)?, Relaxed),
            UDP_GRO => self.core.mailbox.update(|mailbox| {
                mailbox.notify_nothing();
                mailbox.takes_segments = value != 0;
            }),
            _ => return Err(ENOPROTOOPT),
        }
        Ok(())
    }

    /// Tells the mailbox of the options that it acts upon.
    fn apply_options(&self) {
        let options = &self.common.options;
        let hears_all_groups = self.hears_all_groups();
        self.core.mailbox.update(|mailbox| {
            mailbox.limit = options.receive_buffer() as usize;
            mailbox.hears_all_groups = hears_all_groups;
            mailbox.reports_drops = options.reports_drops();
            match core::mem::replace(&mut mailbox.selects_errors, options.selects_errors()) {
                false if mailbox.selects_errors => mailbox.notify(0, IoEvents::PRI),
                _ => mailbox.notify_nothing(),
            }
        });
    }

    fn hears_all_groups(&self) -> bool {
        const IP_MULTICAST_ALL: i32 = 49;
        const IPV6_MULTICAST_ALL: i32 = 29;
        let options = &self.ip;
        options.is_set(IPPROTO_IP, IP_MULTICAST_ALL) && options.is_set(super::IPPROTO_IPV6, IPV6_MULTICAST_ALL)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let groups = self.core.mailbox.update(|mailbox| {
            mailbox.notify_nothing();
            core::mem::take(&mut mailbox.groups)
        });
        groups.into_iter().for_each(multicast::leave);
        if let Some(claim) = &self.name.get_mut().claim {
            // Taking a receiver away cannot fail.
            let _ = claim.set_receiver(None);
        }
    }
}
