// SPDX-License-Identifier: MPL-2.0

//! One file in the interest set of an epoll, and the state machine of its reports.
//!
//! # Role
//!
//! An [`Entry`] is the observer that an epoll leaves at a file. What never changes is in the `Entry`; what changes
//! (events, data, [`State`]) is in the [`Item`] of the [ready list](super::ready), under that list's lock.
//!
//! # Protocol
//!
//! ```text
//!            event, or found ready by ADD or MOD
//!   ┌────► Idle ───────────────────────────► Queued ─┐ level-triggered: stays Queued while a harvest asks its file,
//!   │       ▲ ▲                                │ ▲   │ and after its report
//!   │   MOD │ └────────────────────────────────┼─┼───┘ not ready; or reported at once, its answer being known
//!   │       │                harvest takes it  ▼ │ told again meanwhile, or its copying faulted (to the front)
//!   │   Disarmed ◄───────────────────────  Reporting
//!   │             ONESHOT, reported            │
//!   └──────────────────────────────────────────┘ not ready, or edge-triggered and reported
//! ```
//!
//! # Invariants
//!
//! - **E1** An event that comes while a harvest has the entry in its hands is kept (`again`, `news`), and the entry is queued
//!   when the report ends.
//! - **E2** ONESHOT is reported once per arming: `Disarmed` ignores events, only MOD leaves it; and a MOD that comes while Reporting
//!   (`rearmed`) is not undone by the end of that report.
//! - **E3** A late `on_ready`, after the entry was removed, finds another entry or none at its index, and does nothing.

use super::{Core, EpollEvent, READY, Target, flags};
use crate::{
    Claim, IoEvents, Observer, Pollee, Registration,
    observers::Audience,
    sync::{Arc, AtomicU64, Ordering, Weak},
};

/// A file in the interest set of an epoll.
pub(super) struct Entry<T: Target + ?Sized> {
    pub(super) core: Arc<Core<T>>,
    pub(super) file: Weak<T>,
    /// The identity of the file description: its address, which stays taken for as long as this lives (FEATURES row 65).
    description: usize,
    /// The file's pollee, if that is all there is to its answer: it can be asked under the ready list's lock.
    pub(super) answer: Option<Arc<Pollee>>,
    pub(super) fd: i32,
    /// The item in the ready list.
    pub(super) index: u32,
    /// The packed [`Registration`] at the pollee of `file`. Written once, under the lock of the interest set, before the
    /// entry is found there; read under that lock: `Relaxed` is enough.
    registration: AtomicU64,
}

impl<T: Target + ?Sized> Entry<T> {
    pub(super) fn new(core: Arc<Core<T>>, file: &Arc<T>, fd: i32, index: u32) -> Self {
        let answer = file.shared_pollee().cloned();
        let (file, description) = (Arc::downgrade(file), file.id());
        Self { core, file, description, answer, fd, index, registration: AtomicU64::new(0) }
    }

    pub(super) fn set_registration(&self, registration: Registration) {
        self.registration.store(registration.into_raw(), Ordering::Relaxed);
    }

    /// The registration. Each call gives out the same handle; the second one to deregister finds nothing.
    pub(super) fn registration(&self) -> Registration {
        Registration::from_raw(self.registration.load(Ordering::Relaxed))
    }

    /// The identity of the file description.
    pub(super) fn description(&self) -> usize {
        self.description
    }

    pub(super) fn is_for(&self, fd: i32, description: usize) -> bool {
        self.fd == fd && self.description() == description
    }
}

impl<T: Target + ?Sized> Observer for Entry<T> {
    /// Queues the entry if it waits for events, and tells those who wait for the epoll. ADD and MOD call it as well, when they find
    /// the file ready.
    fn on_ready(&self, _events: IoEvents) -> Claim {
        if !self.core.with_ready(|ready| ready.queue(self)) {
            return Claim::NotTaken;
        }
        // The list's lock is gone: the waiters and outer epolls of this epoll are told without it. They are told even if the
        // entry was queued already, as on Linux: each event is an edge for an outer epoll, and wakes a waiter of its own.
        let Pollee { word, observers } = &self.core.pollee;
        word.bump();
        if observers.are_interested(READY) { observers.notify(READY, Audience::All) } else { Claim::NotTaken }
    }

    fn on_close(&self, pollee: &Pollee, description: usize) {
        if self.description() == description {
            self.core.forget(self, pollee);
        }
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
}

/// The changing part of an entry; 24 bytes, and 8 for the links.
pub(super) struct Item<T: Target + ?Sized> {
    /// `None` while the item is vacant.
    pub(super) entry: Option<Arc<Entry<T>>>,
    pub(super) data: u64,
    /// As given to `epoll_ctl`: event bits and flags, unknown ones included.
    pub(super) events: u32,
    pub(super) state: State,
}

impl<T: Target + ?Sized> Default for Item<T> {
    fn default() -> Self {
        Self { entry: None, data: 0, events: 0, state: State::Idle }
    }
}

/// Where an entry stands between an event and its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing to report as far as is known.
    Idle,
    /// Linked in the ready list. If it is level-triggered, a harvest may have it in its hands.
    Queued {
        /// An event came since a harvest took it in its hands.
        news: bool,
    },
    /// In the hands of a harvest that asks the file and copies the event.
    Reporting {
        /// An event came meanwhile.
        again: bool,
        /// A MOD came meanwhile.
        rearmed: bool,
    },
    /// ONESHOT was reported. Nothing happens until MOD.
    Disarmed,
}

/// What came of asking the file and copying the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The file has nothing to report.
    NotReady,
    /// The event was copied out.
    Copied,
    /// The event could not be copied out.
    Faulted,
}

/// Where an entry goes when its report is over.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nowhere.
    Rest(State),
    /// To the front of the ready list, as if it had never been taken.
    Front,
    /// To the back of the ready list, silently.
    Back,
}

impl State {
    /// The state of a queued entry that a harvest takes in its hands.
    pub(super) fn when_taken(events: u32) -> Self {
        if flags::is_level(events) {
            State::Queued { news: false }
        } else {
            State::Reporting { again: false, rearmed: false }
        }
    }

    /// An event. `None` if it is to be ignored. An entry that was `Idle` has to be linked.
    pub(super) fn on_event(self) -> Option<State> {
        match self {
            State::Idle | State::Queued { .. } => Some(State::Queued { news: true }),
            State::Reporting { rearmed, .. } => Some(State::Reporting { again: true, rearmed }),
            State::Disarmed => None,
        }
    }

    /// A MOD.
    pub(super) fn on_modify(self) -> State {
        match self {
            State::Disarmed => State::Idle,
            State::Idle | State::Queued { .. } => self,
            State::Reporting { again, .. } => State::Reporting { again, rearmed: true },
        }
    }

    /// The state after a report for `events` that was made at once, as Reporting never was in between: where it goes if it leaves the
    /// list. `None` if it stays, being level-triggered.
    pub(super) fn when_reported_at_once(events: u32) -> Option<Self> {
        if flags::is_level(events) {
            None
        } else if events & flags::ONESHOT != 0 {
            Some(State::Disarmed)
        } else {
            Some(State::Idle)
        }
    }

    /// The end of a report that was made for `events`. `None` if the entry is not being reported.
    pub(super) fn on_reported(self, events: u32, report: Report) -> Option<Next> {
        let (again, rearmed) = match self {
            State::Reporting { again, rearmed } => (again, rearmed),
            State::Queued { news } => (news, false),
            State::Idle | State::Disarmed => return None,
        };
        let rest = if again { Next::Back } else { Next::Rest(State::Idle) };
        Some(match report {
            Report::Faulted => Next::Front,
            Report::NotReady => rest,
            // MOD has asked the file itself, and set `again` if it was ready.
            Report::Copied if rearmed => rest,
            Report::Copied if events & flags::ONESHOT != 0 => Next::Rest(State::Disarmed),
            Report::Copied if events & flags::EDGE != 0 => rest,
            Report::Copied => Next::Back,
        })
    }
}

impl EpollEvent {
    /// `ERR` and `HUP` are waited for in any case.
    pub(super) fn with_always(self) -> Self {
        Self { events: self.events | IoEvents::ALWAYS.bits(), ..self }
    }

    /// The events to ask and register for.
    pub(super) fn mask(self) -> IoEvents {
        mask_of(self.events)
    }
}

/// The event bits among `events`.
pub(super) fn mask_of(events: u32) -> IoEvents {
    IoEvents::from_bits_truncate(events)
}
