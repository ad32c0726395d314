// SPDX-License-Identifier: MPL-2.0

//! How a thread sleeps.
//!
//! # Protocol
//! Each thread has one [`ThreadParker`]. [`ThreadParker::park`] returns when the thread was woken since it last returned, when
//! the deadline has passed (never before), or when the thread has something to do before it may return to user mode. It may
//! also return [`Parked::Woken`] without cause: callers check what they wait for in a loop.
//!
//! The timer is made at the first sleep with a deadline and kept, so that later ones allocate nothing.

use ostd::sync::{Waiter, Waker};
use readiness::{Parked, Parker};

use super::{Deadline, Timer};
use crate::{
    prelude::*,
    process::{Thread, Work},
};

/// The means of sleeping of the current thread.
pub struct ThreadParker {
    thread: Arc<Thread>,
    waiter: Waiter,
    timer: Option<Timer>,
    is_interruptible: bool,
}

impl ThreadParker {
    /// The parker of `thread`, which must be the current one. Call once per thread: it sets [`Thread::waker`].
    pub fn new(thread: Arc<Thread>) -> Self {
        let (waiter, waker) = Waiter::new_pair();
        *thread.waker.lock() = Some(waker);
        Self { thread, waiter, timer: None, is_interruptible: true }
    }

    /// Whether a deliverable signal or a request to exit ends sleeps, and prevents them.
    pub fn set_interruptible(&mut self, is_interruptible: bool) {
        self.is_interruptible = is_interruptible;
    }

    /// Why not to sleep any more. A deadline beats a signal.
    fn ending(&self, deadline: Option<Deadline>) -> Option<Parked> {
        if deadline.is_some_and(Deadline::has_passed) {
            Some(Parked::TimedOut)
        } else if self.is_interruptible && self.thread.is_requested(Work::INTERRUPTS) {
            Some(Parked::Interrupted)
        } else {
            None
        }
    }

    fn sleep_until(&mut self, deadline: Deadline) {
        let waiter = &self.waiter;
        let timer = self.timer.get_or_insert_with(|| Timer::for_waker(waiter.waker()));
        timer.arm(deadline);
        waiter.wait();
        timer.cancel();
    }
}

impl Drop for ThreadParker {
    fn drop(&mut self) {
        // The waker holds the task, and the task holds the thread: it would never be freed.
        let waker = self.thread.waker.lock().take();
        drop(waker);
    }
}

impl Parker for ThreadParker {
    type Deadline = Deadline;
    type Unparker = Arc<Waker>;

    fn unparker(&self) -> Self::Unparker {
        self.waiter.waker()
    }

    /// Only [`Parked::TimedOut`] and [`Parked::Interrupted`] are certain.
    fn park(&mut self, deadline: Option<Deadline>) -> Parked {
        if let Some(ending) = self.ending(deadline) {
            return ending;
        }
        crate::trace::block(&self.thread);
        match deadline {
            Some(deadline) => self.sleep_until(deadline),
            None => self.waiter.wait(),
        }
        self.ending(deadline).unwrap_or(Parked::Woken)
    }
}
