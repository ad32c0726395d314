// SPDX-License-Identifier: MPL-2.0

//! The pages that hold the bytes of a [stream](super), each allocated when it is first written.

use arrayvec::ArrayVec;
use ostd::mm::{Frame, io::util::HasVmReaderWriter};
use spin::Once;

use super::{Filled, Piece, ReadPlan, WritePlan};
use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
    vm::reserve,
};

/// How many pages are copied at once.
const GROUP: usize = 16;

/// The pages of one stream. Which bytes of them mean something is in its [`Ring`](super::Ring).
pub struct Pages {
    frames: Box<[Once<Frame<()>>]>,
}

impl Pages {
    /// Room for `count` pages, none of them allocated.
    pub fn new(count: usize) -> Self {
        Self { frames: (0..count).map(|_| Once::new()).collect() }
    }

    /// Room for `count` pages, of which the first are those of `self` with the given numbers.
    pub fn resized(&self, count: usize, keep: impl Iterator<Item = usize>) -> Self {
        let kept = keep.map(|page| self.frames.get(page).and_then(Once::get).cloned());
        let kept = kept.map(|frame| frame.map_or_else(Once::new, Once::initialized));
        Self { frames: kept.chain(core::iter::repeat_with(Once::new)).take(count).collect() }
    }

    /// Copies up to `len` bytes of `src` to where `plan` says. A page that faults is left out as a whole, and those after it.
    ///
    /// # Errors
    /// `EFAULT` or `ENOMEM` beside what was filled before.
    #[inline]
    pub fn fill(&self, plan: &WritePlan, src: &mut IoSrc<'_>, len: usize) -> (Filled, Result<()>) {
        let mut filled = Filled::default();
        if let Some((page, offset, len)) = plan.merge {
            if let Err(error) = self.fill_page(page, offset, len, src) {
                return (filled, Err(error));
            }
            filled.merged = len;
        }
        let fresh = len - filled.merged;
        if fresh > PAGE_SIZE {
            let result = self.fill_many(plan, src, fresh, &mut filled.fresh);
            return (filled, result);
        }
        if fresh > 0
            && let Some(page) = plan.pages().next()
        {
            if let Err(error) = self.fill_page(page, 0, fresh, src) {
                return (filled, Err(error));
            }
            filled.fresh = fresh;
        }
        (filled, Ok(()))
    }

    /// Fills the free pages of `plan` with up to `len` bytes, and says by `filled` how many of them are in pages without a fault.
    #[inline(never)]
    fn fill_many(&self, plan: &WritePlan, src: &mut IoSrc<'_>, len: usize, filled: &mut usize) -> Result<()> {
        let mut pages = plan.pages().peekable();
        while *filled < len && pages.peek().is_some() {
            let mut wanted = 0;
            let mut writers: ArrayVec<_, GROUP> = ArrayVec::new();
            for page in pages.by_ref().take(GROUP) {
                let count = (len - *filled - wanted).min(PAGE_SIZE);
                if count == 0 {
                    break;
                }
                let mut writer = self.frame(page)?.writer();
                writer.limit(count);
                writers.push(writer);
                wanted += count;
            }
            let count = src.read_into(&mut writers)?;
            if count < wanted {
                *filled += count - count % PAGE_SIZE;
                return Err(EFAULT);
            }
            *filled += count;
        }
        Ok(())
    }

    /// The frame of a page, made if this is its first use.
    #[inline]
    fn frame(&self, page: usize) -> Result<&Frame<()>> {
        let frame = self.frames.get(page).ok_or(EFAULT)?;
        match frame.get() {
            Some(frame) => Ok(frame),
            None => reserve::or_relieve(|| frame.try_call_once(|| reserve::new_page(false))),
        }
    }

    #[inline(never)]
    fn fill_page(&self, page: usize, offset: usize, len: usize, src: &mut IoSrc<'_>) -> Result<()> {
        let mut writer = self.frame(page)?.writer();
        writer.skip(offset).limit(len);
        if src.read(&mut writer)? < len { Err(EFAULT) } else { Ok(()) }
    }

    /// Copies up to `len` bytes that `plan` names to `dst`. A piece that faults is left out as a whole, and those after it.
    ///
    /// # Errors
    /// `EFAULT` beside what was copied before.
    #[inline]
    pub fn drain(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        let Some((page, offset, available)) = plan.pieces().next() else { return (0, Ok(())) };
        if available < len {
            return self.drain_many(plan, dst, len);
        }
        let outcome = self.drain_page(page, offset, len, dst);
        (if outcome.is_ok() { len } else { 0 }, outcome)
    }

    #[inline(never)]
    fn drain_many(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        let mut total = 0;
        let mut pieces = plan.pieces().peekable();
        while total < len && pieces.peek().is_some() {
            let mut wanted = 0;
            let mut readers: ArrayVec<_, GROUP> = ArrayVec::new();
            let mut ends: ArrayVec<_, GROUP> = ArrayVec::new();
            for (page, offset, available) in pieces.by_ref().take(GROUP) {
                let count = available.min(len - total - wanted);
                if count == 0 {
                    break;
                }
                let Some(frame) = self.frames.get(page).and_then(Once::get) else {
                    return (total, Err(EFAULT));
                };
                let mut reader = frame.reader();
                reader.skip(offset).limit(count);
                readers.push(reader);
                wanted += count;
                ends.push(wanted);
            }
            let outcome = dst.write_from(&mut readers);
            let count = *outcome.as_ref().unwrap_or(&0);
            if count < wanted {
                let whole = ends.iter().rev().find(|end| **end <= count).copied().unwrap_or(0);
                return (total + whole, Err(outcome.err().unwrap_or(EFAULT)));
            }
            total += count;
        }
        (total, Ok(()))
    }

    /// Copies the first `len` bytes of `piece` to `dst`, or none.
    ///
    /// # Errors
    /// `EFAULT`
    pub fn drain_piece(&self, piece: &Piece, dst: &mut IoDst<'_>, len: usize) -> Result<()> {
        self.drain_page(piece.page, piece.offset, len.min(piece.len), dst)
    }

    fn drain_page(&self, page: usize, offset: usize, len: usize, dst: &mut IoDst<'_>) -> Result<()> {
        let frame = self.frames.get(page).and_then(Once::get).ok_or(EFAULT)?;
        let mut reader = frame.reader();
        reader.skip(offset).limit(len);
        if dst.write(&mut reader)? < len { Err(EFAULT) } else { Ok(()) }
    }
}
