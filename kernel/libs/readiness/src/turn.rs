// SPDX-License-Identifier: MPL-2.0

//! A sleeping lock that guards no data of its own, and costs one atomic operation each way while nobody waits for it.
//!
//! # Role
//!
//! The turn of a harvest ([`epoll`](crate::epoll)) is taken and given back by every `epoll_wait(2)` that finds something, and is
//! hardly ever contended. OSTD's mutex looks at its wait queue at each release; this one knows from its word whether it has to.
//!
//! # Protocol
//!
//! The word is [`FREE`], [`TAKEN`] or [`CONTENDED`]: taken, and somebody may be in the queue.
//!
//! # Invariants
//!
//! - **K1** Whoever sleeps has been in the queue *before* it wrote `CONTENDED` over a word that was not `FREE`. So the release that follows
//!   finds `CONTENDED`, and a thread to wake.
//! - **K2** A thread that waited owns the lock as `CONTENDED`, for it cannot know whether it was the last: its release wakes the next.

use crate::sync::{AtomicU32, Ordering};

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
        Self { word: AtomicU32::new(FREE), queue: Q::new() }
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
