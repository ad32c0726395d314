// SPDX-License-Identifier: MPL-2.0

//! Datagram sockets.
//!
//! # Protocol
//! Each socket has an [`Inbox`], which names and peers refer to. It bounds what it holds by a count, and what its own socket has
//! sent by `SO_SNDBUF`: a datagram counts against its sender until it is received. Two sockets that are each other's peers are
//! not bounded by the count. Mirrors Linux's `unix_dgram_poll` and `unix_dgram_sendmsg`.
//!
//! `OUT` depends on another socket's queue, so answers are not cached. Who is connected to an inbox hears of room there by a
//! [`Relay`] on the side [`SENDERS`].
//!
//! # Concurrency
//! The states of two inboxes are never held together.

use readiness::{Claim, InTurn, IoEvents, Mode, Observer, Pollable, Pollee, Registration, Together};

use super::{
    Identity, PeerCredentials, Shown,
    control::{self, Control, own_credentials},
    inbox::{Datagram, Inbox, OWNER, SENDERS, Undelivered},
    name::{self, Binding, Target},
    rights::{self, Rights},
    state::{ROOM, check_packet, packet_charge},
};
use crate::{
    file::{IoDst, IoSrc},
    net::{
        Common, Family, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, SocketType,
        address::UnixAddress,
        message::{Receive, UserCredentials},
        options::{SOL_SOCKET, name as option},
        socket::{errno_of, payload::Payload},
    },
    prelude::*,
};

/// A datagram socket.
pub struct DatagramSocket {
    common: Common,
    inbox: Arc<Inbox>,
    /// Its name.
    binding: Mutex<Option<Arc<Binding>>>,
    /// The registration with the peer.
    link: Mutex<Option<Link>>,
    /// For a pair: who made it.
    credentials: Option<PeerCredentials>,
}

/// What is told of room at a peer.
struct Link {
    peer: Arc<Inbox>,
    registration: Registration,
}

/// Tells the socket of room at its peer.
struct Relay(Arc<Pollee>);

impl Observer for Relay {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        let _ = self.0.notify(ROOM);
        Claim::NotTaken
    }
}

impl DatagramSocket {
    /// A socket without name and peer.
    pub fn new(ctx: &Context) -> Self {
        let common = Common::new(ctx, Family::Unix, SocketType::Datagram, 0);
        let identity = Identity::new(common.inode.number(), SocketType::Datagram);
        let inbox = Inbox::new(identity, common.options.send_buffer());
        Self { common, inbox, binding: Mutex::new(None), link: Mutex::new(None), credentials: None }
    }

    /// Two sockets connected to each other.
    pub fn new_pair(ctx: &Context) -> [Self; 2] {
        let credentials = PeerCredentials::of_caller(ctx);
        let mut pair = [Self::new(ctx), Self::new(ctx)];
        for (index, other) in [1, 0].into_iter().enumerate() {
            let peer = pair[other].inbox.clone();
            pair[index].credentials = Some(credentials.clone());
            pair[index].link_to(Some(peer));
        }
        pair
    }

    /// Makes `peer` the socket's peer, in place of what it had before.
    fn link_to(&self, peer: Option<Arc<Inbox>>) {
        let mut link = self.link.lock();
        let old = link.take();
        if let Some(peer) = &peer {
            let relay = Arc::new(Relay(self.inbox.pollee.clone()));
            let registration = peer.state.pollee(SENDERS).register(relay, ROOM, Mode::Shared);
            *link = Some(Link { peer: peer.clone(), registration });
            self.inbox.identity.shown.call_once(|| Shown::Connected);
        }
        let changed = peer.clone();
        let before = self.inbox.state.update(|state| {
            state.notify(OWNER, ROOM);
            core::mem::replace(&mut state.peer, changed)
        });
        drop(link);
        if let Some(old) = old {
            old.peer.state.pollee(SENDERS).deregister(old.registration);
        }
        if let Some(before) = before
            && !peer.is_some_and(|peer| Arc::ptr_eq(&peer, &before))
        {
            self.inbox.dissolve(&before);
        }
    }

    fn bind_to(&self, ctx: &Context, address: &UnixAddress, must_be_first: bool) -> Result<()> {
        let mut binding = self.binding.lock();
        if binding.is_some() {
            return if must_be_first { Err(EINVAL) } else { Ok(()) };
        }
        let mode = self.common.inode.base().attributes().permissions;
        let new = Binding::new(ctx, address, SocketType::Datagram, mode)?;
        new.set_target(Target::Inbox(Arc::downgrade(&self.inbox)));
        self.inbox.identity.name.call_once(|| new.name.clone());
        *binding = Some(new);
        Ok(())
    }

    fn autobind_if_credentials_pass(&self, ctx: &Context) -> Result<()> {
        if self.common.options.passes_credentials() { self.bind_to(ctx, &UnixAddress::Unnamed, false) } else { Ok(()) }
    }

    /// Delivers, and waits for room as long as it may.
    fn deliver(&self, ctx: &Context, target: &Arc<Inbox>, datagram: Datagram, is_nonblocking: bool) -> Result<()> {
        let timeout = self.common.send_timeout(is_nonblocking);
        let charge = datagram.charge;
        let mut datagram = Some(datagram);
        let subject = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            register(&self.inbox.pollee, IoEvents::WRITABLE);
            register(target.state.pollee(SENDERS), IoEvents::WRITABLE);
        });
        let outcome = ctx.wait(&subject, timeout, || {
            // Looked at before, for to count and take back would be an edge of our own that we wait for.
            let is_full = target.is_full_for(&self.inbox);
            if let Err(error) = self.inbox.reserve(charge, is_full)? {
                return Some(Err(Undelivered::Failed(error)));
            }
            match target.deliver(&mut datagram) {
                Ok(()) => Some(Ok(())),
                Err(why) => {
                    self.inbox.release(charge);
                    if matches!(why, Undelivered::Full) { None } else { Some(Err(why)) }
                }
            }
        });
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Undelivered::Failed(error))) => Err(error),
            Ok(Err(Undelivered::Dead)) => Err(self.lose(target)),
            Ok(Err(Undelivered::Full)) => Err(EAGAIN),
            Err(error) => Err(errno_of(error, timeout)),
        }
    }

    /// The target is dead. If it is the peer, the socket has no peer any more.
    fn lose(&self, target: &Arc<Inbox>) -> Errno {
        if self.inbox.state.read(|state| state.has_peer(target)) {
            self.link_to(None);
        }
        ECONNREFUSED
    }

    /// What others see of it.
    pub fn identity(&self) -> &Identity {
        &self.inbox.identity
    }

    /// Calls `visit` for the files of each datagram that can be received here. To be called with the graph held.
    pub fn for_each_queued(&self, visit: &mut dyn FnMut(&Rights)) {
        self.inbox.state.read(|state| state.queue.iter().filter_map(Datagram::rights).for_each(visit));
    }

    /// Takes these files out. To be called with the graph held.
    pub fn take_queued(&self) -> Vec<Rights> {
        self.inbox.state.update(|state| {
            state.notify_nothing();
            let controls = state.queue.iter_mut().filter_map(|datagram| datagram.control.as_mut());
            controls.filter_map(|control| control.rights.take()).collect()
        })
    }
}

impl Pollable for DatagramSocket {
    fn pollee(&self) -> &Pollee {
        &self.inbox.pollee
    }

    fn readiness(&self) -> IoEvents {
        self.inbox.readiness()
    }

    /// Never from the cache: another socket's queue counts, too.
    fn poll(&self) -> IoEvents {
        self.inbox.readiness()
    }
}

impl Socket for DatagramSocket {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bind(&self, ctx: &Context, address: &SocketAddress) -> Result<()> {
        let address = name::of_unix(address)?;
        self.bind_to(ctx, address, *address != UnixAddress::Unnamed)
    }

    fn connect(&self, ctx: &Context, address: &SocketAddress, _is_nonblocking: bool) -> Result<()> {
        if *address == SocketAddress::Unspecified {
            self.link_to(None);
            return Ok(());
        }
        let address = name::of_unix(address)?;
        if *address == UnixAddress::Unnamed {
            return Err(EINVAL);
        }
        self.autobind_if_credentials_pass(ctx)?;
        let peer = name::find_inbox(ctx, address)?;
        if peer.state.read(|state| state.peer.is_some() && !state.has_peer(&self.inbox)) {
            return Err(EPERM);
        }
        self.link_to(Some(peer));
        Ok(())
    }

    fn send(&self, ctx: &Context, src: &mut IoSrc<'_>, message: Outgoing) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let mut control = Control::decode(ctx, message.control)?;
        self.autobind_if_credentials_pass(ctx)?;
        let (len, send_buffer) = (src.remain(), self.common.options.send_buffer());
        let target = match &message.destination {
            None => self.inbox.peer().ok_or(ENOTCONN)?,
            Some(address) => {
                let address = name::of_unix(address)?;
                check_packet(len, send_buffer)?;
                name::find_inbox(ctx, address)?
            }
        };
        check_packet(len, send_buffer)?;
        // Whether the other side wants them is not looked at: whoever does not, does not show them.
        control.credentials = control.credentials.or_else(|| Some(own_credentials(ctx)));
        let payload = Payload::copy_from(src, len)?;
        let charge = packet_charge(len);
        let datagram = Datagram { payload, charge, sender: self.inbox.clone(), control: control.boxed() };
        self.deliver(ctx, &target, datagram, message.is_nonblocking)?;
        Ok(len)
    }

    fn receive(&self, ctx: &Context, dst: &mut IoDst<'_>, how: Receive) -> Result<Incoming> {
        if how.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let timeout = self.common.receive_timeout(how.is_nonblocking);
        let peeks = how.flags.contains(MsgFlags::PEEK);
        let check = || if peeks { self.inbox.peek() } else { self.inbox.take() };
        let outcome = ctx.wait(&InTurn(self, IoEvents::READABLE), timeout, check);
        let Some(datagram) = outcome.map_err(|error| errno_of(error, timeout))?? else {
            // As on Linux, only those that would wait see the end.
            return if how.is_nonblocking { Err(EAGAIN) } else { Ok(Incoming::bytes(0)) };
        };
        if !peeks {
            datagram.sender.release(datagram.charge);
        }
        let count = datagram.payload.copy_to(dst)?;
        let mut incoming = Incoming::message(count, datagram.payload.len(), how.flags);
        incoming.source = datagram.sender.identity.source();
        if how.wants_control {
            let control = datagram.control.map(|control| *control).unwrap_or_default();
            incoming.control = control::to_messages(self, control.credentials, control.rights);
        }
        Ok(incoming)
    }

    fn shutdown(&self, _ctx: &Context, how: Shutdown) -> Result<()> {
        self.inbox.state.update(|state| {
            let was_full = state.is_full();
            state.receives &= !how.ends_reading();
            state.sends &= !how.ends_writing();
            state.notify(OWNER, IoEvents::all());
            if was_full {
                state.notify(SENDERS, ROOM);
            }
        });
        Ok(())
    }

    fn local_address(&self) -> Result<SocketAddress> {
        Ok(self.inbox.identity.address())
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        Ok(self.inbox.peer().ok_or(ENOTCONN)?.identity.address())
    }

    fn set_option(&self, ctx: &Context, level: i32, name: i32, value: &[u8]) -> Result<()> {
        if level != SOL_SOCKET {
            return Err(EOPNOTSUPP);
        }
        let options = &self.common.options;
        options.set(ctx, level, name, value)?;
        if matches!(name, option::SNDBUF | option::SNDBUFFORCE) {
            self.inbox.state.update(|state| {
                state.send_limit = options.send_buffer();
                state.notify(OWNER, ROOM);
            });
        }
        Ok(())
    }

    fn option(&self, ctx: &Context, level: i32, name: i32) -> Result<Vec<u8>> {
        let _ = ctx;
        match (level, name) {
            (SOL_SOCKET, option::PEERCRED) => {
                const NOBODY: UserCredentials = UserCredentials { pid: 0, uid: u32::MAX, gid: u32::MAX };
                Ok(self.credentials.as_ref().map_or(NOBODY, |peer| peer.user).as_bytes().to_vec())
            }
            (SOL_SOCKET, option::PEERGROUPS) => {
                Ok(self.credentials.as_ref().ok_or(ENODATA)?.groups.as_bytes().to_vec())
            }
            (SOL_SOCKET, _) => self.common.options.get(&self.common, level, name),
            _ => Err(EOPNOTSUPP),
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.inbox.state.update(|state| {
            state.error?;
            state.notify_nothing();
            state.error.take()
        })
    }

    fn set_error(&self, error: Errno) {
        self.inbox.state.update(|state| {
            state.error = Some(error);
            state.notify(OWNER, IoEvents::ERR);
        });
    }

    fn control(&self, ctx: &Context, command: u32, argument: usize) -> Result<isize> {
        super::ioctl::control(ctx, self, &self.inbox.identity, command, argument)
    }
}

impl super::ioctl::Counted for DatagramSocket {
    fn unread(&self) -> Result<usize> {
        Ok(self.inbox.state.read(|state| state.queue.front().map_or(0, |datagram| datagram.payload.len())))
    }

    fn unsent(&self) -> usize {
        self.inbox.state.read(|state| state.charge) as usize
    }
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        let link = self.link.get_mut().take();
        let mut peer = None;
        self.inbox.clear(|state| {
            state.is_closed = true;
            peer = state.peer.take();
        });
        if let Some(Link { peer, registration }) = link {
            peer.state.pollee(SENDERS).deregister(registration);
        }
        drop(peer);
        rights::collect();
    }
}
