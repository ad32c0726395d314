// SPDX-License-Identifier: MPL-2.0

//! Waiting: the one way in which a thread sleeps until a file is ready.
//!
//! # Role
//!
//! [`Waiter::wait_until`] is behind every blocking operation: `read`, `write`, `accept`, `poll`, `select`, `epoll_wait`. Each
//! thread keeps one [`Waiter`] and uses it again and again.
//!
//! # Protocol
//!
//! *Check, register, check, sleep, check again.* `check` tries the operation itself and answers `Some` when the wait is over.
//!
//! ```text
//!  check ── Some ──────────────────────────────────────────────► Ok        nothing was registered
//!    │ None
//!    ├─ no time to wait ───────────────────────────────────────► TimedOut  nothing was registered
//!  arm, register on every subject
//!    ▼
//!  check ── Some ──► disarm ──► deregister ──► pass on a wake? ─► Ok
//!    │ None    ▲
//!    ▼         │ woken: arm again
//!  sleep ──────┤
//!              │ time is up, or a signal is pending: disarm, and check a last time
//! ```
//!
//! # Invariants
//!
//! - **R1** An event beats a timeout, a timeout beats a signal, and the last check always happens, *after* the waiter is
//!   disarmed: an event before that is seen by the check, one after it goes to the next waiter.
//! - **R2** An armed waiter takes one wake. A second event finds it woken, and goes on to the next in the queue: *n* events
//!   wake *n* waiters.
//! - **R3** A waiter that took a wake and leaves with something passes on what is still ready (the wake may have been
//!   for more than it took). One that leaves with nothing has looked *after* the wake, so there is nothing to pass on.
//! - **R4** The second and later waits of a thread on as many subjects allocate nothing.
//!
//! # Concurrency
//!
//! `state` is changed by read-modify-writes only. Of `on_ready`'s `fetch_or` and the waiter's `swap` one comes second: if it is the
//! `swap`, it acquires what the notifier did before (and the check that follows sees it); if it is the `fetch_or`, it finds
//! the waiter armed and wakes it. With a load in place of either, both could miss each other.

use alloc::vec::Vec;

use crate::{
    Claim, IoEvents, Mode, Observer, Pollable, Pollee, Registration,
    sync::{Arc, AtomicU32, Ordering},
};

/// How a thread sleeps. Implemented by the kernel, and by the models.
pub trait Parker {
    /// A point in time.
    type Deadline: Copy;
    /// Wakes the thread of this parker.
    type Unparker: Unpark;

    /// The handle that wakes this thread.
    fn unparker(&self) -> Self::Unparker;

    /// Sleeps until [`Unpark::unpark`] was called since `park` last returned [`Parked::Woken`], the deadline has passed (never
    /// before), or a signal is to be handled.
    fn park(&mut self, deadline: Option<Self::Deadline>) -> Parked;
}

/// The other side of a [`Parker`].
pub trait Unpark: Send + Sync + 'static {
    /// Ends the present `park`, or the next one. Callable in interrupt context.
    fn unpark(&self);
}

#[cfg(feature = "ostd")]
impl Unpark for Arc<ostd::sync::Waker> {
    fn unpark(&self) {
        self.wake_up();
    }
}

/// Why [`Parker::park`] returned. It may also be [`Parked::Woken`] without cause.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// Somebody called `unpark`.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// A signal is to be handled.
    Interrupted,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout<D> {
    /// Not at all: one check.
    Now,
    /// Until this point in time.
    At(D),
    /// Until something happens.
    Never,
}

impl<D> Timeout<D> {
    /// Until when to sleep; `None` for ever.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] if there is no time to sleep.
    pub fn deadline(self) -> Result<Option<D>, WaitError> {
        match self {
            Timeout::Now => Err(WaitError::TimedOut),
            Timeout::At(deadline) => Ok(Some(deadline)),
            Timeout::Never => Ok(None),
        }
    }
}

/// Why a wait ended without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Time is up. What that means (`0`, `EAGAIN`, `ETIMEDOUT`) is the caller's to say.
    TimedOut,
    /// A signal is to be handled (`EINTR`, or a restart).
    Interrupted,
}

/// What a wait is for: the pollees to register on.
pub trait Subjects {
    /// Calls `visit` for every pollee with the events and the mode to register with. The order is the same every time.
    fn for_each(&self, visit: &mut dyn FnMut(&Pollee, IoEvents, Mode));

    /// This wait took a wake, got what it wanted, and may have left more: offer that to the next exclusive waiter.
    fn pass_on(&self);
}

/// One file, waited for in turn with others that do the same: blocking `read`, `write`, `accept`.
pub struct InTurn<'a, F: Pollable + ?Sized>(pub &'a F, pub IoEvents);

impl<F: Pollable + ?Sized> Subjects for InTurn<'_, F> {
    fn for_each(&self, visit: &mut dyn FnMut(&Pollee, IoEvents, Mode)) {
        visit(self.0.pollee(), self.1, Mode::Exclusive);
    }

    fn pass_on(&self) {
        let left = self.0.poll() & (self.1 | IoEvents::ALWAYS);
        if !left.is_empty() {
            let _ = self.0.pollee().pass_on(left);
        }
    }
}

/// Several files, waited for beside everybody else: `poll`, `select`. The closure calls its argument for each file, in the
/// same order every time.
pub struct Together<F>(pub F);

impl<F: Fn(&mut dyn FnMut(&Pollee, IoEvents))> Subjects for Together<F> {
    fn for_each(&self, visit: &mut dyn FnMut(&Pollee, IoEvents, Mode)) {
        (self.0)(&mut |pollee, mask| visit(pollee, mask, Mode::Shared));
    }

    fn pass_on(&self) {
        // A shared registration takes no wake away from anybody.
    }
}

/// Nothing but time and signals: `pause`, `nanosleep`, `epoll_wait` on nothing.
pub struct Nothing;

impl Subjects for Nothing {
    fn for_each(&self, _visit: &mut dyn FnMut(&Pollee, IoEvents, Mode)) {}

    fn pass_on(&self) {}
}

/// A thread's means of waiting: its parker, and storage that lives from one wait to the next.
pub struct Waiter<P: Parker> {
    parker: P,
    alarm: Arc<Alarm<P::Unparker>>,
    registrations: Vec<Registration>,
}

/// The observer that wakes the thread of a [`Waiter`].
struct Alarm<U> {
    /// [`ARMED`], [`RUNG`], both or neither.
    state: AtomicU32,
    unparker: U,
}

/// The thread is about to sleep, or sleeps.
const ARMED: u32 = 1;
/// An event came since the alarm was armed.
const RUNG: u32 = 2;

impl<U: Unpark> Observer for Alarm<U> {
    fn on_ready(&self, _events: IoEvents) -> Claim {
        // Release pairs with `arm` and `disarm`: the check after them sees this event.
        if self.state.fetch_or(RUNG, Ordering::Release) == ARMED {
            self.unparker.unpark();
            Claim::Taken
        } else {
            Claim::NotTaken
        }
    }
}

impl<U> Alarm<U> {
    /// Makes the next event wake the thread. Returns whether one came since it was armed last.
    fn arm(&self) -> bool {
        // Acquire pairs with `on_ready`.
        self.state.swap(ARMED, Ordering::Acquire) & RUNG != 0
    }

    /// Makes events go to others from now on. Returns whether one came since it was armed last.
    fn disarm(&self) -> bool {
        // Acquire pairs with `on_ready`: the last check sees what came before.
        self.state.swap(0, Ordering::Acquire) & RUNG != 0
    }

    fn has_rung(&self) -> bool {
        // Relaxed: only a hint not to sleep; `arm` follows and acquires.
        self.state.load(Ordering::Relaxed) & RUNG != 0
    }
}

impl<P: Parker> Waiter<P> {
    /// A waiter for the thread of `parker`.
    pub fn new(parker: P) -> Self {
        let alarm = Arc::new(Alarm { state: AtomicU32::new(0), unparker: parker.unparker() });
        Self { parker, alarm, registrations: Vec::new() }
    }

    /// The parker.
    pub fn parker(&self) -> &P {
        &self.parker
    }

    /// The parker.
    pub fn parker_mut(&mut self) -> &mut P {
        &mut self.parker
    }

    /// Waits until `check` answers `Some`, or time is up, or a signal comes. See the [module](self).
    ///
    /// `check` must be such that, if it answers `None`, one of the `subjects` is notified before it would answer `Some`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] and [`WaitError::Interrupted`], after a last check that answered `None`.
    #[inline]
    pub fn wait_until<R>(
        &mut self,
        subjects: &impl Subjects,
        timeout: Timeout<P::Deadline>,
        mut check: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        match check() {
            Some(result) => Ok(result),
            None => self.sleep_until(subjects, timeout.deadline()?, check),
        }
    }

    /// [`wait_until`](Waiter::wait_until) after a first check that was fruitless, until `deadline` or for ever.
    ///
    /// # Errors
    ///
    /// As [`wait_until`](Waiter::wait_until).
    #[inline(never)]
    pub fn sleep_until<R>(
        &mut self,
        subjects: &impl Subjects,
        deadline: Option<P::Deadline>,
        mut check: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        self.alarm.arm();
        self.register(subjects);
        let (outcome, took_a_wake) = self.check_and_sleep(deadline, &mut check);
        self.deregister(subjects);
        if took_a_wake && outcome.is_ok() {
            subjects.pass_on();
        }
        outcome
    }

    /// The loop of an armed waiter. Returns disarmed, and says whether a wake was taken since the last fruitless check.
    fn check_and_sleep<R>(
        &mut self,
        deadline: Option<P::Deadline>,
        check: &mut impl FnMut() -> Option<R>,
    ) -> (Result<R, WaitError>, bool) {
        let mut rang = false;
        loop {
            if let Some(result) = check() {
                return (Ok(result), self.alarm.disarm() | rang);
            }
            let failure = match self.sleep(deadline) {
                Parked::Woken => {
                    rang = self.alarm.arm();
                    continue;
                }
                Parked::TimedOut => WaitError::TimedOut,
                Parked::Interrupted => WaitError::Interrupted,
            };
            let rang = self.alarm.disarm();
            return (check().ok_or(failure), rang);
        }
    }

    fn sleep(&mut self, deadline: Option<P::Deadline>) -> Parked {
        if self.alarm.has_rung() { Parked::Woken } else { self.parker.park(deadline) }
    }

    fn register(&mut self, subjects: &impl Subjects) {
        let Self { alarm, registrations, .. } = self;
        subjects.for_each(&mut |pollee, mask, mode| {
            registrations.push(pollee.register(alarm.clone(), mask, mode));
        });
    }

    fn deregister(&mut self, subjects: &impl Subjects) {
        let mut registrations = self.registrations.drain(..);
        subjects.for_each(&mut |pollee, _, _| {
            if let Some(registration) = registrations.next() {
                pollee.deregister(registration);
            }
        });
    }
}
