// SPDX-License-Identifier: MPL-2.0

//! The mappings of an address space, sorted.
//!
//! # Invariants
//! 1. Mappings do not overlap, are not empty, and neighbours that could be one are one where they met by insertion.
//! 2. No gap above `search_from` and below `mmap_base` is longer than `hole_above`. So a search for room seldom begins at
//!    the top, and the usual one takes constant time.

use core::ops::Range;

use super::{
    layout::{MIN_ADDRESS, MMAP_BASE, STACK_GUARD_GAP},
    mapping::Mapping,
};
use crate::prelude::*;

/// A sorted set of mappings.
#[derive(Clone)]
pub struct Mappings {
    by_start: BTreeMap<Vaddr, Mapping>,
    /// Sum of their lengths, in pages.
    total_pages: usize,
    search_from: Vaddr,
    hole_above: usize,
}

impl Mappings {
    /// No mappings.
    pub fn new() -> Self {
        Self { by_start: BTreeMap::new(), total_pages: 0, search_from: MMAP_BASE, hole_above: 0 }
    }

    /// Number of mappings.
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Sum of their lengths, in pages.
    pub fn total_pages(&self) -> usize {
        self.total_pages
    }

    /// All of them, in the order of addresses.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Mapping> {
        self.by_start.values()
    }

    /// The mapping that holds `address`.
    pub fn find(&self, address: Vaddr) -> Option<&Mapping> {
        let (_, mapping) = self.by_start.range(..=address).next_back()?;
        (address < mapping.end).then_some(mapping)
    }

    /// The first mapping that begins above `address`.
    pub fn next_above(&self, address: Vaddr) -> Option<&Mapping> {
        let (_, mapping) = self.by_start.range(address.checked_add(1)?..).next()?;
        Some(mapping)
    }

    /// The last mapping that ends at or below `address`.
    fn last_below(&self, address: Vaddr) -> Option<&Mapping> {
        let (_, mapping) = self.by_start.range(..address).next_back()?;
        (mapping.end <= address).then_some(mapping)
    }

    /// Those that have addresses in `range`, in order.
    pub fn overlapping(&self, range: Range<Vaddr>) -> impl Iterator<Item = &Mapping> {
        let first = self.find(range.start).map_or(range.start, |mapping| mapping.start);
        self.by_start.range(first..range.end.max(first)).map(|(_, mapping)| mapping)
    }

    /// Whether any has addresses in `range`.
    pub fn is_occupied(&self, range: Range<Vaddr>) -> bool {
        self.overlapping(range).next().is_some()
    }

    /// Whether every address of `range` is in a mapping.
    pub fn covers(&self, range: Range<Vaddr>) -> bool {
        let mut covered = range.start;
        for mapping in self.overlapping(range.clone()) {
            if mapping.start > covered {
                return false;
            }
            covered = mapping.end;
        }
        covered >= range.end
    }

    /// Pages of `range` that are in mappings.
    pub fn pages_in(&self, range: Range<Vaddr>) -> usize {
        let lengths = self.overlapping(range.clone());
        let bytes = lengths.map(|m| m.end.min(range.end) - m.start.max(range.start));
        bytes.sum::<usize>() / PAGE_SIZE
    }

    /// How many more mappings there are when `range` is cut out.
    pub fn splits_of(&self, range: &Range<Vaddr>) -> usize {
        let is_inside = |address| self.find(address).is_some_and(|m| m.start < address);
        usize::from(is_inside(range.start)) + usize::from(is_inside(range.end))
    }

    /// Adds a mapping where there is none and merges it with its neighbours.
    pub fn insert(&mut self, mut mapping: Mapping) {
        self.total_pages += mapping.pages();
        self.lower_search(mapping.range());
        if let Some(next) = self.by_start.get(&mapping.end)
            && mapping.can_merge(next)
        {
            let end = mapping.end;
            mapping.merge(next);
            self.by_start.remove(&end);
        }
        if let Some((_, previous)) = self.by_start.range_mut(..mapping.start).next_back()
            && previous.can_merge(&mapping)
        {
            previous.merge(&mapping);
            return;
        }
        self.by_start.insert(mapping.start, mapping);
    }

    /// Takes out all that lies in `range`, splitting what lies in it partly.
    pub fn take(&mut self, range: Range<Vaddr>) -> Vec<Mapping> {
        self.split_at(range.start);
        self.split_at(range.end);
        let mut taken = Vec::new();
        while let Some((start, _)) = self.by_start.range(range.clone()).next() {
            let start = *start;
            taken.extend(self.by_start.remove(&start));
        }
        self.total_pages -= taken.iter().map(Mapping::pages).sum::<usize>();
        if !taken.is_empty() {
            self.raise_search(range);
        }
        taken
    }

    /// Changes all that lies in `range`, which is mapped or not, splitting and merging as needed.
    pub fn update(&mut self, range: Range<Vaddr>, mut change: impl FnMut(&mut Mapping)) {
        for mut mapping in self.take(range) {
            change(&mut mapping);
            self.insert(mapping);
        }
    }

    /// Keeps only those that `keep` wants. Their pages are the caller's business.
    pub fn retain(&mut self, keep: impl Fn(&Mapping) -> bool) {
        let unwanted: Vec<_> = self.iter().filter(|m| !keep(m)).map(Mapping::range).collect();
        for range in unwanted {
            self.take(range);
        }
    }

    /// Changes each in place; not its range.
    pub fn for_each_mut(&mut self, change: impl FnMut(&mut Mapping)) {
        self.by_start.values_mut().for_each(change);
    }

    /// Lets the stack that begins at `start` begin at `new_start` instead, below.
    pub fn extend_down(&mut self, start: Vaddr, new_start: Vaddr) {
        if let Some(mut mapping) = self.by_start.remove(&start) {
            self.total_pages += (start - new_start) / PAGE_SIZE;
            mapping.start = new_start;
            self.by_start.insert(new_start, mapping);
        }
    }

    fn split_at(&mut self, address: Vaddr) {
        if let Some((_, lower)) = self.by_start.range_mut(..address).next_back()
            && address < lower.end
        {
            let upper = lower.split_off(address);
            self.by_start.insert(address, upper);
        }
    }

    /// The highest free range of `len` bytes below the place where `mmap(2)` begins to look, or `None`.
    pub fn find_room(&mut self, len: usize) -> Option<Vaddr> {
        if len <= self.hole_above {
            (self.search_from, self.hole_above) = (MMAP_BASE, 0);
        }
        let mut top = self.search_from;
        let mut largest = self.hole_above;
        for mapping in self.by_start.range(..top).rev().map(|(_, mapping)| mapping) {
            if top.saturating_sub(mapping.end) >= len {
                break;
            }
            largest = largest.max(top.saturating_sub(mapping.end));
            top = top.min(guarded_start(mapping));
        }
        let start = top.checked_sub(len).filter(|start| *start >= MIN_ADDRESS)?;
        (self.search_from, self.hole_above) = (top, largest);
        Some(start)
    }

    /// Whether `range` is free, a stack's guard gap above it included.
    pub fn is_room(&self, range: &Range<Vaddr>) -> bool {
        !self.is_occupied(range.clone())
            && self.next_above(range.start).is_none_or(|next| guarded_start(next) >= range.end)
    }

    /// Keeps invariant 2 over an insertion at the place of the last search.
    fn lower_search(&mut self, range: Range<Vaddr>) {
        if range.end == self.search_from {
            self.search_from = range.start;
        }
    }

    /// Keeps invariant 2 over a removal: looks at the gap that `range` is now part of.
    fn raise_search(&mut self, range: Range<Vaddr>) {
        let start = self.last_below(range.start).map_or(0, |mapping| mapping.end);
        let next = self.by_start.range(range.start..).next();
        let end = next.map_or(MMAP_BASE, |(_, mapping)| guarded_start(mapping)).min(MMAP_BASE);
        if start > self.search_from {
            self.hole_above = self.hole_above.max(end.saturating_sub(start));
        } else if end > self.search_from {
            self.search_from = end;
        }
    }
}

/// Where a mapping begins for others that want to lie below it: a stack keeps a gap.
pub fn guarded_start(mapping: &Mapping) -> Vaddr {
    let gap = if mapping.grows_down() { STACK_GUARD_GAP } else { 0 };
    mapping.start.saturating_sub(gap)
}
