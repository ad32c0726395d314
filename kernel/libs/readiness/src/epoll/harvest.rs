// SPDX-License-Identifier: MPL-2.0

//! The harvest: turning the ready list into events in the caller's buffer, losing and repeating none.
//!
//! # Protocol
//!
//! Nearly always all that is queued is known to be ready: the cached answers say so, and the caller's memory is there. Then
//! it is reported in one hold of the list's lock ([`ReadyList::report_known`], and for a single entry
//! [`ReadyList::report_only_known`]). Else a harvest takes its turn:
//!
//! Know that there is room, take entries off the list, ask their files, copy the events out, and only then decide where each
//! entry goes ([`State::on_reported`](super::entry::State::on_reported)); a level-triggered one stays where it is. It is done in
//! batches, so that the ready list is locked and user memory is written once per [`BATCH`] entries (and the list once more for
//! the first).
//!
//! # Invariants
//!
//! - **H1** One report per entry and call: a harvest only takes what was queued when it began.
//! - **H2** What was not copied, by a fault or for want of room, stays at the front in its order, and what was copied counts.
//! - **H3** No false "nothing": what is known is reported before anything is changed; else one harvest at a time has the turn, so nobody looks at a list from which another
//!   has just taken entries that it will put back; and a harvest that found nothing in what it took, while
//!   something was queued, looks again.
//! - **H4** Queueing again is silent: it neither bumps the epoll's version nor tells an outer epoll. What is left at the end,
//!   though, is offered to one more waiter, as Linux does (`ep_done_scan`).
//!
//! # Concurrency
//!
//! Task context. What is known is copied out under the ready list's spin lock, by [`Sink::put_now`], which does not sleep. Else files
//! are asked and user memory is written under `Core::turn` and no other lock, and both may sleep.

use arrayvec::ArrayVec;

use super::{
    Core, Epoll, EpollEvent, Fault, READY, Sink, Target,
    entry::{Report, mask_of},
    ready::{ReadyList, Taken},
};
use crate::IoEvents;

/// How many entries are taken at once.
const BATCH: usize = 16;

/// Entries in the hands of a harvest.
type Batch<T> = ArrayVec<Taken<T>, BATCH>;

impl<T: Target + ?Sized> Epoll<T> {
    /// Copies up to `max` events to `sink` without waiting, and returns how many.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the first event could not be copied. If a later one could not, the count is returned and
    /// the rest stays.
    #[inline(always)]
    pub fn harvest(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let core = &*self.0;
        if max == 0 || !core.has_pending() {
            return Ok(0);
        }
        if !core.with_ready(|ready| ready.report_only_known(sink)) {
            return core.harvest_several(max, sink);
        }
        core.offer_rest();
        Ok(1)
    }
}

impl<T: Target + ?Sized> Core<T> {
    /// A harvest of more than one entry, or one that has to ask the files or to wait for memory.
    #[inline(never)]
    fn harvest_several(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let known = self.with_ready(|ready| ready.report_known(max, sink));
        let result = if known > 0 { Ok(known) } else { self.harvest_in_turn(max, sink) };
        if result.is_ok_and(|copied| copied > 0) {
            self.offer_rest();
        }
        result
    }

    /// Offers what is left after a harvest to one more waiter (H4).
    #[inline(always)]
    fn offer_rest(&self) {
        if self.has_pending() {
            let _ = self.pollee.pass_on(READY);
        }
    }

    fn harvest_in_turn(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let _turn = self.turn.lock();
        let mut result = match self.with_ready(|ready| ready.take_only()) {
            Some(taken) => self.report_only(taken, sink),
            None => Ok(0),
        };
        // Unless the only one was reported. Once more, as a rule: again if nothing came of what was taken, and
        // something was queued meanwhile (H3).
        while result == Ok(0) && self.has_pending() {
            result = self.scan(max, sink);
        }
        result
    }

    /// Reports the only entry of the list. Nearly always there is just one.
    fn report_only(&self, mut taken: Taken<T>, sink: &mut impl Sink) -> Result<usize, Fault> {
        let ready = match &taken.file {
            Some(file) => file.poll() & mask_of(taken.event.events),
            None => IoEvents::empty(),
        };
        if !ready.is_empty() {
            let copied = sink.put(&[EpollEvent { events: ready.bits(), data: taken.event.data }]);
            taken.report = if copied == 1 { Report::Copied } else { Report::Faulted };
        }
        if !taken.changes_nothing() {
            self.with_ready(|ready| ready.put_only(&taken));
        }
        match taken.report {
            Report::NotReady => Ok(0),
            Report::Copied => Ok(1),
            Report::Faulted => Err(Fault),
        }
    }

    /// Reports what is queued now, as far as there is room.
    #[inline(never)]
    fn scan(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        // Two batches, so that one can be dropped outside the lock under which the other was filled.
        let (mut batch, mut next): (&mut Batch<T>, &mut Batch<T>) = (&mut ArrayVec::new(), &mut ArrayVec::new());
        let mut copied = 0;
        let mut outcome = Ok(());
        self.with_ready(|ready| {
            ready.begin_scan();
            ready.take_scanned(batch, max);
        });
        while !batch.is_empty() {
            outcome = report(batch, sink, &mut copied);
            let room = if outcome.is_ok() { max - copied } else { 0 };
            self.with_ready(|ready| put_and_take(ready, batch, next, room));
            // These may be the last references to their files.
            batch.clear();
            core::mem::swap(&mut batch, &mut next);
        }
        if copied > 0 { Ok(copied) } else { outcome.map(|()| 0) }
    }

    /// Whether some entry has something to report: asks the files, and copies nothing.
    pub(super) fn verify_ready(&self) -> bool {
        if !self.has_pending() {
            return false;
        }
        let _turn = self.turn.lock();
        let mut is_ready = false;
        let mut one: ArrayVec<Taken<T>, 1> = ArrayVec::new();
        while !is_ready && self.has_pending() {
            self.with_ready(|ready| {
                ready.begin_scan();
                ready.take_scanned(&mut one, 1);
            });
            while let Some(taken) = one.pop() {
                is_ready = self.ask_and_put_back(taken);
                let room = usize::from(!is_ready);
                self.with_ready(|ready| ready.take_scanned(&mut one, room));
            }
            self.with_ready(|ready| ready.end_scan());
        }
        is_ready
    }

    /// Whether the file of `taken` is ready. If so the entry goes back to where it was: looking is not taking.
    fn ask_and_put_back(&self, mut taken: Taken<T>) -> bool {
        let is_ready = taken.file.as_ref().is_some_and(|file| file.poll().intersects(mask_of(taken.event.events)));
        if is_ready {
            taken.report = Report::Faulted;
        }
        self.with_ready(|ready| ready.put(core::slice::from_ref(&taken)));
        is_ready
    }
}

/// Ends the reports of `done` and takes the next batch; without any left, or without room, ends the scan.
fn put_and_take<T: Target + ?Sized>(ready: &mut ReadyList<T>, done: &Batch<T>, next: &mut Batch<T>, room: usize) {
    ready.put(done);
    ready.take_scanned(next, room);
    if next.is_empty() {
        ready.end_scan();
    }
}

/// Asks the files of `batch` and copies out what they answer. Adds the number of events copied to `total`.
fn report<T: Target + ?Sized>(batch: &mut Batch<T>, sink: &mut impl Sink, total: &mut usize) -> Result<(), Fault> {
    let mut events: ArrayVec<EpollEvent, BATCH> = ArrayVec::new();
    for taken in batch.iter_mut() {
        let Some(file) = &taken.file else { continue };
        let ready = file.poll() & mask_of(taken.event.events);
        if !ready.is_empty() {
            events.push(EpollEvent { events: ready.bits(), data: taken.event.data });
            taken.report = Report::Copied;
        }
    }
    let copied = if events.is_empty() { 0 } else { sink.put(&events).min(events.len()) };
    *total += copied;
    if copied == events.len() {
        return Ok(());
    }
    // The first that was not copied and all behind it, ready or not, stay as if they had not been taken.
    let mut ready = batch.iter().enumerate().filter(|(_, taken)| taken.report == Report::Copied);
    let first = ready.nth(copied).map_or(batch.len(), |(at, _)| at);
    batch[first..].iter_mut().for_each(|taken| taken.report = Report::Faulted);
    Err(Fault)
}
