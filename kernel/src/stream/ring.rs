// SPDX-License-Identifier: MPL-2.0

//! Which bytes of which pages are in use: the bookkeeping of a [stream](super).
//!
//! # Invariants
//! - **G1** Slot `i` describes page `i & mask`. Slots `tail..head` are in use, hold at least one byte each, and never more than
//!   their page.
//! - **G2** Only the holder of the consumer moves `tail` and offsets forward; only the holder of the producer moves `head` and lets
//!   lengths grow. The one exception, a merge into a slot that was drained meanwhile, gives the consumer back a slot that it
//!   has finished with ([`Ring::commit_write`]).
//! - **G3** A plan names pages that the other side does not touch until the plan is committed: free ones, or the unused end of
//!   the last one, for a writer; used bytes for a reader. Nothing is added to a page of the pool, so that its reader may give it back.

use arrayvec::ArrayVec;

use crate::{prelude::*, vm::BULK_PAGES};

/// What a slot may become.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kind {
    /// Bytes of a stream; a later write may add to them.
    #[default]
    Stream,
    /// A packet: read by one read, what does not fit is lost (`O_DIRECT`, `pipe(2)`).
    Packet,
}

/// Which bytes of a write may be added to the last page in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Merge {
    /// None.
    Nothing,
    /// Those beyond whole pages, if all of them fit: so Linux's pipes do at the start of a write.
    OddBytes,
    /// As many as fit: pages are filled without gaps.
    AnyBytes,
}

/// The use of one page. Moved as one word.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(8))]
struct Slot {
    /// The first byte not yet read.
    offset: u16,
    /// Bytes not yet read.
    len: u16,
    kind: Kind,
    /// The page is of the pool. Nothing is added to it.
    is_pooled: bool,
}

/// Slots, of which a window is in use. See the [module](self).
pub struct Ring {
    /// A power of two of them.
    slots: Box<[Slot]>,
    /// The next slot to write, free running.
    head: u32,
    /// The next slot to read, free running.
    tail: u32,
}

/// Where a write may put its bytes.
#[derive(Clone, Copy, Debug)]
pub struct WritePlan {
    /// The page and the offset where the first bytes are added to what was written before, and how many.
    pub(super) merge: Option<(usize, usize, usize)>,
    /// The first free slot.
    first: u32,
    /// How many follow, this one included.
    free: u32,
    mask: u32,
    /// The ring was empty: it begins with page 0 again, so that small messages always use the same page.
    restarts: bool,
    kind: Kind,
}

/// What was put into the pages of a [`WritePlan`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    /// Bytes merged.
    pub merged: usize,
    /// Bytes in new pages: all full but the last.
    pub fresh: usize,
    /// How many of those, from the first on, are of the pool.
    pub pooled: usize,
}

impl Filled {
    /// How many bytes it is.
    pub fn len(&self) -> usize {
        self.merged + self.fresh
    }

    /// Its first `len` bytes.
    pub fn up_to(&self, len: usize) -> Self {
        let merged = self.merged.min(len);
        Self { merged, fresh: self.fresh.min(len - merged), pooled: self.pooled }
    }
}

/// Bytes to read in one page.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub(super) page: usize,
    pub(super) offset: usize,
    /// How many.
    pub len: usize,
    /// Whether they are a packet, which ends a read.
    pub is_packet: bool,
    /// Whether the page is of the pool.
    pub(super) is_pooled: bool,
}

impl Piece {
    /// Whether a read of `wanted` bytes should plan for what comes behind this piece, too: there is probably more.
    pub fn begins_long_read(&self, wanted: usize) -> bool {
        self.len >= PAGE_SIZE / 2 && self.len < wanted && !self.is_packet
    }
}

/// Bytes to read, page by page: of as many pages as are copied at once.
pub struct ReadPlan {
    slots: ArrayVec<Slot, BULK_PAGES>,
    first: u32,
    mask: u32,
}

impl WritePlan {
    /// Whether there is no room at all.
    pub fn is_full(&self) -> bool {
        self.merge.is_none() && self.free == 0
    }

    /// How many bytes there is room for.
    pub fn room(&self) -> usize {
        self.merge.map_or(0, |(_, _, len)| len) + self.free as usize * PAGE_SIZE
    }

    /// The slots whose pages may be filled, in order.
    pub(super) fn free_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, mask) = (self.first, self.mask);
        (0..self.free).map(move |index| (first.wrapping_add(index) & mask) as usize)
    }
}

impl ReadPlan {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| usize::from(slot.len)).sum()
    }

    /// Whether the first `len` bytes reach into a packet, which ends a read.
    pub fn reaches_packet(&self, len: usize) -> bool {
        let last = self.slots.last().filter(|slot| slot.kind == Kind::Packet);
        last.is_some_and(|packet| len > self.bytes() - usize::from(packet.len))
    }

    /// What to read, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let pages = (0u32..).map(|index| (self.first.wrapping_add(index) & self.mask) as usize);
        pages.zip(&self.slots).map(|(page, slot)| slot.piece(page))
    }
}

impl Slot {
    #[inline]
    fn piece(&self, page: usize) -> Piece {
        Piece {
            page,
            offset: self.offset.into(),
            len: self.len.into(),
            is_packet: self.kind == Kind::Packet,
            is_pooled: self.is_pooled,
        }
    }
}

impl Ring {
    /// An empty ring of `slots` pages: a power of two, or none yet.
    pub fn new(slots: usize) -> Self {
        debug_assert!(slots == 0 || slots.is_power_of_two());
        Self { slots: alloc::vec![Slot::default(); slots].into_boxed_slice(), head: 0, tail: 0 }
    }

    /// Pages in all.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Pages in use.
    pub fn used(&self) -> usize {
        self.head.wrapping_sub(self.tail) as usize
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Whether no page is free. A page is the least room that a writer is told of (`PIPE_BUF`).
    pub fn is_full(&self) -> bool {
        self.used() >= self.capacity()
    }

    /// Bytes to read.
    pub fn bytes(&self) -> usize {
        (0..self.used() as u32).map(|index| usize::from(self.slot(self.tail.wrapping_add(index)).len)).sum()
    }

    /// Plans a write of `len` bytes, some of which may go to the last page in use.
    pub fn plan_write(&self, len: usize, kind: Kind, merge: Merge) -> WritePlan {
        let mask = self.mask();
        let is_empty = self.is_empty();
        let merge = match merge {
            _ if is_empty => None,
            Merge::Nothing => None,
            Merge::OddBytes => self.merge_point(len % PAGE_SIZE),
            Merge::AnyBytes => self.merge_point(len.min(self.last_gap())),
        };
        let first = if is_empty { 0 } else { self.head };
        let free = (self.capacity() - self.used()) as u32;
        WritePlan { merge, first, free, mask, restarts: is_empty, kind }
    }

    /// Unused bytes at the end of the last page in use.
    fn last_gap(&self) -> usize {
        let slot = self.slot(self.head.wrapping_sub(1));
        PAGE_SIZE - usize::from(slot.offset) - usize::from(slot.len)
    }

    fn merge_point(&self, len: usize) -> Option<(usize, usize, usize)> {
        let last = self.head.wrapping_sub(1);
        let slot = self.slot(last);
        let end = usize::from(slot.offset) + usize::from(slot.len);
        let fits = len > 0 && slot.kind == Kind::Stream && !slot.is_pooled && end + len <= PAGE_SIZE;
        fits.then_some(((last & self.mask()) as usize, end, len))
    }

    /// Makes what was filled readable.
    #[inline(always)]
    pub fn commit_write(&mut self, plan: &WritePlan, filled: Filled) {
        if let Some((_, end, _)) = plan.merge
            && filled.merged > 0
        {
            self.commit_merge(end, filled.merged);
        }
        if plan.restarts && filled.fresh > 0 {
            (self.head, self.tail) = (0, 0);
        }
        if (1..=PAGE_SIZE).contains(&filled.fresh) {
            self.push(plan, filled.fresh, filled.pooled > 0);
        } else {
            self.commit_many(plan, filled);
        }
    }

    #[inline(never)]
    fn commit_many(&mut self, plan: &WritePlan, filled: Filled) {
        for (page, begin) in (0..filled.fresh).step_by(PAGE_SIZE).enumerate() {
            self.push(plan, (filled.fresh - begin).min(PAGE_SIZE), page < filled.pooled);
        }
    }

    #[inline]
    fn push(&mut self, plan: &WritePlan, len: usize, is_pooled: bool) {
        let head = self.head;
        *self.slot_mut(head) = Slot { offset: 0, len: len as u16, kind: plan.kind, is_pooled };
        self.head = head.wrapping_add(1);
    }

    fn commit_merge(&mut self, end: usize, len: usize) {
        let last = self.head.wrapping_sub(1);
        if self.is_empty() {
            // It was drained since the plan was made: it comes back with nothing but the new bytes.
            self.tail = last;
            *self.slot_mut(last) = Slot { offset: end as u16, ..Slot::default() };
        }
        self.slot_mut(last).len += len as u16;
    }

    /// The first bytes to read. Cheaper than a plan, and as good for a reader who frees one piece before taking the next.
    pub fn front(&self) -> Option<Piece> {
        if self.is_empty() {
            return None;
        }
        Some(self.slot(self.tail).piece((self.tail & self.mask()) as usize))
    }

    /// Plans a read of up to `len` bytes, within the limits of one plan.
    pub fn plan_read(&self, len: usize) -> ReadPlan {
        let mut slots = ArrayVec::new();
        let mut planned = 0;
        for index in 0..self.used().min(BULK_PAGES) {
            let slot = self.slot(self.tail.wrapping_add(index as u32));
            slots.push(slot);
            planned += usize::from(slot.len);
            if planned >= len || slot.kind == Kind::Packet {
                break;
            }
        }
        ReadPlan { slots, first: self.tail, mask: self.mask() }
    }

    /// Plans a look at up to `len` bytes behind the first `skip`, within the limits of one plan.
    pub fn plan_peek(&self, skip: usize, len: usize) -> ReadPlan {
        let (mut first, mut skip) = (self.tail, skip);
        while first != self.head && skip >= usize::from(self.slot(first).len) {
            skip -= usize::from(self.slot(first).len);
            first = first.wrapping_add(1);
        }
        let mut slots = ArrayVec::new();
        let mut planned = 0;
        let mut next = first;
        while next != self.head && planned < len && !slots.is_full() {
            let mut slot = self.slot(next);
            slot.offset += skip as u16;
            slot.len -= skip as u16;
            skip = 0;
            planned += usize::from(slot.len);
            slots.push(slot);
            next = next.wrapping_add(1);
        }
        ReadPlan { slots, first, mask: self.mask() }
    }

    /// Frees `len` bytes that were read by the present plan, and the rest of a packet that was begun. Returns whether a full
    /// ring got room.
    pub fn commit_read(&mut self, len: usize) -> bool {
        let was_full = self.is_full();
        let mut left = len;
        while left > 0 {
            let tail = self.tail;
            let slot = self.slot_mut(tail);
            let taken = left.min(usize::from(slot.len));
            slot.offset += taken as u16;
            slot.len -= taken as u16;
            left -= taken;
            if slot.len == 0 || slot.kind == Kind::Packet {
                self.tail = tail.wrapping_add(1);
            }
        }
        was_full && !self.is_full()
    }

    /// The pages in use, in order.
    pub fn pages_in_use(&self) -> impl Iterator<Item = usize> + use<> {
        let (tail, used, mask) = (self.tail, self.used() as u32, self.mask());
        (0..used).map(move |index| (tail.wrapping_add(index) & mask) as usize)
    }

    /// Moves what is in use to the first pages of `other`, an empty ring of another size, and becomes that. Returns what it was;
    /// `None` if there is not enough room. Both sides must be held.
    pub fn move_to(&mut self, mut other: Ring) -> Option<Ring> {
        let used = self.used();
        if used > other.capacity() {
            return None;
        }
        for index in 0..used as u32 {
            *other.slot_mut(index) = self.slot(self.tail.wrapping_add(index));
        }
        other.head = used as u32;
        Some(core::mem::replace(self, other))
    }

    fn mask(&self) -> u32 {
        (self.slots.len() as u32).wrapping_sub(1)
    }

    fn slot(&self, number: u32) -> Slot {
        self.slots[(number & self.mask()) as usize]
    }

    fn slot_mut(&mut self, number: u32) -> &mut Slot {
        let index = (number & self.mask()) as usize;
        &mut self.slots[index]
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::ktest;

    use super::*;

    fn write(ring: &mut Ring, len: usize, kind: Kind) -> usize {
        let plan = ring.plan_write(len, kind, if kind == Kind::Stream { Merge::OddBytes } else { Merge::Nothing });
        let merged = plan.merge.map_or(0, |(_, _, len)| len);
        let fresh = (len - merged).min(plan.free_slots().count() * PAGE_SIZE);
        ring.commit_write(&plan, Filled { merged, fresh, pooled: 0 });
        merged + fresh
    }

    fn read(ring: &mut Ring, len: usize) -> usize {
        let plan = ring.plan_read(len);
        let taken = plan.bytes().min(len);
        ring.commit_read(taken);
        taken
    }

    fn places(plan: &ReadPlan) -> impl Iterator<Item = (usize, usize, usize)> {
        plan.pieces().map(|piece| (piece.page, piece.offset, piece.len))
    }

    #[ktest]
    fn odd_bytes_merge_only_if_all_of_them_fit() {
        let mut ring = Ring::new(16);
        let writes = (0..).take_while(|_| write(&mut ring, 3000, Kind::Stream) == 3000).count();
        assert_eq!((writes, ring.bytes()), (16, 48000));
        assert_eq!(write(&mut ring, 5000, Kind::Stream), 904);
        assert_eq!(write(&mut ring, 1000, Kind::Stream), 0);
        assert_eq!(write(&mut ring, 96, Kind::Stream), 96);
    }

    #[ktest]
    fn room_is_whole_pages() {
        let mut ring = Ring::new(2);
        assert_eq!(write(&mut ring, 9000, Kind::Stream), 8192);
        assert_eq!(read(&mut ring, 4095), 4095);
        assert!(ring.is_full());
        assert!(ring.commit_read(1));
        assert!(!ring.is_full());
    }

    #[ktest]
    fn packets_are_read_one_by_one_and_cut() {
        let mut ring = Ring::new(4);
        write(&mut ring, 3, Kind::Packet);
        write(&mut ring, 2, Kind::Packet);
        assert_eq!(read(&mut ring, 2), 2);
        assert_eq!(read(&mut ring, 10), 2);
        assert!(ring.is_empty());
    }

    #[ktest]
    fn small_messages_use_one_page() {
        let mut ring = Ring::new(4);
        for _ in 0..10 {
            let plan = ring.plan_write(1, Kind::Stream, Merge::OddBytes);
            assert_eq!(plan.free_slots().next(), Some(0));
            ring.commit_write(&plan, Filled { fresh: 1, ..Filled::default() });
            assert_eq!(read(&mut ring, 1), 1);
        }
    }

    #[ktest]
    fn a_merge_into_a_drained_page_keeps_its_bytes() {
        let mut ring = Ring::new(2);
        write(&mut ring, 10, Kind::Stream);
        let plan = ring.plan_write(5, Kind::Stream, Merge::OddBytes);
        assert_eq!(plan.merge, Some((0, 10, 5)));
        assert_eq!(read(&mut ring, 10), 10);
        ring.commit_write(&plan, Filled { merged: 5, ..Filled::default() });
        assert!(places(&ring.plan_read(9)).eq([(0, 10, 5)]));
    }

    #[ktest]
    fn dense_writes_leave_no_gaps() {
        let mut ring = Ring::new(2);
        write(&mut ring, 3000, Kind::Stream);
        let plan = ring.plan_write(3000, Kind::Stream, Merge::AnyBytes);
        assert_eq!((plan.merge, plan.room()), (Some((0, 3000, 1096)), 1096 + PAGE_SIZE));
        ring.commit_write(&plan, Filled { merged: 1096, fresh: 1904, pooled: 0 });
        assert_eq!(ring.bytes(), 6000);
        let peek = ring.plan_peek(5000, 10);
        assert!(places(&peek).eq([(1, 904, 1000)]));
        assert!(ring.plan_peek(6000, 1).is_empty());
    }

    #[ktest]
    fn resizing_keeps_what_is_in_use() {
        let mut ring = Ring::new(4);
        write(&mut ring, 3 * PAGE_SIZE, Kind::Stream);
        read(&mut ring, PAGE_SIZE);
        assert!(ring.move_to(Ring::new(1)).is_none());
        let old = ring.move_to(Ring::new(2)).expect("two pages are in use");
        assert!(old.pages_in_use().eq([1, 2]));
        assert!(ring.is_full());
        assert_eq!(ring.bytes(), 2 * PAGE_SIZE);
    }
}
