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
}

impl ThreadParker {
    /// The parker of `thread`, which must be the current one. Call once per thread: it sets [`Thread::waker`].
    pub fn new(thread: Arc<Thread>) -> Self {
        let (waiter, waker) = Waiter::new_pair();
        *thread.waker.lock() = Some(waker);
        Self { thread, waiter, timer: None }
    }

    /// Sleeps. With `is_interruptible`, a deliverable signal or a request to exit ends the sleep, and prevents it.
    ///
    /// A deadline beats a signal. Only [`Parked::TimedOut`] and [`Parked::Interrupted`] are certain.
    pub fn park_until(&mut self, deadline: Option<Deadline>, is_interruptible: bool) -> Parked {
        if deadline.is_some_and(Deadline::has_passed) {
            return Parked::TimedOut;
        }
        if is_interruptible && self.thread.is_requested(Work::INTERRUPTS) {
            return Parked::Interrupted;
        }
        crate::trace::block(&self.thread);
        match deadline {
            Some(deadline) => self.sleep_until(deadline),
            None => self.waiter.wait(),
        }
        if deadline.is_some_and(Deadline::has_passed) {
            Parked::TimedOut
        } else if is_interruptible && self.thread.is_requested(Work::INTERRUPTS) {
            Parked::Interrupted
        } else {
            Parked::Woken
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

    fn park(&mut self, deadline: Option<Deadline>) -> Parked {
        self.park_until(deadline, true)
    }
}
