// SPDX-License-Identifier: MPL-2.0

//! Free memory in blocks of 2^n pages (Knowlton's buddy system).
//!
//! # Invariants
//! - A free block of order `n` starts at a multiple of its size, and its first page is in the list of that order and nowhere else;
//!   the metadata of its other pages are those of unused pages.
//! - The two halves of a block are never both free as blocks of their own, but for those of the greatest order.
//!
//! # Cost
//! The lists are linked through the frames' metadata and know whether a page is theirs: to take, to give and to merge are a
//! few steps for each order, however much memory there is, and need no memory.

use ostd::mm::{
    HasPaddr, Paddr, UniqueFrame,
    frame::linked_list::{Link, LinkedList},
};

use crate::prelude::*;

/// How many orders there are: the largest blocks have 2 GiB.
const ORDERS: usize = 20;

/// Free memory.
pub(super) struct Buddies {
    /// The blocks of each order, those that came last first.
    free: [LinkedList<()>; ORDERS],
    pages: usize,
}

impl Buddies {
    pub(super) const fn new() -> Self {
        Self { free: [const { LinkedList::new() }; ORDERS], pages: 0 }
    }

    /// How many pages are free.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Takes `count` pages in a row from a multiple of `align` pages on, out of the smallest block that will do.
    pub(super) fn take(&mut self, count: usize, align: usize) -> Option<Paddr> {
        let order = order_for(count.max(align));
        let start = self.take_block(order)?;
        self.give(start + count * PAGE_SIZE, (1 << order) - count);
        Some(start)
    }

    /// Takes single pages until `into` has `count` of them or none are left: those of the smallest blocks, so that large ones
    /// stay whole.
    pub(super) fn take_singles(&mut self, mut count: usize, mut into: impl FnMut(Paddr)) {
        while count > 0
            && let Some(smallest) = self.smallest(0)
        {
            let order = smallest.min(count.ilog2() as usize);
            let Some(start) = self.take_block(order) else {
                return;
            };
            (0..1 << order).for_each(|page| into(start + page * PAGE_SIZE));
            count -= 1 << order;
        }
    }

    /// Gives `count` pages in a row, which nobody uses.
    pub(super) fn give(&mut self, mut start: Paddr, mut count: usize) {
        while count > 0 {
            let aligned = (start / PAGE_SIZE).trailing_zeros().min(count.ilog2()) as usize;
            let order = aligned.min(ORDERS - 1);
            self.give_block(start, order);
            start += PAGE_SIZE << order;
            count -= 1 << order;
        }
    }

    /// The least order from `order` on of which there is a block.
    fn smallest(&self, order: usize) -> Option<usize> {
        (order..ORDERS).find(|order| !self.free[*order].is_empty())
    }

    /// Takes a block of that order, if need be half of one that is larger.
    fn take_block(&mut self, order: usize) -> Option<Paddr> {
        let larger = self.smallest(order)?;
        let head = self.free[larger].pop_front()?;
        let start = head.paddr();
        head.reset_as_unused();
        for half in (order..larger).rev() {
            self.insert(start + (PAGE_SIZE << half), half);
        }
        self.pages -= 1 << order;
        Some(start)
    }

    /// Gives a block, which becomes one with the other half of a larger block if that is free.
    fn give_block(&mut self, mut start: Paddr, mut order: usize) {
        self.pages += 1 << order;
        while order < ORDERS - 1
            && let Some(mut other) = self.free[order].cursor_mut_at(start ^ (PAGE_SIZE << order))
            && let Some(head) = other.take_current()
        {
            start = start.min(head.paddr());
            head.reset_as_unused();
            order += 1;
        }
        self.insert(start, order);
    }

    fn insert(&mut self, start: Paddr, order: usize) {
        let head = UniqueFrame::from_unused(start, Link::new(()));
        debug_assert!(head.is_ok(), "page {start:#x} is free, but in use");
        // A page that is in use stays with its user.
        if let Ok(head) = head {
            self.free[order].push_front(head);
        }
    }
}

/// The order of the smallest blocks that have so many pages.
fn order_for(pages: usize) -> usize {
    pages.next_power_of_two().ilog2() as usize
}

#[cfg(ktest)]
mod tests {
    use ostd::{mm::FrameAllocOptions, prelude::ktest};

    use super::{super::frames, *};

    /// Pages of the size of a block, to be given.
    struct Region {
        start: Paddr,
        pages: usize,
    }

    impl Region {
        fn new(order: usize) -> Self {
            let pages = 1 << order;
            // Twice as many: a block of that size is among them, wherever they start.
            let segment = FrameAllocOptions::new().zeroed(false).alloc_segment(2 * pages).unwrap();
            let size = pages * PAGE_SIZE;
            let start = segment.paddr().next_multiple_of(size);
            for frame in segment {
                let page = frame.paddr();
                if (start..start + size).contains(&page) {
                    UniqueFrame::try_from(frame).unwrap().reset_as_unused();
                }
            }
            Self { start, pages }
        }

        fn page(&self, at: usize) -> Paddr {
            self.start + at * PAGE_SIZE
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            frames::give_back(self.start, self.pages * PAGE_SIZE);
        }
    }

    fn blocks(buddies: &Buddies) -> Vec<usize> {
        let last = buddies.free.iter().rposition(|list| !list.is_empty()).map_or(0, |last| last + 1);
        buddies.free[..last].iter().map(LinkedList::size).collect()
    }

    #[ktest]
    fn a_block_is_split_and_becomes_whole_again() {
        let region = Region::new(4);
        let mut buddies = Buddies::new();
        buddies.give(region.start, 16);
        assert_eq!(blocks(&buddies), [0, 0, 0, 0, 1]);
        assert_eq!(buddies.take(1, 1), Some(region.page(0)));
        assert_eq!(blocks(&buddies), [1, 1, 1, 1]);
        // What is too much of a block is given back.
        assert_eq!(buddies.take(5, 1), Some(region.page(8)));
        assert_eq!(blocks(&buddies), [2, 2, 1]);
        assert_eq!(buddies.take(1, 4), Some(region.page(4)));
        assert_eq!(buddies.take(9, 1), None);
        assert_eq!(buddies.pages(), 9);
        buddies.give(region.page(4), 1);
        buddies.give(region.page(8), 3);
        buddies.give(region.page(0), 1);
        buddies.give(region.page(11), 2);
        assert_eq!(blocks(&buddies), [0, 0, 0, 0, 1]);
        assert_eq!(buddies.take(16, 16), Some(region.start));
        assert_eq!((buddies.pages(), buddies.take(1, 1)), (0, None));
    }

    #[ktest]
    fn any_row_of_pages_is_given_in_blocks_that_are_aligned() {
        let region = Region::new(4);
        let mut buddies = Buddies::new();
        buddies.give(region.page(3), 10);
        assert_eq!(blocks(&buddies), [2, 0, 2]);
        buddies.take_singles(10, |_| ());
        assert_eq!(blocks(&buddies), []);
    }

    #[ktest]
    fn single_pages_come_from_the_smallest_blocks() {
        let region = Region::new(4);
        let mut buddies = Buddies::new();
        buddies.give(region.page(0), 8);
        buddies.give(region.page(9), 1);
        buddies.give(region.page(12), 2);
        let mut taken = Vec::new();
        buddies.take_singles(4, |page| taken.push(page));
        assert_eq!(taken, [9, 12, 13, 0].map(|page| region.page(page)));
        assert_eq!(blocks(&buddies), [1, 1, 1]);
        taken.clear();
        buddies.take_singles(20, |page| taken.push(page));
        assert_eq!((taken.len(), buddies.pages()), (7, 0));
    }

    /// Takes and gives at random, beside a map of who has which page.
    #[ktest]
    fn no_page_is_given_out_twice_or_lost() {
        const PAGES: usize = 64;
        let region = Region::new(6);
        let mut buddies = Buddies::new();
        let mut is_taken = [true; PAGES];
        let mut random = 1_u32;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % limit
        };
        let mark = |map: &mut [bool; PAGES], page: Paddr, taken| {
            let slot = &mut map[(page - region.start) / PAGE_SIZE];
            assert_ne!(*slot, taken);
            *slot = taken;
        };
        for _ in 0..4000 {
            match below(3) {
                0 => {
                    let (count, align) = (1 + below(7), 1 << below(4));
                    if let Some(start) = buddies.take(count, align) {
                        assert!(start.is_multiple_of(align * PAGE_SIZE));
                        (0..count).for_each(|page| mark(&mut is_taken, start + page * PAGE_SIZE, true));
                    }
                }
                1 => buddies.take_singles(below(5), |page| mark(&mut is_taken, page, true)),
                _ => {
                    // As many pages in a row as somebody has, up to eight.
                    let first = below(PAGES);
                    let count = is_taken[first..].iter().take(8).take_while(|taken| **taken).count();
                    buddies.give(region.page(first), count);
                    (first..first + count).for_each(|page| mark(&mut is_taken, region.page(page), false));
                }
            }
            assert_eq!(buddies.pages(), is_taken.iter().filter(|taken| !**taken).count());
        }
        for (page, _) in is_taken.iter().enumerate().filter(|(_, taken)| **taken) {
            buddies.give(region.page(page), 1);
        }
        assert_eq!(buddies.take(PAGES, PAGES), Some(region.start));
    }
}
