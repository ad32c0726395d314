// SPDX-License-Identifier: MPL-2.0

//! A binary min-heap of timers in which each timer knows its index, so that any one can be removed in O(log n).
//!
//! # Invariants
//! 1. No entry is later than its children, the entries at `2 i + 1` and `2 i + 2`.
//! 2. `entries[i].timer.position` is `i`.

use core::sync::atomic::Ordering::Relaxed;

use super::timer::Shared;
use crate::prelude::*;

pub(super) struct Heap {
    entries: Vec<Entry>,
}

pub(super) struct Entry {
    at: u64,
    timer: Arc<Shared>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Moves to `storage` if that is larger, and leaves the old storage there.
    pub(super) fn move_to(&mut self, storage: &mut Vec<Entry>) {
        if storage.capacity() > self.entries.capacity() {
            storage.append(&mut self.entries);
            core::mem::swap(storage, &mut self.entries);
        }
    }

    /// The earliest time in the heap.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.at)
    }

    pub(super) fn push(&mut self, at: u64, timer: Arc<Shared>) {
        let index = self.entries.len();
        timer.position.store(index, Relaxed);
        self.entries.push(Entry { at, timer });
        self.sift_up(index);
    }

    /// Removes the earliest entry.
    pub(super) fn pop(&mut self) -> Option<Arc<Shared>> {
        (!self.entries.is_empty()).then(|| self.remove_at(0))
    }

    /// Removes a timer if it is in this heap.
    pub(super) fn remove(&mut self, timer: &Arc<Shared>) -> Option<Arc<Shared>> {
        let index = timer.position.load(Relaxed);
        let entry = self.entries.get(index)?;
        Arc::ptr_eq(&entry.timer, timer).then(|| self.remove_at(index))
    }

    fn remove_at(&mut self, index: usize) -> Arc<Shared> {
        let removed = self.entries.swap_remove(index);
        if index < self.entries.len() {
            self.place(index);
            self.sift_up(index);
            self.sift_down(index);
        }
        removed.timer
    }

    /// Tells the entry at `index` where it is.
    fn place(&self, index: usize) {
        self.entries[index].timer.position.store(index, Relaxed);
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.entries.swap(one, other);
        self.place(one);
        self.place(other);
    }

    fn is_earlier(&self, one: usize, other: usize) -> bool {
        self.entries[one].at < self.entries[other].at
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !self.is_earlier(index, parent) {
                break;
            }
            self.swap(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let children = 2 * index + 1..(2 * index + 3).min(self.entries.len());
            let Some(child) = children.min_by_key(|child| self.entries[*child].at) else {
                break;
            };
            if !self.is_earlier(child, index) {
                break;
            }
            self.swap(index, child);
            index = child;
        }
    }
}
