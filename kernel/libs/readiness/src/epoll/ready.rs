// SPDX-License-Identifier: MPL-2.0

//! The ready list of an epoll: which entries may have something to report, first come first served.
//!
//! # Invariants
//!
//! - **L1** An item is linked if and only if it is Queued or Reporting: in `ready`, in `scanning`, or in `reporting` if it is in the
//!   hands of a harvest (but for the only entry of the list, which stays where it is). What is reported and queued again stays in
//!   its chain: reporting a batch of level-triggered entries moves no link but those at the ends, and changes no state.
//! - **L2** `pending` is the number of items that are Queued or Reporting. While an entry is between the list and its next
//!   state it counts: zero means that nothing is ready, even to one who looks without a lock during a harvest.
//! - **L3** Queueing allocates nothing: every entry brings its item.
//!
//! # Concurrency
//!
//! All of it is under the spin lock of [`Core`](super::Core), which publishes `pending` when it unlocks. Only one harvest at
//! a time uses `scanning` and `reporting` (`Core::turn`), so whatever is Reporting is in the hands of that one.

use arrayvec::ArrayVec;

use super::{
    EpollEvent, ModifyError, Sink, Target,
    entry::{Entry, Item, Next, Report, State, mask_of},
    flags,
};
use crate::{
    IoEvents,
    slab::{Chunk, List, NIL, Slab, Vacancy},
    sync::Arc,
};

/// How many items are allocated at once.
pub(super) const ITEMS: usize = 16;

/// How many entries are reported at once, under the lock: the most events that a [`Sink`] is given.
pub const AT_ONCE: usize = 64;

/// How many places of entries are remembered.
const PLACES: usize = 64;

/// Items and the two lists that link them.
pub(super) struct ReadyList<T: Target + ?Sized> {
    items: Slab<Item<T>, 0, ITEMS>,
    /// Entries to report, in order.
    ready: List,
    /// Entries that the present harvest found here when it began, and has not reached.
    scanning: List,
    /// Entries that are in its hands.
    reporting: List,
    pending: u32,
    /// Where the items of descriptors are, by number modulo [`PLACES`], to find them without the interest set. What stands here may be
    /// the place of another entry, or of none any more: the item tells.
    places: [u32; PLACES],
}

/// What [`ReadyList::modify_in_place`] did.
#[must_use]
pub(super) enum InPlace<T: Target + ?Sized> {
    /// The entry is changed, and has nothing to report, as is known.
    NotReady,
    /// The entry is changed; its file has to be asked.
    Ask(Arc<Entry<T>>),
    /// Nothing.
    NotDone,
}

/// An entry in the hands of a harvest.
pub(super) struct Taken<T: Target + ?Sized> {
    index: u32,
    /// `None` if the description was closed: then there is nothing to report.
    pub(super) file: Option<Arc<T>>,
    /// What it was registered for when it was taken.
    pub(super) event: EpollEvent,
    pub(super) report: Report,
}

impl<T: Target + ?Sized> Item<T> {
    /// Begins a report of the entry.
    fn take(&mut self, index: u32) -> Taken<T> {
        self.state = State::when_taken(self.events);
        let event = EpollEvent { events: self.events, data: self.data };
        let file = self.entry.as_ref().and_then(|entry| entry.file.upgrade());
        Taken { index, file, event, report: Report::NotReady }
    }

    /// Replaces what the entry is registered for, and arms it.
    #[inline]
    fn modify(&mut self, EpollEvent { events, data }: EpollEvent) {
        (self.events, self.data) = (events, data);
        if !matches!(self.state, State::Idle) {
            self.state = self.state.on_modify();
        }
    }

    /// Whether it is the item of `entry`, and the entry was not removed.
    #[inline]
    fn is_of(&self, entry: &Entry<T>) -> bool {
        self.entry.as_ref().map_or(core::ptr::null(), Arc::as_ptr) == core::ptr::from_ref(entry)
    }

    /// An event for an entry that is not idle. Returns whether it waits for one.
    fn note_event(&mut self) -> bool {
        let state = self.state.on_event();
        self.state = state.unwrap_or(self.state);
        state.is_some()
    }

    /// What a queued entry has to report, if that is known without asking its file. `None` as well if it is nothing.
    #[inline]
    fn known_event(&self) -> Option<EpollEvent> {
        if !matches!(self.state, State::Queued { .. }) {
            return None;
        }
        let answer = self.entry.as_ref()?.answer.as_ref()?.known()?;
        let ready = answer & mask_of(self.events);
        (!ready.is_empty()).then_some(EpollEvent { events: ready.bits(), data: self.data })
    }
}

impl<T: Target + ?Sized> Taken<T> {
    /// Whether the report leaves the entry as it is: level-triggered, and ready.
    pub(super) fn changes_nothing(&self) -> bool {
        self.report == Report::Copied && flags::is_level(self.event.events)
    }
}

impl<T: Target + ?Sized> ReadyList<T> {
    pub(super) fn new() -> Self {
        Self {
            items: Slab::new(),
            ready: List::new(),
            scanning: List::new(),
            reporting: List::new(),
            pending: 0,
            places: [NIL; PLACES],
        }
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
        self.places[place_of(entry.fd)] = index;
        *self.items.get_mut(index) = Item { entry: Some(entry), data, events, state: State::Idle };
    }

    /// Takes the item of `entry` away. Returns what was kept there, to be dropped without the lock.
    pub(super) fn vacate(&mut self, entry: &Entry<T>) -> Option<Arc<Entry<T>>> {
        let state = self.item_of(entry)?.state;
        if matches!(state, State::Queued { .. } | State::Reporting { .. }) {
            self.unlink(entry.index);
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
        let node = self.items.node_mut(entry.index);
        if !node.value.is_of(entry) {
            return false;
        }
        if !matches!(node.value.state, State::Idle) {
            return node.value.note_event();
        }
        // Nearly always.
        node.value.state = State::Queued { news: true };
        self.ready.prepare_last(node);
        self.ready.set_last(&mut self.items, entry.index);
        self.pending += 1;
        true
    }

    /// Replaces what `entry` is registered for. Returns what it was.
    pub(super) fn modify(&mut self, entry: &Entry<T>, event: EpollEvent) -> Result<EpollEvent, ModifyError> {
        let item = self.item_of(entry).ok_or(ModifyError::NoEntry)?;
        if item.events & flags::EXCLUSIVE != 0 {
            return Err(ModifyError::Exclusive);
        }
        let old = EpollEvent { events: item.events, data: item.data };
        item.modify(event);
        Ok(old)
    }

    /// As [`modify`], for the entry of (`fd`, `description`), if its place is remembered and it is registered for the same event
    /// bits already: then its file need not be told.
    ///
    /// [`modify`]: ReadyList::modify
    #[inline]
    pub(super) fn modify_in_place(&mut self, fd: i32, description: usize, event: EpollEvent) -> InPlace<T> {
        const SAME: u32 = IoEvents::all().bits() | flags::EXCLUSIVE;
        let Some(item) = self.items.find_mut(self.places[place_of(fd)]) else { return InPlace::NotDone };
        let Some(entry) = &item.entry else { return InPlace::NotDone };
        if !entry.is_for(fd, description) || (item.events ^ event.events) & SAME != 0 {
            return InPlace::NotDone;
        }
        let answer = entry.answer.as_ref().and_then(|pollee| pollee.known());
        let is_not_ready = answer.is_some_and(|answer| !answer.intersects(event.mask()));
        let changed = if is_not_ready { InPlace::NotReady } else { InPlace::Ask(entry.clone()) };
        item.modify(event);
        changed
    }

    /// What `entry` is registered for: no event if it is disarmed, as `/proc/self/fdinfo` shows it on Linux.
    pub(super) fn event_of(&mut self, entry: &Entry<T>) -> Option<EpollEvent> {
        let item = self.item_of(entry)?;
        let shown = if item.state == State::Disarmed { flags::KEPT_WHEN_DISARMED } else { u32::MAX };
        Some(EpollEvent { events: item.events & shown, data: item.data })
    }

    /// Reports the only entry at once, if there is just one, it is ready as is known, and the sink takes it without sleeping. Nearly
    /// always it is so.
    #[inline]
    pub(super) fn report_only_known(&mut self, sink: &mut impl Sink) -> bool {
        let index = self.ready.head();
        if self.pending != 1 || index == NIL {
            return false;
        }
        let item = self.items.get_mut(index);
        let Some(event) = item.known_event() else { return false };
        if !sink.put_now(&[event]) {
            return false;
        }
        if let Some(state) = State::when_reported_at_once(item.events) {
            item.state = state;
            self.ready = List::new();
            self.pending -= 1;
        }
        true
    }

    /// Reports up to `max` entries at once: if there are no more than a few, nobody scans the list, all are ready as is known, and the sink
    /// takes them without sleeping. Else does nothing, and returns 0.
    pub(super) fn report_known(&mut self, max: usize, sink: &mut impl Sink) -> usize {
        if !self.scanning.is_empty() || !self.reporting.is_empty() {
            return 0;
        }
        let mut events: ArrayVec<EpollEvent, AT_ONCE> = ArrayVec::new();
        let mut is_level = true;
        let (mut last, mut next) = (NIL, self.ready.head());
        while next != NIL && events.len() < max {
            let node = self.items.node(next);
            let Some(event) = node.value.known_event() else { return 0 };
            if events.try_push(event).is_err() {
                return 0;
            }
            is_level &= flags::is_level(node.value.events);
            (last, next) = (next, List::after(node));
        }
        if events.is_empty() || !sink.put_now(&events) {
            return 0;
        }
        // Of a whole list of level-triggered entries, to report it changes nothing.
        if !(is_level && next == NIL) {
            self.end_known(last);
        }
        events.len()
    }

    /// Ends the reports of the entries up to `last`, as [`State::on_reported`] does for those that a harvest took in its hands.
    fn end_known(&mut self, last: u32) {
        let mut reported = self.ready.split_after(&mut self.items, last);
        let mut next = reported.head();
        while next != NIL {
            let index = next;
            let node = self.items.node_mut(index);
            next = List::after(node);
            if let Some(state) = State::when_reported_at_once(node.value.events) {
                node.value.state = state;
                reported.unlink(&mut self.items, index);
                self.pending -= 1;
            }
        }
        self.ready.append(&mut self.items, &mut reported);
    }

    /// Begins a scan of everything that is ready now.
    pub(super) fn begin_scan(&mut self) {
        self.scanning.append(&mut self.items, &mut self.ready);
    }

    /// Takes the next entries of the scan into `batch`, until it holds `room`. There must be no other batch.
    pub(super) fn take_scanned<const N: usize>(&mut self, batch: &mut ArrayVec<Taken<T>, N>, room: usize) {
        let (mut last, mut next) = (NIL, self.scanning.head());
        while next != NIL && batch.len() < room.min(N) {
            let node = self.items.node_mut(next);
            batch.push(node.value.take(next));
            last = next;
            next = List::after(node);
        }
        if last != NIL {
            self.reporting = self.scanning.split_after(&mut self.items, last);
        }
    }

    /// Takes the only queued entry, if there is exactly one. There must be no scan. It stays where it is, to be [`put_only`]
    /// there.
    ///
    /// [`put_only`]: ReadyList::put_only
    pub(super) fn take_only(&mut self) -> Option<Taken<T>> {
        let index = self.ready.head();
        if index == NIL || index != self.ready.tail() {
            return None;
        }
        Some(self.items.get_mut(index).take(index))
    }

    /// Ends the report of the only entry.
    pub(super) fn put_only(&mut self, taken: &Taken<T>) {
        let index = taken.index;
        let item = self.items.get_mut(index);
        let Some(next) = item.state.on_reported(taken.event.events, taken.report) else { return };
        item.state = State::Queued { news: true };
        match next {
            Next::Front => {}
            Next::Back if index == self.ready.tail() => {}
            Next::Back => {
                self.ready.unlink(&mut self.items, index);
                self.ready.push_back(&mut self.items, index);
            }
            Next::Rest(state) => {
                item.state = state;
                self.pending -= 1;
                self.ready.unlink(&mut self.items, index);
            }
        }
    }

    /// Ends the reports of a batch.
    pub(super) fn put(&mut self, batch: &[Taken<T>]) {
        let mut has_faulted = false;
        for taken in batch.iter().filter(|taken| !taken.changes_nothing()) {
            let item = self.items.get_mut(taken.index);
            // It may have been removed, and another may have its place: that one is not in our hands, and stays as it is.
            let Some(next) = item.state.on_reported(taken.event.events, taken.report) else { continue };
            match next {
                Next::Back => item.state = State::Queued { news: true },
                Next::Rest(state) => {
                    item.state = state;
                    self.pending -= 1;
                    self.reporting.unlink(&mut self.items, taken.index);
                }
                Next::Front => has_faulted = true,
            }
        }
        if has_faulted {
            self.put_to_the_front(batch);
        }
        self.ready.append(&mut self.items, &mut self.reporting);
    }

    /// What was not copied goes back to where it came from.
    fn put_to_the_front(&mut self, batch: &[Taken<T>]) {
        // In reverse, so that they keep their order.
        for taken in batch.iter().rev().filter(|taken| taken.report == Report::Faulted) {
            if self.is_in_hand(taken.index) {
                self.reporting.unlink(&mut self.items, taken.index);
                self.items.get_mut(taken.index).state = State::Queued { news: true };
                self.scanning.push_front(&mut self.items, taken.index);
            }
        }
    }

    /// Whether the item is in `reporting`: else its entry was removed, and another one may have its place.
    fn is_in_hand(&self, index: u32) -> bool {
        let mut next = self.reporting.head();
        while next != NIL && next != index {
            next = List::after(self.items.node(next));
        }
        next == index
    }

    /// Ends the scan: what it has not reached comes before what was queued since.
    pub(super) fn end_scan(&mut self) {
        self.scanning.append(&mut self.items, &mut self.ready);
        core::mem::swap(&mut self.scanning, &mut self.ready);
    }

    /// The item of `entry`, unless the entry was removed.
    fn item_of(&mut self, entry: &Entry<T>) -> Option<&mut Item<T>> {
        let item = self.items.get_mut(entry.index);
        item.is_of(entry).then_some(item)
    }

    fn unlink(&mut self, index: u32) {
        // The ends tell which list it is in; in the middle of a list it does not matter.
        let is_end = |list: &List| list.head() == index || list.tail() == index;
        let list = match () {
            () if is_end(&self.reporting) => &mut self.reporting,
            () if is_end(&self.scanning) => &mut self.scanning,
            () => &mut self.ready,
        };
        list.unlink(&mut self.items, index);
    }
}

/// Where the place of the entry of `fd` is remembered.
fn place_of(fd: i32) -> usize {
    fd.cast_unsigned() as usize % PLACES
}
