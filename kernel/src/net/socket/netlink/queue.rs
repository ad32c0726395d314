// SPDX-License-Identifier: MPL-2.0

//! What a netlink socket has received and not read yet.
//!
//! # Invariants
//! - **N1** What is queued is bounded by `SO_RCVBUF`, and by one dump beyond it: a second one is not begun before the
//!   first has
//!   been read. What finds no room is lost, and the socket is told so by `ENOBUFS`.

use readiness::{IoEvents, Readiness};

use crate::prelude::*;

/// A packet on its way.
#[derive(Clone)]
pub struct Received {
    /// The port it comes from; 0 is the kernel's.
    pub source: u32,
    /// The multicast group that it was sent to; 0 for none.
    pub group: u32,
    /// Whether it belongs to a dump.
    pub part: Part,
    /// The messages.
    pub bytes: Vec<u8>,
}

/// What a packet is of a dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// It stands alone.
    None,
    /// More will follow.
    Some,
    /// It closes the dump.
    Last,
}

/// Bytes that Linux counts for a packet beside its content, and for one of a dump, which it makes large enough for
/// anything.
const OVERHEAD: usize = 768;
const DUMP_COST: usize = 4352;

impl Received {
    fn cost(&self) -> usize {
        let cost = OVERHEAD + self.bytes.len();
        if self.part == Part::None { cost } else { cost.max(DUMP_COST) }
    }
}

/// All that the readiness of a netlink socket depends on.
#[derive(Default)]
pub struct Queue {
    packets: VecDeque<Received>,
    cost: usize,
    /// `SO_RCVBUF`
    pub limit: usize,
    /// The pending error (`SO_ERROR`).
    pub error: Option<Errno>,
    /// `NETLINK_NO_ENOBUFS`
    pub hides_overruns: bool,
    /// A dump was begun and is not read yet.
    is_dumping: bool,
}

impl Queue {
    /// An empty one for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Puts a packet in if there is room, else notes that one was lost.
    pub fn push(&mut self, packet: Received) {
        if self.cost < self.limit {
            self.append(packet);
        } else if !self.hides_overruns {
            self.error = Some(ENOBUFS);
        }
    }

    /// Begins a dump of these packets, of which the last one closes it. `false`: one is not read yet.
    pub fn begin_dump(&mut self, packets: Vec<Received>) -> bool {
        if self.is_dumping {
            return false;
        }
        self.is_dumping = true;
        packets.into_iter().for_each(|packet| self.append(packet));
        true
    }

    fn append(&mut self, packet: Received) {
        self.cost += packet.cost();
        self.packets.push_back(packet);
    }

    /// The oldest packet.
    pub fn first(&self) -> Option<&Received> {
        self.packets.front()
    }

    /// Takes the oldest packet.
    pub fn pop(&mut self) -> Option<Received> {
        let packet = self.packets.pop_front()?;
        self.cost -= packet.cost();
        self.is_dumping &= packet.part != Part::Last;
        Some(packet)
    }
}

impl Readiness for Queue {
    /// Mirrors Linux's `datagram_poll`. There is always room to send: the kernel answers at once.
    fn readiness(&self, _side: usize) -> IoEvents {
        let mut events = IoEvents::WRITABLE | IoEvents::WRBAND;
        events.set(IoEvents::ERR, self.error.is_some());
        events.set(IoEvents::READABLE, !self.packets.is_empty());
        events
    }
}
