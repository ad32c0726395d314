// SPDX-License-Identifier: MPL-2.0

//! The harvest: turning the ready list into events in the caller's buffer, losing and repeating none.
//!
//! # Protocol
//!
//! Know that there is room, take entries off the list, ask their files, copy the events out, and only then decide where each
//! entry goes ([`State::on_reported`](super::entry::State::on_reported)). It is done in batches, so that the ready list is
//! locked twice and user memory is written once per [`BATCH`] entries.
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
use crate::IoEvents;

/// How many entries are taken at once.
const BATCH: usize = 16;

impl<T: Target> Core<T> {
    /// Copies up to `max` events to `sink`.
    pub(super) fn harvest(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        if !self.has_pending() {
            return Ok(0);
        }
        let turn = self.turn.lock();
        let mut result = self.scan(max, sink);
        while result == Ok(0) && max > 0 && self.has_pending() {
            result = self.scan(max, sink);
        }
        drop(turn);
        if result != Ok(0) && self.has_pending() {
            let _ = self.pollee.pass_on(READY);
        }
        result
    }

    /// One scan of what is queued now.
    fn scan(&self, max: usize, sink: &mut impl Sink) -> Result<usize, Fault> {
        let mut copied = 0;
        let mut batch: ArrayVec<Taken<T>, BATCH> = ArrayVec::new();
        self.with_ready(|ready| ready.begin_scan());
        let result = loop {
            let room = BATCH.min(max - copied);
            self.with_ready(|ready| batch.extend(core::iter::from_fn(|| ready.take_scanned()).take(room)));
            if batch.is_empty() {
                break Ok(copied);
            }
            let outcome = report(&mut batch, sink);
            // In reverse, so that what goes to the front keeps its order; what goes to the back is put in order first.
            self.with_ready(|ready| {
                batch.iter().filter(|taken| taken.report != Report::Faulted).for_each(|taken| ready.put(taken));
                batch.iter().rev().filter(|taken| taken.report == Report::Faulted).for_each(|taken| ready.put(taken));
            });
            // Without the ready list's lock: these may be the last references to their entries.
            batch.clear();
            match outcome {
                Ok(count) => copied += count,
                Err((_, count)) if copied + count > 0 => break Ok(copied + count),
                Err((fault, _)) => break Err(fault),
            }
        };
        self.with_ready(|ready| ready.end_scan());
        result
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
        let is_ready = !ask(&taken).is_empty();
        if is_ready {
            taken.report = Report::Faulted;
        }
        self.with_ready(|ready| ready.put(&taken));
        is_ready
    }
}

/// Asks the files of `batch` and copies out what they answer. Returns how many events were copied, in an error, too.
fn report<T: Target>(batch: &mut ArrayVec<Taken<T>, BATCH>, sink: &mut impl Sink) -> Result<usize, (Fault, usize)> {
    let mut events: ArrayVec<EpollEvent, BATCH> = ArrayVec::new();
    for taken in batch.iter_mut() {
        let ready = ask(taken);
        if !ready.is_empty() {
            events.push(EpollEvent { events: ready.bits(), data: taken.event.data });
            taken.report = Report::Copied;
        }
    }
    if events.is_empty() {
        return Ok(0);
    }
    let copied = sink.put(&events).min(events.len());
    if copied == events.len() {
        return Ok(copied);
    }
    let ready = batch.iter_mut().filter(|taken| taken.report == Report::Copied);
    ready.skip(copied).for_each(|taken| taken.report = Report::Faulted);
    Err((Fault, copied))
}

/// What the file of `taken` has to report. A file whose description was closed has nothing.
fn ask<T: Target>(taken: &Taken<T>) -> IoEvents {
    match taken.entry.file.upgrade() {
        Some(file) => file.poll() & mask_of(taken.event.events),
        None => IoEvents::empty(),
    }
}
