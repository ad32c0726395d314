// SPDX-License-Identifier: MPL-2.0

//! The pages that hold the bytes of a [stream](super).
//!
//! # Role
//! A slot of the [`Ring`](super::Ring) has a page of its own, allocated when it is first used: there are the bytes of short writes
//! and the odd ends of long ones. Whole pages of a long write come from the [pool](page_pool) and go back when they have been read ([`Pages::drain`]); those that
//! `splice(2)` or a reader of nothing but lengths passes over stay in their slots until the next long write or the end.
//!
//! # Concurrency
//! Lock order: `pooled`, which is held only to move pages in and out. Which of the two sides may, the plans of the ring say.

use arrayvec::ArrayVec;
use ostd::mm::{Frame, io::util::HasVmReaderWriter};
use spin::Once;

use super::{Filled, Piece, ReadPlan, WritePlan};
use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
    vm::{BULK_PAGES, page_pool, reserve},
};

type Page = Frame<()>;

/// The pages of one stream. Which bytes of them mean something is in its [`Ring`](super::Ring).
pub struct Pages {
    own: Box<[Once<Page>]>,
    /// By slot; empty until there is one. One in a slot that is free means nothing.
    pooled: SpinLock<Vec<Option<Page>>>,
}

impl Pages {
    /// Room for `count` pages, of which there are none.
    pub fn new(count: usize) -> Self {
        Self { own: (0..count).map(|_| Once::new()).collect(), pooled: SpinLock::new(Vec::new()) }
    }

    /// Room for `count` pages, of which the first are those of `self` with the given numbers, taken from it.
    pub fn resized(&self, count: usize, keep: impl Iterator<Item = usize>) -> Self {
        let mut old = self.pooled.lock();
        let mut pooled = Vec::new();
        let kept = keep.map(|slot| {
            pooled.push(old.get_mut(slot).and_then(Option::take));
            self.own.get(slot).and_then(Once::get).cloned()
        });
        let kept = kept.map(|page| page.map_or_else(Once::new, Once::initialized));
        let own = kept.chain(core::iter::repeat_with(Once::new)).take(count).collect();
        Self { own, pooled: SpinLock::new(pooled) }
    }

    /// Copies up to `len` bytes of `src` to where `plan` says. A page that faults is left out as a whole, and those after it.
    ///
    /// # Errors
    /// `EFAULT` or `ENOMEM` beside what was filled before.
    #[inline]
    pub fn fill(&self, plan: &WritePlan, src: &mut IoSrc<'_>, len: usize) -> (Filled, Result<()>) {
        let mut merged = 0;
        if let Some((slot, offset, len)) = plan.merge {
            if let Err(error) = self.fill_page(slot, offset, len, src) {
                return (Filled::default(), Err(error));
            }
            merged = len;
        }
        let left = len - merged;
        if left > PAGE_SIZE {
            let (fresh, outcome) = self.fill_many(plan, src, left);
            return (Filled { merged, fresh, pooled: fresh / PAGE_SIZE }, outcome);
        }
        let mut fresh = 0;
        if left > 0
            && let Some(slot) = plan.free_slots().next()
        {
            if let Err(error) = self.fill_page(slot, 0, left, src) {
                return (Filled { merged, ..Filled::default() }, Err(error));
            }
            fresh = left;
        }
        (Filled { merged, fresh, pooled: 0 }, Ok(()))
    }

    /// Fills the free slots of `plan` with up to `len` bytes. The answer is as that of [`Self::fill`].
    #[inline(never)]
    fn fill_many(&self, plan: &WritePlan, src: &mut IoSrc<'_>, len: usize) -> (usize, Result<()>) {
        let (mut fresh, mut free) = (0, plan.free_slots());
        let outcome = loop {
            let slots = free.by_ref().take((len - fresh).div_ceil(PAGE_SIZE)).take(BULK_PAGES);
            let slots: ArrayVec<_, BULK_PAGES> = slots.collect();
            let wanted = (len - fresh).min(slots.len() * PAGE_SIZE);
            if wanted == 0 {
                break Ok(());
            }
            match self.fill_group(&slots, src, wanted) {
                Ok(count) if count == wanted => fresh += count,
                Ok(count) => {
                    fresh += count - count % PAGE_SIZE;
                    break Err(EFAULT);
                }
                Err(error) => break Err(error),
            }
        };
        (fresh, outcome)
    }

    /// Fills `slots` with `len` bytes: whole pages of the pool, and the odd rest in a slot's own page.
    fn fill_group(&self, slots: &ArrayVec<usize, BULK_PAGES>, src: &mut IoSrc<'_>, len: usize) -> Result<usize> {
        let mut pages = ArrayVec::new();
        page_pool::take(len / PAGE_SIZE, &mut pages)?;
        let mut writers: ArrayVec<_, BULK_PAGES> = pages.iter().map(Page::writer).collect();
        if let Some(slot) = slots.get(writers.len()) {
            let mut odd = self.own(*slot)?.writer();
            odd.limit(len % PAGE_SIZE);
            writers.push(odd);
        }
        let outcome = src.read_into(&mut writers);
        drop(writers);
        self.lend(slots, &mut pages, *outcome.as_ref().unwrap_or(&0) / PAGE_SIZE);
        outcome
    }

    /// Puts the first `count` pages into `slots`. Others go to the pool, and so do those that are there from reads that did not give
    /// them back.
    fn lend(&self, slots: &[usize], pages: &mut ArrayVec<Page, BULK_PAGES>, count: usize) {
        let mut others: ArrayVec<_, { 2 * BULK_PAGES }> = pages.drain(count..).collect();
        let mut pooled = self.pooled.lock();
        if pooled.len() < self.own.len() {
            pooled.resize_with(self.own.len(), || None);
        }
        for (slot, page) in slots.iter().zip(pages.drain(..)) {
            let place = pooled.get_mut(*slot);
            others.extend(place.and_then(|place| place.replace(page)));
        }
        drop(pooled);
        if !others.is_empty() {
            page_pool::give(others.into_iter());
        }
    }

    /// A slot's own page, made if this is its first use.
    #[inline]
    fn own(&self, slot: usize) -> Result<&Page> {
        let page = self.own.get(slot).ok_or(EFAULT)?;
        match page.get() {
            Some(page) => Ok(page),
            None => reserve::or_relieve(|| page.try_call_once(|| reserve::new_page(false))),
        }
    }

    #[inline(never)]
    fn fill_page(&self, slot: usize, offset: usize, len: usize, src: &mut IoSrc<'_>) -> Result<()> {
        let mut writer = self.own(slot)?.writer();
        writer.skip(offset).limit(len);
        if src.read(&mut writer)? < len { Err(EFAULT) } else { Ok(()) }
    }

    /// Copies up to `len` bytes that `plan` names to `dst`, for a read that will be committed: pages of the pool that are read to
    /// their ends are given back. A piece that faults is left out as a whole, and those after it.
    ///
    /// # Errors
    /// `EFAULT` beside what was copied before.
    #[inline]
    pub fn drain(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        self.read(plan, dst, len, true)
    }

    /// [`Self::drain`] for a read that will not be committed as planned.
    ///
    /// # Errors
    /// `EFAULT` beside what was copied before.
    #[inline]
    pub fn peek(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        self.read(plan, dst, len, false)
    }

    #[inline]
    fn read(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize, gives_back: bool) -> (usize, Result<()>) {
        match plan.pieces().next() {
            Some(piece) if piece.len >= len && !piece.is_pooled => {
                let outcome = self.copy_own(&piece, dst, len);
                (if outcome.is_ok() { len } else { 0 }, outcome)
            }
            _ => self.copy(plan.pieces(), dst, len, gives_back),
        }
    }

    /// Copies the first `len` bytes of `piece` to `dst`, or none, for a read that will be committed.
    ///
    /// # Errors
    /// `EFAULT`
    #[inline]
    pub fn drain_piece(&self, piece: &Piece, dst: &mut IoDst<'_>, len: usize) -> Result<()> {
        let len = len.min(piece.len);
        if piece.is_pooled {
            return self.copy(core::iter::once(*piece), dst, len, true).1;
        }
        self.copy_own(piece, dst, len)
    }

    fn copy_own(&self, piece: &Piece, dst: &mut IoDst<'_>, len: usize) -> Result<()> {
        let mut reader = self.own.get(piece.page).and_then(Once::get).ok_or(EFAULT)?.reader();
        reader.skip(piece.offset).limit(len);
        if dst.write(&mut reader)? < len { Err(EFAULT) } else { Ok(()) }
    }

    /// Copies up to `len` bytes of `pieces` to `dst`, as [`Self::drain`] or [`Self::peek`].
    #[inline(never)]
    fn copy(
        &self,
        pieces: impl Iterator<Item = Piece>,
        dst: &mut IoDst<'_>,
        len: usize,
        gives_back: bool,
    ) -> (usize, Result<()>) {
        let mut wanted = 0;
        let pieces: ArrayVec<_, BULK_PAGES> = pieces
            .map_while(|piece| {
                let piece = Piece { len: piece.len.min(len - wanted), ..piece };
                wanted += piece.len;
                (piece.len > 0).then_some(piece)
            })
            .collect();
        let mut borrowed = self.borrow(&pieces, gives_back);
        let mut pages = borrowed.iter();
        let readers = pieces.iter().map_while(|piece| {
            let page = if piece.is_pooled { pages.next()?.as_ref() } else { self.own.get(piece.page)?.get() };
            let mut reader = page?.reader();
            reader.skip(piece.offset).limit(piece.len);
            Some(reader)
        });
        let mut readers: ArrayVec<_, BULK_PAGES> = readers.collect();
        let outcome = dst.write_from(&mut readers);
        drop(readers);
        let mut whole = *outcome.as_ref().unwrap_or(&0);
        if whole < wanted {
            let mut end = 0;
            let ends = pieces.iter().map(|piece| {
                end += piece.len;
                end
            });
            whole = ends.take_while(|end| *end <= whole).last().unwrap_or(0);
        }
        if gives_back && !borrowed.is_empty() {
            self.give_back(&pieces, &mut borrowed, whole);
        }
        (whole, if whole == wanted { Ok(()) } else { Err(outcome.err().unwrap_or(EFAULT)) })
    }

    /// The pages of the pool in `pieces`, taken out or only referred to.
    #[inline]
    fn borrow(&self, pieces: &[Piece], takes_out: bool) -> ArrayVec<Option<Page>, BULK_PAGES> {
        let mut pooled = self.pooled.lock();
        let slots = pieces.iter().filter(|piece| piece.is_pooled).map(|piece| piece.page);
        let pages = slots.map(|slot| {
            let place = pooled.get_mut(slot)?;
            if takes_out { place.take() } else { place.clone() }
        });
        pages.collect()
    }

    /// Gives pages to the pool that end in the first `read` bytes of `pieces`, and puts the others back.
    #[inline]
    fn give_back(&self, pieces: &[Piece], pages: &mut ArrayVec<Option<Page>, BULK_PAGES>, read: usize) {
        let mut end = 0;
        let slots = pieces.iter().filter_map(|piece| {
            end += piece.len;
            let is_over = end <= read && piece.offset + piece.len == PAGE_SIZE;
            piece.is_pooled.then_some((piece.page, is_over))
        });
        let mut pooled = None;
        for ((slot, is_over), page) in slots.zip(pages.iter_mut()) {
            if !is_over {
                let pooled = pooled.get_or_insert_with(|| self.pooled.lock());
                if let Some(place) = pooled.get_mut(slot) {
                    *place = page.take();
                }
            }
        }
        drop(pooled);
        page_pool::give(pages.drain(..).flatten());
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let pooled = self.pooled.get_mut();
        if !pooled.is_empty() {
            page_pool::give(pooled.iter_mut().filter_map(Option::take));
        }
    }
}

#[cfg(ktest)]
mod tests {
    use alloc::collections::VecDeque;

    use ostd::prelude::ktest;

    use super::*;
    use crate::stream::{Kind, Merge, Ring};

    /// A stream and what should be in it.
    struct Stream {
        ring: Ring,
        pages: Pages,
        model: VecDeque<u8>,
        next: u8,
    }

    impl Stream {
        fn new(slots: usize) -> Self {
            Self { ring: Ring::new(slots), pages: Pages::new(slots), model: VecDeque::new(), next: 0 }
        }

        fn write(&mut self, len: usize, merge: Merge, committed: usize) {
            let plan = self.ring.plan_write(len, Kind::Stream, merge);
            let bytes: Vec<u8> =
                (0..len.min(plan.room())).map(|index| self.next.wrapping_add((index % 251) as u8)).collect();
            let (filled, outcome) = self.pages.fill(&plan, &mut IoSrc::from_slice(&bytes), bytes.len());
            assert_eq!((filled.len(), outcome), (bytes.len(), Ok(())));
            let filled = filled.up_to(committed);
            self.ring.commit_write(&plan, filled);
            self.model.extend(&bytes[..filled.len()]);
            self.next = self.next.wrapping_add(7);
        }

        fn read(&mut self, len: usize, peeks: bool) {
            let plan = self.ring.plan_read(len);
            let mut bytes = alloc::vec![0; plan.bytes().min(len)];
            let wanted = bytes.len();
            let mut dst = IoDst::from_slice(&mut bytes);
            let outcome = if peeks {
                self.pages.peek(&plan, &mut dst, wanted)
            } else {
                self.pages.drain(&plan, &mut dst, wanted)
            };
            assert_eq!(outcome, (wanted, Ok(())));
            assert!(self.model.iter().zip(&bytes).all(|(model, byte)| model == byte));
            if !peeks {
                self.ring.commit_read(wanted);
                self.model.drain(..wanted);
            }
        }

        fn resize(&mut self, slots: usize) {
            if let Some(old) = self.ring.move_to(Ring::new(slots)) {
                self.pages = self.pages.resized(slots, old.pages_in_use());
            }
        }

        fn pooled(&self) -> usize {
            self.pages.pooled.lock().iter().flatten().count()
        }
    }

    #[ktest]
    fn whole_pages_are_of_the_pool_until_they_are_read() {
        let mut stream = Stream::new(8);
        stream.write(3 * PAGE_SIZE + 10, Merge::Nothing, usize::MAX);
        assert_eq!(stream.pooled(), 3);
        stream.read(2 * PAGE_SIZE, true);
        assert_eq!(stream.pooled(), 3);
        stream.read(PAGE_SIZE + 10, false);
        assert_eq!(stream.pooled(), 2);
        stream.read(PAGE_SIZE - 10, false);
        assert_eq!(stream.pooled(), 1);
        stream.read(2 * PAGE_SIZE, false);
        assert_eq!((stream.pooled(), stream.model.len()), (0, 0));
    }

    #[ktest]
    fn nothing_is_added_to_a_page_of_the_pool() {
        let mut stream = Stream::new(8);
        stream.write(2 * PAGE_SIZE, Merge::AnyBytes, PAGE_SIZE + 100);
        stream.write(50, Merge::AnyBytes, usize::MAX);
        stream.read(PAGE_SIZE + 150, false);
        assert!(stream.model.is_empty());
    }

    #[ktest]
    fn bytes_come_out_as_they_went_in() {
        let mut stream = Stream::new(8);
        let mut seed: u32 = 1;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for round in 0..3000 {
            let long = if random(2) == 0 { 300 } else { 10 * PAGE_SIZE };
            let len = 1 + random(long);
            match random(12) {
                0..=3 => stream.write(len, Merge::AnyBytes, usize::MAX),
                4 => stream.write(len, Merge::OddBytes, 1 + random(len)),
                5..=8 => stream.read(len, false),
                9 | 10 => stream.read(len, true),
                _ => stream.resize(4 << random(4)),
            }
            assert_eq!(stream.ring.bytes(), stream.model.len(), "round {round}");
        }
    }
}
