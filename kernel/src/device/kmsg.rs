// SPDX-License-Identifier: MPL-2.0

//! `/dev/kmsg`: the kernel log, record by record (Linux's `Documentation/ABI/testing/dev-kmsg`).

use readiness::{IoEvents, Pollable, Pollee, Timeout, Together};

use crate::{
    file::{Description, File, IoDst, IoSrc, StatusFlags, Written},
    fs::{Device, Inode, OpenRequest},
    log,
    prelude::*,
};

/// Longest line that a program may add, as Linux's `LOG_LINE_MAX`.
const LINE_MAX: usize = 992;

/// The device.
pub struct KmsgDevice;

impl Device for KmsgDevice {
    fn open(&self, request: OpenRequest, _ctx: &Context) -> Result<Arc<Description>> {
        let inode = request.path.inode().clone();
        Ok(request.describe(KmsgFile { next: SpinLock::new(log::first_sequence()), inode }))
    }
}

struct KmsgFile {
    /// The record to read next.
    next: SpinLock<u64>,
    inode: Arc<dyn Inode>,
}

impl KmsgFile {
    /// The next record as a line.
    ///
    /// # Errors
    /// `EPIPE` once if records were overwritten before they were read; `EINVAL` if the buffer is too small.
    fn take(&self, max: usize) -> Option<Result<Vec<u8>>> {
        let wanted = *self.next.lock();
        let entry = log::entry_from(wanted)?;
        if entry.sequence != wanted {
            *self.next.lock() = entry.sequence;
            return Some(Err(EPIPE));
        }
        let line = entry.to_kmsg();
        if line.len() > max {
            return Some(Err(EINVAL));
        }
        *self.next.lock() = wanted + 1;
        Some(Ok(line))
    }
}

impl Pollable for KmsgFile {
    fn pollee(&self) -> &Pollee {
        log::pollee()
    }

    fn readiness(&self) -> IoEvents {
        let next = *self.next.lock();
        if next < log::first_sequence() {
            IoEvents::READABLE | IoEvents::ERR | IoEvents::PRI
        } else if next < log::next_sequence() {
            IoEvents::READABLE
        } else {
            IoEvents::empty()
        }
    }

    fn poll(&self) -> IoEvents {
        // All readers share one pollee, but each is at its own place: no cache.
        self.readiness()
    }
}

impl File for KmsgFile {
    fn read(&self, ctx: &Context, dst: &mut IoDst<'_>, _offset: u64, status: StatusFlags) -> Result<usize> {
        let max = dst.avail();
        let line = match self.take(max) {
            Some(line) => line,
            None if status.contains(StatusFlags::NONBLOCK) => Err(EAGAIN),
            None => {
                // Every reader is to see every record: no turns.
                let subject =
                    Together(|register: &mut dyn FnMut(&Pollee, IoEvents)| register(log::pollee(), IoEvents::IN));
                let waited = ctx.waiter.borrow_mut().wait_until(&subject, Timeout::Never, || self.take(max));
                waited.unwrap_or(Err(ERESTARTSYS))
            }
        };
        dst.write_slice(&line?)
    }

    fn write(&self, _ctx: &Context, src: &mut IoSrc<'_>, _offset: u64, _status: StatusFlags) -> Result<Written> {
        let count = src.remain();
        if count > LINE_MAX {
            return Err(EINVAL);
        }
        let mut line = alloc::vec![0; count];
        src.read_slice(&mut line)?;
        let text = String::from_utf8_lossy(&line);
        let (level, text) = split_level(&text);
        log::write_user(level, text);
        Ok(Written::stream(count))
    }

    fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    fn pollable(&self) -> Option<&dyn Pollable> {
        Some(self)
    }
}

/// Splits `<12>text` into facility and level (facility 1, "user", if none is named; level 4 without a prefix) and text.
fn split_level(text: &str) -> (u8, &str) {
    const USER: u8 = 1 << 3;
    let prefixed = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match prefixed.and_then(|(number, rest)| Some((number.parse::<u8>().ok()?, rest))) {
        Some((number, rest)) if number < 8 => (number | USER, rest),
        Some((number, rest)) => (number, rest),
        None => (4 | USER, text),
    }
}

#[cfg(ktest)]
mod tests {
    use ostd::prelude::*;

    use super::*;

    #[ktest]
    fn levels_are_split_off() {
        assert_eq!(split_level("<3>broken"), (11, "broken"));
        assert_eq!(split_level("<30>daemon"), (30, "daemon"));
        assert_eq!(split_level("plain"), (12, "plain"));
        assert_eq!(split_level("<x>y"), (12, "<x>y"));
    }
}
