// SPDX-License-Identifier: MPL-2.0

//! Writing to a connection, as [`super::receive`] is reading from it.
//!
//! # Protocol
//! One record at a time; a packet is one, a long write to a stream several. What was written before a wait or an error stays.

use super::{
    connection::{Connection, Unit},
    control::Control,
    rights,
    state::{ARRIVAL, MAX_STREAM_RECORD, Record, State, Urgency, packet_charge, stream_charge},
};
use crate::{
    file::IoSrc,
    net::{message::UserCredentials, options::MIN_SEND_BUFFER},
    prelude::*,
    stream::{Filled, Kind, Merge, Pages, WritePlan},
};

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

/// Where a record may go.
enum WriteStep {
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
            let left = writing.total - writing.done;
            let (plan, len) = match self.state.read(|state| self.plan_write(state, side, left)) {
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
    fn plan_write(&self, state: &State, side: usize, left: usize) -> WriteStep {
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
        let len = match self.unit {
            Unit::Packet => left,
            Unit::Byte if left <= MIN_SEND_BUFFER as usize / 2 - 64 => left,
            Unit::Byte => left.min((direction.limit as usize / 2).saturating_sub(64).clamp(1, MAX_STREAM_RECORD)),
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

    /// Makes a record of what was filled, and tells the other side.
    #[inline]
    fn commit_write(&self, side: usize, plan: &WritePlan, filled: Filled, writing: &mut Writing) -> Result<()> {
        let len = filled.merged + filled.fresh;
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
            direction.push(Record { len: len as u32, charge, urgency, control: control.take() });
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
