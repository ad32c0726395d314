// SPDX-License-Identifier: MPL-2.0

//! Writing to a connection, as [`super::receive`] is reading from it.
//!
//! # Protocol
//! A packet is one record, a long write to a stream several. They are handed over one by one, or a few plain ones at once: who reads is woken
//! once for them, and finds more. What was written before a wait or an error stays.

use super::{
    connection::{Connection, Unit},
    control::Control,
    rights,
    state::{ARRIVAL, Direction, MAX_STREAM_RECORD, Record, State, Urgency, packet_charge, stream_charge},
};
use crate::{
    file::IoSrc,
    net::{message::UserCredentials, options::MIN_SEND_BUFFER},
    prelude::*,
    stream::{Filled, Kind, Merge, Pages, WritePlan},
};

/// Plain records are handed over together up to this size, in bytes: as much as the usual buffers hold, and not so much that who reads has to
/// wait for long.
const AT_ONCE: usize = 64 << 10;

/// Up to so many bytes of a stream are one record, whatever its `SO_SNDBUF`.
const SHORT: usize = MIN_SEND_BUFFER as usize / 2 - 64;

/// How far a write has come.
pub struct Writing {
    /// Bytes to write.
    total: usize,
    /// Bytes written.
    pub done: usize,
    /// What the first record carries.
    pub control: Option<Box<Control>>,
    /// What every record carries if somebody wants to see it.
    pub credentials: Option<UserCredentials>,
    /// Whether the record is urgent.
    pub urgency: Urgency,
    /// Whether it had to wait for room.
    pub has_waited: bool,
}

impl Writing {
    /// A write of `total` bytes with nothing beside them.
    pub fn new(total: usize) -> Self {
        Self { total, done: 0, control: None, credentials: None, urgency: Urgency::Normal, has_waited: false }
    }

    /// Whether its records carry nothing but bytes.
    fn is_plain(&self) -> bool {
        self.control.is_none() && self.credentials.is_none() && self.urgency == Urgency::Normal
    }

    /// What the next record carries.
    fn next_control(&mut self) -> Option<Box<Control>> {
        match (&mut self.control, self.credentials) {
            (None, None) => None,
            (Some(control), credentials) => {
                control.credentials = control.credentials.or(credentials);
                // Files go with the first record, credentials with all.
                let rest = Control { credentials: control.credentials, rights: None }.boxed();
                core::mem::replace(&mut self.control, rest)
            }
            (None, credentials) => Control { credentials, rights: None }.boxed(),
        }
    }
}

enum WriteStep {
    /// Where one record or several may go, and their bytes.
    Room(WritePlan, usize),
    /// A stream has no empty records.
    Nothing,
    Full,
    Broken,
}

impl Connection {
    /// Writes as `side` as much as there is room for. `None`: the rest has to wait.
    ///
    /// # Errors
    /// `EPIPE` if this side or the other was shut down, or, after a wait, the error of this side; `EFAULT`, `ENOMEM`.
    pub fn write(&self, side: usize, src: &mut IoSrc<'_>, writing: &mut Writing) -> Option<Result<()>> {
        let mut pages = self.ends[side].produce();
        loop {
            let (plan, len) = match self.state.read(|state| self.plan_write(state, side, writing)) {
                WriteStep::Room(plan, len) => (plan, len),
                WriteStep::Nothing => return Some(Ok(())),
                WriteStep::Full => {
                    writing.has_waited = true;
                    return None;
                }
                WriteStep::Broken => return Some(Err(self.why_broken(side, writing))),
            };
            if plan.room() < len {
                self.grow(side, &mut pages, len);
                continue;
            }
            let (filled, outcome) = pages.fill(&plan, src, len);
            if let Err(error) = outcome {
                writing.done += self.commit_before_fault(side, &plan, filled, writing.is_plain());
                return Some(Err(error));
            }
            if let Err(error) = self.commit_write(side, &plan, filled, writing) {
                return Some(Err(error));
            }
            writing.done += len;
            if writing.done == writing.total {
                return Some(Ok(()));
            }
        }
    }

    /// Why a write as `side` fails. As on Linux, only one that has begun looks at the error.
    #[cold]
    fn why_broken(&self, side: usize, writing: &Writing) -> Errno {
        let has_begun = writing.has_waited || writing.done > 0;
        has_begun.then(|| self.take_error(side)).flatten().unwrap_or(EPIPE)
    }

    #[inline]
    fn plan_write(&self, state: &State, side: usize, writing: &Writing) -> WriteStep {
        let direction = &state.directions[side];
        let left = writing.total - writing.done;
        if !state.sides[side].sends {
            return WriteStep::Broken;
        }
        if left == 0 && self.unit == Unit::Byte {
            return WriteStep::Nothing;
        }
        if direction.charge >= direction.limit {
            return WriteStep::Full;
        }
        let len = match self.unit {
            Unit::Packet => left,
            Unit::Byte if left <= SHORT => left,
            Unit::Byte if writing.is_plain() => direction.plan_records(left),
            Unit::Byte => left.min(direction.record_len()),
        };
        WriteStep::Room(direction.ring.plan_write(len, Kind::Stream, Merge::AnyBytes), len)
    }

    /// Makes room in the ring for `len` more bytes: what bounds a direction is its limit.
    #[cold]
    fn grow(&self, side: usize, pages: &mut Arc<Pages>, len: usize) {
        let used = self.state.read(|state| state.directions[side].ring.used());
        let slots = (used + len.div_ceil(PAGE_SIZE)).next_power_of_two();
        let _ = self.ends[side].resize_held(pages, slots, |ring| {
            self.state.update(|state| {
                state.notify_nothing();
                state.directions[side].ring.move_to(ring).ok_or(EBUSY)
            })
        });
    }

    /// Makes records of what was filled, and tells the other side.
    #[inline]
    fn commit_write(&self, side: usize, plan: &WritePlan, filled: Filled, writing: &mut Writing) -> Result<()> {
        let len = filled.len();
        let charge = if self.unit == Unit::Byte { stream_charge(len) } else { packet_charge(len) };
        let mut control = writing.next_control();
        let urgency = writing.urgency;
        let graph = control.as_ref().and_then(|control| control.rights.as_ref()).map(|rights| {
            let mut graph = rights::graph();
            graph.enter(rights, &self.identities[1 - side]);
            graph
        });
        let (is_broken, pending) = self.state.update_then(|state| {
            if !state.sides[side].sends {
                return true;
            }
            state.notify(1 - side, ARRIVAL);
            let direction = &mut state.directions[side];
            direction.ring.commit_write(plan, filled);
            if self.unit == Unit::Packet || len <= SHORT {
                direction.push(Record { len: len as u32, charge, urgency, control: control.take() });
            } else {
                direction.push_long(len, urgency, control.take());
            }
            false
        });
        if let (Some(mut graph), Some(rights)) = (graph, control.as_ref().and_then(|control| control.rights.as_ref())) {
            // It did not go into the queue.
            graph.leave(rights);
        }
        drop(pending);
        if is_broken { Err(EPIPE) } else { Ok(()) }
    }

    /// Makes records of what was filled before a fault, if it was enough for several that were to be handed over at once, and says
    /// how many bytes they have.
    #[cold]
    fn commit_before_fault(&self, side: usize, plan: &WritePlan, filled: Filled, is_plain: bool) -> usize {
        if self.unit == Unit::Packet || !is_plain {
            return 0;
        }
        self.state.update(|state| {
            let len = filled.len() - filled.len() % state.directions[side].record_len();
            if len == 0 || !state.sides[side].sends {
                state.notify_nothing();
                return 0;
            }
            let direction = &mut state.directions[side];
            direction.ring.commit_write(plan, filled.up_to(len));
            direction.push_long(len, Urgency::Normal, None);
            state.notify(1 - side, ARRIVAL);
            len
        })
    }
}

impl Direction {
    /// The longest record of a stream.
    fn record_len(&self) -> usize {
        (self.limit as usize / 2).saturating_sub(64).clamp(1, MAX_STREAM_RECORD)
    }

    /// How many of `left` bytes, in plain records, are handed over at once. Each record may go if there is some room before it, as on Linux.
    #[inline(never)]
    fn plan_records(&self, left: usize) -> usize {
        let (mut len, mut charge) = (0, self.charge);
        while len < left && charge < self.limit {
            let next = self.record_len().min(left - len);
            if len > 0 && len + next > AT_ONCE {
                break;
            }
            len += next;
            charge = charge.saturating_add(stream_charge(next));
        }
        len
    }

    /// Adds a long record with what it carries, or several that carry nothing.
    #[inline(never)]
    fn push_long(&mut self, mut left: usize, urgency: Urgency, mut control: Option<Box<Control>>) {
        let is_plain = control.is_none() && urgency == Urgency::Normal;
        let record_len = if is_plain { self.record_len() } else { left };
        while left > 0 {
            let len = left.min(record_len);
            self.push(Record { len: len as u32, charge: stream_charge(len), urgency, control: control.take() });
            left -= len;
        }
    }
}
