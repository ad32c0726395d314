// SPDX-License-Identifier: MPL-2.0

//! What a datagram socket is for others: a queue, and what readiness depends on.
//!
//! # Concurrency
//! The states of two inboxes are never held together. Lock order: the graph of [`super::rights`], the state.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use readiness::{IoEvents, Pollee, Readiness, Tracked};

use super::{
    Identity,
    control::Control,
    rights::{self, Rights},
    state::{ARRIVAL, ROOM},
};
use crate::{net::socket::payload::Payload, prelude::*};

/// The side of [`InboxState`] that is the socket itself.
pub const OWNER: usize = 0;
/// The side that sends to it.
pub const SENDERS: usize = 1;

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

/// What a socket is for others.
pub struct Inbox {
    /// All that changes.
    pub state: Tracked<InboxState, 2, Arc<Pollee>>,
    /// The socket's own.
    pub pollee: Arc<Pollee>,
    /// Its name.
    pub identity: Arc<Identity>,
}

/// What readiness depends on, of the socket and of those that send to it.
pub struct InboxState {
    /// What was not received yet.
    pub queue: VecDeque<Datagram>,
    /// One less than how many datagrams there may be.
    limit: usize,
    /// Whether the socket is gone.
    pub is_closed: bool,
    /// Whether it may still receive.
    pub receives: bool,
    /// Whether it may still send.
    pub sends: bool,
    /// Reported once (`SO_ERROR`).
    pub error: Option<Errno>,
    /// What this socket has sent and nobody received yet counts so much.
    pub charge: u32,
    /// `SO_SNDBUF`
    pub send_limit: u32,
    /// Whom it is connected to.
    pub peer: Option<Arc<Inbox>>,
}

/// A datagram on its way.
pub struct Datagram {
    /// Its bytes.
    pub payload: Payload,
    /// What it counts against the sender's buffer.
    pub charge: u32,
    /// Who sent it.
    pub sender: Arc<Inbox>,
    /// What else it carries.
    pub control: Option<Box<Control>>,
}

/// Why a datagram was not delivered.
pub enum Undelivered {
    /// There is no room now.
    Full,
    /// The socket is gone.
    Dead,
    /// It never will be.
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
    /// Whether there are as many datagrams as may be.
    pub fn is_full(&self) -> bool {
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

    /// Whether it is connected to `inbox`.
    pub fn has_peer(&self, inbox: &Arc<Inbox>) -> bool {
        self.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, inbox))
    }
}

impl Inbox {
    /// An empty one that is not connected.
    pub fn new(identity: Arc<Identity>, send_limit: u32) -> Arc<Self> {
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

    /// Whom it is connected to.
    pub fn peer(&self) -> Option<Arc<Inbox>> {
        self.state.read(|state| state.peer.clone())
    }

    /// What is ready for the socket.
    pub fn readiness(self: &Arc<Self>) -> IoEvents {
        let (events, peer) = self.state.read(|state| (state.readiness(OWNER), state.peer.clone()));
        let is_stuck = |peer: Arc<Inbox>| peer.state.read(|state| !state.has_peer(self) && state.is_full());
        if events.intersects(ROOM) && peer.is_some_and(is_stuck) { events - ROOM } else { events }
    }

    /// Counts a datagram that is about to be sent. `None`: what was sent before must be received first, or the target
    /// `is_full`.
    ///
    /// # Errors
    /// The pending error; `EPIPE` after `shutdown(2)`.
    pub fn reserve(&self, charge: u32, is_full: bool) -> Option<Result<()>> {
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
    pub fn release(&self, charge: u32) {
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
    pub fn is_full_for(self: &Arc<Self>, sender: &Arc<Self>) -> bool {
        self.state.read(|state| state.is_full_for(Arc::ptr_eq(self, sender)))
    }

    /// Takes a datagram in, unless that is not possible.
    pub fn deliver(self: &Arc<Self>, datagram: &mut Option<Datagram>) -> core::result::Result<(), Undelivered> {
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
    pub fn take(&self) -> Option<Result<Option<Datagram>>> {
        let mut graph = self.has_rights().then(rights::graph);
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
        if let Some(Ok(Some(datagram))) = &taken
            && let Some(rights) = datagram.rights()
        {
            // It may have come since the look.
            graph.get_or_insert_with(rights::graph).leave(rights);
        }
        drop(graph);
        drop(pending);
        taken
    }

    /// Whether the first datagram carries files. Only a reader changes that to no.
    fn has_rights(&self) -> bool {
        self.state.read(|state| state.queue.iter().any(|datagram| datagram.rights().is_some()))
    }

    /// A copy of the first datagram. `None`: there is none yet.
    pub fn peek(&self) -> Option<Result<Option<Datagram>>> {
        let _graph = self.has_rights().then(rights::graph);
        let first = |state: &InboxState| state.queue.front().filter(|_| state.error.is_none()).map(Datagram::duplicate);
        match self.state.read(first) {
            Some(datagram) => Some(Ok(Some(datagram))),
            None => self.state.update(without_datagram),
        }
    }

    /// Takes everything out of the queue; the files are out of flight. Says whether there was something.
    pub fn clear(&self, change: impl FnOnce(&mut InboxState)) -> bool {
        let mut graph = rights::graph();
        let (queue, pending) = self.state.update_then(|state| {
            let was_full = state.is_full();
            change(state);
            state.notify(OWNER, IoEvents::all());
            if was_full {
                state.notify(SENDERS, ROOM);
            }
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
    pub fn dissolve(self: &Arc<Self>, peer: &Arc<Inbox>) {
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
    /// The files it carries.
    pub fn rights(&self) -> Option<&Rights> {
        self.control.as_ref().and_then(|control| control.rights.as_ref())
    }

    /// The same datagram once more, which counts against nobody. To be called with the graph held if it carries files.
    pub fn duplicate(&self) -> Self {
        let control = self.control.as_ref().map(|control| {
            let rights = control.rights.as_ref().map(Rights::duplicate);
            Box::new(Control { credentials: control.credentials, rights })
        });
        Self { payload: self.payload.clone(), charge: 0, sender: self.sender.clone(), control }
    }
}
