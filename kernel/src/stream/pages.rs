// SPDX-License-Identifier: MPL-2.0

//! The pages that hold the bytes of a [stream](super), each allocated when it is first written.

use ostd::mm::{Frame, FrameAllocOptions, io::util::HasVmReaderWriter};
use spin::Once;

use super::{Filled, Piece, ReadPlan, WritePlan};
use crate::{
    file::{IoDst, IoSrc},
    prelude::*,
};

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
        for page in plan.pages() {
            let count = (fresh - filled.fresh).min(PAGE_SIZE);
            if count == 0 {
                break;
            }
            if let Err(error) = self.fill_page(page, 0, count, src) {
                return (filled, Err(error));
            }
            filled.fresh += count;
        }
        (filled, Ok(()))
    }

    #[inline(never)]
    fn fill_page(&self, page: usize, offset: usize, len: usize, src: &mut IoSrc<'_>) -> Result<()> {
        let frame = self.frames.get(page).ok_or(EFAULT)?;
        let frame = frame.try_call_once(|| FrameAllocOptions::new().zeroed(false).alloc_frame())?;
        let mut writer = frame.writer();
        writer.skip(offset).limit(len);
        if src.read(&mut writer)? < len { Err(EFAULT) } else { Ok(()) }
    }

    /// Copies up to `len` bytes that `plan` names to `dst`. A piece that faults is left out as a whole, and those after it.
    ///
    /// # Errors
    /// `EFAULT` beside what was copied before.
    pub fn drain(&self, plan: &ReadPlan, dst: &mut IoDst<'_>, len: usize) -> (usize, Result<()>) {
        let mut total = 0;
        for (page, offset, available) in plan.pieces() {
            let count = available.min(len - total);
            if let Err(error) = self.drain_page(page, offset, count, dst) {
                return (total, Err(error));
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
