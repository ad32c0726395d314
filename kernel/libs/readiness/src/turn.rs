// SPDX-License-Identifier: MPL-2.0

//! Sleeping locks: one that guards no data of its own, and costs one atomic operation each way while nobody waits for it, and a
//! mutex made of it.
//!
//! # Role
//!
//! The turn of a harvest ([`epoll`](crate::epoll)) is taken and given back by every `epoll_wait(2)` that finds something, and is
//! hardly ever contended. OSTD's mutex looks at its wait queue at each release, which costs as much as all the rest; these know
//! from their word whether they have to.
//!
//! # Protocol
//!
//! The word is [`FREE`], [`TAKEN`] or [`CONTENDED`]: taken, and somebody may be in the queue. Who finds the lock taken looks for it a while, if
//! its holder may run on another CPU ([`Queue::spins`]), and goes into the queue then.
//!
//! # Invariants
//!
//! - **K1** Whoever sleeps has been in the queue *before* it wrote `CONTENDED` over a word that was not `FREE`. So the release that follows
//!   finds `CONTENDED`, and a thread to wake.
//! - **K2** A thread that waited in the queue owns the lock as `CONTENDED`, for it cannot know whether it was the last: its release wakes the next.

use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::sync::{AtomicU32, Ordering, const_unless_modelled};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const CONTENDED: u32 = 2;

/// Where threads wait for a lock: OSTD's `WaitQueue`, or a model of it.
pub trait Queue {
    /// An empty queue.
    fn new() -> Self;

    /// Sleeps until `condition` holds. It is asked at first, and then by a thread that is in the queue, before each sleep.
    fn wait_until(&self, condition: impl FnMut() -> bool);

    /// Wakes one thread of the queue, if there is one.
    fn wake_one(&self);

    /// How often to look for the lock before going to sleep: a holder that runs on another CPU is soon done, and it takes much longer to be
    /// woken (Linux's optimistic spinning). 0 where there is no other CPU.
    fn spins() -> u32;
}

/// The lock.
pub struct TurnLock<Q: Queue> {
    word: AtomicU32,
    queue: Q,
}

/// The lock is held for as long as this lives.
#[must_use]
pub struct TurnGuard<'a, Q: Queue>(&'a TurnLock<Q>);

impl<Q: Queue> TurnLock<Q> {
    /// A lock that nobody holds.
    pub fn new() -> Self {
        Self::with_queue(Q::new())
    }

    const_unless_modelled! {
        /// A lock that nobody holds, with this queue, which is empty.
        pub fn with_queue(queue: Q) -> Self {
            Self { word: AtomicU32::new(FREE), queue }
        }
    }

    /// Takes the lock; sleeps while somebody else has it.
    #[inline]
    pub fn lock(&self) -> TurnGuard<'_, Q> {
        // Acquire pairs with the Release of the release: what was done under the lock is seen.
        if self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.wait();
        }
        TurnGuard(self)
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..Q::spins() {
            // Acquire as in `lock`, which this is a late trial of.
            if self.word.load(Ordering::Relaxed) == FREE
                && self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            core::hint::spin_loop();
        }
        // Acquire as above; Release carries the place in the queue to the thread that finds `CONTENDED` (K1).
        self.queue.wait_until(|| self.word.swap(CONTENDED, Ordering::AcqRel) == FREE);
    }
}

impl<Q: Queue> Default for TurnLock<Q> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Queue> Drop for TurnGuard<'_, Q> {
    #[inline]
    fn drop(&mut self) {
        let Self(lock) = self;
        // Acquire: who is in the queue is seen (K1).
        if lock.word.swap(FREE, Ordering::AcqRel) == CONTENDED {
            lock.queue.wake_one();
        }
    }
}

/// Data that one thread at a time may use: a turn, and a spin lock that only its holder takes. That one makes the data accessible without
/// `unsafe`, and nobody ever waits for it.
pub struct Mutex<T, Q: Queue> {
    turn: TurnLock<Q>,
    data: SpinMutex<T>,
}

/// The data is the holder's for as long as this lives.
#[must_use]
pub struct MutexGuard<'a, T, Q: Queue> {
    // In the order in which they are let go.
    data: SpinMutexGuard<'a, T>,
    _turn: TurnGuard<'a, Q>,
}

impl<T, Q: Queue> Mutex<T, Q> {
    const_unless_modelled! {
        /// A mutex that nobody holds, with this queue, which is empty.
        pub fn with_queue(data: T, queue: Q) -> Self {
            Self { turn: TurnLock::with_queue(queue), data: SpinMutex::new(data) }
        }
    }

    /// Takes the mutex; sleeps while somebody else has it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T, Q> {
        let turn = self.turn.lock();
        MutexGuard { data: self.data.lock(), _turn: turn }
    }

    /// The data of a mutex that nobody else can take.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

impl<T, Q: Queue> Deref for MutexGuard<'_, T, Q> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T, Q: Queue> DerefMut for MutexGuard<'_, T, Q> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
