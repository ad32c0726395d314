// SPDX-License-Identifier: MPL-2.0

//! A socket that listens: the queue between `connect(2)` and `accept(2)`.
//!
//! # Protocol
//! A connection exists, and may be written to, from `connect` on; the side to be accepted is an [`Endpoint`] in the queue.
//! Those who wait to connect register on the side [`ROOM_SIDE`], those who accept on the socket's own pollee.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use readiness::{IoEvents, Pollable, Pollee, Readiness, Tracked};

use super::{
    Identity, PeerCredentials,
    connection::Endpoint,
    name::Binding,
    rights::Rights,
    state::{ARRIVAL, ROOM},
};
use crate::{net::Shutdown, prelude::*};

/// The side of [`Backlog`] that accepts.
pub const ACCEPT_SIDE: usize = 0;
/// The side of [`Backlog`] that wants to connect.
const ROOM_SIDE: usize = 1;

/// A socket that listens.
pub struct Listener {
    state: Tracked<Backlog, 2, Arc<Pollee>>,
    /// Its name, which those that are accepted share.
    pub binding: Arc<Binding>,
    /// Whom those see that connect.
    pub credentials: PeerCredentials,
    /// `SO_PASSCRED`, which those that are accepted inherit. Relaxed: an option orders nothing.
    passes_credentials: AtomicBool,
}

/// Connections that were not accepted yet.
struct Backlog {
    queue: VecDeque<Embryo>,
    /// One less than how many there may be.
    limit: usize,
    /// Whether nobody will accept any more: it was shut down for reading, or closed.
    refuses: bool,
    /// Whether it was shut down for writing, which shows only in `HUP`.
    is_write_shut: bool,
}

/// A connection that was not accepted yet.
pub struct Embryo {
    /// The side to accept.
    pub endpoint: Endpoint,
    /// Its pollee.
    pub pollee: Arc<Pollee>,
    /// Its name.
    pub identity: Arc<Identity>,
}

impl Readiness for Backlog {
    fn readiness(&self, side: usize) -> IoEvents {
        let mut events = IoEvents::empty();
        if side == ACCEPT_SIDE {
            events.set(IoEvents::READABLE, !self.queue.is_empty() || self.refuses);
            events.set(IoEvents::RDHUP, self.refuses);
            events.set(IoEvents::HUP, self.refuses && self.is_write_shut);
        } else {
            events.set(ROOM, !self.is_full() || self.refuses);
        }
        events
    }
}

impl Backlog {
    /// One more than the backlog is let in, as by Linux.
    fn is_full(&self) -> bool {
        self.queue.len() > self.limit
    }
}

impl Listener {
    /// A listener with the name `binding`.
    pub fn new(pollee: Arc<Pollee>, binding: Arc<Binding>, credentials: PeerCredentials, limit: usize) -> Arc<Self> {
        let backlog = Backlog { queue: VecDeque::new(), limit, refuses: false, is_write_shut: false };
        let state = Tracked::with_pollees(backlog, [pollee, Arc::new(Pollee::new())]);
        Arc::new(Self { state, binding, credentials, passes_credentials: AtomicBool::new(false) })
    }

    /// `SO_PASSCRED`
    pub fn passes_credentials(&self) -> bool {
        self.passes_credentials.load(Relaxed)
    }

    /// `SO_PASSCRED` was changed.
    pub fn set_passes_credentials(&self, passes: bool) {
        self.passes_credentials.store(passes, Relaxed);
    }

    /// What is ready for whoever accepts.
    pub fn readiness(&self) -> IoEvents {
        self.state.readiness(ACCEPT_SIDE)
    }

    /// Sets how many more than one may wait, and says as whom it listens.
    pub fn set_limit(&self, limit: usize) {
        self.state.update(|backlog| {
            backlog.limit = limit;
            backlog.notify(ROOM_SIDE, ROOM);
        });
    }

    /// Whether there is no room for one more; an offer would be in vain.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nobody will accept any more.
    pub fn is_full(&self) -> Result<bool> {
        self.state.read(|backlog| if backlog.refuses { Err(ECONNREFUSED) } else { Ok(backlog.is_full()) })
    }

    /// Queues `embryo`; `commit` runs when that is certain, before anybody can accept it. `None`: there is no room now.
    ///
    /// # Errors
    /// `ECONNREFUSED` if nobody will accept it.
    pub fn offer(&self, embryo: Embryo, commit: impl FnOnce()) -> Option<Result<()>> {
        let mut embryo = Some(embryo);
        self.state.update(|backlog| {
            if backlog.refuses {
                return Some(Err(ECONNREFUSED));
            }
            if backlog.is_full() {
                return None;
            }
            backlog.notify(ACCEPT_SIDE, ARRIVAL);
            commit();
            backlog.queue.extend(embryo.take());
            Some(Ok(()))
        })
    }

    /// Takes the first connection. `None`: there is none yet.
    ///
    /// # Errors
    /// `EINVAL` if there is none, and the listener was shut down.
    pub fn take(&self) -> Option<Result<Embryo>> {
        self.state.update(|backlog| {
            if backlog.queue.is_empty() {
                return backlog.refuses.then_some(Err(EINVAL));
            }
            backlog.notify(ROOM_SIDE, ROOM);
            backlog.queue.pop_front().map(Ok)
        })
    }

    /// `shutdown(2)`
    pub fn shutdown(&self, how: Shutdown) {
        self.state.update(|backlog| {
            backlog.refuses |= how.ends_reading();
            backlog.is_write_shut |= how.ends_writing();
            backlog.notify(ACCEPT_SIDE, IoEvents::all());
            backlog.notify(ROOM_SIDE, ROOM);
        });
    }

    /// The end: whoever waits is refused, whoever is queued reset.
    pub fn close(&self) {
        let queue = self.state.update(|backlog| {
            backlog.refuses = true;
            backlog.notify(ROOM_SIDE, ROOM);
            core::mem::take(&mut backlog.queue)
        });
        drop(queue);
    }

    /// Calls `visit` for the files of each message that was sent to those in the queue. To be called with the graph held.
    pub fn for_each_queued(&self, visit: &mut dyn FnMut(&Rights)) {
        self.state.read(|backlog| {
            for embryo in &backlog.queue {
                embryo.endpoint.connection.for_each_queued(embryo.endpoint.side, visit);
            }
        });
    }

    /// Takes these files out. To be called with the graph held.
    pub fn take_queued(&self) -> Vec<Rights> {
        self.state.read(|backlog| {
            let endpoints = backlog.queue.iter().map(|embryo| &embryo.endpoint);
            endpoints.flat_map(|endpoint| endpoint.connection.take_queued(endpoint.side)).collect()
        })
    }
}

/// A listener as those see it who wait to connect.
pub struct Room<'a>(pub &'a Listener);

impl Pollable for Room<'_> {
    fn pollee(&self) -> &Pollee {
        self.0.state.pollee(ROOM_SIDE)
    }

    fn readiness(&self) -> IoEvents {
        self.0.state.readiness(ROOM_SIDE)
    }
}
