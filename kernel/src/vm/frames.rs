// SPDX-License-Identifier: MPL-2.0

//! The allocator of frames, from which OSTD takes all physical memory.
//!
//! # Role
//! Three places, asked in this order:
//! - single pages of each CPU, those that were freed last first;
//! - all other memory, as [`Buddies`];
//! - the spare part, for when there is nothing left: OSTD makes page tables, and Rust its heap, in places that cannot fail. The reserve
//!   ([`super::reserve`]) leaves single pages for that; of pages in a row there may be none though many are free.
//!
//! OSDK's allocator has free memory for each CPU which the others cannot reach, and what has been split between two CPUs never becomes
//! whole again; so all blocks are in one place here.
//!
//! # Invariants
//! A page of the spare part comes back there and never gets into the other two.
//!
//! # Concurrency
//! The pages of a CPU are its own, with IRQs disabled: frames are allocated in any context. The other two have a spin lock each,
//! likewise, and are never locked together. Half of what a CPU may have comes or goes at a time, so it takes the lock once for
//! that many pages.

use core::{
    alloc::Layout,
    cell::RefCell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use arrayvec::ArrayVec;
use ostd::{
    cpu_local, global_frame_allocator, irq,
    mm::{Paddr, frame::GlobalFrameAllocator},
};

use super::buddy::Buddies;
use crate::prelude::*;

/// The most single pages that a CPU has at hand.
const NEAR_MAX: usize = 64;
/// The most pages of the spare part, 64 MiB.
const SPARE_MAX: usize = 1 << 14;
/// It has no more than this part of the memory from which it is taken.
const SPARE_PART: usize = 32;

#[global_frame_allocator]
static ALLOCATOR: Frames = Frames;

struct Frames;

cpu_local! {
    static NEAR: RefCell<ArrayVec<Paddr, NEAR_MAX>> = RefCell::new(ArrayVec::new_const());
}

static MAIN: Blocks = Blocks::new();
static SPARE: Blocks = Blocks::new();

/// Where the spare part is, in bytes. Set once, at boot, before anybody has a frame.
static SPARE_START: AtomicUsize = AtomicUsize::new(0);
static SPARE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// Blocks that all CPUs share.
struct Blocks {
    buddies: SpinLock<Buddies, LocalIrqDisabled>,
    /// How many pages are free: a mirror, to know it without the lock.
    free: AtomicUsize,
}

impl Blocks {
    const fn new() -> Self {
        Self { buddies: SpinLock::new(Buddies::new()), free: AtomicUsize::new(0) }
    }

    fn with<R>(&self, action: impl FnOnce(&mut Buddies) -> R) -> R {
        let mut buddies = self.buddies.lock();
        let result = action(&mut buddies);
        self.free.store(buddies.pages(), Relaxed);
        result
    }

    /// Bytes that are free.
    fn free_size(&self) -> usize {
        self.free.load(Relaxed) * PAGE_SIZE
    }
}

/// Bytes that are free, without the spare part, and as on Linux without the single pages that CPUs have at hand.
pub fn free_size() -> usize {
    MAIN.free_size()
}

/// Bytes of the spare part that are in use.
pub(super) fn spare_used() -> usize {
    // A page that is given back meanwhile may be counted first.
    SPARE_SIZE.load(Relaxed).saturating_sub(SPARE.free_size())
}

/// Whether so much of the spare part is in use that programs should get no more.
pub(super) fn is_spare_used() -> bool {
    spare_used() > SPARE_SIZE.load(Relaxed) / 4
}

impl GlobalFrameAllocator for Frames {
    fn alloc(&self, layout: Layout) -> Option<Paddr> {
        if layout.size() != PAGE_SIZE || layout.align() > PAGE_SIZE {
            return alloc_block(layout);
        }
        let guard = irq::disable_local();
        let near = NEAR.get_with(&guard);
        let mut near = near.borrow_mut();
        if near.is_empty() {
            refill(&mut near);
        }
        near.pop().or_else(|| alloc_block(layout))
    }

    fn dealloc(&self, addr: Paddr, size: usize) {
        if size != PAGE_SIZE || is_spare(addr) {
            return give_back(addr, size);
        }
        let guard = irq::disable_local();
        let near = NEAR.get_with(&guard);
        let mut near = near.borrow_mut();
        if near.is_full() {
            spill(&mut near);
        }
        near.push(addr);
    }

    fn add_free_memory(&self, addr: Paddr, size: usize) {
        let (addr, pages) = (addr, size / PAGE_SIZE);
        let spare = (pages / SPARE_PART).min(SPARE_MAX);
        // Where little is free, there is more to come.
        let spare = if SPARE_SIZE.load(Relaxed) == 0 && spare >= SPARE_MAX / 4 { spare } else { 0 };
        let main = pages - spare;
        if spare != 0 {
            SPARE_START.store(addr + main * PAGE_SIZE, Relaxed);
            SPARE_SIZE.store(spare * PAGE_SIZE, Relaxed);
            SPARE.with(|free| free.give(addr + main * PAGE_SIZE, spare));
        }
        MAIN.with(|free| free.give(addr, main));
    }
}

fn is_spare(addr: Paddr) -> bool {
    addr.wrapping_sub(SPARE_START.load(Relaxed)) < SPARE_SIZE.load(Relaxed)
}

#[cold]
fn alloc_block(layout: Layout) -> Option<Paddr> {
    let (count, align) = (layout.size() / PAGE_SIZE, layout.align().div_ceil(PAGE_SIZE));
    MAIN.with(|free| free.take(count, align)).or_else(|| SPARE.with(|free| free.take(count, align)))
}

/// Gives pages in a row back to where they are from.
#[cold]
pub(super) fn give_back(addr: Paddr, size: usize) {
    let blocks = if is_spare(addr) { &SPARE } else { &MAIN };
    blocks.with(|free| free.give(addr, size / PAGE_SIZE));
}

#[cold]
fn refill(near: &mut ArrayVec<Paddr, NEAR_MAX>) {
    MAIN.with(|free| free.take_singles(NEAR_MAX / 2, |page| near.push(page)));
    // Pages in a row are taken in that order.
    near.reverse();
}

/// Gives the older half back.
#[cold]
fn spill(near: &mut ArrayVec<Paddr, NEAR_MAX>) {
    MAIN.with(|free| near.drain(..NEAR_MAX / 2).for_each(|page| free.give(page, 1)));
}

#[cfg(ktest)]
mod tests {
    use ostd::{
        mm::{FrameAllocOptions, HasPaddr},
        prelude::ktest,
    };

    use super::*;

    fn layout(pages: usize, align: usize) -> Layout {
        Layout::from_size_align(pages * PAGE_SIZE, align * PAGE_SIZE).unwrap()
    }

    #[ktest]
    fn rows_of_pages_are_aligned() {
        for (pages, align) in [(1, 1), (1, 8), (3, 1), (8, 8), (5, 16), (300, 1)] {
            let start = ALLOCATOR.alloc(layout(pages, align)).unwrap();
            assert!(start.is_multiple_of(align * PAGE_SIZE));
            ALLOCATOR.dealloc(start, pages * PAGE_SIZE);
        }
    }

    #[ktest]
    fn the_page_that_was_freed_last_is_the_next() {
        let guard = irq::disable_local();
        let page = FrameAllocOptions::new().alloc_frame().unwrap();
        let address = page.paddr();
        drop(page);
        assert_eq!(FrameAllocOptions::new().alloc_frame().unwrap().paddr(), address);
        drop(guard);
    }

    #[ktest]
    fn where_nothing_is_left_the_spare_part_is_taken_and_comes_back() {
        let used = spare_used();
        // More in a row than there is in one block elsewhere: all larger ones are taken first.
        let row = layout(1 << 12, 1);
        let mut taken = Vec::with_capacity(1 << 12);
        while spare_used() == used {
            taken.push(ALLOCATOR.alloc(row).unwrap());
        }
        let last = taken.last().copied().unwrap();
        assert!(is_spare(last));
        assert_eq!(spare_used(), used + row.size());
        // In pieces.
        ALLOCATOR.dealloc(last + PAGE_SIZE, row.size() - PAGE_SIZE);
        ALLOCATOR.dealloc(last, PAGE_SIZE);
        assert_eq!(spare_used(), used);
        taken[..taken.len() - 1].iter().for_each(|start| ALLOCATOR.dealloc(*start, row.size()));
    }
}
