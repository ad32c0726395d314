// SPDX-License-Identifier: MPL-2.0

//! Pipes and FIFOs (`pipe(7)`, `fifo(7)`), on the [stream core](crate::stream).
//!
//! # Role
//! A [`Pipe`] is one stream and the count of its openers; a [`PipeEnd`] is one open description of it. [`super::fifo`] opens
//! pipes by name, `pipe2(2)` makes them without ([`Pipe::new_pair`]).
//!
//! # Protocol
//! All that readiness depends on is [`State`], tracked with a side for readers, one for writers, and one for descriptions that
//! are open for both directions, which hear what either of the others hears. Edges are those of Linux: every write is one for
//! readers, filled before or not; a read is one for writers if the pipe was full.
//!
//! # Concurrency
//! See [`crate::stream`]. Nothing is held while a thread sleeps for bytes or room.

mod end;
mod size;
mod splice;
mod state;

use readiness::{IoEvents, Pollee, Tracked};

use self::state::{BOTH, Openers, READER, State, WRITER};
pub use self::{
    end::PipeEnd,
    size::{get_size, max_size, set_max_size, set_size},
    splice::Patience,
};
use crate::{
    file::{AccessMode, Description, IoDst, IoSrc, StatusFlags},
    fs::{AnonInode, AnonKind, Inode},
    prelude::*,
    stream::{Ends, Kind, Merge, Pages},
};

/// Pages of a new pipe.
const DEFAULT_SLOTS: usize = 16;

/// The most bytes that are copied out at once.
const READ_STEP: usize = 4 * PAGE_SIZE;

/// What somebody who waits in `open(2)` for the other side registers for. No pipe ever reports it.
const PARTNER: IoEvents = IoEvents::MSG;

/// A pipe.
pub struct Pipe {
    state: Tracked<State, 3, Arc<Pollee>>,
    ends: Ends,
}

/// How far a write has come.
pub struct Writing {
    /// Bytes to write in all.
    total: usize,
    /// Bytes written.
    pub done: usize,
    kind: Kind,
    merge: Merge,
}

impl Writing {
    /// A write of `total` bytes, as packets if the description is in packet mode.
    pub fn new(total: usize, status: StatusFlags) -> Self {
        let kind = if status.contains(StatusFlags::DIRECT) { Kind::Packet } else { Kind::Stream };
        // As on Linux, a packet that fits behind the last bytes of a stream joins them.
        Self { total, done: 0, kind, merge: Merge::OddBytes }
    }
}

impl Pipe {
    /// A pipe that nobody has open yet.
    pub fn new() -> Arc<Self> {
        let state = Tracked::new(State::new(DEFAULT_SLOTS));
        Arc::new(Self { state, ends: Ends::new(DEFAULT_SLOTS) })
    }

    /// The two descriptions of `pipe2(2)`: the one to read from and the one to write to.
    pub fn new_pair(ctx: &Context, status: StatusFlags) -> [Arc<Description>; 2] {
        let credentials = ctx.credentials();
        let inode = AnonInode::new(AnonKind::Pipe, credentials.fsuid, credentials.fsgid);
        let pipe = Self::new();
        if let Some(attachment) = inode.attachment() {
            let shared: Arc<dyn core::any::Any + Send + Sync> = pipe.clone();
            *attachment.lock() = Some(Arc::downgrade(&shared));
        }
        let open = |access, status| -> Arc<Description> {
            Description::new(PipeEnd::new(pipe.clone(), inode.clone(), access), access, status)
        };
        // Packet mode concerns the writer; Linux shows the flag there only.
        [open(AccessMode::READ, status - StatusFlags::DIRECT), open(AccessMode::WRITE, status)]
    }

    /// Frees `len` bytes that were read. A full pipe that gets room is an edge for writers.
    fn free(&self, len: usize) {
        self.state.update(|state| {
            let news = if state.ring.commit_read(len) { IoEvents::WRITABLE } else { IoEvents::empty() };
            state.notify(WRITER, news);
            state.notify(BOTH, news);
        });
    }

    /// Writes as much as there is room for. `None`: the rest has to wait.
    ///
    /// # Errors
    /// `EPIPE` if nobody has the pipe open for reading; `EFAULT`.
    fn write(&self, src: &mut IoSrc<'_>, writing: &mut Writing) -> Option<Result<()>> {
        let pages = self.ends.produce();
        loop {
            let left = writing.total - writing.done;
            let plan = self.state.read(|state| {
                (state.openers.readers > 0).then(|| state.ring.plan_write(left, writing.kind, writing.merge))
            });
            let Some(plan) = plan else { return Some(Err(EPIPE)) };
            if plan.is_full() {
                return None;
            }
            writing.merge = Merge::Nothing;
            let (filled, result) = pages.fill(&plan, src, left);
            let count = filled.merged + filled.fresh;
            if count > 0 {
                self.state.update(|state| {
                    state.ring.commit_write(&plan, filled);
                    state.notify(READER, IoEvents::READABLE);
                    state.notify(BOTH, IoEvents::READABLE);
                });
            }
            writing.done += count;
            if result.is_err() || writing.done == writing.total {
                return Some(result);
            }
        }
    }

    /// Reads up to `len` bytes. `None`: there is nothing, but somebody may write. 0 bytes are the end.
    ///
    /// # Errors
    /// `EFAULT` if nothing could be copied.
    fn read(&self, dst: &mut IoDst<'_>, len: usize) -> Option<Result<usize>> {
        let pages = self.ends.consume();
        let mut total = 0;
        loop {
            let (piece, writers) = self.state.read(|state| (state.ring.front(), state.openers.writers));
            let Some(piece) = piece else {
                return if total > 0 || writers == 0 { Some(Ok(total)) } else { None };
            };
            let wanted = len - total;
            if piece.begins_long_read(wanted) {
                let (count, outcome) = self.read_long(&pages, dst, wanted);
                total += count;
                match outcome {
                    Err(error) => return Some(if total > 0 { Ok(total) } else { Err(error) }),
                    Ok(is_over) if is_over || total == len => return Some(Ok(total)),
                    Ok(_) => continue,
                }
            }
            let count = wanted.min(piece.len);
            if let Err(error) = pages.drain_piece(&piece, dst, count) {
                return Some(if total > 0 { Ok(total) } else { Err(error) });
            }
            self.free(count);
            total += count;
            if total == len || piece.is_packet {
                return Some(Ok(total));
            }
        }
    }

    /// Reads several pages at once: not all, so that a writer who waits for room can go on meanwhile on another CPU. The answer is how many bytes, and whether a packet ends the read.
    #[inline(never)]
    fn read_long(&self, pages: &Pages, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<bool>) {
        let len = len.min(READ_STEP);
        let plan = self.state.read(|state| state.ring.plan_read(len));
        let (count, outcome) = pages.drain(&plan, dst, len);
        self.free(count);
        (count, outcome.map(|()| plan.reaches_packet(count)))
    }

    /// One more opener. Tells those who wait in `open(2)`, and (as Linux does) whoever watches the reading side. Returns who had
    /// it open just then.
    ///
    /// # Errors
    /// `ENXIO` with `needs_reader` if there is none.
    fn enter(&self, access: AccessMode, needs_reader: bool) -> Result<Openers> {
        let (reads, writes) = (access.contains(AccessMode::READ), access.contains(AccessMode::WRITE));
        self.state.update(|state| {
            if needs_reader && state.openers.readers == 0 {
                return Err(ENXIO);
            }
            let before = state.openers;
            state.openers.enter(reads, writes);
            let is_first = reads && before.readers == 0 || writes && before.writers == 0;
            let news = if is_first { IoEvents::all() } else { IoEvents::empty() };
            state.notify(READER, news);
            state.notify(WRITER, news & PARTNER);
            state.notify(BOTH, news);
            Ok(state.openers)
        })
    }

    /// One opener less.
    fn leave(&self, access: AccessMode) {
        let (reads, writes) = (access.contains(AccessMode::READ), access.contains(AccessMode::WRITE));
        self.state.update(|state| {
            state.openers.leave(reads, writes);
            let is_last = state.openers.readers == 0 || state.openers.writers == 0;
            let news = if is_last { IoEvents::all() } else { IoEvents::empty() };
            state.notify(READER, news & (IoEvents::READABLE | IoEvents::ALWAYS));
            state.notify(WRITER, news & (IoEvents::WRITABLE | IoEvents::ALWAYS));
            state.notify(BOTH, news);
        });
    }
}
