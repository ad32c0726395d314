// SPDX-License-Identifier: MPL-2.0

//! What a datagram socket has received and not read yet, and who its peer is.
//!
//! # Invariants
//! - **U1** What is queued is bounded by `SO_RCVBUF`, bookkeeping included; what comes beyond is dropped, as on Linux.

use core::net::{IpAddr, SocketAddr};

use readiness::{IoEvents, Readiness};

use super::errors::Notice;
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
    /// The datagrams that were lost before it for want of room, if the receiver wants to know (`SO_RXQ_OVFL`).
    pub drops: u32,
    /// If it is several of this many bytes (`UDP_SEGMENT`), or else 0. The last may be shorter.
    pub segment: u16,
    /// The content.
    pub payload: Payload,
}

/// Bytes that Linux counts for a datagram beside its content, and for the rounding of its buffer.
const OVERHEAD: usize = 256;
const HEADERS: usize = 384;

impl Datagram {
    /// What it counts against `SO_RCVBUF`, see [`cost_of`].
    fn cost(&self) -> usize {
        cost_of(self.payload.len())
    }

    /// The datagrams that it is.
    pub fn segments(&self) -> impl Iterator<Item = Self> {
        let starts = (0..self.payload.len()).step_by(usize::from(self.segment).max(1));
        starts.map(|start| Self {
            source: self.source,
            destination: self.destination,
            time: self.time,
            hops: self.hops,
            drops: self.drops,
            segment: 0,
            payload: self.payload.part(start..start + usize::from(self.segment)),
        })
    }
}

/// What a message of `len` bytes counts against `SO_RCVBUF`. Mirrors the `truesize` of a small `sk_buff`.
pub fn cost_of(len: usize) -> usize {
    OVERHEAD + (len + HEADERS).next_power_of_two()
}

/// All that the readiness of a datagram socket depends on, and what goes with it.
#[derive(Default)]
pub struct Mailbox {
    queue: VecDeque<Datagram>,
    notices: VecDeque<Notice>,
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
    /// It takes several datagrams as one (`UDP_GRO`).
    pub takes_segments: bool,
    /// Datagrams say how many were lost before them (`SO_RXQ_OVFL`).
    pub reports_drops: bool,
    /// Notices are exceptional conditions for `poll(2)`, too (`SO_SELECT_ERR_QUEUE`).
    pub selects_errors: bool,
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
    pub fn push(&mut self, mut datagram: Datagram) {
        self.cost += datagram.cost();
        datagram.drops = if self.reports_drops { self.drops as u32 } else { 0 };
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

    /// Puts a notice in, if there is room.
    pub fn push_notice(&mut self, notice: Notice) {
        if self.cost + notice.cost() < self.limit {
            self.cost += notice.cost();
            self.notices.push_back(notice);
        }
    }

    /// Takes the oldest notice. The pending error is then that of the next.
    pub fn pop_notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        self.cost -= notice.cost();
        let next = self.notices.front().and_then(Notice::pending_error);
        if next.is_some() || notice.pending_error().is_some() {
            self.error = next;
        }
        Some(notice)
    }

    /// Whether there is another notice: who watches for edges is told of it when one is taken.
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes all notices.
    pub fn take_notices(&mut self) -> VecDeque<Notice> {
        self.cost -= self.notices.iter().map(Notice::cost).sum::<usize>();
        core::mem::take(&mut self.notices)
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
        events.set(IoEvents::ERR, self.error.is_some() || self.has_notices());
        events.set(IoEvents::PRI, self.selects_errors && self.has_notices());
        events.set(IoEvents::HUP, self.is_read_shut && self.is_write_shut);
        events.set(IoEvents::RDHUP, self.is_read_shut);
        events.set(IoEvents::READABLE, self.is_read_shut || !self.queue.is_empty());
        events
    }
}
