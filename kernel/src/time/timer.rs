// SPDX-License-Identifier: MPL-2.0

//! Timers: something is called back when a deadline has passed.
//!
//! # Role
//! Sleeping threads, `timerfd`s, and the timers that send signals each own a [`Timer`].
//!
//! # Protocol
//! - Armed timers wait in the queue of the CPU that armed them, one heap per clock. The tick of that CPU calls back
//!   those that are due; looking costs one atomic load when none is.
//! - Ticks are a millisecond apart. A CPU that has nothing to do watches the timers that are due before its next tick instead
//!   of halting ([`poll_while_idle`]), its own ones and those of busy CPUs. So a timer is up to a tick late only while all
//!   CPUs are busy, and never early.
//! - A callback runs in interrupt context or on an idle CPU, under no lock of this module. It says whether and when it
//!   wants to be called again.
//!
//! # Invariants
//! 1. Creating a timer makes room for it in every queue: arming never allocates.
//! 2. `position` and `home` of a timer change only under the lock of the queue named by `home`, or, while `home` is
//!    [`NOWHERE`], by its owner. `&mut` makes arming and cancelling exclusive.
//! 3. A callback that runs while its timer is armed again or cancelled does not re-arm it: `epoch` has changed.
//! 4. When [`Timer::cancel_and_wait`] returns, and when a `Timer` is dropped, no callback runs or will run. So what the
//!    callback owns is never dropped in interrupt context.
//!
//! # Concurrency
//! Queue locks are leaf locks, taken with IRQs disabled. A timer may be armed and cancelled under other spin locks, also those
//! that its callback takes; it must not be dropped under those, for it waits for the callback.

use core::{
    hint::spin_loop,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use ostd::{
    cpu::{CpuId, PinCurrentCpu, num_cpus},
    task::disable_preempt,
};
use spin::Once;

use super::{
    Clock, Deadline, TICK_NANOS,
    clock::{now_monotonic, realtime_to_monotonic},
    heap::Heap,
};
use crate::prelude::*;

/// `home` of a timer that is neither armed nor being called back.
const NOWHERE: usize = usize::MAX;
/// `position` of a timer that is being called back.
const FIRING: usize = usize::MAX;
/// How long an idle CPU watches before it looks whether a task is ready.
const WATCH_NANOS: u64 = 10_000;
/// Ticks may come this late and still count as being in time.
const TICK_JITTER_NANOS: u64 = TICK_NANOS / 16;

/// What a timer calls: a wake-up, a notification, a signal. The answer is when to call again.
type Callback = dyn Fn() -> Option<Deadline> + Send + Sync;

/// A timer, owned by whoever arms it.
pub struct Timer {
    shared: Arc<Shared>,
}

/// The part of a timer that a queue refers to.
pub(super) struct Shared<F: ?Sized = Callback> {
    /// Number of the queue, or [`NOWHERE`].
    home: AtomicUsize,
    /// Index in the heap, or [`FIRING`].
    pub(super) position: AtomicUsize,
    /// Changes whenever the timer is armed or cancelled.
    epoch: AtomicU64,
    callback: F,
}

struct Queue {
    heaps: SpinLock<Heaps, LocalIrqDisabled>,
    /// The earliest deadline in `heaps` on the monotonic clock, or `u64::MAX`. Written under the lock.
    next: AtomicU64,
    /// When the CPU of this queue had its last tick.
    last_tick: AtomicU64,
    /// An idle CPU watches this queue.
    is_watched: AtomicBool,
}

struct Heaps {
    monotonic: Heap,
    realtime: Heap,
}

static QUEUES: Once<Box<[Queue]>> = Once::new();
/// Timers that exist.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the queues. Call once at boot.
pub(super) fn init() {
    QUEUES.call_once(|| (0..num_cpus()).map(|_| Queue::new()).collect());
}

/// Calls back what is due on this CPU.
pub(super) fn on_tick() {
    let Some(queue) = local_queue() else {
        return;
    };
    let now = now_monotonic();
    queue.last_tick.store(now, Relaxed);
    if queue.next.load(Relaxed) <= now {
        queue.fire_due();
    }
}

/// See [`super::poll_while_idle`].
pub(super) fn poll_while_idle() -> bool {
    let Some(own) = local_queue() else {
        return false;
    };
    let horizon = own.last_tick.load(Relaxed).saturating_add(TICK_NANOS + TICK_JITTER_NANOS);
    let others = queues().iter().filter(|queue| !core::ptr::eq(*queue, own));
    core::iter::once(own).chain(others).any(|queue| queue.watch(horizon))
}

/// Looks anew when timers on the wall clock are due.
pub(super) fn wall_clock_changed() {
    for queue in queues() {
        queue.mirror(&queue.heaps.lock());
    }
}

fn queues() -> &'static [Queue] {
    QUEUES.get().map_or(&[], |queues| queues)
}

/// The queue of the CPU on which the caller runs; it may run on another one right after.
fn local_queue() -> Option<&'static Queue> {
    queues().get(current_cpu())
}

fn current_cpu() -> usize {
    use ostd::util::id_set::Id;
    let cpu: CpuId = disable_preempt().current_cpu();
    cpu.as_usize()
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// `callback` runs in interrupt context: it must not sleep, and locks that it takes must be taken with IRQs disabled
    /// everywhere. If it answers a deadline, it is called again then.
    pub fn new(callback: impl Fn() -> Option<Deadline> + Send + Sync + 'static) -> Self {
        // Relaxed: the queues' locks order what matters.
        let count = COUNT.fetch_add(1, Relaxed) + 1;
        for queue in queues() {
            queue.make_room(count);
        }
        let shared = Shared {
            home: AtomicUsize::new(NOWHERE),
            position: AtomicUsize::new(FIRING),
            epoch: AtomicU64::new(0),
            callback,
        };
        Self { shared: Arc::new(shared) }
    }

    /// A timer that ends a thread's sleep.
    pub fn for_waker(waker: Arc<ostd::sync::Waker>) -> Self {
        Self::new(move || {
            waker.wake_up();
            None
        })
    }

    /// Arms the timer; a deadline that it was armed for before is forgotten.
    pub fn arm(&mut self, deadline: Deadline) {
        self.cancel();
        // The thread may move right after: any queue will do, as long as `home` names the one that is locked.
        let home = current_cpu();
        let Some(queue) = queues().get(home) else {
            return;
        };
        let mut heaps = queue.heaps.lock();
        self.shared.home.store(home, Relaxed);
        heaps.of(deadline.clock()).push(deadline.nanos(), self.shared.clone());
        queue.mirror(&heaps);
    }

    /// Takes the deadline back. The callback may still be running when this returns, but does not start any more.
    pub fn cancel(&mut self) {
        // Relaxed: the callback's end is seen under the lock; if it has ended, there is nothing to see.
        while let Some(queue) = queues().get(self.shared.home.load(Relaxed)) {
            if self.cancel_in(queue) {
                return;
            }
        }
    }

    fn cancel_in(&self, queue: &Queue) -> bool {
        let mut heaps = queue.heaps.lock();
        if !queues().get(self.shared.home.load(Relaxed)).is_some_and(|home| core::ptr::eq(home, queue)) {
            return false;
        }
        self.shared.epoch.fetch_add(1, Relaxed);
        self.shared.home.store(NOWHERE, Relaxed);
        let removed = heaps.remove(&self.shared);
        queue.mirror(&heaps);
        drop(heaps);
        drop(removed);
        true
    }

    /// Takes the deadline back and waits until no callback is running. Not for interrupt context.
    pub fn cancel_and_wait(&mut self) {
        self.cancel();
        while !self.is_idle() {
            spin_loop();
        }
    }

    /// Whether it is neither armed nor being called back.
    pub fn is_idle(&self) -> bool {
        let is_idle = Arc::strong_count(&self.shared) == 1;
        // Pairs with the release of the reference by `finish`: what the callback did is seen.
        core::sync::atomic::fence(Acquire);
        is_idle
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel_and_wait();
        COUNT.fetch_sub(1, Relaxed);
    }
}

impl Queue {
    fn new() -> Self {
        Self {
            heaps: SpinLock::new(Heaps { monotonic: Heap::new(), realtime: Heap::new() }),
            next: AtomicU64::new(u64::MAX),
            last_tick: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Brings `next` up to date, under the lock of `heaps`.
    fn mirror(&self, heaps: &Heaps) {
        let monotonic = heaps.monotonic.first();
        let realtime = heaps.realtime.first().map(realtime_to_monotonic);
        let next = monotonic.unwrap_or(u64::MAX).min(realtime.unwrap_or(u64::MAX));
        self.next.store(next, Relaxed);
    }

    /// Makes room for `count` timers in both heaps, allocating outside the lock.
    fn make_room(&self, count: usize) {
        for clock in [Clock::Monotonic, Clock::Realtime] {
            if self.heaps.lock().of(clock).capacity() >= count {
                continue;
            }
            let mut storage = Vec::with_capacity(count.next_power_of_two().max(64));
            self.heaps.lock().of(clock).move_to(&mut storage);
            // The old storage is freed here, outside the lock.
        }
    }

    fn fire_due(&self) {
        while let Some((shared, epoch)) = self.take_due() {
            let again = (shared.callback)();
            self.finish(shared, epoch, again);
        }
    }

    /// Takes one timer that is due, and the epoch that it was armed in.
    fn take_due(&self) -> Option<(Arc<Shared>, u64)> {
        let mut heaps = self.heaps.lock();
        let clock = [Clock::Monotonic, Clock::Realtime]
            .into_iter()
            .find(|clock| heaps.of(*clock).first().is_some_and(|at| at <= clock.now()));
        let taken = clock.and_then(|clock| heaps.of(clock).pop());
        self.mirror(&heaps);
        let shared = taken?;
        shared.position.store(FIRING, Relaxed);
        let epoch = shared.epoch.load(Relaxed);
        Some((shared, epoch))
    }

    /// After a callback: arms the timer again or sends it home.
    fn finish(&self, shared: Arc<Shared>, epoch: u64, again: Option<Deadline>) {
        let mut heaps = self.heaps.lock();
        let mut done = Some(shared);
        if let Some(shared) = done.take_if(|shared| shared.epoch.load(Relaxed) == epoch) {
            match again {
                Some(deadline) => heaps.of(deadline.clock()).push(deadline.nanos(), shared),
                None => {
                    shared.home.store(NOWHERE, Relaxed);
                    done = Some(shared);
                }
            }
        }
        self.mirror(&heaps);
        drop(heaps);
        // Last of all: the owner may wait for this reference to go (invariant 4).
        drop(done);
    }

    /// Watches this queue for a while if something in it is due before `horizon` and nobody else watches.
    fn watch(&self, horizon: u64) -> bool {
        if self.next.load(Relaxed) > horizon || self.is_watched.swap(true, Acquire) {
            return false;
        }
        let until = now_monotonic().saturating_add(WATCH_NANOS);
        let mut now = 0;
        while now < until && now < self.next.load(Relaxed) {
            spin_loop();
            now = now_monotonic();
        }
        if self.next.load(Relaxed) <= now {
            self.fire_due();
        }
        self.is_watched.store(false, Release);
        true
    }
}

impl Heaps {
    fn of(&mut self, clock: Clock) -> &mut Heap {
        match clock {
            Clock::Monotonic => &mut self.monotonic,
            Clock::Realtime => &mut self.realtime,
        }
    }

    /// Removes a timer from the heap that it is in; nothing if it is being called back.
    fn remove(&mut self, shared: &Arc<Shared>) -> Option<Arc<Shared>> {
        self.monotonic.remove(shared).or_else(|| self.realtime.remove(shared))
    }
}

#[cfg(ktest)]
mod tests {
    use core::sync::atomic::AtomicU32;

    use ostd::prelude::*;

    use super::*;

    fn counter() -> (Timer, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let timer = Timer::new(move || {
            counted.fetch_add(1, Relaxed);
            None
        });
        (timer, count)
    }

    #[ktest]
    fn fires_once_and_not_after_cancel() {
        init_for_test();
        let (mut timer, count) = counter();
        timer.arm(Deadline::after_nanos(0));
        local_queue().unwrap().fire_due();
        assert_eq!(count.load(Relaxed), 1);
        timer.arm(Deadline::after_nanos(0));
        timer.cancel();
        local_queue().unwrap().fire_due();
        assert_eq!(count.load(Relaxed), 1);
    }

    #[ktest]
    fn arming_again_replaces_and_does_not_grow() {
        init_for_test();
        let (mut timer, count) = counter();
        for _ in 0..1000 {
            timer.arm(Deadline::after_nanos(u64::MAX));
        }
        timer.arm(Deadline::at(Clock::Realtime, 0));
        local_queue().unwrap().fire_due();
        assert_eq!(count.load(Relaxed), 1);
        let mut heaps = local_queue().unwrap().heaps.lock();
        assert_eq!(heaps.of(Clock::Monotonic).first(), None);
        assert_eq!(heaps.of(Clock::Realtime).first(), None);
    }

    fn init_for_test() {
        super::super::clock::init();
        init();
    }
}
