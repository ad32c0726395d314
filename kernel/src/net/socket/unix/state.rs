// SPDX-License-Identifier: MPL-2.0

//! What the readiness of a connection depends on: two directions and two sides.
//!
//! # Invariants
//! - **D1** The records of a direction, in order, are exactly the bytes in its ring: the sum of their lengths is the ring's.
//! - **D2** `charge` is the sum of the records' charges; `special` counts those that a plain read may not glue to others.
//! - **D3** At most one record is [`Urgency::Pending`], and `has_urgent` says whether there is one.

use readiness::{IoEvents, Readiness};

use super::control::Control;
use crate::{prelude::*, stream::Ring};

/// What a new message tells whoever reads, as Linux's `sock_def_readable`.
pub const ARRIVAL: IoEvents = IoEvents::READABLE.union(IoEvents::PRI).union(IoEvents::RDBAND);
/// What room tells whoever writes, as Linux's `unix_write_space`.
pub const ROOM: IoEvents = IoEvents::WRITABLE.union(IoEvents::WRBAND);

/// The state of a connection. Direction `i` is what side `i` writes.
pub struct State {
    /// The two directions.
    pub directions: [Direction; 2],
    /// The two sides.
    pub sides: [Side; 2],
}

/// Bytes on their way from one side to the other, in records: one per message, or piece of a long one.
pub struct Direction {
    /// Where the bytes lie.
    pub ring: Ring,
    /// How they were sent.
    pub records: VecDeque<Record>,
    /// What the records count against `SO_SNDBUF`.
    pub charge: u32,
    /// `SO_SNDBUF` of the sender.
    pub limit: u32,
    /// How many records carry control messages or urgent data.
    pub special: u32,
    /// Whether there is urgent data that was not read.
    pub has_urgent: bool,
}

/// One message, or a piece of it.
pub struct Record {
    /// Bytes that were not read.
    pub len: u32,
    /// What it counts against the sender's buffer; all of it until the last byte is read.
    pub charge: u32,
    /// Whether it is urgent.
    pub urgency: Urgency,
    /// What else it carries.
    pub control: Option<Box<Control>>,
}

/// The part that a record plays in urgent data (`MSG_OOB`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// None.
    Normal,
    /// It is the urgent byte.
    Pending,
    /// It was, and was read: its byte is dropped when ordinary reads come to it, which stop there.
    Consumed,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Whether somebody holds it.
    pub is_open: bool,
    /// Whether it may still receive what comes.
    pub receives: bool,
    /// Whether it may still send.
    pub sends: bool,
    /// Reported once (`SO_ERROR`).
    pub error: Option<Errno>,
}

impl Side {
    /// A side with neither direction shut down.
    pub fn new() -> Self {
        Self { is_open: true, receives: true, sends: true, error: None }
    }
}

impl Direction {
    /// An empty direction.
    pub fn new(slots: usize, limit: u32) -> Self {
        let records = VecDeque::new();
        Self { ring: Ring::new(slots), records, charge: 0, limit, special: 0, has_urgent: false }
    }

    /// Whether the sender is told of room: three quarters must be free, as Linux's `unix_writable` has it.
    pub fn is_writable(&self) -> bool {
        u64::from(self.charge) * 4 <= u64::from(self.limit)
    }

    /// Adds a record, the bytes of which are in the ring.
    pub fn push(&mut self, record: Record) {
        self.charge = self.charge.saturating_add(record.charge);
        self.special += u32::from(record.is_special());
        if record.urgency == Urgency::Pending {
            self.demote_urgent();
            self.has_urgent = true;
        }
        self.records.push_back(record);
    }

    /// Urgent data that was not read becomes ordinary: later urgent data takes its place.
    fn demote_urgent(&mut self) {
        let pending = self.records.iter_mut().find(|record| record.urgency == Urgency::Pending);
        if let Some(record) = pending {
            record.urgency = Urgency::Normal;
            self.special -= u32::from(!record.is_special());
        }
    }

    /// The bytes that a read may take: those of all records but the consumed urgent ones (`SIOCINQ`).
    pub fn readable_bytes(&self) -> usize {
        let counted = self.records.iter().filter(|record| record.urgency != Urgency::Consumed);
        counted.map(|record| record.len as usize).sum()
    }

    /// Frees the first `len` bytes, none of them of a special record, and the records that are read whole. Says whether there
    /// was one.
    pub fn consume_plain(&mut self, len: usize) -> bool {
        let _ = self.ring.commit_read(len);
        let mut left = len;
        let mut has_freed = false;
        while let Some(record) = self.records.front_mut()
            && left >= record.len as usize
        {
            left -= record.len as usize;
            self.charge -= record.charge;
            self.records.pop_front();
            has_freed = true;
        }
        if left > 0
            && let Some(record) = self.records.front_mut()
        {
            record.len -= left as u32;
        }
        has_freed
    }

    /// Frees the first `len` bytes of the first record, and with `is_whole` all of it. The record is returned when it is gone.
    pub fn consume_front(&mut self, len: usize, is_whole: bool) -> Option<Record> {
        let record = self.records.front_mut()?;
        let is_over = is_whole || len >= record.len as usize;
        let freed = if is_over { record.len as usize } else { len };
        let _ = self.ring.commit_read(freed);
        record.len -= freed as u32;
        if !is_over {
            return None;
        }
        let record = self.records.pop_front()?;
        self.charge -= record.charge;
        self.special -= u32::from(record.is_special());
        self.has_urgent &= record.urgency != Urgency::Pending;
        Some(record)
    }

    /// Sets what the record with this index is now.
    pub fn set_urgency(&mut self, index: usize, urgency: Urgency) {
        let Some(record) = self.records.get_mut(index) else { return };
        let was_special = record.is_special();
        self.has_urgent &= record.urgency != Urgency::Pending;
        record.urgency = urgency;
        self.special = self.special + u32::from(record.is_special()) - u32::from(was_special);
    }

    /// Takes out everything; the records are to be dropped without a lock.
    pub fn clear(&mut self) -> VecDeque<Record> {
        let records = core::mem::take(&mut self.records);
        let bytes = records.iter().map(|record| record.len as usize).sum();
        let _ = self.ring.commit_read(bytes);
        (self.charge, self.special, self.has_urgent) = (0, 0, false);
        records
    }
}

impl Record {
    /// Whether it has no byte to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0 || self.urgency == Urgency::Consumed
    }

    /// Whether plain reads may not glue it to others.
    fn is_special(&self) -> bool {
        self.control.is_some() || self.urgency != Urgency::Normal
    }
}

impl Readiness for State {
    /// Mirrors Linux's `unix_poll` for connected sockets.
    fn readiness(&self, side: usize) -> IoEvents {
        let own = &self.sides[side];
        let incoming = &self.directions[1 - side];
        let mut events = IoEvents::empty();
        events.set(IoEvents::ERR, own.error.is_some());
        events.set(IoEvents::HUP, !own.receives && !own.sends);
        events.set(IoEvents::RDHUP, !own.receives);
        events.set(IoEvents::READABLE, !own.receives || !incoming.records.is_empty());
        events.set(IoEvents::PRI, incoming.has_urgent);
        events.set(ROOM, self.directions[side].is_writable());
        events
    }
}

/// What a buffer for `linear` bytes takes on Linux: its header, and a power of two for the bytes and what follows them.
fn buffer_charge(linear: usize) -> usize {
    const HEADER: usize = 256;
    const TAIL: usize = 320;
    const SMALLEST: usize = 512;
    if linear <= SMALLEST - TAIL {
        return HEADER + SMALLEST;
    }
    HEADER + (linear + TAIL).next_power_of_two()
}

/// The most bytes of one record of a stream (`SKB_MAX_HEAD(0) + UNIX_SKB_FRAGS_SZ`).
pub const MAX_STREAM_RECORD: usize = 36_544;

/// What a piece of a stream counts: so many fit into `SO_SNDBUF` as on Linux, and `OUT` comes back where it does there.
pub fn stream_charge(len: usize) -> u32 {
    const MAX_LINEAR: usize = 3776;
    let paged = if len > MAX_LINEAR { (len - MAX_LINEAR).next_multiple_of(PAGE_SIZE).min(len) } else { 0 };
    (buffer_charge(len - paged) + paged.next_multiple_of(PAGE_SIZE)) as u32
}

/// Whether a packet or datagram of `len` bytes may be sent with this `SO_SNDBUF`. One that Linux finds no memory for, in one
/// piece and 17 pages, is not sent here either, whatever the limit.
///
/// # Errors
/// `EMSGSIZE` if it is larger than the limit; `ENOBUFS`.
pub fn check_packet(len: usize, send_buffer: u32) -> Result<()> {
    const MOST: usize = (4 << 20) - 320 + 17 * PAGE_SIZE;
    if len > (send_buffer as usize).saturating_sub(32) {
        return Err(EMSGSIZE);
    }
    if len > MOST { Err(ENOBUFS) } else { Ok(()) }
}

/// What a packet or datagram counts.
pub fn packet_charge(len: usize) -> u32 {
    const MAX_LINEAR: usize = 16_064;
    const MAX_PAGED: usize = 17 * PAGE_SIZE;
    let paged = len.saturating_sub(MAX_LINEAR).min(MAX_PAGED).next_multiple_of(PAGE_SIZE);
    u32::try_from(buffer_charge(len.saturating_sub(paged)) + paged).unwrap_or(u32::MAX)
}
