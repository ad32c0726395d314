// SPDX-License-Identifier: MPL-2.0

//! Netlink sockets (`netlink(7)`), of the protocol `NETLINK_ROUTE`: what C libraries and runtimes ask for interfaces
//! and addresses.
//!
//! # Protocol
//! What is sent to port 0 goes to the kernel, which answers before the call returns: [`route`] says what, [`wire`]
//! how it looks, [`queue`] holds it until it is read. What is sent to another port goes to the socket that has it by
//! [`ports`].
//!
//! # Concurrency
//! Lock order: name (sleeps), the table of ports or a queue, never both. Bytes are copied from and to user memory
//! under none.

mod options;
mod ports;
mod queue;
mod route;
mod wire;

use readiness::{InTurn, IoEvents, Pollable, Pollee, Tracked};

use self::{
    options::NetlinkOptions,
    ports::Claim,
    queue::{Part, Queue, Received},
    route::Answer,
    wire::{Flags, Packet, Request},
};
use super::{Common, Family, SocketType, describe, errno_of};
use crate::{
    file::{Description, IoDst, IoSrc, StatusFlags},
    net::{Incoming, MsgFlags, Outgoing, Socket, SocketAddress, message::Receive},
    prelude::*,
    process::credentials::Capabilities,
};

const NETLINK_ROUTE: i32 = 0;
/// Bytes of the send buffer that Linux keeps for its bookkeeping.
const SEND_OVERHEAD: usize = 32;

/// `socket(2)`
///
/// # Errors
/// `ESOCKTNOSUPPORT` for a type that is neither raw nor for datagrams; `EPROTONOSUPPORT` for another protocol than
/// `NETLINK_ROUTE`.
pub fn create(ctx: &Context, kind: SocketType, protocol: i32, status: StatusFlags) -> Result<Arc<Description>> {
    match (kind, protocol) {
        (SocketType::Raw | SocketType::Datagram, NETLINK_ROUTE) => {}
        (SocketType::Raw | SocketType::Datagram, _) => return Err(EPROTONOSUPPORT),
        _ => return Err(ESOCKTNOSUPPORT),
    }
    let common = Common::new(ctx, Family::Netlink, kind, protocol);
    let queue = Queue::new(common.options.receive_buffer() as usize);
    let core = Arc::new(Core { queue: Tracked::new(queue) });
    let name = Mutex::new(Name::default());
    Ok(describe(NetlinkSocket { common, options: NetlinkOptions::default(), core, name }, status))
}

/// A netlink socket.
pub struct NetlinkSocket {
    common: Common,
    options: NetlinkOptions,
    core: Arc<Core>,
    /// What it is bound and connected to.
    name: Mutex<Name>,
}

/// The part of a socket that senders reach.
pub struct Core {
    queue: Tracked<Queue>,
}

#[derive(Default)]
struct Name {
    claim: Option<Claim>,
    /// Port and groups that what it sends goes to, unless said otherwise.
    peer: (u32, u32),
}

impl Core {
    fn put(&self, packet: Received) {
        self.queue.update(|queue| {
            queue.push(packet);
            queue.notify(0, IoEvents::READABLE | IoEvents::ERR);
        });
    }
}

impl NetlinkSocket {
    /// Its port, taken now if it has none.
    fn port(&self, ctx: &Context) -> Result<u32> {
        let mut name = self.name.lock();
        if name.claim.is_none() {
            name.claim = Some(Claim::any(&self.core, ctx.process.pid)?);
        }
        Ok(name.claim.as_ref().map_or(0, Claim::port))
    }

    /// Answers the messages of a packet, one after the other. Mirrors Linux's `netlink_rcv_skb`.
    fn ask_kernel(&self, port: u32, mut packet: &[u8], is_privileged: bool) {
        while let Some(request) = wire::take_request(&mut packet) {
            let outcome = match route::answer(&request, port, is_privileged) {
                Ok(Answer::Dump(dump)) => {
                    // Its end is the acknowledgement.
                    if self.start_dump(&request, port, dump) {
                        continue;
                    }
                    Err(EBUSY)
                }
                Ok(Answer::Packet(packet)) => {
                    self.put_answer(packet);
                    Ok(())
                }
                Ok(Answer::Done) => Ok(()),
                Err(error) => Err(error),
            };
            if outcome.is_err() || request.header.flags().contains(Flags::ACK) {
                self.put_answer(route::acknowledge(&request, port, outcome, self.options.caps_acknowledgements()));
            }
        }
    }

    fn put_answer(&self, packet: Packet) {
        self.core.put(Received { source: 0, group: 0, part: Part::None, bytes: packet.into_bytes() });
    }

    /// Puts a dump and its end in; `false`: one is being read.
    fn start_dump(&self, request: &Request<'_>, port: u32, dump: Packet) -> bool {
        let mut end = Packet::answering(&request.header, port);
        end.done();
        let parts = [(dump, Part::Some), (end, Part::Last)].into_iter().filter(|(packet, _)| !packet.is_empty());
        let parts: Vec<_> =
            parts.map(|(packet, part)| Received { source: 0, group: 0, part, bytes: packet.into_bytes() }).collect();
        self.core.queue.update(|queue| {
            queue.notify(0, IoEvents::READABLE);
            queue.begin_dump(parts)
        })
    }

    /// A packet, or why there will be none. `None`: it may come.
    fn take(&self, peeks: bool) -> Option<Result<Received>> {
        self.core.queue.update(|queue| {
            if queue.error.is_some() {
                queue.notify_nothing();
                return queue.error.take().map(Err);
            }
            if peeks || queue.first().is_none() {
                return queue.first().cloned().map(Ok);
            }
            queue.notify_nothing();
            queue.pop().map(Ok)
        })
    }
}

fn check_admin(ctx: &Context) -> Result<()> {
    if ctx.credentials().has(Capabilities::NET_ADMIN) { Ok(()) } else { Err(EPERM) }
}

/// Port and groups of an address.
///
/// # Errors
/// `EINVAL` if it is of another family.
fn decode(address: &SocketAddress) -> Result<(u32, u32)> {
    match address {
        SocketAddress::Netlink { port, groups } => Ok((*port, *groups)),
        _ => Err(EINVAL),
    }
}

impl Pollable for NetlinkSocket {
    fn pollee(&self) -> &Pollee {
        self.core.queue.pollee(0)
    }

    fn readiness(&self) -> IoEvents {
        self.core.queue.readiness(0)
    }
}

impl Socket for NetlinkSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    /// # Errors
    /// `EINVAL` for another family, or another port than it has; `EADDRINUSE`.
    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let (port, groups) = decode(address)?;
        let mut name = self.name.lock();
        match &name.claim {
            Some(claim) if claim.port() != port => return Err(EINVAL),
            Some(_) => {}
            None if port == 0 => name.claim = Some(Claim::any(&self.core, ctx.process.pid)?),
            None => name.claim = Some(Claim::new(&self.core, port)?),
        }
        if let Some(claim) = &name.claim {
            claim.set_groups(u64::from(u32::MAX), u64::from(groups));
        }
        Ok(())
    }

    /// # Errors
    /// `EINVAL` for another family; `EPERM` for another port than the kernel's without privilege.
    fn connect(&self, ctx: &Context, address: &SocketAddress, _is_nonblocking: bool) -> Result<()> {
        let peer = match address {
            SocketAddress::Unspecified => (0, 0),
            _ => decode(address)?,
        };
        if peer != (0, 0) {
            check_admin(ctx)?;
        }
        self.port(ctx)?;
        self.name.lock().peer = peer;
        Ok(())
    }

    /// # Errors
    /// `EOPNOTSUPP` for urgent data; `EPERM` for another port than the kernel's without privilege; `EMSGSIZE`;
    /// `ECONNREFUSED` if nobody has the port; `EFAULT`.
    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let (peer, groups) = match &message.destination {
            Some(address) => decode(address)?,
            None => self.name.lock().peer,
        };
        if (peer, groups) != (0, 0) {
            check_admin(ctx)?;
        }
        let port = self.port(ctx)?;
        let len = src.remain();
        if len > (self.common.options.send_buffer() as usize).saturating_sub(SEND_OVERHEAD) {
            return Err(EMSGSIZE);
        }
        let mut bytes = alloc::vec![0; len];
        if src.read_slice(&mut bytes)? < len {
            return Err(EFAULT);
        }
        // Of several groups, the first one is meant.
        let group = groups.checked_ilog2().map_or(0, |_| groups.trailing_zeros() + 1);
        let packet = Received { source: port, group, part: Part::None, bytes };
        if group != 0 {
            ports::members(group, port).iter().for_each(|core| core.put(packet.clone()));
        }
        match peer {
            0 => self.ask_kernel(port, &packet.bytes, check_admin(ctx).is_ok()),
            _ => ports::find(peer).ok_or(ECONNREFUSED)?.put(packet),
        }
        Ok(len)
    }

    /// # Errors
    /// `EOPNOTSUPP` for urgent data; `ENOBUFS` if something was lost; `EFAULT`; `EAGAIN`.
    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        if how.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let peeks = how.flags.contains(MsgFlags::PEEK);
        let taken = ctx.wait(&InTurn(self, IoEvents::READABLE), timeout, || self.take(peeks));
        let packet = taken.unwrap_or_else(|error| Err(errno_of(error, timeout)))?;
        let copied = packet.bytes.len().min(dst.avail());
        if dst.write_slice(&packet.bytes[..copied])? < copied {
            return Err(EFAULT);
        }
        let mut incoming = Incoming::message(copied, packet.bytes.len(), how.flags);
        let groups = packet.group.checked_sub(1).and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or(0);
        incoming.source = Some(SocketAddress::Netlink { port: packet.source, groups });
        if how.wants_control {
            incoming.control = self.options.describe(&packet);
        }
        Ok(incoming)
    }

    fn local_address(&self) -> Result<SocketAddress> {
        let name = self.name.lock();
        let claim = name.claim.as_ref();
        // What an address has room for are the first 32 groups.
        let groups = claim.map_or(0, |claim| claim.groups() as u32);
        Ok(SocketAddress::Netlink { port: claim.map_or(0, Claim::port), groups })
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        let (port, groups) = self.name.lock().peer;
        Ok(SocketAddress::Netlink { port, groups })
    }

    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if level != options::SOL_NETLINK {
            self.common.options.set(ctx, level, name, value)?;
            let limit = self.common.options.receive_buffer() as usize;
            self.core.queue.update(|queue| {
                queue.notify_nothing();
                queue.limit = limit;
            });
            return Ok(());
        }
        if let Some((group, joins)) = options::decode_membership(name, value)? {
            self.port(ctx)?;
            if let Some(claim) = &self.name.lock().claim {
                let bit = 1_u64 << (group - 1);
                claim.set_groups(bit, if joins { bit } else { 0 });
            }
            return Ok(());
        }
        self.options.set(name, value)?;
        let hides_overruns = self.options.hides_overruns();
        self.core.queue.update(|queue| {
            queue.notify_nothing();
            queue.hides_overruns = hides_overruns;
        });
        Ok(())
    }

    fn option(&self, _ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        match (level, name) {
            (options::SOL_NETLINK, options::LIST_MEMBERSHIPS) => {
                let groups = self.name.lock().claim.as_ref().map_or(0, Claim::groups);
                Ok(groups.to_ne_bytes().to_vec())
            }
            (options::SOL_NETLINK, _) => self.options.get(name),
            _ => self.common.options.get(&self.common, level, name),
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.core.queue.update(|queue| {
            queue.error?;
            queue.notify_nothing();
            queue.error.take()
        })
    }
}
