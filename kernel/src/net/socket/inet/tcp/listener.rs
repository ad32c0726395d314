// SPDX-License-Identifier: MPL-2.0

//! Listening sockets: the connections that nobody has accepted yet.
//!
//! # Protocol
//! `connect(2)` puts a connection, established, into the queue of a listener ([`Listener::offer`]), and `accept(2)` takes it
//! ([`Listener::take`]). If the queue is full the connection waits, and is established when there is room: as if it had sent its
//! SYN again at that very moment.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use readiness::{IoEvents, Pollee, Readiness, Tracked};

use super::{super::ports::Claim, connection::Connection};
use crate::prelude::*;

/// The queues of a listening socket.
pub struct Listener {
    queue: Tracked<Queue, 1, Arc<Pollee>>,
    claim: Claim<Listener>,
    /// `TCP_MAXSEG`, 0 if it was not set. Relaxed, as all options.
    max_segment: AtomicU32,
}

struct Queue {
    /// How many may wait to be accepted, less one: Linux's `sk_acceptq_is_full`.
    backlog: usize,
    /// Established connections, oldest first.
    established: VecDeque<Arc<Connection>>,
    /// Connections for which there was no room.
    waiting: VecDeque<Arc<Connection>>,
    /// Places that are kept for connections that are being moved from `waiting` to `established`.
    reserved: usize,
    is_closed: bool,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.established.len() + self.reserved <= self.backlog
    }
}

impl Readiness for Queue {
    fn readiness(&self, _side: usize) -> IoEvents {
        if self.established.is_empty() { IoEvents::empty() } else { IoEvents::READABLE }
    }
}

impl Listener {
    /// A listener at what `claim` is bound to.
    pub fn new(claim: Claim<Listener>, pollee: Arc<Pollee>, backlog: usize, max_segment: u32) -> Arc<Self> {
        let queue =
            Queue { backlog, established: VecDeque::new(), waiting: VecDeque::new(), reserved: 0, is_closed: false };
        Arc::new(Self {
            queue: Tracked::with_pollees(queue, [pollee]),
            claim,
            max_segment: AtomicU32::new(max_segment),
        })
    }

    /// `TCP_MAXSEG`, for connections to come.
    pub fn set_max_segment(&self, bytes: u32) {
        self.max_segment.store(bytes, Relaxed);
    }

    /// Where it listens.
    pub fn claim(&self) -> &Claim<Listener> {
        &self.claim
    }

    /// `listen(2)` once more.
    pub fn set_backlog(&self, backlog: usize) {
        self.queue.update(|queue| {
            queue.backlog = backlog;
            queue.notify_nothing();
        });
        self.admit();
    }

    /// Takes a new connection, which nobody else knows yet.
    ///
    /// # Errors
    /// `ECONNREFUSED` if it listens no more.
    pub fn offer(&self, connection: &Arc<Connection>) -> Result<()> {
        connection.limit_segment(self.max_segment.load(Relaxed));
        self.queue.update(|queue| {
            if queue.is_closed {
                return Err(ECONNREFUSED);
            }
            if queue.has_room() {
                queue.established.push_back(connection.clone());
                queue.notify(0, IoEvents::READABLE);
            } else {
                connection.wait_for_room();
                queue.waiting.push_back(connection.clone());
                queue.notify_nothing();
            }
            Ok(())
        })
    }

    /// Takes the oldest connection. `None`: there is none.
    ///
    /// # Errors
    /// `EINVAL` if it listens no more.
    pub fn take(&self) -> Option<Result<Arc<Connection>>> {
        let (taken, somebody_waits) = self.queue.update(|queue| {
            if queue.established.is_empty() {
                return (queue.is_closed.then_some(Err(EINVAL)), false);
            }
            queue.notify_nothing();
            (queue.established.pop_front().map(Ok), !queue.waiting.is_empty())
        });
        if somebody_waits {
            self.admit();
        }
        taken
    }

    /// Whether a connection could be taken.
    pub fn readiness(&self) -> IoEvents {
        self.queue.readiness(0)
    }

    /// How many wait to be accepted, and how many may.
    pub fn fill(&self) -> (usize, usize) {
        self.queue.read(|queue| (queue.established.len(), queue.backlog))
    }

    /// Establishes waiting connections, as far as there is room.
    fn admit(&self) {
        loop {
            let next = self.queue.update(|queue| {
                if queue.waiting.is_empty() || !queue.has_room() {
                    return None;
                }
                queue.notify_nothing();
                queue.reserved += 1;
                queue.waiting.pop_front()
            });
            let Some(connection) = next else { return };
            // Before anybody can accept it.
            let is_alive = connection.establish();
            let is_closed = self.queue.update(|queue| {
                queue.reserved -= 1;
                if queue.is_closed || !is_alive {
                    queue.notify_nothing();
                    return true;
                }
                queue.established.push_back(connection.clone());
                queue.notify(0, IoEvents::READABLE);
                false
            });
            if is_closed {
                connection.refuse(ECONNRESET);
            }
        }
    }

    /// Listens no more: whoever waits is refused, whoever was not accepted yet is reset.
    pub fn close(&self) {
        // Nothing receives here from now on; that cannot fail.
        let _ = self.claim.set_receiver(None);
        let (established, waiting) = self.queue.update(|queue| {
            queue.is_closed = true;
            queue.notify(0, IoEvents::all());
            (core::mem::take(&mut queue.established), core::mem::take(&mut queue.waiting))
        });
        established.into_iter().for_each(|connection| connection.refuse(ECONNRESET));
        waiting.into_iter().for_each(|connection| connection.refuse(ECONNREFUSED));
    }
}
