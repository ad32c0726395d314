// SPDX-License-Identifier: MPL-2.0

//! Receiving from a connection with all that `recvmsg(2)` knows: peeking, waiting for all, control messages, urgent data.
//! Reads that need none of that take the short way, [`Connection::read`].
//!
//! # Protocol
//! One record at a time, the first that was not read or, when peeking, the one behind what was looked at. A read ends
//! behind a record with files, before one with other credentials, and at the urgent mark. Mirrors Linux's
//! `unix_stream_read_generic` and, for packets, `__unix_dgram_recvmsg`.

use super::{
    connection::{Connection, Unit},
    control::NO_CREDENTIALS,
    rights::{self, Rights},
    state::{ROOM, Record, State, Urgency},
};
use crate::{
    file::IoDst,
    net::{MsgFlags, message::UserCredentials},
    prelude::*,
    stream::Pages,
};

/// How far a receive has come.
pub struct Reading {
    /// Bytes there is room for.
    pub want: usize,
    /// Bytes received.
    pub done: usize,
    /// Bytes to wait for (`SO_RCVLOWAT`, `MSG_WAITALL`).
    pub target: usize,
    /// Whether what is read stays.
    pub peeks: bool,
    /// Whether credentials may not be mixed (`SO_PASSCRED`).
    pub passes_credentials: bool,
    /// Whether urgent data is read as the rest is (`SO_OOBINLINE`).
    pub takes_urgent: bool,
    /// The credentials of what was received.
    pub credentials: Option<UserCredentials>,
    /// Files that came.
    pub rights: Option<Rights>,
    /// Whether something was received: bytes, or an empty packet.
    pub has_message: bool,
    /// The length of the packet.
    pub packet_len: usize,
    /// The records that were looked at, and their bytes.
    looked: (usize, usize),
}

impl Reading {
    /// A receive into `want` bytes.
    pub fn new(want: usize, flags: MsgFlags, low_water: i32) -> Self {
        let target = if flags.contains(MsgFlags::WAITALL) {
            want
        } else {
            usize::try_from(low_water).unwrap_or(usize::MAX).min(want)
        };
        Self {
            want,
            done: 0,
            target: target.max(1),
            peeks: flags.contains(MsgFlags::PEEK),
            passes_credentials: false,
            takes_urgent: false,
            credentials: None,
            rights: None,
            has_message: false,
            packet_len: 0,
            looked: (0, 0),
        }
    }
}

/// What to do next.
enum Step {
    /// Copy these bytes of the record.
    Take(Piece),
    /// Drop the first record, an urgent one.
    Drop,
    /// Look behind this record.
    Pass(usize),
    /// The read ends here.
    Stop,
    /// There is nothing more.
    Empty { error: Option<Errno>, is_end: bool },
}

/// The bytes to take.
struct Piece {
    len: usize,
    /// The length of the record.
    whole: usize,
    credentials: UserCredentials,
    has_rights: bool,
}

impl Connection {
    /// Receives as `side`. `None`: there is not enough, but more may come.
    ///
    /// # Errors
    /// `EFAULT` if nothing could be copied; the error of the side, for a stream once everything is read.
    pub fn receive(&self, side: usize, dst: &mut IoDst<'_>, reading: &mut Reading) -> Option<Result<()>> {
        let from = 1 - side;
        let pages = self.ends[from].consume();
        reading.looked = (0, 0);
        loop {
            let piece = match self.state.read(|state| self.plan_receive(state, side, reading)) {
                Step::Take(piece) => piece,
                Step::Drop => {
                    self.drop_urgent(from);
                    continue;
                }
                Step::Pass(len) => {
                    reading.looked = (reading.looked.0 + 1, reading.looked.1 + len);
                    continue;
                }
                Step::Stop => return Some(Ok(())),
                Step::Empty { error, is_end } => return self.at_the_end(side, reading, error, is_end),
            };
            let (count, outcome) = self.copy_out(&pages, from, reading, piece.len, dst);
            if let Err(error) = outcome
                && (count == 0 || self.unit == Unit::Packet)
            {
                return Some(self.fail_to_copy(from, reading, &piece, error));
            }
            reading.packet_len = piece.whole;
            reading.credentials = Some(piece.credentials);
            reading.has_message = true;
            reading.done += count;
            self.finish(from, reading, &piece, count);
            let is_over = self.unit == Unit::Packet || reading.done == reading.want || reading.rights.is_some();
            if is_over || outcome.is_err() {
                return Some(Ok(()));
            }
        }
    }

    /// Bytes could not be copied out: those of a stream stay, a packet is lost, unless it was only looked at.
    fn fail_to_copy(&self, from: usize, reading: &mut Reading, piece: &Piece, error: Errno) -> Result<()> {
        if self.unit == Unit::Byte && reading.has_message {
            return Ok(());
        }
        if self.unit == Unit::Packet && !reading.peeks {
            self.finish(from, reading, piece, 0);
        }
        Err(error)
    }

    fn at_the_end(&self, side: usize, reading: &Reading, error: Option<Errno>, is_end: bool) -> Option<Result<()>> {
        if reading.has_message && (reading.done >= reading.target || reading.peeks) {
            return Some(Ok(()));
        }
        match error {
            Some(error) => {
                // Taken either way: so a read that waits for more loses it, as on Linux.
                let error = self.take_error(side).unwrap_or(error);
                Some(if reading.has_message { Ok(()) } else { Err(error) })
            }
            None if is_end => Some(Ok(())),
            None => None,
        }
    }

    fn plan_receive(&self, state: &State, side: usize, reading: &Reading) -> Step {
        let direction = &state.directions[1 - side];
        let own = &state.sides[side];
        // As on Linux, an error comes before packets, and behind the bytes of a stream.
        let has_priority = self.unit == Unit::Packet && own.error.is_some();
        let Some(record) = direction.records.get(reading.looked.0).filter(|_| !has_priority) else {
            return Step::Empty { error: own.error, is_end: !own.receives };
        };
        let len = record.len as usize;
        match record.urgency {
            Urgency::Normal => {}
            _ if reading.has_message => return Step::Stop,
            Urgency::Pending if reading.takes_urgent => {}
            _ if reading.peeks => return Step::Pass(len),
            _ => return Step::Drop,
        }
        let credentials = record.credentials();
        let is_of_other = reading.credentials.is_some_and(|known| known != credentials);
        if reading.passes_credentials && is_of_other {
            return Step::Stop;
        }
        let left = reading.want - reading.done;
        Step::Take(Piece { len: len.min(left), whole: len, credentials, has_rights: record.rights().is_some() })
    }

    /// Copies up to `len` bytes of direction `from`, behind what was looked at before.
    fn copy_out(
        &self,
        pages: &Pages,
        from: usize,
        reading: &Reading,
        len: usize,
        dst: &mut IoDst<'_>,
    ) -> (usize, Result<()>) {
        let (skip, mut copied) = (reading.looked.1, 0);
        while copied < len {
            let left = len - copied;
            let plan = self.state.read(|state| state.directions[from].ring.plan_peek(skip + copied, left));
            let (count, outcome) =
                if reading.peeks { pages.peek(&plan, dst, left) } else { pages.drain(&plan, dst, left) };
            copied += count;
            if outcome.is_err() || count == 0 {
                return (copied, outcome);
            }
        }
        (copied, Ok(()))
    }

    /// Frees what was copied, or notes that it was looked at; takes or copies the files that came with it.
    fn finish(&self, from: usize, reading: &mut Reading, piece: &Piece, count: usize) {
        let mut graph = piece.has_rights.then(rights::graph);
        if reading.peeks {
            let (index, bytes) = reading.looked;
            if piece.has_rights {
                let copy = |state: &State| {
                    let record = state.directions[from].records.get(index);
                    record.and_then(Record::rights).map(Rights::duplicate)
                };
                reading.rights = self.state.read(copy);
            }
            reading.looked = (index + 1, bytes + count);
            return;
        }
        let mut rights = None;
        let (record, pending) = self.state.update_then(|state| {
            let direction = &mut state.directions[from];
            if piece.has_rights {
                let control = direction.records.front_mut().and_then(|record| record.control.as_mut());
                rights = control.and_then(|control| control.rights.take());
            }
            let record = direction.consume_front(count, self.unit == Unit::Packet);
            if record.is_some() && direction.is_writable() {
                state.notify(from, ROOM);
            } else {
                state.notify_nothing();
            }
            record
        });
        if let (Some(graph), Some(rights)) = (&mut graph, &rights) {
            graph.leave(rights);
        }
        drop(graph);
        drop(pending);
        drop(record);
        reading.rights = rights;
    }

    /// Drops the urgent byte that an ordinary read came to.
    fn drop_urgent(&self, from: usize) {
        let record = self.state.update(|state| {
            let direction = &mut state.directions[from];
            let record = direction.consume_front(0, true);
            if direction.is_writable() {
                state.notify(from, ROOM);
            } else {
                state.notify_nothing();
            }
            record
        });
        drop(record);
    }

    /// Receives the urgent byte as `side` (`MSG_OOB`); with `peeks` it stays. Mirrors Linux's `unix_stream_recv_urg`.
    ///
    /// # Errors
    /// `EINVAL` if there is none; `EFAULT`.
    pub fn receive_urgent(&self, side: usize, dst: &mut IoDst<'_>, peeks: bool) -> Result<usize> {
        let from = 1 - side;
        let pages = self.ends[from].consume();
        let found = self.state.read(|state| {
            let direction = &state.directions[from];
            let index = direction.records.iter().position(|record| record.urgency == Urgency::Pending)?;
            let before = direction.records.iter().take(index).map(|record| record.len as usize).sum();
            Some((index, direction.ring.plan_peek(before, 1)))
        });
        let (index, plan) = found.ok_or(EINVAL)?;
        let len = dst.avail().min(1);
        if !peeks {
            self.state.update(|state| {
                state.directions[from].set_urgency(index, Urgency::Consumed);
                state.notify_nothing();
            });
        }
        let (count, outcome) = pages.peek(&plan, dst, len);
        outcome.map(|()| count)
    }

    /// Whether the next byte of `side` is at the urgent mark (`SIOCATMARK`).
    pub fn is_at_mark(&self, side: usize) -> bool {
        self.state.read(|state| {
            let direction = &state.directions[1 - side];
            let urgency = |index| direction.records.get(index).map(|record| record.urgency);
            match urgency(0) {
                Some(Urgency::Pending) => true,
                Some(Urgency::Consumed) => !direction.has_urgent || urgency(1) == Some(Urgency::Pending),
                _ => false,
            }
        })
    }
}

impl Record {
    fn credentials(&self) -> UserCredentials {
        self.control.as_ref().and_then(|control| control.credentials).unwrap_or(NO_CREDENTIALS)
    }
}
