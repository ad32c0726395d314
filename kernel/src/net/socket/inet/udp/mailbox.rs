// SPDX-License-Identifier: MPL-2.0

//! What a datagram socket has received and not read yet, and who its peer is.
//!
//! # Invariants
//! - **U1** What is queued is bounded by `SO_RCVBUF`, bookkeeping included; what comes beyond is dropped, as on Linux.

use core::net::{IpAddr, SocketAddr};

use readiness::{IoEvents, Readiness};

use crate::{
    net::{Shutdown, socket::payload::Payload},
    prelude::*,
};

/// A message on its way.
#[derive(Clone)]
pub struct Datagram {
    /// Where from; canonical, as the next.
    pub source: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// When it was sent: nanoseconds since 1970.
    pub time: u64,
    /// Time to live and type of service.
    pub hops: (u8, u8),
    /// The content.
    pub payload: Payload,
}

/// Bytes that Linux counts for a datagram beside its content, and for the rounding of its buffer.
const OVERHEAD: usize = 256;
const HEADERS: usize = 384;

impl Datagram {
    /// What it counts against `SO_RCVBUF`. Mirrors the `truesize` of a small `sk_buff`.
    fn cost(&self) -> usize {
        OVERHEAD + (self.payload.len() + HEADERS).next_power_of_two()
    }
}

/// All that the readiness of a datagram socket depends on, and what goes with it.
#[derive(Default)]
pub struct Mailbox {
    queue: VecDeque<Datagram>,
    /// The cost of what is queued.
    cost: usize,
    /// `SO_RCVBUF`
    pub limit: usize,
    /// Datagrams that found no room.
    pub drops: u64,
    /// The pending error (`SO_ERROR`).
    pub error: Option<Errno>,
    /// Whom it is connected to.
    pub peer: Option<SocketAddr>,
    /// Where it receives, once it is connected: no longer at every address.
    pub local: Option<IpAddr>,
    /// Multicast groups that it is in.
    pub groups: Vec<IpAddr>,
    /// It hears of all groups that this machine is in (`IP_MULTICAST_ALL`).
    pub hears_all_groups: bool,
    is_read_shut: bool,
    is_write_shut: bool,
}

impl Mailbox {
    /// An empty one for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, hears_all_groups: true, ..Self::default() }
    }

    /// How much better than by its address it matches what `source` sends to `destination`; `None`: it is not meant.
    pub fn match_score(&self, source: SocketAddr, destination: IpAddr) -> Option<u32> {
        if self.local.is_some_and(|local| local != destination) {
            return None;
        }
        match self.peer {
            Some(peer) if peer == source => Some(8),
            Some(_) => None,
            None => Some(0),
        }
    }

    /// Whether there is room for one more. Mirrors Linux: the last one may exceed the limit, and `shutdown(2)` refuses none.
    pub fn has_room(&self) -> bool {
        self.cost <= self.limit
    }

    /// Puts a datagram in.
    pub fn push(&mut self, datagram: Datagram) {
        self.cost += datagram.cost();
        self.queue.push_back(datagram);
    }

    /// The oldest datagram.
    pub fn first(&self) -> Option<&Datagram> {
        self.queue.front()
    }

    /// Takes the oldest datagram.
    pub fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.cost -= datagram.cost();
        Some(datagram)
    }

    /// Bytes of bookkeeping and content that are queued, for `/proc/net/udp`.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// `shutdown(2)`
    pub fn shut_down(&mut self, how: Shutdown) {
        self.is_read_shut |= how.ends_reading();
        self.is_write_shut |= how.ends_writing();
    }

    /// Opens again what was shut: a connection was dissolved.
    pub fn reopen(&mut self) {
        (self.is_read_shut, self.is_write_shut) = (false, false);
    }

    /// Nothing more is to be received.
    pub fn is_read_shut(&self) -> bool {
        self.is_read_shut
    }

    /// Nothing more may be sent.
    pub fn is_write_shut(&self) -> bool {
        self.is_write_shut
    }
}

impl Readiness for Mailbox {
    /// Mirrors Linux's `datagram_poll`. There is always room to send: what is sent has arrived.
    fn readiness(&self, _side: usize) -> IoEvents {
        let mut events = IoEvents::WRITABLE | IoEvents::WRBAND;
        events.set(IoEvents::ERR, self.error.is_some());
        events.set(IoEvents::HUP, self.is_read_shut && self.is_write_shut);
        events.set(IoEvents::RDHUP, self.is_read_shut);
        events.set(IoEvents::READABLE, self.is_read_shut || !self.queue.is_empty());
        events
    }
}
