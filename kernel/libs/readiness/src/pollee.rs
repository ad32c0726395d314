// SPDX-License-Identifier: MPL-2.0

//! What can be polled: one end of one file, with its readiness word and its observers.
//!
//! # Role
//!
//! A [`Pollee`] sits in every file that can be waited for: one in an eventfd, one at each end of a pipe, one in each socket.
//! It joins the [`Word`] (what is ready now) with the observers (who wants to know when that changes).
//! The state of the file lives beside it in a [`Tracked`](crate::Tracked), which calls [`Pollee::notify`] by itself.
//!
//! # Protocol
//!
//! - To ask: [`Pollable::poll`].
//! - To be told: [`Pollee::register`], *then* ask. An event before the question is in the answer; one after it is told.
//! - To tell: [`Pollee::notify`], after the change. Files whose whole state is in a `Tracked` never call it.
//! - When a file description is closed for good: [`Pollee::close`].
//!
//! # Invariants
//!
//! - **P1** No wake-up is lost: if `register` and `notify` race, the observer is called or the `poll` after `register`
//!   sees the change (W3).
//! - **P2** No answer is stale: a `poll` that begins after `notify` returned sees the change (W1).
//! - **P3** With nobody interested `notify` is one locked instruction and one load.
//! - **P4** In debug builds every cached answer is computed again and compared.
//!
//! # Concurrency
//!
//! `notify` and `invalidate` may be called in any context. `register` may allocate. Nothing is called under a lock.

use crate::{
    Claim, IoEvents, Mode, Observer, Registration,
    observers::{Audience, Observers},
    sync::Arc,
    word::{Lookup, Word},
};

/// Whether answers and claims are checked by computing them again.
pub(crate) const VERIFY: bool = cfg!(any(debug_assertions, feature = "verify"));

/// One thing that can be polled. See the [module](self).
pub struct Pollee {
    pub(crate) word: Word,
    pub(crate) observers: Observers,
}

impl Pollee {
    /// A pollee that nobody observes and that has never been asked.
    pub fn new() -> Self {
        Self { word: Word::new(), observers: Observers::new() }
    }

    /// Answers from the cache if nothing changed since the last answer, else by `compute`, and keeps that.
    ///
    /// `compute` must depend on nothing but state whose changes reach this pollee.
    #[inline]
    pub fn look_up(&self, compute: impl FnOnce() -> IoEvents) -> IoEvents {
        match self.word.look_up() {
            Lookup::Fresh(events) => {
                if VERIFY {
                    self.verify(events, compute);
                }
                events
            }
            Lookup::Stale(ticket) => {
                let events = compute();
                self.word.publish(ticket, events);
                events
            }
        }
    }

    /// The answer that is kept, if it still holds. Takes no lock and computes nothing.
    ///
    /// Where hits are verified it is never known: so the file is asked, and [`look_up`](Pollee::look_up) verifies.
    #[inline]
    pub fn cached(&self) -> Option<IoEvents> {
        if VERIFY { None } else { self.known() }
    }

    /// The answer that is kept, if it still holds, also where hits are verified: for those who hold a lock and may not ask the file.
    #[inline]
    pub(crate) fn known(&self) -> Option<IoEvents> {
        match self.word.look_up() {
            Lookup::Fresh(events) => Some(events),
            Lookup::Stale(_) => None,
        }
    }

    /// Adds an observer of `mask` (and of `ERR` and `HUP`, which everybody hears of). Ask the file *after* this call.
    ///
    /// Allocates only if the pollee never had so many observers before.
    pub fn register(&self, observer: Arc<dyn Observer>, mask: IoEvents, mode: Mode) -> Registration {
        let registration = self.observers.register(observer, mask, mode);
        self.word.meet();
        registration
    }

    /// Changes the mask of a registration. Ask the file *after* this call. Returns `false` if it is gone.
    pub fn modify(&self, registration: &Registration, mask: IoEvents) -> bool {
        let known = self.observers.modify(registration, mask);
        self.word.meet();
        known
    }

    /// Removes a registration. Returns `false` if it is gone. The observer may be called once more by a notification
    /// that is under way.
    pub fn deregister(&self, registration: Registration) -> bool {
        self.observers.deregister(&registration)
    }

    /// The file changed, and `events` may have become ready, or are an edge although they were before.
    ///
    /// Says whether an exclusive observer took them.
    #[inline]
    pub fn notify(&self, events: IoEvents) -> Claim {
        self.word.bump();
        if self.observers.are_interested(events) {
            self.observers.notify(events, Audience::All)
        } else {
            Claim::NotTaken
        }
    }

    /// The file changed, and nothing became ready by that.
    #[inline]
    pub fn invalidate(&self) {
        self.word.bump();
    }

    /// Offers `events`, which are ready still, to the next exclusive observer. Nothing changed, so nobody else is told.
    #[inline]
    pub fn pass_on(&self, events: IoEvents) -> Claim {
        if !self.observers.are_interested(events) {
            return Claim::NotTaken;
        }
        self.observers.notify(events, Audience::NextInTurn)
    }

    /// The file description with identity `description` is gone: tells the observers, so that epoll entries leave at once.
    ///
    /// To be called by the destructor of the description, in task context.
    pub fn close(&self, description: usize) {
        if self.observers.are_interested(IoEvents::ALWAYS) {
            self.observers.for_each(|observer| observer.on_close(self, description));
        }
    }

    /// Calls `visit` for every observer, in no particular order.
    pub(crate) fn for_each_observer(&self, visit: impl FnMut(&dyn Observer)) {
        if self.observers.are_interested(IoEvents::ALWAYS) {
            self.observers.for_each(visit);
        }
    }

    /// Panics if `cached` is not what `compute` answers, provided that nothing changed while computing.
    #[cold]
    pub(crate) fn verify(&self, cached: IoEvents, compute: impl FnOnce() -> IoEvents) {
        let ticket = self.word.ticket();
        // Somebody may have bumped between the look-up and the ticket.
        let Lookup::Fresh(cached_still) = self.word.look_up() else { return };
        let computed = compute();
        if self.word.is_current(&ticket) {
            assert!(
                computed == cached_still,
                "a file changed without telling its pollee: cached {cached:?}, computed {computed:?}"
            );
        }
    }
}

impl Default for Pollee {
    fn default() -> Self {
        Self::new()
    }
}

/// A file that can be polled.
///
/// # Example
///
/// ```
/// use readiness::{IoEvents, Pollable, Pollee, Readiness, Tracked};
///
/// struct Counter(u64);
///
/// impl Readiness for Counter {
///     fn readiness(&self, _side: usize) -> IoEvents {
///         if self.0 > 0 { IoEvents::IN } else { IoEvents::empty() }
///     }
/// }
///
/// struct Event(Tracked<Counter>);
///
/// impl Pollable for Event {
///     fn pollee(&self) -> &Pollee {
///         self.0.pollee(0)
///     }
///     fn readiness(&self) -> IoEvents {
///         self.0.readiness(0)
///     }
/// }
///
/// let event = Event(Tracked::new(Counter(0)));
/// assert!(event.poll().is_empty());
/// event.0.update(|counter| {
///     counter.0 += 1;
///     counter.notify(0, IoEvents::IN);
/// });
/// assert_eq!(event.poll(), IoEvents::IN);
/// ```
pub trait Pollable: Send + Sync {
    /// The pollee that is told whenever [`readiness`](Pollable::readiness) changes.
    fn pollee(&self) -> &Pollee;

    /// Computes what is ready now. It may take the locks of the file.
    fn readiness(&self) -> IoEvents;

    /// What is ready now: the one question that everybody asks.
    ///
    /// The default answers from the cache when it may. Files that compute as fast as that return
    /// [`readiness`](Pollable::readiness) instead.
    #[inline]
    fn poll(&self) -> IoEvents {
        self.pollee().look_up(|| self.readiness())
    }

    /// What [`poll`](Pollable::poll) would answer, if that is known without a lock; so it may be asked under one. `None` says
    /// nothing but that one has to ask `poll`.
    ///
    /// Files that answer otherwise than their pollee's cache has it return `None`, at least then.
    #[inline]
    fn cached(&self) -> Option<IoEvents> {
        self.pollee().cached()
    }

    /// The pollee, to keep, if what it has cached is always the whole answer of the file. An epoll asks it in place of the file
    /// then, as long as it knows.
    fn shared_pollee(&self) -> Option<&Arc<Pollee>> {
        None
    }
}
