// SPDX-License-Identifier: MPL-2.0

//! Frames for when there are none: the last of the kernel's own supply.
//!
//! # Role
//! The allocator of frames is OSDK's, and this stands before it. Where OSDK's has nothing, it gives out
//! - single pages that other CPUs have handed out: OSDK's allocator has a pool of free memory for each CPU, so much may be free that one CPU
//!   cannot reach;
//! - frames of a part of memory that is withheld from OSDK's at boot: OSTD makes page tables, and Rust its heap, in places that cannot fail.
//!
//! # Protocol
//! A CPU that OSDK's allocator has refused leaves word ([`is_wanted`]), and the next that asks whether memory is short has the others
//! [`hand_out`].
//!
//! # Invariants
//! A frame of the withheld part is marked in `taken` exactly while it is allocated. It comes back here and never to OSDK's allocator.
//!
//! # Concurrency
//! Two spin locks, never both, taken with IRQs disabled: frames are allocated in any context. OSDK's locks may be taken within the one of
//! what was handed out. Who gets a frame from OSDK's allocator takes neither.

use core::{
    alloc::Layout,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use arrayvec::ArrayVec;
use osdk_frame_allocator::FrameAllocator;
use ostd::{
    global_frame_allocator,
    mm::{Paddr, frame::GlobalFrameAllocator},
};

use crate::prelude::*;

/// The most pages that are withheld, 64 MiB.
const PAGES_MAX: usize = 1 << 14;
/// The most single pages that are handed out at a time, 4 MiB.
const SHARED_MAX: usize = 1 << 10;
/// No more than this part of the memory from which they are taken.
const PART: usize = 32;
/// The layout of a single page.
const PAGE: Layout = pages(1, 1);
/// Bits of a word of the bitmap.
const BITS: usize = u64::BITS as usize;

const fn pages(count: usize, align: usize) -> Layout {
    match Layout::from_size_align(count * PAGE_SIZE, align * PAGE_SIZE) {
        Ok(layout) => layout,
        Err(_) => panic!("alignments are powers of two"),
    }
}

#[global_frame_allocator]
static ALLOCATOR: WithSpare = WithSpare;

struct WithSpare;

static SPARE: SpinLock<Spare, LocalIrqDisabled> =
    SpinLock::new(Spare { start: 0, pages: 0, taken: [0; PAGES_MAX / BITS] });
/// Single pages that CPUs have handed out to each other.
static SHARED: SpinLock<ArrayVec<Paddr, SHARED_MAX>, LocalIrqDisabled> = SpinLock::new(ArrayVec::new_const());
/// Whether OSDK's allocator has refused somebody, and there is less than half of that left.
static IS_WANTED: AtomicBool = AtomicBool::new(false);
/// Mirrors of where it is, to know without the lock what belongs to it, and of how many of its pages are allocated.
static START: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Whether so much of it is used that programs should get no more.
pub(super) fn is_used() -> bool {
    // Relaxed: a few pages more or less.
    TAKEN.load(Relaxed) * PAGE_SIZE > BYTES.load(Relaxed) / 4
}

/// Whether a CPU wants to have what others can reach. To be asked once for each time.
pub(super) fn is_wanted() -> bool {
    // Relaxed: a hint.
    IS_WANTED.load(Relaxed) && IS_WANTED.swap(false, Relaxed)
}

/// Hands out single pages that this CPU can reach. Callable in interrupt context.
pub(super) fn hand_out() {
    let mut shared = SHARED.lock();
    while !shared.is_full()
        && let Some(page) = FrameAllocator.alloc(PAGE)
    {
        shared.push(page);
    }
}

/// For the log.
pub(super) fn state() -> String {
    let (spare, shared) = (TAKEN.load(Relaxed), SHARED.lock().len());
    alloc::format!("{spare} pages of the spare ones are used, {shared} are handed out")
}

impl GlobalFrameAllocator for WithSpare {
    fn alloc(&self, layout: Layout) -> Option<Paddr> {
        FrameAllocator.alloc(layout).or_else(|| take(layout))
    }

    fn dealloc(&self, addr: Paddr, size: usize) {
        // Relaxed: set once, at boot, before anybody has a frame.
        if addr.wrapping_sub(START.load(Relaxed)) < BYTES.load(Relaxed) {
            SPARE.lock().give_back(addr, size);
        } else {
            FrameAllocator.dealloc(addr, size);
        }
    }

    fn add_free_memory(&self, addr: Paddr, size: usize) {
        FrameAllocator.add_free_memory(addr, size - withhold(addr, size));
    }
}

/// Withholds the end of some memory, unless there is a part already. Returns how many bytes.
fn withhold(addr: Paddr, size: usize) -> usize {
    let pages = (size / PART / PAGE_SIZE).min(PAGES_MAX);
    let mut spare = SPARE.lock();
    // Where little is free, there is more to come.
    if spare.pages != 0 || pages < PAGES_MAX / 4 {
        return 0;
    }
    let bytes = pages * PAGE_SIZE;
    *spare = Spare { start: addr + size - bytes, pages, taken: [0; PAGES_MAX / BITS] };
    START.store(spare.start, Relaxed);
    BYTES.store(bytes, Relaxed);
    bytes
}

#[cold]
fn take(layout: Layout) -> Option<Paddr> {
    let mut shared = SHARED.lock();
    let page = if layout == PAGE { shared.pop() } else { None };
    if shared.len() < SHARED_MAX / 2 {
        IS_WANTED.store(true, Relaxed);
    }
    drop(shared);
    page.or_else(|| SPARE.lock().take(layout))
}

struct Spare {
    start: Paddr,
    pages: usize,
    /// A bit for each page.
    taken: [u64; PAGES_MAX / BITS],
}

impl Spare {
    fn take(&mut self, layout: Layout) -> Option<Paddr> {
        let count = layout.size().div_ceil(PAGE_SIZE);
        let is_aligned = |page: usize| (self.start + page * PAGE_SIZE).is_multiple_of(layout.align());
        let is_free = |page: usize| self.taken[page / BITS] >> (page % BITS) & 1 == 0;
        let last = self.pages.checked_sub(count)?;
        let first = (0..=last).find(|first| is_aligned(*first) && (*first..first + count).all(is_free))?;
        self.mark(first..first + count, true);
        Some(self.start + first * PAGE_SIZE)
    }

    fn give_back(&mut self, addr: Paddr, size: usize) {
        let first = (addr - self.start) / PAGE_SIZE;
        self.mark(first..first + size / PAGE_SIZE, false);
    }

    fn mark(&mut self, pages: Range<usize>, is_taken: bool) {
        let count = pages.len();
        for page in pages {
            let bit = 1 << (page % BITS);
            let word = &mut self.taken[page / BITS];
            *word = if is_taken { *word | bit } else { *word & !bit };
        }
        // Under the lock, so plain stores suffice.
        let taken = TAKEN.load(Relaxed);
        TAKEN.store(if is_taken { taken + count } else { taken - count }, Relaxed);
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn spare_pages_are_given_out_once_until_they_come_back() {
        let mut spare = Spare { start: 3 * PAGE_SIZE, pages: 100, taken: [0; PAGES_MAX / BITS] };
        let before = TAKEN.load(Relaxed);
        assert_eq!(spare.take(pages(2, 1)), Some(3 * PAGE_SIZE));
        assert_eq!(spare.take(pages(4, 4)), Some(8 * PAGE_SIZE));
        assert_eq!(spare.take(pages(3, 1)), Some(5 * PAGE_SIZE));
        assert_eq!(spare.take(pages(92, 1)), None);
        assert_eq!(spare.take(pages(91, 1)), Some(12 * PAGE_SIZE));
        assert_eq!(spare.take(pages(1, 1)), None);
        // In pieces, and from both sides of a word of the bitmap.
        spare.give_back(66 * PAGE_SIZE, PAGE_SIZE);
        spare.give_back(67 * PAGE_SIZE, PAGE_SIZE);
        assert_eq!(spare.take(pages(2, 1)), Some(66 * PAGE_SIZE));
        assert_eq!(spare.take(pages(1, 1)), None);
        spare.give_back(3 * PAGE_SIZE, 100 * PAGE_SIZE);
        assert_eq!(TAKEN.load(Relaxed), before);
        assert_eq!(spare.take(pages(101, 1)), None);
    }
}
