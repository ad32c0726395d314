// SPDX-License-Identifier: MPL-2.0

//! The harvest: turning the ready list into events in the caller's buffer, losing and repeating none.
//!
//! # Protocol
//!
//! Know that there is room, take entries off the list, ask their files, copy the events out, and only then decide where each
//! entry goes ([`State::on_reported`](super::entry::State::on_reported)). It is done in batches, so that the ready list is
//! locked and user memory is written once per [`BATCH`] entries (and the list once more for the first).
//!
//! # Invariants
//!
//! - **H1** One report per entry and call: a harvest only takes what was queued when it began.
//! - **H2** What was not copied, by a fault or for want of room, stays at the front in its order, and what was copied counts.
//! - **H3** No false "nothing": one harvest at a time has the turn, so nobody looks at a list from which another
//!   has just taken entries that it will put back; and a harvest that found nothing in what it took, while
//!   something was queued, looks again.
//! - **H4** Queueing again is silent: it neither bumps the epoll's version nor tells an outer epoll. What is left at the end,
//!   though, is offered to one more waiter, as Linux does (`ep_done_scan`).
//!
//! # Concurrency
//!
//! Task context: files are asked, user memory is written, both may sleep. Under `Core::turn`, no other lock.

use arrayvec::ArrayVec;

use super::{
    Core, EpollEvent, Fault, READY, Sink, Target,
    entry::{Report, mask_of},
    ready::Taken,
};
/// How many entries are taken at once.
const BATCH: usize = 16;

/// Entries in the hands of a harvest.
type Batch<T> = ArrayVec<Taken<T>, BATCH>;

impl<T: Target> Core<T> {
    /// Copies up to `max` events to `sink`.
    pub(super) fn harvest(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        if !self.has_pending() {
            return Ok(0);
        }
        let turn = self.turn.lock();
        let mut copied = 0;
        let mut outcome = Ok(());
        // Once, as a rule: again only if nothing came of what was taken, and something was queued meanwhile (H3).
        while copied == 0 && outcome.is_ok() && max > 0 && self.has_pending() {
            let mut batch = self.take_first(max);
            while !batch.is_empty() && outcome.is_ok() {
                let count;
                (count, outcome) = report(&mut batch, sink);
                copied += count;
                let room = if outcome.is_ok() { max - copied } else { 0 };
                self.put_and_take(&mut batch, room);
            }
        }
        drop(turn);
        if copied > 0 && self.has_pending() {
            let _ = self.pollee.pass_on(READY);
        }
        if copied > 0 { Ok(copied) } else { outcome.map(|()| 0) }
    }

    /// Begins a scan of what is queued now, and takes its first batch.
    fn take_first(&self, room: usize) -> Batch<T> {
        self.with_ready(|ready| {
            ready.begin_scan();
            core::iter::from_fn(|| ready.take_scanned()).take(BATCH.min(room)).collect()
        })
    }

    /// Ends the reports of `batch` and takes the next one; without any left, or without room, ends the scan.
    fn put_and_take(&self, batch: &mut Batch<T>, room: usize) {
        let done = core::mem::take(batch);
        self.with_ready(|ready| {
            done.iter().filter(|taken| taken.report != Report::Faulted).for_each(|taken| ready.put(taken));
            // To the front in reverse, so that they keep their order.
            done.iter().rev().filter(|taken| taken.report == Report::Faulted).for_each(|taken| ready.put(taken));
            batch.extend(core::iter::from_fn(|| ready.take_scanned()).take(BATCH.min(room)));
            if batch.is_empty() {
                ready.end_scan();
            }
        });
        // `done` is dropped here, without the ready list's lock: these may be the last references to their entries.
    }

    /// Whether some entry has something to report: asks the files, and copies nothing.
    pub(super) fn verify_ready(&self) -> bool {
        if !self.has_pending() {
            return false;
        }
        let _turn = self.turn.lock();
        let mut is_ready = false;
        while !is_ready && self.has_pending() {
            self.with_ready(|ready| ready.begin_scan());
            while !is_ready && let Some(taken) = self.with_ready(|ready| ready.take_scanned()) {
                is_ready = self.ask_and_put_back(taken);
            }
            self.with_ready(|ready| ready.end_scan());
        }
        is_ready
    }

    /// Whether the file of `taken` is ready. If so the entry goes back to where it was: looking is not taking.
    fn ask_and_put_back(&self, mut taken: Taken<T>) -> bool {
        let file = taken.entry.file.upgrade();
        let is_ready = file.is_some_and(|file| file.poll().intersects(mask_of(taken.event.events)));
        if is_ready {
            taken.report = Report::Faulted;
        }
        self.with_ready(|ready| ready.put(&taken));
        is_ready
    }
}

/// Asks the files of `batch` and copies out what they answer. Returns how many events were copied, and whether all were.
fn report<T: Target>(batch: &mut Batch<T>, sink: &mut impl Sink) -> (usize, Result<(), Fault>) {
    let mut events: ArrayVec<EpollEvent, BATCH> = ArrayVec::new();
    for taken in batch.iter_mut() {
        // A file whose description was closed has nothing to report.
        let Some(file) = taken.entry.file.upgrade() else { continue };
        let ready = file.poll() & mask_of(taken.event.events);
        if !ready.is_empty() {
            events.push(EpollEvent { events: ready.bits(), data: taken.event.data });
            taken.report = Report::Copied;
        }
    }
    let copied = if events.is_empty() { 0 } else { sink.put(&events).min(events.len()) };
    if copied == events.len() {
        return (copied, Ok(()));
    }
    let ready = batch.iter_mut().filter(|taken| taken.report == Report::Copied);
    ready.skip(copied).for_each(|taken| taken.report = Report::Faulted);
    (copied, Err(Fault))
}
