// SPDX-License-Identifier: MPL-2.0

//! The events of an inotify that nobody read yet.
//!
//! # Invariants
//! 1. Two equal events never follow each other: the second tells nothing new (`inotify(7)`).
//! 2. There are at most [`Queue::max`] events and one more, which says that others were lost; there is one such at most.

use readiness::{IoEvents, Readiness, Update};

use crate::{fs::FileEvents, prelude::*};

/// What happened to an inode, for its watches.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// The event, and whether it is about a directory.
    pub events: FileEvents,
    /// Joins the two halves of a rename; 0 otherwise.
    pub cookie: u32,
    /// For an event in a directory, the name that it is about.
    pub name: Option<&'a [u8]>,
    /// Whether it came by a file that has no name any more, of which watches with `EXCL_UNLINK` do not want to hear.
    pub is_unlinked: bool,
}

/// An event in a queue.
#[derive(Debug, Eq, PartialEq)]
pub struct Event {
    watch: i32,
    events: FileEvents,
    cookie: u32,
    /// Empty for none.
    name: Box<[u8]>,
}

/// Events in the order in which they happened.
pub struct Queue {
    events: VecDeque<Event>,
    max: usize,
    has_overflow: bool,
}

/// `sizeof(struct inotify_event)`; names are padded to a multiple of it, too.
const HEADER: usize = 16;

impl Event {
    pub(super) fn new(watch: i32, news: &News<'_>) -> Self {
        let mut events = news.events;
        if events.intersects(FileEvents::DELETE_SELF | FileEvents::MOVE_SELF) {
            events.remove(FileEvents::ISDIR); // These never had it, and so it stays.
        }
        Self { watch, events, cookie: news.cookie, name: news.name.unwrap_or_default().into() }
    }

    /// The last event of a watch.
    pub(super) fn ignored(watch: i32) -> Self {
        Self { watch, events: FileEvents::IGNORED, cookie: 0, name: Box::default() }
    }

    fn overflow() -> Self {
        Self { watch: -1, events: FileEvents::Q_OVERFLOW, cookie: 0, name: Box::default() }
    }

    fn is_overflow(&self) -> bool {
        self.events.contains(FileEvents::Q_OVERFLOW)
    }

    /// Whether `next` would say the same again. Mirrors `event_compare`.
    fn absorbs(&self, next: &Self) -> bool {
        !self.events.contains(FileEvents::IGNORED)
            && (self.watch, self.events, &self.name) == (next.watch, next.events, &next.name)
    }

    fn padded_name_len(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER) }
    }

    /// Bytes of its record.
    pub(super) fn record_len(&self) -> usize {
        HEADER + self.padded_name_len()
    }

    /// `struct inotify_event`.
    pub(super) fn record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.record_len());
        record.extend_from_slice(&self.watch.to_ne_bytes());
        // A name has at most 255 bytes.
        for word in [self.events.bits(), self.cookie, self.padded_name_len() as u32] {
            record.extend_from_slice(&word.to_ne_bytes());
        }
        record.extend_from_slice(&self.name);
        record.resize(self.record_len(), 0);
        record
    }
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { events: VecDeque::new(), max, has_overflow: false }
    }

    pub(super) fn front(&self) -> Option<&Event> {
        self.events.front()
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.has_overflow &= !event.is_overflow();
        Some(event)
    }

    /// Bytes of all records.
    pub(super) fn record_len(&self) -> usize {
        self.events.iter().map(Event::record_len).sum()
    }

    /// What becomes of an event: itself, what stands for it, or nothing. Mirrors `fsnotify_insert_event`.
    fn admit(&self, event: Event) -> Option<Event> {
        if self.events.len() >= self.max {
            return (!self.has_overflow).then(Event::overflow);
        }
        let is_told = self.events.back().is_some_and(|last| last.absorbs(&event));
        (!is_told).then_some(event)
    }
}

/// Adds an event, unless it says nothing new. If the queue is full, that is said instead.
pub(super) fn push(queue: &mut Update<'_, Queue, 1>, event: Event) {
    if let Some(event) = queue.admit(event) {
        queue.has_overflow |= event.is_overflow();
        queue.events.push_back(event);
        queue.notify(0, IoEvents::READABLE);
    }
}

impl Readiness for Queue {
    fn readiness(&self, _side: usize) -> IoEvents {
        if self.events.is_empty() { IoEvents::empty() } else { IoEvents::READABLE }
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::ktest;
    use readiness::Tracked;

    use super::*;

    fn event(watch: i32, name: &[u8]) -> Event {
        let news = News { events: FileEvents::OPEN, cookie: 0, name: Some(name), is_unlinked: false };
        Event::new(watch, &news)
    }

    #[ktest]
    fn records_are_padded() {
        assert_eq!(Event::ignored(1).record().len(), 16);
        assert_eq!(event(1, &[b'a'; 15]).record().len(), 32);
        assert_eq!(event(1, &[b'a'; 16]).record().len(), 48);
    }

    #[ktest]
    fn equal_events_merge_and_a_full_queue_says_so_once() {
        let queue: Tracked<_> = Tracked::new(Queue::new(2));
        let push = |event| queue.update(|queue| super::push(queue, event));
        push(event(1, b"a"));
        push(event(1, b"a"));
        assert_eq!(queue.read(|queue| queue.events.len()), 1);
        push(event(1, b"b"));
        push(event(1, b"c"));
        push(event(1, b"d"));
        assert_eq!(queue.read(|queue| queue.events.len()), 3);
        assert_eq!(queue.read(|queue| queue.events.back().map(Event::is_overflow)), Some(true));
        while queue.update(|queue| queue.pop()).is_some() {}
        assert!(!queue.read(|queue| queue.has_overflow));
    }
}
