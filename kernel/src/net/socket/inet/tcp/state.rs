// SPDX-License-Identifier: MPL-2.0

//! What the readiness of a connection depends on: both flows of bytes, and what both ends have said.
//!
//! # Invariants
//! - **C1** A [`Flow`] never holds more bytes than its limit when they are added, and its ring more pages than that needs.
//! - **C2** A connection that is over never comes back.

use readiness::{IoEvents, Readiness};

use crate::{
    net::Shutdown,
    prelude::*,
    stream::{Filled, Ring, WritePlan},
};

/// Bytes that lie in the sender's and in the receiver's half of a flow, unless an option says otherwise. Linux begins with a
/// window of 64 KiB, and lets the sender's part grow as needed.
pub const DEFAULT_SEND_SHARE: usize = 192 << 10;
pub const DEFAULT_RECEIVE_SHARE: usize = 64 << 10;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It waits for room in the backlog (`SYN_SENT`).
    Waiting,
    /// Bytes flow, one way at least.
    Established,
    /// It was reset, refused or given up.
    Over,
}

/// Bytes on their way from one end to the other.
pub struct Flow {
    /// Where they lie.
    pub ring: Ring,
    /// How many they are.
    pub queued: usize,
    /// All that were ever taken out: the position of the first queued one.
    pub received: u64,
    /// Room at the sender and at the receiver.
    pub shares: [usize; 2],
    /// The last byte that was sent with `MSG_OOB`, until the receiver has passed it.
    pub urgent: Option<Urgent>,
}

/// Urgent data: one byte, and its place in the flow.
#[derive(Clone, Copy, Debug)]
pub struct Urgent {
    /// The position of the byte.
    pub position: u64,
    /// The byte.
    pub byte: u8,
    /// `recv(2)` with `MSG_OOB` took it.
    pub is_read: bool,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Nothing more is to be received (`SHUT_RD`).
    pub is_read_shut: bool,
    /// Nothing more will be sent: a FIN was.
    pub is_write_shut: bool,
    /// Its socket is gone.
    pub is_closed: bool,
    /// The pending error (`SO_ERROR`).
    pub error: Option<Errno>,
    /// `SO_RCVLOWAT`
    pub low_water: usize,
    /// `SO_OOBINLINE`
    pub takes_urgent_inline: bool,
}

/// Both flows and both ends.
pub struct State {
    /// `flows[side]` is what the end `side` sends.
    pub flows: [Flow; 2],
    /// The ends.
    pub ends: [End; 2],
    /// How far it has come.
    pub stage: Stage,
    /// The end that sent the first FIN: it is the one that keeps its port for a while.
    pub first_fin: Option<usize>,
    /// A socket connected to itself has one end only: 0. Else this is 1.
    cross: usize,
}

impl Flow {
    fn new() -> Self {
        let shares = [DEFAULT_SEND_SHARE, DEFAULT_RECEIVE_SHARE];
        Self { ring: Ring::new(0), queued: 0, received: 0, shares, urgent: None }
    }

    /// How many bytes there may be.
    pub fn limit(&self) -> usize {
        self.shares[0] + self.shares[1]
    }

    /// How many more bytes there may be.
    pub fn room(&self) -> usize {
        self.limit().saturating_sub(self.queued)
    }

    /// Whether a third is free. Mirrors Linux's `sk_stream_is_writeable`.
    pub fn is_writable(&self) -> bool {
        self.room() >= (self.queued / 2).max(1)
    }

    /// Bytes that the receiver's half has no room for: as Linux would count them, those that are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.queued.saturating_sub(self.shares[1])
    }

    /// How many bytes can be read before urgent data, which interrupts a read.
    pub fn bytes_before_mark(&self) -> usize {
        match self.urgent {
            // The difference fits: what lies before the mark is queued.
            Some(urgent) if urgent.position > self.received => (urgent.position - self.received) as usize,
            _ => self.queued,
        }
    }

    /// Whether the next byte is the urgent one (`SIOCATMARK`).
    pub fn is_at_mark(&self) -> bool {
        self.urgent.is_some_and(|urgent| urgent.position == self.received)
    }

    /// Makes what was filled readable.
    pub fn commit_write(&mut self, plan: &WritePlan, filled: Filled) {
        self.ring.commit_write(plan, filled);
        self.queued += filled.merged + filled.fresh;
    }

    /// Takes out `len` bytes. Returns whether the sender has room again.
    pub fn commit_read(&mut self, len: usize) -> bool {
        let was_writable = self.is_writable();
        self.ring.commit_read(len);
        self.queued -= len;
        self.received += len as u64;
        if self.urgent.is_some_and(|urgent| self.received > urgent.position) {
            self.urgent = None;
        }
        !was_writable && self.is_writable()
    }
}

impl State {
    /// A connection between two ends, or with `is_looped` of one with itself.
    pub fn new(is_looped: bool) -> Self {
        let end = End { low_water: 1, ..End::default() };
        Self {
            flows: [Flow::new(), Flow::new()],
            ends: [end; 2],
            stage: Stage::Established,
            first_fin: None,
            cross: usize::from(!is_looped),
        }
    }

    /// The other end.
    pub fn peer_of(&self, side: usize) -> usize {
        side ^ self.cross
    }

    /// What `side` receives.
    pub fn incoming(&self, side: usize) -> &Flow {
        &self.flows[self.peer_of(side)]
    }

    /// What `side` receives.
    pub fn incoming_mut(&mut self, side: usize) -> &mut Flow {
        &mut self.flows[side ^ self.cross]
    }

    /// Whether the end is in state `CLOSE`: reset, or both have sent their FIN.
    pub fn is_over(&self, side: usize) -> bool {
        let both = self.ends[side].is_write_shut && self.ends[self.peer_of(side)].is_write_shut;
        both || self.stage == Stage::Over
    }

    /// Whether there is a peer to talk to.
    pub fn is_talking(&self, side: usize) -> bool {
        self.stage == Stage::Established && !self.is_over(side)
    }

    /// Whether the peer's FIN came.
    pub fn has_fin(&self, side: usize) -> bool {
        self.ends[self.peer_of(side)].is_write_shut
    }

    /// Whether nothing more will come to `side`.
    pub fn ends_reading(&self, side: usize) -> bool {
        self.ends[side].is_read_shut || self.has_fin(side) || self.stage == Stage::Over
    }

    /// Whether `side` may not send any more.
    pub fn ends_writing(&self, side: usize) -> bool {
        self.ends[side].is_write_shut || self.stage == Stage::Over
    }

    /// Whether there is enough to read. Mirrors Linux's `tcp_stream_is_readable`: a full buffer is enough as well.
    pub fn is_readable(&self, side: usize) -> bool {
        let (flow, end) = (self.incoming(side), &self.ends[side]);
        let hidden = usize::from(flow.is_at_mark() && !end.takes_urgent_inline);
        flow.queued > 0 && (flow.queued >= end.low_water.saturating_add(hidden) || !flow.is_writable())
    }

    /// `side` has said its last; whether both have, now.
    pub fn send_fin(&mut self, side: usize) -> bool {
        if self.ends[side].is_write_shut {
            return false;
        }
        self.ends[side].is_write_shut = true;
        self.first_fin.get_or_insert(side);
        self.has_fin(side)
    }

    /// `side` breaks the connection off. The peer finds `ECONNRESET`, or `EPIPE` if it had heard a FIN.
    pub fn reset(&mut self, side: usize) {
        if self.is_over(side) {
            self.stage = Stage::Over;
            return;
        }
        let peer = self.peer_of(side);
        let error = if self.has_fin(peer) { EPIPE } else { ECONNRESET };
        self.ends[peer].error = Some(error);
        self.stage = Stage::Over;
    }

    /// Notes what `shutdown(2)` says of `side`; whether both directions are over now.
    pub fn shut_down(&mut self, side: usize, how: Shutdown) -> bool {
        self.ends[side].is_read_shut |= how.ends_reading();
        how.ends_writing() && self.send_fin(side)
    }
}

impl Readiness for State {
    /// Mirrors Linux's `tcp_poll`.
    fn readiness(&self, side: usize) -> IoEvents {
        let (end, is_over) = (&self.ends[side], self.is_over(side));
        let (no_more_in, no_more_out) = (self.ends_reading(side), self.ends_writing(side));
        let mut events = IoEvents::empty();
        events.set(IoEvents::HUP, is_over || no_more_in && no_more_out);
        events.set(IoEvents::READABLE | IoEvents::RDHUP, no_more_in);
        events.set(IoEvents::ERR, end.error.is_some());
        if self.stage == Stage::Waiting {
            return events;
        }
        let is_urgent = self.incoming(side).urgent.is_some_and(|urgent| !urgent.is_read);
        events.set(IoEvents::PRI, is_urgent);
        if self.is_readable(side) {
            events |= IoEvents::READABLE;
        }
        events.set(IoEvents::WRITABLE, no_more_out || self.flows[side].is_writable());
        events
    }
}
