// SPDX-License-Identifier: MPL-2.0

//! State, pollees and the cache.

#![cfg(not(any(loom, shuttle)))]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use readiness::{Claim, IoEvents, Mode, Observer, Pollee, Readiness, Tracked};

/// A buffer of bytes with two ends.
struct Ring {
    len: usize,
    capacity: usize,
    /// How often readiness was computed.
    computed: AtomicU32,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl Ring {
    fn new(capacity: usize) -> Self {
        Self { len: 0, capacity, computed: AtomicU32::new(0) }
    }
}

impl Readiness for Ring {
    fn readiness(&self, side: usize) -> IoEvents {
        self.computed.fetch_add(1, Ordering::Relaxed);
        match side {
            READER if self.len > 0 => IoEvents::READABLE,
            WRITER if self.len < self.capacity => IoEvents::WRITABLE,
            _ => IoEvents::empty(),
        }
    }
}

#[derive(Default)]
struct Heard(AtomicU32);

impl Observer for Heard {
    fn on_ready(&self, events: IoEvents) -> Claim {
        self.0.fetch_or(events.bits(), Ordering::Relaxed);
        Claim::NotTaken
    }
}

impl Heard {
    fn take(&self) -> IoEvents {
        IoEvents::from_bits_retain(self.0.swap(0, Ordering::Relaxed))
    }
}

fn observe(pollee: &Pollee) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let _ = pollee.register(heard.clone(), IoEvents::all(), Mode::Shared);
    heard
}

#[test]
fn an_update_reaches_the_side_it_names_and_makes_both_old() {
    let ring = Tracked::<Ring, 2>::new(Ring::new(1));
    let (reader, writer) = (observe(ring.pollee(READER)), observe(ring.pollee(WRITER)));
    assert!(ring.poll(READER).is_empty());
    assert_eq!(ring.poll(WRITER), IoEvents::WRITABLE);
    ring.update(|ring| {
        ring.len = 1;
        ring.notify(READER, IoEvents::READABLE);
    });
    assert_eq!((reader.take(), writer.take()), (IoEvents::READABLE, IoEvents::empty()));
    assert_eq!(ring.poll(READER), IoEvents::READABLE);
    assert!(ring.poll(WRITER).is_empty());
}

#[test]
fn an_update_that_says_nothing_notifies_everything() {
    let ring = Tracked::<Ring, 2>::new(Ring::new(1));
    let (reader, writer) = (observe(ring.pollee(READER)), observe(ring.pollee(WRITER)));
    ring.update(|ring| ring.len = 1);
    assert_eq!((reader.take(), writer.take()), (IoEvents::all(), IoEvents::all()));
}

#[test]
fn an_update_that_only_looks_keeps_the_cache() {
    let ring = Tracked::<Ring, 2>::new(Ring::new(1));
    let reader = observe(ring.pollee(READER));
    let version_kept = |ring: &Tracked<Ring, 2>| ring.pollee(READER).look_up(|| IoEvents::PRI);
    // Debug builds recompute a hit, and would notice that this closure lies: so make it a miss, or the truth.
    assert!(ring.poll(READER).is_empty());
    ring.update(|ring| assert_eq!(ring.len, 0));
    assert!(reader.take().is_empty());
    if !cfg!(debug_assertions) {
        assert!(version_kept(&ring).is_empty());
    }
}

#[test]
fn notifying_nothing_is_a_change_that_wakes_nobody() {
    let ring = Tracked::<Ring, 2>::new(Ring { len: 2, ..Ring::new(2) });
    let (reader, writer) = (observe(ring.pollee(READER)), observe(ring.pollee(WRITER)));
    assert_eq!(ring.poll(READER), IoEvents::READABLE);
    ring.update(|ring| {
        ring.capacity = 1;
        ring.notify_nothing();
    });
    assert_eq!((reader.take(), writer.take()), (IoEvents::empty(), IoEvents::empty()));
    assert_eq!(ring.poll(READER), IoEvents::READABLE);
}

#[test]
fn observers_are_called_without_the_lock() {
    struct Peeks(Arc<Tracked<Ring, 2>>, AtomicU32);
    impl Observer for Peeks {
        fn on_ready(&self, _events: IoEvents) -> Claim {
            self.1.store(self.0.read(|ring| ring.len as u32), Ordering::Relaxed);
            Claim::NotTaken
        }
    }
    let ring = Arc::new(Tracked::<Ring, 2>::new(Ring::new(8)));
    let peeks = Arc::new(Peeks(ring.clone(), AtomicU32::new(0)));
    let registration = ring.pollee(READER).register(peeks.clone(), IoEvents::IN, Mode::Shared);
    ring.update(|ring| {
        ring.len = 5;
        ring.notify(READER, IoEvents::READABLE);
    });
    assert_eq!(peeks.1.load(Ordering::Relaxed), 5);
    ring.pollee(READER).deregister(registration);
}

#[test]
fn a_pending_notification_is_made_when_dropped() {
    let ring = Tracked::<Ring, 2>::new(Ring::new(8));
    let reader = observe(ring.pollee(READER));
    let ((), pending) = ring.update_then(|ring| {
        ring.len = 1;
        ring.notify(READER, IoEvents::READABLE);
    });
    assert!(reader.take().is_empty());
    assert_eq!(ring.poll(READER), IoEvents::READABLE);
    drop(pending);
    assert_eq!(reader.take(), IoEvents::READABLE);
}

#[test]
fn pollees_may_outlive_the_state() {
    let ends = [Arc::new(Pollee::new()), Arc::new(Pollee::new())];
    assert_eq!(ends[0].look_up(|| IoEvents::OUT | IoEvents::HUP), IoEvents::OUT | IoEvents::HUP);
    let pair = Tracked::<Ring, 2, Arc<Pollee>>::with_pollees(Ring::new(1), ends.clone());
    assert!(pair.poll(READER).is_empty());
    drop(pair);
    ends[0].invalidate();
    assert_eq!(ends[0].look_up(|| IoEvents::HUP), IoEvents::HUP);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "did not notify")]
fn a_wrong_claim_is_caught() {
    let ring = Tracked::<Ring, 2>::new(Ring::new(1));
    ring.update(|ring| {
        ring.len = 1;
        ring.notify_nothing();
    });
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "without telling its pollee")]
fn a_change_behind_the_pollee_is_caught() {
    let (pollee, value) = (Pollee::new(), AtomicU32::new(0));
    let compute = || if value.load(Ordering::Relaxed) > 0 { IoEvents::IN } else { IoEvents::empty() };
    assert!(pollee.look_up(compute).is_empty());
    value.store(1, Ordering::Relaxed);
    pollee.look_up(compute);
}
