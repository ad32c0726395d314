// SPDX-License-Identifier: MPL-2.0

//! The files that `poll(2)` or `select(2)` looks at, and waits for if none is ready.
//!
//! # Protocol
//! [`PollTable::load`] looks the numbers up, [`PollTable::wait`] asks and waits, [`PollTable::clear`] lets the files go. The storage stays with the
//! thread, so later calls allocate nothing. A first look that finds something, and a timeout of zero, register nothing.

use readiness::{IoEvents, Pollee, Timeout, Together, WaitError};

use crate::{
    file::{
        Description,
        table::{Fd, FileTable},
    },
    prelude::*,
    process::Work,
    time::Deadline,
};

/// One file to look at.
pub struct Watch {
    /// `None` for a negative number, or one that is not open.
    file: Option<Arc<Description>>,
    /// What is wanted, with what is reported in any case.
    mask: IoEvents,
    /// What was found of that.
    pub ready: IoEvents,
}

/// The files of one call.
#[derive(Default)]
pub struct PollTable {
    watches: Vec<Watch>,
}

impl PollTable {
    /// Looks up the files. Negative numbers are ignored, others that are not open are ready with `NVAL`. Returns whether all
    /// were open.
    pub fn load(&mut self, files: &FileTable, requests: impl ExactSizeIterator<Item = (Fd, IoEvents)>) -> bool {
        self.watches.clear();
        // Not under the lock of the table.
        self.watches.reserve(requests.len());
        let files = files.view();
        let mut is_complete = true;
        self.watches.extend(requests.map(|(fd, wanted)| {
            let file = files.get(fd).cloned();
            let mask = match &file {
                Some(_) => wanted | IoEvents::ALWAYS | IoEvents::NVAL,
                None => {
                    is_complete = false;
                    if fd >= 0 { IoEvents::NVAL } else { IoEvents::empty() }
                }
            };
            Watch { file, mask, ready: IoEvents::empty() }
        }));
        is_complete
    }

    /// Waits until a file has something of what is wanted that `counts`, and returns how many have. `counts` gets the position
    /// and the events.
    ///
    /// # Errors
    /// [`WaitError`]
    pub fn wait(
        &mut self,
        ctx: &Context,
        timeout: Timeout<Deadline>,
        counts: impl Fn(usize, IoEvents) -> bool,
    ) -> core::result::Result<usize, WaitError> {
        let watches = core::cell::RefCell::new(&mut self.watches);
        let subjects = Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| {
            for watch in watches.borrow().iter() {
                if let Some(pollable) = watch.file.as_ref().and_then(|file| file.file().pollable()) {
                    register(pollable.pollee(), watch.mask);
                }
            }
        });
        let outcome = ctx.wait(&subjects, timeout, || match look(&mut watches.borrow_mut(), &counts) {
            0 => None,
            ready => Some(ready),
        });
        match outcome {
            // Here, and only here, Linux prefers a signal to the end of the time.
            Err(WaitError::TimedOut) if ctx.thread.is_requested(Work::SIGNAL) => Err(WaitError::Interrupted),
            outcome => outcome,
        }
    }

    /// What was found, in the order of the requests.
    pub fn watches(&self) -> &[Watch] {
        &self.watches
    }

    /// Lets the files go.
    pub fn clear(&mut self) {
        self.watches.clear();
    }
}

/// Asks every file once.
fn look(watches: &mut [Watch], counts: &impl Fn(usize, IoEvents) -> bool) -> usize {
    let mut total = 0;
    for (index, watch) in watches.iter_mut().enumerate() {
        watch.ready = match &watch.file {
            Some(file) => file.poll() & watch.mask,
            None => watch.mask,
        };
        if !watch.ready.is_empty() && counts(index, watch.ready) {
            total += 1;
        }
    }
    total
}
