// SPDX-License-Identifier: MPL-2.0

//! Two connected sockets: a stream in each direction, and what both sides know of each other.
//!
//! # Protocol
//! As [`crate::stream`] has it: plan under the state's lock, copy under none, commit in one update. A record never goes into the
//! ring in part: where a copy faults, what was copied is forgotten.
//!
//! # Concurrency
//! Lock order: the producer or consumer of a direction, the graph of [`super::rights`], the state.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use readiness::{IoEvents, Pollee, Tracked};

use super::{
    Identity, PeerCredentials,
    rights::{self, Rights},
    state::{Direction, ROOM, Record, Side, State},
};
use crate::{
    file::IoDst,
    net::Shutdown,
    prelude::*,
    stream::{Ends, Pages, Piece},
};

/// Pages of a direction to begin with; more come when they are needed.
const FIRST_SLOTS: usize = 4;

/// Two sockets that are connected to each other, sides 0 and 1.
pub struct Connection {
    /// What readiness depends on.
    pub state: Tracked<State, 2, Arc<Pollee>>,
    /// The bytes, by the side that writes them.
    pub ends: [Ends; 2],
    /// The sockets' names.
    pub identities: [Arc<Identity>; 2],
    /// Who made them, when they were connected (`SO_PEERCRED`).
    pub credentials: [PeerCredentials; 2],
    /// What a message is.
    pub unit: Unit,
    /// Who wants to see credentials (`SO_PASSCRED`). Relaxed: an option orders nothing.
    passes_credentials: [AtomicBool; 2],
}

/// Whether messages keep their boundaries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// No: a stream of bytes.
    Byte,
    /// Yes: a sequence of packets.
    Packet,
}

/// What one side brings into a connection.
pub struct Party {
    /// What is told of its readiness.
    pub pollee: Arc<Pollee>,
    /// Its name.
    pub identity: Arc<Identity>,
    /// Whom the other side sees.
    pub credentials: PeerCredentials,
    /// Which directions were shut down before.
    pub side: Side,
    /// `SO_SNDBUF`
    pub send_buffer: u32,
    /// `SO_PASSCRED`
    pub passes_credentials: bool,
}

/// One side of a connection, which ends with it.
pub struct Endpoint {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Which side.
    pub side: usize,
    /// Whether it was never accepted.
    pub is_embryo: bool,
}

/// What a plain read found.
pub enum Plain {
    /// So many bytes; 0 at the end.
    Bytes(usize),
    /// Something that needs a full receive.
    Special,
    /// The bytes could not be copied.
    Faulted(Errno),
}

enum ReadStep {
    Bytes(Piece),
    Nothing,
    Special,
}

impl Connection {
    /// Connects two parties, the one that connects first.
    pub fn new(unit: Unit, parties: [Party; 2]) -> Arc<Self> {
        let [one, other] = parties;
        let direction = |limit| Direction::new(FIRST_SLOTS, limit);
        let state = State {
            directions: [direction(one.send_buffer), direction(other.send_buffer)],
            sides: [one.side, other.side],
        };
        Arc::new(Self {
            state: Tracked::with_pollees(state, [one.pollee, other.pollee]),
            ends: [Ends::new(FIRST_SLOTS), Ends::new(FIRST_SLOTS)],
            identities: [one.identity, other.identity],
            credentials: [one.credentials, other.credentials],
            unit,
            passes_credentials: [one.passes_credentials, other.passes_credentials].map(AtomicBool::new),
        })
    }

    /// Whether what is sent must carry credentials.
    #[inline]
    pub fn passes_credentials(&self) -> bool {
        self.passes_credentials.iter().any(|passes| passes.load(Relaxed))
    }

    /// Whether `side` wants to see credentials.
    pub fn is_passing_credentials(&self, side: usize) -> bool {
        self.passes_credentials[side].load(Relaxed)
    }

    /// `SO_PASSCRED` of `side` was changed.
    pub fn set_passes_credentials(&self, side: usize, passes: bool) {
        self.passes_credentials[side].store(passes, Relaxed);
    }

    /// `SO_SNDBUF` of `side` was changed.
    pub fn set_limit(&self, side: usize, limit: u32) {
        self.state.update(|state| {
            state.directions[side].limit = limit;
            state.notify(side, ROOM);
        });
    }

    /// Reads as `side` up to `len` bytes with nothing beside them. `None`: there is nothing, but something may come.
    pub fn read(&self, side: usize, dst: &mut IoDst<'_>, len: usize) -> Option<Plain> {
        let from = 1 - side;
        let pages = self.ends[from].consume();
        let mut total = 0;
        loop {
            let step = self.state.read(|state| {
                let direction = &state.directions[from];
                if direction.special > 0 {
                    return ReadStep::Special;
                }
                // Without special records, none is empty: no bytes, no records.
                let own = &state.sides[side];
                match direction.ring.front() {
                    Some(piece) => ReadStep::Bytes(piece),
                    None if own.receives && own.error.is_none() => ReadStep::Nothing,
                    None => ReadStep::Special,
                }
            });
            let piece = match step {
                ReadStep::Bytes(piece) => piece,
                _ if total > 0 => return Some(Plain::Bytes(total)),
                ReadStep::Nothing => return None,
                ReadStep::Special => return Some(Plain::Special),
            };
            let wanted = len - total;
            let (count, outcome) = if piece.begins_long_read(wanted) {
                self.drain_long(from, &pages, dst, wanted)
            } else {
                let count = piece.len.min(wanted);
                let outcome = pages.drain_piece(&piece, dst, count);
                (if outcome.is_ok() { count } else { 0 }, outcome)
            };
            if count > 0 {
                self.consume_plain(from, count);
                total += count;
            }
            match outcome {
                Err(error) if total == 0 => return Some(Plain::Faulted(error)),
                Err(_) => return Some(Plain::Bytes(total)),
                Ok(()) if total == len => return Some(Plain::Bytes(total)),
                Ok(()) => {}
            }
        }
    }

    /// Copies several pages at once.
    #[inline(never)]
    fn drain_long(&self, from: usize, pages: &Pages, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        // Somebody may have added a special record meanwhile, which does not belong to it.
        let plan = self.state.read(|state| {
            let direction = &state.directions[from];
            (direction.special == 0).then(|| direction.ring.plan_read(len))
        });
        plan.map_or((0, Ok(())), |plan| pages.drain(&plan, dst, len))
    }

    /// Frees bytes that were read from direction `from`. A record that is over is an edge for the writer, if it has room.
    #[inline]
    fn consume_plain(&self, from: usize, len: usize) {
        self.state.update(|state| {
            let direction = &mut state.directions[from];
            if direction.consume_plain(len) && direction.is_writable() {
                state.notify(from, ROOM);
            } else {
                state.notify_nothing();
            }
        });
    }

    /// The error that waits for `side`, taken.
    pub fn take_error(&self, side: usize) -> Option<Errno> {
        self.state.update(|state| {
            state.sides[side].error?;
            state.notify_nothing();
            state.sides[side].error.take()
        })
    }

    /// Keeps an error of `side` for the next call.
    pub fn set_error(&self, side: usize, error: Errno) {
        self.state.update(|state| {
            state.sides[side].error = Some(error);
            state.notify(side, IoEvents::ERR);
        });
    }

    /// `shutdown(2)` of `side`: both sides are told, as by Linux's `unix_shutdown`.
    pub fn shutdown(&self, side: usize, how: Shutdown) {
        self.state.update(|state| {
            let [own, other] = [side, 1 - side];
            if how.ends_reading() {
                state.sides[own].receives = false;
                state.sides[other].sends = false;
            }
            if how.ends_writing() {
                state.sides[own].sends = false;
                state.sides[other].receives = false;
            }
            state.notify(own, IoEvents::all());
            state.notify(other, IoEvents::all());
        });
    }

    /// The end of `side`: the other can no longer send, and is reset if something was not read.
    fn close(&self, side: usize, is_embryo: bool) {
        let from = 1 - side;
        let has_rights = self.state.read(|state| state.directions[from].special > 0);
        let mut graph = has_rights.then(rights::graph);
        let (records, pending) = self.state.update_then(|state| {
            let records = state.directions[from].clear();
            // As Linux's `unix_release_sock` looks: a first record without bytes does not count.
            let was_unread = records.len() > usize::from(records.front().is_some_and(Record::is_empty));
            state.sides[side].is_open = false;
            let other = &mut state.sides[from];
            (other.sends, other.receives) = (false, false);
            if is_embryo || was_unread {
                other.error = Some(ECONNRESET);
            }
            state.notify(from, IoEvents::all());
            records
        });
        // Some may have come since the look.
        for rights in records.iter().filter_map(Record::rights) {
            graph.get_or_insert_with(rights::graph).leave(rights);
        }
        drop(graph);
        drop(pending);
        drop(records);
    }

    /// Calls `visit` for the files of each message that waits for `side`. To be called with the graph held.
    pub fn for_each_queued(&self, side: usize, visit: &mut dyn FnMut(&Rights)) {
        self.state.read(|state| state.directions[1 - side].records.iter().filter_map(Record::rights).for_each(visit));
    }

    /// Takes the files out of the messages that wait for `side`. To be called with the graph held.
    pub fn take_queued(&self, side: usize) -> Vec<Rights> {
        let mut taken = Vec::new();
        self.state.update(|state| {
            let direction = &mut state.directions[1 - side];
            if direction.special > 0 {
                let controls = direction.records.iter_mut().filter_map(|record| record.control.as_mut());
                taken.extend(controls.filter_map(|control| control.rights.take()));
            }
            state.notify_nothing();
        });
        taken
    }
}

impl Record {
    /// The files it carries.
    pub fn rights(&self) -> Option<&Rights> {
        self.control.as_ref().and_then(|control| control.rights.as_ref())
    }
}

impl Endpoint {
    /// The number of the other side.
    pub fn other(&self) -> usize {
        1 - self.side
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.connection.close(self.side, self.is_embryo);
    }
}
