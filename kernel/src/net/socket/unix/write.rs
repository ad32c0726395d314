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

/// Plain records are handed over together up to this size, in bytes: long enough for the usual buffers, and short enough that the reader need
/// not wait for long.
const AT_ONCE: usize = 64 << 10;

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

/// What is handed over at once: `len` bytes in records of `record_len`, but for the last.
#[derive(Clone, Copy)]
struct Batch {
    len: usize,
    record_len: usize,
}

/// Where records may go.
enum WriteStep {
    Room(WritePlan, Batch),
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
            let left = writing.total - writing.done;
            let step = self.state.read(|state| self.plan_write(state, side, left, writing.is_plain()));
            let (plan, mut batch) = match step {
                WriteStep::Room(plan, batch) => (plan, batch),
                WriteStep::Nothing => return Some(Ok(())),
                WriteStep::Full => {
                    writing.has_waited = true;
                    return None;
                }
                WriteStep::Broken => return Some(Err(self.why_broken(side, writing))),
            };
            if plan.room() < batch.len {
                self.grow(side, &mut pages, batch.len);
                continue;
            }
            let (mut filled, outcome) = pages.fill(&plan, src, batch.len);
            if outcome.is_err() {
                // Records do not go in in part.
                batch.len = filled.len() - filled.len() % batch.record_len.max(1);
                filled = filled.up_to(batch.len);
                if batch.len == 0 {
                    return Some(outcome);
                }
            }
            if let Err(error) = self.commit_write(side, &plan, filled, batch, writing) {
                return Some(Err(error));
            }
            writing.done += batch.len;
            if outcome.is_err() || writing.done == writing.total {
                return Some(outcome);
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
    fn plan_write(&self, state: &State, side: usize, left: usize, is_plain: bool) -> WriteStep {
        let direction = &state.directions[side];
        if !state.sides[side].sends {
            return WriteStep::Broken;
        }
        if left == 0 && self.unit == Unit::Byte {
            return WriteStep::Nothing;
        }
        if direction.charge >= direction.limit {
            return WriteStep::Full;
        }
        let batch = match self.unit {
            Unit::Packet => Batch { len: left, record_len: left },
            Unit::Byte if left <= MIN_SEND_BUFFER as usize / 2 - 64 => Batch { len: left, record_len: left },
            Unit::Byte => Self::plan_batch(direction, left, is_plain),
        };
        WriteStep::Room(direction.ring.plan_write(batch.len, Kind::Stream, Merge::AnyBytes), batch)
    }

    /// The first records of the `left` bytes of a long write. Each of them may go if there is some room before it, as on Linux.
    fn plan_batch(direction: &Direction, left: usize, is_plain: bool) -> Batch {
        let record_len = (direction.limit as usize / 2).saturating_sub(64).clamp(1, MAX_STREAM_RECORD);
        let mut len = left.min(record_len);
        let mut charge = direction.charge.saturating_add(stream_charge(len));
        while is_plain && len < left && charge < direction.limit {
            let next = record_len.min(left - len);
            if len + next > AT_ONCE {
                break;
            }
            len += next;
            charge = charge.saturating_add(stream_charge(next));
        }
        Batch { len, record_len }
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

    /// Makes records of what was filled, and tells the other side. Only plain records come several at once.
    #[inline]
    fn commit_write(
        &self,
        side: usize,
        plan: &WritePlan,
        filled: Filled,
        batch: Batch,
        writing: &mut Writing,
    ) -> Result<()> {
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
            let mut left = batch.len;
            loop {
                let len = left.min(batch.record_len);
                let charge = if self.unit == Unit::Byte { stream_charge(len) } else { packet_charge(len) };
                direction.push(Record { len: len as u32, charge, urgency, control: control.take() });
                left -= len;
                if left == 0 {
                    break;
                }
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
}
