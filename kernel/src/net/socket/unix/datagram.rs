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

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use readiness::{
    Claim, InTurn, IoEvents, Mode, Observer, Pollable, Pollee, Readiness, Registration, Together, Tracked,
};

use super::{
    Identity, PeerCredentials, Shown,
    control::{self, Control, own_credentials},
    name::{self, Binding, Target},
    payload::Payload,
    rights::{self, Rights},
    state::{ARRIVAL, ROOM, packet_charge},
};
use crate::{
    file::{IoDst, IoSrc},
    net::{
        Common, Family, Incoming, MsgFlags, Outgoing, Shutdown, Socket, SocketAddress, SocketType,
        address::UnixAddress,
        message::{Receive, UserCredentials},
        options::{SOL_SOCKET, name as option},
        socket::errno_of,
    },
    prelude::*,
};

/// The side of [`InboxState`] that is the socket itself.
const OWNER: usize = 0;
/// The side that sends to it.
const SENDERS: usize = 1;

/// `/proc/sys/net/unix/max_dgram_qlen`. Relaxed: a setting orders nothing.
static MAX_QUEUE: AtomicU32 = AtomicU32::new(10);

/// `/proc/sys/net/unix/max_dgram_qlen`: one less than how many datagrams a new socket holds.
pub fn max_queue() -> u32 {
    MAX_QUEUE.load(Relaxed)
}

/// Sets it.
///
/// # Errors
/// `EINVAL` if it is larger than an `int`.
pub fn set_max_queue(count: u32) -> Result<()> {
    i32::try_from(count).map_err(|_| EINVAL)?;
    MAX_QUEUE.store(count, Relaxed);
    Ok(())
}

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

/// What a socket is for others.
pub struct Inbox {
    state: Tracked<InboxState, 2, Arc<Pollee>>,
    pollee: Arc<Pollee>,
    identity: Arc<Identity>,
}

struct InboxState {
    queue: VecDeque<Datagram>,
    /// One less than how many datagrams there may be.
    limit: usize,
    is_closed: bool,
    receives: bool,
    sends: bool,
    error: Option<Errno>,
    /// What this socket has sent and nobody received yet counts so much.
    charge: u32,
    /// `SO_SNDBUF`
    send_limit: u32,
    /// Whom it is connected to.
    peer: Option<Arc<Inbox>>,
}

/// A datagram on its way.
struct Datagram {
    payload: Arc<Payload>,
    charge: u32,
    sender: Arc<Inbox>,
    control: Option<Box<Control>>,
}

/// Tells the socket of room at its peer.
struct Relay(Arc<Pollee>);

impl Observer for Relay {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        let _ = self.0.notify(ROOM);
        Claim::NotTaken
    }
}

/// Why a datagram was not delivered.
enum Undelivered {
    Full,
    Dead,
    Failed(Errno),
}

impl Readiness for InboxState {
    fn readiness(&self, side: usize) -> IoEvents {
        let mut events = IoEvents::empty();
        if side == OWNER {
            events.set(IoEvents::ERR, self.error.is_some());
            events.set(IoEvents::RDHUP, !self.receives);
            events.set(IoEvents::READABLE, !self.receives || !self.queue.is_empty());
            events.set(IoEvents::HUP, !self.receives && !self.sends);
            events.set(ROOM, self.is_writable());
        } else {
            events.set(ROOM, self.is_closed || !self.receives || !self.is_full());
        }
        events
    }
}

impl InboxState {
    fn is_full(&self) -> bool {
        self.queue.len() > self.limit
    }

    /// Whether a datagram must wait for room. Neither the socket itself nor its peer does; nobody else may send to one that
    /// has a peer.
    fn is_full_for(&self, is_own: bool) -> bool {
        !is_own && self.peer.is_none() && !self.is_closed && self.receives && self.is_full()
    }

    fn is_writable(&self) -> bool {
        u64::from(self.charge) * 4 <= u64::from(self.send_limit)
    }

    fn has_peer(&self, inbox: &Arc<Inbox>) -> bool {
        self.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, inbox))
    }
}

impl Inbox {
    fn new(identity: Arc<Identity>, send_limit: u32) -> Arc<Self> {
        let pollee = Arc::new(Pollee::new());
        let state = InboxState {
            queue: VecDeque::new(),
            limit: max_queue() as usize,
            is_closed: false,
            receives: true,
            sends: true,
            error: None,
            charge: 0,
            send_limit,
            peer: None,
        };
        let state = Tracked::with_pollees(state, [pollee.clone(), Arc::new(Pollee::new())]);
        Arc::new(Self { state, pollee, identity })
    }

    fn peer(&self) -> Option<Arc<Inbox>> {
        self.state.read(|state| state.peer.clone())
    }

    /// What is ready for the socket.
    fn readiness(self: &Arc<Self>) -> IoEvents {
        let (events, peer) = self.state.read(|state| (state.readiness(OWNER), state.peer.clone()));
        let is_stuck = |peer: Arc<Inbox>| peer.state.read(|state| !state.has_peer(self) && state.is_full());
        if events.intersects(ROOM) && peer.is_some_and(is_stuck) { events - ROOM } else { events }
    }

    /// Counts a datagram that is about to be sent. `None`: what was sent before must be received first, or the target
    /// `is_full`.
    ///
    /// # Errors
    /// The pending error; `EPIPE` after `shutdown(2)`.
    fn reserve(&self, charge: u32, is_full: bool) -> Option<Result<()>> {
        self.state.update(|state| {
            if state.error.is_some() {
                state.notify_nothing();
                return state.error.take().map(Err);
            }
            if !state.sends {
                return Some(Err(EPIPE));
            }
            if is_full || state.charge >= state.send_limit {
                return None;
            }
            state.notify_nothing();
            state.charge = state.charge.saturating_add(charge);
            Some(Ok(()))
        })
    }

    /// A datagram was received, or not sent: it counts no longer.
    fn release(&self, charge: u32) {
        self.state.update(|state| {
            state.charge = state.charge.saturating_sub(charge);
            if state.is_writable() {
                state.notify(OWNER, ROOM);
            } else {
                state.notify_nothing();
            }
        });
    }

    /// Whether a datagram of `sender` has to wait for room.
    fn is_full_for(self: &Arc<Self>, sender: &Arc<Self>) -> bool {
        self.state.read(|state| state.is_full_for(Arc::ptr_eq(self, sender)))
    }

    /// Takes a datagram in, unless that is not possible.
    fn deliver(self: &Arc<Self>, datagram: &mut Option<Datagram>) -> core::result::Result<(), Undelivered> {
        let Some(Datagram { sender, control, .. }) = datagram else { return Ok(()) };
        let sender = sender.clone();
        let rights = control.as_ref().and_then(|control| control.rights.as_ref());
        let mut graph = rights.map(|rights| {
            let mut graph = rights::graph();
            graph.enter(rights, &self.identity);
            graph
        });
        let (outcome, pending) = self.state.update_then(|state| {
            if state.peer.as_ref().is_some_and(|peer| !Arc::ptr_eq(peer, &sender)) {
                return Err(Undelivered::Failed(EPERM));
            }
            if state.is_closed {
                return Err(Undelivered::Dead);
            }
            if !state.receives {
                return Err(Undelivered::Failed(EPIPE));
            }
            if state.is_full_for(Arc::ptr_eq(self, &sender)) {
                return Err(Undelivered::Full);
            }
            state.notify(OWNER, ARRIVAL);
            state.queue.extend(datagram.take());
            Ok(())
        });
        let control = datagram.as_ref().and_then(|datagram| datagram.control.as_ref());
        if let (Some(graph), Some(rights)) = (&mut graph, control.and_then(|control| control.rights.as_ref())) {
            graph.leave(rights);
        }
        drop(graph);
        drop(pending);
        outcome
    }

    /// Takes the first datagram out. `None`: there is none yet.
    fn take(&self) -> Option<Result<Option<Datagram>>> {
        let graph = self.has_rights().then(rights::graph);
        let (taken, pending) = self.state.update_then(|state| {
            if state.queue.is_empty() || state.error.is_some() {
                return without_datagram(state);
            }
            if state.is_full() {
                state.notify(SENDERS, ROOM);
            } else {
                state.notify_nothing();
            }
            state.queue.pop_front().map(|datagram| Ok(Some(datagram)))
        });
        if let (Some(mut graph), Some(Ok(Some(datagram)))) = (graph, &taken)
            && let Some(rights) = datagram.rights()
        {
            graph.leave(rights);
        }
        drop(pending);
        taken
    }

    /// Whether the first datagram carries files. Only a reader changes that to no.
    fn has_rights(&self) -> bool {
        self.state.read(|state| state.queue.iter().any(|datagram| datagram.rights().is_some()))
    }

    /// A copy of the first datagram. `None`: there is none yet.
    fn peek(&self) -> Option<Result<Option<Datagram>>> {
        let _graph = self.has_rights().then(rights::graph);
        let first = |state: &InboxState| state.queue.front().filter(|_| state.error.is_none()).map(Datagram::duplicate);
        match self.state.read(first) {
            Some(datagram) => Some(Ok(Some(datagram))),
            None => self.state.update(without_datagram),
        }
    }

    /// Takes everything out of the queue; the files are out of flight. Says whether there was something.
    fn clear(&self, change: impl FnOnce(&mut InboxState)) -> bool {
        let mut graph = rights::graph();
        let (queue, pending) = self.state.update_then(|state| {
            change(state);
            state.notify(OWNER, IoEvents::all());
            state.notify(SENDERS, ROOM);
            core::mem::take(&mut state.queue)
        });
        for rights in queue.iter().filter_map(Datagram::rights) {
            graph.leave(rights);
        }
        drop(graph);
        drop(pending);
        let was_filled = !queue.is_empty();
        for datagram in queue {
            datagram.sender.release(datagram.charge);
        }
        was_filled
    }

    /// The connection to `peer` is over: what came is lost, and then a peer that was connected to this socket is told.
    /// Mirrors Linux's `unix_dgram_disconnected`.
    fn dissolve(self: &Arc<Self>, peer: &Arc<Inbox>) {
        if !self.clear(|_| {}) {
            return;
        }
        peer.state.update(|state| {
            if state.is_closed || !state.has_peer(self) {
                return;
            }
            state.error = Some(ECONNRESET);
            state.notify(OWNER, IoEvents::all());
        });
    }
}

/// What there is for whoever receives beside datagrams: first of all an error, once; the end after `shutdown(2)`; or waiting.
fn without_datagram(state: &mut readiness::Update<'_, InboxState, 2>) -> Option<Result<Option<Datagram>>> {
    if state.error.is_some() {
        state.notify_nothing();
        return state.error.take().map(Err);
    }
    if state.receives { None } else { Some(Ok(None)) }
}

impl Datagram {
    fn rights(&self) -> Option<&Rights> {
        self.control.as_ref().and_then(|control| control.rights.as_ref())
    }

    /// The same datagram once more, which counts against nobody. To be called with the graph held if it carries files.
    fn duplicate(&self) -> Self {
        let control = self.control.as_ref().map(|control| {
            let rights = control.rights.as_ref().map(Rights::duplicate);
            Box::new(Control { credentials: control.credentials, rights })
        });
        Self { payload: self.payload.clone(), charge: 0, sender: self.sender.clone(), control }
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
        let target = match &message.destination {
            None => self.inbox.peer().ok_or(ENOTCONN)?,
            Some(address) => {
                let address = name::of_unix(address)?;
                let len = src.remain();
                if len > (self.common.options.send_buffer() as usize).saturating_sub(32) {
                    return Err(EMSGSIZE);
                }
                name::find_inbox(ctx, address)?
            }
        };
        let len = src.remain();
        if len > (self.common.options.send_buffer() as usize).saturating_sub(32) {
            return Err(EMSGSIZE);
        }
        // Whether the other side wants them is not looked at: whoever does not, does not show them.
        control.credentials = control.credentials.or_else(|| Some(own_credentials(ctx)));
        let payload = Arc::new(Payload::copy_from(src, len)?);
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
        let mut incoming = Incoming::bytes(count);
        incoming.source = datagram.sender.identity.source();
        let len = datagram.payload.len();
        if len > count {
            incoming.flags |= MsgFlags::TRUNC;
        }
        if how.flags.contains(MsgFlags::TRUNC) {
            incoming.count = len;
        }
        if how.wants_control {
            let control = datagram.control.map(|control| *control).unwrap_or_default();
            incoming.control = control::to_messages(self, control.credentials, control.rights);
        }
        Ok(incoming)
    }

    fn shutdown(&self, _ctx: &Context, how: Shutdown) -> Result<()> {
        self.inbox.state.update(|state| {
            state.receives &= !how.ends_reading();
            state.sends &= !how.ends_writing();
            state.notify(OWNER, IoEvents::all());
            state.notify(SENDERS, ROOM);
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
