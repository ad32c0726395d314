// SPDX-License-Identifier: MPL-2.0

//! Pages at hand for the bytes of streams.
//!
//! # Role
//! A stream wants pages while bytes are in it, and gives them back when they have been read. From here they come faster than from
//! the allocator of frames, and in the order that suits the processors' caches:
//! - a CPU takes the page that it has given last, which is in its cache;
//! - where one CPU gives and another takes, a page comes round so late that it has left the cache of the one before the other
//!   writes to it. To write what is in the cache of another processor takes twice as long.
//!
//! # Invariants
//! A page in the pool has no owner. What is in it means nothing.
//!
//! # Concurrency
//! A spin lock for the pages of each CPU, which other CPUs take only where memory is short; then the one of those that are for
//! all. Nothing is allocated under them but the queues' own room, and no page is freed.

use alloc::collections::VecDeque;

use arrayvec::ArrayVec;
use ostd::{
    cpu::{PinCurrentCpu, num_cpus},
    mm::Frame,
    task::disable_preempt,
    util::id_set::Id,
};
use spin::Once;

use super::reserve;
use crate::{prelude::*, system};

/// The most pages that a CPU keeps, 4 MiB: more than the cache that a core has for itself. When it has so many, the older half is for all.
const MOST: usize = 1024;
/// It keeps no more than this part of memory.
const PART: usize = 1024;
/// How many pages a CPU that has too few takes of those for all.
const REFILL: usize = 64;

type Queue = VecDeque<Frame<()>>;

/// The pages of one CPU, those that were given last at the end. In cache lines of its own.
#[repr(align(128))]
struct Near(SpinLock<Queue>);

struct Pool {
    near: Box<[Near]>,
    /// For all, those that were given first at the start.
    far: SpinLock<Queue>,
    /// The most pages that a CPU keeps on this machine, and the most that are for all.
    most: usize,
}

static POOL: Once<Pool> = Once::new();

/// Makes the pool, which is empty. Call once, before the first program.
pub(super) fn init() {
    POOL.call_once(|| Pool::new((system::memory().total / PAGE_SIZE / PART).clamp(2, MOST)));
}

/// Takes pages until there are `count` in `pages`, with whatever is in them. Call it where one may sleep.
///
/// # Errors
/// `ENOMEM`
pub fn take<const N: usize>(count: usize, pages: &mut ArrayVec<Frame<()>, N>) -> Result<()> {
    if let Some(pool) = POOL.get() {
        pool.take(count.min(N), pages);
    }
    while pages.len() < count {
        pages.push(reserve::or_relieve(|| reserve::new_page(false))?);
    }
    Ok(())
}

/// Gives pages that nobody else has.
pub fn give(pages: impl Iterator<Item = Frame<()>>) {
    if let Some(pool) = POOL.get() {
        pool.give(pages);
    }
}

/// Frees all pages. Returns whether there were any.
pub(super) fn release() -> bool {
    POOL.get().is_some_and(Pool::release)
}

/// Bytes of all pages.
pub fn size() -> usize {
    POOL.get().map_or(0, Pool::pages) * PAGE_SIZE
}

impl Pool {
    fn new(most: usize) -> Self {
        let near = (0..num_cpus()).map(|_| Near(SpinLock::new(Queue::new()))).collect();
        Self { near, far: SpinLock::new(Queue::new()), most }
    }

    /// Takes pages until there are `count` in `pages`, as far as there are any.
    fn take<const N: usize>(&self, count: usize, pages: &mut ArrayVec<Frame<()>, N>) {
        let guard = disable_preempt();
        let wanted = count.saturating_sub(pages.len());
        let mut near = self.near[guard.current_cpu().as_usize()].0.lock();
        if near.len() < wanted {
            let mut far = self.far.lock();
            let refill = far.len().min(REFILL);
            far.drain(..refill).for_each(|page| near.push_front(page));
        }
        let rest = near.len().saturating_sub(wanted);
        pages.extend(near.drain(rest..));
    }

    fn give(&self, pages: impl Iterator<Item = Frame<()>>) {
        let guard = disable_preempt();
        let mut near = self.near[guard.current_cpu().as_usize()].0.lock();
        near.extend(pages);
        if near.len() < self.most {
            return;
        }
        let half = near.len() / 2;
        let mut far = self.far.lock();
        far.extend(near.drain(..half));
        let excess = far.len().saturating_sub(self.most);
        let excess: Queue = far.drain(..excess).collect();
        drop((far, near, guard));
        drop(excess);
    }

    fn queues(&self) -> impl Iterator<Item = &SpinLock<Queue>> {
        self.near.iter().map(|near| &near.0).chain([&self.far])
    }

    fn release(&self) -> bool {
        self.queues().fold(false, |any, queue| {
            let pages = core::mem::take(&mut *queue.lock());
            any | !pages.is_empty()
        })
    }

    fn pages(&self) -> usize {
        self.queues().map(|queue| queue.lock().len()).sum()
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::{
        mm::{FrameAllocOptions, HasPaddr, Paddr},
        prelude::ktest,
    };

    use super::*;

    fn new_pages(count: usize) -> Vec<Frame<()>> {
        (0..count).filter_map(|_| FrameAllocOptions::new().alloc_frame().ok()).collect()
    }

    /// A pool for `most` pages that was given `count`, and where these are, in that order.
    fn filled(most: usize, count: usize) -> (Pool, Vec<Paddr>) {
        let (pool, pages) = (Pool::new(most), new_pages(count));
        let addresses = pages.iter().map(Frame::paddr).collect();
        pool.give(pages.into_iter());
        (pool, addresses)
    }

    fn take(pool: &Pool, count: usize) -> Vec<Paddr> {
        let mut pages: ArrayVec<_, 8> = ArrayVec::new();
        pool.take(count, &mut pages);
        pages.iter().map(Frame::paddr).collect()
    }

    #[ktest]
    fn the_last_that_was_given_is_taken_first() {
        let (pool, addresses) = filled(8, 3);
        assert_eq!(take(&pool, 1), addresses[2..]);
        assert_eq!(take(&pool, 8), addresses[..2]);
        assert!(take(&pool, 1).is_empty());
    }

    #[ktest]
    fn of_too_many_the_older_half_is_for_all_and_the_oldest_first() {
        let (pool, addresses) = filled(4, 4);
        assert_eq!(pool.far.lock().len(), 2);
        assert_eq!(take(&pool, 2), addresses[2..]);
        assert_eq!(take(&pool, 1), addresses[..1]);
        assert_eq!(take(&pool, 1), addresses[1..2]);
    }

    #[ktest]
    fn what_is_beyond_is_freed() {
        let pool = Pool::new(4);
        for _ in 0..10 {
            pool.give(new_pages(4).into_iter());
        }
        assert!(pool.pages() <= 8);
        assert!(pool.release());
        assert_eq!(pool.pages(), 0);
        assert!(!pool.release());
    }
}
