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

use arrayvec::ArrayVec;

use super::{
    EpollEvent, ModifyError, Target,
    entry::{Entry, Item, Next, Report, State},
    flags,
};
use crate::{
    slab::{Chunk, List, Slab, Vacancy},
    sync::Arc,
};

/// How many items are allocated at once.
pub(super) const ITEMS: usize = 16;

/// Items and the two lists that link them.
pub(super) struct ReadyList<T: Target + ?Sized> {
    items: Slab<Item<T>, 0, ITEMS>,
    /// Entries to report, in order.
    ready: List,
    /// Entries that the present harvest found here when it began, and has not reached.
    scanning: List,
    pending: u32,
}

/// An entry in the hands of a harvest.
pub(super) struct Taken<T: Target + ?Sized> {
    pub(super) entry: Arc<Entry<T>>,
    /// What it was registered for when it was taken.
    pub(super) event: EpollEvent,
    pub(super) report: Report,
}

impl<T: Target + ?Sized> Item<T> {
    /// Begins a report of the entry.
    fn take(&mut self) -> Option<Taken<T>> {
        self.state = State::Reporting { again: false, rearmed: false };
        let event = EpollEvent { events: self.events, data: self.data };
        self.entry.clone().map(|entry| Taken { entry, event, report: Report::NotReady })
    }
}

impl<T: Target + ?Sized> ReadyList<T> {
    pub(super) fn new() -> Self {
        Self { items: Slab::new(), ready: List::new(), scanning: List::new(), pending: 0 }
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
    pub(super) fn grow(&mut self, chunk: Chunk<Item<T>, ITEMS>) -> Option<Chunk<Item<T>, ITEMS>> {
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

    /// Replaces what `entry` is registered for. Returns what it was.
    pub(super) fn modify(&mut self, entry: &Entry<T>, event: EpollEvent) -> Result<EpollEvent, ModifyError> {
        let item = self.item_of(entry).ok_or(ModifyError::NoEntry)?;
        if item.events & flags::EXCLUSIVE != 0 {
            return Err(ModifyError::Exclusive);
        }
        let old = EpollEvent { events: item.events, data: item.data };
        (item.events, item.data) = (event.events, event.data);
        item.state = item.state.on_modify();
        Ok(old)
    }

    /// What `entry` is registered for.
    pub(super) fn event_of(&mut self, entry: &Entry<T>) -> Option<EpollEvent> {
        self.item_of(entry).map(|item| EpollEvent { events: item.events, data: item.data })
    }

    /// Begins a scan of everything that is ready now.
    pub(super) fn begin_scan(&mut self) {
        self.scanning.append(&mut self.items, &mut self.ready);
    }

    /// Takes the next entries of the scan into `batch`, until it holds `room`.
    pub(super) fn take_scanned<const N: usize>(&mut self, batch: &mut ArrayVec<Taken<T>, N>, room: usize) {
        while batch.len() < room.min(N) {
            let Some(item) = self.scanning.pop_front(&mut self.items) else { return };
            if let Some(taken) = item.take() {
                batch.push(taken);
            }
        }
    }

    /// Takes the only queued entry, if there is exactly one. There must be no scan.
    pub(super) fn take_only(&mut self) -> Option<Taken<T>> {
        if self.ready.head() != self.ready.tail() {
            return None;
        }
        self.ready.pop_front(&mut self.items)?.take()
    }

    /// Ends the report of one entry.
    pub(super) fn put(&mut self, taken: &Taken<T>) {
        let index = taken.entry.index;
        let Some(item) = self.item_of(&taken.entry) else { return };
        let Some(next) = item.state.on_reported(taken.event.events, taken.report) else { return };
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
