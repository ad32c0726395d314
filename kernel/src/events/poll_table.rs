// SPDX-License-Identifier: MPL-2.0

//! The files that `poll(2)` or `select(2)` looks at, and waits for if none is ready.
//!
//! # Protocol
//! 1. A [`Glance`] asks each file for its cached answer, in place: under the lock of the descriptor table, but without any
//!    other, and without a reference. Files whose answer is not cached are set aside.
//! 2. [`PollTable::ask_uncached`] asks those, without the lock.
//! 3. Only if nothing was ready, and there is time to wait, [`PollTable::wait`] looks up and registers all of them.
//!
//! The storage stays with the thread, so later calls allocate nothing.

use readiness::{IoEvents, Pollee, Timeout, Together, WaitError};

use crate::{
    file::{
        Description,
        table::{Fd, FileTable, View},
    },
    prelude::*,
    process::Work,
    time::Deadline,
};

/// The files of one call.
#[derive(Default)]
pub struct PollTable {
    uncached: Vec<(usize, Arc<Description>)>,
    watches: Vec<Watch>,
}

/// A look at many files under the lock of the descriptor table. See the [module](self).
pub struct Glance<'a> {
    files: View<'a>,
    uncached: &'a mut Vec<(usize, Arc<Description>)>,
}

impl Glance<'_> {
    /// What is ready on `fd`; nothing, if that is not cached. `None`: it is not open. `position` is what
    /// [`PollTable::ask_uncached`] will call the file by.
    #[inline]
    pub fn ask(&mut self, position: usize, fd: Fd) -> Option<IoEvents> {
        let file = self.files.get(fd)?;
        Some(file.cached().unwrap_or_else(|| {
            self.uncached.push((position, file.clone()));
            IoEvents::empty()
        }))
    }
}

impl PollTable {
    /// Begins a look.
    pub fn glance<'a>(&'a mut self, files: &'a FileTable) -> Glance<'a> {
        Glance { files: files.view(), uncached: &mut self.uncached }
    }

    /// Asks the files whose answers were not cached, and calls `found` with the position and the answer of each.
    pub fn ask_uncached(&mut self, mut found: impl FnMut(usize, IoEvents)) {
        while let Some((position, file)) = self.uncached.pop() {
            found(position, file.poll());
        }
    }

    /// Waits until something of what is wanted is ready, and returns on how many files. The first look was fruitless.
    ///
    /// # Errors
    /// [`WaitError`]
    pub fn wait(
        &mut self,
        ctx: &Context,
        files: &FileTable,
        timeout: Timeout<Deadline>,
        requests: impl ExactSizeIterator<Item = (Fd, IoEvents)>,
    ) -> core::result::Result<usize, WaitError> {
        let outcome = match timeout {
            Timeout::Now => Err(WaitError::TimedOut),
            Timeout::At(_) | Timeout::Never => {
                self.load(files, requests);
                self.sleep(ctx, timeout)
            }
        };
        match outcome {
            // Here, and only here, Linux prefers a signal to the end of the time.
            Err(WaitError::TimedOut) if ctx.thread.is_requested(Work::SIGNAL) => Err(WaitError::Interrupted),
            outcome => outcome,
        }
    }

    /// Calls `found` with the position and the answer of each file on which the wait found something, and lets the files go.
    pub fn found(&mut self, mut found: impl FnMut(usize, IoEvents)) {
        for (position, watch) in self.watches.iter().enumerate().filter(|(_, watch)| !watch.ready.is_empty()) {
            found(position, watch.ready);
        }
        self.watches.clear();
    }

    /// Looks up the files. Negative numbers are ignored, others that are not open are ready with `NVAL`.
    fn load(&mut self, files: &FileTable, requests: impl ExactSizeIterator<Item = (Fd, IoEvents)>) {
        // Not under the lock of the table.
        self.watches.reserve(requests.len());
        let files = files.view();
        self.watches.extend(requests.map(|(fd, wanted)| {
            let file = files.get(fd).cloned();
            let mask = match &file {
                Some(_) => wanted,
                None if fd >= 0 => IoEvents::NVAL,
                None => IoEvents::empty(),
            };
            Watch { file, mask, ready: IoEvents::empty() }
        }));
    }

    fn sleep(&mut self, ctx: &Context, timeout: Timeout<Deadline>) -> core::result::Result<usize, WaitError> {
        let watches = core::cell::RefCell::new(&mut self.watches);
        let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            for watch in watches.borrow().iter() {
                if let Some(pollable) = watch.file.as_ref().and_then(|file| file.file().pollable()) {
                    register(pollable.pollee(), watch.mask);
                }
            }
        });
        ctx.sleep(&subjects, timeout, || match look(&mut watches.borrow_mut()) {
            0 => None,
            ready => Some(ready),
        })
    }
}

/// A file to wait for.
struct Watch {
    /// `None` for a negative number, or one that is not open.
    file: Option<Arc<Description>>,
    /// What is wanted.
    mask: IoEvents,
    /// What was found of that.
    ready: IoEvents,
}

/// Asks every file once.
fn look(watches: &mut [Watch]) -> usize {
    let mut total = 0;
    for watch in watches {
        watch.ready = match &watch.file {
            Some(file) => file.poll() & watch.mask,
            None => watch.mask,
        };
        total += usize::from(!watch.ready.is_empty());
    }
    total
}
