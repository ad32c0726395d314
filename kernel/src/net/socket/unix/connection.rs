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
    control::Control,
    rights::{self, Rights},
    state::{ARRIVAL, Direction, MAX_STREAM_RECORD, ROOM, Record, Side, State, Urgency, packet_charge, stream_charge},
};
use crate::{
    file::{IoDst, IoSrc},
    net::{Shutdown, message::UserCredentials},
    prelude::*,
    stream::{Ends, Filled, Kind, Merge, Piece, WritePlan},
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

/// How far a write has come.
pub struct Writing {
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

/// What a plain read found.
pub enum Plain {
    /// So many bytes; 0 at the end.
    Bytes(usize),
    /// Something that needs a full receive.
    Special,
    /// The bytes could not be copied.
    Faulted(Errno),
}

/// Where a record may go.
enum WriteStep {
    Room(WritePlan, usize),
    /// A stream has no empty records.
    Nothing,
    Full,
    Broken,
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
            // The least limit is 4608.
            Unit::Byte => left.min((direction.limit as usize / 2).saturating_sub(64).clamp(1, MAX_STREAM_RECORD)),
        };
        WriteStep::Room(direction.ring.plan_write(len, Kind::Stream, Merge::AnyBytes), len)
    }

    /// Makes room in the ring for `len` more bytes: what bounds a direction is its limit.
    #[cold]
    fn grow(&self, side: usize, pages: &mut Arc<crate::stream::Pages>, len: usize) {
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
            let count = piece.len.min(len - total);
            if let Err(error) = pages.drain_piece(&piece, dst, count) {
                return Some(if total > 0 { Plain::Bytes(total) } else { Plain::Faulted(error) });
            }
            self.consume_plain(from, count);
            total += count;
            if total == len {
                return Some(Plain::Bytes(total));
            }
        }
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
            let was_unread = records.iter().any(|record| record.urgency != Urgency::Consumed);
            state.sides[side].is_open = false;
            let other = &mut state.sides[from];
            (other.sends, other.receives) = (false, false);
            if is_embryo || was_unread {
                other.error = Some(ECONNRESET);
            }
            state.notify(from, IoEvents::all());
            records
        });
        if let Some(graph) = &mut graph {
            for rights in records.iter().filter_map(Record::rights) {
                graph.leave(rights);
            }
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
