// SPDX-License-Identifier: MPL-2.0

//! State that cannot change behind its pollees' backs.
//!
//! # Role
//!
//! [`Tracked`] holds the part of a file that readiness depends on: the counter of an eventfd, the indices of a pipe's ring,
//! the queues of a connection. A file may have several *sides* that are polled separately and share one state: a pipe has a
//! reader's and a writer's; a connection has two endpoints. Each side is a [`Pollee`].
//!
//! # Protocol
//!
//! - [`Tracked::read`] lends the state to look at.
//! - [`Tracked::update`] lends it to change. Inside, say with [`Update::notify`] which events may be new on which side, or with
//!   [`Update::notify_nothing`] that none are. *Who changes the state and says nothing, notifies everything on every side*: an
//!   omission costs a spurious wake-up, never a lost one.
//! - An update that found nothing to do (a `read` that will be `EAGAIN`) touches the state only by reference, and costs no
//!   bump: the change is noticed by the mutable access itself.
//!
//! # Invariants
//!
//! - **T1** The state is reachable for writing only inside `update`. The forgetful program does not compile:
//!
//!   ```compile_fail,E0594
//!   use readiness::{IoEvents, Readiness, Tracked};
//!   struct Counter(u64);
//!   impl Readiness for Counter {
//!       fn readiness(&self, _: usize) -> IoEvents { IoEvents::empty() }
//!   }
//!   let counter = Tracked::<Counter>::new(Counter(0));
//!   counter.read(|counter| counter.0 = 1); // forgets to notify
//!   ```
//! - **T2** Every side's version is bumped *before* the lock is dropped: nobody can see the new state by any other way and
//!   still get the old answer.
//! - **T3** Observers are called *after* the lock is dropped.
//! - **T4** If somebody waits for what an update brings and the state [is the whole answer](Readiness::IS_WHOLE), the answer is
//!   computed and published before the lock is dropped: whoever is told will ask, and finds it.
//! - **T5** In debug builds the claim of an update is checked: an event that became ready and was not notified is a panic.
//!
//! # Concurrency
//!
//! The lock is an IRQ-safe spin lock, so a file may be updated from an interrupt. It nests inside other `Tracked`s
//! (a socket around its connection); use [`Tracked::update_then`] for the inner one, and drop its [`Pending`] when the outer
//! lock is gone.

use core::{
    borrow::Borrow,
    ops::{Deref, DerefMut},
};

use crate::{IoEvents, Pollee, observers::Audience, pollee::VERIFY, sync::SpinLock, word::Lookup};

/// State that readiness depends on.
pub trait Readiness {
    /// Whether [`readiness`](Readiness::readiness) is all that the answers of the sides' pollees depend on, now and ever, and costs next to
    /// nothing. Not so if a pollee outlives this state, and will answer for another one.
    const IS_WHOLE: bool = false;

    /// What is ready on `side`. Must depend on nothing but `self`.
    fn readiness(&self, side: usize) -> IoEvents;
}

/// State `S` and the `N` pollees whose readiness depends on it. See the [module](self).
///
/// `P` is `Pollee` where the sides live in this very object (pipe, eventfd), and `Arc<Pollee>` where they live longer (a
/// socket's pollee exists before and after its connection).
pub struct Tracked<S, const N: usize = 1, P = Pollee> {
    state: SpinLock<S>,
    sides: [P; N],
}

impl<S: Readiness, const N: usize, P: From<Pollee>> Tracked<S, N, P> {
    /// Tracks `state` with new pollees.
    pub fn new(state: S) -> Self {
        Self { state: SpinLock::new(state), sides: core::array::from_fn(|_| Pollee::new().into()) }
    }
}

impl<S: Readiness, const N: usize, P: Borrow<Pollee>> Tracked<S, N, P> {
    /// Tracks `state` with pollees that exist already. Whatever they have cached is forgotten.
    pub fn with_pollees(state: S, sides: [P; N]) -> Self {
        for side in &sides {
            side.borrow().invalidate();
        }
        Self { state: SpinLock::new(state), sides }
    }

    /// The pollee of `side`.
    #[inline]
    pub fn pollee(&self, side: usize) -> &Pollee {
        self.sides[side].borrow()
    }

    /// The pollee of `side`, as it was given or made.
    #[inline]
    pub fn side(&self, side: usize) -> &P {
        &self.sides[side]
    }

    /// Computes the readiness of `side`, under the lock.
    #[inline]
    pub fn readiness(&self, side: usize) -> IoEvents {
        self.state.lock().readiness(side)
    }

    /// The readiness of `side`, from the cache if it is fresh.
    #[inline]
    pub fn poll(&self, side: usize) -> IoEvents {
        let pollee = self.pollee(side);
        // `Pollee::look_up`, spelled out: everybody who asks a file comes this way, and reads it.
        match pollee.word.look_up() {
            Lookup::Fresh(events) => {
                if VERIFY {
                    pollee.verify(events, || self.readiness(side));
                }
                events
            }
            Lookup::Stale(ticket) => {
                let events = self.state.lock().readiness(side);
                pollee.word.publish(ticket, events);
                events
            }
        }
    }

    /// Lends the state to look at.
    #[inline]
    pub fn read<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.state.lock())
    }

    /// Lends the state to change; then bumps, unlocks, and notifies.
    // Always inlined, as what it is made of: with a closure that two places use it would not be, and takes half as long again.
    #[inline(always)]
    pub fn update<R>(&self, change: impl FnOnce(&mut Update<'_, S, N>) -> R) -> R {
        let (result, news) = self.change(change);
        notify(&self.sides, news);
        result
    }

    /// Like [`update`](Tracked::update), but observers are called when the returned [`Pending`] is dropped. To be used when
    /// the caller holds another lock.
    #[inline]
    pub fn update_then<R>(&self, change: impl FnOnce(&mut Update<'_, S, N>) -> R) -> (R, Pending<'_, N, P>) {
        let (result, news) = self.change(change);
        (result, Pending { sides: &self.sides, news })
    }

    /// Changes and bumps. Returns what is to be notified, by side: what somebody is interested in. `None` if nothing changed.
    #[inline(always)]
    fn change<R>(&self, change: impl FnOnce(&mut Update<'_, S, N>) -> R) -> (R, Option<[IoEvents; N]>) {
        let mut state = self.state.lock();
        let before = VERIFY.then(|| core::array::from_fn(|side| state.readiness(side)));
        let mut update = Update { state: &mut *state, changed: false, claim: Claimed::Everything };
        let result = change(&mut update);
        let mut news = update.news();
        if let (Some(before), Some(news)) = (before, &news) {
            verify_claim(&*state, &before, news);
        }
        for (side, events) in news.iter_mut().flatten().enumerate() {
            let Pollee { word, observers } = self.sides[side].borrow();
            // Under the lock still (T2, T4).
            let ticket = word.bump();
            if !observers.are_interested(*events) {
                *events = IoEvents::empty();
            } else if S::IS_WHOLE {
                word.publish(ticket, state.readiness(side));
            }
        }
        drop(state);
        (result, news)
    }
}

/// Tells the observers of each side of its news, if there are any.
#[inline]
fn notify<P: Borrow<Pollee>, const N: usize>(sides: &[P; N], news: Option<[IoEvents; N]>) {
    for (side, events) in sides.iter().zip(news.into_iter().flatten()) {
        if !events.is_empty() {
            let _ = side.borrow().observers.notify(events, Audience::All);
        }
    }
}

/// Panics if an event became ready that `news` does not mention.
#[cold]
fn verify_claim<S: Readiness, const N: usize>(state: &S, before: &[IoEvents; N], news: &[IoEvents; N]) {
    for side in 0..N {
        let forgotten = state.readiness(side) - before[side] - news[side];
        assert!(forgotten.is_empty(), "an update made {forgotten:?} ready on side {side} and did not notify");
    }
}

/// The state, lent for a change. Reading through it is free; the first mutable access makes it a change.
pub struct Update<'a, S, const N: usize> {
    state: &'a mut S,
    changed: bool,
    claim: Claimed<N>,
}

/// What an update said about new events.
enum Claimed<const N: usize> {
    /// Nothing was said, so anything may be new anywhere.
    Everything,
    /// Exactly this may be new, by side.
    Exactly([IoEvents; N]),
}

impl<S, const N: usize> Update<'_, S, N> {
    /// Says that `events` may be new on `side`, or are an edge there. What is not mentioned on any side is not new.
    #[inline]
    pub fn notify(&mut self, side: usize, events: IoEvents) {
        self.changed = true;
        let mut exactly = match self.claim {
            Claimed::Everything => [IoEvents::empty(); N],
            Claimed::Exactly(exactly) => exactly,
        };
        exactly[side] |= events;
        self.claim = Claimed::Exactly(exactly);
    }

    /// Says that the change, if there is one, makes nothing ready.
    #[inline]
    pub fn notify_nothing(&mut self) {
        if let Claimed::Everything = self.claim {
            self.claim = Claimed::Exactly([IoEvents::empty(); N]);
        }
    }

    /// What to notify, by side; `None` if nothing changed.
    fn news(self) -> Option<[IoEvents; N]> {
        self.changed.then_some(match self.claim {
            Claimed::Everything => [IoEvents::all(); N],
            Claimed::Exactly(exactly) => exactly,
        })
    }
}

impl<S, const N: usize> Deref for Update<'_, S, N> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        self.state
    }
}

impl<S, const N: usize> DerefMut for Update<'_, S, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        self.changed = true;
        self.state
    }
}

/// Observers that are still to be called; dropping it calls them.
#[must_use = "the observers are called when this is dropped: drop it outside the locks of the caller"]
pub struct Pending<'a, const N: usize, P: Borrow<Pollee> = Pollee> {
    sides: &'a [P; N],
    news: Option<[IoEvents; N]>,
}

impl<const N: usize, P: Borrow<Pollee>> Drop for Pending<'_, N, P> {
    #[inline]
    fn drop(&mut self) {
        notify(self.sides, self.news);
    }
}
