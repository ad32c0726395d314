// SPDX-License-Identifier: MPL-2.0

//! The observers of a pollee: who wants to hear about which events, and in which turn.
//!
//! # Role
//!
//! A [`Pollee`] owns one `Observers`. Epoll entries and sleeping threads register here.
//!
//! # Protocol
//!
//! `register` publishes first the slot, then the union of all masks. A notifier looks at that union without a lock and, if
//! somebody may be interested, picks targets under the lock, drops it, and calls them.
//!
//! # Invariants
//!
//! - **O1** No callback runs under this lock: an observer may deregister itself or others, register anew, notify other
//!   pollees, or drop the last reference to anything. The price: it may hear once more after it left.
//! - **O2** `notify` allocates nothing, and holds the lock for at most `VISITS` visits to shared observers and one turn of the
//!   exclusive ones at a time.
//! - **O3** Observers are kept in four lists by what they want (reading, writing, both, neither), each with the union of its
//!   masks: a list in which nobody wants an event is not walked at all.
//! - **O4** First hear those that only take note (*noting*: the entries of epolls), then all *shared* ones (threads in `poll(2)`), the
//!   newest first each, as Linux's wait queues have it; so a thread that such a notification wakes finds every epoll told, as on
//!   Linux, where it takes the queue's lock on its way out. Then *exclusive* ones hear in turn, oldest first, until one
//!   says [`Claim::Taken`]. Whoever was asked goes to the end of the queue.
//! - **O5** One notification calls each observer at most once, however the lists change meanwhile: shared ones in falling order of a
//!   sequence number that is never used twice, exclusive ones while their number is below the one at which it began.
//! - **O6** Every observer that was registered before `notify` read the union, and stays, is called or was called by another
//!   notification since then.
//!
//! # Concurrency
//!
//! The lock is a leaf and IRQ-safe. `interest` is `Relaxed`: that a notifier sees a registration that came first
//! is the work of [`Word::meet`](crate::word::Word::meet), not of this word.

mod walk;

use arrayvec::ArrayVec;
use walk::{Turn, Walk};

use crate::{
    IoEvents, Pollee,
    slab::{Chunk, List, Slab, Vacancy},
    sync::{Arc, AtomicU32, Ordering, SpinLock},
};

/// How many targets are taken under one hold of the lock.
const BATCH: usize = 8;
/// How many slots are looked at under one hold of the lock.
const VISITS: u32 = 32;

/// Somebody who wants to hear that a file may have become ready.
///
/// Called without any lock of this crate held, in task or interrupt context, at most once per notification. It must not sleep
/// and must not ask the file: it sets a flag, queues something, wakes somebody. A call that comes after
/// deregistration must be harmless.
pub trait Observer: Send + Sync {
    /// `events` may have become ready. An exclusive observer answers whether it will look after them; the answer of a
    /// shared one is not used.
    fn on_ready(&self, events: IoEvents) -> Claim;

    /// The file description with identity `description` was closed for good; `pollee` belongs to it, or did.
    ///
    /// Unlike [`on_ready`](Observer::on_ready) this is called in task context only, and may sleep.
    fn on_close(&self, pollee: &Pollee, description: usize) {
        let _ = (pollee, description);
    }

    /// The observer itself, for those who know its type.
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        None
    }
}

/// The answer of an exclusive observer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The event is being looked after. Nobody else in the queue needs to be asked.
    Taken,
    /// Ask the next.
    NotTaken,
}

/// How an observer takes part in a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Always called, and before all others: wakes nobody who could look at what the others are still to be told.
    Noting,
    /// Always called.
    Shared,
    /// Called in turn until one of them takes the event.
    Exclusive,
}

/// The handle of one registration: not `Copy`, given back by [`Pollee::deregister`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Registration {
    index: u32,
    generation: u32,
}

impl Registration {
    /// Packs the handle for keeping in an atomic word.
    pub(crate) fn into_raw(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`into_raw`](Registration::into_raw).
    pub(crate) fn from_raw(raw: u64) -> Self {
        Self { index: raw as u32, generation: (raw >> 32) as u32 }
    }
}

/// Whom a notification is for.
#[derive(Clone, Copy)]
pub(crate) enum Audience {
    /// All shared observers, and exclusive ones in turn until one takes it.
    All,
    /// Exclusive observers only.
    NextInTurn,
}

/// The observers of one pollee.
pub(crate) struct Observers {
    /// The union of all masks, and perhaps a little more.
    interest: AtomicU32,
    lists: SpinLock<Lists>,
}

/// One registration; 32 bytes, and 8 for the links.
#[derive(Default)]
struct Slot {
    /// `None` while the slot is vacant.
    target: Option<Arc<dyn Observer>>,
    /// The turn of this registration. Unique in its `Observers`.
    sequence: u64,
    /// The mask, always with `IoEvents::ALWAYS`; [`EXCLUSIVE`] on top.
    mask: u32,
    /// Grows whenever the slot is vacated, so that an old handle finds nothing.
    generation: u32,
}

/// Marks an exclusive registration in [`Slot::mask`].
const EXCLUSIVE: u32 = 1 << 31;
/// Marks a noting registration in [`Slot::mask`].
const NOTING: u32 = 1 << 30;
/// The marks.
const MODES: u32 = EXCLUSIVE | NOTING;

/// The number of lists per mode.
const CLASSES: usize = 4;
const WANTS_READ: usize = 1;
const WANTS_WRITE: usize = 2;
const READ_BITS: u32 = IoEvents::READABLE.bits();
const WRITE_BITS: u32 = IoEvents::WRITABLE.bits();

impl Slot {
    fn is_exclusive(&self) -> bool {
        self.mask & EXCLUSIVE != 0
    }

    fn class(&self) -> usize {
        class_of(self.mask)
    }
}

fn class_of(mask: u32) -> usize {
    let read = if mask & READ_BITS != 0 { WANTS_READ } else { 0 };
    let write = if mask & WRITE_BITS != 0 { WANTS_WRITE } else { 0 };
    read | write
}

struct Lists {
    slots: Slab<Slot, 1, 4>,
    /// How many slots are taken.
    count: u32,
    noting: [List; CLASSES],
    shared: [List; CLASSES],
    exclusive: [List; CLASSES],
    /// The union of the masks ever linked in a class since it was last empty.
    unions: [u32; CLASSES],
    next_sequence: u64,
}

impl Observers {
    pub(crate) fn new() -> Self {
        Self {
            interest: AtomicU32::new(0),
            lists: SpinLock::new(Lists {
                slots: Slab::new(),
                count: 0,
                noting: [List::new(); CLASSES],
                shared: [List::new(); CLASSES],
                exclusive: [List::new(); CLASSES],
                unions: [0; CLASSES],
                next_sequence: 1,
            }),
        }
    }

    /// Whether somebody may want to hear of `events`. One load, no lock.
    #[inline]
    pub(crate) fn are_interested(&self, events: IoEvents) -> bool {
        self.interest.load(Ordering::Relaxed) & events.bits() != 0
    }

    /// Adds an observer. Allocates only when there were never so many before.
    pub(crate) fn register(&self, target: Arc<dyn Observer>, mask: IoEvents, mode: Mode) -> Registration {
        loop {
            let mut lists = self.lists.lock();
            match lists.slots.vacancy() {
                Vacancy::Free => {
                    let registration = lists.insert(target, stored_mask(mask, mode));
                    self.publish_interest(&lists);
                    return registration;
                }
                Vacancy::NeedsChunk => {
                    drop(lists);
                    let chunk = Chunk::new();
                    let superfluous = self.lists.lock().slots.grow(chunk);
                    drop(superfluous);
                }
            }
        }
    }

    /// Changes the mask of a registration. Returns `false` if it is gone.
    pub(crate) fn modify(&self, registration: &Registration, mask: IoEvents) -> bool {
        let mut lists = self.lists.lock();
        let known = lists.change_mask(registration, mask);
        self.publish_interest(&lists);
        known
    }

    /// Removes a registration. Returns `false` if it is gone. A notification under way may still call the target once.
    pub(crate) fn deregister(&self, registration: &Registration) -> bool {
        let mut lists = self.lists.lock();
        let target = lists.remove(registration);
        self.publish_interest(&lists);
        drop(lists);
        // Only now, without the lock: this may be the last reference to anything.
        target.is_some()
    }

    /// Calls those of `audience` who want to hear of `events`. Says whether an exclusive observer took them. To be called if somebody
    /// [may be interested](Observers::are_interested).
    ///
    /// Nearly always there is just one observer, in the first slot: that is done here, in one hold of the lock.
    #[inline(never)]
    pub(crate) fn notify(&self, events: IoEvents, audience: Audience) -> Claim {
        let lists = self.lists.lock();
        let first = lists.slots.get(0);
        if lists.count == 1
            && let Some(target) = &first.target
        {
            let is_exclusive = first.is_exclusive();
            if first.mask & events.bits() == 0 || !is_exclusive && matches!(audience, Audience::NextInTurn) {
                return Claim::NotTaken;
            }
            let target = target.clone();
            drop(lists);
            let claim = target.on_ready(events);
            return if is_exclusive { claim } else { Claim::NotTaken };
        }
        drop(lists);
        self.notify_many(events, audience)
    }

    /// [`notify`](Observers::notify) for any number of observers.
    #[inline(never)]
    fn notify_many(&self, events: IoEvents, audience: Audience) -> Claim {
        let mut walk = Walk::new(events, audience);
        loop {
            let mut batch = ArrayVec::new();
            let turn = self.lists.lock().pick(&mut walk, &mut batch);
            for target in &batch {
                let _ = target.on_ready(events);
            }
            match turn {
                Turn::Of(target) => {
                    if target.on_ready(events) == Claim::Taken {
                        return Claim::Taken;
                    }
                }
                Turn::Later => {}
                Turn::Over => return Claim::NotTaken,
            }
        }
    }

    /// Calls `visit` for every observer, without the lock, in no particular order. Allocates nothing.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&dyn Observer)) {
        let mut index = 0;
        loop {
            let lists = self.lists.lock();
            if index >= lists.slots.capacity() {
                return;
            }
            let end = lists.slots.capacity().min(index + VISITS);
            let target = (index..end).find_map(|at| Some((at, lists.slots.get(at).target.clone()?)));
            drop(lists);
            index = target.as_ref().map_or(end, |(at, _)| at + 1);
            if let Some((_, target)) = target {
                visit(&*target);
            }
        }
    }

    /// Must be called under the lock, as its last act.
    fn publish_interest(&self, lists: &Lists) {
        // Relaxed: ordered for notifiers by the lock's owner meeting them on the version, see `Word::meet`.
        self.interest.store(lists.union(), Ordering::Relaxed);
    }
}

fn stored_mask(mask: IoEvents, mode: Mode) -> u32 {
    let flag = match mode {
        Mode::Noting => NOTING,
        Mode::Shared => 0,
        Mode::Exclusive => EXCLUSIVE,
    };
    (mask | IoEvents::ALWAYS).bits() & !MODES | flag
}

impl Lists {
    fn insert(&mut self, target: Arc<dyn Observer>, mask: u32) -> Registration {
        let index = self.slots.occupy().expect("the caller checked for a vacancy");
        self.count += 1;
        let slot = self.slots.get_mut(index);
        slot.target = Some(target);
        slot.mask = mask;
        let generation = slot.generation;
        self.link_newest(index);
        Registration { index, generation }
    }

    /// Links a slot as the newest of its class.
    fn link_newest(&mut self, index: u32) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.slots.get_mut(index);
        slot.sequence = sequence;
        let (class, mask) = (slot.class(), slot.mask);
        self.unions[class] |= mask & !MODES;
        if mask & EXCLUSIVE != 0 {
            self.exclusive[class].push_back(&mut self.slots, index);
        } else {
            let list = if mask & NOTING != 0 { &mut self.noting[class] } else { &mut self.shared[class] };
            list.push_front(&mut self.slots, index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let slot = self.slots.get(index);
        let class = slot.class();
        let list = match slot.mask & MODES {
            EXCLUSIVE => &mut self.exclusive[class],
            NOTING => &mut self.noting[class],
            _ => &mut self.shared[class],
        };
        list.unlink(&mut self.slots, index);
        if self.noting[class].is_empty() && self.shared[class].is_empty() && self.exclusive[class].is_empty() {
            self.unions[class] = 0;
        }
    }

    fn is_valid(&self, registration: &Registration) -> bool {
        if registration.index >= self.slots.capacity() {
            return false;
        }
        let slot = self.slots.get(registration.index);
        slot.generation == registration.generation && slot.target.is_some()
    }

    fn change_mask(&mut self, registration: &Registration, mask: IoEvents) -> bool {
        if !self.is_valid(registration) {
            return false;
        }
        let slot = self.slots.get_mut(registration.index);
        let new = (mask | IoEvents::ALWAYS).bits() & !MODES | slot.mask & MODES;
        if class_of(new) == slot.class() {
            slot.mask = new;
            self.unions[class_of(new)] |= new & !MODES;
        } else {
            self.unlink(registration.index);
            self.slots.get_mut(registration.index).mask = new;
            self.link_newest(registration.index);
        }
        true
    }

    fn remove(&mut self, registration: &Registration) -> Option<Arc<dyn Observer>> {
        if !self.is_valid(registration) {
            return None;
        }
        self.unlink(registration.index);
        let slot = self.slots.get_mut(registration.index);
        slot.sequence = 0;
        slot.generation = slot.generation.wrapping_add(1);
        let target = slot.target.take();
        self.slots.vacate(registration.index);
        self.count -= 1;
        target
    }

    /// The classes with somebody who may want `events`, as bits.
    fn classes_wanting(&self, events: IoEvents) -> u32 {
        let wanting = (0..CLASSES).filter(|class| self.unions[*class] & events.bits() != 0);
        wanting.fold(0, |classes, class| classes | 1 << class)
    }

    fn union(&self) -> u32 {
        self.unions.iter().fold(0, |union, class| union | class)
    }
}
