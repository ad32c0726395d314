// SPDX-License-Identifier: MPL-2.0

//! The readiness word: one cached answer, and the version that says whether it still holds.
//!
//! # Role
//!
//! The lock-free core of a [`Pollee`](crate::Pollee). It holds no state of the file: it only remembers what the file
//! answered last, and forgets it in one instruction.
//!
//! # Protocol
//!
//! - Whoever changed the file calls [`Word::bump`]. It computes nothing; but who holds the file's state still may compute the new
//!   answer, and publish it under the ticket of the bump.
//! - Whoever wants to know calls [`Word::look_up`]. [`Lookup::Fresh`] is the answer; [`Lookup::Stale`] is a [`Ticket`]
//!   to compute one and [`Word::publish`] it.
//! - Whoever registers calls [`Word::meet`] after the registration is visible and before the next look-up.
//!
//! # Invariants
//!
//! - **W1** A cached answer is given out only if no bump came after the version under which it was computed. The version is
//!   read *before* the answer is computed, so an answer that was overtaken carries an old version: it is a miss, never
//!   a lie.
//! - **W2** Any number of threads may look up, compute and publish at once. A publisher that comes late overwrites a newer
//!   answer with an older one; that, too, is only a miss.
//! - **W3** Of a bump and a [`meet`](Word::meet) one comes second, and it sees all that the other's thread did before: either the
//!   notifier sees the registration, or the registrant sees the change.
//! - **W4** Versions never repeat within 2^48 bumps: at one bump per nanosecond, three days of *one* look-up standing still.
//!
//! # Concurrency
//!
//! No lock, no loop, any context. Pairs: `bump` (Release) with the version loads of `look_up` and `meet` (Acquire);
//! `meet` (Release) with `bump` (Acquire). `cache` is `Relaxed` everywhere: the answer travels inside the word itself
//! together with its version, and nothing else is published through it.
//!
//! # Example
//!
//! ```
//! use readiness::{IoEvents, word::{Lookup, Word}};
//!
//! let word = Word::new();
//! let Lookup::Stale(ticket) = word.look_up() else { panic!("nothing was ever computed") };
//! word.publish(ticket, IoEvents::IN);
//! assert!(matches!(word.look_up(), Lookup::Fresh(IoEvents::IN)));
//! word.bump();
//! assert!(matches!(word.look_up(), Lookup::Stale(_)));
//! ```

use crate::{
    IoEvents,
    sync::{AtomicU64, Ordering, const_unless_modelled},
};

/// The width of the events in `cache`; the version has the rest.
const EVENT_BITS: u32 = 16;
const EVENT_MASK: u64 = (1 << EVENT_BITS) - 1;

/// A version and the last answer. See the [module](self) for the rules.
pub struct Word {
    /// How many times the file changed. Only ever grows, by one, with one read-modify-write.
    version: AtomicU64,
    /// `version << 16 | events`: the last published answer.
    cache: AtomicU64,
}

/// What [`Word::look_up`] found.
#[must_use]
pub enum Lookup {
    /// Nobody changed the file since this was computed.
    Fresh(IoEvents),
    /// Compute the answer, then [`Word::publish`] it under this ticket.
    Stale(Ticket),
}

/// The right to publish one answer. It is spent by [`Word::publish`], or dropped; it cannot be copied.
pub struct Ticket(u64);

impl Word {
    const_unless_modelled! {
        /// A word that has never seen an answer.
        pub fn new() -> Self {
            // Version 1 against a cache of version 0: the first look-up is a miss.
            Self { version: AtomicU64::new(1), cache: AtomicU64::new(0) }
        }
    }

    /// Returns the cached answer if it still holds, else the right to publish a new one.
    #[inline]
    pub fn look_up(&self) -> Lookup {
        // Pairs with `bump`: a version seen here makes the change before it visible to the computation that follows.
        let version = self.version.load(Ordering::Acquire);
        // Relaxed: version and answer are in one word, nothing else hangs on it.
        let cache = self.cache.load(Ordering::Relaxed);
        // Of equal versions nothing is left, but the events.
        match cache ^ version << EVENT_BITS {
            events @ 0..=EVENT_MASK => Lookup::Fresh(IoEvents::from_bits_retain(events as u32)),
            _ => Lookup::Stale(Ticket(version)),
        }
    }

    /// Keeps `events` as the answer for as long as the version of `ticket` lasts.
    #[inline]
    pub fn publish(&self, ticket: Ticket, events: IoEvents) {
        // Relaxed: see `look_up`. A plain store: losing it to, or winning it over, another publisher is a miss at worst.
        self.cache.store(pack(ticket.0, events), Ordering::Relaxed);
    }

    /// Says that every answer computed so far is old. Call it after the change, before anybody relies on it.
    ///
    /// Answers with the right to publish an answer that is computed from now on.
    #[inline]
    pub fn bump(&self) -> Ticket {
        // Release pairs with `look_up` and `meet`: who sees this version sees the change.
        // Acquire pairs with `meet`: a notifier that comes second sees the registration.
        Ticket(self.version.fetch_add(1, Ordering::AcqRel).wrapping_add(1))
    }

    /// Meets the notifiers after a registration was made visible: those that bumped before are seen by the next
    /// [`look_up`](Word::look_up), those that bump later will see the registration.
    #[inline]
    pub fn meet(&self) {
        // A read-modify-write, because it has to take its place in the order of the bumps; a load could be overtaken.
        self.version.fetch_add(0, Ordering::AcqRel);
    }

    /// Whether the version is still the one that `ticket` was issued under.
    pub(crate) fn is_current(&self, ticket: &Ticket) -> bool {
        self.version.load(Ordering::Acquire) == ticket.0
    }

    /// A ticket for the present version, whatever the cache holds.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.version.load(Ordering::Acquire))
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::new()
    }
}

fn pack(version: u64, events: IoEvents) -> u64 {
    debug_assert!(u64::from(events.bits()) <= EVENT_MASK);
    version << EVENT_BITS | u64::from(events.bits()) & EVENT_MASK
}
