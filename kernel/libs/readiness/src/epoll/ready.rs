// SPDX-License-Identifier: MPL-2.0

//! The ready list of an epoll: which entries may have something to report, first come first served.
//!
//! # Invariants
//!
//! - **L1** An item is linked in `ready` or in `scanning` if and only if its state is Queued.
//! - **L2** `pending` is the number of items that are Queued or Reporting. While an entry is between the list and its next
//!   state it counts: zero means that nothing is ready, even to one who looks without a lock during a harvest.
//! - **L3** Queueing allocates nothing: every entry brings its item.
//!
//! # Concurrency
//!
//! All of it is under the spin lock of [`Core`](super::Core), which publishes `pending` when it unlocks. Only one harvest at
//! a time uses `scanning` (`Core::turn`).

use super::{
    EpollEvent, Target,
    entry::{Entry, Item, Next, Report, State},
    flags,
};
use crate::{
    slab::{Chunk, List, NIL, Slab, Vacancy},
    sync::Arc,
};

/// Items and the two lists that link them.
pub(super) struct ReadyList<T: Target> {
    items: Slab<Item<T>>,
    /// Entries to report, in order.
    ready: List,
    /// Entries that the present harvest found here when it began, and has not reached.
    scanning: List,
    pending: u32,
}

/// An entry in the hands of a harvest.
pub(super) struct Taken<T: Target> {
    pub(super) entry: Arc<Entry<T>>,
    /// What it was registered for when it was taken.
    pub(super) event: EpollEvent,
    pub(super) report: Report,
}

impl<T: Target> ReadyList<T> {
    pub(super) fn new() -> Self {
        Self { items: Slab::new(Item::default()), ready: List::new(), scanning: List::new(), pending: 0 }
    }

    /// How many entries are Queued or Reporting.
    pub(super) fn pending(&self) -> u32 {
        self.pending
    }

    /// Whether a new entry needs more storage.
    pub(super) fn vacancy(&self) -> Vacancy {
        self.items.vacancy()
    }

    /// Adds storage. Hands it back if it is not needed any more.
    pub(super) fn grow(&mut self, chunk: Chunk<Item<T>>) -> Option<Chunk<Item<T>>> {
        self.items.grow(chunk)
    }

    /// Reserves the index of an item. `None` if there is no vacancy.
    pub(super) fn reserve(&mut self) -> Option<u32> {
        self.items.occupy()
    }

    /// Gives the reserved item to a new entry.
    pub(super) fn install(&mut self, entry: Arc<Entry<T>>, EpollEvent { events, data }: EpollEvent) {
        let index = entry.index;
        *self.items.get_mut(index) = Item { entry: Some(entry), data, events, state: State::Idle };
    }

    /// Takes the item of `entry` away. Returns what was kept there, to be dropped without the lock.
    pub(super) fn vacate(&mut self, entry: &Entry<T>) -> Option<Arc<Entry<T>>> {
        let state = self.item_of(entry)?.state;
        if state == State::Queued {
            self.unlink(entry.index);
        }
        if matches!(state, State::Queued | State::Reporting { .. }) {
            self.pending -= 1;
        }
        let item = self.items.get_mut(entry.index);
        item.state = State::Idle;
        let kept = item.entry.take();
        self.items.vacate(entry.index);
        kept
    }

    /// An event for `entry`. Returns whether it waits for one.
    pub(super) fn queue(&mut self, entry: &Entry<T>) -> bool {
        let Some(item) = self.item_of(entry) else { return false };
        let Some((state, must_link)) = item.state.on_event() else { return false };
        item.state = state;
        if must_link {
            self.ready.push_back(&mut self.items, entry.index);
            self.pending += 1;
        }
        true
    }

    /// Replaces what `entry` is registered for. Returns `false` if it is gone.
    pub(super) fn modify(&mut self, entry: &Entry<T>, event: EpollEvent) -> bool {
        let Some(item) = self.item_of(entry) else { return false };
        (item.events, item.data) = (event.events, event.data);
        item.state = item.state.on_modify();
        true
    }

    /// What `entry` is registered for.
    pub(super) fn event_of(&mut self, entry: &Entry<T>) -> Option<EpollEvent> {
        self.item_of(entry).map(|item| EpollEvent { events: item.events, data: item.data })
    }

    /// Begins a scan of everything that is ready now.
    pub(super) fn begin_scan(&mut self) {
        self.scanning.append(&mut self.items, &mut self.ready);
    }

    /// Takes the next entry of the scan.
    pub(super) fn take_scanned(&mut self) -> Option<Taken<T>> {
        let index = self.scanning.head();
        if index == NIL {
            return None;
        }
        self.scanning.unlink(&mut self.items, index);
        let item = self.items.get_mut(index);
        item.state = State::Reporting { again: false, rearmed: false };
        let event = EpollEvent { events: item.events, data: item.data };
        item.entry.clone().map(|entry| Taken { entry, event, report: Report::NotReady })
    }

    /// Ends the report of one entry.
    pub(super) fn put(&mut self, taken: &Taken<T>) {
        let Some(item) = self.item_of(&taken.entry) else { return };
        let Some(next) = item.state.on_reported(taken.event.events, taken.report) else { return };
        let index = taken.entry.index;
        match next {
            Next::Rest(state) => {
                item.state = state;
                if state == State::Disarmed {
                    item.events &= flags::KEPT_WHEN_DISARMED;
                }
                self.pending -= 1;
            }
            Next::Back => {
                item.state = State::Queued;
                self.ready.push_back(&mut self.items, index);
            }
            Next::Front => {
                item.state = State::Queued;
                self.scanning.push_front(&mut self.items, index);
            }
        }
    }

    /// Ends the scan: what it has not reached comes before what was queued since.
    pub(super) fn end_scan(&mut self) {
        self.scanning.append(&mut self.items, &mut self.ready);
        core::mem::swap(&mut self.scanning, &mut self.ready);
    }

    /// The item of `entry`, unless the entry was removed.
    fn item_of(&mut self, entry: &Entry<T>) -> Option<&mut Item<T>> {
        let item = self.items.get_mut(entry.index);
        let is_its_own = item.entry.as_ref().is_some_and(|owner| core::ptr::eq(&raw const **owner, entry));
        is_its_own.then_some(item)
    }

    fn unlink(&mut self, index: u32) {
        // The ends tell which list it is in; in the middle of a list it does not matter.
        let is_end = |list: &List| list.head() == index || list.tail() == index;
        let list = if is_end(&self.scanning) { &mut self.scanning } else { &mut self.ready };
        list.unlink(&mut self.items, index);
    }
}
