// SPDX-License-Identifier: MPL-2.0

//! A small kernel around the crate: descriptions of counters and epolls, a buffer for events, a parker.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[cfg(not(any(loom, shuttle)))]
use std::sync::{Condvar, Mutex};
use std::{cell::Cell, sync::Arc};

#[cfg(loom)]
use loom::sync::{Condvar, Mutex};
use readiness::{
    IoEvents, Parked, Parker, Pollable, Pollee, Readiness, Timeout, Tracked, Unpark, Waiter,
    epoll::{Epoll, EpollEvent, EpollWaitError, Fault, Sink, Target, Topology, WatchQuota},
};
#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex};

/// Whether an epoll may keep the pollee of the next counter, and know its answer without asking. Some binaries run the tests of another
/// one with counters that all have to be asked, or every other one.
fn is_next_known() -> bool {
    thread_local!(static COUNTERS: Cell<u32> = const { Cell::new(0) });
    match env!("CARGO_CRATE_NAME").rsplit('_').next() {
        Some("asked") => false,
        Some("mixed") => COUNTERS.replace(COUNTERS.get() + 1).is_multiple_of(2),
        _ => true,
    }
}

/// Readable when not zero, writable below its capacity.
pub struct Counter {
    pub value: u64,
    pub capacity: u64,
}

impl Readiness for Counter {
    const IS_WHOLE: bool = true;

    fn readiness(&self, _side: usize) -> IoEvents {
        let mut events = IoEvents::empty();
        events.set(IoEvents::IN, self.value > 0);
        events.set(IoEvents::OUT, self.value < self.capacity);
        events
    }
}

/// A file description.
#[allow(clippy::large_enum_variant, reason = "always behind an Arc")]
pub enum File {
    Counter { counter: Tracked<Counter, 1, Arc<Pollee>>, is_known: bool },
    Epoll(Epoll<File>),
}

impl File {
    /// A counter that is never writable, so that only `IN` matters.
    pub fn counter() -> Arc<File> {
        Self::counter_up_to(0)
    }

    pub fn counter_up_to(capacity: u64) -> Arc<File> {
        let counter = Tracked::new(Counter { value: 0, capacity });
        Arc::new(File::Counter { counter, is_known: is_next_known() })
    }

    pub fn epoll(topology: &'static Topology) -> Arc<File> {
        Arc::new(File::Epoll(new_epoll(topology)))
    }

    fn tracked(&self) -> &Tracked<Counter, 1, Arc<Pollee>> {
        let File::Counter { counter, .. } = self else { panic!("not a counter") };
        counter
    }

    pub fn as_ep(&self) -> &Epoll<File> {
        let File::Epoll(epoll) = self else { panic!("not an epoll") };
        epoll
    }

    /// Adds one: an edge, readable before or not.
    pub fn post(&self) {
        self.tracked().update(|counter| {
            counter.value += 1;
            counter.notify(0, IoEvents::IN);
        });
    }

    /// Adds several in one event.
    pub fn post_many(&self, count: u64) {
        self.tracked().update(|counter| {
            counter.value += count;
            counter.notify(0, IoEvents::IN);
        });
    }

    /// Takes one, if there is one.
    pub fn take(&self) -> Option<()> {
        self.tracked().update(|counter| {
            if counter.value == 0 {
                return None;
            }
            counter.value -= 1;
            counter.notify(0, IoEvents::OUT);
            Some(())
        })
    }

    /// Takes all there are.
    pub fn drain(&self) -> u64 {
        self.tracked().update(|counter| {
            let value = counter.value;
            if value > 0 {
                counter.value = 0;
                counter.notify(0, IoEvents::OUT);
            }
            value
        })
    }
}

impl Pollable for File {
    fn pollee(&self) -> &Pollee {
        match self {
            File::Counter { counter, .. } => counter.pollee(0),
            File::Epoll(epoll) => epoll.pollee(),
        }
    }

    fn readiness(&self) -> IoEvents {
        match self {
            File::Counter { counter, .. } => counter.readiness(0),
            File::Epoll(epoll) => epoll.readiness(),
        }
    }

    fn poll(&self) -> IoEvents {
        match self {
            File::Counter { counter, .. } => counter.poll(0),
            File::Epoll(epoll) => epoll.poll(),
        }
    }

    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        match self {
            File::Counter { counter, is_known } => is_known.then(|| counter.side(0)),
            File::Epoll(_) => None,
        }
    }
}

impl Target for File {
    fn as_epoll(&self) -> Option<&Epoll<File>> {
        match self {
            File::Counter { .. } => None,
            File::Epoll(epoll) => Some(epoll),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.pollee().close(self.id());
    }
}

pub fn new_topology() -> &'static Topology {
    Box::leak(Box::new(Topology::new()))
}

pub fn new_epoll(topology: &'static Topology) -> Epoll<File> {
    Epoll::new(topology, Arc::new(WatchQuota::new(1000)))
}

pub fn level(data: u64) -> EpollEvent {
    EpollEvent { events: IoEvents::IN.bits(), data }
}

pub fn with_flags(flags: u32, data: u64) -> EpollEvent {
    EpollEvent { events: IoEvents::IN.bits() | flags, data }
}

/// User memory with room for so many events before it faults.
#[derive(Default)]
pub struct Buffer {
    pub events: Vec<EpollEvent>,
    pub faults_after: Option<usize>,
    /// Whether it has to sleep before it can be written.
    pub is_slow: bool,
}

impl Buffer {
    pub fn faulting_after(count: usize) -> Self {
        Self { faults_after: Some(count), ..Self::default() }
    }

    pub fn slow() -> Self {
        Self { is_slow: true, ..Self::default() }
    }

    pub fn data(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.data).collect()
    }
}

impl Sink for Buffer {
    fn put(&mut self, events: &[EpollEvent]) -> usize {
        let room = self.faults_after.map_or(usize::MAX, |limit| limit - self.events.len());
        let copied = room.min(events.len());
        self.events.extend_from_slice(&events[..copied]);
        copied
    }

    fn put_now(&mut self, events: &[EpollEvent]) -> bool {
        let room = self.faults_after.map_or(usize::MAX, |limit| limit - self.events.len());
        let fits = events.len() <= room && !self.is_slow;
        if fits {
            self.events.extend_from_slice(events);
        }
        fits
    }
}

/// The data of up to `max` events, without waiting.
pub fn harvest(epoll: &Epoll<File>, max: usize) -> Vec<u64> {
    let mut buffer = Buffer::default();
    let count = epoll.harvest(max, &mut buffer).expect("the buffer does not fault");
    assert_eq!(count, buffer.events.len());
    buffer.data()
}

/// `epoll_wait(2)`: harvests, and sleeps if there was nothing.
pub fn wait<P: Parker>(
    epoll: &Epoll<File>,
    waiter: &mut Waiter<P>,
    max: usize,
    timeout: Timeout<P::Deadline>,
    sink: &mut impl Sink,
) -> Result<usize, EpollWaitError> {
    match epoll.harvest(max, sink) {
        Ok(0) => epoll.wait(waiter, max, timeout.deadline().map_err(EpollWaitError::Wait)?, sink),
        harvested => harvested.map_err(|Fault| EpollWaitError::Fault),
    }
}

/// Sleeps on a condition variable. What ends a `park` besides `unpark` is injected with [`Bell::interrupt`].
pub struct TestParker {
    bell: Arc<Bell>,
}

struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Default)]
struct BellState {
    unparked: bool,
    times_unparked: u32,
    ending: Option<Parked>,
}

impl TestParker {
    pub fn new() -> Self {
        let bell = Bell { state: Mutex::new(BellState::default()), changed: Condvar::new() };
        Self { bell: Arc::new(bell) }
    }

    /// What others use to end this parker's sleep by timeout or signal.
    pub fn bell(&self) -> BellHandle {
        BellHandle(self.bell.clone())
    }
}

#[derive(Clone)]
pub struct BellHandle(Arc<Bell>);

impl BellHandle {
    /// How often an event woke the thread.
    pub fn times_unparked(&self) -> u32 {
        self.0.state.lock().unwrap().times_unparked
    }

    /// Ends the present or next `park` with `ending`.
    pub fn end(&self, ending: Parked) {
        self.0.state.lock().unwrap().ending = Some(ending);
        self.0.changed.notify_one();
    }
}

impl Unpark for BellHandle {
    fn unpark(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.unparked = true;
        state.times_unparked += 1;
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Parker for TestParker {
    type Deadline = ();
    type Unparker = BellHandle;

    fn unparker(&self) -> BellHandle {
        self.bell()
    }

    fn park(&mut self, _deadline: Option<()>) -> Parked {
        let mut state = self.bell.state.lock().unwrap();
        loop {
            // The worst case first: time is up although somebody called `unpark`.
            if let Some(ending) = state.ending.take() {
                return ending;
            }
            if std::mem::take(&mut state.unparked) {
                return Parked::Woken;
            }
            state = self.bell.changed.wait(state).unwrap();
        }
    }
}
